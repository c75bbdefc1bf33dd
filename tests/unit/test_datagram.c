#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/defs.h"
#include "common/wire/datagram.h"
#include "common/wire/frame.h"
#include "tests/unit/wire_samples.h"

#define INIT_BODY_AT 15 // of an INIT without cookie: header 12, cookie_len 1, body_len 2

static struct pqb_unpacker *unpacker;
static uint8_t bytes[PQB_DATAGRAM_MAX + 1], again[PQB_DATAGRAM_MAX];

static int set_up(void **state)
{
    (void)state;
    return pqb_unpacker_create(&unpacker);
}

static int tear_down(void **state)
{
    (void)state;
    pqb_unpacker_destroy(unpacker);
    return 0;
}

static enum pqb_verdict peek(uint8_t first, size_t len)
{
    enum pqb_datagram_type type;

    memset(bytes, 0, sizeof(bytes));
    bytes[0] = first;
    return pqb_datagram_peek(bytes, len, &type);
}

static void peek_checks_length_then_version_then_type(void **state)
{
    (void)state;
    assert_int_equal(peek(0x16, 0), PQB_VERDICT_SHORT);
    assert_int_equal(peek(0x26, PQB_DATAGRAM_MAX + 1), PQB_VERDICT_LONG);
    assert_int_equal(peek(0x16, PQB_DATAGRAM_MAX), PQB_VERDICT_OK);
    assert_int_equal(peek(0x06, 100), PQB_VERDICT_VERSION);
    assert_int_equal(peek(0x26, 1), PQB_VERDICT_VERSION);
    assert_int_equal(peek(0x10, 100), PQB_VERDICT_TYPE);
    assert_int_equal(peek(0x14, 1199), PQB_VERDICT_SHORT);
    assert_int_equal(peek(0x14, 1200), PQB_VERDICT_OK);
    for (uint8_t type = 8; type < 16; type++)
        assert_int_equal(peek((uint8_t)(0x10 | type), 1200), PQB_VERDICT_TYPE);
}

static void each_type_has_its_shortest_length(void **state)
{
    static const struct {
        uint8_t first;
        size_t len;
    } types[] = {{0x11, 1200}, {0x12, 33}, {0x13, 14}, {0x15, 13}, {0x16, 23}, {0x17, 25}};
    enum pqb_datagram_type type;

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(types); i++) {
        assert_int_equal(peek(types[i].first, types[i].len), PQB_VERDICT_OK);
        assert_int_equal(peek(types[i].first, types[i].len - 1), PQB_VERDICT_SHORT);
        bytes[0] = types[i].first;
        assert_int_equal(pqb_datagram_peek(bytes, types[i].len, &type), PQB_VERDICT_OK);
        assert_int_equal(type, types[i].first & 15);
    }
}

static void the_connection_id_is_read_without_decoding(void **state)
{
    static const uint8_t data[] = {0x16, 1, 2, 3, 4, 5, 6, 7, 8};

    (void)state;
    assert_int_equal(pqb_datagram_cid(data, 9), 0x0102030405060708);
    assert_int_equal(pqb_datagram_cid(data, 8), 0);
    assert_int_equal(pqb_datagram_cid(data, 0), 0);
}

static void check_init_round_trip(const struct pqb_init *in)
{
    struct pqb_init out;

    memset(bytes, 0xee, sizeof(bytes));
    assert_int_equal(pqb_init_encode(in, bytes), PQB_INIT_LEN);
    assert_int_equal(bytes[PQB_INIT_LEN], 0xee);
    assert_int_equal(pqb_init_decode(unpacker, bytes, PQB_INIT_LEN, &out), PQB_VERDICT_OK);
    assert_int_equal(out.init_id, in->init_id);
    assert_int_equal(out.cookie_len, in->cookie_len);
    assert_int_equal(out.user.len, in->user.len);
    assert_memory_equal(out.user.data, in->user.data, in->user.len);
    assert_int_equal(out.device.len, in->device.len);
    assert_memory_equal(out.device.data, in->device.data, in->device.len);
    assert_int_equal(out.token.len, in->token.len);
    assert_int_equal(out.epoch, in->epoch);
    assert_int_equal(out.low, in->low);
    assert_int_equal(out.cursor, in->cursor);
    assert_int_equal(pqb_init_encode(&out, again), PQB_INIT_LEN);
    assert_memory_equal(bytes, again, PQB_INIT_LEN);
}

static void init_survives_the_round_trip(void **state)
{
    struct pqb_init in;
    struct pqb_rng rng;

    (void)state;
    pqb_rng_init_seed(&rng, 1);
    wire_sample_init(&rng, WIRE_SAMPLE_LOWEST, &in);
    check_init_round_trip(&in);
    wire_sample_init(&rng, WIRE_SAMPLE_HIGHEST, &in);
    check_init_round_trip(&in);
    for (int i = 0; i < 2000; i++) {
        wire_sample_init(&rng, WIRE_SAMPLE_RANDOM, &in);
        check_init_round_trip(&in);
    }
}

// An INIT without cookie and token in `bytes`.
static void make_init(void)
{
    const struct pqb_init in = {.init_id = 1,
                                .user = {"alice", 5},
                                .device = {"phone", 5},
                                .token = {"", 0},
                                .epoch = 2,
                                .low = 3,
                                .cursor = 4};

    assert_int_equal(pqb_init_encode(&in, bytes), PQB_INIT_LEN);
}

static enum pqb_verdict decode_init(size_t len)
{
    struct pqb_init out;

    return pqb_init_decode(unpacker, bytes, len, &out);
}

static void an_init_has_exactly_its_length(void **state)
{
    (void)state;
    make_init();
    assert_int_equal(decode_init(PQB_INIT_LEN), PQB_VERDICT_OK);
    assert_int_equal(decode_init(PQB_INIT_LEN - 1), PQB_VERDICT_SHORT);
    assert_int_equal(decode_init(PQB_INIT_LEN + 1), PQB_VERDICT_LONG);
}

static void what_is_wrong_in_an_init_is_refused(void **state)
{
    (void)state;
    make_init();
    bytes[1] = 1; // a suite that is not spoken
    assert_int_equal(decode_init(PQB_INIT_LEN), PQB_VERDICT_FIELD);
    make_init();
    bytes[12] = 1; // a cookie of another length
    assert_int_equal(decode_init(PQB_INIT_LEN), PQB_VERDICT_FIELD);
    make_init();
    bytes[13] = 0xff; // an array longer than the datagram
    assert_int_equal(decode_init(PQB_INIT_LEN), PQB_VERDICT_SHORT);
    make_init();
    bytes[14]++; // an array and one byte
    assert_int_equal(decode_init(PQB_INIT_LEN), PQB_VERDICT_STRUCTURE);
    make_init();
    bytes[INIT_BODY_AT] = 0xc1;
    assert_int_equal(decode_init(PQB_INIT_LEN), PQB_VERDICT_STRUCTURE);
    make_init();
    bytes[INIT_BODY_AT + 2] = 0x01; // a control character in the name
    assert_int_equal(decode_init(PQB_INIT_LEN), PQB_VERDICT_FIELD);
    make_init();
    bytes[0] = 0x13;
    assert_int_equal(decode_init(PQB_INIT_LEN), PQB_VERDICT_TYPE);
}

static void the_padding_and_reserved_bytes_are_zero_and_not_looked_at(void **state)
{
    (void)state;
    make_init();
    assert_int_equal(bytes[2] | bytes[3], 0);
    for (size_t i = 100; i < PQB_INIT_LEN; i++)
        assert_int_equal(bytes[i], 0);
    bytes[2] = bytes[3] = bytes[100] = bytes[PQB_INIT_LEN - 1] = 0xff;
    assert_int_equal(decode_init(PQB_INIT_LEN), PQB_VERDICT_OK);
}

static void check_resp_round_trip(const struct pqb_resp *in)
{
    struct pqb_resp out;
    const size_t len = pqb_resp_encode(in, bytes);

    assert_true(len <= PQB_INIT_LEN);
    assert_int_equal(pqb_resp_decode(unpacker, bytes, len, &out), PQB_VERDICT_OK);
    assert_int_equal(out.init_id, in->init_id);
    assert_int_equal(out.cid, in->cid);
    assert_memory_equal(out.reset_token, in->reset_token, PQB_RESET_LEN);
    assert_int_equal(out.consumed_count, in->consumed_count);
    assert_memory_equal(out.consumed, in->consumed, in->consumed_count * sizeof(in->consumed[0]));
    assert_int_equal(out.head, in->head);
    assert_int_equal(out.time_ms, in->time_ms);
    assert_int_equal(pqb_resp_encode(&out, again), len);
    assert_memory_equal(bytes, again, len);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(pqb_resp_decode(unpacker, bytes, cut, &out), PQB_VERDICT_SHORT);
}

static void resp_survives_the_round_trip_and_is_never_longer_than_init(void **state)
{
    struct pqb_resp in;
    struct pqb_rng rng;

    (void)state;
    pqb_rng_init_seed(&rng, 2);
    wire_sample_resp(&rng, WIRE_SAMPLE_LOWEST, &in);
    check_resp_round_trip(&in);
    wire_sample_resp(&rng, WIRE_SAMPLE_HIGHEST, &in);
    assert_int_equal(in.consumed_count, PQB_FRAME_RANGES_MAX);
    check_resp_round_trip(&in);
    for (int i = 0; i < 200; i++) {
        wire_sample_resp(&rng, WIRE_SAMPLE_RANDOM, &in);
        check_resp_round_trip(&in);
    }
}

static void retry_busy_and_reset_have_fixed_bytes(void **state)
{
    struct pqb_retry retry = {.init_id = 0x0102030405060708}, retry_out;
    struct pqb_busy busy = {.init_id = 0x0102030405060708, .retry_after_ms = 1000}, busy_out;
    struct pqb_reset reset = {.cid = 0x1112131415161718}, reset_out;

    (void)state;
    memset(retry.cookie, 0xcc, sizeof(retry.cookie));
    assert_int_equal(pqb_retry_encode(&retry, bytes), 33);
    assert_memory_equal(bytes, "\x12\x01\x02\x03\x04\x05\x06\x07\x08\xcc", 10);
    assert_int_equal(pqb_retry_decode(bytes, 33, &retry_out), PQB_VERDICT_OK);
    assert_memory_equal(&retry_out, &retry, sizeof(retry));
    assert_int_equal(pqb_retry_decode(bytes, 32, &retry_out), PQB_VERDICT_SHORT);

    assert_int_equal(pqb_busy_encode(&busy, bytes), 13);
    assert_memory_equal(bytes, "\x15\x01\x02\x03\x04\x05\x06\x07\x08\x00\x00\x03\xe8", 13);
    assert_int_equal(pqb_busy_decode(bytes, 13, &busy_out), PQB_VERDICT_OK);
    assert_int_equal(busy_out.init_id, busy.init_id);
    assert_int_equal(busy_out.retry_after_ms, 1000);
    assert_int_equal(pqb_busy_decode(bytes, 12, &busy_out), PQB_VERDICT_SHORT);

    memset(reset.token, 0xdd, sizeof(reset.token));
    assert_int_equal(pqb_reset_encode(&reset, bytes), 25);
    assert_memory_equal(bytes, "\x17\x11\x12\x13\x14\x15\x16\x17\x18\xdd", 10);
    assert_int_equal(pqb_reset_decode(bytes, 25, &reset_out), PQB_VERDICT_OK);
    assert_int_equal(reset_out.cid, reset.cid);
    assert_memory_equal(reset_out.token, reset.token, PQB_RESET_LEN);
    assert_int_equal(pqb_reset_decode(bytes, 24, &reset_out), PQB_VERDICT_SHORT);
}

static void trailing_bytes_of_answers_are_ignored(void **state)
{
    struct pqb_retry retry = {.init_id = 1}, retry_out;
    struct pqb_busy busy = {.init_id = 2}, busy_out;
    struct pqb_reset reset = {.cid = 3}, reset_out;
    struct pqb_resp resp = {.init_id = 4, .cid = 5}, resp_out;

    (void)state;
    memset(bytes, 0xee, sizeof(bytes));
    assert_int_equal(pqb_retry_decode(bytes, pqb_retry_encode(&retry, bytes) + 9, &retry_out),
                     PQB_VERDICT_OK);
    assert_int_equal(pqb_busy_decode(bytes, pqb_busy_encode(&busy, bytes) + 9, &busy_out),
                     PQB_VERDICT_OK);
    assert_int_equal(pqb_reset_decode(bytes, pqb_reset_encode(&reset, bytes) + 9, &reset_out),
                     PQB_VERDICT_OK);
    assert_int_equal(pqb_resp_decode(unpacker, bytes, pqb_resp_encode(&resp, bytes) + 9, &resp_out),
                     PQB_VERDICT_OK);
}

static void a_decoder_refuses_another_type(void **state)
{
    struct pqb_busy busy = {.init_id = 2};
    struct pqb_retry retry;
    struct pqb_reset reset;
    struct pqb_resp resp;
    struct pqb_data data;

    (void)state;
    memset(bytes, 0, sizeof(bytes));
    (void)pqb_busy_encode(&busy, bytes);
    assert_int_equal(pqb_retry_decode(bytes, 100, &retry), PQB_VERDICT_TYPE);
    assert_int_equal(pqb_reset_decode(bytes, 100, &reset), PQB_VERDICT_TYPE);
    assert_int_equal(pqb_resp_decode(unpacker, bytes, 100, &resp), PQB_VERDICT_TYPE);
    assert_int_equal(pqb_data_decode(bytes, 100, &data), PQB_VERDICT_TYPE);
    bytes[0] = 0x16;
    assert_int_equal(pqb_busy_decode(bytes, 100, &busy), PQB_VERDICT_TYPE);
}

static void a_data_header_has_fixed_bytes_and_the_rest_is_frames(void **state)
{
    static const uint8_t want[] = {0x16, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
                                   0x18, 0,    0,    0,    0,    0,    0,    1,
                                   0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0x12, 0x34};
    const struct pqb_data in = {
        .cid = 0x1112131415161718, .pn = 0x102, .echo_pn = 0xaabbccdd, .echo_delay = 0x1234};
    struct pqb_data out;

    (void)state;
    assert_int_equal(sizeof(want), PQB_DATA_HEADER_LEN);
    pqb_data_header_encode(&in, bytes);
    assert_memory_equal(bytes, want, sizeof(want));
    assert_int_equal(pqb_data_decode(bytes, 23, &out), PQB_VERDICT_OK);
    assert_int_equal(out.frames_len, 0);
    assert_int_equal(pqb_data_decode(bytes, PQB_DATAGRAM_MAX, &out), PQB_VERDICT_OK);
    assert_int_equal(out.cid, in.cid);
    assert_int_equal(out.pn, in.pn);
    assert_int_equal(out.echo_pn, in.echo_pn);
    assert_int_equal(out.echo_delay, in.echo_delay);
    assert_ptr_equal(out.frames, bytes + PQB_DATA_HEADER_LEN);
    assert_int_equal(out.frames_len, PQB_DATAGRAM_MAX - PQB_DATA_HEADER_LEN);
}

static void packet_numbers_and_connection_ids_are_not_zero(void **state)
{
    struct pqb_data in = {.cid = 1, .pn = 1}, out;
    struct pqb_resp resp = {.cid = 1}, resp_out;

    (void)state;
    pqb_data_header_encode(&in, bytes);
    bytes[8] = 0;
    assert_int_equal(pqb_data_decode(bytes, 23, &out), PQB_VERDICT_FIELD);
    pqb_data_header_encode(&in, bytes);
    bytes[16] = 0;
    assert_int_equal(pqb_data_decode(bytes, 23, &out), PQB_VERDICT_FIELD);
    const size_t len = pqb_resp_encode(&resp, bytes);
    assert_int_equal(bytes[15], 1); // after header, length and array header
    bytes[15] = 0;
    assert_int_equal(pqb_resp_decode(unpacker, bytes, len, &resp_out), PQB_VERDICT_FIELD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peek_checks_length_then_version_then_type),
        cmocka_unit_test(each_type_has_its_shortest_length),
        cmocka_unit_test(the_connection_id_is_read_without_decoding),
        cmocka_unit_test(init_survives_the_round_trip),
        cmocka_unit_test(an_init_has_exactly_its_length),
        cmocka_unit_test(what_is_wrong_in_an_init_is_refused),
        cmocka_unit_test(the_padding_and_reserved_bytes_are_zero_and_not_looked_at),
        cmocka_unit_test(resp_survives_the_round_trip_and_is_never_longer_than_init),
        cmocka_unit_test(retry_busy_and_reset_have_fixed_bytes),
        cmocka_unit_test(trailing_bytes_of_answers_are_ignored),
        cmocka_unit_test(a_decoder_refuses_another_type),
        cmocka_unit_test(a_data_header_has_fixed_bytes_and_the_rest_is_frames),
        cmocka_unit_test(packet_numbers_and_connection_ids_are_not_zero),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
