#include <string.h>

#include "common/wire/cursor.h"
#include "tools/pqbsim/pcap.h"

#define MAGIC_US     0xa1b2c3d4u
#define MAGIC_NS     0xa1b23c4du
#define MAGIC_PCAPNG 0x0a0d0d0au // of its first block; the same in either byte order

#define FILE_HEADER_LEN   24
#define RECORD_HEADER_LEN 16

enum link_type { // https://www.tcpdump.org/linktypes.html
    LINK_NULL = 0,
    LINK_ETHERNET = 1,
    LINK_RAW_BSD = 12,
    LINK_RAW_OPENBSD = 14,
    LINK_RAW = 101,
    LINK_LOOP = 108,
    LINK_SLL = 113,
    LINK_IPV4 = 228,
    LINK_IPV6 = 229,
    LINK_SLL2 = 276,
};

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8
#define PROTOCOL_UDP   17

// The file's own integers, in whatever order its machine had.
static uint32_t file_u32(const struct pcap_reader *r, struct pqb_reader_cursor *c)
{
    const uint32_t value = pqb_rcur_u32(c);

    return r->is_little ? __builtin_bswap32(value) : value;
}

static bool is_link_known(uint32_t link)
{
    switch (link) {
    case LINK_NULL:
    case LINK_ETHERNET:
    case LINK_RAW_BSD:
    case LINK_RAW_OPENBSD:
    case LINK_RAW:
    case LINK_LOOP:
    case LINK_SLL:
    case LINK_IPV4:
    case LINK_IPV6:
    case LINK_SLL2:
        return true;
    default:
        return false;
    }
}

static bool is_magic(struct pcap_reader *r, uint32_t magic)
{
    const uint32_t swapped = __builtin_bswap32(magic);

    r->is_little = swapped == MAGIC_US || swapped == MAGIC_NS;
    r->is_nano = magic == MAGIC_NS || swapped == MAGIC_NS;
    return r->is_little || r->is_nano || magic == MAGIC_US;
}

const char *pcap_reader_init(struct pcap_reader *r, FILE *file)
{
    uint8_t header[FILE_HEADER_LEN];
    struct pqb_reader_cursor c;
    size_t len;
    uint32_t magic;

    r->file = file;
    r->records = r->skipped = 0;
    len = fread(header, 1, sizeof(header), file);
    pqb_rcur_init(&c, header, len);
    magic = pqb_rcur_u32(&c);
    if (!c.is_bad && magic == MAGIC_PCAPNG)
        return "it is a pcapng file; 'editcap -F pcap' or 'tcpdump -r' with '-w' converts it";
    if (c.is_bad || !is_magic(r, magic))
        return "it is no capture: it does not begin as a pcap file does";
    (void)pqb_rcur_bytes(&c, 16); // version, time zone, accuracy, longest packet
    r->link = file_u32(r, &c) & 0x0fffffff;
    if (c.is_bad)
        return "it is damaged: it ends inside its header";
    return is_link_known(r->link) ? NULL : "its link type is none that is understood here";
}

// UDP at `c`; what follows its length is padding.
static bool take_udp(struct pqb_reader_cursor *c, struct pcap_datagram *out)
{
    size_t len;

    out->from.port = pqb_rcur_u16(c);
    out->to.port = pqb_rcur_u16(c);
    len = pqb_rcur_u16(c);
    (void)pqb_rcur_u16(c); // checksum
    if (len < 8)
        return false;
    out->len = len - 8;
    out->data = pqb_rcur_bytes(c, out->len);
    return !c->is_bad;
}

static bool take_addresses(struct pqb_reader_cursor *c, struct pcap_datagram *out, uint8_t family)
{
    const size_t len = family == 4 ? 4 : 16;
    const uint8_t *from = pqb_rcur_bytes(c, len), *to = pqb_rcur_bytes(c, len);

    if (c->is_bad)
        return false;
    out->from = (struct pqb_addr){.family = family};
    out->to = (struct pqb_addr){.family = family};
    memcpy(out->from.ip, from, len);
    memcpy(out->to.ip, to, len);
    return true;
}

static bool take_ipv4(struct pqb_reader_cursor *c, struct pcap_datagram *out)
{
    const size_t options = (size_t)(pqb_rcur_u8(c) & 0x0f) * 4;
    uint16_t fragment;
    uint8_t protocol;

    (void)pqb_rcur_bytes(c, 5); // service, length, id
    fragment = pqb_rcur_u16(c);
    (void)pqb_rcur_u8(c); // time to live
    protocol = pqb_rcur_u8(c);
    (void)pqb_rcur_u16(c); // checksum
    // Ours are never sent in IP fragments: a part of one is nothing that could be sent again.
    if (options < 20 || (fragment & 0x3fff) != 0 || protocol != PROTOCOL_UDP ||
        !take_addresses(c, out, 4))
        return false;
    (void)pqb_rcur_bytes(c, options - 20);
    return take_udp(c, out);
}

static bool take_ipv6(struct pqb_reader_cursor *c, struct pcap_datagram *out)
{
    uint8_t next;

    (void)pqb_rcur_bytes(c, 6); // version, flow, length
    next = pqb_rcur_u8(c);
    (void)pqb_rcur_u8(c); // hop limit
    return next == PROTOCOL_UDP && take_addresses(c, out, 6) && take_udp(c, out);
}

// By the version in the first byte.
static bool take_ip(struct pqb_reader_cursor *c, struct pcap_datagram *out)
{
    if (pqb_rcur_left(c) == 0)
        return false;
    switch (c->at[0] >> 4) {
    case 4:
        return take_ipv4(c, out);
    case 6:
        return take_ipv6(c, out);
    default:
        return false;
    }
}

// Moves past what the link put before the IP header; false: it carries something else.
static bool skip_link(const struct pcap_reader *r, struct pqb_reader_cursor *c)
{
    uint16_t type = ETHERTYPE_IPV4;

    switch ((enum link_type)r->link) {
    case LINK_RAW:
    case LINK_RAW_BSD:
    case LINK_RAW_OPENBSD:
    case LINK_IPV4:
    case LINK_IPV6:
        break;
    case LINK_NULL:
    case LINK_LOOP:
        (void)pqb_rcur_u32(c); // a family, whose numbers differ between systems
        break;
    case LINK_ETHERNET:
        (void)pqb_rcur_bytes(c, 12);
        type = pqb_rcur_u16(c);
        for (int tags = 0; tags < 2 && (type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ); tags++) {
            (void)pqb_rcur_u16(c);
            type = pqb_rcur_u16(c);
        }
        break;
    case LINK_SLL:
        (void)pqb_rcur_bytes(c, 14);
        type = pqb_rcur_u16(c);
        break;
    case LINK_SLL2:
        type = pqb_rcur_u16(c);
        (void)pqb_rcur_bytes(c, 18);
        break;
    }
    return !c->is_bad && (type == ETHERTYPE_IPV4 || type == ETHERTYPE_IPV6);
}

enum pcap_result pcap_reader_next(struct pcap_reader *r, struct pcap_datagram *out)
{
    uint8_t header[RECORD_HEADER_LEN];
    struct pqb_reader_cursor c;
    size_t got;

    while ((got = fread(header, 1, sizeof(header), r->file)) == sizeof(header)) {
        uint32_t fraction, len;

        pqb_rcur_init(&c, header, sizeof(header));
        out->at_ns = file_u32(r, &c) * UINT64_C(1000000000);
        fraction = file_u32(r, &c);
        out->at_ns += r->is_nano ? fraction : fraction * UINT64_C(1000);
        len = file_u32(r, &c);
        if (len > PCAP_RECORD_MAX || fread(r->record, 1, len, r->file) != len)
            return PCAP_DAMAGED;
        r->records++;
        pqb_rcur_init(&c, r->record, len);
        if (skip_link(r, &c) && take_ip(&c, out))
            return PCAP_DATAGRAM;
        r->skipped++;
    }
    return got == 0 ? PCAP_END : PCAP_DAMAGED;
}
