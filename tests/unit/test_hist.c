#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/defs.h"
#include "common/base/hist.h"
#include "common/base/rng.h"

#define SAMPLE_COUNT 5000

static struct pqb_hist hist;
static struct pqb_hist other;

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void an_empty_histogram_answers_zero(void **state)
{
    (void)state;
    pqb_hist_clear(&hist);
    assert_int_equal(pqb_hist_quantile(&hist, 0.5), 0);
    assert_int_equal(pqb_hist_quantile(&hist, 1.0), 0);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    pqb_hist_clear(&hist);
    for (uint64_t v = 0; v < 64; v++)
        pqb_hist_add(&hist, v);
    assert_int_equal(pqb_hist_quantile(&hist, 0.0), 0);
    assert_int_equal(pqb_hist_quantile(&hist, 0.5), 31);
    assert_int_equal(pqb_hist_quantile(&hist, 1.0), 63);
}

static void quantiles_lie_within_one_part_in_32_above_the_true_value(void **state)
{
    static const double quantiles[] = {0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0};
    static uint64_t values[SAMPLE_COUNT];
    struct pqb_rng rng;

    (void)state;
    pqb_rng_init_seed(&rng, 1);
    pqb_hist_clear(&hist);
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        values[i] = pqb_rng_next(&rng) >> pqb_rng_below(&rng, 64);
        pqb_hist_add(&hist, values[i]);
    }
    qsort(values, SAMPLE_COUNT, sizeof(values[0]), by_value);
    for (size_t i = 0; i < PQB_ARRAY_LEN(quantiles); i++) {
        size_t rank = (size_t)(quantiles[i] * SAMPLE_COUNT);

        rank += (double)rank < quantiles[i] * SAMPLE_COUNT;
        const uint64_t exact = values[PQB_MAX(rank, 1) - 1];
        const uint64_t got = pqb_hist_quantile(&hist, quantiles[i]);

        assert_true(got >= exact);
        assert_true(got - exact <= exact / 32);
    }
}

static void the_edges_of_each_power_of_two_keep_their_error(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        const uint64_t edge = UINT64_C(1) << bit;
        const uint64_t values[] = {edge - 1, edge, edge + (edge - 1)};

        for (size_t i = 0; i < PQB_ARRAY_LEN(values); i++) {
            pqb_hist_clear(&hist);
            pqb_hist_add(&hist, values[i]);
            pqb_hist_add(&hist, UINT64_MAX); // so that the maximum does not hide the bucket
            const uint64_t got = pqb_hist_quantile(&hist, 0.5);

            assert_true(got >= values[i] && got - values[i] <= values[i] / 32);
        }
    }
}

static void a_quantile_never_passes_the_maximum(void **state)
{
    (void)state;
    pqb_hist_clear(&hist);
    pqb_hist_add(&hist, 1000000);
    assert_int_equal(pqb_hist_quantile(&hist, 0.5), 1000000);
}

static void merging_is_adding_all_values_to_one(void **state)
{
    static struct pqb_hist both;
    struct pqb_rng rng;

    (void)state;
    pqb_rng_init_seed(&rng, 2);
    pqb_hist_clear(&hist);
    pqb_hist_clear(&other);
    pqb_hist_clear(&both);
    for (int i = 0; i < 1000; i++) {
        const uint64_t v = pqb_rng_below(&rng, 1000000);

        pqb_hist_add(i % 3 == 0 ? &hist : &other, v);
        pqb_hist_add(&both, v);
    }
    pqb_hist_merge(&hist, &other);
    assert_memory_equal(&hist, &both, sizeof(both));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_histogram_answers_zero),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(quantiles_lie_within_one_part_in_32_above_the_true_value),
        cmocka_unit_test(the_edges_of_each_power_of_two_keep_their_error),
        cmocka_unit_test(a_quantile_never_passes_the_maximum),
        cmocka_unit_test(merging_is_adding_all_values_to_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
