#include "storage/lmdb_env.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"

#define TABLES_MAX 6
#define FREE_DBI   0 // LMDB's own list of free pages

// How a meta page of LMDB begins: a page header, then a number in the machine's byte order.
#define META_HEAD_LEN 32
#define META_MAGIC_AT 16
#define META_MAGIC    UINT32_C(0xBEEFC0DE)

int pqb_err_from_mdb(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return PQB_OK;
    case MDB_NOTFOUND:
        return PQB_ERR_NOT_FOUND;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case ENOSPC:
    case EDQUOT:
        return PQB_ERR_NO_SPACE;
    case MDB_KEYEXIST:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_BAD_TXN:
        return PQB_ERR_CORRUPT;
    case MDB_PANIC:
    case EIO:
        return PQB_ERR_IO;
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
        return PQB_ERR_VERSION;
    case MDB_READERS_FULL:
        return PQB_ERR_FULL;
    case ENOMEM:
        return PQB_ERR_NOMEM;
    default:
        return rc > 0 ? pqb_err_from_errno(rc) : PQB_ERR_IO;
    }
}

MDB_val pqb_val(const void *data, size_t len)
{
    MDB_val value = {.mv_size = len};

    memcpy(&value.mv_data, &data, sizeof(data));
    return value;
}

// ---------------------------------------------------------------------------------- opening

static int take_lock(struct pqb_env *e, const char *path)
{
    char name[PATH_MAX];

    if (snprintf(name, sizeof(name), "%s/LOCK", path) >= (int)sizeof(name))
        return PQB_ERR_INVALID;
    e->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (e->lock_fd < 0)
        return pqb_err_from_errno(errno);
    if (flock(e->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? PQB_ERR_LOCKED : pqb_err_from_errno(errno);
    return PQB_OK;
}

// A write that failed may still look done in the page cache; only what the disk gives back counts.
static int drop_page_cache(const char *file)
{
    const int fd = open(file, O_RDWR | O_CLOEXEC);
    int err = PQB_OK;

    if (fd < 0)
        return errno == ENOENT ? PQB_OK : pqb_err_from_errno(errno);
    if (fdatasync(fd) != 0)
        err = pqb_err_from_errno(errno);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); // advice: a refusal changes nothing
    close(fd);
    return err;
}

// Whether one of LMDB's two meta pages may have been begun and not have reached the disk: its first
// sector is blank or not there. Anything else but a meta page is not ours to judge: *is_foreign.
static bool is_blank_meta(int fd, off_t offset, bool *is_foreign)
{
    static const uint8_t blank[META_HEAD_LEN];
    uint8_t head[META_HEAD_LEN] = {0};
    uint32_t magic;

    if (pread(fd, head, sizeof(head), offset) < 0)
        *is_foreign = true;
    memcpy(&magic, head + META_MAGIC_AT, sizeof(magic));
    if (memcmp(head, blank, sizeof(head)) == 0)
        return true;
    *is_foreign = *is_foreign || magic != META_MAGIC;
    return false;
}

// LMDB makes a file by writing two meta pages without a sync; when power is lost then, one may be
// missing and LMDB takes the file for none of its own ever after. A file of these two pages alone
// never held a commit: it is emptied, which lets LMDB begin again.
static int forget_unfinished(const char *file)
{
    const off_t page_len = (off_t)sysconf(_SC_PAGESIZE);
    const int fd = open(file, O_RDWR | O_CLOEXEC);
    bool is_foreign = false, is_unfinished;
    struct stat st;
    int err = PQB_OK;

    if (fd < 0)
        return errno == ENOENT ? PQB_OK : pqb_err_from_errno(errno);
    if (fstat(fd, &st) != 0) {
        err = pqb_err_from_errno(errno);
    } else if (st.st_size > 0 && st.st_size <= 2 * page_len) {
        is_unfinished = is_blank_meta(fd, 0, &is_foreign);
        is_unfinished = is_blank_meta(fd, page_len, &is_foreign) || is_unfinished;
        if (is_unfinished && !is_foreign && ftruncate(fd, 0) != 0)
            err = pqb_err_from_errno(errno);
    }
    close(fd);
    return err;
}

static int prepare_directory(struct pqb_env *e, const char *path,
                             const struct pqb_env_options *options)
{
    char file[PATH_MAX];
    int err;

    if (snprintf(file, sizeof(file), "%s/data.mdb", path) >= (int)sizeof(file))
        return PQB_ERR_INVALID;
    if (!options->is_read_only && mkdir(path, 0700) != 0 && errno != EEXIST)
        return pqb_err_from_errno(errno);
    if (options->must_be_new && access(file, F_OK) == 0)
        return PQB_ERR_EXISTS;
    if (options->is_read_only && access(file, F_OK) != 0)
        return pqb_err_from_errno(errno);
    err = take_lock(e, path);
    if (err == PQB_OK && !options->is_sync_off && !options->is_read_only)
        err = drop_page_cache(file);
    if (err == PQB_OK && !options->is_read_only)
        err = forget_unfinished(file);
    return err;
}

static int open_environment(struct pqb_env *e, const char *path,
                            const struct pqb_env_options *options)
{
    // NOTLS: a view belongs to a shard, not to a thread; the simulator has them all on one.
    // NORDAHEAD is left off: the journal scan at start is sequential.
    unsigned flags = MDB_NOTLS;
    int rc = mdb_env_create(&e->env);

    if (rc == 0 && options->map_bytes > 0)
        rc = mdb_env_set_mapsize(e->env, options->map_bytes);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(e->env, TABLES_MAX);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(e->env, options->readers_max);
    if (options->is_sync_off)
        flags |= MDB_NOSYNC | MDB_NOMETASYNC;
    if (options->is_read_only)
        flags |= MDB_RDONLY | MDB_NOLOCK; // LOCK keeps everyone else away
    if (rc == 0)
        rc = mdb_env_open(e->env, path, flags, 0600);
    // A new file's meta pages must not be written by chance after pages of the first commit.
    if (rc == 0 && !options->is_read_only && !options->is_sync_off)
        rc = mdb_env_sync(e->env, 1);
    return pqb_err_from_mdb(rc);
}

static int open_tables(struct pqb_env *e, bool is_read_only)
{
    const struct {
        const char *name;
        MDB_dbi *dbi;
    } tables[TABLES_MAX] = {
        {"journal", &e->journal}, {"inbox", &e->inbox}, {"device", &e->device},
        {"user", &e->user},       {"name", &e->name},   {"meta", &e->meta},
    };
    MDB_stat stat;
    MDB_txn *txn;
    int rc = mdb_txn_begin(e->env, NULL, is_read_only ? MDB_RDONLY : 0, &txn);

    if (rc != 0)
        return pqb_err_from_mdb(rc);
    for (size_t i = 0; i < TABLES_MAX && rc == 0; i++)
        rc = mdb_dbi_open(txn, tables[i].name, is_read_only ? 0 : MDB_CREATE, tables[i].dbi);
    if (rc == 0)
        rc = mdb_stat(txn, e->meta, &stat);
    if (rc == 0) {
        e->page_len = stat.ms_psize;
        return pqb_err_from_mdb(mdb_txn_commit(txn));
    }
    mdb_txn_abort(txn);
    return rc == MDB_NOTFOUND ? PQB_ERR_VERSION : pqb_err_from_mdb(rc);
}

// Blocks that the file brought along count as allocated: on a file system that somebody else has
// filled meanwhile they are all there is, and free pages among them are room enough.
static void count_blocks(struct pqb_env *e)
{
    mdb_filehandle_t fd;
    struct stat st;

    if (mdb_env_get_fd(e->env, &fd) == 0 && fstat(fd, &st) == 0)
        e->allocated = (uint64_t)st.st_blocks * 512; // st_blocks counts in 512 whatever the disk
}

int pqb_env_open(struct pqb_env *e, const char *path, const struct pqb_env_options *options)
{
    int err;

    *e = (struct pqb_env){.lock_fd = -1};
    err = prepare_directory(e, path, options);
    if (err == PQB_OK)
        err = open_environment(e, path, options);
    if (err == PQB_OK)
        err = open_tables(e, options->is_read_only);
    if (err != PQB_OK)
        pqb_env_close(e);
    else
        count_blocks(e);
    return err;
}

static int sync_entries(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = fd < 0 || fsync(fd) != 0 ? pqb_err_from_errno(errno) : PQB_OK;

    if (fd >= 0)
        close(fd);
    return err;
}

int pqb_env_sync_directory(const char *path)
{
    char parent[PATH_MAX];
    const int err = sync_entries(path);

    if (err != PQB_OK)
        return err;
    if (snprintf(parent, sizeof(parent), "%s/..", path) >= (int)sizeof(parent))
        return PQB_ERR_INVALID;
    // One that we may not read was made by an operator, who made it durable.
    return access(parent, R_OK) == 0 ? sync_entries(parent) : PQB_OK;
}

void pqb_env_close(struct pqb_env *e)
{
    if (e->env != NULL)
        mdb_env_close(e->env);
    if (e->lock_fd >= 0)
        close(e->lock_fd);
    *e = (struct pqb_env){.lock_fd = -1};
}

// Each entry of the free list begins with the number of pages it names.
static int count_free_pages(MDB_txn *txn, uint64_t *out)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, FREE_DBI, &cursor);

    *out = 0;
    if (rc != 0)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        size_t count;

        memcpy(&count, value.mv_data, sizeof(count));
        *out += count;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int pqb_env_used_bytes(const struct pqb_env *e, uint64_t *out)
{
    uint64_t free_pages = 0;
    MDB_envinfo info;
    MDB_txn *txn;
    int rc = mdb_txn_begin(e->env, NULL, MDB_RDONLY, &txn);

    if (rc != 0)
        return pqb_err_from_mdb(rc);
    rc = count_free_pages(txn, &free_pages);
    mdb_txn_abort(txn);
    mdb_env_info(e->env, &info);
    *out = (info.me_last_pgno + 1 - PQB_MIN(free_pages, info.me_last_pgno)) * e->page_len;
    return pqb_err_from_mdb(rc);
}

unsigned pqb_env_clear_readers(const struct pqb_env *e)
{
    int dead = 0;

    return mdb_reader_check(e->env, &dead) == 0 ? (unsigned)dead : 0;
}

int pqb_env_allocate(struct pqb_env *e, uint64_t upto)
{
    mdb_filehandle_t fd;
    int rc;

    if (upto <= e->allocated)
        return PQB_OK;
    rc = mdb_env_get_fd(e->env, &fd);
    if (rc != 0)
        return pqb_err_from_mdb(rc);
    // The size stays: LMDB sets it by what it writes.
    do {
        rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)e->allocated, (off_t)(upto - e->allocated));
    } while (rc != 0 && errno == EINTR);
    if (rc != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
        return errno == EFBIG ? PQB_ERR_NO_SPACE : pqb_err_from_mdb(errno);
    e->allocated = upto;
    return PQB_OK;
}

// ---------------------------------------------------------------------------------- transactions

bool pqb_txn_is_open(const struct pqb_txn *t)
{
    return t->env != NULL;
}

void pqb_txn_begin(struct pqb_txn *t, struct pqb_env *e)
{
    PQB_ASSERT(!pqb_txn_is_open(t));
    *t = (struct pqb_txn){.env = e};
    t->err = pqb_err_from_mdb(mdb_txn_begin(e->env, NULL, 0, &t->txn));
}

void pqb_txn_fail(struct pqb_txn *t, int err)
{
    PQB_ASSERT(err < 0);
    if (t->err == PQB_OK)
        t->err = err;
}

static void latch(struct pqb_txn *t, int rc)
{
    if (rc != 0)
        pqb_txn_fail(t, pqb_err_from_mdb(rc));
}

void pqb_txn_put(struct pqb_txn *t, MDB_dbi dbi, const void *key, size_t key_len, const void *value,
                 size_t len, unsigned flags)
{
    void *room = pqb_txn_reserve(t, dbi, key, key_len, len, flags);

    if (room != NULL)
        memcpy(room, value, len);
}

void *pqb_txn_reserve(struct pqb_txn *t, MDB_dbi dbi, const void *key, size_t key_len, size_t len,
                      unsigned flags)
{
    MDB_val k = pqb_val(key, key_len);
    MDB_val v = {.mv_size = len};

    if (t->err != PQB_OK)
        return NULL;
    t->put_count++;
    latch(t, mdb_put(t->txn, dbi, &k, &v, flags | MDB_RESERVE));
    return t->err == PQB_OK ? v.mv_data : NULL;
}

void pqb_txn_del(struct pqb_txn *t, MDB_dbi dbi, const void *key, size_t key_len)
{
    MDB_val k = pqb_val(key, key_len);
    int rc;

    if (t->err != PQB_OK)
        return;
    t->put_count++;
    rc = mdb_del(t->txn, dbi, &k, NULL);
    latch(t, rc == MDB_NOTFOUND ? 0 : rc);
}

MDB_cursor *pqb_txn_cursor(struct pqb_txn *t, MDB_dbi dbi)
{
    MDB_cursor *cursor = NULL;

    if (t->err == PQB_OK)
        latch(t, mdb_cursor_open(t->txn, dbi, &cursor));
    return t->err == PQB_OK ? cursor : NULL;
}

int pqb_txn_get(struct pqb_txn *t, MDB_cursor *cursor, MDB_val *key, MDB_val *value,
                MDB_cursor_op op)
{
    const int rc = mdb_cursor_get(cursor, key, value, op);

    latch(t, rc == MDB_NOTFOUND ? 0 : rc);
    return rc;
}

int pqb_txn_commit(struct pqb_txn *t)
{
    int err = t->err;

    PQB_ASSERT(pqb_txn_is_open(t));
    if (err != PQB_OK) {
        pqb_txn_abort(t);
        return err;
    }
    err = pqb_err_from_mdb(mdb_txn_commit(t->txn)); // frees it in any case
    *t = (struct pqb_txn){0};
    return err;
}

void pqb_txn_abort(struct pqb_txn *t)
{
    if (t->txn != NULL)
        mdb_txn_abort(t->txn);
    *t = (struct pqb_txn){0};
}
