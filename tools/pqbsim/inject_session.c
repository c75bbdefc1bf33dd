// Attacks on sessions of others: hijack and replay. The attacker has seen the victims' datagrams,
// or knows their connection ids; he does not answer a path challenge (in an encrypted session he
// cannot; without encryption, who reads a session's datagrams and answers for it is the client).
#include <string.h>

#include "common/base/check.h"
#include "common/proto/path.h"
#include "common/proto/rtt.h"
#include "common/wire/frame.h"
#include "tools/pqbsim/inject.h"

#define VICTIM           0
#define FORGED_EVERY     64 // in plaintext the other turns are silent: each ruins a packet number
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

static void set_capture(struct inject_capture *c, uint32_t user, const uint8_t *data, size_t len)
{
    c->user = user;
    c->len = len;
    memcpy(c->data, data, len);
}

void inject_capture_data(struct inject *in, uint32_t user, const uint8_t *data, size_t len)
{
    if (len <= PQB_DATAGRAM_MAX)
        set_capture(&in->captures[in->captured++ % INJECT_CAPTURE_MAX], user, data, len);
}

const struct inject_capture *inject_captured_newest(const struct inject *in)
{
    return in->captured > 0 ? &in->captures[(in->captured - 1) % INJECT_CAPTURE_MAX] : NULL;
}

// For a second the copy overtakes every other genuine datagram of the victim; in the next one the
// victim speaks alone, and must soon be the only one who is spoken to.
static void on_victim(struct inject *in, uint32_t user, const uint8_t *data, size_t len)
{
    struct pqb_data d;

    if (user != VICTIM || pqb_data_decode(data, len, &d) != PQB_VERDICT_OK)
        return;
    inject_capture_data(in, user, data, len);
    if (!in->is_attacking || in->captured % 2 != 0 ||
        pqb_elapsed(in->attack_at, in->fleet.now) / PQB_NS_PER_SEC % 2 != 0)
        return;
    in->overtaken.at = in->fleet.now;
    inject_send(in, OVERTAKING, data, len);
}

// The attacker's own login at one address, its first data from another: what the session then has
// to say must not pour onto somebody who never asked.
static size_t make_first_data(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    struct inject_peer *peer = &in->peer;
    char user[FLEET_NAME_MAX];

    if (kind == LOGIN) {
        (void)fleet_user_name(&in->fleet, 0, user);
        return peer->cid == 0 ? inject_peer_login(in, user, "evil", out, now) : 0;
    }
    if (peer->cid == 0 || peer->pn >= FIRST_DATA_PINGS)
        return 0;
    return inject_peer_ping(in, in->turn, out);
}

static size_t make_hijack(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    const struct inject_capture *c = inject_captured_newest(in);
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
        return in->gateway.is_noise || in->turn / in->scenario->kind_count % FORGED_EVERY == 0
                   ? inject_make_ping(d.cid, d.pn + 1, in->turn, out)
                   : 0;
    // A packet number long used: behind it may stand anything. In an encrypted session behind any.
    if (!in->gateway.is_noise || pqb_rng_below(&in->rng, 2) == 0)
        d.pn = 1;
    else
        d.pn += 1 + pqb_rng_below(&in->rng, UINT64_C(1) << 60);
    pqb_rng_fill(&in->rng, out, PQB_DATAGRAM_MAX);
    pqb_data_header_encode(&d, out);
    return PQB_DATA_HEADER_LEN + pqb_rng_below(&in->rng, PQB_FRAMES_MAX);
}

static void on_hijack_answer(struct inject *in, uint32_t kind, const uint8_t *data, size_t len)
{
    if (kind == LOGIN)
        inject_peer_on_answer(in, data, len);
    if (kind == JUNK || kind == COPIED || (kind == FORGED && in->gateway.is_noise))
        in->misdirected++;
    if (kind == OVERTAKING)
        in->overtaken.longest =
            PQB_MAX(in->overtaken.longest, pqb_elapsed(in->overtaken.at, in->fleet.now));
}

// A challenge is given up after three timeouts, or when the victim is heard again.
static void judge_hijack(struct inject *in, const struct pqb_stats_snapshot *from,
                         const struct pqb_stats_snapshot *to)
{
    const double timeout_ms = (double)PQB_RTO_FLOOR_NS / PQB_NS_PER_MS +
                              (double)pqb_hist_quantile(&in->during.accepted_us, 0.99) / 1e3;

    if (in->gateway.is_noise)
        inject_check(in, "hijack.forgeries_not_counted",
                     PQB_MAX(0.0, (double)in->counts[FORGED].sent -
                                      inject_grown(from, to, "drop.forged") -
                                      inject_grown(from, to, "udp.kernel_drops") -
                                      inject_grown(from, to, "mail.dropped")),
                     0);
    inject_check(in, "hijack.copies_answered", (double)in->misdirected, 0);
    inject_check(in, "hijack.undone_ms", (double)in->overtaken.longest / PQB_NS_PER_MS,
                 PQB_PATH_TRIES * timeout_ms);
}

const struct inject_scenario inject_hijack = {
    .name = "hijack",
    .help = "junk, copies and forgeries with a victim's connection id, from other addresses",
    .limit = "3.0 bytes out per byte in, none for junk, copies and, when encrypted, forgeries; an "
             "overtaking copy is forgotten within 3 timeouts; no session moves (needs --stats)",
    .kinds = hijack_kinds,
    .kind_count = PQB_ARRAY_LEN(hijack_kinds),
    .sources = 1,
    .rate = 1000,
    .make = make_hijack,
    .on_answer = on_hijack_answer,
    .on_legitimate = on_victim,
    .judge = judge_hijack,
    .is_still = true,
    .memory_max = inject_memory_quiet,
};

// ------------------------------------------------------------------------------------- replay

enum replay_kind {
    OWN_ADDRESS,
    OTHER_ADDRESS,
    LOGIN_OWN_ADDRESS,
    LOGIN_OTHER_ADDRESS,
    LOGIN_RESUME,
    RESUME_OWN_ADDRESS,
    RESUME_OTHER_ADDRESS,
};

static const struct inject_kind replay_kinds[] = {
    [OWN_ADDRESS] = {"own-address", 0}, // the answers are the victim's, and counted there
    [OTHER_ADDRESS] = {"other-address", 1.0},
    [LOGIN_OWN_ADDRESS] = {"login-own-address", 0},
    [LOGIN_OTHER_ADDRESS] = {"login-other-address", 1.0},
    [LOGIN_RESUME] = {"login-as-resume", 1.0}, // the other handshake: its ticket is none
    // Only encrypted sessions are resumed.
    [RESUME_OWN_ADDRESS] = {"resume-own-address", 0},
    [RESUME_OTHER_ADDRESS] = {"resume-other-address", 1.0},
};

void inject_capture_all(struct inject *in, uint32_t user, const uint8_t *data, size_t len)
{
    enum pqb_datagram_type type;

    if (len > PQB_DATAGRAM_MAX)
        return;
    inject_capture_data(in, user, data, len);
    if (pqb_datagram_peek(data, len, &type) != PQB_VERDICT_OK)
        return;
    if (type == PQB_DATAGRAM_INIT)
        set_capture(&in->logins[user], user, data, len);
    if (type == PQB_DATAGRAM_RESUME)
        set_capture(&in->resumes[user], user, data, len);
}

void inject_replay_note(struct inject *in, const uint8_t *data, size_t len)
{
    enum pqb_datagram_type type;

    if (pqb_datagram_peek(data, len, &type) != PQB_VERDICT_OK)
        return;
    in->replayed.data += type == PQB_DATAGRAM_DATA;
    in->replayed.logins +=
        type == PQB_DATAGRAM_INIT || (type == PQB_DATAGRAM_RESUME && in->gateway.is_noise);
}

static size_t make_replay(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    const uint64_t held = PQB_MIN(in->captured, (uint64_t)INJECT_CAPTURE_MAX);
    const struct inject_capture *c = &in->logins[pqb_rng_below(&in->rng, INJECT_CLIENTS)];

    (void)now;
    if (in->captured == 0)
        return 0;
    if (kind == OWN_ADDRESS || kind == OTHER_ADDRESS)
        c = &in->captures[pqb_rng_below(&in->rng, held)];
    if (kind == RESUME_OWN_ADDRESS || kind == RESUME_OTHER_ADDRESS)
        c = &in->resumes[c->user];
    if (c->len == 0)
        return 0;
    if (kind == OWN_ADDRESS || kind == LOGIN_OWN_ADDRESS || kind == RESUME_OWN_ADDRESS)
        in->via = (int)in->fleet.clients[c->user].socket;
    memcpy(out, c->data, c->len);
    if (kind == LOGIN_RESUME) {
        out[0] = PQB_WIRE_VERSION << 4 | PQB_DATAGRAM_RESUME;
        if (in->gateway.is_noise)
            sealed_mac1(&in->gateway, out);
    }
    inject_replay_note(in, out, c->len);
    return c->len;
}

void inject_judge_replay(struct inject *in, const struct pqb_stats_snapshot *from,
                         const struct pqb_stats_snapshot *to)
{
    // Not taken a second time, but not by the gateway's doing.
    double lost =
        inject_grown(from, to, "udp.kernel_drops") + inject_grown(from, to, "mail.dropped");
    double refused = inject_grown(from, to, "drop.replay") + inject_grown(from, to, "drop.stale") +
                     inject_grown(from, to, "drop.unknown_cid") +
                     inject_grown(from, to, "drop.forged");

    for (size_t i = 0; i < in->scenario->kind_count; i++)
        lost += (double)in->counts[i].failed;
    inject_check(in, "replayed.data_taken",
                 PQB_MAX(0.0, (double)in->replayed.data - refused - lost), 0);
    inject_check(
        in, "replayed.logins_not_counted",
        PQB_MAX(0.0, (double)in->replayed.logins - inject_grown(from, to, "login.inits") - lost),
        0);
    inject_check(in, "replayed.messages", inject_messages_of_others(in, from, to), 0);
    inject_check(in, "replayed.sessions", inject_sessions_of_others(in, from, to), 0);
}

const struct inject_scenario inject_replay = {
    .name = "replay",
    .help = "all that legitimate users sent, logins too, sent again from their and other addresses",
    .limit = "nothing is taken twice, nobody's session ends, opens or moves (needs --stats); 1.0 "
             "bytes out per byte in elsewhere",
    .kinds = replay_kinds,
    .kind_count = PQB_ARRAY_LEN(replay_kinds),
    .sources = 1,
    .rate = 2000,
    .make = make_replay,
    .on_legitimate = inject_capture_all,
    .wants_resumes = true,
    .judge = inject_judge_replay,
    .is_still = true,
    .memory_max = inject_memory_logins,
};
