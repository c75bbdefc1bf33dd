#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/proto/frag.h"
#include "tests/unit/engine_fixture.h"

#define SEC PQB_NS_PER_SEC

static struct gate gate; // large; one test at a time

static int begin(void **state)
{
    *state = &gate;
    gate_init(&gate, 1);
    return 0;
}

static int begin_two_shards(void **state)
{
    *state = &gate;
    gate_init(&gate, 2);
    return 0;
}

static int end(void **state)
{
    gate_fini(*state);
    return 0;
}

static void assert_body(const struct pqb_frame *f, const char *body)
{
    assert_int_equal(f->msg_n.body.len, strlen(body));
    assert_memory_equal(f->msg_n.body.data, body, strlen(body));
}

// Acknowledges everything that was sent to `p`.
static void ack_all(struct peer *p)
{
    struct pqb_frame f;
    uint64_t cursor = p->cursor;

    for (unsigned i = 0; peer_got(p, PQB_FRAME_ACK_A, i, &f); i++)
        cursor = PQB_MAX(cursor, f.ack_a.cursor);
    for (unsigned i = 0; peer_got(p, PQB_FRAME_GAP_N, i, &f); i++)
        cursor = PQB_MAX(cursor, f.gap_n.to);
    for (unsigned i = 0; peer_got(p, PQB_FRAME_MSG_N, i, &f); i++)
        cursor = PQB_MAX(cursor, f.msg_n.iseq);
    peer_ack(p, cursor);
    gate_settle(p->g);
}

static void send_many(struct peer *p, uint64_t first, uint64_t last, const char *to)
{
    for (uint64_t seq = first; seq <= last; seq++) {
        char body[32];

        (void)snprintf(body, sizeof(body), "message %d", (int)seq);
        p->low = seq;
        peer_msg(p, seq, 0, to, body);
        if (seq % 32 == 0)
            gate_settle(p->g);
    }
    gate_settle(p->g);
}

// ------------------------------------------------------------------------------------ login

static void a_login_takes_init_resp_and_a_first_datagram(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);

    gate_open(g);
    a.init_id = 5;
    peer_send_init(&a, NULL);
    gate_settle(g);
    assert_true(peer_take_resp(&a));
    assert_int_equal(a.resp.epoch, 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_OPENED), 0);
    peer_send_one(&a, (struct pqb_frame){.type = PQB_FRAME_PING, .ping = {.nonce = 9}});
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_OPENED), 0);
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_OPENED), 1);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_PONG), 1);
}

static void a_repeated_init_gets_the_identical_resp(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);

    gate_open(g);
    peer_send_init(&a, NULL);
    gate_settle(g);
    peer_send_init(&a, NULL);
    gate_settle(g);
    assert_int_equal(g->sent_count, 2);
    assert_int_equal(g->sent[0].len, g->sent[1].len);
    assert_memory_equal(g->sent[0].data, g->sent[1].data, g->sent[0].len);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_REPEATED), 1);
}

static void a_new_device_is_told_where_it_starts_and_then_pushed_to(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_make(g, "bob", "phone", 2); // a name that nobody has mentioned
    peer_login(&b);
    assert_int_equal(b.resp.cursor, 0);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_GAP_N), 0);
    assert_true(peer_got(&b, PQB_FRAME_ACK_A, 0, &f));
    gate_clear(g);
    peer_msg(&a, 1, 0, "bob", "hello");
    gate_settle(g);
    const uint64_t start = f.ack_a.cursor;
    assert_true(peer_got(&b, PQB_FRAME_MSG_N, 0, &f));
    assert_int_equal(f.msg_n.iseq, start + 1);
}

static void a_half_open_login_expires(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);

    gate_open(g);
    peer_send_init(&a, NULL);
    gate_settle(g);
    assert_true(peer_take_resp(&a));
    gate_pass(g, 11 * SEC);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_EXPIRED), 1);
    gate_clear(g);
    peer_send_one(&a, (struct pqb_frame){.type = PQB_FRAME_PING});
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_RESET_SENT), 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_HALF_OPEN), 0);
}

static void an_unknown_connection_id_is_answered_by_a_reset_that_proves_itself(void **state)
{
    struct gate *g = *state;
    struct pqb_reset reset;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    gate_crash(g);
    gate_clear(g);
    peer_msg(&a, 1, 0, "bob", "a body long enough to be answered");
    gate_settle(g);
    assert_int_equal(g->sent_count, 1);
    assert_int_equal(pqb_reset_decode(g->sent[0].data, g->sent[0].len, &reset), PQB_VERDICT_OK);
    assert_int_equal(reset.cid, a.cid);
    assert_memory_equal(reset.token, a.resp.reset_token, PQB_RESET_LEN);
}

static void the_cookie_is_asked_for_when_always_on(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);
    struct pqb_retry retry;

    g->config.retry = PQB_RETRY_ALWAYS;
    gate_open(g);
    peer_send_init(&a, NULL);
    gate_settle(g);
    assert_int_equal(g->sent_count, 1);
    assert_int_equal(pqb_retry_decode(g->sent[0].data, g->sent[0].len, &retry), PQB_VERDICT_OK);
    peer_send_init(&a, retry.cookie);
    gate_settle(g);
    assert_true(peer_take_resp(&a));
    struct peer b = peer_make(g, "bob", "phone", 2); // the same cookie from elsewhere
    b.init_id = a.init_id;
    gate_clear(g);
    peer_send_init(&b, retry.cookie);
    gate_settle(g);
    assert_false(peer_take_resp(&b));
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_COOKIE_BAD), 1);
}

static void the_cookie_is_asked_for_from_half_of_the_half_open_limit_on(void **state)
{
    struct gate *g = *state;

    g->config.half_open_max = 4;
    gate_open(g);
    for (uint16_t i = 0; i < 3; i++) {
        struct peer a = peer_make(g, "alice", "phone", (uint16_t)(i + 1));

        peer_send_init(&a, NULL);
        gate_settle(g);
        assert_int_equal(peer_take_resp(&a), i < 2);
    }
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_RETRY), 1);
}

static void a_refused_token_meets_silence(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);

    gate_open(g);
    g->is_login_refused = true;
    peer_send_init(&a, NULL);
    gate_settle(g);
    assert_int_equal(g->sent_count, 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_REFUSED), 1);
}

static void a_second_login_of_a_device_kicks_the_first(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_make(g, "alice", "phone", 2);
    peer_login(&b);
    assert_true(peer_got(&a, PQB_FRAME_KICK, 0, &f));
    assert_int_equal(f.kick.reason, PQB_KICK_REPLACED);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_CURRENT), 1);
    assert_int_equal(b.resp.epoch, a.epoch);
}

static void two_copies_of_a_device_that_kick_each_other_are_slowed_down(void **state)
{
    struct gate *g = *state;
    uint64_t opened;

    gate_open(g);
    for (uint16_t i = 0; i < 20; i++) {
        struct peer a = peer_make(g, "alice", "phone", (uint16_t)(i + 1));

        peer_send_init(&a, NULL);
        gate_settle(g);
        if (peer_take_resp(&a))
            peer_send_one(&a, (struct pqb_frame){.type = PQB_FRAME_PING});
        gate_settle(g);
    }
    opened = gate_count(g, PQB_COUNTER_SESSION_OPENED);
    assert_true(opened >= 5 && opened <= 8);
    assert_true(gate_count(g, PQB_COUNTER_LOGIN_BUSY_FLAPPING) > 0);
}

static void sessions_beyond_the_limit_are_put_off(void **state)
{
    struct gate *g = *state;

    g->config.sessions_max = 1;
    gate_open(g);
    (void)peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_make(g, "bob", "phone", 2);
    peer_send_init(&b, NULL);
    gate_settle(g);
    assert_false(peer_take_resp(&b));
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_BUSY_SESSIONS), 1);
    struct peer again = peer_make(g, "alice", "phone", 3); // takes the place of the first
    peer_login(&again);
}

static void a_silent_session_ends(void **state)
{
    struct gate *g = *state;

    gate_open(g);
    (void)peer_ready(g, "alice", "phone", 1);
    gate_pass(g, g->config.idle_ns - SEC);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_CURRENT), 1);
    gate_pass(g, 2 * SEC);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_CURRENT), 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_IDLE), 1);
}

// ------------------------------------------------------------------------------------ messages

static void a_message_is_shown_to_nobody_before_its_commit(void **state)
{
    struct gate *g = *state;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    ack_all(&b);
    gate_clear(g);
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

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    ack_all(&b);
    gate_clear(g);
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

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    ack_all(&b);
    gate_clear(g);
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

static void the_answer_goes_to_the_session_that_is_current_then(void **state)
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
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_A), 1);
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

static void a_message_waits_for_the_one_named_by_after(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    ack_all(&b);
    gate_clear(g);
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

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    ack_all(&b);
    gate_clear(g);
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

// ------------------------------------------------------------------------------------ offline

static void who_is_absent_gets_a_small_backlog_pushed_at_login(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    gate_clear(g);
    send_many(&a, 1, 3, "bob");
    assert_true(peer_got(&a, PQB_FRAME_MSG_A, 0, &f));
    assert_int_equal(f.msg_a.state, PQB_STATE_STORED);
    struct peer b = peer_make(g, "bob", "phone", 2);
    peer_login(&b);
    assert_int_equal(b.resp.count, 3);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 3);
    assert_true(peer_got(&b, PQB_FRAME_MSG_N, 2, &f));
    assert_body(&f, "message 3");
}

static void a_large_backlog_is_pulled_in_pages(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;
    unsigned requests = 0, messages = 0;
    bool has_more = true;

    g->config.push_max = 10;
    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    send_many(&a, 1, 95, "bob");
    fixture_checkpoint(&g->store); // the rest is read from the inbox table
    send_many(&a, 96, 250, "bob");
    struct peer b = peer_make(g, "bob", "phone", 2);
    peer_login(&b);
    assert_int_equal(b.resp.count, 250);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 0);
    b.cursor = b.resp.cursor;
    while (has_more) {
        gate_clear(g);
        peer_send_one(&b, (struct pqb_frame){.type = PQB_FRAME_OFF_R,
                                             .off_r = {.cursor = b.cursor,
                                                       .after = b.cursor,
                                                       .max = 100,
                                                       .max_bytes = PQB_PAGE_BYTES_MAX}});
        requests++;
        gate_pass(g, SEC / 100);
        assert_true(peer_got(&b, PQB_FRAME_OFF_A, 0, &f));
        has_more = f.off_a.has_more;
        for (int i = 0; i < 40 && b.cursor < f.off_a.last; i++) {
            struct pqb_frame m;
            const unsigned count = peer_got_count(&b, PQB_FRAME_MSG_N);

            for (unsigned n = 0; n < count && peer_got(&b, PQB_FRAME_MSG_N, n, &m); n++) {
                if (m.msg_n.iseq != b.cursor + 1)
                    continue;
                b.cursor++;
                messages++;
            }
            peer_ack(&b, b.cursor);
            gate_pass(g, SEC / 10);
        }
        assert_int_equal(b.cursor, f.off_a.last);
    }
    assert_int_equal(messages, 250);
    assert_int_equal(requests, 3);
    assert_int_equal(gate_count(g, PQB_COUNTER_RETRANSMIT_MESSAGES), 0);
    gate_clear(g);
    send_many(&a, 251, 251, "bob"); // drained: new ones are pushed
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 1);
}

static void while_a_backlog_is_pulled_arrivals_are_only_announced(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    g->config.push_max = 2;
    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    send_many(&a, 1, 3, "bob");
    struct peer b = peer_make(g, "bob", "phone", 2);
    peer_login(&b);
    gate_clear(g);
    send_many(&a, 4, 4, "bob");
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 0);
    assert_true(peer_got(&b, PQB_FRAME_OFF_N, 0, &f));
    assert_int_equal(f.off_n.head, b.resp.head + 1);
}

static void a_page_alone_acknowledges_nothing(void **state)
{
    struct gate *g = *state;
    const struct pqb_frame off = {.type = PQB_FRAME_OFF_R,
                                  .off_r = {.max = 10, .max_bytes = PQB_PAGE_BYTES_MAX}};

    g->config.push_max = 2;
    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    send_many(&a, 1, 5, "bob");
    struct peer b = peer_make(g, "bob", "phone", 2);
    peer_login(&b);
    gate_clear(g);
    peer_send_one(&b, off);
    peer_send_one(&b, off);
    gate_settle(g);
    struct peer again = peer_make(g, "bob", "phone", 3);
    peer_login(&again);
    assert_int_equal(again.resp.count, 5);
    assert_int_equal(again.resp.cursor, b.resp.cursor);
}

static void an_ack_range_stops_retransmission_but_acknowledges_nothing(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f = {.type = PQB_FRAME_ACK_R};

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    ack_all(&b);
    gate_clear(g);
    send_many(&a, 1, 2, "bob");
    f.ack_r.cursor = b.cursor;
    f.ack_r.received.count = 1;
    f.ack_r.received.at[0] = (struct pqb_range){b.cursor + 2, b.cursor + 2};
    peer_send_one(&b, f);
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_ACK_N), 0);
    gate_clear(g);
    gate_pass(g, 3 * SEC);
    assert_true(peer_got_count(&b, PQB_FRAME_MSG_N) > 0);
    for (unsigned i = 0; peer_got(&b, PQB_FRAME_MSG_N, i, &f); i++)
        assert_int_equal(f.msg_n.iseq, b.cursor + 1);
    struct peer again = peer_make(g, "bob", "phone", 3); // 2 was only in memory
    again.cursor = b.cursor;
    peer_login(&again);
    assert_int_equal(peer_got_count(&again, PQB_FRAME_MSG_N), 2);
}

static void a_cursor_above_the_head_is_refused(void **state)
{
    struct gate *g = *state;

    gate_open(g);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    ack_all(&b);
    gate_clear(g);
    peer_ack(&b, b.cursor + 1);
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_ACK_CURSOR_ABOVE_HEAD), 1);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_ACK_A), 0);
}

static void a_cursor_above_the_head_at_login_begins_a_new_generation(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    ack_all(&b);
    struct peer again = peer_make(g, "bob", "phone", 3);
    again.cursor = b.cursor + 1000;
    peer_login(&again);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_ROLLBACK), 1);
    assert_true(peer_got(&again, PQB_FRAME_GAP_N, 0, &f));
    assert_int_equal(f.gap_n.reason, PQB_GAP_GENERATION);
    assert_int_equal(f.gap_n.from, again.cursor + 1);
    ack_all(&again);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    peer_msg(&a, 1, 0, "bob", "after it");
    gate_settle(g);
    assert_true(peer_got(&again, PQB_FRAME_MSG_N, 0, &f));
    assert_int_equal(f.msg_n.iseq, again.cursor + 1);
}

static void an_unacknowledged_message_is_sent_again(void **state)
{
    struct gate *g = *state;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    ack_all(&b);
    gate_clear(g);
    peer_msg(&a, 1, 0, "bob", "hello");
    gate_settle(g);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 1);
    gate_pass(g, 5 * SEC);
    assert_true(peer_got_count(&b, PQB_FRAME_MSG_N) >= 2);
    assert_true(gate_count(g, PQB_COUNTER_RETRANSMIT_MESSAGES) >= 1);
    ack_all(&b);
    gate_clear(g);
    gate_pass(g, 10 * SEC);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 0);
}

static void giving_up_closes_the_session_and_keeps_the_message(void **state)
{
    struct gate *g = *state;

    g->config.idle_ns = 3600 * SEC;
    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    ack_all(&b);
    ack_all(&a);
    gate_clear(g);
    peer_msg(&a, 1, 0, "bob", "hello");
    gate_pass(g, 1800 * SEC);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_GAVE_UP), 1);
    gate_clear(g);
    struct peer again = peer_make(g, "bob", "phone", 3);
    again.cursor = b.cursor;
    peer_login(&again);
    assert_int_equal(peer_got_count(&again, PQB_FRAME_MSG_N), 1);
}

static void closing_the_last_session_tells_senders_what_is_stored(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    ack_all(&b);
    gate_clear(g);
    peer_msg(&a, 1, 0, "bob", "hello");
    gate_settle(g);
    peer_send_one(&b, (struct pqb_frame){.type = PQB_FRAME_LOGOUT});
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_ACK_N, 0, &f));
    assert_int_equal(f.ack_n.state, PQB_STATE_STORED);
    assert_int_equal(f.ack_n.seqs.at[0].first, 1);
}

static void what_became_of_a_message_can_be_asked_by_its_receipt(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f, stat = {.type = PQB_FRAME_STAT_R, .stat_r = {.seq = 1, .to = {"bob", 3}}};

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    gate_clear(g);
    peer_msg(&a, 1, 0, "bob", "hello");
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_MSG_A, 0, &f));
    stat.stat_r.has_receipt = true;
    memcpy(stat.stat_r.receipt, f.msg_a.receipt, PQB_RECEIPT_LEN);
    peer_send_one(&a, stat);
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_STAT_A, 0, &f));
    assert_int_equal(f.stat_a.state, PQB_STATE_STORED);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    ack_all(&b);
    gate_clear(g);
    peer_send_one(&a, stat);
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_STAT_A, 0, &f));
    assert_int_equal(f.stat_a.state, PQB_STATE_DELIVERED);
}

static void a_crash_loses_nothing_that_was_accepted(void **state)
{
    struct gate *g = *state;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    gate_clear(g);
    send_many(&a, 1, 20, "bob");
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 20);
    gate_crash(g);
    gate_clear(g);
    struct peer b = peer_make(g, "bob", "phone", 2);
    peer_login(&b);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 20);
}

static void frames_to_one_peer_share_datagrams(void **state)
{
    struct gate *g = *state;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    ack_all(&b);
    gate_clear(g);
    send_many(&a, 1, 10, "bob");
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 10);
    assert_int_equal(peer_datagrams(&b), 1);
    assert_int_equal(peer_datagrams(&a), 1);
}

static void an_address_moves_only_after_it_is_proved(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    ack_all(&b);
    const struct pqb_addr old = b.addr;
    gate_clear(g);
    b.addr.port = 77;
    peer_send_one(&b, (struct pqb_frame){.type = PQB_FRAME_PING, .ping = {.nonce = 1}});
    peer_msg(&a, 1, 0, "bob", "hello");
    gate_settle(g);
    assert_true(peer_got(&b, PQB_FRAME_PATH_CHALLENGE, 0, &f));
    for (size_t i = 0; i < g->sent_count; i++) {
        const struct pqb_transmit *t = &g->sent[i];

        if (pqb_addr_is_equal(&t->to, &b.addr))
            assert_true(t->len <= 60); // the challenge and nothing else
    }
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 1);
    gate_clear(g);
    f.type = PQB_FRAME_PATH_RESPONSE;
    peer_send_one(&b, f);
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_PATH_MOVED), 1);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 1); // again, to the new address
    for (size_t i = 0; i < g->sent_count; i++)
        assert_false(pqb_addr_is_equal(&g->sent[i].to, &old));
}

// ------------------------------------------------------------------------------------ fragments

static uint8_t large[PQB_BODY_MAX];

static void fill_large(size_t len)
{
    for (size_t i = 0; i < len; i++)
        large[i] = (uint8_t)(i * 7 + i / 251);
}

// Cuts msg:R {seq, to bob, large[0..len)} into pieces and sends those whose bit is set.
static void send_pieces(struct peer *p, uint32_t id, uint64_t seq, size_t len,
                        bool (*is_wanted)(unsigned index))
{
    static uint8_t content[PQB_FRAG_TOTAL_MAX];
    struct pqb_frame f = {.type = PQB_FRAME_MSG_R};
    struct pqb_frag_out out;
    size_t content_len;
    int index;

    f.msg_r =
        (struct pqb_frame_msg_r){.seq = seq, .low = p->low, .to = {"bob", 3}, .body = {large, len}};
    content_len = pqb_frame_encode_content(&f, content, sizeof(content));
    assert_true(content_len > 0);
    pqb_frag_out_init(&out, id, PQB_FRAME_MSG_R, seq, content, content_len);
    while ((index = pqb_frag_out_next(&out)) >= 0) {
        pqb_frag_out_get(&out, (unsigned)index, content, &f);
        pqb_frag_out_on_sent(&out, (unsigned)index);
        if (is_wanted((unsigned)index))
            peer_send_one(p, f);
    }
}

static bool every(unsigned index)
{
    (void)index;
    return true;
}

static bool odd(unsigned index)
{
    return index % 2 == 1;
}

static bool even(unsigned index)
{
    return index % 2 == 0;
}

// Takes the pieces sent to `b`, acknowledges them, until the whole is there; checks it.
static void receive_large(struct peer *b, size_t len)
{
    struct pqb_frag_in in;
    size_t budget = 1 << 20;
    struct pqb_reassembly *whole = NULL;
    struct pqb_frame_frag_reset evicted;
    struct pqb_frame f, m;

    pqb_frag_in_init(&in);
    for (int round = 0; round < 100 && !whole; round++) {
        struct pqb_frame ack = {.type = PQB_FRAME_FRAG_A};

        for (unsigned i = 0; !whole && peer_got(b, PQB_FRAME_FRAG, i, &f); i++) {
            if (round == 0 && i == 3)
                continue; // lost on the way
            (void)pqb_frag_in_on_piece(&in, &f.frag, &budget, &whole, &evicted, 1);
            ack.frag_a.id = f.frag.id;
        }
        if (whole)
            break;
        (void)pqb_frag_in_ranges(&in, ack.frag_a.id, &ack.frag_a.received);
        gate_clear(b->g);
        if (ack.frag_a.id != 0)
            peer_send_one(b, ack);
        gate_pass(b->g, SEC / 4);
    }
    assert_non_null(whole);
    assert_int_equal(pqb_frame_decode(b->g->unpacker, whole->frame,
                                      (struct pqb_bytes){whole->content, whole->total}, &m),
                     PQB_VERDICT_OK);
    assert_int_equal(m.msg_n.body.len, len);
    assert_memory_equal(m.msg_n.body.data, large, len);
    peer_ack(b, m.msg_n.iseq);
    gate_settle(b->g);
    pqb_frag_in_fini(&in);
}

static void a_large_body_travels_in_pieces_both_ways(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    ack_all(&b);
    gate_clear(g);
    fill_large(PQB_BODY_MAX);
    send_pieces(&a, 1, 1, PQB_BODY_MAX, odd);
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_FRAG_COMPLETE), 0);
    assert_true(peer_got(&a, PQB_FRAME_FRAG_A, 0, &f));
    send_pieces(&a, 1, 1, PQB_BODY_MAX, even);
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 1);
    receive_large(&b, PQB_BODY_MAX);
    assert_true(peer_got(&a, PQB_FRAME_ACK_N, 0, &f));
    assert_int_equal(f.ack_n.state, PQB_STATE_DELIVERED);
    gate_clear(g);
    gate_pass(g, 10 * SEC);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_FRAG), 0);
}

static void pieces_of_a_message_that_was_refused_for_now_are_collected_again(void **state)
{
    struct gate *g = *state;

    g->config.request_bytes_max = 8192;
    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    fill_large(5000);
    for (uint64_t seq = 2; seq <= 9; seq++)
        peer_msg(&a, seq, 0, "bob", "fills the budget");
    gate_clear(g);
    send_pieces(&a, 1, 1, 5000, every);
    gate_settle(g);
    assert_true(peer_got_count(&a, PQB_FRAME_NACK) >= 1);
    gate_clear(g);
    send_pieces(&a, 1, 1, 5000, every); // the same id again
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 1);
}

static void a_reassembly_that_stalls_is_discarded_and_told(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    fill_large(5000);
    send_pieces(&a, 7, 1, 5000, odd);
    gate_settle(g);
    gate_pass(g, 11 * SEC);
    assert_true(peer_got(&a, PQB_FRAME_FRAG_RESET, 0, &f));
    assert_int_equal(f.frag_reset.id, 7);
    assert_int_equal(gate_count(g, PQB_COUNTER_FRAG_EXPIRED), 1);
}

static void the_first_piece_passes_the_seq_check(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    fill_large(5000);
    send_pieces(&a, 7, 1 + PQB_SEQ_WINDOW, 5000, odd);
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_NACK, 0, &f));
    assert_int_equal(f.nack.reason, PQB_NACK_WINDOW);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_FRAG_A), 0);
}

// ------------------------------------------------------------------------------------ operator

static bool count_session(void *ctx, const struct pqb_session_info *info)
{
    unsigned *count = ctx;

    assert_string_equal(info->device, "phone");
    (*count)++;
    return true;
}

static void an_operator_lists_kicks_and_drains(void **state)
{
    struct gate *g = *state;
    struct pqb_engine *e;
    struct pqb_frame f;
    unsigned count = 0;

    gate_open(g);
    e = g->engines[0];
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    pqb_engine_each_session(e, count_session, &count, g->store.now);
    assert_int_equal(count, 2);
    assert_int_equal(pqb_engine_kick(e, "alice", 5, NULL, 0, g->store.now), 1);
    assert_int_equal(pqb_engine_kick(e, "alice", 5, NULL, 0, g->store.now), 0);
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_KICK, 0, &f));
    assert_int_equal(f.kick.reason, PQB_KICK_ADMIN);
    pqb_engine_drain(e, g->store.now);
    gate_clear(g);
    gate_settle(g);
    assert_true(peer_got(&b, PQB_FRAME_KICK, 0, &f));
    assert_int_equal(f.kick.reason, PQB_KICK_DRAIN);
    struct peer c = peer_make(g, "carol", "phone", 3);
    peer_send_init(&c, NULL);
    gate_settle(g);
    assert_false(peer_take_resp(&c));
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_BUSY_DRAIN), 1);
}

static void an_idle_session_stays_within_its_memory_bound(void **state)
{
    struct gate *g = *state;
    size_t before, after;

    gate_open(g);
    before = pqb_engine_memory(g->engines[0]);
    for (uint16_t i = 0; i < 64; i++) {
        char user[16];

        (void)snprintf(user, sizeof(user), "user%02d", i);
        struct peer p = peer_make(g, user, "phone", (uint16_t)(i + 1));
        gate_clear(g);
        peer_login(&p);
        ack_all(&p);
    }
    gate_settle(g);
    after = pqb_engine_memory(g->engines[0]);
    print_message("bytes a session: %zu\n", (after - before) / 64);
    assert_true((after - before) / 64 <= 1024);
}

// ------------------------------------------------------------------------------------ shards

// A name that lives on the given shard of two.
static const char *name_on(struct gate *g, uint32_t shard, char name[16])
{
    for (int i = 0;; i++) {
        (void)snprintf(name, 16, "n%d", i);
        if (pqb_store_user_hash(g->store.s, name, strlen(name)) % 2 == shard)
            return name;
    }
}

static void two_shards_exchange_logins_messages_and_hints(void **state)
{
    struct gate *g = *state;
    char here[16], there[16];
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, name_on(g, 0, here), "phone", 1);
    struct peer b = peer_ready(g, name_on(g, 1, there), "phone", 2); // its INIT met shard 0
    assert_int_equal((b.cid >> 56) % 2, 1);
    ack_all(&b);
    gate_clear(g);
    peer_msg(&a, 1, 0, there, "across");
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_MSG_A, 0, &f));
    assert_int_equal(f.msg_a.state, PQB_STATE_ACCEPTED);
    assert_true(peer_got(&b, PQB_FRAME_MSG_N, 0, &f));
    assert_body(&f, "across");
    ack_all(&b);
    assert_true(peer_got(&a, PQB_FRAME_ACK_N, 0, &f));
    assert_int_equal(f.ack_n.state, PQB_STATE_DELIVERED);
    peer_send_one(&b, (struct pqb_frame){.type = PQB_FRAME_LOGOUT});
    gate_settle(g);
    gate_clear(g);
    peer_msg(&a, 2, 0, there, "nobody there");
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_ACK_N, 0, &f));
    assert_int_equal(f.ack_n.state, PQB_STATE_STORED);
}

static void a_datagram_at_the_wrong_shard_is_passed_on(void **state)
{
    struct gate *g = *state;
    char there[16];
    uint8_t data[PQB_DATAGRAM_MAX];
    struct pqb_frame f = {.type = PQB_FRAME_PING, .ping = {.nonce = 3}};

    gate_open(g);
    struct peer b = peer_ready(g, name_on(g, 1, there), "phone", 2);
    const struct pqb_data header = {.cid = b.cid, .pn = 100};
    size_t len = PQB_DATA_HEADER_LEN;

    pqb_data_header_encode(&header, data);
    len += pqb_frame_encode(&f, data + len, sizeof(data) - len);
    gate_clear(g);
    pqb_engine_on_datagram(g->engines[0], &b.addr, data, len, g->store.now);
    gate_settle(g);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_PONG), 1);
}

static void a_full_mailbox_loses_hints_but_no_messages(void **state)
{
    struct gate *g = *state;
    char here[16], there[16];
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, name_on(g, 0, here), "phone", 1);
    struct peer b = peer_ready(g, name_on(g, 1, there), "phone", 2);
    ack_all(&b);
    g->mails_max = 0;
    gate_clear(g);
    peer_msg(&a, 1, 0, there, "across");
    gate_settle(g);
    assert_true(peer_got(&b, PQB_FRAME_MSG_N, 0, &f));
    ack_all(&b);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_ACK_N), 0);
    assert_true(gate_count(g, PQB_COUNTER_MAIL_DROPPED) > 0);
}

// ------------------------------------------------------------------------------------ hostile

static void garbage_is_counted_and_dropped(void **state)
{
    struct gate *g = *state;
    uint8_t data[PQB_DATAGRAM_MAX] = {0};
    uint64_t x = 1;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    gate_clear(g);
    for (int i = 0; i < 20000; i++) {
        const size_t len = (size_t)(x >> 33) % sizeof(data);
        const struct pqb_data header = {.cid = a.cid, .pn = ++a.pn};

        for (size_t n = 0; n < len; n++) {
            x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
            data[n] = (uint8_t)(x >> 56);
        }
        if (i % 2 && len >= PQB_DATA_HEADER_LEN)
            pqb_data_header_encode(&header, data);
        pqb_engine_on_datagram(g->engines[0], &a.addr, data, len, g->store.now);
        if (i % 100 == 0) {
            gate_settle(g);
            gate_clear(g);
        }
    }
    gate_settle(g);
    peer_login(&a);
}

static void a_datagram_with_a_number_seen_before_is_dropped(void **state)
{
    struct gate *g = *state;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    gate_clear(g);
    a.pn--;
    peer_send_one(&a, (struct pqb_frame){.type = PQB_FRAME_PING});
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_DROP_REPLAY), 1);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_PONG), 0);
}

#define CASE(name)     cmocka_unit_test_setup_teardown(name, begin, end)
#define CASE_TWO(name) cmocka_unit_test_setup_teardown(name, begin_two_shards, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_login_takes_init_resp_and_a_first_datagram),
        CASE(a_repeated_init_gets_the_identical_resp),
        CASE(a_new_device_is_told_where_it_starts_and_then_pushed_to),
        CASE(a_half_open_login_expires),
        CASE(an_unknown_connection_id_is_answered_by_a_reset_that_proves_itself),
        CASE(the_cookie_is_asked_for_when_always_on),
        CASE(the_cookie_is_asked_for_from_half_of_the_half_open_limit_on),
        CASE(a_refused_token_meets_silence),
        CASE(a_second_login_of_a_device_kicks_the_first),
        CASE(two_copies_of_a_device_that_kick_each_other_are_slowed_down),
        CASE(sessions_beyond_the_limit_are_put_off),
        CASE(a_silent_session_ends),
        CASE(a_message_is_shown_to_nobody_before_its_commit),
        CASE(a_message_goes_its_whole_way),
        CASE(without_an_epoch_messages_are_refused),
        CASE(a_new_epoch_inside_a_session_ends_it),
        CASE(repeats_in_flight_are_swallowed_and_later_ones_answered),
        CASE(a_contradiction_of_what_is_in_flight_is_a_conflict),
        CASE(an_aborted_batch_is_told_as_transient_and_frees_the_seq),
        CASE(the_answer_goes_to_the_session_that_is_current_then),
        CASE(a_body_above_the_limit_consumes_its_seq_as_refused),
        CASE(the_seq_window_has_two_sides),
        CASE(messages_above_the_rate_are_told_to_wait),
        CASE(a_full_request_budget_is_an_answer),
        CASE(a_message_waits_for_the_one_named_by_after),
        CASE(both_may_travel_to_the_writer_together),
        CASE(a_hold_ends_after_ten_seconds_with_a_nack),
        CASE(holds_are_bounded),
        CASE(a_skipped_seq_releases_what_waited_for_it),
        CASE(an_ephemeral_reaches_who_is_here_and_is_not_stored),
        CASE(who_is_absent_gets_a_small_backlog_pushed_at_login),
        CASE(a_large_backlog_is_pulled_in_pages),
        CASE(while_a_backlog_is_pulled_arrivals_are_only_announced),
        CASE(a_page_alone_acknowledges_nothing),
        CASE(an_ack_range_stops_retransmission_but_acknowledges_nothing),
        CASE(a_cursor_above_the_head_is_refused),
        CASE(a_cursor_above_the_head_at_login_begins_a_new_generation),
        CASE(an_unacknowledged_message_is_sent_again),
        CASE(giving_up_closes_the_session_and_keeps_the_message),
        CASE(closing_the_last_session_tells_senders_what_is_stored),
        CASE(what_became_of_a_message_can_be_asked_by_its_receipt),
        CASE(a_crash_loses_nothing_that_was_accepted),
        CASE(frames_to_one_peer_share_datagrams),
        CASE(an_address_moves_only_after_it_is_proved),
        CASE(a_large_body_travels_in_pieces_both_ways),
        CASE(pieces_of_a_message_that_was_refused_for_now_are_collected_again),
        CASE(a_reassembly_that_stalls_is_discarded_and_told),
        CASE(the_first_piece_passes_the_seq_check),
        CASE(an_operator_lists_kicks_and_drains),
        CASE(an_idle_session_stays_within_its_memory_bound),
        CASE_TWO(two_shards_exchange_logins_messages_and_hints),
        CASE_TWO(a_datagram_at_the_wrong_shard_is_passed_on),
        CASE_TWO(a_full_mailbox_loses_hints_but_no_messages),
        CASE(garbage_is_counted_and_dropped),
        CASE(a_datagram_with_a_number_seen_before_is_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
