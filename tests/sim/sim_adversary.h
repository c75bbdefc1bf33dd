// Somebody on the path of an encrypted run: he sees every datagram, knows the gateway's public key
// and sends what he likes to either side, from any address. He holds nothing back: that the network
// does already.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/rng.h"
#include "common/wire/limits.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/sim_oracle.h"

#define SIM_SEEN_MAX  16
#define SIM_RACED_MAX 1024

enum sim_seen {
    SIM_SEEN_HELLO, // INIT and RESUME
    SIM_SEEN_UP,    // DATA that the gateway took
    SIM_SEEN_DOWN,  // DATA that a client took
    SIM_SEEN_KINDS,
};

// What he does to the next datagram that fits.
enum sim_trap {
    SIM_TRAP_RACE = 1,   // DATA: a copy from his own address, at once
    SIM_TRAP_ANSWER = 2, // RESP: an altered copy
    SIM_TRAP_BUSY = 4,   // INIT, RESUME: a forged answer
    SIM_TRAP_RETRY = 8,  // likewise
    SIM_TRAP_RELAY = 16, // INIT, RESUME: a copy from his own address, whose answer he passes on
};

#define SIM_TRAPS 5

struct sim_adversary {
    struct sim_net *net;
    struct sim_oracle *oracle;
    bool may_relay;
    struct pqb_rng rng; // of the attack that is prepared
    struct pqb_addr addr;
    uint8_t mac1_key[PQB_KEY_LEN];
    struct sim_packet seen[SIM_SEEN_KINDS][SIM_SEEN_MAX];
    size_t counts[SIM_SEEN_KINDS];
    unsigned traps;
    uint32_t relayed;              // endpoint of the login that is led through his address
    bool has_relayed;              // ever: a session may begin at his address
    uint64_t raced[SIM_RACED_MAX]; // connection ids of genuine datagrams that came from there
    size_t raced_count;
};

void sim_adversary_init(struct sim_adversary *a, struct sim_net *net, struct sim_oracle *oracle,
                        bool may_relay);
void sim_adversary_learn_key(struct sim_adversary *a, const uint8_t server_public[PQB_KEY_LEN]);

// A datagram leaves an end; one was taken by the other. What he replays and forges brings him no
// datagram of a session.
void sim_adversary_on_sent(struct sim_adversary *a, const struct sim_packet *packet,
                           pqb_tstamp now);
void sim_adversary_on_taken(struct sim_adversary *a, const struct sim_packet *packet);

// He does something; what, is drawn.
void sim_adversary_act(struct sim_adversary *a, const struct pqb_rng *rng, pqb_tstamp now);
