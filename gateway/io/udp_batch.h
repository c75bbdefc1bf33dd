// Datagrams in and out by the batch: recvmmsg, sendmmsg, and UDP_SEGMENT for runs of equal-sized
// datagrams to one peer. One pair belongs to one shard and serves all its sockets. Nothing is
// allocated after init.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/socket.h>

#include "common/base/addr.h"
#include "common/base/defs.h"
#include "gateway/core/engine.h"
#include "gateway/io/udp_socket.h"

#define PQB_UDP_BATCH 64
#define PQB_RX_LEN    2048 // larger than any datagram of ours, so that an oversized one shows

struct pqb_rx_datagram {
    struct pqb_addr from; // `local` is the index the reader was given
    const uint8_t *data;  // valid until the next read
    size_t len;
};

struct pqb_udp_rx {
    struct pqb_rx_datagram datagrams[PQB_UDP_BATCH];
    struct pqb_udp_rx_buffers *buffers;
    uint64_t *counters; // PQB_IO_*
};

PQB_MUST_USE int pqb_udp_rx_init(struct pqb_udp_rx *rx, uint64_t *counters);
void pqb_udp_rx_fini(struct pqb_udp_rx *rx);

// Reads up to PQB_UDP_BATCH datagrams; `local` goes into their addresses. Returns how many; 0: none
// are waiting. What is not from an IP address is left out.
size_t pqb_udp_rx_read(struct pqb_udp_rx *rx, struct pqb_udp_socket *s, uint8_t local);

// The system call of a flush; replaced in tests.
typedef int (*pqb_sendmmsg_fn)(int fd, struct mmsghdr *messages, unsigned count, int flags);

// A ring would gain nothing: a batch is filled, flushed, and only then filled again. What a full
// socket did not take stays for the next flush, so the bound is PQB_UDP_BATCH datagrams a shard;
// until they are gone the engine is not asked for more and keeps its own.
struct pqb_udp_tx {
    struct pqb_transmit *slots; // PQB_UDP_BATCH of them
    size_t count, sent;         // slots[sent..count) wait
    uint64_t *counters;         // PQB_IO_*
    pqb_sendmmsg_fn sendmmsg;
};

PQB_MUST_USE int pqb_udp_tx_init(struct pqb_udp_tx *tx, uint64_t *counters);
void pqb_udp_tx_fini(struct pqb_udp_tx *tx);

// A slot to compose into, or NULL when the batch is full: flush first.
struct pqb_transmit *pqb_udp_tx_slot(struct pqb_udp_tx *tx);
void pqb_udp_tx_push(struct pqb_udp_tx *tx); // the slot is filled; its `to.local` picks the socket

// Sends what waits. PQB_OK: all gone. PQB_ERR_AGAIN: sockets[*blocked] is full; flush again when
// it is writable. A datagram that the kernel refuses otherwise is dropped and counted.
PQB_MUST_USE int pqb_udp_tx_flush(struct pqb_udp_tx *tx, struct pqb_udp_socket *sockets,
                                  size_t *blocked);
