#include "common/proto/ticket.h"

#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "common/base/check.h"
#include "common/wire/cursor.h"
#include "common/wire/frame.h"

#define NONCE_LEN crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define PLAIN_LEN (1 + PQB_USER_MAX + 1 + PQB_DEVICE_MAX + PQB_KEY_LEN + 8 + PQB_GRANT_LEN)

static_assert(PQB_TICKET_LEN ==
                  1 + NONCE_LEN + PLAIN_LEN + crypto_aead_xchacha20poly1305_ietf_ABYTES,
              "id of the key, nonce, content, tag");
static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == PQB_KEY_LEN, "32 bytes");

static const char label[] = "paquebot ticket 1";

void pqb_ticket_seal(const struct pqb_ticket_keys *keys, const struct pqb_ticket *t,
                     struct pqb_secret_rng *rng, uint8_t out[PQB_TICKET_LEN])
{
    uint8_t plain[PLAIN_LEN];
    struct pqb_writer_cursor w;

    PQB_ASSERT(keys->count > 0 && t->user_len <= PQB_USER_MAX && t->device_len <= PQB_DEVICE_MAX);
    pqb_wcur_init(&w, plain, sizeof(plain));
    pqb_wcur_u8(&w, t->user_len);
    pqb_wcur_bytes(&w, t->user, PQB_USER_MAX);
    pqb_wcur_u8(&w, t->device_len);
    pqb_wcur_bytes(&w, t->device, PQB_DEVICE_MAX);
    pqb_wcur_bytes(&w, t->psk, PQB_KEY_LEN);
    pqb_wcur_u64(&w, t->until);
    pqb_grant_write(&w, &t->grant);
    PQB_ASSERT(!w.is_bad && w.at == w.end);
    out[0] = keys->at[0].id;
    pqb_secret_rng_fill(rng, out + 1, NONCE_LEN);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(out + 1 + NONCE_LEN, NULL, plain,
                                                     sizeof(plain), (const uint8_t *)label,
                                                     sizeof(label), NULL, out + 1, keys->at[0].key);
    sodium_memzero(plain, sizeof(plain));
}

static bool unseal(const struct pqb_ticket_key *key, const uint8_t ticket[PQB_TICKET_LEN],
                   uint8_t plain[PLAIN_LEN])
{
    return crypto_aead_xchacha20poly1305_ietf_decrypt(
               plain, NULL, NULL, ticket + 1 + NONCE_LEN, PQB_TICKET_LEN - 1 - NONCE_LEN,
               (const uint8_t *)label, sizeof(label), ticket + 1, key->key) == 0;
}

static bool parse(const uint8_t plain[PLAIN_LEN], struct pqb_ticket *t)
{
    struct pqb_reader_cursor c;

    pqb_rcur_init(&c, plain, PLAIN_LEN);
    t->user_len = pqb_rcur_u8(&c);
    pqb_rcur_copy(&c, t->user, PQB_USER_MAX);
    t->device_len = pqb_rcur_u8(&c);
    pqb_rcur_copy(&c, t->device, PQB_DEVICE_MAX);
    pqb_rcur_copy(&c, t->psk, PQB_KEY_LEN);
    t->until = pqb_rcur_u64(&c);
    pqb_grant_read(&c, &t->grant);
    PQB_ASSERT(!c.is_bad); // the length is fixed
    // Ours, but an older version of this program may have thought otherwise about names.
    return pqb_name_is_valid(t->user, t->user_len, PQB_USER_MAX) &&
           pqb_name_is_valid(t->device, t->device_len, PQB_DEVICE_MAX);
}

bool pqb_ticket_open(const struct pqb_ticket_keys *keys, const uint8_t ticket[PQB_TICKET_LEN],
                     pqb_wall_ms now, struct pqb_ticket *out)
{
    uint8_t plain[PLAIN_LEN];
    bool is_good = false;

    for (size_t i = 0; i < keys->count && !is_good; i++) {
        if (keys->at[i].id == ticket[0])
            is_good = unseal(&keys->at[i], ticket, plain);
    }
    is_good = is_good && parse(plain, out) && now < out->until &&
              out->until - now <= PQB_TICKET_VALID_MS && now < out->grant.expires_ms;
    sodium_memzero(plain, sizeof(plain));
    return is_good;
}
