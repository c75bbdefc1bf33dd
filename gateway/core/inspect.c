// What an operator, a test or the simulator asks of an engine from outside its turns.
#include <string.h>

#include "gateway/core/engine_impl.h"

static struct pqb_session *of_node(struct pqb_hnode *node)
{
    return PQB_CONTAINER_OF(node, struct pqb_session, by_cid);
}

void pqb_drain_step(struct pqb_engine *e, pqb_tstamp now)
{
    struct pqb_hnode *node;

    // Kicks leave through a ring; what does not fit is for the next turn.
    while (e->replies.count < PQB_REPLIES_MAX && (node = pqb_htable_next(&e->sessions, NULL)))
        pqb_session_kick(e, of_node(node), PQB_KICK_DRAIN, now);
}

void pqb_engine_drain(struct pqb_engine *e, pqb_tstamp now)
{
    e->is_draining = true;
    pqb_drain_step(e, now);
}

unsigned pqb_engine_kick(struct pqb_engine *e, const char *user, size_t user_len,
                         const char *device, size_t device_len, pqb_tstamp now)
{
    struct pqb_user *u = pqb_user_table_get_name(&e->users, user, user_len);
    const uint32_t count = u ? u->session_count : 0;
    unsigned kicked = 0;
    struct pqb_list *it = u ? u->sessions.next : NULL;

    // The user may be freed with its last session, so the list's end is found by counting.
    for (uint32_t i = 0; i < count; i++) {
        struct pqb_session *s = PQB_CONTAINER_OF(it, struct pqb_session, of_user);

        it = it->next;
        if (device_len > 0 &&
            (s->device_len != device_len || memcmp(s->device, device, device_len) != 0))
            continue;
        pqb_session_kick(e, s, PQB_KICK_ADMIN, now);
        kicked++;
    }
    return kicked;
}

static void recheck_sessions(struct pqb_engine *e, pqb_tstamp now)
{
    struct pqb_hnode *node = pqb_htable_next(&e->sessions, NULL);

    while (node) {
        struct pqb_session *s = of_node(node);
        const struct pqb_text user = {s->user->name, s->user->name_len};
        const struct pqb_text device = {s->device, s->device_len};

        node = pqb_htable_next(&e->sessions, node); // a kick takes out `s` and moves no other
        if (e->env.may_stay(e->env.ctx, &user, &device, &s->grant))
            continue;
        pqb_count(e, PQB_COUNTER_SESSION_REVOKED);
        pqb_session_kick(e, s, PQB_KICK_ADMIN, now);
    }
}

// A registration that is with the writer comes back to nobody; it is the device's all the same.
static void recheck_logins(struct pqb_engine *e)
{
    struct pqb_hnode *node = pqb_htable_next(&e->half_open.by_cid, NULL);

    while (node) {
        struct pqb_half_open *h = PQB_CONTAINER_OF(node, struct pqb_half_open, by_cid);

        node = pqb_htable_next(&e->half_open.by_cid, node);
        if (pqb_login_may_stay(e, h))
            continue;
        pqb_count(e, PQB_COUNTER_LOGIN_REFUSED);
        pqb_half_open_table_remove(&e->half_open, h);
    }
}

void pqb_engine_recheck(struct pqb_engine *e, pqb_tstamp now)
{
    recheck_sessions(e, now);
    recheck_logins(e);
}

static void fill_info(const struct pqb_session *s, struct pqb_session_info *info, pqb_tstamp now)
{
    *info = (struct pqb_session_info){
        .addr = s->path.current,
        .cid = s->channel.cid,
        .cursor = s->cursor,
        .head = s->user->head,
        .srtt = s->channel.rtt.srtt,
        .age = pqb_elapsed(s->login_at, now),
        .idle = pqb_elapsed(s->channel.received_at, now),
        .in_flight = s->sent.unacked_count,
        .cipher = s->channel.cipher,
    };
    memcpy(info->user, s->user->name, s->user->name_len);
    memcpy(info->device, s->device, s->device_len);
}

void pqb_engine_each_session(const struct pqb_engine *e, pqb_session_fn fn, void *ctx,
                             pqb_tstamp now)
{
    struct pqb_hnode *node = NULL;
    struct pqb_session_info info;

    while ((node = pqb_htable_next(&e->sessions, node))) {
        fill_info(of_node(node), &info, now);
        if (!fn(ctx, &info))
            return;
    }
}

void pqb_engine_reconfigure(struct pqb_engine *e, const struct pqb_engine_config *config)
{
    const uint64_t in_use = e->config.reassembly_bytes_max - e->reassembly_left;

    PQB_ASSERT(config->shards == e->config.shards && config->shard == e->config.shard);
    e->config = *config;
    // Less than what is in use: it drains before anything new begins, and the limit is met then.
    if (e->config.reassembly_bytes_max < in_use)
        e->config.reassembly_bytes_max = in_use;
    e->reassembly_left = (size_t)(e->config.reassembly_bytes_max - in_use);
}

static void validate_session(const struct pqb_engine *e, const struct pqb_session *s)
{
    const struct pqb_user *u = s->user;

    PQB_ASSERT(pqb_session_get(e, s->channel.cid) == s);
    PQB_ASSERT((s->channel.cid >> 56) % e->config.shards == e->config.shard);
    PQB_ASSERT(!pqb_half_open_table_get(&e->half_open, s->channel.cid));
    PQB_ASSERT(pqb_user_table_get(&e->users, u->uid) == u && u->name_len > 0);
    PQB_ASSERT(pqb_session_get_device(e, u->uid, s->devno) == s);
    PQB_ASSERT(s->cursor <= u->head || s->is_rolling_back);
    PQB_ASSERT(s->queued_upto >= s->cursor);
    PQB_ASSERT(s->sent.count <= PQB_SENT_MAX);
    PQB_ASSERT(s->in_flight <= PQB_SEQ_WINDOW && s->in_flight >= s->hold_count);
    PQB_ASSERT(s->hold_count <= PQB_SESSION_HOLDS_MAX && s->op_count <= PQB_SESSION_OPS_MAX);
    PQB_ASSERT(s->timer.deadline != PQB_NEVER || !pqb_list_is_empty(&s->ready));
    PQB_ASSERT(!s->outbox || !pqb_list_is_empty(&s->ready));
}

static void validate_user(const struct pqb_engine *e, const struct pqb_user *u)
{
    uint32_t sessions = 0;

    PQB_ASSERT(u->uhash % e->config.shards == e->config.shard);
    PQB_ASSERT(u->session_count > 0 || u->index_count > 0);
    PQB_LIST_FOREACH (it, &u->sessions)
        sessions++;
    PQB_ASSERT(sessions == u->session_count);
    PQB_ASSERT(u->index_first + u->index_count <= u->index_capacity);
    for (uint32_t i = 1; i < u->index_count; i++) {
        const struct pqb_index_entry *at = &u->index[u->index_first + i];

        PQB_ASSERT(at[-1].iseq < at->iseq && at[-1].gseq < at->gseq);
    }
    PQB_ASSERT(u->index_count == 0 ||
               u->index[u->index_first + u->index_count - 1].iseq <= u->head);
}

void pqb_engine_validate(const struct pqb_engine *e)
{
    struct pqb_hnode *node = NULL;
    size_t entries = 0, in_sessions = 0, reassembly = 0;

    while ((node = pqb_htable_next(&e->sessions, node))) {
        const struct pqb_session *s = of_node(node);

        validate_session(e, s);
        reassembly += s->frag ? s->frag->in.bytes : 0;
    }
    node = NULL;
    while ((node = pqb_htable_next(&e->users.by_uid, node))) {
        const struct pqb_user *u = PQB_CONTAINER_OF(node, struct pqb_user, by_uid);

        validate_user(e, u);
        entries += u->index_count;
        in_sessions += u->session_count;
    }
    PQB_ASSERT(entries == e->users.entries);
    PQB_ASSERT(in_sessions == e->sessions.count);
    PQB_ASSERT(reassembly + e->reassembly_left == e->config.reassembly_bytes_max);
    PQB_ASSERT(e->half_open.count == e->half_open.by_cid.count);
    PQB_ASSERT(e->half_open.held_total <= PQB_HELD_TOTAL_MAX);
}

size_t pqb_engine_memory(const struct pqb_engine *e)
{
    struct pqb_hnode *node = NULL;
    size_t bytes = e->users.bytes + pqb_half_open_table_memory(&e->half_open);

    while ((node = pqb_htable_next(&e->sessions, node)))
        bytes += pqb_session_memory(of_node(node));
    bytes += e->inflight.by_seq.count * sizeof(struct pqb_inflight);
    bytes += (e->sessions.mask + 1 + e->inflight.by_seq.mask + 1 + e->users.by_uid.mask + 1 +
              e->users.by_name.mask + 1) *
             sizeof(void *);
    return bytes + e->timers.capacity * sizeof(void *);
}
