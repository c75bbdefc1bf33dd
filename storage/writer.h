// The writer's loop: queue to batch, batch to one transaction, completions back.
#pragma once

#include "common/base/defs.h"
#include "storage/failpoints.h"

struct pqb_store;

// Submitters: wakes the writer thread if it sleeps.
void pqb_writer_nudge(struct pqb_store *s);

// Ends the thread, if there is one; what is queued stays queued.
void pqb_writer_stop(struct pqb_store *s);

// Without a thread: commits what is queued and marks the directory as closed in order.
void pqb_writer_finish(struct pqb_store *s);

// Brackets of a batch: the ledger's and the transaction's. Commit gives a failed batch back undone;
// one without records commits nothing.
void pqb_writer_begin(struct pqb_store *s);
PQB_MUST_USE int pqb_writer_commit(struct pqb_store *s, enum pqb_failpoint step);

// Records were committed that no request asked for: every shard has something to tail.
void pqb_writer_wake(struct pqb_store *s);

// Makes the counters visible to pqb_store_get_stats.
void pqb_writer_publish(struct pqb_store *s);
