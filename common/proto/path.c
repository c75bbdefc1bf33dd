#include "common/proto/path.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"

// Header, a frame with a challenge in it, and the tag.
#define CHALLENGE_DATAGRAM_LEN \
    (PQB_DATA_HEADER_LEN + PQB_FRAME_HEADER_LEN + 3 + PQB_PATH_LEN + PQB_TAG_LEN)

static void drop_candidate(struct pqb_path *p)
{
    free(p->candidate);
    p->candidate = NULL;
}

void pqb_path_init(struct pqb_path *p, const struct pqb_addr *current)
{
    *p = (struct pqb_path){.current = *current};
}

void pqb_path_fini(struct pqb_path *p)
{
    drop_candidate(p);
}

// In place of the one that was there.
static int set_candidate(struct pqb_path *p, const struct pqb_addr *addr, struct pqb_rng *rng)
{
    if (!p->candidate)
        p->candidate = malloc(sizeof(*p->candidate));
    if (!p->candidate)
        return PQB_ERR_NOMEM;
    *p->candidate =
        (struct pqb_path_candidate){.addr = *addr, .is_challenge_due = true, .retry_at = PQB_NEVER};
    pqb_rng_fill(rng, p->candidate->challenge, sizeof(p->candidate->challenge));
    return PQB_OK;
}

static void add_budget(struct pqb_path_candidate *c, uint32_t len)
{
    const uint64_t budget = c->budget + (uint64_t)PQB_PATH_AMPLIFICATION * len;

    c->budget = (uint32_t)PQB_MIN(budget, (uint64_t)UINT32_MAX);
}

int pqb_path_on_datagram(struct pqb_path *p, const struct pqb_addr *from, uint32_t len,
                         bool is_newest, struct pqb_rng *rng)
{
    PQB_ASSERT(from->family != 0);
    if (pqb_addr_is_equal(from, &p->current)) {
        // The peer still speaks from here: whoever showed a datagram elsewhere was ahead by luck.
        if (is_newest)
            drop_candidate(p);
        return PQB_OK;
    }
    if (!p->candidate || !pqb_addr_is_equal(from, &p->candidate->addr)) {
        if (!is_newest)
            return PQB_OK;
        if (set_candidate(p, from, rng) != PQB_OK)
            return PQB_ERR_NOMEM;
    }
    add_budget(p->candidate, len);
    return PQB_OK;
}

const struct pqb_path_candidate *pqb_path_poll_challenge(struct pqb_path *p, uint32_t len,
                                                         pqb_duration interval, pqb_tstamp now)
{
    struct pqb_path_candidate *c = p->candidate;

    if (!c || !c->is_challenge_due || c->budget < len)
        return NULL;
    PQB_ASSERT(c->tries < PQB_PATH_TRIES);
    c->budget -= len;
    c->tries++;
    c->is_challenge_due = false;
    c->retry_at = pqb_tstamp_add(now, interval);
    return c;
}

bool pqb_path_on_response(struct pqb_path *p, const uint8_t data[PQB_PATH_LEN], bool *is_same_ip)
{
    const struct pqb_path_candidate *c = p->candidate;

    if (!c || c->tries == 0 || memcmp(data, c->challenge, PQB_PATH_LEN) != 0)
        return false;
    *is_same_ip = pqb_addr_is_same_ip(&p->current, &c->addr);
    p->current = c->addr;
    drop_candidate(p);
    return true;
}

bool pqb_path_on_timeout(struct pqb_path *p, pqb_tstamp now)
{
    struct pqb_path_candidate *c = p->candidate;

    if (!c || now < c->retry_at)
        return false;
    PQB_ASSERT(c->tries > 0);
    if (c->tries >= PQB_PATH_TRIES) {
        drop_candidate(p);
        return true;
    }
    c->is_challenge_due = true;
    c->retry_at = PQB_NEVER;
    return false;
}

pqb_tstamp pqb_path_deadline(const struct pqb_path *p)
{
    return p->candidate ? p->candidate->retry_at : PQB_NEVER;
}

struct pqb_addr pqb_path_take_destination(struct pqb_path *p, uint32_t len)
{
    struct pqb_path_candidate *c = p->candidate;

    // The first challenge goes before anything else, and one more must stay possible.
    if (!c || c->tries == 0 || c->budget < len + CHALLENGE_DATAGRAM_LEN)
        return p->current;
    c->budget -= len;
    return c->addr;
}
