/* SPDX-License-Identifier: MIT */
/*
 * Node numbers, and the nodes that can not be told from their number alone: what lies inside a
 * message.
 *
 *   1                        the root
 *   D << 32                  a directory of the mail tree, D its directory number
 *   F << 32 | uid            a message, F the number of its folder
 *   VIEW | D << 32           the .parts view of a directory
 *   VIEW | F << 32 | uid     a message's directory in it
 *   VIEW | index             headers.txt, truncated.txt, a part or an attached message: an entry of the table here
 *
 * All but the last are the same on every mount and serve as st_ino too. Those of the table live as
 * long as the kernel refers to them; their st_ino is a hash of (folder, uid, section).
 */
#ifndef MAILFS_TREE_NODES_H
#define MAILFS_TREE_NODES_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODE_SECTION_MAX 511 /* bytes; MIME_DEPTH_MAX levels of numbers are less */

enum node_kind {
	NODE_ROOT,
	NODE_DIRECTORY,
	NODE_MESSAGE,
	NODE_VIEW,         /* of the directory number */
	NODE_VIEW_MESSAGE, /* a message's directory */
	NODE_INSIDE,       /* in the table */
};

struct node_number {
	enum node_kind kind;
	uint32_t number; /* directory or folder */
	uint32_t uid;    /* the index for NODE_INSIDE */
};

/* Takes a node number apart. Every number has a meaning, if not a node. */
struct node_number node_parse(uint64_t node);
uint64_t node_directory(uint32_t directory, bool view);
uint64_t node_message(uint32_t folder, uint32_t uid, bool view);
/* st_ino of what lies inside a message. */
uint64_t node_inside_ino(uint32_t folder, uint32_t uid, const char *section);

enum inside_kind { INSIDE_HEADER, INSIDE_TRUNCATED, INSIDE_PART, INSIDE_MESSAGE };

struct inside {
	enum inside_kind kind;
	uint32_t folder, uid;
	/* The first bytes of section that name the attached message it lies in; 0: the message. */
	size_t parent_len;
	uint64_t size_bytes;
	bool exact;
	char section[NODE_SECTION_MAX +
		     1]; /* "HEADER", "2.HEADER", "TRUNCATED", "2.1"; of an attached message: its own */
};

struct nodes {
	pthread_mutex_t lock;
	struct node **slots; /* by index; slots[0] is never used */
	size_t slot_count, slot_cap;
	uint32_t *free_slots;
	size_t free_count, free_cap;
	struct node **buckets; /* by key */
	size_t bucket_count;   /* a power of two, or 0 */
	size_t used;
	uint64_t generation;
};

int nodes_init(struct nodes *nodes);
void nodes_finish(struct nodes *nodes);
/*
 * Adds a reference to the node of inside's key, which is made if it is new. The size of a known one
 * is kept where it is exact, and then written to inside. -ENOMEM.
 */
int nodes_ref(
	struct nodes *nodes, struct inside *inside, uint64_t *ret_node, uint64_t *ret_generation);
/* Takes count references back; the node is gone with the last. */
void nodes_forget(struct nodes *nodes, uint64_t node, uint64_t count);
/* -ENOENT. */
int nodes_get(struct nodes *nodes, uint64_t node, struct inside *ret);
/*
 * The exact size was learned. The node, where one that was taken for exact has grown; else 0.
 */
uint64_t nodes_set_size(struct nodes *nodes, uint32_t folder, uint32_t uid, const char *section,
	uint64_t size_bytes);
/* The next node behind `after` (0: the first) of a section of a message, or of any of them (section ""); 0: there is none. */
uint64_t nodes_next(
	struct nodes *nodes, uint32_t folder, uint32_t uid, const char *section, uint64_t after);

#endif
