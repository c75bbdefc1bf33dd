#include "tools/pqbsim/account.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/wire/cursor.h"

void account_init(struct account *a, uint64_t run_id)
{
    *a = (struct account){.run_id = run_id};
}

void account_fini(struct account *a)
{
    free(a->messages);
    free(a->pairs);
    *a = (struct account){0};
}

int account_new(struct account *a, uint32_t from, uint32_t to, bool is_awaited, uint8_t *body,
                size_t len, uint64_t *number, pqb_tstamp now)
{
    struct pqb_writer_cursor w;

    PQB_ASSERT(len >= ACCOUNT_BODY_MIN);
    if (a->count == a->capacity) {
        uint64_t capacity = a->capacity > 0 ? a->capacity * 2 : 65536;
        struct account_message *messages = realloc(a->messages, capacity * sizeof(*messages));

        if (messages == NULL)
            return PQB_ERR_NOMEM;
        a->messages = messages;
        a->capacity = capacity;
    }
    a->messages[a->count] = (struct account_message){
        .sent_at = now, .from = from, .to = to, .flags = is_awaited ? ACCOUNT_AWAITED : 0};
    pqb_wcur_init(&w, body, len);
    pqb_wcur_u64(&w, a->run_id);
    pqb_wcur_u64(&w, a->count);
    memset(body + ACCOUNT_BODY_MIN, (int)('a' + a->count % 26), len - ACCOUNT_BODY_MIN);
    *number = a->count++;
    return PQB_OK;
}

void account_mark_resumed(struct account *a, uint64_t number)
{
    PQB_ASSERT(number < a->count);
    a->messages[number].flags |= ACCOUNT_RESUMED;
}

void account_undo(struct account *a)
{
    PQB_ASSERT(a->count > 0);
    a->count--;
}

static uint64_t elapsed_us(const struct account_message *m, pqb_tstamp now)
{
    return pqb_elapsed(m->sent_at, now) / PQB_NS_PER_US;
}

void account_on_accepted(struct account *a, uint64_t number, bool is_stored, pqb_tstamp now)
{
    struct account_message *m = &a->messages[number];

    PQB_ASSERT(number < a->count);
    if (is_stored && (m->flags & ACCOUNT_STORED) == 0) {
        m->flags |= ACCOUNT_STORED;
        a->stored++;
    }
    if (m->flags & ACCOUNT_ACCEPTED)
        return;
    m->flags |= ACCOUNT_ACCEPTED;
    a->accepted++;
    pqb_hist_add(&a->accepted_us, elapsed_us(m, now));
    if (m->flags & ACCOUNT_RESUMED)
        pqb_hist_add(&a->resumed_us, elapsed_us(m, now));
}

void account_on_nacked(struct account *a, uint64_t number, uint8_t reason)
{
    struct account_message *m = &a->messages[number];

    PQB_ASSERT(number < a->count);
    if (m->flags & ACCOUNT_NACKED)
        return;
    m->flags |= ACCOUNT_NACKED;
    a->nacked++;
    a->nacked_by[reason]++;
    if (m->flags & ACCOUNT_DELIVERED)
        a->lost_promise++;
}

static struct account_pair *pair_slot(struct account_pair *pairs, size_t capacity, uint64_t key)
{
    size_t at = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (capacity - 1);

    while (pairs[at].key != 0 && pairs[at].key != key)
        at = (at + 1) & (capacity - 1);
    return &pairs[at];
}

// Keeps the table at most half full. Without memory the run can't be judged: stop.
static void grow_pairs(struct account *a)
{
    size_t capacity = a->pair_capacity > 0 ? a->pair_capacity * 2 : 4096;
    struct account_pair *pairs;

    if (a->pair_count * 2 < a->pair_capacity)
        return;
    pairs = calloc(capacity, sizeof(*pairs));
    if (pairs == NULL)
        abort();
    for (size_t i = 0; i < a->pair_capacity; i++) {
        if (a->pairs[i].key != 0)
            *pair_slot(pairs, capacity, a->pairs[i].key) = a->pairs[i];
    }
    free(a->pairs);
    a->pairs = pairs;
    a->pair_capacity = capacity;
}

static void check_order(struct account *a, const struct account_message *m, uint64_t number)
{
    const uint64_t key = (uint64_t)(m->from + 1) << 32 | (m->to + 1);
    struct account_pair *pair;

    grow_pairs(a);
    pair = pair_slot(a->pairs, a->pair_capacity, key);
    if (pair->key == 0) {
        *pair = (struct account_pair){.key = key, .last = number};
        a->pair_count++;
    } else if (number < pair->last) {
        a->out_of_order++;
    } else {
        pair->last = number;
    }
}

uint64_t account_on_delivered(struct account *a, uint32_t to, const uint8_t *body, size_t len,
                              pqb_tstamp now)
{
    struct pqb_reader_cursor r;
    struct account_message *m;
    uint64_t run_id, number;

    pqb_rcur_init(&r, body, len);
    run_id = pqb_rcur_u64(&r);
    number = pqb_rcur_u64(&r);
    if (r.is_bad || run_id != a->run_id || number >= a->count || a->messages[number].to != to) {
        a->foreign++;
        return UINT64_MAX;
    }
    m = &a->messages[number];
    if (m->flags & ACCOUNT_DELIVERED) {
        a->duplicated++;
        return number;
    }
    m->flags |= ACCOUNT_DELIVERED;
    a->delivered++;
    if (m->flags & ACCOUNT_NACKED)
        a->lost_promise++;
    if (m->flags & ACCOUNT_AWAITED)
        pqb_hist_add(&a->delivered_us, elapsed_us(m, now));
    check_order(a, m, number);
    return number;
}

uint64_t account_lost(const struct account *a)
{
    uint64_t lost = 0;

    for (uint64_t i = 0; i < a->count; i++) {
        const uint8_t flags = a->messages[i].flags;

        lost += (flags & ACCOUNT_ACCEPTED) != 0 && (flags & ACCOUNT_DELIVERED) == 0;
    }
    return lost;
}

uint64_t account_unresolved(const struct account *a)
{
    return a->count - a->accepted - a->nacked;
}
