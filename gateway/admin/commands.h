// What pqbctl can ask a running gateway: status, sessions, user, inbox, kick, drain, reload,
// backup, checkpoint. Runs on the main thread and never waits: what a shard or the store must say
// comes back as a letter or a completion. Answers are JSON objects with "ok" and, when that is
// false, "error".
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/json.h"
#include "gateway/config/config.h"
#include "gateway/io/mailbox.h"
#include "storage/store.h"

#define PQB_ADMIN_SHOWN_MAX 10000 // sessions or messages that one answer lists

struct event_base;
struct pqb_admin;

struct pqb_admin_env {
    struct event_base *base;
    struct pqb_store *store;
    struct pqb_mailbox *mailboxes; // of the shards
    uint32_t shards;               // also the number of the completion queue that admin polls
    struct pqb_mailbox *home;      // the main thread's; its owner calls pqb_chain_on_reply
    uint64_t *counters;            // PQB_PROCESS_*

    void *ctx; // of the functions below
    const struct pqb_config *(*config)(void *ctx);
    void (*drain)(void *ctx);
    bool (*is_draining)(void *ctx);
    // Reads the configuration again; writes what changed, or the fault, into the open object.
    bool (*reload)(void *ctx, struct pqb_json *out);
};

// Listens at `path`. Errors as pqb_control_create.
PQB_MUST_USE int pqb_admin_create(struct pqb_admin **out, const char *path,
                                  const struct pqb_admin_env *env);

// Call it when the store woke the completion queue of admin.
void pqb_admin_on_completions(struct pqb_admin *a);

// The shards have stopped. A backup under way is waited for. NULL is fine.
void pqb_admin_destroy(struct pqb_admin *a);
