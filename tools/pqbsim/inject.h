// pqbsim inject: one attack on a gateway with legitimate traffic beside it, judged against limits.
//
// An attack is a scenario: kinds of datagrams, sent in turn from sources (sockets) of their own, so
// that every byte that comes back is charged to the kind that asked for it. One thread drives it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/rng.h"
#include "common/wire/limits.h"
#include "tools/pqbsim/account.h"
#include "tools/pqbsim/fleet.h"
#include "tools/pqbsim/sealed.h"

#define INJECT_KINDS_MAX   24
#define INJECT_SOURCES_MAX 256
#define INJECT_CHECKS_MAX  64
#define INJECT_NOTES_MAX   16
#define INJECT_CAPTURE_MAX 16384 // newest datagrams of the legitimate users, for replay
#define INJECT_LEN_MAX     65507 // what UDP over IPv4 can carry

// Bytes of memory that the gateway may gain under an attack; gateway/ARCHITECTURE.md sums them up.
#define INJECT_MEMORY_LOGIN   1024 // half-open login: entry with keys, RESP, allocator's share
#define INJECT_MEMORY_SESSION (24 << 10) // with its window full: sent map, outbox, user
#define INJECT_MEMORY_DEVICE  (64 << 10) // whatever a session says
#define INJECT_MEMORY_JOURNAL 128        // message, until a checkpoint has moved it
#define INJECT_MEMORY_SLACK   (8 << 20)  // a batch of the writer's, and as much again
#define INJECT_MEMORY_QUIET   (2 << 20)  // nothing that lasts, and no message

#define INJECT_PEERS_MAX 1000

#define INJECT_CLIENTS 20 // legitimate users: load0, load1 ... (`names`) on device "sim"

struct inject;
struct pqb_stats_snapshot;

struct inject_kind {
    const char *name;
    double limit; // bytes out per byte in; 0: the peer has a session, none
};

struct inject_scenario {
    const char *name, *help, *limit;
    const struct inject_kind *kinds;
    size_t kind_count;
    uint32_t sources; // of each kind
    uint64_t rate;    // datagrams a second unless told
    // Writes the next datagram of `kind` and returns its length, at most INJECT_LEN_MAX; 0: nothing
    // to send now. May be NULL.
    size_t (*make)(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now);
    // What came back to a source of `kind`. May be NULL.
    void (*on_answer)(struct inject *in, uint32_t kind, const uint8_t *data, size_t len);
    // A legitimate user is about to send. May be NULL.
    void (*on_legitimate)(struct inject *in, uint32_t user, const uint8_t *data, size_t len);
    // The counters, many times from the attack's beginning on, and before and after it for checks
    // of its own. May be NULL.
    void (*on_sample)(struct inject *in, const struct pqb_stats_snapshot *s, pqb_tstamp now);
    void (*judge)(struct inject *in, const struct pqb_stats_snapshot *from,
                  const struct pqb_stats_snapshot *to);
    // A turn of the loop, from the attack's beginning until everything is settled. May be NULL.
    void (*on_turn)(struct inject *in, pqb_tstamp now);
    bool (*is_settled)(const struct inject *in); // nothing of it is open. May be NULL.
    void (*end)(struct inject *in);              // frees what the scenario made. May be NULL.
    bool takes_file;                             // a capture, named behind the scenario
    bool needs_noise;                            // an encrypted gateway
    bool wants_resumes; // legitimate users shall have logged in with a ticket before it begins
    // Whether the attack has built up: what comes before is not counted as `during`. May be NULL.
    bool (*is_ramped)(const struct inject *in);
    bool is_still;    // no legitimate session may change its address
    bool is_spoofing; // each datagram comes from another address of 127.0.0.0/8
    // Bytes of memory that the gateway may gain. May be NULL.
    uint64_t (*memory_max)(const struct inject *in);
};

struct inject_source {
    int fd;
    uint32_t kind;
};

struct inject_count {
    uint64_t sent, sent_bytes, answers, answer_bytes, failed;
};

struct inject_check { // kept when value <= limit
    char name[48];
    double value, limit;
};

struct inject_note { // a figure worth telling, of a scenario's own
    char name[48];
    double value;
};

// Legitimate users as they fared in one phase.
struct inject_fare {
    struct pqb_hist accepted_us, delivered_us, login_us;
    uint64_t logins, logins_failed;
};

struct inject_capture {
    uint32_t user;
    size_t len;
    uint8_t data[PQB_DATAGRAM_MAX];
};

struct inject_peer { // a session that the attacker holds
    uint64_t init_id, cid, pn;
    uint32_t logins;
    pqb_tstamp asked_at;
    bool has_cookie, has_epoch;
    uint8_t cookie[PQB_COOKIE_LEN];
};

struct inject_held { // in reassemblies of the gateway
    uint64_t bytes_peak;
    pqb_tstamp since; // 0: nothing is held
    pqb_duration longest;
};

struct inject_overtaken { // genuine datagrams that came from an attacker first
    pqb_tstamp at;        // the last one
    pqb_duration longest; // that the attacker was told something after one
};

struct inject_replayed { // datagrams sent a second time
    uint64_t data, logins;
};

struct inject_pcap;
struct inject_storm;
struct inject_probe;
struct pqb_unpacker;

struct inject {
    const struct inject_scenario *scenario;
    struct pqb_addr target;
    pqb_duration duration;
    uint64_t seed, rate, legitimate_rate, peers, sessions;
    uint64_t half_open_max, inbox_messages_max, inbox_bytes_max; // the gateway's settings
    const char *stats_path;
    const char *names; // of legitimate users; NULL: "load"
    const char *server_key_text;
    uint8_t server_key_bytes[PQB_KEY_LEN];
    const uint8_t *server_key; // NULL: plaintext
    bool is_json;

    const char *server_secret_path; // key-compromise's
    uint8_t server_secret[PQB_KEY_LEN];

    struct pqb_rng rng;
    struct sealed_gateway gateway;
    struct fleet fleet;
    uint64_t fleet_logins; // of the legitimate users, before anything was measured
    struct account account;
    struct inject_probe *probe;
    struct pqb_unpacker *unpacker;
    struct inject_fare before, ramp, during;
    struct inject_fare *fare; // of the current phase
    uint64_t throttled;       // legitimate messages that a full queue refused

    struct inject_source sources[INJECT_SOURCES_MAX];
    uint32_t source_count;
    struct inject_count counts[INJECT_KINDS_MAX];
    uint64_t turn;
    double before_seconds, attack_seconds;
    uint64_t attack_delivered; // legitimate messages, while the attack went on
    pqb_tstamp attack_at;      // when it began; 0: not yet
    bool is_attacking;
    // Where the datagram just made goes out: a fleet socket, or a source of its kind; -1: any of
    // them.
    int via, source;

    struct inject_capture *captures;
    uint64_t captured;
    // The last INIT and the last RESUME of each legitimate user; len 0: none.
    struct inject_capture logins[INJECT_CLIENTS], resumes[INJECT_CLIENTS];
    struct inject_overtaken overtaken;
    struct inject_replayed replayed;
    struct inject_pcap *pcap;   // replay-pcap's
    double speed;               // of its timing; 0: as fast as the rate allows
    struct inject_storm *storm; // reconnect-storm's
    bool is_once;               // one pass, however long the attack may last
    struct inject_peer peer;
    struct sealed peer_sealed; // its login and its session

    struct inject_check checks[INJECT_CHECKS_MAX];
    size_t check_count;
    struct inject_note notes[INJECT_NOTES_MAX];
    size_t note_count;
    uint64_t half_open_peak;
    uint64_t memory_before, memory_peak; // the gateway's own pages; 0: not known
    struct inject_held held;
    uint32_t abandoned; // pieces of wholes that will not be finished
    pqb_tstamp abandoned_at;
    uint64_t misdirected; // answers that should not have come to their kind
};

extern const struct inject_scenario inject_amplify, inject_malformed, inject_flood_init,
    inject_flood_data, inject_hijack, inject_replay, inject_spoof, inject_oversize,
    inject_fragment_bomb, inject_window_abuse, inject_inbox_flood, inject_replay_pcap,
    inject_slow_consumer, inject_reconnect_storm, inject_ticket_forge, inject_downgrade,
    inject_key_compromise;

// Bytes of memory that `pid` alone holds: neither files nor what it maps of them. 0: not known.
uint64_t inject_memory_of(uint64_t pid);
pqb_duration inject_cpu_of(uint64_t pid); // used so far; 0: not known
// One more thing to judge: kept when value <= limit.
// Bounds of attacks that leave nothing behind, and of those that leave half-open logins.
uint64_t inject_memory_quiet(const struct inject *in);
uint64_t inject_memory_logins(const struct inject *in);
void inject_check(struct inject *in, const char *name, double value, double limit);
void inject_note(struct inject *in, const char *name, double value);
double inject_grown(const struct pqb_stats_snapshot *from, const struct pqb_stats_snapshot *to,
                    const char *counter);
// Sessions that neither legitimate users nor the measured logins opened.
double inject_sessions_of_others(const struct inject *in, const struct pqb_stats_snapshot *from,
                                 const struct pqb_stats_snapshot *to);
// Messages that were made durable and are none of the legitimate users'.
double inject_messages_of_others(const struct inject *in, const struct pqb_stats_snapshot *from,
                                 const struct pqb_stats_snapshot *to);

// A sound INIT of a stranger who will not go on; PQB_INIT_LEN bytes. Encrypted ones come again (see
// sealed_stranger): each `pool`, usually the kind, has its own.
size_t inject_make_init(struct inject *in, unsigned pool, const char *user, const char *device,
                        uint64_t init_id, const uint8_t *cookie, uint8_t *out);
// DATA with one ping, as it is in plaintext.
size_t inject_make_ping(uint64_t cid, uint64_t pn, uint64_t nonce, uint8_t *out);
// An INIT for the session that the attacker wants, now and then; 0: not now.
size_t inject_peer_login(struct inject *in, const char *user, const char *device, uint8_t *out,
                         pqb_tstamp now);
// Numbers a datagram of the peer's session, `len` bytes with the header's room, and seals it.
size_t inject_peer_stamp(struct inject *in, uint8_t *out, size_t len);
size_t inject_peer_ping(struct inject *in, uint64_t nonce, uint8_t *out);
// Learns the connection id from RESP, forgets it on RESET.
void inject_peer_on_answer(struct inject *in, const uint8_t *data, size_t len);
void inject_send(struct inject *in, uint32_t source, const uint8_t *data, size_t len);

// What legitimate users sent, for replay; `newest` is NULL when there is nothing yet.
void inject_capture_data(struct inject *in, uint32_t user, const uint8_t *data, size_t len);
void inject_capture_all(struct inject *in, uint32_t user, const uint8_t *data, size_t len);
const struct inject_capture *inject_captured_newest(const struct inject *in);

// A datagram that the gateway had before is about to be sent; and what must have become of them.
void inject_replay_note(struct inject *in, const uint8_t *data, size_t len);
void inject_judge_replay(struct inject *in, const struct pqb_stats_snapshot *from,
                         const struct pqb_stats_snapshot *to);

// Reads --server-secret. CLI_EXIT_DONE, or the exit status after telling what is wrong.
int inject_compromise_load(struct inject *in);

// Opens the sources of all kinds. PQB_OK or PQB_ERR_IO.
PQB_MUST_USE int inject_open_sources(struct inject *in);
void inject_close_sources(struct inject *in);
void inject_attack_due(struct inject *in, pqb_tstamp start, pqb_tstamp now);
void inject_read_answers(struct inject *in);

// Legitimate logins, one after the other, each of a client that starts anew.
struct inject_probe *inject_probe_create(struct inject *in); // NULL: no memory
void inject_probe_destroy(struct inject_probe *p);
void inject_probe_turn(struct inject_probe *p, pqb_tstamp now);
uint32_t inject_probe_begun(const struct inject_probe *p); // logins

void inject_report(const struct inject *in);
bool inject_is_kept(const struct inject *in); // every check
