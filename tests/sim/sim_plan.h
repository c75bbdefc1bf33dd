// One seed -> all parameters of a run. Swarm testing: each run turns some faults off and
// exaggerates others, because faults that are always all on hide one another.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/defs.h"

struct sim_plan {
    uint64_t seed;
#define SIM_PARAM(name, help) double name;
#include "tests/sim/sim_plan.def"
#undef SIM_PARAM
};

void sim_plan_from_seed(struct sim_plan *plan, uint64_t seed);

// A run without faults; regression tests start here and turn on what they need.
void sim_plan_calm(struct sim_plan *plan, uint64_t seed);

// In a plaintext run, what is for encrypted ones becomes what it is in a calm run: it has no
// effect.
void sim_plan_tidy(struct sim_plan *plan);

// "name=value". false: no such parameter, or not a number.
PQB_MUST_USE bool sim_plan_set(struct sim_plan *plan, const char *setting);

// The parameters by number, for what looks at all of them.
size_t sim_plan_count(void);
double *sim_plan_param(struct sim_plan *plan, size_t i);
double sim_plan_get(const struct sim_plan *plan, size_t i);

// The options that make this plan again from its seed's, or from the calm one.
void sim_plan_print_options(const struct sim_plan *plan, FILE *out);

void sim_plan_print(const struct sim_plan *plan, FILE *out);
void sim_plan_help(FILE *out);
