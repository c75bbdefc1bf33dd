// Messages larger than a datagram: at most PQB_CLIENT_LARGE_MAX travel at a time, each as fragments
// with acknowledged ranges. What the pieces say is not final: only msg:A is, so when all pieces are
// acknowledged and no answer comes, the whole is sent again under a new id.
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/client/impl.h"

// Each piece counts as a full one in the congestion window.
static uint32_t bytes_in_flight(const struct pqb_large *l)
{
    return pqb_frag_out_in_flight(&l->pieces) * PQB_FRAG_LEN;
}

// About when what is acknowledged or found lost now was sent.
static pqb_tstamp sent_before(const struct pqb_client *c, pqb_tstamp now)
{
    return now - PQB_MIN(now, c->channel.rtt.srtt);
}

static void clear_slot(struct pqb_client *c, struct pqb_large *l)
{
    if (l->msg == NULL)
        return;
    pqb_cc_on_discarded(&c->channel.cc, bytes_in_flight(l));
    free(l->content);
    *l = (struct pqb_large){0};
}

void pqb_large_clear(struct pqb_client *c)
{
    for (unsigned i = 0; i < PQB_CLIENT_LARGE_MAX; i++)
        clear_slot(c, &c->outbox.large[i]);
}

void pqb_large_forget(struct pqb_client *c, const struct pqb_outmsg *m)
{
    for (unsigned i = 0; i < PQB_CLIENT_LARGE_MAX; i++) {
        if (c->outbox.large[i].msg == m)
            clear_slot(c, &c->outbox.large[i]);
    }
}

static struct pqb_large *find_id(struct pqb_client *c, uint32_t id)
{
    for (unsigned i = 0; i < PQB_CLIENT_LARGE_MAX; i++) {
        if (c->outbox.large[i].msg != NULL && c->outbox.large[i].pieces.id == id)
            return &c->outbox.large[i];
    }
    return NULL;
}

static size_t capacity_for(const struct pqb_outmsg *m)
{
    return m->len + 512u;
}

// All pieces anew, under an id that no acknowledgement knows. The content is made anew, too: the
// message that it followed may be resolved by now, and one given up before it was sent is not known
// to the gateway, which would wait for it until it hears of a `low` above.
static void begin(struct pqb_client *c, struct pqb_large *l)
{
    struct pqb_frame frame;

    pqb_outbox_fill_frame(c, l->msg, &frame);
    l->len = (uint32_t)pqb_frame_encode_content(&frame, l->content, capacity_for(l->msg));
    PQB_ASSERT(l->len > 0);
    if (l->pieces.id != 0)
        pqb_cc_on_discarded(&c->channel.cc, bytes_in_flight(l));
    pqb_frag_out_init(&l->pieces, ++c->outbox.frag_id, PQB_FRAME_MSG_R, l->msg->seq, l->content,
                      l->len);
    l->hastened[0] = l->hastened[1] = 0;
    l->timer_from = PQB_NEVER;
}

static bool open_slot(struct pqb_client *c, struct pqb_large *l, struct pqb_outmsg *m)
{
    uint8_t *content = malloc(capacity_for(m));

    if (content == NULL)
        return false;
    *l = (struct pqb_large){.msg = m, .content = content};
    begin(c, l);
    return true;
}

bool pqb_large_is_out(const struct pqb_client *c, const struct pqb_outmsg *m)
{
    for (unsigned i = 0; i < PQB_CLIENT_LARGE_MAX; i++) {
        const struct pqb_large *l = &c->outbox.large[i];

        if (l->msg == m)
            return pqb_frag_out_next(&l->pieces) < 0;
    }
    return false;
}

static bool is_open(const struct pqb_client *c, const struct pqb_outmsg *m)
{
    for (unsigned i = 0; i < PQB_CLIENT_LARGE_MAX; i++) {
        if (c->outbox.large[i].msg == m)
            return true;
    }
    return false;
}

// The next large message that may travel: within the window, passed by `unmapped`, without a slot,
// behind nothing that has not left.
static struct pqb_outmsg *next_waiting(const struct pqb_client *c)
{
    bool is_walked = false;

    if (c->outbox.large_count == 0) // asked at every event, and mostly there is none
        return NULL;
    PQB_LIST_FOREACH (it, &c->outbox.queue) {
        struct pqb_outmsg *m = PQB_CONTAINER_OF(it, struct pqb_outmsg, link);

        if (it == c->outbox.unmapped)
            return NULL;
        if (!m->is_large || m->is_abandoned || is_open(c, m))
            continue;
        if (!is_walked)
            pqb_outbox_find_leaving(c);
        is_walked = true;
        if (m->may_leave)
            return m;
    }
    return NULL;
}

static void fill_slots(struct pqb_client *c)
{
    for (unsigned i = 0; i < PQB_CLIENT_LARGE_MAX; i++) {
        struct pqb_large *l = &c->outbox.large[i];

        if (l->msg == NULL) {
            struct pqb_outmsg *m = next_waiting(c);

            if (m == NULL)
                return;
            if (!open_slot(c, l, m)) {
                c->outbox.hold_until = pqb_tstamp_add(c->now, PQB_CLIENT_MEMORY_NS);
                return;
            }
        }
    }
}

// ------------------------------------------------------------------------------------- answers

// A piece that three later ones have overtaken is sent again, once before the timeout.
static void hasten(struct pqb_client *c, struct pqb_large *l, pqb_tstamp now)
{
    struct pqb_frag_out *p = &l->pieces;
    int highest = -1;

    for (int i = 0; i < (int)pqb_frag_out_count(p); i++) {
        if (p->acked[i / 64] >> (i % 64) & 1)
            highest = i;
    }
    for (int i = 0; i + PQB_SENT_REORDER <= highest; i++) {
        const uint64_t bit = UINT64_C(1) << (i % 64);

        if ((p->sent[i / 64] & ~p->acked[i / 64] & ~l->hastened[i / 64] & bit) == 0)
            continue;
        p->sent[i / 64] &= ~bit;
        l->hastened[i / 64] |= bit;
        pqb_cc_on_lost(&c->channel.cc, PQB_FRAG_LEN, sent_before(c, now), now);
    }
}

void pqb_large_on_ack(struct pqb_client *c, const struct pqb_frame_frag_a *f, pqb_tstamp now)
{
    struct pqb_large *l = find_id(c, f->id);

    if (l == NULL)
        return;
    const uint32_t before = bytes_in_flight(l);
    if (pqb_frag_out_on_ack(&l->pieces, &f->received) == 0)
        return;
    pqb_cc_on_acked(&c->channel.cc, before - bytes_in_flight(l), sent_before(c, now));
    l->backoffs = 0;
    l->timer_from = now;
    hasten(c, l, now);
}

void pqb_large_on_reset(struct pqb_client *c, uint32_t id, pqb_tstamp now)
{
    struct pqb_large *l = find_id(c, id);

    if (l == NULL)
        return;
    begin(c, l);
    // The gateway is short of room: not at once, or the two would chase each other.
    l->hold_until = pqb_tstamp_add(now, pqb_rtt_rto(&c->channel.rtt, PQB_MIN(l->backoffs, 6u)));
    l->backoffs++;
}

void pqb_large_on_nack(struct pqb_client *c, const struct pqb_outmsg *m, pqb_tstamp now)
{
    for (unsigned i = 0; i < PQB_CLIENT_LARGE_MAX; i++) {
        if (c->outbox.large[i].msg == m)
            pqb_large_on_reset(c, c->outbox.large[i].pieces.id, now);
    }
}

// ------------------------------------------------------------------------------------- timeout

static pqb_tstamp due(const struct pqb_client *c, const struct pqb_large *l)
{
    if (l->msg == NULL || l->timer_from == PQB_NEVER)
        return PQB_NEVER;
    return pqb_tstamp_add(l->timer_from, pqb_rtt_rto(&c->channel.rtt, l->backoffs));
}

static void on_due(struct pqb_client *c, struct pqb_large *l, pqb_tstamp now)
{
    if (++l->backoffs > PQB_SENT_ATTEMPTS_MAX) {
        pqb_client_end(c, PQB_REASON_GIVE_UP);
        return;
    }
    if (pqb_frag_out_is_all_acked(&l->pieces)) {
        begin(c, l);
        return;
    }
    if (bytes_in_flight(l) > 0)
        pqb_cc_on_lost(&c->channel.cc, bytes_in_flight(l), l->timer_from, now);
    pqb_frag_out_on_lost(&l->pieces);
    l->hastened[0] = l->hastened[1] = 0;
    l->timer_from = now;
}

void pqb_large_on_timeout(struct pqb_client *c, pqb_tstamp now)
{
    for (unsigned i = 0; i < PQB_CLIENT_LARGE_MAX; i++) {
        if (due(c, &c->outbox.large[i]) <= now)
            on_due(c, &c->outbox.large[i], now);
    }
}

// ------------------------------------------------------------------------------------- sending

static void count_sent(struct pqb_client *c, struct pqb_large *l)
{
    if (l->pieces.id == c->outbox.frag_id && l->backoffs == 0)
        c->stats.sent++;
    else
        c->stats.retransmitted++;
    l->msg->is_fresh = false;
}

// Pieces of one message; returns the bytes written.
static size_t write_pieces(struct pqb_client *c, struct pqb_large *l, uint8_t *out, size_t room,
                           pqb_tstamp now)
{
    size_t used = 0;
    int index;

    while ((index = pqb_frag_out_next(&l->pieces)) >= 0) {
        struct pqb_frame frame;

        pqb_frag_out_get(&l->pieces, (unsigned)index, l->content, &frame);
        const size_t len = pqb_frame_encode(&frame, out + used, room - used);
        if (len == 0)
            break;
        if (!pqb_cc_may_send(&c->channel.cc, PQB_FRAG_LEN, now))
            break;
        pqb_cc_on_sent(&c->channel.cc, PQB_FRAG_LEN, &c->channel.rtt, now);
        pqb_frag_out_on_sent(&l->pieces, (unsigned)index);
        if (l->timer_from == PQB_NEVER)
            l->timer_from = now;
        count_sent(c, l);
        used += len;
    }
    return used;
}

size_t pqb_large_write(struct pqb_client *c, uint8_t *out, size_t room, pqb_tstamp now)
{
    size_t used = 0;

    if (c->outbox.epoch == 0 || now < c->outbox.hold_until)
        return 0;
    fill_slots(c);
    for (unsigned i = 0; i < PQB_CLIENT_LARGE_MAX; i++) {
        struct pqb_large *l = &c->outbox.large[i];

        if (l->msg != NULL && now >= l->hold_until)
            used += write_pieces(c, l, out + used, room - used, now);
    }
    return used;
}

pqb_tstamp pqb_large_deadline(const struct pqb_client *c)
{
    pqb_tstamp at = PQB_NEVER;
    bool is_slot_free = false;

    if (c->outbox.epoch == 0)
        return PQB_NEVER;
    for (unsigned i = 0; i < PQB_CLIENT_LARGE_MAX; i++) {
        const struct pqb_large *l = &c->outbox.large[i];

        is_slot_free |= l->msg == NULL;
        if (l->msg == NULL)
            continue;
        at = PQB_MIN(at, due(c, l));
        if (pqb_frag_out_next(&l->pieces) >= 0)
            at = PQB_MIN(at, PQB_MAX(PQB_MAX(l->hold_until, c->outbox.hold_until),
                                     pqb_client_may_send_at(c, PQB_FRAG_LEN)));
    }
    if (is_slot_free && next_waiting(c) != NULL)
        at = PQB_MIN(at, c->outbox.hold_until);
    return at;
}
