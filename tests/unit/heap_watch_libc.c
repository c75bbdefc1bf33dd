#include <stdlib.h>

#include "tests/unit/heap_watch.h"

// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl51-cpp,readability-identifier-naming)
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
// NOLINTEND(bugprone-reserved-identifier,cert-dcl51-cpp,readability-identifier-naming)

static size_t asked;

__attribute__((visibility("default"))) void *malloc(size_t size)
{
    asked += size;
    return __libc_malloc(size);
}

__attribute__((visibility("default"))) void *calloc(size_t count, size_t size)
{
    asked += count * size;
    return __libc_calloc(count, size);
}

__attribute__((visibility("default"))) void *realloc(void *old, size_t size)
{
    asked += size;
    return __libc_realloc(old, size);
}

void heap_watch_begin(void)
{
    asked = 0;
}

size_t heap_watch_end(void)
{
    return asked;
}
