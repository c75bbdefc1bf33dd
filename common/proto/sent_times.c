#include "common/proto/sent_times.h"

#include <stdlib.h>
#include <string.h>

#include "common/proto/packet_keys.h"

static uint32_t microseconds(pqb_tstamp at)
{
    return (uint32_t)(at / PQB_NS_PER_US);
}

static struct pqb_sent_time *places(struct pqb_sent_times *t)
{
    return t->far != NULL ? t->far : t->near;
}

void pqb_sent_times_clear(struct pqb_sent_times *t)
{
    free(t->far);
    *t = (struct pqb_sent_times){.count = 0};
}

static void forget_before(struct pqb_sent_times *t, uint32_t index)
{
    struct pqb_sent_time *from = places(t) + index;

    t->count -= index;
    if (t->far != NULL && t->count <= PQB_SENT_TIMES_NEAR) {
        memcpy(t->near, from, t->count * sizeof(*from));
        free(t->far);
        t->far = NULL;
    } else {
        memmove(places(t), from, t->count * sizeof(*from));
    }
}

static void thin_out(struct pqb_sent_times *t)
{
    struct pqb_sent_time *at = places(t);

    t->count /= 2;
    for (uint32_t i = 0; i < t->count; i++)
        at[i] = at[2 * (size_t)i];
}

static void make_room(struct pqb_sent_times *t)
{
    if (t->far == NULL) {
        t->far = malloc(PQB_SENT_TIMES_MAX * sizeof(*t->far));
        if (t->far != NULL) {
            memcpy(t->far, t->near, sizeof(t->near));
            return;
        }
    }
    thin_out(t);
}

// Packets of one turn, or close together in a long flight, share a place.
static bool may_share_place(const struct pqb_sent_time *last, uint32_t pn, uint32_t flight,
                            uint32_t at_us)
{
    return last->at_us == at_us || pn - last->pn < flight / (PQB_SENT_TIMES_MAX / 2);
}

void pqb_sent_times_note(struct pqb_sent_times *t, uint32_t pn, uint32_t flight, pqb_tstamp now)
{
    const struct pqb_sent_time place = {.pn = pn, .at_us = microseconds(now)};

    if (t->count > 0 && may_share_place(&places(t)[t->count - 1], pn, flight, place.at_us))
        return;
    if (t->count == (t->far != NULL ? PQB_SENT_TIMES_MAX : PQB_SENT_TIMES_NEAR))
        make_room(t);
    places(t)[t->count++] = place;
}

bool pqb_sent_times_take(struct pqb_sent_times *t, uint32_t pn, pqb_tstamp now,
                         uint32_t *elapsed_us)
{
    const struct pqb_sent_time *at = places(t);
    uint32_t i = t->count;

    while (i > 0 && pqb_pn_is_before(pn, at[i - 1].pn))
        i--;
    if (i == 0)
        return false;
    *elapsed_us = microseconds(now) - at[i - 1].at_us;
    forget_before(t, i - 1);
    return true;
}

size_t pqb_sent_times_memory(const struct pqb_sent_times *t)
{
    return t->far != NULL ? PQB_SENT_TIMES_MAX * sizeof(*t->far) : 0;
}
