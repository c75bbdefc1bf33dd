#include "gateway/io/mailbox.h"

#include <errno.h>
#include <stdint.h>

#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"

int pqb_mailbox_init(struct pqb_mailbox *m, size_t capacity)
{
    const int err = pqb_mpsc_init(&m->queue, capacity);

    if (err != PQB_OK)
        return err;
    atomic_init(&m->is_signalled, false);
    atomic_init(&m->is_closed, false);
    m->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (m->fd >= 0)
        return PQB_OK;
    pqb_mpsc_fini(&m->queue);
    return pqb_err_from_errno(errno);
}

void pqb_mailbox_fini(struct pqb_mailbox *m)
{
    PQB_ASSERT(pqb_mpsc_len(&m->queue) == 0);
    (void)close(m->fd);
    m->fd = -1;
    pqb_mpsc_fini(&m->queue);
}

// Letter before signal here, signal before letters in the owner: whoever sees `is_signalled` set
// had its letter in the queue before the owner cleared it, and the owner takes after clearing.
void pqb_mailbox_wake(struct pqb_mailbox *m)
{
    const uint64_t one = 1;

    if (atomic_exchange(&m->is_signalled, true))
        return;
    // Can only fail with EAGAIN at 2^64 - 2 unread wakes.
    PQB_ASSERT(write(m->fd, &one, sizeof(one)) == sizeof(one));
}

bool pqb_mailbox_post(struct pqb_mailbox *m, void *item)
{
    if (!pqb_mpsc_push(&m->queue, item))
        return false;
    pqb_mailbox_wake(m);
    return true;
}

void pqb_mailbox_close(struct pqb_mailbox *m)
{
    atomic_store(&m->is_closed, true);
    pqb_mailbox_wake(m);
}

bool pqb_mailbox_is_closed(const struct pqb_mailbox *m)
{
    return atomic_load(&m->is_closed);
}

void pqb_mailbox_clear(struct pqb_mailbox *m)
{
    uint64_t count;
    const ssize_t got = read(m->fd, &count, sizeof(count)); // EAGAIN when nobody woke us

    (void)got;
    (void)atomic_exchange(&m->is_signalled, false);
}

void *pqb_mailbox_take(struct pqb_mailbox *m)
{
    return pqb_mpsc_pop(&m->queue);
}
