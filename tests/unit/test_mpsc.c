#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "common/base/err.h"
#include "common/base/mpsc.h"

#define PRODUCER_COUNT     2
#define ITEMS_PER_PRODUCER 100000

struct item {
    unsigned producer;
    unsigned number;
};

struct producer {
    pthread_t thread;
    struct pqb_mpsc *queue;
    struct item *items;
};

static void *produce(void *arg)
{
    struct producer *p = arg;

    for (size_t i = 0; i < ITEMS_PER_PRODUCER; i++) {
        while (!pqb_mpsc_push(p->queue, &p->items[i]))
            sched_yield();
    }
    return NULL;
}

static void start(struct producer *p, unsigned number, struct pqb_mpsc *queue)
{
    p->queue = queue;
    p->items = calloc(ITEMS_PER_PRODUCER, sizeof(*p->items));
    assert_non_null(p->items);
    for (unsigned i = 0; i < ITEMS_PER_PRODUCER; i++)
        p->items[i] = (struct item){.producer = number, .number = i};
    assert_int_equal(pthread_create(&p->thread, NULL, produce, p), 0);
}

static void two_producers_lose_nothing_and_keep_their_order(void **state)
{
    struct producer producers[PRODUCER_COUNT];
    unsigned next[PRODUCER_COUNT] = {0};
    struct pqb_mpsc q;

    (void)state;
    assert_int_equal(pqb_mpsc_init(&q, 64), PQB_OK);
    for (unsigned i = 0; i < PRODUCER_COUNT; i++)
        start(&producers[i], i, &q);
    for (unsigned taken = 0; taken < PRODUCER_COUNT * ITEMS_PER_PRODUCER;) {
        const struct item *item = pqb_mpsc_pop(&q);

        if (item == NULL) {
            sched_yield();
            continue;
        }
        assert_int_equal(item->number, next[item->producer]);
        next[item->producer]++;
        taken++;
    }
    for (unsigned i = 0; i < PRODUCER_COUNT; i++) {
        assert_int_equal(pthread_join(producers[i].thread, NULL), 0);
        free(producers[i].items);
    }
    assert_null(pqb_mpsc_pop(&q));
    pqb_mpsc_fini(&q);
}

static void a_full_queue_refuses_and_takes_again_after_a_pop(void **state)
{
    int items[5];
    struct pqb_mpsc q;

    (void)state;
    assert_int_equal(pqb_mpsc_init(&q, 3), PQB_OK); // rounded up to 4
    for (size_t i = 0; i < 4; i++)
        assert_true(pqb_mpsc_push(&q, &items[i]));
    assert_int_equal(pqb_mpsc_len(&q), 4);
    assert_false(pqb_mpsc_push(&q, &items[4]));
    assert_ptr_equal(pqb_mpsc_pop(&q), &items[0]);
    assert_true(pqb_mpsc_push(&q, &items[4]));
    for (size_t i = 1; i < 5; i++)
        assert_ptr_equal(pqb_mpsc_pop(&q), &items[i]);
    assert_null(pqb_mpsc_pop(&q));
    assert_int_equal(pqb_mpsc_len(&q), 0);
    pqb_mpsc_fini(&q);
}

static void the_smallest_queue_keeps_order_through_many_rounds(void **state)
{
    int items[2];
    struct pqb_mpsc q;

    (void)state;
    assert_int_equal(pqb_mpsc_init(&q, 1), PQB_OK); // rounded up to 2
    for (int round = 0; round < 1000; round++) {
        assert_true(pqb_mpsc_push(&q, &items[0]));
        assert_true(pqb_mpsc_push(&q, &items[1]));
        assert_false(pqb_mpsc_push(&q, &items[0]));
        assert_ptr_equal(pqb_mpsc_pop(&q), &items[0]);
        assert_ptr_equal(pqb_mpsc_pop(&q), &items[1]);
        assert_null(pqb_mpsc_pop(&q));
    }
    pqb_mpsc_fini(&q);
}

static void an_absurd_capacity_is_refused(void **state)
{
    struct pqb_mpsc q;

    (void)state;
    assert_int_equal(pqb_mpsc_init(&q, SIZE_MAX), PQB_ERR_NOMEM);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_producers_lose_nothing_and_keep_their_order),
        cmocka_unit_test(a_full_queue_refuses_and_takes_again_after_a_pop),
        cmocka_unit_test(the_smallest_queue_keeps_order_through_many_rounds),
        cmocka_unit_test(an_absurd_capacity_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
