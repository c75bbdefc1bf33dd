#include "tools/pqbsim/sealed.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/proto/server_keys.h"

struct sealed_hello { // of a pool
    bool is_made;
    uint8_t datagram[PQB_INIT_LEN];
};

int sealed_gateway_init(struct sealed_gateway *g, const uint8_t *server_key, struct pqb_rng *rng)
{
    uint8_t seed[PQB_SECRET_SEED_LEN];

    *g = (struct sealed_gateway){.is_noise = server_key != NULL};
    if (server_key == NULL)
        return PQB_OK;
    if (pqb_aead_init() != PQB_OK)
        return PQB_ERR_IO;
    memcpy(g->public, server_key, PQB_KEY_LEN);
    pqb_mac1_key(g->public, g->mac1_key);
    g->ciphers = pqb_aead_ciphers();
    pqb_rng_fill(rng, seed, sizeof(seed));
    pqb_secret_rng_init(&g->rng, seed);
    pqb_secret_rng_fill(&g->rng, g->device.secret, PQB_KEY_LEN);
    pqb_noise_keypair_complete(&g->device);
    return PQB_OK;
}

void sealed_gateway_fini(struct sealed_gateway *g)
{
    for (size_t i = 0; i < SEALED_POOLS; i++)
        free(g->pools[i]);
    *g = (struct sealed_gateway){.is_noise = false};
}

void sealed_mac1(const struct sealed_gateway *g, uint8_t *hello)
{
    pqb_mac1_make(g->mac1_key, hello, PQB_HELLO_MAC1_AT, hello + PQB_HELLO_MAC1_AT);
}

// ------------------------------------------------------------------------------------- logins

// The first message of a handshake that has begun, around `payload`, which fills it.
static void write_message(struct sealed_gateway *g, struct sealed *s, const uint8_t *payload,
                          size_t len, uint8_t *message)
{
    uint8_t ephemeral[PQB_KEY_LEN];
    size_t written;

    pqb_secret_rng_fill(&g->rng, ephemeral, sizeof(ephemeral));
    written = pqb_noise_write(&s->noise, ephemeral, payload, len, message);
    PQB_ASSERT(written > 0); // the gateway's key is one
}

static void begin_ik(struct sealed_gateway *g, struct sealed *s, uint64_t init_id,
                     const uint8_t payload[SEALED_PAYLOAD_LEN])
{
    struct pqb_hello hello = {.type = PQB_DATAGRAM_INIT, .ciphers = g->ciphers, .init_id = init_id};
    uint8_t prologue[PQB_PROLOGUE_MAX];
    uint8_t *message = pqb_hello_begin(&hello, s->hello);

    PQB_ASSERT(hello.message_len == SEALED_PAYLOAD_LEN + PQB_NOISE_IK_OVERHEAD);
    pqb_noise_init_ik(&s->noise, true, &g->device, g->public, prologue,
                      pqb_prologue_make(s->hello, NULL, prologue));
    write_message(g, s, payload, SEALED_PAYLOAD_LEN, message);
    s->hello_id = init_id;
}

static size_t finish_hello(const struct sealed_gateway *g, uint8_t *hello, const uint8_t *cookie,
                           uint8_t *out)
{
    if (cookie != NULL)
        pqb_hello_put_cookie(hello, cookie);
    sealed_mac1(g, hello);
    memcpy(out, hello, PQB_INIT_LEN);
    return PQB_INIT_LEN;
}

static const uint8_t *cookie_of(const struct pqb_init *init)
{
    return init->cookie_len != 0 ? init->cookie : NULL;
}

size_t sealed_init(struct sealed_gateway *g, struct sealed *s, const struct pqb_init *init,
                   uint8_t *out)
{
    uint8_t payload[SEALED_PAYLOAD_LEN];

    if (!g->is_noise)
        return pqb_init_encode(init, out);
    if (s->hello_id != init->init_id || init->init_id == 0) {
        pqb_hello_payload_encode(PQB_DATAGRAM_INIT, init, payload, sizeof(payload));
        begin_ik(g, s, init->init_id, payload);
    }
    return finish_hello(g, s->hello, cookie_of(init), out);
}

size_t sealed_init_around(struct sealed_gateway *g, struct sealed *s, uint64_t init_id,
                          const uint8_t *payload, size_t len, uint8_t *out)
{
    uint8_t filled[SEALED_PAYLOAD_LEN] = {0};

    PQB_ASSERT(g->is_noise && len <= sizeof(filled));
    memcpy(filled, payload, len);
    begin_ik(g, s, init_id, filled);
    return finish_hello(g, s->hello, NULL, out);
}

size_t sealed_resume(struct sealed_gateway *g, struct sealed *s, const struct pqb_init *init,
                     const struct sealed_ticket *t, uint8_t *out)
{
    struct pqb_hello hello = {.type = PQB_DATAGRAM_RESUME,
                              .ciphers = g->ciphers,
                              .init_id = init->init_id,
                              .ticket = t->ticket};
    uint8_t prologue[PQB_PROLOGUE_MAX], payload[PQB_INIT_LEN];
    uint8_t *message = pqb_hello_begin(&hello, s->hello);
    const size_t len = hello.message_len - PQB_NOISE_NNPSK0_OVERHEAD;

    PQB_ASSERT(g->is_noise);
    pqb_noise_init_nnpsk0(&s->noise, true, t->psk, prologue,
                          pqb_prologue_make(s->hello, t->ticket, prologue));
    pqb_hello_payload_encode(PQB_DATAGRAM_RESUME, init, payload, len);
    write_message(g, s, payload, len, message);
    s->hello_id = init->init_id;
    return finish_hello(g, s->hello, cookie_of(init), out);
}

size_t sealed_stranger(struct sealed_gateway *g, unsigned pool, const struct pqb_init *init,
                       uint8_t *out)
{
    struct sealed_hello *h;

    PQB_ASSERT(pool < SEALED_POOLS);
    if (!g->is_noise)
        return pqb_init_encode(init, out);
    if (g->pools[pool] == NULL && (g->pools[pool] = calloc(SEALED_POOL_LEN, sizeof(*h))) == NULL)
        return 0;
    h = &g->pools[pool][init->init_id % SEALED_POOL_LEN];
    if (!h->is_made) {
        struct pqb_init without = *init;
        struct sealed s = {.hello_id = 0};

        without.cookie_len = 0;
        (void)sealed_init(g, &s, &without, h->datagram);
        h->is_made = true;
    }
    memcpy(out, h->datagram, PQB_INIT_LEN);
    if (init->cookie_len != 0) {
        pqb_hello_put_cookie(out, init->cookie);
        sealed_mac1(g, out);
    }
    return PQB_INIT_LEN;
}

// A forged answer must not spoil the handshake: a copy reads it.
bool sealed_read_resp(struct sealed_gateway *g, struct sealed *s, struct pqb_unpacker *u,
                      const uint8_t *data, size_t len, struct pqb_resp *out)
{
    uint8_t payload[PQB_DATAGRAM_MAX], send[PQB_KEY_LEN], recv[PQB_KEY_LEN];
    struct pqb_noise noise = s->noise;
    const uint8_t *message;
    size_t message_len, payload_len;
    uint64_t init_id;

    if (!g->is_noise)
        return pqb_resp_decode(u, data, len, out) == PQB_VERDICT_OK;
    if (pqb_answer_decode(data, len, &init_id, &message, &message_len) != PQB_VERDICT_OK ||
        init_id != s->hello_id ||
        !pqb_noise_read(&noise, message, message_len, payload, &payload_len) ||
        pqb_answer_payload_decode(u, payload, payload_len, out) != PQB_VERDICT_OK ||
        out->cipher == PQB_CIPHER_NONE)
        return false;
    out->init_id = init_id;
    pqb_noise_finish(&noise, send, recv);
    pqb_packet_keys_fini(&s->keys); // of the session before
    pqb_packet_keys_init(&s->keys, send, recv, 0);
    s->cipher = (enum pqb_cipher)out->cipher;
    return true;
}

// ----------------------------------------------------------------------------------- sessions

size_t sealed_data(const struct sealed *s, const struct pqb_data *header, uint8_t *out, size_t len)
{
    pqb_data_header_encode(header, out);
    return s->cipher != PQB_CIPHER_NONE ? pqb_packet_keys_seal(&s->keys, s->cipher, out, len) : len;
}

bool sealed_open(struct sealed *s, const uint8_t *data, size_t len, uint8_t *plain,
                 struct pqb_data *d, pqb_tstamp now)
{
    if (s->cipher == PQB_CIPHER_NONE)
        return pqb_data_decode(data, len, d) == PQB_VERDICT_OK;
    return len <= PQB_DATAGRAM_MAX &&
           pqb_packet_keys_open(&s->keys, s->cipher, data, len, plain, PQB_NS_PER_SEC, now) &&
           pqb_data_decode(plain, len - PQB_TAG_LEN, d) == PQB_VERDICT_OK;
}
