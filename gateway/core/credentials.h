// Who asks to be let in: what the engine hands to its environment, which alone knows token files
// and issuers. On what ground he was is a grant.
#pragma once

#include <stdint.h>

#include "common/proto/grant.h"
#include "common/wire/datagram.h"

// Borrowed for the call.
struct pqb_credentials {
    struct pqb_text user, device, token;
    // The device's public key (PQB_KEY_LEN bytes), as its handshake tells it; that it has the
    // secret one is proved by the session's first DATA. NULL: plaintext, no key.
    const uint8_t *device_key;
};
