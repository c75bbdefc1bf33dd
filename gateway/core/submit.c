// msg:R on its way to the writer and back: checks, the in-flight set, holds for `after`, answers.
#include <string.h>

#include "common/base/crc32c.h"
#include "common/base/mutant.h"
#include "gateway/core/engine_impl.h"

#define RATE_RETRY_MS_MAX 60000

static uint64_t cost_of(size_t body_len)
{
    return sizeof(struct pqb_request) + sizeof(struct pqb_inflight) + body_len;
}

static uint32_t retry_ms(struct pqb_engine *e, uint32_t base)
{
    return base + (uint32_t)pqb_rng_below(&e->rng, base);
}

// Over what makes a repeat the same message; `low` and `after` may differ between repeats.
static uint32_t message_hash(const struct pqb_frame_msg_r *m)
{
    const uint8_t head[3] = {(uint8_t)m->to.len, (uint8_t)(m->kind >> 8), (uint8_t)m->kind};
    uint32_t crc = pqb_crc32c(0, head, sizeof(head));

    crc = pqb_crc32c(crc, m->to.data, m->to.len);
    return pqb_crc32c(crc, m->body.data, m->body.len);
}

static void forget(struct pqb_engine *e, const struct pqb_request *r)
{
    const struct pqb_inflight key = {
        .uid = r->uid, .seq = r->seq, .devno = r->devno, .epoch = r->epoch};
    struct pqb_inflight *f = pqb_inflight_table_get(&e->inflight, &key);

    PQB_ASSERT(f);
    PQB_ASSERT(e->request_bytes >= cost_of(r->body_len));
    pqb_inflight_table_remove(&e->inflight, f);
    e->request_bytes -= cost_of(r->body_len);
}

// ------------------------------------------------------------------------------------ checks

// The checks that need no body; a refusal is answered.
static bool may_begin(struct pqb_engine *e, struct pqb_session *s, uint64_t seq, uint64_t window)
{
    if (s->epoch == 0) {
        pqb_session_nack(e, s, PQB_FRAME_MSG_R, seq, PQB_NACK_EPOCH, 0);
        return false;
    }
    if (seq < s->low && !PQB_MUTANT(RING_MISS_ACCEPTED)) {
        pqb_session_nack(e, s, PQB_FRAME_MSG_R, seq, PQB_NACK_CONFLICT, 0);
        return false;
    }
    if (seq - s->low >= window) {
        pqb_session_nack(e, s, PQB_FRAME_MSG_R, seq, PQB_NACK_WINDOW, retry_ms(e, 100));
        return false;
    }
    return true;
}

// A piece tells no low, and the low that is known may be a whole window behind the client's: all of
// it sent at once, accepted since, and now a large message. The whole is looked at again.
bool pqb_submit_may_begin_pieces(struct pqb_engine *e, struct pqb_session *s, uint64_t seq)
{
    return may_begin(e, s, seq, 2 * PQB_SEQ_WINDOW);
}

static void raise_low(struct pqb_engine *e, struct pqb_session *s, uint64_t low)
{
    if (low <= s->low || s->epoch == 0)
        return;
    s->low = low;
    if (s->hold_count > 0)
        pqb_submit_release_holds(e, s, 0, low - 1);
}

// True: a repeat of what is in flight, or a contradiction of it; either way it is dealt with.
static bool is_in_flight(struct pqb_engine *e, struct pqb_session *s,
                         const struct pqb_inflight *key)
{
    const struct pqb_inflight *f = pqb_inflight_table_get(&e->inflight, key);

    if (!f || PQB_MUTANT(NO_IN_FLIGHT))
        return false;
    if (f->hash == key->hash)
        pqb_count(e, PQB_COUNTER_SUBMIT_IN_FLIGHT_REPEATED);
    else
        pqb_session_nack(e, s, PQB_FRAME_MSG_R, key->seq, PQB_NACK_CONFLICT, 0);
    return true;
}

static bool is_rate_free(struct pqb_engine *e, struct pqb_session *s, uint64_t seq, pqb_tstamp now)
{
    const pqb_duration interval = e->config.rate ? PQB_NS_PER_SEC / e->config.rate : 0;
    const uint32_t burst = PQB_MAX(e->config.rate_burst, 1);
    pqb_duration wait_ms;

    if (pqb_rate_take(&s->messages, interval, burst, now))
        return true;
    wait_ms = pqb_rate_wait(&s->messages, interval, burst, now) / PQB_NS_PER_MS + 1;
    pqb_session_nack(e, s, PQB_FRAME_MSG_R, seq, PQB_NACK_RATE,
                     (uint32_t)PQB_MIN(wait_ms, RATE_RETRY_MS_MAX));
    return false;
}

// ------------------------------------------------------------------------------------ submit

static struct pqb_request *make_request(struct pqb_engine *e, const struct pqb_session *s,
                                        const struct pqb_frame_msg_r *m)
{
    struct pqb_request *r;

    if (e->request_bytes + cost_of(m->body.len) > e->config.request_bytes_max) {
        pqb_count(e, PQB_COUNTER_REQUEST_FULL);
        return NULL;
    }
    r = pqb_engine_request(e, PQB_OP_MSG, s, m->body.len);
    if (!r)
        return NULL;
    r->time = e->env.wall(e->env.ctx);
    r->seq = m->seq;
    r->low = s->low;
    r->after = m->after;
    r->kind = m->kind;
    memcpy(r->to, m->to.data, m->to.len);
    r->to_len = (uint8_t)m->to.len;
    r->body_len = (uint32_t)m->body.len;
    if (m->body.len > 0)
        memcpy(r->body, m->body.data, m->body.len);
    if (m->body.len > e->config.body_max)
        r->refuse = PQB_NACK_TOO_LARGE;
    return r;
}

// On failure the request is freed and nothing is in flight.
static bool submit(struct pqb_engine *e, struct pqb_session *s, struct pqb_request *r,
                   const struct pqb_inflight *key)
{
    const uint64_t cost = cost_of(r->body_len);
    struct pqb_inflight *f = pqb_inflight_table_add(&e->inflight, key);

    if (!f) {
        pqb_count(e, PQB_COUNTER_MEMORY_FAILED);
        pqb_request_destroy(r);
        return false;
    }
    if (!pqb_engine_submit(e, r)) {
        pqb_inflight_table_remove(&e->inflight, f);
        return false;
    }
    s->in_flight++;
    e->request_bytes += cost;
    return true;
}

// Who raises `low` past what he has not been answered would otherwise have as much under way as
// there is room for everybody.
static bool may_fly(struct pqb_engine *e, const struct pqb_session *s)
{
    if (s->in_flight < PQB_SEQ_WINDOW)
        return true;
    pqb_count(e, PQB_COUNTER_SUBMIT_IN_FLIGHT_MAX);
    return false;
}

void pqb_submit_message(struct pqb_engine *e, struct pqb_session *s,
                        const struct pqb_frame_msg_r *m, pqb_tstamp now)
{
    struct pqb_inflight key = {
        .uid = s->user->uid, .seq = m->seq, .devno = s->devno, .epoch = s->epoch};
    struct pqb_request *r;

    if (m->flags & PQB_MSG_EPHEMERAL) {
        pqb_ephemeral_route(e, s, m, now);
        return;
    }
    if (m->seq == 0 || m->seq < m->low) {
        pqb_count_verdict(e, PQB_VERDICT_FIELD);
        return;
    }
    raise_low(e, s, m->low);
    if (!may_begin(e, s, m->seq, PQB_SEQ_WINDOW))
        return;
    key.hash = message_hash(m);
    if (is_in_flight(e, s, &key) || !is_rate_free(e, s, m->seq, now))
        return;
    r = may_fly(e, s) ? make_request(e, s, m) : NULL;
    if (!r || !submit(e, s, r, &key))
        pqb_session_nack(e, s, PQB_FRAME_MSG_R, m->seq, PQB_NACK_BUSY,
                         retry_ms(e, PQB_BUSY_RETRY_MS));
}

// ------------------------------------------------------------------------------------ holds
// A held request is the submitter's again: tag[1] is when it is given back to the client. They
// stand in the order of their seqs, so a leader stands before all that follow it.

static struct pqb_request *of_link(struct pqb_list *link)
{
    return PQB_CONTAINER_OF(link, struct pqb_request, link);
}

static void insert_hold(struct pqb_session *s, struct pqb_request *r)
{
    struct pqb_list *at = s->holds.prev;

    while (at != &s->holds && of_link(at)->seq > r->seq)
        at = at->prev;
    pqb_list_push_front(at, &r->link); // behind `at`
}

static bool hold(struct pqb_engine *e, struct pqb_session *s, struct pqb_request *r, pqb_tstamp now)
{
    if (s->hold_count >= PQB_SESSION_HOLDS_MAX) {
        pqb_count(e, PQB_COUNTER_SUBMIT_HOLD_MAX);
        return false;
    }
    if (r->tag[1] == 0) {
        r->tag[1] = pqb_tstamp_add(now, PQB_HOLD_NS);
        pqb_count(e, PQB_COUNTER_SUBMIT_HELD);
    } else if (r->tag[1] <= now) {
        pqb_count(e, PQB_COUNTER_SUBMIT_HOLD_EXPIRED);
        return false;
    }
    insert_hold(s, r);
    s->hold_count++;
    return true;
}

static void unhold(struct pqb_session *s, struct pqb_request *r)
{
    pqb_list_unlink(&r->link);
    s->hold_count--;
}

// Gives a request that was held or submitted back to the client as transient.
static void give_back(struct pqb_engine *e, struct pqb_session *s, struct pqb_request *r,
                      enum pqb_nack_reason reason, uint32_t retry_after_ms)
{
    forget(e, r);
    s->in_flight--;
    pqb_session_nack(e, s, PQB_FRAME_MSG_R, r->seq, reason, retry_after_ms);
    pqb_request_destroy(r);
}

// What one pass over the holds hands to the writer.
struct release {
    uint64_t first, last; // these are out of the way
    size_t count;
    uint64_t seqs[PQB_SESSION_HOLDS_MAX]; // and these go ahead
};

static bool is_released(const struct release *p, uint64_t after)
{
    if (after >= p->first && after <= p->last)
        return true;
    for (size_t i = p->count; i > 0; i--)
        if (p->seqs[i - 1] == after)
            return true;
    return false;
}

// A whole chain goes at once: the writer decides it in one batch. One by one it would take a
// commit, and an answer's datagram, for each.
void pqb_submit_release_holds(struct pqb_engine *e, struct pqb_session *s, uint64_t first,
                              uint64_t last)
{
    struct release pass = {.first = first, .last = last};

    PQB_LIST_FOREACH_SAFE (it, after, &s->holds) {
        struct pqb_request *r = of_link(it);

        if (!is_released(&pass, r->after))
            continue;
        unhold(s, r);
        r->low = PQB_MAX(r->low, PQB_MIN(s->low, r->seq));
        const uint64_t seq = r->seq; // the writer's from here on
        if (pqb_store_submit(e->store, r) == PQB_OK) {
            pass.seqs[pass.count++] = seq;
        } else {
            pqb_count(e, PQB_COUNTER_REQUEST_FULL);
            give_back(e, s, r, PQB_NACK_BUSY, retry_ms(e, PQB_BUSY_RETRY_MS));
        }
    }
}

void pqb_submit_expire_holds(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now)
{
    PQB_LIST_FOREACH_SAFE (it, after, &s->holds) {
        struct pqb_request *r = of_link(it);

        if (r->tag[1] > now)
            continue;
        pqb_count(e, PQB_COUNTER_SUBMIT_HOLD_EXPIRED);
        unhold(s, r);
        give_back(e, s, r, PQB_NACK_ORDER, retry_ms(e, PQB_BUSY_RETRY_MS));
    }
}

void pqb_submit_drop_holds(struct pqb_engine *e, struct pqb_session *s)
{
    PQB_LIST_FOREACH_SAFE (it, after, &s->holds) {
        struct pqb_request *r = of_link(it);

        unhold(s, r);
        forget(e, r);
        pqb_request_destroy(r);
    }
}

pqb_tstamp pqb_submit_hold_deadline(const struct pqb_session *s)
{
    pqb_tstamp earliest = PQB_NEVER;

    PQB_LIST_FOREACH (it, &s->holds)
        earliest = PQB_MIN(earliest, of_link(it)->tag[1]);
    return earliest;
}

// ------------------------------------------------------------------------------------ answers

struct pqb_message_identity pqb_receipt_identity(const struct pqb_engine *e,
                                                 const struct pqb_request *r)
{
    // The recipient goes in by the keyed hash of its name: the sender names it, the uid is the
    // store's business.
    return (struct pqb_message_identity){.from_uid = r->uid,
                                         .from_devno = r->devno,
                                         .epoch = r->epoch,
                                         .seq = r->seq,
                                         .to_uid = pqb_siphash24(e->name_key, r->to, r->to_len)};
}

static void answer_accepted(struct pqb_engine *e, struct pqb_session *s,
                            const struct pqb_request *r, uint8_t state)
{
    struct pqb_frame f = {.type = PQB_FRAME_MSG_A, .msg_a = {.seq = r->seq, .state = state}};
    const struct pqb_message_identity id = pqb_receipt_identity(e, r);

    if (r->iseq != 0) {
        f.msg_a.has_receipt = true;
        pqb_receipt_seal(&e->keys, &id, r->iseq, f.msg_a.receipt);
    }
    pqb_session_answer(e, s, &f);
}

// Accepted, or stored when the recipient is this shard's and nobody is there. What another shard
// knows comes as a hint.
static uint8_t state_of(struct pqb_engine *e, const struct pqb_request *r)
{
    const struct pqb_user *to;

    if (r->to_uhash % e->config.shards != e->config.shard)
        return PQB_STATE_ACCEPTED;
    to = pqb_user_table_get(&e->users, r->to_uid);
    return to && to->session_count > 0 ? PQB_STATE_ACCEPTED : PQB_STATE_STORED;
}

static void answer(struct pqb_engine *e, struct pqb_session *s, const struct pqb_request *r)
{
    uint8_t state;

    switch (r->result) {
    case PQB_RESULT_DONE:
        state = state_of(e, r);
        answer_accepted(e, s, r, state);
        break;
    case PQB_RESULT_DUPLICATE:
        answer_accepted(e, s, r, r->state);
        break;
    case PQB_RESULT_REFUSED:
        pqb_session_nack(e, s, PQB_FRAME_MSG_R, r->seq, (enum pqb_nack_reason)r->nack, 0);
        break;
    case PQB_RESULT_TRANSIENT:
        pqb_session_nack(
            e, s, PQB_FRAME_MSG_R, r->seq, (enum pqb_nack_reason)r->nack,
            retry_ms(e, r->nack == PQB_NACK_ORDER ? PQB_BUSY_RETRY_MS : PQB_STORAGE_RETRY_MS));
        break;
    case PQB_RESULT_FAILED:
        pqb_session_nack(e, s, PQB_FRAME_MSG_R, r->seq, PQB_NACK_STORAGE,
                         retry_ms(e, PQB_STORAGE_RETRY_MS));
        break;
    case PQB_RESULT_UNKNOWN:
        break;
    }
}

static bool is_consumed(const struct pqb_request *r)
{
    return r->result == PQB_RESULT_DONE || r->result == PQB_RESULT_DUPLICATE ||
           (r->result == PQB_RESULT_REFUSED && pqb_nack_reason_is_final(r->nack));
}

static void count_result(struct pqb_engine *e, const struct pqb_request *r)
{
    if (r->result == PQB_RESULT_DONE)
        pqb_count(e, PQB_COUNTER_MSG_ACCEPTED);
    else if (r->result == PQB_RESULT_DUPLICATE)
        pqb_count(e, PQB_COUNTER_MSG_DUPLICATE);
}

void pqb_submit_on_completed(struct pqb_engine *e, struct pqb_request *r, pqb_tstamp now)
{
    // In flight belongs to the device, the answer to the session that asked: the one that came
    // after it may be a clone's, with another message under this seq. A device that came back asks
    // again.
    struct pqb_session *s = pqb_session_get_device(e, r->uid, r->devno);
    const bool is_asker = s && s->channel.cid == r->tag[0];

    PQB_ASSERT(!is_asker || (s->in_flight > 0 && s->epoch == r->epoch));
    if (s && s->epoch != r->epoch)
        s = NULL;
    if (is_asker && r->result == PQB_RESULT_TRANSIENT && r->nack == PQB_NACK_ORDER &&
        hold(e, s, r, now)) {
        pqb_session_touch(e, s);
        return;
    }
    forget(e, r);
    if (is_asker)
        s->in_flight--;
    count_result(e, r);
    if (!s || !is_asker)
        pqb_count(e, PQB_COUNTER_REQUEST_ORPHANED);
    if (s && r->result == PQB_RESULT_UNKNOWN) {
        pqb_session_kick(e, s, PQB_KICK_ADMIN, now); // the device was unregistered
    } else if (s) {
        if (is_asker)
            answer(e, s, r);
        if (s->hold_count > 0 && is_consumed(r))
            pqb_submit_release_holds(e, s, r->seq, r->seq);
    }
    pqb_request_destroy(r);
}
