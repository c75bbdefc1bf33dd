#include "tests/sim/sim_wire.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/proto/packet_keys.h"
#include "common/wire/datagram.h"
#include "gateway/core/stats.h"
#include "tests/sim/sim_faults.h"

#define STALE_AT_LEAST 512 // numbers behind the highest; the window is wider

// ------------------------------------------------------------------------------------------ maps

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint64_t *place_of(const struct sim_map *m, uint64_t key)
{
    size_t i = (size_t)key & (m->capacity - 1);

    while (m->keys[i] != 0 && m->keys[i] != key)
        i = (i + 1) & (m->capacity - 1);
    return &m->keys[i];
}

static void grow(struct sim_map *m)
{
    const struct sim_map old = *m;

    m->capacity = old.capacity ? old.capacity * 2 : 1024;
    m->keys = calloc(m->capacity, sizeof(*m->keys));
    m->values = calloc(m->capacity, sizeof(*m->values));
    PQB_ASSERT(m->keys && m->values);
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.keys[i] != 0) {
            uint64_t *place = place_of(m, old.keys[i]);

            *place = old.keys[i];
            m->values[place - m->keys] = old.values[i];
        }
    }
    free(old.keys);
    free(old.values);
}

// The value of `key`, 0 if it is new.
static uint64_t *value_of(struct sim_map *m, uint64_t key)
{
    uint64_t *place;

    key |= key == 0;
    if (m->count * 2 >= m->capacity)
        grow(m);
    place = place_of(m, key);
    m->count += *place == 0;
    *place = key;
    return &m->values[place - m->keys];
}

static void free_map(struct sim_map *m)
{
    free(m->keys);
    free(m->values);
    *m = (struct sim_map){0};
}

void sim_wire_init(struct sim_wire *w, struct sim_oracle *oracle)
{
    *w = (struct sim_wire){.oracle = oracle};
}

void sim_wire_fini(struct sim_wire *w)
{
    free_map(&w->sent);
    free_map(&w->arrived);
    free_map(&w->sent_generation);
    free_map(&w->arrived_generation);
    free_map(&w->highest);
}

// ------------------------------------------------------------------------------------------- sent

// Any two words of a body that follow each other.
static bool shows_body(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i + 2 * sizeof(uint64_t) <= len; i++) {
        uint64_t first, second;

        memcpy(&first, data + i, sizeof(first));
        memcpy(&second, data + i + sizeof(first), sizeof(second));
        if (first != 0 && second == sim_oracle_body_next(first))
            return true;
    }
    return false;
}

// The clear part of DATA. `stem` stands for direction and connection id.
struct number {
    uint64_t stem, counter, generation;
};

static bool read_number(const struct sim_packet *packet, struct number *out)
{
    struct pqb_data d;

    if (packet->len == 0 || (packet->data[0] & 0x0f) != PQB_DATAGRAM_DATA ||
        pqb_data_decode(packet->data, packet->len, &d) != PQB_VERDICT_OK)
        return false;
    out->stem = mix(d.cid ^ (packet->is_up ? UINT64_C(0x7570) : 0));
    out->counter = d.pn & PQB_PN_COUNTER_MASK;
    out->generation = d.pn >> PQB_PN_COUNTER_BITS;
    return true;
}

void sim_wire_on_sent(struct sim_wire *w, const struct sim_packet *packet)
{
    struct number n;
    uint64_t *generation;

    if (memmem(packet->data, packet->len, SIM_NAME_TAIL, strlen(SIM_NAME_TAIL)))
        sim_oracle_fail(w->oracle, "a datagram shows a name or a token");
    if (shows_body(packet->data, packet->len))
        sim_oracle_fail(w->oracle, "a datagram shows a body");
    if (!read_number(packet, &n))
        return;
    if ((*value_of(&w->sent, mix(n.stem ^ n.counter)))++ > 0)
        sim_oracle_fail(w->oracle, "packet number %" PRIu64 " is used twice", n.counter);
    generation = value_of(&w->sent_generation, n.stem);
    if (n.generation > *generation) {
        *generation = n.generation;
        sim_fault_fired(SIM_FAULT_rekey, 1);
    }
}

// ---------------------------------------------------------------------------------------- handled

static bool begins_with(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool has_counted(enum pqb_counter counter, const uint64_t *before, const uint64_t *after)
{
    return after[counter] != before[counter];
}

// What a datagram may bring about that is altered, or a replay. A replayed DATA may meet a login
// that is under way, which keeps it and then asks (again) for its registration: the client wanted
// that.
static bool may_count(const struct sim_packet *packet, bool is_held, const char *counter)
{
    static const char *const always[] = {"drop.", "reset.", "reply.dropped",
                                         "udp.",  "mail.",  "log."};
    const bool is_data = packet->len > 0 && (packet->data[0] & 0x0f) == PQB_DATAGRAM_DATA;

    for (size_t i = 0; i < PQB_ARRAY_LEN(always); i++) {
        if (begins_with(counter, always[i]))
            return true;
    }
    if (is_data && (packet->origin != SIM_REPLAYED || !is_held))
        return false;
    return begins_with(counter, "login.") || begins_with(counter, "request.") ||
           strcmp(counter, "session.half_open") == 0;
}

static void check_effects(struct sim_wire *w, const struct sim_packet *packet,
                          const uint64_t *before, const uint64_t *after)
{
    const bool is_held = has_counted(PQB_COUNTER_LOGIN_HELD, before, after) ||
                         has_counted(PQB_COUNTER_LOGIN_HELD_DROPPED, before, after);

    for (size_t i = 0; i < PQB_COUNTER_COUNT; i++) {
        const char *name = pqb_counter_table[i].name;

        if (before[i] != after[i] && !may_count(packet, is_held, name))
            sim_oracle_fail(w->oracle, "%s datagram counts as %s",
                            packet->origin == SIM_REPLAYED ? "a replayed" : "an altered", name);
    }
}

static void check_genuine(struct sim_wire *w, const struct number *n, const uint64_t *before,
                          const uint64_t *after)
{
    const bool is_first = (*value_of(&w->arrived, mix(n->stem ^ n->counter)))++ == 0;
    uint64_t *highest = value_of(&w->highest, n->stem);
    uint64_t *generation = value_of(&w->arrived_generation, n->stem);

    if (is_first && has_counted(PQB_COUNTER_DROP_REPLAY, before, after))
        sim_oracle_fail(w->oracle, "a genuine datagram is taken for a replay");
    if (n->counter + STALE_AT_LEAST > *highest &&
        has_counted(PQB_COUNTER_DROP_STALE, before, after))
        sim_oracle_fail(w->oracle, "a genuine datagram is taken for an old one");
    if (n->generation >= *generation && has_counted(PQB_COUNTER_DROP_FORGED, before, after))
        sim_oracle_fail(w->oracle, "a genuine datagram does not open");
    *highest = PQB_MAX(*highest, n->counter);
    *generation = PQB_MAX(*generation, n->generation);
}

static bool has_dropped(const uint64_t *before, const uint64_t *after)
{
    for (size_t i = 0; i < PQB_COUNTER_COUNT; i++) {
        const char *name = pqb_counter_table[i].name;

        if (before[i] != after[i] && (begins_with(name, "drop.") || begins_with(name, "mail.") ||
                                      i == PQB_COUNTER_LOGIN_HELD_DROPPED))
            return true;
    }
    return false;
}

bool sim_wire_on_gateway(struct sim_wire *w, const struct sim_packet *packet,
                         const uint64_t *before, const uint64_t *after)
{
    struct number n;

    if (packet->origin != SIM_GENUINE) {
        check_effects(w, packet, before, after);
        return false;
    }
    if (read_number(packet, &n))
        check_genuine(w, &n, before, after);
    return !has_dropped(before, after);
}

// Nothing proves who sent BUSY and RETRY; what they do is bounded.
static bool is_proved(const struct sim_packet *packet)
{
    const unsigned type = packet->len > 0 ? packet->data[0] & 0x0f : 0;

    return type != PQB_DATAGRAM_BUSY && type != PQB_DATAGRAM_RETRY;
}

bool sim_wire_on_client(struct sim_wire *w, const struct sim_packet *packet, uint64_t dropped,
                        bool has_changed)
{
    if (packet->origin == SIM_GENUINE)
        return dropped == 0;
    if (is_proved(packet) && (dropped == 0 || has_changed))
        sim_oracle_fail(w->oracle, "a client takes %s datagram of type %u",
                        packet->origin == SIM_REPLAYED ? "a replayed" : "an altered",
                        packet->len > 0 ? packet->data[0] & 0x0fu : 0);
    return false;
}
