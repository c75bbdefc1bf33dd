#include "common/proto/path.h"

#include <string.h>

#include "common/base/check.h"
#include "common/base/defs.h"

// Header, and a frame with a challenge in it.
#define CHALLENGE_DATAGRAM_LEN (PQB_DATA_HEADER_LEN + PQB_FRAME_HEADER_LEN + 3 + PQB_PATH_LEN)

static void drop_candidate(struct pqb_path *p)
{
    p->candidate = (struct pqb_addr){0};
    p->budget = 0;
    p->tries = 0;
    p->is_challenge_due = false;
    p->retry_at = PQB_NEVER;
}

void pqb_path_init(struct pqb_path *p, const struct pqb_addr *current)
{
    *p = (struct pqb_path){.current = *current};
    drop_candidate(p);
}

static bool has_candidate(const struct pqb_path *p)
{
    return p->candidate.family != 0;
}

static void add_budget(struct pqb_path *p, uint32_t len)
{
    const uint64_t budget = p->budget + (uint64_t)PQB_PATH_AMPLIFICATION * len;

    p->budget = (uint32_t)PQB_MIN(budget, (uint64_t)UINT32_MAX);
}

void pqb_path_on_datagram(struct pqb_path *p, const struct pqb_addr *from, uint32_t len,
                          bool is_newest, struct pqb_rng *rng, pqb_tstamp now)
{
    (void)now;
    PQB_ASSERT(from->family != 0);
    if (pqb_addr_is_equal(from, &p->current)) {
        // The peer still speaks from here: whoever showed a datagram elsewhere was ahead by luck.
        if (is_newest)
            drop_candidate(p);
        return;
    }
    if (!has_candidate(p) || !pqb_addr_is_equal(from, &p->candidate)) {
        if (!is_newest)
            return;
        drop_candidate(p);
        p->candidate = *from;
        pqb_rng_fill(rng, p->challenge, sizeof(p->challenge));
        p->is_challenge_due = true;
    }
    add_budget(p, len);
}

bool pqb_path_poll_challenge(struct pqb_path *p, uint32_t len, pqb_duration interval,
                             uint8_t out[PQB_PATH_LEN], pqb_tstamp now)
{
    if (!p->is_challenge_due || p->budget < len)
        return false;
    PQB_ASSERT(has_candidate(p) && p->tries < PQB_PATH_TRIES);
    memcpy(out, p->challenge, PQB_PATH_LEN);
    p->budget -= len;
    p->tries++;
    p->is_challenge_due = false;
    p->retry_at = pqb_tstamp_add(now, interval);
    return true;
}

bool pqb_path_on_response(struct pqb_path *p, const uint8_t data[PQB_PATH_LEN], bool *is_same_ip)
{
    if (p->tries == 0 || memcmp(data, p->challenge, PQB_PATH_LEN) != 0)
        return false;
    *is_same_ip = pqb_addr_is_same_ip(&p->current, &p->candidate);
    p->current = p->candidate;
    drop_candidate(p);
    return true;
}

bool pqb_path_on_timeout(struct pqb_path *p, pqb_tstamp now)
{
    if (now < p->retry_at)
        return false;
    PQB_ASSERT(has_candidate(p) && p->tries > 0);
    if (p->tries >= PQB_PATH_TRIES) {
        drop_candidate(p);
        return true;
    }
    p->is_challenge_due = true;
    p->retry_at = PQB_NEVER;
    return false;
}

pqb_tstamp pqb_path_deadline(const struct pqb_path *p)
{
    return p->retry_at;
}

struct pqb_addr pqb_path_take_destination(struct pqb_path *p, uint32_t len)
{
    // The first challenge goes before anything else, and one more must stay possible.
    if (!has_candidate(p) || p->tries == 0 || p->budget < len + CHALLENGE_DATAGRAM_LEN)
        return p->current;
    p->budget -= len;
    return p->candidate;
}
