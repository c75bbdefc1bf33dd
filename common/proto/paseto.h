// Signed tokens: PASETO v4.public (Ed25519) over the claims of claims.h, with the implicit
// assertion "paquebot", so that a token that the same issuer signed for something else is none
// here; keys as PASERK text. PROTOCOL.md section 5. Pure: no clock, no memory but where said;
// whether a token is valid now is its reader's to ask.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/proto/claims.h"
#include "common/wire/limits.h"

#define PQB_ISSUER_SECRET_LEN 64
#define PQB_PASERK_MAX        97 // bytes of the longer text with its NUL

// Ed25519.
struct pqb_issuer_key {
    uint8_t bytes[PQB_KEY_LEN];
};
struct pqb_issuer_secret {
    uint8_t bytes[PQB_ISSUER_SECRET_LEN]; // seed and public key
};

enum pqb_paseto_verdict {
    PQB_PASETO_OK,
    PQB_PASETO_MALFORMED, // not the form of a v4.public token
    PQB_PASETO_FORGED,    // signed by none of the keys
    PQB_PASETO_CLAIMS,    // rightly signed, but what it says cannot be used
};

// What it means, for people. Never NULL.
const char *pqb_paseto_verdict_text(enum pqb_paseto_verdict verdict);

// Signs. `token` is NUL-terminated. Returns its length; 0: no memory. The claims must be
// acceptable.
size_t pqb_paseto_make(const struct pqb_claims *claims, const struct pqb_issuer_secret *secret,
                       char token[PQB_TOKEN_MAX + 1]);

// Tries the keys in turn; *claims and *key (the index of the one that fits) are filled when OK. The
// claims are not looked at before the signature is found right. A footer is covered by the
// signature and otherwise ignored.
PQB_MUST_USE enum pqb_paseto_verdict pqb_paseto_verify(const char *token, size_t len,
                                                       const struct pqb_issuer_key *keys,
                                                       size_t key_count, struct pqb_claims *claims,
                                                       size_t *key);

// The claims of a token that nobody vouches for: to show, never to let in by.
PQB_MUST_USE enum pqb_paseto_verdict pqb_paseto_read_unverified(const char *token, size_t len,
                                                                struct pqb_claims *claims);

// "k4.public.…" and "k4.secret.…". Parsers take exactly that; a secret's halves must fit together.
void pqb_paserk_public_format(const struct pqb_issuer_key *key, char text[PQB_PASERK_MAX]);
void pqb_paserk_secret_format(const struct pqb_issuer_secret *secret, char text[PQB_PASERK_MAX]);
PQB_MUST_USE bool pqb_paserk_public_parse(const char *text, size_t len, struct pqb_issuer_key *out);
PQB_MUST_USE bool pqb_paserk_secret_parse(const char *text, size_t len,
                                          struct pqb_issuer_secret *out);
bool pqb_paserk_is_secret(const char *text, size_t len); // begins like one
