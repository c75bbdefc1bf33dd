// Files with words on lines: what the token file and the revocation file have in common. Internal
// to gateway/config, but for reading a file.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/defs.h"
#include "gateway/config/config.h"

#define PQB_WORDS_USER_MAX   64 // as on the wire; longer names could never log in
#define PQB_WORDS_DEVICE_MAX 32

struct pqb_word {
    const char *text; // into the owner's copy of the file
    size_t len;
};

int pqb_word_compare(const struct pqb_word *a, const struct pqb_word *b);
bool pqb_word_is(const struct pqb_word *word, const char *text);

// The next word of a line; spaces, tabs and carriage returns separate. false: there is none.
bool pqb_word_next(const char **at, const char *end, struct pqb_word *out);

// "name:line: what", and PQB_ERR_INVALID.
int pqb_words_wrong(struct pqb_config_error *error, const char *name, int line, const char *what);

typedef int (*pqb_words_line_fn)(void *ctx, const char *at, const char *end, int line);

// Calls `fn` for each line until one is not PQB_OK, and returns what it said.
PQB_MUST_USE int pqb_words_each_line(const char *text, size_t len, pqb_words_line_fn fn, void *ctx);

// The whole file, on the heap. `option` is the one that names it, for messages. Not a regular file,
// larger than `max` or unreadable: an error with its message.
PQB_MUST_USE int pqb_words_read(const char *option, const char *path, size_t max, char **text,
                                size_t *len, struct pqb_config_error *error);
