#include "common/base/rng.h"

#include <string.h>

#include "common/base/check.h"

void pqb_rng_init_key(struct pqb_rng *rng, const uint8_t key[PQB_SIPHASH_KEY_LEN])
{
    memcpy(rng->key, key, sizeof(rng->key));
    rng->counter = 0;
}

void pqb_rng_init_seed(struct pqb_rng *rng, uint64_t seed)
{
    uint8_t key[PQB_SIPHASH_KEY_LEN] = {0};

    for (unsigned i = 0; i < 8; i++)
        key[i] = (uint8_t)(seed >> (8 * i));
    pqb_rng_init_key(rng, key);
}

// The counter enters as little-endian bytes: a seed gives the same run on every machine.
uint64_t pqb_rng_next(struct pqb_rng *rng)
{
    uint8_t block[8];

    for (unsigned i = 0; i < 8; i++)
        block[i] = (uint8_t)(rng->counter >> (8 * i));
    rng->counter++;
    return pqb_siphash24(rng->key, block, sizeof(block));
}

uint64_t pqb_rng_below(struct pqb_rng *rng, uint64_t limit)
{
    PQB_ASSERT(limit > 0);

    // 2^64 mod limit values are in excess; rejecting them leaves every residue equally likely.
    // Fewer than half are ever rejected, so the loop ends after two draws at most on average.
    const uint64_t excess = (0 - limit) % limit;
    uint64_t x;

    do {
        x = pqb_rng_next(rng);
    } while (x < excess);
    return x % limit;
}

double pqb_rng_unit(struct pqb_rng *rng)
{
    return (double)(pqb_rng_next(rng) >> 11) * 0x1p-53; // 53 bits: what a double holds exactly
}

void pqb_rng_fill(struct pqb_rng *rng, void *out, size_t len)
{
    uint8_t *p = out;

    PQB_ASSERT(out != NULL || len == 0);
    for (size_t at = 0; at < len; at += 8) {
        uint64_t x = pqb_rng_next(rng);

        for (size_t i = at; i < len && i < at + 8; i++) {
            p[i] = (uint8_t)x;
            x >>= 8;
        }
    }
}
