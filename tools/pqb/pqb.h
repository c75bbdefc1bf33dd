// pqb: what its commands share. A program of one thread; errors are told to stderr.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/json.h"
#include "common/client/paquebot.h"
#include "tools/cli/cli.h"

int pqb_send(int argc, char **argv);
int pqb_listen(int argc, char **argv);
int pqb_chat(int argc, char **argv);
int pqb_dead_letters(int argc, char **argv);
int pqb_device_key(int argc, char **argv);

#define POISON_LIMIT  5             // runs that die over a message before it is put aside
#define JSON_LINE_MAX (512u * 1024) // a body of control characters grows sixfold
#define LINK_PATH_MAX 4096          // of a state directory

// What every command is told; filled by its options, but for the last two.
struct link_options {
    const char *server, *user, *device, *state;
    const char *server_key, *token; // hexadecimal digits; a file
    bool may_be_plaintext;
    pqb_duration timeout; // 0: none
    uint32_t watch_max;   // messages whose delivery is waited for
    uint32_t poison_limit;
};

// The options above, for a command's table.
#define LINK_OPTIONS(o)                                                           \
    {.name = "server",                                                            \
     .type = CLI_TEXT,                                                            \
     .out = &(o)->server,                                                         \
     .value = "HOST:PORT",                                                        \
     .help = "the gateway",                                                       \
     .is_required = true},                                                        \
        {.name = "user",                                                          \
         .type = CLI_TEXT,                                                        \
         .out = &(o)->user,                                                       \
         .value = "USER",                                                         \
         .help = "who you are, 1 to 64 bytes",                                    \
         .is_required = true},                                                    \
        {.name = "device",                                                        \
         .type = CLI_TEXT,                                                        \
         .out = &(o)->device,                                                     \
         .value = "DEVICE",                                                       \
         .help = "which of your devices this is, 1 to 32 bytes",                  \
         .is_required = true},                                                    \
        {.name = "server-key",                                                    \
         .type = CLI_TEXT,                                                        \
         .out = &(o)->server_key,                                                 \
         .value = "HEX",                                                          \
         .help = "the gateway's public key: 'pqbctl server-key' tells it "        \
                 "[$PQB_SERVER_KEY]"},                                            \
        {.name = "token",                                                         \
         .type = CLI_TEXT,                                                        \
         .out = &(o)->token,                                                      \
         .value = "FILE",                                                         \
         .help = "file with what lets you in, when the gateway asks for it"},     \
        {.name = "insecure-plaintext",                                            \
         .type = CLI_FLAG,                                                        \
         .out = &(o)->may_be_plaintext,                                           \
         .help = "go without a key beyond this machine: anyone on the way can "   \
                 "read and forge"},                                               \
    {                                                                             \
        .name = "state", .type = CLI_TEXT, .out = &(o)->state, .value = "DIR",    \
        .help = "queue and cursor (default $XDG_STATE_HOME/paquebot/USER.DEVICE)" \
    }

// Of the commands that need no gateway: whose state it is, for link_state_path.
#define LINK_STATE_OPTIONS(state_, user_, device_)                               \
    {.name = "state",                                                            \
     .type = CLI_TEXT,                                                           \
     .out = (state_),                                                            \
     .value = "DIR",                                                             \
     .help = "where the device keeps its state"},                                \
        {.name = "user",                                                         \
         .type = CLI_TEXT,                                                       \
         .out = (user_),                                                         \
         .value = "USER",                                                        \
         .help = "or: in $XDG_STATE_HOME/paquebot/USER.DEVICE"},                 \
    {                                                                            \
        .name = "device", .type = CLI_TEXT, .out = (device_), .value = "DEVICE", \
        .help = "with --user"                                                    \
    }

// A client with its store and socket, connecting.
struct link {
    const char *command;
    const char *server;
    struct pqb_client_store *store;
    struct pqb_client *c;
    struct pqb_client_udp *udp;
    pqb_tstamp started, deadline; // PQB_NEVER: none
    bool was_online;
    bool is_hasty; // the program has more to do: the next turn does not wait
    enum pqb_client_state state;
    enum pqb_client_reason reason;
};

// Opens it and begins to connect. CLI_EXIT_DONE, or the exit status after telling what is wrong.
// `callbacks.on_state` must call link_on_state.
int link_open(struct link *l, const char *command, const struct link_options *options,
              const struct pqb_client_callbacks *callbacks, void *ctx);
void link_close(struct link *l); // logs out; fine after a failed open

// Where the state of a device is: `state`, or the default place. CLI_EXIT_DONE, or the exit status
// after telling what is wrong.
int link_state_path(const char *command, const char *state, const char *user, const char *device,
                    char path[LINK_PATH_MAX]);

// The device's secret key in the state directory `path`, made when missing. CLI_EXIT_DONE, or the
// exit status after telling what is wrong.
int link_load_device_key(const char *command, const char *path, uint8_t secret[PQB_CLIENT_KEY_LEN]);

void link_on_state(struct link *l, enum pqb_client_state state, enum pqb_client_reason reason);

// One turn: waits for a datagram, a deadline, a signal, or for `fd` (-1: none) to become readable,
// which *is_readable tells. false: it is over; *status is the exit status and stderr has the reason
// (failed for good, or out of time).
bool link_run(struct link *l, int fd, bool *is_readable, int *status);

// Did a signal ask the program to stop? After link_open.
bool link_is_interrupted(void);

// Length of the UTF-8 character at `text` that is neither broken nor a control character; 0: none.
size_t printable_len(const char *text, size_t left);

// `text` with control characters, backslash and bytes that are not UTF-8 as \n, \t, \\ or \xHH.
void print_escaped(const char *text, size_t len);

// Tells on stderr that message `number` of `command` was refused, and what to do about it.
void tell_refusal(const char *command, uint64_t number, unsigned refusal);

// Tells on stderr which positions of the inbox hold no message any more, and why.
void tell_gap(const char *command, uint64_t from, uint64_t to, unsigned gap);

// Tells on stderr that a message was put aside.
void tell_dead_letter(const char *command, const struct pqb_client_dead_letter *letter);

// Member "body" when it is text, else "body_b64".
void json_body(struct pqb_json *j, const uint8_t *body, size_t len);

// Lines of a file descriptor, read as they come. A line is at most PQB_CLIENT_BODY_MAX bytes.
struct lines {
    int fd;
    size_t len, taken;
    bool is_over; // the end of the file was read
    char data[PQB_CLIENT_BODY_MAX + 1];
};

enum line_verdict {
    LINE_READY,
    LINE_NONE, // read more first, or there is no more
    LINE_TOO_LONG,
};

// Next line without its newline, borrowed until the next call.
enum line_verdict lines_next(struct lines *in, const char **line, size_t *len);
void lines_read(struct lines *in); // when fd is readable
