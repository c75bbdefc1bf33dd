// A consistent copy of a running store: one read snapshot, table by table into a new environment.
//
// Not mdb_env_copy2: while a snapshot is held the running store cannot reuse a page, and a copy
// that takes minutes under load would fill its map. Here the pages that are held back are counted
// as the copy goes on, and it gives up rather than go over its budget.
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "storage/store_internal.h"

#define FREE_DBI 0
#define CHUNK_BYTES_MAX \
    (UINT64_C(4) << 20) // copied in one transaction, between looks at the budget
#define TABLE_COUNT 6

struct copy {
    struct pqb_store *s;
    const struct pqb_env *from;
    struct pqb_env to;
    MDB_txn *snapshot;
    struct pqb_txn txn;
    uint64_t pages_max;
    uint64_t chunk_bytes;
};

// Pages that the running store has let go of since the snapshot and cannot reuse because of it.
static int check_budget(const struct copy *c)
{
    size_t since = mdb_txn_id(c->snapshot);
    MDB_val key = {.mv_size = sizeof(since), .mv_data = &since};
    uint64_t held = 0;
    MDB_cursor *cursor;
    MDB_val value;
    MDB_txn *txn;
    int rc = mdb_txn_begin(c->from->env, NULL, MDB_RDONLY, &txn);

    if (rc != 0)
        return pqb_err_from_mdb(rc);
    rc = mdb_cursor_open(txn, FREE_DBI, &cursor);
    if (rc == 0) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        for (; rc == 0; rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
            size_t count;

            memcpy(&count, value.mv_data, sizeof(count));
            held += count;
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    if (rc != MDB_NOTFOUND)
        return pqb_err_from_mdb(rc);
    return held > c->pages_max ? PQB_ERR_NO_SPACE : PQB_OK;
}

static int end_chunk(struct copy *c)
{
    int err = pqb_store_failpoint(c->s, PQB_FAIL_BACKUP_CHUNK);

    if (err != PQB_OK)
        pqb_txn_fail(&c->txn, err);
    err = pqb_txn_commit(&c->txn);
    c->chunk_bytes = 0;
    pqb_txn_begin(&c->txn, &c->to);
    return err != PQB_OK ? err : check_budget(c);
}

static int copy_table(struct copy *c, MDB_dbi from, MDB_dbi to)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int err = PQB_OK;
    int rc = mdb_cursor_open(c->snapshot, from, &cursor);

    if (rc != 0)
        return pqb_err_from_mdb(rc);
    while (err == PQB_OK && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        pqb_txn_put(&c->txn, to, key.mv_data, key.mv_size, value.mv_data, value.mv_size,
                    MDB_APPEND);
        c->chunk_bytes += key.mv_size + value.mv_size;
        if (c->txn.err != PQB_OK || c->chunk_bytes >= CHUNK_BYTES_MAX)
            err = end_chunk(c);
    }
    mdb_cursor_close(cursor);
    if (err == PQB_OK && rc != MDB_NOTFOUND)
        err = pqb_err_from_mdb(rc);
    return err;
}

static int copy_tables(struct copy *c)
{
    const struct pqb_env *from = c->from;
    const struct pqb_env *to = &c->to;
    const struct {
        MDB_dbi from, to;
    } tables[TABLE_COUNT] = {
        {from->journal, to->journal}, {from->inbox, to->inbox}, {from->device, to->device},
        {from->user, to->user},       {from->name, to->name},   {from->meta, to->meta},
    };
    const uint8_t yes = 1;
    int err = PQB_OK;

    pqb_txn_begin(&c->txn, &c->to);
    for (size_t i = 0; i < TABLE_COUNT && err == PQB_OK; i++)
        err = copy_table(c, tables[i].from, tables[i].to);
    if (err == PQB_OK)
        err = pqb_store_failpoint(c->s, PQB_FAIL_BACKUP_MARK);
    if (err == PQB_OK) {
        pqb_meta_put(&c->txn, pqb_meta_restored_key, &yes, sizeof(yes));
        err = end_chunk(c);
    }
    pqb_txn_abort(&c->txn);
    if (err == PQB_OK)
        err = pqb_store_failpoint(c->s, PQB_FAIL_BACKUP_SYNC);
    return err == PQB_OK ? pqb_err_from_mdb(mdb_env_sync(c->to.env, 1)) : err;
}

// A half copy must not be taken for a backup.
static void remove_copy(const char *path)
{
    static const char *const files[] = {"data.mdb", "lock.mdb", "LOCK"};
    char name[PATH_MAX];

    for (size_t i = 0; i < PQB_ARRAY_LEN(files); i++) {
        if (snprintf(name, sizeof(name), "%s/%s", path, files[i]) < (int)sizeof(name))
            (void)unlink(name);
    }
    (void)rmdir(path);
}

int pqb_store_backup(struct pqb_store *s, const char *path, uint64_t pages_max)
{
    const struct pqb_env_options options = {
        .map_bytes = s->config.map_bytes,
        .readers_max = 1,
        .is_sync_off = true, // once, at the end
        .must_be_new = true,
    };
    struct copy c = {.s = s, .from = &s->env, .pages_max = pages_max};
    int err = pqb_env_open(&c.to, path, &options);

    if (err != PQB_OK)
        return err;
    err = pqb_store_failpoint(s, PQB_FAIL_BACKUP_OPENED);
    if (err == PQB_OK)
        err = pqb_err_from_mdb(mdb_txn_begin(s->env.env, NULL, MDB_RDONLY, &c.snapshot));
    if (err == PQB_OK) {
        err = copy_tables(&c);
        mdb_txn_abort(c.snapshot);
    }
    pqb_env_close(&c.to);
    if (err == PQB_OK)
        err = pqb_env_sync_directory(path);
    if (err == PQB_OK)
        err = pqb_store_failpoint(s, PQB_FAIL_BACKUP_FINISHED);
    if (err != PQB_OK)
        remove_copy(path);
    return err;
}
