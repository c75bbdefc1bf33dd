#include "gateway/config/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RELOAD  true
#define RESTART false

const struct pqb_option pqb_options[] = {
#define PQB_OPTION(field, name, type, choices, min, max, def, reload, help) \
    {name,                                                                  \
     PQB_OPTION_##type,                                                     \
     choices,                                                               \
     min,                                                                   \
     max,                                                                   \
     def,                                                                   \
     reload,                                                                \
     help,                                                                  \
     offsetof(struct pqb_config, field)},
#include "gateway/config/config.def"
#undef PQB_OPTION
};

const size_t pqb_option_count = PQB_ARRAY_LEN(pqb_options);

const struct pqb_option *pqb_option_find(const char *name)
{
    for (size_t i = 0; i < pqb_option_count; i++) {
        if (strcmp(pqb_options[i].name, name) == 0)
            return &pqb_options[i];
    }
    return NULL;
}

// ------------------------------------------------------------------------------- suggestions

#define NAME_MAX_LEN 48 // longer words are not looked at
#define DISTANCE_MAX 3  // more edits than this is another word

// Edits (insert, delete, replace) that turn `a` into `b`; both are at most NAME_MAX_LEN long.
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_LEN + 1];
    const size_t len_b = strlen(b);

    for (size_t j = 0; j <= len_b; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < len_b; j++) {
            const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
            const size_t shorter = PQB_MIN(row[j], row[j + 1]) + 1;

            diagonal = row[j + 1];
            row[j + 1] = PQB_MIN(replaced, shorter);
        }
    }
    return row[len_b];
}

const char *pqb_option_suggest(const char *name)
{
    const char *best = NULL;
    size_t best_distance = DISTANCE_MAX + 1;

    if (strlen(name) > NAME_MAX_LEN)
        return NULL;
    for (size_t i = 0; i < pqb_option_count; i++) {
        const size_t distance = edit_distance(name, pqb_options[i].name);

        // A short word is three edits away from any other short word.
        if (distance < best_distance && distance < strlen(pqb_options[i].name)) {
            best = pqb_options[i].name;
            best_distance = distance;
        }
    }
    return best;
}

// ------------------------------------------------------------------------------------ values

static void *field_of(const struct pqb_option *option, struct pqb_config *config)
{
    return (char *)config + option->offset;
}

static const void *field_of_const(const struct pqb_option *option, const struct pqb_config *config)
{
    return (const char *)config + option->offset;
}

static uint64_t number_of(const struct pqb_option *option, const struct pqb_config *config)
{
    uint64_t value;

    memcpy(&value, field_of_const(option, config), sizeof(value));
    return value;
}

static void set_number(const struct pqb_option *option, struct pqb_config *config, uint64_t value)
{
    memcpy(field_of(option, config), &value, sizeof(value));
}

// Index of `value` among "a|b|c"; false when it is none of them.
static bool choice_index(const char *choices, const char *value, uint64_t *out)
{
    const size_t len = strlen(value);

    for (uint64_t index = 0; choices != NULL; index++) {
        const char *end = strchr(choices, '|');
        const size_t choice_len = end != NULL ? (size_t)(end - choices) : strlen(choices);

        if (choice_len == len && memcmp(choices, value, len) == 0) {
            *out = index;
            return true;
        }
        choices = end != NULL ? end + 1 : NULL;
    }
    return false;
}

static void choice_name(const char *choices, uint64_t index, char *text, size_t size)
{
    for (; index > 0; index--)
        choices = strchr(choices, '|') + 1;
    (void)snprintf(text, size, "%.*s", (int)strcspn(choices, "|"), choices);
}

static bool parse_uint(const char *text, uint64_t *out)
{
    char *end;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool parse_number(const struct pqb_option *option, const char *value, uint64_t *out)
{
    switch (option->type) {
    case PQB_OPTION_UINT:
        return parse_uint(value, out);
    case PQB_OPTION_SIZE:
        return pqb_config_parse_size(value, out);
    case PQB_OPTION_DURATION:
        return pqb_config_parse_duration(value, out);
    case PQB_OPTION_BOOL:
        return choice_index("no|yes", value, out);
    case PQB_OPTION_CHOICE:
        return choice_index(option->choices, value, out);
    case PQB_OPTION_TEXT:
    case PQB_OPTION_LISTEN:
    case PQB_OPTION_FILES:
        break;
    }
    return false;
}

static const char *expected(const struct pqb_option *option)
{
    switch (option->type) {
    case PQB_OPTION_UINT:
        return "a whole number";
    case PQB_OPTION_SIZE:
        return "a size such as 64MiB (B, KiB, MiB, GiB, TiB)";
    case PQB_OPTION_DURATION:
        return "a time such as 10min (ms, s, min, h, d)";
    case PQB_OPTION_BOOL:
        return "yes or no";
    case PQB_OPTION_CHOICE:
        return "one of its choices";
    case PQB_OPTION_LISTEN:
        return "a numeric address and port such as 127.0.0.1:7400 or [::1]:7400";
    case PQB_OPTION_TEXT:
        return "text";
    case PQB_OPTION_FILES:
        return "the path of a file";
    }
    return "";
}

static bool is_in_range(const struct pqb_option *option, uint64_t value)
{
    switch (option->type) {
    case PQB_OPTION_UINT:
    case PQB_OPTION_SIZE:
    case PQB_OPTION_DURATION:
        return value >= option->min && value <= option->max;
    case PQB_OPTION_BOOL:
    case PQB_OPTION_CHOICE:
    case PQB_OPTION_TEXT:
    case PQB_OPTION_LISTEN:
    case PQB_OPTION_FILES:
        break;
    }
    return true;
}

static bool append_listen(struct pqb_config_listen *listen, const char *value, char *why,
                          size_t why_size)
{
    struct pqb_addr addr = {0};

    if (!pqb_addr_parse(value, &addr)) {
        (void)snprintf(why, why_size,
                       "'%.80s' is not a numeric address and port such as "
                       "127.0.0.1:7400 or [::1]:7400",
                       value);
        return false;
    }
    if (listen->count == PQB_CONFIG_LISTEN_MAX) {
        (void)snprintf(why, why_size, "at most %d addresses can be served", PQB_CONFIG_LISTEN_MAX);
        return false;
    }
    for (size_t i = 0; i < listen->count; i++) {
        if (addr.port != 0 && pqb_addr_is_equal(&listen->addrs[i], &addr)) {
            (void)snprintf(why, why_size, "'%.80s' is given twice", value);
            return false;
        }
    }
    listen->addrs[listen->count++] = addr;
    return true;
}

static bool set_text(char *field, const char *value, char *why, size_t why_size)
{
    if (strlen(value) >= PQB_CONFIG_TEXT_MAX) {
        (void)snprintf(why, why_size, "longer than %d bytes", PQB_CONFIG_TEXT_MAX - 1);
        return false;
    }
    for (const char *at = value; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f || *at == '#') {
            (void)snprintf(why, why_size, "has a '#' or a control character");
            return false;
        }
    }
    memcpy(field, value, strlen(value) + 1);
    return true;
}

static bool append_file(struct pqb_config_files *files, const char *value, char *why,
                        size_t why_size)
{
    if (value[0] == '\0')
        return true;
    if (files->count == PQB_CONFIG_FILES_MAX) {
        (void)snprintf(why, why_size, "at most %d files can be given", PQB_CONFIG_FILES_MAX);
        return false;
    }
    for (size_t i = 0; i < files->count; i++) {
        if (strcmp(files->paths[i], value) == 0) {
            (void)snprintf(why, why_size, "'%.80s' is given twice", value);
            return false;
        }
    }
    if (!set_text(files->paths[files->count], value, why, why_size))
        return false;
    files->count++;
    return true;
}

bool pqb_option_is_list(const struct pqb_option *option)
{
    return option->type == PQB_OPTION_LISTEN || option->type == PQB_OPTION_FILES;
}

void pqb_option_clear(const struct pqb_option *option, struct pqb_config *config)
{
    if (option->type == PQB_OPTION_LISTEN)
        ((struct pqb_config_listen *)field_of(option, config))->count = 0;
    else if (option->type == PQB_OPTION_FILES)
        ((struct pqb_config_files *)field_of(option, config))->count = 0;
}

bool pqb_option_set(const struct pqb_option *option, struct pqb_config *config, const char *value,
                    char *why, size_t why_size)
{
    char range[128];
    uint64_t number;

    if (option->type == PQB_OPTION_TEXT)
        return set_text(field_of(option, config), value, why, why_size);
    if (option->type == PQB_OPTION_LISTEN)
        return append_listen(field_of(option, config), value, why, why_size);
    if (option->type == PQB_OPTION_FILES)
        return append_file(field_of(option, config), value, why, why_size);
    pqb_option_range(option, range, sizeof(range));
    if (!parse_number(option, value, &number)) {
        (void)snprintf(why, why_size, "'%.80s' is not %s%s%s", value, expected(option),
                       range[0] != '\0' ? ": " : "", range);
        return false;
    }
    if (!is_in_range(option, number)) {
        (void)snprintf(why, why_size, "%.80s is out of range: %s", value, range);
        return false;
    }
    set_number(option, config, number);
    return true;
}

// Adds an element of a list. What does not fit cannot be: 8 addresses or paths do.
static void append_line(char *text, const char *element)
{
    const size_t len = strlen(text);

    (void)snprintf(text + len, PQB_OPTION_VALUE_MAX - len, "%s%s", len > 0 ? "\n" : "", element);
}

static void format_listen(const struct pqb_config_listen *listen, char *text)
{
    text[0] = '\0';
    for (size_t i = 0; i < listen->count; i++) {
        char one[PQB_ADDR_TEXT_MAX];

        pqb_addr_format(&listen->addrs[i], one);
        append_line(text, one);
    }
}

static void format_files(const struct pqb_config_files *files, char *text)
{
    text[0] = '\0';
    for (size_t i = 0; i < files->count; i++)
        append_line(text, files->paths[i]);
}

void pqb_option_format(const struct pqb_option *option, const struct pqb_config *config, char *text)
{
    const size_t size = PQB_OPTION_VALUE_MAX;

    switch (option->type) {
    case PQB_OPTION_TEXT:
        (void)snprintf(text, size, "%s", (const char *)field_of_const(option, config));
        break;
    case PQB_OPTION_UINT:
        (void)snprintf(text, size, "%" PRIu64, number_of(option, config));
        break;
    case PQB_OPTION_SIZE:
        pqb_config_format_size(number_of(option, config), text, size);
        break;
    case PQB_OPTION_DURATION:
        pqb_config_format_duration(number_of(option, config), text, size);
        break;
    case PQB_OPTION_BOOL:
        choice_name("no|yes", number_of(option, config), text, size);
        break;
    case PQB_OPTION_CHOICE:
        choice_name(option->choices, number_of(option, config), text, size);
        break;
    case PQB_OPTION_LISTEN:
        format_listen(field_of_const(option, config), text);
        break;
    case PQB_OPTION_FILES:
        format_files(field_of_const(option, config), text);
        break;
    }
}

void pqb_option_range(const struct pqb_option *option, char *text, size_t size)
{
    char low[32], high[32];

    text[0] = '\0';
    switch (option->type) {
    case PQB_OPTION_UINT:
        (void)snprintf(text, size, "%" PRIu64 " to %" PRIu64, option->min, option->max);
        break;
    case PQB_OPTION_SIZE:
        pqb_config_format_size(option->min, low, sizeof(low));
        pqb_config_format_size(option->max, high, sizeof(high));
        (void)snprintf(text, size, "%s to %s", low, high);
        break;
    case PQB_OPTION_DURATION:
        pqb_config_format_duration(option->min, low, sizeof(low));
        pqb_config_format_duration(option->max, high, sizeof(high));
        (void)snprintf(text, size, "%s to %s", low, high);
        break;
    case PQB_OPTION_BOOL:
        (void)snprintf(text, size, "yes | no");
        break;
    case PQB_OPTION_CHOICE:
        for (const char *at = option->choices; *at != '\0' && size > 4; at++) {
            const int written = snprintf(text, size, *at == '|' ? " | " : "%c", *at);

            text += written;
            size -= (size_t)written;
        }
        break;
    case PQB_OPTION_TEXT:
    case PQB_OPTION_LISTEN:
    case PQB_OPTION_FILES:
        break;
    }
}
