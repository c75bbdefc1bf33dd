// Writes the first corpora: samples of every datagram and frame, and what the structure check has
// to refuse. usage: make_seeds CORPUS_FOLDER (with a folder per target inside)
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/wire/fields.h"
#include "tests/unit/wire_samples.h"

static const char *corpus;

static void write_seed(const char *target, const char *name, const void *data, size_t len)
{
    char path[4096];

    (void)snprintf(path, sizeof(path), "%s/%s/%s", corpus, target, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, len, file) != len || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

// "msg:R" as a file name.
static void seed_name(uint8_t code, char *out, size_t size)
{
    (void)snprintf(out, size, "%s", pqb_frame_name(code));
    for (char *at = out; *at; at++) {
        if (*at == ':')
            *at = '_';
    }
}

static void write_frames(struct pqb_rng *rng)
{
    uint8_t area[PQB_FRAMES_MAX], datagram[PQB_DATAGRAM_MAX];
    char name[32];

    for (size_t i = 0; i < wire_sample_code_count; i++) {
        struct pqb_frame frame;
        const struct pqb_data header = {.cid = 7, .pn = i + 1, .echo_pn = 3, .echo_delay = 9};
        wire_sample_frame(rng, wire_sample_codes[i],
                          i % 2 ? WIRE_SAMPLE_HIGHEST : WIRE_SAMPLE_RANDOM, 40, &frame);
        const size_t len = pqb_frame_encode(&frame, area, sizeof(area));
        PQB_ASSERT(len > 0);
        seed_name(wire_sample_codes[i], name, sizeof(name));
        area[2] = area[0]; // type and content, without the length
        write_seed("frame", name, area + 2, len - 2);
        write_seed("structure", name, area + 3, len - 3);
        area[2] = (uint8_t)(len - 3);
        pqb_data_header_encode(&header, datagram);
        memcpy(datagram + PQB_DATA_HEADER_LEN, area, len);
        write_seed("datagram", name, datagram, PQB_DATA_HEADER_LEN + len);
    }
}

static void write_structures(void)
{
    uint8_t nested[300];

    memset(nested, 0x91, sizeof(nested));
    write_seed("structure", "nested", nested, sizeof(nested));
    write_seed("structure", "huge_array", "\xdd\xff\xff\xff\xff", 5);
    write_seed("structure", "huge_map", "\xdf\x80\x00\x00\x00", 5);
    write_seed("structure", "ext",
               "\x93\xc7\x02\x05zz\xd8\x01"
               "0123456789abcdef\xd4\x01z",
               26);
    write_seed("structure", "numbers", "\x96\xca....\xcb........\xd0.\xd1..\xd2....\xd3........",
               31);
    write_seed("structure", "maps", "\x91\x82\xa1z\x81\x01\x90\xc0\xde\x00\x01\xc2\xc3", 13);
}

static void write_datagrams(struct pqb_rng *rng)
{
    uint8_t bytes[PQB_DATAGRAM_MAX];
    struct pqb_init init;
    struct pqb_resp resp;
    const struct pqb_retry retry = {.init_id = 1};
    const struct pqb_busy busy = {.init_id = 2, .retry_after_ms = 500};
    const struct pqb_reset reset = {.cid = 3};

    wire_sample_init(rng, WIRE_SAMPLE_LOWEST, &init);
    write_seed("datagram", "init_low", bytes, pqb_init_encode(&init, bytes));
    wire_sample_init(rng, WIRE_SAMPLE_HIGHEST, &init);
    write_seed("datagram", "init_high", bytes, pqb_init_encode(&init, bytes));
    wire_sample_resp(rng, WIRE_SAMPLE_RANDOM, &resp);
    write_seed("datagram", "resp", bytes, pqb_resp_encode(&resp, bytes));
    write_seed("datagram", "retry", bytes, pqb_retry_encode(&retry, bytes));
    write_seed("datagram", "busy", bytes, pqb_busy_encode(&busy, bytes));
    write_seed("datagram", "reset", bytes, pqb_reset_encode(&reset, bytes));
}

int main(int argc, char **argv)
{
    struct pqb_rng rng;

    if (argc != 2)
        return 2;
    corpus = argv[1];
    pqb_rng_init_seed(&rng, 1);
    write_frames(&rng);
    write_structures();
    write_datagrams(&rng);
    return 0;
}
