#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "common/base/err.h"
#include "gateway/io/auth.h"
#include "tests/unit/token_samples.h"

#define NOW (TOKEN_SAMPLE_BEGIN + 1000)

// ------------------------------------------------------------------------------------- fixtures

static char folder[] = "/tmp/test_auth.XXXXXX";

static const char *path_of(const char *name)
{
    static char path[sizeof(folder) + 32];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void write_key(const char *name, const struct pqb_issuer_key *key)
{
    char text[PQB_PASERK_MAX + 1];

    pqb_paserk_public_format(key, text);
    (void)strcat(text, "\n");
    write_file(name, text);
}

static int set_up(void **state)
{
    const struct pqb_issuer_key key = token_sample_key();
    struct pqb_issuer_secret other_secret;
    struct pqb_issuer_key other;

    (void)state;
    assert_non_null(mkdtemp(folder));
    token_sample_other(&other_secret, &other);
    write_key("key.pub", &key);
    write_key("other.pub", &other);
    write_file("tokens", "ann phone secret\nbob pc hush\n");
    write_file("nobody", "# nobody\n");
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"key.pub", "other.pub", "tokens", "nobody", "file"};

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(names); i++)
        (void)unlink(path_of(names[i]));
    return rmdir(folder);
}

static void config_of(struct pqb_config *c, enum pqb_config_auth kind)
{
    pqb_config_default(c);
    c->auth = kind;
    (void)strcpy(c->token_file, path_of("tokens"));
}

static void add_issuer(struct pqb_config *c, const char *name)
{
    (void)strcpy(c->issuer_key.paths[c->issuer_key.count++], path_of(name));
}

static struct pqb_auth *load(const struct pqb_config *c)
{
    struct pqb_config_error error = {""};
    struct pqb_auth *a = NULL;

    if (pqb_auth_load(&a, c, &error) != PQB_OK)
        fail_msg("%s", error.text);
    return a;
}

// With what `text` says revoked; NULL: no file.
static struct pqb_auth *make(enum pqb_config_auth kind, const char *issuer, const char *revoked)
{
    struct pqb_config c;

    config_of(&c, kind);
    if (issuer != NULL)
        add_issuer(&c, issuer);
    if (revoked != NULL) {
        write_file("file", revoked);
        (void)strcpy(c.revoked, path_of("file"));
    }
    return load(&c);
}

static struct pqb_text text(const char *s)
{
    return (struct pqb_text){.data = s, .len = strlen(s)};
}

static bool may_login(const struct pqb_auth *a, const char *user, const char *device,
                      const char *token, const uint8_t *key, struct pqb_grant *grant)
{
    const struct pqb_credentials c = {
        .user = text(user), .device = text(device), .token = text(token), .device_key = key};

    return pqb_auth_may_login(a, &c, NOW, grant);
}

static bool may_stay(const struct pqb_auth *a, const char *user, const char *device,
                     const struct pqb_grant *grant, pqb_wall_ms now)
{
    const struct pqb_text u = text(user), d = text(device);

    return pqb_auth_may_stay(a, &u, &d, grant, now);
}

static const char *sample_token(const struct pqb_issuer_secret *secret)
{
    static char token[PQB_TOKEN_MAX + 1];
    const struct pqb_claims claims = token_sample_claims();

    assert_true(pqb_paseto_make(&claims, secret, token) > 0);
    return token;
}

// ---------------------------------------------------------------------------------------- cases

static void any_lets_all_in_but_the_revoked(void **state)
{
    const struct pqb_claims claims = token_sample_claims();
    const uint8_t none[PQB_ID_LEN] = {0};
    struct pqb_auth *a = make(PQB_CONFIG_AUTH_ANY, NULL, NULL);
    struct pqb_grant grant;

    (void)state;
    assert_true(may_login(a, "ann", "phone", "", NULL, &grant));
    assert_true(grant.expires_ms == UINT64_MAX);
    assert_memory_equal(grant.source, none, sizeof(none));
    assert_memory_equal(grant.key_id, none, sizeof(none));
    assert_true(may_stay(a, "ann", "phone", &grant, UINT64_MAX - 1));
    assert_true(may_login(a, "ann", "phone", "", claims.key, &grant));
    assert_memory_not_equal(grant.key_id, none, sizeof(none));
    pqb_auth_destroy(a);

    a = make(PQB_CONFIG_AUTH_ANY, NULL, "user eve\ndevice ann phone\n");
    assert_int_equal(pqb_auth_count(a).revoked, 2);
    assert_false(may_login(a, "eve", "pc", "", NULL, &grant));
    assert_false(may_stay(a, "eve", "pc", &grant, NOW));
    assert_false(may_login(a, "ann", "phone", "", NULL, &grant));
    assert_true(may_login(a, "ann", "pc", "", NULL, &grant));
    assert_true(may_stay(a, "ann", "pc", &grant, NOW));
    pqb_auth_destroy(a);
}

static void a_static_token_holds_until_it_changes(void **state)
{
    struct pqb_auth *a = make(PQB_CONFIG_AUTH_STATIC, NULL, NULL);
    struct pqb_grant grant, none = {.expires_ms = UINT64_MAX};

    (void)state;
    assert_int_equal(pqb_auth_count(a).tokens, 2);
    assert_false(may_login(a, "ann", "phone", "hush", NULL, &grant));
    assert_false(may_login(a, "ann", "pc", "secret", NULL, &grant));
    assert_false(may_login(a, "ann", "phone", "", NULL, &grant));
    assert_true(may_login(a, "ann", "phone", "secret", NULL, &grant));
    assert_true(grant.expires_ms == UINT64_MAX);
    assert_true(may_stay(a, "ann", "phone", &grant, NOW));
    assert_false(may_stay(a, "bob", "pc", &grant, NOW));
    assert_false(may_stay(a, "cyd", "pc", &grant, NOW));
    assert_false(may_stay(a, "ann", "phone", &none, NOW)); // of a time when any was let in
    pqb_auth_destroy(a);

    write_file("tokens", "ann phone changed\nbob pc hush\n");
    a = make(PQB_CONFIG_AUTH_STATIC, NULL, NULL);
    assert_false(may_stay(a, "ann", "phone", &grant, NOW));
    pqb_auth_destroy(a);
    write_file("tokens", "ann phone secret\nbob pc hush\n");
    a = make(PQB_CONFIG_AUTH_STATIC, NULL, "user ann\n");
    assert_false(may_login(a, "ann", "phone", "secret", NULL, &grant));
    pqb_auth_destroy(a);
}

static void a_signed_token_lets_in_its_user_device_and_key(void **state)
{
    const struct pqb_claims claims = token_sample_claims();
    const char *token = sample_token(&token_sample_secret);
    struct pqb_auth *a = make(PQB_CONFIG_AUTH_TOKEN, "key.pub", NULL);
    uint8_t other_key[PQB_KEY_LEN] = {9};
    struct pqb_grant grant;

    (void)state;
    assert_int_equal(pqb_auth_count(a).issuers, 1);
    assert_true(may_login(a, "ann", "phone", token, claims.key, &grant));
    assert_true(grant.expires_ms == TOKEN_SAMPLE_END);
    assert_true(may_stay(a, "ann", "phone", &grant, NOW));
    assert_false(may_login(a, "bob", "phone", token, claims.key, &grant));
    assert_false(may_login(a, "ann", "pc", token, claims.key, &grant));
    assert_false(may_login(a, "ann", "phone", token, other_key, &grant));
    assert_false(may_login(a, "ann", "phone", token, NULL, &grant));
    assert_false(may_login(a, "ann", "phone", "", claims.key, &grant));
    assert_false(may_login(a, "an", "phone", token, claims.key, &grant));
    pqb_auth_destroy(a);
}

static void a_signed_token_is_good_from_its_beginning_to_its_end(void **state)
{
    static const struct {
        pqb_wall_ms now;
        bool is_good;
    } times[] = {
        {TOKEN_SAMPLE_BEGIN - 1, false},
        {TOKEN_SAMPLE_BEGIN, true},
        {TOKEN_SAMPLE_END - 1, true},
        {TOKEN_SAMPLE_END, false},
        {0, false},
        {UINT64_MAX, false},
    };
    struct pqb_auth *a = make(PQB_CONFIG_AUTH_TOKEN, "key.pub", NULL);
    struct pqb_claims claims = token_sample_claims();
    char token[PQB_TOKEN_MAX + 1];
    struct pqb_grant grant;

    (void)state;
    claims.not_before_ms = TOKEN_SAMPLE_BEGIN;
    assert_true(pqb_paseto_make(&claims, &token_sample_secret, token) > 0);
    for (size_t i = 0; i < PQB_ARRAY_LEN(times); i++) {
        const struct pqb_credentials c = {.user = text("ann"),
                                          .device = text("phone"),
                                          .token = text(token),
                                          .device_key = claims.key};

        assert_int_equal(pqb_auth_may_login(a, &c, times[i].now, &grant), times[i].is_good);
        // Its beginning lies behind once it was let in.
        assert_int_equal(may_stay(a, "ann", "phone", &grant, times[i].now),
                         times[i].now < TOKEN_SAMPLE_END);
    }
    pqb_auth_destroy(a);
}

static void issuers_are_rotated_by_loading_again(void **state)
{
    const struct pqb_claims claims = token_sample_claims();
    struct pqb_issuer_secret other_secret;
    struct pqb_issuer_key other;
    struct pqb_auth *old, *both, *fresh;
    struct pqb_config c;
    struct pqb_grant grant, other_grant;
    char token[PQB_TOKEN_MAX + 1];

    (void)state;
    token_sample_other(&other_secret, &other);
    (void)strcpy(token, sample_token(&token_sample_secret));
    old = make(PQB_CONFIG_AUTH_TOKEN, "key.pub", NULL);
    fresh = make(PQB_CONFIG_AUTH_TOKEN, "other.pub", NULL);
    config_of(&c, PQB_CONFIG_AUTH_TOKEN);
    add_issuer(&c, "other.pub");
    add_issuer(&c, "key.pub");
    both = load(&c);
    assert_true(may_login(old, "ann", "phone", token, claims.key, &grant));
    assert_true(may_login(both, "ann", "phone", token, claims.key, &other_grant));
    assert_memory_equal(grant.source, other_grant.source, sizeof(grant.source));
    assert_true(may_stay(both, "ann", "phone", &grant, NOW));
    assert_false(may_stay(fresh, "ann", "phone", &grant, NOW));
    assert_false(may_login(fresh, "ann", "phone", token, claims.key, &other_grant));
    (void)strcpy(token, sample_token(&other_secret));
    assert_true(may_login(both, "ann", "phone", token, claims.key, &other_grant));
    assert_true(may_stay(fresh, "ann", "phone", &other_grant, NOW));
    assert_memory_not_equal(grant.source, other_grant.source, sizeof(grant.source));
    pqb_auth_destroy(old);
    pqb_auth_destroy(both);
    pqb_auth_destroy(fresh);
}

static void a_revoked_key_user_or_device_is_out_whatever_its_token_says(void **state)
{
    static const struct {
        const char *revoked;
        bool is_out;
    } cases[] = {
        {"# nobody\n", false},
        {"user ann\n", true},
        {"device ann phone\n", true},
        {"device ann pc\nuser phone\n", false},
        {"key 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n", true},
        {"key ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
         "key 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
         "key 010102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
         true},
        {"key ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n", false},
    };
    const struct pqb_claims claims = token_sample_claims();
    const char *token = sample_token(&token_sample_secret);
    struct pqb_auth *before = make(PQB_CONFIG_AUTH_TOKEN, "key.pub", NULL);
    struct pqb_grant grant, unused;

    (void)state;
    assert_true(may_login(before, "ann", "phone", token, claims.key, &grant));
    for (size_t i = 0; i < PQB_ARRAY_LEN(cases); i++) {
        struct pqb_auth *a = make(PQB_CONFIG_AUTH_TOKEN, "key.pub", cases[i].revoked);

        assert_int_equal(may_login(a, "ann", "phone", token, claims.key, &unused),
                         !cases[i].is_out);
        assert_int_equal(may_stay(a, "ann", "phone", &grant, NOW), !cases[i].is_out);
        pqb_auth_destroy(a);
    }
    pqb_auth_destroy(before);
}

static void files_that_are_wrong_are_told_with_what_to_do(void **state)
{
    static const struct {
        const char *text, *told;
    } cases[] = {
        {"k4.secret.tMv7Q99M4hByfZU-SnEzB_oZu32fhQQUONnhG5QqN3Qeudu7vAR8A_1wYE4AcfCYfhayi3VyJcEfAE"
         "FdDiCxog\n",
         "is a secret key; name the .pub file"},
        {"", "is not an issuer's public key"},
        {"k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsa\n", "pqbctl keygen"},
        {"k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsaI x\n", "pqbctl keygen"},
    };
    struct pqb_config c;
    struct pqb_config_error error;
    struct pqb_auth *a = NULL;

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(cases); i++) {
        config_of(&c, PQB_CONFIG_AUTH_TOKEN);
        add_issuer(&c, "key.pub");
        add_issuer(&c, "file");
        write_file("file", cases[i].text);
        assert_int_equal(pqb_auth_load(&a, &c, &error), PQB_ERR_INVALID);
        assert_non_null(strstr(error.text, cases[i].told));
        assert_non_null(strstr(error.text, path_of("file")));
        assert_null(strstr(error.text, "tMv7")); // no part of the secret
    }
    config_of(&c, PQB_CONFIG_AUTH_TOKEN);
    assert_int_equal(pqb_auth_load(&a, &c, &error), PQB_ERR_INVALID);
    assert_non_null(strstr(error.text, "--issuer-key FILE"));
    add_issuer(&c, "absent.pub");
    assert_int_equal(pqb_auth_load(&a, &c, &error), PQB_ERR_NOT_FOUND);
    assert_non_null(strstr(error.text, "absent.pub"));
    config_of(&c, PQB_CONFIG_AUTH_ANY);
    write_file("file", "user\n");
    (void)strcpy(c.revoked, path_of("file"));
    assert_int_equal(pqb_auth_load(&a, &c, &error), PQB_ERR_INVALID);
    assert_non_null(strstr(error.text, ":1: a line is"));
    config_of(&c, PQB_CONFIG_AUTH_STATIC);
    (void)strcpy(c.token_file, path_of("absent"));
    assert_int_equal(pqb_auth_load(&a, &c, &error), PQB_ERR_NOT_FOUND);
    assert_null(a);
    pqb_auth_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_lets_all_in_but_the_revoked),
        cmocka_unit_test(a_static_token_holds_until_it_changes),
        cmocka_unit_test(a_signed_token_lets_in_its_user_device_and_key),
        cmocka_unit_test(a_signed_token_is_good_from_its_beginning_to_its_end),
        cmocka_unit_test(issuers_are_rotated_by_loading_again),
        cmocka_unit_test(a_revoked_key_user_or_device_is_out_whatever_its_token_says),
        cmocka_unit_test(files_that_are_wrong_are_told_with_what_to_do),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
