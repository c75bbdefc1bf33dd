#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/json_scan.h"

static bool read_string(const char *text, char *out, size_t size, size_t *len)
{
    struct pqb_json_scan s;

    pqb_json_scan_init(&s, text, strlen(text));
    return pqb_json_scan_string(&s, out, size, len) && pqb_json_scan_is_at_end(&s);
}

static void a_string_is_read_with_its_escapes_undone(void **state)
{
    static const struct {
        const char *text, *meant;
    } cases[] = {
        {"\"\"", ""},
        {" \t\r\n\"ann\" ", "ann"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\"\\uDBFF\\uDFFF\"", "\xf4\x8f\xbf\xbf"},
        {"\"\xc3\xa9\"", "\xc3\xa9"},
    };

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(cases); i++) {
        char out[16];
        size_t len;

        assert_true(read_string(cases[i].text, out, sizeof(out), &len));
        assert_int_equal(len, strlen(cases[i].meant));
        assert_memory_equal(out, cases[i].meant, len);
    }
}

static void a_wrong_string_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        "ann",
        "\"ann",
        "\"a\nb\"",
        "\"\\x\"",
        "\"\\",
        "\"\\u12",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\ud800x\"",
        "\"\\udc00\"",
        "\"\\ud800\\n\"",
        "\"\\ud800\\ud800\"",
        "\"\\ud800\\u\"",
        "'ann'",
    };

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(wrong); i++) {
        char out[16];
        size_t len;

        assert_false(read_string(wrong[i], out, sizeof(out), &len));
    }
}

static void a_string_that_does_not_fit_is_refused(void **state)
{
    char out[4];
    size_t len;

    (void)state;
    assert_true(read_string("\"abcd\"", out, 4, &len));
    assert_int_equal(len, 4);
    assert_false(read_string("\"abcde\"", out, 4, &len));
    assert_false(read_string("\"abc\\u00e9\"", out, 4, &len));
    assert_true(read_string("\"\\u0000\"", out, 4, &len)); // the caller sees the byte
    assert_int_equal(len, 1);
    assert_int_equal(out[0], 0);
}

static bool skips(const char *text)
{
    struct pqb_json_scan s;

    pqb_json_scan_init(&s, text, strlen(text));
    return pqb_json_scan_skip(&s) && pqb_json_scan_is_at_end(&s);
}

static void any_value_can_be_stepped_over(void **state)
{
    static const char *const right[] = {
        "true",
        "false",
        "null",
        "0",
        "-0",
        "12",
        "-3.25",
        "1e9",
        "1.5E-7",
        "2e+3",
        "\"a\\\"b\"",
        "[]",
        "{}",
        "[ ]",
        "{ }",
        "[1,\"a\",[],{},[2]]",
        "{\"a\":1,\"b\":{\"c\":[true,{}]}}",
        " [ 1 , 2 ] ",
        "[[[[[[[[1]]]]]]]]",
        "{\"a\":[{\"b\":[{\"c\":[{\"d\":[]}]}]}]}",
    };
    static const char *const wrong[] = {
        "",         "tru",        "nul",       "01", "-",     "1.",
        "1e",       ".5",         "+1",        "[",  "[1",    "[1,",
        "[1,]",     "[,1]",       "[1}",       "{",  "{1:2}", "{\"a\"}",
        "{\"a\":}", "{\"a\":1,}", "{\"a\":1]", "]",  "\"a",   "[[[[[[[[[1]]]]]]]]]",
        "1 2",      "truefalse",
    };

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(right); i++)
        assert_true(skips(right[i]));
    for (size_t i = 0; i < PQB_ARRAY_LEN(wrong); i++)
        assert_false(skips(wrong[i]));
}

static void every_prefix_of_a_value_is_refused(void **state)
{
    static const char text[] = "{\"a\":[1.5e3,\"\\u00e9\\n\",{\"b\":null}],\"c\":[[true],{}]}";

    (void)state;
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        struct pqb_json_scan s;

        pqb_json_scan_init(&s, text, len);
        assert_false(pqb_json_scan_skip(&s));
    }
    assert_true(skips(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_string_is_read_with_its_escapes_undone),
        cmocka_unit_test(a_wrong_string_is_refused),
        cmocka_unit_test(a_string_that_does_not_fit_is_refused),
        cmocka_unit_test(any_value_can_be_stepped_over),
        cmocka_unit_test(every_prefix_of_a_value_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
