// Who asks to be let in, and on what ground he was: what the engine hands to its environment, which
// alone knows token files and issuers.
#pragma once

#include <stdint.h>

#include "common/base/time.h"
#include "common/wire/datagram.h"

#define PQB_GRANT_ID_LEN 8

// Borrowed for the call.
struct pqb_credentials {
    struct pqb_text user, device, token;
    // The device's public key (PQB_KEY_LEN bytes), as its handshake tells it; that it has the
    // secret one is proved by the session's first DATA. NULL: plaintext, no key.
    const uint8_t *device_key;
};

// Why a login was let in. Kept by the session and sealed into its ticket, so that the same question
// can be asked again when it resumes, and when tokens, issuers or revocations change.
struct pqb_grant {
    pqb_wall_ms expires_ms;           // UINT64_MAX: never
    uint8_t source[PQB_GRANT_ID_LEN]; // id of the issuer's key, or of the static token; 0: nobody's
    uint8_t key_id[PQB_GRANT_ID_LEN]; // of the device's public key; 0 in plaintext
};
