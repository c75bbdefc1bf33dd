// What the two halves of the daemon share: daemon.c starts and stops, daemon_loop.c runs in
// between.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/json.h"
#include "gateway/admin/chain.h"
#include "gateway/admin/commands.h"
#include "gateway/admin/daemon.h"
#include "gateway/admin/rows.h"
#include "gateway/io/auth.h"
#include "gateway/io/key_files.h"
#include "gateway/io/shard.h"

#define PQB_DAEMON_SHARDS_MAX 64

enum pqb_daemon_signal {
    PQB_DAEMON_SIGHUP,
    PQB_DAEMON_SIGTERM,
    PQB_DAEMON_SIGINT,
    PQB_DAEMON_SIGNALS
};

// Settings on their way to the shards; the old `auth` is freed once no shard has it.
struct pqb_reload {
    struct pqb_chain chain;
    bool is_under_way;
    bool is_wanted;  // another SIGHUP came meanwhile
    bool is_blocked; // a shard's mailbox was full; the next tick goes on from there
    struct pqb_auth *old_auth;
    struct pqb_server_keys *old_keys; // likewise
};

// Sessions being ended.
struct pqb_drain {
    struct pqb_chain chain;
    bool has_begun, is_chain_under_way;
    bool has_told_all; // every shard's engine has been asked to drain
    uint64_t sessions; // counted by the present round
    pqb_tstamp begun_at, deadline;
};

struct pqb_daemon {
    struct pqb_config config; // in effect; reloads change the reloadable part
    int argc;
    char *const *argv;
    struct pqb_auth *auth;        // who may log in
    struct pqb_server_keys *keys; // NULL: plaintext
    struct pqb_secret_rng secrets;
    pqb_wall_ms keys_due_at; // when a new ticket key is made

    uint32_t shard_count;
    struct pqb_udp_socket sockets[PQB_DAEMON_SHARDS_MAX][PQB_CONFIG_LISTEN_MAX];
    struct pqb_addr listen[PQB_CONFIG_LISTEN_MAX]; // with the ports that were given
    struct pqb_mailbox mailboxes[PQB_DAEMON_SHARDS_MAX];
    uint32_t mailbox_count; // initialised
    struct pqb_mailbox home;
    bool has_home;
    struct pqb_store *store;
    struct pqb_stats_page *page;
    uint64_t *writer_column, *process_column;
    struct pqb_shard *shards[PQB_DAEMON_SHARDS_MAX];
    struct pqb_admin *admin;

    struct event_base *base;
    struct event *signals[PQB_DAEMON_SIGNALS];
    struct event *letters, *tick, *drain_timer;
    pqb_tstamp now;

    struct pqb_reload reload;
    struct pqb_drain drain;
};

// ------------------------------------------------------------------------------ daemon_loop.c

// Makes the event base with signals, letters and timers; nothing runs yet.
PQB_MUST_USE int pqb_daemon_loop_init(struct pqb_daemon *d);
void pqb_daemon_loop_fini(struct pqb_daemon *d);

// Returns when the sessions have been drained, or their time is over.
void pqb_daemon_loop_run(struct pqb_daemon *d);

void pqb_daemon_drain(struct pqb_daemon *d);

// Reads the keys of the data directory, which makes what is missing. NULL in plaintext. PQB_OK, or
// an error that `why` tells.
PQB_MUST_USE int pqb_daemon_load_keys(struct pqb_daemon *d, struct pqb_server_keys **out,
                                      char why[PQB_KEY_FILES_ERROR_MAX]);

// What a shard's engine is told of the settings, the keys and the issuers.
void pqb_daemon_set_engine(const struct pqb_daemon *d, uint32_t shard,
                           struct pqb_engine_config *out);

// Reads the configuration and the files that it names again. Writes members into `out` (may be
// NULL): "changed", or "error" when it returns false; then the old settings stay.
bool pqb_daemon_reload(struct pqb_daemon *d, struct pqb_json *out);
