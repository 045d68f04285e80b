/* SPDX-License-Identifier: MIT */
/*
 * What the herald is answered when it makes a name or takes one away, and that nobody else is
 * answered so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "op.h"

/* --- libfuse --- */

struct fuse_req {
	int err; /* -1: not answered; 0: with entry, if it has a node */
	struct fuse_entry_param entry;
};

static struct fs fs;
static struct fuse_ctx ctx;

void *fuse_req_userdata(fuse_req_t req)
{
	(void)req;
	return &fs;
}

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
	(void)req;
	return &ctx;
}

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
	(void)req;
	(void)func;
	(void)data;
}

int fuse_reply_err(fuse_req_t req, int err)
{
	assert_int_equal(req->err, -1);
	req->err = err;
	return 0;
}

int fuse_reply_entry(fuse_req_t req, const struct fuse_entry_param *entry)
{
	assert_int_equal(req->err, -1);
	req->err = 0;
	req->entry = *entry;
	return 0;
}

/* --- The tree, sync and the notifier --- */

#define PARENT 3
#define NODE   7

static struct {
	bool there; /* the name, at the moment */
	int former; /* what tree_former() says */
	bool waits; /* a lookup would have to */
	bool waiting;
	unsigned named;
} world;

static struct tree_entry entry_of(bool directory)
{
	return (struct tree_entry){.node = NODE,
		.generation = 4,
		.attr = {.st_mode = directory ? S_IFDIR : S_IFREG, .st_size = 11}};
}

int tree_former(struct tree *tree, uint64_t parent, const char *name, uint64_t node, bool directory,
	struct tree_entry *ret)
{
	(void)tree;
	assert_int_equal(parent, PARENT);
	assert_string_equal(name, "name");
	assert_int_equal(node, NODE);
	*ret = entry_of(directory);
	return world.former;
}

int tree_lookup(struct tree *tree, uint64_t parent, const char *name, struct tree_entry *ret,
	struct tree_call *call)
{
	(void)tree;
	(void)parent;
	(void)name;
	(void)call;
	if (world.waits) {
		world.waiting = true;
		return -EINPROGRESS;
	}
	*ret = entry_of(true);
	return world.there ? 0 : -ENOENT;
}

bool sync_waiter_cancel(struct sync_account *account, struct sync_waiter *waiter)
{
	(void)account;
	(void)waiter;
	bool was = world.waiting;
	world.waiting = false;
	return was;
}

void tree_call_init(
	struct tree_call *call, void (*wake)(struct sync_waiter *, ssize_t), int64_t deadline_ms)
{
	*call = (struct tree_call){.waiter = {.wake = wake, .deadline_ms = deadline_ms}};
}

void tree_call_finish(struct tree_call *call)
{
	(void)call;
}

void tree_forget(struct tree *tree, uint64_t node, uint64_t count)
{
	(void)tree;
	(void)node;
	(void)count;
}

bool notify_hold(struct notify *notify, uint64_t directory, int change)
{
	(void)notify;
	(void)directory;
	(void)change;
	return true;
}

void notify_named(struct notify *notify)
{
	(void)notify;
	world.named++;
}

/* --- Never reached --- */

#define NEVER(type, name, ...)                                                                     \
	type name(__VA_ARGS__)                                                                     \
	{                                                                                          \
		fail();                                                                            \
		return (type)0;                                                                    \
	}
#pragma GCC diagnostic ignored "-Wunused-parameter"
NEVER(int, tree_attributes, struct tree *t, uint64_t n, struct tree_entry *r)
NEVER(int, tree_xattr_get, struct tree *t, uint64_t n, const char *a, struct str *o,
	struct tree_call *c)
NEVER(int, tree_xattr_list, struct tree *t, uint64_t n, struct str *o)
NEVER(int, tree_directory_path, struct tree *t, uint64_t n, struct str *o)
NEVER(int, tree_file_open, struct tree *t, uint64_t n, struct tree_file **r, struct tree_call *c)
NEVER(int, tree_file_open_unsettled, struct tree *t, uint64_t n, struct tree_file **r,
	struct tree_call *c)
NEVER(bool, tree_file_size_is_bound, const struct tree_file *f)
NEVER(ssize_t, tree_file_read, struct tree_file *f, void *b, size_t l, uint64_t o,
	struct tree_call *c)
NEVER(int, fuse_reply_attr, fuse_req_t q, const struct stat *a, double t)
NEVER(int, fuse_reply_buf, fuse_req_t q, const char *b, size_t s)
NEVER(int, fuse_reply_open, fuse_req_t q, const struct fuse_file_info *f)
NEVER(int, fuse_reply_statfs, fuse_req_t q, const struct statvfs *s)
NEVER(int, fuse_reply_xattr, fuse_req_t q, size_t s)
void tree_statfs(struct tree *t, struct statvfs *r)
{
	fail();
}
void tree_call_woken(struct tree_call *c, ssize_t r)
{
	fail();
}
void tree_file_close(struct tree_file *f)
{
	fail();
}
void tree_file_attributes(struct tree *t, struct tree_file *f, struct tree_entry *r)
{
	fail();
}
void fuse_reply_none(fuse_req_t q)
{
	fail();
}

/* --- The tests --- */

#define HERALD 4711

static struct fs_herald herald;

/* The herald was asked to announce that; it asks. */
static void begin(enum herald_kind kind)
{
	memset(&world, 0, sizeof(world));
	memset(&herald, 0, sizeof(herald));
	herald.pid = HERALD;
	pthread_mutex_init(&herald.lock, NULL);
	herald.announcing = true;
	herald.kind = kind;
	herald.parent = PARENT;
	herald.node = NODE;
	strcpy(herald.name, "name");
	fs.herald = &herald;
	files_init(&fs.files, false);
	ctx.pid = HERALD;
}

enum request { LOOKUP, MKNOD, MKDIR, UNLINK, RMDIR };

static struct fuse_req ask(enum request what)
{
	struct fuse_req req = {.err = -1};
	if (what == LOOKUP)
		fs_op_lookup(&req, PARENT, "name");
	else if (what == MKNOD)
		fs_op_mknod(&req, PARENT, "name", 0, 0);
	else if (what == MKDIR)
		fs_op_mkdir(&req, PARENT, "name", 0);
	else if (what == UNLINK)
		fs_op_unlink(&req, PARENT, "name");
	else
		fs_op_rmdir(&req, PARENT, "name");
	assert_int_not_equal(req.err, -1);
	return req;
}

static const enum request requests[] = {
	[HERALD_FILE_NEW] = MKNOD,
	[HERALD_FILE_GONE] = UNLINK,
	[HERALD_DIRECTORY_NEW] = MKDIR,
	[HERALD_DIRECTORY_GONE] = RMDIR,
};

static void test_new(void **state)
{
	static const enum herald_kind kinds[] = {HERALD_FILE_NEW, HERALD_DIRECTORY_NEW};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		begin(kinds[i]);
		world.there = true;
		assert_int_equal(ask(LOOKUP).err, ENOENT); /* else nothing could be made */
		struct fuse_req req = ask(requests[kinds[i]]);
		assert_int_equal(req.err, 0);
		assert_int_equal(req.entry.ino, NODE);
		assert_int_equal(req.entry.generation, 4);
		assert_int_equal(world.named, 1);
		world.there = false; /* it is gone already */
		assert_int_equal(ask(requests[kinds[i]]).err, ENOENT);
		world.waits = true; /* that it must not, with the directory locked */
		assert_int_equal(ask(requests[kinds[i]]).err, EINTR);
		assert_false(world.waiting);
	}
}

static void test_gone(void **state)
{
	static const enum herald_kind kinds[] = {HERALD_FILE_GONE, HERALD_DIRECTORY_GONE};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		begin(kinds[i]);
		struct fuse_req req = ask(LOOKUP);
		assert_int_equal(req.err, 0);
		assert_int_equal(req.entry.ino, NODE);
		assert_int_equal(req.entry.generation, 4);
		assert_int_equal(req.entry.attr.st_size, 11);
		/* for this moment only */
		assert_true(req.entry.entry_timeout == 0 && req.entry.attr_timeout == 0);
		/* what it holds now is the former one, whatever has come back since */
		world.former = -EEXIST;
		assert_int_equal(ask(requests[kinds[i]]).err, 0);
		assert_int_equal(world.named, 1);
	}
}

static void test_it_is_there_again(void **state)
{
	(void)state;
	begin(HERALD_DIRECTORY_GONE);
	world.former = -EEXIST;
	world.there = true;
	assert_int_equal(ask(LOOKUP).err, ENOENT);
	/* the kernel knows the one that is there, and did not ask */
	assert_int_equal(ask(RMDIR).err, ENOENT);
	world.former = 0; /* it knows the one that was there */
	assert_int_equal(ask(RMDIR).err, 0);
}

static void test_others(void **state)
{
	(void)state;
	for (enum herald_kind kind = HERALD_FILE_NEW; kind <= HERALD_DIRECTORY_GONE; kind++) {
		begin(kind);
		ctx.pid = HERALD + 1;
		assert_int_equal(ask(LOOKUP).err, ENOENT);
		world.there = true;
		assert_int_equal(ask(LOOKUP).entry.ino, NODE);
		for (enum request what = MKNOD; what <= RMDIR; what++)
			assert_int_equal(ask(what).err, EROFS);
		/* nor may the herald what it was not asked to do */
		ctx.pid = HERALD;
		for (enum request what = MKNOD; what <= RMDIR; what++)
			if (what != requests[kind])
				assert_int_equal(ask(what).err, EROFS);
		herald.announcing = false;
		for (enum request what = MKNOD; what <= RMDIR; what++)
			assert_int_equal(ask(what).err, EROFS);
		assert_int_equal(ask(LOOKUP).entry.ino, NODE);
		fs.herald = NULL;
		for (enum request what = MKNOD; what <= RMDIR; what++)
			assert_int_equal(ask(what).err, EROFS);
		assert_int_equal(world.named, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_it_is_there_again),
		cmocka_unit_test(test_others),
	};
	return cmocka_run_group_tests_name("fs/announce", tests, NULL, NULL);
}
