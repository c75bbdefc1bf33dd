// The durable queue: what was sent and is not resolved. A message is in the store before it is in
// the queue, leaves both together, and travels only while low <= seq < low + PQB_SEQ_WINDOW.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/err.h"
#include "common/base/mutant.h"
#include "common/client/impl.h"

// msgpack's headers and integers of a msg:R at their longest.
#define MSG_R_OVERHEAD (1 + 3 * 9 + 2 + 3 + 2 + 5)

// A message repeated so often before its timeout waits for it from then on.
#define OVERDUE_MAX    4
#define OVERDUE_MIN_NS (1 * PQB_NS_PER_MS)

static struct pqb_outmsg *outmsg_of(struct pqb_list *link)
{
    return PQB_CONTAINER_OF(link, struct pqb_outmsg, link);
}

// The message that an item of the sent map stands for.
static struct pqb_outmsg *outmsg_in(const struct pqb_sent *item)
{
    struct pqb_outmsg *m;

    static_assert(sizeof(m) <= sizeof(item->aux), "a pointer fits into aux");
    memcpy(&m, &item->aux, sizeof(m));
    return m;
}

void pqb_outbox_init(struct pqb_client *c)
{
    struct pqb_outbox *o = &c->outbox;

    pqb_list_init(&o->queue);
    pqb_list_init(&o->ephemeral);
    o->unmapped = &o->queue;
    o->next_seq = o->low_durable = 1;
    pqb_sent_map_init(&o->sent);
    pqb_attempt_done(&o->skip);
}

static void clear_ephemeral(struct pqb_outbox *o)
{
    struct pqb_list *it;

    while ((it = pqb_list_pop_front(&o->ephemeral)) != NULL)
        free(outmsg_of(it));
    o->ephemeral_count = 0;
}

void pqb_outbox_fini(struct pqb_client *c)
{
    struct pqb_list *it;

    pqb_large_clear(c);
    pqb_sent_map_fini(&c->outbox.sent, &c->channel.cc);
    while ((it = pqb_list_pop_front(&c->outbox.queue)) != NULL)
        free(outmsg_of(it));
    clear_ephemeral(&c->outbox);
}

uint64_t pqb_outbox_low(const struct pqb_client *c)
{
    const struct pqb_outbox *o = &c->outbox;

    return pqb_list_is_empty(&o->queue) ? o->next_seq : outmsg_of(o->queue.next)->seq;
}

struct pqb_outmsg *pqb_outbox_find(const struct pqb_client *c, uint64_t seq)
{
    PQB_LIST_FOREACH (it, &c->outbox.queue) {
        struct pqb_outmsg *m = outmsg_of(it);

        if (m->seq >= seq)
            return m->seq == seq ? m : NULL;
    }
    return NULL;
}

// -------------------------------------------------------------------------------- in and out

static struct pqb_outmsg *make(const struct pqb_client_pending *p, uint64_t seq)
{
    const size_t to_len = strlen(p->to);
    struct pqb_outmsg *m = malloc(sizeof(*m) + to_len + 1 + p->len);

    if (m == NULL)
        return NULL;
    *m = (struct pqb_outmsg){
        .seq = seq,
        .to_hash = pqb_crc32c(0, p->to, to_len),
        .len = (uint32_t)p->len,
        .kind = p->kind,
        .to_len = (uint8_t)to_len,
        .is_fresh = true,
        .is_large = MSG_R_OVERHEAD + to_len + p->len > PQB_FRAME_CONTENT_MAX,
    };
    memcpy(m->content, p->to, to_len + 1);
    if (p->len > 0)
        memcpy(m->content + to_len + 1, p->body, p->len);
    return m;
}

// The latest queued message to the same recipient. Equal hashes of two names only order more than
// is needed.
static struct pqb_outmsg *leader_for(const struct pqb_outbox *o, uint32_t to_hash)
{
    for (struct pqb_list *it = o->queue.prev; it != &o->queue; it = it->prev) {
        struct pqb_outmsg *m = outmsg_of(it);

        if (m->to_hash == to_hash)
            return m;
    }
    return NULL;
}

static void append(struct pqb_outbox *o, struct pqb_outmsg *m)
{
    PQB_ASSERT(m->seq >= o->next_seq);
    m->leader = leader_for(o, m->to_hash);
    pqb_list_push_back(&o->queue, &m->link);
    if (o->unmapped == &o->queue)
        o->unmapped = &m->link;
    o->count++;
    o->large_count += m->is_large;
    o->bytes += m->len;
    o->next_seq = m->seq + 1;
}

bool pqb_outbox_load(void *client, const struct pqb_client_pending *pending)
{
    struct pqb_client *c = client;
    struct pqb_outmsg *m = make(pending, pending->seq);

    if (m == NULL)
        return false;
    append(&c->outbox, m);
    return true;
}

int pqb_outbox_send(struct pqb_client *c, const struct pqb_client_pending *pending, uint64_t *id)
{
    struct pqb_outbox *o = &c->outbox;
    struct pqb_client_pending record = *pending;
    struct pqb_outmsg *m;
    int err;

    if (o->count >= c->queue_max || o->bytes + pending->len > c->queue_bytes_max)
        return PQB_ERR_FULL;
    m = make(pending, o->next_seq);
    if (m == NULL)
        return PQB_ERR_NOMEM;
    record.seq = m->seq;
    err = c->store->put(c->store->ctx, &record);
    if (err != PQB_OK) {
        free(m);
        return err;
    }
    const uint64_t low = pqb_outbox_low(c); // of the drops that this put made durable
    append(o, m);
    o->low_durable = low;
    o->is_drop_pending = false;
    if (id != NULL)
        *id = m->seq;
    return PQB_OK;
}

int pqb_outbox_send_ephemeral(struct pqb_client *c, const struct pqb_client_pending *pending)
{
    struct pqb_outbox *o = &c->outbox;
    struct pqb_outmsg *m;

    if (c->state != PQB_CLIENT_ONLINE)
        return PQB_ERR_AGAIN;
    if (o->ephemeral_count >= PQB_CLIENT_EPHEMERAL_MAX)
        return PQB_ERR_FULL;
    m = make(pending, 0);
    if (m == NULL)
        return PQB_ERR_NOMEM;
    if (m->is_large) {
        free(m);
        return PQB_ERR_TOO_LARGE;
    }
    pqb_list_push_back(&o->ephemeral, &m->link);
    o->ephemeral_count++;
    return PQB_OK;
}

// Before the message is resolved. false: the store kept it, and so must the queue, or the next low
// that is told would leave behind what comes back with the next start.
static bool drop_stored(struct pqb_client *c, const struct pqb_outmsg *m)
{
    if (c->store->drop(c->store->ctx, m->seq) != PQB_OK) {
        pqb_client_end(c, PQB_REASON_STORE);
        return false;
    }
    c->outbox.is_drop_pending = true;
    return true;
}

// Takes the message out of everything and frees it. Whoever follows it in its conversation now
// follows what it followed.
static void resolve(struct pqb_client *c, struct pqb_outmsg *m, pqb_tstamp now)
{
    struct pqb_outbox *o = &c->outbox;

    for (struct pqb_list *it = m->link.next; it != &o->queue; it = it->next) {
        struct pqb_outmsg *next = outmsg_of(it);

        if (next->leader == m) {
            next->leader = m->leader;
            if (next->is_abandoned)
                pqb_attempt_ask_by(&o->skip, now);
            break;
        }
    }
    if (o->unmapped == &m->link)
        o->unmapped = m->link.next;
    if (m->is_mapped) {
        o->unsent_count -= !m->is_sent;
        pqb_sent_map_on_done(&o->sent, m->seq, &c->channel, now);
    }
    if (m->is_large)
        pqb_large_forget(c, m);
    if (m->is_abandoned)
        o->abandoned_count--;
    pqb_list_unlink(&m->link);
    o->count--;
    o->large_count -= m->is_large;
    o->bytes -= m->len;
    free(m);
}

static void tell(struct pqb_client *c, uint64_t seq, unsigned receipt, unsigned refusal)
{
    if (c->callbacks.on_receipt != NULL)
        c->callbacks.on_receipt(c->ctx, seq, (enum pqb_client_receipt)receipt, refusal);
}

// ------------------------------------------------------------------------------------- answers

// The gateway told the true end of a message.
static void on_truth(struct pqb_client *c, const struct pqb_frame_msg_a *f, pqb_tstamp now)
{
    struct pqb_outmsg *m = pqb_outbox_find(c, f->seq);

    // What was not sent in this epoch can't have an answer.
    if (m == NULL || m->is_fresh || f->state == PQB_STATE_UNKNOWN || !drop_stored(c, m))
        return;
    if (f->state <= PQB_STATE_READ)
        pqb_accepted_record(&c->outbox.accepted, f->seq);
    if (f->state < PQB_STATE_DELIVERED && f->has_receipt)
        pqb_watch_add(c, m, f, now);
    resolve(c, m, now);
    tell(c, f->seq, f->state, 0);
}

void pqb_outbox_on_msg_a(struct pqb_client *c, const struct pqb_frame_msg_a *f, pqb_tstamp now)
{
    on_truth(c, f, now);
}

// Too late to give it up: its seq was used. That says nothing of the message yet, a copy of this
// queue may have used it for another. The answer to a msg:R does: it compares the hash, and brings
// the receipt, or the reason of a refusal.
static void on_used(struct pqb_client *c, struct pqb_outmsg *m)
{
    struct pqb_outbox *o = &c->outbox;
    struct pqb_sent *item = m->is_mapped ? pqb_sent_map_find(&o->sent, m->seq) : NULL;

    m->is_abandoned = false;
    o->abandoned_count--;
    if (item != NULL && !item->is_lost && item->transmissions > 0)
        pqb_sent_map_mark_lost(&o->sent, item, &c->channel);
}

void pqb_outbox_on_skip_a(struct pqb_client *c, const struct pqb_frame_skip_a *f, pqb_tstamp now)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct pqb_frame_msg_a truth = {.seq = f->at[i].seq, .state = f->at[i].state};
        struct pqb_outmsg *m = pqb_outbox_find(c, f->at[i].seq);

        if (truth.state == PQB_STATE_ABANDONED)
            on_truth(c, &truth, now);
        else if (m != NULL && m->is_abandoned && truth.state != PQB_STATE_UNKNOWN)
            on_used(c, m);
    }
    if (c->outbox.abandoned_count == 0)
        pqb_attempt_done(&c->outbox.skip);
    else if (f->count > 0)
        pqb_attempt_ask_by(&c->outbox.skip, pqb_tstamp_add(now, PQB_NS_PER_SEC));
}

static pqb_tstamp retry_time(struct pqb_client *c, uint32_t retry_after_ms, pqb_tstamp now)
{
    const pqb_duration wait = retry_after_ms != 0 ? PQB_MIN(retry_after_ms, 60000u) * PQB_NS_PER_MS
                                                  : pqb_rtt_rto(&c->channel.rtt, 0);

    return pqb_tstamp_add(now, wait + pqb_client_jitter(c, wait / 4));
}

// Not now: the message stays queued and is sent again after a pause.
static void on_transient(struct pqb_client *c, struct pqb_outmsg *m, const struct pqb_frame_nack *f,
                         pqb_tstamp now)
{
    struct pqb_sent *item = m->is_mapped ? pqb_sent_map_find(&c->outbox.sent, m->seq) : NULL;

    c->stats.nacked++;
    if (m->is_large)
        pqb_large_on_nack(c, m, now);
    if (item != NULL && !item->is_lost && item->transmissions > 0)
        pqb_sent_map_mark_lost(&c->outbox.sent, item, &c->channel);
    if (f->reason != PQB_NACK_ORDER || item == NULL || m->leader == NULL) {
        c->outbox.hold_until = retry_time(c, f->retry_after_ms, now);
        return;
    }
    // Only this one waits: a pause of all would hold up the very one that is missing.
    m->overtook_at = now;
    m->retry_at = retry_time(c, f->retry_after_ms, now);
}

void pqb_outbox_on_nack(struct pqb_client *c, const struct pqb_frame_nack *f, pqb_tstamp now)
{
    struct pqb_outmsg *m = pqb_outbox_find(c, f->ref);

    if (m == NULL || m->is_fresh) // resolved before: a late refusal of a repeat
        return;
    if (f->reason == PQB_NACK_CONFLICT) {
        pqb_outbox_on_rollback(c);
        pqb_client_end(c, PQB_REASON_EPOCH);
    } else if (f->reason == PQB_NACK_EPOCH) {
        pqb_client_end(c, PQB_REASON_EPOCH); // the next RESP tells which epoch is the right one
    } else if (pqb_nack_reason_is_final(f->reason)) {
        if (!drop_stored(c, m))
            return;
        resolve(c, m, now);
        tell(c, f->ref, PQB_RECEIPT_REFUSED, f->reason);
    } else {
        on_transient(c, m, f, now);
    }
}

int pqb_outbox_abandon(struct pqb_client *c, uint64_t seq)
{
    struct pqb_outmsg *m = pqb_outbox_find(c, seq);

    if (m == NULL)
        return PQB_ERR_NOT_FOUND;
    if (m->is_fresh) { // nobody has seen its seq, nor will: the drop is durable before it is told
        if (!drop_stored(c, m))
            return PQB_OK;
        resolve(c, m, c->now);
        if (!pqb_client_sync(c))
            return PQB_OK;
        tell(c, seq, PQB_RECEIPT_ABANDONED, 0);
        return PQB_OK;
    }
    if (!m->is_abandoned) {
        m->is_abandoned = true;
        c->outbox.abandoned_count++;
    }
    pqb_attempt_ask(&c->outbox.skip);
    return PQB_OK;
}

// --------------------------------------------------------------------------------------- epoch

void pqb_outbox_on_rollback(struct pqb_client *c)
{
    struct pqb_outbox *o = &c->outbox;
    const uint64_t end = o->next_seq;

    // Also what this process never sent: its disk may have been copied, and the copy has sent it.
    // Told first, then forgotten, then the epoch: a crash in between tells again, never loses. The
    // callback may change the queue, hence the look at its start each time.
    while (!pqb_list_is_empty(&o->queue) && outmsg_of(o->queue.next)->seq < end &&
           !PQB_MUTANT(UNCERTAIN_IS_SENT)) {
        struct pqb_outmsg *m = outmsg_of(o->queue.next);

        tell(c, m->seq, PQB_RECEIPT_UNCERTAIN, 0);
        if (!drop_stored(c, m))
            return;
        resolve(c, m, c->now);
    }
    // The receipts of accepted messages open only in the epoch they were given in.
    pqb_watch_clear(c);
    pqb_accepted_clear(&o->accepted);
    (void)pqb_outbox_set_epoch(c, 0);
}

bool pqb_outbox_set_epoch(struct pqb_client *c, uint32_t epoch)
{
    struct pqb_outbox *o = &c->outbox;

    if (c->store->set_epoch(c->store->ctx, epoch) != PQB_OK) {
        pqb_client_end(c, PQB_REASON_STORE);
        return false;
    }
    o->epoch = epoch;
    o->is_drop_pending = false;
    o->low_durable = pqb_outbox_low(c);
    return true;
}

// ------------------------------------------------------------------------------------- sending

void pqb_outbox_on_session(struct pqb_client *c)
{
    struct pqb_outbox *o = &c->outbox;

    pqb_large_clear(c);
    pqb_sent_map_fini(&o->sent, &c->channel.cc);
    pqb_sent_map_init(&o->sent);
    clear_ephemeral(o);
    PQB_LIST_FOREACH (it, &o->queue) {
        outmsg_of(it)->is_mapped = outmsg_of(it)->is_sent = false;
        outmsg_of(it)->overtook_at = 0;
    }
    o->unsent_count = 0;
    o->refused_len = 0;
    o->unmapped = o->queue.next;
    o->hold_until = 0;
    o->frag_id = 0;
    if (o->abandoned_count > 0)
        pqb_attempt_ask(&o->skip);
    else
        pqb_attempt_done(&o->skip);
}

void pqb_outbox_fill_frame(const struct pqb_client *c, const struct pqb_outmsg *m,
                           struct pqb_frame *out)
{
    *out = (struct pqb_frame){.type = PQB_FRAME_MSG_R};
    out->msg_r = (struct pqb_frame_msg_r){
        .seq = m->seq,
        .low = PQB_MUTANT(LOW_BEFORE_SYNC) ? pqb_outbox_low(c) : c->outbox.low_durable,
        .after = m->leader != NULL ? m->leader->seq : 0,
        .flags = m->seq == 0 ? PQB_MSG_EPHEMERAL : 0,
        .kind = m->kind,
        .to = {m->content, m->to_len},
        .body = {(const uint8_t *)m->content + m->to_len + 1, m->len},
    };
}

// Hands messages within the window to the sent map, in order. Large ones travel by themselves.
static void map_more(struct pqb_client *c)
{
    struct pqb_outbox *o = &c->outbox;

    while (o->unmapped != &o->queue && o->sent.count < PQB_SENT_MAX) {
        struct pqb_outmsg *m = outmsg_of(o->unmapped);

        if (m->seq >= o->low_durable + PQB_SEQ_WINDOW &&
            (pqb_outbox_low(c) == o->low_durable || !pqb_client_sync(c)))
            return;
        if (m->seq >= o->low_durable + PQB_SEQ_WINDOW)
            return;
        if (!m->is_large) {
            uint64_t aux = 0;

            memcpy(&aux, &m, sizeof(m));
            if (pqb_sent_map_push(&o->sent, m->seq, aux) != PQB_OK) {
                o->hold_until = pqb_tstamp_add(c->now, PQB_CLIENT_MEMORY_NS);
                return;
            }
            m->is_mapped = true;
            o->unsent_count++;
        }
        o->unmapped = o->unmapped->next;
    }
}

static void count_sent(struct pqb_client *c, struct pqb_outmsg *m)
{
    m->overtook_at = 0;
    if (m->is_sent) {
        c->stats.retransmitted++;
        return;
    }
    c->stats.sent++;
    c->outbox.unsent_count--;
    m->is_sent = true;
    m->is_fresh = false;
}

// A message that overtook its leader goes again right behind it, and not before.
static bool is_leader_ahead(const struct pqb_client *c, const struct pqb_outmsg *m)
{
    const struct pqb_sent *leader;

    if (m->overtook_at == 0 || m->leader == NULL || c->now >= m->retry_at)
        return true;
    leader = pqb_sent_map_find(&c->outbox.sent, m->leader->seq);
    return leader != NULL && leader->transmissions > 0 && !leader->is_lost &&
           leader->sent_at >= m->overtook_at;
}

// When the first of those that wait for their leader waits no longer.
static pqb_tstamp overtaker_deadline(const struct pqb_client *c)
{
    const struct pqb_sent_map *sent = &c->outbox.sent;
    pqb_tstamp at = PQB_NEVER;

    for (uint32_t i = sent->settled; sent->lost_count > 0 && i < sent->count; i++) {
        const struct pqb_outmsg *m = outmsg_in(pqb_sent_map_at(sent, i));

        if (m->overtook_at != 0 && m->retry_at > c->now)
            at = PQB_MIN(at, m->retry_at);
    }
    return at;
}

// Walks the queue as far as it may travel and finds out for each message whether it may leave: the
// gateway holds a message until all that it follows has come, so one that leaves earlier only takes
// up the window and the rate, and may keep the ones before it from leaving. Returns the lowest one
// that is to be sent (again) and may leave.
static struct pqb_sent *walk(const struct pqb_client *c, bool is_first_enough)
{
    const struct pqb_outbox *o = &c->outbox;
    struct pqb_sent *first = NULL;
    uint32_t at = 0;

    for (struct pqb_list *it = o->queue.next; it != &o->queue && it != o->unmapped; it = it->next) {
        struct pqb_outmsg *m = outmsg_of(it);

        m->may_leave = m->leader == NULL || (m->leader->may_leave && m->leader->is_away);
        m->is_away = m->is_large && pqb_large_is_out(c, m);
        if (!m->is_mapped)
            continue;
        while (pqb_sent_map_at(&o->sent, at)->key < m->seq)
            at++;
        struct pqb_sent *item = pqb_sent_map_at(&o->sent, at);
        m->is_away = item->transmissions > 0 && !item->is_lost;
        if (first == NULL && !m->is_away && !item->is_acked && m->may_leave &&
            is_leader_ahead(c, m))
            first = item;
        if (first != NULL && is_first_enough)
            break;
    }
    return first;
}

void pqb_outbox_find_leaving(const struct pqb_client *c)
{
    (void)walk(c, false);
}

static struct pqb_sent *next_item(const struct pqb_client *c)
{
    if (c->outbox.sent.lost_count == 0 && c->outbox.unsent_count == 0)
        return NULL;
    return walk(c, true);
}

size_t pqb_outbox_write(struct pqb_client *c, uint8_t *out, size_t room, pqb_tstamp now)
{
    struct pqb_outbox *o = &c->outbox;
    struct pqb_frame frame;
    struct pqb_sent *item;
    size_t used = 0;

    if (o->epoch == 0 || now < o->hold_until)
        return 0;
    map_more(c);
    (void)pqb_sent_map_next(&o->sent); // steps over what is settled
    while ((item = next_item(c)) != NULL) {
        struct pqb_outmsg *m = outmsg_in(item);

        pqb_outbox_fill_frame(c, m, &frame);
        // Measured before it is asked for: the window counts what really leaves.
        const size_t len = pqb_frame_encode(&frame, out + used, room - used);
        if (len == 0)
            break;
        if (!pqb_cc_may_send(&c->channel.cc, (uint32_t)len, now)) {
            o->refused_len = (uint32_t)len;
            break;
        }
        count_sent(c, m);
        pqb_sent_map_on_sent(&o->sent, item, (uint32_t)len, &c->channel, now);
        used += len;
    }
    return used;
}

size_t pqb_outbox_write_ephemeral(struct pqb_client *c, uint8_t *out, size_t room)
{
    struct pqb_outbox *o = &c->outbox;
    struct pqb_frame frame;
    struct pqb_list *it;
    size_t used = 0;

    while ((it = pqb_list_pop_front(&o->ephemeral)) != NULL) {
        pqb_outbox_fill_frame(c, outmsg_of(it), &frame);
        const size_t len = pqb_frame_encode(&frame, out + used, room - used);
        if (len == 0) {
            pqb_list_push_front(&o->ephemeral, it);
            break;
        }
        used += len;
        o->ephemeral_count--;
        free(outmsg_of(it));
    }
    return used;
}

// Whoever follows a skipped message goes ahead at once, also past what that one had to follow. So a
// message is given up only after its leader, or together with it.
static bool may_skip(const struct pqb_ranges *seqs, const struct pqb_outmsg *m)
{
    if (m->leader == NULL)
        return true;
    for (size_t i = 0; i < seqs->count; i++) {
        if (seqs->at[i].first == m->leader->seq)
            return true;
    }
    return false;
}

size_t pqb_outbox_write_skip(struct pqb_client *c, uint8_t *out, size_t room, pqb_tstamp now)
{
    struct pqb_outbox *o = &c->outbox;
    struct pqb_frame frame = {.type = PQB_FRAME_SKIP_R};
    struct pqb_ranges *seqs = &frame.skip_r.seqs;
    size_t len;

    if (o->epoch == 0 || !pqb_attempt_is_due(&o->skip, now))
        return 0;
    frame.skip_r.low = o->low_durable;
    PQB_LIST_FOREACH (it, &o->queue) {
        const struct pqb_outmsg *m = outmsg_of(it);

        if (seqs->count == PQB_SKIP_MAX || m->seq >= o->low_durable + PQB_SEQ_WINDOW)
            break;
        if (m->is_abandoned && may_skip(seqs, m))
            seqs->at[seqs->count++] = (struct pqb_range){m->seq, m->seq};
    }
    if (seqs->count == 0) { // asked again when a leader is resolved
        pqb_attempt_done(&o->skip);
        return 0;
    }
    len = pqb_frame_encode(&frame, out, room);
    if (len > 0)
        pqb_attempt_on_sent(&o->skip, c, now);
    return len;
}

// The lowest message while it is in flight and something sent later has arrived; else NULL. It
// follows nothing, so the gateway owes it an answer; what follows it gets none before that and
// cannot show that it is missing.
static const struct pqb_sent *overtaken_first(const struct pqb_outbox *o,
                                              const struct pqb_channel *channel)
{
    const struct pqb_sent *item;

    if (o->sent.count == 0 || o->sent.acked_rtt == 0)
        return NULL;
    item = pqb_sent_map_at(&o->sent, 0);
    if (outmsg_of(o->queue.next) != outmsg_in(item) || item->transmissions == 0 || item->is_lost)
        return NULL;
    return pqb_channel_is_overtaken(channel, item->order) ? item : NULL;
}

// When its answer is overdue: the timeout without its floor, but never sooner than the last answer
// came, whose commit took its time, too; twice that for every repeat.
static pqb_tstamp overdue_at(const struct pqb_outbox *o, const struct pqb_channel *channel)
{
    const struct pqb_sent *item = overtaken_first(o, channel);
    const struct pqb_rtt *rtt = &channel->rtt;
    pqb_duration patience;

    if (item == NULL || item->transmissions > OVERDUE_MAX)
        return PQB_NEVER;
    patience = PQB_MAX(o->sent.acked_rtt, rtt->srtt) + PQB_MAX(4 * rtt->rttvar, OVERDUE_MIN_NS);
    return pqb_tstamp_add(item->sent_at, patience << (item->transmissions - 1));
}

void pqb_outbox_on_timeout(struct pqb_client *c, pqb_tstamp now)
{
    struct pqb_outbox *o = &c->outbox;

    if (now >= overdue_at(o, &c->channel)) {
        pqb_sent_map_on_overdue(&o->sent, overtaken_first(o, &c->channel), &c->channel, now);
        return;
    }
    const enum pqb_sent_verdict verdict =
        pqb_sent_map_on_timeout(&o->sent, &c->channel, o->jitter, now);

    if (verdict == PQB_SENT_WAIT)
        return;
    o->jitter = pqb_rng_unit(&c->rng);
    if (verdict == PQB_SENT_GIVE_UP)
        pqb_client_end(c, PQB_REASON_GIVE_UP);
}

static bool may_map_more(const struct pqb_outbox *o, uint64_t low)
{
    if (o->unmapped == &o->queue || o->sent.count >= PQB_SENT_MAX)
        return false;
    return outmsg_of(o->unmapped)->seq < low + PQB_SEQ_WINDOW;
}

pqb_tstamp pqb_outbox_deadline(const struct pqb_client *c)
{
    const struct pqb_outbox *o = &c->outbox;
    pqb_tstamp at = PQB_NEVER;

    if (!pqb_list_is_empty(&o->ephemeral))
        return 0;
    if (o->epoch == 0)
        return PQB_NEVER;
    at = PQB_MIN(o->skip.at, pqb_sent_map_deadline(&o->sent, &c->channel, o->jitter));
    at = PQB_MIN(at, overdue_at(o, &c->channel));
    if (may_map_more(o, pqb_outbox_low(c)) || next_item(c) != NULL)
        at = PQB_MIN(at, PQB_MAX(o->hold_until, pqb_client_may_send_at(c, o->refused_len)));
    return PQB_MIN(at, overtaker_deadline(c));
}
