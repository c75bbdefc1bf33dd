// Tickets: what they bring back, and who else can make one, read one, or use one too late.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/proto/aead.h"
#include "common/proto/ticket.h"

#define NOW UINT64_C(1767225600000) // 2026-01-01

static struct pqb_secret_rng rng;

static int set_up(void **state)
{
    const uint8_t seed[PQB_SECRET_SEED_LEN] = {7};

    (void)state;
    pqb_secret_rng_init(&rng, seed);
    return pqb_aead_init();
}

static struct pqb_ticket_keys make_keys(size_t count)
{
    struct pqb_ticket_keys keys = {.count = count};

    for (size_t i = 0; i < count; i++) {
        keys.at[i].id = (uint8_t)(100 - i);
        memset(keys.at[i].key, (int)(100 - i), PQB_KEY_LEN);
    }
    return keys;
}

static struct pqb_ticket make_ticket(const char *user, const char *device)
{
    struct pqb_ticket t = {.user_len = (uint8_t)strlen(user),
                           .device_len = (uint8_t)strlen(device),
                           .until = NOW + PQB_TICKET_VALID_MS,
                           .grant.expires_ms = UINT64_MAX};

    memcpy(t.user, user, t.user_len);
    memcpy(t.device, device, t.device_len);
    memset(t.psk, 0x11, sizeof(t.psk));
    memset(t.grant.source, 0x22, sizeof(t.grant.source));
    memset(t.grant.key_id, 0x33, sizeof(t.grant.key_id));
    return t;
}

static void a_ticket_brings_back_what_was_sealed(void **state)
{
    static const char *const names[] = {
        "a", "alice", "0123456789012345678901234567890123456789012345678901234567890123"};
    const struct pqb_ticket_keys keys = make_keys(1);

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(names); i++) {
        const struct pqb_ticket t = make_ticket(names[i], "phone");
        struct pqb_ticket found = {.user_len = 0};
        uint8_t ticket[PQB_TICKET_LEN];

        pqb_ticket_seal(&keys, &t, &rng, ticket);
        assert_true(pqb_ticket_open(&keys, ticket, NOW, &found));
        assert_memory_equal(&found, &t, sizeof(t));
    }
}

static void the_longest_names_fit(void **state)
{
    const struct pqb_ticket_keys keys = make_keys(1);
    struct pqb_ticket t = make_ticket("x", "x"), found;
    uint8_t ticket[PQB_TICKET_LEN];

    (void)state;
    memset(t.user, 'u', sizeof(t.user));
    memset(t.device, 'd', sizeof(t.device));
    t.user_len = PQB_USER_MAX;
    t.device_len = PQB_DEVICE_MAX;
    pqb_ticket_seal(&keys, &t, &rng, ticket);
    assert_true(pqb_ticket_open(&keys, ticket, NOW, &found));
    assert_int_equal(found.user_len, PQB_USER_MAX);
    assert_int_equal(found.device_len, PQB_DEVICE_MAX);
}

static void a_ticket_tells_nobody_whose_it_is(void **state)
{
    const struct pqb_ticket_keys keys = make_keys(1);
    const struct pqb_ticket t = make_ticket("alice", "phone");
    uint8_t first[PQB_TICKET_LEN], second[PQB_TICKET_LEN];

    (void)state;
    pqb_ticket_seal(&keys, &t, &rng, first);
    pqb_ticket_seal(&keys, &t, &rng, second);
    assert_int_equal(first[0], second[0]); // the key's name
    assert_memory_not_equal(first + 1, second + 1, 24);
    assert_memory_not_equal(first + 25, second + 25, PQB_TICKET_LEN - 25);
    assert_null(memmem(first, sizeof(first), "alice", 5));
    assert_null(memmem(first, sizeof(first), t.psk, 8));
}

static void a_flipped_bit_anywhere_is_refused(void **state)
{
    const struct pqb_ticket_keys keys = make_keys(3);
    const struct pqb_ticket t = make_ticket("alice", "phone");
    struct pqb_ticket found;
    uint8_t ticket[PQB_TICKET_LEN];

    (void)state;
    pqb_ticket_seal(&keys, &t, &rng, ticket);
    for (size_t bit = 0; bit < 8 * sizeof(ticket); bit++) {
        ticket[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(pqb_ticket_open(&keys, ticket, NOW, &found));
        ticket[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(pqb_ticket_open(&keys, ticket, NOW, &found));
}

static void a_ticket_ends_by_its_own_time_or_its_grounds(void **state)
{
    const struct pqb_ticket_keys keys = make_keys(1);
    struct pqb_ticket t = make_ticket("alice", "phone"), found;
    uint8_t ticket[PQB_TICKET_LEN];

    (void)state;
    assert_int_equal(PQB_TICKET_VALID_MS, 604800000);
    pqb_ticket_seal(&keys, &t, &rng, ticket);
    assert_true(pqb_ticket_open(&keys, ticket, t.until - 1, &found));
    assert_false(pqb_ticket_open(&keys, ticket, t.until, &found));
    // One that says to be good for longer than tickets are was not made by this program.
    assert_true(pqb_ticket_open(&keys, ticket, t.until - PQB_TICKET_VALID_MS, &found));
    assert_false(pqb_ticket_open(&keys, ticket, t.until - PQB_TICKET_VALID_MS - 1, &found));
    t.grant.expires_ms = NOW + 500;
    pqb_ticket_seal(&keys, &t, &rng, ticket);
    assert_true(pqb_ticket_open(&keys, ticket, NOW + 499, &found));
    assert_false(pqb_ticket_open(&keys, ticket, NOW + 500, &found));
}

static void the_first_key_seals_and_all_open(void **state)
{
    const struct pqb_ticket_keys all = make_keys(PQB_TICKET_KEYS_MAX);
    const struct pqb_ticket t = make_ticket("alice", "phone");
    struct pqb_ticket found;
    uint8_t ticket[PQB_TICKET_LEN];

    (void)state;
    for (size_t i = 0; i < PQB_TICKET_KEYS_MAX; i++) {
        struct pqb_ticket_keys one = {.count = 1, .at = {all.at[i]}}, others = all;

        pqb_ticket_seal(&one, &t, &rng, ticket);
        assert_int_equal(ticket[0], all.at[i].id);
        assert_true(pqb_ticket_open(&all, ticket, NOW, &found));
        others.at[i] = others.at[--others.count];
        assert_false(pqb_ticket_open(&others, ticket, NOW, &found)); // its key is gone
    }
    pqb_ticket_seal(&all, &t, &rng, ticket);
    assert_int_equal(ticket[0], all.at[0].id);
}

static void two_keys_of_one_name_do_not_hide_each_other(void **state)
{
    struct pqb_ticket_keys keys = make_keys(2), second;
    const struct pqb_ticket t = make_ticket("alice", "phone");
    struct pqb_ticket found;
    uint8_t ticket[PQB_TICKET_LEN];

    (void)state;
    keys.at[1].id = keys.at[0].id;
    second = (struct pqb_ticket_keys){.count = 1, .at = {keys.at[1]}};
    pqb_ticket_seal(&second, &t, &rng, ticket);
    assert_true(pqb_ticket_open(&keys, ticket, NOW, &found));
}

static void without_keys_none_opens(void **state)
{
    const struct pqb_ticket_keys keys = make_keys(1), none = {.count = 0};
    const struct pqb_ticket t = make_ticket("alice", "phone");
    struct pqb_ticket found;
    uint8_t ticket[PQB_TICKET_LEN];

    (void)state;
    pqb_ticket_seal(&keys, &t, &rng, ticket);
    assert_false(pqb_ticket_open(&none, ticket, NOW, &found));
}

static void names_that_are_none_any_more_are_refused(void **state)
{
    static const char *const bad[] = {"", "\x01", "\xff", "a\nb", "\xc2\x85"};
    const struct pqb_ticket_keys keys = make_keys(1);
    struct pqb_ticket found;
    uint8_t ticket[PQB_TICKET_LEN];

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(bad); i++) {
        struct pqb_ticket t = make_ticket(bad[i], "phone");

        pqb_ticket_seal(&keys, &t, &rng, ticket);
        assert_false(pqb_ticket_open(&keys, ticket, NOW, &found));
        t = make_ticket("alice", bad[i]);
        pqb_ticket_seal(&keys, &t, &rng, ticket);
        assert_false(pqb_ticket_open(&keys, ticket, NOW, &found));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ticket_brings_back_what_was_sealed),
        cmocka_unit_test(the_longest_names_fit),
        cmocka_unit_test(a_ticket_tells_nobody_whose_it_is),
        cmocka_unit_test(a_flipped_bit_anywhere_is_refused),
        cmocka_unit_test(a_ticket_ends_by_its_own_time_or_its_grounds),
        cmocka_unit_test(the_first_key_seals_and_all_open),
        cmocka_unit_test(two_keys_of_one_name_do_not_hide_each_other),
        cmocka_unit_test(without_keys_none_opens),
        cmocka_unit_test(names_that_are_none_any_more_are_refused),
    };

    return cmocka_run_group_tests_name("ticket", tests, set_up, NULL);
}
