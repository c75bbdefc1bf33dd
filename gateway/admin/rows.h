// The rows of the counters page: the engine's, the driver's, the store's and the process's tables,
// one behind the other. A shard's column uses the first two, the writer's the third, the main
// thread's the last.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "gateway/core/stats.h"
#include "gateway/io/io_stats.h"
#include "gateway/io/stats_page.h"
#include "storage/store.h"

enum pqb_process_counter {
#define PQB_PROCESS_ROW(id, name, kind, unit, help) PQB_PROCESS_##id,
#include "gateway/admin/process_stats.def"
#undef PQB_PROCESS_ROW
    PQB_PROCESS_COUNTER_COUNT
};

enum pqb_store_counter {
#define PQB_STORE_ROW(field, name, kind, unit, help) PQB_STORE_COUNTER_##field,
#include "gateway/admin/store_stats.def"
#undef PQB_STORE_ROW
    PQB_STORE_COUNTER_COUNT
};

// Where each table begins.
enum {
    PQB_ROWS_ENGINE = 0,
    PQB_ROWS_IO = PQB_ROWS_ENGINE + PQB_COUNTER_COUNT,
    PQB_ROWS_STORE = PQB_ROWS_IO + PQB_IO_COUNTER_COUNT,
    PQB_ROWS_PROCESS = PQB_ROWS_STORE + PQB_STORE_COUNTER_COUNT,
    PQB_ROWS_COUNT = PQB_ROWS_PROCESS + PQB_PROCESS_COUNTER_COUNT
};

// `rows` has PQB_ROWS_COUNT elements.
void pqb_rows_describe(struct pqb_stats_row *rows);

// Copies the store's counters into the writer's column.
void pqb_rows_set_store(uint64_t *column, const struct pqb_store_stats *stats);
