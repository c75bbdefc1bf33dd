// Messages that are never stored: to whoever is here now, or to nobody.
#include <string.h>

#include "gateway/core/engine_impl.h"

static bool may_send(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now)
{
    const pqb_duration interval = e->config.rate ? PQB_NS_PER_SEC / e->config.rate : 0;

    return pqb_rate_take(&s->messages, interval, PQB_MAX(e->config.rate_burst, 1), now);
}

void pqb_ephemeral_route(struct pqb_engine *e, struct pqb_session *s,
                         const struct pqb_frame_msg_r *m, pqb_tstamp now)
{
    const uint32_t shard = pqb_shard_of_user(e, &m->to);
    struct pqb_frame f = {.type = PQB_FRAME_MSG_N};
    uint8_t bytes[PQB_FRAMES_MAX];
    size_t len;

    f.msg_n = (struct pqb_frame_msg_n){.flags = PQB_MSG_EPHEMERAL,
                                       .kind = m->kind,
                                       .time_ms = e->env.wall(e->env.ctx),
                                       .from = {s->user->name, s->user->name_len},
                                       .device = {s->device, s->device_len},
                                       .body = m->body};
    len = pqb_frame_encode(&f, bytes, sizeof(bytes));
    if (len == 0 || !may_send(e, s, now)) {
        pqb_count(e, PQB_COUNTER_EPHEMERAL_DROPPED);
        return;
    }
    pqb_count(e, PQB_COUNTER_MSG_EPHEMERAL);
    if (shard == e->config.shard)
        pqb_ephemeral_deliver(e, m->to.data, m->to.len, bytes, len);
    else
        pqb_mail_ephemeral(e, shard, &m->to, bytes, len);
}

void pqb_ephemeral_deliver(struct pqb_engine *e, const char *to, size_t to_len,
                           const uint8_t *frame, size_t len)
{
    const struct pqb_user *u = pqb_user_table_get_name(&e->users, to, to_len);

    if (!u || u->session_count == 0) {
        pqb_count(e, PQB_COUNTER_EPHEMERAL_DROPPED);
        return;
    }
    PQB_LIST_FOREACH (it, &u->sessions) {
        struct pqb_session *s = PQB_CONTAINER_OF(it, struct pqb_session, of_user);
        struct pqb_outbox *o = pqb_session_outbox(e, s);

        if (!o || !pqb_outbox_push_bytes(o, frame, len))
            pqb_count(e, PQB_COUNTER_EPHEMERAL_DROPPED);
        pqb_session_touch(e, s);
    }
}
