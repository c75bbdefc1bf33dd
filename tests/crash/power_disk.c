#include "tests/crash/power_disk.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

static void grow(struct power_bytes *b, size_t len)
{
    if (len <= b->len)
        return;
    if (len > b->size) {
        b->size = PQB_MAX(len, 2 * b->size);
        b->data = realloc(b->data, b->size);
        PQB_ASSERT(b->data != NULL);
    }
    memset(b->data + b->len, 0, len - b->len);
    b->len = len;
}

static void put(struct power_bytes *b, const struct power_entry *e)
{
    grow(b, e->offset + e->len);
    memcpy(b->data + e->offset, e->data, e->len);
}

// Whole sectors around `len` bytes at `offset`.
static void copy_sectors(struct power_bytes *to, const struct power_bytes *from, size_t offset,
                         size_t len)
{
    const size_t first = offset / POWER_SECTOR * POWER_SECTOR;
    size_t end = (offset + len + POWER_SECTOR - 1) / POWER_SECTOR * POWER_SECTOR;

    end = PQB_MIN(end, from->len);
    PQB_ASSERT(first < end);
    grow(to, end);
    memcpy(to->data + first, from->data + first, end - first);
}

void power_bytes_fini(struct power_bytes *b)
{
    free(b->data);
    *b = (struct power_bytes){0};
}

void power_disk_fini(struct power_disk *d)
{
    power_bytes_fini(&d->durable);
    power_bytes_fini(&d->cache);
    free(d->pending);
    d->pending = NULL;
}

static void on_write(struct power_disk *d, const struct power_entry *e)
{
    put(&d->cache, e);
    if (d->pending_count == d->pending_size) {
        d->pending_size = d->pending_size == 0 ? 64 : 2 * d->pending_size;
        d->pending = realloc(d->pending, d->pending_size * sizeof(*d->pending));
        PQB_ASSERT(d->pending != NULL);
    }
    d->pending[d->pending_count++] = e;
}

static void on_sync(struct power_disk *d)
{
    for (size_t i = 0; i < d->pending_count; i++)
        copy_sectors(&d->durable, &d->cache, d->pending[i]->offset, d->pending[i]->len);
    d->pending_count = 0;
}

// Only these writes are durable; they leave the pending ones.
static void on_dsync(struct power_disk *d, const struct power_entry *e)
{
    size_t kept = 0;

    copy_sectors(&d->durable, &d->cache, e->offset, e->len);
    for (size_t i = 0; i < d->pending_count; i++) {
        const struct power_entry *p = d->pending[i];

        if (p->offset < e->offset || p->offset + p->len > e->offset + e->len)
            d->pending[kept++] = p;
    }
    d->pending_count = kept;
}

void power_disk_apply(struct power_disk *d, const struct power_entry *e)
{
    const bool has_sync = d->lie == POWER_HONEST || d->lie == POWER_LIES_DSYNC;
    const bool has_dsync = d->lie == POWER_HONEST || d->lie == POWER_LIES_SYNC;

    switch (e->kind) {
    case POWER_WRITE:
        on_write(d, e);
        break;
    case POWER_SYNC:
        if (has_sync)
            on_sync(d);
        break;
    case POWER_DSYNC:
        if (has_dsync)
            on_dsync(d, e);
        break;
    case POWER_NOTICE:
        break;
    }
}

static void keep_sectors(struct power_bytes *out, const struct power_bytes *now,
                         const struct power_entry *e, struct pqb_rng *rng)
{
    for (size_t at = e->offset / POWER_SECTOR * POWER_SECTOR; at < e->offset + e->len;
         at += POWER_SECTOR)
        if (pqb_rng_below(rng, 2) == 0)
            copy_sectors(out, now, at, 1);
}

void power_disk_image(const struct power_disk *d, enum power_loss loss, struct pqb_rng *rng,
                      struct power_bytes *out)
{
    struct power_bytes now = {0}; // the cache as it was after each pending write

    out->len = 0;
    if (d->durable.len > 0) {
        copy_sectors(out, &d->durable, 0, d->durable.len);
        copy_sectors(&now, &d->durable, 0, d->durable.len);
    }
    for (size_t i = 0; i < d->pending_count && loss != POWER_LOSE_ALL; i++) {
        const struct power_entry *e = d->pending[i];

        put(&now, e);
        if (loss == POWER_LOSE_SECTORS)
            keep_sectors(out, &now, e, rng);
        else if (loss == POWER_LOSE_NONE || pqb_rng_below(rng, 2) == 0)
            copy_sectors(out, &now, e->offset, e->len);
    }
    power_bytes_fini(&now);
}
