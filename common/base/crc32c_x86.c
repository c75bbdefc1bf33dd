// CRC-32C by the SSE4.2 instruction. Only these functions are compiled for SSE4.2, so that the
// program still starts on a processor without it.
#include <string.h>

#include <nmmintrin.h>

#include "common/base/crc32c_impl.h"

bool pqb_crc32c_has_hardware(void)
{
    return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) uint32_t pqb_crc32c_hardware(uint32_t crc, const void *data,
                                                               size_t len)
{
    const uint8_t *p = data;
    uint64_t state = ~crc;

    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;

        memcpy(&word, p, sizeof(word));
        state = _mm_crc32_u64(state, word);
    }
    crc = (uint32_t)state;
    for (; len > 0; p++, len--)
        crc = _mm_crc32_u8(crc, *p);
    return ~crc;
}
