#include "gateway/core/hellos.h"

#include <stdlib.h>

#include "common/base/err.h"

int pqb_hellos_init(struct pqb_hellos *h)
{
    h->ring = malloc(PQB_HELLOS_MAX * sizeof(*h->ring));
    h->first = h->count = 0;
    return h->ring ? PQB_OK : PQB_ERR_NOMEM;
}

void pqb_hellos_fini(struct pqb_hellos *h)
{
    free(h->ring);
    h->ring = NULL;
}

struct pqb_waiting_hello *pqb_hellos_push(struct pqb_hellos *h)
{
    if (h->count == PQB_HELLOS_MAX)
        return NULL;
    return &h->ring[(h->first + h->count++) % PQB_HELLOS_MAX];
}

const struct pqb_waiting_hello *pqb_hellos_pop(struct pqb_hellos *h)
{
    const struct pqb_waiting_hello *hello;

    if (h->count == 0)
        return NULL;
    hello = &h->ring[h->first];
    h->first = (h->first + 1) % PQB_HELLOS_MAX;
    h->count--;
    return hello;
}
