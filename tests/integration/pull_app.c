// An application that stores each message and its cursor in one atomic append, for the test that
// such an application never sees a message twice, wherever it is killed.
//
// pull_app HOST:PORT USER DEVICE FILE COUNT [KILL_AFTER [POISON LIMIT]]
//
// Runs until COUNT messages (dead letters too) are in FILE, prints how many distinct page requests
// that took in this run, and exits 0. With KILL_AFTER (0: not) it kills itself right after so many
// messages were stored in this run and before the library knows. With POISON it dies whenever it is
// to store a message of that text, until LIMIT deaths make a dead letter of it. Exit 1: timeout or
// a fault.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <unistd.h>

#include "common/base/crc32c.h"
#include "common/client/paquebot.h"
#include "tests/integration/app_key.h"

#define TIMEOUT_NS UINT64_C(120000000000)

struct record {        // header; `len` bytes of body follow
    uint32_t len, crc; // CRC-32C of what follows this field
    uint64_t cursor;
    uint32_t epoch;
    uint32_t kind;
    uint64_t attempt_iseq;
    uint32_t attempts, reserved;
};

enum kind {
    KIND_STATE = 0,
    KIND_MESSAGE = 1,
    KIND_DEAD_LETTER = 2,
};

struct app {
    int fd;
    struct pqb_client_saved saved;
    unsigned long stored, stored_now, kill_after;
    const char *poison; // NULL: none
};

static uint32_t record_crc(const struct record *r, const uint8_t *body)
{
    uint32_t crc = pqb_crc32c(0, &r->cursor, sizeof(*r) - offsetof(struct record, cursor));

    return pqb_crc32c(crc, body, r->len);
}

static int append(struct app *app, const uint8_t *body, size_t len, enum kind kind)
{
    static uint8_t buffer[sizeof(struct record) + PQB_CLIENT_BODY_MAX];
    struct record r = {.len = (uint32_t)len,
                       .cursor = app->saved.cursor,
                       .epoch = app->saved.epoch,
                       .kind = kind,
                       .attempt_iseq = app->saved.attempt_iseq,
                       .attempts = app->saved.attempts};

    r.crc = record_crc(&r, body);
    memcpy(buffer, &r, sizeof(r));
    if (len > 0)
        memcpy(buffer + sizeof(r), body, len);
    if (write(app->fd, buffer, sizeof(r) + len) != (ssize_t)(sizeof(r) + len))
        return PQB_CLIENT_ERR_IO;
    return PQB_CLIENT_OK;
}

static int load(void *ctx, struct pqb_client_saved *out, pqb_client_pending_fn each, void *arg)
{
    struct app *app = ctx;
    static uint8_t body[PQB_CLIENT_BODY_MAX];
    struct record r;
    off_t good = 0;

    (void)each;
    (void)arg;
    app->saved.next_seq = 1;
    while (read(app->fd, &r, sizeof(r)) == (ssize_t)sizeof(r) && r.len <= sizeof(body) &&
           read(app->fd, body, r.len) == (ssize_t)r.len && r.crc == record_crc(&r, body)) {
        app->saved.cursor = r.cursor;
        app->saved.epoch = r.epoch;
        app->saved.attempt_iseq = r.attempt_iseq;
        app->saved.attempts = r.attempts;
        app->stored += r.kind != KIND_STATE;
        good += (off_t)(sizeof(r) + r.len);
    }
    if (ftruncate(app->fd, good) != 0)
        return PQB_CLIENT_ERR_IO;
    *out = app->saved;
    return PQB_CLIENT_OK;
}

static int put(void *ctx, const struct pqb_client_pending *pending)
{
    (void)ctx;
    (void)pending;
    return PQB_CLIENT_ERR_INVALID; // this application only receives
}

static int drop(void *ctx, uint64_t seq)
{
    (void)ctx;
    (void)seq;
    return PQB_CLIENT_OK;
}

static int set_epoch(void *ctx, uint32_t epoch)
{
    struct app *app = ctx;

    app->saved.epoch = epoch;
    return append(app, NULL, 0, KIND_STATE);
}

static int deliver(void *ctx, const struct pqb_client_message *message, uint64_t cursor)
{
    struct app *app = ctx;
    int err;

    app->saved.cursor = cursor;
    if (message == NULL)
        return append(app, NULL, 0, KIND_STATE);
    if (app->poison != NULL && strlen(app->poison) == message->len &&
        memcmp(app->poison, message->body, message->len) == 0)
        (void)raise(SIGKILL);
    err = append(app, message->body, message->len, KIND_MESSAGE);
    if (err != PQB_CLIENT_OK)
        return err;
    app->stored++;
    app->stored_now++;
    if (app->stored_now == app->kill_after)
        (void)raise(SIGKILL);
    return PQB_CLIENT_OK;
}

static int sync_file(void *ctx)
{
    const struct app *app = ctx;

    return fdatasync(app->fd) == 0 ? PQB_CLIENT_OK : PQB_CLIENT_ERR_IO;
}

static int attempt(void *ctx, uint64_t iseq, uint32_t attempts)
{
    struct app *app = ctx;
    int err;

    app->saved.attempt_iseq = iseq;
    app->saved.attempts = attempts;
    err = append(app, NULL, 0, KIND_STATE);
    return err == PQB_CLIENT_OK ? sync_file(app) : err;
}

// Cursor and letter are one record, so `deliver`, which follows, has nothing to add.
static int dead_letter(void *ctx, const struct pqb_client_dead_letter *letter)
{
    struct app *app = ctx;
    int err;

    app->saved.cursor = letter->iseq;
    err = append(app, letter->body, letter->len, KIND_DEAD_LETTER);
    app->stored += err == PQB_CLIENT_OK;
    return err == PQB_CLIENT_OK ? sync_file(app) : err;
}

static void on_dead_letter(void *ctx, const struct pqb_client_dead_letter *letter)
{
    (void)ctx;
    printf("dead_letter from=%s size=%zu attempts=%u\n", letter->from, letter->len,
           (unsigned)letter->attempts);
}

static int run(struct app *app, struct pqb_client *client, const char *server, unsigned long count)
{
    const uint64_t start = pqb_client_udp_now();
    struct pqb_client_stats stats;
    struct pqb_client_udp *udp;

    if (pqb_client_udp_create(&udp, client, server) != PQB_CLIENT_OK)
        return 1;
    pqb_client_connect(client, start);
    while (app->stored < count && pqb_client_udp_now() - start < TIMEOUT_NS) {
        if (pqb_client_udp_run(udp, 1000) != PQB_CLIENT_OK)
            break;
    }
    // The last cursor and the last request are still to be told.
    for (int i = 0; i < 20; i++)
        (void)pqb_client_udp_run(udp, 50);
    pqb_client_get_stats(client, &stats);
    printf("stored=%lu pages_requested=%llu\n", app->stored,
           (unsigned long long)stats.pages_requested);
    pqb_client_udp_close(udp);
    pqb_client_udp_destroy(udp);
    return app->stored == count ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct app app = {0};
    struct pqb_client_store store = {.ctx = &app,
                                     .load = load,
                                     .put = put,
                                     .drop = drop,
                                     .set_epoch = set_epoch,
                                     .deliver = deliver,
                                     .sync = sync_file,
                                     .attempt = attempt,
                                     .dead_letter = dead_letter};
    struct pqb_client_config config;
    struct pqb_client *client;
    int status;

    if (argc < 6) {
        fprintf(stderr,
                "usage: pull_app HOST:PORT USER DEVICE FILE COUNT [KILL_AFTER [POISON LIMIT]]\n");
        return 2;
    }
    app.fd = open(argv[4], O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    app.kill_after = argc > 6 ? strtoul(argv[6], NULL, 10) : 0;
    pqb_client_config_default(&config);
    config.user = argv[2];
    config.device = argv[3];
    config.store = &store;
    config.callbacks.on_dead_letter = on_dead_letter;
    if (argc > 8) {
        app.poison = argv[7];
        config.poison_limit = (uint32_t)strtoul(argv[8], NULL, 10);
    }
    if (app.fd < 0 || !app_key_use(&config, NULL) ||
        pqb_client_udp_random(config.seed, sizeof(config.seed)) != PQB_CLIENT_OK ||
        pqb_client_create(&client, &config, pqb_client_udp_now()) != PQB_CLIENT_OK) {
        fprintf(stderr, "pull_app: cannot start: %s\n", strerror(errno));
        return 1;
    }
    status = run(&app, client, argv[1], strtoul(argv[5], NULL, 10));
    pqb_client_destroy(client);
    return status;
}
