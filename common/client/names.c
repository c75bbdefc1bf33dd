// Names of the public enums, for logs and people.
#include "common/base/err.h"
#include "common/client/paquebot.h"
#include "common/wire/frame.h"

const char *pqb_client_err_name(int err)
{
    return pqb_err_name(err);
}

const char *pqb_client_receipt_name(enum pqb_client_receipt receipt)
{
    if (receipt == PQB_RECEIPT_UNCERTAIN)
        return "uncertain";
    return pqb_state_name((uint8_t)receipt);
}

const char *pqb_client_refusal_name(unsigned refusal)
{
    return pqb_nack_reason_name((uint8_t)refusal);
}

const char *pqb_client_reason_name(enum pqb_client_reason reason)
{
    switch (reason) {
    case PQB_REASON_NONE:
        return "none";
    case PQB_REASON_CLOSED:
        return "closed";
    case PQB_REASON_TIMEOUT:
        return "timeout";
    case PQB_REASON_BUSY:
        return "busy";
    case PQB_REASON_SILENT:
        return "silent";
    case PQB_REASON_RESET:
        return "reset";
    case PQB_REASON_REPLACED:
        return "replaced";
    case PQB_REASON_ADMIN:
        return "admin";
    case PQB_REASON_DRAIN:
        return "drain";
    case PQB_REASON_EPOCH:
        return "epoch";
    case PQB_REASON_GIVE_UP:
        return "give_up";
    case PQB_REASON_STORE:
        return "store";
    case PQB_REASON_EXPIRED:
        return "expired";
    }
    return "unknown";
}
