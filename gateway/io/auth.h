// Who is let in: an immutable picture of what the configuration and the files that it names say.
// Made by the main thread at start and at each reload, given to the shards, destroyed when no shard
// has it any more; any thread may ask.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/defs.h"
#include "common/base/time.h"
#include "gateway/config/config.h"
#include "gateway/core/credentials.h"

struct pqb_auth;

// Reads the token file, the issuers' keys and the revocation file. Errors as in pqb_config_load.
PQB_MUST_USE int pqb_auth_load(struct pqb_auth **out, const struct pqb_config *config,
                               struct pqb_config_error *error);
void pqb_auth_destroy(struct pqb_auth *a); // NULL is fine

struct pqb_auth_counts {
    size_t tokens;  // of auth static
    size_t issuers; // of auth token
    size_t revoked; // users, devices and keys
};

struct pqb_auth_counts pqb_auth_count(const struct pqb_auth *a);

// Whether these credentials let a device in now; if so, on what ground. Takes at most as long as
// one signature check an issuer.
bool pqb_auth_may_login(const struct pqb_auth *a, const struct pqb_credentials *c, pqb_wall_ms now,
                        struct pqb_grant *out);

// Whether a device that was once let in on this ground still may be here: not expired, not revoked,
// its issuer still trusted or its static token unchanged. Checks no signature.
bool pqb_auth_may_stay(const struct pqb_auth *a, const struct pqb_text *user,
                       const struct pqb_text *device, const struct pqb_grant *grant,
                       pqb_wall_ms now);
