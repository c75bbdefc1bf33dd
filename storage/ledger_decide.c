// Requests to records. Every change goes through pqb_decision_post(): the record is appended and
// applied, so that what is decided and what a replay finds cannot differ.
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/mutant.h"
#include "storage/ledger_decision.h"

int pqb_decision_post(struct pqb_ledger *l, const struct pqb_journal_record *record)
{
    const uint64_t gseq = l->counters.next_gseq;

    PQB_ASSERT(l->is_in_batch);
    l->io.append(l->io.ctx, record, gseq);
    l->counters.next_gseq += 1 + (uint64_t)pqb_record_part_count(record);
    return pqb_ledger_apply(l, record, gseq);
}

struct pqb_journal_record pqb_decision_record(const struct pqb_decision *d,
                                              enum pqb_record_type type)
{
    return (struct pqb_journal_record){
        .type = type,
        .uid = d->user->uid,
        .uhash = d->user->uhash,
        .at = d->turn->at,
        .devno = d->device != NULL ? d->device->devno : 0,
        .epoch = d->device != NULL ? d->device->epoch : 0,
    };
}

// ---------------------------------------------------------------------------------- results

static void fill_user(const struct pqb_ledger *l, const struct pqb_ledger_user *u,
                      struct pqb_user_state *out)
{
    *out = (struct pqb_user_state){
        .uid = u->uid,
        .uhash = u->uhash,
        .head = u->core.head,
        .tail = u->core.settled.tail,
        .floor = u->core.settled.floor,
        .delivered = u->core.delivered,
        .count = u->core.settled.count,
        .bytes = u->core.settled.bytes,
        .generation_first = PQB_ISEQ_MAKE(u->core.generation, 1),
        .as_of = l->counters.next_gseq - 1,
    };
}

// Consumed seqs as ranges; what does not fit is left out, and the client asks for it.
static void fill_consumed(const struct pqb_ledger_device *d, struct pqb_ranges *out)
{
    out->count = 0;
    for (size_t i = 0; i < d->consumed_count; i++) {
        const uint64_t seq = d->consumed[i].seq;

        if (out->count > 0 && out->at[out->count - 1].last + 1 == seq) {
            out->at[out->count - 1].last = seq;
        } else if (out->count < PQB_FRAME_RANGES_MAX) {
            out->at[out->count++] = (struct pqb_range){.first = seq, .last = seq};
        } else {
            return;
        }
    }
}

// Of an epoch that is over nothing is told: what was consumed after the copy was taken is not
// known.
static void fill_device(const struct pqb_ledger *l, const struct pqb_ledger_device *d,
                        struct pqb_device_state *out)
{
    out->devno = d->devno;
    out->cursor = d->cursor;
    if (!pqb_ledger_is_epoch_open(l, d))
        return;
    out->epoch = d->epoch;
    out->low = d->low;
    fill_consumed(d, &out->consumed);
}

static void fill(const struct pqb_decision *d)
{
    if (d->user != NULL)
        fill_user(d->l, d->user, &d->r->user_state);
    if (d->device != NULL)
        fill_device(d->l, d->device, &d->r->device_state);
}

int pqb_decision_finish(const struct pqb_decision *d, enum pqb_result result, uint8_t nack)
{
    d->r->result = result;
    d->r->nack = nack;
    return PQB_OK;
}

// ---------------------------------------------------------------------------------- positions

// Lowest cursor among the user's devices but `except` (NULL: all), no more than `most`.
static uint64_t lowest_cursor(const struct pqb_ledger_user *u,
                              const struct pqb_ledger_device *except, uint64_t most)
{
    for (size_t i = 0; i < u->device_count && !PQB_MUTANT(ANY_DEVICE_IS_ALL); i++) {
        if (u->devices[i] != except)
            most = PQB_MIN(most, u->devices[i]->cursor);
    }
    return most;
}

// A lost record may have left the counts short; they must not wrap.
static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

// What the user's counts become when everything up to `floor` is done with.
static int settle(struct pqb_ledger *l, const struct pqb_ledger_user *u, uint64_t floor,
                  struct pqb_settled *out)
{
    const struct pqb_ledger_user_core *core = &u->core;
    struct pqb_inbox_sum sum = {0};
    size_t i = core->retained_first;

    *out = core->settled;
    if (floor <= out->floor)
        return PQB_OK;
    if (out->floor < u->inbox_upto) {
        const uint64_t upto = PQB_MIN(floor, u->inbox_upto);
        const int err = l->io.inbox_sum(l->io.ctx, u->uid, out->floor, upto, &sum);

        if (err != PQB_OK)
            return err;
    }
    for (; i < core->retained_end && u->retained[i].iseq <= floor; i++) {
        sum.count++;
        sum.bytes += u->retained[i].bytes;
    }
    out->floor = floor;
    out->count = minus(out->count, sum.count);
    out->bytes = minus(out->bytes, sum.bytes);
    if (sum.next_iseq != 0)
        out->tail = sum.next_iseq;
    else if (i < core->retained_end)
        out->tail = u->retained[i].iseq;
    else
        out->tail = PQB_MAX(core->head, floor) + 1;
    // A lost message was never taken off: with nothing left the counts are known again.
    if (sum.next_iseq == 0 && i == core->retained_end)
        out->count = out->bytes = 0;
    return PQB_OK;
}

// ---------------------------------------------------------------------------------- finding

// By uid and devno, or by names where uid is 0.
static int find_requester(struct pqb_decision *d)
{
    const struct pqb_request *r = d->r;
    int err = r->uid != 0 ? pqb_ledger_user_find(d->l, r->uid, &d->user)
                          : pqb_ledger_name_find(d->l, r->user, r->user_len, &d->user);

    if (err != PQB_OK || d->user == NULL)
        return err;
    d->user->used_in = d->l->batch;
    if (r->devno != 0) {
        d->device = pqb_ledger_device_find(d->user, r->devno);
        return PQB_OK;
    }
    for (size_t i = 0; i < d->user->device_count; i++) {
        struct pqb_ledger_device *device = d->user->devices[i];

        if (device->name_len == r->device_len &&
            memcmp(device->name, r->device, r->device_len) == 0)
            d->device = device;
    }
    return PQB_OK;
}

// Generation of a user who begins one now.
static uint32_t generation_next(const struct pqb_ledger *l, uint32_t old,
                                const struct pqb_ledger_turn *turn)
{
    return PQB_MAX(PQB_MAX(old + 1, turn->minutes), l->counters.generation_floor);
}

int pqb_decision_user_begin(struct pqb_decision *d, const char *name, size_t len,
                            const struct pqb_decision *creator, struct pqb_ledger_user **out)
{
    const uint64_t uid = d->l->counters.next_uid;
    const struct pqb_journal_record record = {
        .type = PQB_RECORD_USER,
        .uid = uid,
        .uhash = pqb_ledger_user_hash(d->l->name_key, name, len),
        .at = d->turn->at,
        .name = {.data = name, .len = len},
        .generation = generation_next(d->l, 0, d->turn),
        .creator_uid = creator != NULL ? creator->user->uid : 0,
        .creator_devno = creator != NULL ? creator->device->devno : 0,
    };
    const int err = pqb_decision_post(d->l, &record);

    return err != PQB_OK ? err : pqb_ledger_user_find(d->l, uid, out);
}

bool pqb_decision_may_add_user(const struct pqb_ledger *l)
{
    return l->counters.user_count < l->limits.users_max;
}

int pqb_decision_generation_begin(struct pqb_decision *d, struct pqb_ledger_user *u, uint32_t above)
{
    const uint32_t old = PQB_MAX(u->core.generation, PQB_ISEQ_GENERATION(u->core.head));
    const uint32_t generation = generation_next(d->l, PQB_MAX(old, above), d->turn);
    const struct pqb_journal_record record = {
        .type = PQB_RECORD_GENERATION,
        .uid = u->uid,
        .uhash = u->uhash,
        .at = d->turn->at,
        .iseq = PQB_ISEQ_MAKE(generation, 1),
    };

    if (generation > PQB_GENERATION_MAX) // nobody gets there; only a row that lies
        return PQB_ERR_CORRUPT;
    d->l->generation_count++;
    return pqb_decision_post(d->l, &record);
}

// ---------------------------------------------------------------------------------- login

static int decide_lookup(struct pqb_decision *d)
{
    struct pqb_device_state *state = &d->r->device_state;

    fill(d);
    if (d->user != NULL && d->device == NULL) { // what a registration would give
        state->low = 1;
        state->cursor = lowest_cursor(d->user, NULL, d->user->core.settled.tail - 1);
    }
    return pqb_decision_finish(d, d->device != NULL ? PQB_RESULT_DONE : PQB_RESULT_UNKNOWN, 0);
}

static int register_device(struct pqb_decision *d)
{
    const struct pqb_ledger_limits *limits = &d->l->limits;
    struct pqb_journal_record record = pqb_decision_record(d, PQB_RECORD_DEVICE);
    int err;

    if (d->user->device_count >= PQB_MIN(limits->devices_per_user_max, PQB_USER_DEVICES_MAX))
        return pqb_decision_finish(d, PQB_RESULT_REFUSED, PQB_NACK_QUOTA);
    record.is_new = true;
    record.devno = d->user->core.devno_next;
    record.cursor = d->user->device_count > 0 ? lowest_cursor(d->user, NULL, UINT64_MAX)
                                              : d->user->core.settled.tail - 1;
    if (PQB_MUTANT(REGISTER_AT_HEAD) || PQB_MUTANT(ANY_DEVICE_IS_ALL))
        record.cursor = d->user->core.head;
    if (PQB_MUTANT(REGISTER_AT_PREVIEW))
        record.cursor = d->r->cursor;
    record.name = (struct pqb_text){.data = d->r->device, .len = d->r->device_len};
    err = pqb_decision_post(d->l, &record);
    if (err != PQB_OK)
        return err;
    d->device = pqb_ledger_device_find(d->user, record.devno);
    return pqb_decision_finish(d, PQB_RESULT_DONE, 0);
}

// A login that raises `low`, or comes after a long silence, is worth a record.
static int mark_seen(struct pqb_decision *d)
{
    struct pqb_journal_record record = pqb_decision_record(d, PQB_RECORD_DEVICE);
    const bool is_raise = d->r->epoch == d->device->epoch && d->r->low > d->device->low;
    const bool is_stale = d->turn->at >= d->device->last_seen + d->l->limits.seen_granularity_ms;

    record.low = is_raise ? d->r->low : 0;
    d->r->result = PQB_RESULT_DONE;
    return d->turn->may_store && (is_raise || is_stale) ? pqb_decision_post(d->l, &record) : PQB_OK;
}

// Whoever has messages and no device yet is let in even when the disk is full: only an acknowledged
// message makes room.
static bool may_register(const struct pqb_decision *d)
{
    return d->turn->may_store ||
           (d->user != NULL && d->user->device_count == 0 && d->user->core.settled.count > 0);
}

static int decide_login(struct pqb_decision *d)
{
    int err = PQB_OK;

    if (d->device != NULL) {
        err = mark_seen(d);
        fill(d);
        return err;
    }
    if (!may_register(d))
        return pqb_decision_finish(d, PQB_RESULT_TRANSIENT, PQB_NACK_STORAGE);
    if (d->user == NULL && !pqb_decision_may_add_user(d->l))
        return pqb_decision_finish(d, PQB_RESULT_REFUSED, PQB_NACK_UNKNOWN);
    if (d->r->user_len == 0 || d->r->device_len == 0)
        return pqb_decision_finish(d, PQB_RESULT_REFUSED, PQB_NACK_INVALID);
    if (d->user == NULL)
        err = pqb_decision_user_begin(d, d->r->user, d->r->user_len, NULL, &d->user);
    if (err == PQB_OK)
        err = register_device(d);
    fill(d);
    return err;
}

// ---------------------------------------------------------------------------------- the rest

static int decide_cursor(struct pqb_decision *d)
{
    struct pqb_request *r = d->r;
    struct pqb_journal_record record;
    int err;

    if (d->device == NULL)
        return pqb_decision_finish(d, PQB_RESULT_UNKNOWN, 0);
    r->delivered_before = d->user->core.delivered;
    pqb_decision_finish(d, PQB_RESULT_DONE, 0);
    if (PQB_MUTANT(CURSOR_NEEDS_ROOM) && !d->turn->may_store)
        return pqb_decision_finish(d, PQB_RESULT_TRANSIENT, PQB_NACK_STORAGE);
    if (r->cursor > d->user->core.head) {
        fill(d);
        return pqb_decision_finish(d, PQB_RESULT_REFUSED, PQB_NACK_INVALID);
    }
    if (r->cursor <= d->device->cursor) {
        fill(d);
        return PQB_OK;
    }
    record = pqb_decision_record(d, PQB_RECORD_CURSOR);
    record.iseq = r->cursor;
    record.delivered = PQB_MAX(d->user->core.delivered, r->cursor);
    err = settle(d->l, d->user, lowest_cursor(d->user, d->device, r->cursor), &record.settled);
    if (err == PQB_OK)
        err = pqb_decision_post(d->l, &record);
    fill(d);
    return err;
}

static int decide_epoch(struct pqb_decision *d)
{
    struct pqb_journal_record record;
    int err;

    if (d->device == NULL)
        return pqb_decision_finish(d, PQB_RESULT_UNKNOWN, 0);
    pqb_decision_finish(d, PQB_RESULT_DONE, 0);
    if (pqb_ledger_is_epoch_open(d->l, d->device) &&
        memcmp(d->device->nonce, d->r->nonce, PQB_NONCE_LEN) == 0) {
        fill(d);
        return PQB_OK;
    }
    if (!d->turn->may_store)
        return pqb_decision_finish(d, PQB_RESULT_TRANSIENT, PQB_NACK_STORAGE);
    d->r->is_first_epoch_use = true;
    record = pqb_decision_record(d, PQB_RECORD_EPOCH);
    record.epoch = PQB_MUTANT(EPOCH_REUSED) && d->device->epoch != 0 ? d->device->epoch
                                                                     : d->l->counters.next_epoch;
    memcpy(record.nonce, d->r->nonce, PQB_NONCE_LEN);
    err = pqb_decision_post(d->l, &record);
    fill(d);
    return err;
}

// A cursor this far beyond the clock and the store's last restore is taken for forged. Not counted
// from generation_max, which a client that lies again and again would push on.
#define ROLLBACK_GENERATIONS_MAX (UINT32_C(1) << 16)

// The generation that begins is above the one the client was in, or it would take what comes for
// what it has. How far above it the store is behind, only the client knows.
static int begin_above(struct pqb_decision *d, uint64_t cursor)
{
    const uint32_t known = PQB_MAX(d->l->counters.generation_floor, d->turn->minutes);
    const uint32_t shown = PQB_ISEQ_GENERATION(cursor);
    const uint32_t old = d->user->core.generation;
    const bool is_believed =
        shown < PQB_GENERATION_MAX && shown <= known + ROLLBACK_GENERATIONS_MAX;

    return pqb_decision_generation_begin(d, d->user, is_believed ? PQB_MAX(shown, old) : old);
}

static int decide_rollback(struct pqb_decision *d)
{
    int err = PQB_OK;

    if (d->user == NULL)
        return pqb_decision_finish(d, PQB_RESULT_UNKNOWN, 0);
    pqb_decision_finish(d, PQB_RESULT_DONE, 0);
    if (d->user->core.generation == PQB_GENERATION_MAX)
        pqb_decision_finish(d, PQB_RESULT_REFUSED,
                            PQB_NACK_INVALID); // there is no position left to go to
    else if (d->r->cursor == 0 || d->r->cursor > d->user->core.head)
        err = begin_above(d, d->r->cursor);
    fill(d);
    return err;
}

static int decide_user(struct pqb_decision *d)
{
    struct pqb_request *r = d->r;

    if (d->user == NULL)
        return pqb_decision_finish(d, PQB_RESULT_UNKNOWN, 0);
    fill_user(d->l, d->user, &r->user_state);
    pqb_decision_finish(d, PQB_RESULT_DONE, 0);
    if (d->user->device_count == 0)
        return PQB_OK;
    r->devices = calloc(d->user->device_count, sizeof(*r->devices));
    if (r->devices == NULL)
        return pqb_decision_finish(d, PQB_RESULT_FAILED, 0);
    for (size_t i = 0; i < d->user->device_count; i++) {
        const struct pqb_ledger_device *device = d->user->devices[i];
        struct pqb_user_device *out = &r->devices[r->devices_count++];

        memcpy(out->name, device->name, device->name_len);
        out->name_len = device->name_len;
        out->devno = device->devno;
        out->epoch = device->epoch;
        out->low = device->low;
        out->cursor = device->cursor;
        out->last_seen = device->last_seen;
    }
    return PQB_OK;
}

// Removing the slowest device may free messages; removing the last one frees none.
static int forget(struct pqb_decision *d)
{
    struct pqb_journal_record record = pqb_decision_record(d, PQB_RECORD_FORGET);
    const uint64_t floor = d->user->device_count > 1 ? lowest_cursor(d->user, d->device, UINT64_MAX)
                                                     : d->user->core.settled.floor;
    const int err = settle(d->l, d->user, floor, &record.settled);

    return err != PQB_OK ? err : pqb_decision_post(d->l, &record);
}

static int decide_forget(struct pqb_decision *d)
{
    int err;

    if (d->device == NULL)
        return pqb_decision_finish(d, PQB_RESULT_UNKNOWN, 0);
    pqb_decision_finish(d, PQB_RESULT_DONE, 0);
    err = forget(d);
    d->device = NULL;
    fill(d);
    return err;
}

static int decide_op(struct pqb_decision *d)
{
    switch (d->r->op) {
    case PQB_OP_LOOKUP:
        return decide_lookup(d);
    case PQB_OP_LOGIN:
        return decide_login(d);
    case PQB_OP_MSG:
        return pqb_decide_msg(d);
    case PQB_OP_CURSOR:
        return decide_cursor(d);
    case PQB_OP_EPOCH:
        return decide_epoch(d);
    case PQB_OP_SKIP:
        return pqb_decide_skip(d);
    case PQB_OP_STAT:
        return pqb_decide_stat(d);
    case PQB_OP_ROLLBACK:
        return decide_rollback(d);
    case PQB_OP_USER:
        return decide_user(d);
    case PQB_OP_FORGET:
        return decide_forget(d);
    case PQB_OP_CHECKPOINT:
        return pqb_decision_finish(d, PQB_RESULT_DONE, 0);
    }
    PQB_ASSERT(false);
    return PQB_ERR_INVALID;
}

int pqb_ledger_decide(struct pqb_ledger *l, struct pqb_request *r,
                      const struct pqb_ledger_turn *turn)
{
    struct pqb_decision d = {.l = l, .r = r, .turn = turn};
    int err;

    PQB_ASSERT(l->is_in_batch);
    err = r->op == PQB_OP_CHECKPOINT ? PQB_OK : find_requester(&d);
    return err != PQB_OK ? err : decide_op(&d);
}

int pqb_ledger_expire(struct pqb_ledger *l, uint64_t uid, uint64_t upto,
                      const struct pqb_ledger_turn *turn)
{
    struct pqb_decision d = {.l = l, .turn = turn};
    struct pqb_journal_record record;
    int err = pqb_ledger_user_find(l, uid, &d.user);

    if (err != PQB_OK || d.user == NULL || upto <= d.user->core.settled.floor)
        return err;
    record = pqb_decision_record(&d, PQB_RECORD_EXPIRE);
    record.iseq = upto;
    err = settle(l, d.user, upto, &record.settled);
    return err != PQB_OK ? err : pqb_decision_post(l, &record);
}

int pqb_ledger_forget_idle(struct pqb_ledger *l, uint64_t uid, pqb_wall_ms before,
                           const struct pqb_ledger_turn *turn, uint64_t *count)
{
    struct pqb_decision d = {.l = l, .turn = turn};
    int err = pqb_ledger_user_find(l, uid, &d.user);

    if (err != PQB_OK || d.user == NULL)
        return err;
    for (size_t i = d.user->device_count; i > 0 && err == PQB_OK; i--) {
        d.device = d.user->devices[i - 1];
        if (d.device->last_seen >= before)
            continue;
        err = forget(&d);
        (*count)++;
    }
    return err;
}
