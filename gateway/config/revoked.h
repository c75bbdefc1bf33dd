// The revocation file: who is no longer let in, whatever his token says. Read-only once loaded; any
// thread may ask.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "gateway/config/config.h"

#define PQB_REVOKED_FILE_MAX ((size_t)16 * 1024 * 1024)
#define PQB_REVOKED_KEY_LEN  32

struct pqb_revoked;

// Lines `user NAME`, `device USER DEVICE` and `key HEX` (a device's public key, 64 digits); #
// begins a comment line. Errors as in pqb_config_load.
PQB_MUST_USE int pqb_revoked_load(struct pqb_revoked **out, const char *path,
                                  struct pqb_config_error *error);
PQB_MUST_USE int pqb_revoked_parse(struct pqb_revoked **out, const char *name, const char *text,
                                   size_t len, struct pqb_config_error *error);
void pqb_revoked_destroy(struct pqb_revoked *r); // NULL is fine

// Whether the user, or this device of his, is revoked by name.
bool pqb_revoked_has(const struct pqb_revoked *r, const char *user, size_t user_len,
                     const char *device, size_t device_len);

size_t pqb_revoked_name_count(const struct pqb_revoked *r); // users and devices
size_t pqb_revoked_key_count(const struct pqb_revoked *r);
const uint8_t *pqb_revoked_key(const struct pqb_revoked *r, size_t index); // in the file's order
