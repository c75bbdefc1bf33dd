// Random numbers for secrets: ChaCha20 with key erasure. What was drawn cannot be computed from the
// state that is left, so who takes the memory later learns no earlier key. Seeded from the
// operating system by whoever owns it; seeded from numbers it repeats, which the simulator needs.
// One owner, one thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PQB_SECRET_SEED_LEN 32

struct pqb_secret_rng {
    uint8_t key[PQB_SECRET_SEED_LEN];
};

void pqb_secret_rng_init(struct pqb_secret_rng *rng, const uint8_t seed[PQB_SECRET_SEED_LEN]);
void pqb_secret_rng_fini(struct pqb_secret_rng *rng); // erases it

// Mixes fresh bytes in: what follows needs both the state before and these to be foretold.
void pqb_secret_rng_stir(struct pqb_secret_rng *rng, const uint8_t fresh[PQB_SECRET_SEED_LEN]);

// `len` is at most 64 bytes.
void pqb_secret_rng_fill(struct pqb_secret_rng *rng, void *out, size_t len);
