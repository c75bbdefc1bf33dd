#include "gateway/admin/privileges.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/log.h"

#define CAPABILITIES_MAX 64 // bits of a set; the kernel says where its own end

static int fail(const char *what)
{
    pqb_log(PQB_LOG_ERROR, "cannot give up privileges step=%s error=\"%s\"", what, strerror(errno));
    return PQB_ERR_IO;
}

// -------------------------------------------------------------------------------------- account

static const struct passwd *find_account(const char *user)
{
    const struct passwd *account = getpwnam(user);

    if (account == NULL)
        pqb_log(PQB_LOG_ERROR,
                "there is no account of this name; make it or leave --user away "
                "user=%s",
                user);
    return account;
}

static int become(const struct passwd *account, const char *dir)
{
    if (mkdir(dir, 0700) == 0 && lchown(dir, account->pw_uid, account->pw_gid) != 0)
        return fail("chown");
    if (initgroups(account->pw_name, account->pw_gid) != 0 || setgid(account->pw_gid) != 0)
        return fail("groups");
    if (setuid(account->pw_uid) != 0)
        return fail("setuid");
    if (setuid(0) == 0) { // must not be a way back
        errno = EPERM;
        return fail("check");
    }
    return PQB_OK;
}

static int change_account(const char *user, const char *dir)
{
    const struct passwd *account = find_account(user);

    if (account == NULL)
        return PQB_ERR_NOT_FOUND;
    if (geteuid() == account->pw_uid)
        return PQB_OK;
    if (geteuid() != 0) {
        pqb_log(PQB_LOG_ERROR,
                "only root can change the account; start as root or leave --user "
                "away user=%s",
                user);
        return PQB_ERR_INVALID;
    }
    return become(account, dir);
}

// --------------------------------------------------------------------------------- capabilities

// While the account still may. One that may not has none to pass on, and no-new-privileges keeps it
// from getting one by running a program.
static int empty_bounding_set(void)
{
    for (unsigned long cap = 0; cap < CAPABILITIES_MAX; cap++) {
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
            return errno == EINVAL || errno == EPERM ? PQB_OK : fail("bounding set");
    }
    return PQB_OK;
}

// The ambient set is never larger than these, so it goes with them. Who has none makes no call: a
// service's own filter of system calls need not let it through.
static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    struct __user_cap_data_struct had[_LINUX_CAPABILITY_U32S_3];

    if (syscall(SYS_capget, &header, had) == 0 && memcmp(had, none, sizeof(had)) == 0)
        return PQB_OK;
    return syscall(SYS_capset, &header, none) == 0 ? PQB_OK : fail("capset");
}

// ---------------------------------------------------------------------------------------- rest

// Memory holds messages and secrets: no core dump, and no debugger of the same account. Last,
// because a change of account sets the latter anew.
static int close_up(void)
{
    const struct rlimit none = {0};

    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return fail("core limit");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fail("no new privileges");
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 ? PQB_OK : fail("dumpable");
}

// Without capabilities root, too, is held to the modes of files. What else may be wrong with the
// directory the store finds out.
static int check_directory(const char *dir)
{
    struct stat st;

    if (stat(dir, &st) != 0)
        return PQB_OK;
    if (eaccess(dir, R_OK | W_OK | X_OK) != 0 && errno == EACCES) {
        pqb_log(PQB_LOG_ERROR,
                "this account may not use the data directory; start as its owner (--user), or give "
                "it away: chown -R %u data=%s owner=%u account=%u",
                (unsigned)geteuid(), dir, (unsigned)st.st_uid, (unsigned)geteuid());
        return PQB_ERR_IO;
    }
    // Not set right here: it may be a directory that others have to use, such as /tmp.
    if (S_ISDIR(st.st_mode) && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        pqb_log(PQB_LOG_WARN,
                "other accounts can look into the data directory%s; close it: chmod 0700 data=%s "
                "mode=%04o",
                (st.st_mode & (S_IWGRP | S_IWOTH)) != 0 ? " and change what is in it" : "", dir,
                (unsigned)st.st_mode & 07777);
    return PQB_OK;
}

int pqb_privileges_drop(const char *user, const char *dir)
{
    int err;

    (void)umask(S_IRWXG | S_IRWXO);
    err = empty_bounding_set();
    if (err == PQB_OK && user[0] != '\0')
        err = change_account(user, dir);
    if (err == PQB_OK)
        err = drop_capabilities();
    if (err == PQB_OK)
        err = close_up();
    if (err != PQB_OK)
        return err;
    if (geteuid() == 0)
        pqb_log(PQB_LOG_WARN,
                "this runs as root, without its capabilities but with all that root owns; make an "
                "account for it and name it with --user");
    return check_directory(dir);
}
