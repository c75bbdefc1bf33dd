#include "tests/crash/power_check.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"

#define NOW_AT_OPEN  PQB_NS_PER_SEC
#define WALL_AT_OPEN UINT64_C(1767225700000) // ms; after the whole life
#define STEPS_MAX    2000                    // of the writer until a request is answered

struct check {
    const struct power_plan *plan;
    const struct power_promises *promises;
    size_t damaged;
    struct pqb_store *s;
    struct pqb_view *v;
    pqb_tstamp now;
    uint64_t found[POWER_LETTERS_MAX]; // where each letter stands; 0: nowhere
    uint64_t corrupt;                  // stored messages that were not served
    uint64_t verify_findings;
    uint64_t wrong;
};

static void wrong(struct check *c, const char *format, ...) PQB_PRINTF(2, 3);

static void wrong(struct check *c, const char *format, ...)
{
    va_list args;

    c->wrong++;
    va_start(args, format);
    (void)fputs("    ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
}

static void on_finding(void *ctx, const char *finding)
{
    struct check *c = ctx;

    c->verify_findings++;
    if (c->damaged == POWER_UNDAMAGED)
        wrong(c, "verify: %s", finding);
}

static void verify(struct check *c, const char *path)
{
    struct pqb_verify_report report;
    const int err = pqb_store_verify(path, on_finding, c, &report);

    if (err != PQB_OK)
        wrong(c, "verify: %s", pqb_err_name(err));
}

// ---------------------------------------------------------------------------------- reading

// A message that is there must be one that was sent, whole, to this user, at one position.
static void on_message(struct check *c, const struct pqb_message *m)
{
    uint8_t body[POWER_BODY_MAX];
    unsigned long index = ULONG_MAX;
    const struct power_letter *letter;

    if (m->body.len >= POWER_BODY_TAG && memcmp(m->body.data, "<letter ", 8) == 0)
        index = strtoul((const char *)m->body.data + 8, NULL, 10);
    if (index >= c->plan->letter_count) {
        wrong(c, "uid %" PRIu64 " iseq %" PRIx64 ": a body that nobody sent", m->uid, m->iseq);
        return;
    }
    letter = &c->plan->letters[index];
    power_letter_body(index, letter->body_len, body);
    if (m->body.len != letter->body_len || memcmp(m->body.data, body, letter->body_len) != 0)
        wrong(c, "letter %lu: another body", index);
    if (c->promises->uid[letter->to] != 0 && c->promises->uid[letter->to] != m->uid)
        wrong(c, "letter %lu: in the inbox of uid %" PRIu64, index, m->uid);
    if (m->seq != letter->seq)
        wrong(c, "letter %lu: with seq %" PRIu64, index, m->seq);
    // During a checkpoint journal and inbox may both hold it, at the same position.
    if (c->found[index] != 0 && c->found[index] != m->iseq)
        wrong(c, "letter %lu: twice, at %" PRIx64 " and %" PRIx64, index, c->found[index], m->iseq);
    c->found[index] = m->iseq;
}

static void read_journal(struct check *c)
{
    struct pqb_record record;
    struct pqb_message m;
    uint64_t gseq = 0;
    int err;

    while ((err = pqb_view_tail(c->v, &gseq, &record)) == PQB_OK) {
        if (record.type == PQB_RECORD_BAD)
            c->corrupt++;
        if (record.type != PQB_RECORD_MSG)
            continue;
        err = pqb_view_journal_message(c->v, record.gseq, &m);
        if (err == PQB_OK)
            on_message(c, &m);
        else if (err == PQB_ERR_CORRUPT)
            c->corrupt++;
        else
            wrong(c, "journal gseq %" PRIu64 ": %s", record.gseq, pqb_err_name(err));
    }
    if (err != PQB_ERR_NOT_FOUND)
        wrong(c, "journal: %s", pqb_err_name(err));
}

static void read_inbox(struct check *c, uint64_t uid)
{
    struct pqb_message m;
    uint64_t iseq = 0;
    int err;

    while ((err = pqb_view_inbox_message(c->v, uid, iseq, &m)) != PQB_ERR_NOT_FOUND) {
        if (err == PQB_OK) {
            on_message(c, &m);
        } else if (err == PQB_ERR_CORRUPT && m.iseq >= iseq) {
            c->corrupt++;
        } else {
            wrong(c, "inbox uid %" PRIu64 ": %s", uid, pqb_err_name(err));
            return;
        }
        iseq = m.iseq + 1;
    }
}

static void check_letters(struct check *c)
{
    PQB_ASSERT(pqb_view_begin(c->v) == PQB_OK);
    read_journal(c);
    for (uint64_t uid = 1; uid <= POWER_USERS; uid++)
        read_inbox(c, uid);
    pqb_view_end(c->v);
    for (size_t i = 0; i < c->plan->letter_count; i++) {
        const uint64_t promised = c->promises->iseq[i];

        if (promised == 0 || i == c->damaged)
            continue;
        if (c->found[i] == 0 && promised > c->promises->floor[c->plan->letters[i].to])
            wrong(c, "letter %zu: accepted at %" PRIx64 " and lost", i, promised);
        else if (c->found[i] != 0 && c->found[i] != promised)
            wrong(c, "letter %zu: at %" PRIx64 ", not where it was accepted", i, c->found[i]);
    }
}

// Nobody else stands where a letter stands.
static void check_positions(struct check *c)
{
    for (size_t i = 0; i < c->plan->letter_count; i++)
        for (size_t j = i + 1; j < c->plan->letter_count && c->found[i] != 0; j++)
            if (c->found[j] == c->found[i] && c->plan->letters[j].to == c->plan->letters[i].to)
                wrong(c, "letters %zu and %zu: both at %" PRIx64, i, j, c->found[i]);
}

// ---------------------------------------------------------------------------------- asking

// The answer, or NULL. The caller destroys it.
static struct pqb_request *ask(struct check *c, struct pqb_request *r)
{
    struct pqb_request *done = NULL;

    PQB_ASSERT(pqb_store_submit(c->s, r) == PQB_OK);
    for (int i = 0; i < STEPS_MAX && done == NULL && !pqb_store_is_failed(c->s); i++) {
        c->now += PQB_NS_PER_MS;
        (void)pqb_store_step(c->s, c->now, WALL_AT_OPEN);
        done = pqb_store_poll(c->s, 0);
    }
    if (done == NULL)
        wrong(c, "a request is not answered");
    return done;
}

static void check_device(struct check *c, unsigned device)
{
    const struct power_device *d = &c->promises->devices[device];
    struct pqb_request *r;

    if (!d->has_login)
        return;
    r = ask(c, power_request(PQB_OP_LOOKUP, c->promises, device));
    if (r == NULL)
        return;
    if (r->result != PQB_RESULT_DONE || r->device_state.devno != d->devno)
        wrong(c, "device %u: logged in and not known", device);
    else if (r->device_state.cursor < d->cursor_told || r->device_state.cursor > d->cursor_asked)
        wrong(c, "device %u: cursor %" PRIx64 ", answered %" PRIx64 ", asked %" PRIx64, device,
              r->device_state.cursor, d->cursor_told, d->cursor_asked);
    else if (d->epoch != 0 && r->device_state.epoch != d->epoch)
        wrong(c, "device %u: epoch %" PRIu32 ", told %" PRIu32, device, r->device_state.epoch,
              d->epoch);
    pqb_request_destroy(r);
}

static bool is_resolved(const struct check *c, size_t letter)
{
    const struct power_letter *of = &c->plan->letters[letter];
    bool is = false;

    for (size_t i = letter; i < c->plan->letter_count && !is; i++)
        is = c->plan->letters[i].from == of->from && power_low(c->plan->letters[i].seq) > of->seq;
    return is;
}

// A sender who did not hear the answer asks again: the same answer, and no second copy.
static void check_repeat(struct check *c, size_t letter)
{
    struct pqb_request *r = ask(c, power_letter_request(c->plan, c->promises, letter));

    if (r == NULL)
        return;
    // A seq that its client has called resolved since is out of the question.
    if (r->result != PQB_RESULT_DUPLICATE &&
        !(is_resolved(c, letter) && r->nack == PQB_NACK_CONFLICT))
        wrong(c, "letter %zu: accepted again (result %d)", letter, (int)r->result);
    else if (r->result == PQB_RESULT_DUPLICATE && r->iseq != 0 &&
             r->iseq != c->promises->iseq[letter])
        wrong(c, "letter %zu: a repeat is told %" PRIx64, letter, r->iseq);
    pqb_request_destroy(r);
}

static void check_answers(struct check *c)
{
    for (unsigned i = 0; i < POWER_DEVICES && c->wrong == 0; i++)
        check_device(c, i);
    for (size_t i = 0; i < c->plan->letter_count && c->wrong == 0; i++)
        if (c->promises->iseq[i] != 0)
            check_repeat(c, i);
}

// ---------------------------------------------------------------------------------- all

static void check_undamaged(struct check *c)
{
    struct pqb_store_stats stats;

    pqb_store_get_stats(c->s, &stats);
    if (c->corrupt != 0 || stats.records_bad != 0 || stats.generations != 0 ||
        stats.records_orphaned != 0)
        wrong(c,
              "%" PRIu64 " messages do not check, %" PRIu64 " records, %" PRIu64
              " orphans, %" PRIu64 " new generations",
              c->corrupt, stats.records_bad, stats.records_orphaned, stats.generations);
    check_answers(c);
}

static void check_noticed(struct check *c)
{
    struct pqb_store_stats stats;

    pqb_store_get_stats(c->s, &stats);
    if (c->verify_findings == 0)
        wrong(c, "letter %zu: verify does not find the damage", c->damaged);
    if (stats.records_bad == 0 && c->corrupt == 0)
        wrong(c, "letter %zu: the damage is not counted", c->damaged);
}

static void check_open(struct check *c)
{
    PQB_ASSERT(pqb_view_create(c->s, &c->v) == PQB_OK);
    check_letters(c);
    check_positions(c);
    if (c->damaged == POWER_UNDAMAGED)
        check_undamaged(c);
    else
        check_noticed(c);
    pqb_view_destroy(c->v);
    pqb_store_close(c->s);
}

bool power_check(const struct pqb_store_config *config, const struct power_plan *plan,
                 const struct power_promises *promises, size_t damaged)
{
    struct check *c = calloc(1, sizeof(*c));
    bool is_good;
    int err;

    PQB_ASSERT(c != NULL);
    c->plan = plan;
    c->promises = promises;
    c->damaged = damaged;
    c->now = NOW_AT_OPEN;
    if (promises->has_opened)
        verify(c, config->path);
    err = pqb_store_open(&c->s, config, c->now, WALL_AT_OPEN);
    if (err != PQB_OK)
        wrong(c, "open: %s", pqb_err_name(err));
    else
        check_open(c);
    if (err == PQB_OK && damaged == POWER_UNDAMAGED)
        verify(c, config->path); // once more, after recovery and what followed
    is_good = c->wrong == 0;
    free(c);
    return is_good;
}
