// Sockets, batches and the steering filter, on loopback.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/wire/datagram.h"
#include "gateway/io/io_stats.h"
#include "gateway/io/sockaddr.h"
#include "gateway/io/udp_batch.h"
#include "gateway/io/udp_socket.h"

static const struct pqb_udp_config config = {.rcvbuf = 1 << 20, .sndbuf = 1 << 20};
static const struct pqb_udp_config shared = {
    .is_shared = true, .rcvbuf = 1 << 20, .sndbuf = 1 << 20};

static struct pqb_addr address(const char *text)
{
    struct pqb_addr addr = {0};

    assert_true(pqb_addr_parse(text, &addr));
    return addr;
}

static void open_at(struct pqb_udp_socket *s, const char *text)
{
    const struct pqb_addr at = address(text);

    assert_int_equal(pqb_udp_socket_open(s, &at, &config), PQB_OK);
    assert_true(s->local.port != 0);
}

static size_t read_all(struct pqb_udp_rx *rx, struct pqb_udp_socket *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};

    assert_int_equal(poll(&p, 1, 2000), 1);
    return pqb_udp_rx_read(rx, s, 3);
}

static void push(struct pqb_udp_tx *tx, const struct pqb_addr *to, size_t len, uint8_t fill)
{
    struct pqb_transmit *slot = pqb_udp_tx_slot(tx);

    assert_non_null(slot);
    slot->to = *to;
    slot->to.local = 0;
    slot->len = len;
    memset(slot->data, fill, len);
    pqb_udp_tx_push(tx);
}

static void check_arrivals(struct pqb_udp_rx *rx, const size_t *lens, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(rx->datagrams[i].len, lens[i]);
        assert_int_equal(rx->datagrams[i].data[0], i + 1);
        assert_int_equal(rx->datagrams[i].data[lens[i] - 1], i + 1);
        assert_int_equal(rx->datagrams[i].from.local, 3);
    }
}

// Runs of equal length with a shorter end, a longer one behind it: all cuts a run can have.
static void send_and_compare(const char *at, bool has_segment)
{
    static const size_t lens[] = {1200, 1200, 1200, 700, 700, 900, 900, 900, 1};
    struct pqb_udp_socket from, to;
    uint64_t counters[PQB_IO_COUNTER_COUNT] = {0};
    struct pqb_udp_tx tx;
    struct pqb_udp_rx rx;
    size_t blocked;

    open_at(&from, at);
    open_at(&to, at);
    from.has_segment = from.has_segment && has_segment;
    assert_int_equal(pqb_udp_tx_init(&tx, counters), PQB_OK);
    assert_int_equal(pqb_udp_rx_init(&rx, counters), PQB_OK);
    for (size_t i = 0; i < PQB_ARRAY_LEN(lens); i++)
        push(&tx, &to.local, lens[i], (uint8_t)(i + 1));
    assert_int_equal(pqb_udp_tx_flush(&tx, &from, &blocked), PQB_OK);
    assert_int_equal(read_all(&rx, &to), PQB_ARRAY_LEN(lens));
    check_arrivals(&rx, lens, PQB_ARRAY_LEN(lens));
    assert_true(pqb_addr_is_same_ip(&rx.datagrams[0].from, &from.local));
    assert_int_equal(rx.datagrams[0].from.port, from.local.port);
    assert_int_equal(counters[PQB_IO_SEND_DROPPED], 0);
    if (!has_segment)
        assert_int_equal(counters[PQB_IO_SEGMENT_RUNS], 0);
    else if (from.has_segment)
        assert_int_equal(counters[PQB_IO_SEGMENT_RUNS], 2);
    pqb_udp_tx_fini(&tx);
    pqb_udp_rx_fini(&rx);
    pqb_udp_socket_close(&from);
    pqb_udp_socket_close(&to);
}

static void a_batch_arrives_as_it_was_sent(void **state)
{
    (void)state;
    send_and_compare("127.0.0.1:0", true);
    send_and_compare("127.0.0.1:0", false);
    send_and_compare("[::1]:0", true);
}

// ------------------------------------------------------------------- refusals of the send call

static struct {
    int errors[8]; // errno of each call; 0: really send
    size_t calls;
    unsigned accept_max; // messages taken by a call that succeeds
} script;

static int scripted_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    const int error = script.errors[script.calls];

    if (script.calls + 1 < PQB_ARRAY_LEN(script.errors))
        script.calls++;
    if (error != 0) {
        errno = error;
        return -1;
    }
    return sendmmsg(fd, messages, PQB_MIN(count, script.accept_max), flags);
}

struct scripted {
    struct pqb_udp_socket from, to;
    uint64_t counters[PQB_IO_COUNTER_COUNT];
    struct pqb_udp_tx tx;
    struct pqb_udp_rx rx;
    size_t blocked;
};

static void scripted_begin(struct scripted *s, int first, int second, unsigned accept_max)
{
    memset(s, 0, sizeof(*s));
    memset(&script, 0, sizeof(script));
    script.errors[0] = first;
    script.errors[1] = second;
    script.accept_max = accept_max;
    open_at(&s->from, "127.0.0.1:0");
    open_at(&s->to, "127.0.0.1:0");
    s->from.has_segment = true;
    assert_int_equal(pqb_udp_tx_init(&s->tx, s->counters), PQB_OK);
    assert_int_equal(pqb_udp_rx_init(&s->rx, s->counters), PQB_OK);
    s->tx.sendmmsg = scripted_sendmmsg;
}

static void scripted_end(struct scripted *s)
{
    pqb_udp_tx_fini(&s->tx);
    pqb_udp_rx_fini(&s->rx);
    pqb_udp_socket_close(&s->from);
    pqb_udp_socket_close(&s->to);
}

static void what_a_full_socket_did_not_take_goes_with_the_next_flush(void **state)
{
    struct scripted s;

    (void)state;
    scripted_begin(&s, 0, EAGAIN, 1);
    s.from.has_segment = false;
    for (uint8_t i = 1; i <= 3; i++)
        push(&s.tx, &s.to.local, 100, i);
    assert_int_equal(pqb_udp_tx_flush(&s.tx, &s.from, &s.blocked), PQB_ERR_AGAIN);
    assert_int_equal(s.blocked, 0);
    assert_int_equal(s.counters[PQB_IO_SEND_BLOCKED], 1);
    assert_int_equal(pqb_udp_tx_flush(&s.tx, &s.from, &s.blocked), PQB_OK);
    assert_int_equal(read_all(&s.rx, &s.to), 3);
    check_arrivals(&s.rx, (const size_t[]){100, 100, 100}, 3);
    scripted_end(&s);
}

static void a_kernel_without_segments_gets_them_one_by_one(void **state)
{
    struct scripted s;

    (void)state;
    scripted_begin(&s, EIO, 0, 64);
    for (uint8_t i = 1; i <= 3; i++)
        push(&s.tx, &s.to.local, 100, i);
    assert_int_equal(pqb_udp_tx_flush(&s.tx, &s.from, &s.blocked), PQB_OK);
    assert_false(s.from.has_segment);
    assert_int_equal(s.counters[PQB_IO_SEGMENT_REFUSED], 1);
    assert_int_equal(s.counters[PQB_IO_SEND_DROPPED], 0);
    assert_int_equal(read_all(&s.rx, &s.to), 3);
    scripted_end(&s);
}

static void a_datagram_that_is_refused_is_dropped_and_the_rest_goes(void **state)
{
    struct scripted s;
    struct pqb_addr other = address("127.0.0.1:9");

    (void)state;
    scripted_begin(&s, EPERM, 0, 64);
    push(&s.tx, &other, 100, 9);
    push(&s.tx, &s.to.local, 100, 1);
    assert_int_equal(pqb_udp_tx_flush(&s.tx, &s.from, &s.blocked), PQB_OK);
    assert_int_equal(s.counters[PQB_IO_SEND_DROPPED], 1);
    assert_int_equal(read_all(&s.rx, &s.to), 1);
    assert_int_equal(s.rx.datagrams[0].data[0], 1);
    scripted_end(&s);
}

// Whatever the kernel says, every datagram has gone, waits, or is counted as dropped.
static void whatever_the_kernel_answers_no_datagram_is_forgotten(void **state)
{
    static const int errors[] = {ENOBUFS, EPERM,    ENETUNREACH, EHOSTUNREACH, EMSGSIZE, EINVAL,
                                 EIO,     ENETDOWN, ENOMEM,      ECONNREFUSED, EINTR,    EAGAIN};

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(errors) * PQB_ARRAY_LEN(errors) * 2; i++) {
        const int second = errors[i / 2 / PQB_ARRAY_LEN(errors)];
        struct scripted s;
        size_t got;

        scripted_begin(&s, errors[i / 2 % PQB_ARRAY_LEN(errors)], second, 1);
        s.from.has_segment = i % 2 == 0;
        script.errors[PQB_ARRAY_LEN(script.errors) - 1] = 0; // then all is well
        for (uint8_t k = 1; k <= 3; k++)
            push(&s.tx, &s.to.local, 100, k);
        for (int k = 0; k < 4 && pqb_udp_tx_flush(&s.tx, &s.from, &s.blocked) != PQB_OK; k++)
            assert_int_equal(s.blocked, 0);
        assert_int_equal(s.tx.count, 0);
        got = pqb_udp_rx_read(&s.rx, &s.to, 3);
        assert_int_equal(got + s.counters[PQB_IO_SEND_DROPPED], 3);
        scripted_end(&s);
    }
}

static void a_socket_that_cannot_be_read_gives_nothing_and_is_counted(void **state)
{
    struct scripted s;
    const int fd = dup(STDIN_FILENO); // not a socket

    (void)state;
    scripted_begin(&s, 0, 0, 64);
    struct pqb_udp_socket broken = s.to;
    broken.fd = fd;
    assert_int_equal(pqb_udp_rx_read(&s.rx, &broken, 0), 0);
    assert_int_equal(s.counters[PQB_IO_RECEIVE_ERRORS], 1);
    (void)close(fd);
    scripted_end(&s);
}

static void a_full_batch_has_no_slot(void **state)
{
    struct scripted s;

    (void)state;
    scripted_begin(&s, 0, 0, 64);
    for (int i = 0; i < PQB_UDP_BATCH; i++)
        push(&s.tx, &s.to.local, 10, 1);
    assert_null(pqb_udp_tx_slot(&s.tx));
    assert_int_equal(pqb_udp_tx_flush(&s.tx, &s.from, &s.blocked), PQB_OK);
    assert_non_null(pqb_udp_tx_slot(&s.tx));
    assert_int_equal(read_all(&s.rx, &s.to), PQB_UDP_BATCH);
    scripted_end(&s);
}

// ------------------------------------------------------------------------------------- sockets

static void an_oversized_datagram_shows_its_length(void **state)
{
    struct scripted s;
    uint8_t big[1300] = {1};
    struct sockaddr_storage name;
    socklen_t len;

    (void)state;
    scripted_begin(&s, 0, 0, 64);
    len = pqb_sockaddr_from(&name, &s.to.local);
    assert_int_equal(sendto(s.from.fd, big, sizeof(big), 0, (const struct sockaddr *)&name, len),
                     sizeof(big));
    assert_int_equal(read_all(&s.rx, &s.to), 1);
    assert_int_equal(s.rx.datagrams[0].len, sizeof(big));
    scripted_end(&s);
}

static void what_the_kernel_drops_is_counted(void **state)
{
    const struct pqb_udp_config small = {.rcvbuf = 1, .sndbuf = 1 << 20}; // the kernel's minimum
    const struct pqb_addr at = address("127.0.0.1:0");
    struct pqb_udp_socket from, to;
    uint64_t counters[PQB_IO_COUNTER_COUNT] = {0};
    struct pqb_udp_tx tx;
    struct pqb_udp_rx rx;
    size_t blocked, got = 0;

    (void)state;
    assert_int_equal(pqb_udp_socket_open(&to, &at, &small), PQB_OK);
    open_at(&from, "127.0.0.1:0");
    from.has_segment = false;
    assert_int_equal(pqb_udp_tx_init(&tx, counters), PQB_OK);
    assert_int_equal(pqb_udp_rx_init(&rx, counters), PQB_OK);
    for (int i = 0; i < 50; i++)
        push(&tx, &to.local, 1000, 1);
    assert_int_equal(pqb_udp_tx_flush(&tx, &from, &blocked), PQB_OK);
    got += read_all(&rx, &to);
    push(&tx, &to.local, 10, 1); // the count comes with the next datagram that gets in
    assert_int_equal(pqb_udp_tx_flush(&tx, &from, &blocked), PQB_OK);
    got += read_all(&rx, &to);
    assert_true(got < 51);
    assert_int_equal(counters[PQB_IO_KERNEL_DROPS], 51 - got);
    pqb_udp_tx_fini(&tx);
    pqb_udp_rx_fini(&rx);
    pqb_udp_socket_close(&from);
    pqb_udp_socket_close(&to);
}

static void an_address_in_use_is_found_even_if_it_is_shared(void **state)
{
    struct pqb_addr at = address("127.0.0.1:0");
    struct pqb_udp_socket s;

    (void)state;
    assert_int_equal(pqb_udp_probe(&at), PQB_OK);
    assert_true(at.port != 0);
    assert_int_equal(pqb_udp_socket_open(&s, &at, &shared), PQB_OK);
    assert_int_equal(pqb_udp_probe(&at), PQB_ERR_EXISTS);
    pqb_udp_socket_close(&s);
    pqb_udp_socket_close(&s);
    assert_int_equal(pqb_udp_probe(&at), PQB_OK);
}

// ------------------------------------------------------------------------------------ steering

#define SHARDS 3

static void send_from_anywhere(const struct pqb_addr *to, const uint8_t *data, size_t len)
{
    const int fd = socket(to->family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_storage name;
    const socklen_t name_len = pqb_sockaddr_from(&name, to);

    assert_int_equal(sendto(fd, data, len, 0, (const struct sockaddr *)&name, name_len), len);
    (void)close(fd);
}

static size_t drain(struct pqb_udp_rx *rx, struct pqb_udp_socket *s, bool is_data, uint8_t shard)
{
    size_t sum = 0;
    size_t count;

    while ((count = pqb_udp_rx_read(rx, s, 0)) > 0) {
        for (size_t i = 0; is_data && i < count; i++)
            assert_int_equal(rx->datagrams[i].data[1] % SHARDS, shard);
        sum += count;
    }
    return sum;
}

static void steer_at(const char *text)
{
    struct pqb_udp_socket s[SHARDS];
    struct pqb_addr at = address(text);
    uint64_t counters[PQB_IO_COUNTER_COUNT] = {0};
    struct pqb_udp_rx rx;
    uint8_t data[40] = {0};
    size_t sum = 0;

    assert_int_equal(pqb_udp_probe(&at), PQB_OK);
    for (size_t i = 0; i < SHARDS; i++) {
        assert_int_equal(pqb_udp_socket_open(&s[i], &at, &shared), PQB_OK);
        if (i == 0)
            assert_int_equal(pqb_udp_socket_steer(&s[0], SHARDS), PQB_OK);
    }
    assert_int_equal(pqb_udp_rx_init(&rx, counters), PQB_OK);
    data[0] = PQB_WIRE_VERSION << 4 | PQB_DATAGRAM_DATA;
    for (unsigned first = 0; first < 256; first++) {
        data[1] = (uint8_t)first;
        send_from_anywhere(&at, data, sizeof(data));
    }
    for (uint8_t i = 0; i < SHARDS; i++) {
        const size_t count = drain(&rx, &s[i], true, i);

        assert_true(count >= 85 && count <= 86);
        sum += count;
    }
    assert_int_equal(sum, 256);

    // Logins go anywhere, but none is lost.
    data[0] = PQB_WIRE_VERSION << 4 | PQB_DATAGRAM_INIT;
    for (unsigned i = 0; i < 64; i++)
        send_from_anywhere(&at, data, sizeof(data));
    sum = 0;
    for (uint8_t i = 0; i < SHARDS; i++)
        sum += drain(&rx, &s[i], false, i);
    assert_int_equal(sum, 64);

    // A runt is somebody's too.
    data[0] = PQB_WIRE_VERSION << 4 | PQB_DATAGRAM_DATA;
    send_from_anywhere(&at, data, 1);
    assert_int_equal(drain(&rx, &s[0], false, 0), 1);
    pqb_udp_rx_fini(&rx);
    for (size_t i = 0; i < SHARDS; i++)
        pqb_udp_socket_close(&s[i]);
}

static void data_reaches_the_shard_that_its_connection_id_names(void **state)
{
    (void)state;
    steer_at("127.0.0.1:0");
    steer_at("[::1]:0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_arrives_as_it_was_sent),
        cmocka_unit_test(what_a_full_socket_did_not_take_goes_with_the_next_flush),
        cmocka_unit_test(a_kernel_without_segments_gets_them_one_by_one),
        cmocka_unit_test(a_datagram_that_is_refused_is_dropped_and_the_rest_goes),
        cmocka_unit_test(whatever_the_kernel_answers_no_datagram_is_forgotten),
        cmocka_unit_test(a_socket_that_cannot_be_read_gives_nothing_and_is_counted),
        cmocka_unit_test(a_full_batch_has_no_slot),
        cmocka_unit_test(an_oversized_datagram_shows_its_length),
        cmocka_unit_test(what_the_kernel_drops_is_counted),
        cmocka_unit_test(an_address_in_use_is_found_even_if_it_is_shared),
        cmocka_unit_test(data_reaches_the_shard_that_its_connection_id_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
