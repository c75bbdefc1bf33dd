#include "common/proto/cookie.h"

#include <assert.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/siphash.h"
#include "common/wire/cursor.h"

#define SECRET_MAX 64
#define TAG_LEN    8

static_assert(PQB_COOKIE_LEN == 8 + 16, "minting time and MAC");
static_assert(PQB_RECEIPT_LEN == TAG_LEN + 8, "tag and masked iseq");

enum purpose {
    COOKIE = 1,
    RESET = 2,
    RECEIPT_MAC = 3,
    RECEIPT_MASK = 4
};

// The rest of the secret, behind the purpose, is hashed under its first sixteen bytes.
static void derive(uint8_t out[16], enum purpose purpose, const uint8_t *secret, size_t secret_len)
{
    uint8_t buffer[1 + SECRET_MAX] = {(uint8_t)purpose};
    const size_t rest = secret_len - PQB_SIPHASH_KEY_LEN;

    memcpy(buffer + 1, secret + PQB_SIPHASH_KEY_LEN, rest);
    pqb_siphash24_128(secret, buffer, 1 + rest, out);
}

void pqb_token_keys_derive(struct pqb_token_keys *k, const uint8_t *secret, size_t secret_len)
{
    PQB_ASSERT(secret_len >= PQB_SIPHASH_KEY_LEN && secret_len <= SECRET_MAX);
    derive(k->cookie, COOKIE, secret, secret_len);
    derive(k->reset, RESET, secret, secret_len);
    derive(k->receipt_mac, RECEIPT_MAC, secret, secret_len);
    derive(k->receipt_mask, RECEIPT_MASK, secret, secret_len);
}

static void cookie_mac(const struct pqb_token_keys *k, const struct pqb_addr *addr,
                       uint64_t init_id, const uint8_t minted[8], uint8_t out[16])
{
    uint8_t buffer[8 + 1 + 16 + 2 + 8];
    struct pqb_writer_cursor w;

    pqb_wcur_init(&w, buffer, sizeof(buffer));
    pqb_wcur_bytes(&w, minted, 8);
    pqb_wcur_u8(&w, addr->family);
    pqb_wcur_bytes(&w, addr->ip, sizeof(addr->ip));
    pqb_wcur_u16(&w, addr->port);
    pqb_wcur_u64(&w, init_id);
    PQB_ASSERT(!w.is_bad);
    pqb_siphash24_128(k->cookie, buffer, pqb_wcur_len(&w), out);
}

void pqb_cookie_make(const struct pqb_token_keys *k, const struct pqb_addr *addr, uint64_t init_id,
                     pqb_tstamp now, uint8_t out[PQB_COOKIE_LEN])
{
    struct pqb_writer_cursor w;

    pqb_wcur_init(&w, out, 8);
    pqb_wcur_u64(&w, now / PQB_NS_PER_SEC);
    cookie_mac(k, addr, init_id, out, out + 8);
}

bool pqb_cookie_is_valid(const struct pqb_token_keys *k, const struct pqb_addr *addr,
                         uint64_t init_id, const uint8_t cookie[PQB_COOKIE_LEN], pqb_tstamp now)
{
    struct pqb_reader_cursor r;
    uint8_t mac[16];

    cookie_mac(k, addr, init_id, cookie, mac);
    if (!pqb_token_is_equal(mac, cookie + 8))
        return false;
    pqb_rcur_init(&r, cookie, 8);

    // Ours, so the product cannot overflow. From the future: minted before the machine restarted.
    const pqb_tstamp minted_at = pqb_rcur_u64(&r) * PQB_NS_PER_SEC;
    return minted_at <= now && now - minted_at <= PQB_COOKIE_VALID_NS;
}

void pqb_reset_token_make(const struct pqb_token_keys *k, uint64_t cid, uint8_t out[PQB_RESET_LEN])
{
    uint8_t buffer[8];
    struct pqb_writer_cursor w;

    pqb_wcur_init(&w, buffer, sizeof(buffer));
    pqb_wcur_u64(&w, cid);
    pqb_siphash24_128(k->reset, buffer, sizeof(buffer), out);
}

static bool is_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
    unsigned difference = 0;

    for (size_t i = 0; i < len; i++)
        difference |= (unsigned)(a[i] ^ b[i]);
    return difference == 0;
}

bool pqb_token_is_equal(const uint8_t *a, const uint8_t *b)
{
    return is_equal(a, b, 16);
}

#define IDENTITY_LEN (8 + 4 + 4 + 8 + 8)

static void put_identity(uint8_t out[IDENTITY_LEN], const struct pqb_message_identity *id)
{
    struct pqb_writer_cursor w;

    pqb_wcur_init(&w, out, IDENTITY_LEN);
    pqb_wcur_u64(&w, id->from_uid);
    pqb_wcur_u32(&w, id->from_devno);
    pqb_wcur_u32(&w, id->epoch);
    pqb_wcur_u64(&w, id->seq);
    pqb_wcur_u64(&w, id->to_uid);
    PQB_ASSERT(!w.is_bad && pqb_wcur_len(&w) == IDENTITY_LEN);
}

static void receipt_tag(const struct pqb_token_keys *k, const struct pqb_message_identity *id,
                        uint64_t iseq, uint8_t out[TAG_LEN])
{
    uint8_t buffer[IDENTITY_LEN + 8];
    uint8_t mac[16];
    struct pqb_writer_cursor w;

    put_identity(buffer, id);
    pqb_wcur_init(&w, buffer + IDENTITY_LEN, 8);
    pqb_wcur_u64(&w, iseq);
    pqb_siphash24_128(k->receipt_mac, buffer, sizeof(buffer), mac);
    memcpy(out, mac, TAG_LEN);
}

static uint64_t receipt_mask(const struct pqb_token_keys *k, const struct pqb_message_identity *id,
                             const uint8_t tag[TAG_LEN])
{
    uint8_t buffer[IDENTITY_LEN + TAG_LEN];

    put_identity(buffer, id);
    memcpy(buffer + IDENTITY_LEN, tag, TAG_LEN);
    return pqb_siphash24(k->receipt_mask, buffer, sizeof(buffer));
}

void pqb_receipt_seal(const struct pqb_token_keys *k, const struct pqb_message_identity *id,
                      uint64_t iseq, uint8_t out[PQB_RECEIPT_LEN])
{
    struct pqb_writer_cursor w;

    receipt_tag(k, id, iseq, out);
    pqb_wcur_init(&w, out + TAG_LEN, 8);
    pqb_wcur_u64(&w, iseq ^ receipt_mask(k, id, out));
}

bool pqb_receipt_open(const struct pqb_token_keys *k, const struct pqb_message_identity *id,
                      const uint8_t receipt[PQB_RECEIPT_LEN], uint64_t *iseq)
{
    struct pqb_reader_cursor r;
    uint8_t tag[TAG_LEN];

    pqb_rcur_init(&r, receipt + TAG_LEN, 8);
    const uint64_t opened = pqb_rcur_u64(&r) ^ receipt_mask(k, id, receipt);
    receipt_tag(k, id, opened, tag);
    if (!is_equal(tag, receipt, TAG_LEN))
        return false;
    *iseq = opened;
    return true;
}
