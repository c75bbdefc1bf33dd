#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/token_samples.h"

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"
#define ANN "\"sub\":\"ann\",\"dev\":\"phone\",\"key\":\"" KEY "\","
#define EXP "\"exp\":\"2026-01-31T00:00:00Z\""

static bool parse(struct pqb_claims *c, const char *text)
{
    return pqb_claims_parse(c, text, strlen(text));
}

static void claims_are_read_whatever_their_order_and_company(void **state)
{
    static const char *const texts[] = {
        "{" ANN EXP "}",
        "{" EXP "," ANN "\"iat\":\"2026-01-01T00:00:00+00:00\",\"nbf\":\"2025-12-31T23:59:59Z\"}",
        " { \"aud\" : [ { \"x\" : null } , 1e3 ] ,\n" ANN "\"aud\":2," EXP ",\"subs\":\"eve\"} ",
        "{\"s\\u0075b\":\"\\u0061nn\",\"dev\":\"phone\",\"key\":\"" KEY "\"," EXP "}",
    };
    const struct pqb_claims expected = token_sample_claims();

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(texts); i++) {
        struct pqb_claims c;

        assert_true(parse(&c, texts[i]));
        assert_int_equal(c.user_len, 3);
        assert_memory_equal(c.user, "ann", 3);
        assert_int_equal(c.device_len, 5);
        assert_memory_equal(c.device, "phone", 5);
        assert_memory_equal(c.key, expected.key, PQB_KEY_LEN);
        assert_true(c.expires_ms == TOKEN_SAMPLE_END);
        assert_true(c.issued_ms == (i == 1 ? TOKEN_SAMPLE_BEGIN : 0));
        assert_true(c.not_before_ms == (i == 1 ? TOKEN_SAMPLE_BEGIN - 86400000 + 86399000 : 0));
    }
}

static void claims_that_are_wrong_missing_or_told_twice_are_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        "{}",
        "[]",
        "\"" KEY "\"",
        "{" ANN "}",
        "{" ANN "\"exp\":1769817600}",
        "{" ANN "\"exp\":\"2026-01-31\"}",
        "{" ANN "\"exp\":\"2026-02-30T00:00:00Z\"}",
        "{" ANN EXP ",\"nbf\":null}",
        "{" ANN EXP ",\"iat\":5}",
        "{" ANN EXP "," EXP "}",
        "{" ANN EXP ",\"sub\":\"ann\"}",
        "{" ANN EXP ",\"s\\u0075b\":\"eve\"}",
        "{" ANN EXP "} x",
        "{" ANN EXP ",}",
        "{" ANN EXP,
        "{\"dev\":\"phone\",\"key\":\"" KEY "\"," EXP "}",
        "{\"sub\":\"ann\",\"key\":\"" KEY "\"," EXP "}",
        "{\"sub\":\"ann\",\"dev\":\"phone\"," EXP "}",
        "{\"sub\":\"\",\"dev\":\"phone\",\"key\":\"" KEY "\"," EXP "}",
        "{\"sub\":\"ann\\u0000\",\"dev\":\"phone\",\"key\":\"" KEY "\"," EXP "}",
        "{\"sub\":\"ann\\n\",\"dev\":\"phone\",\"key\":\"" KEY "\"," EXP "}",
        "{\"sub\":\"an\xff\",\"dev\":\"phone\",\"key\":\"" KEY "\"," EXP "}",
        "{\"sub\":[\"ann\"],\"dev\":\"phone\",\"key\":\"" KEY "\"," EXP "}",
        "{\"sub\":\"ann\",\"dev\":\"phone\",\"key\":\"" KEY "00\"," EXP "}",
        "{\"sub\":\"ann\",\"dev\":\"phone\",\"key\":\"0001\"," EXP "}",
        "{\"sub\":\"ann\",\"dev\":\"a-device-of-33-bytes-is-one-too-ma\",\"key\":\"" KEY "\"," EXP
        "}",
        "{\"sub\":\"ann\",\"dev\":\"phone\",\"key\":"
        "\"zz0102030405060708090a0b0c0d0e0f10111213141516"
        "1718191a1b1c1d1e1f\"," EXP "}",
    };

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(wrong); i++) {
        struct pqb_claims c;

        if (parse(&c, wrong[i]))
            fail_msg("taken: %s", wrong[i]);
    }
}

static void what_is_written_reads_back(void **state)
{
    struct pqb_claims c = token_sample_claims(), again;
    char text[PQB_CLAIMS_MAX + 1];

    (void)state;
    for (int round = 0; round < 2; round++) {
        const size_t len = pqb_claims_format(&c, text);

        assert_true(len > 0 && len == strlen(text));
        assert_true(pqb_claims_parse(&again, text, len));
        assert_true(token_sample_is_same(&again, &c));
        // The longest there are: names that are all escapes, every date.
        memset(c.user, '"', sizeof(c.user));
        memset(c.device, '\\', sizeof(c.device));
        c.user_len = sizeof(c.user);
        c.device_len = sizeof(c.device);
        c.not_before_ms = 1000;
    }
    assert_true(strlen(text) > 350);
}

// ----------------------------------------------------------------------------------------- dates

static void a_date_is_read_exactly(void **state)
{
    static const struct {
        const char *text;
        uint64_t seconds;
    } right[] = {
        {"1970-01-01T00:00:00Z", 0},          {"1970-02-28T23:59:59Z", 58 * 86400 + 86399},
        {"1972-02-29T00:00:00Z", 68169600},   {"2000-02-29T12:30:45+00:00", 951827445},
        {"2026-01-31T00:00:00Z", 1769817600}, {"2100-02-28T23:59:59Z", 4107542399},
        {"2100-03-01T00:00:00Z", 4107542400}, {"9999-12-31T23:59:59Z", 253402300799},
    };
    static const char *const wrong[] = {
        "",
        "2026-01-31",
        "2026-01-31T00:00:00",
        "2026-01-31 00:00:00Z",
        "2026-01-31T00:00:00z",
        "2026-01-31t00:00:00Z",
        "2026-01-31T00:00:00.5Z",
        "2026-01-31T00:00:00+01:00",
        "2026-01-31T00:00:00-00:00",
        "2026-01-31T00:00:00+0000",
        "2026-01-31T00:00:00Z ",
        " 2026-01-31T00:00:00Z",
        "2026-1-31T00:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T00:60:00Z",
        "2026-01-31T00:00:60Z",
        "2026-00-31T00:00:00Z",
        "2026-13-31T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "-026-01-31T00:00:00Z",
        "10000-01-01T00:00:00Z",
    };
    pqb_wall_ms at;

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(right); i++) {
        assert_true(pqb_date_parse(right[i].text, strlen(right[i].text), &at));
        assert_true(at == right[i].seconds * 1000);
    }
    for (size_t i = 0; i < PQB_ARRAY_LEN(wrong); i++)
        assert_false(pqb_date_parse(wrong[i], strlen(wrong[i]), &at));
}

// Every day of eight thousand years, at a time that moves through the day.
static void dates_agree_with_the_c_library(void **state)
{
    char text[PQB_DATE_TEXT_LEN + 1], expected[64];

    (void)state;
    for (uint64_t day = 0; day < 2932897; day++) {
        const uint64_t second = day * 86400 + day * 7 % 86400;
        const time_t at = (time_t)second;
        struct tm tm;
        pqb_wall_ms back;

        pqb_date_format(second * 1000 + 999, text);
        assert_true(pqb_date_parse(text, strlen(text), &back) && back == second * 1000);
        if (day % 17 != 0)
            continue;
        assert_non_null(gmtime_r(&at, &tm));
        assert_true(strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%SZ", &tm) > 0);
        assert_string_equal(text, expected);
    }
    pqb_date_format(UINT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_are_read_whatever_their_order_and_company),
        cmocka_unit_test(claims_that_are_wrong_missing_or_told_twice_are_refused),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(a_date_is_read_exactly),
        cmocka_unit_test(dates_agree_with_the_c_library),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
