// First messages of encrypted logins whose handshake may be made, in the order they came. Sessions
// are served first; a turn makes a few handshakes. As WireGuard's queue of received handshakes
// does, its length tells of a load before any rate does.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/addr.h"
#include "common/base/defs.h"
#include "common/wire/limits.h"

#define PQB_HELLOS_MAX 64

struct pqb_waiting_hello {
    struct pqb_addr from;
    bool is_proven; // it brought a cookie that is good for its address
    uint8_t data[PQB_INIT_LEN];
};

struct pqb_hellos {
    struct pqb_waiting_hello *ring; // PQB_HELLOS_MAX
    size_t first, count;
};

PQB_MUST_USE int pqb_hellos_init(struct pqb_hellos *h); // PQB_OK or PQB_ERR_NOMEM
void pqb_hellos_fini(struct pqb_hellos *h);

// A slot to fill in; NULL: full.
struct pqb_waiting_hello *pqb_hellos_push(struct pqb_hellos *h);
const struct pqb_waiting_hello *pqb_hellos_pop(struct pqb_hellos *h); // borrowed till the next push
