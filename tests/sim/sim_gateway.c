#include "tests/sim/sim_gateway.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "storage/failpoints.h"
#include "tests/sim/sim_trace.h"

#define MAIL_DELAY_NS  (20 * PQB_NS_PER_US)
#define WALL_AT_ZERO   UINT64_C(1800000000000) // ms; some day in 2027
#define STEPS_PER_FAIL 12                      // a fault hits one of the next so many steps
#define SHARE_FATAL    0.2 // of failures of the disk: an error, not want of space

static pqb_wall_ms wall_at(pqb_tstamp now)
{
    return WALL_AT_ZERO + now / PQB_NS_PER_MS;
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

static bool env_may_login(void *ctx, const struct pqb_text *user, const struct pqb_text *device,
                          const struct pqb_text *token)
{
    (void)ctx;
    (void)user;
    (void)device;
    (void)token;
    return true;
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

    return wall_at(shard->gateway->now);
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

// ENOSPC makes the writer give its batch back and go on; EIO is the end of the process.
static int on_failpoint(void *ctx, const char *step)
{
    struct sim_gateway *g = ctx;

    if (g->is_failing && g->is_crash_at_failure)
        return EIO;
    if (g->fail_countdown > 0 && --g->fail_countdown == 0) {
        const bool is_fatal = g->is_crash_at_failure || chance(g, SHARE_FATAL);

        if (is_fatal || !may_only_die(step)) {
            g->is_failing = true;
            g->is_crash_at_failure = is_fatal;
            g->failures++;
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

static void remove_directory(const char *path)
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
}

static void start_shard(struct sim_gateway *g, uint32_t i)
{
    struct sim_shard *shard = &g->shards[i];
    const struct pqb_engine_env env = {.ctx = shard,
                                       .post = env_post,
                                       .may_login = env_may_login,
                                       .log = env_log,
                                       .wall = env_wall};
    struct pqb_engine_config config;
    uint8_t seed[16];

    engine_config(g, i, &config);
    pqb_rng_fill(g->rng, seed, sizeof(seed));
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
    g->is_crash_at_failure = g->has_faults && chance(g, g->plan->crash_again) &&
                             sim_events_may(g->events, SIM_KIND_RECRASH, 0, number, g->now);
    g->fail_countdown = g->is_crash_at_failure ? 1 + pqb_rng_below(g->rng, 4) : 0;
    store_config(g, &config);
    err = pqb_store_open(&g->store, &config, g->now, wall_at(g->now));
    g->fail_countdown = 0;
    return err;
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
        for (size_t c = 0; c < PQB_COUNTER_COUNT; c++)
            g->totals[c] += shard->counters[c];
        memset(shard->counters, 0, sizeof(shard->counters));
    }
}

void sim_gateway_crash(struct sim_gateway *g, pqb_duration down, pqb_tstamp now)
{
    if (!g->store)
        return;
    sim_trace(now, "gateway dies");
    drop_engines(g);
    pqb_store_crash(g->store);
    g->store = NULL;
    g->crashes++;
    g->step_at = PQB_NEVER;
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

void sim_gateway_fill_disk(struct sim_gateway *g, pqb_tstamp until)
{
    g->disk_full_until = PQB_MAX(g->disk_full_until, until);
}

void sim_gateway_heal(struct sim_gateway *g, pqb_tstamp now)
{
    g->has_faults = false;
    g->disk_full_until = 0;
    g->fail_countdown = 0;
    g->is_crash_at_failure = false;
    if (!g->store)
        g->start_at = PQB_MIN(g->start_at, now);
}

void sim_gateway_fini(struct sim_gateway *g)
{
    if (g->store) {
        drop_engines(g);
        pqb_store_close(g->store);
    }
    for (uint32_t i = 0; i < g->shards_count; i++) {
        forget_inputs(&g->shards[i]);
        free(g->shards[i].mailbox);
    }
    remove_directory(g->path);
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

static void turn_shard(struct sim_gateway *g, struct sim_shard *shard)
{
    const size_t mails = shard->mail_count;

    shard->wake_at = PQB_NEVER;
    shard->turns++;
    if (pqb_engine_begin(shard->engine, g->now) != PQB_OK) {
        sim_oracle_fail(g->oracle, "a shard cannot begin its turn");
        return;
    }
    for (size_t i = 0; i < shard->rx_count; i++) {
        const struct sim_packet *packet = shard->rx[i];

        pqb_engine_on_datagram(shard->engine, &packet->addr, packet->data, packet->len, g->now);
    }
    for (size_t i = 0; i < mails; i++)
        pqb_engine_on_mail(shard->engine, shard->mailbox[i].data, shard->mailbox[i].len, g->now);
    memmove(shard->mailbox, &shard->mailbox[mails],
            (shard->mail_count - mails) * sizeof(struct sim_mail));
    shard->mail_count -= mails;
    pqb_engine_on_timeout(shard->engine, g->now);
    transmit(g, shard);
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

static void step_store(struct sim_gateway *g)
{
    const uint32_t number = sim_events_next(g->events, SIM_KIND_WRITER_STEP, 0, g->rng);
    bool has_more;

    g->commit_ns = pqb_rng_below(g->rng, (uint64_t)(g->plan->commit_ms * 1e6) + 1);
    if (g->has_faults && !g->is_crash_at_failure && chance(g, g->plan->abort) &&
        sim_events_may(g->events, SIM_KIND_ABORT, 0, number, g->now))
        g->fail_countdown = 1 + pqb_rng_below(g->rng, STEPS_PER_FAIL);
    g->step_at = PQB_NEVER;
    g->steps++;
    has_more = pqb_store_step(g->store, g->now, wall_at(g->now));
    if (g->is_failing && g->is_crash_at_failure) {
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
    pqb_tstamp at = g->step_at;

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
    drop_engines(g);
    pqb_store_close(g->store);
    g->store = NULL;
    err = pqb_store_verify(g->path, on_finding, g, &report);
    if (err != PQB_OK)
        sim_oracle_fail(g->oracle, "the store cannot be verified: %s", pqb_err_name(err));
}
