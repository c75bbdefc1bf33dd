// Socket helpers of the simulator's commands.
#pragma once

#include <sys/socket.h>

#include "common/base/addr.h"

// A non-blocking UDP socket bound to `bind_to`, or to any port of the loopback or wildcard address
// of `family` when NULL; large buffers. -1 on failure (errno).
int netio_socket(int family, const struct pqb_addr *bind_to);

socklen_t netio_to_sockaddr(const struct pqb_addr *a, struct sockaddr_storage *out);
void netio_from_sockaddr(const struct sockaddr_storage *from, struct pqb_addr *out);
