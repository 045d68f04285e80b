/* SPDX-License-Identifier: MIT */
/* A request that may have to wait: see op.c for who owns it when. */
#ifndef MAILFS_FS_OP_H
#define MAILFS_FS_OP_H

#include <stdatomic.h>

#include "private.h"

struct fs_op;
struct fs_file;
struct fs_dir;

/* OP_LOCK_LETS_GO: it can be asked to come again. */
enum fs_op_lock { OP_LOCK_NONE, OP_LOCK_STAYS, OP_LOCK_LETS_GO };

struct fs_op_class {
	/*
	 * Asks the tree. -EINPROGRESS: op is not to be touched any more; a negative errno; else 0,
	 * and reply() follows.
	 */
	int (*run)(struct fs_op *op);
	/* Answers the request, which is gone afterwards. */
	void (*reply)(struct fs_op *op);
	/* Before the answer of an error, op->result: what a next request is to find already. NULL: nothing is to be done. */
	void (*failed)(struct fs_op *op);
	/* After any answer, also one of an error (op->result). NULL: nothing is to be done. */
	void (*end)(struct fs_op *op);
	/* Whether the kernel holds the lock of the directory, which is op->node, until the answer. */
	enum fs_op_lock lock;
};

/* Whether the notifier has been told that a request waits; each state follows from the one before. */
enum fs_op_hold { OP_HOLD_NONE, OP_HOLD_TOLD, OP_HOLD_OVER };

struct fs_op {
	const struct fs_op_class *class;
	struct fs *fs;
	fuse_req_t req;
	struct tree_call call;
	atomic_uint references;
	atomic_bool interrupted;
	atomic_int hold; /* enum fs_op_hold */

	/* the arguments */
	uint64_t node;
	uint64_t offset;
	size_t size;
	bool plus; /* readdirplus */
	struct fuse_file_info fi;
	struct fs_file *file; /* that is read; or that was opened */
	struct fs_dir *dir;   /* likewise */

	/* the answer */
	int result; /* a negative errno, or 0 and more */
	struct tree_entry entry;
	struct str out;
	char *buf;
	size_t used;

	struct list_node order; /* among the reads of file; guarded by its lock */
	bool kept;              /* the answer was kept back */
	uint64_t
		told_bytes; /* the size that the kernel was told since it asked; guarded likewise */

	char name[]; /* the last argument */
};

/*
 * A request about node; name NULL: none. NULL: there is no memory, and the request was answered so.
 */
struct fs_op *op_create(
	fuse_req_t req, const struct fs_op_class *class, uint64_t node, const char *name);
/* As above: a lookup. */
struct fs_op *op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
/* Runs it; it answers and frees itself, now or later. */
void op_start(struct fs_op *op);
void op_ref(struct fs_op *op);
void op_unref(struct fs_op *op);
/* Allocates buf of op->size bytes. -ENOMEM. */
int op_buffer(struct fs_op *op);

#endif
