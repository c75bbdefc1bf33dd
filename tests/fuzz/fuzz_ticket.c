// Tickets: the first byte says whether the input is one, a mask over a good one, or what somebody
// seals who has the key (an older version of the gateway). Nothing forged opens; what opens names a
// user and a device and is not over.
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/proto/aead.h"
#include "common/proto/ticket.h"
#include "common/wire/frame.h"
#include "tests/fuzz/fuzz.h"

#define NOW       UINT64_C(1767225600000)
#define NONCE_LEN crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define PLAIN_LEN (PQB_TICKET_LEN - 1 - NONCE_LEN - crypto_aead_xchacha20poly1305_ietf_ABYTES)

enum what {
    ANY_BYTES,
    MASKED,
    SEALED,
    WHATS
};

static const struct pqb_ticket_keys keys = {
    .count = 3, .at = {{.id = 3, .key = {3}}, {.id = 2, .key = {2}}, {.id = 2, .key = {1}}}};

// The input's bytes, zeros behind, in memory of exactly that size.
static uint8_t *fill(const uint8_t *data, size_t size, size_t len)
{
    uint8_t *out = calloc(1, len);

    PQB_ASSERT(out != NULL);
    if (size > 0)
        memcpy(out, data, PQB_MIN(size, len));
    return out;
}

static void make_good(uint8_t out[PQB_TICKET_LEN])
{
    const uint8_t seed[PQB_SECRET_SEED_LEN] = {5};
    struct pqb_ticket t = {.user = "alice",
                           .user_len = 5,
                           .device = "phone",
                           .device_len = 5,
                           .until = NOW + 1,
                           .grant.expires_ms = UINT64_MAX};
    struct pqb_secret_rng rng;

    pqb_secret_rng_init(&rng, seed);
    pqb_ticket_seal(&keys, &t, &rng, out);
}

static bool opens(const uint8_t *ticket)
{
    struct pqb_ticket t;

    if (!pqb_ticket_open(&keys, ticket, NOW, &t))
        return false;
    PQB_ASSERT(pqb_name_is_valid(t.user, t.user_len, PQB_USER_MAX));
    PQB_ASSERT(pqb_name_is_valid(t.device, t.device_len, PQB_DEVICE_MAX));
    PQB_ASSERT(t.until > NOW && t.grant.expires_ms > NOW);
    return true;
}

static void check_masked(const uint8_t *data, size_t size)
{
    uint8_t *ticket = fill(data, size, PQB_TICKET_LEN), good[PQB_TICKET_LEN];
    bool is_good = true;

    make_good(good);
    for (size_t i = 0; i < PQB_TICKET_LEN; i++) {
        is_good = is_good && ticket[i] == 0;
        ticket[i] ^= good[i];
    }
    PQB_ASSERT(opens(ticket) == is_good);
    free(ticket);
}

static void check_sealed(const uint8_t *data, size_t size)
{
    static const char label[] = "paquebot ticket 1";
    uint8_t *plain = fill(data, size, PLAIN_LEN), *ticket = fill(NULL, 0, PQB_TICKET_LEN);

    ticket[0] = keys.at[2].id;
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(ticket + 1 + NONCE_LEN, NULL, plain, PLAIN_LEN,
                                                     (const uint8_t *)label, sizeof(label), NULL,
                                                     ticket + 1, keys.at[2].key);
    (void)opens(ticket);
    free(plain);
    free(ticket);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    PQB_ASSERT(pqb_aead_init() == PQB_OK);
    switch ((enum what)(data[0] % WHATS)) {
    case ANY_BYTES: {
        uint8_t *ticket = fill(data + 1, size - 1, PQB_TICKET_LEN);

        PQB_ASSERT(!opens(ticket));
        free(ticket);
        break;
    }
    case MASKED:
        check_masked(data + 1, size - 1);
        break;
    case SEALED:
        check_sealed(data + 1, size - 1);
        break;
    case WHATS:
        break;
    }
    return 0;
}
