#include <inttypes.h>
#include <string.h>

#include "common/base/time.h"
#include "gateway/config/config.h"

struct unit {
    const char *name;
    uint64_t factor;
};

// Largest first: that is the order in which a formatter tries them.
static const struct unit sizes[] = {
    {"TiB", UINT64_C(1) << 40},
    {"GiB", UINT64_C(1) << 30},
    {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10},
    {"B", 1},
};

static const struct unit durations[] = {
    {"d", 86400 * PQB_NS_PER_SEC},
    {"h", 3600 * PQB_NS_PER_SEC},
    {"min", 60 * PQB_NS_PER_SEC},
    {"s", PQB_NS_PER_SEC},
    {"ms", PQB_NS_PER_MS},
    {"us", PQB_NS_PER_US},
    {"ns", 1},
};

// Reads decimal digits; leaves *text behind them. false: none, or more than 64 bits hold.
static bool parse_digits(const char **text, uint64_t *out)
{
    const char *at = *text;
    uint64_t value = 0;

    if (*at < '0' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9'; at++) {
        const uint64_t digit = (uint64_t)(*at - '0');

        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *text = at;
    *out = value;
    return true;
}

static bool parse(const char *text, const struct unit *units, size_t count, uint64_t *out)
{
    uint64_t value;

    if (!parse_digits(&text, &value))
        return false;
    while (*text == ' ')
        text++;
    if (*text == '\0') {
        // A bare number is bytes for sizes; a bare time would be a guess, except nothing at all.
        *out = value;
        return value == 0 || units == sizes;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, units[i].name) != 0)
            continue;
        if (value > UINT64_MAX / units[i].factor)
            return false;
        *out = value * units[i].factor;
        return true;
    }
    return false;
}

static void format(uint64_t value, const struct unit *units, size_t count, char *text, size_t size)
{
    size_t at = 0;

    while (at + 1 < count && (value == 0 || value % units[at].factor != 0))
        at++;
    if (value == 0)
        (void)snprintf(text, size, "0");
    else
        (void)snprintf(text, size, "%" PRIu64 "%s", value / units[at].factor, units[at].name);
}

bool pqb_config_parse_size(const char *text, uint64_t *bytes)
{
    return parse(text, sizes, PQB_ARRAY_LEN(sizes), bytes);
}

bool pqb_config_parse_duration(const char *text, uint64_t *ns)
{
    return parse(text, durations, PQB_ARRAY_LEN(durations), ns);
}

void pqb_config_format_size(uint64_t bytes, char *text, size_t size)
{
    format(bytes, sizes, PQB_ARRAY_LEN(sizes), text, size);
}

void pqb_config_format_duration(uint64_t ns, char *text, size_t size)
{
    format(ns, durations, PQB_ARRAY_LEN(durations), text, size);
}
