// Replays a corpus without libFuzzer: every file of the folder that is named, then every prefix of
// it, so that truncation is tried at each byte.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dirent.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

#define FILE_MAX_LEN (1 << 20)
#define PREFIXES_LEN 2048 // longer files are tried whole only

static void replay(const uint8_t *data, size_t len)
{
    // A copy of the exact size lets a sanitizer or valgrind see a read too far.
    uint8_t *copy = malloc(len > 0 ? len : 1);

    if (!copy)
        abort();
    memcpy(copy, data, len);
    (void)LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static bool replay_file(const char *folder, const char *name)
{
    static uint8_t data[FILE_MAX_LEN];
    char path[4096];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return false;
    }
    const size_t len = fread(data, 1, sizeof(data), file);
    (void)fclose(file);
    replay(data, len);
    for (size_t prefix = 0; len <= PREFIXES_LEN && prefix < len; prefix++)
        replay(data, prefix);
    return true;
}

int main(int argc, char **argv)
{
    struct dirent **entries;
    int replayed = 0;

    if (argc != 2) {
        (void)fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
        return 2;
    }
    const int count = scandir(argv[1], &entries, NULL, alphasort);
    if (count < 0) {
        perror(argv[1]);
        return 2;
    }
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.')
            replayed += replay_file(argv[1], entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    (void)printf("%d inputs replayed\n", replayed);
    return replayed > 0 ? 0 : 1;
}
