// Writes the first corpora: samples of every datagram and frame, what the structure check has to
// refuse, records, rows and a history of them, a counters page, lines of the control socket, a
// client's state, tokens, tickets and revocations. usage: make_seeds CORPUS_FOLDER (with a folder
// per target inside)
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/wire/cursor.h"
#include "common/wire/fields.h"
#include "gateway/io/stats_page.h"
#include "storage/records.h"
#include "tests/unit/token_samples.h"
#include "tests/unit/wire_samples.h"

#define CRC_LEN 4

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
    write_seed("structure", "array_4g", "\xdd\xff\x00\x00\x00", 5);
    write_seed("structure", "ext_cut", "\x91\xc7\x10\x05zz", 6);
    write_seed("structure", "key_twice", "\x91\x82\xa1z\x01\xa1z\x02", 8);
    write_seed("structure", "nan", "\x92\xcb\x7f\xf8\0\0\0\0\0\0\xca\x7f\xc0\0\0", 15);
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

// Of the suite noise: the datagrams, whose messages nobody can read without keys, and what is in
// them. As datagrams also for the first look at any.
static void write_hellos(struct pqb_rng *rng)
{
    static const uint8_t ticket[PQB_TICKET_LEN] = {9}, cookie[PQB_COOKIE_LEN] = {8};
    static const enum pqb_datagram_type types[] = {PQB_DATAGRAM_INIT, PQB_DATAGRAM_RESUME};
    static const char *const names[] = {"init", "resume"};
    uint8_t bytes[PQB_DATAGRAM_MAX];
    struct pqb_init init;
    struct pqb_resp resp;
    char name[32];
    size_t len;

    for (size_t i = 0; i < PQB_ARRAY_LEN(types); i++) {
        struct pqb_hello hello = {
            .type = types[i], .ciphers = 3, .init_id = 5, .ticket = i == 1 ? ticket : NULL};
        uint8_t *message = pqb_hello_begin(&hello, bytes);

        memset(message, 0x5a, hello.message_len);
        write_seed("hello", names[i], bytes, PQB_INIT_LEN);
        (void)snprintf(name, sizeof(name), "noise_%s", names[i]);
        write_seed("datagram", name, bytes, PQB_INIT_LEN);
        pqb_hello_put_cookie(bytes, cookie);
        (void)snprintf(name, sizeof(name), "%s_cookie", names[i]);
        write_seed("hello", name, bytes, PQB_INIT_LEN);
        wire_sample_init(rng, i == 0 ? WIRE_SAMPLE_HIGHEST : WIRE_SAMPLE_RANDOM, &init);
        pqb_hello_payload_encode(types[i], &init, bytes, 900);
        (void)snprintf(name, sizeof(name), "%s_payload", names[i]);
        write_seed("hello", name, bytes, 900);
    }
    wire_sample_resp(rng, WIRE_SAMPLE_RANDOM, &resp);
    write_seed("hello", "resp_payload", bytes, pqb_answer_payload_encode(&resp, bytes));
    len = pqb_answer_begin(7, bytes);
    memset(bytes + len, 0x5a, 150);
    write_seed("hello", "resp", bytes, len + 150);
    write_seed("datagram", "noise_resp", bytes, len + 150);
}

// {0 any bytes, 1 a mask over a good one, 2 what is sealed}, as fuzz_ticket takes them apart.
static void write_tickets(void)
{
    uint8_t bytes[1 + PQB_TICKET_LEN] = {1};
    struct pqb_writer_cursor w;

    write_seed("ticket", "good", bytes, 1);
    bytes[100] = 0x10;
    write_seed("ticket", "flipped", bytes, sizeof(bytes));
    bytes[0] = 0;
    bytes[1] = 3;
    write_seed("ticket", "any", bytes, sizeof(bytes));
    memset(bytes, 0, sizeof(bytes));
    pqb_wcur_init(&w, bytes, sizeof(bytes));
    pqb_wcur_u8(&w, 2);
    pqb_wcur_u8(&w, 5);
    pqb_wcur_bytes(&w, "alice", 5);
    w.at += PQB_USER_MAX - 5;
    pqb_wcur_u8(&w, 5);
    pqb_wcur_bytes(&w, "phone", 5);
    w.at += PQB_DEVICE_MAX - 5 + PQB_KEY_LEN;
    pqb_wcur_u64(&w, UINT64_MAX);
    pqb_wcur_u64(&w, UINT64_MAX);
    write_seed("ticket", "sealed", bytes, sizeof(bytes));
    bytes[1] = PQB_USER_MAX + 1;
    write_seed("ticket", "sealed_long_name", bytes, sizeof(bytes));
    bytes[1] = 0;
    write_seed("ticket", "sealed_no_name", bytes, sizeof(bytes));
}

// ------------------------------------------------------------------------------ what is stored

static const struct pqb_text ann = {"ann", 3}, ben = {"ben", 3}, phone = {"phone", 5};

// A life: two users with devices and epochs, messages, a refusal, a skip, a cursor, an end.
static struct pqb_journal_record life[] = {
    {.type = PQB_RECORD_USER, .uid = 1, .generation = 100},
    {.type = PQB_RECORD_DEVICE, .uid = 1, .devno = 1, .is_new = true},
    {.type = PQB_RECORD_EPOCH, .uid = 1, .devno = 1, .epoch = 1},
    {.type = PQB_RECORD_USER, .uid = 2, .generation = 100, .creator_uid = 1, .creator_devno = 1},
    {.type = PQB_RECORD_MSG,
     .uid = 2,
     .iseq = PQB_ISEQ_MAKE(100, 1),
     .from_uid = 1,
     .devno = 1,
     .epoch = 1,
     .seq = 1,
     .low = 1,
     .body_len = 5},
    {.type = PQB_RECORD_MSG,
     .uid = 2,
     .iseq = PQB_ISEQ_MAKE(100, 2),
     .from_uid = 1,
     .devno = 1,
     .epoch = 1,
     .seq = 2,
     .low = 1,
     .body_len = 5},
    {.type = PQB_RECORD_REFUSAL, .uid = 1, .devno = 1, .epoch = 1, .seq = 3, .nack = 16},
    {.type = PQB_RECORD_SKIP,
     .uid = 1,
     .devno = 1,
     .epoch = 1,
     .low = 2,
     .skipped = {.count = 1, .at = {{.seq = 5}}}},
    {.type = PQB_RECORD_DEVICE, .uid = 2, .devno = 1, .is_new = true},
    {.type = PQB_RECORD_CURSOR,
     .uid = 2,
     .devno = 1,
     .iseq = PQB_ISEQ_MAKE(100, 1),
     .delivered = PQB_ISEQ_MAKE(100, 1),
     .settled = {PQB_ISEQ_MAKE(100, 1), PQB_ISEQ_MAKE(100, 2), 1, 5}},
    {.type = PQB_RECORD_EXPIRE,
     .uid = 2,
     .iseq = PQB_ISEQ_MAKE(100, 2),
     .settled = {PQB_ISEQ_MAKE(100, 2), PQB_ISEQ_MAKE(100, 3), 0, 0}},
    {.type = PQB_RECORD_GENERATION, .uid = 2, .iseq = PQB_ISEQ_MAKE(101, 1)},
    {.type = PQB_RECORD_FORGET,
     .uid = 2,
     .devno = 1,
     .settled = {PQB_ISEQ_MAKE(100, 2), PQB_ISEQ_MAKE(101, 1), 0, 0}},
};

// {kind 1, length 2, content} of fuzz_records' histories: values without their CRC.
static void put_item(struct pqb_writer_cursor *w, uint8_t kind, int row, const uint8_t *value,
                     size_t len)
{
    pqb_wcur_u8(w, kind);
    pqb_wcur_u16(w, (uint16_t)(len - CRC_LEN + (row >= 0)));
    if (row >= 0)
        pqb_wcur_u8(w, (uint8_t)row);
    pqb_wcur_bytes(w, value + CRC_LEN, len - CRC_LEN);
}

static void write_one(uint8_t what, const char *name, const uint8_t *value, size_t len)
{
    uint8_t seed[PQB_DEVICE_ROW_MAX];

    seed[0] = what;
    memcpy(seed + 1, value + CRC_LEN, len - CRC_LEN);
    write_seed("records", name, seed, 1 + len - CRC_LEN);
}

static void write_rows(struct pqb_writer_cursor *history)
{
    uint8_t value[PQB_DEVICE_ROW_MAX];
    struct pqb_user_row user = {.uid = 1,
                                .as_of = 1001,
                                .head = PQB_ISEQ_MAKE(100, 3),
                                .settled = {PQB_ISEQ_MAKE(100, 1), PQB_ISEQ_MAKE(100, 2), 2, 10},
                                .inbox_upto = PQB_ISEQ_MAKE(100, 3),
                                .generation = 100,
                                .devno_next = 2,
                                .name_len = 3,
                                .name = "ann"};
    static struct pqb_device_row device = {
        .uid = 1, .devno = 1, .as_of = 1001, .epoch = 1, .low = 4, .name_len = 5, .name = "phone"};
    const struct pqb_state_row state = {.journal_first = 1, .next_gseq = 2, .next_uid = 3};

    device.consumed_count = 2;
    device.consumed[0] = (struct pqb_consumed){.seq = 4, .state = PQB_STATE_ACCEPTED, .iseq = 7};
    device.consumed[1] = (struct pqb_consumed){.seq = 9, .state = PQB_STATE_REFUSED, .nack = 16};
    size_t len = pqb_user_row_encode(&user, value);
    write_one(2, "user_row", value, len);
    put_item(history, 2, 0, value, len);
    len = pqb_device_row_encode(&device, value);
    write_one(3, "device_row", value, len);
    put_item(history, 3, 0, value, len);
    pqb_state_row_encode(&state, value);
    write_one(4, "state_row", value, PQB_STATE_ROW_LEN);
}

static void write_records(void)
{
    uint8_t value[PQB_VALUE_MAX], all[8192], rows[4096];
    char name[32];
    struct pqb_writer_cursor history, with_rows;

    pqb_wcur_init(&history, all, sizeof(all));
    pqb_wcur_init(&with_rows, rows, sizeof(rows));
    pqb_wcur_u8(&history, 5);
    pqb_wcur_u8(&with_rows, 5);
    write_rows(&with_rows);
    for (size_t i = 0; i < PQB_ARRAY_LEN(life); i++) {
        struct pqb_journal_record *r = &life[i];

        if (r->type == PQB_RECORD_MSG) {
            r->from = ann;
            r->device = phone;
            r->body = (struct pqb_bytes){(const uint8_t *)"hello", 5};
        }
        r->name = r->type == PQB_RECORD_USER ? (r->uid == 1 ? ann : ben) : phone;
        const size_t len = pqb_record_len(r);
        pqb_record_encode(r, 1000 + i, value, len);
        (void)snprintf(name, sizeof(name), "record_%zu", i);
        write_one(0, name, value, len);
        if (r->type == PQB_RECORD_MSG)
            write_one(1, "inbox", value, len);
        put_item(&history, 0, -1, value, len);
        if (r->type == PQB_RECORD_MSG || r->type == PQB_RECORD_REFUSAL)
            put_item(&with_rows, 0, -1, value, len);
    }
    write_seed("records", "history", all, pqb_wcur_len(&history));
    write_seed("records", "rows", rows, pqb_wcur_len(&with_rows));
}

static void write_counters(void)
{
    static const struct pqb_stats_row rows[] = {
        {.name = "msg.accepted", .unit = "messages", .help = "durable"},
        {.name = "session.current", .unit = "sessions", .help = "now", .kind = PQB_STATS_GAUGE},
        {.name = "udp.drops", .unit = "datagrams", .help = "lost", .kind = PQB_STATS_ALARM},
    };
    static const char *const columns[] = {"shard.0", "process"};
    struct pqb_stats_page *page;
    char path[4096];

    for (size_t count = 0; count <= PQB_ARRAY_LEN(rows); count += 3) {
        (void)snprintf(path, sizeof(path), "%s/counters/page_%zu", corpus, count);
        PQB_ASSERT(pqb_stats_page_create(&page, path, rows, count, columns, 2, 1700000000000) ==
                   PQB_OK);
        if (count > 0) {
            pqb_stats_page_column(page, 0)[2] = 5;
            pqb_stats_page_turn_begin(page, 1, 1000000);
        }
        pqb_stats_page_heartbeat(page, 1000000);
        if (count == 0)
            pqb_stats_page_destroy(page, 1700000000001);
    }
}

static void write_control(void)
{
    static const char *const lines[] = {
        "status",
        "user an%6e%20x%C3%A9",
        "kick ann phone",
        "inbox ann 5 10",
        "{\"ok\":true,\"sessions\":[{\"user\":\"a\\u00e9\\n\",\"rtt\":-1.5e3},[],{}],\"x\":null}",
        "{\"ok\":false,\"error\":\"not \\\"a\\\" command\\ud800\"}",
        "[[[[[[[[1]]]]]]]]",
    };
    char name[32];

    for (size_t i = 0; i < PQB_ARRAY_LEN(lines); i++) {
        (void)snprintf(name, sizeof(name), "line_%zu", i);
        write_seed("control", name, lines[i], strlen(lines[i]));
    }
}

// {type 1, synced 1, length 2, payload} each, as fuzz_state takes them apart.
static void write_state(void)
{
    static const char log[] = "\1\0\0\x14\0\0\0\7\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0"
                              "\2\1\0\x14\0\0\0\0\0\0\0\1\0\1\0\3benhello"
                              "\2\1\0\x12\0\0\0\0\0\0\0\2\0\1\0\3cydabc"
                              "\4\2\0\x08\0\0\0\0\0\0\0\x09"
                              "\3\2\0\x08\0\0\0\0\0\0\0\1"
                              "\x10torn tail 123456";

    write_seed("state", "queue", log, sizeof(log) - 1);
}

// Tokens and keys as they are, and what fuzz_token signs: claims, a zero byte, a footer.
static void write_tokens(void)
{
    static const char *const claims[] = {
        "{\"sub\":\"a\\u00e9\\ud83d\\ude00\",\"dev\":\"p\",\"nbf\":\"2026-01-01T00:00:00+00:00\","
        "\"key\":"
        "\"000102030405060708090A0B0C0D0E0F101112131415161718191a1b1c1d1e1f\",\"x\":[{\"y\":[-1."
        "5e3,"
        "null,true]},\"\\n\"],\"exp\":\"2028-02-29T23:59:59Z\",\"iat\":\"1970-01-01T00:00:00Z\"}",
        "{\"sub\":\"ann\",\"sub\":\"eve\"}",
        "{\"exp\":\"2100-02-29T00:00:00Z\"}",
        "{\"x\":[[[[[[[[1]]]]]]]],\"key\":\"00\"}",
    };
    static const char key[] = "k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsaI";
    const struct pqb_claims sample = token_sample_claims();
    char text[TOKEN_SAMPLE_MAX];
    char name[32];
    size_t len = pqb_claims_format(&sample, text);

    write_seed("token", "claims", text, len);
    memcpy(text + len, "\0{\"kid\":1}", 11);
    write_seed("token", "footer", text, len + 11);
    len = pqb_paseto_make(&sample, &token_sample_secret, text);
    write_seed("token", "token", text, len);
    write_seed("token", "public", key, sizeof(key) - 1);
    pqb_paserk_secret_format(&token_sample_secret, text);
    write_seed("token", "secret", text, strlen(text));
    for (size_t i = 0; i < PQB_ARRAY_LEN(claims); i++) {
        (void)snprintf(name, sizeof(name), "claims_%zu", i);
        write_seed("token", name, claims[i], strlen(claims[i]));
    }
}

static void write_revoked(void)
{
    static const char text[] =
        "# lost\n\nuser eve\r\ndevice bob phone\n device\tbob pc \nkey "
        "000102030405060708090A0B0C0D0E0F101112131415161718191a1b1c1d1e1f\nuser ann";

    write_seed("revoked", "all", text, sizeof(text) - 1);
    write_seed("revoked", "short_key", "key 00\n", 7);
    write_seed("revoked", "unknown", "user a\ngroup b\n", 15);
    write_seed("revoked", "zero", "user a\0b\n", 9);
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
    write_hellos(&rng);
    write_tickets();
    write_records();
    write_counters();
    write_control();
    write_state();
    write_tokens();
    write_revoked();
    return 0;
}
