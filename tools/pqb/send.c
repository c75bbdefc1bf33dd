// pqb send: one message, or one a line of standard input, and wait for what became of them.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include "common/wire/frame.h"
#include "tools/pqb/pqb.h"

#define COMMAND    "pqb send"
#define WATCH_MAX  65536 // lines whose delivery is waited for at once; reading pauses at that
#define BURST      16    // lines queued in one turn
#define TIMEOUT_NS (30 * PQB_NS_PER_SEC)

struct send {
    struct link link;
    const char *to;
    bool wants_delivered;
    uint64_t first_id; // of this run; 0: nothing was queued yet
    uint64_t queued;   // by this run
    uint64_t done;     // of these, what is waited for has happened
    uint64_t failed;   // and of these, went wrong
    uint8_t *is_done;  // by id - first_id
    size_t capacity;
    bool is_told_stored;
};

static void on_state(void *ctx, enum pqb_client_state state, enum pqb_client_reason reason)
{
    link_on_state(&((struct send *)ctx)->link, state, reason);
}

static void tell_uncertain(const char *which)
{
    fprintf(stderr,
            "%s: %s is uncertain: this state or the gateway's is an older copy; it may or may not "
            "arrive\n",
            COMMAND, which);
}

// Nobody waits for it any more, but its end must not pass in silence.
static void on_earlier(enum pqb_client_receipt receipt, unsigned refusal)
{
    if (receipt == PQB_RECEIPT_REFUSED)
        fprintf(stderr, "%s: a message of an earlier run was refused: %s\n", COMMAND,
                pqb_client_refusal_name(refusal));
    else if (receipt == PQB_RECEIPT_UNCERTAIN)
        tell_uncertain("a message of an earlier run");
}

static void on_receipt(void *ctx, uint64_t id, enum pqb_client_receipt receipt, unsigned refusal)
{
    struct send *s = ctx;
    const uint64_t index = id - s->first_id;
    const bool is_bad = receipt > PQB_RECEIPT_READ;
    char which[32];

    if (s->first_id == 0 || id < s->first_id || index >= s->queued) {
        on_earlier(receipt, refusal);
        return;
    }
    if (s->is_done[index])
        return; // told before
    if (!is_bad && s->wants_delivered && receipt < PQB_RECEIPT_DELIVERED) {
        if (receipt == PQB_RECEIPT_STORED && !s->is_told_stored)
            fprintf(stderr, "%s: %s is away; stored, waiting\n", COMMAND, s->to);
        s->is_told_stored |= receipt == PQB_RECEIPT_STORED;
        return;
    }
    s->is_done[index] = 1;
    s->done++;
    s->failed += is_bad;
    if (receipt == PQB_RECEIPT_REFUSED) {
        tell_refusal(COMMAND, index + 1, refusal);
    } else if (is_bad) {
        (void)snprintf(which, sizeof(which), "message %" PRIu64, index + 1);
        tell_uncertain(which);
    }
}

// What waits for this device is for `pqb listen` or `pqb chat`: nothing here shows it to anybody.
static int on_message(void *ctx, const struct pqb_client_message *m, uint64_t cursor)
{
    (void)ctx;
    (void)m;
    (void)cursor;
    return 1;
}

static void on_gap(void *ctx, uint64_t from, uint64_t to, unsigned gap)
{
    (void)ctx;
    tell_gap(COMMAND, from, to, gap);
}

// Room to note one more message.
static bool reserve(struct send *s)
{
    const size_t wanted = s->capacity == 0 ? 64 : s->capacity * 2;
    uint8_t *more;

    if (s->queued < s->capacity)
        return true;
    more = realloc(s->is_done, wanted);
    if (more == NULL)
        return false;
    memset(more + s->capacity, 0, wanted - s->capacity);
    s->is_done = more;
    s->capacity = wanted;
    return true;
}

// PQB_CLIENT_ERR_FULL: not yet. Other errors have been told.
static int queue(struct send *s, const char *text, size_t len)
{
    uint64_t id;
    int err;

    if (s->wants_delivered && s->queued - s->done >= WATCH_MAX)
        return PQB_CLIENT_ERR_FULL;
    err =
        reserve(s) ? pqb_client_send(s->link.c, s->to, 0, text, len, 0, &id) : PQB_CLIENT_ERR_NOMEM;
    if (err == PQB_CLIENT_OK) {
        if (s->first_id == 0)
            s->first_id = id;
        s->queued++;
    } else if (err != PQB_CLIENT_ERR_FULL) {
        fprintf(stderr, "%s: message %" PRIu64 " can't be queued: %s\n", COMMAND, s->queued + 1,
                pqb_client_err_name(err));
    }
    return err;
}

static int finish(const struct send *s, int status)
{
    struct pqb_client_stats stats;
    const uint64_t open = s->queued - s->done;

    pqb_client_get_stats(s->link.c, &stats);
    if (stats.queue_count > 0)
        fprintf(stderr, "%s: %u not accepted yet: queued, the next run of this device sends them\n",
                COMMAND, stats.queue_count);
    if (open > stats.queue_count)
        fprintf(stderr, "%s: %" PRIu64 " accepted, but not delivered yet\n", COMMAND,
                open - stats.queue_count);
    if (status == CLI_EXIT_DONE && (s->failed > 0 || open > 0))
        return CLI_EXIT_FINDING;
    return status;
}

// Sends `text`, or the lines of standard input while it is NULL.
static int run(struct send *s, const char *text, struct lines *in)
{
    const char *line = text;
    size_t len = text != NULL ? strlen(text) : 0;
    bool has_line = text != NULL, is_readable;
    int status = CLI_EXIT_DONE;

    while (!link_is_interrupted()) {
        enum line_verdict verdict = LINE_READY;

        // Each is made durable as it is queued, so only a few before the socket is looked at again.
        for (int err = PQB_CLIENT_OK, n = 0; err == PQB_CLIENT_OK && n < BURST; n++) {
            if (!has_line && text == NULL)
                verdict = lines_next(in, &line, &len);
            else if (!has_line)
                verdict = LINE_NONE;
            if (verdict == LINE_TOO_LONG || (verdict == LINE_READY && len > PQB_CLIENT_BODY_MAX))
                return finish(s, cli_wrong(COMMAND, "a line is longer than 65536 bytes", NULL));
            if (verdict == LINE_NONE)
                break;
            err = queue(s, line, len);
            has_line = err != PQB_CLIENT_OK;
            if (err != PQB_CLIENT_OK && err != PQB_CLIENT_ERR_FULL)
                return finish(s, CLI_EXIT_FINDING);
        }
        const bool is_all_read = text != NULL || (in->is_over && verdict == LINE_NONE);
        if (is_all_read && !has_line && s->done == s->queued)
            return finish(s, status);
        s->link.is_hasty = verdict == LINE_READY && !has_line;
        // While lines are left over there is no need, and perhaps no room, to read more.
        const int fd = is_all_read || has_line || s->link.is_hasty ? -1 : in->fd;
        if (!link_run(&s->link, fd, &is_readable, &status))
            return finish(s, status);
        if (is_readable)
            lines_read(in);
    }
    return finish(s, CLI_EXIT_FINDING);
}

int pqb_send(int argc, char **argv)
{
    static struct lines in;
    struct send s = {0};
    struct link_options o = {.timeout = TIMEOUT_NS};
    const char *wait = "accepted", *text = NULL;
    const struct cli_option options[] = {
        LINK_OPTIONS(&o),
        {.name = "to",
         .type = CLI_TEXT,
         .out = &s.to,
         .value = "USER",
         .help = "the recipient",
         .is_required = true},
        {.name = "wait",
         .type = CLI_TEXT,
         .out = &wait,
         .value = "WHAT",
         .help = "accepted: on the gateway's disk (default); delivered: the recipient has it"},
        {.name = "timeout",
         .type = CLI_SECONDS,
         .out = &o.timeout,
         .value = "S",
         .help = "give up after so many seconds (default 30; 0: never)"},
    };
    const struct cli_command command = {
        .name = COMMAND,
        .usage = "--server HOST:PORT --user USER --device DEVICE --to USER [--option VALUE]... "
                 "[TEXT]",
        .about = "Sends TEXT, or each line of standard input, and waits until all are accepted. "
                 "What could not\nbe sent stays queued in the state directory and is sent by the "
                 "next run of this device.\nExit status: 0 all are; 1 refused or out of time; 2 "
                 "wrong use.",
        .options = options,
        .option_count = PQB_ARRAY_LEN(options),
        .args_max = 1,
    };
    const struct pqb_client_callbacks callbacks = {
        .on_state = on_state, .on_receipt = on_receipt, .on_message = on_message, .on_gap = on_gap};
    size_t arg_count;
    int status;

    status = cli_parse(&command, argc, argv, &text, &arg_count);
    if (status != CLI_GO)
        return status;
    s.wants_delivered = strcmp(wait, "delivered") == 0;
    if (!s.wants_delivered && strcmp(wait, "accepted") != 0)
        return cli_wrong(COMMAND, "--wait is accepted or delivered", NULL);
    if (!pqb_name_is_valid(s.to, strlen(s.to), PQB_USER_MAX))
        return cli_wrong(COMMAND, "--to is not a name",
                         "A user has 1 to 64 bytes of UTF-8 without control characters.");
    if (text != NULL && strlen(text) > PQB_CLIENT_BODY_MAX)
        return cli_wrong(COMMAND, "TEXT is longer than 65536 bytes", NULL);
    in.fd = STDIN_FILENO;
    o.watch_max = s.wants_delivered ? WATCH_MAX : 0;
    status = link_open(&s.link, COMMAND, &o, &callbacks, &s);
    if (status == CLI_EXIT_DONE)
        status = run(&s, text, &in);
    link_close(&s.link);
    free(s.is_done);
    return status;
}
