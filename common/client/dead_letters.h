// The dead letters of a file store, one file each; paquebot.h tells their format. Internal to
// common/client; used by the thread that owns the store.
#pragma once

#include "common/base/defs.h"
#include "common/client/paquebot.h"

// Writes the letter under `dir_fd`, durable on return, and deletes the oldest ones beyond the
// bounds. A letter of the same iseq is replaced.
PQB_MUST_USE int pqb_dead_letters_put(int dir_fd, const struct pqb_client_dead_letter *letter);
