// Frames: type, length, msgpack array. To and from structs; no state but msgpack-c's reusable zone.
//
// A decoder ignores trailing elements it does not know; frames of unknown type are skipped by their
// length and counted, so old and new peers meet.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/range.h"
#include "common/wire/datagram.h"
#include "common/wire/limits.h"

enum pqb_frame_type {
#define PQB_FRAME(name, code, text, direction, fragmentable, help) PQB_FRAME_##name = (code),
#include "common/wire/frames.def"
#undef PQB_FRAME
};

enum pqb_nack_reason {
#define PQB_NACK_REASON(name, code, text, is_final, help) PQB_NACK_##name = (code),
#include "common/wire/reasons.def"
#undef PQB_NACK_REASON
};

// What has become of a message; the four that a sender waits for only move forward.
enum pqb_state {
    PQB_STATE_UNKNOWN = 0,   // never consumed here: send it
    PQB_STATE_ACCEPTED = 1,  // durable
    PQB_STATE_STORED = 2,    // durable, and nobody was there to take it
    PQB_STATE_DELIVERED = 3, // a device's application of the recipient has it
    PQB_STATE_READ = 4,
    PQB_STATE_REFUSED = 16,   // told final by a nack
    PQB_STATE_ABANDONED = 17, // skipped by its sender before it was accepted
};

enum pqb_gap_reason {
    PQB_GAP_EXPIRED = 1,    // fell to a retention rule
    PQB_GAP_DAMAGED = 2,    // did not check when read
    PQB_GAP_GENERATION = 3, // the positions between two generations
    PQB_GAP_RECALLED = 4,
};

enum pqb_kick_reason {
    PQB_KICK_REPLACED = 1, // the same device logged in elsewhere
    PQB_KICK_ADMIN = 2,
    PQB_KICK_DRAIN = 3,   // the gateway shuts down; reconnect with backoff
    PQB_KICK_EPOCH = 4,   // the session's epoch is over; log in again
    PQB_KICK_GIVE_UP = 5, // nothing was acknowledged for too long
    PQB_KICK_EXPIRED = 6, // the session or what let it in has lasted long enough; log in again
};

#define PQB_MSG_EPHEMERAL 0x01 // flag of msg:R and msg:N: never stored, never acknowledged, seq 0

struct pqb_ranges { // of seqs, iseqs or fragment indexes; ascending and disjoint
    size_t count;
    struct pqb_range at[PQB_FRAME_RANGES_MAX];
};

struct pqb_bytes {
    const uint8_t *data; // borrowed
    size_t len;
};

struct pqb_frame_ping { // and pong
    uint64_t nonce;
};

struct pqb_frame_path { // challenge and response
    uint8_t data[PQB_PATH_LEN];
};

struct pqb_frame_ticket {
    uint8_t ticket[PQB_TICKET_LEN]; // opaque to the client
    uint8_t psk[PQB_KEY_LEN];       // with which the handshake that shows the ticket begins
};

struct pqb_frame_nack {
    uint8_t frame;  // type of the refused request
    uint64_t ref;   // its seq (msg, skip, stat, frag), 0 where it has none
    uint8_t reason; // enum pqb_nack_reason; unknown ones are treated as busy
    uint32_t retry_after_ms;
};

struct pqb_frame_kick {
    uint8_t reason;
};

struct pqb_frame_msg_r {
    uint64_t seq;   // 0 when ephemeral
    uint64_t low;   // the sender's lowest unresolved seq; monotone
    uint64_t after; // seq that must be consumed first; 0: none
    uint8_t flags;
    uint16_t kind; // the application's; not looked at
    struct pqb_text to;
    struct pqb_bytes body;
};

struct pqb_frame_msg_a { // also stat:A
    uint64_t seq;
    uint8_t state;
    bool has_receipt;
    uint8_t receipt[PQB_RECEIPT_LEN];
};

struct pqb_frame_msg_n {
    uint64_t iseq; // 0 when ephemeral
    uint8_t flags;
    uint16_t kind;
    uint64_t time_ms; // when it was accepted, the gateway's wall clock
    struct pqb_text from, device;
    struct pqb_bytes body;
};

struct pqb_frame_ack_r {
    uint64_t cursor;
    struct pqb_ranges received; // above the cursor; they only stop retransmissions
};

struct pqb_frame_ack_a {
    uint64_t cursor;
};

struct pqb_frame_ack_n {
    uint8_t state;
    struct pqb_ranges seqs;
};

struct pqb_frame_off_r {
    uint64_t cursor, after; // after >= cursor
    uint32_t max, max_bytes;
};

struct pqb_frame_off_a {
    uint64_t after; // of the request
    uint64_t first,
        last; // positions that the page covers, gaps included; 0, 0: nothing above `after`
    uint64_t tail, head;
    bool has_more; // head lies above last
};

struct pqb_frame_off_n {
    uint64_t head;
};

struct pqb_frame_stat_r {
    uint64_t seq;
    struct pqb_text to;
    bool has_receipt; // without one the answer can only be accepted, refused, abandoned or unknown
    uint8_t receipt[PQB_RECEIPT_LEN];
};

struct pqb_frame_epoch_r {
    uint8_t nonce[PQB_NONCE_LEN]; // the same nonce gets the same epoch
};

struct pqb_frame_epoch_a {
    uint8_t nonce[PQB_NONCE_LEN];
    uint32_t epoch;
};

struct pqb_frame_skip_r {
    uint64_t low;
    struct pqb_ranges seqs; // PQB_SKIP_MAX seqs in all
};

struct pqb_seq_state {
    uint64_t seq;
    uint8_t state;
};

struct pqb_frame_skip_a {
    size_t count;
    struct pqb_seq_state at[PQB_SKIP_MAX];
};

struct pqb_frame_gap_n {
    uint64_t from, to;
    uint8_t reason;
};

struct pqb_frame_frag {
    uint32_t id;    // unique per content and session, chosen by the sender, from 1
    uint8_t frame;  // type of the whole
    uint64_t seq;   // seq of the msg:R, iseq of the msg:N
    uint32_t total; // length of the whole's content
    uint32_t hash;  // CRC-32C of the whole's content
    uint16_t index; // of this piece; each but the last has PQB_FRAG_LEN bytes
    struct pqb_bytes piece;
};

struct pqb_frame_frag_a {
    uint32_t id;
    struct pqb_ranges received;
};

struct pqb_frame_frag_reset {
    uint32_t id;
    uint64_t seq;
};

// One decoded frame. Text and bytes borrow from the datagram (or reassembly) it came from.
struct pqb_frame {
    enum pqb_frame_type type;
    union {
        struct pqb_frame_ping ping; // PING, PONG
        struct pqb_frame_path path; // PATH_CHALLENGE, PATH_RESPONSE
        struct pqb_frame_nack nack;
        struct pqb_frame_kick kick;
        struct pqb_frame_ticket ticket;
        struct pqb_frame_msg_r msg_r;
        struct pqb_frame_msg_a msg_a;
        struct pqb_frame_msg_n msg_n;
        struct pqb_frame_ack_r ack_r;
        struct pqb_frame_ack_a ack_a;
        struct pqb_frame_ack_n ack_n;
        struct pqb_frame_off_r off_r;
        struct pqb_frame_off_a off_a;
        struct pqb_frame_off_n off_n;
        struct pqb_frame_stat_r stat_r;
        struct pqb_frame_msg_a stat_a;
        struct pqb_frame_epoch_r epoch_r;
        struct pqb_frame_epoch_a epoch_a;
        struct pqb_frame_skip_r skip_r;
        struct pqb_frame_skip_a skip_a;
        struct pqb_frame_gap_n gap_n;
        struct pqb_frame_frag frag;
        struct pqb_frame_frag_a frag_a;
        struct pqb_frame_frag_reset frag_reset;
    };
};

// msgpack-c's zone with the structure check in front; one per thread that decodes.
PQB_MUST_USE int pqb_unpacker_create(struct pqb_unpacker **out); // PQB_OK or PQB_ERR_NOMEM
void pqb_unpacker_destroy(struct pqb_unpacker *u);               // NULL is fine

// Walks the frames area of a DATA datagram: steps to the next frame's header. false at the end;
// *verdict then says whether it ended well (OK) or in a truncated frame (SHORT). `code` is the raw
// type byte (may be unknown), `content` borrows.
bool pqb_frame_next(const uint8_t **at, const uint8_t *end, uint8_t *code,
                    struct pqb_bytes *content, enum pqb_verdict *verdict);

bool pqb_frame_is_known(uint8_t code);
bool pqb_frame_is_fragmentable(uint8_t code);
const char *pqb_frame_name(uint8_t code); // "msg:R"; "unknown" for others
const char *pqb_nack_reason_name(uint8_t reason);
bool pqb_nack_reason_is_final(uint8_t reason);
const char *pqb_state_name(uint8_t state);
const char *pqb_verdict_name(enum pqb_verdict verdict);

// Decodes the content of one frame of known type `code`. Text is checked for UTF-8 and its limits.
PQB_MUST_USE enum pqb_verdict pqb_frame_decode(struct pqb_unpacker *u, uint8_t code,
                                               struct pqb_bytes content, struct pqb_frame *out);

// Writes header and content to `out`. Returns the bytes written, or 0 when they do not fit into
// `capacity`; what `out` then holds means nothing. Asserts every limit that the decoder checks,
// save that text is UTF-8: what encodes, decodes.
size_t pqb_frame_encode(const struct pqb_frame *frame, uint8_t *out, size_t capacity);

// The content alone, without the 3-byte header: what fragments carry. Same return.
size_t pqb_frame_encode_content(const struct pqb_frame *frame, uint8_t *out, size_t capacity);

// UTF-8, 1..max bytes, no control characters: what a user or device name must be.
bool pqb_name_is_valid(const char *data, size_t len, size_t max);
