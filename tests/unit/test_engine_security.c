// Encrypted sessions at the engine: what a stranger, a thief and a crowd can do to it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "common/base/err.h"
#include "gateway/core/half_open.h"
#include "tests/unit/engine_fixture.h"

#define MS  PQB_NS_PER_MS
#define SEC PQB_NS_PER_SEC

static const struct pqb_frame ping = {.type = PQB_FRAME_PING, .ping = {.nonce = 7}};

// ------------------------------------------------------------------------------------ questions

// Asks to be let in. Whatever comes back is never more than what was asked; the last of it, or
// NULL.
static const struct pqb_transmit *ask(struct gate *g, const struct pqb_addr *from,
                                      const uint8_t *hello)
{
    const struct pqb_transmit *answer = NULL;
    size_t sum = 0;

    gate_clear(g);
    gate_deliver(g, from, hello, PQB_INIT_LEN);
    gate_settle(g);
    for (size_t i = 0; i < g->sent_count; i++) {
        if (!pqb_addr_is_equal(&g->sent[i].to, from))
            continue;
        sum += g->sent[i].len;
        answer = &g->sent[i];
    }
    assert_true(sum <= PQB_INIT_LEN);
    return answer;
}

static unsigned type_of(const struct pqb_transmit *t)
{
    return t ? t->data[0] & 0x0f : 0;
}

// A new login of `p`, without a cookie.
static unsigned knock(struct peer *p)
{
    p->init_id++;
    return type_of(ask(p->g, &p->addr, peer_make_hello(p, NULL)));
}

// The same, and again with the cookie that is asked for.
static unsigned knock_twice(struct peer *p)
{
    const struct pqb_transmit *t;
    struct pqb_retry retry;

    p->init_id++;
    t = ask(p->g, &p->addr, peer_make_hello(p, NULL));
    assert_int_equal(type_of(t), PQB_DATAGRAM_RETRY);
    assert_int_equal(pqb_retry_decode(t->data, t->len, &retry), PQB_VERDICT_OK);
    return type_of(ask(p->g, &p->addr, peer_make_hello(p, retry.cookie)));
}

// BUSY, and for how long.
static uint32_t busy_ms(const struct pqb_transmit *t)
{
    struct pqb_busy busy;

    assert_non_null(t);
    assert_int_equal(pqb_busy_decode(t->data, t->len, &busy), PQB_VERDICT_OK);
    return busy.retry_after_ms;
}

static void must_live(struct peer *p)
{
    gate_clear(p->g);
    peer_send_one(p, ping);
    gate_settle(p->g);
    assert_int_equal(peer_got_count(p, PQB_FRAME_PONG), 1);
}

static void pass_both(struct gate *g, uint64_t ms)
{
    g->store.wall += ms;
    gate_pass(g, ms * MS);
}

static struct peer at(struct peer p, const char *addr)
{
    assert_true(pqb_addr_parse(addr, &p.addr));
    return p;
}

// --------------------------------------------------------------------------------------- logins

static void a_login_takes_one_round_trip_and_the_first_data_carries_a_message(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);
    struct pqb_frame f;

    gate_open(g);
    peer_login(&a);
    assert_memory_equal(g->key_seen, a.identity->device.public, PQB_KEY_LEN);
    peer_get_epoch(&a, 1);
    peer_send_one(&a, (struct pqb_frame){.type = PQB_FRAME_LOGOUT});
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_CURRENT), 0);

    a.init_id++;
    assert_int_equal(type_of(ask(g, &a.addr, peer_make_hello(&a, NULL))), PQB_DATAGRAM_RESP);
    assert_true(peer_take_resp(&a));
    assert_int_equal(a.resp.epoch, a.epoch);
    assert_true(a.resp.cipher != PQB_CIPHER_NONE);
    gate_clear(g);
    peer_msg(&a, 1, 0, "bob", "hello");
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_MSG_A, 0, &f));
    assert_int_equal(f.msg_a.state, PQB_STATE_STORED);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_TICKET), 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_DROP_FORGED), 0);
}

static void either_cipher_is_spoken_and_the_better_one_is_chosen(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1), b = peer_make(g, "bob", "phone", 2),
                c = peer_make(g, "cyd", "phone", 3);

    gate_open(g);
    a.identity->ciphers = PQB_CIPHERS_CHACHAPOLY;
    peer_login(&a);
    assert_int_equal(a.resp.cipher, PQB_CIPHER_CHACHAPOLY);
    peer_login(&b);
    assert_int_equal(b.resp.cipher, pqb_aead_choose(pqb_aead_ciphers(), pqb_aead_ciphers()));
    c.identity->ciphers = 0xfc; // of the future, and says that it lacks what everybody has
    peer_login(&c);
    assert_int_equal(c.resp.cipher, PQB_CIPHER_CHACHAPOLY);
    must_live(&a);
    must_live(&b);
    must_live(&c);
}

static void a_ticket_resumes_a_login_without_asking_for_the_token(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);
    uint8_t first[PQB_TICKET_LEN];

    gate_open(g);
    peer_login(&a);
    assert_true(peer_take_ticket(&a));
    memcpy(first, a.identity->ticket, sizeof(first));
    g->is_login_refused = true;
    gate_clear(g);
    peer_login(&a);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_RESUMED), 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_OPENED), 2);
    assert_true(peer_take_ticket(&a)); // a new one
    assert_memory_not_equal(first, a.identity->ticket, sizeof(first));
    gate_clear(g);
    peer_login(&a);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_RESUMED), 2);
    a.identity->is_resuming = false;
    assert_int_equal(knock(&a), 0); // in full it is asked for
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_REFUSED), 1);
}

static void a_repeated_question_gets_the_identical_answer(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);
    struct pqb_transmit first;
    const struct pqb_transmit *t;

    gate_open(g);
    t = ask(g, &a.addr, peer_make_hello(&a, NULL));
    assert_int_equal(type_of(t), PQB_DATAGRAM_RESP);
    first = *t;
    for (int i = 0; i < 5; i++) {
        t = ask(g, &a.addr, peer_make_hello(&a, NULL));
        assert_int_equal(t->len, first.len);
        assert_memory_equal(t->data, first.data, first.len);
    }
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_HALF_OPEN), 1);
}

// ---------------------------------------------------------------------------- nothing before DATA

static void deliver_junk(struct peer *p)
{
    struct peer_identity *id = p->identity;
    uint8_t data[PQB_DATAGRAM_MAX], kept[PQB_KEY_LEN];
    size_t len;

    // With the right connection id: plaintext, cut short, sealed with the keys exchanged or others.
    memset(data, 0x5a, sizeof(data));
    pqb_data_header_encode(&(struct pqb_data){.cid = p->cid, .pn = 1}, data);
    gate_deliver(p->g, &p->addr, data, PQB_DATA_HEADER_LEN);
    gate_deliver(p->g, &p->addr, data, 60);
    gate_deliver(p->g, &p->addr, data, PQB_DATAGRAM_MAX);
    memcpy(kept, id->send, sizeof(kept));
    memcpy(id->send, id->recv, sizeof(kept));
    len = peer_make_data(p, &ping, 1, data);
    gate_deliver(p->g, &p->addr, data, len);
    memset(id->send, 0, sizeof(kept));
    len = peer_make_data(p, &ping, 1, data);
    gate_deliver(p->g, &p->addr, data, len);
    memcpy(id->send, kept, sizeof(kept));
    p->pn = 0;
}

static void nothing_happens_before_data_that_opens(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1), again = peer_make(g, "alice", "phone", 2);

    gate_open(g);
    peer_login(&a);
    assert_int_equal(knock(&again), PQB_DATAGRAM_RESP);
    assert_true(peer_take_resp(&again));
    gate_clear(g);
    deliver_junk(&again);
    gate_settle(g);
    assert_int_equal(g->sent_count, 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_DROP_FORGED), 5);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_HELD), 1); // of the first login
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_OPENED), 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_REPLACED), 0);
    must_live(&a);
    must_live(&again);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_REPLACED), 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_CURRENT), 1);
}

static void junk_does_not_push_out_what_is_kept_while_a_login_is_registered(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);

    gate_open(g);
    assert_int_equal(knock(&a), PQB_DATAGRAM_RESP);
    assert_true(peer_take_resp(&a));
    peer_send_one(&a, ping);
    for (int i = 0; i < 3; i++) {
        uint8_t data[60] = {0};

        pqb_data_header_encode(&(struct pqb_data){.cid = a.cid, .pn = (uint64_t)i + 2}, data);
        for (int k = 0; k < 4; k++)
            gate_deliver(g, &a.addr, data, sizeof(data));
    }
    gate_clear(g);
    peer_send_one(&a, ping);
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_HELD), 2);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_HELD_DROPPED), 0);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_PONG), 2);
}

static void who_repeats_the_first_datagram_does_not_push_out_the_next_ones(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);
    uint8_t data[PQB_DATAGRAM_MAX];
    struct pqb_addr elsewhere;
    size_t len;

    gate_open(g);
    assert_true(pqb_addr_parse("10.1.2.3:4", &elsewhere));
    assert_int_equal(knock(&a), PQB_DATAGRAM_RESP);
    assert_true(peer_take_resp(&a));
    len = peer_make_data(&a, &ping, 1, data);
    gate_deliver(g, &a.addr, data, len);
    for (int i = 0; i < 20; i++)
        gate_deliver(g, &elsewhere, data, len);
    for (int i = 0; i < 7; i++)
        peer_send_one(&a, ping);
    gate_clear(g);
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_DROP_REPLAY), 20);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_HELD_DROPPED), 0);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_PONG), 8);
    assert_int_equal(gate_count(g, PQB_COUNTER_PATH_CHALLENGES), 0);
}

static void a_replayed_login_of_a_living_session_leads_nowhere(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);
    struct pqb_addr elsewhere;
    uint8_t hello[PQB_INIT_LEN];

    gate_open(g);
    peer_login(&a);
    memcpy(hello, a.identity->hello, sizeof(hello));
    assert_true(pqb_addr_parse("10.1.2.3:4", &elsewhere));
    assert_int_equal(type_of(ask(g, &a.addr, hello)), PQB_DATAGRAM_RESP);
    assert_int_equal(type_of(ask(g, &elsewhere, hello)), PQB_DATAGRAM_RESP);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_HALF_OPEN), 2);
    must_live(&a);
    gate_pass(g, PQB_HALF_OPEN_NS);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_HALF_OPEN), 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_EXPIRED), 2);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_OPENED), 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_REPLACED), 0);
    must_live(&a);
}

static void a_replayed_first_datagram_confirms_no_replayed_login(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);
    uint8_t hello[PQB_INIT_LEN], first[PQB_DATAGRAM_MAX];
    struct pqb_resp resp;
    size_t len;

    gate_open(g);
    assert_int_equal(knock(&a), PQB_DATAGRAM_RESP);
    memcpy(hello, a.identity->hello, sizeof(hello));
    assert_true(peer_take_resp(&a));
    len = peer_make_data(&a, &ping, 1, first);
    gate_deliver(g, &a.addr, first, len);
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_OPENED), 1);
    // Who replays all of it sees a RESP that he cannot read; say he guesses the connection id.
    const struct pqb_transmit *t = ask(g, &a.addr, hello);
    assert_int_equal(type_of(t), PQB_DATAGRAM_RESP);
    struct peer copy = a;
    struct peer_identity identity = *a.identity;
    copy.identity = &identity;
    assert_true(peer_take_resp(&copy));
    resp = copy.resp;
    assert_true(resp.cid != a.cid);
    pqb_data_header_encode(&(struct pqb_data){.cid = resp.cid, .pn = 1}, first);
    gate_deliver(g, &a.addr, first, len);
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_DROP_FORGED), 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_OPENED), 1);
    must_live(&a);
}

// ------------------------------------------------------------------------ who has stolen something

static void mix_exchange(struct pqb_noise_symmetric *s, const uint8_t secret[PQB_KEY_LEN],
                         const uint8_t public[PQB_KEY_LEN])
{
    uint8_t shared[PQB_KEY_LEN];

    assert_int_equal(crypto_scalarmult(shared, secret, public), 0);
    pqb_noise_mix_key(s, shared, sizeof(shared));
}

// An INIT as `victim`'s by one who has the gateway's secret key, and not the victim's: what the
// victim's static key would agree with the gateway's he computes from the other side. Leaves the
// state that reads the answer in `out`.
static void impersonate(const struct peer *victim, const struct pqb_noise_keypair *gateway,
                        uint8_t hello[PQB_INIT_LEN], struct pqb_noise *out)
{
    struct pqb_hello h = {.type = PQB_DATAGRAM_INIT, .ciphers = 1, .init_id = victim->init_id};
    const struct pqb_init init = {.user = {victim->user, strlen(victim->user)},
                                  .device = {victim->device, strlen(victim->device)},
                                  .token = {"", 0}};
    const uint8_t *static_key = victim->identity->device.public;
    uint8_t prologue[PQB_PROLOGUE_MAX], payload[PQB_INIT_LEN];
    uint8_t *message = pqb_hello_begin(&h, hello);
    const size_t prologue_len = pqb_prologue_make(hello, NULL, prologue);
    struct pqb_noise_symmetric *s = &out->symmetric;

    memset(out, 0, sizeof(*out));
    out->is_initiator = true;
    out->e.secret[3] = 9;
    out->s.secret[3] = 8; // any: his own
    pqb_noise_keypair_complete(&out->e);
    memcpy(out->rs, gateway->public, PQB_KEY_LEN);
    pqb_noise_symmetric_init(s, "Noise_IK_25519_ChaChaPoly_SHA256");
    pqb_noise_mix_hash(s, prologue, prologue_len);
    pqb_noise_mix_hash(s, gateway->public, PQB_KEY_LEN);
    memcpy(message, out->e.public, PQB_KEY_LEN);
    pqb_noise_mix_hash(s, out->e.public, PQB_KEY_LEN);
    mix_exchange(s, out->e.secret, gateway->public);
    message += PQB_KEY_LEN;
    message += pqb_noise_encrypt(s, static_key, PQB_KEY_LEN, message);
    mix_exchange(s, gateway->secret, static_key); // ss
    pqb_hello_payload_encode(PQB_DATAGRAM_INIT, &init, payload,
                             h.message_len - PQB_NOISE_IK_OVERHEAD);
    message += pqb_noise_encrypt(s, payload, h.message_len - PQB_NOISE_IK_OVERHEAD, message);
    assert_ptr_equal(message, hello + PQB_HELLO_MAC1_AT);
    peer_sign_hello(victim, hello);
}

static void who_has_stolen_the_gateways_key_is_answered_as_a_device_but_cannot_become_it(
    void **state)
{
    struct gate *g = *state;
    struct peer victim = peer_make(g, "alice", "phone", 1), thief;
    struct peer_identity identity;
    uint8_t hello[PQB_INIT_LEN], payload[PQB_DATAGRAM_MAX];
    const struct pqb_transmit *t;
    struct pqb_noise noise;
    size_t len;

    gate_open(g);
    peer_login(&victim);
    thief = at(victim, "10.1.2.3:4");
    identity = *victim.identity;
    thief.identity = &identity;
    thief.init_id++;
    impersonate(&thief, &g->keys.at[0].pair, hello, &noise);
    t = ask(g, &thief.addr, hello);
    assert_int_equal(type_of(t), PQB_DATAGRAM_RESP);
    assert_memory_equal(g->key_seen, victim.identity->device.public, PQB_KEY_LEN); // so it seemed
    // He cannot read it, which takes the victim's secret key ...
    assert_false(pqb_noise_read(&noise, t->data + PQB_LOGIN_HEADER_LEN,
                                t->len - PQB_LOGIN_HEADER_LEN, payload, &len));
    // ... and even with the connection id his keys open nothing.
    for (uint64_t cid = 0; cid < 3; cid++) {
        thief.cid = victim.cid + cid;
        thief.pn = 1000 + cid;
        identity.send[0] ^= 1;
        peer_send_one(&thief, ping);
    }
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_OPENED), 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_REPLACED), 0);
    must_live(&victim);
}

static void a_device_that_is_not_who_it_says_is_told_by_its_key(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);
    struct pqb_noise_keypair other = {.secret = {0, 77}};

    gate_open(g);
    pqb_noise_keypair_complete(&other);
    // Another's public key with one's own secret one: the handshake does not open.
    memcpy(a.identity->device.public, other.public, PQB_KEY_LEN);
    assert_int_equal(knock(&a), 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_FORGED), 1);
    a.identity->device = other;
    assert_int_equal(knock(&a), PQB_DATAGRAM_RESP);
    assert_memory_equal(g->key_seen, other.public, PQB_KEY_LEN);
}

// ------------------------------------------------------------------------------------- silence

static void who_does_not_know_the_key_meets_silence(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);
    uint8_t hello[PQB_INIT_LEN];

    gate_open(g);
    memcpy(hello, peer_make_hello(&a, NULL), sizeof(hello));
    for (size_t i = 0; i < PQB_MAC1_LEN; i++) {
        hello[PQB_HELLO_MAC1_AT + i] ^= 1;
        assert_null(ask(g, &a.addr, hello));
        hello[PQB_HELLO_MAC1_AT + i] ^= 1;
    }
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_MAC1_BAD), 16);
    a.identity->server_key[5] ^= 1;
    assert_int_equal(knock(&a), 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_MAC1_BAD), 17);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_INITS), 0);
}

static void the_key_before_the_present_one_still_lets_in(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1), b = peer_make(g, "bob", "phone", 2);

    gate_open(g);
    memcpy(a.identity->server_key, g->keys.at[1].pair.public, PQB_KEY_LEN);
    peer_login(&a);
    must_live(&a);
    // mac1 by one key, the handshake for the other.
    memcpy(b.identity->server_key, g->keys.at[1].pair.public, PQB_KEY_LEN);
    (void)peer_make_hello(&b, NULL);
    memcpy(b.identity->server_key, g->keys.at[0].pair.public, PQB_KEY_LEN);
    assert_null(ask(g, &b.addr, peer_make_hello(&b, NULL)));
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_FORGED), 1);
}

static void plaintext_meets_silence_where_sessions_are_encrypted(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1), plain;
    uint8_t hello[PQB_INIT_LEN] = {0x14}, data[PQB_DATAGRAM_MAX];
    size_t len;

    gate_open(g);
    peer_login(&a);
    plain = a;
    plain.identity = NULL;
    gate_clear(g);
    peer_send_init(&plain, NULL);
    gate_deliver(g, &a.addr, hello, sizeof(hello)); // RESUME
    gate_settle(g);
    assert_int_equal(g->sent_count, 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_OTHER_SUITE), 2);
    plain.pn = a.pn + 1;
    len = peer_make_data(&plain, &(struct pqb_frame){.type = PQB_FRAME_LOGOUT}, 1, data);
    gate_deliver(g, &a.addr, data, len);
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_DROP_FORGED), 1);
    must_live(&a);
}

static void an_encrypted_login_meets_silence_where_sessions_are_plain(void **state)
{
    struct gate *g = *state;
    struct peer a, plain;
    struct peer_identity *id;

    gate_protect(g);
    a = peer_make(g, "alice", "phone", 1);
    id = a.identity;
    g->config.keys = NULL;
    gate_open(g);
    assert_int_equal(knock(&a), 0);
    id->is_resuming = true;
    assert_int_equal(knock(&a), 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_OTHER_SUITE), 2);
    plain = peer_make(g, "alice", "phone", 1);
    assert_null(plain.identity);
    peer_login(&plain);
    assert_int_equal(peer_got_count(&plain, PQB_FRAME_TICKET), 0);
}

static void whoever_changes_what_is_offered_breaks_the_login(void **state)
{
    static const size_t places[] = {2, 3, 4, 11}; // ciphers, reserved, init_id
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);
    uint8_t hello[PQB_INIT_LEN];

    gate_open(g);
    for (int is_resuming = 0; is_resuming < 2; is_resuming++) {
        const uint64_t before = gate_count(g, PQB_COUNTER_LOGIN_FORGED);

        a.init_id++;
        for (size_t i = 0; i < PQB_ARRAY_LEN(places); i++) {
            memcpy(hello, peer_make_hello(&a, NULL), sizeof(hello));
            hello[places[i]] ^= 2;
            peer_sign_hello(&a, hello); // anybody can who knows the public key
            assert_null(ask(g, &a.addr, hello));
        }
        memcpy(hello, peer_make_hello(&a, NULL), sizeof(hello));
        hello[PQB_HELLO_MAC1_AT - 1] ^= 1;
        peer_sign_hello(&a, hello);
        assert_null(ask(g, &a.addr, hello));
        assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_FORGED), before + 5);
        peer_login(&a);
        assert_true(peer_take_ticket(&a));
    }
}

static void a_resp_is_its_clients_only(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1), b;
    struct peer_identity identity;

    gate_open(g);
    assert_int_equal(knock(&a), PQB_DATAGRAM_RESP);
    b = a;
    identity = *a.identity;
    b.identity = &identity;
    identity.noise.e.secret[4] ^= 1; // who saw all datagrams, and not the ephemeral key
    assert_false(peer_take_resp(&b));
    assert_true(peer_take_resp(&a));
}

// ------------------------------------------------------------------------------------ under load

// Logins a stranger can make who knows the public key only: nothing in them opens. One every
// `interval` from addresses of their own. Returns the time of the last.
static pqb_tstamp flood(struct gate *g, struct peer *p, unsigned count, pqb_duration interval)
{
    uint8_t hello[PQB_INIT_LEN];
    struct pqb_addr from = {.ip = {10}, .family = 4, .port = 9};

    memcpy(hello, peer_make_hello(p, NULL), sizeof(hello));
    memset(hello + PQB_HELLO_HEADER_LEN, 0x55, 300);
    for (unsigned i = 0; i < count; i++) {
        g->store.now += interval;
        from.ip[1] = (uint8_t)(i >> 8);
        from.ip[2] = (uint8_t)i;
        hello[4] = (uint8_t)(i >> 8);
        hello[5] = (uint8_t)i;
        peer_sign_hello(p, hello);
        gate_deliver(g, &from, hello, sizeof(hello));
        gate_turn(g);
        gate_clear(g);
    }
    return g->store.now;
}

static void five_hundred_logins_a_second_without_a_cookie_are_no_rush(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);

    gate_open(g);
    (void)flood(g, &a, 2000, 2 * MS);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_RETRY), 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_FORGED), 2000);
    assert_int_equal(knock(&a), PQB_DATAGRAM_RESP);
}

static void in_a_rush_the_cookie_is_asked_for_until_a_second_after_it(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);
    pqb_tstamp last;

    gate_open(g);
    g->store.now += SEC;
    last = flood(g, &a, 1000, MS); // twice as many as are borne
    const uint64_t spent = gate_count(g, PQB_COUNTER_LOGIN_FORGED);
    assert_true(spent >= 495 && spent <= 505); // 250 at once, and one in two of the rest
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_RETRY), 1000 - spent);
    // An honest client goes through with its cookie.
    assert_int_equal(knock_twice(&a), PQB_DATAGRAM_RESP);
    assert_true(peer_take_resp(&a));
    must_live(&a);
    g->store.now = last + SEC / 2; // the bucket has room again, and yet
    assert_int_equal(knock(&a), PQB_DATAGRAM_RETRY);
    g->store.now = last + SEC - 5 * MS;
    assert_int_equal(knock(&a), PQB_DATAGRAM_RETRY);
    g->store.now = last + SEC;
    assert_int_equal(knock(&a), PQB_DATAGRAM_RESP);
}

static void a_cookie_is_good_for_its_address_and_login_only(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1), b;
    const struct pqb_transmit *t;
    struct pqb_retry retry;

    g->config.retry = PQB_RETRY_ALWAYS;
    gate_open(g);
    t = ask(g, &a.addr, peer_make_hello(&a, NULL));
    assert_int_equal(t->len, PQB_RETRY_LEN);
    assert_int_equal(pqb_retry_decode(t->data, t->len, &retry), PQB_VERDICT_OK);
    b = at(a, "10.0.0.9:1");
    assert_int_equal(type_of(ask(g, &b.addr, peer_make_hello(&a, retry.cookie))),
                     PQB_DATAGRAM_RETRY);
    retry.cookie[3] ^= 1;
    assert_int_equal(type_of(ask(g, &a.addr, peer_make_hello(&a, retry.cookie))),
                     PQB_DATAGRAM_RETRY);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_COOKIE_BAD), 2);
    retry.cookie[3] ^= 1;
    assert_int_equal(type_of(ask(g, &a.addr, peer_make_hello(&a, retry.cookie))),
                     PQB_DATAGRAM_RESP);
    assert_true(peer_take_resp(&a)); // the same handshake as before the cookie
}

// With the writer stopped, so that time stands still: what is let through waits for its lookup.
static unsigned logins_until_busy(struct peer *p)
{
    p->g->is_store_stopped = true;
    for (unsigned i = 0; i < 50; i++) {
        if (knock_twice(p) == PQB_DATAGRAM_BUSY)
            return i;
    }
    return 50;
}

static void one_address_gets_its_share_and_another_its_own(void **state)
{
    struct gate *g = *state;
    struct peer p = peer_make(g, "alice", "phone", 1);

    g->config.retry = PQB_RETRY_ALWAYS;
    g->config.login_rate = 5;
    gate_open(g);
    g->store.now += SEC;
    p = at(p, "192.0.2.7:1000");
    assert_int_equal(logins_until_busy(&p), 10); // two seconds' worth at once
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_BUSY_PREFIX), 1);
    p.addr.port = 1001; // another port is the same address
    assert_int_equal(logins_until_busy(&p), 0);
    p = at(p, "192.0.2.8:1000");
    assert_int_equal(logins_until_busy(&p), 10);
    p = at(p, "192.0.2.7:1000");
    g->store.now += SEC / 5 - 1;
    assert_int_equal(logins_until_busy(&p), 0);
    g->store.now += 1;
    assert_int_equal(logins_until_busy(&p), 1);
}

static void an_ipv6_network_of_64_bits_shares_one_share(void **state)
{
    struct gate *g = *state;
    struct peer p = peer_make(g, "alice", "phone", 1);

    g->config.retry = PQB_RETRY_ALWAYS;
    g->config.login_rate = 5;
    gate_open(g);
    g->store.now += SEC;
    p = at(p, "[2001:db8:1:2::1]:1");
    assert_int_equal(logins_until_busy(&p), 10);
    p = at(p, "[2001:db8:1:2:ffff:ffff:ffff:ffff]:1");
    assert_int_equal(logins_until_busy(&p), 0);
    p = at(p, "[2001:db8:1:3::1]:1");
    assert_int_equal(logins_until_busy(&p), 10);
}

static void loopback_and_a_rate_of_zero_have_no_share(void **state)
{
    struct gate *g = *state;
    struct peer p = peer_make(g, "alice", "phone", 1);

    g->config.retry = PQB_RETRY_ALWAYS;
    g->config.login_rate = 5;
    gate_open(g);
    assert_int_equal(logins_until_busy(&p), 50);
    g->store.now += SEC; // for the shard's own limit
    p = at(p, "[::1]:1");
    assert_int_equal(logins_until_busy(&p), 50);
    g->store.now += SEC;
    p = at(p, "192.0.2.7:1000");
    assert_int_equal(logins_until_busy(&p), 10);
    g->store.now += SEC;
    g->config.login_rate = 0;
    gate_reconfigure(g);
    assert_int_equal(logins_until_busy(&p), 50);
}

static void nobody_uses_up_the_share_of_an_address_that_is_not_his(void **state)
{
    static const uint8_t invented[PQB_COOKIE_LEN] = {1, 2, 3};
    struct gate *g = *state;
    struct peer p = at(peer_make(g, "alice", "phone", 1), "192.0.2.7:1000");

    g->config.login_rate = 5;
    gate_open(g);
    g->store.now += SEC;
    // Before there is a load a cookie that is none is as good as none.
    for (int i = 0; i < 40; i++) {
        uint8_t hello[PQB_INIT_LEN];

        p.init_id++;
        memcpy(hello, peer_make_hello(&p, invented), sizeof(hello));
        hello[PQB_HELLO_MAC1_AT - 1] ^= 1;
        peer_sign_hello(&p, hello);
        gate_deliver(g, &p.addr, hello, sizeof(hello));
        gate_turn(g);
    }
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_COOKIE_BAD), 40);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_FORGED), 40);
    g->config.retry = PQB_RETRY_ALWAYS;
    gate_reconfigure(g);
    assert_int_equal(logins_until_busy(&p), 10);
}

static void handshakes_beyond_what_a_shard_makes_are_put_off(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);

    gate_open(g);
    g->store.now += SEC;
    g->is_store_stopped = true; // time stands still
    (void)flood(g, &a, 64, 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_FORGED), 64);
    a.init_id++;
    const uint32_t wait = busy_ms(ask(g, &a.addr, peer_make_hello(&a, NULL)));
    assert_true(wait >= 500 && wait <= 750);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_BUSY_HANDSHAKES), 1);
    g->store.now += SEC / 2000 - 1;
    assert_int_equal(knock(&a), PQB_DATAGRAM_BUSY);
    g->store.now += 1;
    assert_int_equal(knock(&a), 0); // it is with the writer
    g->is_store_stopped = false;
    assert_int_equal(type_of(ask(g, &a.addr, peer_make_hello(&a, NULL))), PQB_DATAGRAM_RESP);
}

static void deliver_hellos(struct peer *p, unsigned count, const uint8_t *cookie)
{
    for (unsigned i = 0; i < count; i++)
        gate_deliver(p->g, &p->addr, peer_make_hello(p, cookie), PQB_INIT_LEN);
}

// Logins of one device that no turn comes between.
static void deliver_logins(struct peer *p, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        p->init_id++;
        deliver_hellos(p, 1, NULL);
    }
}

static void a_turn_makes_two_handshakes_and_sessions_come_first(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1), b = peer_make(g, "bob", "phone", 2);

    gate_open(g);
    peer_login(&a);
    gate_clear(g);
    deliver_logins(&b, 3);
    peer_send_one(&a, ping);
    gate_turn(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_PONG), 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_HALF_OPEN), 2);
    assert_int_equal(pqb_engine_next_deadline(g->engines[0]), 0); // the next turn is due at once
    gate_turn(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_HALF_OPEN), 3);
    assert_true(pqb_engine_next_deadline(g->engines[0]) > g->store.now);
    must_live(&a);
}

static void strangers_are_answered_after_sessions_and_a_few_in_a_turn(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1), b = peer_make(g, "bob", "phone", 2);

    gate_open(g);
    peer_login(&a);
    g->config.retry = PQB_RETRY_ALWAYS;
    gate_reconfigure(g);
    gate_clear(g);
    deliver_logins(&b, 100);
    peer_send_one(&a, ping);
    gate_turn(g);
    assert_int_equal(g->sent_count, 65);
    assert_true(pqb_addr_is_equal(&g->sent[0].to, &a.addr) ||
                pqb_addr_is_equal(&g->sent[1].to, &a.addr)); // one in eight is never late
    assert_int_equal(pqb_engine_next_deadline(g->engines[0]), 0);
    gate_turn(g);
    assert_int_equal(g->sent_count, 101);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_RETRY), 100);
    assert_int_equal(gate_count(g, PQB_COUNTER_REPLY_DROPPED), 0);
}

static void when_logins_wait_for_more_than_a_turn_the_cookie_is_asked_for(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1), b = peer_make(g, "bob", "phone", 2);
    struct pqb_retry retry;

    gate_open(g);
    deliver_logins(&a, 8);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_RETRY), 0);
    deliver_hellos(&b, 1, NULL);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_RETRY), 1);
    g->is_store_stopped = true;
    gate_turn(g); // two of the eight
    assert_int_equal(pqb_retry_decode(g->sent[0].data, g->sent[0].len, &retry), PQB_VERDICT_OK);
    deliver_logins(&a, 3); // one is asked
    deliver_hellos(&b, 1, retry.cookie);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_RETRY), 2);
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_HALF_OPEN), 8 + 2 + 1);
    assert_int_equal(knock(&b), 0); // nobody waits any more: it goes to the writer without a cookie
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_RETRY), 2);
}

static void logins_that_wait_are_bounded_and_each_is_answered_once(void **state)
{
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);
    struct pqb_retry retry;
    const struct pqb_transmit *t;

    g->config.retry = PQB_RETRY_ALWAYS;
    gate_open(g);
    t = ask(g, &a.addr, peer_make_hello(&a, NULL));
    assert_int_equal(pqb_retry_decode(t->data, t->len, &retry), PQB_VERDICT_OK);
    gate_clear(g);
    deliver_hellos(&a, 60, retry.cookie);
    g->store.now += SEC; // there would be handshakes again, and the turn does not come
    deliver_hellos(&a, 5, retry.cookie);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_BUSY_HANDSHAKES), 1);
    for (int i = 0; i < 64 / 2; i++)
        gate_turn(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_REPEATED), 63);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_HALF_OPEN), 1);
    gate_settle(g);
    assert_true(peer_take_resp(&a));
    must_live(&a);
}

static void half_open_logins_are_bounded_and_erased(void **state)
{
    struct gate *g = *state;
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};
    struct peer p[9];
    size_t before;

    g->config.half_open_max = 8;
    for (uint16_t i = 0; i < 9; i++)
        p[i] = peer_make(g, names[i], "phone", (uint16_t)(i + 1));
    gate_open(g);
    before = pqb_engine_memory(g->engines[0]);
    for (int i = 0; i < 4; i++)
        assert_int_equal(knock(&p[i]), PQB_DATAGRAM_RESP);
    for (int i = 4; i < 8; i++)
        assert_int_equal(knock_twice(&p[i]), PQB_DATAGRAM_RESP); // from half of it on
    assert_int_equal(knock_twice(&p[8]), PQB_DATAGRAM_BUSY);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_BUSY_HALF_OPEN), 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_HALF_OPEN), 8);
    // ARCHITECTURE.md promises this much for one, with its RESP.
    assert_true(pqb_engine_memory(g->engines[0]) - before <= (size_t)8 * 1024);
    gate_pass(g, PQB_HALF_OPEN_NS - SEC);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_HALF_OPEN), 8);
    gate_pass(g, SEC);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_HALF_OPEN), 0);
    assert_int_equal(pqb_engine_memory(g->engines[0]), before);
}

// Who has recorded an INIT can repeat it from many addresses, with cookies of his own.
static void a_device_crowds_out_its_own_half_open_logins_only(void **state)
{
    struct gate *g = *state;
    struct peer alice = peer_make(g, "alice", "phone", 1), bob = peer_make(g, "bob", "phone", 2);

    g->config.half_open_max = 8;
    gate_open(g);
    assert_int_equal(knock(&bob), PQB_DATAGRAM_RESP);
    for (int i = 0; i < 3; i++)
        assert_int_equal(knock(&alice), PQB_DATAGRAM_RESP);
    for (int i = 0; i < 20; i++)
        assert_int_equal(knock_twice(&alice), PQB_DATAGRAM_RESP);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_HALF_OPEN), 1 + PQB_HALF_OPEN_DEVICE_MAX);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_CROWDED_OUT), 19);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_BUSY_HALF_OPEN), 0);
}

// Somebody on the path, or chance, holds the datagram back that confirms a login.
static void a_login_that_is_confirmed_late_does_not_end_a_later_ones_session(void **state)
{
    struct gate *g = *state;
    struct peer first = peer_make(g, "alice", "phone", 1), second;

    gate_open(g);
    assert_int_equal(knock(&first), PQB_DATAGRAM_RESP);
    assert_true(peer_take_resp(&first));
    g->store.now += SEC;
    second = peer_make(g, "alice", "phone", 2);
    peer_login(&second);
    gate_clear(g);
    peer_send_one(&first, (struct pqb_frame){.type = PQB_FRAME_PING});
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_OVERTAKEN), 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_REPLACED), 0);
    must_live(&second);
}

static void a_login_that_may_not_stay_any_more_becomes_no_session(void **state)
{
    struct gate *g = *state;
    struct peer p = peer_make(g, "alice", "phone", 1);

    gate_open(g);
    assert_int_equal(knock(&p), PQB_DATAGRAM_RESP);
    assert_true(peer_take_resp(&p));
    g->revoked_user = "alice"; // and the reload has not come by here yet
    peer_send_one(&p, (struct pqb_frame){.type = PQB_FRAME_PING});
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_OPENED), 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_REFUSED), 1);
}

// -------------------------------------------------------------------------------------- tickets

static void must_refuse_ticket(struct peer *p)
{
    const uint64_t bad = gate_count(p->g, PQB_COUNTER_LOGIN_TICKET_BAD);
    const uint64_t half = gate_count(p->g, PQB_COUNTER_SESSION_HALF_OPEN);

    p->init_id++;
    const struct pqb_transmit *t = ask(p->g, &p->addr, peer_make_hello(p, NULL));
    assert_int_equal(t ? t->len : 0, PQB_BUSY_LEN);
    assert_int_equal(busy_ms(t), 0);
    assert_int_equal(gate_count(p->g, PQB_COUNTER_LOGIN_TICKET_BAD), bad + 1);
    assert_int_equal(gate_count(p->g, PQB_COUNTER_SESSION_HALF_OPEN), half);
    assert_int_equal(gate_count(p->g, PQB_COUNTER_LOGIN_RESUMED), 0);
}

static struct peer with_ticket(struct gate *g)
{
    struct peer p = peer_make(g, "alice", "phone", 1);

    gate_open(g);
    peer_login(&p);
    assert_true(peer_take_ticket(&p));
    return p;
}

static void a_forged_ticket_is_refused_at_once(void **state)
{
    struct peer p = with_ticket(*state);

    for (size_t i = 0; i < PQB_TICKET_LEN; i += 10) {
        p.identity->ticket[i] ^= 1;
        must_refuse_ticket(&p);
        p.identity->ticket[i] ^= 1;
    }
    must_live(&p);
}

static void a_ticket_with_another_psk_meets_silence(void **state)
{
    struct gate *g = *state;
    struct peer p = with_ticket(g);

    p.identity->psk[0] ^= 1; // who saw the ticket on the wire has no psk
    assert_int_equal(knock(&p), 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_FORGED), 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_TICKET_BAD), 0);
}

static void a_ticket_is_good_for_seven_days(void **state)
{
    struct gate *g = *state;
    const pqb_wall_ms before = g->store.wall;
    struct peer p = with_ticket(g);
    struct pqb_ticket t;

    assert_true(pqb_ticket_open(&g->keys.tickets, p.identity->ticket, g->store.wall, &t));
    assert_true(t.until > before + 604800000 && t.until <= g->store.wall + 604800000);
    g->store.wall = t.until;
    must_refuse_ticket(&p);
    g->store.wall = t.until - 1;
    assert_int_equal(knock(&p), PQB_DATAGRAM_RESP);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_RESUMED), 1);
}

static void a_ticket_does_not_outlive_what_let_the_login_in(void **state)
{
    struct gate *g = *state;
    struct peer p;

    g->expires_ms = g->store.wall + 5000;
    p = with_ticket(g);
    g->store.wall = g->expires_ms - 1;
    assert_int_equal(knock(&p), PQB_DATAGRAM_RESP);
    g->store.wall = g->expires_ms;
    assert_int_equal(busy_ms(ask(g, &p.addr, (p.init_id++, peer_make_hello(&p, NULL)))), 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_TICKET_BAD), 1);
}

static void resuming_again_and_again_does_not_outlive_it_either(void **state)
{
    struct gate *g = *state;
    struct peer p;

    g->expires_ms = g->store.wall + 5000;
    p = with_ticket(g);
    for (int i = 0; i < 4; i++) {
        g->store.wall += 1000;
        gate_clear(g);
        peer_login(&p);
        assert_true(peer_take_ticket(&p));
    }
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_RESUMED), 4);
    g->store.wall += 1000;
    assert_int_equal(knock(&p), PQB_DATAGRAM_BUSY);
}

static void a_ticket_of_a_key_that_is_gone_is_refused(void **state)
{
    static struct pqb_server_keys other;
    struct gate *g = *state;
    struct peer p = with_ticket(g);

    other = g->keys;
    other.tickets.at[0] = (struct pqb_ticket_key){.id = 8, .key = {8}};
    g->config.keys = &other;
    gate_reconfigure(g);
    must_refuse_ticket(&p);
    other.tickets.at[1] = g->keys.tickets.at[0];
    other.tickets.count = 2;
    assert_int_equal(knock(&p), PQB_DATAGRAM_RESP);
    assert_true(peer_take_resp(&p));
    gate_clear(g);
    peer_send_one(&p, ping);
    gate_settle(g);
    assert_true(peer_take_ticket(&p));
    assert_int_equal(p.identity->ticket[0], 8); // sealed by the first
}

static void a_ticket_of_one_who_may_not_stay_is_refused(void **state)
{
    struct gate *g = *state;
    struct peer p = with_ticket(g);

    g->revoked_user = "alice";
    must_refuse_ticket(&p);
    g->revoked_user = NULL;
    assert_int_equal(knock(&p), PQB_DATAGRAM_RESP);
}

static void a_ticket_is_not_another_devices(void **state)
{
    struct gate *g = *state;
    struct peer p = with_ticket(g), thief = peer_make(g, "eve", "phone", 9);

    // He has ticket and psk: he is alice's phone then, and cannot say that he is somebody else.
    memcpy(thief.identity->ticket, p.identity->ticket, PQB_TICKET_LEN);
    memcpy(thief.identity->psk, p.identity->psk, PQB_KEY_LEN);
    thief.identity->is_resuming = true;
    gate_clear(g);
    peer_login(&thief);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_REPLACED), 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_CURRENT), 1);
}

// -------------------------------------------------------------------------------- a session's end

static bool note_age(void *ctx, const struct pqb_session_info *info)
{
    *(pqb_duration *)ctx = info->age;
    return false;
}

// When the only session was made.
static pqb_tstamp begun_at(const struct gate *g)
{
    pqb_duration age = 0;

    pqb_engine_each_session(g->engines[0], note_age, &age, g->store.now);
    return g->store.now - age;
}

static void must_have_expired(const struct peer *p)
{
    struct gate *g = p->g;
    struct pqb_frame f;

    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_CURRENT), 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_EXPIRED), 1);
    assert_true(peer_got(p, PQB_FRAME_KICK, 0, &f));
    assert_int_equal(f.kick.reason, PQB_KICK_EXPIRED);
}

static void a_session_ends_when_it_has_lasted_long_enough(void **state)
{
    struct gate *g = *state;
    struct peer p = peer_make(g, "alice", "phone", 1);

    g->config.session_max_ns = 60 * SEC;
    gate_open(g);
    peer_login(&p);
    const pqb_tstamp end = begun_at(g) + 60 * SEC;
    gate_pass(g, 30 * SEC);
    must_live(&p);
    gate_clear(g);
    assert_true(pqb_engine_next_deadline(g->engines[0]) <= end);
    g->store.now = end - 1;
    gate_turn(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_CURRENT), 1);
    assert_int_equal(pqb_engine_next_deadline(g->engines[0]), end);
    g->store.now = end;
    gate_turn(g);
    must_have_expired(&p);
}

static void a_session_ends_with_what_let_it_in(void **state)
{
    struct gate *g = *state;
    struct peer p = peer_make(g, "alice", "phone", 1);

    g->expires_ms = g->store.wall + 20000;
    gate_open(g);
    peer_login(&p);
    pass_both(g, 12000);
    must_live(&p);
    gate_clear(g);
    g->store.now += 5 * SEC;
    g->store.wall = g->expires_ms - 1;
    peer_send_one(&p, ping);
    gate_turn(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_CURRENT), 1);
    assert_int_equal(pqb_engine_next_deadline(g->engines[0]), g->store.now + MS);
    g->store.now += MS;
    g->store.wall += 1;
    gate_turn(g);
    must_have_expired(&p);
}

static void a_wall_clock_set_back_keeps_it_a_little_longer(void **state)
{
    struct gate *g = *state;
    struct peer p = peer_make(g, "alice", "phone", 1);

    g->expires_ms = g->store.wall + 20000;
    gate_open(g);
    peer_login(&p);
    gate_pass(g, 20 * SEC); // the wall clock all but stands still
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_CURRENT), 1);
    must_live(&p);
    pass_both(g, 20000);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_EXPIRED), 1);
}

static void a_grant_that_ends_while_its_login_is_under_way_makes_no_lasting_session(void **state)
{
    struct gate *g = *state;
    struct peer p = peer_make(g, "alice", "phone", 1);

    g->expires_ms = g->store.wall + 1000;
    gate_open(g);
    assert_int_equal(knock(&p), PQB_DATAGRAM_RESP);
    assert_true(peer_take_resp(&p));
    pass_both(g, 1000);
    peer_send_one(&p, ping);
    gate_settle(g);
    gate_pass(g, 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_SESSION_CURRENT), 0);
}

// -------------------------------------------------------------------------- datagrams of a session

static void replays_old_numbers_and_forgeries_are_told_apart(void **state)
{
    struct gate *g = *state;
    struct peer p = peer_make(g, "alice", "phone", 1);
    uint8_t data[PQB_DATAGRAM_MAX], old[PQB_DATAGRAM_MAX];
    size_t len, old_len;

    gate_open(g);
    peer_login(&p);
    old_len = peer_make_data(&p, &ping, 1, old); // does not arrive yet
    len = peer_make_data(&p, &ping, 1, data);
    gate_clear(g);
    gate_deliver(g, &p.addr, data, len);
    gate_deliver(g, &p.addr, data, len);
    data[len - 1] ^= 1; // costs nothing: its number was seen
    gate_deliver(g, &p.addr, data, len);
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_DROP_REPLAY), 2);
    assert_int_equal(gate_count(g, PQB_COUNTER_DROP_FORGED), 0);
    assert_int_equal(peer_got_count(&p, PQB_FRAME_PONG), 1);
    p.pn += 2000;
    peer_send_one(&p, ping);
    gate_deliver(g, &p.addr, old, old_len);
    assert_int_equal(gate_count(g, PQB_COUNTER_DROP_STALE), 1);
    len = peer_make_data(&p, &ping, 1, data);
    data[len - 1] ^= 1;
    gate_deliver(g, &p.addr, data, len);
    gate_deliver(g, &p.addr, data, PQB_DATA_HEADER_LEN);
    gate_deliver(g, &p.addr, data, PQB_DATA_HEADER_LEN + PQB_TAG_LEN - 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_DROP_FORGED), 3);
    data[len - 1] ^= 1; // the true one is none the worse for them
    gate_clear(g);
    gate_deliver(g, &p.addr, data, len);
    gate_settle(g);
    assert_int_equal(peer_got_count(&p, PQB_FRAME_PONG), 2);
}

static void a_forgery_far_ahead_makes_no_honest_number_stale(void **state)
{
    struct gate *g = *state;
    struct peer p = peer_make(g, "alice", "phone", 1);
    uint8_t data[PQB_DATAGRAM_MAX] = {0};

    gate_open(g);
    peer_login(&p);
    pqb_data_header_encode(&(struct pqb_data){.cid = p.cid, .pn = UINT64_C(1) << 40}, data);
    gate_deliver(g, &p.addr, data, 100);
    pqb_data_header_encode(&(struct pqb_data){.cid = p.cid, .pn = (UINT64_C(1) << 48) + 90}, data);
    gate_deliver(g, &p.addr, data, 100);
    assert_int_equal(gate_count(g, PQB_COUNTER_DROP_FORGED), 2);
    must_live(&p);
}

static void only_the_newest_datagram_that_opens_speaks_for_an_address(void **state)
{
    struct gate *g = *state;
    struct peer p = peer_make(g, "alice", "phone", 1);
    uint8_t old[PQB_DATAGRAM_MAX], data[PQB_DATAGRAM_MAX];
    struct pqb_addr elsewhere;
    struct pqb_frame f;
    size_t old_len, len;

    gate_open(g);
    peer_login(&p);
    assert_true(pqb_addr_parse("10.1.2.3:4", &elsewhere));
    old_len = peer_make_data(&p, &ping, 1, old);
    len = peer_make_data(&p, &ping, 1, data);
    gate_deliver(g, &p.addr, data, len);
    gate_deliver(g, &elsewhere, data, len);    // replayed
    gate_deliver(g, &elsewhere, old, old_len); // kept back
    len = peer_make_data(&p, &ping, 1, data);
    data[len - 1] ^= 1;
    gate_deliver(g, &elsewhere, data, len); // forged
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_PATH_CHALLENGES), 0);
    for (size_t i = 0; i < g->sent_count; i++)
        assert_true(pqb_addr_is_equal(&g->sent[i].to, &p.addr));
    gate_clear(g);
    data[len - 1] ^= 1;
    p.addr = elsewhere;
    gate_deliver(g, &elsewhere, data, len);
    gate_settle(g);
    assert_true(peer_got(&p, PQB_FRAME_PATH_CHALLENGE, 0, &f));
    f.type = PQB_FRAME_PATH_RESPONSE;
    peer_send_one(&p, f);
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_PATH_MOVED), 1);
}

static void a_reset_is_told_to_whom_it_concerns_as_in_plaintext(void **state)
{
    struct gate *g = *state;
    struct peer p = peer_make(g, "alice", "phone", 1);
    struct pqb_reset reset;

    gate_open(g);
    peer_login(&p);
    gate_crash(g);
    gate_clear(g);
    peer_send_one(&p, ping);
    gate_settle(g);
    assert_int_equal(g->sent_count, 1);
    assert_int_equal(pqb_reset_decode(g->sent[0].data, g->sent[0].len, &reset), PQB_VERDICT_OK);
    assert_memory_equal(reset.token, p.resp.reset_token, PQB_RESET_LEN);
}

static void a_ticket_outlives_the_process(void **state)
{
    struct gate *g = *state;
    struct peer p = with_ticket(g);

    gate_crash(g);
    gate_clear(g);
    peer_login(&p);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_RESUMED), 1);
}

// --------------------------------------------------------------------------------------- shards

// A peer whose user is of the second shard, whereas its datagrams reach the first one.
static struct peer elsewhere_made(struct gate *g)
{
    static const char *const names[] = {"ann", "ben", "cyd", "dan", "eve", "fay", "gus", "hal"};

    for (size_t i = 0; i < PQB_ARRAY_LEN(names); i++) {
        if (pqb_store_user_hash(g->store.s, names[i], strlen(names[i])) % 2 == 1)
            return peer_make(g, names[i], "phone", 1);
    }
    fail_msg("no name of the second shard");
    return peer_make(g, "", "", 1);
}

static void another_shard_opens_a_login_and_hands_it_on(void **state)
{
    struct gate *g = *state;
    struct peer p;

    gate_open(g);
    p = elsewhere_made(g);
    peer_login(&p);
    assert_int_equal(p.cid >> 56 & 1, 1);
    assert_int_equal(g->counters[0][PQB_COUNTER_MAIL_OUT], 1);
    assert_int_equal(g->counters[1][PQB_COUNTER_SESSION_OPENED], 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_MAIL_BAD), 0);
    peer_get_epoch(&p, 1);
    assert_true(peer_take_ticket(&p));
    gate_clear(g);
    peer_login(&p); // by ticket, likewise
    assert_int_equal(g->counters[0][PQB_COUNTER_LOGIN_RESUMED], 1);
    assert_int_equal(g->counters[1][PQB_COUNTER_SESSION_REPLACED], 1);
    assert_int_equal(p.resp.epoch, p.epoch);
    // DATA that comes to the wrong shard is passed on as it is.
    uint8_t data[PQB_DATAGRAM_MAX];
    const size_t len = peer_make_data(&p, &ping, 1, data);
    gate_clear(g);
    pqb_engine_on_datagram(g->engines[0], &p.addr, data, len, g->store.now);
    gate_settle(g);
    assert_int_equal(peer_got_count(&p, PQB_FRAME_PONG), 1);
}

static void a_login_that_finds_no_room_in_the_mailbox_works_when_repeated(void **state)
{
    struct gate *g = *state;
    struct peer p;

    gate_open(g);
    p = elsewhere_made(g);
    g->mails_max = 0;
    assert_int_equal(knock(&p), 0);
    assert_int_equal(g->counters[0][PQB_COUNTER_MAIL_DROPPED], 1);
    g->mails_max = GATE_MAILS_MAX;
    const struct pqb_transmit *t = ask(g, &p.addr, peer_make_hello(&p, NULL));
    assert_int_equal(type_of(t), PQB_DATAGRAM_RESP);
    const struct pqb_transmit first = *t;
    t = ask(g, &p.addr, peer_make_hello(&p, NULL)); // opened anew here, known there
    assert_int_equal(t->len, first.len);
    assert_memory_equal(t->data, first.data, first.len);
    assert_true(peer_take_resp(&p));
    must_live(&p);
}

static void mail_that_is_damaged_is_dropped(void **state)
{
    struct gate *g = *state;
    struct gate_mail m;
    struct peer p;

    gate_open(g);
    p = elsewhere_made(g);
    gate_deliver(g, &p.addr, peer_make_hello(&p, NULL), PQB_INIT_LEN);
    pqb_engine_handshake(g->engines[0], g->store.now);
    assert_int_equal(g->mail_count, 1);
    m = g->mails[0];
    g->mail_count = 0;
    assert_int_equal(pqb_engine_begin(g->engines[1], g->store.now), PQB_OK);
    for (size_t len = 0; len < m.len; len++) {
        uint8_t *copy = test_malloc(len + 1); // a read too far is seen

        memcpy(copy, m.data, len);
        pqb_engine_on_mail(g->engines[1], copy, len, g->store.now);
        test_free(copy);
    }
    pqb_engine_end(g->engines[1]);
    assert_int_equal(g->counters[1][PQB_COUNTER_MAIL_BAD], m.len);
    assert_int_equal(g->counters[1][PQB_COUNTER_SESSION_HALF_OPEN], 0);
}

// ----------------------------------------------------------------------------- operator's business

static void new_keys_leave_living_sessions_alone(void **state)
{
    static struct pqb_server_keys fresh;
    static const uint8_t secret[PQB_KEY_LEN] = {0, 3};
    struct gate *g = *state;
    struct peer a = with_ticket(g), b = peer_make(g, "bob", "phone", 2);

    assert_int_equal(knock(&b), PQB_DATAGRAM_RESP); // under way
    assert_true(peer_take_resp(&b));
    fresh = (struct pqb_server_keys){.ciphers = PQB_CIPHERS_CHACHAPOLY};
    pqb_server_keys_add(&fresh, secret);
    pqb_server_keys_add(&fresh, g->keys.at[0].pair.secret);
    fresh.tickets =
        (struct pqb_ticket_keys){.count = 2, .at = {{.id = 8, .key = {8}}, g->keys.tickets.at[0]}};
    g->config.keys = &fresh;
    gate_reconfigure(g);
    pqb_secret_erase(&g->keys.tickets, sizeof(g->keys.tickets)); // nobody looks there any more
    must_live(&a);
    must_live(&b);
    gate_clear(g);
    peer_login(&a); // by the old ticket
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_RESUMED), 1);
    assert_int_equal(a.resp.cipher, PQB_CIPHER_CHACHAPOLY); // as it is allowed now
    gate_clear(g);
    peer_login(&b); // by the old server key
    memcpy(b.identity->server_key, fresh.at[0].pair.public, PQB_KEY_LEN);
    gate_clear(g);
    peer_login(&b);
    memcpy(b.identity->server_key, g->keys.at[1].pair.public, PQB_KEY_LEN);
    assert_int_equal(knock(&b), 0); // the one before that is gone
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_MAC1_BAD), 1);
}

static void a_login_that_waits_while_its_key_goes_meets_silence(void **state)
{
    static struct pqb_server_keys fresh;
    static const uint8_t secret[PQB_KEY_LEN] = {0, 4};
    struct gate *g = *state;
    struct peer a = peer_make(g, "alice", "phone", 1);

    gate_open(g);
    gate_deliver(g, &a.addr, peer_make_hello(&a, NULL), PQB_INIT_LEN);
    fresh = g->keys;
    fresh.count = 0;
    pqb_server_keys_add(&fresh, secret);
    g->config.keys = &fresh;
    gate_reconfigure(g);
    gate_settle(g);
    assert_int_equal(g->sent_count, 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_MAC1_BAD), 1);
}

static void a_drained_gateway_says_so_and_drops_no_ticket(void **state)
{
    struct gate *g = *state;
    struct peer a = with_ticket(g);
    struct pqb_frame f;

    gate_clear(g);
    pqb_engine_drain(g->engines[0], g->store.now);
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_KICK, 0, &f));
    assert_int_equal(f.kick.reason, PQB_KICK_DRAIN);
    a.init_id++;
    const uint32_t wait = busy_ms(ask(g, &a.addr, peer_make_hello(&a, NULL)));
    assert_true(wait >= 5000 && wait <= 7500); // 0 would say that the ticket is bad
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_BUSY_DRAIN), 1);
}

static void who_may_not_stay_is_told_so_under_his_keys(void **state)
{
    struct gate *g = *state;
    struct peer a = with_ticket(g);
    struct pqb_frame f;

    gate_clear(g);
    g->revoked_user = "alice";
    pqb_engine_recheck(g->engines[0], g->store.now);
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_KICK, 0, &f));
    assert_int_equal(f.kick.reason, PQB_KICK_ADMIN);
    must_refuse_ticket(&a);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, gate_begin_protected, gate_end)
#define SHARDS(name) \
    cmocka_unit_test_setup_teardown(name, gate_begin_protected_two_shards, gate_end)
    const struct CMUnitTest tests[] = {
        CASE(a_login_takes_one_round_trip_and_the_first_data_carries_a_message),
        CASE(either_cipher_is_spoken_and_the_better_one_is_chosen),
        CASE(a_ticket_resumes_a_login_without_asking_for_the_token),
        CASE(a_repeated_question_gets_the_identical_answer),
        CASE(nothing_happens_before_data_that_opens),
        CASE(junk_does_not_push_out_what_is_kept_while_a_login_is_registered),
        CASE(who_repeats_the_first_datagram_does_not_push_out_the_next_ones),
        CASE(a_replayed_login_of_a_living_session_leads_nowhere),
        CASE(a_replayed_first_datagram_confirms_no_replayed_login),
        CASE(who_has_stolen_the_gateways_key_is_answered_as_a_device_but_cannot_become_it),
        CASE(a_device_that_is_not_who_it_says_is_told_by_its_key),
        CASE(who_does_not_know_the_key_meets_silence),
        CASE(the_key_before_the_present_one_still_lets_in),
        CASE(plaintext_meets_silence_where_sessions_are_encrypted),
        cmocka_unit_test_setup_teardown(an_encrypted_login_meets_silence_where_sessions_are_plain,
                                        gate_begin, gate_end),
        CASE(whoever_changes_what_is_offered_breaks_the_login),
        CASE(a_resp_is_its_clients_only),
        CASE(five_hundred_logins_a_second_without_a_cookie_are_no_rush),
        CASE(in_a_rush_the_cookie_is_asked_for_until_a_second_after_it),
        CASE(a_cookie_is_good_for_its_address_and_login_only),
        CASE(one_address_gets_its_share_and_another_its_own),
        CASE(an_ipv6_network_of_64_bits_shares_one_share),
        CASE(loopback_and_a_rate_of_zero_have_no_share),
        CASE(nobody_uses_up_the_share_of_an_address_that_is_not_his),
        CASE(handshakes_beyond_what_a_shard_makes_are_put_off),
        CASE(a_turn_makes_two_handshakes_and_sessions_come_first),
        CASE(strangers_are_answered_after_sessions_and_a_few_in_a_turn),
        CASE(when_logins_wait_for_more_than_a_turn_the_cookie_is_asked_for),
        CASE(logins_that_wait_are_bounded_and_each_is_answered_once),
        CASE(half_open_logins_are_bounded_and_erased),
        CASE(a_device_crowds_out_its_own_half_open_logins_only),
        CASE(a_login_that_is_confirmed_late_does_not_end_a_later_ones_session),
        CASE(a_login_that_may_not_stay_any_more_becomes_no_session),
        CASE(a_forged_ticket_is_refused_at_once),
        CASE(a_ticket_with_another_psk_meets_silence),
        CASE(a_ticket_is_good_for_seven_days),
        CASE(a_ticket_does_not_outlive_what_let_the_login_in),
        CASE(resuming_again_and_again_does_not_outlive_it_either),
        CASE(a_ticket_of_a_key_that_is_gone_is_refused),
        CASE(a_ticket_of_one_who_may_not_stay_is_refused),
        CASE(a_ticket_is_not_another_devices),
        CASE(a_session_ends_when_it_has_lasted_long_enough),
        CASE(a_session_ends_with_what_let_it_in),
        CASE(a_wall_clock_set_back_keeps_it_a_little_longer),
        CASE(a_grant_that_ends_while_its_login_is_under_way_makes_no_lasting_session),
        CASE(replays_old_numbers_and_forgeries_are_told_apart),
        CASE(a_forgery_far_ahead_makes_no_honest_number_stale),
        CASE(only_the_newest_datagram_that_opens_speaks_for_an_address),
        CASE(a_reset_is_told_to_whom_it_concerns_as_in_plaintext),
        CASE(a_ticket_outlives_the_process),
        SHARDS(another_shard_opens_a_login_and_hands_it_on),
        SHARDS(a_login_that_finds_no_room_in_the_mailbox_works_when_repeated),
        SHARDS(mail_that_is_damaged_is_dropped),
        CASE(new_keys_leave_living_sessions_alone),
        CASE(a_login_that_waits_while_its_key_goes_meets_silence),
        CASE(a_drained_gateway_says_so_and_drops_no_ticket),
        CASE(who_may_not_stay_is_told_so_under_his_keys),
    };
#undef SHARDS
#undef CASE

    return cmocka_run_group_tests_name("engine_security", tests, NULL, NULL);
}
