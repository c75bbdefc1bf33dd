// The log in a client's state directory (pqb --state): any bytes are an error or a state whose
// queue goes up, that a client begins with, and that is the same after another opening. The input
// is records; their magic, CRC and length are put right, unless the input asks for its own.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/client/paquebot.h"
#include "common/wire/cursor.h"
#include "tests/fuzz/fuzz.h"

enum {
    HEADER_LEN = 24,
    LOG_MAX = 1 << 16
};

static char directory[32], log_path[64], lock_path[64];

static void remove_directory(void)
{
    (void)unlink(log_path);
    (void)unlink(lock_path);
    (void)rmdir(directory);
}

static void make_directory(void)
{
    if (log_path[0] != '\0')
        return;
    (void)snprintf(directory, sizeof(directory), "%s/fuzz-state-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    PQB_ASSERT(mkdtemp(directory) != NULL);
    (void)snprintf(log_path, sizeof(log_path), "%s/log", directory);
    (void)snprintf(lock_path, sizeof(lock_path), "%s/lock", directory);
    (void)atexit(remove_directory);
}

// One record out of {type 1, synced 1, length 2, payload}.
static void put_record(struct pqb_writer_cursor *out, struct pqb_reader_cursor *in, uint8_t type)
{
    uint8_t *const start = out->at;
    const uint8_t synced = pqb_rcur_u8(in);
    const size_t wanted = pqb_rcur_u16(in);
    const size_t len = PQB_MIN(wanted, pqb_rcur_left(in));
    struct pqb_writer_cursor crc;

    pqb_wcur_u32(out, 0x50514c31);
    pqb_wcur_u32(out, 0);
    pqb_wcur_u32(out, (uint32_t)len);
    pqb_wcur_u32(out, type);
    pqb_wcur_u64(out, (uint64_t)synced * 8);
    if (len > 0)
        pqb_wcur_bytes(out, pqb_rcur_bytes(in, len), len);
    if (out->is_bad || in->is_bad)
        return;
    pqb_wcur_init(&crc, start + 4, 4);
    pqb_wcur_u32(&crc, pqb_crc32c(0, start + 8, HEADER_LEN - 8 + len));
}

static size_t make_log(uint8_t *log, const uint8_t *data, size_t size)
{
    struct pqb_writer_cursor out;
    struct pqb_reader_cursor in;

    pqb_wcur_init(&out, log, LOG_MAX);
    pqb_rcur_init(&in, data, size);
    while (pqb_rcur_left(&in) > 0 && !in.is_bad && !out.is_bad) {
        const uint8_t what = pqb_rcur_u8(&in);

        if (what < 16) {
            put_record(&out, &in, what);
        } else { // bytes as they are
            const size_t len = PQB_MIN((size_t)what, pqb_rcur_left(&in));
            pqb_wcur_bytes(&out, pqb_rcur_bytes(&in, len), len);
        }
    }
    return pqb_wcur_len(&out);
}

// ------------------------------------------------------------------------------------- looking

struct seen {
    struct pqb_client_saved saved;
    uint64_t last_seq;
    size_t count;
    uint32_t sum;
};

static bool see(void *arg, const struct pqb_client_pending *p)
{
    struct seen *s = arg;

    PQB_ASSERT(p->seq > s->last_seq && strlen(p->to) <= PQB_CLIENT_USER_MAX);
    s->last_seq = p->seq;
    s->sum = pqb_crc32c(s->sum, p->to, strlen(p->to));
    s->sum = pqb_crc32c(s->sum, p->body, p->len);
    s->count++;
    return true;
}

static struct seen look(const struct pqb_client_store *store)
{
    struct seen s = {.count = 0};

    PQB_ASSERT(store->load(store->ctx, &s.saved, see, &s) == 0);
    PQB_ASSERT(s.saved.next_seq > s.last_seq);
    return s;
}

// Puts, drops and moves on, as a client would.
static void use(struct pqb_client_store *store)
{
    struct pqb_client_config config;
    struct pqb_client *c = NULL;
    uint64_t id;

    pqb_client_config_default(&config);
    config.user = "ann";
    config.device = "phone";
    config.store = store;
    const int err = pqb_client_create(&c, &config, 1000);
    PQB_ASSERT(err == 0 || err == PQB_CLIENT_ERR_CORRUPT || err == PQB_CLIENT_ERR_NOMEM);
    if (err != 0)
        return;
    pqb_client_connect(c, 1000);
    const int sent = pqb_client_send(c, "ben", 0, "hello", 5, 0, &id);
    PQB_ASSERT(sent == 0 || sent == PQB_CLIENT_ERR_FULL);
    uint8_t datagram[PQB_CLIENT_DATAGRAM_MAX];
    PQB_ASSERT(pqb_client_poll_transmit(c, datagram, sizeof(datagram), 1000) > 0);
    pqb_client_destroy(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t log[LOG_MAX];
    struct pqb_client_store *store;

    make_directory();
    const size_t len = make_log(log, data, size);
    const int fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    PQB_ASSERT(fd >= 0 && write(fd, log, len) == (ssize_t)len && close(fd) == 0);
    int err = pqb_client_store_file_open(&store, directory);
    PQB_ASSERT(err == 0 || err == PQB_CLIENT_ERR_CORRUPT || err == PQB_CLIENT_ERR_VERSION);
    if (err != 0)
        return 0;
    const struct seen before = look(store);
    pqb_client_store_file_close(store);
    PQB_ASSERT(pqb_client_store_file_open(&store, directory) == 0);
    const struct seen after = look(store);
    PQB_ASSERT(before.count == after.count && before.sum == after.sum &&
               before.saved.cursor == after.saved.cursor &&
               before.saved.epoch == after.saved.epoch &&
               before.saved.next_seq == after.saved.next_seq);
    use(store);
    pqb_client_store_file_close(store);
    return 0;
}
