// What was sent and is not acknowledged yet: a ring of at most PQB_SENT_MAX items in the order of
// their key (a client's seq, the gateway's iseq). Decides what to send again and when: fast
// retransmit when three later datagrams have overtaken one and it had a little longer than they to
// be answered (RFC 8985: answers within a turn, and ways, reorder), timeout otherwise. One timer
// serves the whole map. The owner keeps the content; an item is 40 bytes.
//
// An item too large for one datagram is one item all the same; its bytes are those of its pieces in
// flight (the _part functions).
//
// Memory is taken when the first item comes and given back when the map is empty, so an idle
// session holds none. Pointers to items hold until anything is pushed or leaves the map.
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/time.h"
#include "common/proto/channel.h"

#define PQB_SENT_MAX          256
#define PQB_SENT_REORDER      3  // datagrams later than it: acknowledged, one counts as lost
#define PQB_SENT_ATTEMPTS_MAX 12 // timeouts in a row before the owner gives up

struct pqb_sent {
    uint64_t key;
    uint64_t aux;           // the owner's: where the content is found (gseq), or a flag
    pqb_tstamp sent_at;     // last transmission
    uint64_t order;         // number of the datagram that took it, to tell what was sent later
    uint32_t bytes;         // counted in the congestion window
    uint16_t transmissions; // 0: waiting for its first
    bool is_acked : 1;      // reported received, not yet passed by the cursor
    bool is_lost : 1;       // to be sent again
    bool has_more : 1;      // in flight, but pieces of it wait to be sent
};

static_assert(sizeof(struct pqb_sent) == 40, "a full map is 10 KiB");

struct pqb_sent_map {
    struct pqb_sent *ring; // PQB_SENT_MAX items or NULL
    uint32_t first, count;
    uint16_t settled;       // items in front that are acked or wholly in flight
    uint16_t lost_count;    // of those unacked
    uint16_t unacked_count; // in flight or lost
    uint16_t backoffs;      // timeouts in a row
    uint64_t acked_order;   // highest order acknowledged
    pqb_duration acked_rtt; // and how long after it was sent
    uint64_t flight_order;  // no item in flight has a lower order
    pqb_tstamp detect_at;   // when one overtaken counts as lost unless it is answered before
    pqb_tstamp timer_from;  // the timeout counts from here: first in flight or last progress
};

void pqb_sent_map_init(struct pqb_sent_map *m);
void pqb_sent_map_fini(struct pqb_sent_map *m,
                       struct pqb_cc *cc); // what is in flight leaves the window

// Appends a key above every other one. PQB_ERR_FULL at PQB_SENT_MAX, PQB_ERR_NOMEM.
PQB_MUST_USE int pqb_sent_map_push(struct pqb_sent_map *m, uint64_t key, uint64_t aux);

struct pqb_sent *pqb_sent_map_find(const struct pqb_sent_map *m, uint64_t key); // NULL if not held
struct pqb_sent *pqb_sent_map_at(const struct pqb_sent_map *m, uint32_t index); // 0 = lowest key

// Next item to transmit: lost ones first, then those never sent, lowest key first; NULL: none.
struct pqb_sent *pqb_sent_map_next(struct pqb_sent_map *m);

// The item was put into a datagram (that pqb_channel_stamp has not numbered yet), `bytes` long.
void pqb_sent_map_on_sent(struct pqb_sent_map *m, struct pqb_sent *item, uint32_t bytes,
                          struct pqb_channel *c, pqb_tstamp now);

// A piece of the item was. With `has_more`, pqb_sent_map_next gives the item again for the rest.
void pqb_sent_map_on_part_sent(struct pqb_sent_map *m, struct pqb_sent *item, uint32_t bytes,
                               bool has_more, struct pqb_channel *c, pqb_tstamp now);

// Pieces of the item, `bytes` in all, were acknowledged: progress, but the item is not done.
void pqb_sent_map_on_part_acked(struct pqb_sent_map *m, struct pqb_sent *item, uint32_t bytes,
                                struct pqb_channel *c, pqb_tstamp now);

// Pieces of the item, `bytes` in all, are judged lost by its owner and wait to be sent again.
void pqb_sent_map_on_part_lost(struct pqb_sent_map *m, struct pqb_sent *item, uint32_t bytes,
                               struct pqb_channel *c, pqb_tstamp now);

// Everything <= key is done and leaves the map. True if anything left (progress).
bool pqb_sent_map_on_cursor(struct pqb_sent_map *m, uint64_t key, struct pqb_channel *c,
                            pqb_tstamp now);

// key is acknowledged but stays until the cursor passes it (ranges of ack:R).
void pqb_sent_map_on_received(struct pqb_sent_map *m, uint64_t key, struct pqb_channel *c,
                              pqb_tstamp now);

// The same for all keys of first..last, whatever their number.
void pqb_sent_map_on_received_range(struct pqb_sent_map *m, uint64_t first, uint64_t last,
                                    struct pqb_channel *c, pqb_tstamp now);

// key is done and leaves the map, wherever it stands (msg:A at the client).
void pqb_sent_map_on_done(struct pqb_sent_map *m, uint64_t key, struct pqb_channel *c,
                          pqb_tstamp now);

// Everything in flight, or one item of it, is to be sent again at once (address change, transient
// refusal, frag:reset). Says nothing about congestion.
void pqb_sent_map_mark_all_lost(struct pqb_sent_map *m, struct pqb_channel *c);
void pqb_sent_map_mark_lost(struct pqb_sent_map *m, struct pqb_sent *item, struct pqb_channel *c);

// The item's answer is overdue though something sent later has arrived: what is in flight of the
// datagram that took it is lost.
void pqb_sent_map_on_overdue(struct pqb_sent_map *m, const struct pqb_sent *item,
                             struct pqb_channel *c, pqb_tstamp now);

// When pqb_sent_map_on_timeout is due; PQB_NEVER when nothing is in flight.
// `jitter` in [0, 1) spreads it over +25 %; pqb_sent_map_on_timeout must get the same.
pqb_tstamp pqb_sent_map_deadline(const struct pqb_sent_map *m, const struct pqb_channel *c,
                                 double jitter);

enum pqb_sent_verdict {
    PQB_SENT_WAIT,    // not due
    PQB_SENT_RETRY,   // something was marked lost; transmit
    PQB_SENT_GIVE_UP, // PQB_SENT_ATTEMPTS_MAX timeouts in a row without progress
};

// The first timeout in a row gives up the oldest two datagrams' worth and may be a mere late
// acknowledgement, so the window stays; from the second on everything in flight is lost and the
// window falls to its minimum (RFC 9002 6.2, 7.6).
enum pqb_sent_verdict pqb_sent_map_on_timeout(struct pqb_sent_map *m, struct pqb_channel *c,
                                              double jitter, pqb_tstamp now);
