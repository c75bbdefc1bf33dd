// What the store's own history says, for the oracle: which message was committed at which position,
// what a death, an older copy or a retention rule may take from it, and who has to be told.
//
// The gateway's store is the only one that knows these positions; they are read from its journal
// after each step (sim_journal.c). Without that (is_watching false) nothing here is looked at.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/time.h"
#include "tests/sim/sim_oracle.h"

// The journal holds this body at this position.
void sim_history_on_stored(struct sim_oracle *o, uint64_t gseq, uint64_t iseq, const uint8_t *body,
                           size_t len);

// The gateway died. What it had answered within `window` before and not committed may be gone
// (async); with window 0 nothing may.
void sim_history_on_death(struct sim_oracle *o, pqb_duration window, pqb_tstamp now);

// It comes back on a copy of its store that ends below `gseq_end` and was taken at `taken_at`.
void sim_history_on_restore(struct sim_oracle *o, uint64_t gseq_end, pqb_tstamp taken_at,
                            bool is_marked, pqb_tstamp now);

// The gateway has a session of this device: it knows it (again).
void sim_history_on_session(struct sim_oracle *o, uint32_t device, pqb_tstamp now);

// The application was told that `message` was accepted, or shown it at `iseq`.
void sim_history_on_accepted(struct sim_oracle *o, uint32_t message, pqb_tstamp now);
void sim_history_on_shown(struct sim_oracle *o, uint32_t message, uint64_t iseq, uint32_t device);

// The application of `message` was told that the gateway may have lost it after all.
void sim_history_on_told_lost(struct sim_oracle *o, const struct sim_app *app, uint32_t message);

// A device was told that from..to expired. false: no retention rule can have taken that.
bool sim_history_on_expired(struct sim_oracle *o, uint32_t device, uint64_t from, uint64_t to);

// May a retention rule have taken it by now?
bool sim_history_may_have_expired(const struct sim_oracle *o, const struct sim_message *m);

// May an application take `m` at `iseq` after later positions? Where the store was set back and the
// application had died before its client stored the cursor: what it was told to have expired is
// there again, and after a copy without a mark another message may stand at the position.
bool sim_history_may_step_back(const struct sim_oracle *o, uint32_t device,
                               const struct sim_message *m, uint64_t iseq);

// May `device` go without message `m`, which was accepted?
bool sim_history_is_excused(const struct sim_oracle *o, uint32_t device,
                            const struct sim_message *m);

// Nothing that was accepted may be gone without its sender's knowing.
void sim_history_finish(struct sim_oracle *o);
