// The judge of an encrypted run's datagrams. What an end sends shows no body, name or token and has
// a packet number of its own; what is not what an end sent, or was taken before, changes nothing
// but counters of what was dropped; and what is genuine is not taken for a replay or a forgery.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/sim_net.h"
#include "tests/sim/sim_oracle.h"

// Stands in every name and token of an encrypted run.
#define SIM_NAME_TAIL "-passenger"

struct sim_map { // never forgets
    uint64_t *keys, *values;
    size_t count, capacity;
};

struct sim_wire {
    struct sim_oracle *oracle;
    struct sim_map sent, arrived;      // packet numbers
    struct sim_map sent_generation;    // the highest, by direction and connection id
    struct sim_map arrived_generation; // likewise, at the gateway
    struct sim_map highest;            // packet number that arrived
};

void sim_wire_init(struct sim_wire *w, struct sim_oracle *oracle);
void sim_wire_fini(struct sim_wire *w);

void sim_wire_on_sent(struct sim_wire *w, const struct sim_packet *packet);

// An engine has looked at the datagram; its counters (PQB_COUNTER_COUNT) before and after. true: it
// has taken it, so that the same once more is a replay.
bool sim_wire_on_gateway(struct sim_wire *w, const struct sim_packet *packet,
                         const uint64_t *before, const uint64_t *after);
// A client has, and dropped so many datagrams and frames; or another session or state came of it.
bool sim_wire_on_client(struct sim_wire *w, const struct sim_packet *packet, uint64_t dropped,
                        bool has_changed);
