#include "common/wire/cursor.h"

#include <string.h>

#include "common/base/check.h"

void pqb_rcur_init(struct pqb_reader_cursor *c, const void *data, size_t len)
{
    const uint8_t *bytes = data;

    PQB_ASSERT(data || len == 0);
    *c = (struct pqb_reader_cursor){.at = bytes, .end = len == 0 ? bytes : bytes + len};
}

// Big-endian unsigned integer of `width` bytes.
static uint64_t read_integer(struct pqb_reader_cursor *c, size_t width)
{
    const uint8_t *bytes = pqb_rcur_bytes(c, width);
    uint64_t value = 0;

    for (size_t i = 0; bytes && i < width; i++)
        value = value << 8 | bytes[i];
    return value;
}

uint8_t pqb_rcur_u8(struct pqb_reader_cursor *c)
{
    return (uint8_t)read_integer(c, 1);
}

uint16_t pqb_rcur_u16(struct pqb_reader_cursor *c)
{
    return (uint16_t)read_integer(c, 2);
}

uint32_t pqb_rcur_u32(struct pqb_reader_cursor *c)
{
    return (uint32_t)read_integer(c, 4);
}

uint64_t pqb_rcur_u64(struct pqb_reader_cursor *c)
{
    return read_integer(c, 8);
}

const uint8_t *pqb_rcur_bytes(struct pqb_reader_cursor *c, size_t len)
{
    const uint8_t *bytes = c->at;

    if (c->is_bad || len > pqb_rcur_left(c)) {
        c->is_bad = true;
        return NULL;
    }
    if (len > 0)
        c->at += len;
    return bytes;
}

void pqb_rcur_copy(struct pqb_reader_cursor *c, void *out, size_t len)
{
    const uint8_t *bytes = pqb_rcur_bytes(c, len);

    if (bytes != NULL && len > 0)
        memcpy(out, bytes, len);
}

size_t pqb_rcur_left(const struct pqb_reader_cursor *c)
{
    return c->at == c->end ? 0 : (size_t)(c->end - c->at);
}

void pqb_wcur_init(struct pqb_writer_cursor *c, void *data, size_t capacity)
{
    uint8_t *bytes = data;

    PQB_ASSERT(data || capacity == 0);
    *c = (struct pqb_writer_cursor){
        .start = bytes, .at = bytes, .end = capacity == 0 ? bytes : bytes + capacity};
}

static void write_integer(struct pqb_writer_cursor *c, uint64_t value, size_t width)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < width; i++)
        bytes[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
    pqb_wcur_bytes(c, bytes, width);
}

void pqb_wcur_u8(struct pqb_writer_cursor *c, uint8_t value)
{
    write_integer(c, value, 1);
}

void pqb_wcur_u16(struct pqb_writer_cursor *c, uint16_t value)
{
    write_integer(c, value, 2);
}

void pqb_wcur_u32(struct pqb_writer_cursor *c, uint32_t value)
{
    write_integer(c, value, 4);
}

void pqb_wcur_u64(struct pqb_writer_cursor *c, uint64_t value)
{
    write_integer(c, value, 8);
}

void pqb_wcur_bytes(struct pqb_writer_cursor *c, const void *data, size_t len)
{
    if (c->is_bad || len == 0)
        return;
    if (len > (size_t)(c->end - c->at)) {
        c->is_bad = true;
        return;
    }
    memcpy(c->at, data, len);
    c->at += len;
}

size_t pqb_wcur_len(const struct pqb_writer_cursor *c)
{
    return (size_t)(c->at - c->start);
}
