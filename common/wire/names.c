// Names and properties of the wire's numbers, from frames.def and reasons.def.
#include "common/wire/datagram.h"
#include "common/wire/frame.h"

struct frame_info {
    const char *name; // NULL: no such type
    bool is_fragmentable;
};

static const struct frame_info frames[256] = {
#define PQB_FRAME(name, code, text, direction, fragmentable, help) [code] = {text, fragmentable},
#include "common/wire/frames.def"
#undef PQB_FRAME
};

struct reason_info {
    const char *name; // NULL: no such reason
    bool is_final;
};

static const struct reason_info reasons[256] = {
#define PQB_NACK_REASON(name, code, text, is_final, help) [code] = {text, is_final},
#include "common/wire/reasons.def"
#undef PQB_NACK_REASON
};

bool pqb_frame_is_known(uint8_t code)
{
    return frames[code].name != NULL;
}

bool pqb_frame_is_fragmentable(uint8_t code)
{
    return frames[code].is_fragmentable;
}

const char *pqb_frame_name(uint8_t code)
{
    return frames[code].name ? frames[code].name : "unknown";
}

const char *pqb_nack_reason_name(uint8_t reason)
{
    return reasons[reason].name ? reasons[reason].name : "unknown";
}

bool pqb_nack_reason_is_final(uint8_t reason)
{
    return reasons[reason].is_final;
}

const char *pqb_state_name(uint8_t state)
{
    switch ((enum pqb_state)state) {
    case PQB_STATE_UNKNOWN:
        return "unknown";
    case PQB_STATE_ACCEPTED:
        return "accepted";
    case PQB_STATE_STORED:
        return "stored";
    case PQB_STATE_DELIVERED:
        return "delivered";
    case PQB_STATE_READ:
        return "read";
    case PQB_STATE_REFUSED:
        return "refused";
    case PQB_STATE_ABANDONED:
        return "abandoned";
    }
    return "invalid";
}

const char *pqb_verdict_name(enum pqb_verdict verdict)
{
    switch (verdict) {
    case PQB_VERDICT_OK:
        return "ok";
    case PQB_VERDICT_SHORT:
        return "short";
    case PQB_VERDICT_LONG:
        return "long";
    case PQB_VERDICT_VERSION:
        return "version";
    case PQB_VERDICT_TYPE:
        return "type";
    case PQB_VERDICT_STRUCTURE:
        return "structure";
    case PQB_VERDICT_FIELD:
        return "field";
    }
    return "invalid";
}
