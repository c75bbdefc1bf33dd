#include "gateway/core/outbox.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"

#define FREE_MAX 256 // kept for reuse; more go back to the system

static_assert(PQB_OUTBOX_BYTES <= UINT16_MAX, "offsets have 16 bits");

void pqb_outbox_pool_init(struct pqb_outbox_pool *p)
{
    *p = (struct pqb_outbox_pool){.free_count = 0};
    pqb_list_init(&p->free);
}

void pqb_outbox_pool_fini(struct pqb_outbox_pool *p)
{
    struct pqb_list *node;

    PQB_ASSERT(p->used_count == 0);
    while ((node = pqb_list_pop_front(&p->free)))
        free(PQB_CONTAINER_OF(node, struct pqb_outbox, free));
}

struct pqb_outbox *pqb_outbox_take(struct pqb_outbox_pool *p)
{
    struct pqb_list *node = pqb_list_pop_front(&p->free);
    struct pqb_outbox *o;

    if (node) {
        p->free_count--;
        o = PQB_CONTAINER_OF(node, struct pqb_outbox, free);
    } else {
        o = malloc(sizeof(*o));
        if (!o)
            return NULL;
        pqb_list_init(&o->free);
    }
    o->stored.count = o->delivered.count = 0;
    o->page.max = 0;
    o->at = o->len = 0;
    p->used_count++;
    return o;
}

void pqb_outbox_put(struct pqb_outbox_pool *p, struct pqb_outbox *o)
{
    p->used_count--;
    explicit_bzero(o->bytes, o->len); // a ticket may have been among it
    if (p->free_count >= FREE_MAX) {
        free(o);
        return;
    }
    pqb_list_push_front(&p->free, &o->free);
    p->free_count++;
}

// Moves what waits to the front when that makes room.
static void compact(struct pqb_outbox *o)
{
    if (o->at == o->len) {
        o->at = o->len = 0;
    } else if (o->at > PQB_OUTBOX_BYTES / 2) {
        memmove(o->bytes, o->bytes + o->at, (size_t)(o->len - o->at));
        o->len = (uint16_t)(o->len - o->at);
        o->at = 0;
    }
}

bool pqb_outbox_push(struct pqb_outbox *o, const struct pqb_frame *frame)
{
    size_t written;

    compact(o);
    written = pqb_frame_encode(frame, o->bytes + o->len, PQB_OUTBOX_BYTES - o->len);
    PQB_ASSERT(written <= PQB_FRAMES_MAX);
    o->len = (uint16_t)(o->len + written);
    return written > 0;
}

bool pqb_outbox_push_bytes(struct pqb_outbox *o, const uint8_t *frame, size_t len)
{
    PQB_ASSERT(len > 0 && len <= PQB_FRAMES_MAX);
    compact(o);
    if (len > PQB_OUTBOX_BYTES - (size_t)o->len)
        return false;
    memcpy(o->bytes + o->len, frame, len);
    o->len = (uint16_t)(o->len + len);
    return true;
}

bool pqb_outbox_hint(struct pqb_outbox *o, uint8_t state, uint64_t first, uint64_t last)
{
    struct pqb_ranges *r = state == PQB_STATE_DELIVERED ? &o->delivered : &o->stored;

    return pqb_ranges_add(r, first, last) == PQB_OK;
}

static size_t pop_answers(struct pqb_outbox *o, uint8_t *out, size_t capacity)
{
    size_t used = 0;

    while (o->at < o->len) {
        const uint8_t *frame = o->bytes + o->at;
        const size_t len = PQB_FRAME_HEADER_LEN + (size_t)((unsigned)frame[1] << 8 | frame[2]);

        if (len > capacity - used)
            break;
        memcpy(out + used, frame, len);
        used += len;
        o->at = (uint16_t)(o->at + len);
    }
    return used;
}

static size_t pop_hint(struct pqb_ranges *r, uint8_t state, uint8_t *out, size_t capacity)
{
    struct pqb_frame frame = {.type = PQB_FRAME_ACK_N};
    size_t used;

    if (r->count == 0)
        return 0;
    frame.ack_n.state = state;
    frame.ack_n.seqs = *r;
    used = pqb_frame_encode(&frame, out, capacity);
    if (used > 0)
        r->count = 0;
    return used;
}

size_t pqb_outbox_pop(struct pqb_outbox *o, uint8_t *out, size_t capacity)
{
    size_t used = pop_answers(o, out, capacity);

    used += pop_hint(&o->stored, PQB_STATE_STORED, out + used, capacity - used);
    used += pop_hint(&o->delivered, PQB_STATE_DELIVERED, out + used, capacity - used);
    return used;
}

bool pqb_outbox_is_empty(const struct pqb_outbox *o)
{
    return o->at == o->len && o->page.max == 0 && o->stored.count == 0 && o->delivered.count == 0;
}

int pqb_ranges_add(struct pqb_ranges *r, uint64_t first, uint64_t last)
{
    size_t i = 0, end;

    PQB_ASSERT(first <= last);
    while (i < r->count && r->at[i].last < first && first - r->at[i].last > 1)
        i++;
    end = i; // ranges i..end-1 touch first..last
    while (end < r->count && (r->at[end].first <= last || r->at[end].first - last == 1)) {
        first = PQB_MIN(first, r->at[end].first);
        last = PQB_MAX(last, r->at[end].last);
        end++;
    }
    if (i == end && r->count == PQB_FRAME_RANGES_MAX)
        return PQB_ERR_FULL;
    memmove(&r->at[i + 1], &r->at[end], (r->count - end) * sizeof(r->at[0]));
    r->at[i] = (struct pqb_range){.first = first, .last = last};
    r->count = r->count - (end - i) + 1;
    return PQB_OK;
}

bool pqb_ranges_have(const struct pqb_ranges *r, uint64_t value)
{
    for (size_t i = 0; i < r->count; i++)
        if (value >= r->at[i].first && value <= r->at[i].last)
            return true;
    return false;
}
