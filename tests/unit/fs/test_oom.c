/* SPDX-License-Identifier: MIT */
/* Memory that is refused to requests: each is answered once, with ENOMEM or as it should be; nothing stays open or is told to wait for nothing. */
#include "op_world.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "oom.h"

/* What was answered: 0, or -ENOMEM. */
static int outcome(const struct fuse_req *req, size_t size)
{
	assert_int_equal(req->answers, 1);
	if (req->err == ENOMEM)
		return -ENOMEM;
	expect(req, 0, size);
	return 0;
}

/* A file is opened, read in two pieces of which the first has to wait, and closed. */
static int use_file(void)
{
	struct fuse_req open = {0}, first = {0}, second = {0}, release = {0};
	struct fuse_file_info fi = {.flags = O_RDONLY};
	fs_op_open(&open, 6, &fi);
	int r = outcome(&open, 0);
	if (r < 0)
		return r;
	world.result = -EINPROGRESS;
	world.waiting_count = 0;
	fs_op_read(&first, 6, 100, 0, &open.fi);
	if (world.waiting_count > 0) {
		assert_int_equal(first.answers, 0);
		wake(0, 100);
	}
	r = outcome(&first, 100);
	world.result = 42;
	fs_op_read(&second, 6, 100, 100, &open.fi);
	int s = outcome(&second, 42);
	fs_op_release(&release, 6, &open.fi);
	assert_int_equal(release.answers, 1);
	return r < 0 ? r : s;
}

static int try_file(void *arg, unsigned long nth, bool forever)
{
	(void)arg;
	unsigned before = world.closed, opened = world.opened;
	oom_arm(nth, forever);
	int r = use_file();
	oom_disarm();
	assert_int_equal(world.closed - before, world.opened - opened);
	return r;
}

/* A mount that is read-only: what is read was never opened. */
static int try_unopened(void *arg, unsigned long nth, bool forever)
{
	static uint64_t node = 1000;
	struct fuse_req first = {0}, second = {0};
	struct fuse_file_info none = {.flags = O_RDONLY};
	(void)arg;
	world.result = 42;
	node++;
	oom_arm(nth, forever);
	fs_op_read(&first, node, 100, 0, &none);
	int r = outcome(&first, 42);
	fs_op_read(&second, node, 100, 0, &none);
	int s = outcome(&second, 42);
	oom_disarm();
	return r < 0 ? r : s;
}

static void test_files(void **state)
{
	struct fuse_file_info fi = open_file();
	(void)state;
	oom_each("an open file", try_file, NULL);
	world.closed = 0;
	close_file(&fi);
}

static void test_unopened(void **state)
{
	struct fuse_file_info fi = open_file();
	(void)state;
	close_file(&fi);
	files_init(&fs.files, false);
	fs.no_open = true;
	oom_each("a file that nobody has opened", try_unopened, NULL);
	fs.no_open = false;
	files_finish(&fs.files);
	assert_int_equal(world.closed, world.opened);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_unopened),
	};
	return cmocka_run_group_tests_name("fs/oom", tests, NULL, NULL);
}
