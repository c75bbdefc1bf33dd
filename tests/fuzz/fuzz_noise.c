// The first byte says who reads what: any bytes, a valid message under the input as a mask, or what
// somebody seals who has a key to do so. What differs from the valid message in a bit is refused.
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/proto/aead.h"
#include "common/proto/noise.h"
#include "tests/fuzz/fuzz.h"

enum reader {
    RESPONDER_IK,
    RESPONDER_NNPSK0,
    INITIATOR_IK,
    INITIATOR_NNPSK0,
    READERS
};

enum what {
    ANY_BYTES,
    MASKED,
    SEALED,
    WHATS
};

// A handshake up to the point where one side reads, and what it is to read.
struct scene {
    struct pqb_noise reader;
    struct pqb_noise writer; // after writing
    uint8_t message[256];
    size_t len, payload_len;
};

static struct scene scenes[READERS];
static struct pqb_noise_keypair client, gateway;
static const uint8_t psk[PQB_KEY_LEN] = {0, 3}, e_first[PQB_KEY_LEN] = {0, 1},
                     e_answer[PQB_KEY_LEN] = {0, 2}, payload_sent[20] = "what is said";

static void begin(struct pqb_noise *n, enum pqb_noise_pattern pattern, bool is_initiator)
{
    if (pattern == PQB_NOISE_IK)
        pqb_noise_init_ik(n, is_initiator, is_initiator ? &client : &gateway,
                          is_initiator ? gateway.public : NULL, "fuzz", 4);
    else
        pqb_noise_init_nnpsk0(n, is_initiator, psk, "fuzz", 4);
}

static void write_scene(struct scene *s, const uint8_t *e_secret)
{
    s->payload_len = sizeof(payload_sent);
    s->len = pqb_noise_write(&s->writer, e_secret, payload_sent, sizeof(payload_sent), s->message);
    PQB_ASSERT(s->len > 0 && s->len <= sizeof(s->message));
}

static void set_scenes(enum pqb_noise_pattern pattern, struct scene *first, struct scene *answer)
{
    uint8_t payload[sizeof(payload_sent)];
    size_t len;

    begin(&first->writer, pattern, true);
    begin(&first->reader, pattern, false);
    write_scene(first, e_first);
    answer->reader = first->writer;
    answer->writer = first->reader;
    PQB_ASSERT(pqb_noise_read(&answer->writer, first->message, first->len, payload, &len));
    write_scene(answer, e_answer);
}

static void set_up(void)
{
    PQB_ASSERT(pqb_aead_init() == PQB_OK);
    memset(client.secret, 5, sizeof(client.secret));
    memset(gateway.secret, 6, sizeof(gateway.secret));
    pqb_noise_keypair_complete(&client);
    pqb_noise_keypair_complete(&gateway);
    set_scenes(PQB_NOISE_IK, &scenes[RESPONDER_IK], &scenes[INITIATOR_IK]);
    set_scenes(PQB_NOISE_NNPSK0, &scenes[RESPONDER_NNPSK0], &scenes[INITIATOR_NNPSK0]);
}

// The handshake ends well from here: the answer of a responder is read, both have the same keys.
static void go_on(struct pqb_noise *reader, struct pqb_noise writer)
{
    uint8_t answer[256], payload[256], keys[4][PQB_KEY_LEN], middle[PQB_NOISE_MIDDLE_LEN];
    size_t len;

    if (!reader->is_initiator) {
        pqb_noise_save(reader, middle);
        pqb_noise_restore(reader, middle);
        len = pqb_noise_write(reader, e_answer, payload_sent, sizeof(payload_sent), answer);
        PQB_ASSERT(len == sizeof(payload_sent) + PQB_NOISE_ANSWER_OVERHEAD);
        PQB_ASSERT(pqb_noise_read(&writer, answer, len, payload, &len));
    }
    pqb_noise_finish(reader, keys[0], keys[1]);
    pqb_noise_finish(&writer, keys[2], keys[3]);
    PQB_ASSERT(memcmp(keys[0], keys[2], sizeof(keys[0])) == 0);
    PQB_ASSERT(memcmp(keys[1], keys[3], sizeof(keys[1])) == 0);
}

// Reads into a buffer that has room for the payload of such a message and not a byte more.
static bool read_exactly(struct pqb_noise *n, const uint8_t *message, size_t len, size_t overhead)
{
    const size_t room = len > overhead ? len - overhead : 0;
    uint8_t *payload = malloc(room);
    size_t payload_len = SIZE_MAX;
    const bool is_read = pqb_noise_read(n, message, len, payload, &payload_len);

    PQB_ASSERT(!is_read || payload_len == room);
    free(payload);
    return is_read;
}

static void read_any(const struct scene *s, const uint8_t *message, size_t len)
{
    const bool is_valid = len == s->len && memcmp(message, s->message, len) == 0;
    struct pqb_noise reader = s->reader;

    PQB_ASSERT(read_exactly(&reader, message, len, s->len - s->payload_len) == is_valid);
    if (is_valid)
        go_on(&reader, s->writer);
}

static void read_masked(const struct scene *s, const uint8_t *mask, size_t len)
{
    uint8_t message[sizeof(s->message)];

    memcpy(message, s->message, s->len);
    for (size_t i = 0; i < s->len && i < len; i++)
        message[i] ^= mask[i];
    read_any(s, message, s->len);
}

// Whether the responder agrees on the same secret with this key as with the client's: X25519
// ignores the top bit, and what a point of small order adds, so one secret key has several public
// ones.
static bool is_the_clients(const uint8_t public[PQB_KEY_LEN])
{
    uint8_t expected[PQB_KEY_LEN], shared[PQB_KEY_LEN];

    PQB_ASSERT(crypto_scalarmult(expected, gateway.secret, client.public) == 0);
    return crypto_scalarmult(shared, gateway.secret, public) == 0 &&
           memcmp(shared, expected, sizeof(shared)) == 0;
}

// A login of the client's whose static key is any bytes, in its place in a message that is sealed
// as it must be: read only if its secret key is the client's.
static void read_sealed_ik(const uint8_t *data, size_t len)
{
    struct pqb_noise liar, reader = scenes[RESPONDER_IK].reader;
    uint8_t message[sizeof(scenes->message)];

    begin(&liar, PQB_NOISE_IK, true);
    memset(liar.s.public, 0, sizeof(liar.s.public));
    memcpy(liar.s.public, data, PQB_MIN(len, sizeof(liar.s.public)));
    len = pqb_noise_write(&liar, e_first, payload_sent, sizeof(payload_sent), message);
    PQB_ASSERT(len == scenes[RESPONDER_IK].len);
    PQB_ASSERT(read_exactly(&reader, message, len, PQB_NOISE_IK_OVERHEAD) ==
               is_the_clients(liar.s.public));
}

// A resumption whose ephemeral key is any bytes, from somebody who has the preshared key: his
// message is read, and answered unless his key is a point of small order.
static void read_sealed_nnpsk0(const uint8_t *data, size_t len)
{
    struct pqb_noise liar, reader = scenes[RESPONDER_NNPSK0].reader;
    uint8_t message[sizeof(scenes->message)], shared[PQB_KEY_LEN], point[PQB_KEY_LEN] = {0};

    memcpy(point, data, PQB_MIN(len, sizeof(point)));
    begin(&liar, PQB_NOISE_NNPSK0, true);
    pqb_noise_mix_key_and_hash(&liar.symmetric, psk, sizeof(psk));
    pqb_noise_mix_hash(&liar.symmetric, point, sizeof(point));
    pqb_noise_mix_key(&liar.symmetric, point, sizeof(point));
    memcpy(message, point, sizeof(point));
    len = pqb_noise_encrypt(&liar.symmetric, payload_sent, sizeof(payload_sent),
                            message + sizeof(point));
    PQB_ASSERT(read_exactly(&reader, message, sizeof(point) + len, PQB_NOISE_NNPSK0_OVERHEAD));
    const bool is_small = crypto_scalarmult(shared, e_answer, point) != 0;
    len = pqb_noise_write(&reader, e_answer, payload_sent, sizeof(payload_sent), message);
    PQB_ASSERT(len == (is_small ? 0 : sizeof(payload_sent) + PQB_NOISE_ANSWER_OVERHEAD));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (scenes[0].len == 0)
        set_up();
    if (size == 0)
        return 0;
    const struct scene *s = &scenes[data[0] % READERS];
    const enum what what = data[0] / READERS % WHATS;
    if (what == ANY_BYTES)
        read_any(s, data + 1, size - 1);
    else if (what == MASKED)
        read_masked(s, data + 1, size - 1);
    else if (s->reader.pattern == PQB_NOISE_IK)
        read_sealed_ik(data + 1, size - 1);
    else
        read_sealed_nnpsk0(data + 1, size - 1);
    return 0;
}
