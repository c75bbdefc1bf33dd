#include "tests/integration/app_key.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"

bool app_key_use(struct pqb_client_config *config, const char *folder)
{
    static uint8_t server[PQB_CLIENT_KEY_LEN], device[PQB_CLIENT_KEY_LEN];
    const char *hex = getenv("PQB_SERVER_KEY");
    int err;

    if (hex == NULL)
        return true;
    err = folder != NULL ? pqb_client_device_key_load(folder, device)
                         : pqb_client_udp_random(device, sizeof(device));
    config->server_key = server;
    config->device_key = device;
    return err == PQB_CLIENT_OK && pqb_hex_decode(hex, strlen(hex), server, sizeof(server)) == 0;
}
