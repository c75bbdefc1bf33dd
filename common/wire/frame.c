#include "common/wire/frame.h"

#include "common/base/check.h"
#include "common/wire/cursor.h"
#include "common/wire/fields.h"

bool pqb_frame_next(const uint8_t **at, const uint8_t *end, uint8_t *code,
                    struct pqb_bytes *content, enum pqb_verdict *verdict)
{
    struct pqb_reader_cursor c;

    PQB_ASSERT(*at <= end);
    *verdict = PQB_VERDICT_OK;
    if (*at == end)
        return false;
    pqb_rcur_init(&c, *at, (size_t)(end - *at));
    *code = pqb_rcur_u8(&c);
    content->len = pqb_rcur_u16(&c);
    content->data = pqb_rcur_bytes(&c, content->len);
    if (c.is_bad) {
        *verdict = PQB_VERDICT_SHORT;
        return false;
    }
    *at = c.at;
    return true;
}

enum pqb_verdict pqb_frame_decode(struct pqb_unpacker *u, uint8_t code, struct pqb_bytes content,
                                  struct pqb_frame *out)
{
    const struct pqb_layout *layout = pqb_frame_layout(code);

    if (!layout)
        return PQB_VERDICT_TYPE;
    *out = (struct pqb_frame){.type = (enum pqb_frame_type)code};
    const enum pqb_verdict verdict = pqb_fields_decode(u, layout, content.data, content.len, out);
    if (verdict != PQB_VERDICT_OK)
        return verdict;
    return pqb_frame_is_consistent(out) ? PQB_VERDICT_OK : PQB_VERDICT_FIELD;
}

size_t pqb_frame_encode_content(const struct pqb_frame *frame, uint8_t *out, size_t capacity)
{
    const struct pqb_layout *layout = pqb_frame_layout((uint8_t)frame->type);
    struct pqb_writer_cursor c;

    PQB_ASSERT(layout);
    PQB_ASSERT(pqb_frame_is_consistent(frame));
    pqb_wcur_init(&c, out, capacity);
    pqb_fields_encode(layout, frame, &c);
    return c.is_bad ? 0 : pqb_wcur_len(&c);
}

size_t pqb_frame_encode(const struct pqb_frame *frame, uint8_t *out, size_t capacity)
{
    struct pqb_writer_cursor header;

    if (capacity < PQB_FRAME_HEADER_LEN)
        return 0;
    const size_t room = PQB_MIN(capacity - PQB_FRAME_HEADER_LEN, (size_t)UINT16_MAX);
    const size_t len = pqb_frame_encode_content(frame, out + PQB_FRAME_HEADER_LEN, room);
    if (len == 0)
        return 0;
    pqb_wcur_init(&header, out, PQB_FRAME_HEADER_LEN);
    pqb_wcur_u8(&header, (uint8_t)frame->type);
    pqb_wcur_u16(&header, (uint16_t)len);
    PQB_ASSERT(!header.is_bad);
    return PQB_FRAME_HEADER_LEN + len;
}
