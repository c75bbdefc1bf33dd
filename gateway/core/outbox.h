// What waits to be said to one peer besides messages: encoded answer frames, hints about its own
// messages, and the page that it asked for, which is made up when it is sent. A session holds one
// only while there is something in it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/list.h"
#include "common/wire/frame.h"

// A window of 256 msg:A at their longest; answers beyond it are dropped: the client asks again.
#define PQB_OUTBOX_BYTES 8192

struct pqb_outbox_page {
    uint64_t after;
    uint32_t max_bytes;
    uint16_t max; // messages; 0: no page is asked for
};

struct pqb_outbox {
    struct pqb_list free;                // pool's
    struct pqb_ranges stored, delivered; // seqs for ack:N
    struct pqb_outbox_page page;
    uint16_t at, len; // bytes[at..len) waits
    uint8_t bytes[PQB_OUTBOX_BYTES];
};

// Outboxes for reuse, so that answering allocates nothing in a steady state.
struct pqb_outbox_pool {
    struct pqb_list free;
    size_t free_count, used_count;
};

void pqb_outbox_pool_init(struct pqb_outbox_pool *p);
void pqb_outbox_pool_fini(struct pqb_outbox_pool *p);
struct pqb_outbox *pqb_outbox_take(struct pqb_outbox_pool *p); // NULL: no memory
void pqb_outbox_put(struct pqb_outbox_pool *p, struct pqb_outbox *o);

// Appends one encoded frame; false when it does not fit.
PQB_MUST_USE bool pqb_outbox_push(struct pqb_outbox *o, const struct pqb_frame *frame);

// The same for a frame that is encoded already.
PQB_MUST_USE bool pqb_outbox_push_bytes(struct pqb_outbox *o, const uint8_t *frame, size_t len);

// Adds seqs to a hint (state stored or delivered); false when its ranges are full.
PQB_MUST_USE bool pqb_outbox_hint(struct pqb_outbox *o, uint8_t state, uint64_t first,
                                  uint64_t last);

// Moves whole frames to `out`: answers first, then hints. Returns the bytes written.
size_t pqb_outbox_pop(struct pqb_outbox *o, uint8_t *out, size_t capacity);
bool pqb_outbox_is_empty(const struct pqb_outbox *o);

// Adds first..last to ascending, disjoint ranges. PQB_ERR_FULL: as it was.
PQB_MUST_USE int pqb_ranges_add(struct pqb_ranges *r, uint64_t first, uint64_t last);
bool pqb_ranges_have(const struct pqb_ranges *r, uint64_t value);
