// A bad network in user space: loss, duplication, delay, jitter and reordering for each datagram of
// one direction, from a seed. Holds delayed datagrams in a bounded heap; one owner.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/rng.h"
#include "common/base/time.h"

struct impair_config {
    double loss, dup, reorder;  // probability per datagram
    pqb_duration delay, jitter; // one way; jitter is uniform on top of delay
};

#define IMPAIR_HELD_MAX 262144 // delayed datagrams; what comes on top is dropped and counted

struct impair_stats {
    uint64_t passed, lost, duplicated, reordered, overflowed;
};

struct impaired; // one datagram on its way

struct impair {
    struct impair_config config;
    struct pqb_rng rng;
    struct impaired **heap;
    size_t count, capacity;
    uint64_t order;
    struct impair_stats stats;
};

void impair_init(struct impair *im, const struct impair_config *config, uint64_t seed);
void impair_fini(struct impair *im);

// True when the configuration changes nothing, so that the caller may pass datagrams straight on.
bool impair_is_clear(const struct impair *im);

// Sends a copy of `data` on its way for `to` (the caller's, opaque).
void impair_put(struct impair *im, void *to, const void *data, size_t len, pqb_tstamp now);

// Next datagram that has arrived by `now`: fills `to` and `data` (`capacity` bytes) and returns its
// length; 0 when there is none.
size_t impair_take(struct impair *im, void **to, void *data, size_t capacity, pqb_tstamp now);
pqb_tstamp impair_next(const struct impair *im); // PQB_NEVER: nothing on its way
