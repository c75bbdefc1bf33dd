// INIT, RESUME and RESP of the suite noise: where each field is, and what is refused before any
// key is touched. The offsets are those of PROTOCOL.md section 19.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/proto/noise.h"
#include "common/wire/datagram.h"
#include "tests/unit/wire_samples.h"

#define INIT_ID UINT64_C(0x1122334455667788)

static struct pqb_unpacker *unpacker;
static uint8_t bytes[PQB_DATAGRAM_MAX + 1];
static const uint8_t ticket[PQB_TICKET_LEN] = {0x71, 0x72};

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

static struct pqb_hello begin(enum pqb_datagram_type type)
{
    struct pqb_hello in = {.type = type,
                           .ciphers = 3,
                           .init_id = INIT_ID,
                           .ticket = type == PQB_DATAGRAM_RESUME ? ticket : NULL};

    memset(bytes, 0xee, sizeof(bytes));
    in.message = pqb_hello_begin(&in, bytes);
    return in;
}

static void an_init_has_its_fields_where_the_protocol_says(void **state)
{
    const struct pqb_hello in = begin(PQB_DATAGRAM_INIT);

    (void)state;
    assert_memory_equal(bytes, "\x11\x01\x03\x00\x11\x22\x33\x44\x55\x66\x77\x88\x00", 13);
    assert_ptr_equal(in.message, bytes + 37);
    assert_int_equal(in.message_len, 1184 - 37);
    for (size_t i = 13; i < 1200; i++)
        assert_int_equal(bytes[i], 0);
    assert_int_equal(bytes[1200], 0xee);
}

static void a_resume_has_its_ticket_in_front_of_the_message(void **state)
{
    const struct pqb_hello in = begin(PQB_DATAGRAM_RESUME);

    (void)state;
    assert_int_equal(bytes[0], 0x14);
    assert_memory_equal(bytes + 37, ticket, 203);
    assert_ptr_equal(in.message, bytes + 240);
    assert_int_equal(in.message_len, 1184 - 240);
}

static void what_is_written_is_read(void **state)
{
    static const enum pqb_datagram_type types[] = {PQB_DATAGRAM_INIT, PQB_DATAGRAM_RESUME};
    static const uint8_t cookie[PQB_COOKIE_LEN] = {1, 2, 3};

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(types); i++) {
        const struct pqb_hello in = begin(types[i]);
        struct pqb_hello out;

        for (int has_cookie = 0; has_cookie < 2; has_cookie++) {
            if (has_cookie)
                pqb_hello_put_cookie(bytes, cookie);
            assert_int_equal(pqb_hello_decode(bytes, 1200, &out), PQB_VERDICT_OK);
            assert_int_equal(out.type, in.type);
            assert_int_equal(out.ciphers, 3);
            assert_int_equal(out.init_id, INIT_ID);
            assert_ptr_equal(out.message, in.message);
            assert_int_equal(out.message_len, in.message_len);
            assert_ptr_equal(out.mac1, bytes + 1184);
            assert_int_equal(out.cookie_len, has_cookie ? 24 : 0);
            if (has_cookie)
                assert_memory_equal(out.cookie, cookie, sizeof(cookie));
            if (in.ticket)
                assert_memory_equal(out.ticket, ticket, sizeof(ticket));
            else
                assert_null(out.ticket);
        }
    }
}

static void a_cookie_moves_nothing(void **state)
{
    static const uint8_t cookie[PQB_COOKIE_LEN] = {[0] = 9, [23] = 9};
    uint8_t before[PQB_INIT_LEN];

    (void)state;
    (void)begin(PQB_DATAGRAM_INIT);
    memcpy(before, bytes, sizeof(before));
    pqb_hello_put_cookie(bytes, cookie);
    assert_memory_equal(bytes, before, 12);
    assert_int_equal(bytes[12], 24);
    assert_memory_equal(bytes + 13, cookie, 24);
    assert_memory_equal(bytes + 37, before + 37, 1200 - 37);
}

static void no_other_length_is_a_hello(void **state)
{
    struct pqb_hello out;

    (void)state;
    (void)begin(PQB_DATAGRAM_INIT);
    assert_int_equal(pqb_hello_decode(bytes, 1200, &out), PQB_VERDICT_OK);
    assert_int_equal(pqb_hello_decode(bytes, 1201, &out), PQB_VERDICT_LONG);
    for (size_t len = 0; len < 1200; len++)
        assert_int_equal(pqb_hello_decode(bytes, len, &out), PQB_VERDICT_SHORT);
}

static void no_other_type_suite_or_cookie_is_a_hello(void **state)
{
    struct pqb_hello out;
    struct pqb_init init;

    (void)state;
    for (unsigned first = 0; first <= UINT8_MAX; first++) {
        (void)begin(PQB_DATAGRAM_INIT);
        bytes[0] = (uint8_t)first;
        assert_int_equal(pqb_hello_decode(bytes, 1200, &out) == PQB_VERDICT_OK,
                         first == 0x11 || first == 0x14);
    }
    for (unsigned suite = 0; suite <= UINT8_MAX; suite++) {
        (void)begin(PQB_DATAGRAM_INIT);
        bytes[1] = (uint8_t)suite;
        assert_int_equal(pqb_hello_decode(bytes, 1200, &out),
                         suite == 1 ? PQB_VERDICT_OK : PQB_VERDICT_FIELD);
        assert_int_equal(pqb_datagram_suite(bytes, 1200), suite);
        if (suite == 1)
            assert_int_equal(pqb_init_decode(unpacker, bytes, 1200, &init), PQB_VERDICT_FIELD);
    }
    for (unsigned len = 0; len <= UINT8_MAX; len++) {
        (void)begin(PQB_DATAGRAM_RESUME);
        bytes[12] = (uint8_t)len;
        assert_int_equal(pqb_hello_decode(bytes, 1200, &out),
                         len == 0 || len == 24 ? PQB_VERDICT_OK : PQB_VERDICT_FIELD);
    }
    assert_int_equal(pqb_datagram_suite("\x11", 1), PQB_SUITE_PLAIN);
    assert_int_equal(pqb_datagram_suite("", 0), PQB_SUITE_PLAIN);
}

static void reserved_bits_are_not_looked_at(void **state)
{
    struct pqb_hello out;

    (void)state;
    (void)begin(PQB_DATAGRAM_INIT);
    bytes[2] = 0xff;
    bytes[3] = 0xff;
    assert_int_equal(pqb_hello_decode(bytes, 1200, &out), PQB_VERDICT_OK);
    assert_int_equal(out.ciphers, 0xff);
}

// ------------------------------------------------------------------------------------- payloads

#define INIT_ROOM   (1184 - 37 - PQB_NOISE_IK_OVERHEAD)
#define RESUME_ROOM (1184 - 240 - PQB_NOISE_NNPSK0_OVERHEAD)

static void every_login_fits_and_is_read_back(void **state)
{
    static const enum wire_sample_mode modes[] = {WIRE_SAMPLE_LOWEST, WIRE_SAMPLE_HIGHEST,
                                                  WIRE_SAMPLE_RANDOM};
    struct pqb_rng rng;

    (void)state;
    pqb_rng_init_seed(&rng, 1);
    for (size_t i = 0; i < PQB_ARRAY_LEN(modes); i++) {
        struct pqb_init in, out;

        wire_sample_init(&rng, modes[i], &in);
        pqb_hello_payload_encode(PQB_DATAGRAM_INIT, &in, bytes, INIT_ROOM);
        assert_int_equal(
            pqb_hello_payload_decode(unpacker, PQB_DATAGRAM_INIT, bytes, INIT_ROOM, &out),
            PQB_VERDICT_OK);
        assert_int_equal(out.user.len, in.user.len);
        assert_memory_equal(out.user.data, in.user.data, in.user.len);
        assert_int_equal(out.token.len, in.token.len);
        assert_int_equal(out.epoch, in.epoch);
        assert_int_equal(out.cursor, in.cursor);
        pqb_hello_payload_encode(PQB_DATAGRAM_RESUME, &in, bytes, RESUME_ROOM);
        assert_int_equal(
            pqb_hello_payload_decode(unpacker, PQB_DATAGRAM_RESUME, bytes, RESUME_ROOM, &out),
            PQB_VERDICT_OK);
        assert_int_equal(out.user.len, 0); // the ticket tells
        assert_int_equal(out.token.len, 0);
        assert_int_equal(out.epoch, in.epoch);
        assert_int_equal(out.low, in.low);
        assert_int_equal(out.cursor, in.cursor);
    }
}

static void a_payload_is_padded_with_zeros(void **state)
{
    const struct pqb_init in = {.user = {"a", 1}, .device = {"b", 1}, .token = {"", 0}};

    (void)state;
    memset(bytes, 0xee, sizeof(bytes));
    pqb_hello_payload_encode(PQB_DATAGRAM_INIT, &in, bytes, INIT_ROOM);
    assert_memory_equal(bytes,
                        "\x00\x09\x96\xa1"
                        "a\xa1"
                        "b\xa0\x00\x00\x00",
                        11);
    for (size_t i = 11; i < INIT_ROOM; i++)
        assert_int_equal(bytes[i], 0);
    assert_int_equal(bytes[INIT_ROOM], 0xee);
}

static void a_payload_is_cut_off_nowhere(void **state)
{
    const struct pqb_init in = {.user = {"a", 1}, .device = {"b", 1}, .token = {"", 0}};
    struct pqb_init out;

    (void)state;
    pqb_hello_payload_encode(PQB_DATAGRAM_INIT, &in, bytes, INIT_ROOM);
    for (size_t len = 0; len < 20; len++)
        assert_int_equal(pqb_hello_payload_decode(unpacker, PQB_DATAGRAM_INIT, bytes, len, &out),
                         len < 11 ? PQB_VERDICT_SHORT : PQB_VERDICT_OK);
    bytes[0] = 0xff; // a length that points out of it
    assert_int_equal(pqb_hello_payload_decode(unpacker, PQB_DATAGRAM_INIT, bytes, INIT_ROOM, &out),
                     PQB_VERDICT_SHORT);
}

static void the_arrays_of_init_and_resume_are_not_each_others(void **state)
{
    const struct pqb_init in = {.user = {"a", 1}, .device = {"b", 1}, .token = {"", 0}};
    struct pqb_init out;

    (void)state;
    pqb_hello_payload_encode(PQB_DATAGRAM_INIT, &in, bytes, INIT_ROOM);
    assert_int_not_equal(
        pqb_hello_payload_decode(unpacker, PQB_DATAGRAM_RESUME, bytes, INIT_ROOM, &out),
        PQB_VERDICT_OK);
    pqb_hello_payload_encode(PQB_DATAGRAM_RESUME, &in, bytes, RESUME_ROOM);
    assert_int_not_equal(
        pqb_hello_payload_decode(unpacker, PQB_DATAGRAM_INIT, bytes, RESUME_ROOM, &out),
        PQB_VERDICT_OK);
}

// -------------------------------------------------------------------------------------- answers

static void an_answer_has_its_message_behind_the_header(void **state)
{
    const uint8_t *message;
    uint64_t init_id;
    size_t len;

    (void)state;
    memset(bytes, 0xee, sizeof(bytes));
    assert_int_equal(pqb_answer_begin(INIT_ID, bytes), 12);
    assert_memory_equal(bytes, "\x13\x01\x00\x00\x11\x22\x33\x44\x55\x66\x77\x88\xee", 13);
    assert_int_equal(pqb_answer_decode(bytes, 1200, &init_id, &message, &len), PQB_VERDICT_OK);
    assert_int_equal(init_id, INIT_ID);
    assert_ptr_equal(message, bytes + 12);
    assert_int_equal(len, 1188);
    assert_int_equal(pqb_answer_decode(bytes, 13, &init_id, &message, &len), PQB_VERDICT_SHORT);
    assert_int_equal(pqb_answer_decode(bytes, 1201, &init_id, &message, &len), PQB_VERDICT_LONG);
    bytes[1] = 0;
    assert_int_equal(pqb_answer_decode(bytes, 1200, &init_id, &message, &len), PQB_VERDICT_FIELD);
    bytes[0] = 0x11;
    bytes[1] = 1;
    assert_int_equal(pqb_answer_decode(bytes, 1200, &init_id, &message, &len), PQB_VERDICT_TYPE);
}

static void no_answer_is_longer_than_its_question(void **state)
{
    struct pqb_rng rng;
    struct pqb_resp in, out;

    (void)state;
    pqb_rng_init_seed(&rng, 1);
    wire_sample_resp(&rng, WIRE_SAMPLE_HIGHEST, &in);
    const size_t len = pqb_answer_payload_encode(&in, bytes);
    assert_true(PQB_LOGIN_HEADER_LEN + PQB_NOISE_ANSWER_OVERHEAD + len <= 1200);
    assert_int_equal(pqb_answer_payload_decode(unpacker, bytes, len, &out), PQB_VERDICT_OK);
    assert_int_equal(out.cid, in.cid);
    assert_int_equal(out.cipher, in.cipher);
    assert_memory_equal(out.reset_token, in.reset_token, sizeof(in.reset_token));
    assert_int_not_equal(pqb_answer_payload_decode(unpacker, bytes, len - 1, &out), PQB_VERDICT_OK);
    assert_int_not_equal(pqb_answer_payload_decode(unpacker, bytes, len + 1, &out), PQB_VERDICT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_init_has_its_fields_where_the_protocol_says),
        cmocka_unit_test(a_resume_has_its_ticket_in_front_of_the_message),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_cookie_moves_nothing),
        cmocka_unit_test(no_other_length_is_a_hello),
        cmocka_unit_test(no_other_type_suite_or_cookie_is_a_hello),
        cmocka_unit_test(reserved_bits_are_not_looked_at),
        cmocka_unit_test(every_login_fits_and_is_read_back),
        cmocka_unit_test(a_payload_is_padded_with_zeros),
        cmocka_unit_test(a_payload_is_cut_off_nowhere),
        cmocka_unit_test(the_arrays_of_init_and_resume_are_not_each_others),
        cmocka_unit_test(an_answer_has_its_message_behind_the_header),
        cmocka_unit_test(no_answer_is_longer_than_its_question),
    };

    return cmocka_run_group_tests_name("hello", tests, set_up, tear_down);
}
