#include "tools/pqbsim/impair.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

struct impaired {
    pqb_tstamp at;
    uint64_t order; // equal times leave in the order they came
    void *to;
    size_t len;
    uint8_t data[];
};

static bool is_earlier(const struct impaired *a, const struct impaired *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void sift_up(struct impair *im, size_t i)
{
    while (i > 0 && is_earlier(im->heap[i], im->heap[(i - 1) / 2])) {
        struct impaired *swap = im->heap[i];

        im->heap[i] = im->heap[(i - 1) / 2];
        im->heap[(i - 1) / 2] = swap;
        i = (i - 1) / 2;
    }
}

static void sift_down(struct impair *im)
{
    for (size_t i = 0;;) {
        size_t least = i;

        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < im->count; child++) {
            if (is_earlier(im->heap[child], im->heap[least]))
                least = child;
        }
        if (least == i)
            return;
        struct impaired *swap = im->heap[i];

        im->heap[i] = im->heap[least];
        im->heap[least] = swap;
        i = least;
    }
}

void impair_init(struct impair *im, const struct impair_config *config, uint64_t seed)
{
    *im = (struct impair){.config = *config};
    pqb_rng_init_seed(&im->rng, seed);
}

void impair_fini(struct impair *im)
{
    for (size_t i = 0; i < im->count; i++)
        free(im->heap[i]);
    free(im->heap);
    *im = (struct impair){0};
}

bool impair_is_clear(const struct impair *im)
{
    const struct impair_config *c = &im->config;

    return !(c->loss > 0) && !(c->dup > 0) && !(c->reorder > 0) && c->delay == 0 && c->jitter == 0;
}

static bool happens(struct impair *im, double probability)
{
    return probability > 0 && pqb_rng_unit(&im->rng) < probability;
}

static bool grow(struct impair *im)
{
    size_t capacity = im->capacity > 0 ? im->capacity * 2 : 256;
    struct impaired **heap;

    if (im->count < im->capacity)
        return true;
    if (im->count >= IMPAIR_HELD_MAX)
        return false;
    heap = realloc(im->heap, capacity * sizeof(struct impaired *));
    if (heap == NULL)
        return false;
    im->heap = heap;
    im->capacity = capacity;
    return true;
}

// A reordered datagram is late by up to the larger of 10 ms and half the delay.
static pqb_tstamp arrival(struct impair *im, pqb_tstamp now)
{
    pqb_tstamp at = now + im->config.delay;

    if (im->config.jitter > 0)
        at += pqb_rng_below(&im->rng, im->config.jitter);
    if (happens(im, im->config.reorder)) {
        at += pqb_rng_below(&im->rng, PQB_MAX(10 * PQB_NS_PER_MS, im->config.delay / 2)) + 1;
        im->stats.reordered++;
    }
    return at;
}

static void put_one(struct impair *im, void *to, const void *data, size_t len, pqb_tstamp now)
{
    struct impaired *d = grow(im) ? malloc(sizeof(*d) + len) : NULL;

    if (d == NULL) {
        im->stats.overflowed++;
        return;
    }
    d->at = arrival(im, now);
    d->order = im->order++;
    d->to = to;
    d->len = len;
    memcpy(d->data, data, len);
    im->heap[im->count++] = d;
    sift_up(im, im->count - 1);
    im->stats.passed++;
}

void impair_put(struct impair *im, void *to, const void *data, size_t len, pqb_tstamp now)
{
    if (happens(im, im->config.loss)) {
        im->stats.lost++;
        return;
    }
    put_one(im, to, data, len, now);
    if (happens(im, im->config.dup)) {
        im->stats.duplicated++;
        put_one(im, to, data, len, now);
    }
}

size_t impair_take(struct impair *im, void **to, void *data, size_t capacity, pqb_tstamp now)
{
    struct impaired *d = im->count > 0 ? im->heap[0] : NULL;
    size_t len;

    if (d == NULL || d->at > now)
        return 0;
    PQB_ASSERT(d->len <= capacity);
    im->heap[0] = im->heap[--im->count];
    sift_down(im);
    *to = d->to;
    len = d->len;
    memcpy(data, d->data, len);
    free(d);
    return len;
}

pqb_tstamp impair_next(const struct impair *im)
{
    return im->count > 0 ? im->heap[0]->at : PQB_NEVER;
}
