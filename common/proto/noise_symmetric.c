#include "common/proto/noise_symmetric.h"

#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "common/base/check.h"
#include "common/proto/aead.h"

static_assert(crypto_hash_sha256_BYTES == PQB_NOISE_HASH_LEN &&
                  crypto_auth_hmacsha256_BYTES == PQB_NOISE_HASH_LEN,
              "SHA256 is the hash and HMAC's");

void pqb_noise_symmetric_init(struct pqb_noise_symmetric *s, const char *protocol_name)
{
    const size_t len = strlen(protocol_name);

    memset(s, 0, sizeof(*s));
    if (len <= sizeof(s->h))
        memcpy(s->h, protocol_name, len);
    else
        (void)crypto_hash_sha256(s->h, (const uint8_t *)protocol_name, len);
    memcpy(s->ck, s->h, sizeof(s->ck));
}

void pqb_noise_mix_hash(struct pqb_noise_symmetric *s, const void *data, size_t len)
{
    crypto_hash_sha256_state hash;

    (void)crypto_hash_sha256_init(&hash);
    (void)crypto_hash_sha256_update(&hash, s->h, sizeof(s->h));
    (void)crypto_hash_sha256_update(&hash, data, len);
    (void)crypto_hash_sha256_final(&hash, s->h);
}

// `out` may be `key`.
static void hmac(const uint8_t key[PQB_NOISE_HASH_LEN], const uint8_t *data, size_t len,
                 uint8_t out[PQB_NOISE_HASH_LEN])
{
    crypto_auth_hmacsha256_state state;

    (void)crypto_auth_hmacsha256_init(&state, key, PQB_NOISE_HASH_LEN);
    (void)crypto_auth_hmacsha256_update(&state, data, len);
    (void)crypto_auth_hmacsha256_final(&state, out);
    sodium_memzero(&state, sizeof(state));
}

// HKDF of Noise section 4.3: `count` outputs of 32 bytes, at most three, one behind another.
static void hkdf(const uint8_t ck[PQB_NOISE_HASH_LEN], const uint8_t *input, size_t len,
                 uint8_t *out, unsigned count)
{
    uint8_t secret[PQB_NOISE_HASH_LEN], block[PQB_NOISE_HASH_LEN + 1];

    PQB_ASSERT(count <= 3);
    hmac(ck, input, len, secret);
    for (unsigned i = 0; i < count; i++) {
        const size_t before = i == 0 ? 0 : PQB_NOISE_HASH_LEN; // bytes of the output before

        if (i > 0)
            memcpy(block, out + (i - 1) * PQB_NOISE_HASH_LEN, PQB_NOISE_HASH_LEN);
        block[before] = (uint8_t)(i + 1);
        hmac(secret, block, before + 1, out + i * PQB_NOISE_HASH_LEN);
    }
    sodium_memzero(secret, sizeof(secret));
    sodium_memzero(block, sizeof(block));
}

static void set_key(struct pqb_noise_symmetric *s, const uint8_t key[PQB_KEY_LEN])
{
    memcpy(s->k, key, sizeof(s->k));
    s->n = 0;
    s->has_key = true;
}

void pqb_noise_mix_key(struct pqb_noise_symmetric *s, const uint8_t *input, size_t len)
{
    uint8_t out[2 * PQB_NOISE_HASH_LEN];

    hkdf(s->ck, input, len, out, 2);
    memcpy(s->ck, out, sizeof(s->ck));
    set_key(s, out + PQB_NOISE_HASH_LEN);
    sodium_memzero(out, sizeof(out));
}

void pqb_noise_mix_key_and_hash(struct pqb_noise_symmetric *s, const uint8_t *input, size_t len)
{
    uint8_t out[3 * PQB_NOISE_HASH_LEN];

    hkdf(s->ck, input, len, out, 3);
    memcpy(s->ck, out, sizeof(s->ck));
    pqb_noise_mix_hash(s, out + PQB_NOISE_HASH_LEN, PQB_NOISE_HASH_LEN);
    set_key(s, out + 2 * (size_t)PQB_NOISE_HASH_LEN);
    sodium_memzero(out, sizeof(out));
}

size_t pqb_noise_encrypt(struct pqb_noise_symmetric *s, const uint8_t *in, size_t len, uint8_t *out)
{
    const struct pqb_aead_with with = {.number = s->n, .ad = s->h, .ad_len = sizeof(s->h)};

    if (s->has_key) {
        pqb_aead_seal(PQB_CIPHER_CHACHAPOLY, s->k, &with, in, len, out);
        len += PQB_TAG_LEN;
        s->n++;
    } else if (len > 0) {
        memmove(out, in, len);
    }
    pqb_noise_mix_hash(s, out, len);
    return len;
}

bool pqb_noise_decrypt(struct pqb_noise_symmetric *s, const uint8_t *in, size_t len, uint8_t *out)
{
    uint8_t h[PQB_NOISE_HASH_LEN];
    const struct pqb_aead_with with = {.number = s->n, .ad = h, .ad_len = sizeof(h)};

    memcpy(h, s->h, sizeof(h));
    pqb_noise_mix_hash(s, in, len); // now: `out` may be `in`
    if (!s->has_key) {
        if (len > 0)
            memmove(out, in, len);
        return true;
    }
    s->n++;
    return pqb_aead_open(PQB_CIPHER_CHACHAPOLY, s->k, &with, in, len, out);
}

void pqb_noise_split(struct pqb_noise_symmetric *s, uint8_t from_initiator[PQB_KEY_LEN],
                     uint8_t from_responder[PQB_KEY_LEN])
{
    uint8_t out[2 * PQB_NOISE_HASH_LEN];

    hkdf(s->ck, NULL, 0, out, 2);
    memcpy(from_initiator, out, PQB_KEY_LEN);
    memcpy(from_responder, out + PQB_KEY_LEN, PQB_KEY_LEN);
    sodium_memzero(out, sizeof(out));
    sodium_memzero(s, sizeof(*s));
}
