#include "gateway/config/tokens.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "gateway/config/words.h"

#define TOKEN_LEN_MAX 640 // as on the wire

struct entry {
    struct pqb_word user, device, token;
    int line;
};

struct pqb_tokens {
    char *text;
    struct entry *entries; // sorted by user, then device
    size_t count, capacity;
};

static int compare_entries(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    const int order = pqb_word_compare(&left->user, &right->user);

    return order != 0 ? order : pqb_word_compare(&left->device, &right->device);
}

static bool append(struct pqb_tokens *t, const struct entry *entry)
{
    if (t->count == t->capacity) {
        const size_t capacity = t->capacity > 0 ? t->capacity * 2 : 64;
        struct entry *grown = reallocarray(t->entries, capacity, sizeof(*grown));

        if (grown == NULL)
            return false;
        t->entries = grown;
        t->capacity = capacity;
    }
    t->entries[t->count++] = *entry;
    return true;
}

struct parsing {
    struct pqb_tokens *t;
    const char *name;
    struct pqb_config_error *error;
};

static int parse_line(void *ctx, const char *at, const char *end, int line)
{
    const struct parsing *p = ctx;
    struct entry entry = {.line = line};
    struct pqb_word more;

    if (!pqb_word_next(&at, end, &entry.user) || entry.user.text[0] == '#')
        return PQB_OK;
    if (!pqb_word_next(&at, end, &entry.device) || !pqb_word_next(&at, end, &entry.token) ||
        pqb_word_next(&at, end, &more))
        return pqb_words_wrong(p->error, p->name, line,
                               "a line has three words: user device token");
    if (entry.user.len > PQB_WORDS_USER_MAX || entry.device.len > PQB_WORDS_DEVICE_MAX ||
        entry.token.len > TOKEN_LEN_MAX)
        return pqb_words_wrong(p->error, p->name, line,
                               "a user has at most 64 bytes, a device 32 and a token 640");
    if (append(p->t, &entry))
        return PQB_OK;
    (void)pqb_words_wrong(p->error, p->name, line, "out of memory");
    return PQB_ERR_NOMEM;
}

static int check_unique(const struct pqb_tokens *t, const char *name,
                        struct pqb_config_error *error)
{
    for (size_t i = 1; i < t->count; i++) {
        if (compare_entries(&t->entries[i - 1], &t->entries[i]) == 0)
            return pqb_words_wrong(
                error, name, PQB_MAX(t->entries[i - 1].line, t->entries[i].line),
                "this user and device have a token already; keep one of the lines");
    }
    return PQB_OK;
}

// `text` is owned from here on.
static int parse_owned(struct pqb_tokens **out, const char *name, char *text, size_t len,
                       struct pqb_config_error *error)
{
    struct pqb_tokens *t = calloc(1, sizeof(*t));
    struct parsing p = {.t = t, .name = name, .error = error};
    int err;

    if (t == NULL) {
        free(text);
        (void)pqb_words_wrong(error, name, 0, "out of memory");
        return PQB_ERR_NOMEM;
    }
    t->text = text;
    err = pqb_words_each_line(text, len, parse_line, &p);
    if (err == PQB_OK) {
        if (t->count > 0)
            qsort(t->entries, t->count, sizeof(*t->entries), compare_entries);
        err = check_unique(t, name, error);
    }
    if (err == PQB_OK)
        *out = t;
    else
        pqb_tokens_destroy(t);
    return err;
}

int pqb_tokens_parse(struct pqb_tokens **out, const char *name, const char *text, size_t len,
                     struct pqb_config_error *error)
{
    char *copy = malloc(len + 1);

    if (copy == NULL) {
        (void)pqb_words_wrong(error, name, 0, "out of memory");
        return PQB_ERR_NOMEM;
    }
    memcpy(copy, text, len);
    return parse_owned(out, name, copy, len, error);
}

int pqb_tokens_load(struct pqb_tokens **out, const char *path, struct pqb_config_error *error)
{
    char *text;
    size_t len;
    const int err = pqb_words_read("token-file", path, PQB_TOKENS_FILE_MAX, &text, &len, error);

    return err == PQB_OK ? parse_owned(out, path, text, len, error) : err;
}

void pqb_tokens_destroy(struct pqb_tokens *t)
{
    if (t == NULL)
        return;
    free(t->entries);
    free(t->text);
    free(t);
}

size_t pqb_tokens_count(const struct pqb_tokens *t)
{
    return t->count;
}

static const struct entry *find(const struct pqb_tokens *t, const char *user, size_t user_len,
                                const char *device, size_t device_len)
{
    const struct entry wanted = {.user = {user, user_len}, .device = {device, device_len}};

    if (t->count == 0)
        return NULL;
    return bsearch(&wanted, t->entries, t->count, sizeof(*t->entries), compare_entries);
}

bool pqb_tokens_find(const struct pqb_tokens *t, const char *user, size_t user_len,
                     const char *device, size_t device_len, const char **token, size_t *token_len)
{
    const struct entry *found = find(t, user, user_len, device, device_len);

    if (found == NULL)
        return false;
    *token = found->token.text;
    *token_len = found->token.len;
    return true;
}

static bool is_same_secret(const struct pqb_word *a, const struct pqb_word *b)
{
    uint8_t different = a->len != b->len;

    for (size_t i = 0; i < PQB_MIN(a->len, b->len); i++)
        different |= (uint8_t)(a->text[i] ^ b->text[i]);
    return different == 0;
}

bool pqb_tokens_match(const struct pqb_tokens *t, const char *user, size_t user_len,
                      const char *device, size_t device_len, const char *token, size_t token_len)
{
    const struct entry *found = find(t, user, user_len, device, device_len);
    const struct pqb_word given = {token, token_len};

    return found != NULL && is_same_secret(&found->token, &given);
}
