#include "tests/sim/sim_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/proto/aead.h"
#include "tests/sim/sim_faults.h"
#include "tests/sim/sim_wire.h"

#define TICKET_KEYS_KEPT 3

static const uint8_t issuer[PQB_ID_LEN] = {'i', 's', 's', 'u', 'e', 'r'};

// The other set is made of what there is now, and becomes the present one.
static void make_set(struct sim_keys *k, const struct pqb_ticket_keys *tickets)
{
    struct pqb_server_keys *set = &k->sets[1 - k->at];

    *set = (struct pqb_server_keys){.tickets = *tickets};
    for (size_t i = 0; i < k->secrets_count; i++)
        pqb_server_keys_add(set, k->secrets[i]);
    set->ciphers = k->plan->aes > 0 ? pqb_aead_ciphers() : PQB_CIPHERS_CHACHAPOLY;
    memcpy(k->public, set->at[0].pair.public, PQB_KEY_LEN);
    k->at = 1 - k->at;
}

void sim_keys_init(struct sim_keys *k, const struct sim_plan *plan, struct sim_oracle *oracle,
                   struct sim_events *events)
{
    struct pqb_rng rng;

    PQB_ASSERT(pqb_aead_init() == PQB_OK);
    *k = (struct sim_keys){.plan = plan, .oracle = oracle, .events = events};
    pqb_rng_init_seed(&rng, plan->seed ^ UINT64_C(0x6b657973));
    sim_keys_add_server(k, &rng);
    sim_keys_add_ticket(k, &rng, true);
}

const struct pqb_server_keys *sim_keys_get(const struct sim_keys *k)
{
    return &k->sets[k->at];
}

void sim_keys_add_server(struct sim_keys *k, struct pqb_rng *rng)
{
    memcpy(k->secrets[1], k->secrets[0], PQB_KEY_LEN);
    pqb_rng_fill(rng, k->secrets[0], PQB_KEY_LEN);
    k->secrets_count = PQB_MIN(k->secrets_count + 1, (size_t)PQB_SERVER_KEYS_MAX);
    make_set(k, &sim_keys_get(k)->tickets);
}

void sim_keys_add_ticket(struct sim_keys *k, struct pqb_rng *rng, bool loses_others)
{
    const struct pqb_ticket_keys *old = &sim_keys_get(k)->tickets;
    struct pqb_ticket_keys keys = {.count = 1};

    keys.at[0].id = (uint8_t)(old->at[0].id + 1);
    pqb_rng_fill(rng, keys.at[0].key, PQB_KEY_LEN);
    for (size_t i = 0; i < old->count && !loses_others && keys.count < TICKET_KEYS_KEPT; i++)
        keys.at[keys.count++] = old->at[i];
    make_set(k, &keys);
}

void sim_keys_device(const struct sim_plan *plan, uint32_t device, uint8_t secret[PQB_KEY_LEN])
{
    struct pqb_rng rng;

    pqb_rng_init_seed(&rng, plan->seed ^ UINT64_C(0x646576) ^ (uint64_t)device << 32);
    pqb_rng_fill(&rng, secret, PQB_KEY_LEN);
}

void sim_keys_token(uint32_t device, char *out, size_t size)
{
    snprintf(out, size, "ticket for d%u" SIM_NAME_TAIL, device);
}

static uint32_t number_of(const struct pqb_text *device)
{
    char text[PQB_DEVICE_MAX + 1] = "";

    memcpy(text, device->data, PQB_MIN(device->len, sizeof(text) - 1));
    return text[0] == 'd' ? (uint32_t)strtoul(text + 1, NULL, 10) : UINT32_MAX;
}

// The device's public key; NULL: there is no such device.
static const uint8_t *key_of(struct sim_keys *k, const struct pqb_text *device)
{
    const uint32_t n = number_of(device);
    struct pqb_noise_keypair pair;

    if (n >= k->oracle->devices_count)
        return NULL;
    if (!k->is_known[n]) {
        sim_keys_device(k->plan, n, pair.secret);
        pqb_noise_keypair_complete(&pair);
        memcpy(k->devices[n], pair.public, PQB_KEY_LEN);
        k->is_known[n] = true;
    }
    return k->devices[n];
}

bool sim_keys_may_login(struct sim_keys *k, const struct pqb_credentials *c, pqb_wall_ms wall,
                        struct pqb_grant *out)
{
    const uint8_t *key = key_of(k, &c->device);
    char token[48];

    sim_keys_token(number_of(&c->device), token, sizeof(token));
    if (!key || !c->device_key || memcmp(c->device_key, key, PQB_KEY_LEN) != 0 ||
        c->token.len != strlen(token) || memcmp(c->token.data, token, c->token.len) != 0) {
        sim_oracle_fail(k->oracle, "a login comes with another key or token than its device has");
        return false;
    }
    *out = (struct pqb_grant){.expires_ms = UINT64_MAX};
    if (k->plan->token_s > 0 && !k->is_settling)
        out->expires_ms = wall + (pqb_wall_ms)(k->plan->token_s * 1000);
    memcpy(out->source, issuer, sizeof(out->source));
    pqb_id_make(c->device_key, PQB_KEY_LEN, out->key_id);
    return true;
}

bool sim_keys_may_stay(struct sim_keys *k, const struct pqb_text *device,
                       const struct pqb_grant *grant, pqb_tstamp now)
{
    const uint8_t *key = key_of(k, device);
    uint8_t id[PQB_ID_LEN] = {0};
    struct pqb_rng rng;
    uint32_t number;

    if (key)
        pqb_id_make(key, PQB_KEY_LEN, id);
    if (!key || memcmp(id, grant->key_id, sizeof(id)) != 0 ||
        memcmp(issuer, grant->source, sizeof(issuer)) != 0)
        sim_oracle_fail(k->oracle, "the gateway has another ground for a login than it was given");
    number = sim_events_next(k->events, SIM_KIND_UNWELCOME, 0, &rng);
    if (k->is_settling || pqb_rng_unit(&rng) >= k->plan->unwelcome ||
        !sim_events_may(k->events, SIM_KIND_UNWELCOME, 0, number, now))
        return true;
    sim_fault_fired(SIM_FAULT_unwelcome, 1);
    k->has_said_no = true;
    return false;
}
