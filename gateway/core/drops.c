#include <stddef.h>

#include "gateway/core/engine_impl.h"

void pqb_count_verdict(struct pqb_engine *e, enum pqb_verdict verdict)
{
    switch (verdict) {
    case PQB_VERDICT_OK:
        break;
    case PQB_VERDICT_SHORT:
        pqb_count(e, PQB_COUNTER_DROP_SHORT);
        break;
    case PQB_VERDICT_LONG:
        pqb_count(e, PQB_COUNTER_DROP_LONG);
        break;
    case PQB_VERDICT_VERSION:
        pqb_count(e, PQB_COUNTER_DROP_VERSION);
        break;
    case PQB_VERDICT_TYPE:
        pqb_count(e, PQB_COUNTER_DROP_TYPE);
        break;
    case PQB_VERDICT_STRUCTURE:
        pqb_count(e, PQB_COUNTER_DROP_STRUCTURE);
        break;
    case PQB_VERDICT_FIELD:
        pqb_count(e, PQB_COUNTER_DROP_FIELD);
        break;
    }
}

void pqb_count_nack(struct pqb_engine *e, enum pqb_nack_reason reason)
{
    switch (reason) {
#define PQB_NACK_REASON(name, code, text, is_final, help) \
    case PQB_NACK_##name:                                 \
        pqb_count(e, PQB_COUNTER_NACK_##name);            \
        break;
#include "common/wire/reasons.def"
#undef PQB_NACK_REASON
    }
}

void pqb_count_frame(struct pqb_engine *e, uint8_t code)
{
    switch ((enum pqb_frame_type)code) {
#define PQB_FRAME(name, number, text, direction, fragmentable, help) \
    case PQB_FRAME_##name:                                           \
        pqb_count(e, PQB_COUNTER_FRAME_IN_##name);                   \
        break;
#include "common/wire/frames.def"
#undef PQB_FRAME
    }
}
