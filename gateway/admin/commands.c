#include "gateway/admin/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "gateway/admin/chain.h"
#include "gateway/admin/control.h"
#include "gateway/admin/rows.h"

#define ANSWER_MAX       (16 * 1024 * 1024)  // bytes of one answer
#define BACKUP_PAGES_MAX (UINT64_C(1) << 20) // pages a backup may pin: 4 GiB

struct pqb_admin {
    struct pqb_admin_env env;
    struct pqb_control *control;
    struct pqb_list commands; // not answered yet
    struct pqb_view *view;    // for inbox; made at first use
    bool has_backup;          // one at a time
};

struct command {
    struct pqb_list link; // in pqb_admin.commands
    struct pqb_admin *admin;
    struct pqb_control_peer *peer; // NULL: it went away
    struct pqb_json out;
    struct pqb_chain chain;
    void (*on_request)(struct command *c, struct pqb_request *r); // takes `r` over
    struct pqb_request *answer;                                   // of USER, kept over a chain
    char user[PQB_USER_MAX], device[PQB_DEVICE_MAX];
    size_t user_len, device_len;
    uint64_t limit, sum;
    uint32_t online; // bit i: devices[i] has a session
    char *path;
    pthread_t thread;
    bool has_thread;
    int result;
};

// ----------------------------------------------------------------------------------- lifetime

static void command_destroy(struct command *c)
{
    pqb_list_unlink(&c->link);
    if (c->has_thread)
        (void)pthread_join(c->thread, NULL);
    pqb_request_destroy(c->answer);
    pqb_json_fini(&c->out);
    free(c->path);
    free(c);
}

static void begin_answer(struct command *c, bool is_ok)
{
    pqb_json_clear(&c->out);
    pqb_json_object_begin(&c->out, NULL);
    pqb_json_bool(&c->out, "ok", is_ok);
}

// Sends what has been written since begin_answer.
static void finish(struct command *c)
{
    const char *text;

    pqb_json_object_end(&c->out);
    text = pqb_json_text(&c->out);
    if (c->peer != NULL)
        pqb_control_answer(c->peer, text != NULL ? text
                                                 : "{\"ok\":false,\"error\":\"the answer is too "
                                                   "long; ask for less with --limit\"}");
    command_destroy(c);
}

static void refuse(struct command *c, const char *why)
{
    begin_answer(c, false);
    pqb_json_string(&c->out, "error", why);
    finish(c);
}

static void chain_to(struct command *c, uint32_t first, uint32_t end,
                     void (*visit)(struct pqb_chain *, struct pqb_shard *, struct pqb_engine *,
                                   pqb_tstamp),
                     void (*done)(struct pqb_chain *))
{
    c->chain.visit = visit;
    c->chain.done = done;
    c->chain.ctx = c;
    pqb_chain_start(&c->chain, c->admin->env.mailboxes, first, end, c->admin->env.home);
}

// Whether the chain got through; answers itself if not.
static bool is_through(struct command *c)
{
    if (!c->chain.is_failed)
        return true;
    refuse(c, "a shard is too busy to answer; try again");
    return false;
}

static uint32_t shard_of_user(const struct command *c)
{
    return pqb_store_user_hash(c->admin->env.store, c->user, c->user_len) % c->admin->env.shards;
}

// Sends `c` to the store; the answer comes to `on_request`.
static void submit(struct command *c, enum pqb_op op,
                   void (*on_request)(struct command *, struct pqb_request *))
{
    struct pqb_request *r = pqb_request_create(op, 0);

    if (r == NULL) {
        refuse(c, "out of memory");
        return;
    }
    r->shard = c->admin->env.shards;
    memcpy(r->tag, &c, sizeof(c));
    memcpy(r->user, c->user, c->user_len);
    r->user_len = (uint8_t)c->user_len;
    c->on_request = on_request;
    if (pqb_store_submit(c->admin->env.store, r) == PQB_OK)
        return;
    pqb_request_destroy(r);
    refuse(c, "the store is too busy to answer; try again");
}

// ------------------------------------------------------------------------------------- status

static void count_sessions(struct pqb_chain *chain, struct pqb_shard *shard,
                           struct pqb_engine *engine, pqb_tstamp now)
{
    struct command *c = chain->ctx;

    (void)engine;
    (void)now;
    c->sum += pqb_shard_sessions(shard);
}

static void status_done(struct pqb_chain *chain)
{
    struct command *c = chain->ctx;
    const struct pqb_admin_env *env = &c->admin->env;
    struct pqb_store_stats stats;

    if (!is_through(c))
        return;
    pqb_store_get_stats(env->store, &stats);
    begin_answer(c, true);
    pqb_json_uint(&c->out, "pid", (uint64_t)getpid());
    pqb_json_string(&c->out, "state", env->is_draining(env->ctx) ? "draining" : "serving");
    pqb_json_uint(&c->out, "shards", env->shards);
    pqb_json_string(&c->out, "data", env->config(env->ctx)->data);
    pqb_json_string(&c->out, "durability",
                    env->config(env->ctx)->durability == PQB_CONFIG_COMMIT ? "commit" : "async");
    pqb_json_uint(&c->out, "sessions", c->sum);
    pqb_json_bool(&c->out, "refusing_messages", stats.is_degraded != 0);
    pqb_json_uint(&c->out, "queue", stats.queue_len);
    pqb_json_uint(&c->out, "journal_bytes", stats.journal_bytes);
    pqb_json_uint(&c->out, "store_bytes", stats.map_used_bytes);
    pqb_json_uint(&c->out, "store_bytes_max", stats.map_bytes);
    finish(c);
}

static void run_status(struct command *c, char *const *words, size_t count)
{
    (void)words;
    (void)count;
    chain_to(c, 0, c->admin->env.shards, count_sessions, status_done);
}

// ----------------------------------------------------------------------------------- sessions

static bool show_session(void *ctx, const struct pqb_session_info *info)
{
    struct command *c = ctx;
    char addr[PQB_ADDR_TEXT_MAX];
    char cid[20];

    c->sum++;
    if (c->sum > c->limit)
        return true; // go on counting
    pqb_addr_format(&info->addr, addr);
    (void)snprintf(cid, sizeof(cid), "%016" PRIx64, info->cid);
    pqb_json_object_begin(&c->out, NULL);
    pqb_json_string(&c->out, "user", info->user);
    pqb_json_string(&c->out, "device", info->device);
    pqb_json_string(&c->out, "address", addr);
    pqb_json_string(&c->out, "cid", cid);
    pqb_json_string(&c->out, "cipher", pqb_cipher_name(info->cipher));
    pqb_json_uint(&c->out, "age_ms", info->age / PQB_NS_PER_MS);
    pqb_json_uint(&c->out, "idle_ms", info->idle / PQB_NS_PER_MS);
    pqb_json_uint(&c->out, "rtt_us", info->srtt / PQB_NS_PER_US);
    pqb_json_uint(&c->out, "cursor", info->cursor);
    pqb_json_uint(&c->out, "head", info->head);
    pqb_json_uint(&c->out, "in_flight", info->in_flight);
    pqb_json_object_end(&c->out);
    return true;
}

static void show_sessions(struct pqb_chain *chain, struct pqb_shard *shard,
                          struct pqb_engine *engine, pqb_tstamp now)
{
    (void)shard;
    pqb_engine_each_session(engine, show_session, chain->ctx, now);
}

static void sessions_done(struct pqb_chain *chain)
{
    struct command *c = chain->ctx;

    if (!is_through(c))
        return;
    pqb_json_array_end(&c->out);
    pqb_json_uint(&c->out, "count", c->sum);
    finish(c);
}

static uint64_t limit_of(char *const *words, size_t count, size_t at)
{
    const uint64_t limit = count > at ? strtoull(words[at], NULL, 10) : PQB_ADMIN_SHOWN_MAX;

    return PQB_MIN(limit, (uint64_t)PQB_ADMIN_SHOWN_MAX);
}

static void run_sessions(struct command *c, char *const *words, size_t count)
{
    c->limit = limit_of(words, count, 1);
    begin_answer(c, true);
    pqb_json_array_begin(&c->out, "sessions");
    chain_to(c, 0, c->admin->env.shards, show_sessions, sessions_done);
}

// --------------------------------------------------------------------------------------- user

static bool note_online(void *ctx, const struct pqb_session_info *info)
{
    struct command *c = ctx;
    const struct pqb_request *r = c->answer;

    if (strlen(info->user) != c->user_len || memcmp(info->user, c->user, c->user_len) != 0)
        return true;
    for (uint32_t i = 0; i < r->devices_count; i++) {
        if (strlen(info->device) == r->devices[i].name_len &&
            memcmp(info->device, r->devices[i].name, r->devices[i].name_len) == 0)
            c->online |= UINT32_C(1) << i;
    }
    return true;
}

static void find_online(struct pqb_chain *chain, struct pqb_shard *shard, struct pqb_engine *engine,
                        pqb_tstamp now)
{
    (void)shard;
    pqb_engine_each_session(engine, note_online, chain->ctx, now);
}

static void show_devices(struct command *c)
{
    pqb_json_array_begin(&c->out, "devices");
    for (uint32_t i = 0; i < c->answer->devices_count; i++) {
        const struct pqb_user_device *device = &c->answer->devices[i];

        pqb_json_object_begin(&c->out, NULL);
        pqb_json_text_n(&c->out, "device", device->name, device->name_len);
        pqb_json_uint(&c->out, "cursor", device->cursor);
        pqb_json_bool(&c->out, "online", (c->online >> i & 1) != 0);
        pqb_json_uint(&c->out, "last_seen", device->last_seen);
        pqb_json_uint(&c->out, "epoch", device->epoch);
        pqb_json_uint(&c->out, "low", device->low);
        pqb_json_object_end(&c->out);
    }
    pqb_json_array_end(&c->out);
}

static void user_done(struct pqb_chain *chain)
{
    struct command *c = chain->ctx;
    const struct pqb_user_state *user = &c->answer->user_state;

    if (!is_through(c))
        return;
    begin_answer(c, true);
    pqb_json_text_n(&c->out, "user", c->user, c->user_len);
    pqb_json_uint(&c->out, "uid", user->uid);
    pqb_json_uint(&c->out, "inbox_head", user->head);
    pqb_json_uint(&c->out, "inbox_tail", user->tail);
    pqb_json_uint(&c->out, "inbox_count", user->count);
    pqb_json_uint(&c->out, "inbox_bytes", user->bytes);
    pqb_json_uint(&c->out, "delivered", user->delivered);
    pqb_json_uint(&c->out, "shard", shard_of_user(c));
    show_devices(c);
    finish(c);
}

// The answer of USER is kept; false: there is no such user, told.
static bool keep_user(struct command *c, struct pqb_request *r)
{
    if (r->result == PQB_RESULT_DONE && r->user_state.uid != 0) {
        PQB_ASSERT(r->devices_count <= PQB_USER_DEVICES_MAX);
        c->answer = r;
        return true;
    }
    refuse(c, r->result == PQB_RESULT_FAILED ? "the store could not answer; try again"
                                             : "the gateway knows no user of this name");
    pqb_request_destroy(r);
    return false;
}

static void on_user(struct command *c, struct pqb_request *r)
{
    const uint32_t shard = shard_of_user(c);

    if (keep_user(c, r))
        chain_to(c, shard, shard + 1, find_online, user_done);
}

static bool take_user(struct command *c, char *const *words, size_t count)
{
    const size_t len = count > 1 ? strlen(words[1]) : 0;

    if (len == 0 || len > PQB_USER_MAX) {
        refuse(c, "a user's name of 1 to 64 bytes is needed");
        return false;
    }
    memcpy(c->user, words[1], len);
    c->user_len = len;
    return true;
}

static void run_user(struct command *c, char *const *words, size_t count)
{
    if (take_user(c, words, count))
        submit(c, PQB_OP_USER, on_user);
}

// -------------------------------------------------------------------------------------- inbox

static void show_message(struct command *c, const struct pqb_message *m)
{
    c->sum++;
    if (c->sum > c->limit)
        return;
    pqb_json_object_begin(&c->out, NULL);
    pqb_json_uint(&c->out, "iseq", m->iseq);
    pqb_json_text_n(&c->out, "from", m->from.data, m->from.len);
    pqb_json_text_n(&c->out, "device", m->device.data, m->device.len);
    pqb_json_uint(&c->out, "kind", m->kind);
    pqb_json_uint(&c->out, "time", m->time);
    pqb_json_uint(&c->out, "bytes", m->body.len);
    pqb_json_object_end(&c->out);
}

// Messages that a checkpoint has moved; returns the position behind the last.
static uint64_t show_inbox(struct command *c, uint64_t from)
{
    const uint64_t uid = c->answer->user_state.uid;
    struct pqb_message m;

    for (;;) {
        const int err = pqb_view_inbox_message(c->admin->view, uid, from, &m);

        if (err == PQB_OK)
            show_message(c, &m);
        else if (err != PQB_ERR_CORRUPT)
            return from;
        from = m.iseq + 1;
    }
}

// Messages that are still in the journal only.
static void show_journal(struct command *c, uint64_t from)
{
    struct pqb_view *view = c->admin->view;
    uint64_t gseq = pqb_view_journal_first(view);
    struct pqb_record record;
    struct pqb_message m;

    while (pqb_view_tail(view, &gseq, &record) == PQB_OK) {
        if (record.type != PQB_RECORD_MSG || record.uid != c->answer->user_state.uid ||
            record.iseq < from)
            continue;
        if (pqb_view_journal_message(view, record.gseq, &m) == PQB_OK)
            show_message(c, &m);
    }
}

static void on_inbox(struct command *c, struct pqb_request *r)
{
    struct pqb_admin *a = c->admin;

    if (!keep_user(c, r))
        return;
    if ((a->view == NULL && pqb_view_create(a->env.store, &a->view) != PQB_OK) ||
        pqb_view_begin(a->view) != PQB_OK) {
        refuse(c, "the store cannot be read now; try again");
        return;
    }
    begin_answer(c, true);
    pqb_json_text_n(&c->out, "user", c->user, c->user_len);
    pqb_json_uint(&c->out, "head", c->answer->user_state.head);
    pqb_json_array_begin(&c->out, "messages");
    show_journal(c, show_inbox(c, c->answer->user_state.tail));
    pqb_view_end(a->view);
    pqb_json_array_end(&c->out);
    pqb_json_uint(&c->out, "count", c->sum);
    finish(c);
}

static void run_inbox(struct command *c, char *const *words, size_t count)
{
    c->limit = limit_of(words, count, 2);
    if (take_user(c, words, count))
        submit(c, PQB_OP_USER, on_inbox);
}

// --------------------------------------------------------------------------------------- kick

static void kick(struct pqb_chain *chain, struct pqb_shard *shard, struct pqb_engine *engine,
                 pqb_tstamp now)
{
    struct command *c = chain->ctx;

    (void)shard;
    c->sum = pqb_engine_kick(engine, c->user, c->user_len, c->device, c->device_len, now);
}

static void kick_done(struct pqb_chain *chain)
{
    struct command *c = chain->ctx;

    if (!is_through(c))
        return;
    if (c->sum == 0) {
        refuse(c, "no such session");
        return;
    }
    begin_answer(c, true);
    pqb_json_uint(&c->out, "kicked", c->sum);
    finish(c);
}

static void run_kick(struct command *c, char *const *words, size_t count)
{
    const size_t len = count > 2 ? strlen(words[2]) : 0;
    uint32_t shard;

    if (!take_user(c, words, count))
        return;
    if (len > PQB_DEVICE_MAX) {
        refuse(c, "a device's name has at most 32 bytes");
        return;
    }
    if (len > 0)
        memcpy(c->device, words[2], len);
    c->device_len = len;
    shard = shard_of_user(c);
    chain_to(c, shard, shard + 1, kick, kick_done);
}

// ---------------------------------------------------- drain, reload, checkpoint, confirm-clock

static void run_drain(struct command *c, char *const *words, size_t count)
{
    (void)words;
    (void)count;
    c->admin->env.drain(c->admin->env.ctx);
    begin_answer(c, true);
    finish(c);
}

static void run_reload(struct command *c, char *const *words, size_t count)
{
    struct pqb_json details;
    bool is_ok;

    (void)words;
    (void)count;
    // Tried first in a text of its own: the answer begins with whether it went well.
    pqb_json_init(&details, ANSWER_MAX);
    is_ok = c->admin->env.reload(c->admin->env.ctx, &details);
    begin_answer(c, is_ok);
    pqb_json_members(&c->out, &details);
    pqb_json_fini(&details);
    finish(c);
}

static void on_checkpoint(struct command *c, struct pqb_request *r)
{
    const bool is_done = r->result == PQB_RESULT_DONE;

    pqb_request_destroy(r);
    if (!is_done) {
        refuse(c, "the store could not begin a checkpoint");
        return;
    }
    begin_answer(c, true);
    finish(c);
}

static void run_checkpoint(struct command *c, char *const *words, size_t count)
{
    (void)words;
    (void)count;
    submit(c, PQB_OP_CHECKPOINT, on_checkpoint);
}

static void run_confirm_clock(struct command *c, char *const *words, size_t count)
{
    (void)words;
    (void)count;
    pqb_store_confirm_clock(c->admin->env.store);
    begin_answer(c, true);
    finish(c);
}

// ------------------------------------------------------------------------------------- backup

static void *backup(void *arg)
{
    struct command *c = arg;

    c->result = pqb_store_backup(c->admin->env.store, c->path, BACKUP_PAGES_MAX);
    PQB_ASSERT(pqb_mailbox_post(c->admin->env.home, &c->chain.call));
    return NULL;
}

static void backup_done(struct pqb_chain *chain)
{
    struct command *c = chain->ctx;
    char why[128];

    c->admin->has_backup = false;
    if (c->result == PQB_OK) {
        begin_answer(c, true);
        pqb_json_string(&c->out, "backup", c->path);
        finish(c);
        return;
    }
    if (c->result == PQB_ERR_EXISTS)
        (void)snprintf(why, sizeof(why), "the directory exists; name a new one");
    else if (c->result == PQB_ERR_NO_SPACE)
        (void)snprintf(why, sizeof(why),
                       "no space, or the store changed too much meanwhile; try when it is calmer");
    else
        (void)snprintf(why, sizeof(why), "the copy failed: %s", pqb_err_name(c->result));
    refuse(c, why);
}

static void run_backup(struct command *c, char *const *words, size_t count)
{
    if (count < 2 || words[1][0] != '/') {
        refuse(c, "an absolute path of a new directory is needed");
        return;
    }
    if (c->admin->has_backup) {
        refuse(c, "a backup is under way; wait for it");
        return;
    }
    c->path = strdup(words[1]);
    // A chain to no shard: it only carries the thread's result home.
    c->chain = (struct pqb_chain){.done = backup_done, .ctx = c};
    if (c->path == NULL || pthread_create(&c->thread, NULL, backup, c) != 0) {
        refuse(c, "out of memory");
        return;
    }
    c->has_thread = true;
    c->admin->has_backup = true;
}

// ----------------------------------------------------------------------------------- dispatch

static const struct {
    const char *name;
    void (*run)(struct command *c, char *const *words, size_t count);
} verbs[] = {
    {"status", run_status},
    {"sessions", run_sessions},
    {"user", run_user},
    {"inbox", run_inbox},
    {"kick", run_kick},
    {"drain", run_drain},
    {"reload", run_reload},
    {"backup", run_backup},
    {"checkpoint", run_checkpoint},
    {"confirm-clock", run_confirm_clock},
};

static void on_command(void *ctx, struct pqb_control_peer *peer, char *const *words, size_t count)
{
    struct pqb_admin *a = ctx;
    struct command *c;

    for (size_t i = 0; i < PQB_ARRAY_LEN(verbs); i++) {
        if (strcmp(words[0], verbs[i].name) != 0)
            continue;
        c = calloc(1, sizeof(*c));
        if (c == NULL)
            break;
        c->admin = a;
        c->peer = peer;
        pqb_json_init(&c->out, ANSWER_MAX);
        pqb_list_push_back(&a->commands, &c->link);
        verbs[i].run(c, words, count);
        return;
    }
    pqb_control_answer(peer, "{\"ok\":false,\"error\":\"no such command\"}");
}

static void on_gone(void *ctx, const struct pqb_control_peer *peer)
{
    struct pqb_admin *a = ctx;

    PQB_LIST_FOREACH (it, &a->commands) {
        struct command *c = PQB_CONTAINER_OF(it, struct command, link);

        if (c->peer == peer)
            c->peer = NULL;
    }
}

int pqb_admin_create(struct pqb_admin **out, const char *path, const struct pqb_admin_env *env)
{
    struct pqb_admin *a = calloc(1, sizeof(*a));
    const struct pqb_control_handler handler = {
        .ctx = a,
        .on_command = on_command,
        .on_gone = on_gone,
        .commands = &env->counters[PQB_PROCESS_CONTROL_COMMANDS],
        .refused = &env->counters[PQB_PROCESS_CONTROL_REFUSED],
    };
    int err;

    if (a == NULL)
        return PQB_ERR_NOMEM;
    a->env = *env;
    pqb_list_init(&a->commands);
    err = pqb_control_create(&a->control, env->base, path, &handler);
    if (err == PQB_OK)
        *out = a;
    else
        free(a);
    return err;
}

void pqb_admin_on_completions(struct pqb_admin *a)
{
    struct pqb_request *r;

    while ((r = pqb_store_poll(a->env.store, a->env.shards)) != NULL) {
        struct command *c;

        memcpy(&c, r->tag, sizeof(c));
        c->on_request(c, r);
    }
}

void pqb_admin_destroy(struct pqb_admin *a)
{
    if (a == NULL)
        return;
    pqb_control_destroy(a->control);
    // Whoever asked is gone; requests still in the store die with it.
    PQB_LIST_FOREACH_SAFE (it, after, &a->commands) {
        command_destroy(PQB_CONTAINER_OF(it, struct command, link));
    }
    pqb_view_destroy(a->view);
    free(a);
}
