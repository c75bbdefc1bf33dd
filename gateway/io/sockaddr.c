#include "gateway/io/sockaddr.h"

#include <string.h>

#include <netinet/in.h>

#include "common/base/check.h"

socklen_t pqb_sockaddr_from(struct sockaddr_storage *out, const struct pqb_addr *addr)
{
    PQB_ASSERT(addr->family == 4 || addr->family == 6);
    if (addr->family == 4) {
        struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(addr->port)};

        memcpy(&sin.sin_addr, addr->ip, 4);
        memcpy(out, &sin, sizeof(sin));
        return sizeof(sin);
    }

    struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_port = htons(addr->port)};

    memcpy(&sin6.sin6_addr, addr->ip, 16);
    memcpy(out, &sin6, sizeof(sin6));
    return sizeof(sin6);
}

bool pqb_sockaddr_to(struct pqb_addr *out, const struct sockaddr_storage *in)
{
    memset(out, 0, sizeof(*out));
    if (in->ss_family == AF_INET) {
        struct sockaddr_in sin;

        memcpy(&sin, in, sizeof(sin));
        memcpy(out->ip, &sin.sin_addr, 4);
        out->port = ntohs(sin.sin_port);
        out->family = 4;
        return true;
    }
    if (in->ss_family == AF_INET6) {
        struct sockaddr_in6 sin6;

        memcpy(&sin6, in, sizeof(sin6));
        memcpy(out->ip, &sin6.sin6_addr, 16);
        out->port = ntohs(sin6.sin6_port);
        out->family = 6;
        return true;
    }
    return false;
}
