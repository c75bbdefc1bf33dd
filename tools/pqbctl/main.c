// pqbctl: look into a gateway and steer it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/pqbctl/pqbctl.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"stats", ctl_stats, "the counters; works on a hung or dead gateway too"},
    {"top", ctl_top, "the telling counters, live"},
    {"status", ctl_status, "whether the gateway answers, and how it is"},
    {"sessions", ctl_sessions, "who is logged in"},
    {"user", ctl_user, "a user's inbox and devices"},
    {"inbox", ctl_inbox, "the messages that wait for a user"},
    {"kick", ctl_kick, "end the sessions of a user or a device"},
    {"drain", ctl_drain, "end all sessions and stop the gateway"},
    {"reload", ctl_reload, "read configuration, tokens, issuers and revocations again"},
    {"checkpoint", ctl_checkpoint, "begin a checkpoint now"},
    {"confirm-clock", ctl_confirm_clock, "say that the machine's clock is right after all"},
    {"backup", ctl_backup, "copy the running store into a new directory"},
    {"server-key", ctl_server_key, "print the gateway's public key, which clients pin"},
    {"verify", ctl_verify, "check a stopped data directory or a backup"},
    {"keygen", ctl_keygen, "make an issuer's key"},
    {"token", ctl_token, "sign a token for a device, or show what one says"},
};

#define WORDS_MAX 64

static void print_help(void)
{
    printf("Usage: pqbctl [--data DIR] [--control PATH] [--stats PATH] COMMAND ...\n\n"
           "Looks into a Paquebot gateway and steers it.\n\nCommands:\n");
    for (size_t i = 0; i < PQB_ARRAY_LEN(commands); i++)
        printf("  %-13s %s\n", commands[i].name, commands[i].help);
    printf("\nDIR defaults to $PQB_DATA, then /var/lib/paquebot.\n"
           "'pqbctl COMMAND --help' lists a command's options. Exit status: 0 done, 1 a finding,\n"
           "a refusal or no gateway, 2 wrong use.\n");
}

static bool takes_value(const char *word)
{
    return strcmp(word, "--data") == 0 || strcmp(word, "--control") == 0 ||
           strcmp(word, "--stats") == 0;
}

// Index of the command's name: the first word that is neither an option nor an option's value.
static int find_command(int argc, char **argv)
{
    int at = 1;

    while (at < argc && strncmp(argv[at], "--", 2) == 0)
        at += takes_value(argv[at]) ? 2 : 1;
    return at;
}

int main(int argc, char **argv)
{
    char *words[WORDS_MAX + 1] = {NULL};
    int at;

    if (argc > WORDS_MAX)
        return cli_wrong("pqbctl", "too many words", NULL);
    if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
        print_help();
        return CLI_EXIT_DONE;
    }
    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        printf("pqbctl %s\n", PQB_VERSION);
        return CLI_EXIT_DONE;
    }
    at = find_command(argc, argv);
    for (size_t i = 0; at < argc && i < PQB_ARRAY_LEN(commands); i++) {
        if (strcmp(argv[at], commands[i].name) != 0)
            continue;
        // Options before the command become options of the command.
        words[0] = argv[at];
        memcpy(words + 1, argv + 1, (size_t)(at - 1) * sizeof(*words));
        memcpy(words + at, argv + at + 1, (size_t)(argc - at - 1) * sizeof(*words));
        return commands[i].run(argc - 1, words);
    }
    return cli_wrong("pqbctl", at >= argc ? "a command is needed" : "no such command",
                     "Try 'pqbctl --help'.");
}
