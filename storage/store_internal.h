// The store's parts, shared by the files of this folder. The writer owns all of it but what a
// comment gives to others.
#pragma once

#include <stdatomic.h>

#include <pthread.h>

#include "common/base/mpsc.h"
#include "storage/failpoints.h"
#include "storage/ledger.h"
#include "storage/lmdb_env.h"
#include "storage/records.h"
#include "storage/store.h"

// Wall-clock ms of 2020-01-01, where generations count minutes from.
#define PQB_GENERATION_ORIGIN_MS UINT64_C(1577836800000)
// Minutes stop here, so that a mad clock leaves generations to go on with.
#define PQB_GENERATION_MINUTES_MAX (PQB_GENERATION_MAX - (UINT32_C(1) << 16))

#define PQB_ASYNC_DELAY_NS  (100 * PQB_NS_PER_MS) // async: at most so long between commits
#define PQB_RETRY_DELAY_NS  PQB_NS_PER_SEC        // after a failure for want of space
#define PQB_RECORD_OVERHEAD 16                    // LMDB's node and key, in journal_bytes
#define PQB_CLOCK_JUMP_MS   UINT64_C(86400000)    // at start; more is not believed

enum pqb_checkpoint_phase {
    PQB_CHECKPOINT_IDLE,
    PQB_CHECKPOINT_EXPIRE, // retention and idle devices, a stretch of the user table
    PQB_CHECKPOINT_USERS,  // rows of dirty users; their messages go to inbox
    PQB_CHECKPOINT_DROP,   // the journal's prefix
};

struct pqb_checkpoint_row;

struct pqb_checkpoint {
    enum pqb_checkpoint_phase phase;
    bool is_wanted;                 // by request or for want of space
    pqb_tstamp done_at;             // the last one; retention looks again some time after
    pqb_tstamp not_before;          // after a failure
    uint64_t upto;                  // G
    struct pqb_ledger_user **users; // dirty ones at G, by uid
    size_t user_count, user_at;
    struct pqb_checkpoint_row *rows; // written in this step, not committed yet
    size_t row_count;
    uint64_t scan_uid;     // where the next EXPIRE stretch begins; persists between checkpoints
    uint64_t scan_left;    // user rows this checkpoint may still look at
    uint64_t expire_left;  // messages it may still let expire
    uint64_t dirty_left;   // users touched since the last one that EXPIRE has not looked at
    bool has_left_over;    // the last one had more to expire than it may
    bool has_looked;       // at what is too old, since the store was opened
    uint64_t batch_before; // ledger batch when the one before began, for eviction
    uint64_t batch_begun;
    uint64_t moved_count, dropped_count; // messages
    uint8_t *scratch;                    // PQB_BODY_MAX, a message on its way to inbox
};

struct pqb_store_shard {
    struct pqb_mpsc done;
    size_t outstanding; // the shard's own count; no other thread looks
    bool has_completions;
};

struct pqb_store {
    struct pqb_store_config config;
    uint64_t journal_max_bytes; // config's, or less where the map's reserve asks for it
    uint64_t journal_checkpoint_bytes;
    char *path;
    uint8_t secret[PQB_STORE_SECRET_LEN];
    uint8_t name_key[PQB_SIPHASH_KEY_LEN];

    struct pqb_env env;
    struct pqb_txn txn; // of the batch or the checkpoint step
    struct pqb_ledger *ledger;
    struct pqb_state_row state; // as last written

    struct pqb_mpsc queue; // any shard pushes
    struct pqb_store_shard *shards;

    // The batch: decided, not committed.
    struct pqb_request **batch;
    size_t batch_count, batch_room;
    uint64_t batch_bytes, batch_journal_bytes, batch_records, batch_messages;
    bool has_released; // async: somebody has been answered already
    pqb_tstamp batch_deadline;

    pqb_tstamp now; // of the current step
    pqb_wall_ms wall;
    pqb_tstamp clock_base; // store clock = clock_origin + (now - clock_base)
    pqb_wall_ms clock_origin;

    struct pqb_checkpoint checkpoint;
    uint64_t journal_first;   // first gseq in the journal; next_gseq when empty
    pqb_tstamp journal_since; // when the journal got its first record after a checkpoint

    bool is_soft_full; // of the map
    pqb_tstamp soft_checked_at;
    bool is_disk_full; // of the file system
    pqb_tstamp disk_measured_at;
    uint64_t disk_measured_bytes; // counters.commit_bytes then
    uint64_t disk_left;           // pages that may be written before it is measured again
    pqb_tstamp space_retry_at;    // 0: no failure for want of space is being waited out
    bool is_failed;               // fatal: the store does nothing any more

    pthread_t thread;
    bool has_thread;
    int wake_fd;
    atomic_bool is_sleeping; // the writer waits on wake_fd; see pqb_store_submit
    atomic_bool must_stop;
    atomic_bool must_confirm_clock;

    struct pqb_store_stats counters; // the writer's working copy
    pthread_mutex_t stats_mutex;
    pthread_mutex_t *stats_lock; // the above, for readers of a const store; guards `published` only
    struct pqb_store_stats published;
};

// Asks the failpoint of a step that may fail; 0 or an enum pqb_err.
PQB_MUST_USE int pqb_store_failpoint(const struct pqb_store *s, enum pqb_failpoint step);
// The same, and a failure is the write transaction's.
void pqb_store_failpoint_txn(struct pqb_store *s, enum pqb_failpoint step);
// Of a step where only the process can end: the store has failed after any answer but 0.
void pqb_store_death_point(struct pqb_store *s, enum pqb_failpoint step);

struct pqb_ledger_turn pqb_store_turn(const struct pqb_store *s);
uint32_t pqb_store_minutes(const struct pqb_store *s);

// The write transaction, opened when first needed.
struct pqb_txn *pqb_store_txn(struct pqb_store *s);
// Commits it with `step` as failpoint. After a fatal error the store has failed.
PQB_MUST_USE int pqb_store_commit_txn(struct pqb_store *s, enum pqb_failpoint step);

// Nothing can be trusted any more: ends the process, or marks the store failed in step mode.
void pqb_store_fail(struct pqb_store *s, const char *step, int err);

// recovery.c
PQB_MUST_USE int pqb_store_recover(struct pqb_store *s);
// The first part of it, for verify: secret, counters and an empty ledger, from a read transaction.
PQB_MUST_USE int pqb_store_read_meta(struct pqb_store *s);
void pqb_store_put_state(struct pqb_store *s, struct pqb_txn *txn, enum pqb_open_mode mode);
extern const char pqb_meta_format_key[], pqb_meta_secret_key[], pqb_meta_state_key[],
    pqb_meta_restored_key[];
PQB_MUST_USE int pqb_meta_get(MDB_txn *txn, MDB_dbi dbi, const char *key, struct pqb_bytes *out);
void pqb_meta_put(struct pqb_txn *txn, const char *key, const void *data, size_t len);

// tables.c: the ledger's way to the tables, through the write transaction
struct pqb_ledger_io pqb_store_ledger_io(struct pqb_store *s);

// Reads a message with all its parts, under journal or inbox keys. The body borrows from the page
// or lies in `buffer` (PQB_BODY_MAX). `cursor` stands on the head when it is called.
PQB_MUST_USE int pqb_message_read(MDB_cursor *cursor, const MDB_val *key, const MDB_val *value,
                                  uint8_t *buffer, struct pqb_journal_record *out);

// checkpoint.c
bool pqb_checkpoint_is_due(const struct pqb_store *s);
pqb_tstamp pqb_checkpoint_deadline(const struct pqb_store *s);
void pqb_checkpoint_step(struct pqb_store *s); // one bounded transaction
void pqb_checkpoint_fini(struct pqb_store *s);

// retention.c
pqb_duration pqb_retention_interval(const struct pqb_store *s); // between looks at an idle store
bool pqb_retention_has_limits(const struct pqb_store *s);       // on count or bytes
void pqb_retention_stretch(struct pqb_store *s);                // inside a batch

// space.c
void pqb_space_check(struct pqb_store *s); // after a commit
void pqb_space_failed(struct pqb_store *s);
bool pqb_space_may_store(const struct pqb_store *s);
