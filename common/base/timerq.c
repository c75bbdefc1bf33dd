#include "common/base/timerq.h"

#include <stdint.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/err.h"

// Four children a node: half the levels of a binary heap, and siblings share a cache line.
#define ARITY 4

#define CAPACITY_MAX (SIZE_MAX / 2 / sizeof(struct pqb_timer *))

void pqb_timer_init(struct pqb_timer *timer)
{
    *timer = (struct pqb_timer){.deadline = PQB_NEVER, .index = SIZE_MAX};
}

void pqb_timerq_init(struct pqb_timerq *q)
{
    *q = (struct pqb_timerq){0};
}

void pqb_timerq_fini(struct pqb_timerq *q)
{
    free(q->heap);
    pqb_timerq_init(q);
}

int pqb_timerq_reserve(struct pqb_timerq *q, size_t count)
{
    if (count <= q->capacity)
        return PQB_OK;
    if (count > CAPACITY_MAX)
        return PQB_ERR_NOMEM;

    // Doubling keeps a reservation for each new owner cheap.
    const size_t capacity = PQB_MAX(count, q->capacity * 2);
    struct pqb_timer **heap = reallocarray(q->heap, capacity, sizeof(struct pqb_timer *));

    if (heap == NULL)
        return PQB_ERR_NOMEM;
    q->heap = heap;
    q->capacity = capacity;
    return PQB_OK;
}

static void place(struct pqb_timerq *q, struct pqb_timer *timer, size_t index)
{
    q->heap[index] = timer;
    timer->index = index;
}

static void sift_up(struct pqb_timerq *q, struct pqb_timer *timer, size_t index)
{
    while (index > 0) {
        const size_t parent = (index - 1) / ARITY;

        if (q->heap[parent]->deadline <= timer->deadline)
            break;
        place(q, q->heap[parent], index);
        index = parent;
    }
    place(q, timer, index);
}

// Index of the earliest child of `index`, or `q->count` when it has none.
static size_t earliest_child(const struct pqb_timerq *q, size_t index)
{
    const size_t first = index * ARITY + 1;
    size_t best = PQB_MIN(first, q->count);

    for (size_t i = first; i < q->count && i < first + ARITY; i++) {
        if (q->heap[i]->deadline < q->heap[best]->deadline)
            best = i;
    }
    return best;
}

static void sift_down(struct pqb_timerq *q, struct pqb_timer *timer, size_t index)
{
    for (;;) {
        const size_t child = earliest_child(q, index);

        if (child == q->count || q->heap[child]->deadline >= timer->deadline)
            break;
        place(q, q->heap[child], index);
        index = child;
    }
    place(q, timer, index);
}

// Puts `timer` where its deadline belongs, starting from `index`, which is free or its own.
static void settle(struct pqb_timerq *q, struct pqb_timer *timer, size_t index)
{
    if (index > 0 && q->heap[(index - 1) / ARITY]->deadline > timer->deadline)
        sift_up(q, timer, index);
    else
        sift_down(q, timer, index);
}

static void cancel(struct pqb_timerq *q, struct pqb_timer *timer)
{
    const size_t index = timer->index;
    struct pqb_timer *last = q->heap[--q->count];

    if (last != timer)
        settle(q, last, index);
    pqb_timer_init(timer);
}

void pqb_timerq_set(struct pqb_timerq *q, struct pqb_timer *timer, pqb_tstamp deadline)
{
    const bool is_armed = timer->index != SIZE_MAX;

    PQB_ASSERT(!is_armed || (timer->index < q->count && q->heap[timer->index] == timer));
    if (deadline == PQB_NEVER) {
        if (is_armed)
            cancel(q, timer);
        return;
    }
    timer->deadline = deadline;
    if (is_armed) {
        settle(q, timer, timer->index);
    } else {
        PQB_ASSERT(q->count < q->capacity);
        sift_up(q, timer, q->count++);
    }
}

pqb_tstamp pqb_timerq_next_deadline(const struct pqb_timerq *q)
{
    return q->count > 0 ? q->heap[0]->deadline : PQB_NEVER;
}

struct pqb_timer *pqb_timerq_pop_expired(struct pqb_timerq *q, pqb_tstamp now)
{
    if (q->count == 0 || q->heap[0]->deadline > now)
        return NULL;

    struct pqb_timer *timer = q->heap[0];

    cancel(q, timer);
    return timer;
}
