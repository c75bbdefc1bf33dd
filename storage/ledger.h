// The ledger: who is known, what was consumed, what comes next. A pure state machine, the fold of
// tables and journal.
//
// A request is decided by turning it into records; a record changes the ledger by being applied,
// and by that alone, so that replay after a restart ends in the same state. Decisions come in
// batches: an aborted batch leaves no trace. No LMDB, clocks or threads in here: tables are read
// through pqb_ledger_io, time is a parameter. One owner: the writer.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/htable.h"
#include "common/base/list.h"
#include "common/base/siphash.h"
#include "storage/records.h"
#include "storage/store.h"

struct pqb_ledger_limits {
    uint64_t inbox_messages_max, inbox_bytes_max;
    uint64_t users_max;
    uint32_t users_per_sender_max;
    uint32_t devices_per_user_max;
    uint64_t seen_granularity_ms; // a login sooner after the last sign of life writes nothing
};

// Retained rows of one user in `inbox` in (after, upto].
struct pqb_inbox_sum {
    uint64_t count, bytes;
    uint64_t next_iseq; // first row above upto; 0: none
};

// The tables behind the ledger, and the journal in front of it.
struct pqb_ledger_io {
    void *ctx;
    // PQB_OK, PQB_ERR_NOT_FOUND, or what went wrong. device_load: the first above `after_devno`;
    // sets out->devno for PQB_ERR_CORRUPT too.
    int (*name_find)(void *ctx, const char *name, size_t len, uint64_t *uid);
    int (*user_load)(void *ctx, uint64_t uid, struct pqb_user_row *out);
    int (*device_load)(void *ctx, uint64_t uid, uint32_t after_devno, struct pqb_device_row *out);
    int (*inbox_sum)(void *ctx, uint64_t uid, uint64_t after, uint64_t upto,
                     struct pqb_inbox_sum *out);
    // Puts the record (and its parts) at `gseq`. A failure is the transaction's, found at commit.
    void (*append)(void *ctx, const struct pqb_journal_record *r, uint64_t gseq);
};

struct pqb_ledger_device {
    uint32_t devno;
    uint32_t epoch; // 0: none yet
    uint64_t low, cursor;
    pqb_wall_ms last_seen;
    uint32_t created_count;
    uint8_t nonce[PQB_NONCE_LEN];
    uint8_t name_len;
    char name[PQB_DEVICE_MAX];
    uint64_t saved_in; // batch that holds a copy for its undo
    size_t consumed_count, consumed_room;
    struct pqb_consumed *consumed; // ascending, seq in [low, low + 256)
};

// A message that is still in the journal and nobody is done with.
struct pqb_retained {
    uint64_t iseq, gseq;
    uint32_t bytes;
};

struct pqb_ledger_user_core { // what an abort restores as one piece
    uint64_t head;
    struct pqb_settled settled;
    uint64_t delivered;
    uint32_t generation;
    uint32_t devno_next;
    bool has_forgotten;                  // `device` holds rows that are no more
    size_t retained_first, retained_end; // of `retained`
};

struct pqb_ledger_user {
    struct pqb_hnode by_uid, by_name;
    struct pqb_list dirty; // in pqb_ledger.dirty while its row is behind
    uint64_t uid;
    uint32_t uhash;
    uint8_t name_len;
    char name[PQB_USER_MAX];
    uint64_t as_of; // its row covers records up to here; replay skips them
    bool has_row;
    uint64_t inbox_upto, trimmed_upto; // moved by checkpoints alone
    uint64_t saved_in, used_in;        // batches
    struct pqb_ledger_user_core core;
    struct pqb_retained *retained; // ascending iseq > inbox_upto
    size_t retained_room;
    struct pqb_ledger_device **devices;
    size_t device_count;
};

struct pqb_ledger_counters {
    uint64_t next_gseq, next_uid;
    uint64_t user_count; // with a row or without; uids may have gaps
    uint32_t next_epoch;
    uint32_t epoch_floor; // a device's epoch below it is over: the store was restored since
    uint32_t generation_max, generation_floor;
};

struct pqb_undo;

struct pqb_ledger {
    struct pqb_ledger_limits limits;
    struct pqb_ledger_io io;
    uint8_t name_key[PQB_SIPHASH_KEY_LEN];
    struct pqb_ledger_counters counters, counters_saved;
    struct pqb_htable by_uid, by_name;
    struct pqb_list dirty;
    size_t device_total;
    uint64_t batch; // number of the current or last batch
    bool is_in_batch;
    struct pqb_undo *undo, *undo_spare;
    uint64_t generation_count; // generations begun since open
    uint64_t damaged_count;    // device rows that did not check
    uint64_t orphan_count;     // records replayed whose user or device is lost
};

// What the writer knows when it decides.
struct pqb_ledger_turn {
    pqb_wall_ms at;   // the store's clock
    uint32_t minutes; // since 2020-01-01, for generations
    bool may_store;   // false: degraded; only cursors and skips go on
};

PQB_MUST_USE int pqb_ledger_create(struct pqb_ledger **out, const struct pqb_ledger_limits *limits,
                                   const struct pqb_ledger_io *io,
                                   const uint8_t name_key[PQB_SIPHASH_KEY_LEN]);
void pqb_ledger_destroy(struct pqb_ledger *l); // NULL is fine

// Brackets of a batch. Abort puts everything back to where begin found it.
void pqb_ledger_batch_begin(struct pqb_ledger *l);
void pqb_ledger_batch_commit(struct pqb_ledger *l);
void pqb_ledger_batch_abort(struct pqb_ledger *l);

// Decides one request inside a batch and fills its results. PQB_ERR_CORRUPT: a row that it needs
// does not check; nothing was decided. Any other error: abort the batch.
PQB_MUST_USE int pqb_ledger_decide(struct pqb_ledger *l, struct pqb_request *r,
                                   const struct pqb_ledger_turn *turn);

// Upkeep inside a batch: everything of `uid` up to `upto` has expired; devices silent since before
// `before` are forgotten (*count says how many). Errors as in decide.
PQB_MUST_USE int pqb_ledger_expire(struct pqb_ledger *l, uint64_t uid, uint64_t upto,
                                   const struct pqb_ledger_turn *turn);
PQB_MUST_USE int pqb_ledger_forget_idle(struct pqb_ledger *l, uint64_t uid, pqb_wall_ms before,
                                        const struct pqb_ledger_turn *turn, uint64_t *count);

// Applies a record of the journal at start. next_gseq is not touched.
PQB_MUST_USE int pqb_ledger_replay(struct pqb_ledger *l, const struct pqb_journal_record *r,
                                   uint64_t gseq);

// Finds, loading where needed. PQB_OK with *out == NULL when there is no such user.
PQB_MUST_USE int pqb_ledger_user_find(struct pqb_ledger *l, uint64_t uid,
                                      struct pqb_ledger_user **out);
PQB_MUST_USE int pqb_ledger_name_find(struct pqb_ledger *l, const char *name, size_t len,
                                      struct pqb_ledger_user **out);

uint32_t pqb_ledger_user_hash(const uint8_t name_key[PQB_SIPHASH_KEY_LEN], const char *name,
                              size_t len);

// Between batches. Rows as they are now, for a checkpoint at as_of = next_gseq - 1.
void pqb_ledger_user_row(const struct pqb_ledger *l, const struct pqb_ledger_user *u,
                         struct pqb_user_row *out);
void pqb_ledger_device_row(const struct pqb_ledger *l, const struct pqb_ledger_user *u,
                           const struct pqb_ledger_device *d, struct pqb_device_row *out);

// The user's row was written with `row`: messages <= row->inbox_upto now live in `inbox`.
void pqb_ledger_user_written(struct pqb_ledger *l, struct pqb_ledger_user *u,
                             const struct pqb_user_row *row);

bool pqb_ledger_has_device(const struct pqb_ledger_user *u, uint32_t devno);

// Puts `u` on the dirty list, if it is not there.
void pqb_ledger_user_mark(struct pqb_ledger *l, struct pqb_ledger_user *u);

// Frees users whose rows are up to date and who were not used since batch `before`, until at most
// `keep` users are left.
void pqb_ledger_evict(struct pqb_ledger *l, size_t keep, uint64_t before);
