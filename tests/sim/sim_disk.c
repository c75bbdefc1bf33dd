#include "tests/sim/sim_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

static void *grown(void *array, size_t count, size_t *max, size_t size)
{
    if (count < *max)
        return array;
    *max = *max ? *max * 2 : 16;
    array = realloc(array, *max * size);
    PQB_ASSERT(array);
    return array;
}

static void copy_image(struct sim_image *to, const struct sim_image *from)
{
    struct sim_pending *queue = realloc(to->queue, (from->queue_count + 1) * sizeof(*queue));

    PQB_ASSERT(queue);
    if (from->queue_count)
        memcpy(queue, from->queue, from->queue_count * sizeof(*queue));
    *to = *from;
    to->queue = queue;
    to->queue_max = from->queue_count + 1;
}

static void drop_takes(struct sim_disk *disk)
{
    for (size_t i = 0; i < disk->takes_count; i++)
        free(disk->takes[i].body);
    disk->takes_count = 0;
}

static void commit(struct sim_disk *disk)
{
    for (size_t i = 0; i < disk->takes_count; i++) {
        const struct sim_take *take = &disk->takes[i];

        if (!take->body)
            sim_oracle_on_gap(disk->oracle, disk->app, take->from, take->to, take->reason);
        else if (disk->is_atomic)
            sim_oracle_on_take(disk->oracle, disk->app, take->iseq, take->from_device, take->body,
                               take->len, disk->now);
    }
    drop_takes(disk);
    copy_image(&disk->durable, &disk->live);
}

// --------------------------------------------------------------------------- the store's functions

static int disk_load(void *ctx, struct pqb_client_saved *out, pqb_client_pending_fn each, void *arg)
{
    struct sim_disk *disk = ctx;
    uint8_t *body = malloc(PQB_CLIENT_BODY_MAX * 2);
    int err = PQB_CLIENT_OK;

    PQB_ASSERT(body);
    *out = (struct pqb_client_saved){.epoch = disk->live.epoch,
                                     .next_seq = disk->live.next_seq,
                                     .cursor = disk->live.cursor,
                                     .attempt_iseq = disk->live.attempt_iseq,
                                     .attempts = disk->live.attempts};
    for (size_t i = 0; i < disk->live.queue_count && err == PQB_CLIENT_OK; i++) {
        const struct sim_pending *pending = &disk->live.queue[i];
        char to[32];

        snprintf(to, sizeof(to), "u%u%s", pending->to_user, disk->oracle->name_tail);
        sim_oracle_body(pending->message, body, pending->len);
        if (!each(arg, &(struct pqb_client_pending){
                           .seq = pending->seq, .to = to, .body = body, .len = pending->len}))
            err = PQB_CLIENT_ERR_NOMEM;
    }
    free(body);
    return err;
}

static int disk_put(void *ctx, const struct pqb_client_pending *pending)
{
    struct sim_disk *disk = ctx;
    struct sim_image *live = &disk->live;

    if (disk->is_dead)
        return PQB_CLIENT_OK;
    PQB_ASSERT(disk->next_message != SIM_MESSAGE_NONE);
    live->queue =
        grown(live->queue, live->queue_count, &live->queue_max, sizeof(struct sim_pending));
    live->queue[live->queue_count++] = (struct sim_pending){.seq = pending->seq,
                                                            .message = disk->next_message,
                                                            .to_user = disk->next_to_user,
                                                            .len = (uint32_t)pending->len};
    if (pending->seq < live->next_seq)
        sim_oracle_fail(disk->oracle, "the client of device %u puts seq %llu again",
                        disk->app->device, (unsigned long long)pending->seq);
    live->next_seq = pending->seq + 1;
    commit(disk);
    return PQB_CLIENT_OK;
}

static int disk_drop(void *ctx, uint64_t seq)
{
    struct sim_disk *disk = ctx;
    struct sim_image *live = &disk->live;

    if (disk->is_dead)
        return PQB_CLIENT_OK;
    for (size_t i = 0; i < live->queue_count; i++) {
        if (live->queue[i].seq == seq) {
            memmove(&live->queue[i], &live->queue[i + 1],
                    (live->queue_count - i - 1) * sizeof(struct sim_pending));
            live->queue_count--;
            return PQB_CLIENT_OK;
        }
    }
    return PQB_CLIENT_OK;
}

static int disk_set_epoch(void *ctx, uint32_t epoch)
{
    struct sim_disk *disk = ctx;

    if (disk->is_dead)
        return PQB_CLIENT_OK;
    disk->live.epoch = epoch;
    commit(disk);
    return PQB_CLIENT_OK;
}

static uint32_t device_index(const char *device)
{
    return device[0] == 'd' ? (uint32_t)strtoul(device + 1, NULL, 10) : UINT32_MAX;
}

static int disk_deliver(void *ctx, const struct pqb_client_message *message, uint64_t cursor)
{
    struct sim_disk *disk = ctx;
    struct sim_take take;

    if (disk->is_dead)
        return PQB_CLIENT_OK;
    if (cursor <= disk->live.cursor)
        sim_oracle_fail(disk->oracle, "P2 device %u: the cursor goes from %llu to %llu",
                        disk->app->device, (unsigned long long)disk->live.cursor,
                        (unsigned long long)cursor);
    disk->live.cursor = cursor;
    if (!message)
        return PQB_CLIENT_OK;
    take = (struct sim_take){.iseq = message->iseq,
                             .from_device = device_index(message->device),
                             .len = message->len,
                             .body = malloc(message->len + 1)};
    PQB_ASSERT(take.body);
    memcpy(take.body, message->body, message->len);
    disk->takes = grown(disk->takes, disk->takes_count, &disk->takes_max, sizeof(struct sim_take));
    disk->takes[disk->takes_count++] = take;
    return PQB_CLIENT_OK;
}

static int disk_sync(void *ctx)
{
    struct sim_disk *disk = ctx;

    if (!disk->is_dead)
        commit(disk);
    return PQB_CLIENT_OK;
}

static int disk_attempt(void *ctx, uint64_t iseq, uint32_t attempts)
{
    struct sim_disk *disk = ctx;

    if (disk->is_dead)
        return PQB_CLIENT_OK;
    disk->live.attempt_iseq = iseq;
    disk->live.attempts = attempts;
    commit(disk);
    return PQB_CLIENT_OK;
}

// With the letter the device has the message, whatever becomes of the cursor.
static int disk_dead_letter(void *ctx, const struct pqb_client_dead_letter *letter)
{
    struct sim_disk *disk = ctx;

    if (disk->is_dead)
        return PQB_CLIENT_OK;
    commit(disk);
    sim_oracle_on_dead_letter(disk->oracle, disk->app, letter->iseq, letter->attempts,
                              disk->poison_limit);
    sim_oracle_on_take(disk->oracle, disk->app, letter->iseq, device_index(letter->device),
                       letter->body, letter->len, disk->now);
    return PQB_CLIENT_OK;
}

// ------------------------------------------------------------------------------------- life cycle

static struct sim_disk *create(struct sim_oracle *oracle, struct sim_app *app, bool is_atomic)
{
    struct sim_disk *disk = calloc(1, sizeof(*disk));

    PQB_ASSERT(disk);
    disk->oracle = oracle;
    disk->app = app;
    disk->is_atomic = is_atomic;
    disk->next_message = SIM_MESSAGE_NONE;
    disk->live.next_seq = disk->durable.next_seq = 1;
    disk->store = (struct pqb_client_store){.ctx = disk,
                                            .load = disk_load,
                                            .put = disk_put,
                                            .drop = disk_drop,
                                            .set_epoch = disk_set_epoch,
                                            .deliver = disk_deliver,
                                            .sync = disk_sync,
                                            .attempt = disk_attempt,
                                            .dead_letter = disk_dead_letter};
    return disk;
}

struct sim_disk *sim_disk_create(struct sim_oracle *oracle, uint32_t device, bool is_atomic)
{
    return create(oracle, sim_oracle_add_app(oracle, device), is_atomic);
}

// The copied application also forgets what it was told about messages that its queue still holds.
static void rewind_app(struct sim_disk *disk)
{
    for (size_t i = 0; i < disk->live.queue_count; i++)
        sim_oracle_forget_state(disk->oracle, disk->app, disk->live.queue[i].message);
}

struct sim_disk *sim_disk_copy(struct sim_disk *disk)
{
    struct sim_disk *copy =
        create(disk->oracle, sim_oracle_copy_app(disk->oracle, disk->app), disk->is_atomic);

    copy_image(&copy->durable, &disk->durable);
    copy_image(&copy->live, &disk->durable);
    copy->ids = malloc((disk->ids_count + 1) * sizeof(struct sim_id));
    PQB_ASSERT(copy->ids);
    if (disk->ids_count)
        memcpy(copy->ids, disk->ids, disk->ids_count * sizeof(struct sim_id));
    copy->ids_count = disk->ids_count;
    copy->ids_max = disk->ids_count + 1;
    copy->now = disk->now;
    memcpy(copy->ticket, disk->ticket, disk->ticket_len);
    copy->ticket_len = disk->ticket_len;
    for (size_t i = 0; i < disk->takes_count && !disk->is_atomic; i++) {
        if (disk->takes[i].body)
            sim_oracle_may_take_again(disk->oracle, copy->app, disk->takes[i].body,
                                      disk->takes[i].len);
    }
    for (size_t i = 0; i < copy->live.queue_count; i++)
        sim_oracle_on_copied(disk->oracle, copy->live.queue[i].message, copy->live.epoch != 0);
    rewind_app(copy);
    return copy;
}

void sim_disk_destroy(struct sim_disk *disk)
{
    if (!disk)
        return;
    drop_takes(disk);
    sim_oracle_drop_app(disk->oracle, disk->app);
    free(disk->takes);
    free(disk->ids);
    free(disk->live.queue);
    free(disk->durable.queue);
    free(disk);
}

void sim_disk_crash(struct sim_disk *disk, bool is_power_cut)
{
    disk->is_dead = false;
    if (!is_power_cut) {
        commit(disk);
        return;
    }
    for (size_t i = 0; i < disk->takes_count && !disk->is_atomic; i++) {
        if (disk->takes[i].body)
            sim_oracle_may_take_again(disk->oracle, disk->app, disk->takes[i].body,
                                      disk->takes[i].len);
    }
    drop_takes(disk);
    copy_image(&disk->live, &disk->durable);
    rewind_app(disk);
}

void sim_disk_take_early(struct sim_disk *disk, const struct pqb_client_message *message)
{
    if (!disk->is_dead)
        sim_oracle_on_take(disk->oracle, disk->app, message->iseq, device_index(message->device),
                           message->body, message->len, disk->now);
}

void sim_disk_gap(struct sim_disk *disk, uint64_t from, uint64_t to, unsigned reason)
{
    if (disk->is_dead)
        return;
    if (!disk->is_atomic) {
        sim_oracle_on_gap(disk->oracle, disk->app, from, to, reason);
        return;
    }
    disk->takes = grown(disk->takes, disk->takes_count, &disk->takes_max, sizeof(struct sim_take));
    disk->takes[disk->takes_count++] = (struct sim_take){.from = from, .to = to, .reason = reason};
}

uint32_t sim_disk_message(const struct sim_disk *disk, uint64_t id)
{
    for (size_t i = disk->ids_count; i > 0; i--) {
        if (disk->ids[i - 1].id == id)
            return disk->ids[i - 1].message;
    }
    return SIM_MESSAGE_NONE;
}

void sim_disk_note_id(struct sim_disk *disk, uint64_t id, uint32_t message)
{
    disk->ids = grown(disk->ids, disk->ids_count, &disk->ids_max, sizeof(struct sim_id));
    disk->ids[disk->ids_count++] = (struct sim_id){.id = id, .message = message};
}
