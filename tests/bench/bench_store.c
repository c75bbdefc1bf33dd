// What the store costs: ns of CPU and of wall time for each message at several batch sizes, a
// checkpoint of a full journal, and opening with a million messages behind it.
//
//   bench_store [directory]     default: under $TMPDIR or /tmp, which should be a real disk
//   bench_store --fill DIR INBOX JOURNAL
//                               measures nothing: leaves a store in the new directory DIR, as a
//                               kill would, with so many messages in inboxes and so many in the
//                               journal
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <dirent.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/defs.h"
#include "common/base/err.h"
#include "storage/store.h"

#define USERS    10000
#define BODY_LEN 200

struct bench {
    char path[256];
    struct pqb_store_config config;
    struct pqb_store *s;
    uint64_t sent;
};

static uint64_t now_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * PQB_NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static bool step(struct bench *b)
{
    return pqb_store_step(b->s, now_ns(CLOCK_MONOTONIC), now_ns(CLOCK_REALTIME) / PQB_NS_PER_MS);
}

static void open_store(struct bench *b)
{
    PQB_ASSERT(pqb_store_open(&b->s, &b->config, now_ns(CLOCK_MONOTONIC),
                              now_ns(CLOCK_REALTIME) / PQB_NS_PER_MS) == PQB_OK);
}

static void submit(struct bench *b, struct pqb_request *r)
{
    PQB_ASSERT(pqb_store_submit(b->s, r) == PQB_OK);
}

static void drain(struct bench *b)
{
    struct pqb_request *r;

    while ((r = pqb_store_poll(b->s, 0)) != NULL) {
        PQB_ASSERT(r->result == PQB_RESULT_DONE);
        pqb_request_destroy(r);
    }
}

static int name_of(char *out, size_t size, uint64_t user)
{
    return snprintf(out, size, "user%05u", (unsigned)user);
}

// Everybody logs in and gets an epoch; uids are 1..USERS, devno 1, epoch = uid.
static void register_users(struct bench *b)
{
    for (uint64_t user = 0; user < USERS; user++) {
        struct pqb_request *login = pqb_request_create(PQB_OP_LOGIN, 0);
        struct pqb_request *epoch = pqb_request_create(PQB_OP_EPOCH, 0);

        login->user_len = (uint8_t)name_of(login->user, sizeof(login->user), user);
        login->device_len = 5;
        memcpy(login->device, "phone", 5);
        epoch->uid = user + 1;
        epoch->devno = 1;
        submit(b, login);
        submit(b, epoch);
        if (user % 256 == 255 || user == USERS - 1) {
            step(b);
            drain(b);
        }
    }
}

static struct pqb_request *message(struct bench *b)
{
    struct pqb_request *r = pqb_request_create(PQB_OP_MSG, BODY_LEN);
    const uint64_t n = b->sent++;

    r->uid = n % USERS + 1;
    r->devno = 1;
    r->epoch = (uint32_t)r->uid;
    r->seq = n / USERS + 1;
    r->low = r->seq;
    r->to_len = (uint8_t)name_of(r->to, sizeof(r->to), n * 7919 % USERS);
    memset(r->body, 'x', BODY_LEN);
    return r;
}

static void send_batches(struct bench *b, uint64_t count, uint64_t batch)
{
    for (uint64_t i = 0; i < count; i += batch) {
        for (uint64_t j = 0; j < batch; j++)
            submit(b, message(b));
        bool has_more = true;

        while (has_more)
            has_more = step(b);
        drain(b);
    }
}

static void measure(struct bench *b, uint64_t batch, uint64_t count)
{
    const uint64_t wall = now_ns(CLOCK_MONOTONIC);
    const uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    struct pqb_store_stats before, after;

    pqb_store_get_stats(b->s, &before);
    send_batches(b, count, batch);
    pqb_store_get_stats(b->s, &after);
    printf("batch %4u: %8.0f ns CPU, %8.0f ns wall a message, %.1f messages a commit\n",
           (unsigned)batch, (double)(now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (double)count,
           (double)(now_ns(CLOCK_MONOTONIC) - wall) / (double)count,
           (double)count / (double)(after.commits - before.commits));
}

static void checkpoint(struct bench *b)
{
    const uint64_t wall = now_ns(CLOCK_MONOTONIC);
    const uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    struct pqb_store_stats before, after;
    uint64_t longest = 0;
    bool has_more = true;

    pqb_store_get_stats(b->s, &before);
    submit(b, pqb_request_create(PQB_OP_CHECKPOINT, 0));
    while (has_more) {
        const uint64_t begun = now_ns(CLOCK_MONOTONIC);

        has_more = step(b);
        longest = PQB_MAX(longest, now_ns(CLOCK_MONOTONIC) - begun);
    }
    drain(b);
    pqb_store_get_stats(b->s, &after);

    const double moved = (double)(after.checkpoint_moved - before.checkpoint_moved);

    printf(
        "checkpoint: %.0f messages moved, %6.0f ns CPU, %6.0f ns wall each, longest step %.1f ms\n",
        moved, (double)(now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / moved,
        (double)(now_ns(CLOCK_MONOTONIC) - wall) / moved, (double)longest / 1e6);
}

static void reopen(struct bench *b, const char *what)
{
    uint64_t begun;

    pqb_store_crash(b->s);
    begun = now_ns(CLOCK_MONOTONIC);
    open_store(b);
    printf("open with %s: %.2f s\n", what, (double)(now_ns(CLOCK_MONOTONIC) - begun) / 1e9);
}

static void remove_directory(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir != NULL)
        closedir(dir);
    (void)rmdir(path);
}

static void run(struct bench *b)
{
    open_store(b);
    register_users(b);
    measure(b, 1, 2000);
    measure(b, 64, 64 * 1000);
    measure(b, 512, 512 * 400);
    checkpoint(b);
    b->config.journal_checkpoint_bytes = b->config.journal_max_bytes = UINT64_C(1) << 40;
    reopen(b, "an empty journal");
    send_batches(b, 512 * 1400, 512);
    checkpoint(b); // about a million in inbox
    send_batches(b, 512 * 1250, 512);
    reopen(b, "1 M messages in inbox and 640 k in the journal");
    pqb_store_close(b->s);
}

// Rounded down to whole batches.
static int fill(struct bench *b, char **args)
{
    const uint64_t inbox = strtoull(args[1], NULL, 10);
    const uint64_t journal = strtoull(args[2], NULL, 10);

    (void)snprintf(b->path, sizeof(b->path), "%s", args[0]);
    b->config.journal_checkpoint_bytes = b->config.journal_max_bytes = UINT64_C(1) << 40;
    b->config.is_sync_off = true;
    open_store(b);
    register_users(b);
    send_batches(b, inbox / 512 * 512, 512);
    checkpoint(b);
    send_batches(b, journal / 512 * 512, 512);
    pqb_store_crash(b->s);
    return 0;
}

int main(int argc, char **argv)
{
    const char *root = argc > 1 ? argv[1] : getenv("TMPDIR");
    static struct bench b;

    pqb_store_config_default(&b.config);
    b.config.path = b.path;
    b.config.requests_max = 8192;
    b.config.journal_checkpoint_bytes = b.config.journal_max_bytes = UINT64_C(1) << 30;
    if (argc == 5 && strcmp(argv[1], "--fill") == 0)
        return fill(&b, argv + 2);
    (void)snprintf(b.path, sizeof(b.path), "%s/bench-store-XXXXXX", root != NULL ? root : "/tmp");
    if (mkdtemp(b.path) == NULL) {
        perror(b.path);
        return 2;
    }
    run(&b);
    remove_directory(b.path);
    return 0;
}
