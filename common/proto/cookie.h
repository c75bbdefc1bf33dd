// Stateless keyed tokens: the retry cookie that proves an address, the reset token that proves the
// gateway forgot a connection id, the receipt that names a stored message without telling how many
// messages its recipient has.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/addr.h"
#include "common/base/time.h"
#include "common/wire/limits.h"

#define PQB_COOKIE_VALID_NS (15 * PQB_NS_PER_SEC)

// Keys derived from the store's secret: the same after a restart.
struct pqb_token_keys {
    uint8_t cookie[16], reset[16], receipt_mac[16], receipt_mask[16];
};

// `secret_len` is 16 to 64.
void pqb_token_keys_derive(struct pqb_token_keys *k, const uint8_t *secret, size_t secret_len);

// Cookie = minting time in seconds (8 bytes) and a 128-bit MAC over it, the address and init_id.
void pqb_cookie_make(const struct pqb_token_keys *k, const struct pqb_addr *addr, uint64_t init_id,
                     pqb_tstamp now, uint8_t out[PQB_COOKIE_LEN]);
bool pqb_cookie_is_valid(const struct pqb_token_keys *k, const struct pqb_addr *addr,
                         uint64_t init_id, const uint8_t cookie[PQB_COOKIE_LEN], pqb_tstamp now);

void pqb_reset_token_make(const struct pqb_token_keys *k, uint64_t cid, uint8_t out[PQB_RESET_LEN]);

// Compares 16 bytes in constant time.
bool pqb_token_is_equal(const uint8_t *a, const uint8_t *b);

// Who sent what to whom: the nonce of a receipt.
struct pqb_message_identity {
    uint64_t from_uid;
    uint32_t from_devno, epoch;
    uint64_t seq;
    uint64_t to_uid; // or a keyed hash of the name, where only that is known: the same both times
};

// SIV (RFC 5297 in spirit): 64 bits of MAC over identity and iseq, which also mask the iseq. A
// guess is right once in 2^64, and each costs the guesser a request.
void pqb_receipt_seal(const struct pqb_token_keys *k, const struct pqb_message_identity *id,
                      uint64_t iseq, uint8_t out[PQB_RECEIPT_LEN]);
bool pqb_receipt_open(const struct pqb_token_keys *k, const struct pqb_message_identity *id,
                      const uint8_t receipt[PQB_RECEIPT_LEN], uint64_t *iseq);
