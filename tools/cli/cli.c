#include "tools/cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

static bool parse_number(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && text[0] != '-';
}

static bool parse_real(const char *text, double *out)
{
    char *end;

    errno = 0;
    *out = strtod(text, &end);
    return errno == 0 && end != text && *end == '\0' && *out >= 0 && *out < 1e12;
}

static bool parse_duration(const char *text, pqb_duration unit_ns, void *out)
{
    double value;

    if (!parse_real(text, &value) || value * (double)unit_ns > 9e18)
        return false;
    *(pqb_duration *)out = (pqb_duration)(value * (double)unit_ns);
    return true;
}

static const char *store_number(const struct cli_option *o, const char *text)
{
    uint64_t value;

    if (!parse_number(text, &value))
        return "needs a whole number";
    if (value < o->min || (o->max > 0 && value > o->max))
        return "is out of range";
    *(uint64_t *)o->out = value;
    return NULL;
}

static const char *store_fraction(const struct cli_option *o, const char *text)
{
    double value;

    if (!parse_real(text, &value) || value > 1.0)
        return "needs a fraction from 0 to 1";
    *(double *)o->out = value;
    return NULL;
}

// Stores the value of one option. Returns what is wrong with it, or NULL.
static const char *store_value(const struct cli_option *o, const char *text)
{
    switch (o->type) {
    case CLI_FLAG:
        *(bool *)o->out = true;
        return NULL;
    case CLI_TEXT:
        *(const char **)o->out = text;
        return NULL;
    case CLI_NUMBER:
        return store_number(o, text);
    case CLI_FRACTION:
        return store_fraction(o, text);
    case CLI_SECONDS:
        return parse_duration(text, PQB_NS_PER_SEC, o->out) ? NULL : "needs a number of seconds";
    case CLI_MILLIS:
        return parse_duration(text, PQB_NS_PER_MS, o->out) ? NULL
                                                           : "needs a number of milliseconds";
    case CLI_ADDR:
        return cli_resolve(text, o->out) ? NULL : "needs HOST:PORT that can be resolved";
    }
    return "has no type";
}

static const struct cli_option *find_option(const struct cli_command *c, const char *name,
                                            size_t len)
{
    for (size_t i = 0; i < c->option_count; i++) {
        if (strlen(c->options[i].name) == len && strncmp(c->options[i].name, name, len) == 0)
            return &c->options[i];
    }
    return NULL;
}

int cli_wrong(const char *command, const char *what, const char *hint)
{
    fprintf(stderr, "%s: %s\n", command, what);
    if (hint != NULL)
        fprintf(stderr, "%s\n", hint);
    return CLI_EXIT_USAGE;
}

static int complain(const struct cli_command *c, const char *option, const char *what)
{
    char line[256], hint[128];

    (void)snprintf(line, sizeof(line), "%s %s", option, what);
    (void)snprintf(hint, sizeof(hint), "Try '%s --help'.", c->name);
    return cli_wrong(c->name, line, hint);
}

// Handles the option at argv[*at]; moves *at over its value.
static int take_option(const struct cli_command *c, int argc, char **argv, int *at, uint64_t *seen)
{
    const char *text = argv[*at];
    const char *name = text + 2;
    const char *equals = strchr(name, '=');
    size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct cli_option *o = find_option(c, name, len);
    const char *value = equals != NULL ? equals + 1 : NULL;
    const char *problem;

    if (o == NULL)
        return complain(c, text, "is not an option");
    if (o->type == CLI_FLAG && value != NULL)
        return complain(c, text, "takes no value");
    if (o->type != CLI_FLAG && value == NULL) {
        if (*at + 1 >= argc)
            return complain(c, text, "needs a value");
        value = argv[++*at];
    }
    problem = store_value(o, value);
    if (problem != NULL)
        return complain(c, text, problem);
    *seen |= UINT64_C(1) << (o - c->options);
    return CLI_GO;
}

int cli_parse(const struct cli_command *command, int argc, char **argv, const char **args,
              size_t *arg_count)
{
    uint64_t seen = 0;
    bool is_all_args = false;

    *arg_count = 0;
    for (int i = 1; i < argc; i++) {
        if (!is_all_args && strcmp(argv[i], "--help") == 0) {
            cli_print_help(command);
            return CLI_EXIT_DONE;
        }
        if (!is_all_args && strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", command->name, PQB_VERSION);
            return CLI_EXIT_DONE;
        }
        if (!is_all_args && strcmp(argv[i], "--") == 0) {
            is_all_args = true;
        } else if (!is_all_args && strncmp(argv[i], "--", 2) == 0) {
            const int status = take_option(command, argc, argv, &i, &seen);

            if (status != CLI_GO)
                return status;
        } else {
            if (*arg_count == command->args_max)
                return complain(command, argv[i], "is one argument too many");
            args[(*arg_count)++] = argv[i];
        }
    }
    for (size_t i = 0; i < command->option_count; i++) {
        if (command->options[i].is_required && (seen & (UINT64_C(1) << i)) == 0) {
            char name[64];

            (void)snprintf(name, sizeof(name), "--%s", command->options[i].name);
            return complain(command, name, "is required");
        }
    }
    return CLI_GO;
}

void cli_print_help(const struct cli_command *command)
{
    printf("Usage: %s %s\n\n%s\n\nOptions:\n", command->name, command->usage, command->about);
    for (size_t i = 0; i < command->option_count; i++) {
        const struct cli_option *o = &command->options[i];
        char left[64];

        (void)snprintf(left, sizeof(left), "--%s %s", o->name, o->value != NULL ? o->value : "");
        printf("  %-22s %s\n", left, o->help);
    }
    printf("  %-22s %s\n  %-22s %s\n", "--help", "show this", "--version", "show the version");
}

bool cli_resolve(const char *text, struct pqb_addr *out)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
    const char *colon = strrchr(text, ':');
    struct addrinfo *found;
    char host[256];
    bool is_ok = false;

    if (pqb_addr_parse(text, out))
        return true;
    if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof(host))
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return false;
    *out = (struct pqb_addr){0};
    if (found->ai_family == AF_INET) {
        struct sockaddr_in sin;

        memcpy(&sin, found->ai_addr, sizeof(sin));
        memcpy(out->ip, &sin.sin_addr, 4);
        out->family = 4;
        out->port = ntohs(sin.sin_port);
        is_ok = true;
    } else if (found->ai_family == AF_INET6) {
        struct sockaddr_in6 sin6;

        memcpy(&sin6, found->ai_addr, sizeof(sin6));
        memcpy(out->ip, &sin6.sin6_addr, 16);
        out->family = 6;
        out->port = ntohs(sin6.sin6_port);
        is_ok = true;
    }
    freeaddrinfo(found);
    return is_ok;
}

pqb_tstamp cli_now(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (pqb_tstamp)ts.tv_sec * PQB_NS_PER_SEC + (pqb_tstamp)ts.tv_nsec;
}
