// slow-consumer: receivers that log in, are sent messages, and do not take them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/htable.h"
#include "common/client/paquebot.h"
#include "tools/pqbsim/inject_device.h"

#define FEEDERS     8 // devices that send to the consumers
#define FEED_FRAMES 8 // in a datagram, until the windows are full; then 1
#define FILL        (2 * DEEP * (PQB_PUSH_WINDOW + 64)) // messages that fill them
#define FEED_BYTES  64                                  // of a message
#define DEEP        8 // consumers that get half of all, so that their windows fill
#define PING_NS     PQB_NS_PER_SEC
#define ACK_NS      (200 * PQB_NS_PER_MS)
#define LATE_PARTS  4 // one that acknowledges late does so after this part of the attack

enum consumer_kind {
    SILENT,
    RANGES,
    LATE,
    FEED,
};

static const struct inject_kind consumer_kinds[] = {
    [SILENT] = {"silent", 0},
    [RANGES] = {"ranges-only", 0},
    [LATE] = {"late", 0},
    [FEED] = {"feed", 0},
};

#define CONSUMER_KINDS FEED

struct consumer {
    struct inject_device device;
    struct pqb_hnode by_cid;
    uint64_t cid;    // that it stands under
    uint64_t told;   // cursor that it has told
    uint64_t in_row; // everything from the first on to here has come
    uint64_t top;    // highest that has come
    uint64_t distinct, repeated;
    pqb_tstamp spoke_at, late_at;
    bool was_ready;
};

static struct consumer consumers[INJECT_PEERS_MAX];
static struct inject_flow feeders[FEEDERS];
static struct pqb_htable by_cid;
static uint64_t init_base; // consumer i logs in as init_base + i, give or take 2^32
static uint64_t in_flight_max;
static uint32_t ready_count, turns[PQB_ARRAY_LEN(consumer_kinds)];

// --------------------------------------------------------------------------------- what is said

static void prepare(struct inject *in)
{
    char user[24];

    if (pqb_htable_init(&by_cid) != PQB_OK)
        abort();
    init_base = (pqb_rng_next(&in->rng) & UINT32_MAX & ~UINT64_C(0xffff)) | UINT64_C(1) << 48;
    for (uint32_t i = 0; i < INJECT_PEERS_MAX; i++) {
        (void)snprintf(user, sizeof(user), "slow%u", i);
        inject_device_init(in, &consumers[i].device, user, false, init_base + i);
    }
    for (uint32_t i = 0; i < FEEDERS; i++) {
        (void)snprintf(user, sizeof(user), "feeder%u", i);
        inject_flow_init(in, &feeders[i], user, init_base + INJECT_PEERS_MAX + i);
    }
}

static size_t say(struct consumer *c, const struct pqb_frame *f, uint8_t *out, pqb_tstamp now)
{
    c->spoke_at = now;
    return inject_device_stamp(&c->device, out, inject_device_put(f, out, 0));
}

// A sign of life, which also echoes: the gateway knows how far away a consumer is.
static size_t ping(struct consumer *c, uint8_t *out, pqb_tstamp now)
{
    const struct pqb_frame f = {.type = PQB_FRAME_PING, .ping = {.nonce = now}};

    return pqb_elapsed(c->spoke_at, now) >= PING_NS ? say(c, &f, out, now) : 0;
}

static size_t acknowledge_ranges(struct consumer *c, uint8_t *out, pqb_tstamp now)
{
    struct pqb_frame f = {.type = PQB_FRAME_ACK_R};

    if (c->in_row <= c->told || pqb_elapsed(c->spoke_at, now) < ACK_NS)
        return ping(c, out, now);
    f.ack_r.cursor = c->device.cursor;
    f.ack_r.received.count = 1;
    f.ack_r.received.at[0] = (struct pqb_range){c->told + 1, c->in_row};
    return say(c, &f, out, now);
}

static size_t acknowledge_late(struct inject *in, struct consumer *c, uint8_t *out, pqb_tstamp now)
{
    struct pqb_frame f = {.type = PQB_FRAME_ACK_R};

    if (c->in_row <= c->told)
        return ping(c, out, now);
    if (c->late_at == 0)
        c->late_at = pqb_tstamp_add(now, in->duration / LATE_PARTS);
    if (now < c->late_at)
        return ping(c, out, now);
    c->late_at = 0;
    c->told = c->device.cursor = f.ack_r.cursor = c->in_row;
    return say(c, &f, out, now);
}

static size_t consume(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    const uint32_t i = turns[kind]++ * CONSUMER_KINDS + kind;
    struct consumer *c = &consumers[i];

    if (i + CONSUMER_KINDS >= in->peers)
        turns[kind] = 0;
    if (i >= in->peers)
        return 0;
    if (!inject_device_is_ready(&c->device))
        return inject_device_log_in(&c->device, out, now);
    if (kind == RANGES)
        return acknowledge_ranges(c, out, now);
    return kind == LATE ? acknowledge_late(in, c, out, now) : ping(c, out, now);
}

static uint64_t fed(void)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < FEEDERS; i++)
        sum += feeders[i].accepted;
    return sum;
}

static bool is_ramped(const struct inject *in)
{
    return ready_count == in->peers && fed() >= FILL;
}

static size_t feed(struct inject *in, uint8_t *out, pqb_tstamp now)
{
    static const uint8_t body[FEED_BYTES] = "feed";
    const uint32_t i = turns[FEED]++ % FEEDERS;
    struct inject_flow *f = &feeders[i];
    const unsigned frames = fed() < FILL ? FEED_FRAMES : 1;
    size_t used = 0;

    if (!inject_device_is_ready(&f->device))
        return inject_device_log_in(&f->device, out, now);
    for (unsigned n = 0; ready_count == in->peers && n < frames; n++) {
        const uint64_t seq = inject_flow_take(f, now), number = seq / 2 * FEEDERS + i;
        const uint64_t to = number % (seq % 2 == 0 ? PQB_MIN(DEEP, in->peers) : in->peers);
        struct pqb_frame m = {.type = PQB_FRAME_MSG_R};

        if (seq == 0)
            break;
        m.msg_r.seq = seq;
        m.msg_r.low = PQB_MIN(f->device.low, seq);
        m.msg_r.to =
            (struct pqb_text){consumers[to].device.user, strlen(consumers[to].device.user)};
        m.msg_r.body = (struct pqb_bytes){body, sizeof(body)};
        used = inject_device_put(&m, out, used);
    }
    return used > 0 ? inject_device_stamp(&f->device, out, used) : 0;
}

static size_t make_consumer(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    if (init_base == 0)
        prepare(in);
    return kind == FEED ? feed(in, out, now) : consume(in, kind, out, now);
}

// ------------------------------------------------------------------------------ what came back

static void on_feeder_frame(void *ctx, const struct pqb_frame *f)
{
    uint64_t seq;
    bool is_accepted;

    (void)inject_flow_on_frame(ctx, f, &seq, &is_accepted);
}

static void on_consumer_frame(void *ctx, const struct pqb_frame *f)
{
    struct consumer *c = ctx;
    const uint64_t iseq = f->type == PQB_FRAME_MSG_N ? f->msg_n.iseq : 0;

    if (iseq == 0)
        return;
    if (c->top == 0) // positions have no holes, but nobody told where they begin
        c->told = c->in_row = PQB_MAX(c->device.cursor, iseq - 1);
    if (iseq == c->in_row + 1)
        c->in_row = iseq;
    c->repeated += iseq <= c->top;
    c->distinct += iseq > c->top;
    c->top = PQB_MAX(c->top, iseq);
    if (c->top > c->told)
        in_flight_max = PQB_MAX(in_flight_max, c->top - c->told);
}

static void stand_under(struct consumer *c)
{
    if (c->cid == c->device.cid)
        return;
    if (c->cid != 0)
        pqb_htable_remove(&by_cid, &c->by_cid);
    c->cid = c->device.cid;
    if (c->cid != 0)
        pqb_htable_insert(&by_cid, &c->by_cid, c->cid);
}

static struct consumer *find_consumer(enum pqb_client_id which, uint64_t id)
{
    struct pqb_hnode *node;

    if (which == PQB_CLIENT_ID_INIT) {
        const uint32_t i = (uint32_t)id - (uint32_t)init_base;

        return i < INJECT_PEERS_MAX ? &consumers[i] : NULL;
    }
    node = pqb_htable_find(&by_cid, id);
    return node != NULL ? PQB_CONTAINER_OF(node, struct consumer, by_cid) : NULL;
}

static void on_consumer_answer(struct inject *in, uint32_t kind, const uint8_t *data, size_t len)
{
    uint64_t id;
    const enum pqb_client_id which = pqb_client_datagram_id(data, len, &id);
    struct consumer *c;

    for (size_t i = 0; kind == FEED && i < FEEDERS; i++) {
        struct inject_device *d = &feeders[i].device;

        if (id == (which == PQB_CLIENT_ID_CID ? d->cid : d->init_id))
            inject_device_on_answer(in, d, data, len, on_feeder_frame, &feeders[i]);
    }
    c = kind != FEED ? find_consumer(which, id) : NULL;
    if (c == NULL)
        return;
    inject_device_on_answer(in, &c->device, data, len, on_consumer_frame, c);
    stand_under(c);
    if (inject_device_is_ready(&c->device) && !c->was_ready) {
        c->was_ready = true;
        ready_count++;
    }
}

// -------------------------------------------------------------------------------------- verdict

static void judge_consumer(struct inject *in, const struct pqb_stats_snapshot *from,
                           const struct pqb_stats_snapshot *to)
{
    uint64_t distinct = 0, repeated = 0, logins = 0;

    for (size_t i = 0; i < in->peers; i++) {
        distinct += consumers[i].distinct;
        repeated += consumers[i].repeated;
        logins += consumers[i].device.logins;
    }
    inject_note(in, "consumers", (double)ready_count);
    inject_note(in, "consumers.logins", (double)logins);
    inject_note(in, "fed", (double)fed());
    inject_note(in, "sent_to_consumers", (double)distinct);
    inject_note(in, "sent_again_to_consumers", (double)repeated);
    inject_note(in, "timeouts", inject_grown(from, to, "retransmit.timeouts"));
    inject_check(in, "consumers.not_logged_in", (double)(in->peers - ready_count), 0);
    inject_check(in, "consumers.in_flight", (double)in_flight_max, PQB_PUSH_WINDOW);
    pqb_htable_fini(&by_cid);
}

static uint64_t consumer_memory_max(const struct inject *in)
{
    return INJECT_MEMORY_SLACK + in->peers * INJECT_MEMORY_SESSION + fed() * INJECT_MEMORY_JOURNAL;
}

const struct inject_scenario inject_slow_consumer = {
    .name = "slow-consumer",
    .help = "receivers (--peers) that acknowledge nothing, or ranges only, or late",
    .limit = "256 messages on the way to each; 24 KiB of memory each, 128 bytes for each message "
             "in the journal, 8 MiB besides (needs --stats)",
    .kinds = consumer_kinds,
    .kind_count = PQB_ARRAY_LEN(consumer_kinds),
    .sources = 1,
    .rate = 2000,
    .make = make_consumer,
    .on_answer = on_consumer_answer,
    .judge = judge_consumer,
    .is_ramped = is_ramped,
    .memory_max = consumer_memory_max,
};
