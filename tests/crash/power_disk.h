// A disk that may lose power: what is on it for sure, and what only the kernel's cache has.
//
// A sector (512 bytes) is written whole or not at all; sectors of one write get there in any order,
// or don't. The cache writes what it has at that time, so a sector can also be found in a state
// between two writes.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/rng.h"
#include "tests/crash/power_log.h"

#define POWER_SECTOR 512

// Disks that say a write is durable when it is not: the checker must find that out.
enum power_lie {
    POWER_HONEST,
    POWER_LIES_SYNC,  // fsync and fdatasync do nothing
    POWER_LIES_DSYNC, // O_DSYNC does nothing
    POWER_LIES_BOTH,
};

enum power_loss {
    POWER_LOSE_ALL,    // of what is not synced: nothing is there
    POWER_LOSE_NONE,   // all is there
    POWER_LOSE_WRITES, // some writes, whole
    POWER_LOSE_SECTORS,
};

struct power_bytes {
    uint8_t *data;
    size_t len, size;
};

struct power_disk {
    enum power_lie lie;
    struct power_bytes durable, cache;
    const struct power_entry **pending; // writes since the last sync
    size_t pending_count, pending_size;
};

void power_disk_fini(struct power_disk *d);
void power_disk_apply(struct power_disk *d, const struct power_entry *e);

// The file as it is found when power is lost now.
void power_disk_image(const struct power_disk *d, enum power_loss loss, struct pqb_rng *rng,
                      struct power_bytes *out);
void power_bytes_fini(struct power_bytes *b);
