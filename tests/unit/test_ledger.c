// The ledger alone: no tables, a journal that is an array. Each rule of de-duplication, order,
// quota and registration, and abort and replay.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "storage/ledger.h"

#define RECORDS_MAX 2048
#define MINUTES     100

struct journal {
    size_t count;
    struct {
        uint64_t gseq;
        size_t len;
        uint8_t value[PQB_VALUE_MAX];
    } at[RECORDS_MAX];
};

struct bench {
    struct pqb_ledger_limits limits;
    struct journal journal;
    struct pqb_ledger *l;
    struct pqb_ledger_turn turn;
    uint64_t alice, bob; // uids; devno 1 each, epoch as below
    uint32_t epoch;      // alice's
};

static int no_name(void *ctx, const char *name, size_t len, uint64_t *uid)
{
    (void)ctx, (void)name, (void)len;
    *uid = 0;
    return PQB_ERR_NOT_FOUND;
}

static int no_user(void *ctx, uint64_t uid, struct pqb_user_row *out)
{
    (void)ctx, (void)uid, (void)out;
    return PQB_ERR_NOT_FOUND;
}

static int no_device(void *ctx, uint64_t uid, uint32_t after, struct pqb_device_row *out)
{
    (void)ctx, (void)uid, (void)after, (void)out;
    return PQB_ERR_NOT_FOUND;
}

static int no_inbox(void *ctx, uint64_t uid, uint64_t after, uint64_t upto,
                    struct pqb_inbox_sum *out)
{
    (void)ctx, (void)uid, (void)after, (void)upto;
    *out = (struct pqb_inbox_sum){0};
    return PQB_OK;
}

static void append(void *ctx, const struct pqb_journal_record *r, uint64_t gseq)
{
    struct journal *j = ctx;

    PQB_ASSERT(j->count < RECORDS_MAX);
    j->at[j->count].gseq = gseq;
    j->at[j->count].len = pqb_record_len(r);
    pqb_record_encode(r, gseq, j->at[j->count].value, j->at[j->count].len);
    j->count++;
}

static struct pqb_ledger *new_ledger(struct bench *b)
{
    static const uint8_t key[PQB_SIPHASH_KEY_LEN] = {1};
    const struct pqb_ledger_io io = {&b->journal, no_name, no_user, no_device, no_inbox, append};
    struct pqb_ledger *l;

    assert_int_equal(pqb_ledger_create(&l, &b->limits, &io, key), PQB_OK);
    return l;
}

// Decides `r` in the open batch; the caller owns it.
static struct pqb_request *decide(struct bench *b, struct pqb_request *r)
{
    assert_int_equal(pqb_ledger_decide(b->l, r, &b->turn), PQB_OK);
    return r;
}

static struct pqb_request *named(enum pqb_op op, const char *user, const char *device)
{
    struct pqb_request *r = pqb_request_create(op, 0);

    r->user_len = (uint8_t)strlen(user);
    memcpy(r->user, user, r->user_len);
    r->device_len = (uint8_t)strlen(device);
    memcpy(r->device, device, r->device_len);
    return r;
}

static struct pqb_request *numbered(struct bench *b, enum pqb_op op, uint64_t uid, uint32_t devno)
{
    struct pqb_request *r = pqb_request_create(op, 0);

    r->uid = uid;
    r->devno = devno;
    r->epoch = uid == b->alice ? b->epoch : 0;
    return r;
}

static uint64_t login(struct bench *b, const char *user, const char *device)
{
    struct pqb_request *r = decide(b, named(PQB_OP_LOGIN, user, device));
    const uint64_t uid = r->user_state.uid;

    assert_int_equal(r->result, PQB_RESULT_DONE);
    pqb_request_destroy(r);
    return uid;
}

static uint32_t new_epoch(struct bench *b, uint64_t uid, uint8_t nonce)
{
    struct pqb_request *r = numbered(b, PQB_OP_EPOCH, uid, 1);
    uint32_t epoch;

    memset(r->nonce, nonce, sizeof(r->nonce));
    decide(b, r);
    epoch = r->device_state.epoch;
    pqb_request_destroy(r);
    return epoch;
}

static struct pqb_request *message(struct bench *b, uint64_t seq, uint64_t low, uint64_t after,
                                   const char *to, const char *body)
{
    struct pqb_request *r = pqb_request_create(PQB_OP_MSG, strlen(body));

    r->uid = b->alice;
    r->devno = 1;
    r->epoch = b->epoch;
    r->seq = seq;
    r->low = low;
    r->after = after;
    r->to_len = (uint8_t)strlen(to);
    memcpy(r->to, to, r->to_len);
    memcpy(r->body, body, r->body_len);
    return r;
}

// result in the high byte, nack in the low one
#define ANSWER(result, nack) ((unsigned)(result) << 8 | (unsigned)(nack))

static unsigned send(struct bench *b, uint64_t seq, uint64_t low, uint64_t after, const char *to,
                     const char *body)
{
    struct pqb_request *r = decide(b, message(b, seq, low, after, to, body));
    const unsigned answer = ANSWER(r->result, r->nack);

    pqb_request_destroy(r);
    return answer;
}

static unsigned abandon(struct bench *b, uint64_t seq, uint8_t *state)
{
    struct pqb_request *r = numbered(b, PQB_OP_SKIP, b->alice, 1);
    unsigned answer;

    r->seqs.count = 1;
    r->seqs.at[0] = (struct pqb_range){seq, seq};
    decide(b, r);
    answer = ANSWER(r->result, r->nack);
    *state = r->skipped.at[0].state;
    pqb_request_destroy(r);
    return answer;
}

static struct pqb_user_state user_state(struct bench *b, const char *user)
{
    struct pqb_request *r = decide(b, named(PQB_OP_USER, user, ""));
    const struct pqb_user_state state = r->user_state;

    pqb_request_destroy(r);
    return state;
}

static void next_batch(struct bench *b)
{
    pqb_ledger_batch_commit(b->l);
    pqb_ledger_batch_begin(b->l);
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));

    b->limits = (struct pqb_ledger_limits){.inbox_messages_max = 100,
                                           .inbox_bytes_max = 1000,
                                           .users_max = 5,
                                           .users_per_sender_max = 2,
                                           .devices_per_user_max = 2,
                                           .seen_granularity_ms = 1000};
    b->turn = (struct pqb_ledger_turn){.at = 1, .minutes = MINUTES, .may_store = true};
    b->l = new_ledger(b);
    pqb_ledger_batch_begin(b->l);
    b->alice = login(b, "alice", "phone");
    b->epoch = new_epoch(b, b->alice, 1);
    b->bob = login(b, "bob", "phone");
    next_batch(b);
    *state = b;
    return 0;
}

// Everything that the records say, applied to an empty ledger, must give the same users.
static void assert_replay_agrees(struct bench *b)
{
    struct pqb_ledger *live = b->l;
    struct pqb_ledger *again = new_ledger(b);
    struct pqb_hnode *node = NULL;

    if (live->is_in_batch)
        pqb_ledger_batch_commit(live);
    for (size_t i = 0; i < b->journal.count; i++) {
        struct pqb_journal_record r;

        assert_int_equal(pqb_record_decode(&r, b->journal.at[i].gseq, b->journal.at[i].value,
                                           b->journal.at[i].len),
                         PQB_OK);
        assert_int_equal(pqb_ledger_replay(again, &r, b->journal.at[i].gseq), PQB_OK);
    }
    again->counters.next_gseq = live->counters.next_gseq;
    assert_int_equal(again->orphan_count, 0);
    assert_memory_equal(&again->counters, &live->counters, sizeof(live->counters));
    while ((node = pqb_htable_next(&live->by_uid, node)) != NULL) {
        const struct pqb_ledger_user *u = PQB_CONTAINER_OF(node, struct pqb_ledger_user, by_uid);
        struct pqb_ledger_user *v;
        struct pqb_user_row a = {0}, c = {0};

        assert_int_equal(pqb_ledger_user_find(again, u->uid, &v), PQB_OK);
        assert_non_null(v);
        pqb_ledger_user_row(live, u, &a);
        pqb_ledger_user_row(again, v, &c);
        assert_memory_equal(&a, &c, sizeof(a));
        assert_int_equal(u->device_count, v->device_count);
        for (size_t i = 0; i < u->device_count; i++) {
            static struct pqb_device_row d, e;
            static uint8_t bytes_d[PQB_DEVICE_ROW_MAX], bytes_e[PQB_DEVICE_ROW_MAX];
            size_t len;

            pqb_ledger_device_row(live, u, u->devices[i], &d);
            pqb_ledger_device_row(again, v, v->devices[i], &e);
            // Compared as they are written: the structs have padding.
            len = pqb_device_row_encode(&d, bytes_d);
            assert_int_equal(pqb_device_row_encode(&e, bytes_e), len);
            assert_memory_equal(bytes_d, bytes_e, len);
        }
    }
    pqb_ledger_destroy(again);
}

static int teardown(void **state)
{
    struct bench *b = *state;

    assert_replay_agrees(b);
    pqb_ledger_destroy(b->l);
    free(b);
    return 0;
}

#define DONE          ANSWER(PQB_RESULT_DONE, 0)
#define DUPLICATE     ANSWER(PQB_RESULT_DUPLICATE, 0)
#define CONFLICT      ANSWER(PQB_RESULT_REFUSED, PQB_NACK_CONFLICT)
#define WINDOW        ANSWER(PQB_RESULT_REFUSED, PQB_NACK_WINDOW)
#define ORDER         ANSWER(PQB_RESULT_TRANSIENT, PQB_NACK_ORDER)
#define STORAGE       ANSWER(PQB_RESULT_TRANSIENT, PQB_NACK_STORAGE)
#define REFUSED(nack) ANSWER(PQB_RESULT_REFUSED, nack)

// ---------------------------------------------------------------------------------- dedup

static void a_repeat_is_a_duplicate_and_another_content_a_conflict(void **state)
{
    struct bench *b = *state;

    assert_int_equal(send(b, 1, 1, 0, "bob", "ok"), DONE);
    assert_int_equal(send(b, 1, 1, 0, "bob", "ok"), DUPLICATE); // of the same batch
    next_batch(b);
    assert_int_equal(send(b, 1, 1, 0, "bob", "ok"), DUPLICATE);
    assert_int_equal(send(b, 1, 1, 0, "bob", "no"), CONFLICT);
    assert_int_equal(send(b, 1, 1, 0, "carol", "ok"), CONFLICT); // same body, another recipient
    assert_int_equal(user_state(b, "bob").count, 1);
    assert_int_equal(user_state(b, "carol").uid, 0);
}

static void below_low_is_a_conflict_and_the_window_ends_at_low_plus_256(void **state)
{
    struct bench *b = *state;

    assert_int_equal(send(b, 256, 1, 0, "bob", "x"), DONE);
    assert_int_equal(send(b, 257, 1, 0, "bob", "x"), WINDOW);
    assert_int_equal(send(b, 257, 2, 0, "bob", "x"), DONE);
    assert_int_equal(send(b, 1, 1, 0, "bob", "x"), CONFLICT); // 2 was said before
    assert_int_equal(send(b, 0, 0, 0, "bob", "x"), CONFLICT);
    assert_int_equal(send(b, 256, 256, 0, "bob", "x"), DUPLICATE); // writes nothing: low stays
    assert_int_equal(send(b, 2, 2, 0, "bob", "x"), DONE);
    assert_int_equal(send(b, 300, 300, 0, "bob", "x"), DONE);
    assert_int_equal(send(b, 257, 1, 0, "bob", "x"), CONFLICT); // forgotten, never accepted anew
}

static void another_epoch_is_told_and_a_new_one_begins_with_an_empty_window(void **state)
{
    struct bench *b = *state;
    const uint32_t old = b->epoch;

    assert_int_equal(send(b, 1, 1, 0, "bob", "x"), DONE);
    assert_int_equal(new_epoch(b, b->alice, 1), old); // the same nonce
    b->epoch = new_epoch(b, b->alice, 2);
    assert_true(b->epoch > old);
    assert_int_equal(send(b, 1, 1, 0, "bob", "y"), DONE);
    b->epoch = old;
    assert_int_equal(send(b, 2, 1, 0, "bob", "x"), REFUSED(PQB_NACK_EPOCH));
    b->epoch = 0;
    assert_int_equal(send(b, 2, 1, 0, "bob", "x"), REFUSED(PQB_NACK_EPOCH));
}

static void a_refusal_consumes_its_seq_and_is_repeated_for_ever(void **state)
{
    struct bench *b = *state;
    char big[901];
    struct pqb_request *r;

    memset(big, 'x', 900);
    big[900] = '\0';
    assert_int_equal(send(b, 1, 1, 0, "bob", big), DONE);
    assert_int_equal(send(b, 2, 1, 0, "bob", big), REFUSED(PQB_NACK_QUOTA));
    next_batch(b);
    r = numbered(b, PQB_OP_CURSOR, b->bob, 1); // room again
    r->cursor = PQB_ISEQ_MAKE(MINUTES, 1);
    assert_int_equal(decide(b, r)->result, PQB_RESULT_DONE);
    pqb_request_destroy(r);
    assert_int_equal(send(b, 2, 1, 0, "bob", big), REFUSED(PQB_NACK_QUOTA));
    assert_int_equal(send(b, 3, 1, 0, "bob", big), DONE);
    r = message(b, 4, 1, 0, "bob", "");
    r->refuse = PQB_NACK_TOO_LARGE;
    decide(b, r);
    assert_int_equal(r->nack, PQB_NACK_TOO_LARGE);
    pqb_request_destroy(r);
    assert_int_equal(send(b, 4, 1, 0, "bob", ""), REFUSED(PQB_NACK_TOO_LARGE));
}

static void a_skip_abandons_what_is_free_and_tells_the_truth_about_the_rest(void **state)
{
    struct bench *b = *state;
    uint8_t end;

    assert_int_equal(send(b, 1, 1, 0, "bob", "x"), DONE);
    assert_int_equal(abandon(b, 1, &end), DONE);
    assert_int_equal(end, PQB_STATE_ACCEPTED);
    assert_int_equal(abandon(b, 2, &end), DONE);
    assert_int_equal(end, PQB_STATE_ABANDONED);
    assert_int_equal(send(b, 2, 1, 0, "bob", "late"), DUPLICATE); // with state ABANDONED
    assert_int_equal(user_state(b, "bob").count, 1);
    assert_int_equal(abandon(b, 257, &end), DONE); // beyond the window
    assert_int_equal(end, PQB_STATE_UNKNOWN);
    assert_int_equal(abandon(b, UINT64_MAX, &end), DONE);
    assert_int_equal(end, PQB_STATE_UNKNOWN);
}

// ---------------------------------------------------------------------------------- order

static void after_waits_for_its_predecessor_also_inside_a_batch(void **state)
{
    struct bench *b = *state;

    assert_int_equal(send(b, 2, 1, 1, "bob", "2"), ORDER);
    assert_int_equal(send(b, 1, 1, 0, "bob", "1"), DONE);
    assert_int_equal(send(b, 2, 1, 1, "bob", "2"), DONE);
    assert_int_equal(send(b, 9, 5, 4, "bob", "9"), DONE); // 4 < low
    assert_int_equal(send(b, 10, 5, 10, "bob", "x"), REFUSED(PQB_NACK_INVALID));
}

static void a_skipped_predecessor_lets_nobody_past_what_it_waited_for(void **state)
{
    struct bench *b = *state;
    uint8_t end;

    assert_int_equal(abandon(b, 2, &end), DONE);           // 2 was after 1
    assert_int_equal(send(b, 3, 1, 2, "bob", "3"), ORDER); // 1 is still open
    assert_int_equal(send(b, 1, 1, 0, "bob", "1"), DONE);
    assert_int_equal(send(b, 3, 1, 2, "bob", "3"), DONE);
    assert_int_equal(abandon(b, 5, &end), DONE);
    assert_int_equal(send(b, 6, 1, 5, "bob", "6"), ORDER); // 4 is open
    assert_int_equal(send(b, 6, 5, 5, "bob", "6"), DONE);  // 4 is below low
}

static void an_aborted_batch_leaves_nothing_not_even_numbers(void **state)
{
    struct bench *b = *state;
    const size_t journal_count = b->journal.count;
    const uint64_t next_uid = b->l->counters.next_uid;
    uint8_t end;

    assert_int_equal(send(b, 1, 1, 0, "bob", "kept"), DONE);
    next_batch(b);
    assert_int_equal(b->journal.count, journal_count + 1);
    assert_int_equal(send(b, 2, 2, 0, "carol", "x"), DONE);
    assert_int_equal(send(b, 3, 2, 0, "bob", "x"), DONE);
    assert_int_equal(abandon(b, 4, &end), DONE);
    (void)login(b, "bob", "tablet");
    (void)login(b, "dave", "phone");
    (void)new_epoch(b, b->alice, 9);
    struct pqb_request *forget = numbered(b, PQB_OP_FORGET, b->bob, 1);

    assert_int_equal(decide(b, forget)->result, PQB_RESULT_DONE);
    pqb_request_destroy(forget);
    pqb_ledger_batch_abort(b->l);
    b->journal.count = journal_count + 1;
    pqb_ledger_batch_begin(b->l);
    assert_int_equal(b->l->counters.next_uid, next_uid);
    assert_int_equal(user_state(b, "carol").uid, 0);
    assert_int_equal(user_state(b, "bob").count, 1);
    assert_int_equal(send(b, 1, 1, 0, "bob", "kept"), DUPLICATE);
    assert_int_equal(send(b, 2, 1, 0, "bob", "2"), DONE);
    assert_int_equal(user_state(b, "bob").head, PQB_ISEQ_MAKE(MINUTES, 2));
}

// ---------------------------------------------------------------------------------- limits

static void names_are_made_at_first_mention_so_many_for_a_sender_and_in_all(void **state)
{
    struct bench *b = *state;

    assert_int_equal(send(b, 1, 1, 0, "u1", "x"), DONE);
    assert_int_equal(send(b, 2, 1, 0, "u2", "x"), DONE);
    assert_int_equal(send(b, 3, 1, 0, "u3", "x"), REFUSED(PQB_NACK_UNKNOWN)); // two for each
    assert_int_equal(send(b, 4, 1, 0, "u2", "x"), DONE);
    (void)login(b, "u3", "phone"); // the fifth
    struct pqb_request *r = decide(b, named(PQB_OP_LOGIN, "u4", "phone"));

    assert_int_equal(ANSWER(r->result, r->nack), REFUSED(PQB_NACK_UNKNOWN));
    pqb_request_destroy(r);
    assert_int_equal(send(b, 5, 1, 0, "u3", "x"), DONE);
}

static void a_user_has_so_many_devices_and_no_more(void **state)
{
    struct bench *b = *state;
    struct pqb_request *r;

    (void)login(b, "bob", "tablet");
    r = decide(b, named(PQB_OP_LOGIN, "bob", "watch"));
    assert_int_equal(ANSWER(r->result, r->nack), REFUSED(PQB_NACK_QUOTA));
    pqb_request_destroy(r);
    r = decide(b, named(PQB_OP_FORGET, "bob", "tablet"));
    assert_int_equal(r->result, PQB_RESULT_DONE);
    pqb_request_destroy(r);
    r = decide(b, named(PQB_OP_LOGIN, "bob", "watch"));
    assert_int_equal(r->device_state.devno, 3); // numbers do not come again
    pqb_request_destroy(r);
}

static void an_inbox_takes_messages_up_to_its_limit(void **state)
{
    struct bench *b = *state;

    for (uint64_t seq = 1; seq <= 100; seq++)
        assert_int_equal(send(b, seq, seq, 0, "bob", "x"), DONE);
    assert_int_equal(send(b, 101, 101, 0, "bob", "x"), REFUSED(PQB_NACK_QUOTA));
}

static void while_degraded_only_cursors_skips_and_known_answers_come_through(void **state)
{
    struct bench *b = *state;
    struct pqb_request *r;
    uint8_t end;

    assert_int_equal(send(b, 1, 1, 0, "bob", "x"), DONE);
    b->turn.may_store = false;
    assert_int_equal(send(b, 2, 1, 0, "bob", "x"), STORAGE);
    assert_int_equal(send(b, 1, 1, 0, "bob", "x"), DUPLICATE);
    assert_int_equal(abandon(b, 2, &end), DONE);
    r = numbered(b, PQB_OP_CURSOR, b->bob, 1);
    r->cursor = PQB_ISEQ_MAKE(MINUTES, 1);
    assert_int_equal(decide(b, r)->result, PQB_RESULT_DONE);
    pqb_request_destroy(r);
    r = decide(b, named(PQB_OP_LOGIN, "eve", "phone"));
    assert_int_equal(ANSWER(r->result, r->nack), STORAGE);
    pqb_request_destroy(r);
    r = decide(b, named(PQB_OP_LOGIN, "bob", "tablet"));
    assert_int_equal(ANSWER(r->result, r->nack), STORAGE);
    pqb_request_destroy(r);
    assert_int_equal(login(b, "bob", "phone"), b->bob); // known: nothing to write
}

static void while_degraded_who_has_messages_may_register_to_take_them(void **state)
{
    struct bench *b = *state;
    struct pqb_request *r;

    assert_int_equal(send(b, 1, 1, 0, "eve", "x"), DONE);
    b->turn.may_store = false;
    r = decide(b, named(PQB_OP_LOGIN, "eve", "phone"));
    assert_int_equal(r->result, PQB_RESULT_DONE);
    pqb_request_destroy(r);
    r = decide(b, named(PQB_OP_LOGIN, "eve", "tablet")); // one of her devices is enough
    assert_int_equal(ANSWER(r->result, r->nack), STORAGE);
    pqb_request_destroy(r);
}

// ---------------------------------------------------------------------------------- the rest

static void stat_tells_by_receipt_and_by_window(void **state)
{
    struct bench *b = *state;
    struct pqb_request *r;

    assert_int_equal(send(b, 1, 1, 0, "bob", "x"), DONE);
    for (int is_delivered = 0; is_delivered <= 1; is_delivered++) {
        r = message(b, 1, 1, 0, "bob", "");
        r->op = PQB_OP_STAT;
        r->has_iseq = true;
        r->iseq = PQB_ISEQ_MAKE(MINUTES, 1);
        decide(b, r);
        assert_int_equal(r->state, is_delivered ? PQB_STATE_DELIVERED : PQB_STATE_STORED);
        pqb_request_destroy(r);
        r = numbered(b, PQB_OP_CURSOR, b->bob, 1);
        r->cursor = PQB_ISEQ_MAKE(MINUTES, 1);
        decide(b, r);
        assert_int_equal(r->delivered_before, is_delivered ? r->cursor : 0);
        pqb_request_destroy(r);
    }
    r = message(b, 1, 1, 0, "bob", "");
    r->op = PQB_OP_STAT;
    assert_int_equal(decide(b, r)->state, PQB_STATE_ACCEPTED);
    assert_int_equal(r->iseq, PQB_ISEQ_MAKE(MINUTES, 1));
    r->seq = 2;
    assert_int_equal(decide(b, r)->state, PQB_STATE_UNKNOWN);
    pqb_request_destroy(r);
}

static void a_login_raises_low_and_is_otherwise_written_only_after_a_silence(void **state)
{
    struct bench *b = *state;
    const size_t before = b->journal.count;
    struct pqb_request *r;

    (void)login(b, "alice", "phone");
    assert_int_equal(b->journal.count, before);
    b->turn.at += 1000;
    (void)login(b, "alice", "phone");
    assert_int_equal(b->journal.count, before + 1);
    r = named(PQB_OP_LOGIN, "alice", "phone");
    r->epoch = b->epoch;
    r->low = 7;
    decide(b, r);
    assert_int_equal(r->device_state.low, 7);
    assert_int_equal(b->journal.count, before + 2);
    pqb_request_destroy(r);
    assert_int_equal(send(b, 6, 1, 0, "bob", "x"), CONFLICT);
}

static void the_last_generation_is_never_left(void **state)
{
    struct bench *b = *state;

    b->turn.minutes = PQB_GENERATION_MAX;
    for (int i = 0; i < 2; i++) {
        struct pqb_request *r = decide(b, numbered(b, PQB_OP_ROLLBACK, b->bob, 1));
        assert_int_equal(r->result, i == 0 ? PQB_RESULT_DONE : PQB_RESULT_REFUSED);
        assert_int_equal(r->user_state.head, PQB_ISEQ_MAKE(PQB_GENERATION_MAX, 0));
        pqb_request_destroy(r);
    }
}

// A new ledger from the journal, but for records of `lost`; a batch is open in it.
static void replay_without(struct bench *b, enum pqb_record_type lost)
{
    struct pqb_ledger *again = new_ledger(b);

    pqb_ledger_batch_commit(b->l);
    for (size_t i = 0; i < b->journal.count; i++) {
        struct pqb_journal_record r;

        assert_int_equal(pqb_record_decode(&r, b->journal.at[i].gseq, b->journal.at[i].value,
                                           b->journal.at[i].len),
                         PQB_OK);
        if (r.type != lost)
            assert_int_equal(pqb_ledger_replay(again, &r, b->journal.at[i].gseq), PQB_OK);
    }
    again->counters.next_gseq = b->l->counters.next_gseq;
    pqb_ledger_destroy(b->l);
    b->l = again;
    pqb_ledger_batch_begin(again);
}

// What recovery does after damage asks for a generation above all it knows of: it must know of one
// that only its messages tell.
static void a_generation_whose_record_is_lost_is_not_begun_again(void **state)
{
    struct bench *b = *state;
    struct pqb_request *r = decide(b, numbered(b, PQB_OP_ROLLBACK, b->bob, 1));

    assert_int_equal(r->result, PQB_RESULT_DONE);
    pqb_request_destroy(r);
    assert_int_equal(send(b, 1, 1, 0, "bob", "x"), DONE);
    assert_int_equal(user_state(b, "bob").head, PQB_ISEQ_MAKE(MINUTES + 1, 1));
    replay_without(b, PQB_RECORD_GENERATION);
    assert_int_equal(b->l->counters.generation_max, MINUTES + 1);
    b->l->counters.generation_floor = ++b->l->counters.generation_max; // as recovery does
    assert_int_equal(send(b, 2, 1, 0, "bob", "y"), DONE);
    assert_int_equal(user_state(b, "bob").head, PQB_ISEQ_MAKE(MINUTES + 2, 1));
    pqb_ledger_destroy(b->l); // no replay agrees with what recovery put into meta
    b->l = new_ledger(b);
    b->journal.count = 0;
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_repeat_is_a_duplicate_and_another_content_a_conflict),
        CASE(below_low_is_a_conflict_and_the_window_ends_at_low_plus_256),
        CASE(another_epoch_is_told_and_a_new_one_begins_with_an_empty_window),
        CASE(a_refusal_consumes_its_seq_and_is_repeated_for_ever),
        CASE(a_skip_abandons_what_is_free_and_tells_the_truth_about_the_rest),
        CASE(after_waits_for_its_predecessor_also_inside_a_batch),
        CASE(a_skipped_predecessor_lets_nobody_past_what_it_waited_for),
        CASE(an_aborted_batch_leaves_nothing_not_even_numbers),
        CASE(names_are_made_at_first_mention_so_many_for_a_sender_and_in_all),
        CASE(a_user_has_so_many_devices_and_no_more),
        CASE(an_inbox_takes_messages_up_to_its_limit),
        CASE(while_degraded_only_cursors_skips_and_known_answers_come_through),
        CASE(while_degraded_who_has_messages_may_register_to_take_them),
        CASE(stat_tells_by_receipt_and_by_window),
        CASE(a_login_raises_low_and_is_otherwise_written_only_after_a_silence),
        CASE(the_last_generation_is_never_left),
        CASE(a_generation_whose_record_is_lost_is_not_begun_again),
    };
#undef CASE

    return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
