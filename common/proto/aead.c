#include "common/proto/aead.h"

#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "common/base/check.h"
#include "common/base/err.h"

#define NONCE_LEN 12

static_assert(crypto_aead_chacha20poly1305_ietf_NPUBBYTES == NONCE_LEN &&
                  crypto_aead_aes256gcm_NPUBBYTES == NONCE_LEN,
              "four zero bytes and the number");
static_assert(crypto_aead_chacha20poly1305_ietf_KEYBYTES == PQB_KEY_LEN &&
                  crypto_aead_aes256gcm_KEYBYTES == PQB_KEY_LEN,
              "both ciphers take what Split gives");
static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == PQB_TAG_LEN &&
                  crypto_aead_aes256gcm_ABYTES == PQB_TAG_LEN,
              "both tags fit the room kept for them");

const char *pqb_cipher_name(enum pqb_cipher cipher)
{
    switch (cipher) {
    case PQB_CIPHER_NONE:
        return "none";
    case PQB_CIPHER_CHACHAPOLY:
        return "chachapoly";
    case PQB_CIPHER_AESGCM:
        return "aesgcm";
    }
    return "unknown";
}

int pqb_aead_init(void)
{
    return sodium_init() >= 0 ? PQB_OK : PQB_ERR_IO;
}

uint8_t pqb_aead_ciphers(void)
{
    return PQB_CIPHERS_CHACHAPOLY |
           (crypto_aead_aes256gcm_is_available() != 0 ? PQB_CIPHERS_AESGCM : 0);
}

enum pqb_cipher pqb_aead_choose(uint8_t offered, uint8_t allowed)
{
    const unsigned both = offered & allowed;

    if ((both & PQB_CIPHERS_AESGCM) != 0)
        return PQB_CIPHER_AESGCM;
    return (both & PQB_CIPHERS_CHACHAPOLY) != 0 ? PQB_CIPHER_CHACHAPOLY : PQB_CIPHER_NONE;
}

static void make_nonce(enum pqb_cipher cipher, uint64_t number, uint8_t out[NONCE_LEN])
{
    memset(out, 0, 4);
    for (unsigned i = 0; i < 8; i++) {
        const unsigned shift = cipher == PQB_CIPHER_AESGCM ? 56 - 8 * i : 8 * i;

        out[4 + i] = (uint8_t)(number >> shift);
    }
}

void pqb_aead_seal(enum pqb_cipher cipher, const uint8_t key[PQB_KEY_LEN],
                   const struct pqb_aead_with *with, const uint8_t *in, size_t len, uint8_t *out)
{
    uint8_t nonce[NONCE_LEN];

    PQB_ASSERT(cipher != PQB_CIPHER_NONE);
    make_nonce(cipher, with->number, nonce);
    if (cipher == PQB_CIPHER_AESGCM)
        (void)crypto_aead_aes256gcm_encrypt(out, NULL, in, len, with->ad, with->ad_len, NULL, nonce,
                                            key);
    else
        (void)crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, in, len, with->ad, with->ad_len,
                                                        NULL, nonce, key);
}

bool pqb_aead_open(enum pqb_cipher cipher, const uint8_t key[PQB_KEY_LEN],
                   const struct pqb_aead_with *with, const uint8_t *in, size_t len, uint8_t *out)
{
    uint8_t nonce[NONCE_LEN];

    PQB_ASSERT(cipher != PQB_CIPHER_NONE);
    if (len < PQB_TAG_LEN)
        return false;
    make_nonce(cipher, with->number, nonce);
    if (cipher == PQB_CIPHER_AESGCM)
        return crypto_aead_aes256gcm_decrypt(out, NULL, NULL, in, len, with->ad, with->ad_len,
                                             nonce, key) == 0;
    return crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, in, len, with->ad,
                                                     with->ad_len, nonce, key) == 0;
}

void pqb_aead_rekey(enum pqb_cipher cipher, uint8_t key[PQB_KEY_LEN])
{
    static const uint8_t zeros[PQB_KEY_LEN];
    const struct pqb_aead_with with = {.number = UINT64_MAX};
    uint8_t sealed[PQB_KEY_LEN + PQB_TAG_LEN];

    pqb_aead_seal(cipher, key, &with, zeros, sizeof(zeros), sealed);
    memcpy(key, sealed, PQB_KEY_LEN);
    sodium_memzero(sealed, sizeof(sealed));
}
