// A storm of those who mean well: many sessions are lost at the same moment, as when a gateway is
// restarted, and all of them want to come back, beside users who lost nothing. Those who ask hear
// of the loss as fast as gateways tell it.
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "gateway/io/stats_page.h"
#include "tools/pqbsim/inject.h"

#define LOGIN_RATE      2000 // clients that begin to log in, a second, before the storm
#define CALM_NS         (500 * PQB_NS_PER_MS) // between the last of them and the storm
#define TOLD_AT_ONCE    500                   // that their session is gone
#define TOLD_RATE       4000 // a second from then on: as four shards do, a thousand each
#define SEND_RATE       200  // messages a second, of those who are back
#define BODY_BYTES      100
#define BACK_MAX_S      60.0
#define TRIES_MAX       8   // logins that one client may begin, its first one included
#define PEAK_SHARE      0.2 // of the sessions, in 100 ms; without any spread it would be all
#define CPU_MAX_PERCENT 100.0
#define RESUMED_MAX_MS  1000.0 // p99 of what those who are back send

struct inject_storm {
    struct fleet fleet;
    struct account account;
    bool is_ready; // the fleet was made
    uint64_t pid;  // of the gateway; 0: not known yet
    uint64_t throttled;
    uint32_t told;                        // of the loss
    pqb_tstamp calm_at, lost_at, back_at; // 0: not yet
    pqb_duration cpu_at_loss, cpu;        // the gateway's, from then until all were back
};

static const struct inject_kind storm_kinds[] = {{"relogin", 0}}; // by sockets of their own

static void on_receipt(void *ctx, uint64_t number, enum pqb_client_receipt receipt,
                       unsigned refusal, pqb_tstamp now)
{
    struct inject_storm *s = ctx;

    if (receipt <= PQB_RECEIPT_READ)
        account_on_accepted(&s->account, number, receipt == PQB_RECEIPT_STORED, now);
    else if (receipt == PQB_RECEIPT_REFUSED)
        account_on_nacked(&s->account, number, (uint8_t)refusal);
}

static void on_message(void *ctx, uint32_t index, const struct pqb_client_message *message,
                       pqb_tstamp now)
{
    struct inject_storm *s = ctx;

    (void)account_on_delivered(&s->account, index, message->body, message->len, now);
}

static struct inject_storm *begin(struct inject *in, pqb_tstamp now)
{
    struct inject_storm *s = calloc(1, sizeof(*s));
    const struct fleet_config config = {.target = in->target,
                                        .names = "storm",
                                        .clients = (uint32_t)in->sessions,
                                        .ramp_ns = in->sessions * PQB_NS_PER_SEC / LOGIN_RATE,
                                        .server_key = in->server_key,
                                        .seed = in->seed ^ 3,
                                        .ctx = s,
                                        .on_receipt = on_receipt,
                                        .on_message = on_message};

    if (s == NULL)
        return NULL;
    account_init(&s->account, in->seed ^ now);
    s->is_ready = fleet_init(&s->fleet, &config, now) == PQB_OK;
    return s;
}

static void end_storm(struct inject *in)
{
    if (in->storm == NULL)
        return;
    fleet_fini(&in->storm->fleet);
    account_fini(&in->storm->account);
    free(in->storm);
    in->storm = NULL;
}

static bool is_storm_ramped(const struct inject *in)
{
    return in->storm != NULL && in->storm->fleet.online == in->sessions;
}

// From somebody who is back to anybody of them.
static void send_one(struct inject *in, struct inject_storm *s, pqb_tstamp now)
{
    const uint32_t from = (uint32_t)pqb_rng_below(&in->rng, in->sessions);
    const uint32_t to = (uint32_t)pqb_rng_below(&in->rng, in->sessions);
    uint8_t body[BODY_BYTES];
    uint64_t number;

    if (from == to || !s->fleet.clients[from].is_online || s->fleet.clients[from].sessions < 2 ||
        account_new(&s->account, from, to, true, body, sizeof(body), &number, now) != PQB_OK) {
        s->throttled++;
        return;
    }
    account_mark_resumed(&s->account, number);
    if (fleet_send(&s->fleet, from, to, body, sizeof(body), number) != PQB_CLIENT_OK) {
        account_undo(&s->account);
        s->throttled++;
    }
}

static void tell_loss(struct inject *in, struct inject_storm *s, pqb_tstamp now)
{
    const uint64_t due = TOLD_AT_ONCE + pqb_elapsed(s->lost_at, now) / (PQB_NS_PER_SEC / TOLD_RATE);

    while (s->told < PQB_MIN(due, in->sessions))
        fleet_forget(&s->fleet, s->told++);
}

static void turn_storm(struct inject *in, pqb_tstamp now)
{
    struct inject_storm *s = in->storm;

    if (s == NULL)
        s = in->storm = begin(in, now);
    if (s == NULL || !s->is_ready)
        return; // the verdict tells that nobody came back
    (void)fleet_run(&s->fleet, now);
    if (s->calm_at == 0 && s->fleet.online == in->sessions)
        s->calm_at = pqb_tstamp_add(now, CALM_NS);
    if (s->calm_at == 0 || now < s->calm_at)
        return;
    if (s->lost_at == 0) {
        s->lost_at = now;
        s->cpu_at_loss = inject_cpu_of(s->pid);
    }
    if (s->told < in->sessions) {
        tell_loss(in, s, now);
    } else if (s->back_at == 0 && s->fleet.online == in->sessions) {
        s->back_at = now;
        s->cpu = inject_cpu_of(s->pid) - s->cpu_at_loss;
    }
    while (in->is_attacking && s->account.count + s->throttled <
                                   pqb_elapsed(s->lost_at, now) / (PQB_NS_PER_SEC / SEND_RATE))
        send_one(in, s, now);
}

static void sample_storm(struct inject *in, const struct pqb_stats_snapshot *page, pqb_tstamp now)
{
    (void)now;
    if (in->storm != NULL)
        in->storm->pid = page->pid;
}

static bool is_storm_settled(const struct inject *in)
{
    const struct inject_storm *s = in->storm;

    return s != NULL && s->back_at != 0 && account_unresolved(&s->account) == 0 &&
           account_lost(&s->account) == 0;
}

static void judge_messages(struct inject *in, const struct account *a)
{
    inject_check(in, "storm.lost", (double)account_lost(a), 0);
    inject_check(in, "storm.unresolved", (double)account_unresolved(a), 0);
    inject_check(in, "storm.duplicated", (double)a->duplicated, 0);
    inject_check(in, "storm.resumed_p99_ms", (double)pqb_hist_quantile(&a->resumed_us, 0.99) / 1e3,
                 RESUMED_MAX_MS);
    inject_note(in, "storm.resumed_messages", (double)a->resumed_us.count);
}

static void judge_storm(struct inject *in, const struct pqb_stats_snapshot *from,
                        const struct pqb_stats_snapshot *to)
{
    const struct inject_storm *s = in->storm;
    const double sessions = (double)in->sessions;
    double seconds, peak;
    struct fleet_totals totals;

    (void)from;
    (void)to;
    if (s == NULL || s->lost_at == 0 || s->back_at == 0) {
        inject_check(in, "storm.away", sessions - (s != NULL ? s->fleet.online : 0), 0);
        inject_check(in, "storm.not_over", 1, 0);
        return;
    }
    fleet_get_totals(&s->fleet, &totals);
    seconds = (double)(s->back_at - s->lost_at) / 1e9;
    peak = (double)traffic_inits_peak(&s->fleet.traffic,
                                      traffic_slot_at(&s->fleet.traffic, s->lost_at),
                                      traffic_slot_at(&s->fleet.traffic, s->back_at));
    inject_check(in, "storm.away", sessions - s->fleet.online, 0);
    inject_check(in, "storm.back_seconds", seconds, BACK_MAX_S);
    inject_check(in, "storm.logins_in_100_ms", peak, PEAK_SHARE * sessions);
    inject_check(in, "storm.tries_of_one_client", (double)totals.inits_max, TRIES_MAX);
    inject_check(in, "storm.cpu_percent_of_a_core", (double)s->cpu / 1e7 / seconds,
                 CPU_MAX_PERCENT);
    judge_messages(in, &s->account);
}

static uint64_t storm_memory_max(const struct inject *in)
{
    return INJECT_MEMORY_SLACK + in->sessions * INJECT_MEMORY_SESSION;
}

const struct inject_scenario inject_reconnect_storm = {
    .name = "reconnect-storm",
    .help = "--sessions sessions are lost at the same moment, hear of it at the rate of four "
            "shards, and log in again",
    .limit = "all back within 60 s, at most 8 tries each, a fifth of them in any 100 ms, 100 % of "
             "one core (needs --stats)",
    .kinds = storm_kinds,
    .kind_count = PQB_ARRAY_LEN(storm_kinds),
    .sources = 1,
    .rate = 1,
    .on_sample = sample_storm,
    .judge = judge_storm,
    .on_turn = turn_storm,
    .is_settled = is_storm_settled,
    .end = end_storm,
    .is_ramped = is_storm_ramped,
    .memory_max = storm_memory_max,
};
