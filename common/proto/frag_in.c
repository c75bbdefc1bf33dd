#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/proto/frag.h"

void pqb_frag_in_init(struct pqb_frag_in *f)
{
    *f = (struct pqb_frag_in){0};
}

void pqb_frag_in_fini(struct pqb_frag_in *f)
{
    for (unsigned i = 0; i < PQB_FRAG_IN_MAX; i++)
        free(f->slots[i]);
    pqb_frag_in_init(f);
}

static unsigned count_of(uint32_t total)
{
    return (total + PQB_FRAG_LEN - 1) / PQB_FRAG_LEN;
}

// What one reassembly costs the budget.
static size_t cost_of(uint32_t total)
{
    return sizeof(struct pqb_reassembly) + total;
}

static int find_slot(const struct pqb_frag_in *f, uint32_t id)
{
    for (int i = 0; i < PQB_FRAG_IN_MAX; i++) {
        if (f->slots[i] != NULL && f->slots[i]->id == id)
            return i;
    }
    return -1;
}

static int find_free(const struct pqb_frag_in *f)
{
    for (int i = 0; i < PQB_FRAG_IN_MAX; i++) {
        if (f->slots[i] == NULL)
            return i;
    }
    return -1;
}

// Slot of the reassembly that was touched longest ago; -1: none is held.
static int find_oldest(const struct pqb_frag_in *f)
{
    int oldest = -1;

    for (int i = 0; i < PQB_FRAG_IN_MAX; i++) {
        if (f->slots[i] == NULL)
            continue;
        if (oldest < 0 || f->slots[i]->touched_at < f->slots[oldest]->touched_at)
            oldest = i;
    }
    return oldest;
}

static void discard(struct pqb_frag_in *f, int slot, size_t *budget)
{
    const size_t cost = cost_of(f->slots[slot]->total);

    PQB_ASSERT(f->bytes >= cost);
    f->bytes -= cost;
    *budget += cost;
    free(f->slots[slot]);
    f->slots[slot] = NULL;
}

static struct pqb_frame_frag_reset reset_of(const struct pqb_reassembly *r)
{
    return (struct pqb_frame_frag_reset){.id = r->id, .seq = r->seq};
}

static bool is_done(const struct pqb_frag_in *f, uint32_t id)
{
    for (unsigned i = 0; i < PQB_FRAG_DONE_MAX; i++) {
        if (f->done[i] == id)
            return true;
    }
    return false;
}

static bool is_well_formed(const struct pqb_frame_frag *piece)
{
    const uint32_t start = piece->index * (uint32_t)PQB_FRAG_LEN;

    if (piece->id == 0 || piece->total == 0 || piece->total > PQB_FRAG_TOTAL_MAX)
        return false;
    if (!pqb_frame_is_fragmentable(piece->frame) || start >= piece->total)
        return false;
    return piece->piece.len == PQB_MIN(piece->total - start, (uint32_t)PQB_FRAG_LEN);
}

static bool is_same_whole(const struct pqb_reassembly *r, const struct pqb_frame_frag *piece)
{
    return r->total == piece->total && r->hash == piece->hash && r->frame == piece->frame &&
           r->seq == piece->seq;
}

// Makes room for a new reassembly, at the cost of the oldest when every slot is taken. Returns its
// slot, or -1 when the budget or the heap does not allow one (nothing is evicted then).
static int open_slot(struct pqb_frag_in *f, const struct pqb_frame_frag *piece, size_t *budget,
                     struct pqb_frame_frag_reset *evicted)
{
    const size_t cost = cost_of(piece->total);
    const int victim = find_free(f) < 0 ? find_oldest(f) : -1;
    const size_t regained = victim < 0 ? 0 : cost_of(f->slots[victim]->total);
    struct pqb_reassembly *r;

    if (*budget + regained < cost)
        return -1;
    r = malloc(cost);
    if (r == NULL)
        return -1;
    *r = (struct pqb_reassembly){
        .id = piece->id,
        .total = piece->total,
        .hash = piece->hash,
        .frame = piece->frame,
        .seq = piece->seq,
    };
    if (victim >= 0) {
        *evicted = reset_of(f->slots[victim]);
        discard(f, victim, budget);
    }
    const int slot = find_free(f);
    f->slots[slot] = r;
    f->bytes += cost;
    *budget -= cost;
    return slot;
}

static unsigned held_count(const struct pqb_reassembly *r)
{
    return (unsigned)(__builtin_popcountll(r->have[0]) + __builtin_popcountll(r->have[1]));
}

// true: this piece was the last one missing.
static bool keep_piece(struct pqb_reassembly *r, const struct pqb_frame_frag *piece)
{
    const uint64_t bit = UINT64_C(1) << (piece->index % 64);
    uint64_t *word = &r->have[piece->index / 64];

    if (*word & bit)
        return false;
    *word |= bit;
    memcpy(r->content + piece->index * (size_t)PQB_FRAG_LEN, piece->piece.data, piece->piece.len);
    return held_count(r) == count_of(r->total);
}

enum pqb_frag_verdict pqb_frag_in_on_piece(struct pqb_frag_in *f,
                                           const struct pqb_frame_frag *piece, size_t *budget,
                                           struct pqb_reassembly **whole,
                                           struct pqb_frame_frag_reset *evicted, pqb_tstamp now)
{
    int slot;

    *whole = NULL;
    *evicted = (struct pqb_frame_frag_reset){0};
    if (piece->id != 0 && is_done(f, piece->id))
        return PQB_FRAG_LATE;
    slot = find_slot(f, piece->id);
    if (!is_well_formed(piece) || (slot >= 0 && !is_same_whole(f->slots[slot], piece))) {
        if (slot >= 0)
            discard(f, slot, budget);
        return PQB_FRAG_BAD;
    }
    if (slot < 0)
        slot = open_slot(f, piece, budget, evicted);
    if (slot < 0)
        return PQB_FRAG_NO_MEMORY;

    struct pqb_reassembly *r = f->slots[slot];
    r->touched_at = now;
    if (!keep_piece(r, piece))
        return PQB_FRAG_HELD;
    if (pqb_crc32c(0, r->content, r->total) != r->hash) {
        discard(f, slot, budget);
        return PQB_FRAG_BAD;
    }
    *whole = r;
    return PQB_FRAG_COMPLETE;
}

static bool has_piece(const struct pqb_reassembly *r, unsigned index)
{
    return (r->have[index / 64] >> (index % 64) & 1) != 0;
}

static void add_to_ranges(struct pqb_ranges *out, unsigned index)
{
    struct pqb_range *last = out->count > 0 ? &out->at[out->count - 1] : NULL;

    if (last != NULL && last->last + 1 == index)
        last->last = index;
    else if (out->count < PQB_FRAME_RANGES_MAX)
        out->at[out->count++] = (struct pqb_range){.first = index, .last = index};
}

bool pqb_frag_in_ranges(const struct pqb_frag_in *f, uint32_t id, struct pqb_ranges *out)
{
    const int slot = find_slot(f, id);

    out->count = 0;
    if (id != 0 && is_done(f, id)) {
        out->at[out->count++] = (struct pqb_range){.first = 0, .last = PQB_FRAG_COUNT_MAX - 1};
        return true;
    }
    if (slot < 0)
        return false;
    for (unsigned i = 0; i < count_of(f->slots[slot]->total); i++) {
        if (has_piece(f->slots[slot], i))
            add_to_ranges(out, i);
    }
    return true;
}

void pqb_frag_in_done(struct pqb_frag_in *f, uint32_t id, size_t *budget)
{
    const int slot = find_slot(f, id);

    if (slot < 0)
        return;
    discard(f, slot, budget);
    f->done[f->done_next] = id;
    f->done_next = (f->done_next + 1) % PQB_FRAG_DONE_MAX;
}

void pqb_frag_in_forget(struct pqb_frag_in *f, uint32_t id)
{
    for (unsigned i = 0; i < PQB_FRAG_DONE_MAX; i++) {
        if (f->done[i] == id)
            f->done[i] = 0;
    }
}

bool pqb_frag_in_expire(struct pqb_frag_in *f, struct pqb_frame_frag_reset *out, size_t *budget,
                        pqb_tstamp now)
{
    const int slot = find_oldest(f);

    if (slot < 0 || pqb_elapsed(f->slots[slot]->touched_at, now) < PQB_FRAG_IN_TIMEOUT_NS)
        return false;
    *out = reset_of(f->slots[slot]);
    discard(f, slot, budget);
    return true;
}

pqb_tstamp pqb_frag_in_deadline(const struct pqb_frag_in *f)
{
    const int slot = find_oldest(f);

    return slot < 0 ? PQB_NEVER
                    : pqb_tstamp_add(f->slots[slot]->touched_at, PQB_FRAG_IN_TIMEOUT_NS);
}
