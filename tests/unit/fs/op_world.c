/* SPDX-License-Identifier: MIT */
/* See op_world.h. */
#include "op_world.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* --- libfuse --- */

struct fs fs;
unsigned answers;

void *fuse_req_userdata(fuse_req_t req)
{
	(void)req;
	return &fs;
}

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
	assert_false(req->answering);
	req->func = func;
	req->data = data;
	if (req->interrupted && func)
		func(req, data);
}

static int answered(fuse_req_t req, int err, size_t size)
{
	req->answers++;
	req->err = err;
	req->size = size;
	req->order = ++answers;
	return 0;
}

int fuse_reply_err(fuse_req_t req, int err)
{
	return answered(req, err, 0);
}

int fuse_reply_buf(fuse_req_t req, const char *buf, size_t size)
{
	(void)buf;
	return answered(req, 0, size);
}

int open_result;

int fuse_reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
	req->fi = *fi;
	answered(req, 0, 0);
	return open_result;
}

void interrupt(struct fuse_req *req)
{
	req->interrupted = true;
	if (!req->func || req->answers)
		return;
	req->answering = true;
	req->func(req, req->data);
	req->answering = false;
}

/* --- sync and the tree --- */

struct world world;

bool sync_waiter_cancel(struct sync_account *account, struct sync_waiter *waiter)
{
	(void)account;
	for (size_t i = 0; i < world.waiting_count; i++) {
		if (world.waiting[i] != waiter)
			continue;
		world.waiting[i] = NULL;
		return true;
	}
	return false;
}

bool notify_hold(struct notify *n, uint64_t directory, int change)
{
	(void)n;
	(void)directory;
	(void)change;
	return true;
}

void tree_file_attributes(struct tree *tree, struct tree_file *file, struct tree_entry *ret)
{
	(void)tree;
	assert_ptr_equal(file, &world.file);
	*ret = (struct tree_entry){.attr.st_size = 123};
}

/* What the herald asks, and there is none here. */
int tree_directory_path(struct tree *tree, uint64_t node, struct str *out)
{
	(void)tree;
	(void)node;
	(void)out;
	return -ENOENT;
}

void tree_call_init(
	struct tree_call *call, void (*woken)(struct sync_waiter *, ssize_t), int64_t deadline_ms)
{
	*call = (struct tree_call){.waiter = {.wake = woken, .deadline_ms = deadline_ms}};
}

void tree_call_woken(struct tree_call *call, ssize_t result)
{
	call->result = result;
	call->waited = 1;
}

void tree_call_finish(struct tree_call *call)
{
	(void)call;
	world.finished++;
}

int tree_file_open(struct tree *tree, uint64_t node, struct tree_file **ret, struct tree_call *call)
{
	(void)tree;
	(void)node;
	(void)call;
	*ret = &world.file;
	world.opened++;
	return 0;
}

int tree_file_open_unsettled(
	struct tree *tree, uint64_t node, struct tree_file **ret, struct tree_call *call)
{
	assert_true(node == 5 || node == 6 || node >= 1000);
	world.unsettled++;
	return world.open_err ? world.open_err : tree_file_open(tree, node, ret, call);
}

void tree_file_close(struct tree_file *file)
{
	if (!file)
		return;
	assert_ptr_equal(file, &world.file);
	world.closed++;
}

bool tree_file_size_is_bound(const struct tree_file *file)
{
	(void)file;
	return false;
}

ssize_t tree_file_read(
	struct tree_file *file, void *buf, size_t len, uint64_t offset, struct tree_call *call)
{
	(void)file;
	(void)buf;
	(void)len;
	(void)offset;
	if (call->waited && world.result != -EAGAIN)
		return call->result;
	if (world.result >= 0)
		return world.result;
	if (world.interrupt_before)
		interrupt(world.interrupt_before);
	world.waiting[world.waiting_count++] = &call->waiter;
	if (world.interrupt_after)
		interrupt(world.interrupt_after);
	return -EINPROGRESS;
}

void wake(size_t which, ssize_t result)
{
	struct sync_waiter *waiter = world.waiting[which];
	assert_non_null(waiter);
	world.waiting[which] = NULL;
	waiter->wake(waiter, result);
}

struct fuse_file_info open_file(void)
{
	struct fuse_req req = {0};
	struct fuse_file_info fi = {.flags = O_RDONLY};
	memset(&world, 0, sizeof(world));
	world.result = -EINPROGRESS;
	answers = 0;
	open_result = 0;
	pthread_mutex_init(&fs.open_lock, NULL);
	files_init(&fs.files, false);
	list_init(&fs.open_dirs);
	fs.timeout_ms = 1000;
	fs_op_open(&req, 5, &fi);
	assert_int_equal(req.answers, 1);
	assert_true(req.fi.keep_cache);
	assert_false(req.fi.direct_io);
	world.finished = 0;
	answers = 0;
	return req.fi;
}

void close_file(struct fuse_file_info *fi)
{
	struct fuse_req req = {0};
	fs_op_release(&req, 5, fi);
	assert_int_equal(req.answers, 1);
	assert_int_equal(world.closed, 1);
	struct tree_entry entry;
	assert_false(files_attributes(&fs, 5, &entry));
	files_finish(&fs.files);
	pthread_mutex_destroy(&fs.open_lock);
}

void expect(const struct fuse_req *req, int err, size_t size)
{
	assert_int_equal(req->answers, 1);
	assert_int_equal(req->err, err);
	assert_int_equal(req->size, size);
}
