// The gateway's long-term secrets in the form that logins need, and mac1, by which it knows those
// who know its public key before it spends an exchange of keys on them.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/proto/noise.h"
#include "common/proto/ticket.h"
#include "common/wire/datagram.h"
#include "common/wire/limits.h"

#define PQB_SERVER_KEYS_MAX 2 // the present one, and the one before while clients change over

struct pqb_server_key {
    struct pqb_noise_keypair pair;
    uint8_t mac1_key[PQB_KEY_LEN];
};

// Read-only once made; every shard looks into the same one. Lives in locked memory.
struct pqb_server_keys {
    size_t count; // 0 nowhere
    struct pqb_server_key at[PQB_SERVER_KEYS_MAX];
    struct pqb_ticket_keys tickets;
    uint8_t ciphers; // allowed: PQB_CIPHERS_*
};

// Adds the pair of `secret`; asserts that there is room.
void pqb_server_keys_add(struct pqb_server_keys *k, const uint8_t secret[PQB_KEY_LEN]);

// Locked, guarded memory that is not dumped; NULL: none. Freeing erases it; NULL is fine.
void *pqb_secret_alloc(size_t size);
void pqb_secret_free(void *secret);
void pqb_secret_erase(void *secret, size_t size);

// The key of mac1 that goes with a gateway's public key.
void pqb_mac1_key(const uint8_t server_public[PQB_KEY_LEN], uint8_t out[PQB_KEY_LEN]);
void pqb_mac1_make(const uint8_t key[PQB_KEY_LEN], const void *data, size_t len,
                   uint8_t out[PQB_MAC1_LEN]);

// Which of the keys `mac1` over `data` was made for; NULL: none of them.
const struct pqb_server_key *pqb_server_keys_find(const struct pqb_server_keys *k, const void *data,
                                                  size_t len, const uint8_t mac1[PQB_MAC1_LEN]);

// What stands before the handshake in its prologue, by which both sides agree on it: a label, the
// clear header of INIT or RESUME, and the ticket if there is one.
#define PQB_PROLOGUE_MAX (8 + PQB_LOGIN_HEADER_LEN + PQB_TICKET_LEN)
size_t pqb_prologue_make(const uint8_t *hello, const uint8_t *ticket,
                         uint8_t out[PQB_PROLOGUE_MAX]);
