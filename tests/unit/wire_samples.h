// Valid frames of every type, made from the layouts: at the lowest and the highest value of each
// element, or at random ones. For tests and for the fuzzers' seeds.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/rng.h"
#include "common/wire/frame.h"

enum wire_sample_mode {
    WIRE_SAMPLE_LOWEST,
    WIRE_SAMPLE_HIGHEST,
    WIRE_SAMPLE_RANDOM,
};

extern const uint8_t wire_sample_codes[]; // every known frame type
extern const size_t wire_sample_code_count;

// Text and bytes borrow from static storage. `body_max` bounds what is unbounded but for
// PQB_BODY_MAX.
void wire_sample_frame(struct pqb_rng *rng, uint8_t code, enum wire_sample_mode mode,
                       size_t body_max, struct pqb_frame *out);

void wire_sample_init(struct pqb_rng *rng, enum wire_sample_mode mode, struct pqb_init *out);
void wire_sample_resp(struct pqb_rng *rng, enum wire_sample_mode mode, struct pqb_resp *out);
