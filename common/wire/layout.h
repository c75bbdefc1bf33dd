// Macros that write the descriptors of fields.h. Included by the files that hold tables only.
#pragma once

#include "common/wire/fields.h"

#define PQB_SIZE_OF(type, member) (sizeof(((type *)0)->member))

// Unsigned integers may use their whole width from `lowest` on.
#define PQB_UINT_MAX_OF(type, member) (UINT64_MAX >> (64 - 8 * PQB_SIZE_OF(type, member)))

// clang-format off
#define PQB_UINT(type, member, label, lowest, highest)                                   \
    {.name = (label), .kind = PQB_FIELD_UINT, .width = PQB_SIZE_OF(type, member),        \
     .offset = offsetof(type, member), .min = (lowest), .max = (highest)}
#define PQB_ONE(type, member, label, what, lowest, highest)                              \
    {.name = (label), .kind = (what), .offset = offsetof(type, member),                  \
     .min = (lowest), .max = (highest)}
#define PQB_TWO(type, member, other, label, what, limit)                                 \
    {.name = (label), .kind = (what), .offset = offsetof(type, member),                  \
     .second = offsetof(type, other), .min = 0, .max = (limit)}
// clang-format on

#define PQB_LAYOUT(table)           \
    {                               \
        table, PQB_ARRAY_LEN(table) \
    }
