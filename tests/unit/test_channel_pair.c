// Two channels over a bad link in virtual time: everything arrives, and soon enough.
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
#include "common/wire/frame.h"

#define MS PQB_NS_PER_MS

enum {
    ITEMS = 10000,
    ITEM_BYTES = 200,
    ITEMS_PER_DATAGRAM = 5,
    ON_THE_WAY_MAX = 4096,
    SEEDS = 50,
};

// Of one direction.
struct link {
    unsigned loss_percent, duplicate_percent;
    pqb_duration delay, jitter; // jitter reorders
};

// A datagram on its way. Items go to the receiver, the acknowledgement comes back.
struct parcel {
    pqb_tstamp at;
    bool is_to_receiver;
    uint8_t header[PQB_DATA_HEADER_LEN];
    unsigned count;
    uint64_t keys[ITEMS_PER_DATAGRAM];
    uint64_t cursor;
    struct pqb_ranges received;
};

struct world {
    pqb_tstamp now;
    struct pqb_rng rng;
    struct link link;
    bool is_cumulative; // ack:R with cursor and ranges; else an answer for each item, sent once
    struct parcel way[ON_THE_WAY_MAX];
    unsigned way_count;
    struct pqb_channel sender, receiver;
    struct pqb_sent_map map;
    double jitter;
    uint64_t pushed, done;
    uint64_t transmissions;
    bool has_arrived[ITEMS + 1];
    uint64_t cursor; // of the receiver
};

static struct world world;

static bool happens(struct world *w, unsigned percent)
{
    return pqb_rng_below(&w->rng, 100) < percent;
}

static void put_on_the_way(struct world *w, const struct parcel *p)
{
    assert_true(w->way_count < ON_THE_WAY_MAX);
    w->way[w->way_count] = *p;
    w->way[w->way_count].at = w->now + w->link.delay + pqb_rng_below(&w->rng, w->link.jitter + 1);
    w->way_count++;
}

static void post(struct world *w, const struct parcel *p)
{
    if (happens(w, w->link.loss_percent))
        return;
    put_on_the_way(w, p);
    if (happens(w, w->link.duplicate_percent))
        put_on_the_way(w, p);
}

static void fill_map(struct world *w)
{
    while (w->pushed < ITEMS && w->map.count < PQB_SENT_MAX) {
        w->pushed++;
        assert_int_equal(pqb_sent_map_push(&w->map, w->pushed, 0), PQB_OK);
    }
}

static bool send_one(struct world *w)
{
    struct parcel p = {.is_to_receiver = true};
    struct pqb_sent *item;

    while (p.count < ITEMS_PER_DATAGRAM && (item = pqb_sent_map_next(&w->map)) != NULL) {
        if (!pqb_cc_may_send(&w->sender.cc, ITEM_BYTES, w->now))
            break;
        p.keys[p.count++] = item->key;
        pqb_sent_map_on_sent(&w->map, item, ITEM_BYTES, &w->sender, w->now);
        w->transmissions++;
    }
    if (p.count == 0)
        return false;
    (void)pqb_channel_seal(&w->sender, p.header, 0, w->now);
    post(w, &p);
    return true;
}

static void transmit(struct world *w)
{
    fill_map(w);
    while (send_one(w))
        ;
}

static void note_arrivals(struct world *w, const struct parcel *p)
{
    for (unsigned i = 0; i < p->count; i++)
        w->has_arrived[p->keys[i]] = true;
    while (w->cursor < ITEMS && w->has_arrived[w->cursor + 1])
        w->cursor++;
}

static void list_ranges(const struct world *w, struct pqb_ranges *out)
{
    for (uint64_t key = w->cursor + 1; key <= ITEMS && key <= w->cursor + PQB_SENT_MAX; key++) {
        if (!w->has_arrived[key])
            continue;
        if (out->count > 0 && out->at[out->count - 1].last == key - 1)
            out->at[out->count - 1].last = key;
        else if (out->count < PQB_FRAME_RANGES_MAX)
            out->at[out->count++] = (struct pqb_range){.first = key, .last = key};
    }
}

static void on_items(struct world *w, const struct parcel *p)
{
    struct parcel answer = {.cursor = 0};

    note_arrivals(w, p);
    if (w->is_cumulative) {
        answer.cursor = w->cursor;
        list_ranges(w, &answer.received);
    } else {
        answer.count = p->count;
        memcpy(answer.keys, p->keys, sizeof(answer.keys));
    }
    (void)pqb_channel_seal(&w->receiver, answer.header, 0, w->now);
    post(w, &answer);
}

static void on_answer(struct world *w, const struct parcel *p)
{
    (void)pqb_sent_map_on_cursor(&w->map, p->cursor, &w->sender, w->now);
    for (size_t i = 0; i < p->received.count; i++)
        pqb_sent_map_on_received_range(&w->map, p->received.at[i].first, p->received.at[i].last,
                                       &w->sender, w->now);
    for (unsigned i = 0; i < p->count; i++)
        pqb_sent_map_on_done(&w->map, p->keys[i], &w->sender, w->now);
}

static void arrive(struct world *w, const struct parcel *p)
{
    struct pqb_channel *to = p->is_to_receiver ? &w->receiver : &w->sender;
    struct pqb_data d;

    assert_int_equal(pqb_data_decode(p->header, sizeof(p->header), &d), PQB_VERDICT_OK);
    if (pqb_channel_on_data(to, &d, w->now).verdict != PQB_REPLAY_NEW)
        return;
    if (p->is_to_receiver)
        on_items(w, p);
    else
        on_answer(w, p);
}

static unsigned first_to_arrive(const struct world *w)
{
    unsigned first = 0;

    for (unsigned i = 1; i < w->way_count; i++) {
        if (w->way[i].at < w->way[first].at)
            first = i;
    }
    return first;
}

static pqb_tstamp next_event(const struct world *w)
{
    pqb_tstamp at = pqb_sent_map_deadline(&w->map, &w->sender, w->jitter);

    if (w->way_count > 0)
        at = PQB_MIN(at, w->way[first_to_arrive(w)].at);
    struct pqb_sent_map peek = w->map;
    if (pqb_sent_map_next(&peek) != NULL)
        at = PQB_MIN(at, pqb_cc_next_send(&w->sender.cc, w->now));
    return at;
}

static void turn(struct world *w)
{
    const pqb_tstamp at = next_event(w);

    assert_true(at != PQB_NEVER && at >= w->now); // never stuck
    w->now = at;
    while (w->way_count > 0 && w->way[first_to_arrive(w)].at <= w->now) {
        const unsigned i = first_to_arrive(w);
        const struct parcel p = w->way[i];

        w->way[i] = w->way[--w->way_count];
        arrive(w, &p);
    }
    switch (pqb_sent_map_on_timeout(&w->map, &w->sender, w->jitter, w->now)) {
    case PQB_SENT_WAIT:
        break;
    case PQB_SENT_RETRY:
        w->jitter = pqb_rng_unit(&w->rng);
        break;
    case PQB_SENT_GIVE_UP:
        fail_msg("gave up at %llu ms", (unsigned long long)(w->now / MS));
    }
    transmit(w);
}

// Runs one transfer; returns its virtual duration.
static pqb_duration transfer(uint64_t seed, struct link link, bool is_cumulative)
{
    struct world *w = &world;
    const pqb_tstamp start = 1000 * MS;
    uint64_t turns = 0;

    memset(w, 0, sizeof(*w));
    w->now = start;
    w->link = link;
    w->is_cumulative = is_cumulative;
    pqb_rng_init_seed(&w->rng, seed);
    pqb_channel_init(&w->sender, 1, start);
    pqb_channel_init(&w->receiver, 1, start);
    pqb_sent_map_init(&w->map);
    transmit(w);
    while (w->map.count > 0) {
        turn(w);
        assert_true(++turns < 50 * ITEMS); // never spins
    }
    assert_int_equal(w->cursor, ITEMS);
    assert_int_equal(w->sender.cc.in_flight, 0);
    assert_null(w->map.ring);
    pqb_sent_map_fini(&w->map, &w->sender.cc);
    pqb_channel_fini(&w->sender);
    pqb_channel_fini(&w->receiver);
    return w->now - start;
}

// The longest of all seeds, and the most transmissions of an item on average, in percent.
static void run_seeds(struct link link, bool is_cumulative, pqb_duration time_max,
                      uint64_t percent_max)
{
    pqb_duration longest = 0;
    uint64_t most = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        const pqb_duration took = transfer(seed, link, is_cumulative);
        const uint64_t percent = world.transmissions * 100 / ITEMS;

        if (took > time_max || percent > percent_max)
            print_message("seed %llu: %llu ms, %llu %% transmissions\n", (unsigned long long)seed,
                          (unsigned long long)(took / MS), (unsigned long long)percent);
        longest = PQB_MAX(longest, took);
        most = PQB_MAX(most, percent);
    }
    print_message("longest %llu ms, most transmissions %llu %%\n",
                  (unsigned long long)(longest / MS), (unsigned long long)most);
    assert_true(longest <= time_max);
    assert_true(most <= percent_max);
}

static void a_clean_link_repeats_nothing(void **state)
{
    const struct link link = {.delay = 20 * MS};

    (void)state;
    run_seeds(link, true, 4000 * MS, 100);
    run_seeds(link, false, 4000 * MS, 100);
}

static void cursor_and_ranges_bring_everything_over_a_bad_link(void **state)
{
    const struct link link = {
        .loss_percent = 20, .duplicate_percent = 5, .delay = 20 * MS, .jitter = 10 * MS};

    (void)state;
    run_seeds(link, true, 75000 * MS, 150);
}

static void single_answers_bring_everything_over_a_bad_link(void **state)
{
    const struct link link = {
        .loss_percent = 20, .duplicate_percent = 5, .delay = 20 * MS, .jitter = 10 * MS};

    (void)state;
    run_seeds(link, false, 75000 * MS, 200);
}

static void a_long_link_with_little_loss_is_filled(void **state)
{
    const struct link link = {.loss_percent = 1, .delay = 150 * MS};

    (void)state;
    run_seeds(link, true, 90000 * MS, 110);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clean_link_repeats_nothing),
        cmocka_unit_test(cursor_and_ranges_bring_everything_over_a_bad_link),
        cmocka_unit_test(single_answers_bring_everything_over_a_bad_link),
        cmocka_unit_test(a_long_link_with_little_loss_is_filled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
