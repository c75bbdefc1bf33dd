#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/proto/frag.h"

static uint64_t bit_of(unsigned index)
{
    return UINT64_C(1) << (index % 64);
}

// Bits of word `word` that stand for the first `count` pieces.
static uint64_t word_mask(unsigned count, unsigned word)
{
    if (count >= 64 * (word + 1))
        return UINT64_MAX;
    return count <= 64 * word ? 0 : bit_of(count) - 1;
}

void pqb_frag_out_init(struct pqb_frag_out *f, uint32_t id, uint8_t frame, uint64_t seq,
                       const uint8_t *content, size_t len)
{
    PQB_ASSERT(id != 0);
    PQB_ASSERT(len > 0 && len <= PQB_FRAG_TOTAL_MAX);
    *f = (struct pqb_frag_out){
        .id = id,
        .frame = frame,
        .seq = seq,
        .total = (uint32_t)len,
        .hash = pqb_crc32c(0, content, len),
    };
}

unsigned pqb_frag_out_count(const struct pqb_frag_out *f)
{
    return (f->total + PQB_FRAG_LEN - 1) / PQB_FRAG_LEN;
}

unsigned pqb_frag_out_in_flight(const struct pqb_frag_out *f)
{
    unsigned count = 0;

    for (unsigned word = 0; word < 2; word++)
        count += (unsigned)__builtin_popcountll(f->sent[word] & ~f->acked[word]);
    return count;
}

int pqb_frag_out_next(const struct pqb_frag_out *f)
{
    for (unsigned word = 0; word < 2; word++) {
        const uint64_t wanted =
            ~(f->sent[word] | f->acked[word]) & word_mask(pqb_frag_out_count(f), word);

        if (wanted != 0)
            return (int)(64 * word) + __builtin_ctzll(wanted);
    }
    return -1;
}

void pqb_frag_out_get(const struct pqb_frag_out *f, unsigned index, const uint8_t *content,
                      struct pqb_frame *out)
{
    const uint32_t start = index * PQB_FRAG_LEN;

    PQB_ASSERT(f->id != 0 && index < pqb_frag_out_count(f));
    *out = (struct pqb_frame){
        .type = PQB_FRAME_FRAG,
        .frag = {.id = f->id,
                 .frame = f->frame,
                 .seq = f->seq,
                 .total = f->total,
                 .hash = f->hash,
                 .index = (uint16_t)index,
                 .piece = {content + start, PQB_MIN(f->total - start, (uint32_t)PQB_FRAG_LEN)}},
    };
}

void pqb_frag_out_on_sent(struct pqb_frag_out *f, unsigned index)
{
    PQB_ASSERT(f->id != 0 && index < pqb_frag_out_count(f));
    f->sent[index / 64] |= bit_of(index);
}

// Bits first..last (last < 128) of word `word`.
static uint64_t range_mask(uint64_t first, uint64_t last, unsigned word)
{
    return word_mask((unsigned)last + 1, word) & ~word_mask((unsigned)first, word);
}

unsigned pqb_frag_out_on_ack(struct pqb_frag_out *f, const struct pqb_ranges *received)
{
    const uint64_t count = pqb_frag_out_count(f);
    unsigned newly = 0;

    PQB_ASSERT(f->id != 0);
    for (size_t i = 0; i < received->count; i++) {
        const struct pqb_range *r = &received->at[i];

        if (r->first >= count || r->first > r->last)
            continue;
        const uint64_t last = PQB_MIN(r->last, count - 1);
        for (unsigned word = 0; word < 2; word++) {
            const uint64_t fresh = range_mask(r->first, last, word) & ~f->acked[word];

            newly += (unsigned)__builtin_popcountll(fresh);
            f->acked[word] |= fresh;
        }
    }
    return newly;
}

void pqb_frag_out_on_lost(struct pqb_frag_out *f)
{
    for (unsigned word = 0; word < 2; word++)
        f->sent[word] &= f->acked[word];
}

void pqb_frag_out_on_reset(struct pqb_frag_out *f)
{
    for (unsigned word = 0; word < 2; word++)
        f->sent[word] = f->acked[word] = 0;
}

bool pqb_frag_out_is_all_acked(const struct pqb_frag_out *f)
{
    for (unsigned word = 0; word < 2; word++) {
        if (f->acked[word] != word_mask(pqb_frag_out_count(f), word))
            return false;
    }
    return true;
}
