// The next DATA datagram: answers first, then requests, then messages as the congestion window
// allows. Frames are composed when there is a datagram to put them in, never queued.
#include <string.h>

#include "common/base/check.h"
#include "common/client/impl.h"

struct datagram {
    uint8_t *at;
    size_t room;
    bool is_eliciting; // holds something that the gateway must answer
};

static bool take(struct datagram *d, size_t len)
{
    d->at += len;
    d->room -= len;
    return len > 0;
}

static bool put(struct datagram *d, const struct pqb_frame *frame)
{
    return take(d, pqb_frame_encode(frame, d->at, d->room));
}

static void put_eliciting(struct datagram *d, size_t len)
{
    d->is_eliciting |= take(d, len);
}

// -------------------------------------------------------------------------------------- answers

static void put_path(struct pqb_client *c, struct datagram *d)
{
    struct pqb_frame frame = {.type = PQB_FRAME_PATH_RESPONSE};

    if (!c->answers.has_path)
        return;
    memcpy(frame.path.data, c->answers.path, PQB_PATH_LEN);
    if (put(d, &frame))
        c->answers.has_path = false;
}

static void put_pong(struct pqb_client *c, struct datagram *d)
{
    const struct pqb_frame frame = {.type = PQB_FRAME_PONG, .ping = {c->answers.pong_nonce}};

    if (c->answers.has_pong && put(d, &frame))
        c->answers.has_pong = false;
}

static void put_frag_resets(struct pqb_client *c, struct datagram *d)
{
    struct pqb_answers *a = &c->answers;

    while (a->reset_count > 0) {
        const struct pqb_frame frame = {.type = PQB_FRAME_FRAG_RESET,
                                        .frag_reset = a->resets[a->reset_count - 1]};

        if (!put(d, &frame))
            return;
        a->reset_count--;
    }
}

static void put_frag_acks(struct pqb_client *c, struct datagram *d)
{
    struct pqb_answers *a = &c->answers;

    while (a->frag_ack_count > 0) {
        const uint32_t id = a->frag_acks[a->frag_ack_count - 1].id;
        const uint32_t total = a->frag_acks[a->frag_ack_count - 1].total;
        struct pqb_frame frame = {.type = PQB_FRAME_FRAG_A, .frag_a = {.id = id}};
        bool is_known = true;

        if (total != 0) {
            frame.frag_a.received.count = 1;
            frame.frag_a.received.at[0] = (struct pqb_range){0, (total - 1) / PQB_FRAG_LEN};
        } else {
            is_known = pqb_frag_in_ranges(&c->inbox.pieces, id, &frame.frag_a.received);
        }
        if (is_known && !put(d, &frame))
            return;
        a->frag_ack_count--;
    }
    a->frag_pieces = 0;
    a->frag_ack_at = PQB_NEVER;
}

static bool has_answers(const struct pqb_answers *a)
{
    return a->has_path || a->has_pong || a->has_ping || a->has_logout || a->reset_count > 0;
}

// ------------------------------------------------------------------------------------- requests

static void put_epoch(struct pqb_client *c, struct datagram *d, pqb_tstamp now)
{
    struct pqb_frame frame = {.type = PQB_FRAME_EPOCH_R};

    if (!pqb_attempt_is_due(&c->login.epoch, now))
        return;
    memcpy(frame.epoch_r.nonce, c->login.nonce, PQB_NONCE_LEN);
    if (put(d, &frame)) {
        d->is_eliciting = true;
        pqb_attempt_on_sent(&c->login.epoch, c, now);
    }
}

// Without an answer ever more seldom: six in the 20 s until the peer is taken for dead, one in
// three seconds as RFC 8085 3.1.3 wants it. Many who lose the gateway at a time do not crowd its
// return.
static pqb_duration probe_pause(const struct pqb_client *c)
{
    const pqb_duration silence = pqb_elapsed(c->unanswered_since, c->sent_at);

    return PQB_MAX(PQB_CLIENT_PROBE_NS, silence / 2);
}

static pqb_tstamp ping_at(const struct pqb_client *c)
{
    const pqb_duration pause =
        c->unanswered_since != PQB_NEVER ? probe_pause(c) : c->keepalive_now_ns;

    return c->answers.has_ping ? 0
                               : pqb_tstamp_add(c->sent_at, PQB_MIN(pause, c->keepalive_now_ns));
}

static void put_ping(struct pqb_client *c, struct datagram *d, pqb_tstamp now)
{
    const struct pqb_frame frame = {.type = PQB_FRAME_PING, .ping = {c->channel.pn_next}};

    if (now < ping_at(c))
        return;
    if (put(d, &frame)) {
        c->answers.has_ping = false;
        d->is_eliciting = true;
    }
}

static void put_messages(struct pqb_client *c, struct datagram *d, pqb_tstamp now)
{
    take(d, pqb_outbox_write_ephemeral(c, d->at, d->room));
    put_eliciting(d, pqb_outbox_write_skip(c, d->at, d->room, now));
    put_eliciting(d, pqb_watch_write(c, d->at, d->room));
    put_eliciting(d, pqb_outbox_write(c, d->at, d->room, now));
    put_eliciting(d, pqb_large_write(c, d->at, d->room, now));
}

// An acknowledgement is due, or rides along with what leaves anyway.
static void put_ack(struct pqb_client *c, struct datagram *d, bool is_company, pqb_tstamp now)
{
    const bool is_waiting = c->inbox.unacked > 0;
    uint8_t *const at = d->at;

    if (!pqb_attempt_is_due(&c->inbox.ack, now) && !(is_company && is_waiting))
        return;
    take(d, pqb_inbox_write_ack(c, at, d->room, now));
    if (d->at != at && c->inbox.ack.at != PQB_NEVER)
        d->is_eliciting = true;
}

// Messages may go with what confirms the login: the gateway keeps a few datagrams for it. Their
// seqs are in its epoch, RESP has told that.
static bool may_send_early(const struct pqb_client *c)
{
    return c->login.phase == PQB_LOGIN_CONFIRMING && c->outbox.epoch != 0 &&
           c->login.early < PQB_CLIENT_EARLY_MAX;
}

static void write_frames(struct pqb_client *c, struct datagram *d, pqb_tstamp now)
{
    const size_t empty = d->room;

    put_path(c, d);
    put_pong(c, d);
    put_frag_resets(c, d);
    if (now >= c->answers.frag_ack_at)
        put_frag_acks(c, d);
    put_ack(c, d, false, now);
    put_epoch(c, d, now);
    put_ping(c, d, now);
    if (c->state == PQB_CLIENT_ONLINE) {
        put_eliciting(d, pqb_pull_write(c, d->at, d->room, now));
        put_messages(c, d, now);
    } else if (may_send_early(c)) {
        put_eliciting(d, pqb_outbox_write_skip(c, d->at, d->room, now));
        put_eliciting(d, pqb_outbox_write(c, d->at, d->room, now));
    }
    if (d->room < empty)
        put_ack(c, d, true, now);
}

static size_t finish(struct pqb_client *c, uint8_t *out, const struct datagram *d, pqb_tstamp now)
{
    if (d->is_eliciting && c->unanswered_since == PQB_NEVER)
        c->unanswered_since = now;
    if (c->login.phase == PQB_LOGIN_CONFIRMING)
        c->login.early++;
    c->sent_at = now;
    return pqb_channel_seal(&c->channel, out, (size_t)(d->at - out) - PQB_DATA_HEADER_LEN, now);
}

size_t pqb_client_write_data(struct pqb_client *c, uint8_t *out, pqb_tstamp now)
{
    const struct pqb_frame logout = {.type = PQB_FRAME_LOGOUT};
    struct datagram d = {.at = out + PQB_DATA_HEADER_LEN, .room = PQB_FRAMES_MAX};

    if (c->answers.has_logout) {
        put_ack(c, &d, true, now);
        if (put(&d, &logout))
            pqb_client_end(c, PQB_REASON_CLOSED);
    } else {
        write_frames(c, &d, now);
    }
    if (d.room == PQB_FRAMES_MAX)
        return 0;
    return finish(c, out, &d, now);
}

pqb_tstamp pqb_client_frames_deadline(const struct pqb_client *c)
{
    pqb_tstamp at;

    if (has_answers(&c->answers))
        return 0;
    at = PQB_MIN(c->answers.frag_ack_at, pqb_inbox_deadline(c));
    at = PQB_MIN(at, PQB_MIN(c->login.epoch.at, ping_at(c)));
    at = PQB_MIN(at, pqb_tstamp_add(c->unanswered_since, PQB_CLIENT_SILENCE_NS));
    at = PQB_MIN(at, pqb_channel_deadline(&c->channel));
    if (may_send_early(c))
        return PQB_MIN(at, pqb_outbox_deadline(c));
    if (c->state != PQB_CLIENT_ONLINE)
        return at;
    if (c->watches.to_ask > 0)
        return 0;
    at = PQB_MIN(at, PQB_MIN(c->watches.at, pqb_pull_deadline(c)));
    return PQB_MIN(at, PQB_MIN(pqb_outbox_deadline(c), pqb_large_deadline(c)));
}
