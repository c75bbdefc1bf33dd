// A token bucket in eight bytes (GCRA, ITU-T I.371): the time at which the bucket would be full
// again. A session has two of them, so their size matters.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/time.h"

struct pqb_rate {
    pqb_tstamp full_at;
};

// One event fits into `burst` events and one more every `interval`. Without `interval`: no limit.
bool pqb_rate_is_free(const struct pqb_rate *r, pqb_duration interval, uint32_t burst,
                      pqb_tstamp now);

// Takes one event if it fits; otherwise takes nothing and returns false.
bool pqb_rate_take(struct pqb_rate *r, pqb_duration interval, uint32_t burst, pqb_tstamp now);

// How long until one event fits.
pqb_duration pqb_rate_wait(const struct pqb_rate *r, pqb_duration interval, uint32_t burst,
                           pqb_tstamp now);
