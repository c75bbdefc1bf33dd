// What became of messages, told to their senders' sessions as ack:N. A hint may be lost; stat:R
// tells the truth.
#include "gateway/core/engine_impl.h"

void pqb_hint_deliver(struct pqb_engine *e, const struct pqb_hint *h)
{
    struct pqb_session *s = pqb_session_get_device(e, h->uid, h->devno);
    struct pqb_outbox *o;

    if (!s || s->epoch != h->epoch) {
        pqb_count(e, PQB_COUNTER_HINT_DROPPED);
        return;
    }
    o = pqb_session_outbox(e, s);
    for (size_t i = 0; i < h->seqs.count; i++) {
        const struct pqb_range *r = &h->seqs.at[i];
        const bool is_told = o && pqb_outbox_hint(o, h->state, r->first, r->last);

        pqb_count(e, is_told ? PQB_COUNTER_HINT_SENT : PQB_COUNTER_HINT_DROPPED);
    }
    pqb_session_touch(e, s);
}

static void flush(struct pqb_engine *e, struct pqb_hint *h)
{
    if (h->seqs.count == 0)
        return;
    if (h->uhash % e->config.shards == e->config.shard)
        pqb_hint_deliver(e, h);
    else
        pqb_mail_hint(e, h);
    h->seqs.count = 0;
}

// Adds a message to the hint that is being collected; flushes it when the sender is another one.
static void collect(struct pqb_engine *e, struct pqb_hint *h, const struct pqb_message *m,
                    uint8_t state)
{
    const bool is_same = h->seqs.count > 0 && h->uid == m->from_uid && h->devno == m->from_devno &&
                         h->epoch == m->epoch;

    if (is_same && pqb_ranges_add(&h->seqs, m->seq, m->seq) == PQB_OK)
        return;
    flush(e, h);
    h->uid = m->from_uid;
    h->devno = m->from_devno;
    h->epoch = m->epoch;
    h->uhash = m->from_uhash;
    h->state = state;
    h->seqs.count = 1;
    h->seqs.at[0] = (struct pqb_range){.first = m->seq, .last = m->seq};
}

static bool take_credit(struct pqb_engine *e)
{
    if (e->hints_left == 0) {
        pqb_count(e, PQB_COUNTER_HINT_DROPPED);
        return false;
    }
    e->hints_left--;
    return true;
}

void pqb_hint_range(struct pqb_engine *e, const struct pqb_user *u, uint64_t first, uint64_t last)
{
    struct pqb_hint h = {.seqs.count = 0};
    struct pqb_position p;
    uint64_t after = first - 1;

    while (after < last && take_credit(e)) {
        pqb_position_next(e, u, after, &p);
        if (p.kind == PQB_POSITION_NONE)
            break;
        after = p.last;
        if (p.kind != PQB_POSITION_MESSAGE || after > last)
            continue;
        pqb_count(e, PQB_COUNTER_MSG_DELIVERED);
        collect(e, &h, &p.message, PQB_STATE_DELIVERED);
    }
    flush(e, &h);
}

// A message came for a user who is not here. A sender on this shard learns it from the completion;
// one on another shard from us.
void pqb_hint_on_arrival(struct pqb_engine *e, struct pqb_user *u, uint64_t iseq)
{
    struct pqb_hint h = {.seqs.count = 0};
    struct pqb_position p;

    if (e->config.shards == 1 || u->session_count > 0 || !take_credit(e))
        return;
    pqb_position_next(e, u, iseq - 1, &p);
    if (p.kind != PQB_POSITION_MESSAGE ||
        p.message.from_uhash % e->config.shards == e->config.shard)
        return;
    collect(e, &h, &p.message, PQB_STATE_STORED);
    flush(e, &h);
}

// The last session ends: what it was sent and did not acknowledge waits in the inbox now.
void pqb_hint_stored_unacked(struct pqb_engine *e, struct pqb_session *s)
{
    struct pqb_hint h = {.seqs.count = 0};
    struct pqb_position p;
    bool is_own_view;

    if (s->sent.count == 0)
        return;
    is_own_view = !e->is_view_open; // an operator's kick comes between turns
    if (is_own_view && pqb_engine_open_view(e) != PQB_OK) {
        pqb_count(e, PQB_COUNTER_HINT_DROPPED);
        return;
    }
    for (uint32_t i = 0; i < s->sent.count && take_credit(e); i++) {
        const struct pqb_sent *item = pqb_sent_map_at(&s->sent, i);

        if (item->aux != 0 || item->transmissions == 0)
            continue;
        pqb_position_next(e, s->user, item->key - 1, &p);
        if (p.kind == PQB_POSITION_MESSAGE)
            collect(e, &h, &p.message, PQB_STATE_STORED);
    }
    flush(e, &h);
    if (is_own_view)
        pqb_engine_close_view(e);
}
