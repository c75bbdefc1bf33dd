// One shard: a thread with its event loop, its sockets, its engine. It reads the clock once a turn
// and drives the engine as engine.h says. Other threads reach it through its mailbox only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "gateway/core/engine.h"
#include "gateway/io/auth.h"
#include "gateway/io/mailbox.h"
#include "gateway/io/stats_page.h"
#include "gateway/io/udp_socket.h"

#define PQB_SHARD_MAILBOX_CAPACITY 8192 // letters; with PQB_MAIL_MAX each about 10 MiB
#define PQB_SHARD_SOCKETS_MAX      8

struct pqb_shard;

// What lies in a shard's mailbox begins with this.
enum pqb_letter_type {
    PQB_LETTER_MAIL, // from another shard's engine
    PQB_LETTER_CALL, // something to run on the shard's thread
};

struct pqb_letter {
    enum pqb_letter_type type;
};

// Runs `run` on the shard's thread inside a turn, then comes back through `reply`. Owned by whoever
// made it; the shard borrows it in between. The reply box must have room for every outstanding
// call.
struct pqb_call {
    struct pqb_letter letter;
    void (*run)(struct pqb_call *call, struct pqb_shard *shard, struct pqb_engine *engine,
                pqb_tstamp now);
    struct pqb_mailbox *reply;
    void *ctx;      // the caller's
    uint32_t shard; // the caller's
};

struct pqb_shard_config {
    uint32_t index, shards;
    struct pqb_engine_config engine;
    struct pqb_store *store;
    struct pqb_mailbox *mailboxes;  // of all shards; this one's is mailboxes[index]
    struct pqb_udp_socket *sockets; // this shard's, `socket_count` of them; borrowed
    size_t socket_count;
    const struct pqb_auth *auth; // who may log in
    struct pqb_stats_page *page;
    size_t column;             // in the page
    uint64_t *engine_counters; // PQB_COUNTER_*
    uint64_t *io_counters;     // PQB_IO_*
};

// Makes engine and events; nothing runs yet. Everything in `config` must outlive the shard.
PQB_MUST_USE int pqb_shard_create(struct pqb_shard **out, const struct pqb_shard_config *config);
PQB_MUST_USE int pqb_shard_start(struct pqb_shard *s);

// Ends the loop after its present turn and waits for the thread. Fine when it was not started.
void pqb_shard_stop(struct pqb_shard *s);
void pqb_shard_destroy(struct pqb_shard *s); // stopped; NULL is fine

// Empties the mailbox of a shard that is gone; calls stay their owners'.
void pqb_shard_discard(struct pqb_mailbox *mailbox);

// false: the mailbox is full, the call was not made.
PQB_MUST_USE bool pqb_shard_call(struct pqb_mailbox *mailbox, struct pqb_call *call);

// For calls, on the shard's thread.
void pqb_shard_set_auth(struct pqb_shard *s, const struct pqb_auth *auth);
uint64_t pqb_shard_sessions(const struct pqb_shard *s); // logged in now
