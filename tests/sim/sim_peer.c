#include "tests/sim/sim_peer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "tests/sim/sim_faults.h"
#include "tests/sim/sim_history.h"
#include "tests/sim/sim_keys.h"
#include "tests/sim/sim_trace.h"

#define PULL_DELAY_NS (500 * PQB_NS_PER_MS)

static pqb_duration seconds(double s)
{
    return (pqb_duration)(s * 1e9);
}

static bool chance(struct sim_peer *p, double share)
{
    return share > 0 && pqb_rng_unit(&p->rng) < share;
}

static pqb_duration up_to(struct sim_peer *p, pqb_duration max)
{
    return max ? 1 + pqb_rng_below(&p->rng, max) : 0;
}

// What it draws from here on belongs to the next event of this kind.
static uint32_t next(struct sim_peer *p, enum sim_kind kind)
{
    return sim_events_next(p->events, kind, p->endpoint, &p->rng);
}

static bool may(struct sim_peer *p, enum sim_kind kind, uint32_t number)
{
    return sim_events_may(p->events, kind, p->endpoint, number, p->now);
}

// -------------------------------------------------------------------------------------- callbacks

static void die(struct sim_peer *p, bool is_power_cut)
{
    p->is_dying = true;
    p->is_power_cut = is_power_cut;
    p->disk->is_dead = true;
}

static const char *client_state_name(enum pqb_client_state state)
{
    switch (state) {
    case PQB_CLIENT_OFFLINE:
        return "offline";
    case PQB_CLIENT_CONNECTING:
        return "connecting";
    case PQB_CLIENT_ONLINE:
        return "online";
    case PQB_CLIENT_FAILED:
        return "at an end";
    }
    return "?";
}

static void die_over(struct sim_peer *p, const struct pqb_client_message *message,
                     bool is_power_cut)
{
    if (!p->has_taken)
        sim_oracle_on_death_over(p->disk->app, message->iseq);
    die(p, is_power_cut);
}

// Always the same messages for the same device.
static bool is_poison(const struct sim_peer *p, const struct pqb_client_message *message)
{
    struct pqb_rng rng;
    uint32_t number;

    if (p->plan->poison <= 0 || p->is_settling || message->len < sizeof(number))
        return false;
    memcpy(&number, message->body, sizeof(number)); // of the message: sim_oracle_body
    pqb_rng_init_seed(&rng, p->plan->seed ^ (uint64_t)number << 24 ^ p->device);
    return pqb_rng_unit(&rng) < p->plan->poison;
}

// Does it die over this one?
static bool is_overcome(struct sim_peer *p, const struct pqb_client_message *message)
{
    uint32_t number;

    if (!is_poison(p, message))
        return false;
    number = next(p, SIM_KIND_POISON);
    return may(p, SIM_KIND_POISON, number);
}

static void on_state(void *ctx, enum pqb_client_state state, enum pqb_client_reason reason)
{
    struct sim_peer *p = ctx;

    if (p->is_dying)
        return;
    if (sim_trace_is_on())
        sim_trace(p->now, "u%u/d%u is %s (%s)", p->user, p->device, client_state_name(state),
                  pqb_client_reason_name(reason));
    sim_trace_mix((uint64_t)state << 8 | (uint64_t)reason);
    p->logins += state == PQB_CLIENT_ONLINE;
    if (state == PQB_CLIENT_ONLINE)
        p->disk->app->online_at = p->now;
    if (state == PQB_CLIENT_FAILED) {
        if (reason != PQB_REASON_REPLACED)
            sim_oracle_fail(p->oracle, "the client of device %u has failed: %s", p->device,
                            pqb_client_reason_name(reason));
        (void)next(p, SIM_KIND_PEER_MOOD);
        p->connect_at = p->now + up_to(p, 5 * PQB_NS_PER_SEC);
    }
}

static enum sim_state state_of(enum pqb_client_receipt receipt)
{
    switch (receipt) {
    case PQB_RECEIPT_ACCEPTED:
        return SIM_ACCEPTED;
    case PQB_RECEIPT_STORED:
        return SIM_STORED;
    case PQB_RECEIPT_DELIVERED:
    case PQB_RECEIPT_READ:
        return SIM_DELIVERED;
    case PQB_RECEIPT_REFUSED:
        return SIM_REFUSED;
    case PQB_RECEIPT_ABANDONED:
        return SIM_ABANDONED;
    case PQB_RECEIPT_UNCERTAIN:
        return SIM_UNCERTAIN;
    }
    return SIM_PENDING;
}

// Is there a reason in this run for the gateway to refuse?
static bool is_fair_refusal(const struct sim_peer *p, const struct sim_message *m, unsigned refusal)
{
    const bool is_too_large = m->len > p->plan->body_max;
    const bool has_quota = p->plan->quota_messages < 10000;

    switch (refusal) {
    case PQB_REFUSAL_QUOTA:
        return has_quota;
    case PQB_REFUSAL_TOO_LARGE:
        return is_too_large;
    default:
        return false;
    }
}

static void on_receipt(void *ctx, uint64_t id, enum pqb_client_receipt receipt, unsigned refusal)
{
    struct sim_peer *p = ctx;
    const uint32_t message = sim_disk_message(p->disk, id);
    const enum sim_state state = state_of(receipt);

    if (p->is_dying)
        return;
    if (sim_trace_is_on())
        sim_trace(p->now, "u%u/d%u is told that message %u (seq %" PRIu64 ") is %s%s%s", p->user,
                  p->device, message, id, sim_state_name(state), refusal ? ": " : "",
                  refusal ? pqb_client_refusal_name(refusal) : "");
    sim_trace_mix(id << 8 | (uint64_t)state);
    if (message == SIM_MESSAGE_NONE) {
        sim_oracle_fail(p->oracle, "P4 device %u hears of id %" PRIu64 ", which it never got",
                        p->device, id);
        return;
    }
    if (state == SIM_REFUSED && !is_fair_refusal(p, &p->oracle->messages[message], refusal))
        sim_oracle_fail(p->oracle, "P5 message %u of device %u is refused for no reason (%u)",
                        message, p->device, refusal);
    sim_oracle_on_state(p->oracle, p->disk->app, message, state, p->now);
}

// Ephemeral messages are only looked at; a slow application refuses now and takes later.
static int on_message(void *ctx, const struct pqb_client_message *message, uint64_t cursor)
{
    struct sim_peer *p = ctx;
    uint32_t number;

    if (p->is_dying)
        return 1;
    number = next(p, SIM_KIND_PEER_TAKE);
    if (sim_trace_is_on())
        sim_trace(p->now, "u%u/d%u is handed %" PRIu64 " (%zu bytes) from %s/%s", p->user,
                  p->device, message->iseq & UINT32_MAX, message->len, message->from,
                  message->device);
    sim_trace_mix(message->iseq);
    if (cursor == 0) {
        sim_disk_take_early(p->disk, message);
        return 0;
    }
    if (!p->is_settling && chance(p, p->slowness) && may(p, SIM_KIND_SLOW, number)) {
        sim_fault_fired(SIM_FAULT_slow, 1);
        p->resume_at = p->now + up_to(p, 2 * PQB_NS_PER_SEC);
        return 1;
    }
    if (!p->is_settling && p->now < PQB_MAX(p->stalled_until, p->take_at)) {
        p->resume_at = PQB_MAX(p->stalled_until, p->take_at);
        return 1;
    }
    if (p->is_slow)
        p->take_at = p->now + up_to(p, seconds(p->plan->slow_ms / 1000));
    sim_oracle_on_hand_over(p->oracle, p->disk->app, message->iseq, p->disk->poison_limit);
    if (is_overcome(p, message)) {
        die_over(p, message, chance(p, 0.5));
        return 0;
    }
    if (!p->disk->is_atomic)
        sim_disk_take_early(p->disk, message);
    if (p->dies_at_next_take) {
        if (!p->disk->is_atomic)
            sim_oracle_may_take_again(p->oracle, p->disk->app, message->body, message->len);
        sim_fault_fired(SIM_FAULT_kill_in_take, 1);
        die_over(p, message, true);
    }
    p->has_taken = true;
    return 0;
}

static void on_gap(void *ctx, uint64_t from, uint64_t to, unsigned gap)
{
    struct sim_peer *p = ctx;

    if (p->is_dying)
        return;
    if (sim_trace_is_on())
        sim_trace(p->now, "u%u/d%u gap %" PRIu64 "-%" PRIu64 " (%u)", p->user, p->device,
                  from & UINT32_MAX, to & UINT32_MAX, gap);
    sim_disk_gap(p->disk, from, to, gap);
}

static void on_forgotten(void *ctx, uint64_t from, uint64_t to)
{
    struct sim_peer *p = ctx;

    if (p->is_dying)
        return;
    sim_trace(p->now, "u%u/d%u is told that %" PRIu64 "-%" PRIu64 " may be lost", p->user,
              p->device, from, to);
    for (size_t i = 0; i < p->disk->ids_count; i++) {
        if (p->disk->ids[i].id >= from && p->disk->ids[i].id <= to)
            sim_history_on_told_lost(p->oracle, p->disk->app, p->disk->ids[i].message);
    }
}

static void on_dead_letter(void *ctx, const struct pqb_client_dead_letter *letter)
{
    struct sim_peer *p = ctx;

    if (p->is_dying)
        return;
    if (sim_trace_is_on())
        sim_trace(p->now, "u%u/d%u puts %" PRIu64 " aside", p->user, p->device,
                  letter->iseq & UINT32_MAX);
    sim_trace_mix(letter->iseq);
    if (p->disk->durable.cursor < letter->iseq)
        sim_oracle_fail(p->oracle, "P2 device %u is told of a letter that may come again",
                        p->device);
}

static void on_backlog(void *ctx, uint64_t count)
{
    struct sim_peer *p = ctx;

    (void)count;
    (void)next(p, SIM_KIND_PEER_MOOD);
    if (p->pull_at == PQB_NEVER)
        p->pull_at = p->now + up_to(p, PULL_DELAY_NS);
}

static void on_ticket(void *ctx, const void *ticket, size_t len)
{
    struct sim_peer *p = ctx;

    if (p->is_dying)
        return;
    PQB_ASSERT(len <= sizeof(p->disk->ticket));
    if (len > 0)
        memcpy(p->disk->ticket, ticket, len);
    p->disk->ticket_len = len;
}

// ------------------------------------------------------------------------------------- life cycle

static bool draw_is_atomic(struct sim_peer *p)
{
    return chance(p, 0.7);
}

void sim_peer_init(struct sim_peer *p, const struct sim_plan *plan, struct sim_net *net,
                   struct sim_oracle *oracle, struct sim_events *events, uint32_t user,
                   uint32_t device)
{
    *p = (struct sim_peer){.plan = plan,
                           .net = net,
                           .oracle = oracle,
                           .events = events,
                           .user = user,
                           .device = device,
                           .start_at = PQB_NEVER,
                           .connect_at = PQB_NEVER,
                           .send_at = PQB_NEVER,
                           .pull_at = PQB_NEVER,
                           .resume_at = PQB_NEVER};
    p->endpoint = sim_net_attach(net);
    (void)next(p, SIM_KIND_PEER);
    p->has_memory_only = chance(p, plan->memory_share);
    p->has_auto_pull = chance(p, 0.6);
    p->may_send_offline = chance(p, plan->send_while_offline);
    p->slowness = chance(p, 0.2) ? 0.3 : 0;
    p->is_slow = chance(p, plan->slow_share);
    if (plan->encrypted > 0)
        p->without_aes = chance(p, plan->without_aes);
    sim_fault_fired(SIM_FAULT_memory, p->has_memory_only);
    p->disk = sim_disk_create(oracle, device, draw_is_atomic(p));
    p->disk->app->may_be_uncertain = p->has_memory_only;
    PQB_ASSERT(pqb_client_scratch_create(&p->scratch) == PQB_CLIENT_OK);
}

void sim_peer_fini(struct sim_peer *p)
{
    pqb_client_destroy(p->client);
    pqb_client_scratch_destroy(p->scratch);
    sim_disk_destroy(p->disk);
    sim_disk_destroy(p->backup);
}

void sim_peer_start(struct sim_peer *p, pqb_tstamp now)
{
    struct pqb_client_config config;
    uint8_t device_key[PQB_CLIENT_KEY_LEN];
    char user[32], device[32], token[48];
    int err;

    p->is_known = false;
    p->now = p->disk->now = now;
    (void)next(p, SIM_KIND_PEER_START);
    p->disk->app->process_at = now;
    pqb_client_config_default(&config);
    snprintf(user, sizeof(user), "u%u%s", p->user, p->oracle->name_tail);
    snprintf(device, sizeof(device), "d%u%s", p->device, p->oracle->name_tail);
    if (p->server_key) {
        memcpy(p->pinned, p->server_key, sizeof(p->pinned));
        sim_keys_device(p->plan, p->device, device_key);
        sim_keys_token(p->device, token, sizeof(token));
        config.server_key = p->pinned;
        config.device_key = device_key;
        config.token = token;
        config.ticket = p->disk->ticket;
        config.ticket_len = p->disk->ticket_len;
        config.without_aes = p->without_aes;
    }
    config.user = user;
    config.device = device;
    config.store = &p->disk->store;
    config.scratch = p->scratch;
    config.ctx = p;
    config.auto_pull = p->has_auto_pull;
    config.page_max = (uint32_t)p->plan->page_max;
    config.queue_max = 300;
    config.poison_limit = p->disk->poison_limit = (uint32_t)p->plan->poison_limit;
    config.callbacks = (struct pqb_client_callbacks){.on_state = on_state,
                                                     .on_receipt = on_receipt,
                                                     .on_message = on_message,
                                                     .on_gap = on_gap,
                                                     .on_forgotten = on_forgotten,
                                                     .on_backlog = on_backlog,
                                                     .on_ticket = on_ticket,
                                                     .on_dead_letter = on_dead_letter};
    pqb_rng_fill(&p->rng, config.seed, PQB_SIPHASH_KEY_LEN);
    memcpy(config.seed + PQB_SIPHASH_KEY_LEN, config.seed, PQB_SIPHASH_KEY_LEN); // of secrets
    err = pqb_client_create(&p->client, &config, now);
    if (err != PQB_CLIENT_OK) {
        sim_oracle_fail(p->oracle, "the client of device %u does not start: %s", p->device,
                        pqb_client_err_name(err));
        return;
    }
    sim_trace(now, "u%u/d%u starts", p->user, p->device);
    p->start_at = p->connect_at = p->pull_at = p->resume_at = PQB_NEVER;
    p->send_at = p->is_settling ? PQB_NEVER : now + up_to(p, seconds(p->plan->send_every_ms / 500));
    p->is_touched = true;
    pqb_client_connect(p->client, now);
}

void sim_peer_kill(struct sim_peer *p, bool is_power_cut, pqb_tstamp now)
{
    p->is_known = false;
    (void)next(p, SIM_KIND_PEER_DEATH);
    sim_trace(now, "u%u/d%u dies%s", p->user, p->device, is_power_cut ? " (power cut)" : "");
    pqb_client_destroy(p->client);
    p->client = NULL;
    p->is_dying = p->dies_at_next_take = p->has_taken = false;
    p->skips_count = 0;
    p->deaths++;
    p->disk->now = now;
    sim_disk_crash(p->disk, is_power_cut);
    if (p->server_key && p->disk->ticket_len > 0 && chance(p, p->plan->ticket_lost)) {
        sim_fault_fired(SIM_FAULT_ticket_lost, 1);
        p->disk->ticket_len = 0;
    }
    if (p->has_memory_only) {
        sim_disk_destroy(p->disk);
        p->disk = sim_disk_create(p->oracle, p->device, draw_is_atomic(p));
        p->disk->app->may_be_uncertain = true;
    }
    p->start_at = now + up_to(p, 3 * PQB_NS_PER_SEC);
}

// --------------------------------------------------------------------------------------- workload

static uint32_t draw_len(struct sim_peer *p)
{
    if (chance(p, p->plan->too_large))
        return (uint32_t)p->plan->body_max + 1 + (uint32_t)pqb_rng_below(&p->rng, 100);
    if (chance(p, p->plan->big)) {
        const double share = pqb_rng_unit(&p->rng);

        return 1000 + (uint32_t)(share * share * (p->plan->body_max - 1000));
    }
    return SIM_BODY_MIN + (uint32_t)pqb_rng_below(&p->rng, chance(p, 0.3) ? 1100 : 200);
}

static void note_skip(struct sim_peer *p, uint64_t id)
{
    if (p->skips_count < SIM_SKIPS_MAX)
        p->skips[p->skips_count++] = id;
}

static void queue(struct sim_peer *p, uint32_t number, uint32_t to_user, const uint8_t *body,
                  uint32_t message, uint32_t len)
{
    const bool is_ephemeral = p->oracle->messages[message].is_ephemeral;
    char to[32];
    uint64_t id = 0;
    int err;

    snprintf(to, sizeof(to), "u%u%s", to_user, p->oracle->name_tail);
    p->disk->next_message = message;
    p->disk->next_to_user = to_user;
    err =
        pqb_client_send(p->client, to, 0, body, len, is_ephemeral ? PQB_CLIENT_EPHEMERAL : 0, &id);
    p->disk->next_message = SIM_MESSAGE_NONE;
    if (err == PQB_CLIENT_ERR_FULL || err == PQB_CLIENT_ERR_AGAIN ||
        err == PQB_CLIENT_ERR_TOO_LARGE || err == PQB_CLIENT_ERR_CLOSED) {
        sim_oracle_withdraw(p->oracle, p->disk->app, message);
        p->refused_sends++;
        return;
    }
    if (err != PQB_CLIENT_OK) {
        sim_oracle_fail(p->oracle, "the client of device %u does not take a message: %s", p->device,
                        pqb_client_err_name(err));
        return;
    }
    if (is_ephemeral)
        return;
    sim_disk_note_id(p->disk, id, message);
    sim_trace(p->now, "u%u/d%u sends message %u (seq %" PRIu64 ", %u bytes) to %s", p->user,
              p->device, message, id, len, to);
    if (chance(p, p->plan->skip) && may(p, SIM_KIND_SKIP, number)) {
        sim_fault_fired(SIM_FAULT_skip, 1);
        note_skip(p, id);
    }
}

static void send_one(struct sim_peer *p, uint32_t number)
{
    const bool is_ephemeral = chance(p, p->plan->ephemeral);
    const uint32_t len = is_ephemeral ? 32 : draw_len(p);
    const uint32_t to_user = (uint32_t)pqb_rng_below(&p->rng, p->oracle->users_count);
    uint8_t *body = malloc(len);
    uint32_t message;

    PQB_ASSERT(body);
    message = sim_oracle_send(p->oracle, p->disk->app, to_user, len, is_ephemeral, p->now);
    sim_oracle_body(message, body, len);
    queue(p, number, to_user, body, message, len);
    free(body);
}

static void work(struct sim_peer *p)
{
    const uint64_t burst = (uint64_t)p->plan->send_burst;
    const bool may_send =
        p->may_send_offline || pqb_client_get_state(p->client) == PQB_CLIENT_ONLINE;

    for (size_t i = 0; i < p->skips_count; i++) {
        const int err = pqb_client_abandon(p->client, p->skips[i]);

        if (err != PQB_CLIENT_OK && err != PQB_CLIENT_ERR_NOT_FOUND)
            sim_oracle_fail(p->oracle, "the client of device %u does not abandon: %s", p->device,
                            pqb_client_err_name(err));
    }
    p->skips_count = 0;
    (void)next(p, SIM_KIND_PEER_TICK);
    p->send_at = p->now + up_to(p, seconds(p->plan->send_every_ms / 500 * (1 + (double)burst) / 2));
    for (uint64_t n = 1 + pqb_rng_below(&p->rng, burst), i = 0; i < n; i++) {
        const uint32_t number = next(p, SIM_KIND_SEND);

        if (may_send && may(p, SIM_KIND_SEND, number))
            send_one(p, number);
    }
}

// ------------------------------------------------------------------------------------------ turns

static void after_call(struct sim_peer *p)
{
    if (p->is_dying)
        sim_peer_kill(p, p->is_power_cut, p->now);
}

struct sim_effect sim_peer_on_datagram(struct sim_peer *p, const void *data, size_t len,
                                       pqb_tstamp now)
{
    struct sim_effect effect = {.dropped = 1};
    struct pqb_client_stats before, after;
    enum pqb_client_state state;
    uint64_t cid;

    p->is_known = false;
    if (!p->client)
        return effect;
    p->now = p->disk->now = now;
    p->is_touched = true;
    state = pqb_client_get_state(p->client);
    cid = pqb_client_cid(p->client);
    pqb_client_get_stats(p->client, &before);
    pqb_client_on_datagram(p->client, data, len, now);
    pqb_client_get_stats(p->client, &after);
    effect.dropped = after.dropped - before.dropped;
    effect.has_changed = state != pqb_client_get_state(p->client) ||
                         cid != pqb_client_cid(p->client) || before.srtt_ns != after.srtt_ns;
    after_call(p);
    return effect;
}

static void pull(struct sim_peer *p)
{
    const int err = pqb_client_pull(p->client, (uint32_t)p->plan->page_max);

    p->pull_at = PQB_NEVER;
    if (err == PQB_CLIENT_ERR_AGAIN && pqb_client_get_state(p->client) == PQB_CLIENT_ONLINE)
        p->pull_at = p->now + PULL_DELAY_NS;
    else if (err != PQB_CLIENT_OK && err != PQB_CLIENT_ERR_AGAIN)
        sim_oracle_fail(p->oracle, "the client of device %u does not pull: %s", p->device,
                        pqb_client_err_name(err));
}

static void transmit(struct sim_peer *p)
{
    uint8_t datagram[PQB_CLIENT_DATAGRAM_MAX];
    size_t len;

    while ((len = pqb_client_poll_transmit(p->client, datagram, sizeof(datagram), p->now)) > 0) {
        if (sim_trace_is_on()) {
            char what[32];

            snprintf(what, sizeof(what), "u%u/d%u >", p->user, p->device);
            sim_trace_datagram(p->now, what, datagram, len);
        }
        if (!p->is_dying)
            sim_net_send_up(p->net, p->endpoint, datagram, len, p->now);
    }
}

void sim_peer_turn(struct sim_peer *p, pqb_tstamp now)
{
    p->is_known = false;
    p->now = p->disk->now = now;
    p->is_touched = false;
    if (!p->client && p->start_at <= now)
        sim_peer_start(p, now);
    if (!p->client)
        return;
    if (p->connect_at <= now) {
        p->connect_at = PQB_NEVER;
        pqb_client_connect(p->client, now);
    }
    if (p->resume_at <= now) {
        p->resume_at = PQB_NEVER;
        pqb_client_resume(p->client);
    }
    if (p->pull_at <= now)
        pull(p);
    if (p->send_at <= now)
        work(p);
    pqb_client_on_timeout(p->client, now);
    transmit(p);
    after_call(p);
}

static pqb_tstamp find_deadline(const struct sim_peer *p)
{
    pqb_tstamp at = pqb_client_next_deadline(p->client);

    at = PQB_MIN(at, p->connect_at);
    at = PQB_MIN(at, p->resume_at);
    at = PQB_MIN(at, p->pull_at);
    return PQB_MIN(at, p->send_at);
}

// The world asks at every event; the client is asked only after something happened to it.
pqb_tstamp sim_peer_next_deadline(struct sim_peer *p)
{
    if (!p->client)
        return p->start_at;
    if (p->is_touched)
        return 0;
    if (!p->is_known)
        p->deadline = find_deadline(p);
    p->is_known = true;
    return p->deadline;
}

// ------------------------------------------------------------------------------------------ moods

void sim_peer_go_offline(struct sim_peer *p, pqb_duration away, pqb_tstamp now)
{
    p->is_known = false;
    if (!p->client)
        return;
    p->now = p->disk->now = now;
    sim_trace(now, "u%u/d%u logs out", p->user, p->device);
    pqb_client_close(p->client, now);
    p->connect_at = now + away;
    p->pull_at = PQB_NEVER;
    p->is_touched = true;
}

void sim_peer_keep_backup(struct sim_peer *p)
{
    sim_disk_destroy(p->backup);
    p->backup = sim_disk_copy(p->disk);
    p->backup->app->is_dormant = true;
}

void sim_peer_restore_backup(struct sim_peer *p, pqb_tstamp now)
{
    p->is_known = false;
    if (!p->backup)
        return;
    sim_trace(now, "u%u/d%u is restored from a backup", p->user, p->device);
    if (p->client)
        sim_peer_kill(p, false, now);
    sim_disk_destroy(p->disk);
    p->disk = p->backup;
    p->disk->app->is_dormant = false;
    p->backup = NULL;
}

void sim_peer_stall(struct sim_peer *p, pqb_tstamp until)
{
    p->stalled_until = PQB_MAX(p->stalled_until, until);
}

void sim_peer_settle(struct sim_peer *p, pqb_tstamp now)
{
    if (p->is_absent)
        return;
    p->is_known = false;
    p->is_settling = true;
    p->dies_at_next_take = false;
    p->send_at = PQB_NEVER;
    if (!p->client) {
        p->start_at = PQB_MIN(p->start_at, now);
        return;
    }
    if (p->connect_at != PQB_NEVER)
        p->connect_at = now;
    if (p->resume_at != PQB_NEVER)
        p->resume_at = now;
}

void sim_peer_log_out(struct sim_peer *p, pqb_tstamp now)
{
    p->is_known = false;
    sim_peer_go_offline(p, 0, now);
    p->connect_at = PQB_NEVER;
    p->start_at = PQB_NEVER;
}
