// Calls of LMDB that fail on request, having done nothing. The names are the linker's; LMDB's
// header is for storage alone, so its objects are mere pointers here.
#include <stddef.h>

#include <sys/types.h>

#include "tests/unit/faults.h"

// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl51-cpp,readability-identifier-naming)
#define WRAP(name, parameters, arguments)   \
    int __real_##name parameters;           \
    int __wrap_##name parameters;           \
    int __wrap_##name parameters            \
    {                                       \
        if (faults_strike(FAULT_TABLE_ANY)) \
            return faults_error();          \
        return __real_##name arguments;     \
    }
#define WRAP_WRITE(name, parameters, arguments)                                 \
    int __real_##name parameters;                                               \
    int __wrap_##name parameters;                                               \
    int __wrap_##name parameters                                                \
    {                                                                           \
        if (faults_strike(FAULT_TABLE_ANY) || faults_strike(FAULT_TABLE_WRITE)) \
            return faults_error();                                              \
        return __real_##name arguments;                                         \
    }

WRAP(mdb_env_create, (void **out), (out))
WRAP(mdb_env_open, (void *env, const char *path, unsigned flags, mode_t mode),
     (env, path, flags, mode))
WRAP(mdb_env_set_mapsize, (void *env, size_t size), (env, size))
WRAP(mdb_txn_begin, (void *env, void *parent, unsigned flags, void **out),
     (env, parent, flags, out))
WRAP(mdb_txn_renew, (void *txn), (txn))
WRAP(mdb_dbi_open, (void *txn, const char *name, unsigned flags, unsigned *out),
     (txn, name, flags, out))
WRAP(mdb_get, (void *txn, unsigned dbi, void *key, void *value), (txn, dbi, key, value))
WRAP(mdb_stat, (void *txn, unsigned dbi, void *out), (txn, dbi, out))
WRAP(mdb_cursor_open, (void *txn, unsigned dbi, void **out), (txn, dbi, out))
WRAP(mdb_cursor_renew, (void *txn, void *cursor), (txn, cursor))
WRAP(mdb_cursor_get, (void *cursor, void *key, void *value, unsigned op), (cursor, key, value, op))
WRAP_WRITE(mdb_put, (void *txn, unsigned dbi, void *key, void *value, unsigned flags),
           (txn, dbi, key, value, flags))
WRAP_WRITE(mdb_del, (void *txn, unsigned dbi, void *key, void *value), (txn, dbi, key, value))
WRAP_WRITE(mdb_cursor_del, (void *cursor, unsigned flags), (cursor, flags))
WRAP_WRITE(mdb_env_sync, (void *env, int force), (env, force))

// A commit that fails has ended the transaction.
void mdb_txn_abort(void *txn);
int __real_mdb_txn_commit(void *txn);
int __wrap_mdb_txn_commit(void *txn);

int __wrap_mdb_txn_commit(void *txn)
{
    if (!faults_strike(FAULT_TABLE_ANY) && !faults_strike(FAULT_TABLE_WRITE))
        return __real_mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return faults_error();
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl51-cpp,readability-identifier-naming)
