// The keys of an encrypted run: the gateway's and what becomes of them, the devices', and who is
// let in with which.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/rng.h"
#include "common/base/time.h"
#include "common/proto/server_keys.h"
#include "gateway/core/credentials.h"
#include "tests/sim/sim_events.h"
#include "tests/sim/sim_oracle.h"
#include "tests/sim/sim_plan.h"

struct sim_keys {
    const struct sim_plan *plan;
    struct sim_oracle *oracle;
    struct sim_events *events;
    struct pqb_server_keys sets[2]; // engines may look into the last one until they have the next
    unsigned at;
    uint8_t secrets[PQB_SERVER_KEYS_MAX][PQB_KEY_LEN]; // newest first
    size_t secrets_count;
    uint8_t public[PQB_KEY_LEN];                   // of the newest
    uint8_t devices[SIM_DEVICES_MAX][PQB_KEY_LEN]; // public
    bool is_known[SIM_DEVICES_MAX];
    bool is_settling; // nobody is turned away or outlives his welcome any more
    bool has_said_no; // since this was last cleared, by the gateway
};

// Only of an encrypted plan.
void sim_keys_init(struct sim_keys *k, const struct sim_plan *plan, struct sim_oracle *oracle,
                   struct sim_events *events);

// The present ones.
const struct pqb_server_keys *sim_keys_get(const struct sim_keys *k);

void sim_keys_add_server(struct sim_keys *k, struct pqb_rng *rng); // the oldest of two goes
void sim_keys_add_ticket(struct sim_keys *k, struct pqb_rng *rng, bool loses_others);

// A device's key and token, always the same.
void sim_keys_device(const struct sim_plan *plan, uint32_t device, uint8_t secret[PQB_KEY_LEN]);
void sim_keys_token(uint32_t device, char *out, size_t size);

// As the engine asks.
bool sim_keys_may_login(struct sim_keys *k, const struct pqb_credentials *c, pqb_wall_ms wall,
                        struct pqb_grant *out);
bool sim_keys_may_stay(struct sim_keys *k, const struct pqb_text *device,
                       const struct pqb_grant *grant, pqb_tstamp now);
