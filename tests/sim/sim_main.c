// Runs seeds of the simulator, each in a process of its own, and says what broke.
//
//   sim_runner --seeds 1-20            fixed seeds
//   sim_runner --fresh 20              seeds from the operating system
//   sim_runner --seed 7 --trace        one seed, in this process, every event printed
//   sim_runner --seed 7 --set loss=0   with a parameter changed
//   sim_runner --seeds 1-5 --repeat    each twice: the second run must go the same way
//   sim_runner --mutant NAME ...       with a planted bug: done when a seed finds it
//
// Exit: 0 every seed passed (with --mutant: one seed failed), 1 otherwise, 2 wrong use.
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <getopt.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/defs.h"
#include "common/base/mutant.h"
#include "tests/sim/sim_plan.h"
#include "tests/sim/sim_trace.h"
#include "tests/sim/sim_world.h"

#define REAL_SECONDS_MAX 120 // a run that takes longer hangs
#define TAIL_LINES       60
#define SETTINGS_MAX     32

struct options {
    uint64_t first, last, fresh;
    bool has_trace, is_quiet, is_repeated;
    const char *mutant;
    const char *settings[SETTINGS_MAX];
    size_t settings_count;
};

struct totals {
    uint64_t passed, failed;
    double virtual_s, real_s;
};

static struct sim_plan current; // for the signal handler

#ifdef PQB_MUTANTS
enum pqb_mutant pqb_mutant_active;
#endif

static double real_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// An assertion or a hang ends here; in the traced run the tail is what one wants to see.
static void on_abort(int signum)
{
    sim_trace_print_tail(stdout, TAIL_LINES);
    printf("seed %" PRIu64 ": %s\n", current.seed,
           signum == SIGALRM ? "hangs" : "ended by an assertion or a bad access");
    fflush(stdout);
    _exit(3);
}

static void plan_of(const struct options *options, uint64_t seed, struct sim_plan *plan)
{
    sim_plan_from_seed(plan, seed);
    for (size_t i = 0; i < options->settings_count; i++) {
        if (!sim_plan_set(plan, options->settings[i])) {
            fprintf(stderr, "sim_runner: cannot set '%s'; see --parameters\n",
                    options->settings[i]);
            exit(2);
        }
    }
}

static void run_here(const struct sim_plan *plan, enum sim_trace_mode mode,
                     struct sim_result *result)
{
    current = *plan;
    signal(SIGABRT, on_abort);
    signal(SIGALRM, on_abort);
    if (mode != SIM_TRACE_PRINT)
        alarm(REAL_SECONDS_MAX);
    sim_trace_begin(mode);
    sim_run(plan, NULL, NULL, result);
    alarm(0);
    if (result->failure[0] && mode == SIM_TRACE_TAIL)
        sim_trace_print_tail(stdout, TAIL_LINES);
    fflush(stdout);
}

// In a child, so that an assertion ends one seed and not the others. `result` is shared memory.
static bool run_apart(const struct sim_plan *plan, enum sim_trace_mode mode, bool is_silent,
                      struct sim_result *result)
{
    pid_t child;
    int status;

    *result = (struct sim_result){0};
    fflush(stdout);
    child = fork();
    if (child == 0) {
        if (is_silent && (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr)))
            _exit(4);
        run_here(plan, mode, result);
        _exit(result->failure[0] ? 1 : 0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("sim_runner");
        exit(2);
    }
    if (status != 0 && !result->failure[0])
        snprintf(result->failure, sizeof(result->failure), "the run ended with status %#x",
                 (unsigned)status);
    return status == 0;
}

static void print_result(uint64_t seed, const struct sim_result *r, double real_s)
{
    printf("seed %" PRIu64 " %s: %.0f s in %.2f s; settled after %.0f s; messages %" PRIu64
           " taken %" PRIu64 " accepted %" PRIu64 " delivered %" PRIu64 " refused %" PRIu64
           " abandoned %" PRIu64 " uncertain %" PRIu64 " again %" PRIu64 "; datagrams %" PRIu64
           " crashes %" PRIu64 " deaths %" PRIu64 " logins %" PRIu64 " aborts %" PRIu64
           " idle %" PRIu64 " B; digest %016" PRIx64 "\n",
           seed, r->failure[0] ? "FAILED" : "passed", r->virtual_s, real_s, r->settled_s,
           r->messages, r->taken, r->accepted, r->delivered, r->refused, r->abandoned, r->uncertain,
           r->again, r->datagrams, r->crashes, r->deaths, r->logins, r->failures, r->memory_idle,
           r->digest);
}

// A run depends on its seed alone, or a failure could not be looked at again.
static bool does_repeat(const struct sim_plan *plan, struct sim_result *result)
{
    const uint64_t digest = result->digest;
    const bool has_passed = run_apart(plan, SIM_TRACE_OFF, false, result);

    if (has_passed && result->digest != digest)
        snprintf(result->failure, sizeof(result->failure), "a second run went another way");
    return has_passed && result->digest == digest;
}

static void run_seed(const struct options *options, uint64_t seed, struct sim_result *result,
                     struct totals *totals)
{
    const double start = real_now();
    struct sim_plan plan;
    bool has_passed;
    double real_s;

    plan_of(options, seed, &plan);
    if (options->has_trace) {
        sim_plan_print(&plan, stdout);
        run_here(&plan, SIM_TRACE_PRINT, result);
        has_passed = !result->failure[0];
    } else {
        has_passed = run_apart(&plan, SIM_TRACE_OFF, options->mutant != NULL, result);
    }
    if (has_passed && options->is_repeated)
        has_passed = does_repeat(&plan, result);
    real_s = real_now() - start;
    totals->passed += has_passed;
    totals->failed += !has_passed;
    totals->virtual_s += result->virtual_s;
    totals->real_s += real_s;
    if (options->mutant) {
        if (!has_passed)
            printf("mutant %s is caught by seed %" PRIu64 ": %s\n", options->mutant, seed,
                   result->failure);
        return;
    }
    if (has_passed || options->has_trace) {
        if (!options->is_quiet)
            print_result(seed, result, real_s);
        if (!has_passed)
            printf("seed %" PRIu64 " FAILED: %s\n", seed, result->failure);
        return;
    }
    printf("seed %" PRIu64 " FAILED at %.3f s: %s\n", seed, result->failed_at_s, result->failure);
    sim_plan_print(&plan, stdout);
    (void)run_apart(&plan, SIM_TRACE_TAIL, false, result);
    printf("seed %" PRIu64 " FAILED: %s\n", seed, result->failure);
}

static int run_all(const struct options *options)
{
    struct sim_result *result =
        mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct totals totals = {0};

    if (result == MAP_FAILED) {
        perror("sim_runner");
        return 2;
    }
    for (uint64_t seed = options->first; options->first && seed <= options->last; seed++) {
        run_seed(options, seed, result, &totals);
        if (options->mutant && totals.failed)
            return 0;
    }
    for (uint64_t i = 0; i < options->fresh; i++) {
        uint64_t seed;

        if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
            return 2;
        run_seed(options, seed >> 16, result, &totals);
        if (options->mutant && totals.failed)
            return 0;
    }
    if (options->mutant) {
        printf("mutant %s survives %" PRIu64 " seeds\n", options->mutant, totals.passed);
        return 1;
    }
    printf("%" PRIu64 " passed, %" PRIu64
           " failed; %.0f virtual seconds in %.1f real: %.0f times\n",
           totals.passed, totals.failed, totals.virtual_s, totals.real_s,
           totals.real_s > 0 ? totals.virtual_s / totals.real_s : 0);
    return totals.failed ? 1 : 0;
}

static int wrong_use(const char *what)
{
    fprintf(stderr,
            "sim_runner: %s\n"
            "use: sim_runner [--seed N | --seeds A-B] [--fresh N] [--trace] [--quiet] [--repeat] "
            "[--mutant "
            "NAME]\n"
            "                [--devices N] [--seconds S] [--set NAME=VALUE]... | --parameters\n",
            what);
    return 2;
}

static bool parse_range(const char *text, struct options *options)
{
    char *end;

    options->first = options->last = strtoull(text, &end, 10);
    if (*end == '-')
        options->last = strtoull(end + 1, &end, 10);
    return *end == '\0' && options->first > 0 && options->last >= options->first;
}

static bool add_setting(struct options *options, const char *name, const char *value)
{
    static char texts[SETTINGS_MAX][64];
    char *text = texts[options->settings_count];

    if (options->settings_count == SETTINGS_MAX)
        return false;
    snprintf(text, sizeof(texts[0]), "%s%s", name, value);
    options->settings[options->settings_count++] = text;
    return true;
}

static bool select_mutant(const char *name)
{
    static const char *const names[] = {
        "",
#define PQB_MUTANT_DEF(name, help) #name,
#include "common/base/mutants.def"
#undef PQB_MUTANT_DEF
    };

    for (size_t i = 1; i < PQB_ARRAY_LEN(names); i++) {
        if (strcmp(name, names[i]) == 0) {
#ifdef PQB_MUTANTS
            pqb_mutant_active = (enum pqb_mutant)i;
            return true;
#endif
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {
        {"seed", required_argument, NULL, 's'},    {"seeds", required_argument, NULL, 's'},
        {"fresh", required_argument, NULL, 'f'},   {"trace", no_argument, NULL, 't'},
        {"quiet", no_argument, NULL, 'q'},         {"repeat", no_argument, NULL, 'r'},
        {"mutant", required_argument, NULL, 'm'},  {"devices", required_argument, NULL, 'd'},
        {"seconds", required_argument, NULL, 'v'}, {"set", required_argument, NULL, 'S'},
        {"parameters", no_argument, NULL, 'p'},    {NULL, 0, NULL, 0}};
    struct options options = {0};
    int c;

    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        bool is_good = true;

        if (c == 's')
            is_good = parse_range(optarg, &options);
        else if (c == 'f')
            options.fresh = strtoull(optarg, NULL, 10);
        else if (c == 't')
            options.has_trace = true;
        else if (c == 'q')
            options.is_quiet = true;
        else if (c == 'r')
            options.is_repeated = true;
        else if (c == 'm')
            is_good = select_mutant(options.mutant = optarg);
        else if (c == 'd')
            is_good = add_setting(&options, "devices=", optarg);
        else if (c == 'v')
            is_good = add_setting(&options, "seconds=", optarg);
        else if (c == 'S')
            is_good = add_setting(&options, "", optarg);
        else if (c == 'p')
            return sim_plan_help(stdout), 0;
        else
            return wrong_use("unknown option");
        if (!is_good)
            return wrong_use(optarg);
    }
    if (optind < argc || (options.first == 0 && options.fresh == 0))
        return wrong_use("name the seeds to run");
    return run_all(&options);
}
