// What becomes of a sender's seqs: accepted, refused, a repeat, skipped, asked about.
#include <string.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/err.h"
#include "common/base/mutant.h"
#include "storage/ledger_decision.h"

// Over to, kind and body, not over low and after: those may differ between repeats.
static uint32_t message_hash(const struct pqb_request *r)
{
    const uint8_t head[3] = {r->to_len, (uint8_t)(r->kind >> 8), (uint8_t)r->kind};
    uint32_t crc = pqb_crc32c(0, head, sizeof(head));

    crc = pqb_crc32c(crc, r->to, r->to_len);
    return pqb_crc32c(crc, r->body, r->body_len);
}

static int answer_repeat(struct pqb_decision *d, const struct pqb_consumed *e, uint32_t hash)
{
    struct pqb_request *r = d->r;
    struct pqb_ledger_user *to;
    int err;

    if (e->state != PQB_STATE_ABANDONED && e->hash != hash && !PQB_MUTANT(RING_MISS_ACCEPTED))
        return pqb_decision_finish(d, PQB_RESULT_REFUSED, PQB_NACK_CONFLICT);
    r->state = e->state;
    if (e->state == PQB_STATE_REFUSED)
        return pqb_decision_finish(d, PQB_RESULT_REFUSED, e->nack);
    if (e->state == PQB_STATE_ABANDONED)
        return pqb_decision_finish(d, PQB_RESULT_DUPLICATE, 0);
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
    return pqb_decision_finish(d, PQB_RESULT_DUPLICATE, 0);
}

static int refuse_final(struct pqb_decision *d, uint64_t low, uint32_t hash, uint8_t nack)
{
    struct pqb_journal_record record = pqb_decision_record(d, PQB_RECORD_REFUSAL);

    record.low = low;
    record.seq = d->r->seq;
    record.hash = hash;
    record.nack = nack;
    d->r->state = PQB_STATE_REFUSED;
    pqb_decision_finish(d, PQB_RESULT_REFUSED, nack);
    if (PQB_MUTANT(QUOTA_IS_FORGOTTEN) && nack == PQB_NACK_QUOTA)
        return PQB_OK;
    return pqb_decision_post(d->l, &record);
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
static bool is_after_met(const struct pqb_decision *d, uint64_t low)
{
    const uint64_t after = d->r->after;
    const struct pqb_consumed *entry;

    if (after < low || PQB_MUTANT(AFTER_IGNORED))
        return true;
    entry = pqb_ledger_consumed_find(d->device, after);
    return entry != NULL &&
           (entry->state != PQB_STATE_ABANDONED || is_dense_below(d->device, low, after));
}

// Finds or makes the recipient. *nack says why there is none.
static int find_recipient(struct pqb_decision *d, struct pqb_ledger_user **out, uint8_t *nack)
{
    const struct pqb_request *r = d->r;
    const int err = pqb_ledger_name_find(d->l, r->to, r->to_len, out);

    if (err != PQB_OK || *out != NULL) {
        if (*out != NULL)
            (*out)->used_in = d->l->batch;
        return err;
    }
    if (!pqb_decision_may_add_user(d->l) ||
        d->device->created_count >= d->l->limits.users_per_sender_max) {
        *nack = PQB_NACK_UNKNOWN;
        return PQB_OK;
    }
    return pqb_decision_user_begin(d, r->to, r->to_len, d, out);
}

static bool is_full(const struct pqb_ledger_limits *limits, const struct pqb_ledger_user *to,
                    uint32_t body_len)
{
    const struct pqb_settled *s = &to->core.settled;

    return s->count >= limits->inbox_messages_max || s->bytes + body_len > limits->inbox_bytes_max;
}

// The user's next position lies in its generation, and that is not an old one.
static bool is_generation_sound(const struct pqb_ledger *l, const struct pqb_ledger_user *u)
{
    return u->core.generation >= l->counters.generation_floor &&
           PQB_ISEQ_GENERATION(u->core.head + 1) == u->core.generation;
}

static int accept_message(struct pqb_decision *d, struct pqb_ledger_user *to, uint64_t low,
                          uint32_t hash)
{
    struct pqb_request *r = d->r;
    struct pqb_journal_record record = pqb_decision_record(d, PQB_RECORD_MSG);
    int err = PQB_OK;

    if (!is_generation_sound(d->l, to))
        err = pqb_decision_generation_begin(d, to, 0);
    if (err != PQB_OK)
        return err;
    PQB_ASSERT(is_generation_sound(d->l, to));
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
    pqb_decision_finish(d, PQB_RESULT_DONE, 0);
    return pqb_decision_post(d->l, &record);
}

// A message whose seq is free and inside the window.
static int decide_fresh(struct pqb_decision *d, uint64_t low, uint32_t hash)
{
    const struct pqb_request *r = d->r;
    struct pqb_ledger_user *to = NULL;
    uint8_t nack = 0;
    int err;

    if (!d->turn->may_store)
        return pqb_decision_finish(d, PQB_RESULT_TRANSIENT, PQB_NACK_STORAGE);
    if (r->after >= r->seq || r->to_len == 0 || r->to_len > PQB_USER_MAX)
        return refuse_final(d, low, hash, PQB_NACK_INVALID);
    if (!is_after_met(d, low))
        return pqb_decision_finish(d, PQB_RESULT_TRANSIENT, PQB_NACK_ORDER);
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

static bool is_epoch_right(const struct pqb_decision *d)
{
    return pqb_ledger_is_epoch_open(d->l, d->device) && d->r->epoch == d->device->epoch;
}

int pqb_decide_msg(struct pqb_decision *d)
{
    const struct pqb_request *r = d->r;

    if (d->device == NULL)
        return pqb_decision_finish(d, PQB_RESULT_UNKNOWN, 0);
    if (!is_epoch_right(d))
        return pqb_decision_finish(d, PQB_RESULT_REFUSED, PQB_NACK_EPOCH);

    const uint64_t low = PQB_MAX(d->device->low, r->low);

    if (r->seq < low && PQB_MUTANT(RING_MISS_ACCEPTED)) {
        d->r->state = PQB_STATE_ACCEPTED;
        return pqb_decision_finish(d, PQB_RESULT_DUPLICATE, 0);
    }
    if (r->seq < low) // forgotten: it may have been another message
        return pqb_decision_finish(d, PQB_RESULT_REFUSED, PQB_NACK_CONFLICT);
    if (r->seq - low >= PQB_SEQ_WINDOW)
        return pqb_decision_finish(d, PQB_RESULT_REFUSED, PQB_NACK_WINDOW);

    const uint32_t hash = message_hash(r);
    const struct pqb_consumed *entry = pqb_ledger_consumed_find(d->device, r->seq);

    if (PQB_MUTANT(NO_IN_FLIGHT) && d->device->saved_in == d->l->batch)
        return decide_fresh(d, low, hash);
    return entry != NULL ? answer_repeat(d, entry, hash) : decide_fresh(d, low, hash);
}

// State of one seq of a skip; ABANDONED when this skip makes it so.
static uint8_t skip_one(const struct pqb_decision *d, uint64_t low, uint64_t seq,
                        struct pqb_frame_skip_a *fresh)
{
    const struct pqb_consumed *entry;

    if (seq < low || seq - low >= PQB_SEQ_WINDOW)
        return PQB_STATE_UNKNOWN; // forgotten, or more than it may have sent
    entry = pqb_ledger_consumed_find(d->device, seq);
    if (entry != NULL)
        return PQB_MUTANT(SKIP_LIES) ? PQB_STATE_ABANDONED : entry->state;
    fresh->at[fresh->count].seq = seq;
    fresh->at[fresh->count++].state = PQB_STATE_ABANDONED;
    return PQB_STATE_ABANDONED;
}

int pqb_decide_skip(struct pqb_decision *d)
{
    struct pqb_request *r = d->r;
    struct pqb_frame_skip_a *answer = &r->skipped;

    if (d->device == NULL)
        return pqb_decision_finish(d, PQB_RESULT_UNKNOWN, 0);
    if (!is_epoch_right(d))
        return pqb_decision_finish(d, PQB_RESULT_REFUSED, PQB_NACK_EPOCH);

    const uint64_t low = PQB_MAX(d->device->low, r->low);
    struct pqb_journal_record record = pqb_decision_record(d, PQB_RECORD_SKIP);

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
    pqb_decision_finish(d, PQB_RESULT_DONE, 0);
    return record.skipped.count > 0 ? pqb_decision_post(d->l, &record) : PQB_OK;
}

int pqb_decide_stat(struct pqb_decision *d)
{
    struct pqb_request *r = d->r;
    const struct pqb_consumed *entry;
    struct pqb_ledger_user *to = NULL;

    r->state = PQB_STATE_UNKNOWN;
    pqb_decision_finish(d, PQB_RESULT_DONE, 0);
    if (r->has_iseq) {
        const int err = pqb_ledger_name_find(d->l, r->to, r->to_len, &to);

        if (err != PQB_OK || to == NULL)
            return err;
        r->to_uid = to->uid;
        r->to_uhash = to->uhash;
        r->state = r->iseq <= to->core.delivered || PQB_MUTANT(STORED_IS_DELIVERED)
                       ? PQB_STATE_DELIVERED
                       : PQB_STATE_STORED;
        return PQB_OK;
    }
    if (d->device == NULL)
        return pqb_decision_finish(d, PQB_RESULT_UNKNOWN, 0);
    entry = is_epoch_right(d) ? pqb_ledger_consumed_find(d->device, r->seq) : NULL;
    if (entry == NULL)
        return PQB_OK;
    r->state = entry->state;
    r->nack = entry->nack;
    r->iseq = entry->iseq;
    return PQB_OK;
}
