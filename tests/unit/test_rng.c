#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/defs.h"
#include "common/base/rng.h"

static void a_seed_repeats_its_numbers(void **state)
{
    struct pqb_rng a;
    struct pqb_rng b;

    (void)state;
    pqb_rng_init_seed(&a, 7);
    pqb_rng_init_seed(&b, 7);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(pqb_rng_next(&a), pqb_rng_next(&b));
}

static void different_seeds_and_steps_give_different_numbers(void **state)
{
    struct pqb_rng a;
    struct pqb_rng b;

    (void)state;
    pqb_rng_init_seed(&a, 7);
    pqb_rng_init_seed(&b, 8);
    for (int i = 0; i < 1000; i++) {
        const uint64_t x = pqb_rng_next(&a);

        assert_int_not_equal(x, pqb_rng_next(&b));
        assert_int_not_equal(x, pqb_rng_next(&a));
    }
}

static void numbers_are_the_keyed_hash_of_a_counter(void **state)
{
    static const uint8_t key[PQB_SIPHASH_KEY_LEN] = {1, 2, 3};
    static const uint8_t counters[][8] = {{0}, {1}, {2}};
    struct pqb_rng rng;

    (void)state;
    pqb_rng_init_key(&rng, key);
    for (size_t i = 0; i < PQB_ARRAY_LEN(counters); i++)
        assert_int_equal(pqb_rng_next(&rng), pqb_siphash24(key, counters[i], 8));
}

static void below_stays_below_and_reaches_every_value_about_equally(void **state)
{
    unsigned hits[7] = {0};
    struct pqb_rng rng;

    (void)state;
    pqb_rng_init_seed(&rng, 1);
    for (int i = 0; i < 70000; i++) {
        const uint64_t x = pqb_rng_below(&rng, 7);

        assert_true(x < 7);
        hits[x]++;
    }
    for (size_t i = 0; i < PQB_ARRAY_LEN(hits); i++)
        assert_in_range(hits[i], 9500, 10500);
}

static void below_works_at_both_ends_of_its_limit(void **state)
{
    struct pqb_rng rng;

    (void)state;
    pqb_rng_init_seed(&rng, 2);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(pqb_rng_below(&rng, 1), 0);
        assert_true(pqb_rng_below(&rng, UINT64_MAX) < UINT64_MAX);
        assert_true(pqb_rng_below(&rng, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
    }
}

static void unit_is_in_the_half_open_interval_and_centred(void **state)
{
    struct pqb_rng rng;
    double sum = 0;

    (void)state;
    pqb_rng_init_seed(&rng, 3);
    for (int i = 0; i < 10000; i++) {
        const double x = pqb_rng_unit(&rng);

        assert_true(x >= 0.0 && x < 1.0);
        sum += x;
    }
    assert_true(sum > 4900 && sum < 5100);
}

static void fill_writes_exactly_the_bytes_asked_for(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 40; len++) {
        uint8_t long_run[48];
        uint8_t out[48];
        struct pqb_rng rng;

        memset(out, 0xaa, sizeof(out));
        pqb_rng_init_seed(&rng, 4);
        pqb_rng_fill(&rng, long_run, sizeof(long_run));
        pqb_rng_init_seed(&rng, 4);
        pqb_rng_fill(&rng, out, len);
        assert_memory_equal(out, long_run, len);
        for (size_t i = len; i < sizeof(out); i++)
            assert_int_equal(out[i], 0xaa);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_repeats_its_numbers),
        cmocka_unit_test(different_seeds_and_steps_give_different_numbers),
        cmocka_unit_test(numbers_are_the_keyed_hash_of_a_counter),
        cmocka_unit_test(below_stays_below_and_reaches_every_value_about_equally),
        cmocka_unit_test(below_works_at_both_ends_of_its_limit),
        cmocka_unit_test(unit_is_in_the_half_open_interval_and_centred),
        cmocka_unit_test(fill_writes_exactly_the_bytes_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
