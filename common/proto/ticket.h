// Tickets: what a gateway would have to remember of a login, sealed under a key of its own and left
// with the client. A ticket and its psk let the next login do with two exchanges instead of five
// (Noise NNpsk0). XChaCha20-Poly1305 with a random nonce; every ticket has the same length, so that
// it does not tell how long the names are.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/time.h"
#include "common/proto/grant.h"
#include "common/proto/secret_rng.h"
#include "common/wire/limits.h"

#define PQB_TICKET_KEYS_MAX 8
#define PQB_TICKET_VALID_MS (UINT64_C(7) * 86400 * 1000)

struct pqb_ticket_key {
    uint8_t id; // tells a ticket's key; not secret
    uint8_t key[PQB_KEY_LEN];
};

// The first one seals, all of them open. Read-only once made; any thread may look.
struct pqb_ticket_keys {
    size_t count;
    struct pqb_ticket_key at[PQB_TICKET_KEYS_MAX];
};

struct pqb_ticket {
    char user[PQB_USER_MAX], device[PQB_DEVICE_MAX];
    uint8_t user_len, device_len;
    uint8_t psk[PQB_KEY_LEN];
    pqb_wall_ms until;      // the ticket's own end
    struct pqb_grant grant; // of the login that it was given to
};

void pqb_ticket_seal(const struct pqb_ticket_keys *keys, const struct pqb_ticket *t,
                     struct pqb_secret_rng *rng, uint8_t out[PQB_TICKET_LEN]);

// false: forged, over, or of a key that is gone.
PQB_MUST_USE bool pqb_ticket_open(const struct pqb_ticket_keys *keys,
                                  const uint8_t ticket[PQB_TICKET_LEN], pqb_wall_ms now,
                                  struct pqb_ticket *out);
