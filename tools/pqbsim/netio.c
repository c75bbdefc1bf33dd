#include "tools/pqbsim/netio.h"

#include <stddef.h>
#include <string.h>

#include <netinet/in.h>
#include <unistd.h>

#define BUFFER_BYTES (4 * 1024 * 1024)

socklen_t netio_to_sockaddr(const struct pqb_addr *a, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (a->family == 6) {
        struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};

        memcpy(&sin6.sin6_addr, a->ip, 16);
        memcpy(out, &sin6, sizeof(sin6));
        return sizeof(sin6);
    }
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(a->port)};

    memcpy(&sin.sin_addr, a->ip, 4);
    memcpy(out, &sin, sizeof(sin));
    return sizeof(sin);
}

void netio_from_sockaddr(const struct sockaddr_storage *from, struct pqb_addr *out)
{
    *out = (struct pqb_addr){0};
    if (from->ss_family == AF_INET6) {
        struct sockaddr_in6 sin6;

        memcpy(&sin6, from, sizeof(sin6));
        memcpy(out->ip, &sin6.sin6_addr, 16);
        out->port = ntohs(sin6.sin6_port);
        out->family = 6;
    } else {
        struct sockaddr_in sin;

        memcpy(&sin, from, sizeof(sin));
        memcpy(out->ip, &sin.sin_addr, 4);
        out->port = ntohs(sin.sin_port);
        out->family = 4;
    }
}

int netio_socket(int family, const struct pqb_addr *bind_to)
{
    const struct pqb_addr any = {.family = (uint8_t)family};
    const int size = BUFFER_BYTES;
    struct sockaddr_storage ss;
    socklen_t len = netio_to_sockaddr(bind_to != NULL ? bind_to : &any, &ss);
    int fd = socket(family == 6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    // As root the buffer may pass the system's limit; otherwise the limit is what there is.
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    if (bind(fd, (const struct sockaddr *)&ss, len) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}
