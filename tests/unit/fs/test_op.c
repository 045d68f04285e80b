/* SPDX-License-Identifier: MIT */
/*
 * Who answers a request: each is answered once, whatever comes first of the waking, an interrupt and
 * the end of the call that made it wait; and empty reads do not overtake.
 */
#include "op_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void test_at_once(void **state)
{
	struct fuse_file_info fi = open_file();
	struct fuse_req req = {0};
	(void)state;
	world.result = 7;
	fs_op_read(&req, 5, 100, 0, &fi);
	expect(&req, 0, 7);
	assert_int_equal(world.finished, 1);
	assert_null(req.func);
	close_file(&fi);
}

static void test_woken(void **state)
{
	struct fuse_file_info fi = open_file();
	struct fuse_req req = {0}, failed = {0};
	(void)state;
	fs_op_read(&req, 5, 100, 0, &fi);
	assert_int_equal(req.answers, 0);
	wake(0, 42);
	expect(&req, 0, 42);
	interrupt(&req); /* too late */
	expect(&req, 0, 42);
	fs_op_read(&failed, 5, 100, 0, &fi);
	wake(1, -ETIMEDOUT);
	expect(&failed, ETIMEDOUT, 0);
	assert_int_equal(world.finished, 2);
	close_file(&fi);
}

static void test_interrupted_while_it_waits(void **state)
{
	struct fuse_file_info fi = open_file();
	struct fuse_req req = {0};
	(void)state;
	fs_op_read(&req, 5, 100, 0, &fi);
	interrupt(&req);
	expect(&req, EINTR, 0);
	assert_null(world.waiting[0]);
	assert_int_equal(world.finished, 1);
	close_file(&fi);
}

static void test_interrupted_before_it_waits(void **state)
{
	struct fuse_file_info fi = open_file();
	struct fuse_req early = {.interrupted = true}, middle = {0}, late = {0};
	(void)state;
	fs_op_read(&early, 5, 100, 0, &fi); /* before it was even begun */
	expect(&early, EINTR, 0);
	world.interrupt_before = &middle;
	fs_op_read(&middle, 5, 100, 0, &fi);
	expect(&middle, EINTR, 0);
	world.interrupt_before = NULL;
	world.interrupt_after = &late; /* while the call that registered the waiter still runs */
	fs_op_read(&late, 5, 100, 0, &fi);
	expect(&late, EINTR, 0);
	assert_int_equal(world.finished, 3);
	close_file(&fi);
}

static void test_interrupted_but_answered_at_once(void **state)
{
	struct fuse_file_info fi = open_file();
	struct fuse_req req = {.interrupted = true};
	(void)state;
	world.result = 7;
	fs_op_read(&req, 5, 100, 0, &fi);
	expect(&req, 0, 7);
	close_file(&fi);
}

static void test_interrupted_when_it_was_taken_to_be_woken(void **state)
{
	struct fuse_file_info fi = open_file();
	struct fuse_req req = {0}, again = {0};
	(void)state;
	fs_op_read(&req, 5, 100, 0, &fi);
	struct sync_waiter *waiter = world.waiting[0];
	world.waiting[0] = NULL; /* sync has taken it, and is about to wake it */
	interrupt(&req);
	assert_int_equal(req.answers, 0);
	waiter->wake(waiter, 5);
	expect(&req, 0, 5);

	/* the same, and then it would have to wait once more */
	fs_op_read(&again, 5, 100, 0, &fi);
	waiter = world.waiting[1];
	world.waiting[1] = NULL;
	interrupt(&again);
	world.result = -EAGAIN;
	waiter->wake(waiter, 5);
	expect(&again, EINTR, 0);
	assert_null(world.waiting[2]);
	close_file(&fi);
}

static void test_waits_twice(void **state)
{
	struct fuse_file_info fi = open_file();
	struct fuse_req req = {0};
	(void)state;
	fs_op_read(&req, 5, 100, 0, &fi);
	world.result = -EAGAIN;
	wake(0, 0);
	assert_int_equal(req.answers, 0);
	world.result = -EINPROGRESS;
	wake(1, 9);
	expect(&req, 0, 9);
	assert_int_equal(world.finished, 1);
	close_file(&fi);
}

static void test_empty_reads_do_not_overtake(void **state)
{
	struct fuse_file_info fi = open_file();
	struct fuse_req first = {0}, second = {0}, third = {0};
	(void)state;
	fs_op_read(&first, 5, 100, 0, &fi);
	fs_op_read(&second, 5, 100, 100, &fi);
	fs_op_read(&third, 5, 100, 200, &fi);
	wake(2, 0);
	assert_int_equal(third.answers, 0);
	wake(1, 0);
	assert_int_equal(second.answers, 0);
	wake(0, 30);
	expect(&first, 0, 30);
	expect(&second, 0, 0);
	expect(&third, 0, 0);
	assert_int_equal(first.order, 1);
	close_file(&fi);
}

static void test_reads_with_bytes_do(void **state)
{
	struct fuse_file_info fi = open_file();
	struct fuse_req first = {0}, second = {0}, before = {0};
	(void)state;
	fs_op_read(&first, 5, 100, 100, &fi);
	fs_op_read(&second, 5, 100, 200, &fi);
	wake(1, 1);
	expect(&second, 0, 1);
	world.result = 0;
	fs_op_read(&before, 5, 100, 0, &fi); /* empty, but nothing runs before it */
	expect(&before, 0, 0);
	world.result = -EINPROGRESS;
	wake(0, -EIO);
	expect(&first, EIO, 0);
	close_file(&fi);
}

static void test_an_empty_read_is_let_go_by_an_interrupt(void **state)
{
	struct fuse_file_info fi = open_file();
	struct fuse_req first = {0}, second = {0};
	(void)state;
	fs_op_read(&first, 5, 100, 0, &fi);
	fs_op_read(&second, 5, 100, 100, &fi);
	wake(1, 0);
	interrupt(&second); /* its answer is on its way */
	assert_int_equal(second.answers, 0);
	interrupt(&first);
	expect(&first, EINTR, 0);
	expect(&second, 0, 0);
	assert_int_equal(world.finished, 2);
	close_file(&fi);
}

static void test_open_for_writing(void **state)
{
	static const int flags[] = {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC};
	struct fuse_file_info fi = open_file();
	(void)state;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		struct fuse_req req = {0};
		struct fuse_file_info wanted = {.flags = flags[i]};
		fs_op_open(&req, 5, &wanted);
		expect(&req, EROFS, 0);
	}
	close_file(&fi);
}

static void test_an_open_that_nobody_wants_any_more(void **state)
{
	struct fuse_file_info fi = open_file(), wanted = {.flags = O_RDONLY};
	struct fuse_req req = {0};
	(void)state;
	open_result = -ENOENT;
	fs_op_open(&req, 5, &wanted);
	assert_int_equal(world.closed, 1);
	world.closed = 0;
	close_file(&fi);
}

/* Of a message that is gone and open: what it was. */
static void test_attributes_of_what_is_open(void **state)
{
	struct fuse_file_info fi = open_file();
	struct tree_entry entry = {.node = 5};
	(void)state;
	assert_true(files_attributes(&fs, 5, &entry));
	assert_int_equal(entry.attr.st_size, 123);
	assert_false(files_attributes(&fs, 6, &entry));
	entry = (struct tree_entry){.node = 6};
	files_correct(&fs, &entry);
	assert_int_equal(entry.attr.st_size, 0);
	entry.node = 5;
	files_correct(&fs, &entry);
	assert_int_equal(entry.attr.st_size, 123);
	assert_int_equal(entry.node, 5);
	close_file(&fi);
}

static void test_what_is_open_at_the_end_is_closed(void **state)
{
	(void)state;
	open_file();
	files_finish(&fs.files);
	assert_int_equal(world.closed, 1);
	pthread_mutex_destroy(&fs.open_lock);
}

/* --- Without being opened --- */

static struct fuse_file_info begin_by_node(void)
{
	struct fuse_file_info fi = open_file();
	close_file(&fi);
	memset(&world, 0, sizeof(world));
	world.result = -EINPROGRESS;
	files_init(&fs.files, false);
	fs.no_open = true;
	answers = 0;
	return (struct fuse_file_info){.flags = O_RDONLY};
}

static void end_by_node(unsigned closed)
{
	files_finish(&fs.files);
	assert_int_equal(world.closed, closed);
	fs.no_open = false;
}

/* The first read opens, and the next ones find it. */
static void test_reads_by_node_share(void **state)
{
	struct fuse_file_info fi = begin_by_node();
	struct fuse_req req[4] = {{0}}, open = {0};
	(void)state;
	fs_op_open(&open, 5, &fi);
	expect(&open, ENOSYS, 0);
	fs_op_read(&req[0], 5, 100, 0, &fi);
	fs_op_read(&req[1], 5, 100, 100, &fi);
	fs_op_read(&req[2], 6, 100, 0, &fi);
	assert_int_equal(world.unsettled, 2);
	wake(0, 100);
	wake(1, 7);
	wake(2, 1);
	world.result = 3;
	fs_op_read(&req[3], 5, 100, 0, &fi);
	assert_int_equal(world.unsettled, 2);
	expect(&req[0], 0, 100);
	expect(&req[3], 0, 3);
	end_by_node(2);
}

/* As of one open file: an empty answer waits for that which tells the end, also in another program's read. */
static void test_empty_reads_by_node_do_not_overtake(void **state)
{
	struct fuse_file_info fi = begin_by_node();
	struct fuse_req first = {0}, second = {0}, other = {0};
	(void)state;
	fs_op_read(&first, 5, 100, 0, &fi);
	fs_op_read(&second, 5, 100, 100, &fi);
	fs_op_read(&other, 6, 100, 100, &fi);
	wake(2, 0);
	expect(&other, 0, 0);
	wake(1, 0);
	assert_int_equal(second.answers, 0);
	files_drop(&fs, 6);
	wake(0, 30);
	expect(&second, 0, 0);
	assert_true(first.order < second.order);
	end_by_node(2);
}

static void test_what_can_not_be_opened(void **state)
{
	struct fuse_file_info fi = begin_by_node();
	struct fuse_req gone = {0}, back = {0};
	struct tree_entry entry;
	(void)state;
	world.open_err = -ENOENT;
	fs_op_read(&gone, 5, 100, 0, &fi);
	expect(&gone, ENOENT, 0);
	assert_false(files_attributes(&fs, 5, &entry));
	world.open_err = 0;
	world.result = 3;
	fs_op_read(&back, 5, 100, 0, &fi);
	expect(&back, 0, 3);
	end_by_node(1);
}

static void test_what_is_dropped_is_opened_anew(void **state)
{
	struct fuse_file_info fi = begin_by_node();
	struct fuse_req first = {0}, second = {0};
	(void)state;
	fs_op_read(&first, 5, 100, 0, &fi);
	files_drop(&fs, 5);
	files_drop(&fs, 5);
	assert_int_equal(world.closed, 0); /* it is being read */
	fs_op_read(&second, 5, 100, 0, &fi);
	assert_int_equal(world.unsettled, 2);
	wake(0, 1);
	assert_int_equal(world.closed, 1);
	wake(1, 1);
	end_by_node(2);
}

static void test_only_so_many_are_kept(void **state)
{
	struct fuse_file_info fi = begin_by_node();
	struct fuse_req busy = {0};
	(void)state;
	fs_op_read(&busy, 5, 100, 0, &fi);
	world.result = 1;
	for (unsigned i = 0; i < 3 * FILES_KEPT_MAX; i++) {
		struct fuse_req req = {0};
		fs_op_read(&req, 1000 + i, 100, 0, &fi);
		expect(&req, 0, 1);
		assert_true(fs.files.kept_count <= FILES_KEPT_MAX);
	}
	assert_int_equal(world.closed, 2 * FILES_KEPT_MAX + 1);
	wake(0, 1); /* the oldest, and still there */
	expect(&busy, 0, 1);
	end_by_node(3 * FILES_KEPT_MAX + 1);
}

static void test_what_is_idle_is_closed(void **state)
{
	struct fuse_file_info fi = begin_by_node();
	struct fuse_req old = {0}, busy = {0}, fresh = {0};
	struct list_node *pos;
	(void)state;
	fs_op_read(&busy, 6, 100, 0, &fi);
	world.result = 1;
	fs_op_read(&old, 5, 100, 0, &fi);
	for (pos = fs.files.kept.next; pos != &fs.files.kept; pos = pos->next)
		container_of(pos, struct fs_file, kept)->used_ms -= FILES_IDLE_MS;
	fs_op_read(&fresh, 1000, 100, 0, &fi);
	assert_int_equal(world.closed, 1);
	assert_int_equal(fs.files.kept_count, 2);
	wake(0, 1);
	assert_int_equal(world.closed, 2);
	end_by_node(3);
}

/* The kernel was told the size again after it asked, and would not believe the short answer. */
static void test_a_short_answer_that_was_overtaken(void **state)
{
	struct fuse_file_info fi = begin_by_node();
	struct fuse_req req[4] = {{0}};
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		fs_op_read(&req[i], 5, 100, 100 * i, &fi);
	files_told(&fs, 6, 1000);
	files_told(&fs, 5, 210);
	files_told(&fs, 5, 20);
	wake(0, 100); /* not short */
	expect(&req[0], 0, 100);
	wake(1, 7);
	expect(&req[1], EIO, 0);
	wake(2, 10); /* its end is what was told */
	expect(&req[2], 0, 10);
	fs_op_read(&req[3], 5, 100, 100, &fi);
	wake(3, 7);
	expect(&req[3], 0, 7);
	assert_int_equal(atomic_load(&fs.files.reading), 0);
	end_by_node(1);
}

static void test_the_closer(void **state)
{
	struct fuse_file_info fi = begin_by_node();
	struct fuse_req req = {0};
	(void)state;
	files_finish(&fs.files);
	assert_int_equal(files_init(&fs.files, true), 0);
	world.result = 1;
	fs_op_read(&req, 5, 100, 0, &fi);
	pthread_mutex_lock(&fs.files.lock);
	container_of(fs.files.kept.next, struct fs_file, kept)->used_ms -= FILES_IDLE_MS;
	pthread_mutex_unlock(&fs.files.lock);
	for (int i = 0; i < 500; i++) {
		pthread_mutex_lock(&fs.files.lock);
		bool closed = fs.files.kept_count == 0;
		pthread_mutex_unlock(&fs.files.lock);
		if (closed)
			break;
		usleep(10000);
	}
	end_by_node(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_by_node_share),
		cmocka_unit_test(test_empty_reads_by_node_do_not_overtake),
		cmocka_unit_test(test_what_can_not_be_opened),
		cmocka_unit_test(test_what_is_dropped_is_opened_anew),
		cmocka_unit_test(test_only_so_many_are_kept),
		cmocka_unit_test(test_what_is_idle_is_closed),
		cmocka_unit_test(test_a_short_answer_that_was_overtaken),
		cmocka_unit_test(test_the_closer),
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_woken),
		cmocka_unit_test(test_interrupted_while_it_waits),
		cmocka_unit_test(test_interrupted_before_it_waits),
		cmocka_unit_test(test_interrupted_but_answered_at_once),
		cmocka_unit_test(test_interrupted_when_it_was_taken_to_be_woken),
		cmocka_unit_test(test_waits_twice),
		cmocka_unit_test(test_empty_reads_do_not_overtake),
		cmocka_unit_test(test_reads_with_bytes_do),
		cmocka_unit_test(test_an_empty_read_is_let_go_by_an_interrupt),
		cmocka_unit_test(test_open_for_writing),
		cmocka_unit_test(test_an_open_that_nobody_wants_any_more),
		cmocka_unit_test(test_attributes_of_what_is_open),
		cmocka_unit_test(test_what_is_open_at_the_end_is_closed),
	};
	return cmocka_run_group_tests_name("fs/op", tests, NULL, NULL);
}
