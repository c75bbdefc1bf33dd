// Encrypted logins at more than one shard: one opens them, the user's has them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/proto/server_keys.h"
#include "storage/store.h"
#include "tests/unit/engine_fixture.h"
#include "tools/pqbsim/sealed.h"

#define HALF_OPEN_MAX 8 // of a shard

static struct pqb_server_keys keys;
static struct sealed_gateway strangers;

static int begin(void **state)
{
    static const uint8_t secret[PQB_KEY_LEN] = {7};
    struct pqb_rng rng;
    struct gate *g;

    if (gate_begin_two_shards(state) != 0 || pqb_aead_init() != PQB_OK)
        return -1;
    g = *state;
    keys = (struct pqb_server_keys){.ciphers = PQB_CIPHERS_CHACHAPOLY};
    pqb_server_keys_add(&keys, secret);
    keys.tickets.count = 1;
    g->config.keys = &keys;
    g->config.half_open_max = HALF_OPEN_MAX;
    gate_open(g);
    pqb_rng_init_seed(&rng, 1);
    return sealed_gateway_init(&strangers, keys.at[0].pair.public, &rng) == PQB_OK ? 0 : -1;
}

static int end(void **state)
{
    sealed_gateway_fini(&strangers);
    return gate_end(state);
}

// The INIT of a new user of shard 1, from an address of its own, comes to shard 0.
static void ask(struct gate *g, uint16_t port, const uint8_t *cookie)
{
    const struct pqb_addr from = {.ip = {127, 0, 0, 1}, .port = port, .family = 4};
    struct pqb_init init = {.init_id = port,
                            .device = {"phone", 5},
                            .cookie = cookie,
                            .cookie_len = cookie != NULL ? PQB_COOKIE_LEN : 0};
    struct sealed s = {.hello_id = 0};
    uint8_t data[PQB_DATAGRAM_MAX];
    char user[32];
    unsigned n = port * 1000U;

    do {
        init.user.data = user;
        init.user.len = (size_t)snprintf(user, sizeof(user), "user%u", n++);
    } while (pqb_store_user_hash(g->store.s, user, init.user.len) % 2 != 1);
    pqb_engine_on_datagram(g->engines[0], &from, data, sealed_init(&strangers, &s, &init, data),
                           g->store.now);
    gate_settle(g);
}

static bool find_cookie(const struct gate *g, uint16_t port, struct pqb_retry *out)
{
    for (size_t i = 0; i < g->sent_count; i++) {
        if (g->sent[i].to.port == port &&
            pqb_retry_decode(g->sent[i].data, g->sent[i].len, out) == PQB_VERDICT_OK)
            return true;
    }
    return false;
}

static void who_brings_no_cookie_never_fills_the_logins_of_another_shard(void **state)
{
    const uint16_t last = 3 * HALF_OPEN_MAX;
    struct gate *g = *state;
    struct pqb_retry retry;

    for (uint16_t port = 1; port <= last; port++)
        ask(g, port, NULL);
    assert_int_equal(g->counters[1][PQB_COUNTER_SESSION_HALF_OPEN], HALF_OPEN_MAX / 2);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_RETRY), last - HALF_OPEN_MAX / 2);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_BUSY_HALF_OPEN), 0);
    assert_true(find_cookie(g, last, &retry));
    ask(g, last, retry.cookie);
    assert_int_equal(g->counters[1][PQB_COUNTER_SESSION_HALF_OPEN], HALF_OPEN_MAX / 2 + 1);
    assert_int_equal(gate_count(g, PQB_COUNTER_LOGIN_COOKIE_BAD), 0);
    assert_int_equal(gate_count(g, PQB_COUNTER_MAIL_BAD), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            who_brings_no_cookie_never_fills_the_logins_of_another_shard, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
