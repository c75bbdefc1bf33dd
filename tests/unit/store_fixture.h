// A store in a directory of its own, stepped by hand: what the store tests share.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "storage/store.h"

#define FIXTURE_WALL       UINT64_C(1767225600000) // 2026-01-01, ms
#define FIXTURE_GENERATION UINT64_C(3156480)       // minutes from 2020-01-01 to FIXTURE_WALL

struct fixture {
    char path[256];
    struct pqb_store_config config;
    struct pqb_store *s;
    struct pqb_view *v;
    pqb_tstamp now;
    pqb_wall_ms wall;
    // Failpoint: the `fail_after`th asking of `fail_step` (NULL: of any) gives `fail_errno`.
    const char *fail_step;
    int fail_errno;
    uint64_t fail_after; // 0: off
    uint64_t asked;
    uint64_t wakes;
    bool is_damaged; // on purpose: what is left behind is not verified
};

// Makes the directory and sets the configuration; does not open. Under $MESON_BUILD_ROOT, in memory
// where there is /dev/shm.
void fixture_init(struct fixture *f);
void fixture_fini(struct fixture *f); // closes and removes everything

void fixture_remove(const char *path); // a directory with files; also when there is none

void fixture_open(struct fixture *f); // must succeed
// What they leave behind is verified, down to the last invariant.
void fixture_close(struct fixture *f);
void fixture_crash(struct fixture *f);
void fixture_reopen(struct fixture *f); // crash, open

// Submits, steps until it comes back. The caller destroys it. NULL when the store has failed.
struct pqb_request *fixture_run(struct fixture *f, struct pqb_request *r);
void fixture_step(struct fixture *f);       // one step
void fixture_settle(struct fixture *f);     // steps until there is no more to do
void fixture_checkpoint(struct fixture *f); // a whole one

struct pqb_request *make_login(const char *user, const char *device);
struct pqb_request *make_op(enum pqb_op op, uint64_t uid, uint32_t devno);
struct pqb_request *make_msg(uint64_t uid, uint32_t devno, uint32_t epoch, uint64_t seq,
                             const char *to, const char *body);

// A device that is logged in and has an epoch.
struct actor {
    uint64_t uid;
    uint32_t devno, epoch;
    uint64_t cursor;
};

struct actor fixture_actor(struct fixture *f, const char *user, const char *device);

// Sends and returns the completion's result; *iseq unless NULL.
enum pqb_result fixture_send(struct fixture *f, const struct actor *a, uint64_t seq, const char *to,
                             const char *body, uint64_t *iseq);
enum pqb_result fixture_ack(struct fixture *f, const struct actor *a, uint64_t cursor);
struct pqb_user_state fixture_user(struct fixture *f, const char *user);

// Body of the first message of `uid` at or above `iseq`, in journal or inbox, as a shard would find
// it; false when there is none. *found is its position.
bool fixture_read(struct fixture *f, uint64_t uid, uint64_t iseq, uint64_t *found, char *body,
                  size_t body_size);
