#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/addr.h"
#include "common/base/rng.h"

struct pair {
    const char *text;
    const char *canonical;
};

static void valid_text_parses_to_its_canonical_form(void **state)
{
    static const struct pair pairs[] = {
        {"127.0.0.1:7400", "127.0.0.1:7400"},
        {"0.0.0.0:0", "0.0.0.0:0"},
        {"255.255.255.255:65535", "255.255.255.255:65535"},
        {"[::1]:7400", "[::1]:7400"},
        {"[::]:1", "[::]:1"},
        {"[1::]:1", "[1::]:1"},
        {"[1:2:3:4:5:6:7:8]:1", "[1:2:3:4:5:6:7:8]:1"},
        {"[2001:DB8:0:0:0:0:0:1]:1", "[2001:db8::1]:1"},
        {"[0:0:1:0:0:0:1:1]:1", "[0:0:1::1:1]:1"},      // the longest run of zeros is the one cut
        {"[1:0:0:2:3:0:0:4]:1", "[1::2:3:0:0:4]:1"},    // of two, the first
        {"[1:2:3:4:5:6:7::]:1", "[1:2:3:4:5:6:7:0]:1"}, // one zero is written out
        {"[::2:3:4:5:6:7:8]:1", "[0:2:3:4:5:6:7:8]:1"},
        {"[::ffff:1.2.3.4]:9", "[::ffff:102:304]:9"},
        {"[1:2:3:4:5:6:1.2.3.4]:9", "[1:2:3:4:5:6:102:304]:9"},
        {"[64:ff9b::192.0.2.33]:9", "[64:ff9b::c000:221]:9"},
        {"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
    };

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(pairs); i++) {
        char text[PQB_ADDR_TEXT_MAX];
        struct pqb_addr a;

        assert_true(pqb_addr_parse(pairs[i].text, &a));
        pqb_addr_format(&a, text);
        assert_string_equal(text, pairs[i].canonical);
    }
}

static void text_that_is_no_address_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        ":",
        "7400",
        "localhost:7400",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "127.0.0.1: 1",
        "127.0.0.1:1 ",
        "127.0.0.1:01",
        "127.0.0.1:99999999999999999999",
        "256.0.0.1:1",
        "1.2.3:1",
        "1.2.3.4.5:1",
        "01.2.3.4:1",
        "1..3.4:1",
        "::1:7400",
        "[::1]",
        "[::1]7400",
        "[::1:7400",
        "[]:1",
        "[:]:1",
        "[:::]:1",
        "[1]:1",
        "[:1::2]:1",
        "[1::2:]:1",
        "[1::2::3]:1",
        "[1:2:3:4:5:6:7]:1",
        "[1:2:3:4:5:6:7:8:9]:1",
        "[1:2:3:4::5:6:7:8]:1", // "::" must stand for something
        "[12345::]:1",
        "[g::]:1",
        "[::1.2.3]:1",
        "[::1.2.3.4:5]:1",
        "[1.2.3.4::]:1",
        "[1:2:3:4:5:6:7:1.2.3.4]:1",
        "[::1%lo]:1",
    };

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(bad); i++) {
        struct pqb_addr a = {.port = 4711};

        if (pqb_addr_parse(bad[i], &a))
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(a.port, 4711); // untouched
    }
}

static void every_truncation_of_a_valid_text_is_safe_to_parse(void **state)
{
    static const char text[] = "[64:ff9b::192.0.2.33]:65535";

    (void)state;
    for (size_t len = 0; len < sizeof(text) - 6; len++) {
        char cut[sizeof(text)] = {0};
        struct pqb_addr a;

        memcpy(cut, text, len);
        assert_false(pqb_addr_parse(cut, &a));
    }
}

static void random_addresses_survive_format_and_parse(void **state)
{
    struct pqb_rng rng;

    (void)state;
    pqb_rng_init_seed(&rng, 1);
    for (int i = 0; i < 20000; i++) {
        struct pqb_addr a = {.family = pqb_rng_below(&rng, 2) == 0 ? 4 : 6};
        char text[PQB_ADDR_TEXT_MAX];
        struct pqb_addr b;

        pqb_rng_fill(&rng, a.ip, a.family == 4 ? 4 : 16);
        for (size_t g = 0; g < 8 && a.family == 6; g++) {
            if (pqb_rng_below(&rng, 2) == 0) // many zero groups, for the sake of "::"
                memset(a.ip + 2 * g, 0, 2);
        }
        a.port = (uint16_t)pqb_rng_next(&rng);
        pqb_addr_format(&a, text);
        assert_true(pqb_addr_parse(text, &b));
        assert_true(pqb_addr_is_equal(&a, &b));
    }
}

static struct pqb_addr parsed(const char *text)
{
    struct pqb_addr a;

    assert_true(pqb_addr_parse(text, &a));
    return a;
}

static void equality_and_same_ip_look_at_what_they_say(void **state)
{
    const struct pqb_addr a = parsed("10.0.0.1:1");
    const struct pqb_addr other_port = parsed("10.0.0.1:2");
    const struct pqb_addr other_ip = parsed("10.0.0.2:1");
    const struct pqb_addr v6_alike = parsed("[a00:1::]:1"); // the same first four bytes
    struct pqb_addr other_local = a;

    (void)state;
    other_local.local = 1;
    assert_true(pqb_addr_is_equal(&a, &a));
    assert_false(pqb_addr_is_equal(&a, &other_port));
    assert_true(pqb_addr_is_same_ip(&a, &other_port));
    assert_false(pqb_addr_is_same_ip(&a, &other_ip));
    assert_false(pqb_addr_is_same_ip(&a, &v6_alike));
    assert_false(pqb_addr_is_equal(&a, &other_local));
    assert_true(pqb_addr_is_same_ip(&a, &other_local));
}

static void loopback_is_127_and_colon_colon_1_in_either_guise(void **state)
{
    static const char *const loopback[] = {"127.0.0.1:1", "127.255.255.255:1", "[::1]:1",
                                           "[::ffff:127.0.0.1]:1"};
    static const char *const foreign[] = {
        "126.255.255.255:1", "128.0.0.0:1", "0.0.0.0:1",       "[::]:1",
        "[::2]:1",           "[7f00::1]:1", "[::127.0.0.1]:1", "[::ffff:128.0.0.1]:1"};
    const struct pqb_addr unset = {0};

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(loopback); i++) {
        const struct pqb_addr a = parsed(loopback[i]);

        assert_true(pqb_addr_is_loopback(&a));
    }
    for (size_t i = 0; i < PQB_ARRAY_LEN(foreign); i++) {
        const struct pqb_addr a = parsed(foreign[i]);

        assert_false(pqb_addr_is_loopback(&a));
    }
    assert_false(pqb_addr_is_loopback(&unset));
}

static void an_unset_address_formats_as_such(void **state)
{
    const struct pqb_addr unset = {0};
    char text[PQB_ADDR_TEXT_MAX];

    (void)state;
    pqb_addr_format(&unset, text);
    assert_string_equal(text, "unset");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_text_parses_to_its_canonical_form),
        cmocka_unit_test(text_that_is_no_address_is_refused),
        cmocka_unit_test(every_truncation_of_a_valid_text_is_safe_to_parse),
        cmocka_unit_test(random_addresses_survive_format_and_parse),
        cmocka_unit_test(equality_and_same_ip_look_at_what_they_say),
        cmocka_unit_test(loopback_is_127_and_colon_colon_1_in_either_guise),
        cmocka_unit_test(an_unset_address_formats_as_such),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
