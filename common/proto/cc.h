// Congestion window in bytes (NewReno, RFC 9002 section 7) and pacing. Counts bytes of frames that
// are retransmitted until acknowledged; answers and probes are not limited by it.
//
// Each byte that pqb_cc_on_sent added leaves exactly once: acked, lost or discarded. Asserted.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/time.h"
#include "common/proto/rtt.h"
#include "common/wire/limits.h"

#define PQB_CC_DATAGRAM       ((uint32_t)PQB_DATAGRAM_MAX)
#define PQB_CC_WINDOW_INITIAL (10 * PQB_CC_DATAGRAM) // RFC 9002 7.2
// Four, not two: with less in flight a single loss can never be told by three later arrivals.
#define PQB_CC_WINDOW_MIN  (4 * PQB_CC_DATAGRAM)
#define PQB_CC_WINDOW_MAX  (UINT32_C(4) * 1024 * 1024)
#define PQB_CC_BURST       10 // datagrams that may leave at once after a pause
#define PQB_CC_PROBE_BYTES (2 * PQB_CC_DATAGRAM)

struct pqb_cc {
    uint32_t window, ssthresh; // bytes
    uint32_t in_flight;        // bytes
    uint32_t acked;            // bytes acknowledged towards the next step of linear growth
    uint32_t allowance;        // bytes that may leave though the window is full
    pqb_tstamp recovery_start; // losses of what was sent before it do not cut the window again
    pqb_tstamp pace_at;        // next send is not before this
};

void pqb_cc_init(struct pqb_cc *c);

// Starts anew on another path; what is in flight stays counted until it is settled.
void pqb_cc_restart(struct pqb_cc *c);

bool pqb_cc_may_send(const struct pqb_cc *c, uint32_t bytes, pqb_tstamp now);

// When a whole datagram may leave; PQB_NEVER: not before something is acknowledged or given up.
// Never `now` while pqb_cc_may_send refuses a datagram, so a loop that waits for it does not spin.
pqb_tstamp pqb_cc_next_send(const struct pqb_cc *c, pqb_tstamp now);

void pqb_cc_on_sent(struct pqb_cc *c, uint32_t bytes, const struct pqb_rtt *rtt, pqb_tstamp now);
void pqb_cc_on_acked(struct pqb_cc *c, uint32_t bytes, pqb_tstamp sent_at);
void pqb_cc_on_lost(struct pqb_cc *c, uint32_t bytes, pqb_tstamp sent_at, pqb_tstamp now);
void pqb_cc_on_timeout(struct pqb_cc *c); // persistent congestion: back to the minimum window
void pqb_cc_on_discarded(struct pqb_cc *c, uint32_t bytes); // neither acknowledged nor lost

// A first timeout: two datagrams may leave whatever the window says (RFC 9002 6.2.4).
void pqb_cc_allow_probe(struct pqb_cc *c);
