// Room on disk: when messages are refused so that cursors, skips and checkpoints can go on, and
// when they are taken again. Nothing has to be done for it to heal: checkpoints free what is
// acknowledged.
#include "common/base/check.h"
#include "common/base/err.h"
#include "storage/store_internal.h"

#define CHECK_INTERVAL_NS (100 * PQB_NS_PER_MS) // counting free pages walks LMDB's free list

bool pqb_space_may_store(const struct pqb_store *s)
{
    return !s->is_soft_full && s->space_retry_at == 0 &&
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

void pqb_space_check(struct pqb_store *s)
{
    uint64_t used = touched_bytes(s);

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
    s->checkpoint.is_wanted = true;
    publish(s);
}
