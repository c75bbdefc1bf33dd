// Attacks of strangers: amplify, flood-init, flood-data. Nobody of them has a session.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/proto/replay_window.h"
#include "common/wire/datagram.h"
#include "gateway/io/stats_page.h"
#include "tools/pqbsim/inject.h"

#define TYPE_MASK    0x0f
#define INIT_BODY_AT 13 // its length and its array; encrypted: place of the cookie, handshake, mac1
#define SUITE_AT     1
#define CIPHERS_AT   2

enum amplify_kind {
    INIT_GOOD,
    INIT_REPEATED,
    INIT_STRANGER,
    INIT_TRUNCATED,
    INIT_VERSION,
    INIT_SUITE,
    INIT_BODY,
    INIT_COOKIE,
    INIT_MAC1,
    INIT_OTHER_SUITE,
    INIT_HANDSHAKE,
    INIT_CIPHERS,
    RESUME_TICKET,
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
    [INIT_MAC1] = {"init-mac1-bad", 1.0}, // this and the next four: to encrypted gateways only
    [INIT_OTHER_SUITE] = {"init-plaintext", 1.0},
    [INIT_HANDSHAKE] = {"init-handshake-junk", 1.0},
    [INIT_CIPHERS] = {"init-ciphers", 1.0},
    [RESUME_TICKET] = {"resume-ticket-junk", 1.0},
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

// What knows the gateway's public key, and what does not; `out` holds a sound INIT.
static size_t amplify_sealed(struct inject *in, uint32_t kind, uint8_t *out)
{
    static const struct pqb_init plain = {.user = {"load0", 5}, .device = {"sim", 3}, .init_id = 1};

    if (!in->gateway.is_noise)
        return 0;
    if (kind == INIT_OTHER_SUITE)
        return pqb_init_encode(&plain, out);
    if (kind == INIT_MAC1)
        out[PQB_HELLO_MAC1_AT + pqb_rng_below(&in->rng, PQB_MAC1_LEN)] ^= 1;
    if (kind == INIT_HANDSHAKE || kind == RESUME_TICKET)
        pqb_rng_fill(&in->rng, out + PQB_HELLO_HEADER_LEN,
                     PQB_HELLO_MAC1_AT - PQB_HELLO_HEADER_LEN);
    if (kind == RESUME_TICKET)
        set_type(out, PQB_DATAGRAM_RESUME);
    if (kind == INIT_CIPHERS)
        out[CIPHERS_AT] ^= (uint8_t)(1 + pqb_rng_below(&in->rng, 255));
    if (kind != INIT_MAC1)
        sealed_mac1(&in->gateway, out);
    return PQB_INIT_LEN;
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
    len = inject_make_init(in, kind, user, "x", init_id, kind == INIT_COOKIE ? cookie : NULL, out);
    if (kind == INIT_TRUNCATED)
        len = 1 + pqb_rng_below(&in->rng, len - 1);
    if (kind == INIT_VERSION)
        out[0] = (uint8_t)((2 + pqb_rng_below(&in->rng, 14)) << 4 | PQB_DATAGRAM_INIT);
    if (kind == INIT_SUITE)
        out[SUITE_AT] ^= (uint8_t)(1 + pqb_rng_below(&in->rng, 255));
    if (kind == INIT_BODY)
        pqb_rng_fill(&in->rng, out + INIT_BODY_AT, 1 + pqb_rng_below(&in->rng, len - INIT_BODY_AT));
    return kind >= INIT_MAC1 ? amplify_sealed(in, kind, out) : len;
}

// Logins that bring their cookies back and become sessions: of ever more devices, until the user
// may have no more, and of the first one again and again. Both are told to come later in the end.
static size_t amplify_busy(struct inject *in, uint8_t *out, pqb_tstamp now)
{
    struct inject_peer *peer = &in->peer;
    char device[32];
    size_t len;

    if (peer->cid != 0) {
        len = inject_peer_ping(in, in->turn, out);
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
    if (kind <= RESUME_TICKET)
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
    case INIT_MAC1:
    case INIT_OTHER_SUITE:
    case INIT_HANDSHAKE:
    case INIT_CIPHERS:
    case RESUME_TICKET:
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

#define COOKIE_INTERVAL_NS (10 * PQB_NS_PER_MS) // of the one address that brings cookies back
#define COOKIES_MAX        64

enum flood_init_kind {
    NEW_USER,
    ONE_USER,
    REPLAYED,
    WITH_COOKIE,
    MAC1_BAD,
    JUNK_INSIDE,
};

static const struct inject_kind flood_init_kinds[] = {
    [NEW_USER] = {"init-new-user", 1.0},          [ONE_USER] = {"init-one-user", 1.0},
    [REPLAYED] = {"init-replayed", 1.0},          [WITH_COOKIE] = {"init-with-cookie", 1.0},
    [MAC1_BAD] = {"init-mac1-bad", 1.0}, // this and the next: to encrypted gateways only
    [JUNK_INSIDE] = {"init-handshake-junk", 1.0},
};

// Cookies that came to the address that brings them back, the oldest first.
static struct pqb_retry cookies[COOKIES_MAX];
static size_t cookie_count;
static pqb_tstamp cookie_at; // when it asked last

static void on_flood_init_answer(struct inject *in, uint32_t kind, const uint8_t *data, size_t len)
{
    enum pqb_datagram_type type;

    (void)in;
    if (kind == WITH_COOKIE && cookie_count < COOKIES_MAX &&
        pqb_datagram_peek(data, len, &type) == PQB_VERDICT_OK && type == PQB_DATAGRAM_RETRY &&
        pqb_retry_decode(data, len, &cookies[cookie_count]) == PQB_VERDICT_OK)
        cookie_count++;
}

// A real address, which is known by its cookies and so cannot ask as often as it likes. It never
// goes on either.
static size_t make_with_cookie(struct inject *in, uint8_t *out, pqb_tstamp now)
{
    size_t len;

    if (pqb_elapsed(cookie_at, now) < COOKIE_INTERVAL_NS)
        return 0;
    cookie_at = now;
    in->source = 0;
    if (cookie_count == 0)
        return inject_make_init(in, WITH_COOKIE, "cookie", "x", pqb_rng_next(&in->rng), NULL, out);
    len = inject_make_init(in, WITH_COOKIE, "cookie", "x", cookies[0].init_id, cookies[0].cookie,
                           out);
    memmove(cookies, cookies + 1, --cookie_count * sizeof(cookies[0]));
    return len;
}

static size_t make_flood_init(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    const uint64_t init_id = pqb_rng_next(&in->rng);
    char user[32] = "flooded";
    size_t len;

    if (kind == WITH_COOKIE)
        return make_with_cookie(in, out, now);
    if (kind >= MAC1_BAD && !in->gateway.is_noise)
        return 0;
    if (kind == NEW_USER)
        (void)snprintf(user, sizeof(user), "flood%" PRIx64, init_id);
    len =
        inject_make_init(in, kind, user, "x", kind == REPLAYED ? in->seed | 1 : init_id, NULL, out);
    if (kind == MAC1_BAD)
        out[PQB_HELLO_MAC1_AT] ^= 1;
    if (kind == JUNK_INSIDE) {
        pqb_rng_fill(&in->rng, out + PQB_LOGIN_HEADER_LEN - sizeof(init_id), sizeof(init_id));
        sealed_mac1(&in->gateway, out);
    }
    return len;
}

static void judge_flood_init(struct inject *in, const struct pqb_stats_snapshot *from,
                             const struct pqb_stats_snapshot *to)
{
    inject_check(in, "strangers.sessions", inject_sessions_of_others(in, from, to), 0);
    inject_note(in, "login.retry", inject_grown(from, to, "login.retry"));
    inject_note(in, "login.mac1_bad", inject_grown(from, to, "login.mac1_bad"));
    inject_note(in, "login.forged", inject_grown(from, to, "login.forged"));
    inject_note(in, "login.busy_handshakes", inject_grown(from, to, "login.busy_handshakes"));
}

const struct inject_scenario inject_flood_init = {
    .name = "flood-init",
    .help = "logins that are never finished, from 216 addresses, one of which brings cookies back",
    .limit = "1.0 bytes out per byte in; no session; half-open logins within half-open-max (needs "
             "--stats)",
    .kinds = flood_init_kinds,
    .kind_count = PQB_ARRAY_LEN(flood_init_kinds),
    .sources = 36,
    .rate = 5000,
    .make = make_flood_init,
    .on_answer = on_flood_init_answer,
    .judge = judge_flood_init,
    .memory_max = inject_memory_logins,
};

// --------------------------------------------------------------------------------- flood-data

#define GOODPUT_LOST_MAX 50.0 // percent
#define BEYOND_MAX       1000 // packet numbers
#define FORGED_MIN       (PQB_DATA_HEADER_LEN + PQB_TAG_LEN)

enum flood_data_kind {
    JUNK,
    PING,
    ONE_CID,
    LIVING,
    LIVING_NEXT_KEY,
    LIVING_SHORT,
};

static const struct inject_kind flood_data_kinds[] = {
    [JUNK] = {"junk", 1.0},
    [PING] = {"ping", 1.0},
    [ONE_CID] = {"one-cid", 1.0},
    [LIVING] = {"living", 0.001}, // this and the next two: encrypted sessions only; silence
    [LIVING_NEXT_KEY] = {"living-next-key", 0.001},
    [LIVING_SHORT] = {"living-short", 0.001},
};

// Junk with a living connection id and a packet number that may come next: it costs the gateway a
// cipher, or the computation of a key as well.
static size_t make_living(struct inject *in, uint32_t kind, uint8_t *out)
{
    const struct inject_capture *c;
    struct pqb_data d;
    size_t len;

    if (!in->gateway.is_noise || in->captured == 0)
        return 0;
    c = &in->captures[pqb_rng_below(&in->rng, PQB_MIN(in->captured, (uint64_t)INJECT_CAPTURE_MAX))];
    if (pqb_data_decode(c->data, c->len, &d) != PQB_VERDICT_OK)
        return 0;
    len = FORGED_MIN + pqb_rng_below(&in->rng, PQB_DATAGRAM_MAX - FORGED_MIN + 1);
    if (kind == LIVING_SHORT)
        len = PQB_DATA_HEADER_LEN + pqb_rng_below(&in->rng, PQB_TAG_LEN);
    d.pn += PQB_REPLAY_SPAN + pqb_rng_below(&in->rng, BEYOND_MAX);
    if (kind == LIVING_NEXT_KEY)
        d.pn += PQB_PN_COUNTER_MASK + 1;
    pqb_rng_fill(&in->rng, out, len);
    pqb_data_header_encode(&d, out);
    return len;
}

static size_t make_flood_data(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    const uint64_t random = pqb_rng_next(&in->rng);

    (void)now;
    switch ((enum flood_data_kind)kind) {
    case JUNK:
        return make_unknown(in, out, 1 + random % PQB_DATAGRAM_MAX);
    case PING: // sound to the last byte, but nobody's; its first byte names a shard
        return inject_make_ping(random | 1, 1 + random % 1000, random, out);
    case ONE_CID:
        return inject_make_ping(in->seed | 1, in->turn + 1, random, out);
    case LIVING:
    case LIVING_NEXT_KEY:
    case LIVING_SHORT:
        break;
    }
    return make_living(in, kind, out);
}

static void on_flooded_user(struct inject *in, uint32_t user, const uint8_t *data, size_t len)
{
    enum pqb_datagram_type type;

    if (pqb_datagram_peek(data, len, &type) == PQB_VERDICT_OK && type == PQB_DATAGRAM_DATA)
        inject_capture_data(in, user, data, len);
}

static void judge_flood_data(struct inject *in, const struct pqb_stats_snapshot *from,
                             const struct pqb_stats_snapshot *to)
{
    const double lost =
        inject_grown(from, to, "udp.kernel_drops") + inject_grown(from, to, "mail.dropped");
    const double before = (double)in->before.delivered_us.count / in->before_seconds;
    const double during = (double)in->attack_delivered / in->attack_seconds;
    double sent = 0;

    inject_check(in, "goodput.lost_percent",
                 before > 0 ? PQB_MAX(0.0, 100 * (1 - during / before)) : 100, GOODPUT_LOST_MAX);
    inject_note(in, "goodput.before", before);
    inject_note(in, "goodput.during", during);
    for (uint32_t kind = LIVING; kind <= LIVING_SHORT; kind++)
        sent += (double)in->counts[kind].sent;
    inject_check(in, "forged.not_counted",
                 PQB_MAX(0.0, sent - lost - inject_grown(from, to, "drop.forged")), 0);
    inject_note(in, "drop.forged", inject_grown(from, to, "drop.forged"));
}

const struct inject_scenario inject_flood_data = {
    .name = "flood-data",
    .help = "data for sessions that do not exist and junk for those of encrypted users, from 192 "
            "addresses",
    .limit = "1.0 bytes out per byte in, none for a living session; half of the legitimate "
             "messages a second; each forgery is counted, no session ends (needs --stats)",
    .kinds = flood_data_kinds,
    .kind_count = PQB_ARRAY_LEN(flood_data_kinds),
    .sources = 32,
    .rate = 10000,
    .make = make_flood_data,
    .on_legitimate = on_flooded_user,
    .judge = judge_flood_data,
    .memory_max = inject_memory_quiet,
};
