// The gateway's long-term secrets as files of its data directory, mode 0600:
//
//   server.key    one secret X25519 key a line, as 64 hexadecimal digits; the first is the present
//                 one, a second is still answered to while clients change over
//   ticket.keys   `id made_at key` a line: two digits, ms since 1970, 64 digits; the first seals
//
// Both are made when missing. Start-up code, and once a day the main thread's; alone, so that
// pqbctl reads them without the gateway's libraries.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/time.h"
#include "common/proto/secret_rng.h"
#include "common/proto/server_keys.h"

#define PQB_SERVER_KEY_FILE  "server.key"
#define PQB_TICKET_KEYS_FILE "ticket.keys"

#define PQB_TICKET_KEY_ROTATE_MS (UINT64_C(86400) * 1000) // then a new one seals
#define PQB_KEY_FILES_ERROR_MAX  512

// Loads both, makes what is missing, and puts a new ticket key in front if it is time (if it cannot
// be written those before go on, as pqb_key_files_ticket_key_made then tells). On success
// *out is a whole set in locked memory, to be freed by pqb_secret_free; *is_new (may be NULL) tells
// that the server key was made. On failure `error` says what is wrong and what to do.
PQB_MUST_USE int pqb_key_files_load(struct pqb_server_keys **out, const char *dir,
                                    struct pqb_secret_rng *rng, pqb_wall_ms now, bool *is_new,
                                    char error[PQB_KEY_FILES_ERROR_MAX]);

// When the newest ticket key of `dir` was made; 0: not known.
pqb_wall_ms pqb_key_files_ticket_key_made(const char *dir);

// The public keys of server.key, the present one first. Makes nothing.
PQB_MUST_USE int pqb_key_files_public(const char *dir,
                                      uint8_t out[PQB_SERVER_KEYS_MAX][PQB_KEY_LEN], size_t *count,
                                      char error[PQB_KEY_FILES_ERROR_MAX]);

// Puts a new server key in front and keeps the one before; for the next start of the gateway.
PQB_MUST_USE int pqb_key_files_rotate_server(const char *dir, struct pqb_secret_rng *rng,
                                             char error[PQB_KEY_FILES_ERROR_MAX]);
