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
        return PQB_OK; // a login will bring the state of then
    switch (r->type) {
    case PQB_RECORD_CURSOR:
        u->delivered = PQB_MAX(u->delivered, r->delivered);
        break;
    case PQB_RECORD_EXPIRE:
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
        u->head = row.head;
    }
    u->tail = PQB_MAX(u->tail, row.tail);
    u->delivered = PQB_MAX(u->delivered, row.delivered);
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
