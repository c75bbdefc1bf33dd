#include "gateway/config/words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>

#include "common/base/err.h"

int pqb_word_compare(const struct pqb_word *a, const struct pqb_word *b)
{
    const size_t len = PQB_MIN(a->len, b->len);
    const int order = len > 0 ? memcmp(a->text, b->text, len) : 0;

    if (order != 0)
        return order;
    return (a->len > b->len) - (a->len < b->len);
}

bool pqb_word_is(const struct pqb_word *word, const char *text)
{
    return word->len == strlen(text) && memcmp(word->text, text, word->len) == 0;
}

bool pqb_word_next(const char **at, const char *end, struct pqb_word *out)
{
    while (*at < end && (**at == ' ' || **at == '\t' || **at == '\r'))
        (*at)++;
    out->text = *at;
    while (*at < end && **at != ' ' && **at != '\t' && **at != '\r')
        (*at)++;
    out->len = (size_t)(*at - out->text);
    return out->len > 0;
}

int pqb_words_wrong(struct pqb_config_error *error, const char *name, int line, const char *what)
{
    (void)snprintf(error->text, sizeof(error->text), "%.200s:%d: %s", name, line, what);
    return PQB_ERR_INVALID;
}

int pqb_words_each_line(const char *text, size_t len, pqb_words_line_fn fn, void *ctx)
{
    const char *at = text, *end = text + len;
    int err = PQB_OK;

    for (int line = 1; at < end && err == PQB_OK; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline != NULL ? newline : end;

        err = fn(ctx, at, line_end, line);
        at = newline != NULL ? newline + 1 : end;
    }
    return err;
}

static int fail_read(struct pqb_config_error *error, const char *option, const char *path,
                     const char *why, int err)
{
    (void)snprintf(error->text, sizeof(error->text), "%s: cannot read %.200s: %s", option, path,
                   why);
    return err;
}

static int read_open(FILE *file, const char *option, const char *path, size_t max, char **text,
                     size_t *len, struct pqb_config_error *error)
{
    struct stat st;

    if (fstat(fileno(file), &st) != 0)
        return fail_read(error, option, path, strerror(errno), PQB_ERR_IO);
    if (!S_ISREG(st.st_mode) || (size_t)st.st_size > max) {
        char why[64];

        (void)snprintf(why, sizeof(why), "not a file of at most %zu KiB", max / 1024);
        return fail_read(error, option, path, why, PQB_ERR_INVALID);
    }
    *len = (size_t)st.st_size;
    *text = malloc(*len + 1);
    if (*text == NULL)
        return fail_read(error, option, path, "out of memory", PQB_ERR_NOMEM);
    if (fread(*text, 1, *len, file) == *len)
        return PQB_OK;
    free(*text);
    return fail_read(error, option, path, "it is shorter than it said", PQB_ERR_IO);
}

int pqb_words_read(const char *option, const char *path, size_t max, char **text, size_t *len,
                   struct pqb_config_error *error)
{
    FILE *file = fopen(path, "re");
    int err;

    if (file == NULL) {
        err = errno == ENOENT ? PQB_ERR_NOT_FOUND : PQB_ERR_IO;
        return fail_read(error, option, path, strerror(errno), err);
    }
    err = read_open(file, option, path, max, text, len, error);
    (void)fclose(file);
    return err;
}
