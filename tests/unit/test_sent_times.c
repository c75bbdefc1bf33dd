#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/proto/sent_times.h"

#define US      PQB_NS_PER_US
#define PACKETS 2000

static void a_session_at_rest_has_nothing_on_the_heap(void **state)
{
    struct pqb_sent_times t = {0};
    uint32_t elapsed;

    (void)state;
    pqb_sent_times_note(&t, 1, 1, 10 * US);
    pqb_sent_times_note(&t, 2, 2, 20 * US);
    assert_int_equal(pqb_sent_times_memory(&t), 0);
    pqb_sent_times_note(&t, 3, 3, 30 * US);
    assert_int_equal(pqb_sent_times_memory(&t), PQB_SENT_TIMES_MAX * sizeof(struct pqb_sent_time));
    assert_true(pqb_sent_times_take(&t, 1, 100 * US, &elapsed));
    assert_int_equal(elapsed, 90);
    assert_int_not_equal(pqb_sent_times_memory(&t), 0); // three are still known
    assert_true(pqb_sent_times_take(&t, 2, 100 * US, &elapsed));
    assert_int_equal(elapsed, 80);
    assert_int_equal(pqb_sent_times_memory(&t), 0);
    assert_true(pqb_sent_times_take(&t, 3, 100 * US, &elapsed));
    assert_int_equal(elapsed, 70);
    pqb_sent_times_clear(&t);
}

static void what_was_forgotten_gives_no_time(void **state)
{
    struct pqb_sent_times t = {0};
    uint32_t elapsed;

    (void)state;
    assert_false(pqb_sent_times_take(&t, 1, 0, &elapsed));
    for (uint32_t pn = 1; pn <= 6; pn++)
        pqb_sent_times_note(&t, pn, pn, pn * US);
    assert_true(pqb_sent_times_take(&t, 4, 10 * US, &elapsed));
    assert_int_equal(elapsed, 6);
    assert_false(pqb_sent_times_take(&t, 3, 10 * US, &elapsed));
    pqb_sent_times_clear(&t);
    assert_int_equal(pqb_sent_times_memory(&t), 0);
    assert_false(pqb_sent_times_take(&t, 6, 10 * US, &elapsed));
}

// One packet a microsecond, echoed in order: the exact time is known, and the one told is never
// shorter, nor longer than the flight shared among the places allows.
static void times_are_never_too_short_and_a_little_too_long_in_long_flights(void **state)
{
    struct pqb_sent_times t = {0};
    struct pqb_rng rng;
    uint32_t next = 1, echoed = 0, elapsed;

    (void)state;
    pqb_rng_init_seed(&rng, 7);
    while (next < PACKETS) {
        const uint32_t burst = 1 + (uint32_t)pqb_rng_below(&rng, 60);

        for (uint32_t i = 0; i < burst; i++, next++)
            pqb_sent_times_note(&t, next, next - echoed, next * US);
        const uint32_t flight = next - echoed;

        echoed += 1 + (uint32_t)pqb_rng_below(&rng, next - echoed - 1);
        assert_true(pqb_sent_times_take(&t, echoed, next * US, &elapsed));
        assert_in_range(elapsed, next - echoed, next - echoed + flight / 4);
        assert_true(t.count <= PQB_SENT_TIMES_MAX);
    }
    pqb_sent_times_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_at_rest_has_nothing_on_the_heap),
        cmocka_unit_test(what_was_forgotten_gives_no_time),
        cmocka_unit_test(times_are_never_too_short_and_a_little_too_long_in_long_flights),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
