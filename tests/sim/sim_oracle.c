#include "tests/sim/sim_oracle.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/wire/frame.h"
#include "tests/sim/sim_history.h"

void sim_oracle_init(struct sim_oracle *o)
{
    *o = (struct sim_oracle){.name_tail = ""};
}

static void free_app(struct sim_app *app)
{
    free(app->states);
    free(app->taken);
    free(app->last_of_stream);
    free(app);
}

void sim_oracle_fini(struct sim_oracle *o)
{
    while (o->apps) {
        struct sim_app *app = o->apps;

        o->apps = app->next;
        free_app(app);
    }
    for (uint32_t i = 0; i < o->devices_count; i++)
        free(o->devices[i].expired);
    free(o->messages);
    o->messages = NULL;
}

void sim_oracle_fail(struct sim_oracle *o, const char *format, ...)
{
    va_list args;

    if (o->failure[0])
        return;
    va_start(args, format);
    vsnprintf(o->failure, sizeof(o->failure), format, args);
    va_end(args);
}

bool sim_oracle_has_failed(const struct sim_oracle *o)
{
    return o->failure[0] != '\0';
}

const char *sim_state_name(enum sim_state state)
{
    switch (state) {
    case SIM_NOT_MINE:
        return "not mine";
    case SIM_PENDING:
        return "pending";
    case SIM_ACCEPTED:
        return "accepted";
    case SIM_STORED:
        return "stored";
    case SIM_DELIVERED:
        return "delivered";
    case SIM_REFUSED:
        return "refused";
    case SIM_ABANDONED:
        return "abandoned";
    case SIM_UNCERTAIN:
        return "uncertain";
    }
    return "?";
}

// ---------------------------------------------------------------------------- users, devices, apps

uint32_t sim_oracle_add_user(struct sim_oracle *o)
{
    PQB_ASSERT(o->users_count < SIM_USERS_MAX);
    return o->users_count++;
}

uint32_t sim_oracle_add_device(struct sim_oracle *o, uint32_t user)
{
    PQB_ASSERT(o->devices_count < SIM_DEVICES_MAX && user < o->users_count);
    o->devices[o->devices_count] = (struct sim_device){.user = user, .registered_at = PQB_NEVER};
    return o->devices_count++;
}

struct sim_app *sim_oracle_add_app(struct sim_oracle *o, uint32_t device)
{
    struct sim_app *app = calloc(1, sizeof(*app));

    PQB_ASSERT(app && device < o->devices_count);
    app->device = device;
    app->stream = o->streams_count++;
    app->next = o->apps;
    o->apps = app;
    return app;
}

static void *copy_of(const void *data, size_t len)
{
    void *copy = malloc(len ? len : 1);

    PQB_ASSERT(copy);
    if (len)
        memcpy(copy, data, len);
    return copy;
}

struct sim_app *sim_oracle_copy_app(struct sim_oracle *o, struct sim_app *app)
{
    struct sim_app *copy = sim_oracle_add_app(o, app->device);
    struct sim_app *const next = copy->next;
    const uint32_t stream = copy->stream;

    *copy = *app;
    copy->next = next;
    copy->stream = stream;
    copy->states = copy_of(app->states, app->messages_max);
    copy->taken = copy_of(app->taken, app->messages_max);
    copy->last_of_stream = copy_of(app->last_of_stream, app->streams_max * sizeof(uint32_t));
    copy->is_dormant = false;
    copy->may_be_uncertain = app->may_be_uncertain = true;
    copy->has_copy = app->has_copy = true;
    return copy;
}

void sim_oracle_drop_app(struct sim_oracle *o, struct sim_app *app)
{
    struct sim_app **at = &o->apps;

    while (*at != app)
        at = &(*at)->next;
    *at = app->next;
    free_app(app);
}

void sim_oracle_on_copied(struct sim_oracle *o, uint32_t message, bool has_epoch)
{
    o->messages[message].is_copied = true;
    o->messages[message].may_be_double |= !has_epoch;
}

void sim_oracle_new_stream(struct sim_oracle *o, struct sim_app *app)
{
    app->stream = o->streams_count++;
}

static void *grow(void *old, size_t old_bytes, size_t new_bytes)
{
    char *data = realloc(old, new_bytes);

    PQB_ASSERT(data);
    memset(data + old_bytes, 0, new_bytes - old_bytes);
    return data;
}

static void make_room(struct sim_oracle *o, struct sim_app *app)
{
    if (app->messages_max < o->messages_count) {
        const size_t room = o->messages_max;

        app->states = grow(app->states, app->messages_max, room);
        app->taken = grow(app->taken, app->messages_max, room);
        app->messages_max = room;
    }
    if (app->streams_max < o->streams_count) {
        const size_t room = (size_t)o->streams_count * 2;

        app->last_of_stream =
            grow(app->last_of_stream, app->streams_max * sizeof(uint32_t), room * sizeof(uint32_t));
        app->streams_max = room;
    }
}

// ---------------------------------------------------------------------------------------- bodies

static void put_u32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

// Number, its complement, length, then bytes that depend on number and place.
uint64_t sim_oracle_body_next(uint64_t word)
{
    return (word ^ word >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
}

void sim_oracle_body(uint32_t message, uint8_t *out, size_t len)
{
    uint64_t mixed = message * UINT64_C(0x9e3779b97f4a7c15) + 1;

    PQB_ASSERT(len >= SIM_BODY_MIN);
    put_u32(out, message);
    put_u32(out + 4, ~message);
    put_u32(out + 8, (uint32_t)len);
    for (size_t i = 12; i < len; i += sizeof(mixed)) {
        mixed = sim_oracle_body_next(mixed);
        memcpy(&out[i], &mixed, PQB_MIN(sizeof(mixed), len - i));
    }
}

static bool is_intact(uint32_t message, const uint8_t *body, size_t len)
{
    uint8_t *expected = malloc(len);
    bool is_equal;

    PQB_ASSERT(expected);
    sim_oracle_body(message, expected, len);
    is_equal = memcmp(expected, body, len) == 0;
    free(expected);
    return is_equal;
}

uint32_t sim_oracle_message(const struct sim_oracle *o, const uint8_t *body, size_t len)
{
    uint32_t message;

    if (len < SIM_BODY_MIN)
        return SIM_MESSAGE_NONE;
    message = get_u32(body);
    if (message != ~get_u32(body + 4) || message >= o->messages_count ||
        o->messages[message].len != len || !is_intact(message, body, len))
        return SIM_MESSAGE_NONE;
    return message;
}

// --------------------------------------------------------------------------------------- sending

uint32_t sim_oracle_send(struct sim_oracle *o, struct sim_app *app, uint32_t to_user, uint32_t len,
                         bool is_ephemeral, pqb_tstamp now)
{
    PQB_ASSERT(to_user < o->users_count && o->messages_count < SIM_MESSAGE_NONE);
    if (o->messages_count == o->messages_max) {
        const size_t room = o->messages_max ? o->messages_max * 2 : 1024;

        o->messages = grow(o->messages, o->messages_max * sizeof(struct sim_message),
                           room * sizeof(struct sim_message));
        o->messages_max = room;
    }
    o->messages[o->messages_count++] = (struct sim_message){.from_device = app->device,
                                                            .to_user = to_user,
                                                            .stream = app->stream,
                                                            .len = len,
                                                            .is_ephemeral = is_ephemeral,
                                                            .sent_at = now};
    make_room(o, app);
    app->states[o->messages_count - 1] = SIM_PENDING;
    return (uint32_t)o->messages_count - 1;
}

void sim_oracle_withdraw(struct sim_oracle *o, struct sim_app *app, uint32_t message)
{
    PQB_ASSERT(message < o->messages_count);
    app->states[message] = SIM_NOT_MINE;
    o->messages[message].len = 0;
}

static bool may_follow(enum sim_state before, enum sim_state after)
{
    switch (before) {
    case SIM_PENDING:
        return after > SIM_PENDING;
    case SIM_ACCEPTED:
    case SIM_STORED:
    case SIM_DELIVERED:
        return after > before && after <= SIM_DELIVERED;
    case SIM_NOT_MINE:
    case SIM_REFUSED:
    case SIM_ABANDONED:
    case SIM_UNCERTAIN:
        return false;
    }
    return false;
}

static void see_registered(struct sim_oracle *o, const struct sim_app *app, pqb_tstamp now)
{
    struct sim_device *device = &o->devices[app->device];

    if (!device->is_forgotten) // what is told may be older than the store that forgot it
        device->registered_at = PQB_MIN(device->registered_at, now);
}

static void note_state(struct sim_oracle *o, struct sim_message *m, enum sim_state state)
{
    switch (state) {
    case SIM_NOT_MINE:
    case SIM_PENDING:
        break;
    case SIM_ACCEPTED:
    case SIM_STORED:
    case SIM_DELIVERED:
        o->accepted_count += !m->is_accepted;
        o->delivered_count += state == SIM_DELIVERED;
        m->is_accepted = true;
        break;
    case SIM_REFUSED:
        o->refused_count++;
        m->is_refused = true;
        break;
    case SIM_ABANDONED:
        o->abandoned_count++;
        m->is_abandoned = true;
        break;
    case SIM_UNCERTAIN:
        o->uncertain_count++;
        break;
    }
}

// What is told to be refused or given up must not have arrived, nor been accepted.
static void check_refusal(struct sim_oracle *o, const struct sim_message *m, uint32_t message,
                          enum sim_state state)
{
    if ((state != SIM_REFUSED && state != SIM_ABANDONED) || m->may_be_double ||
        (state == SIM_ABANDONED && m->is_copied))
        return;
    if (m->taken_by)
        sim_oracle_fail(o, "P4 message %u is reported %s, but was delivered", message,
                        sim_state_name(state));
    if (m->is_accepted && !(m->may_be_lost && m->stored_iseq == 0)) // lost, it is a new one
        sim_oracle_fail(o, "P4 message %u is reported %s, but was accepted before", message,
                        sim_state_name(state));
}

void sim_oracle_on_state(struct sim_oracle *o, struct sim_app *app, uint32_t message,
                         enum sim_state state, pqb_tstamp now)
{
    struct sim_message *m;
    enum sim_state before;

    if (message >= o->messages_count || o->messages[message].from_device != app->device) {
        sim_oracle_fail(o, "P4 device %u is told of message %u, which it did not send", app->device,
                        message);
        return;
    }
    m = &o->messages[message];
    make_room(o, app);
    before = (enum sim_state)app->states[message];
    if (!may_follow(before, state))
        sim_oracle_fail(o, "P4 message %u of device %u goes from %s to %s", message, app->device,
                        sim_state_name(before), sim_state_name(state));
    if (state >= SIM_ACCEPTED && state <= SIM_DELIVERED)
        sim_history_on_accepted(o, message, now);
    // What has expired counts as delivered once its recipient has passed the gap (PROTOCOL 10).
    // Of what async lost the gateway knows nothing but the position, which others have passed.
    if (state == SIM_DELIVERED && m->taken_by == 0 && !sim_history_may_have_expired(o, m) &&
        !(o->is_async && m->may_be_lost && m->stored_iseq == 0))
        sim_oracle_fail(o, "P4 message %u is reported delivered, but no application took it",
                        message);
    if (state == SIM_UNCERTAIN && !app->may_be_uncertain)
        sim_oracle_fail(o, "P5 message %u of device %u is given back as uncertain for no reason",
                        message, app->device);
    check_refusal(o, m, message, state);
    note_state(o, m, state);
    app->states[message] = (uint8_t)state;
    if (state != SIM_UNCERTAIN && state != SIM_ABANDONED) // those two may come without the gateway
        see_registered(o, app, now);
}

void sim_oracle_forget_state(struct sim_oracle *o, struct sim_app *app, uint32_t message)
{
    make_room(o, app);
    if (app->states[message] != SIM_NOT_MINE)
        app->states[message] = SIM_PENDING;
}

// -------------------------------------------------------------------------------------- receiving

// Two copies of a queue give the same seqs to different messages. Until the gateway has told them
// by a conflict, `after` may name the other's message, and says nothing of the order in one's own
// stream.
static bool is_order_known(const struct sim_oracle *o, const struct sim_message *m)
{
    for (const struct sim_app *app = o->apps; app; app = app->next) {
        if (app->device == m->from_device && app->has_copy)
            return false;
    }
    return true;
}

static void check_order(struct sim_oracle *o, struct sim_app *app, uint32_t message, uint64_t iseq)
{
    const struct sim_message *m = &o->messages[message];
    uint32_t *last = &app->last_of_stream[m->stream];
    const bool may_step_back = sim_history_may_step_back(o, app->device, m, iseq);

    if (iseq <= app->last_iseq && !may_step_back)
        sim_oracle_fail(o, "P3 device %u takes position %" PRIu64 " after %" PRIu64, app->device,
                        iseq, app->last_iseq);
    if (*last > message && is_order_known(o, m) && !may_step_back)
        sim_oracle_fail(o, "P3 device %u takes message %u after %u of the same sender", app->device,
                        message, *last - 1);
    app->last_iseq = iseq;
    *last = PQB_MAX(*last, message + 1);
}

// It may be there twice, at two positions: only the order of positions is looked at.
static void take_double(struct sim_oracle *o, struct sim_app *app, uint32_t message, uint64_t iseq)
{
    struct sim_message *m = &o->messages[message];

    if (app->taken[message] != 2 && iseq <= app->last_iseq &&
        !sim_history_may_step_back(o, app->device, m, iseq))
        sim_oracle_fail(o, "P3 device %u takes position %" PRIu64 " after %" PRIu64, app->device,
                        iseq, app->last_iseq);
    app->taken[message] = 1;
    app->has_taken = true;
    app->last_iseq = PQB_MAX(app->last_iseq, iseq);
    m->taken_by |= UINT64_C(1) << app->device;
    o->taken_count++;
}

void sim_oracle_on_take(struct sim_oracle *o, struct sim_app *app, uint64_t iseq,
                        uint32_t from_device, const uint8_t *body, size_t len, pqb_tstamp now)
{
    const uint32_t message = sim_oracle_message(o, body, len);
    struct sim_message *m;

    if (message == SIM_MESSAGE_NONE) {
        sim_oracle_fail(o, "P1 device %u takes %zu bytes that nobody sent", app->device, len);
        return;
    }
    m = &o->messages[message];
    make_room(o, app);
    sim_history_on_shown(o, message, iseq, app->device);
    if (m->to_user != o->devices[app->device].user || m->from_device != from_device)
        sim_oracle_fail(o, "P1 device %u takes message %u, which is not from there or not for it",
                        app->device, message);
    if (m->is_ephemeral != (iseq == 0))
        sim_oracle_fail(o, "P2 message %u has position %" PRIu64 " against its kind", message,
                        iseq);
    if (m->is_ephemeral) {
        o->ephemeral_taken++;
        return;
    }
    if (m->may_be_double) {
        take_double(o, app, message, iseq);
        return;
    }
    if (m->is_refused || (m->is_abandoned && !m->is_copied))
        sim_oracle_fail(o, "P4 message %u was refused or abandoned, device %u takes it", message,
                        app->device);
    if (m->iseq && m->iseq != iseq)
        sim_oracle_fail(o, "P2 message %u has positions %" PRIu64 " and %" PRIu64, message, m->iseq,
                        iseq);
    if (app->taken[message] == 1)
        sim_oracle_fail(o, "P2 device %u takes message %u twice", app->device, message);
    else if (app->taken[message] == 2)
        o->again_count++;
    else
        check_order(o, app, message, iseq);
    app->taken[message] = 1;
    app->has_taken = true;
    m->iseq = iseq;
    m->taken_by |= UINT64_C(1) << app->device;
    o->taken_count++;
    see_registered(o, app, now);
}

void sim_oracle_may_take_again(struct sim_oracle *o, struct sim_app *app, const uint8_t *body,
                               size_t len)
{
    const uint32_t message = sim_oracle_message(o, body, len);

    if (message != SIM_MESSAGE_NONE && message < app->messages_max)
        app->taken[message] = 2;
}

void sim_oracle_on_hand_over(struct sim_oracle *o, struct sim_app *app, uint64_t iseq,
                             uint32_t limit)
{
    if (limit > 0 && app->death_iseq == iseq && app->deaths >= limit)
        sim_oracle_fail(o, "device %u is handed %" PRIu64 " again after %u deaths over it",
                        app->device, iseq, app->deaths);
}

void sim_oracle_on_death_over(struct sim_app *app, uint64_t iseq)
{
    if (app->death_iseq != iseq)
        app->deaths = 0;
    app->death_iseq = iseq;
    app->deaths++;
}

void sim_oracle_on_dead_letter(struct sim_oracle *o, const struct sim_app *app, uint64_t iseq,
                               uint32_t attempts, uint32_t limit)
{
    const uint32_t deaths = app->death_iseq == iseq ? app->deaths : 0;

    if (limit == 0 || deaths != limit || attempts != deaths)
        sim_oracle_fail(o, "P2 device %u puts %" PRIu64 " aside for %u deaths, it was %u of %u",
                        app->device, iseq, attempts, deaths, limit);
    o->dead_letter_count++;
}

// Only a device that is new, was copied or restored is told of positions that were taken by it or
// before it; nothing is damaged.
static bool is_fair_gap(struct sim_oracle *o, const struct sim_app *app, uint64_t from, uint64_t to,
                        unsigned reason)
{
    if (reason == SIM_GAP_WAS_TAKEN)
        return !app->has_taken || app->may_be_uncertain || to <= app->start;
    if (reason == PQB_GAP_EXPIRED)
        return sim_history_on_expired(o, app->device, from, to) || app->may_be_uncertain;
    return reason == PQB_GAP_GENERATION;
}

void sim_oracle_on_gap(struct sim_oracle *o, struct sim_app *app, uint64_t from, uint64_t to,
                       unsigned reason)
{
    if (from > to || from == 0 || !is_fair_gap(o, app, from, to, reason))
        sim_oracle_fail(o, "P5 device %u is told of the gap %" PRIu64 "-%" PRIu64 " (%u)",
                        app->device, from, to, reason);
    if (!app->has_taken)
        app->start = PQB_MAX(app->start, to);
    app->last_iseq = PQB_MAX(app->last_iseq, to);
}

// ---------------------------------------------------------------------------------------- the end

static bool find_pending(const struct sim_oracle *o, const struct sim_app **app, uint32_t *message)
{
    for (*app = o->apps; *app; *app = (*app)->next) {
        if ((*app)->is_dormant)
            continue;
        for (uint32_t i = 0; i < (*app)->messages_max && i < o->messages_count; i++) {
            if (!o->messages[i].is_ephemeral && (*app)->states[i] == SIM_PENDING) {
                *message = i;
                return true;
            }
        }
    }
    return false;
}

// The lowest position that `device` took: from there on it must have all.
static uint64_t first_taken(const struct sim_oracle *o, uint32_t device)
{
    uint64_t first = UINT64_MAX;

    for (size_t i = 0; i < o->messages_count; i++) {
        if (o->messages[i].iseq && o->messages[i].taken_by >> device & 1)
            first = PQB_MIN(first, o->messages[i].iseq);
    }
    return first;
}

static bool must_have(const struct sim_oracle *o, uint32_t device, uint64_t first,
                      const struct sim_message *m)
{
    if (o->devices[device].is_absent || m->to_user != o->devices[device].user || m->is_ephemeral ||
        m->may_be_double || sim_history_is_excused(o, device, m))
        return false;
    if (m->iseq)
        return m->iseq >= first ||
               (m->is_accepted && m->sent_at > o->devices[device].registered_at);
    return m->is_accepted;
}

// A message that `device` must have and has not.
static bool find_missing(const struct sim_oracle *o, uint32_t device, uint32_t *message)
{
    const uint64_t first = first_taken(o, device);

    for (size_t i = 0; i < o->messages_count; i++) {
        if (!(o->messages[i].taken_by >> device & 1) &&
            must_have(o, device, first, &o->messages[i])) {
            *message = (uint32_t)i;
            return true;
        }
    }
    return false;
}

bool sim_oracle_is_settled(struct sim_oracle *o)
{
    const struct sim_app *app;
    uint32_t message;

    if (find_pending(o, &app, &message))
        return false;
    for (uint32_t device = 0; device < o->devices_count; device++) {
        if (find_missing(o, device, &message))
            return false;
    }
    return true;
}

static int by_position(const void *a, const void *b)
{
    const struct sim_message *const *left = a, *const *right = b;

    if ((*left)->to_user != (*right)->to_user)
        return (*left)->to_user < (*right)->to_user ? -1 : 1;
    if ((*left)->iseq != (*right)->iseq)
        return (*left)->iseq < (*right)->iseq ? -1 : 1;
    return 0;
}

// P3: one position of an inbox is one message, whichever device took it.
static void check_positions(struct sim_oracle *o)
{
    const struct sim_message **taken = malloc((o->messages_count + 1) * sizeof(*taken));
    size_t count = 0;

    PQB_ASSERT(taken);
    for (size_t i = 0; i < o->messages_count; i++) {
        if (o->messages[i].iseq)
            taken[count++] = &o->messages[i];
    }
    qsort(taken, count, sizeof(*taken), by_position);
    for (size_t i = 1; i < count; i++) {
        if (by_position(&taken[i - 1], &taken[i]) == 0)
            sim_oracle_fail(o, "P3 messages %td and %td share position %" PRIu64 " of user %u",
                            taken[i - 1] - o->messages, taken[i] - o->messages, taken[i]->iseq,
                            taken[i]->to_user);
    }
    free(taken);
}

void sim_oracle_finish(struct sim_oracle *o)
{
    const struct sim_app *app;
    uint32_t message;

    if (!o->is_weak)
        check_positions(o);
    sim_history_finish(o);
    for (uint32_t device = 0; device < o->devices_count; device++) {
        if (find_missing(o, device, &message))
            sim_oracle_fail(o,
                            "P1 message %u of device %u for user %u (%s, position %" PRIu64
                            ", on disk at %" PRIu64 ") never reached device %u",
                            message, o->messages[message].from_device, o->messages[message].to_user,
                            o->messages[message].is_accepted ? "accepted" : "not accepted",
                            o->messages[message].iseq, o->messages[message].stored_iseq, device);
    }
    if (find_pending(o, &app, &message))
        sim_oracle_fail(o, "P5 message %u of device %u is still pending", message, app->device);
}
