// Attributes and small macros that every file may use.
#pragma once

#include <stddef.h>

#define PQB_MUST_USE     __attribute__((warn_unused_result))
#define PQB_PRINTF(f, a) __attribute__((format(printf, f, a)))

#define PQB_ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

#define PQB_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define PQB_MIN(a, b) ((a) < (b) ? (a) : (b))
#define PQB_MAX(a, b) ((a) > (b) ? (a) : (b))
