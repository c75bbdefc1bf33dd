#include "gateway/core/engine_impl.h"

// Ends a gap at a change of generation, so that each gap has one reason.
static void set_gap(struct pqb_position *out, uint64_t first, uint64_t last, uint8_t reason)
{
    const uint64_t generation_start = PQB_ISEQ_MAKE(PQB_ISEQ_GENERATION(last), 0);

    PQB_ASSERT(first <= last);
    out->kind = PQB_POSITION_GAP;
    out->first = first;
    out->last = last;
    out->reason = reason;
    if (generation_start >= first && generation_start > 0) {
        out->last = generation_start;
        out->reason = PQB_GAP_GENERATION;
    }
}

static void set_damaged(struct pqb_engine *e, struct pqb_position *out, uint64_t iseq)
{
    pqb_count(e, PQB_COUNTER_PUSH_DAMAGED);
    *out = (struct pqb_position){
        .kind = PQB_POSITION_GAP, .first = iseq, .last = iseq, .reason = PQB_GAP_DAMAGED};
}

static void set_message(struct pqb_position *out, uint64_t iseq)
{
    out->kind = PQB_POSITION_MESSAGE;
    out->first = out->last = iseq;
}

// First position >= at in `inbox`; 0: none. On PQB_ERR_CORRUPT *at is the damaged position.
static int find_in_inbox(struct pqb_engine *e, const struct pqb_user *u, uint64_t at,
                         struct pqb_message *out, uint64_t *found)
{
    int err = pqb_view_inbox_message(e->view, u->uid, at, out);

    *found = err == PQB_OK || err == PQB_ERR_CORRUPT ? out->iseq : 0;
    return err;
}

void pqb_position_next(struct pqb_engine *e, const struct pqb_user *u, uint64_t after,
                       struct pqb_position *out)
{
    const uint64_t at = PQB_MAX(after + 1, 1);
    const struct pqb_index_entry *entry;
    uint64_t in_inbox = 0, nearest;
    int err = PQB_OK;

    PQB_ASSERT(e->is_view_open);
    out->kind = PQB_POSITION_NONE;
    if (at > u->head)
        return;
    // Also across a change of generation: where the old one ended is not known any more, and what
    // expired must not pass for positions that never held anything.
    if (at <= u->floor) {
        *out = (struct pqb_position){.kind = PQB_POSITION_GAP,
                                     .first = at,
                                     .last = PQB_MIN(u->floor, u->head),
                                     .reason = PQB_GAP_EXPIRED};
        return;
    }
    if (at < u->tail) {
        set_gap(out, at, PQB_MIN(u->tail - 1, u->head), PQB_GAP_EXPIRED);
        return;
    }
    entry = pqb_user_index_at(u, at, e->journal_first);
    if (entry && entry->iseq == at) {
        err = pqb_view_journal_message(e->view, entry->gseq, &out->message);
        if (err == PQB_OK) {
            set_message(out, at);
            return;
        }
        if (err == PQB_ERR_CORRUPT) {
            set_damaged(e, out, at);
            return;
        }
    }
    // What can't be read now is not gone: nobody is told a gap, and the next turn tries again.
    if (err == PQB_OK || err == PQB_ERR_NOT_FOUND)
        err = find_in_inbox(e, u, at, &out->message, &in_inbox);
    if (err != PQB_OK && err != PQB_ERR_NOT_FOUND && err != PQB_ERR_CORRUPT) {
        e->must_retry = true;
        return;
    }
    if (in_inbox == at) {
        if (err == PQB_OK)
            set_message(out, at);
        else
            set_damaged(e, out, at);
        return;
    }
    // Nothing at `at`: a gap up to what comes next, wherever that is.
    nearest = u->head + 1;
    if (entry && entry->iseq > at)
        nearest = PQB_MIN(nearest, entry->iseq);
    if (in_inbox > at)
        nearest = PQB_MIN(nearest, in_inbox);
    // What expires is the lowest, below `tail`: a hole above it is a record that did not check. But
    // what a device has taken may be gone, and this session be an older one's of that device.
    if (at <= u->delivered)
        set_gap(out, at, PQB_MIN(nearest - 1, u->delivered), PQB_GAP_EXPIRED);
    else
        set_gap(out, at, nearest - 1, u->tail != 0 ? PQB_GAP_DAMAGED : PQB_GAP_EXPIRED);
    if (out->reason == PQB_GAP_DAMAGED)
        pqb_count(e, PQB_COUNTER_PUSH_DAMAGED);
}
