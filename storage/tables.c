// Reading the tables: the ledger's loader, and messages with their parts.
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "storage/store_internal.h"

static int get(struct pqb_store *s, MDB_dbi dbi, const void *key, size_t key_len, MDB_val *out)
{
    struct pqb_txn *txn = pqb_store_txn(s);
    MDB_val k = pqb_val(key, key_len);

    return txn->err != PQB_OK ? txn->err : pqb_err_from_mdb(mdb_get(txn->txn, dbi, &k, out));
}

static int name_find(void *ctx, const char *name, size_t len, uint64_t *uid)
{
    struct pqb_store *s = ctx;
    struct pqb_bytes bytes;
    MDB_val value;
    int err;

    if (len == 0 || len > PQB_USER_MAX)
        return PQB_ERR_NOT_FOUND;
    err = get(s, s->env.name, name, len, &value);
    if (err == PQB_OK)
        err = pqb_blob_decode(name, len, value.mv_data, value.mv_size, &bytes);
    if (err == PQB_OK && bytes.len != 8)
        err = PQB_ERR_CORRUPT;
    if (err == PQB_OK)
        *uid = pqb_key_u64(bytes.data);
    return err;
}

static int user_load(void *ctx, uint64_t uid, struct pqb_user_row *out)
{
    struct pqb_store *s = ctx;
    uint8_t key[PQB_USER_KEY_LEN];
    MDB_val value;
    int err;

    pqb_key_user(key, uid);
    err = get(s, s->env.user, key, sizeof(key), &value);
    return err != PQB_OK ? err : pqb_user_row_decode(out, uid, value.mv_data, value.mv_size);
}

static int device_load(void *ctx, uint64_t uid, uint32_t after_devno, struct pqb_device_row *out)
{
    struct pqb_store *s = ctx;
    struct pqb_txn *txn = pqb_store_txn(s);
    MDB_cursor *cursor = pqb_txn_cursor(txn, s->env.device);
    uint8_t from[PQB_DEVICE_KEY_LEN];
    MDB_val key = {.mv_size = sizeof(from), .mv_data = from};
    MDB_val value;
    int err;

    if (cursor == NULL)
        return txn->err;
    pqb_key_device(from, uid, after_devno + 1);
    err = pqb_err_from_mdb(mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE));
    if (err == PQB_OK && (key.mv_size != PQB_DEVICE_KEY_LEN || pqb_key_u64(key.mv_data) != uid))
        err = PQB_ERR_NOT_FOUND;
    if (err == PQB_OK) {
        out->devno = pqb_key_u32((const uint8_t *)key.mv_data + 8);
        err = pqb_device_row_decode(out, uid, out->devno, value.mv_data, value.mv_size);
    }
    mdb_cursor_close(cursor);
    return err;
}

// Adds up the heads at `cursor` until `upto`; a row that does not check counts as one, empty.
static int inbox_add_up(MDB_cursor *cursor, MDB_val *key, MDB_val *value, uint64_t uid,
                        uint64_t upto, struct pqb_inbox_sum *out)
{
    struct pqb_journal_record r;
    int rc = 0;

    for (; rc == 0; rc = mdb_cursor_get(cursor, key, value, MDB_NEXT)) {
        const uint8_t *k = key->mv_data;
        const uint64_t iseq = pqb_key_u64(k + 8);

        if (key->mv_size != PQB_INBOX_KEY_LEN || pqb_key_u64(k) != uid)
            return PQB_OK;
        if (iseq > upto) {
            out->next_iseq = iseq;
            return PQB_OK;
        }
        if (pqb_key_u16(k + 16) != 0)
            continue;
        out->count++;
        if (pqb_inbox_decode(&r, k, value->mv_data, value->mv_size) == PQB_OK)
            out->bytes += r.body_len;
    }
    return pqb_err_from_mdb(rc);
}

static int inbox_sum(void *ctx, uint64_t uid, uint64_t after, uint64_t upto,
                     struct pqb_inbox_sum *out)
{
    struct pqb_store *s = ctx;
    struct pqb_txn *txn = pqb_store_txn(s);
    MDB_cursor *cursor = pqb_txn_cursor(txn, s->env.inbox);
    uint8_t from[PQB_INBOX_KEY_LEN];
    MDB_val key = {.mv_size = sizeof(from), .mv_data = from};
    MDB_val value;
    int err;

    *out = (struct pqb_inbox_sum){0};
    if (cursor == NULL)
        return txn->err;
    pqb_key_inbox(from, uid, after + 1, 0);
    err = pqb_err_from_mdb(mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE));
    if (err == PQB_OK)
        err = inbox_add_up(cursor, &key, &value, uid, upto, out);
    mdb_cursor_close(cursor);
    return err == PQB_ERR_NOT_FOUND ? PQB_OK : err;
}

static enum pqb_failpoint put_step(enum pqb_record_type type)
{
    switch (type) {
    case PQB_RECORD_MSG:
        return PQB_FAIL_PUT_MSG;
    case PQB_RECORD_PART:
        return PQB_FAIL_PUT_PART;
    case PQB_RECORD_REFUSAL:
        return PQB_FAIL_PUT_REFUSAL;
    case PQB_RECORD_SKIP:
        return PQB_FAIL_PUT_SKIP;
    case PQB_RECORD_CURSOR:
        return PQB_FAIL_PUT_CURSOR;
    case PQB_RECORD_DEVICE:
        return PQB_FAIL_PUT_DEVICE;
    case PQB_RECORD_EPOCH:
        return PQB_FAIL_PUT_EPOCH;
    case PQB_RECORD_EXPIRE:
        return PQB_FAIL_PUT_EXPIRE;
    case PQB_RECORD_GENERATION:
        return PQB_FAIL_PUT_GENERATION;
    case PQB_RECORD_FORGET:
        return PQB_FAIL_PUT_FORGET;
    case PQB_RECORD_USER:
        return PQB_FAIL_PUT_USER;
    case PQB_RECORD_BAD:
        break;
    }
    PQB_ASSERT(false); // a record that is written has a type
    return PQB_FAIL_COUNT;
}

static void append(void *ctx, const struct pqb_journal_record *r, uint64_t gseq)
{
    struct pqb_store *s = ctx;
    struct pqb_txn *txn = pqb_store_txn(s);
    const uint16_t part_count = pqb_record_part_count(r);
    uint8_t key[PQB_JOURNAL_KEY_LEN];

    for (uint16_t part = 0; part <= part_count; part++, gseq++) {
        const size_t len = part == 0 ? pqb_record_len(r) : pqb_part_len(r, part);
        uint8_t *room;

        pqb_store_failpoint_txn(s, put_step(part == 0 ? r->type : PQB_RECORD_PART));
        pqb_key_journal(key, gseq);
        room = pqb_txn_reserve(txn, s->env.journal, key, sizeof(key), len, MDB_APPEND);
        if (room == NULL)
            return;
        if (part == 0)
            pqb_record_encode(r, gseq, room, len);
        else
            pqb_part_encode(r, part, key, sizeof(key), room, len);
        s->batch_records++;
        s->batch_journal_bytes += len + PQB_RECORD_OVERHEAD;
    }
}

struct pqb_ledger_io pqb_store_ledger_io(struct pqb_store *s)
{
    return (struct pqb_ledger_io){
        .ctx = s,
        .name_find = name_find,
        .user_load = user_load,
        .device_load = device_load,
        .inbox_sum = inbox_sum,
        .append = append,
    };
}

// ---------------------------------------------------------------------------------- messages

// Whether `key` is part `part` of the message whose head is at `head`: journal keys count on,
// inbox keys say it.
static bool is_part_key(const MDB_val *head, const MDB_val *key, uint16_t part)
{
    const uint8_t *h = head->mv_data;
    const uint8_t *k = key->mv_data;

    if (key->mv_size != head->mv_size)
        return false;
    if (key->mv_size == PQB_JOURNAL_KEY_LEN)
        return pqb_key_u64(k) == pqb_key_u64(h) + part;
    return memcmp(k, h, 16) == 0 && pqb_key_u16(k + 16) == part;
}

static int read_parts(MDB_cursor *cursor, const MDB_val *head, uint8_t *buffer,
                      struct pqb_journal_record *r)
{
    size_t len = r->body.len;

    memcpy(buffer, r->body.data, len);
    for (uint16_t part = 1; part <= r->part_count; part++) {
        struct pqb_bytes piece;
        MDB_val key, value;
        const int rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);

        if (rc != 0 && rc != MDB_NOTFOUND)
            return pqb_err_from_mdb(rc);
        if (rc != 0 || !is_part_key(head, &key, part) ||
            pqb_part_decode(key.mv_data, key.mv_size, value.mv_data, value.mv_size, &piece) !=
                PQB_OK ||
            piece.len > r->body_len - len)
            return PQB_ERR_CORRUPT;
        memcpy(buffer + len, piece.data, piece.len);
        len += piece.len;
    }
    if (len != r->body_len)
        return PQB_ERR_CORRUPT;
    r->body = (struct pqb_bytes){.data = buffer, .len = len};
    return PQB_OK;
}

int pqb_message_read(MDB_cursor *cursor, const MDB_val *key, const MDB_val *value, uint8_t *buffer,
                     struct pqb_journal_record *out)
{
    const uint8_t *k = key->mv_data;
    int err;

    if (key->mv_size == PQB_JOURNAL_KEY_LEN)
        err = pqb_record_decode(out, pqb_key_u64(k), value->mv_data, value->mv_size);
    else if (key->mv_size == PQB_INBOX_KEY_LEN)
        err = pqb_inbox_decode(out, k, value->mv_data, value->mv_size);
    else
        err = PQB_ERR_CORRUPT;
    if (err != PQB_OK || out->type != PQB_RECORD_MSG)
        return PQB_ERR_CORRUPT;
    return out->part_count > 0 ? read_parts(cursor, key, buffer, out) : PQB_OK;
}
