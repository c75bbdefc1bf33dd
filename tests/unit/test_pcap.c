// The pcap reader: what the simulator writes, what other tools write, and what is no capture.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "common/base/defs.h"
#include "tools/pqbsim/pcap.h"

#define HEADER_LEN 24

static struct pcap_reader reader;

static const struct pqb_addr client = {.family = 4, .ip = {127, 0, 0, 2}, .port = 40000};
static const struct pqb_addr gateway = {.family = 4, .ip = {127, 0, 0, 1}, .port = 7400};
static const struct pqb_addr client6 = {.family = 6, .ip = {[15] = 2}, .port = 40001};
static const struct pqb_addr gateway6 = {.family = 6, .ip = {[15] = 1}, .port = 7401};

// Microseconds, little-endian, of a link type that is filled in.
static const uint8_t header[HEADER_LEN] = {0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0,
                                           0,    0,    0,    0,    0, 0, 0, 0, 1, 0};

// 2 s and 3 us after 1970; 41 bytes of packet and what the link puts before them.
static const uint8_t record[16] = {2, 0, 0, 0, 3};
static const uint8_t packet[] = {0x45, 0,    0, 31, 0, 0,   0x40, 0,   64, 17,   0,
                                 0,    127,  0, 0,  2, 127, 0,    0,   1,  0x9c, 0x40,
                                 0x1c, 0xe8, 0, 11, 0, 0,   'a',  'b', 'c'};

static FILE *file_of(const void *data, size_t len)
{
    FILE *file = tmpfile();

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    rewind(file);
    return file;
}

// One packet behind `before` bytes of link header, of link type `link`.
static FILE *capture_of(uint8_t link, const void *link_header, size_t before)
{
    uint8_t all[HEADER_LEN + sizeof(record) + 64 + sizeof(packet)] = {0};

    memcpy(all, header, sizeof(header));
    all[20] = link;
    memcpy(all + HEADER_LEN, record, sizeof(record));
    all[HEADER_LEN + 8] = all[HEADER_LEN + 12] = (uint8_t)(before + sizeof(packet));
    memcpy(all + HEADER_LEN + sizeof(record), link_header, before);
    memcpy(all + HEADER_LEN + sizeof(record) + before, packet, sizeof(packet));
    return file_of(all, HEADER_LEN + sizeof(record) + before + sizeof(packet));
}

static void expect(const struct pqb_addr *from, const struct pqb_addr *to, const char *text,
                   struct pcap_datagram *d)
{
    assert_int_equal(pcap_reader_next(&reader, d), PCAP_DATAGRAM);
    assert_true(pqb_addr_is_equal(&d->from, from));
    assert_true(pqb_addr_is_equal(&d->to, to));
    assert_int_equal(d->len, strlen(text));
    assert_memory_equal(d->data, text, d->len);
}

static void what_the_simulator_writes_is_read_back(void **state)
{
    char path[] = "/tmp/paquebot.pcap.XXXXXX";
    struct pcap_datagram d;
    uint64_t first;
    FILE *file;

    (void)state;
    assert_true(close(mkstemp(path)) == 0);
    file = pcap_create(path);
    assert_non_null(file);
    assert_true(pcap_write(file, &client, &gateway, "hello", 5));
    assert_true(pcap_write(file, &gateway6, &client6, "goodbye", 7));
    assert_int_equal(fclose(file), 0);
    file = fopen(path, "rbe");
    assert_non_null(file);
    assert_int_equal(unlink(path), 0);
    assert_null(pcap_reader_init(&reader, file));
    expect(&client, &gateway, "hello", &d);
    first = d.at_ns;
    expect(&gateway6, &client6, "goodbye", &d);
    assert_true(d.at_ns >= first && first > 0);
    assert_int_equal(pcap_reader_next(&reader, &d), PCAP_END);
    assert_int_equal(reader.skipped, 0);
    assert_int_equal(fclose(file), 0);
}

static void each_link_type_hides_the_same_datagram(void **state)
{
    static const struct {
        uint8_t link, len, header[24];
    } links[] = {
        {101, 0, {0}},
        {228, 0, {0}},
        {12, 0, {0}},
        {0, 4, {2}},
        {108, 4, {0, 0, 0, 2}},
        {1, 14, {[12] = 0x08}},
        {1, 18, {[12] = 0x81, 0, 0, 7, 0x08}},
        {113, 16, {[14] = 0x08}},
    };
    struct pcap_datagram d;

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(links); i++) {
        FILE *file = capture_of(links[i].link, links[i].header, links[i].len);

        assert_null(pcap_reader_init(&reader, file));
        expect(&client, &gateway, "abc", &d);
        assert_int_equal(d.at_ns, UINT64_C(2000003000));
        assert_int_equal(pcap_reader_next(&reader, &d), PCAP_END);
        assert_int_equal(fclose(file), 0);
    }
}

static void what_carries_no_datagram_is_skipped(void **state)
{
    static const uint8_t arp[14] = {[12] = 0x08, 0x06};
    FILE *file = capture_of(1, arp, sizeof(arp));
    struct pcap_datagram d;

    (void)state;
    assert_null(pcap_reader_init(&reader, file));
    assert_int_equal(pcap_reader_next(&reader, &d), PCAP_END);
    assert_int_equal(reader.records, 1);
    assert_int_equal(reader.skipped, 1);
    assert_int_equal(fclose(file), 0);
}

static const char *fault_of(const void *data, size_t len)
{
    FILE *file = file_of(data, len);
    const char *fault = pcap_reader_init(&reader, file);

    assert_int_equal(fclose(file), 0);
    return fault;
}

static void what_is_no_capture_is_told(void **state)
{
    static const uint8_t pcapng[] = {0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0};
    uint8_t other[HEADER_LEN];

    (void)state;
    memcpy(other, header, sizeof(other));
    other[20] = 147;
    assert_non_null(strstr(fault_of(pcapng, sizeof(pcapng)), "pcapng"));
    assert_non_null(strstr(fault_of("#!/bin/sh\n", 10), "no capture"));
    assert_non_null(strstr(fault_of("", 0), "no capture"));
    assert_non_null(strstr(fault_of(header, HEADER_LEN - 1), "damaged"));
    assert_non_null(strstr(fault_of(other, sizeof(other)), "link type"));
}

static void a_file_that_ends_inside_a_packet_is_damaged(void **state)
{
    uint8_t all[HEADER_LEN + sizeof(record)];
    struct pcap_datagram d;

    (void)state;
    memcpy(all, header, sizeof(header));
    memcpy(all + HEADER_LEN, record, sizeof(record));
    all[HEADER_LEN + 8] = 1;
    for (size_t len = HEADER_LEN; len <= sizeof(all); len++) {
        FILE *file = file_of(all, len);

        assert_null(pcap_reader_init(&reader, file));
        assert_int_equal(pcap_reader_next(&reader, &d),
                         len == HEADER_LEN ? PCAP_END : PCAP_DAMAGED);
        assert_int_equal(fclose(file), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_simulator_writes_is_read_back),
        cmocka_unit_test(each_link_type_hides_the_same_datagram),
        cmocka_unit_test(what_carries_no_datagram_is_skipped),
        cmocka_unit_test(what_is_no_capture_is_told),
        cmocka_unit_test(a_file_that_ends_inside_a_packet_is_damaged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
