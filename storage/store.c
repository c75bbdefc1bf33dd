#include "storage/store.h"

#include <stdlib.h>
#include <string.h>

#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "storage/store_internal.h"
#include "storage/writer.h"

#define READERS_BESIDES_SHARDS 16 // backup, free-page counts, tools

void pqb_store_config_default(struct pqb_store_config *config)
{
    const uint64_t mib = UINT64_C(1) << 20;

    config->map_bytes = (size_t)(16384 * mib);
    config->shards = 1;
    config->requests_max = 4096;
    config->durability = PQB_DURABILITY_COMMIT;
    config->is_sync_off = false;
    config->secret = NULL;
    config->journal_checkpoint_bytes = 64 * mib;
    config->journal_checkpoint_ns = 60 * PQB_NS_PER_SEC;
    config->journal_max_bytes = 256 * mib;
    config->checkpoint_users_max = 128;
    config->checkpoint_bytes_max = 256 * 1024; // measured: 2-8 ms a step
    config->checkpoint_records_max = 4096;
    config->batch_bytes_max = (uint32_t)(1 * mib);
    config->disk_soft_percent = 85;
    config->inbox_messages_max = 10000;
    config->inbox_bytes_max = 64 * mib;
    config->users_max = 1000000;
    config->users_per_sender_max = 256;
    config->devices_per_user_max = 8;
    config->retention_ms = UINT64_C(30) * 86400 * 1000;
    config->retention_messages = 0;
    config->retention_bytes = 0;
    config->device_idle_ms = UINT64_C(180) * 86400 * 1000;
    config->users_cached_max = 0;
    config->failpoint = NULL;
}

// ---------------------------------------------------------------------------------- requests

struct pqb_request *pqb_request_create(enum pqb_op op, size_t body_len)
{
    struct pqb_request *r;

    if (body_len > UINT32_MAX - sizeof(*r))
        return NULL;
    r = calloc(1, sizeof(*r) + body_len);
    if (r == NULL)
        return NULL;
    pqb_list_init(&r->link);
    r->op = op;
    r->body_len = (uint32_t)body_len;
    r->cost = (uint32_t)(sizeof(*r) + body_len);
    return r;
}

void pqb_request_destroy(struct pqb_request *r)
{
    if (r == NULL)
        return;
    free(r->devices);
    free(r);
}

int pqb_store_submit(struct pqb_store *s, struct pqb_request *r)
{
    struct pqb_store_shard *shard;

    PQB_ASSERT(r->shard < s->config.shards);
    shard = &s->shards[r->shard];
    if (shard->outstanding >= s->config.requests_max || !pqb_mpsc_push(&s->queue, r))
        return PQB_ERR_FULL;
    shard->outstanding++;
    pqb_writer_nudge(s);
    return PQB_OK;
}

struct pqb_request *pqb_store_poll(struct pqb_store *s, uint32_t shard)
{
    struct pqb_request *r;

    PQB_ASSERT(shard < s->config.shards);
    r = pqb_mpsc_pop(&s->shards[shard].done);
    if (r != NULL)
        s->shards[shard].outstanding--;
    return r;
}

// ---------------------------------------------------------------------------------- opening

static int check_config(const struct pqb_store_config *config)
{
    if (config->path == NULL || config->shards == 0 || config->requests_max == 0 ||
        config->map_bytes < (size_t)1 << 20 || config->disk_soft_percent == 0 ||
        config->disk_soft_percent > 99 || config->batch_bytes_max == 0 ||
        config->devices_per_user_max == 0 || config->checkpoint_users_max == 0 ||
        config->checkpoint_bytes_max == 0 || config->checkpoint_records_max == 0)
        return PQB_ERR_INVALID;
    return PQB_OK;
}

// A checkpoint writes what it moves before it drops the journal's copy, at up to twice the size:
// the map's reserve must hold that.
static void set_limits(struct pqb_store *s)
{
    const uint64_t reserve = s->config.map_bytes / 100 * (100 - s->config.disk_soft_percent);

    s->journal_max_bytes = PQB_MIN(s->config.journal_max_bytes, reserve / 3);
    s->journal_checkpoint_bytes =
        PQB_MIN(s->config.journal_checkpoint_bytes, s->journal_max_bytes / 2);
}

static int make_queues(struct pqb_store *s)
{
    const size_t room = (size_t)s->config.shards * s->config.requests_max;

    s->batch = calloc(room, sizeof(struct pqb_request *));
    s->batch_room = room;
    s->shards = calloc(s->config.shards, sizeof(*s->shards));
    if (s->batch == NULL || s->shards == NULL || pqb_mpsc_init(&s->queue, room) != PQB_OK)
        return PQB_ERR_NOMEM;
    for (uint32_t i = 0; i < s->config.shards; i++) {
        if (pqb_mpsc_init(&s->shards[i].done, s->config.requests_max) != PQB_OK)
            return PQB_ERR_NOMEM;
    }
    return PQB_OK;
}

static void free_queues(struct pqb_store *s)
{
    struct pqb_request *r;

    while (s->queue.slots != NULL && (r = pqb_mpsc_pop(&s->queue)) != NULL)
        pqb_request_destroy(r);
    for (size_t i = 0; i < s->batch_count; i++)
        pqb_request_destroy(s->batch[i]);
    for (uint32_t i = 0; s->shards != NULL && i < s->config.shards; i++) {
        while (s->shards[i].done.slots != NULL && (r = pqb_mpsc_pop(&s->shards[i].done)) != NULL)
            pqb_request_destroy(r);
        pqb_mpsc_fini(&s->shards[i].done);
    }
    pqb_mpsc_fini(&s->queue);
    free(s->shards);
    free(s->batch);
}

static void destroy(struct pqb_store *s)
{
    pqb_checkpoint_fini(s);
    pqb_ledger_destroy(s->ledger);
    pqb_txn_abort(&s->txn);
    pqb_env_close(&s->env);
    free_queues(s);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    pthread_mutex_destroy(s->stats_lock);
    free(s->path);
    free(s);
}

static struct pqb_store *allocate(const struct pqb_store_config *config)
{
    struct pqb_store *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    s->config = *config;
    s->env.lock_fd = -1;
    atomic_init(&s->is_sleeping, false);
    atomic_init(&s->must_stop, false);
    atomic_init(&s->must_confirm_clock, false);
    s->stats_lock = &s->stats_mutex;
    pthread_mutex_init(s->stats_lock, NULL);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->path = strdup(config->path);
    return s;
}

int pqb_store_open(struct pqb_store **out, const struct pqb_store_config *config, pqb_tstamp now,
                   pqb_wall_ms wall)
{
    const struct pqb_env_options options = {
        .map_bytes = config->map_bytes,
        .readers_max = config->shards + READERS_BESIDES_SHARDS,
        .is_sync_off = config->is_sync_off,
    };
    struct pqb_store *s;
    int err = check_config(config);

    if (err != PQB_OK)
        return err;
    s = allocate(config);
    if (s == NULL)
        return PQB_ERR_NOMEM;
    s->config.path = s->path;
    s->now = now;
    s->wall = wall;
    set_limits(s);
    err = s->path == NULL || s->wake_fd < 0 ? PQB_ERR_NOMEM : make_queues(s);
    if (err == PQB_OK)
        err = pqb_env_open(&s->env, s->path, &options);
    if (err == PQB_OK)
        err = pqb_store_recover(s);
    if (err == PQB_OK && !config->is_sync_off)
        err = pqb_env_sync_directory(s->path);
    if (err != PQB_OK) {
        destroy(s);
        return err;
    }
    s->journal_since = now;
    s->counters.map_bytes = config->map_bytes;
    pqb_space_check(s);
    pqb_writer_publish(s);
    *out = s;
    return PQB_OK;
}

void pqb_store_close(struct pqb_store *s)
{
    if (s == NULL)
        return;
    pqb_writer_stop(s);
    if (!s->is_failed && s->ledger != NULL)
        pqb_writer_finish(s);
    destroy(s);
}

void pqb_store_crash(struct pqb_store *s)
{
    if (s == NULL)
        return;
    pqb_writer_stop(s);
    destroy(s);
}

// ---------------------------------------------------------------------------------- small things

const uint8_t *pqb_store_secret(const struct pqb_store *s)
{
    return s->secret;
}

uint32_t pqb_store_user_hash(const struct pqb_store *s, const char *name, size_t len)
{
    return pqb_ledger_user_hash(s->name_key, name, len);
}

bool pqb_store_is_failed(const struct pqb_store *s)
{
    return s->is_failed;
}

void pqb_store_confirm_clock(struct pqb_store *s)
{
    atomic_store(&s->must_confirm_clock, true);
    pqb_writer_nudge(s);
}

void pqb_store_get_stats(const struct pqb_store *s, struct pqb_store_stats *out)
{
    pthread_mutex_lock(s->stats_lock);
    *out = s->published;
    pthread_mutex_unlock(s->stats_lock);
    out->queue_len = pqb_mpsc_len(&s->queue);
}

int pqb_store_failpoint(const struct pqb_store *s, enum pqb_failpoint step)
{
    int errnum = 0;

    if (s->config.failpoint != NULL)
        errnum = s->config.failpoint(s->config.ctx, pqb_failpoints[step].step);
    return errnum != 0 ? pqb_err_from_mdb(errnum) : PQB_OK;
}

void pqb_store_failpoint_txn(struct pqb_store *s, enum pqb_failpoint step)
{
    const int err = pqb_store_failpoint(s, step);

    if (err != PQB_OK)
        pqb_txn_fail(pqb_store_txn(s), err);
}

void pqb_store_death_point(struct pqb_store *s, enum pqb_failpoint step)
{
    const int err = pqb_store_failpoint(s, step);

    if (err != PQB_OK)
        pqb_store_fail(s, pqb_failpoints[step].step, err);
}

pqb_wall_ms pqb_store_clock(const struct pqb_store *s)
{
    return s->clock_origin + pqb_elapsed(s->clock_base, s->now) / PQB_NS_PER_MS;
}

uint32_t pqb_store_minutes(const struct pqb_store *s)
{
    const uint64_t wall = PQB_MAX(s->wall, pqb_store_clock(s));
    const uint64_t minutes =
        wall > PQB_GENERATION_ORIGIN_MS ? (wall - PQB_GENERATION_ORIGIN_MS) / 60000 : 0;

    return (uint32_t)PQB_MAX(PQB_MIN(minutes, (uint64_t)PQB_GENERATION_MINUTES_MAX), UINT64_C(1));
}

struct pqb_ledger_turn pqb_store_turn(const struct pqb_store *s)
{
    return (struct pqb_ledger_turn){
        .at = pqb_store_clock(s),
        .minutes = pqb_store_minutes(s),
        .may_store = pqb_space_may_store(s),
    };
}

struct pqb_txn *pqb_store_txn(struct pqb_store *s)
{
    if (!pqb_txn_is_open(&s->txn))
        pqb_txn_begin(&s->txn, &s->env);
    return &s->txn;
}
