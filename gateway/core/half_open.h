// Logins under way: from INIT until their registration is durable. Bounded by half-open-max; one
// lives PQB_HALF_OPEN_NS until its first DATA. Nothing here is visible to anyone but the peer.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/addr.h"
#include "common/base/defs.h"
#include "common/base/htable.h"
#include "common/base/list.h"
#include "common/base/siphash.h"
#include "common/base/time.h"
#include "common/proto/grant.h"
#include "common/proto/noise.h"
#include "common/proto/packet_keys.h"
#include "common/wire/limits.h"

#define PQB_HALF_OPEN_NS         (10 * PQB_NS_PER_SEC)
#define PQB_HALF_OPEN_DEVICE_MAX 4   // of one device, while the table is half full
#define PQB_HELD_DATAGRAMS_MAX   8   // kept for one login while it becomes durable
#define PQB_HELD_TOTAL_MAX       512 // of all logins

enum pqb_login_stage {
    PQB_LOGIN_LOOKUP,     // the ledger is asked for the preview
    PQB_LOGIN_RESPONDED,  // RESP is out; waiting for the first DATA
    PQB_LOGIN_CONFIRMING, // the first DATA is here; the registration is with the writer
};

struct pqb_held_datagram {
    struct pqb_list link;
    struct pqb_addr from;
    size_t len;
    uint8_t data[];
};

struct pqb_half_open {
    struct pqb_hnode by_cid, by_init, by_device;
    struct pqb_list age; // oldest first, while not confirming
    struct pqb_list held;
    size_t held_count;
    enum pqb_login_stage stage;
    struct pqb_addr from;
    uint64_t budget; // bytes that may still go to `from`: nothing proves yet that the peer is there
    pqb_tstamp created_at;
    struct pqb_grant grant; // on what ground it is let in
    uint64_t cid, init_id;
    uint64_t low, cursor;    // the client's
    uint64_t preview_cursor; // what RESP told
    uint32_t epoch;          // the client's
    bool is_pull;            // the backlog that RESP told waits to be pulled
    uint8_t user_len, device_len;
    char user[PQB_USER_MAX], device[PQB_DEVICE_MAX];
    enum pqb_cipher cipher; // chosen with RESP; NONE: plaintext
    bool is_sealed;
    uint8_t ciphers;                      // offered
    uint8_t secret[PQB_NOISE_MIDDLE_LEN]; // the handshake; from RESP on the client's key and ours
    uint8_t *resp;                        // the encoded RESP, for repeated INITs; NULL before
    size_t resp_len;
};

struct pqb_half_open_table {
    struct pqb_htable by_cid, by_init, by_device;
    struct pqb_list age;
    size_t count, held_total;
    uint8_t key[PQB_SIPHASH_KEY_LEN];
};

PQB_MUST_USE int pqb_half_open_table_init(struct pqb_half_open_table *t,
                                          const uint8_t key[PQB_SIPHASH_KEY_LEN]);
void pqb_half_open_table_fini(struct pqb_half_open_table *t);

struct pqb_half_open *pqb_half_open_table_get(const struct pqb_half_open_table *t, uint64_t cid);
struct pqb_half_open *pqb_half_open_table_get_init(const struct pqb_half_open_table *t,
                                                   const struct pqb_addr *from, uint64_t init_id);

// Links a copy of `proto` (addresses, ids, names filled in). NULL: no memory.
struct pqb_half_open *pqb_half_open_table_add(struct pqb_half_open_table *t,
                                              const struct pqb_half_open *proto);
size_t pqb_half_open_table_memory(const struct pqb_half_open_table *t); // bytes held
void pqb_half_open_table_remove(struct pqb_half_open_table *t, struct pqb_half_open *h);

// Removes the oldest login of the device that `proto` names if it has PQB_HALF_OPEN_DEVICE_MAX that
// are not confirming. True: one was removed.
bool pqb_half_open_table_crowd_out(struct pqb_half_open_table *t,
                                   const struct pqb_half_open *proto);

// Keeps a datagram; false: too many, or no memory.
PQB_MUST_USE bool pqb_half_open_hold(struct pqb_half_open_table *t, struct pqb_half_open *h,
                                     const struct pqb_addr *from, const uint8_t *data, size_t len);

// Whether these very bytes are kept: who replays them must not use up the places.
bool pqb_half_open_holds(const struct pqb_half_open *h, const uint8_t *data, size_t len);

// The address sent `len` bytes, so at most three times as many may go there (RFC 9000 section 8.1),
// by which the handshake's answers are no longer than its questions; spending more asserts.
void pqb_half_open_earn(struct pqb_half_open *h, size_t len);
void pqb_half_open_spend(struct pqb_half_open *h, size_t len);

// The registration is under way: it does not expire any more.
void pqb_half_open_confirm(struct pqb_half_open *h);

// One that has expired, or NULL; and when the next one will.
struct pqb_half_open *pqb_half_open_table_expired(const struct pqb_half_open_table *t,
                                                  pqb_tstamp now);
pqb_tstamp pqb_half_open_table_deadline(const struct pqb_half_open_table *t);
