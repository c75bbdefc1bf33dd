// Opening a client from the command line, running it, and saying what went wrong.
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/proto/server_keys.h"
#include "common/wire/frame.h"
#include "tools/pqb/pqb.h"

#define QUIET_NS (3 * PQB_NS_PER_SEC) // without an answer before the user is told

static volatile sig_atomic_t is_interrupted;

static void on_signal(int number)
{
    (void)number;
    is_interrupted = 1;
}

bool link_is_interrupted(void)
{
    return is_interrupted != 0;
}

static void catch_signals(void)
{
    const struct sigaction action = {.sa_handler = on_signal}; // no SA_RESTART: poll must return

    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

// A name as one component of a path: '/', '%' and a leading '.' become %HH.
static void append_name(char *path, size_t size, const char *name)
{
    size_t len = strlen(path);

    for (const char *p = name; *p != '\0' && len + 4 < size; p++) {
        if (*p == '/' || *p == '%' || (*p == '.' && p == name))
            len += (size_t)snprintf(path + len, size - len, "%%%02X", (unsigned char)*p);
        else
            path[len++] = *p;
    }
    path[len] = '\0';
}

// $XDG_STATE_HOME/paquebot/USER.DEVICE, or under ~/.local/state. false: neither is known.
static bool default_state(const char *user, const char *device, char *path, size_t size)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int len;

    if (state != NULL && *state == '/') // a relative one is to be ignored, says the specification
        len = snprintf(path, size, "%s/paquebot/", state);
    else if (home != NULL && *home != '\0')
        len = snprintf(path, size, "%s/.local/state/paquebot/", home);
    else
        return false;
    if (len < 0 || (size_t)len + 3 * (PQB_USER_MAX + PQB_DEVICE_MAX) + 2 > size)
        return false;
    append_name(path, size, user);
    memcpy(path + strlen(path), ".", 2);
    append_name(path, size, device);
    return true;
}

static int complain(const struct link *l, int status, const char *what, const char *hint)
{
    (void)cli_wrong(l->command, what, hint);
    return status;
}

static int complain_of_store(const struct link *l, int err, const char *path)
{
    char what[LINK_PATH_MAX + 128];

    switch (err) {
    case PQB_CLIENT_ERR_LOCKED:
        (void)snprintf(what, sizeof(what), "%s is in use by another process", path);
        return complain(l, CLI_EXIT_FINDING, what,
                        "One program at a time is one device. Use another --device or --state.");
    case PQB_CLIENT_ERR_CORRUPT:
    case PQB_CLIENT_ERR_VERSION:
        (void)snprintf(what, sizeof(what), "the state in %s is damaged (%s)", path,
                       pqb_client_err_name(err));
        return complain(l, CLI_EXIT_FINDING, what,
                        "Move it away to start anew; messages still queued in it are then lost.");
    default:
        (void)snprintf(what, sizeof(what), "can't use %s for the state: %s", path, strerror(errno));
        return complain(l, CLI_EXIT_FINDING, what, "Name another place with --state DIR.");
    }
}

int link_state_path(const char *command, const char *state, const char *user, const char *device,
                    char path[LINK_PATH_MAX])
{
    if (state == NULL && (user == NULL || device == NULL))
        return cli_wrong(command, "whose?",
                         "Name --state DIR, or --user USER and --device DEVICE.");
    if (state != NULL && strlen(state) < LINK_PATH_MAX)
        memcpy(path, state, strlen(state) + 1);
    else if (state != NULL)
        return cli_wrong(command, "--state is too long", "Name a shorter path.");
    else if (!default_state(user, device, path, LINK_PATH_MAX))
        return cli_wrong(command, "there is no place for the state",
                         "Name one with --state DIR, or set XDG_STATE_HOME or HOME.");
    return CLI_EXIT_DONE;
}

static char state_path[LINK_PATH_MAX]; // a program has one client

static int open_store(struct link *l, const struct link_options *o)
{
    int err = link_state_path(l->command, o->state, o->user, o->device, state_path);

    if (err != CLI_EXIT_DONE)
        return err;
    err = pqb_client_store_file_open(&l->store, state_path);
    return err == 0 ? CLI_EXIT_DONE : complain_of_store(l, err, state_path);
}

// ---------------------------------------------------------------------------------- encryption

// What a login is made with, besides names.
struct credentials {
    bool is_sealed;
    uint8_t server_key[PQB_CLIENT_KEY_LEN], device_key[PQB_CLIENT_KEY_LEN];
    uint8_t ticket[PQB_CLIENT_TICKET_LEN];
    size_t ticket_len;
    char token[PQB_CLIENT_TOKEN_MAX + 2];
};

// Losing one costs the next login some work, nothing else.
static void keep_ticket(void *ctx, const void *ticket, size_t len)
{
    (void)ctx;
    (void)pqb_client_ticket_save(state_path, ticket, len);
}

// By number: a name may mean this machine now and another one when the driver asks again.
static bool is_local(const char *server)
{
    struct pqb_addr addr;

    return pqb_addr_parse(server, &addr) && pqb_addr_is_loopback(&addr);
}

int link_load_device_key(const char *command, const char *path, uint8_t secret[PQB_CLIENT_KEY_LEN])
{
    const struct link l = {.command = command};
    const int err = pqb_client_device_key_load(path, secret);
    char what[LINK_PATH_MAX + 64];

    if (err == 0)
        return CLI_EXIT_DONE;
    (void)snprintf(what, sizeof(what), "can't use %s/device.key: %s", path,
                   err == PQB_CLIENT_ERR_CORRUPT ? "it is damaged" : strerror(errno));
    return complain(&l, CLI_EXIT_FINDING, what,
                    "Restore it, or move it away: a new key then needs a new token.");
}

static int load_keys(const struct link *l, const struct link_options *o, struct credentials *c)
{
    const char *from_env = getenv("PQB_SERVER_KEY");
    const char *key = o->server_key;

    if (key == NULL && !o->may_be_plaintext && from_env != NULL && *from_env != '\0')
        key = from_env;
    if (key == NULL) {
        if (o->may_be_plaintext || is_local(o->server))
            return CLI_EXIT_DONE;
        return complain(l, CLI_EXIT_USAGE, "whose gateway is it? --server-key is needed",
                        "Use what 'pqbctl server-key' prints on the gateway's machine. Without a "
                        "key only 127.0.0.1\nand [::1] are spoken to, by number.");
    }
    if (pqb_hex_decode(key, strlen(key), c->server_key, sizeof(c->server_key)) != PQB_OK)
        return complain(l, CLI_EXIT_USAGE, "--server-key is not 64 hexadecimal digits",
                        "Use what 'pqbctl server-key' prints on the gateway's machine.");
    c->is_sealed = true;
    c->ticket_len = pqb_client_ticket_load(state_path, c->ticket);
    return link_load_device_key(l->command, state_path, c->device_key);
}

// The first line of the file.
static int load_token(const struct link *l, const char *path, struct credentials *c)
{
    char what[LINK_PATH_MAX + 128];
    size_t len = 0;
    int err;

    if (path == NULL)
        return CLI_EXIT_DONE;
    err = pqb_file_read(AT_FDCWD, path, c->token, sizeof(c->token) - 1, &len);
    if (err != PQB_OK && err != PQB_ERR_TOO_LARGE) {
        (void)snprintf(what, sizeof(what), "can't read the token file %.*s: %s", LINK_PATH_MAX,
                       path, strerror(errno));
        return complain(l, CLI_EXIT_USAGE, what, "--token names a file that holds the token.");
    }
    c->token[len] = '\0';
    c->token[strcspn(c->token, "\r\n")] = '\0';
    if (err == PQB_ERR_TOO_LARGE || strlen(c->token) > PQB_CLIENT_TOKEN_MAX)
        return complain(l, CLI_EXIT_USAGE, "the token is longer than 640 bytes",
                        "--token names a file that holds nothing else.");
    return CLI_EXIT_DONE;
}

static int check_names(const struct link *l, const struct link_options *o)
{
    if (!pqb_name_is_valid(o->user, strlen(o->user), PQB_USER_MAX))
        return complain(l, CLI_EXIT_USAGE, "--user is not a name",
                        "A user has 1 to 64 bytes of UTF-8 without control characters.");
    if (!pqb_name_is_valid(o->device, strlen(o->device), PQB_DEVICE_MAX))
        return complain(l, CLI_EXIT_USAGE, "--device is not a name",
                        "A device has 1 to 32 bytes of UTF-8 without control characters.");
    return CLI_EXIT_DONE;
}

static int open_client(struct link *l, const struct link_options *o,
                       const struct credentials *credentials,
                       const struct pqb_client_callbacks *callbacks, void *ctx)
{
    struct pqb_client_config config;
    int err;

    pqb_client_config_default(&config);
    config.user = o->user;
    config.device = o->device;
    config.token = credentials->token;
    if (credentials->is_sealed) {
        config.server_key = credentials->server_key;
        config.device_key = credentials->device_key;
        config.ticket = credentials->ticket;
        config.ticket_len = credentials->ticket_len;
    }
    config.store = l->store;
    config.callbacks = *callbacks;
    config.callbacks.on_ticket = keep_ticket;
    config.ctx = ctx;
    config.watch_max = o->watch_max;
    config.poison_limit = o->poison_limit;
    err = pqb_client_udp_random(config.seed, sizeof(config.seed));
    if (err == 0)
        err = pqb_client_create(&l->c, &config, l->started);
    pqb_secret_erase(config.seed, sizeof(config.seed));
    if (err != 0)
        return complain(l, CLI_EXIT_FINDING, pqb_client_err_name(err), NULL);
    err = pqb_client_udp_create(&l->udp, l->c, o->server);
    if (err == PQB_CLIENT_ERR_INVALID)
        return complain(l, CLI_EXIT_USAGE, "--server is not HOST:PORT",
                        "For example 127.0.0.1:7400, [::1]:7400 or gateway.example:7400.");
    if (err != 0)
        return complain(l, CLI_EXIT_FINDING, "the server's name has no address that can be reached",
                        "Check --server.");
    return CLI_EXIT_DONE;
}

int link_open(struct link *l, const char *command, const struct link_options *options,
              const struct pqb_client_callbacks *callbacks, void *ctx)
{
    struct credentials credentials = {.is_sealed = false};
    int status;

    *l = (struct link){.command = command, .server = options->server, .deadline = PQB_NEVER};
    l->started = pqb_client_udp_now();
    if (options->timeout != 0)
        l->deadline = l->started + options->timeout;
    status = check_names(l, options);
    if (status == CLI_EXIT_DONE)
        status = open_store(l, options);
    if (status == CLI_EXIT_DONE)
        status = load_token(l, options->token, &credentials);
    if (status == CLI_EXIT_DONE)
        status = load_keys(l, options, &credentials);
    if (status == CLI_EXIT_DONE)
        status = open_client(l, options, &credentials, callbacks, ctx);
    pqb_secret_erase(&credentials, sizeof(credentials));
    if (status != CLI_EXIT_DONE) {
        link_close(l);
        return status;
    }
    catch_signals();
    pqb_client_connect(l->c, l->started);
    return CLI_EXIT_DONE;
}

void link_close(struct link *l)
{
    if (l->udp != NULL)
        pqb_client_udp_close(l->udp);
    pqb_client_udp_destroy(l->udp);
    pqb_client_destroy(l->c);
    pqb_client_store_file_close(l->store);
    l->udp = NULL;
    l->c = NULL;
    l->store = NULL;
}

void link_on_state(struct link *l, enum pqb_client_state state, enum pqb_client_reason reason)
{
    // Told once, early enough to be of use to somebody who waits.
    if (state == PQB_CLIENT_CONNECTING && reason == PQB_REASON_TIMEOUT &&
        l->reason != PQB_REASON_TIMEOUT && pqb_client_udp_now() - l->started < QUIET_NS)
        fprintf(stderr, "%s: no answer from %s yet, still trying\n", l->command, l->server);
    l->state = state;
    l->reason = reason;
    l->was_online |= state == PQB_CLIENT_ONLINE;
}

static int tell_failure(const struct link *l)
{
    if (l->reason == PQB_REASON_REPLACED)
        return complain(l, CLI_EXIT_FINDING, "the same device has logged in elsewhere",
                        "Stop the other one, or use another --device here.");
    return complain(l, CLI_EXIT_FINDING, "the state can't be written",
                    "Is the disk full? What was not acknowledged is still queued.");
}

static int tell_timeout(const struct link *l)
{
    char what[512];

    if (l->state == PQB_CLIENT_ONLINE)
        return complain(l, CLI_EXIT_FINDING, "out of time", NULL);
    if (l->reason == PQB_REASON_BUSY)
        return complain(l, CLI_EXIT_FINDING, "the gateway is busy", "Try again later.");
    (void)snprintf(what, sizeof(what), "%s %s", l->server,
                   l->was_online ? "does not answer any more" : "does not answer");
    return complain(l, CLI_EXIT_FINDING, what,
                    "Is paquebotd running there, is --server-key its key, and are user, device and "
                    "token known to it?");
}

// Waits for either; the driver then finds its datagrams without waiting.
static bool wait_for(const struct link *l, int fd, int wait_ms)
{
    struct pollfd pfds[2] = {{.fd = pqb_client_udp_fd(l->udp), .events = POLLIN},
                             {.fd = fd, .events = POLLIN}};

    return poll(pfds, 2, wait_ms) > 0 && pfds[1].revents != 0;
}

bool link_run(struct link *l, int fd, bool *is_readable, int *status)
{
    const pqb_tstamp now = pqb_client_udp_now();
    const pqb_duration left = l->deadline > now ? l->deadline - now : 0;
    int wait_ms = pqb_client_udp_timeout_ms(l->udp);

    if (l->state == PQB_CLIENT_FAILED) {
        *status = tell_failure(l);
        return false;
    }
    if (l->deadline != PQB_NEVER && left == 0) {
        *status = tell_timeout(l);
        return false;
    }
    if (l->deadline != PQB_NEVER) {
        const int left_ms = (int)PQB_MIN(left / PQB_NS_PER_MS + 1, 1000000u);

        wait_ms = wait_ms < 0 ? left_ms : PQB_MIN(wait_ms, left_ms);
    }
    *is_readable = wait_for(l, fd, l->is_hasty ? 0 : wait_ms);
    if (pqb_client_udp_run(l->udp, 0) != 0) {
        *status = complain(l, CLI_EXIT_FINDING, strerror(errno), NULL);
        return false;
    }
    return true;
}

// ---------------------------------------------------------------------------------------- text

size_t printable_len(const char *text, size_t left)
{
    const unsigned char first = (unsigned char)text[0];
    const size_t len = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;

    return len <= left && pqb_name_is_valid(text, len, 4) ? len : 0;
}

void print_escaped(const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        const size_t n = text[i] == '\\' ? 0 : printable_len(text + i, len - i);

        if (n > 0)
            (void)fwrite(text + i, 1, n, stdout);
        else if (text[i] == '\n')
            (void)fputs("\\n", stdout);
        else if (text[i] == '\t')
            (void)fputs("\\t", stdout);
        else if (text[i] == '\\')
            (void)fputs("\\\\", stdout);
        else
            (void)printf("\\x%02x", (unsigned char)text[i]);
        i += n > 0 ? n : 1;
    }
}

void tell_refusal(const char *command, uint64_t number, unsigned refusal)
{
    fprintf(stderr, "%s: message %" PRIu64 " was refused: %s\n", command, number,
            pqb_client_refusal_name(refusal));
    if (refusal == PQB_REFUSAL_QUOTA)
        fputs("The recipient's inbox is full. Send again when some of it was taken.\n", stderr);
    if (refusal == PQB_REFUSAL_UNKNOWN_USER)
        fputs("The gateway does not know the recipient. Check --to.\n", stderr);
}

void tell_gap(const char *command, uint64_t from, uint64_t to, unsigned gap)
{
    switch (gap) {
    case PQB_GAP_NEW_GENERATION: // no message was there
        return;
    case PQB_GAP_WAS_TAKEN:
        fprintf(stderr, "%s: this state is older than what the device has taken before\n", command);
        return;
    default:
        fprintf(stderr, "%s: positions %" PRIu64 " to %" PRIu64 " are gone: %s\n", command, from,
                to,
                gap == PQB_GAP_WAS_DAMAGED    ? "damaged"
                : gap == PQB_GAP_WAS_RECALLED ? "recalled"
                                              : "expired");
        return;
    }
}

static bool is_text(const uint8_t *body, size_t len)
{
    const char *text = (const char *)body;

    for (size_t i = 0; i < len;) {
        const size_t n = body[i] < 0x80 ? 1 : printable_len(text + i, len - i);

        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

static void add_base64(struct pqb_json *j, const uint8_t *body, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static char text[(PQB_CLIENT_BODY_MAX + 2) / 3 * 4];
    size_t n = 0;

    for (size_t i = 0; i < len; i += 3) {
        const bool has_second = i + 1 < len, has_third = i + 2 < len;
        const uint32_t second = has_second ? body[i + 1] : 0, third = has_third ? body[i + 2] : 0;
        const uint32_t bits = (uint32_t)body[i] << 16 | second << 8 | third;

        text[n++] = digits[bits >> 18];
        text[n++] = digits[bits >> 12 & 63];
        text[n++] = (char)(has_second ? digits[bits >> 6 & 63] : '=');
        text[n++] = (char)(has_third ? digits[bits & 63] : '=');
    }
    pqb_json_text_n(j, "body_b64", text, n);
}

void json_body(struct pqb_json *j, const uint8_t *body, size_t len)
{
    if (is_text(body, len))
        pqb_json_text_n(j, "body", (const char *)body, len);
    else
        add_base64(j, body, len);
}

void tell_dead_letter(const char *command, const struct pqb_client_dead_letter *letter)
{
    fprintf(stderr,
            "%s: message %" PRIu64 " from %s (%zu bytes) is put aside: %" PRIu32
            " runs died over it\n'pqb dead-letters' shows it.\n",
            command, letter->iseq, letter->from, letter->len, letter->attempts);
}

// --------------------------------------------------------------------------------------- lines

enum line_verdict lines_next(struct lines *in, const char **line, size_t *len)
{
    const char *start = in->data + in->taken;
    const size_t left = in->len - in->taken;
    const char *end = memchr(start, '\n', left);

    if (end == NULL && left == sizeof(in->data))
        return LINE_TOO_LONG;
    if (end == NULL && (!in->is_over || left == 0))
        return LINE_NONE;
    *line = start;
    *len = end != NULL ? (size_t)(end - start) : left;
    in->taken += *len + (end != NULL);
    return LINE_READY;
}

void lines_read(struct lines *in)
{
    ssize_t n;

    memmove(in->data, in->data + in->taken, in->len - in->taken);
    in->len -= in->taken;
    in->taken = 0;
    n = read(in->fd, in->data + in->len, sizeof(in->data) - in->len);
    if (n > 0)
        in->len += (size_t)n;
    else if (n == 0 || errno != EINTR)
        in->is_over = true;
}
