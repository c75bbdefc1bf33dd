// When datagrams were sent, for the echoes that name them. Owned by a channel.
//
// A place holds for the packet it names and for those up to the next place. Packets of one turn
// share a place, and so do neighbours in a flight longer than the places, so every flight gives
// samples, too long by about a sixteenth of the flight at most. Two places are in the struct, which
// is what a session at rest needs (its last answer is echoed by the next keepalive); more are on
// the heap, only while they are in use.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/time.h"

#define PQB_SENT_TIMES_NEAR 2
#define PQB_SENT_TIMES_MAX  16

struct pqb_sent_time {
    uint32_t pn;    // low 32 bits
    uint32_t at_us; // microseconds mod 2^32
};

struct pqb_sent_times {
    uint32_t count;
    struct pqb_sent_time near[PQB_SENT_TIMES_NEAR]; // ascending
    struct pqb_sent_time *far;                      // PQB_SENT_TIMES_MAX, instead; or NULL
};

// All zero is empty.
void pqb_sent_times_clear(struct pqb_sent_times *t); // nothing is left on the heap

// Packet `pn`, one above the last one noted, is sent; no echo has covered the last `flight` yet.
// Without memory samples become coarser.
void pqb_sent_times_note(struct pqb_sent_times *t, uint32_t pn, uint32_t flight, pqb_tstamp now);

// The packet, noted or forgotten, is echoed. True: *elapsed_us have passed since it was sent, and
// what was sent before it is forgotten.
bool pqb_sent_times_take(struct pqb_sent_times *t, uint32_t pn, pqb_tstamp now,
                         uint32_t *elapsed_us);

size_t pqb_sent_times_memory(const struct pqb_sent_times *t); // bytes besides the struct
