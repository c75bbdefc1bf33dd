// The handshakes with each other, and with those who tamper with them.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "common/base/defs.h"
#include "common/proto/aead.h"
#include "common/proto/noise.h"

#define MESSAGE_MAX 1200

static const enum pqb_noise_pattern patterns[] = {PQB_NOISE_IK, PQB_NOISE_NNPSK0};
static const char *const names[] = {"Noise_IK_25519_ChaChaPoly_SHA256",
                                    "Noise_NNpsk0_25519_ChaChaPoly_SHA256"};

static struct pqb_noise_keypair keypair(const uint8_t secret[PQB_KEY_LEN])
{
    struct pqb_noise_keypair pair;

    memcpy(pair.secret, secret, sizeof(pair.secret));
    pqb_noise_keypair_complete(&pair);
    return pair;
}

// As if another thread wrote the answer.
static void hand_over(struct pqb_noise *n)
{
    uint8_t middle[PQB_NOISE_MIDDLE_LEN];

    pqb_noise_save(n, middle);
    pqb_noise_fini(n);
    memset(n, 0xff, sizeof(*n));
    pqb_noise_restore(n, middle);
}

// -------------------------------------------------------------------------- a pair of one's own

// X25519 ignores some bits of the first byte of a secret key: these differ in the second.
static const uint8_t e_initiator[PQB_KEY_LEN] = {0, 1}, e_responder[PQB_KEY_LEN] = {0, 2};
static const uint8_t psk[PQB_KEY_LEN] = {0, 3}, hello[] = "hello", welcome[] = "welcome";
static struct pqb_noise_keypair client, gateway, stranger; // static keys of IK

static void begin(struct pqb_noise *n, enum pqb_noise_pattern pattern, bool is_initiator)
{
    if (pattern == PQB_NOISE_IK)
        pqb_noise_init_ik(n, is_initiator, is_initiator ? &client : &gateway,
                          is_initiator ? gateway.public : NULL, "prologue", 8);
    else
        pqb_noise_init_nnpsk0(n, is_initiator, psk, "prologue", 8);
}

struct message {
    uint8_t data[MESSAGE_MAX];
    size_t len;
};

static void write_first(struct pqb_noise *n, struct message *out)
{
    out->len = pqb_noise_write(n, e_initiator, hello, sizeof(hello), out->data);
}

static void write_answer(struct pqb_noise *n, struct message *out)
{
    out->len = pqb_noise_write(n, e_responder, welcome, sizeof(welcome), out->data);
}

// Reads with a copy of the state, so that the same state can be tried again.
static bool may_read(const struct pqb_noise *n, const struct message *m)
{
    struct pqb_noise copy = *n;
    uint8_t payload[MESSAGE_MAX];
    size_t len;

    return pqb_noise_read(&copy, m->data, m->len, payload, &len);
}

static void must_read(struct pqb_noise *n, const struct message *m)
{
    uint8_t payload[MESSAGE_MAX];
    size_t len;

    assert_true(pqb_noise_read(n, m->data, m->len, payload, &len));
}

// Both messages, and the states of those who are to read them.
struct exchange {
    struct message first, answer;
    struct pqb_noise responder; // before the first message
    struct pqb_noise initiator; // before the answer
};

static void exchange(struct exchange *x, enum pqb_noise_pattern pattern)
{
    struct pqb_noise answering;

    begin(&x->initiator, pattern, true);
    begin(&x->responder, pattern, false);
    write_first(&x->initiator, &x->first);
    answering = x->responder;
    must_read(&answering, &x->first);
    write_answer(&answering, &x->answer);
    assert_true(may_read(&x->responder, &x->first));
    assert_true(may_read(&x->initiator, &x->answer));
}

static void both_sides_get_the_same_two_keys(void **state)
{
    (void)state;
    for (size_t p = 0; p < PQB_ARRAY_LEN(patterns); p++) {
        struct pqb_noise i, r;
        struct message first, answer;
        uint8_t keys[4][PQB_KEY_LEN];

        begin(&i, patterns[p], true);
        begin(&r, patterns[p], false);
        write_first(&i, &first);
        must_read(&r, &first);
        write_answer(&r, &answer);
        must_read(&i, &answer);
        pqb_noise_finish(&i, keys[0], keys[1]);
        pqb_noise_finish(&r, keys[2], keys[3]);
        assert_memory_equal(keys[0], keys[2], PQB_KEY_LEN);
        assert_memory_equal(keys[1], keys[3], PQB_KEY_LEN);
        assert_memory_not_equal(keys[0], keys[1], PQB_KEY_LEN);
    }
}

static void the_responder_learns_who_the_initiator_is(void **state)
{
    struct pqb_noise i, r;
    struct message first;

    (void)state;
    begin(&i, PQB_NOISE_IK, true);
    begin(&r, PQB_NOISE_IK, false);
    write_first(&i, &first);
    must_read(&r, &first);
    assert_memory_equal(r.rs, client.public, PQB_KEY_LEN);
    hand_over(&r);
    assert_memory_equal(r.rs, client.public, PQB_KEY_LEN);
}

// X25519 ignores the top bit: who has the secret key may tell his public key in another form, and
// is then somebody else to those who compare keys.
static void one_secret_key_has_more_than_one_public_key(void **state)
{
    struct pqb_noise_keypair other_form = client;
    struct pqb_noise i, r;
    struct message first;

    (void)state;
    other_form.public[PQB_KEY_LEN - 1] ^= 0x80;
    pqb_noise_init_ik(&i, true, &other_form, gateway.public, "prologue", 8);
    begin(&r, PQB_NOISE_IK, false);
    write_first(&i, &first);
    must_read(&r, &first);
    assert_memory_equal(r.rs, other_form.public, PQB_KEY_LEN);
    assert_memory_not_equal(r.rs, client.public, PQB_KEY_LEN);
}

static void a_payload_of_any_length_arrives(void **state)
{
    static const size_t overhead[] = {PQB_NOISE_IK_OVERHEAD, PQB_NOISE_NNPSK0_OVERHEAD};
    static const size_t lens[] = {0, 1, 15, 16, 17, 63, 64, 65, 1000};
    uint8_t sent[1000], payload[1000], message[MESSAGE_MAX];
    size_t len;

    (void)state;
    memset(sent, 0x5a, sizeof(sent));
    for (size_t p = 0; p < PQB_ARRAY_LEN(patterns); p++) {
        for (size_t k = 0; k < PQB_ARRAY_LEN(lens); k++) {
            struct pqb_noise i, r;

            begin(&i, patterns[p], true);
            begin(&r, patterns[p], false);
            assert_int_equal(pqb_noise_write(&i, e_initiator, sent, lens[k], message),
                             lens[k] + overhead[p]);
            assert_true(pqb_noise_read(&r, message, lens[k] + overhead[p], payload, &len));
            assert_int_equal(len, lens[k]);
            assert_memory_equal(payload, sent, len);
            assert_int_equal(pqb_noise_write(&r, e_responder, sent, lens[k], message),
                             lens[k] + PQB_NOISE_ANSWER_OVERHEAD);
            assert_true(
                pqb_noise_read(&i, message, lens[k] + PQB_NOISE_ANSWER_OVERHEAD, payload, &len));
            assert_int_equal(len, lens[k]);
            assert_memory_equal(payload, sent, len);
        }
    }
}

// ---------------------------------------------------------------------------------- tampering

static void must_refuse_each_flipped_bit(const struct pqb_noise *n, struct message *m)
{
    for (size_t bit = 0; bit < 8 * m->len; bit++) {
        m->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(may_read(n, m));
        m->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void a_flipped_bit_anywhere_in_either_message_is_refused(void **state)
{
    struct exchange x;

    (void)state;
    for (size_t p = 0; p < PQB_ARRAY_LEN(patterns); p++) {
        exchange(&x, patterns[p]);
        must_refuse_each_flipped_bit(&x.responder, &x.first);
        must_refuse_each_flipped_bit(&x.initiator, &x.answer);
    }
}

static void must_refuse_other_lengths(const struct pqb_noise *n, const struct message *m)
{
    struct message other = *m;

    for (other.len = 0; other.len < m->len + 40; other.len++)
        assert_int_equal(may_read(n, &other), other.len == m->len);
}

static void a_message_of_any_other_length_is_refused(void **state)
{
    struct exchange x = {0};

    (void)state;
    for (size_t p = 0; p < PQB_ARRAY_LEN(patterns); p++) {
        exchange(&x, patterns[p]);
        must_refuse_other_lengths(&x.responder, &x.first);
        must_refuse_other_lengths(&x.initiator, &x.answer);
    }
}

static void another_prologue_is_refused(void **state)
{
    static const char *const others[] = {"", "prologu", "prologuE", "prologue "};
    struct exchange x;
    struct pqb_noise r;

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(others); i++) {
        exchange(&x, PQB_NOISE_IK);
        pqb_noise_init_ik(&r, false, &gateway, NULL, others[i], strlen(others[i]));
        assert_false(may_read(&r, &x.first));
        exchange(&x, PQB_NOISE_NNPSK0);
        pqb_noise_init_nnpsk0(&r, false, psk, others[i], strlen(others[i]));
        assert_false(may_read(&r, &x.first));
    }
}

static void a_login_for_another_gateway_is_refused(void **state)
{
    struct pqb_noise i, r;
    struct message first;

    (void)state;
    begin(&r, PQB_NOISE_IK, false);
    pqb_noise_init_ik(&i, true, &client, stranger.public, "prologue", 8);
    write_first(&i, &first);
    assert_false(may_read(&r, &first));
}

// Somebody who knows the other's public key alone: ss differs at the client's, es at the gateway's.
static void who_has_a_public_key_only_is_refused(void **state)
{
    struct pqb_noise_keypair client_claimed = stranger, gateway_claimed = stranger;
    struct pqb_noise i, r;
    struct message first;

    (void)state;
    memcpy(client_claimed.public, client.public, PQB_KEY_LEN);
    memcpy(gateway_claimed.public, gateway.public, PQB_KEY_LEN);
    pqb_noise_init_ik(&i, true, &client_claimed, gateway.public, "prologue", 8);
    write_first(&i, &first);
    begin(&r, PQB_NOISE_IK, false);
    assert_false(may_read(&r, &first));

    begin(&i, PQB_NOISE_IK, true);
    write_first(&i, &first);
    assert_true(may_read(&r, &first));
    pqb_noise_init_ik(&r, false, &gateway_claimed, NULL, "prologue", 8);
    assert_false(may_read(&r, &first));
}

static void every_bit_of_the_preshared_key_counts(void **state)
{
    uint8_t other[PQB_KEY_LEN];
    struct exchange x;
    struct pqb_noise r;

    (void)state;
    exchange(&x, PQB_NOISE_NNPSK0);
    memcpy(other, psk, sizeof(other));
    for (size_t bit = 0; bit < 8 * sizeof(other); bit++) {
        other[bit / 8] ^= (uint8_t)(1u << bit % 8);
        pqb_noise_init_nnpsk0(&r, false, other, "prologue", 8);
        assert_false(may_read(&r, &x.first));
        other[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void an_answer_to_another_first_message_is_refused(void **state)
{
    struct exchange x;
    struct pqb_noise other;
    struct message first;

    (void)state;
    for (size_t p = 0; p < PQB_ARRAY_LEN(patterns); p++) {
        exchange(&x, patterns[p]);
        begin(&other, patterns[p], true);
        first.len = pqb_noise_write(&other, e_responder, hello, sizeof(hello), first.data);
        assert_true(may_read(&x.responder, &first));
        assert_false(may_read(&other, &x.answer));
        assert_false(may_read(&other, &first)); // nor one's own message back
    }
}

static void a_message_of_the_other_handshake_is_refused(void **state)
{
    struct exchange ik, nnpsk0;

    (void)state;
    exchange(&ik, PQB_NOISE_IK);
    exchange(&nnpsk0, PQB_NOISE_NNPSK0);
    assert_false(may_read(&ik.responder, &nnpsk0.first));
    assert_false(may_read(&nnpsk0.responder, &ik.first));
    assert_false(may_read(&ik.initiator, &nnpsk0.answer));
    assert_false(may_read(&nnpsk0.initiator, &ik.answer));
}

// ----------------------------------------------------------------------- points of small order

// All encodings of points whose order divides 8, without the top bit, which X25519 ignores.
static const uint8_t small_points[][PQB_KEY_LEN] = {
    {0},
    {1},
    {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
     0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
     0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
    {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1,
     0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
     0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57},
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
};

#define SMALL_POINTS (2 * PQB_ARRAY_LEN(small_points))

static void get_small_point(size_t i, uint8_t out[PQB_KEY_LEN])
{
    memcpy(out, small_points[i / 2], PQB_KEY_LEN);
    out[PQB_KEY_LEN - 1] |= (uint8_t)(i % 2 << 7);
}

// MixKey of an exchange as one who knows the secret key does it, or with the zeros that an exchange
// with a point of small order gives (`secret` NULL).
static void mix_exchange(struct pqb_noise_symmetric *s, const uint8_t *secret,
                         const uint8_t public[PQB_KEY_LEN])
{
    uint8_t shared[PQB_KEY_LEN] = {0};

    if (secret != NULL)
        assert_int_equal(crypto_scalarmult(shared, secret, public), 0);
    pqb_noise_mix_key(s, shared, sizeof(shared));
}

// First messages of an attacker who puts any points in the place of his keys; all that he needs to
// know for it, he does. A secret key is NULL for a point of small order.
static void forge_ik(const uint8_t e[PQB_KEY_LEN], const uint8_t *e_secret,
                     const uint8_t s[PQB_KEY_LEN], const uint8_t *s_secret, struct message *out)
{
    struct pqb_noise_symmetric symmetric;

    pqb_noise_symmetric_init(&symmetric, names[PQB_NOISE_IK]);
    pqb_noise_mix_hash(&symmetric, "prologue", 8);
    pqb_noise_mix_hash(&symmetric, gateway.public, PQB_KEY_LEN);
    memcpy(out->data, e, PQB_KEY_LEN);
    out->len = PQB_KEY_LEN;
    pqb_noise_mix_hash(&symmetric, e, PQB_KEY_LEN);
    mix_exchange(&symmetric, e_secret, gateway.public);
    out->len += pqb_noise_encrypt(&symmetric, s, PQB_KEY_LEN, out->data + out->len);
    mix_exchange(&symmetric, s_secret, gateway.public);
    out->len += pqb_noise_encrypt(&symmetric, hello, sizeof(hello), out->data + out->len);
}

static void forge_nnpsk0(const uint8_t e[PQB_KEY_LEN], struct message *out)
{
    struct pqb_noise_symmetric symmetric;

    pqb_noise_symmetric_init(&symmetric, names[PQB_NOISE_NNPSK0]);
    pqb_noise_mix_hash(&symmetric, "prologue", 8);
    pqb_noise_mix_key_and_hash(&symmetric, psk, sizeof(psk));
    memcpy(out->data, e, PQB_KEY_LEN);
    pqb_noise_mix_hash(&symmetric, e, PQB_KEY_LEN);
    pqb_noise_mix_key(&symmetric, e, PQB_KEY_LEN);
    out->len =
        PQB_KEY_LEN + pqb_noise_encrypt(&symmetric, hello, sizeof(hello), out->data + PQB_KEY_LEN);
}

// An answer from the responder's state `n`.
static void forge_answer(const struct pqb_noise *n, const uint8_t e[PQB_KEY_LEN],
                         const uint8_t *e_secret, struct message *out)
{
    struct pqb_noise_symmetric symmetric = n->symmetric;

    memcpy(out->data, e, PQB_KEY_LEN);
    pqb_noise_mix_hash(&symmetric, e, PQB_KEY_LEN);
    if (n->pattern == PQB_NOISE_NNPSK0)
        pqb_noise_mix_key(&symmetric, e, PQB_KEY_LEN);
    mix_exchange(&symmetric, e_secret, n->re);
    if (n->pattern == PQB_NOISE_IK)
        mix_exchange(&symmetric, e_secret, n->rs);
    out->len = PQB_KEY_LEN +
               pqb_noise_encrypt(&symmetric, welcome, sizeof(welcome), out->data + PQB_KEY_LEN);
}

static void what_is_forged_with_honest_points_is_the_honest_message(void **state)
{
    const struct pqb_noise_keypair e = keypair(e_initiator), re = keypair(e_responder);
    struct exchange x;
    struct message forged;

    (void)state;
    for (size_t p = 0; p < PQB_ARRAY_LEN(patterns); p++) {
        exchange(&x, patterns[p]);
        if (patterns[p] == PQB_NOISE_IK)
            forge_ik(e.public, e.secret, client.public, client.secret, &forged);
        else
            forge_nnpsk0(e.public, &forged);
        assert_int_equal(forged.len, x.first.len);
        assert_memory_equal(forged.data, x.first.data, forged.len);
        must_read(&x.responder, &x.first);
        forge_answer(&x.responder, re.public, re.secret, &forged);
        assert_int_equal(forged.len, x.answer.len);
        assert_memory_equal(forged.data, x.answer.data, forged.len);
    }
}

static void nothing_is_written_to_a_static_point_of_small_order(void **state)
{
    uint8_t point[PQB_KEY_LEN], out[MESSAGE_MAX];
    struct pqb_noise i;

    (void)state;
    for (size_t k = 0; k < SMALL_POINTS; k++) {
        get_small_point(k, point);
        pqb_noise_init_ik(&i, true, &client, point, "prologue", 8);
        assert_int_equal(pqb_noise_write(&i, e_initiator, hello, sizeof(hello), out), 0);
    }
}

static void a_login_with_a_point_of_small_order_is_refused(void **state)
{
    const struct pqb_noise_keypair e = keypair(e_initiator);
    uint8_t point[PQB_KEY_LEN];
    struct pqb_noise r;
    struct message forged;

    (void)state;
    begin(&r, PQB_NOISE_IK, false);
    for (size_t k = 0; k < SMALL_POINTS; k++) {
        get_small_point(k, point);
        forge_ik(point, NULL, client.public, client.secret, &forged);
        assert_false(may_read(&r, &forged));
        forge_ik(e.public, e.secret, point, NULL, &forged);
        assert_false(may_read(&r, &forged));
    }
}

// Who has the preshared key may send any point: his message is his, but he gets no answer.
static void a_resumption_with_a_point_of_small_order_gets_no_answer(void **state)
{
    uint8_t point[PQB_KEY_LEN], out[MESSAGE_MAX];
    struct pqb_noise r;
    struct message forged;

    (void)state;
    for (size_t k = 0; k < SMALL_POINTS; k++) {
        get_small_point(k, point);
        forge_nnpsk0(point, &forged);
        begin(&r, PQB_NOISE_NNPSK0, false);
        must_read(&r, &forged);
        assert_int_equal(pqb_noise_write(&r, e_responder, welcome, sizeof(welcome), out), 0);
    }
}

static void an_answer_with_a_point_of_small_order_is_refused(void **state)
{
    uint8_t point[PQB_KEY_LEN];
    struct exchange x;
    struct message forged;

    (void)state;
    for (size_t p = 0; p < PQB_ARRAY_LEN(patterns); p++) {
        exchange(&x, patterns[p]);
        must_read(&x.responder, &x.first);
        for (size_t k = 0; k < SMALL_POINTS; k++) {
            get_small_point(k, point);
            forge_answer(&x.responder, point, NULL, &forged);
            assert_false(may_read(&x.initiator, &forged));
        }
    }
}

// ------------------------------------------------------------------------------- what is left over

static void fini_and_finish_erase(void **state)
{
    static const struct pqb_noise zeros;
    uint8_t from_initiator[PQB_KEY_LEN], from_responder[PQB_KEY_LEN];
    struct exchange x;

    (void)state;
    for (size_t p = 0; p < PQB_ARRAY_LEN(patterns); p++) {
        exchange(&x, patterns[p]);
        pqb_noise_fini(&x.responder);
        assert_memory_equal(&x.responder, &zeros, sizeof(zeros));
        must_read(&x.initiator, &x.answer);
        pqb_noise_finish(&x.initiator, from_initiator, from_responder);
        assert_memory_equal(&x.initiator, &zeros, sizeof(zeros));
    }
}

static void what_is_saved_holds_no_lasting_secret(void **state)
{
    uint8_t middle[PQB_NOISE_MIDDLE_LEN];
    struct exchange x;

    (void)state;
    for (size_t p = 0; p < PQB_ARRAY_LEN(patterns); p++) {
        exchange(&x, patterns[p]);
        must_read(&x.responder, &x.first);
        pqb_noise_save(&x.responder, middle);
        assert_null(memmem(middle, sizeof(middle), gateway.secret, 8));
        assert_null(memmem(middle, sizeof(middle), psk, 8));
    }
}

static int set_up(void **state)
{
    static const uint8_t secrets[3][PQB_KEY_LEN] = {{0, 4}, {0, 5}, {0, 6}};

    (void)state;
    client = keypair(secrets[0]);
    gateway = keypair(secrets[1]);
    stranger = keypair(secrets[2]);
    return pqb_aead_init();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_get_the_same_two_keys),
        cmocka_unit_test(the_responder_learns_who_the_initiator_is),
        cmocka_unit_test(one_secret_key_has_more_than_one_public_key),
        cmocka_unit_test(a_payload_of_any_length_arrives),
        cmocka_unit_test(a_flipped_bit_anywhere_in_either_message_is_refused),
        cmocka_unit_test(a_message_of_any_other_length_is_refused),
        cmocka_unit_test(another_prologue_is_refused),
        cmocka_unit_test(a_login_for_another_gateway_is_refused),
        cmocka_unit_test(who_has_a_public_key_only_is_refused),
        cmocka_unit_test(every_bit_of_the_preshared_key_counts),
        cmocka_unit_test(an_answer_to_another_first_message_is_refused),
        cmocka_unit_test(a_message_of_the_other_handshake_is_refused),
        cmocka_unit_test(what_is_forged_with_honest_points_is_the_honest_message),
        cmocka_unit_test(nothing_is_written_to_a_static_point_of_small_order),
        cmocka_unit_test(a_login_with_a_point_of_small_order_is_refused),
        cmocka_unit_test(a_resumption_with_a_point_of_small_order_gets_no_answer),
        cmocka_unit_test(an_answer_with_a_point_of_small_order_is_refused),
        cmocka_unit_test(fini_and_finish_erase),
        cmocka_unit_test(what_is_saved_holds_no_lasting_secret),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
