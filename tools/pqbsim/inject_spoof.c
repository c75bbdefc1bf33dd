// spoof: what strangers ask under made-up source addresses, so that no answer reaches who asked and
// no cookie comes back. They must cost the gateway neither sessions nor memory, and those whose
// addresses were made up must not be flooded.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/wire/datagram.h"
#include "gateway/io/stats_page.h"
#include "tools/pqbsim/inject.h"

enum spoof_kind {
    INIT_NEW,
    INIT_VICTIM,
    INIT_REPEATED,
    INIT_COOKIE,
    INIT_SHORT,
    RESUME,
    DATA_UNKNOWN,
};

static const struct inject_kind spoof_kinds[] = {
    [INIT_NEW] = {"init-new-user", 1.0},      [INIT_VICTIM] = {"init-victim", 1.0},
    [INIT_REPEATED] = {"init-repeated", 1.0}, [INIT_COOKIE] = {"init-cookie-wrong", 1.0},
    [INIT_SHORT] = {"init-short", 1.0},       [RESUME] = {"resume", 1.0},
    [DATA_UNKNOWN] = {"data-unknown", 1.0},
};

static size_t make_spoof(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    const uint64_t random = pqb_rng_next(&in->rng);
    uint8_t cookie[PQB_COOKIE_LEN];
    char user[FLEET_NAME_MAX];
    size_t len;

    (void)now;
    pqb_rng_fill(&in->rng, cookie, sizeof(cookie));
    (void)snprintf(user, sizeof(user), "spoof%" PRIx64, random);
    switch ((enum spoof_kind)kind) {
    case INIT_NEW:
    case INIT_SHORT:
    case RESUME:
        break;
    case INIT_VICTIM: // who is logged in already
        (void)fleet_user_name(&in->fleet, (uint32_t)(random % INJECT_CLIENTS), user);
        return inject_make_init(in, kind, user, "sim", random, NULL, out);
    case INIT_REPEATED: // one login, asked for from everywhere
        return inject_make_init(in, kind, "spoofed", "x", in->seed | 1, NULL, out);
    case INIT_COOKIE:
        return inject_make_init(in, kind, user, "x", random, cookie, out);
    case DATA_UNKNOWN:
        return inject_make_ping(random | 1, 1, random, out);
    }
    len = inject_make_init(in, kind, user, "x", random, NULL, out);
    if (kind == INIT_SHORT)
        return 1 + random % (len - 1);
    if (kind == RESUME) {
        out[0] = PQB_WIRE_VERSION << 4 | PQB_DATAGRAM_RESUME;
        if (in->gateway.is_noise)
            sealed_mac1(&in->gateway, out);
    }
    return len;
}

// Nobody has a session here: no frame may come.
static void on_spoof_answer(struct inject *in, uint32_t kind, const uint8_t *data, size_t len)
{
    enum pqb_datagram_type type;

    (void)kind;
    if (pqb_datagram_peek(data, len, &type) != PQB_VERDICT_OK || type == PQB_DATAGRAM_DATA)
        in->misdirected++;
}

static void judge_spoof(struct inject *in, const struct pqb_stats_snapshot *from,
                        const struct pqb_stats_snapshot *to)
{
    inject_check(in, "strangers.sessions", inject_sessions_of_others(in, from, to), 0);
    inject_check(in, "strangers.session_data", (double)in->misdirected, 0);
}

static uint64_t spoof_memory_max(const struct inject *in)
{
    // From the middle of the table on, only who brings a cookie back is let in.
    return (1 << 20) + in->half_open_max / 2 * INJECT_MEMORY_LOGIN;
}

const struct inject_scenario inject_spoof = {
    .name = "spoof",
    .help = "all that strangers may ask, from 10000 made-up addresses that never answer (a gateway "
            "on 127.0.0.1)",
    .limit = "1.0 bytes out per byte in; no session, half-open logins within half-open-max, 1 MiB "
             "of memory besides theirs after the first 250 ms (needs --stats)",
    .kinds = spoof_kinds,
    .kind_count = PQB_ARRAY_LEN(spoof_kinds),
    .sources = 16,
    .rate = 10000,
    .make = make_spoof,
    .on_answer = on_spoof_answer,
    .judge = judge_spoof,
    .is_spoofing = true,
    .memory_max = spoof_memory_max,
};
