// Vectors that another implementation published, in both roles.
//
// usage: test_noise_vectors VECTORS: vectors.txt of Debian's golang-github-flynn-noise-dev
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "common/base/defs.h"
#include "common/base/err.h"
#include "common/proto/aead.h"
#include "common/proto/noise.h"

#define MESSAGE_MAX 1200

static const enum pqb_noise_pattern patterns[] = {PQB_NOISE_IK, PQB_NOISE_NNPSK0};
static const char *const names[] = {"Noise_IK_25519_ChaChaPoly_SHA256",
                                    "Noise_NNpsk0_25519_ChaChaPoly_SHA256"};

struct bytes {
    uint8_t data[256];
    size_t len;
};

struct vector {
    enum pqb_noise_pattern pattern;
    struct bytes init_static, resp_static, init_ephemeral, resp_ephemeral, prologue, psk;
    struct bytes payloads[4], ciphertexts[4]; // the two messages, then one each way
};

#define FIELD(name, member)                   \
    {                                         \
        name, offsetof(struct vector, member) \
    }

static const struct {
    const char *name;
    size_t offset;
} fields[] = {
    FIELD("init_static", init_static),
    FIELD("resp_static", resp_static),
    FIELD("gen_init_ephemeral", init_ephemeral),
    FIELD("gen_resp_ephemeral", resp_ephemeral),
    FIELD("prologue", prologue),
    FIELD("preshared_key", psk),
    FIELD("msg_0_payload", payloads[0]),
    FIELD("msg_0_ciphertext", ciphertexts[0]),
    FIELD("msg_1_payload", payloads[1]),
    FIELD("msg_1_ciphertext", ciphertexts[1]),
    FIELD("msg_2_payload", payloads[2]),
    FIELD("msg_2_ciphertext", ciphertexts[2]),
    FIELD("msg_3_payload", payloads[3]),
    FIELD("msg_3_ciphertext", ciphertexts[3]),
};

static struct vector vectors[32];
static size_t vector_count;

// false: not a field, or not hex.
static bool read_field(struct vector *v, const char *name, const char *value)
{
    for (size_t i = 0; i < PQB_ARRAY_LEN(fields); i++) {
        struct bytes *to = (struct bytes *)(void *)((char *)v + fields[i].offset);
        const char *end;

        if (strcmp(name, fields[i].name) == 0)
            return sodium_hex2bin(to->data, sizeof(to->data), value, strlen(value), NULL, &to->len,
                                  &end) == 0 &&
                   *end == '\0';
    }
    return false;
}

// The vector that this line begins; NULL: one of another protocol.
static struct vector *begin_vector(const char *protocol)
{
    for (size_t i = 0; i < PQB_ARRAY_LEN(patterns); i++) {
        if (strcmp(protocol, names[i]) == 0 && vector_count < PQB_ARRAY_LEN(vectors)) {
            vectors[vector_count].pattern = patterns[i];
            return &vectors[vector_count++];
        }
    }
    return NULL;
}

// Lines "name=value"; "handshake" is the first of each vector.
static bool read_vectors(FILE *file)
{
    struct vector *v = NULL;
    char *line = NULL;
    size_t size = 0;
    bool is_good = true;

    while (is_good && getline(&line, &size, file) >= 0) {
        char *value = strchr(line, '=');

        line[strcspn(line, "\n")] = '\0';
        if (value == NULL)
            continue;
        *value++ = '\0';
        if (strcmp(line, "handshake") == 0)
            v = begin_vector(value);
        else if (v != NULL)
            is_good = read_field(v, line, value);
    }
    free(line);
    return is_good;
}

static struct pqb_noise_keypair keypair(const uint8_t secret[PQB_KEY_LEN])
{
    struct pqb_noise_keypair pair;

    memcpy(pair.secret, secret, sizeof(pair.secret));
    pqb_noise_keypair_complete(&pair);
    return pair;
}

static void begin_as_told(struct pqb_noise *n, const struct vector *v, bool is_initiator)
{
    const struct pqb_noise_keypair initiator = keypair(v->init_static.data);
    const struct pqb_noise_keypair responder = keypair(v->resp_static.data);

    if (v->pattern == PQB_NOISE_IK)
        pqb_noise_init_ik(n, is_initiator, is_initiator ? &initiator : &responder,
                          is_initiator ? responder.public : NULL, v->prologue.data,
                          v->prologue.len);
    else
        pqb_noise_init_nnpsk0(n, is_initiator, v->psk.data, v->prologue.data, v->prologue.len);
}

static void check_write(struct pqb_noise *n, const struct vector *v, int i, const uint8_t *e)
{
    uint8_t out[MESSAGE_MAX];

    assert_int_equal(pqb_noise_write(n, e, v->payloads[i].data, v->payloads[i].len, out),
                     v->ciphertexts[i].len);
    assert_memory_equal(out, v->ciphertexts[i].data, v->ciphertexts[i].len);
}

static void check_read(struct pqb_noise *n, const struct vector *v, int i)
{
    uint8_t payload[MESSAGE_MAX];
    size_t len;

    assert_true(pqb_noise_read(n, v->ciphertexts[i].data, v->ciphertexts[i].len, payload, &len));
    assert_int_equal(len, v->payloads[i].len);
    assert_memory_equal(payload, v->payloads[i].data, len);
}

static void check_transport(const struct vector *v, int i, const uint8_t key[PQB_KEY_LEN])
{
    const struct pqb_aead_with first = {.number = 0};
    uint8_t sealed[MESSAGE_MAX], opened[MESSAGE_MAX];
    const size_t len = v->payloads[i].len;

    assert_int_equal(v->ciphertexts[i].len, len + PQB_TAG_LEN);
    pqb_aead_seal(PQB_CIPHER_CHACHAPOLY, key, &first, v->payloads[i].data, len, sealed);
    assert_memory_equal(sealed, v->ciphertexts[i].data, len + PQB_TAG_LEN);
    assert_true(pqb_aead_open(PQB_CIPHER_CHACHAPOLY, key, &first, v->ciphertexts[i].data,
                              len + PQB_TAG_LEN, opened));
    assert_memory_equal(opened, v->payloads[i].data, len);
}

static void check_end(struct pqb_noise *n, const struct vector *v)
{
    uint8_t from_initiator[PQB_KEY_LEN], from_responder[PQB_KEY_LEN];

    pqb_noise_finish(n, from_initiator, from_responder);
    check_transport(v, 2, from_initiator);
    check_transport(v, 3, from_responder);
}

// As if another thread wrote the answer.
static void hand_over(struct pqb_noise *n)
{
    uint8_t middle[PQB_NOISE_MIDDLE_LEN];

    pqb_noise_save(n, middle);
    pqb_noise_fini(n);
    memset(n, 0xff, sizeof(*n));
    pqb_noise_restore(n, middle);
}

static void the_published_vectors_hold_for_the_initiator(void **state)
{
    struct pqb_noise n;

    (void)state;
    for (const struct vector *v = vectors; v < vectors + vector_count; v++) {
        begin_as_told(&n, v, true);
        check_write(&n, v, 0, v->init_ephemeral.data);
        check_read(&n, v, 1);
        check_end(&n, v);
    }
}

static void the_published_vectors_hold_for_the_responder(void **state)
{
    struct pqb_noise n;

    (void)state;
    for (const struct vector *v = vectors; v < vectors + vector_count; v++) {
        for (int is_handed_over = 0; is_handed_over < 2; is_handed_over++) {
            begin_as_told(&n, v, false);
            check_read(&n, v, 0);
            if (is_handed_over)
                hand_over(&n);
            check_write(&n, v, 1, v->resp_ephemeral.data);
            check_end(&n, v);
        }
    }
}

static void there_are_vectors_of_both_handshakes(void **state)
{
    size_t counts[PQB_ARRAY_LEN(patterns)] = {0};

    (void)state;
    for (size_t i = 0; i < vector_count; i++)
        counts[vectors[i].pattern]++;
    for (size_t i = 0; i < PQB_ARRAY_LEN(patterns); i++) {
        (void)printf("%zu vectors of %s\n", counts[patterns[i]], names[i]);
        assert_true(counts[patterns[i]] > 0);
    }
    assert_true(vector_count < PQB_ARRAY_LEN(vectors)); // none was left out
}

static bool take_vectors(const char *path)
{
    FILE *file = fopen(path, "r");

    if (file == NULL) {
        (void)fprintf(stderr, "%s is missing; run tools/setup, which installs it\n", path);
        return false;
    }
    const bool is_good = read_vectors(file);
    if (!is_good)
        (void)fprintf(stderr, "%s: a line that is not understood\n", path);
    (void)fclose(file);
    return is_good;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_are_vectors_of_both_handshakes),
        cmocka_unit_test(the_published_vectors_hold_for_the_initiator),
        cmocka_unit_test(the_published_vectors_hold_for_the_responder),
    };

    if (argc != 2) {
        (void)fprintf(stderr, "usage: %s VECTORS\n", argv[0]);
        return 2;
    }
    if (pqb_aead_init() != PQB_OK || !take_vectors(argv[1]))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
