#include "tools/pqbctl/json_read.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 8

struct reader {
    char *at;
    unsigned depth;
};

static bool parse_value(struct reader *r, struct ctl_json *out);

static void skip_space(struct reader *r)
{
    r->at += strspn(r->at, " \t\r\n");
}

static bool skip(struct reader *r, char c)
{
    skip_space(r);
    if (*r->at != c)
        return false;
    r->at++;
    return true;
}

// Writes the UTF-8 of `code` (a surrogate half becomes U+FFFD) at `out`; returns behind it.
static char *put_utf8(char *out, unsigned long code)
{
    if (code >= 0xd800 && code < 0xe000)
        code = 0xfffd;
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    }
    return out;
}

// Undoes one escape at r->at (behind the backslash). The result is never longer than the escape.
static char *unescape(struct reader *r, char *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *found = *r->at != '\0' ? strchr(from, *r->at) : NULL;
    char digits[5] = "";
    char *end;

    if (found != NULL) {
        r->at++;
        *out++ = to[found - from];
        return out;
    }
    if (*r->at != 'u')
        return NULL;
    strncpy(digits, r->at + 1, 4);

    const unsigned long code = strtoul(digits, &end, 16);

    if (end != digits + 4)
        return NULL;
    r->at += 5;
    return put_utf8(out, code);
}

static bool parse_string(struct reader *r, const char **text)
{
    char *out;

    if (!skip(r, '"'))
        return false;
    *text = out = r->at;
    while (*r->at != '"') {
        if (*r->at == '\0')
            return false;
        if (*r->at != '\\') {
            *out++ = *r->at++;
            continue;
        }
        r->at++;
        out = unescape(r, out);
        if (out == NULL)
            return false;
    }
    r->at++;
    *out = '\0';
    return true;
}

static bool parse_children(struct reader *r, struct ctl_json *parent, char close)
{
    struct ctl_json **link = &parent->first;

    if (skip(r, close))
        return true;
    do {
        struct ctl_json *child = calloc(1, sizeof(*child));

        if (child == NULL)
            return false;
        *link = child;
        link = &child->next;
        if (close == '}' && (!parse_string(r, &child->key) || !skip(r, ':')))
            return false;
        if (!parse_value(r, child))
            return false;
    } while (skip(r, ','));
    return skip(r, close);
}

// A number or a word: its end is cut off when the next character has been read.
static bool parse_other(struct reader *r, struct ctl_json *out)
{
    const size_t len = strcspn(r->at, ",]} \t\r\n");
    char *copy = len > 0 && len < 64 ? strndup(r->at, len) : NULL;

    out->type = CTL_JSON_OTHER;
    out->text = copy;
    r->at += len;
    return copy != NULL;
}

static bool parse_value(struct reader *r, struct ctl_json *out)
{
    bool is_ok = false;

    skip_space(r);
    if (++r->depth > DEPTH_MAX)
        return false;
    if (*r->at == '"') {
        out->type = CTL_JSON_STRING;
        is_ok = parse_string(r, &out->text);
    } else if (*r->at == '{' || *r->at == '[') {
        const char close = *r->at == '{' ? '}' : ']';

        out->type = close == '}' ? CTL_JSON_OBJECT : CTL_JSON_ARRAY;
        r->at++;
        is_ok = parse_children(r, out, close);
    } else {
        is_ok = parse_other(r, out);
    }
    r->depth--;
    return is_ok;
}

struct ctl_json *ctl_json_parse(char *text)
{
    struct reader r = {.at = text};
    struct ctl_json *root = calloc(1, sizeof(*root));

    if (root == NULL)
        return NULL;
    if (parse_value(&r, root)) {
        skip_space(&r);
        if (*r.at == '\0')
            return root;
    }
    ctl_json_destroy(root);
    return NULL;
}

void ctl_json_destroy(struct ctl_json *value)
{
    // Depth is bounded by the parser, so the recursion is; siblings are walked.
    while (value != NULL) {
        struct ctl_json *next = value->next;

        ctl_json_destroy(value->first);
        if (value->type == CTL_JSON_OTHER)
            free((void *)(uintptr_t)value->text);
        free(value);
        value = next;
    }
}

const struct ctl_json *ctl_json_get(const struct ctl_json *object, const char *key)
{
    for (const struct ctl_json *it = object->first; it != NULL; it = it->next) {
        if (it->key != NULL && strcmp(it->key, key) == 0)
            return it;
    }
    return NULL;
}

const char *ctl_json_text(const struct ctl_json *object, const char *key)
{
    const struct ctl_json *value = ctl_json_get(object, key);

    return value != NULL && value->text != NULL ? value->text : "";
}
