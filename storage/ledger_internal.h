// Shared by the ledger's files: state and undo (ledger.c), rows (ledger_rows.c), applying records
// (ledger_apply.c), deciding requests (ledger_decide.c, ledger_message.c). Nobody else includes it.
#pragma once

#include "storage/ledger.h"

// Before the first change of a batch to `u` or `d`: keep a copy for abort, mark the user dirty.
PQB_MUST_USE int pqb_ledger_user_touch(struct pqb_ledger *l, struct pqb_ledger_user *u);
PQB_MUST_USE int pqb_ledger_device_touch(struct pqb_ledger *l, struct pqb_ledger_user *u,
                                         struct pqb_ledger_device *d);

// `u` must have been touched.
PQB_MUST_USE int pqb_ledger_user_add(struct pqb_ledger *l, uint64_t uid, struct pqb_text name,
                                     struct pqb_ledger_user **out);
PQB_MUST_USE int pqb_ledger_device_add(struct pqb_ledger *l, struct pqb_ledger_user *u,
                                       uint32_t devno, struct pqb_text name,
                                       struct pqb_ledger_device **out);
PQB_MUST_USE int pqb_ledger_device_remove(struct pqb_ledger *l, struct pqb_ledger_user *u,
                                          struct pqb_ledger_device *d);

// Lengthens the list of devices by one; the new place is the caller's to fill.
PQB_MUST_USE int pqb_ledger_devices_grow(struct pqb_ledger_user *u);

// A user linked into the tables; NULL without memory. Drop unlinks and frees it.
struct pqb_ledger_user *pqb_ledger_user_create(struct pqb_ledger *l, uint64_t uid, const char *name,
                                               size_t name_len);
void pqb_ledger_user_drop(struct pqb_ledger *l, struct pqb_ledger_user *u);

// ledger_rows.c: from the tables; *out is left alone when there is no such row.
PQB_MUST_USE int pqb_ledger_user_load(struct pqb_ledger *l, uint64_t uid,
                                      struct pqb_ledger_user **out);

PQB_MUST_USE int pqb_ledger_retained_push(struct pqb_ledger_user *u, struct pqb_retained item);

// false: it has none, or the store was restored since.
bool pqb_ledger_is_epoch_open(const struct pqb_ledger *l, const struct pqb_ledger_device *d);
struct pqb_ledger_device *pqb_ledger_device_find(const struct pqb_ledger_user *u, uint32_t devno);

// The entry of `seq`, or NULL.
const struct pqb_consumed *pqb_ledger_consumed_find(const struct pqb_ledger_device *d,
                                                    uint64_t seq);

PQB_MUST_USE int pqb_ledger_apply(struct pqb_ledger *l, const struct pqb_journal_record *r,
                                  uint64_t gseq);
