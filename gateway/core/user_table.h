// The users that a shard knows: those with a session, and those with messages in the journal. A
// user carries head, tail and the index of its journal messages (iseq -> gseq).
//
// The index is bounded by the journal (journal-max): an entry leaves when the journal no longer
// holds its record, never before, because a device that is not here now may still need it. Owned
// by the engine; one thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/htable.h"
#include "common/base/list.h"
#include "common/base/siphash.h"

struct pqb_index_entry {
    uint64_t iseq, gseq;
};

struct pqb_user {
    struct pqb_hnode by_uid;
    struct pqb_hnode by_name; // linked once it has a name
    struct pqb_list listed;   // in `indexed` while the index has entries, else in `kept` or nowhere
    struct pqb_list sessions; // pqb_session.of_user
    uint64_t uid;
    uint64_t head;      // highest iseq that is committed
    uint64_t tail;      // positions below it hold nothing any more; 0: not known
    uint64_t floor;     // what a device has not acknowledged up to here has expired; 0: not known
    uint64_t delivered; // highest iseq that any device has acknowledged; 0: not known
    struct pqb_index_entry *index;
    uint32_t index_first, index_count, index_capacity;
    uint32_t uhash;
    uint32_t session_count;
    uint8_t name_len; // 0 until a device has logged in
    char name[];
};

struct pqb_user_table {
    struct pqb_htable by_uid, by_name;
    struct pqb_list indexed; // round robin of the sweep
    struct pqb_list kept;    // those that stay, though nothing was indexed for them so far
    bool has_kept;           // somebody is to stay, and no sweep may come
    size_t indexed_count;
    size_t sweep_left; // users that the current sweep has still to visit
    uint64_t swept_first;
    size_t entries; // index entries of all users
    size_t bytes;   // heap held by users, their indexes and names
    uint8_t key[PQB_SIPHASH_KEY_LEN];
};

PQB_MUST_USE int pqb_user_table_init(struct pqb_user_table *t,
                                     const uint8_t key[PQB_SIPHASH_KEY_LEN]);
void pqb_user_table_fini(struct pqb_user_table *t); // sessions are gone by then

struct pqb_user *pqb_user_table_get(const struct pqb_user_table *t, uint64_t uid); // or NULL
struct pqb_user *pqb_user_table_get_name(const struct pqb_user_table *t, const char *name,
                                         size_t len); // or NULL

// Finds or makes. NULL: no memory.
struct pqb_user *pqb_user_table_make(struct pqb_user_table *t, uint64_t uid, uint32_t uhash);

// Names the user, which moves in memory to make room for the name; later calls change nothing.
// NULL: no memory, and `u` is as it was.
struct pqb_user *pqb_user_table_name(struct pqb_user_table *t, struct pqb_user *u, const char *name,
                                     size_t len);

// Frees the user if it has neither sessions nor index entries and is not kept.
void pqb_user_table_release(struct pqb_user_table *t, struct pqb_user *u);

// Keeps the user, whatever it has, until pqb_user_table_release_kept; no sweep comes between the
// two, so index entries hold a user as well as this does. Twice is once.
void pqb_user_table_keep(struct pqb_user_table *t, struct pqb_user *u);
void pqb_user_table_release_kept(struct pqb_user_table *t);

// Appends a message; both numbers only grow. PQB_OK or PQB_ERR_NOMEM.
PQB_MUST_USE int pqb_user_table_index(struct pqb_user_table *t, struct pqb_user *u, uint64_t iseq,
                                      uint64_t gseq);

// First entry with position >= iseq whose record is at or above `journal_first`; NULL: none.
const struct pqb_index_entry *pqb_user_index_at(const struct pqb_user *u, uint64_t iseq,
                                                uint64_t journal_first);

// Drops what the journal no longer holds, a few users a call, and frees users that are empty then.
void pqb_user_table_sweep(struct pqb_user_table *t, uint64_t journal_first, size_t users_max);
