#include "storage/failpoints.h"

#include <stddef.h>
#include <string.h>

const struct pqb_failpoint_info pqb_failpoints[PQB_FAIL_COUNT] = {
#define PQB_FAILPOINT(name, step, kind, where) [PQB_FAIL_##name] = {step, PQB_FAILPOINT_##kind},
#include "storage/failpoints.def"
#undef PQB_FAILPOINT
};

const struct pqb_failpoint_info *pqb_failpoint_find(const char *step)
{
    for (size_t i = 0; i < PQB_FAIL_COUNT; i++) {
        if (strcmp(pqb_failpoints[i].step, step) == 0)
            return &pqb_failpoints[i];
    }
    return NULL;
}
