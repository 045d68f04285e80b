/* SPDX-License-Identifier: MIT */
/* Folders whose messages do not all stay in memory: nobody sees a difference, but where the disk gives nothing back. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"
#include "private.h"

#define FOLDERS  3
#define MESSAGES 1500
#define RESIDENT 12 /* pages: of more than 130 */

static struct sync_folder *boxes[FOLDERS];
static const char *const names[FOLDERS] = {"A", "B", "C"};

static void begin(void)
{
	fake_reset();
	for (size_t i = 0; i < FOLDERS; i++)
		boxes[i] = fake_folder(names[i], '/', 0);
	assert_int_equal(fake_tree(NULL), 0);
	fake.tree->pages.resident_max = fake.tree->pages.held_max = RESIDENT;
}

static void list_all(void)
{
	for (uint32_t i = 0; i < FOLDERS; i++)
		fake_listed(boxes[i], 5 + i, MESSAGES);
	str_reset(&fake.told);
}

static void check_lists(const char *folder, uint32_t gone)
{
	struct str wanted = STR_INIT;
	str_append_cstr(&wanted, ".|..|");
	for (uint32_t uid = 1; uid <= MESSAGES; uid++)
		if (uid != gone)
			str_printf(&wanted, "%s|", fake_name(uid));
	fake_check_list(folder, str_cstr(&wanted));
	str_finish(&wanted);
}

static uint64_t message_node(uint32_t number, uint32_t uid)
{
	return (uint64_t)number << 32 | uid;
}

static int look_up(const char *folder, uint32_t uid, struct tree_entry *ret)
{
	return tree_lookup(fake.tree, fake_node(folder), fake_name(uid), ret, fake_call());
}

/* Names, nodes and attributes are the same from whichever end they are asked for. */
static void test_all_is_there(void **state)
{
	(void)state;
	begin();
	list_all();
	for (size_t i = 0; i < FOLDERS; i++)
		check_lists(names[i], 0);
	for (uint32_t uid = MESSAGES; uid > 0; uid -= 5)
		for (uint32_t i = 0; i < FOLDERS; i++) {
			struct tree_entry entry, again;
			assert_int_equal(look_up(names[i], uid, &entry), 0);
			assert_int_equal(entry.node, message_node(5 + i, uid));
			assert_int_equal(entry.attr.st_size, 1000 + uid);
			assert_int_equal(tree_attributes(fake.tree, entry.node, &again), 0);
			assert_memory_equal(&entry.attr, &again.attr, sizeof(entry.attr));
		}
	assert_in_range(fake.tree->pages.resident, 1, RESIDENT);
	assert_string_equal(str_cstr(&fake.told), "");
	fake_finish();
}

/* What the kernel was shown is not forgotten: it hears of that message, and of no other. The listing that comes again is no news. */
static void test_what_was_shown(void **state)
{
	struct tree_entry entry;
	char expected[400];
	(void)state;
	begin();
	list_all();
	fake.tell_appeared = true;
	assert_int_equal(look_up("A", 3, &entry), 0);
	check_lists("B", 0);
	check_lists("C", 0);
	for (uint32_t uid = 1; uid <= MESSAGES; uid++)
		fake_message(boxes[0], uid);
	assert_string_equal(str_cstr(&fake.told), "");
	fake.tell_appeared = false;
	for (uint32_t uid = 3; uid <= 4; uid++)
		fake.events.gone(fake.events.arg, boxes[0], &uid, 1);
	snprintf(expected, sizeof(expected), "gone %#jx %s\n", (uintmax_t)fake_node("A"),
		fake_name(3));
	assert_string_equal(str_cstr(&fake.told), expected);
	assert_int_equal(look_up("A", 3, &entry), -ENOENT);
	fake_message(boxes[0], 4);
	check_lists("A", 3);
	fake_finish();
}

static void lose_file(void)
{
	assert_int_equal(ftruncate(fake.tree->pages.fd, 0), 0);
}

/* What does not come back is an error: not a message that is gone, nor a folder that is shorter. */
static void test_lost(void **state)
{
	struct tree_entry entry;
	struct tree_dir *dir;
	struct str got = STR_INIT;
	uint32_t uid = 400;
	(void)state;
	begin();
	list_all();
	uint64_t folder = fake_node("A");
	lose_file();
	assert_int_equal(look_up("A", uid, &entry), -EIO);
	assert_int_equal(tree_attributes(fake.tree, message_node(5, uid), &entry), -EIO);
	assert_int_equal(
		tree_former(fake.tree, folder, fake_name(uid), message_node(5, uid), false, &entry),
		-EEXIST);
	assert_int_equal(tree_dir_open(fake.tree, folder, &dir, fake_call()), 0);
	uint64_t first = DIR_FIRST_MESSAGE + uid;
	assert_int_equal(fake_read_dir(dir, first, &got), -EIO);
	/* One that is gone, and can not be taken out: the folder is not listed with it. */
	fake.events.gone(fake.events.arg, boxes[0], &uid, 1);
	assert_int_equal(fake_read_dir(dir, DIR_FIRST_MESSAGE, &got), -EIO);
	tree_dir_close(dir);
	assert_int_equal(got.len, 0);
	/* It begins anew. */
	fake_listed(boxes[0], 9, 3);
	assert_int_equal(look_up("A", 3, &entry), 0);
	fake_finish();
}

/* No room, neither in memory nor on disk: the folder fails, and the others are what they are. */
static void test_no_room(void **state)
{
	struct tree_entry entry;
	struct tree_dir *dir;
	struct str got = STR_INIT;
	(void)state;
	begin();
	fake.scratch_err = -ENOSPC;
	fake_listed(boxes[0], 5, 100);
	fake_listed(boxes[1], 6, MESSAGES);
	assert_int_equal(tree_dir_open(fake.tree, fake_node("B"), &dir, fake_call()), 0);
	assert_int_equal(fake_read_dir(dir, DIR_FIRST_MESSAGE, &got), -EIO);
	tree_dir_close(dir);
	assert_int_equal(look_up("B", MESSAGES, &entry), -EIO);
	assert_int_equal(look_up("A", 100, &entry), 0);
	assert_int_equal(got.len, 0);
	fake_finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_is_there),
		cmocka_unit_test(test_what_was_shown),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_no_room),
	};
	return cmocka_run_group_tests_name("tree/paged", tests, NULL, NULL);
}
