#include "gateway/io/key_files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/proto/aead.h"

#define FILE_MAX   4096
#define KEY_DIGITS ((size_t)2 * PQB_KEY_LEN)

struct ticket_key {
    struct pqb_ticket_key key;
    pqb_wall_ms made_at;
};

// What is in the files, in secret memory.
struct files {
    size_t server_count, ticket_count;
    uint8_t server[PQB_SERVER_KEYS_MAX][PQB_KEY_LEN];
    struct ticket_key tickets[PQB_TICKET_KEYS_MAX];
    char text[FILE_MAX];
};

static int fail(char *error, int err, const char *format, ...) PQB_PRINTF(3, 4);

static int fail(char *error, int err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(error, PQB_KEY_FILES_ERROR_MAX, format, args);
    va_end(args);
    return err;
}

// ------------------------------------------------------------------------------------- reading

// The next line of `text`, ended by a NUL; NULL: there is none.
static char *next_line(char **text)
{
    char *line = *text;
    char *end;

    if (*line == '\0')
        return NULL;
    end = line + strcspn(line, "\n");
    *text = *end == '\0' ? end : end + 1;
    *end = '\0';
    return line;
}

static bool parse_server(struct files *f, char *line)
{
    return f->server_count < PQB_SERVER_KEYS_MAX &&
           pqb_hex_decode(line, strlen(line), f->server[f->server_count++], PQB_KEY_LEN) == PQB_OK;
}

static bool parse_ticket(struct files *f, char *line)
{
    struct ticket_key *t = &f->tickets[f->ticket_count];
    const char *made = line + 3;
    char *key;

    if (f->ticket_count == PQB_TICKET_KEYS_MAX || strlen(line) < 3 || line[2] != ' ' ||
        made[0] < '0' || made[0] > '9' || // strtoull takes spaces and signs, too
        pqb_hex_decode(line, 2, &t->key.id, 1) != PQB_OK)
        return false;
    errno = 0;
    t->made_at = strtoull(made, &key, 10);
    if (errno != 0 || key == made || *key != ' ' ||
        pqb_hex_decode(key + 1, strlen(key + 1), t->key.key, PQB_KEY_LEN) != PQB_OK)
        return false;
    f->ticket_count++;
    return true;
}

static int refuse(char *error, const char *dir, const char *name)
{
    return fail(error, PQB_ERR_CORRUPT,
                "%s/%s is damaged; restore it from a backup, or move it away and a new one is made "
                "(%s)",
                dir, name,
                strcmp(name, PQB_SERVER_KEY_FILE) == 0
                    ? "clients must then be told the new server key"
                    : "clients then log in in full once");
}

// PQB_OK also when the file is missing; one that is there and empty has lost what was in it.
static int read_lines(struct files *f, int folder, const char *dir, const char *name,
                      bool (*parse)(struct files *, char *), char *error)
{
    size_t len = 0;
    char *at = f->text, *line;
    const int err = pqb_file_read(folder, name, f->text, sizeof(f->text) - 1, &len);

    if (err == PQB_ERR_NOT_FOUND)
        return PQB_OK;
    if (err != PQB_OK && err != PQB_ERR_TOO_LARGE)
        return fail(error, err, "cannot read %s/%s: %s", dir, name, strerror(errno));
    if (err == PQB_ERR_TOO_LARGE || len == 0 || memchr(f->text, '\0', len) != NULL)
        return refuse(error, dir, name);
    f->text[len] = '\0';
    while ((line = next_line(&at)) != NULL) {
        if (!parse(f, line))
            return refuse(error, dir, name);
    }
    return PQB_OK;
}

// ------------------------------------------------------------------------------------- writing

static int write_server(struct files *f, int folder)
{
    size_t len = 0;

    for (size_t i = 0; i < f->server_count; i++) {
        pqb_hex_encode(f->server[i], PQB_KEY_LEN, f->text + len);
        len += KEY_DIGITS;
        f->text[len++] = '\n';
    }
    return pqb_file_replace(folder, PQB_SERVER_KEY_FILE, f->text, len);
}

static int write_tickets(struct files *f, int folder)
{
    size_t len = 0;

    for (size_t i = 0; i < f->ticket_count; i++) {
        char digits[KEY_DIGITS + 1];

        pqb_hex_encode(f->tickets[i].key.key, PQB_KEY_LEN, digits);
        len += (size_t)snprintf(f->text + len, sizeof(f->text) - len, "%02x %" PRIu64 " %s\n",
                                f->tickets[i].key.id, f->tickets[i].made_at, digits);
        pqb_secret_erase(digits, sizeof(digits));
    }
    return pqb_file_replace(folder, PQB_TICKET_KEYS_FILE, f->text, len);
}

// A new server key in front; the one before stays.
static void push_server(struct files *f, struct pqb_secret_rng *rng)
{
    memcpy(f->server[1], f->server[0], PQB_KEY_LEN);
    pqb_secret_rng_fill(rng, f->server[0], PQB_KEY_LEN);
    f->server_count = f->server_count == 0 ? 1 : PQB_SERVER_KEYS_MAX;
}

// A clock that was ahead makes the newest key look younger than new; it is then old enough, too.
static bool is_ticket_key_due(const struct files *f, pqb_wall_ms now)
{
    return f->ticket_count == 0 || now < f->tickets[0].made_at ||
           now - f->tickets[0].made_at >= PQB_TICKET_KEY_ROTATE_MS;
}

static void push_ticket(struct files *f, struct pqb_secret_rng *rng, pqb_wall_ms now)
{
    const uint8_t last = f->ticket_count > 0 ? f->tickets[0].key.id : 0;

    memmove(&f->tickets[1], &f->tickets[0], (PQB_TICKET_KEYS_MAX - 1) * sizeof(f->tickets[0]));
    f->tickets[0].key.id = (uint8_t)(last + 1);
    f->tickets[0].made_at = now;
    pqb_secret_rng_fill(rng, f->tickets[0].key.key, PQB_KEY_LEN);
    f->ticket_count = PQB_MIN(f->ticket_count + 1, (size_t)PQB_TICKET_KEYS_MAX);
}

// -------------------------------------------------------------------------------------- whole

static void close_files(struct files *f, int folder)
{
    pqb_secret_free(f);
    (void)close(folder);
}

// NULL: *err says why not.
static struct files *open_files(int *folder, const char *dir, int *err, char *error)
{
    struct files *f = pqb_secret_alloc(sizeof(*f));

    if (f == NULL) {
        *err =
            fail(error, PQB_ERR_NOMEM, "cannot lock memory for keys; raise the limit (ulimit -l)");
        return NULL;
    }
    *folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*folder < 0) {
        *err = fail(error, pqb_err_from_errno(errno), "cannot open %s: %s", dir, strerror(errno));
        pqb_secret_free(f);
        return NULL;
    }
    *err = read_lines(f, *folder, dir, PQB_SERVER_KEY_FILE, parse_server, error);
    if (*err == PQB_OK)
        *err = read_lines(f, *folder, dir, PQB_TICKET_KEYS_FILE, parse_ticket, error);
    if (*err == PQB_OK)
        return f;
    close_files(f, *folder);
    return NULL;
}

// A disk that is full must not keep the gateway from starting: without room for a new key the ones
// there are go on.
static int renew_ticket_key(struct files *f, int folder, struct pqb_secret_rng *rng,
                            pqb_wall_ms now)
{
    const size_t count = f->ticket_count;
    struct ticket_key oldest = f->tickets[PQB_TICKET_KEYS_MAX - 1];
    int err;

    push_ticket(f, rng, now);
    err = write_tickets(f, folder);
    if (err != PQB_OK && count > 0) {
        memmove(&f->tickets[0], &f->tickets[1], (PQB_TICKET_KEYS_MAX - 1) * sizeof(f->tickets[0]));
        f->tickets[PQB_TICKET_KEYS_MAX - 1] = oldest;
        f->ticket_count = count;
        err = PQB_OK;
    }
    pqb_secret_erase(&oldest, sizeof(oldest));
    return err;
}

static int make_missing(struct files *f, int folder, const char *dir, struct pqb_secret_rng *rng,
                        pqb_wall_ms now, bool *is_new, char *error)
{
    int err = PQB_OK;

    *is_new = f->server_count == 0;
    if (*is_new) {
        push_server(f, rng);
        err = write_server(f, folder);
    }
    if (err == PQB_OK && is_ticket_key_due(f, now))
        err = renew_ticket_key(f, folder, rng, now);
    return err == PQB_OK
               ? PQB_OK
               : fail(error, err, "cannot write the keys in %s: %s", dir, strerror(errno));
}

static struct pqb_server_keys *make_set(const struct files *f)
{
    struct pqb_server_keys *keys = pqb_secret_alloc(sizeof(*keys));

    if (keys == NULL)
        return NULL;
    for (size_t i = 0; i < f->server_count; i++)
        pqb_server_keys_add(keys, f->server[i]);
    for (size_t i = 0; i < f->ticket_count; i++)
        keys->tickets.at[i] = f->tickets[i].key;
    keys->tickets.count = f->ticket_count;
    keys->ciphers = pqb_aead_ciphers();
    return keys;
}

int pqb_key_files_load(struct pqb_server_keys **out, const char *dir, struct pqb_secret_rng *rng,
                       pqb_wall_ms now, bool *is_new, char error[PQB_KEY_FILES_ERROR_MAX])
{
    bool is_made = false;
    int folder, err;
    struct files *f = open_files(&folder, dir, &err, error);

    if (is_new != NULL)
        *is_new = false;
    if (f == NULL)
        return err;
    err = make_missing(f, folder, dir, rng, now, &is_made, error);
    if (err == PQB_OK) {
        *out = make_set(f);
        if (*out == NULL)
            err = fail(error, PQB_ERR_NOMEM,
                       "cannot lock memory for keys; raise the limit (ulimit -l)");
    }
    if (is_new != NULL)
        *is_new = is_made;
    close_files(f, folder);
    return err;
}

pqb_wall_ms pqb_key_files_ticket_key_made(const char *dir)
{
    char error[PQB_KEY_FILES_ERROR_MAX];
    pqb_wall_ms made_at;
    int folder, err;
    struct files *f = open_files(&folder, dir, &err, error);

    if (f == NULL)
        return 0;
    made_at = f->ticket_count > 0 ? f->tickets[0].made_at : 0;
    close_files(f, folder);
    return made_at;
}

int pqb_key_files_public(const char *dir, uint8_t out[PQB_SERVER_KEYS_MAX][PQB_KEY_LEN],
                         size_t *count, char error[PQB_KEY_FILES_ERROR_MAX])
{
    int folder, err;
    struct files *f = open_files(&folder, dir, &err, error);

    *count = 0;
    if (f == NULL)
        return err;
    if (f->server_count == 0)
        err = fail(error, PQB_ERR_NOT_FOUND, "there is no %s/%s; the gateway makes it at its start",
                   dir, PQB_SERVER_KEY_FILE);
    for (size_t i = 0; i < f->server_count; i++) {
        struct pqb_noise_keypair pair;

        memcpy(pair.secret, f->server[i], PQB_KEY_LEN);
        pqb_noise_keypair_complete(&pair);
        memcpy(out[i], pair.public, PQB_KEY_LEN);
        pqb_secret_erase(&pair, sizeof(pair));
    }
    *count = f->server_count;
    close_files(f, folder);
    return err;
}

int pqb_key_files_rotate_server(const char *dir, struct pqb_secret_rng *rng,
                                char error[PQB_KEY_FILES_ERROR_MAX])
{
    int folder, err;
    struct files *f = open_files(&folder, dir, &err, error);

    if (f == NULL)
        return err;
    push_server(f, rng);
    err = write_server(f, folder);
    if (err != PQB_OK)
        (void)fail(error, err, "cannot write %s/%s: %s", dir, PQB_SERVER_KEY_FILE, strerror(errno));
    close_files(f, folder);
    return err;
}
