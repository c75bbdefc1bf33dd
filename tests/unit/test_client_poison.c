#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_gateway.h"

#define LIMIT 5 // the default

static struct fake f;

static int start(void **state)
{
    (void)state;
    fake_start(&f, NULL, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fake_stop(&f, false);
    return 0;
}

static void arrive(uint64_t first, uint64_t last)
{
    for (uint64_t iseq = first; iseq <= last; iseq++) {
        const struct pqb_frame m = fake_msg_n(iseq, "hello");

        fake_send(&f, &m, 1);
    }
}

// One run: logs in, is sent all that it has not taken, and dies at `dies_at`.
static void live_and_die(uint64_t dies_at, uint64_t last)
{
    f.dies_at = dies_at;
    fake_login(&f);
    arrive(pqb_client_get_cursor(f.c) + 1, last);
    fake_restart_after_death(&f);
    f.dies_at = 0;
}

static struct pqb_client_saved saved(void)
{
    struct pqb_client_saved s;

    assert_int_equal(f.store->load(f.store->ctx, &s, NULL, NULL), 0);
    return s;
}

static uint64_t dead_letters(void)
{
    struct pqb_client_stats stats;

    pqb_client_get_stats(f.c, &stats);
    return stats.dead_letters;
}

// --------------------------------------------------------------------------------------- cases

static void a_message_is_put_aside_after_five_deaths_and_not_before(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= LIMIT; n++) {
        live_and_die(1, 3);
        assert_int_equal(saved().attempts, n);
        assert_int_equal(saved().cursor, 0);
        assert_int_equal(fake_event_count(&f, FAKE_DEAD_LETTER), 0);
    }
    fake_login(&f);
    fake_forget(&f);
    arrive(1, 3);
    assert_int_equal(fake_event_count(&f, FAKE_DEAD_LETTER), 1);
    assert_int_equal(fake_last_event(&f, FAKE_DEAD_LETTER)->id, 1);
    assert_int_equal(fake_last_event(&f, FAKE_DEAD_LETTER)->a, LIMIT);
    assert_int_equal(fake_last_event(&f, FAKE_DEAD_LETTER)->len, 5);
    assert_string_equal(fake_last_event(&f, FAKE_DEAD_LETTER)->from, "bob");
    assert_int_equal(fake_event_count(&f, FAKE_MESSAGE), 2);
    assert_int_equal(pqb_client_get_cursor(f.c), 3);
    assert_int_equal(dead_letters(), 1);
}

static void a_fourth_death_is_not_enough_for_a_message_that_is_then_taken(void **state)
{
    (void)state;
    for (unsigned n = 1; n < LIMIT; n++)
        live_and_die(1, 2);
    fake_login(&f);
    fake_forget(&f);
    arrive(1, 2);
    assert_int_equal(fake_event_count(&f, FAKE_DEAD_LETTER), 0);
    assert_int_equal(fake_event_count(&f, FAKE_MESSAGE), 2);
}

static void the_first_death_over_a_later_message_of_a_run_is_not_charged(void **state)
{
    (void)state;
    live_and_die(3, 4);
    assert_int_equal(saved().cursor, 2);
    assert_true(saved().attempt_iseq <= saved().cursor); // of message 1: void
    for (unsigned n = 1; n <= LIMIT; n++)
        live_and_die(3, 4);
    assert_int_equal(saved().attempts, LIMIT);
    fake_login(&f);
    fake_forget(&f);
    arrive(3, 4);
    assert_int_equal(fake_last_event(&f, FAKE_DEAD_LETTER)->id, 3);
    assert_int_equal(fake_last_event(&f, FAKE_MESSAGE)->id, 4);
}

static void runs_that_die_with_nothing_in_hand_are_not_charged(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 3 * LIMIT; n++) {
        fake_login(&f);
        fake_restart(&f); // dies before anything comes
    }
    assert_int_equal(saved().attempts, 0);
    live_and_die(1, 1);
    assert_int_equal(saved().attempts, 1);
}

static void not_now_takes_the_charge_back(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 3 * LIMIT; n++) {
        f.refuse_messages = 1000;
        fake_login(&f);
        arrive(1, 2);
        assert_int_equal(saved().attempts, 0);
        fake_restart(&f); // dies while the application does not want the message
    }
    f.refuse_messages = 0;
    fake_login(&f);
    fake_forget(&f);
    arrive(1, 2);
    assert_int_equal(fake_event_count(&f, FAKE_MESSAGE), 2);
}

static void each_try_after_not_now_is_charged_until_the_first_is_taken(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= LIMIT; n++) {
        f.refuse_messages = 1;
        fake_login(&f);
        arrive(1, 1);
        assert_int_equal(saved().attempts, n - 1);
        f.dies_at = 1;
        fake_advance(&f, FAKE_SECOND);
        fake_restart_after_death(&f);
        f.dies_at = 0;
        assert_int_equal(saved().attempts, n);
    }
    f.refuse_messages = 0;
    fake_login(&f);
    arrive(1, 1);
    assert_int_equal(dead_letters(), 1);
}

static void two_poison_messages_in_a_row_each_have_their_own_deaths(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= LIMIT; n++)
        live_and_die(1, 3);
    for (unsigned n = 1; n <= LIMIT; n++) {
        live_and_die(2, 3); // the first of these puts message 1 aside
        assert_int_equal(saved().cursor, 1);
        assert_int_equal(saved().attempt_iseq, 2);
        assert_int_equal(saved().attempts, n);
    }
    fake_login(&f);
    fake_forget(&f);
    arrive(2, 3);
    assert_int_equal(fake_last_event(&f, FAKE_DEAD_LETTER)->id, 2);
    assert_int_equal(fake_last_event(&f, FAKE_MESSAGE)->id, 3);
}

static void without_a_limit_nothing_is_charged_or_put_aside(void **state)
{
    struct pqb_client_config config;

    (void)state;
    fake_stop(&f, false);
    pqb_client_config_default(&config);
    config.poison_limit = 0;
    fake_start(&f, NULL, &config);
    f.dies_at = 1;
    fake_login(&f);
    arrive(1, 1);
    pqb_client_store_memory_destroy(f.store);
    f.store = f.at_death;
    f.at_death = NULL;
    assert_int_equal(saved().attempts, 0);
    pqb_client_destroy(f.c);
    f.c = NULL;
}

// A store that can fail, around the memory store.
static struct pqb_client_store *real;
static int attempt_result, dead_letter_result;
static unsigned syncs;

static int flaky_attempt(void *ctx, uint64_t iseq, uint32_t attempts)
{
    return attempt_result != 0 ? attempt_result : real->attempt(ctx, iseq, attempts);
}

static int flaky_dead_letter(void *ctx, const struct pqb_client_dead_letter *letter)
{
    assert_non_null(letter->body);
    return dead_letter_result != 0 ? dead_letter_result : real->dead_letter(ctx, letter);
}

static int counting_sync(void *ctx)
{
    syncs++;
    return real->sync(ctx);
}

static struct pqb_client_store over_a_flaky_store(void)
{
    struct pqb_client_store store = *f.store;

    real = f.store;
    store.attempt = flaky_attempt;
    store.dead_letter = flaky_dead_letter;
    store.sync = counting_sync;
    attempt_result = dead_letter_result = 0;
    syncs = 0;
    return store;
}

static void begin_over(struct pqb_client_store *store)
{
    f.store = store;
    fake_restart(&f);
    fake_login(&f);
    fake_forget(&f);
}

static void end_over(void)
{
    f.store = real;
    fake_restart(&f);
}

static void a_message_waits_while_its_note_or_its_letter_can_not_be_written(void **state)
{
    struct pqb_client_store store = over_a_flaky_store();

    (void)state;
    begin_over(&store);
    attempt_result = PQB_CLIENT_ERR_NO_SPACE;
    arrive(1, 2);
    assert_int_equal(fake_event_count(&f, FAKE_MESSAGE), 0);
    attempt_result = 0;
    fake_advance(&f, FAKE_SECOND);
    assert_int_equal(fake_event_count(&f, FAKE_MESSAGE), 2);
    assert_int_equal(store.attempt(store.ctx, 3, LIMIT), 0);
    begin_over(&store);
    dead_letter_result = PQB_CLIENT_ERR_NO_SPACE;
    arrive(3, 4);
    assert_int_equal(pqb_client_get_cursor(f.c), 2);
    assert_int_equal(dead_letters(), 0);
    dead_letter_result = 0;
    fake_advance(&f, FAKE_SECOND);
    assert_int_equal(pqb_client_get_cursor(f.c), 4);
    assert_int_equal(dead_letters(), 1);
    end_over();
}

// 256 messages are as many as can be on the way: the cursor cannot stay behind that far again.
static void after_a_death_over_a_message_the_cursor_is_durable_message_by_message(void **state)
{
    struct pqb_client_store store = over_a_flaky_store();

    (void)state;
    begin_over(&store);
    syncs = 0;
    for (uint64_t iseq = 1; iseq <= 4; iseq++) {
        const struct pqb_frame m = fake_msg_n(iseq, "hello");

        fake_deliver_only(&f, &m, 1);
        assert_int_equal(syncs, 1); // for the first; the others wait for the acknowledgement
    }
    assert_int_equal(store.attempt(store.ctx, 5, 1), 0);
    begin_over(&store);
    syncs = 0;
    for (uint64_t iseq = 5; iseq <= 8; iseq++) {
        const struct pqb_frame m = fake_msg_n(iseq, "hello");

        fake_deliver_only(&f, &m, 1);
        assert_int_equal(syncs, iseq - 4);
    }
    end_over();
}

static void a_store_with_half_of_the_guard_is_refused(void **state)
{
    struct pqb_client_store store = *f.store;
    struct pqb_client_config config;
    struct pqb_client *c;

    (void)state;
    pqb_client_config_default(&config);
    config.user = "alice";
    config.device = "phone";
    config.store = &store;
    store.dead_letter = NULL;
    assert_int_equal(pqb_client_create(&c, &config, 1), PQB_CLIENT_ERR_INVALID);
    store.attempt = NULL;
    assert_int_equal(pqb_client_create(&c, &config, 1), PQB_CLIENT_OK);
    pqb_client_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
        CASE(a_message_is_put_aside_after_five_deaths_and_not_before),
        CASE(a_fourth_death_is_not_enough_for_a_message_that_is_then_taken),
        CASE(the_first_death_over_a_later_message_of_a_run_is_not_charged),
        CASE(runs_that_die_with_nothing_in_hand_are_not_charged),
        CASE(not_now_takes_the_charge_back),
        CASE(each_try_after_not_now_is_charged_until_the_first_is_taken),
        CASE(two_poison_messages_in_a_row_each_have_their_own_deaths),
        CASE(without_a_limit_nothing_is_charged_or_put_aside),
        CASE(a_message_waits_while_its_note_or_its_letter_can_not_be_written),
        CASE(after_a_death_over_a_message_the_cursor_is_durable_message_by_message),
        CASE(a_store_with_half_of_the_guard_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
