#include "gateway/core/inflight.h"

#include <stdlib.h>

static struct pqb_inflight *of_node(struct pqb_hnode *node)
{
    return PQB_CONTAINER_OF(node, struct pqb_inflight, node);
}

// A device can only fill its own window of seqs, so nobody can aim at one bucket of another.
static uint64_t hash_of(const struct pqb_inflight *key)
{
    uint64_t hash = key->uid * UINT64_C(0x9e3779b97f4a7c15);

    hash = (hash ^ hash >> 29 ^ key->devno) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ hash >> 32 ^ key->seq) * UINT64_C(0x94d049bb133111eb);
    return hash ^ hash >> 31;
}

int pqb_inflight_table_init(struct pqb_inflight_table *t)
{
    return pqb_htable_init(&t->by_seq);
}

void pqb_inflight_table_fini(struct pqb_inflight_table *t)
{
    struct pqb_hnode *node;

    while ((node = pqb_htable_next(&t->by_seq, NULL)))
        pqb_inflight_table_remove(t, of_node(node));
    pqb_htable_fini(&t->by_seq);
}

struct pqb_inflight *pqb_inflight_table_get(const struct pqb_inflight_table *t,
                                            const struct pqb_inflight *key)
{
    struct pqb_hnode *node = pqb_htable_find(&t->by_seq, hash_of(key));

    for (; node; node = pqb_htable_find_next(node)) {
        struct pqb_inflight *f = of_node(node);

        if (f->uid == key->uid && f->devno == key->devno && f->epoch == key->epoch &&
            f->seq == key->seq)
            return f;
    }
    return NULL;
}

struct pqb_inflight *pqb_inflight_table_add(struct pqb_inflight_table *t,
                                            const struct pqb_inflight *key)
{
    struct pqb_inflight *f = malloc(sizeof(*f));

    if (!f)
        return NULL;
    *f = *key;
    pqb_htable_insert(&t->by_seq, &f->node, hash_of(f));
    return f;
}

void pqb_inflight_table_remove(struct pqb_inflight_table *t, struct pqb_inflight *entry)
{
    pqb_htable_remove(&t->by_seq, &entry->node);
    free(entry);
}
