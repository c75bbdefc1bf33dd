#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/token_samples.h"

// Made by another implementation (python3-cryptography, with a pre-authentication encoding that
// gives PASETO's own vector 4-S-1). The first is the sample claims; the second has the footer
// {"kid":"x"}; the third was signed without the implicit assertion.
#define PAYLOAD                                                                                \
    "v4.public."                                                                               \
    "eyJzdWIiOiJhbm4iLCJkZXYiOiJwaG9uZSIsImtleSI6IjAwMDEwMjAzMDQwNTA2MDcwODA5MGEwYjBjMGQwZTBm" \
    "MTAxMTEyMTMxNDE1MTYxNzE4MTkxYTFiMWMxZDFlMWYiLCJpYXQiOiIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsImV4" \
    "cCI6IjIwMjYtMDEtMzFUMDA6MDA6MDBaIn"
static const char vector[] = PAYLOAD
    "2SD0Q2lnsWnyUZqbfWNv9V-6N3OREFrsGz8FyZC18ZXd4DwhejTvulkk3D4F1UsgEfObAAm0bKjOIjhxKEGg4A";
static const char vector_footer[] =
    PAYLOAD "3m7teeKpQvy71h57v0zksudLz6yJty4VkfWe7paoQ9KZlVCc-sAz2aRx4aQeAyLf4OcIqKdl76o9o4w18nebEE"
            ".eyJraWQiOiJ4In0";
static const char vector_bare[] = PAYLOAD
    "2iabi7q7ODfKaYvJAH4qrP257DiWHzMSTSNUBdkCLvVHTQ4JGPB2B1mECuaE_14BjdG6ZOd_sUVZbEsORAtN0H";

static enum pqb_paseto_verdict verify(const char *token, struct pqb_claims *claims)
{
    const struct pqb_issuer_key key = token_sample_key();
    size_t index;

    return pqb_paseto_verify(token, strlen(token), &key, 1, claims, &index);
}

static void the_fixed_vector_is_made_and_verified(void **state)
{
    const struct pqb_claims claims = token_sample_claims();
    struct pqb_claims read;
    char token[PQB_TOKEN_MAX + 1];

    (void)state;
    assert_int_equal(pqb_paseto_make(&claims, &token_sample_secret, token), sizeof(vector) - 1);
    assert_string_equal(token, vector);
    assert_int_equal(verify(vector, &read), PQB_PASETO_OK);
    assert_true(token_sample_is_same(&read, &claims));
    assert_int_equal(verify(vector_footer, &read), PQB_PASETO_OK);
    assert_int_equal(verify(vector_bare, &read), PQB_PASETO_FORGED);
    assert_int_equal(pqb_paseto_read_unverified(vector_bare, sizeof(vector_bare) - 1, &read),
                     PQB_PASETO_OK);
    assert_true(token_sample_is_same(&read, &claims));
}

static void the_longest_claims_make_a_token_that_fits(void **state)
{
    struct pqb_claims claims = token_sample_claims(), read;
    char token[PQB_TOKEN_MAX + 1];

    (void)state;
    memset(claims.user, '\\', sizeof(claims.user));
    memset(claims.device, '"', sizeof(claims.device));
    claims.user_len = sizeof(claims.user);
    claims.device_len = sizeof(claims.device);
    claims.not_before_ms = claims.issued_ms;
    assert_true(pqb_paseto_make(&claims, &token_sample_secret, token) > 500);
    assert_int_equal(verify(token, &read), PQB_PASETO_OK);
    assert_true(token_sample_is_same(&read, &claims));
}

static void changing_any_one_character_breaks_a_token(void **state)
{
    char token[sizeof(vector_footer)];
    struct pqb_claims read;

    (void)state;
    for (size_t i = 0; i < sizeof(vector_footer) - 1; i++) {
        memcpy(token, vector_footer, sizeof(token));
        token[i] = token[i] == 'A' ? 'B' : 'A';
        assert_int_not_equal(verify(token, &read), PQB_PASETO_OK);
        memcpy(token, vector_footer, sizeof(token));
        token[i] = '\0'; // cut
        assert_int_not_equal(verify(token, &read), PQB_PASETO_OK);
    }
}

static void a_token_has_one_spelling(void **state)
{
    static const char *const others[] = {"=", ".", "..", "\n", " ", ".eyJraWQiOiJ4In0="};
    struct pqb_claims read;
    char token[TOKEN_SAMPLE_MAX];

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(others); i++) {
        (void)strcpy(token, vector);
        (void)strcat(token, others[i]);
        assert_int_equal(verify(token, &read), PQB_PASETO_MALFORMED);
    }
    (void)strcpy(token, vector);
    token[1] = '3';
    assert_int_equal(verify(token, &read), PQB_PASETO_MALFORMED);
    (void)strcpy(token, vector_footer);
    token[sizeof(vector_footer) - 2]++; // the bits that the last digit does not need
    assert_int_equal(verify(token, &read), PQB_PASETO_MALFORMED);
    (void)strcpy(token, vector);
    *strchr(token, '-') = '+'; // the other alphabet
    assert_int_equal(verify(token, &read), PQB_PASETO_MALFORMED);
    for (unsigned c = 0x80; c <= 0xff; c++) {
        (void)strcpy(token, vector);
        token[20] = (char)c;
        assert_int_equal(verify(token, &read), PQB_PASETO_MALFORMED);
    }
    assert_int_equal(verify("", &read), PQB_PASETO_MALFORMED);
    assert_int_equal(verify("v4.public.", &read), PQB_PASETO_MALFORMED);
}

static void a_token_longer_than_the_wire_takes_is_refused(void **state)
{
    static const char claims[] =
        "{\"sub\":\"ann\",\"dev\":\"phone\",\"exp\":\"2026-01-31T00:00:00Z\","
        "\"key\":\"000102030405060708090a0b0c0d0e0f10111213141516"
        "1718191a1b1c1d1e1f\"}";
    char message[512], token[TOKEN_SAMPLE_MAX];
    struct pqb_claims read;

    (void)state;
    memset(message, ' ', sizeof(message));
    memcpy(message, claims, sizeof(claims) - 1);
    assert_int_equal(token_sample_sign(&token_sample_secret, message, 408, NULL, 0, token), 640);
    assert_int_equal(verify(token, &read), PQB_PASETO_OK);
    assert_int_equal(token_sample_sign(&token_sample_secret, message, 409, NULL, 0, token), 641);
    assert_int_equal(verify(token, &read), PQB_PASETO_MALFORMED);
}

static void the_issuer_is_found_among_several(void **state)
{
    struct pqb_issuer_key keys[3] = {{{1}}, {{2}}, {{3}}};
    struct pqb_issuer_secret secret;
    struct pqb_claims read;
    char token[PQB_TOKEN_MAX + 1];
    size_t index, len;

    (void)state;
    token_sample_other(&secret, &keys[1]);
    keys[2] = token_sample_key();
    len = sizeof(vector) - 1;
    assert_int_equal(pqb_paseto_verify(vector, len, keys, 3, &read, &index), PQB_PASETO_OK);
    assert_int_equal(index, 2);
    assert_int_equal(pqb_paseto_verify(vector, len, keys, 2, &read, &index), PQB_PASETO_FORGED);
    assert_int_equal(pqb_paseto_verify(vector, len, keys, 0, &read, &index), PQB_PASETO_FORGED);
    read = token_sample_claims();
    len = pqb_paseto_make(&read, &secret, token);
    assert_int_equal(pqb_paseto_verify(token, len, keys, 3, &read, &index), PQB_PASETO_OK);
    assert_int_equal(index, 1);
}

static void what_is_rightly_signed_may_still_say_nothing(void **state)
{
    static const char *const messages[] = {"", "{}", "[", "{\"sub\":\"ann\"}"};
    struct pqb_claims read;
    char token[TOKEN_SAMPLE_MAX];

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(messages); i++) {
        (void)token_sample_sign(&token_sample_secret, messages[i], strlen(messages[i]), NULL, 0,
                                token);
        assert_int_equal(verify(token, &read), PQB_PASETO_CLAIMS);
    }
}

static void keys_are_text_and_back(void **state)
{
    static const char public_text[] = "k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsaI";
    static const char secret_text[] =
        "k4.secret.tMv7Q99M4hByfZU-SnEzB_oZu32fhQQUONnhG5QqN3Qeudu7vAR"
        "8A_1wYE4AcfCYfhayi3VyJcEfAEFdDiCxog";
    const struct pqb_issuer_key key = token_sample_key();
    struct pqb_issuer_key read;
    struct pqb_issuer_secret secret;
    char text[PQB_PASERK_MAX];

    (void)state;
    pqb_paserk_public_format(&key, text);
    assert_string_equal(text, public_text);
    assert_true(pqb_paserk_public_parse(text, strlen(text), &read));
    assert_memory_equal(&read, &key, sizeof(key));
    assert_false(pqb_paserk_is_secret(text, strlen(text)));
    pqb_paserk_secret_format(&token_sample_secret, text);
    assert_string_equal(text, secret_text);
    assert_true(pqb_paserk_is_secret(text, strlen(text)));
    assert_true(pqb_paserk_secret_parse(text, strlen(text), &secret));
    assert_memory_equal(&secret, &token_sample_secret, sizeof(secret));
    assert_false(pqb_paserk_public_parse(text, strlen(text), &read));
    assert_false(pqb_paserk_secret_parse(public_text, strlen(public_text), &secret));
    for (size_t len = 0; len < strlen(text); len++)
        assert_false(pqb_paserk_secret_parse(text, len, &secret));
    for (size_t len = 0; len < strlen(public_text); len++)
        assert_false(pqb_paserk_public_parse(public_text, len, &read));
    text[strlen(text) - 3] ^= 1; // the public half is another's
    assert_false(pqb_paserk_secret_parse(text, strlen(text), &secret));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fixed_vector_is_made_and_verified),
        cmocka_unit_test(the_longest_claims_make_a_token_that_fits),
        cmocka_unit_test(changing_any_one_character_breaks_a_token),
        cmocka_unit_test(a_token_has_one_spelling),
        cmocka_unit_test(a_token_longer_than_the_wire_takes_is_refused),
        cmocka_unit_test(the_issuer_is_found_among_several),
        cmocka_unit_test(what_is_rightly_signed_may_still_say_nothing),
        cmocka_unit_test(keys_are_text_and_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
