// A complete client: example SERVER USER TO TEXT. Sends TEXT, says what becomes of it, and prints
// what comes, until the message is delivered. Build: cc example.c $(pkg-config --cflags --libs
// libpaquebot)
#include <stdio.h>
#include <string.h>

#include <paquebot.h>

static bool is_done;

static void on_receipt(void *ctx, uint64_t id, enum pqb_client_receipt receipt, unsigned refusal)
{
    (void)ctx;
    printf("message %llu: %s %s\n", (unsigned long long)id, pqb_client_receipt_name(receipt),
           refusal != 0 ? pqb_client_refusal_name(refusal) : "");
    is_done = receipt != PQB_RECEIPT_ACCEPTED && receipt != PQB_RECEIPT_STORED;
}

static int on_message(void *ctx, const struct pqb_client_message *m, uint64_t cursor)
{
    (void)ctx;
    (void)cursor;
    printf("%s: %.*s\n", m->from, (int)m->len, (const char *)m->body);
    return 0; // taken: the store now moves the cursor, and it never comes again
}

int main(int argc, char **argv)
{
    struct pqb_client_config config;
    struct pqb_client_store *store;
    struct pqb_client *client;
    struct pqb_client_udp *udp;

    if (argc != 5)
        return fprintf(stderr, "usage: example SERVER USER TO TEXT\n"), 2;
    pqb_client_config_default(&config);
    config.user = argv[2];
    config.device = "example";
    config.callbacks.on_receipt = on_receipt;
    config.callbacks.on_message = on_message;
    if (pqb_client_udp_random(config.seed, sizeof(config.seed)) != 0 ||
        pqb_client_store_file_open(&store, "example-state") != 0)
        return perror("example-state"), 1;
    config.store = store;
    if (pqb_client_create(&client, &config, pqb_client_udp_now()) != 0 ||
        pqb_client_udp_create(&udp, client, argv[1]) != 0)
        return fprintf(stderr, "can't reach %s as %s\n", argv[1], argv[2]), 1;
    pqb_client_connect(client, pqb_client_udp_now());
    pqb_client_send(client, argv[3], 0, argv[4], strlen(argv[4]), 0, NULL);
    while (!is_done && pqb_client_udp_run(udp, -1) == 0)
        ;
    pqb_client_udp_close(udp);
    pqb_client_udp_destroy(udp);
    pqb_client_destroy(client);
    pqb_client_store_file_close(store);
}
