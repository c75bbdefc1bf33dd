// The ledger's users from rows, and to rows.
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "storage/ledger_internal.h"

static int window_from_row(struct pqb_ledger_device *d, const struct pqb_device_row *row)
{
    if (row->consumed_count == 0)
        return PQB_OK;
    d->consumed = malloc(row->consumed_count * sizeof(*d->consumed));
    if (d->consumed == NULL)
        return PQB_ERR_NOMEM;
    memcpy(d->consumed, row->consumed, row->consumed_count * sizeof(*d->consumed));
    d->consumed_count = d->consumed_room = row->consumed_count;
    return PQB_OK;
}

static int device_from_row(struct pqb_ledger *l, struct pqb_ledger_user *u,
                           const struct pqb_device_row *row)
{
    struct pqb_ledger_device *d = calloc(1, sizeof(*d));

    if (d == NULL)
        return PQB_ERR_NOMEM;
    if (pqb_ledger_devices_grow(u) != PQB_OK || window_from_row(d, row) != PQB_OK) {
        free(d);
        return PQB_ERR_NOMEM;
    }
    d->devno = row->devno;
    d->epoch = row->epoch;
    d->low = row->low;
    d->cursor = row->cursor;
    d->last_seen = row->last_seen;
    d->created_count = row->created_count;
    d->name_len = row->name_len;
    memcpy(d->name, row->name, row->name_len);
    memcpy(d->nonce, row->nonce, sizeof(d->nonce));
    u->devices[u->device_count++] = d;
    l->device_total++;
    return PQB_OK;
}

static int devices_load(struct pqb_ledger *l, struct pqb_ledger_user *u)
{
    struct pqb_device_row row;
    uint32_t after = 0;
    int err;

    for (;;) {
        err = l->io.device_load(l->io.ctx, u->uid, after, &row);
        if (err == PQB_ERR_CORRUPT) {
            // Its window and cursor are lost: it is as good as forgotten. Its next login registers
            // it anew, without an epoch, so that nothing of its queue is taken twice.
            l->damaged_count++;
            u->core.has_forgotten = true;
            pqb_ledger_user_mark(l, u);
        } else if (err != PQB_OK) {
            break;
        } else if (device_from_row(l, u, &row) != PQB_OK) {
            return PQB_ERR_NOMEM;
        }
        after = row.devno;
    }
    return err == PQB_ERR_NOT_FOUND ? PQB_OK : err;
}

int pqb_ledger_user_load(struct pqb_ledger *l, uint64_t uid, struct pqb_ledger_user **out)
{
    struct pqb_user_row row;
    int err = l->io.user_load(l->io.ctx, uid, &row);

    if (err != PQB_OK)
        return err == PQB_ERR_NOT_FOUND ? PQB_OK : err;

    struct pqb_ledger_user *u = pqb_ledger_user_create(l, uid, row.name, row.name_len);

    if (u == NULL)
        return PQB_ERR_NOMEM;
    u->as_of = row.as_of;
    u->has_row = true;
    u->inbox_upto = row.inbox_upto;
    u->trimmed_upto = row.trimmed_upto;
    u->core.head = row.head;
    u->core.settled = row.settled;
    u->core.delivered = row.delivered;
    u->core.generation = row.generation;
    u->core.devno_next = row.devno_next;
    err = devices_load(l, u);
    if (err != PQB_OK) {
        pqb_ledger_user_drop(l, u);
        return err;
    }
    *out = u;
    return PQB_OK;
}

// ---------------------------------------------------------------------------------- rows

void pqb_ledger_user_row(const struct pqb_ledger *l, const struct pqb_ledger_user *u,
                         struct pqb_user_row *out)
{
    PQB_ASSERT(!l->is_in_batch);
    *out = (struct pqb_user_row){
        .uid = u->uid,
        .as_of = l->counters.next_gseq - 1,
        .uhash = u->uhash,
        .head = u->core.head,
        .settled = u->core.settled,
        .delivered = u->core.delivered,
        .inbox_upto = u->inbox_upto,
        .trimmed_upto = u->trimmed_upto,
        .generation = u->core.generation,
        .devno_next = u->core.devno_next,
        .name_len = u->name_len,
    };
    memcpy(out->name, u->name, u->name_len);
    for (size_t i = 0; i < u->device_count; i++) {
        const pqb_wall_ms seen = u->devices[i]->last_seen;

        if (out->seen_min == 0 || seen < out->seen_min)
            out->seen_min = seen;
    }
}

void pqb_ledger_device_row(const struct pqb_ledger *l, const struct pqb_ledger_user *u,
                           const struct pqb_ledger_device *d, struct pqb_device_row *out)
{
    PQB_ASSERT(!l->is_in_batch);
    out->uid = u->uid;
    out->devno = d->devno;
    out->as_of = l->counters.next_gseq - 1;
    out->epoch = d->epoch;
    out->low = d->low;
    out->cursor = d->cursor;
    out->last_seen = d->last_seen;
    out->created_count = d->created_count;
    memcpy(out->nonce, d->nonce, sizeof(out->nonce));
    out->name_len = d->name_len;
    memcpy(out->name, d->name, d->name_len);
    out->consumed_count = (uint16_t)d->consumed_count;
    if (d->consumed_count > 0)
        memcpy(out->consumed, d->consumed, d->consumed_count * sizeof(*d->consumed));
}

// An idle device holds no window.
static void window_trim(struct pqb_ledger_device *d)
{
    if (d->consumed_count > 0)
        return;
    free(d->consumed);
    d->consumed = NULL;
    d->consumed_room = 0;
}

void pqb_ledger_user_written(struct pqb_ledger *l, struct pqb_ledger_user *u,
                             const struct pqb_user_row *row)
{
    struct pqb_ledger_user_core *core = &u->core;

    PQB_ASSERT(!l->is_in_batch);
    u->as_of = row->as_of;
    u->has_row = true;
    u->inbox_upto = row->inbox_upto;
    u->trimmed_upto = row->trimmed_upto;
    core->has_forgotten = false;
    for (size_t i = 0; i < u->device_count; i++)
        window_trim(u->devices[i]);
    while (core->retained_first < core->retained_end &&
           u->retained[core->retained_first].iseq <= u->inbox_upto)
        core->retained_first++;
    if (core->retained_first == core->retained_end) {
        free(u->retained);
        u->retained = NULL;
        u->retained_room = core->retained_first = core->retained_end = 0;
    }
}
