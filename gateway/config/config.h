// The gateway's settings: one table (config.def) gives field, key, type, range, default, help and
// whether a reload may change it. Built once at start (and once a reload), read-only from then on;
// any thread may read.
//
// Precedence: command line over file over default. Of what may be given several times the first
// place that names one replaces the list of the lower ones.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/addr.h"
#include "common/base/defs.h"

#define PQB_CONFIG_TEXT_MAX   256 // bytes of a text value with its NUL
#define PQB_CONFIG_LISTEN_MAX 8
#define PQB_CONFIG_FILES_MAX  8
#define PQB_CONFIG_FILE_MAX   (256 * 1024)
#define PQB_CONFIG_ERROR_MAX  512

// Values of the CHOICE options, in the order of their choices in config.def.
enum pqb_config_durability {
    PQB_CONFIG_COMMIT = 0,
    PQB_CONFIG_ASYNC = 1,
};
enum pqb_config_security {
    PQB_CONFIG_PLAINTEXT = 0,
    PQB_CONFIG_NOISE = 1,
};
enum pqb_config_auth {
    PQB_CONFIG_AUTH_STATIC = 0,
    PQB_CONFIG_AUTH_ANY = 1,
    PQB_CONFIG_AUTH_TOKEN = 2,
};
enum pqb_config_recipients {
    PQB_CONFIG_RECIPIENTS_ACCEPT = 0,
    PQB_CONFIG_RECIPIENTS_KNOWN = 1,
};

struct pqb_config_listen {
    struct pqb_addr addrs[PQB_CONFIG_LISTEN_MAX];
    size_t count;
};

struct pqb_config_files {
    char paths[PQB_CONFIG_FILES_MAX][PQB_CONFIG_TEXT_MAX];
    size_t count;
};

struct pqb_config {
#define PQB_CONFIG_FIELD_TEXT(field)     char field[PQB_CONFIG_TEXT_MAX];
#define PQB_CONFIG_FIELD_UINT(field)     uint64_t field;
#define PQB_CONFIG_FIELD_SIZE(field)     uint64_t field;
#define PQB_CONFIG_FIELD_DURATION(field) uint64_t field;
#define PQB_CONFIG_FIELD_BOOL(field)     uint64_t field;
#define PQB_CONFIG_FIELD_CHOICE(field)   uint64_t field;
#define PQB_CONFIG_FIELD_LISTEN(field)   struct pqb_config_listen field;
#define PQB_CONFIG_FIELD_FILES(field)    struct pqb_config_files field;
#define PQB_OPTION(field, name, type, choices, min, max, def, reload, help) \
    PQB_CONFIG_FIELD_##type(field)
#include "gateway/config/config.def"
#undef PQB_OPTION
};

struct pqb_config_error {
    char text[PQB_CONFIG_ERROR_MAX]; // one line that says what is wrong and what to do
};

// What the command line asks for besides serving.
enum pqb_config_action {
    PQB_CONFIG_SERVE = 0,
    PQB_CONFIG_HELP,
    PQB_CONFIG_VERSION,
    PQB_CONFIG_CHECK,
    PQB_CONFIG_PRINT,
};

void pqb_config_default(struct pqb_config *config);

// Applies the text of a configuration file. `name` is for messages. PQB_OK, or PQB_ERR_INVALID with
// *error filled; `config` is then half changed and good for nothing.
PQB_MUST_USE int pqb_config_parse(struct pqb_config *config, const char *name, const char *text,
                                  size_t len, struct pqb_config_error *error);

// Default, then the file of --config, then the command line, then what is derived (paths in the
// data directory, number of shards), then the rules between options. Errors as above; a file that
// cannot be read is PQB_ERR_NOT_FOUND or PQB_ERR_IO. Rules between options are not checked for
// HELP and VERSION.
PQB_MUST_USE int pqb_config_load(struct pqb_config *config, int argc, char *const *argv,
                                 enum pqb_config_action *action, struct pqb_config_error *error);

// The rules between options: what is refused off loopback, what needs what.
PQB_MUST_USE int pqb_config_check(const struct pqb_config *config, struct pqb_config_error *error);

void pqb_config_help(FILE *out);
void pqb_config_print(const struct pqb_config *config, FILE *out); // a file that parses back

typedef void (*pqb_config_diff_fn)(void *ctx, const char *key, const char *before,
                                   const char *after, bool is_reloadable);

// Calls `fn` (unless NULL) for each option that differs. Returns how many.
size_t pqb_config_diff(const struct pqb_config *before, const struct pqb_config *after,
                       pqb_config_diff_fn fn, void *ctx);

// Copies the options that a reload may change.
void pqb_config_take_reloadable(struct pqb_config *to, const struct pqb_config *from);

// "64MiB" and "10min", and back in the largest unit that divides. Parsers take exactly that: digits
// and a unit, and return false for anything else and for what does not fit.
PQB_MUST_USE bool pqb_config_parse_size(const char *text, uint64_t *bytes);
PQB_MUST_USE bool pqb_config_parse_duration(const char *text, uint64_t *ns);
void pqb_config_format_size(uint64_t bytes, char *text, size_t size);
void pqb_config_format_duration(uint64_t ns, char *text, size_t size);
