// pqbctl's commands. Each takes its own argc/argv (argv[0] is the command's name) and returns the
// exit status.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/io/stats_page.h"
#include "tools/cli/cli.h"

#define CTL_PATH_MAX 4096

// Where the gateway is; the options that every command takes.
struct ctl_place {
    const char *data;    // --data, $PQB_DATA, /var/lib/paquebot
    const char *control; // --control
    const char *stats;   // --stats
};

void ctl_place_init(struct ctl_place *place);

#define CTL_PLACE_OPTIONS(place)                                                           \
    {.name = "data",                                                                       \
     .type = CLI_TEXT,                                                                     \
     .out = (void *)&(place).data,                                                         \
     .value = "DIR",                                                                       \
     .help = "the gateway's data directory [$PQB_DATA, /var/lib/paquebot]"},               \
        {.name = "control",                                                                \
         .type = CLI_TEXT,                                                                 \
         .out = (void *)&(place).control,                                                  \
         .value = "PATH",                                                                  \
         .help = "its control socket [DIR/control.sock]"},                                 \
    {                                                                                      \
        .name = "stats", .type = CLI_TEXT, .out = (void *)&(place).stats, .value = "PATH", \
        .help = "its counters page [DIR/stats]"                                            \
    }

// `path` has CTL_PATH_MAX bytes.
void ctl_control_path(const struct ctl_place *place, char *path);
void ctl_stats_path(const struct ctl_place *place, char *path);

// ----------------------------------------------------------------------------- counters page

// Reads the page; on failure says on stderr what to do and returns false.
bool ctl_stats_read(const struct ctl_place *place, struct pqb_stats_snapshot *out);

enum ctl_life {
    CTL_RUNNING,
    CTL_HUNG,    // the process is there, its main thread or a shard has not moved for seconds
    CTL_DEAD,    // the process is gone without having ended in order
    CTL_STOPPED, // ended in order
};

struct ctl_health {
    enum ctl_life life;
    char note[80];         // which thread hangs
    uint64_t uptime_s;     // of a gateway that runs
    uint64_t heartbeat_ms; // age of the last heartbeat
};

void ctl_health_of(const struct pqb_stats_snapshot *s, struct ctl_health *out);
const char *ctl_life_name(enum ctl_life life);

// ---------------------------------------------------------------------------------- commands

int ctl_stats(int argc, char **argv);
int ctl_top(int argc, char **argv);
int ctl_status(int argc, char **argv);
int ctl_sessions(int argc, char **argv);
int ctl_user(int argc, char **argv);
int ctl_inbox(int argc, char **argv);
int ctl_kick(int argc, char **argv);
int ctl_drain(int argc, char **argv);
int ctl_reload(int argc, char **argv);
int ctl_checkpoint(int argc, char **argv);
int ctl_confirm_clock(int argc, char **argv);
int ctl_backup(int argc, char **argv);
int ctl_verify(int argc, char **argv);
int ctl_server_key(int argc, char **argv);
int ctl_keygen(int argc, char **argv);
int ctl_token(int argc, char **argv);
