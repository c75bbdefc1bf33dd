// The judge of encrypted datagrams: what it must find, and what it must let pass.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/proto/packet_keys.h"
#include "common/wire/datagram.h"
#include "gateway/core/stats.h"
#include "tests/sim/sim_wire.h"

static struct sim_oracle oracle;
static struct sim_wire wire;

static int set_up(void **state)
{
    (void)state;
    sim_oracle_init(&oracle);
    sim_wire_init(&wire, &oracle);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sim_wire_fini(&wire);
    sim_oracle_fini(&oracle);
    return 0;
}

static struct sim_packet data(uint64_t generation, uint64_t counter)
{
    const struct pqb_data header = {.cid = 77, .pn = generation << PQB_PN_COUNTER_BITS | counter};
    struct sim_packet p = {.is_up = true, .len = 100};

    pqb_data_header_encode(&header, p.data);
    return p;
}

static bool has_failed(const char *words)
{
    const bool is_it = strstr(oracle.failure, words) != NULL;

    oracle.failure[0] = '\0';
    return is_it;
}

// The counters move so.
static bool handle(const struct sim_packet *p, enum pqb_counter counter)
{
    const uint64_t before[PQB_COUNTER_COUNT] = {0};
    uint64_t after[PQB_COUNTER_COUNT] = {[PQB_COUNTER_UDP_DATAGRAMS_IN] = 1};

    after[counter]++;
    return sim_wire_on_gateway(&wire, p, before, after);
}

static void a_body_in_the_clear_is_found_wherever_it_begins(void **state)
{
    (void)state;
    for (size_t at = 23; at < 30; at++) {
        struct sim_packet p = data(0, at);
        uint8_t body[400];

        sim_oracle_body(12345, body, sizeof(body));
        memcpy(p.data + at, body + 250, 40); // some piece of it
        sim_wire_on_sent(&wire, &p);
        assert_true(has_failed("shows a body"));
    }
}

static void a_name_in_the_clear_is_found(void **state)
{
    struct sim_packet p = {.is_up = true, .len = 200};

    (void)state;
    memcpy(p.data + 150, "u3" SIM_NAME_TAIL, 12);
    sim_wire_on_sent(&wire, &p);
    assert_true(has_failed("shows a name"));
}

static void a_number_used_twice_is_found_in_whatever_generation(void **state)
{
    struct sim_packet p = data(0, 5), down = data(0, 5), again = data(1, 5);

    (void)state;
    down.is_up = false;
    sim_wire_on_sent(&wire, &p);
    sim_wire_on_sent(&wire, &down); // another key
    assert_false(has_failed("is used twice"));
    sim_wire_on_sent(&wire, &again);
    assert_true(has_failed("is used twice"));
}

static void an_altered_datagram_may_only_be_dropped(void **state)
{
    struct sim_packet p = data(0, 5);

    (void)state;
    p.origin = SIM_ALTERED;
    assert_false(handle(&p, PQB_COUNTER_DROP_FORGED));
    assert_false(handle(&p, PQB_COUNTER_RESET_SENT));
    assert_int_equal(oracle.failure[0], 0);
    (void)handle(&p, PQB_COUNTER_LOGIN_HELD);
    assert_true(has_failed("login.held"));
    (void)handle(&p, PQB_COUNTER_MSG_ACCEPTED);
    assert_true(has_failed("msg.accepted"));
    (void)handle(&p, PQB_COUNTER_SESSION_CLOSED);
    assert_true(has_failed("session.closed"));
}

static void a_replay_may_be_kept_for_a_login_and_nothing_else(void **state)
{
    struct sim_packet p = data(0, 5);

    (void)state;
    p.origin = SIM_REPLAYED;
    (void)handle(&p, PQB_COUNTER_LOGIN_HELD);
    assert_int_equal(oracle.failure[0], 0);
    (void)handle(&p, PQB_COUNTER_PATH_CHALLENGES);
    assert_true(has_failed("path.challenges"));
}

static void a_genuine_datagram_must_be_taken_when_it_first_comes(void **state)
{
    struct sim_packet p = data(0, 5), later = data(1, 6), older = data(0, 4), old = data(1, 7);

    (void)state;
    assert_true(handle(&p, PQB_COUNTER_MSG_ACCEPTED));
    assert_false(handle(&p, PQB_COUNTER_DROP_REPLAY)); // the second time
    assert_int_equal(oracle.failure[0], 0);
    assert_false(handle(&later, PQB_COUNTER_DROP_REPLAY));
    assert_true(has_failed("taken for a replay"));
    assert_false(handle(&older, PQB_COUNTER_DROP_FORGED)); // its key may be gone
    assert_int_equal(oracle.failure[0], 0);
    assert_false(handle(&old, PQB_COUNTER_DROP_FORGED));
    assert_true(has_failed("does not open"));
    assert_false(handle(&old, PQB_COUNTER_DROP_STALE));
    assert_true(has_failed("taken for an old one"));
}

static void a_client_must_drop_what_is_proved_by_nothing(void **state)
{
    struct sim_packet p = data(0, 5);

    (void)state;
    assert_true(sim_wire_on_client(&wire, &p, 0, true));
    p.origin = SIM_ALTERED;
    assert_false(sim_wire_on_client(&wire, &p, 1, false));
    assert_int_equal(oracle.failure[0], 0);
    (void)sim_wire_on_client(&wire, &p, 0, false);
    assert_true(has_failed("takes an altered datagram"));
    (void)sim_wire_on_client(&wire, &p, 1, true);
    assert_true(has_failed("takes an altered datagram"));
    p.data[0] = PQB_WIRE_VERSION << 4 | PQB_DATAGRAM_BUSY; // anybody can say that
    (void)sim_wire_on_client(&wire, &p, 0, true);
    assert_int_equal(oracle.failure[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_body_in_the_clear_is_found_wherever_it_begins, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_name_in_the_clear_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_number_used_twice_is_found_in_whatever_generation, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_altered_datagram_may_only_be_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_replay_may_be_kept_for_a_login_and_nothing_else, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_genuine_datagram_must_be_taken_when_it_first_comes,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_must_drop_what_is_proved_by_nothing, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
