/* SPDX-License-Identifier: MIT */
/* Opening and reading: which sizes are settled before a file is open, and how a read waits. */
#include <errno.h>

#include "fake.h"
#include "mailfs/util/clock.h"

/* Of message 1, which is too large to be settled at open. */
#define END 201001

static struct sync_folder *box;

static void begin(void)
{
	fake_reset();
	box = fake_folder("Box", '/', 0);
	assert_int_equal(fake_tree(NULL), 0);
	fake_listed(box, 5, 1);
	fake.events.size(fake.events.arg, box, 1, END);
	str_reset(&fake.told);
}

#define MESSAGE(uid) (UINT64_C(5) << 32 | (uid))

/* Most of what is opened again is not read, because the kernel has it: nobody is asked before it is. */
static void test_a_known_size_is_not_asked_for(void **state)
{
	struct tree_file *file;
	char buf[10];
	(void)state;
	begin();
	assert_int_equal(tree_file_open(fake.tree, MESSAGE(1), &file, fake_call()), 0);
	assert_false(tree_file_size_is_bound(file));
	assert_int_equal(fake.bodies, 0);
	tree_file_close(file);

	assert_int_equal(tree_file_open(fake.tree, MESSAGE(1), &file, fake_call()), 0);
	fake.read_result = 10;
	assert_int_equal(tree_file_read(file, buf, 10, 0, fake_call()), 10);
	assert_int_equal(tree_file_read(file, buf, 10, 10, fake_call()), 10);
	assert_int_equal(fake.opened_size, END);
	assert_string_equal(fake.opened_section, "");
	assert_int_equal(fake.bodies, 1);
	tree_file_close(file);
	assert_int_equal(fake.bodies, 0);
	fake_finish();
}

/* It is fetched whole in any case; who was shown more is told. */
static void test_a_small_message_is_settled(void **state)
{
	const struct source_row row = {.uid = 2, .have = SOURCE_ROW_SIZE, .size_bytes = 5000};
	struct tree_file *file;
	(void)state;
	begin();
	fake_row(box, &row);
	struct tree_call *call = fake_call();
	assert_int_equal(tree_file_open(fake.tree, MESSAGE(2), &file, call), -EINPROGRESS);
	assert_int_equal(fake.opened_size, 5000);
	fake.size_settled = true;
	fake.true_size = 4242;
	fake_wake(0);
	assert_int_equal(tree_file_open(fake.tree, MESSAGE(2), &file, call), 0);
	tree_file_close(file);
	assert_string_equal(str_cstr(&fake.told), "attributes 0x500000002\n");
	fake_finish();
}

static void test_an_unknown_size_is_settled(void **state)
{
	const struct source_row row = {.uid = 2};
	struct tree_file *file;
	struct tree_entry entry;
	(void)state;
	begin();
	fake_row(box, &row);
	assert_int_equal(tree_attributes(fake.tree, MESSAGE(2), &entry), 0);
	assert_int_equal(entry.attr.st_size, 0);
	assert_true(entry.provisional);

	struct tree_call *call = fake_call();
	assert_int_equal(tree_file_open(fake.tree, MESSAGE(2), &file, call), -EINPROGRESS);
	assert_int_equal(fake.opened_size, UINT64_MAX);
	fake.size_settled = true;
	fake.true_size = 4242;
	fake_wake(0);
	assert_int_equal(tree_file_open(fake.tree, MESSAGE(2), &file, call), 0);
	assert_int_equal(fake.bodies, 1);
	assert_false(tree_file_size_is_bound(file));
	tree_file_close(file);
	assert_int_equal(tree_attributes(fake.tree, MESSAGE(2), &entry), 0);
	assert_int_equal(entry.attr.st_size, 4242);
	assert_false(entry.provisional);
	assert_string_equal(str_cstr(&fake.told), "attributes 0x500000002\n");
	fake_finish();
}

static void test_an_interrupted_open_leaves_nothing(void **state)
{
	const struct source_row row = {.uid = 2};
	struct tree_file *file;
	(void)state;
	begin();
	fake_row(box, &row);
	assert_int_equal(tree_file_open(fake.tree, MESSAGE(2), &file, fake_call()), -EINPROGRESS);
	assert_int_equal(fake.bodies, 1);
	fake.waiter = NULL; /* taken back */
	tree_call_finish(&fake.call);
	assert_int_equal(fake.bodies, 0);
	fake_finish();
}

/* The folder got a new identity between the look and the opening: its UID 1 is another message. */
static void test_another_message_is_never_opened(void **state)
{
	const struct source_row row = {.uid = 2};
	struct tree_file *file;
	char buf[10];
	(void)state;
	begin();
	fake_row(box, &row);
	box->state.folder = 6;
	assert_int_equal(tree_file_open(fake.tree, MESSAGE(2), &file, fake_call()), -ENOENT);
	assert_int_equal(tree_file_open(fake.tree, MESSAGE(1), &file, fake_call()), 0);
	assert_int_equal(tree_file_read(file, buf, 10, 0, fake_call()), -ENOENT);
	assert_int_equal(fake.bodies, 0);
	tree_file_close(file);
	fake_finish();
}

static void test_read(void **state)
{
	struct tree_file *file;
	char buf[10];
	(void)state;
	begin();
	assert_int_equal(tree_file_open(fake.tree, MESSAGE(1), &file, fake_call()), 0);
	fake.read_result = 7;
	assert_int_equal(tree_file_read(file, buf, 10, 0, fake_call()), 7);
	fake.read_result = -EIO;
	assert_int_equal(tree_file_read(file, buf, 10, 0, fake_call()), -EIO);
	/* the bytes come with the waking: sync is not asked again */
	fake.read_result = -EINPROGRESS;
	struct tree_call *call = fake_call();
	assert_int_equal(tree_file_read(file, buf, 10, 0, call), -EINPROGRESS);
	fake.read_result = -EBADF;
	fake_wake(9);
	assert_int_equal(tree_file_read(file, buf, 10, 0, call), 9);
	tree_file_close(file);
	fake_finish();
}

/* A read that comes to where the file was said to end waits until that is known to be true. */
/* Whoever has read what was taken back gets an error; who opens it now does not. Read-only it is a matter of time. */
static void check_refuted(bool readonly)
{
	struct tree_file *file, *other;
	char buf[10];
	begin();
	if (readonly) {
		fake_finish();
		struct tree_params params = fake_params();
		params.readonly = true;
		fake_reset();
		box = fake_folder("Box", '/', 0);
		assert_int_equal(fake_tree_params(&params), 0);
		fake_listed(box, 5, 1);
	}
	fake.size_settled = true;
	fake.true_size = END;
	fake.read_result = 10;
	assert_int_equal(tree_file_open_unsettled(fake.tree, MESSAGE(1), &file, fake_call()), 0);
	assert_int_equal(tree_file_read(file, buf, 10, 0, fake_call()), 10);
	fake.refuted = 1;
	fake.refuted_ms = clock_now_ms();
	assert_int_equal(tree_file_read(file, buf, 10, 10, fake_call()), -EIO);
	assert_int_equal(tree_file_open_unsettled(fake.tree, MESSAGE(1), &other, fake_call()), 0);
	assert_int_equal(tree_file_read(other, buf, 10, 0, fake_call()), 10);
	fake.read_result = 0;
	assert_int_equal(tree_file_read(file, buf, 10, END, fake_call()), -EIO);
	fake.read_result = 10;
	fake.refuted_ms -= 10000;
	assert_int_equal(tree_file_read(file, buf, 10, 10, fake_call()), readonly ? 10 : -EIO);
	tree_file_close(file);
	tree_file_close(other);
	fake_finish();
}

static void test_refuted(void **state)
{
	(void)state;
	check_refuted(false);
	check_refuted(true);
}

static void test_the_end_is_confirmed(void **state)
{
	struct tree_file *file;
	char buf[10];
	(void)state;
	begin();
	assert_int_equal(tree_file_open(fake.tree, MESSAGE(1), &file, fake_call()), 0);
	fake.read_result = 10;
	assert_int_equal(tree_file_read(file, buf, 10, END - 11, fake_call()), 10);
	struct tree_call *call = fake_call();
	assert_int_equal(tree_file_read(file, buf, 10, END - 10, call), -EINPROGRESS);
	fake.read_result = -EBADF;
	fake_wake(0);
	assert_int_equal(tree_file_read(file, buf, 10, END - 10, call), 10);

	/* both have to be waited for */
	fake.read_result = -EINPROGRESS;
	call = fake_call();
	assert_int_equal(tree_file_read(file, buf, 10, END - 6, call), -EINPROGRESS);
	fake.read_result = -EBADF;
	fake_wake(6);
	assert_int_equal(tree_file_read(file, buf, 10, END - 6, call), -EINPROGRESS);
	fake_wake(0);
	assert_int_equal(tree_file_read(file, buf, 10, END - 6, call), 6);

	fake.size_settled = true;
	fake.read_result = 3;
	assert_int_equal(tree_file_read(file, buf, 10, END - 3, fake_call()), 3);
	tree_file_close(file);
	fake_finish();
}

/* Whose sizes were wrong before is not believed about a large message either. */
static void test_a_server_that_is_not_believed(void **state)
{
	const struct source_row row = {.uid = 2, .have = SOURCE_ROW_SIZE, .size_bytes = END};
	struct tree_file *file;
	struct tree_entry entry;
	(void)state;
	begin();
	fake_row(box, &row);
	fake.distrusted = true;
	struct tree_call *call = fake_call();
	assert_int_equal(tree_file_open(fake.tree, MESSAGE(2), &file, call), -EINPROGRESS);
	fake.size_settled = true;
	fake.true_size = END + 7;
	fake_wake(0);
	assert_int_equal(tree_file_open(fake.tree, MESSAGE(2), &file, call), 0);
	assert_int_equal(tree_attributes(fake.tree, MESSAGE(2), &entry), 0);
	assert_int_equal(entry.attr.st_size, END + 7);
	assert_string_equal(str_cstr(&fake.told), "attributes 0x500000002\n");
	tree_file_close(file);
	/* what was seen to its end is */
	fake.size_settled = false;
	assert_int_equal(tree_file_open(fake.tree, MESSAGE(2), &file, fake_call()), 0);
	tree_file_close(file);
	fake_finish();
}

/* It is gone while it is open: it has no name any more, and is as long as it was. */
static void test_gone_while_it_is_open(void **state)
{
	const uint32_t uid = 1;
	struct tree_file *file, *late;
	struct tree_entry entry;
	(void)state;
	begin();
	assert_int_equal(tree_file_open(fake.tree, MESSAGE(1), &file, fake_call()), 0);
	tree_file_attributes(fake.tree, file, &entry);
	assert_int_equal(entry.attr.st_nlink, 1);
	fake.events.gone(fake.events.arg, box, &uid, 1);
	tree_file_attributes(fake.tree, file, &entry);
	assert_int_equal(entry.attr.st_nlink, 0);
	assert_int_equal(entry.attr.st_size, END);
	assert_int_equal(entry.attr.st_ino, MESSAGE(1));
	assert_int_equal(entry.node, MESSAGE(1));
	assert_int_equal(tree_file_open(fake.tree, MESSAGE(1), &late, fake_call()), -ENOENT);
	fake_removed(box);
	tree_file_attributes(fake.tree, file, &entry);
	assert_int_equal(entry.attr.st_size, END);
	fake.read_result = 3;
	char buf[3];
	assert_int_equal(tree_file_read(file, buf, 3, 0, fake_call()), 3);
	tree_file_close(file);
	fake_finish();
}

/* --- Read without being opened: a tree that is read-only --- */

static void begin_readonly(void)
{
	struct tree_params params;
	fake_reset();
	box = fake_folder("Box", '/', 0);
	params = fake_params();
	params.readonly = true;
	assert_int_equal(fake_tree_params(&params), 0);
	fake_listed(box, 5, 1);
	str_reset(&fake.told);
}

static uint64_t shown(uint64_t node)
{
	struct tree_entry entry;
	assert_int_equal(tree_attributes(fake.tree, node, &entry), 0);
	assert_false(entry.provisional);
	return (uint64_t)entry.attr.st_size;
}

static void test_nothing_is_settled(void **state)
{
	const struct source_row row = {.uid = 2, .have = SOURCE_ROW_SIZE, .size_bytes = 100};
	struct tree_file *file;
	struct tree_entry entry;
	char buf[10];
	(void)state;
	begin_readonly();
	fake_row(box, &row);
	fake.distrusted = true;
	assert_int_equal(tree_file_open_unsettled(fake.tree, MESSAGE(2), &file, fake_call()), 0);
	assert_int_equal(fake.opened_size, 100);
	tree_file_attributes(fake.tree, file, &entry);
	assert_int_equal(entry.attr.st_size, 100);
	assert_int_equal(entry.node, MESSAGE(2));
	fake.read_result = 7; /* not to its end */
	assert_int_equal(tree_file_read(file, buf, 10, 0, fake_call()), 7);
	tree_file_close(file);
	assert_int_equal(
		tree_file_open_unsettled(fake.tree, MESSAGE(3), &file, fake_call()), -ENOENT);
	assert_int_equal(
		tree_file_open_unsettled(fake.tree, TREE_NODE_ROOT, &file, fake_call()), -EISDIR);
	fake_finish();
}

/* Message 2 of a tree that is read-only, whose announced size may be wrong, open. */
static struct tree_file *begin_unsettled(uint64_t size_bytes)
{
	const struct source_row row = {.uid = 2, .have = SOURCE_ROW_SIZE, .size_bytes = size_bytes};
	struct tree_file *file;
	begin_readonly();
	fake_row(box, &row);
	assert_int_equal(tree_file_open_unsettled(fake.tree, MESSAGE(2), &file, fake_call()), 0);
	return file;
}

/* The reader is to ask for the rest: told before the read is answered. */
static void test_a_size_too_small_is_corrected(void **state)
{
	char buf[4096];
	(void)state;
	struct tree_file *file = begin_unsettled(100);
	fake.read_result = 4096;
	struct tree_call *call = fake_call();
	assert_int_equal(tree_file_read(file, buf, 4096, 0, call), -EINPROGRESS);
	assert_string_equal(str_cstr(&fake.told), "");
	fake.events.size(fake.events.arg, box, 2, 5000);
	assert_string_equal(str_cstr(&fake.told), "attributes 0x500000002\n");
	fake_wake(0);
	assert_int_equal(tree_file_read(file, buf, 4096, 0, call), 4096);
	assert_int_equal(shown(MESSAGE(2)), 5000);

	/* sync knows it already, and nobody has told */
	str_reset(&fake.told);
	fake.size_settled = true;
	fake.true_size = 6000;
	assert_int_equal(tree_file_read(file, buf, 4096, 0, fake_call()), 4096);
	assert_string_equal(str_cstr(&fake.told), "attributes 0x500000002\n");
	assert_int_equal(shown(MESSAGE(2)), 6000);
	tree_file_close(file);
	fake_finish();
}

/* What is told while a read is on its way keeps the kernel from cutting. */
static void test_a_size_too_large_is_not_told(void **state)
{
	char buf[4096];
	(void)state;
	struct tree_file *file = begin_unsettled(9000);
	fake.events.size(fake.events.arg, box, 2, 4000);
	fake.read_result = 4000;
	assert_int_equal(tree_file_read(file, buf, 4096, 0, fake_call()), 4000);
	assert_string_equal(str_cstr(&fake.told), "");
	assert_int_equal(shown(MESSAGE(2)), 4000);
	tree_file_close(file);
	fake_finish();
}

/* Not told, or told to be nothing: nobody would read a file that is shown as empty. */
static void test_an_unknown_size_is_shown_as_a_bound(void **state)
{
	const struct source_row unknown = {.uid = 2}, nothing = {.uid = 3, .have = SOURCE_ROW_SIZE};
	struct tree_file *file;
	(void)state;
	begin_readonly();
	fake_row(box, &unknown);
	fake_row(box, &nothing);
	assert_true(shown(MESSAGE(2)) >= 1 << 20);
	assert_true(shown(MESSAGE(3)) >= 1 << 20);
	assert_int_equal(tree_file_open_unsettled(fake.tree, MESSAGE(2), &file, fake_call()), 0);
	assert_int_equal(fake.opened_size, UINT64_MAX);
	tree_file_close(file);
	fake.events.size(fake.events.arg, box, 2, 12);
	fake.events.size(fake.events.arg, box, 3, 0);
	assert_string_equal(str_cstr(&fake.told), "");
	assert_int_equal(shown(MESSAGE(2)), 12);
	assert_int_equal(shown(MESSAGE(3)), 0);
	fake.events.size(fake.events.arg, box, 2, 1 << 27);
	assert_string_equal(str_cstr(&fake.told), "attributes 0x500000002\n");
	fake_finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_known_size_is_not_asked_for),
		cmocka_unit_test(test_a_small_message_is_settled),
		cmocka_unit_test(test_an_unknown_size_is_settled),
		cmocka_unit_test(test_an_interrupted_open_leaves_nothing),
		cmocka_unit_test(test_another_message_is_never_opened),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_refuted),
		cmocka_unit_test(test_the_end_is_confirmed),
		cmocka_unit_test(test_a_server_that_is_not_believed),
		cmocka_unit_test(test_gone_while_it_is_open),
		cmocka_unit_test(test_nothing_is_settled),
		cmocka_unit_test(test_a_size_too_small_is_corrected),
		cmocka_unit_test(test_a_size_too_large_is_not_told),
		cmocka_unit_test(test_an_unknown_size_is_shown_as_a_bound),
	};
	return cmocka_run_group_tests_name("tree/file", tests, NULL, NULL);
}
