// Operating faults: what a call can return when the machine, not the programmer or the peer, is at
// fault. Success is 0, every error is negative.
#pragma once

enum pqb_err {
    PQB_OK = 0,
    PQB_ERR_NOMEM = -1,     // allocation failed
    PQB_ERR_FULL = -2,      // a bounded queue or table is full: an answer, not a fault
    PQB_ERR_AGAIN = -3,     // nothing now; call again later
    PQB_ERR_INVALID = -4,   // an argument or a setting is not acceptable
    PQB_ERR_NOT_FOUND = -5, // no such thing
    PQB_ERR_EXISTS = -6,    // already there
    PQB_ERR_CORRUPT = -7,   // stored bytes do not check
    PQB_ERR_IO = -8,        // the operating system refused; errno has been mapped
    PQB_ERR_NO_SPACE = -9,  // disk or map is full
    PQB_ERR_TOO_LARGE = -10,
    PQB_ERR_TIMEOUT = -11,
    PQB_ERR_CLOSED = -12,
    PQB_ERR_VERSION = -13, // file or peer of another format version
    PQB_ERR_LOCKED = -14,  // another process holds it
};

// Short lower-case name of `err` ("no_space"), for logs. Never NULL.
const char *pqb_err_name(int err);

// Maps an errno value to the nearest enum pqb_err.
int pqb_err_from_errno(int errnum);
