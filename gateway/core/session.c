#include "gateway/core/session.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mutant.h"
#include "gateway/core/engine_impl.h"

// The device's name begins where the compiler would only pad.
static size_t size_of(size_t device_len)
{
    return PQB_MAX(sizeof(struct pqb_session), offsetof(struct pqb_session, device) + device_len);
}

struct pqb_session *pqb_session_create(struct pqb_engine *e, struct pqb_user *u,
                                       const struct pqb_half_open *h, pqb_tstamp now)
{
    struct pqb_session *s;

    PQB_ASSERT(!pqb_session_get(e, h->cid));
    if (pqb_timerq_reserve(&e->timers, e->sessions.count + 1) != PQB_OK)
        return NULL;
    s = calloc(1, size_of(h->device_len));
    if (!s)
        return NULL;
    memcpy(s->device, h->device, h->device_len);
    s->device_len = h->device_len;
    s->user = u;
    s->login_at = h->created_at;
    s->retry_at = PQB_NEVER;
    s->jitter = (float)pqb_rng_below(&e->rng, 1024) / 1024;
    s->grant = h->grant;
    pqb_channel_init(&s->channel, h->cid, now);
    pqb_handshake_protect(h, &s->channel, now);
    pqb_path_init(&s->path, &h->from);
    pqb_sent_map_init(&s->sent);
    pqb_timer_init(&s->timer);
    pqb_list_init(&s->ready);
    pqb_list_init(&s->holds);
    pqb_list_push_back(&u->sessions, &s->of_user);
    u->session_count++;
    pqb_htable_insert(&e->sessions, &s->by_cid, h->cid);
    pqb_count(e, PQB_COUNTER_SESSION_OPENED);
    return s;
}

void pqb_session_close(struct pqb_engine *e, struct pqb_session *s)
{
    if (s->user->session_count == 1)
        pqb_hint_stored_unacked(e, s);
    pqb_submit_drop_holds(e, s);
    pqb_timerq_set(&e->timers, &s->timer, PQB_NEVER);
    pqb_list_unlink(&s->ready);
    pqb_list_unlink(&s->of_user);
    pqb_htable_remove(&e->sessions, &s->by_cid);
    s->user->session_count--;
    pqb_user_table_release(&e->users, s->user);
    if (s->outbox)
        pqb_outbox_put(&e->outboxes, s->outbox);
    if (s->frag) {
        e->reassembly_left += s->frag->in.bytes;
        pqb_frag_in_fini(&s->frag->in);
        free(s->frag);
    }
    pqb_path_fini(&s->path);
    pqb_sent_map_fini(&s->sent, &s->channel.cc);
    pqb_channel_fini(&s->channel);
    free(s);
    pqb_count(e, PQB_COUNTER_SESSION_CLOSED);
}

static enum pqb_counter kick_counter(enum pqb_kick_reason reason)
{
    switch (reason) {
    case PQB_KICK_REPLACED:
        return PQB_COUNTER_SESSION_REPLACED;
    case PQB_KICK_DRAIN:
        return PQB_COUNTER_SESSION_DRAINED;
    case PQB_KICK_EPOCH:
        return PQB_COUNTER_SESSION_EPOCH;
    case PQB_KICK_GIVE_UP:
        return PQB_COUNTER_SESSION_GAVE_UP;
    case PQB_KICK_EXPIRED:
        return PQB_COUNTER_SESSION_EXPIRED;
    case PQB_KICK_ADMIN:
        break;
    }
    return PQB_COUNTER_SESSION_KICKED;
}

void pqb_session_kick(struct pqb_engine *e, struct pqb_session *s, enum pqb_kick_reason reason,
                      pqb_tstamp now)
{
    const struct pqb_frame frame = {.type = PQB_FRAME_KICK, .kick = {.reason = (uint8_t)reason}};
    struct pqb_reply *reply = pqb_replies_push(&e->replies, &s->path.current, PQB_DATAGRAM_MAX);

    pqb_count(e, kick_counter(reason));
    if (reply) {
        uint8_t *frames = reply->data + PQB_DATA_HEADER_LEN;
        size_t used = 0;

        // What was to be answered is answered: the kick ends it.
        if (s->outbox)
            used = pqb_outbox_pop(s->outbox, frames, PQB_FRAMES_MAX - 32);
        used += pqb_frame_encode(&frame, frames + used, PQB_FRAMES_MAX - used);
        reply->len = pqb_channel_seal(&s->channel, reply->data, used, now);
    } else {
        pqb_count(e, PQB_COUNTER_REPLY_DROPPED);
    }
    pqb_ack_last(e, s);
    pqb_session_close(e, s);
}

struct pqb_session *pqb_session_get(const struct pqb_engine *e, uint64_t cid)
{
    struct pqb_hnode *node = pqb_htable_find(&e->sessions, cid);

    return node ? PQB_CONTAINER_OF(node, struct pqb_session, by_cid) : NULL; // cid is the hash
}

struct pqb_session *pqb_session_get_device(const struct pqb_engine *e, uint64_t uid, uint32_t devno)
{
    const struct pqb_user *u = pqb_user_table_get(&e->users, uid);

    if (!u)
        return NULL;
    PQB_LIST_FOREACH (it, &u->sessions) {
        struct pqb_session *s = PQB_CONTAINER_OF(it, struct pqb_session, of_user);

        if (s->devno == devno)
            return s;
    }
    return NULL;
}

struct pqb_session *pqb_session_get_name(const struct pqb_user *u, const char *device, size_t len)
{
    PQB_LIST_FOREACH (it, &u->sessions) {
        struct pqb_session *s = PQB_CONTAINER_OF(it, struct pqb_session, of_user);

        if (s->device_len == len && memcmp(s->device, device, len) == 0)
            return s;
    }
    return NULL;
}

struct pqb_outbox *pqb_session_outbox(struct pqb_engine *e, struct pqb_session *s)
{
    if (!s->outbox)
        s->outbox = pqb_outbox_take(&e->outboxes);
    return s->outbox;
}

void pqb_session_answer(struct pqb_engine *e, struct pqb_session *s, const struct pqb_frame *f)
{
    struct pqb_outbox *o = pqb_session_outbox(e, s);

    if (!o || !pqb_outbox_push(o, f))
        pqb_count(e, PQB_COUNTER_ANSWER_DROPPED);
    pqb_session_touch(e, s);
}

void pqb_session_nack(struct pqb_engine *e, struct pqb_session *s, enum pqb_frame_type frame,
                      uint64_t ref, enum pqb_nack_reason reason, uint32_t retry_after_ms)
{
    const struct pqb_frame f = {.type = PQB_FRAME_NACK,
                                .nack = {.frame = (uint8_t)frame,
                                         .ref = ref,
                                         .reason = (uint8_t)reason,
                                         .retry_after_ms = retry_after_ms}};

    pqb_count_nack(e, reason);
    pqb_session_answer(e, s, &f);
}

void pqb_session_touch(struct pqb_engine *e, struct pqb_session *s)
{
    if (pqb_list_is_empty(&s->ready))
        pqb_list_push_back(&e->ready, &s->ready);
}

static pqb_tstamp earlier(pqb_tstamp a, pqb_tstamp b)
{
    return PQB_MIN(a, b);
}

// An encrypted session ends in time to exchange new keys, and when what let it in is over.
static pqb_tstamp expiry(const struct pqb_engine *e, const struct pqb_session *s, pqb_tstamp now)
{
    pqb_tstamp at = PQB_NEVER;

    if (s->channel.cipher != PQB_CIPHER_NONE && !PQB_MUTANT(SESSION_FOR_EVER))
        at = pqb_tstamp_add(s->login_at, e->config.session_max_ns);
    if (s->grant.expires_ms == UINT64_MAX)
        return at;
    const pqb_wall_ms wall = e->env.wall(e->env.ctx);
    const pqb_wall_ms left = s->grant.expires_ms > wall ? s->grant.expires_ms - wall : 0;

    return left < PQB_NEVER / PQB_NS_PER_MS ? earlier(at, pqb_tstamp_add(now, left * PQB_NS_PER_MS))
                                            : at;
}

void pqb_session_rearm(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now)
{
    pqb_tstamp at = pqb_tstamp_add(s->channel.received_at, e->config.idle_ns);

    at = earlier(at, expiry(e, s, now));
    at = earlier(at, pqb_channel_deadline(&s->channel));
    at = earlier(at, pqb_sent_map_deadline(&s->sent, &s->channel, (double)s->jitter));
    at = earlier(at, pqb_path_deadline(&s->path));
    at = earlier(at, pqb_submit_hold_deadline(s));
    at = earlier(at, s->retry_at);
    if (s->has_news)
        at = earlier(at, s->off_n_at);
    if (s->is_blocked)
        at = earlier(at, pqb_cc_next_send(&s->channel.cc, now));
    if (s->frag)
        at = earlier(at, pqb_frag_in_deadline(&s->frag->in));
    pqb_timerq_set(&e->timers, &s->timer, at);
}

// False: the session gave up and is gone.
static bool retransmission_timeout(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now)
{
    switch (pqb_sent_map_on_timeout(&s->sent, &s->channel, (double)s->jitter, now)) {
    case PQB_SENT_WAIT:
        break;
    case PQB_SENT_RETRY:
        pqb_count(e, PQB_COUNTER_RETRANSMIT_TIMEOUTS);
        s->jitter = (float)pqb_rng_below(&e->rng, 1024) / 1024;
        break;
    case PQB_SENT_GIVE_UP:
        pqb_session_kick(e, s, PQB_KICK_GIVE_UP, now);
        return false;
    }
    return true;
}

void pqb_session_on_timeout(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now)
{
    if (pqb_elapsed(s->channel.received_at, now) >= e->config.idle_ns) {
        pqb_count(e, PQB_COUNTER_SESSION_IDLE);
        pqb_session_close(e, s);
        return;
    }
    if (expiry(e, s, now) <= now) {
        pqb_session_kick(e, s, PQB_KICK_EXPIRED, now);
        return;
    }
    pqb_channel_on_timeout(&s->channel, now);
    if (!retransmission_timeout(e, s, now))
        return;
    if (pqb_path_on_timeout(&s->path, now))
        pqb_count(e, PQB_COUNTER_PATH_FAILED);
    pqb_fragments_expire(e, s, now);
    pqb_submit_expire_holds(e, s, now);
    if (s->retry_at <= now) {
        s->retry_at = PQB_NEVER;
        if (s->is_rolling_back)
            pqb_login_ask_rollback(e, s, now);
        else
            pqb_ack_request(e, s, now);
    }
    pqb_session_touch(e, s);
}

struct pqb_session_frag *pqb_session_frag_make(struct pqb_engine *e, struct pqb_session *s)
{
    if (s->frag)
        return s->frag;
    s->frag = calloc(1, sizeof(*s->frag));
    if (s->frag)
        pqb_frag_in_init(&s->frag->in);
    else
        pqb_count(e, PQB_COUNTER_MEMORY_FAILED);
    return s->frag;
}

void pqb_session_frag_trim(struct pqb_engine *e, struct pqb_session *s)
{
    (void)e;
    if (!s->frag || s->frag->in.bytes > 0)
        return;
    for (size_t i = 0; i < PQB_FRAG_DONE_MAX; i++)
        if (s->frag->in.done[i] != 0)
            return; // late pieces must be told from new ones
    for (size_t i = 0; i < PQB_FRAG_OUT_MAX; i++)
        if (s->frag->out[i].id != 0)
            return;
    pqb_frag_in_fini(&s->frag->in);
    free(s->frag);
    s->frag = NULL;
}

size_t pqb_session_memory(const struct pqb_session *s)
{
    size_t bytes = size_of(s->device_len) + pqb_channel_memory(&s->channel);

    if (s->outbox)
        bytes += sizeof(*s->outbox);
    if (s->frag)
        bytes += sizeof(*s->frag) + s->frag->in.bytes;
    if (s->path.candidate)
        bytes += sizeof(*s->path.candidate);
    if (s->sent.ring)
        bytes += PQB_SENT_MAX * sizeof(*s->sent.ring);
    return bytes;
}
