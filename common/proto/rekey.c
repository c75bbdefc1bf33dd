#include "common/proto/rekey.h"

#include "common/proto/packet_keys.h"

bool pqb_rekey_is_due(uint32_t packets, pqb_duration age)
{
    return packets >= PQB_REKEY_PACKETS || age >= PQB_REKEY_NS;
}
