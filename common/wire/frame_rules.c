// What must hold between the fields of one frame; single fields are the layout's affair.
#include "common/wire/fields.h"

bool pqb_state_is_known(uint64_t state)
{
    return state <= PQB_STATE_READ || state == PQB_STATE_REFUSED || state == PQB_STATE_ABANDONED;
}

bool pqb_ranges_are_valid(const struct pqb_range *ranges, size_t count, uint64_t max)
{
    if (count > max)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].first > ranges[i].last)
            return false;
        if (i > 0 && ranges[i].first <= ranges[i - 1].last)
            return false;
    }
    return true;
}

static bool msg_r_is_consistent(const struct pqb_frame_msg_r *f)
{
    if (f->flags & PQB_MSG_EPHEMERAL)
        return f->seq == 0 && f->after == 0;
    return f->after < f->seq;
}

static bool msg_n_is_consistent(const struct pqb_frame_msg_n *f)
{
    return (f->iseq == 0) == ((f->flags & PQB_MSG_EPHEMERAL) != 0);
}

static bool off_a_is_consistent(const struct pqb_frame_off_a *f)
{
    if (f->last == 0)
        return f->first == 0;
    return f->after < f->first && f->first <= f->last;
}

static bool skip_r_is_consistent(const struct pqb_frame_skip_r *f)
{
    uint64_t room = PQB_SKIP_MAX;

    if (f->seqs.count == 0 || f->seqs.at[0].first == 0)
        return false;
    for (size_t i = 0; i < f->seqs.count; i++) {
        const uint64_t more = f->seqs.at[i].last - f->seqs.at[i].first; // one less than the seqs
        if (more >= room)
            return false;
        room -= more + 1;
    }
    return true;
}

static bool frag_is_consistent(const struct pqb_frame_frag *f)
{
    const uint32_t start = (uint32_t)f->index * PQB_FRAG_LEN;

    if (!pqb_frame_is_fragmentable(f->frame) || start >= f->total)
        return false;
    return f->piece.len == PQB_MIN(f->total - start, (uint32_t)PQB_FRAG_LEN);
}

static bool frag_a_is_consistent(const struct pqb_frame_frag_a *f)
{
    const size_t count = f->received.count;

    return count == 0 || f->received.at[count - 1].last < PQB_FRAG_COUNT_MAX;
}

bool pqb_frame_is_consistent(const struct pqb_frame *frame)
{
    switch (frame->type) {
    case PQB_FRAME_MSG_R:
        return msg_r_is_consistent(&frame->msg_r);
    case PQB_FRAME_MSG_N:
        return msg_n_is_consistent(&frame->msg_n);
    case PQB_FRAME_OFF_R:
        return frame->off_r.after >= frame->off_r.cursor;
    case PQB_FRAME_OFF_A:
        return off_a_is_consistent(&frame->off_a);
    case PQB_FRAME_SKIP_R:
        return skip_r_is_consistent(&frame->skip_r);
    case PQB_FRAME_GAP_N:
        return frame->gap_n.from <= frame->gap_n.to;
    case PQB_FRAME_FRAG:
        return frag_is_consistent(&frame->frag);
    case PQB_FRAME_FRAG_A:
        return frag_a_is_consistent(&frame->frag_a);
    case PQB_FRAME_PING:
    case PQB_FRAME_PONG:
    case PQB_FRAME_PATH_CHALLENGE:
    case PQB_FRAME_PATH_RESPONSE:
    case PQB_FRAME_NACK:
    case PQB_FRAME_KICK:
    case PQB_FRAME_LOGOUT:
    case PQB_FRAME_TICKET:
    case PQB_FRAME_MSG_A:
    case PQB_FRAME_ACK_R:
    case PQB_FRAME_ACK_A:
    case PQB_FRAME_ACK_N:
    case PQB_FRAME_OFF_N:
    case PQB_FRAME_STAT_R:
    case PQB_FRAME_STAT_A:
    case PQB_FRAME_EPOCH_R:
    case PQB_FRAME_EPOCH_A:
    case PQB_FRAME_SKIP_A:
    case PQB_FRAME_FRAG_RESET:
        return true;
    }
    return false;
}
