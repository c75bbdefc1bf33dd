#include "gateway/io/os_env.h"

#include <errno.h>
#include <time.h>

#include <sys/random.h>

#include "common/base/check.h"
#include "common/base/err.h"

pqb_tstamp pqb_os_now(pqb_tstamp *last)
{
    struct timespec ts;
    pqb_tstamp now;

    PQB_ASSERT(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
    now = (pqb_tstamp)ts.tv_sec * PQB_NS_PER_SEC + (pqb_tstamp)ts.tv_nsec;
    if (now < *last)
        now = *last;
    *last = now;
    return now;
}

pqb_wall_ms pqb_os_wall(void)
{
    struct timespec ts;

    PQB_ASSERT(clock_gettime(CLOCK_REALTIME, &ts) == 0);
    return ts.tv_sec < 0 ? 0
                         : (pqb_wall_ms)ts.tv_sec * 1000 + (pqb_wall_ms)ts.tv_nsec / PQB_NS_PER_MS;
}

int pqb_os_entropy(void *out, size_t len)
{
    size_t at = 0;

    while (at < len) {
        const ssize_t got = getrandom((char *)out + at, len - at, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return PQB_ERR_IO;
        at += (size_t)got;
    }
    return PQB_OK;
}
