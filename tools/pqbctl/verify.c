// pqbctl verify: walks a stopped data directory or a backup.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/json.h"
#include "storage/store.h"
#include "tools/pqbctl/pqbctl.h"

#define FINDINGS_SHOWN 100
#define JSON_MAX       (1024 * 1024)

struct findings {
    struct pqb_json *json; // NULL: printed as they come
    uint64_t count;
};

static void on_finding(void *ctx, const char *finding)
{
    struct findings *f = ctx;

    f->count++;
    if (f->count > FINDINGS_SHOWN)
        return;
    if (f->json != NULL)
        pqb_json_string(f->json, NULL, finding);
    else
        printf("finding: %s\n", finding);
}

static int explain(const char *dir, int err)
{
    switch (err) {
    case PQB_ERR_LOCKED:
        fprintf(stderr,
                "pqbctl: a gateway is using %s\n"
                "Stop it first, or verify a backup: pqbctl backup DIR; pqbctl verify DIR\n",
                dir);
        break;
    case PQB_ERR_NOT_FOUND:
        fprintf(stderr, "pqbctl: there is no store in %s\n", dir);
        break;
    case PQB_ERR_VERSION:
        fprintf(stderr, "pqbctl: the store in %s is of another version\n", dir);
        break;
    default:
        fprintf(stderr, "pqbctl: the store in %s cannot be read: %s\n", dir, pqb_err_name(err));
        break;
    }
    return CLI_EXIT_FINDING;
}

static void print_json(struct pqb_json *j, const struct pqb_verify_report *report)
{
    const char *text;

    pqb_json_array_end(j);
    pqb_json_bool(j, "ok", report->findings == 0);
    pqb_json_uint(j, "findings", report->findings);
    pqb_json_uint(j, "users", report->users);
    pqb_json_uint(j, "names", report->names);
    pqb_json_uint(j, "devices", report->devices);
    pqb_json_uint(j, "inbox_messages", report->inbox_messages);
    pqb_json_uint(j, "journal_records", report->journal_records);
    pqb_json_uint(j, "journal_messages", report->journal_messages);
    pqb_json_object_end(j);
    text = pqb_json_text(j);
    if (text != NULL)
        puts(text);
}

static void print_report(const char *dir, const struct pqb_verify_report *report)
{
    if (report->findings > FINDINGS_SHOWN)
        printf("and %" PRIu64 " more\n", report->findings - FINDINGS_SHOWN);
    printf("%s: %" PRIu64 " users, %" PRIu64 " devices, %" PRIu64 " messages in the inbox, %" PRIu64
           " in %" PRIu64 " records of the journal: %s\n",
           dir, report->users, report->devices, report->inbox_messages, report->journal_messages,
           report->journal_records, report->findings == 0 ? "all is well" : "DAMAGED");
}

static int verify(const char *dir, bool is_json)
{
    struct pqb_verify_report report;
    struct pqb_json j;
    struct findings findings = {.json = NULL};
    int err;

    pqb_json_init(&j, JSON_MAX);
    if (is_json)
        findings.json = &j;
    pqb_json_object_begin(&j, NULL);
    pqb_json_array_begin(&j, "list");
    err = pqb_store_verify(dir, on_finding, &findings, &report);
    if (err == PQB_OK && is_json)
        print_json(&j, &report);
    else if (err == PQB_OK)
        print_report(dir, &report);
    pqb_json_fini(&j);
    if (err != PQB_OK)
        return explain(dir, err);
    return report.findings == 0 ? CLI_EXIT_DONE : CLI_EXIT_FINDING;
}

int ctl_verify(int argc, char **argv)
{
    struct ctl_place place;
    bool is_json = false;
    const char *args[1];
    size_t arg_count = 0;
    int status;
    const struct cli_option options[] = {
        {.name = "json", .type = CLI_FLAG, .out = &is_json, .help = "the report as JSON"},
        CTL_PLACE_OPTIONS(place),
    };
    const struct cli_command command = {
        .name = "pqbctl verify",
        .usage = "[DIR] [--json]",
        .about =
            "Walks a stopped data directory (DIR, or --data) or a backup: every checksum, the\n"
            "order of keys, and whether tables and journal agree. Changes nothing.",
        .options = options,
        .option_count = PQB_ARRAY_LEN(options),
        .args_max = 1,
    };

    ctl_place_init(&place);
    status = cli_parse(&command, argc, argv, args, &arg_count);
    if (status != CLI_GO)
        return status;
    return verify(arg_count > 0 ? args[0] : place.data, is_json);
}
