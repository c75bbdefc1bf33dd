// A disk that is slow, or full, for a program that is started with this in LD_PRELOAD:
//
//   SLOW_DISK_US     every sync takes so many microseconds longer: fsync, fdatasync, msync with
//                    MS_SYNC, and writes to a file that was opened with O_DSYNC or O_SYNC
//   SLOW_DISK_BYTES  regular files can't grow beyond this: writes there fail with ENOSPC
//   SLOW_DISK_BROKEN a file; from when it exists every sync fails with EIO, and what was to be
//   synced
//                    may or may not have reached the disk
//
// Without the compiler's renaming of pwrite to pwrite64: both names are defined here.
#undef _FILE_OFFSET_BITS
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
// The next definition of a function, found once.
#define NEXT(name)                   \
    static __typeof__(&(name)) next; \
    if (next == NULL)                \
    *(void **)&next = dlsym(RTLD_NEXT, #name)

static unsigned long setting(const char *name)
{
    const char *text = getenv(name);

    return text != NULL ? strtoul(text, NULL, 10) : 0;
}

static void delay(void)
{
    const unsigned long us = setting("SLOW_DISK_US");
    struct timespec ts = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};

    if (us > 0)
        (void)nanosleep(&ts, NULL);
}

static int is_broken(void)
{
    const char *sign = getenv("SLOW_DISK_BROKEN");
    const int saved = errno;
    const int result = sign != NULL && access(sign, F_OK) == 0;

    errno = result ? EIO : saved;
    return result;
}

static int is_synced(int fd)
{
    const int saved = errno, flags = fcntl(fd, F_GETFL);

    errno = saved;
    return flags >= 0 && (flags & (O_DSYNC | O_SYNC)) != 0;
}

// Before a write; not 0: it fails.
static int delay_write(int fd)
{
    if (!is_synced(fd))
        return 0;
    delay();
    return is_broken();
}

// Would a write that ends at `end` make the file larger than the disk?
static int is_full(int fd, off_t end)
{
    const unsigned long bytes = setting("SLOW_DISK_BYTES");
    struct stat st;

    if (bytes == 0 || end < 0 || (unsigned long)end <= bytes || fstat(fd, &st) != 0 ||
        !S_ISREG(st.st_mode) || end <= st.st_size)
        return 0;
    errno = ENOSPC;
    return 1;
}

static off_t length(const struct iovec *parts, int count)
{
    size_t len = 0;

    for (int i = 0; i < count; i++)
        len += parts[i].iov_len;
    return (off_t)len;
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t len)
{
    NEXT(fallocate);
    if (is_full(fd, offset + len))
        return -1;
    return next(fd, mode, offset, len);
}

EXPORT int fallocate64(int fd, int mode, off_t offset, off_t len)
{
    NEXT(fallocate64);
    if (is_full(fd, offset + len))
        return -1;
    return next(fd, mode, offset, len);
}

EXPORT int fsync(int fd)
{
    NEXT(fsync);
    delay();
    return is_broken() ? -1 : next(fd);
}

EXPORT int fdatasync(int fd)
{
    NEXT(fdatasync);
    delay();
    return is_broken() ? -1 : next(fd);
}

EXPORT int msync(void *at, size_t len, int flags)
{
    NEXT(msync);
    if ((flags & MS_SYNC) != 0)
        delay();
    return (flags & MS_SYNC) != 0 && is_broken() ? -1 : next(at, len, flags);
}

EXPORT ssize_t write(int fd, const void *data, size_t len)
{
    NEXT(write);
    if (is_full(fd, lseek(fd, 0, SEEK_CUR) + (off_t)len))
        return -1;
    if (delay_write(fd))
        return -1;
    return next(fd, data, len);
}

EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
    NEXT(writev);
    if (is_full(fd, lseek(fd, 0, SEEK_CUR) + length(parts, count)))
        return -1;
    if (delay_write(fd))
        return -1;
    return next(fd, parts, count);
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    NEXT(pwrite);
    if (is_full(fd, offset + (off_t)len))
        return -1;
    if (delay_write(fd))
        return -1;
    return next(fd, data, len, offset);
}

EXPORT ssize_t pwrite64(int fd, const void *data, size_t len, off_t offset)
{
    NEXT(pwrite64);
    if (is_full(fd, offset + (off_t)len))
        return -1;
    if (delay_write(fd))
        return -1;
    return next(fd, data, len, offset);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    NEXT(pwritev);
    if (is_full(fd, offset + length(parts, count)))
        return -1;
    if (delay_write(fd))
        return -1;
    return next(fd, parts, count, offset);
}

EXPORT ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset)
{
    NEXT(pwritev64);
    if (is_full(fd, offset + length(parts, count)))
        return -1;
    if (delay_write(fd))
        return -1;
    return next(fd, parts, count, offset);
}
