// A thread's letter box: a bounded queue that any thread may post to, and an eventfd that wakes the
// owner. The eventfd is written once per emptying, however many letters come in between.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/defs.h"
#include "common/base/mpsc.h"

struct pqb_mailbox {
    struct pqb_mpsc queue;
    int fd;                     // readable when there is something to look at
    _Atomic(bool) is_signalled; // the eventfd has been written since the owner last looked
    _Atomic(bool) is_closed;    // the owner is asked to end
};

PQB_MUST_USE int pqb_mailbox_init(struct pqb_mailbox *m, size_t capacity);
void pqb_mailbox_fini(struct pqb_mailbox *m); // must be empty

PQB_MUST_USE bool pqb_mailbox_post(struct pqb_mailbox *m, void *item); // any thread; false: full
void pqb_mailbox_wake(struct pqb_mailbox *m); // any thread: have the owner look, without a letter

// Any thread: asks the owner to end, past whatever is in the queue. Posting goes on working; what
// the owner leaves behind is for whoever destroys the box.
void pqb_mailbox_close(struct pqb_mailbox *m);
bool pqb_mailbox_is_closed(const struct pqb_mailbox *m);

// Owner: call it when `fd` is readable, before taking; what is posted from then on signals anew.
void pqb_mailbox_clear(struct pqb_mailbox *m);
void *pqb_mailbox_take(struct pqb_mailbox *m); // owner; NULL when empty
