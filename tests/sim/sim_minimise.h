// Makes a failing run small: fewer kinds of events, calmer parameters, less time, fewer devices,
// fewer events, as long as it fails in the same way (the same text but for its numbers).
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tests/sim/sim_events.h"
#include "tests/sim/sim_plan.h"

struct sim_minimised {
    struct sim_plan plan;
    struct sim_event_mask mask; // the caller ends it
    char failure[400];          // empty: the run did not fail
    double failed_at_s;         // virtual seconds
    size_t events_before, events_after;
    size_t kinds_before, kinds_after;
    size_t params_before, params_after; // that differ from a calm run's
    size_t runs;
    double real_s;
    bool is_minimal; // nothing more could be left out; false: the time was up
};

// Takes at most about `seconds` of real time, on `jobs` cores.
void sim_minimise(const struct sim_plan *plan, const struct sim_event_mask *mask, double seconds,
                  size_t jobs, struct sim_minimised *out);
