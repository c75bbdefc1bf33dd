// The structure check, then msgpack-c on what passes: it must parse, and without allocating.
#include "common/base/check.h"
#include "common/wire/structure.h"
#include "common/wire/unpacker.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pqb_unpacker *unpacker = fuzz_unpacker();
    const size_t before = fuzz_heap_in_use();
    msgpack_object_array array;
    const enum pqb_verdict verdict = pqb_unpacker_parse(unpacker, data, size, &array);

    PQB_ASSERT(fuzz_heap_in_use() == before);
    PQB_ASSERT(verdict == PQB_VERDICT_OK || verdict == PQB_VERDICT_STRUCTURE);
    if (pqb_structure_is_sound(data, size)) {
        const uint8_t b = data[0];
        const bool is_array = (b & 0xf0) == 0x90 || b == 0xdc || b == 0xdd;
        PQB_ASSERT((verdict == PQB_VERDICT_OK) == is_array);
    } else {
        PQB_ASSERT(verdict == PQB_VERDICT_STRUCTURE);
    }
    return 0;
}
