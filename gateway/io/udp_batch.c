#include "gateway/io/udp_batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>
#include <netinet/udp.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "gateway/io/io_stats.h"
#include "gateway/io/sockaddr.h"

// ----------------------------------------------------------------------------------- receive

struct pqb_udp_rx_buffers {
    struct mmsghdr messages[PQB_UDP_BATCH];
    struct iovec iov[PQB_UDP_BATCH];
    struct sockaddr_storage names[PQB_UDP_BATCH];
    _Alignas(struct cmsghdr) uint8_t control[PQB_UDP_BATCH][CMSG_SPACE(sizeof(uint32_t))];
    uint8_t data[PQB_UDP_BATCH][PQB_RX_LEN];
};

int pqb_udp_rx_init(struct pqb_udp_rx *rx, uint64_t *counters)
{
    memset(rx, 0, sizeof(*rx));
    rx->counters = counters;
    rx->buffers = calloc(1, sizeof(*rx->buffers));
    return rx->buffers != NULL ? PQB_OK : PQB_ERR_NOMEM;
}

void pqb_udp_rx_fini(struct pqb_udp_rx *rx)
{
    free(rx->buffers);
    rx->buffers = NULL;
}

static void prepare(struct pqb_udp_rx_buffers *b)
{
    for (size_t i = 0; i < PQB_UDP_BATCH; i++) {
        b->iov[i] = (struct iovec){.iov_base = b->data[i], .iov_len = PQB_RX_LEN};
        b->messages[i].msg_hdr = (struct msghdr){
            .msg_name = &b->names[i],
            .msg_namelen = sizeof(b->names[i]),
            .msg_iov = &b->iov[i],
            .msg_iovlen = 1,
            .msg_control = b->control[i],
            .msg_controllen = sizeof(b->control[i]),
        };
    }
}

// The kernel attaches its running count of drops once there were any.
static void note_drops(struct pqb_udp_rx *rx, struct pqb_udp_socket *s, struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        uint32_t drops;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_RXQ_OVFL)
            continue;
        memcpy(&drops, CMSG_DATA(c), sizeof(drops));
        rx->counters[PQB_IO_KERNEL_DROPS] += (uint32_t)(drops - s->kernel_drops_seen);
        s->kernel_drops_seen = drops;
    }
}

size_t pqb_udp_rx_read(struct pqb_udp_rx *rx, struct pqb_udp_socket *s, uint8_t local)
{
    struct pqb_udp_rx_buffers *b = rx->buffers;
    size_t count = 0;
    int got;

    prepare(b);
    got = recvmmsg(s->fd, b->messages, PQB_UDP_BATCH, MSG_DONTWAIT, NULL);
    if (got <= 0) {
        rx->counters[PQB_IO_RECEIVE_ERRORS] += got < 0 && errno != EAGAIN && errno != EINTR;
        return 0;
    }
    rx->counters[PQB_IO_RECEIVE_CALLS]++;
    note_drops(rx, s, &b->messages[got - 1].msg_hdr);
    for (int i = 0; i < got; i++) {
        struct pqb_rx_datagram *d = &rx->datagrams[count];

        if (!pqb_sockaddr_to(&d->from, &b->names[i]))
            continue;
        d->from.local = local;
        d->data = b->data[i];
        d->len = b->messages[i].msg_len;
        count++;
    }
    return count;
}

// -------------------------------------------------------------------------------------- send

#define SEGMENTS_MAX      64    // UDP_MAX_SEGMENTS of kernels before 6.9
#define SEGMENT_BYTES_MAX 64000 // one send is one IP packet to the kernel, at most 65507 bytes

int pqb_udp_tx_init(struct pqb_udp_tx *tx, uint64_t *counters)
{
    memset(tx, 0, sizeof(*tx));
    tx->counters = counters;
    tx->sendmmsg = sendmmsg;
    tx->slots = calloc(PQB_UDP_BATCH, sizeof(*tx->slots));
    return tx->slots != NULL ? PQB_OK : PQB_ERR_NOMEM;
}

void pqb_udp_tx_fini(struct pqb_udp_tx *tx)
{
    free(tx->slots);
    tx->slots = NULL;
}

struct pqb_transmit *pqb_udp_tx_slot(struct pqb_udp_tx *tx)
{
    return tx->count < PQB_UDP_BATCH ? &tx->slots[tx->count] : NULL;
}

void pqb_udp_tx_push(struct pqb_udp_tx *tx)
{
    PQB_ASSERT(tx->count < PQB_UDP_BATCH);
    PQB_ASSERT(tx->slots[tx->count].len > 0 && tx->slots[tx->count].len <= PQB_DATAGRAM_MAX);
    tx->count++;
}

// How many datagrams from `first` on can go as one: same peer, same length but for a shorter last.
static size_t run_length(const struct pqb_udp_tx *tx, size_t first, bool has_segment)
{
    const struct pqb_transmit *head = &tx->slots[first];
    size_t length = 1;
    size_t bytes = head->len;

    while (has_segment && first + length < tx->count && length < SEGMENTS_MAX) {
        const struct pqb_transmit *next = &tx->slots[first + length];

        if (!pqb_addr_is_equal(&next->to, &head->to) || next->len > head->len ||
            bytes + next->len > SEGMENT_BYTES_MAX)
            break;
        length++;
        bytes += next->len;
        if (next->len < head->len)
            break;
    }
    return length;
}

struct outgoing {
    struct mmsghdr messages[PQB_UDP_BATCH];
    struct iovec iov[PQB_UDP_BATCH];
    struct sockaddr_storage names[PQB_UDP_BATCH];
    _Alignas(struct cmsghdr) uint8_t control[PQB_UDP_BATCH][CMSG_SPACE(sizeof(uint16_t))];
    size_t lengths[PQB_UDP_BATCH]; // datagrams in each message
    unsigned count;
};

static void set_segment_size(struct outgoing *out, unsigned index, size_t size)
{
    struct msghdr *header = &out->messages[index].msg_hdr;
    const uint16_t segment = (uint16_t)size;
    struct cmsghdr *c;

    memset(out->control[index], 0, sizeof(out->control[index]));
    header->msg_control = out->control[index];
    header->msg_controllen = sizeof(out->control[index]);
    c = CMSG_FIRSTHDR(header);
    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof(segment));
    memcpy(CMSG_DATA(c), &segment, sizeof(segment));
}

// Turns what waits for one socket, from the first unsent on, into messages.
static void gather(struct pqb_udp_tx *tx, const struct pqb_udp_socket *s, struct outgoing *out)
{
    const uint8_t local = tx->slots[tx->sent].to.local;

    out->count = 0;
    for (size_t at = tx->sent; at < tx->count && tx->slots[at].to.local == local;) {
        const size_t length = run_length(tx, at, s->has_segment);
        struct msghdr *header = &out->messages[out->count].msg_hdr;

        for (size_t i = at; i < at + length; i++)
            out->iov[i] =
                (struct iovec){.iov_base = tx->slots[i].data, .iov_len = tx->slots[i].len};
        *header = (struct msghdr){
            .msg_name = &out->names[out->count],
            .msg_namelen = pqb_sockaddr_from(&out->names[out->count], &tx->slots[at].to),
            .msg_iov = &out->iov[at],
            .msg_iovlen = length,
        };
        if (length > 1)
            set_segment_size(out, out->count, tx->slots[at].len);
        out->lengths[out->count++] = length;
        at += length;
    }
}

static void note_sent(struct pqb_udp_tx *tx, const struct outgoing *out, int sent)
{
    for (int i = 0; i < sent; i++) {
        tx->sent += out->lengths[i];
        tx->counters[PQB_IO_SEGMENT_RUNS] += out->lengths[i] > 1;
    }
}

// Devices without checksum offload answer EIO, paths narrower than a segment EINVAL or EMSGSIZE.
static bool is_segment_refusal(int error)
{
    return error == EIO || error == EINVAL || error == EMSGSIZE || error == EOPNOTSUPP ||
           error == ENOPROTOOPT;
}

// The first message did not go, with `error`. true: go on with what is left.
static bool on_refusal(struct pqb_udp_tx *tx, struct pqb_udp_socket *s, const struct outgoing *out,
                       int error)
{
    if (error == EINTR)
        return true;
    if (error == EAGAIN) {
        tx->counters[PQB_IO_SEND_BLOCKED]++;
        return false;
    }
    if (out->lengths[0] > 1 && is_segment_refusal(error)) {
        s->has_segment = false;
        tx->counters[PQB_IO_SEGMENT_REFUSED]++;
        return true;
    }
    // No route, a firewall, no buffers: to the peer it is a lost datagram, and is repaired as one.
    tx->counters[PQB_IO_SEND_DROPPED] += out->lengths[0];
    tx->sent += out->lengths[0];
    return true;
}

int pqb_udp_tx_flush(struct pqb_udp_tx *tx, struct pqb_udp_socket *sockets, size_t *blocked)
{
    while (tx->sent < tx->count) {
        struct pqb_udp_socket *s = &sockets[tx->slots[tx->sent].to.local];
        struct outgoing out;
        int sent;

        gather(tx, s, &out);
        sent = tx->sendmmsg(s->fd, out.messages, out.count, MSG_DONTWAIT);
        tx->counters[PQB_IO_SEND_CALLS]++;
        if (sent > 0) {
            note_sent(tx, &out, sent);
        } else if (!on_refusal(tx, s, &out, sent == 0 ? EAGAIN : errno)) {
            *blocked = tx->slots[tx->sent].to.local;
            return PQB_ERR_AGAIN;
        }
    }
    tx->count = tx->sent = 0;
    return PQB_OK;
}
