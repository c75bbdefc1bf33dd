// What the files of the client share: the client object and the calls between its parts. Internal
// to common/client; one owner, one thread.
//
// Each part owns its struct and is wired together in client.c: login (INIT to RESP, backoff),
// outbox (the durable queue and its retransmission), large (messages in fragments), watch (receipts
// still awaited), inbox (order, cursor, acknowledgement), poison (messages that the application
// does not survive), pull (pages). frames_in.c and frames_out.c are the two ends of a DATA
// datagram.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/rng.h"
#include "common/base/time.h"
#include "common/client/paquebot.h"
#include "common/proto/channel.h"
#include "common/proto/frag.h"
#include "common/proto/noise.h"
#include "common/proto/secret_rng.h"
#include "common/proto/sent_map.h"
#include "common/proto/server_keys.h"
#include "common/wire/datagram.h"
#include "common/wire/frame.h"
#include "common/wire/limits.h"

#define PQB_CLIENT_INIT_NS            (1 * PQB_NS_PER_SEC) // first wait for an answer to INIT; doubles
#define PQB_CLIENT_INIT_STEADY        8 // tries after which the wait doubles again
#define PQB_CLIENT_SILENCE_NS         (20 * PQB_NS_PER_SEC) // unanswered for so long: the peer is dead
#define PQB_CLIENT_KEEPALIVE_MIN_NS   (4 * PQB_NS_PER_SEC) // on a path that keeps changing
#define PQB_CLIENT_KEEPALIVE_LEAST_NS (PQB_NS_PER_SEC) // whatever the gateway says of its patience
#define PQB_CLIENT_PROBE_NS           (2 * PQB_NS_PER_SEC) // between pings while unanswered, at first
#define PQB_CLIENT_BACKOFF_NS         (1 * PQB_NS_PER_SEC)  // base of the reconnect backoff
#define PQB_CLIENT_STEADY_NS          (10 * PQB_NS_PER_SEC) // online for so long resets the backoff
#define PQB_CLIENT_RESUMES_MAX        3   // unanswered, then the login is made in full
#define PQB_CLIENT_EARLY_MAX          4   // datagrams with messages before the session is confirmed
#define PQB_CLIENT_TRIES_MAX          12  // repeats of one request before the session is given up
#define PQB_CLIENT_ACK_EVERY          8   // messages after which an acknowledgement waits no longer
#define PQB_CLIENT_BUFFER_MAX         256 // messages held beyond the cursor
#define PQB_CLIENT_BUFFER_BYTES       (512u * 1024)
#define PQB_CLIENT_SURELY_WHOLE       900 // a body up to this never comes in fragments
#define PQB_CLIENT_HANDOVER_NS        (100 * PQB_NS_PER_MS) // after "not now"; doubles
#define PQB_CLIENT_HANDOVER_MAX       (5 * PQB_NS_PER_SEC)
#define PQB_CLIENT_MEMORY_NS          (100 * PQB_NS_PER_MS) // nothing new is sent after memory failed
#define PQB_CLIENT_STALL_NS           (3 * PQB_NS_PER_SEC) // nothing comes though there is more: pull
#define PQB_CLIENT_LARGE_MAX          2                    // messages sent in fragments at a time
#define PQB_CLIENT_EPHEMERAL_MAX      64                   // waiting to leave
#define PQB_CLIENT_ACCEPTED           1024                 // accepted seqs remembered one by one
#define PQB_CLIENT_WATCH_ASK          4 // stat:R in one round: the gateway takes no more at a time
#define PQB_CLIENT_WATCH_NS           (5 * PQB_NS_PER_SEC) // between rounds; doubles without news
#define PQB_CLIENT_WATCH_MAX_NS       (300 * PQB_NS_PER_SEC)
#define PQB_CLIENT_FRAG_ACKS_MAX      8   // fragment ids waiting to be acknowledged or reset
#define PQB_CLIENT_CAREFUL            256 // messages after a death over one; what can be unsynced
#define PQB_CLIENT_REASSEMBLY         (PQB_FRAG_IN_MAX * (size_t)PQB_FRAG_TOTAL_MAX)

// A request that is repeated until its answer comes.
struct pqb_attempt {
    pqb_tstamp at; // when to send (again); PQB_NEVER: nothing is asked
    unsigned tries;
};

// A handshake under way: its first message, repeated as it is, and the keys it has led to.
struct pqb_handshake {
    struct pqb_noise noise;
    uint8_t datagram[PQB_INIT_LEN];
    uint8_t send[PQB_KEY_LEN], recv[PQB_KEY_LEN]; // after its answer
    bool is_hopeless;
};

// Who this client is, and whom it believes to be the gateway.
struct pqb_identity {
    uint8_t server_key[PQB_KEY_LEN], mac1_key[PQB_KEY_LEN];
    struct pqb_noise_keypair device;
    struct pqb_secret_rng rng;
    uint8_t ciphers; // offered
    bool has_ticket;
    uint8_t ticket[PQB_TICKET_LEN], psk[PQB_KEY_LEN];
    struct pqb_handshake *handshake; // NULL: none is under way
};

enum pqb_login_phase {
    PQB_LOGIN_IDLE,
    PQB_LOGIN_WAITING,    // for the backoff
    PQB_LOGIN_ASKING,     // INIT is out
    PQB_LOGIN_CONFIRMING, // RESP came; the first DATA is out
    PQB_LOGIN_DONE,
};

struct pqb_login {
    enum pqb_login_phase phase;
    uint64_t init_id; // 0: no INIT is out
    uint8_t cookie[PQB_COOKIE_LEN];
    bool has_cookie;
    pqb_tstamp cookie_at; // when it came
    pqb_tstamp at;        // next INIT, or the end of the backoff
    unsigned inits;       // of this try
    unsigned early;       // datagrams sent before the gateway has confirmed
    bool is_resuming;     // with the ticket
    unsigned failures;    // in a row: exponent of the backoff
    pqb_tstamp online_at;
    uint8_t reset_token[PQB_RESET_LEN];
    uint64_t cursor, head, count; // of RESP, applied when the gateway has confirmed
    uint32_t push_max;
    pqb_duration keepalive_ns; // ours, or less when the gateway would be the first to give up
    struct pqb_attempt epoch;  // epoch:R
    uint8_t nonce[PQB_NONCE_LEN];
};

struct pqb_outmsg {
    struct pqb_list link;      // outbox.queue by seq, or outbox.ephemeral
    uint64_t seq;              // 0: ephemeral
    struct pqb_outmsg *leader; // the queued one before it in its conversation; NULL: none
    pqb_tstamp overtook_at; // given back for order (nack), 0: not; waits for its leader to be sent
    pqb_tstamp retry_at;    // after that, or until then
    uint32_t to_hash;
    uint32_t len;
    uint16_t kind;
    uint8_t to_len;
    bool is_fresh;     // no other process can have sent it, and this one has not
    bool is_large;     // travels in fragments
    bool is_mapped;    // in outbox.sent
    bool is_sent;      // in this session
    bool is_abandoned; // skip:R is out
    bool is_away;      // on its way as a whole, as far as we know; see pqb_outbox_find_leaving
    bool may_leave;    // and so is everything that it follows
    char content[];    // name, NUL, body
};

// A large message on its way.
struct pqb_large {
    struct pqb_outmsg *msg; // NULL: free slot
    uint8_t *content;       // of the msg:R
    uint32_t len;
    struct pqb_frag_out pieces;
    uint64_t hastened[2]; // pieces sent again before the timeout, once each
    pqb_tstamp timer_from;
    unsigned backoffs;
    pqb_tstamp hold_until; // after a transient refusal
};

// What the gateway told to be accepted in this epoch, to this process.
struct pqb_accepted {
    uint64_t first, last;                     // 0: none
    uint64_t words[PQB_CLIENT_ACCEPTED / 64]; // bit per seq of the highest so many
};

struct pqb_outbox {
    struct pqb_list queue;
    struct pqb_list *unmapped; // first one not yet looked at for `sent`; the head when none is left
    struct pqb_list ephemeral;
    uint32_t count, large_count, bytes, ephemeral_count, abandoned_count;
    uint32_t epoch; // 0: none
    uint64_t next_seq;
    uint64_t low_durable;  // lowest unresolved seq as the store surely knows it: what is told
    bool is_drop_pending;  // the store holds drops that may not be durable
    pqb_tstamp hold_until; // after a transient refusal
    uint32_t unsent_count; // in `sent`, waiting for the first transmission
    uint32_t refused_len;  // of the last frame that the congestion window refused
    struct pqb_sent_map sent;
    double jitter; // of the running retransmission timer
    struct pqb_large large[PQB_CLIENT_LARGE_MAX];
    uint32_t frag_id; // last one used in this session
    struct pqb_attempt skip;
    struct pqb_accepted accepted;
};

struct pqb_watch {
    struct pqb_list link;
    uint64_t seq;
    uint8_t state;
    uint8_t receipt[PQB_RECEIPT_LEN];
    uint8_t to_len;
    char to[];
};

struct pqb_watches {
    struct pqb_list list; // next to be asked first
    uint32_t count;
    pqb_tstamp at; // next round
    pqb_duration interval;
    unsigned to_ask; // of the round that is due
};

// A message or a gap beyond the cursor.
struct pqb_inmsg {
    struct pqb_list link; // inbox.buffer by position
    uint64_t first, last; // last > first: a gap
    uint64_t time_ms;
    uint32_t len;
    uint16_t kind;
    uint8_t gap; // 0: a message
    uint8_t from_len, device_len;
    char content[]; // from, NUL, device, NUL, body
};

struct pqb_inbox {
    uint64_t cursor;
    uint64_t cursor_acked;  // by ack:A of this session
    bool has_answer;        // ack:A came in this session: the gateway's cursor is known
    uint64_t head;          // highest position heard of
    bool is_cursor_pending; // moved since the last sync of the store
    struct pqb_list buffer;
    uint32_t count, bytes;
    struct pqb_attempt ack;
    unsigned unacked;       // messages since the last ack:R
    pqb_tstamp handover_at; // next try after "not now"; PQB_NEVER: not blocked
    unsigned handover_tries;
    pqb_tstamp moved_at; // last progress
    struct pqb_frag_in pieces;
    size_t piece_budget;
};

// Which message the application does not survive.
struct pqb_poison {
    uint32_t limit;   // 0: the guard is off
    uint64_t iseq;    // of the store's note
    uint32_t noted;   // its attempts
    uint32_t deaths;  // over `iseq`, before this client; noted: deaths, or deaths + 1 while charged
    bool has_taken;   // this client got past its first message: no more is charged
    uint32_t careful; // after so many more messages the cursor is made durable at once
};

struct pqb_pull {
    bool is_open; // a page was asked for and is not complete
    bool is_answered;
    bool is_closing; // the page before had nothing above it: this one only acknowledges
    bool has_more;
    uint64_t after, last;
    uint32_t max;
    struct pqb_attempt ask;
};

// Answers that wait for the next datagram. Each is small and bounded; the newest wins.
struct pqb_answers {
    bool has_pong, has_path, has_logout, has_ping;
    uint64_t pong_nonce;
    uint8_t path[PQB_PATH_LEN];
    struct {
        uint32_t id, total; // total != 0: all of it
    } frag_acks[PQB_CLIENT_FRAG_ACKS_MAX];
    unsigned frag_ack_count, frag_pieces; // pieces since the last frag:A
    pqb_tstamp frag_ack_at;
    struct pqb_frame_frag_reset resets[PQB_CLIENT_FRAG_ACKS_MAX];
    unsigned reset_count;
};

struct pqb_client {
    char user[PQB_USER_MAX + 1], device[PQB_DEVICE_MAX + 1];
    uint8_t user_len, device_len;
    uint16_t token_len;
    char *token;
    struct pqb_identity *identity; // NULL: plaintext
    struct pqb_client_store *store;
    struct pqb_client_scratch *scratch;
    bool is_own_scratch, is_auto_pull;
    struct pqb_client_callbacks callbacks;
    void *ctx;
    struct pqb_rng rng;
    uint32_t queue_max, queue_bytes_max, watch_max, page_max;
    pqb_duration keepalive_ns, reconnect_max_ns, ack_delay_ns;
    pqb_duration keepalive_now_ns; // what this session's path has taught so far

    enum pqb_client_state state;
    bool is_ending;                // the session ends when the current call is through
    enum pqb_client_reason ending; // and why
    bool is_closing;               // the application asked; logout is to leave first
    pqb_tstamp now;                // of the last call that brought one
    pqb_tstamp sent_at;            // last datagram of this session sent, or its beginning
    pqb_tstamp unanswered_since;   // first datagram sent that wants an answer; PQB_NEVER: none

    struct pqb_channel channel; // meaningful from CONFIRMING on; cid 0: no session
    struct pqb_login login;
    struct pqb_outbox outbox;
    struct pqb_watches watches;
    struct pqb_inbox inbox;
    struct pqb_poison poison;
    struct pqb_pull pull;
    struct pqb_answers answers;
    struct pqb_client_stats stats;
};

struct pqb_client_scratch {
    struct pqb_unpacker *unpacker;
    uint8_t plain[PQB_DATAGRAM_MAX]; // the datagram at hand, opened
};

// --------------------------------------------------------------------------------- client.c

// Ends the session after the current call; the first reason wins.
void pqb_client_end(struct pqb_client *c, enum pqb_client_reason reason);
void pqb_client_set_state(struct pqb_client *c, enum pqb_client_state state,
                          enum pqb_client_reason reason);
void pqb_client_tell_route(struct pqb_client *c);

// Everything dropped and taken so far is durable. false: the store failed, the client is ending.
bool pqb_client_sync(struct pqb_client *c);

// The parts that live as long as a session begin anew.
void pqb_client_clear_session(struct pqb_client *c);

// A random part of `span`.
pqb_duration pqb_client_jitter(struct pqb_client *c, pqb_duration span);

// When the congestion window lets `len` bytes out; PQB_NEVER: not before something is acknowledged.
pqb_tstamp pqb_client_may_send_at(const struct pqb_client *c, uint32_t len);

void pqb_attempt_ask(struct pqb_attempt *a);                   // at once
void pqb_attempt_ask_by(struct pqb_attempt *a, pqb_tstamp at); // not later than
void pqb_attempt_on_sent(struct pqb_attempt *a, struct pqb_client *c, pqb_tstamp now);
void pqb_attempt_done(struct pqb_attempt *a);
bool pqb_attempt_is_due(const struct pqb_attempt *a, pqb_tstamp now);

// What is unanswered was answered to an address that is no longer ours: everything is asked anew.
void pqb_client_ask_again(struct pqb_client *c);

// ---------------------------------------------------------------------------------- login.c

void pqb_login_init(struct pqb_client *c);
void pqb_login_start(struct pqb_client *c, pqb_tstamp now);
void pqb_login_stop(struct pqb_client *c);
void pqb_login_retry(struct pqb_client *c, pqb_duration at_least, pqb_tstamp now); // backs off
void pqb_login_on_retry(struct pqb_client *c, const uint8_t *data, size_t len, pqb_tstamp now);
void pqb_login_on_resp(struct pqb_client *c, const uint8_t *data, size_t len, pqb_tstamp now);
void pqb_login_on_busy(struct pqb_client *c, const uint8_t *data, size_t len, pqb_tstamp now);
void pqb_login_on_reset(struct pqb_client *c, const uint8_t *data, size_t len);
void pqb_login_on_confirmed(struct pqb_client *c, pqb_tstamp now); // first valid DATA came
void pqb_login_on_epoch(struct pqb_client *c, const struct pqb_frame_epoch_a *f);
void pqb_login_on_timeout(struct pqb_client *c, pqb_tstamp now);
size_t pqb_login_poll(struct pqb_client *c, uint8_t *out, pqb_tstamp now); // an INIT
pqb_tstamp pqb_login_deadline(const struct pqb_client *c);

// ------------------------------------------------------------------------------- identity.c

// From the configuration's keys and ticket. PQB_OK, PQB_ERR_NOMEM, PQB_ERR_IO.
int pqb_identity_create(struct pqb_identity **out, const struct pqb_client_config *k);
void pqb_identity_destroy(struct pqb_identity *id);          // NULL is fine
void pqb_identity_forget_handshake(struct pqb_identity *id); // likewise

// INIT or, with the ticket, RESUME: the same bytes for each repeat but for the cookie. Returns its
// length; 0: no memory, or the gateway's key is none.
size_t pqb_identity_write_hello(struct pqb_identity *id, const struct pqb_init *init,
                                bool is_resuming, uint8_t *out);
// The RESP that answers it. false: it is not the gateway's.
bool pqb_identity_read_answer(struct pqb_identity *id, struct pqb_unpacker *u, const void *data,
                              size_t len, struct pqb_resp *out);
// After it: the keys go to the channel.
void pqb_identity_protect(struct pqb_identity *id, struct pqb_channel *c, uint8_t cipher,
                          pqb_tstamp now);
void pqb_identity_on_ticket(struct pqb_client *c, const struct pqb_frame_ticket *f);
void pqb_identity_drop_ticket(struct pqb_client *c);

// --------------------------------------------------------------------------------- outbox.c

void pqb_outbox_init(struct pqb_client *c);
void pqb_outbox_fini(struct pqb_client *c);
bool pqb_outbox_load(void *client, const struct pqb_client_pending *pending);
int pqb_outbox_send(struct pqb_client *c, const struct pqb_client_pending *pending, uint64_t *id);
int pqb_outbox_send_ephemeral(struct pqb_client *c, const struct pqb_client_pending *pending);
int pqb_outbox_abandon(struct pqb_client *c, uint64_t seq);
uint64_t pqb_outbox_low(const struct pqb_client *c);

void pqb_outbox_on_session(struct pqb_client *c); // nothing of the queue is in flight any more
void pqb_outbox_on_msg_a(struct pqb_client *c, const struct pqb_frame_msg_a *f, pqb_tstamp now);
void pqb_outbox_on_nack(struct pqb_client *c, const struct pqb_frame_nack *f, pqb_tstamp now);
void pqb_outbox_on_skip_a(struct pqb_client *c, const struct pqb_frame_skip_a *f, pqb_tstamp now);
void pqb_outbox_on_timeout(struct pqb_client *c, pqb_tstamp now);

// The identity of what was sent is in doubt: what may have been sent is reported and let go, the
// rest waits for a new epoch, which takes a new login.
void pqb_outbox_on_rollback(struct pqb_client *c);

// The durable epoch of what is queued from now on. false: the store failed.
bool pqb_outbox_set_epoch(struct pqb_client *c, uint32_t epoch);

// Append frames to `out`; return the bytes written.
size_t pqb_outbox_write(struct pqb_client *c, uint8_t *out, size_t room, pqb_tstamp now);
size_t pqb_outbox_write_ephemeral(struct pqb_client *c, uint8_t *out, size_t room);
size_t pqb_outbox_write_skip(struct pqb_client *c, uint8_t *out, size_t room, pqb_tstamp now);
pqb_tstamp pqb_outbox_deadline(const struct pqb_client *c);

// Sets `may_leave` of every message within the window.
void pqb_outbox_find_leaving(const struct pqb_client *c);

struct pqb_outmsg *pqb_outbox_find(const struct pqb_client *c, uint64_t seq);
void pqb_outbox_fill_frame(const struct pqb_client *c, const struct pqb_outmsg *m,
                           struct pqb_frame *out);

// ---------------------------------------------------------------------------------- large.c

void pqb_large_clear(struct pqb_client *c);
void pqb_large_forget(struct pqb_client *c, const struct pqb_outmsg *m);       // resolved
bool pqb_large_is_any(const struct pqb_client *c);                             // on the way
bool pqb_large_is_out(const struct pqb_client *c, const struct pqb_outmsg *m); // all pieces left
void pqb_large_on_ack(struct pqb_client *c, const struct pqb_frame_frag_a *f, pqb_tstamp now);
void pqb_large_on_reset(struct pqb_client *c, uint32_t id, pqb_tstamp now);
void pqb_large_on_nack(struct pqb_client *c, const struct pqb_outmsg *m, pqb_tstamp now);
void pqb_large_on_timeout(struct pqb_client *c, pqb_tstamp now);
size_t pqb_large_write(struct pqb_client *c, uint8_t *out, size_t room, pqb_tstamp now);
pqb_tstamp pqb_large_deadline(const struct pqb_client *c);

// ------------------------------------------------------------------------------- accepted.c

void pqb_accepted_clear(struct pqb_accepted *a);
void pqb_accepted_record(struct pqb_accepted *a, uint64_t seq);

// What was accepted in this epoch and RESP, of the same epoch, does not know: all of it lies in
// from..to. false: nothing. From *unknown on RESP says nothing.
bool pqb_accepted_find_lost(struct pqb_accepted *a, const struct pqb_resp *resp, uint64_t *from,
                            uint64_t *to, uint64_t *unknown);

// ---------------------------------------------------------------------------------- watch.c

void pqb_watch_init(struct pqb_client *c);
void pqb_watch_clear(struct pqb_client *c);
void pqb_watch_forget(struct pqb_client *c, uint64_t from, uint64_t to);
void pqb_watch_add(struct pqb_client *c, const struct pqb_outmsg *m,
                   const struct pqb_frame_msg_a *f, pqb_tstamp now);
void pqb_watch_on_session(struct pqb_client *c, pqb_tstamp now);
void pqb_watch_on_ack_n(struct pqb_client *c, const struct pqb_frame_ack_n *f);
void pqb_watch_on_stat_a(struct pqb_client *c, const struct pqb_frame_msg_a *f);
void pqb_watch_on_timeout(struct pqb_client *c, pqb_tstamp now);
size_t pqb_watch_write(struct pqb_client *c, uint8_t *out, size_t room);

// ---------------------------------------------------------------------------------- inbox.c

void pqb_inbox_init(struct pqb_client *c);
void pqb_inbox_fini(struct pqb_client *c);
void pqb_inbox_on_session(struct pqb_client *c); // what was not taken comes again
void pqb_inbox_on_message(struct pqb_client *c, const struct pqb_frame_msg_n *f, pqb_tstamp now);
void pqb_inbox_on_gap(struct pqb_client *c, uint64_t from, uint64_t to, uint8_t reason,
                      pqb_tstamp now);
void pqb_inbox_adopt(struct pqb_client *c, uint64_t cursor, pqb_tstamp now); // the gateway's
void pqb_inbox_on_ack_a(struct pqb_client *c, uint64_t cursor, pqb_tstamp now);
void pqb_inbox_on_frag(struct pqb_client *c, const struct pqb_frame_frag *f, pqb_tstamp now);
void pqb_inbox_on_timeout(struct pqb_client *c, pqb_tstamp now);
size_t pqb_inbox_write_ack(struct pqb_client *c, uint8_t *out, size_t room, pqb_tstamp now);
pqb_tstamp pqb_inbox_deadline(const struct pqb_client *c);

// --------------------------------------------------------------------------------- poison.c

void pqb_poison_load(struct pqb_client *c, const struct pqb_client_saved *saved, uint32_t limit);
bool pqb_poison_is(const struct pqb_client *c, uint64_t iseq); // no more of it
bool pqb_poison_begin(struct pqb_client *c,
                      uint64_t iseq);                     // before it is handed over; false: don't
void pqb_poison_end(struct pqb_client *c, bool is_taken); // after; the cursor has moved if taken

// ----------------------------------------------------------------------------------- pull.c

void pqb_pull_init(struct pqb_client *c);
int pqb_pull_start(struct pqb_client *c, uint32_t max);
void pqb_pull_on_online(struct pqb_client *c, uint64_t count); // messages that RESP counted
void pqb_pull_on_off_a(struct pqb_client *c, const struct pqb_frame_off_a *f);
void pqb_pull_on_off_n(struct pqb_client *c, uint64_t head);
void pqb_pull_on_moved(struct pqb_client *c); // the cursor moved: is the page complete?
void pqb_pull_on_timeout(struct pqb_client *c, pqb_tstamp now);
size_t pqb_pull_write(struct pqb_client *c, uint8_t *out, size_t room, pqb_tstamp now);
pqb_tstamp pqb_pull_deadline(const struct pqb_client *c);

// --------------------------------------------------------------------- frames_in.c, frames_out.c

void pqb_client_on_data(struct pqb_client *c, const uint8_t *data, size_t len, pqb_tstamp now);
size_t pqb_client_write_data(struct pqb_client *c, uint8_t *out, pqb_tstamp now); // 0: nothing
pqb_tstamp pqb_client_frames_deadline(const struct pqb_client *c);
void pqb_client_answer_frag(struct pqb_client *c, uint32_t id, uint32_t total, pqb_tstamp now);
void pqb_client_answer_reset(struct pqb_client *c, uint32_t id, uint64_t seq);
