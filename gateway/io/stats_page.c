#include "gateway/io/stats_page.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"

// Readers go by these sizes; a change needs another PQB_STATS_VERSION.
static_assert(sizeof(struct pqb_stats_header) == 64, "file format");
static_assert(sizeof(struct pqb_stats_column) == 32, "file format");
static_assert(sizeof(struct pqb_stats_row) == 192, "file format");

struct pqb_stats_page {
    struct pqb_stats_header *header; // the mapping
    struct pqb_stats_column *columns;
    uint64_t *values;
    size_t len, row_count, column_count;
};

static size_t page_len(size_t rows, size_t columns)
{
    return sizeof(struct pqb_stats_header) + columns * sizeof(struct pqb_stats_column) +
           rows * sizeof(struct pqb_stats_row) + rows * columns * sizeof(uint64_t);
}

// Opens a file of `len` zero bytes that is allocated in full, so that a store into the mapping can
// never meet a full disk (SIGBUS).
static int open_sized(const char *path, size_t len)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    int error;

    if (fd < 0)
        return -1;
    error = posix_fallocate(fd, 0, (off_t)len);
    if (error == 0)
        return fd;
    (void)close(fd);
    (void)unlink(path);
    errno = error;
    return -1;
}

static void describe(struct pqb_stats_page *page, const struct pqb_stats_row *rows,
                     const char *const *columns, pqb_wall_ms wall)
{
    struct pqb_stats_header *header = page->header;

    *header = (struct pqb_stats_header){
        .magic = PQB_STATS_MAGIC,
        .version = PQB_STATS_VERSION,
        .header_len = sizeof(*header),
        .row_count = (uint32_t)page->row_count,
        .column_count = (uint32_t)page->column_count,
        .row_len = sizeof(struct pqb_stats_row),
        .column_len = sizeof(struct pqb_stats_column),
        .pid = (uint64_t)getpid(),
        .started_at = wall,
    };
    for (size_t i = 0; i < page->column_count; i++)
        (void)snprintf(page->columns[i].name, sizeof(page->columns[i].name), "%s", columns[i]);
    memcpy(page->columns + page->column_count, rows, page->row_count * sizeof(*rows));
}

int pqb_stats_page_create(struct pqb_stats_page **out, const char *path,
                          const struct pqb_stats_row *rows, size_t row_count,
                          const char *const *columns, size_t column_count, pqb_wall_ms wall)
{
    struct pqb_stats_page *page;
    char temporary[4096];
    void *map;
    int fd, saved;

    PQB_ASSERT(row_count <= PQB_STATS_ROWS_MAX && column_count <= PQB_STATS_COLUMNS_MAX);
    if (snprintf(temporary, sizeof(temporary), "%s.new", path) >= (int)sizeof(temporary))
        return PQB_ERR_TOO_LARGE;
    page = calloc(1, sizeof(*page));
    if (page == NULL)
        return PQB_ERR_NOMEM;
    page->row_count = row_count;
    page->column_count = column_count;
    page->len = page_len(row_count, column_count);
    fd = open_sized(temporary, page->len);
    // A full disk must not keep a gateway from starting: only one that runs can empty inboxes.
    if (fd < 0 && errno == ENOSPC && unlink(path) == 0)
        fd = open_sized(temporary, page->len);
    if (fd < 0)
        goto out;
    map = mmap(NULL, page->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    saved = errno;
    (void)close(fd);
    errno = saved;
    if (map == MAP_FAILED)
        goto out;
    page->header = map;
    page->columns = (struct pqb_stats_column *)(void *)(page->header + 1);
    page->values =
        (uint64_t *)(void *)((char *)map + page->len - row_count * column_count * sizeof(uint64_t));
    describe(page, rows, columns, wall);
    if (rename(temporary, path) != 0) {
        saved = errno;
        (void)munmap(map, page->len);
        errno = saved;
        goto out;
    }
    *out = page;
    return PQB_OK;

out:
    saved = errno;
    (void)unlink(temporary);
    free(page);
    errno = saved;
    return saved == ENOSPC ? PQB_ERR_NO_SPACE : PQB_ERR_IO;
}

void pqb_stats_page_destroy(struct pqb_stats_page *page, pqb_wall_ms wall)
{
    if (page == NULL)
        return;
    atomic_store_explicit(&page->header->stopped_at, wall, memory_order_relaxed);
    (void)munmap(page->header, page->len);
    free(page);
}

uint64_t *pqb_stats_page_column(struct pqb_stats_page *page, size_t column)
{
    PQB_ASSERT(column < page->column_count);
    return page->values + column * page->row_count;
}

void pqb_stats_page_turn_begin(struct pqb_stats_page *page, size_t column, pqb_tstamp now)
{
    atomic_store_explicit(&page->columns[column].busy_since, now, memory_order_relaxed);
}

void pqb_stats_page_turn_end(struct pqb_stats_page *page, size_t column)
{
    atomic_store_explicit(&page->columns[column].busy_since, 0, memory_order_relaxed);
}

void pqb_stats_page_heartbeat(struct pqb_stats_page *page, pqb_tstamp now)
{
    atomic_store_explicit(&page->header->heartbeat, now, memory_order_relaxed);
}

// ------------------------------------------------------------------------------------ reader

static int read_whole(const char *path, void **out, size_t *len)
{
    const size_t max = page_len(PQB_STATS_ROWS_MAX, PQB_STATS_COLUMNS_MAX);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ssize_t got;
    int err;

    if (fd < 0)
        return errno == ENOENT ? PQB_ERR_NOT_FOUND : PQB_ERR_IO;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        (void)close(fd);
        return PQB_ERR_CORRUPT;
    }
    *len = (size_t)st.st_size;
    *out = *len <= max ? malloc(*len + 1) : NULL;
    got = *out != NULL ? read(fd, *out, *len) : -1;
    if (*out == NULL)
        err = *len <= max ? PQB_ERR_NOMEM : PQB_ERR_CORRUPT;
    else
        err = got == (ssize_t)*len ? PQB_OK : PQB_ERR_IO;
    (void)close(fd);
    if (err != PQB_OK)
        free(*out);
    return err;
}

static int check_header(const struct pqb_stats_header *h, size_t len)
{
    if (len < sizeof(*h) || h->magic != PQB_STATS_MAGIC)
        return PQB_ERR_CORRUPT;
    if (h->version != PQB_STATS_VERSION || h->header_len != sizeof(*h) ||
        h->row_len != sizeof(struct pqb_stats_row) ||
        h->column_len != sizeof(struct pqb_stats_column))
        return PQB_ERR_VERSION;
    if (h->row_count > PQB_STATS_ROWS_MAX || h->column_count > PQB_STATS_COLUMNS_MAX ||
        page_len(h->row_count, h->column_count) != len)
        return PQB_ERR_CORRUPT;
    return PQB_OK;
}

static void *copy(const void *from, size_t len)
{
    void *to = malloc(len > 0 ? len : 1);

    if (to != NULL)
        memcpy(to, from, len);
    return to;
}

int pqb_stats_snapshot_read(struct pqb_stats_snapshot *out, const char *path)
{
    void *page;
    size_t len;
    int err = read_whole(path, &page, &len);

    memset(out, 0, sizeof(*out));
    if (err != PQB_OK)
        return err;

    const struct pqb_stats_header *h = page;
    const char *at = (const char *)page + sizeof(*h);

    err = check_header(h, len);
    if (err != PQB_OK) {
        free(page);
        return err;
    }
    out->pid = h->pid;
    out->started_at = h->started_at;
    out->stopped_at = atomic_load_explicit(&h->stopped_at, memory_order_relaxed);
    out->heartbeat = atomic_load_explicit(&h->heartbeat, memory_order_relaxed);
    out->row_count = h->row_count;
    out->column_count = h->column_count;
    out->columns = copy(at, out->column_count * sizeof(*out->columns));
    at += out->column_count * sizeof(*out->columns);
    out->rows = copy(at, out->row_count * sizeof(*out->rows));
    at += out->row_count * sizeof(*out->rows);
    out->values = copy(at, out->row_count * out->column_count * sizeof(*out->values));
    free(page);
    if (out->columns == NULL || out->rows == NULL || out->values == NULL) {
        pqb_stats_snapshot_fini(out);
        return PQB_ERR_NOMEM;
    }
    for (size_t i = 0; i < out->row_count; i++) {
        out->rows[i].name[sizeof(out->rows[i].name) - 1] = '\0';
        out->rows[i].unit[sizeof(out->rows[i].unit) - 1] = '\0';
        out->rows[i].help[sizeof(out->rows[i].help) - 1] = '\0';
    }
    for (size_t i = 0; i < out->column_count; i++)
        out->columns[i].name[sizeof(out->columns[i].name) - 1] = '\0';
    return PQB_OK;
}

void pqb_stats_snapshot_fini(struct pqb_stats_snapshot *s)
{
    free(s->rows);
    free(s->columns);
    free(s->values);
    memset(s, 0, sizeof(*s));
}

uint64_t pqb_stats_snapshot_sum(const struct pqb_stats_snapshot *s, size_t row)
{
    uint64_t sum = 0;

    PQB_ASSERT(row < s->row_count);
    for (size_t column = 0; column < s->column_count; column++)
        sum += s->values[column * s->row_count + row];
    return sum;
}

uint64_t pqb_stats_snapshot_get(const struct pqb_stats_snapshot *s, const char *name,
                                bool *is_known)
{
    for (size_t row = 0; row < s->row_count; row++) {
        if (strcmp(s->rows[row].name, name) == 0) {
            if (is_known != NULL)
                *is_known = true;
            return pqb_stats_snapshot_sum(s, row);
        }
    }
    if (is_known != NULL)
        *is_known = false;
    return 0;
}
