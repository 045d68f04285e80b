/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes: their text, which ones there are, and that listing them needs nothing but
 * memory.
 */
#include <errno.h>
#include <string.h>

#include "fake.h"

static struct sync_folder *box;

static void begin(void)
{
	fake_reset();
	box = fake_folder("Box &AOQ-", '/', 0);
	box->mailbox.special_use = "\\Archive";
	fake_folder("Void/Sub", '/', SOURCE_MAILBOX_NOSELECT);
	assert_int_equal(fake_tree(NULL), 0);
}

static void expect(uint64_t node, const char *name, const char *value)
{
	struct str out = STR_INIT;
	int r = tree_xattr_get(fake.tree, node, name, &out, fake_call());
	assert_int_equal(r, value ? 0 : -ENODATA);
	if (value)
		assert_string_equal(str_cstr(&out), value);
	str_finish(&out);
}

static void expect_list(uint64_t node, const char *expected)
{
	struct str out = STR_INIT;
	assert_int_equal(tree_xattr_list(fake.tree, node, &out), 0);
	for (size_t i = 0; i < out.len; i++)
		if (out.data[i] == 0)
			out.data[i] = ' ';
	assert_string_equal(str_cstr(&out), expected);
	str_finish(&out);
}

/* A value has as much as the kernel takes: it is cut between characters, and says so. */
static void test_long_values(void **state)
{
	static const size_t lens[] = {65535, 65536, 65537, 65538, 65539, 200000};
	uint64_t node = UINT64_C(5) << 32 | 7;
	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
		for (int wide = 0; wide < 2; wide++) {
			struct str header = STR_INIT, value = STR_INIT, want = STR_INIT;
			for (size_t n = wide ? 2 : 1; want.len + n <= lens[i];)
				str_append_cstr(&want, wide ? "\xc3\xa4" : "a");
			if (want.len < lens[i])
				str_putc(&want, 'z');
			str_printf(&header, "Subject: %s\r\n\r\n", want.data);
			struct source_row row = {.uid = 7,
				.have = SOURCE_ROW_HEADER,
				.header = header.data,
				.header_len = header.len};
			begin();
			fake.row = (struct fake_row){.uid = 7, .flags = "", .header = header.data};
			fake_announce(box, 5);
			fake_row(box, &row);
			assert_int_equal(tree_xattr_get(fake.tree, node, "user.mailfs.subject",
						 &value, fake_call()),
				0);
			if (lens[i] > 65536) {
				str_truncate(&want, wide ? 65532 : 65533);
				str_append_cstr(&want, "\xe2\x80\xa6");
			}
			assert_true(value.len <= 65536);
			assert_string_equal(value.data, want.data);
			fake_finish();
			str_finish(&header);
			str_finish(&value);
			str_finish(&want);
		}
}

static void test_message(void **state)
{
	static const char header[] = "From: =?UTF-8?Q?J=C3=B6rg?= <j@x.y>\r\nTo: a@b.c, d@e.f\r\n"
				     "Subject: =?UTF-8?B?w6TDtsO8?=\r\nMessage-ID: <1@x.y>\r\n\r\n";
	const struct source_row row = {
		.uid = 7,
		.have = SOURCE_ROW_FLAGS | SOURCE_ROW_DATE | SOURCE_ROW_SIZE | SOURCE_ROW_HEADER |
	                SOURCE_ROW_LABELS,
		.size_bytes = 123456,
		.date_s = 1763716500,
		.flags = "\\Seen $Junk",
		.labels = "\\Important work",
		.header = header,
		.header_len = sizeof(header) - 1,
	};
	uint64_t node = UINT64_C(5) << 32 | 7;
	(void)state;
	begin();
	fake.row = (struct fake_row){
		.uid = 7, .flags = row.flags, .labels = row.labels, .header = header};
	fake_announce(box, 5);
	fake_row(box, &row);
	expect(node, "user.mailfs.uid", "7");
	expect(node, "user.mailfs.flags", "\\Seen $Junk");
	expect(node, "user.mailfs.date", "2025-11-21T09:15:00Z");
	expect(node, "user.mailfs.from", "Jörg <j@x.y>");
	expect(node, "user.mailfs.to", "a@b.c, d@e.f");
	expect(node, "user.mailfs.subject", "äöü");
	expect(node, "user.mailfs.message_id", "<1@x.y>");
	expect(node, "user.mailfs.size", "123456");
	expect(node, "user.mailfs.labels", "\\Important work");
	expect(node, "user.mailfs.mailbox", NULL);
	expect(node, "security.capability", NULL);
	expect(node, "user.mailfs.", NULL);
	expect(node | TREE_NODE_VIEW, "user.mailfs.uid", "7");
	fake.row.uid = 0; /* the list does not touch the store */
	expect_list(node,
		"user.mailfs.uid user.mailfs.flags user.mailfs.date user.mailfs.from user.mailfs.to "
		"user.mailfs.subject user.mailfs.message_id user.mailfs.size user.mailfs.labels ");
	fake_finish();
}

static void test_what_a_message_does_not_have(void **state)
{
	const struct source_row row = {.uid = 7, .have = SOURCE_ROW_FLAGS, .flags = ""};
	uint64_t node = UINT64_C(5) << 32 | 7;
	(void)state;
	begin();
	fake.row = (struct fake_row){.uid = 7, .flags = "", .header = ""};
	fake_announce(box, 5);
	fake_row(box, &row);
	expect_list(node, "user.mailfs.uid user.mailfs.flags ");
	expect(node, "user.mailfs.flags", "");
	expect(node, "user.mailfs.date", NULL);
	expect(node, "user.mailfs.size", NULL);
	expect(node, "user.mailfs.subject", NULL);
	expect(node, "user.mailfs.labels", NULL);
	fake_finish();
}

static void test_folder(void **state)
{
	(void)state;
	begin();
	uint64_t node = fake_node("Box &AOQ-");
	expect_list(node,
		"user.mailfs.mailbox user.mailfs.special_use user.mailfs.uidvalidity user.mailfs.messages "
		"user.mailfs.unseen ");
	expect(node, "user.mailfs.mailbox", "Box &AOQ-");
	expect(node, "user.mailfs.special_use", "\\Archive");
	assert_int_equal(box->refreshes, 0);

	/* these need a listing, and wait for it */
	struct str out = STR_INIT;
	struct tree_call *call = fake_call();
	assert_int_equal(
		tree_xattr_get(fake.tree, node, "user.mailfs.messages", &out, call), -EINPROGRESS);
	fake_listed(box, 5, 3);
	fake_wake(0);
	assert_int_equal(tree_xattr_get(fake.tree, node, "user.mailfs.messages", &out, call), 0);
	assert_string_equal(str_cstr(&out), "3");
	str_finish(&out);
	box->unseen = 2;
	box->refreshes = 0;
	expect(node, "user.mailfs.uidvalidity", "50");
	expect(node, "user.mailfs.unseen", "2");
	expect(node | TREE_NODE_VIEW, "user.mailfs.unseen", "2");
	expect(node, "user.mailfs.uid", NULL);
	assert_int_equal(box->refreshes, 0);
	fake_finish();
}

static void test_folders_without_messages(void **state)
{
	(void)state;
	begin();
	expect_list(fake_node("Void"), "");
	expect(fake_node("Void"), "user.mailfs.mailbox", NULL);
	expect_list(fake_node("Void/Sub"), "user.mailfs.mailbox ");
	expect(fake_node("Void/Sub"), "user.mailfs.mailbox", "Void/Sub");
	expect(fake_node("Void/Sub"), "user.mailfs.messages", NULL);
	expect(fake_node("Void/Sub"), "user.mailfs.special_use", NULL);
	expect_list(TREE_NODE_ROOT, "");
	fake_finish();
}

static void test_uidl(void **state)
{
	const struct source_row row = {.uid = 7, .have = SOURCE_ROW_FLAGS, .flags = ""};
	uint64_t node = UINT64_C(5) << 32 | 7;
	(void)state;
	fake_reset();
	fake.drop = true;
	fake.uidl = "odd \x01\xff\"id\" of \tbytes";
	box = fake_folder("INBOX", 0, 0);
	assert_int_equal(fake_tree("INBOX"), 0);
	fake.row = (struct fake_row){.uid = 7, .flags = "", .header = ""};
	fake_announce(box, 5);
	fake_row(box, &row);
	expect_list(node, "user.mailfs.uid user.mailfs.flags user.mailfs.uidl ");
	expect_list(node, "user.mailfs.uid user.mailfs.flags user.mailfs.uidl ");
	assert_int_equal(fake.uidl_calls, 1);
	expect(node, "user.mailfs.uidl", fake.uidl);
	expect(node | TREE_NODE_VIEW, "user.mailfs.uidl", fake.uidl);
	expect(TREE_NODE_ROOT, "user.mailfs.uidl", NULL);
	fake_finish();
}

static void test_no_uidl(void **state)
{
	const struct source_row row = {.uid = 7, .have = SOURCE_ROW_FLAGS, .flags = ""};
	uint64_t node = UINT64_C(5) << 32 | 7;
	(void)state;
	for (int drop = 0; drop < 2; drop++) {
		fake_reset();
		fake.drop = drop;
		fake.uidl = drop ? NULL : "not asked for";
		box = fake_folder("INBOX", 0, 0);
		assert_int_equal(fake_tree("INBOX"), 0);
		fake_announce(box, 5);
		fake_row(box, &row);
		expect(node, "user.mailfs.uidl", NULL);
		expect_list(node, "user.mailfs.uid user.mailfs.flags ");
		assert_int_equal(fake.uidl_calls, drop);
		fake_finish();
	}
}

/* On the root, whatever it is called, and nowhere else; in no list. */
static void test_control(void **state)
{
	(void)state;
	fake_reset();
	box = fake_folder("Box", '/', 0);
	struct sync_folder *below = fake_folder("Box/Sub", '/', 0);
	assert_int_equal(fake_tree("Box"), 0);
	expect(TREE_NODE_ROOT, "user.mailfs.control", NULL);
	assert_int_equal(tree_set_control(fake.tree, "/run/user/0/mailfs/1"), 0);
	assert_int_equal(tree_set_control(fake.tree, "/run/user/0/mailfs/22"), 0);
	expect(TREE_NODE_ROOT, "user.mailfs.control", "/run/user/0/mailfs/22");
	expect((uint64_t)box->directory << 32, "user.mailfs.control", "/run/user/0/mailfs/22");
	expect((uint64_t)box->directory << 32 | TREE_NODE_VIEW, "user.mailfs.control",
		"/run/user/0/mailfs/22");
	expect((uint64_t)below->directory << 32, "user.mailfs.control", NULL);
	struct str list = STR_INIT;
	assert_int_equal(tree_xattr_list(fake.tree, TREE_NODE_ROOT, &list), 0);
	assert_null(memmem(str_cstr(&list), list.len, "control", 7));
	str_finish(&list);
	fake_finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_message),
		cmocka_unit_test(test_long_values),
		cmocka_unit_test(test_what_a_message_does_not_have),
		cmocka_unit_test(test_folder),
		cmocka_unit_test(test_folders_without_messages),
		cmocka_unit_test(test_uidl),
		cmocka_unit_test(test_no_uidl),
		cmocka_unit_test(test_control),
	};
	return cmocka_run_group_tests_name("tree/xattr", tests, NULL, NULL);
}
