// How soon the simulated sessions renew their keys: what common/proto/rekey.c has, but set by the
// plan. One run at a time.
#pragma once

#include <stdint.h>

#include "common/base/time.h"

// 0: as in the product.
void sim_rekey_set(uint32_t packets, pqb_duration age);
