// When the sender of an encrypted session begins a new generation of its key. In a file of its own,
// so that the simulator can link another in its place, in which generations are short.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/time.h"

// `packets` have been sent under the present key, and it came into use `age` ago.
bool pqb_rekey_is_due(uint32_t packets, pqb_duration age);
