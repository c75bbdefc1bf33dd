#include "gateway/config/tokens.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>

#include "common/base/check.h"
#include "common/base/err.h"

#define USER_LEN_MAX   64 // as on the wire; tokens of longer names could never be used
#define DEVICE_LEN_MAX 32
#define TOKEN_LEN_MAX  640

struct word {
    const char *text; // into the owner's copy of the file
    size_t len;
};

struct entry {
    struct word user, device, token;
    int line;
};

struct pqb_tokens {
    char *text;
    struct entry *entries; // sorted by user, then device
    size_t count, capacity;
};

static int compare_words(const struct word *a, const struct word *b)
{
    const int order = memcmp(a->text, b->text, PQB_MIN(a->len, b->len));

    if (order != 0)
        return order;
    return (a->len > b->len) - (a->len < b->len);
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    const int order = compare_words(&left->user, &right->user);

    return order != 0 ? order : compare_words(&left->device, &right->device);
}

static bool next_word(const char **at, const char *end, struct word *out)
{
    while (*at < end && (**at == ' ' || **at == '\t' || **at == '\r'))
        (*at)++;
    out->text = *at;
    while (*at < end && **at != ' ' && **at != '\t' && **at != '\r')
        (*at)++;
    out->len = (size_t)(*at - out->text);
    return out->len > 0;
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

static int wrong(struct pqb_config_error *error, const char *name, int line, const char *what)
{
    (void)snprintf(error->text, sizeof(error->text), "%.200s:%d: %s", name, line, what);
    return PQB_ERR_INVALID;
}

static int parse_line(struct pqb_tokens *t, const char *name, const char *at, const char *end,
                      int line, struct pqb_config_error *error)
{
    struct entry entry = {.line = line};
    struct word more;

    if (!next_word(&at, end, &entry.user) || entry.user.text[0] == '#')
        return PQB_OK;
    if (!next_word(&at, end, &entry.device) || !next_word(&at, end, &entry.token) ||
        next_word(&at, end, &more))
        return wrong(error, name, line, "a line has three words: user device token");
    if (entry.user.len > USER_LEN_MAX || entry.device.len > DEVICE_LEN_MAX ||
        entry.token.len > TOKEN_LEN_MAX)
        return wrong(error, name, line, "a user has at most 64 bytes, a device 32 and a token 640");
    if (append(t, &entry))
        return PQB_OK;
    (void)wrong(error, name, line, "out of memory");
    return PQB_ERR_NOMEM;
}

static int check_unique(const struct pqb_tokens *t, const char *name,
                        struct pqb_config_error *error)
{
    for (size_t i = 1; i < t->count; i++) {
        if (compare_entries(&t->entries[i - 1], &t->entries[i]) == 0)
            return wrong(error, name, PQB_MAX(t->entries[i - 1].line, t->entries[i].line),
                         "this user and device have a token already; keep one of the lines");
    }
    return PQB_OK;
}

// `text` is owned from here on.
static int parse_owned(struct pqb_tokens **out, const char *name, char *text, size_t len,
                       struct pqb_config_error *error)
{
    struct pqb_tokens *t = calloc(1, sizeof(*t));
    const char *at = text;
    const char *end = text + len;
    int err = PQB_OK;

    if (t == NULL) {
        free(text);
        (void)wrong(error, name, 0, "out of memory");
        return PQB_ERR_NOMEM;
    }
    t->text = text;
    for (int line = 1; at < end && err == PQB_OK; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline != NULL ? newline : end;

        err = parse_line(t, name, at, line_end, line, error);
        at = line_end + 1;
    }
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
        (void)wrong(error, name, 0, "out of memory");
        return PQB_ERR_NOMEM;
    }
    memcpy(copy, text, len);
    return parse_owned(out, name, copy, len, error);
}

int pqb_tokens_load(struct pqb_tokens **out, const char *path, struct pqb_config_error *error)
{
    FILE *file = fopen(path, "re");
    struct stat st;
    char *text;
    size_t len;

    if (file == NULL || fstat(fileno(file), &st) != 0) {
        (void)snprintf(error->text, sizeof(error->text), "token-file: cannot read %.200s: %s", path,
                       strerror(errno));
        if (file != NULL)
            (void)fclose(file);
        return errno == ENOENT ? PQB_ERR_NOT_FOUND : PQB_ERR_IO;
    }
    if (!S_ISREG(st.st_mode) || (size_t)st.st_size > PQB_TOKENS_FILE_MAX) {
        (void)fclose(file);
        return wrong(error, path, 0, "is not a file of at most 256 MiB");
    }
    len = (size_t)st.st_size;
    text = malloc(len + 1);
    if (text == NULL || fread(text, 1, len, file) != len) {
        free(text);
        (void)fclose(file);
        (void)wrong(error, path, 0, "cannot be read in full");
        return PQB_ERR_IO;
    }
    (void)fclose(file);
    return parse_owned(out, path, text, len, error);
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

static bool is_same_secret(const struct word *a, const struct word *b)
{
    uint8_t different = a->len != b->len;

    for (size_t i = 0; i < PQB_MIN(a->len, b->len); i++)
        different |= (uint8_t)(a->text[i] ^ b->text[i]);
    return different == 0;
}

bool pqb_tokens_match(const struct pqb_tokens *t, const char *user, size_t user_len,
                      const char *device, size_t device_len, const char *token, size_t token_len)
{
    const struct entry wanted = {.user = {user, user_len}, .device = {device, device_len}};
    const struct word given = {token, token_len};
    const struct entry *found = NULL;

    if (t->count > 0)
        found = bsearch(&wanted, t->entries, t->count, sizeof(*t->entries), compare_entries);
    return found != NULL && is_same_secret(&found->token, &given);
}
