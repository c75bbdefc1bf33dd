#include "gateway/core/rate.h"

#include "common/base/check.h"

pqb_duration pqb_rate_wait(const struct pqb_rate *r, pqb_duration interval, uint32_t burst,
                           pqb_tstamp now)
{
    const pqb_duration debt = pqb_elapsed(now, r->full_at);

    PQB_ASSERT(interval == 0 || burst > 0);
    return interval == 0 ? 0 : pqb_elapsed(interval * (burst - 1), debt);
}

bool pqb_rate_is_free(const struct pqb_rate *r, pqb_duration interval, uint32_t burst,
                      pqb_tstamp now)
{
    return pqb_rate_wait(r, interval, burst, now) == 0;
}

bool pqb_rate_take(struct pqb_rate *r, pqb_duration interval, uint32_t burst, pqb_tstamp now)
{
    if (!pqb_rate_is_free(r, interval, burst, now))
        return false;
    r->full_at = (r->full_at > now ? r->full_at : now) + interval;
    return true;
}
