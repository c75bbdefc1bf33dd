// pqbsim load: many clients, a bad network, and an account of every message.
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include "common/base/err.h"
#include "tools/pqbsim/account.h"
#include "tools/pqbsim/fleet.h"
#include "tools/pqbsim/pqbsim.h"
#include "tools/pqbsim/report.h"

#define LOGIN_RATE     2000 // clients that begin to log in, a second
#define LOGIN_WAIT_NS  (20 * PQB_NS_PER_SEC)
#define SEND_BURST_MAX 4096 // messages begun in one turn, when the machine fell behind
#define AFTERMATH_NS   (500 * PQB_NS_PER_MS) // late duplicates would show in it
#define CHECK_NS       (200 * PQB_NS_PER_MS)

struct load {
    struct fleet_config config;
    uint64_t clients, rate, size, pairs, window, seed;
    pqb_duration duration, settle, hole_at, hole;
    bool is_json, has_series, is_hole_quiet;
    const char *server_key_text;
    uint8_t server_key[PQB_KEY_LEN];

    struct fleet fleet;
    struct account account;
    uint8_t *body;
    uint64_t uncertain, throttled;
    bool is_sending;
    pqb_tstamp progress_at;
    uint64_t progress_delivered, progress_accepted;
};

static volatile sig_atomic_t is_interrupted;

static void on_signal(int signum)
{
    (void)signum;
    is_interrupted = 1;
}

static void send_one(struct load *l, uint32_t from, uint32_t to, pqb_tstamp now)
{
    const struct fleet_client *sender = &l->fleet.clients[from];
    const bool is_awaited = l->fleet.clients[to].is_online && sender->is_online;
    uint64_t number;

    if (account_new(&l->account, from, to, is_awaited, l->body, l->size, &number, now) != PQB_OK)
        return;
    if (sender->is_online && sender->sessions > 1)
        account_mark_resumed(&l->account, number);
    if (fleet_send(&l->fleet, from, to, l->body, l->size, number) != PQB_CLIENT_OK) {
        account_undo(&l->account);
        l->throttled++;
    }
}

// Closed loop: a pair's next message leaves when one of its window has ended.
static void send_next_of_pair(struct load *l, uint64_t number, pqb_tstamp now)
{
    const struct account_message *m = &l->account.messages[number];

    if (l->pairs > 0 && l->is_sending)
        send_one(l, m->from, m->to, now);
}

static void on_receipt(void *ctx, uint64_t number, enum pqb_client_receipt receipt,
                       unsigned refusal, pqb_tstamp now)
{
    struct load *l = ctx;

    switch (receipt) {
    case PQB_RECEIPT_ACCEPTED:
    case PQB_RECEIPT_DELIVERED:
    case PQB_RECEIPT_READ:
        account_on_accepted(&l->account, number, false, now);
        break;
    case PQB_RECEIPT_STORED:
        account_on_accepted(&l->account, number, true, now);
        break;
    case PQB_RECEIPT_REFUSED:
        account_on_nacked(&l->account, number, (uint8_t)refusal);
        send_next_of_pair(l, number, now);
        break;
    case PQB_RECEIPT_ABANDONED:
    case PQB_RECEIPT_UNCERTAIN:
        l->uncertain++;
        break;
    }
}

static void on_message(void *ctx, uint32_t index, const struct pqb_client_message *message,
                       pqb_tstamp now)
{
    struct load *l = ctx;
    const uint64_t before = l->account.delivered;
    uint64_t number = account_on_delivered(&l->account, index, message->body, message->len, now);

    if (number != UINT64_MAX && l->account.delivered > before)
        send_next_of_pair(l, number, now);
}

static void show_progress(struct load *l, const char *phase, pqb_tstamp now)
{
    const struct account *a = &l->account;
    const bool is_terminal = isatty(STDERR_FILENO);
    const pqb_duration interval = is_terminal ? PQB_NS_PER_SEC : 5 * PQB_NS_PER_SEC;
    const uint64_t seconds = interval / PQB_NS_PER_SEC;

    if (now < l->progress_at)
        return;
    l->progress_at = now + interval;
    fprintf(stderr,
            "%s: %u online, sent %" PRIu64 ", accepted %" PRIu64 " (%" PRIu64
            "/s), delivered %" PRIu64 " (%" PRIu64 "/s), waiting %" PRIu64 "        %s",
            phase, l->fleet.online, a->count, a->accepted,
            (a->accepted - l->progress_accepted) / seconds, a->delivered,
            (a->delivered - l->progress_delivered) / seconds,
            a->count - a->nacked - PQB_MIN(a->delivered, a->count - a->nacked),
            is_terminal ? "\r" : "\n");
    (void)fflush(stderr);
    l->progress_accepted = a->accepted;
    l->progress_delivered = a->delivered;
}

// Waits until those who shall be online are. False when nobody could log in.
static bool log_in(struct load *l)
{
    pqb_tstamp now = l->fleet.now, end = now + l->config.ramp_ns + LOGIN_WAIT_NS;
    uint32_t wanted = 0;

    for (uint32_t i = 0; i < l->config.clients; i++)
        wanted += l->fleet.clients[i].is_wanted;
    while (l->fleet.online < wanted && now < end && !is_interrupted) {
        now = fleet_run(&l->fleet, now + CHECK_NS);
        show_progress(l, "login", now);
        // With clients that come and go the number need not be reached exactly.
        if (l->config.offline > 0 && now > end - LOGIN_WAIT_NS + PQB_NS_PER_SEC &&
            l->fleet.online > 0)
            break;
    }
    return l->fleet.online > 0;
}

// How long the applications have been sending.
static pqb_duration sending_time(const struct load *l, pqb_tstamp start, pqb_tstamp now)
{
    const pqb_duration elapsed = pqb_elapsed(start, now);

    if (!l->is_hole_quiet || elapsed < l->hole_at)
        return elapsed;
    return PQB_MAX(l->hole_at, elapsed - PQB_MIN(l->hole, elapsed));
}

// Open loop: `rate` messages a second from random senders to random recipients.
static void send_due(struct load *l, pqb_tstamp start, pqb_tstamp now)
{
    struct pqb_rng *rng = &l->fleet.rng;
    const uint64_t due = (uint64_t)((double)sending_time(l, start, now) / 1e9 * (double)l->rate);
    uint64_t begun = l->account.count + l->throttled;

    for (int i = 0; begun < due && i < SEND_BURST_MAX; i++, begun++) {
        uint32_t from = (uint32_t)pqb_rng_below(rng, l->clients);
        const uint32_t step = 1 + (uint32_t)pqb_rng_below(rng, l->clients - 1);

        for (int tries = 0; tries < 16 && !l->fleet.clients[from].is_online; tries++)
            from = (uint32_t)pqb_rng_below(rng, l->clients);
        send_one(l, from, (uint32_t)((from + step) % l->clients), now);
    }
}

static void run_hole(struct load *l, pqb_tstamp start, pqb_tstamp now)
{
    const pqb_tstamp from = start + l->hole_at;

    fleet_cut(&l->fleet, now >= from && now < from + l->hole);
}

static double run_sending(struct load *l)
{
    const pqb_tstamp start = l->fleet.now, end = start + l->duration;
    const pqb_duration interval = l->rate > 0 ? PQB_NS_PER_SEC / l->rate : PQB_NS_PER_SEC;
    pqb_tstamp now = start;

    l->is_sending = true;
    for (uint64_t i = 0; i < l->pairs * l->window; i++) {
        const uint32_t from = (uint32_t)(i % l->pairs) * 2;

        send_one(l, from, from + 1, now);
    }
    while (now < end && !is_interrupted) {
        if (l->pairs == 0)
            send_due(l, start, now);
        if (l->hole > 0)
            run_hole(l, start, now);
        now = fleet_run(&l->fleet, PQB_MIN(end, now + (l->pairs > 0 ? CHECK_NS : interval)));
        show_progress(l, "load", now);
    }
    l->is_sending = false;
    fleet_cut(&l->fleet, false);
    return (double)(now - start) / 1e9;
}

static bool is_settled(const struct load *l)
{
    return account_unresolved(&l->account) <= l->uncertain && account_lost(&l->account) == 0;
}

static double run_settling(struct load *l)
{
    const pqb_tstamp start = l->fleet.now, end = start + l->settle;
    pqb_tstamp now = start, settled_at = PQB_NEVER, check_at = start;

    fleet_settle(&l->fleet);
    while (now < end && now < pqb_tstamp_add(settled_at, AFTERMATH_NS) && !is_interrupted) {
        now = fleet_run(&l->fleet, now + CHECK_NS);
        show_progress(l, "settle", now);
        if (settled_at == PQB_NEVER && now >= check_at) {
            check_at = now + CHECK_NS;
            if (is_settled(l))
                settled_at = now;
        }
    }
    return (double)(PQB_MIN(settled_at, now) - start) / 1e9;
}

static int run(struct load *l)
{
    char target[PQB_ADDR_TEXT_MAX];
    struct report report = {.account = &l->account, .seed = l->seed};

    if (!log_in(l)) {
        char what[128];

        pqb_addr_format(&l->config.target, target);
        (void)snprintf(what, sizeof(what), "no client could log in at %s", target);
        (void)cli_wrong(
            "pqbsim load", what,
            "Is a gateway there (pqbctl stats), does it let anybody in (--auth any), and is "
            "--server-key its key?");
        return CLI_EXIT_FINDING;
    }
    report.sending_from = l->fleet.now;
    report.seconds = run_sending(l);
    report.settle_seconds = run_settling(l);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\n");
    report.lost = account_lost(&l->account);
    report.unresolved =
        account_unresolved(&l->account) - PQB_MIN(l->uncertain, account_unresolved(&l->account));
    report.uncertain = l->uncertain;
    report.throttled = l->throttled;
    fleet_get_totals(&l->fleet, &report.totals);
    report.traffic = l->has_series ? &l->fleet.traffic : NULL;
    report.rebind_gap_us = &l->fleet.rebind_gap_us;
    report_print(&report, l->is_json);
    return report_is_clean(&report) ? CLI_EXIT_DONE : CLI_EXIT_FINDING;
}

// Relations between options that their own ranges can't express.
static int check_options(struct load *l)
{
    if (l->pairs > 0)
        l->clients = 2 * l->pairs;
    if (l->clients < 2)
        return cli_wrong("pqbsim load", "--clients must be at least 2", "Try --clients 100.");
    if (l->pairs > 0 && l->config.offline > 0)
        return cli_wrong("pqbsim load", "--pairs and --offline do not go together",
                         "A closed loop would wait for who is away.");
    if (!(l->config.offline < 1))
        return cli_wrong("pqbsim load", "--offline must be below 1", "Try --offline 0.2.");
    if (fleet_check_names("pqbsim load", l->config.names) != CLI_EXIT_DONE)
        return CLI_EXIT_USAGE;
    l->config.clients = (uint32_t)l->clients;
    l->config.seed = l->seed;
    l->config.ramp_ns = l->clients * PQB_NS_PER_SEC / LOGIN_RATE;
    return CLI_EXIT_DONE;
}

static int run_load(struct load *l)
{
    int status;

    l->config.ctx = l;
    l->config.on_receipt = on_receipt;
    l->config.on_message = on_message;
    l->body = malloc(l->size);
    account_init(&l->account, l->seed ^ cli_now());
    if (l->body == NULL || fleet_init(&l->fleet, &l->config, cli_now()) != PQB_OK) {
        fprintf(stderr, "pqbsim load: not enough memory or open files for %" PRIu64 " clients\n",
                l->clients);
        status = CLI_EXIT_FINDING;
    } else {
        status = run(l);
    }
    fleet_fini(&l->fleet);
    account_fini(&l->account);
    free(l->body);
    return status;
}

int pqbsim_load(int argc, char **argv)
{
    static struct load l = {.clients = 100,
                            .rate = 100,
                            .size = 100,
                            .window = 1,
                            .duration = 10 * PQB_NS_PER_SEC,
                            .settle = 60 * PQB_NS_PER_SEC};
    const char *args[1];
    size_t arg_count;
    const struct cli_option options[] = {
        {.name = "target",
         .type = CLI_ADDR,
         .out = &l.config.target,
         .value = "H:P",
         .is_required = true,
         .help = "the gateway"},
        PQBSIM_SERVER_KEY(l.server_key_text),
        {.name = "no-aes",
         .type = CLI_FLAG,
         .out = &l.config.without_aes,
         .help = "offer ChaCha20-Poly1305 only"},
        {.name = "no-tickets",
         .type = CLI_FLAG,
         .out = &l.config.without_tickets,
         .help = "make every login in full"},
        {.name = "clients",
         .type = CLI_NUMBER,
         .out = &l.clients,
         .value = "N",
         .min = 2,
         .max = 1000000,
         .help = "users, one device each (100)"},
        {.name = "names",
         .type = CLI_TEXT,
         .out = &l.config.names,
         .value = "TEXT",
         .help = "what the users' names begin with (load); another beside another load"},
        {.name = "rate",
         .type = CLI_NUMBER,
         .out = &l.rate,
         .value = "R",
         .min = 1,
         .max = 10000000,
         .help = "messages a second in total (100)"},
        {.name = "duration",
         .type = CLI_SECONDS,
         .out = &l.duration,
         .value = "S",
         .help = "how long to send (10)"},
        {.name = "settle",
         .type = CLI_SECONDS,
         .out = &l.settle,
         .value = "S",
         .help = "the most to wait for what is still under way (60)"},
        {.name = "size",
         .type = CLI_NUMBER,
         .out = &l.size,
         .value = "B",
         .min = ACCOUNT_BODY_MIN,
         .max = PQB_CLIENT_BODY_MAX,
         .help = "bytes of a message (100)"},
        {.name = "offline",
         .type = CLI_FRACTION,
         .out = &l.config.offline,
         .value = "F",
         .help = "keep this fraction logged out, in stretches"},
        {.name = "pairs",
         .type = CLI_NUMBER,
         .out = &l.pairs,
         .value = "N",
         .min = 1,
         .max = 500000,
         .help = "closed loop: N pairs instead of --clients and --rate"},
        {.name = "window",
         .type = CLI_NUMBER,
         .out = &l.window,
         .value = "W",
         .min = 1,
         .max = 1000,
         .help = "messages in flight for each pair (1)"},
        {.name = "hole-at",
         .type = CLI_SECONDS,
         .out = &l.hole_at,
         .value = "S",
         .help = "so long after sending began --hole begins (0)"},
        {.name = "hole",
         .type = CLI_SECONDS,
         .out = &l.hole,
         .value = "S",
         .help = "for so long nothing passes, either way"},
        {.name = "hole-quiet",
         .type = CLI_FLAG,
         .out = &l.is_hole_quiet,
         .help = "the applications send nothing during the hole"},
        {.name = "json", .type = CLI_FLAG, .out = &l.is_json, .help = "report as one JSON object"},
        {.name = "series",
         .type = CLI_FLAG,
         .out = &l.has_series,
         .help = "with --json: what was sent, both ways, in every 100 ms"},
        PQBSIM_IMPAIRMENTS(l.config.impair, l.config.rebind_ns, l.seed),
    };
    const struct cli_command command = {
        .name = "pqbsim load",
        .usage = "--target H:P [--option VALUE]...",
        .about = "Sends messages between many clients through a bad network and accounts for every "
                 "one of them.\nExit status 1 if a message that was accepted got lost, came twice "
                 "or out of order. Latencies are\nfrom sending to `accepted` at the sender, and to "
                 "the recipient's application for recipients\nwho were there.",
        .options = options,
        .option_count = PQB_ARRAY_LEN(options),
    };
    int status;

    l.seed = cli_now();
    status = cli_parse(&command, argc, argv, args, &arg_count);
    if (status != CLI_GO)
        return status;
    status = check_options(&l);
    if (status == CLI_EXIT_DONE)
        status =
            pqbsim_server_key("pqbsim load", l.server_key_text, l.server_key, &l.config.server_key);
    if (status != CLI_EXIT_DONE)
        return status;
    (void)signal(SIGINT, on_signal);
    (void)signal(SIGTERM, on_signal);
    return run_load(&l);
}
