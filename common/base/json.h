// Writes JSON (RFC 8259) into a growing buffer with a bound. The first failure is latched: write
// all you want, ask pqb_json_text once at the end. One owner.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"

struct pqb_json {
    char *text;
    size_t len, capacity, max;
    bool is_failed;   // out of memory, or `max` would be passed
    bool needs_comma; // something stands before in this object or array
};

void pqb_json_init(struct pqb_json *j, size_t max); // allocates nothing yet
void pqb_json_fini(struct pqb_json *j);
void pqb_json_clear(struct pqb_json *j); // keeps the buffer

// The NUL-terminated text so far, or NULL after a failure. Borrowed until the next call.
const char *pqb_json_text(struct pqb_json *j);

// `key` is NULL inside arrays and at the top.
void pqb_json_object_begin(struct pqb_json *j, const char *key);
void pqb_json_object_end(struct pqb_json *j);
void pqb_json_array_begin(struct pqb_json *j, const char *key);
void pqb_json_array_end(struct pqb_json *j);

// Members written into `from` outside of any object, into the object that is open in `j`.
void pqb_json_members(struct pqb_json *j, struct pqb_json *from);

// Bytes that are not UTF-8 become U+FFFD.
void pqb_json_text_n(struct pqb_json *j, const char *key, const char *text, size_t len);
void pqb_json_string(struct pqb_json *j, const char *key, const char *text);
void pqb_json_uint(struct pqb_json *j, const char *key, uint64_t value);
void pqb_json_real(struct pqb_json *j, const char *key, double value, int decimals);
void pqb_json_bool(struct pqb_json *j, const char *key, bool value);
