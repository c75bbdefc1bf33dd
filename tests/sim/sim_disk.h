// What a client leaves on its machine: queue, epoch and cursor behind the library's store
// interface, together with the application's own data. What was not synced can be lost, the disk
// can be copied (backup, clone) and set back.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/time.h"
#include "common/client/paquebot.h"
#include "tests/sim/sim_oracle.h"

struct sim_pending {
    uint64_t seq;
    uint32_t message, to_user, len;
};

struct sim_image { // the client's part
    uint32_t epoch;
    uint64_t next_seq, cursor, attempt_iseq;
    uint32_t attempts;
    struct sim_pending *queue;
    size_t queue_count, queue_max;
};

struct sim_id { // the application's: which message has which id
    uint64_t id;
    uint32_t message;
};

struct sim_take { // delivered in one step with a cursor that is not synced yet
    uint64_t iseq;
    uint32_t from_device;
    size_t len;
    uint8_t *body;     // NULL: a gap
    uint64_t from, to; // of a gap
    unsigned reason;
};

struct sim_disk {
    struct sim_oracle *oracle;
    struct sim_app *app;
    struct sim_image live, durable;
    struct sim_id *ids;
    size_t ids_count, ids_max;
    struct sim_take *takes;
    size_t takes_count, takes_max;
    bool is_atomic;        // message and cursor in one step; otherwise the application has it first
    uint32_t poison_limit; // of its client
    bool is_dead;          // the process is gone: nothing reaches the disk any more
    uint32_t next_message; // put: which message is being queued
    uint32_t next_to_user;
    uint8_t ticket[PQB_CLIENT_TICKET_LEN];
    size_t ticket_len; // 0: none
    pqb_tstamp now;
    struct pqb_client_store store;
};

struct sim_disk *sim_disk_create(struct sim_oracle *oracle, uint32_t device, bool is_atomic);
// A copy of what is durable, with a copy of the application's data.
struct sim_disk *sim_disk_copy(struct sim_disk *disk);
void sim_disk_destroy(struct sim_disk *disk);

// The process died. With `is_power_cut` what was not synced is gone.
void sim_disk_crash(struct sim_disk *disk, bool is_power_cut);

// The application that is not atomic took the message, before the cursor is stored.
void sim_disk_take_early(struct sim_disk *disk, const struct pqb_client_message *message);

// The application is told of a gap: in its place among what is not synced yet.
void sim_disk_gap(struct sim_disk *disk, uint64_t from, uint64_t to, unsigned reason);

// Which message has this id; SIM_MESSAGE_NONE if none.
uint32_t sim_disk_message(const struct sim_disk *disk, uint64_t id);
void sim_disk_note_id(struct sim_disk *disk, uint64_t id, uint32_t message);
