#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/crc32c.h"
#include "tests/unit/fake_gateway.h"

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

static void arrive(uint64_t iseq)
{
    const struct pqb_frame m = fake_msg_n(iseq, "hello");

    fake_send(&f, &m, 1);
}

static void gateway_has(uint64_t cursor)
{
    const struct pqb_frame a = {.type = PQB_FRAME_ACK_A, .ack_a = {cursor}};

    fake_send(&f, &a, 1);
}

static void expect_handed(const uint64_t *iseqs, size_t count)
{
    assert_int_equal(fake_event_count(&f, FAKE_MESSAGE), count);
    for (size_t i = 0, n = 0; i < f.event_count; i++) {
        if (f.events[i].type == FAKE_MESSAGE)
            assert_int_equal(f.events[i].id, iseqs[n++]);
    }
}

static void messages_are_handed_over_in_order_once(void **state)
{
    static const uint64_t expected[] = {1, 2, 3, 4};
    struct pqb_client_stats stats;

    (void)state;
    fake_login(&f);
    fake_forget(&f);
    arrive(1);
    arrive(3);
    arrive(4);
    arrive(3);
    arrive(2);
    arrive(1);
    expect_handed(expected, 4);
    assert_string_equal(f.events[0].from, "bob");
    assert_string_equal(f.events[0].text, "hello");
    assert_int_equal(pqb_client_get_cursor(f.c), 4);
    pqb_client_get_stats(f.c, &stats);
    assert_int_equal(stats.received, 4);
    assert_int_equal(stats.duplicates, 2);
    assert_int_equal(stats.buffered, 0);
}

static void an_acknowledgement_waits_20_ms_or_8_messages(void **state)
{
    (void)state;
    fake_login(&f);
    fake_forget(&f);
    arrive(1);
    fake_advance(&f, 20 * FAKE_MS - 1);
    assert_int_equal(fake_count(&f, PQB_FRAME_ACK_R), 0);
    fake_advance(&f, 1);
    assert_int_equal(fake_last(&f, PQB_FRAME_ACK_R)->ack_r.cursor, 1);
    gateway_has(1);
    fake_forget(&f);
    for (uint64_t i = 2; i <= 8; i++)
        arrive(i);
    assert_int_equal(fake_count(&f, PQB_FRAME_ACK_R), 0);
    arrive(9);
    assert_int_equal(fake_last(&f, PQB_FRAME_ACK_R)->ack_r.cursor, 9);
}

static void an_acknowledgement_rides_along(void **state)
{
    (void)state;
    fake_login(&f);
    fake_forget(&f);
    arrive(1);
    assert_int_equal(pqb_client_send(f.c, "bob", 0, "x", 1, 0, NULL), 0);
    fake_pump(&f);
    assert_int_equal(f.datagrams, 1);
    assert_int_equal(fake_count(&f, PQB_FRAME_ACK_R), 1);
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 1);
}

static void an_acknowledgement_is_repeated_until_answered(void **state)
{
    (void)state;
    fake_login(&f);
    fake_forget(&f);
    arrive(1);
    fake_advance(&f, 3 * FAKE_SECOND);
    assert_true(fake_count(&f, PQB_FRAME_ACK_R) >= 2);
    gateway_has(1);
    fake_forget(&f);
    fake_advance(&f, 10 * FAKE_SECOND);
    assert_int_equal(fake_count(&f, PQB_FRAME_ACK_R), 0);
}

static void a_repeat_and_a_hole_are_acknowledged_at_once(void **state)
{
    (void)state;
    fake_login(&f);
    arrive(1);
    fake_advance(&f, 20 * FAKE_MS);
    gateway_has(1);
    fake_forget(&f);
    arrive(1);
    assert_int_equal(fake_count(&f, PQB_FRAME_ACK_R), 1);
    arrive(3);
    arrive(5);
    arrive(4);
    const struct pqb_frame_ack_r *ack = &fake_last(&f, PQB_FRAME_ACK_R)->ack_r;
    assert_int_equal(ack->cursor, 1);
    assert_int_equal(ack->received.count, 1);
    assert_int_equal(ack->received.at[0].first, 3);
    assert_int_equal(ack->received.at[0].last, 5);
}

static void the_window_ends_256_above_the_cursor(void **state)
{
    struct pqb_client_stats stats;

    (void)state;
    fake_login(&f);
    arrive(257);
    arrive(256);
    pqb_client_get_stats(f.c, &stats);
    assert_int_equal(stats.held_back, 1);
    assert_int_equal(stats.buffered, 1);
}

static void what_waits_is_handed_over_when_the_hole_closes(void **state)
{
    struct pqb_client_stats stats;
    static char body[900];
    uint64_t iseq = 2;

    (void)state;
    memset(body, 'x', sizeof(body) - 1);
    fake_login(&f);
    for (; iseq <= 256; iseq++) {
        const struct pqb_frame m = fake_msg_n(iseq, body);

        fake_deliver_only(&f, &m, 1);
    }
    fake_pump(&f);
    pqb_client_get_stats(f.c, &stats);
    assert_int_equal(stats.buffered, 255);
    assert_int_equal(stats.held_back, 0);
    fake_forget(&f);
    arrive(1);
    assert_int_equal(pqb_client_get_cursor(f.c), 256);
    assert_int_equal(fake_event_count(&f, FAKE_MESSAGE), 256);
}

static void not_now_is_asked_again_later(void **state)
{
    static const uint64_t expected[] = {1, 2};

    (void)state;
    fake_login(&f);
    fake_forget(&f);
    f.refuse_messages = 2;
    arrive(1);
    arrive(2);
    expect_handed(NULL, 0);
    assert_int_equal(pqb_client_get_cursor(f.c), 0);
    fake_advance(&f, 100 * FAKE_MS); // refused a second time, then 200 ms
    expect_handed(NULL, 0);
    fake_advance(&f, 200 * FAKE_MS - 1);
    expect_handed(NULL, 0);
    fake_advance(&f, 1);
    expect_handed(expected, 2);
}

static void resume_asks_at_once(void **state)
{
    static const uint64_t expected[] = {1};

    (void)state;
    fake_login(&f);
    fake_forget(&f);
    f.refuse_messages = 1;
    arrive(1);
    pqb_client_resume(f.c);
    assert_int_equal(pqb_client_next_deadline(f.c), 0);
    fake_run_until(&f, f.now);
    expect_handed(expected, 1);
}

static void a_gap_is_stepped_over_in_its_turn(void **state)
{
    static const uint64_t expected[] = {1, 6};
    const struct pqb_frame gap = {.type = PQB_FRAME_GAP_N,
                                  .gap_n = {.from = 2, .to = 5, .reason = PQB_GAP_EXPIRED}};

    (void)state;
    fake_login(&f);
    fake_forget(&f);
    fake_send(&f, &gap, 1);
    arrive(6);
    assert_int_equal(f.event_count, 0);
    arrive(1);
    expect_handed(expected, 2);
    const struct fake_event *e = fake_last_event(&f, FAKE_GAP);
    assert_int_equal(e->id, 2);
    assert_int_equal(e->to, 5);
    assert_int_equal(e->a, PQB_GAP_WAS_EXPIRED);
    fake_send(&f, &gap, 1); // a repeat is only acknowledged
    assert_int_equal(fake_event_count(&f, FAKE_GAP), 1);
}

static void a_gap_leads_into_a_new_generation(void **state)
{
    const uint64_t first = PQB_ISEQ_MAKE(5, 1);
    const struct pqb_frame gap = {
        .type = PQB_FRAME_GAP_N,
        .gap_n = {.from = 2, .to = first - 1, .reason = PQB_GAP_GENERATION}};

    (void)state;
    fake_login(&f);
    arrive(1);
    arrive(first); // too early: left to the gateway to send again
    fake_send(&f, &gap, 1);
    arrive(first);
    assert_int_equal(pqb_client_get_cursor(f.c), first);
}

// A gateway that says so is broken, but it is not for the client to fall over.
static void a_gap_up_to_the_last_position_of_all_is_acknowledged(void **state)
{
    const struct pqb_frame gap = {
        .type = PQB_FRAME_GAP_N, .gap_n = {.from = 3, .to = UINT64_MAX, .reason = PQB_GAP_EXPIRED}};

    (void)state;
    fake_login(&f);
    fake_send(&f, &gap, 1);
    arrive(5);
    fake_advance(&f, FAKE_SECOND);
    const struct pqb_ranges *r = &fake_last(&f, PQB_FRAME_ACK_R)->ack_r.received;
    assert_int_equal(r->count, 1);
    assert_int_equal(r->at[0].first, 3);
    assert_int_equal(r->at[0].last, UINT64_MAX);
    arrive(1);
    arrive(2);
    fake_advance(&f, FAKE_SECOND);
    assert_int_equal(pqb_client_get_cursor(f.c), UINT64_MAX);
}

static void the_cursor_survives_a_restart(void **state)
{
    (void)state;
    fake_login(&f);
    arrive(1);
    arrive(2);
    fake_restart(&f);
    fake_forget(&f);
    fake_login(&f);
    assert_int_equal(f.init.cursor, 2);
    arrive(2);
    assert_int_equal(fake_event_count(&f, FAKE_MESSAGE), 0);
    arrive(3);
    assert_int_equal(fake_event_count(&f, FAKE_MESSAGE), 1);
}

static void a_new_device_starts_where_the_gateway_says(void **state)
{
    static const uint64_t expected[] = {43};

    (void)state;
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
    struct pqb_resp resp = fake_resp(&f);
    resp.cursor = 40;
    fake_send_resp(&f, &resp);
    assert_int_equal(pqb_client_get_cursor(f.c), 0); // a preview changes nothing
    gateway_has(42);                                 // binding
    arrive(43);
    expect_handed(expected, 1);
}

static void an_older_state_is_told_what_it_missed(void **state)
{
    (void)state;
    fake_login(&f);
    arrive(1);
    fake_restart(&f);
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
    struct pqb_resp resp = fake_resp(&f);
    resp.cursor = 9;
    fake_send_resp(&f, &resp);
    gateway_has(9);
    const struct fake_event *e = fake_last_event(&f, FAKE_GAP);
    assert_int_equal(e->id, 2);
    assert_int_equal(e->to, 9);
    assert_int_equal(e->a, PQB_GAP_WAS_TAKEN);
}

static void ephemeral_messages_have_no_position(void **state)
{
    (void)state;
    fake_login(&f);
    fake_forget(&f);
    arrive(0);
    arrive(0);
    assert_int_equal(fake_event_count(&f, FAKE_MESSAGE), 2);
    assert_int_equal(f.events[0].a, PQB_CLIENT_EPHEMERAL);
    fake_advance(&f, FAKE_SECOND);
    assert_int_equal(fake_count(&f, PQB_FRAME_ACK_R), 0);
}

static void a_large_message_is_put_together(void **state)
{
    static char body[3000];
    static uint8_t content[4000];
    struct pqb_frame whole, piece = {.type = PQB_FRAME_FRAG};

    (void)state;
    memset(body, 'y', sizeof(body) - 1);
    whole = fake_msg_n(1, body);
    const size_t len = pqb_frame_encode_content(&whole, content, sizeof(content));
    fake_login(&f);
    fake_forget(&f);
    piece.frag = (struct pqb_frame_frag){.id = 1,
                                         .frame = PQB_FRAME_MSG_N,
                                         .seq = 1,
                                         .total = (uint32_t)len,
                                         .hash = pqb_crc32c(0, content, len)};
    for (uint16_t i = 3; i-- > 0;) {
        const size_t from = i * 1024u;

        piece.frag.index = i;
        piece.frag.piece =
            (struct pqb_bytes){content + from, len - from < 1024 ? len - from : 1024};
        fake_send(&f, &piece, 1);
        if (i == 2) {
            fake_advance(&f, 5 * FAKE_MS);
            assert_int_equal(fake_last(&f, PQB_FRAME_FRAG_A)->frag_a.received.at[0].first, 2);
        }
    }
    assert_int_equal(fake_last_event(&f, FAKE_MESSAGE)->len, 2999);
    assert_int_equal(fake_last(&f, PQB_FRAME_FRAG_A)->frag_a.received.at[0].last, 2);
    fake_forget(&f);
    fake_send(&f, &piece, 1); // late: everything is acknowledged, nothing collected
    assert_int_equal(fake_event_count(&f, FAKE_MESSAGE), 0);
    assert_int_equal(fake_last(&f, PQB_FRAME_FRAG_A)->frag_a.received.at[0].last, 2);
}

// Logs in with a backlog of `count` messages that has to be pulled.
static void login_with_backlog(uint64_t count)
{
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
    struct pqb_resp resp = fake_resp(&f);
    resp.count = resp.head = count;
    fake_send_resp(&f, &resp);
    fake_forget(&f);
    gateway_has(0);
}

// Answers off:R as a gateway would whose inbox holds 1..head.
static void serve_page(uint64_t head)
{
    const struct pqb_frame_off_r ask = fake_last(&f, PQB_FRAME_OFF_R)->off_r;
    const uint64_t last = ask.after + ask.max < head ? ask.after + ask.max : head;
    struct pqb_frame page = {.type = PQB_FRAME_OFF_A, .off_a = {.after = ask.after, .head = head}};

    if (last > ask.after) {
        page.off_a.first = ask.after + 1;
        page.off_a.last = last;
        page.off_a.has_more = head > last;
    }
    fake_send(&f, &page, 1);
    for (uint64_t i = ask.after + 1; i <= last; i++) {
        const struct pqb_frame m = fake_msg_n(i, "page");

        fake_deliver_only(&f, &m, 1);
    }
    fake_pump(&f);
}

static void a_backlog_of_n_pages_costs_n_plus_1_requests(void **state)
{
    struct pqb_client_stats stats;

    (void)state;
    login_with_backlog(250);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(fake_last(&f, PQB_FRAME_OFF_R)->off_r.cursor,
                         fake_last(&f, PQB_FRAME_OFF_R)->off_r.after);
        serve_page(250);
    }
    assert_int_equal(pqb_client_get_cursor(f.c), 250);
    pqb_client_get_stats(f.c, &stats);
    assert_int_equal(stats.pages_requested, 4); // 100 + 100 + 50, and one that acknowledges
    gateway_has(250);
    fake_forget(&f);
    fake_advance(&f, 20 * FAKE_SECOND);
    assert_int_equal(fake_count(&f, PQB_FRAME_OFF_R), 0);
}

static void a_request_for_a_page_is_repeated_unchanged(void **state)
{
    struct pqb_client_stats stats;

    (void)state;
    login_with_backlog(250);
    fake_advance(&f, 4 * FAKE_SECOND);
    assert_true(fake_count(&f, PQB_FRAME_OFF_R) >= 2);
    for (size_t i = 0; i < fake_count(&f, PQB_FRAME_OFF_R); i++)
        assert_int_equal(fake_nth(&f, PQB_FRAME_OFF_R, i)->off_r.after, 0);
    pqb_client_get_stats(f.c, &stats);
    assert_int_equal(stats.pages_requested, 1);
}

static void without_auto_pull_the_application_asks(void **state)
{
    struct pqb_client_config config;

    (void)state;
    fake_stop(&f, false);
    pqb_client_config_default(&config);
    config.auto_pull = false;
    fake_start(&f, NULL, &config);
    assert_int_equal(pqb_client_pull(f.c, 10), PQB_CLIENT_ERR_AGAIN);
    login_with_backlog(250);
    assert_int_equal(fake_last_event(&f, FAKE_BACKLOG)->id, 250);
    assert_int_equal(fake_count(&f, PQB_FRAME_OFF_R), 0);
    assert_int_equal(pqb_client_pull(f.c, 0), PQB_CLIENT_ERR_INVALID);
    assert_int_equal(pqb_client_pull(f.c, 257), PQB_CLIENT_ERR_INVALID);
    assert_int_equal(pqb_client_pull(f.c, 10), 0);
    assert_int_equal(pqb_client_pull(f.c, 10), PQB_CLIENT_ERR_AGAIN);
    fake_pump(&f);
    fake_forget(&f);
    fake_advance(&f, 2 * FAKE_SECOND); // repeated
    serve_page(250);
    assert_int_equal(pqb_client_get_cursor(f.c), 10);
    assert_int_equal(fake_event_count(&f, FAKE_BACKLOG), 1);
}

static void news_of_the_head_start_a_pull(void **state)
{
    const struct pqb_frame news = {.type = PQB_FRAME_OFF_N, .off_n = {5}};

    (void)state;
    fake_login(&f);
    fake_forget(&f);
    fake_send(&f, &news, 1);
    assert_int_equal(fake_count(&f, PQB_FRAME_OFF_R), 1);
    fake_send(&f, &news, 1);
    assert_int_equal(fake_count(&f, PQB_FRAME_OFF_R), 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(messages_are_handed_over_in_order_once),
        CASE(an_acknowledgement_waits_20_ms_or_8_messages),
        CASE(an_acknowledgement_rides_along),
        CASE(an_acknowledgement_is_repeated_until_answered),
        CASE(a_repeat_and_a_hole_are_acknowledged_at_once),
        CASE(the_window_ends_256_above_the_cursor),
        CASE(what_waits_is_handed_over_when_the_hole_closes),
        CASE(not_now_is_asked_again_later),
        CASE(resume_asks_at_once),
        CASE(a_gap_is_stepped_over_in_its_turn),
        CASE(a_gap_leads_into_a_new_generation),
        CASE(a_gap_up_to_the_last_position_of_all_is_acknowledged),
        CASE(the_cursor_survives_a_restart),
        CASE(a_new_device_starts_where_the_gateway_says),
        CASE(an_older_state_is_told_what_it_missed),
        CASE(ephemeral_messages_have_no_position),
        CASE(a_large_message_is_put_together),
        CASE(a_backlog_of_n_pages_costs_n_plus_1_requests),
        CASE(a_request_for_a_page_is_repeated_unchanged),
        CASE(without_auto_pull_the_application_asks),
        CASE(news_of_the_head_start_a_pull),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
