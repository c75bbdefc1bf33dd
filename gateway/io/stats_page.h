// The counters page: a mapped file that tells its own names, kinds, units and help, so that a
// reader of another version, or of a gateway that hangs or has died, still understands it.
//
//   header | column descriptions | row descriptions | values, one column after the other
//
// A row is a counter, a column a thread that counts; readers add the columns up. Each column has
// one writer, which uses plain stores (aligned 64-bit, so a reader never sees half a number). The
// file is made beside its place and renamed into it: whoever has the old one open keeps it.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/time.h"

#define PQB_STATS_MAGIC       UINT64_C(0x3153544154534250) // "PBSTATS1" in memory
#define PQB_STATS_VERSION     1
#define PQB_STATS_ROWS_MAX    1024
#define PQB_STATS_COLUMNS_MAX 128

enum pqb_stats_kind {
    PQB_STATS_COUNTER = 0, // only grows
    PQB_STATS_GAUGE = 1,
    PQB_STATS_ALARM = 2, // should stay 0
};

struct pqb_stats_row {
    char name[48], unit[16], help[120];
    uint32_t kind; // enum pqb_stats_kind
    uint32_t reserved;
};

struct pqb_stats_column {
    char name[24]; // "shard.0", "writer", "process"
    // When the turn that is under way began (ns of CLOCK_MONOTONIC); 0 between turns. A turn that
    // is seconds old is a thread that hangs.
    _Atomic(uint64_t) busy_since;
};

struct pqb_stats_header {
    uint64_t magic;
    uint32_t version, header_len; // header_len: where the columns begin
    uint32_t row_count, column_count;
    uint32_t row_len, column_len; // bytes of one description
    uint64_t pid;
    pqb_wall_ms started_at;
    _Atomic(uint64_t) heartbeat;  // ns of CLOCK_MONOTONIC; moves 4 times a second
    _Atomic(uint64_t) stopped_at; // wall ms of an orderly end; 0 before
};

// -------------------------------------------------------------------------------- the writer's

struct pqb_stats_page;

// Rows and column names are copied. PQB_ERR_NO_SPACE and PQB_ERR_IO (errno says more).
PQB_MUST_USE int pqb_stats_page_create(struct pqb_stats_page **out, const char *path,
                                       const struct pqb_stats_row *rows, size_t row_count,
                                       const char *const *columns, size_t column_count,
                                       pqb_wall_ms wall);

// Marks the page as ended in order and unmaps it; the file stays. NULL is fine.
void pqb_stats_page_destroy(struct pqb_stats_page *page, pqb_wall_ms wall);

// `row_count` numbers that only the column's thread writes.
uint64_t *pqb_stats_page_column(struct pqb_stats_page *page, size_t column);

void pqb_stats_page_turn_begin(struct pqb_stats_page *page, size_t column, pqb_tstamp now);
void pqb_stats_page_turn_end(struct pqb_stats_page *page, size_t column);
void pqb_stats_page_heartbeat(struct pqb_stats_page *page, pqb_tstamp now);

// -------------------------------------------------------------------------------- the reader's

// A copy of a page at one moment.
struct pqb_stats_snapshot {
    uint64_t pid;
    pqb_wall_ms started_at, stopped_at;
    pqb_tstamp heartbeat;
    size_t row_count, column_count;
    struct pqb_stats_row *rows;
    struct pqb_stats_column *columns;
    uint64_t *values; // column after column
};

// PQB_ERR_NOT_FOUND, PQB_ERR_VERSION, PQB_ERR_CORRUPT (cut short or not a page), PQB_ERR_IO.
PQB_MUST_USE int pqb_stats_snapshot_read(struct pqb_stats_snapshot *out, const char *path);
void pqb_stats_snapshot_fini(struct pqb_stats_snapshot *s);

uint64_t pqb_stats_snapshot_sum(const struct pqb_stats_snapshot *s, size_t row);

// Sum of the row of that name; 0 and false in *is_known when there is none. is_known may be NULL.
uint64_t pqb_stats_snapshot_get(const struct pqb_stats_snapshot *s, const char *name,
                                bool *is_known);
