// libpaquebot: a client of the Paquebot messaging gateway. The one installed header.
//
// The core, `struct pqb_client`, is sans-I/O: it opens no socket, reads no clock and starts no
// thread. The caller feeds it datagrams and time and sends what it hands out. A ready driver over
// UDP sockets is at the end of this file; most programs need nothing else.
//
// What the library promises with the gateway: a message that pqb_client_send took reaches the
// gateway's disk once, or its sender is told why not; a message for this device is handed over
// once, in order, provided that message and cursor are stored in one step (see
// pqb_client_store.deliver).
//
// A message that kills the application each time it takes it ("poison") does not hold up the others
// for ever. The first message that a client hands over after its creation is charged beforehand:
// the store notes {iseq, attempts + 1} durably. When the application takes it the cursor passes it
// and the note is void; when it answers "not now" the note is taken back. So a note that stands
// tells of a process that died between the start of the hand-over and the cursor on disk, and
// nothing else counts: not a process that died while it had nothing to take, not a bad network, not
// a kill between two messages. After pqb_client_config.poison_limit such deaths in a row over the
// same message the next client does not hand it over: it goes to the store's dead letters, the
// cursor passes it, and then on_dead_letter tells. Its sender sees it as delivered. Chance alone
// puts a good message aside only if so many processes in a row are killed inside that one
// hand-over. An application that keeps a message to itself for later ("not now", then
// pqb_client_resume) is not guarded while it works on it. After a death over a message the next
// client also makes the cursor durable after each of the first messages, so that a crash of the
// machine, too, leaves the cursor right below the message that caused it.
//
// Threads: every object belongs to one thread at a time. Different clients may run on different
// threads unless they share a scratch or a store. Callbacks run inside the calls that drive the
// client, on that thread; from a callback you may send, abandon, pull, resume, close, set a token
// and read state, but not destroy the client or drive it.
//
// Time: `now` is monotonic nanoseconds from any origin above 0; it must never go back.
// Strings: user, device and recipient names are UTF-8 without control characters, NUL-terminated.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#    define PQB_API __attribute__((visibility("default")))
#else
#    define PQB_API
#endif

#define PQB_CLIENT_VERSION "0.1.0"

#define PQB_CLIENT_DATAGRAM_MAX 1200  // bytes of UDP payload, the most that is sent or understood
#define PQB_CLIENT_USER_MAX     64    // bytes of a user's name, at least 1
#define PQB_CLIENT_DEVICE_MAX   32    // bytes of a device's name, at least 1
#define PQB_CLIENT_TOKEN_MAX    640   // bytes of a login token
#define PQB_CLIENT_BODY_MAX     65536 // bytes of a message
#define PQB_CLIENT_SEED_LEN     48
#define PQB_CLIENT_KEY_LEN      32         // bytes of a key
#define PQB_CLIENT_TICKET_LEN   268        // bytes of what on_ticket gives to keep
#define PQB_CLIENT_NEVER        UINT64_MAX // deadline: nothing to do until something comes

// What a call can return; success is 0, every error is negative.
enum pqb_client_err {
    PQB_CLIENT_OK = 0,
    PQB_CLIENT_ERR_NOMEM = -1,
    PQB_CLIENT_ERR_FULL = -2,      // the queue is at its limit: send again after some receipts
    PQB_CLIENT_ERR_AGAIN = -3,     // not now: the client is not online
    PQB_CLIENT_ERR_INVALID = -4,   // an argument is not acceptable
    PQB_CLIENT_ERR_NOT_FOUND = -5, // no such message, host or directory
    PQB_CLIENT_ERR_EXISTS = -6,
    PQB_CLIENT_ERR_CORRUPT = -7, // the stored state does not check
    PQB_CLIENT_ERR_IO = -8,      // the operating system refused; errno tells
    PQB_CLIENT_ERR_NO_SPACE = -9,
    PQB_CLIENT_ERR_TOO_LARGE = -10, // the body is above the limit
    PQB_CLIENT_ERR_TIMEOUT = -11,
    PQB_CLIENT_ERR_CLOSED = -12,  // the client has failed for good
    PQB_CLIENT_ERR_VERSION = -13, // the state was written by another version
    PQB_CLIENT_ERR_LOCKED = -14,  // another process uses this state directory
};

// Short name of an error ("no_space"). Never NULL.
PQB_API const char *pqb_client_err_name(int err);

// ------------------------------------------------------------------------------------ messages

#define PQB_CLIENT_EPHEMERAL 0x01u // never stored, never acknowledged: typing, presence

// A message for this device. Everything is borrowed until the callback returns.
struct pqb_client_message {
    uint64_t iseq;      // position in the user's inbox; 0 when ephemeral
    uint64_t time_ms;   // when the gateway accepted it: its wall clock, ms since 1970
    const char *from;   // sending user
    const char *device; // and its device
    const uint8_t *body;
    size_t len;
    unsigned flags; // PQB_CLIENT_EPHEMERAL or 0
    uint16_t kind;  // the applications' own; 0 unless they use it
};

// What has become of a message that was sent. The first four only move forward; a state may be
// skipped. After REFUSED, ABANDONED or UNCERTAIN nothing more is said about it.
enum pqb_client_receipt {
    PQB_RECEIPT_ACCEPTED = 1,  // on the gateway's disk; the client has forgotten the body
    PQB_RECEIPT_STORED = 2,    // and no device was there to take it
    PQB_RECEIPT_DELIVERED = 3, // the application on a device of the recipient has it
    PQB_RECEIPT_READ = 4,
    PQB_RECEIPT_REFUSED = 16,   // for good; the reason says why
    PQB_RECEIPT_ABANDONED = 17, // by pqb_client_abandon, before it was accepted
    PQB_RECEIPT_UNCERTAIN = 18, // the client's state or the gateway's was restored from an older
                                // copy: it may or may not have been accepted; nothing is sent again
};

// Why a message was refused. Unlisted values may come from a newer gateway.
enum pqb_client_refusal {
    PQB_REFUSAL_NONE = 0,
    PQB_REFUSAL_QUOTA = 16,        // the recipient's inbox is full
    PQB_REFUSAL_TOO_LARGE = 17,    // above the gateway's limit
    PQB_REFUSAL_UNKNOWN_USER = 18, // no such recipient
    PQB_REFUSAL_INVALID = 19,
};

PQB_API const char *pqb_client_receipt_name(enum pqb_client_receipt receipt); // "accepted"
PQB_API const char *pqb_client_refusal_name(unsigned refusal);                // "quota"

enum pqb_client_state {
    PQB_CLIENT_OFFLINE = 0,    // not connected and not trying
    PQB_CLIENT_CONNECTING = 1, // logging in, or waiting to try again
    PQB_CLIENT_ONLINE = 2,     // the gateway has confirmed the session
    PQB_CLIENT_FAILED = 3,     // stopped for good; pqb_client_connect tries anew
};

// Why the state changed. On CONNECTING it tells what ended the session or the last try.
enum pqb_client_reason {
    PQB_REASON_NONE = 0,
    PQB_REASON_CLOSED = 1,   // the application asked
    PQB_REASON_TIMEOUT = 2,  // no answer to the login
    PQB_REASON_BUSY = 3,     // the gateway is overloaded
    PQB_REASON_SILENT = 4,   // the gateway no longer answers
    PQB_REASON_RESET = 5,    // the gateway has forgotten the session
    PQB_REASON_REPLACED = 6, // the same device logged in elsewhere: FAILED
    PQB_REASON_ADMIN = 7,    // the operator ended the session
    PQB_REASON_DRAIN = 8,    // the gateway shuts down
    PQB_REASON_EPOCH = 9,    // the queue begins a new epoch: a login is repeated
    PQB_REASON_GIVE_UP = 10, // nothing was acknowledged for too long
    PQB_REASON_STORE = 11,   // the store could not be written: FAILED
    PQB_REASON_EXPIRED = 12, // the session or its token has lasted long enough: a login is repeated
};

PQB_API const char *pqb_client_reason_name(enum pqb_client_reason reason); // "silent"

// Why positions of the inbox hold no message.
enum pqb_client_gap {
    PQB_GAP_WAS_EXPIRED = 1,    // fell to a retention rule of the gateway
    PQB_GAP_WAS_DAMAGED = 2,    // did not check when read
    PQB_GAP_NEW_GENERATION = 3, // the gateway's store was restored; numbering starts higher
    PQB_GAP_WAS_RECALLED = 4,
    PQB_GAP_WAS_TAKEN = 64, // this device acknowledged them before; the client's state is older
};

// --------------------------------------------------------------------------------------- store

// A message in the durable queue. Borrowed for the call it is passed to.
struct pqb_client_pending {
    uint64_t seq; // also the id that pqb_client_send gave
    const char *to;
    const uint8_t *body;
    size_t len;
    uint16_t kind;
};

// What a client must know again after a restart. All zero (next_seq 1) for a new device.
struct pqb_client_saved {
    uint32_t epoch;        // 0: none yet
    uint64_t next_seq;     // above every seq ever put
    uint64_t cursor;       // everything at or below has been taken by the application
    uint64_t attempt_iseq; // what the last store->attempt said; void when at or below the cursor
    uint32_t attempts;
};

// A message that was put aside because the application did not survive it.
struct pqb_client_dead_letter {
    uint64_t iseq;
    uint64_t time_ms;    // as in pqb_client_message
    const char *from;    // sending user
    const char *device;  // and its device
    const uint8_t *body; // NULL in on_dead_letter: look at it in the store, with care
    size_t len;
    uint32_t attempts; // processes that died over it
    uint16_t kind;
};

// false stops the walk, which then returns PQB_CLIENT_ERR_NOMEM.
typedef bool (*pqb_client_pending_fn)(void *arg, const struct pqb_client_pending *pending);

// Where a client keeps its state. Two implementations follow; an application that must never see a
// message twice writes its own over its database. Functions return 0 or a negative pqb_client_err;
// any error but that of `put` and `deliver` stops the client (FAILED, PQB_REASON_STORE).
struct pqb_client_store {
    void *ctx; // first argument of each function

    // Tells the saved state and walks the queue in ascending seq. Called once, by
    // pqb_client_create.
    int (*load)(void *ctx, struct pqb_client_saved *out, pqb_client_pending_fn each, void *arg);

    // Durable on return, together with every earlier drop. After an error nothing is queued.
    int (*put)(void *ctx, const struct pqb_client_pending *pending);

    // The message is resolved. Need not be durable before the next put, sync or set_epoch.
    int (*drop)(void *ctx, uint64_t seq);

    // Durable on return, together with every earlier drop.
    int (*set_epoch)(void *ctx, uint32_t epoch);

    // Message and cursor, in one step if the store can. `message` is NULL when positions up to
    // `cursor` are stepped over. With callbacks.on_message set, that is called first and this only
    // records the cursor. Otherwise this is the application: store both in one transaction. Return
    // non-zero for "not now"; the message comes again. Need not be durable before sync: the
    // gateway is told the cursor only after a sync that followed it.
    int (*deliver)(void *ctx, const struct pqb_client_message *message, uint64_t cursor);

    // Everything before this call is durable on return.
    int (*sync)(void *ctx);

    // Guard against poison messages; both NULL: none. `attempt` replaces what the last one said and
    // is durable on return. `dead_letter` keeps the message apart, durable on return, and replaces
    // one of the same iseq; `deliver` with NULL and `sync` follow. It must not do with the body
    // what the application died of. After an error of either the message waits and comes again.
    int (*attempt)(void *ctx, uint64_t iseq, uint32_t attempts);
    int (*dead_letter)(void *ctx, const struct pqb_client_dead_letter *letter);
};

// In memory. It outlives the clients that use it (one at a time), so a simulated client restart
// keeps its state. A process that begins with a new one gets a new epoch from the gateway. Dead
// letters are not kept.
// PQB_CLIENT_OK or PQB_CLIENT_ERR_NOMEM.
PQB_API int pqb_client_store_memory_create(struct pqb_client_store **out);
PQB_API void pqb_client_store_memory_destroy(struct pqb_client_store *store); // NULL is fine

// An independent copy of a memory store: what a clone or a backup of the device would have.
PQB_API int pqb_client_store_memory_copy(const struct pqb_client_store *store,
                                         struct pqb_client_store **out);

// In files under the directory `path`, which is made (mode 0700, parents too) when missing. Every
// record carries a CRC; a torn tail is dropped, other damage is PQB_CLIENT_ERR_CORRUPT.
// PQB_CLIENT_ERR_LOCKED: another process has it open. `put`, `set_epoch` and `sync` block for the
// disk.
PQB_API int pqb_client_store_file_open(struct pqb_client_store **out, const char *path);
PQB_API void pqb_client_store_file_close(struct pqb_client_store *store); // NULL is fine

// The dead letters of a file store are files in `path`/dead, each named by its iseq as 16
// hexadecimal digits. They may be deleted at any time; beyond these bounds the oldest go:
#define PQB_CLIENT_DEAD_LETTERS_MAX  256
#define PQB_CLIENT_DEAD_LETTER_BYTES (4u << 20)

// A file, integers in network byte order: "PQD1" | crc32c of what follows 4 | iseq 8 | time_ms 8 |
// attempts 4 | kind 2 | length of from 1 | length of device 1 | from | device | body.
// false stops the walk.
typedef bool (*pqb_client_dead_letter_fn)(void *arg, const struct pqb_client_dead_letter *letter);

// Walks them by iseq, also while a client uses the directory. 0 also when there are none;
// PQB_CLIENT_ERR_CORRUPT: one or more do not check, the others were shown; _NOT_FOUND (no such
// directory), _NOMEM, _IO.
PQB_API int pqb_client_dead_letters_read(const char *path, pqb_client_dead_letter_fn each,
                                         void *arg);

// -------------------------------------------------------------------------------------- client

struct pqb_client;

// What the client tells. Any function may be NULL. `ctx` is pqb_client_config.ctx.
struct pqb_client_callbacks {
    void (*on_state)(void *ctx, enum pqb_client_state state, enum pqb_client_reason reason);

    // News of message `id`; `refusal` is enum pqb_client_refusal, 0 unless REFUSED.
    void (*on_receipt)(void *ctx, uint64_t id, enum pqb_client_receipt receipt, unsigned refusal);

    // A message, in order, once. Return 0 when it is taken: `cursor` (its iseq) then goes to
    // store->deliver. Non-zero: not now; it is handed over again after some time, or at once by
    // pqb_client_resume. For ephemeral messages `cursor` is 0 and the result is ignored. NULL: only
    // store->deliver is called (never for ephemeral ones); with the stores of this library nobody
    // then sees the message. An application that only sends returns non-zero always.
    int (*on_message)(void *ctx, const struct pqb_client_message *message, uint64_t cursor);

    // Positions from..to hold nothing for this device; `gap` is enum pqb_client_gap.
    void (*on_gap)(void *ctx, uint64_t from, uint64_t to, unsigned gap);

    // The gateway knows less than it once told: its store was set back to an older copy, or lost
    // its end (durability async). Of the messages with ids from..to those that were accepted, and
    // not reported delivered, may be lost; nothing more is said about them.
    void (*on_forgotten)(void *ctx, uint64_t from, uint64_t to);

    // The ids by which the gateway's datagrams find this client have changed (0: none at present).
    // For drivers that share a socket among clients; see pqb_client_datagram_id.
    void (*on_route)(void *ctx, uint64_t init_id, uint64_t cid);

    // A backlog of `count` messages waits (0: unknown, at least one): call pqb_client_pull. Only
    // with auto_pull off.
    void (*on_backlog)(void *ctx, uint64_t count);

    // What shortens the next login with this gateway, also of another process: give it back in
    // pqb_client_config.ticket. It is as secret as the device's key. `len` 0: what was kept is of
    // no use any more. Never told in plaintext.
    void (*on_ticket)(void *ctx, const void *ticket, size_t len);

    // A message was put aside: it is with the store's dead letters and the cursor has passed it.
    // Told once at most: not again when the process dies here.
    void (*on_dead_letter)(void *ctx, const struct pqb_client_dead_letter *letter);
};

// Memory that clients of one thread may share: a decoder and buffers, some 10 KiB. Without it each
// client has its own.
struct pqb_client_scratch;
PQB_API int pqb_client_scratch_create(struct pqb_client_scratch **out);
PQB_API void pqb_client_scratch_destroy(struct pqb_client_scratch *scratch); // NULL is fine

// Start from pqb_client_config_default. All is copied but `store` and `scratch`, which must outlive
// the client.
struct pqb_client_config {
    const char *user;   // required
    const char *device; // required
    const char *token;  // NULL: none
    struct pqb_client_store *store;
    struct pqb_client_scratch *scratch; // NULL: the client's own
    struct pqb_client_callbacks callbacks;
    void *ctx;

    // Encryption: the gateway's public key (`pqbctl server-key` prints it), which nobody else can
    // answer for, and this device's secret key, random and kept for good: tokens are bound to it.
    // Each PQB_CLIENT_KEY_LEN bytes. Both NULL: plaintext, for loopback and tests.
    const uint8_t *server_key, *device_key;
    const void *ticket; // of on_ticket; NULL or not fitting: none
    size_t ticket_len;
    bool without_aes; // offer ChaCha20-Poly1305 only

    uint8_t seed[PQB_CLIENT_SEED_LEN]; // random, different for each client and start; the same
                                       // seed repeats a simulation

    uint32_t queue_max;        // messages in the queue; default 1024
    uint32_t queue_bytes_max;  // bytes of their bodies; default 4 MiB
    uint32_t watch_max;        // accepted messages whose delivery is still awaited; the oldest is
                               // forgotten for a new one, all are when the client is destroyed;
                               // 0: none; default 256
    uint64_t keepalive_ns;     // silence after which the gateway is asked whether it is there;
                               // default 25 s
    uint64_t reconnect_max_ns; // cap of the backoff between tries; default 30 s
    uint64_t ack_delay_ns;     // how long an acknowledgement may wait for company; default 20 ms
    bool auto_pull;            // fetch a large backlog page by page without being told; default on
    uint32_t page_max;         // messages in such a page, 1..256; default 100
    uint32_t poison_limit;     // deaths over one message after which it is put aside; 0: never,
                               // and nothing is charged; default 5
};

PQB_API void pqb_client_config_default(struct pqb_client_config *config);

// Loads the store and is OFFLINE. PQB_CLIENT_ERR_INVALID (a name or limit, or a store with only one
// of attempt and dead_letter), _NOMEM, or the store's.
PQB_API int pqb_client_create(struct pqb_client **out, const struct pqb_client_config *config,
                              uint64_t now);

// Frees the client at once and tells the gateway nothing, as a crash would. The store stays with
// its owner. NULL is fine.
PQB_API void pqb_client_destroy(struct pqb_client *c);

// Another token from the next login on (copied; NULL: none). PQB_CLIENT_ERR_INVALID: too long.
PQB_API int pqb_client_set_token(struct pqb_client *c, const char *token);

// The public key that goes with a device's secret one: what a token is issued for.
PQB_API int pqb_client_device_public(const uint8_t secret[PQB_CLIENT_KEY_LEN],
                                     uint8_t out[PQB_CLIENT_KEY_LEN]);

// Loads this device's secret key from the file `path`/device.key; when it is missing, makes a
// random one there (mode 0600, the directory too), durably. PQB_CLIENT_ERR_CORRUPT: not a key.
PQB_API int pqb_client_device_key_load(const char *path, uint8_t secret[PQB_CLIENT_KEY_LEN]);

// The ticket file `path`/ticket: reads it (0 bytes: there is none), or replaces it.
PQB_API size_t pqb_client_ticket_load(const char *path, uint8_t ticket[PQB_CLIENT_TICKET_LEN]);
PQB_API int pqb_client_ticket_save(const char *path, const void *ticket, size_t len);

// Begins to log in, and goes on trying until closed. No effect when connecting or online.
PQB_API void pqb_client_connect(struct pqb_client *c, uint64_t now);

// Logs out: poll_transmit gives one last datagram. The queue stays in the store.
PQB_API void pqb_client_close(struct pqb_client *c, uint64_t now);

// Queues a message, durably before it returns. Works offline. `id` (may be NULL) names it in
// receipts. `flags`: 0 or PQB_CLIENT_EPHEMERAL (id 0, no receipt, body of about 1000 bytes at most;
// PQB_CLIENT_ERR_AGAIN when not online). Errors: _FULL, _TOO_LARGE, _INVALID (name), _NOMEM,
// _CLOSED, or the store's.
PQB_API int pqb_client_send(struct pqb_client *c, const char *to, uint16_t kind, const void *body,
                            size_t len, unsigned flags, uint64_t *id);

// Gives message `id` up if it is not accepted yet; the receipt tells how it ended (ABANDONED, or
// the truth). PQB_CLIENT_ERR_NOT_FOUND: not in the queue.
PQB_API int pqb_client_abandon(struct pqb_client *c, uint64_t id);

// With auto_pull off: asks for the next page of at most `page_max` (1..256) messages. Their arrival
// shows in on_message; on_backlog tells when there is more. PQB_CLIENT_ERR_AGAIN: not online, or
// the previous page is not complete.
PQB_API int pqb_client_pull(struct pqb_client *c, uint32_t page_max);

// After a "not now": hand the waiting message over again in the next pqb_client_on_timeout.
PQB_API void pqb_client_resume(struct pqb_client *c);

PQB_API enum pqb_client_state pqb_client_get_state(const struct pqb_client *c);
PQB_API uint64_t pqb_client_get_cursor(const struct pqb_client *c);

// ------------------------------------------------------------------------- driving the client
//
// One turn: pqb_client_on_datagram for each that came; pqb_client_on_timeout when
// pqb_client_next_deadline has passed (or always); then pqb_client_poll_transmit until it returns
// 0. After a call from outside (send, connect, ...) begin a turn at once: next_deadline says so.

// A datagram from the gateway, borrowed for the call. What is not understood is counted and
// dropped.
PQB_API void pqb_client_on_datagram(struct pqb_client *c, const void *data, size_t len,
                                    uint64_t now);
PQB_API void pqb_client_on_timeout(struct pqb_client *c, uint64_t now);

// Writes the next datagram for the gateway into `buf` (`cap` >= PQB_CLIENT_DATAGRAM_MAX) and
// returns its length; 0: nothing to send now.
PQB_API size_t pqb_client_poll_transmit(struct pqb_client *c, void *buf, size_t cap, uint64_t now);

// When the client wants to run again; 0: at once; PQB_CLIENT_NEVER.
PQB_API uint64_t pqb_client_next_deadline(const struct pqb_client *c);

// The local address or network has changed (a hint): prove the new path at once.
PQB_API void pqb_client_on_path_change(struct pqb_client *c, uint64_t now);

// For drivers that share a socket: the ids that the gateway's answers carry. `init_id` while
// logging in, else 0; `cid` while there is a session, else 0.
PQB_API uint64_t pqb_client_init_id(const struct pqb_client *c);
PQB_API uint64_t pqb_client_cid(const struct pqb_client *c);

enum pqb_client_id {
    PQB_CLIENT_ID_NONE = 0, // not a datagram of the gateway
    PQB_CLIENT_ID_INIT = 1, // *id is an init_id
    PQB_CLIENT_ID_CID = 2,  // *id is a connection id
};

// Which client a datagram from the gateway is for.
PQB_API enum pqb_client_id pqb_client_datagram_id(const void *data, size_t len, uint64_t *id);

struct pqb_client_stats {
    uint64_t datagrams_in, datagrams_out, bytes_in, bytes_out;
    uint64_t dropped;              // datagrams or frames not understood, not for us, replayed
    uint64_t sent, retransmitted;  // msg:R and fragments: first and later transmissions
    uint64_t nacked;               // transient refusals that were retried
    uint64_t received, duplicates; // messages handed over; and those seen before
    uint64_t held_back;            // out of order and beyond the buffer's bounds: left to the
                                   // gateway to send again
    uint64_t dead_letters;         // messages put aside by this client
    uint64_t pages_requested;      // distinct off:R
    uint64_t logins, inits_sent;   // sessions that came online; INIT datagrams
    uint64_t watch_dropped;        // receipts no longer awaited because of watch_max
    uint64_t srtt_ns;              // 0: no sample yet
    uint64_t gateway_time_ms;      // the gateway's wall clock at the last login; 0: none yet
    uint32_t queue_count, queue_bytes, watch_count;
    uint32_t buffered; // received out of order, waiting
};

PQB_API void pqb_client_get_stats(const struct pqb_client *c, struct pqb_client_stats *out);

// ---------------------------------------------------------------------------------- UDP driver
//
// A socket of its own for one client. Name resolution blocks in create and when every known address
// has failed to answer.

struct pqb_client_udp;

// Monotonic nanoseconds, as the client wants them; and random bytes for pqb_client_config.seed.
PQB_API uint64_t pqb_client_udp_now(void);
PQB_API int pqb_client_udp_random(void *out, size_t len);

// `server`: "host:port", "127.0.0.1:7400", "[::1]:7400". `c` must outlive the driver.
// PQB_CLIENT_ERR_INVALID (not of that form), _NOT_FOUND (no such host), _IO, _NOMEM.
PQB_API int pqb_client_udp_create(struct pqb_client_udp **out, struct pqb_client *c,
                                  const char *server);
PQB_API void pqb_client_udp_destroy(struct pqb_client_udp *u); // NULL is fine

// Waits for a datagram, a deadline or `timeout_ms` (-1: no limit), whichever is first, and does
// what is to be done. 0, or PQB_CLIENT_ERR_IO.
PQB_API int pqb_client_udp_run(struct pqb_client_udp *u, int timeout_ms);

// For programs with a loop of their own: poll `fd` for reading with a timeout of at most
// pqb_client_udp_timeout_ms (-1: none), then call pqb_client_udp_run with 0. Ask for `fd` each
// time: it changes when the address does.
PQB_API int pqb_client_udp_fd(const struct pqb_client_udp *u);
PQB_API int pqb_client_udp_timeout_ms(const struct pqb_client_udp *u);

// Logs out and sends what is left of the current turn.
PQB_API void pqb_client_udp_close(struct pqb_client_udp *u);

#ifdef __cplusplus
}
#endif
