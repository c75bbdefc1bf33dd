// Large bodies, the operator's hand, several shards, hostile datagrams.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/proto/frag.h"
#include "common/proto/path.h"
#include "tests/unit/engine_fixture.h"

#define SEC PQB_NS_PER_SEC

static void assert_body(const struct pqb_frame *f, const char *body)
{
    assert_int_equal(f->msg_n.body.len, strlen(body));
    assert_memory_equal(f->msg_n.body.data, body, strlen(body));
}

// ------------------------------------------------------------------------------------ fragments

static uint8_t large[PQB_BODY_MAX];

static void fill_large(size_t len)
{
    for (size_t i = 0; i < len; i++)
        large[i] = (uint8_t)(i * 7 + i / 251);
}

// Cuts msg:R {seq, to bob, large[0..len)} into pieces and sends those whose bit is set.
static void send_pieces(struct peer *p, uint32_t id, uint64_t seq, size_t len,
                        bool (*is_wanted)(unsigned index))
{
    static uint8_t content[PQB_FRAG_TOTAL_MAX];
    struct pqb_frame f = {.type = PQB_FRAME_MSG_R};
    struct pqb_frag_out out;
    size_t content_len;
    int index;

    f.msg_r =
        (struct pqb_frame_msg_r){.seq = seq, .low = p->low, .to = {"bob", 3}, .body = {large, len}};
    content_len = pqb_frame_encode_content(&f, content, sizeof(content));
    assert_true(content_len > 0);
    pqb_frag_out_init(&out, id, PQB_FRAME_MSG_R, seq, content, content_len);
    while ((index = pqb_frag_out_next(&out)) >= 0) {
        pqb_frag_out_get(&out, (unsigned)index, content, &f);
        pqb_frag_out_on_sent(&out, (unsigned)index);
        if (is_wanted((unsigned)index))
            peer_send_one(p, f);
    }
}

static bool every(unsigned index)
{
    (void)index;
    return true;
}

static bool odd(unsigned index)
{
    return index % 2 == 1;
}

static bool even(unsigned index)
{
    return index % 2 == 0;
}

// Takes the pieces sent to `b`, acknowledges them, until the whole is there; checks it.
static void receive_large(struct peer *b, size_t len)
{
    struct pqb_frag_in in;
    size_t budget = 1 << 20;
    struct pqb_reassembly *whole = NULL;
    struct pqb_frame_frag_reset evicted;
    struct pqb_frame f, m;

    pqb_frag_in_init(&in);
    for (int round = 0; round < 100 && !whole; round++) {
        struct pqb_frame ack = {.type = PQB_FRAME_FRAG_A};

        for (unsigned i = 0; !whole && peer_got(b, PQB_FRAME_FRAG, i, &f); i++) {
            if (round == 0 && i == 3)
                continue; // lost on the way
            (void)pqb_frag_in_on_piece(&in, &f.frag, &budget, &whole, &evicted, 1);
            ack.frag_a.id = f.frag.id;
        }
        if (whole)
            break;
        (void)pqb_frag_in_ranges(&in, ack.frag_a.id, &ack.frag_a.received);
        gate_clear(b->g);
        if (ack.frag_a.id != 0)
            peer_send_one(b, ack);
        gate_pass(b->g, SEC / 4);
    }
    assert_non_null(whole);
    assert_int_equal(pqb_frame_decode(b->g->unpacker, whole->frame,
                                      (struct pqb_bytes){whole->content, whole->total}, &m),
                     PQB_VERDICT_OK);
    assert_int_equal(m.msg_n.body.len, len);
    assert_memory_equal(m.msg_n.body.data, large, len);
    peer_ack(b, m.msg_n.iseq);
    gate_settle(b->g);
    pqb_frag_in_fini(&in);
}

// A whole window goes at once and is accepted; what comes next is large, and its pieces tell no
// low.
static void a_large_message_may_follow_a_whole_window(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;
    struct peer a, b;

    gate_open_with_two(g, &a, &b);
    for (uint64_t seq = 1; seq <= PQB_SEQ_WINDOW; seq++) {
        peer_msg(&a, seq, 0, "bob", "x"); // low stays 1
        if (seq % 32 == 0)
            gate_settle(g);
    }
    assert_int_equal(gate_count(g, PQB_COUNTER_MSG_ACCEPTED), PQB_SEQ_WINDOW);
    fill_large(5000);
    a.low = PQB_SEQ_WINDOW + 1;
    gate_clear(g);
    send_pieces(&a, 1, 2 * PQB_SEQ_WINDOW, 5000, every);
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_NACK), 0);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 1);
    a.low = 1; // known by now: what no honest client sends
    send_pieces(&a, 2, 3 * PQB_SEQ_WINDOW + 1, 5000, every);
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_NACK, 0, &f));
    assert_int_equal(f.nack.reason, PQB_NACK_WINDOW);
}

static void a_large_body_travels_in_pieces_both_ways(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;
    struct peer a, b;

    gate_open_with_two(g, &a, &b);
    fill_large(PQB_BODY_MAX);
    send_pieces(&a, 1, 1, PQB_BODY_MAX, odd);
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_FRAG_COMPLETE), 0);
    assert_true(peer_got(&a, PQB_FRAME_FRAG_A, 0, &f));
    send_pieces(&a, 1, 1, PQB_BODY_MAX, even);
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 1);
    receive_large(&b, PQB_BODY_MAX);
    assert_true(peer_got(&a, PQB_FRAME_ACK_N, 0, &f));
    assert_int_equal(f.ack_n.state, PQB_STATE_DELIVERED);
    gate_clear(g);
    gate_pass(g, 10 * SEC);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_FRAG), 0);
}

static void pieces_of_a_message_that_was_refused_for_now_are_collected_again(void **state)
{
    struct gate *g = *state;

    g->config.request_bytes_max = 8192;
    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    fill_large(5000);
    for (uint64_t seq = 2; seq <= 9; seq++)
        peer_msg(&a, seq, 0, "bob", "fills the budget");
    gate_clear(g);
    send_pieces(&a, 1, 1, 5000, every);
    gate_settle(g);
    assert_true(peer_got_count(&a, PQB_FRAME_NACK) >= 1);
    gate_clear(g);
    send_pieces(&a, 1, 1, 5000, every); // the same id again
    gate_settle(g);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_MSG_A), 1);
}

static void a_reassembly_that_stalls_is_discarded_and_told(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    fill_large(5000);
    send_pieces(&a, 7, 1, 5000, odd);
    gate_settle(g);
    gate_pass(g, 11 * SEC);
    assert_true(peer_got(&a, PQB_FRAME_FRAG_RESET, 0, &f));
    assert_int_equal(f.frag_reset.id, 7);
    assert_int_equal(gate_count(g, PQB_COUNTER_FRAG_EXPIRED), 1);
}

static void the_first_piece_passes_the_seq_check(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    fill_large(5000);
    send_pieces(&a, 7, 1 + 2 * PQB_SEQ_WINDOW, 5000, odd);
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_NACK, 0, &f));
    assert_int_equal(f.nack.reason, PQB_NACK_WINDOW);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_FRAG_A), 0);
}

// ------------------------------------------------------------------------------------ operator

static bool count_session(void *ctx, const struct pqb_session_info *info)
{
    unsigned *count = ctx;

    assert_string_equal(info->device, "phone");
    (*count)++;
    return true;
}

static void an_operator_lists_kicks_and_drains(void **state)
{
    struct gate *g = *state;
    struct pqb_engine *e;
    struct pqb_frame f;
    unsigned count = 0;

    gate_open(g);
    e = g->engines[0];
    struct peer a = peer_ready(g, "alice", "phone", 1);
    struct peer b = peer_ready(g, "bob", "phone", 2);
    pqb_engine_each_session(e, count_session, &count, g->store.now);
    assert_int_equal(count, 2);
    assert_int_equal(pqb_engine_kick(e, "alice", 5, NULL, 0, g->store.now), 1);
    assert_int_equal(pqb_engine_kick(e, "alice", 5, NULL, 0, g->store.now), 0);
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_KICK, 0, &f));
    assert_int_equal(f.kick.reason, PQB_KICK_ADMIN);
    pqb_engine_drain(e, g->store.now);
    gate_clear(g);
    gate_settle(g);
    assert_true(peer_got(&b, PQB_FRAME_KICK, 0, &f));
    assert_int_equal(f.kick.reason, PQB_KICK_DRAIN);
    struct peer c = peer_make(g, "carol", "phone", 3);
    peer_send_init(&c, NULL);
    gate_settle(g);
    assert_false(peer_take_resp(&c));
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_BUSY_DRAIN), 1);
}

static void an_idle_session_stays_within_its_memory_bound(void **state)
{
    struct gate *g = *state;
    size_t before, after;

    gate_open(g);
    before = pqb_engine_memory(g->engines[0]);
    for (uint16_t i = 0; i < 64; i++) {
        char user[16];

        (void)snprintf(user, sizeof(user), "user%02d", i);
        struct peer p = peer_make(g, user, "phone", (uint16_t)(i + 1));
        gate_clear(g);
        peer_login(&p);
        peer_ack_all(&p);
    }
    gate_settle(g);
    after = pqb_engine_memory(g->engines[0]);
    print_message("bytes a session: %zu\n", (after - before) / 64);
    assert_true((after - before) / 64 <= 900); // ARCHITECTURE.md promises it
}

static void what_an_address_change_takes_is_counted_and_given_back(void **state)
{
    struct gate *g = *state;
    struct pqb_frame f;

    gate_open(g);
    struct peer p = peer_ready(g, "alice", "phone", 1);
    peer_ack_all(&p);
    gate_settle(g);
    gate_clear(g);
    const size_t idle = pqb_engine_memory(g->engines[0]);
    p.addr.port++;
    peer_send_one(&p, (struct pqb_frame){.type = PQB_FRAME_PING, .ping = {.nonce = 1}});
    gate_settle(g);
    assert_int_equal(pqb_engine_memory(g->engines[0]), idle + sizeof(struct pqb_path_candidate));
    assert_true(peer_got(&p, PQB_FRAME_PATH_CHALLENGE, 0, &f));
    f.type = PQB_FRAME_PATH_RESPONSE;
    peer_send_one(&p, f);
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_PATH_MOVED), 1);
    assert_int_equal(pqb_engine_memory(g->engines[0]), idle);
}

// ------------------------------------------------------------------------------------ shards

// A name that lives on the given shard of two.
static const char *name_on(struct gate *g, uint32_t shard, char name[16])
{
    for (int i = 0;; i++) {
        (void)snprintf(name, 16, "n%d", i);
        if (pqb_store_user_hash(g->store.s, name, strlen(name)) % 2 == shard)
            return name;
    }
}

static void two_shards_exchange_logins_messages_and_hints(void **state)
{
    struct gate *g = *state;
    char here[16], there[16];
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, name_on(g, 0, here), "phone", 1);
    struct peer b = peer_ready(g, name_on(g, 1, there), "phone", 2); // its INIT met shard 0
    assert_int_equal((b.cid >> 56) % 2, 1);
    peer_ack_all(&b);
    gate_clear(g);
    peer_msg(&a, 1, 0, there, "across");
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_MSG_A, 0, &f));
    assert_int_equal(f.msg_a.state, PQB_STATE_ACCEPTED);
    assert_true(peer_got(&b, PQB_FRAME_MSG_N, 0, &f));
    assert_body(&f, "across");
    peer_ack_all(&b);
    assert_true(peer_got(&a, PQB_FRAME_ACK_N, 0, &f));
    assert_int_equal(f.ack_n.state, PQB_STATE_DELIVERED);
    peer_send_one(&b, (struct pqb_frame){.type = PQB_FRAME_LOGOUT});
    gate_settle(g);
    gate_clear(g);
    peer_msg(&a, 2, 0, there, "nobody there");
    gate_settle(g);
    assert_true(peer_got(&a, PQB_FRAME_ACK_N, 0, &f));
    assert_int_equal(f.ack_n.state, PQB_STATE_STORED);
}

static void a_datagram_at_the_wrong_shard_is_passed_on(void **state)
{
    struct gate *g = *state;
    char there[16];
    uint8_t data[PQB_DATAGRAM_MAX];
    struct pqb_frame f = {.type = PQB_FRAME_PING, .ping = {.nonce = 3}};

    gate_open(g);
    struct peer b = peer_ready(g, name_on(g, 1, there), "phone", 2);
    const struct pqb_data header = {.cid = b.cid, .pn = 100};
    size_t len = PQB_DATA_HEADER_LEN;

    pqb_data_header_encode(&header, data);
    len += pqb_frame_encode(&f, data + len, sizeof(data) - len);
    gate_clear(g);
    pqb_engine_on_datagram(g->engines[0], &b.addr, data, len, g->store.now);
    gate_settle(g);
    assert_int_equal(peer_got_count(&b, PQB_FRAME_PONG), 1);
}

static void a_full_mailbox_loses_hints_but_no_messages(void **state)
{
    struct gate *g = *state;
    char here[16], there[16];
    struct pqb_frame f;

    gate_open(g);
    struct peer a = peer_ready(g, name_on(g, 0, here), "phone", 1);
    struct peer b = peer_ready(g, name_on(g, 1, there), "phone", 2);
    peer_ack_all(&b);
    g->mails_max = 0;
    gate_clear(g);
    peer_msg(&a, 1, 0, there, "across");
    gate_settle(g);
    assert_true(peer_got(&b, PQB_FRAME_MSG_N, 0, &f));
    peer_ack_all(&b);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_ACK_N), 0);
    assert_true(gate_count(g, PQB_COUNTER_MAIL_DROPPED) > 0);
}

// ------------------------------------------------------------------------------------ hostile

static void garbage_is_counted_and_dropped(void **state)
{
    struct gate *g = *state;
    uint8_t data[PQB_DATAGRAM_MAX] = {0};
    uint64_t x = 1;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    gate_clear(g);
    for (int i = 0; i < 20000; i++) {
        const size_t len = (size_t)(x >> 33) % sizeof(data);
        const struct pqb_data header = {.cid = a.cid, .pn = ++a.pn};

        for (size_t n = 0; n < len; n++) {
            x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
            data[n] = (uint8_t)(x >> 56);
        }
        if (i % 2 && len >= PQB_DATA_HEADER_LEN)
            pqb_data_header_encode(&header, data);
        pqb_engine_on_datagram(g->engines[0], &a.addr, data, len, g->store.now);
        if (i % 100 == 0) {
            gate_settle(g);
            gate_clear(g);
        }
    }
    gate_settle(g);
    peer_login(&a);
}

static void a_datagram_with_a_number_seen_before_is_dropped(void **state)
{
    struct gate *g = *state;

    gate_open(g);
    struct peer a = peer_ready(g, "alice", "phone", 1);
    gate_clear(g);
    a.pn--;
    peer_send_one(&a, (struct pqb_frame){.type = PQB_FRAME_PING});
    gate_settle(g);
    assert_int_equal(gate_count(g, PQB_COUNTER_DROP_REPLAY), 1);
    assert_int_equal(peer_got_count(&a, PQB_FRAME_PONG), 0);
}

#define CASE(name)     cmocka_unit_test_setup_teardown(name, gate_begin, gate_end)
#define CASE_TWO(name) cmocka_unit_test_setup_teardown(name, gate_begin_two_shards, gate_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_large_body_travels_in_pieces_both_ways),
        CASE(a_large_message_may_follow_a_whole_window),
        CASE(pieces_of_a_message_that_was_refused_for_now_are_collected_again),
        CASE(a_reassembly_that_stalls_is_discarded_and_told),
        CASE(the_first_piece_passes_the_seq_check),
        CASE(an_operator_lists_kicks_and_drains),
        CASE(an_idle_session_stays_within_its_memory_bound),
        CASE(what_an_address_change_takes_is_counted_and_given_back),
        CASE_TWO(two_shards_exchange_logins_messages_and_hints),
        CASE_TWO(a_datagram_at_the_wrong_shard_is_passed_on),
        CASE_TWO(a_full_mailbox_loses_hints_but_no_messages),
        CASE(garbage_is_counted_and_dropped),
        CASE(a_datagram_with_a_number_seen_before_is_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
