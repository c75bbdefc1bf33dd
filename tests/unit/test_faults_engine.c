// A gateway's engine lives through allocations and calls of LMDB that fail, one at a time, while
// two clients log in, send, take, page and ask, as clients do: by asking again. Nothing crashes or
// leaks, the engine's invariants hold after every turn, and everything comes to its end.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/crc32c.h"
#include "common/base/err.h"
#include "tests/unit/engine_fixture.h"
#include "tests/unit/faults.h"

#define TRIES_MAX 12
#define LARGE_LEN 3000

static struct gate gate;
static struct {
    enum fault_kind kind;
    uint64_t at;
    bool is_sealed;
} present; // of the life that is being lived; at 0: none

static int tell_where(void **state)
{
    (void)state;
    if (present.at != 0)
        printf("it was call %llu of kind %d\n", (unsigned long long)present.at, (int)present.kind);
    present.at = 0;
    return 0;
}

// Asks until the answer is there, with time between for what is repeated by the gateway.
static void ask_until(struct peer *p, const struct pqb_frame *frames, size_t count,
                      enum pqb_frame_type answer, struct pqb_frame *out)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        for (size_t k = 0; k < count; k++)
            peer_send_one(p, frames[k]);
        gate_pass(&gate, PQB_NS_PER_SEC);
        if (peer_got(p, answer, 0, out))
            return;
    }
    fail_msg("no %s", pqb_frame_name((uint8_t)answer));
}

static void log_in(struct peer *p)
{
    const struct pqb_frame ping = {.type = PQB_FRAME_PING, .ping = {.nonce = 7}};
    struct pqb_frame f = {.type = PQB_FRAME_EPOCH_R};

    p->init_id++;
    for (int i = 0; i < TRIES_MAX; i++) {
        peer_send_init(p, NULL);
        gate_pass(&gate, PQB_NS_PER_SEC);
        if (!peer_take_resp(p))
            continue;
        // A session that was not made is not there: its client logs in anew.
        for (int k = 0; k < 3 && peer_got_count(p, PQB_FRAME_PONG) == 0; k++) {
            peer_send_one(p, ping);
            gate_pass(&gate, PQB_NS_PER_SEC);
        }
        if (peer_got_count(p, PQB_FRAME_PONG) > 0)
            break;
        p->init_id++;
    }
    assert_true(peer_got_count(p, PQB_FRAME_PONG) > 0);
    f.epoch_r.nonce[0] = (uint8_t)p->user[0];
    ask_until(p, &f, 1, PQB_FRAME_EPOCH_A, &f);
    p->epoch = f.epoch_a.epoch;
    p->low = 1;
}

static void send_small(struct peer *p, uint64_t seq)
{
    struct pqb_frame f = {.type = PQB_FRAME_MSG_R};

    f.msg_r = (struct pqb_frame_msg_r){.seq = seq,
                                       .low = 1,
                                       .after = seq - 1,
                                       .to = {"ben", 3},
                                       .body = {(const uint8_t *)"hello", 5}};
    ask_until(p, &f, 1, PQB_FRAME_MSG_A, &f);
    assert_int_equal(f.msg_a.seq, seq);
    gate_clear(&gate);
}

static void send_large(struct peer *p, uint64_t seq)
{
    static uint8_t body[LARGE_LEN], content[LARGE_LEN + 200];
    struct pqb_frame whole = {.type = PQB_FRAME_MSG_R}, pieces[4], answer;
    size_t count = 0;

    whole.msg_r = (struct pqb_frame_msg_r){.seq = seq, .low = 1, .to = {"ben", 3}};
    whole.msg_r.body = (struct pqb_bytes){body, sizeof(body)};
    const size_t len = pqb_frame_encode_content(&whole, content, sizeof(content));
    for (size_t at = 0; at < len; at += PQB_FRAG_LEN, count++) {
        pieces[count] = (struct pqb_frame){.type = PQB_FRAME_FRAG};
        pieces[count].frag = (struct pqb_frame_frag){
            .id = 1,
            .frame = PQB_FRAME_MSG_R,
            .seq = seq,
            .total = (uint32_t)len,
            .hash = pqb_crc32c(0, content, len),
            .index = (uint16_t)count,
            .piece = {content + at, PQB_MIN(len - at, (size_t)PQB_FRAG_LEN)},
        };
    }
    ask_until(p, pieces, count, PQB_FRAME_MSG_A, &answer);
    assert_int_equal(answer.msg_a.seq, seq);
}

static void take(struct peer *p, unsigned count)
{
    struct pqb_frame f = {.type = PQB_FRAME_ACK_R};
    unsigned got = 0;

    for (int i = 0; i < TRIES_MAX && got < count; i++) {
        gate_pass(&gate, PQB_NS_PER_SEC);
        peer_send_one(p, (struct pqb_frame){.type = PQB_FRAME_PING});
        assert_int_equal(peer_got_count(p, PQB_FRAME_GAP_N), 0); // nothing is lost
        got = 0;
        for (unsigned n = 0; peer_got(p, PQB_FRAME_MSG_N, n, &f); n++)
            got += f.msg_n.iseq > p->cursor;
    }
    assert_true(got >= count);
    uint64_t cursor = p->cursor;
    for (unsigned n = 0; peer_got(p, PQB_FRAME_MSG_N, n, &f); n++)
        cursor = PQB_MAX(cursor, f.msg_n.iseq);
    p->cursor = cursor;
    f = (struct pqb_frame){.type = PQB_FRAME_ACK_R, .ack_r = {.cursor = cursor}};
    for (int i = 0; i < TRIES_MAX; i++) {
        gate_clear(&gate);
        ask_until(p, &f, 1, PQB_FRAME_ACK_A, &f);
        if (f.ack_a.cursor >= cursor)
            break;
        f = (struct pqb_frame){.type = PQB_FRAME_ACK_R, .ack_r = {.cursor = cursor}};
    }
    gate_clear(&gate);
}

static void ask_the_rest(struct peer *p)
{
    struct pqb_frame f = {.type = PQB_FRAME_STAT_R, .stat_r = {.seq = 1, .to = {"ben", 3}}};

    ask_until(p, &f, 1, PQB_FRAME_STAT_A, &f);
    f = (struct pqb_frame){.type = PQB_FRAME_SKIP_R, .skip_r = {.low = 1, .seqs = {.count = 1}}};
    f.skip_r.seqs.at[0] = (struct pqb_range){90, 91};
    ask_until(p, &f, 1, PQB_FRAME_SKIP_A, &f);
    f = (struct pqb_frame){.type = PQB_FRAME_OFF_R, .off_r = {.max = 10, .max_bytes = 10000}};
    ask_until(p, &f, 1, PQB_FRAME_OFF_A, &f);
    gate_clear(&gate);
}

// To another port, and on from there.
static void move(struct peer *p)
{
    const struct pqb_frame ping = {.type = PQB_FRAME_PING, .ping = {.nonce = 8}};
    struct pqb_frame f;

    p->addr.port++;
    ask_until(p, &ping, 1, PQB_FRAME_PATH_CHALLENGE, &f);
    f.type = PQB_FRAME_PATH_RESPONSE;
    peer_send_one(p, f);
    gate_pass(&gate, PQB_NS_PER_SEC);
    assert_true(gate_count(&gate, PQB_COUNTER_PATH_MOVED) > 0);
    gate_clear(&gate);
}

// A session by ticket, if one has come.
static void resume(struct peer *p)
{
    const struct pqb_frame ping = {.type = PQB_FRAME_PING, .ping = {.nonce = 8}};

    if (!peer_take_ticket(p))
        return;
    gate_clear(&gate);
    p->init_id++;
    for (int i = 0; i < TRIES_MAX && peer_got_count(p, PQB_FRAME_PONG) == 0; i++) {
        peer_send_init(p, NULL);
        gate_pass(&gate, PQB_NS_PER_SEC);
        if (!peer_take_resp(p))
            continue;
        peer_send_one(p, ping);
        gate_pass(&gate, PQB_NS_PER_SEC);
        p->init_id++;
    }
    assert_true(peer_got_count(p, PQB_FRAME_PONG) > 0);
}

static void live(void)
{
    struct peer ann = peer_make(&gate, "ann", "phone", 1);
    struct peer ben = peer_make(&gate, "ben", "phone", 2);

    log_in(&ann);
    if (ann.identity)
        resume(&ann);
    log_in(&ben);
    gate_clear(&gate);
    send_small(&ann, 1);
    send_small(&ann, 2);
    take(&ben, 2);
    send_large(&ann, 3);
    for (int i = 0; i < TRIES_MAX && peer_got_count(&ben, PQB_FRAME_FRAG) < 3; i++) {
        peer_send_one(&ben, (struct pqb_frame){.type = PQB_FRAME_PING});
        gate_pass(&gate, PQB_NS_PER_SEC);
    }
    assert_true(peer_got_count(&ben, PQB_FRAME_FRAG) >= 3);
    gate_clear(&gate);
    move(&ben);
    ask_the_rest(&ann);
}

static bool live_with(enum fault_kind kind, uint64_t at, int error)
{
    present.kind = kind;
    present.at = at;
    gate_init(&gate, 1);
    gate.may_fail = true;
    gate.store.config.map_bytes = (size_t)16 << 20;
    if (present.is_sealed)
        gate_protect(&gate);
    gate_open(&gate);
    faults_arm(kind, at, error);
    live();
    const bool has_struck = faults_disarm();
    gate_fini(&gate);
    present.at = 0;
    return has_struck;
}

static void live_with_each(enum fault_kind kind, int error, uint64_t stride)
{
    uint64_t lives = 0, at = 1;

    if (getenv("PQB_LONG") != NULL)
        stride = 1;
    for (; live_with(kind, at, error); at += stride)
        lives++;
    printf("%llu lives, each with one failure among %llu calls\n", (unsigned long long)lives,
           (unsigned long long)at);
    assert_true(lives > 3);
}

static void an_engine_lives_with_any_allocation_that_fails(void **state)
{
    (void)state;
    live_with_each(FAULT_MEMORY, ENOMEM, 2);
}

static void an_encrypted_engine_does_so_too(void **state)
{
    (void)state;
    present.is_sealed = true;
    live_with_each(FAULT_MEMORY, ENOMEM, 2);
    present.is_sealed = false;
}

static void an_engine_lives_with_any_table_call_that_fails(void **state)
{
    (void)state;
    live_with_each(FAULT_TABLE_ANY, ENOMEM, 23);
}

static void an_engine_is_made_or_not_but_never_half(void **state)
{
    uint64_t at = 0;
    int err;

    (void)state;
    gate_init(&gate, 1);
    gate_protect(&gate);
    gate_open(&gate);
    do {
        faults_arm(FAULT_MEMORY, ++at, ENOMEM);
        err = gate_try_engine(&gate);
        assert_true(err == PQB_OK || err == PQB_ERR_NOMEM);
        assert_int_equal(faults_disarm(), err == PQB_ERR_NOMEM);
    } while (err != PQB_OK);
    assert_true(at > 5);
    gate_fini(&gate);
}

// ben's login and what expired right after it are tailed in a turn that then fails: the next one
// handles the login, and the records are behind the tail by then.
static void what_expired_before_a_turn_failed_is_told_as_expired(void **state)
{
    struct pqb_store_stats stats = {0};
    struct peer ann, ben;
    struct pqb_frame f;

    (void)state;
    gate_init(&gate, 1);
    gate.store.config.retention_ms = 2000;
    gate_open_with_two(&gate, &ann, &ben);
    peer_send_one(&ben, (struct pqb_frame){.type = PQB_FRAME_LOGOUT});
    peer_send_many(&ann, 1, 2, ben.user);
    fixture_checkpoint(&gate.store);
    gate_settle(&gate); // ben has no entry in the engine any more
    ben.init_id++;
    peer_send_init(&ben, NULL);
    gate_settle(&gate);
    assert_true(peer_take_resp(&ben));
    gate_clear(&gate);
    peer_send_one(&ben, (struct pqb_frame){.type = PQB_FRAME_PING, .ping = {.nonce = 1}});
    gate.store.now += 3 * PQB_NS_PER_SEC;
    while (stats.expired == 0) {
        fixture_step(&gate.store);
        pqb_store_get_stats(gate.store.s, &stats);
    }
    ann.low = 3;
    peer_msg(&ann, 3, 0, "carol", "hello");
    fixture_step(&gate.store); // ends before the journal is dropped
    gate.may_fail = true;
    faults_arm(FAULT_MEMORY, 2, ENOMEM); // carol's entry, which comes after ben's
    gate_turn(&gate);
    assert_true(faults_disarm());
    assert_int_equal(peer_datagrams(&ben), 0);
    gate_turn(&gate);
    assert_int_equal(peer_got_count(&ben, PQB_FRAME_PONG), 1);
    assert_true(peer_got(&ben, PQB_FRAME_GAP_N, 0, &f));
    assert_int_equal(f.gap_n.reason, PQB_GAP_EXPIRED);
    assert_int_equal(gate_count(&gate, PQB_COUNTER_PUSH_DAMAGED), 0);
    assert_int_equal(gate_count(&gate, PQB_COUNTER_TAIL_OVERTAKEN), 0);
    gate_fini(&gate);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_teardown(name, tell_where)
    const struct CMUnitTest tests[] = {
        CASE(an_engine_is_made_or_not_but_never_half),
        CASE(what_expired_before_a_turn_failed_is_told_as_expired),
        CASE(an_engine_lives_with_any_allocation_that_fails),
        CASE(an_encrypted_engine_does_so_too),
        CASE(an_engine_lives_with_any_table_call_that_fails),
    };
#undef CASE

    return cmocka_run_group_tests_name("faults_engine", tests, NULL, NULL);
}
