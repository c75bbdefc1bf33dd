// The bounded structure check that runs before msgpack-c sees a byte. msgpack-c allocates what a
// header declares (five bytes can ask for gigabytes), so nothing reaches it unless: one value fills
// the bytes exactly, depth <= PQB_STRUCTURE_DEPTH_MAX, every declared count and length fits into
// the bytes that remain, and there are at most PQB_STRUCTURE_VALUES_MAX values. Never allocates,
// O(length), no recursion.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define PQB_STRUCTURE_DEPTH_MAX 4 // arrays and maps inside each other

// Values in all: elements of arrays, keys and values of maps, and the outermost one. The largest
// frame has 71; the rest is room for elements that later versions append.
#define PQB_STRUCTURE_VALUES_MAX 1024

bool pqb_structure_is_sound(const void *data, size_t len);
