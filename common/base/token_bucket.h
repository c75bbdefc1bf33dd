// Token bucket: `rate` tokens a second up to `burst`. Takes `now`; one owner.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/time.h"

struct pqb_token_bucket {
    uint32_t rate;  // tokens per second; 0 = unlimited
    uint32_t burst; // capacity in tokens
    uint64_t level; // tokens * PQB_NS_PER_SEC
    pqb_tstamp filled_at;
};

void pqb_token_bucket_init(struct pqb_token_bucket *b, uint32_t rate, uint32_t burst,
                           pqb_tstamp now);

// Takes `tokens` if there are as many; otherwise takes none and returns false.
bool pqb_token_bucket_take(struct pqb_token_bucket *b, uint32_t tokens, pqb_tstamp now);

// When `tokens` will be there, at the earliest.
pqb_tstamp pqb_token_bucket_ready_at(const struct pqb_token_bucket *b, uint32_t tokens,
                                     pqb_tstamp now);
