// pqbctl top: the telling counters, redrawn in place; fits 80 x 24.
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <unistd.h>

#include "tools/pqbctl/pqbctl.h"

#define COLUMNS     80
#define HISTORY     60 // samples in the graph
#define REASONS_MAX 4  // busiest nack.* and drop.* shown
#define ALARMS_MAX  4

struct sample {
    struct pqb_stats_snapshot now, before;
    bool has_before;
    double seconds; // between the two
};

struct history {
    double rate[HISTORY]; // accepted a second, oldest first
    size_t count;
};

static volatile sig_atomic_t is_stopped;

static void on_stop(int signal_number)
{
    (void)signal_number;
    is_stopped = 1;
}

static uint64_t value_of(const struct sample *s, const char *name)
{
    return pqb_stats_snapshot_get(&s->now, name, NULL);
}

static double rate_between(const struct sample *s, uint64_t now, uint64_t before)
{
    return s->has_before && s->seconds > 0 && now >= before ? (double)(now - before) / s->seconds
                                                            : 0;
}

static double rate_of(const struct sample *s, const char *name)
{
    return rate_between(s, value_of(s, name),
                        s->has_before ? pqb_stats_snapshot_get(&s->before, name, NULL) : 0);
}

// "12.3k": at most five characters wide.
static const char *human(double value, char text[16])
{
    static const char units[] = " kMGTP";
    size_t unit = 0;

    while (value >= 999.5 && unit + 2 < sizeof(units)) {
        value /= 1000;
        unit++;
    }
    if (unit == 0)
        (void)snprintf(text, 16, value < 9.95 && value > 0 ? "%.1f" : "%.0f", value);
    else
        (void)snprintf(text, 16, value < 99.5 ? "%.1f%c" : "%.0f%c", value, units[unit]);
    return text;
}

static void line(const char *text)
{
    // \033[K clears what a longer line left behind.
    printf("%.*s%s\n", COLUMNS, text, isatty(STDOUT_FILENO) ? "\033[K" : "");
}

static void draw_head(const struct sample *s)
{
    struct ctl_health health;
    char text[160];

    ctl_health_of(&s->now, &health);
    (void)snprintf(text, sizeof(text),
                   "paquebot  pid %" PRIu64 "  %s  up %" PRIu64 "d %02" PRIu64 ":%02" PRIu64
                   ":%02" PRIu64 "  sessions %" PRIu64 "  %s",
                   s->now.pid, ctl_life_name(health.life), health.uptime_s / 86400,
                   health.uptime_s / 3600 % 24, health.uptime_s / 60 % 60, health.uptime_s % 60,
                   value_of(s, "session.current"), health.note);
    line(text);
}

static void draw_disk(const struct sample *s)
{
    const double commits = rate_of(s, "commit.count");
    const double messages = rate_of(s, "commit.messages");
    const double ns = rate_of(s, "commit.ns");
    const uint64_t map = value_of(s, "store.map_bytes");
    const uint64_t used = value_of(s, "store.map_used_bytes");
    char text[160], a[16], b[16];

    (void)snprintf(text, sizeof(text),
                   "disk      %s commits/s of %.1f messages, %.2f ms each   queue %" PRIu64,
                   human(commits, a), commits > 0 ? messages / commits : 0,
                   commits > 0 ? ns / commits / 1e6 : 0, value_of(s, "store.queue"));
    line(text);
    (void)snprintf(text, sizeof(text), "          journal %sB   file %sB, %.1f %% of its limit%s",
                   human((double)value_of(s, "store.journal_bytes"), a), human((double)used, b),
                   map > 0 ? 100.0 * (double)used / (double)map : 0,
                   value_of(s, "store.degraded") != 0 ? "   REFUSING MESSAGES" : "");
    line(text);
}

static void draw_graph(const struct history *h)
{
    static const char levels[] = " .:-=+*#";
    double max = 1;
    char text[160], bar[HISTORY + 1], a[16];

    for (size_t i = 0; i < h->count; i++)
        max = PQB_MAX(max, h->rate[i]);
    for (size_t i = 0; i < h->count; i++) {
        const double level = h->rate[i] / max * (double)(sizeof(levels) - 2);

        bar[i] = levels[h->rate[i] > 0 ? PQB_MAX((size_t)level, (size_t)1) : 0];
    }
    bar[h->count] = '\0';
    (void)snprintf(text, sizeof(text), "accepted |%*s| max %s/s", HISTORY, bar, human(max, a));
    line(text);
}

static void draw_rates(const struct sample *s)
{
    static const char *const pairs[][2] = {
        {"msg.accepted", "udp.datagrams_in"}, {"msg.delivered", "udp.datagrams_out"},
        {"msg.stored", "udp.bytes_in"},       {"msg.duplicate", "udp.bytes_out"},
        {"msg.ephemeral", "udp.send_calls"},
    };
    char text[160], a[16], b[16], c[16], d[16];

    line("                       per s    total                           per s    total");
    for (size_t i = 0; i < PQB_ARRAY_LEN(pairs); i++) {
        (void)snprintf(text, sizeof(text), "%-20s %7s %8s      %-20s %7s %8s", pairs[i][0],
                       human(rate_of(s, pairs[i][0]), a),
                       human((double)value_of(s, pairs[i][0]), b), pairs[i][1],
                       human(rate_of(s, pairs[i][1]), c),
                       human((double)value_of(s, pairs[i][1]), d));
        line(text);
    }
}

// The rows under `prefix` with the highest rates, and their sum.
static void draw_reasons(const struct sample *s, const char *prefix)
{
    size_t shown[REASONS_MAX];
    double rates[REASONS_MAX] = {0};
    size_t count = 0;
    double sum = 0;
    char text[256], a[16];
    int len;

    for (size_t i = 0; i < s->now.row_count; i++) {
        const char *name = s->now.rows[i].name;
        double rate;
        size_t at;

        if (strncmp(name, prefix, strlen(prefix)) != 0)
            continue;
        rate = rate_of(s, name);
        sum += rate;
        if (rate <= 0)
            continue;
        for (at = count; at > 0 && rates[at - 1] < rate; at--) {
            if (at < REASONS_MAX) {
                rates[at] = rates[at - 1];
                shown[at] = shown[at - 1];
            }
        }
        if (at < REASONS_MAX) {
            rates[at] = rate;
            shown[at] = i;
            count = PQB_MIN(count + 1, (size_t)REASONS_MAX);
        }
    }
    len = snprintf(text, sizeof(text), "%-20s %7s  ", prefix, human(sum, a));
    for (size_t i = 0; i < count && len < COLUMNS; i++)
        len += snprintf(text + len, sizeof(text) - (size_t)len, "  %.20s %s",
                        s->now.rows[shown[i]].name + strlen(prefix), human(rates[i], a));
    line(text);
}

static void draw_alarms(const struct sample *s)
{
    size_t count = 0;
    char text[256];

    for (size_t i = 0; i < s->now.row_count; i++) {
        const struct pqb_stats_row *row = &s->now.rows[i];
        const uint64_t value = pqb_stats_snapshot_sum(&s->now, i);

        if (row->kind != PQB_STATS_ALARM || value == 0 || ++count > ALARMS_MAX)
            continue;
        (void)snprintf(text, sizeof(text), "! %s %" PRIu64 " %s: %s", row->name, value, row->unit,
                       row->help);
        line(text);
    }
    if (count == 0)
        line("alarms: none");
    else if (count > ALARMS_MAX)
        line("! and more: pqbctl stats shows them all");
    for (size_t i = count; i < ALARMS_MAX; i++)
        line("");
}

static void draw(const struct sample *s, const struct history *history)
{
    const bool is_tty = isatty(STDOUT_FILENO);

    if (is_tty)
        fputs("\033[H", stdout);
    draw_head(s);
    draw_disk(s);
    draw_graph(history);
    line("");
    draw_rates(s);
    line("");
    draw_reasons(s, "nack.");
    draw_reasons(s, "drop.");
    line("");
    draw_alarms(s);
    if (is_tty)
        fputs("\033[J", stdout);
    (void)fflush(stdout);
}

static void remember(struct history *h, double rate)
{
    if (h->count == HISTORY)
        memmove(h->rate, h->rate + 1, (HISTORY - 1) * sizeof(*h->rate));
    else
        h->count++;
    h->rate[h->count - 1] = rate;
}

static int run(const struct ctl_place *place, pqb_duration every, uint64_t count)
{
    const struct timespec pause = {.tv_sec = (time_t)(every / PQB_NS_PER_SEC),
                                   .tv_nsec = (long)(every % PQB_NS_PER_SEC)};
    struct sample s = {.has_before = false};
    struct history history = {.count = 0};
    pqb_tstamp read_at = 0;

    for (uint64_t i = 0; (count == 0 || i < count) && !is_stopped; i++) {
        pqb_tstamp now;

        if (i > 0 && nanosleep(&pause, NULL) != 0)
            break;
        if (!ctl_stats_read(place, &s.now))
            return CLI_EXIT_FINDING;
        now = cli_now();
        s.seconds = (double)(now - read_at) / (double)PQB_NS_PER_SEC;
        read_at = now;
        if (s.has_before && s.before.pid != s.now.pid) {
            pqb_stats_snapshot_fini(&s.before);
            s.has_before = false; // restarted: the numbers begin anew
        }
        if (s.has_before)
            remember(&history, rate_of(&s, "msg.accepted"));
        draw(&s, &history);
        if (s.has_before)
            pqb_stats_snapshot_fini(&s.before);
        s.before = s.now;
        s.has_before = true;
    }
    if (s.has_before)
        pqb_stats_snapshot_fini(&s.before);
    return CLI_EXIT_DONE;
}

int ctl_top(int argc, char **argv)
{
    const struct sigaction action = {.sa_handler = on_stop};
    struct ctl_place place;
    pqb_duration every = PQB_NS_PER_SEC;
    uint64_t count = 0;
    size_t arg_count;
    int status;
    const struct cli_option options[] = {
        {.name = "every",
         .type = CLI_SECONDS,
         .out = &every,
         .value = "S",
         .help = "seconds between two drawings [1]"},
        {.name = "count",
         .type = CLI_NUMBER,
         .out = &count,
         .value = "N",
         .help = "stop after N drawings"},
        CTL_PLACE_OPTIONS(place),
    };
    const struct cli_command command = {
        .name = "pqbctl top",
        .usage = "[--every S] [--data DIR]",
        .about = "Shows the telling counters live until it is interrupted.",
        .options = options,
        .option_count = PQB_ARRAY_LEN(options),
    };

    ctl_place_init(&place);
    status = cli_parse(&command, argc, argv, NULL, &arg_count);
    if (status != CLI_GO)
        return status;
    if (every == 0)
        return cli_wrong(command.name, "--every must be more than 0", NULL);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    if (isatty(STDOUT_FILENO))
        fputs("\033[?25l\033[2J", stdout); // hide the cursor, clear
    status = run(&place, every, count);
    if (isatty(STDOUT_FILENO))
        fputs("\033[?25h", stdout);
    return status;
}
