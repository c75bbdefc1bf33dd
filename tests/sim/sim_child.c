#include "tests/sim/sim_child.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/check.h"

#define TAIL_LINES 60

// Of the run in this process; for the handlers of its violent ends.
static struct {
    unsigned real_s_max;
    enum sim_trace_mode mode;
    struct sim_result *result;
} current;

double sim_real_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// Takes the place of the one in common/base: the parent is to hear which assertion it was.
void pqb_assert_failed(const char *expr, const char *file, int line)
{
    const char *name = strrchr(file, '/');

    if (current.result)
        snprintf(current.result->failure, sizeof(current.result->failure),
                 "assertion failed: %s, %s:%d", expr, name ? name + 1 : file, line);
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expr);
    abort();
}

static void on_abort(int signum)
{
    if (signum == SIGALRM)
        snprintf(current.result->failure, sizeof(current.result->failure),
                 "it hangs: not done after %u real seconds", current.real_s_max);
    if (current.mode == SIM_TRACE_TAIL)
        sim_trace_print_tail(stdout, TAIL_LINES);
    fflush(stdout);
    _exit(3);
}

void sim_run_here(const struct sim_job *job, struct sim_outcome *outcome)
{
    const double began = sim_real_now();

    current.real_s_max = job->real_s_max ? job->real_s_max : SIM_REAL_SECONDS_MAX;
    current.mode = job->mode;
    current.result = &outcome->result;
    signal(SIGABRT, on_abort);
    signal(SIGALRM, on_abort);
    alarm(current.real_s_max);
    sim_trace_begin(job->mode);
    sim_run(job->plan, job->mask, job->has_log ? &outcome->log : NULL, &outcome->result);
    alarm(0);
    outcome->real_s = sim_real_now() - began;
    if (outcome->result.failure[0] && job->mode == SIM_TRACE_TAIL)
        sim_trace_print_tail(stdout, TAIL_LINES);
    fflush(stdout);
}

void sim_child_init(struct sim_child *child)
{
    *child =
        (struct sim_child){.outcome = mmap(NULL, sizeof(struct sim_outcome), PROT_READ | PROT_WRITE,
                                           MAP_SHARED | MAP_ANONYMOUS, -1, 0)};
    if (child->outcome == MAP_FAILED) {
        perror("sim_runner");
        exit(2);
    }
}

void sim_child_fini(struct sim_child *child)
{
    munmap(child->outcome, sizeof(struct sim_outcome));
}

static bool redirect(FILE *out)
{
    if (!out)
        return freopen("/dev/null", "w", stdout) && freopen("/dev/null", "w", stderr);
    return out == stdout ||
           (dup2(fileno(out), STDOUT_FILENO) >= 0 && dup2(fileno(out), STDERR_FILENO) >= 0);
}

void sim_child_start(struct sim_child *child, const struct sim_job *job)
{
    PQB_ASSERT(child->pid == 0);
    child->outcome->result = (struct sim_result){0};
    child->outcome->log.count = 0;
    child->since = sim_real_now();
    fflush(stdout);
    child->pid = fork();
    if (child->pid < 0) {
        perror("sim_runner");
        exit(2);
    }
    if (child->pid > 0)
        return;
    if (!redirect(job->out))
        _exit(4);
    sim_run_here(job, child->outcome);
    _exit(child->outcome->result.failure[0] ? 1 : 0);
}

static bool conclude(struct sim_child *child, int status)
{
    struct sim_result *result = &child->outcome->result;

    child->pid = 0;
    if (status != 0)
        child->outcome->real_s = sim_real_now() - child->since;
    if (status != 0 && !result->failure[0])
        snprintf(result->failure, sizeof(result->failure), "the run ended with status %#x",
                 (unsigned)status);
    return status == 0;
}

bool sim_child_wait(struct sim_child *child)
{
    int status;

    PQB_ASSERT(child->pid > 0);
    if (waitpid(child->pid, &status, 0) != child->pid) {
        perror("sim_runner");
        exit(2);
    }
    return conclude(child, status);
}

size_t sim_child_wait_any(struct sim_child *children, size_t count)
{
    int status;
    const pid_t pid = wait(&status);

    for (size_t i = 0; i < count; i++) {
        if (pid > 0 && children[i].pid == pid) {
            (void)conclude(&children[i], status);
            return i;
        }
    }
    perror("sim_runner");
    exit(2);
}
