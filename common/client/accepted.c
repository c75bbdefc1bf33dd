// Which seqs of the present epoch the gateway has told to be accepted, for the day on which it
// knows less than it did: its store was set back, or an async one lost its end.
#include <assert.h>
#include <string.h>

#include "common/base/check.h"
#include "common/client/impl.h"

static_assert((PQB_CLIENT_ACCEPTED & (PQB_CLIENT_ACCEPTED - 1)) == 0, "a seq's place is masked");
static_assert(PQB_CLIENT_ACCEPTED >= 2 * PQB_SEQ_WINDOW,
              "what RESP can still name of the consumed is remembered one by one");

static uint64_t *word_of(struct pqb_accepted *a, uint64_t seq)
{
    return &a->words[seq % PQB_CLIENT_ACCEPTED / 64];
}

static uint64_t bit_of(uint64_t seq)
{
    return UINT64_C(1) << seq % 64;
}

void pqb_accepted_clear(struct pqb_accepted *a)
{
    *a = (struct pqb_accepted){0};
}

void pqb_accepted_record(struct pqb_accepted *a, uint64_t seq)
{
    if (a->first == 0)
        a->first = a->last = seq;
    if (seq > a->last + PQB_CLIENT_ACCEPTED)
        memset(a->words, 0, sizeof(a->words));
    else
        for (uint64_t s = a->last + 1; s <= seq; s++)
            *word_of(a, s) &= ~bit_of(s);
    a->first = PQB_MIN(a->first, seq);
    a->last = PQB_MAX(a->last, seq);
    if (a->last - seq < PQB_CLIENT_ACCEPTED)
        *word_of(a, seq) |= bit_of(seq);
}

// Those too old to be remembered one by one pass for accepted.
static bool is_accepted(struct pqb_accepted *a, uint64_t seq)
{
    return a->last - seq >= PQB_CLIENT_ACCEPTED || (*word_of(a, seq) & bit_of(seq)) != 0;
}

static bool is_in(const struct pqb_range *ranges, size_t count, uint64_t seq)
{
    for (size_t i = 0; i < count; i++) {
        if (seq >= ranges[i].first && seq <= ranges[i].last)
            return true;
    }
    return false;
}

bool pqb_accepted_find_lost(struct pqb_accepted *a, const struct pqb_resp *resp, uint64_t *from,
                            uint64_t *to, uint64_t *unknown)
{
    const size_t count = resp->consumed_count;
    uint64_t end = a->last;

    *unknown = UINT64_MAX;
    if (a->first == 0 || resp->low > a->last)
        return false;
    // RESP names the lowest ranges; above the last of a full list nothing is known.
    if (count == PQB_FRAME_RANGES_MAX)
        end = PQB_MIN(end, resp->consumed[count - 1].last);
    *unknown = end + 1;
    *from = *to = 0;
    for (uint64_t seq = PQB_MAX(a->first, resp->low); seq <= end; seq++) {
        if (seq - resp->low >= PQB_SEQ_WINDOW) { // it can know none of these
            *from = *from != 0 ? *from : seq;
            *to = a->last;
            break;
        }
        if (!is_accepted(a, seq) || is_in(resp->consumed, count, seq))
            continue;
        *from = *from != 0 ? *from : seq;
        *to = seq;
    }
    if (*from != 0 && end < a->last) // the latest are the likeliest to be lost
        *to = a->last;
    return *from != 0;
}
