#include "gateway/core/half_open.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/proto/path.h"
#include "common/proto/server_keys.h"

static struct pqb_half_open *of_cid_node(struct pqb_hnode *node)
{
    return PQB_CONTAINER_OF(node, struct pqb_half_open, by_cid);
}

static uint64_t init_hash(const struct pqb_half_open_table *t, const struct pqb_addr *from,
                          uint64_t init_id)
{
    struct {
        uint8_t ip[16];
        uint64_t init_id, rest;
    } key = {.init_id = init_id, .rest = (uint64_t)from->port << 8 | from->family};

    memcpy(key.ip, from->ip, sizeof(key.ip));
    return pqb_siphash24(t->key, &key, sizeof(key));
}

static uint64_t device_hash(const struct pqb_half_open_table *t, const struct pqb_half_open *h)
{
    uint8_t key[1 + PQB_USER_MAX + PQB_DEVICE_MAX] = {h->user_len};

    memcpy(key + 1, h->user, h->user_len);
    memcpy(key + 1 + h->user_len, h->device, h->device_len);
    return pqb_siphash24(t->key, key, (size_t)1 + h->user_len + h->device_len);
}

int pqb_half_open_table_init(struct pqb_half_open_table *t, const uint8_t key[PQB_SIPHASH_KEY_LEN])
{
    int err;

    *t = (struct pqb_half_open_table){.count = 0};
    memcpy(t->key, key, sizeof(t->key));
    pqb_list_init(&t->age);
    err = pqb_htable_init(&t->by_cid);
    if (err != PQB_OK)
        return err;
    err = pqb_htable_init(&t->by_init);
    if (err == PQB_OK)
        err = pqb_htable_init(&t->by_device);
    if (err != PQB_OK) {
        pqb_htable_fini(&t->by_init);
        pqb_htable_fini(&t->by_cid);
    }
    return err;
}

void pqb_half_open_table_fini(struct pqb_half_open_table *t)
{
    struct pqb_hnode *node;

    while ((node = pqb_htable_next(&t->by_cid, NULL)))
        pqb_half_open_table_remove(t, of_cid_node(node));
    pqb_htable_fini(&t->by_device);
    pqb_htable_fini(&t->by_init);
    pqb_htable_fini(&t->by_cid);
}

struct pqb_half_open *pqb_half_open_table_get(const struct pqb_half_open_table *t, uint64_t cid)
{
    struct pqb_hnode *node = pqb_htable_find(&t->by_cid, cid);

    return node ? of_cid_node(node) : NULL; // the hash is the id itself, which is unique
}

struct pqb_half_open *pqb_half_open_table_get_init(const struct pqb_half_open_table *t,
                                                   const struct pqb_addr *from, uint64_t init_id)
{
    struct pqb_hnode *node = pqb_htable_find(&t->by_init, init_hash(t, from, init_id));

    for (; node; node = pqb_htable_find_next(node)) {
        struct pqb_half_open *h = PQB_CONTAINER_OF(node, struct pqb_half_open, by_init);

        if (h->init_id == init_id && pqb_addr_is_equal(&h->from, from))
            return h;
    }
    return NULL;
}

struct pqb_half_open *pqb_half_open_table_add(struct pqb_half_open_table *t,
                                              const struct pqb_half_open *proto)
{
    struct pqb_half_open *h = malloc(sizeof(*h));

    if (!h)
        return NULL;
    *h = *proto;
    h->stage = PQB_LOGIN_LOOKUP;
    h->resp = NULL;
    h->cipher = PQB_CIPHER_NONE;
    h->held_count = 0;
    pqb_list_init(&h->held);
    pqb_list_push_back(&t->age, &h->age);
    pqb_htable_insert(&t->by_cid, &h->by_cid, h->cid);
    pqb_htable_insert(&t->by_init, &h->by_init, init_hash(t, &h->from, h->init_id));
    pqb_htable_insert(&t->by_device, &h->by_device, device_hash(t, h));
    t->count++;
    return h;
}

static size_t memory_of(const struct pqb_half_open *h)
{
    size_t bytes = sizeof(*h) + (h->resp ? h->resp_len : 0);

    PQB_LIST_FOREACH (it, &h->held)
        bytes += sizeof(struct pqb_held_datagram) +
                 PQB_CONTAINER_OF(it, struct pqb_held_datagram, link)->len;
    return bytes;
}

size_t pqb_half_open_table_memory(const struct pqb_half_open_table *t)
{
    size_t bytes =
        (t->by_cid.mask + 1 + t->by_init.mask + 1 + t->by_device.mask + 1) * sizeof(void *);
    struct pqb_hnode *node = NULL;

    while ((node = pqb_htable_next(&t->by_cid, node)))
        bytes += memory_of(PQB_CONTAINER_OF(node, struct pqb_half_open, by_cid));
    return bytes;
}

void pqb_half_open_table_remove(struct pqb_half_open_table *t, struct pqb_half_open *h)
{
    struct pqb_list *node;

    while ((node = pqb_list_pop_front(&h->held)))
        free(PQB_CONTAINER_OF(node, struct pqb_held_datagram, link));
    PQB_ASSERT(t->held_total >= h->held_count);
    t->held_total -= h->held_count;
    pqb_list_unlink(&h->age);
    pqb_htable_remove(&t->by_device, &h->by_device);
    pqb_htable_remove(&t->by_init, &h->by_init);
    pqb_htable_remove(&t->by_cid, &h->by_cid);
    t->count--;
    free(h->resp);
    pqb_secret_erase(h, sizeof(*h));
    free(h);
}

static bool is_same_device(const struct pqb_half_open *a, const struct pqb_half_open *b)
{
    return a->user_len == b->user_len && a->device_len == b->device_len &&
           memcmp(a->user, b->user, a->user_len) == 0 &&
           memcmp(a->device, b->device, a->device_len) == 0;
}

bool pqb_half_open_table_crowd_out(struct pqb_half_open_table *t, const struct pqb_half_open *proto)
{
    struct pqb_half_open *first = NULL;
    unsigned count = 0;

    for (struct pqb_hnode *node = pqb_htable_find(&t->by_device, device_hash(t, proto)); node;
         node = pqb_htable_find_next(node)) {
        struct pqb_half_open *h = PQB_CONTAINER_OF(node, struct pqb_half_open, by_device);

        if (h->stage == PQB_LOGIN_CONFIRMING || !is_same_device(h, proto))
            continue;
        count++;
        if (!first || h->created_at < first->created_at)
            first = h;
    }
    if (count < PQB_HALF_OPEN_DEVICE_MAX)
        return false;
    pqb_half_open_table_remove(t, first);
    return true;
}

bool pqb_half_open_holds(const struct pqb_half_open *h, const uint8_t *data, size_t len)
{
    PQB_LIST_FOREACH (it, &h->held) {
        const struct pqb_held_datagram *d = PQB_CONTAINER_OF(it, struct pqb_held_datagram, link);

        if (d->len == len && memcmp(d->data, data, len) == 0)
            return true;
    }
    return false;
}

bool pqb_half_open_hold(struct pqb_half_open_table *t, struct pqb_half_open *h,
                        const struct pqb_addr *from, const uint8_t *data, size_t len)
{
    struct pqb_held_datagram *d;

    if (h->held_count >= PQB_HELD_DATAGRAMS_MAX || t->held_total >= PQB_HELD_TOTAL_MAX)
        return false;
    d = malloc(sizeof(*d) + len);
    if (!d)
        return false;
    d->from = *from;
    d->len = len;
    memcpy(d->data, data, len);
    pqb_list_push_back(&h->held, &d->link);
    h->held_count++;
    t->held_total++;
    return true;
}

void pqb_half_open_earn(struct pqb_half_open *h, size_t len)
{
    h->budget += PQB_PATH_AMPLIFICATION * len;
}

void pqb_half_open_spend(struct pqb_half_open *h, size_t len)
{
    PQB_ASSERT(h->budget >= len);
    h->budget -= len;
}

void pqb_half_open_confirm(struct pqb_half_open *h)
{
    PQB_ASSERT(h->stage == PQB_LOGIN_RESPONDED);
    h->stage = PQB_LOGIN_CONFIRMING;
    pqb_list_unlink(&h->age);
}

static struct pqb_half_open *oldest(const struct pqb_half_open_table *t)
{
    return pqb_list_is_empty(&t->age) ? NULL
                                      : PQB_CONTAINER_OF(t->age.next, struct pqb_half_open, age);
}

struct pqb_half_open *pqb_half_open_table_expired(const struct pqb_half_open_table *t,
                                                  pqb_tstamp now)
{
    struct pqb_half_open *h = oldest(t);

    return h && pqb_half_open_table_deadline(t) <= now ? h : NULL;
}

pqb_tstamp pqb_half_open_table_deadline(const struct pqb_half_open_table *t)
{
    const struct pqb_half_open *h = oldest(t);

    return h ? pqb_tstamp_add(h->created_at, PQB_HALF_OPEN_NS) : PQB_NEVER;
}
