// Moving what has grown old from the journal to the tables, in bounded transactions between
// batches:
//
//   EXPIRE  retention and idle devices become records of their own
//   USERS   G is fixed; for every user touched up to G: its retained messages <= G to `inbox`, what
//           is done with out of it, and its rows, all of one user's in one transaction
//   DROP    the journal's prefix <= G, with journal_first and next_gseq
//
// A row is the fold of every record up to its as_of, whatever G is: the writer's ledger between two
// batches. A crash between any two of these transactions leaves rows that cover more than others;
// replay skips per user what its row covers. Nothing is dropped before all rows stand.
#include <stdlib.h>
#include <string.h>

#include <malloc.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/mutant.h"
#include "storage/store_internal.h"
#include "storage/writer.h"

#define SCAN_MAX   65536 // user rows looked at in one checkpoint
#define EXPIRE_MAX 65536 // messages expired in one checkpoint
#define TRIM_USERS 1024  // forgotten at once that make it worth asking the allocator for pages
#define ROW_COST   256   // of a moved or trimmed row besides its body

struct pqb_checkpoint_row {
    struct pqb_ledger_user *user;
    struct pqb_user_row row;
    bool is_done; // false: more of this user in the next step
};

// ---------------------------------------------------------------------------------- when

// While messages are refused for want of space, what a cursor frees is wanted soon.
static pqb_duration journal_interval(const struct pqb_store *s)
{
    return s->counters.is_degraded ? PQB_MIN(PQB_RETRY_DELAY_NS, s->config.journal_checkpoint_ns)
                                   : s->config.journal_checkpoint_ns;
}

pqb_tstamp pqb_checkpoint_deadline(const struct pqb_store *s)
{
    const struct pqb_checkpoint *cp = &s->checkpoint;
    pqb_tstamp at = pqb_tstamp_add(cp->done_at, pqb_retention_interval(s));

    if (s->counters.journal_records > 0)
        at = PQB_MIN(at, pqb_tstamp_add(s->journal_since, journal_interval(s)));
    if (cp->phase != PQB_CHECKPOINT_IDLE || cp->is_wanted ||
        s->counters.journal_bytes >= s->journal_checkpoint_bytes)
        at = 0;
    return PQB_MAX(at, cp->not_before);
}

bool pqb_checkpoint_is_due(const struct pqb_store *s)
{
    return s->now >= pqb_checkpoint_deadline(s);
}

static size_t dirty_count(const struct pqb_ledger *l)
{
    size_t count = 0;

    PQB_LIST_FOREACH (it, &l->dirty)
        count++;
    return count;
}

static void begin(struct pqb_store *s)
{
    struct pqb_checkpoint *cp = &s->checkpoint;

    cp->phase = PQB_CHECKPOINT_EXPIRE;
    cp->is_wanted = false;
    cp->scan_left = SCAN_MAX;
    cp->expire_left = EXPIRE_MAX;
    cp->dirty_left = pqb_retention_has_limits(s) ? dirty_count(s->ledger) : 0;
    cp->moved_count = cp->dropped_count = 0;
    cp->batch_before = cp->batch_begun;
    cp->batch_begun = s->ledger->batch;
    pqb_store_death_point(s, PQB_FAIL_CHECKPOINT_BEGUN);
}

static void postpone(struct pqb_store *s)
{
    s->checkpoint.not_before = pqb_tstamp_add(s->now, PQB_RETRY_DELAY_NS);
    pqb_space_failed(s);
}

// Commits a step's transaction; a failure is tried again later, a fatal one never.
static bool commit_step(struct pqb_store *s, enum pqb_failpoint before, enum pqb_failpoint after)
{
    if (pqb_store_commit_txn(s, before) != PQB_OK) {
        postpone(s);
        return false;
    }
    pqb_store_death_point(s, after);
    return true;
}

// ---------------------------------------------------------------------------------- expire

static void step_expire(struct pqb_store *s)
{
    struct pqb_checkpoint *cp = &s->checkpoint;
    const struct pqb_checkpoint before = *cp;
    const uint64_t expired = s->counters.expired;
    const uint64_t forgotten = s->counters.devices_forgotten;

    pqb_writer_begin(s);
    pqb_retention_stretch(s);
    if (pqb_writer_commit(s, PQB_FAIL_CHECKPOINT_EXPIRE) != PQB_OK) {
        *cp = before;
        if (cp->dirty_left > 0) // the list has been turned: all of it again
            cp->dirty_left = dirty_count(s->ledger);
        s->counters.expired = expired;
        s->counters.devices_forgotten = forgotten;
        postpone(s);
        return;
    }
    if (s->batch_records > 0)
        pqb_writer_wake(s);
    cp->has_left_over = cp->expire_left == 0;
    cp->has_looked = true;
    if (cp->has_left_over || (before.dirty_left == 0 && (cp->scan_uid == 0 || cp->scan_left == 0)))
        cp->phase = PQB_CHECKPOINT_USERS;
}

// ---------------------------------------------------------------------------------- users

static int by_uid(const void *a, const void *b)
{
    const struct pqb_ledger_user *const *x = a;
    const struct pqb_ledger_user *const *y = b;

    return ((*x)->uid > (*y)->uid) - ((*x)->uid < (*y)->uid);
}

// Fixes G and whose rows are behind it.
static bool collect_users(struct pqb_store *s)
{
    struct pqb_checkpoint *cp = &s->checkpoint;
    const size_t count = dirty_count(s->ledger);

    if (cp->rows == NULL)
        cp->rows = malloc(s->config.checkpoint_users_max * sizeof(*cp->rows));
    if (cp->scratch == NULL)
        cp->scratch = malloc(PQB_BODY_MAX);
    cp->users = malloc((count + 1) * sizeof(struct pqb_ledger_user *));
    if (cp->rows == NULL || cp->scratch == NULL || cp->users == NULL) {
        free(cp->users);
        cp->users = NULL;
        cp->not_before = pqb_tstamp_add(s->now, PQB_RETRY_DELAY_NS);
        return false;
    }
    cp->user_count = cp->user_at = 0;
    cp->upto = s->ledger->counters.next_gseq - 1;
    while (!pqb_list_is_empty(&s->ledger->dirty)) {
        struct pqb_list *node = pqb_list_pop_front(&s->ledger->dirty);

        cp->users[cp->user_count++] = PQB_CONTAINER_OF(node, struct pqb_ledger_user, dirty);
    }
    qsort(cp->users, cp->user_count, sizeof(struct pqb_ledger_user *), by_uid);
    pqb_store_death_point(s, PQB_FAIL_CHECKPOINT_COLLECTED);
    return true;
}

static void put_inbox(struct pqb_store *s, const struct pqb_journal_record *r)
{
    uint8_t key[PQB_INBOX_KEY_LEN];
    uint8_t value[PQB_VALUE_MAX];

    const uint16_t last = PQB_MUTANT(PARTS_LEFT_BEHIND) ? 0 : r->part_count;

    // Through a buffer of our own: the body lies in a page of this transaction.
    for (uint16_t part = 0; part <= last; part++) {
        const size_t len = part == 0 ? pqb_record_len(r) : pqb_part_len(r, part);

        pqb_key_inbox(key, r->uid, r->iseq, part);
        if (part == 0)
            pqb_inbox_encode(r, key, value, len);
        else
            pqb_part_encode(r, part, key, sizeof(key), value, len);
        pqb_txn_put(&s->txn, s->env.inbox, key, sizeof(key), value, len, 0);
    }
}

// A message that does not check any more stays behind; its reader will find the gap.
static void move_message(struct pqb_store *s, MDB_cursor *cursor, const struct pqb_retained *item)
{
    uint8_t at[PQB_JOURNAL_KEY_LEN];
    MDB_val key = {.mv_size = sizeof(at), .mv_data = at};
    struct pqb_journal_record r;
    MDB_val value;
    int err;

    pqb_key_journal(at, item->gseq);
    err = pqb_err_from_mdb(pqb_txn_get(&s->txn, cursor, &key, &value, MDB_SET_KEY));
    if (err == PQB_OK)
        err = pqb_message_read(cursor, &key, &value, s->checkpoint.scratch, &r);
    if (err == PQB_ERR_CORRUPT || err == PQB_ERR_NOT_FOUND) {
        s->counters.records_bad++;
        return;
    }
    if (err != PQB_OK) {
        pqb_txn_fail(&s->txn, err);
        return;
    }
    pqb_store_failpoint_txn(s, PQB_FAIL_CHECKPOINT_MOVE);
    put_inbox(s, &r);
    s->checkpoint.moved_count++;
    s->counters.checkpoint_moved++;
}

// Moves the user's messages <= G, as many as `budget` has room for. true when all are.
static bool move_messages(struct pqb_store *s, const struct pqb_ledger_user *u,
                          struct pqb_user_row *row, uint64_t *budget)
{
    MDB_cursor *cursor = pqb_txn_cursor(&s->txn, s->env.journal);
    size_t i = u->core.retained_first;

    if (cursor == NULL)
        return true; // the commit will tell
    for (; i < u->core.retained_end && u->retained[i].gseq <= s->checkpoint.upto && *budget > 0;
         i++) {
        const struct pqb_retained *item = &u->retained[i];

        if (!PQB_MUTANT(NO_DEVICE_IS_ALL) || u->device_count > 0)
            move_message(s, cursor, item);
        row->inbox_upto = item->iseq;
        *budget -= PQB_MIN(*budget, (uint64_t)item->bytes + ROW_COST);
    }
    mdb_cursor_close(cursor);
    return i == u->core.retained_end || u->retained[i].gseq > s->checkpoint.upto;
}

// Deletes inbox rows that nobody needs any more. true when all are gone.
static bool trim_inbox(struct pqb_store *s, struct pqb_user_row *row, uint64_t *budget)
{
    uint8_t from[PQB_INBOX_KEY_LEN];
    MDB_val key = {.mv_size = sizeof(from), .mv_data = from};
    MDB_cursor *cursor;
    MDB_val value;
    int rc;

    if (row->trimmed_upto >= PQB_MIN(row->settled.floor, row->inbox_upto))
        return true;
    cursor = pqb_txn_cursor(&s->txn, s->env.inbox);
    if (cursor == NULL)
        return true;
    pqb_key_inbox(from, row->uid, 0, 0);
    rc = pqb_txn_get(&s->txn, cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0) {
        const uint8_t *k = key.mv_data;

        if (pqb_key_u64(k) != row->uid || pqb_key_u64(k + 8) > row->settled.floor ||
            (*budget == 0 && pqb_key_u16(k + 16) == 0)) // a message goes whole
            break;
        *budget -= PQB_MIN(*budget, (uint64_t)ROW_COST);
        s->txn.put_count++;
        pqb_store_failpoint_txn(s, PQB_FAIL_CHECKPOINT_TRIM);
        rc = mdb_cursor_del(cursor, 0);
        if (rc != 0) {
            pqb_txn_fail(&s->txn, pqb_err_from_mdb(rc));
            break;
        }
        rc = pqb_txn_get(&s->txn, cursor, &key, &value, MDB_NEXT); // the one after what was deleted
    }
    mdb_cursor_close(cursor);
    if (*budget == 0)
        return false;
    row->trimmed_upto = row->settled.floor;
    return true;
}

// Deletes device rows whose devices were forgotten.
static void delete_forgotten(struct pqb_store *s, const struct pqb_ledger_user *u)
{
    MDB_cursor *cursor = pqb_txn_cursor(&s->txn, s->env.device);
    uint8_t from[PQB_DEVICE_KEY_LEN];
    uint32_t after = 0;
    MDB_val key, value;

    if (cursor == NULL)
        return;
    for (;;) {
        uint32_t devno;

        pqb_key_device(from, u->uid, after + 1);
        key = pqb_val(from, sizeof(from));
        if (pqb_txn_get(&s->txn, cursor, &key, &value, MDB_SET_RANGE) != 0 ||
            pqb_key_u64(key.mv_data) != u->uid)
            break;
        devno = pqb_key_u32((const uint8_t *)key.mv_data + 8);
        after = devno;
        if (pqb_ledger_has_device(u, devno))
            continue;
        if (mdb_cursor_del(cursor, 0) != 0)
            pqb_txn_fail(&s->txn, PQB_ERR_CORRUPT);
    }
    mdb_cursor_close(cursor);
}

// The planted bug's: the cursor stays what the table has.
static void keep_cursor(struct pqb_store *s, struct pqb_device_row *row)
{
    const struct pqb_ledger_io *io = &s->ledger->io;
    struct pqb_device_row old;

    if (io->device_load(io->ctx, row->uid, row->devno - 1, &old) == PQB_OK &&
        old.devno == row->devno)
        row->cursor = old.cursor;
}

static void put_devices(struct pqb_store *s, const struct pqb_ledger_user *u)
{
    uint8_t value[PQB_DEVICE_ROW_MAX];
    uint8_t key[PQB_DEVICE_KEY_LEN];
    struct pqb_device_row row;

    for (size_t i = 0; i < u->device_count; i++) {
        size_t len;

        pqb_ledger_device_row(s->ledger, u, u->devices[i], &row);
        if (PQB_MUTANT(LAZY_CURSOR))
            keep_cursor(s, &row);
        len = pqb_device_row_encode(&row, value);
        pqb_key_device(key, row.uid, row.devno);
        pqb_txn_put(&s->txn, s->env.device, key, sizeof(key), value, len, 0);
    }
    if (u->core.has_forgotten)
        delete_forgotten(s, u);
}

// When the oldest message left in inbox came, so that retention need not look at every inbox.
static pqb_wall_ms oldest_at(struct pqb_store *s, const struct pqb_user_row *row)
{
    uint8_t from[PQB_INBOX_KEY_LEN];
    MDB_val key = {.mv_size = sizeof(from), .mv_data = from};
    struct pqb_journal_record r;
    pqb_wall_ms at = 0;
    MDB_cursor *cursor;
    MDB_val value;

    if (row->inbox_upto <= row->settled.floor)
        return 0;
    cursor = pqb_txn_cursor(&s->txn, s->env.inbox);
    if (cursor == NULL)
        return 0;
    pqb_key_inbox(from, row->uid, row->settled.floor + 1, 0);
    if (pqb_txn_get(&s->txn, cursor, &key, &value, MDB_SET_RANGE) == 0 &&
        pqb_key_u64(key.mv_data) == row->uid)
        at = pqb_inbox_decode(&r, key.mv_data, value.mv_data, value.mv_size) == PQB_OK ? r.at : 1;
    mdb_cursor_close(cursor);
    return at;
}

static void put_name(struct pqb_store *s, const struct pqb_user_row *row)
{
    uint8_t value[PQB_VALUE_HEADER_LEN + PQB_BLOB_MAX];
    uint8_t uid[PQB_USER_KEY_LEN];
    size_t len;

    pqb_key_user(uid, row->uid);
    len = pqb_blob_encode(row->name, row->name_len, uid, sizeof(uid), value);
    pqb_txn_put(&s->txn, s->env.name, row->name, row->name_len, value, len, 0);
}

static void write_user(struct pqb_store *s, struct pqb_ledger_user *u, uint64_t *budget)
{
    struct pqb_checkpoint *cp = &s->checkpoint;
    struct pqb_checkpoint_row *out = &cp->rows[cp->row_count++];
    uint8_t value[PQB_USER_ROW_MAX];
    uint8_t key[PQB_USER_KEY_LEN];
    bool is_moved, is_trimmed;
    size_t len;

    pqb_store_failpoint_txn(s, PQB_FAIL_CHECKPOINT_ROW);
    out->user = u;
    pqb_ledger_user_row(s->ledger, u, &out->row);
    is_moved = move_messages(s, u, &out->row, budget);
    is_trimmed = trim_inbox(s, &out->row, budget);
    out->is_done = is_moved && is_trimmed;
    out->row.oldest_at = oldest_at(s, &out->row);
    len = pqb_user_row_encode(&out->row, value);
    pqb_key_user(key, u->uid);
    pqb_txn_put(&s->txn, s->env.user, key, sizeof(key), value, len, 0);
    if (!u->has_row)
        put_name(s, &out->row);
    put_devices(s, u);
}

static void end_users(struct pqb_store *s)
{
    struct pqb_checkpoint *cp = &s->checkpoint;

    if (cp->user_at < cp->user_count)
        return;
    free(cp->users);
    cp->users = NULL;
    cp->phase = PQB_CHECKPOINT_DROP;
}

static void step_users(struct pqb_store *s)
{
    struct pqb_checkpoint *cp = &s->checkpoint;
    uint64_t budget = s->config.checkpoint_bytes_max;

    if (cp->users == NULL && !collect_users(s))
        return;
    cp->row_count = 0;
    pqb_store_txn(s);
    for (size_t i = cp->user_at;
         i < cp->user_count && cp->row_count < s->config.checkpoint_users_max && budget > 0; i++)
        write_user(s, cp->users[i], &budget);
    if (cp->row_count == 0)
        pqb_txn_abort(&s->txn);
    else if (!commit_step(s, PQB_FAIL_CHECKPOINT_USERS, PQB_FAIL_CHECKPOINT_WRITTEN))
        return;
    for (size_t i = 0; i < cp->row_count; i++) {
        pqb_ledger_user_written(s->ledger, cp->rows[i].user, &cp->rows[i].row);
        cp->user_at += cp->rows[i].is_done;
    }
    end_users(s);
}

// ---------------------------------------------------------------------------------- drop

static bool is_type(const MDB_val *value, enum pqb_record_type type)
{
    return value->mv_size > PQB_VALUE_HEADER_LEN &&
           ((const uint8_t *)value->mv_data)[PQB_VALUE_HEADER_LEN] == type;
}

// Deletes up to checkpoint_records_max records <= G, never stopping inside a message. Says what it
// took and where the journal now begins.
static bool drop_records(struct pqb_store *s, uint64_t *records, uint64_t *bytes,
                         uint64_t *messages)
{
    struct pqb_checkpoint *cp = &s->checkpoint;
    MDB_cursor *cursor = pqb_txn_cursor(pqb_store_txn(s), s->env.journal);
    MDB_val key, value;
    int rc;

    if (cursor == NULL)
        return false;
    s->journal_first = s->ledger->counters.next_gseq;
    rc = pqb_txn_get(&s->txn, cursor, &key, &value, MDB_FIRST);
    while (rc == 0) {
        s->journal_first = pqb_key_u64(key.mv_data);
        if (s->journal_first > cp->upto ||
            (*records >= s->config.checkpoint_records_max && !is_type(&value, PQB_RECORD_PART)))
            break;
        ++*records;
        *bytes += value.mv_size + PQB_RECORD_OVERHEAD;
        *messages += is_type(&value, PQB_RECORD_MSG);
        rc = mdb_cursor_del(cursor, 0);
        if (rc != 0) {
            pqb_txn_fail(&s->txn, pqb_err_from_mdb(rc));
            break;
        }
        s->journal_first = s->ledger->counters.next_gseq;
        rc = pqb_txn_get(&s->txn, cursor, &key, &value, MDB_FIRST);
    }
    mdb_cursor_close(cursor);
    return s->journal_first > cp->upto;
}

// Users at rest cost 500 bytes each to keep and 3 us to load again. What many of them leave behind
// goes back to the system: it may be most of what this process holds.
static void forget_resting(struct pqb_store *s)
{
    const size_t before = s->ledger->by_uid.count;

    pqb_ledger_evict(s->ledger, s->config.users_cached_max, s->checkpoint.batch_before + 1);
    if (before - s->ledger->by_uid.count >= TRIM_USERS)
        (void)malloc_trim(0);
}

static void finish(struct pqb_store *s)
{
    struct pqb_checkpoint *cp = &s->checkpoint;

    cp->phase = PQB_CHECKPOINT_IDLE;
    cp->done_at = s->now;
    s->journal_since = s->now;
    s->counters.checkpoints++;
    s->counters.readers_cleared += pqb_env_clear_readers(&s->env);
    if (cp->dropped_count > cp->moved_count)
        s->counters.checkpoint_left_behind += cp->dropped_count - cp->moved_count;
    forget_resting(s);
    pqb_store_death_point(s, PQB_FAIL_CHECKPOINT_FINISHED);
}

static void step_drop(struct pqb_store *s)
{
    struct pqb_checkpoint *cp = &s->checkpoint;
    const uint64_t journal_first = s->journal_first;
    uint64_t records = 0, bytes = 0, messages = 0;
    const bool is_last = drop_records(s, &records, &bytes, &messages);
    const enum pqb_open_mode mode =
        s->config.durability == PQB_DURABILITY_ASYNC ? PQB_OPEN_ASYNC : PQB_OPEN_COMMIT;

    if (records == 0 && s->txn.err == PQB_OK) {
        pqb_txn_abort(&s->txn); // an idle store: nothing to write down
        finish(s);
        return;
    }
    pqb_store_put_state(s, &s->txn, mode);
    if (!commit_step(s, PQB_FAIL_CHECKPOINT_DROP, PQB_FAIL_CHECKPOINT_DROPPED)) {
        s->journal_first = journal_first;
        return;
    }
    s->counters.journal_records -= PQB_MIN(s->counters.journal_records, records);
    s->counters.journal_bytes -= PQB_MIN(s->counters.journal_bytes, bytes);
    cp->dropped_count += messages;
    if (is_last)
        finish(s);
}

void pqb_checkpoint_step(struct pqb_store *s)
{
    PQB_ASSERT(!s->ledger->is_in_batch && !pqb_txn_is_open(&s->txn));
    switch (s->checkpoint.phase) {
    case PQB_CHECKPOINT_IDLE:
        begin(s);
        return;
    case PQB_CHECKPOINT_EXPIRE:
        step_expire(s);
        return;
    case PQB_CHECKPOINT_USERS:
        step_users(s);
        return;
    case PQB_CHECKPOINT_DROP:
        step_drop(s);
        return;
    }
}

void pqb_checkpoint_fini(struct pqb_store *s)
{
    free(s->checkpoint.users);
    free(s->checkpoint.rows);
    free(s->checkpoint.scratch);
}
