// What happened, line by line with virtual time: printed as it happens (--trace), or kept as a tail
// for the run that failed. Off in normal runs: a failing seed is simply run again with it on.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/defs.h"
#include "common/base/time.h"

enum sim_trace_mode {
    SIM_TRACE_OFF,
    SIM_TRACE_TAIL,
    SIM_TRACE_PRINT,
};

void sim_trace_begin(enum sim_trace_mode mode);
bool sim_trace_is_on(void);
// What datagrams say cannot be read.
void sim_trace_seal(bool is_sealed);
void sim_trace(pqb_tstamp now, const char *format, ...) PQB_PRINTF(2, 3);
void sim_trace_print_tail(FILE *out, size_t lines);

// One line for a datagram: its type and frames.
void sim_trace_datagram(pqb_tstamp now, const char *what, const void *data, size_t len);

// Differs when two runs differed; grows with every event that a run reports, traced or not.
void sim_trace_mix(uint64_t value);
uint64_t sim_trace_digest(void);
