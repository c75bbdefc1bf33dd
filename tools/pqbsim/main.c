// pqbsim: load, a bad network, and attacks, for a gateway.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/hex.h"
#include "tools/pqbsim/pqbsim.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"load", pqbsim_load, "thousands of clients with exact accounting of every message"},
    {"link", pqbsim_link, "a lossy UDP link to put in front of a gateway"},
    {"inject", pqbsim_inject, "attacks on a gateway, judged against its limits"},
};

static void print_help(void)
{
    printf("Usage: pqbsim COMMAND [--option VALUE]...\n\n"
           "Drives a Paquebot gateway with clients, bad networks and attacks.\n\nCommands:\n");
    for (size_t i = 0; i < PQB_ARRAY_LEN(commands); i++)
        printf("  %-8s %s\n", commands[i].name, commands[i].help);
    printf("\n'pqbsim COMMAND --help' lists a command's options.\n"
           "Exit status: 0 done; 1 a promise was broken or no gateway; 2 wrong use.\n");
}

int pqbsim_server_key(const char *command, const char *hex, uint8_t key[PQB_KEY_LEN],
                      const uint8_t **out)
{
    if (hex == NULL)
        hex = getenv("PQB_SERVER_KEY");
    *out = NULL;
    if (hex == NULL || *hex == '\0')
        return CLI_EXIT_DONE;
    if (pqb_hex_decode(hex, strlen(hex), key, PQB_KEY_LEN) != PQB_OK)
        return cli_wrong(command, "--server-key is not 64 hexadecimal digits",
                         "'pqbctl server-key' prints the gateway's.");
    *out = key;
    return CLI_EXIT_DONE;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
        print_help();
        return CLI_EXIT_DONE;
    }
    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        printf("pqbsim %s\n", PQB_VERSION);
        return CLI_EXIT_DONE;
    }
    for (size_t i = 0; argc >= 2 && i < PQB_ARRAY_LEN(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    return cli_wrong("pqbsim", argc < 2 ? "a command is needed" : "no such command",
                     "Try 'pqbsim --help'.");
}
