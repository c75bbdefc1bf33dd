// The gateway's counters: one table (stats.def) gives enum, name, kind, unit and help. An engine
// writes its own column; readers add the columns up. Names are dotted, as pqbctl shows them.
#pragma once

#include <stdint.h>

enum pqb_counter_kind {
    PQB_KIND_COUNTER, // only grows
    PQB_KIND_GAUGE,
    PQB_KIND_ALARM, // a counter that should stay 0
};

enum pqb_counter {
#define PQB_COUNTER(id, name, kind, unit, help) PQB_COUNTER_##id,
#include "gateway/core/stats.def"
#undef PQB_COUNTER
    PQB_COUNTER_COUNT
};

struct pqb_counter_info {
    const char *name;
    enum pqb_counter_kind kind;
    const char *unit;
    const char *help;
};

extern const struct pqb_counter_info pqb_counter_table[PQB_COUNTER_COUNT];
