#include "storage/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <poll.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/mutant.h"
#include "storage/store_internal.h"

#define REQUEST_COST 256 // bytes that a request adds to a batch besides its body, roughly
#define EXIT_FATAL   3   // the process ends so that a restart finds out what the disk really holds

// ---------------------------------------------------------------------------------- commit

static bool is_fatal(int err)
{
    return err == PQB_ERR_IO || err == PQB_ERR_CORRUPT;
}

// After a failed sync nobody knows what the disk holds; only a restart does.
void pqb_store_fail(struct pqb_store *s, const char *step, int err)
{
    s->is_failed = true;
    if (!s->has_thread)
        return;
    (void)fprintf(stderr, "storage: fatal error step=%s error=%s path=%s\n", step,
                  pqb_err_name(err), s->path);
    _exit(EXIT_FATAL);
}

static uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * PQB_NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

int pqb_store_commit_txn(struct pqb_store *s, enum pqb_failpoint step)
{
    int err;

    pqb_store_failpoint_txn(s, step);
    if (s->is_failed) // it died on the way here
        pqb_txn_fail(&s->txn, PQB_ERR_IO);
    err = pqb_txn_commit(&s->txn);
    if (err != PQB_OK)
        s->counters.commit_aborts++;
    if (is_fatal(err))
        pqb_store_fail(s, pqb_failpoints[step].step, err);
    return err;
}

// ---------------------------------------------------------------------------------- completions

static void complete(struct pqb_store *s, struct pqb_request *r)
{
    struct pqb_store_shard *shard = &s->shards[r->shard];
    const bool is_dropped = PQB_MUTANT(COMPLETION_LOST) && s->counters.commit_messages % 64 == 63;
    const bool has_room = is_dropped || pqb_mpsc_push(&shard->done, r);

    PQB_ASSERT(has_room); // a place was reserved when it was submitted
    shard->has_completions = true;
}

// After a commit every shard has records to tail; else only those with completions are woken.
static void wake(struct pqb_store *s, bool has_committed)
{
    for (uint32_t i = 0; i < s->config.shards; i++) {
        if ((has_committed || s->shards[i].has_completions) && s->config.wake != NULL)
            s->config.wake(s->config.ctx, i);
        s->shards[i].has_completions = false;
    }
}

void pqb_writer_wake(struct pqb_store *s)
{
    wake(s, true);
}

static void complete_batch(struct pqb_store *s, bool has_committed)
{
    for (size_t i = 0; i < s->batch_count; i++)
        complete(s, s->batch[i]);
    s->batch_count = 0;
    pqb_store_death_point(s, PQB_FAIL_BATCH_COMPLETED);
    wake(s, has_committed);
}

static void clear_results(struct pqb_request *r)
{
    const size_t from = offsetof(struct pqb_request, result);
    const uint64_t asked = r->op == PQB_OP_STAT && r->has_iseq ? r->iseq : 0;

    free(r->devices);
    memset((char *)r + from, 0, offsetof(struct pqb_request, body) - from);
    r->iseq = asked; // a question, not a result
}

// ---------------------------------------------------------------------------------- batch

void pqb_writer_begin(struct pqb_store *s)
{
    pqb_ledger_batch_begin(s->ledger);
    s->batch_bytes = s->batch_journal_bytes = s->batch_records = s->batch_messages = 0;
    s->has_released = false;
    s->batch_deadline = s->config.durability == PQB_DURABILITY_ASYNC
                            ? pqb_tstamp_add(s->now, PQB_ASYNC_DELAY_NS)
                            : s->now;
}

// Whether its completion waits for nothing. What is given back is among them: it must come before
// that of the message it waits for, or nothing would end the wait.
static bool may_release(const struct pqb_store *s, const struct pqb_request *r)
{
    return (s->config.durability == PQB_DURABILITY_ASYNC || PQB_MUTANT(ACCEPT_BEFORE_COMMIT)) &&
           r->op == PQB_OP_MSG &&
           (r->result == PQB_RESULT_DONE || r->result == PQB_RESULT_DUPLICATE ||
            r->result == PQB_RESULT_TRANSIENT) &&
           r->state != PQB_STATE_ABANDONED && s->txn.err == PQB_OK;
}

static void decide(struct pqb_store *s, struct pqb_request *r, bool may_store)
{
    struct pqb_ledger_turn turn = pqb_store_turn(s);
    int err;

    turn.may_store = turn.may_store && may_store;
    err = pqb_ledger_decide(s->ledger, r, &turn);
    if (err == PQB_ERR_CORRUPT) { // a row of this user: the others go on
        s->counters.records_bad++;
        r->result = PQB_RESULT_FAILED;
    } else if (err != PQB_OK) {
        pqb_txn_fail(pqb_store_txn(s), err);
    }
    if (r->op == PQB_OP_CHECKPOINT)
        s->checkpoint.is_wanted = true;
    if (r->op == PQB_OP_MSG && r->result == PQB_RESULT_DONE)
        s->batch_messages++;
}

static bool is_full(const struct pqb_store *s)
{
    return s->ledger->is_in_batch &&
           (s->batch_bytes >= s->config.batch_bytes_max || s->batch_count == s->batch_room);
}

// Takes what is queued, up to the batch's bounds, and decides it.
static void take(struct pqb_store *s)
{
    struct pqb_request *r;
    bool has_completed = false;

    while (!is_full(s) && (r = pqb_mpsc_pop(&s->queue)) != NULL) {
        if (!s->ledger->is_in_batch) {
            pqb_writer_begin(s);
            pqb_store_death_point(s, PQB_FAIL_BATCH_BEGUN);
        }
        if (s->is_failed) { // nobody is told
            s->batch[s->batch_count++] = r;
            return;
        }
        s->batch_bytes += r->body_len + REQUEST_COST;
        decide(s, r, true);
        if (may_release(s, r)) {
            s->has_released |= r->result != PQB_RESULT_TRANSIENT;
            has_completed = true;
            complete(s, r);
        } else {
            s->batch[s->batch_count++] = r;
        }
    }
    if (has_completed)
        wake(s, false);
}

static void note_committed(struct pqb_store *s)
{
    if (s->counters.journal_records == 0)
        s->journal_since = s->now;
    s->counters.commits++;
    s->counters.journal_records += s->batch_records;
    s->counters.journal_bytes += s->batch_journal_bytes;
    s->counters.commit_records += s->batch_records;
    s->counters.commit_bytes += s->batch_journal_bytes;
    s->counters.commit_messages += s->batch_messages;
}

// Commits the batch's transaction. A batch that wrote nothing needs none.
int pqb_writer_commit(struct pqb_store *s, enum pqb_failpoint step)
{
    const uint64_t begun = clock_ns(CLOCK_MONOTONIC);
    int err;

    if (s->batch_records == 0 && s->txn.err == PQB_OK) {
        pqb_txn_abort(&s->txn);
        pqb_ledger_batch_commit(s->ledger);
        return PQB_OK;
    }
    err = pqb_store_commit_txn(s, step);
    if (err != PQB_OK) {
        pqb_ledger_batch_abort(s->ledger);
        return err;
    }
    pqb_ledger_batch_commit(s->ledger);
    note_committed(s);
    s->counters.commit_ns_total += clock_ns(CLOCK_MONOTONIC) - begun;
    pqb_store_death_point(s, PQB_FAIL_BATCH_COMMITTED);
    return PQB_OK;
}

// The batch did not fit: once more without messages, for whom there is no room; what remains is
// small and comes out of the reserve.
static int decide_again(struct pqb_store *s)
{
    pqb_writer_begin(s);
    for (size_t i = 0; i < s->batch_count; i++) {
        clear_results(s->batch[i]);
        decide(s, s->batch[i], false);
    }
    return pqb_writer_commit(s, PQB_FAIL_BATCH_COMMIT);
}

static void fail_requests(struct pqb_store *s)
{
    s->batch_records = 0;
    for (size_t i = 0; i < s->batch_count; i++) {
        if (PQB_MUTANT(ABORT_IS_DONE) && s->batch[i]->op == PQB_OP_MSG)
            continue;
        clear_results(s->batch[i]);
        s->batch[i]->result = PQB_RESULT_FAILED;
    }
}

static void flush(struct pqb_store *s)
{
    int err = pqb_writer_commit(s, PQB_FAIL_BATCH_COMMIT);

    if (err == PQB_ERR_NO_SPACE && s->has_released && !PQB_MUTANT(ACCEPT_BEFORE_COMMIT)) {
        pqb_store_fail(s, "async",
                       err); // what was answered is lost: a restart begins a new generation
        return;
    }
    if (err == PQB_ERR_NO_SPACE) {
        pqb_space_failed(s);
        pqb_store_death_point(s, PQB_FAIL_BATCH_ABORTED);
        err = PQB_MUTANT(ABORT_IS_DONE) ? err : decide_again(s);
    }
    if (s->is_failed)
        return; // nobody is told: as in a crash
    if (err != PQB_OK)
        fail_requests(s);
    complete_batch(s, s->batch_records > 0);
}

// ---------------------------------------------------------------------------------- step

void pqb_writer_publish(struct pqb_store *s)
{
    s->counters.users_cached = s->ledger->by_uid.count;
    s->counters.devices_cached = s->ledger->device_total;
    s->counters.records_orphaned = s->ledger->orphan_count;
    pthread_mutex_lock(s->stats_lock);
    s->published = s->counters;
    s->published.generations += s->ledger->generation_count;
    s->published.records_bad += s->ledger->damaged_count;
    pthread_mutex_unlock(s->stats_lock);
}

static void advance_clock(struct pqb_store *s, pqb_tstamp now, pqb_wall_ms wall)
{
    s->now = PQB_MAX(s->now, now);
    s->wall = wall;
    if (!atomic_exchange(&s->must_confirm_clock, false))
        return;
    s->clock_origin = PQB_MAX(pqb_store_clock(s), wall);
    s->clock_base = s->now;
    s->counters.is_clock_doubted = 0;
}

static bool is_batch_due(const struct pqb_store *s)
{
    return s->ledger->is_in_batch &&
           (s->now >= s->batch_deadline || is_full(s) || s->txn.err != PQB_OK);
}

// A checkpoint's transactions stand between batches, never inside one.
static bool is_checkpoint_next(const struct pqb_store *s)
{
    return !s->is_failed && pqb_checkpoint_is_due(s);
}

bool pqb_store_step(struct pqb_store *s, pqb_tstamp now, pqb_wall_ms wall)
{
    if (s->is_failed)
        return false;
    advance_clock(s, now, wall);
    if (s->counters.is_degraded)
        pqb_space_check(s);
    take(s);
    if (s->is_failed)
        return false;
    if (is_batch_due(s) || (s->ledger->is_in_batch && is_checkpoint_next(s)))
        flush(s);
    if (s->is_failed)
        return false;
    if (is_checkpoint_next(s))
        pqb_checkpoint_step(s);
    if (s->is_failed)
        return false;
    pqb_space_check(s);
    pqb_writer_publish(s);
    return pqb_mpsc_len(&s->queue) > 0 || pqb_checkpoint_is_due(s);
}

pqb_tstamp pqb_store_next_deadline(const struct pqb_store *s)
{
    pqb_tstamp at = pqb_checkpoint_deadline(s);

    if (s->is_failed)
        return PQB_NEVER;
    if (s->ledger->is_in_batch)
        at = PQB_MIN(at, s->batch_deadline);
    return at;
}

void pqb_writer_finish(struct pqb_store *s)
{
    pqb_store_death_point(s, PQB_FAIL_CLOSE_BEGUN);
    do {
        take(s);
        if (s->ledger->is_in_batch && !s->is_failed)
            flush(s);
        if (s->is_failed)
            return;
    } while (pqb_mpsc_len(&s->queue) > 0);
    pqb_store_put_state(s, pqb_store_txn(s), PQB_OPEN_CLOSED);
    // Without it the next start takes the end for an unclean one: safe.
    if (pqb_store_commit_txn(s, PQB_FAIL_CLOSE_COMMIT) != PQB_OK)
        s->counters.commit_aborts++;
    else
        pqb_store_death_point(s, PQB_FAIL_CLOSE_COMMITTED);
}

// ---------------------------------------------------------------------------------- thread

// Sleeping is announced by a read-modify-write on both sides: whichever comes second sees the
// other's, so either the submitter wakes the writer or the writer finds the request.
void pqb_writer_nudge(struct pqb_store *s)
{
    const uint64_t one = 1;

    if (atomic_exchange(&s->is_sleeping, false)) {
        const ssize_t n = write(s->wake_fd, &one, sizeof(one));

        (void)n; // a full eventfd wakes as well
    }
}

static struct timespec until(pqb_tstamp deadline, pqb_tstamp now)
{
    const uint64_t most = 3600 * PQB_NS_PER_SEC;
    const uint64_t ns = PQB_MIN(deadline > now ? deadline - now : 0, most);

    return (struct timespec){.tv_sec = (time_t)(ns / PQB_NS_PER_SEC),
                             .tv_nsec = (long)(ns % PQB_NS_PER_SEC)};
}

static void sleep_until(struct pqb_store *s, pqb_tstamp deadline)
{
    struct pollfd fd = {.fd = s->wake_fd, .events = POLLIN};
    const struct timespec timeout = until(deadline, clock_ns(CLOCK_MONOTONIC));
    uint64_t drained;

    atomic_exchange(&s->is_sleeping, true);
    if (pqb_mpsc_len(&s->queue) == 0 && !atomic_load(&s->must_stop))
        (void)ppoll(&fd, 1, &timeout, NULL);
    if (!atomic_exchange(&s->is_sleeping, false)) {
        const ssize_t n = read(s->wake_fd, &drained, sizeof(drained));

        (void)n; // the nudge may still be on its way; then the next sleep is short
    }
}

static void *writer_main(void *arg)
{
    struct pqb_store *s = arg;

    while (!atomic_load(&s->must_stop)) {
        const pqb_tstamp now = clock_ns(CLOCK_MONOTONIC);

        if (!pqb_store_step(s, now, clock_ns(CLOCK_REALTIME) / PQB_NS_PER_MS))
            sleep_until(s, pqb_store_next_deadline(s));
    }
    return NULL;
}

int pqb_store_start(struct pqb_store *s)
{
    PQB_ASSERT(!s->has_thread);
    s->has_thread = true; // before the thread reads it
    if (pthread_create(&s->thread, NULL, writer_main, s) != 0) {
        s->has_thread = false;
        return PQB_ERR_NOMEM;
    }
    return PQB_OK;
}

void pqb_writer_stop(struct pqb_store *s)
{
    if (!s->has_thread)
        return;
    atomic_store(&s->must_stop, true);
    pqb_writer_nudge(s);
    pthread_join(s->thread, NULL);
    s->has_thread = false;
}
