// The store: everything durable, in one LMDB environment, behind requests and a read view.
//
// Writes are asynchronous: a shard submits a request, the one writer decides it in queue order,
// makes it durable with the others of its batch, and gives it back completed. Reads are
// synchronous, through a view that a shard opens for one turn of its loop. What is on disk:
// storage/FORMAT.md.
//
// Threads: submit from any shard; poll and view by their own shard; step by the writer alone (the
// thread that pqb_store_start made, or the caller in simulation). Nothing here blocks but open,
// close, start and step.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/list.h"
#include "common/base/range.h"
#include "common/base/time.h"
#include "common/wire/frame.h"
#include "common/wire/limits.h"

struct pqb_store;

#define PQB_STORE_SECRET_LEN 32

enum pqb_durability {
    PQB_DURABILITY_COMMIT = 0, // complete after the commit's sync returned
    PQB_DURABILITY_ASYNC = 1,  // msg:A may leave early; a full commit follows within 100 ms
};

// Called by the writer after a commit or a completion: shard `shard` has something to poll or tail.
// Runs on the writer's thread; must not call back into the store.
typedef void (*pqb_store_wake_fn)(void *ctx, uint32_t shard);

// Failpoint hook of test builds: called with a step's name; a non-zero result is taken as the errno
// of that step. NULL in production.
typedef int (*pqb_store_failpoint_fn)(void *ctx, const char *step);

struct pqb_store_config {
    const char *path;      // data directory; made with mode 0700 when missing
    size_t map_bytes;      // LMDB map size: the most the file can grow to
    uint32_t shards;       // completion queues
    uint32_t requests_max; // outstanding requests a shard may have
    enum pqb_durability durability;
    bool is_sync_off;      // simulator only: no fdatasync
    const uint8_t *secret; // simulator only: PQB_STORE_SECRET_LEN bytes for a new store; else NULL

    uint64_t journal_checkpoint_bytes;  // a checkpoint begins at so much journal
    pqb_duration journal_checkpoint_ns; // or after so long with anything in it
    uint64_t journal_max_bytes;         // above it messages are refused with nack(storage)
    uint32_t checkpoint_users_max;   // one transaction of a checkpoint writes so many users' rows
    uint32_t checkpoint_bytes_max;   // or moves so many bytes
    uint32_t checkpoint_records_max; // or drops so many records
    uint32_t batch_bytes_max;        // a batch takes requests up to so many bytes
    uint32_t disk_soft_percent;      // of the map; above it messages are refused

    uint64_t inbox_messages_max, inbox_bytes_max; // per user
    uint64_t users_max;
    uint32_t
        users_per_sender_max; // names that one device may bring into being; 0: recipients = known
    uint32_t devices_per_user_max;
    uint64_t retention_ms; // age at which a message expires; 0: never
    // A user's unacknowledged messages above either limit expire at the next checkpoint, the oldest
    // first; 0: no limit. No effect at or above the quota, which refuses the newest instead.
    uint64_t retention_messages, retention_bytes;
    uint64_t device_idle_ms; // a device unseen for so long is forgotten; 0: never
    size_t users_cached_max; // users at rest since the last checkpoint but one kept in memory

    pqb_store_wake_fn wake;
    pqb_store_failpoint_fn failpoint;
    void *ctx; // of both callbacks
};

void pqb_store_config_default(struct pqb_store_config *config); // everything but path, wake, ctx

// Opens, recovers (scans the journal) and leaves the store ready. `now`/`wall` seed its clocks.
// PQB_ERR_LOCKED: another process has the directory. PQB_ERR_VERSION, _CORRUPT, _IO, _NO_SPACE.
PQB_MUST_USE int pqb_store_open(struct pqb_store **out, const struct pqb_store_config *config,
                                pqb_tstamp now, pqb_wall_ms wall);

// Stops the writer if it runs (what is queued is still committed), closes. NULL is fine.
void pqb_store_close(struct pqb_store *s);

// Drops everything not committed, as a crash would, and frees the store. Queued requests are freed.
void pqb_store_crash(struct pqb_store *s);

// Starts the writer thread; it reads the clocks itself. PQB_OK or PQB_ERR_NOMEM.
PQB_MUST_USE int pqb_store_start(struct pqb_store *s);

// Without a writer thread: takes what is queued, commits one batch, completes it, and does one
// bounded step of a checkpoint when one is due. true when there may be more to do at once.
bool pqb_store_step(struct pqb_store *s, pqb_tstamp now, pqb_wall_ms wall);

// When step wants to run again without new requests (checkpoint due, async batch).
pqb_tstamp pqb_store_next_deadline(const struct pqb_store *s);

const uint8_t *pqb_store_secret(const struct pqb_store *s); // PQB_STORE_SECRET_LEN bytes

// Keyed hash of a user name; the user's shard is hash % shards. Stable over restarts.
uint32_t pqb_store_user_hash(const struct pqb_store *s, const char *name, size_t len);

// ---------------------------------------------------------------------------------- requests

enum pqb_op {
    PQB_OP_LOOKUP,     // login preview: what the ledger knows of user and device; writes nothing
    PQB_OP_LOGIN,      // registers user and device where new; marks the device seen
    PQB_OP_MSG,        // accept a message
    PQB_OP_CURSOR,     // a device has taken everything <= cursor
    PQB_OP_EPOCH,      // new epoch for a device, idempotent by nonce
    PQB_OP_SKIP,       // abandon seqs
    PQB_OP_STAT,       // what became of (epoch, seq)
    PQB_OP_ROLLBACK,   // new generation for this user when `cursor` lies above its head, or is 0
    PQB_OP_USER,       // operator: the state of a user and its devices; writes nothing
    PQB_OP_FORGET,     // operator: unregister a device
    PQB_OP_CHECKPOINT, // operator, tests: begin a checkpoint now; completes when begun
};

enum pqb_result {
    PQB_RESULT_DONE = 0,
    PQB_RESULT_DUPLICATE, // MSG: accepted or abandoned before; `state`, `iseq` tell which
    PQB_RESULT_REFUSED,   // `nack` names the reason; MSG: if final the seq is durably consumed
    PQB_RESULT_TRANSIENT, // MSG: predecessor not consumed (ORDER), or STORAGE: try again
    PQB_RESULT_UNKNOWN,   // no such user or device (LOOKUP: what is known is filled in)
    PQB_RESULT_FAILED,    // the batch was aborted: nothing happened, try again (storage)
};

// A device as the ledger has it.
struct pqb_device_state {
    uint32_t devno; // number within the user; 0: unknown device
    uint32_t epoch; // 0: none yet
    uint64_t low;
    uint64_t cursor;
    struct pqb_ranges consumed; // consumed seqs >= low, the lowest ranges
};

// A user as the ledger has it.
struct pqb_user_state {
    uint64_t uid; // 0: unknown user
    uint32_t uhash;
    uint64_t head;             // highest iseq given out; counter 0: none in this generation yet
    uint64_t tail;             // lowest retained iseq; head + 1 when there is none
    uint64_t floor;            // everything at or below is acknowledged by all devices, or expired
    uint64_t delivered;        // highest iseq that any device has acknowledged
    uint64_t count, bytes;     // retained messages
    uint64_t generation_first; // first iseq of the current generation
    uint64_t as_of;            // covers the journal up to this gseq, and nothing above it
};

#define PQB_USER_DEVICES_MAX 32

// One request; also its own completion. Made by pqb_request_create with room for `body_len`.
struct pqb_request {
    struct pqb_list link; // submitter's; unused by the store
    enum pqb_op op;
    uint32_t shard;   // where the completion goes
    uint64_t tag[3];  // the submitter's; returned untouched
    pqb_wall_ms time; // MSG: when it arrived

    // In. Names for LOOKUP, LOGIN, USER; uid+devno elsewhere.
    char user[PQB_USER_MAX];
    uint8_t user_len;
    char device[PQB_DEVICE_MAX];
    uint8_t device_len;
    uint64_t uid; // the requesting user
    uint32_t devno;
    uint32_t epoch;
    uint64_t seq, low, after;
    uint16_t kind;
    char to[PQB_USER_MAX]; // MSG, STAT
    uint8_t to_len;
    uint64_t cursor; // CURSOR, ROLLBACK
    bool has_iseq;   // STAT: `iseq` came from a receipt
    uint8_t refuse;  // MSG: not 0: a final nack reason the shard found; consume the seq as refused
    uint8_t nonce[PQB_NONCE_LEN];
    struct pqb_ranges seqs; // SKIP
    uint32_t body_len;
    uint32_t cost; // bytes this request holds; accounting

    // Out.
    enum pqb_result result;
    uint8_t nack;                     // REFUSED, TRANSIENT
    uint8_t state;                    // MSG, STAT: enum pqb_state
    uint64_t iseq;                    // MSG: position in the recipient's inbox (0: not remembered)
    uint64_t to_uid;                  // MSG: the recipient
    uint32_t to_uhash;                // MSG
    uint64_t delivered_before;        // CURSOR: the user's delivered mark before this one
    bool is_first_epoch_use;          // EPOCH: false when the nonce was a repeat
    struct pqb_user_state user_state; // LOOKUP, LOGIN, USER, CURSOR, ROLLBACK
    struct pqb_device_state device_state; // LOOKUP, LOGIN, EPOCH
    struct pqb_frame_skip_a skipped;      // SKIP
    uint32_t devices_count;               // USER
    struct pqb_user_device *devices;      // USER: owned by the request, freed with it

    uint8_t body[]; // MSG
};

struct pqb_user_device {
    char name[PQB_DEVICE_MAX];
    uint8_t name_len;
    uint32_t devno, epoch;
    uint64_t low, cursor;
    pqb_wall_ms last_seen;
};

struct pqb_request *pqb_request_create(enum pqb_op op, size_t body_len); // zeroed; NULL: no memory
void pqb_request_destroy(struct pqb_request *r);                         // NULL is fine

// Hands `r` to the writer; on the thread that polls r->shard. PQB_OK: the store owns it until
// pqb_store_poll returns it. PQB_ERR_FULL: the shard has requests_max outstanding or the queue is
// full; still the caller's.
PQB_MUST_USE int pqb_store_submit(struct pqb_store *s, struct pqb_request *r);

// Next completed request of `shard`, in the order of their decision (async durability: answered
// messages may be ahead of other requests); NULL when there is none. The caller owns it again.
struct pqb_request *pqb_store_poll(struct pqb_store *s, uint32_t shard);

// ---------------------------------------------------------------------------------- read view

// A shard's window on what is committed; at most one turn of its loop long.
struct pqb_view;

PQB_MUST_USE int pqb_view_create(struct pqb_store *s, struct pqb_view **out);
void pqb_view_destroy(struct pqb_view *v);

// Takes a snapshot / lets it go. Everything a view returned is void after end.
PQB_MUST_USE int pqb_view_begin(struct pqb_view *v);
void pqb_view_end(struct pqb_view *v);

// gseq of the first record still in the journal, and one above the last.
uint64_t pqb_view_journal_first(const struct pqb_view *v);
uint64_t pqb_view_journal_end(const struct pqb_view *v);

// What a shard learns from a journal record.
enum pqb_record_type {
    PQB_RECORD_MSG = 1,  // message: uid, uhash, iseq, sender, body
    PQB_RECORD_PART = 2, // rest of a large message; carries nothing a shard needs
    PQB_RECORD_REFUSAL = 3,
    PQB_RECORD_SKIP = 4,
    PQB_RECORD_CURSOR = 5, // uid, devno, cursor, delivered
    PQB_RECORD_DEVICE = 6, // registration
    PQB_RECORD_EPOCH = 7,
    PQB_RECORD_EXPIRE = 8,     // uid: everything <= iseq has expired; tail moves
    PQB_RECORD_GENERATION = 9, // uid: new generation begins at iseq
    PQB_RECORD_FORGET = 10,
    PQB_RECORD_USER = 11, // uid: a new name; its first position is iseq + 1
    PQB_RECORD_BAD = 255, // did not check; skipped and counted
};

struct pqb_record {
    uint64_t gseq;
    enum pqb_record_type type;
    uint64_t uid; // whose inbox or device
    uint32_t uhash;
    uint64_t iseq;      // MSG: position; CURSOR: the cursor; EXPIRE: upto; GENERATION: first
    uint64_t delivered; // CURSOR: the user's delivered mark after it
    uint32_t devno;
    uint32_t body_len; // MSG
};

// Steps to the first record with gseq >= *gseq and sets *gseq one above it. PQB_ERR_NOT_FOUND at
// the end. A shard calls it until the end each turn: that is how it learns of arrivals.
PQB_MUST_USE int pqb_view_tail(struct pqb_view *v, uint64_t *gseq, struct pqb_record *out);

// A stored message. Text and body borrow from the view, until the next message is read or it ends.
struct pqb_message {
    uint64_t uid, iseq;
    pqb_wall_ms time;
    uint16_t kind;
    uint64_t from_uid;
    uint32_t from_devno;
    uint32_t from_uhash; // the sender's shard is from_uhash % shards
    uint32_t epoch;      // the sender's identity of the message
    uint64_t seq;
    struct pqb_text from, device;
    struct pqb_bytes body;
};

// The message whose head record is `gseq`. PQB_ERR_NOT_FOUND (left behind by a checkpoint),
// PQB_ERR_CORRUPT (does not check).
PQB_MUST_USE int pqb_view_journal_message(struct pqb_view *v, uint64_t gseq,
                                          struct pqb_message *out);

// The first message in `inbox` of `uid` with position >= iseq. PQB_ERR_NOT_FOUND, PQB_ERR_CORRUPT
// (`out->iseq` then tells which position does not check).
PQB_MUST_USE int pqb_view_inbox_message(struct pqb_view *v, uint64_t uid, uint64_t iseq,
                                        struct pqb_message *out);

// What the user's row says: everything that the journal no longer holds is in it. Fills uid, uhash,
// head, tail, delivered, count, bytes. PQB_ERR_NOT_FOUND: never checkpointed; PQB_ERR_CORRUPT.
PQB_MUST_USE int pqb_view_user(struct pqb_view *v, uint64_t uid, struct pqb_user_state *out);

// ---------------------------------------------------------------------------------- upkeep

struct pqb_store_stats {
    uint64_t commits, commit_messages, commit_records, commit_bytes, commit_aborts;
    uint64_t commit_ns_total; // time inside mdb_txn_commit
    uint64_t checkpoints, checkpoint_moved, checkpoint_left_behind, expired;
    uint64_t records_bad, generations, degraded_entries;
    uint64_t journal_bytes, journal_records, map_used_bytes, map_bytes;
    uint64_t users_cached, devices_cached, queue_len;
    uint64_t is_degraded;      // messages are refused at the moment
    uint64_t is_clock_doubted; // the wall clock was > 1 day ahead at start; retention waits
    uint64_t devices_forgotten;
    uint64_t records_orphaned; // replayed records whose user or device was lost with another
    uint64_t readers_cleared;  // snapshots that a dead process had left open
};

void pqb_store_get_stats(const struct pqb_store *s, struct pqb_store_stats *out); // any thread

// The clock that retention goes by: kept in the store, moved on by time that has elapsed. The
// writer's thread, or who calls pqb_store_step.
pqb_wall_ms pqb_store_clock(const struct pqb_store *s);

// Operator: the wall clock is right after all; the store's clock jumps to it with the next step.
// Any thread.
void pqb_store_confirm_clock(struct pqb_store *s);

// A step met a fatal error (EIO, a broken environment): nothing is decided any more. With a writer
// thread the process has ended instead.
bool pqb_store_is_failed(const struct pqb_store *s);

// Consistent copy of the running store into the new directory `path`, marked as a backup, so that
// opening it begins a new generation. Fails with PQB_ERR_NO_SPACE when it would pin more than
// `pages_max` pages of the running store. Call from any thread but the writer's and the shards'.
PQB_MUST_USE int pqb_store_backup(struct pqb_store *s, const char *path, uint64_t pages_max);

typedef void (*pqb_verify_fn)(void *ctx, const char *finding);

struct pqb_verify_report {
    uint64_t users, devices, inbox_messages, journal_records, journal_messages, names;
    uint64_t findings;
};

// Walks a stopped data directory or a backup: every CRC, key order, invariants between tables and
// journal. PQB_OK also when there are findings (see report->findings); errors are for what could
// not be read at all.
PQB_MUST_USE int pqb_store_verify(const char *path, pqb_verify_fn fn, void *ctx,
                                  struct pqb_verify_report *report);
