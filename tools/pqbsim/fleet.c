#include "tools/pqbsim/fleet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/client/impl.h" // a gateway would know the reset token; here the client does
#include "common/wire/datagram.h"
#include "tools/cli/cli.h"
#include "tools/pqbsim/netio.h"

#define DATAGRAM_CAP   2048
#define RECV_BATCH_MAX 512                  // datagrams from one socket in a turn
#define AWAY_MEAN_NS   (3 * PQB_NS_PER_SEC) // how long a client stays logged out
#define EVENTS_MAX     FLEET_SOCKETS

struct fleet_sent { // which of the caller's messages a client's id names
    struct pqb_hnode node;
    uint64_t id, number;
};

// Ids are sequential; spread them over the buckets.
static uint64_t hash_u64(uint64_t value)
{
    value ^= value >> 33;
    value *= UINT64_C(0xff51afd7ed558ccd);
    return value ^ value >> 33;
}

static struct fleet_sent *find_sent(const struct fleet_client *fc, uint64_t id)
{
    struct pqb_hnode *node = pqb_htable_find(&fc->sent, hash_u64(id));

    while (node != NULL) {
        struct fleet_sent *sent = PQB_CONTAINER_OF(node, struct fleet_sent, node);

        if (sent->id == id)
            return sent;
        node = pqb_htable_find_next(node);
    }
    return NULL;
}

static void on_state(void *ctx, enum pqb_client_state state, enum pqb_client_reason reason)
{
    struct fleet_client *fc = ctx;
    const bool is_online = state == PQB_CLIENT_ONLINE;

    (void)reason;
    if (is_online && !fc->is_online) {
        fc->fleet->online++;
        fc->sessions++;
    }
    if (!is_online && fc->is_online)
        fc->fleet->online--;
    fc->is_online = is_online;
}

static void on_receipt(void *ctx, uint64_t id, enum pqb_client_receipt receipt, unsigned refusal)
{
    struct fleet_client *fc = ctx;
    struct fleet *f = fc->fleet;
    struct fleet_sent *sent = find_sent(fc, id);

    if (sent == NULL)
        return;
    f->config.on_receipt(f->config.ctx, sent->number, receipt, refusal, f->now);
    if (receipt >= PQB_RECEIPT_DELIVERED) {
        pqb_htable_remove(&fc->sent, &sent->node);
        free(sent);
    }
}

static int on_message(void *ctx, const struct pqb_client_message *message, uint64_t cursor)
{
    struct fleet_client *fc = ctx;

    (void)cursor;
    fc->fleet->config.on_message(fc->fleet->config.ctx, fc->index, message, fc->fleet->now);
    return 0;
}

static void on_ticket(void *ctx, const void *ticket, size_t len)
{
    struct fleet_client *fc = ctx;

    if (fc->fleet->config.without_tickets)
        return;
    fc->ticket_len = len;
    if (len > 0)
        memcpy(fc->ticket, ticket, len);
}

static void route(struct pqb_htable *table, struct pqb_hnode *node, uint64_t *current, uint64_t id)
{
    if (*current == id)
        return;
    if (*current != 0)
        pqb_htable_remove(table, node);
    *current = id;
    if (id != 0)
        pqb_htable_insert(table, node, hash_u64(id));
}

static void on_route(void *ctx, uint64_t init_id, uint64_t cid)
{
    struct fleet_client *fc = ctx;

    route(&fc->fleet->by_init, &fc->by_init, &fc->init_id, init_id);
    route(&fc->fleet->by_cid, &fc->by_cid, &fc->cid, cid);
}

static struct fleet_client *find_client(struct fleet *f, const void *data, size_t len)
{
    uint64_t id;
    struct pqb_hnode *node;

    switch (pqb_client_datagram_id(data, len, &id)) {
    case PQB_CLIENT_ID_NONE:
        return NULL;
    case PQB_CLIENT_ID_INIT:
        for (node = pqb_htable_find(&f->by_init, hash_u64(id)); node != NULL;
             node = pqb_htable_find_next(node)) {
            struct fleet_client *fc = PQB_CONTAINER_OF(node, struct fleet_client, by_init);

            if (fc->init_id == id)
                return fc;
        }
        return NULL;
    case PQB_CLIENT_ID_CID:
        for (node = pqb_htable_find(&f->by_cid, hash_u64(id)); node != NULL;
             node = pqb_htable_find_next(node)) {
            struct fleet_client *fc = PQB_CONTAINER_OF(node, struct fleet_client, by_cid);

            if (fc->cid == id)
                return fc;
        }
        return NULL;
    }
    return NULL;
}

int fleet_check_names(const char *command, const char *names)
{
    if (names == NULL || strlen(names) <= FLEET_NAMES_MAX)
        return CLI_EXIT_DONE;
    return cli_wrong(command, "--names is too long", "Up to 48 bytes go before the number.");
}

size_t fleet_user_name(const struct fleet *f, uint32_t index, char name[FLEET_NAME_MAX])
{
    const char *names = f->config.names != NULL ? f->config.names : "load";

    return (size_t)snprintf(name, FLEET_NAME_MAX, "%s%u", names, index);
}

static int make_client(struct fleet_client *fc, pqb_tstamp now)
{
    struct pqb_client_config config;
    char user[FLEET_NAME_MAX];

    pqb_client_config_default(&config);
    (void)fleet_user_name(fc->fleet, fc->index, user);
    config.user = user;
    config.device = "sim";
    config.store = fc->store;
    config.scratch = fc->fleet->scratch;
    config.callbacks = (struct pqb_client_callbacks){.on_state = on_state,
                                                     .on_receipt = on_receipt,
                                                     .on_message = on_message,
                                                     .on_route = on_route,
                                                     .on_ticket = on_ticket};
    config.ctx = fc;
    if (fc->fleet->config.server_key != NULL) {
        config.server_key = fc->fleet->config.server_key;
        config.device_key = fc->device_key;
        config.ticket = fc->ticket;
        config.ticket_len = fc->ticket_len;
        config.without_aes = fc->fleet->config.without_aes;
    }
    pqb_rng_fill(&fc->fleet->rng, config.seed, sizeof(config.seed));
    return pqb_client_create(&fc->client, &config, now);
}

static void add_stats(struct fleet_totals *totals, const struct pqb_client *client)
{
    struct pqb_client_stats stats;

    pqb_client_get_stats(client, &stats);
    totals->retransmitted += stats.retransmitted;
    totals->logins += stats.logins;
    totals->inits_max = PQB_MAX(totals->inits_max, stats.inits_sent);
}

// What a crash of the application leaves: the store.
static void crash_client(struct fleet_client *fc)
{
    add_stats(&fc->fleet->totals, fc->client);
    on_state(fc, PQB_CLIENT_OFFLINE, PQB_REASON_NONE);
    on_route(fc, 0, 0);
    pqb_client_destroy(fc->client);
    fc->client = NULL;
}

static void transmit(struct fleet_client *fc, const void *data, size_t len)
{
    struct fleet *f = fc->fleet;

    f->totals.datagrams_out++;
    if (f->is_cut)
        return;
    if (f->config.on_transmit != NULL)
        f->config.on_transmit(f->config.ctx, fc->index, data, len);
    if (send(f->sockets[fc->socket], data, len, MSG_DONTWAIT) < 0)
        f->totals.send_failed++;
}

// Lets the client say what it has to say, and arms its timer.
static void pump(struct fleet_client *fc)
{
    struct fleet *f = fc->fleet;
    uint8_t data[DATAGRAM_CAP];
    pqb_tstamp at = PQB_MIN(fc->switch_at, fc->rebind_at);
    size_t len;

    if (fc->client != NULL) {
        if (pqb_client_next_deadline(fc->client) <= f->now)
            pqb_client_on_timeout(fc->client, f->now);
        while ((len = pqb_client_poll_transmit(fc->client, data, sizeof(data), f->now)) > 0) {
            traffic_add(&f->traffic, true, data, len, f->online, f->now);
            if (fc->rebound_at != PQB_NEVER && fc->gap_from == PQB_NEVER)
                fc->gap_from = f->now;
            if (impair_is_clear(&f->up))
                transmit(fc, data, len);
            else
                impair_put(&f->up, fc, data, len, f->now);
        }
        at = PQB_MIN(at, pqb_client_next_deadline(fc->client));
    }
    pqb_timerq_set(&f->timers, &fc->timer, PQB_MIN(at, fc->start_at));
}

// A datagram for the newest address came. What was under way before the change does not count.
static void measure_gap(struct fleet_client *fc)
{
    struct fleet *f = fc->fleet;
    const pqb_duration under_way = f->config.impair.delay + f->config.impair.jitter;

    if (fc->gap_from == PQB_NEVER || f->now <= pqb_tstamp_add(fc->rebound_at, under_way))
        return;
    pqb_hist_add(&f->rebind_gap_us, pqb_elapsed(fc->gap_from, f->now) / PQB_NS_PER_US);
    fc->rebound_at = fc->gap_from = PQB_NEVER;
}

static void receive(struct fleet_client *fc, const void *data, size_t len)
{
    if (fc->client == NULL)
        return;
    measure_gap(fc);
    pqb_client_on_datagram(fc->client, data, len, fc->fleet->now);
    pump(fc);
}

static pqb_duration around(struct fleet *f, pqb_duration mean)
{
    return mean / 2 + pqb_rng_below(&f->rng, mean + 1);
}

// How long a client stays as it is, so that `offline` of them are away on average.
static pqb_tstamp next_switch(struct fleet_client *fc)
{
    struct fleet *f = fc->fleet;
    const double away = f->config.offline;
    double mean = (double)AWAY_MEAN_NS;

    if (f->is_settling || !(away > 0) || !(away < 1))
        return PQB_NEVER;
    if (fc->is_wanted)
        mean = mean * (1 - away) / away;
    return f->now + around(f, (pqb_duration)mean);
}

// The clients begin in the middle of their stretches, or they would all go at about the same time.
static pqb_tstamp first_switch(struct fleet_client *fc)
{
    const pqb_tstamp at = next_switch(fc), now = fc->fleet->now;

    return at == PQB_NEVER ? at : now + pqb_rng_below(&fc->fleet->rng, at - now + 1);
}

static void come_online(struct fleet_client *fc)
{
    fc->is_wanted = true;
    if (fc->client == NULL && make_client(fc, fc->fleet->now) != PQB_CLIENT_OK)
        return; // no memory now: the next switch tries again
    pqb_client_connect(fc->client, fc->fleet->now);
}

// Half of the departures are log-outs, half are crashes that only the store survives.
static void go_away(struct fleet_client *fc)
{
    fc->is_wanted = false;
    if (fc->client == NULL)
        return;
    if (pqb_rng_below(&fc->fleet->rng, 2) == 0)
        crash_client(fc);
    else
        pqb_client_close(fc->client, fc->fleet->now);
}

static void rebind_client(struct fleet_client *fc)
{
    struct fleet *f = fc->fleet;

    fc->socket =
        (fc->socket + 1 + (uint32_t)pqb_rng_below(&f->rng, FLEET_SOCKETS - 1)) % FLEET_SOCKETS;
    fc->rebind_at = f->now + around(f, f->config.rebind_ns);
    fc->rebound_at = f->now;
    fc->gap_from = PQB_NEVER;
    f->totals.rebinds++;
}

static void on_timer(struct fleet_client *fc)
{
    struct fleet *f = fc->fleet;

    if (f->now >= fc->start_at) {
        fc->start_at = PQB_NEVER;
        if (fc->is_wanted)
            come_online(fc);
        fc->switch_at = first_switch(fc);
    }
    if (f->now >= fc->switch_at) {
        if (fc->is_wanted)
            go_away(fc);
        else
            come_online(fc);
        fc->switch_at = next_switch(fc);
    }
    if (f->now >= fc->rebind_at)
        rebind_client(fc);
    pump(fc);
}

static void read_socket(struct fleet *f, uint32_t socket)
{
    uint8_t data[DATAGRAM_CAP];

    for (int i = 0; i < RECV_BATCH_MAX; i++) {
        ssize_t len = recv(f->sockets[socket], data, sizeof(data), 0);
        struct fleet_client *fc;

        if (len < 0 && errno == ECONNREFUSED) // the gateway is down: a lost datagram
            continue;
        if (len < 0)
            return;
        traffic_add(&f->traffic, false, data, (size_t)len, f->online, f->now);
        if (f->is_cut)
            continue;
        fc = find_client(f, data, (size_t)len);
        if (fc == NULL || fc->socket != socket) {
            f->totals.strays++;
            continue;
        }
        f->totals.datagrams_in++;
        if (impair_is_clear(&f->down))
            receive(fc, data, (size_t)len);
        else
            impair_put(&f->down, fc, data, (size_t)len, f->now);
    }
}

static void deliver_impaired(struct fleet *f)
{
    uint8_t data[DATAGRAM_CAP];
    void *to;
    size_t len;

    while ((len = impair_take(&f->down, &to, data, sizeof(data), f->now)) > 0)
        receive(to, data, len);
    while ((len = impair_take(&f->up, &to, data, sizeof(data), f->now)) > 0)
        transmit(to, data, len);
}

pqb_tstamp fleet_run(struct fleet *f, pqb_tstamp until)
{
    struct epoll_event events[EVENTS_MAX];
    pqb_tstamp now = cli_now();
    pqb_tstamp at = PQB_MIN(until, pqb_timerq_next_deadline(&f->timers));
    struct timespec wait = {0};
    struct pqb_timer *timer;
    int count;

    at = PQB_MIN(at, PQB_MIN(impair_next(&f->up), impair_next(&f->down)));
    if (at > now) {
        const pqb_duration ns = PQB_MIN(at - now, PQB_NS_PER_SEC);

        wait = (struct timespec){.tv_sec = (time_t)(ns / PQB_NS_PER_SEC),
                                 .tv_nsec = (long)(ns % PQB_NS_PER_SEC)};
    }
    count = epoll_pwait2(f->epoll_fd, events, EVENTS_MAX, &wait, NULL);
    f->now = cli_now();
    for (int i = 0; i < count; i++)
        read_socket(f, events[i].data.u32);
    deliver_impaired(f);
    while ((timer = pqb_timerq_pop_expired(&f->timers, f->now)) != NULL)
        on_timer(PQB_CONTAINER_OF(timer, struct fleet_client, timer));
    return f->now;
}

int fleet_send(struct fleet *f, uint32_t from, uint32_t to, const void *body, size_t len,
               uint64_t number)
{
    struct fleet_client *fc = &f->clients[from];
    struct fleet_sent *sent;
    char name[FLEET_NAME_MAX];
    uint64_t id;
    int err;

    if (fc->client == NULL)
        return PQB_CLIENT_ERR_CLOSED;
    sent = malloc(sizeof(*sent));
    if (sent == NULL)
        return PQB_CLIENT_ERR_NOMEM;
    (void)fleet_user_name(f, to, name);
    err = pqb_client_send(fc->client, name, 0, body, len, 0, &id);
    if (err != PQB_CLIENT_OK) {
        free(sent);
        return err;
    }
    *sent = (struct fleet_sent){.id = id, .number = number};
    pqb_htable_insert(&fc->sent, &sent->node, hash_u64(id));
    pqb_timerq_set(&f->timers, &fc->timer, f->now);
    return PQB_CLIENT_OK;
}

void fleet_settle(struct fleet *f)
{
    f->is_settling = true;
    for (uint32_t i = 0; i < f->config.clients; i++) {
        struct fleet_client *fc = &f->clients[i];

        fc->switch_at = PQB_NEVER;
        if (!fc->is_wanted) {
            fc->is_wanted = true;
            fc->start_at = f->now + pqb_rng_below(&f->rng, PQB_NS_PER_SEC);
            pqb_timerq_set(&f->timers, &fc->timer, fc->start_at);
        }
    }
}

void fleet_forget(struct fleet *f, uint32_t index)
{
    struct fleet_client *fc = &f->clients[index];
    struct pqb_reset reset = {.cid = fc->cid};
    uint8_t data[PQB_DATAGRAM_MAX];

    if (fc->cid == 0)
        return;
    memcpy(reset.token, fc->client->login.reset_token, PQB_RESET_LEN);
    receive(fc, data, pqb_reset_encode(&reset, data));
}

void fleet_cut(struct fleet *f, bool is_cut)
{
    f->is_cut = is_cut;
}

void fleet_get_totals(const struct fleet *f, struct fleet_totals *out)
{
    *out = f->totals;
    for (uint32_t i = 0; i < f->config.clients; i++) {
        if (f->clients[i].client != NULL)
            add_stats(out, f->clients[i].client);
    }
}

static int open_sockets(struct fleet *f)
{
    struct sockaddr_storage ss;
    const socklen_t len = netio_to_sockaddr(&f->config.target, &ss);

    f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (f->epoll_fd < 0)
        return PQB_ERR_IO;
    for (uint32_t i = 0; i < FLEET_SOCKETS; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

        f->sockets[i] = netio_socket(f->config.target.family, NULL);
        if (f->sockets[i] < 0 || connect(f->sockets[i], (const struct sockaddr *)&ss, len) != 0 ||
            epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, f->sockets[i], &event) != 0)
            return PQB_ERR_IO;
    }
    return PQB_OK;
}

static int init_client(struct fleet *f, uint32_t index, pqb_tstamp now)
{
    struct fleet_client *fc = &f->clients[index];

    *fc = (struct fleet_client){.fleet = f,
                                .index = index,
                                .socket = index % FLEET_SOCKETS,
                                .is_wanted = pqb_rng_unit(&f->rng) >= f->config.offline,
                                .start_at = now + f->config.ramp_ns * index / f->config.clients,
                                .switch_at = PQB_NEVER,
                                .rebind_at = PQB_NEVER,
                                .rebound_at = PQB_NEVER,
                                .gap_from = PQB_NEVER};
    if (f->config.server_key != NULL)
        pqb_rng_fill(&f->rng, fc->device_key, sizeof(fc->device_key));
    pqb_timer_init(&fc->timer);
    if (f->config.rebind_ns > 0)
        fc->rebind_at = fc->start_at + around(f, f->config.rebind_ns);
    if (pqb_htable_init(&fc->sent) != PQB_OK ||
        pqb_client_store_memory_create(&fc->store) != PQB_CLIENT_OK)
        return PQB_ERR_NOMEM;
    if (make_client(fc, now) != PQB_CLIENT_OK)
        return PQB_ERR_NOMEM;
    pqb_timerq_set(&f->timers, &fc->timer, fc->start_at);
    return PQB_OK;
}

int fleet_init(struct fleet *f, const struct fleet_config *config, pqb_tstamp now)
{
    int err;

    *f = (struct fleet){.config = *config, .epoll_fd = -1, .now = now};
    for (uint32_t i = 0; i < FLEET_SOCKETS; i++)
        f->sockets[i] = -1;
    pqb_rng_init_seed(&f->rng, config->seed);
    impair_init(&f->up, &config->impair, config->seed ^ 1);
    impair_init(&f->down, &config->impair, config->seed ^ 2);
    pqb_timerq_init(&f->timers);
    f->clients = calloc(config->clients, sizeof(*f->clients));
    if (f->clients == NULL || traffic_init(&f->traffic, now) != PQB_OK ||
        pqb_htable_init(&f->by_init) != PQB_OK || pqb_htable_init(&f->by_cid) != PQB_OK ||
        pqb_timerq_reserve(&f->timers, config->clients) != PQB_OK ||
        pqb_client_scratch_create(&f->scratch) != PQB_CLIENT_OK)
        return PQB_ERR_NOMEM;
    err = open_sockets(f);
    for (uint32_t i = 0; err == PQB_OK && i < config->clients; i++)
        err = init_client(f, i, now);
    return err;
}

static void fini_client(struct fleet_client *fc)
{
    struct pqb_hnode *node;

    pqb_client_destroy(fc->client);
    pqb_client_store_memory_destroy(fc->store);
    while ((node = pqb_htable_next(&fc->sent, NULL)) != NULL) {
        pqb_htable_remove(&fc->sent, node);
        free(PQB_CONTAINER_OF(node, struct fleet_sent, node));
    }
    pqb_htable_fini(&fc->sent);
}

void fleet_fini(struct fleet *f)
{
    for (uint32_t i = 0; f->clients != NULL && i < f->config.clients; i++) {
        if (f->clients[i].fleet != NULL)
            fini_client(&f->clients[i]);
    }
    for (uint32_t i = 0; i < FLEET_SOCKETS; i++) {
        if (f->sockets[i] >= 0)
            (void)close(f->sockets[i]);
    }
    if (f->epoll_fd >= 0)
        (void)close(f->epoll_fd);
    free(f->clients);
    traffic_fini(&f->traffic);
    pqb_client_scratch_destroy(f->scratch);
    pqb_htable_fini(&f->by_init);
    pqb_htable_fini(&f->by_cid);
    pqb_timerq_fini(&f->timers);
    impair_fini(&f->up);
    impair_fini(&f->down);
}
