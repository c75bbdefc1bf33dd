// The steps at which config.failpoint is asked. A non-zero answer is taken as the errno of that
// step: ENOSPC aborts and degrades, EIO is fatal (in pqb_store_step the store is dead from then on,
// as after a crash: drop it with pqb_store_crash and open again).
#pragma once

enum pqb_failpoint {
#define PQB_FAILPOINT(name, step, kind, where) PQB_FAIL_##name,
#include "storage/failpoints.def"
#undef PQB_FAILPOINT
    PQB_FAIL_COUNT
};

enum pqb_failpoint_kind {
    PQB_FAILPOINT_ERRNO, // the step itself may fail
    PQB_FAILPOINT_DEATH, // only the process can: any answer is fatal
};

struct pqb_failpoint_info {
    const char *step; // what the hook is given
    enum pqb_failpoint_kind kind;
};

extern const struct pqb_failpoint_info pqb_failpoints[PQB_FAIL_COUNT];

// NULL: no step has this name.
const struct pqb_failpoint_info *pqb_failpoint_find(const char *step);
