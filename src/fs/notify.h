/* SPDX-License-Identifier: MIT */
/* What the kernel is told to forget, and of what is new, told from a thread of its own. */
#ifndef MAILFS_FS_NOTIFY_H
#define MAILFS_FS_NOTIFY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailfs/util/list.h"

struct fs_herald;
struct fuse_session;

/*
 * New names that wait to be announced; whoever waits with inotify has a queue of 16,384 by default.
 */
#define NOTIFY_NAMES_MAX 4096

struct notify {
	struct fuse_session *session;
	struct fs_herald *herald; /* NULL: new names are not announced */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct list_node queue; /* what is to be forgotten */
	struct list_node names; /* what is to be announced, when nothing is to be forgotten */
	size_t name_count;
	struct sync_account *account; /* NULL: never downloads; the tests' */
	int pace_ms;                  /* between names, when there are many */
	int64_t name_ms;              /* no name before this time (monotonic) */
	bool expecting; /* names wait until a download has ended, which is looked for now and then */
	bool naming;    /* a name is being announced */
	int held;       /* requests that wait while the kernel keeps their directories locked */
	bool flooded;   /* since names was empty, some were dropped */
	bool running;   /* the thread */
	bool busy;      /* it talks to the kernel at the moment */
	bool quiet;     /* nothing is told any more */
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
 * There is a new name in parent, of which programs that wait are told. Queued, behind all that is
 * to be forgotten; dropped where NOTIFY_NAMES_MAX wait. Blocks: never.
 */
void notify_appeared(struct notify *notify, uint64_t parent, const char *name);
/*
 * change: 1: a lookup begins to wait, -1: it has ended. Meanwhile no name is announced: the herald would wait for the
 * directory's lock, and everybody else behind the herald. false: it may be waiting for it already; the lookup must let go
 * of the lock, and may come again at once: no name is announced then. Blocks: never.
 */
bool notify_hold(struct notify *notify, int change);
/*
 * The herald has the directory's lock: whoever comes for it from now on gets it after the herald, who waits for nobody any
 * more. Blocks: never.
 */
void notify_named(struct notify *notify);

#endif
