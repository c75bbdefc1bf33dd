#include "gateway/admin/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/hex.h"
#include "common/base/log.h"
#include "common/proto/aead.h"
#include "gateway/admin/daemon_internal.h"
#include "gateway/admin/privileges.h"
#include "gateway/admin/seccomp.h"
#include "gateway/admin/settings.h"
#include "gateway/io/os_env.h"

#define HOME_CAPACITY 4096 // letters: more than control peers x shards

// -------------------------------------------------------------------------------------- sockets

static int fail_listen(const struct pqb_addr *at, int err)
{
    char text[PQB_ADDR_TEXT_MAX];

    pqb_addr_format(at, text);
    if (err == PQB_ERR_EXISTS)
        pqb_log(PQB_LOG_ERROR,
                "cannot listen: the port is in use; stop what uses it or choose "
                "another with --listen address=%s",
                text);
    else
        pqb_log(PQB_LOG_ERROR, "cannot listen address=%s error=\"%s\"", text, strerror(errno));
    return err;
}

// Without the filter everything still works: engines pass on what is not theirs.
static void steer(const struct pqb_daemon *d, size_t index)
{
    if (d->shard_count > 1 && pqb_udp_socket_steer(&d->sockets[0][index], d->shard_count) != PQB_OK)
        pqb_log(PQB_LOG_WARN,
                "the kernel does not take the steering filter; shards pass datagrams "
                "on, which costs CPU error=\"%s\"",
                strerror(errno));
}

// One address: a socket a shard. The sockets of a group must bind in shard order.
static int open_address(struct pqb_daemon *d, size_t index)
{
    const struct pqb_udp_config config = {
        .is_shared = d->shard_count > 1,
        .rcvbuf = d->config.rcvbuf,
        .sndbuf = d->config.sndbuf,
    };
    struct pqb_addr *at = &d->listen[index];
    int err;

    *at = d->config.listen.addrs[index];
    err = pqb_udp_probe(at);
    for (uint32_t i = 0; i < d->shard_count && err == PQB_OK; i++) {
        err = pqb_udp_socket_open(&d->sockets[i][index], at, &config);
        if (err == PQB_OK && i == 0)
            steer(d, index);
    }
    return err == PQB_OK ? PQB_OK : fail_listen(at, err);
}

static int open_sockets(struct pqb_daemon *d)
{
    uint64_t granted;
    int err = PQB_OK;

    for (size_t i = 0; i < d->config.listen.count && err == PQB_OK; i++)
        err = open_address(d, i);
    if (err != PQB_OK)
        return err;
    granted = pqb_udp_socket_rcvbuf(&d->sockets[0][0]);
    if (granted < d->config.rcvbuf)
        pqb_log(PQB_LOG_WARN,
                "the kernel granted a smaller receive buffer; raise "
                "net.core.rmem_max or give CAP_NET_ADMIN wanted=%" PRIu64 " granted=%" PRIu64,
                d->config.rcvbuf, granted);
    return PQB_OK;
}

static void close_sockets(struct pqb_daemon *d)
{
    for (uint32_t i = 0; i < d->shard_count; i++) {
        for (size_t k = 0; k < PQB_CONFIG_LISTEN_MAX; k++)
            pqb_udp_socket_close(&d->sockets[i][k]);
    }
}

// ---------------------------------------------------------------------------------------- store

// Called by the writer: a shard, or the main thread behind the last shard, has something to poll.
static void wake(void *ctx, uint32_t shard)
{
    struct pqb_daemon *d = ctx;

    pqb_mailbox_wake(shard < d->shard_count ? &d->mailboxes[shard] : &d->home);
}

static void explain_store(const struct pqb_daemon *d, int err)
{
    struct pqb_stats_snapshot holder;
    const char *dir = d->config.data;

    switch (err) {
    case PQB_ERR_LOCKED:
        if (pqb_stats_snapshot_read(&holder, d->config.stats) == PQB_OK) {
            pqb_log(PQB_LOG_ERROR,
                    "another gateway has this data directory; stop it or choose "
                    "another with --data data=%s pid=%" PRIu64,
                    dir, holder.pid);
            pqb_stats_snapshot_fini(&holder);
        } else {
            pqb_log(PQB_LOG_ERROR,
                    "another process has this data directory; stop it or choose "
                    "another with --data data=%s",
                    dir);
        }
        break;
    case PQB_ERR_VERSION:
        pqb_log(PQB_LOG_ERROR, "the store was written by another version of paquebotd data=%s",
                dir);
        break;
    case PQB_ERR_CORRUPT:
        pqb_log(PQB_LOG_ERROR,
                "the store is damaged; 'pqbctl verify' shows where, a backup can "
                "take its place data=%s",
                dir);
        break;
    case PQB_ERR_NO_SPACE:
        pqb_log(PQB_LOG_ERROR, "the disk is full; make room and start again data=%s", dir);
        break;
    default:
        pqb_log(PQB_LOG_ERROR,
                "cannot open the store; does the directory above it exist, and may "
                "this account (uid %u) write there? data=%s error=%s errno=\"%s\"",
                (unsigned)geteuid(), dir, pqb_err_name(err), strerror(errno));
        break;
    }
}

static int open_store(struct pqb_daemon *d)
{
    struct pqb_store_config config;
    struct pqb_store_stats stats;
    pqb_tstamp begun;
    int err;

    pqb_settings_store(&config, &d->config);
    config.wake = wake;
    config.ctx = d;
    begun = pqb_os_now(&d->now);
    errno = 0;
    err = pqb_store_open(&d->store, &config, begun, pqb_os_wall());
    if (err != PQB_OK) {
        explain_store(d, err);
        return err;
    }
    pqb_log(PQB_LOG_INFO, "store open data=%s recovery_ms=%" PRIu64, d->config.data,
            (pqb_os_now(&d->now) - begun) / PQB_NS_PER_MS);
    pqb_store_get_stats(d->store, &stats);
    if (stats.is_clock_doubted != 0)
        pqb_log(PQB_LOG_WARN,
                "the clock is more than a day ahead of the store's: retention goes on "
                "as if no time had passed until 'pqbctl confirm-clock'");
    if (d->config.durability == PQB_CONFIG_ASYNC)
        pqb_log(PQB_LOG_WARN, "durability is async: a crash may lose what was accepted in the last "
                              "100 ms");
    return PQB_OK;
}

// --------------------------------------------------------------------------------------- others

static int open_mailboxes(struct pqb_daemon *d)
{
    int err = pqb_mailbox_init(&d->home, HOME_CAPACITY);

    d->has_home = err == PQB_OK;
    while (err == PQB_OK && d->mailbox_count < d->shard_count) {
        err = pqb_mailbox_init(&d->mailboxes[d->mailbox_count], PQB_SHARD_MAILBOX_CAPACITY);
        d->mailbox_count += err == PQB_OK;
    }
    return err;
}

static int open_page(struct pqb_daemon *d)
{
    static struct pqb_stats_row rows[PQB_ROWS_COUNT];
    char names[PQB_DAEMON_SHARDS_MAX + 2][32];
    const char *columns[PQB_DAEMON_SHARDS_MAX + 2];
    const size_t count = d->shard_count + 2;
    int err;

    pqb_rows_describe(rows);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "shard.%zu", i);
        columns[i] = names[i];
    }
    columns[d->shard_count] = "writer";
    columns[d->shard_count + 1] = "process";
    err = pqb_stats_page_create(&d->page, d->config.stats, rows, PQB_ROWS_COUNT, columns, count,
                                pqb_os_wall());
    if (err != PQB_OK) {
        pqb_log(PQB_LOG_ERROR,
                "cannot make the counters page; choose its place with --stats "
                "stats=%s error=\"%s\"",
                d->config.stats, strerror(errno));
        return err;
    }
    d->writer_column = pqb_stats_page_column(d->page, d->shard_count);
    d->process_column = pqb_stats_page_column(d->page, d->shard_count + 1);
    return PQB_OK;
}

static int open_shards(struct pqb_daemon *d)
{
    for (uint32_t i = 0; i < d->shard_count; i++) {
        uint64_t *column = pqb_stats_page_column(d->page, i);
        struct pqb_shard_config config = {
            .index = i,
            .shards = d->shard_count,
            .store = d->store,
            .mailboxes = d->mailboxes,
            .sockets = d->sockets[i],
            .socket_count = d->config.listen.count,
            .auth = d->auth,
            .page = d->page,
            .column = i,
            .engine_counters = column + PQB_ROWS_ENGINE,
            .io_counters = column + PQB_ROWS_IO,
        };
        int err;

        pqb_daemon_set_engine(d, i, &config.engine);
        err = pqb_shard_create(&d->shards[i], &config);
        if (err != PQB_OK) {
            pqb_log(PQB_LOG_ERROR, "cannot make a shard shard=%u error=%s", i, pqb_err_name(err));
            return err;
        }
    }
    return PQB_OK;
}

static const struct pqb_config *config_of(void *ctx)
{
    const struct pqb_daemon *d = ctx;

    return &d->config;
}

static void drain(void *ctx)
{
    pqb_daemon_drain(ctx);
}

static bool is_draining(void *ctx)
{
    const struct pqb_daemon *d = ctx;

    return d->drain.has_begun;
}

static bool reload(void *ctx, struct pqb_json *out)
{
    return pqb_daemon_reload(ctx, out);
}

static int open_control(struct pqb_daemon *d)
{
    const struct pqb_admin_env env = {
        .base = d->base,
        .store = d->store,
        .mailboxes = d->mailboxes,
        .shards = d->shard_count,
        .home = &d->home,
        .counters = d->process_column + PQB_ROWS_PROCESS,
        .ctx = d,
        .config = config_of,
        .drain = drain,
        .is_draining = is_draining,
        .reload = reload,
    };
    const int err = pqb_admin_create(&d->admin, d->config.control, &env);

    if (err != PQB_OK)
        pqb_log(PQB_LOG_ERROR,
                "cannot make the control socket; choose its place with --control "
                "control=%s error=\"%s\"",
                d->config.control, strerror(errno));
    return err;
}

// Threads are born with these blocked: only the main thread takes signals.
static void block_signals(sigset_t *before)
{
    sigset_t all;

    (void)sigfillset(&all);
    PQB_ASSERT(pthread_sigmask(SIG_SETMASK, &all, before) == 0);
}

static int start_threads(struct pqb_daemon *d)
{
    sigset_t before;
    int err;

    block_signals(&before);
    err = pqb_store_start(d->store);
    for (uint32_t i = 0; i < d->shard_count && err == PQB_OK; i++)
        err = pqb_shard_start(d->shards[i]);
    PQB_ASSERT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (err != PQB_OK)
        pqb_log(PQB_LOG_ERROR, "cannot start a thread error=%s", pqb_err_name(err));
    return err;
}

static int load_auth(struct pqb_daemon *d)
{
    struct pqb_config_error error;
    const int err = pqb_auth_load(&d->auth, &d->config, &error);

    if (err != PQB_OK)
        pqb_log(PQB_LOG_ERROR, "%s", error.text);
    else if (d->config.auth == PQB_CONFIG_AUTH_STATIC && pqb_auth_count(d->auth).tokens == 0)
        pqb_log(PQB_LOG_WARN, "the token file is empty: nobody can log in token-file=%s",
                d->config.token_file);
    return err;
}

// The store's directory is there by now, and locked: nobody else makes keys in it.
static int load_keys(struct pqb_daemon *d)
{
    uint8_t seed[PQB_SECRET_SEED_LEN];
    char why[PQB_KEY_FILES_ERROR_MAX] = "there is no randomness or no cryptography";
    int err = pqb_os_entropy(seed, sizeof(seed));

    if (err == PQB_OK)
        err = pqb_aead_init();
    if (err == PQB_OK) {
        pqb_secret_rng_init(&d->secrets, seed);
        err = pqb_daemon_load_keys(d, &d->keys, why);
    }
    if (err != PQB_OK)
        pqb_log(PQB_LOG_ERROR, "%s", why);
    pqb_secret_erase(seed, sizeof(seed));
    return err;
}

// Scripts read this line from stdout; people from the log.
static void say_ready(const struct pqb_daemon *d)
{
    char line[1024], key[2 * PQB_KEY_LEN + 1];
    size_t len = 0;

    for (size_t i = 0; i < d->config.listen.count; i++) {
        char text[PQB_ADDR_TEXT_MAX];

        pqb_addr_format(&d->listen[i], text);
        len += (size_t)snprintf(line + len, sizeof(line) - len, "listen=%s ", text);
    }
    len +=
        (size_t)snprintf(line + len, sizeof(line) - len, "shards=%u data=%s security=%s",
                         d->shard_count, d->config.data, d->keys != NULL ? "noise" : "plaintext");
    if (d->keys != NULL) {
        pqb_hex_encode(d->keys->at[0].pair.public, PQB_KEY_LEN, key);
        (void)snprintf(line + len, sizeof(line) - len, " server-key=%s", key);
    }
    pqb_log(PQB_LOG_INFO, "ready %s", line);
    (void)printf("ready %s\n", line);
    (void)fflush(stdout);
}

// ------------------------------------------------------------------------------- start and stop

// Sockets come before the store: ports below 1024 need root, and the store's files must belong to
// the account that serves. What arrives during recovery waits in the sockets' buffers.
static int start(struct pqb_daemon *d)
{
    int err = load_auth(d);

    if (err == PQB_OK)
        err = open_sockets(d);
    if (err == PQB_OK)
        err = pqb_privileges_drop(d->config.user, d->config.data);
    if (err == PQB_OK)
        err = open_mailboxes(d);
    if (err == PQB_OK)
        err = open_store(d); // takes the directory's lock
    if (err == PQB_OK)
        err = load_keys(d);
    if (err == PQB_OK)
        err = open_page(d);
    if (err == PQB_OK)
        err = pqb_daemon_loop_init(d);
    if (err == PQB_OK)
        err = open_control(d);
    if (err == PQB_OK)
        err = open_shards(d);
    if (err == PQB_OK && d->config.seccomp)
        err = pqb_seccomp_load(); // all that serving needs is open; threads inherit it
    if (err == PQB_OK)
        err = start_threads(d);
    return err;
}

// The reverse: shards end before the store they read; the store commits what is still queued.
static void stop(struct pqb_daemon *d)
{
    for (uint32_t i = 0; i < d->shard_count; i++) {
        if (d->shards[i] != NULL)
            pqb_shard_stop(d->shards[i]);
    }
    for (uint32_t i = 0; i < d->shard_count; i++)
        pqb_shard_destroy(d->shards[i]);
    pqb_admin_destroy(d->admin);
    pqb_store_close(d->store);
    close_sockets(d);
    pqb_daemon_loop_fini(d);
    pqb_stats_page_destroy(d->page, pqb_os_wall());
    for (uint32_t i = 0; i < d->mailbox_count; i++) {
        pqb_shard_discard(&d->mailboxes[i]); // other shards may have posted to the last
        pqb_mailbox_fini(&d->mailboxes[i]);
    }
    while (d->has_home && pqb_mailbox_take(&d->home) != NULL)
        ; // calls whose owners are gone
    if (d->has_home)
        pqb_mailbox_fini(&d->home);
    pqb_auth_destroy(d->reload.old_auth);
    pqb_auth_destroy(d->auth);
    pqb_secret_free(d->reload.old_keys);
    pqb_secret_free(d->keys);
    pqb_secret_rng_fini(&d->secrets);
}

enum pqb_daemon_exit pqb_daemon_run(const struct pqb_config *config, int argc, char *const *argv)
{
    struct pqb_daemon *d = calloc(1, sizeof(*d));
    enum pqb_daemon_exit result = PQB_DAEMON_FAILED;

    if (d == NULL)
        return PQB_DAEMON_FAILED;
    d->config = *config;
    d->argc = argc;
    d->argv = argv;
    d->shard_count = (uint32_t)config->shards;
    PQB_ASSERT(d->shard_count > 0 && d->shard_count <= PQB_DAEMON_SHARDS_MAX);
    for (uint32_t i = 0; i < d->shard_count; i++) {
        for (size_t k = 0; k < PQB_CONFIG_LISTEN_MAX; k++)
            d->sockets[i][k].fd = -1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    if (start(d) == PQB_OK) {
        say_ready(d);
        pqb_daemon_loop_run(d);
        result = PQB_DAEMON_STOPPED;
    }
    stop(d);
    if (result == PQB_DAEMON_STOPPED)
        pqb_log(PQB_LOG_INFO, "stopped");
    free(d);
    return result;
}
