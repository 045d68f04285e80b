/* SPDX-License-Identifier: MIT */
/*
 * The requests by which names are made and taken away. Of the herald they are answered as if that
 * had happened just now, so that inotify tells of it; everybody else's are refused. The reasons are
 * in herald.c.
 *
 * What the herald asks is answered at once: the directory is locked meanwhile.
 */
#include <errno.h>

#include "op.h"

static bool announces(fuse_req_t req, fuse_ino_t parent, const char *name, struct herald_event *ret)
{
	return herald_announces(fs_of(req)->herald, fuse_req_ctx(req)->pid, parent, name, ret);
}

/* What is gone, as it was: for this one request, so that it is asked for again by anybody else. */
static void show_former(fuse_req_t req, const struct herald_event *event)
{
	struct fs *fs = fs_of(req);
	struct tree_entry entry;
	int r = tree_former(fs->tree, event->parent, event->name, event->node,
		herald_is_directory(event->kind), &entry);
	if (r < 0) {
		fuse_reply_err(
			req, ENOENT); /* it is there again, for which this would be the end */
		return;
	}
	files_correct(fs, &entry);
	struct fuse_entry_param param = entry_param(&entry);
	param.entry_timeout = param.attr_timeout = 0;
	herald_show(fs->herald);
	fuse_reply_entry(req, &param);
}

bool announce_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct herald_event event;
	if (!announces(req, parent, name, &event))
		return false;
	if (herald_is_gone(event.kind))
		show_former(req, &event);
	else
		fuse_reply_err(req, ENOENT); /* who is to make a name must not find it */
	return true;
}

/* What is there, for the kernel made just now. */
static void make(fuse_req_t req, fuse_ino_t parent, const char *name, enum herald_kind kind)
{
	struct herald_event event;
	if (!announces(req, parent, name, &event) || event.kind != kind) {
		fuse_reply_err(req, EROFS);
		return;
	}
	struct fs_op *op = op_lookup(req, parent, name);
	if (!op)
		return;
	notify_named(&op->fs->notify);
	atomic_store(&op->interrupted, true); /* it never waits */
	op_start(op);
}

void fs_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	(void)mode;
	(void)rdev;
	make(req, parent, name, HERALD_FILE_NEW);
}

void fs_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)mode;
	make(req, parent, name, HERALD_DIRECTORY_NEW);
}

/*
 * Nothing is done. If the kernel did not ask what the name stands for, it has one of its own, which must not be what is there
 * again.
 */
static void take_away(fuse_req_t req, fuse_ino_t parent, const char *name, enum herald_kind kind)
{
	struct fs *fs = fs_of(req);
	struct herald_event event;
	struct tree_entry entry;
	if (!announces(req, parent, name, &event) || event.kind != kind) {
		fuse_reply_err(req, EROFS);
		return;
	}
	notify_named(&fs->notify);
	bool is_gone =
		herald_was_shown(fs->herald) || tree_former(fs->tree, parent, name, event.node,
							herald_is_directory(kind), &entry) == 0;
	fuse_reply_err(req, is_gone ? 0 : ENOENT);
}

void fs_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	take_away(req, parent, name, HERALD_FILE_GONE);
}

void fs_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	take_away(req, parent, name, HERALD_DIRECTORY_GONE);
}
