// A store lives through memory, tables and disk that fail at every single point of its life, one
// at a time: opening, deciding, committing, reading, checkpoint, backup, recovery, verify. Nothing
// crashes or leaks; what fails says so, and succeeds when it is done again; what was accepted is
// there at the end, once.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/wire/limits.h"
#include "storage/store.h"
#include "tests/unit/faults.h"
#include "tests/unit/store_fixture.h"

#define TRIES_MAX    6
#define ACCEPTED_MAX 64
#define LARGE_LEN    5000

struct life {
    struct fixture f; // its path, configuration and clocks
    char copy[300];   // of the backup
    uint64_t ben;
    uint64_t accepted[ACCEPTED_MAX];
    size_t accepted_count;
    unsigned failures; // told by an error or a result
    unsigned deaths;   // of a store that could not go on
    int expected;      // what the error must be; 0: any
};

static void note_failure(struct life *l, int err)
{
    l->failures++;
    if (l->expected != 0 && err != l->expected)
        fail_msg("%s instead of %s", pqb_err_name(err), pqb_err_name(l->expected));
}

static void open_store(struct life *l)
{
    int err = PQB_ERR_INVALID;

    for (int i = 0; i < TRIES_MAX && err != PQB_OK; i++) {
        err = pqb_store_open(&l->f.s, &l->f.config, l->f.now, l->f.wall);
        if (err != PQB_OK)
            note_failure(l, err);
    }
    assert_int_equal(err, PQB_OK);
    for (int i = 0; i < TRIES_MAX; i++) {
        err = pqb_view_create(l->f.s, &l->f.v);
        if (err == PQB_OK)
            break;
        note_failure(l, err);
    }
    assert_int_equal(err, PQB_OK);
}

static void drop_view(struct life *l)
{
    pqb_view_destroy(l->f.v);
    l->f.v = NULL;
}

static void revive(struct life *l)
{
    l->deaths++;
    drop_view(l);
    pqb_store_crash(l->f.s);
    l->f.s = NULL;
    open_store(l);
}

static void pass(struct life *l, pqb_duration ns)
{
    l->f.now += ns;
    l->f.wall += ns / PQB_NS_PER_MS;
    (void)pqb_store_step(l->f.s, l->f.now, l->f.wall);
}

// One try; NULL: the request could not be made, or the store has died.
static struct pqb_request *try_run(struct life *l, const struct pqb_request *r, const char *body)
{
    struct pqb_request *mine = pqb_request_create(r->op, r->body_len);
    struct pqb_request *done = NULL;

    if (mine == NULL) {
        note_failure(l, PQB_ERR_NOMEM);
        return NULL;
    }
    memcpy(mine, r, sizeof(*mine));
    mine->link.next = mine->link.prev = &mine->link;
    if (r->body_len > 0)
        memcpy(mine->body, body, r->body_len);
    assert_int_equal(pqb_store_submit(l->f.s, mine), PQB_OK);
    for (int i = 0; i < 100 && done == NULL && !pqb_store_is_failed(l->f.s); i++) {
        pass(l, PQB_NS_PER_MS);
        done = pqb_store_poll(l->f.s, 0);
    }
    if (done != NULL)
        return done;
    assert_true(pqb_store_is_failed(l->f.s));
    l->failures++;
    revive(l);
    return NULL;
}

// Until it is decided for good; the caller destroys it.
static struct pqb_request *run(struct life *l, const struct pqb_request *r, const char *body)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        struct pqb_request *done = try_run(l, r, body);

        if (done != NULL && done->result != PQB_RESULT_FAILED &&
            done->result != PQB_RESULT_TRANSIENT)
            return done;
        l->failures += done != NULL;
        pqb_request_destroy(done);
        pass(l, 2 * PQB_NS_PER_SEC);
    }
    fail_msg("op %d does not succeed", (int)r->op);
    return NULL;
}

static struct actor log_in(struct life *l, const char *user)
{
    struct pqb_request ask = {.op = PQB_OP_LOGIN, .device = "phone", .device_len = 5};
    struct actor a;

    ask.user_len = (uint8_t)strlen(user);
    memcpy(ask.user, user, ask.user_len);
    struct pqb_request *r = run(l, &ask, NULL);
    assert_int_equal(r->result, PQB_RESULT_DONE);
    a = (struct actor){.uid = r->user_state.uid, .devno = r->device_state.devno};
    pqb_request_destroy(r);
    struct pqb_request epoch = {.op = PQB_OP_EPOCH, .uid = a.uid, .devno = a.devno};
    epoch.nonce[0] = (uint8_t)user[0];
    r = run(l, &epoch, NULL);
    assert_int_equal(r->result, PQB_RESULT_DONE);
    a.epoch = r->device_state.epoch;
    pqb_request_destroy(r);
    return a;
}

static void send(struct life *l, const struct actor *a, uint64_t seq, size_t len)
{
    static char body[LARGE_LEN];
    struct pqb_request ask = {.op = PQB_OP_MSG,
                              .uid = a->uid,
                              .devno = a->devno,
                              .epoch = a->epoch,
                              .seq = seq,
                              .low = 1,
                              .to = "ben",
                              .to_len = 3,
                              .body_len = (uint32_t)len};

    memset(body, (int)seq, sizeof(body));
    struct pqb_request *r = run(l, &ask, body);
    assert_true(r->result == PQB_RESULT_DONE || r->result == PQB_RESULT_DUPLICATE);
    assert_true(r->iseq != 0 && l->accepted_count < ACCEPTED_MAX);
    for (size_t i = 0; i < l->accepted_count; i++)
        assert_int_not_equal(l->accepted[i], r->iseq);
    l->accepted[l->accepted_count++] = r->iseq;
    pqb_request_destroy(r);
}

static void run_op(struct life *l, enum pqb_op op, const struct actor *a, uint64_t cursor)
{
    struct pqb_request ask = {.op = op,
                              .uid = a->uid,
                              .devno = a->devno,
                              .epoch = a->epoch,
                              .cursor = cursor,
                              .low = 1,
                              .seq = 2,
                              .user = "ben",
                              .user_len = 3,
                              .seqs = {.count = 1, .at = {{40, 41}}}};
    struct pqb_request *r = run(l, &ask, NULL);

    assert_int_equal(r->result, PQB_RESULT_DONE);
    pqb_request_destroy(r);
}

static void checkpoint(struct life *l)
{
    const struct actor nobody = {0};

    run_op(l, PQB_OP_CHECKPOINT, &nobody, 0);
    for (int i = 0; i < 40; i++)
        pass(l, 100 * PQB_NS_PER_MS);
    if (pqb_store_is_failed(l->f.s))
        revive(l);
}

// How many of the accepted messages above `after` are found, and found whole; each at most once.
static int look(struct life *l, uint64_t uid, uint64_t after, size_t *found)
{
    struct pqb_record record;
    struct pqb_message m;
    uint64_t gseq = 0, seen[ACCEPTED_MAX], from = after + 1;
    size_t seen_count = 0;
    int err = pqb_view_begin(l->f.v);

    *found = 0;
    if (err != PQB_OK)
        return err;
    while (err == PQB_OK && (err = pqb_view_tail(l->f.v, &gseq, &record)) == PQB_OK) {
        if (record.type != PQB_RECORD_MSG || record.uid != uid || record.iseq <= after)
            continue;
        err = pqb_view_journal_message(l->f.v, record.gseq, &m);
        if (err == PQB_OK) {
            assert_true(m.body.len > 0 && m.body.data[m.body.len - 1] == (uint8_t)m.seq);
            seen[seen_count++] = m.iseq;
        }
    }
    assert_int_not_equal(err, PQB_OK);
    err = err == PQB_ERR_NOT_FOUND ? PQB_OK : err;
    while (err == PQB_OK && (err = pqb_view_inbox_message(l->f.v, uid, from, &m)) == PQB_OK) {
        assert_true(m.body.len > 0 && m.body.data[m.body.len - 1] == (uint8_t)m.seq);
        from = m.iseq + 1;
        for (size_t i = 0; i < seen_count; i++)
            if (seen[i] == m.iseq) // on its way from the journal
                seen[i] = 0;
        seen[seen_count++] = m.iseq;
    }
    pqb_view_end(l->f.v);
    for (size_t i = 0; i < seen_count; i++)
        for (size_t k = 0; k < l->accepted_count; k++)
            *found += seen[i] == l->accepted[k];
    return err == PQB_ERR_NOT_FOUND ? PQB_OK : err;
}

static void expect_all(struct life *l, uint64_t uid, uint64_t after)
{
    size_t found = 0, expected = 0;
    int err = PQB_ERR_INVALID;

    for (size_t k = 0; k < l->accepted_count; k++)
        expected += l->accepted[k] > after;
    for (int i = 0; i < TRIES_MAX && err != PQB_OK; i++) {
        err = look(l, uid, after, &found);
        if (err != PQB_OK)
            note_failure(l, err);
    }
    assert_int_equal(err, PQB_OK);
    assert_int_equal(found, expected);
}

static void back_up(struct life *l)
{
    int err = PQB_ERR_INVALID;

    for (int i = 0; i < TRIES_MAX && err != PQB_OK; i++) {
        fixture_remove(l->copy);
        err = pqb_store_backup(l->f.s, l->copy, 1000000);
        if (err != PQB_OK)
            note_failure(l, err);
    }
    assert_int_equal(err, PQB_OK);
}

static void verify(struct life *l, const char *path)
{
    struct pqb_verify_report report;
    bool is_clean = false;

    // A table that cannot be read to its end is a finding, too.
    for (int i = 0; i < TRIES_MAX && !is_clean; i++) {
        const int err = pqb_store_verify(path, NULL, NULL, &report);

        is_clean = err == PQB_OK && report.findings == 0;
        if (err != PQB_OK)
            note_failure(l, err);
    }
    assert_true(is_clean);
}

static void live(struct life *l)
{
    open_store(l);
    const struct actor ann = log_in(l, "ann");
    send(l, &ann, 1, 10);
    send(l, &ann, 2, LARGE_LEN);
    const struct actor ben = log_in(l, "ben");
    l->ben = ben.uid;
    send(l, &ann, 3, 10);
    expect_all(l, ben.uid, 0);
    run_op(l, PQB_OP_USER, &ben, 0);
    run_op(l, PQB_OP_SKIP, &ann, 0);
    checkpoint(l);
    expect_all(l, ben.uid, 0);
    run_op(l, PQB_OP_CURSOR, &ben, l->accepted[0]);
    send(l, &ann, 4, LARGE_LEN);
    run_op(l, PQB_OP_STAT, &ann, 0);
    back_up(l);
    drop_view(l);
    pqb_store_close(l->f.s);
    l->f.s = NULL;
    verify(l, l->copy);
    open_store(l); // recovery with tables and a journal
    expect_all(l, ben.uid, l->accepted[0]);
    checkpoint(l);
    send(l, &ann, 5, 10);
    revive(l);
    l->deaths--;
    expect_all(l, ben.uid, l->accepted[0]);
}

// Of the life that is being lived; at 0: none.
static struct {
    enum fault_kind kind;
    uint64_t at;
    int error;
} present;

static int tell_where(void **state)
{
    (void)state;
    if (present.at != 0)
        printf("it was call %llu of kind %d, error %d\n", (unsigned long long)present.at,
               (int)present.kind, present.error);
    present.at = 0;
    return 0;
}

// true: the fault has met this life.
static bool live_with(enum fault_kind kind, uint64_t at, int error, int expected)
{
    static struct life l;

    l = (struct life){.expected = expected};
    fixture_init(&l.f);
    l.f.config.map_bytes = (size_t)16 << 20;
    (void)snprintf(l.copy, sizeof(l.copy), "%s-copy", l.f.path);
    present.kind = kind;
    present.at = at;
    present.error = error;
    faults_arm(kind, at, error);
    live(&l);
    const bool has_struck = faults_disarm();
    expect_all(&l, l.ben, l.accepted[0]);
    drop_view(&l);
    pqb_store_close(l.f.s);
    l.f.s = NULL;
    verify(&l, l.f.path);
    fixture_remove(l.copy);
    fixture_fini(&l.f);
    present.at = 0;
    return has_struck;
}

static void live_with_each(enum fault_kind kind, int error, int expected, uint64_t first,
                           uint64_t stride)
{
    uint64_t lives = 0, at = first;

    if (getenv("PQB_LONG") != NULL)
        stride = first = at = 1;
    for (; live_with(kind, at, error, expected); at += stride)
        lives++;
    printf("%llu lives, each with one failure among %llu calls\n", (unsigned long long)lives,
           (unsigned long long)at);
    assert_true(lives > 3);
}

static void a_store_lives_with_any_allocation_that_fails(void **state)
{
    (void)state;
    live_with_each(FAULT_MEMORY, ENOMEM, 0, 1, 1);
}

static void a_store_lives_with_any_write_that_finds_no_space(void **state)
{
    (void)state;
    live_with_each(FAULT_TABLE_WRITE, ENOSPC, 0, 1, 1);
    live_with_each(FAULT_TABLE_WRITE, FAULT_MAP_FULL, 0, 2, 5);
}

static void a_store_dies_of_any_write_error_and_comes_back_whole(void **state)
{
    (void)state;
    live_with_each(FAULT_TABLE_WRITE, EIO, 0, 1, 1);
}

static void a_store_lives_with_any_table_call_that_fails(void **state)
{
    (void)state;
    live_with_each(FAULT_TABLE_ANY, ENOMEM, 0, 1, 7);
    live_with_each(FAULT_TABLE_ANY, EIO, 0, 3, 7);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_teardown(name, tell_where)
    const struct CMUnitTest tests[] = {
        CASE(a_store_lives_with_any_allocation_that_fails),
        CASE(a_store_lives_with_any_write_that_finds_no_space),
        CASE(a_store_dies_of_any_write_error_and_comes_back_whole),
        CASE(a_store_lives_with_any_table_call_that_fails),
    };
#undef CASE

    return cmocka_run_group_tests_name("faults_store", tests, NULL, NULL);
}
