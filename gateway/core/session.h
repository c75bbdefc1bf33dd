// One logged-in device: its packet layer, its place in the inbox, what is on the way to it. Made
// when a login's registration is durable, freed when the session ends; everything durable is in the
// store. Owned by the shard of its user.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/htable.h"
#include "common/base/list.h"
#include "common/base/time.h"
#include "common/base/timerq.h"
#include "common/proto/channel.h"
#include "common/proto/frag.h"
#include "common/proto/grant.h"
#include "common/proto/path.h"
#include "common/proto/sent_map.h"
#include "common/wire/frame.h"
#include "gateway/core/outbox.h"
#include "gateway/core/rate.h"
#include "gateway/core/user_table.h"

#define PQB_SESSION_OPS_MAX   4  // stat, skip and epoch requests open at once
#define PQB_SESSION_HOLDS_MAX 64 // messages that wait for the one named by `after`
#define PQB_HOLD_NS           (10 * PQB_NS_PER_SEC)
#define PQB_FRAG_OUT_MAX      4 // large messages on the way at once

// Exists while large bodies travel in either direction.
struct pqb_session_frag {
    struct pqb_frag_in in;
    struct pqb_frag_out out[PQB_FRAG_OUT_MAX]; // id 0: free
    pqb_tstamp fast_at[PQB_FRAG_OUT_MAX];      // last early retransmission of pieces
    bool has_asked[PQB_FRAG_OUT_MAX]; // all pieces acknowledged, the last one sent as a question
};

struct pqb_session {
    struct pqb_hnode by_cid;
    struct pqb_list of_user;
    struct pqb_list ready; // linked while there may be something to send
    struct pqb_timer timer;
    struct pqb_user *user;
    struct pqb_outbox *outbox;     // NULL: nothing to say
    struct pqb_session_frag *frag; // NULL: nothing in pieces
    struct pqb_channel channel;
    struct pqb_path path;
    struct pqb_sent_map sent; // key: iseq, or the last position of a gap; aux: 0, or its first
    struct pqb_list holds;    // pqb_request.link, oldest first
    pqb_tstamp login_at;      // when its INIT came: the session's age counts from it
    pqb_tstamp retry_at;      // a cursor request found no slot; PQB_NEVER: none waits
    struct pqb_grant grant;   // on what ground it was let in
    struct pqb_rate logins, messages;
    uint64_t low;             // highest `low` the client has told
    uint64_t cursor;          // acknowledged by the client
    uint64_t cursor_durable;  // and committed
    uint64_t queued_upto;     // positions <= it have entered `sent` or are done
    uint64_t allowed_upto;    // positions that pages have granted; UINT64_MAX: push
    uint64_t rollback_cursor; // what the client says it took, while a new generation is made
    pqb_tstamp off_n_at;      // no off:N before it
    uint32_t devno, epoch;
    uint32_t frag_id;   // last one used
    float jitter;       // in [0, 1), of the retransmission timer
    uint16_t in_flight; // messages that this session has with the writer or held
    uint8_t hold_count, op_count;
    bool is_cursor_busy : 1;  // a cursor or rollback request is with the writer
    bool is_rolling_back : 1; // a new generation is being made; nothing is pushed meanwhile
    bool is_blocked : 1;      // messages wait for the congestion window or the pacing
    bool has_news : 1;        // the head moved while the backlog is pulled
    uint8_t device_len;
    char device[];
};

struct pqb_engine;
struct pqb_half_open;

// Links a new session of `u` and the device that `h` names, at the address it was answered at.
// NULL: no memory.
struct pqb_session *pqb_session_create(struct pqb_engine *e, struct pqb_user *u,
                                       const struct pqb_half_open *h, pqb_tstamp now);

// Tells senders `stored` if it was the user's last session, unlinks and frees.
void pqb_session_close(struct pqb_engine *e, struct pqb_session *s);

// Sends kick(reason), counts, closes.
void pqb_session_kick(struct pqb_engine *e, struct pqb_session *s, enum pqb_kick_reason reason,
                      pqb_tstamp now);

// NULL when there is none.
struct pqb_session *pqb_session_get(const struct pqb_engine *e, uint64_t cid);
struct pqb_session *pqb_session_get_device(const struct pqb_engine *e, uint64_t uid,
                                           uint32_t devno);
struct pqb_session *pqb_session_get_name(const struct pqb_user *u, const char *device, size_t len);

// The outbox, taken if there is none: something has to be put into it. NULL: no memory.
struct pqb_outbox *pqb_session_outbox(struct pqb_engine *e, struct pqb_session *s);

// Puts an answer into the outbox; without room it is dropped and counted.
void pqb_session_answer(struct pqb_engine *e, struct pqb_session *s, const struct pqb_frame *f);

// A nack, counted by its reason.
void pqb_session_nack(struct pqb_engine *e, struct pqb_session *s, enum pqb_frame_type frame,
                      uint64_t ref, enum pqb_nack_reason reason, uint32_t retry_after_ms);

// The session may have something to send, or its deadline may have moved: look at it before the
// turn ends. Every event ends with this.
void pqb_session_touch(struct pqb_engine *e, struct pqb_session *s);

// Arms the timer to the earliest thing that the session waits for.
void pqb_session_rearm(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now);

// The timer fired: idle, retransmission, path, reassembly, holds. May close the session.
void pqb_session_on_timeout(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now);

// The fragment state, made on first use. NULL: no memory.
struct pqb_session_frag *pqb_session_frag_make(struct pqb_engine *e, struct pqb_session *s);
void pqb_session_frag_trim(struct pqb_engine *e, struct pqb_session *s); // frees it when unused

size_t pqb_session_memory(const struct pqb_session *s);
