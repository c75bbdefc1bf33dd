#include "tests/unit/store_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dirent.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"

static int failpoint(void *ctx, const char *step)
{
    struct fixture *f = ctx;

    if (f->fail_after == 0 || (f->fail_step != NULL && strcmp(step, f->fail_step) != 0))
        return 0;
    f->asked++;
    return f->asked == f->fail_after ? f->fail_errno : 0;
}

static void wake(void *ctx, uint32_t shard)
{
    struct fixture *f = ctx;

    (void)shard;
    f->wakes++;
}

void fixture_init(struct fixture *f)
{
    const char *root = getenv("MESON_BUILD_ROOT");

    *f = (struct fixture){.now = PQB_NS_PER_SEC, .wall = FIXTURE_WALL};
    if (access("/dev/shm", W_OK) == 0)
        root = "/dev/shm";
    (void)snprintf(f->path, sizeof(f->path), "%s/pqb-store-XXXXXX", root != NULL ? root : "/tmp");
    PQB_ASSERT(mkdtemp(f->path) != NULL);
    pqb_store_config_default(&f->config);
    f->config.path = f->path;
    f->config.map_bytes = (size_t)256 << 20;
    f->config.is_sync_off = true;
    f->config.requests_max = 64;
    f->config.failpoint = failpoint;
    f->config.wake = wake;
    f->config.ctx = f;
}

void fixture_remove(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir != NULL)
        closedir(dir);
    (void)rmdir(path);
}

void fixture_fini(struct fixture *f)
{
    fixture_close(f);
    fixture_remove(f->path);
}

void fixture_open(struct fixture *f)
{
    int err = pqb_store_open(&f->s, &f->config, f->now, f->wall);

    if (err != PQB_OK && f->fail_after != 0) // the failpoint met the opening; it fires once
        err = pqb_store_open(&f->s, &f->config, f->now, f->wall);
    PQB_ASSERT(err == PQB_OK);
    PQB_ASSERT(pqb_view_create(f->s, &f->v) == PQB_OK);
}

static void drop_view(struct fixture *f)
{
    pqb_view_destroy(f->v);
    f->v = NULL;
}

static void print_finding(void *ctx, const char *finding)
{
    (void)ctx;
    (void)fprintf(stderr, "%s\n", finding);
}

static void verify(const struct fixture *f)
{
    struct pqb_verify_report report;

    if (f->is_damaged)
        return;
    PQB_ASSERT(pqb_store_verify(f->path, print_finding, NULL, &report) == PQB_OK);
    PQB_ASSERT(report.findings == 0);
}

void fixture_close(struct fixture *f)
{
    if (f->s == NULL)
        return;
    drop_view(f);
    pqb_store_close(f->s);
    f->s = NULL;
    verify(f);
}

void fixture_crash(struct fixture *f)
{
    drop_view(f);
    pqb_store_crash(f->s);
    f->s = NULL;
    verify(f);
}

void fixture_reopen(struct fixture *f)
{
    fixture_crash(f);
    fixture_open(f);
}

void fixture_step(struct fixture *f)
{
    f->now += PQB_NS_PER_MS;
    f->wall += 1;
    pqb_store_step(f->s, f->now, f->wall);
}

struct pqb_request *fixture_run(struct fixture *f, struct pqb_request *r)
{
    struct pqb_request *done = NULL;

    PQB_ASSERT(pqb_store_submit(f->s, r) == PQB_OK);
    for (int i = 0; i < 1000 && done == NULL && !pqb_store_is_failed(f->s); i++) {
        fixture_step(f);
        done = pqb_store_poll(f->s, 0);
    }
    PQB_ASSERT(done == r || (done == NULL && pqb_store_is_failed(f->s)));
    return done;
}

void fixture_settle(struct fixture *f)
{
    bool has_more = true;

    for (int i = 0; i < 100000 && has_more; i++) {
        f->now += PQB_NS_PER_MS;
        f->wall += 1;
        has_more = pqb_store_step(f->s, f->now, f->wall);
    }
    PQB_ASSERT(!has_more);
}

void fixture_checkpoint(struct fixture *f)
{
    pqb_request_destroy(fixture_run(f, pqb_request_create(PQB_OP_CHECKPOINT, 0)));
    fixture_settle(f);
}

struct pqb_request *make_op(enum pqb_op op, uint64_t uid, uint32_t devno)
{
    struct pqb_request *r = pqb_request_create(op, 0);

    r->uid = uid;
    r->devno = devno;
    return r;
}

struct pqb_request *make_login(const char *user, const char *device)
{
    struct pqb_request *r = pqb_request_create(PQB_OP_LOGIN, 0);

    r->user_len = (uint8_t)strlen(user);
    memcpy(r->user, user, r->user_len);
    r->device_len = (uint8_t)strlen(device);
    memcpy(r->device, device, r->device_len);
    return r;
}

struct pqb_request *make_msg(uint64_t uid, uint32_t devno, uint32_t epoch, uint64_t seq,
                             const char *to, const char *body)
{
    struct pqb_request *r = pqb_request_create(PQB_OP_MSG, strlen(body));

    r->uid = uid;
    r->devno = devno;
    r->epoch = epoch;
    r->seq = seq;
    r->low = 1;
    r->to_len = (uint8_t)strlen(to);
    memcpy(r->to, to, r->to_len);
    memcpy(r->body, body, r->body_len);
    return r;
}

struct actor fixture_actor(struct fixture *f, const char *user, const char *device)
{
    struct actor a = {0};
    struct pqb_request *r = fixture_run(f, make_login(user, device));

    PQB_ASSERT(r != NULL && r->result == PQB_RESULT_DONE);
    a.uid = r->user_state.uid;
    a.devno = r->device_state.devno;
    a.cursor = r->device_state.cursor;
    a.epoch = r->device_state.epoch;
    pqb_request_destroy(r);
    if (a.epoch != 0)
        return a;
    r = make_op(PQB_OP_EPOCH, a.uid, a.devno);
    memcpy(r->nonce, &a, PQB_NONCE_LEN);
    r = fixture_run(f, r);
    PQB_ASSERT(r != NULL && r->result == PQB_RESULT_DONE);
    a.epoch = r->device_state.epoch;
    pqb_request_destroy(r);
    return a;
}

enum pqb_result fixture_send(struct fixture *f, const struct actor *a, uint64_t seq, const char *to,
                             const char *body, uint64_t *iseq)
{
    struct pqb_request *r = make_msg(a->uid, a->devno, a->epoch, seq, to, body);
    enum pqb_result result;

    r->low = seq > 200 ? seq - 200 : 1;
    r = fixture_run(f, r);
    if (r == NULL)
        return PQB_RESULT_FAILED;
    result = r->result;
    if (iseq != NULL)
        *iseq = r->iseq;
    pqb_request_destroy(r);
    return result;
}

enum pqb_result fixture_ack(struct fixture *f, const struct actor *a, uint64_t cursor)
{
    struct pqb_request *r = make_op(PQB_OP_CURSOR, a->uid, a->devno);
    enum pqb_result result;

    r->cursor = cursor;
    r = fixture_run(f, r);
    if (r == NULL)
        return PQB_RESULT_FAILED;
    result = r->result;
    pqb_request_destroy(r);
    return result;
}

struct pqb_user_state fixture_user(struct fixture *f, const char *user)
{
    struct pqb_request *r = make_login(user, "");
    struct pqb_user_state state;

    r->op = PQB_OP_USER;
    r = fixture_run(f, r);
    PQB_ASSERT(r != NULL);
    state = r->user_state;
    pqb_request_destroy(r);
    return state;
}

static void copy_body(const struct pqb_message *m, uint64_t *found, char *body, size_t body_size)
{
    PQB_ASSERT(m->body.len < body_size);
    memcpy(body, m->body.data, m->body.len);
    body[m->body.len] = '\0';
    *found = m->iseq;
}

// The lowest of what the journal still holds and what inbox holds.
bool fixture_read(struct fixture *f, uint64_t uid, uint64_t iseq, uint64_t *found, char *body,
                  size_t body_size)
{
    uint64_t best = UINT64_MAX, best_gseq = 0, gseq = 0;
    struct pqb_record record;
    struct pqb_message m;
    bool has = false;

    PQB_ASSERT(pqb_view_begin(f->v) == PQB_OK);
    while (pqb_view_tail(f->v, &gseq, &record) == PQB_OK) {
        if (record.type == PQB_RECORD_MSG && record.uid == uid && record.iseq >= iseq &&
            record.iseq < best) {
            best = record.iseq;
            best_gseq = record.gseq;
        }
    }
    if (pqb_view_inbox_message(f->v, uid, iseq, &m) == PQB_OK && m.iseq < best)
        has = true;
    else if (best_gseq != 0)
        has = pqb_view_journal_message(f->v, best_gseq, &m) == PQB_OK;
    if (has)
        copy_body(&m, found, body, body_size);
    pqb_view_end(f->v);
    return has;
}
