// Random life of a store against what its clients know: requests in batches, repeats, batches that
// abort, crashes at every named step, checkpoints in between. After each stretch everything that
// was ever promised is looked up again.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "tests/unit/store_fixture.h"

#if defined(__has_feature)
#    if __has_feature(address_sanitizer)
#        define SEEDS 100 // each opens a dozen maps, whose shadow takes its time
#    endif
#endif
#ifndef SEEDS
#    define SEEDS 300
#endif
#define TURNS          120
#define USERS          4
#define DEVICES        2 // per user
#define MESSAGES_MAX   4096
#define OUTSTANDING    12
#define INBOX_MAX      40
#define RETAINED_LIMIT 512
#define RETENTION_MS   UINT64_C(400000) // of every other world
#define KEPT_MESSAGES  6                // of some of the rest
#define KEPT_BYTES     10000            // of others
#define BODY_MAX       9008             // the longest body

enum fate {
    FATE_OPEN,
    FATE_ACCEPTED,
    FATE_REFUSED,
    FATE_ABANDONED
};

// A message as its sender knows it.
struct letter {
    int from; // index of the device
    int to;   // index of the user
    uint32_t epoch;
    uint64_t seq, after;
    uint64_t iseq;
    enum fate fate;
    pqb_wall_ms written_at;
    bool is_skipped; // the client gave it up and asks for that
    unsigned body_len;
    char fill;
};

struct client {
    int user;
    uint32_t devno; // 0: not registered
    uint32_t epoch;
    uint64_t next_seq, low;
    uint64_t last_to[USERS]; // seq of the last message to that user, for `after`
    uint64_t cursor;         // answered
    uint64_t cursor_wanted;  // highest that was ever asked for
    uint8_t nonce;
    bool has_asked; // for the epoch of `nonce`, and has no answer yet
};

struct world {
    struct fixture f;
    struct pqb_rng rng;
    struct client clients[USERS * DEVICES];
    uint64_t uid[USERS];
    uint64_t floor[USERS]; // as the store must see it
    bool may_expire;       // some rule of retention is in force
    struct letter letters[MESSAGES_MAX];
    size_t letter_count;
};

static const char *const names[USERS] = {"alice", "bob", "carol", "dave"};
static const char *const devices[DEVICES] = {"phone", "tablet"};

static uint64_t below(struct world *w, uint64_t limit)
{
    return pqb_rng_below(&w->rng, limit);
}

static bool one_in(struct world *w, uint64_t n)
{
    return below(w, n) == 0;
}

// ---------------------------------------------------------------------------------- requests

static struct pqb_request *letter_request(struct world *w, size_t index, bool is_forged)
{
    const struct letter *letter = &w->letters[index];
    const struct client *c = &w->clients[letter->from];
    struct pqb_request *r = pqb_request_create(PQB_OP_MSG, letter->body_len + 8);

    r->uid = w->uid[c->user];
    r->devno = c->devno;
    r->epoch = letter->epoch;
    r->seq = letter->seq;
    r->low = c->low;
    r->after = letter->after;
    r->to_len = (uint8_t)strlen(names[letter->to]);
    memcpy(r->to, names[letter->to], r->to_len);
    memset(r->body, letter->fill, r->body_len);
    memcpy(r->body, &index, 8);
    if (is_forged)
        r->body[r->body_len - 1] ^= 0x55;
    r->tag[0] = index;
    r->tag[1] = is_forged;
    return r;
}

// The letter of a client that it must still see resolved, or SIZE_MAX.
static size_t pick_open(struct world *w, int from)
{
    size_t picked = SIZE_MAX;
    unsigned count = 0;

    for (size_t i = w->letter_count; i-- > 0;) {
        const struct letter *letter = &w->letters[i];

        if (letter->from != from || letter->epoch != w->clients[from].epoch ||
            letter->fate != FATE_OPEN)
            continue;
        if (one_in(w, ++count))
            picked = i;
        if (letter->seq <= w->clients[from].low)
            break;
    }
    return picked;
}

static size_t write_letter(struct world *w, int from)
{
    struct client *c = &w->clients[from];
    struct letter *letter = &w->letters[w->letter_count];

    PQB_ASSERT(w->letter_count < MESSAGES_MAX);
    *letter = (struct letter){
        .from = from,
        .to = (int)below(w, USERS),
        .epoch = c->epoch,
        .seq = c->next_seq++,
        .written_at = w->f.wall,
        .fill = (char)('a' + below(w, 26)),
        .body_len = (unsigned)(one_in(w, 20) ? below(w, 9000) : below(w, 60)),
    };
    letter->after = c->last_to[letter->to];
    c->last_to[letter->to] = letter->seq;
    return w->letter_count++;
}

// Any settled letter of the client's window: its repeat must give the same answer.
static size_t pick_settled(struct world *w, int from)
{
    for (int i = 0; i < 20 && w->letter_count > 0; i++) {
        const size_t index = (size_t)below(w, w->letter_count);
        const struct letter *letter = &w->letters[index];

        if (letter->from == from && letter->epoch == w->clients[from].epoch &&
            letter->seq >= w->clients[from].low && letter->fate != FATE_OPEN)
            return index;
    }
    return SIZE_MAX;
}

static struct pqb_request *message_request(struct world *w, int from)
{
    const struct client *c = &w->clients[from];
    size_t index = SIZE_MAX;

    if (one_in(w, 6))
        index = pick_settled(w, from);
    if (index == SIZE_MAX && (c->next_seq - c->low >= OUTSTANDING || one_in(w, 3)))
        index = pick_open(w, from);
    if (index == SIZE_MAX && w->letter_count < MESSAGES_MAX && c->next_seq - c->low < OUTSTANDING)
        index = write_letter(w, from);
    if (index == SIZE_MAX || w->letters[index].is_skipped)
        return NULL;
    return letter_request(w, index, w->letters[index].fate == FATE_ACCEPTED && one_in(w, 3));
}

static struct pqb_request *skip_request(struct world *w, int from)
{
    const size_t index = pick_open(w, from);
    struct pqb_request *r;

    if (index == SIZE_MAX)
        return NULL;
    w->letters[index].is_skipped = true;
    r = make_op(PQB_OP_SKIP, w->uid[w->clients[from].user], w->clients[from].devno);
    r->epoch = w->clients[from].epoch;
    r->low = w->clients[from].low;
    r->seqs.count = 1;
    r->seqs.at[0] = (struct pqb_range){w->letters[index].seq, w->letters[index].seq};
    r->tag[0] = index;
    return r;
}

static struct pqb_request *cursor_request(struct world *w, int from)
{
    struct client *c = &w->clients[from];
    struct pqb_request *r = make_op(PQB_OP_CURSOR, w->uid[c->user], c->devno);
    uint64_t best = c->cursor;

    for (size_t i = 0; i < w->letter_count; i++) { // some known position above the cursor
        const struct letter *letter = &w->letters[i];

        if (letter->to == c->user && letter->fate == FATE_ACCEPTED && letter->iseq > c->cursor &&
            (best == c->cursor || one_in(w, 4)))
            best = letter->iseq;
    }
    r->cursor = best;
    c->cursor_wanted = PQB_MAX(c->cursor_wanted, best);
    return r;
}

static struct pqb_request *login_request(struct world *w, int from)
{
    struct pqb_request *r = make_login(names[w->clients[from].user], devices[from % DEVICES]);

    r->epoch = w->clients[from].epoch;
    r->low = w->clients[from].low;
    return r;
}

static struct pqb_request *epoch_request(struct world *w, int from)
{
    const struct client *c = &w->clients[from];
    struct pqb_request *r = make_op(PQB_OP_EPOCH, w->uid[c->user], c->devno);

    memset(r->nonce, c->nonce, sizeof(r->nonce));
    return r;
}

static struct pqb_request *random_request(struct world *w, int from)
{
    struct client *c = &w->clients[from];

    if (c->devno == 0 || one_in(w, 30))
        return login_request(w, from);
    if (c->epoch == 0 || c->has_asked)
        return epoch_request(w, from);
    switch (below(w, 40)) {
    case 0:
        return skip_request(w, from);
    case 1:
        if (c->low == c->next_seq) { // nothing open: the client may begin anew
            c->nonce++;
            c->has_asked = true;
            return epoch_request(w, from);
        }
        return NULL;
    case 2:
        return make_op(PQB_OP_ROLLBACK, w->uid[c->user], c->devno);
    case 3:
        return from % DEVICES == 1 && c->low == c->next_seq
                   ? make_op(PQB_OP_FORGET, w->uid[c->user], c->devno)
                   : NULL;
    case 4:
        return pqb_request_create(PQB_OP_CHECKPOINT, 0);
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
        return cursor_request(w, from);
    default:
        return message_request(w, from);
    }
}

// ---------------------------------------------------------------------------------- answers

static void raise_low(struct world *w, struct client *c, int from)
{
    uint64_t low = c->next_seq;

    for (size_t i = 0; i < w->letter_count; i++) {
        const struct letter *letter = &w->letters[i];

        if (letter->from == from && letter->epoch == c->epoch && letter->fate == FATE_OPEN)
            low = PQB_MIN(low, letter->seq);
    }
    c->low = PQB_MAX(c->low, low);
}

static void settle_letter(struct letter *letter, enum fate fate, uint64_t iseq)
{
    if (letter->fate == FATE_OPEN) {
        letter->fate = fate;
        letter->iseq = iseq;
    }
    assert_int_equal(letter->fate, fate); // an answer never changes
    if (fate == FATE_ACCEPTED)
        assert_int_equal(letter->iseq, iseq);
}

static void on_message(struct world *w, const struct pqb_request *r)
{
    struct letter *letter = &w->letters[r->tag[0]];
    const bool is_forged = r->tag[1];

    if (letter->epoch != w->clients[letter->from].epoch || r->result == PQB_RESULT_FAILED ||
        r->result == PQB_RESULT_TRANSIENT || r->result == PQB_RESULT_UNKNOWN)
        return;
    if (r->result == PQB_RESULT_REFUSED && !pqb_nack_reason_is_final(r->nack)) {
        // Sent with another body, or overtaken by a higher low of the same batch.
        assert_true(r->nack == PQB_NACK_CONFLICT || r->nack == PQB_NACK_EPOCH);
        assert_true(is_forged || letter->fate != FATE_OPEN || r->nack == PQB_NACK_EPOCH);
        return;
    }
    assert_false(is_forged);
    if (r->result == PQB_RESULT_REFUSED)
        settle_letter(letter, FATE_REFUSED, 0);
    else if (r->state == PQB_STATE_ABANDONED)
        settle_letter(letter, FATE_ABANDONED, 0);
    else
        settle_letter(letter, FATE_ACCEPTED, r->iseq);
}

static void on_skip(struct world *w, const struct pqb_request *r)
{
    struct letter *letter = &w->letters[r->tag[0]];

    if (r->result != PQB_RESULT_DONE) {
        letter->is_skipped = false; // asked again some day, or sent again
        return;
    }
    assert_int_equal(r->skipped.count, 1);
    switch (r->skipped.at[0].state) {
    case PQB_STATE_ABANDONED:
        settle_letter(letter, FATE_ABANDONED, 0);
        return;
    case PQB_STATE_REFUSED:
        settle_letter(letter, FATE_REFUSED, 0);
        return;
    case PQB_STATE_ACCEPTED:
        letter->is_skipped = false; // its repeat tells the position
        return;
    default:
        assert_int_not_equal(letter->fate, FATE_OPEN); // below low: settled in this very batch
    }
}

static void on_login(struct world *w, const struct pqb_request *r, int from)
{
    struct client *c = &w->clients[from];

    if (r->result != PQB_RESULT_DONE)
        return;
    if (w->uid[c->user] != 0)
        assert_int_equal(w->uid[c->user], r->user_state.uid);
    w->uid[c->user] = r->user_state.uid;
    if (c->devno == r->device_state.devno)
        return;
    *c = (struct client){.user = c->user,
                         .devno = r->device_state.devno,
                         .epoch = r->device_state.epoch,
                         .next_seq = 1,
                         .low = 1,
                         .cursor = r->device_state.cursor,
                         .cursor_wanted = r->device_state.cursor};
    assert_true(c->cursor <= r->user_state.head);
}

static void on_epoch(struct world *w, const struct pqb_request *r, int from)
{
    struct client *c = &w->clients[from];

    if (r->result != PQB_RESULT_DONE || r->device_state.epoch == c->epoch)
        return;
    c->has_asked = false;
    assert_true(r->device_state.epoch > c->epoch);
    for (int i = 0; i < USERS * DEVICES; i++)
        assert_int_not_equal(w->clients[i].epoch, r->device_state.epoch);
    c->epoch = r->device_state.epoch;
    c->next_seq = c->low = 1;
    memset(c->last_to, 0, sizeof(c->last_to));
}

static void on_answer(struct world *w, struct pqb_request *r)
{
    const int from = (int)r->tag[2];
    struct client *c = &w->clients[from];

    if (r->op == PQB_OP_MSG)
        on_message(w, r);
    if (r->op == PQB_OP_SKIP)
        on_skip(w, r);
    if (r->op == PQB_OP_LOGIN)
        on_login(w, r, from);
    if (r->op == PQB_OP_EPOCH)
        on_epoch(w, r, from);
    if (r->op == PQB_OP_CURSOR && r->result == PQB_RESULT_DONE && r->devno == c->devno) {
        assert_true(r->device_state.cursor >= r->cursor);
        c->cursor = r->device_state.cursor;
    }
    if (r->op == PQB_OP_FORGET && r->result == PQB_RESULT_DONE && r->devno == c->devno)
        *c = (struct client){.user = c->user};
    raise_low(w, c, from);
}

// ---------------------------------------------------------------------------------- looking up

struct found {
    uint64_t iseq, letter;
    uint32_t len;
    char fill;
};

struct reading {
    size_t count;
    struct found at[RETAINED_LIMIT];
};

static void add_found(struct reading *reading, const struct pqb_message *m)
{
    struct found found = {.iseq = m->iseq, .len = (uint32_t)m->body.len};
    size_t i = reading->count;

    memcpy(&found.letter, m->body.data, 8);
    if (m->body.len > 8)
        found.fill = (char)m->body.data[m->body.len - 1];
    while (i > 0 && reading->at[i - 1].iseq > found.iseq)
        i--;
    if (i > 0 && reading->at[i - 1].iseq == found.iseq) { // in inbox, and still in the journal
        assert_int_equal(reading->at[i - 1].letter, found.letter);
        return;
    }
    assert_true(reading->count < RETAINED_LIMIT);
    memmove(&reading->at[i + 1], &reading->at[i], (reading->count - i) * sizeof(found));
    reading->at[i] = found;
    reading->count++;
}

// Everything of `uid` above `floor`.
static void read_all(struct world *w, uint64_t uid, uint64_t floor, struct reading *reading)
{
    struct pqb_record record;
    struct pqb_message m;
    uint64_t gseq = 0;

    reading->count = 0;
    assert_int_equal(pqb_view_begin(w->f.v), PQB_OK);
    for (uint64_t at = floor + 1; pqb_view_inbox_message(w->f.v, uid, at, &m) == PQB_OK;
         at = m.iseq + 1)
        add_found(reading, &m);
    while (pqb_view_tail(w->f.v, &gseq, &record) == PQB_OK) {
        assert_int_not_equal(record.type, PQB_RECORD_BAD);
        if (record.type != PQB_RECORD_MSG || record.uid != uid || record.iseq <= floor)
            continue;
        assert_int_equal(pqb_view_journal_message(w->f.v, record.gseq, &m), PQB_OK);
        add_found(reading, &m);
    }
    pqb_view_end(w->f.v);
}

static void check_device(struct world *w, int user, const struct pqb_user_device *d,
                         uint64_t *lowest)
{
    *lowest = PQB_MIN(*lowest, d->cursor);
    for (int i = user * DEVICES; i < (user + 1) * DEVICES; i++) {
        struct client *c = &w->clients[i];

        if (c->devno != d->devno)
            continue;
        assert_true(d->cursor >= c->cursor && d->cursor <= c->cursor_wanted);
        c->cursor = d->cursor; // a lost answer
    }
}

// P1, P2: what was accepted and not acknowledged is there, once, with its content.
static void check_letters(const struct world *w, int user, const struct reading *reading)
{
    for (size_t i = 0; i < w->letter_count; i++) {
        const struct letter *letter = &w->letters[i];
        size_t hits = 0;

        for (size_t j = 0; j < reading->count; j++) {
            const struct found *found = &reading->at[j];

            if (found->letter != i)
                continue;
            hits++;
            assert_int_equal(letter->to, user);
            assert_int_equal(found->len, letter->body_len + 8);
            if (letter->body_len > 0)
                assert_int_equal(found->fill, letter->fill);
            assert_int_not_equal(letter->fate, FATE_REFUSED);
            assert_int_not_equal(letter->fate, FATE_ABANDONED);
            if (letter->fate == FATE_ACCEPTED)
                assert_int_equal(found->iseq, letter->iseq);
        }
        if (letter->to == user && letter->fate == FATE_ACCEPTED && letter->iseq > w->floor[user])
            assert_int_equal(hits, 1);
        else
            assert_true(hits <= 1);
    }
}

// P3: the letters of one device, each sent after the one before it, lie in that order.
static void check_order(const struct world *w, const struct reading *reading)
{
    for (size_t i = 0; i < reading->count; i++) {
        const struct letter *a = &w->letters[reading->at[i].letter];

        for (size_t j = i + 1; j < reading->count; j++) {
            const struct letter *b = &w->letters[reading->at[j].letter];

            if (a->from == b->from && a->epoch == b->epoch)
                assert_true(a->seq < b->seq);
        }
        if (i > 0 && PQB_ISEQ_GENERATION(reading->at[i].iseq) ==
                         PQB_ISEQ_GENERATION(reading->at[i - 1].iseq))
            assert_int_equal(reading->at[i].iseq, reading->at[i - 1].iseq + 1);
    }
}

static bool may_expire(const struct world *w, const struct letter *letter,
                       const struct pqb_user_state *u)
{
    if (w->f.config.retention_messages != 0)
        return u->count >= KEPT_MESSAGES;
    if (w->f.config.retention_bytes != 0)
        return u->bytes + BODY_MAX > KEPT_BYTES;
    return w->f.wall - letter->written_at > RETENTION_MS;
}

// P5: what goes without having been acknowledged has been there for as long as was said, or as many
// came after it: nothing of those has been acknowledged, or the floor would have moved.
static void check_expired(struct world *w, int user, const struct pqb_user_state *u)
{
    if (!w->may_expire || u->tail - 1 <= w->floor[user])
        return;
    for (size_t i = 0; i < w->letter_count; i++) {
        const struct letter *letter = &w->letters[i];

        if (letter->to == user && letter->fate == FATE_ACCEPTED && letter->iseq > w->floor[user] &&
            letter->iseq < u->tail)
            assert_true(may_expire(w, letter, u));
    }
    w->floor[user] = u->tail - 1;
}

static void check_user(struct world *w, int user)
{
    struct pqb_request *r = make_login(names[user], "");
    uint64_t lowest = UINT64_MAX;
    static struct reading reading;

    r->op = PQB_OP_USER;
    r = fixture_run(&w->f, r);
    if (r->result == PQB_RESULT_UNKNOWN) {
        assert_int_equal(w->uid[user], 0);
        pqb_request_destroy(r);
        return;
    }
    for (size_t i = 0; i < r->devices_count; i++)
        check_device(w, user, &r->devices[i], &lowest);
    if (lowest != UINT64_MAX)
        w->floor[user] = PQB_MAX(w->floor[user], lowest);
    check_expired(w, user, &r->user_state);
    read_all(w, r->user_state.uid, w->floor[user], &reading);
    check_letters(w, user, &reading);
    check_order(w, &reading);
    assert_int_equal(r->user_state.count, reading.count);
    assert_true(reading.count <= INBOX_MAX);
    if (reading.count > 0) {
        assert_int_equal(r->user_state.tail, reading.at[0].iseq);
        assert_true(r->user_state.head >= reading.at[reading.count - 1].iseq);
    } else {
        assert_int_equal(r->user_state.tail, r->user_state.head + 1);
    }
    assert_true(r->user_state.delivered <= r->user_state.head);
    pqb_request_destroy(r);
}

static void check_all(struct world *w)
{
    w->f.fail_after = 0;
    if (pqb_store_is_failed(w->f.s))
        fixture_reopen(&w->f);
    for (int user = 0; user < USERS; user++)
        check_user(w, user);
}

// ---------------------------------------------------------------------------------- turns

static void arm(struct world *w)
{
    static const int errnos[] = {EIO, EIO, ENOSPC, ENOMEM};

    w->f.fail_step = NULL;
    w->f.fail_errno = errnos[below(w, PQB_ARRAY_LEN(errnos))];
    w->f.asked = 0;
    w->f.fail_after = one_in(w, 2) ? 1 + below(w, 12) : 0;
}

static void turn(struct world *w)
{
    const uint64_t count = 1 + below(w, 8);
    struct pqb_request *r;

    if (one_in(w, 10)) {
        const uint64_t ms = below(w, RETENTION_MS / 2);

        w->f.now += ms * PQB_NS_PER_MS;
        w->f.wall += ms;
    }

    for (uint64_t i = 0; i < count; i++) {
        const int from = (int)below(w, USERS * DEVICES);

        r = random_request(w, from);
        if (r == NULL)
            continue;
        r->tag[2] = (uint64_t)from;
        assert_int_equal(pqb_store_submit(w->f.s, r), PQB_OK);
    }
    if (one_in(w, 40)) { // before anything of it was decided
        fixture_reopen(&w->f);
        return;
    }
    for (uint64_t i = 1 + below(w, 4); i > 0; i--)
        fixture_step(&w->f);
    while ((r = pqb_store_poll(w->f.s, 0)) != NULL) {
        on_answer(w, r);
        pqb_request_destroy(r);
    }
    if (pqb_store_is_failed(w->f.s) || one_in(w, 30))
        fixture_reopen(&w->f);
    if (one_in(w, 50)) {
        fixture_close(&w->f);
        fixture_open(&w->f);
    }
}

static void live(uint64_t seed)
{
    static struct world w;

    memset(&w, 0, sizeof(w));
    pqb_rng_init_seed(&w.rng, seed);
    fixture_init(&w.f);
    w.f.config.map_bytes = (size_t)64 << 20;
    w.f.config.inbox_messages_max = INBOX_MAX;
    w.f.config.journal_checkpoint_bytes = 4000 + below(&w, 60000);
    if (one_in(&w, 2))
        w.f.config.retention_ms = RETENTION_MS;
    else if (seed % 3 == 1)
        w.f.config.retention_messages = KEPT_MESSAGES;
    else if (seed % 3 == 2)
        w.f.config.retention_bytes = KEPT_BYTES;
    w.may_expire = w.f.config.retention_ms == RETENTION_MS || seed % 3 != 0;
    w.f.config.users_cached_max = below(&w, 3);
    w.f.config.checkpoint_users_max = (uint32_t)(1 + below(&w, 3));
    w.f.config.checkpoint_bytes_max = (uint32_t)(1 + below(&w, 3000));
    w.f.config.checkpoint_records_max = (uint32_t)(1 + below(&w, 40));
    fixture_open(&w.f);
    for (int i = 0; i < USERS * DEVICES; i++)
        w.clients[i].user = i / DEVICES;
    for (int i = 0; i < TURNS; i++) {
        if (one_in(&w, 3))
            arm(&w);
        turn(&w);
        if (i % 10 == 9)
            check_all(&w);
    }
    check_all(&w);
    fixture_fini(&w.f);
}

static void every_promise_holds_over_aborts_and_crashes(void **state)
{
    const char *one = getenv("PQB_SEED");

    (void)state;
    if (one != NULL) {
        live(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        if (getenv("PQB_VERBOSE") != NULL)
            (void)fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        live(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_promise_holds_over_aborts_and_crashes),
    };

    return cmocka_run_group_tests_name("store_model", tests, NULL, NULL);
}
