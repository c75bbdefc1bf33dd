#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/proto/path.h"

#define MS PQB_NS_PER_MS

struct fixture {
    struct pqb_addr home, port, away, third;
    struct pqb_path path;
    struct pqb_rng rng;
};

static struct fixture fixture(void)
{
    struct fixture f;

    assert_true(pqb_addr_parse("127.0.0.1:1000", &f.home));
    assert_true(pqb_addr_parse("127.0.0.1:2000", &f.port));
    assert_true(pqb_addr_parse("127.0.0.2:1000", &f.away));
    assert_true(pqb_addr_parse("127.0.0.3:1000", &f.third));
    pqb_rng_init_seed(&f.rng, 1);
    pqb_path_init(&f.path, &f.home);
    return f;
}

static void hear(struct fixture *f, const struct pqb_addr *from, uint32_t len, bool is_newest)
{
    assert_int_equal(pqb_path_on_datagram(&f->path, from, len, is_newest, &f->rng), PQB_OK);
}

static bool challenged(struct fixture *f, uint8_t out[PQB_PATH_LEN], pqb_tstamp now)
{
    const struct pqb_path_candidate *to = pqb_path_poll_challenge(&f->path, 60, 100 * MS, now);

    if (to)
        memcpy(out, to->challenge, PQB_PATH_LEN);
    return to != NULL;
}

static void only_the_newest_datagram_speaks_for_a_new_address(void **state)
{
    struct fixture f = fixture();
    uint8_t data[PQB_PATH_LEN];

    (void)state;
    hear(&f, &f.home, 100, true);
    hear(&f, &f.away, 100, false);
    assert_false(challenged(&f, data, 1));
    assert_int_equal(pqb_path_deadline(&f.path), PQB_NEVER);
    hear(&f, &f.away, 100, true);
    assert_true(challenged(&f, data, 1));
    assert_false(challenged(&f, data, 1));
    assert_int_equal(pqb_path_deadline(&f.path), 1 + 100 * MS);
    assert_true(pqb_addr_is_equal(&f.path.current, &f.home));
    pqb_path_fini(&f.path);
}

static void three_times_the_bytes_received_go_to_a_candidate(void **state)
{
    struct fixture f = fixture();
    uint8_t data[PQB_PATH_LEN];

    (void)state;
    hear(&f, &f.away, 19, true); // 57
    assert_false(challenged(&f, data, 1));
    hear(&f, &f.away, 1, false); // 60
    assert_true(challenged(&f, data, 1));
    assert_int_equal(f.path.candidate->budget, 0);
    assert_false(pqb_path_on_timeout(&f.path, 1 + 100 * MS));
    assert_false(challenged(&f, data, 1 + 100 * MS));
    hear(&f, &f.away, 20, true);
    assert_true(challenged(&f, data, 1 + 101 * MS));
    pqb_path_fini(&f.path);
}

static void the_right_response_moves_the_session(void **state)
{
    struct fixture f = fixture();
    uint8_t data[PQB_PATH_LEN];
    bool is_same_ip = true;

    (void)state;
    hear(&f, &f.away, 100, true);
    assert_true(challenged(&f, data, 1));
    data[7] ^= 1;
    assert_false(pqb_path_on_response(&f.path, data, &is_same_ip));
    data[7] ^= 1;
    assert_true(pqb_path_on_response(&f.path, data, &is_same_ip));
    assert_false(is_same_ip);
    assert_true(pqb_addr_is_equal(&f.path.current, &f.away));
    assert_false(pqb_path_on_response(&f.path, data, &is_same_ip));
    assert_int_equal(pqb_path_deadline(&f.path), PQB_NEVER);
}

static void a_change_of_port_alone_is_told(void **state)
{
    struct fixture f = fixture();
    uint8_t data[PQB_PATH_LEN];
    bool is_same_ip = false;

    (void)state;
    hear(&f, &f.port, 100, true);
    assert_true(challenged(&f, data, 1));
    assert_true(pqb_path_on_response(&f.path, data, &is_same_ip));
    assert_true(is_same_ip);
}

static void a_challenge_not_yet_sent_cannot_be_answered(void **state)
{
    struct fixture f = fixture();
    bool is_same_ip;

    (void)state;
    hear(&f, &f.away, 100, true);
    assert_false(pqb_path_on_response(&f.path, f.path.candidate->challenge, &is_same_ip));
    pqb_path_fini(&f.path);
}

static void a_silent_candidate_is_dropped_after_three_tries(void **state)
{
    struct fixture f = fixture();
    uint8_t first[PQB_PATH_LEN];
    uint8_t again[PQB_PATH_LEN];

    (void)state;
    hear(&f, &f.away, 100, true);
    assert_true(challenged(&f, first, 0));
    assert_false(pqb_path_on_timeout(&f.path, 100 * MS - 1));
    assert_false(challenged(&f, again, 100 * MS - 1));
    assert_false(pqb_path_on_timeout(&f.path, 100 * MS));
    assert_true(challenged(&f, again, 100 * MS));
    assert_memory_equal(first, again, PQB_PATH_LEN);
    assert_false(pqb_path_on_timeout(&f.path, 200 * MS));
    assert_true(challenged(&f, again, 200 * MS));
    assert_true(pqb_path_on_timeout(&f.path, 300 * MS));
    assert_null(f.path.candidate);
    assert_int_equal(pqb_path_deadline(&f.path), PQB_NEVER);
    assert_true(pqb_addr_is_equal(&f.path.current, &f.home));
}

static void a_newest_datagram_from_home_ends_the_challenge(void **state)
{
    struct fixture f = fixture();
    uint8_t data[PQB_PATH_LEN];
    bool is_same_ip;

    (void)state;
    hear(&f, &f.away, 100, true);
    assert_true(challenged(&f, data, 1));
    hear(&f, &f.home, 100, false);
    assert_non_null(f.path.candidate);
    hear(&f, &f.home, 100, true);
    assert_null(f.path.candidate);
    assert_false(pqb_path_on_response(&f.path, data, &is_same_ip));
}

static void a_third_address_gets_a_challenge_and_a_budget_of_its_own(void **state)
{
    struct fixture f = fixture();
    uint8_t first[PQB_PATH_LEN];
    uint8_t second[PQB_PATH_LEN];
    bool is_same_ip;

    (void)state;
    hear(&f, &f.away, 1200, true);
    assert_true(challenged(&f, first, 1));
    hear(&f, &f.third, 20, true);
    assert_true(challenged(&f, second, 2));
    assert_int_equal(f.path.candidate->budget, 0);
    assert_memory_not_equal(first, second, PQB_PATH_LEN);
    assert_false(pqb_path_on_response(&f.path, first, &is_same_ip));
    assert_true(pqb_path_on_response(&f.path, second, &is_same_ip));
    assert_true(pqb_addr_is_equal(&f.path.current, &f.third));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_newest_datagram_speaks_for_a_new_address),
        cmocka_unit_test(three_times_the_bytes_received_go_to_a_candidate),
        cmocka_unit_test(the_right_response_moves_the_session),
        cmocka_unit_test(a_change_of_port_alone_is_told),
        cmocka_unit_test(a_challenge_not_yet_sent_cannot_be_answered),
        cmocka_unit_test(a_silent_candidate_is_dropped_after_three_tries),
        cmocka_unit_test(a_newest_datagram_from_home_ends_the_challenge),
        cmocka_unit_test(a_third_address_gets_a_challenge_and_a_budget_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
