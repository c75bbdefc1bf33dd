// Giving up what the daemon needs no longer once the sockets are bound. Main thread, before any
// other thread is started: the kernel keeps most of this per thread.
#pragma once

#include "common/base/defs.h"

// Becomes `user` for good, groups included, and makes `dir` (mode 0700) for it if it is missing; ""
// keeps the account. Whatever the account, what is left has no capability, gains none, leaves no
// core dump, is closed to debuggers and makes files for itself alone. Then looks whether `dir` can
// be used. Says on the log what is wrong. PQB_OK or an error.
PQB_MUST_USE int pqb_privileges_drop(const char *user, const char *dir);
