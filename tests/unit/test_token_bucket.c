#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/token_bucket.h"

static void a_new_bucket_is_full_and_holds_no_more(void **state)
{
    struct pqb_token_bucket b;

    (void)state;
    pqb_token_bucket_init(&b, 10, 3, 1000);
    assert_false(pqb_token_bucket_take(&b, 4, 1000));
    assert_true(pqb_token_bucket_take(&b, 3, 1000));
    assert_false(pqb_token_bucket_take(&b, 1, 1000));
}

static void a_token_returns_at_its_time_and_not_before(void **state)
{
    struct pqb_token_bucket b;

    (void)state;
    pqb_token_bucket_init(&b, 10, 3, 0);
    assert_true(pqb_token_bucket_take(&b, 3, 0));
    assert_false(pqb_token_bucket_take(&b, 1, 99999999));
    assert_true(pqb_token_bucket_take(&b, 1, 100000000)); // 10 a second: one each 100 ms
    assert_false(pqb_token_bucket_take(&b, 1, 199999999));
    assert_true(pqb_token_bucket_take(&b, 1, 200000000));
}

static void a_refused_take_costs_nothing(void **state)
{
    struct pqb_token_bucket b;

    (void)state;
    pqb_token_bucket_init(&b, 1, 2, 0);
    assert_true(pqb_token_bucket_take(&b, 1, 0));
    for (int i = 0; i < 100; i++)
        assert_false(pqb_token_bucket_take(&b, 2, 0));
    assert_true(pqb_token_bucket_take(&b, 1, 0));
}

static void ready_at_names_the_first_moment_that_suffices(void **state)
{
    struct pqb_token_bucket b;

    (void)state;
    pqb_token_bucket_init(&b, 3, 2, 1000);
    assert_int_equal(pqb_token_bucket_ready_at(&b, 2, 1000), 1000);
    assert_true(pqb_token_bucket_take(&b, 2, 1000));
    assert_int_equal(pqb_token_bucket_ready_at(&b, 1, 1000), 333334334); // a third, rounded up
    assert_int_equal(pqb_token_bucket_ready_at(&b, 2, 1000), 666667667);
    assert_int_equal(pqb_token_bucket_ready_at(&b, 3, 1000), PQB_NEVER); // more than it can hold
    assert_false(pqb_token_bucket_take(&b, 1, 333334333));
    assert_true(pqb_token_bucket_take(&b, 1, 333334334));
}

static void rate_zero_means_no_limit(void **state)
{
    struct pqb_token_bucket b;

    (void)state;
    pqb_token_bucket_init(&b, 0, 0, 0);
    assert_true(pqb_token_bucket_take(&b, UINT32_MAX, 0));
    assert_int_equal(pqb_token_bucket_ready_at(&b, UINT32_MAX, 5), 5);
}

static void burst_zero_lets_nothing_pass(void **state)
{
    struct pqb_token_bucket b;

    (void)state;
    pqb_token_bucket_init(&b, 5, 0, 0);
    assert_false(pqb_token_bucket_take(&b, 1, 1000000000));
    assert_int_equal(pqb_token_bucket_ready_at(&b, 1, 1000000000), PQB_NEVER);
}

static void the_largest_rate_and_the_longest_pause_do_not_overflow(void **state)
{
    struct pqb_token_bucket b;

    (void)state;
    pqb_token_bucket_init(&b, UINT32_MAX, UINT32_MAX, 0);
    assert_true(pqb_token_bucket_take(&b, UINT32_MAX, 0));
    assert_false(pqb_token_bucket_take(&b, UINT32_MAX, 999999999));
    assert_true(pqb_token_bucket_take(&b, UINT32_MAX, UINT64_MAX - 1));
    assert_false(pqb_token_bucket_take(&b, 1, UINT64_MAX - 1));
}

static void an_earlier_time_neither_fills_nor_rewinds(void **state)
{
    struct pqb_token_bucket b;

    (void)state;
    pqb_token_bucket_init(&b, 1, 1, 5000000000);
    assert_true(pqb_token_bucket_take(&b, 1, 5000000000));
    assert_false(pqb_token_bucket_take(&b, 1, 1000000000));
    assert_false(pqb_token_bucket_take(&b, 1, 5999999999));
    assert_true(pqb_token_bucket_take(&b, 1, 6000000000));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_bucket_is_full_and_holds_no_more),
        cmocka_unit_test(a_token_returns_at_its_time_and_not_before),
        cmocka_unit_test(a_refused_take_costs_nothing),
        cmocka_unit_test(ready_at_names_the_first_moment_that_suffices),
        cmocka_unit_test(rate_zero_means_no_limit),
        cmocka_unit_test(burst_zero_lets_nothing_pass),
        cmocka_unit_test(the_largest_rate_and_the_longest_pause_do_not_overflow),
        cmocka_unit_test(an_earlier_time_neither_fills_nor_rewinds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
