// Everything that happens to a run is an event with a name: its kind, whom it happens to (its
// owner) and a running number. What an event draws depends on the seed and on that name alone, so
// that a run can be repeated without some of its events and the others stay what they were; on that
// the minimiser rests.
//
// Text: "crash:3" (the world's), "send.2:0,4-6" (device 2's), "lose.2up:17" (the 18th datagram that
// device 2 sent), "send.2" (all of device 2's), "send" (all).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/defs.h"
#include "common/base/rng.h"
#include "common/base/time.h"
#include "tests/sim/sim_net.h"

enum sim_kind {
#define SIM_EVENT(kind, name, whose, help) SIM_KIND_##kind,
#include "tests/sim/sim_events.def"
#undef SIM_EVENT
    SIM_KIND_EVENTS, // below are draws that cannot be left out
    SIM_KIND_DATAGRAM = SIM_KIND_EVENTS,
    SIM_KIND_GATEWAY_START,
    SIM_KIND_WRITER_STEP,
    SIM_KIND_CRASH_STEP,
    SIM_KIND_PEER,
    SIM_KIND_PEER_START,
    SIM_KIND_PEER_DEATH,
    SIM_KIND_PEER_TICK,
    SIM_KIND_PEER_TAKE,
    SIM_KIND_PEER_MOOD,
    SIM_KIND_COUNT,
};

// Owners: 0 for the world and the gateway, else the endpoint; what happens to datagrams on their
// way down to it, the endpoint + SIM_OWNER_DOWN.
#define SIM_OWNER_DOWN SIM_ENDPOINTS_MAX
#define SIM_OWNER_NONE (2 * SIM_ENDPOINTS_MAX) // noise from nowhere
#define SIM_OWNERS     (2 * SIM_ENDPOINTS_MAX + 1)

// An event in one number: orders by kind, owner, number.
typedef uint64_t sim_event_key;

#define SIM_EVENT_LOG_MAX (1u << 21)

// What happened in a run; in memory that parent and child share.
struct sim_event_log {
    size_t count; // may be more than there is room for
    sim_event_key at[SIM_EVENT_LOG_MAX];
};

struct sim_event_range {
    sim_event_key first, last;
};

// Which events may happen: all, or (has_only) those of `only`; but never those of `skip`.
struct sim_event_mask {
    bool has_only;
    struct sim_event_range *only, *skip;
    size_t only_count, only_max, skip_count, skip_max;
};

struct sim_events {
    uint64_t seed;
    const struct sim_event_mask *mask; // NULL: all may happen
    struct sim_event_log *log;         // NULL: not kept
    uint32_t counts[SIM_KIND_COUNT][SIM_OWNERS];
};

void sim_events_init(struct sim_events *events, uint64_t seed, const struct sim_event_mask *mask,
                     struct sim_event_log *log);

// Takes the next number of this kind and owner; `rng` then yields what is drawn for it.
uint32_t sim_events_next(struct sim_events *events, enum sim_kind kind, uint32_t owner,
                         struct pqb_rng *rng);

// Asked when an event is about to happen. true: it does, and is logged and traced.
bool sim_events_may(struct sim_events *events, enum sim_kind kind, uint32_t owner, uint32_t number,
                    pqb_tstamp now);

sim_event_key sim_event_key_of(enum sim_kind kind, uint32_t owner, uint32_t number);
enum sim_kind sim_event_kind(sim_event_key key);
uint32_t sim_event_owner(sim_event_key key);
bool sim_event_has_owner(sim_event_key key); // it happens to a client or its datagrams

// Adds what `text` names to `only` or to `skip`. false: not such a text.
PQB_MUST_USE bool sim_event_mask_parse(struct sim_event_mask *mask, bool is_only, const char *text);
// Only these, sorted upwards, may happen.
void sim_event_mask_set_only(struct sim_event_mask *mask, const sim_event_key *keys, size_t count);
void sim_event_mask_fini(struct sim_event_mask *mask);
// As the options that make the mask again: " --only send.2:0,4-6 ...".
void sim_event_mask_print(const struct sim_event_mask *mask, FILE *out);

void sim_events_help(FILE *out);
