#include "gateway/admin/seccomp.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/log.h"

// Whatever the arguments. Not here and not in `conditions` or `deadly`: EPERM, which every caller
// of the C library bears, unlike a signal.
static const int allowed[] = {
    // Sockets that are open, and peers of the control socket (SO_PEERCRED). No call makes, binds or
    // connects a socket.
    SCMP_SYS(recvmmsg), SCMP_SYS(sendmmsg), SCMP_SYS(accept4), SCMP_SYS(getsockopt),
    // Event loops, mailboxes, the writer's sleep.
    SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(epoll_ctl),
    SCMP_SYS(timerfd_settime), SCMP_SYS(ppoll), SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv),
    SCMP_SYS(writev), SCMP_SYS(close),
    // The store's files; from ftruncate on what it takes to open one more store, for a backup.
    SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(pwritev), SCMP_SYS(lseek), SCMP_SYS(fdatasync),
    SCMP_SYS(fsync), SCMP_SYS(msync), SCMP_SYS(fallocate), SCMP_SYS(ftruncate), SCMP_SYS(fcntl),
    SCMP_SYS(flock), SCMP_SYS(fadvise64), SCMP_SYS(fstatfs), SCMP_SYS(uname),
    // Files by name: the settings and tokens of a reload, a backup's directory, statm, the control
    // socket's removal. Which files is for the account, and the unit, to bound.
    SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat), SCMP_SYS(fstat), SCMP_SYS(newfstatat),
    SCMP_SYS(statx), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rmdir),
    // Memory, as far as it cannot be run (see `conditions`).
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
    // Keys live in locked memory; a day's new ticket key and a reload make another set.
    SCMP_SYS(mlock), SCMP_SYS(munlock), SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2),
    // Threads: the store's and the shards' start under the filter, a backup has one of its own. The
    // C library asks for the number of processors when it makes an arena.
    SCMP_SYS(futex), SCMP_SYS(rseq), SCMP_SYS(set_robust_list), SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity), SCMP_SYS(exit), SCMP_SYS(exit_group),
    // Signals: handlers of SIGHUP, SIGTERM and SIGINT, and abort() after a failed assertion.
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
    SCMP_SYS(restart_syscall),
    // Clocks, where the kernel's shared page does not do; numbers; who we are; what we use.
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getuid), SCMP_SYS(geteuid),
    SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getrusage),
    // The daemon never sleeps; tests make it (a slow disk, a failpoint). Harmless.
    SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(pause)};

// No honest path leads to these: who calls one has been taken over. The process dies at once; what
// was accepted is on the disk.
static const int deadly[] = {
    // Other programs and processes.
    SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(process_madvise),
    SCMP_SYS(kcmp), SCMP_SYS(pidfd_getfd), SCMP_SYS(pidfd_open), SCMP_SYS(pidfd_send_signal),
    // The kernel, its modules and programs in it.
    SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(init_module), SCMP_SYS(finit_module),
    SCMP_SYS(delete_module), SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup), SCMP_SYS(reboot), SCMP_SYS(iopl), SCMP_SYS(ioperm),
    // Another view of the machine.
    SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(fsopen),
    SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(setns), SCMP_SYS(unshare), SCMP_SYS(swapon),
    SCMP_SYS(swapoff), SCMP_SYS(open_by_handle_at),
    // Keys that the kernel holds, other accounts.
    SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(keyctl), SCMP_SYS(setuid),
    SCMP_SYS(setreuid), SCMP_SYS(setresuid), SCMP_SYS(setgid), SCMP_SYS(setregid),
    SCMP_SYS(setresgid), SCMP_SYS(setgroups), SCMP_SYS(capset)};

// The library's own macros for these do not pass both compilers' warnings. Arguments count from 0.
#define EQUALS(n, value)                                  \
    {                                                     \
        .arg = (n), .op = SCMP_CMP_EQ, .datum_a = (value) \
    }
#define BITS(n, mask, value)                                                        \
    {                                                                               \
        .arg = (n), .op = SCMP_CMP_MASKED_EQ, .datum_a = (mask), .datum_b = (value) \
    }

struct rule {
    int call;
    struct scmp_arg_cmp arg;
};

static int add_each(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++)
        rc = seccomp_rule_add_array(filter, action, calls[i], 0, NULL);
    return rc;
}

// Calls that depend on an argument.
static int add_conditions(scmp_filter_ctx filter)
{
    const uint64_t self = (uint64_t)getpid();
    const struct rule conditions[] = {
        // No memory that can be run: neither new code nor a library.
        {SCMP_SYS(mmap), BITS(2, PROT_EXEC, 0)},
        {SCMP_SYS(mprotect), BITS(2, PROT_EXEC, 0)},
        // Threads, no processes.
        {SCMP_SYS(clone), BITS(0, CLONE_THREAD, CLONE_THREAD)},
        // abort() raises; a failpoint kills. Nobody but this process.
        {SCMP_SYS(kill), EQUALS(0, self)},
        {SCMP_SYS(tgkill), EQUALS(0, self)},
        // A thread's name.
        {SCMP_SYS(prctl), EQUALS(0, PR_SET_NAME)},
        // libevent asks how much there is to read, stdio whether it writes to a terminal.
        {SCMP_SYS(ioctl), EQUALS(1, FIONREAD)},
        {SCMP_SYS(ioctl), EQUALS(1, TCGETS)},
    };
    int rc = 0;

    for (size_t i = 0; i < PQB_ARRAY_LEN(conditions) && rc == 0; i++)
        rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, conditions[i].call, 1,
                                    &conditions[i].arg);
    // Its flags lie in memory, where the filter does not see them: the C library takes this for an
    // old kernel and uses clone.
    if (rc == 0)
        rc = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL);
    return rc;
}

static int fill(scmp_filter_ctx filter)
{
    // Calls by another architecture's numbers (32 bits on 64) are nothing but a way around.
    int rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

    if (rc == 0) // a tree instead of a list: every datagram batch goes through it
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (rc == 0)
        rc = add_each(filter, SCMP_ACT_ALLOW, allowed, PQB_ARRAY_LEN(allowed));
    if (rc == 0)
        rc = add_each(filter, SCMP_ACT_KILL_PROCESS, deadly, PQB_ARRAY_LEN(deadly));
    return rc == 0 ? add_conditions(filter) : rc;
}

int pqb_seccomp_load(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int rc = -ENOMEM;

    if (filter != NULL) {
        rc = fill(filter);
        if (rc == 0)
            rc = seccomp_load(filter);
        seccomp_release(filter);
    }
    if (rc != 0) {
        pqb_log(PQB_LOG_ERROR,
                "the kernel does not take the filter of system calls; --seccomp no starts without "
                "it error=\"%s\"",
                strerror(-rc));
        return PQB_ERR_IO;
    }
    pqb_log(PQB_LOG_INFO, "system calls are filtered");
    return PQB_OK;
}
