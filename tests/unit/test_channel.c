#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/proto/channel.h"

#define MS PQB_NS_PER_MS
#define S  PQB_NS_PER_SEC

// One datagram from `from` to `to`, sent and received at the given times.
static uint64_t send_at(struct pqb_channel *from, uint8_t *datagram, pqb_tstamp now)
{
    assert_int_equal(pqb_channel_seal(from, datagram, 0, now), PQB_DATA_HEADER_LEN);
    return from->pn_next - 1;
}

static struct pqb_channel_receipt receive(struct pqb_channel *to, const uint8_t *datagram,
                                          pqb_tstamp now)
{
    struct pqb_data d;

    assert_int_equal(pqb_data_decode(datagram, PQB_DATA_HEADER_LEN, &d), PQB_VERDICT_OK);
    return pqb_channel_on_data(to, &d, now);
}

// The two ends of a session, in plaintext.
static void begin_pair(struct pqb_channel *a, struct pqb_channel *b)
{
    pqb_channel_init(a, 42, 5);
    pqb_channel_init(b, 42, 5);
}

static void end_pair(struct pqb_channel *a, struct pqb_channel *b)
{
    pqb_channel_fini(a);
    pqb_channel_fini(b);
}

static void packet_numbers_begin_at_one_and_count(void **state)
{
    struct pqb_channel c;
    uint8_t datagram[PQB_DATA_HEADER_LEN];
    struct pqb_data d;

    (void)state;
    pqb_channel_init(&c, 42, 5);
    assert_int_equal(send_at(&c, datagram, 7), 1);
    assert_int_equal(send_at(&c, datagram, 9), 2);
    assert_int_equal(pqb_data_decode(datagram, sizeof(datagram), &d), PQB_VERDICT_OK);
    assert_int_equal(d.cid, 42);
    assert_int_equal(d.pn, 2);
    assert_int_equal(d.echo_pn, 0);
    pqb_channel_fini(&c);
}

static void each_datagram_is_judged_once(void **state)
{
    struct pqb_channel a, b;
    uint8_t first[PQB_DATA_HEADER_LEN];
    uint8_t second[PQB_DATA_HEADER_LEN];
    struct pqb_channel_receipt r;

    (void)state;
    begin_pair(&a, &b);
    (void)send_at(&a, first, 10);
    (void)send_at(&a, second, 11);
    r = receive(&b, second, 20);
    assert_int_equal(r.verdict, PQB_REPLAY_NEW);
    assert_true(r.is_newest);
    r = receive(&b, first, 30);
    assert_int_equal(r.verdict, PQB_REPLAY_NEW);
    assert_false(r.is_newest);
    assert_int_equal(b.highest_at, 20);
    assert_int_equal(b.received_at, 30);
    r = receive(&b, second, 40);
    assert_int_equal(r.verdict, PQB_REPLAY_DUPLICATE);
    assert_false(r.is_newest);
    assert_int_equal(b.received_at, 30);
    end_pair(&a, &b);
}

static void an_echo_gives_the_round_trip_without_the_peers_delay(void **state)
{
    struct pqb_channel a, b;
    uint8_t datagram[PQB_DATA_HEADER_LEN];

    (void)state;
    begin_pair(&a, &b);
    (void)send_at(&a, datagram, 1000 * MS);
    assert_false(receive(&b, datagram, 1030 * MS).has_sample);
    (void)send_at(&b, datagram, 1530 * MS);
    assert_true(receive(&a, datagram, 1570 * MS).has_sample);
    // 70 ms there and back, known to one unit of the echo.
    assert_true(a.rtt.srtt >= 70 * MS && a.rtt.srtt <= 70 * MS + PQB_ECHO_UNIT_NS);
    end_pair(&a, &b);
}

static void the_same_echo_gives_no_second_sample(void **state)
{
    struct pqb_channel a, b;
    uint8_t first[PQB_DATA_HEADER_LEN];
    uint8_t second[PQB_DATA_HEADER_LEN];

    (void)state;
    begin_pair(&a, &b);
    (void)send_at(&a, first, 1000 * MS);
    (void)receive(&b, first, 1030 * MS);
    (void)send_at(&b, first, 1030 * MS);
    (void)send_at(&b, second, 1031 * MS);
    assert_true(receive(&a, first, 1060 * MS).has_sample);
    assert_false(receive(&a, second, 1900 * MS).has_sample);
    assert_int_equal(a.rtt.samples, 1);
    end_pair(&a, &b);
}

static void an_older_echo_gives_no_sample(void **state)
{
    struct pqb_channel a;

    (void)state;
    pqb_channel_init(&a, 42, 0);
    uint8_t datagram[PQB_DATA_HEADER_LEN];
    for (pqb_tstamp at = 1; at <= 5; at++)
        (void)send_at(&a, datagram, at * MS);
    assert_true(
        pqb_channel_on_data(&a, &(struct pqb_data){.cid = 42, .pn = 1, .echo_pn = 4}, 100 * MS)
            .has_sample);
    assert_int_equal(a.rtt.srtt, 96 * MS);
    assert_false(
        pqb_channel_on_data(&a, &(struct pqb_data){.cid = 42, .pn = 2, .echo_pn = 3}, 101 * MS)
            .has_sample);
    assert_true(
        pqb_channel_on_data(&a, &(struct pqb_data){.cid = 42, .pn = 3, .echo_pn = 5}, 101 * MS)
            .has_sample);
    pqb_channel_fini(&a);
}

static void nonsense_echoes_give_no_sample(void **state)
{
    static const struct pqb_data liars[] = {
        {.cid = 42, .pn = 1, .echo_pn = 2},                       // not sent yet
        {.cid = 42, .pn = 2, .echo_pn = 0x80000001},              // far ahead
        {.cid = 42, .pn = 3, .echo_pn = 1, .echo_delay = 0xffff}, // too long ago
        {.cid = 42, .pn = 4, .echo_pn = 1, .echo_delay = 62},     // longer than the way
        {.cid = 42, .pn = 5, .echo_pn = 0},
    };
    struct pqb_channel a;
    uint8_t datagram[PQB_DATA_HEADER_LEN];

    (void)state;
    pqb_channel_init(&a, 42, 0);
    (void)send_at(&a, datagram, 10 * MS);
    for (size_t i = 0; i < PQB_ARRAY_LEN(liars); i++)
        assert_false(pqb_channel_on_data(&a, &liars[i], 11 * MS).has_sample); // 61 units: 1.0 ms
    assert_int_equal(a.rtt.samples, 0);
    pqb_channel_fini(&a);
}

static void the_echo_says_when_it_is_too_old(void **state)
{
    struct pqb_channel a, b;
    uint8_t datagram[PQB_DATA_HEADER_LEN];
    struct pqb_data d;
    const pqb_tstamp limit = S + PQB_ECHO_TOO_LONG * (pqb_tstamp)PQB_ECHO_UNIT_NS;

    (void)state;
    begin_pair(&a, &b);
    (void)send_at(&a, datagram, S);
    (void)receive(&b, datagram, S);
    (void)send_at(&b, datagram, limit - 1);
    assert_int_equal(pqb_data_decode(datagram, sizeof(datagram), &d), PQB_VERDICT_OK);
    assert_int_equal(d.echo_delay, PQB_ECHO_TOO_LONG - 1);
    (void)send_at(&b, datagram, limit + 5 * S);
    assert_int_equal(pqb_data_decode(datagram, sizeof(datagram), &d), PQB_VERDICT_OK);
    assert_int_equal(d.echo_delay, PQB_ECHO_TOO_LONG);
    end_pair(&a, &b);
}

static void a_flight_longer_than_the_places_still_gives_samples(void **state)
{
    struct pqb_channel a;
    uint8_t datagram[PQB_DATA_HEADER_LEN];

    (void)state;
    pqb_channel_init(&a, 42, 0);
    for (uint64_t i = 1; i <= 1000; i++)
        (void)send_at(&a, datagram, i * MS);
    // Each is echoed a second after it left; 1000 are on their way all the time.
    for (uint64_t i = 1; i <= 3000; i++) {
        const struct pqb_data d = {.cid = 42, .pn = i, .echo_pn = (uint32_t)i};
        const uint32_t before = a.rtt.samples;

        if (pqb_channel_on_data(&a, &d, (1000 + i) * MS).has_sample)
            assert_int_equal(a.rtt.samples, before + 1);
        (void)send_at(&a, datagram, (1000 + i) * MS);
        assert_true(a.rtt.samples == 0 ||
                    (a.rtt.srtt >= 1000 * MS && a.rtt.srtt <= 1000 * MS * 9 / 8));
    }
    assert_true(a.rtt.samples > 2900);
    assert_int_equal(a.rtt.min, 1000 * MS);
    pqb_channel_fini(&a);
}

static void packets_of_one_turn_share_a_place(void **state)
{
    struct pqb_channel a;
    uint8_t datagram[PQB_DATA_HEADER_LEN];

    (void)state;
    pqb_channel_init(&a, 42, 0);
    for (int i = 0; i < 100; i++)
        (void)send_at(&a, datagram, 10 * MS);
    assert_int_equal(a.sent.count, 1);
    assert_true(
        pqb_channel_on_data(&a, &(struct pqb_data){.cid = 42, .pn = 1, .echo_pn = 77}, 30 * MS)
            .has_sample);
    assert_int_equal(a.rtt.srtt, 20 * MS);
    pqb_channel_fini(&a);
}

static void a_session_at_rest_holds_no_more_than_its_struct(void **state)
{
    struct pqb_channel a, b;
    uint8_t datagram[PQB_DATA_HEADER_LEN];

    (void)state;
    begin_pair(&a, &b);
    for (unsigned i = 0; i < 8; i++) { // a burst
        (void)send_at(&a, datagram, i * MS);
        (void)receive(&b, datagram, (10 + i) * MS);
    }
    assert_int_not_equal(pqb_channel_memory(&a), 0);
    for (unsigned i = 1; i < 10; i++) { // keepalives, whose echoes are too old for a sample
        (void)send_at(&b, datagram, 25 * i * S);
        assert_false(receive(&a, datagram, 25 * i * S + 10 * MS).has_sample);
        (void)send_at(&a, datagram, 25 * i * S + 10 * MS);
        (void)receive(&b, datagram, 25 * i * S + 20 * MS);
        assert_int_equal(pqb_channel_memory(&a), 0);
        assert_int_equal(pqb_channel_memory(&b), 0);
    }
    end_pair(&a, &b);
}

static void numbers_beyond_32_bits_are_echoed(void **state)
{
    struct pqb_channel a, b;
    uint8_t datagram[PQB_DATA_HEADER_LEN];

    (void)state;
    begin_pair(&a, &b);
    a.pn_next = UINT64_C(0xfffffffe);
    a.echo_seen = 0xfffffff0;
    for (unsigned i = 0; i < 6; i++) { // the one with low bits 0 echoes too
        (void)send_at(&a, datagram, (100 + i) * MS);
        (void)receive(&b, datagram, (110 + i) * MS);
        (void)send_at(&b, datagram, (110 + i) * MS);
        assert_true(receive(&a, datagram, (120 + i) * MS).has_sample);
    }
    assert_int_equal(a.rtt.srtt, 20 * MS);
    end_pair(&a, &b);
}

static void a_new_path_starts_anew_unless_only_the_port_moved(void **state)
{
    struct pqb_channel a;
    uint8_t datagram[PQB_DATA_HEADER_LEN];

    (void)state;
    pqb_channel_init(&a, 42, 0);
    (void)send_at(&a, datagram, 10 * MS);
    (void)pqb_channel_on_data(&a, &(struct pqb_data){.cid = 42, .pn = 1, .echo_pn = 1}, 30 * MS);
    pqb_cc_on_sent(&a.cc, 3000, &a.rtt, 30 * MS);
    pqb_cc_on_lost(&a.cc, 1000, 30 * MS, 40 * MS);
    (void)send_at(&a, datagram, 40 * MS);
    pqb_channel_on_path_change(&a, true);
    assert_int_equal(a.rtt.srtt, 20 * MS);
    assert_int_equal(a.cc.window, 6000);
    pqb_channel_on_path_change(&a, false);
    assert_int_equal(a.rtt.samples, 0);
    assert_int_equal(a.cc.window, 12000);
    assert_int_equal(a.cc.in_flight, 2000);
    assert_int_equal(a.pn_next, 3);
    // An echo of the old path says nothing of the new one.
    assert_false(
        pqb_channel_on_data(&a, &(struct pqb_data){.cid = 42, .pn = 2, .echo_pn = 2}, 50 * MS)
            .has_sample);
    pqb_channel_fini(&a);
}

// A datagram from `from` that `to` opens.
static void carry(struct pqb_channel *from, struct pqb_channel *to, pqb_tstamp now)
{
    uint8_t datagram[PQB_DATAGRAM_MAX], plain[PQB_DATAGRAM_MAX];
    const size_t len = pqb_channel_seal(from, datagram, 0, now);
    enum pqb_verdict verdict;
    struct pqb_data d;

    assert_int_equal(pqb_channel_open(to, datagram, len, plain, &d, &verdict, now),
                     PQB_CHANNEL_GENUINE);
    assert_int_equal(pqb_channel_on_data(to, &d, now).verdict, PQB_REPLAY_NEW);
}

static void a_key_that_is_over_is_held_for_three_timeouts(void **state)
{
    static const uint8_t one[PQB_KEY_LEN] = {1}, two[PQB_KEY_LEN] = {2};
    struct pqb_channel a, b;

    (void)state;
    begin_pair(&a, &b);
    pqb_channel_protect(&a, PQB_CIPHER_CHACHAPOLY, one, two, 0);
    pqb_channel_protect(&b, PQB_CIPHER_CHACHAPOLY, two, one, 0);
    carry(&a, &b, 0);
    carry(&b, &a, 0);
    assert_int_equal(pqb_channel_memory(&b), 0);
    assert_int_equal(pqb_channel_deadline(&b), PQB_NEVER);
    carry(&a, &b, PQB_REKEY_NS);
    assert_int_equal(pqb_channel_memory(&b), PQB_KEY_LEN + sizeof(pqb_tstamp));
    const pqb_tstamp until = PQB_REKEY_NS + 3 * pqb_rtt_rto(&b.rtt, 0);
    assert_int_equal(pqb_channel_deadline(&b), until);
    pqb_channel_on_timeout(&b, until - 1);
    assert_int_not_equal(pqb_channel_memory(&b), 0);
    pqb_channel_on_timeout(&b, until);
    assert_int_equal(pqb_channel_memory(&b), 0);
    end_pair(&a, &b);
}

// ------------------------------------------------------------------------------------- sealed

static const uint8_t up[PQB_KEY_LEN] = {1, 2, 3}, down[PQB_KEY_LEN] = {9, 8, 7};

struct sealed {
    struct pqb_channel a, b;
};

static struct sealed protect(pqb_tstamp now)
{
    struct sealed s;

    pqb_channel_init(&s.a, 42, now);
    pqb_channel_init(&s.b, 42, now);
    pqb_channel_protect(&s.a, PQB_CIPHER_CHACHAPOLY, up, down, now);
    pqb_channel_protect(&s.b, PQB_CIPHER_CHACHAPOLY, down, up, now);
    return s;
}

static void end(struct sealed *s)
{
    end_pair(&s->a, &s->b);
}

static size_t seal(struct pqb_channel *c, uint8_t *datagram, pqb_tstamp now)
{
    memset(datagram + PQB_DATA_HEADER_LEN, 0x33, 10);
    return pqb_channel_seal(c, datagram, 10, now);
}

static enum pqb_channel_verdict open_at(struct pqb_channel *c, const uint8_t *datagram, size_t len,
                                        struct pqb_data *d, pqb_tstamp now)
{
    static uint8_t plain[PQB_DATAGRAM_MAX];
    enum pqb_verdict verdict;

    return pqb_channel_open(c, datagram, len, plain, d, &verdict, now);
}

static void take(struct pqb_channel *c, const uint8_t *datagram, size_t len, pqb_tstamp now)
{
    struct pqb_data d;

    assert_int_equal(open_at(c, datagram, len, &d, now), PQB_CHANNEL_GENUINE);
    assert_int_equal(pqb_channel_on_data(c, &d, now).verdict, PQB_REPLAY_NEW);
}

static void a_sealed_channel_says_what_a_plain_one_does(void **state)
{
    struct sealed s = protect(S);
    uint8_t datagram[PQB_DATAGRAM_MAX];
    struct pqb_data d;

    (void)state;
    assert_int_equal(seal(&s.a, datagram, S), PQB_DATA_HEADER_LEN + 10 + PQB_TAG_LEN);
    take(&s.b, datagram, PQB_DATA_HEADER_LEN + 10 + PQB_TAG_LEN, S + 20 * MS);
    const size_t len = seal(&s.b, datagram, S + 30 * MS);
    assert_int_equal(open_at(&s.a, datagram, len, &d, S + 50 * MS), PQB_CHANNEL_GENUINE);
    assert_int_equal(d.pn, 1);
    assert_int_equal(d.echo_pn, 1);
    assert_int_equal(d.frames_len, 10);
    assert_true(pqb_channel_on_data(&s.a, &d, S + 50 * MS).has_sample);
    assert_true(s.a.rtt.srtt >= 40 * MS && s.a.rtt.srtt <= 40 * MS + PQB_ECHO_UNIT_NS);
    end(&s);
}

static void what_was_seen_costs_no_cipher(void **state)
{
    struct sealed s = protect(S);
    uint8_t first[PQB_DATAGRAM_MAX], later[PQB_DATAGRAM_MAX];
    struct pqb_data d;
    const size_t len = seal(&s.a, first, S);

    (void)state;
    take(&s.b, first, len, S);
    first[len - 1] ^= 1; // a tag that would not open
    assert_int_equal(open_at(&s.b, first, len, &d, S), PQB_CHANNEL_DUPLICATE);
    s.a.pn_next = 1 + PQB_REPLAY_SPAN;
    assert_int_equal(seal(&s.a, later, S), len);
    take(&s.b, later, len, S);
    assert_int_equal(open_at(&s.b, first, len, &d, S), PQB_CHANNEL_DUPLICATE);
    assert_int_equal(seal(&s.a, later, S), len);
    take(&s.b, later, len, S);
    assert_int_equal(open_at(&s.b, first, len, &d, S), PQB_CHANNEL_STALE);
    end(&s);
}

static void the_counter_is_seen_whatever_generation_is_written_before_it(void **state)
{
    struct sealed s = protect(S);
    uint8_t datagram[PQB_DATAGRAM_MAX];
    struct pqb_data d;
    const size_t len = seal(&s.a, datagram, S);

    (void)state;
    take(&s.b, datagram, len, S);
    for (unsigned generation = 1; generation <= UINT8_MAX; generation++) {
        datagram[10] = (uint8_t)generation;
        assert_int_equal(open_at(&s.b, datagram, len, &d, S), PQB_CHANNEL_DUPLICATE);
    }
    datagram[10] = 0;
    memset(datagram + 11, 0, 6); // counter 0 is nobody's
    datagram[10] = 1;
    assert_int_equal(open_at(&s.b, datagram, len, &d, S), PQB_CHANNEL_STALE);
    end(&s);
}

static void a_forgery_changes_nothing(void **state)
{
    struct sealed s = protect(S);
    uint8_t datagram[PQB_DATAGRAM_MAX];
    struct pqb_data d;
    size_t len = seal(&s.a, datagram, S);

    (void)state;
    take(&s.b, datagram, len, S);
    const struct pqb_channel before = s.b;
    len = seal(&s.a, datagram, S);
    for (size_t at = 9; at < len; at++) {
        datagram[at] ^= 0x40; // numbers far ahead, generations, the echo, frames, the tag
        assert_int_equal(open_at(&s.b, datagram, len, &d, 2 * S), PQB_CHANNEL_FORGED);
        datagram[at] ^= 0x40;
    }
    assert_int_equal(open_at(&s.b, datagram, PQB_DATA_HEADER_LEN, &d, 2 * S), PQB_CHANNEL_FORGED);
    assert_int_equal(open_at(&s.b, datagram, len - 1, &d, 2 * S), PQB_CHANNEL_FORGED);
    assert_memory_equal(&before, &s.b, sizeof(before));
    take(&s.b, datagram, len, 2 * S);
    end(&s);
}

static void what_is_too_short_for_a_header_is_bad_and_not_forged(void **state)
{
    struct sealed s = protect(S);
    uint8_t datagram[PQB_DATAGRAM_MAX], plain[PQB_DATAGRAM_MAX];
    struct pqb_data d;
    enum pqb_verdict verdict;

    (void)state;
    (void)seal(&s.a, datagram, S);
    assert_int_equal(
        pqb_channel_open(&s.b, datagram, PQB_DATA_HEADER_LEN - 1, plain, &d, &verdict, S),
        PQB_CHANNEL_BAD);
    assert_int_equal(verdict, PQB_VERDICT_SHORT);
    end(&s);
}

static void new_keys_do_not_disturb_counters_and_echoes(void **state)
{
    struct sealed s = protect(S);
    uint8_t datagram[PQB_DATAGRAM_MAX];
    struct pqb_data d;
    size_t len = seal(&s.a, datagram, S);

    (void)state;
    take(&s.b, datagram, len, S);
    len = seal(&s.b, datagram, S);
    take(&s.a, datagram, len, S); // a has seen that b has one of generation 0
    len = seal(&s.a, datagram, S + PQB_REKEY_NS);
    assert_int_equal(datagram[10], 1); // generation
    assert_int_equal(datagram[16], 2); // counter
    assert_int_equal(open_at(&s.b, datagram, len, &d, S + PQB_REKEY_NS), PQB_CHANNEL_GENUINE);
    assert_int_equal(d.pn, 2);
    assert_true(pqb_channel_on_data(&s.b, &d, S + PQB_REKEY_NS).is_newest);
    len = seal(&s.b, datagram, S + PQB_REKEY_NS);
    assert_int_equal(open_at(&s.a, datagram, len, &d, S + PQB_REKEY_NS), PQB_CHANNEL_GENUINE);
    assert_int_equal(d.echo_pn, 2);
    // What was overtaken by them opens all the same, for three timeouts.
    assert_int_equal(pqb_channel_deadline(&s.b), S + PQB_REKEY_NS + 3 * pqb_rtt_rto(&s.b.rtt, 0));
    pqb_channel_on_timeout(&s.b, pqb_channel_deadline(&s.b));
    assert_int_equal(pqb_channel_deadline(&s.b), PQB_NEVER);
    end(&s);
}

static void a_plain_channel_has_no_keys_to_erase(void **state)
{
    struct pqb_channel c;

    (void)state;
    pqb_channel_init(&c, 42, S);
    assert_int_equal(pqb_channel_deadline(&c), PQB_NEVER);
    pqb_channel_on_timeout(&c, 5 * S);
    pqb_channel_fini(&c);
    pqb_channel_fini(&(struct pqb_channel){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packet_numbers_begin_at_one_and_count),
        cmocka_unit_test(each_datagram_is_judged_once),
        cmocka_unit_test(an_echo_gives_the_round_trip_without_the_peers_delay),
        cmocka_unit_test(the_same_echo_gives_no_second_sample),
        cmocka_unit_test(an_older_echo_gives_no_sample),
        cmocka_unit_test(nonsense_echoes_give_no_sample),
        cmocka_unit_test(the_echo_says_when_it_is_too_old),
        cmocka_unit_test(a_flight_longer_than_the_places_still_gives_samples),
        cmocka_unit_test(packets_of_one_turn_share_a_place),
        cmocka_unit_test(a_session_at_rest_holds_no_more_than_its_struct),
        cmocka_unit_test(numbers_beyond_32_bits_are_echoed),
        cmocka_unit_test(a_new_path_starts_anew_unless_only_the_port_moved),
        cmocka_unit_test(a_key_that_is_over_is_held_for_three_timeouts),
        cmocka_unit_test(a_sealed_channel_says_what_a_plain_one_does),
        cmocka_unit_test(what_was_seen_costs_no_cipher),
        cmocka_unit_test(the_counter_is_seen_whatever_generation_is_written_before_it),
        cmocka_unit_test(a_forgery_changes_nothing),
        cmocka_unit_test(what_is_too_short_for_a_header_is_bad_and_not_forged),
        cmocka_unit_test(new_keys_do_not_disturb_counters_and_echoes),
        cmocka_unit_test(a_plain_channel_has_no_keys_to_erase),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
