// Signed tokens: any text, and any claims with a right signature over them, end in a verdict. What
// is taken holds what a token must, and written again it says the same.
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/token_samples.h"

#define PART_MAX 512 // of what is signed

static enum pqb_paseto_verdict verify(const char *token, size_t len, struct pqb_claims *claims)
{
    const struct pqb_issuer_key key = token_sample_key();
    char *copy = malloc(len > 0 ? len : 1); // its exact size: a read too far is seen
    enum pqb_paseto_verdict verdict;
    size_t index;

    PQB_ASSERT(copy != NULL);
    if (len > 0)
        memcpy(copy, token, len);
    verdict = pqb_paseto_verify(copy, len, &key, 1, claims, &index);
    PQB_ASSERT(verdict != PQB_PASETO_OK || index == 0);
    free(copy);
    return verdict;
}

static void check_taken(const struct pqb_claims *claims)
{
    struct pqb_claims again;
    char token[PQB_TOKEN_MAX + 1];
    const size_t len = pqb_paseto_make(claims, &token_sample_secret, token);

    PQB_ASSERT(len > 0 && len <= PQB_TOKEN_MAX);
    PQB_ASSERT(pqb_name_is_valid(claims->user, claims->user_len, PQB_USER_MAX));
    PQB_ASSERT(pqb_name_is_valid(claims->device, claims->device_len, PQB_DEVICE_MAX));
    PQB_ASSERT(verify(token, len, &again) == PQB_PASETO_OK || claims->expires_ms == 0);
    PQB_ASSERT(claims->expires_ms == 0 || token_sample_is_same(&again, claims));
}

// The input as it is: a token, or a key.
static void check_text(const char *text, size_t size)
{
    struct pqb_issuer_secret secret;
    struct pqb_issuer_key key;
    struct pqb_claims claims;
    char again[PQB_PASERK_MAX];

    if (verify(text, size, &claims) == PQB_PASETO_OK)
        check_taken(&claims);
    PQB_ASSERT(pqb_paseto_read_unverified(text, size, &claims) != PQB_PASETO_FORGED);
    if (pqb_paserk_public_parse(text, size, &key)) {
        pqb_paserk_public_format(&key, again);
        PQB_ASSERT(strlen(again) == size && memcmp(again, text, size) == 0);
    }
    if (pqb_paserk_secret_parse(text, size, &secret)) {
        pqb_paserk_secret_format(&secret, again);
        PQB_ASSERT(strlen(again) == size && memcmp(again, text, size) == 0);
    }
}

// The input signed: claims up to the first zero byte, what follows is the footer.
static void check_signed(const char *text, size_t size)
{
    const char *zero = size > 0 ? memchr(text, '\0', size) : NULL;
    const size_t len = zero != NULL ? (size_t)(zero - text) : size;
    const char *footer = zero != NULL ? zero + 1 : text;
    const size_t footer_len = zero != NULL ? size - len - 1 : 0;
    char token[TOKEN_SAMPLE_MAX];
    struct pqb_claims claims, parsed;
    enum pqb_paseto_verdict verdict;
    size_t token_len;

    if (len > PART_MAX || footer_len > PART_MAX)
        return;
    token_len = token_sample_sign(&token_sample_secret, text, len, footer, footer_len, token);
    verdict = verify(token, token_len, &claims);
    PQB_ASSERT(verdict != PQB_PASETO_FORGED);
    PQB_ASSERT((verdict == PQB_PASETO_MALFORMED) == (token_len > PQB_TOKEN_MAX));
    if (verdict == PQB_PASETO_MALFORMED)
        return;
    PQB_ASSERT(pqb_claims_parse(&parsed, text, len) == (verdict == PQB_PASETO_OK));
    if (verdict == PQB_PASETO_OK)
        check_taken(&claims);
    token[token_len - 1] ^= 1;
    PQB_ASSERT(verify(token, token_len, &claims) != PQB_PASETO_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_text((const char *)data, size);
    check_signed((const char *)data, size);
    return 0;
}
