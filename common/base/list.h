// Intrusive doubly linked list, circular with a head node. The list never owns its elements.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct pqb_list {
    struct pqb_list *prev, *next;
};

#define PQB_LIST_FOREACH(it, head) \
    for (struct pqb_list *it = (head)->next; it != (head); it = it->next)

// As above, but `it` may be unlinked inside the loop.
#define PQB_LIST_FOREACH_SAFE(it, after, head)                                \
    for (struct pqb_list *it = (head)->next, *after = it->next; it != (head); \
         it = after, after = it->next)

static inline void pqb_list_init(struct pqb_list *node)
{
    node->prev = node->next = node;
}

static inline bool pqb_list_is_empty(const struct pqb_list *head)
{
    return head->next == head;
}

static inline void pqb_list_push_back(struct pqb_list *head, struct pqb_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void pqb_list_push_front(struct pqb_list *head, struct pqb_list *node)
{
    pqb_list_push_back(head->next, node);
}

// Unlinks `node` and makes it an empty list, so that unlinking twice is harmless.
static inline void pqb_list_unlink(struct pqb_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    pqb_list_init(node);
}

// First element, unlinked, or NULL.
static inline struct pqb_list *pqb_list_pop_front(struct pqb_list *head)
{
    struct pqb_list *node = head->next;

    if (node == head)
        return NULL;
    // As pqb_list_unlink, but in terms of `head`, so that static analysis can follow a loop of it.
    head->next = node->next;
    node->next->prev = head;
    pqb_list_init(node);
    return node;
}
