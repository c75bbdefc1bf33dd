// The keys of a session's DATA datagrams, in both directions, and what becomes of them: numbers,
// generations, erasure. Owned by a channel.
//
// A datagram's packet number is `generation (high 16 bits) | counter (low 48)`. The counter rises
// by one with each datagram; the whole is the cipher's number, so none is used twice under a key. A
// generation's key is REKEY of the one before. The sender begins a new one after 2^20 datagrams or
// an hour, but not before the peer has shown that it has one of the present; so a receiver never
// needs more than the last, the present and the next, and a forgery costs it two short operations.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/time.h"
#include "common/proto/aead.h"
#include "common/wire/limits.h"

#define PQB_REKEY_PACKETS (UINT64_C(1) << 20)
#define PQB_REKEY_NS      (3600 * PQB_NS_PER_SEC)

#define PQB_PN_COUNTER_BITS 48
#define PQB_PN_COUNTER_MASK ((UINT64_C(1) << PQB_PN_COUNTER_BITS) - 1)

#define PQB_DATA_CLEAR_LEN 17 // of the header: byte 0, connection id, packet number

// a < b for packet numbers cut to 32 bits (RFC 1982).
static inline bool pqb_pn_is_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

struct pqb_packet_keys {
    uint8_t send[PQB_KEY_LEN], recv[PQB_KEY_LEN];
    struct pqb_old_key *old; // of the receiving side; NULL: erased
    pqb_tstamp send_since;   // when the sending key came into use
    uint32_t send_first;     // low bits of its first counter
    uint16_t send_generation, recv_generation;
};

// The two keys that a handshake gave.
void pqb_packet_keys_init(struct pqb_packet_keys *k, const uint8_t send[PQB_KEY_LEN],
                          const uint8_t recv[PQB_KEY_LEN], pqb_tstamp now);
void pqb_packet_keys_fini(struct pqb_packet_keys *k); // erases them

// Begins a new generation if it is time. `next` is the counter of the datagram to be sent,
// `acked` the highest one (low 32 bits) that the peer has told to have.
void pqb_packet_keys_advance(struct pqb_packet_keys *k, enum pqb_cipher cipher, uint64_t next,
                             uint32_t acked, pqb_tstamp now);

// Seals what stands behind the clear part of a datagram of `len` bytes, header included; returns
// its new length.
size_t pqb_packet_keys_seal(const struct pqb_packet_keys *k, enum pqb_cipher cipher,
                            uint8_t *datagram, size_t len);

// Opens a datagram of `len` bytes into `plain` (clear part included), len - PQB_TAG_LEN bytes.
// false: it is not the peer's. One of the next generation makes that the present one; the last
// one's key is kept for `keep` more.
PQB_MUST_USE bool pqb_packet_keys_open(struct pqb_packet_keys *k, enum pqb_cipher cipher,
                                       const uint8_t *datagram, size_t len, uint8_t *plain,
                                       pqb_duration keep, pqb_tstamp now);

// Bytes in memory besides the struct: the last generation's key, while it is kept.
size_t pqb_packet_keys_memory(const struct pqb_packet_keys *k);

// When pqb_packet_keys_on_timeout is due, which erases the last generation's key; or PQB_NEVER.
pqb_tstamp pqb_packet_keys_deadline(const struct pqb_packet_keys *k);
void pqb_packet_keys_on_timeout(struct pqb_packet_keys *k, pqb_tstamp now);
