// The datagrams of fixed layout, and the first look at any of them.
#include "common/wire/datagram.h"

#include <assert.h>
#include <string.h>

#include "common/base/check.h"
#include "common/wire/cursor.h"

#define RESP_LEN_MIN 14 // header and length of the array

static_assert(PQB_DATA_HEADER_LEN == 1 + PQB_CID_LEN + 8 + 4 + 2, "the byte table of DATA");

// Shortest datagram of `type`; 0 for a type that is not spoken.
static size_t len_min(uint8_t type)
{
    switch (type) {
    case PQB_DATAGRAM_INIT:
    case PQB_DATAGRAM_RESUME:
        return PQB_INIT_LEN;
    case PQB_DATAGRAM_RETRY:
        return PQB_RETRY_LEN;
    case PQB_DATAGRAM_RESP:
        return RESP_LEN_MIN;
    case PQB_DATAGRAM_BUSY:
        return PQB_BUSY_LEN;
    case PQB_DATAGRAM_DATA:
        return PQB_DATA_HEADER_LEN;
    case PQB_DATAGRAM_RESET:
        return PQB_RESET_DATAGRAM_LEN;
    default:
        return 0;
    }
}

enum pqb_verdict pqb_datagram_peek(const void *data, size_t len, enum pqb_datagram_type *type)
{
    if (len == 0)
        return PQB_VERDICT_SHORT;
    if (len > PQB_DATAGRAM_MAX)
        return PQB_VERDICT_LONG;
    const uint8_t first = *(const uint8_t *)data;
    const size_t shortest = len_min(first & 0x0f);
    if (first >> 4 != PQB_WIRE_VERSION)
        return PQB_VERDICT_VERSION;
    if (shortest == 0)
        return PQB_VERDICT_TYPE;
    if (len < shortest)
        return PQB_VERDICT_SHORT;
    *type = (enum pqb_datagram_type)(first & 0x0f);
    return PQB_VERDICT_OK;
}

uint64_t pqb_datagram_cid(const void *data, size_t len)
{
    struct pqb_reader_cursor c;

    pqb_rcur_init(&c, data, len);
    (void)pqb_rcur_u8(&c);
    return pqb_rcur_u64(&c);
}

uint8_t pqb_datagram_suite(const void *data, size_t len)
{
    return len > 1 ? ((const uint8_t *)data)[1] : PQB_SUITE_PLAIN;
}

// Opens a datagram that must be of type `want` and stands behind its byte 0.
static enum pqb_verdict open_datagram(struct pqb_reader_cursor *c, const void *data, size_t len,
                                      enum pqb_datagram_type want)
{
    enum pqb_datagram_type type;
    const enum pqb_verdict verdict = pqb_datagram_peek(data, len, &type);

    if (verdict != PQB_VERDICT_OK)
        return verdict;
    if (type != want)
        return PQB_VERDICT_TYPE;
    pqb_rcur_init(c, data, len);
    (void)pqb_rcur_u8(c);
    return PQB_VERDICT_OK;
}

static void start_datagram(struct pqb_writer_cursor *c, uint8_t *out, size_t len,
                           enum pqb_datagram_type type)
{
    pqb_wcur_init(c, out, len);
    pqb_wcur_u8(c, (uint8_t)(PQB_WIRE_VERSION << 4 | (int)type));
}

static size_t finish_datagram(const struct pqb_writer_cursor *c)
{
    PQB_ASSERT(!c->is_bad && c->at == c->end);
    return pqb_wcur_len(c);
}

enum pqb_verdict pqb_retry_decode(const void *data, size_t len, struct pqb_retry *out)
{
    struct pqb_reader_cursor c;
    const enum pqb_verdict verdict = open_datagram(&c, data, len, PQB_DATAGRAM_RETRY);

    if (verdict != PQB_VERDICT_OK)
        return verdict;
    out->init_id = pqb_rcur_u64(&c);
    memcpy(out->cookie, c.at, PQB_COOKIE_LEN);
    return PQB_VERDICT_OK;
}

size_t pqb_retry_encode(const struct pqb_retry *in, uint8_t *out)
{
    struct pqb_writer_cursor c;

    start_datagram(&c, out, PQB_RETRY_LEN, PQB_DATAGRAM_RETRY);
    pqb_wcur_u64(&c, in->init_id);
    pqb_wcur_bytes(&c, in->cookie, PQB_COOKIE_LEN);
    return finish_datagram(&c);
}

enum pqb_verdict pqb_busy_decode(const void *data, size_t len, struct pqb_busy *out)
{
    struct pqb_reader_cursor c;
    const enum pqb_verdict verdict = open_datagram(&c, data, len, PQB_DATAGRAM_BUSY);

    if (verdict != PQB_VERDICT_OK)
        return verdict;
    out->init_id = pqb_rcur_u64(&c);
    out->retry_after_ms = pqb_rcur_u32(&c);
    return PQB_VERDICT_OK;
}

size_t pqb_busy_encode(const struct pqb_busy *in, uint8_t *out)
{
    struct pqb_writer_cursor c;

    start_datagram(&c, out, PQB_BUSY_LEN, PQB_DATAGRAM_BUSY);
    pqb_wcur_u64(&c, in->init_id);
    pqb_wcur_u32(&c, in->retry_after_ms);
    return finish_datagram(&c);
}

enum pqb_verdict pqb_data_decode(const void *data, size_t len, struct pqb_data *out)
{
    struct pqb_reader_cursor c;
    const enum pqb_verdict verdict = open_datagram(&c, data, len, PQB_DATAGRAM_DATA);

    if (verdict != PQB_VERDICT_OK)
        return verdict;
    out->cid = pqb_rcur_u64(&c);
    out->pn = pqb_rcur_u64(&c);
    out->echo_pn = pqb_rcur_u32(&c);
    out->echo_delay = pqb_rcur_u16(&c);
    out->frames_len = pqb_rcur_left(&c);
    out->frames = c.at;
    return out->cid != 0 && out->pn != 0 ? PQB_VERDICT_OK : PQB_VERDICT_FIELD;
}

void pqb_data_header_encode(const struct pqb_data *in, uint8_t *out)
{
    struct pqb_writer_cursor c;

    PQB_ASSERT(in->cid != 0 && in->pn != 0);
    start_datagram(&c, out, PQB_DATA_HEADER_LEN, PQB_DATAGRAM_DATA);
    pqb_wcur_u64(&c, in->cid);
    pqb_wcur_u64(&c, in->pn);
    pqb_wcur_u32(&c, in->echo_pn);
    pqb_wcur_u16(&c, in->echo_delay);
    (void)finish_datagram(&c);
}

enum pqb_verdict pqb_reset_decode(const void *data, size_t len, struct pqb_reset *out)
{
    struct pqb_reader_cursor c;
    const enum pqb_verdict verdict = open_datagram(&c, data, len, PQB_DATAGRAM_RESET);

    if (verdict != PQB_VERDICT_OK)
        return verdict;
    out->cid = pqb_rcur_u64(&c);
    memcpy(out->token, c.at, PQB_RESET_LEN);
    return PQB_VERDICT_OK;
}

size_t pqb_reset_encode(const struct pqb_reset *in, uint8_t *out)
{
    struct pqb_writer_cursor c;

    start_datagram(&c, out, PQB_RESET_DATAGRAM_LEN, PQB_DATAGRAM_RESET);
    pqb_wcur_u64(&c, in->cid);
    pqb_wcur_bytes(&c, in->token, PQB_RESET_LEN);
    return finish_datagram(&c);
}
