#include "common/base/err.h"

#include <errno.h>
#include <stddef.h>

#include "common/base/defs.h"

const char *pqb_err_name(int err)
{
    switch ((enum pqb_err)err) {
    case PQB_OK:
        return "ok";
    case PQB_ERR_NOMEM:
        return "nomem";
    case PQB_ERR_FULL:
        return "full";
    case PQB_ERR_AGAIN:
        return "again";
    case PQB_ERR_INVALID:
        return "invalid";
    case PQB_ERR_NOT_FOUND:
        return "not_found";
    case PQB_ERR_EXISTS:
        return "exists";
    case PQB_ERR_CORRUPT:
        return "corrupt";
    case PQB_ERR_IO:
        return "io";
    case PQB_ERR_NO_SPACE:
        return "no_space";
    case PQB_ERR_TOO_LARGE:
        return "too_large";
    case PQB_ERR_TIMEOUT:
        return "timeout";
    case PQB_ERR_CLOSED:
        return "closed";
    case PQB_ERR_VERSION:
        return "version";
    case PQB_ERR_LOCKED:
        return "locked";
    }
    return "unknown";
}

struct errno_entry {
    int errnum;
    enum pqb_err err;
};

static const struct errno_entry errno_map[] = {
    {0, PQB_OK},
    {ENOMEM, PQB_ERR_NOMEM},
    {ENOBUFS, PQB_ERR_AGAIN}, // a full socket buffer drains by itself
    {EAGAIN, PQB_ERR_AGAIN},
    {EINTR, PQB_ERR_AGAIN},
    {EINVAL, PQB_ERR_INVALID},
    {EDOM, PQB_ERR_INVALID},
    {ENOENT, PQB_ERR_NOT_FOUND},
    {EEXIST, PQB_ERR_EXISTS},
    {EADDRINUSE, PQB_ERR_EXISTS},
    {ENOSPC, PQB_ERR_NO_SPACE},
    {EDQUOT, PQB_ERR_NO_SPACE},
    {EMSGSIZE, PQB_ERR_TOO_LARGE},
    {EFBIG, PQB_ERR_TOO_LARGE},
    {E2BIG, PQB_ERR_TOO_LARGE},
    {ERANGE, PQB_ERR_TOO_LARGE},
    {ETIMEDOUT, PQB_ERR_TIMEOUT},
    {EPIPE, PQB_ERR_CLOSED},
    {ECONNRESET, PQB_ERR_CLOSED},
    {ECONNREFUSED, PQB_ERR_CLOSED},
    {EBUSY, PQB_ERR_LOCKED},
};

int pqb_err_from_errno(int errnum)
{
    for (size_t i = 0; i < PQB_ARRAY_LEN(errno_map); i++) {
        if (errno_map[i].errnum == errnum)
            return errno_map[i].err;
    }
    return PQB_ERR_IO;
}
