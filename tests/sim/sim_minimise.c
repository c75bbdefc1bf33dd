#include "tests/sim/sim_minimise.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "tests/sim/sim_child.h"

#define JOBS_MAX 8
#define NOTHING  SIZE_MAX

// What is not resolved in this time will hardly ever be: enough while searching.
#define SETTLE_BRIEF_S 200

// A smaller run that may fail too.
struct attempt {
    struct sim_plan plan;
    sim_event_key *keys;
    size_t count;
};

struct search {
    struct sim_plan plan;
    sim_event_key *keys; // what happens, in that order; NULL: too many to be named
    size_t count;
    const struct sim_event_mask *given; // in force while `keys` is NULL
    struct sim_child children[JOBS_MAX];
    size_t jobs;
    double until;
    unsigned real_s_max;
    struct sim_minimised *out;
};

// The same but for numbers.
static bool is_same_failure(const char *a, const char *b)
{
    while (*a && *b) {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            a += strspn(a, "0123456789");
            b += strspn(b, "0123456789");
        } else if (*a++ != *b++) {
            return false;
        }
    }
    return *a == *b;
}

static bool has_time(const struct search *s)
{
    return sim_real_now() < s->until;
}

static int by_key(const void *a, const void *b)
{
    const sim_event_key *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

// ------------------------------------------------------------------------------------ one attempt

static void begin(const struct search *s, struct attempt *a)
{
    *a = (struct attempt){.plan = s->plan, .count = s->count};
    a->keys = malloc((s->count + 1) * sizeof(*a->keys));
    PQB_ASSERT(a->keys);
    if (s->count)
        memcpy(a->keys, s->keys, s->count * sizeof(*a->keys));
}

static void mask_of(const sim_event_key *keys, size_t count, struct sim_event_mask *mask)
{
    sim_event_key *sorted = malloc((count + 1) * sizeof(*sorted));

    PQB_ASSERT(sorted);
    if (count)
        memcpy(sorted, keys, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), by_key);
    sim_event_mask_set_only(mask, sorted, count);
    free(sorted);
}

static void start(struct search *s, struct sim_child *child, const struct attempt *a)
{
    struct sim_event_mask mask = {0};
    const struct sim_job job = {.plan = &a->plan,
                                .mask = s->keys ? &mask : s->given,
                                .real_s_max = s->real_s_max,
                                .has_log = true};

    if (s->keys)
        mask_of(a->keys, a->count, &mask);
    sim_child_start(child, &job);
    sim_event_mask_fini(&mask);
    s->out->runs++;
}

// The run that just ended becomes the smallest one. What was allowed but did not happen is dropped.
static void adopt(struct search *s, const struct sim_outcome *outcome, const struct sim_plan *plan)
{
    const struct sim_event_log *log = &outcome->log;

    s->plan = *plan;
    memcpy(s->out->failure, outcome->result.failure, sizeof(s->out->failure));
    s->out->failed_at_s = outcome->result.failed_at_s;
    if (log->count > SIM_EVENT_LOG_MAX)
        return;
    s->keys = realloc(s->keys, (log->count + 1) * sizeof(*s->keys));
    PQB_ASSERT(s->keys);
    memcpy(s->keys, log->at, log->count * sizeof(*s->keys));
    s->count = log->count;
}

// Runs all of them at once, adopts the first that fails in the same way and frees them.
static size_t try_all(struct search *s, struct attempt *attempts, size_t count)
{
    size_t found = NOTHING;

    PQB_ASSERT(count <= s->jobs);
    for (size_t i = 0; i < count; i++)
        start(s, &s->children[i], &attempts[i]);
    for (size_t i = 0; i < count; i++) {
        const struct sim_outcome *outcome = s->children[i].outcome;

        if (!sim_child_wait(&s->children[i]) && found == NOTHING &&
            is_same_failure(outcome->result.failure, s->out->failure)) {
            found = i;
            adopt(s, outcome, &attempts[i].plan);
        }
        free(attempts[i].keys);
    }
    return found;
}

static bool try_one(struct search *s, struct attempt *a)
{
    return try_all(s, a, 1) == 0;
}

static bool try_plan(struct search *s, const struct sim_plan *plan)
{
    struct attempt a;

    begin(s, &a);
    a.plan = *plan;
    return try_one(s, &a);
}

// -------------------------------------------------------------------------------- classes of
// events

static uint64_t kind_of(sim_event_key key)
{
    return sim_event_kind(key);
}

static uint64_t kind_and_owner_of(sim_event_key key)
{
    return key >> 32;
}

// The client that an event belongs to, with all that happens to its datagrams.
static uint64_t client_of(sim_event_key key)
{
    if (!sim_event_has_owner(key) || sim_event_owner(key) == SIM_OWNER_NONE)
        return UINT64_MAX;
    return sim_event_owner(key) % SIM_OWNER_DOWN;
}

static size_t list_classes(const struct search *s, uint64_t (*class_of)(sim_event_key),
                           uint64_t **out)
{
    uint64_t *classes = malloc((s->count + 1) * sizeof(*classes));
    size_t kept = 0;

    PQB_ASSERT(classes);
    for (size_t i = 0; i < s->count; i++)
        classes[i] = class_of(s->keys[i]);
    qsort(classes, s->count, sizeof(*classes), by_key);
    for (size_t i = 0; i < s->count; i++) {
        if (classes[i] != UINT64_MAX && (kept == 0 || classes[kept - 1] != classes[i]))
            classes[kept++] = classes[i];
    }
    *out = classes;
    return kept;
}

static void drop_classes(struct search *s, uint64_t (*class_of)(sim_event_key))
{
    uint64_t *classes;
    const size_t count = s->keys ? list_classes(s, class_of, &classes) : 0;

    for (size_t i = 0; i < count && has_time(s); i++) {
        struct attempt a;

        begin(s, &a);
        a.count = 0;
        for (size_t k = 0; k < s->count; k++) {
            if (class_of(s->keys[k]) != classes[i])
                a.keys[a.count++] = s->keys[k];
        }
        if (a.count < s->count)
            (void)try_one(s, &a);
        else
            free(a.keys);
    }
    if (s->keys)
        free(classes);
}

// ---------------------------------------------------------------------------------- single events

static void begin_without(const struct search *s, struct attempt *a, size_t first, size_t count)
{
    const size_t end = PQB_MIN(first + count, s->count);

    begin(s, a);
    memmove(&a->keys[first], &a->keys[end], (s->count - end) * sizeof(*a->keys));
    a->count = s->count - (end - first);
}

// Tries to do without each run of `size` events. true: something could be left out.
static bool drop_runs(struct search *s, size_t size)
{
    const size_t before = s->count;
    size_t first = 0;

    while (first < s->count && has_time(s)) {
        struct attempt attempts[JOBS_MAX];
        size_t count = 0, found;

        for (; count < s->jobs && first + count * size < s->count; count++)
            begin_without(s, &attempts[count], first + count * size, size);
        found = try_all(s, attempts, count);
        first += (found == NOTHING ? count : found) * size;
    }
    return s->count < before;
}

static void drop_events(struct search *s)
{
    for (size_t size = s->count / 2; size > 1 && s->keys && has_time(s); size /= 2)
        (void)drop_runs(s, size);
    while (s->keys && has_time(s) && drop_runs(s, 1)) {
    }
}

// ------------------------------------------------------------------------------------- parameters

// These say how large the run is, not how rough; they have steps of their own.
static bool is_size(struct sim_plan *plan, size_t i)
{
    const double *p = sim_plan_param(plan, i);

    return p == &plan->seconds || p == &plan->settle_s || p == &plan->late_s || p == &plan->users ||
           p == &plan->devices;
}

static size_t list_rough(struct sim_plan *plan, size_t *out)
{
    struct sim_plan calm;
    size_t count = 0;

    sim_plan_calm(&calm, plan->seed);
    for (size_t i = 0; i < sim_plan_count(); i++) {
        const double value = sim_plan_get(plan, i), base = sim_plan_get(&calm, i);

        if (!is_size(plan, i) && (value < base || value > base))
            out[count++] = i;
    }
    return count;
}

// Small pages need long to settle; without them, waiting longer only makes the trace longer.
static void fit_settling(struct sim_plan *plan)
{
    struct sim_plan calm;

    sim_plan_calm(&calm, plan->seed);
    if (plan->page_max >= 10)
        plan->settle_s = PQB_MIN(plan->settle_s, calm.settle_s);
}

static bool calm_down(struct search *s, const size_t *params, size_t count)
{
    struct sim_plan plan = s->plan, calm;

    sim_plan_calm(&calm, plan.seed);
    for (size_t i = 0; i < count; i++)
        *sim_plan_param(&plan, params[i]) = sim_plan_get(&calm, params[i]);
    fit_settling(&plan);
    return try_plan(s, &plan);
}

static void calm_params(struct search *s)
{
    size_t *params = malloc(sim_plan_count() * sizeof(*params));
    size_t count;

    PQB_ASSERT(params);
    count = list_rough(&s->plan, params);
    for (size_t size = count; size > 0 && has_time(s); size /= 2) {
        count = list_rough(&s->plan, params);
        for (size_t first = 0; first < count && has_time(s); first += size)
            (void)calm_down(s, &params[first], PQB_MIN(size, count - first));
    }
    free(params);
}

// First of all, because it makes all that follows faster.
static void calm_pages(struct search *s)
{
    struct sim_plan plan = s->plan, calm;

    sim_plan_calm(&calm, plan.seed);
    plan.page_max = calm.page_max;
    fit_settling(&plan);
    if (plan.settle_s < s->plan.settle_s)
        (void)try_plan(s, &plan);
}

// A reader is spared the digits that do not matter.
static void round_params(struct search *s)
{
    size_t *params = malloc(sim_plan_count() * sizeof(*params));
    size_t count;

    PQB_ASSERT(params);
    count = list_rough(&s->plan, params);
    for (size_t i = 0; i < count; i++) {
        for (int digits = 1; digits <= 4 && has_time(s); digits++) {
            struct sim_plan plan = s->plan;
            const double value = sim_plan_get(&plan, params[i]);
            char text[32];

            snprintf(text, sizeof(text), "%.*g", digits, value);
            *sim_plan_param(&plan, params[i]) = strtod(text, NULL);
            if (sim_plan_get(&plan, params[i]) >= value && sim_plan_get(&plan, params[i]) <= value)
                break;
            if (try_plan(s, &plan))
                break;
        }
    }
    free(params);
}

// The time that the faults have: no longer than to the failure, and then less and less.
static void shorten(struct search *s)
{
    static const double shares[] = {0.125, 0.25, 0.5, 0.75, 0.9};
    struct sim_plan plan = s->plan;
    bool has_gained = true;

    if (s->out->failed_at_s - 1 < plan.seconds) { // virtual time begins with 1 s
        plan.seconds = (double)(uint64_t)((s->out->failed_at_s - 1) * 1000 + 1) / 1000;
        if (plan.seconds < s->plan.seconds)
            (void)try_plan(s, &plan);
        return;
    }
    while (has_gained && s->plan.seconds > 0.01 && has_time(s)) {
        has_gained = false;
        for (size_t i = 0; i < PQB_ARRAY_LEN(shares) && !has_gained && has_time(s); i++) {
            plan = s->plan;
            plan.seconds = (double)(uint64_t)(s->plan.seconds * shares[i] * 1000) / 1000;
            has_gained = try_plan(s, &plan);
        }
    }
}

// Devices that take no part need not be there.
static void drop_devices(struct search *s)
{
    struct sim_plan plan = s->plan;
    uint32_t last = 0;

    for (size_t i = 0; i < s->count && s->keys; i++) {
        if (sim_event_kind(s->keys[i]) == SIM_KIND_DEVICE)
            last = PQB_MAX(last, sim_event_owner(s->keys[i]));
    }
    plan.devices = last + 1;
    if (s->keys && plan.devices < s->plan.devices)
        (void)try_plan(s, &plan);
}

// ------------------------------------------------------------------------------------ the search

static size_t count_kinds(const struct search *s)
{
    uint64_t *classes;
    size_t count;

    if (!s->keys)
        return 0;
    count = list_classes(s, kind_of, &classes);
    free(classes);
    return count;
}

static size_t count_rough(struct search *s)
{
    size_t *params = malloc(sim_plan_count() * sizeof(*params));
    size_t count;

    PQB_ASSERT(params);
    count = list_rough(&s->plan, params);
    free(params);
    return count;
}

static bool run_first(struct search *s)
{
    struct attempt a;
    bool has_passed;

    begin(s, &a);
    start(s, &s->children[0], &a);
    free(a.keys);
    has_passed = sim_child_wait(&s->children[0]);
    if (!has_passed)
        adopt(s, s->children[0].outcome, &s->plan);
    s->real_s_max = 2 + (unsigned)(3 * s->children[0].outcome->real_s);
    return !has_passed;
}

static void search(struct search *s)
{
    size_t before;

    shorten(s);
    calm_pages(s);
    drop_classes(s, kind_of);
    drop_classes(s, client_of);
    calm_params(s);
    drop_classes(s, kind_and_owner_of);
    shorten(s);
    do {
        before = s->count;
        drop_events(s);
        calm_params(s);
        drop_devices(s);
        shorten(s);
    } while (s->count < before && has_time(s));
    round_params(s);
}

// A run that fails because something is never resolved fails late. The search then waits less, and
// only what it found must fail after the whole wait. false: it does not, or there was no such wait.
static bool search_briefly(struct search *s)
{
    const double settle_s = s->plan.settle_s, until = s->until;
    const struct sim_plan whole = s->plan;
    sim_event_key *keys = s->keys;
    const size_t count = s->count;
    struct sim_plan plan = whole;
    bool is_real;

    if (!keys || s->out->failed_at_s < plan.seconds + PQB_MIN(settle_s, 600) ||
        settle_s <= SETTLE_BRIEF_S)
        return false;
    s->keys = malloc((count + 1) * sizeof(*keys));
    PQB_ASSERT(s->keys);
    memcpy(s->keys, keys, count * sizeof(*keys));
    plan.settle_s = SETTLE_BRIEF_S;
    s->until -= (until - sim_real_now()) / 2; // the other half is for the case that it was in vain
    if (try_plan(s, &plan))
        search(s);
    s->until = until;
    plan = s->plan;
    plan.settle_s = settle_s;
    fit_settling(&plan);
    is_real = try_plan(s, &plan);
    if (is_real) {
        free(keys);
        return true;
    }
    free(s->keys);
    s->keys = keys;
    s->count = count;
    s->plan = whole;
    return false;
}

void sim_minimise(const struct sim_plan *plan, const struct sim_event_mask *mask, double seconds,
                  size_t jobs, struct sim_minimised *out)
{
    const double began = sim_real_now();
    static struct search s;

    *out = (struct sim_minimised){.plan = *plan};
    s = (struct search){.plan = *plan,
                        .given = mask,
                        .jobs = PQB_MAX(1, PQB_MIN(jobs, JOBS_MAX)),
                        .until = began + seconds,
                        .out = out};
    for (size_t i = 0; i < s.jobs; i++)
        sim_child_init(&s.children[i]);
    if (run_first(&s)) {
        out->events_before = s.count;
        out->kinds_before = count_kinds(&s);
        out->params_before = count_rough(&s);
        if (!search_briefly(&s))
            search(&s);
        out->events_after = s.count;
        out->kinds_after = count_kinds(&s);
        out->params_after = count_rough(&s);
        out->is_minimal = s.keys && has_time(&s);
        out->plan = s.plan;
        if (s.keys)
            mask_of(s.keys, s.count, &out->mask);
    }
    for (size_t i = 0; i < s.jobs; i++)
        sim_child_fini(&s.children[i]);
    free(s.keys);
    out->real_s = sim_real_now() - began;
}
