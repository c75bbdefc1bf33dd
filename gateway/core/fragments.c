// Bodies larger than a datagram. Outwards: a message in the sent map has at most one transfer; its
// pieces count in the congestion window, the sent map keeps the timer. Inwards: a whole is used
// only when its hash checks, and it counts as handed on only while the ledger has, or had, its seq.
#include <string.h>

#include "gateway/core/engine_impl.h"

#define PIECES_REORDER 3 // later pieces acknowledged before a hole counts as lost

// ------------------------------------------------------------------------------------ outwards

struct pqb_frag_out *pqb_fragments_get(struct pqb_session *s, uint64_t iseq)
{
    for (size_t i = 0; s->frag && i < PQB_FRAG_OUT_MAX; i++)
        if (s->frag->out[i].id != 0 && s->frag->out[i].seq == iseq)
            return &s->frag->out[i];
    return NULL;
}

// Encodes the message unless it is the one encoded last. False: it is not there any more.
static bool load_whole(struct pqb_engine *e, const struct pqb_session *s, uint64_t iseq)
{
    struct pqb_whole *w = &e->whole;
    struct pqb_position p;
    struct pqb_frame f = {.type = PQB_FRAME_MSG_N};

    if (w->uid == s->user->uid && w->iseq == iseq)
        return true;
    pqb_position_next(e, s->user, iseq - 1, &p);
    if (p.kind != PQB_POSITION_MESSAGE)
        return false;
    f.msg_n = (struct pqb_frame_msg_n){.iseq = iseq,
                                       .kind = p.message.kind,
                                       .time_ms = p.message.time,
                                       .from = p.message.from,
                                       .device = p.message.device,
                                       .body = p.message.body};
    w->len = pqb_frame_encode_content(&f, w->content, sizeof(w->content));
    PQB_ASSERT(w->len > 0);
    w->uid = s->user->uid;
    w->iseq = iseq;
    return true;
}

static void begin_transfer(struct pqb_engine *e, struct pqb_session *s, size_t slot, uint64_t iseq)
{
    struct pqb_session_frag *frag = s->frag;

    s->frag_id = s->frag_id == UINT32_MAX ? 1 : s->frag_id + 1;
    pqb_frag_out_init(&frag->out[slot], s->frag_id, PQB_FRAME_MSG_N, iseq, e->whole.content,
                      e->whole.len);
    frag->fast_at[slot] = 0;
    frag->has_asked[slot] = false;
}

struct pqb_frag_out *pqb_fragments_begin(struct pqb_engine *e, struct pqb_session *s, uint64_t iseq)
{
    struct pqb_session_frag *frag = pqb_session_frag_make(e, s);

    e->must_retry |= !frag;
    for (size_t i = 0; frag && i < PQB_FRAG_OUT_MAX; i++) {
        if (frag->out[i].id != 0)
            continue;
        if (!load_whole(e, s, iseq))
            return NULL;
        begin_transfer(e, s, i, iseq);
        return &frag->out[i];
    }
    return NULL;
}

// The timer fired, or later messages overtook this one. When every piece was acknowledged, the
// acknowledgement of the whole may be what was lost: the last piece asks for it. If that does not
// help, the client has lost pieces that it acknowledged (and its frag:reset got lost): all anew.
static void want_again(struct pqb_engine *e, struct pqb_session *s, struct pqb_frag_out *f)
{
    const size_t slot = (size_t)(f - s->frag->out);
    const unsigned last = pqb_frag_out_count(f) - 1;

    pqb_frag_out_on_lost(f);
    if (pqb_frag_out_next(f) >= 0)
        return;
    if (s->frag->has_asked[slot]) {
        begin_transfer(e, s, slot, f->seq);
        return;
    }
    s->frag->has_asked[slot] = true;
    f->acked[last / 64] &= ~(UINT64_C(1) << last % 64);
    f->sent[last / 64] &= ~(UINT64_C(1) << last % 64);
}

enum pqb_fragments_result pqb_fragments_write(struct pqb_engine *e, struct pqb_session *s,
                                              struct pqb_frag_out *f, struct pqb_sent *item,
                                              struct pqb_frame_area *out, pqb_tstamp now)
{
    struct pqb_frame frame;
    size_t written;
    int index;

    if (!load_whole(e, s, f->seq)) {
        f->id = 0;
        return PQB_FRAGMENTS_VANISHED;
    }
    if (item->is_lost)
        want_again(e, s, f);
    index = pqb_frag_out_next(f);
    PQB_ASSERT(index >= 0);
    pqb_frag_out_get(f, (unsigned)index, e->whole.content, &frame);
    written = pqb_frame_encode(&frame, out->bytes + out->used, PQB_FRAMES_MAX - out->used);
    if (written == 0)
        return PQB_FRAGMENTS_NO_ROOM;
    out->used += written;
    pqb_frag_out_on_sent(f, (unsigned)index);
    pqb_sent_map_on_part_sent(&s->sent, item, PQB_FRAG_LEN, pqb_frag_out_next(f) >= 0, &s->channel,
                              now);
    pqb_count(e, PQB_COUNTER_FRAG_PIECES_OUT);
    return PQB_FRAGMENTS_WRITTEN;
}

void pqb_fragments_settle(struct pqb_engine *e, struct pqb_session *s)
{
    for (size_t i = 0; s->frag && i < PQB_FRAG_OUT_MAX; i++) {
        struct pqb_frag_out *f = &s->frag->out[i];
        const struct pqb_sent *item = f->id != 0 ? pqb_sent_map_find(&s->sent, f->seq) : NULL;

        if (!item || item->is_acked)
            f->id = 0;
    }
    pqb_session_frag_trim(e, s);
}

static int highest_acked(const struct pqb_frag_out *f)
{
    if (f->acked[1])
        return 127 - __builtin_clzll(f->acked[1]);
    return f->acked[0] ? 63 - __builtin_clzll(f->acked[0]) : -1;
}

// Holes well below the highest acknowledged piece are lost; each at most once a round trip.
static void retransmit_early(struct pqb_session *s, struct pqb_frag_out *f, struct pqb_sent *item,
                             pqb_tstamp *fast_at, pqb_tstamp now)
{
    const int highest = highest_acked(f);
    unsigned lost = 0;

    if (item->is_lost || item->is_acked || pqb_elapsed(*fast_at, now) < s->channel.rtt.srtt)
        return;
    for (int i = 0; i + PIECES_REORDER <= highest; i++) {
        const uint64_t bit = UINT64_C(1) << i % 64;

        if (!(f->sent[i / 64] & bit) || (f->acked[i / 64] & bit))
            continue;
        f->sent[i / 64] &= ~bit;
        lost++;
    }
    if (lost == 0)
        return;
    *fast_at = now;
    pqb_sent_map_on_part_lost(&s->sent, item, lost * PQB_FRAG_LEN, &s->channel, now);
}

void pqb_fragments_on_ack(struct pqb_session *s, const struct pqb_frame_frag_a *ack, pqb_tstamp now)
{
    for (size_t i = 0; s->frag && i < PQB_FRAG_OUT_MAX; i++) {
        struct pqb_frag_out *f = &s->frag->out[i];
        struct pqb_sent *item;
        unsigned newly;

        if (f->id != ack->id || f->id == 0)
            continue;
        item = pqb_sent_map_find(&s->sent, f->seq);
        PQB_ASSERT(item);
        newly = pqb_frag_out_on_ack(f, &ack->received);
        if (newly == 0)
            continue;
        pqb_sent_map_on_part_acked(&s->sent, item, newly * PQB_FRAG_LEN, &s->channel, now);
        item->has_more = item->has_more && pqb_frag_out_next(f) >= 0;
        retransmit_early(s, f, item, &s->frag->fast_at[i], now);
    }
}

void pqb_fragments_on_reset(struct pqb_session *s, const struct pqb_frame_frag_reset *reset)
{
    for (size_t i = 0; s->frag && i < PQB_FRAG_OUT_MAX; i++) {
        struct pqb_frag_out *f = &s->frag->out[i];
        struct pqb_sent *item;

        if (f->id == 0 || f->id != reset->id)
            continue;
        pqb_frag_out_on_reset(f);
        item = pqb_sent_map_find(&s->sent, f->seq);
        PQB_ASSERT(item);
        pqb_sent_map_mark_lost(&s->sent, item, &s->channel);
    }
}

// ------------------------------------------------------------------------------------ inwards

static void answer_ranges(struct pqb_engine *e, struct pqb_session *s, uint32_t id)
{
    struct pqb_frame f = {.type = PQB_FRAME_FRAG_A, .frag_a = {.id = id}};

    if (pqb_frag_in_ranges(&s->frag->in, id, &f.frag_a.received))
        pqb_session_answer(e, s, &f);
}

static void answer_all(struct pqb_engine *e, struct pqb_session *s,
                       const struct pqb_frame_frag *piece)
{
    struct pqb_frame f = {.type = PQB_FRAME_FRAG_A, .frag_a = {.id = piece->id}};

    f.frag_a.received.count = 1;
    f.frag_a.received.at[0].last = (piece->total + PQB_FRAG_LEN - 1) / PQB_FRAG_LEN - 1;
    pqb_session_answer(e, s, &f);
}

static void answer_reset(struct pqb_engine *e, struct pqb_session *s, uint32_t id, uint64_t seq)
{
    const struct pqb_frame f = {.type = PQB_FRAME_FRAG_RESET, .frag_reset = {.id = id, .seq = seq}};

    pqb_session_answer(e, s, &f);
}

static bool is_with_writer(const struct pqb_engine *e, const struct pqb_session *s, uint64_t seq)
{
    const struct pqb_inflight key = {
        .uid = s->user->uid, .seq = seq, .devno = s->devno, .epoch = s->epoch};

    return pqb_inflight_table_get(&e->inflight, &key) != NULL;
}

static void use_whole(struct pqb_engine *e, struct pqb_session *s, struct pqb_reassembly *whole,
                      pqb_tstamp now)
{
    const struct pqb_bytes content = {.data = whole->content, .len = whole->total};
    const uint32_t id = whole->id;
    struct pqb_frame f;
    const enum pqb_verdict verdict = pqb_frame_decode(e->unpacker, whole->frame, content, &f);

    if (verdict != PQB_VERDICT_OK || f.type != PQB_FRAME_MSG_R || f.msg_r.seq != whole->seq) {
        pqb_count_verdict(e, verdict == PQB_VERDICT_OK ? PQB_VERDICT_FIELD : verdict);
    } else {
        pqb_count(e, PQB_COUNTER_FRAG_COMPLETE);
        pqb_submit_message(e, s, &f.msg_r, now);
    }
    pqb_frag_in_done(&s->frag->in, id, &e->reassembly_left);
}

// Takes a piece; one of a whole that was handed on, but that neither the writer has nor the ledger
// is known to have (it was refused for now, which voids what was acknowledged), is collected anew.
static enum pqb_frag_verdict take_piece(struct pqb_engine *e, struct pqb_session *s,
                                        const struct pqb_frame_frag *piece,
                                        struct pqb_reassembly **whole, pqb_tstamp now)
{
    struct pqb_frame_frag_reset evicted;
    enum pqb_frag_verdict verdict =
        pqb_frag_in_on_piece(&s->frag->in, piece, &e->reassembly_left, whole, &evicted, now);

    if (verdict == PQB_FRAG_LATE && !is_with_writer(e, s, piece->seq)) {
        pqb_frag_in_forget(&s->frag->in, piece->id);
        verdict =
            pqb_frag_in_on_piece(&s->frag->in, piece, &e->reassembly_left, whole, &evicted, now);
    }
    if (evicted.id != 0) {
        pqb_count(e, PQB_COUNTER_FRAG_EVICTED);
        answer_reset(e, s, evicted.id, evicted.seq);
    }
    return verdict;
}

void pqb_fragments_on_piece(struct pqb_engine *e, struct pqb_session *s,
                            const struct pqb_frame_frag *piece, pqb_tstamp now)
{
    struct pqb_reassembly *whole;

    if (piece->frame != PQB_FRAME_MSG_R) {
        pqb_count(e, PQB_COUNTER_FRAG_BAD);
        return;
    }
    // What would be refused whole is refused at its first piece.
    if (!pqb_submit_may_begin_pieces(e, s, piece->seq) || !pqb_session_frag_make(e, s))
        return;
    switch (take_piece(e, s, piece, &whole, now)) {
    case PQB_FRAG_HELD:
        answer_ranges(e, s, piece->id);
        break;
    case PQB_FRAG_COMPLETE:
        answer_all(e, s, piece);
        use_whole(e, s, whole, now);
        break;
    case PQB_FRAG_LATE:
        answer_all(e, s, piece);
        break;
    case PQB_FRAG_BAD:
        pqb_count(e, PQB_COUNTER_FRAG_BAD);
        answer_reset(e, s, piece->id, piece->seq);
        break;
    case PQB_FRAG_NO_MEMORY:
        pqb_count(e, PQB_COUNTER_FRAG_NO_MEMORY);
        pqb_session_nack(e, s, PQB_FRAME_MSG_R, piece->seq, PQB_NACK_BUSY, PQB_BUSY_RETRY_MS);
        break;
    }
}

void pqb_fragments_expire(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now)
{
    struct pqb_frame_frag_reset reset;

    if (!s->frag)
        return;
    while (pqb_frag_in_expire(&s->frag->in, &reset, &e->reassembly_left, now)) {
        pqb_count(e, PQB_COUNTER_FRAG_EXPIRED);
        answer_reset(e, s, reset.id, reset.seq);
    }
    pqb_session_frag_trim(e, s);
}
