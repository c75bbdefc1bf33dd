// The rows of config.def as data, and setting or showing one value. Internal to gateway/config.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/config/config.h"

enum pqb_option_type {
    PQB_OPTION_TEXT,
    PQB_OPTION_UINT,
    PQB_OPTION_SIZE,
    PQB_OPTION_DURATION,
    PQB_OPTION_BOOL,
    PQB_OPTION_CHOICE,
    PQB_OPTION_LISTEN,
    PQB_OPTION_FILES,
};

struct pqb_option {
    const char *name;
    enum pqb_option_type type;
    const char *choices; // "a|b", CHOICE only
    uint64_t min, max;
    const char *def;
    bool is_reloadable;
    const char *help;
    size_t offset; // of the field in struct pqb_config
};

#define PQB_OPTION_VALUE_MAX 2304 // bytes of any value as text

extern const struct pqb_option pqb_options[];
extern const size_t pqb_option_count;

// NULL when there is none of that name.
const struct pqb_option *pqb_option_find(const char *name);

// The name in the table that `name` was most likely meant to be, or NULL.
const char *pqb_option_suggest(const char *name);

// May be given several times (LISTEN, FILES).
bool pqb_option_is_list(const struct pqb_option *option);
void pqb_option_clear(const struct pqb_option *option, struct pqb_config *config); // empties a list

// Parses `value` into its field; a list gets one element more (FILES none of ""). false: `why` says
// what would be right.
PQB_MUST_USE bool pqb_option_set(const struct pqb_option *option, struct pqb_config *config,
                                 const char *value, char *why, size_t why_size);

// The value as its parser takes it; of a list all elements with a line feed between. `text` has
// PQB_OPTION_VALUE_MAX bytes.
void pqb_option_format(const struct pqb_option *option, const struct pqb_config *config,
                       char *text);

// "512B to 4MiB" or "commit | async"; empty for types that have no range.
void pqb_option_range(const struct pqb_option *option, char *text, size_t size);
