// The way of a message: commit before all else, repeats, refusals, order, ephemerals.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/engine_fixture.h"

#define SEC PQB_NS_PER_SEC

static void assert_body(const struct pqb_frame *f, const char *body)
{
    assert_int_equal(f->msg_n.body.len, strlen(body));
    assert_memory_equal(f->msg_n.body.data, body, strlen(body));
}

static void a_message_is_shown_to_nobody_before_its_commit(void **state)
{
    struct gate *g = *state;
    struct peer a, b;

    gate_open_with_two(g, &a, &b);
    peer_msg(&a, 1, 0, "bob", "hello");
    g->is_store_stopped = true;
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 0);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 0);
    g->is_store_stopped = false;
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 1);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 1);
}

static void a_message_goes_its_whole_way(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;
    struct peer a, b;

    gate_open_with_two(g, &a, &b);
    peer_msg(&a, 1, 0, "bob", "hello");
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_MSG_A, 0, &f));
    assert_int_equal(f.msg_a.seq, 1);
    assert_int_equal(f.msg_a.state, PQB_STATE_ACCEPTED);
    assert_true(f.msg_a.has_receipt);
    assert_true(peer_got(&b, PQB_FRAME_MSG_N, 0, &f));
    assert_body(&f, "hello");
    assert_int_equal(f.msg_n.iseq, b.cursor + 1);
    assert_memory_equal(f.msg_n.from.data, "alice", 5);
    peer_ack(&b, f.msg_n.iseq);
    gate_settle(g);
    assert_true(peer_got(&b, PQB_FRAME_ACK_A, 0, &f));
    assert_int_equal(f.ack_a.cursor, b.cursor);
    assert_true(peer_got(&a, PQB_FRAME_ACK_N, 0, &f));
    assert_int_equal(f.ack_n.state, PQB_STATE_DELIVERED);
    assert_int_equal(f.ack_n.seqs.at[0].first, 1);
}

static void without_an_epoch_messages_are_refused(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);
    struct pqb_frame f;

    gate_open(g);
    peer_login(&a);
    peer_msg(&a, 1, 0, "bob", "hello");
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_NACK, 0, &f));
    assert_int_equal(f.nack.reason, PQB_NACK_EPOCH);
    assert_int_equal(f.nack.ref, 1);
}

static void a_new_epoch_inside_a_session_ends_it(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f = {.type = PQB_FRAME_EPOCH_R, .epoch_r.nonce = {99}};

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    peer_send_one(&a, f);
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_KICK, 0, &f));
    assert_int_equal(f.kick.reason, PQB_KICK_EPOCH);
}

static void repeats_in_flight_are_swallowed_and_later_ones_answered(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;
    struct peer a, b;

    gate_open_with_two(g, &a, &b);
    for (int i = 0; i < 3; i++)
        peer_msg(&a, 1, 0, "bob", "hello");
    assert_int_equal(gate_count(g, PQB_COUNTER_SUBMIT_IN_FLIGHT_REPEATED), 2);
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 1);
    peer_msg(&a, 1, 0, "bob", "hello");
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 2);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_MSG_DUPLICATE), 1);
    peer_msg(&a, 1, 0, "bob", "another");
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_NACK, 0, &f));
    assert_int_equal(f.nack.reason, PQB_NACK_CONFLICT);
}

static void a_contradiction_of_what_is_in_flight_is_a_conflict(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    peer_msg(&a, 1, 0, "bob", "hello");
    peer_msg(&a, 1, 0, "bob", "other");
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_NACK, 0, &f));
    assert_int_equal(f.nack.reason, PQB_NACK_CONFLICT);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 1);
}

static void an_aborted_batch_is_told_as_transient_and_frees_the_seq(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    g->store.fail_step = "batch.commit";
    g->store.fail_after = 1;
    g->store.asked = 0;
    g->store.fail_errno = 12; // ENOMEM: the batch is given up, the store goes on
    peer_msg(&a, 1, 0, "bob", "hello");
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_NACK, 0, &f));
    assert_int_equal(f.nack.reason, PQB_NACK_STORAGE);
    g->store.fail_after = 0;
    peer_msg(&a, 1, 0, "bob", "hello");
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 1);
}

static void the_answer_goes_only_to_the_session_that_asked(void **state)
{
    struct gate *g = *state;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_make(g, "alice", "phone", 2);
    b.epoch = a.epoch;
    b.low = 1;
    peer_send_init(&b, NULL);
    gate_settle(g);
    assert_true(peer_take_resp(&b));
    peer_send_one(&b, (struct pqb_frame){.type = PQB_FRAME_PING});
    peer_msg(&a, 1, 0, "bob", "hello"); // behind the registration in the writer's queue
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 0);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_A), 0); // it may be a clone's
    peer_msg(&b, 1, 0, "bob", "hello");
    gate_settle(g);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_A), 1);
}

static void a_clone_with_another_message_under_the_seq_is_told_of_the_conflict(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_make(g, "alice", "phone", 2);
    b.epoch = a.epoch;
    b.low = 1;
    peer_send_init(&b, NULL);
    gate_settle(g);
    assert_true(peer_take_resp(&b));
    peer_send_one(&b, (struct pqb_frame){.type = PQB_FRAME_PING});
    peer_msg(&a, 1, 0, "bob", "hello");
    gate_settle(g);
    peer_msg(&b, 1, 0, "bob", "good day");
    gate_settle(g);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_A), 0);
    assert_true(peer_got(&b, PQB_FRAME_NACK, 0, &f));
    assert_int_equal(f.nack.reason, PQB_NACK_CONFLICT);
}

static void a_body_above_the_limit_consumes_its_seq_as_refused(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    g->config.body_max = 8;
    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    peer_msg(&a, 1, 0, "bob", "12345678");
    peer_msg(&a, 2, 0, "bob", "123456789");
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 1);
    assert_true(peer_got(&a, PQB_FRAME_NACK, 0, &f));
    assert_int_equal(f.nack.reason, PQB_NACK_TOO_LARGE);
    peer_send_one(
        &a, (struct pqb_frame){.type = PQB_FRAME_STAT_R, .stat_r = {.seq = 2, .to = {"bob", 3}}});
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_STAT_A, 0, &f));
    assert_int_equal(f.stat_a.state, PQB_STATE_REFUSED);
}

static void the_seq_window_has_two_sides(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    a.low = 10;
    peer_msg(&a, 10 + PQB_SEQ_WINDOW - 1, 0, "bob", "last");
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 1);
    peer_msg(&a, 10 + PQB_SEQ_WINDOW, 0, "bob", "beyond");
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_NACK, 0, &f));
    assert_int_equal(f.nack.reason, PQB_NACK_WINDOW);
    a.low = 3;
    peer_msg(&a, 9, 0, "bob", "below");
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_NACK, 1, &f));
    assert_int_equal(f.nack.reason, PQB_NACK_CONFLICT);
}

static void messages_above_the_rate_are_told_to_wait(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    g->config.rate = 10;
    g->config.rate_burst = 5;
    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    for (uint64_t seq = 1; seq <= 6; seq++)
        peer_msg(&a, seq, 0, "bob", "x");
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 5);
    assert_true(peer_got(&a, PQB_FRAME_NACK, 0, &f));
    assert_int_equal(f.nack.reason, PQB_NACK_RATE);
    assert_true(f.nack.retry_after_ms > 0);
    gate_pass(g, (uint64_t)f.nack.retry_after_ms * PQB_NS_PER_MS);
    peer_msg(&a, 6, 0, "bob", "x");
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 6);
}

static void a_full_request_budget_is_an_answer(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    g->config.request_bytes_max = 4096;
    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    for (uint64_t seq = 1; seq <= 8; seq++)
        peer_msg(&a, seq, 0, "bob", "x");
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_NACK, 0, &f));
    assert_int_equal(f.nack.reason, PQB_NACK_BUSY);
    assert_true(gate_count(g, PQB_COUNTER_REQUEST_FULL) > 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_REQUEST_BYTES), 0);
}

static void a_session_has_a_window_of_messages_under_way_wherever_its_low_is(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    g->is_store_stopped = true;
    peer_send_many(&a, 1, PQB_SEQ_WINDOW, "bob");
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_REQUEST_OUTSTANDING), PQB_SEQ_WINDOW);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_NACK), 0);
    peer_send_many(&a, PQB_SEQ_WINDOW + 1, PQB_SEQ_WINDOW + 1, "bob");
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_REQUEST_OUTSTANDING), PQB_SEQ_WINDOW);
    assert_int_equal(gate_count(g, PQB_COUNTER_SUBMIT_IN_FLIGHT_MAX), 1);
    assert_true(peer_got(&a, PQB_FRAME_NACK, 0, &f));
    assert_int_equal(f.nack.reason, PQB_NACK_BUSY);
    g->is_store_stopped = false;
    gate_settle(g);
    peer_send_many(&a, PQB_SEQ_WINDOW + 1, PQB_SEQ_WINDOW + 1, "bob");
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), PQB_SEQ_WINDOW + 1);
}

static void a_message_waits_for_the_one_named_by_after(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;
    struct peer a, b;

    gate_open_with_two(g, &a, &b);
    peer_msg(&a, 2, 1, "bob", "second");
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SUBMIT_HELD), 1);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_NACK), 0);
    peer_msg(&a, 2, 1, "bob", "second"); // a repeat of what is held is swallowed too
    peer_msg(&a, 1, 0, "bob", "first");
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 2);
    assert_true(peer_got(&b, PQB_FRAME_MSG_N, 0, &f));
    assert_body(&f, "first");
    assert_true(peer_got(&b, PQB_FRAME_MSG_N, 1, &f));
    assert_body(&f, "second");
}

static void both_may_travel_to_the_writer_together(void **state)
{
    struct gate *g = *state;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    peer_msg(&a, 1, 0, "bob", "first");
    peer_msg(&a, 2, 1, "bob", "second");
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 2);
    assert_int_equal(gate_count(g, PQB_COUNTER_SUBMIT_HELD), 0);
}

static void a_chain_of_holds_is_released_at_once(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    peer_msg(&a, 4, 3, "bob", "4");
    peer_msg(&a, 5, 4, "bob", "5");
    peer_msg(&a, 2, 1, "bob", "2");
    peer_msg(&a, 3, 2, "bob", "3");
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SUBMIT_HELD), 4);
    peer_msg(&a, 1, 0, "bob", "1");
    const uint64_t datagrams = gate_count(g, PQB_COUNTER_UDP_DATAGRAMS_OUT);
    gate_settle(g);
    // One commit for the first and one for the rest, and as many datagrams.
    assert_int_equal(gate_count(g, PQB_COUNTER_UDP_DATAGRAMS_OUT) - datagrams, 2);
    for (unsigned i = 0; i < 5; i++) {
        assert_true(peer_got(&a, PQB_FRAME_MSG_A, i, &f));
        assert_int_equal(f.msg_a.seq, i + 1);
    }
}

static void a_hold_ends_after_ten_seconds_with_a_nack(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    peer_msg(&a, 2, 1, "bob", "second");
    gate_settle(g);
    gate_pass(g, 9 * SEC);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_NACK), 0);
    gate_pass(g, 2 * SEC);
    assert_true(peer_got(&a, PQB_FRAME_NACK, 0, &f));
    assert_int_equal(f.nack.reason, PQB_NACK_ORDER);
    assert_int_equal(gate_count(g, PQB_COUNTER_REQUEST_OUTSTANDING), 0);
}

static void holds_are_bounded(void **state)
{
    struct gate *g = *state;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    for (uint64_t seq = 2; seq <= 66; seq++)
        peer_msg(&a, seq, 1, "bob", "x");
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SUBMIT_HELD), 64);
    assert_int_equal(gate_count(g, PQB_COUNTER_SUBMIT_HOLD_MAX), 1);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_NACK), 1);
}

static void a_skipped_seq_releases_what_waited_for_it(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f = {.type = PQB_FRAME_SKIP_R,
                          .skip_r = {.low = 1, .seqs = {.count = 1, .at = {{1, 1}}}}};

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    peer_msg(&a, 2, 1, "bob", "second");
    gate_settle(g);
    peer_send_one(&a, f);
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_SKIP_A, 0, &f));
    assert_int_equal(f.skip_a.at[0].state, PQB_STATE_ABANDONED);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 1);
}

static void an_ephemeral_reaches_who_is_here_and_is_not_stored(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f = {.type = PQB_FRAME_MSG_R};
    struct peer a, b;

    gate_open_with_two(g, &a, &b);
    f.msg_r = (struct pqb_frame_msg_r){
        .flags = PQB_MSG_EPHEMERAL, .to = {"bob", 3}, .body = {(const uint8_t *)"...", 3}};
    peer_send_one(&a, f);
    f.msg_r.to = (struct pqb_text){"nobody", 6};
    peer_send_one(&a, f);
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 0);
    assert_true(peer_got(&b, PQB_FRAME_MSG_N, 0, &f));
    assert_int_equal(f.msg_n.flags & PQB_MSG_EPHEMERAL, PQB_MSG_EPHEMERAL);
    assert_int_equal(f.msg_n.iseq, 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_EPHEMERAL_DROPPED), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, gate_begin, gate_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_message_is_shown_to_nobody_before_its_commit),
        CASE(a_message_goes_its_whole_way),
        CASE(without_an_epoch_messages_are_refused),
        CASE(a_new_epoch_inside_a_session_ends_it),
        CASE(repeats_in_flight_are_swallowed_and_later_ones_answered),
        CASE(a_contradiction_of_what_is_in_flight_is_a_conflict),
        CASE(an_aborted_batch_is_told_as_transient_and_frees_the_seq),
        CASE(the_answer_goes_only_to_the_session_that_asked),
        CASE(a_clone_with_another_message_under_the_seq_is_told_of_the_conflict),
        CASE(a_body_above_the_limit_consumes_its_seq_as_refused),
        CASE(the_seq_window_has_two_sides),
        CASE(messages_above_the_rate_are_told_to_wait),
        CASE(a_full_request_budget_is_an_answer),
        CASE(a_session_has_a_window_of_messages_under_way_wherever_its_low_is),
        CASE(a_message_waits_for_the_one_named_by_after),
        CASE(both_may_travel_to_the_writer_together),
        CASE(a_chain_of_holds_is_released_at_once),
        CASE(a_hold_ends_after_ten_seconds_with_a_nack),
        CASE(holds_are_bounded),
        CASE(a_skipped_seq_releases_what_waited_for_it),
        CASE(an_ephemeral_reaches_who_is_here_and_is_not_stored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
