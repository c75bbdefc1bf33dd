#include "common/proto/replay_window.h"

#include "common/base/check.h"

static uint64_t *slot(struct pqb_replay_window *w, uint64_t word)
{
    return &w->words[word % PQB_REPLAY_WORDS];
}

// Moves the window forward to `pn`, forgetting every word it slides over.
static void advance(struct pqb_replay_window *w, uint64_t pn)
{
    const uint64_t word = pn / 64;
    uint64_t steps = word - w->largest / 64;

    PQB_ASSERT(pn > w->largest);
    if (steps > PQB_REPLAY_WORDS)
        steps = PQB_REPLAY_WORDS;
    for (uint64_t i = 0; i < steps; i++)
        *slot(w, word - i) = 0;
    w->largest = pn;
}

void pqb_replay_window_init(struct pqb_replay_window *w)
{
    *w = (struct pqb_replay_window){0};
}

static uint64_t bit_of(uint64_t pn)
{
    return UINT64_C(1) << (pn % 64);
}

enum pqb_replay pqb_replay_window_check(const struct pqb_replay_window *w, uint64_t pn)
{
    if (pn == 0)
        return PQB_REPLAY_STALE;
    if (pn > w->largest)
        return PQB_REPLAY_NEW;
    if (w->largest - pn > PQB_REPLAY_SPAN)
        return PQB_REPLAY_STALE;
    return (w->words[pn / 64 % PQB_REPLAY_WORDS] & bit_of(pn)) != 0 ? PQB_REPLAY_DUPLICATE
                                                                    : PQB_REPLAY_NEW;
}

enum pqb_replay pqb_replay_window_record(struct pqb_replay_window *w, uint64_t pn)
{
    const enum pqb_replay verdict = pqb_replay_window_check(w, pn);

    if (verdict != PQB_REPLAY_NEW)
        return verdict;
    if (pn > w->largest)
        advance(w, pn);
    *slot(w, pn / 64) |= bit_of(pn);
    return PQB_REPLAY_NEW;
}
