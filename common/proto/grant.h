// Why a login was let in. Kept by the session and sealed into its ticket, so that the same question
// can be asked again when it resumes, and when tokens, issuers or revocations change.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/time.h"
#include "common/wire/cursor.h"

#define PQB_ID_LEN    8
#define PQB_GRANT_LEN (8 + 2 * PQB_ID_LEN) // written

struct pqb_grant {
    pqb_wall_ms expires_ms;     // UINT64_MAX: never
    uint8_t source[PQB_ID_LEN]; // id of the issuer's key, or of the static token; 0: nobody's
    uint8_t key_id[PQB_ID_LEN]; // of the device's public key; 0 in plaintext
};

void pqb_grant_write(struct pqb_writer_cursor *w, const struct pqb_grant *g);
void pqb_grant_read(struct pqb_reader_cursor *c, struct pqb_grant *g); // unchanged in part when bad

// The short name by which grants tell keys and tokens: the first bytes of their BLAKE2b-256.
void pqb_id_make(const void *data, size_t len, uint8_t out[PQB_ID_LEN]);
