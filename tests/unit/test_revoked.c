#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "common/base/err.h"
#include "gateway/config/revoked.h"

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"

static int parse(struct pqb_revoked **r, const char *text, struct pqb_config_error *error)
{
    return pqb_revoked_parse(r, "revoked", text, strlen(text), error);
}

static bool has(const struct pqb_revoked *r, const char *user, const char *device)
{
    return pqb_revoked_has(r, user, strlen(user), device, strlen(device));
}

static void users_devices_and_keys_are_revoked(void **state)
{
    struct pqb_revoked *r;
    struct pqb_config_error error;

    (void)state;
    assert_int_equal(parse(&r,
                           "# lost in May\n\n"
                           "device bob phone\r\n"
                           "  user\teve   \n"
                           "key " KEY "\n"
                           "device bob phone\n"
                           "user ann",
                           &error),
                     PQB_OK);
    assert_true(has(r, "bob", "phone"));
    assert_false(has(r, "bob", "laptop"));
    assert_false(has(r, "bob", "phone2"));
    assert_false(has(r, "bob", "phon"));
    assert_false(has(r, "bo", "phone"));
    assert_true(has(r, "eve", "phone"));
    assert_true(has(r, "eve", "anything"));
    assert_true(has(r, "ann", "phone"));
    assert_false(has(r, "ann2", "phone"));
    assert_false(has(r, "bobphone", ""));
    assert_int_equal(pqb_revoked_name_count(r), 4);
    assert_int_equal(pqb_revoked_key_count(r), 1);
    for (uint8_t i = 0; i < PQB_REVOKED_KEY_LEN; i++)
        assert_int_equal(pqb_revoked_key(r, 0)[i], i);
    pqb_revoked_destroy(r);
}

static void an_empty_file_revokes_nobody(void **state)
{
    struct pqb_revoked *r;
    struct pqb_config_error error;

    (void)state;
    assert_int_equal(parse(&r, "", &error), PQB_OK);
    assert_false(has(r, "bob", "phone"));
    assert_int_equal(pqb_revoked_name_count(r) + pqb_revoked_key_count(r), 0);
    pqb_revoked_destroy(r);
    pqb_revoked_destroy(NULL);
}

static void a_wrong_line_is_named_with_what_to_write(void **state)
{
    static const struct {
        const char *text, *told;
    } cases[] = {
        {"user", "revoked:1: a line is 'user NAME', 'device USER DEVICE' or 'key HEX'"},
        {"user a b", "'user NAME'"},
        {"user ann\n\ndevice bob", "revoked:3: a line is"},
        {"device a b c", "'device USER DEVICE'"},
        {"group a", "'user NAME'"},
        {"User a", "'user NAME'"},
        {"key", "'key HEX'"},
        {"key 0001", "64 hexadecimal digits"},
        {"key " KEY "00", "64 hexadecimal digits"},
        {"key x00102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F", "64 hexa"},
        {"user "
         "u1234567890123456789012345678901234567890123456789012345678901234",
         "at most 64"},
        {"device ann d12345678901234567890123456789012", "device 32"},
    };

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(cases); i++) {
        struct pqb_revoked *r = NULL;
        struct pqb_config_error error = {""};

        assert_int_equal(parse(&r, cases[i].text, &error), PQB_ERR_INVALID);
        assert_non_null(strstr(error.text, cases[i].told));
        assert_null(r);
    }
}

// Against a list that is searched from the front.
static void many_names_are_found_and_no_others(void **state)
{
    enum {
        NAMES = 500
    };
    static char text[NAMES * 32];
    struct pqb_revoked *r;
    struct pqb_config_error error;
    size_t len = 0;

    (void)state;
    for (unsigned i = 0; i < NAMES; i++) {
        const unsigned n = i * 7919 % NAMES * 2; // the even ones, in no order

        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s u%u%s\n",
                                n % 4 == 0 ? "user" : "device", n, n % 4 == 0 ? "" : " phone");
    }
    assert_int_equal(pqb_revoked_parse(&r, "revoked", text, len, &error), PQB_OK);
    for (unsigned n = 0; n < NAMES * 2; n++) {
        char user[16];

        (void)snprintf(user, sizeof(user), "u%u", n);
        assert_int_equal(has(r, user, "phone"), n % 2 == 0);
        assert_int_equal(has(r, user, "laptop"), n % 4 == 0);
    }
    pqb_revoked_destroy(r);
}

static void a_file_is_read_and_its_absence_is_told(void **state)
{
    char path[] = "/tmp/test_revoked.XXXXXX";
    const int fd = mkstemp(path);
    struct pqb_revoked *r;
    struct pqb_config_error error;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "user eve\n", 9), 9);
    (void)close(fd);
    assert_int_equal(pqb_revoked_load(&r, path, &error), PQB_OK);
    assert_true(has(r, "eve", "phone"));
    pqb_revoked_destroy(r);
    (void)unlink(path);
    assert_int_equal(pqb_revoked_load(&r, path, &error), PQB_ERR_NOT_FOUND);
    assert_non_null(strstr(error.text, "revoked: cannot read /tmp/test_revoked."));
    assert_int_equal(pqb_revoked_load(&r, "/tmp", &error), PQB_ERR_INVALID);
    assert_non_null(strstr(error.text, "not a file of at most 16384 KiB"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_devices_and_keys_are_revoked),
        cmocka_unit_test(an_empty_file_revokes_nobody),
        cmocka_unit_test(a_wrong_line_is_named_with_what_to_write),
        cmocka_unit_test(many_names_are_found_and_no_others),
        cmocka_unit_test(a_file_is_read_and_its_absence_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
