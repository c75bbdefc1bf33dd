#include "common/proto/paseto.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "common/base/check.h"

#define HEADER        "v4.public."
#define IMPLICIT      "paquebot"
#define PUBLIC_PREFIX "k4.public."
#define SECRET_PREFIX "k4.secret."
#define LEN_OF(text)  (sizeof(text) - 1)
#define SIGNATURE_LEN 64
#define DECODED_MAX   ((size_t)PQB_TOKEN_MAX * 3 / 4)
#define SIGNED_MAX    (PQB_TOKEN_MAX + 128) // what is signed: the pieces with their lengths

static_assert(SIGNATURE_LEN == crypto_sign_BYTES, "Ed25519");
static_assert(PQB_KEY_LEN == crypto_sign_PUBLICKEYBYTES, "Ed25519");
static_assert(PQB_ISSUER_SECRET_LEN == crypto_sign_SECRETKEYBYTES, "Ed25519");
static_assert(LEN_OF(HEADER) + ((PQB_CLAIMS_MAX + SIGNATURE_LEN) * 4 + 2) / 3 == PQB_TOKEN_MAX,
              "the largest claims make the largest token");

// A token taken apart.
struct parts {
    uint8_t payload[DECODED_MAX]; // message, then signature
    uint8_t footer[DECODED_MAX];
    size_t message_len, footer_len;
};

const char *pqb_paseto_verdict_text(enum pqb_paseto_verdict verdict)
{
    switch (verdict) {
    case PQB_PASETO_OK:
        return "rightly signed";
    case PQB_PASETO_MALFORMED:
        return "not a v4.public token";
    case PQB_PASETO_FORGED:
        return "not signed by this issuer";
    case PQB_PASETO_CLAIMS:
        return "what it says is not a Paquebot token's: sub, dev, key and exp are needed, each "
               "once";
    }
    return "";
}

// ----------------------------------------------------------------------------------- encodings

static bool is_base64url(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

// Base64url without padding; one encoding a value, so a token cannot be varied. libsodium 1.0.18
// takes some bytes above 0x7f for digits, hence the look at each.
static bool decode(const char *text, size_t len, uint8_t *out, size_t size, size_t *out_len)
{
    for (size_t i = 0; i < len; i++) {
        if (!is_base64url(text[i]))
            return false;
    }
    return sodium_base642bin(out, size, text, len, NULL, out_len, NULL,
                             sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0;
}

static void put_piece(uint8_t *out, size_t *at, const void *piece, size_t len)
{
    PQB_ASSERT(*at + 8 + len <= SIGNED_MAX);
    for (int i = 0; i < 8; i++)
        out[(*at)++] = (uint8_t)((uint64_t)len >> (8 * i));
    if (len > 0)
        memcpy(out + *at, piece, len);
    *at += len;
}

// PASETO's pre-authentication encoding of what the signature covers.
static size_t encode_signed(const uint8_t *message, size_t message_len, const uint8_t *footer,
                            size_t footer_len, uint8_t out[SIGNED_MAX])
{
    size_t at = 8;

    memset(out, 0, 8);
    out[0] = 4; // pieces
    put_piece(out, &at, HEADER, LEN_OF(HEADER));
    put_piece(out, &at, message, message_len);
    put_piece(out, &at, footer, footer_len);
    put_piece(out, &at, IMPLICIT, LEN_OF(IMPLICIT));
    return at;
}

// -------------------------------------------------------------------------------------- tokens

size_t pqb_paseto_make(const struct pqb_claims *claims, const struct pqb_issuer_secret *secret,
                       char token[PQB_TOKEN_MAX + 1])
{
    char message[PQB_CLAIMS_MAX + 1];
    uint8_t covered[SIGNED_MAX], payload[PQB_CLAIMS_MAX + SIGNATURE_LEN];
    const size_t len = pqb_claims_format(claims, message);
    size_t covered_len;

    if (len == 0)
        return 0;
    covered_len = encode_signed((const uint8_t *)message, len, NULL, 0, covered);
    memcpy(payload, message, len);
    PQB_ASSERT(crypto_sign_detached(payload + len, NULL, covered, covered_len, secret->bytes) == 0);
    memcpy(token, HEADER, LEN_OF(HEADER));
    (void)sodium_bin2base64(token + LEN_OF(HEADER), PQB_TOKEN_MAX + 1 - LEN_OF(HEADER), payload,
                            len + SIGNATURE_LEN, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return strlen(token);
}

static bool take_apart(const char *token, size_t len, struct parts *out)
{
    const char *payload = token + LEN_OF(HEADER), *end = token + len;
    const char *dot;
    size_t payload_len;

    if (len > PQB_TOKEN_MAX || len < LEN_OF(HEADER) || memcmp(token, HEADER, LEN_OF(HEADER)) != 0)
        return false;
    dot = memchr(payload, '.', (size_t)(end - payload));
    if (!decode(payload, (size_t)((dot != NULL ? dot : end) - payload), out->payload, DECODED_MAX,
                &payload_len) ||
        payload_len < SIGNATURE_LEN)
        return false;
    out->message_len = payload_len - SIGNATURE_LEN;
    out->footer_len = 0;
    // A dot with nothing behind it would be a second spelling of the token without it.
    return dot == NULL ||
           (decode(dot + 1, (size_t)(end - dot) - 1, out->footer, DECODED_MAX, &out->footer_len) &&
            out->footer_len > 0);
}

static enum pqb_paseto_verdict read_claims(const struct parts *p, struct pqb_claims *claims)
{
    return pqb_claims_parse(claims, (const char *)p->payload, p->message_len) ? PQB_PASETO_OK
                                                                              : PQB_PASETO_CLAIMS;
}

enum pqb_paseto_verdict pqb_paseto_verify(const char *token, size_t len,
                                          const struct pqb_issuer_key *keys, size_t key_count,
                                          struct pqb_claims *claims, size_t *key)
{
    uint8_t covered[SIGNED_MAX];
    struct parts p;
    size_t covered_len;

    if (!take_apart(token, len, &p))
        return PQB_PASETO_MALFORMED;
    covered_len = encode_signed(p.payload, p.message_len, p.footer, p.footer_len, covered);
    for (*key = 0; *key < key_count; (*key)++) {
        if (crypto_sign_verify_detached(p.payload + p.message_len, covered, covered_len,
                                        keys[*key].bytes) == 0)
            return read_claims(&p, claims);
    }
    return PQB_PASETO_FORGED;
}

enum pqb_paseto_verdict pqb_paseto_read_unverified(const char *token, size_t len,
                                                   struct pqb_claims *claims)
{
    struct parts p;

    return take_apart(token, len, &p) ? read_claims(&p, claims) : PQB_PASETO_MALFORMED;
}

// ---------------------------------------------------------------------------------------- keys

static void format_key(const char *prefix, const uint8_t *key, size_t len,
                       char text[PQB_PASERK_MAX])
{
    const size_t prefix_len = (size_t)snprintf(text, PQB_PASERK_MAX, "%s", prefix);

    (void)sodium_bin2base64(text + prefix_len, PQB_PASERK_MAX - prefix_len, key, len,
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

static bool parse_key(const char *prefix, const char *text, size_t len, uint8_t *key,
                      size_t key_len)
{
    const size_t prefix_len = strlen(prefix);
    size_t got;

    return len > prefix_len && memcmp(text, prefix, prefix_len) == 0 &&
           decode(text + prefix_len, len - prefix_len, key, key_len, &got) && got == key_len;
}

void pqb_paserk_public_format(const struct pqb_issuer_key *key, char text[PQB_PASERK_MAX])
{
    format_key(PUBLIC_PREFIX, key->bytes, PQB_KEY_LEN, text);
}

void pqb_paserk_secret_format(const struct pqb_issuer_secret *secret, char text[PQB_PASERK_MAX])
{
    format_key(SECRET_PREFIX, secret->bytes, PQB_ISSUER_SECRET_LEN, text);
}

bool pqb_paserk_public_parse(const char *text, size_t len, struct pqb_issuer_key *out)
{
    return parse_key(PUBLIC_PREFIX, text, len, out->bytes, PQB_KEY_LEN);
}

bool pqb_paserk_secret_parse(const char *text, size_t len, struct pqb_issuer_secret *out)
{
    struct pqb_issuer_secret made;
    struct pqb_issuer_key key;
    bool is_whole;

    if (!parse_key(SECRET_PREFIX, text, len, out->bytes, PQB_ISSUER_SECRET_LEN))
        return false;
    // Signing with a wrong public half would give the secret one away.
    PQB_ASSERT(crypto_sign_seed_keypair(key.bytes, made.bytes, out->bytes) == 0);
    is_whole = sodium_memcmp(made.bytes, out->bytes, PQB_ISSUER_SECRET_LEN) == 0;
    sodium_memzero(&made, sizeof(made));
    return is_whole;
}

bool pqb_paserk_is_secret(const char *text, size_t len)
{
    return len >= LEN_OF(SECRET_PREFIX) && memcmp(text, SECRET_PREFIX, LEN_OF(SECRET_PREFIX)) == 0;
}
