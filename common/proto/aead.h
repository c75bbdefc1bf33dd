// The two ciphers of the Noise specification (section 12) that sessions use, on libsodium: one
// call seals or opens one message under a key and a number. No state.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/wire/limits.h"

enum pqb_cipher {              // wire numbers
    PQB_CIPHER_NONE = 0,       // plaintext: loopback, tests, measurement
    PQB_CIPHER_CHACHAPOLY = 1, // RFC 8439; the nonce has the number little-endian
    PQB_CIPHER_AESGCM = 2, // AES-256-GCM; the nonce has it big-endian; only with AES in hardware
};

// "chachapoly", as people are shown it. Never NULL.
const char *pqb_cipher_name(enum pqb_cipher cipher);

// Sets of ciphers, as offered in INIT.
#define PQB_CIPHERS_CHACHAPOLY 0x01u
#define PQB_CIPHERS_AESGCM     0x02u

// Once in a process, before anything else here; may be called again. PQB_OK or PQB_ERR_IO.
PQB_MUST_USE int pqb_aead_init(void);

// What this machine can do: ChaChaPoly always, AESGCM where the processor has it.
uint8_t pqb_aead_ciphers(void);

// The best cipher that both sets have; PQB_CIPHER_NONE when there is none.
enum pqb_cipher pqb_aead_choose(uint8_t offered, uint8_t allowed);

// What a message goes with besides its plaintext.
struct pqb_aead_with {
    uint64_t number; // never twice under a key
    const void *ad;  // authenticated, not encrypted
    size_t ad_len;
};

// Writes len + PQB_TAG_LEN bytes to `out`, which may be `in`.
void pqb_aead_seal(enum pqb_cipher cipher, const uint8_t key[PQB_KEY_LEN],
                   const struct pqb_aead_with *with, const uint8_t *in, size_t len, uint8_t *out);

// `len` counts the tag. Writes len - PQB_TAG_LEN bytes to `out`, which may be `in`. false: not
// what was sealed; `out` then holds nothing of use.
PQB_MUST_USE bool pqb_aead_open(enum pqb_cipher cipher, const uint8_t key[PQB_KEY_LEN],
                                const struct pqb_aead_with *with, const uint8_t *in, size_t len,
                                uint8_t *out);

// Replaces the key by one from which it cannot be told (Noise section 4.2, REKEY).
void pqb_aead_rekey(enum pqb_cipher cipher, uint8_t key[PQB_KEY_LEN]);
