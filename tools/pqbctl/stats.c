// pqbctl stats: every counter, as a table, as JSON or for Prometheus.
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/json.h"
#include "tools/pqbctl/pqbctl.h"

#define JSON_MAX (1024 * 1024)

static void print_json(const struct pqb_stats_snapshot *s)
{
    struct ctl_health health;
    struct pqb_json j;
    const char *text;

    ctl_health_of(s, &health);
    pqb_json_init(&j, JSON_MAX);
    pqb_json_object_begin(&j, NULL);
    for (size_t i = 0; i < s->row_count; i++)
        pqb_json_uint(&j, s->rows[i].name, pqb_stats_snapshot_sum(s, i));
    pqb_json_uint(&j, "process.pid", s->pid);
    pqb_json_uint(&j, "process.uptime_s", health.uptime_s);
    pqb_json_uint(&j, "process.heartbeat_age_ms", health.heartbeat_ms);
    pqb_json_string(&j, "process.state", ctl_life_name(health.life));
    pqb_json_object_end(&j);
    text = pqb_json_text(&j);
    if (text != NULL)
        puts(text);
    pqb_json_fini(&j);
}

// One object a thread that counts.
static void print_threads_json(const struct pqb_stats_snapshot *s)
{
    struct pqb_json j;
    const char *text;

    pqb_json_init(&j, JSON_MAX * s->column_count);
    pqb_json_object_begin(&j, NULL);
    for (size_t column = 0; column < s->column_count; column++) {
        pqb_json_object_begin(&j, s->columns[column].name);
        for (size_t row = 0; row < s->row_count; row++)
            pqb_json_uint(&j, s->rows[row].name, s->values[column * s->row_count + row]);
        pqb_json_object_end(&j);
    }
    pqb_json_object_end(&j);
    text = pqb_json_text(&j);
    if (text != NULL)
        puts(text);
    pqb_json_fini(&j);
}

static void print_prom(const struct pqb_stats_snapshot *s)
{
    struct ctl_health health;

    ctl_health_of(s, &health);
    for (size_t i = 0; i < s->row_count; i++) {
        const struct pqb_stats_row *row = &s->rows[i];
        const bool is_gauge = row->kind == PQB_STATS_GAUGE;
        char name[80];

        (void)snprintf(name, sizeof(name), "paquebot_%s%s", row->name, is_gauge ? "" : "_total");
        for (char *at = name; *at != '\0'; at++) {
            if (isalnum((unsigned char)*at) == 0)
                *at = '_';
        }
        printf("# HELP %s %s (%s)\n# TYPE %s %s\n%s %" PRIu64 "\n", name, row->help, row->unit,
               name, is_gauge ? "gauge" : "counter", name, pqb_stats_snapshot_sum(s, i));
    }
    printf("# HELP paquebot_up 1 while the gateway runs and moves\n# TYPE paquebot_up gauge\n"
           "paquebot_up %d\n",
           health.life == CTL_RUNNING);
}

static void print_head(const struct pqb_stats_snapshot *s)
{
    struct ctl_health health;

    ctl_health_of(s, &health);
    printf("paquebotd pid %" PRIu64 " %s", s->pid, ctl_life_name(health.life));
    if (health.life == CTL_RUNNING || health.life == CTL_HUNG)
        printf(", up %" PRIu64 " s", health.uptime_s);
    printf("%s%s\n", health.note[0] != '\0' ? ": " : "", health.note);
}

// What says most about a gateway, for --telling; other rows show there only as alarms.
static const char *const telling[] = {
    "msg.accepted",         "msg.stored",        "msg.delivered",       "msg.duplicate",
    "session.current",      "session.opened",    "retransmit.messages", "off.pages",
    "udp.datagrams_in",     "udp.datagrams_out", "udp.bytes_in",        "udp.bytes_out",
    "commit.count",         "commit.messages",   "checkpoint.count",    "store.journal_bytes",
    "store.map_used_bytes", "process.rss_bytes", "process.cpu_us",
};

static bool is_telling(const char *name)
{
    for (size_t i = 0; i < PQB_ARRAY_LEN(telling); i++) {
        if (strcmp(name, telling[i]) == 0)
            return true;
    }
    return false;
}

struct format {
    bool is_json, is_prom, is_telling, is_by_thread;
};

// The rows that are not 0 everywhere, one column a thread.
static void print_threads(const struct pqb_stats_snapshot *s, bool is_telling_only)
{
    print_head(s);
    printf("%-32s", "COUNTER");
    for (size_t column = 0; column < s->column_count; column++)
        printf(" %14s", s->columns[column].name);
    printf("\n");
    for (size_t row = 0; row < s->row_count; row++) {
        if (pqb_stats_snapshot_sum(s, row) == 0 ||
            (is_telling_only && !is_telling(s->rows[row].name)))
            continue;
        printf("%-32s", s->rows[row].name);
        for (size_t column = 0; column < s->column_count; column++)
            printf(" %14" PRIu64, s->values[column * s->row_count + row]);
        printf("\n");
    }
}

// Rates are over `seconds` since `before`; without one, over the whole life.
static void print_table(const struct pqb_stats_snapshot *s, const struct pqb_stats_snapshot *before,
                        double seconds, bool is_telling_only)
{
    size_t alarms = 0;

    print_head(s);
    printf("  %-32s %16s %12s  %s\n", "COUNTER", "VALUE",
           before != NULL ? "PER SECOND" : "AVERAGE/S", "UNIT");
    for (size_t i = 0; i < s->row_count; i++) {
        const struct pqb_stats_row *row = &s->rows[i];
        const uint64_t value = pqb_stats_snapshot_sum(s, i);
        const uint64_t old = before != NULL ? pqb_stats_snapshot_get(before, row->name, NULL) : 0;
        const bool is_alarm = row->kind == PQB_STATS_ALARM && value > 0;
        char rate[32] = "";

        if (is_telling_only && !is_alarm && !is_telling(row->name))
            continue;
        if (row->kind != PQB_STATS_GAUGE && seconds > 0 && value >= old)
            (void)snprintf(rate, sizeof(rate), "%.1f", (double)(value - old) / seconds);
        printf("%c %-32s %16" PRIu64 " %12s  %s\n", is_alarm ? '!' : ' ', row->name, value, rate,
               row->unit);
        alarms += is_alarm;
    }
    if (alarms > 0)
        printf("! marks what should stay 0: %zu of them did not\n", alarms);
}

static void print(const struct pqb_stats_snapshot *s, const struct pqb_stats_snapshot *before,
                  double seconds, const struct format *format)
{
    struct ctl_health health;

    if (format->is_json && format->is_by_thread) {
        print_threads_json(s);
    } else if (format->is_by_thread) {
        print_threads(s, format->is_telling);
    } else if (format->is_json) {
        print_json(s);
    } else if (format->is_prom) {
        print_prom(s);
    } else {
        ctl_health_of(s, &health);
        print_table(s, before, before != NULL ? seconds : (double)health.uptime_s,
                    format->is_telling);
    }
    (void)fflush(stdout);
}

static void sleep_ns(pqb_duration ns)
{
    const struct timespec ts = {.tv_sec = (time_t)(ns / PQB_NS_PER_SEC),
                                .tv_nsec = (long)(ns % PQB_NS_PER_SEC)};

    (void)nanosleep(&ts, NULL);
}

static int watch(const struct ctl_place *place, pqb_duration every, const struct format *format)
{
    struct pqb_stats_snapshot before, s;

    if (!ctl_stats_read(place, &before))
        return CLI_EXIT_FINDING;
    print(&before, NULL, 0, format);
    for (;;) {
        sleep_ns(every);
        if (!ctl_stats_read(place, &s))
            break;
        if (!format->is_json)
            putchar('\n');
        // After a restart the numbers begin anew: nothing to compare with.
        print(&s, s.pid == before.pid ? &before : NULL, (double)every / (double)PQB_NS_PER_SEC,
              format);
        pqb_stats_snapshot_fini(&before);
        before = s;
        if (ferror(stdout) != 0)
            break;
    }
    pqb_stats_snapshot_fini(&before);
    return CLI_EXIT_FINDING;
}

int ctl_stats(int argc, char **argv)
{
    struct ctl_place place;
    struct pqb_stats_snapshot s;
    struct format format = {.is_json = false};
    pqb_duration every = 0;
    size_t arg_count;
    int status;
    const struct cli_option options[] = {
        {.name = "json", .type = CLI_FLAG, .out = &format.is_json, .help = "one JSON object"},
        {.name = "prom",
         .type = CLI_FLAG,
         .out = &format.is_prom,
         .help = "Prometheus text format"},
        {.name = "telling",
         .type = CLI_FLAG,
         .out = &format.is_telling,
         .help = "the most telling counters, and alarms, only"},
        {.name = "threads",
         .type = CLI_FLAG,
         .out = &format.is_by_thread,
         .help = "each thread's share: shards, writer, process"},
        {.name = "watch",
         .type = CLI_SECONDS,
         .out = &every,
         .value = "S",
         .help = "print again every S seconds, with the rates in between"},
        CTL_PLACE_OPTIONS(place),
    };
    const struct cli_command command = {
        .name = "pqbctl stats",
        .usage = "[--json|--prom|--telling] [--watch S] [--data DIR]",
        .about = "Prints every counter of the gateway. Reads its mapped page only: costs the\n"
                 "gateway nothing and works on one that hangs or has died.",
        .options = options,
        .option_count = PQB_ARRAY_LEN(options),
    };

    ctl_place_init(&place);
    status = cli_parse(&command, argc, argv, NULL, &arg_count);
    if (status != CLI_GO)
        return status;
    if (format.is_json && format.is_prom)
        return cli_wrong(command.name, "--json and --prom exclude each other", NULL);
    if (format.is_by_thread && format.is_prom)
        return cli_wrong(command.name, "--threads and --prom exclude each other",
                         "Use --json with --threads.");
    if (every > 0)
        return watch(&place, every, &format);
    if (!ctl_stats_read(&place, &s))
        return CLI_EXIT_FINDING;
    print(&s, NULL, 0, &format);
    pqb_stats_snapshot_fini(&s);
    return CLI_EXIT_DONE;
}
