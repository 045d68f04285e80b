/* SPDX-License-Identifier: MIT */
/*
 * Requests about open files. The kernel's pages are kept from one open to the next, because a message
 * never changes; a part whose size is only a bound is read past the page cache, so that its end is
 * where the bytes end and not where the bound is.
 *
 * A message may be shorter than its server said. The kernel learns that from the first short answer,
 * and takes its end for the end of the file. So an empty answer, to a read that lies wholly beyond
 * the true end, must not overtake that of an earlier read, in which the end is: it would leave a file
 * that ends in zeros. It is kept back until the reads before it are answered.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"

#include "op.h"

/* An open file, as the kernel's handle. */
struct fs_file {
	struct list_node node; /* in fs->open_files */
	struct fs *fs;
	struct tree_file *file;
	uint64_t inode;
	atomic_uint references;       /* the kernel's, and one for each read */
	atomic_llong silent_until_ms; /* monotonic: reads fail at once until then */
	pthread_mutex_t lock;
	struct list_node running; /* reads that are not answered, but for those kept back */
	struct list_node kept;    /* empty answers; each has a reference to its op */
};

static struct fs_file *file_of(const struct fuse_file_info *fi)
{
	return (struct fs_file *)(uintptr_t)fi->fh;
}

/* Takes file. NULL: there is no memory. */
static struct fs_file *file_create(struct fs *fs, struct tree_file *file, uint64_t inode)
{
	struct fs_file *handle = calloc(1, sizeof(*handle));
	if (!handle)
		return NULL;
	handle->fs = fs;
	handle->file = file;
	handle->inode = inode;
	atomic_init(&handle->references, 1);
	pthread_mutex_init(&handle->lock, NULL);
	list_init(&handle->running);
	list_init(&handle->kept);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&fs->open_lock);
	list_push(&fs->open_files, &handle->node);
	return handle;
}

static void file_unref(struct fs_file *handle)
{
	if (atomic_fetch_sub(&handle->references, 1) != 1)
		return;
	pthread_mutex_lock(&handle->fs->open_lock);
	list_remove(&handle->node);
	pthread_mutex_unlock(&handle->fs->open_lock);
	tree_file_close(handle->file);
	pthread_mutex_destroy(&handle->lock);
	free(handle);
}

void files_close(struct fs *fs)
{
	while (!list_empty(&fs->open_files))
		file_unref(container_of(fs->open_files.next, struct fs_file, node));
}

bool files_attributes(struct fs *fs, fuse_ino_t node, struct tree_entry *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&fs->open_lock);
	const struct list_node *pos;
	for (pos = fs->open_files.next; pos != &fs->open_files; pos = pos->next) {
		const struct fs_file *file = container_of(pos, const struct fs_file, node);
		if (file->inode != node)
			continue;
		tree_file_attributes(fs->tree, file->file, ret);
		return true;
	}
	return false;
}

void files_correct(struct fs *fs, struct tree_entry *entry)
{
	struct tree_entry open;
	if (files_attributes(fs, entry->node, &open))
		entry->attr = open.attr;
}

/* --- open, release --- */

static int open_run(struct fs_op *op)
{
	struct tree_file *file;
	int r = tree_file_open(op->fs->tree, op->node, &file, &op->call);
	if (r < 0)
		return r;
	op->file = file_create(op->fs, file, op->node);
	if (op->file)
		return 0;
	tree_file_close(file);
	return -ENOMEM;
}

static void open_reply(struct fs_op *op)
{
	bool bound = tree_file_size_is_bound(op->file->file);
	op->fi.fh = (uintptr_t)op->file;
	op->fi.direct_io = bound;
	op->fi.keep_cache = !bound;
	if (fuse_reply_open(op->req, &op->fi) < 0)
		file_unref(op->file);
}

static const struct fs_op_class open_class = {.run = open_run, .reply = open_reply};

void fs_op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	if ((fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC) {
		fuse_reply_err(req, EROFS);
		return;
	}
	struct fs_op *op = op_create(req, &open_class, node, NULL);
	if (!op)
		return;
	op->fi = *fi;
	op_start(op);
}

void fs_op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	(void)node;
	file_unref(file_of(fi));
	fuse_reply_err(req, 0);
}

/* --- read --- */

/* Whether a read that begins before offset is not answered yet. Lock held. */
static bool earlier_runs(const struct fs_file *file, uint64_t offset)
{
	const struct list_node *pos;
	for (pos = file->running.next; pos != &file->running; pos = pos->next)
		if (container_of(pos, const struct fs_op, order)->offset < offset)
			return true;
	return false;
}

static void read_begin(struct fs_op *op)
{
	atomic_fetch_add(&op->file->references, 1);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&op->file->lock);
	list_push(&op->file->running, &op->order);
}

/*
 * The kernel asks again, page by page, for what it could not read ahead. So that a reader waits for one time-out and not for
 * two, reads fail at once for a moment after one.
 */
#define SILENT_MS 500

static int read_run(struct fs_op *op)
{
	if (clock_now_ms() < atomic_load(&op->file->silent_until_ms))
		return -ETIMEDOUT;
	if (op_buffer(op) < 0)
		return -ENOMEM;
	ssize_t n = tree_file_read(op->file->file, op->buf, op->size, op->offset, &op->call);
	if (n < 0)
		return (int)n;
	op->used = (size_t)n;
	return 0;
}

/* Keeps an empty answer back where an earlier read still runs. */
static bool read_keep(struct fs_op *op)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&op->file->lock);
	if (op->used > 0 || !earlier_runs(op->file, op->offset))
		return false;
	list_remove(&op->order);
	list_push(&op->file->kept, &op->order);
	op->kept = true;
	op_ref(op);
	return true;
}

static void read_reply(struct fs_op *op)
{
	if (!read_keep(op))
		fuse_reply_buf(op->req, op->buf, op->used);
}

/* Takes op out, and with it the answers that were kept back for it alone. */
static void read_leave(struct fs_op *op, struct list_node *ret_free)
{
	struct list_node *pos, *tmp;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&op->file->lock);
	list_remove(&op->order);
	list_for_each(pos, tmp, &op->file->kept)
	{
		if (earlier_runs(op->file, container_of(pos, struct fs_op, order)->offset))
			continue;
		list_remove(pos);
		list_push(ret_free, pos);
	}
}

/* The connection's own time-out may come a moment before the deadline. */
static void read_failed(struct fs_op *op)
{
	if (op->result == -ETIMEDOUT && clock_now_ms() + SILENT_MS >= op->call.waiter.deadline_ms)
		atomic_store(&op->file->silent_until_ms, clock_now_ms() + SILENT_MS);
}

static void read_end(struct fs_op *op)
{
	struct list_node free_ones, *node;
	if (op->kept)
		return;
	/* The connection's own time-out may come a moment before the deadline. */
	if (op->result == -ETIMEDOUT && clock_now_ms() + SILENT_MS >= op->call.waiter.deadline_ms)
		atomic_store(&op->file->silent_until_ms, clock_now_ms() + SILENT_MS);
	list_init(&free_ones);
	read_leave(op, &free_ones);
	while ((node = list_pop(&free_ones))) {
		struct fs_op *late = container_of(node, struct fs_op, order);
		fuse_reply_buf(late->req, NULL, 0);
		file_unref(late->file);
		op_unref(late);
	}
	file_unref(op->file);
}

static const struct fs_op_class read_class = {
	.run = read_run, .reply = read_reply, .failed = read_failed, .end = read_end};

void fs_op_read(
	fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct fs_op *op = op_create(req, &read_class, node, NULL);
	if (!op)
		return;
	op->file = file_of(fi);
	op->size = size;
	op->offset = (uint64_t)offset;
	read_begin(op);
	op_start(op);
}
