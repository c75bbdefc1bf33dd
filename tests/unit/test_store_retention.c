// Limits on what a user may leave unacknowledged, by count and by bytes: at a checkpoint the oldest
// expire until the newest fit. Age is in test_store_upkeep.c.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "tests/unit/store_fixture.h"

#define HOUR_NS (3600 * PQB_NS_PER_SEC)

static int setup(void **state)
{
    struct fixture *f = malloc(sizeof(*f));

    fixture_init(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_fini(*state);
    free(*state);
    return 0;
}

static void open_with(struct fixture *f, uint64_t messages, uint64_t bytes)
{
    f->config.retention_messages = messages;
    f->config.retention_bytes = bytes;
    fixture_open(f);
}

static struct pqb_store_stats stats_of(const struct fixture *f)
{
    struct pqb_store_stats stats;

    pqb_store_get_stats(f->s, &stats);
    return stats;
}

static void pass_ms(struct fixture *f, uint64_t ms)
{
    f->now += ms * PQB_NS_PER_MS;
    f->wall += ms;
}

// Sends `count` messages of one byte from seq `first` on; the position of the last.
static uint64_t send_many(struct fixture *f, const struct actor *a, uint64_t first, unsigned count,
                          const char *to)
{
    uint64_t iseq = 0;

    for (uint64_t seq = first; seq < first + count; seq++)
        assert_int_equal(fixture_send(f, a, seq, to, "x", &iseq), PQB_RESULT_DONE);
    return iseq;
}

static void assert_kept(struct fixture *f, const char *user, uint64_t tail, uint64_t count)
{
    const struct pqb_user_state state = fixture_user(f, user);

    assert_int_equal(state.tail, tail);
    assert_int_equal(state.count, count);
}

static void the_newest_stay_and_what_is_one_too_many_expires_at_the_checkpoint(void **state)
{
    struct fixture *f = *state;
    uint64_t first, found;
    struct actor a, b;
    char body[32];

    open_with(f, 3, 0);
    a = fixture_actor(f, "alice", "phone");
    b = fixture_actor(f, "bob", "phone");
    first = send_many(f, &a, 1, 3, "bob") - 2;
    send_many(f, &a, 4, 1, "carol");
    fixture_checkpoint(f);
    fixture_checkpoint(f);
    assert_kept(f, "bob", first, 3);
    assert_int_equal(stats_of(f).expired, 0);
    send_many(f, &a, 5, 1, "bob");
    assert_kept(f, "bob", first, 4); // not before the checkpoint
    fixture_checkpoint(f);
    assert_kept(f, "bob", first + 1, 3);
    assert_int_equal(stats_of(f).expired, 1);
    assert_int_equal(fixture_user(f, "bob").delivered, 0);
    assert_int_equal(fixture_user(f, "carol").count, 1);
    fixture_reopen(f);
    assert_kept(f, "bob", first + 1, 3);
    assert_true(fixture_read(f, b.uid, 0, &found, body, sizeof(body)));
    assert_int_equal(found, first + 1);
}

static void bytes_up_to_the_limit_stay_and_one_more_costs_the_oldest(void **state)
{
    struct fixture *f = *state;
    struct actor a;
    uint64_t first;

    open_with(f, 0, 10);
    a = fixture_actor(f, "alice", "phone");
    assert_int_equal(fixture_send(f, &a, 1, "bob", "1234", &first), PQB_RESULT_DONE);
    assert_int_equal(fixture_send(f, &a, 2, "bob", "123456", NULL), PQB_RESULT_DONE);
    fixture_checkpoint(f);
    assert_kept(f, "bob", first, 2);
    send_many(f, &a, 3, 1, "bob"); // 11
    fixture_checkpoint(f);
    assert_kept(f, "bob", first + 1, 2);
    assert_int_equal(fixture_user(f, "bob").bytes, 7);
    assert_int_equal(fixture_send(f, &a, 4, "bob", "1234567890", NULL), PQB_RESULT_DONE);
    fixture_checkpoint(f);
    assert_kept(f, "bob", first + 3, 1); // alone it is not too much
    assert_int_equal(fixture_send(f, &a, 5, "bob", "12345678901", NULL), PQB_RESULT_DONE);
    fixture_checkpoint(f);
    assert_kept(f, "bob", first + 5, 0); // alone it is
    assert_int_equal(stats_of(f).expired, 5);
}

static void the_narrower_of_two_limits_decides(void **state)
{
    struct fixture *f = *state;
    struct actor a;
    uint64_t last;

    open_with(f, 4, 10);
    a = fixture_actor(f, "alice", "phone");
    last = send_many(f, &a, 1, 6, "bob");
    fixture_checkpoint(f);
    assert_kept(f, "bob", last - 3, 4);
    assert_int_equal(fixture_send(f, &a, 7, "bob", "123456789", NULL), PQB_RESULT_DONE);
    fixture_checkpoint(f);
    assert_kept(f, "bob", last, 2);
}

static void what_is_too_many_in_the_journal_is_never_moved(void **state)
{
    struct fixture *f = *state;
    struct pqb_store_stats stats;
    struct actor a;
    uint64_t last;

    open_with(f, 2, 0);
    a = fixture_actor(f, "alice", "phone");
    last = send_many(f, &a, 1, 5, "bob");
    fixture_checkpoint(f);
    assert_kept(f, "bob", last - 1, 2);
    stats = stats_of(f);
    assert_int_equal(stats.expired, 3);
    assert_int_equal(stats.checkpoint_moved, 2);
    last = send_many(f, &a, 6, 3, "bob"); // all of inbox goes, and one of the journal
    fixture_checkpoint(f);
    assert_kept(f, "bob", last - 1, 2);
    stats = stats_of(f);
    assert_int_equal(stats.expired, 6);
    assert_int_equal(stats.checkpoint_moved, 4);
}

static void only_what_some_device_has_not_taken_counts(void **state)
{
    struct fixture *f = *state;
    struct actor a, phone, tablet;
    uint64_t last;

    open_with(f, 2, 0);
    a = fixture_actor(f, "alice", "phone");
    phone = fixture_actor(f, "bob", "phone");
    last = send_many(f, &a, 1, 2, "bob");
    assert_int_equal(fixture_ack(f, &phone, last), PQB_RESULT_DONE);
    tablet = fixture_actor(f, "bob", "tablet");
    last = send_many(f, &a, 3, 2, "bob");
    fixture_checkpoint(f);
    assert_int_equal(stats_of(f).expired, 0);
    assert_int_equal(fixture_ack(f, &phone, last), PQB_RESULT_DONE);
    send_many(f, &a, 5, 1, "bob"); // the third that the tablet has not taken
    fixture_checkpoint(f);
    assert_int_equal(stats_of(f).expired, 1);
    assert_kept(f, "bob", last, 2);
    assert_int_equal(fixture_ack(f, &tablet, last), PQB_RESULT_DONE);
    assert_kept(f, "bob", last + 1, 1);
}

static void someone_who_first_logs_in_later_finds_the_newest(void **state)
{
    struct fixture *f = *state;
    struct actor a, b;
    uint64_t last, found;
    char body[32];

    open_with(f, 2, 0);
    a = fixture_actor(f, "alice", "phone");
    last = send_many(f, &a, 1, 5, "bob");
    fixture_checkpoint(f);
    fixture_reopen(f);
    b = fixture_actor(f, "bob", "phone");
    assert_int_equal(b.cursor, last - 2);
    assert_true(fixture_read(f, b.uid, b.cursor + 1, &found, body, sizeof(body)));
    assert_int_equal(found, last - 1);
}

static void lower_limits_after_a_restart_reach_those_who_are_at_rest(void **state)
{
    struct fixture *f = *state;
    struct actor a;
    uint64_t last;

    open_with(f, 0, 0);
    a = fixture_actor(f, "alice", "phone");
    last = send_many(f, &a, 1, 5, "bob");
    fixture_checkpoint(f);
    fixture_close(f);
    open_with(f, 4, 0);
    fixture_checkpoint(f);
    assert_kept(f, "bob", last - 3, 4);
    fixture_close(f);
    open_with(f, 0, 2);
    assert_in_range(pqb_store_next_deadline(f->s), 0, f->now + HOUR_NS);
    pass_ms(f, HOUR_NS / PQB_NS_PER_MS); // nobody asks for a checkpoint
    fixture_settle(f);
    assert_kept(f, "bob", last - 1, 2);
}

static void a_store_without_any_rule_does_not_wake_for_them(void **state)
{
    struct fixture *f = *state;

    f->config.retention_ms = f->config.device_idle_ms = 0;
    open_with(f, 0, 0);
    assert_true(pqb_store_next_deadline(f->s) == PQB_NEVER);
    fixture_close(f);
    open_with(f, 1, 0);
    assert_in_range(pqb_store_next_deadline(f->s), 1, HOUR_NS);
}

// A machine that has just booted has a clock near 0, so "an hour after nothing" was an hour away.
static void what_grew_old_while_nobody_looked_goes_soon_after_the_start(void **state)
{
    struct fixture *f = *state;

    f->config.retention_ms = f->config.device_idle_ms = 0;
    open_with(f, 1, 0);
    assert_true(pqb_store_next_deadline(f->s) <= f->config.journal_checkpoint_ns);
    pass_ms(f, f->config.journal_checkpoint_ns / PQB_NS_PER_MS);
    fixture_settle(f);
    assert_true(pqb_store_next_deadline(f->s) >= HOUR_NS); // from then on at leisure
}

static void too_old_and_too_many_go_together(void **state)
{
    struct fixture *f = *state;
    struct actor a;
    uint64_t last;

    f->config.retention_ms = 1000000;
    open_with(f, 3, 0);
    a = fixture_actor(f, "alice", "phone");
    send_many(f, &a, 1, 2, "bob");
    fixture_checkpoint(f);
    pass_ms(f, 1000001);
    last = send_many(f, &a, 3, 2, "bob");
    fixture_checkpoint(f); // four: one is too many, and the one behind it is too old
    assert_kept(f, "bob", last - 1, 2);
    assert_int_equal(stats_of(f).expired, 2);
}

static void the_quota_refuses_what_comes_before_the_checkpoint(void **state)
{
    struct fixture *f = *state;
    struct actor a;

    f->config.inbox_messages_max = 5;
    open_with(f, 3, 0);
    a = fixture_actor(f, "alice", "phone");
    send_many(f, &a, 1, 5, "bob");
    assert_int_equal(fixture_send(f, &a, 6, "bob", "x", NULL), PQB_RESULT_REFUSED);
    fixture_checkpoint(f);
    assert_int_equal(fixture_send(f, &a, 7, "bob", "x", NULL), PQB_RESULT_DONE);
    assert_int_equal(fixture_user(f, "bob").count, 4);
}

static void a_checkpoint_reaches_more_users_than_fit_into_one_step(void **state)
{
    struct fixture *f = *state;
    struct actor a;
    char name[16];

    open_with(f, 1, 0);
    a = fixture_actor(f, "alice", "phone");
    for (unsigned i = 0; i < 150; i++) {
        (void)snprintf(name, sizeof(name), "user%u", i);
        send_many(f, &a, 1 + 2 * i, 2, name);
    }
    fixture_checkpoint(f);
    assert_int_equal(stats_of(f).expired, 150);
    assert_int_equal(fixture_user(f, "user0").count, 1);
    assert_int_equal(fixture_user(f, "user149").count, 1);
}

static void a_step_that_fails_counts_nothing_and_is_made_again(void **state)
{
    struct fixture *f = *state;
    struct actor a;
    uint64_t last;

    open_with(f, 2, 0);
    a = fixture_actor(f, "alice", "phone");
    last = send_many(f, &a, 1, 5, "bob");
    f->fail_step = "checkpoint.expire";
    f->fail_errno = ENOSPC;
    f->fail_after = 1;
    fixture_checkpoint(f);
    assert_int_equal(stats_of(f).expired, 0);
    assert_kept(f, "bob", last - 4, 5);
    pass_ms(f, 1001);
    fixture_settle(f);
    assert_int_equal(stats_of(f).expired, 3);
    assert_kept(f, "bob", last - 1, 2);
}

static void a_checkpoint_that_had_too_much_to_expire_is_followed_by_another(void **state)
{
    enum {
        USERS = 7,
        EACH = 9500,
        EXPIRE_MAX = 65536
    };
    struct fixture *f = *state;
    struct actor a;
    char name[16];

    f->config.map_bytes = (size_t)2 << 30; // the journal keeps all of it
    f->config.journal_checkpoint_ns = HOUR_NS / 2;
    f->config.journal_checkpoint_bytes = f->config.journal_max_bytes;
    open_with(f, 1, 0);
    a = fixture_actor(f, "alice", "phone");
    for (unsigned i = 0; i < USERS; i++) {
        (void)snprintf(name, sizeof(name), "user%u", i);
        send_many(f, &a, 1 + i * EACH, EACH, name);
    }
    assert_int_equal(stats_of(f).checkpoints, 0);
    fixture_checkpoint(f);
    assert_int_equal(stats_of(f).expired, EXPIRE_MAX);
    pass_ms(f, HOUR_NS / 2 / PQB_NS_PER_MS);
    fixture_settle(f);
    assert_int_equal(stats_of(f).expired, USERS * (EACH - 1));
    assert_true(pqb_store_next_deadline(f->s) > f->now + HOUR_NS / 2);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(the_newest_stay_and_what_is_one_too_many_expires_at_the_checkpoint),
        CASE(bytes_up_to_the_limit_stay_and_one_more_costs_the_oldest),
        CASE(the_narrower_of_two_limits_decides),
        CASE(what_is_too_many_in_the_journal_is_never_moved),
        CASE(only_what_some_device_has_not_taken_counts),
        CASE(someone_who_first_logs_in_later_finds_the_newest),
        CASE(lower_limits_after_a_restart_reach_those_who_are_at_rest),
        CASE(a_store_without_any_rule_does_not_wake_for_them),
        CASE(what_grew_old_while_nobody_looked_goes_soon_after_the_start),
        CASE(too_old_and_too_many_go_together),
        CASE(the_quota_refuses_what_comes_before_the_checkpoint),
        CASE(a_checkpoint_reaches_more_users_than_fit_into_one_step),
        CASE(a_checkpoint_that_had_too_much_to_expire_is_followed_by_another),
        CASE(a_step_that_fails_counts_nothing_and_is_made_again),
    };
#undef CASE

    return cmocka_run_group_tests_name("store_retention", tests, NULL, NULL);
}
