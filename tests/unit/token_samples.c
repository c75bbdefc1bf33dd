#include "tests/unit/token_samples.h"

#include <string.h>

#include <sodium.h>

#include "common/base/check.h"

const struct pqb_issuer_secret token_sample_secret = {
    .bytes = {0xb4, 0xcb, 0xfb, 0x43, 0xdf, 0x4c, 0xe2, 0x10, 0x72, 0x7d, 0x95, 0x3e, 0x4a,
              0x71, 0x33, 0x07, 0xfa, 0x19, 0xbb, 0x7d, 0x9f, 0x85, 0x04, 0x14, 0x38, 0xd9,
              0xe1, 0x1b, 0x94, 0x2a, 0x37, 0x74, 0x1e, 0xb9, 0xdb, 0xbb, 0xbc, 0x04, 0x7c,
              0x03, 0xfd, 0x70, 0x60, 0x4e, 0x00, 0x71, 0xf0, 0x98, 0x7e, 0x16, 0xb2, 0x8b,
              0x75, 0x72, 0x25, 0xc1, 0x1f, 0x00, 0x41, 0x5d, 0x0e, 0x20, 0xb1, 0xa2}};

struct pqb_issuer_key token_sample_key(void)
{
    struct pqb_issuer_key key;

    memcpy(key.bytes, token_sample_secret.bytes + 32, sizeof(key.bytes));
    return key;
}

void token_sample_other(struct pqb_issuer_secret *secret, struct pqb_issuer_key *key)
{
    const uint8_t seed[32] = {7};

    PQB_ASSERT(crypto_sign_seed_keypair(key->bytes, secret->bytes, seed) == 0);
}

struct pqb_claims token_sample_claims(void)
{
    struct pqb_claims c = {.user_len = 3,
                           .device_len = 5,
                           .user = "ann",
                           .device = "phone",
                           .issued_ms = TOKEN_SAMPLE_BEGIN,
                           .expires_ms = TOKEN_SAMPLE_END};

    for (uint8_t i = 0; i < PQB_KEY_LEN; i++)
        c.key[i] = i;
    return c;
}

bool token_sample_is_same(const struct pqb_claims *a, const struct pqb_claims *b)
{
    return a->user_len == b->user_len && memcmp(a->user, b->user, a->user_len) == 0 &&
           a->device_len == b->device_len && memcmp(a->device, b->device, a->device_len) == 0 &&
           memcmp(a->key, b->key, sizeof(a->key)) == 0 && a->expires_ms == b->expires_ms &&
           a->not_before_ms == b->not_before_ms && a->issued_ms == b->issued_ms;
}

static void put(uint8_t **at, const void *data, size_t len)
{
    const uint8_t length[8] = {(uint8_t)len, (uint8_t)(len >> 8)};

    memcpy(*at, length, 8);
    if (len > 0)
        memcpy(*at + 8, data, len);
    *at += 8 + len;
}

size_t token_sample_sign(const struct pqb_issuer_secret *secret, const void *message, size_t len,
                         const void *footer, size_t footer_len, char token[TOKEN_SAMPLE_MAX])
{
    uint8_t covered[2048] = {4}, payload[1024];
    uint8_t *at = covered + 8;
    size_t token_len;

    PQB_ASSERT(len <= 512 && footer_len <= 512);
    put(&at, "v4.public.", 10);
    put(&at, message, len);
    put(&at, footer, footer_len);
    put(&at, "paquebot", 8);
    if (len > 0)
        memcpy(payload, message, len);
    (void)crypto_sign_detached(payload + len, NULL, covered, (size_t)(at - covered), secret->bytes);
    memcpy(token, "v4.public.", 11);
    (void)sodium_bin2base64(token + 10, TOKEN_SAMPLE_MAX - 10, payload, len + 64,
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    token_len = strlen(token);
    if (footer_len > 0) {
        token[token_len++] = '.';
        (void)sodium_bin2base64(token + token_len, TOKEN_SAMPLE_MAX - token_len, footer, footer_len,
                                sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    }
    return strlen(token);
}
