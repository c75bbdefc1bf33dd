// Attacks on sessions of others: hijack and replay. The attacker has seen the victims' datagrams,
// or knows their connection ids; he does not answer a path challenge (without encryption, who reads
// a session's datagrams and answers for it is the client).
#include <string.h>

#include "common/base/check.h"
#include "common/wire/frame.h"
#include "tools/pqbsim/inject.h"

#define VICTIM           0
#define FORGED_EVERY     64 // the other turns of that kind are silent: each ruins a packet number
#define FIRST_DATA_PINGS 3

enum hijack_kind {
    JUNK,
    COPIED,
    OVERTAKING,
    FORGED,
    LOGIN,
    FIRST_DATA,
};

static const struct inject_kind hijack_kinds[] = {
    [JUNK] = {"junk", 3.0},
    [COPIED] = {"copied", 3.0},
    [OVERTAKING] = {"overtaking", 3.0},
    [FORGED] = {"forged-newest", 3.0},
    [LOGIN] = {"login", 0}, // proved by the first data, wherever that came from
    [FIRST_DATA] = {"first-data-elsewhere", 3.0},
};

static void capture(struct inject *in, uint32_t user, const uint8_t *data, size_t len)
{
    struct inject_capture *c = &in->captures[in->captured % INJECT_CAPTURE_MAX];

    if (len > sizeof(c->data))
        return;
    c->user = user;
    c->len = len;
    memcpy(c->data, data, len);
    in->captured++;
}

static const struct inject_capture *newest(const struct inject *in)
{
    return in->captured > 0 ? &in->captures[(in->captured - 1) % INJECT_CAPTURE_MAX] : NULL;
}

// The copy overtakes every other genuine datagram of the victim.
static void on_victim(struct inject *in, uint32_t user, const uint8_t *data, size_t len)
{
    struct pqb_data d;

    if (user != VICTIM || pqb_data_decode(data, len, &d) != PQB_VERDICT_OK)
        return;
    capture(in, user, data, len);
    if (in->is_attacking && in->captured % 2 == 0)
        inject_send(in, OVERTAKING, data, len);
}

// The attacker's own login at one address, its first data from another: what the session then has
// to say must not pour onto somebody who never asked.
static size_t make_first_data(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    struct inject_peer *peer = &in->peer;

    if (kind == LOGIN)
        return peer->cid == 0 ? inject_peer_login(in, "load0", "evil", out, now) : 0;
    if (peer->cid == 0 || peer->pn >= FIRST_DATA_PINGS)
        return 0;
    return inject_make_ping(peer->cid, ++peer->pn, in->turn, out);
}

static size_t make_hijack(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    const struct inject_capture *c = newest(in);
    struct pqb_data d;

    if (kind == LOGIN || kind == FIRST_DATA)
        return make_first_data(in, kind, out, now);
    if (c == NULL || kind == OVERTAKING) // that is sent when the victim sends
        return 0;
    if (kind == COPIED) {
        memcpy(out, c->data, c->len);
        return c->len;
    }
    if (pqb_data_decode(c->data, c->len, &d) != PQB_VERDICT_OK)
        return 0;
    if (kind == FORGED)
        return in->turn / in->scenario->kind_count % FORGED_EVERY == 0
                   ? inject_make_ping(d.cid, d.pn + 1, in->turn, out)
                   : 0;
    // A packet number long used: behind it may stand anything.
    d.pn = 1;
    pqb_rng_fill(&in->rng, out, PQB_DATAGRAM_MAX);
    pqb_data_header_encode(&d, out);
    return PQB_DATA_HEADER_LEN + pqb_rng_below(&in->rng, PQB_FRAMES_MAX);
}

static void on_hijack_answer(struct inject *in, uint32_t kind, const uint8_t *data, size_t len)
{
    if (kind == LOGIN)
        inject_peer_on_answer(in, data, len);
}

const struct inject_scenario inject_hijack = {
    .name = "hijack",
    .help = "junk, copies and forgeries with a victim's connection id, from other addresses",
    .limit = "3.0 bytes out per byte in; no session moves (needs --stats)",
    .kinds = hijack_kinds,
    .kind_count = PQB_ARRAY_LEN(hijack_kinds),
    .sources = 1,
    .rate = 1000,
    .make = make_hijack,
    .on_answer = on_hijack_answer,
    .on_legitimate = on_victim,
    .is_still = true,
};

// ------------------------------------------------------------------------------------- replay

static const struct inject_kind replay_kinds[] = {
    {"own-address", 0}, // the answers are the victim's, and counted there
    {"other-address", 3.0},
};

static size_t make_replay(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    const uint64_t held = PQB_MIN(in->captured, (uint64_t)INJECT_CAPTURE_MAX);
    const struct inject_capture *c;

    (void)now;
    if (in->captured == 0)
        return 0;
    c = &in->captures[pqb_rng_below(&in->rng, held)];
    if (kind == 0)
        in->via = (int)in->fleet.clients[c->user].socket;
    memcpy(out, c->data, c->len);
    return c->len;
}

const struct inject_scenario inject_replay = {
    .name = "replay",
    .help = "all that legitimate users sent, logins too, sent again from their and other addresses",
    .limit = "nothing is delivered twice, no session moves (needs --stats); 3.0 bytes out per byte "
             "in elsewhere",
    .kinds = replay_kinds,
    .kind_count = PQB_ARRAY_LEN(replay_kinds),
    .sources = 1,
    .rate = 2000,
    .make = make_replay,
    .on_legitimate = capture,
    .is_still = true,
};
