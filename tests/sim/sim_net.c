#include "tests/sim/sim_net.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/defs.h"
#include "common/wire/datagram.h"
#include "tests/sim/sim_events.h"

#define MSGPACK_NEVER_USED 0xc1

void sim_net_init(struct sim_net *net, const struct sim_net_config *config,
                  struct sim_events *events)
{
    *net = (struct sim_net){.events = events, .config = *config, .next_port = 20000};
}

void sim_net_fini(struct sim_net *net)
{
    for (size_t i = 0; i < net->count; i++)
        free(net->heap[i]);
    free(net->heap);
    net->heap = NULL;
    net->count = net->capacity = 0;
}

void sim_packet_copy(struct sim_packet *to, const struct sim_packet *from)
{
    memcpy(to, from, offsetof(struct sim_packet, data) + from->len);
}

// ------------------------------------------------------------------------------------ addresses

uint32_t sim_net_attach(struct sim_net *net)
{
    const uint32_t endpoint = net->endpoints_count++;

    PQB_ASSERT(endpoint < SIM_ENDPOINTS_MAX);
    net->endpoints[endpoint].addr = (struct pqb_addr){
        .ip = {10, 0, 0, (uint8_t)(endpoint + 1)}, .family = 4, .port = net->next_port++};
    return endpoint;
}

const struct pqb_addr *sim_net_addr(const struct sim_net *net, uint32_t endpoint)
{
    PQB_ASSERT(endpoint < net->endpoints_count);
    return &net->endpoints[endpoint].addr;
}

void sim_net_rebind(struct sim_net *net, uint32_t endpoint, bool is_new_ip)
{
    struct pqb_addr *addr = &net->endpoints[endpoint].addr;

    PQB_ASSERT(endpoint < net->endpoints_count);
    addr->port = net->next_port++;
    if (is_new_ip)
        addr->ip[1]++;
}

static uint32_t endpoint_of(const struct sim_net *net, const struct pqb_addr *addr)
{
    for (uint32_t i = 0; i < net->endpoints_count; i++) {
        if (pqb_addr_is_equal(&net->endpoints[i].addr, addr))
            return i;
    }
    return SIM_ENDPOINT_NONE;
}

void sim_net_block(struct sim_net *net, uint32_t endpoint, pqb_tstamp up_until,
                   pqb_tstamp down_until)
{
    struct sim_endpoint *end = &net->endpoints[endpoint];

    PQB_ASSERT(endpoint < net->endpoints_count);
    end->up_blocked_until = PQB_MAX(end->up_blocked_until, up_until);
    end->down_blocked_until = PQB_MAX(end->down_blocked_until, down_until);
}

void sim_net_clog(struct sim_net *net, uint32_t endpoint, pqb_tstamp until)
{
    struct sim_endpoint *end = &net->endpoints[endpoint];

    PQB_ASSERT(endpoint < net->endpoints_count);
    end->clogged_until = PQB_MAX(end->clogged_until, until);
}

void sim_net_heal(struct sim_net *net)
{
    net->config = (struct sim_net_config){.delay_ns = net->config.delay_ns,
                                          .jitter_ns = net->config.jitter_ns,
                                          .quantum_ns = net->config.quantum_ns};
    for (uint32_t i = 0; i < net->endpoints_count; i++) {
        struct sim_endpoint *end = &net->endpoints[i];

        end->up_blocked_until = end->down_blocked_until = end->burst_until = 0;
        end->clogged_until = 0;
    }
}

// ----------------------------------------------------------------------------------------- heap

static bool is_before(const struct sim_packet *a, const struct sim_packet *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void swap(struct sim_packet **heap, size_t i, size_t j)
{
    struct sim_packet *packet = heap[i];

    heap[i] = heap[j];
    heap[j] = packet;
}

static void heap_push(struct sim_net *net, struct sim_packet *packet)
{
    size_t i = net->count;

    if (net->count == net->capacity) {
        net->capacity = net->capacity ? net->capacity * 2 : 256;
        net->heap = realloc(net->heap, net->capacity * sizeof(struct sim_packet *));
        PQB_ASSERT(net->heap);
    }
    net->heap[net->count++] = packet;
    for (; i > 0 && is_before(net->heap[i], net->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(net->heap, i, (i - 1) / 2);
    net->stats.in_flight_max = PQB_MAX(net->stats.in_flight_max, net->count);
}

static struct sim_packet *heap_pop(struct sim_net *net)
{
    struct sim_packet *top = net->heap[0];

    net->heap[0] = net->heap[--net->count];
    for (size_t i = 0;;) {
        size_t least = i;

        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < net->count; child++) {
            if (is_before(net->heap[child], net->heap[least]))
                least = child;
        }
        if (least == i)
            return top;
        swap(net->heap, i, least);
        i = least;
    }
}

// --------------------------------------------------------------------------------------- faults

#define COPIES_MAX 3

// A datagram on its way into the network: what befalls it is drawn for it alone, and the delays
// before anything else, so that a run without one fault still has them.
struct fate {
    struct sim_net *net;
    uint32_t link, number;
    pqb_tstamp now;
    double jitter[COPIES_MAX]; // [0, 1)
    size_t copies;
};

static struct fate draw_fate(struct sim_net *net, uint32_t endpoint, bool is_up, pqb_tstamp now)
{
    struct fate f = {.net = net, .now = now};

    if (endpoint == SIM_ENDPOINT_NONE)
        f.link = SIM_OWNER_NONE;
    else
        f.link = is_up ? endpoint : endpoint + SIM_OWNER_DOWN;
    f.number = sim_events_next(net->events, SIM_KIND_DATAGRAM, f.link, &net->rng);
    for (size_t i = 0; i < COPIES_MAX && net->config.jitter_ns > 0; i++)
        f.jitter[i] = pqb_rng_unit(&net->rng);
    return f;
}

static bool chance(const struct fate *f, enum sim_kind kind, double share)
{
    return pqb_rng_unit(&f->net->rng) < share &&
           sim_events_may(f->net->events, kind, f->link, f->number, f->now);
}

static pqb_duration up_to(struct sim_net *net, pqb_duration max)
{
    return max ? pqb_rng_below(&net->rng, max) : 0;
}

static bool is_lost(const struct fate *f, struct sim_endpoint *end, bool is_up)
{
    struct sim_net *net = f->net;

    if (f->now < (is_up ? end->up_blocked_until : end->down_blocked_until)) {
        net->stats.blocked++;
        return true;
    }
    if (f->now >= end->burst_until && chance(f, SIM_KIND_BURST, net->config.burst)) {
        end->burst_until = f->now + up_to(net, net->config.burst_ns);
        net->stats.bursts++;
    }
    if (f->now < end->burst_until || chance(f, SIM_KIND_LOSE, net->config.loss)) {
        net->stats.lost++;
        return true;
    }
    return false;
}

// Breaks the datagram where a parser must notice; see the head of the header.
static void corrupt(struct sim_net *net, struct sim_packet *packet)
{
    const size_t content = PQB_DATA_HEADER_LEN + PQB_FRAME_HEADER_LEN;
    const bool has_frame = (packet->data[0] & 0x0f) == PQB_DATAGRAM_DATA && packet->len > content;

    net->stats.corrupted++;
    switch (pqb_rng_below(&net->rng, has_frame ? 4 : 2)) {
    case 0:
        packet->data[0] ^= (uint8_t)(1u << (4 + pqb_rng_below(&net->rng, 4))); // version
        break;
    case 1:
        if (packet->len > 8)
            packet->data[1 + pqb_rng_below(&net->rng, 8)] ^= 0x40; // connection id or init id
        break;
    case 2:
        packet->data[content] = MSGPACK_NEVER_USED;
        break;
    default:
        packet->data[content - 1] = packet->data[content - 2] = 0xff; // the frame's length
        break;
    }
}

// RESP's two reserved bytes are not looked at.
static bool is_ignored(const struct sim_packet *packet, size_t at)
{
    return (packet->data[0] & 0x0f) == PQB_DATAGRAM_RESP && (at == 2 || at == 3);
}

// Breaks a datagram of an encrypted run at any place.
static void corrupt_any(struct sim_net *net, struct sim_packet *packet)
{
    const size_t at = pqb_rng_below(&net->rng, packet->len);

    net->stats.corrupted++;
    if (is_ignored(packet, at))
        return;
    packet->data[at] ^= (uint8_t)(1 + pqb_rng_below(&net->rng, 255));
    packet->origin = SIM_ALTERED;
}

static void enqueue(struct fate *f, const struct sim_packet *packet, pqb_duration extra)
{
    struct sim_net *net = f->net;
    struct sim_packet *copy = malloc(sizeof(*copy));
    const struct sim_net_config *config = &net->config;

    PQB_ASSERT(copy && f->copies < COPIES_MAX);
    if (net->count >= SIM_IN_FLIGHT_MAX) {
        net->is_overrun = true;
        free(copy);
        return;
    }
    sim_packet_copy(copy, packet);
    copy->at = f->now + config->delay_ns + extra;
    copy->at += (pqb_duration)(f->jitter[f->copies++] * (double)config->jitter_ns);
    if (copy->endpoint != SIM_ENDPOINT_NONE)
        copy->at = PQB_MAX(copy->at, net->endpoints[copy->endpoint].clogged_until);
    if (config->quantum_ns)
        copy->at = (copy->at / config->quantum_ns + 1) * config->quantum_ns;
    copy->order = net->order++;
    if (copy->len > 0 && chance(f, SIM_KIND_CORRUPT, config->corrupt)) {
        if (config->is_sealed)
            corrupt_any(net, copy);
        else
            corrupt(net, copy);
    }
    if (copy->len > 0 && chance(f, SIM_KIND_TRUNCATE, config->truncate)) {
        copy->len = pqb_rng_below(&net->rng, copy->len);
        copy->origin = config->is_sealed ? SIM_ALTERED : copy->origin;
        net->stats.truncated++;
    }
    heap_push(net, copy);
}

static void watch(struct sim_net *net, const struct sim_packet *packet, pqb_tstamp now)
{
    if (net->watch)
        net->watch(net->watch_ctx, packet, now);
}

static void transmit(struct sim_net *net, const struct sim_packet *packet, pqb_tstamp now)
{
    const struct sim_net_config *config = &net->config;
    struct fate f = draw_fate(net, packet->endpoint, packet->is_up, now);
    pqb_duration held = 0;

    net->stats.sent++;
    if (is_lost(&f, &net->endpoints[packet->endpoint], packet->is_up))
        return;
    if (chance(&f, SIM_KIND_HOLD, config->reorder)) {
        held = up_to(net, config->reorder_ns);
        net->stats.held++;
    }
    enqueue(&f, packet, held);
    if (chance(&f, SIM_KIND_DUPLICATE, config->duplicate)) {
        net->stats.duplicated++;
        enqueue(&f, packet, up_to(net, config->reorder_ns));
    }
    if (chance(&f, SIM_KIND_GHOST, config->ghost)) {
        net->stats.ghosts++;
        enqueue(&f, packet, up_to(net, config->ghost_ns));
    }
}

static void fill(struct sim_packet *packet, uint32_t endpoint, bool is_up,
                 const struct pqb_addr *addr, const void *data, size_t len)
{
    PQB_ASSERT(len <= sizeof(packet->data));
    packet->endpoint = endpoint;
    packet->is_up = is_up;
    packet->origin = SIM_GENUINE;
    packet->addr = *addr;
    packet->len = len;
    memcpy(packet->data, data, len);
}

void sim_net_send_up(struct sim_net *net, uint32_t endpoint, const void *data, size_t len,
                     pqb_tstamp now)
{
    struct sim_packet packet;

    fill(&packet, endpoint, true, sim_net_addr(net, endpoint), data, len);
    watch(net, &packet, now);
    transmit(net, &packet, now);
}

void sim_net_send_down(struct sim_net *net, const struct pqb_addr *to, const void *data, size_t len,
                       pqb_tstamp now)
{
    const uint32_t endpoint = endpoint_of(net, to);
    struct sim_packet packet;

    fill(&packet, endpoint, false, to, data, len);
    watch(net, &packet, now);
    if (endpoint == SIM_ENDPOINT_NONE) {
        net->stats.sent++;
        net->stats.stale++;
        return;
    }
    transmit(net, &packet, now);
}

void sim_net_inject_up(struct sim_net *net, const struct pqb_addr *from, const void *data,
                       size_t len, pqb_tstamp now)
{
    struct fate f = draw_fate(net, SIM_ENDPOINT_NONE, true, now);
    struct sim_packet packet;

    fill(&packet, SIM_ENDPOINT_NONE, true, from, data, len);
    enqueue(&f, &packet, 0);
}

void sim_net_inject(struct sim_net *net, const struct sim_packet *packet, pqb_tstamp now)
{
    struct fate f = draw_fate(net, SIM_ENDPOINT_NONE, packet->is_up, now);

    enqueue(&f, packet, 0);
}

pqb_tstamp sim_net_next_arrival(const struct sim_net *net)
{
    return net->count ? net->heap[0]->at : PQB_NEVER;
}

bool sim_net_poll(struct sim_net *net, struct sim_packet *out, pqb_tstamp now)
{
    while (net->count > 0 && net->heap[0]->at <= now) {
        struct sim_packet *packet = heap_pop(net);
        const bool is_stale = !packet->is_up && endpoint_of(net, &packet->addr) != packet->endpoint;

        sim_packet_copy(out, packet);
        free(packet);
        if (!is_stale) {
            net->stats.arrived++;
            return true;
        }
        net->stats.stale++;
    }
    return false;
}
