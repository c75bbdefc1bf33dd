#include "gateway/io/io_stats.h"

const struct pqb_counter_info pqb_io_counter_table[PQB_IO_COUNTER_COUNT] = {
#define PQB_COUNTER(id, name, kind, unit, help) {name, PQB_KIND_##kind, unit, help},
#include "gateway/io/io_stats.def"
#undef PQB_COUNTER
};
