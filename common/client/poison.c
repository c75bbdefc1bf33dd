// Which message the application does not survive: paquebot.h tells the rule. Only the first message
// of a client's life is charged, so a good run costs two syncs; one that died over a message which
// was not its first leaves the cursor right below it, and the next run begins with it.
#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/mutant.h"
#include "common/client/impl.h"

void pqb_poison_load(struct pqb_client *c, const struct pqb_client_saved *saved, uint32_t limit)
{
    struct pqb_poison *p = &c->poison;

    p->limit = c->store->attempt != NULL ? limit : 0;
    p->careful = 1;
    if (saved->attempts == 0 || saved->attempt_iseq <= saved->cursor)
        return;
    p->iseq = saved->attempt_iseq;
    p->noted = p->deaths = saved->attempts;
    p->careful = PQB_CLIENT_CAREFUL;
}

bool pqb_poison_is(const struct pqb_client *c, uint64_t iseq)
{
    const struct pqb_poison *p = &c->poison;

    return p->limit > 0 && p->iseq == iseq && p->deaths >= p->limit;
}

static bool note(struct pqb_client *c, uint32_t attempts)
{
    struct pqb_poison *p = &c->poison;

    if (p->noted == attempts)
        return true;
    if (c->store->attempt(c->store->ctx, p->iseq, attempts) != PQB_OK)
        return false;
    p->noted = attempts;
    return true;
}

bool pqb_poison_begin(struct pqb_client *c, uint64_t iseq)
{
    struct pqb_poison *p = &c->poison;

    if (p->limit == 0 || p->has_taken)
        return true;
    if (p->iseq != iseq) {
        p->iseq = iseq;
        p->noted = p->deaths = 0;
    }
    return note(c, p->deaths + 1);
}

void pqb_poison_end(struct pqb_client *c, bool is_taken)
{
    struct pqb_poison *p = &c->poison;

    if (p->limit == 0)
        return;
    // A note that can't be taken back now stands until the next try begins, which then has it.
    if (!is_taken && !p->has_taken && !PQB_MUTANT(REFUSAL_IS_CHARGED))
        (void)note(c, p->deaths);
    if (!is_taken)
        return;
    p->has_taken = true;
    if (p->careful == 0)
        return;
    p->careful--;
    (void)pqb_client_sync(c); // ends the client when it fails
}
