// CRC-32C (Castagnoli), as iSCSI and ext4 use it. Guards stored values and reassembled messages
// against accident, not against an adversary.
#pragma once

#include <stddef.h>
#include <stdint.h>

// CRC of `len` bytes continuing from `crc` (0 to start).
uint32_t pqb_crc32c(uint32_t crc, const void *data, size_t len);
