#include "common/base/hist.h"

#include <stddef.h>

#include "common/base/check.h"
#include "common/base/defs.h"

// The first 2^SUB_BITS buckets hold one value each; from there every power of two is cut into
// 2^SUB_BITS buckets of equal width.
#define SUB_COUNT (UINT64_C(1) << PQB_HIST_SUB_BITS)

static size_t bucket_of(uint64_t value)
{
    if (value < SUB_COUNT)
        return (size_t)value;

    const unsigned shift = 63 - (unsigned)__builtin_clzll(value) - PQB_HIST_SUB_BITS;

    return (size_t)((shift + 1) * SUB_COUNT + ((value >> shift) & (SUB_COUNT - 1)));
}

// Largest value that falls into bucket `i`.
static uint64_t bucket_top(size_t i)
{
    if (i < SUB_COUNT)
        return i;

    const unsigned shift = (unsigned)(i / SUB_COUNT) - 1;
    const uint64_t low = (SUB_COUNT + i % SUB_COUNT) << shift;

    return low + ((UINT64_C(1) << shift) - 1);
}

void pqb_hist_clear(struct pqb_hist *h)
{
    *h = (struct pqb_hist){0};
}

void pqb_hist_add(struct pqb_hist *h, uint64_t value)
{
    h->buckets[bucket_of(value)]++;
    h->count++;
    h->max = PQB_MAX(h->max, value);
}

void pqb_hist_merge(struct pqb_hist *into, const struct pqb_hist *from)
{
    for (size_t i = 0; i < PQB_HIST_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
    into->max = PQB_MAX(into->max, from->max);
}

// The smallest rank r with r >= q * count, at least 1: the rank whose value the quantile is.
static uint64_t rank_of(uint64_t count, double q)
{
    const double exact = q * (double)count;
    uint64_t rank = exact >= (double)count ? count : (uint64_t)exact;

    if ((double)rank < exact)
        rank++;
    return PQB_MAX(rank, 1);
}

uint64_t pqb_hist_quantile(const struct pqb_hist *h, double q)
{
    PQB_ASSERT(q >= 0.0 && q <= 1.0);
    if (h->count == 0)
        return 0;

    const uint64_t rank = rank_of(h->count, q);
    uint64_t seen = 0;

    for (size_t i = 0; i < PQB_HIST_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank)
            return PQB_MIN(bucket_top(i), h->max);
    }
    return h->max;
}
