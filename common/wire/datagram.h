// The datagrams: INIT RETRY RESP RESUME BUSY DATA RESET to and from bytes. No state.
//
// Decoding borrows: pointers in the result point into the datagram. Byte tables: PROTOCOL.md.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/range.h"
#include "common/wire/limits.h"

enum pqb_datagram_type {
    PQB_DATAGRAM_INIT = 1,
    PQB_DATAGRAM_RETRY = 2,
    PQB_DATAGRAM_RESP = 3,
    PQB_DATAGRAM_RESUME = 4,
    PQB_DATAGRAM_BUSY = 5,
    PQB_DATAGRAM_DATA = 6,
    PQB_DATAGRAM_RESET = 7,
};

// Why a datagram was not understood. Every one is counted as drop.<name> and dropped.
enum pqb_verdict {
    PQB_VERDICT_OK = 0,
    PQB_VERDICT_SHORT,     // shorter than its type allows
    PQB_VERDICT_LONG,      // longer than PQB_DATAGRAM_MAX
    PQB_VERDICT_VERSION,   // another protocol version
    PQB_VERDICT_TYPE,      // unknown datagram type
    PQB_VERDICT_STRUCTURE, // msgpack failed the structure check or is not the array it should be
    PQB_VERDICT_FIELD,     // a field is missing, of the wrong type or out of range
};

// The text fields borrow from the datagram and are not NUL-terminated.
struct pqb_text {
    const char *data;
    size_t len;
};

// Byte 1 of INIT, RESUME and RESP.
enum pqb_suite {
    PQB_SUITE_PLAIN = 0,
    PQB_SUITE_NOISE = 1,
};

struct pqb_init {
    uint64_t init_id; // the client's own nonce; answers echo it
    const uint8_t *cookie;
    size_t cookie_len; // 0 or PQB_COOKIE_LEN
    struct pqb_text user, device, token;
    uint32_t epoch;  // the client's epoch; 0: it has none and will ask for one
    uint64_t low;    // its lowest unresolved seq in that epoch
    uint64_t cursor; // everything at or below is durably taken by its application
};

struct pqb_retry {
    uint64_t init_id;
    uint8_t cookie[PQB_COOKIE_LEN];
};

// The answer to a login: a preview. Nothing is registered until the first valid DATA.
struct pqb_resp {
    uint64_t init_id;
    uint64_t cid;
    uint8_t reset_token[PQB_RESET_LEN];
    uint32_t epoch; // the device's current epoch at the gateway; 0 for a device it does not know
    uint64_t low;   // and the lowest seq it still remembers there
    size_t consumed_count;
    struct pqb_range consumed[PQB_FRAME_RANGES_MAX]; // consumed seqs >= low (the lowest ranges)
    uint64_t cursor;                                 // the device's cursor at the gateway
    uint64_t tail, head;                             // the inbox: lowest retained and highest iseq
    uint64_t count;                                  // messages above the cursor
    uint64_t generation_first;                       // first iseq of the inbox's current generation
    uint32_t idle_ms;  // the session ends after so long without a datagram
    uint32_t body_max; // bytes
    uint32_t push_max; // a backlog up to this is pushed; a larger one waits to be pulled
    uint64_t time_ms;  // the gateway's wall clock
    uint8_t cipher;    // enum pqb_cipher of the session; 0 in plaintext
};

// INIT and RESUME of the suite noise: what stands around the handshake's first message.
struct pqb_hello {
    enum pqb_datagram_type type; // INIT or RESUME
    uint8_t ciphers;             // offered: PQB_CIPHERS_* of common/proto/aead.h
    uint64_t init_id;
    const uint8_t *cookie;
    size_t cookie_len;      // 0 or PQB_COOKIE_LEN
    const uint8_t *ticket;  // PQB_TICKET_LEN bytes; NULL in INIT
    const uint8_t *message; // of the handshake
    size_t message_len;     // the same in each INIT, in each RESUME
    const uint8_t *mac1;    // PQB_MAC1_LEN bytes at the end, over all in front
};

#define PQB_LOGIN_HEADER_LEN 12 // byte 0, suite, ciphers, reserved, init_id
#define PQB_HELLO_HEADER_LEN (PQB_LOGIN_HEADER_LEN + 1 + PQB_COOKIE_LEN)
#define PQB_HELLO_MAC1_AT    (PQB_INIT_LEN - PQB_MAC1_LEN)

struct pqb_busy {
    uint64_t init_id;
    uint32_t retry_after_ms;
};

struct pqb_data {
    uint64_t cid;
    uint64_t pn;         // packet number, from 1, never reused
    uint32_t echo_pn;    // low 32 bits of the highest pn received; 0 before the first
    uint16_t echo_delay; // time since that one arrived, in PQB_ECHO_UNIT_NS; 0xffff: too long ago
    const uint8_t *frames;
    size_t frames_len;
};

#define PQB_ECHO_UNIT_NS  16384
#define PQB_ECHO_TOO_LONG 0xffff

struct pqb_reset {
    uint64_t cid;
    uint8_t token[PQB_RESET_LEN];
};

#define PQB_RETRY_LEN          (1 + 8 + PQB_COOKIE_LEN)
#define PQB_BUSY_LEN           (1 + 8 + 4)
#define PQB_RESET_DATAGRAM_LEN (1 + 8 + PQB_RESET_LEN)

// Length, version and type: the first check of every datagram. On OK writes `type`.
PQB_MUST_USE enum pqb_verdict pqb_datagram_peek(const void *data, size_t len,
                                                enum pqb_datagram_type *type);

// The connection id at its fixed place in DATA and RESET; 0 if `len` is too short for one.
uint64_t pqb_datagram_cid(const void *data, size_t len);

struct pqb_unpacker; // msgpack-c's zone, reused from call to call; see frame.h

PQB_MUST_USE enum pqb_verdict pqb_init_decode(struct pqb_unpacker *u, const void *data, size_t len,
                                              struct pqb_init *out);
PQB_MUST_USE enum pqb_verdict pqb_resp_decode(struct pqb_unpacker *u, const void *data, size_t len,
                                              struct pqb_resp *out);
PQB_MUST_USE enum pqb_verdict pqb_retry_decode(const void *data, size_t len, struct pqb_retry *out);
PQB_MUST_USE enum pqb_verdict pqb_busy_decode(const void *data, size_t len, struct pqb_busy *out);
PQB_MUST_USE enum pqb_verdict pqb_data_decode(const void *data, size_t len, struct pqb_data *out);
PQB_MUST_USE enum pqb_verdict pqb_reset_decode(const void *data, size_t len, struct pqb_reset *out);

// The suite of INIT, RESUME or RESP; what the datagram's length does not hold is plain.
uint8_t pqb_datagram_suite(const void *data, size_t len);

// Of the suite noise; all borrowed.
PQB_MUST_USE enum pqb_verdict pqb_hello_decode(const void *data, size_t len, struct pqb_hello *out);

// Writes a whole datagram but for the handshake's message, whose place `in->message_len` long is
// returned, cookie and mac1. `type`, `ciphers`, `init_id` and `ticket` of `in` are used.
uint8_t *pqb_hello_begin(struct pqb_hello *in, uint8_t *out);
void pqb_hello_put_cookie(uint8_t *hello, const uint8_t cookie[PQB_COOKIE_LEN]);

// The handshake's payload: the array of INIT (in RESUME without user, device and token, which the
// ticket tells) with its length in front, zeros behind. Exactly `len` bytes.
PQB_MUST_USE enum pqb_verdict pqb_hello_payload_decode(struct pqb_unpacker *u,
                                                       enum pqb_datagram_type type,
                                                       const void *data, size_t len,
                                                       struct pqb_init *out);
void pqb_hello_payload_encode(enum pqb_datagram_type type, const struct pqb_init *in, uint8_t *out,
                              size_t len);

// RESP of the suite noise: the handshake's second message, whose payload is RESP's array.
PQB_MUST_USE enum pqb_verdict pqb_answer_decode(const void *data, size_t len, uint64_t *init_id,
                                                const uint8_t **message, size_t *message_len);
size_t pqb_answer_begin(uint64_t init_id, uint8_t *out); // bytes in front of the message
PQB_MUST_USE enum pqb_verdict pqb_answer_payload_decode(struct pqb_unpacker *u, const void *data,
                                                        size_t len, struct pqb_resp *out);
size_t pqb_answer_payload_encode(const struct pqb_resp *in, uint8_t *out); // PQB_DATAGRAM_MAX

// Encoders return the datagram's length; `out` has PQB_DATAGRAM_MAX bytes. They assert what only
// the program can get wrong (a name too long was refused long before).
size_t pqb_init_encode(const struct pqb_init *in, uint8_t *out); // padded to PQB_INIT_LEN
size_t pqb_resp_encode(const struct pqb_resp *in, uint8_t *out); // never longer than PQB_INIT_LEN
size_t pqb_retry_encode(const struct pqb_retry *in, uint8_t *out);
size_t pqb_busy_encode(const struct pqb_busy *in, uint8_t *out);
size_t pqb_reset_encode(const struct pqb_reset *in, uint8_t *out);

// Writes the DATA header only (PQB_DATA_HEADER_LEN bytes); frames are appended by the caller.
void pqb_data_header_encode(const struct pqb_data *in, uint8_t *out);
