#include "common/base/hex.h"

#include "common/base/err.h"

int pqb_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

void pqb_hex_encode(const uint8_t *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        *out++ = digits[data[i] >> 4];
        *out++ = digits[data[i] & 15];
    }
    *out = '\0';
}

int pqb_hex_decode(const char *text, size_t text_len, uint8_t *out, size_t len)
{
    if (text_len != 2 * len)
        return PQB_ERR_INVALID;
    for (size_t i = 0; i < len; i++) {
        const int high = pqb_hex_digit(text[2 * i]), low = pqb_hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return PQB_ERR_INVALID;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return PQB_OK;
}
