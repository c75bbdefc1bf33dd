#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/proto/sent_map.h"

#define MS PQB_NS_PER_MS

struct fixture {
    struct pqb_channel channel;
    struct pqb_sent_map map;
};

static void begin(struct fixture *f)
{
    pqb_channel_init(&f->channel, 1, 0);
    pqb_sent_map_init(&f->map);
}

static void end(struct fixture *f)
{
    pqb_sent_map_fini(&f->map, &f->channel.cc);
    pqb_channel_fini(&f->channel);
    assert_int_equal(f->channel.cc.in_flight, 0);
    assert_null(f->map.ring);
}

static void push(struct fixture *f, uint64_t first, uint64_t last)
{
    for (uint64_t key = first; key <= last; key++)
        assert_int_equal(pqb_sent_map_push(&f->map, key, 10 * key), PQB_OK);
}

// Sends whatever is next, `each` items of `bytes` a datagram, `datagrams` of them.
static void send_datagrams(struct fixture *f, unsigned datagrams, unsigned each, uint32_t bytes,
                           pqb_tstamp now)
{
    uint8_t header[PQB_DATA_HEADER_LEN];

    for (unsigned d = 0; d < datagrams; d++) {
        for (unsigned i = 0; i < each; i++) {
            struct pqb_sent *item = pqb_sent_map_next(&f->map);

            assert_non_null(item);
            pqb_sent_map_on_sent(&f->map, item, bytes, &f->channel, now);
        }
        (void)pqb_channel_seal(&f->channel, header, 0, now);
    }
}

static uint64_t next_key(struct fixture *f)
{
    const struct pqb_sent *item = pqb_sent_map_next(&f->map);

    return item == NULL ? 0 : item->key;
}

static void an_empty_map_holds_no_memory(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    assert_null(f.map.ring);
    push(&f, 1, 3);
    assert_non_null(f.map.ring);
    assert_true(pqb_sent_map_on_cursor(&f.map, 3, &f.channel, 5));
    assert_null(f.map.ring);
    assert_false(pqb_sent_map_on_cursor(&f.map, 3, &f.channel, 5));
    assert_null(pqb_sent_map_next(&f.map));
    assert_null(pqb_sent_map_find(&f.map, 1));
    end(&f);
}

static void it_holds_256_items(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    push(&f, 1, 256);
    assert_int_equal(pqb_sent_map_push(&f.map, 257, 0), PQB_ERR_FULL);
    pqb_sent_map_on_done(&f.map, 100, &f.channel, 5);
    assert_null(pqb_sent_map_find(&f.map, 100));
    push(&f, 257, 257);
    assert_int_equal(pqb_sent_map_push(&f.map, 258, 0), PQB_ERR_FULL);
    assert_int_equal(pqb_sent_map_find(&f.map, 257)->aux, 2570);
    assert_int_equal(pqb_sent_map_at(&f.map, 98)->key, 99);
    assert_int_equal(pqb_sent_map_at(&f.map, 99)->key, 101);
    end(&f);
}

static void lost_items_go_before_new_ones(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    push(&f, 1, 6);
    send_datagrams(&f, 4, 1, 100, 5);
    assert_int_equal(next_key(&f), 5);
    pqb_sent_map_mark_lost(&f.map, pqb_sent_map_find(&f.map, 3), &f.channel);
    pqb_sent_map_mark_lost(&f.map, pqb_sent_map_find(&f.map, 2), &f.channel);
    pqb_sent_map_mark_lost(&f.map, pqb_sent_map_find(&f.map, 2), &f.channel); // again: nothing
    pqb_sent_map_mark_lost(&f.map, pqb_sent_map_find(&f.map, 6), &f.channel); // never sent: nothing
    assert_int_equal(f.channel.cc.in_flight, 200);
    assert_int_equal(f.map.lost_count, 2);
    assert_int_equal(next_key(&f), 2);
    send_datagrams(&f, 1, 1, 100, 6);
    assert_int_equal(next_key(&f), 3);
    send_datagrams(&f, 1, 1, 100, 6);
    assert_int_equal(next_key(&f), 5);
    send_datagrams(&f, 2, 1, 100, 6);
    assert_int_equal(next_key(&f), 0);
    assert_int_equal(f.channel.cc.in_flight, 600);
    assert_int_equal(pqb_sent_map_find(&f.map, 2)->transmissions, 2);
    end(&f);
}

static void three_later_datagrams_make_a_loss(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    push(&f, 1, 20);
    send_datagrams(&f, 4, 5, 100, 5); // 1-5, 6-10, 11-15, 16-20
    pqb_sent_map_on_received_range(&f.map, 6, 15, &f.channel, 100 * MS);
    assert_int_equal(f.map.lost_count, 0); // two later ones may be mere reordering
    assert_int_equal(f.channel.cc.window, PQB_CC_WINDOW_INITIAL);
    assert_int_equal(pqb_sent_map_deadline(&f.map, &f.channel, 0), 1100 * MS);
    pqb_sent_map_on_received(&f.map, 18, &f.channel, 101 * MS);
    assert_int_equal(f.map.lost_count, 0); // the answers may have crossed: a millisecond of grace
    assert_int_equal(pqb_sent_map_deadline(&f.map, &f.channel, 0), 102 * MS);
    assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0, 102 * MS - 1), PQB_SENT_WAIT);
    assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0, 102 * MS), PQB_SENT_RETRY);
    assert_int_equal(f.map.lost_count, 5);
    assert_int_equal(f.map.backoffs, 0);
    assert_int_equal(next_key(&f), 1);
    assert_int_equal(f.channel.cc.in_flight, 400); // 16, 17, 19, 20
    assert_int_equal(f.channel.cc.window, PQB_CC_WINDOW_INITIAL / 2);
    assert_false(pqb_sent_map_find(&f.map, 16)->is_lost);
    end(&f);
}

static void what_shared_the_datagram_of_one_overdue_is_lost_with_it(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    push(&f, 1, 9);
    send_datagrams(&f, 3, 3, 100, 5); // 1-3, 4-6, 7-9
    pqb_sent_map_on_received(&f.map, 5, &f.channel, 10 * MS);
    pqb_sent_map_on_overdue(&f.map, pqb_sent_map_find(&f.map, 4), &f.channel, 11 * MS);
    assert_int_equal(f.map.lost_count, 2);
    assert_true(pqb_sent_map_find(&f.map, 6)->is_lost);
    assert_int_equal(f.channel.cc.in_flight, 600);
    assert_int_equal(f.channel.cc.window, PQB_CC_WINDOW_INITIAL / 2);
    assert_int_equal(next_key(&f), 4);
    end(&f);
}

static void answers_that_cross_make_no_loss(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    pqb_rtt_sample(&f.channel.rtt, 80 * MS);
    push(&f, 1, 5);
    send_datagrams(&f, 5, 1, 100, 5 * MS);
    for (uint64_t key = 5; key >= 2; key--)
        pqb_sent_map_on_done(&f.map, key, &f.channel, 90 * MS);
    assert_int_equal(f.map.lost_count, 0);
    assert_int_equal(pqb_sent_map_deadline(&f.map, &f.channel, 0), 110 * MS); // a quarter of 80
    pqb_sent_map_on_done(&f.map, 1, &f.channel, 109 * MS);
    assert_int_equal(f.channel.cc.in_flight, 0);
    assert_true(f.channel.cc.window >= PQB_CC_WINDOW_INITIAL);
    end(&f);
}

static void what_had_its_time_is_lost_at_once(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    pqb_rtt_sample(&f.channel.rtt, 80 * MS);
    push(&f, 1, 4);
    send_datagrams(&f, 1, 1, 100, 5 * MS);
    send_datagrams(&f, 3, 1, 100, 25 * MS);
    pqb_sent_map_on_done(&f.map, 4, &f.channel, 105 * MS); // 80 after it left, and 20 of grace
    assert_int_equal(f.map.lost_count, 1);
    end(&f);
}

static void items_that_shared_a_datagram_do_not_condemn_each_other(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    push(&f, 1, 8);
    send_datagrams(&f, 1, 8, 100, 5);
    pqb_sent_map_on_received_range(&f.map, 4, 8, &f.channel, 100 * MS);
    assert_int_equal(f.map.lost_count, 0);
    end(&f);
}

static void a_late_answer_to_the_first_transmission_condemns_nobody(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    pqb_rtt_sample(&f.channel.rtt, 50 * MS);
    push(&f, 1, 6);
    send_datagrams(&f, 6, 1, 100, 5 * MS);
    pqb_sent_map_mark_lost(&f.map, pqb_sent_map_find(&f.map, 1), &f.channel);
    send_datagrams(&f, 1, 1, 100, 60 * MS); // 1 again, as number 7
    pqb_sent_map_on_done(&f.map, 1, &f.channel, 110 * MS - 1);
    assert_int_equal(f.map.lost_count, 0);
    end(&f);

    begin(&f); // the same, but the answer may be to the second
    pqb_rtt_sample(&f.channel.rtt, 50 * MS);
    push(&f, 1, 6);
    send_datagrams(&f, 6, 1, 100, 5 * MS);
    pqb_sent_map_mark_lost(&f.map, pqb_sent_map_find(&f.map, 1), &f.channel);
    send_datagrams(&f, 1, 1, 100, 60 * MS);
    pqb_sent_map_on_done(&f.map, 1, &f.channel, 110 * MS);
    assert_int_equal(f.map.lost_count, 3); // 2, 3, 4
    end(&f);
}

static void the_cursor_takes_everything_below_it(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    push(&f, 10, 20);
    send_datagrams(&f, 5, 1, 100, 5);
    pqb_sent_map_on_received(&f.map, 12, &f.channel, 6);
    pqb_sent_map_mark_lost(&f.map, pqb_sent_map_find(&f.map, 11), &f.channel);
    assert_true(pqb_sent_map_on_cursor(&f.map, 16, &f.channel, 7)); // 15, 16 were never sent
    assert_int_equal(f.map.count, 4);
    assert_int_equal(f.map.unacked_count, 0);
    assert_int_equal(f.channel.cc.in_flight, 0);
    assert_int_equal(next_key(&f), 17);
    end(&f);
}

static void received_items_stay_until_the_cursor_passes(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    push(&f, 1, 3);
    send_datagrams(&f, 3, 1, 100, 5);
    pqb_sent_map_on_received_range(&f.map, 2, UINT64_MAX, &f.channel, 6);
    assert_true(pqb_sent_map_find(&f.map, 2)->is_acked);
    assert_int_equal(f.map.count, 3);
    assert_int_equal(f.channel.cc.in_flight, 100);
    pqb_sent_map_mark_all_lost(&f.map, &f.channel);
    assert_int_equal(f.map.lost_count, 1); // only what was not received
    assert_int_equal(next_key(&f), 1);
    pqb_sent_map_on_received(&f.map, 99, &f.channel, 6); // unknown
    end(&f);
}

static void the_timer_runs_from_the_first_in_flight_or_the_last_progress(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    push(&f, 1, 4);
    assert_int_equal(pqb_sent_map_deadline(&f.map, &f.channel, 0), PQB_NEVER);
    send_datagrams(&f, 1, 1, 100, 100 * MS);
    assert_int_equal(pqb_sent_map_deadline(&f.map, &f.channel, 0), 1100 * MS);
    assert_int_equal(pqb_sent_map_deadline(&f.map, &f.channel, 0.5), 1225 * MS);
    send_datagrams(&f, 2, 1, 100, 900 * MS); // does not put it off
    assert_int_equal(pqb_sent_map_deadline(&f.map, &f.channel, 0), 1100 * MS);
    pqb_sent_map_on_done(&f.map, 1, &f.channel, 1000 * MS);
    assert_int_equal(pqb_sent_map_deadline(&f.map, &f.channel, 0), 2000 * MS);
    pqb_sent_map_on_cursor(&f.map, 3, &f.channel, 1001 * MS);
    assert_int_equal(pqb_sent_map_deadline(&f.map, &f.channel, 0), PQB_NEVER);
    end(&f);
}

static void a_timeout_waits_for_the_oldest_in_flight(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    push(&f, 1, 2);
    send_datagrams(&f, 1, 1, 100, 0);
    send_datagrams(&f, 1, 1, 100, 600 * MS);
    pqb_sent_map_on_done(&f.map, 1, &f.channel, 500 * MS); // as if it had raced
    assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0, 1500 * MS), PQB_SENT_WAIT);
    assert_int_equal(pqb_sent_map_deadline(&f.map, &f.channel, 0), 1600 * MS);
    assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0, 1600 * MS - 1), PQB_SENT_WAIT);
    assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0, 1600 * MS), PQB_SENT_RETRY);
    end(&f);
}

static void the_first_timeout_gives_up_two_datagrams_worth(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    push(&f, 1, 20);
    send_datagrams(&f, 10, 2, 600, 0);
    assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0.4, 1100 * MS - 1),
                     PQB_SENT_WAIT);
    assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0.4, 1100 * MS), PQB_SENT_RETRY);
    assert_int_equal(f.map.lost_count, 4);
    assert_int_equal(next_key(&f), 1);
    assert_int_equal(f.channel.cc.window, PQB_CC_WINDOW_INITIAL);
    assert_true(pqb_cc_may_send(&f.channel.cc, 1200, 1100 * MS));
    assert_int_equal(pqb_sent_map_deadline(&f.map, &f.channel, 0), 3100 * MS); // doubled
    end(&f);
}

static void one_item_larger_than_that_goes_alone(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    push(&f, 1, 3);
    send_datagrams(&f, 3, 1, 2401, 0);
    assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0, 1000 * MS), PQB_SENT_RETRY);
    assert_int_equal(f.map.lost_count, 1);
    end(&f);
}

static void a_second_timeout_in_a_row_loses_everything(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    push(&f, 1, 20);
    send_datagrams(&f, 10, 2, 600, 0);
    assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0, 1000 * MS), PQB_SENT_RETRY);
    send_datagrams(&f, 2, 2, 600, 1000 * MS);
    assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0, 3000 * MS), PQB_SENT_RETRY);
    assert_int_equal(f.map.lost_count, 20);
    assert_int_equal(f.channel.cc.in_flight, 0);
    assert_int_equal(f.channel.cc.window, PQB_CC_WINDOW_MIN);
    assert_int_equal(pqb_sent_map_deadline(&f.map, &f.channel, 0), PQB_NEVER);
    assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0, 9000 * MS), PQB_SENT_WAIT);
    end(&f);
}

static void progress_ends_the_row_of_timeouts(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    push(&f, 1, 20);
    send_datagrams(&f, 10, 2, 600, 0);
    assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0, 1000 * MS), PQB_SENT_RETRY);
    pqb_sent_map_on_received(&f.map, 17, &f.channel, 1500 * MS);
    assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0, 1501 * MS), PQB_SENT_RETRY);
    assert_int_equal(f.map.backoffs, 0);
    assert_int_equal(f.map.lost_count, 12); // 1-4 by the timeout, 5-12 by the ninth datagram
    assert_int_equal(f.channel.cc.window, (PQB_CC_WINDOW_INITIAL + 600) / 2);
    assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0, 2500 * MS), PQB_SENT_RETRY);
    assert_int_equal(f.map.backoffs, 1);
    end(&f);
}

static void after_twelve_timeouts_in_a_row_it_gives_up(void **state)
{
    struct fixture f;
    pqb_tstamp now = 0;

    (void)state;
    begin(&f);
    push(&f, 1, 1);
    for (int i = 0; i < 11; i++) {
        send_datagrams(&f, 1, 1, 100, now);
        now = pqb_sent_map_deadline(&f.map, &f.channel, 0);
        assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0, now), PQB_SENT_RETRY);
    }
    send_datagrams(&f, 1, 1, 100, now);
    now = pqb_sent_map_deadline(&f.map, &f.channel, 0);
    assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0, now), PQB_SENT_GIVE_UP);
    assert_int_equal(now, (1 + 2 + 4 + 8 + 16 + 32 + 6 * 60) * 1000 * MS);
    end(&f);
}

static void an_item_in_pieces_is_one_item(void **state)
{
    struct fixture f;
    struct pqb_sent *item;

    (void)state;
    begin(&f);
    push(&f, 1, 2);
    for (int i = 0; i < 3; i++) {
        item = pqb_sent_map_next(&f.map);
        assert_int_equal(item->key, 1);
        pqb_sent_map_on_part_sent(&f.map, item, 1000, i < 2, &f.channel, 5);
        f.channel.pn_next++;
    }
    assert_int_equal(item->transmissions, 1);
    assert_int_equal(item->bytes, 3000);
    assert_int_equal(f.channel.cc.in_flight, 3000);
    assert_int_equal(next_key(&f), 2);
    pqb_sent_map_on_part_acked(&f.map, item, 1000, &f.channel, 6);
    assert_int_equal(item->bytes, 2000);
    pqb_sent_map_on_part_lost(&f.map, item, 1000, &f.channel, 7);
    assert_int_equal(f.channel.cc.in_flight, 1000);
    assert_int_equal(next_key(&f), 1); // the piece, before what was never sent
    pqb_sent_map_on_part_sent(&f.map, item, 1000, false, &f.channel, 8);
    pqb_sent_map_on_part_acked(&f.map, item, 9999, &f.channel, 9); // more than is in flight
    assert_int_equal(f.channel.cc.in_flight, 0);
    // All pieces arrived and no answer came: only the timer sends it again.
    f.channel.pn_next += 10;
    send_datagrams(&f, 1, 1, 100, 10);
    pqb_sent_map_on_done(&f.map, 2, &f.channel, 11);
    assert_int_equal(f.map.lost_count, 0);
    assert_int_equal(pqb_sent_map_deadline(&f.map, &f.channel, 0), 11 + 1000 * MS);
    assert_int_equal(pqb_sent_map_on_timeout(&f.map, &f.channel, 0, 11 + 1000 * MS),
                     PQB_SENT_RETRY);
    assert_int_equal(next_key(&f), 1);
    end(&f);
}

static void an_address_change_sends_all_again_at_once(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    push(&f, 1, 5);
    send_datagrams(&f, 3, 1, 100, 5);
    f.map.backoffs = 3;
    pqb_channel_on_path_change(&f.channel, false);
    pqb_sent_map_mark_all_lost(&f.map, &f.channel);
    assert_int_equal(f.channel.cc.in_flight, 0);
    assert_int_equal(f.channel.cc.window, PQB_CC_WINDOW_INITIAL);
    assert_int_equal(f.map.backoffs, 0);
    assert_int_equal(next_key(&f), 1);
    send_datagrams(&f, 3, 1, 100, 6);
    assert_int_equal(next_key(&f), 4);
    end(&f);
}

// The same map kept naively: an array of 4096 keys.
enum {
    KEYS = 4096
};
struct naive {
    bool is_held[KEYS], is_sent[KEYS], is_acked[KEYS], is_lost[KEYS];
    uint32_t bytes[KEYS];
    uint32_t low, high; // held keys lie in low..high-1
};

static uint32_t naive_in_flight(const struct naive *n)
{
    uint32_t sum = 0;

    for (uint32_t k = n->low; k < n->high; k++)
        sum +=
            n->is_held[k] && n->is_sent[k] && !n->is_acked[k] && !n->is_lost[k] ? n->bytes[k] : 0;
    return sum;
}

// Losses are the map's own judgement: taken over, after a check that nothing else changed.
static void compare(struct fixture *f, struct naive *n)
{
    uint32_t index = 0;
    uint64_t expected_next = 0;
    uint64_t expected_new = 0;

    for (uint32_t k = n->low; k < n->high; k++) {
        if (!n->is_held[k])
            continue;
        const struct pqb_sent *item = pqb_sent_map_at(&f->map, index++);

        assert_int_equal(item->key, k);
        assert_int_equal(item->is_acked, n->is_acked[k]);
        assert_int_equal(item->transmissions > 0, n->is_sent[k]);
        n->is_lost[k] = item->is_lost;
        if (expected_next == 0 && item->is_lost)
            expected_next = k;
        if (expected_new == 0 && !n->is_sent[k] && !n->is_acked[k])
            expected_new = k;
    }
    assert_int_equal(f->map.count, index);
    assert_int_equal(f->channel.cc.in_flight, naive_in_flight(n));
    assert_int_equal(next_key(f), expected_next != 0 ? expected_next : expected_new);
}

static void step(struct fixture *f, struct naive *n, struct pqb_rng *rng, pqb_tstamp now)
{
    const uint32_t key = n->low + (uint32_t)pqb_rng_below(rng, PQB_SENT_MAX);
    struct pqb_sent *item;

    switch (pqb_rng_below(rng, 12)) {
    case 0:
    case 1:
    case 2:
        if (f->map.count < PQB_SENT_MAX && n->high + 2 < KEYS) {
            n->high += (uint32_t)pqb_rng_below(rng, 2); // keys may skip
            n->is_held[n->high] = true;
            push(f, n->high, n->high);
            n->high++;
        }
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        item = pqb_sent_map_next(&f->map);
        if (item != NULL) {
            n->is_sent[item->key] = true;
            n->is_lost[item->key] = false;
            n->bytes[item->key] = 100 + (uint32_t)pqb_rng_below(rng, 1000);
            pqb_sent_map_on_sent(&f->map, item, n->bytes[item->key], &f->channel, now);
            f->channel.pn_next += pqb_rng_below(rng, 2);
        }
        break;
    case 7:
        pqb_sent_map_on_received(&f->map, key, &f->channel, now);
        if (key < KEYS && n->is_held[key])
            n->is_acked[key] = true;
        break;
    case 8:
    case 9:
        pqb_sent_map_on_done(&f->map, key, &f->channel, now);
        if (key < KEYS)
            n->is_held[key] = false;
        break;
    case 10:
        if (pqb_rng_below(rng, 20) == 0) {
            (void)pqb_sent_map_on_cursor(&f->map, key, &f->channel, now);
            for (uint32_t k = n->low; k <= key && k < KEYS; k++)
                n->is_held[k] = false;
            n->low = PQB_MIN(key + 1, n->high);
        }
        break;
    default:
        if (pqb_sent_map_on_timeout(&f->map, &f->channel, 0, now) == PQB_SENT_GIVE_UP)
            pqb_sent_map_mark_all_lost(&f->map, &f->channel);
        break;
    }
}

static void it_agrees_with_a_naive_map(void **state)
{
    static struct naive n;

    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct fixture f;
        struct pqb_rng rng;

        memset(&n, 0, sizeof(n));
        n.low = n.high = 1;
        pqb_rng_init_seed(&rng, seed);
        begin(&f);
        for (pqb_tstamp i = 1; i <= 4000; i++) {
            step(&f, &n, &rng, i * 10 * MS);
            compare(&f, &n);
        }
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_holds_no_memory),
        cmocka_unit_test(it_holds_256_items),
        cmocka_unit_test(lost_items_go_before_new_ones),
        cmocka_unit_test(three_later_datagrams_make_a_loss),
        cmocka_unit_test(what_shared_the_datagram_of_one_overdue_is_lost_with_it),
        cmocka_unit_test(answers_that_cross_make_no_loss),
        cmocka_unit_test(what_had_its_time_is_lost_at_once),
        cmocka_unit_test(items_that_shared_a_datagram_do_not_condemn_each_other),
        cmocka_unit_test(a_late_answer_to_the_first_transmission_condemns_nobody),
        cmocka_unit_test(the_cursor_takes_everything_below_it),
        cmocka_unit_test(received_items_stay_until_the_cursor_passes),
        cmocka_unit_test(the_timer_runs_from_the_first_in_flight_or_the_last_progress),
        cmocka_unit_test(a_timeout_waits_for_the_oldest_in_flight),
        cmocka_unit_test(the_first_timeout_gives_up_two_datagrams_worth),
        cmocka_unit_test(one_item_larger_than_that_goes_alone),
        cmocka_unit_test(a_second_timeout_in_a_row_loses_everything),
        cmocka_unit_test(progress_ends_the_row_of_timeouts),
        cmocka_unit_test(after_twelve_timeouts_in_a_row_it_gives_up),
        cmocka_unit_test(an_item_in_pieces_is_one_item),
        cmocka_unit_test(an_address_change_sends_all_again_at_once),
        cmocka_unit_test(it_agrees_with_a_naive_map),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
