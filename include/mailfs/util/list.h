/* SPDX-License-Identifier: MIT */
/* A doubly linked list whose nodes are members of what they link. The owner of the list locks it. */
#ifndef MAILFS_UTIL_LIST_H
#define MAILFS_UTIL_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
	struct list_node *prev, *next;
};

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list_node *head)
{
	head->prev = head->next = head;
}

static inline bool list_empty(const struct list_node *head)
{
	return head->next == head;
}

/* Links node as the last of the list. */
static inline void list_push(struct list_node *head, struct list_node *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

/* Unlinks node; it is then a list of its own, so that a second remove does no harm. */
static inline void list_remove(struct list_node *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* The first node, unlinked; NULL when the list is empty. */
static inline struct list_node *list_pop(struct list_node *head)
{
	struct list_node *node = head->next;
	if (node == head)
		return NULL;
	list_remove(node);
	return node;
}

/* Walks head; the loop body may unlink pos. */
#define list_for_each(pos, tmp, head)                                                              \
	for ((pos) = (head)->next, (tmp) = (pos)->next; (pos) != (head);                           \
		(pos) = (tmp), (tmp) = (pos)->next)

#endif
