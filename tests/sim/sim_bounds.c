// P6: every table, queue and buffer of the gateway within its stated bound at any time, and nothing
// held for anybody once all have left. The bounds are those of gateway/ARCHITECTURE.md.
#include <inttypes.h>
#include <stdlib.h>

#include "tests/sim/sim_adversary.h"
#include "tests/sim/sim_gateway.h"
#include "tests/sim/sim_history.h"

#define SESSION_MAX   (80u << 10) // one session with ring, outbox and reassemblies at their fullest
#define HALF_OPEN_MAX 4096u       // one login under way, what is kept for it not counted
#define HELD_MAX      64u         // messages of a session held for `after`
#define TABLES_MAX    (64u << 10)
#define INDEX_ENTRY   32u // 16 bytes, in an array that has doubled
#define REQUEST_MAX   256u

static void check(struct sim_gateway *g, const char *what, uint64_t is, uint64_t bound)
{
    if (is > bound)
        sim_oracle_fail(g->oracle, "P6 %s: %" PRIu64 ", bound %" PRIu64, what, is, bound);
}

static void check_shard(struct sim_gateway *g, const struct sim_shard *shard, size_t sessions_max)
{
    const struct sim_plan *plan = g->plan;
    struct pqb_engine_config config;
    const uint64_t requests_max = (uint64_t)plan->requests_max + HELD_MAX * sessions_max;
    const uint64_t *counters = shard->counters;

    pqb_engine_config_default(&config);
    check(g, "sessions", counters[PQB_COUNTER_SESSION_CURRENT], sessions_max);
    check(g, "half-open logins", counters[PQB_COUNTER_SESSION_HALF_OPEN],
          (uint64_t)plan->half_open_max);
    check(g, "requests", counters[PQB_COUNTER_REQUEST_OUTSTANDING], requests_max);
    check(g, "bytes of requests", counters[PQB_COUNTER_REQUEST_BYTES], config.request_bytes_max);
    // A shard lets go of what left the journal in its next turn.
    check(g, "index entries", counters[PQB_COUNTER_INDEX_ENTRIES], g->journal_records_max);
    check(g, "bytes of an engine", pqb_engine_memory(shard->engine),
          TABLES_MAX + config.reassembly_bytes_max + sessions_max * SESSION_MAX +
              (uint64_t)plan->half_open_max * HALF_OPEN_MAX + requests_max * REQUEST_MAX +
              g->journal_records_max * INDEX_ENTRY);
    check(g, "letters", shard->mail_count, shard->mail_max);
}

static bool note_session(void *ctx, const struct pqb_session_info *info)
{
    struct sim_gateway *g = ctx;

    sim_history_on_session(g->oracle, (uint32_t)strtoul(info->device + 1, NULL, 10), g->now);
    return true;
}

// It does not outlive its keys, nor what let it in as long as the wall clock goes as it should, and
// it is where its client is.
static bool check_sealed(void *ctx, const struct pqb_session_info *info)
{
    struct sim_gateway *g = ctx;
    const struct sim_plan *plan = g->plan;
    double max_s = plan->session_max_s;

    if (plan->token_s > 0 && plan->clock_every_s <= 0)
        max_s = PQB_MIN(max_s, plan->token_s);
    if (g->has_faults && (double)info->age > max_s * 1e9 + 1e6)
        sim_oracle_fail(g->oracle, "a session of %s is %.3f s old", info->device,
                        (double)info->age / 1e9);
    if (!g->adversary->has_relayed && pqb_addr_is_equal(&info->addr, &g->adversary->addr))
        sim_oracle_fail(g->oracle, "the session of %s is with the adversary", info->device);
    return true;
}

void sim_gateway_check_bounds(struct sim_gateway *g, size_t sessions_max)
{
    struct pqb_store_stats store;

    if (!g->store)
        return;
    pqb_store_get_stats(g->store, &store);
    check(g, "requests in the writer's queue", store.queue_len,
          (uint64_t)g->plan->requests_max * g->shards_count);
    check(g, "bytes of the map", store.map_used_bytes, store.map_bytes);
    check(g, "devices in the writer's memory", store.devices_cached, SIM_DEVICES_MAX);
    check(g, "users in the writer's memory", store.users_cached, SIM_USERS_MAX);
    for (uint32_t i = 0; i < g->shards_count; i++) {
        check_shard(g, &g->shards[i], sessions_max);
        if (g->oracle->has_lost)
            pqb_engine_each_session(g->shards[i].engine, note_session, g, g->now);
        if (g->wire)
            pqb_engine_each_session(g->shards[i].engine, check_sealed, g, g->now);
    }
}

void sim_gateway_check_idle(struct sim_gateway *g)
{
    struct pqb_store_stats store;

    if (!g->store)
        return;
    pqb_store_get_stats(g->store, &store);
    check(g, "requests queued when idle", store.queue_len, 0);
    for (uint32_t i = 0; i < g->shards_count; i++) {
        const struct sim_shard *shard = &g->shards[i];
        const uint64_t *counters = shard->counters;

        check(g, "sessions when idle", counters[PQB_COUNTER_SESSION_CURRENT], 0);
        check(g, "half-open logins when idle", counters[PQB_COUNTER_SESSION_HALF_OPEN], 0);
        check(g, "requests when idle", counters[PQB_COUNTER_REQUEST_OUTSTANDING], 0);
        check(g, "bytes of requests when idle", counters[PQB_COUNTER_REQUEST_BYTES], 0);
        check(g, "index entries when idle", counters[PQB_COUNTER_INDEX_ENTRIES],
              store.journal_records);
        check(g, "letters when idle", shard->mail_count, 0);
        if (pqb_engine_next_deadline(shard->engine) != PQB_NEVER)
            sim_oracle_fail(g->oracle, "P6 a timer runs when idle");
    }
}
