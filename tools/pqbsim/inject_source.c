// Where an attack comes from: a socket or more for each kind of datagram.
#include <string.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/wire/frame.h"
#include "tools/pqbsim/inject.h"
#include "tools/pqbsim/netio.h"

#define BURST_MAX         512 // datagrams in one turn, when the machine fell behind
#define SPOOFED_ADDRESSES 10000

size_t inject_make_init(struct inject *in, unsigned pool, const char *user, const char *device,
                        uint64_t init_id, const uint8_t *cookie, uint8_t *out)
{
    const struct pqb_init init = {.init_id = init_id,
                                  .cookie = cookie,
                                  .cookie_len = cookie != NULL ? PQB_COOKIE_LEN : 0,
                                  .user = {user, strlen(user)},
                                  .device = {device, strlen(device)},
                                  .token = {"guess", 5}};

    return sealed_stranger(&in->gateway, pool, &init, out);
}

size_t inject_make_ping(uint64_t cid, uint64_t pn, uint64_t nonce, uint8_t *out)
{
    const struct pqb_data header = {.cid = cid, .pn = pn};
    const struct pqb_frame ping = {.type = PQB_FRAME_PING, .ping = {.nonce = nonce}};

    pqb_data_header_encode(&header, out);
    return PQB_DATA_HEADER_LEN + pqb_frame_encode(&ping, out + PQB_DATA_HEADER_LEN, PQB_FRAMES_MAX);
}

static bool is_loopback(const struct inject *in)
{
    return in->target.family == 4 && in->target.ip[0] == 127;
}

static bool may_spoof(const struct inject *in)
{
    return in->scenario->is_spoofing && is_loopback(in);
}

// All of 127.0.0.0/8 is this machine's, so a flood on loopback can come from everywhere. What is
// answered to an address that was made up comes back to the wildcard socket that made it up.
static int open_source(struct inject *in)
{
    struct pqb_addr from = {.family = in->target.family};
    struct sockaddr_storage ss;
    const socklen_t len = netio_to_sockaddr(&in->target, &ss);
    int fd;

    if (may_spoof(in))
        return netio_socket(4, NULL);
    if (is_loopback(in)) {
        from.ip[0] = 127;
        from.ip[1] = (uint8_t)(1 + pqb_rng_below(&in->rng, 254));
        from.ip[2] = (uint8_t)pqb_rng_below(&in->rng, 256);
        from.ip[3] = (uint8_t)(1 + pqb_rng_below(&in->rng, 254));
    }
    fd = netio_socket(in->target.family, is_loopback(in) ? &from : NULL);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&ss, len) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

int inject_open_sources(struct inject *in)
{
    const uint32_t count = in->scenario->sources * (uint32_t)in->scenario->kind_count;

    PQB_ASSERT(count <= INJECT_SOURCES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        in->sources[i].fd = open_source(in);
        in->sources[i].kind = i / in->scenario->sources;
        if (in->sources[i].fd < 0)
            return PQB_ERR_IO;
        in->source_count++;
    }
    return PQB_OK;
}

void inject_close_sources(struct inject *in)
{
    for (uint32_t i = 0; i < in->source_count; i++)
        (void)close(in->sources[i].fd);
    in->source_count = 0;
}

static void count_sent(struct inject *in, uint32_t kind, size_t len, bool is_sent)
{
    struct inject_count *count = &in->counts[kind];

    if (!is_sent) {
        count->failed++;
        return;
    }
    count->sent++;
    count->sent_bytes += len;
}

// From one of SPOOFED_ADDRESSES, always the same ones.
static bool send_spoofed(struct inject *in, int fd, const uint8_t *data, size_t len)
{
    const uint32_t n = (uint32_t)pqb_rng_below(&in->rng, SPOOFED_ADDRESSES);
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(struct in_pktinfo))] = {0};
    struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(UINT32_C(0x7f400001) + n * 251)};
    static uint8_t copy[INJECT_LEN_MAX]; // sendmsg wants what it could write to
    struct iovec iov = {.iov_base = copy, .iov_len = len};
    struct sockaddr_storage ss;
    struct msghdr message = {.msg_name = &ss,
                             .msg_namelen = netio_to_sockaddr(&in->target, &ss),
                             .msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);

    memcpy(copy, data, len);
    c->cmsg_level = IPPROTO_IP;
    c->cmsg_type = IP_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof(info));
    memcpy(CMSG_DATA(c), &info, sizeof(info));
    return sendmsg(fd, &message, MSG_DONTWAIT) >= 0;
}

void inject_send(struct inject *in, uint32_t source, const uint8_t *data, size_t len)
{
    const struct inject_source *s = &in->sources[source];
    const bool is_sent = may_spoof(in) ? send_spoofed(in, s->fd, data, len)
                                       : send(s->fd, data, len, MSG_DONTWAIT) >= 0;

    count_sent(in, s->kind, len, is_sent);
}

void inject_attack_due(struct inject *in, pqb_tstamp start, pqb_tstamp now)
{
    const struct inject_scenario *sc = in->scenario;
    const uint64_t due = (uint64_t)((double)pqb_elapsed(start, now) / 1e9 * (double)in->rate);
    static uint8_t data[INJECT_LEN_MAX];

    if (sc->make == NULL)
        return;
    // What a slow machine could not send in time is not sent later: the report tells the rate.
    if (due > in->turn + BURST_MAX)
        in->turn = due - BURST_MAX;
    for (; in->turn < due; in->turn++) {
        const uint32_t kind = (uint32_t)(in->turn % sc->kind_count);
        size_t len;

        in->via = in->source = -1;
        len = sc->make(in, kind, data, now);
        if (len == 0)
            continue;
        if (in->source < 0)
            in->source = (int)pqb_rng_below(&in->rng, sc->sources);
        if (in->via >= 0)
            count_sent(in, kind, len,
                       send(in->fleet.sockets[in->via], data, len, MSG_DONTWAIT) >= 0);
        else
            inject_send(in, kind * sc->sources + (uint32_t)in->source, data, len);
    }
}

void inject_read_answers(struct inject *in)
{
    uint8_t data[2048];

    for (uint32_t i = 0; i < in->source_count; i++) {
        struct inject_count *count = &in->counts[in->sources[i].kind];
        ssize_t len;

        while ((len = recv(in->sources[i].fd, data, sizeof(data), 0)) >= 0) {
            count->answers++;
            count->answer_bytes += (uint64_t)len;
            if (in->scenario->on_answer != NULL)
                in->scenario->on_answer(in, in->sources[i].kind, data, (size_t)len);
        }
    }
}

#define ASK_INTERVAL_NS (100 * PQB_NS_PER_MS)

size_t inject_peer_login(struct inject *in, const char *user, const char *device, uint8_t *out,
                         pqb_tstamp now)
{
    struct inject_peer *peer = &in->peer;

    if (peer->asked_at != 0 && pqb_elapsed(peer->asked_at, now) < ASK_INTERVAL_NS)
        return 0;
    if (peer->init_id == 0)
        peer->init_id = pqb_rng_next(&in->rng) | 1;
    peer->asked_at = now;
    const struct pqb_init init = {.init_id = peer->init_id,
                                  .cookie = peer->cookie,
                                  .cookie_len = peer->has_cookie ? PQB_COOKIE_LEN : 0,
                                  .user = {user, strlen(user)},
                                  .device = {device, strlen(device)},
                                  .token = {"guess", 5}};

    return sealed_init(&in->gateway, &in->peer_sealed, &init, out);
}

size_t inject_peer_stamp(struct inject *in, uint8_t *out, size_t len)
{
    const struct pqb_data header = {.cid = in->peer.cid, .pn = ++in->peer.pn};

    return sealed_data(&in->peer_sealed, &header, out, len);
}

size_t inject_peer_ping(struct inject *in, uint64_t nonce, uint8_t *out)
{
    return inject_peer_stamp(in, out, inject_make_ping(in->peer.cid, in->peer.pn + 1, nonce, out));
}

static void on_peer_resp(struct inject *in, const struct pqb_resp *resp)
{
    if (in->peer.cid != 0 || resp->init_id != in->peer.init_id)
        return;
    in->peer = (struct inject_peer){.cid = resp->cid, .logins = in->peer.logins + 1};
}

void inject_peer_on_answer(struct inject *in, const uint8_t *data, size_t len)
{
    struct inject_peer *peer = &in->peer;
    enum pqb_datagram_type type;
    struct pqb_retry retry;
    struct pqb_reset reset;
    struct pqb_resp resp;

    if (pqb_datagram_peek(data, len, &type) != PQB_VERDICT_OK)
        return;
    if (type == PQB_DATAGRAM_RESP && peer->cid == 0 &&
        sealed_read_resp(&in->gateway, &in->peer_sealed, in->unpacker, data, len, &resp))
        on_peer_resp(in, &resp);
    if (type == PQB_DATAGRAM_RETRY && pqb_retry_decode(data, len, &retry) == PQB_VERDICT_OK &&
        retry.init_id == peer->init_id) {
        memcpy(peer->cookie, retry.cookie, sizeof(peer->cookie));
        peer->has_cookie = true;
    }
    if (type == PQB_DATAGRAM_RESET && pqb_reset_decode(data, len, &reset) == PQB_VERDICT_OK &&
        reset.cid == peer->cid)
        *peer = (struct inject_peer){.logins = peer->logins};
}
