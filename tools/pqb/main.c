// pqb: a client for people and scripts.
#include <stdio.h>
#include <string.h>

#include "tools/pqb/pqb.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"send", pqb_send, "send one message, or one a line of standard input"},
    {"listen", pqb_listen, "print the messages that come"},
    {"chat", pqb_chat, "talk to somebody on a terminal"},
    {"device-key", pqb_device_key, "print a device's public key, to have a token made for it"},
    {"dead-letters", pqb_dead_letters, "show the messages that were put aside"},
};

static void print_help(void)
{
    printf("Usage: pqb COMMAND [--option VALUE]...\n\n"
           "A client of a Paquebot gateway.\n\nCommands:\n");
    for (size_t i = 0; i < PQB_ARRAY_LEN(commands); i++)
        printf("  %-12s %s\n", commands[i].name, commands[i].help);
    printf("\n'pqb COMMAND --help' lists a command's options.\n\n"
           "Exit status: 0 done; 1 refused, out of time or no gateway; 2 wrong use.\n");
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
        print_help();
        return CLI_EXIT_DONE;
    }
    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        printf("pqb %s\n", PQB_VERSION);
        return CLI_EXIT_DONE;
    }
    for (size_t i = 0; argc >= 2 && i < PQB_ARRAY_LEN(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    return cli_wrong("pqb", argc < 2 ? "a command is needed" : "no such command",
                     "Try 'pqb --help'.");
}
