// Without the compiler's renaming of pwrite to pwrite64: LMDB calls the former.
#undef _FILE_OFFSET_BITS
#include "tests/crash/power_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/base/check.h"

#define EXPORT __attribute__((visibility("default")))
// The next definition of a function, found once.
#define NEXT(name)                   \
    static __typeof__(&(name)) next; \
    if (next == NULL)                \
    *(void **)&next = dlsym(RTLD_NEXT, #name)

static struct power_log *watching;
static const char *watched;

void power_log_watch(struct power_log *log, const char *file)
{
    watching = log;
    watched = file;
}

static struct power_entry *add(struct power_log *log, enum power_kind kind)
{
    if (log->count == log->size) {
        log->size = log->size == 0 ? 1024 : 2 * log->size;
        log->entries = realloc(log->entries, log->size * sizeof(*log->entries));
        PQB_ASSERT(log->entries != NULL);
    }
    log->entries[log->count] = (struct power_entry){.kind = kind};
    return &log->entries[log->count++];
}

void power_log_note(struct power_log *log, uint64_t what, const uint64_t say[4])
{
    struct power_entry *e = add(log, POWER_NOTICE);

    e->say[0] = what;
    memcpy(e->say + 1, say, 4 * sizeof(*say));
}

void power_log_fini(struct power_log *log)
{
    for (size_t i = 0; i < log->count; i++)
        free(log->entries[i].data);
    free(log->entries);
    *log = (struct power_log){0};
}

static int is_watched(int fd)
{
    const int saved = errno;
    struct stat file, st;
    int is;

    if (watching == NULL)
        return 0;
    is = stat(watched, &file) == 0 && fstat(fd, &st) == 0 && st.st_dev == file.st_dev &&
         st.st_ino == file.st_ino;
    errno = saved;
    return is;
}

static void log_write(const void *data, size_t len, uint64_t offset)
{
    struct power_entry *e = add(watching, POWER_WRITE);

    e->offset = offset;
    e->len = len;
    e->data = malloc(len);
    PQB_ASSERT(e->data != NULL);
    memcpy(e->data, data, len);
}

// After the write that `from` begins with has returned.
static void log_written(int fd, size_t from)
{
    const int saved = errno, flags = fcntl(fd, F_GETFL);

    if ((flags & (O_DSYNC | O_SYNC)) != 0) {
        const struct power_entry first = watching->entries[from];
        const struct power_entry last = watching->entries[watching->count - 1];
        struct power_entry *e = add(watching, POWER_DSYNC);

        e->offset = first.offset;
        e->len = (size_t)(last.offset + last.len - first.offset);
    }
    errno = saved;
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    NEXT(pwrite);
    const int is = is_watched(fd);
    const size_t from = is ? watching->count : 0;
    ssize_t done;

    if (is)
        log_write(data, len, (uint64_t)offset);
    done = next(fd, data, len, offset);
    PQB_ASSERT(!is || done == (ssize_t)len); // a short write is another test's
    if (is)
        log_written(fd, from);
    return done;
}

EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
    NEXT(writev);
    const int is = is_watched(fd);
    const size_t from = is ? watching->count : 0;
    const off_t start = is ? lseek(fd, 0, SEEK_CUR) : 0;
    off_t offset = start;
    ssize_t done;

    for (int i = 0; is && i < count; i++) {
        log_write(parts[i].iov_base, parts[i].iov_len, (uint64_t)offset);
        offset += (off_t)parts[i].iov_len;
    }
    done = next(fd, parts, count);
    PQB_ASSERT(!is || done == offset - start);
    if (is)
        log_written(fd, from);
    return done;
}

static void log_sync(int fd)
{
    if (is_watched(fd))
        (void)add(watching, POWER_SYNC);
}

EXPORT int fsync(int fd)
{
    NEXT(fsync);
    const int rc = next(fd);

    if (rc == 0)
        log_sync(fd);
    return rc;
}

EXPORT int fdatasync(int fd)
{
    NEXT(fdatasync);
    const int rc = next(fd);

    if (rc == 0)
        log_sync(fd);
    return rc;
}

// Ways to change the file that the log has no entry for: a store that took them would go untested.

EXPORT int ftruncate(int fd, off_t len)
{
    NEXT(ftruncate);
    PQB_ASSERT(!is_watched(fd));
    return next(fd, len);
}

EXPORT ssize_t write(int fd, const void *data, size_t len)
{
    NEXT(write);
    PQB_ASSERT(!is_watched(fd));
    return next(fd, data, len);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    NEXT(pwritev);
    PQB_ASSERT(!is_watched(fd));
    return next(fd, parts, count, offset);
}
