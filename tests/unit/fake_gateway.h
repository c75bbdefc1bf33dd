// A scripted gateway for tests of the client: it catches the client's datagrams, takes them apart,
// and answers what the test tells it to. Time is a number that the test moves.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/client/paquebot.h"
#include "common/proto/aead.h"
#include "common/proto/noise.h"
#include "common/proto/packet_keys.h"
#include "common/proto/server_keys.h"
#include "common/wire/datagram.h"
#include "common/wire/frame.h"

#define FAKE_FRAMES_MAX 512
#define FAKE_EVENTS_MAX 512
#define FAKE_CID        UINT64_C(0x0101010101010101)
#define FAKE_SECOND     UINT64_C(1000000000)
#define FAKE_MS         UINT64_C(1000000)

enum fake_event_type {
    FAKE_STATE,
    FAKE_RECEIPT,
    FAKE_MESSAGE,
    FAKE_GAP,
    FAKE_BACKLOG,
    FAKE_FORGOTTEN,
    FAKE_DEAD_LETTER,
    FAKE_TICKET
};

struct fake_event {
    enum fake_event_type type;
    uint64_t id,
        to; // receipt: id; message, dead letter: iseq; gap, forgotten: from, to; backlog: count
    unsigned a, b; // state, reason; receipt, refusal; gap reason; attempts
    size_t len;    // of the body; of the ticket
    char text[64]; // first bytes of the body
    char from[65];
};

struct fake {
    struct pqb_client_store *store;
    struct pqb_client *c;
    struct pqb_unpacker *unpacker;
    uint64_t now;
    uint64_t cid, pn, pn_seen;
    bool is_echoing;      // what arrived last is echoed, as if just now; else nothing is
    struct pqb_init init; // the last INIT; text borrows from init_datagram
    uint8_t init_datagram[PQB_DATAGRAM_MAX];
    size_t inits, datagrams;
    struct pqb_frame frames[FAKE_FRAMES_MAX];          // since the last fake_forget
    uint8_t copies[FAKE_FRAMES_MAX][PQB_DATAGRAM_MAX]; // what they borrow from
    size_t frame_count;
    struct fake_event events[FAKE_EVENTS_MAX];
    size_t event_count;
    int refuse_messages; // so many messages are answered "not now"
    bool is_deaf;        // the test's application takes nothing while set
    uint64_t dies_at;    // the application dies when it is handed this iseq; 0: it does not
    struct pqb_client_store *at_death;                               // what its store then was
    void (*on_state)(struct fake *f, enum pqb_client_reason reason); // what the test does besides

    // Of a gateway that is spoken to encrypted.
    bool is_sealed;
    struct pqb_noise_keypair server, device;
    struct pqb_hello hello; // the last INIT or RESUME; borrows from init_datagram
    uint8_t init_payload[PQB_INIT_LEN];
    size_t resumes;         // among `inits`
    struct pqb_noise noise; // after it
    uint8_t lives;          // clients that were made, each with secrets of its own
    uint8_t resp_count;     // answers, each with an ephemeral key of its own
    uint8_t send[PQB_KEY_LEN], recv[PQB_KEY_LEN];
    uint8_t ticket[PQB_TICKET_LEN], psk[PQB_KEY_LEN]; // that the gateway has given last
    uint8_t kept[PQB_CLIENT_TICKET_LEN];              // what the application keeps of on_ticket
    size_t kept_len;
};

// A client of user alice, device phone, over `store` (NULL: a new memory store that the fake owns).
void fake_start(struct fake *f, struct pqb_client_store *store,
                const struct pqb_client_config *base);
// The same, encrypted, by an application that keeps tickets.
void fake_start_sealed(struct fake *f, struct pqb_client_store *store,
                       const struct pqb_client_config *base);
void fake_stop(struct fake *f, bool keep_store);

// The client dies and comes back over the same store.
void fake_restart(struct fake *f);

// The client that died in on_message (dies_at) comes back over the store as it was then.
void fake_restart_after_death(struct fake *f);

// Moves time to `now`, runs the client's timeouts, and catches what it sends.
void fake_run_until(struct fake *f, uint64_t now);
void fake_pump(struct fake *f); // at the present time

// Steps from deadline to deadline until `now`.
void fake_advance(struct fake *f, uint64_t duration);

// Answers to the last INIT.
struct pqb_resp fake_resp(const struct fake *f);
size_t fake_make_resp(struct fake *f, const struct pqb_resp *resp, uint8_t *out); // not sent
void fake_send_resp(struct fake *f, const struct pqb_resp *resp);
void fake_give(struct fake *f, const uint8_t *datagram, size_t len); // any bytes; then pumps

// Frames to the client, one datagram each call; then pumps.
void fake_send(struct fake *f, const struct pqb_frame *frames, size_t count);
void fake_deliver_only(struct fake *f, const struct pqb_frame *frames, size_t count);
size_t fake_make_data(struct fake *f, const struct pqb_frame *frames, size_t count, uint8_t *out);
void fake_send_ticket(struct fake *f, uint8_t n); // the nth

// Connects and brings the client online, in epoch 7 if it had none.
void fake_login(struct fake *f);

// Caught frames and events.
void fake_forget(struct fake *f);
size_t fake_count(const struct fake *f, enum pqb_frame_type type);
const struct pqb_frame *fake_last(const struct fake *f, enum pqb_frame_type type);
const struct pqb_frame *fake_nth(const struct fake *f, enum pqb_frame_type type, size_t n);
size_t fake_event_count(const struct fake *f, enum fake_event_type type);
const struct fake_event *fake_last_event(const struct fake *f, enum fake_event_type type);

struct pqb_frame fake_msg_a(uint64_t seq, uint8_t state);
struct pqb_frame fake_msg_n(uint64_t iseq, const char *body);
