// The LMDB environment of a data directory: opening, named tables, the lock file, errors, and a
// write transaction that latches its first error. The writer's, but for readers' own transactions.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lmdb.h>

#include "common/base/defs.h"

struct pqb_env {
    MDB_env *env;
    MDB_dbi journal, inbox, device, user, name, meta;
    int lock_fd; // -1: none
    size_t page_len;
    uint64_t allocated; // bytes of the file that have blocks on disk for sure
};

struct pqb_env_options {
    size_t map_bytes; // 0: what the file says (read-only)
    uint32_t readers_max;
    bool is_sync_off;
    bool is_read_only;
    bool must_be_new; // PQB_ERR_EXISTS when the directory holds a store
};

// Takes the lock, drops the page cache of the file, opens. On error everything is released.
PQB_MUST_USE int pqb_env_open(struct pqb_env *e, const char *path,
                              const struct pqb_env_options *options);
void pqb_env_close(struct pqb_env *e); // harmless on a closed one

// Makes the directory's files and its own name durable; LMDB syncs the content alone.
PQB_MUST_USE int pqb_env_sync_directory(const char *path);

int pqb_err_from_mdb(int rc);

// A key or value for LMDB, whose struct is not const though it only reads.
MDB_val pqb_val(const void *data, size_t len);

// Bytes of the map in use: pages ever touched less those on the free list. PQB_OK or an error.
PQB_MUST_USE int pqb_env_used_bytes(const struct pqb_env *e, uint64_t *out);

// Frees the snapshots of programs that died holding one: the pages they pin could not be used
// again. Returns how many there were.
unsigned pqb_env_clear_readers(const struct pqb_env *e);

// Blocks on disk for the file's first `upto` bytes, so that growing into them can't fail: LMDB
// reports a write cut short by a full disk as EIO, like a broken disk. PQB_ERR_NO_SPACE,
// PQB_ERR_IO. A file system that makes no such promises counts as having room.
PQB_MUST_USE int pqb_env_allocate(struct pqb_env *e, uint64_t upto);

// A write transaction. After the first failure every call does nothing and commit reports it.
struct pqb_txn {
    struct pqb_env *env;
    MDB_txn *txn; // NULL: none open
    int err;      // latched enum pqb_err
    uint64_t put_count;
};

bool pqb_txn_is_open(const struct pqb_txn *t);
void pqb_txn_begin(struct pqb_txn *t, struct pqb_env *e);
void pqb_txn_fail(struct pqb_txn *t, int err);
void pqb_txn_put(struct pqb_txn *t, MDB_dbi dbi, const void *key, size_t key_len, const void *value,
                 size_t len, unsigned flags);
// Room for a value of `len` bytes, valid until the next change; NULL after a failure.
void *pqb_txn_reserve(struct pqb_txn *t, MDB_dbi dbi, const void *key, size_t key_len, size_t len,
                      unsigned flags);
void pqb_txn_del(struct pqb_txn *t, MDB_dbi dbi, const void *key, size_t key_len); // may be absent
// A cursor on `dbi`; NULL after a failure. Close it before the transaction ends.
MDB_cursor *pqb_txn_cursor(struct pqb_txn *t, MDB_dbi dbi);
// mdb_cursor_get, whose failures are the transaction's unless nothing was found: what could not be
// read must not pass for what is not there. LMDB's result.
PQB_MUST_USE int pqb_txn_get(struct pqb_txn *t, MDB_cursor *cursor, MDB_val *key, MDB_val *value,
                             MDB_cursor_op op);
PQB_MUST_USE int pqb_txn_commit(struct pqb_txn *t);
void pqb_txn_abort(struct pqb_txn *t); // harmless when none is open
