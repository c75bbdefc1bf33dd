// Frames larger than a datagram, cut into pieces with acknowledged ranges, and put together again.
// A whole has at most PQB_FRAG_COUNT_MAX pieces, so a bitmap of two words tells all.
//
// Sender: frag_out remembers which pieces of one whole are acknowledged, in flight, or wanted. The
// content stays with the owner. Receiver: frag_in holds a bounded set of reassemblies per session.
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/list.h"
#include "common/base/time.h"
#include "common/wire/frame.h"

struct pqb_frag_out {
    uint32_t id; // 0: not fragmented at the moment
    uint32_t total, hash;
    uint8_t frame;
    uint64_t seq;
    uint64_t acked[2], sent[2]; // bit per piece; sent and not acked = in flight
};

static_assert(PQB_FRAG_COUNT_MAX <= 128, "two words hold a bit per piece");

// Begins (again) with `id`; all pieces are wanted.
void pqb_frag_out_init(struct pqb_frag_out *f, uint32_t id, uint8_t frame, uint64_t seq,
                       const uint8_t *content, size_t len);
unsigned pqb_frag_out_count(const struct pqb_frag_out *f);

unsigned pqb_frag_out_in_flight(const struct pqb_frag_out *f); // pieces

// Index of the next piece to send, or -1 when all are sent or acknowledged.
int pqb_frag_out_next(const struct pqb_frag_out *f);

// The frame of piece `index`, borrowing from `content`; then mark it sent.
void pqb_frag_out_get(const struct pqb_frag_out *f, unsigned index, const uint8_t *content,
                      struct pqb_frame *out);
void pqb_frag_out_on_sent(struct pqb_frag_out *f, unsigned index);
unsigned pqb_frag_out_on_ack(struct pqb_frag_out *f,
                             const struct pqb_ranges *received); // newly acked
void pqb_frag_out_on_lost(struct pqb_frag_out *f);               // in flight ones are wanted again
void pqb_frag_out_on_reset(struct pqb_frag_out *f); // acknowledgements are void; all wanted
bool pqb_frag_out_is_all_acked(const struct pqb_frag_out *f);

#define PQB_FRAG_IN_MAX        4 // reassemblies a session may have; the oldest gives way
#define PQB_FRAG_IN_TIMEOUT_NS (10 * PQB_NS_PER_SEC)
#define PQB_FRAG_DONE_MAX      8

struct pqb_reassembly {
    uint32_t id, total, hash;
    uint8_t frame;
    uint64_t seq;
    uint64_t have[2];
    pqb_tstamp touched_at;
    uint8_t content[]; // total bytes
};

struct pqb_frag_in {
    struct pqb_reassembly *slots[PQB_FRAG_IN_MAX]; // NULL: free
    // Ids whose whole was handed on, a ring: a late piece is acknowledged, not collected.
    uint32_t done[PQB_FRAG_DONE_MAX]; // 0: no id
    uint32_t done_next;
    size_t bytes; // taken from the owner's budget for all slots
};

void pqb_frag_in_init(struct pqb_frag_in *f);

// Frees all slots. The owner gives `bytes` (read before) back to its budget.
void pqb_frag_in_fini(struct pqb_frag_in *f);

enum pqb_frag_verdict {
    PQB_FRAG_HELD,      // kept, or a repeat: acknowledge what is held
    PQB_FRAG_COMPLETE,  // whole and its hash checks: take `*whole`, then pqb_frag_in_done
    PQB_FRAG_LATE,      // of a whole already handed on: acknowledge everything
    PQB_FRAG_BAD,       // malformed, contradicts what is held, or the hash fails; nothing is held
                        // under its id any more: answer frag:reset
    PQB_FRAG_NO_MEMORY, // budget spent: answer frag:reset later; counted
};

// Takes one piece. `budget` is the owner's pool of bytes, taken from and given back to.
// `evicted->id` tells (if not 0) that the oldest reassembly gave way: send frag:reset for it.
enum pqb_frag_verdict pqb_frag_in_on_piece(struct pqb_frag_in *f,
                                           const struct pqb_frame_frag *piece, size_t *budget,
                                           struct pqb_reassembly **whole,
                                           struct pqb_frame_frag_reset *evicted, pqb_tstamp now);

// What frag:A says about `id` (the lowest ranges); of a whole handed on, that all came. false:
// unknown id.
bool pqb_frag_in_ranges(const struct pqb_frag_in *f, uint32_t id, struct pqb_ranges *out);

// The whole was used (or refused): frees it and remembers the id. Unknown ids are ignored.
void pqb_frag_in_done(struct pqb_frag_in *f, uint32_t id, size_t *budget);

// The whole was not taken after all (a refusal for now voids what was acknowledged): its pieces are
// collected again when they come.
void pqb_frag_in_forget(struct pqb_frag_in *f, uint32_t id);

// Discards one reassembly that was not touched for PQB_FRAG_IN_TIMEOUT_NS; fills the reset to send.
bool pqb_frag_in_expire(struct pqb_frag_in *f, struct pqb_frame_frag_reset *out, size_t *budget,
                        pqb_tstamp now);
pqb_tstamp pqb_frag_in_deadline(const struct pqb_frag_in *f);
