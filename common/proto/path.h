// Address change (RFC 9000 sections 8.2 and 9): the newest packet from another address starts a
// challenge; until the response comes, at most three times the bytes received from there go there,
// and what is beyond that stays on the validated address. The move is final on the response.
//
// What a change needs is in memory only while one is under way: a path at rest is one address.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/addr.h"
#include "common/base/defs.h"
#include "common/base/rng.h"
#include "common/base/time.h"
#include "common/wire/limits.h"

#define PQB_PATH_TRIES         3
#define PQB_PATH_AMPLIFICATION 3 // bytes to an address that is not proved, per byte from it

struct pqb_path_candidate {
    struct pqb_addr addr;
    uint8_t challenge[PQB_PATH_LEN];
    uint32_t budget; // bytes that may still go there
    uint8_t tries;
    bool is_challenge_due;
    pqb_tstamp retry_at; // PQB_NEVER: no challenge open
};

struct pqb_path {
    struct pqb_addr current;              // validated
    struct pqb_path_candidate *candidate; // NULL: no change under way
};

void pqb_path_init(struct pqb_path *p, const struct pqb_addr *current);
void pqb_path_fini(struct pqb_path *p); // forgets the candidate

// A valid datagram of `len` bytes came from `from`. Call for each one; `is_newest` as the channel
// judged. Starts a challenge when the newest comes from elsewhere; adds to the candidate's budget.
// PQB_OK or PQB_ERR_NOMEM: the new address is not followed until another newest one comes from it.
PQB_MUST_USE int pqb_path_on_datagram(struct pqb_path *p, const struct pqb_addr *from, uint32_t len,
                                      bool is_newest, struct pqb_rng *rng);

// The candidate to send its challenge to now, which counts as sent (`len` bytes of datagram); NULL:
// none is due or fits the budget. Borrowed until the next call. `interval` is the probe timeout
// until the next try.
const struct pqb_path_candidate *pqb_path_poll_challenge(struct pqb_path *p, uint32_t len,
                                                         pqb_duration interval, pqb_tstamp now);

// True: the response is right, `current` is now the candidate. *is_same_ip: only the port moved.
bool pqb_path_on_response(struct pqb_path *p, const uint8_t data[PQB_PATH_LEN], bool *is_same_ip);

// Makes the next try due or, after PQB_PATH_TRIES, drops the candidate. True if it was dropped.
bool pqb_path_on_timeout(struct pqb_path *p, pqb_tstamp now);
pqb_tstamp pqb_path_deadline(const struct pqb_path *p);

// Where a datagram of `len` bytes goes: to the candidate while its budget lasts, for a peer that
// did move no longer listens elsewhere; else to the validated address.
struct pqb_addr pqb_path_take_destination(struct pqb_path *p, uint32_t len);
