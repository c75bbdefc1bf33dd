#include "tests/sim/sim_faults.h"

#include <string.h>

static uint64_t counts[SIM_FAULT_COUNT]; // of this process's run

static const struct {
    const char *name, *help;
} faults[] = {
#define SIM_FAULT(name, help) {#name, help},
#include "tests/sim/sim_faults.def"
#undef SIM_FAULT
};

void sim_fault_reset(void)
{
    memset(counts, 0, sizeof(counts));
}

void sim_fault_fired(enum sim_fault fault, uint64_t times)
{
    counts[fault] += times;
}

const uint64_t *sim_fault_counts(void)
{
    return counts;
}

const char *sim_fault_name(enum sim_fault fault)
{
    return faults[fault].name;
}

const char *sim_fault_help(enum sim_fault fault)
{
    return faults[fault].help;
}
