#include "common/client/dead_letters.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/err.h"
#include "common/base/file.h"
#include "common/wire/cursor.h"
#include "common/wire/limits.h"

#define FOLDER     "dead"
#define MAGIC      0x50514431u // "PQD1"
#define CHECKED_AT 8           // what the CRC covers begins here
#define FIXED_LEN  (CHECKED_AT + 8 + 8 + 4 + 2 + 1 + 1)
#define FILE_MAX   (FIXED_LEN + PQB_USER_MAX + PQB_DEVICE_MAX + PQB_BODY_MAX)
#define NAME_LEN   16

// 0: not the name of a letter.
static uint64_t iseq_of(const char *name)
{
    char *end;
    const uint64_t iseq = strtoull(name, &end, 16);

    return strlen(name) == NAME_LEN && *end == '\0' ? iseq : 0;
}

static void name_of(uint64_t iseq, char name[NAME_LEN + 1])
{
    (void)snprintf(name, NAME_LEN + 1, "%016" PRIx64, iseq);
}

// ------------------------------------------------------------------------------------- writing

static size_t encode(const struct pqb_client_dead_letter *l, uint8_t *out)
{
    const size_t from_len = strlen(l->from), device_len = strlen(l->device);
    const size_t len = FIXED_LEN + from_len + device_len + l->len;
    struct pqb_writer_cursor w;

    pqb_wcur_init(&w, out, FILE_MAX);
    pqb_wcur_u32(&w, MAGIC);
    pqb_wcur_u32(&w, 0);
    pqb_wcur_u64(&w, l->iseq);
    pqb_wcur_u64(&w, l->time_ms);
    pqb_wcur_u32(&w, l->attempts);
    pqb_wcur_u16(&w, l->kind);
    pqb_wcur_u8(&w, (uint8_t)from_len);
    pqb_wcur_u8(&w, (uint8_t)device_len);
    pqb_wcur_bytes(&w, l->from, from_len);
    pqb_wcur_bytes(&w, l->device, device_len);
    if (l->len > 0)
        pqb_wcur_bytes(&w, l->body, l->len);
    PQB_ASSERT(!w.is_bad);
    const uint32_t crc = pqb_crc32c(0, out + CHECKED_AT, len - CHECKED_AT);
    pqb_wcur_init(&w, out + 4, 4);
    pqb_wcur_u32(&w, crc);
    return len;
}

struct census {
    uint64_t count, bytes, oldest;
};

static DIR *open_folder(int folder)
{
    const int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (dir == NULL && fd >= 0)
        (void)close(fd);
    return dir;
}

static bool take_census(int folder, struct census *out)
{
    DIR *dir = open_folder(folder);
    const struct dirent *entry;
    struct stat st;

    if (dir == NULL)
        return false;
    *out = (struct census){.oldest = UINT64_MAX};
    while ((entry = readdir(dir)) != NULL) {
        const uint64_t iseq = iseq_of(entry->d_name);

        if (iseq == 0 || fstatat(folder, entry->d_name, &st, 0) != 0)
            continue;
        out->count++;
        out->bytes += (uint64_t)st.st_size;
        out->oldest = PQB_MIN(out->oldest, iseq);
    }
    (void)closedir(dir);
    return true;
}

// Keeps the bounds; the one just written stays. What can't be deleted now is tried again with the
// next letter.
static void trim(int folder, uint64_t newest)
{
    char name[NAME_LEN + 1];
    struct census now;

    while (take_census(folder, &now) && now.oldest != newest &&
           (now.count > PQB_CLIENT_DEAD_LETTERS_MAX || now.bytes > PQB_CLIENT_DEAD_LETTER_BYTES)) {
        name_of(now.oldest, name);
        if (unlinkat(folder, name, 0) != 0)
            return;
    }
}

int pqb_dead_letters_put(int dir_fd, const struct pqb_client_dead_letter *letter)
{
    uint8_t *data = malloc(FILE_MAX);
    char name[NAME_LEN + 1];
    int folder, err;

    if (data == NULL)
        return PQB_ERR_NOMEM;
    name_of(letter->iseq, name);
    if (mkdirat(dir_fd, FOLDER, 0700) == 0)
        (void)fsync(dir_fd); // the letter's own sync decides
    folder = openat(dir_fd, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        err = pqb_err_from_errno(errno);
    } else {
        err = pqb_file_replace(folder, name, data, encode(letter, data));
        trim(folder, letter->iseq);
        (void)close(folder);
    }
    free(data);
    return err;
}

// ------------------------------------------------------------------------------------- reading

static bool decode(const uint8_t *data, size_t len, char *from, char *device,
                   struct pqb_client_dead_letter *out)
{
    struct pqb_reader_cursor r;

    pqb_rcur_init(&r, data, len);
    const uint32_t magic = pqb_rcur_u32(&r);
    const uint32_t crc = pqb_rcur_u32(&r);
    *out = (struct pqb_client_dead_letter){.from = from, .device = device};
    out->iseq = pqb_rcur_u64(&r);
    out->time_ms = pqb_rcur_u64(&r);
    out->attempts = pqb_rcur_u32(&r);
    out->kind = pqb_rcur_u16(&r);
    const uint8_t from_len = pqb_rcur_u8(&r), device_len = pqb_rcur_u8(&r);
    const uint8_t *names = pqb_rcur_bytes(&r, (size_t)from_len + device_len);
    if (r.is_bad || magic != MAGIC || from_len > PQB_USER_MAX || device_len > PQB_DEVICE_MAX ||
        pqb_crc32c(0, data + CHECKED_AT, len - CHECKED_AT) != crc)
        return false;
    memcpy(from, names, from_len);
    from[from_len] = '\0';
    memcpy(device, names + from_len, device_len);
    device[device_len] = '\0';
    out->len = pqb_rcur_left(&r);
    out->body = r.at;
    return true;
}

// Shows one. PQB_ERR_NOT_FOUND: it was deleted meanwhile. *may_go_on: the walk is wanted.
static int show(int folder, uint64_t iseq, uint8_t *data, pqb_client_dead_letter_fn each, void *arg,
                bool *may_go_on)
{
    char name[NAME_LEN + 1], from[PQB_USER_MAX + 1], device[PQB_DEVICE_MAX + 1];
    struct pqb_client_dead_letter letter;
    size_t len = 0;
    ssize_t n;

    name_of(iseq, name);
    const int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? PQB_OK : pqb_err_from_errno(errno);
    while ((n = read(fd, data + len, FILE_MAX + 1 - len)) > 0)
        len += (size_t)n;
    const int err = n < 0 ? pqb_err_from_errno(errno) : PQB_OK;
    (void)close(fd);
    if (err != PQB_OK)
        return err;
    if (len > FILE_MAX || !decode(data, len, from, device, &letter) || letter.iseq != iseq)
        return PQB_ERR_CORRUPT;
    *may_go_on = each(arg, &letter);
    return PQB_OK;
}

// The lowest one above `iseq`; 0: none.
static uint64_t next_after(int folder, uint64_t iseq)
{
    DIR *dir = open_folder(folder);
    const struct dirent *entry;
    uint64_t next = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        const uint64_t found = iseq_of(entry->d_name);

        if (found > iseq && (next == 0 || found < next))
            next = found;
    }
    if (dir != NULL)
        (void)closedir(dir);
    return next;
}

static int walk(int folder, pqb_client_dead_letter_fn each, void *arg)
{
    uint8_t *data = malloc(FILE_MAX + 1);
    bool may_go_on = data != NULL;
    int result = data != NULL ? PQB_OK : PQB_ERR_NOMEM;

    for (uint64_t iseq = 0; may_go_on && (iseq = next_after(folder, iseq)) != 0;) {
        const int err = show(folder, iseq, data, each, arg, &may_go_on);

        if (err != PQB_OK)
            result = err;
    }
    free(data);
    return result;
}

int pqb_client_dead_letters_read(const char *path, pqb_client_dead_letter_fn each, void *arg)
{
    const int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int folder, err;

    if (dir_fd < 0)
        return pqb_err_from_errno(errno);
    folder = openat(dir_fd, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    err = folder >= 0       ? walk(folder, each, arg)
          : errno == ENOENT ? PQB_OK
                            : pqb_err_from_errno(errno);
    if (folder >= 0)
        (void)close(folder);
    (void)close(dir_fd);
    return err;
}
