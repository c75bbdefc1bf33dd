#include "common/base/mutant.h"
#include "gateway/core/engine_impl.h"

int pqb_engine_open_view(struct pqb_engine *e)
{
    const int err = pqb_view_begin(e->view);

    if (err != PQB_OK)
        return err;
    e->is_view_open = true;
    e->journal_first = pqb_view_journal_first(e->view);
    return PQB_OK;
}

void pqb_engine_close_view(struct pqb_engine *e)
{
    pqb_view_end(e->view);
    e->is_view_open = false;
}

void pqb_tail_cover(struct pqb_user *u, const struct pqb_user_state *state)
{
    u->head = PQB_MAX(u->head, state->head);
    u->tail = PQB_MAX(u->tail, state->tail);
    u->floor = PQB_MAX(u->floor, state->floor);
    u->delivered = PQB_MAX(u->delivered, state->delivered);
}

static int on_message(struct pqb_engine *e, const struct pqb_record *r)
{
    struct pqb_user *u = pqb_user_table_make(&e->users, r->uid, r->uhash);
    int err;

    if (!u)
        return PQB_ERR_NOMEM;
    err = pqb_user_table_index(&e->users, u, r->iseq, r->gseq);
    if (err != PQB_OK) {
        pqb_user_table_release(&e->users, u);
        return err;
    }
    u->head = PQB_MAX(u->head, r->iseq);
    PQB_LIST_FOREACH (it, &u->sessions) {
        struct pqb_session *s = PQB_CONTAINER_OF(it, struct pqb_session, of_user);

        s->has_news = s->allowed_upto != UINT64_MAX;
        pqb_session_touch(e, s);
    }
    if (!e->is_tail_current)
        return PQB_OK; // from before the start
    // Here and not at the sender's shard, which may be another and cannot know.
    if (u->session_count == 0)
        pqb_count(e, PQB_COUNTER_MSG_STORED);
    pqb_hint_on_arrival(e, u, r->iseq);
    return PQB_OK;
}

static void touch_all(struct pqb_engine *e, struct pqb_user *u)
{
    PQB_LIST_FOREACH (it, &u->sessions)
        pqb_session_touch(e, PQB_CONTAINER_OF(it, struct pqb_session, of_user));
}

static int on_record(struct pqb_engine *e, const struct pqb_record *r, pqb_tstamp now)
{
    struct pqb_user *u;
    struct pqb_session *s;

    if (r->type == PQB_RECORD_BAD) {
        pqb_count(e, PQB_COUNTER_TAIL_BAD);
        return PQB_OK;
    }
    if (r->uhash % e->config.shards != e->config.shard)
        return PQB_OK;
    if (r->type == PQB_RECORD_MSG)
        return on_message(e, r);
    u = pqb_user_table_get(&e->users, r->uid);
    if (!u)
        return PQB_OK; // a login will bring the state of then, and read again what came after
    switch (r->type) {
    case PQB_RECORD_CURSOR:
        u->delivered = PQB_MAX(u->delivered, r->delivered);
        break;
    case PQB_RECORD_EXPIRE:
        if (PQB_MUTANT(EXPIRY_IS_SILENT))
            break;
        u->tail = PQB_MAX(u->tail, r->iseq + 1);
        u->floor = PQB_MAX(u->floor, r->iseq);
        touch_all(e, u);
        break;
    case PQB_RECORD_GENERATION:
        u->head = PQB_MAX(u->head, r->iseq - 1);
        touch_all(e, u);
        break;
    case PQB_RECORD_FORGET:
        s = pqb_session_get_device(e, r->uid, r->devno);
        if (s)
            pqb_session_kick(e, s, PQB_KICK_ADMIN, now);
        break;
    case PQB_RECORD_MSG:
    case PQB_RECORD_PART:
    case PQB_RECORD_REFUSAL:
    case PQB_RECORD_SKIP:
    case PQB_RECORD_DEVICE:
    case PQB_RECORD_EPOCH:
    case PQB_RECORD_USER:
    case PQB_RECORD_BAD:
        break;
    }
    return PQB_OK;
}

// The user's row covers all that the journal has dropped. Messages of that stretch are in `inbox`.
static int catch_up(struct pqb_engine *e, struct pqb_user *u)
{
    struct pqb_user_state row;
    const int err = pqb_view_user(e->view, u->uid, &row);

    if (err == PQB_ERR_NOT_FOUND)
        return PQB_OK; // all of it is still in the journal
    if (err == PQB_ERR_CORRUPT) {
        pqb_count(e, PQB_COUNTER_TAIL_BAD);
        return PQB_OK;
    }
    if (err != PQB_OK)
        return err;
    if (row.head > u->head) {
        PQB_LIST_FOREACH (it, &u->sessions) {
            struct pqb_session *s = PQB_CONTAINER_OF(it, struct pqb_session, of_user);

            s->has_news = s->allowed_upto != UINT64_MAX;
        }
    }
    pqb_tail_cover(u, &row);
    touch_all(e, u);
    return PQB_OK;
}

// A checkpoint waits for no shard: one that comes late finds that records it has not read are gone
// from the journal.
static int catch_up_all(struct pqb_engine *e)
{
    struct pqb_hnode *node = NULL;

    while ((node = pqb_htable_next(&e->users.by_uid, node)) != NULL) {
        const int err = catch_up(e, PQB_CONTAINER_OF(node, struct pqb_user, by_uid));

        if (err != PQB_OK)
            return err;
    }
    e->tail_gseq = e->journal_first;
    if (e->is_tail_current)
        pqb_count(e, PQB_COUNTER_TAIL_OVERTAKEN);
    return PQB_OK;
}

// Records from `gseq` to where the tail stands, for their users' state; messages are in the index.
static int read_again(struct pqb_engine *e, uint64_t gseq, pqb_tstamp now)
{
    gseq = PQB_MAX(gseq, e->journal_first);
    while (gseq < e->tail_gseq) {
        struct pqb_record r;
        int err = pqb_view_tail(e->view, &gseq, &r);

        if (err == PQB_ERR_NOT_FOUND)
            break;
        if (err == PQB_OK && (r.type == PQB_RECORD_EXPIRE || r.type == PQB_RECORD_GENERATION ||
                              r.type == PQB_RECORD_CURSOR))
            err = on_record(e, &r, now);
        if (err != PQB_OK)
            return err;
    }
    return PQB_OK;
}

// A login's completion tells the user's state as of its decision. What was decided after it has
// been committed too by the time of this view: the tail must find the user, or what expired in
// between would pass for damage. Most often all of that is still ahead of the tail; where the
// records came to light a turn before the completion, they are read again.
int pqb_tail_expect_logins(struct pqb_engine *e, pqb_tstamp now)
{
    uint64_t from = UINT64_MAX;

    PQB_LIST_FOREACH (it, &e->completions) {
        const struct pqb_request *r = PQB_CONTAINER_OF(it, struct pqb_request, link);
        const struct pqb_user_state *state = &r->user_state;
        struct pqb_user *u;
        int err = PQB_OK;

        if (r->op != PQB_OP_LOGIN || r->result != PQB_RESULT_DONE)
            continue;
        u = pqb_user_table_make(&e->users, state->uid, state->uhash);
        if (!u)
            return PQB_ERR_NOMEM;
        pqb_user_table_keep(&e->users, u);
        pqb_tail_cover(u, state);
        if (state->as_of + 1 < e->journal_first)
            err = catch_up(e, u);
        if (err != PQB_OK)
            return err;
        from = PQB_MIN(from, state->as_of + 1);
    }
    return from < e->tail_gseq ? read_again(e, from, now) : PQB_OK;
}

int pqb_tail_journal(struct pqb_engine *e, pqb_tstamp now)
{
    if (e->tail_gseq < e->journal_first) {
        const int err = catch_up_all(e);

        if (err != PQB_OK)
            return err;
    }
    for (;;) {
        const uint64_t resume_at = e->tail_gseq;
        struct pqb_record r;
        int err = pqb_view_tail(e->view, &e->tail_gseq, &r);

        if (err == PQB_ERR_NOT_FOUND)
            break;
        if (err == PQB_OK)
            err = on_record(e, &r, now);
        if (err != PQB_OK) {
            e->tail_gseq = resume_at; // nothing is skipped: the next turn tries again
            pqb_count(e, PQB_COUNTER_MEMORY_FAILED);
            return err;
        }
        pqb_count(e, PQB_COUNTER_TAIL_RECORDS);
    }
    e->is_tail_current = true;
    return PQB_OK;
}
