#include "gateway/config/revoked.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/hex.h"
#include "gateway/config/words.h"

struct name {
    struct pqb_word user, device; // device of no length: all of the user's
};

struct key {
    uint8_t bytes[PQB_REVOKED_KEY_LEN];
};

struct pqb_revoked {
    char *text;
    struct name *names; // sorted by user, then device
    struct key *keys;
    size_t name_count, name_capacity, key_count, key_capacity;
};

struct parsing {
    struct pqb_revoked *r;
    const char *name;
    struct pqb_config_error *error;
};

static int compare_names(const void *a, const void *b)
{
    const struct name *left = a, *right = b;
    const int order = pqb_word_compare(&left->user, &right->user);

    return order != 0 ? order : pqb_word_compare(&left->device, &right->device);
}

// Room for one more element in an array that grows by doubling; NULL: no memory.
static void *make_room(void *array, size_t count, size_t *capacity, size_t size)
{
    const size_t wanted = *capacity > 0 ? *capacity * 2 : 64;
    void *grown;

    if (count < *capacity)
        return array;
    grown = reallocarray(array, wanted, size);
    if (grown != NULL)
        *capacity = wanted;
    return grown;
}

static int no_memory(const struct parsing *p, int line)
{
    (void)pqb_words_wrong(p->error, p->name, line, "out of memory");
    return PQB_ERR_NOMEM;
}

static int add_name(const struct parsing *p, const struct name *name, int line)
{
    struct pqb_revoked *r = p->r;
    struct name *names;

    if (name->user.len > PQB_WORDS_USER_MAX || name->device.len > PQB_WORDS_DEVICE_MAX)
        return pqb_words_wrong(p->error, p->name, line,
                               "a user has at most 64 bytes and a device 32");
    names = make_room(r->names, r->name_count, &r->name_capacity, sizeof(*names));
    if (names == NULL)
        return no_memory(p, line);
    r->names = names;
    r->names[r->name_count++] = *name;
    return PQB_OK;
}

static int add_key(const struct parsing *p, const struct pqb_word *word, int line)
{
    struct pqb_revoked *r = p->r;
    struct key *keys, key;

    if (pqb_hex_decode(word->text, word->len, key.bytes, sizeof(key.bytes)) != PQB_OK)
        return pqb_words_wrong(p->error, p->name, line,
                               "a key is the device's public key in 64 hexadecimal digits");
    keys = make_room(r->keys, r->key_count, &r->key_capacity, sizeof(*keys));
    if (keys == NULL)
        return no_memory(p, line);
    r->keys = keys;
    r->keys[r->key_count++] = key;
    return PQB_OK;
}

static int parse_line(void *ctx, const char *at, const char *end, int line)
{
    const struct parsing *p = ctx;
    struct pqb_word words[4] = {{NULL, 0}};
    size_t count = 0;

    while (count < PQB_ARRAY_LEN(words) && pqb_word_next(&at, end, &words[count]))
        count++;
    if (count == 0 || words[0].text[0] == '#')
        return PQB_OK;
    if (count == 2 && pqb_word_is(&words[0], "user"))
        return add_name(p, &(struct name){.user = words[1]}, line);
    if (count == 3 && pqb_word_is(&words[0], "device"))
        return add_name(p, &(struct name){.user = words[1], .device = words[2]}, line);
    if (count == 2 && pqb_word_is(&words[0], "key"))
        return add_key(p, &words[1], line);
    return pqb_words_wrong(p->error, p->name, line,
                           "a line is 'user NAME', 'device USER DEVICE' or 'key HEX'");
}

// `text` is owned from here on.
static int parse_owned(struct pqb_revoked **out, const char *name, char *text, size_t len,
                       struct pqb_config_error *error)
{
    struct parsing p = {.r = calloc(1, sizeof(*p.r)), .name = name, .error = error};
    int err;

    if (p.r == NULL) {
        free(text);
        return no_memory(&p, 0);
    }
    p.r->text = text;
    err = pqb_words_each_line(text, len, parse_line, &p);
    if (err != PQB_OK) {
        pqb_revoked_destroy(p.r);
        return err;
    }
    if (p.r->name_count > 0)
        qsort(p.r->names, p.r->name_count, sizeof(*p.r->names), compare_names);
    *out = p.r;
    return PQB_OK;
}

int pqb_revoked_parse(struct pqb_revoked **out, const char *name, const char *text, size_t len,
                      struct pqb_config_error *error)
{
    char *copy = malloc(len + 1);

    if (copy == NULL) {
        (void)pqb_words_wrong(error, name, 0, "out of memory");
        return PQB_ERR_NOMEM;
    }
    if (len > 0)
        memcpy(copy, text, len);
    return parse_owned(out, name, copy, len, error);
}

int pqb_revoked_load(struct pqb_revoked **out, const char *path, struct pqb_config_error *error)
{
    char *text;
    size_t len;
    const int err = pqb_words_read("revoked", path, PQB_REVOKED_FILE_MAX, &text, &len, error);

    return err == PQB_OK ? parse_owned(out, path, text, len, error) : err;
}

void pqb_revoked_destroy(struct pqb_revoked *r)
{
    if (r == NULL)
        return;
    free(r->names);
    free(r->keys);
    free(r->text);
    free(r);
}

static bool has_name(const struct pqb_revoked *r, const struct name *wanted)
{
    return r->name_count > 0 &&
           bsearch(wanted, r->names, r->name_count, sizeof(*r->names), compare_names) != NULL;
}

bool pqb_revoked_has(const struct pqb_revoked *r, const char *user, size_t user_len,
                     const char *device, size_t device_len)
{
    const struct name all = {.user = {user, user_len}};
    const struct name one = {.user = {user, user_len}, .device = {device, device_len}};

    return has_name(r, &all) || has_name(r, &one);
}

size_t pqb_revoked_name_count(const struct pqb_revoked *r)
{
    return r->name_count;
}

size_t pqb_revoked_key_count(const struct pqb_revoked *r)
{
    return r->key_count;
}

const uint8_t *pqb_revoked_key(const struct pqb_revoked *r, size_t index)
{
    PQB_ASSERT(index < r->key_count);
    return r->keys[index].bytes;
}
