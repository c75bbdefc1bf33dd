// One side's packet layer of a session: packet numbers, echo, RTT, congestion, replay. It knows
// nothing of messages; the client and the gateway's session each embed one.
//
// Sending: pqb_channel_seal numbers and protects a DATA datagram whose frames the caller has
// written. Receiving: pqb_channel_open takes the protection off, pqb_channel_on_data judges what
// came out before its frames are looked at.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/time.h"
#include "common/proto/cc.h"
#include "common/proto/packet_keys.h"
#include "common/proto/replay_window.h"
#include "common/proto/rtt.h"
#include "common/proto/sent_times.h"
#include "common/wire/datagram.h"

struct pqb_channel {
    uint64_t cid;
    enum pqb_cipher cipher;
    uint32_t echo_highest;  // of the packets that the peer told to have; low 32 bits
    uint64_t pn_next;       // of the next packet sent; begins at 1
    pqb_tstamp highest_at;  // when the highest packet number arrived, replay.largest
    pqb_tstamp received_at; // last valid datagram of any number
    uint32_t echo_seen;     // last echo that gave a sample; an older or equal one gives none
    struct pqb_sent_times sent;
    struct pqb_rtt rtt;
    struct pqb_cc cc;
    struct pqb_replay_window replay;
    struct pqb_packet_keys keys; // all zero without a cipher
};

void pqb_channel_init(struct pqb_channel *c, uint64_t cid, pqb_tstamp now); // in plaintext
void pqb_channel_protect(struct pqb_channel *c, enum pqb_cipher cipher,
                         const uint8_t send[PQB_KEY_LEN], const uint8_t recv[PQB_KEY_LEN],
                         pqb_tstamp now);     // before the first datagram
void pqb_channel_fini(struct pqb_channel *c); // erases the keys, frees; fine when all is zero

enum pqb_channel_verdict {
    PQB_CHANNEL_GENUINE,
    PQB_CHANNEL_DUPLICATE, // told by its number, before any work was spent on it
    PQB_CHANNEL_STALE,
    PQB_CHANNEL_FORGED, // does not open
    PQB_CHANNEL_BAD,    // opens, or is plaintext, and is no DATA; *verdict says why
};

// Takes the protection off a DATA datagram. On GENUINE fills `d`, which borrows from `plain`
// (PQB_DATAGRAM_MAX bytes; plaintext: from `data`). Nothing but keys and counts is changed.
PQB_MUST_USE enum pqb_channel_verdict pqb_channel_open(struct pqb_channel *c, const uint8_t *data,
                                                       size_t len, uint8_t *plain,
                                                       struct pqb_data *d,
                                                       enum pqb_verdict *verdict, pqb_tstamp now);

struct pqb_channel_receipt {
    enum pqb_replay verdict; // NEW: look at the frames; else count and drop
    bool is_newest;          // its number is the highest so far: may speak for a new address
    bool has_sample;         // an RTT sample was taken
};

struct pqb_channel_receipt pqb_channel_on_data(struct pqb_channel *c, const struct pqb_data *d,
                                               pqb_tstamp now);

// Takes the next packet number, writes the DATA header into `datagram` (PQB_DATA_HEADER_LEN bytes)
// in front of `frames_len` bytes of frames, and seals both. Returns the datagram's length.
size_t pqb_channel_seal(struct pqb_channel *c, uint8_t *datagram, size_t frames_len,
                        pqb_tstamp now);

// Bytes in memory besides the struct: sending times, while several datagrams are on their way; a
// key that is over, for three timeouts after it was.
size_t pqb_channel_memory(const struct pqb_channel *c);

// When pqb_channel_on_timeout is due, which erases keys that are over; PQB_NEVER: there are none.
pqb_tstamp pqb_channel_deadline(const struct pqb_channel *c);
void pqb_channel_on_timeout(struct pqb_channel *c, pqb_tstamp now);

// Whether the peer's echo shows that a datagram sent after `pn` has arrived.
bool pqb_channel_is_overtaken(const struct pqb_channel *c, uint64_t pn);

// A new path: RTT and congestion start anew (RFC 9000 9.4) unless only the port changed. What is in
// flight stays counted: mark it lost in the sent map, before or after.
void pqb_channel_on_path_change(struct pqb_channel *c, bool is_same_ip);
