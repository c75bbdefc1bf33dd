#include "tests/unit/faults.h"

static struct {
    enum fault_kind kind;
    uint64_t at, calls;
    int error;
    bool has_struck;
} armed;

void faults_arm(enum fault_kind kind, uint64_t at, int error)
{
    armed.kind = kind;
    armed.at = at;
    armed.calls = 0;
    armed.error = error;
    armed.has_struck = false;
}

bool faults_disarm(void)
{
    armed.kind = FAULT_NONE;
    return armed.has_struck;
}

bool faults_strike(enum fault_kind kind)
{
    if (armed.kind != kind || ++armed.calls != armed.at)
        return false;
    armed.has_struck = true;
    return true;
}

int faults_error(void)
{
    return armed.error;
}
