// Time in the protocol: monotonic nanoseconds that the driver reads once per turn and passes in.
// Wall-clock time is a type of its own so that the two never meet by accident.
#pragma once

#include <stdint.h>

typedef uint64_t pqb_tstamp;   // monotonic ns; only differences mean anything
typedef uint64_t pqb_duration; // ns
typedef uint64_t pqb_wall_ms; // ms since 1970-01-01 UTC; for people and retention, never for timers

#define PQB_NEVER      UINT64_MAX
#define PQB_NS_PER_US  UINT64_C(1000)
#define PQB_NS_PER_MS  UINT64_C(1000000)
#define PQB_NS_PER_SEC UINT64_C(1000000000)

// `at + after`, saturating at PQB_NEVER.
static inline pqb_tstamp pqb_tstamp_add(pqb_tstamp at, pqb_duration after)
{
    return after > PQB_NEVER - at ? PQB_NEVER : at + after;
}

// Time from `since` to `now`; 0 when `since` lies ahead.
static inline pqb_duration pqb_elapsed(pqb_tstamp since, pqb_tstamp now)
{
    return now > since ? now - since : 0;
}
