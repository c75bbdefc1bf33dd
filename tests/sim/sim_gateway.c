#include "tests/sim/sim_gateway.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "storage/failpoints.h"
#include "tests/sim/sim_adversary.h"
#include "tests/sim/sim_faults.h"
#include "tests/sim/sim_history.h"
#include "tests/sim/sim_trace.h"

#define DAY_MS         UINT64_C(86400000)
#define MAIL_DELAY_NS  (20 * PQB_NS_PER_US)
#define WALL_AT_ZERO   UINT64_C(1800000000000) // ms; some day in 2027
#define ASYNC_DELAY_NS (100 * PQB_NS_PER_MS)   // what async may lose
#define STEPS_PER_FAIL 12                      // a fault hits one of the next so many steps
#define SHARE_FATAL    0.2 // of failures of the disk: an error, not want of space
#define LOGIN_TURNS    32  // in which an engine makes all handshakes that wait

static pqb_wall_ms wall_at(const struct sim_gateway *g, pqb_tstamp now)
{
    return (pqb_wall_ms)((int64_t)(WALL_AT_ZERO + now / PQB_NS_PER_MS) + g->wall_shift_ms);
}

// A commit takes up to this.
static pqb_duration commit_ns_max(const struct sim_gateway *g)
{
    const double ms = g->now < g->disk_slow_until ? g->plan->disk_slow_ms : g->plan->commit_ms;

    return (pqb_duration)(PQB_MAX(ms, g->plan->commit_ms) * 1e6);
}

// What async had answered so long before a death is committed: its delay, and two commits, each as
// long as the disk was slow when it began.
static pqb_duration async_window(const struct sim_gateway *g)
{
    const pqb_duration slow = (pqb_duration)(g->plan->disk_slow_ms * 1e6);
    const bool was_slow = g->now < g->disk_slow_until + 2 * slow;

    return ASYNC_DELAY_NS + 2 * PQB_MAX(commit_ns_max(g), was_slow ? slow : 0);
}

// The store's clock goes on with monotonic time; only a start may set it, and only to a wall clock
// that is at most a day ahead.
static void check_clock(struct sim_gateway *g, bool is_start)
{
    const pqb_wall_ms clock = sim_journal_clock(g->store);
    const pqb_wall_ms passed = g->clock_ms + (g->now - g->clock_at) / PQB_NS_PER_MS + 1;
    const pqb_wall_ms believed = is_start ? PQB_MIN(g->start_wall, passed + DAY_MS) : 0;

    if (g->clock_ms != 0 && clock > PQB_MAX(passed, believed))
        sim_oracle_fail(g->oracle, "P5 the store's clock jumps by %.3f s",
                        (double)(clock - passed) / 1000);
    g->clock_ms = clock;
    g->start_wall = 0;
    g->clock_at = g->now;
    g->oracle->clock_ms = clock;
    // Age counts from the decision; async leaves a batch open for others to join.
    g->oracle->decided_ms =
        g->plan->async > 0 ? (async_window(g) + PQB_NS_PER_MS - 1) / PQB_NS_PER_MS : 0;
}

static bool chance(struct sim_gateway *g, double share)
{
    return share > 0 && pqb_rng_unit(g->rng) < share;
}

// ----------------------------------------------------------------------------- what engines ask of

static bool env_post(void *ctx, uint32_t shard, const void *mail, size_t len)
{
    struct sim_shard *from = ctx;
    struct sim_gateway *g = from->gateway;
    struct sim_shard *to = &g->shards[shard];

    PQB_ASSERT(shard < g->shards_count && len <= PQB_MAIL_MAX);
    if (to->mail_count == to->mail_max) {
        g->mail_lost++;
        return false;
    }
    to->mailbox[to->mail_count].len = len;
    memcpy(to->mailbox[to->mail_count].data, mail, len);
    to->mail_count++;
    to->wake_at = PQB_MIN(to->wake_at, g->now + MAIL_DELAY_NS);
    return true;
}

static bool env_may_login(void *ctx, const struct pqb_credentials *c, struct pqb_grant *out)
{
    struct sim_shard *shard = ctx;
    struct sim_gateway *g = shard->gateway;

    if (g->plan->encrypted > 0)
        return sim_keys_may_login(&g->keys, c, wall_at(g, g->now), out);
    *out = (struct pqb_grant){.expires_ms = UINT64_MAX};
    return true;
}

static bool env_may_stay(void *ctx, const struct pqb_text *user, const struct pqb_text *device,
                         const struct pqb_grant *grant)
{
    struct sim_shard *shard = ctx;
    struct sim_gateway *g = shard->gateway;

    (void)user;
    return g->plan->encrypted <= 0 || sim_keys_may_stay(&g->keys, device, grant, g->now);
}

static void env_log(void *ctx, int level, const char *line)
{
    struct sim_shard *shard = ctx;

    (void)level;
    if (sim_trace_is_on())
        sim_trace(shard->gateway->now, "gateway says: %s", line);
}

static pqb_wall_ms env_wall(void *ctx)
{
    struct sim_shard *shard = ctx;

    return wall_at(shard->gateway, shard->gateway->now);
}

static void on_wake(void *ctx, uint32_t shard)
{
    struct sim_gateway *g = ctx;

    PQB_ASSERT(shard < g->shards_count);
    g->shards[shard].wake_at = PQB_MIN(g->shards[shard].wake_at, g->now);
}

static bool may_only_die(const char *step)
{
    return pqb_failpoint_find(step)->kind == PQB_FAILPOINT_DEATH;
}

static bool begins_with(const char *step, const char *group)
{
    return strncmp(step, group, strlen(group)) == 0;
}

static void count_death(const char *step)
{
    static const char *const commits[] = {"batch.commit", "checkpoint.expire", "checkpoint.users",
                                          "checkpoint.drop"};

    for (size_t i = 0; i < PQB_ARRAY_LEN(commits); i++)
        sim_fault_fired(SIM_FAULT_sync_error, strcmp(step, commits[i]) == 0);
    if (begins_with(step, "recovery."))
        sim_fault_fired(SIM_FAULT_crash_in_recovery, 1);
    else if (begins_with(step, "close."))
        sim_fault_fired(SIM_FAULT_crash_at_close, 1);
    else if (begins_with(step, "checkpoint.") || begins_with(step, "retention."))
        sim_fault_fired(SIM_FAULT_crash_in_checkpoint, 1);
    else
        sim_fault_fired(SIM_FAULT_crash_in_batch, 1);
}

// ENOSPC makes the writer give its batch back and go on; EIO is the end of the process.
static int on_failpoint(void *ctx, const char *step)
{
    struct sim_gateway *g = ctx;

    if (g->is_backing_up)
        return 0;
    if (g->is_failing && g->is_crash_at_failure)
        return EIO;
    if (g->fail_countdown > 0 && --g->fail_countdown == 0) {
        const bool is_fatal = g->is_crash_at_failure || chance(g, SHARE_FATAL);

        if (is_fatal || !may_only_die(step)) {
            g->is_failing = true;
            g->is_crash_at_failure = is_fatal;
            g->failures++;
            if (is_fatal)
                count_death(step);
            else
                sim_fault_fired(SIM_FAULT_abort, 1);
            sim_trace(g->now, "the writer %s at %s", is_fatal ? "dies" : "finds no space", step);
            return is_fatal ? EIO : ENOSPC;
        }
    }
    return g->now < g->disk_full_until && !may_only_die(step) ? ENOSPC : 0;
}

// --------------------------------------------------------------------------------- up and down

static void make_directory(struct sim_gateway *g)
{
    const char *base = getenv("TMPDIR");

    if (!base)
        base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(g->path, sizeof(g->path), "%s/pqb-sim-XXXXXX", base);
    PQB_ASSERT(mkdtemp(g->path));
}

void sim_gateway_remove_directory(const char *path)
{
    static const char *const files[] = {"data.mdb", "lock.mdb", "LOCK"};
    char file[160];

    for (size_t i = 0; i < PQB_ARRAY_LEN(files); i++) {
        snprintf(file, sizeof(file), "%s/%s", path, files[i]);
        unlink(file);
    }
    rmdir(path);
}

void sim_gateway_init(struct sim_gateway *g, const struct sim_plan *plan, struct sim_net *net,
                      struct sim_oracle *oracle, struct sim_events *events, struct pqb_rng *rng)
{
    *g = (struct sim_gateway){.plan = plan,
                              .net = net,
                              .oracle = oracle,
                              .events = events,
                              .rng = rng,
                              .shards_count = (uint32_t)plan->shards,
                              .step_at = PQB_NEVER,
                              .start_at = PQB_NEVER,
                              .close_at = PQB_NEVER,
                              .die_at = PQB_NEVER,
                              .has_faults = true};
    PQB_ASSERT(g->shards_count >= 1 && g->shards_count <= SIM_SHARDS_MAX);
    for (uint32_t i = 0; i < g->shards_count; i++) {
        g->shards[i].gateway = g;
        g->shards[i].mail_max = (size_t)plan->mailbox;
        g->shards[i].mailbox = calloc(g->shards[i].mail_max, sizeof(struct sim_mail));
        PQB_ASSERT(g->shards[i].mailbox);
    }
    (void)sim_events_next(events, SIM_KIND_GATEWAY_START, 0, g->rng);
    pqb_rng_fill(g->rng, g->secret, sizeof(g->secret));
    if (plan->encrypted > 0)
        sim_keys_init(&g->keys, plan, oracle, events);
    make_directory(g);
}

static void store_config(struct sim_gateway *g, struct pqb_store_config *config)
{
    const struct sim_plan *plan = g->plan;

    pqb_store_config_default(config);
    config->path = g->path;
    config->map_bytes = (size_t)plan->map_mb << 20;
    config->shards = g->shards_count;
    config->requests_max = (uint32_t)plan->requests_max;
    config->is_sync_off = true;
    config->journal_checkpoint_bytes = (uint64_t)(plan->checkpoint_kb * 1024);
    config->journal_checkpoint_ns = (pqb_duration)(plan->checkpoint_s * 1e9);
    config->batch_bytes_max = (uint32_t)(plan->batch_kb * 1024);
    config->inbox_messages_max = (uint64_t)plan->quota_messages;
    config->durability = plan->async > 0 ? PQB_DURABILITY_ASYNC : PQB_DURABILITY_COMMIT;
    if (plan->retention_s > 0)
        config->retention_ms = (uint64_t)(plan->retention_s * 1000);
    config->retention_messages = (uint64_t)plan->retention_messages;
    config->retention_bytes = (uint64_t)(plan->retention_kb * 1024);
    config->wake = on_wake;
    config->failpoint = on_failpoint;
    config->secret = g->secret;
    config->ctx = g;
}

static void engine_config(struct sim_gateway *g, uint32_t shard, struct pqb_engine_config *config)
{
    const struct sim_plan *plan = g->plan;

    pqb_engine_config_default(config);
    config->shard = shard;
    config->shards = g->shards_count;
    config->half_open_max = (uint32_t)plan->half_open_max;
    config->retry = plan->retry_always > 0 ? PQB_RETRY_ALWAYS : PQB_RETRY_UNDER_LOAD;
    config->idle_ns = (pqb_duration)(plan->idle_s * 1e9);
    config->body_max = (uint32_t)plan->body_max;
    config->push_max = (uint32_t)plan->push_max;
    config->rate = (uint32_t)plan->rate;
    config->rate_burst = (uint32_t)plan->rate * 4;
    if (plan->encrypted > 0) {
        config->keys = sim_keys_get(&g->keys);
        if (g->has_faults)
            config->session_max_ns = (pqb_duration)(plan->session_max_s * 1e9);
    }
}

static void start_shard(struct sim_gateway *g, uint32_t i)
{
    struct sim_shard *shard = &g->shards[i];
    const struct pqb_engine_env env = {.ctx = shard,
                                       .post = env_post,
                                       .may_login = env_may_login,
                                       .may_stay = env_may_stay,
                                       .log = env_log,
                                       .wall = env_wall};
    struct pqb_engine_config config;
    uint8_t seed[PQB_ENGINE_SEED_LEN] = {0};

    engine_config(g, i, &config);
    pqb_rng_fill(g->rng, seed, PQB_SIPHASH_KEY_LEN);
    memcpy(seed + PQB_SIPHASH_KEY_LEN, seed, PQB_SIPHASH_KEY_LEN); // of secrets, when encrypted
    memset(shard->counters, 0, sizeof(shard->counters));
    PQB_ASSERT(pqb_engine_create(&shard->engine, &config, &env, g->store, shard->counters, seed,
                                 g->now) == PQB_OK);
    shard->wake_at = g->now;
}

static pqb_duration draw_down_time(struct sim_gateway *g)
{
    return pqb_rng_below(g->rng, (uint64_t)(g->plan->down_ms * 1e6) + 1);
}

// Opening can fail like any other step of the writer, and the process die with it.
static int open_store(struct sim_gateway *g)
{
    const uint32_t number = sim_events_next(g->events, SIM_KIND_GATEWAY_START, 0, g->rng);
    struct pqb_store_config config;
    int err;

    g->is_failing = false;
    g->is_crash_at_failure = g->has_faults &&
                             chance(g, g->now < g->storm_until ? 0.3 : g->plan->crash_again) &&
                             sim_events_may(g->events, SIM_KIND_RECRASH, 0, number, g->now);
    g->fail_countdown = g->is_crash_at_failure ? 1 + pqb_rng_below(g->rng, 4) : 0;
    store_config(g, &config);
    g->start_wall = PQB_MAX(g->start_wall, wall_at(g, g->now)); // of failed starts, too
    err = pqb_store_open(&g->store, &config, g->now, wall_at(g, g->now));
    g->fail_countdown = 0;
    return err;
}

static void note_start(struct sim_gateway *g)
{
    struct pqb_store_stats stats;

    pqb_store_get_stats(g->store, &stats);
    sim_fault_fired(SIM_FAULT_clock_doubted, stats.is_clock_doubted);
    g->journal_records_max = PQB_MAX(g->journal_records_max, stats.journal_records);
    sim_journal_open(&g->journal, g->store);
    sim_journal_read(&g->journal, g->oracle); // with the clock of before: it is of before
    check_clock(g, true);
    if (g->now < g->storm_until)
        g->die_at = g->now + pqb_rng_below(g->rng, (uint64_t)(g->plan->storm_life_ms * 1e6) + 1);
}

void sim_gateway_start(struct sim_gateway *g, pqb_tstamp now)
{
    int err;

    g->now = now;
    g->start_at = PQB_NEVER;
    err = open_store(g);
    if (err != PQB_OK) {
        g->store = NULL;
        sim_trace(now, "gateway does not start: %s", pqb_err_name(err));
        if (g->is_failing || now < g->disk_full_until)
            g->start_at = now + 1 + draw_down_time(g);
        else
            sim_oracle_fail(g->oracle, "the gateway does not start: %s", pqb_err_name(err));
        return;
    }
    sim_trace(now, "gateway starts");
    note_start(g);
    for (uint32_t i = 0; i < g->shards_count; i++)
        start_shard(g, i);
    g->is_failing = g->is_crash_at_failure = false;
    g->step_at = PQB_MAX(now, pqb_store_next_deadline(g->store));
}

static void forget_inputs(struct sim_shard *shard)
{
    for (size_t i = 0; i < shard->rx_count; i++)
        free(shard->rx[i]);
    shard->rx_count = shard->mail_count = 0;
    shard->wake_at = PQB_NEVER;
}

static void drop_engines(struct sim_gateway *g)
{
    for (uint32_t i = 0; i < g->shards_count; i++) {
        struct sim_shard *shard = &g->shards[i];

        forget_inputs(shard);
        pqb_engine_destroy(shard->engine);
        shard->engine = NULL;
        shard->must_drain = shard->must_recheck = false;
        for (size_t c = 0; c < PQB_COUNTER_COUNT; c++)
            g->totals[c] += shard->counters[c];
        memset(shard->counters, 0, sizeof(shard->counters));
    }
}

// What both kinds of end have in common.
static void end(struct sim_gateway *g, bool is_orderly)
{
    struct pqb_store_stats stats;

    drop_engines(g);
    pqb_store_get_stats(g->store, &stats);
    g->expired += stats.expired;
    sim_journal_close(&g->journal);
    if (is_orderly)
        pqb_store_close(g->store);
    else
        pqb_store_crash(g->store);
    g->store = NULL;
    g->step_at = g->close_at = g->die_at = PQB_NEVER;
}

void sim_gateway_crash(struct sim_gateway *g, pqb_duration down, pqb_tstamp now)
{
    if (!g->store)
        return;
    sim_trace(now, "gateway dies");
    sim_journal_read(&g->journal, g->oracle); // committed, but nobody was told
    end(g, false);
    sim_history_on_death(g->oracle, async_window(g), now);
    g->crashes++;
    g->start_at = now + down;
    g->fail_countdown = 0;
    g->is_crash_at_failure = g->is_failing = false;
}

void sim_gateway_crash_in_step(struct sim_gateway *g)
{
    (void)sim_events_next(g->events, SIM_KIND_CRASH_STEP, 0, g->rng);
    g->fail_countdown = 1 + pqb_rng_below(g->rng, STEPS_PER_FAIL);
    g->is_crash_at_failure = true;
}

// An orderly end: what is queued is still committed, unless the disk fails just then.
static void stop(struct sim_gateway *g)
{
    sim_trace(g->now, "gateway stops");
    if (g->has_faults && chance(g, 0.2))
        sim_gateway_crash_in_step(g);
    end(g, true);
    if (g->is_failing)
        sim_history_on_death(g->oracle, async_window(g), g->now);
    g->start_at = g->now + draw_down_time(g);
    g->fail_countdown = 0;
    g->is_crash_at_failure = g->is_failing = false;
}

void sim_gateway_restart(struct sim_gateway *g, pqb_duration grace, pqb_tstamp now)
{
    if (!g->store || g->close_at != PQB_NEVER)
        return;
    sim_trace(now, "gateway drains");
    g->now = now;
    g->close_at = now + grace;
    for (uint32_t i = 0; i < g->shards_count; i++)
        g->shards[i].must_drain = true;
    sim_gateway_wake(g, now);
}

void sim_gateway_wake(struct sim_gateway *g, pqb_tstamp now)
{
    for (uint32_t i = 0; i < g->shards_count; i++)
        g->shards[i].wake_at = now;
}

void sim_gateway_storm(struct sim_gateway *g, pqb_tstamp until, pqb_tstamp now)
{
    g->storm_until = PQB_MAX(g->storm_until, until);
    sim_gateway_crash(g, 0, now);
}

void sim_gateway_step_clock(struct sim_gateway *g, int64_t ms)
{
    g->wall_shift_ms += ms;
}

void sim_gateway_rekey(struct sim_gateway *g, pqb_tstamp now)
{
    g->now = now;
    for (uint32_t i = 0; i < g->shards_count && g->store; i++) {
        struct pqb_engine_config config;

        engine_config(g, i, &config);
        pqb_engine_reconfigure(g->shards[i].engine, &config);
    }
}

void sim_gateway_recheck(struct sim_gateway *g, pqb_tstamp now)
{
    for (uint32_t i = 0; i < g->shards_count; i++)
        g->shards[i].must_recheck = g->store != NULL;
    if (g->store)
        sim_gateway_wake(g, now);
}

void sim_gateway_slow_disk(struct sim_gateway *g, pqb_tstamp until)
{
    g->disk_slow_until = PQB_MAX(g->disk_slow_until, until);
}

void sim_gateway_fill_disk(struct sim_gateway *g, pqb_tstamp until)
{
    g->disk_full_until = PQB_MAX(g->disk_full_until, until);
}

void sim_gateway_heal(struct sim_gateway *g, pqb_tstamp now)
{
    g->has_faults = false;
    g->disk_full_until = g->disk_slow_until = g->storm_until = 0;
    g->die_at = PQB_NEVER;
    g->fail_countdown = 0;
    g->is_crash_at_failure = false;
    g->keys.is_settling = true;
    if (g->plan->encrypted > 0)
        sim_gateway_rekey(g, now); // sessions last longer now
    if (!g->store)
        g->start_at = PQB_MIN(g->start_at, now);
}

uint64_t sim_gateway_expired(const struct sim_gateway *g)
{
    struct pqb_store_stats stats = {0};

    if (g->store)
        pqb_store_get_stats(g->store, &stats);
    return g->expired + stats.expired;
}

void sim_gateway_fini(struct sim_gateway *g)
{
    if (g->store)
        end(g, true);
    for (uint32_t i = 0; i < g->shards_count; i++) {
        forget_inputs(&g->shards[i]);
        free(g->shards[i].mailbox);
    }
    sim_gateway_remove_directory(g->path);
    if (g->backup.path[0])
        sim_gateway_remove_directory(g->backup.path);
}

// ----------------------------------------------------------------------------------------- turns

void sim_gateway_on_packet(struct sim_gateway *g, const struct sim_packet *packet, pqb_tstamp now)
{
    struct sim_shard *shard;
    int by_cid;

    if (!g->store)
        return; // nobody listens
    by_cid = pqb_engine_shard_of(packet->data, packet->len, g->shards_count);
    shard = &g->shards[by_cid >= 0 ? (uint32_t)by_cid : packet->addr.port % g->shards_count];
    if (shard->rx_count == SIM_RX_MAX)
        return; // the socket's buffer is full
    shard->rx[shard->rx_count] = malloc(sizeof(*packet));
    PQB_ASSERT(shard->rx[shard->rx_count]);
    sim_packet_copy(shard->rx[shard->rx_count++], packet);
    shard->wake_at = PQB_MIN(shard->wake_at, now);
}

static void transmit(struct sim_gateway *g, struct sim_shard *shard)
{
    struct pqb_transmit out;

    while (pqb_engine_poll_transmit(shard->engine, &out, g->now)) {
        if (sim_trace_is_on()) {
            char what[40];

            snprintf(what, sizeof(what), "gateway > %u (10.%u.0.%u:%u)", out.to.ip[3] - 1u,
                     out.to.ip[1], out.to.ip[3], out.to.port);
            sim_trace_datagram(g->now, what, out.data, out.len);
        }
        sim_net_send_down(g->net, &out.to, out.data, out.len, g->now);
    }
}

// All logins that wait: an engine makes a few handshakes each time.
static void take_logins(struct sim_gateway *g, struct sim_shard *shard)
{
    for (int i = 0; i < LOGIN_TURNS; i++)
        pqb_engine_handshake(shard->engine, g->now);
}

// Of a login that waits nobody could say later what came of it.
static bool must_not_wait(const struct sim_packet *packet)
{
    enum pqb_datagram_type type;

    return pqb_datagram_peek(packet->data, packet->len, &type) == PQB_VERDICT_OK &&
           (type == PQB_DATAGRAM_RESUME ||
            (type == PQB_DATAGRAM_INIT && packet->origin != SIM_GENUINE));
}

// One datagram. In an encrypted run what the engine made of it is judged.
static void handle(struct sim_gateway *g, struct sim_shard *shard, const struct sim_packet *packet)
{
    const bool is_alone = g->wire != NULL && must_not_wait(packet);
    uint64_t before[PQB_COUNTER_COUNT];

    if (is_alone)
        take_logins(g, shard);
    if (g->wire)
        memcpy(before, shard->counters, sizeof(before));
    g->keys.has_said_no = false;
    pqb_engine_on_datagram(shard->engine, &packet->addr, packet->data, packet->len, g->now);
    if (is_alone)
        take_logins(g, shard);
    if (!g->wire)
        return;
    if (sim_wire_on_gateway(g->wire, packet, before, shard->counters))
        sim_adversary_on_taken(g->adversary, packet);
    if (g->keys.has_said_no &&
        shard->counters[PQB_COUNTER_LOGIN_RESUMED] != before[PQB_COUNTER_LOGIN_RESUMED])
        sim_oracle_fail(g->oracle, "a ticket lets in who may not stay");
}

static void turn_shard(struct sim_gateway *g, struct sim_shard *shard)
{
    const size_t mails = shard->mail_count;

    shard->wake_at = PQB_NEVER;
    shard->turns++;
    if (pqb_engine_begin(shard->engine, g->now) != PQB_OK) {
        sim_oracle_fail(g->oracle, "a shard cannot begin its turn");
        return;
    }
    if (shard->must_drain)
        pqb_engine_drain(shard->engine, g->now);
    if (shard->must_recheck)
        pqb_engine_recheck(shard->engine, g->now);
    shard->must_drain = shard->must_recheck = false;
    for (size_t i = 0; i < shard->rx_count; i++)
        handle(g, shard, shard->rx[i]);
    for (size_t i = 0; i < mails; i++)
        pqb_engine_on_mail(shard->engine, shard->mailbox[i].data, shard->mailbox[i].len, g->now);
    memmove(shard->mailbox, &shard->mailbox[mails],
            (shard->mail_count - mails) * sizeof(struct sim_mail));
    shard->mail_count -= mails;
    pqb_engine_on_timeout(shard->engine, g->now);
    transmit(g, shard);
    pqb_engine_handshake(shard->engine, g->now);
    pqb_engine_end(shard->engine);
    for (size_t i = 0; i < shard->rx_count; i++)
        free(shard->rx[i]);
    shard->rx_count = 0;
    if (shard->turns % 64 == 0)
        pqb_engine_validate(shard->engine);
}

// A commit takes its time: what the writer finds in its queue is done when step_at has come.
static void schedule_step(struct sim_gateway *g)
{
    struct pqb_store_stats stats;
    pqb_tstamp due = pqb_store_next_deadline(g->store);

    pqb_store_get_stats(g->store, &stats);
    if (stats.queue_len > 0)
        due = g->now;
    if (due != PQB_NEVER)
        due = PQB_MAX(due, g->now) + g->commit_ns;
    g->step_at = PQB_MIN(g->step_at, due);
}

static void note_step(struct sim_gateway *g)
{
    struct pqb_store_stats stats;

    check_clock(g, false);
    sim_journal_read(&g->journal, g->oracle);
    pqb_store_get_stats(g->store, &stats);
    g->journal_records_max = PQB_MAX(g->journal_records_max, stats.journal_records);
}

static void step_store(struct sim_gateway *g)
{
    const uint32_t number = sim_events_next(g->events, SIM_KIND_WRITER_STEP, 0, g->rng);
    bool has_more;

    g->commit_ns = pqb_rng_below(g->rng, commit_ns_max(g) + 1);
    if (g->has_faults && !g->is_crash_at_failure && chance(g, g->plan->abort) &&
        sim_events_may(g->events, SIM_KIND_ABORT, 0, number, g->now))
        g->fail_countdown = 1 + pqb_rng_below(g->rng, STEPS_PER_FAIL);
    g->step_at = PQB_NEVER;
    g->steps++;
    has_more = pqb_store_step(g->store, g->now, wall_at(g, g->now));
    note_step(g);
    if (pqb_store_is_failed(g->store) || (g->is_failing && g->is_crash_at_failure)) {
        sim_gateway_crash(g, draw_down_time(g), g->now);
        return;
    }
    g->is_failing = false;
    if (!g->is_crash_at_failure)
        g->fail_countdown = 0;
    if (has_more)
        g->step_at = g->now + 1 + g->commit_ns;
}

static pqb_tstamp shard_deadline(const struct sim_shard *shard)
{
    return PQB_MIN(shard->wake_at, pqb_engine_next_deadline(shard->engine));
}

void sim_gateway_turn(struct sim_gateway *g, pqb_tstamp now)
{
    g->now = now;
    if (!g->store) {
        if (g->start_at <= now)
            sim_gateway_start(g, now);
        return;
    }
    if (g->die_at <= now) {
        sim_gateway_crash(g, draw_down_time(g) / 20, now);
        return;
    }
    if (g->close_at <= now) {
        stop(g);
        return;
    }
    if (g->step_at <= now) {
        step_store(g);
        if (!g->store)
            return;
    }
    for (uint32_t i = 0; i < g->shards_count; i++) {
        if (shard_deadline(&g->shards[i]) <= now)
            turn_shard(g, &g->shards[i]);
    }
    schedule_step(g);
}

pqb_tstamp sim_gateway_next_deadline(const struct sim_gateway *g)
{
    pqb_tstamp at = PQB_MIN(g->step_at, PQB_MIN(g->close_at, g->die_at));

    if (!g->store)
        return g->start_at;
    for (uint32_t i = 0; i < g->shards_count; i++)
        at = PQB_MIN(at, shard_deadline(&g->shards[i]));
    return at;
}

// ---------------------------------------------------------------------------------- measurements

size_t sim_gateway_memory(const struct sim_gateway *g)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < g->shards_count && g->store; i++)
        bytes += pqb_engine_memory(g->shards[i].engine);
    return bytes;
}

static bool count_session(void *ctx, const struct pqb_session_info *info)
{
    uint64_t *count = ctx;

    (void)info;
    ++*count;
    return true;
}

uint64_t sim_gateway_sessions(struct sim_gateway *g, pqb_tstamp now)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < g->shards_count && g->store; i++)
        pqb_engine_each_session(g->shards[i].engine, count_session, &count, now);
    return count;
}

uint64_t sim_gateway_counter(const struct sim_gateway *g, enum pqb_counter counter)
{
    uint64_t sum = g->totals[counter];

    for (uint32_t i = 0; i < g->shards_count; i++)
        sum += g->shards[i].counters[counter];
    return sum;
}

void sim_gateway_validate(const struct sim_gateway *g)
{
    for (uint32_t i = 0; i < g->shards_count && g->store; i++)
        pqb_engine_validate(g->shards[i].engine);
}

static void on_finding(void *ctx, const char *finding)
{
    struct sim_gateway *g = ctx;

    sim_oracle_fail(g->oracle, "the store does not verify: %s", finding);
}

void sim_gateway_verify(struct sim_gateway *g, pqb_tstamp now)
{
    struct pqb_verify_report report;
    int err;

    if (!g->store)
        return;
    g->now = now;
    end(g, true);
    err = pqb_store_verify(g->path, on_finding, g, &report);
    if (err != PQB_OK)
        sim_oracle_fail(g->oracle, "the store cannot be verified: %s", pqb_err_name(err));
}
