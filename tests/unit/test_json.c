#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/json.h"

static void nested_values_are_separated_by_commas(void **state)
{
    struct pqb_json j;

    (void)state;
    pqb_json_init(&j, 4096);
    pqb_json_object_begin(&j, NULL);
    pqb_json_uint(&j, "a", UINT64_MAX);
    pqb_json_array_begin(&j, "b");
    pqb_json_uint(&j, NULL, 1);
    pqb_json_object_begin(&j, NULL);
    pqb_json_object_end(&j);
    pqb_json_array_begin(&j, NULL);
    pqb_json_array_end(&j);
    pqb_json_array_end(&j);
    pqb_json_bool(&j, "c", true);
    pqb_json_real(&j, "d", 1.25, 1);
    pqb_json_string(&j, "e", "x");
    pqb_json_object_end(&j);
    assert_string_equal(pqb_json_text(&j), "{\"a\":18446744073709551615,\"b\":[1,{},[]],"
                                           "\"c\":true,\"d\":1.2,\"e\":\"x\"}");
    pqb_json_fini(&j);
}

static void strings_are_escaped_and_bad_utf8_is_replaced(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"\n\x01\x7f", "\"\\u000a\\u0001\\u007f\""},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\xc3", "\"\\ufffd\""},                       // cut short
        {"\xc0\xaf", "\"\\ufffd\\ufffd\""},            // overlong
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""}, // surrogate
        {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
        {"\x80z", "\"\\ufffdz\""},
    };
    struct pqb_json j;

    (void)state;
    pqb_json_init(&j, 4096);
    for (size_t i = 0; i < PQB_ARRAY_LEN(cases); i++) {
        pqb_json_clear(&j);
        pqb_json_string(&j, NULL, cases[i].in);
        assert_string_equal(pqb_json_text(&j), cases[i].out);
    }
    pqb_json_clear(&j);
    pqb_json_text_n(&j, NULL, "a\0b", 3);
    assert_string_equal(pqb_json_text(&j), "\"a\\u0000b\"");
    pqb_json_fini(&j);
}

static void a_text_beyond_the_bound_fails_as_a_whole(void **state)
{
    struct pqb_json j;

    (void)state;
    pqb_json_init(&j, 8);
    pqb_json_string(&j, NULL, "abcd");
    assert_string_equal(pqb_json_text(&j), "\"abcd\"");
    pqb_json_uint(&j, NULL, 123);
    assert_null(pqb_json_text(&j));
    pqb_json_clear(&j);
    pqb_json_uint(&j, NULL, 123);
    assert_string_equal(pqb_json_text(&j), "123");
    pqb_json_fini(&j);
}

static void members_written_apart_join_an_object(void **state)
{
    struct pqb_json j, apart;

    (void)state;
    pqb_json_init(&j, 4096);
    pqb_json_init(&apart, 4096);
    pqb_json_object_begin(&j, NULL);
    pqb_json_members(&j, &apart);
    pqb_json_uint(&j, "a", 1);
    pqb_json_uint(&apart, "b", 2);
    pqb_json_uint(&apart, "c", 3);
    pqb_json_members(&j, &apart);
    pqb_json_object_end(&j);
    assert_string_equal(pqb_json_text(&j), "{\"a\":1,\"b\":2,\"c\":3}");
    pqb_json_fini(&apart);
    pqb_json_fini(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nested_values_are_separated_by_commas),
        cmocka_unit_test(strings_are_escaped_and_bad_utf8_is_replaced),
        cmocka_unit_test(members_written_apart_join_an_object),
        cmocka_unit_test(a_text_beyond_the_bound_fails_as_a_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
