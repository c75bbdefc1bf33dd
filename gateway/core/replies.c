#include "gateway/core/replies.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/err.h"

int pqb_replies_init(struct pqb_replies *r)
{
    r->ring = malloc(PQB_REPLIES_MAX * sizeof(*r->ring));
    r->first = r->count = 0;
    return r->ring ? PQB_OK : PQB_ERR_NOMEM;
}

void pqb_replies_fini(struct pqb_replies *r)
{
    free(r->ring);
    r->ring = NULL;
}

struct pqb_reply *pqb_replies_push(struct pqb_replies *r, const struct pqb_addr *to, size_t len_max)
{
    struct pqb_reply *reply;

    if (r->count == PQB_REPLIES_MAX)
        return NULL;
    reply = &r->ring[(r->first + r->count++) % PQB_REPLIES_MAX];
    reply->to = *to;
    reply->len = 0;
    reply->len_max = len_max;
    return reply;
}

const struct pqb_reply *pqb_replies_pop(struct pqb_replies *r)
{
    const struct pqb_reply *reply = &r->ring[r->first];

    if (r->count == 0)
        return NULL;
    PQB_ASSERT(reply->len > 0 && reply->len <= reply->len_max);
    r->first = (r->first + 1) % PQB_REPLIES_MAX;
    r->count--;
    return reply;
}
