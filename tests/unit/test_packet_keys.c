// Keys of DATA datagrams: what is sealed, what is authenticated, and the life of a generation.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/proto/packet_keys.h"
#include "common/wire/datagram.h"

#define S    PQB_NS_PER_SEC
#define HOUR (3600 * S)
#define KEEP (3 * S)

// The linker puts this in front of the code under test.
void *__real_malloc(size_t size); // NOLINT: the linker's names
void *__wrap_malloc(size_t size); // NOLINT
static bool is_out_of_memory;

void *__wrap_malloc(size_t size) // NOLINT
{
    return is_out_of_memory ? NULL : __real_malloc(size);
}

static const uint8_t up[PQB_KEY_LEN] = {1, 2, 3}, down[PQB_KEY_LEN] = {9, 8, 7};
static const enum pqb_cipher each_cipher[] = {PQB_CIPHER_CHACHAPOLY, PQB_CIPHER_AESGCM};

struct pair {
    enum pqb_cipher cipher;
    struct pqb_packet_keys a, b; // a sends, b receives
    uint64_t counter;            // of the last datagram that a sent
};

static struct pair begin(enum pqb_cipher cipher, pqb_tstamp now)
{
    struct pair p = {.cipher = cipher};

    pqb_packet_keys_init(&p.a, up, down, now);
    pqb_packet_keys_init(&p.b, down, up, now);
    return p;
}

static void end(struct pair *p)
{
    pqb_packet_keys_fini(&p->a);
    pqb_packet_keys_fini(&p->b);
}

static bool is_able(enum pqb_cipher cipher)
{
    return cipher != PQB_CIPHER_AESGCM || (pqb_aead_ciphers() & PQB_CIPHERS_AESGCM) != 0;
}

// A datagram with `frames_len` bytes behind its header, under a generation and counter.
static size_t seal_as(const struct pqb_packet_keys *k, enum pqb_cipher cipher, uint64_t counter,
                      size_t frames_len, uint8_t *out)
{
    const struct pqb_data header = {.cid = UINT64_C(0x0102030405060708),
                                    .pn = (uint64_t)k->send_generation << PQB_PN_COUNTER_BITS |
                                          counter,
                                    .echo_pn = 5,
                                    .echo_delay = 6};

    pqb_data_header_encode(&header, out);
    memset(out + PQB_DATA_HEADER_LEN, 0x77, frames_len);
    return pqb_packet_keys_seal(k, cipher, out, PQB_DATA_HEADER_LEN + frames_len);
}

static size_t next(struct pair *p, size_t frames_len, uint8_t *out)
{
    return seal_as(&p->a, p->cipher, ++p->counter, frames_len, out);
}

static bool opens(struct pair *p, const uint8_t *datagram, size_t len, pqb_tstamp now)
{
    uint8_t plain[PQB_DATAGRAM_MAX];

    return pqb_packet_keys_open(&p->b, p->cipher, datagram, len, plain, KEEP, now);
}

// As if a had sent so much that a new generation is due, and b had told to have all of it.
static void advance(struct pair *p, pqb_tstamp now)
{
    const uint16_t before = p->a.send_generation;

    p->a.send_since = now - HOUR;
    pqb_packet_keys_advance(&p->a, p->cipher, p->counter + 1, (uint32_t)p->counter, now);
    assert_int_equal(p->a.send_generation, before + 1);
}

static int set_up(void **state)
{
    (void)state;
    return pqb_aead_init();
}

static void what_is_sealed_opens_to_the_same_bytes(void **state)
{
    static const size_t lengths[] = {0, 1, 15, 16, 17, PQB_FRAMES_MAX - 1, PQB_FRAMES_MAX};

    (void)state;
    for (size_t c = 0; c < PQB_ARRAY_LEN(each_cipher); c++) {
        struct pair p = begin(each_cipher[c], S);

        for (size_t i = 0; is_able(p.cipher) && i < PQB_ARRAY_LEN(lengths); i++) {
            uint8_t datagram[PQB_DATAGRAM_MAX], plain[PQB_DATAGRAM_MAX];
            const size_t len = next(&p, lengths[i], datagram);
            struct pqb_data d;

            assert_int_equal(len, PQB_DATA_HEADER_LEN + lengths[i] + PQB_TAG_LEN);
            assert_true(pqb_packet_keys_open(&p.b, p.cipher, datagram, len, plain, KEEP, S));
            assert_int_equal(pqb_data_decode(plain, len - PQB_TAG_LEN, &d), PQB_VERDICT_OK);
            assert_int_equal(d.pn, i + 1);
            assert_int_equal(d.echo_pn, 5);
            assert_int_equal(d.echo_delay, 6);
            assert_int_equal(d.frames_len, lengths[i]);
            for (size_t k = 0; k < lengths[i]; k++)
                assert_int_equal(d.frames[k], 0x77);
        }
        end(&p);
    }
}

static void only_what_must_be_readable_is(void **state)
{
    uint8_t datagram[PQB_DATAGRAM_MAX], plain[PQB_DATAGRAM_MAX];
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);
    const size_t len = next(&p, 40, datagram);

    (void)state;
    assert_true(pqb_packet_keys_open(&p.b, p.cipher, datagram, len, plain, KEEP, S));
    assert_memory_equal(datagram, plain, PQB_DATA_CLEAR_LEN);
    assert_memory_not_equal(datagram + PQB_DATA_CLEAR_LEN, plain + PQB_DATA_CLEAR_LEN, 6); // echo
    end(&p);
}

static void a_flipped_bit_anywhere_is_refused(void **state)
{
    (void)state;
    for (size_t c = 0; c < PQB_ARRAY_LEN(each_cipher); c++) {
        struct pair p = begin(each_cipher[c], S);
        uint8_t datagram[PQB_DATAGRAM_MAX];

        if (!is_able(p.cipher))
            continue;
        const size_t len = next(&p, 20, datagram);
        for (size_t bit = 0; bit < 8 * len; bit++) {
            datagram[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(opens(&p, datagram, len, S));
            datagram[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_int_equal(p.b.recv_generation, 0);
        assert_true(opens(&p, datagram, len, S));
        end(&p);
    }
}

static void a_datagram_of_any_other_length_is_refused(void **state)
{
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);
    uint8_t datagram[PQB_DATAGRAM_MAX] = {0};
    const size_t len = next(&p, 3, datagram);

    (void)state;
    for (size_t cut = 0; cut < len + 5; cut++)
        assert_int_equal(opens(&p, datagram, cut, S), cut == len);
    end(&p);
}

static void the_shortest_datagram_holds_an_echo_and_a_tag(void **state)
{
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);
    uint8_t datagram[PQB_DATAGRAM_MAX], plain[PQB_DATAGRAM_MAX];
    struct pqb_data header = {.cid = 1, .pn = 7};
    const struct pqb_aead_with with = {.number = 7, .ad = datagram, .ad_len = PQB_DATA_CLEAR_LEN};

    (void)state;
    assert_int_equal(next(&p, 0, datagram), 39);
    assert_true(opens(&p, datagram, 39, S));
    // Five bytes of echo, sealed by one who has the key: no DATA.
    pqb_data_header_encode(&header, datagram);
    pqb_aead_seal(p.cipher, p.a.send, &with, datagram + PQB_DATA_CLEAR_LEN, 5,
                  datagram + PQB_DATA_CLEAR_LEN);
    assert_false(pqb_packet_keys_open(&p.b, p.cipher, datagram, 38, plain, KEEP, S));
    end(&p);
}

static void the_directions_have_keys_of_their_own(void **state)
{
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);
    uint8_t datagram[PQB_DATAGRAM_MAX], plain[PQB_DATAGRAM_MAX];
    const size_t len = next(&p, 3, datagram);

    (void)state;
    assert_false(pqb_packet_keys_open(&p.a, p.cipher, datagram, len, plain, KEEP, S)); // mirrored
    end(&p);
}

static void the_same_frames_never_look_the_same(void **state)
{
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);
    uint8_t all[64][PQB_DATAGRAM_MAX];
    size_t len = 0;

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(all); i++) {
        if (i % 8 == 7)
            advance(&p, 2 * HOUR + i * S);
        len = next(&p, 30, all[i]);
        for (size_t k = 0; k < i; k++) // as under one nonce and key
            assert_memory_not_equal(all[i] + PQB_DATA_CLEAR_LEN, all[k] + PQB_DATA_CLEAR_LEN,
                                    len - PQB_DATA_CLEAR_LEN - PQB_TAG_LEN);
    }
    end(&p);
}

// ---------------------------------------------------------------------------------- generations

static void a_generation_lasts_for_2_to_the_20_datagrams(void **state)
{
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);
    const uint64_t limit = UINT64_C(1) << 20;

    (void)state;
    pqb_packet_keys_advance(&p.a, p.cipher, limit, (uint32_t)limit - 1, 2 * S);
    assert_int_equal(p.a.send_generation, 0); // this one is the 2^20th
    pqb_packet_keys_advance(&p.a, p.cipher, limit + 1, (uint32_t)limit - 1, 2 * S);
    assert_int_equal(p.a.send_generation, 1);
    // The next one is counted from here.
    pqb_packet_keys_advance(&p.a, p.cipher, 2 * limit, (uint32_t)limit + 1, 2 * S);
    assert_int_equal(p.a.send_generation, 1);
    pqb_packet_keys_advance(&p.a, p.cipher, 2 * limit + 1, (uint32_t)limit + 1, 2 * S);
    assert_int_equal(p.a.send_generation, 2);
    end(&p);
}

static void a_generation_lasts_for_an_hour(void **state)
{
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);

    (void)state;
    pqb_packet_keys_advance(&p.a, p.cipher, 10, 9, S + HOUR - 1);
    assert_int_equal(p.a.send_generation, 0);
    pqb_packet_keys_advance(&p.a, p.cipher, 10, 9, S + HOUR);
    assert_int_equal(p.a.send_generation, 1);
    pqb_packet_keys_advance(&p.a, p.cipher, 11, 10, S + 2 * HOUR - 1);
    assert_int_equal(p.a.send_generation, 1);
    pqb_packet_keys_advance(&p.a, p.cipher, 11, 10, S + 2 * HOUR);
    assert_int_equal(p.a.send_generation, 2);
    end(&p);
}

static void no_generation_begins_before_the_peer_has_one_of_the_present(void **state)
{
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);

    (void)state;
    pqb_packet_keys_advance(&p.a, p.cipher, 10, 0, S + 5 * HOUR);
    assert_int_equal(p.a.send_generation, 0);
    pqb_packet_keys_advance(&p.a, p.cipher, 10, 1, S + 5 * HOUR);
    assert_int_equal(p.a.send_generation, 1); // whose first counter is 10
    pqb_packet_keys_advance(&p.a, p.cipher, 30, 9, S + 50 * HOUR);
    assert_int_equal(p.a.send_generation, 1);
    pqb_packet_keys_advance(&p.a, p.cipher, 30, 10, S + 50 * HOUR);
    assert_int_equal(p.a.send_generation, 2);
    end(&p);
}

static void counters_beyond_32_bits_are_counted_on(void **state)
{
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);
    const uint64_t at = UINT64_C(0x1fffffff0);

    (void)state;
    p.a.send_first = (uint32_t)at - 100;
    pqb_packet_keys_advance(&p.a, p.cipher, at, (uint32_t)at - 1, S + HOUR);
    assert_int_equal(p.a.send_generation, 1);
    pqb_packet_keys_advance(&p.a, p.cipher, at + PQB_REKEY_PACKETS - 1, 5, S + HOUR);
    assert_int_equal(p.a.send_generation, 1);
    pqb_packet_keys_advance(&p.a, p.cipher, at + PQB_REKEY_PACKETS, 5, S + HOUR);
    assert_int_equal(p.a.send_generation, 2);
    end(&p);
}

static void the_last_generation_does_not_wrap(void **state)
{
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);
    uint8_t datagram[PQB_DATAGRAM_MAX], first[PQB_DATAGRAM_MAX];
    const size_t first_len = next(&p, 1, first);
    size_t len;

    (void)state;
    for (unsigned i = 0; i < UINT16_MAX; i++) {
        advance(&p, S + HOUR);
        len = next(&p, 0, datagram);
        assert_true(opens(&p, datagram, len, S + HOUR));
    }
    assert_int_equal(p.b.recv_generation, UINT16_MAX);
    p.a.send_since = S;
    pqb_packet_keys_advance(&p.a, p.cipher, p.counter + 1, (uint32_t)p.counter, S + 100 * HOUR);
    assert_int_equal(p.a.send_generation, UINT16_MAX);
    len = next(&p, 0, datagram);
    assert_true(opens(&p, datagram, len, S + HOUR));
    assert_false(opens(&p, first, first_len, S + HOUR)); // generation 0 is not the next one
    end(&p);
}

static void the_last_the_present_and_the_next_generation_open_and_no_other(void **state)
{
    enum {
        GENERATIONS = 6
    };
    uint8_t datagrams[GENERATIONS][PQB_DATAGRAM_MAX];
    size_t lens[GENERATIONS];
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);

    (void)state;
    for (size_t i = 0; i < GENERATIONS; i++) {
        if (i > 0)
            advance(&p, S + HOUR);
        lens[i] = next(&p, 4, datagrams[i]);
    }
    for (size_t i = 1; i <= 2; i++)
        assert_true(opens(&p, datagrams[i], lens[i], 2 * HOUR));
    assert_int_equal(p.b.recv_generation, 2);
    assert_false(opens(&p, datagrams[0], lens[0], 2 * HOUR));
    assert_false(opens(&p, datagrams[4], lens[4], 2 * HOUR));
    assert_false(opens(&p, datagrams[5], lens[5], 2 * HOUR));
    assert_int_equal(p.b.recv_generation, 2);
    assert_true(opens(&p, datagrams[1], lens[1], 2 * HOUR));
    assert_true(opens(&p, datagrams[2], lens[2], 2 * HOUR));
    assert_int_equal(p.b.recv_generation, 2);
    assert_true(opens(&p, datagrams[3], lens[3], 2 * HOUR));
    assert_int_equal(p.b.recv_generation, 3);
    end(&p);
}

static void a_generation_may_be_skipped_by_nobody(void **state)
{
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);
    uint8_t datagram[PQB_DATAGRAM_MAX];

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        (void)next(&p, 4, datagram); // lost
        advance(&p, S + HOUR);
    }
    const size_t len = next(&p, 4, datagram);
    assert_false(opens(&p, datagram, len, 2 * HOUR));
    end(&p);
}

static void a_forged_next_generation_changes_nothing(void **state)
{
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);
    uint8_t forged[PQB_DATAGRAM_MAX];
    const size_t len = next(&p, 4, forged);
    struct pqb_packet_keys before = p.b;

    (void)state;
    forged[10] ^= 1; // the generation's low byte
    assert_false(opens(&p, forged, len, S));
    assert_memory_equal(&before, &p.b, sizeof(before));
    // Likewise while the last one's key is kept.
    advance(&p, S + HOUR);
    uint8_t datagram[PQB_DATAGRAM_MAX];
    const size_t good = next(&p, 4, datagram);
    assert_true(opens(&p, datagram, good, S + HOUR));
    before = p.b;
    datagram[10] = 2;
    assert_false(opens(&p, datagram, good, S + HOUR));
    datagram[10] = 0;
    assert_false(opens(&p, datagram, good, S + HOUR));
    assert_memory_equal(&before, &p.b, sizeof(before));
    end(&p);
}

static void the_last_key_is_kept_for_its_time_and_erased(void **state)
{
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);
    uint8_t late[PQB_DATAGRAM_MAX], fresh[PQB_DATAGRAM_MAX];
    const size_t late_len = next(&p, 4, late);

    (void)state;
    assert_int_equal(pqb_packet_keys_deadline(&p.b), PQB_NEVER);
    advance(&p, 2 * HOUR);
    const size_t len = next(&p, 4, fresh);
    assert_true(opens(&p, fresh, len, 2 * HOUR));
    assert_int_equal(pqb_packet_keys_deadline(&p.b), 2 * HOUR + KEEP);
    pqb_packet_keys_on_timeout(&p.b, 2 * HOUR + KEEP - 1);
    assert_non_null(p.b.old);
    assert_true(opens(&p, late, late_len, 2 * HOUR + KEEP - 1));
    pqb_packet_keys_on_timeout(&p.b, 2 * HOUR + KEEP);
    assert_null(p.b.old);
    assert_int_equal(pqb_packet_keys_deadline(&p.b), PQB_NEVER);
    assert_false(opens(&p, late, late_len, 2 * HOUR + KEEP));
    end(&p);
}

static void a_late_timer_lets_no_late_datagram_in(void **state)
{
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);
    uint8_t late[PQB_DATAGRAM_MAX], fresh[PQB_DATAGRAM_MAX];
    const size_t late_len = next(&p, 4, late);

    (void)state;
    advance(&p, 2 * HOUR);
    const size_t len = next(&p, 4, fresh);
    assert_true(opens(&p, fresh, len, 2 * HOUR));
    assert_false(opens(&p, late, late_len, 2 * HOUR + KEEP));
    assert_null(p.b.old);
    end(&p);
}

static void without_memory_the_last_key_is_gone_early(void **state)
{
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);
    uint8_t late[PQB_DATAGRAM_MAX], fresh[PQB_DATAGRAM_MAX];
    const size_t late_len = next(&p, 4, late);

    (void)state;
    advance(&p, 2 * HOUR);
    size_t len = next(&p, 4, fresh);
    is_out_of_memory = true;
    assert_true(opens(&p, fresh, len, 2 * HOUR));
    is_out_of_memory = false;
    assert_int_equal(p.b.recv_generation, 1);
    assert_int_equal(pqb_packet_keys_deadline(&p.b), PQB_NEVER);
    assert_false(opens(&p, late, late_len, 2 * HOUR));
    len = next(&p, 4, fresh);
    assert_true(opens(&p, fresh, len, 2 * HOUR));
    end(&p);
}

static void a_key_cannot_be_told_from_the_next_one(void **state)
{
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);
    uint8_t before[PQB_DATAGRAM_MAX];
    const size_t len = next(&p, 4, before);

    (void)state;
    advance(&p, 2 * HOUR);
    assert_memory_not_equal(p.a.send, up, sizeof(up));
    memcpy(p.b.recv, p.a.send, sizeof(p.b.recv)); // the new key alone, as generation 0's
    assert_false(opens(&p, before, len, 2 * HOUR));
    end(&p);
}

static void fini_erases_all_keys(void **state)
{
    static const struct pqb_packet_keys none;
    struct pair p = begin(PQB_CIPHER_CHACHAPOLY, S);
    uint8_t datagram[PQB_DATAGRAM_MAX];

    (void)state;
    (void)next(&p, 4, datagram);
    advance(&p, 2 * HOUR);
    const size_t len = next(&p, 4, datagram);
    assert_true(opens(&p, datagram, len, 2 * HOUR));
    end(&p);
    assert_memory_equal(&p.a, &none, sizeof(none));
    assert_memory_equal(&p.b, &none, sizeof(none));
    pqb_packet_keys_fini(&p.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sealed_opens_to_the_same_bytes),
        cmocka_unit_test(only_what_must_be_readable_is),
        cmocka_unit_test(a_flipped_bit_anywhere_is_refused),
        cmocka_unit_test(a_datagram_of_any_other_length_is_refused),
        cmocka_unit_test(the_shortest_datagram_holds_an_echo_and_a_tag),
        cmocka_unit_test(the_directions_have_keys_of_their_own),
        cmocka_unit_test(the_same_frames_never_look_the_same),
        cmocka_unit_test(a_generation_lasts_for_2_to_the_20_datagrams),
        cmocka_unit_test(a_generation_lasts_for_an_hour),
        cmocka_unit_test(no_generation_begins_before_the_peer_has_one_of_the_present),
        cmocka_unit_test(counters_beyond_32_bits_are_counted_on),
        cmocka_unit_test(the_last_generation_does_not_wrap),
        cmocka_unit_test(the_last_the_present_and_the_next_generation_open_and_no_other),
        cmocka_unit_test(a_generation_may_be_skipped_by_nobody),
        cmocka_unit_test(a_forged_next_generation_changes_nothing),
        cmocka_unit_test(the_last_key_is_kept_for_its_time_and_erased),
        cmocka_unit_test(a_late_timer_lets_no_late_datagram_in),
        cmocka_unit_test(without_memory_the_last_key_is_gone_early),
        cmocka_unit_test(a_key_cannot_be_told_from_the_next_one),
        cmocka_unit_test(fini_erases_all_keys),
    };

    return cmocka_run_group_tests_name("packet_keys", tests, set_up, NULL);
}
