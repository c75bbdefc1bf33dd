// One side of a handshake and of the session after it, for another implementation to speak with.
//
// usage: noise_peer initiator IK SECRET PEER PROLOGUE        noise_peer responder IK SECRET
// PROLOGUE
//        noise_peer initiator|responder NNpsk0 PSK PROLOGUE
//
// Everything is hex, "-" where it is empty. A line in is a command, each is answered by a line:
//   write E_SECRET PAYLOAD   the message, or "refused"
//   read MESSAGE             the payload, or "refused"
//   hand-over                "ok": the responder between its two messages, saved and restored
//   finish CIPHER            "ok": from here on ChaChaPoly or AESGCM, or "lacking"
//   seal NUMBER AD TEXT      what is sent under the key of one's own direction
//   open NUMBER AD SEALED    the text under the key of the other direction, or "refused"
//   rekey                    "ok": both keys
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/base/defs.h"
#include "common/base/err.h"
#include "common/proto/aead.h"
#include "common/proto/noise.h"

#define BYTES_MAX 4096
#define WORDS_MAX 4

struct bytes {
    uint8_t data[BYTES_MAX];
    size_t len;
};

struct peer {
    struct pqb_noise noise;
    bool is_initiator;
    enum pqb_cipher cipher;
    uint8_t own[PQB_KEY_LEN], other[PQB_KEY_LEN]; // keys of the directions
};

static void wrong_use(const char *why)
{
    (void)fprintf(stderr, "noise_peer: %s\n", why);
    exit(2);
}

static void from_hex(const char *word, struct bytes *out)
{
    const char *end;

    out->len = 0;
    if (strcmp(word, "-") == 0)
        return;
    if (sodium_hex2bin(out->data, sizeof(out->data), word, strlen(word), NULL, &out->len, &end) !=
            0 ||
        *end != '\0')
        wrong_use("not hex");
}

static void key_from_hex(const char *word, uint8_t out[PQB_KEY_LEN])
{
    struct bytes bytes;

    from_hex(word, &bytes);
    if (bytes.len != PQB_KEY_LEN)
        wrong_use("not a key");
    memcpy(out, bytes.data, PQB_KEY_LEN);
}

static void answer(const char *text)
{
    (void)puts(text);
    (void)fflush(stdout);
}

static void answer_bytes(const uint8_t *data, size_t len)
{
    static char hex[2 * BYTES_MAX + 1];

    answer(len == 0 ? "-" : sodium_bin2hex(hex, sizeof(hex), data, len));
}

static void on_write(struct peer *p, char **words)
{
    struct bytes payload;
    uint8_t e_secret[PQB_KEY_LEN], out[BYTES_MAX + PQB_NOISE_IK_OVERHEAD];

    key_from_hex(words[0], e_secret);
    from_hex(words[1], &payload);
    const size_t len = pqb_noise_write(&p->noise, e_secret, payload.data, payload.len, out);
    if (len == 0)
        answer("refused");
    else
        answer_bytes(out, len);
}

static void on_read(struct peer *p, char **words)
{
    struct bytes message, payload;

    from_hex(words[0], &message);
    if (pqb_noise_read(&p->noise, message.data, message.len, payload.data, &payload.len))
        answer_bytes(payload.data, payload.len);
    else
        answer("refused");
}

static void on_hand_over(struct peer *p, char **words)
{
    uint8_t middle[PQB_NOISE_MIDDLE_LEN];

    (void)words;
    pqb_noise_save(&p->noise, middle);
    pqb_noise_fini(&p->noise);
    pqb_noise_restore(&p->noise, middle);
    answer("ok");
}

static void on_finish(struct peer *p, char **words)
{
    const bool is_aes = strcmp(words[0], "AESGCM") == 0;

    p->cipher = is_aes ? PQB_CIPHER_AESGCM : PQB_CIPHER_CHACHAPOLY;
    if (p->is_initiator)
        pqb_noise_finish(&p->noise, p->own, p->other);
    else
        pqb_noise_finish(&p->noise, p->other, p->own);
    answer(is_aes && (pqb_aead_ciphers() & PQB_CIPHERS_AESGCM) == 0 ? "lacking" : "ok");
}

static void on_seal(struct peer *p, char **words)
{
    struct bytes ad, text;
    uint8_t sealed[BYTES_MAX + PQB_TAG_LEN];

    from_hex(words[1], &ad);
    from_hex(words[2], &text);
    const struct pqb_aead_with with = {
        .number = strtoull(words[0], NULL, 16), .ad = ad.data, .ad_len = ad.len};
    pqb_aead_seal(p->cipher, p->own, &with, text.data, text.len, sealed);
    answer_bytes(sealed, text.len + PQB_TAG_LEN);
}

static void on_open(struct peer *p, char **words)
{
    struct bytes ad, sealed, text;

    from_hex(words[1], &ad);
    from_hex(words[2], &sealed);
    const struct pqb_aead_with with = {
        .number = strtoull(words[0], NULL, 16), .ad = ad.data, .ad_len = ad.len};
    if (pqb_aead_open(p->cipher, p->other, &with, sealed.data, sealed.len, text.data))
        answer_bytes(text.data, sealed.len - PQB_TAG_LEN);
    else
        answer("refused");
}

static void on_rekey(struct peer *p, char **words)
{
    (void)words;
    pqb_aead_rekey(p->cipher, p->own);
    pqb_aead_rekey(p->cipher, p->other);
    answer("ok");
}

static const struct {
    const char *name;
    int words;
    void (*run)(struct peer *p, char **words);
} commands[] = {
    {"write", 2, on_write},   {"read", 1, on_read}, {"hand-over", 0, on_hand_over},
    {"finish", 1, on_finish}, {"seal", 3, on_seal}, {"open", 3, on_open},
    {"rekey", 0, on_rekey},
};

static void obey(struct peer *p, char *line)
{
    char *words[WORDS_MAX + 1] = {NULL}, *rest = NULL;
    int count = 0;

    for (char *word = strtok_r(line, " \n", &rest); word != NULL && count < WORDS_MAX;
         word = strtok_r(NULL, " \n", &rest))
        words[count++] = word;
    for (size_t i = 0; count > 0 && i < PQB_ARRAY_LEN(commands); i++) {
        if (strcmp(words[0], commands[i].name) == 0 && count == 1 + commands[i].words) {
            commands[i].run(p, words + 1);
            return;
        }
    }
    wrong_use("not a command");
}

static void begin(struct peer *p, int argc, char **argv)
{
    const bool is_ik = argc > 2 && strcmp(argv[2], "IK") == 0;
    struct pqb_noise_keypair s;
    struct bytes prologue;
    uint8_t key[PQB_KEY_LEN];

    p->is_initiator = argc > 1 && strcmp(argv[1], "initiator") == 0;
    if (argc != (is_ik && p->is_initiator ? 6 : 5))
        wrong_use("wrong number of arguments");
    from_hex(argv[argc - 1], &prologue);
    key_from_hex(argv[3], s.secret);
    if (!is_ik) {
        pqb_noise_init_nnpsk0(&p->noise, p->is_initiator, s.secret, prologue.data, prologue.len);
        return;
    }
    pqb_noise_keypair_complete(&s);
    if (p->is_initiator)
        key_from_hex(argv[4], key);
    pqb_noise_init_ik(&p->noise, p->is_initiator, &s, p->is_initiator ? key : NULL, prologue.data,
                      prologue.len);
}

int main(int argc, char **argv)
{
    static struct peer p;
    char *line = NULL;
    size_t size = 0;

    if (pqb_aead_init() != PQB_OK)
        return 1;
    begin(&p, argc, argv);
    while (getline(&line, &size, stdin) >= 0)
        obey(&p, line);
    free(line);
    return 0;
}
