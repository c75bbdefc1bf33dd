// Bytes as hexadecimal digits, as people and files have keys and names.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"

// 0 to 15, either case; -1: not a digit.
int pqb_hex_digit(char c);

// Lower-case digits of `len` bytes and a NUL; and back, exactly so many, either case.
void pqb_hex_encode(const uint8_t *data, size_t len, char *out);
PQB_MUST_USE int pqb_hex_decode(const char *text, size_t text_len, uint8_t *out, size_t len);
