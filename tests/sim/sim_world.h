// One run: a plan's gateway, network and clients under virtual time, its faults, and then the
// settling: without faults everything must be resolved within a bounded time.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/sim_events.h"
#include "tests/sim/sim_faults.h"
#include "tests/sim/sim_plan.h"

struct sim_result {
    char failure[400]; // empty: every promise was kept
    double virtual_s, failed_at_s;
    double settled_s; // after the faults ended
    uint64_t messages, taken, accepted, delivered, refused, abandoned, uncertain, again,
        dead_letters;
    uint64_t datagrams, crashes, deaths, logins, steps, failures;
    uint64_t memory_idle; // bytes that the engines hold when everyone has left
    uint64_t digest;
    uint64_t faults[SIM_FAULT_COUNT];
};

// `mask` says which events may happen, `event_log` takes down those that did; both may be NULL.
void sim_run(const struct sim_plan *plan, const struct sim_event_mask *mask,
             struct sim_event_log *event_log, struct sim_result *result);
