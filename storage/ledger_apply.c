// What each record does to the ledger: the one way it changes, live and at replay. A live record
// always finds its user and device; at replay they may have been lost with a damaged record, and
// what then makes no sense is skipped and counted.
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "storage/ledger_internal.h"

// Index of the first entry with seq >= `seq`.
static size_t consumed_bound(const struct pqb_ledger_device *d, uint64_t seq)
{
    size_t low = 0;
    size_t high = d->consumed_count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (d->consumed[middle].seq < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct pqb_consumed *pqb_ledger_consumed_find(const struct pqb_ledger_device *d, uint64_t seq)
{
    const size_t i = consumed_bound(d, seq);

    return i < d->consumed_count && d->consumed[i].seq == seq ? &d->consumed[i] : NULL;
}

static void low_raise(struct pqb_ledger_device *d, uint64_t low)
{
    if (low <= d->low)
        return;

    const size_t gone = consumed_bound(d, low);

    d->low = low;
    d->consumed_count -= gone;
    if (gone > 0)
        memmove(d->consumed, d->consumed + gone, d->consumed_count * sizeof(*d->consumed));
}

static int consumed_insert(struct pqb_ledger_device *d, struct pqb_consumed entry)
{
    const size_t i = consumed_bound(d, entry.seq);

    if (entry.seq < d->low || entry.seq - d->low >= PQB_SEQ_WINDOW ||
        (i < d->consumed_count && d->consumed[i].seq == entry.seq))
        return PQB_OK; // only after damage: the window has gone on without this one
    if (d->consumed_count == d->consumed_room) {
        const size_t room = PQB_MAX(d->consumed_room * 2, (size_t)4);
        struct pqb_consumed *items = realloc(d->consumed, room * sizeof(*items));

        if (items == NULL)
            return PQB_ERR_NOMEM;
        d->consumed = items;
        d->consumed_room = room;
    }
    memmove(d->consumed + i + 1, d->consumed + i, (d->consumed_count - i) * sizeof(*d->consumed));
    d->consumed[i] = entry;
    d->consumed_count++;
    return PQB_OK;
}

// The user `uid` when the record at `gseq` is still news to its row; else NULL.
static int user_for(struct pqb_ledger *l, uint64_t uid, uint64_t gseq, struct pqb_ledger_user **out)
{
    const int err = pqb_ledger_user_find(l, uid, out);

    if (err != PQB_OK)
        return err;
    if (*out == NULL)
        l->orphan_count++;
    else if (gseq <= (*out)->as_of)
        *out = NULL;
    return PQB_OK;
}

// The acting device, touched; NULL when the record is old news or the device is lost.
static int device_for(struct pqb_ledger *l, uint64_t uid, uint32_t devno, uint64_t gseq,
                      struct pqb_ledger_user **user, struct pqb_ledger_device **out)
{
    const int err = user_for(l, uid, gseq, user);

    *out = NULL;
    if (err != PQB_OK || *user == NULL)
        return err;
    *out = pqb_ledger_device_find(*user, devno);
    if (*out == NULL) {
        l->orphan_count++;
        return PQB_OK;
    }
    return pqb_ledger_device_touch(l, *user, *out);
}

// The sender's side of a message, a refusal or a skip.
static int apply_consumed(struct pqb_ledger *l, const struct pqb_journal_record *r, uint64_t uid,
                          uint64_t gseq, const struct pqb_consumed *entries, size_t count)
{
    struct pqb_ledger_user *u;
    struct pqb_ledger_device *d;
    int err = device_for(l, uid, r->devno, gseq, &u, &d);

    if (err != PQB_OK || d == NULL)
        return err;
    d->last_seen = PQB_MAX(d->last_seen, r->at);
    if (d->epoch != r->epoch) { // its epoch record is lost
        l->orphan_count++;
        return PQB_OK;
    }
    low_raise(d, r->low);
    for (size_t i = 0; i < count && err == PQB_OK; i++)
        err = consumed_insert(d, entries[i]);
    return err;
}

// The recipient's side of a message.
static int apply_arrival(struct pqb_ledger *l, const struct pqb_journal_record *r, uint64_t gseq)
{
    const struct pqb_retained item = {.iseq = r->iseq, .gseq = gseq, .bytes = r->body_len};
    struct pqb_ledger_user *u;
    int err = pqb_ledger_user_find(l, r->uid, &u);

    if (err != PQB_OK)
        return err;
    if (u == NULL) {
        l->orphan_count++;
        return PQB_OK;
    }
    if (r->iseq <= u->core.settled.floor || r->iseq <= u->inbox_upto)
        return PQB_OK; // done with, or moved with the row
    err = pqb_ledger_user_touch(l, u);
    if (err != PQB_OK)
        return err;
    if (gseq > u->as_of) {
        // A message tells its generation, should the record that began it be lost: it must not be
        // begun a second time.
        u->core.generation = PQB_MAX(u->core.generation, PQB_ISEQ_GENERATION(r->iseq));
        l->counters.generation_max = PQB_MAX(l->counters.generation_max, u->core.generation);
        if (u->core.settled.count == 0)
            u->core.settled.tail = r->iseq;
        u->core.head = PQB_MAX(u->core.head, r->iseq);
        u->core.settled.count++;
        u->core.settled.bytes += r->body_len;
    }
    return pqb_ledger_retained_push(u, item);
}

static int apply_msg(struct pqb_ledger *l, const struct pqb_journal_record *r, uint64_t gseq)
{
    const struct pqb_consumed entry = {
        .seq = r->seq, .iseq = r->iseq, .hash = r->hash, .state = PQB_STATE_ACCEPTED};
    const int err = apply_arrival(l, r, gseq);

    return err != PQB_OK ? err : apply_consumed(l, r, r->from_uid, gseq, &entry, 1);
}

static int apply_refusal(struct pqb_ledger *l, const struct pqb_journal_record *r, uint64_t gseq)
{
    const struct pqb_consumed entry = {
        .seq = r->seq, .hash = r->hash, .state = PQB_STATE_REFUSED, .nack = r->nack};

    return apply_consumed(l, r, r->uid, gseq, &entry, 1);
}

static int apply_skip(struct pqb_ledger *l, const struct pqb_journal_record *r, uint64_t gseq)
{
    struct pqb_consumed entries[PQB_SKIP_MAX];

    for (size_t i = 0; i < r->skipped.count; i++)
        entries[i] =
            (struct pqb_consumed){.seq = r->skipped.at[i].seq, .state = PQB_STATE_ABANDONED};
    return apply_consumed(l, r, r->uid, gseq, entries, r->skipped.count);
}

static void settle(struct pqb_ledger_user *u, const struct pqb_settled *settled)
{
    struct pqb_ledger_user_core *core = &u->core;

    core->settled = *settled;
    while (core->retained_first < core->retained_end &&
           u->retained[core->retained_first].iseq <= settled->floor)
        core->retained_first++;
}

static int apply_cursor(struct pqb_ledger *l, const struct pqb_journal_record *r, uint64_t gseq)
{
    struct pqb_ledger_user *u;
    struct pqb_ledger_device *d;
    int err = device_for(l, r->uid, r->devno, gseq, &u, &d);

    if (err != PQB_OK || u == NULL)
        return err;
    err = pqb_ledger_user_touch(l, u);
    if (err != PQB_OK)
        return err;
    if (d != NULL) {
        d->cursor = PQB_MAX(d->cursor, r->iseq);
        d->last_seen = PQB_MAX(d->last_seen, r->at);
    }
    u->core.delivered = PQB_MAX(u->core.delivered, r->delivered);
    settle(u, &r->settled);
    return PQB_OK;
}

static int apply_registration(struct pqb_ledger *l, const struct pqb_journal_record *r,
                              uint64_t gseq)
{
    struct pqb_ledger_user *u;
    struct pqb_ledger_device *d;
    int err = user_for(l, r->uid, gseq, &u);

    if (err != PQB_OK || u == NULL || pqb_ledger_device_find(u, r->devno) != NULL)
        return err;
    err = pqb_ledger_user_touch(l, u);
    if (err == PQB_OK)
        err = pqb_ledger_device_add(l, u, r->devno, r->name, &d);
    if (err != PQB_OK)
        return err;
    d->cursor = r->cursor;
    d->last_seen = r->at;
    u->core.devno_next = PQB_MAX(u->core.devno_next, r->devno + 1);
    return PQB_OK;
}

static int apply_device(struct pqb_ledger *l, const struct pqb_journal_record *r, uint64_t gseq)
{
    struct pqb_ledger_user *u;
    struct pqb_ledger_device *d;
    int err;

    if (r->is_new)
        return apply_registration(l, r, gseq);
    err = device_for(l, r->uid, r->devno, gseq, &u, &d);
    if (err != PQB_OK || d == NULL)
        return err;
    d->last_seen = PQB_MAX(d->last_seen, r->at);
    if (d->epoch == r->epoch)
        low_raise(d, r->low);
    return PQB_OK;
}

static int apply_epoch(struct pqb_ledger *l, const struct pqb_journal_record *r, uint64_t gseq)
{
    struct pqb_ledger_user *u;
    struct pqb_ledger_device *d;
    int err;

    l->counters.next_epoch = PQB_MAX(l->counters.next_epoch, r->epoch + 1);
    err = device_for(l, r->uid, r->devno, gseq, &u, &d);
    if (err != PQB_OK || d == NULL)
        return err;
    d->epoch = r->epoch;
    memcpy(d->nonce, r->nonce, sizeof(d->nonce));
    d->low = 1;
    d->consumed_count = 0;
    d->last_seen = PQB_MAX(d->last_seen, r->at);
    return PQB_OK;
}

static int apply_expire(struct pqb_ledger *l, const struct pqb_journal_record *r, uint64_t gseq)
{
    struct pqb_ledger_user *u;
    int err = user_for(l, r->uid, gseq, &u);

    if (err != PQB_OK || u == NULL)
        return err;
    err = pqb_ledger_user_touch(l, u);
    if (err == PQB_OK)
        settle(u, &r->settled);
    return err;
}

static int apply_generation(struct pqb_ledger *l, const struct pqb_journal_record *r, uint64_t gseq)
{
    const uint32_t generation = PQB_ISEQ_GENERATION(r->iseq);
    struct pqb_ledger_user *u;
    int err;

    l->counters.generation_max = PQB_MAX(l->counters.generation_max, generation);
    err = user_for(l, r->uid, gseq, &u);
    if (err != PQB_OK || u == NULL || r->iseq <= u->core.head) // positions never go back
        return err;
    err = pqb_ledger_user_touch(l, u);
    if (err != PQB_OK)
        return err;
    u->core.generation = generation;
    u->core.head = r->iseq - 1; // counter 0: nothing of this generation yet
    if (u->core.settled.count == 0)
        u->core.settled.tail = r->iseq;
    return PQB_OK;
}

static int apply_forget(struct pqb_ledger *l, const struct pqb_journal_record *r, uint64_t gseq)
{
    struct pqb_ledger_user *u;
    struct pqb_ledger_device *d;
    int err = device_for(l, r->uid, r->devno, gseq, &u, &d);

    if (err != PQB_OK || u == NULL)
        return err;
    err = pqb_ledger_user_touch(l, u);
    if (err == PQB_OK && d != NULL)
        err = pqb_ledger_device_remove(l, u, d);
    if (err != PQB_OK)
        return err;
    u->core.has_forgotten = true;
    settle(u, &r->settled);
    return PQB_OK;
}

static int apply_user(struct pqb_ledger *l, const struct pqb_journal_record *r, uint64_t gseq)
{
    struct pqb_ledger_user *u;
    struct pqb_ledger_device *d;
    int err = pqb_ledger_user_find(l, r->uid, &u);

    l->counters.next_uid = PQB_MAX(l->counters.next_uid, r->uid + 1);
    l->counters.generation_max = PQB_MAX(l->counters.generation_max, r->generation);
    if (err == PQB_OK && u == NULL) {
        err = pqb_ledger_user_add(l, r->uid, r->name, &u);
        if (err == PQB_OK) {
            l->counters.user_count++;
            u->core.generation = r->generation;
            u->core.head = PQB_ISEQ_MAKE(r->generation, 0);
            u->core.settled.floor = u->core.head;
            u->core.settled.tail = u->core.head + 1;
        }
    }
    if (err != PQB_OK || r->creator_uid == 0)
        return err;
    err = device_for(l, r->creator_uid, r->creator_devno, gseq, &u, &d);
    if (err == PQB_OK && d != NULL)
        d->created_count++;
    return err;
}

int pqb_ledger_apply(struct pqb_ledger *l, const struct pqb_journal_record *r, uint64_t gseq)
{
    switch (r->type) {
    case PQB_RECORD_MSG:
        return apply_msg(l, r, gseq);
    case PQB_RECORD_REFUSAL:
        return apply_refusal(l, r, gseq);
    case PQB_RECORD_SKIP:
        return apply_skip(l, r, gseq);
    case PQB_RECORD_CURSOR:
        return apply_cursor(l, r, gseq);
    case PQB_RECORD_DEVICE:
        return apply_device(l, r, gseq);
    case PQB_RECORD_EPOCH:
        return apply_epoch(l, r, gseq);
    case PQB_RECORD_EXPIRE:
        return apply_expire(l, r, gseq);
    case PQB_RECORD_GENERATION:
        return apply_generation(l, r, gseq);
    case PQB_RECORD_FORGET:
        return apply_forget(l, r, gseq);
    case PQB_RECORD_USER:
        return apply_user(l, r, gseq);
    case PQB_RECORD_PART:
    case PQB_RECORD_BAD:
        return PQB_OK;
    }
    return PQB_OK;
}

int pqb_ledger_replay(struct pqb_ledger *l, const struct pqb_journal_record *r, uint64_t gseq)
{
    PQB_ASSERT(!l->is_in_batch);
    return pqb_ledger_apply(l, r, gseq);
}
