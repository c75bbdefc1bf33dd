// The store as a shard sees it: requests, completions, views, crash and reopen.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "tests/unit/store_fixture.h"

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

static void an_accepted_message_survives_a_crash(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct actor b = fixture_actor(f, "bob", "phone");
    uint64_t iseq, found;
    char body[64];

    assert_int_equal(fixture_send(f, &a, 1, "bob", "hello", &iseq), PQB_RESULT_DONE);
    assert_int_equal(iseq, PQB_ISEQ_MAKE(FIXTURE_GENERATION, 1));
    fixture_reopen(f);
    assert_true(fixture_read(f, b.uid, 0, &found, body, sizeof(body)));
    assert_int_equal(found, iseq);
    assert_string_equal(body, "hello");
    assert_int_equal(fixture_send(f, &a, 1, "bob", "hello", &found), PQB_RESULT_DUPLICATE);
    assert_int_equal(found, iseq);
    assert_int_equal(fixture_send(f, &a, 1, "bob", "other", &found), PQB_RESULT_REFUSED);
}

static void what_was_not_committed_is_gone_after_a_crash(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct pqb_request *r = make_msg(a.uid, a.devno, a.epoch, 1, "bob", "x");

    assert_int_equal(pqb_store_submit(f->s, r), PQB_OK);
    fixture_reopen(f);
    assert_int_equal(fixture_user(f, "bob").uid, 0);
    assert_int_equal(fixture_send(f, &a, 1, "bob", "x", NULL), PQB_RESULT_DONE);
}

static void a_large_message_comes_back_whole_from_journal_and_inbox(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    static char sent[PQB_BODY_MAX + 1], got[PQB_BODY_MAX + 1];
    uint64_t found;

    for (size_t i = 0; i < PQB_BODY_MAX; i++)
        sent[i] = (char)('a' + i % 23);
    assert_int_equal(fixture_send(f, &a, 1, "bob", sent, NULL), PQB_RESULT_DONE);
    const uint64_t uid = fixture_user(f, "bob").uid;

    assert_true(fixture_read(f, uid, 0, &found, got, sizeof(got)));
    assert_string_equal(got, sent);
    fixture_checkpoint(f);
    memset(got, 0, sizeof(got));
    assert_true(fixture_read(f, uid, 0, &found, got, sizeof(got)));
    assert_string_equal(got, sent);
}

static void a_body_above_the_limit_is_refused_and_the_refusal_is_remembered(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    static char big[PQB_BODY_MAX + 2];

    memset(big, 'x', PQB_BODY_MAX + 1);
    for (int i = 0; i < 3; i++) {
        struct pqb_request *r = fixture_run(f, make_msg(a.uid, a.devno, a.epoch, 1, "bob", big));

        assert_int_equal(r->result, PQB_RESULT_REFUSED);
        assert_int_equal(r->nack, PQB_NACK_TOO_LARGE);
        assert_int_equal(r->state, PQB_STATE_REFUSED);
        pqb_request_destroy(r);
        if (i == 1)
            fixture_reopen(f);
    }
}

static void a_batch_is_committed_once_and_completed_in_order(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct pqb_store_stats before, after;

    pqb_store_get_stats(f->s, &before);
    for (uint64_t seq = 1; seq <= 20; seq++) {
        struct pqb_request *r = make_msg(a.uid, a.devno, a.epoch, seq, "bob", "x");

        r->after = seq - 1; // each waits for the one before it, in the same batch
        assert_int_equal(pqb_store_submit(f->s, r), PQB_OK);
    }
    fixture_step(f);
    for (uint64_t seq = 1; seq <= 20; seq++) {
        struct pqb_request *r = pqb_store_poll(f->s, 0);

        assert_non_null(r);
        assert_int_equal(r->seq, seq);
        assert_int_equal(r->result, PQB_RESULT_DONE);
        assert_int_equal(r->iseq, PQB_ISEQ_MAKE(FIXTURE_GENERATION, seq));
        pqb_request_destroy(r);
    }
    pqb_store_get_stats(f->s, &after);
    assert_int_equal(after.commits - before.commits, 1);
    assert_int_equal(after.commit_messages - before.commit_messages, 20);
}

static void a_batch_with_nothing_to_write_is_not_committed(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct pqb_store_stats before, after;

    pqb_store_get_stats(f->s, &before);
    (void)fixture_user(f, "alice");
    (void)fixture_actor(f, "alice", "phone");
    assert_int_equal(fixture_ack(f, &a, a.cursor), PQB_RESULT_DONE);
    pqb_store_get_stats(f->s, &after);
    assert_int_equal(after.commits, before.commits);
}

static void a_shard_may_have_so_many_requests_outstanding_and_no_more(void **state)
{
    struct fixture *f = *state;
    struct pqb_request *extra = make_login("x", "y");

    for (uint32_t i = 0; i < f->config.requests_max; i++)
        assert_int_equal(pqb_store_submit(f->s, make_login("alice", "phone")), PQB_OK);
    assert_int_equal(pqb_store_submit(f->s, extra), PQB_ERR_FULL);
    fixture_settle(f);
    assert_int_equal(pqb_store_submit(f->s, extra), PQB_ERR_FULL); // nothing was polled yet
    pqb_request_destroy(pqb_store_poll(f->s, 0));
    assert_int_equal(pqb_store_submit(f->s, extra), PQB_OK);
}

static void a_second_opener_is_locked_out(void **state)
{
    struct fixture *f = *state;
    struct pqb_store *other;

    assert_int_equal(pqb_store_open(&other, &f->config, f->now, f->wall), PQB_ERR_LOCKED);
}

static void a_tail_shows_every_record_once_and_from_anywhere(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct pqb_record record;
    uint64_t gseq = 0;
    unsigned seen = 0;

    assert_int_equal(fixture_send(f, &a, 1, "bob", "x", NULL), PQB_RESULT_DONE);
    assert_int_equal(pqb_view_begin(f->v), PQB_OK);
    while (pqb_view_tail(f->v, &gseq, &record) == PQB_OK) {
        seen |= 1U << record.type;
        assert_int_equal(record.gseq, gseq - 1);
    }
    assert_int_equal(gseq, pqb_view_journal_end(f->v));
    assert_int_equal(pqb_view_journal_first(f->v), 1);
    assert_int_equal(seen, 1U << PQB_RECORD_USER | 1U << PQB_RECORD_DEVICE |
                               1U << PQB_RECORD_EPOCH | 1U << PQB_RECORD_MSG);
    pqb_view_end(f->v);
    assert_int_equal(fixture_send(f, &a, 2, "bob", "y", NULL), PQB_RESULT_DONE);
    assert_int_equal(pqb_view_begin(f->v), PQB_OK);
    assert_int_equal(pqb_view_tail(f->v, &gseq, &record), PQB_OK);
    assert_int_equal(record.iseq, PQB_ISEQ_MAKE(FIXTURE_GENERATION, 2));
    assert_int_equal(pqb_view_tail(f->v, &gseq, &record), PQB_ERR_NOT_FOUND);
    pqb_view_end(f->v);
}

static void an_aborted_batch_fails_its_requests_and_leaves_no_trace(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    uint64_t iseq;

    assert_int_equal(fixture_send(f, &a, 1, "bob", "1", NULL), PQB_RESULT_DONE);
    f->fail_step = "batch.commit";
    f->fail_errno = ENOMEM;
    f->fail_after = 1;
    assert_int_equal(fixture_send(f, &a, 2, "bob", "2", NULL), PQB_RESULT_FAILED);
    assert_int_equal(fixture_send(f, &a, 3, "bob", "3", &iseq), PQB_RESULT_DONE);
    assert_int_equal(iseq, PQB_ISEQ_MAKE(FIXTURE_GENERATION, 2));
    assert_int_equal(fixture_send(f, &a, 2, "bob", "2", &iseq), PQB_RESULT_DONE);
    assert_int_equal(iseq, PQB_ISEQ_MAKE(FIXTURE_GENERATION, 3));
}

static void a_failed_sync_ends_the_store_and_nobody_is_told(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    struct pqb_request *r = make_msg(a.uid, a.devno, a.epoch, 1, "bob", "x");

    f->fail_step = "batch.commit";
    f->fail_errno = EIO;
    f->fail_after = 1;
    assert_null(fixture_run(f, r));
    assert_true(pqb_store_is_failed(f->s));
    assert_false(pqb_store_step(f->s, f->now, f->wall));
    fixture_reopen(f);
    assert_int_equal(fixture_send(f, &a, 1, "bob", "x", NULL), PQB_RESULT_DONE);
}

static void a_commit_whose_completion_is_lost_is_answered_as_a_duplicate(void **state)
{
    struct fixture *f = *state;
    struct actor a = fixture_actor(f, "alice", "phone");
    uint64_t iseq;

    f->fail_step = "batch.committed";
    f->fail_errno = EIO;
    f->fail_after = 1;
    assert_null(fixture_run(f, make_msg(a.uid, a.devno, a.epoch, 1, "bob", "x")));
    fixture_reopen(f);
    assert_int_equal(fixture_send(f, &a, 1, "bob", "x", &iseq), PQB_RESULT_DUPLICATE);
    assert_int_equal(iseq, PQB_ISEQ_MAKE(FIXTURE_GENERATION, 1));
}

static void with_syncs_on_it_works_the_same(void **state)
{
    struct fixture *f = *state;
    struct actor a;

    fixture_close(f);
    f->config.is_sync_off = false;
    fixture_open(f);
    a = fixture_actor(f, "alice", "phone");
    assert_int_equal(fixture_send(f, &a, 1, "bob", "x", NULL), PQB_RESULT_DONE);
    fixture_checkpoint(f);
    fixture_reopen(f);
    assert_int_equal(fixture_send(f, &a, 1, "bob", "x", NULL), PQB_RESULT_DUPLICATE);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(an_accepted_message_survives_a_crash),
        CASE(what_was_not_committed_is_gone_after_a_crash),
        CASE(a_large_message_comes_back_whole_from_journal_and_inbox),
        CASE(a_body_above_the_limit_is_refused_and_the_refusal_is_remembered),
        CASE(a_batch_is_committed_once_and_completed_in_order),
        CASE(a_batch_with_nothing_to_write_is_not_committed),
        CASE(a_shard_may_have_so_many_requests_outstanding_and_no_more),
        CASE(a_second_opener_is_locked_out),
        CASE(a_tail_shows_every_record_once_and_from_anywhere),
        CASE(an_aborted_batch_fails_its_requests_and_leaves_no_trace),
        CASE(a_failed_sync_ends_the_store_and_nobody_is_told),
        CASE(with_syncs_on_it_works_the_same),
        CASE(a_commit_whose_completion_is_lost_is_answered_as_a_duplicate),
    };
#undef CASE

    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
