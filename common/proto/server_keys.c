#include "common/proto/server_keys.h"

#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "common/base/check.h"

static_assert(crypto_generichash_BYTES == PQB_KEY_LEN && crypto_generichash_KEYBYTES == PQB_KEY_LEN,
              "BLAKE2b-256 makes a key and takes one");

#define MAC1_LABEL "paquebot mac1 ---"

static const uint8_t prologue_label[8] = {'p', 'a', 'q', 'u', 'e', 'b', 'o', 't'};

void pqb_server_keys_add(struct pqb_server_keys *k, const uint8_t secret[PQB_KEY_LEN])
{
    struct pqb_server_key *at = &k->at[k->count++];

    PQB_ASSERT(k->count <= PQB_SERVER_KEYS_MAX);
    memcpy(at->pair.secret, secret, PQB_KEY_LEN);
    pqb_noise_keypair_complete(&at->pair);
    pqb_mac1_key(at->pair.public, at->mac1_key);
}

void *pqb_secret_alloc(size_t size)
{
    void *secret = sodium_malloc(size);

    if (secret != NULL)
        memset(secret, 0, size);
    return secret;
}

void pqb_secret_free(void *secret)
{
    sodium_free(secret);
}

void pqb_secret_erase(void *secret, size_t size)
{
    sodium_memzero(secret, size);
}

void pqb_mac1_key(const uint8_t server_public[PQB_KEY_LEN], uint8_t out[PQB_KEY_LEN])
{
    crypto_generichash_state hash;

    (void)crypto_generichash_init(&hash, NULL, 0, PQB_KEY_LEN);
    (void)crypto_generichash_update(&hash, (const uint8_t *)MAC1_LABEL, strlen(MAC1_LABEL));
    (void)crypto_generichash_update(&hash, server_public, PQB_KEY_LEN);
    (void)crypto_generichash_final(&hash, out, PQB_KEY_LEN);
}

void pqb_mac1_make(const uint8_t key[PQB_KEY_LEN], const void *data, size_t len,
                   uint8_t out[PQB_MAC1_LEN])
{
    (void)crypto_generichash(out, PQB_MAC1_LEN, data, len, key, PQB_KEY_LEN);
}

const struct pqb_server_key *pqb_server_keys_find(const struct pqb_server_keys *k, const void *data,
                                                  size_t len, const uint8_t mac1[PQB_MAC1_LEN])
{
    for (size_t i = 0; i < k->count; i++) {
        uint8_t expected[PQB_MAC1_LEN];

        pqb_mac1_make(k->at[i].mac1_key, data, len, expected);
        if (sodium_memcmp(expected, mac1, sizeof(expected)) == 0)
            return &k->at[i];
    }
    return NULL;
}

size_t pqb_prologue_make(const uint8_t *hello, const uint8_t *ticket, uint8_t out[PQB_PROLOGUE_MAX])
{
    uint8_t *at = out;

    memcpy(at, prologue_label, sizeof(prologue_label));
    at += sizeof(prologue_label);
    memcpy(at, hello, PQB_LOGIN_HEADER_LEN);
    at += PQB_LOGIN_HEADER_LEN;
    if (ticket != NULL) {
        memcpy(at, ticket, PQB_TICKET_LEN);
        at += PQB_TICKET_LEN;
    }
    return (size_t)(at - out);
}
