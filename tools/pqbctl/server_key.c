// pqbctl server-key: what clients pin, from the gateway's data directory.
#include <stdio.h>
#include <time.h>

#include <sys/random.h>

#include "common/base/err.h"
#include "common/base/hex.h"
#include "common/proto/aead.h"
#include "gateway/io/key_files.h"
#include "tools/pqbctl/pqbctl.h"

#define COMMAND "pqbctl server-key"
#define WAIT_NS (3 * PQB_NS_PER_SEC)

static int fail(const char *what, const char *hint)
{
    (void)cli_wrong(COMMAND, what, hint);
    return CLI_EXIT_FINDING;
}

static int rotate(const char *dir)
{
    struct pqb_secret_rng rng;
    uint8_t seed[PQB_SECRET_SEED_LEN];
    char error[PQB_KEY_FILES_ERROR_MAX];
    int err;

    if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        return fail("the system gives no random bytes", NULL);
    pqb_secret_rng_init(&rng, seed);
    pqb_secret_erase(seed, sizeof(seed));
    err = pqb_key_files_rotate_server(dir, &rng, error);
    pqb_secret_rng_fini(&rng);
    return err == PQB_OK ? CLI_EXIT_DONE : fail(error, NULL);
}

static int tell(const char *dir, bool is_all)
{
    const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
    const pqb_tstamp end = cli_now() + WAIT_NS;
    uint8_t keys[PQB_SERVER_KEYS_MAX][PQB_KEY_LEN];
    char error[PQB_KEY_FILES_ERROR_MAX], text[2 * PQB_KEY_LEN + 1];
    size_t count;
    int err;

    // A gateway that was started a moment ago is about to make it.
    while ((err = pqb_key_files_public(dir, keys, &count, error)) == PQB_ERR_NOT_FOUND &&
           cli_now() < end)
        (void)nanosleep(&pause, NULL);
    if (err != PQB_OK)
        return fail(error, "Name the data directory by --data or PQB_DATA; only its owner and root "
                           "can read the key.");
    for (size_t i = 0; i < (is_all ? count : 1); i++) {
        pqb_hex_encode(keys[i], PQB_KEY_LEN, text);
        printf("%s\n", text);
    }
    return CLI_EXIT_DONE;
}

int ctl_server_key(int argc, char **argv)
{
    struct ctl_place place;
    bool is_all = false, is_rotating = false;
    const struct cli_option options[] = {
        CTL_PLACE_OPTIONS(place),
        {.name = "all",
         .type = CLI_FLAG,
         .out = &is_all,
         .help = "the one before, too, which is still answered to"},
        {.name = "rotate",
         .type = CLI_FLAG,
         .out = &is_rotating,
         .help = "make a new key first; 'pqbctl reload' or a restart brings it into use"},
    };
    const struct cli_command command = {
        .name = COMMAND,
        .usage = "[--data DIR] [--all | --rotate]",
        .about =
            "Prints the gateway's public key in hexadecimal digits, as 'pqb --server-key' wants "
            "it. Clients\nbelieve nobody else. A gateway that is just starting is given three "
            "seconds to make its key.\nAfter --rotate the gateway answers to the new key and to "
            "the one before, until the next\n--rotate: time to tell the clients.\n"
            "Exit status: 0 done; 1 there is no key, or it can't be read; 2 wrong use.",
        .options = options,
        .option_count = PQB_ARRAY_LEN(options),
    };
    size_t arg_count;
    int status;

    ctl_place_init(&place);
    status = cli_parse(&command, argc, argv, NULL, &arg_count);
    if (status != CLI_GO)
        return status;
    if (pqb_aead_init() != PQB_OK)
        return fail("the cryptographic library does not start", NULL);
    status = is_rotating ? rotate(place.data) : CLI_EXIT_DONE;
    return status == CLI_EXIT_DONE ? tell(place.data, is_all) : status;
}
