#include "tests/sim/sim_events.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "tests/sim/sim_trace.h"

#define NAME_MAX_LEN 32

enum whose {
    WORLD,
    PEER,
    LINK,
};

static const struct {
    const char *name, *help;
    enum whose whose;
} kinds[] = {
#define SIM_EVENT(kind, name, whose, help) {name, help, whose},
#include "tests/sim/sim_events.def"
#undef SIM_EVENT
};

void sim_events_init(struct sim_events *events, uint64_t seed, const struct sim_event_mask *mask,
                     struct sim_event_log *log)
{
    *events = (struct sim_events){.seed = seed, .mask = mask, .log = log};
    if (log)
        log->count = 0;
}

sim_event_key sim_event_key_of(enum sim_kind kind, uint32_t owner, uint32_t number)
{
    return (uint64_t)kind << 48 | (uint64_t)owner << 32 | number;
}

enum sim_kind sim_event_kind(sim_event_key key)
{
    return (enum sim_kind)(key >> 48);
}

uint32_t sim_event_owner(sim_event_key key)
{
    return (uint32_t)(key >> 32) & 0xffff;
}

bool sim_event_has_owner(sim_event_key key)
{
    return kinds[sim_event_kind(key)].whose != WORLD;
}

// What is drawn goes by these numbers of kinds: what seeds find must not change when one is added.
static uint64_t lasting_number(enum sim_kind kind)
{
    const unsigned first = SIM_KIND_ATTACK; // that came later

    if (kind >= SIM_KIND_EVENTS)
        return kind - SIM_KIND_EVENTS + first;
    return kind < first ? kind : kind + UINT64_C(0x100);
}

// The key of the generator is seed and name: SipHash does the mixing.
uint32_t sim_events_next(struct sim_events *events, enum sim_kind kind, uint32_t owner,
                         struct pqb_rng *rng)
{
    uint8_t key[PQB_SIPHASH_KEY_LEN];
    uint32_t number;
    uint64_t name;

    PQB_ASSERT(kind < SIM_KIND_COUNT && owner < SIM_OWNERS);
    number = events->counts[kind][owner]++;
    name = lasting_number(kind) << 48 | (uint64_t)owner << 32 | number;
    for (unsigned i = 0; i < 8; i++) {
        key[i] = (uint8_t)(events->seed >> (8 * i));
        key[8 + i] = (uint8_t)(name >> (8 * i));
    }
    pqb_rng_init_key(rng, key);
    return number;
}

// --------------------------------------------------------------------------------------- the mask

// Ranges are sorted and do not touch: the last that begins at or before `key` decides.
static bool is_in(const struct sim_event_range *ranges, size_t count, sim_event_key key)
{
    size_t low = 0, high = count;

    while (low < high) {
        const size_t middle = (low + high) / 2;

        if (ranges[middle].first <= key)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && key <= ranges[low - 1].last;
}

static bool is_allowed(const struct sim_event_mask *mask, sim_event_key key)
{
    if (mask->has_only && !is_in(mask->only, mask->only_count, key))
        return false;
    return !is_in(mask->skip, mask->skip_count, key);
}

static const char *print_name(char *text, size_t size, sim_event_key key)
{
    const uint32_t owner = sim_event_owner(key);
    const char *kind = kinds[sim_event_kind(key)].name;

    switch (kinds[sim_event_kind(key)].whose) {
    case WORLD:
        snprintf(text, size, "%s", kind);
        break;
    case PEER:
        snprintf(text, size, "%s.%u", kind, owner);
        break;
    case LINK:
        if (owner == SIM_OWNER_NONE)
            snprintf(text, size, "%s.none", kind);
        else
            snprintf(text, size, "%s.%u%s", kind, owner % SIM_OWNER_DOWN,
                     owner < SIM_OWNER_DOWN ? "up" : "down");
        break;
    }
    return text;
}

bool sim_events_may(struct sim_events *events, enum sim_kind kind, uint32_t owner, uint32_t number,
                    pqb_tstamp now)
{
    const sim_event_key key = sim_event_key_of(kind, owner, number);

    PQB_ASSERT(kind < SIM_KIND_EVENTS);
    if (events->mask && !is_allowed(events->mask, key))
        return false;
    if (events->log) {
        if (events->log->count < SIM_EVENT_LOG_MAX)
            events->log->at[events->log->count] = key;
        events->log->count++;
    }
    if (sim_trace_is_on()) {
        char name[NAME_MAX_LEN];

        sim_trace(now, "* %s:%u %s", print_name(name, sizeof(name), key), number, kinds[kind].help);
    }
    return true;
}

static int by_first(const void *a, const void *b)
{
    const struct sim_event_range *left = a, *right = b;

    return left->first < right->first ? -1 : left->first > right->first;
}

// Sorts and joins what overlaps, or touches and is the same owner's.
static size_t tidy(struct sim_event_range *ranges, size_t count)
{
    size_t kept = 0;

    if (count > 0)
        qsort(ranges, count, sizeof(*ranges), by_first);
    for (size_t i = 0; i < count; i++) {
        struct sim_event_range *before = kept > 0 ? &ranges[kept - 1] : NULL;

        if (before &&
            (ranges[i].first <= before->last ||
             (ranges[i].first == before->last + 1 && ranges[i].first >> 32 == before->last >> 32)))
            before->last = PQB_MAX(before->last, ranges[i].last);
        else
            ranges[kept++] = ranges[i];
    }
    return kept;
}

static void add(struct sim_event_mask *mask, bool is_only, sim_event_key first, sim_event_key last)
{
    struct sim_event_range **ranges = is_only ? &mask->only : &mask->skip;
    size_t *count = is_only ? &mask->only_count : &mask->skip_count;
    size_t *max = is_only ? &mask->only_max : &mask->skip_max;

    if (*count == *max) {
        *max = *max ? *max * 2 : 64;
        *ranges = realloc(*ranges, *max * sizeof(**ranges));
        PQB_ASSERT(*ranges);
    }
    (*ranges)[(*count)++] = (struct sim_event_range){first, last};
}

static bool parse_kind(const char **text, enum sim_kind *kind)
{
    for (size_t i = 0; i < PQB_ARRAY_LEN(kinds); i++) {
        const size_t len = strlen(kinds[i].name);

        if (strncmp(*text, kinds[i].name, len) == 0 && strchr(".:", (*text)[len])) {
            *kind = (enum sim_kind)i;
            *text += len;
            return true;
        }
    }
    return false;
}

static bool parse_number(const char **text, uint32_t limit, uint32_t *out)
{
    unsigned long value;
    char *end;

    if (!isdigit((unsigned char)**text))
        return false;
    value = strtoul(*text, &end, 10);
    *text = end;
    *out = (uint32_t)value;
    return value < limit;
}

// ".2", ".2up", ".2down", ".none".
static bool parse_owner(const char **text, uint32_t *owner)
{
    ++*text;
    if (strncmp(*text, "none", 4) == 0) {
        *text += 4;
        *owner = SIM_OWNER_NONE;
        return true;
    }
    if (!parse_number(text, SIM_ENDPOINTS_MAX, owner))
        return false;
    if (strncmp(*text, "up", 2) == 0) {
        *text += 2;
    } else if (strncmp(*text, "down", 4) == 0) {
        *text += 4;
        *owner += SIM_OWNER_DOWN;
    }
    return true;
}

// ":0,4-6,9-": an open end means all from there on.
static bool parse_numbers(struct sim_event_mask *mask, bool is_only, sim_event_key base,
                          const char *text)
{
    do {
        uint32_t first, last;

        text++;
        if (!parse_number(&text, UINT32_MAX, &first))
            return false;
        last = first;
        if (*text == '-') {
            text++;
            last = UINT32_MAX;
            if (*text != '\0' && *text != ',' && !parse_number(&text, UINT32_MAX, &last))
                return false;
        }
        if (last < first)
            return false;
        add(mask, is_only, base | first, base | last);
    } while (*text == ',');
    return *text == '\0';
}

bool sim_event_mask_parse(struct sim_event_mask *mask, bool is_only, const char *text)
{
    enum sim_kind kind;
    uint32_t owner = 0;
    bool has_owner, is_good = true;

    if (is_only && strcmp(text, "none") == 0)
        return mask->has_only = true;
    if (!parse_kind(&text, &kind))
        return false;
    has_owner = *text == '.';
    if (has_owner && !parse_owner(&text, &owner))
        return false;
    if (*text == ':')
        is_good = parse_numbers(mask, is_only, sim_event_key_of(kind, owner, 0), text);
    else if (*text != '\0')
        is_good = false;
    else
        add(mask, is_only, sim_event_key_of(kind, owner, 0),
            sim_event_key_of(kind, has_owner ? owner : SIM_OWNERS, UINT32_MAX));
    mask->has_only |= is_only;
    mask->only_count = tidy(mask->only, mask->only_count);
    mask->skip_count = tidy(mask->skip, mask->skip_count);
    return is_good;
}

void sim_event_mask_set_only(struct sim_event_mask *mask, const sim_event_key *keys, size_t count)
{
    mask->has_only = true;
    mask->only_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (mask->only_count > 0 && mask->only[mask->only_count - 1].last + 1 == keys[i])
            mask->only[mask->only_count - 1].last = keys[i];
        else
            add(mask, true, keys[i], keys[i]);
    }
}

void sim_event_mask_fini(struct sim_event_mask *mask)
{
    free(mask->only);
    free(mask->skip);
    *mask = (struct sim_event_mask){0};
}

static void print_ranges(const struct sim_event_range *ranges, size_t count, const char *option,
                         FILE *out)
{
    uint64_t stem = UINT64_MAX; // kind and owner of the option being written
    char name[NAME_MAX_LEN];

    for (size_t i = 0; i < count; i++) {
        const uint32_t first = (uint32_t)ranges[i].first, last = (uint32_t)ranges[i].last;

        if (ranges[i].first >> 48 != ranges[i].last >> 48 ||
            sim_event_owner(ranges[i].last) == SIM_OWNERS) {
            fprintf(out, " %s %s", option, kinds[sim_event_kind(ranges[i].first)].name);
            continue;
        }
        if (ranges[i].first >> 32 == stem)
            fputc(',', out);
        else
            fprintf(out, " %s %s:", option, print_name(name, sizeof(name), ranges[i].first));
        stem = ranges[i].first >> 32;
        fprintf(out, last == first ? "%u" : "%u-", first);
        if (last > first && last < UINT32_MAX)
            fprintf(out, "%u", last);
    }
}

void sim_event_mask_print(const struct sim_event_mask *mask, FILE *out)
{
    print_ranges(mask->only, mask->only_count, "--only", out);
    if (mask->has_only && mask->only_count == 0)
        fputs(" --only none", out);
    print_ranges(mask->skip, mask->skip_count, "--skip", out);
}

void sim_events_help(FILE *out)
{
    for (size_t i = 0; i < PQB_ARRAY_LEN(kinds); i++)
        fprintf(out, "  %-20s %s\n", kinds[i].name, kinds[i].help);
}
