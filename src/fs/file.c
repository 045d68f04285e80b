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
 *
 * A mount that is read-only answers the first OPEN with ENOSYS: from then on the kernel sends neither OPEN nor RELEASE, which of a small
 * file is most of what reading it costs. Where nothing is opened nothing is settled either, and there is no reading past the page cache: the
 * size that the kernel has is what was announced, or a bound. So all of the above is for each node, not for each open file (files.c);
 * and where a file is longer than the kernel was told, its attributes are made invalid before the read that finds it is answered, so that
 * the reader asks for the rest.
 */
#include <errno.h>
#include <fcntl.h>
#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"

#include "op.h"

static struct fs_file *file_of(const struct fuse_file_info *fi)
{
	return (struct fs_file *)(uintptr_t)fi->fh;
}

/* --- open, release --- */

static int open_run(struct fs_op *op)
{
	struct tree_file *file;
	int r = tree_file_open(op->fs->tree, op->node, &file, &op->call);
	if (r < 0)
		return r;
	op->file = files_add(op->fs, file, op->node);
	if (op->file)
		return 0;
	tree_file_close(file);
	return -ENOMEM;
}

static void open_reply(struct fs_op *op)
{
	bool bound = tree_file_size_is_bound(atomic_load(&op->file->file));
	op->fi.fh = (uintptr_t)op->file;
	op->fi.direct_io = bound;
	op->fi.keep_cache = !bound;
	if (fuse_reply_open(op->req, &op->fi) < 0)
		files_unref(op->file);
}

static const struct fs_op_class open_class = {.run = open_run, .reply = open_reply};

void fs_op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	if ((fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC) {
		fuse_reply_err(req, EROFS);
		return;
	}
	/* From then on it asks no more, and keeps pages. */
	if (fs_of(req)->no_open) {
		fuse_reply_err(req, ENOSYS);
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
	files_unref(file_of(fi));
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
	atomic_fetch_add(&op->fs->files.reading, 1);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&op->file->lock);
	list_push(&op->file->running, &op->order);
}

void file_told(struct fs_file *file, uint64_t size_bytes)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&file->lock);
	const struct list_node *pos;
	for (pos = file->running.next; pos != &file->running; pos = pos->next) {
		struct fs_op *op = container_of(pos, struct fs_op, order);
		op->told_bytes = size_bytes > op->told_bytes ? size_bytes : op->told_bytes;
	}
}

/*
 * Whether the kernel would not believe a short answer, because it was told attributes since it asked: it would fill up with zeros to the
 * size that it was told. It asks again after an error, page by page, without a word to the reader; then it believes.
 */
static bool is_overtaken(struct fs_op *op)
{
	if (op->used == op->size || tree_file_size_is_bound(atomic_load(&op->file->file)))
		return false;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&op->file->lock);
	return op->offset + op->used < op->told_bytes;
}

/*
 * The kernel asks again, page by page, for what it could not read ahead. So that a reader waits for one time-out and not for
 * two, reads fail at once for a moment after one.
 */
#define SILENT_MS 500

/* Where the kernel has not opened it, the first read does; of two that do, one is late. */
static int read_open(struct fs_op *op)
{
	struct tree_file *none = NULL, *file;
	if (atomic_load(&op->file->file))
		return 0;
	int r = tree_file_open_unsettled(op->fs->tree, op->node, &file, &op->call);
	if (r == 0 && !atomic_compare_exchange_strong(&op->file->file, &none, file))
		tree_file_close(file);
	return r;
}

static int read_run(struct fs_op *op)
{
	if (clock_now_ms() < atomic_load(&op->file->silent_until_ms))
		return -ETIMEDOUT;
	if (op_buffer(op) < 0)
		return -ENOMEM;
	int r = read_open(op);
	if (r < 0)
		return r;
	ssize_t n = tree_file_read(
		atomic_load(&op->file->file), op->buf, op->size, op->offset, &op->call);
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
	list_push(&op->file->late, &op->order);
	op->kept = true;
	op_ref(op);
	return true;
}

static void read_reply(struct fs_op *op)
{
	if (read_keep(op))
		return;
	if (is_overtaken(op))
		fuse_reply_err(op->req, EIO);
	else
		fuse_reply_buf(op->req, op->buf, op->used);
}

/* Takes op out, and with it the answers that were kept back for it alone. */
static void read_leave(struct fs_op *op, struct list_node *ret_free)
{
	struct list_node *pos, *tmp;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&op->file->lock);
	list_remove(&op->order);
	list_for_each(pos, tmp, &op->file->late)
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
	atomic_fetch_sub(&op->fs->files.reading, 1);
	if (op->kept)
		return;
	list_init(&free_ones);
	read_leave(op, &free_ones);
	while ((node = list_pop(&free_ones))) {
		struct fs_op *late = container_of(node, struct fs_op, order);
		fuse_reply_buf(late->req, NULL, 0);
		files_unref(late->file);
		op_unref(late);
	}
	bool by_node = op->file->by_node;
	files_unref(op->file);
	if (by_node)
		files_trim(&op->fs->files);
}

static const struct fs_op_class read_class = {
	.run = read_run, .reply = read_reply, .failed = read_failed, .end = read_end};

/* What is read, with a reference for the read. NULL: there is no memory. */
static struct fs_file *read_file(struct fs *fs, uint64_t node, const struct fuse_file_info *fi)
{
	if (fs->no_open)
		return files_get(fs, node);
	struct fs_file *file = file_of(fi);
	atomic_fetch_add(&file->references, 1);
	return file;
}

void fs_op_read(
	fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct fs_op *op = op_create(req, &read_class, node, NULL);
	if (!op)
		return;
	op->file = read_file(op->fs, node, fi);
	if (!op->file) {
		fuse_reply_err(req, ENOMEM);
		op_unref(op);
		return;
	}
	op->size = size;
	op->offset = (uint64_t)offset;
	read_begin(op);
	op_start(op);
}
