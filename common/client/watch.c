// Accepted messages whose delivery is still awaited. The gateway's ack:N is a hint that may be
// lost; stat:R with the receipt asks for the truth, at a low rate.
#include <stdlib.h>
#include <string.h>

#include "common/client/impl.h"

static struct pqb_watch *watch_of(struct pqb_list *link)
{
    return PQB_CONTAINER_OF(link, struct pqb_watch, link);
}

void pqb_watch_init(struct pqb_client *c)
{
    pqb_list_init(&c->watches.list);
    c->watches.at = PQB_NEVER;
    c->watches.interval = PQB_CLIENT_WATCH_NS;
}

static void drop(struct pqb_client *c, struct pqb_watch *w)
{
    pqb_list_unlink(&w->link);
    c->watches.count--;
    free(w);
}

void pqb_watch_clear(struct pqb_client *c)
{
    struct pqb_list *it;

    while ((it = pqb_list_pop_front(&c->watches.list)) != NULL)
        free(watch_of(it));
    c->watches.count = 0;
    c->watches.to_ask = 0;
    c->watches.at = PQB_NEVER;
}

void pqb_watch_add(struct pqb_client *c, const struct pqb_outmsg *m,
                   const struct pqb_frame_msg_a *f, pqb_tstamp now)
{
    struct pqb_watches *all = &c->watches;
    struct pqb_watch *w;

    if (c->watch_max == 0)
        return;
    if (all->count >= c->watch_max) {
        c->stats.watch_dropped++;
        drop(c, watch_of(all->list.next));
    }
    w = malloc(sizeof(*w) + m->to_len);
    if (w == NULL) {
        c->stats.watch_dropped++;
        return;
    }
    *w = (struct pqb_watch){.seq = m->seq, .state = f->state, .to_len = m->to_len};
    memcpy(w->receipt, f->receipt, PQB_RECEIPT_LEN);
    memcpy(w->to, m->content, m->to_len);
    pqb_list_push_back(&all->list, &w->link);
    all->count++;
    if (all->interval > PQB_CLIENT_WATCH_NS || all->at == PQB_NEVER) {
        all->interval = PQB_CLIENT_WATCH_NS;
        all->at = PQB_MIN(all->at, pqb_tstamp_add(now, all->interval));
    }
}

void pqb_watch_on_session(struct pqb_client *c, pqb_tstamp now)
{
    struct pqb_watches *all = &c->watches;

    // Hints were missed while there was no session.
    all->to_ask = 0;
    all->interval = PQB_CLIENT_WATCH_NS;
    all->at = all->count == 0
                  ? PQB_NEVER
                  : pqb_tstamp_add(now, PQB_NS_PER_SEC + pqb_client_jitter(c, PQB_NS_PER_SEC));
}

// The new state of one watched message; states only move forward.
static void advance(struct pqb_client *c, struct pqb_watch *w, uint8_t state)
{
    const uint64_t seq = w->seq;

    if (state <= w->state || state > PQB_STATE_READ)
        return;
    w->state = state;
    if (state >= PQB_STATE_DELIVERED)
        drop(c, w);
    if (c->callbacks.on_receipt != NULL)
        c->callbacks.on_receipt(c->ctx, seq, (enum pqb_client_receipt)state, 0);
}

static struct pqb_watch *find_in(const struct pqb_client *c, uint64_t first, uint64_t last,
                                 uint8_t below)
{
    PQB_LIST_FOREACH (it, &c->watches.list) {
        struct pqb_watch *w = watch_of(it);

        if (w->seq >= first && w->seq <= last && w->state < below)
            return w;
    }
    return NULL;
}

void pqb_watch_forget(struct pqb_client *c, uint64_t from, uint64_t to)
{
    struct pqb_watch *w;

    while ((w = find_in(c, from, to, UINT8_MAX)) != NULL)
        drop(c, w);
}

void pqb_watch_on_ack_n(struct pqb_client *c, const struct pqb_frame_ack_n *f)
{
    struct pqb_watch *w;

    if (f->state > PQB_STATE_READ)
        return;
    // The callback may add and drop watches, hence the search from the start each time.
    for (size_t i = 0; i < f->seqs.count; i++) {
        while ((w = find_in(c, f->seqs.at[i].first, f->seqs.at[i].last, f->state)) != NULL)
            advance(c, w, f->state);
    }
}

void pqb_watch_on_stat_a(struct pqb_client *c, const struct pqb_frame_msg_a *f)
{
    struct pqb_watch *w = find_in(c, f->seq, f->seq, PQB_STATE_READ);

    if (w != NULL)
        advance(c, w, f->state);
}

void pqb_watch_on_timeout(struct pqb_client *c, pqb_tstamp now)
{
    struct pqb_watches *all = &c->watches;

    if (now < all->at || c->state != PQB_CLIENT_ONLINE)
        return;
    if (all->count == 0) {
        all->at = PQB_NEVER;
        return;
    }
    all->to_ask = PQB_MIN(all->count, (uint32_t)PQB_CLIENT_WATCH_ASK);
    all->at = pqb_tstamp_add(now, all->interval + pqb_client_jitter(c, all->interval / 4));
    all->interval = PQB_MIN(all->interval * 2, PQB_CLIENT_WATCH_MAX_NS);
}

// Asked ones go to the end of the line; a lost answer is made up for in a later round.
size_t pqb_watch_write(struct pqb_client *c, uint8_t *out, size_t room)
{
    struct pqb_watches *all = &c->watches;
    size_t used = 0;

    all->to_ask = PQB_MIN(all->to_ask, all->count);
    for (; all->to_ask > 0; all->to_ask--) {
        struct pqb_watch *w = watch_of(all->list.next);
        struct pqb_frame frame = {.type = PQB_FRAME_STAT_R};

        frame.stat_r =
            (struct pqb_frame_stat_r){.seq = w->seq, .to = {w->to, w->to_len}, .has_receipt = true};
        memcpy(frame.stat_r.receipt, w->receipt, PQB_RECEIPT_LEN);
        const size_t len = pqb_frame_encode(&frame, out + used, room - used);
        if (len == 0)
            break;
        used += len;
        pqb_list_unlink(&w->link);
        pqb_list_push_back(&all->list, &w->link);
    }
    return used;
}
