// Room on disk: when messages are refused so that cursors, skips and checkpoints can go on, and
// when they are taken again. Nothing has to be done for it to heal: checkpoints free what is
// acknowledged.
#include "common/base/check.h"
#include "common/base/err.h"
#include "storage/store_internal.h"

#define CHECK_INTERVAL_NS (100 * PQB_NS_PER_MS) // counting free pages walks LMDB's free list

#define UPKEEP_BYTES   (UINT64_C(2) << 20) // what cursors and the steps of a checkpoint copy
#define ALLOCATE_CHUNK (UINT64_C(4) << 20)
#define PAGES_FACTOR   4 // bytes of pages that a byte of the journal can cost, copies included

bool pqb_space_may_store(const struct pqb_store *s)
{
    return !s->is_soft_full && !s->is_disk_full && s->space_retry_at == 0 &&
           s->counters.journal_bytes + s->batch_journal_bytes < s->journal_max_bytes;
}

static void publish(struct pqb_store *s)
{
    const uint64_t is_degraded = !pqb_space_may_store(s);

    if (is_degraded && !s->counters.is_degraded)
        s->counters.degraded_entries++;
    s->counters.is_degraded = is_degraded;
}

static uint64_t touched_bytes(const struct pqb_store *s)
{
    MDB_envinfo info;

    mdb_env_info(s->env.env, &info);
    return (info.me_last_pgno + 1) * s->env.page_len;
}

static uint64_t soft_limit(const struct pqb_store *s)
{
    return s->config.map_bytes / 100 * s->config.disk_soft_percent;
}

// Room on the file system, beyond what is used, without which no message is taken: a batch, then a
// checkpoint of the whole journal, which writes what it moves before it drops the journal's copy.
static uint64_t disk_need(const struct pqb_store *s)
{
    return UPKEEP_BYTES + 2 * (uint64_t)s->config.batch_bytes_max + 2 * s->counters.journal_bytes;
}

// Measures anew how much may be stored on the disk. Blocks are taken ahead of need, so that what
// must go on when the disk is full has them.
static void measure_disk(struct pqb_store *s, uint64_t touched)
{
    const uint64_t need = disk_need(s);
    const uint64_t want = PQB_MIN(touched + need, s->config.map_bytes);
    const uint64_t rounded = (want + ALLOCATE_CHUNK - 1) / ALLOCATE_CHUNK * ALLOCATE_CHUNK;
    uint64_t used = touched;

    s->disk_measured_at = s->now;
    s->disk_measured_bytes = s->counters.commit_bytes;
    if (pqb_env_allocate(&s->env, PQB_MIN(rounded, s->config.map_bytes)) == PQB_OK ||
        pqb_env_allocate(&s->env, want) == PQB_OK) {
        s->is_disk_full = false;
        s->disk_left = s->env.allocated - want;
        return;
    }
    // What the journal gave back is as good as room behind the end.
    if (pqb_env_used_bytes(&s->env, &used) != PQB_OK)
        used = touched;
    s->is_disk_full = used + need > s->env.allocated;
    s->disk_left = s->is_disk_full ? 0 : s->env.allocated - used - need;
}

static void check_disk(struct pqb_store *s, uint64_t touched)
{
    const uint64_t spent = PAGES_FACTOR * (s->counters.commit_bytes - s->disk_measured_bytes);

    if (s->config.is_sync_off ||
        (!s->is_disk_full && s->disk_measured_at != 0 && spent < s->disk_left))
        return;
    if (s->is_disk_full && s->now < s->disk_measured_at + CHECK_INTERVAL_NS)
        return;
    measure_disk(s, touched);
}

void pqb_space_check(struct pqb_store *s)
{
    uint64_t used = touched_bytes(s);

    check_disk(s, used);
    if (s->space_retry_at != 0 && s->now >= s->space_retry_at)
        s->space_retry_at = 0;
    if (used >= soft_limit(s)) {
        if (s->soft_checked_at != 0 && s->now < s->soft_checked_at + CHECK_INTERVAL_NS) {
            publish(s);
            return;
        }
        s->soft_checked_at = s->now;
        if (pqb_env_used_bytes(&s->env, &used) != PQB_OK)
            used = touched_bytes(s);
    }
    s->is_soft_full = used >= soft_limit(s);
    s->counters.map_used_bytes = used;
    publish(s);
}

void pqb_space_failed(struct pqb_store *s)
{
    s->space_retry_at = pqb_tstamp_add(s->now, PQB_RETRY_DELAY_NS);
    s->counters.readers_cleared += pqb_env_clear_readers(&s->env);
    s->checkpoint.is_wanted = true;
    publish(s);
}
