// SipHash-2-4 (Aumasson, Bernstein 2012): a keyed hash for tables that strangers feed, and the
// pseudo-random function behind pqb_rng, cookies and receipts.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PQB_SIPHASH_KEY_LEN 16

uint64_t pqb_siphash24(const uint8_t key[PQB_SIPHASH_KEY_LEN], const void *data, size_t len);

// The 128-bit variant, written to `out`: for tokens that a peer must not be able to guess.
void pqb_siphash24_128(const uint8_t key[PQB_SIPHASH_KEY_LEN], const void *data, size_t len,
                       uint8_t out[16]);
