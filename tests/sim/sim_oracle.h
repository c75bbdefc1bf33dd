// The judge of a run: it knows every message that an application handed over and every one that an
// application was given, and holds the gateway, store and client to the promises P1-P5.
//
// An *app* is what one application has on its disk: what it knows of its own messages and what it
// has taken. A restored backup or a clone of a client is a copy of an app; what must hold once "per
// application" is held against each copy, what must hold "per device" against all of them together.
//
// The first broken promise is kept in `failure` and later ones are ignored.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/time.h"

#define SIM_USERS_MAX     16
#define SIM_DEVICES_MAX   32
#define SIM_BODY_MIN      16
#define SIM_MESSAGE_NONE  UINT32_MAX
#define SIM_GAP_WAS_TAKEN 64 // the client's own: this device had them before it was restored

enum sim_state {      // what an application knows of a message it sent
    SIM_NOT_MINE = 0, // not sent by this application
    SIM_PENDING = 1,
    SIM_ACCEPTED = 2,
    SIM_STORED = 3,
    SIM_DELIVERED = 4,
    SIM_REFUSED = 16,
    SIM_ABANDONED = 17,
    SIM_UNCERTAIN = 32, // given back by a client that was restored or lost its state
};

struct sim_message {
    uint32_t from_device, to_user;
    uint32_t stream; // P3's order holds inside one
    uint32_t len;
    bool is_ephemeral;
    bool is_copied;     // two queues held it at once: each may have given it up before it was sent
    bool may_be_double; // and neither had an epoch yet, so nothing can tell the two apart
    bool is_accepted, is_refused, is_abandoned; // an application was told so, ever
    pqb_tstamp sent_at;
    uint64_t iseq;     // where it was first taken; 0: not taken
    uint64_t taken_by; // bit per device

    // What the store's journal says of it (sim_history.h).
    uint64_t stored_iseq, stored_gseq; // 0: nowhere
    uint64_t clock_ms;                 // the store's clock at least, when it was decided
    pqb_tstamp told_at;                // an application first heard that it was accepted
    bool may_be_lost, is_told_lost, has_expired;
};

struct sim_retention { // 0: no such rule
    uint64_t age_ms, messages, bytes;
};

struct sim_span {
    uint64_t from, to;
};

struct sim_app {
    uint32_t device;
    uint32_t stream;       // of the messages it sends now
    bool may_be_uncertain; // it was copied, restored or has no durable state
    bool has_copy; // another app began with this one's queue: seqs may name messages of either
    bool has_taken;
    bool is_dormant; // a backup in a drawer: nobody runs on it
    uint64_t last_iseq;
    uint64_t death_iseq; // the message that it died over last while that was the first of a run
    uint32_t deaths;     // in a row
    uint64_t start; // where its device began, as it was told; it may be told again after a death
    pqb_tstamp online_at;  // its last login was through
    pqb_tstamp process_at; // the process that runs on it began
    size_t messages_max;   // room in `states` and `taken`
    uint8_t *states;       // [message], enum sim_state of its own
    uint8_t *taken;        // [message] 1: taken; 2: taken, and may be handed over once more
    size_t streams_max;
    uint32_t *last_of_stream; // [stream] 1 + the last message taken
    struct sim_app *next;
};

struct sim_device {
    uint32_t user;
    bool is_absent;           // it takes no part and is owed nothing
    pqb_tstamp registered_at; // proof was seen that the gateway has it; PQB_NEVER: none yet
    bool has_clone;           // another client of it has an epoch of its own
    bool is_forgotten;        // an older store did not know it: it began anew
    struct sim_span *expired; // what it was told to have expired
    size_t expired_count, expired_max;
};

struct sim_oracle {
    uint32_t users_count, devices_count, streams_count;
    struct sim_device devices[SIM_DEVICES_MAX];
    struct sim_message *messages;
    size_t messages_count, messages_max;
    struct sim_app *apps;
    uint64_t taken_count, accepted_count, delivered_count, refused_count, abandoned_count;
    uint64_t uncertain_count, again_count, ephemeral_taken, dead_letter_count;
    const char *name_tail; // of users' and devices' names
    char failure[400];     // empty: no promise broken

    // sim_history.h
    bool is_watching; // the journal is read
    bool is_async;    // durability
    bool has_lost;    // a death or an older copy has cost something
    bool is_set_back; // to an older copy
    bool is_weak;     // a volume was set back without a mark: only what comes later is promised
    struct sim_retention retention;
    uint64_t clock_ms;      // of the store
    uint64_t decided_ms;    // what is committed by now was decided at most so long ago
    pqb_duration late_ns;   // a datagram arrives at most so long after it was sent
    pqb_tstamp loss_at;     // last death or restore
    pqb_tstamp accepted_at; // the last that was told
    pqb_tstamp weak_until;  // is_weak: what is sent later is promised again
    uint64_t lost_count, expired_told;
};

void sim_oracle_init(struct sim_oracle *o);
void sim_oracle_fini(struct sim_oracle *o);

void sim_oracle_fail(struct sim_oracle *o, const char *format, ...) PQB_PRINTF(2, 3);
bool sim_oracle_has_failed(const struct sim_oracle *o);

uint32_t sim_oracle_add_user(struct sim_oracle *o);
uint32_t sim_oracle_add_device(struct sim_oracle *o, uint32_t user);

// A new, empty application of `device`; the oracle owns it.
struct sim_app *sim_oracle_add_app(struct sim_oracle *o, uint32_t device);
// A copy that from here on lives its own life. Both may now be told `uncertain`.
struct sim_app *sim_oracle_copy_app(struct sim_oracle *o, struct sim_app *app);
// The application is gone with all that it knew.
void sim_oracle_drop_app(struct sim_oracle *o, struct sim_app *app);
// A copy of the client's queue was made while it held the message.
void sim_oracle_on_copied(struct sim_oracle *o, uint32_t message, bool has_epoch);
// What it sends from now on stands in no order to what it sent before.
void sim_oracle_new_stream(struct sim_oracle *o, struct sim_app *app);

// The application hands over message `len` bytes long; returns its number. Its body is made by
// sim_oracle_body, and only from that number and length.
uint32_t sim_oracle_send(struct sim_oracle *o, struct sim_app *app, uint32_t to_user, uint32_t len,
                         bool is_ephemeral, pqb_tstamp now);
// The client did not take it after all (its queue was full): it was never sent.
void sim_oracle_withdraw(struct sim_oracle *o, struct sim_app *app, uint32_t message);
void sim_oracle_body(uint32_t message, uint8_t *out, size_t len);
// The word that follows `word` in a body.
uint64_t sim_oracle_body_next(uint64_t word);
// Which message it is; SIM_MESSAGE_NONE: none that anybody sent.
uint32_t sim_oracle_message(const struct sim_oracle *o, const uint8_t *body, size_t len);

// The application is told what became of its message.
void sim_oracle_on_state(struct sim_oracle *o, struct sim_app *app, uint32_t message,
                         enum sim_state state, pqb_tstamp now);

// The application lost what it was told about its message since its last sync.
void sim_oracle_forget_state(struct sim_oracle *o, struct sim_app *app, uint32_t message);

// The application durably takes a message. `iseq` 0: ephemeral.
void sim_oracle_on_take(struct sim_oracle *o, struct sim_app *app, uint64_t iseq,
                        uint32_t from_device, const uint8_t *body, size_t len, pqb_tstamp now);
// The application took `body`, but died before the client stored the cursor: it may come again.
void sim_oracle_may_take_again(struct sim_oracle *o, struct sim_app *app, const uint8_t *body,
                               size_t len);

// The application is about to get the message at `iseq`; `limit` deaths over one are enough.
void sim_oracle_on_hand_over(struct sim_oracle *o, struct sim_app *app, uint64_t iseq,
                             uint32_t limit);
// It died over the message, the first that its client handed over since it started.
void sim_oracle_on_death_over(struct sim_app *app, uint64_t iseq);
// Its client puts the message aside: the device has it, the application has not seen it through.
void sim_oracle_on_dead_letter(struct sim_oracle *o, const struct sim_app *app, uint64_t iseq,
                               uint32_t attempts, uint32_t limit);

void sim_oracle_on_gap(struct sim_oracle *o, struct sim_app *app, uint64_t from, uint64_t to,
                       unsigned reason);

// Is everything that was ever handed over resolved and, where accepted, with everyone it is for?
bool sim_oracle_is_settled(struct sim_oracle *o);

// The same as a verdict, at the end of a run.
void sim_oracle_finish(struct sim_oracle *o);

const char *sim_state_name(enum sim_state state);
