#include "common/base/mpsc.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/err.h"

// A slot's `turn` says whose it is: equal to a position, the producer of that position may fill
// it; one more, the consumer may empty it. Two slots at least: with one, "filled" and "free for
// the next round" would be the same number.
#define CAPACITY_MIN 2
#define CAPACITY_MAX (SIZE_MAX / 2 / sizeof(struct pqb_mpsc_slot))

int pqb_mpsc_init(struct pqb_mpsc *q, size_t capacity)
{
    size_t slot_count = CAPACITY_MIN;

    PQB_ASSERT(capacity > 0);
    if (capacity > CAPACITY_MAX)
        return PQB_ERR_NOMEM;
    while (slot_count < capacity)
        slot_count *= 2;
    q->slots = calloc(slot_count, sizeof(*q->slots));
    if (q->slots == NULL)
        return PQB_ERR_NOMEM;
    for (size_t i = 0; i < slot_count; i++)
        atomic_init(&q->slots[i].turn, i);
    q->mask = slot_count - 1;
    atomic_init(&q->tail, 0);
    atomic_init(&q->head, 0);
    return PQB_OK;
}

void pqb_mpsc_fini(struct pqb_mpsc *q)
{
    free(q->slots);
    q->slots = NULL;
}

bool pqb_mpsc_push(struct pqb_mpsc *q, void *item)
{
    uint64_t at = atomic_load_explicit(&q->tail, memory_order_relaxed);

    PQB_ASSERT(item != NULL); // NULL is pop's word for empty
    for (;;) {
        struct pqb_mpsc_slot *slot = &q->slots[at & q->mask];
        const uint64_t turn = atomic_load_explicit(&slot->turn, memory_order_acquire);

        if (turn < at)
            return false; // still holds the item of one round ago
        if (turn > at) {
            at = atomic_load_explicit(&q->tail, memory_order_relaxed); // another producer was first
        } else if (atomic_compare_exchange_weak_explicit(
                       &q->tail, &at, at + 1, memory_order_relaxed, memory_order_relaxed)) {
            slot->item = item;
            atomic_store_explicit(&slot->turn, turn + 1, memory_order_release);
            return true;
        }
    }
}

void *pqb_mpsc_pop(struct pqb_mpsc *q)
{
    const uint64_t at = atomic_load_explicit(&q->head, memory_order_relaxed);
    struct pqb_mpsc_slot *slot = &q->slots[at & q->mask];

    if (atomic_load_explicit(&slot->turn, memory_order_acquire) != at + 1)
        return NULL;

    void *item = slot->item;

    atomic_store_explicit(&slot->turn, at + q->mask + 1, memory_order_release);
    atomic_store_explicit(&q->head, at + 1, memory_order_relaxed);
    return item;
}

size_t pqb_mpsc_len(const struct pqb_mpsc *q)
{
    // Head first: it cannot then be ahead of the tail read after it.
    const uint64_t head = atomic_load_explicit(&q->head, memory_order_acquire);
    const uint64_t tail = atomic_load_explicit(&q->tail, memory_order_acquire);

    return (size_t)(tail > head ? tail - head : 0);
}
