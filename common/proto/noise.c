#include "common/proto/noise.h"

#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "common/base/check.h"

static_assert(crypto_scalarmult_BYTES == PQB_KEY_LEN &&
                  crypto_scalarmult_SCALARBYTES == PQB_KEY_LEN,
              "X25519");

enum token { // of a message, Noise section 7.3
    END,
    E,
    S,
    EE,
    ES,
    SE,
    SS,
    PSK,
};

#define TOKENS_MAX 5

static const struct {
    const char *name;
    enum token messages[2][TOKENS_MAX]; // the initiator's, the responder's
    bool has_psk;
} patterns[] = {
    [PQB_NOISE_IK] = {"Noise_IK_25519_ChaChaPoly_SHA256", {{E, ES, S, SS}, {E, EE, SE}}, false},
    [PQB_NOISE_NNPSK0] = {"Noise_NNpsk0_25519_ChaChaPoly_SHA256", {{PSK, E}, {E, EE}}, true},
};

void pqb_noise_keypair_complete(struct pqb_noise_keypair *pair)
{
    (void)crypto_scalarmult_base(pair->public, pair->secret);
}

static void init(struct pqb_noise *n, enum pqb_noise_pattern pattern, bool is_initiator,
                 const void *prologue, size_t prologue_len)
{
    memset(n, 0, sizeof(*n));
    n->pattern = pattern;
    n->is_initiator = is_initiator;
    pqb_noise_symmetric_init(&n->symmetric, patterns[pattern].name);
    pqb_noise_mix_hash(&n->symmetric, prologue, prologue_len);
}

void pqb_noise_init_ik(struct pqb_noise *n, bool is_initiator, const struct pqb_noise_keypair *s,
                       const uint8_t *rs, const void *prologue, size_t prologue_len)
{
    PQB_ASSERT(is_initiator == (rs != NULL));
    init(n, PQB_NOISE_IK, is_initiator, prologue, prologue_len);
    n->s = *s;
    if (rs != NULL)
        memcpy(n->rs, rs, sizeof(n->rs));
    pqb_noise_mix_hash(&n->symmetric, is_initiator ? n->rs : n->s.public, PQB_KEY_LEN);
}

void pqb_noise_init_nnpsk0(struct pqb_noise *n, bool is_initiator, const uint8_t psk[PQB_KEY_LEN],
                           const void *prologue, size_t prologue_len)
{
    init(n, PQB_NOISE_NNPSK0, is_initiator, prologue, prologue_len);
    memcpy(n->psk, psk, sizeof(n->psk));
}

void pqb_noise_fini(struct pqb_noise *n)
{
    sodium_memzero(n, sizeof(*n));
}

static bool mix_dh(struct pqb_noise *n, const struct pqb_noise_keypair *own,
                   const uint8_t peer[PQB_KEY_LEN])
{
    uint8_t shared[PQB_KEY_LEN];
    const bool is_good = crypto_scalarmult(shared, own->secret, peer) == 0;

    if (is_good)
        pqb_noise_mix_key(&n->symmetric, shared, sizeof(shared));
    sodium_memzero(shared, sizeof(shared));
    return is_good;
}

// The tokens that both sides do alike. false: no secret can be agreed with the peer's key.
static bool mix_token(struct pqb_noise *n, enum token token)
{
    switch (token) {
    case EE:
        return mix_dh(n, &n->e, n->re);
    case ES:
        return n->is_initiator ? mix_dh(n, &n->e, n->rs) : mix_dh(n, &n->s, n->re);
    case SE:
        return n->is_initiator ? mix_dh(n, &n->s, n->re) : mix_dh(n, &n->e, n->rs);
    case SS:
        return mix_dh(n, &n->s, n->rs);
    case PSK:
        pqb_noise_mix_key_and_hash(&n->symmetric, n->psk, sizeof(n->psk));
        return true;
    case END:
    case E:
    case S:
        break;
    }
    PQB_ASSERT(false);
    return false;
}

static void mix_ephemeral(struct pqb_noise *n, const uint8_t public[PQB_KEY_LEN])
{
    pqb_noise_mix_hash(&n->symmetric, public, PQB_KEY_LEN);
    if (patterns[n->pattern].has_psk) // section 9.2
        pqb_noise_mix_key(&n->symmetric, public, PQB_KEY_LEN);
}

size_t pqb_noise_write(struct pqb_noise *n, const uint8_t e_secret[PQB_KEY_LEN],
                       const uint8_t *payload, size_t len, uint8_t *out)
{
    const enum token *tokens = patterns[n->pattern].messages[n->is_initiator ? 0 : 1];
    uint8_t *at = out;

    for (unsigned i = 0; i < TOKENS_MAX && tokens[i] != END; i++) {
        if (tokens[i] == E) {
            memcpy(n->e.secret, e_secret, PQB_KEY_LEN);
            pqb_noise_keypair_complete(&n->e);
            memcpy(at, n->e.public, PQB_KEY_LEN);
            at += PQB_KEY_LEN;
            mix_ephemeral(n, n->e.public);
        } else if (tokens[i] == S) {
            at += pqb_noise_encrypt(&n->symmetric, n->s.public, PQB_KEY_LEN, at);
        } else if (!mix_token(n, tokens[i])) {
            return 0;
        }
    }
    at += pqb_noise_encrypt(&n->symmetric, payload, len, at);
    return (size_t)(at - out);
}

// Takes `len` bytes off the message; NULL: it is too short.
static const uint8_t *take(const uint8_t **at, const uint8_t *end, size_t len)
{
    const uint8_t *taken = *at;

    if ((size_t)(end - *at) < len)
        return NULL;
    *at += len;
    return taken;
}

static bool read_token(struct pqb_noise *n, enum token token, const uint8_t **at,
                       const uint8_t *end)
{
    const size_t sealed = PQB_KEY_LEN + (n->symmetric.has_key ? PQB_TAG_LEN : 0);
    const uint8_t *field;

    if (token == E) {
        field = take(at, end, PQB_KEY_LEN);
        if (field == NULL)
            return false;
        memcpy(n->re, field, PQB_KEY_LEN);
        mix_ephemeral(n, n->re);
        return true;
    }
    if (token == S) {
        field = take(at, end, sealed);
        return field != NULL && pqb_noise_decrypt(&n->symmetric, field, sealed, n->rs);
    }
    return mix_token(n, token);
}

bool pqb_noise_read(struct pqb_noise *n, const uint8_t *message, size_t len, uint8_t *payload,
                    size_t *payload_len)
{
    const enum token *tokens = patterns[n->pattern].messages[n->is_initiator ? 1 : 0];
    const uint8_t *at = message, *end = message + len;

    for (unsigned i = 0; i < TOKENS_MAX && tokens[i] != END; i++) {
        if (!read_token(n, tokens[i], &at, end))
            return false;
    }
    if (!pqb_noise_decrypt(&n->symmetric, at, (size_t)(end - at), payload))
        return false;
    *payload_len = (size_t)(end - at) - PQB_TAG_LEN; // there is a key by now in either pattern
    return true;
}

void pqb_noise_finish(struct pqb_noise *n, uint8_t from_initiator[PQB_KEY_LEN],
                      uint8_t from_responder[PQB_KEY_LEN])
{
    pqb_noise_split(&n->symmetric, from_initiator, from_responder);
    pqb_noise_fini(n);
}

// The responder's second message begins with an exchange, which replaces k, and does not use its
// own static key again.
void pqb_noise_save(const struct pqb_noise *n, uint8_t out[PQB_NOISE_MIDDLE_LEN])
{
    uint8_t *at = out;

    PQB_ASSERT(!n->is_initiator);
    *at++ = (uint8_t)n->pattern;
    memcpy(at, n->symmetric.ck, PQB_NOISE_HASH_LEN);
    at += PQB_NOISE_HASH_LEN;
    memcpy(at, n->symmetric.h, PQB_NOISE_HASH_LEN);
    at += PQB_NOISE_HASH_LEN;
    memcpy(at, n->re, PQB_KEY_LEN);
    memcpy(at + PQB_KEY_LEN, n->rs, PQB_KEY_LEN);
}

void pqb_noise_restore(struct pqb_noise *n, const uint8_t in[PQB_NOISE_MIDDLE_LEN])
{
    const uint8_t *at = in;

    memset(n, 0, sizeof(*n));
    PQB_ASSERT(*at <= PQB_NOISE_NNPSK0);
    n->pattern = (enum pqb_noise_pattern) * at++;
    memcpy(n->symmetric.ck, at, PQB_NOISE_HASH_LEN);
    at += PQB_NOISE_HASH_LEN;
    memcpy(n->symmetric.h, at, PQB_NOISE_HASH_LEN);
    at += PQB_NOISE_HASH_LEN;
    memcpy(n->re, at, PQB_KEY_LEN);
    memcpy(n->rs, at + PQB_KEY_LEN, PQB_KEY_LEN);
}
