// Giving up root once the sockets are bound.
#pragma once

#include "common/base/defs.h"

// Makes `dir` (mode 0700) if it is missing and gives it to `user`; does nothing when `user` is "".
// Then becomes that user for good, groups included. Says on the log what is wrong. PQB_OK or an
// error.
PQB_MUST_USE int pqb_privileges_drop(const char *user, const char *dir);
