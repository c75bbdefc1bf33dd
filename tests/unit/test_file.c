// Small files that must be whole, and hexadecimal digits.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/file.h"
#include "common/base/hex.h"

static char directory[64];
static int folder = -1;

static int begin(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof(directory), "/tmp/test-file-XXXXXX");
    if (mkdtemp(directory) == NULL)
        return -1;
    folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return folder < 0 ? -1 : 0;
}

static int end(void **state)
{
    static const char *const names[] = {"a", "a.new", "target"};

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(names); i++)
        (void)unlinkat(folder, names[i], 0);
    (void)close(folder);
    return rmdir(directory); // nothing else was left behind
}

static void must_hold(const char *name, const char *text)
{
    char found[200] = "";
    size_t len;

    assert_int_equal(pqb_file_read(folder, name, found, sizeof(found), &len), PQB_OK);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(found, text, len);
}

static mode_t mode_of(const char *name)
{
    struct stat st;

    assert_int_equal(fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_mode & 07777;
}

static void put(const char *name, mode_t mode, const char *text)
{
    const int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    assert_int_equal(pqb_file_replace(folder, "a", "first", 5), PQB_OK);
    must_hold("a", "first");
    assert_int_equal(pqb_file_replace(folder, "a", "", 0), PQB_OK);
    must_hold("a", "");
    assert_int_equal(pqb_file_replace(folder, "a", "the third one", 13), PQB_OK);
    must_hold("a", "the third one");
    assert_int_equal(faccessat(folder, "a.new", F_OK, 0), -1);
}

static void a_file_is_for_its_owner_only(void **state)
{
    const mode_t before = umask(0);

    (void)state;
    assert_int_equal(pqb_file_replace(folder, "a", "x", 1), PQB_OK);
    assert_int_equal(mode_of("a"), 0600);
    assert_int_equal(fchmodat(folder, "a", 0644, 0), 0);
    assert_int_equal(pqb_file_replace(folder, "a", "y", 1), PQB_OK);
    assert_int_equal(mode_of("a"), 0600);
    (void)umask(before);
}

static void what_a_crash_has_left_is_neither_read_nor_followed(void **state)
{
    (void)state;
    put("a.new", 0666, "left by somebody, longer than what comes");
    assert_int_equal(pqb_file_replace(folder, "a", "secret", 6), PQB_OK);
    assert_int_equal(mode_of("a"), 0600);
    must_hold("a", "secret");
    put("target", 0644, "not ours");
    assert_int_equal(symlinkat("target", folder, "a.new"), 0);
    assert_int_equal(pqb_file_replace(folder, "a", "secret 2", 8), PQB_OK);
    must_hold("target", "not ours");
    must_hold("a", "secret 2");
    assert_int_equal(mode_of("a"), 0600);
}

static void a_failed_replacement_leaves_the_old_file_and_no_other(void **state)
{
    (void)state;
    assert_int_equal(mkdirat(folder, "a", 0700), 0); // a file cannot take its place
    assert_int_not_equal(pqb_file_replace(folder, "a", "secret", 6), PQB_OK);
    assert_int_equal(errno, EISDIR);
    assert_int_equal(faccessat(folder, "a.new", F_OK, 0), -1);
    assert_int_equal(unlinkat(folder, "a", AT_REMOVEDIR), 0);
    assert_int_equal(mkdirat(folder, "a.new", 0700), 0);
    assert_int_not_equal(pqb_file_replace(folder, "a", "secret", 6), PQB_OK);
    assert_int_equal(unlinkat(folder, "a.new", AT_REMOVEDIR), 0);
    assert_int_not_equal(pqb_file_replace(-1, "a", "secret", 6), PQB_OK);
}

static void names_of_any_length_are_refused_from_200_bytes_on(void **state)
{
    char name[300];

    (void)state;
    memset(name, 'n', sizeof(name));
    name[201] = '\0';
    assert_int_equal(pqb_file_replace(folder, name, "x", 1), PQB_ERR_INVALID);
    name[200] = '\0';
    assert_int_equal(pqb_file_replace(folder, name, "x", 1), PQB_OK);
    assert_int_equal(unlinkat(folder, name, 0), 0);
}

static void a_file_may_be_as_long_as_the_limit_and_no_longer(void **state)
{
    char found[8];
    size_t len;

    (void)state;
    assert_int_equal(pqb_file_replace(folder, "a", "12345678", 8), PQB_OK);
    assert_int_equal(pqb_file_read(folder, "a", found, 8, &len), PQB_OK);
    assert_int_equal(len, 8);
    assert_int_equal(pqb_file_read(folder, "a", found, 7, &len), PQB_ERR_TOO_LARGE);
    assert_int_equal(pqb_file_read(folder, "b", found, 7, &len), PQB_ERR_NOT_FOUND);
}

static void directories_are_made_down_to_the_last(void **state)
{
    static const char *const made[] = {"/x/y/z", "/x/y", "/x"};
    char path[100];
    struct stat st;

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/x/y//z/", directory);
    assert_int_equal(pqb_dir_make(path), PQB_OK);
    assert_int_equal(pqb_dir_make(path), PQB_OK);
    for (size_t i = 0; i < PQB_ARRAY_LEN(made); i++) {
        (void)snprintf(path, sizeof(path), "%s%s", directory, made[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        assert_int_equal(rmdir(path), 0);
    }
    assert_int_equal(pqb_dir_make("/"), PQB_OK);
    assert_int_equal(pqb_dir_make(""), PQB_ERR_INVALID);
}

static void digits_go_there_and_back(void **state)
{
    uint8_t bytes[256], again[256];
    char text[2 * sizeof(bytes) + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    pqb_hex_encode(bytes, sizeof(bytes), text);
    assert_int_equal(strlen(text), 512);
    assert_memory_equal(text + 2 * 0x9a, "9a9b", 4);
    assert_int_equal(pqb_hex_decode(text, 512, again, 256), PQB_OK);
    assert_memory_equal(bytes, again, sizeof(bytes));
    assert_int_equal(pqb_hex_decode("aBfF09", 6, again, 3), PQB_OK);
    assert_memory_equal(again, "\xab\xff\x09", 3);
}

static void only_so_many_digits_are_taken(void **state)
{
    static const char *const bad[] = {"",     "0",    "00 ",  "0g00", "00/0",  "00:0",  "@000",
                                      "00`0", "G000", "-100", "0x00", "00000", "000000"};
    uint8_t out[2];

    (void)state;
    assert_int_equal(pqb_hex_decode("", 0, out, 0), PQB_OK);
    for (size_t i = 0; i < PQB_ARRAY_LEN(bad); i++)
        assert_int_equal(pqb_hex_decode(bad[i], strlen(bad[i]), out, 2), PQB_ERR_INVALID);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(what_is_written_is_read),
        CASE(a_file_is_for_its_owner_only),
        CASE(what_a_crash_has_left_is_neither_read_nor_followed),
        CASE(a_failed_replacement_leaves_the_old_file_and_no_other),
        CASE(names_of_any_length_are_refused_from_200_bytes_on),
        CASE(a_file_may_be_as_long_as_the_limit_and_no_longer),
        CASE(directories_are_made_down_to_the_last),
        cmocka_unit_test(digits_go_there_and_back),
        cmocka_unit_test(only_so_many_digits_are_taken),
    };
#undef CASE

    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
