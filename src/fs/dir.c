/* SPDX-License-Identifier: MIT */
/*
 * Requests about directories. An answer is as much as is there and fits; only where nothing is
 * there does it wait.
 */
#include <errno.h>
#include <stdlib.h>

#include "mailfs/util/cleanup.h"

#include "op.h"

/* An open directory, as the kernel's handle. */
struct fs_dir {
	struct list_node node; /* in fs->open_dirs */
	struct tree_dir *dir;
};

static struct fs_dir *dir_of(const struct fuse_file_info *fi)
{
	return (struct fs_dir *)(uintptr_t)fi->fh;
}

/* Takes dir. NULL: there is no memory. */
static struct fs_dir *dir_create(struct fs *fs, struct tree_dir *dir)
{
	struct fs_dir *handle = calloc(1, sizeof(*handle));
	if (!handle)
		return NULL;
	handle->dir = dir;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&fs->open_lock);
	list_push(&fs->open_dirs, &handle->node);
	return handle;
}

static void dir_destroy(struct fs *fs, struct fs_dir *handle)
{
	pthread_mutex_lock(&fs->open_lock);
	list_remove(&handle->node);
	pthread_mutex_unlock(&fs->open_lock);
	tree_dir_close(handle->dir);
	free(handle);
}

void dirs_close(struct fs *fs)
{
	while (!list_empty(&fs->open_dirs))
		dir_destroy(fs, container_of(fs->open_dirs.next, struct fs_dir, node));
}

/* --- opendir, releasedir --- */

static int opendir_run(struct fs_op *op)
{
	struct tree_dir *dir;
	int r = tree_dir_open(op->fs->tree, op->node, &dir, &op->call);
	if (r < 0)
		return r;
	op->dir = dir_create(op->fs, dir);
	if (op->dir)
		return 0;
	tree_dir_close(dir);
	return -ENOMEM;
}

static void opendir_reply(struct fs_op *op)
{
	bool unchanged;
	op->fi.fh = (uintptr_t)op->dir;
	op->fi.cache_readdir = tree_dir_cacheable(op->dir->dir, &unchanged);
	op->fi.keep_cache = unchanged;
	if (fuse_reply_open(op->req, &op->fi) < 0)
		dir_destroy(op->fs, op->dir);
}

static const struct fs_op_class opendir_class = {.run = opendir_run, .reply = opendir_reply};

void fs_op_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct fs_op *op = op_create(req, &opendir_class, node, NULL);
	if (!op)
		return;
	op->fi = *fi;
	op_start(op);
}

void fs_op_releasedir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	(void)node;
	dir_destroy(fs_of(req), dir_of(fi));
	fuse_reply_err(req, 0);
}

/* --- readdir, readdirplus --- */

static bool readdir_fill(void *arg, const char *name, const struct tree_entry *entry, uint64_t next)
{
	struct fs_op *op = arg;
	size_t room = op->size - op->used, need;
	if (op->plus) {
		struct fuse_entry_param param = entry_param(entry);
		files_told(op->fs, param.ino, (uint64_t)param.attr.st_size);
		need = fuse_add_direntry_plus(
			op->req, op->buf + op->used, room, name, &param, (off_t)next);
	} else {
		need = fuse_add_direntry(
			op->req, op->buf + op->used, room, name, &entry->attr, (off_t)next);
	}
	if (need > room)
		return false;
	op->used += need;
	return true;
}

static int readdir_run(struct fs_op *op)
{
	int r = op_buffer(op);
	op->used = 0;
	if (r < 0)
		return r;
	return tree_dir_read(op->dir->dir, op->offset, op->plus, readdir_fill, op, &op->call);
}

static void readdir_reply(struct fs_op *op)
{
	fuse_reply_buf(op->req, op->buf, op->used);
}

static const struct fs_op_class readdir_class = {
	.run = readdir_run, .reply = readdir_reply, .lock = OP_LOCK_STAYS};

static void readdir_start(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
	struct fuse_file_info *fi, bool plus)
{
	struct fs_op *op = op_create(req, &readdir_class, node, NULL);
	if (!op)
		return;
	op->dir = dir_of(fi);
	op->size = size;
	op->offset = (uint64_t)offset;
	op->plus = plus;
	op_start(op);
}

void fs_op_readdir(
	fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *fi)
{
	readdir_start(req, node, size, offset, fi, false);
}

void fs_op_readdirplus(
	fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *fi)
{
	readdir_start(req, node, size, offset, fi, true);
}
