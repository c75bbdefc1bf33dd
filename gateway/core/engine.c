#include "gateway/core/engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/siphash.h"
#include "gateway/core/engine_impl.h"

#define SWEEP_USERS_PER_TURN 64
#define LOG_INTERVAL_NS      (PQB_NS_PER_SEC / 5)
#define LOG_BURST            20

// Answers to strangers: sessions come first, but one datagram in so many is an answer even if
// sessions have enough to say for the whole turn.
#define REPLIES_PER_TURN 64
#define SHARE_OF_REPLIES 8

void pqb_engine_config_default(struct pqb_engine_config *config)
{
    *config = (struct pqb_engine_config){
        .shards = 1,
        .sessions_max = 100000,
        .half_open_max = 4096,
        .retry = PQB_RETRY_UNDER_LOAD,
        .idle_ns = 90 * PQB_NS_PER_SEC,
        .body_max = PQB_BODY_MAX,
        .push_max = 200,
        .rate = 0,
        .rate_burst = 500,
        .sessions_per_user_max = 8,
        .reassembly_bytes_max = UINT64_C(64) << 20,
        .request_bytes_max = UINT64_C(64) << 20,
        .login_rate = 200,
        .session_max_ns = 24 * 3600 * PQB_NS_PER_SEC,
    };
}

// Keys of tables come from the seed, so that a peer cannot aim at one bucket; keys of tokens from
// the store's secret, so that they outlive the process.
static int init_tables(struct pqb_engine *e, const uint8_t seed[PQB_ENGINE_SEED_LEN])
{
    static const char name_label[] = "recipient name";
    uint8_t key[PQB_SIPHASH_KEY_LEN];
    int err;

    pqb_rng_init_key(&e->rng, seed);
    pqb_rng_fill(&e->rng, key, sizeof(key));
    pqb_secret_rng_init(&e->secrets, seed + PQB_SIPHASH_KEY_LEN);
    pqb_token_keys_derive(&e->keys, pqb_store_secret(e->store), PQB_STORE_SECRET_LEN);
    pqb_siphash24_128(pqb_store_secret(e->store), name_label, sizeof(name_label), e->name_key);
    err = pqb_user_table_init(&e->users, key);
    if (err == PQB_OK)
        err = pqb_half_open_table_init(&e->half_open, key);
    if (err == PQB_OK)
        err = pqb_htable_init(&e->sessions);
    if (err == PQB_OK)
        err = pqb_inflight_table_init(&e->inflight);
    if (err == PQB_OK)
        err = pqb_replies_init(&e->replies);
    if (err == PQB_OK)
        err = pqb_unpacker_create(&e->unpacker);
    if (err == PQB_OK)
        err = pqb_view_create(e->store, &e->view);
    if (err == PQB_OK && e->config.keys != NULL) {
        pqb_secret_rng_fill(&e->secrets, e->prefix_key, sizeof(e->prefix_key));
        e->prefixes = calloc(PQB_PREFIXES, sizeof(*e->prefixes));
        err = e->prefixes != NULL ? pqb_hellos_init(&e->waiting) : PQB_ERR_NOMEM;
    }
    return err;
}

int pqb_engine_create(struct pqb_engine **out, const struct pqb_engine_config *config,
                      const struct pqb_engine_env *env, struct pqb_store *store, uint64_t *counters,
                      const uint8_t seed[PQB_ENGINE_SEED_LEN], pqb_tstamp now)
{
    struct pqb_engine *e = calloc(1, sizeof(*e));
    int err;

    (void)now;
    PQB_ASSERT(config->shards > 0 && config->shards <= 256 && config->shard < config->shards);
    PQB_ASSERT(env->may_login && env->may_stay && env->wall && (env->post || config->shards == 1));
    if (!e)
        return PQB_ERR_NOMEM;
    e->config = *config;
    e->env = *env;
    e->store = store;
    e->counters = counters;
    e->reassembly_left = (size_t)config->reassembly_bytes_max;
    pqb_list_init(&e->ready);
    pqb_list_init(&e->completions);
    pqb_timerq_init(&e->timers);
    pqb_outbox_pool_init(&e->outboxes);
    err = init_tables(e, seed);
    if (err != PQB_OK) {
        pqb_engine_destroy(e);
        return err;
    }
    *out = e;
    return PQB_OK;
}

static void close_sessions(struct pqb_engine *e)
{
    struct pqb_hnode *node;

    if (!e->sessions.buckets)
        return;
    e->hints_left = 0; // nobody is left to tell
    while ((node = pqb_htable_next(&e->sessions, NULL)))
        pqb_session_close(e, PQB_CONTAINER_OF(node, struct pqb_session, by_cid));
}

void pqb_engine_destroy(struct pqb_engine *e)
{
    struct pqb_list *node;

    if (!e)
        return;
    PQB_ASSERT(!e->is_view_open);
    close_sessions(e);
    while ((node = pqb_list_pop_front(&e->completions)))
        pqb_request_destroy(PQB_CONTAINER_OF(node, struct pqb_request, link));
    if (e->users.by_name.buckets)
        pqb_user_table_fini(&e->users);
    if (e->half_open.by_init.buckets)
        pqb_half_open_table_fini(&e->half_open);
    if (e->inflight.by_seq.buckets)
        pqb_inflight_table_fini(&e->inflight);
    pqb_htable_fini(&e->sessions);
    pqb_replies_fini(&e->replies);
    pqb_hellos_fini(&e->waiting);
    pqb_outbox_pool_fini(&e->outboxes);
    pqb_unpacker_destroy(e->unpacker);
    pqb_view_destroy(e->view);
    pqb_timerq_fini(&e->timers);
    free(e->prefixes);
    pqb_secret_erase(e, sizeof(*e));
    free(e);
}

// ------------------------------------------------------------------------------------ the turn

static void poll_completions(struct pqb_engine *e)
{
    struct pqb_request *r;

    while ((r = pqb_store_poll(e->store, e->config.shard)))
        pqb_list_push_back(&e->completions, &r->link);
}

static void handle_completions(struct pqb_engine *e, pqb_tstamp now)
{
    struct pqb_list *node;

    while ((node = pqb_list_pop_front(&e->completions)))
        pqb_engine_on_completion(e, PQB_CONTAINER_OF(node, struct pqb_request, link), now);
    pqb_user_table_release_kept(&e->users);
}

// Whoever it was that could not be served: it is rare enough to ask everybody.
static void try_again(struct pqb_engine *e)
{
    struct pqb_hnode *node = NULL;

    e->must_retry = false;
    while ((node = pqb_htable_next(&e->sessions, node)))
        pqb_session_touch(e, PQB_CONTAINER_OF(node, struct pqb_session, by_cid));
}

// The order is what makes a completion safe to act on: what it speaks of was committed before it
// was polled, so a view opened after the poll, and tailed to its end, covers it.
int pqb_engine_begin(struct pqb_engine *e, pqb_tstamp now)
{
    int err;

    PQB_ASSERT(!e->is_view_open);
    poll_completions(e);
    err = pqb_engine_open_view(e);
    if (err != PQB_OK)
        return err;
    if (e->must_retry)
        try_again(e);
    e->hints_left = PQB_HINTS_PER_TURN;
    e->replies_left = REPLIES_PER_TURN;
    err = pqb_tail_expect_logins(e, now);
    if (err == PQB_OK)
        err = pqb_tail_journal(e, now);
    if (err != PQB_OK) {
        pqb_user_table_release_kept(&e->users);
        pqb_engine_close_view(e);
        return err;
    }
    handle_completions(e, now);
    pqb_user_table_sweep(&e->users, e->journal_first, SWEEP_USERS_PER_TURN);
    return PQB_OK;
}

static void update_gauges(struct pqb_engine *e)
{
    e->counters[PQB_COUNTER_SESSION_CURRENT] = e->sessions.count;
    e->counters[PQB_COUNTER_SESSION_HALF_OPEN] = e->half_open.count;
    e->counters[PQB_COUNTER_REQUEST_OUTSTANDING] = e->inflight.by_seq.count;
    e->counters[PQB_COUNTER_REQUEST_BYTES] = e->request_bytes;
    e->counters[PQB_COUNTER_FRAG_BYTES] =
        (size_t)e->config.reassembly_bytes_max - e->reassembly_left;
    e->counters[PQB_COUNTER_INDEX_ENTRIES] = e->users.entries;
    e->counters[PQB_COUNTER_USERS_CACHED] = e->users.by_uid.count;
}

void pqb_engine_end(struct pqb_engine *e)
{
    update_gauges(e);
    pqb_engine_close_view(e);
}

void pqb_engine_stir(struct pqb_engine *e, const uint8_t fresh[PQB_SECRET_SEED_LEN])
{
    pqb_secret_rng_stir(&e->secrets, fresh);
}

void pqb_engine_on_datagram(struct pqb_engine *e, const struct pqb_addr *from, const uint8_t *data,
                            size_t len, pqb_tstamp now)
{
    pqb_count(e, PQB_COUNTER_UDP_DATAGRAMS_IN);
    pqb_count_n(e, PQB_COUNTER_UDP_BYTES_IN, len);
    pqb_datagram_dispatch(e, from, data, len, false, now);
}

void pqb_engine_on_mail(struct pqb_engine *e, const void *mail, size_t len, pqb_tstamp now)
{
    pqb_mail_open(e, mail, len, now);
}

void pqb_engine_on_timeout(struct pqb_engine *e, pqb_tstamp now)
{
    struct pqb_timer *timer;

    while ((timer = pqb_timerq_pop_expired(&e->timers, now)))
        pqb_session_on_timeout(e, PQB_CONTAINER_OF(timer, struct pqb_session, timer), now);
    pqb_login_expire(e, now);
    if (e->is_draining)
        pqb_drain_step(e, now);
}

static bool poll_reply(struct pqb_engine *e, struct pqb_transmit *out)
{
    const struct pqb_reply *reply = e->replies_left > 0 ? pqb_replies_pop(&e->replies) : NULL;

    if (!reply)
        return false;
    e->replies_left--;
    out->to = reply->to;
    out->len = reply->len;
    memcpy(out->data, reply->data, reply->len);
    return true;
}

static bool poll_session(struct pqb_engine *e, struct pqb_transmit *out, pqb_tstamp now)
{
    // A session stays in front until it has nothing to send: datagrams to one peer come in a run.
    while (!pqb_list_is_empty(&e->ready)) {
        struct pqb_session *s = PQB_CONTAINER_OF(e->ready.next, struct pqb_session, ready);

        if (pqb_delivery_compose(e, s, out, now))
            return true;
        pqb_list_unlink(&s->ready);
        pqb_session_rearm(e, s, now);
    }
    return false;
}

bool pqb_engine_poll_transmit(struct pqb_engine *e, struct pqb_transmit *out, pqb_tstamp now)
{
    const bool is_reply_due = e->polls++ % SHARE_OF_REPLIES == SHARE_OF_REPLIES - 1;

    if (!e->is_view_open || (!(is_reply_due && poll_reply(e, out)) && !poll_session(e, out, now) &&
                             !poll_reply(e, out)))
        return false;
    pqb_count(e, PQB_COUNTER_UDP_DATAGRAMS_OUT);
    pqb_count_n(e, PQB_COUNTER_UDP_BYTES_OUT, out->len);
    return true;
}

pqb_tstamp pqb_engine_next_deadline(const struct pqb_engine *e)
{
    // Left over from a turn whose view would not open or that was long enough, or not taken by the
    // driver.
    if (!pqb_list_is_empty(&e->completions) || !pqb_list_is_empty(&e->ready) ||
        e->replies.count > 0 || e->waiting.count > 0)
        return 0;
    if (e->is_draining && e->sessions.count > 0)
        return 0;
    return PQB_MIN(pqb_timerq_next_deadline(&e->timers),
                   pqb_half_open_table_deadline(&e->half_open));
}

static bool may_log(struct pqb_engine *e, pqb_tstamp now)
{
    if (!e->env.log)
        return false;
    if (pqb_rate_take(&e->log_lines, LOG_INTERVAL_NS, LOG_BURST, now))
        return true;
    pqb_count(e, PQB_COUNTER_LOG_LIMITED);
    return false;
}

void pqb_engine_log(struct pqb_engine *e, int level, pqb_tstamp now, const char *format, ...)
{
    char line[256];
    va_list args;

    va_start(args, format);
    if (may_log(e, now)) {
        (void)vsnprintf(line, sizeof(line), format, args);
        e->env.log(e->env.ctx, level, line);
    }
    va_end(args);
}
