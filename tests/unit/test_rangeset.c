#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/rangeset.h"
#include "common/base/rng.h"

#define UNIVERSE   400
#define STEP_COUNT 100000

// Ranges must be sorted, disjoint and not adjacent; together they must be the model.
static void check_against(const struct pqb_rangeset *s, const bool *model, uint64_t base)
{
    size_t ranges_in_model = 0;

    for (size_t i = 0; i < UNIVERSE; i++) {
        assert_int_equal(pqb_rangeset_has(s, base + i), model[i]);
        ranges_in_model += model[i] && (i == 0 || !model[i - 1]);
    }
    assert_int_equal(s->count, ranges_in_model);
    for (size_t i = 0; i < s->count; i++) {
        assert_true(s->ranges[i].first <= s->ranges[i].last);
        assert_true(i == 0 || s->ranges[i - 1].last + 1 < s->ranges[i].first);
    }
}

static size_t model_ranges(const bool *model)
{
    size_t count = 0;

    for (size_t i = 0; i < UNIVERSE; i++)
        count += model[i] && (i == 0 || !model[i - 1]);
    return count;
}

static void add_to_both(struct pqb_rangeset *s, bool *model, uint64_t base, size_t first,
                        size_t last)
{
    bool after[UNIVERSE];

    memcpy(after, model, sizeof(after));
    memset(after + first, true, last - first + 1);
    if (pqb_rangeset_add(s, base + first, base + last) == PQB_OK)
        memcpy(model, after, sizeof(after));
    else
        assert_true(model_ranges(after) > PQB_RANGESET_MAX); // refused for want of a range only
}

// `base` moves the numbers to either end of the 64-bit line.
static void run_against_model(uint64_t base, uint64_t seed)
{
    bool model[UNIVERSE] = {false};
    struct pqb_rangeset s;
    struct pqb_rng rng;

    pqb_rng_init_seed(&rng, seed);
    pqb_rangeset_clear(&s);
    for (int step = 0; step < STEP_COUNT; step++) {
        const size_t first = pqb_rng_below(&rng, UNIVERSE);

        if (pqb_rng_below(&rng, 300) == 0) {
            pqb_rangeset_trim(&s, base + first);
            memset(model, false, first + 1);
        } else {
            const size_t more = pqb_rng_below(&rng, 30) == 0 ? pqb_rng_below(&rng, 20) : 0;

            add_to_both(&s, model, base, first, PQB_MIN(first + more, UNIVERSE - 1));
        }
        if (step % 10 == 0)
            check_against(&s, model, base);
    }
}

static void many_random_steps_agree_with_a_bitmap(void **state)
{
    (void)state;
    run_against_model(0, 1);
    run_against_model(UINT64_MAX - (UNIVERSE - 1), 2);
}

static void a_full_set_refuses_a_new_range_and_stays_as_it_was(void **state)
{
    struct pqb_rangeset before;
    struct pqb_rangeset s;

    (void)state;
    pqb_rangeset_clear(&s);
    for (uint64_t i = 0; i < PQB_RANGESET_MAX; i++)
        assert_int_equal(pqb_rangeset_add(&s, 10 * i, 10 * i), PQB_OK);
    before = s;
    assert_int_equal(pqb_rangeset_add(&s, 5, 5), PQB_ERR_FULL);
    assert_int_equal(s.count, before.count);
    assert_memory_equal(s.ranges, before.ranges, sizeof(s.ranges));
    assert_int_equal(pqb_rangeset_add(&s, 1, 1), PQB_OK); // melts into a range that is there
    assert_int_equal(pqb_rangeset_add(&s, 2, 9), PQB_OK); // joins two
    assert_int_equal(s.count, PQB_RANGESET_MAX - 1);
}

static void the_whole_line_fits_in_one_range(void **state)
{
    struct pqb_rangeset s;

    (void)state;
    pqb_rangeset_clear(&s);
    assert_int_equal(pqb_rangeset_add(&s, 3, UINT64_MAX), PQB_OK);
    assert_int_equal(pqb_rangeset_add(&s, 0, 1), PQB_OK);
    assert_int_equal(s.count, 2);
    assert_int_equal(pqb_rangeset_add(&s, 0, UINT64_MAX), PQB_OK);
    assert_int_equal(s.count, 1);
    pqb_rangeset_trim(&s, UINT64_MAX - 1);
    assert_true(pqb_rangeset_has(&s, UINT64_MAX));
    assert_false(pqb_rangeset_has(&s, UINT64_MAX - 1));
    pqb_rangeset_trim(&s, UINT64_MAX);
    assert_int_equal(s.count, 0);
}

static void trimming_cuts_inside_a_range(void **state)
{
    struct pqb_rangeset s;

    (void)state;
    pqb_rangeset_clear(&s);
    assert_int_equal(pqb_rangeset_add(&s, 10, 20), PQB_OK);
    pqb_rangeset_trim(&s, 9);
    assert_true(pqb_rangeset_has(&s, 10));
    pqb_rangeset_trim(&s, 15);
    assert_false(pqb_rangeset_has(&s, 15));
    assert_true(pqb_rangeset_has(&s, 16));
    pqb_rangeset_trim(&s, 20);
    assert_int_equal(s.count, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_random_steps_agree_with_a_bitmap),
        cmocka_unit_test(a_full_set_refuses_a_new_range_and_stays_as_it_was),
        cmocka_unit_test(the_whole_line_fits_in_one_range),
        cmocka_unit_test(trimming_cuts_inside_a_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
