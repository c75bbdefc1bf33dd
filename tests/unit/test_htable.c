#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/defs.h"
#include "common/base/err.h"
#include "common/base/htable.h"
#include "common/base/rng.h"

#define ELEMENT_COUNT 300
#define HASH_COUNT    100 // fewer than elements: equal hashes are common
#define STEP_COUNT    50000

struct element {
    struct pqb_hnode node;
    uint64_t hash;
    bool is_linked;
    bool is_seen;
};

static struct element elements[ELEMENT_COUNT];

static struct element *element_of(struct pqb_hnode *node)
{
    return node != NULL ? PQB_CONTAINER_OF(node, struct element, node) : NULL;
}

static size_t count_linked(uint64_t hash)
{
    size_t count = 0;

    for (size_t i = 0; i < ELEMENT_COUNT; i++)
        count += elements[i].is_linked && elements[i].hash == hash;
    return count;
}

// Every find walks exactly the elements that the model has under that hash, each once.
static void check_find(const struct pqb_htable *t, uint64_t hash)
{
    size_t count = 0;

    for (struct pqb_hnode *n = pqb_htable_find(t, hash); n != NULL; n = pqb_htable_find_next(n)) {
        assert_true(element_of(n)->is_linked);
        assert_int_equal(element_of(n)->hash, hash);
        count++;
    }
    assert_int_equal(count, count_linked(hash));
}

static void check_iteration(const struct pqb_htable *t)
{
    size_t count = 0;

    for (size_t i = 0; i < ELEMENT_COUNT; i++)
        elements[i].is_seen = false;
    for (struct pqb_hnode *n = pqb_htable_next(t, NULL); n != NULL; n = pqb_htable_next(t, n)) {
        assert_true(element_of(n)->is_linked);
        assert_false(element_of(n)->is_seen);
        element_of(n)->is_seen = true;
        count++;
    }
    assert_int_equal(count, t->count);
}

static void toggle(struct pqb_htable *t, struct pqb_rng *rng, struct element *e)
{
    if (e->is_linked) {
        pqb_htable_remove(t, &e->node);
    } else {
        // High bits only in some: the mask must not be all that tells hashes apart.
        e->hash = pqb_rng_below(rng, HASH_COUNT) << (pqb_rng_below(rng, 2) * 40);
        pqb_htable_insert(t, &e->node, e->hash);
    }
    e->is_linked = !e->is_linked;
}

static void many_random_steps_agree_with_a_flat_array(void **state)
{
    struct pqb_htable t;
    struct pqb_rng rng;
    size_t linked = 0;

    (void)state;
    pqb_rng_init_seed(&rng, 1);
    assert_int_equal(pqb_htable_init(&t), PQB_OK);
    for (int step = 0; step < STEP_COUNT; step++) {
        struct element *e = &elements[pqb_rng_below(&rng, ELEMENT_COUNT)];

        toggle(&t, &rng, e);
        linked = e->is_linked ? linked + 1 : linked - 1;
        assert_int_equal(t.count, linked);
        check_find(&t, e->hash);
        if (step % 100 == 0)
            check_iteration(&t);
    }
    assert_true(t.mask >= 127); // it has grown on the way
    pqb_htable_fini(&t);
}

static void an_empty_table_finds_and_iterates_nothing(void **state)
{
    struct pqb_htable t;

    (void)state;
    assert_int_equal(pqb_htable_init(&t), PQB_OK);
    assert_null(pqb_htable_find(&t, 0));
    assert_null(pqb_htable_next(&t, NULL));
    pqb_htable_fini(&t);
}

static void elements_may_be_removed_while_iterating_when_the_next_is_fetched_first(void **state)
{
    struct pqb_hnode nodes[40];
    struct pqb_htable t;

    (void)state;
    assert_int_equal(pqb_htable_init(&t), PQB_OK);
    for (size_t i = 0; i < PQB_ARRAY_LEN(nodes); i++)
        pqb_htable_insert(&t, &nodes[i], i * 3);
    for (struct pqb_hnode *n = pqb_htable_next(&t, NULL); n != NULL;) {
        struct pqb_hnode *next = pqb_htable_next(&t, n);

        pqb_htable_remove(&t, n);
        n = next;
    }
    assert_int_equal(t.count, 0);
    pqb_htable_fini(&t);
}

static void buckets_double_when_the_load_passes_one(void **state)
{
    struct pqb_hnode nodes[17];
    struct pqb_htable t;

    (void)state;
    assert_int_equal(pqb_htable_init(&t), PQB_OK);
    for (size_t i = 0; i < 16; i++)
        pqb_htable_insert(&t, &nodes[i], i);
    assert_int_equal(t.mask, 15);
    pqb_htable_insert(&t, &nodes[16], 16);
    assert_int_equal(t.mask, 31);
    pqb_htable_fini(&t);
}

static void buckets_are_given_back_when_few_are_in_use(void **state)
{
    struct pqb_hnode nodes[1000];
    struct pqb_htable t;

    (void)state;
    assert_int_equal(pqb_htable_init(&t), PQB_OK);
    for (size_t i = 0; i < PQB_ARRAY_LEN(nodes); i++)
        pqb_htable_insert(&t, &nodes[i], i);
    pqb_htable_shrink(&t);
    assert_int_equal(t.mask, 1023); // in use
    for (size_t i = 100; i < PQB_ARRAY_LEN(nodes); i++)
        pqb_htable_remove(&t, &nodes[i]);
    pqb_htable_shrink(&t);
    assert_int_equal(t.mask, 255);
    for (size_t i = 0; i < 100; i++)
        assert_ptr_equal(pqb_htable_find(&t, i), &nodes[i]);
    assert_null(pqb_htable_find(&t, 100));
    for (size_t i = 0; i < 100; i++)
        pqb_htable_remove(&t, &nodes[i]);
    pqb_htable_shrink(&t);
    assert_int_equal(t.mask, 15); // as it began
    pqb_htable_fini(&t);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_random_steps_agree_with_a_flat_array),
        cmocka_unit_test(an_empty_table_finds_and_iterates_nothing),
        cmocka_unit_test(elements_may_be_removed_while_iterating_when_the_next_is_fetched_first),
        cmocka_unit_test(buckets_are_given_back_when_few_are_in_use),
        cmocka_unit_test(buckets_double_when_the_load_passes_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
