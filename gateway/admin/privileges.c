#include "gateway/admin/privileges.h"

#include <errno.h>
#include <string.h>

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/log.h"

static int fail(const char *what, const char *user)
{
    pqb_log(PQB_LOG_ERROR, "cannot change the account step=%s user=%s error=\"%s\"", what, user,
            strerror(errno));
    return PQB_ERR_IO;
}

int pqb_privileges_drop(const char *user, const char *dir)
{
    const struct passwd *account;

    if (user[0] == '\0')
        return PQB_OK;
    errno = 0;
    account = getpwnam(user);
    if (account == NULL) {
        pqb_log(PQB_LOG_ERROR,
                "there is no account of this name; make it or leave --user away "
                "user=%s",
                user);
        return PQB_ERR_NOT_FOUND;
    }
    if (geteuid() == account->pw_uid)
        return PQB_OK;
    if (geteuid() != 0) {
        pqb_log(PQB_LOG_ERROR,
                "only root can change the account; start as root or leave --user "
                "away user=%s",
                user);
        return PQB_ERR_INVALID;
    }
    if (mkdir(dir, 0700) == 0 && chown(dir, account->pw_uid, account->pw_gid) != 0)
        return fail("chown", user);
    if (initgroups(user, account->pw_gid) != 0 || setgid(account->pw_gid) != 0)
        return fail("groups", user);
    if (setuid(account->pw_uid) != 0)
        return fail("setuid", user);
    if (setuid(0) == 0) { // must not be a way back
        errno = EPERM;
        return fail("check", user);
    }
    return PQB_OK;
}
