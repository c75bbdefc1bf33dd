// What the filter lets through and what not, each in a process of its own: it cannot be taken off.
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "gateway/admin/seccomp.h"

#define NOT_LOADED 200 // exit status of a child; 0..133 are errnos

static void log_nothing(void *ctx, enum pqb_log_level level, const char *line)
{
    (void)ctx;
    (void)level;
    (void)line;
}

// The wait status of a child that calls `body` under the filter and ends with what it returns.
static int filtered(int (*body)(void))
{
    const pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit no_core = {0};

        pqb_log_set_sink(log_nothing, NULL);
        (void)setrlimit(RLIMIT_CORE, &no_core);
        _exit(pqb_seccomp_load() == PQB_OK ? body() : NOT_LOADED);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

// 0, or errno where a call failed.
static int error_of(long result)
{
    return result >= 0 ? 0 : errno;
}

static void assert_returns(int (*body)(void), int expected)
{
    const int status = filtered(body);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), expected);
}

static void assert_killed(int (*body)(void), int by)
{
    const int status = filtered(body);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), by);
}

// ------------------------------------------------------------------------------------ let through

static void *answer(void *arg)
{
    *(int *)arg = 7;
    return NULL;
}

static int start_thread(void)
{
    pthread_t thread;
    int got = 0;

    if (pthread_create(&thread, NULL, answer, &got) != 0 || pthread_join(thread, NULL) != 0)
        return 1;
    return got == 7 ? 0 : 1;
}

static int read_statm(void)
{
    char line[64];
    FILE *file = fopen("/proc/self/statm", "re");

    if (file == NULL || fgets(line, sizeof(line), file) == NULL)
        return 1;
    return fclose(file);
}

static int take_memory(void)
{
    char *small = malloc(100), *large = malloc((size_t)64 << 20);

    if (small == NULL || large == NULL)
        return 1;
    large = realloc(large, (size_t)128 << 20);
    free(small);
    free(large);
    return large != NULL ? 0 : 1;
}

static int sleep_shortly(void)
{
    const struct timespec ts = {.tv_nsec = 1};

    return nanosleep(&ts, NULL);
}

static void threads_files_memory_and_clocks_work(void **state)
{
    (void)state;
    assert_returns(start_thread, 0);
    assert_returns(read_statm, 0);
    assert_returns(take_memory, 0);
    assert_returns(sleep_shortly, 0);
}

static int call_abort(void)
{
    abort();
}

static int kill_self(void)
{
    (void)kill(getpid(), SIGKILL);
    return 1;
}

static void a_process_may_end_itself(void **state)
{
    (void)state;
    assert_killed(call_abort, SIGABRT);
    assert_killed(kill_self, SIGKILL);
}

// ---------------------------------------------------------------------------------------- refused

static int open_internet_socket(void)
{
    return error_of(socket(AF_INET, SOCK_DGRAM, 0));
}

static int open_unix_socket(void)
{
    return error_of(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int start_process(void)
{
    const pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    return error_of(pid);
}

static int map_code(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return at != MAP_FAILED ? 0 : errno;
}

static int make_code(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return at != MAP_FAILED ? error_of(mprotect(at, 4096, PROT_READ | PROT_EXEC)) : 1;
}

static int signal_another(void)
{
    return error_of(kill(getppid(), 0));
}

static int change_a_mode(void)
{
    return error_of(chmod("/nowhere", 0777));
}

static void what_serving_does_not_need_is_refused(void **state)
{
    (void)state;
    assert_returns(open_internet_socket, EPERM);
    assert_returns(open_unix_socket, EPERM);
    assert_returns(start_process, EPERM);
    assert_returns(map_code, EPERM);
    assert_returns(make_code, EPERM);
    assert_returns(signal_another, EPERM);
    assert_returns(change_a_mode, EPERM);
}

static int run_program(void)
{
    char name[] = "/bin/true";
    char *argv[] = {name, NULL};

    return execve(name, argv, argv + 1);
}

static int run_open_program(void)
{
    const int fd = open("/bin/true", O_RDONLY | O_CLOEXEC);
    char name[] = "true";
    char *argv[] = {name, NULL};

    return (int)syscall(SYS_execveat, fd, "", argv, argv + 1, 0x1000);
}

static int debug_another(void)
{
    return (int)ptrace(PTRACE_ATTACH, 1, NULL, NULL);
}

static int load_module(void)
{
    return (int)syscall(SYS_init_module, NULL, 0, "");
}

static int become_root(void)
{
    return setuid(0);
}

static void what_only_an_attacker_needs_kills_the_process(void **state)
{
    (void)state;
    assert_killed(run_program, SIGSYS);
    assert_killed(run_open_program, SIGSYS);
    assert_killed(debug_another, SIGSYS);
    assert_killed(load_module, SIGSYS);
    assert_killed(become_root, SIGSYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_files_memory_and_clocks_work),
        cmocka_unit_test(a_process_may_end_itself),
        cmocka_unit_test(what_serving_does_not_need_is_refused),
        cmocka_unit_test(what_only_an_attacker_needs_kills_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
