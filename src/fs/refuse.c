/* SPDX-License-Identifier: MIT */
/*
 * What would change the mailbox. Each is answered, so that programs are told EROFS and not that the
 * operation does not exist. (Some are in announce.c, because of one who may.)
 */
#include <errno.h>
#include <unistd.h>

#include "private.h"

/* The arguments are those that libfuse dictates. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

static void fs_op_setattr(
	fuse_req_t req, fuse_ino_t node, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	fuse_reply_err(req, EROFS);
}

static void fs_op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EROFS);
}

static void fs_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags)
{
	fuse_reply_err(req, EROFS);
}

static void fs_op_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t new_parent, const char *new_name)
{
	fuse_reply_err(req, EROFS);
}

static void fs_op_create(
	fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	fuse_reply_err(req, EROFS);
}

static void fs_op_write(fuse_req_t req, fuse_ino_t node, const char *data, size_t size,
	off_t offset, struct fuse_file_info *fi)
{
	/* Where files are not opened here, a program can open one to write; what it wrote into the kernel's pages must not stay there. */
	notify_inode(&fs_of(req)->notify, node);
	fuse_reply_err(req, EROFS);
}

static void fs_op_setxattr(fuse_req_t req, fuse_ino_t node, const char *name, const char *value,
	size_t size, int flags)
{
	fuse_reply_err(req, EROFS);
}

static void fs_op_removexattr(fuse_req_t req, fuse_ino_t node, const char *name)
{
	fuse_reply_err(req, EROFS);
}

static void fs_op_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t offset, off_t length,
	struct fuse_file_info *fi)
{
	fuse_reply_err(req, EROFS);
}

static void fs_op_copy_file_range(fuse_req_t req, fuse_ino_t node_in, off_t offset_in,
	struct fuse_file_info *fi_in, fuse_ino_t node_out, off_t offset_out,
	struct fuse_file_info *fi_out, size_t len, int flags)
{
	fuse_reply_err(req, EROFS);
}

/*
 * So that access(2) says beforehand what the change would be told. Whether it may be read is told
 * where it is opened. The kernel asks for each access(2) and chdir(2), but where it checks
 * permissions itself.
 */
static void fs_op_access(fuse_req_t req, fuse_ino_t node, int mask)
{
	struct tree_entry entry;
	int r = mask & W_OK ? -EROFS : 0;
	if (r == 0)
		r = tree_attributes(fs_of(req)->tree, node, &entry);
	if (r == 0 && mask & X_OK && !S_ISDIR(entry.attr.st_mode))
		r = -EACCES;
	fuse_reply_err(req, -r);
}

void refuse_changes(struct fuse_lowlevel_ops *ops)
{
	ops->setattr = fs_op_setattr;
	ops->access = fs_op_access;
	ops->symlink = fs_op_symlink;
	ops->rename = fs_op_rename;
	ops->link = fs_op_link;
	ops->create = fs_op_create;
	ops->write = fs_op_write;
	ops->setxattr = fs_op_setxattr;
	ops->removexattr = fs_op_removexattr;
	ops->fallocate = fs_op_fallocate;
	ops->copy_file_range = fs_op_copy_file_range;
}
