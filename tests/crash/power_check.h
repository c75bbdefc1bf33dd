// Whether a store that power was taken from still holds what its clients were told.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "storage/store.h"
#include "tests/crash/power_life.h"

#define POWER_UNDAMAGED SIZE_MAX

// Verifies, opens, reads everything, repeats everything that was accepted. Prints each finding to
// stderr; true when there is none. With `damaged`, a letter whose stored copies were spoiled: that
// is noticed and nothing else is lost.
bool power_check(const struct pqb_store_config *config, const struct power_plan *plan,
                 const struct power_promises *promises, size_t damaged);
