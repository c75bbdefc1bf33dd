// What cryptography costs on this machine: µs of CPU to seal and to open a message of several
// lengths with each cipher, µs for each side of both handshakes, and how much dearer a login's
// handshake is than a resumption's. Medians of rounds; all is measured in each round, so ratios are
// of one time.
//
//   bench_crypto [rounds]     default: 11
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/check.h"
#include "common/base/defs.h"
#include "common/base/err.h"
#include "common/base/time.h"
#include "common/proto/aead.h"
#include "common/proto/noise.h"

#define ROUNDS_MAX   101
#define MESSAGES     20000 // of each length in a round
#define HANDSHAKES   300
#define HELLO_LEN    200 // payload of a first message
#define WELCOME_LEN  100
#define MESSAGE_ROOM (PQB_NOISE_IK_OVERHEAD + HELLO_LEN)

enum {
    SEAL,
    OPEN,
    LENGTHS = 3,
    CIPHERS = 2,
    PATTERNS = 2
};

static const size_t lengths[LENGTHS] = {64, 200, PQB_FRAMES_MAX};
static const enum pqb_cipher ciphers[CIPHERS] = {PQB_CIPHER_CHACHAPOLY, PQB_CIPHER_AESGCM};
static const char *const cipher_names[CIPHERS] = {"ChaChaPoly", "AESGCM"};
static const char *const pattern_names[PATTERNS] = {"IK", "NNpsk0"};

// ns each, by round.
static double aead_ns[CIPHERS][LENGTHS][2][ROUNDS_MAX];
static double initiator_ns[PATTERNS][ROUNDS_MAX], responder_ns[PATTERNS][ROUNDS_MAX];
static double ratio_all[ROUNDS_MAX], ratio_responder[ROUNDS_MAX];

static struct pqb_noise_keypair client, gateway;
static uint8_t psk[PQB_KEY_LEN], e_secrets[2][PQB_KEY_LEN];

static uint64_t cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * PQB_NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static double since(uint64_t start, unsigned times)
{
    return (double)(cpu_ns() - start) / times;
}

// In place, with the header of a datagram as the associated text, as a session does.
static void measure_aead(int c, int l, int round)
{
    static uint8_t key[PQB_KEY_LEN], buffer[PQB_DATAGRAM_MAX], header[PQB_DATA_HEADER_LEN];
    static uint8_t sealed[PQB_DATAGRAM_MAX];
    struct pqb_aead_with with = {.ad = header, .ad_len = sizeof(header)};
    const size_t len = lengths[l];

    uint64_t start = cpu_ns();
    for (with.number = 0; with.number < MESSAGES; with.number++)
        pqb_aead_seal(ciphers[c], key, &with, buffer, len, buffer);
    aead_ns[c][l][SEAL][round] = since(start, MESSAGES);

    with.number = 1;
    pqb_aead_seal(ciphers[c], key, &with, buffer, len, sealed);
    start = cpu_ns();
    for (int i = 0; i < MESSAGES; i++)
        PQB_ASSERT(pqb_aead_open(ciphers[c], key, &with, sealed, len + PQB_TAG_LEN, buffer));
    aead_ns[c][l][OPEN][round] = since(start, MESSAGES);
}

static void begin(struct pqb_noise *n, enum pqb_noise_pattern pattern, bool is_initiator)
{
    if (pattern == PQB_NOISE_IK)
        pqb_noise_init_ik(n, is_initiator, is_initiator ? &client : &gateway,
                          is_initiator ? gateway.public : NULL, "prologue", 8);
    else
        pqb_noise_init_nnpsk0(n, is_initiator, psk, "prologue", 8);
}

// The clock is read between the sides: some 0.3 µs in each handshake of 100 and more.
static void measure_handshake(enum pqb_noise_pattern pattern, int round)
{
    static const uint8_t text[HELLO_LEN];
    uint8_t first[MESSAGE_ROOM], answer[MESSAGE_ROOM], payload[MESSAGE_ROOM], keys[4][PQB_KEY_LEN];
    uint64_t initiator = 0, responder = 0;

    for (int k = 0; k < HANDSHAKES; k++) {
        struct pqb_noise i, r;
        size_t len;

        const uint64_t t0 = cpu_ns();
        begin(&i, pattern, true);
        const size_t first_len = pqb_noise_write(&i, e_secrets[0], text, HELLO_LEN, first);
        const uint64_t t1 = cpu_ns();
        begin(&r, pattern, false);
        PQB_ASSERT(pqb_noise_read(&r, first, first_len, payload, &len));
        const size_t answer_len = pqb_noise_write(&r, e_secrets[1], text, WELCOME_LEN, answer);
        pqb_noise_finish(&r, keys[0], keys[1]);
        const uint64_t t2 = cpu_ns();
        PQB_ASSERT(pqb_noise_read(&i, answer, answer_len, payload, &len));
        pqb_noise_finish(&i, keys[2], keys[3]);
        const uint64_t t3 = cpu_ns();
        PQB_ASSERT(memcmp(keys[0], keys[2], sizeof(keys[0])) == 0);
        initiator += t1 - t0 + (t3 - t2);
        responder += t2 - t1;
    }
    initiator_ns[pattern][round] = (double)initiator / HANDSHAKES;
    responder_ns[pattern][round] = (double)responder / HANDSHAKES;
}

static void measure_round(int round, int cipher_count)
{
    for (int c = 0; c < cipher_count; c++) {
        for (int l = 0; l < LENGTHS; l++)
            measure_aead(c, l, round);
    }
    measure_handshake(PQB_NOISE_IK, round);
    measure_handshake(PQB_NOISE_NNPSK0, round);
    ratio_all[round] =
        (initiator_ns[PQB_NOISE_IK][round] + responder_ns[PQB_NOISE_IK][round]) /
        (initiator_ns[PQB_NOISE_NNPSK0][round] + responder_ns[PQB_NOISE_NNPSK0][round]);
    ratio_responder[round] =
        responder_ns[PQB_NOISE_IK][round] / responder_ns[PQB_NOISE_NNPSK0][round];
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

// "median (least to most)", in the unit of so many ns.
static void print_values(double *values, int rounds, double unit)
{
    qsort(values, (size_t)rounds, sizeof(values[0]), compare);
    (void)printf("%.2f (%.2f to %.2f)", values[rounds / 2] / unit, values[0] / unit,
                 values[rounds - 1] / unit);
}

static void print_all(int rounds, int cipher_count)
{
    for (int c = 0; c < cipher_count; c++) {
        for (int l = 0; l < LENGTHS; l++) {
            (void)printf("%s, %zu bytes, us: seal ", cipher_names[c], lengths[l]);
            print_values(aead_ns[c][l][SEAL], rounds, 1000);
            (void)printf(", open ");
            print_values(aead_ns[c][l][OPEN], rounds, 1000);
            (void)printf("\n");
        }
    }
    for (int p = 0; p < PATTERNS; p++) {
        (void)printf("%s handshake, us: initiator ", pattern_names[p]);
        print_values(initiator_ns[p], rounds, 1000);
        (void)printf(", responder ");
        print_values(responder_ns[p], rounds, 1000);
        (void)printf("\n");
    }
    (void)printf("IK / NNpsk0: both sides ");
    print_values(ratio_all, rounds, 1);
    (void)printf(", responder ");
    print_values(ratio_responder, rounds, 1);
    (void)printf("\n%d rounds: median (least to most)\n", rounds);
}

int main(int argc, char **argv)
{
    const int rounds = argc > 1 ? atoi(argv[1]) : 11; // NOLINT(cert-err34-c): checked below

    if (argc > 2 || rounds < 1 || rounds > ROUNDS_MAX) {
        (void)fprintf(stderr, "usage: %s [rounds, 1 to %d]\n", argv[0], ROUNDS_MAX);
        return 2;
    }
    if (pqb_aead_init() != PQB_OK)
        return 1;
    const int cipher_count = (pqb_aead_ciphers() & PQB_CIPHERS_AESGCM) != 0 ? 2 : 1;
    memset(client.secret, 1, sizeof(client.secret));
    memset(gateway.secret, 2, sizeof(gateway.secret));
    memset(e_secrets[0], 3, sizeof(e_secrets[0]));
    memset(e_secrets[1], 4, sizeof(e_secrets[1]));
    pqb_noise_keypair_complete(&client);
    pqb_noise_keypair_complete(&gateway);
    for (int round = 0; round < rounds; round++)
        measure_round(round, cipher_count);
    print_all(rounds, cipher_count);
    return 0;
}
