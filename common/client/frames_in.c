// A DATA datagram from the gateway: judged by the channel, then frame by frame to whom it concerns.
#include <string.h>

#include "common/client/impl.h"

// Pieces after which a frag:A waits no longer, and how long it waits for more of them.
#define FRAG_ACK_EVERY 8
#define FRAG_ACK_NS    (5 * PQB_NS_PER_MS)

void pqb_client_answer_frag(struct pqb_client *c, uint32_t id, uint32_t total, pqb_tstamp now)
{
    struct pqb_answers *a = &c->answers;
    unsigned i = 0;

    a->frag_pieces++;
    a->frag_ack_at = PQB_MIN(a->frag_ack_at, a->frag_pieces >= FRAG_ACK_EVERY || total != 0
                                                 ? now
                                                 : pqb_tstamp_add(now, FRAG_ACK_NS));
    while (i < a->frag_ack_count && a->frag_acks[i].id != id)
        i++;
    if (i == PQB_CLIENT_FRAG_ACKS_MAX)
        return; // repeated with the next piece
    if (i == a->frag_ack_count)
        a->frag_acks[a->frag_ack_count++].total = 0;
    a->frag_acks[i].id = id;
    if (total != 0)
        a->frag_acks[i].total = total;
}

void pqb_client_answer_reset(struct pqb_client *c, uint32_t id, uint64_t seq)
{
    struct pqb_answers *a = &c->answers;

    for (unsigned i = 0; i < a->reset_count; i++) {
        if (a->resets[i].id == id)
            return;
    }
    if (a->reset_count < PQB_CLIENT_FRAG_ACKS_MAX)
        a->resets[a->reset_count++] = (struct pqb_frame_frag_reset){.id = id, .seq = seq};
}

static void on_kick(struct pqb_client *c, uint8_t reason)
{
    switch ((enum pqb_kick_reason)reason) {
    case PQB_KICK_REPLACED:
        pqb_client_end(c, PQB_REASON_REPLACED);
        return;
    case PQB_KICK_ADMIN:
        pqb_client_end(c, PQB_REASON_ADMIN);
        return;
    case PQB_KICK_DRAIN:
        pqb_client_end(c, PQB_REASON_DRAIN);
        return;
    case PQB_KICK_EPOCH:
        pqb_client_end(c, PQB_REASON_EPOCH);
        return;
    case PQB_KICK_GIVE_UP:
        pqb_client_end(c, PQB_REASON_GIVE_UP);
        return;
    case PQB_KICK_EXPIRED:
        pqb_client_end(c, PQB_REASON_EXPIRED);
        return;
    }
    pqb_client_end(c, PQB_REASON_ADMIN); // a reason of a newer gateway
}

static void put_off(struct pqb_attempt *a, const struct pqb_frame_nack *f, pqb_tstamp now)
{
    if (a->at != PQB_NEVER)
        a->at = pqb_tstamp_add(now, PQB_MIN(f->retry_after_ms, 60000u) * PQB_NS_PER_MS);
}

static void on_nack(struct pqb_client *c, const struct pqb_frame_nack *f, pqb_tstamp now)
{
    switch (f->frame) {
    case PQB_FRAME_MSG_R:
    case PQB_FRAME_FRAG:
        pqb_outbox_on_nack(c, f, now);
        return;
    case PQB_FRAME_EPOCH_R:
        put_off(&c->login.epoch, f, now);
        return;
    case PQB_FRAME_SKIP_R:
        put_off(&c->outbox.skip, f, now);
        return;
    case PQB_FRAME_OFF_R:
        put_off(&c->pull.ask, f, now);
        return;
    case PQB_FRAME_ACK_R:
        put_off(&c->inbox.ack, f, now);
        return;
    default: // stat:R and what a newer client may ask: the next round asks again
        return;
    }
}

// The gateway sees another address: a NAT has moved this client, unasked. What is on the way back
// went to the old one, so it is asked for again at once; and a NAT that forgets so soon needs to
// hear from this client more often.
static void on_path_challenge(struct pqb_client *c, const struct pqb_frame_path *f)
{
    const bool is_repeat = memcmp(c->answers.path, f->data, PQB_PATH_LEN) == 0;

    c->answers.has_path = true;
    memcpy(c->answers.path, f->data, PQB_PATH_LEN);
    if (is_repeat)
        return;
    pqb_client_ask_again(c);
    c->keepalive_now_ns = PQB_MIN(c->login.keepalive_ns, PQB_CLIENT_KEEPALIVE_MIN_NS);
}

static void on_frame(struct pqb_client *c, const struct pqb_frame *f, pqb_tstamp now)
{
    switch (f->type) {
    case PQB_FRAME_PING:
        c->answers.has_pong = true;
        c->answers.pong_nonce = f->ping.nonce;
        return;
    case PQB_FRAME_PATH_CHALLENGE:
        on_path_challenge(c, &f->path);
        return;
    case PQB_FRAME_NACK:
        on_nack(c, &f->nack, now);
        return;
    case PQB_FRAME_KICK:
        on_kick(c, f->kick.reason);
        return;
    case PQB_FRAME_TICKET:
        pqb_identity_on_ticket(c, &f->ticket);
        return;
    case PQB_FRAME_MSG_A:
        pqb_outbox_on_msg_a(c, &f->msg_a, now);
        return;
    case PQB_FRAME_MSG_N:
        pqb_inbox_on_message(c, &f->msg_n, now);
        return;
    case PQB_FRAME_ACK_A:
        pqb_inbox_on_ack_a(c, f->ack_a.cursor, now);
        return;
    case PQB_FRAME_ACK_N:
        pqb_watch_on_ack_n(c, &f->ack_n);
        return;
    case PQB_FRAME_OFF_A:
        pqb_pull_on_off_a(c, &f->off_a);
        return;
    case PQB_FRAME_OFF_N:
        pqb_pull_on_off_n(c, f->off_n.head);
        return;
    case PQB_FRAME_STAT_A:
        pqb_watch_on_stat_a(c, &f->stat_a);
        return;
    case PQB_FRAME_EPOCH_A:
        pqb_login_on_epoch(c, &f->epoch_a);
        return;
    case PQB_FRAME_SKIP_A:
        pqb_outbox_on_skip_a(c, &f->skip_a, now);
        return;
    case PQB_FRAME_GAP_N:
        pqb_inbox_on_gap(c, f->gap_n.from, f->gap_n.to, f->gap_n.reason, now);
        return;
    case PQB_FRAME_FRAG:
        pqb_inbox_on_frag(c, &f->frag, now);
        return;
    case PQB_FRAME_FRAG_A:
        pqb_large_on_ack(c, &f->frag_a, now);
        return;
    case PQB_FRAME_FRAG_RESET:
        pqb_large_on_reset(c, f->frag_reset.id, now);
        return;
    case PQB_FRAME_PONG: // any DATA is a sign of life; the echo gave the sample
        c->keepalive_now_ns = PQB_MIN(c->keepalive_now_ns / 4 * 5, c->login.keepalive_ns);
        return;
    case PQB_FRAME_PATH_RESPONSE:
    case PQB_FRAME_LOGOUT:
    case PQB_FRAME_MSG_R:
    case PQB_FRAME_ACK_R:
    case PQB_FRAME_OFF_R:
    case PQB_FRAME_STAT_R:
    case PQB_FRAME_EPOCH_R:
    case PQB_FRAME_SKIP_R:
        c->stats.dropped++; // a client's frames
        return;
    }
}

static void walk_frames(struct pqb_client *c, const struct pqb_data *d, pqb_tstamp now)
{
    const uint8_t *at = d->frames, *end = d->frames + d->frames_len;
    enum pqb_verdict verdict;
    struct pqb_bytes content;
    uint8_t code;

    while (!c->is_ending && pqb_frame_next(&at, end, &code, &content, &verdict)) {
        struct pqb_frame frame;

        if (!pqb_frame_is_known(code) ||
            pqb_frame_decode(c->scratch->unpacker, code, content, &frame) != PQB_VERDICT_OK) {
            c->stats.dropped++;
            continue;
        }
        on_frame(c, &frame, now);
    }
}

void pqb_client_on_data(struct pqb_client *c, const uint8_t *data, size_t len, pqb_tstamp now)
{
    struct pqb_data d;
    enum pqb_verdict verdict;

    if (c->channel.cid == 0 || pqb_datagram_cid(data, len) != c->channel.cid ||
        pqb_channel_open(&c->channel, data, len, c->scratch->plain, &d, &verdict, now) !=
            PQB_CHANNEL_GENUINE ||
        pqb_channel_on_data(&c->channel, &d, now).verdict != PQB_REPLAY_NEW) {
        c->stats.dropped++;
        return;
    }
    c->unanswered_since = PQB_NEVER;
    if (c->login.phase == PQB_LOGIN_CONFIRMING)
        pqb_login_on_confirmed(c, now);
    walk_frames(c, &d, now);
}
