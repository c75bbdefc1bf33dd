// pqb listen: prints what comes. A message counts as taken when it has left through stdout; only
// then is the cursor written. A crash between the two shows one message twice, never none.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/json.h"
#include "common/wire/frame.h"
#include "tools/pqb/pqb.h"

#define COMMAND "pqb listen"

struct listen {
    struct link link;
    uint64_t count; // 0: no limit
    uint64_t printed;
    bool is_json, is_broken; // stdout takes no more
    struct pqb_json json;
};

static void on_state(void *ctx, enum pqb_client_state state, enum pqb_client_reason reason)
{
    link_on_state(&((struct listen *)ctx)->link, state, reason);
}

static void print_json(struct pqb_json *j, const struct pqb_client_message *m)
{
    const char *text;

    pqb_json_clear(j);
    pqb_json_object_begin(j, NULL);
    pqb_json_uint(j, "iseq", m->iseq);
    pqb_json_string(j, "from", m->from);
    pqb_json_string(j, "device", m->device);
    pqb_json_uint(j, "kind", m->kind);
    pqb_json_uint(j, "time", m->time_ms);
    json_body(j, m->body, m->len);
    pqb_json_object_end(j);
    text = pqb_json_text(j);
    if (text != NULL)
        (void)puts(text);
}

static void print_text(const struct pqb_client_message *m)
{
    print_escaped(m->from, strlen(m->from));
    (void)fputc('\t', stdout);
    print_escaped((const char *)m->body, m->len);
    (void)fputc('\n', stdout);
}

static int on_message(void *ctx, const struct pqb_client_message *m, uint64_t cursor)
{
    struct listen *l = ctx;

    (void)cursor;
    if (l->is_broken || (l->count > 0 && l->printed >= l->count))
        return 1;
    if (l->is_json)
        print_json(&l->json, m);
    else
        print_text(m);
    l->is_broken = fflush(stdout) != 0 || ferror(stdout) || (l->is_json && l->json.is_failed);
    if (l->is_broken)
        return 1;
    l->printed++;
    return 0;
}

static void on_gap(void *ctx, uint64_t from, uint64_t to, unsigned gap)
{
    (void)ctx;
    tell_gap(COMMAND, from, to, gap);
}

static void on_dead_letter(void *ctx, const struct pqb_client_dead_letter *letter)
{
    (void)ctx;
    tell_dead_letter(COMMAND, letter);
}

static int run(struct listen *l)
{
    bool is_readable;
    int status = CLI_EXIT_DONE;

    while (!link_is_interrupted()) {
        if (l->is_broken) {
            fprintf(stderr, "%s: can't write to standard output: %s\n", COMMAND, strerror(errno));
            return CLI_EXIT_FINDING;
        }
        if (l->count > 0 && l->printed >= l->count)
            return CLI_EXIT_DONE;
        // Listening for a while, without a number to reach, has worked when the gateway was there.
        if (l->count == 0 && l->link.state == PQB_CLIENT_ONLINE &&
            pqb_client_udp_now() >= l->link.deadline)
            return CLI_EXIT_DONE;
        if (!link_run(&l->link, -1, &is_readable, &status))
            return status;
    }
    return CLI_EXIT_DONE;
}

int pqb_listen(int argc, char **argv)
{
    struct listen l = {0};
    struct link_options o = {0};
    uint64_t poison_limit = POISON_LIMIT;
    const struct cli_option options[] = {
        LINK_OPTIONS(&o),
        {.name = "count",
         .type = CLI_NUMBER,
         .out = &l.count,
         .value = "N",
         .help = "stop after so many messages (default: go on)",
         .min = 1},
        {.name = "timeout",
         .type = CLI_SECONDS,
         .out = &o.timeout,
         .value = "S",
         .help = "stop after so many seconds (default: never); with --count that is a failure"},
        {.name = "poison-limit",
         .type = CLI_NUMBER,
         .out = &poison_limit,
         .value = "N",
         .help = "runs that die over a message before it is put aside; 0: never (default 5)",
         .max = 1000000},
        {.name = "json",
         .type = CLI_FLAG,
         .out = &l.is_json,
         .help = "a JSON object a line: iseq from device kind time body (or body_b64)"},
    };
    const struct cli_command command = {
        .name = COMMAND,
        .usage = "--server HOST:PORT --user USER --device DEVICE [--option VALUE]...",
        .about =
            "Prints each message as FROM<TAB>TEXT, control characters escaped. A message is "
            "taken when it\nis printed; the next run goes on after it.\nExit status: 0 done; 1 "
            "out of time or no gateway; 2 wrong use.",
        .options = options,
        .option_count = PQB_ARRAY_LEN(options),
    };
    const struct pqb_client_callbacks callbacks = {.on_state = on_state,
                                                   .on_message = on_message,
                                                   .on_gap = on_gap,
                                                   .on_dead_letter = on_dead_letter};
    size_t arg_count;
    int status;

    status = cli_parse(&command, argc, argv, NULL, &arg_count);
    if (status != CLI_GO)
        return status;
    o.poison_limit = (uint32_t)poison_limit;
    pqb_json_init(&l.json, JSON_LINE_MAX);
    status = link_open(&l.link, COMMAND, &o, &callbacks, &l);
    if (status == CLI_EXIT_DONE)
        status = run(&l);
    link_close(&l.link);
    pqb_json_fini(&l.json);
    return status;
}
