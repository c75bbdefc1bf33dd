// What a shard's driver counts, beside its engine's counters; one table (io_stats.def). A shard
// writes its own array.
#pragma once

#include "gateway/core/stats.h"

enum pqb_io_counter {
#define PQB_COUNTER(id, name, kind, unit, help) PQB_IO_##id,
#include "gateway/io/io_stats.def"
#undef PQB_COUNTER
    PQB_IO_COUNTER_COUNT
};

extern const struct pqb_counter_info pqb_io_counter_table[PQB_IO_COUNTER_COUNT];
