#include "common/base/token_bucket.h"

#include "common/base/defs.h"

static uint64_t full_level(const struct pqb_token_bucket *b)
{
    return b->burst * PQB_NS_PER_SEC;
}

// Level at `now`. Saturates before the product can overflow.
static uint64_t level_at(const struct pqb_token_bucket *b, pqb_tstamp now)
{
    const uint64_t missing = full_level(b) - b->level;
    const pqb_duration elapsed = pqb_elapsed(b->filled_at, now);

    if (b->rate == 0 || elapsed > missing / b->rate)
        return full_level(b);
    return b->level + elapsed * b->rate;
}

void pqb_token_bucket_init(struct pqb_token_bucket *b, uint32_t rate, uint32_t burst,
                           pqb_tstamp now)
{
    *b = (struct pqb_token_bucket){.rate = rate, .burst = burst, .filled_at = now};
    b->level = full_level(b);
}

bool pqb_token_bucket_take(struct pqb_token_bucket *b, uint32_t tokens, pqb_tstamp now)
{
    const uint64_t cost = tokens * PQB_NS_PER_SEC;

    if (b->rate == 0)
        return true;
    b->level = level_at(b, now);
    b->filled_at = PQB_MAX(b->filled_at, now);
    if (b->level < cost)
        return false;
    b->level -= cost;
    return true;
}

pqb_tstamp pqb_token_bucket_ready_at(const struct pqb_token_bucket *b, uint32_t tokens,
                                     pqb_tstamp now)
{
    const uint64_t cost = tokens * PQB_NS_PER_SEC;

    if (b->rate == 0)
        return now;
    if (tokens > b->burst)
        return PQB_NEVER;

    const uint64_t level = level_at(b, now);

    if (level >= cost)
        return now;
    return pqb_tstamp_add(now, (cost - level + b->rate - 1) / b->rate);
}
