// A peer's address as plain bytes, so that the protocol needs no socket header. IPv4 addresses use
// the first four bytes of `ip`, the rest is zero.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/defs.h"

#define PQB_ADDR_TEXT_MAX 64

struct pqb_addr {
    uint8_t ip[16];
    uint16_t port;  // host byte order
    uint8_t family; // 4 or 6; 0 = unset
    uint8_t local;  // index of the local socket the peer is spoken to through; the driver's affair
};

bool pqb_addr_is_equal(const struct pqb_addr *a, const struct pqb_addr *b);   // all of it
bool pqb_addr_is_same_ip(const struct pqb_addr *a, const struct pqb_addr *b); // port aside
bool pqb_addr_is_loopback(const struct pqb_addr *a);

// "127.0.0.1:7400", "[::1]:7400". `text` has PQB_ADDR_TEXT_MAX bytes.
void pqb_addr_format(const struct pqb_addr *a, char *text);

// Parses the same forms (numeric only). false when the text is not one.
PQB_MUST_USE bool pqb_addr_parse(const char *text, struct pqb_addr *out);
