// Engines of one or more shards on one store, stepped by hand, and peers that speak to them with
// hand-made datagrams: what the engine's tests share.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/proto/aead.h"
#include "common/proto/noise.h"
#include "common/proto/packet_keys.h"
#include "common/proto/server_keys.h"
#include "common/wire/datagram.h"
#include "common/wire/frame.h"
#include "gateway/core/engine.h"
#include "gateway/core/stats.h"
#include "tests/unit/store_fixture.h"

#define GATE_SHARDS_MAX 4
#define GATE_SENT_MAX   2048 // datagrams kept of what the engines sent
#define GATE_MAILS_MAX  256
#define GATE_PEERS_MAX  32 // of an encrypted gate

struct gate_mail {
    uint32_t shard;
    size_t len;
    uint8_t data[PQB_MAIL_MAX];
};

// Who a peer of an encrypted gate is, whom it believes, and what its last login has led to.
struct peer_identity {
    uint8_t server_key[PQB_KEY_LEN]; // pinned
    struct pqb_noise_keypair device;
    struct pqb_secret_rng rng;
    uint8_t ciphers;  // offered
    bool is_resuming; // with this ticket
    uint8_t ticket[PQB_TICKET_LEN], psk[PQB_KEY_LEN];
    uint64_t hello_id; // init_id that `hello` was made for; a repeat is the same but for the cookie
    uint8_t hello[PQB_INIT_LEN];
    struct pqb_noise noise; // after it
    enum pqb_cipher cipher; // of the session
    uint8_t send[PQB_KEY_LEN], recv[PQB_KEY_LEN];
};

struct gate {
    struct fixture store;
    struct pqb_engine_config config;
    struct pqb_engine *engines[GATE_SHARDS_MAX];
    uint64_t counters[GATE_SHARDS_MAX][PQB_COUNTER_COUNT];
    struct pqb_unpacker *unpacker;
    struct pqb_transmit *sent; // GATE_SENT_MAX
    size_t sent_count;
    struct gate_mail mails[GATE_MAILS_MAX];
    size_t mail_count, mails_max;
    bool is_login_refused;
    pqb_wall_ms expires_ms;        // of what lets a login in
    uint8_t key_seen[PQB_KEY_LEN]; // the device's, at the last login; zero in plaintext
    const char *revoked_user;      // who may not stay; "": nobody may; NULL: all may
    bool may_fail;                 // a turn may not begin: failures are injected
    bool is_store_stopped;         // gate_settle leaves the writer alone
    struct pqb_server_keys keys;   // of an encrypted gate
    struct peer_identity identities[GATE_PEERS_MAX];
    size_t identity_count;
};

void gate_init(struct gate *g, uint32_t shards); // configuration only; change it, then open
void gate_protect(struct gate *g);     // encrypts: two server keys, one ticket key, every cipher
void gate_reconfigure(struct gate *g); // every engine takes g->config
void gate_open(struct gate *g);
int gate_try_engine(struct gate *g); // makes one more engine and destroys it again
void gate_fini(struct gate *g);
void gate_crash(struct gate *g); // engines and store are gone and come back

uint64_t gate_count(const struct gate *g, enum pqb_counter counter); // over all shards

// One turn of every shard with what `peers` queued; then the writer; and again, until it is quiet.
void gate_settle(struct gate *g);
void gate_turn(struct gate *g);                        // one turn of every shard, no writer
void gate_pass(struct gate *g, pqb_duration duration); // time passes, timers fire when due
void gate_clear(struct gate *g);                       // forgets what was sent

struct peer {
    struct gate *g;
    struct peer_identity *identity; // NULL: it speaks plaintext
    struct pqb_addr addr;
    const char *user, *device;
    uint64_t init_id, cid, pn;
    uint64_t pn_seen; // highest of the engine's
    uint32_t epoch;
    uint64_t low, cursor;
    struct pqb_resp resp;
};

// Encrypted if the gate is: then one of at most GATE_PEERS_MAX.
struct peer peer_make(struct gate *g, const char *user, const char *device, uint16_t port);

// Any bytes from any address, to the shard that the kernel would choose; logins go to the first.
void gate_deliver(struct gate *g, const struct pqb_addr *from, const uint8_t *data, size_t len);

void peer_send_init(struct peer *p, const uint8_t *cookie);
const uint8_t *peer_make_hello(struct peer *p, const uint8_t *cookie); // the same, PQB_INIT_LEN
void peer_sign_hello(const struct peer *p, uint8_t *hello);            // mac1 anew, after a change
bool peer_take_ticket(struct peer *p); // the newest; the next login is made with it
bool peer_take_resp(struct peer *p);   // the newest RESP to this peer's address
void peer_login(struct peer *p);       // INIT, RESP, ping: the session exists after it
void peer_get_epoch(struct peer *p, uint8_t nonce);
struct peer peer_ready(struct gate *g, const char *user, const char *device,
                       uint16_t port); // make, login, epoch

// A gateway with alice's phone and bob's, both with nothing left to acknowledge.
void gate_open_with_two(struct gate *g, struct peer *alice, struct peer *bob);

// Sends one DATA datagram at once, outside any turn's transmission.
void peer_send(struct peer *p, const struct pqb_frame *frames, size_t count);
void peer_send_one(struct peer *p, struct pqb_frame frame);
size_t peer_make_data(struct peer *p, const struct pqb_frame *frames, size_t count, uint8_t *out);
void peer_seal(const struct peer *p, uint8_t *datagram, size_t *len); // no change in plaintext
void peer_msg(struct peer *p, uint64_t seq, uint64_t after, const char *to, const char *body);
void peer_ack(struct peer *p, uint64_t cursor);

// The `nth` (from 0) frame of a type sent to this peer and cid since gate_clear; false: fewer.
bool peer_got(const struct peer *p, enum pqb_frame_type type, unsigned nth, struct pqb_frame *out);
unsigned peer_got_count(const struct peer *p, enum pqb_frame_type type);
unsigned peer_datagrams(const struct peer *p); // sent to its address

// Acknowledges everything that was sent to `p` since gate_clear.
void peer_ack_all(struct peer *p);

// Messages first..last with bodies "message N" to `to`, each with `low` = its seq.
void peer_send_many(struct peer *p, uint64_t first, uint64_t last, const char *to);

// cmocka's setup and teardown: *state is a gate of one or two shards, not opened yet.
int gate_begin(void **state);
int gate_begin_two_shards(void **state);
int gate_begin_protected(void **state);
int gate_begin_protected_two_shards(void **state);
int gate_end(void **state);
