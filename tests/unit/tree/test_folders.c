/* SPDX-License-Identifier: MIT */
/*
 * The directories that a list of mailboxes becomes, their attributes, and which of them is the
 * root.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fake.h"

static void attributes(const char *path, struct stat *ret)
{
	struct tree_entry entry;
	assert_int_equal(tree_attributes(fake.tree, fake_node(path), &entry), 0);
	*ret = entry.attr;
}

static void test_tree_of_folders(void **state)
{
	struct stat st;
	(void)state;
	fake_reset();
	fake_folder("Work", '/', 0);
	fake_folder("inbox/Sent", '/', 0);
	fake_folder("Work/2025", '/', 0);
	fake_folder("Lists/a/b", '/', 0);
	fake_folder("Shared/", '/', SOURCE_MAILBOX_NOSELECT);
	fake_folder("work", '/', 0);
	assert_int_equal(fake_tree(NULL), 0);
	fake_check_list("", ".|..|INBOX|Lists|Shared|Work|work|");
	fake_check_list("Lists", ".|..|a|");
	fake_check_list("Shared", ".|..|");
	fake_check_list("INBOX", ".|..|Sent|");

	attributes("", &st);
	assert_int_equal(st.st_ino, 1);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	assert_int_equal(st.st_nlink, 7);
	attributes("Work", &st);
	assert_int_equal(st.st_ino, UINT64_C(101) << 32);
	assert_int_equal(st.st_nlink, 3);
	assert_int_equal(st.st_mtim.tv_sec, 1001);
	attributes("Lists/a", &st); /* made up */
	assert_int_equal(st.st_mtim.tv_sec, 777);
	assert_int_equal((uint32_t)st.st_ino, 0);
	fake_finish();
}

static void list_names(const char *first, const char *second, char delimiter, struct str *out)
{
	fake_reset();
	fake_folder(first, '/', 0);
	fake_folder(second, delimiter, 0);
	assert_int_equal(fake_tree(NULL), 0);
	fake_list("", out);
	fake_finish();
}

/*
 * Two mailboxes for one path: both are there, and the same whatever the order in which the server
 * lists them.
 */
static void test_twins(void **state)
{
	struct str a = STR_INIT, b = STR_INIT;
	(void)state;
	list_names("INBOX", "inbox", '/', &a);
	list_names("inbox", "INBOX", '/', &b);
	assert_string_equal(a.data, b.data);
	assert_non_null(strstr(a.data, "|INBOX|INBOX~"));
	str_reset(&a);
	list_names("a", "b.a", '.', &a);
	assert_string_equal(a.data, ".|..|a|b|");
	str_finish(&a);
	str_finish(&b);
}

static void test_a_mailbox_below_a_twin(void **state)
{
	(void)state;
	fake_reset();
	fake_folder("inbox", '/', 0);
	fake_folder("Inbox/x", '/', 0)->listing = SYNC_LISTING_WHOLE;
	assert_int_equal(fake_tree(NULL), 0);
	fake_check_list("INBOX/x", ".|..|");
	fake_finish();
}

static void check_root(const char *root, const char *expected)
{
	fake_reset();
	fake_folder("INBOX", '.', 0);
	fake_folder("INBOX.Sent", '.', 0);
	fake_folder("Archive.2025", '.', 0);
	fake_folder("a/b", '.', 0);
	for (size_t i = 0; i < fake.folder_count; i++)
		fake.folders[i].listing = SYNC_LISTING_WHOLE;
	int r = fake_tree(root);
	if (expected) {
		assert_int_equal(r, 0);
		fake_check_list("", expected);
	} else {
		assert_int_equal(r, -ENOENT);
	}
	fake_finish();
}

static void test_root(void **state)
{
	(void)state;
	check_root(NULL, ".|..|Archive|INBOX|a%2Fb|");
	check_root("", ".|..|Archive|INBOX|a%2Fb|");
	check_root("INBOX", ".|..|Sent|");
	check_root("Inbox", ".|..|Sent|");
	check_root("/inbox/Sent/", ".|..|");
	check_root("Archive", ".|..|2025|");
	check_root("Archive/2025", ".|..|");
	check_root("Archive.2025", ".|..|");
	check_root("a%2Fb", ".|..|");
	check_root("a/b", ".|..|");
	check_root("Nowhere", NULL);
	check_root("Archive/2026", NULL);
}

static void expect_path(uint64_t node, const char *expected)
{
	struct str path = STR_INIT;
	int r = tree_directory_path(fake.tree, node, &path);
	assert_int_equal(r, expected ? 0 : -ENOENT);
	if (expected)
		assert_string_equal(str_cstr(&path), expected);
	str_finish(&path);
}

static void test_paths(void **state)
{
	(void)state;
	fake_reset();
	fake_folder("INBOX.Sent.2025", '.', 0);
	fake_folder("Other", '.', 0);
	assert_int_equal(fake_tree(NULL), 0);
	uint64_t year = fake_node("INBOX/Sent/2025"), inbox = fake_node("INBOX"),
		 other = fake_node("Other");
	expect_path(TREE_NODE_ROOT, "");
	expect_path(inbox, "INBOX");
	expect_path(year, "INBOX/Sent/2025");
	expect_path(year | TREE_NODE_VIEW, NULL);
	expect_path(UINT64_C(5) << 32 | 1, NULL);
	expect_path(UINT64_C(999) << 32, NULL);
	fake_finish();
	/* with another root, the numbers are the same */
	fake_reset();
	fake_folder("INBOX.Sent.2025", '.', 0);
	fake_folder("Other", '.', 0);
	assert_int_equal(fake_tree("INBOX"), 0);
	expect_path(TREE_NODE_ROOT, "");
	expect_path(year, "Sent/2025");
	expect_path(other, NULL);
	fake_finish();
}

/* A maildrop: one flat folder, shown as the root. */
static void test_flat_root(void **state)
{
	struct tree_entry entry;
	char expected[600];
	(void)state;
	fake_reset();
	fake.drop = true;
	struct sync_folder *inbox = fake_folder("INBOX", 0, SOURCE_MAILBOX_PERSONAL);
	assert_int_equal(fake_tree("INBOX"), 0);
	fake_listed(inbox, 5, 0);
	fake_check_list("", ".|..|");
	fake_message(inbox, 1);
	snprintf(expected, sizeof(expected), ".|..|%s|", fake_name(1));
	fake_check_list("", expected);
	expect_path(TREE_NODE_ROOT, "");
	assert_int_equal(tree_attributes(fake.tree, TREE_NODE_ROOT, &entry), 0);
	assert_int_equal(entry.attr.st_mtim.tv_sec, inbox->state.changed_s);
	assert_int_equal(entry.attr.st_nlink, 2);
	fake_node(".parts");
	fake_finish();
}

static void test_modes(void **state)
{
	static const struct {
		bool readonly;
		int umask;
		mode_t file, directory;
	} cases[] = {{false, -1, 0600, 0700}, {true, -1, 0400, 0700}, {false, 022, 0644, 0755},
		{true, 022, 0444, 0755}, {false, 0, 0666, 0777}, {true, 077, 0400, 0700}};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct stat st;
		fake_reset();
		struct sync_folder *folder = fake_folder("Box", '/', 0);
		struct tree_params params = fake_params();
		params.readonly = cases[i].readonly;
		params.umask = cases[i].umask;
		params.uid = 12;
		params.gid = 34;
		params.root_folder = "Box";
		assert_int_equal(fake_tree_params(&params), 0);
		attributes("", &st);
		assert_int_equal(st.st_mode, S_IFDIR | cases[i].directory);
		assert_int_equal(st.st_uid, 12);
		assert_int_equal(st.st_gid, 34);
		fake_listed(folder, 9, 1);
		attributes(fake_name(1), &st);
		assert_int_equal(st.st_mode, S_IFREG | cases[i].file);
		fake_finish();
	}
}

static void test_statfs(void **state)
{
	struct statvfs st;
	(void)state;
	fake_reset();
	assert_int_equal(fake_tree(NULL), 0);
	tree_statfs(fake.tree, &st);
	assert_true(st.f_blocks > 0 && st.f_bfree > 0 && st.f_bavail > 0 && st.f_files > 0 &&
		    st.f_ffree > 0);
	assert_int_equal(st.f_namemax, 255);
	fake.quota = (struct source_quota){
		.known = true, .used_bytes = 3 << 20, .limit_bytes = 10 << 20};
	tree_statfs(fake.tree, &st);
	assert_int_equal(st.f_blocks * st.f_frsize, 10 << 20);
	assert_int_equal(st.f_bavail * st.f_frsize, 7 << 20);
	fake.quota.used_bytes = 11 << 20;
	tree_statfs(fake.tree, &st);
	assert_int_equal(st.f_bavail, 0);
	fake.quota =
		(struct source_quota){.known = true, .used_messages = 30, .limit_messages = 100};
	tree_statfs(fake.tree, &st);
	assert_int_equal(st.f_files, 100);
	assert_int_equal(st.f_ffree, 70);
	assert_true(st.f_bavail > 0);
	fake_finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tree_of_folders),
		cmocka_unit_test(test_twins),
		cmocka_unit_test(test_a_mailbox_below_a_twin),
		cmocka_unit_test(test_root),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_flat_root),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_statfs),
	};
	return cmocka_run_group_tests_name("tree/folders", tests, NULL, NULL);
}
