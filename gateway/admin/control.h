// The control socket: newline-terminated commands in, one line of JSON out for each. A peer's next
// line is read when the one before has been answered. Runs on the main thread.
//
// Only the gateway's own account and root may speak: the socket's mode is 0600 and the peer's
// credentials are checked besides (the mode alone is void on some file systems).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"

#define PQB_CONTROL_PEERS_MAX 16
#define PQB_CONTROL_LINE_MAX  4096
#define PQB_CONTROL_WORDS_MAX 8

struct event_base;
struct pqb_control;
struct pqb_control_peer;

struct pqb_control_handler {
    void *ctx;
    // A command came; answer it with pqb_control_answer, now or later. `words` live for the call.
    void (*on_command)(void *ctx, struct pqb_control_peer *peer, char *const *words, size_t count);
    // The peer is going away; a command of its that is not answered must forget it.
    void (*on_gone)(void *ctx, const struct pqb_control_peer *peer);
    uint64_t *commands, *refused; // counters
};

// PQB_ERR_EXISTS: another process listens there. errno tells more.
PQB_MUST_USE int pqb_control_create(struct pqb_control **out, struct event_base *base,
                                    const char *path, const struct pqb_control_handler *handler);
void pqb_control_destroy(struct pqb_control *c); // removes the socket; NULL is fine

// `line` is one line of JSON without its newline.
void pqb_control_answer(struct pqb_control_peer *peer, const char *line);

// Splits `line` in place at single spaces and undoes %XX escapes. Returns the number of words, or 0
// when there are none, too many, or an escape is wrong or yields NUL.
size_t pqb_control_split(char *line, char **words, size_t words_max);
