// stat, skip and epoch: requests of a session that the ledger answers.
#include <string.h>

#include "gateway/core/engine_impl.h"

static void submit_op(struct pqb_engine *e, struct pqb_session *s, struct pqb_request *r,
                      enum pqb_frame_type frame, uint64_t ref)
{
    if (pqb_engine_submit(e, r))
        s->op_count++;
    else
        pqb_session_nack(e, s, frame, ref, PQB_NACK_BUSY, PQB_BUSY_RETRY_MS);
}

static bool has_room(struct pqb_engine *e, struct pqb_session *s, enum pqb_frame_type frame,
                     uint64_t ref)
{
    if (s->op_count < PQB_SESSION_OPS_MAX)
        return true;
    pqb_count(e, PQB_COUNTER_REQUEST_OPS_MAX);
    pqb_session_nack(e, s, frame, ref, PQB_NACK_BUSY, PQB_BUSY_RETRY_MS);
    return false;
}

// The session that asked, if it is still there.
static struct pqb_session *asker(struct pqb_engine *e, const struct pqb_request *r)
{
    struct pqb_session *s = pqb_session_get(e, r->tag[0]);

    if (!s) {
        pqb_count(e, PQB_COUNTER_REQUEST_ORPHANED);
        return NULL;
    }
    PQB_ASSERT(s->op_count > 0);
    s->op_count--;
    return s;
}

void pqb_op_stat(struct pqb_engine *e, struct pqb_session *s, const struct pqb_frame_stat_r *f)
{
    struct pqb_request *r;

    if (!has_room(e, s, PQB_FRAME_STAT_R, f->seq))
        return;
    r = pqb_engine_request(e, PQB_OP_STAT, s, 0);
    if (r) {
        r->seq = f->seq;
        memcpy(r->to, f->to.data, f->to.len);
        r->to_len = (uint8_t)f->to.len;
        if (f->has_receipt) {
            const struct pqb_message_identity id = pqb_receipt_identity(e, r);

            r->has_iseq = pqb_receipt_open(&e->keys, &id, f->receipt, &r->iseq);
        }
    }
    submit_op(e, s, r, PQB_FRAME_STAT_R, f->seq);
}

void pqb_op_on_stat(struct pqb_engine *e, const struct pqb_request *r)
{
    struct pqb_session *s = asker(e, r);
    struct pqb_frame f = {.type = PQB_FRAME_STAT_A, .stat_a = {.seq = r->seq, .state = r->state}};

    if (!s)
        return;
    if (r->result == PQB_RESULT_FAILED || r->result == PQB_RESULT_TRANSIENT) {
        pqb_session_nack(e, s, PQB_FRAME_STAT_R, r->seq, PQB_NACK_STORAGE, PQB_STORAGE_RETRY_MS);
        return;
    }
    if (r->iseq != 0) {
        const struct pqb_message_identity id = pqb_receipt_identity(e, r);

        f.stat_a.has_receipt = true;
        pqb_receipt_seal(&e->keys, &id, r->iseq, f.stat_a.receipt);
    }
    pqb_session_answer(e, s, &f);
}

void pqb_op_skip(struct pqb_engine *e, struct pqb_session *s, const struct pqb_frame_skip_r *f)
{
    const uint64_t ref = f->seqs.count > 0 ? f->seqs.at[0].first : 0;
    struct pqb_request *r;

    if (s->epoch == 0) {
        pqb_session_nack(e, s, PQB_FRAME_SKIP_R, ref, PQB_NACK_EPOCH, 0);
        return;
    }
    if (!has_room(e, s, PQB_FRAME_SKIP_R, ref))
        return;
    r = pqb_engine_request(e, PQB_OP_SKIP, s, 0);
    if (r) {
        r->low = f->low;
        r->seq = ref;
        r->seqs = f->seqs;
    }
    submit_op(e, s, r, PQB_FRAME_SKIP_R, ref);
}

void pqb_op_on_skip(struct pqb_engine *e, const struct pqb_request *r)
{
    struct pqb_session *s = asker(e, r);
    struct pqb_frame f = {.type = PQB_FRAME_SKIP_A, .skip_a = r->skipped};

    if (!s)
        return;
    switch (r->result) {
    case PQB_RESULT_DONE:
    case PQB_RESULT_DUPLICATE:
        pqb_session_answer(e, s, &f);
        break;
    case PQB_RESULT_REFUSED:
        pqb_session_nack(e, s, PQB_FRAME_SKIP_R, r->seq, (enum pqb_nack_reason)r->nack, 0);
        break;
    case PQB_RESULT_TRANSIENT:
    case PQB_RESULT_FAILED:
    case PQB_RESULT_UNKNOWN:
        pqb_session_nack(e, s, PQB_FRAME_SKIP_R, r->seq, PQB_NACK_STORAGE, PQB_STORAGE_RETRY_MS);
        break;
    }
    pqb_submit_release_holds(e, s, 0, UINT64_MAX); // a skipped seq counts as consumed
}

void pqb_op_epoch(struct pqb_engine *e, struct pqb_session *s, const struct pqb_frame_epoch_r *f)
{
    struct pqb_request *r;

    if (!has_room(e, s, PQB_FRAME_EPOCH_R, 0))
        return;
    r = pqb_engine_request(e, PQB_OP_EPOCH, s, 0);
    if (r)
        memcpy(r->nonce, f->nonce, sizeof(r->nonce));
    submit_op(e, s, r, PQB_FRAME_EPOCH_R, 0);
}

void pqb_op_on_epoch(struct pqb_engine *e, const struct pqb_request *r, pqb_tstamp now)
{
    struct pqb_session *asking = asker(e, r);
    struct pqb_session *s = asking ? asking : pqb_session_get_device(e, r->uid, r->devno);
    struct pqb_frame f = {.type = PQB_FRAME_EPOCH_A, .epoch_a = {.epoch = r->device_state.epoch}};

    if (!s)
        return;
    if (r->result != PQB_RESULT_DONE) {
        if (asking)
            pqb_session_nack(e, s, PQB_FRAME_EPOCH_R, 0, PQB_NACK_STORAGE, PQB_STORAGE_RETRY_MS);
        return;
    }
    memcpy(f.epoch_a.nonce, r->nonce, sizeof(f.epoch_a.nonce));
    if (asking)
        pqb_session_answer(e, s, &f);
    if (asking && s->epoch == 0) {
        s->epoch = r->device_state.epoch;
        s->low = r->device_state.low;
    } else if (s->epoch != 0 && s->epoch != r->device_state.epoch) {
        // One connection id belongs to one epoch: late datagrams must not meet the new one.
        pqb_session_kick(e, s, PQB_KICK_EPOCH, now);
    }
}
