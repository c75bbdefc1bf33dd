// A run of 64-bit numbers: received positions, the seqs of a skip, what retention removed.
#pragma once

#include <stdint.h>

struct pqb_range {
    uint64_t first, last; // inclusive
};
