#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/defs.h"
#include "common/base/rng.h"
#include "common/wire/structure.h"

// The model: a plain recursive parser. Returns the bytes of one value, 0 when it is not sound.
struct model {
    size_t values;
};

static uint64_t big_endian(const uint8_t *data, size_t width)
{
    uint64_t value = 0;

    for (size_t i = 0; i < width; i++)
        value = value << 8 | data[i];
    return value;
}

// NOLINTBEGIN(misc-no-recursion): the model is as plain as can be.
static size_t model_value(struct model *m, const uint8_t *data, size_t len, size_t depth);

static size_t model_children(struct model *m, const uint8_t *data, size_t len, size_t at,
                             uint64_t count, size_t depth)
{
    if (depth > PQB_STRUCTURE_DEPTH_MAX || count > len - at)
        return 0;
    for (uint64_t i = 0; i < count; i++) {
        const size_t step = model_value(m, data + at, len - at, depth);
        if (step == 0)
            return 0;
        at += step;
    }
    return at;
}

// `width` bytes of length after the first one, `extra` bytes besides the payload.
static size_t model_payload(const uint8_t *data, size_t len, size_t width, uint64_t extra)
{
    if (len < 1 + width)
        return 0;
    const uint64_t total = 1 + width + extra + big_endian(data + 1, width);
    return total <= len ? (size_t)total : 0;
}

static size_t model_container(struct model *m, const uint8_t *data, size_t len, size_t width,
                              uint64_t each, size_t depth)
{
    if (len < 1 + width)
        return 0;
    return model_children(m, data, len, 1 + width, each * big_endian(data + 1, width), depth + 1);
}

static size_t model_value(struct model *m, const uint8_t *data, size_t len, size_t depth)
{
    static const uint8_t fixed[] = {
        [0xca] = 5, [0xcb] = 9,  [0xcc] = 2,  [0xcd] = 3, [0xce] = 5, [0xcf] = 9,
        [0xd0] = 2, [0xd1] = 3,  [0xd2] = 5,  [0xd3] = 9, [0xd4] = 3, [0xd5] = 4,
        [0xd6] = 6, [0xd7] = 10, [0xd8] = 18, [0xc0] = 1, [0xc2] = 1, [0xc3] = 1,
    };

    if (len == 0 || ++m->values > PQB_STRUCTURE_VALUES_MAX)
        return 0;
    const uint8_t b = data[0];
    if (b < 0x80 || b >= 0xe0)
        return 1;
    if (b < 0x90)
        return model_children(m, data, len, 1, 2 * (uint64_t)(b & 15), depth + 1);
    if (b < 0xa0)
        return model_children(m, data, len, 1, b & 15, depth + 1);
    if (b < 0xc0)
        return 1 + (size_t)(b & 31) <= len ? 1 + (size_t)(b & 31) : 0;
    if (b <= 0xd8 && fixed[b] > 0)
        return fixed[b] <= len ? fixed[b] : 0;
    if (b >= 0xc4 && b <= 0xc6)
        return model_payload(data, len, (size_t)1 << (b - 0xc4), 0);
    if (b >= 0xc7 && b <= 0xc9)
        return model_payload(data, len, (size_t)1 << (b - 0xc7), 1);
    if (b >= 0xd9 && b <= 0xdb)
        return model_payload(data, len, (size_t)1 << (b - 0xd9), 0);
    if (b == 0xdc || b == 0xdd)
        return model_container(m, data, len, b == 0xdc ? 2 : 4, 1, depth);
    if (b == 0xde || b == 0xdf)
        return model_container(m, data, len, b == 0xde ? 2 : 4, 2, depth);
    return 0; // 0xc1
}
// NOLINTEND(misc-no-recursion)

static bool model_is_sound(const uint8_t *data, size_t len)
{
    struct model m = {0};

    return len > 0 && model_value(&m, data, len, 0) == len;
}

struct example {
    const char *bytes;
    size_t len;
    bool is_sound;
};

#define EXAMPLE(text, sound)          \
    {                                 \
        text, sizeof(text) - 1, sound \
    }

static void check(const struct example *examples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const bool is_sound = pqb_structure_is_sound(examples[i].bytes, examples[i].len);
        if (is_sound != examples[i].is_sound)
            fail_msg("example %zu", i);
        assert_int_equal(is_sound,
                         model_is_sound((const uint8_t *)examples[i].bytes, examples[i].len));
    }
}

static void one_value_must_fill_the_bytes_exactly(void **state)
{
    static const struct example examples[] = {
        EXAMPLE("", false),
        EXAMPLE("\x00", true),
        EXAMPLE("\x00\x00", false),
        EXAMPLE("\x90", true),
        EXAMPLE("\x90\x90", false),
        EXAMPLE("\x92\x01", false),
        EXAMPLE("\x92\x01\x02", true),
        EXAMPLE("\x92\x01\x02\x03", false),
        EXAMPLE("\xc1", false), // never given a meaning
        EXAMPLE("\x91\xc1", false),
    };

    (void)state;
    check(examples, PQB_ARRAY_LEN(examples));
}

static void a_declared_size_beyond_the_bytes_is_refused(void **state)
{
    static const struct example examples[] = {
        EXAMPLE("\xdd\xff\xff\xff\xff", false), // an array of 4 G values in five bytes
        EXAMPLE("\xdf\xff\xff\xff\xff", false), // a map of as many: the doubled count fits 64 bits
        EXAMPLE("\xdf\x80\x00\x00\x00", false),
        EXAMPLE("\xdc\xff\xff", false),
        EXAMPLE("\xde\xff\xff", false),
        EXAMPLE("\xc6\xff\xff\xff\xff", false),
        EXAMPLE("\xdb\xff\xff\xff\xff", false),
        EXAMPLE("\xc9\xff\xff\xff\xff\x01", false),
        EXAMPLE("\xdd\x00\x00\x00\x01\x07", true),
        EXAMPLE("\xdd\x00\x00\x00\x02\x07", false),
        EXAMPLE("\xdf\x00\x00\x00\x01\x07\x08", true),
        EXAMPLE("\xdf\x00\x00\x00\x01\x07", false),
    };

    (void)state;
    check(examples, PQB_ARRAY_LEN(examples));
}

static void truncated_headers_and_payloads_are_refused(void **state)
{
    static const struct example examples[] = {
        EXAMPLE("\xcc", false),
        EXAMPLE("\xcc\x01", true),
        EXAMPLE("\xcd\x01", false),
        EXAMPLE("\xcf\x01\x02\x03\x04\x05\x06\x07", false),
        EXAMPLE("\xcf\x01\x02\x03\x04\x05\x06\x07\x08", true),
        EXAMPLE("\xca\x01\x02\x03", false),
        EXAMPLE("\xca\x01\x02\x03\x04", true),
        EXAMPLE("\xcb\x01\x02\x03\x04\x05\x06\x07", false),
        EXAMPLE("\xa2\x61", false),
        EXAMPLE("\xa2\x61\x62", true),
        EXAMPLE("\xd9", false),
        EXAMPLE("\xd9\x01", false),
        EXAMPLE("\xd9\x01\x61", true),
        EXAMPLE("\xc4\x00", true),
        EXAMPLE("\xc5\x00", false),
        EXAMPLE("\xc5\x00\x01\x00", true),
        EXAMPLE("\xd4\x01", false), // fixext 1 without its data
        EXAMPLE("\xd4\x01\x02", true),
        EXAMPLE("\xd8\x01\x02", false),
        EXAMPLE("\xc7\x00", false), // ext 8 without its type
        EXAMPLE("\xc7\x00\x05", true),
        EXAMPLE("\xc7\x02\x05\x01", false),
        EXAMPLE("\xc8\x00\x00\x05", true),
    };

    (void)state;
    check(examples, PQB_ARRAY_LEN(examples));
}

static void depth_four_passes_and_depth_five_does_not(void **state)
{
    static const struct example examples[] = {
        EXAMPLE("\x91\x91\x91\x90", true),
        EXAMPLE("\x91\x91\x91\x91\x00", true),
        EXAMPLE("\x91\x91\x91\x91\x90", false),
        EXAMPLE("\x91\x91\x91\x91\x80", false),
        EXAMPLE("\x81\x00\x81\x00\x81\x00\x81\x00\x01", true),
        EXAMPLE("\x81\x00\x81\x00\x81\x00\x81\x00\x90", false),
        EXAMPLE("\x92\x91\x91\x91\x00\x91\x91\x91\x00", true), // depth is left again
    };

    (void)state;
    check(examples, PQB_ARRAY_LEN(examples));
}

static void ten_thousand_nested_arrays_are_refused(void **state)
{
    uint8_t bytes[10000];

    (void)state;
    memset(bytes, 0x91, sizeof(bytes));
    assert_false(pqb_structure_is_sound(bytes, sizeof(bytes)));
    bytes[sizeof(bytes) - 1] = 0x00;
    assert_false(pqb_structure_is_sound(bytes, sizeof(bytes)));
}

static void the_number_of_values_is_bounded(void **state)
{
    uint8_t bytes[3 + PQB_STRUCTURE_VALUES_MAX] = {0xdc};

    (void)state;
    // The array itself is one value.
    bytes[1] = (PQB_STRUCTURE_VALUES_MAX - 1) >> 8;
    bytes[2] = (PQB_STRUCTURE_VALUES_MAX - 1) & 0xff;
    assert_true(pqb_structure_is_sound(bytes, 3 + PQB_STRUCTURE_VALUES_MAX - 1));
    bytes[1] = PQB_STRUCTURE_VALUES_MAX >> 8;
    bytes[2] = PQB_STRUCTURE_VALUES_MAX & 0xff;
    assert_false(pqb_structure_is_sound(bytes, 3 + PQB_STRUCTURE_VALUES_MAX));
}

static void every_single_header_byte_agrees_with_the_model(void **state)
{
    uint8_t bytes[24] = {0};

    (void)state;
    for (unsigned b = 0; b <= 0xff; b++) {
        for (size_t len = 1; len <= sizeof(bytes); len++) {
            bytes[0] = (uint8_t)b;
            assert_int_equal(pqb_structure_is_sound(bytes, len), model_is_sound(bytes, len));
        }
    }
}

// Bytes that are headers more often than chance has it, with small counts.
static uint8_t likely_byte(struct pqb_rng *rng)
{
    static const uint8_t headers[] = {0x90, 0x91, 0x92, 0x93, 0x80, 0x81, 0xc0, 0xc4, 0xc5, 0xc7,
                                      0xd4, 0xd5, 0xd9, 0xdc, 0xdd, 0xde, 0xa0, 0xa1, 0xcc, 0xcd};

    switch (pqb_rng_below(rng, 4)) {
    case 0:
        return (uint8_t)pqb_rng_next(rng);
    case 1:
        return (uint8_t)pqb_rng_below(rng, 4);
    default:
        return headers[pqb_rng_below(rng, PQB_ARRAY_LEN(headers))];
    }
}

static void random_bytes_agree_with_the_model(void **state)
{
    uint8_t bytes[40] = {0};
    struct pqb_rng rng;
    size_t sound = 0;

    (void)state;
    pqb_rng_init_seed(&rng, 1);
    for (int i = 0; i < 300000; i++) {
        const size_t len = (size_t)pqb_rng_below(&rng, sizeof(bytes) + 1);
        for (size_t k = 0; k < len; k++)
            bytes[k] = likely_byte(&rng);
        const bool is_sound = pqb_structure_is_sound(bytes, len);
        assert_int_equal(is_sound, model_is_sound(bytes, len));
        sound += is_sound;
    }
    assert_true(sound > 3000); // the comparison is of some worth
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_value_must_fill_the_bytes_exactly),
        cmocka_unit_test(a_declared_size_beyond_the_bytes_is_refused),
        cmocka_unit_test(truncated_headers_and_payloads_are_refused),
        cmocka_unit_test(depth_four_passes_and_depth_five_does_not),
        cmocka_unit_test(ten_thousand_nested_arrays_are_refused),
        cmocka_unit_test(the_number_of_values_is_bounded),
        cmocka_unit_test(every_single_header_byte_agrees_with_the_model),
        cmocka_unit_test(random_bytes_agree_with_the_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
