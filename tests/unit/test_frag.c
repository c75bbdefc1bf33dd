#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/proto/frag.h"

#define S PQB_NS_PER_SEC

static uint8_t content[PQB_FRAG_TOTAL_MAX];

static void fill_content(void)
{
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (uint8_t)(i * 7 + i / 1024);
}

static struct pqb_frag_out sender(uint32_t id, size_t len)
{
    struct pqb_frag_out f;

    fill_content();
    pqb_frag_out_init(&f, id, PQB_FRAME_MSG_R, 1000 + id, content, len);
    return f;
}

static struct pqb_frame_frag piece_of(const struct pqb_frag_out *f, unsigned index)
{
    struct pqb_frame frame;

    pqb_frag_out_get(f, index, content, &frame);
    assert_int_equal(frame.type, PQB_FRAME_FRAG);
    return frame.frag;
}

static struct pqb_ranges ranges_of(uint64_t first, uint64_t last)
{
    return (struct pqb_ranges){.count = 1, .at = {{first, last}}};
}

// A receiver and what its calls gave out last.
struct receiver {
    struct pqb_frag_in in;
    size_t budget;
    struct pqb_reassembly *whole;
    struct pqb_frame_frag_reset evicted;
};

static struct receiver receiver(size_t budget)
{
    struct receiver r = {.budget = budget};

    pqb_frag_in_init(&r.in);
    return r;
}

static enum pqb_frag_verdict take(struct receiver *r, const struct pqb_frame_frag *piece,
                                  pqb_tstamp now)
{
    return pqb_frag_in_on_piece(&r->in, piece, &r->budget, &r->whole, &r->evicted, now);
}

static enum pqb_frag_verdict take_index(struct receiver *r, const struct pqb_frag_out *f,
                                        unsigned index, pqb_tstamp now)
{
    const struct pqb_frame_frag piece = piece_of(f, index);

    return take(r, &piece, now);
}

static void pieces_are_counted_up(void **state)
{
    struct pqb_frag_out f = sender(1, 1);

    (void)state;
    assert_int_equal(pqb_frag_out_count(&f), 1);
    f = sender(1, 1024);
    assert_int_equal(pqb_frag_out_count(&f), 1);
    f = sender(1, 1025);
    assert_int_equal(pqb_frag_out_count(&f), 2);
    assert_int_equal(piece_of(&f, 0).piece.len, 1024);
    assert_int_equal(piece_of(&f, 1).piece.len, 1);
    f = sender(1, PQB_FRAG_TOTAL_MAX);
    assert_int_equal(pqb_frag_out_count(&f), PQB_FRAG_COUNT_MAX);
}

static void each_piece_is_wanted_until_it_is_sent(void **state)
{
    struct pqb_frag_out f = sender(1, PQB_FRAG_TOTAL_MAX);

    (void)state;
    for (unsigned i = 0; i < PQB_FRAG_COUNT_MAX; i++) {
        assert_int_equal(pqb_frag_out_next(&f), (int)i);
        pqb_frag_out_on_sent(&f, i);
        assert_int_equal(pqb_frag_out_in_flight(&f), i + 1);
    }
    assert_int_equal(pqb_frag_out_next(&f), -1);
    assert_false(pqb_frag_out_is_all_acked(&f));
}

static void lost_pieces_are_wanted_again_and_acknowledged_ones_are_not(void **state)
{
    struct pqb_frag_out f = sender(1, PQB_FRAG_TOTAL_MAX);
    struct pqb_ranges got = ranges_of(1, 63);

    (void)state;
    for (unsigned i = 0; i < PQB_FRAG_COUNT_MAX; i++)
        pqb_frag_out_on_sent(&f, i);
    assert_int_equal(pqb_frag_out_on_ack(&f, &got), 63);
    assert_int_equal(pqb_frag_out_on_ack(&f, &got), 0);
    assert_int_equal(pqb_frag_out_in_flight(&f), 2);
    pqb_frag_out_on_lost(&f);
    assert_int_equal(pqb_frag_out_in_flight(&f), 0);
    assert_int_equal(pqb_frag_out_next(&f), 0);
    pqb_frag_out_on_sent(&f, 0);
    assert_int_equal(pqb_frag_out_next(&f), 64);
    got = ranges_of(0, 64);
    assert_int_equal(pqb_frag_out_on_ack(&f, &got), 2); // the last was lost, then came late
    assert_true(pqb_frag_out_is_all_acked(&f));
    assert_int_equal(pqb_frag_out_next(&f), -1);
    pqb_frag_out_on_reset(&f);
    assert_int_equal(pqb_frag_out_next(&f), 0);
    assert_false(pqb_frag_out_is_all_acked(&f));
}

static void ranges_beyond_the_pieces_are_cut(void **state)
{
    struct pqb_frag_out f = sender(1, 3000);
    struct pqb_ranges got = {.count = 3, .at = {{2, UINT64_MAX}, {3, 9}, {7, 1}}};

    (void)state;
    assert_int_equal(pqb_frag_out_on_ack(&f, &got), 1);
    got = ranges_of(0, UINT64_MAX);
    assert_int_equal(pqb_frag_out_on_ack(&f, &got), 2);
    assert_true(pqb_frag_out_is_all_acked(&f));
}

static void a_whole_comes_together_in_any_order(void **state)
{
    static const unsigned order[] = {2, 0, 2, 3, 0};
    const struct pqb_frag_out f = sender(7, 4000);
    struct receiver r = receiver(100000);

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(order); i++)
        assert_int_equal(take_index(&r, &f, order[i], 1), PQB_FRAG_HELD);
    assert_int_equal(take_index(&r, &f, 1, 1), PQB_FRAG_COMPLETE);
    assert_int_equal(r.whole->total, 4000);
    assert_int_equal(r.whole->frame, PQB_FRAME_MSG_R);
    assert_int_equal(r.whole->seq, 1007);
    assert_memory_equal(r.whole->content, content, 4000);
    assert_int_equal(take_index(&r, &f, 1, 1), PQB_FRAG_HELD); // not handed on yet
    pqb_frag_in_done(&r.in, 7, &r.budget);
    assert_int_equal(r.budget, 100000);
    assert_int_equal(r.in.bytes, 0);
}

static void a_late_piece_is_known_for_eight_wholes(void **state)
{
    struct receiver r = receiver(100000);
    struct pqb_ranges got;

    (void)state;
    for (uint32_t id = 1; id <= 9; id++) {
        const struct pqb_frag_out f = sender(id, 10);

        assert_int_equal(take_index(&r, &f, 0, 1), PQB_FRAG_COMPLETE);
        pqb_frag_in_done(&r.in, id, &r.budget);
        pqb_frag_in_done(&r.in, id, &r.budget);
    }
    const struct pqb_frag_out second = sender(2, 10);
    assert_int_equal(take_index(&r, &second, 0, 1), PQB_FRAG_LATE);
    assert_true(pqb_frag_in_ranges(&r.in, 2, &got));
    assert_int_equal(got.count, 1);
    assert_int_equal(got.at[0].first, 0);
    assert_int_equal(got.at[0].last, PQB_FRAG_COUNT_MAX - 1);
    const struct pqb_frag_out first = sender(1, 2000);
    assert_int_equal(take_index(&r, &first, 0, 1), PQB_FRAG_HELD); // forgotten
    pqb_frag_in_fini(&r.in);
}

static void a_forgotten_whole_is_collected_again(void **state)
{
    const struct pqb_frag_out f = sender(7, 10);
    struct receiver r = receiver(100000);

    (void)state;
    assert_int_equal(take_index(&r, &f, 0, 1), PQB_FRAG_COMPLETE);
    pqb_frag_in_done(&r.in, 7, &r.budget);
    assert_int_equal(take_index(&r, &f, 0, 1), PQB_FRAG_LATE);
    pqb_frag_in_forget(&r.in, 7);
    assert_int_equal(take_index(&r, &f, 0, 1), PQB_FRAG_COMPLETE);
    pqb_frag_in_fini(&r.in);
}

static void ranges_tell_what_is_held(void **state)
{
    const struct pqb_frag_out f = sender(7, PQB_FRAG_TOTAL_MAX);
    struct receiver r = receiver(100000);
    struct pqb_ranges got;

    (void)state;
    assert_false(pqb_frag_in_ranges(&r.in, 7, &got));
    assert_false(pqb_frag_in_ranges(&r.in, 0, &got));
    for (unsigned i = 0; i < PQB_FRAG_COUNT_MAX; i += 2)
        assert_int_equal(take_index(&r, &f, i, 1), PQB_FRAG_HELD);
    assert_true(pqb_frag_in_ranges(&r.in, 7, &got)); // 33 ranges; a frame tells the lowest 32
    assert_int_equal(got.count, PQB_FRAME_RANGES_MAX);
    assert_int_equal(got.at[31].first, 62);
    assert_int_equal(take_index(&r, &f, 1, 1), PQB_FRAG_HELD);
    assert_true(pqb_frag_in_ranges(&r.in, 7, &got));
    assert_int_equal(got.count, 32);
    assert_int_equal(got.at[0].last, 2);
    assert_int_equal(got.at[31].last, 64);
    pqb_frag_in_fini(&r.in);
}

static void malformed_pieces_are_refused(void **state)
{
    const struct pqb_frag_out f = sender(7, 3000);
    struct receiver r = receiver(100000);
    const struct pqb_frame_frag good = piece_of(&f, 2);

    (void)state;
    for (int fault = 0; fault < 7; fault++) {
        struct pqb_frame_frag p = good;

        p.id = fault == 0 ? 0 : p.id;
        p.total = fault == 1 ? 0 : fault == 2 ? PQB_FRAG_TOTAL_MAX + 1 : p.total;
        p.index = fault == 3 ? 3 : p.index;
        p.piece.len += (size_t)(fault == 4) - (size_t)(fault == 5);
        p.frame = fault == 6 ? PQB_FRAME_PING : p.frame;
        assert_int_equal(take(&r, &p, 1), PQB_FRAG_BAD);
        assert_int_equal(r.in.bytes, 0);
        assert_int_equal(r.budget, 100000);
    }
    assert_int_equal(take(&r, &good, 1), PQB_FRAG_HELD);
    pqb_frag_in_fini(&r.in);
}

static void a_contradiction_discards_what_was_held(void **state)
{
    const struct pqb_frag_out f = sender(7, 3000);
    struct receiver r = receiver(100000);

    (void)state;
    for (int fault = 0; fault < 4; fault++) {
        struct pqb_frame_frag p = piece_of(&f, 1);

        assert_int_equal(take_index(&r, &f, 0, 1), PQB_FRAG_HELD);
        p.total += fault == 0 ? 1024 : 0;
        p.hash += fault == 1;
        p.seq += fault == 2;
        p.frame = fault == 3 ? PQB_FRAME_MSG_N : p.frame;
        assert_int_equal(take(&r, &p, 1), PQB_FRAG_BAD);
        assert_int_equal(r.in.bytes, 0);
    }
    assert_int_equal(r.budget, 100000);
}

static void a_whole_with_a_wrong_hash_is_discarded(void **state)
{
    struct pqb_frag_out f = sender(7, 2000);
    struct receiver r = receiver(100000);

    (void)state;
    f.hash ^= 1;
    assert_int_equal(take_index(&r, &f, 0, 1), PQB_FRAG_HELD);
    assert_int_equal(take_index(&r, &f, 1, 1), PQB_FRAG_BAD);
    assert_null(r.whole);
    assert_int_equal(r.budget, 100000);
}

static void a_fifth_reassembly_takes_the_place_of_the_oldest(void **state)
{
    struct receiver r = receiver(100000);

    (void)state;
    for (uint32_t id = 1; id <= 4; id++) {
        const struct pqb_frag_out f = sender(id, 2000);

        assert_int_equal(take_index(&r, &f, 0, id), PQB_FRAG_HELD);
        assert_int_equal(r.evicted.id, 0);
    }
    const struct pqb_frag_out first = sender(1, 2000);
    assert_int_equal(take_index(&r, &first, 0, 9), PQB_FRAG_HELD); // a repeat touches it too
    const struct pqb_frag_out fifth = sender(5, 2000);
    assert_int_equal(take_index(&r, &fifth, 0, 10), PQB_FRAG_HELD);
    assert_int_equal(r.evicted.id, 2);
    assert_int_equal(r.evicted.seq, 1002);
    assert_int_equal(r.in.bytes, 100000 - r.budget);
    r.budget += r.in.bytes;
    pqb_frag_in_fini(&r.in);
    assert_int_equal(r.budget, 100000);
}

static void the_budget_is_never_overdrawn_nor_anyone_evicted_in_vain(void **state)
{
    const size_t cost = sizeof(struct pqb_reassembly) + 2000;
    struct receiver r = receiver(4 * cost);

    (void)state;
    const struct pqb_frag_out big = sender(9, 4 * 2000 + 3 * sizeof(struct pqb_reassembly) + 1);
    assert_int_equal(take_index(&r, &big, 0, 1), PQB_FRAG_NO_MEMORY);
    for (uint32_t id = 1; id <= 4; id++) {
        const struct pqb_frag_out f = sender(id, 2000);

        assert_int_equal(take_index(&r, &f, 0, id), PQB_FRAG_HELD);
    }
    assert_int_equal(r.budget, 0);
    const struct pqb_frag_out larger = sender(8, 2001);
    assert_int_equal(take_index(&r, &larger, 0, 9), PQB_FRAG_NO_MEMORY);
    assert_int_equal(r.evicted.id, 0);
    const struct pqb_frag_out equal = sender(8, 2000);
    assert_int_equal(take_index(&r, &equal, 0, 9), PQB_FRAG_HELD);
    assert_int_equal(r.evicted.id, 1);
    pqb_frag_in_fini(&r.in);
}

static void an_untouched_reassembly_expires_after_ten_seconds(void **state)
{
    const struct pqb_frag_out f = sender(7, 3000);
    const struct pqb_frag_out g = sender(8, 3000);
    struct receiver r = receiver(100000);
    struct pqb_frame_frag_reset reset;

    (void)state;
    assert_int_equal(pqb_frag_in_deadline(&r.in), PQB_NEVER);
    assert_int_equal(take_index(&r, &f, 0, 1 * S), PQB_FRAG_HELD);
    assert_int_equal(take_index(&r, &g, 0, 2 * S), PQB_FRAG_HELD);
    assert_int_equal(take_index(&r, &f, 1, 5 * S), PQB_FRAG_HELD);
    assert_int_equal(pqb_frag_in_deadline(&r.in), 12 * S);
    assert_false(pqb_frag_in_expire(&r.in, &reset, &r.budget, 12 * S - 1));
    assert_true(pqb_frag_in_expire(&r.in, &reset, &r.budget, 12 * S));
    assert_int_equal(reset.id, 8);
    assert_int_equal(reset.seq, 1008);
    assert_int_equal(pqb_frag_in_deadline(&r.in), 15 * S);
    assert_true(pqb_frag_in_expire(&r.in, &reset, &r.budget, 15 * S));
    assert_int_equal(reset.id, 7);
    assert_false(pqb_frag_in_expire(&r.in, &reset, &r.budget, 99 * S));
    assert_int_equal(r.budget, 100000);
}

static void a_large_whole_arrives_over_a_lossy_way(void **state)
{
    struct pqb_rng rng;

    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        pqb_rng_init_seed(&rng, seed);
        struct pqb_frag_out f = sender(1, 1 + pqb_rng_below(&rng, PQB_FRAG_TOTAL_MAX));
        struct receiver r = receiver(100000);
        bool is_whole = false;

        for (int round = 0; round < 60 && !is_whole; round++) {
            for (int i; (i = pqb_frag_out_next(&f)) >= 0;) {
                pqb_frag_out_on_sent(&f, (unsigned)i);
                if (!is_whole && pqb_rng_below(&rng, 100) >= 30)
                    is_whole = take_index(&r, &f, (unsigned)i, 1) == PQB_FRAG_COMPLETE;
            }
            struct pqb_ranges got;
            if (pqb_rng_below(&rng, 100) >= 30 && pqb_frag_in_ranges(&r.in, 1, &got))
                (void)pqb_frag_out_on_ack(&f, &got);
            pqb_frag_out_on_lost(&f);
        }
        assert_true(is_whole);
        assert_memory_equal(r.whole->content, content, f.total);
        pqb_frag_in_fini(&r.in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_counted_up),
        cmocka_unit_test(each_piece_is_wanted_until_it_is_sent),
        cmocka_unit_test(lost_pieces_are_wanted_again_and_acknowledged_ones_are_not),
        cmocka_unit_test(ranges_beyond_the_pieces_are_cut),
        cmocka_unit_test(a_whole_comes_together_in_any_order),
        cmocka_unit_test(a_late_piece_is_known_for_eight_wholes),
        cmocka_unit_test(a_forgotten_whole_is_collected_again),
        cmocka_unit_test(ranges_tell_what_is_held),
        cmocka_unit_test(malformed_pieces_are_refused),
        cmocka_unit_test(a_contradiction_discards_what_was_held),
        cmocka_unit_test(a_whole_with_a_wrong_hash_is_discarded),
        cmocka_unit_test(a_fifth_reassembly_takes_the_place_of_the_oldest),
        cmocka_unit_test(the_budget_is_never_overdrawn_nor_anyone_evicted_in_vain),
        cmocka_unit_test(an_untouched_reassembly_expires_after_ten_seconds),
        cmocka_unit_test(a_large_whole_arrives_over_a_lossy_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
