#include "gateway/core/stats.h"

const struct pqb_counter_info pqb_counter_table[PQB_COUNTER_COUNT] = {
#define PQB_COUNTER(id, name, kind, unit, help) {name, PQB_KIND_##kind, unit, help},
#include "gateway/core/stats.def"
#undef PQB_COUNTER
};
