#include "common/base/addr.h"

#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/hex.h"

#define GROUP_COUNT 8 // 16-bit groups of an IPv6 address

static const uint8_t v6_loopback[16] = {[15] = 1};
static const uint8_t v4_mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

bool pqb_addr_is_equal(const struct pqb_addr *a, const struct pqb_addr *b)
{
    return pqb_addr_is_same_ip(a, b) && a->port == b->port && a->local == b->local;
}

bool pqb_addr_is_same_ip(const struct pqb_addr *a, const struct pqb_addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool pqb_addr_is_loopback(const struct pqb_addr *a)
{
    if (a->family == 4)
        return a->ip[0] == 127;
    if (a->family != 6)
        return false;
    if (memcmp(a->ip, v4_mapped_prefix, sizeof(v4_mapped_prefix)) == 0)
        return a->ip[12] == 127;
    return memcmp(a->ip, v6_loopback, sizeof(v6_loopback)) == 0;
}

static unsigned group_at(const uint8_t ip[16], size_t i)
{
    return (unsigned)ip[2 * i] << 8 | ip[2 * i + 1];
}

// The leftmost longest run of two or more zero groups, which "::" stands for (RFC 5952 section
// 4.2). Returns its length, 0 when there is none.
static unsigned longest_zero_run(const uint8_t ip[16], unsigned *at)
{
    unsigned best = 0;
    unsigned run = 0;

    for (unsigned i = 0; i < GROUP_COUNT; i++) {
        run = group_at(ip, i) == 0 ? run + 1 : 0;
        if (run > best && run >= 2) {
            best = run;
            *at = i + 1 - run;
        }
    }
    return best;
}

// Writes the address without brackets and returns its length.
static size_t format_v6(const uint8_t ip[16], char *text, size_t size)
{
    unsigned run_at = GROUP_COUNT;
    const unsigned run_len = longest_zero_run(ip, &run_at);
    size_t len = 0;
    unsigned i = 0;

    while (i < GROUP_COUNT) {
        if (i == run_at) {
            len += (size_t)snprintf(text + len, size - len, "::");
            i += run_len;
            continue;
        }
        const char *colon = i > 0 && text[len - 1] != ':' ? ":" : "";
        len += (size_t)snprintf(text + len, size - len, "%s%x", colon, group_at(ip, i));
        i++;
    }
    return len;
}

void pqb_addr_format(const struct pqb_addr *a, char *text)
{
    const size_t size = PQB_ADDR_TEXT_MAX;

    if (a->family == 4) {
        (void)snprintf(text, size, "%u.%u.%u.%u:%u", a->ip[0], a->ip[1], a->ip[2], a->ip[3],
                       a->port);
    } else if (a->family == 6) {
        text[0] = '[';
        const size_t len = 1 + format_v6(a->ip, text + 1, size - 1);
        PQB_ASSERT(len < size);
        (void)snprintf(text + len, size - len, "]:%u", a->port);
    } else {
        (void)snprintf(text, size, "unset");
    }
}

// Reads an unsigned decimal number <= `max` without leading zeros; moves `p` behind it.
static bool parse_decimal(const char **p, unsigned max, unsigned *out)
{
    const char *start = *p;
    unsigned value = 0;

    while (**p >= '0' && **p <= '9') {
        value = value * 10 + (unsigned)(**p - '0');
        if (value > max)
            return false;
        (*p)++;
    }
    *out = value;
    return *p > start && (*start != '0' || *p == start + 1);
}

static bool parse_v4(const char **p, uint8_t ip[4])
{
    for (unsigned i = 0; i < 4; i++) {
        unsigned byte;

        if (i > 0 && *(*p)++ != '.')
            return false;
        if (!parse_decimal(p, 255, &byte))
            return false;
        ip[i] = (uint8_t)byte;
    }
    return true;
}

// Reads one to four hex digits; moves `p` behind them.
static bool parse_group(const char **p, unsigned *out)
{
    unsigned value = 0;
    unsigned digits = 0;

    for (; pqb_hex_digit(**p) >= 0; (*p)++) {
        if (++digits > 4)
            return false;
        value = value << 4 | (unsigned)pqb_hex_digit(**p);
    }
    *out = value;
    return digits > 0;
}

static bool is_dotted(const char *p)
{
    while (pqb_hex_digit(*p) >= 0)
        p++;
    return *p == '.';
}

// What has been read of an IPv6 address: whole bytes, and where the "::" stood among them.
struct v6_parse {
    uint8_t bytes[16];
    size_t len;
    size_t gap_at;
    bool has_gap;
};

// Reads one group, or the dotted IPv4 tail that only the end may have.
static bool parse_v6_part(const char **p, struct v6_parse *v)
{
    if (is_dotted(*p)) {
        if (v->len > 12 || !parse_v4(p, v->bytes + v->len) || **p != ']')
            return false;
        v->len += 4;
        return true;
    }

    unsigned group;

    if (v->len > 14 || !parse_group(p, &group))
        return false;
    v->bytes[v->len++] = (uint8_t)(group >> 8);
    v->bytes[v->len++] = (uint8_t)group;
    return true;
}

// Reads "::" when it is there and allowed.
static bool parse_v6_gap(const char **p, struct v6_parse *v)
{
    if ((*p)[0] != ':' || (*p)[1] != ':' || v->has_gap)
        return false;
    v->has_gap = true;
    v->gap_at = v->len;
    *p += 2;
    return true;
}

static bool parse_v6(const char **p, uint8_t ip[16])
{
    struct v6_parse v = {.len = 0};

    (void)parse_v6_gap(p, &v);
    while (**p != ']') {
        if (!parse_v6_part(p, &v))
            return false;
        if (**p == ']' || parse_v6_gap(p, &v))
            continue;
        if (*(*p)++ != ':' || **p == ']')
            return false;
    }
    // "::" stands for one group at least.
    if (v.has_gap ? v.len > 14 : v.len != 16)
        return false;

    const size_t tail = v.has_gap ? v.len - v.gap_at : 0;

    memset(ip, 0, 16);
    memcpy(ip, v.bytes, v.len - tail);
    memcpy(ip + 16 - tail, v.bytes + v.len - tail, tail);
    return true;
}

bool pqb_addr_parse(const char *text, struct pqb_addr *out)
{
    struct pqb_addr a = {0};
    const char *p = text;
    unsigned port;

    if (*p == '[') {
        p++;
        if (!parse_v6(&p, a.ip) || *p++ != ']')
            return false;
        a.family = 6;
    } else {
        if (!parse_v4(&p, a.ip))
            return false;
        a.family = 4;
    }
    if (*p++ != ':' || !parse_decimal(&p, UINT16_MAX, &port) || *p != '\0')
        return false;
    a.port = (uint16_t)port;
    *out = a;
    return true;
}
