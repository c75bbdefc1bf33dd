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
        LINK_STATE_OPTIONS(&state, &user, &device),
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

    status = cli_parse(&command, argc, argv, NULL, &arg_count);
    if (status != CLI_GO)
        return status;
    status = link_state_path(COMMAND, state, user, device, path);
    return status == CLI_EXIT_DONE ? tell(path) : status;
}
