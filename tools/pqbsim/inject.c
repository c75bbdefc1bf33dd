// pqbsim inject: runs an attack on a gateway beside legitimate users, and judges what it did.
#include "tools/pqbsim/inject.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/wire/frame.h"
#include "gateway/io/stats_page.h"
#include "tools/pqbsim/inject_pcap.h"
#include "tools/pqbsim/pqbsim.h"

#define DURATION_NS      (10 * PQB_NS_PER_SEC)
#define SPEED_MAX        1e6
#define BODY_BYTES       100
#define BEFORE_MIN_NS    PQB_NS_PER_SEC
#define LOGIN_WAIT_NS    (20 * PQB_NS_PER_SEC)
#define RAMP_MAX_NS      (30 * PQB_NS_PER_SEC)
#define SETTLE_NS        (30 * PQB_NS_PER_SEC)
#define AFTERMATH_NS     (500 * PQB_NS_PER_MS) // late answers and duplicates show in it
#define TURN_NS          (500 * PQB_NS_PER_US) // what a measured login may be late
#define WARM_UP_NS       (250 * PQB_NS_PER_MS)
#define SAMPLE_NS        (50 * PQB_NS_PER_MS)
#define DELIVERED_MAX_MS 2000.0 // the p99 of legitimate users; some retransmissions fit in
#define LOGIN_MAX_MS     5000.0
#define SLOWER_MAX       10.0 // or so many times what it was before, on a slow machine

static const struct inject_scenario *const scenarios[] = {
    &inject_amplify,       &inject_malformed,       &inject_flood_init,   &inject_flood_data,
    &inject_hijack,        &inject_replay,          &inject_spoof,        &inject_oversize,
    &inject_fragment_bomb, &inject_window_abuse,    &inject_inbox_flood,  &inject_replay_pcap,
    &inject_slow_consumer, &inject_reconnect_storm, &inject_ticket_forge, &inject_downgrade,
    &inject_key_compromise};

// ---------------------------------------------------------------------------- legitimate users

static void on_receipt(void *ctx, uint64_t number, enum pqb_client_receipt receipt,
                       unsigned refusal, pqb_tstamp now)
{
    struct inject *in = ctx;

    if (receipt <= PQB_RECEIPT_READ)
        account_on_accepted(&in->account, number, receipt == PQB_RECEIPT_STORED, now);
    else if (receipt == PQB_RECEIPT_REFUSED)
        account_on_nacked(&in->account, number, (uint8_t)refusal);
}

static void on_message(void *ctx, uint32_t index, const struct pqb_client_message *message,
                       pqb_tstamp now)
{
    struct inject *in = ctx;

    (void)account_on_delivered(&in->account, index, message->body, message->len, now);
}

static void on_transmit(void *ctx, uint32_t index, const void *data, size_t len)
{
    struct inject *in = ctx;

    if (in->scenario->on_legitimate != NULL)
        in->scenario->on_legitimate(in, index, data, len);
}

static void send_one(struct inject *in, pqb_tstamp now)
{
    const uint32_t from = (uint32_t)pqb_rng_below(&in->rng, INJECT_CLIENTS);
    const uint32_t to =
        (from + 1 + (uint32_t)pqb_rng_below(&in->rng, INJECT_CLIENTS - 1)) % INJECT_CLIENTS;
    uint8_t body[BODY_BYTES];
    uint64_t number;

    if (account_new(&in->account, from, to, true, body, sizeof(body), &number, now) != PQB_OK)
        return;
    if (fleet_send(&in->fleet, from, to, body, sizeof(body), number) != PQB_CLIENT_OK) {
        account_undo(&in->account);
        in->throttled++;
    }
}

// ------------------------------------------------------------------------------------- phases

static bool log_in(struct inject *in)
{
    const pqb_tstamp end = in->fleet.now + LOGIN_WAIT_NS;
    pqb_tstamp now = in->fleet.now;

    while (in->fleet.online < INJECT_CLIENTS && now < end)
        now = fleet_run(&in->fleet, now + SAMPLE_NS);
    return in->fleet.online == INJECT_CLIENTS;
}

// Everybody once more, with the tickets that the first login gave them.
static bool resume(struct inject *in)
{
    struct fleet_totals totals;

    if (in->scenario->wants_resumes && in->gateway.is_noise) {
        for (uint32_t i = 0; i < INJECT_CLIENTS; i++)
            fleet_forget(&in->fleet, i);
        if (!log_in(in))
            return false;
    }
    fleet_get_totals(&in->fleet, &totals);
    in->fleet_logins = totals.logins;
    return true;
}

static void sample(struct inject *in, pqb_tstamp now)
{
    struct pqb_stats_snapshot s;

    if (in->stats_path == NULL || pqb_stats_snapshot_read(&s, in->stats_path) != PQB_OK)
        return;
    in->half_open_peak =
        PQB_MAX(in->half_open_peak, pqb_stats_snapshot_get(&s, "session.half_open", NULL));
    if (in->scenario->memory_max != NULL)
        in->memory_peak = PQB_MAX(in->memory_peak, inject_memory_of(s.pid));
    // What the legitimate users take, and buffers of fixed size that the attack is first to fill.
    if (in->attack_at == 0 || pqb_elapsed(in->attack_at, now) < WARM_UP_NS)
        in->memory_before = in->memory_peak;
    if (in->attack_at != 0 && in->scenario->on_sample != NULL)
        in->scenario->on_sample(in, &s, now);
    pqb_stats_snapshot_fini(&s);
}

static void turn_scenario(struct inject *in, pqb_tstamp now)
{
    if (in->scenario->on_turn != NULL)
        in->scenario->on_turn(in, now);
}

// Legitimate traffic for so long, or until `is_over`, and the attack beside it if it is time for
// that.
static void run_phase(struct inject *in, pqb_duration duration,
                      bool (*is_over)(const struct inject *in))
{
    const pqb_tstamp start = in->fleet.now, end = start + duration;
    const uint64_t before = in->account.count + in->throttled;
    pqb_tstamp now = start, sample_at = start;

    if (in->is_attacking && in->attack_at == 0)
        in->attack_at = start;
    while (now < end && (is_over == NULL || !is_over(in))) {
        const uint64_t due =
            pqb_elapsed(start, now) / (PQB_NS_PER_SEC / in->legitimate_rate) + before;

        while (in->account.count + in->throttled < due)
            send_one(in, now);
        now = fleet_run(&in->fleet, now + TURN_NS);
        inject_probe_turn(in->probe, now);
        if (in->is_attacking) {
            inject_attack_due(in, in->attack_at, now);
            inject_read_answers(in);
            turn_scenario(in, now);
        }
        if (now >= sample_at) {
            sample(in, now);
            sample_at = now + SAMPLE_NS;
        }
    }
    if (in->is_attacking) {
        in->attack_seconds = (double)pqb_elapsed(in->attack_at, now) / 1e9;
        in->attack_delivered = in->account.delivered_us.count;
    } else {
        in->before_seconds = (double)pqb_elapsed(start, now) / 1e9;
    }
}

// Until everything legitimate has arrived, one more login has been made, and then a little.
static void settle(struct inject *in)
{
    const pqb_tstamp end = in->fleet.now + SETTLE_NS;
    const uint64_t logins = in->during.logins;
    pqb_tstamp now = in->fleet.now, settled_at = PQB_NEVER, sample_at = now;

    while (now < end && now < pqb_tstamp_add(settled_at, AFTERMATH_NS)) {
        now = fleet_run(&in->fleet, now + TURN_NS);
        inject_probe_turn(in->probe, now);
        inject_read_answers(in);
        turn_scenario(in, now);
        if (now >= sample_at) {
            sample(in, now);
            sample_at = now + SAMPLE_NS;
        }
        if (settled_at == PQB_NEVER && in->during.logins > logins &&
            account_unresolved(&in->account) == 0 && account_lost(&in->account) == 0 &&
            (in->scenario->is_settled == NULL || in->scenario->is_settled(in)))
            settled_at = now;
    }
}

static void end_phase(struct inject *in, struct inject_fare *fare)
{
    fare->accepted_us = in->account.accepted_us;
    fare->delivered_us = in->account.delivered_us;
    pqb_hist_clear(&in->account.accepted_us);
    pqb_hist_clear(&in->account.delivered_us);
}

// -------------------------------------------------------------------------------------- verdict

void inject_check(struct inject *in, const char *name, double value, double limit)
{
    struct inject_check *c = &in->checks[in->check_count];

    if (in->check_count == INJECT_CHECKS_MAX)
        abort(); // a scenario has more kinds than there is room for
    in->check_count++;
    (void)snprintf(c->name, sizeof(c->name), "%s", name);
    c->value = value;
    c->limit = limit;
}

void inject_note(struct inject *in, const char *name, double value)
{
    struct inject_note *n = &in->notes[in->note_count];

    PQB_ASSERT(in->note_count < INJECT_NOTES_MAX);
    in->note_count++;
    (void)snprintf(n->name, sizeof(n->name), "%s", name);
    n->value = value;
}

static void check_ratios(struct inject *in)
{
    char name[48];

    for (size_t i = 0; i < in->scenario->kind_count; i++) {
        const struct inject_kind *kind = &in->scenario->kinds[i];
        const struct inject_count *count = &in->counts[i];

        if (!(kind->limit > 0) || count->sent_bytes == 0)
            continue;
        (void)snprintf(name, sizeof(name), "amplification.%s", kind->name);
        inject_check(in, name, (double)count->answer_bytes / (double)count->sent_bytes,
                     kind->limit);
    }
}

static double p99_ms(const struct pqb_hist *h)
{
    return (double)pqb_hist_quantile(h, 0.99) / 1e3;
}

static void check_users(struct inject *in)
{
    const struct account *a = &in->account;
    const struct inject_fare *before = &in->before, *during = &in->during;
    struct fleet_totals totals;

    fleet_get_totals(&in->fleet, &totals);
    inject_check(in, "legitimate.lost", (double)account_lost(a), 0);
    inject_check(in, "legitimate.unresolved", (double)account_unresolved(a), 0);
    inject_check(in, "legitimate.refused", (double)(a->nacked + in->throttled), 0);
    inject_check(in, "legitimate.duplicated", (double)a->duplicated, 0);
    inject_check(in, "legitimate.out_of_order", (double)a->out_of_order, 0);
    inject_check(in, "legitimate.logins_failed", (double)during->logins_failed, 0);
    inject_check(in, "legitimate.offline", INJECT_CLIENTS - (double)in->fleet.online, 0);
    inject_check(in, "legitimate.logged_in_again", (double)(totals.logins - in->fleet_logins), 0);
    inject_check(in, "legitimate.delivered_p99_ms", p99_ms(&during->delivered_us),
                 PQB_MAX(DELIVERED_MAX_MS, SLOWER_MAX * p99_ms(&before->delivered_us)));
    inject_check(in, "legitimate.login_p99_ms", p99_ms(&during->login_us),
                 PQB_MAX(LOGIN_MAX_MS, SLOWER_MAX * p99_ms(&before->login_us)));
    if (in->scenario->is_ramped == NULL)
        return;
    inject_check(in, "ramp.logins_failed", (double)in->ramp.logins_failed, 0);
    inject_check(in, "ramp.delivered_p99_ms", p99_ms(&in->ramp.delivered_us),
                 PQB_MAX(DELIVERED_MAX_MS, SLOWER_MAX * p99_ms(&before->delivered_us)));
}

double inject_grown(const struct pqb_stats_snapshot *from, const struct pqb_stats_snapshot *to,
                    const char *counter)
{
    return (double)(pqb_stats_snapshot_get(to, counter, NULL) -
                    pqb_stats_snapshot_get(from, counter, NULL));
}

double inject_sessions_of_others(const struct inject *in, const struct pqb_stats_snapshot *from,
                                 const struct pqb_stats_snapshot *to)
{
    const double opened = inject_grown(from, to, "session.opened");
    struct fleet_totals totals;

    fleet_get_totals(&in->fleet, &totals);
    // `from` was taken when the legitimate users were online.
    return PQB_MAX(0.0, opened - inject_probe_begun(in->probe) -
                            (double)(totals.logins - in->fleet_logins));
}

double inject_messages_of_others(const struct inject *in, const struct pqb_stats_snapshot *from,
                                 const struct pqb_stats_snapshot *to)
{
    return PQB_MAX(0.0, inject_grown(from, to, "msg.accepted") - (double)in->account.accepted);
}

static double memory_grown_kib(const struct inject *in)
{
    return ((double)in->memory_peak - (double)in->memory_before) / 1024;
}

static void check_gateway(struct inject *in, const struct pqb_stats_snapshot *from,
                          const struct pqb_stats_snapshot *to)
{
    inject_check(in, "gateway.restarts", from->pid != to->pid || from->started_at != to->started_at,
                 0);
    inject_check(in, "gateway.half_open", (double)in->half_open_peak, (double)in->half_open_max);
    for (size_t i = 0; i < to->row_count; i++) {
        const char *name = to->rows[i].name;

        // A flood may fill the socket's buffer; that legitimate users lost nothing is checked.
        if (to->rows[i].kind == PQB_STATS_ALARM && strcmp(name, "udp.kernel_drops") != 0 &&
            inject_grown(from, to, name) > 0)
            inject_check(in, name, inject_grown(from, to, name), 0);
    }
    if (in->scenario->is_still)
        inject_check(in, "gateway.path.moved", inject_grown(from, to, "path.moved"), 0);
    if (in->memory_before > 0)
        inject_check(in, "gateway.memory_kib", memory_grown_kib(in),
                     (double)in->scenario->memory_max(in) / 1024);
    if (in->scenario->judge != NULL)
        in->scenario->judge(in, from, to);
}

bool inject_is_kept(const struct inject *in)
{
    for (size_t i = 0; i < in->check_count; i++) {
        if (!(in->checks[i].value <= in->checks[i].limit))
            return false;
    }
    return true;
}

// ------------------------------------------------------------------------------------- running

static int fail(const char *what, const char *hint)
{
    (void)cli_wrong("pqbsim inject", what, hint);
    return CLI_EXIT_FINDING;
}

static void attack(struct inject *in)
{
    in->fare = &in->before;
    run_phase(in, PQB_MAX(in->duration / 2, BEFORE_MIN_NS), NULL);
    end_phase(in, &in->before);
    in->is_attacking = true;
    if (in->scenario->is_ramped != NULL) {
        in->fare = &in->ramp;
        run_phase(in, RAMP_MAX_NS, in->scenario->is_ramped);
        end_phase(in, &in->ramp);
    }
    in->fare = &in->during;
    run_phase(in, in->duration, NULL);
    if (in->is_once) // a capture to its end, even where its timing could not be kept
        run_phase(in, SETTLE_NS, inject_pcap_is_through);
    in->is_attacking = false;
    settle(in);
    end_phase(in, &in->during);
}

static int judge(struct inject *in, const struct pqb_stats_snapshot *from)
{
    struct pqb_stats_snapshot to;

    check_ratios(in);
    check_users(in);
    if (in->stats_path != NULL) {
        if (pqb_stats_snapshot_read(&to, in->stats_path) != PQB_OK)
            return fail("the counters page cannot be read any more", in->stats_path);
        check_gateway(in, from, &to);
        pqb_stats_snapshot_fini(&to);
    }
    inject_report(in);
    return inject_is_kept(in) ? CLI_EXIT_DONE : CLI_EXIT_FINDING;
}

static int run(struct inject *in)
{
    struct pqb_stats_snapshot from = {0};
    int status;

    if (inject_open_sources(in) != PQB_OK)
        return fail("no socket for the attack", "Too few open files? Try 'ulimit -n 4096'.");
    if (!log_in(in) || !resume(in))
        return fail(
            "the legitimate users could not log in",
            "Is a gateway there (pqbctl stats), does it let anybody in (--auth any), and is "
            "--server-key its key?");
    if (in->stats_path != NULL && pqb_stats_snapshot_read(&from, in->stats_path) != PQB_OK)
        return fail("the counters page cannot be read", "It is DATA/stats unless told otherwise.");
    attack(in);
    status = judge(in, &from);
    if (in->stats_path != NULL)
        pqb_stats_snapshot_fini(&from);
    return status;
}

static int run_inject(struct inject *in)
{
    const struct fleet_config config = {.target = in->target,
                                        .clients = INJECT_CLIENTS,
                                        .ramp_ns = PQB_NS_PER_MS,
                                        .names = in->names,
                                        .server_key = in->server_key,
                                        .seed = in->seed,
                                        .ctx = in,
                                        .on_receipt = on_receipt,
                                        .on_message = on_message,
                                        .on_transmit = on_transmit};
    int status;

    pqb_rng_init_seed(&in->rng, in->seed);
    account_init(&in->account, in->seed ^ cli_now());
    in->fare = &in->before;
    in->captures = calloc(INJECT_CAPTURE_MAX, sizeof(*in->captures));
    in->probe = inject_probe_create(in);
    if (sealed_gateway_init(&in->gateway, in->server_key, &in->rng) == PQB_OK &&
        fleet_init(&in->fleet, &config, cli_now()) == PQB_OK && in->captures != NULL &&
        in->probe != NULL && pqb_unpacker_create(&in->unpacker) == PQB_OK)
        status = run(in);
    else
        status = fail("not enough memory or open files", "");
    if (in->scenario->end != NULL)
        in->scenario->end(in);
    inject_close_sources(in);
    inject_probe_destroy(in->probe);
    pqb_unpacker_destroy(in->unpacker);
    fleet_fini(&in->fleet);
    account_fini(&in->account);
    free(in->captures);
    sealed_gateway_fini(&in->gateway);
    return status;
}

// ------------------------------------------------------------------------------------- command

static int print_list(void)
{
    for (size_t i = 0; i < PQB_ARRAY_LEN(scenarios); i++)
        printf("%-15s %s\n                limit: %s\n", scenarios[i]->name, scenarios[i]->help,
               scenarios[i]->limit);
    printf(
        "\nWith --server-key the attackers are in an encrypted gateway's suite, too. In each, %d "
        "legitimate\nusers beside it must lose nothing and get nothing twice; the p99 of delivery "
        "must stay within\n%.0f ms and that of logins within %.0f ms (or %.0f times what it was "
        "before, if that is more).\n",
        INJECT_CLIENTS, DELIVERED_MAX_MS, LOGIN_MAX_MS, SLOWER_MAX);
    return CLI_EXIT_DONE;
}

static const struct inject_scenario *find(const char *name)
{
    for (size_t i = 0; i < PQB_ARRAY_LEN(scenarios); i++) {
        if (strcmp(scenarios[i]->name, name) == 0)
            return scenarios[i];
    }
    return NULL;
}

// What the command line says beyond single options. An exit status.
static int check_options(struct inject *in, const char *speed, const char *file)
{
    char *end = NULL;

    if (in->target.family == 0)
        return cli_wrong("pqbsim inject", "--target is needed", "Try --target 127.0.0.1:7400.");
    if (fleet_check_names("pqbsim inject", in->names) != CLI_EXIT_DONE)
        return CLI_EXIT_USAGE;
    if (in->duration != 0 && in->duration < PQB_NS_PER_SEC / 10)
        return cli_wrong("pqbsim inject", "--seconds must be at least 0.1", "Try --seconds 10.");
    if (in->scenario->takes_file != (file != NULL))
        return cli_wrong("pqbsim inject",
                         file != NULL ? "a file is not wanted" : "a file is needed",
                         "Try replay-pcap FILE.");
    if (in->scenario->needs_noise && in->server_key == NULL)
        return cli_wrong("pqbsim inject", "this attack is on an encrypted gateway",
                         "Give its --server-key; 'pqbctl server-key' prints it.");
    if (in->scenario == &inject_key_compromise)
        return inject_compromise_load(in);
    in->speed = strcmp(speed, "max") == 0 ? 0 : strtod(speed, &end);
    if (end != NULL && (*end != '\0' || !(in->speed > 0 && in->speed <= SPEED_MAX)))
        return cli_wrong("pqbsim inject", "--speed needs a positive number or 'max'",
                         "Try --speed 2 for twice as fast.");
    return CLI_EXIT_DONE;
}

static int run_scenario(struct inject *in, const char *file, const struct pqb_addr *captured)
{
    int status = CLI_EXIT_DONE;

    if (in->rate == 0)
        in->rate = in->scenario->rate;
    if (file != NULL)
        status = inject_pcap_load(in, file, captured);
    in->is_once = in->duration == 0;
    if (in->is_once)
        in->duration =
            file != NULL && status == CLI_EXIT_DONE ? inject_pcap_duration(in) : DURATION_NS;
    if (status == CLI_EXIT_DONE)
        status = run_inject(in);
    inject_pcap_free(in);
    return status;
}

int pqbsim_inject(int argc, char **argv)
{
    static struct inject in = {.half_open_max = 16384,
                               .inbox_messages_max = 100000,
                               .inbox_bytes_max = 64 << 20,
                               .legitimate_rate = 100,
                               .peers = 1000,
                               .sessions = 500};
    struct pqb_addr captured = {0};
    const char *args[2], *speed = "1", *file;
    size_t arg_count;
    const struct cli_option options[] = {
        {.name = "target",
         .type = CLI_ADDR,
         .out = &in.target,
         .value = "H:P",
         .help = "the gateway; needed for all but 'list'"},
        {.name = "seconds",
         .type = CLI_SECONDS,
         .out = &in.duration,
         .value = "S",
         .help = "how long to attack (10; replay-pcap: the capture once)"},
        {.name = "rate",
         .type = CLI_NUMBER,
         .out = &in.rate,
         .value = "R",
         .min = 1,
         .max = 10000000,
         .help = "datagrams a second of the attack (the scenario's)"},
        {.name = "names",
         .type = CLI_TEXT,
         .out = &in.names,
         .value = "TEXT",
         .help = "what legitimate users' names begin with (load); another beside another run"},
        {.name = "legitimate-rate",
         .type = CLI_NUMBER,
         .out = &in.legitimate_rate,
         .value = "R",
         .min = 1,
         .max = 100000,
         .help = "messages a second of the legitimate users (100)"},
        {.name = "peers",
         .type = CLI_NUMBER,
         .out = &in.peers,
         .value = "N",
         .min = 1,
         .max = INJECT_PEERS_MAX,
         .help = "devices of the attacker, where a scenario has a choice (1000)"},
        {.name = "stats",
         .type = CLI_TEXT,
         .out = &in.stats_path,
         .value = "FILE",
         .help = "the gateway's counters page, for the limits that only it can show"},
        {.name = "half-open-max",
         .type = CLI_NUMBER,
         .out = &in.half_open_max,
         .value = "N",
         .min = 1,
         .max = 1048576,
         .help = "the gateway's setting of that name (16384)"},
        {.name = "sessions",
         .type = CLI_NUMBER,
         .out = &in.sessions,
         .value = "N",
         .min = 10,
         .max = 1000000,
         .help = "reconnect-storm: those that are lost at once (500)"},
        {.name = "inbox-messages-max",
         .type = CLI_NUMBER,
         .out = &in.inbox_messages_max,
         .value = "N",
         .min = 1,
         .max = 1000000000,
         .help = "the same (100000)"},
        {.name = "inbox-bytes-max",
         .type = CLI_NUMBER,
         .out = &in.inbox_bytes_max,
         .value = "B",
         .min = 65536,
         .max = UINT64_C(1) << 40,
         .help = "the same (67108864)"},
        PQBSIM_SERVER_KEY(in.server_key_text),
        {.name = "server-secret",
         .type = CLI_TEXT,
         .out = &in.server_secret_path,
         .value = "FILE",
         .help = "key-compromise: the stolen secret key, DATA/server.key of the gateway"},
        {.name = "speed",
         .type = CLI_TEXT,
         .out = &speed,
         .value = "X",
         .help = "replay-pcap: so many times the capture's speed, or 'max' (1)"},
        {.name = "captured",
         .type = CLI_ADDR,
         .out = &captured,
         .value = "H:P",
         .help = "replay-pcap: the gateway's address in it (where the first INIT went)"},
        {.name = "seed",
         .type = CLI_NUMBER,
         .out = &in.seed,
         .value = "N",
         .help = "repeat the random choices of an earlier run"},
        {.name = "json", .type = CLI_FLAG, .out = &in.is_json, .help = "report as one JSON object"},
    };
    const struct cli_command command = {
        .name = "pqbsim inject",
        .usage = "SCENARIO [FILE] --target H:P [--option VALUE]...\n       pqbsim inject list",
        .about = "Attacks a gateway that you run, with legitimate users beside it, and compares "
                 "what comes back and\nwhat becomes of them with the documented limits. Exit "
                 "status 1 if one was broken. 'pqbsim inject\nlist' tells scenarios and limits.",
        .options = options,
        .option_count = PQB_ARRAY_LEN(options),
        .args_max = 2,
    };
    int status;

    in.seed = cli_now();
    status = cli_parse(&command, argc, argv, args, &arg_count);
    if (status != CLI_GO)
        return status;
    if (arg_count == 0)
        return cli_wrong("pqbsim inject", "a scenario is needed", "Try 'pqbsim inject list'.");
    if (strcmp(args[0], "list") == 0)
        return print_list();
    in.scenario = find(args[0]);
    if (in.scenario == NULL)
        return cli_wrong("pqbsim inject", "no such scenario", "Try 'pqbsim inject list'.");
    file = arg_count > 1 ? args[1] : NULL;
    status =
        pqbsim_server_key("pqbsim inject", in.server_key_text, in.server_key_bytes, &in.server_key);
    if (status == CLI_EXIT_DONE)
        status = check_options(&in, speed, file);
    return status == CLI_EXIT_DONE ? run_scenario(&in, file, &captured) : status;
}
