// INIT and RESP: the two datagrams that carry a msgpack array.
#include <assert.h>
#include <string.h>

#include "common/base/check.h"
#include "common/wire/layout.h"

#define SUITE_PLAIN 0 // the only suite today

// byte 0 | suite 1 | reserved 2 | init_id 8
#define LOGIN_HEADER_LEN 12
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
     2 * PQB_FRAME_RANGES_MAX * UINT64_LEN)

static_assert(LOGIN_HEADER_LEN + 1 + PQB_COOKIE_LEN + LENGTH_LEN + INIT_BODY_MAX <= PQB_INIT_LEN,
              "every login fits into an INIT");
static_assert(LOGIN_HEADER_LEN + LENGTH_LEN + RESP_BODY_MAX <= PQB_INIT_LEN,
              "no RESP is longer than the INIT it answers");

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
};

const struct pqb_layout pqb_init_layout = PQB_LAYOUT(init_fields);
const struct pqb_layout pqb_resp_layout = PQB_LAYOUT(resp_fields);

// Checks byte 0 for `want`, reads suite, reserved bytes and init_id.
static enum pqb_verdict read_login_header(struct pqb_reader_cursor *c, const void *data, size_t len,
                                          enum pqb_datagram_type want, uint64_t *init_id)
{
    enum pqb_datagram_type type;
    const enum pqb_verdict verdict = pqb_datagram_peek(data, len, &type);

    if (verdict != PQB_VERDICT_OK)
        return verdict;
    if (type != want)
        return PQB_VERDICT_TYPE;
    pqb_rcur_init(c, data, len);
    (void)pqb_rcur_u8(c);
    const uint8_t suite = pqb_rcur_u8(c);
    (void)pqb_rcur_u16(c);
    *init_id = pqb_rcur_u64(c);
    return suite == SUITE_PLAIN ? PQB_VERDICT_OK : PQB_VERDICT_FIELD;
}

static void write_login_header(struct pqb_writer_cursor *c, enum pqb_datagram_type type,
                               uint64_t init_id)
{
    pqb_wcur_u8(c, (uint8_t)(PQB_WIRE_VERSION << 4 | (int)type));
    pqb_wcur_u8(c, SUITE_PLAIN);
    pqb_wcur_u16(c, 0);
    pqb_wcur_u64(c, init_id);
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
    enum pqb_verdict verdict;

    *out = (struct pqb_init){0};
    verdict = read_login_header(&c, data, len, PQB_DATAGRAM_INIT, &out->init_id);
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
    struct pqb_writer_cursor c;

    PQB_ASSERT(in->cookie_len == 0 || in->cookie_len == PQB_COOKIE_LEN);
    pqb_wcur_init(&c, out, PQB_INIT_LEN);
    write_login_header(&c, PQB_DATAGRAM_INIT, in->init_id);
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
    enum pqb_verdict verdict;

    *out = (struct pqb_resp){0};
    verdict = read_login_header(&c, data, len, PQB_DATAGRAM_RESP, &out->init_id);
    if (verdict != PQB_VERDICT_OK)
        return verdict;
    return read_body(u, &c, &pqb_resp_layout, out);
}

size_t pqb_resp_encode(const struct pqb_resp *in, uint8_t *out)
{
    struct pqb_writer_cursor c;

    pqb_wcur_init(&c, out, PQB_INIT_LEN);
    write_login_header(&c, PQB_DATAGRAM_RESP, in->init_id);
    write_body(&c, &pqb_resp_layout, in);
    return pqb_wcur_len(&c);
}
