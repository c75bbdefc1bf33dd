// The main thread's loop: signals, the counters page's pulse, reloads, and the drain at the end.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/resource.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/hex.h"
#include "common/base/log.h"
#include "gateway/admin/daemon_internal.h"
#include "gateway/admin/settings.h"
#include "gateway/io/os_env.h"

#define TICK_US          250000 // the page's heartbeat
#define SECOND_SIGNAL_NS (200 * PQB_NS_PER_MS)
#define KEYS_RETRY_MS    (60 * UINT64_C(1000))
#define DRAIN_CHECK_US   50000 // also the time that the last kicks have to leave

// ---------------------------------------------------------------------------------------- pulse

// The second number of statm: resident pages.
static uint64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    char line[128] = "";
    const char *at;

    if (file == NULL)
        return 0;
    at = fgets(line, sizeof(line), file) != NULL ? strchr(line, ' ') : NULL;
    (void)fclose(file);
    return at != NULL ? strtoull(at, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static uint64_t us_of(const struct timeval *tv)
{
    return (uint64_t)tv->tv_sec * 1000000 + (uint64_t)tv->tv_usec;
}

static void renew_ticket_key(struct pqb_daemon *d);

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct pqb_daemon *d = arg;
    uint64_t *column = d->process_column + PQB_ROWS_PROCESS;
    struct pqb_store_stats stats;
    struct rusage usage;

    (void)fd;
    (void)what;
    pqb_store_get_stats(d->store, &stats);
    pqb_rows_set_store(d->writer_column, &stats);
    column[PQB_PROCESS_SHARDS] = d->shard_count;
    column[PQB_PROCESS_RSS_BYTES] = resident_bytes();
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        column[PQB_PROCESS_CPU_US] = us_of(&usage.ru_utime) + us_of(&usage.ru_stime);
    pqb_stats_page_heartbeat(d->page, pqb_os_now(&d->now));
    if (d->reload.is_blocked) {
        d->reload.is_blocked = false;
        pqb_chain_start(&d->reload.chain, d->mailboxes, d->reload.chain.at, d->shard_count,
                        &d->home);
    }
    renew_ticket_key(d);
}

static void on_letters(evutil_socket_t fd, short what, void *arg)
{
    struct pqb_daemon *d = arg;
    struct pqb_call *call;

    (void)fd;
    (void)what;
    pqb_mailbox_clear(&d->home);
    while ((call = pqb_mailbox_take(&d->home)) != NULL)
        pqb_chain_on_reply(call);
    if (d->admin != NULL)
        pqb_admin_on_completions(d->admin);
}

// --------------------------------------------------------------------------------------- reload

void pqb_daemon_set_engine(const struct pqb_daemon *d, uint32_t shard,
                           struct pqb_engine_config *out)
{
    pqb_settings_engine(out, &d->config, shard);
    out->keys = d->keys;
    out->signature_checks = (uint32_t)pqb_auth_count(d->auth).issuers;
}

static void visit_with_settings(struct pqb_chain *chain, struct pqb_shard *shard,
                                struct pqb_engine *engine, pqb_tstamp now)
{
    struct pqb_daemon *d = chain->ctx;
    struct pqb_engine_config engine_config;

    // The main thread leaves `config`, `auth` and `keys` alone until the chain is home.
    pqb_daemon_set_engine(d, chain->at, &engine_config);
    pqb_engine_reconfigure(engine, &engine_config);
    pqb_shard_set_auth(shard, d->auth);
    pqb_engine_recheck(engine, now);
}

static void settings_done(struct pqb_chain *chain)
{
    struct pqb_daemon *d = chain->ctx;

    if (chain->is_failed) {
        d->reload.is_blocked = true;
        return;
    }
    d->reload.is_under_way = false;
    pqb_auth_destroy(d->reload.old_auth);
    d->reload.old_auth = NULL;
    pqb_secret_free(d->reload.old_keys);
    d->reload.old_keys = NULL;
    if (d->reload.is_wanted && !d->drain.has_begun)
        (void)pqb_daemon_reload(d, NULL);
}

struct diff_target {
    struct pqb_json *out; // may be NULL
};

static void tell_difference(void *ctx, const char *key, const char *before, const char *after,
                            bool is_reloadable)
{
    struct pqb_json *out = ((struct diff_target *)ctx)->out;

    pqb_log(is_reloadable ? PQB_LOG_INFO : PQB_LOG_WARN, "%s key=%s before=\"%s\" after=\"%s\"",
            is_reloadable ? "configuration changed" : "configuration change needs a restart", key,
            before, after);
    if (out == NULL)
        return;
    pqb_json_object_begin(out, NULL);
    pqb_json_string(out, "key", key);
    pqb_json_string(out, "before", before);
    pqb_json_string(out, "after", after);
    pqb_json_bool(out, "needs_restart", !is_reloadable);
    pqb_json_object_end(out);
}

static bool refuse_reload(struct pqb_daemon *d, struct pqb_json *out, const char *why)
{
    d->process_column[PQB_ROWS_PROCESS + PQB_PROCESS_RELOAD_ERRORS]++;
    pqb_log(PQB_LOG_ERROR, "reload refused, the old settings stay error=\"%s\"", why);
    if (out != NULL)
        pqb_json_string(out, "error", why);
    return false;
}

// Tells every shard, one after the other.
static void start_settings(struct pqb_daemon *d)
{
    d->reload.is_under_way = true;
    d->reload.is_wanted = false;
    d->reload.chain.visit = visit_with_settings;
    d->reload.chain.done = settings_done;
    d->reload.chain.ctx = d;
    pqb_chain_start(&d->reload.chain, d->mailboxes, 0, d->shard_count, &d->home);
}

int pqb_daemon_load_keys(struct pqb_daemon *d, struct pqb_server_keys **out,
                         char why[PQB_KEY_FILES_ERROR_MAX])
{
    uint8_t public[PQB_SERVER_KEYS_MAX][PQB_KEY_LEN];
    char text[2 * PQB_KEY_LEN + 1];
    pqb_wall_ms made_at;
    size_t count;
    bool is_new = false;
    int err = PQB_OK;

    *out = NULL;
    if (d->config.security == PQB_CONFIG_PLAINTEXT)
        return PQB_OK;
    if (d->keys != NULL) // a gateway that runs does not become another
        err = pqb_key_files_public(d->config.data, public, &count, why);
    if (err == PQB_OK)
        err = pqb_key_files_load(out, d->config.data, &d->secrets, pqb_os_wall(), &is_new, why);
    if (err != PQB_OK)
        return err;
    made_at = pqb_key_files_ticket_key_made(d->config.data);
    d->keys_due_at = made_at + PQB_TICKET_KEY_ROTATE_MS;
    if (d->keys_due_at <= pqb_os_wall()) {
        d->keys_due_at = pqb_os_wall() + KEYS_RETRY_MS;
        pqb_log(PQB_LOG_WARN, "cannot write a new ticket key, the old one stays data=%s",
                d->config.data);
    }
    if (is_new) {
        pqb_hex_encode((*out)->at[0].pair.public, PQB_KEY_LEN, text);
        pqb_log(PQB_LOG_INFO, "made a server key, which clients pin public=%s data=%s", text,
                d->config.data);
    }
    return PQB_OK;
}

// A clock that was set back puts the next key more than a day ahead.
static bool is_ticket_key_due(const struct pqb_daemon *d)
{
    const pqb_wall_ms wall = pqb_os_wall();

    return wall >= d->keys_due_at || d->keys_due_at - wall > PQB_TICKET_KEY_ROTATE_MS;
}

// The tickets of a day are sealed by one key. The old ones still open; a shard that has not heard
// yet goes on with the set it has.
static void renew_ticket_key(struct pqb_daemon *d)
{
    char why[PQB_KEY_FILES_ERROR_MAX];
    struct pqb_server_keys *keys;

    if (d->keys == NULL || d->reload.is_under_way || d->drain.has_begun || !is_ticket_key_due(d))
        return;
    if (pqb_daemon_load_keys(d, &keys, why) != PQB_OK) {
        d->keys_due_at = pqb_os_wall() + KEYS_RETRY_MS;
        pqb_log(PQB_LOG_WARN, "cannot make a new ticket key, the old one stays error=\"%s\"", why);
        return;
    }
    PQB_ASSERT(keys != NULL);
    if (keys->tickets.at[0].id == d->keys->tickets.at[0].id) { // not written; that is said already
        pqb_secret_free(keys);
        return;
    }
    pqb_log(PQB_LOG_INFO, "made a new ticket key keys=%zu", keys->tickets.count);
    d->reload.old_keys = d->keys;
    d->keys = keys;
    start_settings(d);
}

bool pqb_daemon_reload(struct pqb_daemon *d, struct pqb_json *out)
{
    struct diff_target target = {.out = out};
    struct pqb_config fresh, effective = d->config;
    struct pqb_config_error error;
    enum pqb_config_action action;
    struct pqb_auth *auth;
    struct pqb_auth_counts counts;
    struct pqb_server_keys *keys;
    char why[PQB_KEY_FILES_ERROR_MAX];

    if (d->reload.is_under_way || d->drain.has_begun)
        return refuse_reload(d, out, "a reload or a drain is under way");
    if (pqb_config_load(&fresh, d->argc, d->argv, &action, &error) != PQB_OK)
        return refuse_reload(d, out, error.text);
    pqb_config_take_reloadable(&effective, &fresh);
    if (pqb_auth_load(&auth, &effective, &error) != PQB_OK)
        return refuse_reload(d, out, error.text);
    if (pqb_daemon_load_keys(d, &keys, why) != PQB_OK) {
        pqb_auth_destroy(auth);
        return refuse_reload(d, out, why);
    }
    d->process_column[PQB_ROWS_PROCESS + PQB_PROCESS_RELOADS]++;
    if (out != NULL)
        pqb_json_array_begin(out, "changed");
    if (pqb_config_diff(&d->config, &fresh, tell_difference, &target) == 0)
        pqb_log(PQB_LOG_INFO, "configuration read again, nothing changed");
    if (out != NULL)
        pqb_json_array_end(out);
    d->config = effective;
    pqb_log_set_level((enum pqb_log_level)d->config.log_level);
    counts = pqb_auth_count(auth);
    pqb_log(PQB_LOG_INFO,
            "tokens, issuers and revocations read again tokens=%zu issuers=%zu "
            "revoked=%zu",
            counts.tokens, counts.issuers, counts.revoked);
    d->reload.old_auth = d->auth;
    d->auth = auth;
    d->reload.old_keys = d->keys;
    d->keys = keys;
    start_settings(d);
    return true;
}

// ---------------------------------------------------------------------------------------- drain

static void visit_to_drain(struct pqb_chain *chain, struct pqb_shard *shard,
                           struct pqb_engine *engine, pqb_tstamp now)
{
    struct pqb_daemon *d = chain->ctx;

    if (!d->drain.has_told_all)
        pqb_engine_drain(engine, now);
    d->drain.sessions += pqb_shard_sessions(shard);
}

static void drain_round_done(struct pqb_chain *chain)
{
    struct pqb_daemon *d = chain->ctx;

    d->drain.is_chain_under_way = false;
    d->drain.has_told_all |= !chain->is_failed;
}

static void start_drain_round(struct pqb_daemon *d)
{
    d->drain.is_chain_under_way = true;
    d->drain.sessions = 0;
    d->drain.chain.visit = visit_to_drain;
    d->drain.chain.done = drain_round_done;
    d->drain.chain.ctx = d;
    pqb_chain_start(&d->drain.chain, d->mailboxes, 0, d->shard_count, &d->home);
}

static void on_drain_timer(evutil_socket_t fd, short what, void *arg)
{
    struct pqb_daemon *d = arg;

    (void)fd;
    (void)what;
    if (pqb_os_now(&d->now) >= d->drain.deadline) {
        pqb_log(PQB_LOG_WARN, "drain took too long, sessions are dropped");
        (void)event_base_loopbreak(d->base);
        return;
    }
    if (d->drain.is_chain_under_way)
        return;
    if (d->drain.has_told_all && d->drain.sessions == 0)
        (void)event_base_loopbreak(d->base);
    else
        start_drain_round(d);
}

void pqb_daemon_drain(struct pqb_daemon *d)
{
    const struct timeval every = {.tv_usec = DRAIN_CHECK_US};

    if (d->drain.has_begun)
        return;
    pqb_log(PQB_LOG_INFO, "draining");
    d->drain.has_begun = true;
    d->drain.begun_at = pqb_os_now(&d->now);
    d->drain.deadline = pqb_tstamp_add(d->drain.begun_at, d->config.drain_timeout);
    d->process_column[PQB_ROWS_PROCESS + PQB_PROCESS_DRAINING] = 1;
    (void)event_add(d->drain_timer, &every);
    start_drain_round(d);
}

// -------------------------------------------------------------------------------------- signals

static void on_signal(evutil_socket_t signal_number, short what, void *arg)
{
    struct pqb_daemon *d = arg;

    (void)what;
    if (signal_number == SIGHUP) {
        d->reload.is_wanted = d->reload.is_under_way;
        if (!d->reload.is_under_way)
            (void)pqb_daemon_reload(d, NULL);
        return;
    }
    if (d->drain.has_begun) {
        // timeout(1) and terminals signal the process and then its group: that is one wish.
        if (pqb_elapsed(d->drain.begun_at, pqb_os_now(&d->now)) < SECOND_SIGNAL_NS)
            return;
        // The journal is safe whenever this happens; only sessions are cut off unsaid.
        pqb_log(PQB_LOG_WARN, "second signal, stopping at once");
        _exit(PQB_DAEMON_FAILED);
    }
    pqb_daemon_drain(d);
}

int pqb_daemon_loop_init(struct pqb_daemon *d)
{
    static const int numbers[PQB_DAEMON_SIGNALS] = {SIGHUP, SIGTERM, SIGINT};
    const struct timeval tick = {.tv_usec = TICK_US};

    d->base = event_base_new();
    if (d->base == NULL)
        return PQB_ERR_NOMEM;
    for (size_t i = 0; i < PQB_DAEMON_SIGNALS; i++) {
        d->signals[i] = evsignal_new(d->base, numbers[i], on_signal, d);
        if (d->signals[i] == NULL || event_add(d->signals[i], NULL) != 0)
            return PQB_ERR_NOMEM;
    }
    d->letters = event_new(d->base, d->home.fd, EV_READ | EV_PERSIST, on_letters, d);
    d->tick = event_new(d->base, -1, EV_PERSIST, on_tick, d);
    d->drain_timer = event_new(d->base, -1, EV_PERSIST, on_drain_timer, d);
    if (d->letters == NULL || d->tick == NULL || d->drain_timer == NULL ||
        event_add(d->letters, NULL) != 0 || event_add(d->tick, &tick) != 0)
        return PQB_ERR_NOMEM;
    return PQB_OK;
}

void pqb_daemon_loop_fini(struct pqb_daemon *d)
{
    struct event *const others[] = {d->letters, d->tick, d->drain_timer};

    for (size_t i = 0; i < PQB_DAEMON_SIGNALS; i++) {
        if (d->signals[i] != NULL)
            event_free(d->signals[i]);
    }
    for (size_t i = 0; i < PQB_ARRAY_LEN(others); i++) {
        if (others[i] != NULL)
            event_free(others[i]);
    }
    if (d->base != NULL)
        event_base_free(d->base);
}

void pqb_daemon_loop_run(struct pqb_daemon *d)
{
    on_tick(-1, 0, d);
    PQB_ASSERT(event_base_dispatch(d->base) >= 0);
    on_tick(-1, 0, d);
}
