// Intrusive hash table, chained, doubling at load 1. The caller hashes (with a secret key where
// strangers choose the key) and compares; the table never owns its elements. One owner, one thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"

struct pqb_hnode {
    struct pqb_hnode *next;
    uint64_t hash;
};

struct pqb_htable {
    struct pqb_hnode **buckets;
    size_t mask; // bucket count - 1
    size_t count;
};

PQB_MUST_USE int pqb_htable_init(struct pqb_htable *t); // PQB_OK or PQB_ERR_NOMEM
void pqb_htable_fini(struct pqb_htable *t);             // elements are the caller's

// Links `node` under `hash`. Grows when it can; without memory the chains only get longer.
void pqb_htable_insert(struct pqb_htable *t, struct pqb_hnode *node, uint64_t hash);
// Gives back buckets of which fewer than a quarter are in use. Not while iterating.
void pqb_htable_shrink(struct pqb_htable *t);
void pqb_htable_remove(struct pqb_htable *t, struct pqb_hnode *node);

// First node with `hash`, and the next one after `node` with the same hash; NULL at the end.
struct pqb_hnode *pqb_htable_find(const struct pqb_htable *t, uint64_t hash);
struct pqb_hnode *pqb_htable_find_next(const struct pqb_hnode *node);

// Iteration in no particular order: start with NULL. `node` must still be linked: to remove while
// iterating, fetch the next one first.
struct pqb_hnode *pqb_htable_next(const struct pqb_htable *t, const struct pqb_hnode *node);
