// Hand-made peers in the gateway's own suite: what a client library would never say has to be
// sealed as well as anything else to get as deep into the gateway. In plaintext the same calls
// encode and decode only. Owned by the attack, one thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/rng.h"
#include "common/proto/aead.h"
#include "common/proto/noise.h"
#include "common/proto/packet_keys.h"
#include "common/proto/secret_rng.h"
#include "common/wire/datagram.h"
#include "common/wire/limits.h"

#define SEALED_POOLS    32
#define SEALED_POOL_LEN 256

// What attackers know of a gateway, and what they all have in common.
struct sealed_gateway {
    bool is_noise;
    uint8_t public[PQB_KEY_LEN], mac1_key[PQB_KEY_LEN];
    struct pqb_noise_keypair device; // of all who need none of their own
    uint8_t ciphers;                 // that they offer
    struct pqb_secret_rng rng;
    struct sealed_hello *pools[SEALED_POOLS]; // NULL until used
};

// `server_key` NULL: a gateway in plaintext. PQB_OK or PQB_ERR_IO.
PQB_MUST_USE int sealed_gateway_init(struct sealed_gateway *g, const uint8_t *server_key,
                                     struct pqb_rng *rng);
void sealed_gateway_fini(struct sealed_gateway *g);

// One login, and the session that it becomes. All zero: neither.
struct sealed {
    struct pqb_noise noise; // behind the first message
    uint8_t hello[PQB_INIT_LEN];
    uint64_t hello_id; // its init_id; 0: there is none
    struct pqb_packet_keys keys;
    enum pqb_cipher cipher; // NONE: no session, or plaintext
};

struct sealed_ticket {
    uint8_t ticket[PQB_TICKET_LEN], psk[PQB_KEY_LEN];
};

// INIT with `init`'s names and cookie, PQB_INIT_LEN bytes; a repeat under the same init_id is the
// same but for the cookie.
size_t sealed_init(struct sealed_gateway *g, struct sealed *s, const struct pqb_init *init,
                   uint8_t *out);
// RESUME; only in the suite noise.
size_t sealed_resume(struct sealed_gateway *g, struct sealed *s, const struct pqb_init *init,
                     const struct sealed_ticket *t, uint8_t *out);
// INIT around `payload`, which need not be sound; `len` at most SEALED_PAYLOAD_LEN, the rest zero.
#define SEALED_PAYLOAD_LEN (PQB_HELLO_MAC1_AT - PQB_HELLO_HEADER_LEN - PQB_NOISE_IK_OVERHEAD)
size_t sealed_init_around(struct sealed_gateway *g, struct sealed *s, uint64_t init_id,
                          const uint8_t *payload, size_t len, uint8_t *out);
// A sound INIT of somebody who will not go on. Key exchanges would bound the rate of a flood, so
// each pool has SEALED_POOL_LEN of them, which come again with their first names and their own
// init_ids, whatever `init` says.
size_t sealed_stranger(struct sealed_gateway *g, unsigned pool, const struct pqb_init *init,
                       uint8_t *out);

// Makes mac1 anew, as anybody can who knows the public key.
void sealed_mac1(const struct sealed_gateway *g, uint8_t *hello);

// RESP to the last hello of `s`: from here on its session can be sealed.
PQB_MUST_USE bool sealed_read_resp(struct sealed_gateway *g, struct sealed *s,
                                   struct pqb_unpacker *u, const uint8_t *data, size_t len,
                                   struct pqb_resp *out);

// Puts the header in front of `len` bytes (header's room included), seals, and returns the length.
size_t sealed_data(const struct sealed *s, const struct pqb_data *header, uint8_t *out, size_t len);
// `plain` has room for PQB_DATAGRAM_MAX bytes; `d` borrows from it or from `data`.
PQB_MUST_USE bool sealed_open(struct sealed *s, const uint8_t *data, size_t len, uint8_t *plain,
                              struct pqb_data *d, pqb_tstamp now);
