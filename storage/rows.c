// Rows of the tables and the small values, to and from structs.
#include <assert.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "storage/records.h"
#include "storage/value.h"

#define CONSUMED_LEN (1 + 1 + 1 + 4 + 8)

static_assert(PQB_VALUE_HEADER_LEN + 8 + 4 + 8 + 8 + 8 + 4 + PQB_NONCE_LEN + 1 + PQB_DEVICE_MAX +
                      2 + CONSUMED_LEN * PQB_SEQ_WINDOW <=
                  PQB_DEVICE_ROW_MAX,
              "a device row fits one overflow page");

size_t pqb_user_row_encode(const struct pqb_user_row *row, uint8_t out[PQB_USER_ROW_MAX])
{
    uint8_t key[PQB_USER_KEY_LEN];
    struct pqb_writer_cursor c;

    pqb_value_begin(&c, out, PQB_USER_ROW_MAX);
    pqb_wcur_u64(&c, row->as_of);
    pqb_wcur_u32(&c, row->uhash);
    pqb_wcur_u64(&c, row->head);
    pqb_value_put_settled(&c, &row->settled);
    pqb_wcur_u64(&c, row->delivered);
    pqb_wcur_u64(&c, row->inbox_upto);
    pqb_wcur_u64(&c, row->trimmed_upto);
    pqb_wcur_u32(&c, row->generation);
    pqb_wcur_u32(&c, row->devno_next);
    pqb_wcur_u64(&c, row->oldest_at);
    pqb_wcur_u64(&c, row->seen_min);
    pqb_value_put_text(&c, (struct pqb_text){.data = row->name, .len = row->name_len});
    pqb_key_user(key, row->uid);
    return pqb_value_end(&c, key, sizeof(key));
}

int pqb_user_row_decode(struct pqb_user_row *row, uint64_t uid, const void *data, size_t len)
{
    uint8_t key[PQB_USER_KEY_LEN];
    struct pqb_reader_cursor c;
    struct pqb_text name;

    pqb_key_user(key, uid);
    if (pqb_value_open(&c, key, sizeof(key), data, len) != PQB_OK)
        return PQB_ERR_CORRUPT;
    row->uid = uid;
    row->as_of = pqb_rcur_u64(&c);
    row->uhash = pqb_rcur_u32(&c);
    row->head = pqb_rcur_u64(&c);
    pqb_value_get_settled(&c, &row->settled);
    row->delivered = pqb_rcur_u64(&c);
    row->inbox_upto = pqb_rcur_u64(&c);
    row->trimmed_upto = pqb_rcur_u64(&c);
    row->generation = pqb_rcur_u32(&c);
    row->devno_next = pqb_rcur_u32(&c);
    row->oldest_at = pqb_rcur_u64(&c);
    row->seen_min = pqb_rcur_u64(&c);
    name = pqb_value_get_text(&c, PQB_USER_MAX);
    if (pqb_value_close(&c) != PQB_OK)
        return PQB_ERR_CORRUPT;
    row->name_len = (uint8_t)name.len;
    memcpy(row->name, name.data, name.len);
    return PQB_OK;
}

static void put_consumed(struct pqb_writer_cursor *c, const struct pqb_device_row *row)
{
    pqb_wcur_u16(c, row->consumed_count);
    for (size_t i = 0; i < row->consumed_count; i++) {
        const struct pqb_consumed *e = &row->consumed[i];

        PQB_ASSERT(e->seq >= row->low && e->seq - row->low < PQB_SEQ_WINDOW);
        pqb_wcur_u8(c, (uint8_t)(e->seq - row->low));
        pqb_wcur_u8(c, e->state);
        pqb_wcur_u8(c, e->nack);
        pqb_wcur_u32(c, e->hash);
        pqb_wcur_u64(c, e->iseq);
    }
}

static void get_consumed(struct pqb_reader_cursor *c, struct pqb_device_row *row)
{
    row->consumed_count = pqb_rcur_u16(c);
    if (row->consumed_count > PQB_SEQ_WINDOW) {
        c->is_bad = true;
        row->consumed_count = 0;
    }
    for (size_t i = 0; i < row->consumed_count; i++) {
        struct pqb_consumed *e = &row->consumed[i];

        e->seq = row->low + pqb_rcur_u8(c);
        e->state = pqb_rcur_u8(c);
        e->nack = pqb_rcur_u8(c);
        e->hash = pqb_rcur_u32(c);
        e->iseq = pqb_rcur_u64(c);
        if (e->seq < row->low || (i > 0 && e->seq <= row->consumed[i - 1].seq))
            c->is_bad = true;
    }
}

size_t pqb_device_row_encode(const struct pqb_device_row *row, uint8_t out[PQB_DEVICE_ROW_MAX])
{
    uint8_t key[PQB_DEVICE_KEY_LEN];
    struct pqb_writer_cursor c;

    pqb_value_begin(&c, out, PQB_DEVICE_ROW_MAX);
    pqb_wcur_u64(&c, row->as_of);
    pqb_wcur_u32(&c, row->epoch);
    pqb_wcur_u64(&c, row->low);
    pqb_wcur_u64(&c, row->cursor);
    pqb_wcur_u64(&c, row->last_seen);
    pqb_wcur_u32(&c, row->created_count);
    pqb_wcur_bytes(&c, row->nonce, sizeof(row->nonce));
    pqb_value_put_text(&c, (struct pqb_text){.data = row->name, .len = row->name_len});
    put_consumed(&c, row);
    pqb_key_device(key, row->uid, row->devno);
    return pqb_value_end(&c, key, sizeof(key));
}

int pqb_device_row_decode(struct pqb_device_row *row, uint64_t uid, uint32_t devno,
                          const void *data, size_t len)
{
    uint8_t key[PQB_DEVICE_KEY_LEN];
    struct pqb_reader_cursor c;
    const uint8_t *nonce;
    struct pqb_text name;

    pqb_key_device(key, uid, devno);
    if (pqb_value_open(&c, key, sizeof(key), data, len) != PQB_OK)
        return PQB_ERR_CORRUPT;
    row->uid = uid;
    row->devno = devno;
    row->as_of = pqb_rcur_u64(&c);
    row->epoch = pqb_rcur_u32(&c);
    row->low = pqb_rcur_u64(&c);
    row->cursor = pqb_rcur_u64(&c);
    row->last_seen = pqb_rcur_u64(&c);
    row->created_count = pqb_rcur_u32(&c);
    nonce = pqb_rcur_bytes(&c, sizeof(row->nonce));
    name = pqb_value_get_text(&c, PQB_DEVICE_MAX);
    get_consumed(&c, row);
    if (pqb_value_close(&c) != PQB_OK)
        return PQB_ERR_CORRUPT;
    memcpy(row->nonce, nonce, sizeof(row->nonce));
    row->name_len = (uint8_t)name.len;
    memcpy(row->name, name.data, name.len);
    return PQB_OK;
}

static const char state_key[] = "state";

void pqb_state_row_encode(const struct pqb_state_row *row, uint8_t out[PQB_STATE_ROW_LEN])
{
    struct pqb_writer_cursor c;

    pqb_value_begin(&c, out, PQB_STATE_ROW_LEN);
    pqb_wcur_u64(&c, row->journal_first);
    pqb_wcur_u64(&c, row->next_gseq);
    pqb_wcur_u64(&c, row->next_uid);
    pqb_wcur_u32(&c, row->next_epoch);
    pqb_wcur_u32(&c, row->generation_max);
    pqb_wcur_u32(&c, row->generation_floor);
    pqb_wcur_u64(&c, row->quarantined_upto);
    pqb_wcur_u64(&c, row->clock);
    pqb_wcur_u8(&c, row->open_mode);
    const size_t len = pqb_value_end(&c, state_key, sizeof(state_key) - 1);

    PQB_ASSERT(len == PQB_STATE_ROW_LEN);
}

int pqb_state_row_decode(struct pqb_state_row *row, const void *data, size_t len)
{
    struct pqb_reader_cursor c;

    if (pqb_value_open(&c, state_key, sizeof(state_key) - 1, data, len) != PQB_OK)
        return PQB_ERR_CORRUPT;
    row->journal_first = pqb_rcur_u64(&c);
    row->next_gseq = pqb_rcur_u64(&c);
    row->next_uid = pqb_rcur_u64(&c);
    row->next_epoch = pqb_rcur_u32(&c);
    row->generation_max = pqb_rcur_u32(&c);
    row->generation_floor = pqb_rcur_u32(&c);
    row->quarantined_upto = pqb_rcur_u64(&c);
    row->clock = pqb_rcur_u64(&c);
    row->open_mode = pqb_rcur_u8(&c);
    return pqb_value_close(&c);
}

size_t pqb_blob_encode(const void *key, size_t key_len, const void *data, size_t data_len,
                       uint8_t out[PQB_VALUE_HEADER_LEN + PQB_BLOB_MAX])
{
    struct pqb_writer_cursor c;

    pqb_value_begin(&c, out, PQB_VALUE_HEADER_LEN + PQB_BLOB_MAX);
    pqb_wcur_bytes(&c, data, data_len);
    return pqb_value_end(&c, key, key_len);
}

int pqb_blob_decode(const void *key, size_t key_len, const void *value, size_t value_len,
                    struct pqb_bytes *out)
{
    struct pqb_reader_cursor c;

    if (pqb_value_open(&c, key, key_len, value, value_len) != PQB_OK)
        return PQB_ERR_CORRUPT;
    out->len = pqb_rcur_left(&c);
    out->data = pqb_rcur_bytes(&c, out->len);
    return PQB_OK;
}
