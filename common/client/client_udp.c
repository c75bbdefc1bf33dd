// The ready driver: one connected UDP socket for one client. The only file of the library that
// knows sockets and the clock.
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/time.h"
#include "common/client/paquebot.h"

#define HOST_MAX         256
#define RECEIVE_MAX      64 // datagrams in one turn, so that timers get theirs
#define INITS_AN_ADDRESS 2  // unanswered, then the next address is tried

struct pqb_client_udp {
    struct pqb_client *c;
    int fd;
    char host[HOST_MAX], port[16];
    struct addrinfo *addresses, *current;
    uint64_t inits_seen; // stats.inits_sent when this address came into use
    uint64_t logins_seen;
};

uint64_t pqb_client_udp_now(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * PQB_NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

int pqb_client_udp_random(void *out, size_t len)
{
    uint8_t *at = out;

    while (len > 0) {
        const ssize_t n = getrandom(at, len, 0);

        if (n < 0 && errno != EINTR)
            return pqb_err_from_errno(errno);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
    return PQB_OK;
}

// "host:port" or "[v6]:port" into its parts.
static bool split(struct pqb_client_udp *u, const char *server)
{
    const char *colon = strrchr(server, ':');
    const char *host = server;
    size_t host_len;

    if (colon == NULL || colon == server || strlen(colon + 1) == 0 ||
        strlen(colon + 1) >= sizeof(u->port))
        return false;
    host_len = (size_t)(colon - server);
    if (host[0] == '[') {
        if (host[host_len - 1] != ']')
            return false;
        host++;
        host_len -= 2;
    } else if (memchr(host, ':', host_len) != NULL) {
        return false; // a bare IPv6 address: where it ends is anyone's guess
    }
    if (host_len == 0 || host_len >= sizeof(u->host))
        return false;
    memcpy(u->host, host, host_len);
    memcpy(u->port, colon + 1, strlen(colon + 1));
    return true;
}

static int resolve(struct pqb_client_udp *u)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;

    if (getaddrinfo(u->host, u->port, &hints, &found) != 0)
        return PQB_ERR_NOT_FOUND;
    if (u->addresses != NULL)
        freeaddrinfo(u->addresses);
    u->addresses = u->current = found;
    return PQB_OK;
}

// A socket connected to `current`, in place of the old one.
static int open_socket(struct pqb_client_udp *u)
{
    const struct addrinfo *a = u->current;
    const int room = 1 << 20; // a drain comes in bursts; the kernel takes what its limit allows
    int fd = socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return pqb_err_from_errno(errno);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    if (a->ai_family == AF_INET) {
        const int discover = IP_PMTUDISC_DO;

        (void)setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof(discover));
    }
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
        const int errnum = errno;

        (void)close(fd);
        return pqb_err_from_errno(errnum);
    }
    if (u->fd >= 0)
        (void)close(u->fd);
    u->fd = fd;
    return PQB_OK;
}

// The first address from `current` on to which a socket can be made.
static int open_any(struct pqb_client_udp *u)
{
    int err = PQB_ERR_NOT_FOUND;

    for (; u->current != NULL; u->current = u->current->ai_next) {
        err = open_socket(u);
        if (err == PQB_OK)
            return err;
    }
    u->current = u->addresses;
    return err;
}

// Logins that stay unanswered: perhaps another address answers, perhaps the name has moved.
static void try_next_address(struct pqb_client_udp *u)
{
    struct pqb_client_stats stats;

    pqb_client_get_stats(u->c, &stats);
    if (stats.logins != u->logins_seen) {
        u->logins_seen = stats.logins;
        u->inits_seen = stats.inits_sent;
    }
    if (pqb_client_cid(u->c) != 0 || stats.inits_sent - u->inits_seen <= INITS_AN_ADDRESS)
        return;
    u->inits_seen = stats.inits_sent;
    u->current = u->current->ai_next;
    if (u->current == NULL && resolve(u) != PQB_OK)
        u->current = u->addresses;
    (void)open_any(u); // on failure the old socket stays
}

int pqb_client_udp_create(struct pqb_client_udp **out, struct pqb_client *c, const char *server)
{
    struct pqb_client_udp *u = calloc(1, sizeof(*u));
    int err = PQB_ERR_INVALID;

    if (u == NULL)
        return PQB_ERR_NOMEM;
    u->c = c;
    u->fd = -1;
    if (split(u, server)) {
        err = resolve(u);
        if (err == PQB_OK)
            err = open_any(u);
    }
    if (err != PQB_OK) {
        pqb_client_udp_destroy(u);
        return err;
    }
    *out = u;
    return PQB_OK;
}

void pqb_client_udp_destroy(struct pqb_client_udp *u)
{
    if (u == NULL)
        return;
    if (u->fd >= 0)
        (void)close(u->fd);
    if (u->addresses != NULL)
        freeaddrinfo(u->addresses);
    free(u);
}

static void receive(struct pqb_client_udp *u, uint64_t now)
{
    uint8_t datagram[PQB_CLIENT_DATAGRAM_MAX + 1]; // one more, to tell what is too long

    for (int i = 0; i < RECEIVE_MAX; i++) {
        const ssize_t n = recv(u->fd, datagram, sizeof(datagram), 0);

        // ECONNREFUSED and its like tell of an earlier datagram; the timers deal with it.
        if (n < 0 && errno == EAGAIN)
            return;
        if (n >= 0)
            pqb_client_on_datagram(u->c, datagram, (size_t)n, now);
    }
}

static void transmit(struct pqb_client_udp *u, uint64_t now)
{
    uint8_t datagram[PQB_CLIENT_DATAGRAM_MAX];
    size_t len;

    // What the kernel does not take is lost like any other datagram.
    while ((len = pqb_client_poll_transmit(u->c, datagram, sizeof(datagram), now)) > 0)
        (void)send(u->fd, datagram, len, MSG_NOSIGNAL);
}

int pqb_client_udp_timeout_ms(const struct pqb_client_udp *u)
{
    const uint64_t at = pqb_client_next_deadline(u->c);
    const uint64_t now = pqb_client_udp_now();

    if (at == PQB_CLIENT_NEVER)
        return -1;
    if (at <= now)
        return 0;
    const uint64_t ms = (at - now + PQB_NS_PER_MS - 1) / PQB_NS_PER_MS;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

int pqb_client_udp_run(struct pqb_client_udp *u, int timeout_ms)
{
    struct pollfd pfd = {.fd = u->fd, .events = POLLIN};
    const int wanted = pqb_client_udp_timeout_ms(u);
    uint64_t now;

    if (wanted >= 0 && (timeout_ms < 0 || wanted < timeout_ms))
        timeout_ms = wanted;
    if (poll(&pfd, 1, timeout_ms) < 0 && errno != EINTR)
        return pqb_err_from_errno(errno);
    now = pqb_client_udp_now();
    if (pfd.revents != 0)
        receive(u, now);
    pqb_client_on_timeout(u->c, now);
    transmit(u, now);
    try_next_address(u);
    return PQB_OK;
}

int pqb_client_udp_fd(const struct pqb_client_udp *u)
{
    return u->fd;
}

void pqb_client_udp_close(struct pqb_client_udp *u)
{
    const uint64_t now = pqb_client_udp_now();

    pqb_client_close(u->c, now);
    transmit(u, now);
}
