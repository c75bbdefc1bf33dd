// One client: the real client engine on a simulated disk and network, and the application above it
// with its moods: sends, is slow, logs out, dies, is restored from an old copy.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/rng.h"
#include "common/base/time.h"
#include "common/client/paquebot.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_events.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/sim_oracle.h"
#include "tests/sim/sim_plan.h"

#define SIM_SKIPS_MAX 8

struct sim_peer {
    const struct sim_plan *plan;
    struct sim_net *net;
    struct sim_oracle *oracle;
    struct sim_events *events;
    struct pqb_rng rng; // of what it is doing now
    struct pqb_client_scratch *scratch;

    const uint8_t *server_key;          // what the gateway's operator gives out; NULL: plaintext
    uint8_t pinned[PQB_CLIENT_KEY_LEN]; // what this client was started with

    uint32_t endpoint, user, device;
    bool is_absent;       // it takes no part in the run
    bool has_memory_only; // its state dies with it
    bool has_auto_pull;
    bool without_aes;
    bool may_send_offline;
    bool is_settling;                  // no more moods: it stays online and takes everything
    double slowness;                   // share of messages that the application takes only later
    bool is_slow;                      // it takes one message in up to slow_ms
    pqb_tstamp stalled_until, take_at; // it takes nothing before

    struct sim_disk *disk, *backup;
    struct pqb_client *client; // NULL: not running
    pqb_tstamp start_at;       // when it runs again
    pqb_tstamp connect_at;     // when it logs in again
    pqb_tstamp send_at;
    pqb_tstamp pull_at, resume_at;
    bool is_dying;     // inside a callback: the process ends when the call returns
    bool is_power_cut; // and its machine with it
    bool dies_at_next_take;
    bool has_taken;  // this process took a message
    bool is_touched; // something was asked of it: it wants a turn now
    bool is_known;   // `deadline` still holds
    pqb_tstamp deadline;
    uint64_t skips[SIM_SKIPS_MAX];
    size_t skips_count;
    uint64_t logins, deaths, refused_sends;
    pqb_tstamp now; // of the call in progress
};

void sim_peer_init(struct sim_peer *p, const struct sim_plan *plan, struct sim_net *net,
                   struct sim_oracle *oracle, struct sim_events *events, uint32_t user,
                   uint32_t device);
void sim_peer_fini(struct sim_peer *p);

// Starts the process on its disk and logs in.
void sim_peer_start(struct sim_peer *p, pqb_tstamp now);
// The process ends. What it had not synced is lost when `is_power_cut`.
void sim_peer_kill(struct sim_peer *p, bool is_power_cut, pqb_tstamp now);

// What the client made of a datagram.
struct sim_effect {
    uint64_t dropped; // datagrams and frames
    bool has_changed; // its state, session or round-trip time is another now
};

struct sim_effect sim_peer_on_datagram(struct sim_peer *p, const void *data, size_t len,
                                       pqb_tstamp now);
void sim_peer_turn(struct sim_peer *p, pqb_tstamp now); // timers, workload, transmission
pqb_tstamp sim_peer_next_deadline(struct sim_peer *p);

// Moods.
void sim_peer_go_offline(struct sim_peer *p, pqb_duration away, pqb_tstamp now);
void sim_peer_keep_backup(struct sim_peer *p); // a copy of the disk into the drawer
void sim_peer_restore_backup(struct sim_peer *p, pqb_tstamp now); // and back
void sim_peer_stall(struct sim_peer *p, pqb_tstamp until);        // takes nothing until then
void sim_peer_settle(struct sim_peer *p, pqb_tstamp now);
void sim_peer_log_out(struct sim_peer *p, pqb_tstamp now);
