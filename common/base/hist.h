// Log-linear latency histogram: 64-bit values at 1/32 relative error in fixed memory.
#pragma once

#include <stdint.h>

#define PQB_HIST_SUB_BITS 5
#define PQB_HIST_BUCKETS  ((64 - PQB_HIST_SUB_BITS + 1) << PQB_HIST_SUB_BITS)

struct pqb_hist {
    uint64_t count, max;
    uint64_t buckets[PQB_HIST_BUCKETS];
};

void pqb_hist_clear(struct pqb_hist *h);
void pqb_hist_add(struct pqb_hist *h, uint64_t value);
void pqb_hist_merge(struct pqb_hist *into, const struct pqb_hist *from);

// Value at quantile `q` in [0, 1], rounded up to its bucket's top, never above the maximum;
// 0 when empty.
uint64_t pqb_hist_quantile(const struct pqb_hist *h, double q);
