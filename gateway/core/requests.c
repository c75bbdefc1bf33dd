#include <string.h>

#include "gateway/core/engine_impl.h"

struct pqb_request *pqb_engine_request(struct pqb_engine *e, enum pqb_op op,
                                       const struct pqb_session *s, size_t body_len)
{
    struct pqb_request *r = pqb_request_create(op, body_len);

    if (!r) {
        pqb_count(e, PQB_COUNTER_MEMORY_FAILED);
        return NULL;
    }
    r->shard = e->config.shard;
    if (s) {
        r->uid = s->user->uid;
        r->devno = s->devno;
        r->epoch = s->epoch;
        r->tag[0] = s->channel.cid;
    }
    return r;
}

bool pqb_engine_submit(struct pqb_engine *e, struct pqb_request *r)
{
    if (!r)
        return false;
    if (pqb_store_submit(e->store, r) != PQB_OK) {
        pqb_count(e, PQB_COUNTER_REQUEST_FULL);
        pqb_request_destroy(r);
        return false;
    }
    return true;
}

// A completion that needs its request no longer than the call.
static void on_borrowed(struct pqb_engine *e, const struct pqb_request *r, pqb_tstamp now)
{
    switch (r->op) {
    case PQB_OP_LOOKUP:
        pqb_login_on_lookup(e, r);
        break;
    case PQB_OP_LOGIN:
        pqb_login_on_registered(e, r, now);
        break;
    case PQB_OP_ROLLBACK:
        pqb_login_on_rollback(e, r, now);
        break;
    case PQB_OP_CURSOR:
        pqb_ack_on_completed(e, r, now);
        break;
    case PQB_OP_EPOCH:
        pqb_op_on_epoch(e, r, now);
        break;
    case PQB_OP_SKIP:
        pqb_op_on_skip(e, r);
        break;
    case PQB_OP_STAT:
        pqb_op_on_stat(e, r);
        break;
    case PQB_OP_MSG:
    case PQB_OP_USER:
    case PQB_OP_FORGET:
    case PQB_OP_CHECKPOINT:
        break;
    }
}

void pqb_engine_on_completion(struct pqb_engine *e, struct pqb_request *r, pqb_tstamp now)
{
    if (r->result == PQB_RESULT_FAILED)
        pqb_count(e, PQB_COUNTER_REQUEST_FAILED);
    if (r->op == PQB_OP_MSG) {
        pqb_submit_on_completed(e, r, now);
        return;
    }
    on_borrowed(e, r, now);
    pqb_request_destroy(r);
}
