#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include <malloc.h>

#include "common/base/check.h"
#include "common/base/err.h"

// The sanitizers' allocator, where there is one; the name is its own.
// NOLINTNEXTLINE(cert-dcl51-cpp,readability-identifier-naming)
__attribute__((weak)) size_t __sanitizer_get_current_allocated_bytes(void);

size_t fuzz_heap_in_use(void)
{
    if (__sanitizer_get_current_allocated_bytes)
        return __sanitizer_get_current_allocated_bytes();
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

struct pqb_unpacker *fuzz_unpacker(void)
{
    static struct pqb_unpacker *unpacker;

    if (!unpacker && pqb_unpacker_create(&unpacker) != PQB_OK)
        abort();
    return unpacker;
}

void fuzz_check_frame(uint8_t code, struct pqb_bytes content)
{
    static uint8_t first[PQB_FRAG_TOTAL_MAX + 4096], second[sizeof(first)];
    struct pqb_frame frame, again;

    if (pqb_frame_decode(fuzz_unpacker(), code, content, &frame) != PQB_VERDICT_OK)
        return;
    const size_t len = pqb_frame_encode_content(&frame, first, sizeof(first));
    PQB_ASSERT(len > 0);
    PQB_ASSERT(pqb_frame_decode(fuzz_unpacker(), code, (struct pqb_bytes){first, len}, &again) ==
               PQB_VERDICT_OK);
    PQB_ASSERT(again.type == frame.type);
    PQB_ASSERT(pqb_frame_encode_content(&again, second, sizeof(second)) == len);
    PQB_ASSERT(memcmp(first, second, len) == 0);
}
