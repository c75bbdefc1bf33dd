// Whole datagrams that wait to be sent outside any session's flow: handshake answers, RESET, the
// kick of a session that is being freed. A full ring drops the newest: the peer asks again.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/addr.h"
#include "common/base/defs.h"
#include "common/wire/limits.h"

#define PQB_REPLIES_MAX 256

struct pqb_reply {
    struct pqb_addr to;
    size_t len, len_max;
    uint8_t data[PQB_DATAGRAM_MAX];
};

struct pqb_replies {
    struct pqb_reply *ring; // PQB_REPLIES_MAX
    size_t first, count;
};

PQB_MUST_USE int pqb_replies_init(struct pqb_replies *r); // PQB_OK or PQB_ERR_NOMEM
void pqb_replies_fini(struct pqb_replies *r);

// A slot to fill in (its `len` too); NULL: full. `len_max` is what may go to `to`: as many bytes as
// its question had, if nothing proved yet that who asked is there. A longer answer is never sent:
// popping it asserts.
struct pqb_reply *pqb_replies_push(struct pqb_replies *r, const struct pqb_addr *to,
                                   size_t len_max);
const struct pqb_reply *pqb_replies_pop(struct pqb_replies *r); // borrowed till the next push
