// Captures that tcpdump and wireshark read and write (the classic format; not pcapng).
//
// Written: raw IP link type, with IP and UDP headers made up from the addresses; flushed per
// datagram, so that a killed run leaves a readable file. Read: the UDP datagrams of either byte
// order, of micro- or nanoseconds, and of the link types that a datagram of ours is captured on.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/addr.h"
#include "common/base/defs.h"

// NULL (errno) when the file can't be made.
FILE *pcap_create(const char *path);
bool pcap_write(FILE *file, const struct pqb_addr *from, const struct pqb_addr *to,
                const void *data, size_t len);

#define PCAP_RECORD_MAX (256 * 1024) // bytes of one packet; tcpdump captures no more

struct pcap_reader {
    FILE *file; // the caller's
    bool is_little, is_nano;
    uint32_t link;    // LINKTYPE_
    uint64_t records; // read
    uint64_t skipped; // of them: not UDP, in IP fragments, or cut short by the capture
    uint8_t record[PCAP_RECORD_MAX];
};

struct pcap_datagram {
    uint64_t at_ns; // since 1970
    struct pqb_addr from, to;
    const uint8_t *data; // borrowed till the next
    size_t len;
};

enum pcap_result {
    PCAP_DATAGRAM,
    PCAP_END,
    PCAP_DAMAGED, // a packet longer than there may be, or the file ends inside one
};

// Reads the file's header. NULL, or what is wrong with it.
PQB_MUST_USE const char *pcap_reader_init(struct pcap_reader *r, FILE *file);

// The next UDP datagram; what is none is skipped and counted.
PQB_MUST_USE enum pcap_result pcap_reader_next(struct pcap_reader *r, struct pcap_datagram *out);
