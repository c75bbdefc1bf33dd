// The input is a list of events at a receiver of fragments: pieces honest and forged, wholes taken,
// time passing. The budget must balance after each, and an honest whole must come out as it was.
#include <string.h>

#include "common/base/check.h"
#include "common/proto/frag.h"
#include "common/wire/cursor.h"
#include "tests/fuzz/fuzz.h"

enum {
    BUDGET = 150000,
    SENDERS = 6,
    EVENTS_MAX = 2000
};

struct world {
    struct pqb_reader_cursor input;
    struct pqb_frag_in in;
    size_t budget;
    pqb_tstamp now;
    struct pqb_frag_out senders[SENDERS]; // ids 1 to SENDERS
};

static uint8_t content[PQB_FRAG_TOTAL_MAX];

static void begin(struct world *w, const uint8_t *data, size_t size)
{
    *w = (struct world){.budget = BUDGET};
    pqb_rcur_init(&w->input, data, size);
    pqb_frag_in_init(&w->in);
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (uint8_t)(i ^ i >> 8);
    for (uint32_t i = 0; i < SENDERS; i++) {
        const size_t len = 1 + pqb_rcur_u16(&w->input);

        pqb_frag_out_init(&w->senders[i], i + 1, i % 2 ? PQB_FRAME_MSG_R : PQB_FRAME_MSG_N, i,
                          content, len);
    }
}

static void check_ranges(const struct world *w, uint32_t id)
{
    struct pqb_ranges r;

    if (!pqb_frag_in_ranges(&w->in, id, &r))
        return;
    PQB_ASSERT(r.count >= 1 && r.count <= PQB_FRAME_RANGES_MAX);
    for (size_t i = 0; i < r.count; i++) {
        PQB_ASSERT(r.at[i].first <= r.at[i].last && r.at[i].last < PQB_FRAG_COUNT_MAX);
        PQB_ASSERT(i == 0 || r.at[i].first > r.at[i - 1].last + 1);
    }
}

static struct pqb_frag_out *pick(struct world *w)
{
    return &w->senders[pqb_rcur_u8(&w->input) % SENDERS];
}

static void deliver(struct world *w, const struct pqb_frame_frag *piece, bool is_honest)
{
    struct pqb_reassembly *whole;
    struct pqb_frame_frag_reset evicted;
    const enum pqb_frag_verdict verdict =
        pqb_frag_in_on_piece(&w->in, piece, &w->budget, &whole, &evicted, w->now);

    PQB_ASSERT((verdict == PQB_FRAG_COMPLETE) == (whole != NULL));
    PQB_ASSERT(verdict != PQB_FRAG_BAD ||
               !pqb_frag_in_ranges(&w->in, piece->id, &(struct pqb_ranges){0}));
    if (whole != NULL && is_honest) {
        PQB_ASSERT(whole->id == piece->id && whole->total == piece->total);
        PQB_ASSERT(memcmp(whole->content, content, whole->total) == 0);
    }
    check_ranges(w, piece->id);
}

static void deliver_honest(struct world *w)
{
    struct pqb_frag_out *f = pick(w);
    const unsigned index = pqb_rcur_u8(&w->input) % pqb_frag_out_count(f);
    struct pqb_frame frame;

    pqb_frag_out_on_sent(f, index);
    pqb_frag_out_get(f, index, content, &frame);
    deliver(w, &frame.frag, true);
}

// One field is not what the sender said. Bytes are read by the length that the piece claims, so
// that is never more than there are.
static void deliver_forged(struct world *w)
{
    struct pqb_frag_out *f = pick(w);
    struct pqb_frame frame;

    pqb_frag_out_get(f, pqb_rcur_u8(&w->input) % pqb_frag_out_count(f), content, &frame);
    switch (pqb_rcur_u8(&w->input) % 7) {
    case 0:
        frame.frag.total = pqb_rcur_u32(&w->input);
        break;
    case 1:
        frame.frag.hash = pqb_rcur_u32(&w->input);
        break;
    case 2:
        frame.frag.index = pqb_rcur_u16(&w->input);
        break;
    case 3:
        frame.frag.seq = pqb_rcur_u64(&w->input);
        break;
    case 4:
        frame.frag.frame = pqb_rcur_u8(&w->input);
        break;
    case 5:
        frame.frag.piece.len = pqb_rcur_u16(&w->input) % (frame.frag.piece.len + 1);
        break;
    default:
        frame.frag.id = pqb_rcur_u32(&w->input);
        break;
    }
    deliver(w, &frame.frag, false);
}

static void acknowledge(struct world *w)
{
    struct pqb_frag_out *f = pick(w);
    struct pqb_ranges r = {.count = 1 + pqb_rcur_u8(&w->input) % 3};

    for (size_t i = 0; i < r.count; i++) {
        r.at[i].first = pqb_rcur_u8(&w->input);
        r.at[i].last = pqb_rcur_u64(&w->input);
    }
    (void)pqb_frag_out_on_ack(f, &r);
    PQB_ASSERT(pqb_frag_out_in_flight(f) <= pqb_frag_out_count(f));
    PQB_ASSERT(!pqb_frag_out_is_all_acked(f) || pqb_frag_out_next(f) == -1);
    if (r.count == 2)
        pqb_frag_out_on_lost(f);
    PQB_ASSERT(pqb_frag_out_next(f) < (int)pqb_frag_out_count(f));
}

static void pass_time(struct world *w)
{
    struct pqb_frame_frag_reset reset;

    w->now += pqb_rcur_u8(&w->input) * (PQB_NS_PER_SEC / 10);
    while (pqb_frag_in_expire(&w->in, &reset, &w->budget, w->now))
        PQB_ASSERT(!pqb_frag_in_ranges(&w->in, reset.id, &(struct pqb_ranges){0}));
    PQB_ASSERT(pqb_frag_in_deadline(&w->in) > w->now);
}

static void step(struct world *w)
{
    const uint8_t event = pqb_rcur_u8(&w->input);

    if (event < 160)
        deliver_honest(w);
    else if (event < 200)
        deliver_forged(w);
    else if (event < 220)
        acknowledge(w);
    else if (event < 235)
        pqb_frag_in_done(&w->in, pick(w)->id, &w->budget);
    else if (event < 240)
        pqb_frag_in_forget(&w->in, pick(w)->id);
    else
        pass_time(w);
    PQB_ASSERT(w->in.bytes + w->budget == BUDGET);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;

    begin(&w, data, size);
    for (int i = 0; i < EVENTS_MAX && pqb_rcur_left(&w.input) > 0; i++)
        step(&w);
    pqb_frag_in_fini(&w.in);
    return 0;
}
