#include "gateway/admin/chain.h"

static struct pqb_chain *chain_of(struct pqb_call *call)
{
    return PQB_CONTAINER_OF(call, struct pqb_chain, call);
}

static void visit(struct pqb_call *call, struct pqb_shard *shard, struct pqb_engine *engine,
                  pqb_tstamp now)
{
    struct pqb_chain *chain = chain_of(call);

    chain->visit(chain, shard, engine, now);
}

static void go_on(struct pqb_chain *chain)
{
    if (chain->at < chain->end) {
        if (pqb_shard_call(&chain->mailboxes[chain->at], &chain->call))
            return;
        chain->is_failed = true;
    }
    chain->done(chain);
}

void pqb_chain_start(struct pqb_chain *chain, struct pqb_mailbox *mailboxes, uint32_t first,
                     uint32_t end, struct pqb_mailbox *home)
{
    chain->mailboxes = mailboxes;
    chain->at = first;
    chain->end = end;
    chain->is_failed = false;
    chain->call = (struct pqb_call){.run = visit, .reply = home};
    go_on(chain);
}

void pqb_chain_on_reply(struct pqb_call *call)
{
    struct pqb_chain *chain = chain_of(call);

    chain->at++;
    go_on(chain);
}
