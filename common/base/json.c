#include "common/base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 256

void pqb_json_init(struct pqb_json *j, size_t max)
{
    *j = (struct pqb_json){.max = max};
}

void pqb_json_fini(struct pqb_json *j)
{
    free(j->text);
    *j = (struct pqb_json){.max = j->max};
}

void pqb_json_clear(struct pqb_json *j)
{
    j->len = 0;
    j->is_failed = false;
    j->needs_comma = false;
}

// Makes room for `more` bytes and a NUL behind them.
static bool reserve(struct pqb_json *j, size_t more)
{
    size_t capacity = j->capacity > 0 ? j->capacity : CAPACITY_MIN;
    char *grown;

    if (j->is_failed || more >= j->max || j->len >= j->max - more) {
        j->is_failed = true;
        return false;
    }
    if (j->len + more < j->capacity)
        return true;
    while (capacity <= j->len + more)
        capacity *= 2;
    grown = realloc(j->text, capacity);
    if (grown == NULL) {
        j->is_failed = true;
        return false;
    }
    j->text = grown;
    j->capacity = capacity;
    return true;
}

static void append(struct pqb_json *j, const char *text, size_t len)
{
    if (!reserve(j, len))
        return;
    memcpy(j->text + j->len, text, len);
    j->len += len;
}

const char *pqb_json_text(struct pqb_json *j)
{
    if (!reserve(j, 1))
        return NULL;
    j->text[j->len] = '\0';
    return j->text;
}

// Length of the UTF-8 sequence that begins at `at`, or 0 when it is not one (RFC 3629: no overlong
// forms, no surrogates, nothing above U+10FFFF).
static size_t utf8_len(const unsigned char *at, size_t left)
{
    static const struct {
        unsigned char first_min, first_max, second_min, second_max;
        size_t len;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    if (at[0] < 0x80)
        return 1;
    for (size_t i = 0; i < PQB_ARRAY_LEN(forms); i++) {
        if (at[0] < forms[i].first_min || at[0] > forms[i].first_max)
            continue;
        if (left < forms[i].len || at[1] < forms[i].second_min || at[1] > forms[i].second_max)
            return 0;
        for (size_t k = 2; k < forms[i].len; k++) {
            if ((at[k] & 0xc0) != 0x80)
                return 0;
        }
        return forms[i].len;
    }
    return 0;
}

static void append_escaped(struct pqb_json *j, unsigned char c)
{
    char escape[8];

    (void)snprintf(escape, sizeof(escape), c == '"' || c == '\\' ? "\\%c" : "\\u%04x", c);
    append(j, escape, strlen(escape));
}

static void append_quoted(struct pqb_json *j, const char *text, size_t len)
{
    append(j, "\"", 1);
    for (size_t i = 0; i < len;) {
        const unsigned char *at = (const unsigned char *)text + i;
        const size_t step = utf8_len(at, len - i);

        if (step == 0)
            append(j, "\\ufffd", 6);
        else if (step == 1 && (*at < 0x20 || *at == '"' || *at == '\\' || *at == 0x7f))
            append_escaped(j, *at);
        else
            append(j, (const char *)at, step);
        i += step > 0 ? step : 1;
    }
    append(j, "\"", 1);
}

// What stands before a value: a comma after a neighbour, and its key.
static void begin_value(struct pqb_json *j, const char *key)
{
    if (j->needs_comma)
        append(j, ",", 1);
    j->needs_comma = true;
    if (key == NULL)
        return;
    append_quoted(j, key, strlen(key));
    append(j, ":", 1);
}

void pqb_json_object_begin(struct pqb_json *j, const char *key)
{
    begin_value(j, key);
    append(j, "{", 1);
    j->needs_comma = false;
}

void pqb_json_object_end(struct pqb_json *j)
{
    append(j, "}", 1);
    j->needs_comma = true;
}

void pqb_json_array_begin(struct pqb_json *j, const char *key)
{
    begin_value(j, key);
    append(j, "[", 1);
    j->needs_comma = false;
}

void pqb_json_array_end(struct pqb_json *j)
{
    append(j, "]", 1);
    j->needs_comma = true;
}

void pqb_json_members(struct pqb_json *j, struct pqb_json *from)
{
    const char *text = pqb_json_text(from);

    if (text == NULL) {
        j->is_failed = true;
    } else if (from->len > 0) {
        begin_value(j, NULL);
        append(j, text, from->len);
    }
}

void pqb_json_text_n(struct pqb_json *j, const char *key, const char *text, size_t len)
{
    begin_value(j, key);
    append_quoted(j, text, len);
}

void pqb_json_string(struct pqb_json *j, const char *key, const char *text)
{
    pqb_json_text_n(j, key, text, strlen(text));
}

void pqb_json_uint(struct pqb_json *j, const char *key, uint64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    begin_value(j, key);
    append(j, text, strlen(text));
}

void pqb_json_real(struct pqb_json *j, const char *key, double value, int decimals)
{
    char text[64];

    // JSON has no word for infinity, and a printed 1e300 would not fit.
    if (!(value > -1e18 && value < 1e18))
        value = 0;
    (void)snprintf(text, sizeof(text), "%.*f", decimals, value);
    begin_value(j, key);
    append(j, text, strlen(text));
}

void pqb_json_bool(struct pqb_json *j, const char *key, bool value)
{
    begin_value(j, key);
    append(j, value ? "true" : "false", value ? 4 : 5);
}
