/* SPDX-License-Identifier: MIT */
/* What the kernel is told to forget, and of what came and went, told from a thread of its own. */
#ifndef MAILFS_FS_NOTIFY_H
#define MAILFS_FS_NOTIFY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailfs/util/list.h"

#include "herald.h"

struct fuse_session;

/*
 * Names that wait to be announced; whoever waits with inotify has a queue of 16,384 by default.
 */
#define NOTIFY_NAMES_MAX 4096
#define NOTIFY_HELD      64 /* classes of directories */

struct notify {
	struct fuse_session *session;
	struct fs_herald *herald; /* NULL: names are not announced */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct list_node queue; /* what is to be forgotten */
	struct list_node names; /* what is to be announced, when nothing is to be forgotten */
	size_t name_count;
	size_t gone_count;            /* of these, how many are of what is gone */
	struct sync_account *account; /* NULL: never downloads; the tests' */
	int pace_ms;                  /* between names, when there are many */
	int64_t name_ms;              /* no name before this time (monotonic) */
	bool expecting; /* names wait until a download has ended, which is looked for now and then */
	bool naming;    /* a name is being announced, which may take the locks of these: */
	uint64_t naming_parent, naming_node;
	int held[NOTIFY_HELD]; /* requests that wait while the kernel keeps their directories locked */
	struct notice *unpaired; /* was not announced, since the opposite had come to pass */
	bool flooded;            /* since names was empty, some were dropped */
	bool running;            /* the thread */
	bool busy;               /* it talks to the kernel at the moment */
	bool quiet;              /* nothing is told any more */
	bool ending;
};

/* Starts the thread. herald: may be NULL. -EAGAIN, -ENOMEM. */
int notify_init(struct notify *notify, struct fuse_session *session, struct fs_herald *herald);
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
/*
 * A name came or went, of which programs that wait are told. Queued, behind all that is to be forgotten; dropped where
 * NOTIFY_NAMES_MAX wait. What comes and goes, or goes and comes, before it was told is not told at all. Blocks: never.
 */
void notify_event(struct notify *notify, const struct herald_event *event);
/*
 * change: 1: a request begins to wait that has the lock of a directory, -1: it has ended. Meanwhile no name is announced that
 * takes the same lock: the herald would wait for it, and everybody else behind the herald. false: it may be waiting for it
 * already; a lookup must let go of the lock, and may come again at once: no name is announced then. Blocks: never.
 */
bool notify_hold(struct notify *notify, uint64_t directory, int change);
/*
 * The herald has all locks that it needs: whoever comes for one from now on gets it after the herald, who waits for nobody
 * any more. Blocks: never.
 */
void notify_named(struct notify *notify);

#endif
