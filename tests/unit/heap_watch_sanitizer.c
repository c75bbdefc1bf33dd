#include <stdbool.h>

#include "tests/unit/heap_watch.h"

// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl51-cpp,readability-identifier-naming)
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *));
// NOLINTEND(bugprone-reserved-identifier,cert-dcl51-cpp,readability-identifier-naming)

static size_t asked;

static void on_malloc(const volatile void *at, size_t size)
{
    (void)at;
    asked += size;
}

static void on_free(const volatile void *at)
{
    (void)at;
}

void heap_watch_begin(void)
{
    static bool is_installed;

    if (!is_installed)
        (void)__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
    is_installed = true;
    asked = 0;
}

size_t heap_watch_end(void)
{
    return asked;
}
