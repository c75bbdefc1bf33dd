// msgpack-c's parser behind the structure check, with one zone that is reused from call to call.
// Internal to common/wire: no other header shows msgpack-c. One owner, one thread.
#pragma once

#include <stddef.h>

#include <msgpack.h>

#include "common/base/defs.h"
#include "common/wire/datagram.h"

// Parses `data`, which must be one msgpack array. The result lives until the next call; its text
// and bytes borrow from `data`.
PQB_MUST_USE enum pqb_verdict pqb_unpacker_parse(struct pqb_unpacker *u, const void *data,
                                                 size_t len, msgpack_object_array *out);
