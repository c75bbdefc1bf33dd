// The two handshakes, exactly Noise (revision 34): Noise_IK_25519_ChaChaPoly_SHA256 for a login,
// Noise_NNpsk0_25519_ChaChaPoly_SHA256 for a resumed one. Sans-I/O: ephemeral keys come in. After a
// failure the state is good for nothing but pqb_noise_fini.
//
//   IK       <- s            known beforehand      NNpsk0   -> psk, e
//            -> e, es, s, ss                                <- e, ee
//            <- e, ee, se
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/proto/noise_symmetric.h"
#include "common/wire/limits.h"

enum pqb_noise_pattern {
    PQB_NOISE_IK,
    PQB_NOISE_NNPSK0,
};

// Bytes that a message has beyond its payload.
#define PQB_NOISE_IK_OVERHEAD     (PQB_KEY_LEN + PQB_KEY_LEN + 2 * PQB_TAG_LEN) // first message
#define PQB_NOISE_NNPSK0_OVERHEAD (PQB_KEY_LEN + PQB_TAG_LEN)
#define PQB_NOISE_ANSWER_OVERHEAD (PQB_KEY_LEN + PQB_TAG_LEN) // second message of either

struct pqb_noise_keypair {
    uint8_t secret[PQB_KEY_LEN], public[PQB_KEY_LEN];
};

// The public key of `pair->secret`.
void pqb_noise_keypair_complete(struct pqb_noise_keypair *pair);

struct pqb_noise {
    struct pqb_noise_symmetric symmetric;
    enum pqb_noise_pattern pattern;
    bool is_initiator;
    struct pqb_noise_keypair s, e;
    // The peer's static and ephemeral public keys. One secret key has several public ones that are
    // read alike (X25519 ignores the top bit): only equal bytes make the same peer.
    uint8_t rs[PQB_KEY_LEN], re[PQB_KEY_LEN];
    uint8_t psk[PQB_KEY_LEN];
};

// IK. `s` is one's own pair; `rs` the responder's public key, known to the initiator (NULL at the
// responder).
void pqb_noise_init_ik(struct pqb_noise *n, bool is_initiator, const struct pqb_noise_keypair *s,
                       const uint8_t *rs, const void *prologue, size_t prologue_len);
void pqb_noise_init_nnpsk0(struct pqb_noise *n, bool is_initiator, const uint8_t psk[PQB_KEY_LEN],
                           const void *prologue, size_t prologue_len);
void pqb_noise_fini(struct pqb_noise *n); // erases it

// Writes one's own message: the first as initiator, the second as responder. `e_secret` is fresh
// and random. Returns its length, len + the overhead above; 0: the peer's key is one with which no
// secret can be agreed (a point of small order).
PQB_MUST_USE size_t pqb_noise_write(struct pqb_noise *n, const uint8_t e_secret[PQB_KEY_LEN],
                                    const uint8_t *payload, size_t len, uint8_t *out);

// Reads the peer's message; `payload` has room for `len` bytes. false: not a message of this
// handshake.
PQB_MUST_USE bool pqb_noise_read(struct pqb_noise *n, const uint8_t *message, size_t len,
                                 uint8_t *payload, size_t *payload_len);

// After both messages: the keys of the two directions.
void pqb_noise_finish(struct pqb_noise *n, uint8_t from_initiator[PQB_KEY_LEN],
                      uint8_t from_responder[PQB_KEY_LEN]);

// What a responder needs between the first message and the second, for another thread to write it.
#define PQB_NOISE_MIDDLE_LEN (1 + 2 * PQB_NOISE_HASH_LEN + 2 * PQB_KEY_LEN)
void pqb_noise_save(const struct pqb_noise *n, uint8_t out[PQB_NOISE_MIDDLE_LEN]);
void pqb_noise_restore(struct pqb_noise *n, const uint8_t in[PQB_NOISE_MIDDLE_LEN]);
