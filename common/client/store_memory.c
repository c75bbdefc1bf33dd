// The client's state in memory. It outlives clients, so that a simulated restart keeps it.
#include <stdlib.h>
#include <string.h>

#include "common/base/defs.h"
#include "common/base/err.h"
#include "common/base/list.h"
#include "common/client/paquebot.h"

struct entry {
    struct pqb_list link; // by seq
    uint64_t seq;
    size_t len;
    uint16_t kind;
    size_t to_len;
    char content[]; // name, NUL, body
};

struct memory_store {
    struct pqb_client_store store; // ctx is this
    struct pqb_client_saved saved;
    struct pqb_list entries;
};

static struct entry *entry_of(struct pqb_list *link)
{
    return PQB_CONTAINER_OF(link, struct entry, link);
}

static struct pqb_client_pending pending_of(const struct entry *e)
{
    return (struct pqb_client_pending){.seq = e->seq,
                                       .to = e->content,
                                       .body = (const uint8_t *)e->content + e->to_len + 1,
                                       .len = e->len,
                                       .kind = e->kind};
}

static int load(void *ctx, struct pqb_client_saved *out, pqb_client_pending_fn each, void *arg)
{
    struct memory_store *m = ctx;

    *out = m->saved;
    PQB_LIST_FOREACH (it, &m->entries) {
        const struct pqb_client_pending pending = pending_of(entry_of(it));

        if (!each(arg, &pending))
            return PQB_ERR_NOMEM;
    }
    return PQB_OK;
}

static int put(void *ctx, const struct pqb_client_pending *pending)
{
    struct memory_store *m = ctx;
    const size_t to_len = strlen(pending->to);
    struct entry *e = malloc(sizeof(*e) + to_len + 1 + pending->len);

    if (e == NULL)
        return PQB_ERR_NOMEM;
    *e = (struct entry){
        .seq = pending->seq, .len = pending->len, .kind = pending->kind, .to_len = to_len};
    memcpy(e->content, pending->to, to_len + 1);
    if (pending->len > 0)
        memcpy(e->content + to_len + 1, pending->body, pending->len);
    pqb_list_push_back(&m->entries, &e->link);
    m->saved.next_seq = pending->seq + 1;
    return PQB_OK;
}

static int drop(void *ctx, uint64_t seq)
{
    struct memory_store *m = ctx;

    PQB_LIST_FOREACH (it, &m->entries) {
        if (entry_of(it)->seq == seq) {
            pqb_list_unlink(it);
            free(entry_of(it));
            return PQB_OK;
        }
    }
    return PQB_OK;
}

static int set_epoch(void *ctx, uint32_t epoch)
{
    struct memory_store *m = ctx;

    m->saved.epoch = epoch;
    return PQB_OK;
}

static int deliver(void *ctx, const struct pqb_client_message *message, uint64_t cursor)
{
    struct memory_store *m = ctx;

    (void)message;
    m->saved.cursor = cursor;
    return PQB_OK;
}

static int attempt(void *ctx, uint64_t iseq, uint32_t attempts)
{
    struct memory_store *m = ctx;

    m->saved.attempt_iseq = iseq;
    m->saved.attempts = attempts;
    return PQB_OK;
}

static int dead_letter(void *ctx, const struct pqb_client_dead_letter *letter)
{
    (void)ctx;
    (void)letter;
    return PQB_OK;
}

static int sync_nothing(void *ctx)
{
    (void)ctx;
    return PQB_OK;
}

int pqb_client_store_memory_create(struct pqb_client_store **out)
{
    struct memory_store *m = calloc(1, sizeof(*m));

    if (m == NULL)
        return PQB_ERR_NOMEM;
    m->store = (struct pqb_client_store){.ctx = m,
                                         .load = load,
                                         .put = put,
                                         .drop = drop,
                                         .set_epoch = set_epoch,
                                         .deliver = deliver,
                                         .sync = sync_nothing,
                                         .attempt = attempt,
                                         .dead_letter = dead_letter};
    m->saved.next_seq = 1;
    pqb_list_init(&m->entries);
    *out = &m->store;
    return PQB_OK;
}

void pqb_client_store_memory_destroy(struct pqb_client_store *store)
{
    struct memory_store *m;
    struct pqb_list *it;

    if (store == NULL)
        return;
    m = store->ctx;
    while ((it = pqb_list_pop_front(&m->entries)) != NULL)
        free(entry_of(it));
    free(m);
}

int pqb_client_store_memory_copy(const struct pqb_client_store *store,
                                 struct pqb_client_store **out)
{
    struct memory_store *from = store->ctx;
    struct pqb_client_store *copy;
    int err = pqb_client_store_memory_create(&copy);

    if (err != PQB_OK)
        return err;
    struct memory_store *m = copy->ctx;
    PQB_LIST_FOREACH (it, &from->entries) {
        const struct pqb_client_pending pending = pending_of(entry_of(it));

        err = put(m, &pending);
        if (err != PQB_OK) {
            pqb_client_store_memory_destroy(copy);
            return err;
        }
    }
    m->saved = from->saved;
    *out = copy;
    return PQB_OK;
}
