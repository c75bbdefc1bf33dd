#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/log.h"

static char last_line[2000];
static enum pqb_log_level last_level;
static int line_count;

static void capture(void *ctx, enum pqb_log_level level, const char *line)
{
    assert_ptr_equal(ctx, &line_count);
    strncpy(last_line, line, sizeof(last_line) - 1);
    last_level = level;
    line_count++;
}

static int use_capture(void **state)
{
    (void)state;
    line_count = 0;
    pqb_log_set_sink(capture, &line_count);
    pqb_log_set_level(PQB_LOG_INFO);
    return 0;
}

static void a_line_reaches_the_sink_formatted(void **state)
{
    (void)state;
    pqb_log(PQB_LOG_WARN, "mailbox full shard=%d drops=%s", 3, "12");
    assert_int_equal(line_count, 1);
    assert_int_equal(last_level, PQB_LOG_WARN);
    assert_string_equal(last_line, "mailbox full shard=3 drops=12");
}

static void only_the_chosen_level_and_graver_pass(void **state)
{
    (void)state;
    pqb_log(PQB_LOG_DEBUG, "no");
    assert_int_equal(line_count, 0);
    pqb_log(PQB_LOG_INFO, "yes");
    assert_int_equal(line_count, 1);
    pqb_log_set_level(PQB_LOG_DEBUG);
    assert_true(pqb_log_is_enabled(PQB_LOG_DEBUG));
    pqb_log_set_level(PQB_LOG_ERROR);
    assert_false(pqb_log_is_enabled(PQB_LOG_WARN));
    assert_true(pqb_log_is_enabled(PQB_LOG_ERROR));
}

static void control_characters_cannot_start_a_second_line(void **state)
{
    (void)state;
    pqb_log(PQB_LOG_INFO, "user=%s", "a\nb\x1b[2J\x7f \xc3\xa9");
    assert_string_equal(last_line, "user=a?b?[2J? \xc3\xa9");
}

static void a_long_line_is_cut_at_1023_bytes(void **state)
{
    char text[1500];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    pqb_log(PQB_LOG_INFO, "%s", text);
    assert_int_equal(strlen(last_line), 1023);
}

static void level_names_parse_back(void **state)
{
    (void)state;
    for (int i = PQB_LOG_ERROR; i <= PQB_LOG_DEBUG; i++) {
        enum pqb_log_level level;

        assert_true(pqb_log_level_parse(pqb_log_level_name((enum pqb_log_level)i), &level));
        assert_int_equal(level, i);
    }
    enum pqb_log_level level;
    assert_false(pqb_log_level_parse("loud", &level));
    assert_false(pqb_log_level_parse("", &level));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_line_reaches_the_sink_formatted, use_capture),
        cmocka_unit_test_setup(only_the_chosen_level_and_graver_pass, use_capture),
        cmocka_unit_test_setup(control_characters_cannot_start_a_second_line, use_capture),
        cmocka_unit_test_setup(a_long_line_is_cut_at_1023_bytes, use_capture),
        cmocka_unit_test_setup(level_names_parse_back, use_capture),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
