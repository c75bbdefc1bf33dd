// Power loss: a store lives on a disk that logs what it is asked to write and sync, and what the
// clients are told meanwhile. From the log, files are made as a power loss could leave them: what
// was synced, and of the rest any part, torn between sectors. Each must open, verify, and hold
// every promise made before that point. A further one in ten has a bit flipped in a stored message.
//
//   power [--seed N] [--images N] [--image I] [--prefixes]
//         [--lie sync|dsync|both]   the disk lies: exit 0 when that is found out, 1 otherwise
//   --prefixes   an image of every synced prefix besides (as with PQB_LONG=1)
//
// A failing image is named by seed and index, which make it again.
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/check.h"
#include "tests/crash/power_check.h"
#include "tests/crash/power_disk.h"
#include "tests/crash/power_life.h"
#include "tests/crash/power_log.h"

#define IMAGES          100
#define IMAGES_LONG     2500
#define IMAGES_PER_LIFE 250
#define FLIP_EVERY      10
#define BIRTH_EVERY     10 // one image in so many is of the store's first opening
#define SECONDS_MAX     60 // for one image
#define SECONDS_MAX_LIE 3  // LMDB may walk in circles in what a lying disk leaves
#define SHOWN_MAX       3  // images with findings whose findings are shown

struct options {
    uint64_t seed;
    size_t images;
    bool has_prefixes;
    size_t only; // SIZE_MAX: all
    enum power_lie lie;
};

struct run {
    struct options options;
    char path[64];
    struct pqb_store_config config;
    struct power_plan plan;
    struct power_log log;
    size_t start; // of the log: the store is open
    size_t done, failed, flipped, syncs;
};

static void remove_directory(const char *path)
{
    static const char *const files[] = {"data.mdb", "lock.mdb", "LOCK"};
    char file[128];

    for (size_t i = 0; i < PQB_ARRAY_LEN(files); i++) {
        (void)snprintf(file, sizeof(file), "%s/%s", path, files[i]);
        (void)unlink(file);
    }
    (void)rmdir(path);
}

static void make_directory(char *path, size_t size)
{
    (void)snprintf(path, size, "%s/pqb-power-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    PQB_ASSERT(mkdtemp(path) != NULL);
}

static void write_file(const char *path, const struct power_bytes *bytes)
{
    char file[128];
    FILE *out;

    (void)snprintf(file, sizeof(file), "%s/data.mdb", path);
    out = fopen(file, "wb");
    PQB_ASSERT(out != NULL);
    if (bytes->len > 0)
        PQB_ASSERT(fwrite(bytes->data, 1, bytes->len, out) == bytes->len);
    PQB_ASSERT(fclose(out) == 0);
}

// ---------------------------------------------------------------------------------- bit flips

// A letter that must be there; SIZE_MAX: there is none.
static size_t pick_letter(const struct run *run, const struct power_promises *p,
                          struct pqb_rng *rng)
{
    const size_t count = run->plan.letter_count;
    const size_t first = (size_t)pqb_rng_below(rng, count);

    for (size_t i = 0; i < count; i++) {
        const size_t letter = (first + i) % count;

        if (p->iseq[letter] > p->floor[run->plan.letters[letter].to])
            return letter;
    }
    return SIZE_MAX;
}

// One bit of the letter's beginning, in every copy: nobody knows which of them are current.
static void flip(struct power_bytes *image, size_t letter, struct pqb_rng *rng)
{
    uint8_t body[POWER_BODY_TAG];
    const size_t at = (size_t)pqb_rng_below(rng, sizeof(body));
    const uint8_t bit = (uint8_t)(1U << pqb_rng_below(rng, 8));
    uint8_t *from = image->data;
    uint8_t *const end = image->data + image->len;
    uint8_t *found;

    power_letter_body(letter, sizeof(body), body);
    while ((found = memmem(from, (size_t)(end - from), body, sizeof(body))) != NULL) {
        found[at] ^= bit;
        from = found + sizeof(body);
    }
}

// ---------------------------------------------------------------------------------- images

// In a process of its own: a file that is no store any more may end it.
static bool check_image(struct run *run, const struct power_bytes *image,
                        const struct power_promises *promises, size_t damaged)
{
    struct pqb_store_config config = run->config;
    char path[64];
    int status = 0;
    pid_t pid;

    make_directory(path, sizeof(path));
    write_file(path, image);
    config.path = path;
    (void)fflush(NULL);
    pid = fork();
    PQB_ASSERT(pid >= 0);
    if (pid == 0) {
        (void)alarm(run->options.lie == POWER_HONEST ? SECONDS_MAX : SECONDS_MAX_LIE);
        if (run->options.lie != POWER_HONEST || run->failed >= SHOWN_MAX)
            PQB_ASSERT(freopen("/dev/null", "w", stderr) != NULL);
        _exit(power_check(&config, &run->plan, promises, damaged) ? 0 : 1);
    }
    while (waitpid(pid, &status, 0) < 0)
        PQB_ASSERT(errno == EINTR);
    remove_directory(path);
    if (WIFSIGNALED(status) && run->options.lie == POWER_HONEST)
        (void)fprintf(stderr, "    ended by signal %d\n", WTERMSIG(status));
    // A lie is found out by what the check says; that a broken file ends it proves nothing.
    if (run->options.lie != POWER_HONEST)
        return !WIFEXITED(status) || WEXITSTATUS(status) != 1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static enum power_loss loss_of(size_t index)
{
    static const enum power_loss losses[] = {POWER_LOSE_ALL, POWER_LOSE_SECTORS, POWER_LOSE_WRITES,
                                             POWER_LOSE_SECTORS, POWER_LOSE_NONE};

    return losses[index % PQB_ARRAY_LEN(losses)];
}

static void do_image(struct run *run, const struct power_disk *disk,
                     const struct power_promises *promises, uint64_t life, size_t index,
                     size_t entry, enum power_loss loss)
{
    const bool is_flip = run->options.lie == POWER_HONEST && index < run->options.images &&
                         index % FLIP_EVERY == FLIP_EVERY - 1;
    size_t damaged = POWER_UNDAMAGED;
    struct power_bytes image = {0};
    struct pqb_rng rng;

    pqb_rng_init_seed(&rng, life * 1000003 + index);
    power_disk_image(disk, loss, &rng, &image);
    if (is_flip && promises->has_opened)
        damaged = pick_letter(run, promises, &rng);
    if (damaged != POWER_UNDAMAGED) {
        flip(&image, damaged, &rng);
        run->flipped++;
    }
    run->done++;
    if (!check_image(run, &image, promises, damaged)) {
        run->failed++;
        if (run->options.lie == POWER_HONEST)
            printf("image %zu FAILED: life %llu, power lost at entry %zu of %zu%s; again: "
                   "--seed %llu --images %zu --image %zu%s\n",
                   index, (unsigned long long)life, entry, run->log.count,
                   damaged == POWER_UNDAMAGED ? "" : ", with a bit flipped",
                   (unsigned long long)run->options.seed, run->options.images, index,
                   index < run->options.images ? "" : " --prefixes");
    }
    power_bytes_fini(&image);
}

// How much of the log was done when power is lost for this image of a life's. The making of the
// store is short and gets its share; a lying disk begins to lie after it.
static size_t entry_of(const struct run *run, size_t index, size_t count)
{
    const size_t births = run->options.lie == POWER_HONEST ? count / BIRTH_EVERY : 0;

    if (index < births)
        return index * run->start / births;
    return run->start + (index - births + 1) * (run->log.count - run->start) / (count - births);
}

// Each synced prefix is an image of its own, if that is asked for.
static void on_entry_done(struct run *run, const struct power_disk *disk,
                          const struct power_promises *promises, uint64_t life, size_t entry)
{
    const enum power_kind kind = run->log.entries[entry].kind;
    size_t index;

    if (kind != POWER_SYNC && kind != POWER_DSYNC)
        return;
    index = run->options.images + run->syncs++;
    if (run->options.has_prefixes && (run->options.only == SIZE_MAX || run->options.only == index))
        do_image(run, disk, promises, life, index, entry + 1, POWER_LOSE_ALL);
}

// One life, and `count` images of it, in the order of their points in the log.
static void do_life(struct run *run, uint64_t life, size_t first, size_t count)
{
    struct power_disk disk = {.lie = POWER_HONEST};
    struct power_promises *promises = calloc(1, sizeof(*promises));
    size_t index = 0;

    PQB_ASSERT(promises != NULL);
    make_directory(run->path, sizeof(run->path));
    power_life_config(&run->config, run->path);
    power_life_run(&run->config, life, &run->plan, &run->log, &run->start);
    remove_directory(run->path);
    for (size_t i = 0; i <= run->log.count; i++) {
        if (i == run->start) {
            promises->has_opened = true;
            disk.lie = run->options.lie;
        }
        for (; index < count && entry_of(run, index, count) == i; index++)
            if (run->options.only == SIZE_MAX || run->options.only == first + index)
                do_image(run, &disk, promises, life, first + index, i, loss_of(index));
        if (i < run->log.count) {
            power_disk_apply(&disk, &run->log.entries[i]);
            power_promises_apply(promises, &run->plan, &run->log.entries[i]);
            on_entry_done(run, &disk, promises, life, i);
        }
    }
    PQB_ASSERT(index == count);
    power_disk_fini(&disk);
    power_log_fini(&run->log);
    free(promises);
}

// ---------------------------------------------------------------------------------- options

static int wrong_use(const char *what)
{
    (void)fprintf(stderr,
                  "power: %s\nUsage: power [--seed N] [--images N] [--image I] [--prefixes] "
                  "[--lie sync|dsync|both]\n",
                  what);
    return 2;
}

static bool parse_lie(const char *text, enum power_lie *out)
{
    static const char *const lies[] = {"none", "sync", "dsync", "both"};

    for (size_t i = 0; i < PQB_ARRAY_LEN(lies); i++)
        if (strcmp(text, lies[i]) == 0) {
            *out = (enum power_lie)i;
            return true;
        }
    return false;
}

static int parse(struct options *o, int argc, char **argv)
{
    int i = 1;

    while (i < argc) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--prefixes") == 0) {
            o->has_prefixes = true;
            i--; // no value follows
        } else if (strcmp(argv[i], "--seed") == 0) {
            o->seed = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--images") == 0) {
            o->images = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--image") == 0) {
            o->only = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--lie") != 0 || !parse_lie(value, &o->lie)) {
            return wrong_use(argv[i]);
        }
        i += 2;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct run run;
    const char *is_long = getenv("PQB_LONG");
    struct options *o = &run.options;
    struct timespec now;
    int status;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    o->seed = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    o->has_prefixes = is_long != NULL && strcmp(is_long, "1") == 0;
    o->images = o->has_prefixes ? IMAGES_LONG : IMAGES;
    o->only = SIZE_MAX;
    status = parse(o, argc, argv);
    if (status != 0)
        return status;
    printf("seed %llu\n", (unsigned long long)o->seed);
    for (size_t first = 0; first < o->images; first += IMAGES_PER_LIFE)
        do_life(&run, o->seed + first / IMAGES_PER_LIFE, first,
                PQB_MIN(o->images - first, (size_t)IMAGES_PER_LIFE));
    printf("%zu images (%zu with a bit flipped) of %zu synced prefixes, %zu failed\n", run.done,
           run.flipped, run.syncs, run.failed);
    if (o->lie != POWER_HONEST)
        return run.failed > 0 ? 0 : 1;
    return run.failed > 0 ? 1 : 0;
}
