#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/wire/cursor.h"

static void integers_are_read_in_network_order(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct pqb_reader_cursor c;

    (void)state;
    pqb_rcur_init(&c, bytes, sizeof(bytes));
    assert_int_equal(pqb_rcur_u8(&c), 0x01);
    assert_int_equal(pqb_rcur_u16(&c), 0x0203);
    assert_int_equal(pqb_rcur_u32(&c), 0x04050607);
    assert_int_equal(pqb_rcur_u64(&c), 0x08090a0b0c0d0e0f);
    assert_int_equal(pqb_rcur_left(&c), 0);
    assert_false(c.is_bad);
}

static void a_read_past_the_end_is_latched(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3};
    struct pqb_reader_cursor c;

    (void)state;
    pqb_rcur_init(&c, bytes, sizeof(bytes));
    assert_int_equal(pqb_rcur_u32(&c), 0);
    assert_true(c.is_bad);
    assert_int_equal(pqb_rcur_u8(&c), 0);
    assert_null(pqb_rcur_bytes(&c, 0));
    assert_true(c.is_bad);
}

static void bytes_are_borrowed_up_to_the_last_one(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3};
    struct pqb_reader_cursor c;

    (void)state;
    pqb_rcur_init(&c, bytes, sizeof(bytes));
    assert_ptr_equal(pqb_rcur_bytes(&c, 3), bytes);
    assert_int_equal(pqb_rcur_left(&c), 0);
    assert_false(c.is_bad);
    pqb_rcur_init(&c, bytes, sizeof(bytes));
    assert_null(pqb_rcur_bytes(&c, 4));
    assert_true(c.is_bad);
    pqb_rcur_init(&c, bytes, sizeof(bytes));
    assert_null(pqb_rcur_bytes(&c, SIZE_MAX));
    assert_true(c.is_bad);
}

static void nothing_can_be_read_from_no_bytes(void **state)
{
    struct pqb_reader_cursor c;

    (void)state;
    pqb_rcur_init(&c, NULL, 0);
    assert_int_equal(pqb_rcur_left(&c), 0);
    (void)pqb_rcur_bytes(&c, 0);
    assert_false(c.is_bad);
    assert_int_equal(pqb_rcur_u8(&c), 0);
    assert_true(c.is_bad);
}

static void integers_are_written_in_network_order(void **state)
{
    static const uint8_t want[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17};
    struct pqb_writer_cursor c;
    uint8_t bytes[sizeof(want)];

    (void)state;
    pqb_wcur_init(&c, bytes, sizeof(bytes));
    pqb_wcur_u8(&c, 0x01);
    pqb_wcur_u16(&c, 0x0203);
    pqb_wcur_u32(&c, 0x04050607);
    pqb_wcur_u64(&c, 0x08090a0b0c0d0e0f);
    pqb_wcur_bytes(&c, want + 15, 2);
    assert_false(c.is_bad);
    assert_int_equal(pqb_wcur_len(&c), sizeof(want));
    assert_memory_equal(bytes, want, sizeof(want));
}

static void a_write_that_does_not_fit_writes_nothing_and_is_latched(void **state)
{
    struct pqb_writer_cursor c;
    uint8_t bytes[8];

    (void)state;
    memset(bytes, 0xee, sizeof(bytes));
    pqb_wcur_init(&c, bytes, 5);
    pqb_wcur_u16(&c, 0x0102);
    pqb_wcur_u32(&c, 0x03040506);
    assert_true(c.is_bad);
    pqb_wcur_u8(&c, 7);
    assert_int_equal(pqb_wcur_len(&c), 2);
    assert_memory_equal(bytes, "\x01\x02\xee\xee\xee\xee\xee\xee", 8);
}

static void a_write_may_fill_the_buffer_exactly(void **state)
{
    struct pqb_writer_cursor c;
    uint8_t bytes[8];

    (void)state;
    pqb_wcur_init(&c, bytes, sizeof(bytes));
    pqb_wcur_u64(&c, 1);
    assert_false(c.is_bad);
    pqb_wcur_bytes(&c, NULL, 0);
    assert_false(c.is_bad);
    pqb_wcur_u8(&c, 1);
    assert_true(c.is_bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_read_in_network_order),
        cmocka_unit_test(a_read_past_the_end_is_latched),
        cmocka_unit_test(bytes_are_borrowed_up_to_the_last_one),
        cmocka_unit_test(nothing_can_be_read_from_no_bytes),
        cmocka_unit_test(integers_are_written_in_network_order),
        cmocka_unit_test(a_write_that_does_not_fit_writes_nothing_and_is_latched),
        cmocka_unit_test(a_write_may_fill_the_buffer_exactly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
