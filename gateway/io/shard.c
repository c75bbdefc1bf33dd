#include "gateway/io/shard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>

#include <event2/event.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "gateway/io/io_stats.h"
#include "gateway/io/os_env.h"
#include "gateway/io/udp_batch.h"

// Bounds of one turn: no input can keep the others waiting.
#define READS_PER_TURN    4 // batches from each socket
#define LETTERS_PER_TURN  1024
#define TRANSMIT_PER_TURN 1024

#define STIR_NS    PQB_NS_PER_SEC
#define RETRY_NS   (10 * PQB_NS_PER_MS) // after a turn that could not read the store
#define BLOCKED_NS PQB_NS_PER_MS        // shortest sleep while a socket is full

struct mail {
    struct pqb_letter letter;
    size_t len;
    uint8_t data[];
};

struct pqb_shard {
    struct pqb_shard_config config;
    struct pqb_engine *engine;
    struct pqb_udp_rx rx;
    struct pqb_udp_tx tx;
    pqb_tstamp now;     // read once a turn
    pqb_wall_ms wall;   // likewise
    pqb_tstamp stir_at; // when the engine's secrets get fresh randomness
    uint64_t view_errors_logged;

    struct event_base *base;
    struct event *readable[PQB_SHARD_SOCKETS_MAX], *writable[PQB_SHARD_SOCKETS_MAX];
    struct event *letters, *timer;
    bool has_input[PQB_SHARD_SOCKETS_MAX];
    bool is_blocked; // a socket is full; its `writable` event is pending

    pthread_t thread;
    bool is_started;
};

// It may be a login, with its handshake.
static void free_mail(struct mail *mail)
{
    pqb_secret_erase(mail->data, mail->len);
    free(mail);
}

// ------------------------------------------------------------------------- what the engine asks

static bool post(void *ctx, uint32_t shard, const void *data, size_t len)
{
    struct pqb_shard *s = ctx;
    struct mail *mail;

    PQB_ASSERT(shard < s->config.shards && len <= PQB_MAIL_MAX);
    mail = malloc(sizeof(*mail) + len);
    if (mail != NULL) {
        mail->letter.type = PQB_LETTER_MAIL;
        mail->len = len;
        memcpy(mail->data, data, len);
        if (pqb_mailbox_post(&s->config.mailboxes[shard], mail))
            return true;
        free(mail);
    }
    return false; // the engine counts it
}

static bool may_login(void *ctx, const struct pqb_credentials *c, struct pqb_grant *out)
{
    const struct pqb_shard *s = ctx;

    return pqb_auth_may_login(s->config.auth, c, s->wall, out);
}

static bool may_stay(void *ctx, const struct pqb_text *user, const struct pqb_text *device,
                     const struct pqb_grant *grant)
{
    const struct pqb_shard *s = ctx;

    return pqb_auth_may_stay(s->config.auth, user, device, grant, s->wall);
}

static void log_line(void *ctx, int level, const char *line)
{
    const struct pqb_shard *s = ctx;

    pqb_log((enum pqb_log_level)level, "%s shard=%u", line, s->config.index);
}

static pqb_wall_ms wall(void *ctx)
{
    const struct pqb_shard *s = ctx;

    return s->wall;
}

// ---------------------------------------------------------------------------------------- turn

// Those of sessions first: they do not wait for strangers who came in the same batch.
static void take_batch(struct pqb_shard *s, size_t count)
{
    const struct pqb_rx_datagram *others[PQB_UDP_BATCH];
    size_t other_count = 0;

    for (size_t i = 0; i < count; i++) {
        const struct pqb_rx_datagram *d = &s->rx.datagrams[i];
        const int shard = pqb_engine_shard_of(d->data, d->len, s->config.shards);

        if (shard < 0) {
            others[other_count++] = d;
            continue;
        }
        // The engine passes it on; many of these mean that the kernel does not steer.
        s->config.io_counters[PQB_IO_MISROUTED] += (uint32_t)shard != s->config.index;
        pqb_engine_on_datagram(s->engine, &d->from, d->data, d->len, s->now);
    }
    for (size_t i = 0; i < other_count; i++)
        pqb_engine_on_datagram(s->engine, &others[i]->from, others[i]->data, others[i]->len,
                               s->now);
}

static void take_datagrams(struct pqb_shard *s, size_t socket)
{
    for (int i = 0; i < READS_PER_TURN; i++) {
        const size_t count = pqb_udp_rx_read(&s->rx, &s->config.sockets[socket], (uint8_t)socket);

        take_batch(s, count);
        if (count < PQB_UDP_BATCH)
            return;
    }
}

static void open_letter(struct pqb_shard *s, struct pqb_letter *letter)
{
    if (letter->type == PQB_LETTER_MAIL) {
        struct mail *mail = PQB_CONTAINER_OF(letter, struct mail, letter);

        pqb_engine_on_mail(s->engine, mail->data, mail->len, s->now);
        free_mail(mail);
    } else {
        struct pqb_call *call = PQB_CONTAINER_OF(letter, struct pqb_call, letter);

        call->run(call, s, s->engine, s->now);
        if (call->reply != NULL)
            PQB_ASSERT(pqb_mailbox_post(call->reply, call));
    }
}

// Returns whether letters are left for the next turn.
static bool take_letters(struct pqb_shard *s)
{
    struct pqb_mailbox *box = &s->config.mailboxes[s->config.index];

    for (int i = 0; i < LETTERS_PER_TURN; i++) {
        struct pqb_letter *letter = pqb_mailbox_take(box);

        if (letter == NULL)
            return false;
        open_letter(s, letter);
    }
    return true;
}

static bool flush(struct pqb_shard *s)
{
    size_t blocked = 0;

    if (pqb_udp_tx_flush(&s->tx, s->config.sockets, &blocked) == PQB_OK) {
        s->is_blocked = false;
        return true;
    }
    s->is_blocked = true;
    (void)event_add(s->writable[blocked], NULL);
    return false;
}

// Returns whether the engine may have more to send. While a socket is full it is not asked.
static bool transmit(struct pqb_shard *s)
{
    if (!flush(s))
        return false;
    for (int i = 0; i < TRANSMIT_PER_TURN; i++) {
        struct pqb_transmit *slot = pqb_udp_tx_slot(&s->tx);

        if (slot == NULL) {
            if (!flush(s))
                return false;
            slot = pqb_udp_tx_slot(&s->tx);
        }
        if (!pqb_engine_poll_transmit(s->engine, slot, s->now)) {
            (void)flush(s);
            return false;
        }
        PQB_ASSERT(slot->to.local < s->config.socket_count);
        pqb_udp_tx_push(&s->tx);
    }
    (void)flush(s);
    return !s->is_blocked;
}

// A shard that cannot read the store serves nobody, but the cause (no reader slot, no memory) may
// pass; the writer ends the process when the disk itself is at fault.
static void on_view_error(struct pqb_shard *s, int err)
{
    s->config.io_counters[PQB_IO_VIEW_ERRORS]++;
    if (s->view_errors_logged++ % 1000 == 0)
        pqb_log(PQB_LOG_ERROR, "cannot read the store shard=%u error=%s", s->config.index,
                pqb_err_name(err));
}

// In a turn, once a second while there are turns.
static void stir(struct pqb_shard *s)
{
    uint8_t fresh[PQB_SECRET_SEED_LEN];

    if (s->now < s->stir_at)
        return;
    s->stir_at = pqb_tstamp_add(s->now, STIR_NS);
    if (pqb_os_entropy(fresh, sizeof(fresh)) == PQB_OK) // it does not fail twice at start and later
        pqb_engine_stir(s->engine, fresh);
    pqb_secret_erase(fresh, sizeof(fresh));
}

// One turn. Returns when the next is wanted at the latest; `now` means at once.
static pqb_tstamp turn(struct pqb_shard *s)
{
    bool is_more;
    int err;

    stir(s);
    err = pqb_engine_begin(s->engine, s->now);
    if (err != PQB_OK) {
        on_view_error(s, err);
        return pqb_tstamp_add(s->now, RETRY_NS);
    }
    for (size_t i = 0; i < s->config.socket_count; i++) {
        if (s->has_input[i])
            take_datagrams(s, i);
        s->has_input[i] = false;
    }
    is_more = take_letters(s);
    pqb_engine_on_timeout(s->engine, s->now);
    is_more |= transmit(s);
    pqb_engine_handshake(s->engine, s->now);
    pqb_engine_end(s->engine);
    if (is_more)
        return s->now;
    if (s->is_blocked)
        return PQB_MAX(pqb_engine_next_deadline(s->engine), s->now + BLOCKED_NS);
    return pqb_engine_next_deadline(s->engine);
}

// ---------------------------------------------------------------------------------------- loop

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    bool *has_input = arg;

    (void)fd;
    (void)what;
    *has_input = true;
}

static void on_letters(evutil_socket_t fd, short what, void *arg)
{
    struct pqb_shard *s = arg;

    (void)fd;
    (void)what;
    pqb_mailbox_clear(&s->config.mailboxes[s->config.index]);
}

static void on_nothing(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

static void sleep_until(struct pqb_shard *s, pqb_tstamp deadline)
{
    pqb_tstamp last = s->now;
    const pqb_tstamp now = pqb_os_now(&last);

    if (deadline <= now) {
        (void)event_base_loop(s->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        return;
    }
    if (deadline != PQB_NEVER) {
        // Rounded up: a timer that rings before its deadline would ring again and again.
        const uint64_t us = (deadline - now + PQB_NS_PER_US - 1) / PQB_NS_PER_US;
        const struct timeval after = {.tv_sec = (time_t)(us / 1000000),
                                      .tv_usec = (suseconds_t)(us % 1000000)};

        (void)event_add(s->timer, &after);
    } else {
        (void)event_del(s->timer);
    }
    (void)event_base_loop(s->base, EVLOOP_ONCE);
}

// A thread names itself by a system call; another one would have to write to a file of /proc, which
// belongs to root once the daemon has closed itself to debuggers.
static void take_name(uint32_t index)
{
    char name[16];

    (void)snprintf(name, sizeof(name), "pqb-shard-%u", index % 100);
    (void)pthread_setname_np(pthread_self(), name);
}

static void *run(void *arg)
{
    struct pqb_shard *s = arg;
    const struct pqb_mailbox *box = &s->config.mailboxes[s->config.index];

    take_name(s->config.index);
    while (!pqb_mailbox_is_closed(box)) {
        pqb_tstamp deadline, end;

        end = pqb_os_now(&s->now);
        s->wall = pqb_os_wall();
        pqb_stats_page_turn_begin(s->config.page, s->config.column, s->now);
        deadline = turn(s);
        (void)pqb_os_now(&end);
        s->config.io_counters[PQB_IO_TURNS]++;
        s->config.io_counters[PQB_IO_BUSY_NS] += end - s->now;
        pqb_stats_page_turn_end(s->config.page, s->config.column);
        sleep_until(s, deadline); // closing the mailbox wakes it
    }
    return NULL;
}

// ------------------------------------------------------------------------------------ lifetime

static struct event_base *create_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base;

    if (config == NULL)
        return NULL;
    // Pacing needs better than epoll's millisecond, hence a timerfd; one thread a base, no locks.
    (void)event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER | EVENT_BASE_FLAG_NOLOCK |
                                            EVENT_BASE_FLAG_NO_CACHE_TIME);
    base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static int create_events(struct pqb_shard *s)
{
    const int letters_fd = s->config.mailboxes[s->config.index].fd;

    s->base = create_base();
    if (s->base == NULL)
        return PQB_ERR_NOMEM;
    for (size_t i = 0; i < s->config.socket_count; i++) {
        const int fd = s->config.sockets[i].fd;

        s->readable[i] =
            event_new(s->base, fd, EV_READ | EV_PERSIST, on_readable, &s->has_input[i]);
        s->writable[i] = event_new(s->base, fd, EV_WRITE, on_nothing, NULL);
        if (s->readable[i] == NULL || s->writable[i] == NULL ||
            event_add(s->readable[i], NULL) != 0)
            return PQB_ERR_NOMEM;
    }
    s->letters = event_new(s->base, letters_fd, EV_READ | EV_PERSIST, on_letters, s);
    s->timer = event_new(s->base, -1, 0, on_nothing, NULL);
    if (s->letters == NULL || s->timer == NULL || event_add(s->letters, NULL) != 0)
        return PQB_ERR_NOMEM;
    return PQB_OK;
}

static int create_engine(struct pqb_shard *s)
{
    const struct pqb_engine_env env = {
        .ctx = s,
        .post = post,
        .may_login = may_login,
        .may_stay = may_stay,
        .log = log_line,
        .wall = wall,
    };
    uint8_t seed[PQB_ENGINE_SEED_LEN];
    int err = pqb_os_entropy(seed, sizeof(seed));

    if (err != PQB_OK)
        return err;
    s->wall = pqb_os_wall();
    err = pqb_engine_create(&s->engine, &s->config.engine, &env, s->config.store,
                            s->config.engine_counters, seed, pqb_os_now(&s->now));
    pqb_secret_erase(seed, sizeof(seed));
    return err;
}

int pqb_shard_create(struct pqb_shard **out, const struct pqb_shard_config *config)
{
    struct pqb_shard *s = calloc(1, sizeof(*s));
    int err;

    PQB_ASSERT(config->socket_count > 0 && config->socket_count <= PQB_SHARD_SOCKETS_MAX);
    if (s == NULL)
        return PQB_ERR_NOMEM;
    s->config = *config;
    err = pqb_udp_rx_init(&s->rx, config->io_counters);
    if (err == PQB_OK)
        err = pqb_udp_tx_init(&s->tx, config->io_counters);
    if (err == PQB_OK)
        err = create_events(s);
    if (err == PQB_OK)
        err = create_engine(s);
    if (err == PQB_OK)
        *out = s;
    else
        pqb_shard_destroy(s);
    return err;
}

int pqb_shard_start(struct pqb_shard *s)
{
    const int error = pthread_create(&s->thread, NULL, run, s);

    if (error != 0)
        return pqb_err_from_errno(error);
    s->is_started = true;
    return PQB_OK;
}

void pqb_shard_stop(struct pqb_shard *s)
{
    if (!s->is_started)
        return;
    pqb_mailbox_close(&s->config.mailboxes[s->config.index]);
    PQB_ASSERT(pthread_join(s->thread, NULL) == 0);
    s->is_started = false;
}

void pqb_shard_discard(struct pqb_mailbox *mailbox)
{
    struct pqb_letter *letter;

    while ((letter = pqb_mailbox_take(mailbox)) != NULL) {
        if (letter->type == PQB_LETTER_MAIL)
            free_mail(PQB_CONTAINER_OF(letter, struct mail, letter));
    }
}

void pqb_shard_destroy(struct pqb_shard *s)
{
    if (s == NULL)
        return;
    PQB_ASSERT(!s->is_started);
    pqb_engine_destroy(s->engine);
    for (size_t i = 0; i < s->config.socket_count; i++) {
        if (s->readable[i] != NULL)
            event_free(s->readable[i]);
        if (s->writable[i] != NULL)
            event_free(s->writable[i]);
    }
    if (s->letters != NULL)
        event_free(s->letters);
    if (s->timer != NULL)
        event_free(s->timer);
    if (s->base != NULL)
        event_base_free(s->base);
    pqb_udp_tx_fini(&s->tx);
    pqb_udp_rx_fini(&s->rx);
    free(s);
}

// --------------------------------------------------------------------------------------- calls

bool pqb_shard_call(struct pqb_mailbox *mailbox, struct pqb_call *call)
{
    call->letter.type = PQB_LETTER_CALL;
    return pqb_mailbox_post(mailbox, &call->letter);
}

void pqb_shard_set_auth(struct pqb_shard *s, const struct pqb_auth *auth)
{
    s->config.auth = auth;
}

uint64_t pqb_shard_sessions(const struct pqb_shard *s)
{
    return s->config.engine_counters[PQB_COUNTER_SESSION_CURRENT];
}
