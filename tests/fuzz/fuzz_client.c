// The input is a list of events at a client: what its application asks, and what a gateway that may
// be honest, broken or hostile says, with time between. The client's store is watched: the cursor
// only rises, a message comes at its own position, numbers are not used twice, what is dropped was
// there. Everything the client sends must decode, it must come to rest, and it stays within bounds.
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/client/paquebot.h"
#include "common/wire/cursor.h"
#include "common/wire/datagram.h"
#include "common/wire/fields.h"
#include "tests/fuzz/fuzz.h"

enum {
    EVENTS_MAX = 200,
    QUEUE_MAX = 12,
    BURST_MAX = 2000, // datagrams at one moment
    BURSTS_MAX = 8    // turns
};

#define SECOND UINT64_C(1000000000)

// What the client may hold: its queue and the store's copy of it (a large body twice more while it
// travels), messages out of order, four reassemblies, and small change.
#define QUEUE_BYTES ((size_t)256 << 10)
#define HEAP_MAX    (4 * QUEUE_BYTES + ((size_t)512 << 10) + 6 * PQB_FRAG_TOTAL_MAX + (256u << 10))

struct world {
    struct pqb_reader_cursor input;
    struct pqb_client_store *memory; // holds what `watched` lets through
    struct pqb_client_store watched;
    struct pqb_client *c;
    uint64_t now;
    uint64_t init_id, cid, pn, pn_seen;
    uint8_t epoch_nonce[PQB_NONCE_LEN];
    uint64_t low, next_seq, cursor, page_after; // as the client last said
    uint32_t epoch, sent_frag, own_frag;
    uint64_t put_max, taken; // the store's
    uint64_t queued[QUEUE_MAX + 4];
    size_t queued_count;
    int fail_in;     // so many calls of the store until one fails; 0: none does
    int refuse_next; // messages that the application does not take
};

static uint8_t big_body[PQB_BODY_MAX];
static uint8_t reset_token[PQB_RESET_LEN] = {0x5a};

static uint8_t next_u8(struct world *w)
{
    return pqb_rcur_u8(&w->input);
}

// Mostly small steps around what is honest, sometimes anything; never 0, which most fields refuse.
static uint64_t near(struct world *w, uint64_t value)
{
    const uint8_t how = next_u8(w);
    uint64_t result = value + how % 8;

    if (how >= 250)
        result = pqb_rcur_u64(&w->input);
    else if (how >= 200)
        result = value - how % 8;
    return PQB_MAX(result, 1);
}

static uint32_t near32(struct world *w, uint64_t value)
{
    const uint64_t result = near(w, value);

    return (uint32_t)PQB_MIN(result, UINT32_MAX);
}

// Near `value`, but not below `lowest`.
static uint64_t near_above(struct world *w, uint64_t value, uint64_t lowest)
{
    const uint64_t result = near(w, value);

    return PQB_MAX(result, lowest);
}

// ---------------------------------------------------------------------------------- the store

static bool must_fail(struct world *w)
{
    return w->fail_in > 0 && --w->fail_in == 0;
}

static int store_load(void *ctx, struct pqb_client_saved *out, pqb_client_pending_fn each,
                      void *arg)
{
    struct world *w = ctx;

    return w->memory->load(w->memory->ctx, out, each, arg);
}

static int store_put(void *ctx, const struct pqb_client_pending *p)
{
    struct world *w = ctx;

    if (must_fail(w))
        return PQB_CLIENT_ERR_NO_SPACE;
    PQB_ASSERT(p->seq > w->put_max && p->len <= PQB_CLIENT_BODY_MAX);
    PQB_ASSERT(w->queued_count < PQB_ARRAY_LEN(w->queued));
    w->put_max = p->seq;
    w->queued[w->queued_count++] = p->seq;
    return w->memory->put(w->memory->ctx, p);
}

static int store_drop(void *ctx, uint64_t seq)
{
    struct world *w = ctx;
    size_t i = 0;

    if (must_fail(w))
        return PQB_CLIENT_ERR_IO;
    while (i < w->queued_count && w->queued[i] != seq)
        i++;
    PQB_ASSERT(i < w->queued_count);
    w->queued[i] = w->queued[--w->queued_count];
    return w->memory->drop(w->memory->ctx, seq);
}

static int store_set_epoch(void *ctx, uint32_t epoch)
{
    struct world *w = ctx;

    if (must_fail(w))
        return PQB_CLIENT_ERR_IO;
    return w->memory->set_epoch(w->memory->ctx, epoch);
}

static int store_deliver(void *ctx, const struct pqb_client_message *m, uint64_t cursor)
{
    struct world *w = ctx;

    if (must_fail(w))
        return PQB_CLIENT_ERR_NO_SPACE;
    PQB_ASSERT(cursor > w->taken && (m == NULL || m->iseq == cursor));
    w->taken = cursor;
    return w->memory->deliver(w->memory->ctx, m, cursor);
}

static int store_sync(void *ctx)
{
    return must_fail(ctx) ? PQB_CLIENT_ERR_IO : 0;
}

static int on_message(void *ctx, const struct pqb_client_message *m, uint64_t cursor)
{
    struct world *w = ctx;

    PQB_ASSERT(m->iseq == cursor && m->len <= PQB_CLIENT_BODY_MAX);
    PQB_ASSERT(cursor == 0 || cursor > w->taken);
    PQB_ASSERT(strlen(m->from) <= PQB_CLIENT_USER_MAX &&
               strlen(m->device) <= PQB_CLIENT_DEVICE_MAX);
    if (w->refuse_next == 0 || cursor == 0)
        return 0;
    w->refuse_next--;
    return 1;
}

static void on_gap(void *ctx, uint64_t from, uint64_t to, unsigned gap)
{
    (void)ctx, (void)gap;
    PQB_ASSERT(from <= to);
}

static void create_client(struct world *w)
{
    struct pqb_client_config config;

    pqb_client_config_default(&config);
    config.user = "ann";
    config.device = "phone";
    config.store = &w->watched;
    config.ctx = w;
    config.callbacks.on_message = on_message;
    config.callbacks.on_gap = on_gap;
    config.queue_max = QUEUE_MAX;
    config.queue_bytes_max = QUEUE_BYTES;
    config.watch_max = 8;
    config.auto_pull = next_u8(w) % 4 != 0;
    config.page_max = 5;
    w->cid = 0;
    PQB_ASSERT(pqb_client_create(&w->c, &config, w->now) == 0);
}

// ----------------------------------------------------------------------------- what it sends

static void note_frame(struct world *w, const struct pqb_frame *f)
{
    if (f->type == PQB_FRAME_MSG_R) {
        PQB_ASSERT(f->msg_r.seq == 0 ||
                   (f->msg_r.seq >= f->msg_r.low && f->msg_r.seq - f->msg_r.low < PQB_SEQ_WINDOW));
        w->low = PQB_MAX(f->msg_r.low, 1);
        w->next_seq = PQB_MAX(w->next_seq, f->msg_r.seq + 1);
    } else if (f->type == PQB_FRAME_ACK_R) {
        PQB_ASSERT(f->ack_r.cursor <= w->taken); // only what is taken is acknowledged
        w->cursor = f->ack_r.cursor;
    } else if (f->type == PQB_FRAME_OFF_R) {
        PQB_ASSERT(f->off_r.cursor <= w->taken);
        w->page_after = f->off_r.after;
    } else if (f->type == PQB_FRAME_EPOCH_R) {
        memcpy(w->epoch_nonce, f->epoch_r.nonce, sizeof(w->epoch_nonce));
    } else if (f->type == PQB_FRAME_FRAG) {
        w->sent_frag = f->frag.id;
    }
}

static void note_datagram(struct world *w, const uint8_t *data, size_t len)
{
    enum pqb_datagram_type type;
    enum pqb_verdict verdict;
    struct pqb_bytes content;
    struct pqb_frame f;
    struct pqb_init init;
    struct pqb_data d;
    uint8_t code;

    PQB_ASSERT(pqb_datagram_peek(data, len, &type) == PQB_VERDICT_OK);
    if (type == PQB_DATAGRAM_INIT) {
        PQB_ASSERT(pqb_init_decode(fuzz_unpacker(), data, len, &init) == PQB_VERDICT_OK);
        PQB_ASSERT(init.cursor <= w->taken);
        w->init_id = init.init_id;
        w->pn = w->pn_seen = 0; // what comes next is another session, be its id the same
        w->epoch = init.epoch;
        w->low = PQB_MAX(init.low, 1);
        w->cursor = init.cursor;
        return;
    }
    PQB_ASSERT(pqb_data_decode(data, len, &d) == PQB_VERDICT_OK && d.pn > w->pn_seen);
    w->pn_seen = d.pn;
    const uint8_t *at = d.frames;
    while (pqb_frame_next(&at, d.frames + d.frames_len, &code, &content, &verdict)) {
        PQB_ASSERT(pqb_frame_decode(fuzz_unpacker(), code, content, &f) == PQB_VERDICT_OK);
        note_frame(w, &f);
    }
    PQB_ASSERT(verdict == PQB_VERDICT_OK);
}

static void pump(struct world *w)
{
    uint8_t data[PQB_DATAGRAM_MAX];
    int bursts = 0, datagrams = 0;
    size_t len;

    // As a driver does. It must come to where it may sleep.
    do {
        pqb_client_on_timeout(w->c, w->now);
        while ((len = pqb_client_poll_transmit(w->c, data, sizeof(data), w->now)) > 0) {
            PQB_ASSERT(++datagrams < BURST_MAX);
            note_datagram(w, data, len);
        }
    } while (pqb_client_next_deadline(w->c) <= w->now && ++bursts < BURSTS_MAX);
    PQB_ASSERT(pqb_client_next_deadline(w->c) > w->now);
}

// ------------------------------------------------------------------------- what it is told

static void say(struct world *w, const struct pqb_frame *f)
{
    uint8_t data[PQB_DATAGRAM_MAX];
    const struct pqb_data header = {
        .cid = PQB_MAX(w->cid, 1), .pn = ++w->pn, .echo_pn = (uint32_t)w->pn_seen, .echo_delay = 1};

    if (!pqb_frame_is_consistent(f))
        return; // would not leave an encoder; raw frames try that
    pqb_data_header_encode(&header, data);
    const size_t len =
        pqb_frame_encode(f, data + PQB_DATA_HEADER_LEN, sizeof(data) - PQB_DATA_HEADER_LEN);
    if (len > 0)
        pqb_client_on_datagram(w->c, data, PQB_DATA_HEADER_LEN + len, w->now);
}

static void say_resp(struct world *w)
{
    uint8_t data[PQB_DATAGRAM_MAX];
    const uint8_t how = next_u8(w);
    struct pqb_resp r = {
        .init_id = how % 16 == 15 ? near(w, w->init_id) : w->init_id,
        .cid = near(w, w->cid + 1),
        .epoch = w->epoch,
        .low = w->low,
        .cursor = w->cursor,
        .tail = 1,
        .head = w->cursor,
        .idle_ms = 60000,
        .body_max = PQB_BODY_MAX,
        .push_max = 20,
        .time_ms = 1700000000000,
    };

    memcpy(r.reset_token, reset_token, sizeof(reset_token));
    if (how & 16)
        r.epoch = near32(w, w->epoch);
    if (how & 32) {
        r.low = near(w, w->low);
        r.consumed_count = 1;
        r.consumed[0].first = near(w, w->low);
        r.consumed[0].last = near_above(w, r.consumed[0].first, r.consumed[0].first);
    }
    if (how & 64) {
        r.cursor = near(w, w->cursor);
        r.head = near(w, w->cursor);
        r.tail = near(w, w->cursor);
        r.count = near(w, 0);
        r.generation_first = near(w, 0);
    }
    if (how & 128) {
        r.idle_ms = near32(w, 0);
        r.body_max = near32(w, 0);
        r.push_max = near32(w, 0);
    }
    const size_t len = pqb_resp_encode(&r, data);
    pqb_client_on_datagram(w->c, data, len, w->now);
    if (pqb_client_cid(w->c) == r.cid)
        w->cid = r.cid;
}

// RETRY, BUSY or RESET.
static void say_short(struct world *w)
{
    uint8_t data[PQB_DATAGRAM_MAX];
    const uint8_t how = next_u8(w);
    size_t len;

    if (how % 4 == 0) {
        const struct pqb_retry r = {.init_id = near(w, w->init_id), .cookie = {how}};
        len = pqb_retry_encode(&r, data);
    } else if (how % 4 == 1) {
        const struct pqb_busy b = {.init_id = near(w, w->init_id), .retry_after_ms = near32(w, 1)};
        len = pqb_busy_encode(&b, data);
    } else {
        struct pqb_reset r = {.cid = w->cid};
        memcpy(r.token, reset_token, sizeof(r.token));
        r.token[1] = how >= 128;
        len = pqb_reset_encode(&r, data);
    }
    pqb_client_on_datagram(w->c, data, len, w->now);
}

static struct pqb_frame message(struct world *w, size_t len)
{
    struct pqb_frame f = {.type = PQB_FRAME_MSG_N};

    f.msg_n = (struct pqb_frame_msg_n){.iseq = near(w, w->taken + 1),
                                       .kind = 1,
                                       .time_ms = 2,
                                       .from = {"ben", 3},
                                       .device = {"desk", 4},
                                       .body = {big_body, len}};
    return f;
}

static void say_message(struct world *w)
{
    const uint8_t how = next_u8(w);
    struct pqb_frame f = message(w, how * 3u);

    if (how % 16 == 0) {
        f.msg_n.iseq = 0;
        f.msg_n.flags = PQB_MSG_EPHEMERAL;
    }
    say(w, &f);
}

// Pieces of one large message; some may be missing, or not belong to it.
static void say_large(struct world *w)
{
    static uint8_t content[PQB_FRAG_TOTAL_MAX];
    const size_t body_len = 700 + next_u8(w) * 250u;
    const struct pqb_frame whole = message(w, body_len);
    const uint8_t missing = next_u8(w);
    const size_t len = pqb_frame_encode_content(&whole, content, sizeof(content));
    struct pqb_frame f = {.type = PQB_FRAME_FRAG};

    f.frag = (struct pqb_frame_frag){.id = near32(w, w->own_frag + 1u),
                                     .frame = PQB_FRAME_MSG_N,
                                     .seq = missing == 1 ? near(w, w->taken) : whole.msg_n.iseq,
                                     .total = (uint32_t)len,
                                     .hash = pqb_crc32c(0, content, len) + (missing == 2)};
    w->own_frag = (uint32_t)PQB_MIN(f.frag.id, UINT64_C(1000));
    for (size_t i = 0; i * PQB_FRAG_LEN < len; i++) {
        if (missing >= 128 && missing % 64 == i)
            continue;
        f.frag.index = (uint16_t)i;
        f.frag.piece.data = content + i * PQB_FRAG_LEN;
        f.frag.piece.len = PQB_MIN(len - i * PQB_FRAG_LEN, (size_t)PQB_FRAG_LEN);
        say(w, &f);
    }
}

static uint8_t state(struct world *w)
{
    static const uint8_t states[] = {PQB_STATE_ACCEPTED,  PQB_STATE_STORED,  PQB_STATE_DELIVERED,
                                     PQB_STATE_READ,      PQB_STATE_UNKNOWN, PQB_STATE_REFUSED,
                                     PQB_STATE_ABANDONED, PQB_STATE_ACCEPTED};
    return states[next_u8(w) % PQB_ARRAY_LEN(states)];
}

// About what it sent.
static void say_answer(struct world *w)
{
    static const uint8_t refused[] = {PQB_FRAME_MSG_R, PQB_FRAME_SKIP_R, PQB_FRAME_STAT_R,
                                      PQB_FRAME_OFF_R, PQB_FRAME_ACK_R,  PQB_FRAME_EPOCH_R,
                                      PQB_FRAME_FRAG,  PQB_FRAME_MSG_R};
    struct pqb_frame f = {.type = PQB_FRAME_MSG_A};

    switch (next_u8(w) % 8) {
    case 0:
    case 1:
        f.msg_a = (struct pqb_frame_msg_a){
            .seq = near(w, w->low), .state = state(w), .has_receipt = next_u8(w) % 2};
        break;
    case 2:
        f.type = PQB_FRAME_STAT_A;
        f.stat_a = (struct pqb_frame_msg_a){.seq = near(w, w->low), .state = state(w)};
        break;
    case 3:
        f.type = PQB_FRAME_NACK;
        f.nack = (struct pqb_frame_nack){.frame = refused[next_u8(w) % PQB_ARRAY_LEN(refused)],
                                         .ref = near(w, w->low),
                                         .reason = (uint8_t)(1 + next_u8(w) % 32),
                                         .retry_after_ms = near32(w, 0)};
        break;
    case 4:
        f.type = PQB_FRAME_SKIP_A;
        f.skip_a.count = 1;
        f.skip_a.at[0] = (struct pqb_seq_state){near(w, w->low), state(w)};
        break;
    case 5:
        f.type = PQB_FRAME_ACK_N;
        f.ack_n.state = state(w);
        f.ack_n.seqs.count = 1;
        f.ack_n.seqs.at[0].first = near(w, w->low);
        f.ack_n.seqs.at[0].last = near_above(w, w->low, f.ack_n.seqs.at[0].first);
        break;
    case 6:
        f.type = PQB_FRAME_FRAG_A;
        f.frag_a.id = near32(w, w->sent_frag);
        f.frag_a.received.count = 1;
        f.frag_a.received.at[0].first = next_u8(w) % 8;
        f.frag_a.received.at[0].last = 8 + next_u8(w) % 48;
        break;
    default:
        f.type = PQB_FRAME_FRAG_RESET;
        f.frag_reset.id = near32(w, w->sent_frag);
        f.frag_reset.seq = near(w, w->low);
        break;
    }
    say(w, &f);
}

// About its inbox, its session, its path.
static void say_other(struct world *w)
{
    struct pqb_frame f = {.type = PQB_FRAME_PONG};

    switch (next_u8(w) % 8) {
    case 0:
        f.ping.nonce = next_u8(w);
        f.type = next_u8(w) % 2 ? PQB_FRAME_PING : PQB_FRAME_PONG;
        break;
    case 1:
        f.type = PQB_FRAME_ACK_A;
        f.ack_a.cursor = near(w, w->cursor);
        break;
    case 2:
        f.type = PQB_FRAME_GAP_N;
        f.gap_n.from = near(w, w->taken);
        f.gap_n.to = near_above(w, w->taken, f.gap_n.from);
        f.gap_n.reason = (uint8_t)(1 + next_u8(w) % 5);
        break;
    case 3:
        f.type = PQB_FRAME_OFF_A;
        f.off_a.after = next_u8(w) % 4 ? w->page_after : near(w, w->page_after);
        f.off_a.first = near(w, f.off_a.after);
        f.off_a.last = near_above(w, f.off_a.first, f.off_a.first);
        f.off_a.tail = 1;
        f.off_a.head = near(w, f.off_a.last);
        f.off_a.has_more = next_u8(w) % 2;
        break;
    case 4:
        f.type = PQB_FRAME_OFF_N;
        f.off_n.head = near(w, w->taken);
        break;
    case 5:
        f.type = PQB_FRAME_EPOCH_A;
        memcpy(f.epoch_a.nonce, w->epoch_nonce, sizeof(w->epoch_nonce));
        f.epoch_a.epoch = near32(w, 7);
        break;
    case 6:
        f.type = PQB_FRAME_PATH_CHALLENGE;
        f.path.data[0] = next_u8(w);
        break;
    default:
        f.type = PQB_FRAME_KICK;
        f.kick.reason = (uint8_t)(1 + next_u8(w) % 6);
        break;
    }
    say(w, &f);
}

static void say_raw(struct world *w, bool has_header)
{
    uint8_t data[PQB_DATAGRAM_MAX];
    const struct pqb_data header = {.cid = PQB_MAX(w->cid, 1), .pn = ++w->pn};
    const size_t begin = has_header ? PQB_DATA_HEADER_LEN + PQB_FRAME_HEADER_LEN : 0;
    const uint8_t code = next_u8(w);
    const size_t wanted = next_u8(w);
    const size_t len = PQB_MIN(wanted, pqb_rcur_left(&w->input));

    if (has_header) {
        pqb_data_header_encode(&header, data);
        data[PQB_DATA_HEADER_LEN] = code;
        data[PQB_DATA_HEADER_LEN + 1] = 0;
        data[PQB_DATA_HEADER_LEN + 2] = (uint8_t)len;
    }
    if (len > 0)
        memcpy(data + begin, pqb_rcur_bytes(&w->input, len), len);
    pqb_client_on_datagram(w->c, data, begin + len, w->now);
}

// A login as it should be, as far as the client wants one.
static void log_in(struct world *w)
{
    struct pqb_resp r = {.init_id = w->init_id,
                         .cid = w->cid % 1000 + 1,
                         .epoch = w->epoch,
                         .low = w->low,
                         .cursor = w->cursor,
                         .tail = 1,
                         .head = w->cursor,
                         .idle_ms = 60000,
                         .body_max = PQB_BODY_MAX,
                         .push_max = 200};
    struct pqb_frame f = {.type = PQB_FRAME_PONG};
    uint8_t data[PQB_DATAGRAM_MAX];

    pqb_client_connect(w->c, w->now);
    w->now += SECOND;
    pump(w);
    r.init_id = w->init_id;
    r.low = w->low;
    memcpy(r.reset_token, reset_token, sizeof(reset_token));
    pqb_client_on_datagram(w->c, data, pqb_resp_encode(&r, data), w->now);
    if (pqb_client_cid(w->c) != r.cid)
        return;
    w->cid = r.cid;
    pump(w);
    say(w, &f);
    f = (struct pqb_frame){.type = PQB_FRAME_EPOCH_A, .epoch_a = {.epoch = w->epoch + 1}};
    memcpy(f.epoch_a.nonce, w->epoch_nonce, sizeof(w->epoch_nonce));
    if (w->epoch == 0)
        say(w, &f);
}

// -------------------------------------------------------------------------- what it is asked

static void send(struct world *w)
{
    static const char *const to[] = {"ben", "cyd", "ann"};
    const uint8_t how = next_u8(w);
    const size_t len = how >= 240 ? 60000u : how >= 200 ? (how - 199) * 100u : how;
    uint64_t id;

    (void)pqb_client_send(w->c, to[how % 3], how, big_body, len,
                          how % 32 == 31 ? PQB_CLIENT_EPHEMERAL : 0, &id);
}

static void ask(struct world *w)
{
    switch (next_u8(w) % 8) {
    case 0:
        pqb_client_connect(w->c, w->now);
        break;
    case 1:
        pqb_client_close(w->c, w->now);
        break;
    case 2:
    case 3:
        (void)pqb_client_abandon(w->c, near(w, w->low));
        break;
    case 4:
        (void)pqb_client_pull(w->c, 1 + next_u8(w));
        break;
    case 5:
        pqb_client_resume(w->c);
        break;
    case 6:
        w->refuse_next = next_u8(w) % 8;
        break;
    default:
        pqb_client_on_path_change(w->c, w->now);
        break;
    }
}

static void restart(struct world *w)
{
    pqb_client_destroy(w->c);
    w->fail_in = 0;
    create_client(w);
}

static void step(struct world *w)
{
    switch (next_u8(w) % 16) {
    case 0:
    case 1:
        send(w);
        break;
    case 2:
        ask(w);
        break;
    case 3:
        say_resp(w);
        break;
    case 4:
        say_short(w);
        break;
    case 5:
    case 6:
        say_message(w);
        break;
    case 7:
        say_large(w);
        break;
    case 8:
    case 9:
        say_answer(w);
        break;
    case 10:
        say_other(w);
        break;
    case 11:
        say_raw(w, true);
        break;
    case 12:
        say_raw(w, false);
        break;
    case 13:
        if (next_u8(w) % 4 == 0)
            restart(w);
        else
            w->fail_in = next_u8(w) % 8;
        break;
    case 14:
        w->now += UINT64_C(1) << (18 + next_u8(w) % 20);
        break;
    default:
        log_in(w);
        break;
    }
    if (next_u8(w) % 4 != 0)
        pump(w);
}

static void check_bounds(struct world *w)
{
    struct pqb_client_stats stats;

    pqb_client_get_stats(w->c, &stats);
    PQB_ASSERT(stats.queue_count <= QUEUE_MAX && stats.queue_bytes <= QUEUE_BYTES);
    PQB_ASSERT(stats.watch_count <= 8 && stats.buffered <= PQB_PUSH_WINDOW);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const size_t heap_before = fuzz_heap_in_use();
    struct world w = {.now = 100 * SECOND, .low = 1, .next_seq = 1};

    PQB_ASSERT(pqb_client_store_memory_create(&w.memory) == 0);
    w.watched = (struct pqb_client_store){.ctx = &w,
                                          .load = store_load,
                                          .put = store_put,
                                          .drop = store_drop,
                                          .set_epoch = store_set_epoch,
                                          .deliver = store_deliver,
                                          .sync = store_sync};
    pqb_rcur_init(&w.input, data, size);
    create_client(&w);
    log_in(&w);
    for (int i = 0; i < EVENTS_MAX && pqb_rcur_left(&w.input) > 0; i++) {
        step(&w);
        check_bounds(&w);
        if (i % 32 == 31) // asking the heap is slow
            PQB_ASSERT(fuzz_heap_in_use() < heap_before + HEAP_MAX);
    }
    PQB_ASSERT(fuzz_heap_in_use() < heap_before + HEAP_MAX);
    restart(&w); // what is stored can be begun with
    pqb_client_destroy(w.c);
    pqb_client_store_memory_destroy(w.memory);
    return 0;
}
