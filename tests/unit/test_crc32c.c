#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/crc32c.h"
#include "common/base/crc32c_impl.h"
#include "common/base/rng.h"

static void known_inputs_give_the_published_values(void **state)
{
    uint8_t block[32]; // the blocks of RFC 3720, appendix B.4

    (void)state;
    assert_int_equal(pqb_crc32c(0, NULL, 0), 0);
    assert_int_equal(pqb_crc32c(0, "123456789", 9), 0xe3069283);
    memset(block, 0, sizeof(block));
    assert_int_equal(pqb_crc32c(0, block, sizeof(block)), 0x8a9136aa);
    memset(block, 0xff, sizeof(block));
    assert_int_equal(pqb_crc32c(0, block, sizeof(block)), 0x62a8ab43);
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (uint8_t)i;
    assert_int_equal(pqb_crc32c(0, block, sizeof(block)), 0x46dd794e);
}

static void the_portable_half_gives_them_too(void **state)
{
    (void)state;
    assert_int_equal(pqb_crc32c_portable(0, "123456789", 9), 0xe3069283);
}

static void both_halves_agree_at_every_length_and_alignment(void **state)
{
    uint8_t data[80];
    struct pqb_rng rng;

    (void)state;
    if (!pqb_crc32c_has_hardware())
        return; // one half only: nothing to compare
    pqb_rng_init_seed(&rng, 1);
    pqb_rng_fill(&rng, data, sizeof(data));
    for (size_t from = 0; from < 9; from++) {
        for (size_t len = 0; from + len <= sizeof(data); len++) {
            const uint32_t start = (uint32_t)pqb_rng_next(&rng);

            assert_int_equal(pqb_crc32c_hardware(start, data + from, len),
                             pqb_crc32c_portable(start, data + from, len));
        }
    }
}

static void pieces_continue_to_the_value_of_the_whole(void **state)
{
    static const char text[] = "the packet boat neither loses a letter nor delivers it twice";
    const size_t len = sizeof(text) - 1;
    const uint32_t whole = pqb_crc32c(0, text, len);

    (void)state;
    for (size_t cut = 0; cut <= len; cut++)
        assert_int_equal(pqb_crc32c(pqb_crc32c(0, text, cut), text + cut, len - cut), whole);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_inputs_give_the_published_values),
        cmocka_unit_test(the_portable_half_gives_them_too),
        cmocka_unit_test(both_halves_agree_at_every_length_and_alignment),
        cmocka_unit_test(pieces_continue_to_the_value_of_the_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
