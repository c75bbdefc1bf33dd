// One shard's logic: logins, sessions, routing, delivery. Sans-I/O: no socket, clock, thread,
// libevent or LMDB; time and randomness come in, datagrams and requests go out. The daemon, the
// simulator, the fuzzers and the benchmarks run this same object code.
//
// One turn, on the shard's thread:
//   pqb_engine_begin(e, now)                   polls completions, opens the view, tails the journal
//   pqb_engine_on_datagram / on_mail  x n
//   pqb_engine_on_timeout(e, now)
//   while (pqb_engine_poll_transmit(e, &t, now)) send t
//   pqb_engine_handshake(e, now)               makes a few of the handshakes that wait
//   pqb_engine_end(e)                          closes the view
//   sleep until pqb_engine_next_deadline(e), a datagram, a wake from the store, or mail
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/addr.h"
#include "common/base/defs.h"
#include "common/base/rng.h"
#include "common/base/time.h"
#include "common/proto/aead.h"
#include "common/proto/server_keys.h"
#include "common/wire/limits.h"
#include "gateway/core/credentials.h"
#include "storage/store.h"

struct pqb_engine;

#define PQB_MAIL_MAX (PQB_DATAGRAM_MAX + 64) // bytes of one message between shards

// What the engine asks of its shard. Called on the shard's thread, from inside engine calls.
struct pqb_engine_env {
    void *ctx;
    // Hands `len` bytes to another shard's engine (its on_mail). false: its mailbox is full; what
    // the engine posts may be lost (hints, ephemerals, INITs) and the loss is counted.
    bool (*post)(void *ctx, uint32_t shard, const void *mail, size_t len);
    // Do they let the device in? If so, on what ground. Must not block.
    bool (*may_login)(void *ctx, const struct pqb_credentials *c, struct pqb_grant *out);
    // Would it still, for a login that was let in before? Tickets are asked about, and sessions
    // when tokens, issuers or revocations have changed. Must not block.
    bool (*may_stay)(void *ctx, const struct pqb_text *user, const struct pqb_text *device,
                     const struct pqb_grant *grant);
    // A line for the log (PQB_LOG_* level); the engine has limited its rate. NULL: silent.
    void (*log)(void *ctx, int level, const char *line);
    // Wall clock in ms, frozen for the turn; for message times only.
    pqb_wall_ms (*wall)(void *ctx);
};

enum pqb_retry_mode {
    PQB_RETRY_UNDER_LOAD = 0, // ask for the cookie when half-open sessions pass a mark
    PQB_RETRY_ALWAYS = 1,
};

struct pqb_engine_config {
    uint32_t shard, shards;
    uint32_t sessions_max;  // logged in, this shard
    uint32_t half_open_max; // logins waiting for their first DATA
    enum pqb_retry_mode retry;
    pqb_duration idle_ns;      // a silent session ends
    uint32_t body_max;         // bytes, <= PQB_BODY_MAX
    uint32_t push_max;         // backlog that is pushed after login
    uint32_t rate, rate_burst; // messages a second that one device may send; 0: unlimited
    uint32_t sessions_per_user_max;
    uint64_t reassembly_bytes_max; // all sessions of the shard
    uint64_t request_bytes_max;    // bodies handed to the writer and not completed
    // Sessions are encrypted with these; outlives the engine or the next reconfiguration. NULL:
    // plaintext, and encrypted logins are dropped, as plaintext ones are when it is set.
    const struct pqb_server_keys *keys;
    uint32_t signature_checks;   // that one login may cost
    uint32_t login_rate;         // handshakes a second for one address under load; 0: unlimited
    pqb_duration session_max_ns; // an encrypted session ends, for new keys to be exchanged
};

#define PQB_ENGINE_SEED_LEN 48 // 16 bytes for numbers and tables, 32 for secrets

void pqb_engine_config_default(struct pqb_engine_config *config);

// `counters` has PQB_COUNTER_COUNT numbers (gateway/core/stats.h) that only this engine writes; it
// may lie in a mapped page. `seed` keys random numbers, tables and secrets.
PQB_MUST_USE int pqb_engine_create(struct pqb_engine **out, const struct pqb_engine_config *config,
                                   const struct pqb_engine_env *env, struct pqb_store *store,
                                   uint64_t *counters, const uint8_t seed[PQB_ENGINE_SEED_LEN],
                                   pqb_tstamp now);
void pqb_engine_destroy(struct pqb_engine *e); // outstanding requests must have been polled or died
                                               // with the store; NULL is fine

// After an error there is no turn: only pqb_engine_begin again, later.
PQB_MUST_USE int pqb_engine_begin(struct pqb_engine *e, pqb_tstamp now);
void pqb_engine_end(struct pqb_engine *e);

// Fresh random bytes from the system, now and then: a machine that was resumed from a snapshot must
// not make the same keys again.
void pqb_engine_stir(struct pqb_engine *e, const uint8_t fresh[PQB_SECRET_SEED_LEN]);

// `data` is borrowed for the call.
void pqb_engine_on_datagram(struct pqb_engine *e, const struct pqb_addr *from, const uint8_t *data,
                            size_t len, pqb_tstamp now);
void pqb_engine_on_mail(struct pqb_engine *e, const void *mail, size_t len, pqb_tstamp now);
void pqb_engine_on_timeout(struct pqb_engine *e, pqb_tstamp now);

struct pqb_transmit {
    struct pqb_addr to;
    size_t len;
    uint8_t data[PQB_DATAGRAM_MAX];
};

// Next datagram to send, of sessions before answers to strangers; datagrams to one peer come in a
// run, so that the driver can use UDP_SEGMENT. false: nothing more this turn.
bool pqb_engine_poll_transmit(struct pqb_engine *e, struct pqb_transmit *out, pqb_tstamp now);

// After everything else: a handshake takes as long as some ten messages, and whoever waits for one
// of those need not wait for it. The others wait for the next turn, which is then due at once.
void pqb_engine_handshake(struct pqb_engine *e, pqb_tstamp now);

pqb_tstamp pqb_engine_next_deadline(const struct pqb_engine *e);

// The shard that a datagram belongs to by the first byte of its connection id, or -1 when any shard
// may take it (INIT). What the steering filter in the kernel computes.
int pqb_engine_shard_of(const uint8_t *data, size_t len, uint32_t shards);

// ------------------------------------------------------------------------- operator's business

// Ends every session with kick(drain); no new logins. Sessions that answer nothing are dropped.
void pqb_engine_drain(struct pqb_engine *e, pqb_tstamp now);

// Ends the sessions of `user` (of one device, if device_len > 0). Returns how many.
unsigned pqb_engine_kick(struct pqb_engine *e, const char *user, size_t user_len,
                         const char *device, size_t device_len, pqb_tstamp now);

// Who may log in has changed: ends the sessions and forgets the logins that may not stay. Such a
// session is told by a kick if the turn has room for it, else by a RESET when it next speaks.
void pqb_engine_recheck(struct pqb_engine *e, pqb_tstamp now);

struct pqb_session_info {
    char user[PQB_USER_MAX + 1], device[PQB_DEVICE_MAX + 1]; // NUL-terminated
    struct pqb_addr addr;
    uint64_t cid, cursor, head;
    pqb_duration srtt, age, idle;
    uint32_t in_flight; // messages sent and not acknowledged
    enum pqb_cipher cipher;
};

typedef bool (*pqb_session_fn)(void *ctx, const struct pqb_session_info *info); // false stops

void pqb_engine_each_session(const struct pqb_engine *e, pqb_session_fn fn, void *ctx,
                             pqb_tstamp now);

// Settings that a reload may change take effect for what comes next.
void pqb_engine_reconfigure(struct pqb_engine *e, const struct pqb_engine_config *config);

// O(n) check of every invariant; asserts. For the simulator and tests.
void pqb_engine_validate(const struct pqb_engine *e);

// Bytes of memory that sessions, users, devices and logins hold, with their places in the tables,
// for the memory bounds of P6. Not those that an engine has from its start, nor its spare outboxes;
// request.bytes tells what is with the writer or held.
size_t pqb_engine_memory(const struct pqb_engine *e);
