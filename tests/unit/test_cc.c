#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/proto/cc.h"

#define MS PQB_NS_PER_MS

static const struct pqb_rtt unmeasured;

static struct pqb_rtt measured(pqb_duration srtt)
{
    struct pqb_rtt r;

    pqb_rtt_init(&r);
    pqb_rtt_sample(&r, srtt);
    return r;
}

static void the_first_window_holds_ten_datagrams(void **state)
{
    struct pqb_cc c;

    (void)state;
    pqb_cc_init(&c);
    for (int i = 0; i < 10; i++) {
        assert_true(pqb_cc_may_send(&c, 1200, 5));
        assert_int_equal(pqb_cc_next_send(&c, 5), 5);
        pqb_cc_on_sent(&c, 1200, &unmeasured, 5);
    }
    assert_int_equal(c.in_flight, 12000);
    assert_false(pqb_cc_may_send(&c, 1, 5));
    assert_int_equal(pqb_cc_next_send(&c, 5), PQB_NEVER);
    pqb_cc_on_discarded(&c, 700);
    assert_true(pqb_cc_may_send(&c, 700, 5));
    assert_false(pqb_cc_may_send(&c, 701, 5));
    assert_int_equal(pqb_cc_next_send(&c, 5), PQB_NEVER); // no room for a whole datagram
}

static void slow_start_grows_by_what_is_acknowledged(void **state)
{
    struct pqb_cc c;

    (void)state;
    pqb_cc_init(&c);
    pqb_cc_on_sent(&c, 12000, &unmeasured, 5);
    pqb_cc_on_acked(&c, 1200, 5);
    assert_int_equal(c.window, 13200);
    assert_int_equal(c.in_flight, 10800);
}

static void an_unused_window_does_not_grow(void **state)
{
    struct pqb_cc c;

    (void)state;
    pqb_cc_init(&c);
    pqb_cc_on_sent(&c, 5999, &unmeasured, 5);
    pqb_cc_on_acked(&c, 1000, 5);
    assert_int_equal(c.window, 12000);
    pqb_cc_on_sent(&c, 1001, &unmeasured, 5);
    pqb_cc_on_acked(&c, 1000, 5);
    assert_int_equal(c.window, 13000);
}

static void a_loss_halves_the_window_once_a_round_trip(void **state)
{
    struct pqb_cc c;

    (void)state;
    pqb_cc_init(&c);
    pqb_cc_on_sent(&c, 12000, &unmeasured, 100);
    pqb_cc_on_lost(&c, 1200, 100, 200);
    assert_int_equal(c.window, 6000);
    assert_int_equal(c.ssthresh, 6000);
    pqb_cc_on_lost(&c, 1200, 199, 210); // sent before the cut
    assert_int_equal(c.window, 6000);
    pqb_cc_on_acked(&c, 1200, 199); // no growth by what was sent before it
    assert_int_equal(c.window, 6000);
    pqb_cc_on_lost(&c, 1200, 200, 220); // sent in the turn of the cut, after it
    assert_int_equal(c.window, 4800);
}

static void the_window_never_falls_below_four_datagrams(void **state)
{
    struct pqb_cc c;

    (void)state;
    pqb_cc_init(&c);
    for (unsigned i = 1; i < 20; i++) {
        pqb_cc_on_sent(&c, 1200, &unmeasured, i * 100);
        pqb_cc_on_lost(&c, 1200, i * 100, i * 100 + 50);
        assert_true(c.window >= 4800);
    }
    assert_int_equal(c.window, 4800);
    pqb_cc_on_timeout(&c);
    assert_int_equal(c.window, 4800);
}

static void after_a_loss_the_window_grows_a_datagram_a_round_trip(void **state)
{
    struct pqb_cc c;

    (void)state;
    pqb_cc_init(&c);
    pqb_cc_on_sent(&c, 12000, &unmeasured, 100);
    pqb_cc_on_lost(&c, 1200, 100, 200);
    pqb_cc_on_acked(&c, 10800, 100);
    assert_int_equal(c.window, 6000);
    // Small items count too: sixty of 100 bytes are a window.
    for (int i = 0; i < 59; i++) {
        pqb_cc_on_sent(&c, 5000, &unmeasured, 300);
        pqb_cc_on_acked(&c, 100, 300);
        pqb_cc_on_discarded(&c, 4900);
    }
    assert_int_equal(c.window, 6000);
    pqb_cc_on_sent(&c, 5000, &unmeasured, 300);
    pqb_cc_on_acked(&c, 100, 300);
    assert_int_equal(c.window, 7200);
}

static void persistent_congestion_restarts_from_the_minimum(void **state)
{
    struct pqb_cc c;

    (void)state;
    pqb_cc_init(&c);
    pqb_cc_on_sent(&c, 12000, &unmeasured, 100);
    pqb_cc_on_lost(&c, 12000, 100, 200);
    pqb_cc_on_timeout(&c);
    assert_int_equal(c.window, 4800);
    assert_int_equal(c.ssthresh, 6000);
    pqb_cc_on_sent(&c, 4800, &unmeasured, 150); // slow start up to the threshold
    pqb_cc_on_acked(&c, 1200, 150);
    assert_int_equal(c.window, 6000);
}

static void a_full_window_lets_two_datagrams_out_as_probes(void **state)
{
    struct pqb_cc c;

    (void)state;
    pqb_cc_init(&c);
    pqb_cc_on_sent(&c, 12000, &unmeasured, 100);
    assert_false(pqb_cc_may_send(&c, 1200, 200));
    pqb_cc_allow_probe(&c);
    assert_true(pqb_cc_may_send(&c, 2400, 200));
    assert_false(pqb_cc_may_send(&c, 2401, 200));
    pqb_cc_on_sent(&c, 1200, &unmeasured, 200);
    assert_true(pqb_cc_may_send(&c, 1200, 200));
    pqb_cc_on_sent(&c, 1200, &unmeasured, 200);
    assert_false(pqb_cc_may_send(&c, 1, 200));
}

static void one_frame_may_always_go_when_nothing_is_in_flight(void **state)
{
    struct pqb_cc c;

    (void)state;
    pqb_cc_init(&c);
    assert_true(pqb_cc_may_send(&c, 100000, 0));
    assert_int_equal(pqb_cc_next_send(&c, 0), 0);
}

static void nothing_is_paced_before_the_first_sample(void **state)
{
    struct pqb_cc c;

    (void)state;
    pqb_cc_init(&c);
    c.window = 1200000;
    for (int i = 0; i < 100; i++)
        pqb_cc_on_sent(&c, 1200, &unmeasured, 1000 * MS);
    assert_int_equal(pqb_cc_next_send(&c, 1000 * MS), 1000 * MS);
}

static void ten_datagrams_leave_at_once_then_the_pace_holds(void **state)
{
    const struct pqb_rtt r = measured(100 * MS);
    struct pqb_cc c;

    (void)state;
    pqb_cc_init(&c);
    c.window = 120000; // 100 datagrams in 80 ms: one each 800 us
    for (int i = 0; i < 10; i++) {
        assert_true(pqb_cc_may_send(&c, 1200, 1000 * MS));
        pqb_cc_on_sent(&c, 1200, &r, 1000 * MS);
    }
    assert_false(pqb_cc_may_send(&c, 1200, 1000 * MS));
    assert_int_equal(pqb_cc_next_send(&c, 1000 * MS), 1000 * MS + 800000);
    assert_false(pqb_cc_may_send(&c, 1200, 1000 * MS + 799999));
    assert_true(pqb_cc_may_send(&c, 1200, 1000 * MS + 800000));
    pqb_cc_on_sent(&c, 600, &r, 1000 * MS + 800000);
    assert_int_equal(pqb_cc_next_send(&c, 1000 * MS + 800000), 1000 * MS + 1200000);
    // A long pause earns one burst, not more.
    for (int i = 0; i < 10; i++) {
        assert_true(pqb_cc_may_send(&c, 1200, 9000 * MS));
        pqb_cc_on_sent(&c, 1200, &r, 9000 * MS);
    }
    assert_false(pqb_cc_may_send(&c, 1200, 9000 * MS));
}

static void a_restart_keeps_what_is_in_flight(void **state)
{
    struct pqb_cc c;

    (void)state;
    pqb_cc_init(&c);
    pqb_cc_on_sent(&c, 5000, &unmeasured, 1);
    pqb_cc_on_lost(&c, 1000, 1, 2);
    pqb_cc_restart(&c);
    assert_int_equal(c.in_flight, 4000);
    assert_int_equal(c.window, 12000);
    pqb_cc_on_discarded(&c, 4000);
    assert_int_equal(c.in_flight, 0);
}

static void the_window_has_an_end(void **state)
{
    struct pqb_cc c;

    (void)state;
    pqb_cc_init(&c);
    for (int i = 0; i < 40; i++) {
        pqb_cc_on_sent(&c, c.window, &unmeasured, 1);
        pqb_cc_on_acked(&c, c.in_flight, 1);
    }
    assert_int_equal(c.window, 4 * 1024 * 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_window_holds_ten_datagrams),
        cmocka_unit_test(slow_start_grows_by_what_is_acknowledged),
        cmocka_unit_test(an_unused_window_does_not_grow),
        cmocka_unit_test(a_loss_halves_the_window_once_a_round_trip),
        cmocka_unit_test(the_window_never_falls_below_four_datagrams),
        cmocka_unit_test(after_a_loss_the_window_grows_a_datagram_a_round_trip),
        cmocka_unit_test(persistent_congestion_restarts_from_the_minimum),
        cmocka_unit_test(a_full_window_lets_two_datagrams_out_as_probes),
        cmocka_unit_test(one_frame_may_always_go_when_nothing_is_in_flight),
        cmocka_unit_test(nothing_is_paced_before_the_first_sample),
        cmocka_unit_test(ten_datagrams_leave_at_once_then_the_pace_holds),
        cmocka_unit_test(a_restart_keeps_what_is_in_flight),
        cmocka_unit_test(the_window_has_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
