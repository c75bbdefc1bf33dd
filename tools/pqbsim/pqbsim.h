// The simulator's commands and what they share.
#pragma once

#include "common/base/time.h"
#include "common/wire/limits.h"
#include "tools/cli/cli.h"
#include "tools/pqbsim/impair.h"

int pqbsim_load(int argc, char **argv);
int pqbsim_link(int argc, char **argv);
int pqbsim_inject(int argc, char **argv);

// Reads --server-key, or PQB_SERVER_KEY without it, into `key`. *out is `key`, or NULL for
// plaintext. CLI_EXIT_DONE, or the exit status after telling what is wrong.
int pqbsim_server_key(const char *command, const char *hex, uint8_t key[PQB_KEY_LEN],
                      const uint8_t **out);

#define PQBSIM_SERVER_KEY(text)                                                      \
    {                                                                                \
        .name = "server-key", .type = CLI_TEXT, .out = &(text), .value = "HEX",      \
        .help = "the gateway's public key: sessions are encrypted [$PQB_SERVER_KEY]" \
    }

// The impairment options that load and link have in common, bound to `config` and `rebind_ns`.
#define PQBSIM_IMPAIRMENTS(config, rebind_ns, seed)                       \
    {.name = "loss",                                                      \
     .type = CLI_FRACTION,                                                \
     .out = &(config).loss,                                               \
     .value = "P",                                                        \
     .help = "drop this fraction of datagrams, each way"},                \
        {.name = "dup",                                                   \
         .type = CLI_FRACTION,                                            \
         .out = &(config).dup,                                            \
         .value = "P",                                                    \
         .help = "deliver this fraction twice"},                          \
        {.name = "reorder",                                               \
         .type = CLI_FRACTION,                                            \
         .out = &(config).reorder,                                        \
         .value = "P",                                                    \
         .help = "let this fraction be overtaken by later ones"},         \
        {.name = "delay",                                                 \
         .type = CLI_MILLIS,                                              \
         .out = &(config).delay,                                          \
         .value = "MS",                                                   \
         .help = "delay every datagram, each way"},                       \
        {.name = "jitter",                                                \
         .type = CLI_MILLIS,                                              \
         .out = &(config).jitter,                                         \
         .value = "MS",                                                   \
         .help = "delay by up to so much more, at random"},               \
        {.name = "rebind",                                                \
         .type = CLI_SECONDS,                                             \
         .out = &(rebind_ns),                                             \
         .value = "S",                                                    \
         .help = "change a client's address every S seconds on average"}, \
    {                                                                     \
        .name = "seed", .type = CLI_NUMBER, .out = &(seed), .value = "N", \
        .help = "repeat the random choices of an earlier run"             \
    }
