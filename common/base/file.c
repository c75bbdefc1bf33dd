#include "common/base/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"

#define NAME_LEN_MAX 200

int pqb_dir_make(const char *path)
{
    char *copy;
    int err = PQB_OK;

    if (*path == '\0')
        return PQB_ERR_INVALID;
    copy = strdup(path);
    if (copy == NULL)
        return PQB_ERR_NOMEM;
    for (char *at = copy + 1; err == PQB_OK && *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST)
            err = pqb_err_from_errno(errno);
        *at = '/';
    }
    if (err == PQB_OK && mkdir(copy, 0700) != 0 && errno != EEXIST)
        err = pqb_err_from_errno(errno);
    free(copy);
    return err;
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        const ssize_t n = write(fd, data, len);

        if (n > 0) {
            data += n;
            len -= (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            return n == 0 ? PQB_ERR_IO : pqb_err_from_errno(errno);
        }
    }
    return PQB_OK;
}

// The owner of what is replaced, else of the directory: a key that root has renewed is the
// gateway's account's as before.
static int give_to_owner(int folder, const char *name, int fd)
{
    struct stat st;

    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 && fstat(folder, &st) != 0)
        return pqb_err_from_errno(errno);
    if (st.st_uid == geteuid() || fchown(fd, st.st_uid, st.st_gid) == 0)
        return PQB_OK;
    return pqb_err_from_errno(errno);
}

// What is left of a try that a crash ended goes first, whoever may read it or wherever it points.
static int create_fresh(int folder, const char *fresh)
{
    if (unlinkat(folder, fresh, 0) != 0 && errno != ENOENT)
        return -1;
    return openat(folder, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

int pqb_file_replace(int folder, const char *name, const void *data, size_t len)
{
    char fresh[NAME_LEN_MAX + 8];
    int fd, err;

    if (strlen(name) > NAME_LEN_MAX)
        return PQB_ERR_INVALID;
    (void)snprintf(fresh, sizeof(fresh), "%s.new", name);
    fd = create_fresh(folder, fresh);
    if (fd < 0)
        return pqb_err_from_errno(errno);
    err = give_to_owner(folder, name, fd);
    if (err == PQB_OK)
        err = write_all(fd, data, len);
    if (err == PQB_OK && fdatasync(fd) != 0)
        err = pqb_err_from_errno(errno);
    if (close(fd) != 0 && err == PQB_OK)
        err = pqb_err_from_errno(errno);
    if (err == PQB_OK && renameat(folder, fresh, folder, name) != 0)
        err = pqb_err_from_errno(errno);
    if (err != PQB_OK) {
        const int why = errno;

        (void)unlinkat(folder, fresh, 0); // a part of a secret is one
        errno = why;
        return err;
    }
    return fsync(folder) == 0 ? PQB_OK : pqb_err_from_errno(errno);
}

static int read_all(int fd, uint8_t *out, size_t max, size_t *len)
{
    *len = 0;
    while (*len < max) {
        const ssize_t n = read(fd, out + *len, max - *len);

        if (n == 0)
            return PQB_OK;
        if (n > 0)
            *len += (size_t)n;
        else if (errno != EINTR)
            return pqb_err_from_errno(errno);
    }
    return PQB_OK;
}

int pqb_file_read(int folder, const char *name, void *out, size_t max, size_t *len)
{
    const int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    uint8_t more;
    int err;

    if (fd < 0)
        return pqb_err_from_errno(errno);
    err = read_all(fd, out, max, len);
    if (err == PQB_OK && *len == max && read(fd, &more, 1) > 0)
        err = PQB_ERR_TOO_LARGE;
    (void)close(fd);
    return err;
}
