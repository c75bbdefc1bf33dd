#include "tools/pqbctl/ask.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools/pqbctl/json_read.h"

#define ANSWER_MAX  (32 * 1024 * 1024)
#define COLUMNS_MAX 16

// ------------------------------------------------------------------------------------ the socket

static int connect_to(const struct ctl_place *place)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    char path[CTL_PATH_MAX];
    int fd;

    ctl_control_path(place, path);
    if (strlen(path) >= sizeof(name.sun_path)) {
        fprintf(stderr, "pqbctl: %s is too long for a socket's path; use --control\n", path);
        return -1;
    }
    memcpy(name.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&name, sizeof(name)) == 0)
        return fd;
    if (errno == ENOENT || errno == ECONNREFUSED)
        fprintf(stderr,
                "pqbctl: no gateway answers at %s\n"
                "Does it run with this data directory? Name it by --data or PQB_DATA.\n",
                path);
    else
        fprintf(stderr, "pqbctl: cannot reach %s: %s\n%s", path, strerror(errno),
                errno == EACCES ? "Only the gateway's account and root may.\n" : "");
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

// One word of a command, escaped so that it is one word.
static void append_word(FILE *out, const char *word)
{
    for (; *word != '\0'; word++) {
        const unsigned char c = (unsigned char)*word;

        if (c <= ' ' || c == '%' || c == 0x7f)
            fprintf(out, "%%%02x", c);
        else
            fputc(c, out);
    }
}

static bool send_question(int fd, const struct ctl_question *question)
{
    char *line = NULL;
    size_t len = 0, sent = 0;
    FILE *out = open_memstream(&line, &len);

    if (out == NULL)
        return false;
    for (size_t i = 0; i < ASK_WORDS_MAX && question->words[i] != NULL; i++) {
        if (i > 0)
            fputc(' ', out);
        append_word(out, question->words[i]);
    }
    fputc('\n', out);
    if (fclose(out) != 0)
        return false;
    while (sent < len) {
        const ssize_t n = send(fd, line + sent, len - sent, MSG_NOSIGNAL);

        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    free(line);
    return sent == len;
}

enum waited {
    WAITED_DATA,
    WAITED_TIMEOUT,
};

static enum waited wait_readable(int fd, pqb_tstamp deadline)
{
    for (;;) {
        const pqb_tstamp now = cli_now();
        struct pollfd p = {.fd = fd, .events = POLLIN};

        if (now >= deadline)
            return WAITED_TIMEOUT;
        if (poll(&p, 1, (int)((deadline - now) / PQB_NS_PER_MS) + 1) > 0)
            return WAITED_DATA;
    }
}

// The answer's line without its newline, or NULL, told.
static char *read_answer(int fd, pqb_tstamp deadline)
{
    size_t len = 0, capacity = 4096;
    char *text = malloc(capacity);

    while (text != NULL && wait_readable(fd, deadline) == WAITED_DATA) {
        const ssize_t n = read(fd, text + len, capacity - len - 1);

        if (n <= 0) {
            fprintf(stderr, "pqbctl: the gateway hung up; its log may say why\n");
            free(text);
            return NULL;
        }
        len += (size_t)n;
        text[len] = '\0';
        if (text[len - 1] == '\n') {
            text[len - 1] = '\0';
            return text;
        }
        if (capacity - len < 2) {
            char *grown = capacity < ANSWER_MAX ? realloc(text, capacity * 2) : NULL;

            if (grown == NULL)
                break;
            text = grown;
            capacity *= 2;
        }
    }
    fprintf(stderr,
            "pqbctl: no whole answer came in time; 'pqbctl stats' tells whether the gateway "
            "hangs\n");
    free(text);
    return NULL;
}

// ------------------------------------------------------------------------------------ for people

static void print_text(const char *text, int width)
{
    int printed = 0;

    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;

        if (iscntrl(c) != 0)
            printed += printf("\\x%02x", c);
        else {
            putchar(c);
            printed += (c & 0xc0) != 0x80; // one column a character
        }
    }
    if (printed < width)
        printf("%*s", width - printed, "");
}

// Milliseconds since 1970 are for machines.
static const char *readable(const struct ctl_json *value, char text[32])
{
    time_t seconds;
    struct tm tm;

    if (value->key == NULL ||
        (strcmp(value->key, "time") != 0 && strcmp(value->key, "last_seen") != 0))
        return value->text;
    seconds = (time_t)(strtoull(value->text, NULL, 10) / 1000);
    if (seconds == 0 || localtime_r(&seconds, &tm) == NULL ||
        strftime(text, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        return value->text;
    return text;
}

static void print_table(const struct ctl_json *rows)
{
    int widths[COLUMNS_MAX] = {0};
    char text[32];

    for (const struct ctl_json *row = rows->first; row != NULL; row = row->next) {
        size_t column = 0;

        for (const struct ctl_json *cell = row->first; cell != NULL && column < COLUMNS_MAX;
             cell = cell->next, column++) {
            const char *shown = cell->text != NULL ? readable(cell, text) : "";

            widths[column] = PQB_MAX(widths[column], (int)PQB_MIN(strlen(shown), (size_t)64));
            widths[column] =
                PQB_MAX(widths[column], (int)strlen(cell->key != NULL ? cell->key : ""));
        }
    }
    for (int is_head = 1; is_head >= 0; is_head--) {
        for (const struct ctl_json *row = rows->first; row != NULL;
             row = is_head ? NULL : row->next) {
            size_t column = 0;

            printf(" ");
            for (const struct ctl_json *cell = row->first; cell != NULL && column < COLUMNS_MAX;
                 cell = cell->next, column++) {
                printf(" ");
                print_text(is_head              ? cell->key
                           : cell->text != NULL ? readable(cell, text)
                                                : "",
                           cell->next != NULL ? widths[column] : 0);
            }
            printf("\n");
        }
    }
}

static void print_answer(const struct ctl_json *answer)
{
    char text[32];

    for (const struct ctl_json *it = answer->first; it != NULL; it = it->next) {
        if (strcmp(it->key, "ok") == 0)
            continue;
        if (it->type == CTL_JSON_ARRAY) {
            printf("%s:%s\n", it->key, it->first == NULL ? " none" : "");
            if (it->first != NULL)
                print_table(it);
        } else {
            printf("%s: ", it->key);
            print_text(it->text != NULL ? readable(it, text) : "", 0);
            printf("\n");
        }
    }
}

static int show(char *line, bool is_json)
{
    struct ctl_json *answer;
    int status;

    if (is_json)
        puts(line);
    answer = ctl_json_parse(line);
    if (answer == NULL || answer->type != CTL_JSON_OBJECT) {
        fprintf(stderr, "pqbctl: the answer is not understood; is the gateway of this version?\n");
        ctl_json_destroy(answer);
        return CLI_EXIT_FINDING;
    }
    status = strcmp(ctl_json_text(answer, "ok"), "true") == 0 ? CLI_EXIT_DONE : CLI_EXIT_FINDING;
    if (status != CLI_EXIT_DONE)
        fprintf(stderr, "pqbctl: %s\n", ctl_json_text(answer, "error"));
    else if (!is_json)
        print_answer(answer);
    ctl_json_destroy(answer);
    return status;
}

static bool wait_for_end(int fd, pqb_tstamp deadline)
{
    char byte;

    while (wait_readable(fd, deadline) == WAITED_DATA) {
        if (read(fd, &byte, 1) <= 0)
            return true;
    }
    fprintf(stderr, "pqbctl: the gateway has not stopped in time\n");
    return false;
}

int ctl_ask(const struct ctl_place *place, const struct ctl_question *question)
{
    const pqb_tstamp deadline = pqb_tstamp_add(cli_now(), question->timeout);
    const int fd = connect_to(place);
    int status = CLI_EXIT_FINDING;
    char *line;

    if (fd < 0)
        return CLI_EXIT_FINDING;
    if (!send_question(fd, question))
        fprintf(stderr, "pqbctl: the gateway hung up; is this account allowed to ask?\n");
    else if ((line = read_answer(fd, deadline)) != NULL) {
        status = show(line, question->is_json);
        free(line);
        if (status == CLI_EXIT_DONE && question->waits_for_end && !wait_for_end(fd, deadline))
            status = CLI_EXIT_FINDING;
    }
    (void)close(fd);
    return status;
}
