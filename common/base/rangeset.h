// Set of 64-bit numbers as sorted, disjoint, non-adjacent ranges of bounded count: received
// positions, acknowledged fragments, the seqs of a skip. Embedded by its owner; never allocates.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"

#define PQB_RANGESET_MAX 64

struct pqb_range {
    uint64_t first, last; // inclusive
};

struct pqb_rangeset {
    size_t count;
    struct pqb_range ranges[PQB_RANGESET_MAX];
};

void pqb_rangeset_clear(struct pqb_rangeset *s);

// Adds first..last (first <= last). PQB_ERR_FULL when a new range would be needed and all are in
// use; the set is then unchanged.
PQB_MUST_USE int pqb_rangeset_add(struct pqb_rangeset *s, uint64_t first, uint64_t last);

// Removes everything <= upto.
void pqb_rangeset_trim(struct pqb_rangeset *s, uint64_t upto);

bool pqb_rangeset_has(const struct pqb_rangeset *s, uint64_t value);
