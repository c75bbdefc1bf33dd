// An application over the library's file store that aborts each time it is handed a certain
// message.
//
// poison_app HOST:PORT USER DEVICE STATE COUNT POISON LIMIT
//
// Prints each message it takes and each dead letter it is told of, and exits 0 when there were
// COUNT of both in this run and they are acknowledged. Exit 1: timeout or a fault.
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/prctl.h>

#include "common/client/paquebot.h"
#include "tests/integration/app_key.h"

#define TIMEOUT_NS UINT64_C(30000000000)

struct app {
    const char *poison;
    unsigned long count;
};

static int on_message(void *ctx, const struct pqb_client_message *m, uint64_t cursor)
{
    struct app *app = ctx;

    (void)cursor;
    if (strlen(app->poison) == m->len && memcmp(app->poison, m->body, m->len) == 0)
        abort();
    app->count++;
    printf("took %.*s\n", (int)m->len, (const char *)m->body);
    (void)fflush(stdout);
    return 0;
}

static void on_dead_letter(void *ctx, const struct pqb_client_dead_letter *letter)
{
    struct app *app = ctx;

    app->count++;
    printf("dead_letter from=%s size=%zu attempts=%u body=%d\n", letter->from, letter->len,
           (unsigned)letter->attempts, letter->body != NULL);
    (void)fflush(stdout);
}

static bool run(struct app *app, struct pqb_client *c, const char *server, unsigned long count)
{
    const uint64_t start = pqb_client_udp_now();
    struct pqb_client_udp *udp;

    if (pqb_client_udp_create(&udp, c, server) != PQB_CLIENT_OK)
        return false;
    pqb_client_connect(c, start);
    while (app->count < count && pqb_client_udp_now() - start < TIMEOUT_NS) {
        if (pqb_client_udp_run(udp, 1000) != PQB_CLIENT_OK)
            break;
    }
    for (int i = 0; i < 5; i++) // the last acknowledgement
        (void)pqb_client_udp_run(udp, 20);
    pqb_client_udp_close(udp);
    pqb_client_udp_destroy(udp);
    return app->count == count;
}

int main(int argc, char **argv)
{
    struct pqb_client_config config;
    struct pqb_client_store *store;
    struct pqb_client *c = NULL;
    struct app app = {0};
    bool is_done = false;

    if (argc != 8) {
        fprintf(stderr, "usage: poison_app HOST:PORT USER DEVICE STATE COUNT POISON LIMIT\n");
        return 2;
    }
    (void)prctl(PR_SET_DUMPABLE, 0); // many deaths, no core files
    app.poison = argv[6];
    if (pqb_client_store_file_open(&store, argv[4]) != PQB_CLIENT_OK)
        return 1;
    pqb_client_config_default(&config);
    config.user = argv[2];
    config.device = argv[3];
    config.store = store;
    config.ctx = &app;
    config.callbacks.on_message = on_message;
    config.callbacks.on_dead_letter = on_dead_letter;
    config.poison_limit = (uint32_t)strtoul(argv[7], NULL, 10);
    if (app_key_use(&config, argv[4]) &&
        pqb_client_udp_random(config.seed, sizeof(config.seed)) == PQB_CLIENT_OK &&
        pqb_client_create(&c, &config, pqb_client_udp_now()) == PQB_CLIENT_OK)
        is_done = run(&app, c, argv[1], strtoul(argv[5], NULL, 10));
    pqb_client_destroy(c);
    pqb_client_store_file_close(store);
    return is_done ? 0 : 1;
}
