#include "tests/sim/sim_adversary.h"

#include <string.h>

#include "common/base/check.h"
#include "common/proto/packet_keys.h"
#include "common/proto/server_keys.h"
#include "common/wire/cursor.h"
#include "common/wire/datagram.h"
#include "tests/sim/sim_faults.h"
#include "tests/sim/sim_trace.h"

#define PN_AT 9

void sim_adversary_init(struct sim_adversary *a, struct sim_net *net, struct sim_oracle *oracle,
                        bool may_relay)
{
    *a = (struct sim_adversary){
        .net = net, .oracle = oracle, .may_relay = may_relay, .relayed = SIM_ENDPOINT_NONE};
    a->addr = (struct pqb_addr){.family = 4, .ip = {192, 0, 2, 1}, .port = 666};
}

void sim_adversary_learn_key(struct sim_adversary *a, const uint8_t server_public[PQB_KEY_LEN])
{
    pqb_mac1_key(server_public, a->mac1_key);
}

static bool chance(struct sim_adversary *a, double share)
{
    return pqb_rng_unit(&a->rng) < share;
}

static unsigned type_of(const struct sim_packet *packet)
{
    return packet->len > 0 ? packet->data[0] & 0x0fu : 0;
}

static bool is_hello(const struct sim_packet *packet)
{
    return packet->len == PQB_INIT_LEN &&
           (type_of(packet) == PQB_DATAGRAM_INIT || type_of(packet) == PQB_DATAGRAM_RESUME);
}

static void inject(struct sim_adversary *a, struct sim_packet *packet, enum sim_fault fault,
                   pqb_tstamp now)
{
    if (packet->is_up)
        packet->endpoint = SIM_ENDPOINT_NONE;
    else
        packet->addr = *sim_net_addr(a->net, packet->endpoint);
    sim_fault_fired(fault, 1);
    if (sim_trace_is_on()) {
        sim_trace(now, "the adversary: %s", sim_fault_help(fault));
        sim_trace_datagram(now, packet->is_up ? "adversary > gateway" : "adversary > client",
                           packet->data, packet->len);
    }
    sim_net_inject(a->net, packet, now);
}

static void flip(struct sim_adversary *a, struct sim_packet *packet, size_t at)
{
    packet->data[at] ^= (uint8_t)(1 + pqb_rng_below(&a->rng, 255));
    packet->origin = SIM_ALTERED;
}

// One of those that he has seen.
static bool pick(struct sim_adversary *a, enum sim_seen kind, struct sim_packet *out)
{
    const size_t count = PQB_MIN(a->counts[kind], (size_t)SIM_SEEN_MAX);

    if (count == 0)
        return false;
    sim_packet_copy(out, &a->seen[kind][pqb_rng_below(&a->rng, count)]);
    return true;
}

// ------------------------------------------------------------------------------------------ traps

static void forge_busy(struct sim_adversary *a, const struct sim_packet *hello, pqb_tstamp now)
{
    static const uint32_t waits[] = {0, 0, 1000, UINT32_MAX};
    struct sim_packet out = {.endpoint = hello->endpoint, .origin = SIM_ALTERED};
    struct pqb_busy busy = {.retry_after_ms = waits[pqb_rng_below(&a->rng, 4)]};
    struct pqb_reader_cursor c;

    pqb_rcur_init(&c, hello->data + 4, 8);
    busy.init_id = pqb_rcur_u64(&c);
    out.len = pqb_busy_encode(&busy, out.data);
    inject(a, &out, SIM_FAULT_busy_forged, now);
}

static void forge_retry(struct sim_adversary *a, const struct sim_packet *hello, pqb_tstamp now)
{
    struct sim_packet out = {.endpoint = hello->endpoint, .origin = SIM_ALTERED};
    struct pqb_retry retry;
    struct pqb_reader_cursor c;

    pqb_rcur_init(&c, hello->data + 4, 8);
    retry.init_id = pqb_rcur_u64(&c);
    pqb_rng_fill(&a->rng, retry.cookie, sizeof(retry.cookie));
    out.len = pqb_retry_encode(&retry, out.data);
    inject(a, &out, SIM_FAULT_retry_forged, now);
}

static void race(struct sim_adversary *a, const struct sim_packet *packet, enum sim_fault fault,
                 pqb_tstamp now)
{
    struct sim_packet out;

    sim_packet_copy(&out, packet);
    out.addr = a->addr;
    inject(a, &out, fault, now);
}

static void alter_answer(struct sim_adversary *a, const struct sim_packet *packet, pqb_tstamp now)
{
    struct sim_packet out;

    sim_packet_copy(&out, packet);
    flip(a, &out, 4 + pqb_rng_below(&a->rng, out.len - 4)); // behind what is reserved
    inject(a, &out, SIM_FAULT_answer_altered, now);
}

// The trap is set and closes now.
static bool springs(struct sim_adversary *a, enum sim_trap trap)
{
    const bool is_set = (a->traps & (unsigned)trap) != 0;

    a->traps &= ~(unsigned)trap;
    return is_set;
}

static void on_hello(struct sim_adversary *a, const struct sim_packet *packet, pqb_tstamp now)
{
    struct sim_packet *seen = &a->seen[SIM_SEEN_HELLO][a->counts[SIM_SEEN_HELLO]++ % SIM_SEEN_MAX];

    sim_packet_copy(seen, packet);
    if (springs(a, SIM_TRAP_RELAY)) {
        a->relayed = packet->endpoint;
        race(a, packet, SIM_FAULT_raced, now);
    }
    if (springs(a, SIM_TRAP_BUSY))
        forge_busy(a, packet, now);
    if (springs(a, SIM_TRAP_RETRY))
        forge_retry(a, packet, now);
}

static void race_data(struct sim_adversary *a, const struct sim_packet *packet, pqb_tstamp now)
{
    if (a->raced_count == SIM_RACED_MAX)
        return;
    a->raced[a->raced_count++] = pqb_datagram_cid(packet->data, packet->len);
    race(a, packet, SIM_FAULT_raced, now);
}

static bool has_raced(const struct sim_adversary *a, uint64_t cid)
{
    for (size_t i = 0; i < a->raced_count; i++) {
        if (a->raced[i] == cid)
            return true;
    }
    return false;
}

// The gateway answers him, or speaks to him of its own.
static void on_answer_to_me(struct sim_adversary *a, const struct sim_packet *packet,
                            pqb_tstamp now)
{
    struct sim_packet out;

    if (type_of(packet) == PQB_DATAGRAM_DATA && !a->has_relayed &&
        !has_raced(a, pqb_datagram_cid(packet->data, packet->len)))
        sim_oracle_fail(a->oracle, "a session answers who replays or forges datagrams");
    if (a->relayed == SIM_ENDPOINT_NONE || type_of(packet) != PQB_DATAGRAM_RESP)
        return;
    sim_packet_copy(&out, packet);
    out.endpoint = a->relayed;
    a->has_relayed = true;
    inject(a, &out, SIM_FAULT_relayed, now);
}

void sim_adversary_on_sent(struct sim_adversary *a, const struct sim_packet *packet, pqb_tstamp now)
{
    const unsigned type = type_of(packet);

    if (packet->is_up && is_hello(packet))
        on_hello(a, packet, now);
    else if (packet->is_up && type == PQB_DATAGRAM_DATA && springs(a, SIM_TRAP_RACE))
        race_data(a, packet, now);
    else if (!packet->is_up && pqb_addr_is_equal(&packet->addr, &a->addr))
        on_answer_to_me(a, packet, now);
    else if (!packet->is_up && packet->endpoint != SIM_ENDPOINT_NONE && type == PQB_DATAGRAM_RESP &&
             springs(a, SIM_TRAP_ANSWER))
        alter_answer(a, packet, now);
}

void sim_adversary_on_taken(struct sim_adversary *a, const struct sim_packet *packet)
{
    const enum sim_seen kind = packet->is_up ? SIM_SEEN_UP : SIM_SEEN_DOWN;

    if (packet->endpoint != SIM_ENDPOINT_NONE && type_of(packet) == PQB_DATAGRAM_DATA)
        sim_packet_copy(&a->seen[kind][a->counts[kind]++ % SIM_SEEN_MAX], packet);
}

// ---------------------------------------------------------------------------------------- attacks

// From his own address, or as if it came from another client.
static void replay(struct sim_adversary *a, pqb_tstamp now)
{
    struct sim_packet p;

    if (!pick(a, chance(a, 0.3) ? SIM_SEEN_HELLO : SIM_SEEN_UP, &p))
        return;
    p.origin = SIM_REPLAYED;
    p.addr = a->addr;
    if (chance(a, 0.3))
        p.addr = *sim_net_addr(a->net, (uint32_t)pqb_rng_below(&a->rng, a->net->endpoints_count));
    inject(a, &p, SIM_FAULT_replayed, now);
}

static void replay_down(struct sim_adversary *a, pqb_tstamp now)
{
    struct sim_packet p;

    if (!pick(a, SIM_SEEN_DOWN, &p))
        return;
    p.origin = SIM_REPLAYED;
    inject(a, &p, SIM_FAULT_down_replayed, now);
}

// A byte of each clear field, of the ticket or the handshake; he can make mac1 anew.
static void alter_hello(struct sim_adversary *a, pqb_tstamp now)
{
    static const struct {
        size_t at, len;
    } fields[] = {{1, 1}, {2, 1}, {3, 1}, {4, 8}, {12, 1}, {13, 24}, {37, 203}, {240, 944}};
    const size_t i = pqb_rng_below(&a->rng, PQB_ARRAY_LEN(fields));
    struct sim_packet p;

    if (!pick(a, SIM_SEEN_HELLO, &p))
        return;
    flip(a, &p, fields[i].at + pqb_rng_below(&a->rng, fields[i].len));
    if (chance(a, 0.8))
        pqb_mac1_make(a->mac1_key, p.data, PQB_HELLO_MAC1_AT, p.data + PQB_HELLO_MAC1_AT);
    if (chance(a, 0.5))
        p.addr = a->addr;
    inject(a, &p, SIM_FAULT_hello_altered, now);
}

// The number's two parts, or any byte.
static void alter_number(struct sim_adversary *a, struct sim_packet *p)
{
    static const int generations[] = {1, 1, 2, -1};
    struct pqb_reader_cursor r;
    struct pqb_writer_cursor w;
    uint64_t pn;

    pqb_rcur_init(&r, p->data + PN_AT, 8);
    pn = pqb_rcur_u64(&r);
    if (chance(a, 0.6))
        pn += (uint64_t)generations[pqb_rng_below(&a->rng, 4)] << PQB_PN_COUNTER_BITS;
    if (chance(a, 0.8))
        pn += chance(a, 0.5) ? 1 + pqb_rng_below(&a->rng, 8) : 5000;
    else
        pn ^= UINT64_C(1) << 62; // far from all that was added
    pqb_wcur_init(&w, p->data + PN_AT, 8);
    pqb_wcur_u64(&w, pn);
    p->origin = SIM_ALTERED;
}

static void alter_data(struct sim_adversary *a, pqb_tstamp now)
{
    struct sim_packet p;

    if (!pick(a, chance(a, 0.6) ? SIM_SEEN_UP : SIM_SEEN_DOWN, &p))
        return;
    if (chance(a, 0.7))
        alter_number(a, &p);
    else
        flip(a, &p, 1 + pqb_rng_below(&a->rng, p.len - 1));
    if (p.is_up && chance(a, 0.5))
        p.addr = a->addr;
    inject(a, &p, SIM_FAULT_data_altered, now);
}

static void forge_reset(struct sim_adversary *a, pqb_tstamp now)
{
    struct sim_packet p, out = {.origin = SIM_ALTERED};
    struct pqb_reset reset;

    if (!pick(a, SIM_SEEN_DOWN, &p))
        return;
    out.endpoint = p.endpoint;
    reset.cid = pqb_datagram_cid(p.data, p.len);
    pqb_rng_fill(&a->rng, reset.token, sizeof(reset.token));
    out.len = pqb_reset_encode(&reset, out.data);
    inject(a, &out, SIM_FAULT_reset_forged, now);
}

void sim_adversary_act(struct sim_adversary *a, const struct pqb_rng *rng, pqb_tstamp now)
{
    static void (*const attacks[])(struct sim_adversary *, pqb_tstamp) = {
        replay, replay_down, alter_hello, alter_data, alter_data, forge_reset};
    const size_t count = PQB_ARRAY_LEN(attacks);
    size_t i;

    a->rng = *rng;
    i = pqb_rng_below(&a->rng, count + SIM_TRAPS - !a->may_relay);
    if (i < count)
        attacks[i](a, now);
    else
        a->traps |= 1u << (i - count);
}
