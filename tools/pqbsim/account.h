// Exact accounting of a load run: every message is numbered, and what became of it is compared with
// what was promised. A message's body carries its number; delivery looks it up.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/hist.h"
#include "common/base/time.h"

#define ACCOUNT_BODY_MIN 16 // run id and number, 8 bytes each

enum account_flag {
    ACCOUNT_ACCEPTED = 1,
    ACCOUNT_STORED = 2,
    ACCOUNT_DELIVERED = 4, // handed to the recipient's application
    ACCOUNT_NACKED = 8,
    ACCOUNT_AWAITED = 16, // the recipient was there when it was sent: counts for latency
    ACCOUNT_RESUMED = 32, // the sender was back after it had lost a session
};

struct account_message {
    pqb_tstamp sent_at;
    uint32_t from, to;
    uint8_t flags;
};

struct account_pair { // last number seen from one sender at one recipient
    uint64_t key;     // from and to, each plus one; 0: free
    uint64_t last;
};

#define ACCOUNT_REASONS_MAX 256

struct account {
    uint64_t run_id;
    struct account_message *messages;
    uint64_t count, capacity;
    struct account_pair *pairs; // open addressing
    size_t pair_count, pair_capacity;

    uint64_t accepted, stored, delivered, nacked, duplicated, out_of_order, foreign;
    uint64_t lost_promise; // delivered although refused: the gateway told an untruth
    uint64_t nacked_by[ACCOUNT_REASONS_MAX];
    struct pqb_hist accepted_us, delivered_us;
    struct pqb_hist resumed_us; // to accepted, of ACCOUNT_RESUMED
};

void account_init(struct account *a, uint64_t run_id);
void account_fini(struct account *a);

// Numbers a new message and writes its body (`len` >= ACCOUNT_BODY_MIN). PQB_ERR_NOMEM.
PQB_MUST_USE int account_new(struct account *a, uint32_t from, uint32_t to, bool is_awaited,
                             uint8_t *body, size_t len, uint64_t *number, pqb_tstamp now);
void account_mark_resumed(struct account *a, uint64_t number);
void account_undo(struct account *a); // the newest one was not sent after all

void account_on_accepted(struct account *a, uint64_t number, bool is_stored, pqb_tstamp now);
void account_on_nacked(struct account *a, uint64_t number, uint8_t reason);

// A body arrived at `to`. Returns its number, or UINT64_MAX if it is not of this run.
uint64_t account_on_delivered(struct account *a, uint32_t to, const uint8_t *body, size_t len,
                              pqb_tstamp now);

uint64_t account_lost(const struct account *a);       // accepted and not handed over
uint64_t account_unresolved(const struct account *a); // neither accepted nor refused
