// The structure check against msgpack-c, in both directions. What passes, msgpack-c parses without
// allocating; and what passes is exactly what msgpack-c can parse to the last byte and what keeps
// the limits of depth and number, measured on the parsed value.
#include "common/base/check.h"
#include "common/wire/structure.h"
#include "common/wire/unpacker.h"
#include "tests/fuzz/fuzz.h"

// Unchecked, msgpack-c allocates what a header declares: the reason for the check. Where a byte
// that may be such a header declares more than there are bytes, it is not asked.
static bool may_ask(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const size_t width = data[i] == 0xdc || data[i] == 0xde   ? 2
                             : data[i] == 0xdd || data[i] == 0xdf ? 4
                                                                  : 0;
        uint64_t count = 0;

        if (width == 0 || size - i <= width)
            continue;
        for (size_t k = 1; k <= width; k++)
            count = count << 8 | data[i + k];
        if (count > size + 16)
            return false;
    }
    return true;
}

struct measure {
    size_t depth, values;
};

// NOLINTBEGIN(misc-no-recursion): msgpack-c itself goes no deeper than 32.
static void measure(struct measure *m, const msgpack_object *o, size_t depth)
{
    m->values++;
    if (o->type == MSGPACK_OBJECT_ARRAY || o->type == MSGPACK_OBJECT_MAP)
        m->depth = PQB_MAX(m->depth, depth + 1);
    if (o->type == MSGPACK_OBJECT_ARRAY) {
        for (uint32_t i = 0; i < o->via.array.size; i++)
            measure(m, &o->via.array.ptr[i], depth + 1);
    } else if (o->type == MSGPACK_OBJECT_MAP) {
        for (uint32_t i = 0; i < o->via.map.size; i++) {
            measure(m, &o->via.map.ptr[i].key, depth + 1);
            measure(m, &o->via.map.ptr[i].val, depth + 1);
        }
    }
}
// NOLINTEND(misc-no-recursion)

static bool is_sound_by_msgpack(const uint8_t *data, size_t size)
{
    msgpack_unpacked result;
    size_t offset = 0;
    bool is_sound = false;

    msgpack_unpacked_init(&result);
    if (msgpack_unpack_next(&result, (const char *)data, size, &offset) == MSGPACK_UNPACK_SUCCESS &&
        offset == size) {
        struct measure m = {.depth = 0};
        measure(&m, &result.data, 0);
        is_sound = m.depth <= PQB_STRUCTURE_DEPTH_MAX && m.values <= PQB_STRUCTURE_VALUES_MAX;
    }
    msgpack_unpacked_destroy(&result);
    return is_sound;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pqb_unpacker *unpacker = fuzz_unpacker();
    const size_t before = fuzz_heap_in_use();
    msgpack_object_array array;
    const enum pqb_verdict verdict = pqb_unpacker_parse(unpacker, data, size, &array);

    PQB_ASSERT(fuzz_heap_in_use() == before);
    PQB_ASSERT(verdict == PQB_VERDICT_OK || verdict == PQB_VERDICT_STRUCTURE);
    const bool is_sound = pqb_structure_is_sound(data, size);
    if (is_sound) {
        const uint8_t b = data[0];
        const bool is_array = (b & 0xf0) == 0x90 || b == 0xdc || b == 0xdd;
        PQB_ASSERT((verdict == PQB_VERDICT_OK) == is_array);
    } else {
        PQB_ASSERT(verdict == PQB_VERDICT_STRUCTURE);
    }
    if (size > 0 && may_ask(data, size))
        PQB_ASSERT(is_sound_by_msgpack(data, size) == is_sound);
    return 0;
}
