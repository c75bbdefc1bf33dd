// The engine's inside, for the files of this folder only. Each file works on its own part; what
// crosses files is declared here, by file.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/addr.h"
#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/htable.h"
#include "common/base/list.h"
#include "common/base/rng.h"
#include "common/base/timerq.h"
#include "common/proto/cookie.h"
#include "common/wire/frame.h"
#include "gateway/core/engine.h"
#include "gateway/core/half_open.h"
#include "gateway/core/hellos.h"
#include "gateway/core/inflight.h"
#include "gateway/core/outbox.h"
#include "gateway/core/rate.h"
#include "gateway/core/replies.h"
#include "gateway/core/session.h"
#include "gateway/core/stats.h"
#include "gateway/core/user_table.h"
#include "storage/store.h"

#define PQB_BUSY_RETRY_MS    200  // a queue is full
#define PQB_STORAGE_RETRY_MS 1000 // the disk is full, or a batch was aborted
#define PQB_PREFIXES         8192 // token buckets of addresses that log in
#define PQB_HINTS_PER_TURN   1024 // messages read to find whom to tell; more are not told

// One large message, encoded, so that its pieces are not encoded again for each datagram.
struct pqb_whole {
    uint64_t uid, iseq; // 0: none
    size_t len;
    uint8_t content[PQB_FRAG_TOTAL_MAX];
};

struct pqb_engine {
    struct pqb_engine_config config;
    struct pqb_engine_env env;
    struct pqb_store *store;
    struct pqb_view *view;
    uint64_t *counters;
    struct pqb_rng rng;
    struct pqb_secret_rng secrets;
    struct pqb_token_keys keys;
    uint8_t name_key[PQB_SIPHASH_KEY_LEN]; // names a recipient in receipts; same after a restart
    struct pqb_unpacker *unpacker;
    struct pqb_timerq timers;
    struct pqb_user_table users;
    struct pqb_htable sessions; // by cid
    struct pqb_half_open_table half_open;
    struct pqb_inflight_table inflight;
    struct pqb_outbox_pool outboxes;
    struct pqb_replies replies;
    struct pqb_list ready;       // pqb_session.ready
    struct pqb_list completions; // pqb_request.link, not handled yet
    struct pqb_rate resets, log_lines;
    struct pqb_rate hellos, handshakes; // encrypted logins that bring no cookie; exchanges of keys
    struct pqb_rate *prefixes;          // PQB_PREFIXES; NULL in plaintext
    struct pqb_hellos waiting;          // for a turn; none in plaintext
    uint8_t prefix_key[PQB_SIPHASH_KEY_LEN];
    pqb_tstamp loaded_until; // cookies are asked for
    uint64_t tail_gseq;      // next journal record to read
    uint64_t journal_first;  // of the open view
    uint64_t request_bytes;
    size_t reassembly_left; // bytes
    uint32_t hints_left;    // this turn
    uint32_t replies_left;  // likewise
    uint32_t polls;         // for a datagram to send
    uint32_t lookups;       // with the writer
    bool is_view_open;
    bool must_retry; // memory or a read failed somebody: the next turn asks every session again
    bool is_tail_current; // the journal was read to its end once: arrivals are news now
    bool is_draining;
    uint8_t plain[PQB_DATAGRAM_MAX]; // the datagram at hand, opened
    struct pqb_whole whole;
};

static inline void pqb_count(struct pqb_engine *e, enum pqb_counter counter)
{
    e->counters[counter]++;
}

static inline void pqb_count_n(struct pqb_engine *e, enum pqb_counter counter, uint64_t n)
{
    e->counters[counter] += n;
}

// The shard that has the user's sessions.
static inline uint32_t pqb_shard_of_user(const struct pqb_engine *e, const struct pqb_text *user)
{
    return pqb_store_user_hash(e->store, user->data, user->len) % e->config.shards;
}

// A line to the log, rate-limited. Never with payload or credentials.
void pqb_engine_log(struct pqb_engine *e, int level, pqb_tstamp now, const char *format, ...)
    PQB_PRINTF(4, 5);

// drops.c: counters of verdicts and reasons.
void pqb_count_verdict(struct pqb_engine *e, enum pqb_verdict verdict);
void pqb_count_nack(struct pqb_engine *e, enum pqb_nack_reason reason);
void pqb_count_frame(struct pqb_engine *e, uint8_t code);

// A login that is understood: a plaintext INIT, or the first message of a handshake.
struct pqb_opened_login {
    struct pqb_init init; // borrows
    struct pqb_grant grant;
    bool is_proven; // it brought a cookie that is good for its address
    bool is_sealed;
    uint8_t ciphers;                      // the rest only if it is
    uint8_t middle[PQB_NOISE_MIDDLE_LEN]; // of the handshake
};

// handshake.c: encrypted logins.
void pqb_handshake_on_hello(struct pqb_engine *e, const struct pqb_addr *from, const uint8_t *data,
                            size_t len, pqb_tstamp now);
bool pqb_handshake_is_loaded(struct pqb_engine *e, pqb_tstamp now); // counts one more login
// False: the shard has made enough of them; BUSY is on its way.
bool pqb_handshake_may_spend(struct pqb_engine *e, const struct pqb_addr *from, uint64_t init_id,
                             pqb_tstamp now);
// The sealed RESP; keys of the session replace the handshake in `h`. 0: it cannot be.
size_t pqb_handshake_answer(struct pqb_engine *e, struct pqb_half_open *h, struct pqb_resp *resp,
                            uint8_t out[PQB_DATAGRAM_MAX]);
bool pqb_handshake_is_confirmed(struct pqb_engine *e, const struct pqb_half_open *h,
                                const uint8_t *data, size_t len, pqb_tstamp now);
void pqb_handshake_protect(const struct pqb_half_open *h, struct pqb_channel *c, pqb_tstamp now);
void pqb_handshake_send_ticket(struct pqb_engine *e, struct pqb_session *s);

// login.c: from INIT to a session.
void pqb_login_on_opened(struct pqb_engine *e, const struct pqb_addr *from,
                         const struct pqb_opened_login *login, pqb_tstamp now);
// False: the login is answered already, a repeat or while draining.
bool pqb_login_may_begin(struct pqb_engine *e, const struct pqb_addr *from, uint64_t init_id);
// Asks for the login's grant; false: refused, counted. `device_key`: NULL in plaintext.
bool pqb_login_is_let_in(struct pqb_engine *e, struct pqb_opened_login *login,
                         const uint8_t *device_key);
// Tokens, issuers or revocations may have changed since it was let in, here or at another shard.
bool pqb_login_may_stay(const struct pqb_engine *e, const struct pqb_half_open *h);
// True: the address is proven (*is_proven), or need not be; otherwise RETRY is on its way. `cookie`
// may be NULL.
bool pqb_login_is_cookie_passed(struct pqb_engine *e, const struct pqb_addr *from, uint64_t init_id,
                                const uint8_t *cookie, bool *is_proven, pqb_tstamp now);
void pqb_login_on_mailed(struct pqb_engine *e, const struct pqb_addr *from,
                         const struct pqb_opened_login *login, pqb_tstamp now);
void pqb_login_send_busy(struct pqb_engine *e, const struct pqb_addr *to, uint64_t init_id,
                         uint64_t retry_after_ms, enum pqb_counter counter);
void pqb_login_on_init(struct pqb_engine *e, const struct pqb_addr *from, const uint8_t *data,
                       size_t len, bool is_mail, pqb_tstamp now);
void pqb_login_on_data(struct pqb_engine *e, struct pqb_half_open *h, const struct pqb_addr *from,
                       const uint8_t *data, size_t len, pqb_tstamp now);
void pqb_login_on_lookup(struct pqb_engine *e, const struct pqb_request *r);
void pqb_login_on_registered(struct pqb_engine *e, const struct pqb_request *r, pqb_tstamp now);
void pqb_login_on_rollback(struct pqb_engine *e, const struct pqb_request *r, pqb_tstamp now);
void pqb_login_ask_rollback(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now);
void pqb_login_expire(struct pqb_engine *e, pqb_tstamp now);

// datagrams.c: what a datagram is for; RESET.
void pqb_datagram_dispatch(struct pqb_engine *e, const struct pqb_addr *from, const uint8_t *data,
                           size_t len, bool is_mail, pqb_tstamp now);
// `len_max`: of the question, see pqb_replies_push.
void pqb_send_reset(struct pqb_engine *e, const struct pqb_addr *to, uint64_t cid, size_t len_max);

// frames_in.c: the frames of a DATA datagram.
void pqb_session_on_datagram(struct pqb_engine *e, struct pqb_session *s,
                             const struct pqb_addr *from, const uint8_t *data, size_t len,
                             pqb_tstamp now);

// submit.c: msg:R to the writer and back.
void pqb_submit_message(struct pqb_engine *e, struct pqb_session *s,
                        const struct pqb_frame_msg_r *m, pqb_tstamp now);
void pqb_submit_on_completed(struct pqb_engine *e, struct pqb_request *r,
                             pqb_tstamp now); // takes r
bool pqb_submit_may_begin_pieces(struct pqb_engine *e, struct pqb_session *s, uint64_t seq);
// The messages first..last are consumed, or below low: what waited for one of them goes on.
void pqb_submit_release_holds(struct pqb_engine *e, struct pqb_session *s, uint64_t first,
                              uint64_t last);
void pqb_submit_expire_holds(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now);
void pqb_submit_drop_holds(struct pqb_engine *e, struct pqb_session *s);
pqb_tstamp pqb_submit_hold_deadline(const struct pqb_session *s);

// requests.c: making, submitting and routing requests.
struct pqb_request *pqb_engine_request(struct pqb_engine *e, enum pqb_op op,
                                       const struct pqb_session *s, size_t body_len);
bool pqb_engine_submit(struct pqb_engine *e, struct pqb_request *r); // false: freed, counted
void pqb_engine_on_completion(struct pqb_engine *e, struct pqb_request *r, pqb_tstamp now);

// ops.c: stat, skip, epoch.
void pqb_op_stat(struct pqb_engine *e, struct pqb_session *s, const struct pqb_frame_stat_r *f);
void pqb_op_skip(struct pqb_engine *e, struct pqb_session *s, const struct pqb_frame_skip_r *f);
void pqb_op_epoch(struct pqb_engine *e, struct pqb_session *s, const struct pqb_frame_epoch_r *f);
void pqb_op_on_stat(struct pqb_engine *e, const struct pqb_request *r);
void pqb_op_on_skip(struct pqb_engine *e, const struct pqb_request *r);
void pqb_op_on_epoch(struct pqb_engine *e, const struct pqb_request *r, pqb_tstamp now);
struct pqb_message_identity pqb_receipt_identity(const struct pqb_engine *e,
                                                 const struct pqb_request *r);

// acks.c: cursors and what senders are told.
void pqb_ack_answer(struct pqb_engine *e, struct pqb_session *s); // ack:A, what is durable
void pqb_ack_cursor(struct pqb_engine *e, struct pqb_session *s, uint64_t cursor, pqb_tstamp now);
void pqb_ack_on_frame(struct pqb_engine *e, struct pqb_session *s, const struct pqb_frame_ack_r *f,
                      pqb_tstamp now);
void pqb_ack_request(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now);
void pqb_ack_last(struct pqb_engine *e, const struct pqb_session *s); // the session ends
void pqb_ack_on_completed(struct pqb_engine *e, const struct pqb_request *r, pqb_tstamp now);

// hints.c: ack:N to senders, on whatever shard they are.
struct pqb_hint {
    uint64_t uid; // the sender
    uint32_t devno, epoch, uhash;
    uint8_t state;
    struct pqb_ranges seqs;
};
void pqb_hint_deliver(struct pqb_engine *e, const struct pqb_hint *h);
void pqb_hint_on_arrival(struct pqb_engine *e, struct pqb_user *u, uint64_t iseq);
void pqb_hint_range(struct pqb_engine *e, const struct pqb_user *u, uint64_t first, uint64_t last);
void pqb_hint_stored_unacked(struct pqb_engine *e, struct pqb_session *s);

// mail.c: between shards.
void pqb_mail_datagram(struct pqb_engine *e, uint32_t shard, const struct pqb_addr *from,
                       const uint8_t *data, size_t len);
void pqb_mail_login(struct pqb_engine *e, uint32_t shard, const struct pqb_addr *from,
                    const struct pqb_opened_login *login);
void pqb_mail_hint(struct pqb_engine *e, const struct pqb_hint *h);
void pqb_mail_ephemeral(struct pqb_engine *e, uint32_t shard, const struct pqb_text *to,
                        const uint8_t *frame, size_t len);
void pqb_mail_open(struct pqb_engine *e, const void *mail, size_t len, pqb_tstamp now);

// ephemeral.c
void pqb_ephemeral_route(struct pqb_engine *e, struct pqb_session *s,
                         const struct pqb_frame_msg_r *m, pqb_tstamp now);
void pqb_ephemeral_deliver(struct pqb_engine *e, const char *to, size_t to_len,
                           const uint8_t *frame, size_t len);

// inspect.c
void pqb_drain_step(struct pqb_engine *e, pqb_tstamp now); // ends as many sessions as may be told

// positions.c: what lies above a position of an inbox.
enum pqb_position_kind {
    PQB_POSITION_NONE, // nothing up to the head
    PQB_POSITION_MESSAGE,
    PQB_POSITION_GAP,
};
struct pqb_position {
    enum pqb_position_kind kind;
    uint64_t first, last;       // equal for a message
    uint8_t reason;             // of a gap
    struct pqb_message message; // borrows from the view
};
void pqb_position_next(struct pqb_engine *e, const struct pqb_user *u, uint64_t after,
                       struct pqb_position *out);

// tail.c: the view, and reading the journal.
PQB_MUST_USE int pqb_engine_open_view(struct pqb_engine *e);
void pqb_engine_close_view(struct pqb_engine *e);
PQB_MUST_USE int pqb_tail_journal(struct pqb_engine *e, pqb_tstamp now);
// Before it: makes known whom the completed logins are of. Until they are handled.
PQB_MUST_USE int pqb_tail_expect_logins(struct pqb_engine *e, pqb_tstamp now);
void pqb_tail_cover(struct pqb_user *u, const struct pqb_user_state *state); // at least this far

// delivery.c: composing datagrams to a session.
bool pqb_delivery_compose(struct pqb_engine *e, struct pqb_session *s, struct pqb_transmit *out,
                          pqb_tstamp now);
void pqb_delivery_on_cursor(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now);

// fragments.c: large bodies in both directions.
struct pqb_frag_out *pqb_fragments_get(struct pqb_session *s, uint64_t iseq); // or NULL
struct pqb_frag_out *pqb_fragments_begin(struct pqb_engine *e, struct pqb_session *s,
                                         uint64_t iseq); // NULL: no place; wait
struct pqb_frame_area { // of a datagram that is being composed: PQB_FRAMES_MAX bytes
    uint8_t *bytes;
    size_t used;
};
enum pqb_fragments_result {
    PQB_FRAGMENTS_WRITTEN,
    PQB_FRAGMENTS_NO_ROOM,  // in this datagram
    PQB_FRAGMENTS_VANISHED, // the message is not there any more; the transfer is dropped
};
enum pqb_fragments_result pqb_fragments_write(struct pqb_engine *e, struct pqb_session *s,
                                              struct pqb_frag_out *f, struct pqb_sent *item,
                                              struct pqb_frame_area *out, pqb_tstamp now);
void pqb_fragments_settle(struct pqb_engine *e, struct pqb_session *s); // frees finished transfers
void pqb_fragments_on_piece(struct pqb_engine *e, struct pqb_session *s,
                            const struct pqb_frame_frag *piece, pqb_tstamp now);
void pqb_fragments_on_ack(struct pqb_session *s, const struct pqb_frame_frag_a *ack,
                          pqb_tstamp now);
void pqb_fragments_on_reset(struct pqb_session *s, const struct pqb_frame_frag_reset *reset);
void pqb_fragments_expire(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now);

// offline.c: pages.
void pqb_offline_on_request(struct pqb_engine *e, struct pqb_session *s,
                            const struct pqb_frame_off_r *f, pqb_tstamp now);
void pqb_offline_answer(struct pqb_engine *e, struct pqb_session *s);
uint64_t pqb_offline_backlog(const struct pqb_user_state *u, uint64_t cursor);
