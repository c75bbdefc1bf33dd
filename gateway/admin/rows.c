#include "gateway/admin/rows.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static_assert(PQB_ROWS_COUNT <= PQB_STATS_ROWS_MAX, "the page holds every row");
static_assert((int)PQB_KIND_COUNTER == (int)PQB_STATS_COUNTER &&
                  (int)PQB_KIND_GAUGE == (int)PQB_STATS_GAUGE &&
                  (int)PQB_KIND_ALARM == (int)PQB_STATS_ALARM,
              "the page's kinds are the tables'");

static const struct pqb_counter_info store_table[] = {
#define PQB_STORE_ROW(field, name, kind, unit, help) {name, PQB_KIND_##kind, unit, help},
#include "gateway/admin/store_stats.def"
#undef PQB_STORE_ROW
};

static const struct pqb_counter_info process_table[] = {
#define PQB_PROCESS_ROW(id, name, kind, unit, help) {name, PQB_KIND_##kind, unit, help},
#include "gateway/admin/process_stats.def"
#undef PQB_PROCESS_ROW
};

static void describe(struct pqb_stats_row *rows, const struct pqb_counter_info *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        memset(&rows[i], 0, sizeof(rows[i]));
        rows[i].kind = (uint32_t)table[i].kind;
        (void)snprintf(rows[i].name, sizeof(rows[i].name), "%s", table[i].name);
        (void)snprintf(rows[i].unit, sizeof(rows[i].unit), "%s", table[i].unit);
        (void)snprintf(rows[i].help, sizeof(rows[i].help), "%s", table[i].help);
    }
}

void pqb_rows_describe(struct pqb_stats_row *rows)
{
    describe(rows + PQB_ROWS_ENGINE, pqb_counter_table, PQB_COUNTER_COUNT);
    describe(rows + PQB_ROWS_IO, pqb_io_counter_table, PQB_IO_COUNTER_COUNT);
    describe(rows + PQB_ROWS_STORE, store_table, PQB_STORE_COUNTER_COUNT);
    describe(rows + PQB_ROWS_PROCESS, process_table, PQB_PROCESS_COUNTER_COUNT);
}

void pqb_rows_set_store(uint64_t *column, const struct pqb_store_stats *stats)
{
#define PQB_STORE_ROW(field, name, kind, unit, help) \
    column[PQB_ROWS_STORE + PQB_STORE_COUNTER_##field] = stats->field;
#include "gateway/admin/store_stats.def"
#undef PQB_STORE_ROW
}
