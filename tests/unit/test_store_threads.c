// The writer's thread against two shards that submit, poll and read, and a backup beside them.
// Runs under the thread sanitizer too.
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "tests/unit/store_fixture.h"

#define SHARDS    2
#define MESSAGES  400
#define IN_FLIGHT 16

struct shard {
    struct pqb_store *s;
    uint32_t index;
    pthread_t thread;
    char user[16], to[16];
    uint64_t accepted, read;
};

static struct pqb_request *wait_for(struct shard *sh)
{
    struct pqb_request *r;

    while ((r = pqb_store_poll(sh->s, sh->index)) == NULL)
        sched_yield();
    return r;
}

static struct pqb_request *run(struct shard *sh, struct pqb_request *r)
{
    r->shard = sh->index;
    PQB_ASSERT(pqb_store_submit(sh->s, r) == PQB_OK);
    return wait_for(sh);
}

static struct actor login(struct shard *sh)
{
    struct actor a;
    struct pqb_request *r = run(sh, make_login(sh->user, "phone"));

    PQB_ASSERT(r->result == PQB_RESULT_DONE);
    a = (struct actor){.uid = r->user_state.uid, .devno = r->device_state.devno};
    pqb_request_destroy(r);
    r = make_op(PQB_OP_EPOCH, a.uid, a.devno);
    r->nonce[0] = 1;
    r = run(sh, r);
    a.epoch = r->device_state.epoch;
    pqb_request_destroy(r);
    return a;
}

// What a shard may rely on: a completion's record is in the next view.
static void look_for(struct pqb_view *v, uint64_t iseq, uint64_t uid)
{
    struct pqb_record record;
    bool is_found = false;

    PQB_ASSERT(pqb_view_begin(v) == PQB_OK);
    for (uint64_t at = 0; pqb_view_tail(v, &at, &record) == PQB_OK;)
        is_found =
            is_found || (record.type == PQB_RECORD_MSG && record.iseq == iseq && record.uid == uid);
    if (!is_found) { // a checkpoint was faster
        struct pqb_message m;

        is_found = pqb_view_inbox_message(v, uid, iseq, &m) == PQB_OK && m.iseq == iseq;
    }
    PQB_ASSERT(is_found);
    pqb_view_end(v);
}

static void *shard_main(void *arg)
{
    struct shard *sh = arg;
    const struct actor a = login(sh);
    uint64_t sent = 0, done = 0;
    struct pqb_view *v;

    PQB_ASSERT(pqb_view_create(sh->s, &v) == PQB_OK);
    while (done < MESSAGES) {
        while (sent < MESSAGES && sent - done < IN_FLIGHT) {
            struct pqb_request *r = make_msg(a.uid, a.devno, a.epoch, ++sent, sh->to, "a message");

            r->shard = sh->index;
            r->low = done + 1;
            PQB_ASSERT(pqb_store_submit(sh->s, r) == PQB_OK);
        }
        struct pqb_request *r = wait_for(sh);

        PQB_ASSERT(r->result == PQB_RESULT_DONE);
        if (done % 16 == 0)
            look_for(v, r->iseq, r->to_uid);
        done++;
        sh->accepted++;
        pqb_request_destroy(r);
        if (done % 100 == 0) {
            r = run(sh, pqb_request_create(PQB_OP_CHECKPOINT, 0));
            while (r->op == PQB_OP_MSG) { // the checkpoint's own answer comes behind them
                done++;
                pqb_request_destroy(r);
                r = wait_for(sh);
            }
            pqb_request_destroy(r);
        }
    }
    pqb_view_destroy(v);
    return NULL;
}

static void two_shards_and_the_writer_agree(void **state)
{
    struct fixture f;
    struct shard shards[SHARDS];
    struct pqb_verify_report report;
    struct fixture copy;

    (void)state;
    fixture_init(&f);
    fixture_init(&copy);
    assert_int_equal(rmdir(copy.path), 0);
    f.config.shards = SHARDS;
    f.config.wake = NULL;
    f.config.checkpoint_users_max = 1;
    fixture_open(&f);
    assert_int_equal(pqb_store_start(f.s), PQB_OK);
    for (uint32_t i = 0; i < SHARDS; i++) {
        shards[i] = (struct shard){.s = f.s, .index = i};
        (void)snprintf(shards[i].user, sizeof(shards[i].user), "user%u", i);
        (void)snprintf(shards[i].to, sizeof(shards[i].to), "user%u", (i + 1) % SHARDS);
        assert_int_equal(pthread_create(&shards[i].thread, NULL, shard_main, &shards[i]), 0);
    }
    assert_int_equal(pqb_store_backup(f.s, copy.path, 1000000), PQB_OK);
    for (uint32_t i = 0; i < SHARDS; i++)
        pthread_join(shards[i].thread, NULL);
    assert_int_equal(pqb_store_verify(copy.path, NULL, NULL, &report), PQB_OK);
    assert_int_equal(report.findings, 0);
    fixture_close(&f);
    fixture_open(&f);
    assert_int_equal(fixture_user(&f, "user0").count, MESSAGES);
    assert_int_equal(fixture_user(&f, "user1").count, MESSAGES);
    fixture_fini(&copy);
    fixture_fini(&f);
}

static void a_sleeping_writer_wakes_for_a_request_and_for_the_end(void **state)
{
    struct fixture f;
    const struct timespec nap = {.tv_nsec = 2000000};

    (void)state;
    fixture_init(&f);
    fixture_open(&f);
    assert_int_equal(pqb_store_start(f.s), PQB_OK);
    struct shard sh = {.s = f.s, .user = "alice"};

    for (int i = 0; i < 50; i++) {
        if (i % 10 == 0)
            nanosleep(&nap, NULL); // long enough to have gone to sleep, most of the time
        pqb_request_destroy(run(&sh, make_login("alice", "phone")));
    }
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_shards_and_the_writer_agree),
        cmocka_unit_test(a_sleeping_writer_wakes_for_a_request_and_for_the_end),
    };

    return cmocka_run_group_tests_name("store_threads", tests, NULL, NULL);
}
