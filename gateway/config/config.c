#include "gateway/config/config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "gateway/config/options.h"

#define OPTIONS_MAX 64 // rows that config.def may have

// One pass over one source of settings (a file, or the command line).
struct source {
    struct pqb_config *config;
    struct pqb_config_error *error;
    const char *name;        // for messages
    int set_at[OPTIONS_MAX]; // line (or argument) that set the option; 0: not yet
};

static int fail(struct pqb_config_error *error, const char *format, ...) PQB_PRINTF(2, 3);

static int fail(struct pqb_config_error *error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return PQB_ERR_INVALID;
}

void pqb_config_default(struct pqb_config *config)
{
    char why[PQB_CONFIG_ERROR_MAX];

    PQB_ASSERT(pqb_option_count <= OPTIONS_MAX);
    memset(config, 0, sizeof(*config));
    for (size_t i = 0; i < pqb_option_count; i++) {
        const struct pqb_option *option = &pqb_options[i];
        char values[PQB_OPTION_VALUE_MAX];
        char *rest = values;
        char *value;

        (void)snprintf(values, sizeof(values), "%s", option->def);
        while ((value = strsep(&rest, "\n")) != NULL)
            PQB_ASSERT(pqb_option_set(option, config, value, why, sizeof(why)));
    }
}

// `where` is "file:line: ", or empty for the command line. `place` is a line of a file or an
// argument's number; both count from 1.
static int apply(struct source *source, const char *where, const char *key, const char *value,
                 int place)
{
    const struct pqb_option *option = pqb_option_find(key);
    const char *dashes = where[0] == '\0' ? "--" : "";
    char why[256];

    if (option == NULL) {
        const char *suggestion = pqb_option_suggest(key);

        if (suggestion != NULL)
            return fail(source->error, "%sunknown option '%s%.80s'; did you mean '%s%s'?", where,
                        dashes, key, dashes, suggestion);
        return fail(source->error, "%sunknown option '%s%.80s'; --help lists them", where, dashes,
                    key);
    }

    const size_t index = (size_t)(option - pqb_options);

    if (!pqb_option_is_list(option) && source->set_at[index] != 0)
        return fail(source->error, "%s'%s%s' is set twice; keep one of them", where, dashes, key);
    if (source->set_at[index] == 0) // the first element of a source replaces the list
        pqb_option_clear(option, source->config);
    source->set_at[index] = place;
    if (!pqb_option_set(option, source->config, value, why, sizeof(why)))
        return fail(source->error, "%s%s%s: %s", where, dashes, key, why);
    return PQB_OK;
}

// -------------------------------------------------------------------------------------- file

#define LINE_LEN_MAX 1024

static char *trim(char *text)
{
    size_t len;

    text += strspn(text, " \t\r");
    len = strlen(text);
    while (len > 0 && strchr(" \t\r", text[len - 1]) != NULL)
        len--;
    text[len] = '\0';
    return text;
}

static int apply_line(struct source *source, char *line, int number)
{
    char where[PQB_CONFIG_TEXT_MAX + 32];
    char *equals;

    (void)snprintf(where, sizeof(where), "%.200s:%d: ", source->name, number);
    line[strcspn(line, "#")] = '\0';
    line = trim(line);
    if (line[0] == '\0')
        return PQB_OK;
    equals = strchr(line, '=');
    if (equals == NULL)
        return fail(source->error, "%s'%.80s' is not 'key = value'", where, line);
    *equals = '\0';
    return apply(source, where, trim(line), trim(equals + 1), number);
}

int pqb_config_parse(struct pqb_config *config, const char *name, const char *text, size_t len,
                     struct pqb_config_error *error)
{
    struct source source = {.config = config, .error = error, .name = name};
    size_t at = 0;

    for (int number = 1; at < len; number++) {
        const char *newline = memchr(text + at, '\n', len - at);
        const size_t line_len = newline != NULL ? (size_t)(newline - text) - at : len - at;
        char line[LINE_LEN_MAX + 1];
        int err;

        if (line_len > LINE_LEN_MAX)
            return fail(error, "%.200s:%d: line is longer than %d bytes", name, number,
                        LINE_LEN_MAX);
        if (memchr(text + at, '\0', line_len) != NULL)
            return fail(error, "%.200s:%d: line has a zero byte; is this a text file?", name,
                        number);
        memcpy(line, text + at, line_len);
        line[line_len] = '\0';
        err = apply_line(&source, line, number);
        if (err != PQB_OK)
            return err;
        at += line_len + 1;
    }
    return PQB_OK;
}

static int load_file(struct pqb_config *config, const char *path, struct pqb_config_error *error)
{
    FILE *file = fopen(path, "re");
    char *text;
    size_t len;
    int err;

    if (file == NULL) {
        (void)fail(error, "cannot read the configuration file %.200s: %s", path, strerror(errno));
        return errno == ENOENT ? PQB_ERR_NOT_FOUND : PQB_ERR_IO;
    }
    text = malloc(PQB_CONFIG_FILE_MAX + 1);
    if (text == NULL) {
        (void)fclose(file);
        (void)fail(error, "out of memory");
        return PQB_ERR_NOMEM;
    }
    len = fread(text, 1, PQB_CONFIG_FILE_MAX + 1, file);
    if (ferror(file) != 0) {
        (void)fail(error, "cannot read the configuration file %.200s", path);
        err = PQB_ERR_IO;
    } else if (len > PQB_CONFIG_FILE_MAX) {
        err = fail(error, "%.200s is larger than %d bytes; is this the right file?", path,
                   PQB_CONFIG_FILE_MAX);
    } else {
        err = pqb_config_parse(config, path, text, len, error);
    }
    free(text);
    (void)fclose(file);
    return err;
}

// ------------------------------------------------------------------------------ command line

static const struct {
    const char *name;
    enum pqb_config_action action;
} actions[] = {
    {"help", PQB_CONFIG_HELP},
    {"version", PQB_CONFIG_VERSION},
    {"check-config", PQB_CONFIG_CHECK},
    {"print-config", PQB_CONFIG_PRINT},
};

static bool action_find(const char *word, enum pqb_config_action *out)
{
    for (size_t i = 0; i < PQB_ARRAY_LEN(actions); i++) {
        if (strncmp(word, "--", 2) == 0 && strcmp(word + 2, actions[i].name) == 0) {
            *out = actions[i].action;
            return true;
        }
    }
    return false;
}

// Splits "--key VALUE" or "--key=VALUE" at argv[*at]; moves *at to the last word used.
static int split_arg(int argc, char *const *argv, int *at, char key[64], const char **value,
                     struct pqb_config_error *error)
{
    const char *word = argv[*at];
    const char *equals = strchr(word, '=');
    size_t key_len;

    if (strncmp(word, "--", 2) != 0 || word[2] == '\0')
        return fail(error, "'%.80s' is not an option; options begin with '--', see --help", word);
    key_len = (equals != NULL ? (size_t)(equals - word) : strlen(word)) - 2;
    (void)snprintf(key, 64, "%.*s", (int)PQB_MIN(key_len, (size_t)63), word + 2);
    if (equals != NULL) {
        *value = equals + 1;
        return PQB_OK;
    }
    if (*at + 1 < argc) {
        *value = argv[++*at];
        return PQB_OK;
    }
    if (pqb_option_find(key) == NULL && strcmp(key, "config") != 0) {
        const char *suggestion = pqb_option_suggest(key);

        return suggestion != NULL
                   ? fail(error, "unknown option '--%s'; did you mean '--%s'?", key, suggestion)
                   : fail(error, "unknown option '--%s'; --help lists them", key);
    }
    return fail(error, "--%s needs a value", key);
}

// First pass: what to do, and which file comes before the other arguments.
static int find_action_and_file(int argc, char *const *argv, enum pqb_config_action *action,
                                const char **file, struct pqb_config_error *error)
{
    *action = PQB_CONFIG_SERVE;
    *file = NULL;
    for (int i = 1; i < argc; i++) {
        char key[64];
        const char *value = NULL;
        int err;

        if (action_find(argv[i], action)) {
            if (*action == PQB_CONFIG_HELP || *action == PQB_CONFIG_VERSION)
                return PQB_OK;
            continue;
        }
        err = split_arg(argc, argv, &i, key, &value, error);
        if (err != PQB_OK)
            return err;
        if (strcmp(key, "config") != 0)
            continue;
        if (*file != NULL)
            return fail(error, "--config is given twice; keep one of them");
        *file = value;
    }
    return PQB_OK;
}

static int apply_args(struct pqb_config *config, int argc, char *const *argv,
                      struct pqb_config_error *error)
{
    struct source source = {.config = config, .error = error, .name = "command line"};

    for (int i = 1; i < argc; i++) {
        enum pqb_config_action action;
        char key[64];
        const char *value = NULL;
        int err;

        if (action_find(argv[i], &action))
            continue;
        err = split_arg(argc, argv, &i, key, &value, error);
        if (err == PQB_OK && strcmp(key, "config") != 0)
            err = apply(&source, "", key, value, i);
        if (err != PQB_OK)
            return err;
    }
    return PQB_OK;
}

// ------------------------------------------------------------------------------------- whole

static int derive_path(char *field, const char *dir, const char *file,
                       struct pqb_config_error *error)
{
    if (field[0] != '\0')
        return PQB_OK;
    if (snprintf(field, PQB_CONFIG_TEXT_MAX, "%s/%s", dir, file) >= PQB_CONFIG_TEXT_MAX)
        return fail(error, "data: the path is too long");
    return PQB_OK;
}

static int derive(struct pqb_config *config, struct pqb_config_error *error)
{
    int err;

    if (config->data[0] == '\0')
        return fail(error, "data: a directory is needed");
    err = derive_path(config->control, config->data, "control.sock", error);
    if (err == PQB_OK)
        err = derive_path(config->stats, config->data, "stats", error);
    if (config->shards == 0) {
        const long cores = sysconf(_SC_NPROCESSORS_ONLN);

        config->shards = (uint64_t)PQB_MIN(PQB_MAX(cores, 1L), 64L);
    }
    return err;
}

static int check_auth(const struct pqb_config *config, struct pqb_config_error *error)
{
    if (config->auth == PQB_CONFIG_AUTH_STATIC && config->token_file[0] == '\0')
        return fail(error, "auth: static needs --token-file FILE with 'user device token' a line; "
                           "on loopback '--auth any' lets everyone in");
    if (config->auth != PQB_CONFIG_AUTH_TOKEN)
        return PQB_OK;
    if (config->issuer_key.count == 0)
        return fail(error, "auth: token needs --issuer-key FILE with the public key of whom it "
                           "trusts; 'pqbctl keygen NAME' makes a key, NAME.pub is the file");
    if (config->security == PQB_CONFIG_PLAINTEXT)
        return fail(error, "auth: a token is bound to its device's key, which a session in "
                           "plaintext does not prove; use '--security noise', or '--auth static'");
    return PQB_OK;
}

// A limit of retention at or above the quota would never be reached: the quota refuses before.
static int check_retention(const struct pqb_config *config, struct pqb_config_error *error)
{
    if (config->retention_messages >= config->inbox_messages_max)
        return fail(error, "retention-messages: must be below inbox-messages-max, which refuses "
                           "messages before any of them could expire");
    if (config->retention_bytes >= config->inbox_bytes_max)
        return fail(error, "retention-bytes: must be below inbox-bytes-max, which refuses messages "
                           "before any of them could expire");
    if (config->retention_bytes != 0 && config->retention_bytes < config->body_max)
        return fail(error, "retention-bytes: must be at least body-max, or one large message is "
                           "itself too much and expires alone");
    return PQB_OK;
}

int pqb_config_check(const struct pqb_config *config, struct pqb_config_error *error)
{
    for (size_t i = 0; i < config->listen.count; i++) {
        char text[PQB_ADDR_TEXT_MAX];

        if (pqb_addr_is_loopback(&config->listen.addrs[i]))
            continue;
        pqb_addr_format(&config->listen.addrs[i], text);
        if (config->security == PQB_CONFIG_PLAINTEXT && config->insecure_plaintext == 0)
            return fail(error,
                        "listen: %s is not a loopback address and plaintext lets anyone on the way "
                        "read and forge messages; use '--security noise', listen on 127.0.0.1 or "
                        "[::1], or set 'insecure-plaintext = yes'",
                        text);
        if (config->auth == PQB_CONFIG_AUTH_ANY)
            return fail(error,
                        "auth: 'any' lets everyone in and is for loopback only, but %s is not; use "
                        "'--auth token --issuer-key FILE' or '--auth static --token-file FILE'",
                        text);
    }
    if (check_auth(config, error) != PQB_OK)
        return PQB_ERR_INVALID;
    if (config->journal_max <= config->checkpoint_bytes)
        return fail(error, "journal-max: must be larger than checkpoint-bytes, or messages are "
                           "refused before a checkpoint begins");
    if (config->journal_max >= config->map_size)
        return fail(error, "journal-max: must be smaller than map-size, which holds it");
    return check_retention(config, error);
}

int pqb_config_load(struct pqb_config *config, int argc, char *const *argv,
                    enum pqb_config_action *action, struct pqb_config_error *error)
{
    const char *file;
    int err;

    pqb_config_default(config);
    err = find_action_and_file(argc, argv, action, &file, error);
    if (err != PQB_OK || *action == PQB_CONFIG_HELP || *action == PQB_CONFIG_VERSION)
        return err;
    if (file != NULL)
        err = load_file(config, file, error);
    if (err == PQB_OK)
        err = apply_args(config, argc, argv, error);
    if (err == PQB_OK)
        err = derive(config, error);
    if (err == PQB_OK)
        err = pqb_config_check(config, error);
    return err;
}

// Lists on one line, for people.
static void join_lines(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            *text = ' ';
    }
}

size_t pqb_config_diff(const struct pqb_config *before, const struct pqb_config *after,
                       pqb_config_diff_fn fn, void *ctx)
{
    size_t count = 0;

    for (size_t i = 0; i < pqb_option_count; i++) {
        char old_value[PQB_OPTION_VALUE_MAX], new_value[PQB_OPTION_VALUE_MAX];

        pqb_option_format(&pqb_options[i], before, old_value);
        pqb_option_format(&pqb_options[i], after, new_value);
        if (strcmp(old_value, new_value) == 0)
            continue;
        join_lines(old_value);
        join_lines(new_value);
        if (fn != NULL)
            fn(ctx, pqb_options[i].name, old_value, new_value, pqb_options[i].is_reloadable);
        count++;
    }
    return count;
}

void pqb_config_take_reloadable(struct pqb_config *to, const struct pqb_config *from)
{
    for (size_t i = 0; i < pqb_option_count; i++) {
        char values[PQB_OPTION_VALUE_MAX], why[256];
        char *rest = values;
        char *value;

        if (!pqb_options[i].is_reloadable)
            continue;
        pqb_option_format(&pqb_options[i], from, values);
        pqb_option_clear(&pqb_options[i], to);
        while ((value = strsep(&rest, "\n")) != NULL)
            PQB_ASSERT(pqb_option_set(&pqb_options[i], to, value, why, sizeof(why)));
    }
}

// ------------------------------------------------------------------------------- for people

static const char *metavar(enum pqb_option_type type)
{
    switch (type) {
    case PQB_OPTION_TEXT:
        return "TEXT";
    case PQB_OPTION_UINT:
        return "N";
    case PQB_OPTION_SIZE:
        return "SIZE";
    case PQB_OPTION_DURATION:
        return "TIME";
    case PQB_OPTION_BOOL:
        return "yes|no";
    case PQB_OPTION_CHOICE:
        return "CHOICE";
    case PQB_OPTION_LISTEN:
        return "ADDR:PORT";
    case PQB_OPTION_FILES:
        return "FILE";
    }
    return "";
}

void pqb_config_help(FILE *out)
{
    (void)fprintf(out, "Usage: paquebotd [--config FILE] [--OPTION VALUE]...\n"
                       "Paquebot's gateway: takes messages over UDP and keeps them until they are "
                       "delivered.\n\n"
                       "  --config FILE            read options from FILE; the command line wins\n"
                       "  --check-config           say whether the configuration is right, and "
                       "stop\n"
                       "  --print-config           print the configuration in effect, and stop\n"
                       "  --help, --version\n\n"
                       "Options; in a file 'key = value' with the same names, # begins a comment.\n"
                       "(r): a reload (SIGHUP, pqbctl reload) changes it, others need a restart.\n"
                       "\n");
    for (size_t i = 0; i < pqb_option_count; i++) {
        const struct pqb_option *option = &pqb_options[i];
        char range[128], def[PQB_OPTION_VALUE_MAX];
        int len;

        (void)snprintf(def, sizeof(def), "%s", option->def);
        join_lines(def);
        pqb_option_range(option, range, sizeof(range));
        len = fprintf(out, "  --%s %s", option->name,
                      option->type == PQB_OPTION_CHOICE ? option->choices : metavar(option->type));
        (void)fprintf(out, "%*s%s%s\n", len < 38 ? 38 - len : 1, "",
                      option->is_reloadable ? "(r) " : "", def);
        (void)fprintf(out, "      %s", option->help);
        if (option->type == PQB_OPTION_UINT || option->type == PQB_OPTION_SIZE ||
            option->type == PQB_OPTION_DURATION)
            (void)fprintf(out, " [%s]", range);
        (void)fputc('\n', out);
    }
    (void)fprintf(out, "\nSignals: HUP reloads, TERM and INT drain and stop, a second one stops at "
                       "once.\n"
                       "Exit status: 0 stopped in order; 1 cannot serve; 2 wrong use; 3 the disk "
                       "failed.\n");
}

void pqb_config_print(const struct pqb_config *config, FILE *out)
{
    for (size_t i = 0; i < pqb_option_count; i++) {
        char values[PQB_OPTION_VALUE_MAX];
        char *rest = values;
        char *value;

        pqb_option_format(&pqb_options[i], config, values);
        if (values[0] == '\0' && pqb_options[i].def[0] == '\0')
            continue;
        (void)fprintf(out, "# %s%s\n", pqb_options[i].help,
                      pqb_options[i].is_reloadable ? " (reloadable)" : "");
        while ((value = strsep(&rest, "\n")) != NULL)
            (void)fprintf(out, "%s = %s\n", pqb_options[i].name, value);
    }
}
