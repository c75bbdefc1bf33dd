#include "common/wire/utf8.h"

#include "common/base/check.h"
#include "common/wire/frame.h"

size_t pqb_utf8_read(const uint8_t *data, size_t len, uint32_t *out)
{
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000}; // by length: shortest form
    const uint8_t lead = data[0];
    const size_t need = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    uint32_t value;

    PQB_ASSERT(len > 0);
    if (need == 0 || need > len || lead > 0xf4)
        return 0;
    value = need == 1 ? lead : lead & (0x7fU >> need);
    for (size_t i = 1; i < need; i++) {
        if ((data[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (data[i] & 0x3fU);
    }
    if (value < lowest[need] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *out = value;
    return need;
}

bool pqb_utf8_is_valid(const char *data, size_t len)
{
    uint32_t value;

    for (size_t at = 0, step; at < len; at += step) {
        step = pqb_utf8_read((const uint8_t *)data + at, len - at, &value);
        if (step == 0)
            return false;
    }
    return true;
}

// C0, DEL and C1.
static bool is_control(uint32_t value)
{
    return value < 0x20 || (value >= 0x7f && value <= 0x9f);
}

bool pqb_name_is_valid(const char *data, size_t len, size_t max)
{
    uint32_t value;

    if (len == 0 || len > max)
        return false;
    for (size_t at = 0, step; at < len; at += step) {
        step = pqb_utf8_read((const uint8_t *)data + at, len - at, &value);
        if (step == 0 || is_control(value))
            return false;
    }
    return true;
}
