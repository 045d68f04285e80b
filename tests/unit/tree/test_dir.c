/* SPDX-License-Identifier: MIT */
/* Reading directories: while they are listed, when that fails, and when they change. */
#include <errno.h>
#include <string.h>

#include "fake.h"

/* The offset of the message that came as the n-th, from 0 on. */
#define MESSAGE(n) ((UINT64_C(1) << 20) + (n))

static struct sync_folder *box;

static void begin(void)
{
	fake_reset();
	box = fake_folder("Box", '/', 0);
	fake_folder("Box/Sub", '/', 0);
	assert_int_equal(fake_tree(NULL), 0);
}

static struct tree_dir *open_box(void)
{
	struct tree_dir *dir;
	assert_int_equal(tree_dir_open(fake.tree, fake_node("Box"), &dir, fake_call()), 0);
	return dir;
}

/* Opens a folder that was never listed: waits, begins to list, and is open with what has come. */
static struct tree_dir *open_while_listing(uint32_t announced)
{
	struct tree_dir *dir;
	uint64_t node = fake_node("Box");
	struct tree_call *call = fake_call();
	assert_int_equal(tree_dir_open(fake.tree, node, &dir, call), -EINPROGRESS);
	fake_announce(box, 5);
	for (uint32_t uid = 1; uid <= announced; uid++)
		fake_message(box, uid);
	fake_wake(0);
	assert_int_equal(tree_dir_open(fake.tree, node, &dir, call), 0);
	return dir;
}

static void expect(struct tree_dir *dir, uint64_t offset, int result, const char *first,
	uint32_t from, uint32_t to)
{
	struct str got = STR_INIT, wanted = STR_INIT;
	str_append_cstr(&wanted, first);
	for (uint32_t uid = from; uid <= to; uid++)
		str_printf(&wanted, "%s|", fake_name(uid));
	assert_int_equal(fake_read_dir(dir, offset, &got), result);
	assert_string_equal(str_cstr(&got), str_cstr(&wanted));
	str_finish(&got);
	str_finish(&wanted);
}

static void test_listed(void **state)
{
	(void)state;
	begin();
	fake_listed(box, 5, 3);
	struct tree_dir *dir = open_box();
	expect(dir, 0, 0, ".|..|Sub|", 1, 3);
	expect(dir, MESSAGE(0), 0, "", 1, 3); /* any offset again */
	expect(dir, MESSAGE(2), 0, "", 3, 3);
	expect(dir, MESSAGE(3), 0, "", 1, 0);
	expect(dir, MESSAGE(96), 0, "", 1, 0);
	tree_dir_close(dir);
	assert_int_equal(box->refreshes, 1);
	fake_finish();
}

static void test_entries_come_as_they_arrive(void **state)
{
	(void)state;
	begin();
	struct tree_dir *dir = open_while_listing(2);
	expect(dir, 0, 0, ".|..|Sub|", 1, 2);
	expect(dir, MESSAGE(2), -EINPROGRESS, "", 1, 0);
	fake_message(box, 3);
	fake_wake(0);
	expect(dir, MESSAGE(2), 0, "", 3, 3);
	expect(dir, MESSAGE(3), -EINPROGRESS, "", 1, 0);
	box->listing = SYNC_LISTING_WHOLE;
	box->seen++;
	fake_wake(0);
	expect(dir, MESSAGE(3), 0, "", 1, 0);
	tree_dir_close(dir);
	fake_finish();
}

static void test_an_announcement_between_the_looks_is_not_missed(void **state)
{
	(void)state;
	begin();
	struct tree_dir *dir = open_while_listing(0);
	/*
	 * the waiter is asked for with what was seen before: here nothing has changed, so it waits
	 */
	expect(dir, MESSAGE(0), -EINPROGRESS, "", 1, 0);
	fake_message(box, 1);
	box->listing = SYNC_LISTING_WHOLE;
	fake_wake(0);
	expect(dir, MESSAGE(0), 0, "", 1, 1);
	tree_dir_close(dir);
	fake_finish();
}

static void test_a_listing_that_fails_is_never_short(void **state)
{
	(void)state;
	begin();
	struct tree_dir *dir = open_while_listing(2);
	box->listing = SYNC_LISTING_FAILED;
	box->err = -ETIMEDOUT;
	expect(dir, 0, 0, ".|..|Sub|", 1, 2); /* true, but not all */
	expect(dir, MESSAGE(2), -ETIMEDOUT, "", 1, 0);
	box->err = 0;
	expect(dir, MESSAGE(2), -EIO, "", 1, 0);
	tree_dir_close(dir);
	fake_finish();
}

static void test_a_folder_that_can_not_be_selected(void **state)
{
	struct tree_dir *dir;
	struct tree_entry entry;
	(void)state;
	begin();
	uint64_t node = fake_node("Box");
	assert_int_equal(tree_dir_open(fake.tree, node, &dir, fake_call()), -EINPROGRESS);
	box->listing = SYNC_LISTING_FAILED;
	box->err = -EACCES;
	fake_wake(-EACCES);
	assert_int_equal(fake.result, -EACCES);
	/* what lies below is reached all the same */
	assert_int_equal(tree_lookup(fake.tree, node, "Sub", &entry, fake_call()), 0);
	/* the next one tries again, and waits for all of it */
	struct tree_call *call = fake_call();
	assert_int_equal(tree_dir_open(fake.tree, node, &dir, call), -EINPROGRESS);
	assert_int_equal(box->refreshes, 1);
	fake_listed(box, 5, 1);
	fake_wake(0);
	assert_int_equal(tree_dir_open(fake.tree, node, &dir, call), 0);
	assert_int_equal(box->refreshes, 1);
	tree_dir_close(dir);
	fake_finish();
}

/* refresh=0: each opening asks the server, but only once. */
static void test_refresh_is_asked_once(void **state)
{
	struct tree_dir *dir;
	(void)state;
	begin();
	fake_listed(box, 5, 1);
	box->current = false;
	uint64_t node = fake_node("Box");
	struct tree_call *call = fake_call();
	assert_int_equal(tree_dir_open(fake.tree, node, &dir, call), -EINPROGRESS);
	fake_wake(0);
	assert_int_equal(tree_dir_open(fake.tree, node, &dir, call), 0);
	assert_int_equal(box->refreshes, 1);
	tree_dir_close(dir);
	fake_finish();
}

/* The list of folders, before the messages; of what can have folders below it. */
static void test_the_folders_are_asked_for(void **state)
{
	struct tree_dir *dir;
	(void)state;
	begin();
	fake_listed(box, 5, 1);
	fake.survey_stale = true;
	uint64_t node = fake_node("Box");
	struct tree_call *call = fake_call();
	assert_int_equal(tree_dir_open(fake.tree, node, &dir, call), -EINPROGRESS);
	assert_int_equal(box->refreshes, 0);
	fake_wake(0);
	assert_int_equal(tree_dir_open(fake.tree, node, &dir, call), 0);
	assert_int_equal(fake.surveys, 1);
	assert_int_equal(box->refreshes, 1);
	tree_dir_close(dir);
	/* it shows that the folder is gone */
	call = fake_call();
	assert_int_equal(tree_dir_open(fake.tree, node, &dir, call), -EINPROGRESS);
	fake_removed(&fake.folders[1]);
	fake_removed(box);
	fake_wake(0);
	assert_int_equal(tree_dir_open(fake.tree, node, &dir, call), -ENOENT);
	call = fake_call();
	assert_int_equal(tree_dir_open(fake.tree, TREE_NODE_ROOT, &dir, call), -EINPROGRESS);
	fake_wake(0);
	assert_int_equal(tree_dir_open(fake.tree, TREE_NODE_ROOT, &dir, call), 0);
	tree_dir_close(dir);
	fake_finish();
}

static void test_folders_that_can_have_none_below(void **state)
{
	(void)state;
	fake_reset();
	box = fake_folder("Leaf", '/', SOURCE_MAILBOX_NOINFERIORS);
	fake_folder("Flat", 0, 0);
	fake.folders[0].listing = fake.folders[1].listing = SYNC_LISTING_WHOLE;
	assert_int_equal(fake_tree(NULL), 0);
	fake_check_list("Leaf", ".|..|");
	fake_check_list("Flat", ".|..|");
	assert_int_equal(fake.surveys, 0);
	fake_finish();
}

static void test_gone_messages_leave_offsets_alone(void **state)
{
	const uint32_t gone[] = {2, 77};
	(void)state;
	begin();
	fake_listed(box, 5, 3);
	struct tree_dir *dir = open_box();
	fake.events.gone(fake.events.arg, box, gone, 2);
	expect(dir, MESSAGE(1), 0, "", 3, 3);
	expect(dir, MESSAGE(2), 0, "", 3, 3);
	fake_message(box, 4);
	expect(dir, MESSAGE(2), 0, "", 3, 4);
	tree_dir_close(dir);
	fake_finish();
}

static void test_listed_anew_under_the_reader(void **state)
{
	(void)state;
	begin();
	fake_listed(box, 5, 3);
	struct tree_dir *dir = open_box();
	expect(dir, 0, 0, ".|..|Sub|", 1, 3);
	fake_listed(box, 6, 4);
	expect(dir, MESSAGE(2), -EIO, "", 1, 0);
	expect(dir, 0, 0, ".|..|Sub|", 1, 4); /* rewound */
	expect(dir, MESSAGE(2), 0, "", 3, 4);
	tree_dir_close(dir);
	fake_finish();
}

struct room {
	struct str names;
	size_t left;
	uint64_t next;
};

static bool fill_room(void *arg, const char *name, const struct tree_entry *entry, uint64_t next)
{
	struct room *room = arg;
	(void)entry;
	if (room->left == 0)
		return false;
	room->left--;
	str_printf(&room->names, "%s|", name);
	room->next = next;
	return true;
}

/* With room for n entries at a time, all of them come, each once. */
static void test_any_room(void **state)
{
	struct str all = STR_INIT;
	(void)state;
	begin();
	fake_listed(box, 5, 9);
	struct tree_dir *dir = open_box();
	assert_int_equal(fake_read_dir(dir, 0, &all), 0);
	for (size_t n = 1; n < 14; n++) {
		struct room room = {.left = n};
		do {
			room.left = n;
			assert_int_equal(
				tree_dir_read(dir, room.next, false, fill_room, &room, fake_call()),
				0);
		} while (room.left < n);
		assert_string_equal(str_cstr(&room.names), str_cstr(&all));
		str_finish(&room.names);
	}
	str_finish(&all);
	tree_dir_close(dir);
	fake_finish();
}

static bool cacheable(bool *unchanged)
{
	struct tree_dir *dir = open_box();
	bool yes = tree_dir_cacheable(dir, unchanged);
	tree_dir_close(dir);
	return yes;
}

static void test_what_the_kernel_may_keep(void **state)
{
	bool unchanged;
	const uint32_t gone[] = {1};
	(void)state;
	begin();
	struct tree_dir *dir = open_while_listing(1);
	assert_false(tree_dir_cacheable(dir, &unchanged));
	assert_false(unchanged);
	tree_dir_close(dir);
	box->listing = SYNC_LISTING_WHOLE;
	assert_true(cacheable(&unchanged));
	assert_false(unchanged);
	assert_true(cacheable(&unchanged));
	assert_true(unchanged);
	fake_message(box, 1); /* known, and the same */
	assert_true(cacheable(&unchanged));
	assert_true(unchanged);
	fake_message(box, 2);
	assert_true(cacheable(&unchanged));
	assert_false(unchanged);
	fake.events.gone(fake.events.arg, box, gone, 1);
	assert_true(cacheable(&unchanged));
	assert_false(unchanged);
	assert_true(cacheable(&unchanged));
	assert_true(unchanged);
	fake_finish();
}

static void test_the_view(void **state)
{
	struct str wanted = STR_INIT;
	(void)state;
	begin();
	fake_listed(box, 5, 2);
	str_append_cstr(&wanted, ".|..|Sub|");
	for (uint32_t uid = 1; uid <= 2; uid++)
		str_printf(&wanted, "%.*s|", (int)(strlen(fake_name(uid)) - 4), fake_name(uid));
	fake_check_list("Box/.parts", wanted.data);
	assert_int_equal(fake.structure_calls, 0);
	str_finish(&wanted);
	fake_finish();
}

static void test_views_listed(void **state)
{
	struct str names = STR_INIT;
	(void)state;
	fake_reset();
	box = fake_folder("Box", '/', 0);
	struct tree_params params = fake_params();
	params.views_listed = true;
	assert_int_equal(fake_tree_params(&params), 0);
	fake_listed(box, 5, 1);
	fake_list("Box", &names);
	assert_int_equal(strncmp(names.data, ".|..|.parts|2", 13), 0);
	fake_check_list("", ".|..|Box|.parts|");
	fake_check_list(".parts", ".|..|Box|");
	str_finish(&names);
	fake_finish();
}

/* Messages of a maildrop come in no order, while a directory is open. */
static void test_new_messages_leave_offsets_alone(void **state)
{
	static const uint32_t uids[] = {700, 3, 4000000000, 2};
	struct tree_dir *dir;
	struct str names = STR_INIT, again = STR_INIT;
	(void)state;
	begin();
	fake_listed(box, 5, 1);
	assert_int_equal(tree_dir_open(fake.tree, fake_node("Box"), &dir, fake_call()), 0);
	for (size_t i = 0; i < 4; i++) {
		str_reset(&names);
		assert_int_equal(fake_read_dir(dir, MESSAGE(1 + i), &names), 0);
		assert_int_equal(names.len, 0);
		fake_message(box, uids[i]);
		assert_int_equal(fake_read_dir(dir, MESSAGE(1 + i), &names), 0);
		str_printf(&again, "%s|", fake_name(uids[i]));
		assert_true(again.len >= names.len);
		assert_string_equal(again.data + again.len - names.len, names.data);
	}
	str_reset(&names);
	assert_int_equal(fake_read_dir(dir, MESSAGE(1), &names), 0);
	assert_string_equal(names.data, again.data);
	tree_dir_close(dir);
	str_finish(&names);
	str_finish(&again);
	fake_finish();
}

static void test_after_many_deletions(void **state)
{
	uint32_t uid;
	(void)state;
	begin();
	fake_listed(box, 5, 10000);
	struct tree_dir *dir = open_box();
	for (uid = 1; uid < 10000; uid++)
		fake.events.gone(fake.events.arg, box, &uid, 1);
	expect(dir, MESSAGE(0), 0, "", 10000, 10000);
	expect(dir, MESSAGE(9999), 0, "", 10000, 10000); /* its offset stays while somebody reads */
	struct tree_dir *second = open_box();
	expect(second, MESSAGE(9999), 0, "", 10000, 10000);
	tree_dir_close(second);
	tree_dir_close(dir);
	dir = open_box();
	expect(dir, MESSAGE(0), 0, "", 10000, 10000);
	expect(dir, MESSAGE(1), 0, "", 1, 0);
	tree_dir_close(dir);
	fake_finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listed),
		cmocka_unit_test(test_entries_come_as_they_arrive),
		cmocka_unit_test(test_an_announcement_between_the_looks_is_not_missed),
		cmocka_unit_test(test_a_listing_that_fails_is_never_short),
		cmocka_unit_test(test_a_folder_that_can_not_be_selected),
		cmocka_unit_test(test_refresh_is_asked_once),
		cmocka_unit_test(test_the_folders_are_asked_for),
		cmocka_unit_test(test_folders_that_can_have_none_below),
		cmocka_unit_test(test_gone_messages_leave_offsets_alone),
		cmocka_unit_test(test_listed_anew_under_the_reader),
		cmocka_unit_test(test_any_room),
		cmocka_unit_test(test_what_the_kernel_may_keep),
		cmocka_unit_test(test_the_view),
		cmocka_unit_test(test_views_listed),
		cmocka_unit_test(test_new_messages_leave_offsets_alone),
		cmocka_unit_test(test_after_many_deletions),
	};
	return cmocka_run_group_tests_name("tree/dir", tests, NULL, NULL);
}
