// A client lives through any allocation that fails, one at a time: its own, and its store's. What
// it cannot do at once it says or does later, and both queues come to their end. And the small
// things that are made at the start of a program are made, or refused, but never half.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/crc32c.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "gateway/config/config.h"
#include "gateway/config/tokens.h"
#include "gateway/io/auth.h"
#include "gateway/io/stats_page.h"
#include "tests/unit/fake_gateway.h"
#include "tests/unit/faults.h"
#include "tests/unit/token_samples.h"
#include "tools/pqbctl/json_read.h"

#define TRIES_MAX 12

static struct fake f;
static uint64_t present; // the call that fails in the life that is being lived; 0: none
static char directory[64], path[96];

static int tell_where(void **state)
{
    (void)state;
    if (present != 0)
        printf("it was allocation %llu\n", (unsigned long long)present);
    present = 0;
    return 0;
}

// ---------------------------------------------------------------------------------- a client

static void get_online(void)
{
    for (int i = 0; i < TRIES_MAX && pqb_client_get_state(f.c) != PQB_CLIENT_ONLINE; i++) {
        struct pqb_frame answers[] = {
            {.type = PQB_FRAME_PONG},
            {.type = PQB_FRAME_ACK_A, .ack_a = {f.init.cursor}},
            {.type = PQB_FRAME_EPOCH_A, .epoch_a = {.epoch = 7}},
        };
        const size_t inits = f.inits;

        fake_forget(&f);
        pqb_client_connect(f.c, f.now);
        fake_advance(&f, 2 * FAKE_SECOND);
        if (f.inits == inits)
            continue;
        const struct pqb_resp resp = fake_resp(&f);
        fake_send_resp(&f, &resp);
        fake_advance(&f, FAKE_SECOND);
        const struct pqb_frame *epoch = fake_last(&f, PQB_FRAME_EPOCH_R);
        if (epoch != NULL)
            memcpy(answers[2].epoch_a.nonce, epoch->epoch_r.nonce, PQB_NONCE_LEN);
        fake_send(&f, answers, epoch != NULL ? 3 : 2);
    }
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_ONLINE);
}

static void send_to(const char *to, size_t len)
{
    static uint8_t body[8000];
    uint64_t id;
    int err = PQB_CLIENT_ERR_INVALID;

    for (int i = 0; i < 2 && err != 0; i++) {
        err = pqb_client_send(f.c, to, 0, body, len, 0, &id);
        assert_true(err == 0 || err == PQB_CLIENT_ERR_NOMEM);
    }
    assert_int_equal(err, 0);
    for (int i = 0; i < TRIES_MAX; i++) {
        struct pqb_client_stats stats;

        fake_forget(&f);
        fake_advance(&f, FAKE_SECOND);
        const struct pqb_frame answer = fake_msg_a(id, PQB_STATE_ACCEPTED);
        if (fake_count(&f, PQB_FRAME_MSG_R) + fake_count(&f, PQB_FRAME_FRAG) > 0)
            fake_send(&f, &answer, 1);
        pqb_client_get_stats(f.c, &stats);
        if (stats.queue_count == 0)
            return;
    }
    fail_msg("message %llu does not leave", (unsigned long long)id);
}

static void take_large(uint64_t iseq)
{
    static uint8_t body[3000], content[3200];
    struct pqb_frame whole = fake_msg_n(iseq, "");
    uint32_t id = 0;

    whole.msg_n.body = (struct pqb_bytes){body, sizeof(body)};
    const size_t len = pqb_frame_encode_content(&whole, content, sizeof(content));
    for (int i = 0; i < TRIES_MAX && pqb_client_get_cursor(f.c) < iseq; i++) {
        id++;
        for (size_t at = 0; at < len; at += PQB_FRAG_LEN) {
            struct pqb_frame p = {.type = PQB_FRAME_FRAG};

            p.frag = (struct pqb_frame_frag){
                .id = id,
                .frame = PQB_FRAME_MSG_N,
                .seq = iseq,
                .total = (uint32_t)len,
                .hash = pqb_crc32c(0, content, len),
                .index = (uint16_t)(at / PQB_FRAG_LEN),
                .piece = {content + at, PQB_MIN(len - at, (size_t)PQB_FRAG_LEN)}};
            fake_deliver_only(&f, &p, 1);
        }
        fake_forget(&f);
        fake_advance(&f, FAKE_SECOND);
    }
    assert_int_equal(pqb_client_get_cursor(f.c), iseq);
}

static void live(void)
{
    get_online();
    send_to("bob", 10);
    send_to("bob", 8000);
    for (int i = 0; i < TRIES_MAX && pqb_client_get_cursor(f.c) < 2; i++) {
        const struct pqb_frame second = fake_msg_n(2, "two"), first = fake_msg_n(1, "one");

        fake_deliver_only(&f, &second, 1);
        fake_deliver_only(&f, &first, 1);
        fake_forget(&f);
        fake_advance(&f, FAKE_SECOND);
    }
    assert_int_equal(pqb_client_get_cursor(f.c), 2);
    take_large(3);
}

// A ticket, the session's end, and another one by the ticket.
static void resume(void)
{
    const struct pqb_frame kick = {.type = PQB_FRAME_KICK, .kick = {.reason = PQB_KICK_EXPIRED}};

    fake_send_ticket(&f, 1);
    assert_int_equal(f.kept_len, PQB_CLIENT_TICKET_LEN);
    fake_send(&f, &kick, 1);
    assert_int_equal(pqb_client_get_state(f.c), PQB_CLIENT_CONNECTING);
    get_online();
    assert_true(f.resumes > 0);
}

static void live_with_each_failure(bool is_sealed)
{
    bool has_struck = true;

    for (uint64_t at = 1; has_struck; at++) {
        present = at;
        if (is_sealed)
            fake_start_sealed(&f, NULL, NULL);
        else
            fake_start(&f, NULL, NULL);
        faults_arm(FAULT_MEMORY, at, ENOMEM);
        live();
        if (is_sealed)
            resume();
        has_struck = faults_disarm();
        fake_stop(&f, false);
        assert_true(has_struck || at > 8);
    }
    present = 0;
}

static void a_client_lives_with_any_allocation_that_fails(void **state)
{
    (void)state;
    live_with_each_failure(false);
}

static void an_encrypted_client_does_so_too(void **state)
{
    (void)state;
    live_with_each_failure(true);
}

// ------------------------------------------------------------------------------ what is made

// Makes something and destroys it again.
typedef int (*make_fn)(void);

static int make_client(void)
{
    struct pqb_client_config config;
    struct pqb_client_store *store = NULL;
    struct pqb_client *c = NULL;
    int err = pqb_client_store_memory_create(&store);

    pqb_client_config_default(&config);
    config.user = "ann";
    config.device = "phone";
    config.token = "secret";
    config.store = store;
    if (err == 0)
        err = pqb_client_create(&c, &config, 1);
    pqb_client_destroy(c);
    pqb_client_store_memory_destroy(store);
    return err;
}

static int make_encrypted_client(void)
{
    static const uint8_t key[PQB_CLIENT_KEY_LEN] = {9}, ticket[PQB_CLIENT_TICKET_LEN] = {1, 9};
    struct pqb_client_config config;
    struct pqb_client_store *store = NULL;
    struct pqb_client *c = NULL;
    int err = pqb_client_store_memory_create(&store);

    pqb_client_config_default(&config);
    config.user = "ann";
    config.device = "phone";
    config.token = "secret";
    config.server_key = config.device_key = key;
    config.ticket = ticket;
    config.ticket_len = sizeof(ticket);
    config.store = store;
    if (err == 0)
        err = pqb_client_create(&c, &config, 1);
    if (err == 0)
        err = pqb_client_set_token(c, "another");
    pqb_client_destroy(c);
    pqb_client_store_memory_destroy(store);
    return err;
}

static int make_device_key(void)
{
    uint8_t secret[PQB_CLIENT_KEY_LEN];

    return pqb_client_device_key_load(directory, secret);
}

static int make_file_store(void)
{
    static const uint8_t body[100];
    const struct pqb_client_pending p = {.seq = 1, .to = "bob", .body = body, .len = sizeof(body)};
    struct pqb_client_store *store = NULL;
    struct pqb_client_config config;
    struct pqb_client *c = NULL;
    int err = pqb_client_store_file_open(&store, directory);

    if (err != 0)
        return err;
    pqb_client_config_default(&config);
    config.user = "ann";
    config.device = "phone";
    config.store = store;
    err = pqb_client_create(&c, &config, 1); // loads what is queued
    pqb_client_destroy(c);
    if (err == 0)
        err = store->drop(store->ctx, 1);
    if (err == 0)
        err = store->put(store->ctx, &p);
    pqb_client_store_file_close(store);
    return err;
}

static int make_udp(void)
{
    struct pqb_client_config config;
    struct pqb_client_store *store = NULL;
    struct pqb_client_udp *u = NULL;
    struct pqb_client *c = NULL;
    int err = pqb_client_store_memory_create(&store);

    pqb_client_config_default(&config);
    config.user = "ann";
    config.device = "phone";
    config.store = store;
    if (err == 0)
        err = pqb_client_create(&c, &config, 1);
    if (err == 0)
        err = pqb_client_udp_create(&u, c, "127.0.0.1:9");
    pqb_client_udp_destroy(u);
    pqb_client_destroy(c);
    pqb_client_store_memory_destroy(store);
    return err;
}

static int make_tokens(void)
{
    static const char text[] = "ann phone secret\nben * other\n";
    struct pqb_config_error error;
    struct pqb_tokens *tokens = NULL;
    const int err = pqb_tokens_parse(&tokens, "test", text, sizeof(text) - 1, &error);

    pqb_tokens_destroy(tokens);
    return err;
}

static void write_text(const char *to, const char *text)
{
    FILE *file = fopen(to, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

// Issuers, names and keys, from files.
static int make_auth(void)
{
    struct pqb_config config;
    struct pqb_config_error error;
    struct pqb_auth *auth = NULL;
    int err;

    pqb_config_default(&config);
    config.auth = PQB_CONFIG_AUTH_TOKEN;
    config.issuer_key.count = 1;
    (void)snprintf(config.issuer_key.paths[0], sizeof(config.issuer_key.paths[0]), "%s/issuer",
                   directory);
    (void)snprintf(config.revoked, sizeof(config.revoked), "%s/revoked", directory);
    err = pqb_auth_load(&auth, &config, &error);
    pqb_auth_destroy(auth);
    return err;
}

static int make_token(void)
{
    const struct pqb_claims claims = token_sample_claims();
    char token[PQB_TOKEN_MAX + 1];

    return pqb_paseto_make(&claims, &token_sample_secret, token) > 0 ? PQB_OK : PQB_ERR_NOMEM;
}

static int make_page(void)
{
    static const struct pqb_stats_row row = {.name = "msg.accepted"};
    static const char *const column = "shard.0";
    struct pqb_stats_page *page = NULL;
    const int err = pqb_stats_page_create(&page, path, &row, 1, &column, 1, 1);

    pqb_stats_page_destroy(page, 2);
    return err;
}

static int read_page(void)
{
    struct pqb_stats_snapshot s;
    const int err = pqb_stats_snapshot_read(&s, path);

    if (err == PQB_OK)
        pqb_stats_snapshot_fini(&s);
    return err;
}

static int write_and_read_json(void)
{
    struct pqb_json j;
    struct ctl_json *tree = NULL;
    char text[2000] = "";

    pqb_json_init(&j, sizeof(text));
    pqb_json_object_begin(&j, NULL);
    for (int i = 0; i < 40; i++)
        pqb_json_string(&j, "key", "a text that is long enough");
    pqb_json_object_end(&j);
    const char *written = pqb_json_text(&j);
    if (written != NULL) {
        (void)snprintf(text, sizeof(text), "%s", written);
        tree = ctl_json_parse(text);
    }
    ctl_json_destroy(tree);
    pqb_json_fini(&j);
    return tree != NULL ? PQB_OK : PQB_ERR_NOMEM;
}

static void check_making(const char *what, make_fn make)
{
    int err = PQB_ERR_NOMEM;
    uint64_t at = 0;

    while (err != PQB_OK) {
        assert_true(at < 1000);
        faults_arm(FAULT_MEMORY, ++at, ENOMEM);
        err = make();
        const bool has_struck = faults_disarm();
        if (err != PQB_OK && err != PQB_ERR_NOMEM)
            fail_msg("%s: %s", what, pqb_err_name(err));
        if (err == PQB_ERR_NOMEM)
            assert_true(has_struck);
        else if (has_struck)
            err = PQB_ERR_NOMEM; // it did without
    }
    printf("%s: %llu allocations\n", what, (unsigned long long)(at - 1));
    assert_true(at > 1);
}

static void what_is_made_at_the_start_is_made_or_refused(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof(directory), "/tmp/test-faults-XXXXXX");
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/stats", directory);
    assert_int_equal(make_file_store(), 0);
    check_making("client", make_client);
    check_making("encrypted client", make_encrypted_client);
    check_making("device's key", make_device_key);
    check_making("state in files", make_file_store);
    check_making("UDP driver", make_udp);
    check_making("tokens", make_tokens);
    (void)snprintf(path, sizeof(path), "%s/issuer", directory);
    write_text(path, "k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsaI");
    (void)snprintf(path, sizeof(path), "%s/revoked", directory);
    write_text(path,
               "user eve\nkey 0000000000000000000000000000000000000000000000000000000000000007");
    check_making("issuers and revocations", make_auth);
    check_making("token", make_token);
    (void)snprintf(path, sizeof(path), "%s/stats", directory);
    check_making("counters page", make_page);
    check_making("counters page, reading", read_page);
    check_making("JSON", write_and_read_json);
    for (const char *const *name =
             (const char *const[]){"issuer", "revoked", "stats", "log", "lock", "device.key", NULL};
         *name != NULL; name++) {
        (void)snprintf(path, sizeof(path), "%s/%s", directory, *name);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(directory), 0); // nothing else was left behind
}

// ------------------------------------------------------------------------------------ sockets

struct wire {
    int fd; // a gateway's socket
    struct pqb_client_store *store;
    struct pqb_client *c;
    struct pqb_client_udp *u;
};

static void wire_begin(struct wire *w)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(at);
    struct pqb_client_config config;
    char server[32];

    w->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(w->fd, (const struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(getsockname(w->fd, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(server, sizeof(server), "127.0.0.1:%u", ntohs(at.sin_port));
    assert_int_equal(pqb_client_store_memory_create(&w->store), 0);
    pqb_client_config_default(&config);
    config.user = "ann";
    config.device = "phone";
    config.store = w->store;
    assert_int_equal(pqb_client_create(&w->c, &config, pqb_client_udp_now()), 0);
    assert_int_equal(pqb_client_udp_create(&w->u, w->c, server), 0);
}

static void wire_end(struct wire *w)
{
    pqb_client_udp_destroy(w->u);
    pqb_client_destroy(w->c);
    pqb_client_store_memory_destroy(w->store);
    (void)close(w->fd);
}

// Whether a datagram came; its sender.
static bool wire_take(const struct wire *w, struct sockaddr_in *from)
{
    uint8_t data[1500];
    socklen_t len = sizeof(*from);

    return recvfrom(w->fd, data, sizeof(data), 0, (struct sockaddr *)from, &len) > 0;
}

static const int socket_errors[] = {ENOBUFS,  EPERM, ECONNREFUSED, ENETUNREACH, EHOSTUNREACH,
                                    ENETDOWN, EINTR, EMSGSIZE,     EAGAIN};

static void a_datagram_that_cannot_be_sent_is_lost_and_no_more(void **state)
{
    struct sockaddr_in from;

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(socket_errors); i++) {
        struct wire w;

        wire_begin(&w);
        pqb_client_connect(w.c, pqb_client_udp_now());
        faults_arm(FAULT_SEND, 1, socket_errors[i]);
        assert_int_equal(pqb_client_udp_run(w.u, 0), 0);
        assert_true(faults_disarm());
        assert_false(wire_take(&w, &from));
        assert_true(pqb_client_udp_timeout_ms(w.u) > 100); // it waits for its timer
        pqb_client_on_path_change(w.c, pqb_client_udp_now());
        assert_int_equal(pqb_client_udp_run(w.u, 0), 0);
        assert_true(wire_take(&w, &from));
        wire_end(&w);
    }
}

static void an_error_instead_of_a_datagram_is_passed_over(void **state)
{
    struct sockaddr_in from;
    struct pqb_client_stats stats;

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(socket_errors); i++) {
        struct wire w;

        wire_begin(&w);
        pqb_client_connect(w.c, pqb_client_udp_now());
        assert_int_equal(pqb_client_udp_run(w.u, 0), 0);
        assert_true(wire_take(&w, &from));
        assert_int_equal(sendto(w.fd, "junk", 4, 0, (const struct sockaddr *)&from, sizeof(from)),
                         4);
        faults_arm(FAULT_RECEIVE, 1, socket_errors[i]);
        assert_int_equal(pqb_client_udp_run(w.u, 1000), 0);
        assert_true(faults_disarm());
        assert_int_equal(pqb_client_udp_run(w.u, 0), 0);
        pqb_client_get_stats(w.c, &stats);
        assert_int_equal(stats.datagrams_in, 1);
        wire_end(&w);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_teardown(name, tell_where)
    const struct CMUnitTest tests[] = {
        CASE(a_client_lives_with_any_allocation_that_fails),
        CASE(an_encrypted_client_does_so_too),
        CASE(what_is_made_at_the_start_is_made_or_refused),
        CASE(a_datagram_that_cannot_be_sent_is_lost_and_no_more),
        CASE(an_error_instead_of_a_datagram_is_passed_over),
    };
#undef CASE

    return cmocka_run_group_tests_name("faults_client", tests, NULL, NULL);
}
