#include "tests/sim/sim_world.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "tests/sim/sim_adversary.h"
#include "tests/sim/sim_faults.h"
#include "tests/sim/sim_gateway.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/sim_oracle.h"
#include "tests/sim/sim_peer.h"
#include "tests/sim/sim_rekey.h"
#include "tests/sim/sim_trace.h"
#include "tests/sim/sim_wire.h"

#define TIME_ZERO       PQB_NS_PER_SEC
#define STANDSTILL_MAX  20000        // turns at one moment
#define IDLE_MEMORY_MAX (256u << 10) // tables of 32 devices and their users, nothing more
#define LEAVE_S         30
#define LATE_S          5 // and what the network adds: no datagram is older

struct sim_world {
    const struct sim_plan *plan;
    struct sim_events events;
    struct pqb_rng rng; // of the fault that happens now
    struct pqb_rng gateway_rng;
    struct sim_net net;
    struct sim_oracle oracle;
    struct sim_gateway gateway;
    struct sim_wire wire;
    struct sim_adversary adversary;
    struct sim_peer peers[SIM_ENDPOINTS_MAX];
    bool is_clone[SIM_ENDPOINTS_MAX], is_gone[SIM_ENDPOINTS_MAX];
    pqb_tstamp leaves_at[SIM_ENDPOINTS_MAX]; // clones
    size_t peers_count, devices_count;
    pqb_tstamp now;
    size_t standstill;
    pqb_tstamp check_at; // of the bounds
};

static pqb_duration seconds(double s)
{
    return (pqb_duration)(s * 1e9);
}

static pqb_duration up_to_s(struct sim_world *w, double s)
{
    return s > 0 ? pqb_rng_below(&w->rng, seconds(s) + 1) : 0;
}

static bool chance(struct sim_world *w, double share)
{
    return share > 0 && pqb_rng_unit(&w->rng) < share;
}

static struct sim_peer *any_peer(struct sim_world *w)
{
    return &w->peers[pqb_rng_below(&w->rng, w->devices_count)];
}

// ----------------------------------------------------------------------------------------- faults

static void fire_partition(struct sim_world *w)
{
    struct sim_peer *p = any_peer(w);
    const pqb_tstamp until = w->now + up_to_s(w, w->plan->partition_s);
    const bool is_one_way = chance(w, w->plan->partition_one_way);
    const bool is_up = chance(w, 0.5);

    sim_fault_fired(is_one_way ? SIM_FAULT_partition_one_way : SIM_FAULT_partition, 1);
    sim_trace(w->now, "u%u/d%u is cut off until %.3f%s", p->user, p->device, (double)until / 1e9,
              is_one_way ? (is_up ? " (up)" : " (down)") : "");
    sim_net_block(&w->net, p->endpoint, !is_one_way || is_up ? until : 0,
                  !is_one_way || !is_up ? until : 0);
}

static void fire_rebind(struct sim_world *w)
{
    struct sim_peer *p = any_peer(w);
    const bool is_new_ip = chance(w, w->plan->rebind_ip);

    sim_fault_fired(is_new_ip ? SIM_FAULT_rebind_ip : SIM_FAULT_rebind, 1);
    sim_net_rebind(&w->net, p->endpoint, is_new_ip);
    sim_trace(w->now, "u%u/d%u has another address", p->user, p->device);
    if (p->client && chance(w, 0.3)) {
        pqb_client_on_path_change(p->client, w->now);
        p->is_touched = true;
    }
}

static void fire_stray(struct sim_world *w)
{
    const struct pqb_addr from = {.family = 4,
                                  .ip = {172, 16, 0, (uint8_t)pqb_rng_below(&w->rng, 256)},
                                  .port = (uint16_t)(1024 + pqb_rng_below(&w->rng, 60000))};
    uint8_t noise[PQB_DATAGRAM_MAX];
    const size_t len = pqb_rng_below(&w->rng, sizeof(noise) + 1);

    sim_fault_fired(SIM_FAULT_stray, 1);
    pqb_rng_fill(&w->rng, noise, sizeof(noise));
    if (chance(w, 0.8))
        noise[0] = (uint8_t)(PQB_WIRE_VERSION << 4 | (noise[0] & 0x0f));
    sim_net_inject_up(&w->net, &from, noise, len, w->now);
}

static void fire_crash(struct sim_world *w)
{
    if (chance(w, w->plan->crash_in_step))
        sim_gateway_crash_in_step(&w->gateway);
    else
        sim_gateway_crash(&w->gateway, up_to_s(w, w->plan->down_ms / 1000), w->now);
}

static void fire_restart(struct sim_world *w)
{
    sim_fault_fired(SIM_FAULT_restart, 1);
    sim_gateway_restart(&w->gateway, up_to_s(w, w->plan->drain_ms / 1000), w->now);
}

static void fire_storm(struct sim_world *w)
{
    sim_fault_fired(SIM_FAULT_storm, 1);
    sim_gateway_storm(&w->gateway, w->now + up_to_s(w, w->plan->storm_s), w->now);
}

// The first time takes a copy, the second time puts it in the store's place.
static void fire_restore(struct sim_world *w)
{
    if (w->gateway.backup.path[0])
        sim_gateway_restore(&w->gateway, up_to_s(w, w->plan->down_ms / 1000), w->now);
    else
        sim_gateway_back_up(&w->gateway, w->plan->restore_unmarked == 0, w->now);
}

static void fire_disk_slow(struct sim_world *w)
{
    sim_fault_fired(SIM_FAULT_disk_slow, 1);
    sim_trace(w->now, "the disk is slow");
    sim_gateway_slow_disk(&w->gateway, w->now + up_to_s(w, w->plan->disk_slow_s));
}

static void fire_clock(struct sim_world *w)
{
    const int64_t ms = (int64_t)(pqb_rng_unit(&w->rng) * w->plan->clock_step_s * 1000);
    const int64_t step = chance(w, 0.5) ? ms : -ms;

    sim_fault_fired(SIM_FAULT_clock_step, 1);
    sim_trace(w->now, "the wall clock steps by %.3f s", (double)step / 1000);
    sim_gateway_step_clock(&w->gateway, step);
}

static void fire_clog(struct sim_world *w)
{
    struct sim_peer *p = any_peer(w);
    const pqb_tstamp until = w->now + up_to_s(w, w->plan->clog_s);

    sim_fault_fired(SIM_FAULT_clog, 1);
    sim_trace(w->now, "the link of u%u/d%u is clogged until %.3f", p->user, p->device,
              (double)until / 1e9);
    sim_net_clog(&w->net, p->endpoint, until);
}

static void fire_stall(struct sim_world *w)
{
    struct sim_peer *p = any_peer(w);

    sim_fault_fired(SIM_FAULT_stall, 1);
    sim_trace(w->now, "u%u/d%u takes nothing", p->user, p->device);
    sim_peer_stall(p, w->now + up_to_s(w, w->plan->stall_s));
}

static void fire_disk_full(struct sim_world *w)
{
    sim_fault_fired(SIM_FAULT_disk_full, 1);
    sim_trace(w->now, "the disk is full");
    sim_gateway_fill_disk(&w->gateway, w->now + up_to_s(w, w->plan->disk_full_s));
}

static void fire_offline(struct sim_world *w)
{
    struct sim_peer *p = any_peer(w);
    const pqb_duration away = up_to_s(w, w->plan->offline_s);

    sim_fault_fired(SIM_FAULT_offline, 1);
    if (chance(w, 0.5))
        sim_peer_go_offline(p, away, w->now);
    else if (p->client)
        sim_net_block(&w->net, p->endpoint, w->now + away, w->now + away);
}

static void fire_kill(struct sim_world *w)
{
    struct sim_peer *p = any_peer(w);

    if (!p->client)
        return;
    if (chance(w, w->plan->kill_in_take))
        p->dies_at_next_take = true;
    else
        sim_peer_kill(p, chance(w, 0.5), w->now);
    sim_fault_fired(SIM_FAULT_kill, 1);
}

// The first time puts a copy into the drawer, the second time brings it back.
static void fire_rollback(struct sim_world *w)
{
    struct sim_peer *p = any_peer(w);

    if (p->is_absent || p->has_memory_only)
        return;
    sim_fault_fired(SIM_FAULT_rollback, p->backup != NULL);
    if (p->backup)
        sim_peer_restore_backup(p, w->now);
    else
        sim_peer_keep_backup(p);
}

// A second client of the same device: on a copy of its state, or with none at all.
static void fire_clone(struct sim_world *w)
{
    const size_t i = w->peers_count;
    struct sim_peer *of = any_peer(w), *p = &w->peers[i];

    if (i == SIM_ENDPOINTS_MAX || of->is_absent || of->has_memory_only)
        return;
    w->peers_count++;
    sim_peer_init(p, w->plan, &w->net, &w->oracle, &w->events, of->user, of->device);
    p->server_key = of->server_key;
    of->disk->app->may_be_uncertain = true;
    sim_disk_destroy(p->disk);
    p->has_memory_only = chance(w, 0.3);
    if (p->has_memory_only)
        p->disk = sim_disk_create(&w->oracle, p->device, true);
    else
        p->disk = sim_disk_copy(of->disk);
    p->disk->app->may_be_uncertain = true;
    w->is_clone[i] = true;
    w->oracle.devices[p->device].has_clone = true;
    w->leaves_at[i] = w->now + up_to_s(w, w->plan->clone_s);
    sim_fault_fired(SIM_FAULT_clone, 1);
    sim_trace(w->now, "u%u/d%u is cloned", p->user, p->device);
    sim_peer_start(p, w->now);
}

static void fire_attack(struct sim_world *w)
{
    sim_adversary_act(&w->adversary, &w->rng, w->now);
}

// Whoever still has the key that is about to go is given the present one, which takes a start.
static void renew_server_key(struct sim_world *w)
{
    struct sim_keys *keys = &w->gateway.keys;

    for (size_t i = 0; i < w->peers_count; i++) {
        struct sim_peer *p = &w->peers[i];

        if (!w->is_gone[i] && p->client && memcmp(p->pinned, keys->public, sizeof(p->pinned)) != 0)
            sim_peer_kill(p, false, w->now);
    }
    sim_fault_fired(SIM_FAULT_server_key, 1);
    sim_trace(w->now, "the gateway gets a new key");
    sim_keys_add_server(keys, &w->rng);
    sim_adversary_learn_key(&w->adversary, keys->public);
}

static void renew_ticket_key(struct sim_world *w)
{
    const bool loses_others = chance(w, 0.5);

    sim_fault_fired(loses_others ? SIM_FAULT_ticket_keys_lost : SIM_FAULT_ticket_key, 1);
    sim_trace(w->now, "the gateway gets a new key for tickets%s",
              loses_others ? " and loses the others" : "");
    sim_keys_add_ticket(&w->gateway.keys, &w->rng, loses_others);
}

// At a reload, or found after a death.
static void fire_keys(struct sim_world *w)
{
    const double dice = pqb_rng_unit(&w->rng);

    if (dice < 0.3) {
        sim_fault_fired(SIM_FAULT_recheck, 1);
        sim_gateway_recheck(&w->gateway, w->now);
        return;
    }
    if (chance(w, 0.3))
        sim_gateway_crash(&w->gateway, up_to_s(w, w->plan->down_ms / 1000), w->now);
    if (dice < 0.5)
        renew_server_key(w);
    else
        renew_ticket_key(w);
    sim_gateway_rekey(&w->gateway, w->now);
}

struct fault {
    enum sim_kind kind;
    void (*fire)(struct sim_world *w);
    double every_s;
    pqb_tstamp at;
    uint32_t number; // of the event that is due then
    struct pqb_rng rng;
};

#define FAULTS_MAX 18

// When the next one comes is the first thing that is drawn for it.
static void plan_next(struct sim_world *w, struct fault *f)
{
    f->at = PQB_NEVER;
    if (f->every_s <= 0)
        return;
    f->number = sim_events_next(&w->events, f->kind, 0, &f->rng);
    f->at = w->now + seconds(-f->every_s * log(1 - pqb_rng_unit(&f->rng))) + 1;
}

static void plan_faults(struct sim_world *w, struct fault faults[FAULTS_MAX])
{
    const bool is_encrypted = w->plan->encrypted > 0;
    const struct fault all[FAULTS_MAX] = {
        {.kind = SIM_KIND_CUT, .fire = fire_partition, .every_s = w->plan->partition_every_s},
        {.kind = SIM_KIND_REBIND, .fire = fire_rebind, .every_s = w->plan->rebind_every_s},
        {.kind = SIM_KIND_STRAY, .fire = fire_stray, .every_s = w->plan->stray_every_s},
        {.kind = SIM_KIND_CRASH, .fire = fire_crash, .every_s = w->plan->crash_every_s},
        {.kind = SIM_KIND_DISK_FULL, .fire = fire_disk_full, .every_s = w->plan->disk_full_every_s},
        {.kind = SIM_KIND_OFFLINE, .fire = fire_offline, .every_s = w->plan->offline_every_s},
        {.kind = SIM_KIND_KILL, .fire = fire_kill, .every_s = w->plan->kill_every_s},
        {.kind = SIM_KIND_ROLLBACK,
         .fire = fire_rollback,
         .every_s = w->plan->rollback_every_s / 2},
        {.kind = SIM_KIND_CLONE, .fire = fire_clone, .every_s = w->plan->clone_every_s},
        {.kind = SIM_KIND_RESTART, .fire = fire_restart, .every_s = w->plan->restart_every_s},
        {.kind = SIM_KIND_STORM, .fire = fire_storm, .every_s = w->plan->storm_every_s},
        {.kind = SIM_KIND_RESTORE, .fire = fire_restore, .every_s = w->plan->restore_every_s / 2},
        {.kind = SIM_KIND_DISK_SLOW, .fire = fire_disk_slow, .every_s = w->plan->disk_slow_every_s},
        {.kind = SIM_KIND_CLOCK, .fire = fire_clock, .every_s = w->plan->clock_every_s},
        {.kind = SIM_KIND_CLOG, .fire = fire_clog, .every_s = w->plan->clog_every_s},
        {.kind = SIM_KIND_STALL, .fire = fire_stall, .every_s = w->plan->stall_every_s},
        {.kind = SIM_KIND_ATTACK,
         .fire = fire_attack,
         .every_s = is_encrypted ? w->plan->attack_every_s : 0},
        {.kind = SIM_KIND_KEYS,
         .fire = fire_keys,
         .every_s = is_encrypted ? w->plan->keys_every_s : 0},
    };

    memcpy(faults, all, sizeof(all));
    for (size_t i = 0; i < FAULTS_MAX; i++)
        plan_next(w, &faults[i]);
}

static pqb_tstamp fire_due(struct sim_world *w, struct fault faults[FAULTS_MAX])
{
    pqb_tstamp next = PQB_NEVER;

    for (size_t i = 0; i < FAULTS_MAX; i++) {
        struct fault *f = &faults[i];

        if (f->at <= w->now) {
            w->rng = f->rng;
            if (sim_events_may(&w->events, f->kind, 0, f->number, w->now))
                f->fire(w);
            plan_next(w, f);
        }
        next = PQB_MIN(next, f->at);
    }
    return next;
}

// ------------------------------------------------------------------------------------------- time

static void drop_clone(struct sim_world *w, size_t i)
{
    if (!w->is_clone[i] || w->is_gone[i])
        return;
    sim_trace(w->now, "the clone of u%u/d%u is gone", w->peers[i].user, w->peers[i].device);
    w->is_gone[i] = true;
    sim_peer_fini(&w->peers[i]);
}

static void deliver_down(struct sim_world *w, const struct sim_packet *packet)
{
    struct sim_peer *p = &w->peers[packet->endpoint];
    const struct sim_effect effect = sim_peer_on_datagram(p, packet->data, packet->len, w->now);

    if (w->plan->encrypted > 0 &&
        sim_wire_on_client(&w->wire, packet, effect.dropped, effect.has_changed))
        sim_adversary_on_taken(&w->adversary, packet);
}

static void deliver(struct sim_world *w)
{
    struct sim_packet packet;

    while (sim_net_poll(&w->net, &packet, w->now)) {
        if (packet.is_up)
            sim_gateway_on_packet(&w->gateway, &packet, w->now);
        else if (!w->is_gone[packet.endpoint])
            deliver_down(w, &packet);
    }
}

// One moment: whatever is due now.
static void turn(struct sim_world *w)
{
    deliver(w);
    if (sim_gateway_next_deadline(&w->gateway) <= w->now)
        sim_gateway_turn(&w->gateway, w->now);
    for (size_t i = 0; i < w->peers_count; i++) {
        if (w->is_gone[i])
            continue;
        if (w->is_clone[i] && w->leaves_at[i] <= w->now)
            drop_clone(w, i);
        else if (sim_peer_next_deadline(&w->peers[i]) <= w->now)
            sim_peer_turn(&w->peers[i], w->now);
    }
}

static pqb_tstamp next_event(struct sim_world *w)
{
    pqb_tstamp at = PQB_MIN(sim_net_next_arrival(&w->net), sim_gateway_next_deadline(&w->gateway));

    for (size_t i = 0; i < w->peers_count; i++) {
        if (w->is_gone[i])
            continue;
        at = PQB_MIN(at, sim_peer_next_deadline(&w->peers[i]));
        if (w->is_clone[i])
            at = PQB_MIN(at, w->leaves_at[i]);
    }
    return at;
}

static const char *who_wants_a_turn(const struct sim_world *w)
{
    if (sim_net_next_arrival(&w->net) <= w->now)
        return "the network";
    if (sim_gateway_next_deadline(&w->gateway) <= w->now)
        return "the gateway";
    return "a client";
}

static void advance(struct sim_world *w, pqb_tstamp limit)
{
    const pqb_tstamp at = PQB_MIN(next_event(w), limit);

    if (at > w->now) {
        w->now = at;
        w->standstill = 0;
    } else if (++w->standstill > STANDSTILL_MAX) {
        sim_oracle_fail(&w->oracle, "time stands still: %s always wants another turn",
                        who_wants_a_turn(w));
    }
    if (w->net.is_overrun)
        sim_oracle_fail(&w->oracle, "P6 more than %u datagrams are in flight", SIM_IN_FLIGHT_MAX);
}

// Runs until `until` or a failure. `faults` may be NULL.
static void run_until(struct sim_world *w, pqb_tstamp until, struct fault *faults)
{
    while (w->now < until && !sim_oracle_has_failed(&w->oracle)) {
        const pqb_tstamp next_fault = faults ? fire_due(w, faults) : PQB_NEVER;

        turn(w);
        if (w->now >= w->check_at) {
            sim_gateway_check_bounds(&w->gateway, w->peers_count);
            w->check_at = w->now + PQB_NS_PER_SEC;
        }
        advance(w, PQB_MIN(until, PQB_MAX(next_fault, w->now + 1)));
    }
}

// ------------------------------------------------------------------------------------------ phases

// Some come late: their user has an inbox before it has a device.
static void add_device(struct sim_world *w, uint32_t user)
{
    const uint32_t device = sim_oracle_add_device(&w->oracle, user);
    struct sim_peer *p = &w->peers[w->peers_count++];
    uint32_t number;

    sim_peer_init(p, w->plan, &w->net, &w->oracle, &w->events, user, device);
    p->server_key = w->plan->encrypted > 0 ? w->gateway.keys.public : NULL;
    number = sim_events_next(&w->events, SIM_KIND_DEVICE, p->endpoint, &w->rng);
    p->is_absent = !sim_events_may(&w->events, SIM_KIND_DEVICE, p->endpoint, number, w->now);
    w->oracle.devices[device].is_absent = p->is_absent;
    if (!p->is_absent)
        p->start_at = w->now + (chance(w, 0.7) ? 1 : up_to_s(w, w->plan->late_s));
}

static void on_sent(void *ctx, const struct sim_packet *packet, pqb_tstamp now)
{
    struct sim_world *w = ctx;

    sim_wire_on_sent(&w->wire, packet);
    sim_adversary_on_sent(&w->adversary, packet, now);
}

static void encrypt(struct sim_world *w)
{
    const struct sim_plan *plan = w->plan;

    w->oracle.name_tail = SIM_NAME_TAIL;
    sim_wire_init(&w->wire, &w->oracle);
    sim_adversary_init(&w->adversary, &w->net, &w->oracle, plan->attack_relays > 0);
    sim_adversary_learn_key(&w->adversary, w->gateway.keys.public);
    sim_rekey_set((uint32_t)plan->rekey_packets, seconds(plan->rekey_s));
    w->gateway.wire = &w->wire;
    w->gateway.adversary = &w->adversary;
    w->net.config.is_sealed = true;
    w->net.watch = on_sent;
    w->net.watch_ctx = w;
}

static void build(struct sim_world *w, const struct sim_plan *plan,
                  const struct sim_event_mask *mask, struct sim_event_log *event_log)
{
    const struct sim_net_config net = {.loss = plan->loss,
                                       .burst = plan->burst,
                                       .burst_ns = seconds(plan->burst_ms / 1000),
                                       .duplicate = plan->duplicate,
                                       .reorder = plan->reorder,
                                       .reorder_ns = seconds(plan->reorder_ms / 1000),
                                       .delay_ns = seconds(plan->delay_ms / 1000),
                                       .jitter_ns = seconds(plan->jitter_ms / 1000),
                                       .corrupt = plan->corrupt,
                                       .truncate = plan->truncate,
                                       .ghost = plan->ghost,
                                       .ghost_ns = seconds(plan->ghost_s),
                                       .quantum_ns = (pqb_duration)plan->quantum_us * 1000};

    *w = (struct sim_world){.plan = plan, .now = TIME_ZERO};
    sim_events_init(&w->events, plan->seed, mask, event_log);
    sim_oracle_init(&w->oracle);
    w->oracle.is_watching = true;
    w->oracle.is_async = plan->async > 0;
    w->oracle.retention = (struct sim_retention){.age_ms = (uint64_t)(plan->retention_s * 1000),
                                                 .messages = (uint64_t)plan->retention_messages,
                                                 .bytes = (uint64_t)(plan->retention_kb * 1024)};
    w->oracle.late_ns = seconds(LATE_S + plan->ghost_s + plan->reorder_ms / 1000 + plan->clog_s);
    sim_net_init(&w->net, &net, &w->events);
    sim_gateway_init(&w->gateway, plan, &w->net, &w->oracle, &w->events, &w->gateway_rng);
    if (plan->encrypted > 0)
        encrypt(w);
    sim_trace_seal(plan->encrypted > 0);
    sim_gateway_start(&w->gateway, w->now);
    for (uint32_t i = 0; i < (uint32_t)plan->users; i++)
        (void)sim_oracle_add_user(&w->oracle);
    w->devices_count = (size_t)plan->devices;
    for (size_t i = 0; i < w->devices_count; i++)
        add_device(w, (uint32_t)(i % w->oracle.users_count));
}

static void end_faults(struct sim_world *w)
{
    sim_trace(w->now, "the faults end");
    sim_net_heal(&w->net);
    w->adversary.traps = 0;
    sim_gateway_heal(&w->gateway, w->now);
    for (size_t i = 0; i < w->peers_count; i++) {
        drop_clone(w, i);
        if (!w->is_gone[i])
            sim_peer_settle(&w->peers[i], w->now);
    }
}

static bool are_clients_settled(const struct sim_world *w)
{
    for (size_t i = 0; i < w->peers_count; i++) {
        const struct sim_peer *p = &w->peers[i];
        struct pqb_client_stats stats;

        if (w->is_gone[i] || p->is_absent)
            continue;
        if (!p->client || pqb_client_get_state(p->client) != PQB_CLIENT_ONLINE)
            return false;
        pqb_client_get_stats(p->client, &stats);
        if (stats.queue_count > 0)
            return false;
    }
    return true;
}

static void settle(struct sim_world *w)
{
    const pqb_tstamp limit = w->now + seconds(w->plan->settle_s);

    end_faults(w);
    while (w->now < limit && !sim_oracle_has_failed(&w->oracle)) {
        run_until(w, w->now + PQB_NS_PER_SEC, NULL);
        if (w->now - w->oracle.accepted_at > PQB_NS_PER_SEC && // an async commit follows
            are_clients_settled(w) && sim_oracle_is_settled(&w->oracle))
            return;
    }
    for (size_t i = 0; i < w->peers_count; i++) {
        const struct sim_peer *p = &w->peers[i];
        struct pqb_client_stats stats;

        if (w->is_gone[i] || p->is_absent)
            continue;
        if (!p->client || pqb_client_get_state(p->client) != PQB_CLIENT_ONLINE)
            sim_oracle_fail(&w->oracle, "device %u did not come online again", p->device);
        if (!p->client)
            continue;
        pqb_client_get_stats(p->client, &stats);
        if (stats.queue_count > 0)
            sim_oracle_fail(&w->oracle, "P5 the queue of device %u does not drain: %u left",
                            p->device, stats.queue_count);
    }
}

static void leave(struct sim_world *w, struct sim_result *result)
{
    uint64_t sessions;

    for (size_t i = 0; i < w->peers_count; i++) {
        if (!w->is_gone[i])
            sim_peer_log_out(&w->peers[i], w->now);
    }
    run_until(w, w->now + seconds(w->plan->idle_s + LEAVE_S), NULL);
    while (w->net.count > 0 && !sim_oracle_has_failed(&w->oracle)) // a ghost may begin a login
        run_until(w, sim_net_next_arrival(&w->net) + 1, NULL);
    run_until(w, w->now + seconds(LEAVE_S), NULL);
    if (sim_oracle_has_failed(&w->oracle))
        return;
    sim_gateway_validate(&w->gateway);
    sim_gateway_wake(&w->gateway, w->now);
    run_until(w, w->now + PQB_NS_PER_SEC, NULL);
    sim_gateway_check_idle(&w->gateway);
    sessions = sim_gateway_sessions(&w->gateway, w->now);
    if (sessions > 0)
        sim_oracle_fail(&w->oracle, "P6 %llu sessions outlive their clients",
                        (unsigned long long)sessions);
    result->memory_idle = sim_gateway_memory(&w->gateway);
    if (result->memory_idle > IDLE_MEMORY_MAX)
        sim_oracle_fail(&w->oracle, "P6 the idle engines hold %llu bytes",
                        (unsigned long long)result->memory_idle);
}

// What is counted elsewhere anyway.
static void count_faults(struct sim_world *w, struct sim_result *result)
{
    const struct sim_net_stats *net = &w->net.stats;
    const struct sim_gateway *g = &w->gateway;

    sim_fault_fired(SIM_FAULT_loss, net->lost);
    sim_fault_fired(SIM_FAULT_burst, net->bursts);
    sim_fault_fired(SIM_FAULT_duplicate, net->duplicated);
    sim_fault_fired(SIM_FAULT_reorder, net->held);
    sim_fault_fired(SIM_FAULT_ghost, net->ghosts);
    sim_fault_fired(SIM_FAULT_corrupt, net->corrupted);
    sim_fault_fired(SIM_FAULT_truncate, net->truncated);
    sim_fault_fired(SIM_FAULT_stale, net->stale);
    sim_fault_fired(SIM_FAULT_crash, g->crashes);
    sim_fault_fired(SIM_FAULT_mailbox_full, g->mail_lost);
    sim_fault_fired(SIM_FAULT_requests_full, sim_gateway_counter(g, PQB_COUNTER_REQUEST_FULL));
    sim_fault_fired(SIM_FAULT_quota, sim_gateway_counter(g, PQB_COUNTER_NACK_QUOTA));
    sim_fault_fired(SIM_FAULT_rate, sim_gateway_counter(g, PQB_COUNTER_NACK_RATE));
    sim_fault_fired(SIM_FAULT_expired, sim_gateway_expired(g));
    sim_fault_fired(SIM_FAULT_forged, sim_gateway_counter(g, PQB_COUNTER_DROP_FORGED));
    sim_fault_fired(SIM_FAULT_resumed, sim_gateway_counter(g, PQB_COUNTER_LOGIN_RESUMED));
    sim_fault_fired(SIM_FAULT_ticket_bad, sim_gateway_counter(g, PQB_COUNTER_LOGIN_TICKET_BAD));
    sim_fault_fired(SIM_FAULT_session_expired, sim_gateway_counter(g, PQB_COUNTER_SESSION_EXPIRED));
    memcpy(result->faults, sim_fault_counts(), sizeof(result->faults));
}

static void report(const struct sim_world *w, struct sim_result *result)
{
    const struct sim_oracle *o = &w->oracle;

    memcpy(result->failure, o->failure, sizeof(result->failure));
    result->virtual_s = (double)(w->now - TIME_ZERO) / 1e9;
    result->messages = o->messages_count;
    result->taken = o->taken_count;
    result->accepted = o->accepted_count;
    result->delivered = o->delivered_count;
    result->refused = o->refused_count;
    result->abandoned = o->abandoned_count;
    result->uncertain = o->uncertain_count;
    result->again = o->again_count;
    result->dead_letters = o->dead_letter_count;
    result->datagrams = w->net.stats.sent;
    result->crashes = w->gateway.crashes;
    result->steps = w->gateway.steps;
    result->failures = w->gateway.failures;
    for (size_t i = 0; i < w->peers_count; i++) {
        result->deaths += w->peers[i].deaths;
        result->logins += w->peers[i].logins;
    }
    sim_trace_mix(w->net.stats.sent);
    sim_trace_mix(w->now);
    result->digest = sim_trace_digest();
}

void sim_run(const struct sim_plan *plan, const struct sim_event_mask *mask,
             struct sim_event_log *event_log, struct sim_result *result)
{
    static struct sim_world world; // some 100 KiB
    struct sim_world *w = &world;
    struct fault faults[FAULTS_MAX];
    pqb_tstamp healed_at;

    *result = (struct sim_result){0};
    sim_fault_reset();
    build(w, plan, mask, event_log);
    plan_faults(w, faults);
    run_until(w, w->now + seconds(plan->seconds), faults);
    healed_at = w->now;
    if (!sim_oracle_has_failed(&w->oracle))
        settle(w);
    result->settled_s = (double)(w->now - healed_at) / 1e9;
    sim_oracle_finish(&w->oracle);
    result->failed_at_s = (double)w->now / 1e9; // as the trace counts
    if (!sim_oracle_has_failed(&w->oracle))
        leave(w, result);
    if (!sim_oracle_has_failed(&w->oracle))
        sim_gateway_verify(&w->gateway, w->now);
    report(w, result);
    count_faults(w, result);
    for (size_t i = 0; i < w->peers_count; i++) {
        if (!w->is_gone[i])
            sim_peer_fini(&w->peers[i]);
    }
    sim_gateway_fini(&w->gateway);
    sim_net_fini(&w->net);
    sim_wire_fini(&w->wire);
    sim_oracle_fini(&w->oracle);
}
