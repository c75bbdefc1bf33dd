#include "common/wire/structure.h"

#include <stdint.h>

#include "common/wire/cursor.h"

// One value's header: how many bytes of its own follow and how many values it contains.
struct header {
    uint64_t payload;
    uint64_t children;
    bool is_container;
    bool is_bad;
};

static struct header scalar(uint64_t payload)
{
    return (struct header){.payload = payload};
}

static struct header container(uint64_t children)
{
    return (struct header){.children = children, .is_container = true};
}

// Headers 0xc0 to 0xdf, in the order of the msgpack specification.
static struct header read_long_header(struct pqb_reader_cursor *c, uint8_t byte)
{
    switch (byte) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
        return scalar(0);
    case 0xc4: // bin 8, 16, 32
        return scalar(pqb_rcur_u8(c));
    case 0xc5:
        return scalar(pqb_rcur_u16(c));
    case 0xc6:
        return scalar(pqb_rcur_u32(c));
    case 0xc7: // ext 8, 16, 32: a type byte precedes the data
        return scalar(UINT64_C(1) + pqb_rcur_u8(c));
    case 0xc8:
        return scalar(UINT64_C(1) + pqb_rcur_u16(c));
    case 0xc9:
        return scalar(UINT64_C(1) + pqb_rcur_u32(c));
    case 0xca: // float 32, 64
        return scalar(4);
    case 0xcb:
        return scalar(8);
    case 0xcc: // uint 8 to 64, then int 8 to 64
    case 0xcd:
    case 0xce:
    case 0xcf:
        return scalar(UINT64_C(1) << (byte - 0xcc));
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return scalar(UINT64_C(1) << (byte - 0xd0));
    case 0xd4: // fixext 1 to 16, with their type byte
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return scalar(1 + (UINT64_C(1) << (byte - 0xd4)));
    case 0xd9: // str 8, 16, 32
        return scalar(pqb_rcur_u8(c));
    case 0xda:
        return scalar(pqb_rcur_u16(c));
    case 0xdb:
        return scalar(pqb_rcur_u32(c));
    case 0xdc: // array 16, 32
        return container(pqb_rcur_u16(c));
    case 0xdd:
        return container(pqb_rcur_u32(c));
    case 0xde: // map 16, 32
        return container(2 * (uint64_t)pqb_rcur_u16(c));
    case 0xdf:
        return container(2 * (uint64_t)pqb_rcur_u32(c));
    default: // 0xc1 was never given a meaning
        return (struct header){.is_bad = true};
    }
}

static struct header read_header(struct pqb_reader_cursor *c)
{
    const uint8_t byte = pqb_rcur_u8(c);

    if (byte <= 0x7f || byte >= 0xe0) // positive and negative fixint
        return scalar(0);
    if (byte <= 0x8f) // fixmap
        return container(2 * (uint64_t)(byte & 0x0f));
    if (byte <= 0x9f) // fixarray
        return container(byte & 0x0f);
    if (byte <= 0xbf) // fixstr
        return scalar(byte & 0x1f);
    return read_long_header(c, byte);
}

bool pqb_structure_is_sound(const void *data, size_t len)
{
    // open[d]: values still to come on depth d; open[0] is the outermost value itself.
    uint64_t open[PQB_STRUCTURE_DEPTH_MAX + 1] = {1};
    size_t depth = 0, values = 0;
    struct pqb_reader_cursor c;

    pqb_rcur_init(&c, data, len);
    while (open[0] > 0 || depth > 0) {
        if (open[depth] == 0) {
            depth--;
            continue;
        }
        open[depth]--;
        const struct header h = read_header(&c);
        if (h.is_bad || c.is_bad || ++values > PQB_STRUCTURE_VALUES_MAX)
            return false;
        if (h.payload > pqb_rcur_left(&c) || h.children > pqb_rcur_left(&c) ||
            h.children > PQB_STRUCTURE_VALUES_MAX - values) // no need to count them
            return false;
        (void)pqb_rcur_bytes(&c, (size_t)h.payload);
        if (h.is_container && depth == PQB_STRUCTURE_DEPTH_MAX)
            return false;
        if (h.is_container)
            open[++depth] = h.children;
    }
    return pqb_rcur_left(&c) == 0;
}
