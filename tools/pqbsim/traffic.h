// What passes between many clients and a gateway, in slots of 100 ms: bursts show in it, which sums
// hide. One owner.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/time.h"

#define TRAFFIC_SLOT_NS   (100 * PQB_NS_PER_MS)
#define TRAFFIC_SLOTS_MAX 36000 // an hour; later slots count as the last

// Datagrams of the clients are up, the gateway's down.
struct traffic_slot {
    uint32_t up, down, inits; // inits: those of `up` that ask for a login
    uint32_t online;          // the most sessions there were at a time
    uint64_t up_bytes, down_bytes;
};

struct traffic {
    pqb_tstamp start;
    struct traffic_slot *slots; // pages that are not touched take no memory
    size_t count;               // slots begun
};

// PQB_OK or PQB_ERR_NOMEM.
PQB_MUST_USE int traffic_init(struct traffic *t, pqb_tstamp now);
void traffic_fini(struct traffic *t);

void traffic_add(struct traffic *t, bool is_up, const void *data, size_t len, uint32_t online,
                 pqb_tstamp now);

// Slot of a time; the time may lie beyond the last one.
size_t traffic_slot_at(const struct traffic *t, pqb_tstamp at);
// The sum of slots first to last, and the most INITs in one of them.
struct traffic_slot traffic_sum(const struct traffic *t, size_t first, size_t last);
uint32_t traffic_inits_peak(const struct traffic *t, size_t first, size_t last);
