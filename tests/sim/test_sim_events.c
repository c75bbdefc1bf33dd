#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/sim_events.h"

static bool may(struct sim_events *events, enum sim_kind kind, uint32_t owner, uint32_t number)
{
    return sim_events_may(events, kind, owner, number, 0);
}

static void an_event_draws_the_same_whatever_was_drawn_for_others(void **state)
{
    static struct sim_events few, many;
    struct pqb_rng a, b;

    (void)state;
    sim_events_init(&few, 9, NULL, NULL);
    sim_events_init(&many, 9, NULL, NULL);
    for (int i = 0; i < 100; i++) {
        (void)sim_events_next(&many, SIM_KIND_SEND, 1, &b);
        (void)pqb_rng_next(&b);
    }
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(sim_events_next(&few, SIM_KIND_SEND, 2, &a), i);
        assert_int_equal(sim_events_next(&many, SIM_KIND_SEND, 2, &b), i);
        assert_true(pqb_rng_next(&a) == pqb_rng_next(&b));
    }
    (void)sim_events_next(&few, SIM_KIND_SEND, 3, &b);
    assert_true(pqb_rng_next(&a) != pqb_rng_next(&b));
}

static void without_a_mask_everything_may_happen_and_is_logged(void **state)
{
    static struct sim_event_log log;
    static struct sim_events events;

    (void)state;
    sim_events_init(&events, 9, NULL, &log);
    assert_true(may(&events, SIM_KIND_SEND, 2, 7));
    assert_true(may(&events, SIM_KIND_LOSE, SIM_OWNER_DOWN + 3, 1));
    assert_int_equal(log.count, 2);
    assert_int_equal(sim_event_kind(log.at[1]), SIM_KIND_LOSE);
    assert_int_equal(sim_event_owner(log.at[1]), SIM_OWNER_DOWN + 3);
}

static void what_is_skipped_does_not_happen_and_is_not_logged(void **state)
{
    static struct sim_event_log log;
    static struct sim_events events;
    struct sim_event_mask mask = {0};

    (void)state;
    assert_true(sim_event_mask_parse(&mask, false, "send.2:4-6,9"));
    assert_true(sim_event_mask_parse(&mask, false, "lose.3down"));
    assert_true(sim_event_mask_parse(&mask, false, "kill"));
    sim_events_init(&events, 9, &mask, &log);
    assert_true(may(&events, SIM_KIND_SEND, 2, 3));
    assert_false(may(&events, SIM_KIND_SEND, 2, 4));
    assert_false(may(&events, SIM_KIND_SEND, 2, 6));
    assert_true(may(&events, SIM_KIND_SEND, 2, 7));
    assert_false(may(&events, SIM_KIND_SEND, 2, 9));
    assert_true(may(&events, SIM_KIND_SEND, 3, 4));
    assert_false(may(&events, SIM_KIND_LOSE, SIM_OWNER_DOWN + 3, 12345));
    assert_true(may(&events, SIM_KIND_LOSE, 3, 12345));
    assert_false(may(&events, SIM_KIND_KILL, 0, 0));
    assert_int_equal(log.count, 4);
    sim_event_mask_fini(&mask);
}

static void only_what_is_named_happens_and_a_skip_wins(void **state)
{
    static struct sim_events events;
    struct sim_event_mask mask = {0};

    (void)state;
    assert_true(sim_event_mask_parse(&mask, true, "crash:2-"));
    assert_true(sim_event_mask_parse(&mask, false, "crash:5"));
    sim_events_init(&events, 9, &mask, NULL);
    assert_false(may(&events, SIM_KIND_CRASH, 0, 1));
    assert_true(may(&events, SIM_KIND_CRASH, 0, 2));
    assert_false(may(&events, SIM_KIND_CRASH, 0, 5));
    assert_true(may(&events, SIM_KIND_CRASH, 0, UINT32_MAX));
    assert_false(may(&events, SIM_KIND_SEND, 0, 2));
    sim_event_mask_fini(&mask);
}

static void text_that_names_no_event_is_refused(void **state)
{
    static const char *const texts[] = {"",      "nothing", "send.2:",    "send.2:x",
                                        "sendx", "send.64", "send.2:4-3", "send.2:4,",
                                        "send.", "none.",   "lose.2up4"};
    struct sim_event_mask mask = {0};

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(texts); i++)
        assert_false(sim_event_mask_parse(&mask, true, texts[i]));
    assert_true(sim_event_mask_parse(&mask, true, "none"));
    sim_event_mask_fini(&mask);
}

static void a_mask_is_printed_as_the_options_that_make_it(void **state)
{
    const sim_event_key keys[] = {
        sim_event_key_of(SIM_KIND_SEND, 2, 0),
        sim_event_key_of(SIM_KIND_SEND, 2, 4),
        sim_event_key_of(SIM_KIND_SEND, 2, 5),
        sim_event_key_of(SIM_KIND_SEND, 3, 6),
        sim_event_key_of(SIM_KIND_LOSE, 2, 7),
        sim_event_key_of(SIM_KIND_LOSE, 2 + SIM_OWNER_DOWN, 7),
        sim_event_key_of(SIM_KIND_CRASH, 0, 1),
    };
    struct sim_event_mask mask = {0};
    char *text = NULL;
    size_t len;
    FILE *out;

    (void)state;
    sim_event_mask_set_only(&mask, keys, PQB_ARRAY_LEN(keys));
    assert_true(sim_event_mask_parse(&mask, false, "send.2:3-"));
    assert_true(sim_event_mask_parse(&mask, false, "ghost"));
    assert_non_null(out = open_memstream(&text, &len));
    sim_event_mask_print(&mask, out);
    fclose(out);
    assert_string_equal(text, " --only send.2:0,4-5 --only send.3:6 --only lose.2up:7"
                              " --only lose.2down:7 --only crash:1 --skip send.2:3- --skip ghost");
    free(text);
    sim_event_mask_fini(&mask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_draws_the_same_whatever_was_drawn_for_others),
        cmocka_unit_test(without_a_mask_everything_may_happen_and_is_logged),
        cmocka_unit_test(what_is_skipped_does_not_happen_and_is_not_logged),
        cmocka_unit_test(only_what_is_named_happens_and_a_skip_wins),
        cmocka_unit_test(text_that_names_no_event_is_refused),
        cmocka_unit_test(a_mask_is_printed_as_the_options_that_make_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
