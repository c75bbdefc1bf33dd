// What has fired in this run, fault by fault: a fault that never fires proves nothing.
#pragma once

#include <stdint.h>

enum sim_fault {
#define SIM_FAULT(name, help) SIM_FAULT_##name,
#include "tests/sim/sim_faults.def"
#undef SIM_FAULT
    SIM_FAULT_COUNT,
};

void sim_fault_reset(void);
void sim_fault_fired(enum sim_fault fault, uint64_t times);
const uint64_t *sim_fault_counts(void); // SIM_FAULT_COUNT numbers

const char *sim_fault_name(enum sim_fault fault);
const char *sim_fault_help(enum sim_fault fault);
