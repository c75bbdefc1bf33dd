// Sliding window of packet numbers received (the RFC 6479 bitmap), 1024 wide.
//
// Feed it authenticated numbers only: one forged huge number would make every honest one stale.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/defs.h"

#define PQB_REPLAY_WORDS 17 // one is redundant so that advancing clears whole words
#define PQB_REPLAY_SPAN  ((PQB_REPLAY_WORDS - 1) * UINT64_C(64))

enum pqb_replay {
    PQB_REPLAY_NEW, // first sighting; now recorded
    PQB_REPLAY_DUPLICATE,
    PQB_REPLAY_STALE, // older than the window
};

struct pqb_replay_window {
    uint64_t largest; // 0: nothing recorded; packet numbers begin at 1
    uint64_t words[PQB_REPLAY_WORDS];
};

void pqb_replay_window_init(struct pqb_replay_window *w);

// What recording `pn` would say; records nothing. The look before the datagram is proved genuine.
PQB_MUST_USE enum pqb_replay pqb_replay_window_check(const struct pqb_replay_window *w,
                                                     uint64_t pn);
PQB_MUST_USE enum pqb_replay pqb_replay_window_record(struct pqb_replay_window *w, uint64_t pn);
