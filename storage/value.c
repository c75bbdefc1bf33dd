#include "storage/value.h"

#include <string.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/err.h"

#define CRC_LEN 4

static void crc_put(uint8_t *out, uint32_t crc)
{
    struct pqb_writer_cursor c;

    pqb_wcur_init(&c, out, CRC_LEN);
    pqb_wcur_u32(&c, crc);
}

static uint32_t crc_get(const uint8_t *data)
{
    struct pqb_reader_cursor c;

    pqb_rcur_init(&c, data, CRC_LEN);
    return pqb_rcur_u32(&c);
}

void pqb_value_begin(struct pqb_writer_cursor *c, void *out, size_t capacity)
{
    pqb_wcur_init(c, out, capacity);
    pqb_wcur_u32(c, 0); // the CRC, once the rest stands
    pqb_wcur_u8(c, PQB_RECORD_SCHEMA);
}

static uint32_t value_crc(const void *key, size_t key_len, const uint8_t *value, size_t len)
{
    return pqb_crc32c(pqb_crc32c(0, key, key_len), value + CRC_LEN, len - CRC_LEN);
}

size_t pqb_value_end(struct pqb_writer_cursor *c, const void *key, size_t key_len)
{
    const size_t len = pqb_wcur_len(c);

    PQB_ASSERT(!c->is_bad); // every capacity is computed from the same fields
    crc_put(c->start, value_crc(key, key_len, c->start, len));
    return len;
}

// Checks CRC and schema and leaves `c` behind them.
int pqb_value_open(struct pqb_reader_cursor *c, const void *key, size_t key_len, const void *data,
                   size_t len)
{
    const uint8_t *bytes = data;

    if (len < PQB_VALUE_HEADER_LEN || value_crc(key, key_len, bytes, len) != crc_get(bytes) ||
        bytes[4] != PQB_RECORD_SCHEMA)
        return PQB_ERR_CORRUPT;
    pqb_rcur_init(c, bytes + PQB_VALUE_HEADER_LEN, len - PQB_VALUE_HEADER_LEN);
    return PQB_OK;
}

int pqb_value_close(const struct pqb_reader_cursor *c)
{
    return c->is_bad || pqb_rcur_left(c) != 0 ? PQB_ERR_CORRUPT : PQB_OK;
}

void pqb_value_put_text(struct pqb_writer_cursor *c, struct pqb_text text)
{
    PQB_ASSERT(text.len <= UINT8_MAX);
    pqb_wcur_u8(c, (uint8_t)text.len);
    pqb_wcur_bytes(c, text.data, text.len);
}

struct pqb_text pqb_value_get_text(struct pqb_reader_cursor *c, size_t max)
{
    const size_t len = pqb_rcur_u8(c);

    if (len > max)
        c->is_bad = true;
    return (struct pqb_text){.data = (const char *)pqb_rcur_bytes(c, len), .len = len};
}

void pqb_value_put_settled(struct pqb_writer_cursor *c, const struct pqb_settled *s)
{
    pqb_wcur_u64(c, s->floor);
    pqb_wcur_u64(c, s->tail);
    pqb_wcur_u64(c, s->count);
    pqb_wcur_u64(c, s->bytes);
}

void pqb_value_get_settled(struct pqb_reader_cursor *c, struct pqb_settled *s)
{
    s->floor = pqb_rcur_u64(c);
    s->tail = pqb_rcur_u64(c);
    s->count = pqb_rcur_u64(c);
    s->bytes = pqb_rcur_u64(c);
}
