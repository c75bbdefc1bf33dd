// Failures made on purpose: the nth call of a kind fails, once. Linked with --wrap into programs of
// their own (tests/unit/meson.build), so that nothing of it is in what ships.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum fault_kind {
    FAULT_NONE,
    FAULT_MEMORY,      // malloc, calloc, realloc, strdup of the project's own code
    FAULT_TABLE_WRITE, // calls of LMDB that write
    FAULT_TABLE_ANY,   // any call of LMDB that can fail
    FAULT_SEND,        // send
    FAULT_RECEIVE,     // recv
};

#define FAULT_MAP_FULL (-30792) // what LMDB says of a full map

// The `at`th call (from 1) of `kind` from now on fails with `error` (LMDB: what it returns).
void faults_arm(enum fault_kind kind, uint64_t at, int error);
bool faults_disarm(void); // true: it has failed

// For the wrappers.
bool faults_strike(enum fault_kind kind);
int faults_error(void);
