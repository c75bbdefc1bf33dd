// The gateway's secrets as files: made, read, rotated, and refused when they are damaged.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
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
#include "common/base/hex.h"
#include "common/proto/aead.h"
#include "gateway/io/key_files.h"

#define NOW UINT64_C(1767225600000) // 2026-01-01
#define DAY PQB_TICKET_KEY_ROTATE_MS

static char directory[64];
static struct pqb_secret_rng rng;
static char error[PQB_KEY_FILES_ERROR_MAX];

static int begin(void **state)
{
    const uint8_t seed[PQB_SECRET_SEED_LEN] = {1};

    (void)state;
    (void)snprintf(directory, sizeof(directory), "/tmp/test-keys-XXXXXX");
    pqb_secret_rng_init(&rng, seed);
    error[0] = '\0';
    return mkdtemp(directory) != NULL ? pqb_aead_init() : -1;
}

static const char *path_of(const char *name)
{
    static char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

static int end(void **state)
{
    (void)state;
    (void)unlink(path_of(PQB_SERVER_KEY_FILE));
    (void)unlink(path_of(PQB_TICKET_KEYS_FILE));
    return rmdir(directory); // nothing else was left behind
}

static struct pqb_server_keys *load(pqb_wall_ms now)
{
    struct pqb_server_keys *keys = NULL;

    if (pqb_key_files_load(&keys, directory, &rng, now, NULL, error) != PQB_OK)
        fail_msg("%s", error);
    assert_non_null(keys);
    return keys;
}

static size_t read_file(const char *name, char *out, size_t size)
{
    FILE *file = fopen(path_of(name), "rb");

    assert_non_null(file);
    const size_t len = fread(out, 1, size - 1, file);
    assert_int_equal(fclose(file), 0);
    out[len] = '\0';
    return len;
}

static void write_file(const char *name, const void *data, size_t len)
{
    FILE *file = fopen(path_of(name), "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void write_text(const char *name, const char *text)
{
    write_file(name, text, strlen(text));
}

static void what_is_missing_is_made_for_the_owner_only(void **state)
{
    static const char *const names[] = {PQB_SERVER_KEY_FILE, PQB_TICKET_KEYS_FILE};
    const mode_t before = umask(0);
    struct pqb_server_keys *keys = NULL;
    bool is_new = false;
    struct stat st;

    (void)state;
    assert_int_equal(pqb_key_files_load(&keys, directory, &rng, NOW, &is_new, error), PQB_OK);
    (void)umask(before);
    assert_true(is_new);
    assert_int_equal(keys->count, 1);
    assert_int_equal(keys->tickets.count, 1);
    assert_int_equal(keys->ciphers, pqb_aead_ciphers());
    for (size_t i = 0; i < PQB_ARRAY_LEN(names); i++) {
        assert_int_equal(stat(path_of(names[i]), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
    pqb_secret_free(keys);
}

static void the_next_start_finds_the_same_keys(void **state)
{
    struct pqb_server_keys *first = load(NOW), *second = NULL;
    bool is_new = true;

    (void)state;
    assert_int_equal(pqb_key_files_load(&second, directory, &rng, NOW + 1, &is_new, error), PQB_OK);
    assert_false(is_new);
    assert_memory_equal(first, second, sizeof(*first));
    pqb_secret_free(first);
    pqb_secret_free(second);
}

static void the_files_are_what_the_header_says(void **state)
{
    struct pqb_server_keys *keys = load(NOW);
    char text[500], digits[2 * PQB_KEY_LEN + 1], expected[500];

    (void)state;
    pqb_hex_encode(keys->at[0].pair.secret, PQB_KEY_LEN, digits);
    (void)snprintf(expected, sizeof(expected), "%s\n", digits);
    (void)read_file(PQB_SERVER_KEY_FILE, text, sizeof(text));
    assert_string_equal(text, expected);
    pqb_hex_encode(keys->tickets.at[0].key, PQB_KEY_LEN, digits);
    (void)snprintf(expected, sizeof(expected), "01 1767225600000 %s\n", digits);
    (void)read_file(PQB_TICKET_KEYS_FILE, text, sizeof(text));
    assert_string_equal(text, expected);
    pqb_secret_free(keys);
}

static void a_ticket_key_seals_for_a_day(void **state)
{
    struct pqb_server_keys *keys = load(NOW);
    struct pqb_ticket_key first = keys->tickets.at[0];

    (void)state;
    pqb_secret_free(keys);
    assert_int_equal(pqb_key_files_ticket_key_made(directory), NOW);
    keys = load(NOW + DAY - 1);
    assert_int_equal(keys->tickets.count, 1);
    pqb_secret_free(keys);
    keys = load(NOW + DAY);
    assert_int_equal(keys->tickets.count, 2);
    assert_int_equal(keys->tickets.at[0].id, first.id + 1);
    assert_memory_not_equal(keys->tickets.at[0].key, first.key, PQB_KEY_LEN);
    assert_memory_equal(&keys->tickets.at[1], &first, sizeof(first));
    pqb_secret_free(keys);
    assert_int_equal(pqb_key_files_ticket_key_made(directory), NOW + DAY);
}

static void eight_ticket_keys_are_kept_the_newest_first(void **state)
{
    uint8_t first[PQB_KEY_LEN];
    struct pqb_server_keys *keys = load(NOW);

    (void)state;
    memcpy(first, keys->tickets.at[0].key, PQB_KEY_LEN);
    pqb_secret_free(keys);
    for (uint64_t day = 1; day <= 7; day++)
        pqb_secret_free(load(NOW + day * DAY));
    // A ticket of the first day's last moment is good for a week: its key is still there.
    keys = load(NOW + 8 * DAY - 1);
    assert_int_equal(keys->tickets.count, PQB_TICKET_KEYS_MAX);
    for (size_t i = 0; i < keys->tickets.count; i++)
        assert_int_equal(keys->tickets.at[i].id, 8 - i);
    assert_memory_equal(keys->tickets.at[7].key, first, PQB_KEY_LEN);
    pqb_secret_free(keys);
    keys = load(NOW + 8 * DAY);
    assert_int_equal(keys->tickets.count, PQB_TICKET_KEYS_MAX);
    assert_int_equal(keys->tickets.at[0].id, 9);
    for (size_t i = 0; i < keys->tickets.count; i++)
        assert_memory_not_equal(keys->tickets.at[i].key, first, PQB_KEY_LEN);
    pqb_secret_free(keys);
}

static void ids_of_ticket_keys_wrap(void **state)
{
    struct pqb_server_keys *keys;

    (void)state;
    write_text(PQB_TICKET_KEYS_FILE,
               "ff 5 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n");
    keys = load(NOW);
    assert_int_equal(keys->tickets.at[0].id, 0);
    assert_int_equal(keys->tickets.at[1].id, 255);
    pqb_secret_free(keys);
}

static void a_clock_set_back_brings_one_new_key_and_no_more(void **state)
{
    struct pqb_server_keys *keys = load(NOW);

    (void)state;
    pqb_secret_free(keys);
    keys = load(NOW - 1);
    assert_int_equal(keys->tickets.count, 2);
    pqb_secret_free(keys);
    keys = load(NOW);
    assert_int_equal(keys->tickets.count, 2);
    pqb_secret_free(keys);
    keys = load(NOW - 1 + DAY);
    assert_int_equal(keys->tickets.count, 3);
    pqb_secret_free(keys);
}

static void a_ticket_key_that_cannot_be_written_keeps_nobody_from_starting(void **state)
{
    struct pqb_server_keys *before, *keys = NULL;

    (void)state;
    for (uint64_t day = 0; day <= 7; day++)
        pqb_secret_free(load(NOW + day * DAY));
    before = load(NOW + 7 * DAY);
    assert_int_equal(mkdir(path_of(PQB_TICKET_KEYS_FILE ".new"), 0700), 0); // as a full disk does
    keys = load(NOW + 8 * DAY);
    assert_memory_equal(keys, before, sizeof(*keys));
    assert_int_equal(pqb_key_files_ticket_key_made(directory), NOW + 7 * DAY); // it is still due
    pqb_secret_free(keys);
    assert_int_equal(rmdir(path_of(PQB_TICKET_KEYS_FILE ".new")), 0);
    keys = load(NOW + 8 * DAY + 1);
    assert_int_equal(keys->tickets.at[0].id, 9);
    assert_memory_equal(&keys->tickets.at[1], &before->tickets.at[0],
                        7 * sizeof(before->tickets.at[0]));
    pqb_secret_free(keys);
    pqb_secret_free(before);
}

static void what_is_made_first_must_be_written(void **state)
{
    struct pqb_server_keys *keys = NULL;

    (void)state;
    assert_int_equal(mkdir(path_of(PQB_SERVER_KEY_FILE ".new"), 0700), 0);
    assert_int_not_equal(pqb_key_files_load(&keys, directory, &rng, NOW, NULL, error), PQB_OK);
    assert_non_null(strstr(error, "cannot write the keys in"));
    assert_null(keys);
    assert_int_not_equal(pqb_key_files_rotate_server(directory, &rng, error), PQB_OK);
    assert_int_equal(rmdir(path_of(PQB_SERVER_KEY_FILE ".new")), 0);
    assert_int_equal(mkdir(path_of(PQB_TICKET_KEYS_FILE ".new"), 0700), 0);
    assert_int_not_equal(pqb_key_files_load(&keys, directory, &rng, NOW, NULL, error), PQB_OK);
    assert_int_equal(rmdir(path_of(PQB_TICKET_KEYS_FILE ".new")), 0);
}

static void a_rotation_keeps_the_key_before_and_no_older_one(void **state)
{
    struct pqb_server_keys *first = load(NOW), *second, *third;

    (void)state;
    assert_int_equal(pqb_key_files_rotate_server(directory, &rng, error), PQB_OK);
    second = load(NOW);
    assert_int_equal(second->count, 2);
    assert_memory_equal(&second->at[1], &first->at[0], sizeof(first->at[0]));
    assert_memory_not_equal(second->at[0].pair.secret, first->at[0].pair.secret, PQB_KEY_LEN);
    assert_int_equal(pqb_key_files_rotate_server(directory, &rng, error), PQB_OK);
    third = load(NOW);
    assert_int_equal(third->count, 2);
    assert_memory_equal(&third->at[1], &second->at[0], sizeof(second->at[0]));
    assert_memory_not_equal(third->at[0].pair.secret, first->at[0].pair.secret, PQB_KEY_LEN);
    pqb_secret_free(first);
    pqb_secret_free(second);
    pqb_secret_free(third);
}

static void the_public_keys_are_told_and_nothing_is_made(void **state)
{
    uint8_t public[PQB_SERVER_KEYS_MAX][PQB_KEY_LEN];
    struct pqb_server_keys *keys;
    size_t count = 7;

    (void)state;
    assert_int_equal(pqb_key_files_public(directory, public, &count, error), PQB_ERR_NOT_FOUND);
    assert_int_equal(count, 0);
    assert_non_null(strstr(error, "makes it at its start"));
    assert_int_equal(access(path_of(PQB_SERVER_KEY_FILE), F_OK), -1);
    assert_int_equal(pqb_key_files_ticket_key_made(directory), 0);
    assert_int_equal(pqb_key_files_rotate_server(directory, &rng, error), PQB_OK);
    assert_int_equal(pqb_key_files_rotate_server(directory, &rng, error), PQB_OK);
    keys = load(NOW);
    assert_int_equal(pqb_key_files_public(directory, public, &count, error), PQB_OK);
    assert_int_equal(count, 2);
    assert_memory_equal(public[0], keys -> at[0].pair.public, PQB_KEY_LEN);
    assert_memory_equal(public[1], keys -> at[1].pair.public, PQB_KEY_LEN);
    pqb_secret_free(keys);
}

#define KEY   "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define LINE  KEY "\n"
#define TLINE "01 5 " KEY "\n"

static void must_refuse(const char *name, const char *advice)
{
    static char before[8192], after[8192];
    struct pqb_server_keys *keys = NULL;
    const size_t len = read_file(name, before, sizeof(before));

    error[0] = '\0';
    assert_int_equal(pqb_key_files_load(&keys, directory, &rng, NOW, NULL, error), PQB_ERR_CORRUPT);
    assert_null(keys);
    assert_non_null(strstr(error, path_of(name)));
    assert_non_null(strstr(error, "restore it from a backup"));
    assert_non_null(strstr(error, advice));
    assert_int_equal(pqb_key_files_rotate_server(directory, &rng, error), PQB_ERR_CORRUPT);
    assert_int_equal(read_file(name, after, sizeof(after)), len); // and it is left as it is
    assert_memory_equal(before, after, len);
    assert_null(strstr(error, "0001020304")); // no key in a log
    assert_int_equal(unlink(path_of(name)), 0);
}

static void a_damaged_server_key_is_refused_and_not_replaced(void **state)
{
    static const char *const bad[] = {
        "",       "\n",     KEY "\n\n",         LINE LINE LINE, "00" KEY "\n",
        "0g" KEY, " " LINE, "# comment\n" LINE, KEY "\r\n",     LINE "00\n",
    };

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(bad); i++) {
        write_text(PQB_SERVER_KEY_FILE, bad[i]);
        must_refuse(PQB_SERVER_KEY_FILE, "told the new server key");
    }
}

static void zeros_after_a_power_cut_are_damage_and_not_a_missing_key(void **state)
{
    static const char zeros[65];

    (void)state;
    write_file(PQB_SERVER_KEY_FILE, zeros, sizeof(zeros));
    must_refuse(PQB_SERVER_KEY_FILE, "told the new server key");
    write_file(PQB_SERVER_KEY_FILE, LINE "\0", sizeof(LINE));
    must_refuse(PQB_SERVER_KEY_FILE, "told the new server key");
    write_file(PQB_TICKET_KEYS_FILE, zeros, sizeof(zeros));
    must_refuse(PQB_TICKET_KEYS_FILE, "log in in full once");
}

static void a_file_that_is_too_long_is_refused_with_what_to_do(void **state)
{
    static char text[4097];

    (void)state;
    memset(text, '0', sizeof(text));
    write_file(PQB_SERVER_KEY_FILE, text, 4095);
    must_refuse(PQB_SERVER_KEY_FILE, "told the new server key");
    write_file(PQB_SERVER_KEY_FILE, text, 4096);
    must_refuse(PQB_SERVER_KEY_FILE, "told the new server key");
    write_file(PQB_TICKET_KEYS_FILE, text, 4097);
    must_refuse(PQB_TICKET_KEYS_FILE, "log in in full once");
}

static void damaged_ticket_keys_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "\n",
        "01\n",
        "01 5\n",
        "01 5 \n",
        "1 5 " KEY "\n",
        "01  5 " KEY "\n",
        "01 -5 " KEY "\n",
        "01 +5 " KEY "\n",
        "01 0x5 " KEY "\n",
        "01 18446744073709551616 " KEY "\n",
        "01 5 " KEY "00\n",
        "01 5 " KEY " \n",
        TLINE TLINE TLINE TLINE TLINE TLINE TLINE TLINE TLINE,
    };

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(bad); i++) {
        write_text(PQB_TICKET_KEYS_FILE, bad[i]);
        must_refuse(PQB_TICKET_KEYS_FILE, "log in in full once");
        (void)unlink(path_of(PQB_SERVER_KEY_FILE));
    }
}

static void as_many_lines_as_are_kept_are_read(void **state)
{
    struct pqb_server_keys *keys;

    (void)state;
    write_text(PQB_SERVER_KEY_FILE, LINE KEY); // the last line's end may be missing
    write_text(PQB_TICKET_KEYS_FILE, TLINE TLINE TLINE TLINE TLINE TLINE TLINE TLINE);
    keys = load(6);
    assert_int_equal(keys->count, 2);
    assert_int_equal(keys->tickets.count, 8);
    assert_int_equal(keys->tickets.at[7].key[31], 0x1f);
    pqb_secret_free(keys);
}

static void a_folder_that_is_not_there_is_named(void **state)
{
    struct pqb_server_keys *keys = NULL;

    (void)state;
    assert_int_equal(pqb_key_files_load(&keys, "/nowhere/at/all", &rng, NOW, NULL, error),
                     PQB_ERR_NOT_FOUND);
    assert_non_null(strstr(error, "/nowhere/at/all"));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(what_is_missing_is_made_for_the_owner_only),
        CASE(the_next_start_finds_the_same_keys),
        CASE(the_files_are_what_the_header_says),
        CASE(a_ticket_key_seals_for_a_day),
        CASE(eight_ticket_keys_are_kept_the_newest_first),
        CASE(ids_of_ticket_keys_wrap),
        CASE(a_clock_set_back_brings_one_new_key_and_no_more),
        CASE(a_ticket_key_that_cannot_be_written_keeps_nobody_from_starting),
        CASE(what_is_made_first_must_be_written),
        CASE(a_rotation_keeps_the_key_before_and_no_older_one),
        CASE(the_public_keys_are_told_and_nothing_is_made),
        CASE(a_damaged_server_key_is_refused_and_not_replaced),
        CASE(zeros_after_a_power_cut_are_damage_and_not_a_missing_key),
        CASE(a_file_that_is_too_long_is_refused_with_what_to_do),
        CASE(damaged_ticket_keys_are_refused),
        CASE(as_many_lines_as_are_kept_are_read),
        CASE(a_folder_that_is_not_there_is_named),
    };
#undef CASE

    return cmocka_run_group_tests_name("key_files", tests, NULL, NULL);
}
