// The two ways to compute a CRC-32C, for crc32c.c and its test. Everybody else calls pqb_crc32c.
// The build picks the file behind the hardware half by the machine it builds for.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// By table, on any machine.
uint32_t pqb_crc32c_portable(uint32_t crc, const void *data, size_t len);

// Whether this processor has the instruction; asked at run time.
bool pqb_crc32c_has_hardware(void);

// By the instruction. Call it only when pqb_crc32c_has_hardware() says so.
uint32_t pqb_crc32c_hardware(uint32_t crc, const void *data, size_t len);
