// Attacks of strangers: amplify, flood-init, flood-data. Nobody of them has a session.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/wire/datagram.h"
#include "tools/pqbsim/inject.h"

#define TYPE_MASK    0x0f
#define INIT_BODY_AT 13 // its length and its array

enum amplify_kind {
    INIT_GOOD,
    INIT_REPEATED,
    INIT_STRANGER,
    INIT_TRUNCATED,
    INIT_VERSION,
    INIT_SUITE,
    INIT_BODY,
    INIT_COOKIE,
    INIT_BUSY,
    TYPE_UNKNOWN,
    TYPE_SERVER,
    RESUME,
    DATA_TINY,
    DATA_SHORT,
    DATA_RESET_SIZE,
    DATA_FULL,
    GARBAGE,
};

static const struct inject_kind amplify_kinds[] = {
    [INIT_GOOD] = {"init", 1.0},
    [INIT_REPEATED] = {"init-repeated", 1.0},
    [INIT_STRANGER] = {"init-stranger", 1.0},
    [INIT_TRUNCATED] = {"init-truncated", 1.0},
    [INIT_VERSION] = {"init-version", 1.0},
    [INIT_SUITE] = {"init-suite", 1.0},
    [INIT_BODY] = {"init-body", 1.0},
    [INIT_COOKIE] = {"init-cookie-wrong", 1.0},
    [INIT_BUSY] = {"init-too-often", 1.0},
    [TYPE_UNKNOWN] = {"type-unknown", 1.0},
    [TYPE_SERVER] = {"type-of-gateway", 1.0},
    [RESUME] = {"resume", 1.0},
    [DATA_TINY] = {"data-tiny", 1.0},
    [DATA_SHORT] = {"data-short", 1.0},
    [DATA_RESET_SIZE] = {"data-reset-size", 1.0},
    [DATA_FULL] = {"data-full", 1.0},
    [GARBAGE] = {"garbage", 1.0},
};

static void set_type(uint8_t *out, unsigned type)
{
    out[0] = (uint8_t)(PQB_WIRE_VERSION << 4 | (type & TYPE_MASK));
}

// A DATA datagram of `len` bytes with a connection id that nobody has.
static size_t make_unknown(struct inject *in, uint8_t *out, size_t len)
{
    pqb_rng_fill(&in->rng, out, len);
    set_type(out, PQB_DATAGRAM_DATA);
    return len;
}

static size_t amplify_init(struct inject *in, uint32_t kind, uint8_t *out)
{
    uint8_t cookie[PQB_COOKIE_LEN];
    uint64_t init_id = pqb_rng_next(&in->rng);
    char user[32] = "amplify";
    size_t len;

    if (kind == INIT_REPEATED) // a new login every 64
        init_id = in->seed + in->turn / in->scenario->kind_count / 64;
    if (kind == INIT_STRANGER)
        (void)snprintf(user, sizeof(user), "nobody%" PRIx64, pqb_rng_next(&in->rng));
    pqb_rng_fill(&in->rng, cookie, sizeof(cookie));
    len = inject_make_init(user, "x", init_id, kind == INIT_COOKIE ? cookie : NULL, out);
    if (kind == INIT_TRUNCATED)
        len = 1 + pqb_rng_below(&in->rng, len - 1);
    if (kind == INIT_VERSION)
        out[0] = (uint8_t)((2 + pqb_rng_below(&in->rng, 14)) << 4 | PQB_DATAGRAM_INIT);
    if (kind == INIT_SUITE)
        out[1] = (uint8_t)(1 + pqb_rng_below(&in->rng, 255));
    if (kind == INIT_BODY)
        pqb_rng_fill(&in->rng, out + INIT_BODY_AT, 1 + pqb_rng_below(&in->rng, len - INIT_BODY_AT));
    return len;
}

// Logins that bring their cookies back and become sessions: of ever more devices, until the user
// may have no more, and of the first one again and again. Both are told to come later in the end.
static size_t amplify_busy(struct inject *in, uint8_t *out, pqb_tstamp now)
{
    struct inject_peer *peer = &in->peer;
    char device[32];
    size_t len;

    if (peer->cid != 0) {
        len = inject_make_ping(peer->cid, 1, in->turn, out);
        *peer = (struct inject_peer){.logins = peer->logins};
        return len;
    }
    (void)snprintf(device, sizeof(device), "d%u",
                   pqb_rng_below(&in->rng, 2) == 0 ? peer->logins : 0);
    return inject_peer_login(in, "crowd", device, out, now);
}

static void on_amplify_answer(struct inject *in, uint32_t kind, const uint8_t *data, size_t len)
{
    if (kind == INIT_BUSY)
        inject_peer_on_answer(in, data, len);
}

static size_t make_amplify(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    static const uint8_t of_gateway[] = {PQB_DATAGRAM_RETRY, PQB_DATAGRAM_RESP, PQB_DATAGRAM_BUSY,
                                         PQB_DATAGRAM_RESET};
    const size_t len = 1 + pqb_rng_below(&in->rng, PQB_DATAGRAM_MAX);

    if (kind == INIT_BUSY)
        return amplify_busy(in, out, now);
    if (kind <= INIT_COOKIE)
        return amplify_init(in, kind, out);
    pqb_rng_fill(&in->rng, out, len);
    switch ((enum amplify_kind)kind) {
    case TYPE_UNKNOWN:
        set_type(out, 8 + (unsigned)pqb_rng_below(&in->rng, 8));
        return len;
    case TYPE_SERVER:
        set_type(out, of_gateway[pqb_rng_below(&in->rng, PQB_ARRAY_LEN(of_gateway))]);
        return len;
    case RESUME:
        set_type(out, PQB_DATAGRAM_RESUME);
        return len;
    case DATA_TINY:
        return make_unknown(in, out, 1 + pqb_rng_below(&in->rng, PQB_DATA_HEADER_LEN - 1));
    case DATA_SHORT: // below the length of a RESET: there must be no answer
        return make_unknown(in, out,
                            PQB_DATA_HEADER_LEN + pqb_rng_below(&in->rng, PQB_RESET_DATAGRAM_LEN -
                                                                              PQB_DATA_HEADER_LEN));
    case DATA_RESET_SIZE:
        return make_unknown(in, out, PQB_RESET_DATAGRAM_LEN);
    case DATA_FULL:
        return make_unknown(in, out, PQB_DATAGRAM_MAX);
    case GARBAGE:
    case INIT_GOOD:
    case INIT_REPEATED:
    case INIT_STRANGER:
    case INIT_TRUNCATED:
    case INIT_VERSION:
    case INIT_SUITE:
    case INIT_BODY:
    case INIT_COOKIE:
    case INIT_BUSY:
        break;
    }
    return len;
}

const struct inject_scenario inject_amplify = {
    .name = "amplify",
    .help = "every request that a stranger can send: bytes out per byte in",
    .limit = "1.0 for each kind",
    .kinds = amplify_kinds,
    .kind_count = PQB_ARRAY_LEN(amplify_kinds),
    .sources = 1,
    .rate = 1000,
    .make = make_amplify,
    .on_answer = on_amplify_answer,
    .memory_max = inject_memory_logins,
};

// --------------------------------------------------------------------------------- flood-init

static const struct inject_kind flood_init_kinds[] = {
    {"init-new-user", 1.0},
    {"init-one-user", 1.0},
};

static size_t make_flood_init(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    char user[32] = "flooded";

    (void)now;
    if (kind == 0)
        (void)snprintf(user, sizeof(user), "flood%" PRIx64, pqb_rng_next(&in->rng));
    return inject_make_init(user, "x", pqb_rng_next(&in->rng), NULL, out);
}

const struct inject_scenario inject_flood_init = {
    .name = "flood-init",
    .help = "logins that are never finished, from 128 addresses",
    .limit = "1.0 bytes out per byte in; half-open logins within half-open-max (needs --stats)",
    .kinds = flood_init_kinds,
    .kind_count = PQB_ARRAY_LEN(flood_init_kinds),
    .sources = 64,
    .rate = 5000,
    .make = make_flood_init,
    .memory_max = inject_memory_logins,
};

// --------------------------------------------------------------------------------- flood-data

static const struct inject_kind flood_data_kinds[] = {
    {"junk", 1.0},
    {"ping", 1.0},
    {"one-cid", 1.0},
};

static size_t make_flood_data(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    const uint64_t random = pqb_rng_next(&in->rng);

    (void)now;
    switch (kind) {
    case 0:
        return make_unknown(in, out, 1 + random % PQB_DATAGRAM_MAX);
    case 1: // sound to the last byte, but nobody's; its first byte names a shard
        return inject_make_ping(random | 1, 1 + random % 1000, random, out);
    default:
        return inject_make_ping(in->seed | 1, in->turn + 1, random, out);
    }
}

const struct inject_scenario inject_flood_data = {
    .name = "flood-data",
    .help = "data for sessions that do not exist, junk and sound, from 96 addresses",
    .limit = "1.0 bytes out per byte in",
    .kinds = flood_data_kinds,
    .kind_count = PQB_ARRAY_LEN(flood_data_kinds),
    .sources = 32,
    .rate = 10000,
    .make = make_flood_data,
    .memory_max = inject_memory_quiet,
};
