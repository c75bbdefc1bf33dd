// Round-trip estimator and retransmission timeout (RFC 6298), fed by packet-number echoes, so there
// is no Karn ambiguity. Deviations, as RFC 9002 6.2 allows: floor 200 ms, or lower once the path
// has proved faster, and a cap of 60 s.
#pragma once

#include <stdint.h>

#include "common/base/time.h"

#define PQB_RTO_INITIAL_NS (1 * PQB_NS_PER_SEC)
#define PQB_RTO_FLOOR_NS   (200 * PQB_NS_PER_MS)
// Floor once PQB_RTT_PROVEN samples in a row were at most a quarter of it; a slower one undoes it.
#define PQB_RTO_LOW_FLOOR_NS (50 * PQB_NS_PER_MS)
#define PQB_RTT_PROVEN       8
#define PQB_RTO_MAX_NS       (60 * PQB_NS_PER_SEC)

struct pqb_rtt {
    pqb_duration srtt, rttvar, min; // 0 before the first sample
    uint32_t samples;
    uint32_t fast_samples; // in a row, see PQB_RTO_LOW_FLOOR_NS
};

void pqb_rtt_init(struct pqb_rtt *r);
void pqb_rtt_sample(struct pqb_rtt *r, pqb_duration rtt);

// The timeout after `backoffs` consecutive timeouts: doubled for each, capped.
pqb_duration pqb_rtt_rto(const struct pqb_rtt *r, unsigned backoffs);
