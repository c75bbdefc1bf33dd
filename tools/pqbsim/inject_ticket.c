// ticket-forge: tickets that are made up, spoiled, stolen or played again. A ticket that was seen
// is of no use without its psk, and a RESUME that was seen opens no session without its keys.
#include <string.h>

#include "common/base/check.h"
#include "common/wire/frame.h"
#include "gateway/io/stats_page.h"
#include "tools/pqbsim/inject_device.h"

#define TICKET_AT PQB_HELLO_HEADER_LEN

enum ticket_kind {
    OWN,
    RANDOM,
    FLIPPED,
    OWN_WRONG_PSK,
    STOLEN,
    SPLICED,
    MAC1_BAD,
    REPLAYED,
};

static const struct inject_kind ticket_kinds[] = {
    [OWN] = {"own-session", 0},
    [RANDOM] = {"ticket-random", 1.0},
    [FLIPPED] = {"ticket-flipped", 1.0},
    [OWN_WRONG_PSK] = {"own-ticket-wrong-psk", 1.0},
    [STOLEN] = {"stolen-ticket-wrong-psk", 1.0},
    [SPLICED] = {"stolen-ticket-spliced", 1.0},
    [MAC1_BAD] = {"resume-mac1-bad", 1.0},
    [REPLAYED] = {"resume-replayed", 1.0},
};

static struct inject_device own; // an ordinary session of the attacker's, for a genuine ticket
static struct sealed_ticket own_ticket;
static bool has_ticket;
static uint64_t answers_of_sessions; // that came to those who have none

static void on_own_frame(void *ctx, const struct pqb_frame *f)
{
    (void)ctx;
    if (f->type != PQB_FRAME_TICKET)
        return;
    memcpy(own_ticket.ticket, f->ticket.ticket, sizeof(own_ticket.ticket));
    memcpy(own_ticket.psk, f->ticket.psk, sizeof(own_ticket.psk));
    has_ticket = true;
}

static size_t make_own(struct inject *in, uint8_t *out, pqb_tstamp now)
{
    if (own.init_id == 0)
        inject_device_init(in, &own, "forger", false, pqb_rng_next(&in->rng) | 1);
    return inject_device_is_ready(&own) ? 0 : inject_device_log_in(&own, out, now);
}

// A genuine ticket of a legitimate user, or the attacker's own when there is none.
static struct sealed_ticket genuine(struct inject *in, bool is_stolen)
{
    const struct inject_capture *c = &in->resumes[pqb_rng_below(&in->rng, INJECT_CLIENTS)];
    struct sealed_ticket t = own_ticket;

    if (is_stolen && c->len == PQB_INIT_LEN)
        memcpy(t.ticket, c->data + TICKET_AT, sizeof(t.ticket));
    return t;
}

// The attacker's own sound RESUME with another's ticket put into it.
static size_t splice(struct inject *in, const struct pqb_init *init, uint8_t *out)
{
    const struct sealed_ticket stolen = genuine(in, true);
    struct sealed s = {.hello_id = 0};
    const size_t len = sealed_resume(&in->gateway, &s, init, &own_ticket, out);

    memcpy(out + TICKET_AT, stolen.ticket, sizeof(stolen.ticket));
    sealed_mac1(&in->gateway, out);
    return len;
}

static size_t replay(struct inject *in, uint8_t *out)
{
    const struct inject_capture *c = &in->resumes[pqb_rng_below(&in->rng, INJECT_CLIENTS)];

    memcpy(out, c->data, c->len);
    return c->len;
}

static size_t make_ticket(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    const struct pqb_init init = {.init_id = pqb_rng_next(&in->rng) | 1};
    struct sealed s = {.hello_id = 0};
    struct sealed_ticket t;
    size_t len;

    if (kind == OWN)
        return make_own(in, out, now);
    if (kind == REPLAYED)
        return replay(in, out);
    if (!has_ticket)
        return 0;
    if (kind == SPLICED)
        return splice(in, &init, out);
    t = genuine(in, kind == STOLEN || pqb_rng_below(&in->rng, 2) == 0);
    if (kind == RANDOM)
        pqb_rng_fill(&in->rng, t.ticket, sizeof(t.ticket));
    if (kind == FLIPPED)
        t.ticket[pqb_rng_below(&in->rng, sizeof(t.ticket))] ^=
            (uint8_t)(1U << pqb_rng_below(&in->rng, 8));
    if (kind == OWN_WRONG_PSK)
        t = own_ticket;
    if (kind == OWN_WRONG_PSK || kind == STOLEN)
        pqb_rng_fill(&in->rng, t.psk, sizeof(t.psk));
    len = sealed_resume(&in->gateway, &s, &init, &t, out);
    if (kind == MAC1_BAD)
        out[PQB_HELLO_MAC1_AT + pqb_rng_below(&in->rng, PQB_MAC1_LEN)] ^= 1;
    return len;
}

static void on_ticket_answer(struct inject *in, uint32_t kind, const uint8_t *data, size_t len)
{
    enum pqb_datagram_type type;

    if (kind == OWN)
        inject_device_on_answer(in, &own, data, len, on_own_frame, NULL);
    else if (pqb_datagram_peek(data, len, &type) != PQB_VERDICT_OK || type == PQB_DATAGRAM_DATA ||
             (type == PQB_DATAGRAM_RESP && kind != REPLAYED))
        answers_of_sessions++;
}

// Of several kinds together: what was sent and is in none of the counters.
static double not_counted(const struct inject *in, const uint32_t *kinds, size_t count,
                          double counted)
{
    double sent = 0;

    for (size_t i = 0; i < count; i++)
        sent += (double)in->counts[kinds[i]].sent;
    return PQB_MAX(0.0, sent - counted);
}

static void judge_ticket(struct inject *in, const struct pqb_stats_snapshot *from,
                         const struct pqb_stats_snapshot *to)
{
    static const uint32_t bad[] = {RANDOM, FLIPPED}, forged[] = {OWN_WRONG_PSK, STOLEN, SPLICED};
    static const uint32_t unknown[] = {MAC1_BAD};
    // Answered or lost before anybody looked at the ticket.
    const double before = inject_grown(from, to, "login.retry") +
                          inject_grown(from, to, "login.busy_handshakes") +
                          inject_grown(from, to, "udp.kernel_drops");

    inject_check(in, "tickets.sessions",
                 PQB_MAX(0.0, inject_sessions_of_others(in, from, to) - own.logins), 0);
    inject_check(in, "tickets.answers_of_sessions", (double)answers_of_sessions, 0);
    inject_check(in, "tickets.bad_not_counted",
                 not_counted(in, bad, PQB_ARRAY_LEN(bad),
                             before + inject_grown(from, to, "login.ticket_bad")),
                 0);
    inject_check(in, "tickets.forged_not_counted",
                 not_counted(in, forged, PQB_ARRAY_LEN(forged),
                             before + inject_grown(from, to, "login.forged")),
                 0);
    inject_check(in, "tickets.mac1_not_counted",
                 not_counted(in, unknown, PQB_ARRAY_LEN(unknown),
                             before + inject_grown(from, to, "login.mac1_bad")),
                 0);
    inject_check(in, "tickets.messages", inject_messages_of_others(in, from, to), 0);
    inject_note(in, "tickets.captured", 0);
    for (size_t i = 0; i < INJECT_CLIENTS; i++)
        in->notes[in->note_count - 1].value += in->resumes[i].len != 0;
    inject_note(in, "login.ticket_bad", inject_grown(from, to, "login.ticket_bad"));
    inject_note(in, "login.forged", inject_grown(from, to, "login.forged"));
    inject_note(in, "login.mac1_bad", inject_grown(from, to, "login.mac1_bad"));
}

const struct inject_scenario inject_ticket_forge = {
    .name = "ticket-forge",
    .help = "logins with tickets that are made up, spoiled, another's, or were seen on the wire",
    .limit = "no session opens, ends or moves; each one is counted (needs --stats); 1.0 bytes out "
             "per byte in",
    .kinds = ticket_kinds,
    .kind_count = PQB_ARRAY_LEN(ticket_kinds),
    .sources = 4,
    .rate = 800,
    .make = make_ticket,
    .on_answer = on_ticket_answer,
    .on_legitimate = inject_capture_all,
    .judge = judge_ticket,
    .needs_noise = true,
    .wants_resumes = true,
    .is_still = true,
    .memory_max = inject_memory_logins,
};
