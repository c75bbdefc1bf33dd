"""A store's file as LMDB sees it, for tests that damage it or read it behind the gateway's back.

As a program it takes a snapshot, says so, and keeps it until it is killed:  lmdb_file.py DIR
"""
import contextlib
import ctypes
import signal
import sys

RDONLY, FIRST, NEXT, CURRENT = 0x20000, 0, 8, 0x40
LIB = ctypes.CDLL("liblmdb.so.0")


class Value(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("data", ctypes.c_void_p)]

    def bytes(self):
        return ctypes.string_at(self.data, self.size)


def value_of(data):
    buffer = ctypes.create_string_buffer(data, len(data))
    return Value(len(data), ctypes.cast(buffer, ctypes.c_void_p)), buffer


def check(status):
    if status != 0:
        LIB.mdb_strerror.restype = ctypes.c_char_p
        raise OSError(f"lmdb: {LIB.mdb_strerror(status).decode()}")


class Transaction:
    def __init__(self, env, flags):
        self.txn, self.env = ctypes.c_void_p(), env
        check(LIB.mdb_txn_begin(env, None, ctypes.c_uint(flags), ctypes.byref(self.txn)))

    def table(self, name):
        dbi = ctypes.c_uint()
        check(LIB.mdb_dbi_open(self.txn, name.encode(), 0, ctypes.byref(dbi)))
        return dbi

    def items(self, name):
        """All (key, value) of a table, as bytes."""
        cursor, key, value, found = ctypes.c_void_p(), Value(), Value(), []
        check(LIB.mdb_cursor_open(self.txn, self.table(name), ctypes.byref(cursor)))
        at = FIRST
        while LIB.mdb_cursor_get(cursor, ctypes.byref(key), ctypes.byref(value), at) == 0:
            found.append((key.bytes(), value.bytes()))
            at = NEXT
        LIB.mdb_cursor_close(cursor)
        return found

    def put(self, name, key, data):
        k, _keep = value_of(key)
        v, _also = value_of(data)
        check(LIB.mdb_put(self.txn, self.table(name), ctypes.byref(k), ctypes.byref(v), 0))


@contextlib.contextmanager
def transaction(directory, is_write=False):
    """Of the environment in `directory`; committed at the end when it is a writing one."""
    env = ctypes.c_void_p()
    check(LIB.mdb_env_create(ctypes.byref(env)))
    check(LIB.mdb_env_set_maxdbs(env, 8))
    check(LIB.mdb_env_open(env, directory.encode(), 0 if is_write else RDONLY, 0o600))
    txn = Transaction(env, 0 if is_write else RDONLY)
    try:
        yield txn
        if is_write:
            check(LIB.mdb_txn_commit(txn.txn))
        else:
            LIB.mdb_txn_abort(txn.txn)
    finally:
        LIB.mdb_env_close(env)


if __name__ == "__main__":
    with transaction(sys.argv[1]) as snapshot:
        assert snapshot.items("meta")
        print("holding", flush=True)
        signal.pause()
