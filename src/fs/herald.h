/* SPDX-License-Identifier: MIT */
/*
 * The herald, a process of its own, through which programs that wait with inotify hear of names that
 * come and go: see herald.c.
 */
#ifndef MAILFS_FS_HERALD_H
#define MAILFS_FS_HERALD_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "mailfs/fs.h"

/* How long the notifier waits for the herald before it does something else meanwhile. */
#define HERALD_ANSWER_MS 1000

enum herald_kind {
	HERALD_FILE_NEW,
	HERALD_FILE_GONE,
	HERALD_DIRECTORY_NEW,
	HERALD_DIRECTORY_GONE,
};

/* What is to be announced. */
struct herald_event {
	enum herald_kind kind;
	uint64_t parent;
	uint64_t node;    /* of what is gone: what it was */
	const char *name; /* in parent */
};

static inline bool herald_is_gone(enum herald_kind kind)
{
	return kind == HERALD_FILE_GONE || kind == HERALD_DIRECTORY_GONE;
}

static inline bool herald_is_directory(enum herald_kind kind)
{
	return kind == HERALD_DIRECTORY_NEW || kind == HERALD_DIRECTORY_GONE;
}

struct fs_herald {
	pid_t pid;
	int fd;            /* a socket to it */
	atomic_bool there; /* attached to a mount, and not ended */
	struct tree *tree;
	uint64_t device; /* of the mount */
	int patience_ms;
	int64_t asked_ms; /* the notifier's alone, as is the next */
	bool asked;       /* and no answer yet */
	int answer;       /* the last: 0, or a negative errno */

	pthread_mutex_t lock; /* guards what follows: what it was asked to announce */
	bool announcing;
	bool looked; /* it was shown what it is to take away */
	enum herald_kind kind;
	uint64_t parent, node;
	char name[NAME_MAX + 1];
};

/*
 * What it is told: this, then the directory's path below the mount point and the name, each ended by
 * NUL. It answers with an int32_t: 0, or a negative errno.
 */
struct herald_order {
	uint64_t device;
	uint64_t directory; /* its inode number */
	uint64_t kind;      /* enum herald_kind */
};
#define HERALD_ORDER_MAX (sizeof(struct herald_order) + PATH_MAX + NAME_MAX + 2)

/* A device number of the kernel's two parts, as one. */
static inline uint64_t herald_device(uint32_t major, uint32_t minor)
{
	return (uint64_t)major << 32 | minor;
}

/* The process itself; fd: the socket to whoever started it. */
_Noreturn void herald_main(int fd, pid_t starter, const char *mountpoint, bool sandbox);

/* --- For fs.c; herald NULL: nothing happens --- */

/*
 * From now on names can be announced, of a mount that lies there. patience_ms: how long one may
 * take before the herald is given up. -ENOMEM; -ENODEV: nothing is mounted there. Blocks: never.
 */
int herald_attach(
	struct fs_herald *herald, struct tree *tree, const char *mountpoint, int patience_ms);
/*
 * Kills it: whatever it holds in the mount is given back. Any thread; again and again. Blocks:
 * never.
 */
void herald_kill(struct fs_herald *herald);

/* --- For the notifier --- */

/* Whether names are worth keeping; false: nobody will announce them any more. Any thread. */
bool herald_is_there(struct fs_herald *herald);
/*
 * Whether it has not answered yet. The notifier then looks every now and then whether it is ready.
 * Blocks: never.
 */
bool herald_is_late(struct fs_herald *herald);
/* Whether the next name can be announced: the last one was. Blocks: never. */
bool herald_ready(struct fs_herald *herald);
/*
 * Announces it. herald_ready() said yes. 0; -ENOENT: it was not told, because what is to have come is gone again, or the other
 * way round; another errno, -EINPROGRESS where it is not known yet. Blocks: up to HERALD_ANSWER_MS.
 */
int herald_announce(struct fs_herald *herald, const struct herald_event *event);

/* --- For FUSE threads --- */

/*
 * Whether a request by pid is the herald's, about what it was asked to announce: then also what that is (ret->name is the caller's).
 * Blocks: never.
 */
bool herald_announces(struct fs_herald *herald, pid_t pid, uint64_t parent, const char *name,
	struct herald_event *ret);
/* It is shown now what it is to take away; whether it was. For as long as it announces the same. */
void herald_show(struct fs_herald *herald);
bool herald_was_shown(struct fs_herald *herald);

#endif
