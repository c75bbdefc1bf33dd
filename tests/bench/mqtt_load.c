// Closed-loop MQTT 3.1.1 load in QoS 1, the counterpart of `pqbsim load --pairs N --window W`: N
// pairs over 2N connections, W messages in flight each; the next one leaves when the subscriber has
// one. Just enough MQTT for a broker on loopback; for the comparison in tests/bench only.
//
// mqtt_load HOST PORT PAIRS WINDOW SIZE SECONDS  ->  one JSON object
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_LEN 65536

enum packet { // MQTT 3.1.1 section 2.2.1, with the flags each is sent with
    CONNECT = 0x10,
    CONNACK = 0x20,
    PUBLISH_QOS1 = 0x32,
    PUBACK = 0x40,
    SUBSCRIBE = 0x82,
    SUBACK = 0x90,
};

struct connection {
    int fd;
    unsigned pair;
    int is_subscriber;
    uint16_t packet_id;
    size_t in_len, out_len;
    uint8_t in[BUFFER_LEN], out[BUFFER_LEN];
};

struct load {
    struct connection *connections;
    unsigned pairs, window, size;
    int epoll_fd;
    unsigned ready; // CONNACK or SUBACK seen
    int is_sending;
    unsigned long delivered;
};

static double seconds_now(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    fprintf(stderr, "mqtt_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void flush(struct connection *c)
{
    size_t sent = 0;

    while (sent < c->out_len) {
        ssize_t len = send(c->fd, c->out + sent, c->out_len - sent, MSG_NOSIGNAL);

        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0)
            fail("send");
        sent += (size_t)len;
    }
    c->out_len = 0;
}

static void put(struct connection *c, const void *data, size_t len)
{
    if (c->out_len + len > BUFFER_LEN)
        flush(c);
    memcpy(c->out + c->out_len, data, len);
    c->out_len += len;
}

static void put_header(struct connection *c, uint8_t type, size_t remaining)
{
    put(c, &type, 1);
    do {
        uint8_t byte = (uint8_t)(remaining % 128);

        remaining /= 128;
        byte = (uint8_t)(byte | (remaining > 0 ? 0x80 : 0));
        put(c, &byte, 1);
    } while (remaining > 0);
}

static void put_string(struct connection *c, const char *text)
{
    const uint16_t len = htons((uint16_t)strlen(text));

    put(c, &len, 2);
    put(c, text, strlen(text));
}

static void put_u16(struct connection *c, uint16_t value)
{
    const uint16_t wire = htons(value);

    put(c, &wire, 2);
}

static void put_connect(struct connection *c)
{
    char id[32];

    (void)snprintf(id, sizeof(id), "%s%u", c->is_subscriber ? "sub" : "pub", c->pair);
    put_header(c, CONNECT, 10 + 2 + strlen(id));
    put_string(c, "MQTT");
    put(c, "\x04\x02\x00\x3c", 4); // level 4, clean session, keep-alive 60 s
    put_string(c, id);
}

static void put_subscribe(struct connection *c)
{
    char topic[32];

    (void)snprintf(topic, sizeof(topic), "pair/%u", c->pair);
    put_header(c, SUBSCRIBE, 2 + 2 + strlen(topic) + 1);
    put_u16(c, 1);
    put_string(c, topic);
    put(c, "\x01", 1); // QoS 1
}

static void put_publish(struct load *l, struct connection *c)
{
    static uint8_t body[BUFFER_LEN];
    char topic[32];

    (void)snprintf(topic, sizeof(topic), "pair/%u", c->pair);
    if (++c->packet_id == 0)
        c->packet_id = 1;
    put_header(c, PUBLISH_QOS1, 2 + strlen(topic) + 2 + l->size);
    put_string(c, topic);
    put_u16(c, c->packet_id);
    put(c, body, l->size);
}

// A publication reached the subscriber: acknowledge it, let the pair's publisher send the next.
static void on_publish(struct load *l, struct connection *c, const uint8_t *data)
{
    const size_t topic_len = (size_t)data[0] << 8 | data[1];
    struct connection *publisher = &l->connections[2 * c->pair];

    put_header(c, PUBACK, 2);
    put(c, data + 2 + topic_len, 2);
    l->delivered++;
    if (l->is_sending) {
        put_publish(l, publisher);
        flush(publisher);
    }
}

static void on_packet(struct load *l, struct connection *c, uint8_t type, const uint8_t *data)
{
    switch (type & 0xf0) {
    case CONNACK:
        if (c->is_subscriber)
            put_subscribe(c);
        else
            l->ready++;
        break;
    case SUBACK:
        l->ready++;
        break;
    case 0x30:
        on_publish(l, c, data);
        break;
    default: // PUBACK: the window is closed by delivery
        break;
    }
}

// Takes one whole packet off the front of the buffer. Returns its length, 0 if there is none.
static size_t take_packet(struct load *l, struct connection *c, size_t from)
{
    size_t remaining = 0, at = from + 1;

    for (unsigned shift = 0; shift < 28; shift += 7) {
        if (at >= c->in_len)
            return 0;
        remaining |= (size_t)(c->in[at] & 0x7f) << shift;
        if ((c->in[at++] & 0x80) == 0)
            break;
    }
    if (at + remaining > c->in_len)
        return 0;
    on_packet(l, c, c->in[from], c->in + at);
    return at + remaining - from;
}

static void on_readable(struct load *l, struct connection *c)
{
    ssize_t len = recv(c->fd, c->in + c->in_len, BUFFER_LEN - c->in_len, MSG_DONTWAIT);
    size_t from = 0, taken;

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len <= 0)
        fail("connection closed");
    c->in_len += (size_t)len;
    while (from < c->in_len && (taken = take_packet(l, c, from)) > 0)
        from += taken;
    memmove(c->in, c->in + from, c->in_len - from);
    c->in_len -= from;
    flush(c);
}

static void run_until(struct load *l, double end, unsigned ready)
{
    struct epoll_event events[64];

    while (seconds_now() < end && (ready == 0 || l->ready < ready)) {
        int count = epoll_wait(l->epoll_fd, events, 64, 100);

        for (int i = 0; i < count; i++)
            on_readable(l, events[i].data.ptr);
    }
}

static void open_connection(struct load *l, unsigned i, const struct sockaddr_in *to)
{
    struct connection *c = &l->connections[i];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    const int on = 1;

    c->pair = i / 2;
    c->is_subscriber = (int)(i % 2);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)to, sizeof(*to)) != 0)
        fail("connect");
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
        fail("epoll_ctl");
    put_connect(c);
    flush(c);
}

int main(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct load l = {0};
    unsigned long before;
    double start, seconds;

    if (argc != 7 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
        fprintf(stderr, "usage: mqtt_load HOST PORT PAIRS WINDOW SIZE SECONDS\n");
        return 2;
    }
    to.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
    l.pairs = (unsigned)strtoul(argv[3], NULL, 10);
    l.window = (unsigned)strtoul(argv[4], NULL, 10);
    l.size = (unsigned)strtoul(argv[5], NULL, 10);
    seconds = strtod(argv[6], NULL);
    l.connections = calloc((size_t)2 * l.pairs, sizeof(*l.connections));
    l.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l.connections == NULL || l.epoll_fd < 0 || l.size >= BUFFER_LEN / 2)
        fail("start");
    for (unsigned i = 0; i < 2 * l.pairs; i++)
        open_connection(&l, i, &to);
    run_until(&l, seconds_now() + 10, 2 * l.pairs);
    if (l.ready < 2 * l.pairs)
        fail("the broker did not let everybody in");
    l.is_sending = 1;
    start = seconds_now();
    before = l.delivered;
    for (unsigned i = 0; i < l.pairs * l.window; i++) {
        put_publish(&l, &l.connections[2 * (i % l.pairs)]);
        flush(&l.connections[2 * (i % l.pairs)]);
    }
    run_until(&l, start + seconds, 0);
    printf("{\"delivered\":%lu,\"seconds\":%.3f}\n", l.delivered - before, seconds_now() - start);
    return 0;
}
