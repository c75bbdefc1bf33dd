#include <string.h>

#include "common/base/mutant.h"
#include "gateway/core/engine_impl.h"

enum frame_fate {
    FRAME_TAKEN,
    FRAME_ENDS_SESSION,
};

static void on_ping(struct pqb_engine *e, struct pqb_session *s, const struct pqb_frame_ping *f)
{
    const struct pqb_frame pong = {.type = PQB_FRAME_PONG, .ping = *f};

    pqb_session_answer(e, s, &pong);
}

static void on_path_response(struct pqb_engine *e, struct pqb_session *s,
                             const struct pqb_frame_path *f)
{
    bool is_same_ip;

    if (!pqb_path_on_response(&s->path, f->data, &is_same_ip))
        return;
    pqb_count(e, PQB_COUNTER_PATH_MOVED);
    // What is on the way went to the old address: do not wait for timeouts to find out.
    pqb_sent_map_mark_all_lost(&s->sent, &s->channel);
    pqb_channel_on_path_change(&s->channel, is_same_ip);
}

static enum frame_fate on_frame(struct pqb_engine *e, struct pqb_session *s,
                                const struct pqb_frame *f, pqb_tstamp now)
{
    switch (f->type) {
    case PQB_FRAME_PING:
        on_ping(e, s, &f->ping);
        break;
    case PQB_FRAME_PONG:
        break;
    case PQB_FRAME_PATH_RESPONSE:
        on_path_response(e, s, &f->path);
        break;
    case PQB_FRAME_LOGOUT:
        pqb_count(e, PQB_COUNTER_SESSION_LOGOUT);
        return FRAME_ENDS_SESSION;
    case PQB_FRAME_MSG_R:
        pqb_submit_message(e, s, &f->msg_r, now);
        break;
    case PQB_FRAME_ACK_R:
        pqb_ack_on_frame(e, s, &f->ack_r, now);
        break;
    case PQB_FRAME_OFF_R:
        pqb_offline_on_request(e, s, &f->off_r, now);
        break;
    case PQB_FRAME_STAT_R:
        pqb_op_stat(e, s, &f->stat_r);
        break;
    case PQB_FRAME_EPOCH_R:
        pqb_op_epoch(e, s, &f->epoch_r);
        break;
    case PQB_FRAME_SKIP_R:
        pqb_op_skip(e, s, &f->skip_r);
        break;
    case PQB_FRAME_FRAG:
        pqb_fragments_on_piece(e, s, &f->frag, now);
        break;
    case PQB_FRAME_FRAG_A:
        pqb_fragments_on_ack(s, &f->frag_a, now);
        break;
    case PQB_FRAME_FRAG_RESET:
        pqb_fragments_on_reset(s, &f->frag_reset);
        break;
    case PQB_FRAME_PATH_CHALLENGE:
    case PQB_FRAME_TICKET:
    case PQB_FRAME_NACK:
    case PQB_FRAME_KICK:
    case PQB_FRAME_MSG_A:
    case PQB_FRAME_MSG_N:
    case PQB_FRAME_ACK_A:
    case PQB_FRAME_ACK_N:
    case PQB_FRAME_OFF_A:
    case PQB_FRAME_OFF_N:
    case PQB_FRAME_STAT_A:
    case PQB_FRAME_EPOCH_A:
    case PQB_FRAME_SKIP_A:
    case PQB_FRAME_GAP_N:
        pqb_count(e, PQB_COUNTER_DROP_DIRECTION);
        break;
    }
    return FRAME_TAKEN;
}

static enum frame_fate on_frames(struct pqb_engine *e, struct pqb_session *s, const uint8_t *at,
                                 const uint8_t *end, pqb_tstamp now)
{
    enum pqb_verdict verdict = PQB_VERDICT_OK;
    struct pqb_bytes content;
    struct pqb_frame frame;
    uint8_t code;

    while (pqb_frame_next(&at, end, &code, &content, &verdict)) {
        if (!pqb_frame_is_known(code)) {
            pqb_count(e, PQB_COUNTER_DROP_UNKNOWN_FRAME);
            continue;
        }
        verdict = pqb_frame_decode(e->unpacker, code, content, &frame);
        if (verdict != PQB_VERDICT_OK) {
            pqb_count_verdict(e, verdict);
            verdict = PQB_VERDICT_OK;
            continue;
        }
        pqb_count_frame(e, code);
        if (on_frame(e, s, &frame, now) == FRAME_ENDS_SESSION)
            return FRAME_ENDS_SESSION;
    }
    pqb_count_verdict(e, verdict);
    return FRAME_TAKEN;
}

static bool open_datagram(struct pqb_engine *e, struct pqb_session *s, const uint8_t *data,
                          size_t len, struct pqb_data *d, pqb_tstamp now)
{
    enum pqb_verdict verdict;

    switch (pqb_channel_open(&s->channel, data, len, e->plain, d, &verdict, now)) {
    case PQB_CHANNEL_GENUINE:
        return true;
    case PQB_CHANNEL_DUPLICATE:
        pqb_count(e, PQB_COUNTER_DROP_REPLAY);
        return false;
    case PQB_CHANNEL_STALE:
        pqb_count(e, PQB_COUNTER_DROP_STALE);
        return false;
    case PQB_CHANNEL_FORGED:
        pqb_count(e, PQB_COUNTER_DROP_FORGED);
        return false;
    case PQB_CHANNEL_BAD:
        pqb_count_verdict(e, verdict);
        return false;
    }
    return false;
}

void pqb_session_on_datagram(struct pqb_engine *e, struct pqb_session *s,
                             const struct pqb_addr *from, const uint8_t *data, size_t len,
                             pqb_tstamp now)
{
    struct pqb_data d;
    struct pqb_channel_receipt receipt;

    if (PQB_MUTANT(MOVE_BEFORE_OPENING) &&
        pqb_path_on_datagram(&s->path, from, (uint32_t)len, true, &e->rng) != PQB_OK)
        pqb_count(e, PQB_COUNTER_MEMORY_FAILED);
    if (!open_datagram(e, s, data, len, &d, now))
        return;
    receipt = pqb_channel_on_data(&s->channel, &d, now);
    switch (receipt.verdict) {
    case PQB_REPLAY_NEW:
        break;
    case PQB_REPLAY_DUPLICATE:
        pqb_count(e, PQB_COUNTER_DROP_REPLAY);
        return;
    case PQB_REPLAY_STALE:
        pqb_count(e, PQB_COUNTER_DROP_STALE);
        return;
    }
    if (pqb_path_on_datagram(&s->path, from, (uint32_t)len, receipt.is_newest, &e->rng) != PQB_OK)
        pqb_count(e, PQB_COUNTER_MEMORY_FAILED);
    if (on_frames(e, s, d.frames, d.frames + d.frames_len, now) == FRAME_ENDS_SESSION) {
        pqb_ack_last(e, s);
        pqb_session_close(e, s);
    } else {
        pqb_session_touch(e, s);
    }
}
