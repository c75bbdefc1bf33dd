#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>

#include "common/base/err.h"
#include "gateway/io/mailbox.h"

static int is_readable(const struct pqb_mailbox *m)
{
    struct pollfd p = {.fd = m->fd, .events = POLLIN};

    return poll(&p, 1, 0);
}

static void letters_come_out_in_order_and_wake_once(void **state)
{
    struct pqb_mailbox m;
    int letters[3];

    (void)state;
    assert_int_equal(pqb_mailbox_init(&m, 4), PQB_OK);
    assert_int_equal(is_readable(&m), 0);
    for (int i = 0; i < 3; i++)
        assert_true(pqb_mailbox_post(&m, &letters[i]));
    assert_int_equal(is_readable(&m), 1);
    pqb_mailbox_clear(&m);
    assert_int_equal(is_readable(&m), 0);
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(pqb_mailbox_take(&m), &letters[i]);
    assert_null(pqb_mailbox_take(&m));
    pqb_mailbox_fini(&m);
}

static void a_letter_after_clearing_wakes_again(void **state)
{
    struct pqb_mailbox m;
    int letter;

    (void)state;
    assert_int_equal(pqb_mailbox_init(&m, 2), PQB_OK);
    assert_true(pqb_mailbox_post(&m, &letter));
    pqb_mailbox_clear(&m);
    assert_true(pqb_mailbox_post(&m, &letter));
    assert_int_equal(is_readable(&m), 1);
    pqb_mailbox_clear(&m);
    assert_non_null(pqb_mailbox_take(&m));
    assert_non_null(pqb_mailbox_take(&m));
    pqb_mailbox_fini(&m);
}

static void a_full_box_refuses_and_a_wake_needs_no_letter(void **state)
{
    struct pqb_mailbox m;
    int letter;

    (void)state;
    assert_int_equal(pqb_mailbox_init(&m, 2), PQB_OK);
    pqb_mailbox_wake(&m);
    assert_int_equal(is_readable(&m), 1);
    pqb_mailbox_clear(&m);
    assert_null(pqb_mailbox_take(&m));
    assert_true(pqb_mailbox_post(&m, &letter));
    assert_true(pqb_mailbox_post(&m, &letter));
    assert_false(pqb_mailbox_post(&m, &letter));
    assert_non_null(pqb_mailbox_take(&m));
    assert_non_null(pqb_mailbox_take(&m));
    pqb_mailbox_fini(&m);
}

static void closing_wakes_the_owner_of_a_full_box(void **state)
{
    struct pqb_mailbox m;
    int letter;

    (void)state;
    assert_int_equal(pqb_mailbox_init(&m, 2), PQB_OK);
    assert_true(pqb_mailbox_post(&m, &letter));
    assert_true(pqb_mailbox_post(&m, &letter));
    pqb_mailbox_clear(&m);
    assert_false(pqb_mailbox_is_closed(&m));
    pqb_mailbox_close(&m);
    assert_int_equal(is_readable(&m), 1);
    assert_true(pqb_mailbox_is_closed(&m));
    assert_non_null(pqb_mailbox_take(&m));
    assert_non_null(pqb_mailbox_take(&m));
    pqb_mailbox_fini(&m);
}

#define PRODUCERS 3
#define LETTERS   20000

static void *produce(void *arg)
{
    struct pqb_mailbox *m = arg;
    static int letter;

    for (int i = 0; i < LETTERS;)
        i += pqb_mailbox_post(m, &letter);
    return NULL;
}

// A lost wake-up would leave the consumer asleep with letters in the box: the poll times out.
static void no_wake_up_is_lost_between_threads(void **state)
{
    struct pqb_mailbox m;
    pthread_t threads[PRODUCERS];
    int taken = 0;

    (void)state;
    assert_int_equal(pqb_mailbox_init(&m, 8), PQB_OK);
    for (int i = 0; i < PRODUCERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &m), 0);
    while (taken < PRODUCERS * LETTERS) {
        struct pollfd p = {.fd = m.fd, .events = POLLIN};

        assert_int_equal(poll(&p, 1, 10000), 1);
        pqb_mailbox_clear(&m);
        while (pqb_mailbox_take(&m) != NULL)
            taken++;
    }
    for (int i = 0; i < PRODUCERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    pqb_mailbox_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_come_out_in_order_and_wake_once),
        cmocka_unit_test(a_letter_after_clearing_wakes_again),
        cmocka_unit_test(a_full_box_refuses_and_a_wake_needs_no_letter),
        cmocka_unit_test(closing_wakes_the_owner_of_a_full_box),
        cmocka_unit_test(no_wake_up_is_lost_between_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
