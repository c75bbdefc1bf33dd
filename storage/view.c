// A shard's read transaction, begun and let go once a turn.
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "storage/store_internal.h"

struct pqb_view {
    struct pqb_store *s;
    MDB_txn *txn;
    MDB_cursor *journal, *inbox;
    bool is_open;
    uint64_t journal_first, journal_end;
    uint64_t tailed;                // gseq that `journal` stands on; 0: nowhere
    struct pqb_journal_record head; // of the message returned last
    uint8_t buffer[PQB_BODY_MAX];   // its body, when it came in parts
};

int pqb_view_create(struct pqb_store *s, struct pqb_view **out)
{
    struct pqb_view *v = malloc(sizeof(*v));
    int rc;

    if (v == NULL)
        return PQB_ERR_NOMEM;
    v->s = s;
    v->txn = NULL;
    v->journal = v->inbox = NULL;
    v->is_open = false;
    rc = mdb_txn_begin(s->env.env, NULL, MDB_RDONLY, &v->txn);
    if (rc == 0)
        rc = mdb_cursor_open(v->txn, s->env.journal, &v->journal);
    if (rc == 0)
        rc = mdb_cursor_open(v->txn, s->env.inbox, &v->inbox);
    if (rc != 0) {
        pqb_view_destroy(v);
        return pqb_err_from_mdb(rc);
    }
    mdb_txn_reset(v->txn);
    *out = v;
    return PQB_OK;
}

void pqb_view_destroy(struct pqb_view *v)
{
    if (v == NULL)
        return;
    if (v->journal != NULL)
        mdb_cursor_close(v->journal);
    if (v->inbox != NULL)
        mdb_cursor_close(v->inbox);
    if (v->txn != NULL)
        mdb_txn_abort(v->txn);
    free(v);
}

// With an empty journal both ends are where the next record will stand. What can't be read must
// not look like it: whoever tails would take the journal's messages for gone.
static int find_ends_by_state(struct pqb_view *v)
{
    MDB_val key = pqb_val(pqb_meta_state_key, strlen(pqb_meta_state_key));
    struct pqb_state_row row = {.next_gseq = 1};
    MDB_val value;
    int err = pqb_err_from_mdb(mdb_get(v->txn, v->s->env.meta, &key, &value));

    if (err == PQB_OK)
        err = pqb_state_row_decode(&row, value.mv_data, value.mv_size);
    v->journal_first = v->journal_end = row.next_gseq;
    return err;
}

static int find_ends(struct pqb_view *v)
{
    MDB_val key, value;
    int err = pqb_err_from_mdb(mdb_cursor_get(v->journal, &key, &value, MDB_FIRST));

    if (err == PQB_ERR_NOT_FOUND)
        return find_ends_by_state(v);
    if (err == PQB_OK && key.mv_size != PQB_JOURNAL_KEY_LEN)
        err = PQB_ERR_CORRUPT;
    if (err != PQB_OK)
        return err;
    v->journal_first = pqb_key_u64(key.mv_data);
    err = pqb_err_from_mdb(mdb_cursor_get(v->journal, &key, &value, MDB_LAST));
    if (err == PQB_OK)
        v->journal_end = pqb_key_u64(key.mv_data) + 1;
    return err;
}

int pqb_view_begin(struct pqb_view *v)
{
    int rc, err;

    PQB_ASSERT(!v->is_open);
    rc = mdb_txn_renew(v->txn);
    if (rc != 0)
        return pqb_err_from_mdb(rc);
    rc = mdb_cursor_renew(v->txn, v->journal);
    if (rc == 0)
        rc = mdb_cursor_renew(v->txn, v->inbox);
    if (rc != 0) {
        mdb_txn_reset(v->txn);
        return pqb_err_from_mdb(rc);
    }
    v->is_open = true;
    v->tailed = 0;
    err = find_ends(v);
    if (err != PQB_OK)
        pqb_view_end(v);
    return err;
}

void pqb_view_end(struct pqb_view *v)
{
    PQB_ASSERT(v->is_open);
    mdb_txn_reset(v->txn);
    v->is_open = false;
}

uint64_t pqb_view_journal_first(const struct pqb_view *v)
{
    PQB_ASSERT(v->is_open);
    return v->journal_first;
}

uint64_t pqb_view_journal_end(const struct pqb_view *v)
{
    PQB_ASSERT(v->is_open);
    return v->journal_end;
}

static void fill_record(const struct pqb_journal_record *r, uint64_t gseq, struct pqb_record *out)
{
    *out = (struct pqb_record){
        .gseq = gseq,
        .type = r->type,
        .uid = r->uid,
        .uhash = r->uhash,
        .iseq = r->type == PQB_RECORD_USER ? PQB_ISEQ_MAKE(r->generation, 0) : r->iseq,
        .delivered = r->delivered,
        .devno = r->devno,
        .body_len = r->body_len,
    };
}

int pqb_view_tail(struct pqb_view *v, uint64_t *gseq, struct pqb_record *out)
{
    uint8_t from[PQB_JOURNAL_KEY_LEN];
    MDB_val key = {.mv_size = sizeof(from), .mv_data = from};
    struct pqb_journal_record r;
    MDB_val value;
    int rc;

    PQB_ASSERT(v->is_open);
    pqb_key_journal(from, *gseq);
    rc = mdb_cursor_get(v->journal, &key, &value,
                        v->tailed != 0 && v->tailed + 1 == *gseq ? MDB_NEXT : MDB_SET_RANGE);
    if (rc != 0 || key.mv_size != PQB_JOURNAL_KEY_LEN) {
        v->tailed = 0;
        return rc != 0 ? pqb_err_from_mdb(rc) : PQB_ERR_CORRUPT;
    }
    v->tailed = pqb_key_u64(key.mv_data);
    *gseq = v->tailed + 1;
    if (pqb_record_decode(&r, v->tailed, value.mv_data, value.mv_size) == PQB_OK)
        fill_record(&r, v->tailed, out);
    else
        *out = (struct pqb_record){.gseq = v->tailed, .type = PQB_RECORD_BAD};
    return PQB_OK;
}

static void fill_message(const struct pqb_journal_record *r, struct pqb_message *out)
{
    *out = (struct pqb_message){
        .uid = r->uid,
        .iseq = r->iseq,
        .time = r->time,
        .kind = r->kind,
        .from_uid = r->from_uid,
        .from_devno = r->devno,
        .from_uhash = r->from_uhash,
        .epoch = r->epoch,
        .seq = r->seq,
        .from = r->from,
        .device = r->device,
        .body = r->body,
    };
}

int pqb_view_journal_message(struct pqb_view *v, uint64_t gseq, struct pqb_message *out)
{
    uint8_t at[PQB_JOURNAL_KEY_LEN];
    MDB_val key = {.mv_size = sizeof(at), .mv_data = at};
    MDB_val value;
    int err;

    PQB_ASSERT(v->is_open);
    v->tailed = 0;
    pqb_key_journal(at, gseq);
    err = pqb_err_from_mdb(mdb_cursor_get(v->journal, &key, &value, MDB_SET_KEY));
    if (err == PQB_OK)
        err = pqb_message_read(v->journal, &key, &value, v->buffer, &v->head);
    if (err == PQB_OK)
        fill_message(&v->head, out);
    return err;
}

int pqb_view_inbox_message(struct pqb_view *v, uint64_t uid, uint64_t iseq, struct pqb_message *out)
{
    uint8_t from[PQB_INBOX_KEY_LEN];
    MDB_val key = {.mv_size = sizeof(from), .mv_data = from};
    MDB_val value;
    int err;

    PQB_ASSERT(v->is_open);
    pqb_key_inbox(from, uid, iseq, 0);
    err = pqb_err_from_mdb(mdb_cursor_get(v->inbox, &key, &value, MDB_SET_RANGE));
    if (err != PQB_OK)
        return err;
    if (key.mv_size != PQB_INBOX_KEY_LEN || pqb_key_u64(key.mv_data) != uid)
        return PQB_ERR_NOT_FOUND;
    iseq = pqb_key_u64((const uint8_t *)key.mv_data + 8);
    err = pqb_message_read(v->inbox, &key, &value, v->buffer, &v->head);
    if (err == PQB_OK && (v->head.uid != uid || v->head.iseq != iseq))
        err = PQB_ERR_CORRUPT;
    if (err == PQB_OK)
        fill_message(&v->head, out);
    else
        *out = (struct pqb_message){.uid = uid, .iseq = iseq};
    return err;
}

int pqb_view_user(struct pqb_view *v, uint64_t uid, struct pqb_user_state *out)
{
    uint8_t at[PQB_USER_KEY_LEN];
    MDB_val key = {.mv_size = sizeof(at), .mv_data = at};
    struct pqb_user_row row;
    MDB_val value;
    int err;

    PQB_ASSERT(v->is_open);
    pqb_key_user(at, uid);
    err = pqb_err_from_mdb(mdb_get(v->txn, v->s->env.user, &key, &value));
    if (err == PQB_OK)
        err = pqb_user_row_decode(&row, uid, value.mv_data, value.mv_size);
    if (err == PQB_OK)
        *out = (struct pqb_user_state){
            .uid = uid,
            .uhash = row.uhash,
            .head = row.head,
            .tail = row.settled.tail,
            .floor = row.settled.floor,
            .delivered = row.delivered,
            .count = row.settled.count,
            .bytes = row.settled.bytes,
            .as_of = row.as_of,
        };
    return err;
}
