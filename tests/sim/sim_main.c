// Runs seeds of the simulator, each in a process of its own, and says what broke.
//
//   sim_runner --seeds 1-20            fixed seeds
//   sim_runner --fresh 20              seeds from the operating system
//   sim_runner --for 1h --jobs 2       fresh seeds until the time is up
//   sim_runner --seed 7 --trace        one seed, in this process, every event printed
//   sim_runner --seed 7 --set loss=0   with a parameter changed; --calm: with all of them quiet
//   sim_runner --seed 7 --skip kill    without some events; --only: with nothing but those
//   sim_runner --seed 7 --minimise     the fewest events that make it fail
//   sim_runner --seeds 1-5 --repeat    each twice: the second run must go the same way
//   sim_runner --seeds 1-200 --coverage what fired how often; every fault must have
//   sim_runner --mutant NAME ...       with a planted bug: done when a seed finds it
//
// Exit: 0 every seed passed (with --mutant: one seed failed), 1 otherwise, 2 wrong use.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <getopt.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "common/base/check.h"
#include "common/base/defs.h"
#include "common/base/mutant.h"
#include "tests/sim/sim_child.h"
#include "tests/sim/sim_minimise.h"

#define JOBS_MAX         16
#define MINIMISE_SECONDS 20 // for a failing seed among others
#define MINIMISE_LONG    120
#define MINIMISED_MAX    3   // failing seeds; of more the number is enough
#define TRACE_LINES_MAX  200 // of a minimised run
#define PROGRESS_EVERY_S 60

struct setting {
    char text[80];
};

struct options {
    uint64_t first, last, fresh;
    double for_s; // real seconds
    size_t jobs;
    bool has_coverage, has_trace, is_quiet, is_repeated, is_calm, is_minimising;
    double minimise_s; // below 0: not said
    const char *program, *mutant;
    struct setting *settings;
    size_t settings_count;
    struct sim_event_mask mask;
};

// What came of all the seeds.
struct tally {
    uint64_t passed, failed, minimised;
    double virtual_s;
    double device_s; // virtual seconds times devices
    double began, told_at;
    uint64_t faults[SIM_FAULT_COUNT], runs_with[SIM_FAULT_COUNT];
};

struct slot {
    uint64_t seed;
    struct sim_plan plan;
};

#ifdef PQB_MUTANTS
enum pqb_mutant pqb_mutant_active;
#endif

static void plan_of(const struct options *options, uint64_t seed, struct sim_plan *plan)
{
    if (options->is_calm)
        sim_plan_calm(plan, seed);
    else
        sim_plan_from_seed(plan, seed);
    for (size_t i = 0; i < options->settings_count; i++) {
        if (!sim_plan_set(plan, options->settings[i].text)) {
            fprintf(stderr, "sim_runner: cannot set '%s'; see --parameters\n",
                    options->settings[i].text);
            exit(2);
        }
    }
    sim_plan_tidy(plan);
}

// ---------------------------------------------------------------------------------------- reports

static void print_result(uint64_t seed, const struct sim_outcome *o)
{
    const struct sim_result *r = &o->result;

    printf("seed %" PRIu64 " %s: %.0f s in %.2f s; settled after %.0f s; messages %" PRIu64
           " taken %" PRIu64 " accepted %" PRIu64 " delivered %" PRIu64 " refused %" PRIu64
           " abandoned %" PRIu64 " uncertain %" PRIu64 " again %" PRIu64 " dead %" PRIu64
           "; datagrams %" PRIu64 " crashes %" PRIu64 " deaths %" PRIu64 " logins %" PRIu64
           " aborts %" PRIu64 " idle %" PRIu64 " B; digest %016" PRIx64 "\n",
           seed, r->failure[0] ? "FAILED" : "passed", r->virtual_s, o->real_s, r->settled_s,
           r->messages, r->taken, r->accepted, r->delivered, r->refused, r->abandoned, r->uncertain,
           r->again, r->dead_letters, r->datagrams, r->crashes, r->deaths, r->logins, r->failures,
           r->memory_idle, r->digest);
}

static void print_replay(const struct options *options, const struct sim_minimised *m)
{
    printf("replay: %s", options->program);
    if (options->mutant)
        printf(" --mutant %s", options->mutant);
    sim_plan_print_options(&m->plan, stdout);
    sim_event_mask_print(&m->mask, stdout);
    puts(" --trace");
}

// A trace that is too long loses the lines in its middle.
static void print_clipped(FILE *in)
{
    char line[512];
    size_t count = 0, n = 0;

    rewind(in);
    while (fgets(line, sizeof(line), in))
        count += strchr(line, '\n') != NULL;
    rewind(in);
    for (; fgets(line, sizeof(line), in); n += strchr(line, '\n') != NULL) {
        if (count <= TRACE_LINES_MAX || n < TRACE_LINES_MAX / 4 ||
            n + TRACE_LINES_MAX * 3 / 4 >= count)
            fputs(line, stdout);
        else if (n == TRACE_LINES_MAX / 4)
            printf("      ... %zu lines are left out here ...\n", count - TRACE_LINES_MAX);
    }
}

static void print_trace(const struct sim_plan *plan, const struct sim_event_mask *mask)
{
    FILE *out = tmpfile();
    const struct sim_job job = {
        .plan = plan, .mask = mask, .mode = SIM_TRACE_PRINT, .out = out ? out : stdout};
    struct sim_child child;

    sim_child_init(&child);
    sim_child_start(&child, &job);
    (void)sim_child_wait(&child);
    sim_child_fini(&child);
    if (out) {
        print_clipped(out);
        fclose(out);
    }
}

// true: it fails.
static bool minimise(const struct options *options, const struct sim_plan *plan, double seconds)
{
    struct sim_minimised m;

    sim_minimise(plan, &options->mask, seconds, options->jobs, &m);
    if (m.failure[0]) {
        print_trace(&m.plan, &m.mask);
        printf(
            "minimised in %.1f s and %zu runs: %zu events of %zu kinds -> %zu of %zu; %zu unusual "
            "parameters -> %zu; %s\n",
            m.real_s, m.runs, m.events_before, m.kinds_before, m.events_after, m.kinds_after,
            m.params_before, m.params_after,
            m.is_minimal ? "every one of them is needed" : "the time was up");
        print_replay(options, &m);
        printf("seed %" PRIu64 " FAILED at %.3f s: %s\n", plan->seed, m.failed_at_s, m.failure);
    }
    sim_event_mask_fini(&m.mask);
    return m.failure[0] != '\0';
}

static void report_failure(const struct options *options, const struct slot *slot,
                           const struct sim_result *result, struct tally *tally)
{
    printf("seed %" PRIu64 " FAILED at %.3f s: %s\n", slot->seed, result->failed_at_s,
           result->failure);
    sim_plan_print(&slot->plan, stdout);
    if (tally->minimised++ < MINIMISED_MAX && options->minimise_s > 0 &&
        !minimise(options, &slot->plan, options->minimise_s))
        printf("seed %" PRIu64 " passes when it is run again\n", slot->seed);
    fflush(stdout);
}

// Of the runs that have ended; the machine may do other things beside.
static double cpu_seconds(void)
{
    struct rusage used;

    getrusage(RUSAGE_CHILDREN, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void print_tally(const struct options *options, const struct tally *t)
{
    const double wall_s = sim_real_now() - t->began, cpu_s = cpu_seconds();

    printf("%" PRIu64 " passed, %" PRIu64
           " failed; %.0f virtual seconds in %.1f of CPU: %.0f times, "
           "%.1f devices on average; %.0f seeds/min on %zu %s\n",
           t->passed, t->failed, t->virtual_s, cpu_s, cpu_s > 0 ? t->virtual_s / cpu_s : 0,
           t->virtual_s > 0 ? t->device_s / t->virtual_s : 0,
           wall_s > 0 ? (double)(t->passed + t->failed) * 60 / wall_s : 0, options->jobs,
           options->jobs == 1 ? "core" : "cores");
}

// ------------------------------------------------------------------------------------------- runs

// A run depends on its seed alone, or a failure could not be looked at again.
static bool does_repeat(const struct sim_job *job, struct sim_child *child)
{
    struct sim_result *result = &child->outcome->result;
    const uint64_t digest = result->digest;
    bool has_passed;

    sim_child_start(child, job);
    has_passed = sim_child_wait(child);
    if (has_passed && result->digest != digest)
        snprintf(result->failure, sizeof(result->failure), "a second run went another way");
    return has_passed && result->digest == digest;
}

static struct sim_job job_of(const struct options *options, const struct slot *slot)
{
    return (struct sim_job){.plan = &slot->plan,
                            .mask = &options->mask,
                            .mode = SIM_TRACE_OFF,
                            .out = options->mutant ? NULL : stdout};
}

static void conclude(const struct options *options, const struct slot *slot,
                     struct sim_child *child, struct tally *t)
{
    const struct sim_outcome *o = child->outcome;
    const struct sim_job job = job_of(options, slot);
    bool has_passed = !o->result.failure[0];

    t->virtual_s += o->result.virtual_s;
    t->device_s += o->result.virtual_s * slot->plan.devices;
    for (size_t i = 0; i < SIM_FAULT_COUNT; i++) {
        t->faults[i] += o->result.faults[i];
        t->runs_with[i] += o->result.faults[i] > 0;
    }
    if (has_passed && options->is_repeated)
        has_passed = does_repeat(&job, child);
    t->passed += has_passed;
    t->failed += !has_passed;
    if (options->mutant && !has_passed && !options->is_minimising && t->failed == 1)
        printf("mutant %s is caught by seed %" PRIu64 ": %s\n", options->mutant, slot->seed,
               o->result.failure);
    else if (!has_passed && (!options->mutant || options->is_minimising))
        report_failure(options, slot, &o->result, t);
    else if (!options->is_quiet && !options->mutant && options->for_s <= 0)
        print_result(slot->seed, o);
    if (options->for_s > 0 && sim_real_now() - t->told_at > PROGRESS_EVERY_S) {
        t->told_at = sim_real_now();
        print_tally(options, t);
        fflush(stdout);
    }
}

// false: no more seeds.
static bool next_seed(const struct options *options, const struct tally *t, uint64_t *drawn,
                      uint64_t *seed)
{
    const uint64_t fixed = options->first ? options->last - options->first + 1 : 0;
    const uint64_t i = (*drawn)++;

    if (options->mutant && t->failed > 0)
        return false;
    if (i < fixed) {
        *seed = options->first + i;
        return true;
    }
    if (i - fixed >= options->fresh && sim_real_now() - t->began >= options->for_s)
        return false;
    if (getrandom(seed, sizeof(*seed), 0) != sizeof(*seed))
        return false;
    *seed >>= 16;
    return true;
}

static void run_all(const struct options *options, struct tally *t)
{
    struct sim_child children[JOBS_MAX];
    struct slot slots[JOBS_MAX];
    uint64_t drawn = 0, seed;
    size_t running = 0;

    for (size_t i = 0; i < options->jobs; i++)
        sim_child_init(&children[i]);
    for (bool has_more = true; has_more || running > 0;) {
        for (size_t i = 0; i < options->jobs && has_more; i++) {
            struct sim_job job;

            if (children[i].pid > 0)
                continue;
            has_more = next_seed(options, t, &drawn, &seed);
            if (!has_more)
                break;
            slots[i].seed = seed;
            plan_of(options, seed, &slots[i].plan);
            job = job_of(options, &slots[i]);
            sim_child_start(&children[i], &job);
            running++;
        }
        if (running > 0) {
            const size_t i = sim_child_wait_any(children, options->jobs);

            running--;
            conclude(options, &slots[i], &children[i], t);
        }
    }
    for (size_t i = 0; i < options->jobs; i++)
        sim_child_fini(&children[i]);
}

static int run_traced(const struct options *options)
{
    static struct sim_outcome outcome;
    struct sim_plan plan;

    plan_of(options, options->first, &plan);
    sim_plan_print(&plan, stdout);
    sim_run_here(&(struct sim_job){.plan = &plan, .mask = &options->mask, .mode = SIM_TRACE_PRINT},
                 &outcome);
    print_result(plan.seed, &outcome);
    if (outcome.result.failure[0])
        printf("seed %" PRIu64 " FAILED at %.3f s: %s\n", plan.seed, outcome.result.failed_at_s,
               outcome.result.failure);
    return outcome.result.failure[0] ? 1 : 0;
}

// A fault that never fires proves nothing. Returns how many never did.
static size_t print_coverage(const struct tally *t)
{
    size_t missing = 0;

    printf("%-20s %6s %10s\n", "fault", "runs", "times");
    for (size_t i = 0; i < SIM_FAULT_COUNT; i++) {
        printf("%-20s %6" PRIu64 " %10" PRIu64 "  %s%s\n", sim_fault_name((enum sim_fault)i),
               t->runs_with[i], t->faults[i], sim_fault_help((enum sim_fault)i),
               t->faults[i] == 0 ? "  NEVER" : "");
        missing += t->faults[i] == 0;
    }
    printf("%zu of %d faults fired\n", SIM_FAULT_COUNT - missing, SIM_FAULT_COUNT);
    return missing;
}

static int run(const struct options *options)
{
    struct tally tally = {.began = sim_real_now(), .told_at = sim_real_now()};

    if (options->has_trace)
        return run_traced(options);
    run_all(options, &tally);
    if (!options->mutant || options->is_minimising) {
        const size_t missing = options->has_coverage ? print_coverage(&tally) : 0;

        print_tally(options, &tally);
        return tally.failed || missing ? 1 : 0;
    }
    if (!tally.failed)
        printf("mutant %s survives %" PRIu64 " seeds\n", options->mutant, tally.passed);
    return tally.failed ? 0 : 1;
}

// ---------------------------------------------------------------------------------------- options

static int wrong_use(const char *what)
{
    fprintf(
        stderr,
        "sim_runner: %s\n"
        "use: sim_runner [--seed N | --seeds A-B] [--fresh N] [--for TIME] [--jobs N] [--quiet]\n"
        "                [--trace | --minimise | --repeat] [--coverage] [--minimise-seconds S] "
        "[--mutant NAME]\n"
        "                [--calm] [--devices N] [--seconds S] [--set NAME=VALUE,...]...\n"
        "                [--only EVENTS]... [--skip EVENTS]... | --parameters | --events\n",
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

// "90", "90s", "20m", "1h".
static bool parse_time(const char *text, double *out)
{
    char *end;

    *out = strtod(text, &end);
    if (end == text || *out < 0)
        return false;
    if (*end == 'h')
        *out *= 3600;
    else if (*end == 'm')
        *out *= 60;
    else if (*end != 's' && *end != '\0')
        return false;
    return *end == '\0' || end[1] == '\0';
}

static bool add_setting(struct options *options, const char *name, const char *value, size_t len)
{
    struct setting *s;

    options->settings = realloc(options->settings, (options->settings_count + 1) * sizeof(*s));
    PQB_ASSERT(options->settings);
    s = &options->settings[options->settings_count++];
    return (size_t)snprintf(s->text, sizeof(s->text), "%s%.*s", name, (int)len, value) <
           sizeof(s->text);
}

static bool add_settings(struct options *options, const char *text)
{
    bool is_good = true;

    for (; *text && is_good; text += *text == ',') {
        const size_t len = strcspn(text, ",");

        is_good = add_setting(options, "", text, len);
        text += len;
    }
    return is_good;
}

static bool parse_jobs(const char *text, struct options *options)
{
    options->jobs = strtoul(text, NULL, 10);
    return options->jobs >= 1 && options->jobs <= JOBS_MAX;
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

// Options that take a value. false: not one of them, or not a value for it.
static bool take_value(struct options *options, int c, const char *value)
{
    switch (c) {
    case 's':
        return parse_range(value, options);
    case 'f':
        options->fresh = strtoull(value, NULL, 10);
        return true;
    case 'F':
        return parse_time(value, &options->for_s);
    case 'j':
        return parse_jobs(value, options);
    case 'm':
        return select_mutant(options->mutant = value);
    case 'd':
        return add_setting(options, "devices=", value, strlen(value));
    case 'v':
        return add_setting(options, "seconds=", value, strlen(value));
    case 'S':
        return add_settings(options, value);
    case 'o':
        return sim_event_mask_parse(&options->mask, true, value);
    case 'x':
        return sim_event_mask_parse(&options->mask, false, value);
    case 'M':
        return parse_time(value, &options->minimise_s);
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"seed", required_argument, NULL, 's'},
                                          {"seeds", required_argument, NULL, 's'},
                                          {"fresh", required_argument, NULL, 'f'},
                                          {"for", required_argument, NULL, 'F'},
                                          {"jobs", required_argument, NULL, 'j'},
                                          {"trace", no_argument, NULL, 't'},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {"repeat", no_argument, NULL, 'r'},
                                          {"coverage", no_argument, NULL, 'C'},
                                          {"calm", no_argument, NULL, 'c'},
                                          {"minimise", no_argument, NULL, 'i'},
                                          {"minimise-seconds", required_argument, NULL, 'M'},
                                          {"mutant", required_argument, NULL, 'm'},
                                          {"devices", required_argument, NULL, 'd'},
                                          {"seconds", required_argument, NULL, 'v'},
                                          {"set", required_argument, NULL, 'S'},
                                          {"only", required_argument, NULL, 'o'},
                                          {"skip", required_argument, NULL, 'x'},
                                          {"parameters", no_argument, NULL, 'p'},
                                          {"events", no_argument, NULL, 'e'},
                                          {NULL, 0, NULL, 0}};
    struct options options = {.program = argv[0], .jobs = 1, .minimise_s = -1};
    int c;

    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (c == 't')
            options.has_trace = true;
        else if (c == 'q')
            options.is_quiet = true;
        else if (c == 'r')
            options.is_repeated = true;
        else if (c == 'C')
            options.has_coverage = true;
        else if (c == 'c')
            options.is_calm = true;
        else if (c == 'i')
            options.is_minimising = true;
        else if (c == 'p')
            return sim_plan_help(stdout), 0;
        else if (c == 'e')
            return sim_events_help(stdout), 0;
        else if (!take_value(&options, c, optarg))
            return wrong_use(c == '?' ? "unknown option" : optarg);
    }
    if (options.minimise_s < 0)
        options.minimise_s = options.is_minimising ? MINIMISE_LONG : MINIMISE_SECONDS;
    if (optind < argc || (options.first == 0 && options.fresh == 0 && options.for_s <= 0))
        return wrong_use("name the seeds to run");
    c = run(&options);
    sim_event_mask_fini(&options.mask);
    free(options.settings);
    return c;
}
