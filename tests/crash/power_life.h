// A store's life for the power-loss test: clients who send and acknowledge, and what each of them
// was told until some point of the log.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/store.h"
#include "tests/crash/power_log.h"

#define POWER_USERS       4
#define POWER_DEVICES     8 // two for each user
#define POWER_LETTERS_MAX 2000
#define POWER_BODY_MAX    6000
#define POWER_BODY_TAG    16 // a body begins with so many bytes that no other has

struct power_letter {
    unsigned from; // device
    unsigned to;   // user
    uint64_t seq;
    size_t body_len;
};

// What a client wrote; the same at every point of the log.
struct power_plan {
    struct power_letter letters[POWER_LETTERS_MAX];
    size_t letter_count;
};

struct power_device {
    bool has_login;
    uint32_t devno, epoch;
    uint64_t cursor_asked; // highest, answered or not
    uint64_t cursor_told;  // answered
};

// What was asked and told before some point of the log.
struct power_promises {
    bool has_opened;
    uint64_t uid[POWER_USERS];   // 0: not known
    uint64_t floor[POWER_USERS]; // what all devices may have acknowledged
    struct power_device devices[POWER_DEVICES];
    uint64_t iseq[POWER_LETTERS_MAX]; // 0: not accepted yet
};

void power_life_config(struct pqb_store_config *config, const char *path);

// Lives a whole life in the directory of `config`; everything is in `log`, the opening included.
// *start is the entry from which on the store was open.
void power_life_run(const struct pqb_store_config *config, uint64_t seed, struct power_plan *plan,
                    struct power_log *log, size_t *start);

// Takes a NOTICE in.
void power_promises_apply(struct power_promises *p, const struct power_plan *plan,
                          const struct power_entry *e);

void power_letter_body(size_t letter, size_t len, uint8_t *out);

// What a client that sends `seq` says its lowest unresolved seq is.
uint64_t power_low(uint64_t seq);

// The requests of a client who knows what `p` says. The caller's until submitted.
struct pqb_request *power_request(enum pqb_op op, const struct power_promises *p, unsigned device);
struct pqb_request *power_letter_request(const struct power_plan *plan,
                                         const struct power_promises *p, size_t letter);
