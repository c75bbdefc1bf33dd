// Logins: INIT, cookies, RESP, the first datagram, limits, the end of a session.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "tests/unit/engine_fixture.h"

#define SEC PQB_NS_PER_SEC

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

static size_t bytes_to(const struct gate *g, uint16_t port)
{
    size_t bytes = 0;

    for (size_t i = 0; i < g->sent_count; i++)
        bytes += g->sent[i].to.port == port ? g->sent[i].len : 0;
    return bytes;
}

// Each kind of datagram from a stranger of its own, in each of the lengths about which something is
// decided; `first` is the first one's port.
static void ask_everything(struct gate *g, uint16_t first)
{
    static const size_t lengths[] = {1, 9, 13, 14, 22, 23, 24, 25, 26, 33, 100, 1199, 1200};
    uint8_t data[PQB_DATAGRAM_MAX];
    uint16_t port = first;

    for (unsigned byte = 0; byte < 256; byte++) {
        for (size_t i = 0; i < PQB_ARRAY_LEN(lengths); i++) {
            struct peer a = peer_make(g, "alice", "phone", ++port);

            memset(data, (int)(byte ^ i), sizeof(data));
            data[0] = (uint8_t)byte;
            pqb_engine_on_datagram(g->engines[port % 2], &a.addr, data, lengths[i], g->store.now);
            gate_settle(g);
            assert_true(bytes_to(g, port) <= lengths[i]);
            gate_clear(g);
        }
    }
}

// The same login three times, and then a look at what it got for that.
static void ask_for_logins(struct gate *g, uint16_t first, enum pqb_counter counter)
{
    const uint64_t before = gate_count(g, counter);

    for (uint16_t port = first; port < first + 8; port++) {
        struct peer a = peer_make(g, "alice", "phone", port);

        for (int i = 0; i < 3; i++)
            peer_send_init(&a, NULL);
        gate_settle(g);
        assert_in_range(bytes_to(g, port), 1, (uintmax_t)3 * PQB_INIT_LEN);
        gate_clear(g);
    }
    assert_true(gate_count(g, counter) > before);
}

static void no_stranger_is_told_more_than_he_asked(void **state)
{
    struct gate *g = *state;

    g->config.half_open_max = 8;
    gate_open(g);
    ask_for_logins(g, 1, PQB_COUNTER_LOGIN_REPEATED);
    ask_for_logins(g, 21, PQB_COUNTER_LOGIN_RETRY);
    ask_everything(g, 1000);
    assert_true(gate_count(g, PQB_COUNTER_RESET_SENT) > 0);
    for (uint32_t i = 0; i < g->config.shards; i++)
        pqb_engine_drain(g->engines[i], g->store.now);
    ask_for_logins(g, 41, PQB_COUNTER_LOGIN_BUSY_DRAIN);
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

static void recheck(struct gate *g)
{
    for (uint32_t i = 0; i < g->config.shards; i++) {
        assert_int_equal(pqb_engine_begin(g->engines[i], g->store.now), PQB_OK);
        pqb_engine_recheck(g->engines[i], g->store.now);
        pqb_engine_end(g->engines[i]);
        pqb_engine_validate(g->engines[i]);
    }
    gate_settle(g);
}

static void who_may_not_stay_is_kicked_and_the_others_stay(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer phone = peer_ready(g, "alice", "phone", 1);
    struct peer laptop = peer_ready(g, "alice", "laptop", 2);
    struct peer bob = peer_ready(g, "bob", "phone", 3);
    struct peer late = peer_make(g, "alice", "pc", 4);
    late.init_id = 4;
    peer_send_init(&late, NULL);
    gate_settle(g);
    assert_true(peer_take_resp(&late));
    recheck(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_CURRENT), 3);
    gate_clear(g);
    g->revoked_user = "alice";
    recheck(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_REVOKED), 2);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_KICKED), 2);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_REFUSED), 1);
    assert_true(peer_got(&phone, PQB_FRAME_KICK, 0, &f));
    assert_int_equal(f.kick.reason, PQB_KICK_ADMIN);
    assert_int_equal(peer_got_count(&laptop, PQB_FRAME_KICK), 1);
    assert_int_equal(peer_got_count(&bob, PQB_FRAME_KICK), 0);
    // The login that was under way comes to nothing.
    peer_send_one(&late, (struct pqb_frame){.type = PQB_FRAME_PING, .ping = {.nonce = 9}});
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_CURRENT), 1);
    assert_int_equal(peer_got_count(&late, PQB_FRAME_PONG), 0);
}

static void a_registration_under_way_makes_no_session_when_it_may_not_stay(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);

    gate_open(g);
    peer_send_init(&a, NULL);
    gate_settle(g);
    assert_true(peer_take_resp(&a));
    peer_send_one(&a, (struct pqb_frame){.type = PQB_FRAME_PING}); // it is with the writer now
    g->revoked_user = "alice";
    recheck(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_OPENED), 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_HALF_OPEN), 0);
}

// More than there is room for kicks in one turn: the rest is told by RESET.
static void however_many_may_not_stay_none_does(void **state)
{
    struct gate *g = *state;
    enum {
        SESSIONS = 300
    };

    gate_open(g);
    for (uint16_t i = 0; i < SESSIONS; i++) {
        char user[16];

        (void)snprintf(user, sizeof(user), "user%u", i);
        struct peer a = peer_make(g, user, "phone", (uint16_t)(i + 1));
        peer_login(&a);
        gate_clear(g);
    }
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_CURRENT), SESSIONS);
    g->revoked_user = "";
    recheck(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_CURRENT), 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_REVOKED), SESSIONS);
}

#define CASE(name)     cmocka_unit_test_setup_teardown(name, gate_begin, gate_end)
#define CASE_TWO(name) cmocka_unit_test_setup_teardown(name, gate_begin_two_shards, gate_end)

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
        CASE_TWO(no_stranger_is_told_more_than_he_asked),
        CASE(a_refused_token_meets_silence),
        CASE(a_second_login_of_a_device_kicks_the_first),
        CASE(two_copies_of_a_device_that_kick_each_other_are_slowed_down),
        CASE(sessions_beyond_the_limit_are_put_off),
        CASE(a_silent_session_ends),
        CASE_TWO(who_may_not_stay_is_kicked_and_the_others_stay),
        CASE(a_registration_under_way_makes_no_session_when_it_may_not_stay),
        CASE(however_many_may_not_stay_none_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
