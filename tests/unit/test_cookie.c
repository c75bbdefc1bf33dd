#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/proto/cookie.h"

#define S PQB_NS_PER_SEC

static struct pqb_token_keys keys(uint8_t fill)
{
    struct pqb_token_keys k;
    uint8_t secret[32];

    memset(secret, fill, sizeof(secret));
    pqb_token_keys_derive(&k, secret, sizeof(secret));
    return k;
}

static struct pqb_addr addr(const char *text)
{
    struct pqb_addr a;

    assert_true(pqb_addr_parse(text, &a));
    return a;
}

static void a_secret_gives_the_same_four_keys_each_time(void **state)
{
    const struct pqb_token_keys a = keys(1);
    const struct pqb_token_keys b = keys(1);
    uint8_t secret[32] = {0};
    struct pqb_token_keys c;
    struct pqb_token_keys d;

    (void)state;
    assert_memory_equal(&a, &b, sizeof(a));
    assert_memory_not_equal(a.cookie, a.reset, 16);
    assert_memory_not_equal(a.cookie, a.receipt_mac, 16);
    assert_memory_not_equal(a.receipt_mac, a.receipt_mask, 16);
    pqb_token_keys_derive(&c, secret, sizeof(secret));
    secret[31] = 1; // every byte of the secret matters
    pqb_token_keys_derive(&d, secret, sizeof(secret));
    assert_memory_not_equal(c.cookie, d.cookie, 16);
    assert_memory_not_equal(c.receipt_mask, d.receipt_mask, 16);
}

static void a_cookie_lives_fifteen_seconds(void **state)
{
    const struct pqb_token_keys k = keys(1);
    const struct pqb_addr a = addr("192.0.2.1:5000");
    uint8_t cookie[PQB_COOKIE_LEN];

    (void)state;
    pqb_cookie_make(&k, &a, 77, 100 * S, cookie);
    assert_true(pqb_cookie_is_valid(&k, &a, 77, cookie, 100 * S));
    assert_true(pqb_cookie_is_valid(&k, &a, 77, cookie, 115 * S));
    assert_false(pqb_cookie_is_valid(&k, &a, 77, cookie, 115 * S + 1));
    assert_false(pqb_cookie_is_valid(&k, &a, 77, cookie, 100 * S - 1));
}

static void a_cookie_is_bound_to_address_login_and_key(void **state)
{
    const struct pqb_token_keys k = keys(1);
    const struct pqb_token_keys other = keys(2);
    const struct pqb_addr a = addr("192.0.2.1:5000");
    const struct pqb_addr port = addr("192.0.2.1:5001");
    const struct pqb_addr ip = addr("192.0.2.2:5000");
    struct pqb_addr socket = a;
    uint8_t cookie[PQB_COOKIE_LEN];

    (void)state;
    socket.local = 3;
    pqb_cookie_make(&k, &a, 77, 100 * S, cookie);
    assert_false(pqb_cookie_is_valid(&k, &port, 77, cookie, 101 * S));
    assert_false(pqb_cookie_is_valid(&k, &ip, 77, cookie, 101 * S));
    assert_false(pqb_cookie_is_valid(&k, &a, 78, cookie, 101 * S));
    assert_false(pqb_cookie_is_valid(&other, &a, 77, cookie, 101 * S));
    assert_true(pqb_cookie_is_valid(&k, &socket, 77, cookie, 101 * S)); // any socket of ours
}

static void every_bit_of_a_cookie_counts(void **state)
{
    const struct pqb_token_keys k = keys(1);
    const struct pqb_addr a = addr("[2001:db8::1]:5000");
    uint8_t cookie[PQB_COOKIE_LEN];

    (void)state;
    pqb_cookie_make(&k, &a, 77, 100 * S, cookie);
    for (unsigned bit = 0; bit < 8 * PQB_COOKIE_LEN; bit++) {
        cookie[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(pqb_cookie_is_valid(&k, &a, 77, cookie, 101 * S));
        cookie[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(pqb_cookie_is_valid(&k, &a, 77, cookie, 101 * S));
}

static void a_reset_token_is_made_again_from_the_connection_id(void **state)
{
    const struct pqb_token_keys k = keys(1);
    uint8_t a[PQB_RESET_LEN];
    uint8_t b[PQB_RESET_LEN];

    (void)state;
    pqb_reset_token_make(&k, 1, a);
    pqb_reset_token_make(&k, 1, b);
    assert_true(pqb_token_is_equal(a, b));
    pqb_reset_token_make(&k, 2, b);
    assert_false(pqb_token_is_equal(a, b));
    memcpy(b, a, sizeof(a));
    b[15] ^= 0x80;
    assert_false(pqb_token_is_equal(a, b));
}

static const struct pqb_message_identity identity = {
    .from_uid = 1,
    .from_devno = 2,
    .epoch = 3,
    .seq = 4,
    .to_uid = 5,
};

static void a_receipt_opens_to_what_was_sealed(void **state)
{
    static const uint64_t iseqs[] = {0, 1, UINT64_C(1) << 40, UINT64_MAX};
    const struct pqb_token_keys k = keys(1);
    uint8_t receipt[PQB_RECEIPT_LEN];
    uint8_t again[PQB_RECEIPT_LEN];
    uint64_t iseq = 99;

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(iseqs); i++) {
        pqb_receipt_seal(&k, &identity, iseqs[i], receipt);
        pqb_receipt_seal(&k, &identity, iseqs[i], again);
        assert_memory_equal(receipt, again, sizeof(receipt)); // a repeated msg:A tells the same
        assert_true(pqb_receipt_open(&k, &identity, receipt, &iseq));
        assert_true(iseq == iseqs[i]);
    }
}

static void a_receipt_opens_for_its_own_message_only(void **state)
{
    const struct pqb_token_keys k = keys(1);
    const struct pqb_token_keys other = keys(2);
    uint8_t receipt[PQB_RECEIPT_LEN];
    uint64_t iseq = 99;

    (void)state;
    pqb_receipt_seal(&k, &identity, 1000, receipt);
    for (int field = 0; field < 5; field++) {
        struct pqb_message_identity id = identity;

        id.from_uid += field == 0;
        id.from_devno += field == 1;
        id.epoch += field == 2;
        id.seq += field == 3;
        id.to_uid += field == 4;
        assert_false(pqb_receipt_open(&k, &id, receipt, &iseq));
    }
    assert_false(pqb_receipt_open(&other, &identity, receipt, &iseq));
    for (unsigned bit = 0; bit < 8 * PQB_RECEIPT_LEN; bit++) {
        receipt[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(pqb_receipt_open(&k, &identity, receipt, &iseq));
        receipt[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(iseq, 99); // untouched by refusals
}

static void receipts_of_neighbours_do_not_show_their_distance(void **state)
{
    const struct pqb_token_keys k = keys(1);
    struct pqb_message_identity next = identity;
    uint8_t a[PQB_RECEIPT_LEN];
    uint8_t b[PQB_RECEIPT_LEN];

    (void)state;
    next.seq++;
    pqb_receipt_seal(&k, &identity, 1000, a);
    pqb_receipt_seal(&k, &next, 1001, b);
    assert_memory_not_equal(a + 8, b + 8, 7); // the high bytes of the iseqs are equal
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_gives_the_same_four_keys_each_time),
        cmocka_unit_test(a_cookie_lives_fifteen_seconds),
        cmocka_unit_test(a_cookie_is_bound_to_address_login_and_key),
        cmocka_unit_test(every_bit_of_a_cookie_counts),
        cmocka_unit_test(a_reset_token_is_made_again_from_the_connection_id),
        cmocka_unit_test(a_receipt_opens_to_what_was_sealed),
        cmocka_unit_test(a_receipt_opens_for_its_own_message_only),
        cmocka_unit_test(receipts_of_neighbours_do_not_show_their_distance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
