/* SPDX-License-Identifier: MIT */
/* What the kernel is told when the mailbox changes: what it was shown, and nothing else. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fake.h"
#include "private.h"

static struct sync_folder *box;
#define BOX  "0x6500000000" /* node of the folder: 101 << 32 */
#define VIEW "0x8000006500000000"

static void begin(uint32_t messages)
{
	fake_reset();
	box = fake_folder("Box", '/', 0);
	assert_int_equal(fake_tree(NULL), 0);
	fake_listed(box, 5, messages);
	str_reset(&fake.told);
}

static void expect_told(const char *expected)
{
	assert_string_equal(str_cstr(&fake.told), expected);
	str_reset(&fake.told);
}

static void look_up(const char *directory, const char *name)
{
	struct tree_entry entry;
	assert_int_equal(
		tree_lookup(fake.tree, fake_node(directory), name, &entry, fake_call()), 0);
}

static void gone(uint32_t uid)
{
	fake.events.gone(fake.events.arg, box, &uid, 1);
}

static void test_gone(void **state)
{
	char view_name[256], expected[600];
	(void)state;
	begin(3);
	gone(1); /* nobody has seen it */
	expect_told("");
	look_up("Box", fake_name(2));
	strcpy(view_name, fake_name(2));
	view_name[strlen(view_name) - 4] = 0;
	look_up("Box/.parts", view_name);
	gone(2);
	snprintf(expected, sizeof(expected), "gone " BOX " %s\ngone " VIEW " %s\n", fake_name(2),
		view_name);
	expect_told(expected);
	gone(2);
	gone(99);
	expect_told("");
	fake_finish();
}

static bool fill(void *arg, const char *name, const struct tree_entry *entry, uint64_t next)
{
	(void)arg;
	(void)name;
	(void)entry;
	(void)next;
	return true;
}

static void read_names(bool references)
{
	struct tree_dir *dir;
	assert_int_equal(tree_dir_open(fake.tree, fake_node("Box"), &dir, fake_call()), 0);
	assert_int_equal(tree_dir_read(dir, 0, references, fill, NULL, fake_call()), 0);
	tree_dir_close(dir);
}

static void test_a_name_alone_is_no_entry(void **state)
{
	char expected[300];
	(void)state;
	begin(2);
	read_names(false);
	gone(1);
	expect_told("");
	read_names(true);
	gone(2);
	snprintf(expected, sizeof(expected), "gone " BOX " %s\n", fake_name(2));
	expect_told(expected);
	fake_finish();
}

static void test_changed(void **state)
{
	(void)state;
	begin(1);
	fake.events.changed(fake.events.arg, box, 1234);
	expect_told("directory " BOX "\ndirectory " VIEW "\n");
	fake_finish();
}

static void test_sizes(void **state)
{
	struct tree_entry entry;
	(void)state;
	begin(2);
	fake.events.size(fake.events.arg, box, 1, 5000);
	expect_told("attributes 0x500000001\n");
	assert_int_equal(tree_attributes(fake.tree, UINT64_C(5) << 32 | 1, &entry), 0);
	assert_int_equal(entry.attr.st_size, 5000);
	fake.events.size(fake.events.arg, box, 1, 5000);
	/* a file that is shorter than announced is cut by the read that finds it */
	fake.events.size(fake.events.arg, box, 2, 5);
	fake.events.size(fake.events.arg, box, 99, 5);
	expect_told("");
	assert_int_equal(tree_attributes(fake.tree, UINT64_C(5) << 32 | 2, &entry), 0);
	assert_int_equal(entry.attr.st_size, 5);
	fake.events.size(fake.events.arg, box, 2, UINT64_MAX);
	assert_int_equal(tree_attributes(fake.tree, UINT64_C(5) << 32 | 2, &entry), 0);
	assert_true(entry.attr.st_size > 0);
	fake_finish();
}

/* All that was kept of a message, and of what lies in it; or of one section. */
static void test_refuted(void **state)
{
	struct inside inside = {.kind = INSIDE_PART, .folder = 5, .uid = 1, .section = "2"};
	uint64_t node, other, third, generation;
	char expected[200];
	(void)state;
	begin(2);
	assert_int_equal(nodes_ref(&fake.tree->nodes, &inside, &node, &generation), 0);
	strcpy(inside.section, "3");
	assert_int_equal(nodes_ref(&fake.tree->nodes, &inside, &other, &generation), 0);
	inside.uid = 2;
	assert_int_equal(nodes_ref(&fake.tree->nodes, &inside, &third, &generation), 0);
	fake.events.refuted(fake.events.arg, box, 1, "");
	snprintf(expected, sizeof(expected), "contents 0x500000001\ncontents %#jx\ncontents %#jx\n",
		(uintmax_t)node, (uintmax_t)other);
	expect_told(expected);
	fake.events.refuted(fake.events.arg, box, 1, "3");
	snprintf(expected, sizeof(expected), "contents %#jx\n", (uintmax_t)other);
	expect_told(expected);
	fake_finish();
}

static void test_listed_anew(void **state)
{
	char expected[300];
	(void)state;
	begin(2);
	look_up("Box", fake_name(1));
	fake_announce(box, 6);
	snprintf(expected, sizeof(expected),
		"gone " BOX " %s\ndirectory " BOX "\ndirectory " VIEW "\n", fake_name(1));
	expect_told(expected);
	fake_finish();
}

/* A row that could not be read well at first, and can now. */
static void test_a_row_that_is_announced_better(void **state)
{
	const struct source_row poor = {.uid = 9};
	struct tree_entry entry;
	struct str names = STR_INIT;
	char old[300], expected[400];
	(void)state;
	begin(0);
	fake_row(box, &poor);
	fake_list("Box", &names);
	snprintf(old, sizeof(old), "%s", names.data + strlen(".|..|"));
	*strchr(old, '|') = 0;
	look_up("Box", old);
	assert_int_equal(tree_attributes(fake.tree, UINT64_C(5) << 32 | 9, &entry), 0);
	assert_true(entry.provisional);
	fake_message(box, 9);
	snprintf(expected, sizeof(expected), "gone " BOX " %s\nattributes 0x500000009\n", old);
	assert_non_null(strstr(str_cstr(&fake.told), "gone " BOX));
	assert_non_null(strstr(str_cstr(&fake.told), old));
	assert_int_equal(
		tree_lookup(fake.tree, fake_node("Box"), old, &entry, fake_call()), -ENOENT);
	look_up("Box", fake_name(9));
	/* and one that is announced worse stays */
	str_reset(&fake.told);
	fake_row(box, &poor);
	expect_told("");
	look_up("Box", fake_name(9));
	str_finish(&names);
	fake_finish();
}

static void test_a_message_that_was_not_gone_after_all(void **state)
{
	struct tree_entry entry;
	(void)state;
	begin(2);
	gone(1);
	assert_int_equal(
		tree_lookup(fake.tree, fake_node("Box"), fake_name(1), &entry, fake_call()),
		-ENOENT);
	fake_message(box, 1);
	look_up("Box", fake_name(1));
	fake_finish();
}

/* The time of a folder was given out before its listing showed that it had changed. */
static void test_a_time_that_moved(void **state)
{
	struct tree_entry entry;
	(void)state;
	begin(1);
	assert_int_equal(tree_attributes(fake.tree, fake_node("Box"), &entry), 0);
	read_names(false);
	expect_told("");
	box->state.changed_s = 5555;
	struct tree_dir *dir;
	assert_int_equal(tree_dir_open(fake.tree, UINT64_C(101) << 32, &dir, fake_call()), 0);
	tree_dir_close(dir);
	expect_told("directory " BOX "\ndirectory " VIEW "\n");
	fake_finish();
}

static void test_appeared(void **state)
{
	char expected[300];
	(void)state;
	begin(1);
	fake.tell_appeared = true;
	fake_message(box, 2);
	snprintf(expected, sizeof(expected), "appeared " BOX " %s\n", fake_name(2));
	expect_told(expected);
	fake_message(box, 2); /* nothing new */
	expect_told("");
	/* what the first listing brings has not just come */
	fake_announce(box, 6);
	str_reset(&fake.told);
	fake_message(box, 3);
	expect_told("");
	fake_finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_a_name_alone_is_no_entry),
		cmocka_unit_test(test_changed),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_refuted),
		cmocka_unit_test(test_listed_anew),
		cmocka_unit_test(test_a_row_that_is_announced_better),
		cmocka_unit_test(test_a_message_that_was_not_gone_after_all),
		cmocka_unit_test(test_a_time_that_moved),
		cmocka_unit_test(test_appeared),
	};
	return cmocka_run_group_tests_name("tree/events", tests, NULL, NULL);
}
