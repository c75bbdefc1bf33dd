// downgrade: everything that could talk an encrypted gateway, or one of its sessions, into less
// than what the client asked for. mac1 is made anew each time: anybody can who knows the public
// key.
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/wire/frame.h"
#include "gateway/io/stats_page.h"
#include "tools/pqbsim/inject.h"

#define SUITE_AT    1
#define CIPHERS_AT  2
#define RESERVED_AT 3

enum downgrade_kind {
    PLAIN_INIT,
    PLAIN_RESUME,
    SUITE,
    CIPHERS,
    RESERVED,
    INIT_AS_RESUME,
    RESUME_AS_INIT,
    VERSION,
    PLAIN_DATA,
    CUT_DATA,
};

static const struct inject_kind downgrade_kinds[] = {
    [PLAIN_INIT] = {"plaintext-init", 0.001}, // silence
    [PLAIN_RESUME] = {"plaintext-resume", 0.001},
    [SUITE] = {"suite", 0.001},
    [CIPHERS] = {"ciphers", 1.0}, // silence, but for a cookie under load
    [RESERVED] = {"reserved", 1.0},
    [INIT_AS_RESUME] = {"init-as-resume", 1.0}, // its ticket is none: BUSY
    [RESUME_AS_INIT] = {"resume-as-init", 1.0},
    [VERSION] = {"version", 0.001},
    [PLAIN_DATA] = {"plaintext-data", 0.001},
    [CUT_DATA] = {"data-without-tag", 0.001},
};

static void set_type(uint8_t *out, unsigned version, enum pqb_datagram_type type)
{
    out[0] = (uint8_t)(version << 4 | (unsigned)type);
}

static size_t make_plain(struct inject *in, uint32_t kind, uint32_t user, uint8_t *out)
{
    char name[FLEET_NAME_MAX];
    struct pqb_init init = {.init_id = pqb_rng_next(&in->rng), .device = {"sim", 3}};

    init.user = (struct pqb_text){name, fleet_user_name(&in->fleet, user, name)};
    (void)pqb_init_encode(&init, out);
    if (kind == PLAIN_RESUME)
        set_type(out, PQB_WIRE_VERSION, PQB_DATAGRAM_RESUME);
    return PQB_INIT_LEN;
}

// A genuine login with something in front of its handshake changed.
static size_t make_altered(struct inject *in, uint32_t kind, uint32_t user, uint8_t *out)
{
    const struct inject_capture *c =
        kind == RESUME_AS_INIT ? &in->resumes[user] : &in->logins[user];
    const uint8_t change = (uint8_t)(1 + pqb_rng_below(&in->rng, 255));

    if (c->len == 0)
        return 0;
    memcpy(out, c->data, c->len);
    if (kind == SUITE)
        out[SUITE_AT] ^= change;
    if (kind == CIPHERS) // none, ChaChaPoly only, AESGCM only, or such that there are not yet
        out[CIPHERS_AT] ^= change;
    if (kind == RESERVED)
        out[RESERVED_AT] ^= change;
    if (kind == INIT_AS_RESUME)
        set_type(out, PQB_WIRE_VERSION, PQB_DATAGRAM_RESUME);
    if (kind == RESUME_AS_INIT)
        set_type(out, PQB_WIRE_VERSION, PQB_DATAGRAM_INIT);
    if (kind == VERSION)
        set_type(out, (PQB_WIRE_VERSION + change % 15U) & 15U, PQB_DATAGRAM_INIT);
    if (kind == VERSION && out[0] == c->data[0])
        set_type(out, PQB_WIRE_VERSION + 1, PQB_DATAGRAM_INIT);
    sealed_mac1(&in->gateway, out);
    return c->len;
}

// A sound ping in plaintext, or the victim's own words without their tag, as what comes next.
static size_t make_data(struct inject *in, uint32_t kind, uint8_t *out)
{
    const struct inject_capture *c = inject_captured_newest(in);
    struct pqb_data d;

    if (c == NULL || pqb_data_decode(c->data, c->len, &d) != PQB_VERDICT_OK)
        return 0;
    if (kind == PLAIN_DATA)
        return inject_make_ping(d.cid, d.pn + 1 + pqb_rng_below(&in->rng, 64), in->turn, out);
    if (c->len < PQB_DATA_HEADER_LEN + PQB_TAG_LEN)
        return 0;
    memcpy(out, c->data, c->len);
    d.pn++;
    pqb_data_header_encode(&d, out);
    return c->len - PQB_TAG_LEN;
}

static size_t make_downgrade(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    const uint32_t user = (uint32_t)pqb_rng_below(&in->rng, INJECT_CLIENTS);

    (void)now;
    switch ((enum downgrade_kind)kind) {
    case PLAIN_INIT:
    case PLAIN_RESUME:
        return make_plain(in, kind, user, out);
    case SUITE:
    case CIPHERS:
    case RESERVED:
    case INIT_AS_RESUME:
    case RESUME_AS_INIT:
    case VERSION:
        return make_altered(in, kind, user, out);
    case PLAIN_DATA:
    case CUT_DATA:
        break;
    }
    return make_data(in, kind, out);
}

static void capture_logins_and_data(struct inject *in, uint32_t user, const uint8_t *data,
                                    size_t len)
{
    const uint64_t before = in->captured;
    enum pqb_datagram_type type;

    inject_capture_all(in, user, data, len);
    if (pqb_datagram_peek(data, len, &type) != PQB_VERDICT_OK || type != PQB_DATAGRAM_DATA)
        in->captured = before; // the newest shall be of a session
}

static void on_downgrade_answer(struct inject *in, uint32_t kind, const uint8_t *data, size_t len)
{
    enum pqb_datagram_type type;

    (void)kind;
    if (pqb_datagram_peek(data, len, &type) != PQB_VERDICT_OK ||
        (type != PQB_DATAGRAM_RETRY && type != PQB_DATAGRAM_BUSY))
        in->misdirected++;
}

static double sent(const struct inject *in, enum downgrade_kind from, enum downgrade_kind to)
{
    double sum = 0;

    for (uint32_t kind = from; kind <= (uint32_t)to; kind++)
        sum += (double)in->counts[kind].sent;
    return sum;
}

static void judge_downgrade(struct inject *in, const struct pqb_stats_snapshot *from,
                            const struct pqb_stats_snapshot *to)
{
    const double lost =
        inject_grown(from, to, "udp.kernel_drops") + inject_grown(from, to, "mail.dropped");
    const double before =
        inject_grown(from, to, "login.retry") + inject_grown(from, to, "login.busy_handshakes");

    inject_check(in, "downgrade.answered", (double)in->misdirected, 0);
    inject_check(in, "downgrade.sessions", inject_sessions_of_others(in, from, to), 0);
    inject_check(in, "downgrade.messages", inject_messages_of_others(in, from, to), 0);
    inject_check(in, "downgrade.suites_not_counted",
                 PQB_MAX(0.0, sent(in, PLAIN_INIT, SUITE) - lost -
                                  inject_grown(from, to, "login.other_suite")),
                 0);
    inject_check(in, "downgrade.altered_not_counted",
                 PQB_MAX(0.0, sent(in, CIPHERS, RESUME_AS_INIT) - lost - before -
                                  inject_grown(from, to, "login.forged") -
                                  inject_grown(from, to, "login.ticket_bad")),
                 0);
    inject_check(
        in, "downgrade.versions_not_counted",
        PQB_MAX(0.0, sent(in, VERSION, VERSION) - lost - inject_grown(from, to, "drop.version")),
        0);
    inject_check(in, "downgrade.data_not_counted",
                 PQB_MAX(0.0, sent(in, PLAIN_DATA, CUT_DATA) - lost -
                                  inject_grown(from, to, "drop.forged") -
                                  inject_grown(from, to, "drop.replay")),
                 0);
    inject_note(in, "login.other_suite", inject_grown(from, to, "login.other_suite"));
    inject_note(in, "login.forged", inject_grown(from, to, "login.forged"));
    inject_note(in, "login.ticket_bad", inject_grown(from, to, "login.ticket_bad"));
    inject_note(in, "drop.forged", inject_grown(from, to, "drop.forged"));
}

const struct inject_scenario inject_downgrade = {
    .name = "downgrade",
    .help = "logins and data in plaintext for an encrypted gateway; genuine logins whose suite, "
            "ciphers, type or version was changed",
    .limit = "silence, but for BUSY to who shows no ticket; no session opens, ends or moves; each "
             "one is counted (needs --stats)",
    .kinds = downgrade_kinds,
    .kind_count = PQB_ARRAY_LEN(downgrade_kinds),
    .sources = 4,
    .rate = 1000,
    .make = make_downgrade,
    .on_answer = on_downgrade_answer,
    .on_legitimate = capture_logins_and_data,
    .judge = judge_downgrade,
    .needs_noise = true,
    .wants_resumes = true,
    .is_still = true,
    .memory_max = inject_memory_logins,
};
