// Random numbers that the owner hands down: SipHash-2-4 in counter mode. Seeded from the operating
// system it is unpredictable to peers; seeded from a number it repeats, which the simulator needs.
// One owner, one thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/siphash.h"

struct pqb_rng {
    uint8_t key[PQB_SIPHASH_KEY_LEN];
    uint64_t counter;
};

void pqb_rng_init_key(struct pqb_rng *rng, const uint8_t key[PQB_SIPHASH_KEY_LEN]);
void pqb_rng_init_seed(struct pqb_rng *rng, uint64_t seed);

uint64_t pqb_rng_next(struct pqb_rng *rng);

// Uniform in [0, limit); `limit` must not be 0.
uint64_t pqb_rng_below(struct pqb_rng *rng, uint64_t limit);

// Uniform in [0, 1).
double pqb_rng_unit(struct pqb_rng *rng);

void pqb_rng_fill(struct pqb_rng *rng, void *out, size_t len);
