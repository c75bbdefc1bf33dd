// Asking a running gateway over its control socket.
#pragma once

#include <stdbool.h>

#include "tools/pqbctl/pqbctl.h"

#define ASK_WORDS_MAX 4

struct ctl_question {
    const char *words[ASK_WORDS_MAX]; // the command and its arguments; NULL ends them
    pqb_duration timeout;
    bool is_json;       // print the answer as it came
    bool waits_for_end; // after the answer, wait until the gateway has gone
};

// Sends the question, prints the answer for people or as JSON. Returns the exit status; what goes
// wrong is told on stderr.
int ctl_ask(const struct ctl_place *place, const struct ctl_question *question);
