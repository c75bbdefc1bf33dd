#include "common/proto/sent_map.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/err.h"

#define REORDER_MIN_NS (1 * PQB_NS_PER_MS)

void pqb_sent_map_init(struct pqb_sent_map *m)
{
    *m = (struct pqb_sent_map){.detect_at = PQB_NEVER};
}

static struct pqb_sent *item_at(const struct pqb_sent_map *m, uint32_t index)
{
    return &m->ring[(m->first + index) % PQB_SENT_MAX];
}

static uint32_t index_of(const struct pqb_sent_map *m, const struct pqb_sent *item)
{
    PQB_ASSERT(item >= m->ring && item < m->ring + PQB_SENT_MAX);
    const uint32_t index = ((uint32_t)(item - m->ring) + PQB_SENT_MAX - m->first) % PQB_SENT_MAX;

    PQB_ASSERT(index < m->count);
    return index;
}

static bool is_in_flight(const struct pqb_sent *item)
{
    return item->transmissions > 0 && !item->is_acked && !item->is_lost;
}

static uint32_t flight_count(const struct pqb_sent_map *m)
{
    PQB_ASSERT(m->unacked_count >= m->lost_count);
    return m->unacked_count - m->lost_count;
}

void pqb_sent_map_fini(struct pqb_sent_map *m, struct pqb_cc *cc)
{
    for (uint32_t i = 0; i < m->count; i++) {
        if (is_in_flight(item_at(m, i)))
            pqb_cc_on_discarded(cc, item_at(m, i)->bytes);
    }
    free(m->ring);
    pqb_sent_map_init(m);
}

int pqb_sent_map_push(struct pqb_sent_map *m, uint64_t key, uint64_t aux)
{
    if (m->count == PQB_SENT_MAX)
        return PQB_ERR_FULL;
    if (m->ring == NULL) {
        m->ring = calloc(PQB_SENT_MAX, sizeof(*m->ring));
        if (m->ring == NULL)
            return PQB_ERR_NOMEM;
    }
    PQB_ASSERT(m->count == 0 || key > item_at(m, m->count - 1)->key);
    m->count++;
    *item_at(m, m->count - 1) = (struct pqb_sent){.key = key, .aux = aux};
    return PQB_OK;
}

// Index of the first item with a key >= `key`; m->count when there is none.
static uint32_t lower_bound(const struct pqb_sent_map *m, uint64_t key)
{
    uint32_t low = 0;
    uint32_t high = m->count;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;

        if (item_at(m, middle)->key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct pqb_sent *pqb_sent_map_find(const struct pqb_sent_map *m, uint64_t key)
{
    const uint32_t index = lower_bound(m, key);

    return index < m->count && item_at(m, index)->key == key ? item_at(m, index) : NULL;
}

struct pqb_sent *pqb_sent_map_at(const struct pqb_sent_map *m, uint32_t index)
{
    PQB_ASSERT(index < m->count);
    return item_at(m, index);
}

static bool is_settled(const struct pqb_sent *item)
{
    return item->is_acked || (is_in_flight(item) && !item->has_more);
}

struct pqb_sent *pqb_sent_map_next(struct pqb_sent_map *m)
{
    while (m->settled < m->count && is_settled(item_at(m, m->settled)))
        m->settled++;
    for (uint32_t i = m->settled; m->lost_count > 0 && i < m->count; i++) {
        if (item_at(m, i)->is_lost)
            return item_at(m, i);
    }
    for (uint32_t i = m->settled; i < m->count; i++) {
        if (!is_settled(item_at(m, i)))
            return item_at(m, i);
    }
    return NULL;
}

static void unsettle(struct pqb_sent_map *m, const struct pqb_sent *item)
{
    m->settled = (uint16_t)PQB_MIN(m->settled, index_of(m, item));
}

// The item comes (back) into flight with nothing of it counted yet.
static void enter_flight(struct pqb_sent_map *m, struct pqb_sent *item, pqb_tstamp now)
{
    if (flight_count(m) == 0)
        m->timer_from = now;
    if (item->is_lost)
        m->lost_count--;
    else
        m->unacked_count++;
    item->is_lost = false;
    item->bytes = 0;
    if (item->transmissions < UINT16_MAX)
        item->transmissions++;
}

void pqb_sent_map_on_part_sent(struct pqb_sent_map *m, struct pqb_sent *item, uint32_t bytes,
                               bool has_more, struct pqb_channel *c, pqb_tstamp now)
{
    PQB_ASSERT(!item->is_acked);
    if (!is_in_flight(item))
        enter_flight(m, item, now);
    if (flight_count(m) == 1)
        m->flight_order = c->pn_next;
    item->bytes += bytes;
    item->order = c->pn_next;
    item->sent_at = now;
    item->has_more = has_more;
    if (has_more)
        unsettle(m, item);
    pqb_cc_on_sent(&c->cc, bytes, &c->rtt, now);
}

void pqb_sent_map_on_sent(struct pqb_sent_map *m, struct pqb_sent *item, uint32_t bytes,
                          struct pqb_channel *c, pqb_tstamp now)
{
    // Sent again unasked: the earlier transmission is no longer waited for.
    if (is_in_flight(item))
        pqb_sent_map_mark_lost(m, item, c);
    pqb_sent_map_on_part_sent(m, item, bytes, false, c, now);
}

static void set_lost(struct pqb_sent_map *m, struct pqb_sent *item)
{
    PQB_ASSERT(is_in_flight(item));
    item->is_lost = true;
    item->has_more = false;
    item->bytes = 0;
    m->lost_count++;
    unsettle(m, item);
}

// How long what was overtaken may still be answered after what overtook it (RFC 8985 6.2 step 4).
static pqb_duration reorder_window(const struct pqb_channel *c)
{
    return PQB_MAX(c->rtt.srtt / 4, REORDER_MIN_NS);
}

// Marks lost what was sent PQB_SENT_REORDER or more datagrams before one that arrived, and has had
// its time; notes when the next one will have had it.
static void detect_lost(struct pqb_sent_map *m, struct pqb_channel *c, pqb_tstamp now)
{
    const pqb_duration patience = m->acked_rtt + reorder_window(c);
    uint64_t lowest = UINT64_MAX;

    m->detect_at = PQB_NEVER;
    if (m->acked_order < m->flight_order + PQB_SENT_REORDER || flight_count(m) == 0)
        return;
    for (uint32_t i = 0; i < m->count; i++) {
        struct pqb_sent *item = item_at(m, i);

        // Of an item in pieces only the whole is judged here, once every piece has left; with none
        // in flight it waits for its answer, and the timer watches over it.
        if (!is_in_flight(item) || item->has_more || item->bytes == 0)
            continue;
        const bool is_overtaken = item->order + PQB_SENT_REORDER <= m->acked_order;
        if (is_overtaken && pqb_elapsed(item->sent_at, now) >= patience) {
            pqb_cc_on_lost(&c->cc, item->bytes, item->sent_at, now);
            set_lost(m, item);
        } else {
            lowest = PQB_MIN(lowest, item->order);
            if (is_overtaken)
                m->detect_at = PQB_MIN(m->detect_at, item->sent_at + patience);
        }
    }
    // None judged: whatever comes into flight later has a higher order than all that arrived.
    m->flight_order = lowest == UINT64_MAX ? m->acked_order : lowest;
}

// The acknowledgement may be of an earlier transmission: then it says nothing about what was sent
// before the last one. Sooner than the shortest round trip it certainly is (RFC 8985 6.2 step 2).
static bool speaks_of_last_transmission(const struct pqb_sent *item, const struct pqb_rtt *rtt,
                                        pqb_tstamp now)
{
    if (item->transmissions == 1)
        return true;
    return rtt->samples > 0 && pqb_elapsed(item->sent_at, now) >= rtt->min;
}

static void note_progress(struct pqb_sent_map *m, pqb_tstamp now)
{
    m->backoffs = 0;
    m->timer_from = now;
}

// The item arrived: takes it out of flight or of the lost ones. False if it was known to have.
static bool settle(struct pqb_sent_map *m, struct pqb_sent *item, struct pqb_channel *c,
                   pqb_tstamp now)
{
    if (item->is_acked)
        return false;
    if (is_in_flight(item)) {
        pqb_cc_on_acked(&c->cc, item->bytes, item->sent_at);
        if (item->order > m->acked_order && speaks_of_last_transmission(item, &c->rtt, now)) {
            m->acked_order = item->order;
            m->acked_rtt = pqb_elapsed(item->sent_at, now);
        }
    }
    if (item->transmissions > 0)
        m->unacked_count--;
    if (item->is_lost)
        m->lost_count--;
    item->is_acked = true;
    item->is_lost = item->has_more = false;
    item->bytes = 0;
    note_progress(m, now);
    return true;
}

static void give_back_when_empty(struct pqb_sent_map *m)
{
    if (m->count > 0)
        return;
    PQB_ASSERT(m->unacked_count == 0 && m->lost_count == 0);
    free(m->ring);
    m->ring = NULL;
    m->first = m->settled = 0;
}

bool pqb_sent_map_on_cursor(struct pqb_sent_map *m, uint64_t key, struct pqb_channel *c,
                            pqb_tstamp now)
{
    uint32_t passed = 0;

    while (passed < m->count && item_at(m, passed)->key <= key) {
        (void)settle(m, item_at(m, passed), c, now);
        passed++;
    }
    if (passed == 0)
        return false;
    m->first = (m->first + passed) % PQB_SENT_MAX;
    m->count -= passed;
    m->settled -= (uint16_t)PQB_MIN(m->settled, passed);
    detect_lost(m, c, now);
    give_back_when_empty(m);
    return true;
}

void pqb_sent_map_on_received_range(struct pqb_sent_map *m, uint64_t first, uint64_t last,
                                    struct pqb_channel *c, pqb_tstamp now)
{
    bool is_progress = false;

    for (uint32_t i = lower_bound(m, first); i < m->count && item_at(m, i)->key <= last; i++)
        is_progress |= settle(m, item_at(m, i), c, now);
    if (is_progress)
        detect_lost(m, c, now);
}

void pqb_sent_map_on_received(struct pqb_sent_map *m, uint64_t key, struct pqb_channel *c,
                              pqb_tstamp now)
{
    pqb_sent_map_on_received_range(m, key, key, c, now);
}

void pqb_sent_map_on_done(struct pqb_sent_map *m, uint64_t key, struct pqb_channel *c,
                          pqb_tstamp now)
{
    struct pqb_sent *item = pqb_sent_map_find(m, key);

    if (item == NULL)
        return;
    const uint32_t index = index_of(m, item);
    (void)settle(m, item, c, now);
    // Most are done near the front, so the ones before it close the hole.
    for (uint32_t i = index; i > 0; i--)
        *item_at(m, i) = *item_at(m, i - 1);
    m->first = (m->first + 1) % PQB_SENT_MAX;
    m->count--;
    if (index < m->settled)
        m->settled--;
    detect_lost(m, c, now);
    give_back_when_empty(m);
}

void pqb_sent_map_on_part_acked(struct pqb_sent_map *m, struct pqb_sent *item, uint32_t bytes,
                                struct pqb_channel *c, pqb_tstamp now)
{
    bytes = PQB_MIN(bytes, item->bytes); // pieces given up before may be acknowledged late
    pqb_cc_on_acked(&c->cc, bytes, item->sent_at);
    item->bytes -= bytes;
    note_progress(m, now);
}

void pqb_sent_map_on_part_lost(struct pqb_sent_map *m, struct pqb_sent *item, uint32_t bytes,
                               struct pqb_channel *c, pqb_tstamp now)
{
    PQB_ASSERT(is_in_flight(item));
    bytes = PQB_MIN(bytes, item->bytes);
    pqb_cc_on_lost(&c->cc, bytes, item->sent_at, now);
    item->bytes -= bytes;
    item->has_more = true;
    unsettle(m, item);
}

void pqb_sent_map_mark_lost(struct pqb_sent_map *m, struct pqb_sent *item, struct pqb_channel *c)
{
    if (!is_in_flight(item))
        return;
    pqb_cc_on_discarded(&c->cc, item->bytes);
    set_lost(m, item);
}

void pqb_sent_map_mark_all_lost(struct pqb_sent_map *m, struct pqb_channel *c)
{
    for (uint32_t i = 0; i < m->count; i++)
        pqb_sent_map_mark_lost(m, item_at(m, i), c);
    m->backoffs = 0;
}

void pqb_sent_map_on_overdue(struct pqb_sent_map *m, const struct pqb_sent *item,
                             struct pqb_channel *c, pqb_tstamp now)
{
    const uint64_t order = item->order;

    for (uint32_t i = 0; i < m->count; i++) {
        struct pqb_sent *other = item_at(m, i);

        if (!is_in_flight(other) || other->has_more || other->order != order)
            continue;
        pqb_cc_on_lost(&c->cc, other->bytes, other->sent_at, now);
        set_lost(m, other);
    }
}

static pqb_duration timeout(const struct pqb_sent_map *m, const struct pqb_channel *c,
                            double jitter)
{
    const pqb_duration rto = pqb_rtt_rto(&c->rtt, m->backoffs);

    PQB_ASSERT(jitter >= 0 && jitter < 1);
    return rto + (pqb_duration)((double)rto * 0.25 * jitter);
}

static pqb_tstamp timeout_at(const struct pqb_sent_map *m, const struct pqb_channel *c,
                             double jitter)
{
    return pqb_tstamp_add(m->timer_from, timeout(m, c, jitter));
}

pqb_tstamp pqb_sent_map_deadline(const struct pqb_sent_map *m, const struct pqb_channel *c,
                                 double jitter)
{
    if (flight_count(m) == 0)
        return PQB_NEVER;
    return PQB_MIN(m->detect_at, timeout_at(m, c, jitter));
}

static pqb_tstamp oldest_sent_at(const struct pqb_sent_map *m)
{
    pqb_tstamp oldest = PQB_NEVER;

    for (uint32_t i = 0; i < m->count; i++) {
        if (is_in_flight(item_at(m, i)))
            oldest = PQB_MIN(oldest, item_at(m, i)->sent_at);
    }
    return oldest;
}

// Gives up, lowest key first, what was sent at or before `upto`, two datagrams' worth of it. The
// window is not cut: the answer to these tells whether the rest was lost too.
static void probe(struct pqb_sent_map *m, struct pqb_channel *c, pqb_tstamp upto)
{
    uint32_t bytes = 0;

    pqb_cc_allow_probe(&c->cc);
    for (uint32_t i = 0; i < m->count && bytes < PQB_CC_PROBE_BYTES; i++) {
        struct pqb_sent *item = item_at(m, i);

        if (!is_in_flight(item) || item->sent_at > upto)
            continue;
        if (bytes > 0 && item->bytes > PQB_CC_PROBE_BYTES - bytes)
            break;
        bytes += PQB_MAX(item->bytes, 1);
        pqb_sent_map_mark_lost(m, item, c);
    }
}

static void lose_everything(struct pqb_sent_map *m, struct pqb_channel *c, pqb_tstamp now)
{
    for (uint32_t i = 0; i < m->count; i++) {
        struct pqb_sent *item = item_at(m, i);

        if (!is_in_flight(item))
            continue;
        pqb_cc_on_lost(&c->cc, item->bytes, item->sent_at, now);
        set_lost(m, item);
    }
    pqb_cc_on_timeout(&c->cc);
}

enum pqb_sent_verdict pqb_sent_map_on_timeout(struct pqb_sent_map *m, struct pqb_channel *c,
                                              double jitter, pqb_tstamp now)
{
    if (flight_count(m) == 0)
        return PQB_SENT_WAIT;
    if (now >= m->detect_at) {
        const uint32_t lost_before = m->lost_count;

        detect_lost(m, c, now);
        if (m->lost_count > lost_before)
            return PQB_SENT_RETRY;
    }
    // Progress of others may have started the timer before the oldest in flight was sent.
    m->timer_from = PQB_MAX(m->timer_from, oldest_sent_at(m));
    if (now < timeout_at(m, c, jitter))
        return PQB_SENT_WAIT;

    const pqb_tstamp upto = now - timeout(m, c, jitter);
    m->backoffs++;
    m->timer_from = now;
    if (m->backoffs >= PQB_SENT_ATTEMPTS_MAX)
        return PQB_SENT_GIVE_UP;
    if (m->backoffs == 1)
        probe(m, c, upto);
    else
        lose_everything(m, c, now);
    return PQB_SENT_RETRY;
}
