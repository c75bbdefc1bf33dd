// A call that visits the shards one after the other and then comes home. Because only one shard has
// it at a time, whatever it carries needs no lock: it travels with the call.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "gateway/io/shard.h"

struct pqb_chain {
    struct pqb_call call;
    struct pqb_mailbox *mailboxes; // of the shards
    uint32_t at, end;              // next shard, and one past the last
    bool is_failed;                // a shard's mailbox was full; the rest was not visited
    // On each shard's thread.
    void (*visit)(struct pqb_chain *chain, struct pqb_shard *shard, struct pqb_engine *engine,
                  pqb_tstamp now);
    // On the main thread, at the end. May start the chain again or free what it is part of.
    void (*done)(struct pqb_chain *chain);
    void *ctx; // the owner's
};

// Sets off to the shards [first, end). The last answer arrives in `home`, whose owner calls
// pqb_chain_on_reply. With nowhere to go `done` is called at once.
void pqb_chain_start(struct pqb_chain *chain, struct pqb_mailbox *mailboxes, uint32_t first,
                     uint32_t end, struct pqb_mailbox *home);

// Main thread: `call` came back.
void pqb_chain_on_reply(struct pqb_call *call);
