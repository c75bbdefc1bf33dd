#include "common/base/json_scan.h"

#include <stdint.h>
#include <string.h>

#include "common/base/hex.h"

void pqb_json_scan_init(struct pqb_json_scan *s, const char *text, size_t len)
{
    *s = (struct pqb_json_scan){.at = text, .end = text + len};
}

static bool is_next(const struct pqb_json_scan *s, char c)
{
    return s->at < s->end && *s->at == c;
}

static void skip_space(struct pqb_json_scan *s)
{
    while (is_next(s, ' ') || is_next(s, '\t') || is_next(s, '\r') || is_next(s, '\n'))
        s->at++;
}

bool pqb_json_scan_take(struct pqb_json_scan *s, char c)
{
    skip_space(s);
    if (!is_next(s, c))
        return false;
    s->at++;
    return true;
}

bool pqb_json_scan_is_at_end(struct pqb_json_scan *s)
{
    skip_space(s);
    return s->at == s->end;
}

// ------------------------------------------------------------------------------------- strings

// The four digits behind \u.
static bool take_unit(struct pqb_json_scan *s, uint32_t *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = s->at < s->end ? pqb_hex_digit(*s->at) : -1;

        if (digit < 0)
            return false;
        *unit = *unit << 4 | (uint32_t)digit;
        s->at++;
    }
    return true;
}

// What follows \u: a code point, or the two halves of one.
static bool take_code(struct pqb_json_scan *s, uint32_t *code)
{
    uint32_t low;

    if (!take_unit(s, code))
        return false;
    if (*code < 0xd800 || *code >= 0xe000)
        return true;
    if (*code >= 0xdc00 || s->end - s->at < 2 || s->at[0] != '\\' || s->at[1] != 'u')
        return false;
    s->at += 2;
    if (!take_unit(s, &low) || low < 0xdc00 || low >= 0xe000)
        return false;
    *code = 0x10000 + ((*code - 0xd800) << 10 | (low - 0xdc00));
    return true;
}

static size_t encode_utf8(uint32_t code, char out[4])
{
    const size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t marks[] = {0, 0, 0xc0, 0xe0, 0xf0};

    for (size_t i = len; i-- > 1; code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(marks[len] | code);
    return len;
}

// One character as it is meant, behind a backslash.
static bool take_escape(struct pqb_json_scan *s, char out[4], size_t *len)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *found;
    uint32_t code;

    if (s->at == s->end)
        return false;
    if (*s->at == 'u') {
        s->at++;
        if (!take_code(s, &code))
            return false;
        *len = encode_utf8(code, out);
        return true;
    }
    found = memchr(from, *s->at, sizeof(from) - 1);
    if (found == NULL)
        return false;
    s->at++;
    out[0] = to[found - from];
    *len = 1;
    return true;
}

// A string into `out`; without `out` only over it.
static bool take_string(struct pqb_json_scan *s, char *out, size_t size, size_t *len)
{
    if (!pqb_json_scan_take(s, '"'))
        return false;
    *len = 0;
    while (!is_next(s, '"')) {
        char piece[4];
        size_t piece_len = 1;

        if (s->at == s->end || (unsigned char)*s->at < 0x20)
            return false;
        piece[0] = *s->at++;
        if (piece[0] == '\\' && !take_escape(s, piece, &piece_len))
            return false;
        if (out != NULL) {
            if (piece_len > size - *len)
                return false;
            memcpy(out + *len, piece, piece_len);
            *len += piece_len;
        }
    }
    s->at++;
    return true;
}

bool pqb_json_scan_string(struct pqb_json_scan *s, char *out, size_t size, size_t *len)
{
    return take_string(s, out, size, len);
}

// ------------------------------------------------------------------------------ what is skipped

static bool skip_string(struct pqb_json_scan *s)
{
    size_t len;

    return take_string(s, NULL, 0, &len);
}

static bool skip_digits(struct pqb_json_scan *s)
{
    const char *begin = s->at;

    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return s->at > begin;
}

static bool skip_number(struct pqb_json_scan *s)
{
    if (is_next(s, '-'))
        s->at++;
    if (is_next(s, '0'))
        s->at++;
    else if (!skip_digits(s))
        return false;
    if (is_next(s, '.')) {
        s->at++;
        if (!skip_digits(s))
            return false;
    }
    if (is_next(s, 'e') || is_next(s, 'E')) {
        s->at++;
        if (is_next(s, '+') || is_next(s, '-'))
            s->at++;
        return skip_digits(s);
    }
    return true;
}

static bool skip_scalar(struct pqb_json_scan *s)
{
    static const char *const words[] = {"true", "false", "null"};

    skip_space(s);
    if (is_next(s, '"'))
        return skip_string(s);
    for (size_t i = 0; i < PQB_ARRAY_LEN(words); i++) {
        const size_t len = strlen(words[i]);

        if ((size_t)(s->end - s->at) >= len && memcmp(s->at, words[i], len) == 0) {
            s->at += len;
            return true;
        }
    }
    return skip_number(s);
}

struct skipping {
    struct pqb_json_scan *s;
    char closers[PQB_JSON_SCAN_DEPTH_MAX]; // of the containers around, outermost first
    unsigned depth;
};

// At the place of a member: its key, if it stands in an object.
static bool skip_key(struct skipping *k)
{
    return k->closers[k->depth - 1] == ']' || (skip_string(k->s) && pqb_json_scan_take(k->s, ':'));
}

// Opens a container, or steps over a scalar or an empty container. *has_ended: the value is over.
static bool begin_value(struct skipping *k, bool *has_ended)
{
    const bool is_object = pqb_json_scan_take(k->s, '{');

    *has_ended = true;
    if (!is_object && !pqb_json_scan_take(k->s, '['))
        return skip_scalar(k->s);
    if (pqb_json_scan_take(k->s, is_object ? '}' : ']'))
        return true;
    if (k->depth == PQB_JSON_SCAN_DEPTH_MAX)
        return false;
    k->closers[k->depth++] = is_object ? '}' : ']';
    *has_ended = false;
    return skip_key(k);
}

// Behind a value in a container: closes what ends here, up to the place of the next value.
static bool end_value(struct skipping *k)
{
    while (k->depth > 0) {
        if (pqb_json_scan_take(k->s, ','))
            return skip_key(k);
        if (!pqb_json_scan_take(k->s, k->closers[k->depth - 1]))
            return false;
        k->depth--;
    }
    return true;
}

bool pqb_json_scan_skip(struct pqb_json_scan *s)
{
    struct skipping k = {.s = s};

    do {
        bool has_ended;

        if (!begin_value(&k, &has_ended) || (has_ended && !end_value(&k)))
            return false;
    } while (k.depth > 0);
    return true;
}
