// The kernel's filter of system calls: once loaded, the process can only serve. Main thread, when
// everything that serving needs is open and before the other threads start; they inherit it.
//
// There are two implementations: seccomp.c, and seccomp_none.c for builds with sanitizers, which
// make calls of their own.
#pragma once

#include "common/base/defs.h"

// Cannot be undone. Says on the log what came of it. PQB_OK or an error.
PQB_MUST_USE int pqb_seccomp_load(void);
