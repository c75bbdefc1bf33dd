// An application that says all it knows of its messages, for tests with copies of its state.
//
// clone_app HOST:PORT USER DEVICE STATE TO PREFIX COUNT EVERY_MS SECONDS
//
// Hands over PREFIX-0, PREFIX-1, ..., one every EVERY_MS, and prints "sent ID BODY" for each and
// "told ID RECEIPT" for all news. A copy that logs in takes its place: it logs in again half a
// second later. Ends when it has handed over COUNT and its queue is empty (exit 0) or SECONDS are
// over (exit 1).
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/client/paquebot.h"
#include "tests/integration/app_key.h"

#define MS        UINT64_C(1000000)
#define REJOIN_NS (500 * MS)

struct app {
    struct pqb_client *c;
    uint64_t join_at; // 0: not waiting
};

static void on_state(void *ctx, enum pqb_client_state state, enum pqb_client_reason reason)
{
    struct app *app = ctx;

    printf("state %d %s\n", (int)state, pqb_client_reason_name(reason));
    if (state == PQB_CLIENT_FAILED)
        app->join_at = pqb_client_udp_now() + REJOIN_NS;
}

static void on_receipt(void *ctx, uint64_t id, enum pqb_client_receipt receipt, unsigned refusal)
{
    (void)ctx;
    (void)refusal;
    printf("told %llu %s\n", (unsigned long long)id, pqb_client_receipt_name(receipt));
}

static int on_message(void *ctx, const struct pqb_client_message *m, uint64_t cursor)
{
    (void)ctx;
    (void)m;
    (void)cursor;
    return 1; // it only sends
}

static bool send_next(struct app *app, char **argv, unsigned long n)
{
    char body[128];
    uint64_t id;

    (void)snprintf(body, sizeof(body), "%s-%lu", argv[6], n);
    if (pqb_client_send(app->c, argv[5], 0, body, strlen(body), 0, &id) != PQB_CLIENT_OK)
        return false; // out of the game for the moment: later
    printf("sent %llu %s\n", (unsigned long long)id, body);
    return true;
}

static uint32_t queued(const struct app *app)
{
    struct pqb_client_stats stats;

    pqb_client_get_stats(app->c, &stats);
    return stats.queue_count;
}

static int run(struct app *app, char **argv)
{
    const unsigned long count = strtoul(argv[7], NULL, 10), every_ms = strtoul(argv[8], NULL, 10);
    const uint64_t start = pqb_client_udp_now();
    const uint64_t end = start + (uint64_t)(strtod(argv[9], NULL) * 1e9);
    unsigned long n = 0;
    struct pqb_client_udp *udp;
    uint64_t now;

    if (pqb_client_udp_create(&udp, app->c, argv[1]) != PQB_CLIENT_OK)
        return 1;
    pqb_client_connect(app->c, start);
    while ((now = pqb_client_udp_now()) < end && (n < count || queued(app) > 0)) {
        if (app->join_at != 0 && now >= app->join_at) {
            app->join_at = 0;
            pqb_client_connect(app->c, now);
        }
        if (n < count && now >= start + n * every_ms * MS)
            n += send_next(app, argv, n);
        if (pqb_client_udp_run(udp, 10) != PQB_CLIENT_OK)
            break;
    }
    pqb_client_udp_close(udp);
    pqb_client_udp_destroy(udp);
    return n == count && queued(app) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct app app = {0};
    struct pqb_client_config config;
    struct pqb_client_store *store;
    int status = 1;

    if (argc != 10) {
        fprintf(stderr, "usage: clone_app HOST:PORT USER DEVICE STATE TO PREFIX COUNT EVERY_MS "
                        "SECONDS\n");
        return 2;
    }
    if (pqb_client_store_file_open(&store, argv[4]) != PQB_CLIENT_OK)
        return 1;
    pqb_client_config_default(&config);
    config.user = argv[2];
    config.device = argv[3];
    config.store = store;
    config.ctx = &app;
    config.callbacks = (struct pqb_client_callbacks){
        .on_state = on_state, .on_receipt = on_receipt, .on_message = on_message};
    if (app_key_use(&config, argv[4]) &&
        pqb_client_udp_random(config.seed, sizeof(config.seed)) == PQB_CLIENT_OK &&
        pqb_client_create(&app.c, &config, pqb_client_udp_now()) == PQB_CLIENT_OK)
        status = run(&app, argv);
    pqb_client_destroy(app.c);
    pqb_client_store_file_close(store);
    return status;
}
