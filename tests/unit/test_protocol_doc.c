// PROTOCOL.md must say what the code does: its tables are made from the same definitions here and
// looked up in the document, its numbers are compared, its hex examples decoded and encoded again.
//
// usage: test_protocol_doc PROTOCOL.md; with --print instead: the tables and examples to paste.
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/crc32c.h"
#include "common/base/defs.h"
#include "common/base/time.h"
#include "common/proto/cookie.h"
#include "common/proto/frag.h"
#include "common/proto/noise.h"
#include "common/proto/packet_keys.h"
#include "common/proto/path.h"
#include "common/proto/replay_window.h"
#include "common/proto/rtt.h"
#include "common/proto/sent_map.h"
#include "common/proto/server_keys.h"
#include "common/wire/fields.h"
#include "common/wire/structure.h"
#include "gateway/core/half_open.h"
#include "gateway/core/session.h"

static char document[256 * 1024];
static struct pqb_unpacker *unpacker;

// ------------------------------------------------------------------------------------ tables

struct text {
    char data[32 * 1024];
    size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    t->len += (size_t)vsnprintf(t->data + t->len, sizeof(t->data) - t->len, format, args);
    va_end(args);
    assert_true(t->len < sizeof(t->data));
}

enum direction {
    C2G,
    G2C,
    BOTH
};

static const char *direction_name(enum direction d)
{
    return d == C2G ? "client → gateway" : d == G2C ? "gateway → client" : "both";
}

static void frame_table(struct text *t)
{
    add(t, "| Type | Name | Direction | May be cut | What it says |\n|---|---|---|---|---|\n");
#define PQB_FRAME(name, code, text, direction, fragmentable, help)       \
    add(t, "| 0x%02x | `%s` | %s | %s | %s |\n", (unsigned)(code), text, \
        direction_name(direction), (fragmentable) ? "yes" : "no", help);
#include "common/wire/frames.def"
#undef PQB_FRAME
}

static void nack_table(struct text *t)
{
    add(t, "| Code | Name | Final | What it means |\n|---|---|---|---|\n");
#define PQB_NACK_REASON(name, code, text, is_final, help) \
    add(t, "| %d | `%s` | %s | %s |\n", code, text, (is_final) ? "yes" : "no", help);
#include "common/wire/reasons.def"
#undef PQB_NACK_REASON
}

static void add_uint_limits(struct text *t, const struct pqb_field *f)
{
    if (f->max == UINT64_MAX >> (64 - 8 * f->width))
        add(t, "uint | %llu to 2^%u − 1", (unsigned long long)f->min, 8U * f->width);
    else
        add(t, "uint | %llu to %llu", (unsigned long long)f->min, (unsigned long long)f->max);
}

static void add_type_and_limits(struct text *t, const struct pqb_field *f)
{
    const unsigned long long min = f->min, max = f->max;

    switch (f->kind) {
    case PQB_FIELD_UINT:
        add_uint_limits(t, f);
        return;
    case PQB_FIELD_BOOL:
        add(t, "bool |");
        return;
    case PQB_FIELD_STATE:
        add(t, "uint | a state");
        return;
    case PQB_FIELD_TEXT:
        add(t, "str | UTF-8, %llu to %llu bytes", min, max);
        return;
    case PQB_FIELD_NAME:
        add(t, "str | a name, %llu to %llu bytes", min, max);
        return;
    case PQB_FIELD_BYTES:
        add(t, "bin | %llu to %llu bytes", min, max);
        return;
    case PQB_FIELD_FIXED:
        add(t, "bin | %llu bytes", max);
        return;
    case PQB_FIELD_OPTIONAL:
        add(t, "bin or nil | %llu bytes", max);
        return;
    case PQB_FIELD_RANGES:
        add(t, "array | ranges, 0 to %llu", max);
        return;
    case PQB_FIELD_SEQ_STATES:
        add(t, "array | `seq, state` pairs, 0 to %llu", max);
        return;
    }
}

static void add_elements(struct text *t, const char *name, const struct pqb_layout *layout)
{
    for (size_t i = 0; i < layout->count; i++) {
        add(t, "| %s%s%s | %zu | `%s` | ", i == 0 ? "`" : "", i == 0 ? name : "", i == 0 ? "`" : "",
            i, layout->fields[i].name);
        add_type_and_limits(t, &layout->fields[i]);
        add(t, " |\n");
    }
    if (layout->count == 0)
        add(t, "| `%s` | | none: an empty array | | |\n", name);
}

static void element_table(struct text *t)
{
    add(t, "| Frame | # | Element | Type | Limits |\n|---|---|---|---|---|\n");
#define PQB_FRAME(name, code, text, direction, fragmentable, help) \
    add_elements(t, text, pqb_frame_layout(code));
#include "common/wire/frames.def"
#undef PQB_FRAME
}

static void login_tables(struct text *t)
{
    add(t, "| Datagram | # | Element | Type | Limits |\n|---|---|---|---|---|\n");
    add_elements(t, "INIT", &pqb_init_layout);
    add_elements(t, "RESP", &pqb_resp_layout);
}

static void must_have(const char *wanted)
{
    if (!strstr(document, wanted))
        fail_msg("PROTOCOL.md lacks:\n%s", wanted);
}

static void check_table(void (*make)(struct text *))
{
    static struct text t;

    t = (struct text){.len = 0};
    make(&t);
    add(&t, "\n"); // and nothing more in the table
    must_have(t.data);
}

static void the_frame_table_is_the_one_of_the_code(void **state)
{
    (void)state;
    check_table(frame_table);
}

static void the_elements_of_each_frame_are_those_of_the_code(void **state)
{
    (void)state;
    check_table(element_table);
}

static void the_elements_of_init_and_resp_are_those_of_the_code(void **state)
{
    (void)state;
    check_table(login_tables);
}

static void the_nack_reasons_are_those_of_the_code(void **state)
{
    (void)state;
    check_table(nack_table);
}

struct number {
    const char *name;
    unsigned long long value;
};

#define NUMBER(macro)                       \
    {                                       \
#        macro, (unsigned long long)(macro) \
    }

static const struct number limits[] = {
    NUMBER(PQB_WIRE_VERSION),
    NUMBER(PQB_DATAGRAM_MAX),
    NUMBER(PQB_INIT_LEN),
    NUMBER(PQB_DATA_HEADER_LEN),
    NUMBER(PQB_TAG_LEN),
    NUMBER(PQB_FRAMES_MAX),
    NUMBER(PQB_FRAME_HEADER_LEN),
    NUMBER(PQB_FRAME_CONTENT_MAX),
    NUMBER(PQB_USER_MAX),
    NUMBER(PQB_DEVICE_MAX),
    NUMBER(PQB_TOKEN_MAX),
    NUMBER(PQB_KEY_LEN),
    NUMBER(PQB_BODY_MAX),
    NUMBER(PQB_CID_LEN),
    NUMBER(PQB_COOKIE_LEN),
    NUMBER(PQB_RESET_LEN),
    NUMBER(PQB_RECEIPT_LEN),
    NUMBER(PQB_NONCE_LEN),
    NUMBER(PQB_PATH_LEN),
    NUMBER(PQB_MAC1_LEN),
    NUMBER(PQB_TICKET_LEN),
    NUMBER(PQB_SEQ_WINDOW),
    NUMBER(PQB_PUSH_WINDOW),
    NUMBER(PQB_PAGE_MAX),
    NUMBER(PQB_PAGE_BYTES_MAX),
    NUMBER(PQB_FRAME_RANGES_MAX),
    NUMBER(PQB_SKIP_MAX),
    NUMBER(PQB_FRAG_LEN),
    NUMBER(PQB_FRAG_TOTAL_MAX),
    NUMBER(PQB_FRAG_COUNT_MAX),
    NUMBER(PQB_ISEQ_COUNTER_BITS),
    NUMBER(PQB_STRUCTURE_DEPTH_MAX),
    NUMBER(PQB_STRUCTURE_VALUES_MAX),
    NUMBER(PQB_ECHO_UNIT_NS),
    NUMBER(PQB_ECHO_TOO_LONG),
    NUMBER(PQB_REPLAY_SPAN),
    NUMBER(PQB_SENT_REORDER),
    NUMBER(PQB_SENT_ATTEMPTS_MAX),
    NUMBER(PQB_FRAG_IN_MAX),
    NUMBER(PQB_PATH_TRIES),
    NUMBER(PQB_SESSION_OPS_MAX),
    NUMBER(PQB_SESSION_HOLDS_MAX),
    NUMBER(PQB_HELD_DATAGRAMS_MAX),
};

static const struct number timers[] = {
    NUMBER(PQB_RTO_INITIAL_NS), NUMBER(PQB_RTO_FLOOR_NS),    NUMBER(PQB_RTO_LOW_FLOOR_NS),
    NUMBER(PQB_RTO_MAX_NS),     NUMBER(PQB_COOKIE_VALID_NS), NUMBER(PQB_FRAG_IN_TIMEOUT_NS),
    NUMBER(PQB_HALF_OPEN_NS),   NUMBER(PQB_HOLD_NS),
};

static void the_limits_are_those_of_the_code(void **state)
{
    char row[128];

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(limits); i++) {
        (void)snprintf(row, sizeof(row), "\n| `%s` | %llu |", limits[i].name, limits[i].value);
        must_have(row);
    }
    for (size_t i = 0; i < PQB_ARRAY_LEN(timers); i++) {
        (void)snprintf(row, sizeof(row), "\n| `%s` | %llu ms |", timers[i].name,
                       timers[i].value / PQB_NS_PER_MS);
        must_have(row);
    }
}

static void the_states_and_other_reasons_are_those_of_the_code(void **state)
{
    static const struct number gaps[] = {{"expired", PQB_GAP_EXPIRED},
                                         {"damaged", PQB_GAP_DAMAGED},
                                         {"generation", PQB_GAP_GENERATION},
                                         {"recalled", PQB_GAP_RECALLED}};
    static const struct number kicks[] = {
        {"replaced", PQB_KICK_REPLACED}, {"admin", PQB_KICK_ADMIN},
        {"drain", PQB_KICK_DRAIN},       {"epoch", PQB_KICK_EPOCH},
        {"give_up", PQB_KICK_GIVE_UP},   {"expired", PQB_KICK_EXPIRED}};
    char row[128];

    (void)state;
    for (unsigned s = 0; s <= UINT8_MAX; s++) {
        (void)snprintf(row, sizeof(row), "\n| %u | state `%s` |", s, pqb_state_name((uint8_t)s));
        if (pqb_state_is_known(s))
            must_have(row);
    }
    for (size_t i = 0; i < PQB_ARRAY_LEN(gaps); i++) {
        (void)snprintf(row, sizeof(row), "\n| %llu | gap `%s` |", gaps[i].value, gaps[i].name);
        must_have(row);
    }
    for (size_t i = 0; i < PQB_ARRAY_LEN(kicks); i++) {
        (void)snprintf(row, sizeof(row), "\n| %llu | kick `%s` |", kicks[i].value, kicks[i].name);
        must_have(row);
    }
}

// ---------------------------------------------------------------------------------- examples

#define CID      UINT64_C(0x01a2b3c4d5e6f708)
#define INIT_ID  UINT64_C(0x1122334455667788)
#define POSITION PQB_ISEQ_MAKE(3, 41) // generation 3, counter 41
#define BYTES(text)                               \
    {                                             \
        (const uint8_t *)(text), sizeof(text) - 1 \
    }
#define TEXT(text)               \
    {                            \
        (text), sizeof(text) - 1 \
    }

// Filled to the last byte: no terminating zero.
static const uint8_t cookie[PQB_COOKIE_LEN] = "cookie-cookie-cookie-24b";
static const uint8_t tail_piece[16] = "end of the text.";

static const struct pqb_init init_example = {.init_id = INIT_ID,
                                             .user = TEXT("alice"),
                                             .device = TEXT("phone"),
                                             .token = TEXT("let me in"),
                                             .epoch = 5,
                                             .low = 7,
                                             .cursor = POSITION};

static size_t make_init(uint8_t *out)
{
    return pqb_init_encode(&init_example, out);
}

static size_t make_init_with_cookie(uint8_t *out)
{
    const struct pqb_init in = {.init_id = INIT_ID,
                                .cookie = cookie,
                                .cookie_len = sizeof(cookie),
                                .user = TEXT("alice"),
                                .device = TEXT("phone"),
                                .token = TEXT("let me in"),
                                .epoch = 5,
                                .low = 7,
                                .cursor = POSITION};

    return pqb_init_encode(&in, out);
}

static size_t make_retry(uint8_t *out)
{
    struct pqb_retry in = {.init_id = INIT_ID};

    memcpy(in.cookie, cookie, sizeof(cookie));
    return pqb_retry_encode(&in, out);
}

static size_t make_busy(uint8_t *out)
{
    const struct pqb_busy in = {.init_id = INIT_ID, .retry_after_ms = 1500};

    return pqb_busy_encode(&in, out);
}

static const struct pqb_resp resp_example = {.init_id = INIT_ID,
                                             .cid = CID,
                                             .reset_token = "reset-token-16by",
                                             .epoch = 5,
                                             .low = 7,
                                             .consumed_count = 2,
                                             .consumed = {{7, 7}, {9, 12}},
                                             .cursor = POSITION,
                                             .tail = POSITION + 1,
                                             .head = POSITION + 3,
                                             .count = 3,
                                             .generation_first = PQB_ISEQ_MAKE(3, 1),
                                             .idle_ms = 90000,
                                             .body_max = 65536,
                                             .push_max = 200,
                                             .time_ms = UINT64_C(1767225600000)};

static size_t make_resp(uint8_t *out)
{
    return pqb_resp_encode(&resp_example, out);
}

static size_t make_reset(uint8_t *out)
{
    const struct pqb_reset in = {.cid = CID, .token = "reset-token-16by"};

    return pqb_reset_encode(&in, out);
}

static size_t make_data(const struct pqb_data *header, const struct pqb_frame *frames, size_t count,
                        uint8_t *out)
{
    size_t len = PQB_DATA_HEADER_LEN;

    pqb_data_header_encode(header, out);
    for (size_t i = 0; i < count; i++) {
        const size_t more = pqb_frame_encode(&frames[i], out + len, PQB_DATAGRAM_MAX - len);
        assert_true(more > 0);
        len += more;
    }
    return len;
}

static size_t make_msg_r(uint8_t *out)
{
    const struct pqb_data header = {.cid = CID, .pn = 2, .echo_pn = 1, .echo_delay = 61};
    const struct pqb_frame frame = {.type = PQB_FRAME_MSG_R,
                                    .msg_r = {.seq = 13,
                                              .low = 8,
                                              .after = 12,
                                              .kind = 1,
                                              .to = TEXT("bob"),
                                              .body = BYTES("hello")}};

    return make_data(&header, &frame, 1, out);
}

static size_t make_msg_a(uint8_t *out)
{
    const struct pqb_data header = {.cid = CID, .pn = 2, .echo_pn = 2, .echo_delay = 122};
    const struct pqb_frame frames[] = {
        {.type = PQB_FRAME_MSG_A,
         .msg_a = {.seq = 13,
                   .state = PQB_STATE_ACCEPTED,
                   .has_receipt = true,
                   .receipt = "opaque-receipt16"}},
        {.type = PQB_FRAME_ACK_N,
         .ack_n = {.state = PQB_STATE_STORED, .seqs = {.count = 1, .at = {{13, 13}}}}}};

    return make_data(&header, frames, PQB_ARRAY_LEN(frames), out);
}

static size_t make_msg_n(uint8_t *out)
{
    const struct pqb_data header = {.cid = CID, .pn = 3, .echo_pn = 2, .echo_delay = 0xffff};
    const struct pqb_frame frame = {.type = PQB_FRAME_MSG_N,
                                    .msg_n = {.iseq = POSITION + 1,
                                              .kind = 1,
                                              .time_ms = UINT64_C(1767225601234),
                                              .from = TEXT("bob"),
                                              .device = TEXT("desk"),
                                              .body = BYTES("ahoy")}};

    return make_data(&header, &frame, 1, out);
}

static size_t make_ack_r(uint8_t *out)
{
    const struct pqb_data header = {.cid = CID, .pn = 3, .echo_pn = 3, .echo_delay = 1220};
    const struct pqb_frame frame = {
        .type = PQB_FRAME_ACK_R,
        .ack_r = {.cursor = POSITION + 1,
                  .received = {.count = 1, .at = {{POSITION + 3, POSITION + 3}}}}};

    return make_data(&header, &frame, 1, out);
}

static size_t make_off_r(uint8_t *out)
{
    const struct pqb_data header = {.cid = CID, .pn = 4, .echo_pn = 3, .echo_delay = 3000};
    const struct pqb_frame frame = {
        .type = PQB_FRAME_OFF_R,
        .off_r = {.cursor = POSITION + 1, .after = POSITION + 1, .max = 100, .max_bytes = 262144}};

    return make_data(&header, &frame, 1, out);
}

static size_t make_off_a(uint8_t *out)
{
    const struct pqb_data header = {.cid = CID, .pn = 4, .echo_pn = 4, .echo_delay = 5};
    const struct pqb_frame frame = {.type = PQB_FRAME_OFF_A,
                                    .off_a = {.after = POSITION + 1,
                                              .first = POSITION + 2,
                                              .last = POSITION + 3,
                                              .tail = POSITION + 1,
                                              .head = POSITION + 3}};

    return make_data(&header, &frame, 1, out);
}

// The last piece of a whole of 1040 bytes: 1024 times "a", then this piece.
static size_t make_frag(uint8_t *out)
{
    const struct pqb_data header = {.cid = CID, .pn = 5, .echo_pn = 4, .echo_delay = 10};
    uint8_t whole[PQB_FRAG_LEN + sizeof(tail_piece)];

    memset(whole, 'a', PQB_FRAG_LEN);
    memcpy(whole + PQB_FRAG_LEN, tail_piece, sizeof(tail_piece));
    const struct pqb_frame frame = {.type = PQB_FRAME_FRAG,
                                    .frag = {.id = 1,
                                             .frame = PQB_FRAME_MSG_R,
                                             .seq = 14,
                                             .total = sizeof(whole),
                                             .hash = pqb_crc32c(0, whole, sizeof(whole)),
                                             .index = 1,
                                             .piece = {tail_piece, sizeof(tail_piece)}}};

    return make_data(&header, &frame, 1, out);
}

static size_t make_nack(uint8_t *out)
{
    const struct pqb_data header = {.cid = CID, .pn = 5, .echo_pn = 5, .echo_delay = 8};
    const struct pqb_frame frames[] = {
        {.type = PQB_FRAME_FRAG_A, .frag_a = {.id = 1, .received = {.count = 1, .at = {{1, 1}}}}},
        {.type = PQB_FRAME_NACK,
         .nack = {
             .frame = PQB_FRAME_MSG_R, .ref = 14, .reason = PQB_NACK_BUSY, .retry_after_ms = 250}}};

    return make_data(&header, frames, PQB_ARRAY_LEN(frames), out);
}

static const struct example {
    const char *name;
    size_t (*make)(uint8_t *out);
} examples[] = {
    {"INIT", make_init},        {"RETRY", make_retry},      {"INIT-cookie", make_init_with_cookie},
    {"BUSY", make_busy},        {"RESP", make_resp},        {"DATA-msg:R", make_msg_r},
    {"DATA-msg:A", make_msg_a}, {"DATA-msg:N", make_msg_n}, {"DATA-ack:R", make_ack_r},
    {"DATA-off:R", make_off_r}, {"DATA-off:A", make_off_a}, {"DATA-frag", make_frag},
    {"DATA-nack", make_nack},   {"RESET", make_reset},
};

// --------------------------------------------------------------------------- encrypted examples

// Secret keys of 32 bytes that count up from `first`.
static void count_up(uint8_t first, uint8_t out[PQB_KEY_LEN])
{
    for (uint8_t i = 0; i < PQB_KEY_LEN; i++)
        out[i] = (uint8_t)(first + i);
}

// A login in full, as PROTOCOL.md section 19 tells it.
struct login_example {
    uint8_t init[PQB_INIT_LEN], resp[PQB_DATAGRAM_MAX];
    size_t resp_len;
    uint8_t from_client[PQB_KEY_LEN];
};

static void write_first(struct login_example *e, const struct pqb_noise_keypair *gateway,
                        struct pqb_noise *client)
{
    struct pqb_hello hello = {
        .type = PQB_DATAGRAM_INIT, .ciphers = PQB_CIPHERS_CHACHAPOLY, .init_id = INIT_ID};
    struct pqb_noise_keypair device;
    uint8_t prologue[PQB_PROLOGUE_MAX], payload[PQB_INIT_LEN], key[PQB_KEY_LEN];
    uint8_t *message = pqb_hello_begin(&hello, e->init);
    const size_t prologue_len = pqb_prologue_make(e->init, NULL, prologue);
    const size_t len = hello.message_len - PQB_NOISE_IK_OVERHEAD;

    count_up(0x20, device.secret);
    pqb_noise_keypair_complete(&device);
    pqb_noise_init_ik(client, true, &device, gateway->public, prologue, prologue_len);
    pqb_hello_payload_encode(PQB_DATAGRAM_INIT, &init_example, payload, len);
    count_up(0x40, key);
    assert_int_equal(pqb_noise_write(client, key, payload, len, message), hello.message_len);
    pqb_mac1_key(gateway->public, key);
    pqb_mac1_make(key, e->init, PQB_HELLO_MAC1_AT, e->init + PQB_HELLO_MAC1_AT);
}

static void make_login(struct login_example *e)
{
    struct pqb_noise_keypair gateway;
    struct pqb_noise client, responder;
    struct pqb_hello hello;
    struct pqb_resp resp = resp_example;
    uint8_t prologue[PQB_PROLOGUE_MAX], payload[PQB_INIT_LEN], key[PQB_KEY_LEN];
    size_t len;

    count_up(0, gateway.secret);
    pqb_noise_keypair_complete(&gateway);
    write_first(e, &gateway, &client);
    assert_int_equal(pqb_hello_decode(e->init, PQB_INIT_LEN, &hello), PQB_VERDICT_OK);
    pqb_noise_init_ik(&responder, false, &gateway, NULL, prologue,
                      pqb_prologue_make(e->init, NULL, prologue));
    assert_true(pqb_noise_read(&responder, hello.message, hello.message_len, payload, &len));
    resp.cipher = PQB_CIPHER_CHACHAPOLY;
    len = pqb_answer_payload_encode(&resp, payload);
    count_up(0x60, key);
    e->resp_len = pqb_answer_begin(INIT_ID, e->resp);
    e->resp_len += pqb_noise_write(&responder, key, payload, len, e->resp + e->resp_len);
    assert_true(pqb_noise_read(&client, e->resp + PQB_LOGIN_HEADER_LEN,
                               e->resp_len - PQB_LOGIN_HEADER_LEN, payload, &len));
    pqb_noise_finish(&client, e->from_client, key);
}

// Up to the end of the device's sealed key.
static size_t make_noise_init(uint8_t *out)
{
    struct login_example e;

    make_login(&e);
    memcpy(out, e.init, PQB_HELLO_HEADER_LEN + 2 * PQB_KEY_LEN + PQB_TAG_LEN);
    return PQB_HELLO_HEADER_LEN + 2 * PQB_KEY_LEN + PQB_TAG_LEN;
}

// From the payload's tag on.
static size_t make_noise_init_end(uint8_t *out)
{
    struct login_example e;

    make_login(&e);
    memcpy(out, e.init + PQB_HELLO_MAC1_AT - PQB_TAG_LEN, PQB_TAG_LEN + PQB_MAC1_LEN);
    return PQB_TAG_LEN + PQB_MAC1_LEN;
}

static size_t make_noise_resp(uint8_t *out)
{
    struct login_example e;

    make_login(&e);
    memcpy(out, e.resp, e.resp_len);
    return e.resp_len;
}

static size_t make_noise_data(uint8_t *out)
{
    struct pqb_packet_keys keys;
    struct login_example e;
    size_t len = make_msg_r(out);

    make_login(&e);
    pqb_packet_keys_init(&keys, e.from_client, e.from_client, 1);
    len = pqb_packet_keys_seal(&keys, PQB_CIPHER_CHACHAPOLY, out, len);
    pqb_packet_keys_fini(&keys);
    return len;
}

static const struct example sealed_examples[] = {
    {"INIT-noise", make_noise_init},
    {"INIT-noise-end", make_noise_init_end},
    {"RESP-noise", make_noise_resp},
    {"DATA-noise", make_noise_data},
};

// Bytes of one line: pairs of hex digits up to '#'; "00 x 12" is twelve times 00.
static size_t parse_line(const char *line, const char *end, uint8_t *out, size_t room)
{
    size_t count = 0;

    while (line < end && *line != '#') {
        if (*line == ' ') {
            line++;
        } else if (*line == 'x' && count > 0) {
            char *after;
            const size_t times = strtoul(line + 1, &after, 10);
            assert_true(times > 0 && count + times - 1 <= room);
            memset(out + count, out[count - 1], times - 1);
            count += times - 1;
            line = after;
        } else {
            const char pair[3] = {line[0], line[1], 0};
            assert_true(isxdigit((unsigned char)pair[0]) && isxdigit((unsigned char)pair[1]));
            assert_true(count < room);
            out[count++] = (uint8_t)strtoul(pair, NULL, 16);
            line += 2;
        }
    }
    return count;
}

static size_t parse_block(const char *name, uint8_t *out, size_t room)
{
    char fence[64];
    size_t len = 0;

    (void)snprintf(fence, sizeof(fence), "\n```hex %s\n", name);
    const char *at = strstr(document, fence);
    if (!at) {
        fail_msg("PROTOCOL.md has no block ```hex %s", name);
        return 0;
    }
    at += strlen(fence);
    while (strncmp(at, "```", 3) != 0) {
        const char *end = strchr(at, '\n');
        assert_non_null(end);
        len += parse_line(at, end, out + len, room - len);
        at = end + 1;
    }
    return len;
}

static void decode_frames(const struct pqb_data *data)
{
    const uint8_t *at = data->frames, *end = data->frames + data->frames_len;
    enum pqb_verdict verdict;
    struct pqb_bytes content;
    struct pqb_frame frame;
    uint8_t code;

    while (pqb_frame_next(&at, end, &code, &content, &verdict))
        assert_int_equal(pqb_frame_decode(unpacker, code, content, &frame), PQB_VERDICT_OK);
    assert_int_equal(verdict, PQB_VERDICT_OK);
}

static enum pqb_verdict decode_example(const uint8_t *bytes, size_t len)
{
    enum pqb_datagram_type type;
    struct pqb_init init;
    struct pqb_retry retry;
    struct pqb_resp resp;
    struct pqb_busy busy;
    struct pqb_data data;
    struct pqb_reset reset;

    assert_int_equal(pqb_datagram_peek(bytes, len, &type), PQB_VERDICT_OK);
    switch (type) {
    case PQB_DATAGRAM_INIT:
        return pqb_init_decode(unpacker, bytes, len, &init);
    case PQB_DATAGRAM_RETRY:
        return pqb_retry_decode(bytes, len, &retry);
    case PQB_DATAGRAM_RESP:
        return pqb_resp_decode(unpacker, bytes, len, &resp);
    case PQB_DATAGRAM_BUSY:
        return pqb_busy_decode(bytes, len, &busy);
    case PQB_DATAGRAM_DATA:
        assert_int_equal(pqb_data_decode(bytes, len, &data), PQB_VERDICT_OK);
        decode_frames(&data);
        return PQB_VERDICT_OK;
    case PQB_DATAGRAM_RESET:
        return pqb_reset_decode(bytes, len, &reset);
    case PQB_DATAGRAM_RESUME:
        break;
    }
    return PQB_VERDICT_TYPE;
}

static void the_examples_are_the_bytes_of_the_code(void **state)
{
    uint8_t want[PQB_DATAGRAM_MAX], got[PQB_DATAGRAM_MAX];

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(examples); i++) {
        const size_t len = examples[i].make(want);
        if (parse_block(examples[i].name, got, sizeof(got)) != len || memcmp(want, got, len) != 0)
            fail_msg("example %s differs from the code; see --print", examples[i].name);
        assert_int_equal(decode_example(got, len), PQB_VERDICT_OK);
    }
}

static void the_encrypted_examples_are_the_bytes_of_the_code(void **state)
{
    uint8_t want[PQB_DATAGRAM_MAX], got[PQB_DATAGRAM_MAX];

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(sealed_examples); i++) {
        const struct example *e = &sealed_examples[i];
        const size_t len = e->make(want);

        if (parse_block(e->name, got, sizeof(got)) != len || memcmp(want, got, len) != 0)
            fail_msg("example %s differs from the code; see --print", e->name);
    }
}

static void every_example_in_the_document_is_checked(void **state)
{
    size_t blocks = 0;

    (void)state;
    for (const char *at = document; (at = strstr(at, "\n```hex ")); at++)
        blocks++;
    assert_int_equal(blocks, PQB_ARRAY_LEN(examples) + PQB_ARRAY_LEN(sealed_examples));
}

static void print_example(const struct example *e)
{
    uint8_t bytes[PQB_DATAGRAM_MAX];
    const size_t len = e->make(bytes);

    (void)printf("\n```hex %s\n", e->name);
    for (size_t k = 0; k < len; k++)
        (void)printf("%02x%s", bytes[k], k % 16 == 15 || k + 1 == len ? "\n" : " ");
    (void)printf("```\n");
}

static void print_everything(void)
{
    static struct text t;

    frame_table(&t);
    add(&t, "\n");
    element_table(&t);
    add(&t, "\n");
    login_tables(&t);
    add(&t, "\n");
    nack_table(&t);
    (void)fputs(t.data, stdout);
    for (size_t i = 0; i < PQB_ARRAY_LEN(limits); i++)
        (void)printf("| `%s` | %llu |\n", limits[i].name, limits[i].value);
    for (size_t i = 0; i < PQB_ARRAY_LEN(timers); i++)
        (void)printf("| `%s` | %llu ms |\n", timers[i].name, timers[i].value / PQB_NS_PER_MS);
    for (size_t i = 0; i < PQB_ARRAY_LEN(examples); i++)
        print_example(&examples[i]);
    for (size_t i = 0; i < PQB_ARRAY_LEN(sealed_examples); i++)
        print_example(&sealed_examples[i]);
}

static bool read_document(const char *path)
{
    FILE *file = fopen(path, "rb");

    if (!file)
        return false;
    const size_t len = fread(document, 1, sizeof(document) - 1, file);
    (void)fclose(file);
    return len > 0 && len < sizeof(document) - 1;
}

static int set_up(void **state)
{
    (void)state;
    return pqb_aead_init() == 0 ? pqb_unpacker_create(&unpacker) : -1;
}

static int tear_down(void **state)
{
    (void)state;
    pqb_unpacker_destroy(unpacker);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_frame_table_is_the_one_of_the_code),
        cmocka_unit_test(the_elements_of_each_frame_are_those_of_the_code),
        cmocka_unit_test(the_elements_of_init_and_resp_are_those_of_the_code),
        cmocka_unit_test(the_nack_reasons_are_those_of_the_code),
        cmocka_unit_test(the_limits_are_those_of_the_code),
        cmocka_unit_test(the_states_and_other_reasons_are_those_of_the_code),
        cmocka_unit_test(the_examples_are_the_bytes_of_the_code),
        cmocka_unit_test(the_encrypted_examples_are_the_bytes_of_the_code),
        cmocka_unit_test(every_example_in_the_document_is_checked),
    };

    if (argc == 2 && strcmp(argv[1], "--print") == 0) {
        print_everything();
        return 0;
    }
    if (argc != 2 || !read_document(argv[1])) {
        (void)fprintf(stderr, "usage: %s PROTOCOL.md | --print\n", argv[0]);
        return 2;
    }
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
