// oversize and fragment-bomb: datagrams that are too long, and pieces of messages that are never
// finished or contradict each other. Strangers own no reassembly; a session owns a few, for a
// while.
#include <string.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/proto/frag.h"
#include "common/wire/cursor.h"
#include "common/wire/frame.h"
#include "gateway/io/stats_page.h"
#include "tools/pqbsim/inject.h"

// What one session may make the gateway hold.
#define HELD_MAX       (PQB_FRAG_IN_MAX * (sizeof(struct pqb_reassembly) + PQB_FRAG_TOTAL_MAX))
#define HELD_MAX_NS    (PQB_FRAG_IN_TIMEOUT_NS + PQB_NS_PER_SEC) // a second for a busy machine
#define EPOCH_AGAIN_NS (100 * PQB_NS_PER_MS)
#define MEMORY_MAX     ((1 << 20) + HELD_MAX)

static void put_uint(struct pqb_writer_cursor *w, uint64_t value)
{
    pqb_wcur_u8(w, 0xcf); // msgpack: 64 bits
    pqb_wcur_u64(w, value);
}

// A piece as it is: the codec's encoder refuses to write an unsound one.
static size_t in_session(struct inject *in, const struct pqb_frame_frag *f, uint8_t *out)
{
    const size_t at = PQB_DATA_HEADER_LEN;
    struct pqb_writer_cursor w;
    size_t len;

    pqb_wcur_init(&w, out + at, PQB_FRAMES_MAX);
    pqb_wcur_u8(&w, PQB_FRAME_FRAG);
    pqb_wcur_u16(&w, 0); // the length; known at the end
    pqb_wcur_u8(&w, 0x97);
    put_uint(&w, f->id);
    put_uint(&w, f->frame);
    put_uint(&w, f->seq);
    put_uint(&w, f->total);
    put_uint(&w, f->hash);
    put_uint(&w, f->index);
    pqb_wcur_u8(&w, 0xc5);
    pqb_wcur_u16(&w, (uint16_t)f->piece.len);
    pqb_wcur_bytes(&w, f->piece.data, f->piece.len);
    PQB_ASSERT(!w.is_bad);
    len = pqb_wcur_len(&w);
    out[at + 1] = (uint8_t)((len - PQB_FRAME_HEADER_LEN) >> 8);
    out[at + 2] = (uint8_t)(len - PQB_FRAME_HEADER_LEN);
    return inject_peer_stamp(in, out, at + len);
}

// Confirms the login and gets the epoch that messages, and so their pieces, need.
static size_t make_epoch(struct inject *in, uint8_t *out, pqb_tstamp now)
{
    struct inject_peer *peer = &in->peer;
    struct pqb_frame f = {.type = PQB_FRAME_EPOCH_R};

    if (peer->asked_at != 0 && pqb_elapsed(peer->asked_at, now) < EPOCH_AGAIN_NS)
        return 0;
    peer->asked_at = now;
    memcpy(f.epoch_r.nonce, &peer->cid, sizeof(peer->cid)); // the same when it asks again
    return inject_peer_stamp(in, out,
                             PQB_DATA_HEADER_LEN +
                                 pqb_frame_encode(&f, out + PQB_DATA_HEADER_LEN, PQB_FRAMES_MAX));
}

// What has to go before pieces may; 0: nothing now.
static size_t make_session(struct inject *in, const char *user, uint8_t *out, pqb_tstamp now)
{
    return in->peer.cid == 0 ? inject_peer_login(in, user, "x", out, now)
                             : make_epoch(in, out, now);
}

static void on_session_answer(struct inject *in, const uint8_t *data, size_t len)
{
    enum pqb_verdict verdict = PQB_VERDICT_OK;
    struct pqb_bytes content;
    const uint8_t *at;
    uint8_t plain[PQB_DATAGRAM_MAX], code;
    enum pqb_datagram_type type;
    struct pqb_data d;

    inject_peer_on_answer(in, data, len);
    if (pqb_datagram_peek(data, len, &type) != PQB_VERDICT_OK || type != PQB_DATAGRAM_DATA ||
        in->peer.cid == 0 || pqb_datagram_cid(data, len) != in->peer.cid ||
        !sealed_open(&in->peer_sealed, data, len, plain, &d, in->fleet.now))
        return;
    at = d.frames;
    while (pqb_frame_next(&at, d.frames + d.frames_len, &code, &content, &verdict))
        in->peer.has_epoch |= code == PQB_FRAME_EPOCH_A;
}

static void on_held_sample(struct inject *in, const struct pqb_stats_snapshot *s, pqb_tstamp now)
{
    const uint64_t held = pqb_stats_snapshot_get(s, "frag.bytes", NULL);

    in->held.bytes_peak = PQB_MAX(in->held.bytes_peak, held);
    if (held == 0)
        in->held.since = 0;
    else if (in->held.since == 0)
        in->held.since = now;
    else
        in->held.longest = PQB_MAX(in->held.longest, pqb_elapsed(in->held.since, now));
}

static void judge_held(struct inject *in, const struct pqb_stats_snapshot *from,
                       const struct pqb_stats_snapshot *to)
{
    // An earlier attack may have left some that have not expired yet.
    const double before = (double)pqb_stats_snapshot_get(from, "frag.bytes", NULL);

    inject_check(in, "fragments.held_kib",
                 PQB_MAX(0.0, (double)in->held.bytes_peak - before) / 1024,
                 (double)HELD_MAX / 1024);
    inject_check(in, "fragments.messages", inject_messages_of_others(in, from, to), 0);
}

static uint64_t fragment_memory_max(const struct inject *in)
{
    (void)in;
    return MEMORY_MAX;
}

// ------------------------------------------------------------------------------------ oversize

#define ABANDON_EVERY_NS (15 * PQB_NS_PER_SEC)
#define ABANDONED        (PQB_FRAG_IN_MAX + 2) // so that the oldest have to give way

enum oversize_kind {
    STRANGER,
    LARGEST,
    LOGIN,
    SESSION_LONG,
    SESSION,
};

static const struct inject_kind oversize_kinds[] = {
    [STRANGER] = {"above-limit", 1.0},
    [LARGEST] = {"largest", 1.0},
    [LOGIN] = {"init-above-limit", 1.0},
    [SESSION_LONG] = {"session-above-limit", 1.0}, // with its connection id, from elsewhere
    [SESSION] = {"session-unfinished", 0},
};

// One piece of the largest whole there is, again every now and then, and nothing more of it.
static size_t make_unfinished(struct inject *in, uint8_t *out, pqb_tstamp now)
{
    uint8_t piece[PQB_FRAG_LEN] = {0};
    struct pqb_frame_frag f = {.frame = PQB_FRAME_MSG_R,
                               .seq = 1,
                               .total = PQB_FRAG_TOTAL_MAX,
                               .piece = {piece, sizeof(piece)}};

    if (!in->peer.has_epoch)
        return make_session(in, "oversize", out, now);
    if (in->abandoned == ABANDONED) {
        if (pqb_elapsed(in->abandoned_at, now) < ABANDON_EVERY_NS)
            return 0;
        in->abandoned = 0;
    }
    in->abandoned++;
    in->abandoned_at = now;
    f.id = (uint32_t)in->peer.pn; // never the same twice
    return in_session(in, &f, out);
}

static size_t make_oversize(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    const size_t above = INJECT_LEN_MAX - PQB_DATAGRAM_MAX;
    size_t len = PQB_DATAGRAM_MAX + 1 + pqb_rng_below(&in->rng, above);

    if (kind == SESSION)
        return make_unfinished(in, out, now);
    if (in->turn / in->scenario->kind_count % 2 == 0) // just above, where a mistake by one shows
        len = PQB_DATAGRAM_MAX + 1;
    if (kind == LARGEST)
        len = INJECT_LEN_MAX;
    memset(out, 0, len);
    if (kind == LOGIN) {
        (void)inject_make_init(in, kind, "oversize", "long", pqb_rng_next(&in->rng), NULL, out);
    } else if (kind == SESSION_LONG) {
        if (in->peer.cid == 0)
            return 0;
        (void)inject_make_ping(in->peer.cid, in->peer.pn + 1000, in->turn, out);
    } else {
        (void)inject_make_ping(pqb_rng_next(&in->rng) | 1, 1, in->turn, out);
    }
    return len;
}

static void on_oversize_answer(struct inject *in, uint32_t kind, const uint8_t *data, size_t len)
{
    if (kind == SESSION)
        on_session_answer(in, data, len);
    else
        in->misdirected++;
}

static void judge_oversize(struct inject *in, const struct pqb_stats_snapshot *from,
                           const struct pqb_stats_snapshot *to)
{
    uint64_t sent = 0;

    for (uint32_t kind = 0; kind < SESSION; kind++)
        sent += in->counts[kind].sent;
    inject_check(in, "oversize.answered", (double)in->misdirected, 0);
    inject_check(in, "oversize.not_counted",
                 PQB_MAX(0.0, (double)sent - inject_grown(from, to, "drop.long") -
                                  inject_grown(from, to, "udp.kernel_drops")),
                 0);
    judge_held(in, from, to);
    inject_check(in, "fragments.held_ms", (double)in->held.longest / PQB_NS_PER_MS,
                 (double)HELD_MAX_NS / PQB_NS_PER_MS);
}

const struct inject_scenario inject_oversize = {
    .name = "oversize",
    .help = "datagrams of up to 65507 bytes, and pieces of messages that are never finished",
    .limit = "no answer, each one counted; 4 reassemblies of 65 KiB a session, for 10 s (needs "
             "--stats)",
    .kinds = oversize_kinds,
    .kind_count = PQB_ARRAY_LEN(oversize_kinds),
    .sources = 1,
    .rate = 500,
    .make = make_oversize,
    .on_answer = on_oversize_answer,
    .on_sample = on_held_sample,
    .judge = judge_oversize,
    .memory_max = fragment_memory_max,
};

// ------------------------------------------------------------------------------- fragment-bomb

#define WHOLES      6   // ids in use at once: more than there are places
#define RENEW_EVERY 512 // datagrams, then the ids are new ones
#define SEQS        200
#define RESTART     20000 // datagrams, then a new login

static const struct inject_kind bomb_kinds[] = {{"session", 0}};

// A sound piece of a whole, which spoil() may spoil. All pieces of an id agree.
static void fill_piece(struct inject *in, struct pqb_frame_frag *f, uint8_t *bytes)
{
    const uint32_t which = (uint32_t)pqb_rng_below(&in->rng, WHOLES);
    const uint32_t generation = (uint32_t)(in->peer.pn / RENEW_EVERY);
    const uint32_t total = which < 3 ? PQB_FRAG_TOTAL_MAX - which : 1 + which * 700;
    const uint32_t last = (total - 1) / PQB_FRAG_LEN;

    // Half of the pieces are the last ones.
    f->index = (uint16_t)last;
    if (pqb_rng_below(&in->rng, 2) == 0)
        f->index = (uint16_t)pqb_rng_below(&in->rng, last + 1);
    f->id = 1 + generation * WHOLES + which;
    f->frame = PQB_FRAME_MSG_R;
    f->seq = 1 + (generation + which) % SEQS;
    f->total = total;
    memset(bytes, (int)(which + 1), PQB_FRAG_LEN);
    f->piece =
        (struct pqb_bytes){bytes, PQB_MIN(total - f->index * PQB_FRAG_LEN, (uint32_t)PQB_FRAG_LEN)};
}

// The hash that belongs to a short whole: complete, sound, and no message.
static uint32_t hash_of_whole(const struct pqb_frame_frag *f)
{
    uint8_t whole[WHOLES * 700];

    memset(whole, f->piece.data[0], sizeof(whole));
    return f->total <= sizeof(whole) ? pqb_crc32c(0, whole, f->total) : 0;
}

static void spoil(struct inject *in, struct pqb_frame_frag *f, uint8_t *bytes)
{
    static const uint32_t totals[] = {
        0,          1,         1024,      1025, PQB_FRAG_TOTAL_MAX, PQB_FRAG_TOTAL_MAX + 1,
        UINT16_MAX, INT32_MAX, UINT32_MAX};
    static const uint16_t indexes[] = {PQB_FRAG_COUNT_MAX - 1, PQB_FRAG_COUNT_MAX, UINT16_MAX};

    switch (pqb_rng_below(&in->rng, 16)) {
    case 0:
        f->total = totals[pqb_rng_below(&in->rng, PQB_ARRAY_LEN(totals))];
        break;
    case 1:
        f->index = indexes[pqb_rng_below(&in->rng, PQB_ARRAY_LEN(indexes))];
        break;
    case 2:
        f->hash ^= 1;
        break;
    case 3:
        f->seq++;
        break;
    case 4: // what no fragment may carry
        f->frame = (uint8_t)pqb_rng_below(&in->rng, 0x30);
        break;
    case 5:
        f->piece.len = pqb_rng_below(&in->rng, PQB_FRAG_LEN);
        break;
    case 6: // the same place, with other bytes
        pqb_rng_fill(&in->rng, bytes, PQB_FRAG_LEN);
        break;
    case 7: // outside the window of pieces
        f->seq += 2 * PQB_SEQ_WINDOW;
        break;
    case 8:
        f->id = (uint32_t)pqb_rng_next(&in->rng);
        break;
    default:
        break; // sound
    }
}

static size_t make_bomb(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    uint8_t bytes[PQB_FRAG_LEN];
    struct pqb_frame_frag f;

    (void)kind;
    if (in->peer.pn >= RESTART) // the new session replaces the old one, with all that it holds
        in->peer = (struct inject_peer){.logins = in->peer.logins};
    if (!in->peer.has_epoch)
        return make_session(in, "bomber", out, now);
    fill_piece(in, &f, bytes);
    f.hash = hash_of_whole(&f);
    spoil(in, &f, bytes);
    return in_session(in, &f, out);
}

static void on_bomb_answer(struct inject *in, uint32_t kind, const uint8_t *data, size_t len)
{
    (void)kind;
    on_session_answer(in, data, len);
}

const struct inject_scenario inject_fragment_bomb = {
    .name = "fragment-bomb",
    .help = "a session whose pieces contradict each other, come backwards, and never end",
    .limit = "4 reassemblies of 65 KiB for the session, no message made of it (needs --stats)",
    .kinds = bomb_kinds,
    .kind_count = PQB_ARRAY_LEN(bomb_kinds),
    .sources = 1,
    .rate = 4000,
    .make = make_bomb,
    .on_answer = on_bomb_answer,
    .on_sample = on_held_sample,
    .judge = judge_held,
    .memory_max = fragment_memory_max,
};
