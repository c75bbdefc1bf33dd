#include "storage/records.h"

#include <assert.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "storage/value.h"

#define COMMON_LEN    (PQB_VALUE_HEADER_LEN + 1 + 8 + 4 + 8) // header, type, uid, uhash, at
#define SETTLED_LEN   (4 * 8)
#define MSG_FIXED_LEN (COMMON_LEN + 4 + 4 + 8 + 8 + 4 + 8 + 8 + 4 + 2 + 8 + 2 + 4 + 1 + 1)

static_assert(MSG_FIXED_LEN + PQB_USER_MAX + PQB_DEVICE_MAX < PQB_VALUE_MAX, "heads hold names");

// ---------------------------------------------------------------------------------- keys

static void put_be(uint8_t *out, uint64_t value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(value >> (8 * (len - 1 - i)));
}

static uint64_t get_be(const uint8_t *data, size_t len)
{
    uint64_t value = 0;

    for (size_t i = 0; i < len; i++)
        value = value << 8 | data[i];
    return value;
}

void pqb_key_journal(uint8_t key[PQB_JOURNAL_KEY_LEN], uint64_t gseq)
{
    put_be(key, gseq, 8);
}

void pqb_key_user(uint8_t key[PQB_USER_KEY_LEN], uint64_t uid)
{
    put_be(key, uid, 8);
}

void pqb_key_device(uint8_t key[PQB_DEVICE_KEY_LEN], uint64_t uid, uint32_t devno)
{
    put_be(key, uid, 8);
    put_be(key + 8, devno, 4);
}

void pqb_key_inbox(uint8_t key[PQB_INBOX_KEY_LEN], uint64_t uid, uint64_t iseq, uint16_t part)
{
    put_be(key, uid, 8);
    put_be(key + 8, iseq, 8);
    put_be(key + 16, part, 2);
}

uint64_t pqb_key_u64(const uint8_t *key)
{
    return get_be(key, 8);
}

uint32_t pqb_key_u32(const uint8_t *key)
{
    return (uint32_t)get_be(key, 4);
}

uint16_t pqb_key_u16(const uint8_t *key)
{
    return (uint16_t)get_be(key, 2);
}

// ---------------------------------------------------------------------------------- records

// Body bytes that fit into the head record.
static size_t head_body_len(const struct pqb_journal_record *r)
{
    const size_t room = PQB_VALUE_MAX - MSG_FIXED_LEN - r->from.len - r->device.len;

    return r->body_len < room ? r->body_len : room;
}

uint16_t pqb_record_part_count(const struct pqb_journal_record *r)
{
    if (r->type != PQB_RECORD_MSG)
        return 0;

    const size_t rest = r->body_len - head_body_len(r);

    return (uint16_t)((rest + PQB_PART_BYTES_MAX - 1) / PQB_PART_BYTES_MAX);
}

size_t pqb_record_len(const struct pqb_journal_record *r)
{
    switch (r->type) {
    case PQB_RECORD_MSG:
        return MSG_FIXED_LEN + r->from.len + r->device.len + head_body_len(r);
    case PQB_RECORD_REFUSAL:
        return COMMON_LEN + 4 + 4 + 8 + 8 + 4 + 1;
    case PQB_RECORD_SKIP:
        return COMMON_LEN + 4 + 4 + 8 + 1 + 8 * r->skipped.count;
    case PQB_RECORD_CURSOR:
        return COMMON_LEN + 4 + 8 + 8 + SETTLED_LEN;
    case PQB_RECORD_DEVICE:
        return COMMON_LEN + 4 + 4 + 8 + 8 + 1 + 1 + r->name.len;
    case PQB_RECORD_EPOCH:
        return COMMON_LEN + 4 + 4 + PQB_NONCE_LEN;
    case PQB_RECORD_EXPIRE:
        return COMMON_LEN + 8 + SETTLED_LEN;
    case PQB_RECORD_GENERATION:
        return COMMON_LEN + 8;
    case PQB_RECORD_FORGET:
        return COMMON_LEN + 4 + SETTLED_LEN;
    case PQB_RECORD_USER:
        return COMMON_LEN + 4 + 8 + 4 + 1 + r->name.len;
    case PQB_RECORD_PART:
    case PQB_RECORD_BAD:
        break;
    }
    PQB_ASSERT(false); // parts have an encoder of their own, bad ones none
    return 0;
}

static void put_msg(struct pqb_writer_cursor *c, const struct pqb_journal_record *r)
{
    pqb_wcur_u32(c, r->devno);
    pqb_wcur_u32(c, r->epoch);
    pqb_wcur_u64(c, r->low);
    pqb_wcur_u64(c, r->seq);
    pqb_wcur_u32(c, r->hash);
    pqb_wcur_u64(c, r->iseq);
    pqb_wcur_u64(c, r->from_uid);
    pqb_wcur_u32(c, r->from_uhash);
    pqb_wcur_u16(c, r->kind);
    pqb_wcur_u64(c, r->time);
    pqb_wcur_u16(c, pqb_record_part_count(r));
    pqb_wcur_u32(c, r->body_len);
    pqb_value_put_text(c, r->from);
    pqb_value_put_text(c, r->device);
    pqb_wcur_bytes(c, r->body.data, head_body_len(r));
}

static void get_msg(struct pqb_reader_cursor *c, struct pqb_journal_record *r)
{
    r->devno = pqb_rcur_u32(c);
    r->epoch = pqb_rcur_u32(c);
    r->low = pqb_rcur_u64(c);
    r->seq = pqb_rcur_u64(c);
    r->hash = pqb_rcur_u32(c);
    r->iseq = pqb_rcur_u64(c);
    r->from_uid = pqb_rcur_u64(c);
    r->from_uhash = pqb_rcur_u32(c);
    r->kind = pqb_rcur_u16(c);
    r->time = pqb_rcur_u64(c);
    r->part_count = pqb_rcur_u16(c);
    r->body_len = pqb_rcur_u32(c);
    r->from = pqb_value_get_text(c, PQB_USER_MAX);
    r->device = pqb_value_get_text(c, PQB_DEVICE_MAX);
    if (c->is_bad || r->body_len > PQB_BODY_MAX || r->part_count != pqb_record_part_count(r)) {
        c->is_bad = true;
        return;
    }
    r->body.len = head_body_len(r);
    r->body.data = pqb_rcur_bytes(c, r->body.len);
}

static void put_skip(struct pqb_writer_cursor *c, const struct pqb_journal_record *r)
{
    pqb_wcur_u32(c, r->devno);
    pqb_wcur_u32(c, r->epoch);
    pqb_wcur_u64(c, r->low);
    pqb_wcur_u8(c, (uint8_t)r->skipped.count);
    for (size_t i = 0; i < r->skipped.count; i++)
        pqb_wcur_u64(c, r->skipped.at[i].seq);
}

static void get_skip(struct pqb_reader_cursor *c, struct pqb_journal_record *r)
{
    r->devno = pqb_rcur_u32(c);
    r->epoch = pqb_rcur_u32(c);
    r->low = pqb_rcur_u64(c);
    r->skipped.count = pqb_rcur_u8(c);
    if (r->skipped.count > PQB_SKIP_MAX) {
        c->is_bad = true;
        return;
    }
    for (size_t i = 0; i < r->skipped.count; i++) {
        r->skipped.at[i].seq = pqb_rcur_u64(c);
        r->skipped.at[i].state = PQB_STATE_ABANDONED;
    }
}

static void put_content(struct pqb_writer_cursor *c, const struct pqb_journal_record *r)
{
    switch (r->type) {
    case PQB_RECORD_MSG:
        put_msg(c, r);
        return;
    case PQB_RECORD_REFUSAL:
        pqb_wcur_u32(c, r->devno);
        pqb_wcur_u32(c, r->epoch);
        pqb_wcur_u64(c, r->low);
        pqb_wcur_u64(c, r->seq);
        pqb_wcur_u32(c, r->hash);
        pqb_wcur_u8(c, r->nack);
        return;
    case PQB_RECORD_SKIP:
        put_skip(c, r);
        return;
    case PQB_RECORD_CURSOR:
        pqb_wcur_u32(c, r->devno);
        pqb_wcur_u64(c, r->iseq);
        pqb_wcur_u64(c, r->delivered);
        pqb_value_put_settled(c, &r->settled);
        return;
    case PQB_RECORD_DEVICE:
        pqb_wcur_u32(c, r->devno);
        pqb_wcur_u32(c, r->epoch);
        pqb_wcur_u64(c, r->low);
        pqb_wcur_u64(c, r->cursor);
        pqb_wcur_u8(c, r->is_new);
        pqb_value_put_text(c, r->name);
        return;
    case PQB_RECORD_EPOCH:
        pqb_wcur_u32(c, r->devno);
        pqb_wcur_u32(c, r->epoch);
        pqb_wcur_bytes(c, r->nonce, sizeof(r->nonce));
        return;
    case PQB_RECORD_EXPIRE:
        pqb_wcur_u64(c, r->iseq);
        pqb_value_put_settled(c, &r->settled);
        return;
    case PQB_RECORD_GENERATION:
        pqb_wcur_u64(c, r->iseq);
        return;
    case PQB_RECORD_FORGET:
        pqb_wcur_u32(c, r->devno);
        pqb_value_put_settled(c, &r->settled);
        return;
    case PQB_RECORD_USER:
        pqb_wcur_u32(c, r->generation);
        pqb_wcur_u64(c, r->creator_uid);
        pqb_wcur_u32(c, r->creator_devno);
        pqb_value_put_text(c, r->name);
        return;
    case PQB_RECORD_PART:
    case PQB_RECORD_BAD:
        break;
    }
    PQB_ASSERT(false); // parts have an encoder of their own, bad ones none
}

static void get_content(struct pqb_reader_cursor *c, struct pqb_journal_record *r)
{
    switch (r->type) {
    case PQB_RECORD_MSG:
        get_msg(c, r);
        return;
    case PQB_RECORD_REFUSAL:
        r->devno = pqb_rcur_u32(c);
        r->epoch = pqb_rcur_u32(c);
        r->low = pqb_rcur_u64(c);
        r->seq = pqb_rcur_u64(c);
        r->hash = pqb_rcur_u32(c);
        r->nack = pqb_rcur_u8(c);
        return;
    case PQB_RECORD_SKIP:
        get_skip(c, r);
        return;
    case PQB_RECORD_CURSOR:
        r->devno = pqb_rcur_u32(c);
        r->iseq = pqb_rcur_u64(c);
        r->delivered = pqb_rcur_u64(c);
        pqb_value_get_settled(c, &r->settled);
        return;
    case PQB_RECORD_DEVICE:
        r->devno = pqb_rcur_u32(c);
        r->epoch = pqb_rcur_u32(c);
        r->low = pqb_rcur_u64(c);
        r->cursor = pqb_rcur_u64(c);
        r->is_new = pqb_rcur_u8(c) != 0;
        r->name = pqb_value_get_text(c, PQB_DEVICE_MAX);
        return;
    case PQB_RECORD_EPOCH:
        r->devno = pqb_rcur_u32(c);
        r->epoch = pqb_rcur_u32(c);
        pqb_rcur_copy(c, r->nonce, sizeof(r->nonce));
        return;
    case PQB_RECORD_EXPIRE:
        r->iseq = pqb_rcur_u64(c);
        pqb_value_get_settled(c, &r->settled);
        return;
    case PQB_RECORD_GENERATION:
        r->iseq = pqb_rcur_u64(c);
        return;
    case PQB_RECORD_FORGET:
        r->devno = pqb_rcur_u32(c);
        pqb_value_get_settled(c, &r->settled);
        return;
    case PQB_RECORD_USER:
        r->generation = pqb_rcur_u32(c);
        r->creator_uid = pqb_rcur_u64(c);
        r->creator_devno = pqb_rcur_u32(c);
        r->name = pqb_value_get_text(c, PQB_USER_MAX);
        if (r->generation > PQB_GENERATION_MAX)
            c->is_bad = true;
        return;
    case PQB_RECORD_PART:
        pqb_rcur_bytes(c, pqb_rcur_left(c));
        return;
    case PQB_RECORD_BAD:
        break;
    }
    c->is_bad = true;
}

static void end_exactly(struct pqb_writer_cursor *c, const void *key, size_t key_len, size_t len)
{
    const size_t written = pqb_value_end(c, key, key_len);

    PQB_ASSERT(written == len);
}

static void encode_under(const struct pqb_journal_record *r, const void *key, size_t key_len,
                         uint8_t *out, size_t len)
{
    struct pqb_writer_cursor c;

    PQB_ASSERT(len == pqb_record_len(r));
    pqb_value_begin(&c, out, len);
    pqb_wcur_u8(&c, (uint8_t)r->type);
    pqb_wcur_u64(&c, r->uid);
    pqb_wcur_u32(&c, r->uhash);
    pqb_wcur_u64(&c, r->at);
    put_content(&c, r);
    end_exactly(&c, key, key_len, len);
}

static int decode_under(struct pqb_journal_record *r, const void *key, size_t key_len,
                        const void *data, size_t len)
{
    struct pqb_reader_cursor c;

    // Field by field, not one assignment: a skip's table is large and rarely needed.
    memset(r, 0, offsetof(struct pqb_journal_record, skipped));
    r->skipped.count = 0;
    r->name = (struct pqb_text){0};
    r->generation = 0;
    r->creator_uid = 0;
    r->creator_devno = 0;
    if (pqb_value_open(&c, key, key_len, data, len) != PQB_OK)
        return PQB_ERR_CORRUPT;
    r->type = (enum pqb_record_type)pqb_rcur_u8(&c);
    if (r->type != PQB_RECORD_PART) {
        r->uid = pqb_rcur_u64(&c);
        r->uhash = pqb_rcur_u32(&c);
        r->at = pqb_rcur_u64(&c);
    }
    get_content(&c, r);
    return pqb_value_close(&c);
}

void pqb_record_encode(const struct pqb_journal_record *r, uint64_t gseq, uint8_t *out, size_t len)
{
    uint8_t key[PQB_JOURNAL_KEY_LEN];

    pqb_key_journal(key, gseq);
    encode_under(r, key, sizeof(key), out, len);
}

int pqb_record_decode(struct pqb_journal_record *r, uint64_t gseq, const void *data, size_t len)
{
    uint8_t key[PQB_JOURNAL_KEY_LEN];

    pqb_key_journal(key, gseq);
    return decode_under(r, key, sizeof(key), data, len);
}

void pqb_inbox_encode(const struct pqb_journal_record *r, const uint8_t key[PQB_INBOX_KEY_LEN],
                      uint8_t *out, size_t len)
{
    PQB_ASSERT(r->type == PQB_RECORD_MSG);
    encode_under(r, key, PQB_INBOX_KEY_LEN, out, len);
}

int pqb_inbox_decode(struct pqb_journal_record *r, const uint8_t key[PQB_INBOX_KEY_LEN],
                     const void *data, size_t len)
{
    const int err = decode_under(r, key, PQB_INBOX_KEY_LEN, data, len);

    return err == PQB_OK && r->type != PQB_RECORD_MSG ? PQB_ERR_CORRUPT : err;
}

// ---------------------------------------------------------------------------------- parts

static struct pqb_bytes part_bytes(const struct pqb_journal_record *r, uint16_t part)
{
    const size_t from = head_body_len(r) + (size_t)(part - 1) * PQB_PART_BYTES_MAX;

    PQB_ASSERT(part >= 1 && from < r->body_len);
    return (struct pqb_bytes){.data = r->body.data + from,
                              .len = PQB_MIN((size_t)PQB_PART_BYTES_MAX, r->body_len - from)};
}

size_t pqb_part_len(const struct pqb_journal_record *r, uint16_t part)
{
    return PQB_PART_HEADER_LEN + part_bytes(r, part).len;
}

void pqb_part_encode(const struct pqb_journal_record *r, uint16_t part, const void *key,
                     size_t key_len, uint8_t *out, size_t len)
{
    const struct pqb_bytes piece = part_bytes(r, part);
    struct pqb_writer_cursor c;

    pqb_value_begin(&c, out, len);
    pqb_wcur_u8(&c, PQB_RECORD_PART);
    pqb_wcur_bytes(&c, piece.data, piece.len);
    end_exactly(&c, key, key_len, len);
}

int pqb_part_decode(const void *key, size_t key_len, const void *data, size_t len,
                    struct pqb_bytes *out)
{
    struct pqb_reader_cursor c;

    if (pqb_value_open(&c, key, key_len, data, len) != PQB_OK || pqb_rcur_u8(&c) != PQB_RECORD_PART)
        return PQB_ERR_CORRUPT;
    out->len = pqb_rcur_left(&c);
    out->data = pqb_rcur_bytes(&c, out->len);
    return PQB_OK;
}
