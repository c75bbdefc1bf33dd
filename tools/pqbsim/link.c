// pqbsim link: a UDP link with loss, duplication, reordering and delay, for any client and any
// target. Each client address gets an upstream socket of its own, as a NAT would give it a port;
// --rebind replaces that socket, which the target sees as an address change.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <poll.h>
#include <unistd.h>

#include "common/base/rng.h"
#include "tools/pqbsim/netio.h"
#include "tools/pqbsim/pcap.h"
#include "tools/pqbsim/pqbsim.h"

#define FLOWS_MAX    1024
#define FLOW_IDLE_NS (120 * PQB_NS_PER_SEC)
#define DATAGRAM_CAP 65536
#define BATCH_MAX    256 // datagrams read from one socket before the others have their turn

struct flow {
    struct pqb_addr client;
    int fd; // towards the target; -1: free
    pqb_tstamp used_at, rebind_at;
};

struct link {
    struct pqb_addr listen, target;
    struct impair_config config;
    pqb_duration rebind_ns;
    uint64_t seed;
    int fd;
    FILE *pcap;
    struct impair up, down;
    struct pqb_rng rng;
    struct flow flows[FLOWS_MAX];
    struct pollfd polls[FLOWS_MAX + 1];
    uint64_t refused_flows, rebinds;
};

static volatile sig_atomic_t is_stopped;

static void on_signal(int signum)
{
    (void)signum;
    is_stopped = 1;
}

static pqb_tstamp next_rebind(struct link *l, pqb_tstamp now)
{
    // Exponential by inverse transform would need libm; uniform on [0, 2S) has the same mean.
    return l->rebind_ns == 0 ? PQB_NEVER : now + pqb_rng_below(&l->rng, 2 * l->rebind_ns);
}

static struct flow *flow_of(struct link *l, const struct pqb_addr *client, pqb_tstamp now)
{
    struct flow *free_slot = NULL;

    for (size_t i = 0; i < FLOWS_MAX; i++) {
        struct flow *f = &l->flows[i];

        if (f->fd >= 0 && pqb_addr_is_equal(&f->client, client))
            return f;
        if (f->fd < 0 && free_slot == NULL)
            free_slot = f;
    }
    if (free_slot == NULL)
        return NULL;
    free_slot->fd = netio_socket(l->target.family, NULL);
    if (free_slot->fd < 0)
        return NULL;
    free_slot->client = *client;
    free_slot->rebind_at = next_rebind(l, now);
    return free_slot;
}

static void send_to(struct link *l, int fd, const struct pqb_addr *to, const struct pqb_addr *from,
                    const void *data, size_t len)
{
    struct sockaddr_storage ss;
    socklen_t ss_len = netio_to_sockaddr(to, &ss);

    // A full socket buffer is one more way for this network to lose a datagram.
    (void)sendto(fd, data, len, MSG_DONTWAIT, (const struct sockaddr *)&ss, ss_len);
    if (l->pcap != NULL && !pcap_write(l->pcap, from, to, data, len)) {
        fprintf(stderr, "pqbsim link: the capture can't be written (%s); it ends here\n",
                strerror(errno));
        (void)fclose(l->pcap);
        l->pcap = NULL;
    }
}

static void read_clients(struct link *l, pqb_tstamp now)
{
    static uint8_t data[DATAGRAM_CAP];

    for (int i = 0; i < BATCH_MAX; i++) {
        struct sockaddr_storage ss;
        socklen_t ss_len = sizeof(ss);
        struct pqb_addr from;
        struct flow *f;
        ssize_t len = recvfrom(l->fd, data, sizeof(data), 0, (struct sockaddr *)&ss, &ss_len);

        if (len < 0)
            return;
        netio_from_sockaddr(&ss, &from);
        f = flow_of(l, &from, now);
        if (f == NULL) {
            l->refused_flows++;
            continue;
        }
        f->used_at = now;
        impair_put(&l->up, f, data, (size_t)len, now);
    }
}

static void read_target(struct link *l, struct flow *f, pqb_tstamp now)
{
    static uint8_t data[DATAGRAM_CAP];

    for (int i = 0; i < BATCH_MAX; i++) {
        ssize_t len = recv(f->fd, data, sizeof(data), 0);

        if (len < 0)
            return;
        f->used_at = now;
        impair_put(&l->down, f, data, (size_t)len, now);
    }
}

static void forward(struct link *l, pqb_tstamp now)
{
    static uint8_t data[DATAGRAM_CAP];
    void *to;
    size_t len;

    while ((len = impair_take(&l->up, &to, data, sizeof(data), now)) > 0) {
        const struct flow *f = to;

        if (f->fd >= 0)
            send_to(l, f->fd, &l->target, &f->client, data, len);
    }
    while ((len = impair_take(&l->down, &to, data, sizeof(data), now)) > 0) {
        const struct flow *f = to;

        if (f->fd >= 0)
            send_to(l, l->fd, &f->client, &l->target, data, len);
    }
}

static void keep_flows(struct link *l, pqb_tstamp now)
{
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        struct flow *f = &l->flows[i];

        if (f->fd >= 0 && now - f->used_at > FLOW_IDLE_NS) {
            (void)close(f->fd);
            f->fd = -1;
        } else if (f->fd >= 0 && now >= f->rebind_at) {
            int fd = netio_socket(l->target.family, NULL);

            if (fd >= 0) {
                (void)close(f->fd);
                f->fd = fd;
                l->rebinds++;
            }
            f->rebind_at = next_rebind(l, now);
        }
    }
}

static int timeout_ms(const struct link *l, pqb_tstamp now)
{
    pqb_tstamp at = PQB_MIN(impair_next(&l->up), impair_next(&l->down));

    if (at <= now)
        return 0;
    return at - now > 200 * PQB_NS_PER_MS ? 200 : (int)((at - now) / PQB_NS_PER_MS) + 1;
}

static void run(struct link *l)
{
    while (!is_stopped) {
        nfds_t count = 1;
        pqb_tstamp now = cli_now();

        l->polls[0] = (struct pollfd){.fd = l->fd, .events = POLLIN};
        for (size_t i = 0; i < FLOWS_MAX; i++)
            l->polls[count++] = (struct pollfd){.fd = l->flows[i].fd, .events = POLLIN};
        if (poll(l->polls, count, timeout_ms(l, now)) < 0 && errno != EINTR)
            return;
        now = cli_now();
        if (l->polls[0].revents != 0)
            read_clients(l, now);
        for (size_t i = 0; i < FLOWS_MAX; i++) {
            if (l->polls[i + 1].fd >= 0 && l->polls[i + 1].revents != 0)
                read_target(l, &l->flows[i], now);
        }
        forward(l, now);
        keep_flows(l, now);
    }
}

static void report_direction(const char *name, const struct impair_stats *s)
{
    printf("%s: passed %llu, lost %llu, duplicated %llu, reordered %llu, overflowed %llu\n", name,
           (unsigned long long)s->passed, (unsigned long long)s->lost,
           (unsigned long long)s->duplicated, (unsigned long long)s->reordered,
           (unsigned long long)s->overflowed);
}

static int open_link(struct link *l, const char *pcap_path)
{
    l->fd = netio_socket(l->listen.family, &l->listen);
    if (l->fd < 0) {
        char what[256];

        (void)snprintf(what, sizeof(what), "cannot listen: %s", strerror(errno));
        (void)cli_wrong("pqbsim link", what, "Choose another --listen address.");
        return CLI_EXIT_FINDING;
    }
    if (pcap_path != NULL && (l->pcap = pcap_create(pcap_path)) == NULL) {
        char what[512];

        (void)snprintf(what, sizeof(what), "cannot write %s: %s", pcap_path, strerror(errno));
        (void)cli_wrong("pqbsim link", what, "Choose another --pcap file.");
        return CLI_EXIT_FINDING;
    }
    return CLI_EXIT_DONE;
}

static void print_ready(const struct link *l)
{
    char listen[PQB_ADDR_TEXT_MAX], target[PQB_ADDR_TEXT_MAX];
    struct sockaddr_storage ss;
    socklen_t ss_len = sizeof(ss);
    struct pqb_addr bound = l->listen;

    if (getsockname(l->fd, (struct sockaddr *)&ss, &ss_len) == 0)
        netio_from_sockaddr(&ss, &bound);
    pqb_addr_format(&bound, listen);
    pqb_addr_format(&l->target, target);
    printf("ready listen=%s target=%s seed=%llu\n", listen, target, (unsigned long long)l->seed);
    (void)fflush(stdout);
}

int pqbsim_link(int argc, char **argv)
{
    static struct link l;
    const char *pcap_path = NULL, *args[1];
    size_t arg_count;
    pqb_duration duration = 0;
    const struct cli_option options[] = {
        {.name = "listen",
         .type = CLI_ADDR,
         .out = &l.listen,
         .value = "H:P",
         .is_required = true,
         .help = "where clients send to"},
        {.name = "target",
         .type = CLI_ADDR,
         .out = &l.target,
         .value = "H:P",
         .is_required = true,
         .help = "the gateway"},
        {.name = "pcap",
         .type = CLI_TEXT,
         .out = &pcap_path,
         .value = "FILE",
         .help = "write what is passed on to a capture file"},
        {.name = "duration",
         .type = CLI_SECONDS,
         .out = &duration,
         .value = "S",
         .help = "stop by itself after S seconds"},
        PQBSIM_IMPAIRMENTS(l.config, l.rebind_ns, l.seed),
    };
    const struct cli_command command = {
        .name = "pqbsim link",
        .usage = "--listen H:P --target H:P [--option VALUE]...",
        .about = "A UDP link for any client: what arrives at --listen goes to --target and back, "
                 "through a\nnetwork as bad as the options say. Runs until it is interrupted.",
        .options = options,
        .option_count = PQB_ARRAY_LEN(options),
    };
    int status;

    l.seed = cli_now();
    status = cli_parse(&command, argc, argv, args, &arg_count);
    if (status != CLI_GO)
        return status;
    for (size_t i = 0; i < FLOWS_MAX; i++)
        l.flows[i].fd = -1;
    pqb_rng_init_seed(&l.rng, l.seed);
    impair_init(&l.up, &l.config, l.seed ^ 1);
    impair_init(&l.down, &l.config, l.seed ^ 2);
    status = open_link(&l, pcap_path);
    if (status != CLI_EXIT_DONE)
        return status;
    (void)signal(SIGINT, on_signal);
    (void)signal(SIGTERM, on_signal);
    if (duration > 0) {
        (void)signal(SIGALRM, on_signal);
        (void)alarm((unsigned)((duration + PQB_NS_PER_SEC - 1) / PQB_NS_PER_SEC));
    }
    print_ready(&l);
    run(&l);
    report_direction("up", &l.up.stats);
    report_direction("down", &l.down.stats);
    printf("rebinds %llu, refused clients %llu\n", (unsigned long long)l.rebinds,
           (unsigned long long)l.refused_flows);
    if (l.pcap != NULL)
        (void)fclose(l.pcap);
    impair_fini(&l.up);
    impair_fini(&l.down);
    return CLI_EXIT_DONE;
}
