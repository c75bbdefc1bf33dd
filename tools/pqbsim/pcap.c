#include "tools/pqbsim/pcap.h"

#include <stdint.h>
#include <string.h>
#include <time.h>

#include "common/wire/cursor.h"

#define PCAP_MAGIC_NS     0xa1b23c4du // big-endian file with nanosecond stamps
#define PCAP_LINKTYPE_RAW 101
#define IP_PROTOCOL_UDP   17

FILE *pcap_create(const char *path)
{
    uint8_t header[24];
    struct pqb_writer_cursor w;
    FILE *file = fopen(path, "wbe");

    if (file == NULL)
        return NULL;
    pqb_wcur_init(&w, header, sizeof(header));
    pqb_wcur_u32(&w, PCAP_MAGIC_NS);
    pqb_wcur_u16(&w, 2);
    pqb_wcur_u16(&w, 4);
    pqb_wcur_u64(&w, 0);
    pqb_wcur_u32(&w, UINT16_MAX);
    pqb_wcur_u32(&w, PCAP_LINKTYPE_RAW);
    if (fwrite(header, sizeof(header), 1, file) != 1) {
        (void)fclose(file);
        return NULL;
    }
    return file;
}

// RFC 791: one's complement sum over the IPv4 header.
static void put_ipv4_checksum(uint8_t *header)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < 20; i += 2)
        sum += (uint32_t)header[i] << 8 | header[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    header[10] = (uint8_t)(~sum >> 8);
    header[11] = (uint8_t)~sum;
}

static size_t put_ip(uint8_t *out, const struct pqb_addr *from, const struct pqb_addr *to,
                     size_t payload)
{
    struct pqb_writer_cursor w;

    pqb_wcur_init(&w, out, 40);
    if (from->family == 6) {
        pqb_wcur_u32(&w, UINT32_C(6) << 28);
        pqb_wcur_u16(&w, (uint16_t)payload);
        pqb_wcur_u8(&w, IP_PROTOCOL_UDP);
        pqb_wcur_u8(&w, 64);
        pqb_wcur_bytes(&w, from->ip, 16);
        pqb_wcur_bytes(&w, to->ip, 16);
        return pqb_wcur_len(&w);
    }
    pqb_wcur_u16(&w, 0x4500);
    pqb_wcur_u16(&w, (uint16_t)(20 + payload));
    pqb_wcur_u32(&w, 0x4000); // id 0, DF
    pqb_wcur_u8(&w, 64);
    pqb_wcur_u8(&w, IP_PROTOCOL_UDP);
    pqb_wcur_u16(&w, 0);
    pqb_wcur_bytes(&w, from->ip, 4);
    pqb_wcur_bytes(&w, to->ip, 4);
    put_ipv4_checksum(out);
    return pqb_wcur_len(&w);
}

bool pcap_write(FILE *file, const struct pqb_addr *from, const struct pqb_addr *to,
                const void *data, size_t len)
{
    uint8_t head[16 + 40 + 8], ip[40];
    size_t ip_len = put_ip(ip, from, to, len + 8);
    struct pqb_writer_cursor w;
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    pqb_wcur_init(&w, head, sizeof(head));
    pqb_wcur_u32(&w, (uint32_t)ts.tv_sec);
    pqb_wcur_u32(&w, (uint32_t)ts.tv_nsec);
    pqb_wcur_u32(&w, (uint32_t)(ip_len + 8 + len));
    pqb_wcur_u32(&w, (uint32_t)(ip_len + 8 + len));
    pqb_wcur_bytes(&w, ip, ip_len);
    pqb_wcur_u16(&w, from->port);
    pqb_wcur_u16(&w, to->port);
    pqb_wcur_u16(&w, (uint16_t)(len + 8));
    pqb_wcur_u16(&w, 0); // no checksum: legal over IPv4, and readers accept it
    return fwrite(head, pqb_wcur_len(&w), 1, file) == 1 && fwrite(data, len, 1, file) == 1 &&
           fflush(file) == 0;
}
