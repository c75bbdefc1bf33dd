// pqb device-key: the public key of a device, for which tokens are issued.
#include <stdio.h>

#include "common/base/hex.h"
#include "common/proto/server_keys.h"
#include "tools/pqb/pqb.h"

#define COMMAND "pqb device-key"

static int tell(const char *path)
{
    uint8_t secret[PQB_CLIENT_KEY_LEN], public[PQB_CLIENT_KEY_LEN];
    char text[2 * PQB_CLIENT_KEY_LEN + 1];
    int status = link_load_device_key(COMMAND, path, secret);

    if (status != CLI_EXIT_DONE)
        return status;
    if (pqb_client_device_public(secret, public) != 0)
        return CLI_EXIT_FINDING;
    pqb_secret_erase(secret, sizeof(secret));
    pqb_hex_encode(public, sizeof(public), text);
    printf("%s\n", text);
    return CLI_EXIT_DONE;
}

int pqb_device_key(int argc, char **argv)
{
    const char *state = NULL, *user = NULL, *device = NULL;
    const struct cli_option options[] = {
        {.name = "state",
         .type = CLI_TEXT,
         .out = &state,
         .value = "DIR",
         .help = "where the device keeps its state"},
        {.name = "user",
         .type = CLI_TEXT,
         .out = &user,
         .value = "USER",
         .help = "or: in $XDG_STATE_HOME/paquebot/USER.DEVICE"},
        {.name = "device",
         .type = CLI_TEXT,
         .out = &device,
         .value = "DEVICE",
         .help = "with --user"},
    };
    const struct cli_command command = {
        .name = COMMAND,
        .usage = "--state DIR | --user USER --device DEVICE",
        .about =
            "Prints the device's public key, in hexadecimal digits. The secret one is made when "
            "it is\nmissing and stays in DIR/device.key. A signed token is issued for the public "
            "one:\n'pqbctl token issue --device-key HEX'.\n"
            "Exit status: 0 done; 1 it can't be read or made; 2 wrong use.",
        .options = options,
        .option_count = PQB_ARRAY_LEN(options),
    };
    char path[LINK_PATH_MAX];
    size_t arg_count;
    int status;

    switch (cli_parse(&command, argc, argv, NULL, &arg_count)) {
    case CLI_SHOWN:
        return CLI_EXIT_DONE;
    case CLI_WRONG:
        return CLI_EXIT_USAGE;
    case CLI_GO:
        break;
    }
    if (state == NULL && (user == NULL || device == NULL))
        return cli_wrong(COMMAND, "whose?",
                         "Name --state DIR, or --user USER and --device DEVICE.");
    status = link_state_path(COMMAND, state, user, device, path);
    return status == CLI_EXIT_DONE ? tell(path) : status;
}
