// Tokens for tests: an issuer with a known key who signs any bytes, also what no issuer would.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/proto/paseto.h"

#define TOKEN_SAMPLE_MAX 2048

// The key of PASETO's own test vectors (4-S-1 and others), and one that is another's.
extern const struct pqb_issuer_secret token_sample_secret;
struct pqb_issuer_key token_sample_key(void);
void token_sample_other(struct pqb_issuer_secret *secret, struct pqb_issuer_key *key);

// Ann's phone with the key 00 01 … 1f, from the first to the last day of January 2026.
struct pqb_claims token_sample_claims(void);
#define TOKEN_SAMPLE_BEGIN UINT64_C(1767225600000)
#define TOKEN_SAMPLE_END   UINT64_C(1769817600000)

bool token_sample_is_same(const struct pqb_claims *a, const struct pqb_claims *b);

// A token over any bytes, NUL-terminated. Returns its length. At most 512 bytes of each.
size_t token_sample_sign(const struct pqb_issuer_secret *secret, const void *message, size_t len,
                         const void *footer, size_t footer_len, char token[TOKEN_SAMPLE_MAX]);
