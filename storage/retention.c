// What has grown too old: messages by age, devices by silence. Decided like any request, in a batch
// of its own, a stretch of the user table at a time.
#include "common/base/err.h"
#include "storage/store_internal.h"

#define STEP_SCAN_MAX    1024           // user rows looked at in one EXPIRE step
#define STEP_DUE_MAX     64             // users acted on in one EXPIRE step
#define RETENTION_MIN_NS PQB_NS_PER_SEC // between looks at retention when idle
#define RETENTION_MAX_NS (3600 * PQB_NS_PER_SEC)

pqb_duration pqb_retention_interval(const struct pqb_store *s)
{
    uint64_t ms = UINT64_MAX;

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

static bool is_older(pqb_wall_ms at, uint64_t limit_ms, pqb_wall_ms now)
{
    return limit_ms != 0 && at != 0 && now > at && now - at > limit_ms;
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
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (size_t i = 0; rc == 0 && i < STEP_SCAN_MAX && count < STEP_DUE_MAX; i++) {
        const uint64_t uid = pqb_key_u64(key.mv_data);

        if (pqb_user_row_decode(&row, uid, value.mv_data, value.mv_size) == PQB_OK &&
            (is_older(row.oldest_at, s->config.retention_ms, now) ||
             is_older(row.seen_min, s->config.device_idle_ms, now)))
            due[count++] = uid;
        cp->scan_uid = uid + 1;
        cp->scan_left -= PQB_MIN(cp->scan_left, UINT64_C(1));
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (rc != 0)
        cp->scan_uid = 0;
    return count;
}

// Highest position of `u` in inbox that is too old, all below it being so as well; 0: none.
static uint64_t expired_upto(struct pqb_store *s, const struct pqb_ledger_user *u)
{
    MDB_cursor *cursor = pqb_txn_cursor(pqb_store_txn(s), s->env.inbox);
    const pqb_wall_ms now = pqb_store_clock(s);
    struct pqb_checkpoint *cp = &s->checkpoint;
    uint8_t from[PQB_INBOX_KEY_LEN];
    MDB_val key = {.mv_size = sizeof(from), .mv_data = from};
    struct pqb_journal_record r;
    uint64_t upto = 0;
    MDB_val value;
    int rc;

    if (cursor == NULL)
        return 0;
    pqb_key_inbox(from, u->uid, u->core.settled.floor + 1, 0);
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; rc == 0 && cp->expire_left > 0; rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        const uint8_t *k = key.mv_data;

        if (pqb_key_u64(k) != u->uid)
            break;
        if (pqb_key_u16(k + 16) != 0)
            continue;
        if (pqb_inbox_decode(&r, k, value.mv_data, value.mv_size) == PQB_OK &&
            !is_older(r.at, s->config.retention_ms, now))
            break;
        upto = pqb_key_u64(k + 8);
        cp->expire_left--;
        s->counters.expired++;
    }
    mdb_cursor_close(cursor);
    return upto;
}

static int expire_user(struct pqb_store *s, uint64_t uid)
{
    const struct pqb_ledger_turn turn = pqb_store_turn(s);
    struct pqb_ledger_user *u;
    uint64_t upto;
    int err = pqb_ledger_user_find(s->ledger, uid, &u);

    if (err != PQB_OK || u == NULL)
        return err;
    upto = s->config.retention_ms != 0 ? expired_upto(s, u) : 0;
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
    const size_t count = find_due(s, due);

    for (size_t i = 0; i < count; i++) {
        const int err = expire_user(s, due[i]);

        if (err == PQB_ERR_CORRUPT)
            s->counters.records_bad++;
        else if (err != PQB_OK)
            pqb_txn_fail(pqb_store_txn(s), err);
    }
}
