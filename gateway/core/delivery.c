// Composing datagrams to one session: a path challenge, answers, hints, then messages from the
// store under the push window, the page grants and the congestion window.
#include <string.h>

#include "gateway/core/engine_impl.h"

#define MESSAGE_ESTIMATE 256 // bytes that must fit the congestion window to begin a message
#define OFF_N_INTERVAL   (200 * PQB_NS_PER_MS)

void pqb_delivery_on_cursor(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now)
{
    (void)pqb_sent_map_on_cursor(&s->sent, s->cursor, &s->channel, now);
    pqb_fragments_settle(e, s);
}

// Takes the next position above what is queued into the sent map. NULL: nothing may be sent.
static struct pqb_sent *extend(struct pqb_engine *e, struct pqb_session *s, struct pqb_position *p)
{
    const uint64_t end = PQB_MIN(s->user->head, s->allowed_upto);

    // The client holds a window of positions above its cursor; a gap only needs to begin in it.
    if (s->queued_upto >= end || s->queued_upto - s->cursor >= PQB_PUSH_WINDOW)
        return NULL;
    pqb_position_next(e, s->user, s->queued_upto, p);
    if (p->kind == PQB_POSITION_NONE)
        return NULL;
    if (pqb_sent_map_push(&s->sent, p->last, p->kind == PQB_POSITION_GAP ? p->first : 0) != PQB_OK)
        return NULL;
    s->queued_upto = p->last;
    return pqb_sent_map_find(&s->sent, p->last);
}

// What the store holds for an item that is sent again. A message may have expired since. false: it
// cannot be read now.
static bool reread(struct pqb_engine *e, const struct pqb_session *s, const struct pqb_sent *item,
                   struct pqb_position *p)
{
    const uint64_t first = item->aux != 0 ? item->aux : item->key;

    pqb_position_next(e, s->user, first - 1, p);
    if (p->kind == PQB_POSITION_MESSAGE && item->aux == 0)
        return true;
    if (p->kind == PQB_POSITION_NONE && e->must_retry)
        return false;
    if (p->kind != PQB_POSITION_GAP)
        p->reason = PQB_GAP_EXPIRED;
    p->kind = PQB_POSITION_GAP;
    p->first = first;
    p->last = item->key;
    return true;
}

static void fill_frame(const struct pqb_position *p, struct pqb_frame *f)
{
    if (p->kind == PQB_POSITION_GAP) {
        *f = (struct pqb_frame){.type = PQB_FRAME_GAP_N,
                                .gap_n = {.from = p->first, .to = p->last, .reason = p->reason}};
        return;
    }
    f->type = PQB_FRAME_MSG_N;
    f->msg_n = (struct pqb_frame_msg_n){
        .iseq = p->first,
        .kind = p->message.kind,
        .time_ms = p->message.time,
        .from = p->message.from,
        .device = p->message.device,
        .body = p->message.body,
    };
}

static void count_sent(struct pqb_engine *e, const struct pqb_sent *item,
                       const struct pqb_position *p)
{
    if (item->transmissions > 0)
        pqb_count(e, PQB_COUNTER_RETRANSMIT_MESSAGES);
    else if (p->kind == PQB_POSITION_GAP)
        pqb_count(e, PQB_COUNTER_PUSH_GAPS);
    else
        pqb_count(e, PQB_COUNTER_PUSH_MESSAGES);
}

enum written {
    WRITTEN,
    NO_ROOM,   // the next datagram has it
    MUST_WAIT, // for a place, or for acknowledgements
};

// A message that does not fit into a datagram of its own, or a further piece of one.
static enum written write_piece(struct pqb_engine *e, struct pqb_session *s, struct pqb_sent *item,
                                struct pqb_frame_area *out, pqb_tstamp now)
{
    struct pqb_frag_out *f = pqb_fragments_get(s, item->key);
    const bool is_first = !f;

    if (!f)
        f = pqb_fragments_begin(e, s, item->key);
    if (!f)
        return MUST_WAIT;
    switch (pqb_fragments_write(e, s, f, item, out, now)) {
    case PQB_FRAGMENTS_WRITTEN:
        if (is_first)
            pqb_count(e, PQB_COUNTER_PUSH_MESSAGES);
        return WRITTEN;
    case PQB_FRAGMENTS_NO_ROOM:
        return NO_ROOM;
    case PQB_FRAGMENTS_VANISHED:
        break;
    }
    pqb_sent_map_mark_lost(&s->sent, item, &s->channel);
    return WRITTEN; // nothing yet: the loop meets the item again, as a gap
}

static enum written write_item(struct pqb_engine *e, struct pqb_session *s, struct pqb_sent *item,
                               const struct pqb_position *p, struct pqb_frame_area *out,
                               pqb_tstamp now)
{
    struct pqb_frame f;
    size_t written;

    fill_frame(p, &f);
    written = pqb_frame_encode(&f, out->bytes + out->used, PQB_FRAMES_MAX - out->used);
    if (written == 0)
        return out->used > 0 ? NO_ROOM : write_piece(e, s, item, out, now);
    count_sent(e, item, p);
    pqb_sent_map_on_sent(&s->sent, item, (uint32_t)written, &s->channel, now);
    out->used += written;
    return WRITTEN;
}

static bool may_send(struct pqb_session *s, uint32_t bytes, pqb_tstamp now)
{
    s->is_blocked = !pqb_cc_may_send(&s->channel.cc, bytes, now);
    return !s->is_blocked;
}

// One item, or one piece of it.
static enum written write_next(struct pqb_engine *e, struct pqb_session *s,
                               struct pqb_frame_area *out, pqb_tstamp now)
{
    struct pqb_sent *item = pqb_sent_map_next(&s->sent);
    struct pqb_position p;

    if (item && pqb_fragments_get(s, item->key))
        return may_send(s, PQB_FRAG_LEN, now) ? write_piece(e, s, item, out, now) : MUST_WAIT;
    if (!item)
        item = extend(e, s, &p);
    else if (!reread(e, s, item, &p))
        return MUST_WAIT;
    if (!item || !may_send(s, MESSAGE_ESTIMATE, now))
        return MUST_WAIT;
    return write_item(e, s, item, &p, out, now);
}

static void write_messages(struct pqb_engine *e, struct pqb_session *s, struct pqb_frame_area *out,
                           pqb_tstamp now)
{
    s->is_blocked = false;
    if (s->is_rolling_back)
        return;
    while (write_next(e, s, out, now) == WRITTEN) {
    }
}

// While a backlog is pulled, arrivals are only announced, and not often.
static void announce_head(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now)
{
    const struct pqb_frame f = {.type = PQB_FRAME_OFF_N, .off_n = {.head = s->user->head}};

    if (!s->has_news || now < s->off_n_at)
        return;
    s->has_news = false;
    s->off_n_at = pqb_tstamp_add(now, OFF_N_INTERVAL);
    pqb_session_answer(e, s, &f);
}

static bool compose_challenge(struct pqb_engine *e, struct pqb_session *s, struct pqb_transmit *out,
                              pqb_tstamp now)
{
    struct pqb_frame f = {.type = PQB_FRAME_PATH_CHALLENGE};
    const uint32_t len_max =
        PQB_DATA_HEADER_LEN + PQB_FRAME_HEADER_LEN + 3 + PQB_PATH_LEN + PQB_TAG_LEN;
    const pqb_duration interval = pqb_rtt_rto(&s->channel.rtt, 0);
    const struct pqb_path_candidate *to = pqb_path_poll_challenge(&s->path, len_max, interval, now);

    if (!to)
        return false;
    memcpy(f.path.data, to->challenge, sizeof(f.path.data));
    out->to = to->addr;
    out->len = pqb_channel_seal(
        &s->channel, out->data,
        pqb_frame_encode(&f, out->data + PQB_DATA_HEADER_LEN, PQB_FRAMES_MAX), now);
    PQB_ASSERT(out->len <= len_max);
    pqb_count(e, PQB_COUNTER_PATH_CHALLENGES);
    return true;
}

bool pqb_delivery_compose(struct pqb_engine *e, struct pqb_session *s, struct pqb_transmit *out,
                          pqb_tstamp now)
{
    struct pqb_frame_area area = {.bytes = out->data + PQB_DATA_HEADER_LEN};

    if (compose_challenge(e, s, out, now))
        return true;
    if (s->outbox && s->outbox->page.max != 0)
        pqb_offline_answer(e, s);
    announce_head(e, s, now);
    if (s->outbox) {
        area.used = pqb_outbox_pop(s->outbox, area.bytes, PQB_FRAMES_MAX);
        if (pqb_outbox_is_empty(s->outbox)) {
            pqb_outbox_put(&e->outboxes, s->outbox);
            s->outbox = NULL;
        }
    }
    write_messages(e, s, &area, now);
    if (area.used == 0)
        return false;
    out->len = pqb_channel_seal(&s->channel, out->data, area.used, now);
    out->to = pqb_path_take_destination(&s->path, (uint32_t)out->len);
    return true;
}
