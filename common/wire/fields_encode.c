// Struct -> msgpack array, led by a layout. msgpack-c's results are not looked at: the cursor
// latches the first write that does not fit.
#include <msgpack.h>

#include "common/base/check.h"
#include "common/wire/fields.h"

static int write_to_cursor(void *cursor, const char *data, size_t len)
{
    struct pqb_writer_cursor *c = cursor;

    pqb_wcur_bytes(c, data, len);
    return c->is_bad ? -1 : 0;
}

static void encode_text(msgpack_packer *pk, const struct pqb_field *f, const struct pqb_text *text)
{
    PQB_ASSERT(text->len >= f->min && text->len <= f->max);
    msgpack_pack_str(pk, text->len);
    msgpack_pack_str_body(pk, text->data, text->len);
}

static void encode_bytes(msgpack_packer *pk, const struct pqb_field *f, const void *data,
                         size_t len)
{
    PQB_ASSERT(len >= f->min && len <= f->max);
    msgpack_pack_bin(pk, len);
    msgpack_pack_bin_body(pk, data, len);
}

static void encode_uint(msgpack_packer *pk, const struct pqb_field *f, const void *member)
{
    const uint64_t value = f->width == 1   ? *(const uint8_t *)member
                           : f->width == 2 ? *(const uint16_t *)member
                           : f->width == 4 ? *(const uint32_t *)member
                                           : *(const uint64_t *)member;

    PQB_ASSERT(value >= f->min && value <= f->max);
    msgpack_pack_uint64(pk, value);
}

static void encode_state(msgpack_packer *pk, uint8_t state)
{
    PQB_ASSERT(pqb_state_is_known(state));
    msgpack_pack_uint8(pk, state);
}

static void encode_ranges(msgpack_packer *pk, const struct pqb_field *f,
                          const struct pqb_range *ranges, size_t count)
{
    PQB_ASSERT(pqb_ranges_are_valid(ranges, count, f->max));
    msgpack_pack_array(pk, 2 * count);
    for (size_t i = 0; i < count; i++) {
        msgpack_pack_uint64(pk, ranges[i].first);
        msgpack_pack_uint64(pk, ranges[i].last);
    }
}

static void encode_seq_states(msgpack_packer *pk, const struct pqb_field *f,
                              const struct pqb_seq_state *pairs, size_t count)
{
    PQB_ASSERT(count <= f->max);
    msgpack_pack_array(pk, 2 * count);
    for (size_t i = 0; i < count; i++) {
        PQB_ASSERT(pairs[i].seq > 0);
        msgpack_pack_uint64(pk, pairs[i].seq);
        encode_state(pk, pairs[i].state);
    }
}

static void encode_field(msgpack_packer *pk, const struct pqb_field *f, const char *base)
{
    const void *member = base + f->offset, *second = base + f->second;

    switch (f->kind) {
    case PQB_FIELD_UINT:
        encode_uint(pk, f, member);
        return;
    case PQB_FIELD_BOOL:
        *(const bool *)member ? msgpack_pack_true(pk) : msgpack_pack_false(pk);
        return;
    case PQB_FIELD_STATE:
        encode_state(pk, *(const uint8_t *)member);
        return;
    case PQB_FIELD_TEXT:
    case PQB_FIELD_NAME:
        encode_text(pk, f, member);
        return;
    case PQB_FIELD_BYTES:
        encode_bytes(pk, f, ((const struct pqb_bytes *)member)->data,
                     ((const struct pqb_bytes *)member)->len);
        return;
    case PQB_FIELD_FIXED:
        encode_bytes(pk, f, member, f->max);
        return;
    case PQB_FIELD_OPTIONAL:
        if (*(const bool *)member)
            encode_bytes(pk, f, second, f->max);
        else
            msgpack_pack_nil(pk);
        return;
    case PQB_FIELD_RANGES:
        encode_ranges(pk, f, second, *(const size_t *)member);
        return;
    case PQB_FIELD_SEQ_STATES:
        encode_seq_states(pk, f, second, *(const size_t *)member);
        return;
    }
}

void pqb_fields_encode(const struct pqb_layout *layout, const void *in,
                       struct pqb_writer_cursor *out)
{
    msgpack_packer pk;

    msgpack_packer_init(&pk, out, write_to_cursor);
    msgpack_pack_array(&pk, layout->count);
    for (size_t i = 0; i < layout->count; i++)
        encode_field(&pk, &layout->fields[i], in);
}
