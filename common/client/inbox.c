// What comes for this device: put in order, handed over once, acknowledged. The cursor moves only
// when the application (and the store) has taken what it passes.
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/mutant.h"
#include "common/client/impl.h"

static struct pqb_inmsg *inmsg_of(struct pqb_list *link)
{
    return PQB_CONTAINER_OF(link, struct pqb_inmsg, link);
}

void pqb_inbox_init(struct pqb_client *c)
{
    struct pqb_inbox *in = &c->inbox;

    pqb_list_init(&in->buffer);
    pqb_attempt_done(&in->ack);
    in->handover_at = PQB_NEVER;
    in->piece_budget = PQB_CLIENT_REASSEMBLY;
    pqb_frag_in_init(&in->pieces);
}

static void drop_first(struct pqb_inbox *in)
{
    struct pqb_list *first = pqb_list_pop_front(&in->buffer);

    PQB_ASSERT(first != NULL);
    struct pqb_inmsg *m = inmsg_of(first);
    in->count--;
    in->bytes -= m->len;
    free(m);
}

static void clear(struct pqb_inbox *in)
{
    struct pqb_list *it;

    while ((it = pqb_list_pop_front(&in->buffer)) != NULL)
        free(inmsg_of(it));
    in->count = in->bytes = 0;
    pqb_frag_in_fini(&in->pieces);
    pqb_frag_in_init(&in->pieces);
    in->piece_budget = PQB_CLIENT_REASSEMBLY;
}

void pqb_inbox_fini(struct pqb_client *c)
{
    clear(&c->inbox);
}

void pqb_inbox_on_session(struct pqb_client *c)
{
    struct pqb_inbox *in = &c->inbox;

    clear(in);
    pqb_attempt_done(&in->ack);
    in->unacked = 0;
    in->cursor_acked = 0;
    in->has_answer = false;
    in->handover_at = PQB_NEVER;
    in->handover_tries = 0;
}

// -------------------------------------------------------------------------------- the cursor

// What came in order may wait for company. A repeat or a hole may not: the gateway is sending again
// or is about to.
static void want_ack(struct pqb_client *c, bool is_in_order, pqb_tstamp now)
{
    struct pqb_inbox *in = &c->inbox;

    in->unacked++;
    if (!is_in_order || in->unacked >= PQB_CLIENT_ACK_EVERY)
        pqb_attempt_ask_by(&in->ack, now);
    else
        pqb_attempt_ask_by(&in->ack, pqb_tstamp_add(now, c->ack_delay_ns));
}

static void move_cursor(struct pqb_client *c, uint64_t cursor, pqb_tstamp now)
{
    struct pqb_inbox *in = &c->inbox;

    PQB_ASSERT(cursor > in->cursor);
    in->cursor = cursor;
    in->head = PQB_MAX(in->head, cursor);
    in->is_cursor_pending = true;
    in->moved_at = now;
    in->handover_at = PQB_NEVER;
    in->handover_tries = 0;
    // Also when nothing came just now: the application may have been slow to take it.
    pqb_attempt_ask_by(&in->ack, pqb_tstamp_add(now, c->ack_delay_ns));
}

static void not_now(struct pqb_client *c, pqb_tstamp now)
{
    struct pqb_inbox *in = &c->inbox;
    const unsigned doublings = PQB_MIN(in->handover_tries, 16u);

    in->handover_tries++;
    in->handover_at =
        pqb_tstamp_add(now, PQB_MIN(PQB_CLIENT_HANDOVER_NS << doublings, PQB_CLIENT_HANDOVER_MAX));
}

// The application does not survive it. It is told when all is on disk, so that it may not survive
// that, either, without the message coming again.
static bool put_aside(struct pqb_client *c, const struct pqb_client_message *m, pqb_tstamp now)
{
    struct pqb_client_dead_letter letter = {
        .iseq = m->iseq,
        .time_ms = m->time_ms,
        .from = m->from,
        .device = m->device,
        .body = m->body,
        .len = m->len,
        .attempts = c->poison.deaths,
        .kind = m->kind,
    };

    if (c->store->dead_letter(c->store->ctx, &letter) != PQB_OK ||
        c->store->deliver(c->store->ctx, NULL, m->iseq) != PQB_OK) {
        not_now(c, now);
        return false;
    }
    move_cursor(c, m->iseq, now);
    c->stats.dead_letters++;
    letter.body = NULL;
    if (pqb_client_sync(c) && c->callbacks.on_dead_letter != NULL)
        c->callbacks.on_dead_letter(c->ctx, &letter);
    return true;
}

// The message at cursor + 1 goes to the application, then message and cursor to the store.
static bool hand_over(struct pqb_client *c, const struct pqb_client_message *m, pqb_tstamp now)
{
    bool is_taken = true;

    if (pqb_poison_is(c, m->iseq))
        return put_aside(c, m, now);
    if (!pqb_poison_begin(c, m->iseq)) {
        not_now(c, now);
        return false;
    }
    if (c->callbacks.on_message != NULL)
        is_taken = c->callbacks.on_message(c->ctx, m, m->iseq) == 0;
    if (is_taken)
        is_taken = c->store->deliver(c->store->ctx, m, m->iseq) == PQB_OK;
    if (is_taken) {
        c->stats.received++;
        move_cursor(c, m->iseq, now);
    } else {
        not_now(c, now);
    }
    pqb_poison_end(c, is_taken);
    return is_taken;
}

static bool step_over(struct pqb_client *c, uint64_t to, uint8_t gap, pqb_tstamp now)
{
    const uint64_t from = c->inbox.cursor + 1;

    if (c->store->deliver(c->store->ctx, NULL, to) != PQB_OK) {
        not_now(c, now);
        return false;
    }
    move_cursor(c, to, now);
    if (gap != 0 && c->callbacks.on_gap != NULL)
        c->callbacks.on_gap(c->ctx, from, to, gap);
    return true;
}

// ---------------------------------------------------------------------------------- the buffer

static bool is_blocked(const struct pqb_inbox *in, pqb_tstamp now)
{
    return in->handover_at != PQB_NEVER && now < in->handover_at;
}

static void fill_message(const struct pqb_inmsg *m, struct pqb_client_message *out)
{
    *out = (struct pqb_client_message){
        .iseq = m->first,
        .time_ms = m->time_ms,
        .from = m->content,
        .device = m->content + m->from_len + 1,
        .body = (const uint8_t *)m->content + m->from_len + m->device_len + 2,
        .len = m->len,
        .kind = m->kind,
    };
}

// Hands over what has become contiguous. The session may end in a callback; nothing is freed
// before the call is through, so the list stays whole.
static void drain(struct pqb_client *c, pqb_tstamp now)
{
    struct pqb_inbox *in = &c->inbox;

    while (!pqb_list_is_empty(&in->buffer) && !is_blocked(in, now) && !c->is_ending &&
           !c->is_closing) {
        struct pqb_inmsg *m = inmsg_of(in->buffer.next);

        if (m->last > in->cursor) {
            struct pqb_client_message message;

            if (m->first > in->cursor + 1 && !PQB_MUTANT(HOLES_ARE_PASSED))
                break;
            fill_message(m, &message);
            if (m->gap != 0 ? !step_over(c, m->last, m->gap, now) : !hand_over(c, &message, now))
                return;
        }
        drop_first(in);
    }
    pqb_pull_on_moved(c);
}

// Puts `m` where its position belongs.
static void insert(struct pqb_inbox *in, struct pqb_inmsg *m)
{
    struct pqb_list *at = in->buffer.prev;

    while (at != &in->buffer && inmsg_of(at)->first > m->first)
        at = at->prev;
    m->link.prev = at;
    m->link.next = at->next;
    at->next->prev = &m->link;
    at->next = &m->link;
    in->count++;
    in->bytes += m->len;
}

static bool is_buffered(const struct pqb_inbox *in, uint64_t first)
{
    PQB_LIST_FOREACH (it, &in->buffer) {
        const struct pqb_inmsg *m = PQB_CONTAINER_OF(it, struct pqb_inmsg, link);

        if (m->first >= first)
            return m->first == first;
    }
    return false;
}

// The next message in line is always kept: without it nothing could move.
static bool has_room(const struct pqb_inbox *in, uint64_t first, size_t len)
{
    if (first == in->cursor + 1)
        return true;
    return in->count < PQB_CLIENT_BUFFER_MAX && in->bytes + len <= PQB_CLIENT_BUFFER_BYTES;
}

static void buffer_message(struct pqb_client *c, const struct pqb_frame_msg_n *f)
{
    struct pqb_inbox *in = &c->inbox;
    struct pqb_inmsg *m = NULL;

    // What came in fragments found room when the first of them came, and they are acknowledged: it
    // stays, at most PQB_FRAG_IN_MAX of its kind beyond the bound.
    if (f->body.len > PQB_CLIENT_SURELY_WHOLE || has_room(in, f->iseq, f->body.len))
        m = malloc(sizeof(*m) + f->from.len + f->device.len + 2 + f->body.len);
    if (m == NULL) {
        c->stats.held_back++;
        return;
    }
    *m = (struct pqb_inmsg){
        .first = f->iseq,
        .last = f->iseq,
        .time_ms = f->time_ms,
        .len = (uint32_t)f->body.len,
        .kind = f->kind,
        .from_len = (uint8_t)f->from.len,
        .device_len = (uint8_t)f->device.len,
    };
    char *at = m->content;
    memcpy(at, f->from.data, f->from.len);
    at += f->from.len;
    *at++ = '\0';
    memcpy(at, f->device.data, f->device.len);
    at += f->device.len;
    *at++ = '\0';
    if (f->body.len > 0)
        memcpy(at, f->body.data, f->body.len);
    insert(in, m);
}

// ------------------------------------------------------------------------------------ arrivals

// A message that need not wait is handed over from the datagram, without a copy of its body.
static bool hand_over_directly(struct pqb_client *c, const struct pqb_frame_msg_n *f,
                               pqb_tstamp now)
{
    char from[PQB_USER_MAX + 1], device[PQB_DEVICE_MAX + 1];
    const struct pqb_client_message m = {
        .iseq = f->iseq,
        .time_ms = f->time_ms,
        .from = from,
        .device = device,
        .body = f->body.data,
        .len = f->body.len,
        .flags = f->iseq == 0 ? PQB_CLIENT_EPHEMERAL : 0,
        .kind = f->kind,
    };

    memcpy(from, f->from.data, f->from.len);
    from[f->from.len] = '\0';
    memcpy(device, f->device.data, f->device.len);
    device[f->device.len] = '\0';
    if (f->iseq != 0)
        return hand_over(c, &m, now);
    if (c->callbacks.on_message != NULL)
        (void)c->callbacks.on_message(c->ctx, &m, 0);
    return true;
}

void pqb_inbox_on_message(struct pqb_client *c, const struct pqb_frame_msg_n *f, pqb_tstamp now)
{
    struct pqb_inbox *in = &c->inbox;

    if (c->is_closing) // what the application has not taken comes again at the next login
        return;
    if (f->iseq == 0) {
        (void)hand_over_directly(c, f, now);
        return;
    }
    want_ack(c, f->iseq == in->cursor + 1, now);
    in->head = PQB_MAX(in->head, f->iseq);
    if (f->iseq <= in->cursor || is_buffered(in, f->iseq)) {
        c->stats.duplicates++;
        return;
    }
    if (f->iseq - in->cursor > PQB_PUSH_WINDOW) {
        c->stats.held_back++;
        return;
    }
    const bool is_next = f->iseq == in->cursor + 1 && !is_blocked(in, now);
    if (!is_next || !hand_over_directly(c, f, now))
        buffer_message(c, f);
    drain(c, now);
}

void pqb_inbox_on_gap(struct pqb_client *c, uint64_t from, uint64_t to, uint8_t reason,
                      pqb_tstamp now)
{
    struct pqb_inbox *in = &c->inbox;
    struct pqb_inmsg *m;

    want_ack(c, from <= in->cursor + 1 && to > in->cursor, now);
    in->head = PQB_MAX(in->head, to);
    if (to <= in->cursor || is_buffered(in, from))
        return;
    m = in->count < PQB_CLIENT_BUFFER_MAX || from <= in->cursor + 1 ? malloc(sizeof(*m)) : NULL;
    if (m == NULL) {
        c->stats.held_back++;
        return;
    }
    *m = (struct pqb_inmsg){.first = from, .last = to, .gap = reason};
    insert(in, m);
    drain(c, now);
}

void pqb_inbox_adopt(struct pqb_client *c, uint64_t cursor, pqb_tstamp now)
{
    const bool is_new_here = c->inbox.cursor == 0;

    if (cursor <= c->inbox.cursor)
        return;
    // The gateway sends nothing at or below it any more. A new device starts there; otherwise our
    // state is an older copy of what this device had taken.
    (void)step_over(c, cursor, is_new_here ? 0 : PQB_GAP_WAS_TAKEN, now);
    drain(c, now);
}

void pqb_inbox_on_ack_a(struct pqb_client *c, uint64_t cursor, pqb_tstamp now)
{
    struct pqb_inbox *in = &c->inbox;

    pqb_inbox_adopt(c, cursor, now);
    in->has_answer = true;
    in->cursor_acked = PQB_MAX(in->cursor_acked, cursor);
    if (in->cursor_acked >= in->cursor && in->unacked == 0)
        pqb_attempt_done(&in->ack);
}

void pqb_inbox_on_frag(struct pqb_client *c, const struct pqb_frame_frag *f, pqb_tstamp now)
{
    struct pqb_inbox *in = &c->inbox;
    struct pqb_reassembly *whole = NULL;
    struct pqb_frame_frag_reset evicted = {0};
    struct pqb_frame frame;

    if (f->frame != PQB_FRAME_MSG_N) {
        c->stats.dropped++;
        return;
    }
    if (f->seq > in->cursor && !is_buffered(in, f->seq) &&
        (f->seq - in->cursor > PQB_PUSH_WINDOW || !has_room(in, f->seq, f->total))) {
        c->stats.held_back++;
        return;
    }
    if (f->seq <= in->cursor || is_buffered(in, f->seq)) {
        // Taken already: the cursor (or its range) says so better than any piece.
        c->stats.duplicates++;
        want_ack(c, false, now);
        pqb_client_answer_frag(c, f->id, f->total, now);
        return;
    }
    switch (pqb_frag_in_on_piece(&in->pieces, f, &in->piece_budget, &whole, &evicted, now)) {
    case PQB_FRAG_HELD:
        pqb_client_answer_frag(c, f->id, 0, now);
        break;
    case PQB_FRAG_LATE:
        pqb_client_answer_frag(c, f->id, f->total, now);
        break;
    case PQB_FRAG_BAD:
    case PQB_FRAG_NO_MEMORY:
        c->stats.dropped++;
        pqb_client_answer_reset(c, f->id, f->seq);
        break;
    case PQB_FRAG_COMPLETE:
        if (pqb_frame_decode(c->scratch->unpacker, whole->frame,
                             (struct pqb_bytes){whole->content, whole->total},
                             &frame) == PQB_VERDICT_OK &&
            frame.msg_n.iseq == f->seq)
            pqb_inbox_on_message(c, &frame.msg_n, now);
        else
            c->stats.dropped++;
        pqb_frag_in_done(&in->pieces, f->id, &in->piece_budget);
        pqb_client_answer_frag(c, f->id, f->total, now);
        break;
    }
    if (evicted.id != 0)
        pqb_client_answer_reset(c, evicted.id, evicted.seq);
}

// ------------------------------------------------------------------------------------- timeout

void pqb_inbox_on_timeout(struct pqb_client *c, pqb_tstamp now)
{
    struct pqb_inbox *in = &c->inbox;
    struct pqb_frame_frag_reset expired;

    if (now >= in->handover_at) {
        in->handover_at = PQB_NEVER;
        drain(c, now);
    }
    while (pqb_frag_in_expire(&in->pieces, &expired, &in->piece_budget, now))
        pqb_client_answer_reset(c, expired.id, expired.seq);
}

// ------------------------------------------------------------------------------------- ack:R

// Ranges of what is buffered; the lowest ones when there are too many.
static void fill_ranges(const struct pqb_inbox *in, struct pqb_ranges *out)
{
    out->count = 0;
    PQB_LIST_FOREACH (it, &in->buffer) {
        const struct pqb_inmsg *m = PQB_CONTAINER_OF(it, struct pqb_inmsg, link);

        if (m->last <= in->cursor)
            continue;
        const uint64_t first = PQB_MAX(m->first, in->cursor + 1);
        struct pqb_range *previous = out->count > 0 ? &out->at[out->count - 1] : NULL;
        if (previous != NULL && first - 1 <= previous->last) { // a gap may end at the last number
            previous->last = PQB_MAX(previous->last, m->last);
            continue;
        }
        if (out->count == PQB_FRAME_RANGES_MAX)
            return;
        out->at[out->count++] = (struct pqb_range){first, m->last};
    }
}

size_t pqb_inbox_write_ack(struct pqb_client *c, uint8_t *out, size_t room, pqb_tstamp now)
{
    struct pqb_inbox *in = &c->inbox;
    struct pqb_frame frame = {.type = PQB_FRAME_ACK_R};
    size_t len;

    if (!PQB_MUTANT(CURSOR_BEFORE_SYNC) &&
        !pqb_client_sync(c)) // the gateway forgets what is below the cursor
        return 0;
    frame.ack_r.cursor = in->cursor;
    fill_ranges(in, &frame.ack_r.received);
    len = pqb_frame_encode(&frame, out, room);
    if (len == 0)
        return 0;
    in->unacked = 0;
    // Repeated until the cursor is durable there; ranges alone need no answer.
    if (in->cursor > in->cursor_acked || !in->has_answer)
        pqb_attempt_on_sent(&in->ack, c, now);
    else
        pqb_attempt_done(&in->ack);
    return len;
}

pqb_tstamp pqb_inbox_deadline(const struct pqb_client *c)
{
    return PQB_MIN(c->inbox.ack.at, pqb_frag_in_deadline(&c->inbox.pieces));
}
