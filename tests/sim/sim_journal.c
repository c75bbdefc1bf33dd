#include "tests/sim/sim_journal.h"

#include "common/base/check.h"
#include "common/base/err.h"
#include "storage/store.h"
#include "tests/sim/sim_history.h"

void sim_journal_open(struct sim_journal *j, struct pqb_store *store)
{
    PQB_ASSERT(!j->view && pqb_view_create(store, &j->view) == PQB_OK);
}

pqb_wall_ms sim_journal_clock(const struct pqb_store *store)
{
    return pqb_store_clock(store);
}

void sim_journal_close(struct sim_journal *j)
{
    pqb_view_destroy(j->view);
    j->view = NULL;
}

void sim_journal_read(struct sim_journal *j, struct sim_oracle *o)
{
    struct pqb_record r;

    PQB_ASSERT(j->view);
    if (pqb_view_begin(j->view) != PQB_OK) {
        sim_oracle_fail(o, "the journal cannot be read");
        return;
    }
    while (pqb_view_tail(j->view, &j->next_gseq, &r) == PQB_OK) {
        struct pqb_message m;

        if (r.type != PQB_RECORD_MSG)
            continue;
        if (pqb_view_journal_message(j->view, r.gseq, &m) == PQB_OK)
            sim_history_on_stored(o, r.gseq, r.iseq, m.body.data, m.body.len);
        else
            sim_oracle_fail(o, "P1 a message in the journal cannot be read");
    }
    pqb_view_end(j->view);
}
