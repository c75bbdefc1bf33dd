// The gateway under test: the real engines (one a shard, all in this thread) and the real store
// stepped by hand on a directory of its own. It can die at any moment and lose what was not
// committed, and its disk can fail.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/rng.h"
#include "common/base/time.h"
#include "gateway/core/engine.h"
#include "gateway/core/stats.h"
#include "storage/store.h"
#include "tests/sim/sim_events.h"
#include "tests/sim/sim_journal.h"
#include "tests/sim/sim_keys.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/sim_oracle.h"
#include "tests/sim/sim_plan.h"
#include "tests/sim/sim_wire.h"

#define SIM_SHARDS_MAX 2
#define SIM_RX_MAX     512

struct sim_mail {
    size_t len;
    uint8_t data[PQB_MAIL_MAX];
};

struct sim_shard {
    struct sim_gateway *gateway;
    struct pqb_engine *engine;
    uint64_t counters[PQB_COUNTER_COUNT];
    struct sim_packet *rx[SIM_RX_MAX];
    size_t rx_count;
    struct sim_mail *mailbox;
    size_t mail_count, mail_max;
    pqb_tstamp wake_at; // the store, mail or a datagram wants a turn
    bool must_drain, must_recheck;
    uint64_t turns;
};

// A copy of the store, kept to be put in its place.
struct sim_backup {
    char path[128]; // empty: none
    bool is_marked;
    uint64_t gseq_end; // it holds what is below
    pqb_tstamp taken_at;
};

struct sim_adversary;

struct sim_gateway {
    const struct sim_plan *plan;
    struct sim_net *net;
    struct sim_oracle *oracle;
    struct sim_events *events;
    struct pqb_rng *rng;   // of the start or the step in progress
    struct sim_keys keys;  // of an encrypted run, and so are
    struct sim_wire *wire; // these; NULL otherwise
    struct sim_adversary *adversary;
    char path[128];
    uint8_t secret[PQB_STORE_SECRET_LEN];
    struct pqb_store *store; // NULL: down
    struct sim_shard shards[SIM_SHARDS_MAX];
    uint32_t shards_count;
    pqb_tstamp now;
    pqb_duration commit_ns; // how long the next commit takes
    pqb_tstamp step_at;     // when the commit in progress returns
    pqb_tstamp start_at;    // when it comes up again
    pqb_tstamp disk_full_until, disk_slow_until;
    pqb_tstamp close_at;    // an orderly end: drained until then
    pqb_tstamp die_at;      // in a storm of restarts
    pqb_tstamp storm_until; // each start is followed by a death
    int64_t wall_shift_ms;  // steps of the wall clock so far
    pqb_wall_ms clock_ms;   // the store's clock
    pqb_tstamp clock_at;    // then
    pqb_wall_ms start_wall; // the latest that it was told since, at starts
    struct sim_journal journal;
    struct sim_backup backup;
    uint64_t journal_records_max; // so far
    uint64_t expired;             // of stores that are gone
    bool is_backing_up;           // its own failures have tests of their own
    bool has_faults;              // aborts and failures are on
    uint64_t fail_countdown;      // the n-th step of the writer from now fails; 0: none
    bool is_crash_at_failure;     // and the process dies there
    bool is_failing;              // it has failed: so does all that follows until it is dead
    uint64_t crashes, steps, failures, mail_lost;
    uint64_t totals[PQB_COUNTER_COUNT]; // of engines that are gone
};

void sim_gateway_init(struct sim_gateway *g, const struct sim_plan *plan, struct sim_net *net,
                      struct sim_oracle *oracle, struct sim_events *events, struct pqb_rng *rng);
void sim_gateway_fini(struct sim_gateway *g); // removes the directory
void sim_gateway_remove_directory(const char *path);

void sim_gateway_start(struct sim_gateway *g, pqb_tstamp now);
void sim_gateway_crash(struct sim_gateway *g, pqb_duration down, pqb_tstamp now);
void sim_gateway_crash_in_step(struct sim_gateway *g); // at one of the writer's next steps
// Drains, and stops in order after `grace`.
void sim_gateway_restart(struct sim_gateway *g, pqb_duration grace, pqb_tstamp now);
void sim_gateway_storm(struct sim_gateway *g, pqb_tstamp until, pqb_tstamp now);
// Steps the wall clock, in a running gateway or one that is down.
void sim_gateway_step_clock(struct sim_gateway *g, int64_t ms);
void sim_gateway_slow_disk(struct sim_gateway *g, pqb_tstamp until);
// Takes a copy of the store; with a mark, as `pqbctl backup` does, or of the volume as it is.
void sim_gateway_back_up(struct sim_gateway *g, bool is_marked, pqb_tstamp now);
// Dies and finds the copy in the store's place.
void sim_gateway_restore(struct sim_gateway *g, pqb_duration down, pqb_tstamp now);
// Its keys have changed: from now on these.
void sim_gateway_rekey(struct sim_gateway *g, pqb_tstamp now);
void sim_gateway_recheck(struct sim_gateway *g, pqb_tstamp now); // who may stay?
void sim_gateway_fill_disk(struct sim_gateway *g, pqb_tstamp until);
void sim_gateway_heal(struct sim_gateway *g, pqb_tstamp now);

void sim_gateway_on_packet(struct sim_gateway *g, const struct sim_packet *packet, pqb_tstamp now);
void sim_gateway_turn(struct sim_gateway *g, pqb_tstamp now);
pqb_tstamp sim_gateway_next_deadline(const struct sim_gateway *g);

size_t sim_gateway_memory(const struct sim_gateway *g);
uint64_t sim_gateway_sessions(struct sim_gateway *g, pqb_tstamp now);
uint64_t sim_gateway_expired(const struct sim_gateway *g);
// Every table and queue within its bound? What is not is a broken promise.
void sim_gateway_check_bounds(struct sim_gateway *g, size_t sessions_max);
// Every shard has a turn.
void sim_gateway_wake(struct sim_gateway *g, pqb_tstamp now);
// Everyone has left: nothing is held for anybody.
void sim_gateway_check_idle(struct sim_gateway *g);
uint64_t sim_gateway_counter(const struct sim_gateway *g, enum pqb_counter counter);
void sim_gateway_validate(const struct sim_gateway *g);

// Closes the store and checks every byte of it; what it finds is a broken promise.
void sim_gateway_verify(struct sim_gateway *g, pqb_tstamp now);
