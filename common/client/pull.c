// Pages of a large backlog: off:R {cursor, after = cursor} until a page leaves nothing above it,
// then once more, which acknowledges the last page. So N pages cost N + 1 distinct requests.
#include "common/base/err.h"
#include "common/client/impl.h"

void pqb_pull_init(struct pqb_client *c)
{
    c->pull = (struct pqb_pull){0};
    pqb_attempt_done(&c->pull.ask);
}

static void ask(struct pqb_client *c, uint32_t max, bool is_closing)
{
    c->pull = (struct pqb_pull){
        .is_open = true, .is_closing = is_closing, .after = c->inbox.cursor, .max = max};
    pqb_attempt_ask(&c->pull.ask);
    c->stats.pages_requested++;
}

int pqb_pull_start(struct pqb_client *c, uint32_t max)
{
    if (c->state != PQB_CLIENT_ONLINE || c->pull.is_open)
        return PQB_ERR_AGAIN;
    ask(c, max, false);
    return PQB_OK;
}

// There is something above the cursor that will not come by itself.
static void on_backlog(struct pqb_client *c, uint64_t count)
{
    if (c->is_auto_pull)
        (void)pqb_pull_start(c, c->page_max);
    else if (c->callbacks.on_backlog != NULL)
        c->callbacks.on_backlog(c->ctx, count);
}

void pqb_pull_on_online(struct pqb_client *c, uint64_t count)
{
    if (count > c->login.push_max)
        on_backlog(c, count);
}

void pqb_pull_on_off_n(struct pqb_client *c, uint64_t head)
{
    c->inbox.head = PQB_MAX(c->inbox.head, head);
    if (head > c->inbox.cursor && !c->pull.is_open)
        on_backlog(c, 0);
}

void pqb_pull_on_off_a(struct pqb_client *c, const struct pqb_frame_off_a *f)
{
    struct pqb_pull *p = &c->pull;

    c->inbox.head = PQB_MAX(c->inbox.head, f->head);
    if (!p->is_open || p->is_answered || f->after != p->after)
        return;
    p->is_answered = true;
    p->last = f->last;
    p->has_more = f->has_more;
    pqb_attempt_done(&p->ask);
    pqb_pull_on_moved(c);
}

void pqb_pull_on_moved(struct pqb_client *c)
{
    struct pqb_pull *p = &c->pull;

    if (!p->is_open || !p->is_answered || c->inbox.cursor < p->last)
        return;
    p->is_open = false;
    if (c->is_auto_pull) {
        if (p->has_more || (p->last != 0 && !p->is_closing))
            ask(c, p->max, !p->has_more);
    } else if (p->has_more && c->callbacks.on_backlog != NULL) {
        c->callbacks.on_backlog(c->ctx, 0);
    }
}

// The gateway has more than it sends: an off:N was lost, or it took this session for a pulling one.
void pqb_pull_on_timeout(struct pqb_client *c, pqb_tstamp now)
{
    if (now >= pqb_pull_deadline(c) && !pqb_attempt_is_due(&c->pull.ask, now)) {
        c->inbox.moved_at = now;
        on_backlog(c, 0);
    }
}

size_t pqb_pull_write(struct pqb_client *c, uint8_t *out, size_t room, pqb_tstamp now)
{
    struct pqb_pull *p = &c->pull;
    struct pqb_frame frame = {.type = PQB_FRAME_OFF_R};
    size_t len;

    if (!pqb_attempt_is_due(&p->ask, now) || !pqb_client_sync(c))
        return 0;
    // A repeat is the very same request save for the cursor, which only acknowledges.
    frame.off_r = (struct pqb_frame_off_r){
        .cursor = PQB_MIN(c->inbox.cursor, p->after),
        .after = p->after,
        .max = p->max,
        .max_bytes = PQB_PAGE_BYTES_MAX,
    };
    len = pqb_frame_encode(&frame, out, room);
    if (len > 0)
        pqb_attempt_on_sent(&p->ask, c, now);
    return len;
}

pqb_tstamp pqb_pull_deadline(const struct pqb_client *c)
{
    const struct pqb_inbox *in = &c->inbox;
    pqb_tstamp at = c->pull.ask.at;

    if (c->state == PQB_CLIENT_ONLINE && !c->pull.is_open && in->head > in->cursor &&
        in->count == 0 && in->handover_at == PQB_NEVER)
        at = PQB_MIN(at, pqb_tstamp_add(in->moved_at, PQB_CLIENT_STALL_NS));
    return at;
}
