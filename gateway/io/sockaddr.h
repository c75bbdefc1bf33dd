// Between the protocol's addresses and the socket interface's. `local` and the scope of link-local
// IPv6 addresses are not carried.
#pragma once

#include <stdbool.h>

#include <sys/socket.h>

#include "common/base/addr.h"

socklen_t pqb_sockaddr_from(struct sockaddr_storage *out, const struct pqb_addr *addr);
bool pqb_sockaddr_to(struct pqb_addr *out, const struct sockaddr_storage *in); // false: not IP
