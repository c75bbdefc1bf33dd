// The bounded structure check that runs before msgpack-c sees a byte. msgpack-c allocates what a
// header declares (five bytes can ask for gigabytes), so nothing reaches it unless: one value fills
// the bytes exactly, depth <= PQB_STRUCTURE_DEPTH_MAX, and every declared count and length fits
// into the bytes that remain. Never allocates, O(length), no recursion.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define PQB_STRUCTURE_DEPTH_MAX 4

bool pqb_structure_is_sound(const void *data, size_t len);
