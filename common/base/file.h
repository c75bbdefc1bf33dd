// Small files that must be whole: read at once, replaced at once. Blocks for the disk; start-up
// code and operators' business, never a datagram's.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"

// mkdir -p, each new directory for its owner only. PQB_ERR_INVALID: the path is empty.
PQB_MUST_USE int pqb_dir_make(const char *path);

// Writes, for the owner of the old file or of the directory, `name` in the directory `folder` (a
// file descriptor) beside its old self, syncs, and puts it in its place: after a crash one of the
// two is there. Mode 0600, whatever was there before.
PQB_MUST_USE int pqb_file_replace(int folder, const char *name, const void *data, size_t len);

// Reads all of a file of at most `max` bytes. PQB_ERR_NOT_FOUND, PQB_ERR_TOO_LARGE, or errno's.
PQB_MUST_USE int pqb_file_read(int folder, const char *name, void *out, size_t max, size_t *len);
