// Writes a capture that tcpdump and wireshark read: raw IP link type, with IP and UDP headers made
// up from the addresses. Flushed per datagram, so that a killed run leaves a readable file.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "common/base/addr.h"

// NULL (errno) when the file can't be made.
FILE *pcap_create(const char *path);
bool pcap_write(FILE *file, const struct pqb_addr *from, const struct pqb_addr *to,
                const void *data, size_t len);
