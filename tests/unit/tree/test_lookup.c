/* SPDX-License-Identifier: MIT */
/*
 * Finding names: without the network where the folder is known, and never wrongly "not there" where
 * it is not.
 */
#include <errno.h>
#include <string.h>

#include "fake.h"

static struct sync_folder *box;

static void begin(void)
{
	fake_reset();
	box = fake_folder("Box", '/', 0);
	fake_folder("Void", '/', SOURCE_MAILBOX_NOSELECT);
	assert_int_equal(fake_tree(NULL), 0);
}

static void test_a_message(void **state)
{
	struct tree_entry entry;
	(void)state;
	begin();
	fake_listed(box, 5, 3);
	uint64_t node = fake_node("Box");
	box->refreshes = 0;
	assert_int_equal(tree_lookup(fake.tree, node, fake_name(2), &entry, fake_call()), 0);
	assert_int_equal(entry.node, UINT64_C(5) << 32 | 2);
	assert_int_equal(entry.attr.st_ino, entry.node);
	assert_int_equal(entry.attr.st_size, 1002);
	assert_int_equal(entry.attr.st_blocks, 2);
	assert_int_equal(entry.attr.st_nlink, 1);
	assert_int_equal(entry.attr.st_mtim.tv_sec, 1700000120);
	assert_int_equal(entry.attr.st_ctim.tv_sec, 1700000120);
	assert_int_equal(entry.attr.st_mode, S_IFREG | 0600);
	assert_false(entry.provisional);
	assert_int_equal(tree_attributes(fake.tree, entry.node, &entry), 0);
	assert_int_equal(entry.attr.st_size, 1002);
	/* the same UID under another name is not it */
	assert_int_equal(tree_lookup(fake.tree, node, "2023-11-14_2215_a@b.c_other.2.eml", &entry,
				 fake_call()),
		-ENOENT);
	assert_int_equal(tree_lookup(fake.tree, node, fake_name(4), &entry, fake_call()), -ENOENT);
	assert_int_equal(tree_lookup(fake.tree, entry.node, "x", &entry, fake_call()), -ENOTDIR);
	assert_int_equal(box->refreshes, 0);
	fake_finish();
}

static void test_a_folder_not_listed_yet_is_waited_for(void **state)
{
	struct tree_entry entry;
	(void)state;
	begin();
	uint64_t node = fake_node("Box");
	struct tree_call *call = fake_call();
	assert_int_equal(tree_lookup(fake.tree, node, fake_name(2), &entry, call), -EINPROGRESS);
	fake_listed(box, 5, 2);
	box->current = false; /* and is not asked for again */
	fake_wake(0);
	assert_int_equal(tree_lookup(fake.tree, node, fake_name(2), &entry, call), 0);
	assert_int_equal(box->refreshes, 1);
	fake_finish();
}

/* The server is away: what is known is found, what is not is no "no such file". */
static void test_offline(void **state)
{
	struct tree_entry entry;
	struct tree_dir *dir;
	(void)state;
	begin();
	box->refresh_err = -EHOSTUNREACH;
	uint64_t node = fake_node("Box");
	assert_int_equal(
		tree_lookup(fake.tree, node, fake_name(1), &entry, fake_call()), -EHOSTUNREACH);
	box->listing = SYNC_LISTING_FAILED;
	assert_int_equal(tree_dir_open(fake.tree, node, &dir, fake_call()), -EHOSTUNREACH);
	fake_listed(box, 5, 1);
	assert_int_equal(tree_lookup(fake.tree, node, fake_name(1), &entry, fake_call()), 0);
	assert_int_equal(tree_lookup(fake.tree, node, fake_name(2), &entry, fake_call()), -ENOENT);
	fake_finish();
}

static void test_while_it_is_being_listed(void **state)
{
	struct tree_entry entry;
	(void)state;
	begin();
	uint64_t node = fake_node("Box");
	fake_announce(box, 5);
	fake_message(box, 1);
	assert_int_equal(tree_lookup(fake.tree, node, fake_name(1), &entry, fake_call()), 0);
	struct tree_call *call = fake_call();
	assert_int_equal(tree_lookup(fake.tree, node, fake_name(2), &entry, call), -EINPROGRESS);
	box->listing = SYNC_LISTING_WHOLE;
	fake_wake(0);
	assert_int_equal(tree_lookup(fake.tree, node, fake_name(2), &entry, call), -ENOENT);
	fake_finish();
}

static void test_names_that_are_nobodys_cost_nothing(void **state)
{
	static const char *const names[] = {
		".git", "autorun.inf", "x.eml", "desktop.ini", ".parts.eml", "1.txt", ""};
	struct tree_entry entry;
	(void)state;
	begin();
	uint64_t node = fake_node("Box");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(
			tree_lookup(fake.tree, node, names[i], &entry, fake_call()), -ENOENT);
	assert_int_equal(
		tree_lookup(fake.tree, fake_node("Void"), fake_name(1), &entry, fake_call()),
		-ENOENT);
	assert_int_equal(
		tree_lookup(fake.tree, TREE_NODE_ROOT, fake_name(1), &entry, fake_call()), -ENOENT);
	assert_int_equal(box->refreshes, 0);
	fake_finish();
}

static void test_views(void **state)
{
	struct tree_entry entry;
	char name[256];
	(void)state;
	begin();
	fake_listed(box, 5, 2);
	uint64_t view = fake_node("Box/.parts");
	assert_int_equal(view, TREE_NODE_VIEW | fake_node("Box"));
	assert_int_equal(fake_node(".parts/Box"), view);
	assert_int_equal(tree_lookup(fake.tree, view, ".parts", &entry, fake_call()), -ENOENT);
	assert_int_equal(tree_lookup(fake.tree, view, fake_name(1), &entry, fake_call()), -ENOENT);
	strcpy(name, fake_name(1));
	name[strlen(name) - 4] = 0;
	assert_int_equal(tree_lookup(fake.tree, view, name, &entry, fake_call()), 0);
	assert_int_equal(entry.node, TREE_NODE_VIEW | UINT64_C(5) << 32 | 1);
	assert_int_equal(entry.attr.st_mode, S_IFDIR | 0700);
	assert_int_equal(entry.attr.st_nlink, 1);
	assert_int_equal(entry.attr.st_mtim.tv_sec, 1700000060);
	assert_int_equal(fake.structure_calls, 0);
	fake_finish();
}

static void test_nodes_that_are_gone(void **state)
{
	struct tree_entry entry;
	struct tree_dir *dir;
	struct tree_file *file;
	const uint32_t gone = 1;
	(void)state;
	begin();
	fake_listed(box, 5, 2);
	uint64_t node = UINT64_C(5) << 32;
	fake.events.gone(fake.events.arg, box, &gone, 1);
	assert_int_equal(tree_attributes(fake.tree, node | 1, &entry), -ENOENT);
	assert_int_equal(tree_attributes(fake.tree, node | 2, &entry), 0);
	assert_int_equal(tree_attributes(fake.tree, node | 3, &entry), -ENOENT);
	assert_int_equal(tree_attributes(fake.tree, UINT64_C(77) << 32 | 2, &entry), -ENOENT);
	assert_int_equal(tree_attributes(fake.tree, UINT64_C(77) << 32, &entry), -ENOENT);
	assert_int_equal(tree_attributes(fake.tree, TREE_NODE_VIEW | 3, &entry), -ENOENT);
	assert_int_equal(tree_file_open(fake.tree, node | 1, &file, fake_call()), -ENOENT);
	assert_int_equal(tree_file_open(fake.tree, TREE_NODE_ROOT, &file, fake_call()), -EISDIR);
	assert_int_equal(tree_dir_open(fake.tree, node | 2, &dir, fake_call()), -ENOTDIR);
	assert_int_equal(
		tree_dir_open(fake.tree, TREE_NODE_VIEW | node | 1, &dir, fake_call()), -ENOENT);
	/* the numbers of an identity that is over lead nowhere, even with the same UID */
	fake_listed(box, 6, 2);
	assert_int_equal(tree_attributes(fake.tree, node | 2, &entry), -ENOENT);
	assert_int_equal(tree_attributes(fake.tree, UINT64_C(6) << 32 | 2, &entry), 0);
	fake_finish();
}

static void begin_drop(void)
{
	fake_reset();
	fake.drop = true;
	box = fake_folder("INBOX", 0, 0);
	assert_int_equal(fake_tree("INBOX"), 0);
}

static void test_a_message_on_its_way_is_waited_for(void **state)
{
	struct tree_entry entry;
	char name[256];
	(void)state;
	begin_drop();
	fake_listed(box, 5, 2);
	fake.expected = 7;
	for (int view = 0; view < 2; view++) {
		uint64_t parent = view ? fake_node(".parts") : TREE_NODE_ROOT;
		strcpy(name, fake_name(fake.expected));
		name[strlen(name) - (view ? 4 : 0)] = 0;
		struct tree_call *call = fake_call();
		assert_int_equal(tree_lookup(fake.tree, parent, name, &entry, call), -EINPROGRESS);
		fake_message(box, fake.expected++);
		fake_wake(0);
		assert_int_equal(tree_lookup(fake.tree, parent, name, &entry, call), 0);
		assert_int_equal(fake.expected_calls, view + 1);
	}
	/* what is there is not asked for */
	assert_int_equal(
		tree_lookup(fake.tree, TREE_NODE_ROOT, fake_name(7), &entry, fake_call()), 0);
	assert_int_equal(fake.expected_calls, 2);
	fake_finish();
}

static void test_a_message_on_its_way_under_another_name(void **state)
{
	struct tree_entry entry;
	const char *other = "2023-11-14_2215_a@b.c_other.7.eml";
	(void)state;
	begin_drop();
	fake_listed(box, 5, 2);
	fake.expected = 7;
	struct tree_call *call = fake_call();
	assert_int_equal(tree_lookup(fake.tree, TREE_NODE_ROOT, other, &entry, call), -EINPROGRESS);
	fake_message(box, 7);
	fake_wake(0);
	assert_int_equal(tree_lookup(fake.tree, TREE_NODE_ROOT, other, &entry, call), -ENOENT);
	assert_int_equal(fake.expected_calls, 1);
	fake_finish();
}

static void test_a_message_that_came_meanwhile(void **state)
{
	struct tree_entry entry;
	(void)state;
	begin_drop();
	fake_listed(box, 5, 2);
	fake.arriving = 7;
	assert_int_equal(
		tree_lookup(fake.tree, TREE_NODE_ROOT, fake_name(7), &entry, fake_call()), 0);
	assert_int_equal(entry.node, UINT64_C(5) << 32 | 7);
	fake_finish();
}

static void test_a_message_that_is_kept_away(void **state)
{
	struct tree_entry entry;
	(void)state;
	begin_drop();
	fake_listed(box, 5, 2);
	fake.expected = 7;
	fake.expected_err = -EACCES;
	assert_int_equal(
		tree_lookup(fake.tree, TREE_NODE_ROOT, fake_name(7), &entry, fake_call()), -EACCES);
	assert_int_equal(
		tree_lookup(fake.tree, TREE_NODE_ROOT, fake_name(8), &entry, fake_call()), -ENOENT);
	assert_int_equal(
		tree_lookup(fake.tree, TREE_NODE_ROOT, ".git", &entry, fake_call()), -ENOENT);
	assert_int_equal(fake.expected_calls, 2);
	fake_finish();
}

static void test_listed_and_then_on_its_way(void **state)
{
	struct tree_entry entry;
	(void)state;
	begin_drop();
	fake.expected = 7;
	struct tree_call *call = fake_call();
	assert_int_equal(
		tree_lookup(fake.tree, TREE_NODE_ROOT, fake_name(7), &entry, call), -EINPROGRESS);
	assert_int_equal(fake.expected_calls, 0);
	fake_listed(box, 5, 2);
	fake_wake(0);
	assert_int_equal(
		tree_lookup(fake.tree, TREE_NODE_ROOT, fake_name(7), &entry, call), -EINPROGRESS);
	assert_int_equal(fake.expected_calls, 1);
	fake_message(box, 7);
	fake_wake(0);
	assert_int_equal(tree_lookup(fake.tree, TREE_NODE_ROOT, fake_name(7), &entry, call), 0);
	fake_finish();
}

static void test_a_mailbox_account_expects_nothing(void **state)
{
	struct tree_entry entry;
	(void)state;
	begin();
	fake_listed(box, 5, 2);
	fake.expected = 7;
	assert_int_equal(
		tree_lookup(fake.tree, fake_node("Box"), fake_name(7), &entry, fake_call()),
		-ENOENT);
	assert_int_equal(fake.expected_calls, 0);
	fake_finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_message),
		cmocka_unit_test(test_a_folder_not_listed_yet_is_waited_for),
		cmocka_unit_test(test_offline),
		cmocka_unit_test(test_while_it_is_being_listed),
		cmocka_unit_test(test_names_that_are_nobodys_cost_nothing),
		cmocka_unit_test(test_views),
		cmocka_unit_test(test_nodes_that_are_gone),
		cmocka_unit_test(test_a_message_on_its_way_is_waited_for),
		cmocka_unit_test(test_a_message_on_its_way_under_another_name),
		cmocka_unit_test(test_a_message_that_came_meanwhile),
		cmocka_unit_test(test_a_message_that_is_kept_away),
		cmocka_unit_test(test_listed_and_then_on_its_way),
		cmocka_unit_test(test_a_mailbox_account_expects_nothing),
	};
	return cmocka_run_group_tests_name("tree/lookup", tests, NULL, NULL);
}
