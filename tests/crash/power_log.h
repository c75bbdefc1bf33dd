// What a store does to its data file, in order, with contents; and between it what clients were
// told.
//
// The program's own pwrite, writev, lseek, fsync and fdatasync stand before those of libc, so that
// LMDB calls them. They do what they are asked, and log it when it concerns the file being watched.
// One thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"

enum power_kind {
    POWER_WRITE,  // handed to the kernel; durable at some time, or never
    POWER_SYNC,   // fsync or fdatasync has returned
    POWER_DSYNC,  // the write before this one went through O_DSYNC and has returned
    POWER_NOTICE, // the workload's: what it asked, what it was told
};

struct power_entry {
    enum power_kind kind;
    uint64_t offset; // WRITE, DSYNC
    size_t len;
    uint8_t *data;   // WRITE
    uint64_t say[5]; // NOTICE
};

struct power_log {
    struct power_entry *entries;
    size_t count, size;
};

// Logs into `log` from now on what is done to `file`; NULL, NULL ends it.
void power_log_watch(struct power_log *log, const char *file);

void power_log_note(struct power_log *log, uint64_t what, const uint64_t say[4]);
void power_log_fini(struct power_log *log);
