// What a store does by itself: checkpoints, retention, generations, refusing for want of space,
// copies, and what it makes of damage.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/base/err.h"
#include "tests/unit/store_fixture.h"

#define DAY_MS UINT64_C(86400000)

static int setup(void **state)
{
    struct fixture *f = malloc(sizeof(*f));

    fixture_init(f);
    fixture_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_fini(*state);
    free(*state);
    return 0;
}

static void pass_ms(struct fixture *f, uint64_t ms)
{
    f->now += ms * PQB_NS_PER_MS;
    f->wall += ms;
}

static struct pqb_store_stats stats_of(const struct fixture *f)
{
    struct pqb_store_stats stats;

    pqb_store_get_stats(f->s, &stats);
    return stats;
}

// ---------------------------------------------------------------------------------- checkpoints

static void a_message_to_someone_who_never_logged_in_outlives_checkpoints(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct actor b;
    uint64_t iseq, found;
    char body[32];

    assert_int_equal(fixture_send(f, &a, 1, "bob", "early", &iseq), PQB_RESULT_DONE);
    fixture_checkpoint(f);
    fixture_checkpoint(f);
    fixture_reopen(f);
    b = fixture_actor(f, "bob", "phone");
    assert_int_equal(b.cursor, iseq - 1);
    assert_true(fixture_read(f, b.uid, b.cursor + 1, &found, body, sizeof(body)));
    assert_int_equal(found, iseq);
    assert_string_equal(body, "early");
}

static void an_acknowledged_message_is_left_behind_and_never_written_again(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct actor b = fixture_actor(f, "bob", "phone");
    struct pqb_store_stats stats;
    uint64_t first, second, found;
    char body[32];

    assert_int_equal(fixture_send(f, &a, 1, "bob", "1", &first), PQB_RESULT_DONE);
    assert_int_equal(fixture_send(f, &a, 2, "bob", "2", &second), PQB_RESULT_DONE);
    assert_int_equal(fixture_ack(f, &b, first), PQB_RESULT_DONE);
    fixture_checkpoint(f);
    stats = stats_of(f);
    assert_int_equal(stats.checkpoint_moved, 1);
    assert_int_equal(stats.checkpoint_left_behind, 1);
    assert_int_equal(stats.journal_records, 0);
    assert_true(fixture_read(f, b.uid, 0, &found, body, sizeof(body)));
    assert_int_equal(found, second);
}

static void a_slow_second_device_keeps_what_the_first_has_acknowledged(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct actor phone = fixture_actor(f, "bob", "phone");
    struct actor tablet = fixture_actor(f, "bob", "tablet");
    uint64_t iseq, found;
    char body[32];

    assert_int_equal(fixture_send(f, &a, 1, "bob", "1", &iseq), PQB_RESULT_DONE);
    assert_int_equal(fixture_ack(f, &phone, iseq), PQB_RESULT_DONE);
    assert_int_equal(fixture_user(f, "bob").delivered, iseq);
    fixture_checkpoint(f);
    assert_true(fixture_read(f, tablet.uid, 0, &found, body, sizeof(body)));
    assert_int_equal(fixture_user(f, "bob").count, 1);
    assert_int_equal(fixture_ack(f, &tablet, iseq), PQB_RESULT_DONE);
    assert_int_equal(fixture_user(f, "bob").count, 0);
    fixture_checkpoint(f);
    assert_false(fixture_read(f, tablet.uid, 0, &found, body, sizeof(body)));
}

static void a_new_device_starts_at_the_slowest_one_and_acknowledges_nothing(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct actor phone = fixture_actor(f, "bob", "phone");
    struct actor tablet;
    uint64_t first, second;

    assert_int_equal(fixture_send(f, &a, 1, "bob", "1", &first), PQB_RESULT_DONE);
    assert_int_equal(fixture_send(f, &a, 2, "bob", "2", &second), PQB_RESULT_DONE);
    assert_int_equal(fixture_ack(f, &phone, first), PQB_RESULT_DONE);
    tablet = fixture_actor(f, "bob", "tablet");
    assert_int_equal(tablet.cursor, first);
    assert_int_equal(fixture_user(f, "bob").delivered, first);
}

static void gseq_goes_on_above_an_emptied_journal(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    uint64_t end;

    assert_int_equal(fixture_send(f, &a, 1, "bob", "1", NULL), PQB_RESULT_DONE);
    fixture_checkpoint(f);
    assert_int_equal(pqb_view_begin(f->v), PQB_OK);
    end = pqb_view_journal_end(f->v);
    assert_int_equal(pqb_view_journal_first(f->v), end);
    pqb_view_end(f->v);
    assert_true(end > 4);
    fixture_reopen(f);
    assert_int_equal(fixture_send(f, &a, 2, "bob", "2", NULL), PQB_RESULT_DONE);
    assert_int_equal(pqb_view_begin(f->v), PQB_OK);
    assert_int_equal(pqb_view_journal_first(f->v), end);
    pqb_view_end(f->v);
}

static void a_checkpoint_comes_by_bytes_and_by_time(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    char body[1024] = {0};

    assert_in_range(pqb_store_next_deadline(f->s), f->config.journal_checkpoint_ns,
                    f->now + f->config.journal_checkpoint_ns);
    pass_ms(f, f->config.journal_checkpoint_ns / PQB_NS_PER_MS);
    fixture_settle(f);
    assert_int_equal(stats_of(f).checkpoints, 1);
    fixture_close(f);
    f->config.journal_checkpoint_bytes = 2000;
    f->config.retention_ms = f->config.device_idle_ms = 0; // nothing to look for at start
    fixture_open(f);
    memset(body, 'x', sizeof(body) - 1);
    assert_int_equal(fixture_send(f, &a, 1, "bob", body, NULL), PQB_RESULT_DONE);
    fixture_settle(f);
    assert_int_equal(stats_of(f).checkpoints, 0);
    assert_int_equal(fixture_send(f, &a, 2, "bob", body, NULL), PQB_RESULT_DONE);
    fixture_settle(f);
    assert_int_equal(stats_of(f).checkpoints, 1);
}

static void users_beyond_the_cache_are_let_go_and_come_back_whole(void **state)
{
    struct fixture *f = *state;
    struct actor a;

    fixture_close(f);
    f->config.users_cached_max = 0;
    fixture_open(f);
    a = fixture_actor(f, "alice", "phone");
    assert_int_equal(fixture_send(f, &a, 1, "bob", "1", NULL), PQB_RESULT_DONE);
    fixture_checkpoint(f);
    fixture_checkpoint(f);
    assert_int_equal(stats_of(f).users_cached, 0);
    assert_int_equal(fixture_send(f, &a, 1, "bob", "1", NULL), PQB_RESULT_DUPLICATE);
    assert_int_equal(fixture_user(f, "bob").count, 1);
}

// More than are let go at a time, and none of them can be.
static void verify_goes_through_users_that_stand_in_rows_and_in_the_journal(void **state)
{
    enum {
        USERS = 3000
    };
    struct fixture *f = *state;
    struct pqb_verify_report report;
    struct actor a;
    uint64_t seq = 0;
    char to[16];

    fixture_close(f);
    f->config.users_per_sender_max = USERS;
    fixture_open(f);
    a = fixture_actor(f, "alice", "phone");
    for (int round = 0; round < 2; round++) {
        fixture_checkpoint(f);
        for (int i = 0; i < USERS; i++) {
            (void)snprintf(to, sizeof(to), "user%d", i);
            assert_int_equal(fixture_send(f, &a, ++seq, to, "1", NULL), PQB_RESULT_DONE);
        }
    }
    fixture_close(f);
    assert_int_equal(pqb_store_verify(f->path, NULL, NULL, &report), PQB_OK);
    assert_int_equal(report.findings, 0);
    assert_int_equal(report.users, USERS + 1);
}

// ---------------------------------------------------------------------------------- retention

static void messages_expire_by_age_and_the_tail_says_so(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct actor b = fixture_actor(f, "bob", "phone");
    uint64_t old, young, found;
    char body[32];

    assert_int_equal(fixture_send(f, &a, 1, "bob", "old", &old), PQB_RESULT_DONE);
    fixture_checkpoint(f);
    pass_ms(f, f->config.retention_ms - DAY_MS);
    assert_int_equal(fixture_send(f, &a, 2, "bob", "young", &young), PQB_RESULT_DONE);
    fixture_checkpoint(f);
    assert_int_equal(stats_of(f).expired, 0);
    pass_ms(f, 2 * DAY_MS);
    fixture_checkpoint(f);
    assert_int_equal(stats_of(f).expired, 1);
    assert_int_equal(fixture_user(f, "bob").tail, young);
    assert_int_equal(fixture_user(f, "bob").count, 1);
    assert_int_equal(fixture_user(f, "bob").delivered, 0); // expiry delivers nothing
    fixture_checkpoint(f);
    assert_true(fixture_read(f, b.uid, 0, &found, body, sizeof(body)));
    assert_int_equal(found, young);
    fixture_reopen(f);
    assert_int_equal(fixture_user(f, "bob").tail, young);
}

static void a_silent_device_is_forgotten_and_what_it_held_is_freed(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct actor phone = fixture_actor(f, "bob", "phone");
    struct pqb_request *r;
    uint64_t iseq;

    (void)fixture_actor(f, "bob", "tablet");
    fixture_checkpoint(f);
    pass_ms(f, f->config.device_idle_ms - DAY_MS);
    assert_int_equal(fixture_send(f, &a, 1, "bob", "1", &iseq), PQB_RESULT_DONE);
    assert_int_equal(fixture_ack(f, &phone, iseq), PQB_RESULT_DONE);
    assert_int_equal(fixture_user(f, "bob").count, 1); // the tablet has not taken it
    pass_ms(f, 2 * DAY_MS);
    fixture_checkpoint(f); // as far as rows tell
    fixture_checkpoint(f);
    assert_int_equal(stats_of(f).devices_forgotten, 1);
    assert_int_equal(fixture_user(f, "bob").count, 0);
    r = make_login("bob", "tablet");
    r->op = PQB_OP_LOOKUP;
    r = fixture_run(f, r);
    assert_int_equal(r->result, PQB_RESULT_UNKNOWN);
    assert_int_equal(r->device_state.cursor, iseq);
    pqb_request_destroy(r);
}

static void a_wall_clock_far_ahead_at_start_expires_nothing_until_confirmed(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");

    assert_int_equal(fixture_send(f, &a, 1, "bob", "1", NULL), PQB_RESULT_DONE);
    fixture_checkpoint(f);
    fixture_close(f);
    f->wall += 365 * DAY_MS;
    fixture_open(f);
    fixture_checkpoint(f);
    fixture_checkpoint(f);
    assert_int_equal(stats_of(f).is_clock_doubted, 1);
    assert_int_equal(fixture_user(f, "bob").count, 1);
    pqb_store_confirm_clock(f->s);
    fixture_checkpoint(f);
    assert_int_equal(stats_of(f).is_clock_doubted, 0);
    assert_int_equal(fixture_user(f, "bob").count, 0);
}

// ---------------------------------------------------------------------------------- generations

static void a_cursor_above_the_head_is_refused_and_a_rollback_begins_a_generation(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct actor b = fixture_actor(f, "bob", "phone");
    struct pqb_request *r;
    uint64_t iseq;

    assert_int_equal(fixture_send(f, &a, 1, "bob", "1", &iseq), PQB_RESULT_DONE);
    assert_int_equal(fixture_ack(f, &b, iseq + 1), PQB_RESULT_REFUSED);
    assert_int_equal(fixture_user(f, "bob").delivered, 0);
    r = make_op(PQB_OP_ROLLBACK, b.uid, b.devno);
    r->cursor = iseq + 100;
    r = fixture_run(f, r);
    assert_int_equal(r->user_state.generation_first, PQB_ISEQ_MAKE(FIXTURE_GENERATION + 1, 1));
    assert_int_equal(r->user_state.head, PQB_ISEQ_MAKE(FIXTURE_GENERATION + 1, 0));
    assert_int_equal(r->user_state.tail, iseq); // still to be delivered
    pqb_request_destroy(r);
    assert_int_equal(fixture_ack(f, &b, iseq + 100), PQB_RESULT_DONE); // below the new head
    assert_int_equal(fixture_send(f, &a, 2, "bob", "2", &iseq), PQB_RESULT_DONE);
    assert_int_equal(iseq, PQB_ISEQ_MAKE(FIXTURE_GENERATION + 1, 1));
    r = make_op(PQB_OP_ROLLBACK, b.uid, b.devno);
    r->cursor = iseq; // not above the head: it proves nothing
    r = fixture_run(f, r);
    assert_int_equal(r->user_state.generation_first, PQB_ISEQ_MAKE(FIXTURE_GENERATION + 1, 1));
    pqb_request_destroy(r);
}

static void a_generation_begins_above_the_cursor_that_proves_the_rollback(void **state)
{
    struct fixture *f = *state;
    struct actor b = fixture_actor(f, "bob", "phone");
    const uint32_t shown = FIXTURE_GENERATION + 50;
    struct pqb_request *r;

    r = make_op(PQB_OP_ROLLBACK, b.uid, b.devno);
    r->cursor = PQB_ISEQ_MAKE(shown, 7);
    r = fixture_run(f, r);
    assert_int_equal(r->user_state.generation_first, PQB_ISEQ_MAKE(shown + 1, 1));
    pqb_request_destroy(r);
    r = make_op(PQB_OP_ROLLBACK, b.uid, b.devno);
    r->cursor = UINT64_MAX; // a lie; the positions left are not given away for it
    r = fixture_run(f, r);
    assert_int_equal(r->user_state.generation_first, PQB_ISEQ_MAKE(shown + 2, 1));
    pqb_request_destroy(r);
}

static void a_restored_backup_ends_the_epochs_that_it_knew(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct fixture g;
    uint64_t iseq;

    assert_int_equal(fixture_send(f, &a, 1, "bob", "1", NULL), PQB_RESULT_DONE);
    fixture_init(&g);
    assert_int_equal(rmdir(g.path), 0);
    assert_int_equal(pqb_store_backup(f->s, g.path, 1000), PQB_OK);
    // Accepted and perhaps shown; its sender has not heard of it and sends it again.
    assert_int_equal(fixture_send(f, &a, 2, "bob", "2", &iseq), PQB_RESULT_DONE);
    fixture_open(&g);
    assert_int_equal(fixture_send(&g, &a, 2, "bob", "2", &iseq), PQB_RESULT_REFUSED);
    fixture_reopen(&g);
    assert_int_equal(fixture_send(&g, &a, 2, "bob", "2", &iseq), PQB_RESULT_REFUSED);
    struct pqb_request *r = fixture_run(&g, make_login("alice", "phone"));
    assert_int_equal(r->device_state.epoch, 0);
    assert_int_equal(r->device_state.consumed.count, 0);
    pqb_request_destroy(r);
    assert_true(fixture_actor(&g, "alice", "phone").epoch > a.epoch);
    fixture_fini(&g);
}

static void a_restored_backup_hands_out_nothing_twice(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct fixture g;
    // Above what an unclean async store may have begun after the copy was taken.
    const uint32_t restored = FIXTURE_GENERATION + 1 + 4096;
    struct pqb_verify_report report;
    struct actor carol;
    uint64_t before, after, found;
    char body[32];

    assert_int_equal(fixture_send(f, &a, 1, "bob", "1", NULL), PQB_RESULT_DONE);
    fixture_checkpoint(f);
    assert_int_equal(fixture_send(f, &a, 2, "bob", "2", &before), PQB_RESULT_DONE);
    fixture_init(&g);
    assert_int_equal(rmdir(g.path), 0);
    assert_int_equal(pqb_store_backup(f->s, g.path, 1000), PQB_OK);
    assert_int_equal(pqb_store_backup(f->s, g.path, 1000), PQB_ERR_EXISTS);
    assert_int_equal(pqb_store_verify(g.path, NULL, NULL, &report), PQB_OK);
    assert_int_equal(report.findings, 0);
    assert_int_equal(report.inbox_messages, 1);
    assert_int_equal(report.journal_messages, 1);
    assert_int_equal(report.users, 2);
    assert_int_equal(fixture_send(f, &a, 3, "bob", "lost", &before), PQB_RESULT_DONE);
    carol = fixture_actor(f, "carol", "phone");

    fixture_open(&g);
    assert_true(fixture_read(&g, fixture_user(&g, "bob").uid, 0, &found, body, sizeof(body)));
    assert_string_equal(body, "1");
    a = fixture_actor(&g, "alice", "phone");
    assert_int_equal(fixture_send(&g, &a, 3, "bob", "new", &after), PQB_RESULT_DONE);
    assert_int_equal(after, PQB_ISEQ_MAKE(restored, 1));
    assert_true(fixture_actor(&g, "dave", "phone").epoch > carol.epoch);
    assert_true(fixture_actor(&g, "erin", "phone").uid > carol.uid);
    fixture_reopen(&g); // the mark is used up: no further generation
    assert_int_equal(fixture_send(&g, &a, 4, "bob", "4", &after), PQB_RESULT_DONE);
    assert_int_equal(after, PQB_ISEQ_MAKE(restored, 2));
    fixture_fini(&g);
}

static void a_backup_into_nowhere_is_an_error(void **state)
{
    struct fixture *f = *state;
    char path[300];

    (void)snprintf(path, sizeof(path), "%s/nowhere/copy", f->path);
    assert_int_equal(pqb_store_backup(f->s, path, 1000), PQB_ERR_NOT_FOUND);
}

static void a_backup_over_its_page_budget_gives_up_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    char path[300];

    // The pages that the last commit let go of are held back by any snapshot.
    assert_int_equal(fixture_send(f, &a, 1, "bob", "1", NULL), PQB_RESULT_DONE);
    (void)snprintf(path, sizeof(path), "%s-copy", f->path);
    assert_int_equal(pqb_store_backup(f->s, path, 0), PQB_ERR_NO_SPACE);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(fixture_send(f, &a, 2, "bob", "2", NULL), PQB_RESULT_DONE);
}

static int send_async_after(struct fixture *f, const struct actor *a, uint64_t seq, uint64_t after)
{
    struct pqb_request *r = make_msg(a->uid, a->devno, a->epoch, seq, "bob", "x");

    r->after = after;
    assert_int_equal(pqb_store_submit(f->s, r), PQB_OK);
    fixture_step(f);
    r = pqb_store_poll(f->s, 0);
    if (r == NULL)
        return -1;
    const int result = (int)r->result;

    pqb_request_destroy(r);
    return result;
}

static int send_async(struct fixture *f, const struct actor *a, uint64_t seq)
{
    return send_async_after(f, a, seq, 0);
}

static void async_answers_messages_early_commits_soon_and_jumps_after_a_crash(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct pqb_record record;
    uint64_t commits, gseq, iseq;

    fixture_close(f);
    f->config.durability = PQB_DURABILITY_ASYNC;
    fixture_open(f);
    commits = stats_of(f).commits;
    assert_int_equal(pqb_view_begin(f->v), PQB_OK);
    gseq = pqb_view_journal_end(f->v);
    pqb_view_end(f->v);
    assert_int_equal(send_async(f, &a, 1), PQB_RESULT_DONE);
    assert_int_equal(stats_of(f).commits, commits);
    assert_int_equal(pqb_view_begin(f->v), PQB_OK);
    assert_int_equal(pqb_view_tail(f->v, &gseq, &record), PQB_ERR_NOT_FOUND);
    pqb_view_end(f->v);
    assert_int_equal(pqb_store_next_deadline(f->s), f->now + 100 * PQB_NS_PER_MS);
    pass_ms(f, 100);
    fixture_step(f);
    assert_int_equal(stats_of(f).commits, commits + 1);
    assert_int_equal(send_async(f, &a, 2), PQB_RESULT_DONE);
    fixture_reopen(f); // seq 2 is lost, its position must not come again
    assert_int_equal(send_async(f, &a, 2), PQB_RESULT_DONE);
    pass_ms(f, 100);
    fixture_step(f);
    iseq = fixture_user(f, "bob").head;
    assert_int_equal(iseq, PQB_ISEQ_MAKE(FIXTURE_GENERATION + 1, 1));
    fixture_close(f); // in order: no jump
    fixture_open(f);
    assert_int_equal(fixture_send(f, &a, 3, "bob", "x", &iseq), PQB_RESULT_DONE);
    assert_int_equal(iseq, PQB_ISEQ_MAKE(FIXTURE_GENERATION + 1, 2));
}

static void async_gives_back_what_overtook_its_leader_before_it_answers_the_leader(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");

    fixture_close(f);
    f->config.durability = PQB_DURABILITY_ASYNC;
    fixture_open(f);
    assert_int_equal(send_async_after(f, &a, 2, 1), PQB_RESULT_TRANSIENT);
    assert_int_equal(send_async(f, &a, 1), PQB_RESULT_DONE);
    assert_int_equal(send_async_after(f, &a, 2, 1), PQB_RESULT_DONE);
}

// ---------------------------------------------------------------------------------- damage

// Flips one bit of the last copy of `text` in the data file.
static void damage(const struct fixture *f, const char *text)
{
    char name[300];
    static char content[8 << 20];
    size_t at = SIZE_MAX;
    ssize_t len;
    int fd;

    (void)snprintf(name, sizeof(name), "%s/data.mdb", f->path);
    fd = open(name, O_RDWR);
    assert_true(fd >= 0);
    len = read(fd, content, sizeof(content));
    assert_true(len > 0);
    for (size_t i = 0; i + strlen(text) <= (size_t)len; i++) {
        if (memcmp(content + i, text, strlen(text)) == 0) {
            content[i] ^= 0x10; // old pages hold copies too
            assert_int_equal(pwrite(fd, content + i, 1, (off_t)i), 1);
            at = i;
        }
    }
    assert_int_not_equal(at, SIZE_MAX);
    close(fd);
}

static void a_damaged_record_is_passed_over_and_begins_a_generation(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct pqb_verify_report report;
    uint64_t iseq, found;
    char body[32];

    assert_int_equal(fixture_send(f, &a, 1, "bob", "first letter", NULL), PQB_RESULT_DONE);
    assert_int_equal(fixture_send(f, &a, 2, "bob", "damaged letter", NULL), PQB_RESULT_DONE);
    assert_int_equal(fixture_send(f, &a, 3, "bob", "third letter", &iseq), PQB_RESULT_DONE);
    f->is_damaged = true;
    fixture_crash(f);
    damage(f, "damaged letter");
    assert_int_equal(pqb_store_verify(f->path, NULL, NULL, &report), PQB_OK);
    assert_true(report.findings > 0);
    fixture_open(f);
    assert_int_equal(stats_of(f).records_bad, 1);
    assert_true(fixture_read(f, fixture_user(f, "bob").uid, iseq - 1, &found, body, sizeof(body)));
    assert_int_equal(found, iseq); // a hole, then what came after
    assert_string_equal(body, "third letter");
    assert_int_equal(fixture_send(f, &a, 4, "bob", "4", &iseq), PQB_RESULT_DONE);
    assert_int_equal(iseq, PQB_ISEQ_MAKE(FIXTURE_GENERATION + 1, 1));
    fixture_checkpoint(f);
    fixture_reopen(f);
    assert_int_equal(stats_of(f).records_bad, 0);
    assert_int_equal(fixture_send(f, &a, 5, "bob", "5", &iseq), PQB_RESULT_DONE);
    assert_int_equal(iseq, PQB_ISEQ_MAKE(FIXTURE_GENERATION + 1, 2));
}

static void a_known_damaged_record_begins_only_one_generation(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    uint64_t iseq;

    assert_int_equal(fixture_send(f, &a, 1, "bob", "damaged letter", NULL), PQB_RESULT_DONE);
    f->is_damaged = true;
    fixture_crash(f);
    damage(f, "damaged letter");
    fixture_open(f);
    fixture_reopen(f);
    assert_int_equal(stats_of(f).records_bad, 1);
    assert_int_equal(fixture_send(f, &a, 2, "bob", "2", &iseq), PQB_RESULT_DONE);
    assert_int_equal(PQB_ISEQ_GENERATION(iseq), FIXTURE_GENERATION + 1);
}

static void a_damaged_inbox_row_says_which_position_it_was(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct pqb_message m;
    uint64_t iseq;

    assert_int_equal(fixture_send(f, &a, 1, "bob", "damaged letter", &iseq), PQB_RESULT_DONE);
    assert_int_equal(fixture_send(f, &a, 2, "bob", "whole letter", NULL), PQB_RESULT_DONE);
    fixture_checkpoint(f);
    f->is_damaged = true;
    fixture_crash(f);
    damage(f, "damaged letter");
    fixture_open(f);
    const uint64_t uid = fixture_user(f, "bob").uid;

    assert_int_equal(pqb_view_begin(f->v), PQB_OK);
    assert_int_equal(pqb_view_inbox_message(f->v, uid, 0, &m), PQB_ERR_CORRUPT);
    assert_int_equal(m.iseq, iseq);
    assert_int_equal(pqb_view_inbox_message(f->v, uid, iseq + 1, &m), PQB_OK);
    pqb_view_end(f->v);
}

static void a_damaged_inbox_row_is_off_the_counts_when_all_is_taken(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct actor b = fixture_actor(f, "bob", "phone");
    uint64_t iseq;

    assert_int_equal(fixture_send(f, &a, 1, "bob", "damaged letter", NULL), PQB_RESULT_DONE);
    assert_int_equal(fixture_send(f, &a, 2, "bob", "whole letter", &iseq), PQB_RESULT_DONE);
    fixture_checkpoint(f);
    f->is_damaged = true;
    fixture_crash(f);
    damage(f, "damaged letter");
    fixture_open(f);
    assert_int_equal(fixture_ack(f, &b, iseq - 1), PQB_RESULT_DONE);
    assert_int_equal(fixture_user(f, "bob").count, 1);
    assert_int_equal(fixture_ack(f, &b, iseq), PQB_RESULT_DONE);
    assert_int_equal(fixture_user(f, "bob").count, 0);
    assert_int_equal(fixture_user(f, "bob").bytes, 0);
}

static void a_damaged_device_row_forgets_the_device_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct actor b = fixture_actor(f, "bob", "damaged tablet");
    struct pqb_request *r;

    assert_int_equal(fixture_send(f, &a, 1, "bob", "1", NULL), PQB_RESULT_DONE);
    fixture_checkpoint(f);
    f->is_damaged = true;
    fixture_crash(f);
    damage(f, "damaged tablet");
    fixture_open(f);
    r = fixture_run(f, make_login("bob", "damaged tablet"));
    assert_int_equal(r->result, PQB_RESULT_DONE);
    assert_int_equal(r->device_state.devno, b.devno + 1);
    assert_int_equal(r->device_state.epoch, 0); // its old queue meets nack(epoch)
    assert_int_equal(r->device_state.cursor, r->user_state.tail - 1);
    pqb_request_destroy(r);
    assert_int_equal(stats_of(f).records_bad, 1);
    assert_int_equal(fixture_user(f, "bob").count, 1);
    fixture_checkpoint(f);
    f->is_damaged = false; // nothing of it is left
    fixture_reopen(f);
}

// ---------------------------------------------------------------------------------- space

static void a_full_disk_refuses_messages_takes_cursors_and_heals(void **state)
{
    struct fixture *f = *state;
    struct actor a, b;
    static char body[4001];
    uint64_t seq = 1, iseq = 0, last = 0;
    enum pqb_result result = PQB_RESULT_DONE;

    fixture_close(f);
    f->config.map_bytes = (size_t)4 << 20;
    f->config.inbox_bytes_max = UINT64_C(1) << 30;
    fixture_open(f);
    a = fixture_actor(f, "alice", "phone");
    b = fixture_actor(f, "bob", "phone");
    memset(body, 'x', sizeof(body) - 1);
    for (; seq < 5000 && result == PQB_RESULT_DONE; seq++) {
        result = fixture_send(f, &a, seq, "bob", body, &iseq);
        if (result == PQB_RESULT_DONE)
            last = iseq;
        if (result == PQB_RESULT_TRANSIENT) {
            fixture_settle(f); // the journal's limit comes first; a checkpoint makes room
            result = fixture_send(f, &a, seq, "bob", body, &iseq);
            if (result == PQB_RESULT_DONE)
                last = iseq;
        }
    }
    assert_int_equal(result, PQB_RESULT_TRANSIENT);
    assert_int_equal(stats_of(f).is_degraded, 1);
    assert_true(stats_of(f).map_used_bytes >= f->config.map_bytes / 100 * 80);
    assert_int_equal(fixture_ack(f, &b, last), PQB_RESULT_DONE);
    for (int i = 0; i < 3; i++) { // by itself, and soon
        pass_ms(f, 1100);
        fixture_settle(f);
    }
    assert_int_equal(stats_of(f).is_degraded, 0);
    assert_int_equal(fixture_send(f, &a, seq - 1, "bob", body, NULL), PQB_RESULT_DONE);
}

static void a_batch_that_does_not_fit_goes_on_without_its_messages(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct actor b = fixture_actor(f, "bob", "phone");
    struct pqb_request *message, *cursor;
    uint64_t iseq;

    assert_int_equal(fixture_send(f, &a, 1, "bob", "1", &iseq), PQB_RESULT_DONE);
    message = make_msg(a.uid, a.devno, a.epoch, 2, "bob", "2");
    cursor = make_op(PQB_OP_CURSOR, b.uid, b.devno);
    cursor->cursor = iseq;
    f->fail_step = "batch.commit";
    f->fail_errno = ENOSPC;
    f->fail_after = 1;
    assert_int_equal(pqb_store_submit(f->s, message), PQB_OK);
    assert_int_equal(pqb_store_submit(f->s, cursor), PQB_OK);
    fixture_step(f);
    assert_ptr_equal(pqb_store_poll(f->s, 0), message);
    assert_ptr_equal(pqb_store_poll(f->s, 0), cursor);
    assert_int_equal(message->result, PQB_RESULT_TRANSIENT);
    assert_int_equal(message->nack, PQB_NACK_STORAGE);
    assert_int_equal(cursor->result, PQB_RESULT_DONE);
    assert_int_equal(cursor->user_state.delivered, iseq);
    pqb_request_destroy(message);
    pqb_request_destroy(cursor);
    assert_int_equal(stats_of(f).degraded_entries, 1);
    pass_ms(f, 1001);
    fixture_step(f);
    assert_int_equal(fixture_send(f, &a, 2, "bob", "2", NULL), PQB_RESULT_DONE);
}

// Opens a store whose data file is `len` bytes, all of value `fill`.
static int open_over(struct fixture *f, size_t len, int fill)
{
    char file[300];
    uint8_t bytes[8192];
    FILE *out;

    fixture_close(f);
    (void)snprintf(file, sizeof(file), "%s/data.mdb", f->path);
    memset(bytes, fill, sizeof(bytes));
    out = fopen(file, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, len, out), len);
    assert_int_equal(fclose(out), 0);
    return pqb_store_open(&f->s, &f->config, f->now, f->wall);
}

static void a_store_is_made_again_when_power_was_lost_at_its_making(void **state)
{
    struct fixture *f = *state;

    for (size_t len = 0; len <= 8192; len += 512) {
        assert_int_equal(open_over(f, len, 0), PQB_OK);
        assert_int_equal(pqb_view_create(f->s, &f->v), PQB_OK);
    }
    (void)fixture_actor(f, "alice", "phone");
}

static void a_small_file_of_something_else_is_left_alone(void **state)
{
    struct fixture *f = *state;
    char file[300];

    (void)snprintf(file, sizeof(file), "%s/data.mdb", f->path);
    assert_int_equal(open_over(f, 700, 'x'), PQB_ERR_VERSION);
    assert_null(f->s);
    assert_int_equal(access(file, R_OK), 0);
    assert_int_equal(unlink(file), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_store_is_made_again_when_power_was_lost_at_its_making),
        CASE(a_small_file_of_something_else_is_left_alone),
        CASE(a_message_to_someone_who_never_logged_in_outlives_checkpoints),
        CASE(an_acknowledged_message_is_left_behind_and_never_written_again),
        CASE(a_slow_second_device_keeps_what_the_first_has_acknowledged),
        CASE(a_new_device_starts_at_the_slowest_one_and_acknowledges_nothing),
        CASE(gseq_goes_on_above_an_emptied_journal),
        CASE(a_checkpoint_comes_by_bytes_and_by_time),
        CASE(users_beyond_the_cache_are_let_go_and_come_back_whole),
        CASE(verify_goes_through_users_that_stand_in_rows_and_in_the_journal),
        CASE(messages_expire_by_age_and_the_tail_says_so),
        CASE(a_silent_device_is_forgotten_and_what_it_held_is_freed),
        CASE(a_wall_clock_far_ahead_at_start_expires_nothing_until_confirmed),
        CASE(a_cursor_above_the_head_is_refused_and_a_rollback_begins_a_generation),
        CASE(a_generation_begins_above_the_cursor_that_proves_the_rollback),
        CASE(a_restored_backup_ends_the_epochs_that_it_knew),
        CASE(a_restored_backup_hands_out_nothing_twice),
        CASE(a_backup_into_nowhere_is_an_error),
        CASE(a_backup_over_its_page_budget_gives_up_and_leaves_nothing),
        CASE(async_answers_messages_early_commits_soon_and_jumps_after_a_crash),
        CASE(async_gives_back_what_overtook_its_leader_before_it_answers_the_leader),
        CASE(a_damaged_record_is_passed_over_and_begins_a_generation),
        CASE(a_known_damaged_record_begins_only_one_generation),
        CASE(a_damaged_inbox_row_says_which_position_it_was),
        CASE(a_damaged_inbox_row_is_off_the_counts_when_all_is_taken),
        CASE(a_damaged_device_row_forgets_the_device_and_nothing_else),
        CASE(a_full_disk_refuses_messages_takes_cursors_and_heals),
        CASE(a_batch_that_does_not_fit_goes_on_without_its_messages),
    };
#undef CASE

    return cmocka_run_group_tests_name("store_upkeep", tests, NULL, NULL);
}
