/* SPDX-License-Identifier: MIT */
/* What the kernel is told to forget, told from a thread of its own. */
#ifndef MAILFS_FS_NOTIFY_H
#define MAILFS_FS_NOTIFY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "mailfs/util/list.h"

struct fuse_session;

struct notify {
	struct fuse_session *session;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct list_node queue;
	bool running; /* the thread */
	bool busy;    /* it talks to the kernel at the moment */
	bool quiet;   /* nothing is told any more */
	bool ending;
};

/* Starts the thread. -EAGAIN, -ENOMEM. */
int notify_init(struct notify *notify, struct fuse_session *session);
/* Ends it; what was not told yet is not told. */
void notify_finish(struct notify *notify);
/* Tells nothing more, and waits up to timeout_ms until what is being told is told. */
void notify_quiesce(struct notify *notify, int timeout_ms);

/*
 * The kernel's attributes of node are out of date. At once: safe from any thread, also while a
 * request is handled. Blocks: never.
 */
void notify_attributes(struct notify *notify, uint64_t node);
/*
 * Node's attributes and pages, for a directory the cached entries, are out of date. Queued. Blocks:
 * never.
 */
void notify_inode(struct notify *notify, uint64_t node);
/* There is no name in parent any more. Queued. Blocks: never. */
void notify_entry(struct notify *notify, uint64_t parent, const char *name);

#endif
