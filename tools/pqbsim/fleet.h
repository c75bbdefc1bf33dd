// Thousands of clients in one process: client engines that share sockets, told apart by init_id and
// connection id, behind an impaired network. One thread drives it.
//
// A client that rebinds moves to another of the shared sockets, hence to another port; what arrives
// for it at the old one is lost, as behind a NAT.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/addr.h"
#include "common/base/defs.h"
#include "common/base/hist.h"
#include "common/base/htable.h"
#include "common/base/rng.h"
#include "common/base/time.h"
#include "common/base/timerq.h"
#include "common/client/paquebot.h"
#include "common/wire/limits.h"
#include "tools/pqbsim/impair.h"
#include "tools/pqbsim/traffic.h"

#define FLEET_SOCKETS   64
#define FLEET_NAMES_MAX 48                     // bytes before the number
#define FLEET_NAME_MAX  (FLEET_NAMES_MAX + 16) // with it

struct fleet;

struct fleet_client {
    struct fleet *fleet;
    uint32_t index;
    uint32_t socket;           // index of the socket it sends from
    struct pqb_client *client; // NULL: crashed, its store remains
    struct pqb_client_store *store;
    struct pqb_timer timer;
    struct pqb_hnode by_init, by_cid;
    uint64_t init_id, cid;
    uint8_t device_key[PQB_CLIENT_KEY_LEN], ticket[PQB_CLIENT_TICKET_LEN]; // outlive a crash
    size_t ticket_len;
    bool is_online;    // logged in now
    uint32_t sessions; // begun so far
    bool is_wanted;    // shall be online
    pqb_tstamp start_at, switch_at, rebind_at;
    pqb_tstamp rebound_at, gap_from; // last address change, and its first datagram; PQB_NEVER
    struct pqb_htable sent;          // of struct fleet_sent
};

struct fleet_config {
    struct pqb_addr target;
    uint32_t clients;
    const char *names; // users are called this and a number; NULL: "load"
    struct impair_config impair;
    double offline;            // fraction logged out at any time
    pqb_duration rebind_ns;    // mean; 0: never
    pqb_duration ramp_ns;      // logins are spread over it
    const uint8_t *server_key; // PQB_CLIENT_KEY_LEN bytes: sessions are encrypted; NULL: plaintext
    bool without_aes;          // ChaChaPoly only
    bool without_tickets;      // each login is made in full
    uint64_t seed;
    void *ctx; // of the callbacks
    // Message `number` (the caller's) of a client: what became of it.
    void (*on_receipt)(void *ctx, uint64_t number, enum pqb_client_receipt receipt,
                       unsigned refusal, pqb_tstamp now);
    // A message was handed over to client `index`.
    void (*on_message)(void *ctx, uint32_t index, const struct pqb_client_message *message,
                       pqb_tstamp now);
    // Client `index` is about to send a datagram. May be NULL.
    void (*on_transmit)(void *ctx, uint32_t index, const void *data, size_t len);
};

struct fleet_totals {
    uint64_t datagrams_in, datagrams_out, retransmitted, logins, rebinds, send_failed, strays;
    uint64_t inits_max; // INITs of the client that sent the most
};

struct fleet {
    struct fleet_config config;
    struct fleet_client *clients;
    struct pqb_client_scratch *scratch;
    int epoll_fd, sockets[FLEET_SOCKETS];
    struct impair up, down;
    struct pqb_rng rng;
    struct pqb_timerq timers;
    struct pqb_htable by_init, by_cid;
    uint32_t online;
    bool is_settling;              // everybody shall be online
    bool is_cut;                   // nothing passes, either way
    struct traffic traffic;        // what was sent, whether it passed or not
    struct pqb_hist rebind_gap_us; // from the first datagram of a new address to the answer
    pqb_tstamp now;                // of the current turn
    struct fleet_totals totals;    // datagrams, and what destroyed clients left
};

PQB_MUST_USE int fleet_init(struct fleet *f, const struct fleet_config *config, pqb_tstamp now);
void fleet_fini(struct fleet *f);

// Waits for traffic or a deadline, at the latest `until`, and does one turn. Returns the time.
pqb_tstamp fleet_run(struct fleet *f, pqb_tstamp until);

// Sends from client `from`; the caller's `number` comes back in on_receipt. An error is that of
// pqb_client_send, PQB_CLIENT_ERR_CLOSED while the client is crashed.
PQB_MUST_USE int fleet_send(struct fleet *f, uint32_t from, uint32_t to, const void *body,
                            size_t len, uint64_t number);

// Whether `names` (may be NULL) will do as fleet_config.names. An exit status; says what is wrong.
int fleet_check_names(const char *command, const char *names);

// The name of client `index`; returns its length.
size_t fleet_user_name(const struct fleet *f, uint32_t index, char name[FLEET_NAME_MAX]);

// From now on nobody goes away any more and those who are away come back.
void fleet_settle(struct fleet *f);

// Client `index` is told that its session is gone, as by a gateway that has forgotten it.
void fleet_forget(struct fleet *f, uint32_t index);

// A black hole begins or ends.
void fleet_cut(struct fleet *f, bool is_cut);

void fleet_get_totals(const struct fleet *f, struct fleet_totals *out);
