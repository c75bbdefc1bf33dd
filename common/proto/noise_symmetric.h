// SymmetricState of the Noise Protocol Framework (revision 34, section 5.2) with ChaChaPoly and
// SHA256: what a handshake has mixed so far. Internal to the handshake and to those who attack it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/wire/limits.h"

#define PQB_NOISE_HASH_LEN 32

struct pqb_noise_symmetric {
    uint8_t ck[PQB_NOISE_HASH_LEN]; // chaining key
    uint8_t h[PQB_NOISE_HASH_LEN];  // hash of all that both sides saw
    uint8_t k[PQB_KEY_LEN];
    uint64_t n; // number of the next message under k
    bool has_key;
};

void pqb_noise_symmetric_init(struct pqb_noise_symmetric *s, const char *protocol_name);
void pqb_noise_mix_key(struct pqb_noise_symmetric *s, const uint8_t *input, size_t len);
void pqb_noise_mix_hash(struct pqb_noise_symmetric *s, const void *data, size_t len);
void pqb_noise_mix_key_and_hash(struct pqb_noise_symmetric *s, const uint8_t *input, size_t len);

// EncryptAndHash: as long as `in`, and PQB_TAG_LEN more once there is a key. Returns the length.
size_t pqb_noise_encrypt(struct pqb_noise_symmetric *s, const uint8_t *in, size_t len,
                         uint8_t *out);

// DecryptAndHash: false: forged, or too short.
PQB_MUST_USE bool pqb_noise_decrypt(struct pqb_noise_symmetric *s, const uint8_t *in, size_t len,
                                    uint8_t *out);

// Split: the keys of the two directions; the state is erased.
void pqb_noise_split(struct pqb_noise_symmetric *s, uint8_t from_initiator[PQB_KEY_LEN],
                     uint8_t from_responder[PQB_KEY_LEN]);
