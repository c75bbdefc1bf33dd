// Runs of the simulator in processes of their own: an assertion or a hang ends one run and not the
// others, and what it was doing is told in shared memory.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <sys/types.h>

#include "common/base/defs.h"
#include "tests/sim/sim_events.h"
#include "tests/sim/sim_plan.h"
#include "tests/sim/sim_trace.h"
#include "tests/sim/sim_world.h"

#define SIM_REAL_SECONDS_MAX 120 // a run that takes longer hangs

struct sim_job {
    const struct sim_plan *plan;
    const struct sim_event_mask *mask; // may be NULL
    enum sim_trace_mode mode;
    FILE *out;           // what it prints goes there; NULL: nowhere
    unsigned real_s_max; // 0: SIM_REAL_SECONDS_MAX
    bool has_log;        // keep the events that happened
};

// Written by the child, read by the parent.
struct sim_outcome {
    struct sim_result result; // `failure` is set if the run failed, however it ended
    double real_s;
    struct sim_event_log log;
};

struct sim_child {
    pid_t pid; // 0: not running
    double since;
    struct sim_outcome *outcome;
};

void sim_child_init(struct sim_child *child); // ends the process if there is no memory
void sim_child_fini(struct sim_child *child);
void sim_child_start(struct sim_child *child, const struct sim_job *job);
// Waits for it. true: the run passed.
bool sim_child_wait(struct sim_child *child);
// Waits for any of those that run; returns its index.
size_t sim_child_wait_any(struct sim_child *children, size_t count);

// In this process; for --trace.
void sim_run_here(const struct sim_job *job, struct sim_outcome *outcome);

double sim_real_now(void);
