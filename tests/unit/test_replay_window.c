#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/defs.h"
#include "common/base/rng.h"
#include "common/proto/replay_window.h"

#define SPAN PQB_REPLAY_SPAN

enum {
    NEW = PQB_REPLAY_NEW,
    DUP = PQB_REPLAY_DUPLICATE,
    STALE = PQB_REPLAY_STALE
};

struct step {
    uint64_t pn;
    int expected;
};

static void run(const struct step *steps, size_t count)
{
    struct pqb_replay_window w;

    pqb_replay_window_init(&w);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pqb_replay_window_record(&w, steps[i].pn), steps[i].expected);
}

static void each_number_is_new_once(void **state)
{
    static const struct step steps[] = {
        {1, NEW}, {1, DUP}, {9, NEW}, {8, NEW}, {7, NEW}, {7, DUP}, {6, NEW},
        {5, NEW}, {4, NEW}, {3, NEW}, {2, NEW}, {2, DUP}, {9, DUP}, {8, DUP},
    };

    (void)state;
    run(steps, PQB_ARRAY_LEN(steps));
}

static void zero_is_no_packet_number(void **state)
{
    static const struct step steps[] = {{0, STALE}, {1, NEW}, {0, STALE}};

    (void)state;
    run(steps, PQB_ARRAY_LEN(steps));
}

static void numbers_behind_the_window_are_stale(void **state)
{
    static const struct step steps[] = {
        {SPAN + 2, NEW}, {2, NEW},          {1, STALE},      {2, DUP},
        {SPAN + 3, NEW}, {2, STALE},        {3, NEW},        {2 * SPAN + 3, NEW},
        {SPAN + 3, DUP}, {SPAN + 2, STALE}, {SPAN + 4, NEW},
    };

    (void)state;
    run(steps, PQB_ARRAY_LEN(steps));
}

static void the_last_numbers_of_all_work(void **state)
{
    static const struct step steps[] = {
        {UINT64_MAX - 1, NEW},
        {UINT64_MAX, NEW},
        {UINT64_MAX, DUP},
        {UINT64_MAX - 1, DUP},
        {UINT64_MAX - SPAN, NEW},
        {UINT64_MAX - SPAN - 1, STALE},
        {UINT64_MAX - SPAN + 1, NEW},
        {1, STALE},
    };

    (void)state;
    run(steps, PQB_ARRAY_LEN(steps));
}

static void a_leap_forgets_every_word(void **state)
{
    struct pqb_replay_window w;

    (void)state;
    pqb_replay_window_init(&w);
    for (uint64_t pn = 1; pn <= 2 * SPAN; pn++)
        assert_int_equal(pqb_replay_window_record(&w, pn), NEW);
    // The same places in the ring, ten turns of it later.
    const uint64_t leap = 10 * PQB_REPLAY_WORDS * UINT64_C(64);
    assert_int_equal(pqb_replay_window_record(&w, 2 * SPAN + leap), NEW);
    for (uint64_t pn = SPAN + leap; pn < 2 * SPAN + leap; pn++)
        assert_int_equal(pqb_replay_window_record(&w, pn), NEW);
}

static void a_whole_window_backwards_is_new(void **state)
{
    struct pqb_replay_window w;

    (void)state;
    pqb_replay_window_init(&w);
    for (uint64_t pn = SPAN + 1; pn >= 1; pn--)
        assert_int_equal(pqb_replay_window_record(&w, pn), NEW);
    for (uint64_t pn = SPAN + 1; pn >= 1; pn--)
        assert_int_equal(pqb_replay_window_record(&w, pn), DUP);
    assert_int_equal(pqb_replay_window_record(&w, SPAN + 2), NEW);
    assert_int_equal(pqb_replay_window_record(&w, 1), STALE);
}

static void it_agrees_with_a_naive_set(void **state)
{
    enum {
        NUMBERS = 60000,
        STEPS = 200000
    };
    static bool seen[NUMBERS];
    struct pqb_replay_window w;
    struct pqb_rng rng;
    uint64_t largest = 0;

    (void)state;
    pqb_rng_init_seed(&rng, 11);
    pqb_replay_window_init(&w);
    memset(seen, 0, sizeof(seen));
    for (int i = 0; i < STEPS; i++) {
        const uint64_t reach = pqb_rng_below(&rng, 100) == 0 ? 3 * SPAN : 40;
        const uint64_t back = pqb_rng_below(&rng, 4) == 0 ? SPAN + 80 : 40;
        uint64_t pn = largest + 1 + pqb_rng_below(&rng, reach);
        const uint64_t less = pqb_rng_below(&rng, 2 * back);

        pn = pn > less ? pn - less : 1;
        if (pn >= NUMBERS)
            break;
        const int expected = pn + SPAN < largest ? STALE : seen[pn] ? DUP : NEW;
        assert_int_equal(pqb_replay_window_record(&w, pn), expected);
        if (expected == NEW)
            seen[pn] = true;
        largest = PQB_MAX(largest, pn);
    }
    assert_true(largest > 20 * SPAN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_number_is_new_once),
        cmocka_unit_test(zero_is_no_packet_number),
        cmocka_unit_test(numbers_behind_the_window_are_stale),
        cmocka_unit_test(the_last_numbers_of_all_work),
        cmocka_unit_test(a_leap_forgets_every_word),
        cmocka_unit_test(a_whole_window_backwards_is_new),
        cmocka_unit_test(it_agrees_with_a_naive_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
