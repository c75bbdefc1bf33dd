// The seqs that are with the writer or held, by device: a repeat of one is swallowed. It belongs to
// the device, not to a session: a login in between changes nothing. The ledger stays the authority
// on what is a duplicate; this only saves it the repeats.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/htable.h"

struct pqb_inflight {
    struct pqb_hnode node;
    uint64_t uid, seq;
    uint32_t devno, epoch;
    uint32_t hash; // of recipient, kind and body
};

struct pqb_inflight_table {
    struct pqb_htable by_seq;
};

PQB_MUST_USE int pqb_inflight_table_init(struct pqb_inflight_table *t);
void pqb_inflight_table_fini(struct pqb_inflight_table *t);

// The entry of `key`'s uid, devno, epoch and seq, or NULL.
struct pqb_inflight *pqb_inflight_table_get(const struct pqb_inflight_table *t,
                                            const struct pqb_inflight *key);

// Copies `key` into a new entry. NULL: no memory.
struct pqb_inflight *pqb_inflight_table_add(struct pqb_inflight_table *t,
                                            const struct pqb_inflight *key);
void pqb_inflight_table_remove(struct pqb_inflight_table *t, struct pqb_inflight *entry);
