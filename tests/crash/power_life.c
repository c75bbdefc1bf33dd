#include "tests/crash/power_life.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/rng.h"

#define WALL_AT_START  UINT64_C(1767225600000) // 2026-01-01, ms
#define TURNS          90
#define BURST_MAX      10 // requests of a turn
#define STEPS_MAX      3  // of the writer in a turn
#define UNRESOLVED_MAX 20 // below the newest seq everything older is resolved

// What a NOTICE says: say[0], and what stands behind it.
enum notice {
    NOTICE_LOGIN,        // device, uid, devno, cursor at which it starts
    NOTICE_EPOCH,        // device, epoch
    NOTICE_ACCEPTED,     // letter, iseq, uid of the recipient
    NOTICE_CURSOR_ASKED, // device, cursor
    NOTICE_CURSOR_TOLD,  // device, cursor
};

struct life {
    struct pqb_store *s;
    struct pqb_rng rng;
    struct power_log *log;
    struct power_plan *plan;
    struct power_promises told; // as the log has it
    uint64_t head[POWER_USERS]; // highest iseq that was told
    uint64_t next_seq[POWER_DEVICES];
    bool is_asking[POWER_DEVICES]; // for a cursor
    pqb_tstamp now;
};

static const uint8_t secret[PQB_STORE_SECRET_LEN] = {1, 2, 3};
static const char *const names[POWER_USERS] = {"alice", "bob", "carol", "dave"};

static unsigned user_of(unsigned device)
{
    return device / 2;
}

static void wake(void *ctx, uint32_t shard)
{
    (void)ctx;
    (void)shard;
}

void power_life_config(struct pqb_store_config *config, const char *path)
{
    memset(config, 0, sizeof(*config));
    pqb_store_config_default(config);
    config->path = path;
    config->map_bytes = (size_t)64 << 20;
    config->requests_max = 64;
    config->journal_checkpoint_bytes = 96 << 10;
    config->checkpoint_users_max = 2; // many transactions a checkpoint
    config->checkpoint_records_max = 24;
    config->checkpoint_bytes_max = 32 << 10;
    config->wake = wake;
    config->secret = secret; // or no life could be lived again
}

void power_letter_body(size_t letter, size_t len, uint8_t *out)
{
    struct pqb_rng rng;
    char tag[POWER_BODY_TAG + 1];

    PQB_ASSERT(len >= POWER_BODY_TAG);
    (void)snprintf(tag, sizeof(tag), "<letter %07zu>", letter);
    memcpy(out, tag, POWER_BODY_TAG);
    pqb_rng_init_seed(&rng, letter);
    pqb_rng_fill(&rng, out + POWER_BODY_TAG, len - POWER_BODY_TAG);
}

// ---------------------------------------------------------------------------------- promises

void power_promises_apply(struct power_promises *p, const struct power_plan *plan,
                          const struct power_entry *e)
{
    struct power_device *d = &p->devices[e->say[1] % POWER_DEVICES];
    const unsigned user = user_of((unsigned)(e->say[1] % POWER_DEVICES));
    uint64_t lowest = UINT64_MAX;

    if (e->kind != POWER_NOTICE)
        return;
    switch ((enum notice)e->say[0]) {
    case NOTICE_LOGIN:
        d->has_login = true;
        p->uid[user] = e->say[2];
        d->devno = (uint32_t)e->say[3];
        d->cursor_asked = d->cursor_told = e->say[4];
        return;
    case NOTICE_EPOCH:
        d->epoch = (uint32_t)e->say[2];
        return;
    case NOTICE_ACCEPTED:
        p->iseq[e->say[1]] = e->say[2];
        p->uid[plan->letters[e->say[1]].to] = e->say[3];
        return;
    case NOTICE_CURSOR_TOLD:
        d->cursor_told = PQB_MAX(d->cursor_told, e->say[2]);
        return;
    case NOTICE_CURSOR_ASKED:
        d->cursor_asked = PQB_MAX(d->cursor_asked, e->say[2]);
        break;
    }
    for (unsigned i = 0; i < POWER_DEVICES; i++)
        if (user_of(i) == user && p->devices[i].has_login)
            lowest = PQB_MIN(lowest, p->devices[i].cursor_asked);
    p->floor[user] = PQB_MAX(p->floor[user], lowest);
}

static void note(struct life *l, enum notice what, const uint64_t say[4])
{
    power_log_note(l->log, what, say);
    power_promises_apply(&l->told, l->plan, &l->log->entries[l->log->count - 1]);
}

// ---------------------------------------------------------------------------------- life

struct pqb_request *power_request(enum pqb_op op, const struct power_promises *p, unsigned device)
{
    struct pqb_request *r = pqb_request_create(op, 0);
    const char *name = names[user_of(device)];

    PQB_ASSERT(r != NULL);
    r->uid = p->uid[user_of(device)];
    r->devno = p->devices[device].devno;
    r->user_len = (uint8_t)strlen(name);
    memcpy(r->user, name, r->user_len);
    r->device_len = 1;
    r->device[0] = (char)('a' + device % 2);
    return r;
}

uint64_t power_low(uint64_t seq)
{
    return seq > UNRESOLVED_MAX ? seq - UNRESOLVED_MAX : 1;
}

struct pqb_request *power_letter_request(const struct power_plan *plan,
                                         const struct power_promises *p, size_t index)
{
    const struct power_letter *letter = &plan->letters[index];
    struct pqb_request *r = pqb_request_create(PQB_OP_MSG, letter->body_len);

    PQB_ASSERT(r != NULL);
    r->uid = p->uid[user_of(letter->from)];
    r->devno = p->devices[letter->from].devno;
    r->epoch = p->devices[letter->from].epoch;
    r->seq = letter->seq;
    r->low = power_low(letter->seq);
    r->time = WALL_AT_START;
    r->to_len = (uint8_t)strlen(names[letter->to]);
    memcpy(r->to, names[letter->to], r->to_len);
    power_letter_body(index, letter->body_len, r->body);
    r->tag[0] = index;
    return r;
}

static void step(struct life *l)
{
    l->now += PQB_NS_PER_MS;
    (void)pqb_store_step(l->s, l->now, WALL_AT_START + l->now / PQB_NS_PER_MS);
    PQB_ASSERT(!pqb_store_is_failed(l->s));
}

static void on_completion(struct life *l, struct pqb_request *r)
{
    const unsigned device = (unsigned)r->tag[0];

    PQB_ASSERT(r->result == PQB_RESULT_DONE);
    if (r->op == PQB_OP_MSG) {
        const unsigned to = l->plan->letters[r->tag[0]].to;

        l->head[to] = PQB_MAX(l->head[to], r->iseq);
        note(l, NOTICE_ACCEPTED, (const uint64_t[4]){r->tag[0], r->iseq, r->to_uid});
    } else if (r->op == PQB_OP_CURSOR) {
        l->is_asking[device] = false;
        note(l, NOTICE_CURSOR_TOLD, (const uint64_t[4]){device, r->cursor});
    }
}

static void poll(struct life *l)
{
    struct pqb_request *r;

    while ((r = pqb_store_poll(l->s, 0)) != NULL) {
        on_completion(l, r);
        pqb_request_destroy(r);
    }
}

// Alone: nothing else is outstanding when it comes.
static struct pqb_request *run(struct life *l, struct pqb_request *r)
{
    struct pqb_request *done = NULL;

    PQB_ASSERT(pqb_store_submit(l->s, r) == PQB_OK);
    while ((done = pqb_store_poll(l->s, 0)) != r) {
        if (done != NULL) {
            on_completion(l, done);
            pqb_request_destroy(done);
        } else {
            step(l);
        }
    }
    return done;
}

static void login(struct life *l, unsigned device)
{
    struct pqb_request *r = run(l, power_request(PQB_OP_LOGIN, &l->told, device));

    PQB_ASSERT(r->result == PQB_RESULT_DONE);
    note(l, NOTICE_LOGIN,
         (const uint64_t[4]){device, r->user_state.uid, r->device_state.devno,
                             r->device_state.cursor});
    pqb_request_destroy(r);
    r = power_request(PQB_OP_EPOCH, &l->told, device);
    r->nonce[0] = (uint8_t)(device + 1);
    r = run(l, r);
    PQB_ASSERT(r->result == PQB_RESULT_DONE);
    note(l, NOTICE_EPOCH, (const uint64_t[4]){device, r->device_state.epoch});
    pqb_request_destroy(r);
    l->next_seq[device] = 1;
}

static void send_letter(struct life *l, unsigned device)
{
    const size_t index = l->plan->letter_count++;
    // Most are short; one in eight does not fit into one record.
    const uint64_t len_max = pqb_rng_below(&l->rng, 8) == 0 ? POWER_BODY_MAX : 300;

    PQB_ASSERT(l->plan->letter_count <= POWER_LETTERS_MAX);
    l->plan->letters[index] = (struct power_letter){
        .from = device,
        .to = (unsigned)pqb_rng_below(&l->rng, POWER_USERS),
        .seq = l->next_seq[device]++,
        .body_len = POWER_BODY_TAG + (size_t)pqb_rng_below(&l->rng, len_max - POWER_BODY_TAG),
    };
    PQB_ASSERT(pqb_store_submit(l->s, power_letter_request(l->plan, &l->told, index)) == PQB_OK);
}

static void acknowledge(struct life *l, unsigned device)
{
    const uint64_t from = l->told.devices[device].cursor_asked, head = l->head[user_of(device)];
    struct pqb_request *r;

    if (l->is_asking[device] || head <= from)
        return;
    r = power_request(PQB_OP_CURSOR, &l->told, device);
    r->tag[0] = device;
    r->cursor = from + 1 + pqb_rng_below(&l->rng, head - from);
    l->is_asking[device] = true;
    note(l, NOTICE_CURSOR_ASKED, (const uint64_t[4]){device, r->cursor});
    PQB_ASSERT(pqb_store_submit(l->s, r) == PQB_OK);
}

static void turn(struct life *l)
{
    const uint64_t requests = 1 + pqb_rng_below(&l->rng, BURST_MAX);
    const uint64_t steps = 1 + pqb_rng_below(&l->rng, STEPS_MAX);

    for (uint64_t i = 0; i < requests; i++) {
        const unsigned device = (unsigned)pqb_rng_below(&l->rng, POWER_DEVICES);

        if (!l->told.devices[device].has_login)
            login(l, device);
        else if (pqb_rng_below(&l->rng, 4) == 0)
            acknowledge(l, device);
        else
            send_letter(l, device);
    }
    for (uint64_t i = 0; i < steps; i++) {
        step(l);
        poll(l);
    }
}

void power_life_run(const struct pqb_store_config *config, uint64_t seed, struct power_plan *plan,
                    struct power_log *log, size_t *start)
{
    struct life *l = calloc(1, sizeof(*l));
    char file[300];

    PQB_ASSERT(l != NULL);
    l->log = log;
    l->plan = plan;
    l->now = PQB_NS_PER_SEC;
    plan->letter_count = 0;
    pqb_rng_init_seed(&l->rng, seed);
    (void)snprintf(file, sizeof(file), "%s/data.mdb", config->path);
    power_log_watch(log, file);
    PQB_ASSERT(pqb_store_open(&l->s, config, l->now, WALL_AT_START) == PQB_OK);
    *start = log->count;
    for (int i = 0; i < TURNS; i++)
        turn(l);
    power_log_watch(NULL, NULL);
    pqb_store_crash(l->s);
    free(l);
}
