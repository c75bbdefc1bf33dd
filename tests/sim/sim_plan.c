#include "tests/sim/sim_plan.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"

static const struct {
    const char *name;
    size_t offset;
    const char *help;
} params[] = {
#define SIM_PARAM(name, help) {#name, offsetof(struct sim_plan, name), help},
#include "tests/sim/sim_plan.def"
#undef SIM_PARAM
};

size_t sim_plan_count(void)
{
    return PQB_ARRAY_LEN(params);
}

double *sim_plan_param(struct sim_plan *plan, size_t i)
{
    return (double *)(void *)((char *)plan + params[i].offset);
}

double sim_plan_get(const struct sim_plan *plan, size_t i)
{
    return *(const double *)(const void *)((const char *)plan + params[i].offset);
}

void sim_plan_calm(struct sim_plan *plan, uint64_t seed)
{
    *plan = (struct sim_plan){
        .seed = seed,
        .seconds = 60,
        .settle_s = 600,
        .users = 4,
        .devices = 6,
        .late_s = 30,
        .shards = 1,
        .burst_ms = 2000,
        .reorder_ms = 200,
        .delay_ms = 20,
        .jitter_ms = 5,
        .ghost_s = 60,
        .partition_s = 20,
        .commit_ms = 2,
        .down_ms = 500,
        .disk_full_s = 10,
        .map_mb = 256,
        .clog_s = 10,
        .disk_slow_s = 10,
        .disk_slow_ms = 1000,
        .drain_ms = 500,
        .storm_s = 10,
        .storm_life_ms = 500,
        .clock_step_s = 10,
        .slow_ms = 200,
        .stall_s = 20,
        .mailbox = 64,
        .requests_max = 256,
        .batch_kb = 256,
        .checkpoint_kb = 1024,
        .checkpoint_s = 30,
        .quota_messages = 100000,
        .half_open_max = 64,
        .push_max = 200,
        .idle_s = 120,
        .body_max = 65536,
        .send_every_ms = 500,
        .send_burst = 1,
        .offline_s = 20,
        .clone_s = 20,
        .page_max = 100,
        .poison_limit = 5,
        .aes = 1,
        .session_max_s = 86400,
    };
}

// A fault's strength: off in half of the runs, usual in most others, ten times in the rest.
static double swarm(struct pqb_rng *rng, double usual, double most)
{
    const double dice = pqb_rng_unit(rng);
    const double strength = pqb_rng_unit(rng);

    if (dice < 0.5)
        return 0;
    return dice < 0.85 ? strength * usual : PQB_MIN(strength * usual * 10, most);
}

// Mean seconds between events: off in half of the runs, else somewhere in [least, most].
static double swarm_every(struct pqb_rng *rng, double least, double most)
{
    const double dice = pqb_rng_unit(rng);
    const double length = pqb_rng_unit(rng);

    return dice < 0.5 ? 0 : least + length * length * (most - least);
}

static double pick(struct pqb_rng *rng, const double *values, size_t count)
{
    return values[pqb_rng_below(rng, count)];
}

#define PICK(rng, ...) \
    pick(rng, (const double[]){__VA_ARGS__}, sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

static void draw_net(struct sim_plan *plan, struct pqb_rng *rng)
{
    plan->quantum_us = PICK(rng, 0, 0, 100, 1000, 20000);
    plan->loss = swarm(rng, 0.08, 0.5);
    plan->burst = swarm(rng, 0.002, 0.02);
    plan->burst_ms = PICK(rng, 100, 1000, 5000);
    plan->duplicate = swarm(rng, 0.05, 0.5);
    plan->reorder = swarm(rng, 0.1, 0.8);
    plan->reorder_ms = PICK(rng, 10, 100, 1000, 5000);
    plan->delay_ms = PICK(rng, 0, 1, 20, 80, 300);
    plan->jitter_ms = PICK(rng, 0, 1, 20, 200);
    plan->corrupt = swarm(rng, 0.01, 0.1);
    plan->truncate = swarm(rng, 0.01, 0.1);
    plan->ghost = swarm(rng, 0.01, 0.1);
    plan->ghost_s = PICK(rng, 10, 60, 200);
    plan->partition_every_s = swarm_every(rng, 5, 60);
    plan->partition_s = PICK(rng, 2, 20, 90);
    plan->partition_one_way = PICK(rng, 0, 0.5, 1);
    plan->rebind_every_s = swarm_every(rng, 1, 30);
    plan->rebind_ip = PICK(rng, 0, 0.5, 1);
    plan->stray_every_s = swarm_every(rng, 0.2, 5);
}

static void draw_gateway(struct sim_plan *plan, struct pqb_rng *rng)
{
    plan->shards = PICK(rng, 1, 1, 2);
    plan->commit_ms = PICK(rng, 0, 1, 10, 100);
    plan->crash_every_s = swarm_every(rng, 5, 60);
    plan->crash_in_step = PICK(rng, 0, 0.5, 1);
    plan->crash_again = PICK(rng, 0, 0, 0.5);
    plan->down_ms = PICK(rng, 10, 500, 10000);
    plan->abort = swarm(rng, 0.01, 0.2);
    plan->disk_full_every_s = swarm_every(rng, 20, 100);
    plan->disk_full_s = PICK(rng, 1, 10);
    plan->mailbox = PICK(rng, 1, 8, 256);
    plan->requests_max = PICK(rng, 4, 32, 1024);
    plan->batch_kb = PICK(rng, 4, 64, 1024);
    plan->checkpoint_kb = PICK(rng, 8, 64, 1024);
    plan->checkpoint_s = PICK(rng, 2, 10, 60);
    plan->quota_messages = PICK(rng, 20, 300, 100000, 100000);
    plan->retry_always = PICK(rng, 0, 0, 0, 1);
    plan->half_open_max = PICK(rng, 4, 64);
    plan->push_max = PICK(rng, 5, 50, 200);
    plan->idle_s = PICK(rng, 40, 120);
    plan->rate = PICK(rng, 0, 0, 0, 5);
    plan->body_max = PICK(rng, 65536, 65536, 8000);
}

static void draw_peers(struct sim_plan *plan, struct pqb_rng *rng)
{
    plan->users = 2 + (double)pqb_rng_below(rng, 5);
    plan->devices = plan->users + (double)pqb_rng_below(rng, 6);
    plan->send_every_ms = PICK(rng, 50, 200, 1000, 5000);
    plan->send_burst = PICK(rng, 1, 3, 40);
    plan->send_while_offline = PICK(rng, 0, 0.5, 1);
    plan->big = swarm(rng, 0.02, 0.2);
    plan->too_large = swarm(rng, 0.005, 0.02);
    plan->skip = swarm(rng, 0.05, 0.3);
    plan->ephemeral = swarm(rng, 0.05, 0.3);
    plan->offline_every_s = swarm_every(rng, 2, 60);
    plan->offline_s = PICK(rng, 2, 20, 100);
    plan->kill_every_s = swarm_every(rng, 2, 60);
    plan->kill_in_take = PICK(rng, 0, 0.5, 1);
    plan->rollback_every_s = swarm_every(rng, 10, 100);
    plan->clone_every_s = swarm_every(rng, 10, 100);
    plan->clone_s = PICK(rng, 2, 20);
    plan->memory_share = PICK(rng, 0, 0.2, 0.5);
    plan->page_max = PICK(rng, 1, 10, 100, 256);
    plan->poison = swarm(rng, 0.005, 0.05);
    plan->poison_limit = PICK(rng, 1, 2, 5);
}

// Came later; from a generator of their own, so that the older parameters of a seed stay.
static void draw_more(struct sim_plan *plan, struct pqb_rng *rng)
{
    plan->clog_every_s = swarm_every(rng, 5, 60);
    plan->clog_s = PICK(rng, 1, 10, 30);
    plan->disk_slow_every_s = swarm_every(rng, 10, 100);
    plan->disk_slow_s = PICK(rng, 1, 20);
    plan->disk_slow_ms = PICK(rng, 200, 2000, 5000);
    plan->restart_every_s = swarm_every(rng, 10, 100);
    plan->drain_ms = PICK(rng, 0, 100, 5000);
    plan->storm_every_s = swarm_every(rng, 20, 200);
    plan->storm_s = PICK(rng, 2, 20);
    plan->storm_life_ms = PICK(rng, 5, 100, 3000);
    plan->async = PICK(rng, 0, 0, 0, 1);
    plan->restore_every_s = swarm_every(rng, 10, 60);
    plan->restore_unmarked = PICK(rng, 0, 0, 0, 1);
    if (plan->restore_every_s > 0 && plan->restore_unmarked > 0) // two old copies may agree
        plan->rollback_every_s = plan->clone_every_s = 0;
    plan->clock_every_s = swarm_every(rng, 2, 60);
    plan->clock_step_s = PICK(rng, 10, 80000, 10 * 86400, 10 * 365 * 86400.0);
    // A restored store is above what it lost as long as no clock went back by days meanwhile.
    if (plan->restore_every_s > 0)
        plan->clock_step_s = PQB_MIN(plan->clock_step_s, 20000);
    plan->retention_s = PICK(rng, 0, 0, 0, 5, 60);
    plan->retention_messages = PICK(rng, 0, 0, 0, 10, 200);
    plan->retention_kb = PICK(rng, 0, 0, 0, 4, 100);
    plan->slow_share = PICK(rng, 0, 0, 0.5);
    plan->slow_ms = PICK(rng, 20, 500, 5000);
    plan->stall_every_s = swarm_every(rng, 5, 60);
    plan->stall_s = PICK(rng, 2, 20, 60);
}

// Drawn for every seed, so that encrypted=1 on the command line is enough.
static void draw_security(struct sim_plan *plan, struct pqb_rng *rng)
{
    plan->encrypted = PICK(rng, 0, 0, 1);
    plan->aes = PICK(rng, 0, 1, 1);
    plan->without_aes = PICK(rng, 0, 0, 0.5);
    plan->session_max_s = PICK(rng, 86400, 86400, 5, 30);
    plan->rekey_packets = PICK(rng, 0, 5, 30, 300);
    plan->rekey_s = PICK(rng, 0, 0, 2, 20);
    plan->token_s = PICK(rng, 0, 0, 10, 60);
    plan->unwelcome = PICK(rng, 0, 0, 0.1, 0.5);
    plan->ticket_lost = PICK(rng, 0, 0.5, 1);
    plan->keys_every_s = swarm_every(rng, 3, 60);
    plan->attack_every_s = swarm_every(rng, 0.1, 5);
    plan->attack_relays = PICK(rng, 0, 1);
}

void sim_plan_from_seed(struct sim_plan *plan, uint64_t seed)
{
    struct pqb_rng rng;

    pqb_rng_init_seed(&rng, seed ^ UINT64_C(0x706c616e));
    sim_plan_calm(plan, seed);
    plan->seconds = PICK(&rng, 30, 60, 120);
    plan->late_s = plan->seconds / 2;
    draw_net(plan, &rng);
    draw_gateway(plan, &rng);
    draw_peers(plan, &rng);
    pqb_rng_init_seed(&rng, seed ^ UINT64_C(0x6d6f7265));
    draw_more(plan, &rng);
    pqb_rng_init_seed(&rng, seed ^ UINT64_C(0x6e6f697365));
    draw_security(plan, &rng);
    if (plan->page_max < 10)
        plan->settle_s = 6000; // each page is a round trip or more
}

void sim_plan_tidy(struct sim_plan *plan)
{
    struct sim_plan calm;
    bool is_for_encrypted = false;

    if (plan->encrypted > 0)
        return;
    sim_plan_calm(&calm, plan->seed);
    for (size_t i = 0; i < PQB_ARRAY_LEN(params); i++) {
        is_for_encrypted |= params[i].offset == offsetof(struct sim_plan, encrypted);
        if (is_for_encrypted)
            *sim_plan_param(plan, i) = sim_plan_get(&calm, i);
    }
}

bool sim_plan_set(struct sim_plan *plan, const char *setting)
{
    const char *equals = strchr(setting, '=');
    char *end;

    if (!equals || equals[1] == '\0')
        return false;
    for (size_t i = 0; i < PQB_ARRAY_LEN(params); i++) {
        const size_t len = strlen(params[i].name);

        if ((size_t)(equals - setting) == len && memcmp(setting, params[i].name, len) == 0) {
            *sim_plan_param(plan, i) = strtod(equals + 1, &end);
            return *end == '\0';
        }
    }
    return false;
}

void sim_plan_print(const struct sim_plan *plan, FILE *out)
{
    fprintf(out, "seed=%llu", (unsigned long long)plan->seed);
    for (size_t i = 0; i < PQB_ARRAY_LEN(params); i++) {
        const double value = sim_plan_get(plan, i);

        if (value > 0)
            fprintf(out, " %s=%.6g", params[i].name, value);
    }
    fputc('\n', out);
}

static size_t count_differences(const struct sim_plan *a, const struct sim_plan *b)
{
    size_t count = 0;

    for (size_t i = 0; i < PQB_ARRAY_LEN(params); i++)
        count += sim_plan_get(a, i) < sim_plan_get(b, i) || sim_plan_get(a, i) > sim_plan_get(b, i);
    return count;
}

// Short if that reads back as the same number.
static void print_setting(const char *name, double value, FILE *out)
{
    char text[40];

    snprintf(text, sizeof(text), "%.6g", value);
    if (strtod(text, NULL) < value || strtod(text, NULL) > value)
        snprintf(text, sizeof(text), "%.17g", value);
    fprintf(out, "%s=%s", name, text);
}

void sim_plan_print_options(const struct sim_plan *plan, FILE *out)
{
    struct sim_plan seeds, calm;
    const char *before = " --set ";
    bool is_calm;

    sim_plan_from_seed(&seeds, plan->seed);
    sim_plan_tidy(&seeds);
    sim_plan_calm(&calm, plan->seed);
    is_calm = count_differences(plan, &calm) <= count_differences(plan, &seeds);
    fprintf(out, " --seed %llu%s", (unsigned long long)plan->seed, is_calm ? " --calm" : "");
    for (size_t i = 0; i < PQB_ARRAY_LEN(params); i++) {
        const double value = sim_plan_get(plan, i);
        const double base = sim_plan_get(is_calm ? &calm : &seeds, i);

        if (value < base || value > base) {
            fputs(before, out);
            print_setting(params[i].name, value, out);
            before = ",";
        }
    }
}

void sim_plan_help(FILE *out)
{
    for (size_t i = 0; i < PQB_ARRAY_LEN(params); i++)
        fprintf(out, "  %-20s %s\n", params[i].name, params[i].help);
}
