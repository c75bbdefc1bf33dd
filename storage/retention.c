// What has grown too old: messages by age, or because newer ones of the same user are enough;
// devices by silence. Decided like any request, in a batch of its own, a stretch at a time.
//
// Who is over a limit on count or bytes got there by a message since the last checkpoint: those
// users are looked at first, and what they lose is never moved to `inbox`. The stretch of the user
// table that follows finds who is too old, and who was left over: by a checkpoint that had too much
// to expire, or when the limits were lowered.
#include "common/base/err.h"
#include "storage/store_internal.h"

#define STEP_SCAN_MAX    1024           // user rows looked at in one EXPIRE step
#define STEP_DIRTY_MAX   16384          // users in memory looked at in one EXPIRE step
#define STEP_DUE_MAX     64             // users acted on in one EXPIRE step
#define RETENTION_MIN_NS PQB_NS_PER_SEC // between looks at retention when idle
#define RETENTION_MAX_NS (3600 * PQB_NS_PER_SEC)

bool pqb_retention_has_limits(const struct pqb_store *s)
{
    return s->config.retention_messages != 0 || s->config.retention_bytes != 0;
}

static pqb_duration scan_interval(const struct pqb_store *s)
{
    uint64_t ms = pqb_retention_has_limits(s) ? RETENTION_MAX_NS / PQB_NS_PER_MS : UINT64_MAX;

    if (s->config.retention_ms > 0)
        ms = PQB_MIN(ms, s->config.retention_ms / 8);
    if (s->config.device_idle_ms > 0)
        ms = PQB_MIN(ms, s->config.device_idle_ms / 8);
    if (ms == UINT64_MAX)
        return PQB_NEVER;
    if (ms >= RETENTION_MAX_NS / PQB_NS_PER_MS)
        return RETENTION_MAX_NS;
    return PQB_MAX(ms * PQB_NS_PER_MS, RETENTION_MIN_NS);
}

pqb_duration pqb_retention_interval(const struct pqb_store *s)
{
    const pqb_duration interval = scan_interval(s);
    // What grew old while nobody looked does not wait for an hour.
    const bool is_hurried = s->checkpoint.has_left_over || !s->checkpoint.has_looked;

    return interval != PQB_NEVER && is_hurried ? PQB_MIN(interval, s->config.journal_checkpoint_ns)
                                               : interval;
}

static bool is_older(pqb_wall_ms at, uint64_t limit_ms, pqb_wall_ms now)
{
    return limit_ms != 0 && at != 0 && now > at && now - at > limit_ms;
}

static bool is_over(const struct pqb_store *s, uint64_t count, uint64_t bytes)
{
    const struct pqb_store_config *config = &s->config;

    return (config->retention_messages != 0 && count > config->retention_messages) ||
           (config->retention_bytes != 0 && bytes > config->retention_bytes);
}

// Users touched since the last checkpoint who are over a limit. Turns the list: each is looked at
// once.
static size_t find_grown(struct pqb_store *s, uint64_t due[STEP_DUE_MAX])
{
    struct pqb_checkpoint *cp = &s->checkpoint;
    struct pqb_list *dirty = &s->ledger->dirty;
    size_t count = 0;

    for (size_t i = 0; i < STEP_DIRTY_MAX && count < STEP_DUE_MAX && cp->dirty_left > 0; i++) {
        struct pqb_list *node = pqb_list_pop_front(dirty);
        const struct pqb_ledger_user *u;

        if (node == NULL) { // an aborted batch took new users back
            cp->dirty_left = 0;
            break;
        }
        pqb_list_push_back(dirty, node);
        cp->dirty_left--;
        u = PQB_CONTAINER_OF(node, struct pqb_ledger_user, dirty);
        if (is_over(s, u->core.settled.count, u->core.settled.bytes))
            due[count++] = u->uid;
    }
    return count;
}

// Users in the next stretch of the table who may have something too old. Returns how many; 0 with
// scan_uid at 0 when the table's end was reached.
static size_t find_due(struct pqb_store *s, uint64_t due[STEP_DUE_MAX])
{
    struct pqb_checkpoint *cp = &s->checkpoint;
    MDB_cursor *cursor = pqb_txn_cursor(pqb_store_txn(s), s->env.user);
    const pqb_wall_ms now = pqb_store_clock(s);
    uint8_t from[PQB_USER_KEY_LEN];
    MDB_val key = {.mv_size = sizeof(from), .mv_data = from};
    struct pqb_user_row row;
    size_t count = 0;
    MDB_val value;
    int rc;

    if (cursor == NULL)
        return 0;
    pqb_key_user(from, cp->scan_uid);
    rc = pqb_txn_get(&s->txn, cursor, &key, &value, MDB_SET_RANGE);
    for (size_t i = 0; rc == 0 && i < STEP_SCAN_MAX && count < STEP_DUE_MAX; i++) {
        const uint64_t uid = pqb_key_u64(key.mv_data);

        if (pqb_user_row_decode(&row, uid, value.mv_data, value.mv_size) == PQB_OK &&
            (is_older(row.oldest_at, s->config.retention_ms, now) ||
             is_older(row.seen_min, s->config.device_idle_ms, now) ||
             is_over(s, row.settled.count, row.settled.bytes)))
            due[count++] = uid;
        cp->scan_uid = uid + 1;
        cp->scan_left -= PQB_MIN(cp->scan_left, UINT64_C(1));
        rc = pqb_txn_get(&s->txn, cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (rc != 0)
        cp->scan_uid = 0;
    return count;
}

// What expiry leaves of a user's retained messages.
struct remainder {
    uint64_t count, bytes;
    uint64_t upto; // position of the newest that goes; 0: none
};

static void take(struct pqb_store *s, struct remainder *left, uint64_t iseq, uint64_t bytes)
{
    left->upto = iseq;
    left->count -= PQB_MIN(left->count, UINT64_C(1));
    left->bytes -= PQB_MIN(left->bytes, bytes);
    s->checkpoint.expire_left--;
    s->counters.expired++;
}

// From `inbox`, oldest first. true when nothing there stays.
static bool take_from_inbox(struct pqb_store *s, const struct pqb_ledger_user *u,
                            struct remainder *left)
{
    MDB_cursor *cursor = pqb_txn_cursor(pqb_store_txn(s), s->env.inbox);
    const pqb_wall_ms now = pqb_store_clock(s);
    uint8_t from[PQB_INBOX_KEY_LEN];
    MDB_val key = {.mv_size = sizeof(from), .mv_data = from};
    MDB_val value;
    int rc;

    if (cursor == NULL)
        return false;
    pqb_key_inbox(from, u->uid, u->core.settled.floor + 1, 0);
    rc = pqb_txn_get(&s->txn, cursor, &key, &value, MDB_SET_RANGE);
    for (; rc == 0; rc = pqb_txn_get(&s->txn, cursor, &key, &value, MDB_NEXT)) {
        const uint8_t *k = key.mv_data;
        struct pqb_journal_record r = {0};
        bool is_old;

        if (pqb_key_u64(k) != u->uid) {
            rc = MDB_NOTFOUND;
            break;
        }
        if (pqb_key_u16(k + 16) != 0)
            continue;
        if (pqb_inbox_decode(&r, k, value.mv_data, value.mv_size) == PQB_OK)
            is_old = is_older(r.at, s->config.retention_ms, now);
        else // nobody can read it; its age is not known
            is_old = s->config.retention_ms != 0;
        if (s->checkpoint.expire_left == 0 || !(is_old || is_over(s, left->count, left->bytes)))
            break;
        take(s, left, pqb_key_u64(k + 8), r.body_len);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND;
}

// From the journal; its messages are never too old, but may be too many.
static void take_from_journal(struct pqb_store *s, const struct pqb_ledger_user *u,
                              struct remainder *left)
{
    for (size_t i = u->core.retained_first; i < u->core.retained_end; i++) {
        if (s->checkpoint.expire_left == 0 || !is_over(s, left->count, left->bytes))
            return;
        take(s, left, u->retained[i].iseq, u->retained[i].bytes);
    }
}

// Highest position of `u` that expires, all retained ones below it doing so as well; 0: none.
static uint64_t expired_upto(struct pqb_store *s, const struct pqb_ledger_user *u)
{
    const struct pqb_settled *settled = &u->core.settled;
    struct remainder left = {.count = settled->count, .bytes = settled->bytes};

    if (take_from_inbox(s, u, &left))
        take_from_journal(s, u, &left);
    return left.upto;
}

static int expire_user(struct pqb_store *s, uint64_t uid)
{
    const struct pqb_ledger_turn turn = pqb_store_turn(s);
    struct pqb_ledger_user *u;
    uint64_t upto;
    int err = pqb_ledger_user_find(s->ledger, uid, &u);

    if (err != PQB_OK || u == NULL)
        return err;
    upto = expired_upto(s, u);
    if (upto != 0)
        err = pqb_ledger_expire(s->ledger, uid, upto, &turn);
    if (err == PQB_OK && s->config.device_idle_ms != 0 && turn.at > s->config.device_idle_ms)
        err = pqb_ledger_forget_idle(s->ledger, uid, turn.at - s->config.device_idle_ms, &turn,
                                     &s->counters.devices_forgotten);
    return err;
}

void pqb_retention_stretch(struct pqb_store *s)
{
    uint64_t due[STEP_DUE_MAX];
    size_t count;

    pqb_store_death_point(s, PQB_FAIL_RETENTION_BEGUN);
    count = s->checkpoint.dirty_left > 0 ? find_grown(s, due) : find_due(s, due);
    for (size_t i = 0; i < count; i++) {
        const int err = expire_user(s, due[i]);

        if (err == PQB_ERR_CORRUPT)
            s->counters.records_bad++;
        else if (err != PQB_OK)
            pqb_txn_fail(pqb_store_txn(s), err);
    }
}
