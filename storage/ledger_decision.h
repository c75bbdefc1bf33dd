// A request on its way through the ledger, shared by the two files that decide.
#pragma once

#include "storage/ledger_internal.h"

// A request on its way through the ledger.
struct pqb_decision {
    struct pqb_ledger *l;
    struct pqb_request *r;
    const struct pqb_ledger_turn *turn;
    struct pqb_ledger_user *user;     // the requesting one
    struct pqb_ledger_device *device; // of `user`
};

// Appends the record and applies it: the one way to change anything.
PQB_MUST_USE int pqb_decision_post(struct pqb_ledger *l, const struct pqb_journal_record *record);

// A record of `type` that concerns the requesting user and device.
struct pqb_journal_record pqb_decision_record(const struct pqb_decision *d,
                                              enum pqb_record_type type);

// Sets the request's result; always PQB_OK, for return.
int pqb_decision_finish(const struct pqb_decision *d, enum pqb_result result, uint8_t nack);

bool pqb_decision_may_add_user(const struct pqb_ledger *l);
// A new name; `creator` is who mentioned it, NULL when it logs in itself.
PQB_MUST_USE int pqb_decision_user_begin(struct pqb_decision *d, const char *name, size_t len,
                                         const struct pqb_decision *creator,
                                         struct pqb_ledger_user **out);
PQB_MUST_USE int pqb_decision_generation_begin(struct pqb_decision *d, struct pqb_ledger_user *u,
                                               uint32_t above);

// ledger_message.c
PQB_MUST_USE int pqb_decide_msg(struct pqb_decision *d);
PQB_MUST_USE int pqb_decide_skip(struct pqb_decision *d);
PQB_MUST_USE int pqb_decide_stat(struct pqb_decision *d);
