// Sending and receiving that fails on request. The names are the linker's.
#include <errno.h>
#include <stddef.h>

#include <sys/socket.h>

#include "tests/unit/faults.h"

// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl51-cpp,readability-identifier-naming)
ssize_t __real_send(int fd, const void *data, size_t len, int flags);
ssize_t __real_recv(int fd, void *data, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t len, int flags);

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
    if (!faults_strike(FAULT_SEND))
        return __real_send(fd, data, len, flags);
    errno = faults_error();
    return -1;
}

ssize_t __wrap_recv(int fd, void *data, size_t len, int flags)
{
    if (!faults_strike(FAULT_RECEIVE))
        return __real_recv(fd, data, len, flags);
    errno = faults_error();
    return -1;
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl51-cpp,readability-identifier-naming)
