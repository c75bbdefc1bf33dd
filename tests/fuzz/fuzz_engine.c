// The input is a list of events at a gateway with a few clients: logins, frames honest and forged,
// datagrams of any bytes, addresses that change, time, aborted batches, crashes. After every turn
// the engine's invariants are checked; nothing may leave that was not asked for by a valid peer.
// An input that begins with SEALED is about an encrypted gateway: the same events behind its seals,
// logins in full and by ticket.
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/wire/cursor.h"
#include "common/wire/fields.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/engine_fixture.h"

enum {
    PEERS = 4,
    EVENTS_MAX = 120,
    SEALED = 0xee
};

struct world {
    struct pqb_reader_cursor input;
    struct peer peers[PEERS]; // two devices of one user, two other users
    uint64_t top[PEERS];      // highest position sent to each
};

static struct gate gate;
static const char *const users[PEERS] = {"ann", "ann", "ben", "cyd"};
static const char *const devices[PEERS] = {"phone", "desk", "phone", "phone"};

static uint8_t next_u8(struct world *w)
{
    return pqb_rcur_u8(&w->input);
}

// What contradicts itself would not leave an encoder; raw frames try that.
static void say(struct peer *p, const struct pqb_frame *f)
{
    if (pqb_frame_is_consistent(f))
        peer_send(p, f, 1);
}

static struct peer *pick(struct world *w)
{
    return &w->peers[next_u8(w) % PEERS];
}

// Mostly small steps around what is honest, sometimes anything.
static uint64_t near(struct world *w, uint64_t value)
{
    const uint8_t how = next_u8(w);
    uint64_t result = value + how % 8;

    if (how >= 250)
        result = pqb_rcur_u64(&w->input);
    else if (how >= 200)
        result = value - how % 8;
    return PQB_MAX(result, 1); // most fields do not encode 0
}

static void note_sent(struct world *w)
{
    struct pqb_frame f;

    for (size_t i = 0; i < PEERS; i++) {
        struct peer *p = &w->peers[i];

        for (unsigned n = 0; peer_got(p, PQB_FRAME_MSG_N, n, &f); n++)
            w->top[i] = PQB_MAX(w->top[i], f.msg_n.iseq);
        for (unsigned n = 0; peer_got(p, PQB_FRAME_GAP_N, n, &f); n++)
            w->top[i] = PQB_MAX(w->top[i], f.gap_n.to);
        for (unsigned n = 0; peer_got(p, PQB_FRAME_ACK_A, n, &f); n++)
            w->top[i] = PQB_MAX(w->top[i], f.ack_a.cursor);
        if (peer_got(p, PQB_FRAME_EPOCH_A, 0, &f)) {
            p->epoch = f.epoch_a.epoch;
            p->low = 1;
        }
        if (p->identity)
            (void)peer_take_ticket(p);
        (void)peer_take_resp(p);
    }
    gate_clear(&gate);
}

static void send_message(struct world *w)
{
    static uint8_t body[2000];
    struct peer *p = pick(w);
    const char *to = users[next_u8(w) % PEERS];
    struct pqb_frame f = {.type = PQB_FRAME_MSG_R};

    if (next_u8(w) % 8 == 0)
        p->low++;
    f.msg_r = (struct pqb_frame_msg_r){
        .seq = near(w, p->low),
        .low = p->low,
        .after = next_u8(w) % 4 == 0 ? near(w, p->low) : 0,
        .flags = next_u8(w) % 16 == 0 ? PQB_MSG_EPHEMERAL : 0,
        .kind = next_u8(w),
        .to = {to, strlen(to)},
        .body = {body, next_u8(w) * 4},
    };
    if (f.msg_r.flags != 0)
        f.msg_r.seq = 0;
    say(p, &f);
}

static void send_piece(struct world *w)
{
    static const uint8_t piece[PQB_FRAG_LEN];
    struct peer *p = pick(w);
    struct pqb_frame f = {.type = PQB_FRAME_FRAG};
    const uint32_t total = 1 + next_u8(w) * 16u;
    const uint16_t index = next_u8(w) % 4;

    f.frag = (struct pqb_frame_frag){
        .id = 1 + next_u8(w) % 6,
        .frame = next_u8(w) % 8 ? PQB_FRAME_MSG_R : PQB_FRAME_MSG_N,
        .seq = near(w, p->low),
        .total = total,
        .hash = next_u8(w),
        .index = index,
        .piece = {piece, PQB_MIN(sizeof(piece), total)},
    };
    say(p, &f);
}

static void send_ack(struct world *w)
{
    const size_t i = next_u8(w) % PEERS;
    struct pqb_frame f = {.type = PQB_FRAME_ACK_R};
    const uint64_t first = near(w, w->top[i]);

    f.ack_r.cursor = next_u8(w) % 4 ? w->top[i] : near(w, w->top[i]);
    if (first > f.ack_r.cursor) {
        f.ack_r.received.count = 1;
        f.ack_r.received.at[0] = (struct pqb_range){first, first};
    }
    say(&w->peers[i], &f);
}

static void send_page_request(struct world *w)
{
    const size_t i = next_u8(w) % PEERS;
    struct pqb_frame f = {.type = PQB_FRAME_OFF_R};

    f.off_r.cursor = near(w, w->top[i]);
    f.off_r.after = near(w, f.off_r.cursor);
    f.off_r.max = 1 + next_u8(w) % 200;
    f.off_r.max_bytes = 1 + next_u8(w) * 100u;
    say(&w->peers[i], &f);
}

static void send_request(struct world *w)
{
    struct peer *p = pick(w);
    struct pqb_frame f = {.type = PQB_FRAME_EPOCH_R};

    switch (next_u8(w) % 4) {
    case 0:
        f.epoch_r.nonce[0] = next_u8(w) % 4;
        break;
    case 1:
        f = (struct pqb_frame){
            .type = PQB_FRAME_STAT_R,
            .stat_r = {.seq = near(w, p->low), .to = {"ben", 3}, .has_receipt = next_u8(w) % 2}};
        break;
    case 2:
        f = (struct pqb_frame){.type = PQB_FRAME_SKIP_R, .skip_r = {.low = p->low}};
        f.skip_r.seqs.count = 1;
        f.skip_r.seqs.at[0].first = f.skip_r.seqs.at[0].last = near(w, p->low);
        break;
    default:
        f.type = PQB_FRAME_LOGOUT;
        break;
    }
    say(p, &f);
}

// A frame of any type with content from the input, in a datagram that is accepted.
static void send_raw_frame(struct world *w)
{
    struct peer *p = pick(w);
    uint8_t data[PQB_DATAGRAM_MAX];
    const struct pqb_data header = {.cid = p->cid, .pn = ++p->pn};
    const uint8_t code = next_u8(w);
    const size_t wanted = next_u8(w);
    const size_t len = PQB_MIN(wanted, pqb_rcur_left(&w->input));
    size_t whole = PQB_DATA_HEADER_LEN + PQB_FRAME_HEADER_LEN + len;

    pqb_data_header_encode(&header, data);
    data[PQB_DATA_HEADER_LEN] = code;
    data[PQB_DATA_HEADER_LEN + 1] = 0;
    data[PQB_DATA_HEADER_LEN + 2] = (uint8_t)len;
    if (len > 0)
        memcpy(data + PQB_DATA_HEADER_LEN + PQB_FRAME_HEADER_LEN, pqb_rcur_bytes(&w->input, len),
               len);
    peer_seal(p, data, &whole);
    pqb_engine_on_datagram(gate.engines[0], &p->addr, data, whole, gate.store.now);
}

static void send_raw_datagram(struct world *w)
{
    const struct peer *p = pick(w);
    const size_t wanted = next_u8(w);
    const size_t len = PQB_MIN(wanted, pqb_rcur_left(&w->input));

    if (len > 0)
        pqb_engine_on_datagram(gate.engines[0], &p->addr, pqb_rcur_bytes(&w->input, len), len,
                               gate.store.now);
}

static void log_in(struct world *w)
{
    const size_t i = next_u8(w) % PEERS;
    struct peer *p = &w->peers[i];

    p->init_id++;
    p->cursor = near(w, w->top[i]);
    peer_send_init(p, NULL);
}

static void move(struct world *w)
{
    struct peer *p = pick(w);

    p->addr.port = 1 + next_u8(w) % 16;
    peer_send_one(p, (struct pqb_frame){.type = PQB_FRAME_PING});
}

static void answer_challenge(struct world *w)
{
    struct peer *p = pick(w);
    struct pqb_frame f;

    gate_turn(&gate);
    if (!peer_got(p, PQB_FRAME_PATH_CHALLENGE, 0, &f))
        return;
    f.type = PQB_FRAME_PATH_RESPONSE;
    say(p, &f);
}

static void fail_a_batch(struct world *w)
{
    gate.store.fail_step = "batch.commit";
    gate.store.fail_errno = 12; // ENOMEM
    gate.store.asked = 0;
    gate.store.fail_after = 1 + next_u8(w) % 3;
}

static void begin_checkpoint(void)
{
    struct pqb_request *r = pqb_request_create(PQB_OP_CHECKPOINT, 0);

    PQB_ASSERT(r);
    if (pqb_store_submit(gate.store.s, r) != PQB_OK) // else the engine frees it when it comes back
        pqb_request_destroy(r);
}

static void step(struct world *w)
{
    switch (next_u8(w) % 18) {
    case 0:
        log_in(w);
        break;
    case 1:
        peer_send_one(pick(w), (struct pqb_frame){.type = PQB_FRAME_PING});
        break;
    case 2:
    case 3:
    case 4:
        send_message(w);
        break;
    case 5:
        send_piece(w);
        break;
    case 6:
        send_ack(w);
        break;
    case 7:
        send_page_request(w);
        break;
    case 8:
        send_request(w);
        break;
    case 9:
        send_raw_frame(w);
        break;
    case 10:
        send_raw_datagram(w);
        break;
    case 11:
        move(w);
        break;
    case 12:
        answer_challenge(w);
        break;
    case 13:
        fail_a_batch(w);
        break;
    case 14:
        begin_checkpoint();
        break;
    case 15:
        if (next_u8(w) % 4 == 0)
            gate_crash(&gate);
        else
            (void)pqb_engine_kick(gate.engines[0], "ann", 3, NULL, 0, gate.store.now);
        break;
    case 16:
        gate_pass(&gate, UINT64_C(1) << (20 + next_u8(w) % 16));
        break;
    default:
        gate_turn(&gate);
        break;
    }
    if (next_u8(w) % 4 != 0)
        gate_settle(&gate);
    note_sent(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.top = {0}};
    const bool is_sealed = size > 0 && data[0] == SEALED;

    gate_init(&gate, 1);
    if (is_sealed)
        gate_protect(&gate);
    gate.config.push_max = 4;
    gate.config.rate = 50;
    gate.config.rate_burst = 20;
    gate.config.sessions_per_user_max = 2;
    gate.config.reassembly_bytes_max = 20000;
    gate.store.config.map_bytes = (size_t)16 << 20;
    gate_open(&gate);
    for (size_t i = 0; i < PEERS; i++) {
        w.peers[i] = peer_make(&gate, users[i], devices[i], (uint16_t)(i + 1));
        w.peers[i].cid = i + 1; // nobody's
    }
    w.peers[0] = peer_ready(&gate, users[0], devices[0], 1);
    w.peers[2] = peer_ready(&gate, users[2], devices[2], 3);
    note_sent(&w);
    pqb_rcur_init(&w.input, data, size);
    if (is_sealed)
        (void)next_u8(&w);
    for (int i = 0; i < EVENTS_MAX && pqb_rcur_left(&w.input) > 0; i++)
        step(&w);
    gate_settle(&gate);
    gate_fini(&gate);
    return 0;
}
