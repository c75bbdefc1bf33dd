#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fake_gateway.h"

static struct fake f;
static uint8_t large_body[65536];

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

static uint64_t send_to(const char *to, const char *text)
{
    uint64_t id = 0;

    assert_int_equal(pqb_client_send(f.c, to, 3, text, strlen(text), 0, &id), 0);
    return id;
}

static void expect_receipt(uint64_t id, enum pqb_client_receipt receipt)
{
    const struct fake_event *e = fake_last_event(&f, FAKE_RECEIPT);

    assert_non_null(e);
    assert_int_equal(e->id, id);
    assert_int_equal(e->a, receipt);
}

static void answer(struct pqb_frame frame)
{
    fake_send(&f, &frame, 1);
}

static struct pqb_frame nack(uint64_t seq, uint8_t reason, uint32_t retry_after_ms)
{
    return (struct pqb_frame){.type = PQB_FRAME_NACK,
                              .nack = {.frame = PQB_FRAME_MSG_R,
                                       .ref = seq,
                                       .reason = reason,
                                       .retry_after_ms = retry_after_ms}};
}

static void a_message_is_sent_until_accepted(void **state)
{
    struct pqb_client_stats stats;

    (void)state;
    fake_login(&f);
    fake_forget(&f);
    const uint64_t id = send_to("bob", "hello");
    assert_int_equal(pqb_client_next_deadline(f.c), f.now);
    fake_pump(&f);
    const struct pqb_frame_msg_r *m = &fake_last(&f, PQB_FRAME_MSG_R)->msg_r;
    assert_int_equal(m->seq, id);
    assert_int_equal(m->low, id);
    assert_int_equal(m->kind, 3);
    assert_memory_equal(m->body.data, "hello", 5);
    fake_advance(&f, 3 * FAKE_SECOND); // repeated after the timeout
    assert_true(fake_count(&f, PQB_FRAME_MSG_R) >= 2);
    answer(fake_msg_a(id, PQB_STATE_ACCEPTED));
    expect_receipt(id, PQB_RECEIPT_ACCEPTED);
    fake_forget(&f);
    fake_advance(&f, 3 * FAKE_SECOND);
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 0);
    pqb_client_get_stats(f.c, &stats);
    assert_int_equal(stats.queue_count, 0);
    assert_int_equal(stats.sent, 1);
    answer(fake_msg_a(id, PQB_STATE_ACCEPTED)); // a repeat says nothing new
    assert_int_equal(fake_event_count(&f, FAKE_RECEIPT), 0);
}

static void many_messages_share_datagrams(void **state)
{
    (void)state;
    fake_login(&f);
    fake_forget(&f);
    for (int i = 0; i < 20; i++)
        send_to("bob", "twenty small ones");
    fake_pump(&f);
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 20);
    assert_int_equal(f.datagrams, 1);
}

static void messages_of_a_conversation_name_their_predecessor(void **state)
{
    (void)state;
    fake_login(&f);
    const uint64_t a = send_to("bob", "1"), b = send_to("carol", "2"), c = send_to("bob", "3");
    fake_forget(&f);
    fake_pump(&f);
    assert_int_equal(fake_nth(&f, PQB_FRAME_MSG_R, 0)->msg_r.after, 0);
    assert_int_equal(fake_nth(&f, PQB_FRAME_MSG_R, 1)->msg_r.after, 0);
    assert_int_equal(fake_nth(&f, PQB_FRAME_MSG_R, 2)->msg_r.after, a);
    // Resolved: nothing to wait for.
    const struct pqb_frame both[2] = {fake_msg_a(a, PQB_STATE_ACCEPTED),
                                      fake_msg_a(b, PQB_STATE_ACCEPTED)};
    fake_send(&f, both, 2);
    fake_forget(&f);
    fake_advance(&f, 3 * FAKE_SECOND);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.seq, c);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.after, 0);
}

static void an_abandoned_message_leaves_its_place_to_the_one_before(void **state)
{
    (void)state;
    const uint64_t a = send_to("bob", "1"), b = send_to("bob", "2"), c = send_to("bob", "3");
    assert_int_equal(pqb_client_abandon(f.c, b), 0); // never sent: at once
    expect_receipt(b, PQB_RECEIPT_ABANDONED);
    assert_int_equal(pqb_client_abandon(f.c, b), PQB_CLIENT_ERR_NOT_FOUND);
    fake_login(&f);
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 2);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.seq, c);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.after, a);
}

static void a_sent_message_is_abandoned_by_skip(void **state)
{
    (void)state;
    fake_login(&f);
    const uint64_t a = send_to("bob", "1"), b = send_to("bob", "2");
    fake_pump(&f);
    assert_int_equal(pqb_client_abandon(f.c, a), 0);
    assert_int_equal(pqb_client_abandon(f.c, b), 0);
    fake_pump(&f);
    assert_int_equal(fake_count(&f, PQB_FRAME_SKIP_R), 1);
    const struct pqb_frame truth = {
        .type = PQB_FRAME_SKIP_A,
        .skip_a = {.count = 2, .at = {{a, PQB_STATE_ACCEPTED}, {b, PQB_STATE_ABANDONED}}}};
    fake_forget(&f);
    answer(truth);
    assert_int_equal(fake_event_count(&f, FAKE_RECEIPT), 1);
    expect_receipt(b, PQB_RECEIPT_ABANDONED);
    // The seq of the other was used, by this queue or by a copy of it: msg:R finds out.
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 1);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.seq, a);
    answer(fake_msg_a(a, PQB_STATE_ACCEPTED));
    expect_receipt(a, PQB_RECEIPT_ACCEPTED);
    fake_forget(&f);
    fake_advance(&f, 3 * FAKE_SECOND);
    assert_int_equal(fake_count(&f, PQB_FRAME_SKIP_R), 0);
}

static void a_skipped_message_that_was_refused_is_told_with_the_reason(void **state)
{
    (void)state;
    fake_login(&f);
    const uint64_t a = send_to("bob", "too late");
    fake_pump(&f);
    assert_int_equal(pqb_client_abandon(f.c, a), 0);
    fake_pump(&f);
    fake_forget(&f);
    answer((struct pqb_frame){.type = PQB_FRAME_SKIP_A,
                              .skip_a = {.count = 1, .at = {{a, PQB_STATE_REFUSED}}}});
    assert_int_equal(fake_event_count(&f, FAKE_RECEIPT), 0);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.seq, a);
    answer(
        (struct pqb_frame){.type = PQB_FRAME_NACK,
                           .nack = {.frame = PQB_FRAME_MSG_R, .ref = a, .reason = PQB_NACK_QUOTA}});
    expect_receipt(a, PQB_RECEIPT_REFUSED);
    assert_int_equal(fake_last_event(&f, FAKE_RECEIPT)->b, PQB_REFUSAL_QUOTA);
}

static void a_skipped_message_whose_seq_a_clone_used_becomes_uncertain(void **state)
{
    (void)state;
    fake_login(&f);
    const uint64_t a = send_to("bob", "mine");
    fake_pump(&f);
    assert_int_equal(pqb_client_abandon(f.c, a), 0);
    fake_pump(&f);
    fake_forget(&f);
    answer((struct pqb_frame){.type = PQB_FRAME_SKIP_A,
                              .skip_a = {.count = 1, .at = {{a, PQB_STATE_ACCEPTED}}}});
    answer((struct pqb_frame){
        .type = PQB_FRAME_NACK,
        .nack = {.frame = PQB_FRAME_MSG_R, .ref = a, .reason = PQB_NACK_CONFLICT}});
    expect_receipt(a, PQB_RECEIPT_UNCERTAIN);
}

static void no_more_than_256_seqs_are_open(void **state)
{
    struct pqb_frame accepted = fake_msg_a(2, PQB_STATE_ACCEPTED);

    (void)state;
    fake_login(&f);
    fake_forget(&f);
    for (int i = 0; i < 300; i++)
        send_to("bob", "x");
    fake_pump(&f);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.seq, 256);
    answer(accepted); // low stays
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 256);
    accepted.msg_a.seq = 1;
    answer(accepted);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.seq, 258);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.low, 3);
}

static void a_full_queue_is_an_error(void **state)
{
    struct pqb_client_config config;

    (void)state;
    fake_stop(&f, false);
    pqb_client_config_default(&config);
    config.queue_max = 3;
    config.queue_bytes_max = 10;
    fake_start(&f, NULL, &config);
    send_to("bob", "12345");
    assert_int_equal(pqb_client_send(f.c, "bob", 0, "123456", 6, 0, NULL), PQB_CLIENT_ERR_FULL);
    send_to("bob", "12345");
    send_to("bob", "");
    assert_int_equal(pqb_client_send(f.c, "bob", 0, "", 0, 0, NULL), PQB_CLIENT_ERR_FULL);
}

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    assert_int_equal(pqb_client_send(f.c, "", 0, "x", 1, 0, NULL), PQB_CLIENT_ERR_INVALID);
    assert_int_equal(pqb_client_send(f.c, "a\nb", 0, "x", 1, 0, NULL), PQB_CLIENT_ERR_INVALID);
    assert_int_equal(pqb_client_send(f.c, "bob", 0, large_body, 65537, 0, NULL),
                     PQB_CLIENT_ERR_TOO_LARGE);
    assert_int_equal(pqb_client_send(f.c, "bob", 0, large_body, 65536, 0, NULL), 0);
}

static void a_final_nack_is_told_and_a_late_one_ignored(void **state)
{
    (void)state;
    fake_login(&f);
    const uint64_t id = send_to("bob", "1");
    fake_pump(&f);
    answer(nack(id, PQB_NACK_QUOTA, 0));
    expect_receipt(id, PQB_RECEIPT_REFUSED);
    assert_int_equal(fake_last_event(&f, FAKE_RECEIPT)->b, PQB_REFUSAL_QUOTA);
    fake_forget(&f);
    answer(nack(id, PQB_NACK_QUOTA, 0));
    answer(nack(id, PQB_NACK_CONFLICT, 0));
    assert_int_equal(f.event_count, 0);
}

static int refuse_drop(void *ctx, uint64_t seq)
{
    (void)ctx, (void)seq;
    return PQB_CLIENT_ERR_NO_SPACE;
}

// What the store keeps comes back with the next start; a low above it would be a rollback then.
static void what_the_store_will_not_drop_stays_queued_and_low(void **state)
{
    (void)state;
    fake_login(&f);
    const uint64_t id = send_to("bob", "hello");
    fake_pump(&f);
    int (*const drop)(void *ctx, uint64_t seq) = f.store->drop;
    f.store->drop = refuse_drop;
    answer(fake_msg_a(id, PQB_STATE_ACCEPTED));
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_FAILED);
    assert_int_equal(fake_event_count(&f, FAKE_RECEIPT), 0);
    f.store->drop = drop;
    fake_login(&f);
    assert_int_equal(f.init.low, id);
    fake_pump(&f);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.seq, id);
    answer(fake_msg_a(id, PQB_STATE_ACCEPTED));
    expect_receipt(id, PQB_RECEIPT_ACCEPTED);
}

static void a_transient_nack_is_retried_after_its_time(void **state)
{
    (void)state;
    fake_login(&f);
    const uint64_t id = send_to("bob", "1");
    fake_pump(&f);
    fake_forget(&f);
    answer(nack(id, PQB_NACK_STORAGE, 2000));
    fake_advance(&f, 2 * FAKE_SECOND - 1);
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 0);
    fake_advance(&f, FAKE_SECOND / 2 + 1);
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 1);
    assert_int_equal(fake_event_count(&f, FAKE_RECEIPT), 0);
    answer(nack(id, 200, 0));              // a reason of a newer gateway is treated as busy
    fake_advance(&f, FAKE_SECOND * 5 / 4); // the timeout and up to a quarter more
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 2);
}

static void what_overtook_its_leader_goes_again_right_behind_it(void **state)
{
    (void)state;
    fake_login(&f);
    const uint64_t a = send_to("bob", "1"), b = send_to("bob", "2");
    fake_pump(&f);
    fake_forget(&f);
    fake_advance(&f, 10 * FAKE_MS);
    answer(nack(b, PQB_NACK_ORDER, 5000));
    fake_advance(&f, FAKE_SECOND - 10 * FAKE_MS - 1);
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 0);
    fake_advance(&f, FAKE_SECOND / 4 + 1); // the leader's timeout
    assert_int_equal(fake_nth(&f, PQB_FRAME_MSG_R, 0)->msg_r.seq, a);
    assert_int_equal(fake_nth(&f, PQB_FRAME_MSG_R, 1)->msg_r.seq, b);
    assert_int_equal(fake_nth(&f, PQB_FRAME_MSG_R, 1)->msg_r.after, a);
}

static void the_first_of_the_queue_goes_again_once_a_later_datagram_arrived(void **state)
{
    const struct pqb_frame pong = {.type = PQB_FRAME_PONG};

    (void)state;
    fake_login(&f);
    f.is_echoing = true;
    const uint64_t a = send_to("bob", "1");
    fake_pump(&f);
    fake_advance(&f, 10 * FAKE_MS);
    answer(fake_msg_a(a, PQB_STATE_ACCEPTED));
    const uint64_t b = send_to("bob", "2");
    fake_pump(&f);
    (void)send_to("bob", "3");
    fake_pump(&f);
    fake_forget(&f);
    fake_advance(&f, 10 * FAKE_MS);
    answer(pong); // the later one's number comes with it
    fake_advance(&f, 15 * FAKE_MS - 1);
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 0);
    fake_advance(&f, 1); // 10 ms of the last answer and four times 3.75 of variance
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 1);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.seq, b);
    fake_advance(&f, 100 * FAKE_MS); // nothing later than the repeat has arrived
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 1);
}

static void the_queue_outlives_the_client(void **state)
{
    (void)state;
    fake_login(&f);
    const uint64_t a = send_to("bob", "1"), b = send_to("bob", "2");
    fake_pump(&f);
    answer(fake_msg_a(a, PQB_STATE_ACCEPTED));
    fake_restart(&f);
    fake_login(&f);
    assert_int_equal(f.init.epoch, 7);
    assert_int_equal(f.init.low, b);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.seq, b);
    assert_int_equal(send_to("bob", "3"), b + 1);
}

static void a_resp_above_the_own_low_makes_the_queue_uncertain(void **state)
{
    (void)state;
    fake_login(&f);
    const uint64_t a = send_to("bob", "1");
    fake_pump(&f);
    fake_restart(&f);
    const uint64_t b = send_to("bob", "2"); // a copy of this process's disk may have sent it
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
    fake_forget(&f);
    struct pqb_resp resp = fake_resp(&f);
    resp.low = a + 1;
    const size_t inits = f.inits;
    fake_send_resp(&f, &resp);
    expect_receipt(b, PQB_RECEIPT_UNCERTAIN);
    assert_int_equal(fake_event_count(&f, FAKE_RECEIPT), 2);
    const uint64_t d = send_to("bob", "3");
    assert_int_equal(f.inits, inits + 1); // at once, without an epoch
    assert_int_equal(f.init.epoch, 0);
    resp = fake_resp(&f);
    fake_send_resp(&f, &resp);
    struct pqb_frame epoch = {.type = PQB_FRAME_EPOCH_A, .epoch_a = {.epoch = 8}};
    memcpy(epoch.epoch_a.nonce, fake_last(&f, PQB_FRAME_EPOCH_R)->epoch_r.nonce, PQB_NONCE_LEN);
    answer(epoch);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.seq, d);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.low, d);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.after, 0);
}

static void a_consumed_seq_that_was_never_used_is_a_rollback(void **state)
{
    (void)state;
    fake_login(&f);
    fake_restart(&f);
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
    struct pqb_resp resp = fake_resp(&f);
    resp.consumed_count = 1;
    resp.consumed[0] = (struct pqb_range){1, 1};
    fake_send_resp(&f, &resp);
    assert_int_equal(f.init.epoch, 0);
}

// Logs in once more; the gateway's memory of the device is what `resp` is changed to.
static struct pqb_resp login_again(void)
{
    pqb_client_close(f.c, f.now);
    fake_pump(&f);
    fake_forget(&f);
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
    return fake_resp(&f);
}

static void what_the_gateway_forgot_of_its_epoch_is_told_once(void **state)
{
    struct pqb_resp resp;

    (void)state;
    fake_login(&f);
    for (uint64_t id = 1; id <= 4; id++)
        assert_int_equal(send_to("bob", "text"), id);
    fake_pump(&f);
    for (uint64_t id = 1; id <= 3; id++)
        answer(fake_msg_a(id, PQB_STATE_ACCEPTED));
    answer(nack(4, PQB_NACK_QUOTA, 0)); // was not accepted: nothing of it can be lost
    resp = login_again();
    resp.epoch = 7;
    resp.low = 1;
    resp.consumed_count = 1;
    resp.consumed[0] = (struct pqb_range){2, 2};
    fake_send_resp(&f, &resp);
    assert_int_equal(fake_event_count(&f, FAKE_FORGOTTEN), 1);
    assert_int_equal(fake_last_event(&f, FAKE_FORGOTTEN)->id, 1);
    assert_int_equal(fake_last_event(&f, FAKE_FORGOTTEN)->to, 3);
    assert_int_equal(f.init.epoch, 7); // the queue goes on
    resp = login_again();
    resp.epoch = 7;
    resp.low = 1;
    fake_send_resp(&f, &resp);
    assert_int_equal(fake_event_count(&f, FAKE_FORGOTTEN), 0);
}

static void what_the_gateway_still_knows_is_not_forgotten(void **state)
{
    struct pqb_resp resp;

    (void)state;
    fake_login(&f);
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(send_to("bob", "text"), id);
    fake_pump(&f);
    for (uint64_t id = 1; id <= 3; id++)
        answer(fake_msg_a(id, PQB_STATE_ACCEPTED));
    resp = login_again();
    resp.epoch = 7;
    resp.low = 2; // 1 lies below
    resp.consumed_count = 1;
    resp.consumed[0] = (struct pqb_range){2, 3};
    fake_send_resp(&f, &resp);
    resp = login_again();
    resp.epoch = 7;
    resp.low = 4;
    fake_send_resp(&f, &resp);
    assert_int_equal(fake_event_count(&f, FAKE_FORGOTTEN), 0);
}

static void an_older_epoch_makes_all_that_was_accepted_doubtful(void **state)
{
    struct pqb_resp resp;

    (void)state;
    fake_login(&f);
    assert_int_equal(send_to("bob", "1"), 1);
    fake_pump(&f);
    answer(fake_msg_a(1, PQB_STATE_ACCEPTED));
    assert_int_equal(send_to("bob", "2"), 2);
    fake_pump(&f);
    resp = login_again();
    resp.epoch = 6;
    fake_send_resp(&f, &resp);
    expect_receipt(2, PQB_RECEIPT_UNCERTAIN);
    assert_int_equal(fake_last_event(&f, FAKE_FORGOTTEN)->id, 1);
    assert_int_equal(fake_last_event(&f, FAKE_FORGOTTEN)->to, 2);
    assert_int_equal(f.init.epoch, 0);
}

static void a_conflict_makes_the_queue_uncertain(void **state)
{
    (void)state;
    fake_login(&f);
    const uint64_t id = send_to("bob", "1");
    fake_pump(&f);
    answer(nack(id, PQB_NACK_CONFLICT, 0));
    expect_receipt(id, PQB_RECEIPT_UNCERTAIN);
    assert_int_equal(fake_last_event(&f, FAKE_STATE)->b, PQB_REASON_EPOCH);
    fake_advance(&f, FAKE_SECOND);
    assert_int_equal(f.init.epoch, 0);
}

static void delivered_comes_by_hint_or_by_asking(void **state)
{
    struct pqb_frame hint = {.type = PQB_FRAME_ACK_N, .ack_n = {.state = PQB_STATE_STORED}};

    (void)state;
    fake_login(&f);
    const uint64_t a = send_to("bob", "1"), b = send_to("bob", "2");
    fake_pump(&f);
    const struct pqb_frame both[2] = {fake_msg_a(a, PQB_STATE_ACCEPTED),
                                      fake_msg_a(b, PQB_STATE_ACCEPTED)};
    fake_send(&f, both, 2);
    hint.ack_n.seqs = (struct pqb_ranges){.count = 1, .at = {{a, b}}};
    answer(hint);
    expect_receipt(b, PQB_RECEIPT_STORED);
    hint.ack_n.state = PQB_STATE_ACCEPTED; // states only move forward
    fake_forget(&f);
    answer(hint);
    assert_int_equal(f.event_count, 0);
    hint.ack_n.state = PQB_STATE_DELIVERED;
    hint.ack_n.seqs.at[0].last = a;
    answer(hint);
    expect_receipt(a, PQB_RECEIPT_DELIVERED);

    fake_advance(&f, 7 * FAKE_SECOND);
    assert_int_equal(fake_count(&f, PQB_FRAME_STAT_R), 1);
    const struct pqb_frame_stat_r *ask = &fake_last(&f, PQB_FRAME_STAT_R)->stat_r;
    assert_int_equal(ask->seq, b);
    assert_int_equal(ask->receipt[0], b);
    assert_memory_equal(ask->to.data, "bob", 3);
    const struct pqb_frame truth = {.type = PQB_FRAME_STAT_A,
                                    .stat_a = {.seq = b, .state = PQB_STATE_DELIVERED}};
    answer(truth);
    expect_receipt(b, PQB_RECEIPT_DELIVERED);
    fake_forget(&f);
    fake_advance(&f, 60 * FAKE_SECOND);
    assert_int_equal(fake_count(&f, PQB_FRAME_STAT_R), 0);
}

static void ephemeral_messages_are_sent_once_and_only_online(void **state)
{
    (void)state;
    assert_int_equal(pqb_client_send(f.c, "bob", 0, "typing", 6, PQB_CLIENT_EPHEMERAL, NULL),
                     PQB_CLIENT_ERR_AGAIN);
    fake_login(&f);
    fake_forget(&f);
    assert_int_equal(pqb_client_send(f.c, "bob", 0, "typing", 6, PQB_CLIENT_EPHEMERAL, NULL), 0);
    assert_int_equal(pqb_client_send(f.c, "bob", 0, large_body, 2000, PQB_CLIENT_EPHEMERAL, NULL),
                     PQB_CLIENT_ERR_TOO_LARGE);
    fake_pump(&f);
    fake_advance(&f, 5 * FAKE_SECOND);
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 1);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.seq, 0);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.flags, PQB_MSG_EPHEMERAL);
}

// Acknowledges the pieces caught so far but those that `lost` names; returns how many there are.
static size_t ack_pieces(uint64_t lost)
{
    struct pqb_frame ack = {.type = PQB_FRAME_FRAG_A};
    struct pqb_ranges *r = &ack.frag_a.received;
    bool have[128] = {false};
    size_t count = 0;

    for (size_t i = 0; i < fake_count(&f, PQB_FRAME_FRAG); i++) {
        const struct pqb_frame_frag *piece = &fake_nth(&f, PQB_FRAME_FRAG, i)->frag;

        ack.frag_a.id = piece->id;
        have[piece->index] = piece->index != lost;
    }
    for (uint64_t i = 0; i < 128; i++) {
        count += have[i];
        if (have[i] && r->count > 0 && r->at[r->count - 1].last + 1 == i)
            r->at[r->count - 1].last = i;
        else if (have[i])
            r->at[r->count++] = (struct pqb_range){i, i};
    }
    answer(ack);
    return count;
}

static void a_large_message_goes_in_pieces(void **state)
{
    uint64_t id;
    size_t have = 0;

    (void)state;
    fake_login(&f);
    fake_forget(&f);
    assert_int_equal(pqb_client_send(f.c, "bob", 0, large_body, 65536, 0, &id), 0);
    const uint64_t small = send_to("carol", "not held up");
    fake_pump(&f);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.seq, small);
    answer(fake_msg_a(small, PQB_STATE_ACCEPTED));
    for (int i = 0; i < 100 && have < 65; i++) {
        fake_advance(&f, 20 * FAKE_MS);
        have = ack_pieces(i < 3 ? 2 : 1000); // the third piece is lost at first
    }
    assert_int_equal(have, 65);
    assert_int_equal(fake_last(&f, PQB_FRAME_FRAG)->frag.seq, id);
    // All there, no answer: the acknowledgements are void, and it goes again under a new id.
    fake_forget(&f);
    fake_advance(&f, 3 * FAKE_SECOND);
    assert_true(fake_count(&f, PQB_FRAME_FRAG) > 0);
    assert_int_equal(fake_last(&f, PQB_FRAME_FRAG)->frag.id, 2);
    answer(fake_msg_a(id, PQB_STATE_ACCEPTED));
    expect_receipt(id, PQB_RECEIPT_ACCEPTED);
    fake_forget(&f);
    fake_advance(&f, 3 * FAKE_SECOND);
    assert_int_equal(fake_count(&f, PQB_FRAME_FRAG), 0);
}

// The whole whose pieces were caught last, all of the same id.
static struct pqb_frame_msg_r whole(void)
{
    static uint8_t content[4096];
    const struct pqb_frame_frag *piece = &fake_last(&f, PQB_FRAME_FRAG)->frag;
    struct pqb_frame frame;

    for (size_t i = 0; i < fake_count(&f, PQB_FRAME_FRAG); i++) {
        const struct pqb_frame_frag *p = &fake_nth(&f, PQB_FRAME_FRAG, i)->frag;

        assert_int_equal(p->id, piece->id);
        memcpy(content + p->index * PQB_FRAG_LEN, p->piece.data, p->piece.len);
    }
    assert_int_equal(pqb_frame_decode(f.unpacker, PQB_FRAME_MSG_R,
                                      (struct pqb_bytes){content, piece->total}, &frame),
                     PQB_VERDICT_OK);
    return frame.msg_r;
}

static void a_large_message_sent_again_follows_what_is_still_queued(void **state)
{
    uint64_t id;

    (void)state;
    fake_login(&f);
    fake_forget(&f);
    const uint64_t before = send_to("bob", "goes before");
    assert_int_equal(pqb_client_send(f.c, "bob", 0, large_body, 2000, 0, &id), 0);
    fake_pump(&f);
    assert_int_equal(whole().after, before);
    answer(fake_msg_a(before, PQB_STATE_ACCEPTED));
    fake_forget(&f);
    answer((struct pqb_frame){.type = PQB_FRAME_FRAG_RESET, .frag_reset = {1, id}});
    fake_advance(&f, FAKE_SECOND);
    assert_int_equal(whole().seq, id);
    assert_int_equal(whole().after, 0);
}

static void a_reset_of_the_pieces_sends_all_again(void **state)
{
    uint64_t id;

    (void)state;
    fake_login(&f);
    fake_forget(&f);
    assert_int_equal(pqb_client_send(f.c, "bob", 0, large_body, 3000, 0, &id), 0);
    fake_pump(&f);
    assert_int_equal(fake_count(&f, PQB_FRAME_FRAG), 3);
    ack_pieces(1000);
    fake_forget(&f);
    const struct pqb_frame reset = {.type = PQB_FRAME_FRAG_RESET, .frag_reset = {1, id}};
    answer(reset);
    fake_advance(&f, 2 * FAKE_SECOND);
    assert_true(fake_count(&f, PQB_FRAME_FRAG) >= 3);
    assert_int_equal(fake_nth(&f, PQB_FRAME_FRAG, 0)->frag.id, 2);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(a_message_is_sent_until_accepted),
        CASE(many_messages_share_datagrams),
        CASE(messages_of_a_conversation_name_their_predecessor),
        CASE(an_abandoned_message_leaves_its_place_to_the_one_before),
        CASE(a_sent_message_is_abandoned_by_skip),
        CASE(a_skipped_message_that_was_refused_is_told_with_the_reason),
        CASE(a_skipped_message_whose_seq_a_clone_used_becomes_uncertain),
        CASE(no_more_than_256_seqs_are_open),
        CASE(a_full_queue_is_an_error),
        CASE(wrong_arguments_are_refused),
        CASE(a_final_nack_is_told_and_a_late_one_ignored),
        CASE(what_the_store_will_not_drop_stays_queued_and_low),
        CASE(a_transient_nack_is_retried_after_its_time),
        CASE(what_overtook_its_leader_goes_again_right_behind_it),
        CASE(the_first_of_the_queue_goes_again_once_a_later_datagram_arrived),
        CASE(the_queue_outlives_the_client),
        CASE(a_resp_above_the_own_low_makes_the_queue_uncertain),
        CASE(a_consumed_seq_that_was_never_used_is_a_rollback),
        CASE(what_the_gateway_forgot_of_its_epoch_is_told_once),
        CASE(what_the_gateway_still_knows_is_not_forgotten),
        CASE(an_older_epoch_makes_all_that_was_accepted_doubtful),
        CASE(a_conflict_makes_the_queue_uncertain),
        CASE(delivered_comes_by_hint_or_by_asking),
        CASE(ephemeral_messages_are_sent_once_and_only_online),
        CASE(a_large_message_goes_in_pieces),
        CASE(a_large_message_sent_again_follows_what_is_still_queued),
        CASE(a_reset_of_the_pieces_sends_all_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
