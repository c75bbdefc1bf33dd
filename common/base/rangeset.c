#include "common/base/rangeset.h"

#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"

void pqb_rangeset_clear(struct pqb_rangeset *s)
{
    s->count = 0;
}

// Index of the first range that ends at or after `value`; s->count when all end before.
static size_t lower_bound(const struct pqb_rangeset *s, uint64_t value)
{
    size_t low = 0;
    size_t high = s->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (s->ranges[middle].last < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Replaces the ranges from..to-1 (none when equal) by `with_count` places at `from`.
static void resize_hole(struct pqb_rangeset *s, size_t from, size_t to, size_t with_count)
{
    PQB_ASSERT(from <= to && to <= s->count);
    PQB_ASSERT(s->count - (to - from) + with_count <= PQB_RANGESET_MAX);
    memmove(&s->ranges[from + with_count], &s->ranges[to], (s->count - to) * sizeof(s->ranges[0]));
    s->count = s->count - (to - from) + with_count;
}

int pqb_rangeset_add(struct pqb_rangeset *s, uint64_t first, uint64_t last)
{
    PQB_ASSERT(first <= last);

    // Ranges from..to-1 overlap or touch first..last and melt into it.
    const size_t from = lower_bound(s, first > 0 ? first - 1 : 0);
    size_t to = from;

    while (to < s->count && (last == UINT64_MAX || s->ranges[to].first <= last + 1))
        to++;
    if (from == to) {
        if (s->count == PQB_RANGESET_MAX)
            return PQB_ERR_FULL;
    } else {
        first = PQB_MIN(first, s->ranges[from].first);
        last = PQB_MAX(last, s->ranges[to - 1].last);
    }
    resize_hole(s, from, to, 1);
    s->ranges[from] = (struct pqb_range){.first = first, .last = last};
    return PQB_OK;
}

void pqb_rangeset_trim(struct pqb_rangeset *s, uint64_t upto)
{
    size_t gone = lower_bound(s, upto);

    if (gone < s->count && s->ranges[gone].last == upto)
        gone++;
    resize_hole(s, 0, gone, 0);
    if (s->count > 0 && s->ranges[0].first <= upto)
        s->ranges[0].first = upto + 1;
}

bool pqb_rangeset_has(const struct pqb_rangeset *s, uint64_t value)
{
    const size_t i = lower_bound(s, value);

    return i < s->count && s->ranges[i].first <= value;
}
