/* SPDX-License-Identifier: MIT */
/*
 * Requests about names and attributes. Only a lookup and an extended attribute may have to wait,
 * for a listing.
 */
#include <errno.h>
#include <string.h>

#include "op.h"

struct fuse_entry_param entry_param(const struct tree_entry *entry)
{
	return (struct fuse_entry_param){
		.ino = entry->node,
		.generation = entry->generation,
		.attr = entry->attr,
		.attr_timeout = attr_timeout(entry),
		.entry_timeout = KEEP_SECONDS,
	};
}

static int lookup_run(struct fs_op *op)
{
	return tree_lookup(op->fs->tree, op->node, op->name, &op->entry, &op->call);
}

static void lookup_reply(struct fs_op *op)
{
	struct fuse_entry_param entry = entry_param(&op->entry);
	files_told(op->fs, entry.ino, (uint64_t)entry.attr.st_size);
	if (fuse_reply_entry(op->req, &entry) < 0)
		tree_forget(op->fs->tree, op->entry.node, 1);
}

static const struct fs_op_class lookup_class = {
	.run = lookup_run, .reply = lookup_reply, .lock = OP_LOCK_LETS_GO};

struct fs_op *op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	return op_create(req, &lookup_class, parent, name);
}

void fs_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (announce_lookup(req, parent, name))
		return;
	struct fs_op *op = op_lookup(req, parent, name);
	if (op)
		op_start(op);
}

/* The number of what lies inside a message may be another's after that. */
static void forget(struct fs *fs, uint64_t node, uint64_t count)
{
	if (fs->no_open && node & TREE_NODE_VIEW)
		files_drop(fs, node);
	tree_forget(fs->tree, node, count);
}

void fs_op_forget(fuse_req_t req, fuse_ino_t node, uint64_t count)
{
	forget(fs_of(req), node, count);
	fuse_reply_none(req);
}

void fs_op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget(fs_of(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

void fs_op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct tree_entry entry;
	(void)fi;
	int r = tree_attributes(fs_of(req)->tree, node, &entry);
	/* A message that is gone: who has it open reads on, and the kernel asks where it ends. */
	if (r == -ENOENT && files_attributes(fs_of(req), node, &entry))
		r = 0;
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	files_told(fs_of(req), node, (uint64_t)entry.attr.st_size);
	fuse_reply_attr(req, &entry.attr, attr_timeout(&entry));
}

void fs_op_statfs(fuse_req_t req, fuse_ino_t node)
{
	struct statvfs figures;
	(void)node;
	tree_statfs(fs_of(req)->tree, &figures);
	fuse_reply_statfs(req, &figures);
}

/* As xattr(7) has it: size 0 asks for the length alone. */
static void xattr_reply(struct fs_op *op)
{
	if (op->size == 0)
		fuse_reply_xattr(op->req, op->out.len);
	else if (op->out.len > op->size)
		fuse_reply_err(op->req, ERANGE);
	else
		fuse_reply_buf(op->req, str_cstr(&op->out), op->out.len);
}

static int getxattr_run(struct fs_op *op)
{
	str_reset(&op->out);
	return tree_xattr_get(op->fs->tree, op->node, op->name, &op->out, &op->call);
}

static const struct fs_op_class getxattr_class = {.run = getxattr_run, .reply = xattr_reply};

/*
 * Ours are of the kind "user." alone. Of the others it is said that the file system does not know them, not that the file has none:
 * ls -l, which asks each file for two of them, then asks the first file only.
 */
void fs_op_getxattr(fuse_req_t req, fuse_ino_t node, const char *name, size_t size)
{
	if (strncmp(name, "user.", 5) != 0) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	struct fs_op *op = op_create(req, &getxattr_class, node, name);
	if (!op)
		return;
	op->size = size;
	op_start(op);
}

static int listxattr_run(struct fs_op *op)
{
	return tree_xattr_list(op->fs->tree, op->node, &op->out);
}

static const struct fs_op_class listxattr_class = {.run = listxattr_run, .reply = xattr_reply};

void fs_op_listxattr(fuse_req_t req, fuse_ino_t node, size_t size)
{
	struct fs_op *op = op_create(req, &listxattr_class, node, NULL);
	if (!op)
		return;
	op->size = size;
	op_start(op);
}
