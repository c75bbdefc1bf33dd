// The gateway's keys as logins need them: mac1, short names, the prologue, secret memory.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "common/proto/server_keys.h"

static const uint8_t secret_new[PQB_KEY_LEN] = {0, 1}, secret_old[PQB_KEY_LEN] = {0, 2};

static int set_up(void **state)
{
    (void)state;
    return sodium_init() >= 0 ? 0 : -1;
}

static struct pqb_server_keys make_keys(void)
{
    struct pqb_server_keys keys = {.count = 0};

    pqb_server_keys_add(&keys, secret_new);
    pqb_server_keys_add(&keys, secret_old);
    return keys;
}

static void mac1_is_what_the_protocol_says(void **state)
{
    const struct pqb_server_keys keys = make_keys();
    uint8_t text[16 + 1 + PQB_KEY_LEN], key[PQB_KEY_LEN], expected[PQB_MAC1_LEN],
        found[PQB_MAC1_LEN];
    const uint8_t data[1184] = {0x11, 1};

    (void)state;
    assert_int_equal(strlen("paquebot mac1 ---"), 17);
    memcpy(text, "paquebot mac1 ---", 17);
    memcpy(text + 17, keys.at[0].pair.public, PQB_KEY_LEN);
    assert_int_equal(crypto_generichash(key, 32, text, sizeof(text), NULL, 0), 0);
    assert_memory_equal(key, keys.at[0].mac1_key, 32);
    assert_int_equal(crypto_generichash(expected, 16, data, sizeof(data), key, 32), 0);
    pqb_mac1_make(keys.at[0].mac1_key, data, sizeof(data), found);
    assert_memory_equal(found, expected, 16);
}

static void mac1_tells_which_key_the_client_has(void **state)
{
    const struct pqb_server_keys keys = make_keys();
    const struct pqb_server_keys present = {.count = 1, .at = {keys.at[0]}}, none = {.count = 0};
    const uint8_t data[50] = "some bytes";
    uint8_t mac1[PQB_MAC1_LEN];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        pqb_mac1_make(keys.at[i].mac1_key, data, sizeof(data), mac1);
        assert_ptr_equal(pqb_server_keys_find(&keys, data, sizeof(data), mac1), &keys.at[i]);
        assert_null(pqb_server_keys_find(&none, data, sizeof(data), mac1));
    }
    assert_null(pqb_server_keys_find(&present, data, sizeof(data), mac1)); // of the older one
}

static void every_bit_of_mac1_and_of_what_it_covers_counts(void **state)
{
    const struct pqb_server_keys keys = make_keys();
    uint8_t data[60] = "some bytes", mac1[PQB_MAC1_LEN];

    (void)state;
    pqb_mac1_make(keys.at[1].mac1_key, data, sizeof(data), mac1);
    for (size_t bit = 0; bit < 8 * sizeof(mac1); bit++) {
        mac1[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_null(pqb_server_keys_find(&keys, data, sizeof(data), mac1));
        mac1[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * sizeof(data); bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_null(pqb_server_keys_find(&keys, data, sizeof(data), mac1));
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_null(pqb_server_keys_find(&keys, data, sizeof(data) - 1, mac1));
    assert_ptr_equal(pqb_server_keys_find(&keys, data, sizeof(data), mac1), &keys.at[1]);
}

static void a_public_key_has_a_short_name(void **state)
{
    const struct pqb_server_keys keys = make_keys();
    uint8_t first[PQB_ID_LEN], second[PQB_ID_LEN], hash[32];

    (void)state;
    pqb_id_make(keys.at[0].pair.public, PQB_KEY_LEN, first);
    pqb_id_make(keys.at[1].pair.public, PQB_KEY_LEN, second);
    assert_memory_not_equal(first, second, PQB_ID_LEN);
    assert_int_equal(crypto_generichash(hash, 32, keys.at[0].pair.public, 32, NULL, 0), 0);
    assert_memory_equal(first, hash, PQB_ID_LEN);
}

static void the_prologue_holds_the_header_and_the_ticket(void **state)
{
    uint8_t hello[PQB_INIT_LEN], ticket[PQB_TICKET_LEN], out[PQB_PROLOGUE_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(hello); i++)
        hello[i] = (uint8_t)i;
    memset(ticket, 0x77, sizeof(ticket));
    assert_int_equal(pqb_prologue_make(hello, NULL, out), 20);
    assert_memory_equal(out, "paquebot\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b", 20);
    assert_int_equal(pqb_prologue_make(hello, ticket, out), PQB_PROLOGUE_MAX);
    assert_int_equal(PQB_PROLOGUE_MAX, 223);
    assert_memory_equal(out + 20, ticket, PQB_TICKET_LEN);
}

static void secret_memory_begins_empty_and_none_may_be_freed(void **state)
{
    uint8_t *secret = pqb_secret_alloc(100), bytes[4] = {1, 2, 3, 4};

    (void)state;
    assert_non_null(secret);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(secret[i], 0);
    pqb_secret_free(secret);
    pqb_secret_free(NULL);
    pqb_secret_erase(bytes, sizeof(bytes));
    assert_memory_equal(bytes, "\0\0\0", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mac1_is_what_the_protocol_says),
        cmocka_unit_test(mac1_tells_which_key_the_client_has),
        cmocka_unit_test(every_bit_of_mac1_and_of_what_it_covers_counts),
        cmocka_unit_test(a_public_key_has_a_short_name),
        cmocka_unit_test(the_prologue_holds_the_header_and_the_ticket),
        cmocka_unit_test(secret_memory_begins_empty_and_none_may_be_freed),
    };

    return cmocka_run_group_tests_name("server_keys", tests, set_up, NULL);
}
