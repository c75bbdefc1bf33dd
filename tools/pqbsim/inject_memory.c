// What the gateway takes of the machine, as the kernel tells it.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include "tools/pqbsim/inject.h"

uint64_t inject_memory_of(uint64_t pid)
{
    static const char key[] = "RssAnon:";
    char path[64], line[256];
    uint64_t kib = 0;
    FILE *status;

    (void)snprintf(path, sizeof(path), "/proc/%" PRIu64 "/status", pid);
    status = fopen(path, "re");
    if (status == NULL)
        return 0; // another machine's, or hidden
    while (kib == 0 && fgets(line, sizeof(line), status) != NULL) {
        if (strncmp(line, key, sizeof(key) - 1) == 0)
            kib = strtoull(line + sizeof(key) - 1, NULL, 10);
    }
    (void)fclose(status);
    return kib * 1024;
}

// proc(5): behind the name, which may hold anything, stand the state and many numbers; the 12th and
// 13th are utime and stime.
pqb_duration inject_cpu_of(uint64_t pid)
{
    const long hertz = sysconf(_SC_CLK_TCK);
    char path[64], line[1024];
    uint64_t ticks = 0;
    char *at = NULL;
    FILE *stat;

    (void)snprintf(path, sizeof(path), "/proc/%" PRIu64 "/stat", pid);
    stat = fopen(path, "re");
    if (stat == NULL)
        return 0;
    if (fgets(line, sizeof(line), stat) != NULL)
        at = strrchr(line, ')');
    (void)fclose(stat);
    if (at == NULL || strlen(at) < 4 || hertz <= 0)
        return 0;
    at += 3;
    for (int i = 2; i <= 13; i++) {
        const uint64_t value = strtoull(at, &at, 10);

        ticks += i >= 12 ? value : 0;
    }
    return ticks * (PQB_NS_PER_SEC / (uint64_t)hertz);
}

uint64_t inject_memory_quiet(const struct inject *in)
{
    (void)in;
    return INJECT_MEMORY_QUIET;
}

uint64_t inject_memory_logins(const struct inject *in)
{
    return INJECT_MEMORY_QUIET + in->half_open_max * INJECT_MEMORY_LOGIN;
}
