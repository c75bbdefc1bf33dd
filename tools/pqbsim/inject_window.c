// window-abuse: what a logged-in device can say about seqs, cursors and ranges that is not so. Each
// kind is a device of its own, so that its answers and what it costs can be told from the others'.
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "gateway/io/stats_page.h"
#include "tools/pqbsim/inject_device.h"

#define RAISED_LOW        1000000
#define FRAMES_EACH       32  // of the same kind in a datagram
#define FRAME_ROOM        200 // enough for the longest and what follows it
#define UNANSWERED_MAX    0.5
#define SPARSE_STEP       (UINT64_C(1) << 40)
#define FAR               (UINT64_C(1) << 62)
#define CURSOR_ABOVE_EACH 4

enum window_kind {
    BEYOND,
    BELOW,
    OTHER_BODY,
    DENSE,
    SPARSE,
    AFTER,
    SKIP,
    CURSOR,
    RANGES,
};

static const struct inject_kind window_kinds[] = {
    [BEYOND] = {"beyond-window", 0},  [BELOW] = {"low-backwards", 0},
    [OTHER_BODY] = {"other-body", 0}, [DENSE] = {"distinct-ids", 0},
    [SPARSE] = {"sparse-ids", 0},     [AFTER] = {"after-loops", 0},
    [SKIP] = {"skip-ranges", 0},      [CURSOR] = {"cursor-above-head", 0},
    [RANGES] = {"ack-ranges", 0},
};

#define KINDS PQB_ARRAY_LEN(window_kinds)

// One of them; `flow` keeps the window of those that keep one.
struct abuser {
    struct inject_flow flow;
    uint32_t kind;
    uint64_t ids;      // seqs, cursors, lists of ranges that were said
    uint64_t accepted; // msg:A for one of them that should not have been
    uint64_t nacks[PQB_NACK_INVALID + 1];
    uint64_t abandoned;               // by skip:A
    bool is_accepted[PQB_SEQ_WINDOW]; // OTHER_BODY
};

static struct abuser abusers[KINDS];

// ---------------------------------------------------------------------------- frames as bytes
// What the encoder refuses to write.

struct raw {
    uint8_t *at, *frame;
};

static struct raw raw_begin(uint8_t *out, enum pqb_frame_type type, unsigned elements)
{
    out[0] = (uint8_t)type;
    out[PQB_FRAME_HEADER_LEN] = (uint8_t)(0x90 | elements);
    return (struct raw){.frame = out, .at = out + PQB_FRAME_HEADER_LEN + 1};
}

static void raw_uint(struct raw *r, uint64_t value)
{
    *r->at++ = 0xcf;
    for (int shift = 56; shift >= 0; shift -= 8)
        *r->at++ = (uint8_t)(value >> shift);
}

static void raw_array(struct raw *r, uint16_t elements)
{
    *r->at++ = 0xdc;
    *r->at++ = (uint8_t)(elements >> 8);
    *r->at++ = (uint8_t)elements;
}

static void raw_byte(struct raw *r, uint8_t byte)
{
    *r->at++ = byte;
}

static size_t raw_end(struct raw *r)
{
    const size_t len = (size_t)(r->at - r->frame) - PQB_FRAME_HEADER_LEN;

    r->frame[1] = (uint8_t)(len >> 8);
    r->frame[2] = (uint8_t)len;
    return len + PQB_FRAME_HEADER_LEN;
}

// msg:R with any seq, low and after.
static size_t raw_message(uint8_t *out, uint64_t seq, uint64_t low, uint64_t after)
{
    struct raw r = raw_begin(out, PQB_FRAME_MSG_R, 7);

    raw_uint(&r, seq);
    raw_uint(&r, low);
    raw_uint(&r, after);
    raw_byte(&r, 0); // flags
    raw_byte(&r, 0); // kind
    raw_byte(&r, 0xa1);
    raw_byte(&r, 'q'); // nobody
    raw_byte(&r, 0xc4);
    raw_byte(&r, 0); // empty body
    return raw_end(&r);
}

// Arrays of pairs that are neither ascending nor disjoint nor few, as ack:R and skip:R have them.
static size_t raw_ranges(struct inject *in, uint8_t *out, enum pqb_frame_type type)
{
    struct raw r = raw_begin(out, type, 2);
    const uint16_t pairs = 1 + (uint16_t)pqb_rng_below(&in->rng, 48);
    const uint16_t told = pqb_rng_below(&in->rng, 4) == 0 ? UINT16_MAX : pairs;

    raw_uint(&r, 0);
    raw_array(&r, told);
    for (unsigned i = 0; i < pairs; i++) {
        raw_array(&r, 2);
        raw_uint(&r, pqb_rng_next(&in->rng) >> pqb_rng_below(&in->rng, 64));
        raw_uint(&r, UINT64_MAX - i);
    }
    return raw_end(&r);
}

// --------------------------------------------------------------------------------- what is said

static struct pqb_frame message(const struct abuser *a, uint64_t seq, uint64_t low,
                                const uint64_t *body)
{
    struct pqb_frame f = {.type = PQB_FRAME_MSG_R};
    static const char *const to[KINDS] = {
        [BEYOND] = "abused-beyond", [BELOW] = "abused-low",     [OTHER_BODY] = "abused-body",
        [DENSE] = "abused-dense",   [SPARSE] = "abused-sparse", [AFTER] = "abused-after",
        [SKIP] = "abused-skip",     [CURSOR] = "abused-cursor", [RANGES] = "abused-ranges"};

    f.msg_r.seq = seq;
    f.msg_r.low = low;
    f.msg_r.to = (struct pqb_text){to[a->kind], strlen(to[a->kind])};
    if (body != NULL)
        f.msg_r.body = (struct pqb_bytes){(const uint8_t *)body, sizeof(*body)};
    return f;
}

static uint64_t seq_beyond(struct abuser *a)
{
    const uint64_t n = a->ids / 2;

    return 1 + PQB_SEQ_WINDOW + (a->ids % 2 == 0 ? n : FAR + n);
}

// The next message of `a`; false: none now.
static bool next_message(struct inject *in, struct abuser *a, struct pqb_frame *f, uint64_t *body,
                         bool is_first, pqb_tstamp now)
{
    uint64_t seq = 0, low = 1;

    *body = pqb_rng_next(&in->rng);
    switch ((enum window_kind)a->kind) {
    case BEYOND:
        seq = seq_beyond(a);
        break;
    case BELOW: // the first of each datagram raises low, always with the same message
        seq = is_first ? RAISED_LOW : 1 + pqb_rng_below(&in->rng, RAISED_LOW - 1);
        low = is_first ? seq : 1 + pqb_rng_below(&in->rng, seq);
        *body = seq;
        break;
    case OTHER_BODY:
        seq = 1 + a->ids % PQB_SEQ_WINDOW;
        break;
    case DENSE:
        seq = inject_flow_take(&a->flow, now);
        low = a->flow.device.low;
        *body = seq;
        break;
    case SPARSE:
        a->flow.next += 1 + pqb_rng_below(&in->rng, SPARSE_STEP);
        low = seq = a->flow.device.low = a->flow.next;
        break;
    case AFTER: // a chain whose first never comes
        seq = 3 + a->ids % (PQB_SEQ_WINDOW - 2);
        *body = seq;
        break;
    case SKIP:
    case CURSOR:
    case RANGES:
        return false;
    }
    *f = message(a, seq, low, body);
    if (a->kind == AFTER)
        f->msg_r.after = seq - 1;
    return seq != 0;
}

static size_t put_messages(struct inject *in, struct abuser *a, uint8_t *out, pqb_tstamp now)
{
    size_t used = 0;

    for (unsigned i = 0; i < FRAMES_EACH; i++) {
        struct pqb_frame f;
        uint64_t body;
        size_t longer;

        // A seq that was taken from the flow must go: there is room for the longest.
        if (used > PQB_FRAMES_MAX - FRAME_ROOM || !next_message(in, a, &f, &body, i == 0, now))
            break;
        longer = inject_device_put(&f, out, used);
        PQB_ASSERT(longer > used);
        used = longer;
        a->ids++;
    }
    if (a->kind == AFTER && used > 0) { // after itself, and after one that is after it
        used += raw_message(out + used, 2, 1, 2);
        used += raw_message(out + used, 1, 1, 2);
    }
    return used;
}

static size_t put_skips(struct inject *in, struct abuser *a, uint8_t *out)
{
    struct pqb_frame f = {.type = PQB_FRAME_SKIP_R};
    struct raw r;
    size_t used;

    f.skip_r.low = 1;
    f.skip_r.seqs.count = 1;
    f.skip_r.seqs.at[0].first = FAR + pqb_rng_next(&in->rng) % FAR;
    f.skip_r.seqs.at[0].last = f.skip_r.seqs.at[0].first + PQB_SKIP_MAX - 1;
    a->ids += PQB_SKIP_MAX;
    used = inject_device_put(&f, out, 0);
    r = raw_begin(out + used, PQB_FRAME_SKIP_R, 2);
    raw_uint(&r, 1);
    raw_array(&r, 1);
    raw_array(&r, 2);
    raw_uint(&r, 1);
    raw_uint(&r, UINT64_MAX);
    used += raw_end(&r);
    return used + raw_ranges(in, out + used, PQB_FRAME_SKIP_R);
}

static size_t put_cursors(struct inject *in, struct abuser *a, uint8_t *out)
{
    size_t used = 0;

    for (unsigned i = 0; i < CURSOR_ABOVE_EACH; i++, a->ids++) {
        struct pqb_frame f = {.type = PQB_FRAME_ACK_R};
        const uint64_t above = UINT64_MAX - (pqb_rng_next(&in->rng) >> (1 + 8 * i));

        f.ack_r.cursor = above;
        used = inject_device_put(&f, out, used);
        f = (struct pqb_frame){.type = PQB_FRAME_OFF_R};
        f.off_r.cursor = i % 2 == 0 ? above : 0;
        f.off_r.after = above;
        f.off_r.max = f.off_r.max_bytes = UINT32_MAX;
        used = inject_device_put(&f, out, used);
    }
    return used;
}

static size_t put_ranges(struct inject *in, struct abuser *a, uint8_t *out)
{
    struct pqb_frame f = {.type = PQB_FRAME_ACK_R};
    size_t used;

    f.ack_r.received.count = 2; // well formed, about nothing that was ever sent
    f.ack_r.received.at[0] = (struct pqb_range){1, FAR};
    f.ack_r.received.at[1] = (struct pqb_range){FAR + 2, UINT64_MAX};
    used = inject_device_put(&f, out, 0);
    a->ids++;
    return used + raw_ranges(in, out + used, PQB_FRAME_ACK_R);
}

static size_t make_window(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    struct abuser *a = &abusers[kind];
    struct inject_device *d = &a->flow.device;
    size_t used = 0;

    if (d->init_id == 0) {
        char user[24];

        (void)snprintf(user, sizeof(user), "abuser%u", kind);
        a->kind = kind;
        inject_flow_init(in, &a->flow, user, (pqb_rng_next(&in->rng) << 8) | 1);
    }
    if (!inject_device_is_ready(d))
        return inject_device_log_in(d, out, now);
    switch ((enum window_kind)kind) {
    case BEYOND:
    case BELOW:
    case OTHER_BODY:
    case DENSE:
    case SPARSE:
    case AFTER:
        used = put_messages(in, a, out, now);
        break;
    case SKIP:
        used = put_skips(in, a, out);
        break;
    case CURSOR:
        used = put_cursors(in, a, out);
        break;
    case RANGES:
        used = put_ranges(in, a, out);
        break;
    }
    return used > 0 ? inject_device_stamp(d, out, used) : 0;
}

// ------------------------------------------------------------------------------ what came back

// Whether a message that was accepted should not have been.
static bool is_wrong(struct abuser *a, const struct pqb_frame_msg_a *m)
{
    bool *seen = &a->is_accepted[m->seq % PQB_SEQ_WINDOW];

    switch ((enum window_kind)a->kind) {
    case BEYOND:
    case AFTER:
    case SKIP:
    case CURSOR:
    case RANGES:
        return true;
    case BELOW:
        return m->seq != RAISED_LOW;
    case OTHER_BODY:
        if (*seen)
            return true;
        *seen = true;
        return false;
    case DENSE:
    case SPARSE:
        break;
    }
    return false;
}

static void on_frame(void *ctx, const struct pqb_frame *f)
{
    struct abuser *a = ctx;
    uint64_t seq;
    bool is_accepted;

    if (a->kind == DENSE)
        (void)inject_flow_on_frame(&a->flow, f, &seq, &is_accepted);
    if (f->type == PQB_FRAME_MSG_A)
        a->accepted += is_wrong(a, &f->msg_a);
    if (f->type == PQB_FRAME_NACK && f->nack.frame == PQB_FRAME_MSG_R &&
        f->nack.reason <= PQB_NACK_INVALID)
        a->nacks[f->nack.reason]++;
    for (size_t i = 0; f->type == PQB_FRAME_SKIP_A && i < f->skip_a.count; i++)
        a->abandoned += f->skip_a.at[i].state != PQB_STATE_UNKNOWN;
}

static void on_window_answer(struct inject *in, uint32_t kind, const uint8_t *data, size_t len)
{
    inject_device_on_answer(in, &abusers[kind].flow.device, data, len, on_frame, &abusers[kind]);
}

// -------------------------------------------------------------------------------------- verdict

static uint64_t nacks(const struct abuser *a, enum pqb_nack_reason but)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < PQB_ARRAY_LEN(a->nacks); i++)
        sum += i != but ? a->nacks[i] : 0;
    return sum;
}

// Refusals that were told and not counted.
static void check_counted(struct inject *in, const struct pqb_stats_snapshot *from,
                          const struct pqb_stats_snapshot *to, enum pqb_nack_reason reason)
{
    const char *name = pqb_nack_reason_name((uint8_t)reason);
    char counter[48], check[48];
    double told = 0;

    for (size_t i = 0; i < KINDS; i++)
        told += (double)abusers[i].nacks[reason];
    (void)snprintf(counter, sizeof(counter), "nack.%s", name);
    (void)snprintf(check, sizeof(check), "not_counted.%s", name);
    inject_check(in, check, PQB_MAX(0.0, told - inject_grown(from, to, counter)), 0);
}

// Things that are refused in silence, said and never counted.
static void check_silent(struct inject *in, const struct pqb_stats_snapshot *from,
                         const struct pqb_stats_snapshot *to, enum window_kind kind,
                         const char *counter)
{
    char check[48];

    (void)snprintf(check, sizeof(check), "not_counted.%s", window_kinds[kind].name);
    inject_check(in, check, abusers[kind].ids > 0 && !(inject_grown(from, to, counter) > 0), 0);
}

static void judge_window(struct inject *in, const struct pqb_stats_snapshot *from,
                         const struct pqb_stats_snapshot *to)
{
    const struct abuser *beyond = &abusers[BEYOND];
    const double sound = (double)in->account.count + PQB_SEQ_WINDOW + 1 +
                         (double)abusers[DENSE].flow.next + (double)abusers[SPARSE].ids;
    char name[48];

    for (size_t i = 0; i < KINDS; i++) {
        (void)snprintf(name, sizeof(name), "said.%s", window_kinds[i].name);
        inject_note(in, name, (double)abusers[i].ids);
        (void)snprintf(name, sizeof(name), "accepted.%s", window_kinds[i].name);
        inject_check(in, name, (double)abusers[i].accepted, 0);
    }
    inject_check(in, "accepted.beyond_all_sound", inject_grown(from, to, "msg.accepted"), sound);
    inject_check(in, "beyond-window.other_nacks", (double)nacks(beyond, PQB_NACK_WINDOW), 0);
    if (beyond->ids > 0) // answers may be lost, or dropped where the session has too many
        inject_check(in, "beyond-window.unanswered",
                     1 - (double)beyond->nacks[PQB_NACK_WINDOW] / (double)beyond->ids,
                     UNANSWERED_MAX);
    inject_check(in, "skip-ranges.abandoned", (double)abusers[SKIP].abandoned, 0);
    check_counted(in, from, to, PQB_NACK_WINDOW);
    check_counted(in, from, to, PQB_NACK_CONFLICT);
    check_counted(in, from, to, PQB_NACK_ORDER);
    check_silent(in, from, to, SKIP, "drop.field");
    check_silent(in, from, to, RANGES, "drop.structure");
    check_silent(in, from, to, CURSOR, "ack.cursor_above_head");
}

// The devices, whatever they say, and the messages that two of them rightly send.
static uint64_t window_memory_max(const struct inject *in)
{
    (void)in;
    return INJECT_MEMORY_SLACK + KINDS * INJECT_MEMORY_DEVICE +
           (abusers[DENSE].flow.accepted + abusers[SPARSE].ids) * INJECT_MEMORY_JOURNAL;
}

const struct inject_scenario inject_window_abuse = {
    .name = "window-abuse",
    .help = "sessions whose seqs, lows, cursors, skips and ranges are not so; ids without end",
    .limit = "seqs beyond the window are told so and none is stored; every refusal is counted; "
             "64 KiB of memory a device, 128 bytes for each message of its own in the journal, "
             "8 MiB besides (needs --stats)",
    .kinds = window_kinds,
    .kind_count = KINDS,
    .sources = 1,
    .rate = 2000,
    .make = make_window,
    .on_answer = on_window_answer,
    .judge = judge_window,
    .memory_max = window_memory_max,
};
