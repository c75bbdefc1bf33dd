#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/defs.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/base/timerq.h"

#define TIMER_COUNT 200
#define STEP_COUNT  100000

static struct pqb_timer timers[TIMER_COUNT];
static pqb_tstamp model[TIMER_COUNT]; // deadline of each timer; PQB_NEVER = not armed

static pqb_tstamp earliest_in_model(void)
{
    pqb_tstamp earliest = PQB_NEVER;

    for (size_t i = 0; i < TIMER_COUNT; i++)
        earliest = PQB_MIN(earliest, model[i]);
    return earliest;
}

static void arm_or_cancel(struct pqb_timerq *q, struct pqb_rng *rng, pqb_tstamp now)
{
    const size_t i = pqb_rng_below(rng, TIMER_COUNT);
    const bool is_cancel = pqb_rng_below(rng, 4) == 0;

    model[i] = is_cancel ? PQB_NEVER : now + pqb_rng_below(rng, 500);
    pqb_timerq_set(q, &timers[i], model[i]);
    assert_int_equal(timers[i].deadline, model[i]);
}

static void pop_all_expired(struct pqb_timerq *q, pqb_tstamp now)
{
    struct pqb_timer *timer;

    while ((timer = pqb_timerq_pop_expired(q, now)) != NULL) {
        const size_t i = (size_t)(timer - timers);

        assert_true(model[i] <= now);
        assert_int_equal(model[i], earliest_in_model()); // they come out in order
        model[i] = PQB_NEVER;
        assert_int_equal(timer->deadline, PQB_NEVER);
    }
    assert_true(earliest_in_model() > now);
}

static void many_random_steps_agree_with_a_flat_array(void **state)
{
    struct pqb_timerq q;
    struct pqb_rng rng;
    pqb_tstamp now = 1000;

    (void)state;
    pqb_rng_init_seed(&rng, 1);
    pqb_timerq_init(&q);
    assert_int_equal(pqb_timerq_reserve(&q, TIMER_COUNT), PQB_OK);
    for (size_t i = 0; i < TIMER_COUNT; i++) {
        pqb_timer_init(&timers[i]);
        model[i] = PQB_NEVER;
    }
    for (int step = 0; step < STEP_COUNT; step++) {
        arm_or_cancel(&q, &rng, now);
        if (pqb_rng_below(&rng, 50) == 0) {
            now += pqb_rng_below(&rng, 100);
            pop_all_expired(&q, now);
        }
        assert_int_equal(pqb_timerq_next_deadline(&q), earliest_in_model());
    }
    pqb_timerq_fini(&q);
}

static void a_timer_expires_at_its_deadline_and_not_before(void **state)
{
    struct pqb_timer timer;
    struct pqb_timerq q;

    (void)state;
    pqb_timer_init(&timer);
    pqb_timerq_init(&q);
    assert_int_equal(pqb_timerq_reserve(&q, 1), PQB_OK);
    pqb_timerq_set(&q, &timer, 100);
    assert_null(pqb_timerq_pop_expired(&q, 99));
    assert_ptr_equal(pqb_timerq_pop_expired(&q, 100), &timer);
    assert_null(pqb_timerq_pop_expired(&q, 100));
    pqb_timerq_fini(&q);
}

static void setting_to_never_cancels_and_is_harmless_twice(void **state)
{
    struct pqb_timer timer;
    struct pqb_timerq q;

    (void)state;
    pqb_timer_init(&timer);
    pqb_timerq_init(&q);
    assert_int_equal(pqb_timerq_reserve(&q, 1), PQB_OK);
    pqb_timerq_set(&q, &timer, PQB_NEVER);
    pqb_timerq_set(&q, &timer, 5);
    pqb_timerq_set(&q, &timer, PQB_NEVER);
    pqb_timerq_set(&q, &timer, PQB_NEVER);
    assert_int_equal(pqb_timerq_next_deadline(&q), PQB_NEVER);
    assert_null(pqb_timerq_pop_expired(&q, PQB_NEVER));
    pqb_timerq_fini(&q);
}

static void a_larger_reservation_keeps_what_is_armed(void **state)
{
    struct pqb_timer some[5];
    struct pqb_timerq q;

    (void)state;
    pqb_timerq_init(&q);
    for (size_t i = 0; i < PQB_ARRAY_LEN(some); i++) {
        pqb_timer_init(&some[i]);
        assert_int_equal(pqb_timerq_reserve(&q, i + 1), PQB_OK);
        pqb_timerq_set(&q, &some[i], 50 - i);
    }
    for (size_t i = PQB_ARRAY_LEN(some); i-- > 0;)
        assert_ptr_equal(pqb_timerq_pop_expired(&q, 100), &some[i]);
    assert_int_equal(pqb_timerq_reserve(&q, SIZE_MAX / 2), PQB_ERR_NOMEM);
    pqb_timerq_fini(&q);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_random_steps_agree_with_a_flat_array),
        cmocka_unit_test(a_timer_expires_at_its_deadline_and_not_before),
        cmocka_unit_test(setting_to_never_cancels_and_is_harmless_twice),
        cmocka_unit_test(a_larger_reservation_keeps_what_is_armed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
