// The commands that ask a running gateway.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include "tools/pqbctl/ask.h"

#define TIMEOUT_NS        (10 * PQB_NS_PER_SEC)
#define TIMEOUT_BACKUP_NS (3600 * PQB_NS_PER_SEC)
#define TIMEOUT_DRAIN_NS  (320 * PQB_NS_PER_SEC) // above the largest drain-timeout
#define LIMIT_DEFAULT     1000

struct steering {
    const char *verb;
    const char *usage, *about;
    size_t args_min, args_max;
    bool has_limit;
    bool waits_for_end;
    bool is_path; // the argument is a path: made absolute
    pqb_duration timeout;
};

static bool make_absolute(const char *path, char out[CTL_PATH_MAX])
{
    char here[CTL_PATH_MAX] = "";

    if (path[0] != '/' && getcwd(here, sizeof(here)) == NULL)
        return false;
    return snprintf(out, CTL_PATH_MAX, "%s%s%s", here, here[0] != '\0' ? "/" : "", path) <
           CTL_PATH_MAX;
}

static int steer(const struct steering *s, int argc, char **argv)
{
    struct ctl_place place;
    bool is_json = false;
    uint64_t limit = LIMIT_DEFAULT;
    const char *args[2];
    size_t arg_count = 0;
    int status;
    char name[32], limit_text[24], path[CTL_PATH_MAX];
    const struct cli_option options[] = {
        {.name = "json", .type = CLI_FLAG, .out = &is_json, .help = "the answer as JSON"},
        CTL_PLACE_OPTIONS(place),
        {.name = "limit",
         .type = CLI_NUMBER,
         .out = &limit,
         .value = "N",
         .max = 10000,
         .help = "list at most N [1000]"},
    };
    const struct cli_command command = {
        .name = name,
        .usage = s->usage,
        .about = s->about,
        .options = options,
        .option_count = PQB_ARRAY_LEN(options) - (s->has_limit ? 0 : 1),
        .args_max = s->args_max,
    };
    struct ctl_question question = {
        .words = {s->verb}, .timeout = s->timeout, .waits_for_end = s->waits_for_end};

    (void)snprintf(name, sizeof(name), "pqbctl %s", s->verb);
    ctl_place_init(&place);
    status = cli_parse(&command, argc, argv, args, &arg_count);
    if (status != CLI_GO)
        return status;
    if (arg_count < s->args_min)
        return cli_wrong(name, "an argument is missing", s->usage);
    for (size_t i = 0; i < arg_count; i++) {
        if (args[i][0] == '\0')
            return cli_wrong(name, "an argument is empty", s->usage);
        question.words[1 + i] = args[i];
    }
    if (s->is_path) {
        if (!make_absolute(args[0], path))
            return cli_wrong(name, "the path is too long", s->usage);
        question.words[1] = path;
    }
    if (s->has_limit) {
        (void)snprintf(limit_text, sizeof(limit_text), "%llu", (unsigned long long)limit);
        question.words[1 + arg_count] = limit_text;
    }
    question.is_json = is_json;
    return ctl_ask(&place, &question);
}

int ctl_status(int argc, char **argv)
{
    static const struct steering s = {
        .verb = "status",
        .usage = "[--json]",
        .about = "Asks the gateway how it is; answers only if every shard does.",
        .timeout = TIMEOUT_NS,
    };

    return steer(&s, argc, argv);
}

int ctl_sessions(int argc, char **argv)
{
    static const struct steering s = {
        .verb = "sessions",
        .usage = "[--limit N] [--json]",
        .about = "Lists who is logged in.",
        .has_limit = true,
        .timeout = TIMEOUT_NS,
    };

    return steer(&s, argc, argv);
}

int ctl_user(int argc, char **argv)
{
    static const struct steering s = {
        .verb = "user",
        .usage = "NAME [--json]",
        .about = "Shows a user's inbox and devices.",
        .args_min = 1,
        .args_max = 1,
        .timeout = TIMEOUT_NS,
    };

    return steer(&s, argc, argv);
}

int ctl_inbox(int argc, char **argv)
{
    static const struct steering s = {
        .verb = "inbox",
        .usage = "NAME [--limit N] [--json]",
        .about = "Lists the messages that wait in a user's inbox, without what they say.",
        .args_min = 1,
        .args_max = 1,
        .has_limit = true,
        .timeout = TIMEOUT_NS,
    };

    return steer(&s, argc, argv);
}

int ctl_kick(int argc, char **argv)
{
    static const struct steering s = {
        .verb = "kick",
        .usage = "USER [DEVICE] [--json]",
        .about = "Ends the sessions of a user, or of one device. They may log in again.",
        .args_min = 1,
        .args_max = 2,
        .timeout = TIMEOUT_NS,
    };

    return steer(&s, argc, argv);
}

int ctl_drain(int argc, char **argv)
{
    static const struct steering s = {
        .verb = "drain",
        .usage = "[--json]",
        .about = "Ends every session in order, stops the gateway and waits until it has gone.",
        .waits_for_end = true,
        .timeout = TIMEOUT_DRAIN_NS,
    };

    return steer(&s, argc, argv);
}

int ctl_reload(int argc, char **argv)
{
    static const struct steering s = {
        .verb = "reload",
        .usage = "[--json]",
        .about = "Has the gateway read its configuration and the files it names (tokens, issuers,\n"
                 "revocations) again; tells what changed. Who is no longer let in is kicked.",
        .timeout = TIMEOUT_NS,
    };

    return steer(&s, argc, argv);
}

int ctl_checkpoint(int argc, char **argv)
{
    static const struct steering s = {
        .verb = "checkpoint",
        .usage = "[--json]",
        .about = "Begins a checkpoint now.",
        .timeout = TIMEOUT_NS,
    };

    return steer(&s, argc, argv);
}

int ctl_confirm_clock(int argc, char **argv)
{
    static const struct steering s = {
        .verb = "confirm-clock",
        .usage = "[--json]",
        .about =
            "Says that the machine's clock is right, when the gateway doubts it because it stood\n"
            "more than a day ahead at start (store.clock_doubted). Messages and devices that are\n"
            "too old by that clock then expire.",
        .timeout = TIMEOUT_NS,
    };

    return steer(&s, argc, argv);
}

// The gateway makes the copy, so it needs a path that does not depend on where pqbctl stands.
int ctl_backup(int argc, char **argv)
{
    static const struct steering s = {
        .verb = "backup",
        .usage = "DIR [--json]",
        .about =
            "Copies the running store into the new directory DIR. A gateway started on the copy\n"
            "knows nothing of what came later; it counts positions anew, so that no client\n"
            "takes a new message for one it has had.",
        .args_min = 1,
        .args_max = 1,
        .is_path = true,
        .timeout = TIMEOUT_BACKUP_NS,
    };

    return steer(&s, argc, argv);
}
