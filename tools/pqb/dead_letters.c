// pqb dead-letters: shows the messages that a program did not survive and that were put aside in
// its state directory. Needs no gateway; the program may be running.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/pqb/pqb.h"

#define COMMAND "pqb dead-letters"

struct show {
    struct pqb_json json;
    bool is_json;
};

static void print_json(struct pqb_json *j, const struct pqb_client_dead_letter *l)
{
    const char *text;

    pqb_json_clear(j);
    pqb_json_object_begin(j, NULL);
    pqb_json_uint(j, "iseq", l->iseq);
    pqb_json_uint(j, "attempts", l->attempts);
    pqb_json_string(j, "from", l->from);
    pqb_json_string(j, "device", l->device);
    pqb_json_uint(j, "kind", l->kind);
    pqb_json_uint(j, "time", l->time_ms);
    pqb_json_uint(j, "size", l->len);
    json_body(j, l->body, l->len);
    pqb_json_object_end(j);
    text = pqb_json_text(j);
    if (text != NULL)
        (void)puts(text);
}

static bool show(void *arg, const struct pqb_client_dead_letter *l)
{
    struct show *s = arg;

    if (s->is_json) {
        print_json(&s->json, l);
    } else {
        printf("%" PRIu64 "\t%" PRIu32 "\t", l->iseq, l->attempts);
        print_escaped(l->from, strlen(l->from));
        (void)fputc('\t', stdout);
        print_escaped((const char *)l->body, l->len);
        (void)fputc('\n', stdout);
    }
    return ferror(stdout) == 0;
}

static int tell(int err, const char *path)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "%s: can't write to standard output: %s\n", COMMAND, strerror(errno));
        return CLI_EXIT_FINDING;
    }
    if (err == 0)
        return CLI_EXIT_DONE;
    if (err == PQB_CLIENT_ERR_CORRUPT)
        fprintf(stderr,
                "%s: some letters in %s/dead are damaged\nDelete those that are not shown.\n",
                COMMAND, path);
    else
        fprintf(stderr, "%s: can't read %s: %s\nCheck --state, or --user and --device.\n", COMMAND,
                path, pqb_client_err_name(err));
    return CLI_EXIT_FINDING;
}

int pqb_dead_letters(int argc, char **argv)
{
    struct show s = {0};
    const char *state = NULL, *user = NULL, *device = NULL;
    const struct cli_option options[] = {
        LINK_STATE_OPTIONS(&state, &user, &device),
        {.name = "json",
         .type = CLI_FLAG,
         .out = &s.is_json,
         .help = "an object a line: iseq attempts from device kind time size body (body_b64)"},
    };
    const struct cli_command command = {
        .name = COMMAND,
        .usage = "--state DIR | --user USER --device DEVICE [--json]",
        .about =
            "Prints each message that was put aside because runs of a program died over it, as\n"
            "ISEQ<TAB>DEATHS<TAB>FROM<TAB>TEXT, control characters escaped. Each is a file in "
            "DIR/dead,\n"
            "named by its iseq in hexadecimal digits; delete it when it is dealt with.\n"
            "Exit status: 0 done, also when there are none; 1 they can't be read; 2 wrong use.",
        .options = options,
        .option_count = PQB_ARRAY_LEN(options),
    };
    char path[LINK_PATH_MAX];
    size_t arg_count;
    int status;

    status = cli_parse(&command, argc, argv, NULL, &arg_count);
    if (status != CLI_GO)
        return status;
    status = link_state_path(COMMAND, state, user, device, path);
    if (status != CLI_EXIT_DONE)
        return status;
    pqb_json_init(&s.json, JSON_LINE_MAX);
    status = tell(pqb_client_dead_letters_read(path, show, &s), path);
    pqb_json_fini(&s.json);
    return status;
}
