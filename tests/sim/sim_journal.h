// Reads the journal of the gateway's store after each of the writer's steps, for the oracle.
#pragma once

#include <stdint.h>

#include "common/base/time.h"
#include "storage/store.h"
#include "tests/sim/sim_oracle.h"

struct sim_journal {
    struct pqb_view *view; // NULL: the store is closed
    uint64_t next_gseq;
};

void sim_journal_open(struct sim_journal *j, struct pqb_store *store);
pqb_wall_ms sim_journal_clock(const struct pqb_store *store);
void sim_journal_close(struct sim_journal *j);
void sim_journal_read(struct sim_journal *j, struct sim_oracle *o); // what was committed since
