#include "tools/pqbsim/traffic.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/wire/datagram.h"

int traffic_init(struct traffic *t, pqb_tstamp now)
{
    *t = (struct traffic){.start = now};
    t->slots = calloc(TRAFFIC_SLOTS_MAX, sizeof(*t->slots));
    return t->slots != NULL ? PQB_OK : PQB_ERR_NOMEM;
}

void traffic_fini(struct traffic *t)
{
    free(t->slots);
    *t = (struct traffic){0};
}

size_t traffic_slot_at(const struct traffic *t, pqb_tstamp at)
{
    return PQB_MIN(pqb_elapsed(t->start, at) / TRAFFIC_SLOT_NS, (uint64_t)TRAFFIC_SLOTS_MAX - 1);
}

void traffic_add(struct traffic *t, bool is_up, const void *data, size_t len, uint32_t online,
                 pqb_tstamp now)
{
    const size_t at = traffic_slot_at(t, now);
    struct traffic_slot *slot = &t->slots[at];
    enum pqb_datagram_type type;

    t->count = PQB_MAX(t->count, at + 1);
    slot->online = PQB_MAX(slot->online, online);
    if (!is_up) {
        slot->down++;
        slot->down_bytes += len;
        return;
    }
    slot->up++;
    slot->up_bytes += len;
    slot->inits += pqb_datagram_peek(data, len, &type) == PQB_VERDICT_OK &&
                   (type == PQB_DATAGRAM_INIT || type == PQB_DATAGRAM_RESUME);
}

struct traffic_slot traffic_sum(const struct traffic *t, size_t first, size_t last)
{
    struct traffic_slot sum = {0};

    PQB_ASSERT(last < TRAFFIC_SLOTS_MAX);
    for (size_t i = first; i <= last; i++) {
        const struct traffic_slot *slot = &t->slots[i];

        sum.up += slot->up;
        sum.down += slot->down;
        sum.inits += slot->inits;
        sum.online = PQB_MAX(sum.online, slot->online);
        sum.up_bytes += slot->up_bytes;
        sum.down_bytes += slot->down_bytes;
    }
    return sum;
}

uint32_t traffic_inits_peak(const struct traffic *t, size_t first, size_t last)
{
    uint32_t peak = 0;

    PQB_ASSERT(last < TRAFFIC_SLOTS_MAX);
    for (size_t i = first; i <= last; i++)
        peak = PQB_MAX(peak, t->slots[i].inits);
    return peak;
}
