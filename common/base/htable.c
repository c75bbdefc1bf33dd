#include "common/base/htable.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/err.h"

#define BUCKETS_MIN 16

int pqb_htable_init(struct pqb_htable *t)
{
    *t = (struct pqb_htable){.mask = BUCKETS_MIN - 1};
    t->buckets = calloc(BUCKETS_MIN, sizeof(struct pqb_hnode *));
    return t->buckets != NULL ? PQB_OK : PQB_ERR_NOMEM;
}

void pqb_htable_fini(struct pqb_htable *t)
{
    free(t->buckets);
    *t = (struct pqb_htable){0};
}

static void link_node(struct pqb_hnode **buckets, size_t mask, struct pqb_hnode *node)
{
    struct pqb_hnode **bucket = &buckets[node->hash & mask];

    node->next = *bucket;
    *bucket = node;
}

// Does nothing when there is no memory.
static void resize(struct pqb_htable *t, size_t new_mask)
{
    struct pqb_hnode **buckets = calloc(new_mask + 1, sizeof(struct pqb_hnode *));

    if (buckets == NULL)
        return;
    for (size_t i = 0; i <= t->mask; i++) {
        struct pqb_hnode *node = t->buckets[i];

        while (node != NULL) {
            struct pqb_hnode *next = node->next;

            link_node(buckets, new_mask, node);
            node = next;
        }
    }
    free(t->buckets);
    t->buckets = buckets;
    t->mask = new_mask;
}

void pqb_htable_insert(struct pqb_htable *t, struct pqb_hnode *node, uint64_t hash)
{
    PQB_ASSERT(t->buckets != NULL);

    if (t->count > t->mask)
        resize(t, t->mask * 2 + 1);
    node->hash = hash;
    link_node(t->buckets, t->mask, node);
    t->count++;
}

void pqb_htable_shrink(struct pqb_htable *t)
{
    size_t mask = t->mask;

    while (mask >= BUCKETS_MIN && t->count < mask / 4)
        mask /= 2;
    if (mask != t->mask)
        resize(t, mask);
}

void pqb_htable_remove(struct pqb_htable *t, struct pqb_hnode *node)
{
    PQB_ASSERT(t->count > 0);

    struct pqb_hnode **link = &t->buckets[node->hash & t->mask];

    while (*link != node) {
        PQB_ASSERT(*link != NULL); // else `node` is not in this table
        link = &(*link)->next;
    }
    *link = node->next;
    node->next = NULL;
    t->count--;
}

static struct pqb_hnode *first_with(struct pqb_hnode *node, uint64_t hash)
{
    while (node != NULL && node->hash != hash)
        node = node->next;
    return node;
}

struct pqb_hnode *pqb_htable_find(const struct pqb_htable *t, uint64_t hash)
{
    PQB_ASSERT(t->buckets != NULL);
    return first_with(t->buckets[hash & t->mask], hash);
}

struct pqb_hnode *pqb_htable_find_next(const struct pqb_hnode *node)
{
    return first_with(node->next, node->hash);
}

struct pqb_hnode *pqb_htable_next(const struct pqb_htable *t, const struct pqb_hnode *node)
{
    size_t i = 0;

    PQB_ASSERT(t->buckets != NULL);
    if (node != NULL) {
        if (node->next != NULL)
            return node->next;
        i = (node->hash & t->mask) + 1;
    }
    while (i <= t->mask && t->buckets[i] == NULL)
        i++;
    return i <= t->mask ? t->buckets[i] : NULL;
}
