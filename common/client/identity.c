// The encrypted side of a login: who the client is, whom it believes, and the handshake under way.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/mutant.h"
#include "common/client/impl.h"
#include "common/wire/cursor.h"

static_assert(PQB_CLIENT_KEY_LEN == PQB_KEY_LEN, "the public header repeats it");
static_assert(PQB_CLIENT_TICKET_LEN == 1 + PQB_KEY_LEN + PQB_KEY_LEN + PQB_TICKET_LEN,
              "version, the gateway's key, psk, ticket");

#define TICKET_VERSION 1

// Bytes of a handshake's first message around its payload.
static size_t overhead(const struct pqb_handshake *hs)
{
    return hs->noise.pattern == PQB_NOISE_IK ? PQB_NOISE_IK_OVERHEAD : PQB_NOISE_NNPSK0_OVERHEAD;
}

// One that was kept for another gateway, or by another version, is as good as none.
static void take_ticket(struct pqb_identity *id, const void *ticket, size_t len)
{
    const uint8_t *at = ticket;

    if (ticket == NULL || len != PQB_CLIENT_TICKET_LEN || at[0] != TICKET_VERSION ||
        memcmp(at + 1, id->server_key, PQB_KEY_LEN) != 0)
        return;
    memcpy(id->psk, at + 1 + PQB_KEY_LEN, PQB_KEY_LEN);
    memcpy(id->ticket, at + 1 + 2 * PQB_KEY_LEN, PQB_TICKET_LEN);
    id->has_ticket = true;
}

int pqb_identity_create(struct pqb_identity **out, const struct pqb_client_config *k)
{
    struct pqb_identity *id;

    if (pqb_aead_init() != PQB_OK)
        return PQB_ERR_IO;
    id = calloc(1, sizeof(*id));
    if (id == NULL)
        return PQB_ERR_NOMEM;
    memcpy(id->server_key, k->server_key, PQB_KEY_LEN);
    pqb_mac1_key(id->server_key, id->mac1_key);
    memcpy(id->device.secret, k->device_key, PQB_KEY_LEN);
    pqb_noise_keypair_complete(&id->device);
    pqb_secret_rng_init(&id->rng, k->seed + PQB_SIPHASH_KEY_LEN);
    id->ciphers = pqb_aead_ciphers();
    if (k->without_aes)
        id->ciphers &= (uint8_t)~PQB_CIPHERS_AESGCM;
    take_ticket(id, k->ticket, k->ticket_len);
    *out = id;
    return PQB_OK;
}

void pqb_identity_destroy(struct pqb_identity *id)
{
    if (id == NULL)
        return;
    pqb_identity_forget_handshake(id);
    pqb_secret_erase(id, sizeof(*id));
    free(id);
}

void pqb_identity_forget_handshake(struct pqb_identity *id)
{
    if (id == NULL || id->handshake == NULL)
        return;
    pqb_secret_erase(id->handshake, sizeof(*id->handshake));
    free(id->handshake);
    id->handshake = NULL;
}

static void begin_noise(struct pqb_identity *id, struct pqb_handshake *hs,
                        const struct pqb_hello *hello)
{
    uint8_t prologue[PQB_PROLOGUE_MAX];
    const size_t len = pqb_prologue_make(hs->datagram, hello->ticket, prologue);

    if (hello->type == PQB_DATAGRAM_RESUME)
        pqb_noise_init_nnpsk0(&hs->noise, true, id->psk, prologue, len);
    else
        pqb_noise_init_ik(&hs->noise, true, &id->device, id->server_key, prologue, len);
}

// The first message; the same for each repeat, so that the gateway's answer fits whichever arrived.
static bool make_handshake(struct pqb_identity *id, const struct pqb_init *init, bool is_resuming)
{
    struct pqb_hello hello = {.type = is_resuming ? PQB_DATAGRAM_RESUME : PQB_DATAGRAM_INIT,
                              .ciphers = id->ciphers,
                              .init_id = init->init_id,
                              .ticket = is_resuming ? id->ticket : NULL};
    uint8_t ephemeral[PQB_KEY_LEN], payload[PQB_INIT_LEN];
    struct pqb_handshake *hs = calloc(1, sizeof(*hs));
    uint8_t *message;
    size_t len;

    if (hs == NULL)
        return false;
    message = pqb_hello_begin(&hello, hs->datagram);
    begin_noise(id, hs, &hello);
    len = hello.message_len - overhead(hs);
    pqb_hello_payload_encode(hello.type, init, payload, len);
    pqb_secret_rng_fill(&id->rng, ephemeral, sizeof(ephemeral));
    len = pqb_noise_write(&hs->noise, ephemeral, payload, len, message);
    pqb_secret_erase(ephemeral, sizeof(ephemeral));
    pqb_secret_erase(payload, sizeof(payload)); // it has the token
    id->handshake = hs;
    PQB_ASSERT(len == 0 || len == hello.message_len);
    hs->is_hopeless = len == 0; // what was pinned is no key at all
    return true;
}

size_t pqb_identity_write_hello(struct pqb_identity *id, const struct pqb_init *init,
                                bool is_resuming, uint8_t *out)
{
    uint8_t *datagram;

    if (id->handshake == NULL && !make_handshake(id, init, is_resuming))
        return 0;
    if (id->handshake->is_hopeless)
        return 0;
    datagram = id->handshake->datagram;
    if (init->cookie_len != 0)
        pqb_hello_put_cookie(datagram, init->cookie);
    pqb_mac1_make(id->mac1_key, datagram, PQB_HELLO_MAC1_AT, datagram + PQB_HELLO_MAC1_AT);
    memcpy(out, datagram, PQB_INIT_LEN);
    return PQB_INIT_LEN;
}

// A forged answer must not spoil the handshake: a copy reads it.
bool pqb_identity_read_answer(struct pqb_identity *id, struct pqb_unpacker *u, const void *data,
                              size_t len, struct pqb_resp *out)
{
    uint8_t payload[PQB_DATAGRAM_MAX];
    struct pqb_noise noise;
    const uint8_t *message;
    size_t message_len, payload_len;
    uint64_t init_id;
    bool is_good;

    if (id->handshake == NULL ||
        pqb_answer_decode(data, len, &init_id, &message, &message_len) != PQB_VERDICT_OK)
        return false;
    noise = id->handshake->noise;
    is_good = pqb_noise_read(&noise, message, message_len, payload, &payload_len) &&
              pqb_answer_payload_decode(u, payload, payload_len, out) == PQB_VERDICT_OK &&
              (out->cipher == PQB_CIPHER_CHACHAPOLY ||
               (out->cipher == PQB_CIPHER_AESGCM && (id->ciphers & PQB_CIPHERS_AESGCM) != 0));
    if (is_good) {
        out->init_id = init_id;
        pqb_noise_finish(&noise, id->handshake->send, id->handshake->recv);
    }
    if (PQB_MUTANT(ANSWER_SPOILS))
        id->handshake->noise = noise;
    pqb_noise_fini(&noise);
    pqb_secret_erase(payload, sizeof(payload));
    return is_good;
}

void pqb_identity_protect(struct pqb_identity *id, struct pqb_channel *c, uint8_t cipher,
                          pqb_tstamp now)
{
    PQB_ASSERT(id->handshake != NULL);
    pqb_channel_protect(c, (enum pqb_cipher)cipher, id->handshake->send, id->handshake->recv, now);
    pqb_identity_forget_handshake(id);
}

static void tell_ticket(struct pqb_client *c, const void *ticket, size_t len)
{
    if (c->callbacks.on_ticket != NULL)
        c->callbacks.on_ticket(c->ctx, ticket, len);
}

void pqb_identity_on_ticket(struct pqb_client *c, const struct pqb_frame_ticket *f)
{
    struct pqb_identity *id = c->identity;
    uint8_t kept[PQB_CLIENT_TICKET_LEN];
    struct pqb_writer_cursor w;

    if (id == NULL) // a gateway that speaks plaintext has none to give
        return;
    memcpy(id->ticket, f->ticket, PQB_TICKET_LEN);
    memcpy(id->psk, f->psk, PQB_KEY_LEN);
    id->has_ticket = true;
    pqb_wcur_init(&w, kept, sizeof(kept));
    pqb_wcur_u8(&w, TICKET_VERSION);
    pqb_wcur_bytes(&w, id->server_key, PQB_KEY_LEN);
    pqb_wcur_bytes(&w, id->psk, PQB_KEY_LEN);
    pqb_wcur_bytes(&w, id->ticket, PQB_TICKET_LEN);
    PQB_ASSERT(!w.is_bad && w.at == w.end);
    tell_ticket(c, kept, sizeof(kept));
    pqb_secret_erase(kept, sizeof(kept));
}

void pqb_identity_drop_ticket(struct pqb_client *c)
{
    struct pqb_identity *id = c->identity;

    pqb_secret_erase(id->psk, sizeof(id->psk));
    id->has_ticket = false;
    tell_ticket(c, NULL, 0);
}

int pqb_client_device_public(const uint8_t secret[PQB_CLIENT_KEY_LEN],
                             uint8_t out[PQB_CLIENT_KEY_LEN])
{
    struct pqb_noise_keypair pair;

    if (pqb_aead_init() != PQB_OK)
        return PQB_ERR_IO;
    memcpy(pair.secret, secret, PQB_KEY_LEN);
    pqb_noise_keypair_complete(&pair);
    memcpy(out, pair.public, PQB_KEY_LEN);
    pqb_secret_erase(&pair, sizeof(pair));
    return PQB_OK;
}
