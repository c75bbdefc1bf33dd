// The small parts of common/base: error names, assertions, lists, time.
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/defs.h"
#include "common/base/err.h"
#include "common/base/list.h"
#include "common/base/time.h"

static void every_error_has_a_name_of_its_own(void **state)
{
    (void)state;
    assert_string_equal(pqb_err_name(PQB_OK), "ok");
    assert_string_equal(pqb_err_name(PQB_ERR_NO_SPACE), "no_space");
    for (int a = PQB_ERR_LOCKED; a <= PQB_OK; a++) {
        assert_string_not_equal(pqb_err_name(a), "unknown");
        for (int b = PQB_ERR_LOCKED; b < a; b++)
            assert_string_not_equal(pqb_err_name(a), pqb_err_name(b));
    }
    assert_string_equal(pqb_err_name(1), "unknown");
    assert_string_equal(pqb_err_name(PQB_ERR_LOCKED - 1), "unknown");
}

static void errno_maps_to_the_nearest_error(void **state)
{
    (void)state;
    assert_int_equal(pqb_err_from_errno(0), PQB_OK);
    assert_int_equal(pqb_err_from_errno(ENOSPC), PQB_ERR_NO_SPACE);
    assert_int_equal(pqb_err_from_errno(EWOULDBLOCK), PQB_ERR_AGAIN);
    assert_int_equal(pqb_err_from_errno(ENOENT), PQB_ERR_NOT_FOUND);
    assert_int_equal(pqb_err_from_errno(EIO), PQB_ERR_IO);
    assert_int_equal(pqb_err_from_errno(EACCES), PQB_ERR_IO);
}

static void a_failed_assertion_aborts(void **state)
{
    int status;
    const pid_t child = fork();

    (void)state;
    if (child == 0) {
        // Silent, and with the default action: the harness catches SIGABRT.
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
        PQB_ASSERT(child != 0);
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    PQB_ASSERT(child > 0);
}

struct entry {
    struct pqb_list link;
    int number;
};

static int number_of(struct pqb_list *link)
{
    return PQB_CONTAINER_OF(link, struct entry, link)->number;
}

static void a_list_keeps_order_and_unlinks_inside_a_loop(void **state)
{
    struct entry entries[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    struct pqb_list head;
    int expected = 0;

    (void)state;
    pqb_list_init(&head);
    assert_true(pqb_list_is_empty(&head));
    assert_null(pqb_list_pop_front(&head));
    for (int i = 1; i < 4; i++)
        pqb_list_push_back(&head, &entries[i].link);
    pqb_list_push_front(&head, &entries[0].link);
    PQB_LIST_FOREACH (it, &head) {
        assert_int_equal(number_of(it), expected++);
    }
    assert_int_equal(expected, 4);
    PQB_LIST_FOREACH_SAFE (it, after, &head) {
        if (number_of(it) % 2 == 0)
            pqb_list_unlink(it);
    }
    pqb_list_unlink(&entries[0].link); // twice is harmless
    assert_ptr_equal(pqb_list_pop_front(&head), &entries[1].link);
    assert_ptr_equal(pqb_list_pop_front(&head), &entries[3].link);
    assert_true(pqb_list_is_empty(&head));
}

static void time_saturates_instead_of_wrapping(void **state)
{
    (void)state;
    assert_int_equal(pqb_tstamp_add(1, 2), 3);
    assert_int_equal(pqb_tstamp_add(PQB_NEVER - 1, 1), PQB_NEVER);
    assert_int_equal(pqb_tstamp_add(PQB_NEVER - 1, 2), PQB_NEVER);
    assert_int_equal(pqb_tstamp_add(5, PQB_NEVER), PQB_NEVER);
    assert_int_equal(pqb_elapsed(3, 5), 2);
    assert_int_equal(pqb_elapsed(5, 3), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_a_name_of_its_own),
        cmocka_unit_test(errno_maps_to_the_nearest_error),
        cmocka_unit_test(a_failed_assertion_aborts),
        cmocka_unit_test(a_list_keeps_order_and_unlinks_inside_a_loop),
        cmocka_unit_test(time_saturates_instead_of_wrapping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
