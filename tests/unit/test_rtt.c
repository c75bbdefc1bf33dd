#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/proto/rtt.h"

#define MS PQB_NS_PER_MS

static void the_timeout_is_one_second_before_the_first_sample(void **state)
{
    struct pqb_rtt r;

    (void)state;
    pqb_rtt_init(&r);
    assert_int_equal(pqb_rtt_rto(&r, 0), 1000 * MS);
    assert_int_equal(pqb_rtt_rto(&r, 1), 2000 * MS);
}

static void samples_follow_rfc_6298(void **state)
{
    struct pqb_rtt r;

    (void)state;
    pqb_rtt_init(&r);
    pqb_rtt_sample(&r, 800 * MS);
    assert_int_equal(r.srtt, 800 * MS);
    assert_int_equal(r.rttvar, 400 * MS);
    assert_int_equal(pqb_rtt_rto(&r, 0), 2400 * MS);
    pqb_rtt_sample(&r, 1600 * MS);
    assert_int_equal(r.rttvar, 500 * MS); // 3/4 * 400 + 1/4 * 800
    assert_int_equal(r.srtt, 900 * MS);   // 7/8 * 800 + 1/8 * 1600
    pqb_rtt_sample(&r, 100 * MS);
    assert_int_equal(r.rttvar, 575 * MS);
    assert_int_equal(r.srtt, 800 * MS);
    assert_int_equal(r.min, 100 * MS);
    assert_int_equal(r.samples, 3);
}

static void the_timeout_never_falls_below_its_floor(void **state)
{
    struct pqb_rtt r;

    (void)state;
    pqb_rtt_init(&r);
    pqb_rtt_sample(&r, 66 * MS); // 66 + 4 * 33 = 198
    assert_int_equal(pqb_rtt_rto(&r, 0), 200 * MS);
    pqb_rtt_init(&r);
    pqb_rtt_sample(&r, 68 * MS); // 68 + 4 * 34 = 204
    assert_int_equal(pqb_rtt_rto(&r, 0), 204 * MS);
}

static void eight_fast_samples_in_a_row_lower_the_floor(void **state)
{
    struct pqb_rtt r;

    (void)state;
    pqb_rtt_init(&r);
    for (int i = 0; i < 7; i++)
        pqb_rtt_sample(&r, 12500000);
    assert_int_equal(pqb_rtt_rto(&r, 0), 200 * MS);
    pqb_rtt_sample(&r, 12500000);
    assert_int_equal(pqb_rtt_rto(&r, 0), 50 * MS);
    pqb_rtt_sample(&r, 12500001);
    assert_int_equal(pqb_rtt_rto(&r, 0), 200 * MS);
    for (int i = 0; i < 7; i++)
        pqb_rtt_sample(&r, 1);
    assert_int_equal(pqb_rtt_rto(&r, 0), 200 * MS);
    pqb_rtt_sample(&r, 1);
    assert_int_equal(pqb_rtt_rto(&r, 0), 50 * MS);
}

static void timeouts_double_up_to_sixty_seconds(void **state)
{
    struct pqb_rtt r;

    (void)state;
    pqb_rtt_init(&r);
    assert_int_equal(pqb_rtt_rto(&r, 5), 32000 * MS);
    assert_int_equal(pqb_rtt_rto(&r, 6), 60000 * MS);
    assert_int_equal(pqb_rtt_rto(&r, UINT32_MAX), 60000 * MS);
}

static void absurd_samples_are_bounded(void **state)
{
    struct pqb_rtt r;

    (void)state;
    pqb_rtt_init(&r);
    pqb_rtt_sample(&r, 0);
    assert_int_equal(r.srtt, 1);
    for (int i = 0; i < 1000; i++)
        pqb_rtt_sample(&r, UINT64_MAX);
    assert_true(r.srtt <= 60000 * MS);
    assert_int_equal(pqb_rtt_rto(&r, 0), 60000 * MS);
    assert_int_equal(r.min, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_timeout_is_one_second_before_the_first_sample),
        cmocka_unit_test(samples_follow_rfc_6298),
        cmocka_unit_test(the_timeout_never_falls_below_its_floor),
        cmocka_unit_test(eight_fast_samples_in_a_row_lower_the_floor),
        cmocka_unit_test(timeouts_double_up_to_sixty_seconds),
        cmocka_unit_test(absurd_samples_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
