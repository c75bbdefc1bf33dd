#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/sim/sim_disk.h"

#define LEN 32

// User 0 on device 0 sends to user 1 on device 1, whose disk is looked at.
struct stage {
    struct sim_oracle o;
    struct sim_app *sender;
    struct sim_disk *disk;
};

static void set(struct stage *s, bool is_atomic)
{
    sim_oracle_init(&s->o);
    (void)sim_oracle_add_user(&s->o);
    (void)sim_oracle_add_user(&s->o);
    s->sender = sim_oracle_add_app(&s->o, sim_oracle_add_device(&s->o, 0));
    s->disk = sim_disk_create(&s->o, sim_oracle_add_device(&s->o, 1), is_atomic);
}

static void strike(struct stage *s)
{
    sim_disk_destroy(s->disk);
    sim_oracle_fini(&s->o);
}

static uint32_t hand_over(struct stage *s, uint32_t message, uint64_t iseq)
{
    uint8_t body[LEN];
    const struct pqb_client_message m = {
        .iseq = iseq, .from = "u0", .device = "d0", .body = body, .len = LEN};

    if (message == SIM_MESSAGE_NONE)
        message = sim_oracle_send(&s->o, s->sender, 1, LEN, false, 1);
    sim_oracle_body(message, body, LEN);
    if (!s->disk->is_atomic)
        sim_disk_take_early(s->disk, &m);
    assert_int_equal(s->disk->store.deliver(s->disk, &m, iseq), 0);
    return message;
}

static uint64_t cursor_after_restart(struct stage *s)
{
    struct pqb_client_saved saved;

    assert_int_equal(s->disk->store.load(s->disk, &saved, NULL, NULL), 0);
    return saved.cursor;
}

static void an_atomic_application_takes_message_and_cursor_together(void **state)
{
    struct stage s;

    (void)state;
    set(&s, true);
    const uint32_t m = hand_over(&s, SIM_MESSAGE_NONE, 1);
    assert_int_equal(s.o.taken_count, 0);
    sim_disk_crash(s.disk, true);
    assert_int_equal(cursor_after_restart(&s), 0);
    (void)hand_over(&s, m, 1);
    assert_int_equal(s.disk->store.sync(s.disk), 0);
    assert_int_equal(s.o.taken_count, 1);
    sim_disk_crash(s.disk, true);
    assert_int_equal(cursor_after_restart(&s), 1);
    assert_string_equal(s.o.failure, "");
    strike(&s);
}

static void another_may_see_again_what_it_took_before_the_cursor_was_stored(void **state)
{
    struct stage s;

    (void)state;
    set(&s, false);
    const uint32_t m = hand_over(&s, SIM_MESSAGE_NONE, 1);
    assert_int_equal(s.o.taken_count, 1);
    sim_disk_crash(s.disk, true);
    assert_int_equal(cursor_after_restart(&s), 0);
    (void)hand_over(&s, m, 1);
    assert_int_equal(s.o.again_count, 1);
    assert_string_equal(s.o.failure, "");
    strike(&s);
}

static void a_killed_process_keeps_what_the_system_holds(void **state)
{
    struct stage s;

    (void)state;
    set(&s, true);
    (void)hand_over(&s, SIM_MESSAGE_NONE, 1);
    sim_disk_crash(s.disk, false);
    assert_int_equal(cursor_after_restart(&s), 1);
    assert_int_equal(s.o.taken_count, 1);
    strike(&s);
}

static bool count_pending(void *arg, const struct pqb_client_pending *pending)
{
    (void)pending;
    ++*(int *)arg;
    return true;
}

static void a_copy_and_its_original_go_separate_ways(void **state)
{
    struct stage s;
    struct sim_disk *copy;
    struct pqb_client_saved saved;
    int count = 0;

    (void)state;
    set(&s, true);
    s.disk->next_message = sim_oracle_send(&s.o, s.disk->app, 0, LEN, false, 1);
    assert_int_equal(s.disk->store.put(s.disk, &(struct pqb_client_pending){.seq = 1, .len = LEN}),
                     0);
    copy = sim_disk_copy(s.disk);
    assert_int_equal(s.disk->store.drop(s.disk, 1), 0);
    assert_int_equal(s.disk->store.load(s.disk, &saved, count_pending, &count), 0);
    assert_int_equal(count, 0);
    assert_int_equal(copy->store.load(copy, &saved, count_pending, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(saved.next_seq, 2);
    sim_disk_destroy(copy);
    strike(&s);
}

static void a_power_cut_brings_back_what_was_dropped_and_not_synced(void **state)
{
    struct stage s;
    struct pqb_client_saved saved;
    int count = 0;

    (void)state;
    set(&s, true);
    s.disk->next_message = sim_oracle_send(&s.o, s.disk->app, 0, LEN, false, 1);
    assert_int_equal(s.disk->store.put(s.disk, &(struct pqb_client_pending){.seq = 1, .len = LEN}),
                     0);
    assert_int_equal(s.disk->store.drop(s.disk, 1), 0);
    sim_disk_crash(s.disk, true);
    assert_int_equal(s.disk->store.load(s.disk, &saved, count_pending, &count), 0);
    assert_int_equal(count, 1);
    strike(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_atomic_application_takes_message_and_cursor_together),
        cmocka_unit_test(another_may_see_again_what_it_took_before_the_cursor_was_stored),
        cmocka_unit_test(a_killed_process_keeps_what_the_system_holds),
        cmocka_unit_test(a_copy_and_its_original_go_separate_ways),
        cmocka_unit_test(a_power_cut_brings_back_what_was_dropped_and_not_synced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
