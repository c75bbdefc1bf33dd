// The gateway as a whole: store, sockets, shards, counters page, control socket, and the main
// thread's loop (signals, timers, letters). Everything here belongs to the main thread.
#pragma once

#include "gateway/config/config.h"

struct pqb_daemon;

enum pqb_daemon_exit {
    PQB_DAEMON_STOPPED = 0, // drained and closed in order
    PQB_DAEMON_FAILED = 1,  // could not start; the log says why
};

// Runs a gateway until it is asked to stop. argc and argv are read again on reload.
enum pqb_daemon_exit pqb_daemon_run(const struct pqb_config *config, int argc, char *const *argv);
