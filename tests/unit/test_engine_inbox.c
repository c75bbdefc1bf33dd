// What waits for a recipient: pushes, pages, acknowledgements, retransmission, hints.
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

static void who_is_absent_gets_a_small_backlog_pushed_at_login(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    gate_clear(g);
    peer_send_many(&a, 1, 3, "bob");
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
    peer_send_many(&a, 1, 95, "bob");
    fixture_checkpoint(&g->store); // the rest is read from the inbox table
    peer_send_many(&a, 96, 250, "bob");
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
    peer_send_many(&a, 251, 251, "bob"); // drained: new ones are pushed
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 1);
}

static void while_a_backlog_is_pulled_arrivals_are_only_announced(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    g->config.push_max = 2;
    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    peer_send_many(&a, 1, 3, "bob");
    struct peer b = peer_make(g, "bob", "phone", 2);
    peer_login(&b);
    gate_clear(g);
    peer_send_many(&a, 4, 4, "bob");
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 0);
    assert_true(peer_got(&b, PQB_FRAME_OFF_N, 0, &f));
    assert_int_equal(f.off_n.head, b.resp.head + 1);
}

static void a_checkpoint_that_overtakes_the_shard_hides_no_message(void **state)
{
    struct gate *g = *state;
    struct peer a, b;
    struct pqb_frame f;

    g->store.config.journal_checkpoint_bytes = 1; // one after each commit
    gate_open_with_two(g, &a, &b);
    g->is_store_stopped = true;
    for (uint64_t seq = 1; seq <= 2; seq++) {
        gate_clear(g);
        peer_msg(&a, seq, 0, "bob", "hello");
        gate_turn(g);              // the request is with the writer
        fixture_settle(&g->store); // committed, moved to inbox, dropped, before any shard looks
        gate_turn(g);
        assert_true(peer_got(&b, PQB_FRAME_MSG_N, 0, &f));
        assert_body(&f, "hello");
        assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 1);
        peer_ack_all(&b); // of it nothing is committed: the shard must not need that
    }
    assert_true(gate_count(g, PQB_COUNTER_TAIL_OVERTAKEN) >= 2);
}

static void a_page_alone_acknowledges_nothing(void **state)
{
    struct gate *g = *state;
    const struct pqb_frame off = {.type = PQB_FRAME_OFF_R,
                                  .off_r = {.max = 10, .max_bytes = PQB_PAGE_BYTES_MAX}};

    g->config.push_max = 2;
    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    peer_send_many(&a, 1, 5, "bob");
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
    struct peer a, b;

    gate_open_with_two(g, &a, &b);
    peer_send_many(&a, 1, 2, "bob");
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

static void the_last_cursor_outlives_its_session(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f, frames[2] = {{.type = PQB_FRAME_ACK_R}, {.type = PQB_FRAME_LOGOUT}};

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    peer_msg(&a, 1, 0, "bob", "one");
    peer_msg(&a, 2, 0, "bob", "two");
    gate_settle(g);
    assert_true(peer_got(&b, PQB_FRAME_MSG_N, 0, &f));
    peer_ack(&b, f.msg_n.iseq); // is with the writer when the next one comes
    frames[0].ack_r.cursor = f.msg_n.iseq + 1;
    peer_send(&b, frames, 2);
    gate_settle(g);
    gate_clear(g);
    struct peer again = peer_make(g, "bob", "phone", 3);
    peer_login(&again);
    assert_int_equal(peer_got_count(&again, PQB_FRAME_MSG_N), 0);
}

static void a_cursor_above_the_head_is_refused(void **state)
{
    struct gate *g = *state;

    gate_open(g);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    peer_ack_all(&b);
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
    peer_ack_all(&b);
    struct peer again = peer_make(g, "bob", "phone", 3);
    again.cursor = b.cursor + 1000;
    peer_login(&again);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_ROLLBACK), 1);
    assert_true(peer_got(&again, PQB_FRAME_GAP_N, 0, &f));
    assert_int_equal(f.gap_n.reason, PQB_GAP_GENERATION);
    assert_int_equal(f.gap_n.from, again.cursor + 1);
    peer_ack_all(&again);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    peer_msg(&a, 1, 0, "bob", "after it");
    gate_settle(g);
    assert_true(peer_got(&again, PQB_FRAME_MSG_N, 0, &f));
    assert_int_equal(f.msg_n.iseq, again.cursor + 1);
}

static void a_new_generation_that_cannot_be_made_at_once_is_asked_for_again(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    peer_ack_all(&b);
    struct peer again = peer_make(g, "bob", "phone", 3);
    again.cursor = b.cursor + 1000;
    peer_send_init(&again, NULL);
    gate_settle(g);
    assert_true(peer_take_resp(&again));
    peer_send_one(&again, (struct pqb_frame){.type = PQB_FRAME_PING});
    gate_turn(g);
    fixture_settle(&g->store);
    g->store.fail_step = "batch.commit";
    g->store.fail_errno = 12; // ENOMEM: the batch is given up, the store goes on
    g->store.asked = 0;
    g->store.fail_after = 1;
    gate_settle(g);
    assert_int_equal(peer_got_count(&again, PQB_FRAME_GAP_N), 0);
    gate_pass(g, SEC);
    assert_true(peer_got(&again, PQB_FRAME_GAP_N, 0, &f));
    assert_int_equal(f.gap_n.from, again.cursor + 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_ROLLBACK), 1);
}

static void what_expired_is_told_by_a_gap_and_acknowledged_like_a_message(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    g->store.config.retention_ms = 60000;
    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    peer_ack_all(&b);
    peer_send_one(&b, (struct pqb_frame){.type = PQB_FRAME_LOGOUT});
    peer_send_many(&a, 1, 3, "bob");
    gate_pass(g, 61 * SEC);
    fixture_checkpoint(&g->store);
    struct peer again = peer_make(g, "bob", "phone", 3);
    again.cursor = b.cursor;
    gate_clear(g);
    peer_login(&again);
    assert_int_equal(peer_got_count(&again, PQB_FRAME_MSG_N), 0);
    assert_true(peer_got(&again, PQB_FRAME_GAP_N, 0, &f));
    assert_int_equal(f.gap_n.from, b.cursor + 1);
    assert_int_equal(f.gap_n.to, b.cursor + 3);
    assert_int_equal(f.gap_n.reason, PQB_GAP_EXPIRED);
    peer_ack_all(&again);
    gate_clear(g);
    gate_pass(g, 10 * SEC);
    assert_int_equal(peer_got_count(&again, PQB_FRAME_GAP_N), 0);
}

static void what_expired_before_a_new_generation_is_told_as_expired(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    g->store.config.retention_ms = 60000;
    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    peer_ack_all(&b);
    peer_send_one(&b, (struct pqb_frame){.type = PQB_FRAME_LOGOUT});
    peer_send_many(&a, 1, 3, "bob");
    gate_pass(g, 61 * SEC);
    fixture_checkpoint(&g->store);
    struct peer proof = peer_make(g, "bob", "tablet", 5);
    proof.cursor = b.cursor + 1000;
    peer_login(&proof);
    peer_send_one(&proof, (struct pqb_frame){.type = PQB_FRAME_LOGOUT});
    struct peer c = peer_ready(g, "carol", "phone", 7);
    peer_send_many(&c, 1, 1, "bob");
    struct peer again = peer_make(g, "bob", "phone", 3);
    again.cursor = b.cursor;
    gate_clear(g);
    peer_login(&again);
    assert_true(peer_got(&again, PQB_FRAME_GAP_N, 0, &f));
    assert_int_equal(f.gap_n.from, b.cursor + 1);
    assert_int_equal(f.gap_n.to, b.cursor + 3);
    assert_int_equal(f.gap_n.reason, PQB_GAP_EXPIRED);
    assert_true(peer_got(&again, PQB_FRAME_GAP_N, 1, &f));
    assert_int_equal(f.gap_n.reason, PQB_GAP_GENERATION);
    peer_ack_all(&again);
    gate_settle(g);
    assert_int_equal(peer_got_count(&again, PQB_FRAME_MSG_N), 1);
}

static void what_was_too_many_is_passed_by_a_gap_and_the_newest_follow(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    g->store.config.retention_messages = 2;
    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    peer_ack_all(&b);
    peer_send_one(&b, (struct pqb_frame){.type = PQB_FRAME_LOGOUT});
    peer_send_many(&a, 1, 5, "bob");
    fixture_checkpoint(&g->store);
    struct peer again = peer_make(g, "bob", "phone", 3);
    again.cursor = b.cursor;
    gate_clear(g);
    peer_login(&again);
    assert_int_equal(peer_got_count(&again, PQB_FRAME_GAP_N), 1);
    assert_true(peer_got(&again, PQB_FRAME_GAP_N, 0, &f));
    assert_int_equal(f.gap_n.from, b.cursor + 1);
    assert_int_equal(f.gap_n.to, b.cursor + 3);
    assert_int_equal(f.gap_n.reason, PQB_GAP_EXPIRED);
    assert_int_equal(peer_got_count(&again, PQB_FRAME_MSG_N), 2);
    assert_true(peer_got(&again, PQB_FRAME_MSG_N, 0, &f));
    assert_int_equal(f.msg_n.iseq, b.cursor + 4);
    assert_true(peer_got(&again, PQB_FRAME_MSG_N, 1, &f));
    assert_int_equal(f.msg_n.iseq, b.cursor + 5);
}

static void what_expires_while_it_is_pushed_turns_into_a_gap(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    g->store.config.retention_ms = 2000;
    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    peer_ack_all(&b);
    peer_send_many(&a, 1, 2, "bob");
    gate_pass(g, 4 * SEC);
    fixture_checkpoint(&g->store);
    gate_clear(g);
    gate_pass(g, 20 * SEC);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 0);
    assert_true(peer_got(&b, PQB_FRAME_GAP_N, 0, &f));
    assert_int_equal(f.gap_n.from, b.cursor + 1);
    assert_int_equal(f.gap_n.reason, PQB_GAP_EXPIRED);
}

// Two messages wait for bob, who has no entry on his shard. His login is with the writer when they
// grow too old, and no shard has its turn until they have.
static struct peer expire_after_the_login(struct gate *g)
{
    struct pqb_store_stats stats = {0};

    g->store.config.retention_ms = 2000;
    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    peer_ack_all(&b);
    peer_send_one(&b, (struct pqb_frame){.type = PQB_FRAME_LOGOUT});
    peer_send_many(&a, 1, 2, "bob");
    fixture_checkpoint(&g->store);
    gate_settle(g);
    struct peer again = peer_make(g, "bob", "phone", 3);
    again.cursor = b.cursor;
    peer_send_init(&again, NULL);
    gate_settle(g);
    assert_true(peer_take_resp(&again));
    gate_clear(g);
    peer_send_one(&again, (struct pqb_frame){.type = PQB_FRAME_PING, .ping = {.nonce = 1}});
    g->store.now += 3 * SEC;
    while (stats.expired == 0) {
        fixture_step(&g->store);
        pqb_store_get_stats(g->store.s, &stats);
    }
    assert_int_equal(stats.expired, 2);
    g->is_store_stopped = true;
    return again;
}

static void assert_told_as_expired(const struct gate *g, const struct peer *p)
{
    struct pqb_frame f;

    assert_int_equal(peer_got_count(p, PQB_FRAME_PONG), 1);
    assert_true(peer_got(p, PQB_FRAME_GAP_N, 0, &f));
    assert_int_equal(f.gap_n.from, p->cursor + 1);
    assert_int_equal(f.gap_n.to, p->cursor + 2);
    assert_int_equal(f.gap_n.reason, PQB_GAP_EXPIRED);
    assert_int_equal(gate_count(g, PQB_COUNTER_PUSH_DAMAGED), 0);
}

static void what_expires_right_after_a_login_is_told_as_expired(void **state)
{
    struct gate *g = *state;
    const struct peer b = expire_after_the_login(g);

    gate_turn(g);
    assert_told_as_expired(g, &b);
    assert_int_equal(gate_count(g, PQB_COUNTER_TAIL_OVERTAKEN), 0);
}

static void also_when_a_checkpoint_has_dropped_the_record_of_it(void **state)
{
    struct gate *g = *state;
    const struct peer b = expire_after_the_login(g);

    fixture_settle(&g->store); // the checkpoint goes on to its end
    gate_turn(g);
    assert_told_as_expired(g, &b);
    assert_true(gate_count(g, PQB_COUNTER_TAIL_OVERTAKEN) > 0);
}

static void two_devices_of_a_user_see_one_order(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f, same;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer c = peer_ready(g, "carol", "phone", 2);
    struct peer one = peer_ready(g, "bob", "phone", 3);
    struct peer two = peer_ready(g, "bob", "desk", 4);
    peer_ack_all(&one);
    peer_ack_all(&two);
    gate_clear(g);
    for (uint64_t seq = 1; seq <= 5; seq++) {
        peer_msg(&a, seq, 0, "bob", "from alice");
        peer_msg(&c, seq, 0, "bob", "from carol");
    }
    gate_settle(g);
    assert_int_equal(peer_got_count(&one, PQB_FRAME_MSG_N), 10);
    for (unsigned i = 0; i < 10; i++) {
        assert_true(peer_got(&one, PQB_FRAME_MSG_N, i, &f));
        assert_true(peer_got(&two, PQB_FRAME_MSG_N, i, &same));
        assert_int_equal(f.msg_n.iseq, same.msg_n.iseq);
        assert_memory_equal(f.msg_n.body.data, same.msg_n.body.data, f.msg_n.body.len);
    }
    peer_ack_all(&one); // delivered once, by whichever device is first
    assert_true(peer_got(&a, PQB_FRAME_ACK_N, 0, &f));
    gate_clear(g);
    two.cursor = one.cursor;
    peer_ack(&two, one.cursor);
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_ACK_N), 0);
}

static void an_unacknowledged_message_is_sent_again(void **state)
{
    struct gate *g = *state;
    struct peer a, b;

    gate_open_with_two(g, &a, &b);
    peer_msg(&a, 1, 0, "bob", "hello");
    gate_settle(g);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_MSG_N), 1);
    gate_pass(g, 5 * SEC);
    assert_true(peer_got_count(&b, PQB_FRAME_MSG_N) >= 2);
    assert_true(gate_count(g, PQB_COUNTER_RETRANSMIT_MESSAGES) >= 1);
    peer_ack_all(&b);
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
    peer_ack_all(&b);
    peer_ack_all(&a);
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
    struct peer a, b;

    gate_open_with_two(g, &a, &b);
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
    peer_ack_all(&b);
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
    peer_send_many(&a, 1, 20, "bob");
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
    struct peer a, b;

    gate_open_with_two(g, &a, &b);
    peer_send_many(&a, 1, 10, "bob");
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
    peer_ack_all(&b);
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

// Whoever forges the source of his first datagram must not pour a backlog onto its owner.
static void a_login_that_moves_before_its_first_data_is_challenged_too(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;
    size_t to_new = 0;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    peer_send_many(&a, 1, 20, "bob");
    struct peer b = peer_make(g, "bob", "phone", 2);
    peer_send_init(&b, NULL);
    gate_settle(g);
    assert_true(peer_take_resp(&b));
    gate_clear(g);
    b.addr.port = 77;
    peer_send_one(&b, (struct pqb_frame){.type = PQB_FRAME_PING, .ping = {.nonce = 1}});
    gate_settle(g);
    gate_pass(g, 10 * PQB_NS_PER_SEC);
    for (size_t i = 0; i < g->sent_count; i++)
        to_new += pqb_addr_is_equal(&g->sent[i].to, &b.addr) ? g->sent[i].len : 0;
    assert_in_range(to_new, 1, 3 * 64); // the ping is no longer than 64 bytes
    assert_true(peer_got(&b, PQB_FRAME_PATH_CHALLENGE, 0, &f));
    f.type = PQB_FRAME_PATH_RESPONSE;
    peer_send_one(&b, f);
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_PATH_MOVED), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, gate_begin, gate_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(who_is_absent_gets_a_small_backlog_pushed_at_login),
        CASE(a_large_backlog_is_pulled_in_pages),
        CASE(while_a_backlog_is_pulled_arrivals_are_only_announced),
        CASE(a_checkpoint_that_overtakes_the_shard_hides_no_message),
        CASE(a_page_alone_acknowledges_nothing),
        CASE(an_ack_range_stops_retransmission_but_acknowledges_nothing),
        CASE(the_last_cursor_outlives_its_session),
        CASE(a_cursor_above_the_head_is_refused),
        CASE(a_cursor_above_the_head_at_login_begins_a_new_generation),
        CASE(a_new_generation_that_cannot_be_made_at_once_is_asked_for_again),
        CASE(what_expired_is_told_by_a_gap_and_acknowledged_like_a_message),
        CASE(what_expired_before_a_new_generation_is_told_as_expired),
        CASE(what_was_too_many_is_passed_by_a_gap_and_the_newest_follow),
        CASE(what_expires_while_it_is_pushed_turns_into_a_gap),
        CASE(what_expires_right_after_a_login_is_told_as_expired),
        CASE(also_when_a_checkpoint_has_dropped_the_record_of_it),
        CASE(two_devices_of_a_user_see_one_order),
        CASE(an_unacknowledged_message_is_sent_again),
        CASE(giving_up_closes_the_session_and_keeps_the_message),
        CASE(closing_the_last_session_tells_senders_what_is_stored),
        CASE(what_became_of_a_message_can_be_asked_by_its_receipt),
        CASE(a_crash_loses_nothing_that_was_accepted),
        CASE(frames_to_one_peer_share_datagrams),
        CASE(an_address_moves_only_after_it_is_proved),
        CASE(a_login_that_moves_before_its_first_data_is_challenged_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
