#include "common/base/mutant.h"
#include "gateway/core/engine_impl.h"

#define CURSOR_RETRY_NS (50 * PQB_NS_PER_MS) // no request slot, or an aborted batch

void pqb_ack_answer(struct pqb_engine *e, struct pqb_session *s)
{
    const struct pqb_frame f = {.type = PQB_FRAME_ACK_A, .ack_a = {.cursor = s->cursor_durable}};

    pqb_session_answer(e, s, &f);
}

void pqb_ack_request(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now)
{
    struct pqb_request *r;

    if (s->cursor <= s->cursor_durable || s->is_cursor_busy || s->is_rolling_back)
        return;
    r = pqb_engine_request(e, PQB_OP_CURSOR, s, 0);
    if (r)
        r->cursor = s->cursor;
    s->is_cursor_busy = pqb_engine_submit(e, r);
    s->retry_at = s->is_cursor_busy ? PQB_NEVER : pqb_tstamp_add(now, CURSOR_RETRY_NS);
}

void pqb_ack_last(struct pqb_engine *e, const struct pqb_session *s)
{
    struct pqb_request *r;

    if (s->cursor <= s->cursor_durable || s->is_rolling_back)
        return;
    r = pqb_engine_request(e, PQB_OP_CURSOR, s, 0);
    if (r)
        r->cursor = s->cursor;
    // Without a slot it is lost with the session; the device says it again at its next login.
    (void)pqb_engine_submit(e, r);
}

void pqb_ack_cursor(struct pqb_engine *e, struct pqb_session *s, uint64_t cursor, pqb_tstamp now)
{
    PQB_ASSERT(cursor <= s->user->head);
    if (cursor > s->cursor) {
        s->cursor = cursor;
        s->queued_upto = PQB_MAX(s->queued_upto, cursor);
        pqb_delivery_on_cursor(e, s, now);
    }
    pqb_ack_request(e, s, now);
}

void pqb_ack_on_frame(struct pqb_engine *e, struct pqb_session *s, const struct pqb_frame_ack_r *f,
                      pqb_tstamp now)
{
    if (f->cursor > s->user->head) {
        pqb_count(e, PQB_COUNTER_ACK_CURSOR_ABOVE_HEAD);
        return;
    }
    pqb_ack_cursor(e, s, f->cursor, now);
    // Ranges say what need not be sent again in this session; they acknowledge nothing.
    for (size_t i = 0; i < f->received.count; i++)
        pqb_sent_map_on_received_range(&s->sent, f->received.at[i].first, f->received.at[i].last,
                                       &s->channel, now);
    if (PQB_MUTANT(RANGES_ARE_ACKS) && f->received.count > 0)
        pqb_ack_cursor(e, s, PQB_MIN(f->received.at[f->received.count - 1].last, s->user->head),
                       now);
    pqb_fragments_settle(e, s);
    if (f->cursor <= s->cursor_durable)
        pqb_ack_answer(e, s);
}

static void tell_senders(struct pqb_engine *e, const struct pqb_request *r)
{
    struct pqb_user *u;

    if (r->user_state.delivered <= r->delivered_before)
        return;
    u = pqb_user_table_make(&e->users, r->uid, r->user_state.uhash);
    if (!u) {
        pqb_count(e, PQB_COUNTER_HINT_DROPPED);
        return;
    }
    u->head = PQB_MAX(u->head, r->user_state.head);
    pqb_hint_range(e, u, r->delivered_before + 1, r->user_state.delivered);
    pqb_user_table_release(&e->users, u);
}

void pqb_ack_on_completed(struct pqb_engine *e, const struct pqb_request *r, pqb_tstamp now)
{
    struct pqb_session *s = pqb_session_get(e, r->tag[0]);

    if (r->result == PQB_RESULT_DONE)
        tell_senders(e, r);
    if (!s)
        return;
    s->is_cursor_busy = false;
    switch (r->result) {
    case PQB_RESULT_DONE:
        s->cursor_durable = PQB_MAX(s->cursor_durable, r->cursor);
        pqb_ack_answer(e, s);
        pqb_ack_request(e, s, now);
        break;
    case PQB_RESULT_UNKNOWN:
        pqb_session_kick(e, s, PQB_KICK_ADMIN, now);
        return;
    case PQB_RESULT_REFUSED: // above the head; the session checks before, so only after a rollback
        pqb_count(e, PQB_COUNTER_ACK_CURSOR_ABOVE_HEAD);
        break;
    case PQB_RESULT_DUPLICATE:
    case PQB_RESULT_TRANSIENT:
    case PQB_RESULT_FAILED:
        s->retry_at = pqb_tstamp_add(now, CURSOR_RETRY_NS);
        break;
    }
    pqb_session_touch(e, s);
}
