#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "common/base/defs.h"
#include "common/base/err.h"
#include "common/proto/aead.h"

#define LEN_MAX 1200
#define NUMBER  UINT64_C(0x0102030405060708)

static const enum pqb_cipher all_ciphers[] = {PQB_CIPHER_CHACHAPOLY, PQB_CIPHER_AESGCM};
static size_t cipher_count; // how many of them this machine has

static uint8_t key[PQB_KEY_LEN];
static uint8_t plain[LEN_MAX];

static const struct pqb_aead_with with = {.number = NUMBER, .ad = "header", .ad_len = 6};

static int fill(void **state)
{
    (void)state;
    if (pqb_aead_init() != PQB_OK)
        return -1;
    cipher_count = (pqb_aead_ciphers() & PQB_CIPHERS_AESGCM) != 0 ? 2 : 1;
    if (cipher_count == 1)
        (void)printf("no AES in this processor: ChaChaPoly only\n");
    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(0x80 + i);
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (uint8_t)(i ^ i >> 8);
    return 0;
}

// RFC 8439 appendix A.5, whose nonce is four zero bytes and 01 to 08 (that of section 2.8.2 begins
// with 07 and is not of this shape). The tag is over all of the ciphertext, of which the first
// block's half is given here.
static void chachapoly_gives_the_vector_of_rfc_8439(void **state)
{
    static const uint8_t rfc_key[PQB_KEY_LEN] = {0x1c, 0x92, 0x40, 0xa5, 0xeb, 0x55, 0xd3, 0x8a,
                                                 0xf3, 0x33, 0x88, 0x86, 0x04, 0xf6, 0xb5, 0xf0,
                                                 0x47, 0x39, 0x17, 0xc1, 0x40, 0x2b, 0x80, 0x09,
                                                 0x9d, 0xca, 0x5c, 0xbc, 0x20, 0x70, 0x75, 0xc0};
    static const uint8_t ad[] = {0xf3, 0x33, 0x88, 0x86, 0, 0, 0, 0, 0, 0, 0x4e, 0x91};
    static const char text[] =
        "Internet-Drafts are draft documents valid for a maximum of six months and may be updated, "
        "replaced, or obsoleted by other documents at any time. It is inappropriate to use "
        "Internet-Drafts as reference material or to cite them other than as "
        "/\xe2\x80\x9cwork in progress./\xe2\x80\x9d";
    static const uint8_t begin[] = {0x64, 0xa0, 0x86, 0x15, 0x75, 0x86, 0x1a, 0xf4,
                                    0x60, 0xf0, 0x62, 0xc7, 0x9b, 0xe6, 0x43, 0xbd,
                                    0x5e, 0x80, 0x5c, 0xfd, 0x34, 0x5c, 0xf3, 0x89,
                                    0xf1, 0x08, 0x67, 0x0a, 0xc7, 0x6c, 0x8c, 0xb2};
    static const uint8_t tag[PQB_TAG_LEN] = {0xee, 0xad, 0x9d, 0x67, 0x89, 0x0c, 0xbb, 0x22,
                                             0x39, 0x23, 0x36, 0xfe, 0xa1, 0x85, 0x1f, 0x38};
    const struct pqb_aead_with rfc_with = {
        .number = UINT64_C(0x0807060504030201), .ad = ad, .ad_len = sizeof(ad)};
    const size_t len = sizeof(text) - 1;
    uint8_t sealed[sizeof(text) + PQB_TAG_LEN], opened[sizeof(text)];

    (void)state;
    assert_int_equal(len, 265);
    pqb_aead_seal(PQB_CIPHER_CHACHAPOLY, rfc_key, &rfc_with, (const uint8_t *)text, len, sealed);
    assert_memory_equal(sealed, begin, sizeof(begin));
    assert_memory_equal(sealed + len, tag, sizeof(tag));
    assert_true(pqb_aead_open(PQB_CIPHER_CHACHAPOLY, rfc_key, &rfc_with, sealed, len + PQB_TAG_LEN,
                              opened));
    assert_memory_equal(opened, text, len);
}

// Test cases 13 and 14 of the GCM specification: key, number and text are all zero.
static void aesgcm_gives_the_vectors_of_its_specification(void **state)
{
    static const uint8_t zeros[PQB_KEY_LEN];
    static const uint8_t empty[] = {0x53, 0x0f, 0x8a, 0xfb, 0xc7, 0x45, 0x36, 0xb9,
                                    0xa9, 0x63, 0xb4, 0xf1, 0xc4, 0xcb, 0x73, 0x8b};
    static const uint8_t block[] = {0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e,
                                    0x07, 0x4e, 0xc5, 0xd3, 0xba, 0xf3, 0x9d, 0x18,
                                    0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0,
                                    0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19};
    const struct pqb_aead_with first = {.number = 0};
    uint8_t sealed[sizeof(block)];

    (void)state;
    if (cipher_count < 2)
        return;
    pqb_aead_seal(PQB_CIPHER_AESGCM, zeros, &first, zeros, 0, sealed);
    assert_memory_equal(sealed, empty, sizeof(empty));
    pqb_aead_seal(PQB_CIPHER_AESGCM, zeros, &first, zeros, 16, sealed);
    assert_memory_equal(sealed, block, sizeof(block));
}

static void the_number_is_little_endian_for_chachapoly_and_big_endian_for_aesgcm(void **state)
{
    static const uint8_t little[12] = {0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1};
    static const uint8_t big[12] = {0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
    uint8_t ours[40 + PQB_TAG_LEN], theirs[sizeof(ours)];

    (void)state;
    pqb_aead_seal(PQB_CIPHER_CHACHAPOLY, key, &with, plain, 40, ours);
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(theirs, NULL, plain, 40, with.ad, with.ad_len,
                                                    NULL, little, key);
    assert_memory_equal(ours, theirs, sizeof(ours));
    if (cipher_count < 2)
        return;
    pqb_aead_seal(PQB_CIPHER_AESGCM, key, &with, plain, 40, ours);
    (void)crypto_aead_aes256gcm_encrypt(theirs, NULL, plain, 40, with.ad, with.ad_len, NULL, big,
                                        key);
    assert_memory_equal(ours, theirs, sizeof(ours));
}

static void a_message_of_any_length_is_sealed_and_opened_in_place(void **state)
{
    uint8_t apart[LEN_MAX + PQB_TAG_LEN], in_place[sizeof(apart)], opened[LEN_MAX];

    (void)state;
    for (size_t c = 0; c < cipher_count; c++) {
        for (size_t len = 0; len <= LEN_MAX; len++) {
            pqb_aead_seal(all_ciphers[c], key, &with, plain, len, apart);
            memcpy(in_place, plain, len);
            pqb_aead_seal(all_ciphers[c], key, &with, in_place, len, in_place);
            assert_memory_equal(in_place, apart, len + PQB_TAG_LEN);
            assert_true(
                pqb_aead_open(all_ciphers[c], key, &with, apart, len + PQB_TAG_LEN, opened));
            assert_memory_equal(opened, plain, len);
            assert_true(
                pqb_aead_open(all_ciphers[c], key, &with, in_place, len + PQB_TAG_LEN, in_place));
            assert_memory_equal(in_place, plain, len);
        }
    }
}

static void a_flipped_bit_anywhere_is_refused(void **state)
{
    enum {
        LEN = 100 + PQB_TAG_LEN
    };
    uint8_t sealed[LEN], opened[LEN];

    (void)state;
    for (size_t c = 0; c < cipher_count; c++) {
        pqb_aead_seal(all_ciphers[c], key, &with, plain, LEN - PQB_TAG_LEN, sealed);
        for (size_t bit = 0; bit < 8 * (size_t)LEN; bit++) {
            sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_false(pqb_aead_open(all_ciphers[c], key, &with, sealed, LEN, opened));
            sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_true(pqb_aead_open(all_ciphers[c], key, &with, sealed, LEN, opened));
    }
}

static void a_flipped_bit_of_key_or_number_is_refused(void **state)
{
    uint8_t sealed[20 + PQB_TAG_LEN], opened[20], other_key[PQB_KEY_LEN];

    (void)state;
    for (size_t c = 0; c < cipher_count; c++) {
        pqb_aead_seal(all_ciphers[c], key, &with, plain, 20, sealed);
        for (unsigned bit = 0; bit < 64; bit++) {
            struct pqb_aead_with other = with;

            other.number ^= UINT64_C(1) << bit;
            assert_false(
                pqb_aead_open(all_ciphers[c], key, &other, sealed, sizeof(sealed), opened));
        }
        memcpy(other_key, key, sizeof(key));
        for (unsigned bit = 0; bit < 8 * PQB_KEY_LEN; bit++) {
            other_key[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_false(
                pqb_aead_open(all_ciphers[c], other_key, &with, sealed, sizeof(sealed), opened));
            other_key[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

static void another_associated_text_is_refused(void **state)
{
    static const struct pqb_aead_with others[] = {
        {.number = NUMBER, .ad = "Header", .ad_len = 6},
        {.number = NUMBER, .ad = "header", .ad_len = 5},
        {.number = NUMBER, .ad = "header\0", .ad_len = 7},
        {.number = NUMBER},
    };
    uint8_t sealed[20 + PQB_TAG_LEN], opened[20];

    (void)state;
    for (size_t c = 0; c < cipher_count; c++) {
        pqb_aead_seal(all_ciphers[c], key, &with, plain, 20, sealed);
        for (size_t i = 0; i < PQB_ARRAY_LEN(others); i++)
            assert_false(
                pqb_aead_open(all_ciphers[c], key, &others[i], sealed, sizeof(sealed), opened));
    }
}

static void a_message_cut_at_any_length_or_longer_is_refused(void **state)
{
    uint8_t sealed[40 + PQB_TAG_LEN + 1] = {0}, opened[sizeof(sealed)];

    (void)state;
    for (size_t c = 0; c < cipher_count; c++) {
        pqb_aead_seal(all_ciphers[c], key, &with, plain, 40, sealed);
        for (size_t len = 0; len <= sizeof(sealed); len++)
            assert_int_equal(pqb_aead_open(all_ciphers[c], key, &with, sealed, len, opened),
                             len == 40 + PQB_TAG_LEN);
    }
}

static void what_one_cipher_sealed_the_other_refuses(void **state)
{
    uint8_t sealed[20 + PQB_TAG_LEN], opened[20];

    (void)state;
    if (cipher_count < 2)
        return;
    for (size_t c = 0; c < 2; c++) {
        pqb_aead_seal(all_ciphers[c], key, &with, plain, 20, sealed);
        assert_false(pqb_aead_open(all_ciphers[1 - c], key, &with, sealed, sizeof(sealed), opened));
    }
}

// REKEY: the first 32 bytes of 32 zeros sealed with the number 2^64 - 1 and nothing besides.
static void rekey_is_that_of_the_noise_specification(void **state)
{
    static const uint8_t last[12] = {0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t zeros[PQB_KEY_LEN];
    uint8_t expected[PQB_KEY_LEN + PQB_TAG_LEN], rekeyed[PQB_KEY_LEN];

    (void)state;
    for (size_t c = 0; c < cipher_count; c++) {
        if (all_ciphers[c] == PQB_CIPHER_AESGCM)
            (void)crypto_aead_aes256gcm_encrypt(expected, NULL, zeros, sizeof(zeros), NULL, 0, NULL,
                                                last, key);
        else
            (void)crypto_aead_chacha20poly1305_ietf_encrypt(expected, NULL, zeros, sizeof(zeros),
                                                            NULL, 0, NULL, last, key);
        memcpy(rekeyed, key, sizeof(key));
        pqb_aead_rekey(all_ciphers[c], rekeyed);
        assert_memory_equal(rekeyed, expected, sizeof(rekeyed));
        assert_memory_not_equal(rekeyed, key, sizeof(key));
    }
}

static void the_best_cipher_that_both_have_is_chosen(void **state)
{
    static const enum pqb_cipher best[4] = {PQB_CIPHER_NONE, PQB_CIPHER_CHACHAPOLY,
                                            PQB_CIPHER_AESGCM, PQB_CIPHER_AESGCM};

    (void)state;
    for (unsigned offered = 0; offered <= UINT8_MAX; offered++) {
        for (unsigned allowed = 0; allowed <= UINT8_MAX; allowed++)
            assert_int_equal(pqb_aead_choose((uint8_t)offered, (uint8_t)allowed),
                             best[offered & allowed & 3]); // bits without a meaning choose nothing
    }
}

static void chachapoly_is_always_there_and_nothing_unknown(void **state)
{
    (void)state;
    assert_true((pqb_aead_ciphers() & PQB_CIPHERS_CHACHAPOLY) != 0);
    assert_int_equal(pqb_aead_ciphers() & ~(PQB_CIPHERS_CHACHAPOLY | PQB_CIPHERS_AESGCM), 0);
    assert_int_equal(pqb_aead_init(), PQB_OK); // once more
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(chachapoly_gives_the_vector_of_rfc_8439),
        cmocka_unit_test(aesgcm_gives_the_vectors_of_its_specification),
        cmocka_unit_test(the_number_is_little_endian_for_chachapoly_and_big_endian_for_aesgcm),
        cmocka_unit_test(a_message_of_any_length_is_sealed_and_opened_in_place),
        cmocka_unit_test(a_flipped_bit_anywhere_is_refused),
        cmocka_unit_test(a_flipped_bit_of_key_or_number_is_refused),
        cmocka_unit_test(another_associated_text_is_refused),
        cmocka_unit_test(a_message_cut_at_any_length_or_longer_is_refused),
        cmocka_unit_test(what_one_cipher_sealed_the_other_refuses),
        cmocka_unit_test(rekey_is_that_of_the_noise_specification),
        cmocka_unit_test(the_best_cipher_that_both_have_is_chosen),
        cmocka_unit_test(chachapoly_is_always_there_and_nothing_unknown),
    };

    return cmocka_run_group_tests(tests, fill, NULL);
}
