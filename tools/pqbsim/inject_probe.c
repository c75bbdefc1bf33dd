// Logins measured beside an attack: what somebody who comes now has to wait.
#include <stdio.h>
#include <stdlib.h>

#include <sys/socket.h>
#include <unistd.h>

#include "tools/pqbsim/inject.h"
#include "tools/pqbsim/netio.h"

#define DEVICES    32 // they take turns, so that none logs in too often
#define PAUSE_NS   (50 * PQB_NS_PER_MS)
#define GIVE_UP_NS (10 * PQB_NS_PER_SEC)

struct inject_probe {
    struct inject *in;
    struct pqb_client_store *store;
    struct pqb_client *client;
    struct pqb_client_scratch *scratch;
    int fd;
    uint32_t count;
    pqb_tstamp begun_at, next_at;
};

struct inject_probe *inject_probe_create(struct inject *in)
{
    struct inject_probe *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    *p = (struct inject_probe){.in = in, .fd = -1};
    if (pqb_client_scratch_create(&p->scratch) != PQB_CLIENT_OK) {
        free(p);
        return NULL;
    }
    return p;
}

static void end(struct inject_probe *p, pqb_tstamp now)
{
    pqb_client_destroy(p->client);
    pqb_client_store_memory_destroy(p->store);
    if (p->fd >= 0)
        (void)close(p->fd);
    p->client = NULL;
    p->store = NULL;
    p->fd = -1;
    p->next_at = pqb_tstamp_add(now, PAUSE_NS);
}

void inject_probe_destroy(struct inject_probe *p)
{
    if (p == NULL)
        return;
    end(p, 0);
    pqb_client_scratch_destroy(p->scratch);
    free(p);
}

uint32_t inject_probe_begun(const struct inject_probe *p)
{
    return p->count;
}

static bool begin(struct inject_probe *p, pqb_tstamp now)
{
    struct sockaddr_storage ss;
    const socklen_t len = netio_to_sockaddr(&p->in->target, &ss);
    struct pqb_client_config config;
    uint8_t device_key[PQB_CLIENT_KEY_LEN];
    const char *names = p->in->names != NULL ? p->in->names : "";
    char user[FLEET_NAME_MAX];

    pqb_client_config_default(&config);
    (void)snprintf(user, sizeof(user), "%slogin%u", names, p->count++ % DEVICES);
    if (pqb_client_store_memory_create(&p->store) != PQB_CLIENT_OK)
        return false;
    config.user = user;
    config.device = "probe";
    config.store = p->store;
    config.scratch = p->scratch;
    pqb_rng_fill(&p->in->rng, config.seed, sizeof(config.seed));
    pqb_rng_fill(&p->in->rng, device_key, sizeof(device_key));
    if (p->in->server_key != NULL) {
        config.server_key = p->in->server_key;
        config.device_key = device_key;
    }
    p->fd = netio_socket(p->in->target.family, NULL);
    if (p->fd < 0 || connect(p->fd, (const struct sockaddr *)&ss, len) != 0 ||
        pqb_client_create(&p->client, &config, now) != PQB_CLIENT_OK)
        return false;
    p->begun_at = now;
    pqb_client_connect(p->client, now);
    return true;
}

static void transmit(struct inject_probe *p, pqb_tstamp now)
{
    uint8_t data[PQB_CLIENT_DATAGRAM_MAX];
    size_t len;

    while ((len = pqb_client_poll_transmit(p->client, data, sizeof(data), now)) > 0)
        (void)send(p->fd, data, len, MSG_DONTWAIT); // what is lost the client repeats
}

void inject_probe_turn(struct inject_probe *p, pqb_tstamp now)
{
    uint8_t data[2048];
    ssize_t len;

    if (p->client == NULL) {
        if (now < p->next_at)
            return;
        if (!begin(p, now)) {
            p->in->fare->logins_failed++;
            end(p, now);
            return;
        }
    }
    while ((len = recv(p->fd, data, sizeof(data), 0)) >= 0)
        pqb_client_on_datagram(p->client, data, (size_t)len, now);
    pqb_client_on_timeout(p->client, now);
    transmit(p, now);
    if (pqb_client_get_state(p->client) == PQB_CLIENT_ONLINE) {
        p->in->fare->logins++;
        pqb_hist_add(&p->in->fare->login_us, pqb_elapsed(p->begun_at, now) / PQB_NS_PER_US);
        pqb_client_close(p->client, now);
        transmit(p, now);
        end(p, now);
    } else if (pqb_elapsed(p->begun_at, now) > GIVE_UP_NS) {
        p->in->fare->logins_failed++;
        end(p, now);
    }
}
