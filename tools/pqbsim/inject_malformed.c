// malformed: traffic that was sound before it was mutated, as a login and inside a session that
// the attacker holds, so that what is wrong gets as deep into the gateway as it can.
#include <stdio.h>
#include <string.h>

#include "common/wire/frame.h"
#include "tools/pqbsim/inject.h"

#define SESSION_DATAGRAMS \
    400 // then a new session: a mutated packet number may have ruined this one
#define FRAMES_IN_ONE   4
#define USERS           64 // they take turns, so that none logs in too often
#define INIT_HEADER_LEN 15 // up to the array, without a cookie
#define INIT_USED_LEN   40 // and with it

enum malformed_kind {
    INIT_MUTANT,
    INIT_BOMB,
    SESSION,
};

static const struct inject_kind malformed_kinds[] = {
    [INIT_MUTANT] = {"init-mutant", 1.0},
    [INIT_BOMB] = {"init-bomb", 1.0},
    [SESSION] = {"session-mutant", 0},
};

// What asks a careless decoder for gigabytes or for a deep stack. The first byte is repeated to
// fill the room where `is_repeated`.
static const struct {
    uint8_t len, bytes[5];
    bool is_repeated;
} bombs[] = {
    {5, {0xdd, 0xff, 0xff, 0xff, 0xff}, false}, // array of 2^32-1
    {5, {0xdf, 0xff, 0xff, 0xff, 0xff}, false}, // map
    {5, {0xdb, 0xff, 0xff, 0xff, 0xff}, false}, // str
    {5, {0xc6, 0xff, 0xff, 0xff, 0xff}, false}, // bin
    {5, {0xc9, 0x7f, 0xff, 0xff, 0xff}, false}, // ext
    {3, {0xdc, 0xff, 0xff}, false},             // array of 65535
    {1, {0x91}, true},                          // arrays, one inside the other
    {1, {0x81}, true},                          // maps
    {1, {0xc1}, true},                          // never used
};

// Fills `room` bytes: a bomb at their beginning, or as the first field of an array.
static void write_bomb(struct inject *in, uint8_t *out, size_t room)
{
    const size_t which = pqb_rng_below(&in->rng, PQB_ARRAY_LEN(bombs));
    size_t at = 0;

    pqb_rng_fill(&in->rng, out, room);
    if (bombs[which].is_repeated) {
        memset(out, bombs[which].bytes[0], room);
        return;
    }
    if (pqb_rng_below(&in->rng, 2) == 0 && room > 6)
        out[at++] = 0x96;
    memcpy(out + at, bombs[which].bytes, PQB_MIN(room - at, (size_t)bombs[which].len));
}

static void flip_bits(struct inject *in, uint8_t *data, size_t from, size_t len)
{
    const uint64_t flips = 1 + pqb_rng_below(&in->rng, 8);

    for (uint64_t i = 0; i < flips && from < len; i++)
        data[from + pqb_rng_below(&in->rng, len - from)] ^=
            (uint8_t)(1U << pqb_rng_below(&in->rng, 8));
}

// msgpack's headers are where a decoder goes wrong.
static void plant_header(struct inject *in, uint8_t *data, size_t from, size_t len)
{
    if (from < len)
        data[from + pqb_rng_below(&in->rng, len - from)] =
            (uint8_t)(0xc0 + pqb_rng_below(&in->rng, 0x20));
}

static void copy_piece(struct inject *in, uint8_t *data, size_t from, size_t len)
{
    const size_t room = len > from ? len - from : 0;
    const size_t piece = room > 1 ? 1 + pqb_rng_below(&in->rng, room / 2) : 0;

    if (piece > 0)
        memmove(data + from + pqb_rng_below(&in->rng, room - piece),
                data + from + pqb_rng_below(&in->rng, room - piece), piece);
}

// Returns the new length.
static size_t mutate(struct inject *in, uint8_t *data, size_t from, size_t len)
{
    switch (pqb_rng_below(&in->rng, 6)) {
    case 0:
        flip_bits(in, data, from, len);
        break;
    case 1:
        plant_header(in, data, from, len);
        break;
    case 2:
        copy_piece(in, data, from, len);
        break;
    case 3:
        len = from + pqb_rng_below(&in->rng, len - from + 1);
        break;
    case 4:
        flip_bits(in, data, from, PQB_MIN(len, from + 8)); // lengths
        break;
    default:
        break; // sound
    }
    return len;
}

static void fill_frame(struct inject *in, struct pqb_frame *f, uint8_t *body)
{
    static const enum pqb_frame_type types[] = {
        PQB_FRAME_PING,    PQB_FRAME_PATH_RESPONSE, PQB_FRAME_MSG_R,     PQB_FRAME_ACK_R,
        PQB_FRAME_OFF_R,   PQB_FRAME_STAT_R,        PQB_FRAME_SKIP_R,    PQB_FRAME_FRAG,
        PQB_FRAME_EPOCH_R, PQB_FRAME_FRAG_A,        PQB_FRAME_FRAG_RESET};
    const uint64_t seq = 1 + pqb_rng_below(&in->rng, 300);
    const struct pqb_text to = {"mallory0", 8};
    const size_t len = 1 + pqb_rng_below(&in->rng, 200);

    pqb_rng_fill(&in->rng, body, len);
    memset(f, 0, sizeof(*f));
    f->type = types[pqb_rng_below(&in->rng, PQB_ARRAY_LEN(types))];
    if (f->type == PQB_FRAME_MSG_R)
        f->msg_r = (struct pqb_frame_msg_r){.seq = seq, .low = 1, .to = to, .body = {body, len}};
    else if (f->type == PQB_FRAME_OFF_R)
        f->off_r = (struct pqb_frame_off_r){.max = 1, .max_bytes = 1024};
    else if (f->type == PQB_FRAME_STAT_R)
        f->stat_r = (struct pqb_frame_stat_r){.seq = seq, .to = to};
    else if (f->type == PQB_FRAME_SKIP_R)
        f->skip_r = (struct pqb_frame_skip_r){
            .low = 1, .seqs = {.count = 1, .at = {{.first = seq, .last = seq}}}};
    else if (f->type == PQB_FRAME_FRAG)
        f->frag = (struct pqb_frame_frag){.id = 1 + (uint32_t)(seq % 8),
                                          .frame = PQB_FRAME_MSG_R,
                                          .seq = seq,
                                          .total = PQB_FRAG_LEN + (uint32_t)len,
                                          .index = 1,
                                          .piece = {body, len}};
    else if (f->type == PQB_FRAME_FRAG_A)
        f->frag_a = (struct pqb_frame_frag_a){.id = 1};
    else if (f->type == PQB_FRAME_FRAG_RESET)
        f->frag_reset = (struct pqb_frame_frag_reset){.id = 1, .seq = seq};
}

static size_t write_bomb_frame(struct inject *in, uint8_t *out, size_t room)
{
    const size_t content = 1 + pqb_rng_below(&in->rng, room - PQB_FRAME_HEADER_LEN);

    out[0] = (uint8_t)pqb_rng_below(&in->rng, 0x30);
    out[1] = (uint8_t)(content >> 8);
    out[2] = (uint8_t)content;
    write_bomb(in, out + PQB_FRAME_HEADER_LEN, content);
    return PQB_FRAME_HEADER_LEN + content;
}

// The header in front of what was mutated: itself spoiled now and then. What is wrong inside a
// sealed datagram gets as deep as it does in plaintext; what is wrong outside, the seal shows.
static size_t stamp_mutant(struct inject *in, uint8_t *out, size_t len)
{
    len = inject_peer_stamp(in, out, len);
    if (pqb_rng_below(&in->rng, 8) == 0)
        flip_bits(in, out, 0, PQB_MIN(len, (size_t)PQB_DATA_HEADER_LEN));
    return len;
}

static size_t make_in_session(struct inject *in, uint8_t *out, pqb_tstamp now)
{
    struct inject_peer *peer = &in->peer;
    size_t len = PQB_DATA_HEADER_LEN;
    struct pqb_frame f;
    uint8_t body[256];
    char user[32];

    if (peer->pn >= SESSION_DATAGRAMS)
        *peer = (struct inject_peer){.logins = peer->logins};
    (void)snprintf(user, sizeof(user), "mallory%u", peer->logins % USERS);
    if (peer->cid == 0)
        return inject_peer_login(in, user, "x", out, now);
    if (peer->pn == 0) { // confirms the login and gets the epoch that messages need
        memset(&f, 0, sizeof(f));
        f.type = PQB_FRAME_EPOCH_R;
        pqb_rng_fill(&in->rng, f.epoch_r.nonce, sizeof(f.epoch_r.nonce));
        return inject_peer_stamp(in, out, len + pqb_frame_encode(&f, out + len, PQB_FRAMES_MAX));
    }
    for (uint64_t i = pqb_rng_below(&in->rng, FRAMES_IN_ONE) + 1; i > 0; i--) {
        fill_frame(in, &f, body);
        len += pqb_frame_encode(&f, out + len, PQB_DATA_HEADER_LEN + PQB_FRAMES_MAX - len);
    }
    if (pqb_rng_below(&in->rng, 4) == 0)
        len += write_bomb_frame(in, out + len, PQB_DATA_HEADER_LEN + PQB_FRAMES_MAX - len);
    else
        len = mutate(in, out, PQB_DATA_HEADER_LEN, len);
    return stamp_mutant(in, out, len);
}

// The same inside of a sound handshake. Exchanges of keys bound the rate, so most turns go to the
// datagram's outside, whose mac1 is sound or not.
static size_t make_sealed_init(struct inject *in, uint32_t kind, uint8_t *out)
{
    const struct pqb_init init = {.user = {"mutant", 6}, .device = {"x", 1}, .token = {"guess", 5}};
    const uint64_t init_id = pqb_rng_next(&in->rng);
    uint8_t payload[SEALED_PAYLOAD_LEN];
    size_t len = sizeof(payload);

    if (pqb_rng_below(&in->rng, 4) != 0) {
        len = inject_make_init(in, kind, "mutant", "x", init_id, NULL, out);
        if (kind == INIT_BOMB)
            write_bomb(in, out + PQB_HELLO_HEADER_LEN, len - PQB_HELLO_HEADER_LEN);
        else
            len = mutate(in, out, 2, len);
        if (len == PQB_INIT_LEN && pqb_rng_below(&in->rng, 2) == 0)
            sealed_mac1(&in->gateway, out);
        return len;
    }
    pqb_hello_payload_encode(PQB_DATAGRAM_INIT, &init, payload, len);
    if (kind == INIT_BOMB) {
        write_bomb(in, payload + 2, len - 2);
        payload[0] = (uint8_t)((len - 2) >> 8);
        payload[1] = (uint8_t)(len - 2);
    } else {
        len = mutate(in, payload, 2, INIT_USED_LEN);
    }
    struct sealed mutant = {.hello_id = 0};
    return sealed_init_around(&in->gateway, &mutant, init_id, payload, len, out);
}

static size_t make_malformed(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    size_t len;

    if (kind == SESSION)
        return make_in_session(in, out, now);
    if (in->gateway.is_noise)
        return make_sealed_init(in, kind, out);
    len = inject_make_init(in, kind, "mutant", "x", pqb_rng_next(&in->rng), NULL, out);
    if (kind == INIT_MUTANT) { // its padding is not worth a mutation
        const size_t left = mutate(in, out, INIT_HEADER_LEN, INIT_USED_LEN);

        return left < INIT_USED_LEN ? left : len;
    }
    write_bomb(in, out + INIT_HEADER_LEN, len - INIT_HEADER_LEN);
    out[INIT_HEADER_LEN - 2] = (uint8_t)((len - INIT_HEADER_LEN) >> 8);
    out[INIT_HEADER_LEN - 1] = (uint8_t)(len - INIT_HEADER_LEN);
    return len;
}

static void on_malformed_answer(struct inject *in, uint32_t kind, const uint8_t *data, size_t len)
{
    if (kind == SESSION)
        inject_peer_on_answer(in, data, len);
}

const struct inject_scenario inject_malformed = {
    .name = "malformed",
    .help = "logins and sessions whose datagrams were mutated, msgpack bombs among them",
    .limit = "the gateway stays up, no alarm counter moves (needs --stats); logins 1.0 bytes out "
             "per byte in",
    .kinds = malformed_kinds,
    .kind_count = PQB_ARRAY_LEN(malformed_kinds),
    .sources = 1,
    .rate = 3000,
    .make = make_malformed,
    .on_answer = on_malformed_answer,
    .memory_max = inject_memory_quiet,
};
