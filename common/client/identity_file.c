// The device's key and its ticket in a directory, usually that of the file store.
#include <errno.h>
#include <string.h>

#include <fcntl.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/client/paquebot.h"
#include "common/proto/server_keys.h"

#define KEY_FILE    "device.key"
#define TICKET_FILE "ticket"
#define TEXT_LEN    ((size_t)2 * PQB_CLIENT_KEY_LEN)

static int open_folder(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int make_key(int folder, uint8_t secret[PQB_CLIENT_KEY_LEN])
{
    char text[TEXT_LEN + 2];
    int err = pqb_client_udp_random(secret, PQB_CLIENT_KEY_LEN);

    if (err != PQB_OK)
        return err;
    pqb_hex_encode(secret, PQB_CLIENT_KEY_LEN, text);
    text[TEXT_LEN] = '\n';
    err = pqb_file_replace(folder, KEY_FILE, text, TEXT_LEN + 1);
    pqb_secret_erase(text, sizeof(text));
    return err;
}

static int load_key(int folder, uint8_t secret[PQB_CLIENT_KEY_LEN])
{
    char text[TEXT_LEN + 2];
    size_t len;
    int err = pqb_file_read(folder, KEY_FILE, text, sizeof(text), &len);

    if (err == PQB_ERR_NOT_FOUND)
        return make_key(folder, secret);
    if (err == PQB_ERR_TOO_LARGE)
        return PQB_ERR_CORRUPT;
    if (err != PQB_OK)
        return err;
    if (len > 0 && text[len - 1] == '\n')
        len--;
    if (pqb_hex_decode(text, len, secret, PQB_CLIENT_KEY_LEN) != PQB_OK)
        err = PQB_ERR_CORRUPT;
    pqb_secret_erase(text, sizeof(text));
    return err;
}

int pqb_client_device_key_load(const char *path, uint8_t secret[PQB_CLIENT_KEY_LEN])
{
    int err = pqb_dir_make(path);
    int folder;

    if (err != PQB_OK)
        return err;
    folder = open_folder(path);
    if (folder < 0)
        return pqb_err_from_errno(errno);
    err = load_key(folder, secret);
    (void)close(folder);
    return err;
}

size_t pqb_client_ticket_load(const char *path, uint8_t ticket[PQB_CLIENT_TICKET_LEN])
{
    const int folder = open_folder(path);
    size_t len = 0;

    if (folder < 0)
        return 0;
    if (pqb_file_read(folder, TICKET_FILE, ticket, PQB_CLIENT_TICKET_LEN, &len) != PQB_OK)
        len = 0; // the login is then made in full
    (void)close(folder);
    return len;
}

int pqb_client_ticket_save(const char *path, const void *ticket, size_t len)
{
    const int folder = open_folder(path);
    int err = PQB_OK;

    if (folder < 0)
        return pqb_err_from_errno(errno);
    if (len > 0)
        err = pqb_file_replace(folder, TICKET_FILE, ticket, len);
    else if (unlinkat(folder, TICKET_FILE, 0) != 0 && errno != ENOENT)
        err = pqb_err_from_errno(errno);
    (void)close(folder);
    return err;
}
