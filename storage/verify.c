// Looks at everything in a stopped directory: first each value by itself, then, with the journal
// folded into a ledger, whether tables and journal agree. Read-only.
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "storage/store_internal.h"

#define FINDING_LEN 160
#define KEEP_USERS  1024 // loaded at a time when users are compared, besides those of the journal

struct verify {
    struct pqb_store *s; // a shell: environment, a read transaction, ledger
    pqb_verify_fn fn;
    void *ctx;
    struct pqb_verify_report *report;
    uint8_t *scratch;    // PQB_BODY_MAX
    uint32_t epoch_next; // by meta and journal
    size_t evict_at;     // users in the ledger
};

// Those that stand in the journal stay, however many: looking through them for each row would cost
// the square of their number.
static void evict(struct verify *v)
{
    struct pqb_ledger *l = v->s->ledger;

    if (l->by_uid.count < v->evict_at)
        return;
    pqb_ledger_evict(l, KEEP_USERS, UINT64_MAX);
    v->evict_at = l->by_uid.count + KEEP_USERS;
}

typedef int (*row_fn)(struct verify *v, MDB_cursor *cursor, const MDB_val *key,
                      const MDB_val *value);

static void find(struct verify *v, const char *format, ...) PQB_PRINTF(2, 3);

static void find(struct verify *v, const char *format, ...)
{
    char text[FINDING_LEN];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    v->report->findings++;
    if (v->fn != NULL)
        v->fn(v->ctx, text);
}

static int walk(struct verify *v, MDB_dbi dbi, size_t key_len, const char *table, row_fn fn)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int err = PQB_OK;
    int rc = mdb_cursor_open(v->s->txn.txn, dbi, &cursor);

    if (rc != 0)
        return pqb_err_from_mdb(rc);
    while (err == PQB_OK && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        if (key_len != 0 && key.mv_size != key_len)
            find(v, "%s: a key of %zu bytes", table, key.mv_size);
        else
            err = fn(v, cursor, &key, &value);
    }
    mdb_cursor_close(cursor);
    if (err == PQB_OK && rc != MDB_NOTFOUND)
        find(v, "%s: the table ends in an error of the environment (%s)", table,
             pqb_err_name(pqb_err_from_mdb(rc)));
    return err;
}

// ---------------------------------------------------------------------------------- journal

static int replay(struct verify *v, const struct pqb_journal_record *r, uint64_t gseq)
{
    const uint64_t orphans = v->s->ledger->orphan_count;
    const int err = pqb_ledger_replay(v->s->ledger, r, gseq);

    if (err == PQB_ERR_CORRUPT)
        find(v, "journal gseq=%" PRIu64 ": needs a row that does not check", gseq);
    else if (err == PQB_OK && v->s->ledger->orphan_count != orphans)
        find(v, "journal gseq=%" PRIu64 ": its user, device or epoch is not there", gseq);
    return err == PQB_ERR_CORRUPT ? PQB_OK : err;
}

static int journal_row(struct verify *v, MDB_cursor *cursor, const MDB_val *key,
                       const MDB_val *value)
{
    const uint64_t gseq = pqb_key_u64(key->mv_data);
    struct pqb_ledger_counters *c = &v->s->ledger->counters;
    struct pqb_journal_record r;

    if (gseq != c->next_gseq)
        find(v, "journal gseq=%" PRIu64 ": %" PRIu64 " was expected", gseq, c->next_gseq);
    c->next_gseq = gseq + 1;
    v->report->journal_records++;
    if (pqb_record_decode(&r, gseq, value->mv_data, value->mv_size) != PQB_OK) {
        find(v, "journal gseq=%" PRIu64 ": does not check", gseq);
        return PQB_OK;
    }
    if (r.type == PQB_RECORD_PART) {
        find(v, "journal gseq=%" PRIu64 ": a part without its message", gseq);
        return PQB_OK;
    }
    if (r.type == PQB_RECORD_MSG) {
        v->report->journal_messages++;
        v->report->journal_records += r.part_count;
        if (pqb_message_read(cursor, key, value, v->scratch, &r) != PQB_OK)
            find(v, "journal gseq=%" PRIu64 ": a part is missing or does not check", gseq);
        else
            c->next_gseq += r.part_count;
    }
    return replay(v, &r, gseq);
}

// ---------------------------------------------------------------------------------- tables

static int name_row(struct verify *v, MDB_cursor *cursor, const MDB_val *key, const MDB_val *value)
{
    struct pqb_ledger_user *u;
    struct pqb_bytes bytes;
    int err;

    (void)cursor;
    v->report->names++;
    if (pqb_blob_decode(key->mv_data, key->mv_size, value->mv_data, value->mv_size, &bytes) !=
            PQB_OK ||
        bytes.len != 8) {
        find(v, "name: an entry does not check");
        return PQB_OK;
    }
    err = pqb_ledger_user_find(v->s->ledger, pqb_key_u64(bytes.data), &u);
    if (err == PQB_OK && u == NULL)
        find(v, "name: uid=%" PRIu64 " has a name and no row", pqb_key_u64(bytes.data));
    else if (err == PQB_OK &&
             (u->name_len != key->mv_size || memcmp(u->name, key->mv_data, u->name_len) != 0))
        find(v, "name: uid=%" PRIu64 " has another name in its row", u->uid);
    evict(v);
    return err == PQB_ERR_CORRUPT ? PQB_OK : err; // found with its row
}

static int device_row(struct verify *v, MDB_cursor *cursor, const MDB_val *key,
                      const MDB_val *value)
{
    const uint64_t uid = pqb_key_u64(key->mv_data);
    const uint32_t devno = pqb_key_u32((const uint8_t *)key->mv_data + 8);
    struct pqb_user_row user;
    struct pqb_device_row row;
    int err;

    (void)cursor;
    v->report->devices++;
    if (pqb_device_row_decode(&row, uid, devno, value->mv_data, value->mv_size) != PQB_OK) {
        find(v, "device uid=%" PRIu64 " devno=%" PRIu32 ": does not check", uid, devno);
        return PQB_OK;
    }
    err = v->s->ledger->io.user_load(v->s, uid, &user);
    if (err == PQB_ERR_NOT_FOUND)
        find(v, "device uid=%" PRIu64 " devno=%" PRIu32 ": its user is not there", uid, devno);
    if (err != PQB_OK)
        return PQB_OK;
    if (devno == 0 || devno >= user.devno_next || row.as_of > user.as_of)
        find(v, "device uid=%" PRIu64 " devno=%" PRIu32 ": unknown to its user", uid, devno);
    if (row.cursor > user.head)
        find(v, "device uid=%" PRIu64 " devno=%" PRIu32 ": cursor above the head", uid, devno);
    if (row.epoch >= v->epoch_next)
        find(v, "device uid=%" PRIu64 " devno=%" PRIu32 ": epoch never given out", uid, devno);
    return PQB_OK;
}

static int inbox_row(struct verify *v, MDB_cursor *cursor, const MDB_val *key, const MDB_val *value)
{
    const uint8_t *k = key->mv_data;
    const uint64_t uid = pqb_key_u64(k);
    const uint64_t iseq = pqb_key_u64(k + 8);
    struct pqb_journal_record r;
    struct pqb_user_row user;
    int err;

    if (pqb_key_u16(k + 16) != 0) {
        find(v, "inbox uid=%" PRIu64 " iseq=%" PRIx64 ": a part without its message", uid, iseq);
        return PQB_OK;
    }
    v->report->inbox_messages++;
    if (pqb_message_read(cursor, key, value, v->scratch, &r) != PQB_OK || r.uid != uid ||
        r.iseq != iseq)
        find(v, "inbox uid=%" PRIu64 " iseq=%" PRIx64 ": does not check", uid, iseq);
    err = v->s->ledger->io.user_load(v->s, uid, &user);
    if (err == PQB_ERR_NOT_FOUND)
        find(v, "inbox uid=%" PRIu64 " iseq=%" PRIx64 ": its user is not there", uid, iseq);
    if (err != PQB_OK)
        return PQB_OK;
    if (iseq > user.inbox_upto || iseq <= user.trimmed_upto)
        find(v, "inbox uid=%" PRIu64 " iseq=%" PRIx64 ": outside what its user has here", uid,
             iseq);
    return PQB_OK;
}

// ---------------------------------------------------------------------------------- users

// The row by itself.
static void check_row(struct verify *v, const struct pqb_user_row *row)
{
    uint64_t uid = 0;

    if (v->s->ledger->io.name_find(v->s, row->name, row->name_len, &uid) != PQB_OK ||
        uid != row->uid)
        find(v, "user uid=%" PRIu64 ": its name does not lead to it", row->uid);
    if (row->uhash != pqb_ledger_user_hash(v->s->name_key, row->name, row->name_len))
        find(v, "user uid=%" PRIu64 ": hash of another name", row->uid);
    if (row->inbox_upto > row->head || row->delivered > row->head ||
        row->settled.tail <= row->settled.floor || row->settled.tail > row->head + 1)
        find(v, "user uid=%" PRIu64 ": positions out of order", row->uid);
}

// The row and the journal after it against the messages that are there.
static int check_counts(struct verify *v, const struct pqb_ledger_user *u)
{
    const struct pqb_ledger_user_core *core = &u->core;
    struct pqb_inbox_sum sum;
    int err = v->s->ledger->io.inbox_sum(v->s, u->uid, core->settled.floor,
                                         PQB_MAX(u->inbox_upto, core->settled.floor), &sum);

    if (err != PQB_OK)
        return err;
    for (size_t i = core->retained_first; i < core->retained_end; i++) {
        sum.count++;
        sum.bytes += u->retained[i].bytes;
    }
    if (sum.count != core->settled.count || sum.bytes != core->settled.bytes)
        find(v,
             "user uid=%" PRIu64 ": %" PRIu64 " messages of %" PRIu64 " bytes are there, %" PRIu64
             " of %" PRIu64 " are counted",
             u->uid, sum.count, sum.bytes, core->settled.count, core->settled.bytes);
    if (u->uid >= v->s->ledger->counters.next_uid)
        find(v, "user uid=%" PRIu64 ": never given out", u->uid);
    return PQB_OK;
}

static int user_row(struct verify *v, MDB_cursor *cursor, const MDB_val *key, const MDB_val *value)
{
    const uint64_t uid = pqb_key_u64(key->mv_data);
    struct pqb_ledger_user *u;
    struct pqb_user_row row;
    int err;

    (void)cursor;
    v->report->users++;
    if (pqb_user_row_decode(&row, uid, value->mv_data, value->mv_size) != PQB_OK) {
        find(v, "user uid=%" PRIu64 ": does not check", uid);
        return PQB_OK;
    }
    check_row(v, &row);
    err = pqb_ledger_user_find(v->s->ledger, uid, &u);
    if (err == PQB_OK)
        err = check_counts(v, u);
    evict(v);
    return err == PQB_ERR_CORRUPT ? PQB_OK : err; // found with its device
}

// Users that so far live in the journal alone.
static int check_new_users(struct verify *v)
{
    PQB_LIST_FOREACH (it, &v->s->ledger->dirty) {
        const struct pqb_ledger_user *u = PQB_CONTAINER_OF(it, struct pqb_ledger_user, dirty);
        const int err = u->has_row ? PQB_OK : check_counts(v, u);

        if (err != PQB_OK)
            return err;
        v->report->users += !u->has_row;
    }
    return PQB_OK;
}

// ---------------------------------------------------------------------------------- all

static int check_all(struct verify *v)
{
    const struct pqb_env *e = &v->s->env;
    int err;

    v->s->ledger->counters.next_gseq = v->s->journal_first;
    err = walk(v, e->journal, PQB_JOURNAL_KEY_LEN, "journal", journal_row);

    v->epoch_next = v->s->ledger->counters.next_epoch;
    if (err == PQB_OK)
        err = walk(v, e->user, PQB_USER_KEY_LEN, "user", user_row);
    if (err == PQB_OK)
        err = check_new_users(v);
    if (err == PQB_OK)
        err = walk(v, e->device, PQB_DEVICE_KEY_LEN, "device", device_row);
    if (err == PQB_OK)
        err = walk(v, e->inbox, PQB_INBOX_KEY_LEN, "inbox", inbox_row);
    return err == PQB_OK ? walk(v, e->name, 0, "name", name_row) : err;
}

static int check_store(struct verify *v)
{
    int err = pqb_store_read_meta(v->s);

    if (err == PQB_ERR_CORRUPT) { // without the secret and the counters nothing else makes sense
        find(v, "meta: does not check");
        return PQB_OK;
    }
    if (err == PQB_OK)
        err = check_all(v);
    return err;
}

int pqb_store_verify(const char *path, pqb_verify_fn fn, void *ctx,
                     struct pqb_verify_report *report)
{
    const struct pqb_env_options options = {.readers_max = 1, .is_read_only = true};
    struct verify v = {.fn = fn, .ctx = ctx, .report = report};
    int err;

    *report = (struct pqb_verify_report){0};
    v.s = calloc(1, sizeof(*v.s));
    v.scratch = malloc(PQB_BODY_MAX);
    err =
        v.s == NULL || v.scratch == NULL ? PQB_ERR_NOMEM : pqb_env_open(&v.s->env, path, &options);
    if (err == PQB_OK) {
        v.s->txn.env = &v.s->env;
        err = pqb_err_from_mdb(mdb_txn_begin(v.s->env.env, NULL, MDB_RDONLY, &v.s->txn.txn));
        if (err == PQB_OK)
            err = check_store(&v);
        pqb_ledger_destroy(v.s->ledger);
        pqb_txn_abort(&v.s->txn);
        pqb_env_close(&v.s->env);
    }
    free(v.scratch);
    free(v.s);
    return err;
}
