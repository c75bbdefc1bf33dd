// The static token file: who may log in. Read-only once loaded; any thread may ask.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/defs.h"
#include "gateway/config/config.h"

#define PQB_TOKENS_FILE_MAX ((size_t)256 * 1024 * 1024)

struct pqb_tokens;

// Lines `user device token`, separated by spaces or tabs; # begins a comment line. An entry given
// twice is refused. Errors as in pqb_config_load.
PQB_MUST_USE int pqb_tokens_load(struct pqb_tokens **out, const char *path,
                                 struct pqb_config_error *error);
PQB_MUST_USE int pqb_tokens_parse(struct pqb_tokens **out, const char *name, const char *text,
                                  size_t len, struct pqb_config_error *error);
void pqb_tokens_destroy(struct pqb_tokens *t); // NULL is fine

size_t pqb_tokens_count(const struct pqb_tokens *t);

// Takes the same time for a wrong token of the right length as for a right one.
bool pqb_tokens_match(const struct pqb_tokens *t, const char *user, size_t user_len,
                      const char *device, size_t device_len, const char *token, size_t token_len);

// The token of a device, borrowed from the table. false: it has none.
bool pqb_tokens_find(const struct pqb_tokens *t, const char *user, size_t user_len,
                     const char *device, size_t device_len, const char **token, size_t *token_len);
