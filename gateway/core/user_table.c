#include "gateway/core/user_table.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"

#define INDEX_CAPACITY_MIN 4

static struct pqb_user *of_uid_node(struct pqb_hnode *node)
{
    return PQB_CONTAINER_OF(node, struct pqb_user, by_uid);
}

// uid is a counter of the store's, not a peer's choice; mixing spreads it over the buckets.
static uint64_t uid_hash(uint64_t uid)
{
    return uid * UINT64_C(0x9e3779b97f4a7c15) ^ uid >> 32;
}

int pqb_user_table_init(struct pqb_user_table *t, const uint8_t key[PQB_SIPHASH_KEY_LEN])
{
    int err;

    *t = (struct pqb_user_table){.entries = 0};
    memcpy(t->key, key, sizeof(t->key));
    pqb_list_init(&t->indexed);
    pqb_list_init(&t->kept);
    err = pqb_htable_init(&t->by_uid);
    if (err != PQB_OK)
        return err;
    err = pqb_htable_init(&t->by_name);
    if (err != PQB_OK)
        pqb_htable_fini(&t->by_uid);
    return err;
}

// Of a user with so long a name, which begins where the compiler would only pad.
static size_t size_of(size_t name_len)
{
    return PQB_MAX(sizeof(struct pqb_user), offsetof(struct pqb_user, name) + name_len);
}

static void index_clear(struct pqb_user_table *t, struct pqb_user *u)
{
    if (u->index_count > 0) {
        pqb_list_unlink(&u->listed);
        t->indexed_count--;
    }
    t->entries -= u->index_count;
    t->bytes -= u->index_capacity * sizeof(*u->index);
    free(u->index);
    u->index = NULL;
    u->index_first = u->index_count = u->index_capacity = 0;
}

static void destroy(struct pqb_user_table *t, struct pqb_user *u)
{
    index_clear(t, u);
    pqb_list_unlink(&u->listed); // from `kept`, if anywhere
    pqb_htable_remove(&t->by_uid, &u->by_uid);
    if (u->name_len > 0)
        pqb_htable_remove(&t->by_name, &u->by_name);
    t->bytes -= size_of(u->name_len);
    free(u);
}

void pqb_user_table_fini(struct pqb_user_table *t)
{
    struct pqb_hnode *node;

    while ((node = pqb_htable_next(&t->by_uid, NULL)))
        destroy(t, of_uid_node(node));
    pqb_htable_fini(&t->by_name);
    pqb_htable_fini(&t->by_uid);
}

struct pqb_user *pqb_user_table_get(const struct pqb_user_table *t, uint64_t uid)
{
    struct pqb_hnode *node = pqb_htable_find(&t->by_uid, uid_hash(uid));

    while (node && of_uid_node(node)->uid != uid)
        node = pqb_htable_find_next(node);
    return node ? of_uid_node(node) : NULL;
}

struct pqb_user *pqb_user_table_get_name(const struct pqb_user_table *t, const char *name,
                                         size_t len)
{
    struct pqb_hnode *node = pqb_htable_find(&t->by_name, pqb_siphash24(t->key, name, len));

    for (; node; node = pqb_htable_find_next(node)) {
        struct pqb_user *u = PQB_CONTAINER_OF(node, struct pqb_user, by_name);

        if (u->name_len == len && memcmp(u->name, name, len) == 0)
            return u;
    }
    return NULL;
}

struct pqb_user *pqb_user_table_make(struct pqb_user_table *t, uint64_t uid, uint32_t uhash)
{
    struct pqb_user *u = pqb_user_table_get(t, uid);

    if (u)
        return u;
    u = calloc(1, size_of(0));
    if (!u)
        return NULL;
    u->uid = uid;
    u->uhash = uhash;
    pqb_list_init(&u->listed);
    pqb_list_init(&u->sessions);
    pqb_htable_insert(&t->by_uid, &u->by_uid, uid_hash(uid));
    t->bytes += size_of(0);
    return u;
}

struct pqb_user *pqb_user_table_name(struct pqb_user_table *t, struct pqb_user *u, const char *name,
                                     size_t len)
{
    struct pqb_user *named;

    PQB_ASSERT(len > 0 && len <= UINT8_MAX);
    if (u->name_len > 0)
        return u;
    PQB_ASSERT(u->session_count == 0 && pqb_list_is_empty(&u->sessions)); // they know its place
    named = malloc(size_of(len));
    if (!named)
        return NULL;
    memcpy(named, u, sizeof(*u));
    pqb_list_init(&named->listed);
    pqb_list_init(&named->sessions);
    pqb_list_push_back(&u->listed, &named->listed);
    pqb_list_unlink(&u->listed);
    pqb_htable_remove(&t->by_uid, &u->by_uid);
    pqb_htable_insert(&t->by_uid, &named->by_uid, uid_hash(named->uid));
    t->bytes += size_of(len) - size_of(0);
    free(u);
    memcpy(named->name, name, len);
    named->name_len = (uint8_t)len;
    pqb_htable_insert(&t->by_name, &named->by_name, pqb_siphash24(t->key, name, len));
    return named;
}

void pqb_user_table_release(struct pqb_user_table *t, struct pqb_user *u)
{
    if (u->session_count == 0 && pqb_list_is_empty(&u->listed))
        destroy(t, u);
}

void pqb_user_table_keep(struct pqb_user_table *t, struct pqb_user *u)
{
    t->has_kept = true;
    if (pqb_list_is_empty(&u->listed))
        pqb_list_push_back(&t->kept, &u->listed);
}

void pqb_user_table_release_kept(struct pqb_user_table *t)
{
    struct pqb_list *node;

    t->has_kept = false;
    while ((node = pqb_list_pop_front(&t->kept)))
        pqb_user_table_release(t, PQB_CONTAINER_OF(node, struct pqb_user, listed));
}

// Makes room for one more entry at the end: by moving down, or by growing.
static int index_reserve(struct pqb_user_table *t, struct pqb_user *u)
{
    struct pqb_index_entry *grown;
    uint32_t capacity;

    if (u->index_first + u->index_count < u->index_capacity)
        return PQB_OK;
    if (u->index_first > u->index_capacity / 2) {
        memmove(u->index, u->index + u->index_first, u->index_count * sizeof(*u->index));
        u->index_first = 0;
        return PQB_OK;
    }
    capacity = u->index_capacity ? u->index_capacity * 2 : INDEX_CAPACITY_MIN;
    grown = realloc(u->index, capacity * sizeof(*grown));
    if (!grown)
        return PQB_ERR_NOMEM;
    t->bytes += (capacity - u->index_capacity) * sizeof(*grown);
    u->index = grown;
    u->index_capacity = capacity;
    return PQB_OK;
}

int pqb_user_table_index(struct pqb_user_table *t, struct pqb_user *u, uint64_t iseq, uint64_t gseq)
{
    int err = index_reserve(t, u);
    struct pqb_index_entry *last;

    if (err != PQB_OK)
        return err;
    last = u->index + u->index_first + u->index_count;
    PQB_ASSERT(u->index_count == 0 || (last[-1].iseq < iseq && last[-1].gseq < gseq));
    *last = (struct pqb_index_entry){.iseq = iseq, .gseq = gseq};
    if (u->index_count++ == 0) {
        pqb_list_unlink(&u->listed); // the index keeps it from here on
        pqb_list_push_back(&t->indexed, &u->listed);
        t->indexed_count++;
    }
    t->entries++;
    return PQB_OK;
}

const struct pqb_index_entry *pqb_user_index_at(const struct pqb_user *u, uint64_t iseq,
                                                uint64_t journal_first)
{
    uint32_t low = u->index_first;
    const uint32_t end = u->index_first + u->index_count;
    uint32_t high = end;

    // Both numbers grow together, so one search by "either is too small" is sound.
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;

        if (u->index[middle].iseq < iseq || u->index[middle].gseq < journal_first)
            low = middle + 1;
        else
            high = middle;
    }
    return low < end ? &u->index[low] : NULL;
}

static void index_prune(struct pqb_user_table *t, struct pqb_user *u, uint64_t journal_first)
{
    while (u->index_count > 0 && u->index[u->index_first].gseq < journal_first) {
        u->index_first++;
        t->entries--;
        if (--u->index_count == 0) {
            pqb_list_unlink(&u->listed);
            t->indexed_count--;
        }
    }
    if (u->index_count == 0)
        index_clear(t, u);
}

void pqb_user_table_sweep(struct pqb_user_table *t, uint64_t journal_first, size_t users_max)
{
    PQB_ASSERT(!t->has_kept);
    if (journal_first != t->swept_first) {
        t->swept_first = journal_first;
        t->sweep_left = t->indexed_count;
    }
    for (; t->sweep_left > 0 && users_max > 0; t->sweep_left--, users_max--) {
        struct pqb_list *node = pqb_list_pop_front(&t->indexed);
        struct pqb_user *u;

        if (!node)
            break;
        pqb_list_push_back(&t->indexed, node);
        u = PQB_CONTAINER_OF(node, struct pqb_user, listed);
        index_prune(t, u, journal_first);
        pqb_user_table_release(t, u);
    }
}
