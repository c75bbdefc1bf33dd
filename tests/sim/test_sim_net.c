#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/sim_events.h"
#include "tests/sim/sim_net.h"

#define MS PQB_NS_PER_MS

static void start(struct sim_net *net, struct sim_events *events, struct sim_net_config config)
{
    sim_events_init(events, 1, NULL, NULL);
    sim_net_init(net, &config, events);
}

static void a_clean_network_keeps_time_and_order(void **state)
{
    struct sim_events events;
    struct sim_net net;
    struct sim_packet p;

    (void)state;
    start(&net, &events, (struct sim_net_config){.delay_ns = 10 * MS});
    const uint32_t end = sim_net_attach(&net);
    sim_net_send_up(&net, end, "a", 1, 100);
    sim_net_send_up(&net, end, "b", 1, 100);
    sim_net_send_down(&net, sim_net_addr(&net, end), "c", 1, 200);
    assert_int_equal(sim_net_next_arrival(&net), 100 + 10 * MS);
    assert_false(sim_net_poll(&net, &p, 99 + 10 * MS));
    assert_true(sim_net_poll(&net, &p, 100 + 10 * MS));
    assert_int_equal(p.data[0], 'a');
    assert_true(sim_net_poll(&net, &p, 200 + 10 * MS));
    assert_int_equal(p.data[0], 'b');
    assert_true(sim_net_poll(&net, &p, 200 + 10 * MS));
    assert_int_equal(p.data[0], 'c');
    assert_false(p.is_up);
    assert_int_equal(sim_net_next_arrival(&net), PQB_NEVER);
    sim_net_fini(&net);
}

static void shares_of_faults_are_about_what_was_asked_for(void **state)
{
    struct sim_events events;
    struct sim_net net;
    struct sim_packet p;

    (void)state;
    start(&net, &events, (struct sim_net_config){.loss = 0.3, .duplicate = 0.2});
    const uint32_t end = sim_net_attach(&net);
    for (int i = 0; i < 10000; i++)
        sim_net_send_up(&net, end, "x", 1, 1);
    assert_in_range(net.stats.lost, 2800, 3200);
    assert_in_range(net.stats.duplicated, 1250, 1550);
    while (sim_net_poll(&net, &p, PQB_NEVER - 1)) {
    }
    assert_int_equal(net.stats.arrived, 10000 - net.stats.lost + net.stats.duplicated);
    sim_net_fini(&net);
}

static void a_cut_in_one_direction_lets_the_other_pass(void **state)
{
    struct sim_events events;
    struct sim_net net;
    struct sim_packet p;

    (void)state;
    start(&net, &events, (struct sim_net_config){0});
    const uint32_t end = sim_net_attach(&net);
    sim_net_block(&net, end, 50, 0);
    sim_net_send_up(&net, end, "u", 1, 49);
    sim_net_send_down(&net, sim_net_addr(&net, end), "d", 1, 49);
    assert_true(sim_net_poll(&net, &p, 49));
    assert_int_equal(p.data[0], 'd');
    assert_false(sim_net_poll(&net, &p, 1000));
    sim_net_send_up(&net, end, "u", 1, 50);
    assert_true(sim_net_poll(&net, &p, 50));
    sim_net_fini(&net);
}

static void what_goes_to_an_old_address_is_lost_and_what_came_from_there_arrives(void **state)
{
    struct sim_events events;
    struct sim_net net;
    struct sim_packet p;

    (void)state;
    start(&net, &events, (struct sim_net_config){.delay_ns = 10});
    const uint32_t end = sim_net_attach(&net);
    const struct pqb_addr old = *sim_net_addr(&net, end);
    sim_net_send_up(&net, end, "u", 1, 1);
    sim_net_send_down(&net, &old, "d", 1, 1);
    sim_net_rebind(&net, end, true);
    sim_net_send_down(&net, &old, "e", 1, 1);
    assert_true(sim_net_poll(&net, &p, 100));
    assert_int_equal(p.data[0], 'u');
    assert_true(pqb_addr_is_equal(&p.addr, &old));
    assert_false(sim_net_poll(&net, &p, 100));
    assert_int_equal(net.stats.stale, 2);
    sim_net_fini(&net);
}

static void the_heap_gives_back_by_time_whatever_the_holds(void **state)
{
    struct sim_events events;
    struct sim_net net;
    struct sim_packet p;
    pqb_tstamp last = 0;
    size_t count = 0;

    (void)state;
    start(
        &net, &events,
        (struct sim_net_config){
            .jitter_ns = 1000, .reorder = 0.5, .reorder_ns = 5000, .ghost = 0.1, .ghost_ns = 9999});
    const uint32_t end = sim_net_attach(&net);
    for (pqb_tstamp now = 1; now <= 2000; now++)
        sim_net_send_up(&net, end, "x", 1, now);
    for (; sim_net_poll(&net, &p, PQB_NEVER - 1); count++) {
        assert_true(p.at >= last);
        last = p.at;
    }
    assert_int_equal(count, 2000 + net.stats.ghosts);
    assert_in_range(net.stats.ghosts, 130, 270);
    sim_net_fini(&net);
}

static void a_healed_network_loses_nothing(void **state)
{
    struct sim_events events;
    struct sim_net net;
    struct sim_packet p;
    size_t count = 0;

    (void)state;
    start(&net, &events,
          (struct sim_net_config){
              .loss = 0.9, .burst = 0.5, .burst_ns = 1000, .corrupt = 0.5, .truncate = 0.5});
    const uint32_t end = sim_net_attach(&net);
    sim_net_block(&net, end, 5000, 5000);
    sim_net_heal(&net);
    for (int i = 0; i < 100; i++)
        sim_net_send_up(&net, end, "whole", 5, 1);
    for (; sim_net_poll(&net, &p, 1); count++)
        assert_memory_equal(p.data, "whole", 5);
    assert_int_equal(count, 100);
    sim_net_fini(&net);
}

static void the_same_seed_gives_the_same_network(void **state)
{
    struct sim_events events[2];
    struct sim_net net[2];
    struct sim_packet p[2];
    const struct sim_net_config config = {.loss = 0.2,
                                          .duplicate = 0.2,
                                          .jitter_ns = 1000,
                                          .reorder = 0.2,
                                          .reorder_ns = 1000,
                                          .corrupt = 0.2,
                                          .truncate = 0.1};
    uint8_t data[100];

    (void)state;
    memset(data, 7, sizeof(data));
    for (int i = 0; i < 2; i++) {
        start(&net[i], &events[i], config);
        (void)sim_net_attach(&net[i]);
        for (pqb_tstamp now = 1; now < 500; now++)
            sim_net_send_up(&net[i], 0, data, sizeof(data), now);
    }
    while (sim_net_poll(&net[0], &p[0], PQB_NEVER - 1)) {
        assert_true(sim_net_poll(&net[1], &p[1], PQB_NEVER - 1));
        assert_int_equal(p[0].at, p[1].at);
        assert_int_equal(p[0].len, p[1].len);
        assert_memory_equal(p[0].data, p[1].data, p[0].len);
    }
    sim_net_fini(&net[0]);
    sim_net_fini(&net[1]);
}

static void any_byte_of_an_encrypted_run_may_be_broken_and_is_marked(void **state)
{
    static const uint8_t sent[20] = {0x16};
    struct sim_events events;
    struct sim_net net;
    size_t where = 0;

    (void)state;
    start(&net, &events, (struct sim_net_config){.corrupt = 1, .is_sealed = true});
    const uint32_t end = sim_net_attach(&net);
    for (int i = 0; i < 500; i++) {
        struct sim_packet p;

        sim_net_send_up(&net, end, sent, sizeof(sent), 0);
        assert_true(sim_net_poll(&net, &p, PQB_NEVER - 1));
        assert_int_equal(p.origin, SIM_ALTERED);
        assert_int_not_equal(memcmp(p.data, sent, sizeof(sent)), 0);
        for (size_t at = 0; at < sizeof(sent); at++)
            where |= (size_t)(p.data[at] != sent[at]) << at;
    }
    assert_int_equal(where, (1u << sizeof(sent)) - 1);
    sim_net_fini(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clean_network_keeps_time_and_order),
        cmocka_unit_test(shares_of_faults_are_about_what_was_asked_for),
        cmocka_unit_test(a_cut_in_one_direction_lets_the_other_pass),
        cmocka_unit_test(what_goes_to_an_old_address_is_lost_and_what_came_from_there_arrives),
        cmocka_unit_test(the_heap_gives_back_by_time_whatever_the_holds),
        cmocka_unit_test(a_healed_network_loses_nothing),
        cmocka_unit_test(the_same_seed_gives_the_same_network),
        cmocka_unit_test(any_byte_of_an_encrypted_run_may_be_broken_and_is_marked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
