// Requests to records. Every change goes through post(): the record is appended and applied, so
// that what is decided and what a replay finds cannot differ.
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/err.h"
#include "storage/ledger_internal.h"

// A request on its way through the ledger.
struct decision {
    struct pqb_ledger *l;
    struct pqb_request *r;
    const struct pqb_ledger_turn *turn;
    struct pqb_ledger_user *user;     // the requesting one
    struct pqb_ledger_device *device; // of `user`
};

static int post(struct pqb_ledger *l, const struct pqb_journal_record *record)
{
    const uint64_t gseq = l->counters.next_gseq;

    PQB_ASSERT(l->is_in_batch);
    l->io.append(l->io.ctx, record, gseq);
    l->counters.next_gseq += 1 + (uint64_t)pqb_record_part_count(record);
    return pqb_ledger_apply(l, record, gseq);
}

static struct pqb_journal_record record_of(const struct decision *d, enum pqb_record_type type)
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

static void fill_user(const struct pqb_ledger_user *u, struct pqb_user_state *out)
{
    *out = (struct pqb_user_state){
        .uid = u->uid,
        .uhash = u->uhash,
        .head = u->core.head,
        .tail = u->core.settled.tail,
        .delivered = u->core.delivered,
        .count = u->core.settled.count,
        .bytes = u->core.settled.bytes,
        .generation_first = PQB_ISEQ_MAKE(u->core.generation, 1),
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

static void fill_device(const struct pqb_ledger_device *d, struct pqb_device_state *out)
{
    out->devno = d->devno;
    out->epoch = d->epoch;
    out->low = d->low;
    out->cursor = d->cursor;
    fill_consumed(d, &out->consumed);
}

static void fill(const struct decision *d)
{
    if (d->user != NULL)
        fill_user(d->user, &d->r->user_state);
    if (d->device != NULL)
        fill_device(d->device, &d->r->device_state);
}

static int finish(const struct decision *d, enum pqb_result result, uint8_t nack)
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
    for (size_t i = 0; i < u->device_count; i++) {
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
    return PQB_OK;
}

// ---------------------------------------------------------------------------------- finding

// By uid and devno, or by names where uid is 0.
static int find_requester(struct decision *d)
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

static int user_begin(struct decision *d, const char *name, size_t len,
                      const struct decision *creator, struct pqb_ledger_user **out)
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
    const int err = post(d->l, &record);

    return err != PQB_OK ? err : pqb_ledger_user_find(d->l, uid, out);
}

static bool may_add_user(const struct pqb_ledger *l)
{
    return l->counters.user_count < l->limits.users_max;
}

static int generation_begin(struct decision *d, struct pqb_ledger_user *u, uint32_t generation)
{
    const struct pqb_journal_record record = {
        .type = PQB_RECORD_GENERATION,
        .uid = u->uid,
        .uhash = u->uhash,
        .at = d->turn->at,
        .iseq = PQB_ISEQ_MAKE(generation, 1),
    };

    d->l->generation_count++;
    return post(d->l, &record);
}

// ---------------------------------------------------------------------------------- login

static int decide_lookup(struct decision *d)
{
    struct pqb_device_state *state = &d->r->device_state;

    fill(d);
    if (d->user != NULL && d->device == NULL) { // what a registration would give
        state->low = 1;
        state->cursor = lowest_cursor(d->user, NULL, d->user->core.settled.tail - 1);
    }
    return finish(d, d->device != NULL ? PQB_RESULT_DONE : PQB_RESULT_UNKNOWN, 0);
}

static int register_device(struct decision *d)
{
    const struct pqb_ledger_limits *limits = &d->l->limits;
    struct pqb_journal_record record = record_of(d, PQB_RECORD_DEVICE);
    int err;

    if (d->user->device_count >= PQB_MIN(limits->devices_per_user_max, PQB_USER_DEVICES_MAX))
        return finish(d, PQB_RESULT_REFUSED, PQB_NACK_QUOTA);
    record.is_new = true;
    record.devno = d->user->core.devno_next;
    record.cursor = d->user->device_count > 0 ? lowest_cursor(d->user, NULL, UINT64_MAX)
                                              : d->user->core.settled.tail - 1;
    record.name = (struct pqb_text){.data = d->r->device, .len = d->r->device_len};
    err = post(d->l, &record);
    if (err != PQB_OK)
        return err;
    d->device = pqb_ledger_device_find(d->user, record.devno);
    return finish(d, PQB_RESULT_DONE, 0);
}

// A login that raises `low`, or comes after a long silence, is worth a record.
static int mark_seen(struct decision *d)
{
    struct pqb_journal_record record = record_of(d, PQB_RECORD_DEVICE);
    const bool is_raise = d->r->epoch == d->device->epoch && d->r->low > d->device->low;
    const bool is_stale = d->turn->at >= d->device->last_seen + d->l->limits.seen_granularity_ms;

    record.low = is_raise ? d->r->low : 0;
    d->r->result = PQB_RESULT_DONE;
    return d->turn->may_store && (is_raise || is_stale) ? post(d->l, &record) : PQB_OK;
}

static int decide_login(struct decision *d)
{
    int err = PQB_OK;

    if (d->device != NULL) {
        err = mark_seen(d);
        fill(d);
        return err;
    }
    if (!d->turn->may_store)
        return finish(d, PQB_RESULT_TRANSIENT, PQB_NACK_STORAGE);
    if (d->user == NULL && !may_add_user(d->l))
        return finish(d, PQB_RESULT_REFUSED, PQB_NACK_UNKNOWN);
    if (d->r->user_len == 0 || d->r->device_len == 0)
        return finish(d, PQB_RESULT_REFUSED, PQB_NACK_INVALID);
    if (d->user == NULL)
        err = user_begin(d, d->r->user, d->r->user_len, NULL, &d->user);
    if (err == PQB_OK)
        err = register_device(d);
    fill(d);
    return err;
}

// ---------------------------------------------------------------------------------- messages

// Over to, kind and body, not over low and after: those may differ between repeats.
static uint32_t message_hash(const struct pqb_request *r)
{
    const uint8_t head[3] = {r->to_len, (uint8_t)(r->kind >> 8), (uint8_t)r->kind};
    uint32_t crc = pqb_crc32c(0, head, sizeof(head));

    crc = pqb_crc32c(crc, r->to, r->to_len);
    return pqb_crc32c(crc, r->body, r->body_len);
}

static int answer_repeat(struct decision *d, const struct pqb_consumed *e, uint32_t hash)
{
    struct pqb_request *r = d->r;
    struct pqb_ledger_user *to;
    int err;

    if (e->state != PQB_STATE_ABANDONED && e->hash != hash)
        return finish(d, PQB_RESULT_REFUSED, PQB_NACK_CONFLICT);
    r->state = e->state;
    if (e->state == PQB_STATE_REFUSED)
        return finish(d, PQB_RESULT_REFUSED, e->nack);
    if (e->state == PQB_STATE_ABANDONED)
        return finish(d, PQB_RESULT_DUPLICATE, 0);
    r->iseq = e->iseq;
    err = pqb_ledger_name_find(d->l, r->to, r->to_len, &to);
    if (err != PQB_OK)
        return err;
    if (to != NULL) {
        r->to_uid = to->uid;
        r->to_uhash = to->uhash;
        if (e->iseq != 0 && e->iseq <= to->core.delivered)
            r->state = PQB_STATE_DELIVERED;
    }
    return finish(d, PQB_RESULT_DUPLICATE, 0);
}

static int refuse_final(struct decision *d, uint64_t low, uint32_t hash, uint8_t nack)
{
    struct pqb_journal_record record = record_of(d, PQB_RECORD_REFUSAL);

    record.low = low;
    record.seq = d->r->seq;
    record.hash = hash;
    record.nack = nack;
    d->r->state = PQB_STATE_REFUSED;
    finish(d, PQB_RESULT_REFUSED, nack);
    return post(d->l, &record);
}

// Whether every seq in [low, seq) has been consumed.
static bool is_dense_below(const struct pqb_ledger_device *d, uint64_t low, uint64_t seq)
{
    size_t count = 0;

    for (size_t i = 0; i < d->consumed_count && d->consumed[i].seq < seq; i++)
        count += d->consumed[i].seq >= low;
    return count == seq - low;
}

// Whether the message named by `after` is out of the way. One that was accepted or refused had its
// own predecessor out of the way before; one that was skipped need not have had, and must not let
// this message past what it was itself waiting for.
static bool is_after_met(const struct decision *d, uint64_t low)
{
    const uint64_t after = d->r->after;
    const struct pqb_consumed *entry;

    if (after < low)
        return true;
    entry = pqb_ledger_consumed_find(d->device, after);
    return entry != NULL &&
           (entry->state != PQB_STATE_ABANDONED || is_dense_below(d->device, low, after));
}

// Finds or makes the recipient. *nack says why there is none.
static int find_recipient(struct decision *d, struct pqb_ledger_user **out, uint8_t *nack)
{
    const struct pqb_request *r = d->r;
    const int err = pqb_ledger_name_find(d->l, r->to, r->to_len, out);

    if (err != PQB_OK || *out != NULL) {
        if (*out != NULL)
            (*out)->used_in = d->l->batch;
        return err;
    }
    if (!may_add_user(d->l) || d->device->created_count >= d->l->limits.users_per_sender_max) {
        *nack = PQB_NACK_UNKNOWN;
        return PQB_OK;
    }
    return user_begin(d, r->to, r->to_len, d, out);
}

static bool is_full(const struct pqb_ledger_limits *limits, const struct pqb_ledger_user *to,
                    uint32_t body_len)
{
    const struct pqb_settled *s = &to->core.settled;

    return s->count >= limits->inbox_messages_max || s->bytes + body_len > limits->inbox_bytes_max;
}

static int accept_message(struct decision *d, struct pqb_ledger_user *to, uint64_t low,
                          uint32_t hash)
{
    struct pqb_request *r = d->r;
    struct pqb_journal_record record = record_of(d, PQB_RECORD_MSG);
    int err = PQB_OK;

    if (to->core.generation < d->l->counters.generation_floor)
        err = generation_begin(d, to, generation_next(d->l, to->core.generation, d->turn));
    if (err != PQB_OK)
        return err;
    PQB_ASSERT(PQB_ISEQ_GENERATION(to->core.head + 1) == to->core.generation);
    record.uid = to->uid;
    record.uhash = to->uhash;
    record.low = low;
    record.seq = r->seq;
    record.hash = hash;
    record.iseq = to->core.head + 1;
    record.from_uid = d->user->uid;
    record.from_uhash = d->user->uhash;
    record.kind = r->kind;
    record.time = r->time;
    record.body_len = r->body_len;
    record.from = (struct pqb_text){.data = d->user->name, .len = d->user->name_len};
    record.device = (struct pqb_text){.data = d->device->name, .len = d->device->name_len};
    record.body = (struct pqb_bytes){.data = r->body, .len = r->body_len};
    r->state = PQB_STATE_ACCEPTED;
    r->iseq = record.iseq;
    r->to_uid = to->uid;
    r->to_uhash = to->uhash;
    finish(d, PQB_RESULT_DONE, 0);
    return post(d->l, &record);
}

// A message whose seq is free and inside the window.
static int decide_fresh(struct decision *d, uint64_t low, uint32_t hash)
{
    const struct pqb_request *r = d->r;
    struct pqb_ledger_user *to = NULL;
    uint8_t nack = 0;
    int err;

    if (!d->turn->may_store)
        return finish(d, PQB_RESULT_TRANSIENT, PQB_NACK_STORAGE);
    if (r->after >= r->seq || r->to_len == 0 || r->to_len > PQB_USER_MAX)
        return refuse_final(d, low, hash, PQB_NACK_INVALID);
    if (!is_after_met(d, low))
        return finish(d, PQB_RESULT_TRANSIENT, PQB_NACK_ORDER);
    if (r->refuse != 0)
        return refuse_final(d, low, hash, r->refuse);
    if (r->body_len > PQB_BODY_MAX)
        return refuse_final(d, low, hash, PQB_NACK_TOO_LARGE);
    err = find_recipient(d, &to, &nack);
    if (err != PQB_OK)
        return err;
    if (to != NULL && is_full(&d->l->limits, to, r->body_len))
        nack = PQB_NACK_QUOTA;
    if (nack != 0)
        return refuse_final(d, low, hash, nack);
    PQB_ASSERT(to != NULL);
    return accept_message(d, to, low, hash);
}

static bool is_epoch_right(const struct decision *d)
{
    return d->r->epoch != 0 && d->r->epoch == d->device->epoch;
}

static int decide_msg(struct decision *d)
{
    const struct pqb_request *r = d->r;

    if (d->device == NULL)
        return finish(d, PQB_RESULT_UNKNOWN, 0);
    if (!is_epoch_right(d))
        return finish(d, PQB_RESULT_REFUSED, PQB_NACK_EPOCH);

    const uint64_t low = PQB_MAX(d->device->low, r->low);

    if (r->seq < low) // forgotten: it may have been another message
        return finish(d, PQB_RESULT_REFUSED, PQB_NACK_CONFLICT);
    if (r->seq - low >= PQB_SEQ_WINDOW)
        return finish(d, PQB_RESULT_REFUSED, PQB_NACK_WINDOW);

    const uint32_t hash = message_hash(r);
    const struct pqb_consumed *entry = pqb_ledger_consumed_find(d->device, r->seq);

    return entry != NULL ? answer_repeat(d, entry, hash) : decide_fresh(d, low, hash);
}

// ---------------------------------------------------------------------------------- the rest

static int decide_cursor(struct decision *d)
{
    struct pqb_request *r = d->r;
    struct pqb_journal_record record;
    int err;

    if (d->device == NULL)
        return finish(d, PQB_RESULT_UNKNOWN, 0);
    r->delivered_before = d->user->core.delivered;
    finish(d, PQB_RESULT_DONE, 0);
    if (r->cursor > d->user->core.head) {
        fill(d);
        return finish(d, PQB_RESULT_REFUSED, PQB_NACK_INVALID);
    }
    if (r->cursor <= d->device->cursor) {
        fill(d);
        return PQB_OK;
    }
    record = record_of(d, PQB_RECORD_CURSOR);
    record.iseq = r->cursor;
    record.delivered = PQB_MAX(d->user->core.delivered, r->cursor);
    err = settle(d->l, d->user, lowest_cursor(d->user, d->device, r->cursor), &record.settled);
    if (err == PQB_OK)
        err = post(d->l, &record);
    fill(d);
    return err;
}

static int decide_epoch(struct decision *d)
{
    struct pqb_journal_record record;
    int err;

    if (d->device == NULL)
        return finish(d, PQB_RESULT_UNKNOWN, 0);
    finish(d, PQB_RESULT_DONE, 0);
    if (d->device->epoch != 0 && memcmp(d->device->nonce, d->r->nonce, PQB_NONCE_LEN) == 0) {
        fill(d);
        return PQB_OK;
    }
    if (!d->turn->may_store)
        return finish(d, PQB_RESULT_TRANSIENT, PQB_NACK_STORAGE);
    d->r->is_first_epoch_use = true;
    record = record_of(d, PQB_RECORD_EPOCH);
    record.epoch = d->l->counters.next_epoch;
    memcpy(record.nonce, d->r->nonce, PQB_NONCE_LEN);
    err = post(d->l, &record);
    fill(d);
    return err;
}

// State of one seq of a skip; ABANDONED when this skip makes it so.
static uint8_t skip_one(const struct decision *d, uint64_t low, uint64_t seq,
                        struct pqb_frame_skip_a *fresh)
{
    const struct pqb_consumed *entry;

    if (seq < low || seq - low >= PQB_SEQ_WINDOW)
        return PQB_STATE_UNKNOWN; // forgotten, or more than it may have sent
    entry = pqb_ledger_consumed_find(d->device, seq);
    if (entry != NULL)
        return entry->state;
    fresh->at[fresh->count].seq = seq;
    fresh->at[fresh->count++].state = PQB_STATE_ABANDONED;
    return PQB_STATE_ABANDONED;
}

static int decide_skip(struct decision *d)
{
    struct pqb_request *r = d->r;
    struct pqb_frame_skip_a *answer = &r->skipped;

    if (d->device == NULL)
        return finish(d, PQB_RESULT_UNKNOWN, 0);
    if (!is_epoch_right(d))
        return finish(d, PQB_RESULT_REFUSED, PQB_NACK_EPOCH);

    const uint64_t low = PQB_MAX(d->device->low, r->low);
    struct pqb_journal_record record = record_of(d, PQB_RECORD_SKIP);

    PQB_ASSERT(r->seqs.count <= PQB_FRAME_RANGES_MAX);
    record.low = low;
    answer->count = 0;
    for (size_t i = 0; i < r->seqs.count; i++) {
        const struct pqb_range *range = &r->seqs.at[i];

        for (uint64_t seq = range->first; answer->count < PQB_SKIP_MAX && seq <= range->last;
             seq++) {
            answer->at[answer->count].seq = seq;
            answer->at[answer->count++].state = skip_one(d, low, seq, &record.skipped);
            if (seq == UINT64_MAX) // the next one would be 0, which is no seq
                break;
        }
    }
    finish(d, PQB_RESULT_DONE, 0);
    return record.skipped.count > 0 ? post(d->l, &record) : PQB_OK;
}

static int decide_stat(struct decision *d)
{
    struct pqb_request *r = d->r;
    const struct pqb_consumed *entry;
    struct pqb_ledger_user *to = NULL;

    r->state = PQB_STATE_UNKNOWN;
    finish(d, PQB_RESULT_DONE, 0);
    if (r->has_iseq) {
        const int err = pqb_ledger_name_find(d->l, r->to, r->to_len, &to);

        if (err != PQB_OK || to == NULL)
            return err;
        r->to_uid = to->uid;
        r->to_uhash = to->uhash;
        r->state = r->iseq <= to->core.delivered ? PQB_STATE_DELIVERED : PQB_STATE_STORED;
        return PQB_OK;
    }
    if (d->device == NULL)
        return finish(d, PQB_RESULT_UNKNOWN, 0);
    entry = is_epoch_right(d) ? pqb_ledger_consumed_find(d->device, r->seq) : NULL;
    if (entry == NULL)
        return PQB_OK;
    r->state = entry->state;
    r->nack = entry->nack;
    r->iseq = entry->iseq;
    return PQB_OK;
}

static int decide_rollback(struct decision *d)
{
    int err = PQB_OK;

    if (d->user == NULL)
        return finish(d, PQB_RESULT_UNKNOWN, 0);
    finish(d, PQB_RESULT_DONE, 0);
    if (d->user->core.generation == PQB_GENERATION_MAX)
        finish(d, PQB_RESULT_REFUSED, PQB_NACK_INVALID); // there is no position left to go to
    else if (d->r->cursor == 0 || d->r->cursor > d->user->core.head)
        err =
            generation_begin(d, d->user, generation_next(d->l, d->user->core.generation, d->turn));
    fill(d);
    return err;
}

static int decide_user(struct decision *d)
{
    struct pqb_request *r = d->r;

    if (d->user == NULL)
        return finish(d, PQB_RESULT_UNKNOWN, 0);
    fill_user(d->user, &r->user_state);
    finish(d, PQB_RESULT_DONE, 0);
    if (d->user->device_count == 0)
        return PQB_OK;
    r->devices = calloc(d->user->device_count, sizeof(*r->devices));
    if (r->devices == NULL)
        return finish(d, PQB_RESULT_FAILED, 0);
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
static int forget(struct decision *d)
{
    struct pqb_journal_record record = record_of(d, PQB_RECORD_FORGET);
    const uint64_t floor = d->user->device_count > 1 ? lowest_cursor(d->user, d->device, UINT64_MAX)
                                                     : d->user->core.settled.floor;
    const int err = settle(d->l, d->user, floor, &record.settled);

    return err != PQB_OK ? err : post(d->l, &record);
}

static int decide_forget(struct decision *d)
{
    int err;

    if (d->device == NULL)
        return finish(d, PQB_RESULT_UNKNOWN, 0);
    finish(d, PQB_RESULT_DONE, 0);
    err = forget(d);
    d->device = NULL;
    fill(d);
    return err;
}

static int decide_op(struct decision *d)
{
    switch (d->r->op) {
    case PQB_OP_LOOKUP:
        return decide_lookup(d);
    case PQB_OP_LOGIN:
        return decide_login(d);
    case PQB_OP_MSG:
        return decide_msg(d);
    case PQB_OP_CURSOR:
        return decide_cursor(d);
    case PQB_OP_EPOCH:
        return decide_epoch(d);
    case PQB_OP_SKIP:
        return decide_skip(d);
    case PQB_OP_STAT:
        return decide_stat(d);
    case PQB_OP_ROLLBACK:
        return decide_rollback(d);
    case PQB_OP_USER:
        return decide_user(d);
    case PQB_OP_FORGET:
        return decide_forget(d);
    case PQB_OP_CHECKPOINT:
        return finish(d, PQB_RESULT_DONE, 0);
    }
    PQB_ASSERT(false);
    return PQB_ERR_INVALID;
}

int pqb_ledger_decide(struct pqb_ledger *l, struct pqb_request *r,
                      const struct pqb_ledger_turn *turn)
{
    struct decision d = {.l = l, .r = r, .turn = turn};
    int err;

    PQB_ASSERT(l->is_in_batch);
    err = r->op == PQB_OP_CHECKPOINT ? PQB_OK : find_requester(&d);
    return err != PQB_OK ? err : decide_op(&d);
}

int pqb_ledger_expire(struct pqb_ledger *l, uint64_t uid, uint64_t upto,
                      const struct pqb_ledger_turn *turn)
{
    struct decision d = {.l = l, .turn = turn};
    struct pqb_journal_record record;
    int err = pqb_ledger_user_find(l, uid, &d.user);

    if (err != PQB_OK || d.user == NULL || upto <= d.user->core.settled.floor)
        return err;
    record = record_of(&d, PQB_RECORD_EXPIRE);
    record.iseq = upto;
    err = settle(l, d.user, upto, &record.settled);
    return err != PQB_OK ? err : post(l, &record);
}

int pqb_ledger_forget_idle(struct pqb_ledger *l, uint64_t uid, pqb_wall_ms before,
                           const struct pqb_ledger_turn *turn, uint64_t *count)
{
    struct decision d = {.l = l, .turn = turn};
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
