#include "common/proto/rtt.h"

#include "common/base/defs.h"

#define GRANULARITY_NS (1 * PQB_NS_PER_MS) // RFC 9002 6.1.2
#define FAST_NS        (PQB_RTO_LOW_FLOOR_NS / 4)

void pqb_rtt_init(struct pqb_rtt *r)
{
    *r = (struct pqb_rtt){0};
}

void pqb_rtt_sample(struct pqb_rtt *r, pqb_duration rtt)
{
    // Longer than any timeout says nothing more; the bound also keeps the sums below in range.
    rtt = PQB_MIN(PQB_MAX(rtt, 1), PQB_RTO_MAX_NS);

    if (r->samples == 0) {
        r->srtt = r->min = rtt;
        r->rttvar = rtt / 2;
    } else {
        const pqb_duration deviation = rtt > r->srtt ? rtt - r->srtt : r->srtt - rtt;

        r->rttvar = (3 * r->rttvar + deviation) / 4;
        r->srtt = (7 * r->srtt + rtt) / 8;
        r->min = PQB_MIN(r->min, rtt);
    }
    if (r->samples < UINT32_MAX)
        r->samples++;
    if (rtt > FAST_NS)
        r->fast_samples = 0;
    else if (r->fast_samples < PQB_RTT_PROVEN)
        r->fast_samples++;
}

pqb_duration pqb_rtt_rto(const struct pqb_rtt *r, unsigned backoffs)
{
    pqb_duration rto = PQB_RTO_INITIAL_NS;

    if (r->samples > 0) {
        const pqb_duration floor =
            r->fast_samples >= PQB_RTT_PROVEN ? PQB_RTO_LOW_FLOOR_NS : PQB_RTO_FLOOR_NS;

        rto = PQB_MAX(r->srtt + PQB_MAX(4 * r->rttvar, GRANULARITY_NS), floor);
    }
    for (unsigned i = 0; i < backoffs && rto < PQB_RTO_MAX_NS; i++)
        rto *= 2;
    return PQB_MIN(rto, PQB_RTO_MAX_NS);
}
