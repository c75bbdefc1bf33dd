// Reads JSON (RFC 8259) from the front to the end without memory of its own and without recursion:
// for texts of a known shape on paths where nothing is allocated. The text is borrowed and need not
// end in NUL. Strict: what is not JSON is refused.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/defs.h"

#define PQB_JSON_SCAN_DEPTH_MAX 8 // arrays and objects inside each other, in what is skipped

struct pqb_json_scan {
    const char *at, *end;
};

void pqb_json_scan_init(struct pqb_json_scan *s, const char *text, size_t len);

// Steps over white space and then over `c`. false: something else comes next.
bool pqb_json_scan_take(struct pqb_json_scan *s, char c);

// A string, its escapes undone, into `out` (`size` bytes, no NUL is added). false: no string, a
// wrong escape, a lone surrogate, a control character, or it does not fit. The bytes of the text
// are not checked to be UTF-8.
PQB_MUST_USE bool pqb_json_scan_string(struct pqb_json_scan *s, char *out, size_t size,
                                       size_t *len);

// Steps over one value of any type.
PQB_MUST_USE bool pqb_json_scan_skip(struct pqb_json_scan *s);

// Nothing but white space is left.
bool pqb_json_scan_is_at_end(struct pqb_json_scan *s);
