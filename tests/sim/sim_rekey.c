#include "tests/sim/sim_rekey.h"

#include "common/proto/packet_keys.h"
#include "common/proto/rekey.h"

static uint32_t packets_max;
static pqb_duration age_max;

void sim_rekey_set(uint32_t packets, pqb_duration age)
{
    packets_max = packets > 0 ? packets : (uint32_t)PQB_REKEY_PACKETS;
    age_max = age > 0 ? age : PQB_REKEY_NS;
}

// Linked in the place of the product's.
bool pqb_rekey_is_due(uint32_t packets, pqb_duration age)
{
    return packets >= packets_max || age >= age_max;
}
