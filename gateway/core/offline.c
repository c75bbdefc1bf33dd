// Pages of a backlog. off:R grants positions to send; the messages themselves travel as any others.
#include "common/base/mutant.h"
#include "gateway/core/engine_impl.h"

uint64_t pqb_offline_backlog(const struct pqb_user_state *u, uint64_t cursor)
{
    if (cursor >= u->head)
        return 0;
    if (PQB_ISEQ_GENERATION(cursor) != PQB_ISEQ_GENERATION(u->head))
        return u->count;
    return PQB_MIN(u->count, u->head - cursor);
}

void pqb_offline_on_request(struct pqb_engine *e, struct pqb_session *s,
                            const struct pqb_frame_off_r *f, pqb_tstamp now)
{
    struct pqb_outbox *o;

    if (f->cursor > s->user->head || f->after > s->user->head || f->after < f->cursor) {
        pqb_count(e, PQB_COUNTER_OFF_ABOVE_HEAD);
        return;
    }
    pqb_ack_cursor(e, s, PQB_MUTANT(PAGE_IS_ACK) ? PQB_MAX(f->cursor, s->queued_upto) : f->cursor,
                   now);
    o = pqb_session_outbox(e, s);
    if (!o) {
        pqb_count(e, PQB_COUNTER_ANSWER_DROPPED);
        return;
    }
    o->page = (struct pqb_outbox_page){
        .after = f->after,
        .max = (uint16_t)PQB_MAX(1, PQB_MIN(f->max, PQB_PAGE_MAX)),
        .max_bytes = PQB_MIN(f->max_bytes, PQB_PAGE_BYTES_MAX),
    };
}

// Last position of the page above page->after, or that itself when it is empty. *first is set when
// it is not.
static uint64_t page_end(struct pqb_engine *e, const struct pqb_session *s,
                         const struct pqb_outbox_page *page, uint64_t *first)
{
    const uint64_t window_end = s->cursor + PQB_PUSH_WINDOW;
    uint64_t last = page->after;
    uint64_t bytes = 0;

    for (unsigned n = 0; n < page->max; n++) {
        struct pqb_position p;

        pqb_position_next(e, s->user, last, &p);
        if (p.kind == PQB_POSITION_NONE || p.first > window_end)
            break;
        if (p.kind == PQB_POSITION_MESSAGE)
            bytes += p.message.body.len;
        if (n > 0 && bytes > page->max_bytes)
            break;
        if (n == 0)
            *first = p.first;
        last = p.last;
    }
    return last;
}

void pqb_offline_answer(struct pqb_engine *e, struct pqb_session *s)
{
    struct pqb_outbox_page *page = &s->outbox->page;
    struct pqb_frame f = {.type = PQB_FRAME_OFF_A};
    uint64_t first = 0;
    const uint64_t last = page_end(e, s, page, &first);

    f.off_a.after = page->after;
    f.off_a.first = first;
    f.off_a.last = first != 0 ? last : 0;
    f.off_a.tail = s->user->tail;
    f.off_a.head = s->user->head;
    f.off_a.has_more = s->user->head > last;
    page->max = 0;
    s->has_news = false; // the head is told
    if (!f.off_a.has_more)
        s->allowed_upto = UINT64_MAX; // the backlog is drained: push from here on
    else if (s->allowed_upto != UINT64_MAX)
        s->allowed_upto = PQB_MAX(s->allowed_upto, last);
    pqb_count(e, PQB_COUNTER_OFF_PAGES);
    pqb_session_answer(e, s, &f);
}
