// Every allocation of this process, shared libraries included, while the watch is on. There is one
// implementation for the C library's allocator and one for the sanitizers'; meson.build chooses.
#pragma once

#include <stddef.h>

void heap_watch_begin(void);
size_t heap_watch_end(void); // bytes that were asked for since begin, all calls added up
