// pqbctl keygen and pqbctl token: issuers' keys, and the tokens that they sign.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/proto/paseto.h"
#include "common/wire/frame.h"
#include "gateway/config/config.h"
#include "tools/pqbctl/pqbctl.h"

#define FILE_TEXT_MAX 4096
#define JSON_MAX      4096
#define TTL_MAX_NS    (UINT64_C(36500) * 86400 * PQB_NS_PER_SEC)
#define WHITE_SPACE   " \t\r\n"

static pqb_wall_ms wall_now(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (pqb_wall_ms)ts.tv_sec * 1000 + (pqb_wall_ms)ts.tv_nsec / 1000000;
}

static int fail(const char *command, const char *path, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", command, path, why);
    return CLI_EXIT_FINDING;
}

// A short file ("-": standard input) without the white space at its end. Its length, or -1: told.
static ssize_t read_text(const char *command, const char *path, char text[FILE_TEXT_MAX])
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    size_t len;

    if (file == NULL) {
        (void)fail(command, path, strerror(errno));
        return -1;
    }
    len = fread(text, 1, FILE_TEXT_MAX - 1, file);
    if (file != stdin)
        (void)fclose(file);
    while (len > 0 && strchr(WHITE_SPACE, text[len - 1]) != NULL)
        len--;
    text[len] = '\0';
    return (ssize_t)len;
}

// Makes a file that is not there yet, with one line in it. false: told.
static bool write_new(const char *command, const char *path, mode_t mode, const char *line)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    const size_t len = strlen(line);
    bool is_done;

    if (fd < 0) {
        (void)fail(command, path,
                   errno == EEXIST ? "is there already and is not overwritten; choose another name"
                                   : strerror(errno));
        return false;
    }
    is_done = write(fd, line, len) == (ssize_t)len && write(fd, "\n", 1) == 1 && fsync(fd) == 0;
    if (close(fd) != 0 || !is_done) {
        (void)fail(command, path, strerror(errno));
        (void)unlink(path);
        return false;
    }
    return true;
}

// --------------------------------------------------------------------------------------- keygen

static int keygen(const char *command, const char *path)
{
    struct pqb_issuer_secret secret;
    struct pqb_issuer_key key;
    char secret_text[PQB_PASERK_MAX], key_text[PQB_PASERK_MAX], key_path[CTL_PATH_MAX];
    bool is_done;

    if (snprintf(key_path, sizeof(key_path), "%s.pub", path) >= (int)sizeof(key_path))
        return cli_wrong(command, "the path is too long", NULL);
    if (sodium_init() < 0)
        return fail(command, path, "no random numbers to be had");
    if (crypto_sign_keypair(key.bytes, secret.bytes) != 0)
        return fail(command, path, "cannot make a key");
    pqb_paserk_public_format(&key, key_text);
    pqb_paserk_secret_format(&secret, secret_text);
    is_done = write_new(command, path, 0600, secret_text);
    if (is_done && !write_new(command, key_path, 0644, key_text)) {
        (void)unlink(path); // a key of which one half is missing helps nobody
        is_done = false;
    }
    sodium_memzero(&secret, sizeof(secret));
    sodium_memzero(secret_text, sizeof(secret_text));
    if (!is_done)
        return CLI_EXIT_FINDING;
    printf("%s\n", key_text);
    return CLI_EXIT_DONE;
}

int ctl_keygen(int argc, char **argv)
{
    const char *args[1];
    size_t arg_count = 0;
    int status;
    const struct cli_command command = {
        .name = "pqbctl keygen",
        .usage = "FILE",
        .about =
            "Makes an issuer's key: the secret half in FILE (for 'pqbctl token issue'), the "
            "public\n"
            "half in FILE.pub (for 'paquebotd --issuer-key'), which is also printed. Neither may\n"
            "be there already.",
        .args_max = 1,
    };

    status = cli_parse(&command, argc, argv, args, &arg_count);
    if (status != CLI_GO)
        return status;
    if (arg_count < 1 || args[0][0] == '\0')
        return cli_wrong(command.name, "a file is needed", "Try 'pqbctl keygen issuer.key'.");
    return keygen(command.name, args[0]);
}

// ---------------------------------------------------------------------------------------- issue

static const char issue_name[] = "pqbctl token issue";

struct issuing {
    const char *issuer, *user, *device, *device_key, *ttl, *out;
};

// Into a field that needs no NUL.
static bool take_name(char *field, uint8_t *field_len, const char *name, size_t max)
{
    const size_t len = strlen(name);

    if (!pqb_name_is_valid(name, len, max))
        return false;
    for (size_t i = 0; i < len; i++)
        field[i] = name[i];
    *field_len = (uint8_t)len;
    return true;
}

static int fill_claims(const struct issuing *i, struct pqb_claims *claims)
{
    uint64_t ttl;

    *claims = (struct pqb_claims){.issued_ms = wall_now() / 1000 * 1000};
    if (!take_name(claims->user, &claims->user_len, i->user, PQB_USER_MAX))
        return cli_wrong(issue_name,
                         "--user needs 1 to 64 bytes of UTF-8 without control characters", NULL);
    if (!take_name(claims->device, &claims->device_len, i->device, PQB_DEVICE_MAX))
        return cli_wrong(issue_name,
                         "--device needs 1 to 32 bytes of UTF-8 without control characters", NULL);
    if (pqb_hex_decode(i->device_key, strlen(i->device_key), claims->key, PQB_KEY_LEN) != PQB_OK)
        return cli_wrong(issue_name,
                         "--device-key needs the device's public key, 64 hexadecimal digits",
                         "On the device, 'pqb device-key' prints it.");
    if (!pqb_config_parse_duration(i->ttl, &ttl) || ttl < PQB_NS_PER_SEC || ttl > TTL_MAX_NS)
        return cli_wrong(issue_name, "--ttl needs a time from 1s to 36500d",
                         "Try '--ttl 30d' (s, min, h, d).");
    claims->expires_ms = claims->issued_ms + ttl / PQB_NS_PER_MS;
    return CLI_EXIT_DONE;
}

static bool load_secret(const char *path, struct pqb_issuer_secret *out)
{
    char text[FILE_TEXT_MAX];
    const ssize_t len = read_text(issue_name, path, text);
    struct pqb_issuer_key key;
    bool is_key;

    if (len < 0)
        return false;
    is_key = pqb_paserk_secret_parse(text, (size_t)len, out);
    if (!is_key && pqb_paserk_public_parse(text, (size_t)len, &key))
        (void)fail(issue_name, path,
                   "is a public key, which cannot sign; name the secret one, without .pub");
    else if (!is_key)
        (void)fail(issue_name, path,
                   "is not an issuer's secret key; 'pqbctl keygen FILE' makes one");
    sodium_memzero(text, sizeof(text));
    return is_key;
}

static int issue(const struct issuing *i)
{
    struct pqb_issuer_secret secret;
    struct pqb_claims claims;
    char token[PQB_TOKEN_MAX + 1];
    size_t len;
    const int status = fill_claims(i, &claims);

    if (status != CLI_EXIT_DONE)
        return status;
    if (!load_secret(i->issuer, &secret))
        return CLI_EXIT_FINDING;
    len = pqb_paseto_make(&claims, &secret, token);
    sodium_memzero(&secret, sizeof(secret));
    if (len == 0)
        return fail(issue_name, i->issuer, "out of memory");
    if (i->out != NULL)
        return write_new(issue_name, i->out, 0600, token) ? CLI_EXIT_DONE : CLI_EXIT_FINDING;
    printf("%s\n", token);
    return CLI_EXIT_DONE;
}

static int token_issue(int argc, char **argv)
{
    struct issuing i = {.ttl = "30d"};
    const char *args[1];
    size_t arg_count = 0;
    int status;
    const struct cli_option options[] = {
        {.name = "issuer",
         .type = CLI_TEXT,
         .out = (void *)&i.issuer,
         .value = "FILE",
         .help = "the issuer's secret key, of 'pqbctl keygen FILE'",
         .is_required = true},
        {.name = "user",
         .type = CLI_TEXT,
         .out = (void *)&i.user,
         .value = "U",
         .help = "who may log in",
         .is_required = true},
        {.name = "device",
         .type = CLI_TEXT,
         .out = (void *)&i.device,
         .value = "D",
         .help = "with which device",
         .is_required = true},
        {.name = "device-key",
         .type = CLI_TEXT,
         .out = (void *)&i.device_key,
         .value = "HEX",
         .help = "its public key; on the device, 'pqb device-key' prints it",
         .is_required = true},
        {.name = "ttl",
         .type = CLI_TEXT,
         .out = (void *)&i.ttl,
         .value = "TIME",
         .help = "how long the token is good (s, min, h, d) [30d]"},
        {.name = "out",
         .type = CLI_TEXT,
         .out = (void *)&i.out,
         .value = "FILE",
         .help = "write the token there, for its owner alone to read"},
    };
    const struct cli_command command = {
        .name = issue_name,
        .usage = "--issuer FILE --user U --device D --device-key HEX [--ttl TIME]",
        .about = "Signs a token that lets one device of a user log in, and prints it. It is of use "
                 "only\n"
                 "together with the device's secret key.",
        .options = options,
        .option_count = PQB_ARRAY_LEN(options),
    };

    status = cli_parse(&command, argc, argv, args, &arg_count);
    if (status != CLI_GO)
        return status;
    return issue(&i);
}

// ----------------------------------------------------------------------------------------- show

static const char show_name[] = "pqbctl token show";

struct shown {
    struct pqb_claims claims;
    const char *signature; // "valid", "invalid", "unchecked"
    const char *state;     // "valid", "expired", "not_yet_valid"
};

static void print_date(const char *name, pqb_wall_ms at, const char *note)
{
    char text[PQB_DATE_TEXT_LEN + 1];

    if (at == 0)
        return;
    pqb_date_format(at, text);
    printf("%-11s %s%s\n", name, text, note);
}

static void print_shown(const struct shown *s, pqb_wall_ms now)
{
    const struct pqb_claims *c = &s->claims;
    const uint64_t left = c->expires_ms > now ? c->expires_ms - now : now - c->expires_ms;
    char key[PQB_KEY_LEN * 2 + 1], note[64];

    (void)snprintf(note, sizeof(note), " (%s %" PRIu64 " days %" PRIu64 " h)",
                   c->expires_ms > now ? "in" : "passed by", left / 86400000, left / 3600000 % 24);
    pqb_hex_encode(c->key, PQB_KEY_LEN, key);
    printf("user        %.*s\ndevice      %.*s\ndevice key  %s\n", c->user_len, c->user,
           c->device_len, c->device, key);
    print_date("issued", c->issued_ms, "");
    print_date("not before", c->not_before_ms, "");
    print_date("expires", c->expires_ms, note);
    printf("state       %s\nsignature   %s%s\n", s->state, s->signature,
           strcmp(s->signature, "unchecked") == 0 ? " (--issuer-key FILE checks it)" : "");
}

static void print_json(const struct shown *s)
{
    const struct pqb_claims *c = &s->claims;
    char key[PQB_KEY_LEN * 2 + 1];
    struct pqb_json j;
    const char *text;

    pqb_json_init(&j, JSON_MAX);
    pqb_json_object_begin(&j, NULL);
    pqb_json_text_n(&j, "user", c->user, c->user_len);
    pqb_json_text_n(&j, "device", c->device, c->device_len);
    pqb_hex_encode(c->key, PQB_KEY_LEN, key);
    pqb_json_string(&j, "device_key", key);
    pqb_date_json(&j, "issued", c->issued_ms);
    pqb_date_json(&j, "not_before", c->not_before_ms);
    pqb_date_json(&j, "expires", c->expires_ms);
    pqb_json_string(&j, "state", s->state);
    pqb_json_string(&j, "signature", s->signature);
    pqb_json_object_end(&j);
    text = pqb_json_text(&j);
    if (text != NULL)
        puts(text);
    pqb_json_fini(&j);
}

static bool load_key(const char *path, struct pqb_issuer_key *out)
{
    char text[FILE_TEXT_MAX];
    const ssize_t len = read_text(show_name, path, text);

    if (len < 0)
        return false;
    if (pqb_paserk_public_parse(text, (size_t)len, out))
        return true;
    (void)fail(show_name, path,
               "is not an issuer's public key; name the .pub file that 'pqbctl keygen' wrote");
    return false;
}

// Without `key` the signature is not looked at.
static int show(const char *path, const struct pqb_issuer_key *key, bool is_json)
{
    char text[FILE_TEXT_MAX];
    const ssize_t len = read_text(show_name, path, text);
    const pqb_wall_ms now = wall_now();
    struct shown s = {.signature = "unchecked", .state = "valid"};
    enum pqb_paseto_verdict verdict, signature = PQB_PASETO_OK;
    size_t index;

    if (len < 0)
        return CLI_EXIT_FINDING;
    if (key != NULL) {
        signature = pqb_paseto_verify(text, (size_t)len, key, 1, &s.claims, &index);
        s.signature = signature == PQB_PASETO_OK ? "valid" : "invalid";
    }
    verdict = pqb_paseto_read_unverified(text, (size_t)len, &s.claims);
    if (verdict != PQB_PASETO_OK)
        return fail(show_name, path, pqb_paseto_verdict_text(verdict));
    if (now >= s.claims.expires_ms)
        s.state = "expired";
    else if (now < s.claims.not_before_ms)
        s.state = "not_yet_valid";
    if (is_json)
        print_json(&s);
    else
        print_shown(&s, now);
    return signature == PQB_PASETO_OK && (key == NULL || strcmp(s.state, "valid") == 0)
               ? CLI_EXIT_DONE
               : CLI_EXIT_FINDING;
}

static int token_show(int argc, char **argv)
{
    const char *key_path = NULL;
    struct pqb_issuer_key key;
    bool is_json = false;
    const char *args[1];
    size_t arg_count = 0;
    int status;
    const struct cli_option options[] = {
        {.name = "issuer-key",
         .type = CLI_TEXT,
         .out = (void *)&key_path,
         .value = "FILE",
         .help = "an issuer's public key: checks that it signed the token"},
        {.name = "json", .type = CLI_FLAG, .out = &is_json, .help = "what it says as JSON"},
    };
    const struct cli_command command = {
        .name = show_name,
        .usage = "FILE [--issuer-key FILE] [--json]",
        .about = "Shows what a token (in FILE, or '-') says. With --issuer-key, exit status 1 "
                 "tells that\n"
                 "this issuer did not sign it, or that it is not valid now.",
        .options = options,
        .option_count = PQB_ARRAY_LEN(options),
        .args_max = 1,
    };

    status = cli_parse(&command, argc, argv, args, &arg_count);
    if (status != CLI_GO)
        return status;
    if (arg_count < 1 || args[0][0] == '\0')
        return cli_wrong(show_name, "a file with a token is needed",
                         "Try 'pqbctl token show FILE', or '-' for standard input.");
    if (key_path != NULL && !load_key(key_path, &key))
        return CLI_EXIT_FINDING;
    return show(args[0], key_path != NULL ? &key : NULL, is_json);
}

int ctl_token(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "pqbctl token",
        .usage = "issue|show ...",
        .about = "Signs a token, or shows what one says; 'pqbctl token issue --help' and\n"
                 "'pqbctl token show --help' tell the options.",
    };
    const char *args[1];
    size_t arg_count = 0;

    if (argc >= 2 && strcmp(argv[1], "issue") == 0)
        return token_issue(argc - 1, argv + 1);
    if (argc >= 2 && strcmp(argv[1], "show") == 0)
        return token_show(argc - 1, argv + 1);
    if (argc >= 2 && strncmp(argv[1], "--", 2) == 0) {
        const int status = cli_parse(&command, argc, argv, args, &arg_count);

        if (status != CLI_GO)
            return status;
    }
    return cli_wrong(command.name, "'issue' or 'show' is needed", "Try 'pqbctl token --help'.");
}
