// INIT, RESUME and RESP: the datagrams that carry a msgpack array, as it is or inside a handshake.
#include <assert.h>
#include <string.h>

#include "common/base/check.h"
#include "common/wire/layout.h"

#define LENGTH_LEN       2 // in front of the array
#define UINT64_LEN       9 // msgpack: header byte and value
#define UINT32_LEN       5
#define ARRAY_HEADER_LEN 3

// The largest arrays that the layouts below allow.
#define INIT_BODY_MAX                                                                     \
    (ARRAY_HEADER_LEN + (2 + PQB_USER_MAX) + (2 + PQB_DEVICE_MAX) + (3 + PQB_TOKEN_MAX) + \
     UINT32_LEN + 2 * UINT64_LEN)
#define RESP_BODY_MAX                                                                              \
    (ARRAY_HEADER_LEN + (2 + PQB_RESET_LEN) + 8 * UINT64_LEN + 4 * UINT32_LEN + ARRAY_HEADER_LEN + \
     2 * PQB_FRAME_RANGES_MAX * UINT64_LEN + 1)

static_assert(PQB_LOGIN_HEADER_LEN + 1 + PQB_COOKIE_LEN + LENGTH_LEN + INIT_BODY_MAX <=
                  PQB_INIT_LEN,
              "every login fits into an INIT");
static_assert(PQB_LOGIN_HEADER_LEN + LENGTH_LEN + RESP_BODY_MAX <= PQB_INIT_LEN,
              "no RESP is longer than the INIT it answers");

// Of a handshake's message that is not payload: keys and tags (common/proto/noise.h).
#define INIT_OVERHEAD   (2 * PQB_KEY_LEN + 2 * PQB_TAG_LEN)
#define ANSWER_OVERHEAD (PQB_KEY_LEN + PQB_TAG_LEN)

static_assert(PQB_HELLO_HEADER_LEN + INIT_OVERHEAD + LENGTH_LEN + INIT_BODY_MAX + PQB_MAC1_LEN <=
                  PQB_INIT_LEN,
              "every login fits into a sealed INIT");
static_assert(PQB_LOGIN_HEADER_LEN + ANSWER_OVERHEAD + RESP_BODY_MAX <= PQB_INIT_LEN,
              "no sealed RESP is longer than its question");

// clang-format off
#define UINT(type, member)          \
    PQB_UINT(type, member, #member, 0, PQB_UINT_MAX_OF(type, member))
#define POSITIVE(type, member)      \
    PQB_UINT(type, member, #member, 1, PQB_UINT_MAX_OF(type, member))
#define NAME(type, member, highest) \
    PQB_ONE(type, member, #member, PQB_FIELD_NAME, 1, highest)
// clang-format on

static const struct pqb_field init_fields[] = {
    NAME(struct pqb_init, user, PQB_USER_MAX),
    NAME(struct pqb_init, device, PQB_DEVICE_MAX),
    PQB_ONE(struct pqb_init, token, "token", PQB_FIELD_TEXT, 0, PQB_TOKEN_MAX),
    UINT(struct pqb_init, epoch),
    UINT(struct pqb_init, low),
    UINT(struct pqb_init, cursor),
};

static const struct pqb_field resume_fields[] = {
    UINT(struct pqb_init, epoch),
    UINT(struct pqb_init, low),
    UINT(struct pqb_init, cursor),
};

static const struct pqb_field resp_fields[] = {
    POSITIVE(struct pqb_resp, cid),
    PQB_ONE(struct pqb_resp, reset_token, "reset_token", PQB_FIELD_FIXED, 0, PQB_RESET_LEN),
    UINT(struct pqb_resp, epoch),
    UINT(struct pqb_resp, low),
    PQB_TWO(struct pqb_resp, consumed_count, consumed, "consumed", PQB_FIELD_RANGES,
            PQB_FRAME_RANGES_MAX),
    UINT(struct pqb_resp, cursor),
    UINT(struct pqb_resp, tail),
    UINT(struct pqb_resp, head),
    UINT(struct pqb_resp, count),
    UINT(struct pqb_resp, generation_first),
    UINT(struct pqb_resp, idle_ms),
    UINT(struct pqb_resp, body_max),
    UINT(struct pqb_resp, push_max),
    UINT(struct pqb_resp, time_ms),
    PQB_UINT(struct pqb_resp, cipher, "cipher", 0, PQB_CIPHER_MAX),
};

const struct pqb_layout pqb_init_layout = PQB_LAYOUT(init_fields);
const struct pqb_layout pqb_resume_layout = PQB_LAYOUT(resume_fields);
const struct pqb_layout pqb_resp_layout = PQB_LAYOUT(resp_fields);

struct login_header {
    uint8_t suite, ciphers;
    uint64_t init_id;
};

// Checks byte 0 for `want` and the suite, reads the rest.
static enum pqb_verdict read_login_header(struct pqb_reader_cursor *c, const void *data, size_t len,
                                          enum pqb_datagram_type want, enum pqb_suite suite,
                                          struct login_header *h)
{
    enum pqb_datagram_type type;
    const enum pqb_verdict verdict = pqb_datagram_peek(data, len, &type);

    if (verdict != PQB_VERDICT_OK)
        return verdict;
    if (type != want)
        return PQB_VERDICT_TYPE;
    pqb_rcur_init(c, data, len);
    (void)pqb_rcur_u8(c);
    h->suite = pqb_rcur_u8(c);
    h->ciphers = pqb_rcur_u8(c);
    (void)pqb_rcur_u8(c);
    h->init_id = pqb_rcur_u64(c);
    return h->suite == suite ? PQB_VERDICT_OK : PQB_VERDICT_FIELD;
}

static void write_login_header(struct pqb_writer_cursor *c, enum pqb_datagram_type type,
                               const struct login_header *h)
{
    pqb_wcur_u8(c, (uint8_t)(PQB_WIRE_VERSION << 4 | (int)type));
    pqb_wcur_u8(c, h->suite);
    pqb_wcur_u8(c, h->ciphers);
    pqb_wcur_u8(c, 0);
    pqb_wcur_u64(c, h->init_id);
}

// The array with its length in front.
static enum pqb_verdict read_body(struct pqb_unpacker *u, struct pqb_reader_cursor *c,
                                  const struct pqb_layout *layout, void *out)
{
    const size_t len = pqb_rcur_u16(c);
    const uint8_t *body = pqb_rcur_bytes(c, len);

    if (c->is_bad)
        return PQB_VERDICT_SHORT;
    return pqb_fields_decode(u, layout, body, len, out);
}

static void write_body(struct pqb_writer_cursor *c, const struct pqb_layout *layout, const void *in)
{
    struct pqb_writer_cursor length = *c;
    const size_t before = pqb_wcur_len(c) + LENGTH_LEN;

    pqb_wcur_u16(c, 0);
    pqb_fields_encode(layout, in, c);
    pqb_wcur_u16(&length, (uint16_t)(pqb_wcur_len(c) - before));
    PQB_ASSERT(!c->is_bad);
}

enum pqb_verdict pqb_init_decode(struct pqb_unpacker *u, const void *data, size_t len,
                                 struct pqb_init *out)
{
    struct pqb_reader_cursor c;
    struct login_header h = {0};
    enum pqb_verdict verdict;

    *out = (struct pqb_init){0};
    verdict = read_login_header(&c, data, len, PQB_DATAGRAM_INIT, PQB_SUITE_PLAIN, &h);
    out->init_id = h.init_id;
    if (verdict != PQB_VERDICT_OK)
        return verdict;
    out->cookie_len = pqb_rcur_u8(&c);
    if (out->cookie_len != 0 && out->cookie_len != PQB_COOKIE_LEN)
        return PQB_VERDICT_FIELD;
    out->cookie = pqb_rcur_bytes(&c, out->cookie_len);
    return read_body(u, &c, &pqb_init_layout, out);
}

size_t pqb_init_encode(const struct pqb_init *in, uint8_t *out)
{
    const struct login_header h = {.suite = PQB_SUITE_PLAIN, .init_id = in->init_id};
    struct pqb_writer_cursor c;

    PQB_ASSERT(in->cookie_len == 0 || in->cookie_len == PQB_COOKIE_LEN);
    pqb_wcur_init(&c, out, PQB_INIT_LEN);
    write_login_header(&c, PQB_DATAGRAM_INIT, &h);
    pqb_wcur_u8(&c, (uint8_t)in->cookie_len);
    pqb_wcur_bytes(&c, in->cookie, in->cookie_len);
    write_body(&c, &pqb_init_layout, in);
    memset(c.at, 0, (size_t)(c.end - c.at));
    return PQB_INIT_LEN;
}

enum pqb_verdict pqb_resp_decode(struct pqb_unpacker *u, const void *data, size_t len,
                                 struct pqb_resp *out)
{
    struct pqb_reader_cursor c;
    struct login_header h = {0};
    enum pqb_verdict verdict;

    *out = (struct pqb_resp){0};
    verdict = read_login_header(&c, data, len, PQB_DATAGRAM_RESP, PQB_SUITE_PLAIN, &h);
    out->init_id = h.init_id;
    if (verdict != PQB_VERDICT_OK)
        return verdict;
    return read_body(u, &c, &pqb_resp_layout, out);
}

size_t pqb_resp_encode(const struct pqb_resp *in, uint8_t *out)
{
    const struct login_header h = {.suite = PQB_SUITE_PLAIN, .init_id = in->init_id};
    struct pqb_writer_cursor c;

    pqb_wcur_init(&c, out, PQB_INIT_LEN);
    write_login_header(&c, PQB_DATAGRAM_RESP, &h);
    write_body(&c, &pqb_resp_layout, in);
    return pqb_wcur_len(&c);
}

// ------------------------------------------------------------------------- the suite noise

static const struct pqb_layout *layout_of(enum pqb_datagram_type type)
{
    return type == PQB_DATAGRAM_INIT ? &pqb_init_layout : &pqb_resume_layout;
}

enum pqb_verdict pqb_hello_decode(const void *data, size_t len, struct pqb_hello *out)
{
    struct pqb_reader_cursor c;
    struct login_header h = {0};
    enum pqb_datagram_type type = PQB_DATAGRAM_INIT;
    enum pqb_verdict verdict = pqb_datagram_peek(data, len, &type);

    if (verdict != PQB_VERDICT_OK)
        return verdict;
    if (type != PQB_DATAGRAM_INIT && type != PQB_DATAGRAM_RESUME)
        return PQB_VERDICT_TYPE;
    verdict = read_login_header(&c, data, len, type, PQB_SUITE_NOISE, &h);
    if (verdict != PQB_VERDICT_OK)
        return verdict;
    *out = (struct pqb_hello){.type = type, .ciphers = h.ciphers, .init_id = h.init_id};
    out->cookie_len = pqb_rcur_u8(&c);
    if (out->cookie_len != 0 && out->cookie_len != PQB_COOKIE_LEN)
        return PQB_VERDICT_FIELD;
    out->cookie = pqb_rcur_bytes(&c, PQB_COOKIE_LEN);
    if (type == PQB_DATAGRAM_RESUME)
        out->ticket = pqb_rcur_bytes(&c, PQB_TICKET_LEN);
    out->message_len = pqb_rcur_left(&c) - PQB_MAC1_LEN;
    out->message = pqb_rcur_bytes(&c, out->message_len);
    out->mac1 = pqb_rcur_bytes(&c, PQB_MAC1_LEN);
    PQB_ASSERT(!c.is_bad); // all lengths are fixed
    return PQB_VERDICT_OK;
}

uint8_t *pqb_hello_begin(struct pqb_hello *in, uint8_t *out)
{
    const struct login_header h = {
        .suite = PQB_SUITE_NOISE, .ciphers = in->ciphers, .init_id = in->init_id};
    struct pqb_writer_cursor c;

    PQB_ASSERT((in->type == PQB_DATAGRAM_RESUME) == (in->ticket != NULL));
    memset(out, 0, PQB_INIT_LEN);
    pqb_wcur_init(&c, out, PQB_INIT_LEN);
    write_login_header(&c, in->type, &h);
    c.at = out + PQB_HELLO_HEADER_LEN; // no cookie
    if (in->ticket != NULL)
        pqb_wcur_bytes(&c, in->ticket, PQB_TICKET_LEN);
    PQB_ASSERT(!c.is_bad);
    in->message_len = PQB_HELLO_MAC1_AT - pqb_wcur_len(&c);
    return c.at;
}

void pqb_hello_put_cookie(uint8_t *hello, const uint8_t cookie[PQB_COOKIE_LEN])
{
    hello[PQB_LOGIN_HEADER_LEN] = PQB_COOKIE_LEN;
    memcpy(hello + PQB_LOGIN_HEADER_LEN + 1, cookie, PQB_COOKIE_LEN);
}

enum pqb_verdict pqb_hello_payload_decode(struct pqb_unpacker *u, enum pqb_datagram_type type,
                                          const void *data, size_t len, struct pqb_init *out)
{
    struct pqb_reader_cursor c;

    *out = (struct pqb_init){0};
    pqb_rcur_init(&c, data, len);
    return read_body(u, &c, layout_of(type), out);
}

void pqb_hello_payload_encode(enum pqb_datagram_type type, const struct pqb_init *in, uint8_t *out,
                              size_t len)
{
    struct pqb_writer_cursor c;

    pqb_wcur_init(&c, out, len);
    write_body(&c, layout_of(type), in);
    memset(c.at, 0, (size_t)(c.end - c.at));
}

enum pqb_verdict pqb_answer_decode(const void *data, size_t len, uint64_t *init_id,
                                   const uint8_t **message, size_t *message_len)
{
    struct pqb_reader_cursor c;
    struct login_header h = {0};
    const enum pqb_verdict verdict =
        read_login_header(&c, data, len, PQB_DATAGRAM_RESP, PQB_SUITE_NOISE, &h);

    if (verdict != PQB_VERDICT_OK)
        return verdict;
    *init_id = h.init_id;
    *message = c.at;
    *message_len = pqb_rcur_left(&c);
    return PQB_VERDICT_OK;
}

size_t pqb_answer_begin(uint64_t init_id, uint8_t *out)
{
    const struct login_header h = {.suite = PQB_SUITE_NOISE, .init_id = init_id};
    struct pqb_writer_cursor c;

    pqb_wcur_init(&c, out, PQB_LOGIN_HEADER_LEN);
    write_login_header(&c, PQB_DATAGRAM_RESP, &h);
    return pqb_wcur_len(&c);
}

enum pqb_verdict pqb_answer_payload_decode(struct pqb_unpacker *u, const void *data, size_t len,
                                           struct pqb_resp *out)
{
    *out = (struct pqb_resp){0};
    return pqb_fields_decode(u, &pqb_resp_layout, data, len, out);
}

size_t pqb_answer_payload_encode(const struct pqb_resp *in, uint8_t *out)
{
    struct pqb_writer_cursor c;

    pqb_wcur_init(&c, out, RESP_BODY_MAX);
    pqb_fields_encode(&pqb_resp_layout, in, &c);
    PQB_ASSERT(!c.is_bad);
    return pqb_wcur_len(&c);
}
