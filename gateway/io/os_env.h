// The operating system's clocks and randomness: the only place in the gateway that reads them.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/time.h"

// Monotonic time, the clock that the store's writer reads too. `last` is the caller's previous
// reading (start at 0); it never goes back.
pqb_tstamp pqb_os_now(pqb_tstamp *last);

pqb_wall_ms pqb_os_wall(void);

// Bytes nobody can guess; waits for the kernel's pool at early boot. PQB_OK or PQB_ERR_IO.
PQB_MUST_USE int pqb_os_entropy(void *out, size_t len);
