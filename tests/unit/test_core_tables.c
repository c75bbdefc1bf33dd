// The engine's small parts by themselves: rate, ranges, outbox, replies, in-flight set, half-open
// logins, users and their index.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/rng.h"
#include "gateway/core/half_open.h"
#include "gateway/core/inflight.h"
#include "gateway/core/outbox.h"
#include "gateway/core/rate.h"
#include "gateway/core/replies.h"
#include "gateway/core/user_table.h"

static const uint8_t key[PQB_SIPHASH_KEY_LEN] = {1, 2, 3};

// ------------------------------------------------------------------------------------ rate

static void a_burst_passes_and_then_one_event_an_interval(void **state)
{
    struct pqb_rate r = {0};

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_true(pqb_rate_take(&r, 100, 3, 1000));
    assert_false(pqb_rate_take(&r, 100, 3, 1000));
    assert_int_equal(pqb_rate_wait(&r, 100, 3, 1000), 100);
    assert_false(pqb_rate_take(&r, 100, 3, 1099));
    assert_true(pqb_rate_take(&r, 100, 3, 1100));
    assert_false(pqb_rate_take(&r, 100, 3, 1100));
    for (int i = 0; i < 3; i++) // full again after the burst's length, and no more than full
        assert_true(pqb_rate_take(&r, 100, 3, 100000));
    assert_false(pqb_rate_take(&r, 100, 3, 100000));
}

static void without_an_interval_there_is_no_limit(void **state)
{
    struct pqb_rate r = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_true(pqb_rate_take(&r, 0, 1, 5));
}

// ------------------------------------------------------------------------------------ ranges

static void ranges_agree_with_a_naive_set(void **state)
{
    struct pqb_rng rng;

    (void)state;
    pqb_rng_init_seed(&rng, 11);
    for (int round = 0; round < 200; round++) {
        struct pqb_ranges r = {.count = 0};
        bool naive[256] = {false};

        for (int i = 0; i < 60; i++) {
            const uint64_t first = pqb_rng_below(&rng, 250);
            const uint64_t last = first + pqb_rng_below(&rng, 5);
            const struct pqb_ranges before = r;

            if (pqb_ranges_add(&r, first, last) != PQB_OK) {
                assert_int_equal(before.count, PQB_FRAME_RANGES_MAX);
                assert_memory_equal(&before, &r, sizeof(r));
                continue;
            }
            for (uint64_t n = first; n <= last; n++)
                naive[n] = true;
        }
        for (size_t i = 1; i < r.count; i++)
            assert_true(r.at[i].first > r.at[i - 1].last + 1);
        for (uint64_t n = 0; n < 256; n++)
            assert_int_equal(pqb_ranges_have(&r, n), naive[n]);
    }
}

static void ranges_reach_both_ends_of_the_numbers(void **state)
{
    struct pqb_ranges r = {.count = 0};

    (void)state;
    assert_int_equal(pqb_ranges_add(&r, UINT64_MAX, UINT64_MAX), PQB_OK);
    assert_int_equal(pqb_ranges_add(&r, 0, 0), PQB_OK);
    assert_int_equal(pqb_ranges_add(&r, UINT64_MAX - 1, UINT64_MAX - 1), PQB_OK);
    assert_int_equal(r.count, 2);
    assert_int_equal(r.at[1].first, UINT64_MAX - 1);
}

// ------------------------------------------------------------------------------------ outbox

static void an_outbox_gives_whole_frames_in_order_and_refuses_when_full(void **state)
{
    struct pqb_outbox_pool pool;
    struct pqb_outbox *o;
    struct pqb_frame f = {.type = PQB_FRAME_PING};
    uint64_t in = 0, out = 0;

    (void)state;
    pqb_outbox_pool_init(&pool);
    o = pqb_outbox_take(&pool);
    assert_non_null(o);
    for (int round = 0; round < 50; round++) {
        uint8_t bytes[100];
        size_t len;

        for (f.ping.nonce = in; pqb_outbox_push(o, &f); f.ping.nonce = in)
            in++;
        while (out < in && (len = pqb_outbox_pop(o, bytes, sizeof(bytes))) > 0) {
            const uint8_t *at = bytes;
            struct pqb_bytes content;
            enum pqb_verdict verdict;
            uint8_t code;

            while (pqb_frame_next(&at, bytes + len, &code, &content, &verdict))
                out++;
            assert_int_equal(verdict, PQB_VERDICT_OK);
            if (out % 7 == 0)
                break; // leave some, so that the rest has to move
        }
    }
    assert_true(in > 1000);
    pqb_outbox_put(&pool, o);
    pqb_outbox_pool_fini(&pool);
}

static void a_page_asked_for_keeps_an_outbox_and_is_not_there_when_it_is_used_again(void **state)
{
    struct pqb_outbox_pool pool;
    struct pqb_outbox *o;
    uint8_t bytes[PQB_FRAMES_MAX];

    (void)state;
    pqb_outbox_pool_init(&pool);
    o = pqb_outbox_take(&pool);
    o->page = (struct pqb_outbox_page){.after = 4, .max_bytes = 1000, .max = 1};
    assert_false(pqb_outbox_is_empty(o));
    assert_int_equal(pqb_outbox_pop(o, bytes, sizeof(bytes)), 0);
    assert_false(pqb_outbox_is_empty(o));
    pqb_outbox_put(&pool, o); // its session ended
    assert_ptr_equal(pqb_outbox_take(&pool), o);
    assert_true(pqb_outbox_is_empty(o));
    pqb_outbox_put(&pool, o);
    pqb_outbox_pool_fini(&pool);
}

static void hints_leave_after_the_answers(void **state)
{
    struct pqb_outbox_pool pool;
    struct pqb_outbox *o;
    const struct pqb_frame f = {.type = PQB_FRAME_PONG};
    uint8_t bytes[PQB_FRAMES_MAX];

    (void)state;
    pqb_outbox_pool_init(&pool);
    o = pqb_outbox_take(&pool);
    assert_true(pqb_outbox_is_empty(o));
    assert_true(pqb_outbox_hint(o, PQB_STATE_DELIVERED, 4, 6));
    assert_true(pqb_outbox_push(o, &f));
    assert_true(pqb_outbox_pop(o, bytes, sizeof(bytes)) > 0);
    assert_int_equal(bytes[0], PQB_FRAME_PONG);
    assert_true(pqb_outbox_is_empty(o));
    pqb_outbox_put(&pool, o);
    assert_ptr_equal(pqb_outbox_take(&pool), o); // used again
    pqb_outbox_put(&pool, o);
    pqb_outbox_pool_fini(&pool);
}

// ------------------------------------------------------------------------------------ replies

static void a_full_ring_of_replies_drops_the_newest(void **state)
{
    const struct pqb_addr to = {.family = 4, .port = 9};
    struct pqb_replies r;
    struct pqb_reply *reply;

    (void)state;
    assert_int_equal(pqb_replies_init(&r), PQB_OK);
    assert_null(pqb_replies_pop(&r));
    for (size_t i = 0; i < PQB_REPLIES_MAX; i++) {
        reply = pqb_replies_push(&r, &to, PQB_DATAGRAM_MAX);
        assert_non_null(reply);
        reply->len = i + 1;
    }
    assert_null(pqb_replies_push(&r, &to, PQB_DATAGRAM_MAX));
    for (size_t i = 0; i < PQB_REPLIES_MAX; i++)
        assert_int_equal(pqb_replies_pop(&r)->len, i + 1);
    assert_null(pqb_replies_pop(&r));
    pqb_replies_fini(&r);
}

// Pops an answer of `len` bytes to a question of 25 in a process of its own. True: it stopped.
static bool does_stop(size_t len)
{
    const struct pqb_addr to = {.family = 4, .port = 9};
    struct pqb_replies r;
    const pid_t child = fork();
    int status;

    if (child == 0) {
        // Silent, and with the default action: the harness catches SIGABRT.
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(STDERR_FILENO);
        if (pqb_replies_init(&r) != PQB_OK)
            _exit(2);
        pqb_replies_push(&r, &to, 25)->len = len;
        _exit(pqb_replies_pop(&r) ? 0 : 2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void an_answer_longer_than_its_question_is_never_sent(void **state)
{
    (void)state;
    assert_false(does_stop(25));
    assert_true(does_stop(26));
}

static void a_login_may_get_three_times_what_it_sent(void **state)
{
    struct pqb_half_open h = {0};

    (void)state;
    pqb_half_open_earn(&h, 1200);
    pqb_half_open_spend(&h, 1200);
    pqb_half_open_spend(&h, 2400);
    assert_int_equal(h.budget, 0);
    pqb_half_open_earn(&h, 1);
    assert_int_equal(h.budget, 3);
}

// ------------------------------------------------------------------------------------ in flight

static void seqs_in_flight_are_told_apart_by_device_and_epoch(void **state)
{
    struct pqb_inflight_table t;
    struct pqb_inflight k = {.uid = 1, .devno = 2, .epoch = 3, .seq = 4, .hash = 5};
    struct pqb_inflight *f;

    (void)state;
    assert_int_equal(pqb_inflight_table_init(&t), PQB_OK);
    f = pqb_inflight_table_add(&t, &k);
    assert_non_null(f);
    assert_ptr_equal(pqb_inflight_table_get(&t, &k), f);
    k.epoch = 4;
    assert_null(pqb_inflight_table_get(&t, &k));
    k.epoch = 3;
    k.devno = 1;
    assert_null(pqb_inflight_table_get(&t, &k));
    assert_non_null(pqb_inflight_table_add(&t, &k));
    pqb_inflight_table_remove(&t, f);
    k.devno = 2;
    assert_null(pqb_inflight_table_get(&t, &k));
    pqb_inflight_table_fini(&t);
}

// ------------------------------------------------------------------------------------ half-open

static void half_open_logins_are_found_held_bounded_and_expire(void **state)
{
    struct pqb_half_open_table t;
    struct pqb_half_open proto = {
        .from = {.family = 4, .port = 5}, .cid = 77, .init_id = 9, .created_at = 1000};
    struct pqb_half_open *h;
    const uint8_t byte = 1;

    (void)state;
    assert_int_equal(pqb_half_open_table_init(&t, key), PQB_OK);
    assert_int_equal(pqb_half_open_table_deadline(&t), PQB_NEVER);
    h = pqb_half_open_table_add(&t, &proto);
    assert_ptr_equal(pqb_half_open_table_get(&t, 77), h);
    assert_ptr_equal(pqb_half_open_table_get_init(&t, &proto.from, 9), h);
    proto.from.port++;
    assert_null(pqb_half_open_table_get_init(&t, &proto.from, 9));
    for (int i = 0; i < PQB_HELD_DATAGRAMS_MAX; i++)
        assert_true(pqb_half_open_hold(&t, h, &proto.from, &byte, 1));
    assert_false(pqb_half_open_hold(&t, h, &proto.from, &byte, 1));
    assert_null(pqb_half_open_table_expired(&t, 1000 + PQB_HALF_OPEN_NS - 1));
    assert_ptr_equal(pqb_half_open_table_expired(&t, 1000 + PQB_HALF_OPEN_NS), h);
    h->stage = PQB_LOGIN_RESPONDED;
    pqb_half_open_confirm(h);
    assert_null(pqb_half_open_table_expired(&t, PQB_NEVER - 1));
    pqb_half_open_table_remove(&t, h);
    assert_int_equal(t.held_total, 0);
    pqb_half_open_table_fini(&t);
}

// ------------------------------------------------------------------------------------ users

#define MODEL_USERS    8
#define MODEL_MESSAGES 2000

static const struct pqb_index_entry *naive_at(const struct pqb_index_entry *all, size_t count,
                                              uint64_t iseq, uint64_t journal_first)
{
    for (size_t i = 0; i < count; i++)
        if (all[i].iseq >= iseq && all[i].gseq >= journal_first)
            return &all[i];
    return NULL;
}

static void the_index_agrees_with_a_naive_list(void **state)
{
    static struct pqb_index_entry all[MODEL_USERS][MODEL_MESSAGES];
    size_t count[MODEL_USERS] = {0};
    struct pqb_user_table t;
    struct pqb_rng rng;
    uint64_t journal_first = 1;

    (void)state;
    pqb_rng_init_seed(&rng, 3);
    assert_int_equal(pqb_user_table_init(&t, key), PQB_OK);
    for (uint64_t gseq = 1; gseq <= MODEL_MESSAGES; gseq++) {
        const size_t n = (size_t)pqb_rng_below(&rng, MODEL_USERS);
        struct pqb_user *u = pqb_user_table_make(&t, n + 1, 0);
        const uint64_t last = count[n] > 0 ? all[n][count[n] - 1].iseq : 0;
        const struct pqb_index_entry entry = {last + 1 + pqb_rng_below(&rng, 3), gseq};

        all[n][count[n]++] = entry;
        assert_int_equal(pqb_user_table_index(&t, u, entry.iseq, entry.gseq), PQB_OK);
        if (pqb_rng_below(&rng, 20) == 0)
            journal_first = gseq - pqb_rng_below(&rng, gseq - journal_first + 1);
        pqb_user_table_sweep(&t, journal_first, 2);
        for (size_t i = 0; i < MODEL_USERS; i++) {
            const uint64_t at = pqb_rng_below(&rng, 500);
            const struct pqb_user *user = pqb_user_table_get(&t, i + 1);
            const struct pqb_index_entry *found =
                user ? pqb_user_index_at(user, at, journal_first) : NULL;
            const struct pqb_index_entry *naive = naive_at(all[i], count[i], at, journal_first);

            assert_int_equal(found != NULL, naive != NULL);
            assert_true(!found || !naive || memcmp(found, naive, sizeof(*found)) == 0);
        }
    }
    for (int i = 0; i < 20; i++)
        pqb_user_table_sweep(&t, MODEL_MESSAGES + 1, 2);
    assert_int_equal(t.entries, 0);
    assert_int_equal(t.by_uid.count, 0); // nobody has a session: all are gone
    assert_int_equal(t.bytes, 0);
    pqb_user_table_fini(&t);
}

static void a_user_is_found_by_name_once_it_has_one(void **state)
{
    struct pqb_user_table t;
    struct pqb_user *u;

    (void)state;
    assert_int_equal(pqb_user_table_init(&t, key), PQB_OK);
    u = pqb_user_table_make(&t, 7, 1);
    assert_ptr_equal(pqb_user_table_make(&t, 7, 1), u);
    assert_null(pqb_user_table_get_name(&t, "bob", 3));
    assert_int_equal(pqb_user_table_index(&t, u, 5, 6), PQB_OK);
    u = pqb_user_table_name(&t, u, "bob", 3);
    assert_non_null(u);
    assert_ptr_equal(pqb_user_table_get(&t, 7), u);
    assert_ptr_equal(pqb_user_table_get_name(&t, "bob", 3), u);
    assert_null(pqb_user_table_get_name(&t, "bobby", 5));
    assert_ptr_equal(pqb_user_table_name(&t, u, "eve", 3), u);
    assert_int_equal(pqb_user_index_at(u, 1, 1)->gseq, 6);
    pqb_user_table_sweep(&t, 7, 2); // finds it where it is now
    assert_null(pqb_user_table_get(&t, 7));
    pqb_user_table_fini(&t);
}

static void a_kept_user_stays_until_the_kept_are_released(void **state)
{
    struct pqb_user_table t;
    struct pqb_user *kept, *used, *later;

    (void)state;
    assert_int_equal(pqb_user_table_init(&t, key), PQB_OK);
    kept = pqb_user_table_make(&t, 7, 1);
    used = pqb_user_table_make(&t, 8, 1);
    later = pqb_user_table_make(&t, 9, 1);
    assert_int_equal(pqb_user_table_index(&t, used, 1, 1), PQB_OK);
    pqb_user_table_keep(&t, kept);
    pqb_user_table_keep(&t, kept);
    pqb_user_table_keep(&t, used);
    pqb_user_table_keep(&t, later);
    pqb_user_table_release(&t, kept);
    assert_ptr_equal(pqb_user_table_get(&t, 7), kept);
    assert_int_equal(pqb_user_table_index(&t, later, 1, 2), PQB_OK);
    pqb_user_table_keep(&t, later);
    pqb_user_table_release_kept(&t);
    assert_null(pqb_user_table_get(&t, 7));
    assert_ptr_equal(pqb_user_table_get(&t, 8), used);
    assert_ptr_equal(pqb_user_table_get(&t, 9), later);
    pqb_user_table_sweep(&t, 2, 2);
    assert_null(pqb_user_table_get(&t, 8));
    assert_ptr_equal(pqb_user_table_get(&t, 9), later);
    pqb_user_table_sweep(&t, 3, 2);
    assert_null(pqb_user_table_get(&t, 9));
    used = pqb_user_table_make(&t, 8, 1);
    pqb_user_table_keep(&t, used);
    pqb_user_table_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_passes_and_then_one_event_an_interval),
        cmocka_unit_test(without_an_interval_there_is_no_limit),
        cmocka_unit_test(ranges_agree_with_a_naive_set),
        cmocka_unit_test(ranges_reach_both_ends_of_the_numbers),
        cmocka_unit_test(an_outbox_gives_whole_frames_in_order_and_refuses_when_full),
        cmocka_unit_test(a_page_asked_for_keeps_an_outbox_and_is_not_there_when_it_is_used_again),
        cmocka_unit_test(hints_leave_after_the_answers),
        cmocka_unit_test(a_full_ring_of_replies_drops_the_newest),
        cmocka_unit_test(an_answer_longer_than_its_question_is_never_sent),
        cmocka_unit_test(a_login_may_get_three_times_what_it_sent),
        cmocka_unit_test(seqs_in_flight_are_told_apart_by_device_and_epoch),
        cmocka_unit_test(half_open_logins_are_found_held_bounded_and_expire),
        cmocka_unit_test(the_index_agrees_with_a_naive_list),
        cmocka_unit_test(a_user_is_found_by_name_once_it_has_one),
        cmocka_unit_test(a_kept_user_stays_until_the_kept_are_released),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
