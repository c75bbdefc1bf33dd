// msgpack array -> struct, led by a layout.
#include <string.h>

#include "common/base/check.h"
#include "common/wire/fields.h"
#include "common/wire/unpacker.h"
#include "common/wire/utf8.h"

static bool read_uint(const msgpack_object *object, uint64_t min, uint64_t max, uint64_t *out)
{
    if (object->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return false;
    *out = object->via.u64;
    return *out >= min && *out <= max;
}

// Stores `value`, which the field's maximum keeps within `width` bytes.
static void store_uint(void *member, uint8_t width, uint64_t value)
{
    switch (width) {
    case 1:
        *(uint8_t *)member = (uint8_t)value;
        return;
    case 2:
        *(uint16_t *)member = (uint16_t)value;
        return;
    case 4:
        *(uint32_t *)member = (uint32_t)value;
        return;
    default:
        PQB_ASSERT(width == 8);
        *(uint64_t *)member = value;
    }
}

static bool decode_uint(const struct pqb_field *f, const msgpack_object *object, void *member)
{
    uint64_t value;

    if (!read_uint(object, f->min, f->max, &value))
        return false;
    store_uint(member, f->width, value);
    return true;
}

static bool decode_bool(const msgpack_object *object, bool *member)
{
    if (object->type != MSGPACK_OBJECT_BOOLEAN)
        return false;
    *member = object->via.boolean;
    return true;
}

static bool decode_state(const msgpack_object *object, uint8_t *member)
{
    uint64_t value;

    if (!read_uint(object, 0, UINT8_MAX, &value) || !pqb_state_is_known(value))
        return false;
    *member = (uint8_t)value;
    return true;
}

static bool decode_text(const struct pqb_field *f, const msgpack_object *object,
                        struct pqb_text *member)
{
    if (object->type != MSGPACK_OBJECT_STR)
        return false;
    *member = (struct pqb_text){object->via.str.ptr, object->via.str.size};
    if (f->kind == PQB_FIELD_NAME)
        return pqb_name_is_valid(member->data, member->len, f->max);
    return member->len >= f->min && member->len <= f->max &&
           pqb_utf8_is_valid(member->data, member->len);
}

static bool decode_bytes(const struct pqb_field *f, const msgpack_object *object,
                         struct pqb_bytes *member)
{
    if (object->type != MSGPACK_OBJECT_BIN)
        return false;
    if (object->via.bin.size < f->min || object->via.bin.size > f->max)
        return false;
    *member = (struct pqb_bytes){(const uint8_t *)object->via.bin.ptr, object->via.bin.size};
    return true;
}

static bool decode_fixed(const struct pqb_field *f, const msgpack_object *object, uint8_t *member)
{
    if (object->type != MSGPACK_OBJECT_BIN || object->via.bin.size != f->max)
        return false;
    memcpy(member, object->via.bin.ptr, f->max);
    return true;
}

static bool decode_optional(const struct pqb_field *f, const msgpack_object *object, bool *has,
                            uint8_t *member)
{
    *has = object->type != MSGPACK_OBJECT_NIL;
    return !*has || decode_fixed(f, object, member);
}

// An array of pairs of which there are at most `max`.
static bool read_pairs(const msgpack_object *object, uint64_t max, const msgpack_object **at,
                       size_t *count)
{
    if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size % 2 != 0)
        return false;
    *at = object->via.array.ptr;
    *count = object->via.array.size / 2;
    return *count <= max;
}

static bool decode_ranges(const struct pqb_field *f, const msgpack_object *object, size_t *count,
                          struct pqb_range *ranges)
{
    const msgpack_object *at;

    if (!read_pairs(object, f->max, &at, count))
        return false;
    for (size_t i = 0; i < *count; i++, at += 2) {
        if (!read_uint(&at[0], 0, UINT64_MAX, &ranges[i].first) ||
            !read_uint(&at[1], 0, UINT64_MAX, &ranges[i].last))
            return false;
    }
    return pqb_ranges_are_valid(ranges, *count, f->max);
}

static bool decode_seq_states(const struct pqb_field *f, const msgpack_object *object,
                              size_t *count, struct pqb_seq_state *pairs)
{
    const msgpack_object *at;

    if (!read_pairs(object, f->max, &at, count))
        return false;
    for (size_t i = 0; i < *count; i++, at += 2) {
        if (!read_uint(&at[0], 1, UINT64_MAX, &pairs[i].seq) ||
            !decode_state(&at[1], &pairs[i].state))
            return false;
    }
    return true;
}

static bool decode_field(const struct pqb_field *f, const msgpack_object *object, char *base)
{
    void *member = base + f->offset, *second = base + f->second;

    switch (f->kind) {
    case PQB_FIELD_UINT:
        return decode_uint(f, object, member);
    case PQB_FIELD_BOOL:
        return decode_bool(object, member);
    case PQB_FIELD_STATE:
        return decode_state(object, member);
    case PQB_FIELD_TEXT:
    case PQB_FIELD_NAME:
        return decode_text(f, object, member);
    case PQB_FIELD_BYTES:
        return decode_bytes(f, object, member);
    case PQB_FIELD_FIXED:
        return decode_fixed(f, object, member);
    case PQB_FIELD_OPTIONAL:
        return decode_optional(f, object, member, second);
    case PQB_FIELD_RANGES:
        return decode_ranges(f, object, member, second);
    case PQB_FIELD_SEQ_STATES:
        return decode_seq_states(f, object, member, second);
    }
    return false;
}

enum pqb_verdict pqb_fields_decode(struct pqb_unpacker *u, const struct pqb_layout *layout,
                                   const void *data, size_t len, void *out)
{
    msgpack_object_array array;
    const enum pqb_verdict verdict = pqb_unpacker_parse(u, data, len, &array);

    if (verdict != PQB_VERDICT_OK)
        return verdict;
    if (array.size < layout->count)
        return PQB_VERDICT_FIELD;
    for (size_t i = 0; i < layout->count; i++) {
        if (!decode_field(&layout->fields[i], &array.ptr[i], out))
            return PQB_VERDICT_FIELD;
    }
    return PQB_VERDICT_OK;
}
