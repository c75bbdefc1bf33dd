#include "storage/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/mutant.h"
#include "storage/ledger_internal.h"

enum undo_kind {
    UNDO_USER,          // its core
    UNDO_DEVICE,        // its state and window
    UNDO_USER_NEW,      // abort frees it
    UNDO_DEVICE_NEW,    // abort frees it and restores the list
    UNDO_DEVICE_REMOVE, // commit frees it, abort restores the list
};

// One thing to put back. Undone in reverse order of doing.
struct pqb_undo {
    struct pqb_undo *next;
    enum undo_kind kind;
    struct pqb_ledger_user *user;
    struct pqb_ledger_device *device;
    struct pqb_ledger_user_core core;
    struct pqb_ledger_device device_state;
    struct pqb_consumed *consumed;      // copy of the window; owned
    struct pqb_ledger_device **devices; // copy of the list; owned
    size_t device_count;
};

int pqb_ledger_create(struct pqb_ledger **out, const struct pqb_ledger_limits *limits,
                      const struct pqb_ledger_io *io, const uint8_t name_key[PQB_SIPHASH_KEY_LEN])
{
    struct pqb_ledger *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return PQB_ERR_NOMEM;
    l->limits = *limits;
    l->io = *io;
    memcpy(l->name_key, name_key, sizeof(l->name_key));
    l->counters = (struct pqb_ledger_counters){.next_gseq = 1, .next_uid = 1, .next_epoch = 1};
    pqb_list_init(&l->dirty);
    if (pqb_htable_init(&l->by_uid) != PQB_OK || pqb_htable_init(&l->by_name) != PQB_OK) {
        pqb_ledger_destroy(l);
        return PQB_ERR_NOMEM;
    }
    *out = l;
    return PQB_OK;
}

static void device_free(struct pqb_ledger *l, struct pqb_ledger_device *d)
{
    free(d->consumed);
    free(d);
    l->device_total--;
}

static void user_unlink(struct pqb_ledger *l, struct pqb_ledger_user *u)
{
    pqb_htable_remove(&l->by_uid, &u->by_uid);
    pqb_htable_remove(&l->by_name, &u->by_name);
    pqb_list_unlink(&u->dirty);
}

static void user_free(struct pqb_ledger *l, struct pqb_ledger_user *u)
{
    for (size_t i = 0; i < u->device_count; i++)
        device_free(l, u->devices[i]);
    free(u->devices);
    free(u->retained);
    free(u);
}

void pqb_ledger_user_drop(struct pqb_ledger *l, struct pqb_ledger_user *u)
{
    user_unlink(l, u);
    user_free(l, u);
}

static struct pqb_ledger_user *user_of(struct pqb_hnode *node)
{
    return node != NULL ? PQB_CONTAINER_OF(node, struct pqb_ledger_user, by_uid) : NULL;
}

void pqb_ledger_destroy(struct pqb_ledger *l)
{
    if (l == NULL)
        return;
    if (l->is_in_batch)
        pqb_ledger_batch_abort(l);
    if (l->by_uid.buckets != NULL && l->by_name.buckets != NULL) {
        struct pqb_hnode *node;

        while ((node = pqb_htable_next(&l->by_uid, NULL)) != NULL) {
            struct pqb_ledger_user *u = user_of(node);

            pqb_ledger_user_drop(l, u);
        }
    }
    pqb_htable_fini(&l->by_uid);
    pqb_htable_fini(&l->by_name);
    while (l->undo_spare != NULL) {
        struct pqb_undo *next = l->undo_spare->next;

        free(l->undo_spare);
        l->undo_spare = next;
    }
    free(l);
}

// ---------------------------------------------------------------------------------- undo

static struct pqb_undo *undo_push(struct pqb_ledger *l, enum undo_kind kind)
{
    struct pqb_undo *undo = l->undo_spare;

    if (undo != NULL)
        l->undo_spare = undo->next;
    else
        undo = malloc(sizeof(*undo));
    if (undo == NULL)
        return NULL;
    undo->kind = kind;
    undo->user = NULL;
    undo->device = NULL;
    undo->consumed = NULL;
    undo->devices = NULL;
    undo->next = l->undo;
    l->undo = undo;
    return undo;
}

static struct pqb_undo *undo_pop(struct pqb_ledger *l)
{
    struct pqb_undo *undo = l->undo;

    if (undo != NULL)
        l->undo = undo->next;
    return undo;
}

static void undo_put(struct pqb_ledger *l, struct pqb_undo *undo)
{
    free(undo->consumed);
    free(undo->devices);
    undo->next = l->undo_spare;
    l->undo_spare = undo;
}

static void devices_restore(struct pqb_undo *undo)
{
    struct pqb_ledger_user *u = undo->user;

    if (undo->device_count > 0) // room only grew since
        memcpy(u->devices, undo->devices, undo->device_count * sizeof(*undo->devices));
    u->device_count = undo->device_count;
}

static void device_restore(struct pqb_undo *undo)
{
    struct pqb_ledger_device *d = undo->device;

    free(d->consumed);
    *d = undo->device_state;
    d->consumed = undo->consumed;
    d->consumed_room = d->consumed_count;
    undo->consumed = NULL;
}

static void undo_revert(struct pqb_ledger *l, struct pqb_undo *undo)
{
    switch (undo->kind) {
    case UNDO_USER:
        if (PQB_MUTANT(ISEQ_SURVIVES_ABORT))
            undo->core.head = undo->user->core.head;
        undo->user->core = undo->core;
        return;
    case UNDO_DEVICE:
        device_restore(undo);
        return;
    case UNDO_USER_NEW:
        pqb_ledger_user_drop(l, undo->user);
        return;
    case UNDO_DEVICE_NEW:
        devices_restore(undo);
        device_free(l, undo->device);
        return;
    case UNDO_DEVICE_REMOVE:
        devices_restore(undo);
        return;
    }
}

void pqb_ledger_batch_begin(struct pqb_ledger *l)
{
    PQB_ASSERT(!l->is_in_batch && l->undo == NULL);
    l->is_in_batch = true;
    l->batch++;
    l->counters_saved = l->counters;
}

void pqb_ledger_batch_commit(struct pqb_ledger *l)
{
    struct pqb_undo *undo;

    PQB_ASSERT(l->is_in_batch);
    while ((undo = undo_pop(l)) != NULL) {
        if (undo->kind == UNDO_DEVICE_REMOVE)
            device_free(l, undo->device);
        undo_put(l, undo);
    }
    l->is_in_batch = false;
}

void pqb_ledger_batch_abort(struct pqb_ledger *l)
{
    struct pqb_undo *undo;

    PQB_ASSERT(l->is_in_batch);
    while ((undo = undo_pop(l)) != NULL) {
        undo_revert(l, undo);
        undo_put(l, undo);
    }
    l->counters = l->counters_saved;
    l->is_in_batch = false;
}

// ---------------------------------------------------------------------------------- touch

void pqb_ledger_user_mark(struct pqb_ledger *l, struct pqb_ledger_user *u)
{
    if (pqb_list_is_empty(&u->dirty))
        pqb_list_push_back(&l->dirty, &u->dirty);
}

// Gives back the room in front of the retained messages. Not inside a batch that may be undone:
// abort knows positions only.
static void retained_compact(struct pqb_ledger_user *u)
{
    const size_t count = u->core.retained_end - u->core.retained_first;

    if (u->core.retained_first == 0 || u->core.retained_first < u->retained_room / 2)
        return;
    memmove(u->retained, u->retained + u->core.retained_first, count * sizeof(*u->retained));
    u->core.retained_first = 0;
    u->core.retained_end = count;
}

int pqb_ledger_user_touch(struct pqb_ledger *l, struct pqb_ledger_user *u)
{
    pqb_ledger_user_mark(l, u);
    if (!l->is_in_batch || u->saved_in == l->batch)
        return PQB_OK;
    retained_compact(u);

    struct pqb_undo *undo = undo_push(l, UNDO_USER);

    if (undo == NULL)
        return PQB_ERR_NOMEM;
    undo->user = u;
    undo->core = u->core;
    u->saved_in = u->used_in = l->batch;
    return PQB_OK;
}

static int copy_of(const void *from, size_t count, size_t size, void *out)
{
    void *copy = count > 0 ? malloc(count * size) : NULL;

    if (count > 0 && copy == NULL)
        return PQB_ERR_NOMEM;
    if (count > 0)
        memcpy(copy, from, count * size);
    memcpy(out, &copy, sizeof(copy));
    return PQB_OK;
}

int pqb_ledger_device_touch(struct pqb_ledger *l, struct pqb_ledger_user *u,
                            struct pqb_ledger_device *d)
{
    pqb_ledger_user_mark(l, u);
    u->used_in = l->batch;
    if (!l->is_in_batch || d->saved_in == l->batch)
        return PQB_OK;

    struct pqb_undo *undo = undo_push(l, UNDO_DEVICE);

    if (undo == NULL)
        return PQB_ERR_NOMEM;
    undo->user = u;
    undo->device = d;
    undo->device_state = *d;
    if (copy_of(d->consumed, d->consumed_count, sizeof(*d->consumed), &undo->consumed) != PQB_OK) {
        undo_put(l, undo_pop(l));
        return PQB_ERR_NOMEM;
    }
    d->saved_in = l->batch;
    return PQB_OK;
}

// ---------------------------------------------------------------------------------- users

static uint64_t name_hash(const uint8_t name_key[PQB_SIPHASH_KEY_LEN], const char *name, size_t len)
{
    return pqb_siphash24(name_key, name, len);
}

uint32_t pqb_ledger_user_hash(const uint8_t name_key[PQB_SIPHASH_KEY_LEN], const char *name,
                              size_t len)
{
    return (uint32_t)(name_hash(name_key, name, len) >> 32);
}

struct pqb_ledger_user *pqb_ledger_user_create(struct pqb_ledger *l, uint64_t uid, const char *name,
                                               size_t name_len)
{
    struct pqb_ledger_user *u = calloc(1, sizeof(*u));

    PQB_ASSERT(name_len <= PQB_USER_MAX);
    if (u == NULL)
        return NULL;
    u->uid = uid;
    u->name_len = (uint8_t)name_len;
    memcpy(u->name, name, name_len);
    u->uhash = pqb_ledger_user_hash(l->name_key, name, name_len);
    u->core.devno_next = 1;
    u->used_in = l->batch;
    pqb_list_init(&u->dirty);
    pqb_htable_insert(&l->by_uid, &u->by_uid, uid);
    pqb_htable_insert(&l->by_name, &u->by_name, name_hash(l->name_key, name, name_len));
    return u;
}

int pqb_ledger_user_add(struct pqb_ledger *l, uint64_t uid, struct pqb_text name,
                        struct pqb_ledger_user **out)
{
    struct pqb_undo *undo = l->is_in_batch ? undo_push(l, UNDO_USER_NEW) : NULL;

    if (l->is_in_batch && undo == NULL)
        return PQB_ERR_NOMEM;

    struct pqb_ledger_user *u = pqb_ledger_user_create(l, uid, name.data, name.len);

    if (u == NULL) {
        if (undo != NULL)
            undo_put(l, undo_pop(l));
        return PQB_ERR_NOMEM;
    }
    if (undo != NULL)
        undo->user = u;
    u->saved_in = l->batch; // abort frees it: no copy needed
    pqb_ledger_user_mark(l, u);
    *out = u;
    return PQB_OK;
}

int pqb_ledger_devices_grow(struct pqb_ledger_user *u)
{
    struct pqb_ledger_device **list =
        realloc(u->devices, (u->device_count + 1) * sizeof(*u->devices));

    if (list == NULL)
        return PQB_ERR_NOMEM;
    u->devices = list;
    return PQB_OK;
}

static int undo_devices(struct pqb_ledger *l, struct pqb_ledger_user *u,
                        struct pqb_ledger_device *d, enum undo_kind kind)
{
    struct pqb_undo *undo = undo_push(l, kind);

    if (undo == NULL)
        return PQB_ERR_NOMEM;
    undo->user = u;
    undo->device = d;
    undo->device_count = u->device_count;
    if (copy_of(u->devices, u->device_count, sizeof(*u->devices), &undo->devices) != PQB_OK) {
        undo_put(l, undo_pop(l));
        return PQB_ERR_NOMEM;
    }
    return PQB_OK;
}

int pqb_ledger_device_add(struct pqb_ledger *l, struct pqb_ledger_user *u, uint32_t devno,
                          struct pqb_text name, struct pqb_ledger_device **out)
{
    struct pqb_ledger_device *d = calloc(1, sizeof(*d));

    PQB_ASSERT(name.len <= PQB_DEVICE_MAX);
    if (d == NULL)
        return PQB_ERR_NOMEM;
    if (pqb_ledger_devices_grow(u) != PQB_OK ||
        (l->is_in_batch && undo_devices(l, u, d, UNDO_DEVICE_NEW) != PQB_OK)) {
        free(d);
        return PQB_ERR_NOMEM;
    }
    d->devno = devno;
    d->low = 1;
    d->name_len = (uint8_t)name.len;
    memcpy(d->name, name.data, name.len);
    d->saved_in = l->is_in_batch ? l->batch : 0;
    u->devices[u->device_count++] = d;
    l->device_total++;
    *out = d;
    return PQB_OK;
}

int pqb_ledger_device_remove(struct pqb_ledger *l, struct pqb_ledger_user *u,
                             struct pqb_ledger_device *d)
{
    size_t i = 0;

    if (l->is_in_batch && undo_devices(l, u, d, UNDO_DEVICE_REMOVE) != PQB_OK)
        return PQB_ERR_NOMEM;
    while (u->devices[i] != d)
        i++;
    u->device_count--;
    memmove(&u->devices[i], &u->devices[i + 1], (u->device_count - i) * sizeof(*u->devices));
    if (!l->is_in_batch)
        device_free(l, d);
    return PQB_OK;
}

bool pqb_ledger_is_epoch_open(const struct pqb_ledger *l, const struct pqb_ledger_device *d)
{
    return d->epoch != 0 && d->epoch >= l->counters.epoch_floor;
}

struct pqb_ledger_device *pqb_ledger_device_find(const struct pqb_ledger_user *u, uint32_t devno)
{
    for (size_t i = 0; i < u->device_count; i++) {
        if (u->devices[i]->devno == devno)
            return u->devices[i];
    }
    return NULL;
}

bool pqb_ledger_has_device(const struct pqb_ledger_user *u, uint32_t devno)
{
    return pqb_ledger_device_find(u, devno) != NULL;
}

int pqb_ledger_retained_push(struct pqb_ledger_user *u, struct pqb_retained item)
{
    if (u->core.retained_end == u->retained_room) {
        const size_t room = PQB_MAX(u->retained_room * 2, (size_t)4);
        struct pqb_retained *items = realloc(u->retained, room * sizeof(*items));

        if (items == NULL)
            return PQB_ERR_NOMEM;
        u->retained = items;
        u->retained_room = room;
    }
    u->retained[u->core.retained_end++] = item;
    return PQB_OK;
}

int pqb_ledger_user_find(struct pqb_ledger *l, uint64_t uid, struct pqb_ledger_user **out)
{
    struct pqb_ledger_user *u = user_of(pqb_htable_find(&l->by_uid, uid));

    *out = u;
    if (u != NULL || uid == 0)
        return PQB_OK;
    return pqb_ledger_user_load(l, uid, out);
}

int pqb_ledger_name_find(struct pqb_ledger *l, const char *name, size_t len,
                         struct pqb_ledger_user **out)
{
    struct pqb_hnode *node = pqb_htable_find(&l->by_name, name_hash(l->name_key, name, len));
    uint64_t uid;
    int err;

    for (; node != NULL; node = pqb_htable_find_next(node)) {
        struct pqb_ledger_user *u = PQB_CONTAINER_OF(node, struct pqb_ledger_user, by_name);

        if (u->name_len == len && memcmp(u->name, name, len) == 0) {
            *out = u;
            return PQB_OK;
        }
    }
    *out = NULL;
    err = l->io.name_find(l->io.ctx, name, len, &uid);
    if (err != PQB_OK)
        return err == PQB_ERR_NOT_FOUND ? PQB_OK : err;
    return pqb_ledger_user_find(l, uid, out);
}

static bool may_evict(const struct pqb_ledger_user *u, uint64_t before)
{
    return pqb_list_is_empty(&u->dirty) && u->used_in < before &&
           u->core.retained_first == u->core.retained_end && u->has_row;
}

void pqb_ledger_evict(struct pqb_ledger *l, size_t keep, uint64_t before)
{
    struct pqb_hnode *node = pqb_htable_next(&l->by_uid, NULL);

    PQB_ASSERT(!l->is_in_batch);
    while (node != NULL && l->by_uid.count > keep) {
        struct pqb_ledger_user *u = user_of(node);

        node = pqb_htable_next(&l->by_uid, node);
        if (may_evict(u, before)) {
            pqb_ledger_user_drop(l, u);
        }
    }
    pqb_htable_shrink(&l->by_uid);
    pqb_htable_shrink(&l->by_name);
}
