#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "gateway/config/tokens.h"

static int parse(struct pqb_tokens **t, const char *text, struct pqb_config_error *error)
{
    return pqb_tokens_parse(t, "tokens", text, strlen(text), error);
}

static bool match(const struct pqb_tokens *t, const char *user, const char *device,
                  const char *token)
{
    return pqb_tokens_match(t, user, strlen(user), device, strlen(device), token, strlen(token));
}

static void a_token_lets_in_its_user_and_device_only(void **state)
{
    struct pqb_tokens *t;
    struct pqb_config_error error;

    (void)state;
    assert_int_equal(parse(&t,
                           "# who may come\n\n"
                           "bob phone s3cret\r\n"
                           "  alice\tlaptop   other#1\n"
                           "alice phone third",
                           &error),
                     PQB_OK);
    assert_int_equal(pqb_tokens_count(t), 3);
    assert_true(match(t, "bob", "phone", "s3cret"));
    assert_true(match(t, "alice", "laptop", "other#1"));
    assert_true(match(t, "alice", "phone", "third"));
    assert_false(match(t, "alice", "phone", "other#1"));
    assert_false(match(t, "bob", "laptop", "s3cret"));
    assert_false(match(t, "bob", "phone", "s3cre"));
    assert_false(match(t, "bob", "phone", "s3cret1"));
    assert_false(match(t, "bob", "phone", ""));
    assert_false(match(t, "", "", ""));
    assert_false(match(t, "bobphone", "", "s3cret"));
    pqb_tokens_destroy(t);
}

static void an_empty_file_lets_nobody_in(void **state)
{
    struct pqb_tokens *t;
    struct pqb_config_error error;

    (void)state;
    assert_int_equal(parse(&t, "", &error), PQB_OK);
    assert_false(match(t, "bob", "phone", ""));
    pqb_tokens_destroy(t);
}

static void wrong_lines_are_named(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"bob phone", "tokens:1: a line has three words"},
        {"\nbob phone a b", "tokens:2: a line has three words"},
        {"bob phone a\nal phone a\nbob phone b\n", "tokens:3: this user and device"},
        {"bob 123456789012345678901234567890123 a", "a device 32"},
    };

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(cases); i++) {
        struct pqb_tokens *t = NULL;
        struct pqb_config_error error = {""};

        assert_int_equal(parse(&t, cases[i].text, &error), PQB_ERR_INVALID);
        assert_null(t);
        if (strstr(error.text, cases[i].says) == NULL)
            fail_msg("'%s' said '%s'", cases[i].text, error.text);
    }
}

static void a_file_that_is_not_there_says_so(void **state)
{
    struct pqb_tokens *t = NULL;
    struct pqb_config_error error;

    (void)state;
    assert_int_equal(pqb_tokens_load(&t, "/nonexistent/tokens", &error), PQB_ERR_NOT_FOUND);
    assert_non_null(strstr(error.text, "No such file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_lets_in_its_user_and_device_only),
        cmocka_unit_test(an_empty_file_lets_nobody_in),
        cmocka_unit_test(wrong_lines_are_named),
        cmocka_unit_test(a_file_that_is_not_there_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
