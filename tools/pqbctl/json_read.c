#include "tools/pqbctl/json_read.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 8

struct reader {
    char *at;
    struct ctl_json *root;
    struct {
        struct ctl_json *container;
        struct ctl_json **link; // where its next child goes
    } open[DEPTH_MAX];          // containers around r->at, outermost first
    unsigned depth;
};

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

// A number or a word. It moves over the byte before it, which has been read, so that it can end in
// NUL without overwriting what follows.
static bool parse_other(struct reader *r, struct ctl_json *out)
{
    const size_t len = strcspn(r->at, ",]} \t\r\n");

    if (len == 0)
        return false;
    memmove(r->at - 1, r->at, len);
    r->at[len - 1] = '\0';
    out->type = CTL_JSON_OTHER;
    out->text = r->at - 1;
    r->at += len;
    return true;
}

// `r->at` stands at the bracket that opens `container`.
static bool enter(struct reader *r, struct ctl_json *container)
{
    if (r->depth == DEPTH_MAX || (*r->at != '{' && *r->at != '['))
        return false;
    container->type = *r->at == '{' ? CTL_JSON_OBJECT : CTL_JSON_ARRAY;
    r->open[r->depth].container = container;
    r->open[r->depth].link = &container->first;
    r->depth++;
    r->at++;
    return true;
}

static bool parse_value(struct reader *r, struct ctl_json *out)
{
    skip_space(r);
    if (*r->at == '{' || *r->at == '[')
        return enter(r, out);
    if (*r->at != '"')
        return parse_other(r, out);
    out->type = CTL_JSON_STRING;
    return parse_string(r, &out->text);
}

// The next child of the innermost open container, with its key.
static bool parse_child(struct reader *r)
{
    struct ctl_json *container = r->open[r->depth - 1].container;
    struct ctl_json *child = calloc(1, sizeof(*child));

    if (child == NULL)
        return false;
    child->made_next = r->root->made_next;
    r->root->made_next = child;
    *r->open[r->depth - 1].link = child;
    r->open[r->depth - 1].link = &child->next;
    if (container->type == CTL_JSON_OBJECT && (!parse_string(r, &child->key) || !skip(r, ':')))
        return false;
    return parse_value(r, child);
}

static bool parse_tree(struct reader *r)
{
    skip_space(r);
    if (!enter(r, r->root))
        return false;
    while (r->depth > 0) {
        const struct ctl_json *container = r->open[r->depth - 1].container;

        if (skip(r, container->type == CTL_JSON_OBJECT ? '}' : ']'))
            r->depth--;
        else if ((container->first != NULL && !skip(r, ',')) || !parse_child(r))
            return false;
    }
    skip_space(r);
    return *r->at == '\0';
}

struct ctl_json *ctl_json_parse(char *text)
{
    struct reader r = {.root = calloc(1, sizeof(*r.root))};

    if (r.root == NULL)
        return NULL;
    r.at = text;
    if (parse_tree(&r))
        return r.root;
    ctl_json_destroy(r.root);
    return NULL;
}

void ctl_json_destroy(struct ctl_json *value)
{
    while (value != NULL) {
        struct ctl_json *next = value->made_next;

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
