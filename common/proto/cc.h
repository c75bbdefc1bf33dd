// Congestion window in bytes (NewReno, RFC 9002 section 7) and pacing. Counts bytes of frames that
// are retransmitted until acknowledged; answers and probes are not limited by it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/time.h"
#include "common/proto/rtt.h"

struct pqb_cc {
    uint32_t window, ssthresh; // bytes
    uint32_t in_flight;        // bytes
    pqb_tstamp recovery_start; // losses of what was sent before it do not cut the window again
    pqb_tstamp pace_at;        // next send is not before this
};

void pqb_cc_init(struct pqb_cc *c); // 10 datagrams, RFC 9002 7.2

bool pqb_cc_may_send(const struct pqb_cc *c, uint32_t bytes, pqb_tstamp now);
pqb_tstamp pqb_cc_next_send(const struct pqb_cc *c,
                            pqb_tstamp now); // PQB_NEVER: the window is full
void pqb_cc_on_sent(struct pqb_cc *c, uint32_t bytes, const struct pqb_rtt *rtt, pqb_tstamp now);
void pqb_cc_on_acked(struct pqb_cc *c, uint32_t bytes, pqb_tstamp sent_at);
void pqb_cc_on_lost(struct pqb_cc *c, uint32_t bytes, pqb_tstamp sent_at, pqb_tstamp now);
void pqb_cc_on_timeout(struct pqb_cc *c); // persistent congestion: back to the minimum window
void pqb_cc_on_discarded(struct pqb_cc *c, uint32_t bytes); // neither acknowledged nor lost
