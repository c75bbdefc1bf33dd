// Bounded queue of pointers, many producers, one consumer, lock-free (Vyukov's bounded queue with
// one consumer). Full is an answer, never a wait. The only place, with the stats page, where
// threads share memory by atomics. Waking the consumer is the caller's affair.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"

struct pqb_mpsc_slot {
    _Atomic(uint64_t) turn;
    void *item;
};

struct pqb_mpsc {
    struct pqb_mpsc_slot *slots;
    uint64_t mask;
    // Padding, not _Alignas: the two ends keep to their own cache lines, and the owner may still
    // live in memory from malloc.
    uint8_t pad_tail[64];
    _Atomic(uint64_t) tail; // producers claim here
    uint8_t pad_head[64];
    _Atomic(uint64_t) head; // consumer only; atomic so that others may read the length
    uint8_t pad_end[64];
};

// `capacity` is rounded up to a power of two. PQB_OK or PQB_ERR_NOMEM.
PQB_MUST_USE int pqb_mpsc_init(struct pqb_mpsc *q, size_t capacity);
void pqb_mpsc_fini(struct pqb_mpsc *q);

PQB_MUST_USE bool pqb_mpsc_push(struct pqb_mpsc *q, void *item); // any thread; false when full
void *pqb_mpsc_pop(struct pqb_mpsc *q);                          // consumer; NULL when empty
size_t pqb_mpsc_len(const struct pqb_mpsc *q);                   // any thread; a snapshot
