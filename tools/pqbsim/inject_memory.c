// How much memory the gateway holds, as the kernel tells it.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
