// inbox-flood: one device, and many, fill the inboxes of users who are away.
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/client/paquebot.h"
#include "tools/pqbsim/inject_device.h"

#define SENDERS     32   // of the flood by many
#define FRAMES_MAX  24   // in a datagram
#define SMALL_BYTES 16   // meets the inbox's limit of messages
#define LARGE_BYTES 1000 // and its limit of bytes
#define ASIDE_EACH  64   // every so many, one sender writes to somebody else

enum inbox_kind {
    ONE,
    MANY,
};

static const struct inject_kind inbox_kinds[] = {
    [ONE] = {"one-sender", 0},
    [MANY] = {"many-senders", 0},
};

struct inbox { // of one victim
    uint64_t messages, bytes;
};

struct flooder {
    struct inject_flow flow;
    enum inbox_kind kind;
};

static struct flooder flooders[1 + SENDERS]; // the first is ONE's
static struct inbox inboxes[PQB_ARRAY_LEN(inbox_kinds)], aside;
static uint64_t aside_refused;
static uint32_t many_turn;

static bool is_aside(const struct flooder *s, uint64_t seq)
{
    return s->kind == ONE && seq % ASIDE_EACH == 0;
}

static size_t body_len(const struct flooder *s)
{
    return s->kind == ONE ? SMALL_BYTES : LARGE_BYTES;
}

static void prepare(struct inject *in)
{
    const uint64_t base = pqb_rng_next(&in->rng) << 8;
    char user[24];

    for (uint32_t i = 0; i < PQB_ARRAY_LEN(flooders); i++) {
        (void)snprintf(user, sizeof(user), "flooder%u", i);
        flooders[i].kind = i == 0 ? ONE : MANY;
        inject_flow_init(in, &flooders[i].flow, user, base + i + 1);
    }
}

static struct pqb_frame message(const struct flooder *s, uint64_t seq)
{
    static const char *const to[] = {[ONE] = "flooded-one", [MANY] = "flooded-many"};
    static const uint8_t body[LARGE_BYTES] = "flood";
    const char *name = is_aside(s, seq) ? "flooded-aside" : to[s->kind];
    struct pqb_frame f = {.type = PQB_FRAME_MSG_R};

    f.msg_r.seq = seq;
    f.msg_r.low = PQB_MIN(s->flow.device.low, seq);
    f.msg_r.to = (struct pqb_text){name, strlen(name)};
    f.msg_r.body = (struct pqb_bytes){body, body_len(s)};
    return f;
}

static size_t make_inbox(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    struct flooder *s = &flooders[kind == ONE ? 0 : 1 + many_turn++ % SENDERS];
    size_t used = 0;

    if (flooders[0].flow.device.init_id == 0)
        prepare(in);
    if (!inject_device_is_ready(&s->flow.device))
        return inject_device_log_in(&s->flow.device, out, now);
    for (unsigned i = 0; i < FRAMES_MAX; i++) {
        const uint64_t seq =
            PQB_FRAMES_MAX - used > body_len(s) + 100 ? inject_flow_take(&s->flow, now) : 0;
        struct pqb_frame f;

        if (seq == 0)
            break;
        f = message(s, seq);
        used = inject_device_put(&f, out, used);
    }
    return used > 0 ? inject_device_stamp(&s->flow.device, out, used) : 0;
}

static void on_frame(void *ctx, const struct pqb_frame *f)
{
    struct flooder *s = ctx;
    uint64_t seq;
    bool is_accepted;

    if (!inject_flow_on_frame(&s->flow, f, &seq, &is_accepted))
        return;
    if (is_accepted) {
        struct inbox *to = is_aside(s, seq) ? &aside : &inboxes[s->kind];

        to->messages++;
        to->bytes += body_len(s);
    } else if (is_aside(s, seq)) {
        aside_refused++;
    }
}

static void on_inbox_answer(struct inject *in, uint32_t kind, const uint8_t *data, size_t len)
{
    uint64_t id;
    const enum pqb_client_id which = pqb_client_datagram_id(data, len, &id);

    for (size_t i = 0; i < PQB_ARRAY_LEN(flooders); i++) {
        struct flooder *s = &flooders[i];
        const struct inject_device *d = &s->flow.device;

        if (s->kind == kind && id == (which == PQB_CLIENT_ID_CID ? d->cid : d->init_id))
            inject_device_on_answer(in, &s->flow.device, data, len, on_frame, s);
    }
}

static void judge_inbox(struct inject *in, const struct pqb_stats_snapshot *from,
                        const struct pqb_stats_snapshot *to)
{
    uint64_t refused[2] = {0}, quota[2] = {0};
    char name[48];

    for (size_t i = 0; i < PQB_ARRAY_LEN(flooders); i++) {
        refused[flooders[i].kind] += flooders[i].flow.refused;
        quota[flooders[i].kind] += flooders[i].flow.quota;
    }
    for (size_t i = 0; i < PQB_ARRAY_LEN(inboxes); i++) {
        const char *kind = inbox_kinds[i].name;

        (void)snprintf(name, sizeof(name), "stored_messages.%s", kind);
        inject_check(in, name, (double)inboxes[i].messages, (double)in->inbox_messages_max);
        (void)snprintf(name, sizeof(name), "stored_bytes.%s", kind);
        inject_check(in, name, (double)inboxes[i].bytes, (double)in->inbox_bytes_max);
        (void)snprintf(name, sizeof(name), "refused_otherwise.%s", kind);
        inject_check(in, name, (double)(refused[i] - quota[i]), 0);
        (void)snprintf(name, sizeof(name), "quota_nacks.%s", kind);
        inject_note(in, name, (double)quota[i]);
    }
    inject_note(in, "accepted_aside", (double)aside.messages);
    inject_check(in, "refused_aside", (double)aside_refused, 0);
    inject_check(
        in, "not_counted.quota",
        PQB_MAX(0.0, (double)(quota[ONE] + quota[MANY]) - inject_grown(from, to, "nack.quota")), 0);
}

static uint64_t inbox_memory_max(const struct inject *in)
{
    const uint64_t messages = inboxes[ONE].messages + inboxes[MANY].messages + aside.messages;

    (void)in;
    return INJECT_MEMORY_SLACK + PQB_ARRAY_LEN(flooders) * INJECT_MEMORY_DEVICE +
           messages * INJECT_MEMORY_JOURNAL;
}

const struct inject_scenario inject_inbox_flood = {
    .name = "inbox-flood",
    .help = "fills the inboxes of two users who are away: one sender, and 32",
    .limit = "no inbox above inbox-messages-max or inbox-bytes-max, every other message is told "
             "so (nack quota), the same sender's to others are accepted; 64 KiB of memory a "
             "sender, 128 bytes for each message in the journal, 8 MiB besides (needs --stats)",
    .kinds = inbox_kinds,
    .kind_count = PQB_ARRAY_LEN(inbox_kinds),
    .sources = 1,
    .rate = 1000,
    .make = make_inbox,
    .on_answer = on_inbox_answer,
    .judge = judge_inbox,
    .memory_max = inbox_memory_max,
};
