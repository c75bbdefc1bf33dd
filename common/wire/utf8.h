// UTF-8 as RFC 3629 has it: shortest forms only, no surrogates, nothing above U+10FFFF.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool pqb_utf8_is_valid(const char *data, size_t len);

// Reads one code point at `data` (len > 0). Returns its length in bytes, 0 when it is not UTF-8.
size_t pqb_utf8_read(const uint8_t *data, size_t len, uint32_t *out);
