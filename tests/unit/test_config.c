#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/time.h"
#include "gateway/config/config.h"
#include "gateway/config/options.h"

static int parse(struct pqb_config *config, const char *text, struct pqb_config_error *error)
{
    pqb_config_default(config);
    return pqb_config_parse(config, "test.conf", text, strlen(text), error);
}

// Loads from a command line of up to 12 words after the program's name.
static int load(struct pqb_config *config, const char *const *words, enum pqb_config_action *action,
                struct pqb_config_error *error)
{
    static char texts[16][64] = {"paquebotd"};
    char *argv[16] = {texts[0]};
    int argc = 1;

    for (; words[argc - 1] != NULL; argc++) {
        (void)snprintf(texts[argc], sizeof(texts[argc]), "%s", words[argc - 1]);
        argv[argc] = texts[argc];
    }
    return pqb_config_load(config, argc, argv, action, error);
}

#define LOAD(config, action, error, ...) \
    load(config, (const char *const[]){__VA_ARGS__, NULL}, action, error)

static void the_defaults_are_the_documented_ones(void **state)
{
    struct pqb_config c;
    char text[PQB_ADDR_TEXT_MAX];

    (void)state;
    pqb_config_default(&c);
    assert_int_equal(c.listen.count, 2);
    pqb_addr_format(&c.listen.addrs[0], text);
    assert_string_equal(text, "127.0.0.1:7400");
    pqb_addr_format(&c.listen.addrs[1], text);
    assert_string_equal(text, "[::1]:7400");
    assert_string_equal(c.data, "/var/lib/paquebot");
    assert_int_equal(c.inbox_messages_max, 100000);
    assert_int_equal(c.inbox_bytes_max, 64 * 1024 * 1024);
    assert_int_equal(c.idle_timeout, 600 * PQB_NS_PER_SEC);
    assert_int_equal(c.checkpoint_bytes, 64 * 1024 * 1024);
    assert_int_equal(c.checkpoint_interval, 60 * PQB_NS_PER_SEC);
    assert_int_equal(c.device_idle, 180 * 86400 * PQB_NS_PER_SEC);
    assert_int_equal(c.push_max, 200);
    assert_int_equal(c.retention, 0);
    assert_int_equal(c.retention_messages, 0);
    assert_int_equal(c.retention_bytes, 0);
}

static void a_file_sets_what_it_names_and_skips_comments(void **state)
{
    struct pqb_config c;
    struct pqb_config_error error;

    (void)state;
    assert_int_equal(parse(&c,
                           "# a comment\n"
                           "\n"
                           "  shards = 3   # behind a value\r\n"
                           "map-size=1GiB\n"
                           "listen = 127.0.0.1:1\n"
                           "listen = [::1]:2\n"
                           "durability = async\n"
                           "insecure-plaintext = yes",
                           &error),
                     PQB_OK);
    assert_int_equal(c.shards, 3);
    assert_int_equal(c.map_size, 1 << 30);
    assert_int_equal(c.listen.count, 2);
    assert_int_equal(c.listen.addrs[1].port, 2);
    assert_int_equal(c.durability, PQB_CONFIG_ASYNC);
    assert_int_equal(c.insecure_plaintext, 1);
}

static void an_unknown_key_is_named_with_its_line_and_a_suggestion(void **state)
{
    struct pqb_config c;
    struct pqb_config_error error;

    (void)state;
    assert_int_equal(parse(&c, "shards = 1\nlisen = 127.0.0.1:1\n", &error), PQB_ERR_INVALID);
    assert_string_equal(error.text, "test.conf:2: unknown option 'lisen'; did you mean 'listen'?");
    assert_int_equal(parse(&c, "completely-else = 1\n", &error), PQB_ERR_INVALID);
    assert_null(strstr(error.text, "did you mean"));
}

static void wrong_lines_are_refused_with_what_would_be_right(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"shards", "test.conf:1: 'shards' is not 'key = value'"},
        {"shards = many", "a whole number"},
        {"shards = 65", "out of range: 0 to 64"},
        {"shards = -1", "a whole number"},
        {"shards = 1\nshards = 2", "test.conf:2: 'shards' is set twice"},
        {"map-size = 64MB", "a size such as 64MiB"},
        {"map-size = 1KiB", "out of range: 16MiB to 64TiB"},
        {"idle-timeout = 10", "a time such as 10min"},
        {"idle-timeout = 999ms", "out of range: 1s to 1d"},
        {"durability = maybe", "commit | async"},
        {"insecure-plaintext = true", "yes or no"},
        {"listen = localhost:7400", "numeric address"},
        {"listen = 127.0.0.1:1\nlisten = 127.0.0.1:1", "twice"},
        {"= 3", "unknown option ''"},
    };

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(cases); i++) {
        struct pqb_config c;
        struct pqb_config_error error = {""};

        assert_int_equal(parse(&c, cases[i].text, &error), PQB_ERR_INVALID);
        if (strstr(error.text, cases[i].says) == NULL)
            fail_msg("'%s' said '%s'", cases[i].text, error.text);
    }
}

static void a_zero_byte_and_an_endless_line_are_refused(void **state)
{
    struct pqb_config c;
    struct pqb_config_error error;
    char line[1100];

    (void)state;
    pqb_config_default(&c);
    assert_int_equal(pqb_config_parse(&c, "f", "a\0b", 3, &error), PQB_ERR_INVALID);
    memset(line, '#', sizeof(line));
    assert_int_equal(pqb_config_parse(&c, "f", line, 1024, &error), PQB_OK);
    assert_int_equal(pqb_config_parse(&c, "f", line, 1025, &error), PQB_ERR_INVALID);
}

static void sizes_and_durations_parse_and_format_both_ways(void **state)
{
    static const struct {
        const char *text;
        uint64_t value;
    } sizes[] = {{"0", 0},
                 {"1B", 1},
                 {"1023B", 1023},
                 {"1KiB", 1024},
                 {"64MiB", 64 << 20},
                 {"3GiB", UINT64_C(3) << 30},
                 {"2TiB", UINT64_C(2) << 40}},
      durations[] = {{"0", 0},
                     {"1ns", 1},
                     {"100ms", 100 * PQB_NS_PER_MS},
                     {"90s", 90 * PQB_NS_PER_SEC},
                     {"10min", 600 * PQB_NS_PER_SEC},
                     {"180d", 180 * 86400 * PQB_NS_PER_SEC}};
    static const char *const wrong[] = {
        "", "MiB", "-1", "1 MiBs", "1e3", "0x1", "99999999999999999999", "1.5GiB", "17000000TiB"};
    uint64_t value;
    char text[32];

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(sizes); i++) {
        assert_true(pqb_config_parse_size(sizes[i].text, &value));
        assert_int_equal(value, sizes[i].value);
        pqb_config_format_size(value, text, sizeof(text));
        assert_string_equal(text, sizes[i].text);
    }
    for (size_t i = 0; i < PQB_ARRAY_LEN(durations); i++) {
        assert_true(pqb_config_parse_duration(durations[i].text, &value));
        assert_int_equal(value, durations[i].value);
        pqb_config_format_duration(value, text, sizeof(text));
        assert_string_equal(text, durations[i].text);
    }
    for (size_t i = 0; i < PQB_ARRAY_LEN(wrong); i++) {
        assert_false(pqb_config_parse_size(wrong[i], &value));
        assert_false(pqb_config_parse_duration(wrong[i], &value));
    }
}

static void the_command_line_wins_over_the_file(void **state)
{
    char path[] = "/tmp/test_config.XXXXXX";
    const int fd = mkstemp(path);
    static const char text[] = "shards = 2\nlisten = 127.0.0.1:1\nlisten = 127.0.0.1:2\n"
                               "push-max = 7\nauth = any\n";
    struct pqb_config c;
    struct pqb_config_error error;
    enum pqb_config_action action;

    (void)state;
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    assert_int_equal(
        LOAD(&c, &action, &error, "--listen", "[::1]:9", "--config", path, "--shards=4"), PQB_OK);
    assert_int_equal(c.shards, 4);
    assert_int_equal(c.listen.count, 1);
    assert_int_equal(c.listen.addrs[0].port, 9);
    assert_int_equal(c.push_max, 7);
    (void)close(fd);
    (void)unlink(path);
    assert_int_equal(LOAD(&c, &action, &error, "--config", path), PQB_ERR_NOT_FOUND);
}

static void paths_follow_the_data_directory_unless_given(void **state)
{
    struct pqb_config c;
    struct pqb_config_error error;
    enum pqb_config_action action;

    (void)state;
    assert_int_equal(
        LOAD(&c, &action, &error, "--data", "/d", "--auth", "any", "--stats", "/s/page"), PQB_OK);
    assert_int_equal(action, PQB_CONFIG_SERVE);
    assert_string_equal(c.control, "/d/control.sock");
    assert_string_equal(c.stats, "/s/page");
    assert_true(c.shards >= 1);
}

static void wrong_command_lines_say_what_to_do(void **state)
{
    static const struct {
        const char *words[6], *says;
    } cases[] = {
        {{"shards"}, "options begin with '--'"},
        {{"--shards"}, "--shards needs a value"},
        {{"--shard", "1"}, "unknown option '--shard'; did you mean '--shards'?"},
        {{"--shard"}, "did you mean '--shards'?"},
        {{"--auth", "any", "--auth", "any"}, "'--auth' is set twice"},
        {{"--auth", "static"}, "--token-file"},
        {{"--auth=any", "--security=plaintext", "--listen=0.0.0.0:7400"},
         "insecure-plaintext = yes"},
        {{"--auth=any", "--security=plaintext", "--listen=10.0.0.1:1", "--insecure-plaintext=yes"},
         "'any' lets"},
        {{"--auth=any", "--listen=10.0.0.1:1"}, "'any' lets"},
        {{"--auth", "token"}, "--issuer-key FILE"},
        {{"--auth", "token", "--issuer-key=k", "--security=plaintext"}, "'--security noise'"},
        {{"--auth=any", "--issuer-key=k", "--issuer-key=k"}, "'k' is given twice"},
        {{"--auth=any", "--journal-max", "64MiB"}, "larger than checkpoint-bytes"},
        {{"--auth=any", "--journal-max=16GiB"}, "smaller than map-size"},
        {{"--auth=any", "--retention-messages=100000"}, "below inbox-messages-max"},
        {{"--auth=any", "--retention-bytes=64MiB"}, "below inbox-bytes-max"},
        {{"--auth=any", "--retention-bytes=65535B"}, "at least body-max"},
    };

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(cases); i++) {
        struct pqb_config c;
        struct pqb_config_error error = {""};
        enum pqb_config_action action;

        assert_int_equal(load(&c, cases[i].words, &action, &error), PQB_ERR_INVALID);
        if (strstr(error.text, cases[i].says) == NULL)
            fail_msg("'%s' said '%s'", cases[i].words[0], error.text);
    }
}

static void limits_of_retention_lie_between_one_body_and_the_quota(void **state)
{
    struct pqb_config c;
    struct pqb_config_error error;
    enum pqb_config_action action;

    (void)state;
    assert_int_equal(LOAD(&c, &action, &error, "--auth=any", "--retention-messages=99999"), PQB_OK);
    assert_int_equal(c.retention_messages, 99999);
    assert_int_equal(LOAD(&c, &action, &error, "--auth=any", "--retention-bytes=67108863B"),
                     PQB_OK);
    assert_int_equal(c.retention_bytes, 67108863);
    assert_int_equal(LOAD(&c, &action, &error, "--auth=any", "--retention-bytes=64KiB"), PQB_OK);
}

static void help_and_version_need_no_valid_configuration(void **state)
{
    struct pqb_config c;
    struct pqb_config_error error;
    enum pqb_config_action action;

    (void)state;
    assert_int_equal(LOAD(&c, &action, &error, "--help"), PQB_OK);
    assert_int_equal(action, PQB_CONFIG_HELP);
    assert_int_equal(LOAD(&c, &action, &error, "--version"), PQB_OK);
    assert_int_equal(action, PQB_CONFIG_VERSION);
    assert_int_equal(LOAD(&c, &action, &error, "--check-config", "--auth", "any"), PQB_OK);
    assert_int_equal(action, PQB_CONFIG_CHECK);
}

static void what_is_printed_parses_back_to_the_same(void **state)
{
    struct pqb_config before, after;
    struct pqb_config_error error;
    enum pqb_config_action action;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    (void)state;
    assert_int_equal(LOAD(&before, &action, &error, "--auth=any", "--retention=30d", "--rate=5"),
                     PQB_OK);
    pqb_config_print(&before, out);
    assert_int_equal(fclose(out), 0);
    pqb_config_default(&after);
    assert_int_equal(pqb_config_parse(&after, "printed", text, len, &error), PQB_OK);
    assert_int_equal(pqb_config_diff(&before, &after, NULL, NULL), 0);
    free(text);
}

static void issuer_keys_are_a_list_that_prints_and_reloads(void **state)
{
    struct pqb_config running, fresh, again;
    struct pqb_config_error error;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    (void)state;
    assert_int_equal(parse(&running,
                           "auth = token\nissuer-key = /a b.pub\nissuer-key = c.pub\n"
                           "revoked = gone",
                           &error),
                     PQB_OK);
    assert_int_equal(running.auth, PQB_CONFIG_AUTH_TOKEN);
    assert_int_equal(running.issuer_key.count, 2);
    assert_string_equal(running.issuer_key.paths[0], "/a b.pub");
    assert_string_equal(running.issuer_key.paths[1], "c.pub");
    pqb_config_print(&running, out);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "issuer-key = /a b.pub\nissuer-key = c.pub\n"));
    assert_int_equal(parse(&again, text, &error), PQB_OK);
    assert_int_equal(pqb_config_diff(&running, &again, NULL, NULL), 0);
    free(text);
    assert_int_equal(parse(&fresh, "issuer-key = d.pub", &error), PQB_OK);
    pqb_config_take_reloadable(&running, &fresh);
    assert_int_equal(running.issuer_key.count, 1);
    assert_string_equal(running.issuer_key.paths[0], "d.pub");
    assert_string_equal(running.revoked, "");
    assert_int_equal(running.auth, PQB_CONFIG_AUTH_TOKEN);
    assert_int_equal(parse(&fresh, "issuer-key =", &error), PQB_OK);
    assert_int_equal(fresh.issuer_key.count, 0);
    assert_int_equal(parse(&fresh,
                           "issuer-key=1\nissuer-key=2\nissuer-key=3\nissuer-key=4\nissuer-key=5\n"
                           "issuer-key=6\nissuer-key=7\nissuer-key=8\nissuer-key=9",
                           &error),
                     PQB_ERR_INVALID);
    assert_string_equal(error.text, "test.conf:9: issuer-key: at most 8 files can be given");
}

static void tokens_go_with_issuers_and_encryption(void **state)
{
    struct pqb_config c;
    struct pqb_config_error error = {""};
    enum pqb_config_action action;

    (void)state;
    assert_int_equal(LOAD(&c, &action, &error, "--auth=token", "--issuer-key=k"), PQB_OK);
    assert_int_equal(c.security, PQB_CONFIG_NOISE); // the default
}

static void encrypted_sessions_are_served_on_any_address(void **state)
{
    struct pqb_config c;
    struct pqb_config_error error = {""};
    enum pqb_config_action action;

    (void)state;
    assert_int_equal(
        LOAD(&c, &action, &error, "--auth=token", "--issuer-key=k", "--listen=0.0.0.0:7400"),
        PQB_OK);
}

static void note_diff(void *ctx, const char *key, const char *before, const char *after,
                      bool is_reloadable)
{
    char *seen = ctx;
    const size_t len = strlen(seen);

    (void)snprintf(seen + len, 256 - len, "%s:%s:%s:%d;", key, before, after, is_reloadable);
}

static void a_diff_tells_what_a_reload_may_change(void **state)
{
    struct pqb_config before, after;
    struct pqb_config_error error;
    char seen[256] = "";

    (void)state;
    pqb_config_default(&before);
    assert_int_equal(parse(&after, "shards = 2\nidle-timeout = 1min", &error), PQB_OK);
    assert_int_equal(pqb_config_diff(&before, &after, note_diff, seen), 2);
    assert_string_equal(seen, "shards:0:2:0;idle-timeout:10min:1min:1;");
}

static void lists_differ_on_one_line(void **state)
{
    struct pqb_config before, after;
    struct pqb_config_error error;
    char seen[256] = "";

    (void)state;
    pqb_config_default(&before);
    assert_int_equal(parse(&after, "issuer-key = a\nissuer-key = b", &error), PQB_OK);
    assert_int_equal(pqb_config_diff(&before, &after, note_diff, seen), 1);
    assert_string_equal(seen, "issuer-key::a b:1;");
}

static void a_reload_takes_only_what_is_reloadable(void **state)
{
    struct pqb_config running, fresh;
    struct pqb_config_error error;

    (void)state;
    pqb_config_default(&running);
    assert_int_equal(parse(&fresh, "shards = 2\nidle-timeout = 1min\ntoken-file = /t", &error),
                     PQB_OK);
    pqb_config_take_reloadable(&running, &fresh);
    assert_int_equal(running.shards, 0);
    assert_int_equal(running.idle_timeout, 60 * PQB_NS_PER_SEC);
    assert_string_equal(running.token_file, "/t");
}

static void every_option_has_help_and_a_name_that_is_not_repeated(void **state)
{
    (void)state;
    for (size_t i = 0; i < pqb_option_count; i++) {
        assert_true(strlen(pqb_options[i].help) > 10);
        assert_ptr_equal(pqb_option_find(pqb_options[i].name), &pqb_options[i]);
        assert_true(strlen(pqb_options[i].name) < 40);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_are_the_documented_ones),
        cmocka_unit_test(a_file_sets_what_it_names_and_skips_comments),
        cmocka_unit_test(an_unknown_key_is_named_with_its_line_and_a_suggestion),
        cmocka_unit_test(wrong_lines_are_refused_with_what_would_be_right),
        cmocka_unit_test(a_zero_byte_and_an_endless_line_are_refused),
        cmocka_unit_test(sizes_and_durations_parse_and_format_both_ways),
        cmocka_unit_test(the_command_line_wins_over_the_file),
        cmocka_unit_test(paths_follow_the_data_directory_unless_given),
        cmocka_unit_test(wrong_command_lines_say_what_to_do),
        cmocka_unit_test(limits_of_retention_lie_between_one_body_and_the_quota),
        cmocka_unit_test(help_and_version_need_no_valid_configuration),
        cmocka_unit_test(what_is_printed_parses_back_to_the_same),
        cmocka_unit_test(issuer_keys_are_a_list_that_prints_and_reloads),
        cmocka_unit_test(tokens_go_with_issuers_and_encryption),
        cmocka_unit_test(encrypted_sessions_are_served_on_any_address),
        cmocka_unit_test(lists_differ_on_one_line),
        cmocka_unit_test(a_diff_tells_what_a_reload_may_change),
        cmocka_unit_test(a_reload_takes_only_what_is_reloadable),
        cmocka_unit_test(every_option_has_help_and_a_name_that_is_not_repeated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
