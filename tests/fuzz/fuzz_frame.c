// One frame's content as it comes out of a datagram or a reassembly; the first byte is its type.
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0)
        fuzz_check_frame(data[0], (struct pqb_bytes){data + 1, size - 1});
    return 0;
}
