#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/defs.h"
#include "tools/pqbctl/json_read.h"

static char buffer[512];

static struct ctl_json *parse(const char *text)
{
    (void)snprintf(buffer, sizeof(buffer), "%s", text);
    return ctl_json_parse(buffer);
}

static void objects_arrays_and_words_are_read(void **state)
{
    struct ctl_json *j = parse("{\"a\":1,\"b\":[true,{\"c\":\"x\"},[]],\"d\":{}, \"e\" : -1.5e3 }");
    const struct ctl_json *b;

    (void)state;
    assert_non_null(j);
    assert_string_equal(ctl_json_text(j, "a"), "1");
    assert_string_equal(ctl_json_text(j, "e"), "-1.5e3");
    assert_string_equal(ctl_json_text(j, "none"), "");
    b = ctl_json_get(j, "b");
    assert_int_equal(b->type, CTL_JSON_ARRAY);
    assert_string_equal(b->first->text, "true");
    assert_string_equal(ctl_json_text(b->first->next, "c"), "x");
    assert_int_equal(b->first->next->next->type, CTL_JSON_ARRAY);
    assert_null(b->first->next->next->next);
    assert_int_equal(ctl_json_get(j, "d")->type, CTL_JSON_OBJECT);
    ctl_json_destroy(j);
}

static void escapes_are_undone(void **state)
{
    struct ctl_json *j = parse("[\"a\\\"\\\\\\n\\u0041\\u00e9\\u20ac\\ud800\"]");

    (void)state;
    assert_non_null(j);
    assert_string_equal(j->first->text, "a\"\\\nA\xc3\xa9\xe2\x82\xac\xef\xbf\xbd");
    ctl_json_destroy(j);
}

static void what_is_not_json_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "1",
        "\"a\"",
        "{",
        "[",
        "[1",
        "[1,]",
        "[,1]",
        "{1:2}",
        "{\"a\"}",
        "{\"a\":}",
        "[\"a]",
        "[\"\\x\"]",
        "[\"\\u12\"]",
        "[] x",
        "[1 2]",
        "[}",
        "{\"a\":1]",
        "[[[[[[[[[]]]]]]]]]",
    };

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(texts); i++) {
        if (parse(texts[i]) != NULL)
            fail_msg("'%s' was read", texts[i]);
    }
}

static void eight_levels_are_read(void **state)
{
    struct ctl_json *j = parse("[[[[[[[[]]]]]]]]");

    (void)state;
    assert_non_null(j);
    ctl_json_destroy(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_arrays_and_words_are_read),
        cmocka_unit_test(escapes_are_undone),
        cmocka_unit_test(what_is_not_json_is_refused),
        cmocka_unit_test(eight_levels_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
