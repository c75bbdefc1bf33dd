#include "common/proto/secret_rng.h"

#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "common/base/check.h"

#define DRAW_MAX 64

static_assert(crypto_stream_chacha20_ietf_KEYBYTES == PQB_SECRET_SEED_LEN, "the seed is the key");

void pqb_secret_rng_init(struct pqb_secret_rng *rng, const uint8_t seed[PQB_SECRET_SEED_LEN])
{
    memcpy(rng->key, seed, sizeof(rng->key));
}

void pqb_secret_rng_fini(struct pqb_secret_rng *rng)
{
    sodium_memzero(rng, sizeof(*rng));
}

// The stream's beginning replaces the key that made it; the rest is given out. A key is used once,
// so the nonce need not change.
void pqb_secret_rng_fill(struct pqb_secret_rng *rng, void *out, size_t len)
{
    static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES];
    uint8_t stream[PQB_SECRET_SEED_LEN + DRAW_MAX];

    PQB_ASSERT(len <= DRAW_MAX);
    (void)crypto_stream_chacha20_ietf(stream, sizeof(stream), nonce, rng->key);
    memcpy(rng->key, stream, sizeof(rng->key));
    memcpy(out, stream + PQB_SECRET_SEED_LEN, len);
    sodium_memzero(stream, sizeof(stream));
}

void pqb_secret_rng_stir(struct pqb_secret_rng *rng, const uint8_t fresh[PQB_SECRET_SEED_LEN])
{
    for (size_t i = 0; i < sizeof(rng->key); i++)
        rng->key[i] ^= fresh[i];
}
