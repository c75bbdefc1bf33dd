#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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

static void an_offline_client_has_nothing_to_do(void **state)
{
    (void)state;
    assert_int_equal(pqb_client_next_deadline(f.c), PQB_CLIENT_NEVER);
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_OFFLINE);
    assert_int_equal(pqb_client_init_id(f.c), 0);
}

static void init_carries_the_login(void **state)
{
    (void)state;
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
    assert_int_equal(f.inits, 1);
    assert_memory_equal(f.init.user.data, "alice", 5);
    assert_memory_equal(f.init.device.data, "phone", 5);
    assert_int_equal(f.init.epoch, 0);
    assert_int_equal(f.init.low, 1);
    assert_int_equal(f.init.init_id, pqb_client_init_id(f.c));
}

static void init_is_repeated_after_1_2_and_4_seconds(void **state)
{
    const uint64_t begin = f.now;
    uint64_t before, at;

    (void)state;
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
    before = begin;
    for (uint64_t wait = 1; wait <= 4; wait *= 2) {
        at = pqb_client_next_deadline(f.c);
        assert_in_range(at - before, wait * FAKE_SECOND, wait * FAKE_SECOND * 5 / 4);
        fake_run_until(&f, at - 1);
        const size_t inits = f.inits;
        fake_run_until(&f, at);
        assert_int_equal(f.inits, inits + 1);
        before = at;
    }
    assert_int_equal(fake_last_event(&f, FAKE_STATE)->b, PQB_REASON_TIMEOUT);
}

static void a_retry_is_answered_at_once_with_its_cookie(void **state)
{
    uint8_t buf[PQB_DATAGRAM_MAX];
    struct pqb_retry retry = {0};

    (void)state;
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
    retry.init_id = f.init.init_id + 1;
    memset(retry.cookie, 0xc0, sizeof(retry.cookie));
    pqb_client_on_datagram(f.c, buf, pqb_retry_encode(&retry, buf), f.now);
    fake_pump(&f);
    assert_int_equal(f.inits, 1); // somebody else's
    retry.init_id = f.init.init_id;
    pqb_client_on_datagram(f.c, buf, pqb_retry_encode(&retry, buf), f.now);
    fake_pump(&f);
    assert_int_equal(f.inits, 2);
    assert_int_equal(f.init.cookie_len, PQB_COOKIE_LEN);
    assert_memory_equal(f.init.cookie, retry.cookie, PQB_COOKIE_LEN);
    assert_int_equal(f.init.init_id, retry.init_id);
}

static void busy_is_waited_out(void **state)
{
    uint8_t buf[PQB_DATAGRAM_MAX];

    (void)state;
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
    const struct pqb_busy busy = {.init_id = f.init.init_id, .retry_after_ms = 5000};
    pqb_client_on_datagram(f.c, buf, pqb_busy_encode(&busy, buf), f.now);
    fake_pump(&f);
    assert_int_equal(fake_last_event(&f, FAKE_STATE)->b, PQB_REASON_BUSY);
    assert_in_range(pqb_client_next_deadline(f.c) - f.now, 5 * FAKE_SECOND, 6 * FAKE_SECOND);
    fake_advance(&f, 6 * FAKE_SECOND);
    assert_int_equal(f.inits, 2);
}

static void a_new_client_gets_an_epoch_before_it_sends(void **state)
{
    uint64_t id;

    (void)state;
    assert_int_equal(pqb_client_send(f.c, "bob", 0, "hi", 2, 0, &id), 0);
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
    const struct pqb_resp resp = fake_resp(&f);
    fake_send_resp(&f, &resp);
    assert_int_equal(pqb_client_cid(f.c), resp.cid);
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_CONNECTING); // RESP is a preview
    assert_int_equal(fake_count(&f, PQB_FRAME_EPOCH_R), 1);
    assert_int_equal(fake_count(&f, PQB_FRAME_PING), 1);
    assert_int_equal(fake_count(&f, PQB_FRAME_ACK_R), 1);

    struct pqb_frame answer = {.type = PQB_FRAME_EPOCH_A, .epoch_a = {.epoch = 9}};
    answer.epoch_a.nonce[0] = 1; // another request's
    fake_send(&f, &answer, 1);
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_ONLINE);
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 0);
    memcpy(answer.epoch_a.nonce, fake_last(&f, PQB_FRAME_EPOCH_R)->epoch_r.nonce, PQB_NONCE_LEN);
    fake_send(&f, &answer, 1);
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 1);
    assert_int_equal(fake_last(&f, PQB_FRAME_MSG_R)->msg_r.seq, id);

    fake_restart(&f);
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
    assert_int_equal(f.init.epoch, 9);
}

static void the_first_data_is_repeated_until_confirmed(void **state)
{
    (void)state;
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
    const struct pqb_resp resp = fake_resp(&f);
    fake_send_resp(&f, &resp);
    fake_forget(&f);
    fake_advance(&f, 4 * FAKE_SECOND);
    assert_true(fake_count(&f, PQB_FRAME_PING) >= 1);
    assert_true(fake_count(&f, PQB_FRAME_EPOCH_R) >= 1);
    assert_true(fake_count(&f, PQB_FRAME_ACK_R) >= 1);
    fake_advance(&f, 20 * FAKE_SECOND);
    assert_int_equal(fake_last_event(&f, FAKE_STATE)->a, PQB_CLIENT_CONNECTING);
    assert_true(f.inits > 1); // given up, a new login
}

static void an_idle_session_is_kept_alive(void **state)
{
    const struct pqb_frame pong = {.type = PQB_FRAME_PONG};

    (void)state;
    fake_login(&f);
    fake_forget(&f);
    fake_advance(&f, 25 * FAKE_SECOND - 1);
    assert_int_equal(f.datagrams, 0);
    fake_advance(&f, 1);
    assert_int_equal(fake_count(&f, PQB_FRAME_PING), 1);
    fake_send(&f, &pong, 1);
    fake_advance(&f, 25 * FAKE_SECOND);
    assert_int_equal(fake_count(&f, PQB_FRAME_PING), 2);
}

static void the_gateways_idle_timeout_is_kept_ahead_of(void **state)
{
    const struct pqb_frame pong = {.type = PQB_FRAME_PONG};

    (void)state;
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
    struct pqb_resp resp = fake_resp(&f);
    resp.idle_ms = 10000;
    fake_send_resp(&f, &resp);
    struct pqb_frame epoch = {.type = PQB_FRAME_EPOCH_A, .epoch_a = {.epoch = 7}};
    memcpy(epoch.epoch_a.nonce, fake_last(&f, PQB_FRAME_EPOCH_R)->epoch_r.nonce, PQB_NONCE_LEN);
    const struct pqb_frame answers[] = {epoch, {.type = PQB_FRAME_ACK_A}};
    fake_send(&f, answers, 2);
    fake_forget(&f);
    fake_advance(&f, 5 * FAKE_SECOND - 1);
    assert_int_equal(f.datagrams, 0);
    fake_advance(&f, 1);
    assert_int_equal(fake_count(&f, PQB_FRAME_PING), 1);
    fake_send(&f, &pong, 1);
}

static void a_silent_gateway_is_left_after_20_seconds(void **state)
{
    (void)state;
    fake_login(&f);
    fake_forget(&f);
    fake_advance(&f, 25 * FAKE_SECOND); // the first ping
    fake_advance(&f, 20 * FAKE_SECOND - 1);
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_ONLINE);
    fake_advance(&f, 1);
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_CONNECTING);
    assert_int_equal(fake_last_event(&f, FAKE_STATE)->b, PQB_REASON_SILENT);
}

static void an_unanswered_ping_is_repeated_ever_more_seldom(void **state)
{
    (void)state;
    fake_login(&f);
    fake_forget(&f);
    fake_advance(&f, 25 * FAKE_SECOND); // the first ping
    fake_advance(&f, 4 * FAKE_SECOND);  // after 2 and 4 s
    assert_int_equal(fake_count(&f, PQB_FRAME_PING), 3);
    fake_advance(&f, 5 * FAKE_SECOND); // after 6 and 9 s
    assert_int_equal(fake_count(&f, PQB_FRAME_PING), 5);
    fake_advance(&f, 11 * FAKE_SECOND - 1); // after 13.5 s
    assert_int_equal(fake_count(&f, PQB_FRAME_PING), 6);
}

static void only_a_reset_with_the_token_ends_a_session(void **state)
{
    uint8_t buf[PQB_DATAGRAM_MAX];
    struct pqb_reset reset = {.cid = 0};

    (void)state;
    fake_login(&f);
    reset.cid = f.cid;
    memset(reset.token, 0x5b, sizeof(reset.token));
    pqb_client_on_datagram(f.c, buf, pqb_reset_encode(&reset, buf), f.now);
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_ONLINE);
    memset(reset.token, 0x5a, sizeof(reset.token));
    pqb_client_on_datagram(f.c, buf, pqb_reset_encode(&reset, buf), f.now);
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_CONNECTING);
    assert_int_equal(fake_last_event(&f, FAKE_STATE)->b, PQB_REASON_RESET);
    assert_int_equal(pqb_client_cid(f.c), 0);
    fake_advance(&f, FAKE_SECOND);
    assert_int_equal(f.inits, 2);
}

static void a_replaced_client_stops(void **state)
{
    const struct pqb_frame kick = {.type = PQB_FRAME_KICK, .kick = {PQB_KICK_REPLACED}};

    (void)state;
    fake_login(&f);
    fake_send(&f, &kick, 1);
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_FAILED);
    assert_int_equal(pqb_client_next_deadline(f.c), PQB_CLIENT_NEVER);
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
    assert_int_equal(f.inits, 2);
}

static void a_drained_client_comes_back(void **state)
{
    const struct pqb_frame kick = {.type = PQB_FRAME_KICK, .kick = {PQB_KICK_DRAIN}};

    (void)state;
    fake_login(&f);
    fake_send(&f, &kick, 1);
    assert_int_equal(fake_last_event(&f, FAKE_STATE)->b, PQB_REASON_DRAIN);
    fake_advance(&f, FAKE_SECOND);
    assert_int_equal(f.inits, 2);
}

static void close_says_logout(void **state)
{
    (void)state;
    fake_login(&f);
    fake_forget(&f);
    pqb_client_close(f.c, f.now);
    fake_pump(&f);
    assert_int_equal(fake_count(&f, PQB_FRAME_LOGOUT), 1);
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_OFFLINE);
    assert_int_equal(pqb_client_next_deadline(f.c), PQB_CLIENT_NEVER);
}

static void a_session_that_ends_while_closing_stays_closed(void **state)
{
    const struct pqb_frame kick = {.type = PQB_FRAME_KICK, .kick = {PQB_KICK_DRAIN}};

    (void)state;
    fake_login(&f);
    pqb_client_close(f.c, f.now);
    fake_deliver_only(&f, &kick, 1);
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_OFFLINE);
    assert_int_equal(pqb_client_next_deadline(f.c), PQB_CLIENT_NEVER);
}

static void connect_takes_a_close_back(void **state)
{
    (void)state;
    fake_login(&f);
    pqb_client_close(f.c, f.now);
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_ONLINE);
    assert_int_equal(fake_count(&f, PQB_FRAME_LOGOUT), 0);
}

static void a_path_challenge_and_a_ping_are_answered(void **state)
{
    struct pqb_frame frames[2] = {{.type = PQB_FRAME_PATH_CHALLENGE},
                                  {.type = PQB_FRAME_PING, .ping = {77}}};

    (void)state;
    fake_login(&f);
    memset(frames[0].path.data, 9, PQB_PATH_LEN);
    fake_forget(&f);
    fake_send(&f, frames, 2);
    assert_int_equal(f.datagrams, 1);
    assert_memory_equal(fake_last(&f, PQB_FRAME_PATH_RESPONSE)->path.data, frames[0].path.data,
                        PQB_PATH_LEN);
    assert_int_equal(fake_last(&f, PQB_FRAME_PONG)->ping.nonce, 77);
}

static void datagrams_name_whom_they_are_for(void **state)
{
    uint8_t buf[PQB_DATAGRAM_MAX];
    const struct pqb_busy busy = {.init_id = 5};
    const struct pqb_resp resp = {.init_id = 6, .cid = 1};
    const struct pqb_reset reset = {.cid = 7};
    uint64_t id = 0;

    (void)state;
    assert_int_equal(pqb_client_datagram_id(buf, pqb_busy_encode(&busy, buf), &id),
                     PQB_CLIENT_ID_INIT);
    assert_int_equal(id, 5);
    assert_int_equal(pqb_client_datagram_id(buf, pqb_resp_encode(&resp, buf), &id),
                     PQB_CLIENT_ID_INIT);
    assert_int_equal(id, 6);
    assert_int_equal(pqb_client_datagram_id(buf, pqb_reset_encode(&reset, buf), &id),
                     PQB_CLIENT_ID_CID);
    assert_int_equal(id, 7);
    assert_int_equal(pqb_client_datagram_id("x", 1, &id), PQB_CLIENT_ID_NONE);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(an_offline_client_has_nothing_to_do),
        CASE(init_carries_the_login),
        CASE(init_is_repeated_after_1_2_and_4_seconds),
        CASE(a_retry_is_answered_at_once_with_its_cookie),
        CASE(busy_is_waited_out),
        CASE(a_new_client_gets_an_epoch_before_it_sends),
        CASE(the_first_data_is_repeated_until_confirmed),
        CASE(an_idle_session_is_kept_alive),
        CASE(the_gateways_idle_timeout_is_kept_ahead_of),
        CASE(a_session_that_ends_while_closing_stays_closed),
        CASE(connect_takes_a_close_back),
        CASE(a_silent_gateway_is_left_after_20_seconds),
        CASE(only_a_reset_with_the_token_ends_a_session),
        CASE(a_replaced_client_stops),
        CASE(a_drained_client_comes_back),
        CASE(close_says_logout),
        CASE(an_unanswered_ping_is_repeated_ever_more_seldom),
        CASE(a_path_challenge_and_a_ping_are_answered),
        CASE(datagrams_name_whom_they_are_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
