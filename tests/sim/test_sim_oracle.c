// The judge is judged: for each promise a history that keeps it and one that breaks it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/wire/frame.h"
#include "tests/sim/sim_history.h"
#include "tests/sim/sim_oracle.h"
#include "tests/sim/sim_plan.h"

#define LEN 40

// User 0 has device 0; user 1 has devices 1 and 2.
struct stage {
    struct sim_oracle o;
    struct sim_app *a, *b, *c;
};

static void set(struct stage *s)
{
    sim_oracle_init(&s->o);
    (void)sim_oracle_add_user(&s->o);
    (void)sim_oracle_add_user(&s->o);
    s->a = sim_oracle_add_app(&s->o, sim_oracle_add_device(&s->o, 0));
    s->b = sim_oracle_add_app(&s->o, sim_oracle_add_device(&s->o, 1));
    s->c = sim_oracle_add_app(&s->o, sim_oracle_add_device(&s->o, 1));
}

static uint32_t send_to_1(struct stage *s, pqb_tstamp now)
{
    return sim_oracle_send(&s->o, s->a, 1, LEN, false, now);
}

static void take(struct stage *s, struct sim_app *app, uint32_t message, uint64_t iseq)
{
    uint8_t body[LEN];

    sim_oracle_body(message, body, LEN);
    sim_oracle_on_take(&s->o, app, iseq, 0, body, LEN, 100 + iseq);
}

static void expect(struct stage *s, const char *promise)
{
    sim_oracle_finish(&s->o);
    if (promise)
        assert_memory_equal(s->o.failure, promise, strlen(promise));
    else
        assert_string_equal(s->o.failure, "");
    sim_oracle_fini(&s->o);
}

static void a_delivered_message_keeps_every_promise(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    const uint32_t m = send_to_1(&s, 1);
    sim_oracle_on_state(&s.o, s.a, m, SIM_ACCEPTED, 2);
    take(&s, s.b, m, 1);
    take(&s, s.c, m, 1);
    sim_oracle_on_state(&s.o, s.a, m, SIM_DELIVERED, 3);
    assert_true(sim_oracle_is_settled(&s.o));
    expect(&s, NULL);
}

static void an_accepted_message_that_nobody_takes_breaks_p1(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    sim_oracle_on_state(&s.o, s.a, send_to_1(&s, 1), SIM_ACCEPTED, 2);
    assert_false(sim_oracle_is_settled(&s.o));
    expect(&s, "P1");
}

static void a_device_may_join_late_but_not_have_holes(void **state)
{
    struct stage s;
    uint32_t m[3];

    (void)state;
    for (int hole = 0; hole < 2; hole++) {
        set(&s);
        for (uint64_t i = 0; i < 3; i++) {
            m[i] = send_to_1(&s, 1);
            sim_oracle_on_state(&s.o, s.a, m[i], SIM_ACCEPTED, 2);
            take(&s, s.b, m[i], i + 1);
        }
        if (hole)
            take(&s, s.c, m[0], 1);
        else
            take(&s, s.c, m[1], 2);
        take(&s, s.c, m[2], 3);
        expect(&s, hole ? "P1" : NULL);
    }
}

static void a_registered_device_gets_what_is_sent_later(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    const uint32_t own = sim_oracle_send(&s.o, s.c, 0, LEN, false, 1);
    uint8_t body[LEN];

    sim_oracle_on_state(&s.o, s.c, own, SIM_ACCEPTED, 2); // device 2 is known from here on
    sim_oracle_body(own, body, LEN);
    sim_oracle_on_take(&s.o, s.a, 1, 2, body, LEN, 3);
    const uint32_t m = send_to_1(&s, 4);
    sim_oracle_on_state(&s.o, s.a, m, SIM_ACCEPTED, 5);
    take(&s, s.b, m, 1);
    expect(&s, "P1");
}

static void taking_twice_breaks_p2_unless_the_cursor_was_lost(void **state)
{
    struct stage s;
    uint8_t body[LEN];

    (void)state;
    for (int is_lost = 0; is_lost < 2; is_lost++) {
        set(&s);
        const uint32_t m = send_to_1(&s, 1);

        sim_oracle_on_state(&s.o, s.a, m, SIM_ACCEPTED, 2);
        take(&s, s.b, m, 1);
        take(&s, s.c, m, 1);
        sim_oracle_body(m, body, LEN);
        if (is_lost)
            sim_oracle_may_take_again(&s.o, s.b, body, LEN);
        take(&s, s.b, m, 1);
        expect(&s, is_lost ? NULL : "P2");
    }
}

static void a_restored_application_may_take_again_what_its_copy_had_not(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    const uint32_t m = send_to_1(&s, 1);
    struct sim_app *copy = sim_oracle_copy_app(&s.o, s.b);

    sim_oracle_on_state(&s.o, s.a, m, SIM_ACCEPTED, 2);
    take(&s, s.b, m, 1);
    take(&s, s.c, m, 1);
    sim_oracle_drop_app(&s.o, s.b);
    take(&s, copy, m, 1);
    expect(&s, NULL);
}

static void two_messages_of_one_sender_in_the_wrong_order_break_p3(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    const uint32_t m = send_to_1(&s, 1), n = send_to_1(&s, 2);

    take(&s, s.b, n, 1);
    take(&s, s.b, m, 2);
    expect(&s, "P3");
}

static void one_position_with_two_messages_breaks_p3(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    const uint32_t m = send_to_1(&s, 1), n = send_to_1(&s, 2);

    take(&s, s.b, m, 1);
    take(&s, s.c, n, 1);
    expect(&s, "P3");
}

static void states_go_forward_and_tell_the_truth(void **state)
{
    static const struct {
        enum sim_state first, second;
        bool is_taken;
        const char *promise;
    } steps[] = {
        {SIM_ACCEPTED, SIM_DELIVERED, true, NULL},
        {SIM_STORED, SIM_DELIVERED, true, NULL},
        {SIM_DELIVERED, SIM_ACCEPTED, true, "P4"},
        {SIM_ACCEPTED, SIM_ACCEPTED, true, "P4"},
        {SIM_ACCEPTED, SIM_DELIVERED, false, "P4"}, // nobody took it
        {SIM_ACCEPTED, SIM_REFUSED, false, "P4"},
        {SIM_REFUSED, SIM_ACCEPTED, false, "P4"},
        {SIM_ACCEPTED, SIM_UNCERTAIN, true, "P4"},
        {SIM_UNCERTAIN, SIM_ACCEPTED, true, "P5"}, // uncertain for no reason
    };

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(steps); i++) {
        struct stage s;

        set(&s);
        const uint32_t m = send_to_1(&s, 1);
        if (steps[i].is_taken) {
            take(&s, s.b, m, 1);
            take(&s, s.c, m, 1);
        }
        sim_oracle_on_state(&s.o, s.a, m, steps[i].first, 2);
        sim_oracle_on_state(&s.o, s.a, m, steps[i].second, 3);
        expect(&s, steps[i].promise);
    }
}

static void a_refused_message_that_arrives_breaks_p4(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    const uint32_t m = send_to_1(&s, 1);
    sim_oracle_on_state(&s.o, s.a, m, SIM_REFUSED, 2);
    take(&s, s.b, m, 1);
    expect(&s, "P4");
}

static void a_message_without_an_answer_breaks_p5(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    (void)send_to_1(&s, 1);
    expect(&s, "P5");
}

static void a_gap_for_no_reason_breaks_p5(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    sim_oracle_on_gap(&s.o, s.b, 1, 2, PQB_GAP_EXPIRED);
    expect(&s, "P5");
}

static void age_counts_from_the_decision_not_from_the_commit(void **state)
{
    struct stage s;
    uint8_t body[LEN];
    uint32_t message;

    (void)state;
    set(&s);
    s.o.is_watching = true;
    s.o.retention.age_ms = 5000;
    message = send_to_1(&s, 1);
    sim_oracle_body(message, body, LEN);
    s.o.clock_ms = 10000;
    s.o.decided_ms = 100; // a batch of async was open for so long
    sim_history_on_stored(&s.o, 1, 101, body, LEN);
    s.o.clock_ms = 14899;
    assert_false(sim_history_on_expired(&s.o, 1, 101, 101));
    s.o.clock_ms = 14900;
    assert_true(sim_history_on_expired(&s.o, 1, 101, 101));
    sim_oracle_fini(&s.o);
}

static void a_changed_body_breaks_p1(void **state)
{
    struct stage s;
    uint8_t body[LEN];

    (void)state;
    set(&s);
    const uint32_t m = send_to_1(&s, 1);
    sim_oracle_body(m, body, LEN);
    body[LEN - 1] ^= 1;
    sim_oracle_on_take(&s.o, s.b, 1, 0, body, LEN, 2);
    expect(&s, "P1");
}

static void a_plan_comes_from_its_seed_alone_and_can_be_changed(void **state)
{
    struct sim_plan p, q;

    (void)state;
    sim_plan_from_seed(&p, 5);
    sim_plan_from_seed(&q, 5);
    assert_memory_equal(&p, &q, sizeof(p));
    sim_plan_from_seed(&q, 6);
    assert_memory_not_equal(&p, &q, sizeof(p));
    assert_true(sim_plan_set(&p, "loss=0.25"));
    assert_true(p.loss > 0.24 && p.loss < 0.26);
    assert_false(sim_plan_set(&p, "loss"));
    assert_false(sim_plan_set(&p, "loss="));
    assert_false(sim_plan_set(&p, "los=1"));
    assert_false(sim_plan_set(&p, "loss=much"));
}

static void every_plan_is_within_what_the_world_can_hold(void **state)
{
    struct sim_plan p;

    (void)state;
    for (uint64_t seed = 1; seed < 2000; seed++) {
        sim_plan_from_seed(&p, seed);
        assert_true(p.users >= 1 && p.users <= SIM_USERS_MAX);
        assert_true(p.devices >= p.users && p.devices <= SIM_DEVICES_MAX);
        assert_true(p.loss >= 0 && p.loss < 1 && p.corrupt < 1 && p.truncate < 1);
        assert_true(p.page_max >= 1 && p.page_max <= 256);
    }
}

static void a_message_is_put_aside_after_just_so_many_deaths_over_it(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    for (int i = 0; i < 2; i++) {
        sim_oracle_on_hand_over(&s.o, s.b, 7, 2);
        sim_oracle_on_death_over(s.b, 7);
    }
    sim_oracle_on_dead_letter(&s.o, s.b, 7, 2, 2);
    sim_oracle_on_hand_over(&s.o, s.b, 8, 2);
    expect(&s, NULL);
}

static void a_message_put_aside_too_soon_breaks_p2(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    sim_oracle_on_death_over(s.b, 6);
    sim_oracle_on_death_over(s.b, 7); // the first over this one
    sim_oracle_on_dead_letter(&s.o, s.b, 7, 2, 2);
    expect(&s, "P2");
}

static void a_message_handed_over_after_enough_deaths_is_noticed(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    sim_oracle_on_death_over(s.b, 7);
    sim_oracle_on_hand_over(&s.o, s.b, 7, 1);
    expect(&s, "device 1 is handed 7 again");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_put_aside_after_just_so_many_deaths_over_it),
        cmocka_unit_test(a_message_put_aside_too_soon_breaks_p2),
        cmocka_unit_test(a_message_handed_over_after_enough_deaths_is_noticed),
        cmocka_unit_test(a_delivered_message_keeps_every_promise),
        cmocka_unit_test(an_accepted_message_that_nobody_takes_breaks_p1),
        cmocka_unit_test(a_device_may_join_late_but_not_have_holes),
        cmocka_unit_test(a_registered_device_gets_what_is_sent_later),
        cmocka_unit_test(taking_twice_breaks_p2_unless_the_cursor_was_lost),
        cmocka_unit_test(a_restored_application_may_take_again_what_its_copy_had_not),
        cmocka_unit_test(two_messages_of_one_sender_in_the_wrong_order_break_p3),
        cmocka_unit_test(one_position_with_two_messages_breaks_p3),
        cmocka_unit_test(states_go_forward_and_tell_the_truth),
        cmocka_unit_test(a_refused_message_that_arrives_breaks_p4),
        cmocka_unit_test(a_message_without_an_answer_breaks_p5),
        cmocka_unit_test(a_gap_for_no_reason_breaks_p5),
        cmocka_unit_test(age_counts_from_the_decision_not_from_the_commit),
        cmocka_unit_test(a_changed_body_breaks_p1),
        cmocka_unit_test(a_plan_comes_from_its_seed_alone_and_can_be_changed),
        cmocka_unit_test(every_plan_is_within_what_the_world_can_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
