// Queue of timers by deadline: a 4-ary heap of intrusive nodes. Arming, moving and cancelling are
// O(log n); the earliest deadline is O(1) and exact. One owner, one thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/defs.h"
#include "common/base/time.h"

struct pqb_timer {
    pqb_tstamp deadline; // PQB_NEVER while not armed
    size_t index;        // place in the heap; SIZE_MAX while not armed
};

struct pqb_timerq {
    struct pqb_timer **heap;
    size_t count, capacity;
};

void pqb_timer_init(struct pqb_timer *timer);
void pqb_timerq_init(struct pqb_timerq *q);
void pqb_timerq_fini(struct pqb_timerq *q);

// Makes room for `count` timers in all, so that arming cannot fail. PQB_OK or PQB_ERR_NOMEM.
PQB_MUST_USE int pqb_timerq_reserve(struct pqb_timerq *q, size_t count);

// Arms or moves `timer` to `deadline`; PQB_NEVER cancels. Room must have been reserved.
void pqb_timerq_set(struct pqb_timerq *q, struct pqb_timer *timer, pqb_tstamp deadline);

pqb_tstamp pqb_timerq_next_deadline(const struct pqb_timerq *q); // PQB_NEVER when empty

// Takes out and returns one timer with deadline <= now, or NULL.
struct pqb_timer *pqb_timerq_pop_expired(struct pqb_timerq *q, pqb_tstamp now);
