#include "gateway/io/udp_socket.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/wire/datagram.h"
#include "gateway/io/sockaddr.h"

static int fail_closing(int fd)
{
    const int saved = errno;

    if (fd >= 0)
        (void)close(fd);
    errno = saved;
    return pqb_err_from_errno(saved);
}

static int open_unbound(const struct pqb_addr *at)
{
    const int on = 1;
    const int fd = socket(at->family == 4 ? AF_INET : AF_INET6,
                          SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);

    if (fd < 0 || at->family == 4)
        return fd;
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0)
        return fd;
    (void)fail_closing(fd);
    return -1;
}

static int bind_to(int fd, const struct pqb_addr *at)
{
    struct sockaddr_storage name;
    const socklen_t len = pqb_sockaddr_from(&name, at);

    return bind(fd, (const struct sockaddr *)&name, len);
}

static int read_name(int fd, struct pqb_addr *out)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);

    if (getsockname(fd, (struct sockaddr *)&name, &len) != 0 || !pqb_sockaddr_to(out, &name))
        return -1;
    return 0;
}

int pqb_udp_probe(struct pqb_addr *at)
{
    const int fd = open_unbound(at);

    if (fd < 0 || bind_to(fd, at) != 0 || read_name(fd, at) != 0)
        return fail_closing(fd);
    (void)close(fd);
    return PQB_OK;
}

// The forced variant passes net.core.rmem_max but needs CAP_NET_ADMIN; without it the kernel
// grants what it grants, and its drops are counted.
static void set_buffer(int fd, int forced, int plain, uint64_t bytes)
{
    const int size = (int)PQB_MIN(bytes, (uint64_t)INT_MAX / 2);

    if (setsockopt(fd, SOL_SOCKET, forced, &size, sizeof(size)) != 0)
        (void)setsockopt(fd, SOL_SOCKET, plain, &size, sizeof(size));
}

// PMTUDISC_PROBE: DF is set and the kernel's own idea of the path's MTU is ignored, so that a
// forged ICMP message cannot shrink it.
static int set_dont_fragment(int fd, uint8_t family)
{
    const int probe4 = IP_PMTUDISC_PROBE, probe6 = IPV6_PMTUDISC_PROBE;

    if (family == 4)
        return setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe4, sizeof(probe4));
    return setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe6, sizeof(probe6));
}

static bool can_segment(int fd)
{
    int size = 0;
    socklen_t len = sizeof(size);

    return getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, &len) == 0;
}

int pqb_udp_socket_open(struct pqb_udp_socket *s, const struct pqb_addr *at,
                        const struct pqb_udp_config *config)
{
    const int on = 1;
    const int fd = open_unbound(at);

    *s = (struct pqb_udp_socket){.fd = -1};
    if (fd < 0)
        return fail_closing(fd);
    if (config->is_shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
        return fail_closing(fd);
    if (setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on)) != 0)
        return fail_closing(fd);
    if (set_dont_fragment(fd, at->family) != 0)
        return fail_closing(fd);
    set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, config->rcvbuf);
    set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, config->sndbuf);
    if (bind_to(fd, at) != 0 || read_name(fd, &s->local) != 0)
        return fail_closing(fd);
    s->fd = fd;
    s->has_segment = can_segment(fd);
    return PQB_OK;
}

void pqb_udp_socket_close(struct pqb_udp_socket *s)
{
    if (s->fd >= 0)
        (void)close(s->fd);
    s->fd = -1;
}

int pqb_udp_socket_steer(const struct pqb_udp_socket *s, uint32_t shards)
{
    // The packet begins at the UDP payload. A load beyond its end returns 0: shard 0 counts the
    // runt. An answer that is no socket's index makes the kernel choose by its hash of the
    // addresses, which spreads logins.
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x0f),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PQB_DATAGRAM_DATA, 0, 3),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 1), // first byte of the connection id
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, shards),
        BPF_STMT(BPF_RET | BPF_A, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog program = {.len = PQB_ARRAY_LEN(code), .filter = code};

    PQB_ASSERT(shards > 0);
    if (setsockopt(s->fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) != 0)
        return pqb_err_from_errno(errno);
    return PQB_OK;
}

uint64_t pqb_udp_socket_rcvbuf(const struct pqb_udp_socket *s)
{
    int size = 0;
    socklen_t len = sizeof(size);

    if (getsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &size, &len) != 0 || size < 0)
        return 0;
    return (uint64_t)size / 2; // the kernel doubles what was asked, for its own bookkeeping
}
