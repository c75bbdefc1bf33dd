// One UDP socket of one shard: bound, non-blocking, DF set, kernel drops reported. With several
// shards each address has one socket a shard, in shard order, in one SO_REUSEPORT group, and a
// classic BPF filter in the kernel picks the socket: a datagram reaches its session's shard
// whatever address it comes from.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/addr.h"
#include "common/base/defs.h"

struct pqb_udp_socket {
    int fd;
    struct pqb_addr local;      // as bound: the port is never 0
    bool has_segment;           // UDP_SEGMENT works, as far as is known
    uint32_t kernel_drops_seen; // SO_RXQ_OVFL's last word
};

struct pqb_udp_config {
    bool is_shared; // one of several sockets on this address (SO_REUSEPORT)
    uint64_t rcvbuf, sndbuf;
};

// Finds out whether `at` is free and, for port 0, takes a free one and writes it back. A shared
// socket would bind beside a stranger's without an error; this one does not. PQB_ERR_EXISTS: in
// use; other errors leave errno.
PQB_MUST_USE int pqb_udp_probe(struct pqb_addr *at);

// errno tells more on failure; nothing stays open then.
PQB_MUST_USE int pqb_udp_socket_open(struct pqb_udp_socket *s, const struct pqb_addr *at,
                                     const struct pqb_udp_config *config);
void pqb_udp_socket_close(struct pqb_udp_socket *s); // closing twice is fine

// Attaches the filter to the group of `s`; call it on the first socket, before the others bind, so
// that no datagram is ever spread by chance. Afterwards the n-th socket bound is shard n's.
PQB_MUST_USE int pqb_udp_socket_steer(const struct pqb_udp_socket *s, uint32_t shards);

// Receive buffer in bytes that the kernel granted.
uint64_t pqb_udp_socket_rcvbuf(const struct pqb_udp_socket *s);
