// Planted bugs that prove the simulator can find bugs. In test builds with PQB_MUTANTS one of them
// can be switched on at run time; everywhere else PQB_MUTANT(name) is the constant false and the
// planted code is not compiled in.
#pragma once

#include <stdbool.h>

enum pqb_mutant {
    PQB_MUTANT_NONE = 0,
#define PQB_MUTANT_DEF(name, help) PQB_MUTANT_##name,
#include "common/base/mutants.def"
#undef PQB_MUTANT_DEF
    PQB_MUTANT_COUNT
};

#ifdef PQB_MUTANTS
extern enum pqb_mutant pqb_mutant_active; // set before anything runs, never changed
#    define PQB_MUTANT(name) (pqb_mutant_active == PQB_MUTANT_##name)
#else
#    define PQB_MUTANT(name) ((void)PQB_MUTANT_##name, false)
#endif
