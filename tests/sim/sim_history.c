#include "tests/sim/sim_history.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/wire/limits.h"
#include "tests/sim/sim_faults.h"

// ------------------------------------------------------------------------------------- positions

void sim_history_on_stored(struct sim_oracle *o, uint64_t gseq, uint64_t iseq, const uint8_t *body,
                           size_t len)
{
    const uint32_t message = sim_oracle_message(o, body, len);
    struct sim_message *m;

    if (message == SIM_MESSAGE_NONE) {
        sim_oracle_fail(o, "P1 the journal holds %zu bytes that nobody sent", len);
        return;
    }
    m = &o->messages[message];
    if (m->stored_iseq && m->stored_iseq != iseq && !m->may_be_double && !m->is_copied)
        sim_oracle_fail(o, "P2 message %u is stored at %" PRIu64 " and at %" PRIu64, message,
                        m->stored_iseq, iseq);
    m->stored_iseq = iseq;
    m->stored_gseq = gseq;
    m->clock_ms = o->clock_ms - PQB_MIN(o->clock_ms, o->decided_ms);
}

// Something told this soon after a death may come from before it.
static bool may_be_late(const struct sim_oracle *o, pqb_tstamp now)
{
    return o->loss_at != 0 && now - o->loss_at < o->late_ns;
}

void sim_history_on_accepted(struct sim_oracle *o, uint32_t message, pqb_tstamp now)
{
    struct sim_message *m = &o->messages[message];

    if (!o->is_watching || m->is_accepted)
        return;
    m->told_at = o->accepted_at = now;
    if (m->stored_iseq)
        return;
    if (may_be_late(o, now) && o->has_lost)
        m->may_be_lost = true;
    else if (!o->is_async && !m->is_copied)
        sim_oracle_fail(o, "P1 message %u is reported accepted and not on disk", message);
}

void sim_history_on_shown(struct sim_oracle *o, uint32_t message, uint64_t iseq, uint32_t device)
{
    const struct sim_message *m = &o->messages[message];

    if (!o->is_watching || m->is_ephemeral || m->may_be_double || m->is_copied || m->may_be_lost ||
        o->is_weak)
        return;
    if (m->stored_iseq == 0)
        sim_oracle_fail(o, "P1 message %u is shown to device %u and not on disk", message, device);
    else if (m->stored_iseq != 0 && m->stored_iseq != iseq)
        sim_oracle_fail(o, "P2 message %u is stored at %" PRIu64 " and shown at %" PRIu64, message,
                        m->stored_iseq, iseq);
}

// ------------------------------------------------------------------------------------------ loss

void sim_history_on_death(struct sim_oracle *o, pqb_duration window, pqb_tstamp now)
{
    o->loss_at = now;
    for (size_t i = 0; i < o->messages_count && o->is_async && o->is_watching; i++) {
        struct sim_message *m = &o->messages[i];

        if (!m->is_accepted || m->stored_iseq || m->may_be_lost)
            continue;
        if (now - m->told_at > window && !m->is_copied && !o->is_weak)
            sim_oracle_fail(o, "P1 message %zu was accepted %.3f s before the gateway died", i,
                            (double)(now - m->told_at) / 1e9);
        m->may_be_lost = true;
        o->lost_count++;
        sim_fault_fired(SIM_FAULT_async_loss, 1);
    }
    o->has_lost |= o->is_async;
}

// What fell to retention before the store was set back may have been told.
static void latch_expired(struct sim_oracle *o)
{
    const struct sim_retention *r = &o->retention;

    for (size_t i = 0; i < o->messages_count && (r->age_ms || r->messages || r->bytes); i++)
        o->messages[i].has_expired = sim_history_may_have_expired(o, &o->messages[i]);
}

static void forget_messages(struct sim_oracle *o, uint64_t gseq_end)
{
    for (size_t i = 0; i < o->messages_count; i++) {
        struct sim_message *m = &o->messages[i];

        // Answered ahead (async) and committed by an orderly end, after which nobody has read.
        m->may_be_lost |= m->is_accepted && m->stored_iseq == 0;
        if (m->stored_iseq == 0 || m->stored_gseq < gseq_end)
            continue;
        m->stored_iseq = m->stored_gseq = 0;
        m->may_be_lost = true;
        o->lost_count++;
        sim_fault_fired(SIM_FAULT_restore_loss, 1);
    }
}

// Devices that the copy may not know begin anew: what they must have is known again from then on.
static void forget_devices(struct sim_oracle *o, pqb_tstamp taken_at)
{
    for (uint32_t i = 0; i < o->devices_count; i++) {
        struct sim_device *device = &o->devices[i];

        if (device->registered_at <= taken_at)
            continue;
        device->registered_at = PQB_NEVER;
        device->is_forgotten = true;
    }
}

void sim_history_on_session(struct sim_oracle *o, uint32_t device, pqb_tstamp now)
{
    if (o->devices[device].is_forgotten)
        o->devices[device].registered_at = PQB_MIN(o->devices[device].registered_at, now);
}

void sim_history_on_restore(struct sim_oracle *o, uint64_t gseq_end, pqb_tstamp taken_at,
                            bool is_marked, pqb_tstamp now)
{
    PQB_ASSERT(o->is_watching);
    o->loss_at = now;
    o->has_lost = o->is_set_back = true;
    o->is_weak |= !is_marked;
    o->weak_until = is_marked ? o->weak_until : PQB_NEVER;
    latch_expired(o);
    forget_messages(o, gseq_end);
    forget_devices(o, taken_at);
    for (struct sim_app *app = o->apps; app; app = app->next)
        app->may_be_uncertain = true;
    for (size_t i = 0; i < o->messages_count && !is_marked; i++)
        o->messages[i].may_be_double |= o->messages[i].stored_iseq == 0;
}

void sim_history_on_told_lost(struct sim_oracle *o, const struct sim_app *app, uint32_t message)
{
    if (!o->has_lost)
        sim_oracle_fail(o, "P5 device %u is told of a loss and nothing was lost", app->device);
    else
        o->messages[message].is_told_lost = true;
}

// ------------------------------------------------------------------------------------- retention

// A message goes when the newer ones of its user are enough, counted with it, or it is too old.
bool sim_history_may_have_expired(const struct sim_oracle *o, const struct sim_message *m)
{
    const struct sim_retention *r = &o->retention;
    uint64_t messages = 0, bytes = 0;

    if (o->is_weak) // another message stood at its position
        return true;
    if (m->has_expired)
        return true;
    if (m->stored_iseq == 0)
        return false;
    if (r->age_ms && o->clock_ms - m->clock_ms >= r->age_ms)
        return true;
    if (r->messages == 0 && r->bytes == 0)
        return false;
    for (size_t i = 0; i < o->messages_count; i++) {
        const struct sim_message *other = &o->messages[i];

        if (other->to_user != m->to_user || other->stored_iseq < m->stored_iseq)
            continue;
        messages += other->is_copied ? 2 : 1; // a copy of its queue may have sent it as another
        bytes += other->is_copied ? 2 * other->len : other->len;
    }
    return (r->messages && messages > r->messages) || (r->bytes && bytes > r->bytes);
}

static bool is_told_expired(const struct sim_device *device, uint64_t iseq)
{
    for (size_t i = 0; i < device->expired_count; i++) {
        if (iseq >= device->expired[i].from && iseq <= device->expired[i].to)
            return true;
    }
    return false;
}

bool sim_history_may_step_back(const struct sim_oracle *o, uint32_t device,
                               const struct sim_message *m, uint64_t iseq)
{
    if (o->is_weak && m->sent_at <= o->weak_until)
        return true;
    return o->is_set_back && is_told_expired(&o->devices[device], iseq);
}

bool sim_history_on_expired(struct sim_oracle *o, uint32_t device, uint64_t from, uint64_t to)
{
    struct sim_device *d = &o->devices[device];
    const struct sim_message *newest = NULL;
    bool has_any = false;

    if (!o->is_watching)
        return false;
    for (size_t i = 0; i < o->messages_count; i++) {
        const struct sim_message *m = &o->messages[i];

        if (m->to_user != d->user || m->stored_iseq < from || m->stored_iseq > to)
            continue;
        o->expired_told++;
        has_any = true;
        if (m->taken_by & UINT64_C(1) << device)
            continue; // by the device before it was rolled back: gone for good
        if (!newest || m->stored_iseq > newest->stored_iseq)
            newest = m;
    }
    if (d->expired_count == d->expired_max) {
        d->expired_max = d->expired_max ? d->expired_max * 2 : 8;
        d->expired = realloc(d->expired, d->expired_max * sizeof(struct sim_span));
        PQB_ASSERT(d->expired);
    }
    d->expired[d->expired_count++] = (struct sim_span){from, to};
    if (o->is_weak || (has_any && !newest))
        return true;
    if (!newest) // where a generation ended is not known: it may be told with what expired there
        return (o->retention.age_ms || o->retention.messages || o->retention.bytes) &&
               PQB_ISEQ_GENERATION(from) != PQB_ISEQ_GENERATION(to);
    // Below the newest all are older and have more above them.
    return sim_history_may_have_expired(o, newest);
}

bool sim_history_is_excused(const struct sim_oracle *o, uint32_t device,
                            const struct sim_message *m)
{
    const struct sim_device *d = &o->devices[device];

    if (!o->is_watching)
        return false;
    if (m->may_be_lost && m->stored_iseq == 0)
        return true;
    if (o->is_weak && m->sent_at <= o->weak_until)
        return true;
    if (d->is_forgotten && m->sent_at <= d->registered_at)
        return true;
    if (is_told_expired(d, m->stored_iseq))
        return true;
    // A device that comes for the first time begins at what is retained then.
    return m->sent_at <= d->registered_at && sim_history_may_have_expired(o, m);
}

// --------------------------------------------------------------------------------------- the end

// Whoever still holds it for accepted has been told, but for a client that was itself restored, or,
// after a death, has started again since: it has forgotten what it was told. It learns of it with
// its next login; after a death of an async store only as far as RESP names what was consumed.
static bool must_be_told(const struct sim_oracle *o, const struct sim_app *app, uint32_t i)
{
    const struct sim_message *m = &o->messages[i];

    if (o->is_async || app->is_dormant || app->has_copy || o->devices[app->device].has_clone ||
        i >= app->messages_max || o->is_weak)
        return false;
    return (app->states[i] == SIM_ACCEPTED || app->states[i] == SIM_STORED) &&
           m->told_at >= app->process_at && app->online_at > o->loss_at;
}

void sim_history_finish(struct sim_oracle *o)
{
    for (uint32_t i = 0; i < o->messages_count && o->is_watching; i++) {
        const struct sim_message *m = &o->messages[i];

        if (!m->is_accepted || m->stored_iseq || m->is_copied || m->may_be_double)
            continue;
        if (!m->may_be_lost)
            sim_oracle_fail(o, "P1 message %u was accepted and is not on disk", i);
        for (const struct sim_app *app = o->apps; app; app = app->next) {
            if (!m->is_told_lost && must_be_told(o, app, i))
                sim_oracle_fail(o, "P5 message %u was accepted and lost, device %u is not told", i,
                                app->device);
        }
    }
}
