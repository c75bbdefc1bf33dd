// A small JSON reader for the gateway's answers: parses in place into a tree, for printing.
// Start-up code of a tool: the text is trusted to be the gateway's, but nothing in it can make this
// overrun.
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum ctl_json_type {
    CTL_JSON_OTHER, // number, true, false, null: `text` as written
    CTL_JSON_STRING,
    CTL_JSON_ARRAY,
    CTL_JSON_OBJECT,
};

struct ctl_json {
    enum ctl_json_type type;
    const char *key;               // inside objects; else NULL
    const char *text;              // strings unescaped
    struct ctl_json *first, *next; // children; sibling
    struct ctl_json *made_next;    // every value of a tree hangs on its root, for freeing
};

// Parses an object or an array in `text`, which it changes and keeps pointing into. NULL: not JSON,
// deeper than 8, or no memory.
struct ctl_json *ctl_json_parse(char *text);
void ctl_json_destroy(struct ctl_json *value);

const struct ctl_json *ctl_json_get(const struct ctl_json *object, const char *key); // or NULL
const char *ctl_json_text(const struct ctl_json *object, const char *key);           // or ""
