// The report at the end of a load run: for people, or one JSON object.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tools/pqbsim/account.h"
#include "tools/pqbsim/fleet.h"

struct report {
    const struct account *account;
    struct fleet_totals totals;
    uint64_t lost, unresolved, uncertain, throttled, seed;
    pqb_tstamp sending_from;
    double seconds; // of sending; settling comes on top
    double settle_seconds;
    const struct traffic *traffic; // NULL: not wanted
    const struct pqb_hist *rebind_gap_us;
};

void report_print(const struct report *r, bool is_json);
bool report_is_clean(const struct report *r); // nothing lost, duplicated or out of order
