#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "common/base/defs.h"
#include "common/base/siphash.h"

// Reference key and input of the SipHash paper's test vectors: bytes 0, 1, 2, ...
static uint8_t key[PQB_SIPHASH_KEY_LEN];
static uint8_t input[300];

static int fill(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof(input); i++)
        input[i] = (uint8_t)i;
    return 0;
}

static void the_64_bit_hash_gives_the_published_vectors(void **state)
{
    static const uint64_t expected[] = {
        UINT64_C(0x726fdb47dd0e0e31), UINT64_C(0x74f839c593dc67fd), UINT64_C(0x0d6c8009d9a94f5a),
        UINT64_C(0x85676696d7fb7e2d), UINT64_C(0xcf2794e0277187b7), UINT64_C(0x18765564cd99a68d),
        UINT64_C(0xcbc9466e58fee3ce), UINT64_C(0xab0200f58b01d137), UINT64_C(0x93f5f5799a932462),
    };

    (void)state;
    for (size_t len = 0; len < PQB_ARRAY_LEN(expected); len++)
        assert_int_equal(pqb_siphash24(key, input, len), expected[len]);
    assert_int_equal(pqb_siphash24(key, input, 15), UINT64_C(0xa129ca6149be45e5));
}

static void the_128_bit_hash_gives_the_published_vectors(void **state)
{
    static const uint8_t expected[][16] = {
        {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02,
         0x93},
        {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc,
         0x45},
        {0x81, 0x77, 0x22, 0x8d, 0xa4, 0xa4, 0x5d, 0xc7, 0xfc, 0xa3, 0x8b, 0xde, 0xf6, 0x0a, 0xff,
         0xe4},
    };
    uint8_t out[16];

    (void)state;
    for (size_t len = 0; len < PQB_ARRAY_LEN(expected); len++) {
        pqb_siphash24_128(key, input, len, out);
        assert_memory_equal(out, expected[len], sizeof(out));
    }
}

static void both_hashes_agree_with_another_implementation_at_every_length(void **state)
{
    uint8_t ours[16];
    uint8_t theirs[16];

    (void)state;
    for (size_t len = 0; len <= sizeof(input); len++) {
        const uint64_t hash = pqb_siphash24(key, input, len);

        for (unsigned i = 0; i < 8; i++)
            ours[i] = (uint8_t)(hash >> (8 * i));
        assert_int_equal(crypto_shorthash_siphash24(theirs, input, len, key), 0);
        assert_memory_equal(ours, theirs, 8);
        pqb_siphash24_128(key, input, len, ours);
        assert_int_equal(crypto_shorthash_siphashx24(theirs, input, len, key), 0);
        assert_memory_equal(ours, theirs, 16);
    }
}

static void an_empty_input_may_be_null(void **state)
{
    (void)state;
    assert_int_equal(pqb_siphash24(key, NULL, 0), pqb_siphash24(key, input, 0));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_64_bit_hash_gives_the_published_vectors),
        cmocka_unit_test(the_128_bit_hash_gives_the_published_vectors),
        cmocka_unit_test(both_hashes_agree_with_another_implementation_at_every_length),
        cmocka_unit_test(an_empty_input_may_be_null),
    };

    return cmocka_run_group_tests(tests, fill, NULL);
}
