// The virtual network between clients and one gateway: a heap of datagrams in flight, and every
// fault that a datagram can meet. No time of its own: the world asks when the next one arrives.
//
// Corruption is what a checksum lets through to the parsers. Of a plaintext session that is a
// flipped header byte, a frame whose length or msgpack cannot be right: a flipped bit inside a body
// or a cursor would be a lie that nothing could notice; UDP's checksum turns it into loss. In an
// encrypted run any byte may be another, and the receiver must notice.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/addr.h"
#include "common/base/rng.h"
#include "common/base/time.h"
#include "common/wire/limits.h"

#define SIM_ENDPOINTS_MAX 64
#define SIM_IN_FLIGHT_MAX (1u << 17) // datagrams; more than this is a storm and fails the run
#define SIM_ENDPOINT_NONE UINT32_MAX
#define SIM_GATEWAY_PORT  7400

struct sim_net_config { // shares are in [0, 1)
    double loss;
    double burst; // share of datagrams that begin a stretch in which all are lost
    pqb_duration burst_ns;
    double duplicate;
    double reorder; // share that is held back by up to reorder_ns more
    pqb_duration reorder_ns;
    pqb_duration delay_ns, jitter_ns; // one way
    double corrupt, truncate;
    double ghost; // share of which a copy arrives much later
    pqb_duration ghost_ns;
    bool is_sealed;          // any byte may be corrupted
    pqb_duration quantum_ns; // arrivals are rounded up to this, so that turns see several; 0: no
};

enum sim_origin {
    SIM_GENUINE,  // as it was sent, and what is only late, twice or from another address
    SIM_REPLAYED, // the receiver has taken it before
    SIM_ALTERED,  // it is not what was sent: it must have no effect
};

struct sim_packet {
    pqb_tstamp at;
    uint64_t order; // of sending; breaks ties
    uint32_t endpoint;
    bool is_up; // towards the gateway
    enum sim_origin origin;
    struct pqb_addr addr; // the client's end, as it was when sent
    size_t len;
    uint8_t data[PQB_DATAGRAM_MAX];
};

// A packet is copied as far as it is filled: most are short.
void sim_packet_copy(struct sim_packet *to, const struct sim_packet *from);

struct sim_endpoint {
    struct pqb_addr addr; // as the gateway sees it now
    pqb_tstamp up_blocked_until, down_blocked_until;
    pqb_tstamp burst_until;
    pqb_tstamp clogged_until;
};

struct sim_net_stats {
    uint64_t sent, arrived, lost, blocked, duplicated, held, corrupted, truncated, ghosts, stale;
    uint64_t bursts;
    size_t in_flight_max;
};

struct sim_events;

// Sees every datagram that an end sends, before any fault.
typedef void (*sim_net_watch_fn)(void *ctx, const struct sim_packet *packet, pqb_tstamp now);

struct sim_net {
    struct sim_events *events;
    struct pqb_rng rng; // of the datagram being sent
    struct sim_net_config config;
    struct sim_endpoint endpoints[SIM_ENDPOINTS_MAX];
    uint32_t endpoints_count;
    uint16_t next_port;
    struct sim_packet **heap;
    size_t count, capacity;
    uint64_t order;
    bool is_overrun; // SIM_IN_FLIGHT_MAX was reached
    struct sim_net_stats stats;
    sim_net_watch_fn watch; // NULL: nobody
    void *watch_ctx;
};

void sim_net_init(struct sim_net *net, const struct sim_net_config *config,
                  struct sim_events *events);
void sim_net_fini(struct sim_net *net);

// A new client's end, with an address of its own.
uint32_t sim_net_attach(struct sim_net *net);
const struct pqb_addr *sim_net_addr(const struct sim_net *net, uint32_t endpoint);

// A NAT forgot the mapping: another port, or (is_new_ip) another address. What is on its way to the
// old address is lost; what left from there still arrives, from there.
void sim_net_rebind(struct sim_net *net, uint32_t endpoint, bool is_new_ip);

// Nothing passes up (or down) before the given time.
void sim_net_block(struct sim_net *net, uint32_t endpoint, pqb_tstamp up_until,
                   pqb_tstamp down_until);

// What is sent before the given time arrives after it, all at once.
void sim_net_clog(struct sim_net *net, uint32_t endpoint, pqb_tstamp until);

void sim_net_send_up(struct sim_net *net, uint32_t endpoint, const void *data, size_t len,
                     pqb_tstamp now);
void sim_net_send_down(struct sim_net *net, const struct pqb_addr *to, const void *data, size_t len,
                       pqb_tstamp now);

// A datagram from an address that is nobody's (spoofed or stray).
void sim_net_inject_up(struct sim_net *net, const struct pqb_addr *from, const void *data,
                       size_t len, pqb_tstamp now);

// The same, to the gateway or (its `endpoint`) to a client. `packet` has all but time and order.
void sim_net_inject(struct sim_net *net, const struct sim_packet *packet, pqb_tstamp now);

pqb_tstamp sim_net_next_arrival(const struct sim_net *net);

// Takes the earliest datagram with arrival <= now. false: none. Those to an address that is no
// longer anybody's are dropped inside.
bool sim_net_poll(struct sim_net *net, struct sim_packet *out, pqb_tstamp now);

// From now on nothing is lost, held or changed. What is in flight still arrives, ghosts included.
void sim_net_heal(struct sim_net *net);
