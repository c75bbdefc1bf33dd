#include "common/proto/cc.h"

#include "common/base/check.h"
#include "common/base/defs.h"

void pqb_cc_init(struct pqb_cc *c)
{
    *c = (struct pqb_cc){.window = PQB_CC_WINDOW_INITIAL, .ssthresh = UINT32_MAX};
}

void pqb_cc_restart(struct pqb_cc *c)
{
    const uint32_t in_flight = c->in_flight;

    pqb_cc_init(c);
    c->in_flight = in_flight;
}

static bool has_room(const struct pqb_cc *c, uint32_t bytes)
{
    // Nothing in flight means nothing will open the window: one frame always may go.
    if (c->in_flight == 0 || bytes <= c->allowance)
        return true;
    return c->in_flight < c->window && bytes <= c->window - c->in_flight;
}

bool pqb_cc_may_send(const struct pqb_cc *c, uint32_t bytes, pqb_tstamp now)
{
    return now >= c->pace_at && has_room(c, bytes);
}

pqb_tstamp pqb_cc_next_send(const struct pqb_cc *c, pqb_tstamp now)
{
    return has_room(c, PQB_CC_DATAGRAM) ? PQB_MAX(now, c->pace_at) : PQB_NEVER;
}

// Time that `bytes` take at 1.25 windows a round trip (RFC 9002 7.7).
static pqb_duration pace_interval(const struct pqb_cc *c, uint32_t bytes, const struct pqb_rtt *rtt)
{
    return rtt->srtt * bytes / 5 * 4 / c->window;
}

static void pace(struct pqb_cc *c, uint32_t bytes, const struct pqb_rtt *rtt, pqb_tstamp now)
{
    if (rtt->samples == 0)
        return;
    // `pace_at` may lag behind by the burst less the datagram that leaves at its end.
    const pqb_duration credit = pace_interval(c, (PQB_CC_BURST - 1) * PQB_CC_DATAGRAM, rtt);
    const pqb_tstamp earliest = now > credit ? now - credit : 0;

    c->pace_at = PQB_MAX(c->pace_at, earliest) + pace_interval(c, bytes, rtt);
}

void pqb_cc_on_sent(struct pqb_cc *c, uint32_t bytes, const struct pqb_rtt *rtt, pqb_tstamp now)
{
    PQB_ASSERT(bytes <= UINT32_MAX - c->in_flight);
    c->in_flight += bytes;
    if (c->in_flight > c->window)
        c->allowance -= PQB_MIN(c->allowance, bytes);
    pace(c, bytes, rtt, now);
}

static void take_off(struct pqb_cc *c, uint32_t bytes)
{
    PQB_ASSERT(bytes <= c->in_flight);
    c->in_flight -= bytes;
}

static void grow(struct pqb_cc *c, uint32_t bytes)
{
    if (c->window < c->ssthresh) {
        c->window += bytes;
    } else {
        c->acked += bytes;
        if (c->acked >= c->window) {
            c->acked -= c->window;
            c->window += PQB_CC_DATAGRAM;
        }
    }
    c->window = PQB_MIN(c->window, PQB_CC_WINDOW_MAX);
}

void pqb_cc_on_acked(struct pqb_cc *c, uint32_t bytes, pqb_tstamp sent_at)
{
    // A window that was not made use of proves nothing about a larger one (RFC 9002 7.8).
    const bool is_used = c->in_flight >= c->window / 2;

    take_off(c, bytes);
    if (is_used && sent_at >= c->recovery_start)
        grow(c, bytes);
}

void pqb_cc_on_lost(struct pqb_cc *c, uint32_t bytes, pqb_tstamp sent_at, pqb_tstamp now)
{
    take_off(c, bytes);
    if (sent_at < c->recovery_start)
        return;
    // What leaves in this very turn leaves after the cut: it counts as sent in recovery.
    c->recovery_start = PQB_MAX(now, 1);
    c->window = PQB_MAX(c->window / 2, PQB_CC_WINDOW_MIN);
    c->ssthresh = c->window;
    c->acked = 0;
    c->allowance = PQB_MAX(c->allowance, PQB_CC_DATAGRAM); // RFC 9002 7.3.2
}

void pqb_cc_on_timeout(struct pqb_cc *c)
{
    c->window = PQB_CC_WINDOW_MIN;
    c->acked = 0;
    c->recovery_start = 0;
}

void pqb_cc_on_discarded(struct pqb_cc *c, uint32_t bytes)
{
    take_off(c, bytes);
}

void pqb_cc_allow_probe(struct pqb_cc *c)
{
    c->allowance = PQB_MAX(c->allowance, PQB_CC_PROBE_BYTES);
}
