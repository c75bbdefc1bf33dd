// pqb chat: a line you type goes to somebody; what comes is printed. Receipts are shown by the
// message's number: one tick when it is on the gateway's disk, two when the other side has it.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <unistd.h>

#include "common/wire/frame.h"
#include "tools/pqb/pqb.h"

#define COMMAND   "pqb chat"
#define LEAVE_NS  (5 * PQB_NS_PER_SEC) // after the end of input, for what is not accepted yet
#define WATCH_MAX 4096

struct chat {
    struct link link;
    const char *to;
    uint64_t first_id; // number 1; 0: nothing was sent yet
};

static void on_state(void *ctx, enum pqb_client_state state, enum pqb_client_reason reason)
{
    struct chat *c = ctx;
    const bool was_online = c->link.state == PQB_CLIENT_ONLINE;

    link_on_state(&c->link, state, reason);
    if (state == PQB_CLIENT_ONLINE)
        printf("-- connected\n");
    else if (was_online && state == PQB_CLIENT_CONNECTING)
        printf("-- connection lost (%s); what you type is kept and sent later\n",
               pqb_client_reason_name(reason));
    (void)fflush(stdout);
}

static void on_receipt(void *ctx, uint64_t id, enum pqb_client_receipt receipt, unsigned refusal)
{
    struct chat *c = ctx;
    const uint64_t number = id - c->first_id + 1;

    if (c->first_id == 0 || id < c->first_id)
        return; // queued by an earlier run
    switch (receipt) {
    case PQB_RECEIPT_ACCEPTED:
        printf("   \u2713 %" PRIu64 "\n", number);
        break;
    case PQB_RECEIPT_STORED:
        printf("   \u2713 %" PRIu64 "  (%s is away)\n", number, c->to);
        break;
    case PQB_RECEIPT_DELIVERED:
    case PQB_RECEIPT_READ:
        printf("   \u2713\u2713 %" PRIu64 "\n", number);
        break;
    case PQB_RECEIPT_REFUSED:
        tell_refusal(COMMAND, number, refusal);
        break;
    case PQB_RECEIPT_ABANDONED:
    case PQB_RECEIPT_UNCERTAIN:
        printf("   ? %" PRIu64 "  (%s)\n", number, pqb_client_receipt_name(receipt));
        break;
    }
    (void)fflush(stdout);
}

static int on_message(void *ctx, const struct pqb_client_message *m, uint64_t cursor)
{
    const time_t seconds = (time_t)(m->time_ms / 1000);
    struct tm local;
    char clock[16] = "";

    (void)ctx;
    (void)cursor;
    if (localtime_r(&seconds, &local) != NULL)
        (void)strftime(clock, sizeof(clock), "%H:%M ", &local);
    printf("%s", clock);
    print_escaped(m->from, strlen(m->from));
    printf(": ");
    print_escaped((const char *)m->body, m->len);
    printf("\n");
    return fflush(stdout) != 0 || ferror(stdout) ? 1 : 0;
}

static void on_gap(void *ctx, uint64_t from, uint64_t to, unsigned gap)
{
    (void)ctx;
    if (gap != PQB_GAP_NEW_GENERATION && gap != PQB_GAP_WAS_TAKEN)
        printf("-- %" PRIu64 " messages are gone (expired or damaged)\n", to - from + 1);
}

static void on_dead_letter(void *ctx, const struct pqb_client_dead_letter *letter)
{
    (void)ctx;
    tell_dead_letter(COMMAND, letter);
}

static bool send_line(struct chat *c, const char *line, size_t len)
{
    uint64_t id;
    int err;

    if (len == 0)
        return true;
    err = pqb_client_send(c->link.c, c->to, 0, line, len, 0, &id);
    if (err != PQB_CLIENT_OK) {
        fprintf(stderr, "%s: not sent: %s\n", COMMAND,
                err == PQB_CLIENT_ERR_FULL ? "too much is waiting to be sent; try again later"
                                           : pqb_client_err_name(err));
        return err == PQB_CLIENT_ERR_FULL;
    }
    if (c->first_id == 0)
        c->first_id = id;
    return true;
}

static bool take_lines(struct chat *c, struct lines *in)
{
    const char *line;
    size_t len;

    for (;;) {
        switch (lines_next(in, &line, &len)) {
        case LINE_READY:
            if (!send_line(c, line, len))
                return false;
            break;
        case LINE_NONE:
            return true;
        case LINE_TOO_LONG:
            fprintf(stderr, "%s: a line is longer than 65536 bytes\n", COMMAND);
            return false;
        }
    }
}

static int run(struct chat *c, struct lines *in)
{
    struct pqb_client_stats stats;
    int status = CLI_EXIT_DONE;
    bool is_readable;

    while (!link_is_interrupted()) {
        pqb_client_get_stats(c->link.c, &stats);
        if (in->is_over) {
            if (stats.queue_count == 0)
                return CLI_EXIT_DONE;
            c->link.deadline = PQB_MIN(c->link.deadline, pqb_client_udp_now() + LEAVE_NS);
        }
        if (!link_run(&c->link, in->is_over ? -1 : in->fd, &is_readable, &status)) {
            if (in->is_over)
                fprintf(stderr, "%s: %u not accepted yet: queued, sent by the next run\n", COMMAND,
                        stats.queue_count);
            return status;
        }
        if (is_readable) {
            lines_read(in);
            if (!take_lines(c, in))
                return CLI_EXIT_FINDING;
        }
    }
    return CLI_EXIT_DONE;
}

int pqb_chat(int argc, char **argv)
{
    static struct lines in;
    struct chat c = {0};
    struct link_options o = {.watch_max = WATCH_MAX, .poison_limit = POISON_LIMIT};
    const struct cli_option options[] = {
        LINK_OPTIONS(&o),
        {.name = "to",
         .type = CLI_TEXT,
         .out = &c.to,
         .value = "USER",
         .help = "whom to talk to",
         .is_required = true},
    };
    const struct cli_command command = {
        .name = COMMAND,
        .usage = "--server HOST:PORT --user USER --device DEVICE --to USER [--option VALUE]...",
        .about = "Sends each line you type and prints what comes, from whomever. One tick: on the "
                 "gateway's disk;\ntwo: the other side has it. Control-D ends it; what is not "
                 "accepted by then stays queued.",
        .options = options,
        .option_count = PQB_ARRAY_LEN(options),
    };
    const struct pqb_client_callbacks callbacks = {.on_state = on_state,
                                                   .on_receipt = on_receipt,
                                                   .on_message = on_message,
                                                   .on_gap = on_gap,
                                                   .on_dead_letter = on_dead_letter};
    size_t arg_count;
    int status;

    status = cli_parse(&command, argc, argv, NULL, &arg_count);
    if (status != CLI_GO)
        return status;
    if (!pqb_name_is_valid(c.to, strlen(c.to), PQB_USER_MAX))
        return cli_wrong(COMMAND, "--to is not a name",
                         "A user has 1 to 64 bytes of UTF-8 without control characters.");
    in.fd = STDIN_FILENO;
    status = link_open(&c.link, COMMAND, &o, &callbacks, &c);
    if (status == CLI_EXIT_DONE) {
        printf("-- talking to %s; \u2713 on the gateway's disk, \u2713\u2713 delivered, control-D "
               "ends\n",
               c.to);
        (void)fflush(stdout);
        status = run(&c, &in);
    }
    link_close(&c.link);
    return status;
}
