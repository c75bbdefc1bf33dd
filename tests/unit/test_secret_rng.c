#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "common/proto/secret_rng.h"

#define DRAW 64 // the most that is drawn at once

static const uint8_t seed[PQB_SECRET_SEED_LEN] = {1, 2, 3};

static struct pqb_secret_rng rng_from(const uint8_t from[PQB_SECRET_SEED_LEN])
{
    struct pqb_secret_rng rng;

    pqb_secret_rng_init(&rng, from);
    return rng;
}

static bool is_within(const void *where, size_t where_len, const void *what, size_t len)
{
    return memmem(where, where_len, what, len) != NULL;
}

static void a_seed_repeats(void **state)
{
    struct pqb_secret_rng a = rng_from(seed), b = rng_from(seed);
    uint8_t first[DRAW], second[DRAW];

    (void)state;
    for (size_t len = 0; len <= DRAW; len++) {
        pqb_secret_rng_fill(&a, first, len);
        pqb_secret_rng_fill(&b, second, len);
        assert_memory_equal(first, second, len);
    }
}

static void every_bit_of_the_seed_counts(void **state)
{
    uint8_t expected[DRAW], drawn[DRAW], other[PQB_SECRET_SEED_LEN];
    struct pqb_secret_rng rng = rng_from(seed);

    (void)state;
    pqb_secret_rng_fill(&rng, expected, DRAW);
    memcpy(other, seed, sizeof(seed));
    for (size_t bit = 0; bit < 8 * sizeof(other); bit++) {
        other[bit / 8] ^= (uint8_t)(1u << bit % 8);
        rng = rng_from(other);
        pqb_secret_rng_fill(&rng, drawn, DRAW);
        assert_memory_not_equal(drawn, expected, DRAW);
        other[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

// The output is RFC 8439's ChaCha20 behind the 32 bytes that become the next key.
static void a_draw_is_the_stream_behind_the_next_key(void **state)
{
    static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES];
    struct pqb_secret_rng rng = rng_from(seed);
    uint8_t stream[PQB_SECRET_SEED_LEN + DRAW], drawn[DRAW], key[PQB_SECRET_SEED_LEN];

    (void)state;
    memcpy(key, seed, sizeof(key));
    for (int i = 0; i < 3; i++) {
        (void)crypto_stream_chacha20_ietf(stream, sizeof(stream), nonce, key);
        pqb_secret_rng_fill(&rng, drawn, DRAW);
        assert_memory_equal(drawn, stream + PQB_SECRET_SEED_LEN, DRAW);
        memcpy(key, stream, sizeof(key));
    }
}

static void no_draw_is_like_another(void **state)
{
    enum {
        DRAWS = 1000
    };
    static uint8_t drawn[DRAWS][16];
    struct pqb_secret_rng rng = rng_from(seed);

    (void)state;
    for (int i = 0; i < DRAWS; i++) {
        pqb_secret_rng_fill(&rng, drawn[i], sizeof(drawn[i]));
        for (int k = 0; k < i; k++)
            assert_memory_not_equal(drawn[i], drawn[k], sizeof(drawn[i]));
    }
}

static void an_empty_draw_changes_the_state_too(void **state)
{
    struct pqb_secret_rng rng = rng_from(seed);
    uint8_t nothing;

    (void)state;
    pqb_secret_rng_fill(&rng, &nothing, 0);
    assert_memory_not_equal(rng.key, seed, sizeof(rng.key));
}

// Whoever takes the state after a draw has neither what was drawn nor the key that made it, and
// what the state goes on to make is all new.
static void the_state_that_is_left_does_not_make_earlier_output(void **state)
{
    enum {
        EARLIER = 20,
        LATER = 200
    };
    static uint8_t earlier[EARLIER][DRAW], keys[EARLIER][PQB_SECRET_SEED_LEN];
    struct pqb_secret_rng rng = rng_from(seed);
    uint8_t later[DRAW];

    (void)state;
    for (int i = 0; i < EARLIER; i++) {
        memcpy(keys[i], rng.key, sizeof(keys[i]));
        pqb_secret_rng_fill(&rng, earlier[i], DRAW);
    }
    for (int k = 0; k < LATER; k++) {
        for (int i = 0; i < EARLIER; i++) {
            for (size_t at = 0; at + 8 <= DRAW; at++)
                assert_false(is_within(&rng, sizeof(rng), earlier[i] + at, 8));
            for (size_t at = 0; at + 8 <= sizeof(keys[i]); at++)
                assert_false(is_within(&rng, sizeof(rng), keys[i] + at, 8));
        }
        pqb_secret_rng_fill(&rng, later, DRAW);
        for (int i = 0; i < EARLIER; i++)
            assert_memory_not_equal(later, earlier[i], DRAW);
    }
}

static void fini_erases(void **state)
{
    static const struct pqb_secret_rng zeros;
    struct pqb_secret_rng rng = rng_from(seed);

    (void)state;
    pqb_secret_rng_fini(&rng);
    assert_memory_equal(&rng, &zeros, sizeof(rng));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_repeats),
        cmocka_unit_test(every_bit_of_the_seed_counts),
        cmocka_unit_test(a_draw_is_the_stream_behind_the_next_key),
        cmocka_unit_test(no_draw_is_like_another),
        cmocka_unit_test(an_empty_draw_changes_the_state_too),
        cmocka_unit_test(the_state_that_is_left_does_not_make_earlier_output),
        cmocka_unit_test(fini_erases),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
