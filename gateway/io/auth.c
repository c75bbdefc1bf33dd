#include "gateway/io/auth.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/proto/paseto.h"
#include "gateway/config/revoked.h"
#include "gateway/config/tokens.h"
#include "gateway/config/words.h"

#define ISSUER_FILE_MAX  ((size_t)4096)
#define AUTH_ISSUERS_MAX PQB_CONFIG_FILES_MAX
#define WHITE_SPACE      " \t\r\n"

// The first bytes of a hash, by which grants name keys and tokens.
struct id {
    uint8_t bytes[PQB_ID_LEN];
};

struct pqb_auth {
    enum pqb_config_auth kind;
    struct pqb_tokens *tokens; // NULL unless static
    struct pqb_issuer_key issuers[AUTH_ISSUERS_MAX];
    struct id issuer_ids[AUTH_ISSUERS_MAX];
    size_t issuer_count;
    struct pqb_revoked *revoked; // NULL: none
    struct id *revoked_keys;     // sorted
    size_t revoked_key_count;
};

static struct id id_of(const void *data, size_t len)
{
    struct id id = {{0}};

    pqb_id_make(data, len, id.bytes);
    return id;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct id));
}

// --------------------------------------------------------------------------------------- loading

static int fail(struct pqb_config_error *error, const char *path, const char *what)
{
    (void)snprintf(error->text, sizeof(error->text), "issuer-key: %.200s %s", path, what);
    return PQB_ERR_INVALID;
}

static int parse_issuer(struct pqb_auth *a, const char *path, const char *text, size_t len,
                        struct pqb_config_error *error)
{
    struct pqb_issuer_key *key = &a->issuers[a->issuer_count];

    while (len > 0 && strchr(WHITE_SPACE, text[len - 1]) != NULL)
        len--;
    if (pqb_paserk_is_secret(text, len))
        return fail(error, path,
                    "is a secret key; name the .pub file that 'pqbctl keygen' wrote beside it, "
                    "and keep the secret one only where tokens are issued");
    if (!pqb_paserk_public_parse(text, len, key))
        return fail(error, path,
                    "is not an issuer's public key; name the .pub file that 'pqbctl keygen' "
                    "wrote, one line that begins with k4.public.");
    a->issuer_ids[a->issuer_count++] = id_of(key->bytes, sizeof(key->bytes));
    return PQB_OK;
}

static int load_issuers(struct pqb_auth *a, const struct pqb_config_files *files,
                        struct pqb_config_error *error)
{
    int err = PQB_OK;

    for (size_t i = 0; i < files->count && err == PQB_OK; i++) {
        const char *path = files->paths[i];
        char *text;
        size_t len;

        err = pqb_words_read("issuer-key", path, ISSUER_FILE_MAX, &text, &len, error);
        if (err != PQB_OK)
            break;
        text[len] = '\0';
        err = parse_issuer(a, path, text, len, error);
        sodium_memzero(text, len); // it may be the secret key after all
        free(text);
    }
    if (err == PQB_OK && a->issuer_count == 0) {
        (void)snprintf(error->text, sizeof(error->text),
                       "auth: token needs --issuer-key FILE: without one nobody could log in");
        err = PQB_ERR_INVALID;
    }
    return err;
}

static int load_revoked(struct pqb_auth *a, const char *path, struct pqb_config_error *error)
{
    int err;

    if (path[0] == '\0')
        return PQB_OK;
    err = pqb_revoked_load(&a->revoked, path, error);
    if (err != PQB_OK)
        return err;
    a->revoked_key_count = pqb_revoked_key_count(a->revoked);
    a->revoked_keys = calloc(a->revoked_key_count + 1, sizeof(*a->revoked_keys));
    if (a->revoked_keys == NULL) {
        (void)snprintf(error->text, sizeof(error->text), "revoked: %.200s: out of memory", path);
        return PQB_ERR_NOMEM;
    }
    for (size_t i = 0; i < a->revoked_key_count; i++)
        a->revoked_keys[i] = id_of(pqb_revoked_key(a->revoked, i), PQB_REVOKED_KEY_LEN);
    qsort(a->revoked_keys, a->revoked_key_count, sizeof(*a->revoked_keys), compare_ids);
    return PQB_OK;
}

int pqb_auth_load(struct pqb_auth **out, const struct pqb_config *config,
                  struct pqb_config_error *error)
{
    struct pqb_auth *a = calloc(1, sizeof(*a));
    int err = PQB_OK;

    if (a == NULL || sodium_init() < 0) {
        free(a);
        (void)snprintf(error->text, sizeof(error->text), "auth: out of memory");
        return PQB_ERR_NOMEM;
    }
    a->kind = (enum pqb_config_auth)config->auth;
    switch (a->kind) {
    case PQB_CONFIG_AUTH_STATIC:
        err = pqb_tokens_load(&a->tokens, config->token_file, error);
        break;
    case PQB_CONFIG_AUTH_TOKEN:
        err = load_issuers(a, &config->issuer_key, error);
        break;
    case PQB_CONFIG_AUTH_ANY:
        break;
    }
    if (err == PQB_OK)
        err = load_revoked(a, config->revoked, error);
    if (err == PQB_OK)
        *out = a;
    else
        pqb_auth_destroy(a);
    return err;
}

void pqb_auth_destroy(struct pqb_auth *a)
{
    if (a == NULL)
        return;
    pqb_tokens_destroy(a->tokens);
    pqb_revoked_destroy(a->revoked);
    free(a->revoked_keys);
    free(a);
}

struct pqb_auth_counts pqb_auth_count(const struct pqb_auth *a)
{
    return (struct pqb_auth_counts){
        .tokens = a->tokens != NULL ? pqb_tokens_count(a->tokens) : 0,
        .issuers = a->issuer_count,
        .revoked =
            a->revoked != NULL ? pqb_revoked_name_count(a->revoked) + a->revoked_key_count : 0,
    };
}

// --------------------------------------------------------------------------------------- asking

static bool is_revoked(const struct pqb_auth *a, const struct pqb_text *user,
                       const struct pqb_text *device, const uint8_t *key_id)
{
    if (a->revoked == NULL)
        return false;
    return pqb_revoked_has(a->revoked, user->data, user->len, device->data, device->len) ||
           bsearch(key_id, a->revoked_keys, a->revoked_key_count, sizeof(*a->revoked_keys),
                   compare_ids) != NULL;
}

static bool may_login_static(const struct pqb_auth *a, const struct pqb_credentials *c,
                             struct pqb_grant *out)
{
    pqb_id_make(c->token.data, c->token.len, out->source);
    return pqb_tokens_match(a->tokens, c->user.data, c->user.len, c->device.data, c->device.len,
                            c->token.data, c->token.len);
}

static bool is_name(const struct pqb_text *name, const char *data, size_t len)
{
    return name->len == len && memcmp(name->data, data, len) == 0;
}

static bool may_login_token(const struct pqb_auth *a, const struct pqb_credentials *c,
                            pqb_wall_ms now, struct pqb_grant *out)
{
    struct pqb_claims claims;
    size_t issuer;

    if (c->device_key == NULL ||
        pqb_paseto_verify(c->token.data, c->token.len, a->issuers, a->issuer_count, &claims,
                          &issuer) != PQB_PASETO_OK)
        return false;
    memcpy(out->source, a->issuer_ids[issuer].bytes, sizeof(out->source));
    out->expires_ms = claims.expires_ms;
    return is_name(&c->user, claims.user, claims.user_len) &&
           is_name(&c->device, claims.device, claims.device_len) &&
           sodium_memcmp(c->device_key, claims.key, PQB_KEY_LEN) == 0 &&
           claims.not_before_ms <= now && now < claims.expires_ms;
}

bool pqb_auth_may_login(const struct pqb_auth *a, const struct pqb_credentials *c, pqb_wall_ms now,
                        struct pqb_grant *out)
{
    *out = (struct pqb_grant){.expires_ms = UINT64_MAX};
    if (c->device_key != NULL)
        pqb_id_make(c->device_key, PQB_KEY_LEN, out->key_id);
    if (is_revoked(a, &c->user, &c->device, out->key_id))
        return false;
    switch (a->kind) {
    case PQB_CONFIG_AUTH_ANY:
        return true;
    case PQB_CONFIG_AUTH_STATIC:
        return may_login_static(a, c, out);
    case PQB_CONFIG_AUTH_TOKEN:
        return may_login_token(a, c, now, out);
    }
    return false;
}

static bool has_static_token(const struct pqb_auth *a, const struct pqb_text *user,
                             const struct pqb_text *device, const uint8_t *source)
{
    const char *token;
    size_t len;
    struct id id;

    if (!pqb_tokens_find(a->tokens, user->data, user->len, device->data, device->len, &token, &len))
        return false;
    id = id_of(token, len);
    return memcmp(id.bytes, source, sizeof(id.bytes)) == 0;
}

static bool has_issuer(const struct pqb_auth *a, const uint8_t *source)
{
    for (size_t i = 0; i < a->issuer_count; i++) {
        if (memcmp(a->issuer_ids[i].bytes, source, sizeof(a->issuer_ids[i].bytes)) == 0)
            return true;
    }
    return false;
}

bool pqb_auth_may_stay(const struct pqb_auth *a, const struct pqb_text *user,
                       const struct pqb_text *device, const struct pqb_grant *grant,
                       pqb_wall_ms now)
{
    if (now >= grant->expires_ms || is_revoked(a, user, device, grant->key_id))
        return false;
    switch (a->kind) {
    case PQB_CONFIG_AUTH_ANY:
        return true;
    case PQB_CONFIG_AUTH_STATIC:
        return has_static_token(a, user, device, grant->source);
    case PQB_CONFIG_AUTH_TOKEN:
        return has_issuer(a, grant->source);
    }
    return false;
}
