// The client's state in a directory: `lock` and one append-only `log` of records, each with a CRC.
//
//   magic 4 | crc32c of what follows 4 | payload length 4 | type 4 | synced 8 | payload
//
// `synced` is the length of the log that was surely on disk when the record was written. A record
// that does not check ends the log: what follows was never acknowledged to anyone and is cut off,
// unless a later record says that the bad place had been synced, which is damage, not a torn tail.
//
// Types: STATE {epoch 4, next_seq 8, cursor 8} replaces all three at once; PUT {seq 8, kind 2,
// to_len 2, name, body}; DROP {seq 8}; CURSOR {cursor 8}; ATTEMPT {iseq 8, attempts 4}. Integers in
// network byte order. When the log is mostly history it is rewritten as `log.new` and renamed over.
// Dead letters are files of their own (dead_letters.c).
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/err.h"
#include "common/base/file.h"
#include "common/base/list.h"
#include "common/client/dead_letters.h"
#include "common/client/paquebot.h"
#include "common/wire/cursor.h"
#include "common/wire/frame.h"
#include "common/wire/limits.h"

#define MAGIC         0x50514c31u // "PQL1"
#define HEADER_LEN    24
#define PUT_FIXED_LEN 12
#define STATE_LEN     20
#define ATTEMPT_LEN   12
#define PAYLOAD_MAX   (PUT_FIXED_LEN + PQB_USER_MAX + PQB_BODY_MAX)
#define COMPACT_BYTES (1u << 20) // a shorter log is left alone
#define COMPACT_RATIO 4          // rewritten when so many times its live part

enum record_type {
    RECORD_STATE = 1,
    RECORD_PUT = 2,
    RECORD_DROP = 3,
    RECORD_CURSOR = 4,
    RECORD_ATTEMPT = 5,
};

// A queued message: where its PUT is.
struct place {
    struct pqb_list link; // by seq
    uint64_t seq, offset;
    uint32_t len; // of the whole record
};

struct file_store {
    struct pqb_client_store store; // ctx is this
    int dir_fd, lock_fd, log_fd;
    struct pqb_client_saved saved;
    struct pqb_list places;
    uint64_t len, synced, live; // bytes: of the log, surely on disk, of queued messages
    uint64_t rewrite_at;        // length from which a rewrite is worth a try
    int failed; // first write error: the log's end is unknown, nothing more is written
};

static struct place *place_of(struct pqb_list *link)
{
    return PQB_CONTAINER_OF(link, struct place, link);
}

// ------------------------------------------------------------------------------------- writing

static int write_all(int fd, const uint8_t *data, size_t len, uint64_t offset)
{
    while (len > 0) {
        const ssize_t n = pwrite(fd, data, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? pqb_err_from_errno(errno) : PQB_ERR_IO;
        data += n;
        offset += (size_t)n;
        len -= (size_t)n;
    }
    return PQB_OK;
}

static void encode_header(uint8_t *record, enum record_type type, size_t payload_len,
                          uint64_t synced)
{
    struct pqb_writer_cursor w;

    pqb_wcur_init(&w, record, HEADER_LEN);
    pqb_wcur_u32(&w, MAGIC);
    pqb_wcur_u32(&w, 0);
    pqb_wcur_u32(&w, (uint32_t)payload_len);
    pqb_wcur_u32(&w, (uint32_t)type);
    pqb_wcur_u64(&w, synced);
    const uint32_t crc = pqb_crc32c(0, record + 8, HEADER_LEN - 8 + payload_len);
    pqb_wcur_init(&w, record + 4, 4);
    pqb_wcur_u32(&w, crc);
}

// Appends a record whose payload already stands behind its header in `record`.
static int append(struct file_store *f, enum record_type type, uint8_t *record, size_t payload_len)
{
    if (f->failed != PQB_OK)
        return f->failed;
    encode_header(record, type, payload_len, f->synced);
    const int err = write_all(f->log_fd, record, HEADER_LEN + payload_len, f->len);
    if (err != PQB_OK) {
        // A short record may stand at the end: the next one goes over it, but only if this one can
        // be taken back.
        if (ftruncate(f->log_fd, (off_t)f->len) != 0)
            f->failed = err;
        return err;
    }
    f->len += HEADER_LEN + payload_len;
    return PQB_OK;
}

static int sync_log(struct file_store *f)
{
    if (f->failed != PQB_OK)
        return f->failed;
    if (f->synced == f->len)
        return PQB_OK;
    if (fdatasync(f->log_fd) != 0) {
        // What the page cache says from now on may not be on disk (fsyncgate): stop here.
        f->failed = pqb_err_from_errno(errno);
        return f->failed;
    }
    f->synced = f->len;
    return PQB_OK;
}

static size_t encode_state(const struct pqb_client_saved *saved, uint8_t *payload)
{
    struct pqb_writer_cursor w;

    pqb_wcur_init(&w, payload, STATE_LEN);
    pqb_wcur_u32(&w, saved->epoch);
    pqb_wcur_u64(&w, saved->next_seq);
    pqb_wcur_u64(&w, saved->cursor);
    return STATE_LEN;
}

static int append_u64(struct file_store *f, enum record_type type, uint64_t value)
{
    uint8_t record[HEADER_LEN + 8];
    struct pqb_writer_cursor w;

    pqb_wcur_init(&w, record + HEADER_LEN, 8);
    pqb_wcur_u64(&w, value);
    return append(f, type, record, 8);
}

static int append_state(struct file_store *f, const struct pqb_client_saved *saved)
{
    uint8_t record[HEADER_LEN + STATE_LEN];

    return append(f, RECORD_STATE, record, encode_state(saved, record + HEADER_LEN));
}

static int append_attempt(struct file_store *f, uint64_t iseq, uint32_t attempts)
{
    uint8_t record[HEADER_LEN + ATTEMPT_LEN];
    struct pqb_writer_cursor w;

    pqb_wcur_init(&w, record + HEADER_LEN, ATTEMPT_LEN);
    pqb_wcur_u64(&w, iseq);
    pqb_wcur_u32(&w, attempts);
    return append(f, RECORD_ATTEMPT, record, ATTEMPT_LEN);
}

// --------------------------------------------------------------------------------------- queue

static int add_place(struct file_store *f, uint64_t seq, uint64_t offset, size_t len)
{
    struct place *p = malloc(sizeof(*p));

    if (p == NULL)
        return PQB_ERR_NOMEM;
    *p = (struct place){.seq = seq, .offset = offset, .len = (uint32_t)len};
    pqb_list_push_back(&f->places, &p->link);
    f->live += len;
    f->saved.next_seq = PQB_MAX(f->saved.next_seq, seq + 1);
    return PQB_OK;
}

static void remove_place(struct file_store *f, uint64_t seq)
{
    PQB_LIST_FOREACH (it, &f->places) {
        struct place *p = place_of(it);

        if (p->seq == seq) {
            f->live -= p->len;
            pqb_list_unlink(it);
            free(p);
            return;
        }
    }
}

static void clear_places(struct file_store *f)
{
    struct pqb_list *it;

    while ((it = pqb_list_pop_front(&f->places)) != NULL)
        free(place_of(it));
    f->live = 0;
}

// ------------------------------------------------------------------------------------- reading

struct record {
    enum record_type type;
    uint64_t synced;
    const uint8_t *payload;
    size_t payload_len, len;
};

// The record at `offset` of the log's bytes, if a sound one stands there.
static bool decode_record(const uint8_t *log, uint64_t log_len, uint64_t offset, struct record *out)
{
    struct pqb_reader_cursor r;

    if (log_len - offset < HEADER_LEN)
        return false;
    pqb_rcur_init(&r, log + offset, HEADER_LEN);
    const uint32_t magic = pqb_rcur_u32(&r);
    const uint32_t crc = pqb_rcur_u32(&r);
    const uint32_t payload_len = pqb_rcur_u32(&r);
    const uint32_t type = pqb_rcur_u32(&r);
    const uint64_t synced = pqb_rcur_u64(&r);
    if (magic != MAGIC || payload_len > PAYLOAD_MAX ||
        payload_len > log_len - offset - HEADER_LEN ||
        pqb_crc32c(0, log + offset + 8, HEADER_LEN - 8 + payload_len) != crc)
        return false;
    *out = (struct record){.type = (enum record_type)type,
                           .synced = synced,
                           .payload = log + offset + HEADER_LEN,
                           .payload_len = payload_len,
                           .len = HEADER_LEN + payload_len};
    return true;
}

static int decode_put(const struct record *r, char *to, struct pqb_client_pending *out)
{
    struct pqb_reader_cursor in;

    pqb_rcur_init(&in, r->payload, r->payload_len);
    out->seq = pqb_rcur_u64(&in);
    out->kind = pqb_rcur_u16(&in);
    const uint16_t to_len = pqb_rcur_u16(&in);
    const uint8_t *name = pqb_rcur_bytes(&in, to_len);
    if (in.is_bad || !pqb_name_is_valid((const char *)name, to_len, PQB_USER_MAX))
        return PQB_ERR_CORRUPT;
    memcpy(to, name, to_len);
    to[to_len] = '\0';
    out->to = to;
    out->len = pqb_rcur_left(&in);
    out->body = in.at;
    return PQB_OK;
}

// A queue goes up, whatever was written between: everything that walks it relies on that.
static int replay_put(struct file_store *f, const struct record *r, uint64_t offset)
{
    struct pqb_client_pending pending;
    char to[PQB_USER_MAX + 1];
    const int err = decode_put(r, to, &pending);
    const uint64_t above = pqb_list_is_empty(&f->places) ? 0 : place_of(f->places.prev)->seq;

    if (err != PQB_OK)
        return err;
    if (pending.seq <= above || pending.seq == UINT64_MAX || pending.len > PQB_BODY_MAX)
        return PQB_ERR_CORRUPT;
    return add_place(f, pending.seq, offset, r->len);
}

static int replay_record(struct file_store *f, const struct record *r, uint64_t offset)
{
    struct pqb_reader_cursor in;
    uint64_t next_seq;

    pqb_rcur_init(&in, r->payload, r->payload_len);
    switch (r->type) {
    case RECORD_STATE:
        f->saved.epoch = pqb_rcur_u32(&in);
        next_seq = pqb_rcur_u64(&in);
        f->saved.next_seq = PQB_MAX(f->saved.next_seq, next_seq);
        f->saved.cursor = pqb_rcur_u64(&in);
        break;
    case RECORD_PUT:
        return replay_put(f, r, offset);
    case RECORD_DROP:
        remove_place(f, pqb_rcur_u64(&in));
        break;
    case RECORD_CURSOR:
        f->saved.cursor = pqb_rcur_u64(&in);
        break;
    case RECORD_ATTEMPT:
        f->saved.attempt_iseq = pqb_rcur_u64(&in);
        f->saved.attempts = pqb_rcur_u32(&in);
        break;
    default:
        return PQB_ERR_VERSION;
    }
    return in.is_bad ? PQB_ERR_CORRUPT : PQB_OK;
}

// Does any sound record behind `offset` say that the log was on disk beyond it?
static bool is_damage(const uint8_t *log, uint64_t len, uint64_t offset)
{
    struct record r;

    for (uint64_t at = offset + 1; at + HEADER_LEN <= len; at++) {
        if (decode_record(log, len, at, &r) && r.synced > offset)
            return true;
    }
    return false;
}

static int replay(struct file_store *f, const uint8_t *log, uint64_t len)
{
    struct record r;
    int err;

    f->len = 0;
    while (f->len < len) {
        if (!decode_record(log, len, f->len, &r)) {
            if (is_damage(log, len, f->len))
                return PQB_ERR_CORRUPT;
            break;
        }
        err = replay_record(f, &r, f->len);
        if (err != PQB_OK)
            return err;
        f->len += r.len;
    }
    return PQB_OK;
}

static int read_all(int fd, uint64_t offset, uint8_t *out, size_t len)
{
    while (len > 0) {
        const ssize_t n = pread(fd, out, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? pqb_err_from_errno(errno) : PQB_ERR_CORRUPT;
        out += n;
        offset += (size_t)n;
        len -= (size_t)n;
    }
    return PQB_OK;
}

static int recover(struct file_store *f)
{
    struct stat st;
    uint8_t *log;
    int err;

    if (fstat(f->log_fd, &st) != 0)
        return pqb_err_from_errno(errno);
    log = malloc((size_t)st.st_size + 1);
    if (log == NULL)
        return PQB_ERR_NOMEM;
    err = read_all(f->log_fd, 0, log, (size_t)st.st_size);
    if (err == PQB_OK)
        err = replay(f, log, (uint64_t)st.st_size);
    free(log);
    if (err != PQB_OK)
        return err;
    if ((uint64_t)st.st_size > f->len && ftruncate(f->log_fd, (off_t)f->len) != 0)
        return pqb_err_from_errno(errno);
    // The torn tail's end, and whatever a crashed process left in the page cache.
    return fsync(f->log_fd) == 0 ? (f->synced = f->len, PQB_OK) : pqb_err_from_errno(errno);
}

// ----------------------------------------------------------------------------------- rewriting

static int copy_live(struct file_store *f, struct file_store *to, uint8_t *buffer)
{
    int err = append_state(to, &f->saved);

    if (err == PQB_OK && f->saved.attempt_iseq > f->saved.cursor)
        err = append_attempt(to, f->saved.attempt_iseq, f->saved.attempts);
    PQB_LIST_FOREACH (it, &f->places) {
        const struct place *p = place_of(it);

        if (err == PQB_OK)
            err = read_all(f->log_fd, p->offset, buffer, p->len);
        if (err == PQB_OK)
            err = add_place(to, p->seq, to->len, p->len);
        if (err == PQB_OK)
            err = append(to, RECORD_PUT, buffer, p->len - HEADER_LEN);
    }
    return err == PQB_OK ? sync_log(to) : err;
}

// Writes the live part anew. On an error the old log stays in use.
static int rewrite(struct file_store *f)
{
    struct file_store to = {.saved = f->saved};
    uint8_t *buffer = malloc(HEADER_LEN + PAYLOAD_MAX);
    int err = PQB_ERR_NOMEM;

    pqb_list_init(&to.places);
    to.log_fd = openat(f->dir_fd, "log.new", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (buffer != NULL)
        err = to.log_fd < 0 ? pqb_err_from_errno(errno) : copy_live(f, &to, buffer);
    free(buffer);
    if (err == PQB_OK && renameat(f->dir_fd, "log.new", f->dir_fd, "log") != 0)
        err = pqb_err_from_errno(errno);
    if (err != PQB_OK) {
        clear_places(&to);
        if (to.log_fd >= 0)
            (void)close(to.log_fd);
        return err;
    }
    (void)close(f->log_fd);
    f->log_fd = to.log_fd;
    f->len = to.len;
    f->synced = to.synced;
    clear_places(f);
    f->live = to.live;
    for (struct pqb_list *it; (it = pqb_list_pop_front(&to.places)) != NULL;)
        pqb_list_push_back(&f->places, it);
    // Until the directory is synced a power cut may bring the old log back, which lacks what comes
    // next.
    if (fsync(f->dir_fd) != 0)
        f->failed = pqb_err_from_errno(errno);
    return f->failed;
}

static void rewrite_if_due(struct file_store *f)
{
    if (f->failed != PQB_OK || f->len < f->rewrite_at || f->len / COMPACT_RATIO < f->live)
        return;
    // No disk space for a shorter log is no reason to stop.
    f->rewrite_at = rewrite(f) == PQB_OK ? COMPACT_BYTES : f->len + COMPACT_BYTES;
}

// ------------------------------------------------------------------------------ the interface

static int store_load(void *ctx, struct pqb_client_saved *out, pqb_client_pending_fn each,
                      void *arg)
{
    struct file_store *f = ctx;
    uint8_t *buffer = malloc(HEADER_LEN + PAYLOAD_MAX);
    int err = buffer != NULL ? PQB_OK : PQB_ERR_NOMEM;

    *out = f->saved;
    PQB_LIST_FOREACH (it, &f->places) {
        const struct place *p = place_of(it);
        struct pqb_client_pending pending;
        char to[PQB_USER_MAX + 1];
        struct record r;

        if (err == PQB_OK)
            err = read_all(f->log_fd, p->offset, buffer, p->len);
        if (err == PQB_OK)
            err = decode_record(buffer, p->len, 0, &r) ? decode_put(&r, to, &pending)
                                                       : PQB_ERR_CORRUPT;
        if (err == PQB_OK && !each(arg, &pending))
            err = PQB_ERR_NOMEM;
    }
    free(buffer);
    return err;
}

static int store_put(void *ctx, const struct pqb_client_pending *pending)
{
    struct file_store *f = ctx;
    const size_t to_len = strlen(pending->to);
    const size_t payload_len = PUT_FIXED_LEN + to_len + pending->len;
    uint8_t *record = malloc(HEADER_LEN + payload_len);
    struct pqb_writer_cursor w;
    int err;

    if (record == NULL)
        return PQB_ERR_NOMEM;
    pqb_wcur_init(&w, record + HEADER_LEN, payload_len);
    pqb_wcur_u64(&w, pending->seq);
    pqb_wcur_u16(&w, pending->kind);
    pqb_wcur_u16(&w, (uint16_t)to_len);
    pqb_wcur_bytes(&w, pending->to, to_len);
    if (pending->len > 0)
        pqb_wcur_bytes(&w, pending->body, pending->len);
    PQB_ASSERT(!w.is_bad);
    err = add_place(f, pending->seq, f->len, HEADER_LEN + payload_len);
    if (err == PQB_OK) {
        err = append(f, RECORD_PUT, record, payload_len);
        if (err == PQB_OK)
            err = sync_log(f);
        if (err == PQB_OK)
            rewrite_if_due(f);
        else
            remove_place(f, pending->seq);
    }
    free(record);
    return err;
}

static int store_drop(void *ctx, uint64_t seq)
{
    struct file_store *f = ctx;
    const int err = append_u64(f, RECORD_DROP, seq);

    if (err != PQB_OK)
        return err;
    remove_place(f, seq);
    rewrite_if_due(f);
    return PQB_OK;
}

static int store_set_epoch(void *ctx, uint32_t epoch)
{
    struct file_store *f = ctx;
    struct pqb_client_saved saved = f->saved;
    int err;

    saved.epoch = epoch;
    err = append_state(f, &saved);
    if (err == PQB_OK)
        err = sync_log(f);
    if (err == PQB_OK)
        f->saved = saved;
    return err;
}

static int store_deliver(void *ctx, const struct pqb_client_message *message, uint64_t cursor)
{
    struct file_store *f = ctx;
    const int err = append_u64(f, RECORD_CURSOR, cursor);

    (void)message;
    if (err != PQB_OK)
        return err;
    f->saved.cursor = cursor;
    rewrite_if_due(f);
    return PQB_OK;
}

static int store_sync(void *ctx)
{
    return sync_log(ctx);
}

static int store_attempt(void *ctx, uint64_t iseq, uint32_t attempts)
{
    struct file_store *f = ctx;
    int err = append_attempt(f, iseq, attempts);

    if (err == PQB_OK)
        err = sync_log(f);
    if (err != PQB_OK)
        return err;
    f->saved.attempt_iseq = iseq;
    f->saved.attempts = attempts;
    rewrite_if_due(f);
    return PQB_OK;
}

static int store_dead_letter(void *ctx, const struct pqb_client_dead_letter *letter)
{
    const struct file_store *f = ctx;

    return pqb_dead_letters_put(f->dir_fd, letter);
}

// --------------------------------------------------------------------------------- open, close

static int open_files(struct file_store *f, const char *path)
{
    f->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->dir_fd < 0)
        return pqb_err_from_errno(errno);
    f->lock_fd = openat(f->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (f->lock_fd < 0)
        return pqb_err_from_errno(errno);
    if (flock(f->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? PQB_ERR_LOCKED : pqb_err_from_errno(errno);
    f->log_fd = openat(f->dir_fd, "log", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (f->log_fd < 0)
        return pqb_err_from_errno(errno);
    return fsync(f->dir_fd) == 0 ? PQB_OK : pqb_err_from_errno(errno);
}

int pqb_client_store_file_open(struct pqb_client_store **out, const char *path)
{
    struct file_store *f = calloc(1, sizeof(*f));
    int err;

    if (f == NULL)
        return PQB_ERR_NOMEM;
    f->store = (struct pqb_client_store){.ctx = f,
                                         .load = store_load,
                                         .put = store_put,
                                         .drop = store_drop,
                                         .set_epoch = store_set_epoch,
                                         .deliver = store_deliver,
                                         .sync = store_sync,
                                         .attempt = store_attempt,
                                         .dead_letter = store_dead_letter};
    f->dir_fd = f->lock_fd = f->log_fd = -1;
    f->saved.next_seq = 1;
    f->rewrite_at = COMPACT_BYTES;
    pqb_list_init(&f->places);
    err = pqb_dir_make(path);
    if (err == PQB_OK)
        err = open_files(f, path);
    if (err == PQB_OK)
        err = recover(f);
    if (err != PQB_OK) {
        const int errnum = errno;

        pqb_client_store_file_close(&f->store);
        errno = errnum;
        return err;
    }
    *out = &f->store;
    return PQB_OK;
}

void pqb_client_store_file_close(struct pqb_client_store *store)
{
    struct file_store *f;

    if (store == NULL)
        return;
    f = store->ctx;
    if (f->log_fd >= 0)
        (void)sync_log(f);
    clear_places(f);
    if (f->log_fd >= 0)
        (void)close(f->log_fd);
    if (f->lock_fd >= 0)
        (void)close(f->lock_fd);
    if (f->dir_fd >= 0)
        (void)close(f->dir_fd);
    free(f);
}
