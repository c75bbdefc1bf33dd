// Command lines of the tools: one table of `--long-name VALUE` options per command gives parsing,
// range checks and --help. Start-up code of single-threaded programs: errors are told to stderr.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/addr.h"
#include "common/base/time.h"

// Exit statuses of every program.
enum cli_exit {
    CLI_GO = -1, // none yet: run the command
    CLI_EXIT_DONE = 0,
    CLI_EXIT_FINDING = 1, // a finding, a refusal, a timeout, an unreachable gateway
    CLI_EXIT_USAGE = 2,   // wrong use; the message says what to do
};

enum cli_type {
    CLI_FLAG,     // bool, takes no value
    CLI_TEXT,     // const char *
    CLI_NUMBER,   // uint64_t, min..max
    CLI_FRACTION, // double, 0..1
    CLI_SECONDS,  // pqb_duration; "1.5" = 1.5 s
    CLI_MILLIS,   // pqb_duration; "40" = 40 ms
    CLI_ADDR,     // struct pqb_addr; numeric, or a host name with a port
};

struct cli_option {
    const char *name; // without the dashes
    enum cli_type type;
    void *out;         // where the value goes; keeps its default when the option is absent
    const char *value; // what --help calls the value
    const char *help;
    uint64_t min, max; // CLI_NUMBER; max 0: no upper limit
    bool is_required;
};

struct cli_command {
    const char *name;  // "pqbsim load"
    const char *usage; // what follows the name on the usage line
    const char *about; // one paragraph
    const struct cli_option *options;
    size_t option_count;
    size_t args_max; // positional arguments allowed
};

// Parses argv[1..]; positional arguments are moved to args (at most args_max) and counted. CLI_GO,
// or the exit status when the program is through: help was shown, or what is wrong told on stderr.
int cli_parse(const struct cli_command *command, int argc, char **argv, const char **args,
              size_t *arg_count);

void cli_print_help(const struct cli_command *command);

// "pqbsim load: what went wrong", the hint on a line of its own. Returns CLI_EXIT_USAGE.
int cli_wrong(const char *command, const char *what, const char *hint);

// Numeric or by name; `text` is host:port. false when it can't be resolved.
bool cli_resolve(const char *text, struct pqb_addr *out);

pqb_tstamp cli_now(void); // monotonic clock
