/* SPDX-License-Identifier: MIT */
/*
 * The tree as a FUSE file system. The only user of libfuse.
 *
 * The order of a mount's life: sync_account_start, tree_create, fs_create, fs_mount, fs_loop
 * (returns when it is unmounted, or at a signal), sync_account_stop (fails what still waits, so
 * that each request is answered), fs_destroy, tree_destroy, sync_account_destroy. One mount in a
 * process. fs_herald_start comes before all of it, and fs_herald_stop after fs_destroy.
 */
#ifndef MAILFS_FS_H
#define MAILFS_FS_H

#include <stdbool.h>

#include "mailfs/tree.h"
#include "mailfs/util/str.h"

struct fs;

/*
 * A process through which programs that wait with inotify are told of messages and folders that come
 * (IN_CREATE) and go (IN_DELETE) while the file system is mounted. A file system that is mounted read-only
 * (fs_params.readonly) can not have it: the kernel lets no name appear there.
 */
struct fs_herald;
/*
 * Forks it: to be called before a thread is started or a secret is read, and by the thread that
 * lives as long as the process; nobody may wait for any child (waitpid(-1)) from then on. It ends
 * with this process, however that ends. mountpoint: an absolute path; it never touches anything that
 * does not lie below. sandbox: it also gives up what it does not need (mailfs/sandbox.h). -EAGAIN, -ENOMEM,
 * -EMFILE. Blocks: never.
 */
int fs_herald_start(const char *mountpoint, bool sandbox, struct fs_herald **ret);
/* For who must be able to end it. NULL: 0. */
pid_t fs_herald_pid(const struct fs_herald *herald);
/* Ends it; after fs_destroy(). NULL is allowed. Blocks: until it has ended, 2 s at most. */
void fs_herald_stop(struct fs_herald *herald);

struct fs_params {
	struct tree *tree;        /* borrowed */
	struct fs_herald *herald; /* borrowed; NULL: inotify is told of nothing */
	/* What df and /proc/mounts show as the source; control characters are replaced; copied. */
	const char *fsname;
	bool allow_other; /* other users may enter, as far as modes let them */
	bool readonly;    /* mounted with ro */
	bool debug;       /* libfuse prints each request */
	int timeout_ms;   /* of every operation */
	/*
	 * Mounting and unmounting by another process, where this one can not: mount gives the descriptor of /dev/fuse, or a negative errno with
	 * one line in why. NULL: by this one.
	 */
	int (*mount)(void *arg, struct str *why);
	void (*unmount)(void *arg);
	void *mount_arg;
};

/*
 * For the other process, which ends afterwards: mounts as fs_mount() would (tree, herald and functions are not looked at). The
 * descriptor of /dev/fuse, or a negative errno with one line in why. Blocks: disk.
 */
int fs_mount_apart(const struct fs_params *params, const char *mountpoint, struct str *why);
/* Likewise: unmounts, also what is in use. Does not return where fusermount3 has to do it. Blocks: disk. */
void fs_unmount_apart(const char *mountpoint);

/* Prepares a session. -EINVAL with why: libfuse does not take the options. Blocks: never. */
int fs_create(const struct fs_params *params, struct fs **ret, struct str *why);
/*
 * Mounts on mountpoint, an absolute path. A negative errno with one line in why: /dev/fuse not
 * accessible, fusermount3 missing, not allowed, busy. What fusermount3 would print is put into why.
 * Blocks: disk.
 */
int fs_mount(struct fs *fs, const char *mountpoint, struct str *why);
/*
 * Serves until the file system is unmounted or SIGINT, SIGTERM or SIGHUP comes (handlers are set
 * meanwhile). 0, or -EIO when the kernel's device failed. Blocks: until then.
 */
int fs_loop(struct fs *fs);
/* Unmounts if it is still mounted, and frees. The account was stopped before. NULL is allowed. */
void fs_destroy(struct fs *fs);
/* The version of libfuse, static text. */
const char *fs_fuse_version(void);

#endif
