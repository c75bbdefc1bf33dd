// The client's encrypted side: whom it believes, what it does with tickets, and what it keeps in
// files.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fake_gateway.h"

static struct fake f;

static void connect_client(void)
{
    pqb_client_connect(f.c, f.now);
    fake_pump(&f);
}

static uint64_t dropped(void)
{
    struct pqb_client_stats stats;

    pqb_client_get_stats(f.c, &stats);
    return stats.dropped;
}

// Gives something that the client must not believe: it is dropped, and nothing else happens.
static void must_ignore(const uint8_t *datagram, size_t len)
{
    const uint64_t before = dropped();
    const enum pqb_client_state state = pqb_client_get_state(f.c);
    const size_t events = f.event_count, inits = f.inits;
    const uint64_t cid = pqb_client_cid(f.c), init_id = pqb_client_init_id(f.c);

    fake_give(&f, datagram, len);
    assert_int_equal(dropped(), before + 1);
    assert_int_equal(pqb_client_get_state(f.c), state);
    assert_int_equal(f.event_count, events);
    assert_int_equal(f.inits, inits);
    assert_int_equal(pqb_client_cid(f.c), cid);
    assert_int_equal(pqb_client_init_id(f.c), init_id);
}

static void answer(void)
{
    const struct pqb_resp resp = fake_resp(&f);

    fake_send_resp(&f, &resp);
}

// The session ends; the client waits for its backoff and logs in again.
static void kick(uint8_t reason)
{
    const struct pqb_frame frame = {.type = PQB_FRAME_KICK, .kick = {.reason = reason}};

    fake_send(&f, &frame, 1);
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_CONNECTING);
}

static void relogin(void)
{
    const size_t inits = f.inits;

    for (int i = 0; i < 40 && f.inits == inits; i++)
        fake_advance(&f, 100 * FAKE_MS);
    assert_int_equal(f.inits, inits + 1);
}

static void confirm(void)
{
    const struct pqb_frame pong = {.type = PQB_FRAME_PONG};

    fake_send(&f, &pong, 1);
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_ONLINE);
}

static size_t make_busy(uint32_t retry_after_ms, uint8_t *out)
{
    const struct pqb_busy busy = {.init_id = f.init.init_id, .retry_after_ms = retry_after_ms};

    return pqb_busy_encode(&busy, out);
}

static void give_busy(uint32_t retry_after_ms)
{
    uint8_t datagram[PQB_DATAGRAM_MAX];

    fake_give(&f, datagram, make_busy(retry_after_ms, datagram));
}

// -------------------------------------------------------------------------------------- logging in

static void a_login_tells_a_listener_nothing(void **state)
{
    struct pqb_client_config config;

    (void)state;
    pqb_client_config_default(&config);
    config.token = "the token of alice";
    fake_start_sealed(&f, NULL, &config);
    fake_login(&f);
    assert_int_equal(f.init.token.len, strlen(config.token)); // and yet it is in there
    assert_null(memmem(f.init_datagram, PQB_INIT_LEN, "alice", 5));
    assert_null(memmem(f.init_datagram, PQB_INIT_LEN, "phone", 5));
    assert_null(memmem(f.init_datagram, PQB_INIT_LEN, f.device.public, PQB_KEY_LEN));
    assert_int_equal(f.init_datagram[2] & PQB_CIPHERS_CHACHAPOLY, PQB_CIPHERS_CHACHAPOLY);
    fake_stop(&f, false);
}

static void messages_go_both_ways(void **state)
{
    const struct pqb_frame m = fake_msg_n(1, "ahoy");
    uint64_t id;

    (void)state;
    fake_start_sealed(&f, NULL, NULL);
    fake_login(&f);
    assert_int_equal(pqb_client_send(f.c, "bob", 0, "hello", 5, 0, &id), 0);
    fake_pump(&f);
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 1);
    fake_send(&f, &m, 1);
    assert_string_equal(fake_last_event(&f, FAKE_MESSAGE)->text, "ahoy");
    fake_stop(&f, false);
}

static void both_keys_are_given_or_neither(void **state)
{
    static const uint8_t key[PQB_CLIENT_KEY_LEN] = {9};
    struct pqb_client_store *store;
    struct pqb_client_config config;
    struct pqb_client *c = NULL;

    (void)state;
    assert_int_equal(pqb_client_store_memory_create(&store), 0);
    pqb_client_config_default(&config);
    config.user = "alice";
    config.device = "phone";
    config.store = store;
    config.server_key = key;
    assert_int_equal(pqb_client_create(&c, &config, 1), PQB_CLIENT_ERR_INVALID);
    config.server_key = NULL;
    config.device_key = key;
    assert_int_equal(pqb_client_create(&c, &config, 1), PQB_CLIENT_ERR_INVALID);
    pqb_client_store_memory_destroy(store);
}

static void a_key_that_is_none_gets_no_login_out_and_does_not_spin(void **state)
{
    static const uint8_t zero[PQB_CLIENT_KEY_LEN];
    struct pqb_client_store *store;
    struct pqb_client_config config;
    struct pqb_client *c;
    uint8_t out[PQB_CLIENT_DATAGRAM_MAX];
    uint64_t now = FAKE_SECOND;

    (void)state;
    assert_int_equal(pqb_client_store_memory_create(&store), 0);
    pqb_client_config_default(&config);
    config.user = "alice";
    config.device = "phone";
    config.store = store;
    config.server_key = zero; // a point of small order
    config.device_key = zero;
    assert_int_equal(pqb_client_create(&c, &config, now), 0);
    pqb_client_connect(c, now);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(pqb_client_poll_transmit(c, out, sizeof(out), now), 0);
        assert_true(pqb_client_next_deadline(c) >= now + FAKE_SECOND);
        now = pqb_client_next_deadline(c);
        pqb_client_on_timeout(c, now);
    }
    pqb_client_destroy(c);
    pqb_client_store_memory_destroy(store);
}

// ------------------------------------------------------------------------------ whom it believes

static void only_the_pinned_gateway_is_believed(void **state)
{
    uint8_t datagram[PQB_DATAGRAM_MAX];
    struct pqb_client_config config;
    struct pqb_resp resp;
    struct pqb_noise noise;
    size_t len;

    (void)state;
    pqb_client_config_default(&config);
    config.without_aes = true;
    fake_start_sealed(&f, NULL, &config);
    connect_client();
    assert_int_equal(f.init_datagram[2], PQB_CIPHERS_CHACHAPOLY); // without AES
    resp = fake_resp(&f);
    // Of another key: who has not the gateway's cannot have read the first message.
    noise = f.noise;
    f.noise.symmetric.ck[0] ^= 1;
    must_ignore(datagram, fake_make_resp(&f, &resp, datagram));
    f.noise = noise;
    // In plaintext, cut short, and with each part of the header changed that it looks at.
    must_ignore(datagram, pqb_resp_encode(&resp, datagram));
    len = fake_make_resp(&f, &resp, datagram);
    must_ignore(datagram, len - 1);
    must_ignore(datagram, PQB_LOGIN_HEADER_LEN + 2);
    datagram[1] = 0;
    must_ignore(datagram, len);
    datagram[1] = 1;
    datagram[11] ^= 1;
    must_ignore(datagram, len);
    // Genuine, with a cipher that was not offered, or with none.
    resp.cipher = PQB_CIPHER_AESGCM;
    must_ignore(datagram, fake_make_resp(&f, &resp, datagram));
    resp.cipher = PQB_CIPHER_NONE;
    must_ignore(datagram, fake_make_resp(&f, &resp, datagram));
    // After all of these the true one is believed.
    resp = fake_resp(&f);
    fake_send_resp(&f, &resp);
    assert_int_equal(pqb_client_cid(f.c), resp.cid);
    confirm();
    fake_stop(&f, false);
}

static void an_answer_to_an_earlier_login_is_not_believed(void **state)
{
    uint8_t earlier[PQB_DATAGRAM_MAX];
    struct pqb_resp resp;
    size_t len;

    (void)state;
    fake_start_sealed(&f, NULL, NULL);
    connect_client();
    resp = fake_resp(&f);
    len = fake_make_resp(&f, &resp, earlier);
    pqb_client_on_path_change(f.c, f.now); // another login at once
    fake_pump(&f);
    assert_int_equal(f.inits, 2);
    must_ignore(earlier, len);
    for (size_t i = 0; i < 8; i++) // with the new one's id, which anybody sees
        earlier[4 + i] = f.init_datagram[4 + i];
    must_ignore(earlier, len);
    answer();
    confirm();
    must_ignore(earlier, len);
    fake_stop(&f, false);
}

static void a_session_listens_to_its_keys_only(void **state)
{
    struct pqb_frame frame = {.type = PQB_FRAME_KICK, .kick = {.reason = PQB_KICK_ADMIN}};
    struct pqb_reset reset;
    uint8_t datagram[PQB_DATAGRAM_MAX], kept[PQB_KEY_LEN];
    size_t len;

    (void)state;
    fake_start_sealed(&f, NULL, NULL);
    fake_login(&f);
    // A kick in plaintext, by other keys, cut short, replayed, and flipped.
    f.is_sealed = false;
    must_ignore(datagram, fake_make_data(&f, &frame, 1, datagram));
    f.is_sealed = true;
    memcpy(kept, f.send, sizeof(kept));
    memcpy(f.send, f.recv, sizeof(kept)); // the client's own, mirrored
    must_ignore(datagram, fake_make_data(&f, &frame, 1, datagram));
    memcpy(f.send, kept, sizeof(kept));
    len = fake_make_data(&f, &frame, 1, datagram);
    must_ignore(datagram, len - 1);
    for (size_t i = 9; i < len; i++) {
        datagram[i] ^= 1;
        must_ignore(datagram, len);
        datagram[i] ^= 1;
    }
    reset = (struct pqb_reset){.cid = f.cid};
    memset(reset.token, 0x5b, sizeof(reset.token));
    must_ignore(datagram, pqb_reset_encode(&reset, datagram));
    // Its own datagrams.
    frame = (struct pqb_frame){.type = PQB_FRAME_PING};
    len = fake_make_data(&f, &frame, 1, datagram);
    fake_give(&f, datagram, len);
    assert_int_equal(fake_count(&f, PQB_FRAME_PONG), 1);
    must_ignore(datagram, len);
    memset(reset.token, 0x5a, sizeof(reset.token)); // what RESP gave
    fake_give(&f, datagram, pqb_reset_encode(&reset, datagram));
    assert_int_equal(fake_last_event(&f, FAKE_STATE)->b, PQB_REASON_RESET);
    fake_stop(&f, false);
}

static void a_login_that_is_forged_at_proves_nobody_dead(void **state)
{
    struct pqb_frame pong = {.type = PQB_FRAME_PONG};
    uint8_t datagram[PQB_DATAGRAM_MAX];
    size_t len;

    (void)state;
    fake_start_sealed(&f, NULL, NULL);
    connect_client();
    answer();
    len = fake_make_data(&f, &pong, 1, datagram);
    datagram[len - 1] ^= 1;
    must_ignore(datagram, len); // it does not confirm the session
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_CONNECTING);
    confirm();
    fake_stop(&f, false);
}

// ------------------------------------------------------------------------------- RETRY and BUSY

static void a_cookie_goes_with_the_same_handshake(void **state)
{
    struct pqb_retry retry;
    uint8_t first[PQB_INIT_LEN], datagram[PQB_DATAGRAM_MAX];
    struct pqb_noise noise;
    struct pqb_resp resp;

    (void)state;
    fake_start_sealed(&f, NULL, NULL);
    connect_client();
    memcpy(first, f.init_datagram, sizeof(first));
    noise = f.noise;
    retry = (struct pqb_retry){.init_id = f.init.init_id};
    memset(retry.cookie, 0x42, sizeof(retry.cookie));
    fake_give(&f, datagram, pqb_retry_encode(&retry, datagram));
    assert_int_equal(f.inits, 2); // at once, and mac1 is right: the fake has looked
    assert_int_equal(f.init.cookie_len, PQB_COOKIE_LEN);
    assert_memory_equal(f.init.cookie, retry.cookie, PQB_COOKIE_LEN);
    assert_memory_equal(f.init_datagram, first, PQB_LOGIN_HEADER_LEN);
    assert_memory_equal(f.init_datagram + PQB_HELLO_HEADER_LEN, first + PQB_HELLO_HEADER_LEN,
                        PQB_HELLO_MAC1_AT - PQB_HELLO_HEADER_LEN);
    assert_memory_not_equal(f.init_datagram + PQB_HELLO_MAC1_AT, first + PQB_HELLO_MAC1_AT, 16);
    // An answer to either fits.
    f.noise = noise;
    resp = fake_resp(&f);
    fake_send_resp(&f, &resp);
    confirm();
    fake_stop(&f, false);
}

static void each_repeat_is_the_same_but_for_the_cookie(void **state)
{
    uint8_t first[PQB_INIT_LEN];

    (void)state;
    fake_start_sealed(&f, NULL, NULL);
    connect_client();
    memcpy(first, f.init_datagram, sizeof(first));
    fake_advance(&f, 10 * FAKE_SECOND);
    assert_true(f.inits >= 3);
    assert_memory_equal(f.init_datagram, first, sizeof(first));
    answer();
    confirm();
    fake_stop(&f, false);
}

static void with_ticket(void)
{
    fake_start_sealed(&f, NULL, NULL);
    fake_login(&f);
    fake_send_ticket(&f, 1);
    assert_int_equal(fake_last_event(&f, FAKE_TICKET)->len, PQB_CLIENT_TICKET_LEN);
}

static void a_ticket_that_does_not_do_is_dropped_and_the_login_made_in_full_at_once(void **state)
{
    (void)state;
    with_ticket();
    kick(PQB_KICK_EXPIRED);
    relogin();
    assert_int_equal(f.resumes, 1);
    const size_t inits = f.inits;
    give_busy(0);
    assert_int_equal(f.inits, inits + 1); // the time stood still
    assert_int_equal(f.resumes, 1);
    assert_int_equal(fake_last_event(&f, FAKE_TICKET)->len, 0);
    assert_int_equal(f.init.user.len, 5);
    answer();
    confirm();
    kick(PQB_KICK_EXPIRED);
    relogin();
    assert_int_equal(f.resumes, 1); // it is forgotten
    fake_stop(&f, false);
}

static void busy_without_a_wait_means_that_only_while_resuming(void **state)
{
    size_t inits;

    (void)state;
    fake_start_sealed(&f, NULL, NULL);
    connect_client();
    inits = f.inits;
    give_busy(0);
    assert_int_equal(f.inits, inits); // it waits as it does for any other
    assert_int_equal(fake_last_event(&f, FAKE_STATE)->b, PQB_REASON_BUSY);
    assert_int_equal(fake_event_count(&f, FAKE_TICKET), 0);
    fake_stop(&f, false);
}

static void busy_with_a_wait_keeps_the_ticket(void **state)
{
    (void)state;
    with_ticket();
    kick(PQB_KICK_DRAIN);
    relogin();
    assert_int_equal(f.resumes, 1);
    give_busy(1);
    assert_int_equal(fake_event_count(&f, FAKE_TICKET), 1);
    relogin();
    assert_int_equal(f.resumes, 2);
    fake_stop(&f, false);
}

static void busy_of_another_login_is_ignored(void **state)
{
    uint8_t datagram[PQB_DATAGRAM_MAX];

    (void)state;
    with_ticket();
    kick(PQB_KICK_EXPIRED);
    relogin();
    f.init.init_id ^= 1;
    must_ignore(datagram, make_busy(0, datagram));
    f.init.init_id ^= 1;
    answer();
    confirm();
    fake_stop(&f, false);
}

static void three_resumes_without_an_answer_fall_back(void **state)
{
    uint8_t late[PQB_DATAGRAM_MAX];
    struct pqb_resp resp;
    size_t len, before;

    (void)state;
    with_ticket();
    kick(PQB_KICK_EXPIRED);
    relogin();
    before = f.inits;
    fake_advance(&f, 4 * FAKE_SECOND); // after 1 and 2 more
    assert_int_equal(f.inits, before + 2);
    assert_int_equal(f.resumes, 3);
    resp = fake_resp(&f);
    len = fake_make_resp(&f, &resp, late);
    fake_advance(&f, 6 * FAKE_SECOND);
    assert_int_equal(f.inits, before + 3);
    assert_int_equal(f.resumes, 3);
    must_ignore(late, len); // it is the old login's
    answer();
    confirm();
    assert_int_equal(fake_event_count(&f, FAKE_TICKET), 1); // nobody said that it is bad
    fake_stop(&f, false);
}

// -------------------------------------------------------------------------------------- tickets

static void a_resumed_login_works_and_brings_a_new_ticket(void **state)
{
    (void)state;
    with_ticket();
    kick(PQB_KICK_EXPIRED);
    assert_int_equal(fake_last_event(&f, FAKE_STATE)->b, PQB_REASON_EXPIRED);
    relogin();
    assert_int_equal(f.init.user.len, 0);
    answer();
    confirm();
    fake_send_ticket(&f, 2);
    assert_int_equal(fake_event_count(&f, FAKE_TICKET), 2);
    kick(PQB_KICK_EXPIRED);
    relogin(); // by the new one, the fake has looked
    assert_int_equal(f.resumes, 2);
    fake_stop(&f, false);
}

static void a_kept_ticket_is_used_by_the_next_process(void **state)
{
    (void)state;
    with_ticket();
    // version, the gateway's key, psk, ticket
    assert_int_equal(f.kept_len, 268);
    assert_int_equal(f.kept[0], 1);
    assert_memory_equal(f.kept + 1, f.server.public, 32);
    assert_memory_equal(f.kept + 33, f.psk, 32);
    assert_memory_equal(f.kept + 65, f.ticket, 203);
    fake_restart(&f);
    connect_client();
    assert_int_equal(f.resumes, 1);
    answer();
    confirm();
    fake_stop(&f, false);
}

static void a_ticket_that_does_not_fit_is_as_good_as_none(void **state)
{
    static const struct {
        size_t at; // byte that is changed
        size_t len;
    } bad[] = {{0, 268}, {1, 268}, {32, 268}, {267, 267}, {267, 0}};

    (void)state;
    with_ticket();
    for (size_t i = 0; i < PQB_ARRAY_LEN(bad); i++) {
        f.kept[bad[i].at] ^= 1;
        f.kept_len = bad[i].len;
        fake_restart(&f);
        connect_client();
        assert_int_equal(f.resumes, 0);
        f.kept[bad[i].at] ^= 1;
    }
    fake_stop(&f, false);
}

static void a_plaintext_client_is_given_no_ticket(void **state)
{
    (void)state;
    fake_start(&f, NULL, NULL);
    fake_login(&f);
    fake_send_ticket(&f, 1);
    assert_int_equal(fake_event_count(&f, FAKE_TICKET), 0);
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_ONLINE);
    fake_stop(&f, false);
}

// ------------------------------------------------------------------------------- early messages

static void queue(unsigned count)
{
    static uint8_t body[1000];

    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pqb_client_send(f.c, "bob", 0, body, sizeof(body), 0, NULL), 0);
}

static void messages_go_with_what_confirms_the_login(void **state)
{
    (void)state;
    fake_start_sealed(&f, NULL, NULL);
    fake_login(&f);
    kick(PQB_KICK_EXPIRED);
    queue(30);
    relogin();
    fake_forget(&f);
    answer();
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_CONNECTING);
    assert_in_range(fake_count(&f, PQB_FRAME_MSG_R), 1, 4);
    assert_int_equal(fake_nth(&f, PQB_FRAME_MSG_R, 0)->msg_r.seq, 1);
    assert_int_equal(f.datagrams, 4);
    fake_advance(&f, 100 * FAKE_MS);
    assert_true(fake_count(&f, PQB_FRAME_MSG_R) <= 4); // and no more before it is confirmed
    confirm();
    assert_true(fake_count(&f, PQB_FRAME_MSG_R) > 4);
    fake_stop(&f, false);
}

static void nothing_is_sent_early_into_another_epoch(void **state)
{
    struct pqb_resp resp;

    (void)state;
    fake_start_sealed(&f, NULL, NULL);
    fake_login(&f);
    kick(PQB_KICK_EXPIRED);
    queue(3);
    relogin();
    fake_forget(&f);
    resp = fake_resp(&f);
    resp.epoch++;
    fake_send_resp(&f, &resp);
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 0);
    fake_stop(&f, false);
}

static void nothing_is_sent_early_without_an_epoch(void **state)
{
    (void)state;
    fake_start_sealed(&f, NULL, NULL);
    queue(3);
    connect_client();
    answer();
    assert_int_equal(fake_count(&f, PQB_FRAME_EPOCH_R), 1);
    assert_int_equal(fake_count(&f, PQB_FRAME_MSG_R), 0);
    fake_stop(&f, false);
}

// --------------------------------------------------------------------------------------- tokens

static void a_new_token_goes_with_the_login_under_way(void **state)
{
    char longest[PQB_CLIENT_TOKEN_MAX + 2];

    (void)state;
    fake_start_sealed(&f, NULL, NULL);
    connect_client();
    assert_int_equal(f.init.token.len, 0);
    assert_int_equal(pqb_client_set_token(f.c, "second"), 0);
    fake_pump(&f);
    assert_int_equal(f.inits, 2);
    assert_int_equal(f.init.token.len, 6);
    assert_memory_equal(f.init.token.data, "second", 6);
    memset(longest, 't', sizeof(longest));
    longest[PQB_CLIENT_TOKEN_MAX + 1] = '\0';
    assert_int_equal(pqb_client_set_token(f.c, longest), PQB_CLIENT_ERR_INVALID);
    fake_pump(&f);
    assert_int_equal(f.inits, 2); // the one before stays
    longest[PQB_CLIENT_TOKEN_MAX] = '\0';
    assert_int_equal(pqb_client_set_token(f.c, longest), 0);
    fake_pump(&f);
    assert_int_equal(f.init.token.len, PQB_CLIENT_TOKEN_MAX);
    answer();
    confirm();
    assert_int_equal(pqb_client_set_token(f.c, NULL), 0); // a session goes on
    fake_pump(&f);
    assert_int_equal(f.inits, 3);
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_ONLINE);
    kick(PQB_KICK_EXPIRED);
    relogin();
    assert_int_equal(f.init.token.len, 0);
    fake_stop(&f, false);
}

static void bring_token(struct fake *fake, enum pqb_client_reason reason)
{
    if (reason == PQB_REASON_TIMEOUT)
        assert_int_equal(pqb_client_set_token(fake->c, "a fresh token, longer than the old"), 0);
}

static void a_token_may_be_brought_when_the_login_gets_no_answer(void **state)
{
    struct pqb_client_config config;

    (void)state;
    for (int is_sealed = 0; is_sealed < 2; is_sealed++) {
        pqb_client_config_default(&config);
        config.token = "worn out";
        if (is_sealed)
            fake_start_sealed(&f, NULL, &config);
        else
            fake_start(&f, NULL, &config);
        connect_client();
        assert_int_equal(f.init.token.len, 8);
        f.on_state = bring_token;
        fake_advance(&f, 2 * FAKE_SECOND);
        assert_int_equal(f.init.token.len, 34);
        assert_memory_equal(f.init.token.data, "a fresh token, longer than the old", 34);
        answer();
        confirm();
        fake_stop(&f, false);
    }
}

// ---------------------------------------------------------------------------------------- files

static char directory[64];

static int begin_files(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof(directory), "/tmp/test-identity-XXXXXX");
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static const char *path_of(const char *name)
{
    static char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

static int end_files(void **state)
{
    (void)state;
    (void)unlink(path_of("device.key"));
    (void)unlink(path_of("ticket"));
    return rmdir(directory);
}

static void write_file(const char *name, const char *text, size_t len)
{
    FILE *file = fopen(path_of(name), "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void a_devices_key_is_made_once(void **state)
{
    uint8_t first[PQB_CLIENT_KEY_LEN], second[PQB_CLIENT_KEY_LEN];
    struct stat st;
    char deeper[100];

    (void)state;
    assert_int_equal(pqb_client_device_key_load(directory, first), 0);
    assert_int_equal(pqb_client_device_key_load(directory, second), 0);
    assert_memory_equal(first, second, sizeof(first));
    assert_int_equal(stat(path_of("device.key"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 65);
    (void)snprintf(deeper, sizeof(deeper), "%s/a/b", directory);
    assert_int_equal(pqb_client_device_key_load(deeper, second), 0); // and the way to it
    assert_memory_not_equal(first, second, sizeof(first));
    assert_int_equal(unlink(path_of("a/b/device.key")), 0);
    assert_int_equal(rmdir(path_of("a/b")), 0);
    assert_int_equal(rmdir(path_of("a")), 0);
    assert_int_equal(pqb_client_device_key_load("", second), PQB_CLIENT_ERR_INVALID);
}

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static void a_damaged_devices_key_is_refused_and_not_replaced(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } bad[] = {{"", 0},          {"\n", 1},      {KEY, 63}, {KEY "0", 65}, {KEY "\n\n", 66},
               {KEY "\r\n", 66}, {KEY KEY, 128}, {"", 1},   {KEY "\0", 65}};
    uint8_t secret[PQB_CLIENT_KEY_LEN];
    struct stat st;

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(bad); i++) {
        write_file("device.key", bad[i].text, bad[i].len);
        assert_int_equal(pqb_client_device_key_load(directory, secret), PQB_CLIENT_ERR_CORRUPT);
        assert_int_equal(stat(path_of("device.key"), &st), 0);
        assert_int_equal(st.st_size, bad[i].len);
    }
    write_file("device.key", KEY, 64); // a missing end of line is none
    assert_int_equal(pqb_client_device_key_load(directory, secret), 0);
    assert_int_equal(secret[31], 0x1f);
}

static void a_ticket_is_kept_replaced_and_dropped(void **state)
{
    uint8_t kept[PQB_CLIENT_TICKET_LEN] = {1, 2, 3}, found[PQB_CLIENT_TICKET_LEN];
    struct stat st;

    (void)state;
    assert_int_equal(pqb_client_ticket_load(directory, found), 0);
    assert_int_equal(pqb_client_ticket_save(directory, NULL, 0), 0); // there is none
    for (uint8_t i = 0; i < 3; i++) {
        kept[3] = i;
        assert_int_equal(pqb_client_ticket_save(directory, kept, sizeof(kept)), 0);
        assert_int_equal(pqb_client_ticket_load(directory, found), sizeof(kept));
        assert_memory_equal(kept, found, sizeof(kept));
    }
    assert_int_equal(stat(path_of("ticket"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(pqb_client_ticket_save(directory, NULL, 0), 0);
    assert_int_equal(pqb_client_ticket_load(directory, found), 0);
    assert_int_equal(pqb_client_ticket_load("/nowhere/at/all", found), 0);
    assert_int_equal(pqb_client_ticket_save("/nowhere/at/all", kept, sizeof(kept)),
                     PQB_CLIENT_ERR_NOT_FOUND);
}

static void a_damaged_ticket_file_makes_a_full_login(void **state)
{
    static char text[PQB_CLIENT_TICKET_LEN + 1];
    uint8_t found[PQB_CLIENT_TICKET_LEN];

    (void)state;
    write_file("ticket", text, PQB_CLIENT_TICKET_LEN + 1);
    assert_int_equal(pqb_client_ticket_load(directory, found), 0);
    write_file("ticket", text, 100);
    assert_int_equal(pqb_client_ticket_load(directory, found), 100); // which no client takes
    write_file("ticket", text, 0);
    assert_int_equal(pqb_client_ticket_load(directory, found), 0);
}

static void the_public_key_of_a_secret_one_is_told(void **state)
{
    uint8_t public[PQB_CLIENT_KEY_LEN];
    struct pqb_noise_keypair pair = {.secret = {0, 5}};

    (void)state;
    pqb_noise_keypair_complete(&pair);
    assert_int_equal(pqb_client_device_public(pair.secret, public), 0);
    assert_memory_equal(public, pair.public, sizeof(public));
}

int main(void)
{
#define FILES(name) cmocka_unit_test_setup_teardown(name, begin_files, end_files)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_login_tells_a_listener_nothing),
        cmocka_unit_test(messages_go_both_ways),
        cmocka_unit_test(both_keys_are_given_or_neither),
        cmocka_unit_test(a_key_that_is_none_gets_no_login_out_and_does_not_spin),
        cmocka_unit_test(only_the_pinned_gateway_is_believed),
        cmocka_unit_test(an_answer_to_an_earlier_login_is_not_believed),
        cmocka_unit_test(a_session_listens_to_its_keys_only),
        cmocka_unit_test(a_login_that_is_forged_at_proves_nobody_dead),
        cmocka_unit_test(a_cookie_goes_with_the_same_handshake),
        cmocka_unit_test(each_repeat_is_the_same_but_for_the_cookie),
        cmocka_unit_test(a_ticket_that_does_not_do_is_dropped_and_the_login_made_in_full_at_once),
        cmocka_unit_test(busy_without_a_wait_means_that_only_while_resuming),
        cmocka_unit_test(busy_with_a_wait_keeps_the_ticket),
        cmocka_unit_test(busy_of_another_login_is_ignored),
        cmocka_unit_test(three_resumes_without_an_answer_fall_back),
        cmocka_unit_test(a_resumed_login_works_and_brings_a_new_ticket),
        cmocka_unit_test(a_kept_ticket_is_used_by_the_next_process),
        cmocka_unit_test(a_ticket_that_does_not_fit_is_as_good_as_none),
        cmocka_unit_test(a_plaintext_client_is_given_no_ticket),
        cmocka_unit_test(messages_go_with_what_confirms_the_login),
        cmocka_unit_test(nothing_is_sent_early_into_another_epoch),
        cmocka_unit_test(nothing_is_sent_early_without_an_epoch),
        cmocka_unit_test(a_new_token_goes_with_the_login_under_way),
        cmocka_unit_test(a_token_may_be_brought_when_the_login_gets_no_answer),
        FILES(a_devices_key_is_made_once),
        FILES(a_damaged_devices_key_is_refused_and_not_replaced),
        FILES(a_ticket_is_kept_replaced_and_dropped),
        FILES(a_damaged_ticket_file_makes_a_full_login),
        cmocka_unit_test(the_public_key_of_a_secret_one_is_told),
    };
#undef FILES

    return cmocka_run_group_tests_name("client_security", tests, NULL, NULL);
}
