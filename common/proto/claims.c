#include "common/proto/claims.h"

#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/json_scan.h"
#include "common/wire/frame.h"

#define SECONDS_A_DAY UINT64_C(86400)
#define DATE_LAST_S   UINT64_C(253402300799) // 9999-12-31T23:59:59Z

// --------------------------------------------------------------------------------------- dates

// Days from 1970-01-01 to the first of March of `year`, by which leap days are at a year's end.
static uint64_t days_to_march(uint64_t year)
{
    return year * 365 + year / 4 - year / 100 + year / 400 - 719468;
}

// `month` counts from March = 0.
static uint64_t days_to_month(uint64_t month)
{
    return (month * 153 + 2) / 5;
}

static uint64_t days_in_month(uint64_t year, uint64_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && is_leap ? UINT64_C(1) : 0);
}

// The number that `count` digits of `text` make; false: something else stands there.
static bool digits(const char *text, size_t count, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *out = *out * 10 + (uint64_t)(text[i] - '0');
    }
    return true;
}

static bool is_form_right(const char *text, size_t len)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd";
    const size_t zone_at = sizeof(form) - 1;

    if (len != zone_at + 1 && len != zone_at + 6)
        return false;
    for (size_t i = 0; i < zone_at; i++) {
        if (form[i] != 'd' && text[i] != form[i])
            return false;
    }
    return len == zone_at + 1 ? text[zone_at] == 'Z' : memcmp(text + zone_at, "+00:00", 6) == 0;
}

bool pqb_date_parse(const char *text, size_t len, pqb_wall_ms *out)
{
    uint64_t year, month, day, hour, minute, second, days;

    if (!is_form_right(text, len) || !digits(text, 4, &year) || !digits(text + 5, 2, &month) ||
        !digits(text + 8, 2, &day) || !digits(text + 11, 2, &hour) ||
        !digits(text + 14, 2, &minute) || !digits(text + 17, 2, &second))
        return false;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) ||
        hour > 23 || minute > 59 || second > 59)
        return false;
    days = days_to_march(month > 2 ? year : year - 1) + days_to_month((month + 9) % 12) + day - 1;
    *out = (days * SECONDS_A_DAY + hour * 3600 + minute * 60 + second) * 1000;
    return true;
}

void pqb_date_format(pqb_wall_ms at, char text[PQB_DATE_TEXT_LEN + 1])
{
    const uint64_t seconds = PQB_MIN(at / 1000, DATE_LAST_S);
    const uint64_t days = seconds / SECONDS_A_DAY, rest = seconds % SECONDS_A_DAY;
    uint64_t year = 1970 + days / 366; // at most the year that is looked for
    uint64_t month = 11, in_year;

    while (days_to_march(year + 1) <= days)
        year++;
    if (days < days_to_march(year))
        year--;
    in_year = days - days_to_march(year); // of a year that begins in March
    while (days_to_month(month) > in_year)
        month--;
    (void)snprintf(text, PQB_DATE_TEXT_LEN + 1, "%04u-%02u-%02uT%02u:%02u:%02uZ",
                   (unsigned)(year + (month >= 10)) % 10000, (unsigned)((month + 2) % 12 + 1),
                   (unsigned)(in_year - days_to_month(month) + 1) % 100, (unsigned)(rest / 3600),
                   (unsigned)(rest / 60 % 60), (unsigned)(rest % 60));
}

void pqb_date_json(struct pqb_json *j, const char *name, pqb_wall_ms at)
{
    char text[PQB_DATE_TEXT_LEN + 1];

    if (at == 0)
        return;
    pqb_date_format(at, text);
    pqb_json_string(j, name, text);
}

// -------------------------------------------------------------------------------------- claims

enum claim {
    CLAIM_SUB,
    CLAIM_DEV,
    CLAIM_KEY,
    CLAIM_EXP,
    CLAIM_NBF,
    CLAIM_IAT,
    CLAIM_COUNT
};

#define CLAIMS_NEEDED (1U << CLAIM_SUB | 1U << CLAIM_DEV | 1U << CLAIM_KEY | 1U << CLAIM_EXP)

static const char claim_names[CLAIM_COUNT][4] = {"sub", "dev", "key", "exp", "nbf", "iat"};

static enum claim claim_of(const char *name, size_t len)
{
    enum claim c = CLAIM_SUB;

    while (c < CLAIM_COUNT && (len != 3 || memcmp(claim_names[c], name, 3) != 0))
        c++;
    return c;
}

static bool set_name(char *field, uint8_t *field_len, size_t max, const char *value, size_t len)
{
    if (!pqb_name_is_valid(value, len, max))
        return false;
    memcpy(field, value, len);
    *field_len = (uint8_t)len;
    return true;
}

static bool set_claim(struct pqb_claims *out, enum claim c, const char *value, size_t len)
{
    switch (c) {
    case CLAIM_SUB:
        return set_name(out->user, &out->user_len, PQB_USER_MAX, value, len);
    case CLAIM_DEV:
        return set_name(out->device, &out->device_len, PQB_DEVICE_MAX, value, len);
    case CLAIM_KEY:
        return pqb_hex_decode(value, len, out->key, PQB_KEY_LEN) == PQB_OK;
    case CLAIM_EXP:
        return pqb_date_parse(value, len, &out->expires_ms);
    case CLAIM_NBF:
        return pqb_date_parse(value, len, &out->not_before_ms);
    case CLAIM_IAT:
        return pqb_date_parse(value, len, &out->issued_ms);
    case CLAIM_COUNT:
        break;
    }
    return false;
}

static bool parse_member(struct pqb_claims *out, struct pqb_json_scan *s, unsigned *seen)
{
    char text[PQB_TOKEN_MAX]; // holds any string of a token
    enum claim c;
    size_t len;

    if (!pqb_json_scan_string(s, text, sizeof(text), &len) || !pqb_json_scan_take(s, ':'))
        return false;
    c = claim_of(text, len);
    if (c == CLAIM_COUNT)
        return pqb_json_scan_skip(s);
    if ((*seen & 1U << c) != 0 || !pqb_json_scan_string(s, text, sizeof(text), &len))
        return false;
    *seen |= 1U << c;
    return set_claim(out, c, text, len);
}

bool pqb_claims_parse(struct pqb_claims *out, const char *text, size_t len)
{
    struct pqb_json_scan s;
    unsigned seen = 0;

    *out = (struct pqb_claims){0};
    pqb_json_scan_init(&s, text, len);
    if (!pqb_json_scan_take(&s, '{'))
        return false;
    do {
        if (!parse_member(out, &s, &seen))
            return false;
    } while (pqb_json_scan_take(&s, ','));
    return pqb_json_scan_take(&s, '}') && pqb_json_scan_is_at_end(&s) &&
           (seen & CLAIMS_NEEDED) == CLAIMS_NEEDED;
}

size_t pqb_claims_format(const struct pqb_claims *c, char text[PQB_CLAIMS_MAX + 1])
{
    char key[PQB_KEY_LEN * 2 + 1];
    struct pqb_json j;
    const char *made;
    size_t len = 0;

    PQB_ASSERT(pqb_name_is_valid(c->user, c->user_len, PQB_USER_MAX));
    PQB_ASSERT(pqb_name_is_valid(c->device, c->device_len, PQB_DEVICE_MAX));
    pqb_json_init(&j, PQB_TOKEN_MAX);
    pqb_json_object_begin(&j, NULL);
    pqb_json_text_n(&j, claim_names[CLAIM_SUB], c->user, c->user_len);
    pqb_json_text_n(&j, claim_names[CLAIM_DEV], c->device, c->device_len);
    pqb_hex_encode(c->key, PQB_KEY_LEN, key);
    pqb_json_string(&j, claim_names[CLAIM_KEY], key);
    pqb_date_json(&j, claim_names[CLAIM_IAT], c->issued_ms);
    pqb_date_json(&j, claim_names[CLAIM_NBF], c->not_before_ms);
    pqb_date_json(&j, claim_names[CLAIM_EXP], c->expires_ms);
    pqb_json_object_end(&j);
    made = pqb_json_text(&j);
    if (made != NULL) {
        len = j.len;
        PQB_ASSERT(len <= PQB_CLAIMS_MAX); // 371 with the longest names, all of them quotes
        memcpy(text, made, len + 1);
    }
    pqb_json_fini(&j);
    return len;
}
