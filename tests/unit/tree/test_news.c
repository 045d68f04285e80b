/* SPDX-License-Identifier: MIT */
/* What a listener hears, and what paths lead to. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fake.h"

static struct sync_folder *box, *sub;
static struct str heard;

static void listen(void *arg, const struct tree_news *news)
{
	static const char *const kinds[] = {
		"new", "gone", "flags", "folder-new", "folder-gone", "renamed", "changed", "link"};
	assert_ptr_equal(arg, &heard);
	str_printf(&heard, "%s [%s] in [%s]", kinds[news->kind], news->path ? news->path : "-",
		news->folder);
	if (news->former)
		str_printf(&heard, " was [%s]", news->former);
	if (news->uid)
		str_printf(&heard, " %u", news->uid);
	if (news->flags)
		str_printf(&heard, " (%s)", news->flags);
	str_putc(&heard, '\n');
}

static void begin(const char *root)
{
	fake_reset();
	box = fake_folder("Box", '/', 0);
	sub = fake_folder("Box/Sub", '/', 0);
	fake_folder("Box-2", '/', 0);
	fake_folder("Made/up", '/', 0);
	for (size_t i = 0; i < fake.folder_count; i++)
		fake.folders[i].listing = SYNC_LISTING_WHOLE;
	assert_int_equal(fake_tree(root), 0);
	tree_set_listener(fake.tree, listen, &heard);
}

static void end(void)
{
	str_finish(&heard);
	fake_finish();
}

static void expect_heard(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void expect_heard(const char *format, ...)
{
	char expected[1000];
	va_list args;
	va_start(args, format);
	vsnprintf(expected, sizeof(expected), format, args);
	va_end(args);
	assert_string_equal(str_cstr(&heard), expected);
	str_reset(&heard);
}

static void test_messages(void **state)
{
	const uint32_t uids[] = {1, 77};
	const struct store_flags flags[] = {{2, "\\Seen $Work"}, {99, "\\Seen"}, {1, ""}};
	(void)state;
	begin(NULL);
	fake_listed(sub, 5, 2);
	expect_heard("%s", ""); /* they were there */
	fake_message(sub, 3);
	expect_heard("new [Box/Sub/%s] in [Box/Sub] 3 (\\Seen)\n", fake_name(3));
	fake_message(sub, 3);
	fake.events.gone(fake.events.arg, sub, uids, 2);
	expect_heard("gone [Box/Sub/%s] in [Box/Sub] 1\n", fake_name(1));
	fake.events.gone(fake.events.arg, sub, uids, 2);
	fake.events.flags(fake.events.arg, sub, flags, 3);
	expect_heard("flags [Box/Sub/%s] in [Box/Sub] 2 (\\Seen $Work)\n", fake_name(2));
	fake_message(sub, 1); /* it was not gone after all */
	expect_heard("new [Box/Sub/%s] in [Box/Sub] 1 (\\Seen)\n", fake_name(1));
	end();
}

static void test_folders(void **state)
{
	(void)state;
	begin(NULL);
	struct sync_folder *new = fake_folder("A/b", '/', 0);
	fake_added(new, NULL);
	expect_heard("folder-new [A/b] in [A/b]\n");
	struct sync_folder *other = fake_folder("Box/c", '/', 0);
	fake_added(other, new);
	expect_heard("renamed [Box/c] in [Box/c] was [A/b]\n");
	fake.events.attributes(fake.events.arg, other);
	expect_heard("changed [Box/c] in [Box/c]\n");
	fake_removed(box); /* the directory stays */
	expect_heard("folder-gone [Box] in [Box]\n");
	fake_removed(box);
	fake.events.link(fake.events.arg);
	expect_heard("link [-] in []\n");
	tree_set_listener(fake.tree, NULL, NULL);
	fake_removed(other);
	fake.events.link(fake.events.arg);
	expect_heard("%s", "");
	end();
}

/* Paths begin below the root; what does not lie there is nobody's news. */
static void test_another_root(void **state)
{
	struct tree_place place;
	(void)state;
	begin("Box");
	fake_listed(box, 4, 0);
	fake_listed(sub, 5, 0);
	fake_message(box, 1);
	expect_heard("new [%s] in [] 1 (\\Seen)\n", fake_name(1));
	fake_message(sub, 1);
	expect_heard("new [Sub/%s] in [Sub] 1 (\\Seen)\n", fake_name(1));
	fake_message(&fake.folders[2], 1);
	fake_removed(&fake.folders[2]);
	expect_heard("%s", "");
	assert_int_equal(tree_resolve(fake.tree, "", &place), 0);
	assert_ptr_equal(place.folder, box);
	assert_int_equal(tree_resolve(fake.tree, fake_name(1), &place), 0);
	assert_int_equal(place.uid, 1);
	/* moved out of what is shown: gone */
	struct sync_folder *out = fake_folder("Out", '/', 0);
	fake_added(out, sub);
	expect_heard("folder-gone [Sub] in [Sub]\n");
	end();
}

static int resolve(const char *directory, const char *name, struct tree_place *ret)
{
	char path[600];
	snprintf(path, sizeof(path), "%s%s", directory, name);
	return tree_resolve(fake.tree, path, ret);
}

static void test_resolve(void **state)
{
	struct tree_place place;
	char view[300], long_name[700];
	(void)state;
	begin(NULL);
	fake_listed(sub, 5, 2);
	assert_int_equal(resolve("", "", &place), 0);
	assert_null(place.folder);
	assert_int_equal(resolve("Made", "", &place), 0);
	assert_null(place.folder);
	assert_int_equal(resolve("//Box/Sub/", "", &place), 0);
	assert_ptr_equal(place.folder, sub);
	assert_int_equal(place.uid, 0);
	assert_int_equal(resolve("Box/Sub/", fake_name(2), &place), 0);
	assert_ptr_equal(place.folder, sub);
	assert_int_equal(place.uid, 2);
	snprintf(view, sizeof(view), "%s/x", fake_name(2));
	assert_int_equal(resolve("Box/Sub/", view, &place), -ENOTDIR);
	assert_int_equal(resolve("Box/Sub/", fake_name(3), &place), -ENOENT);
	assert_int_equal(resolve("Box/Nothing", "", &place), -ENOENT);
	assert_int_equal(resolve("Box/Nothing/x", "", &place), -ENOENT);
	assert_int_equal(resolve("Box/.parts", "", &place), -ENOENT);
	assert_int_equal(resolve("Made/", fake_name(2), &place), -ENOENT);
	memset(long_name, 'x', sizeof(long_name));
	long_name[599] = 0;
	assert_int_equal(tree_resolve(fake.tree, long_name, &place), -ENOENT);
	long_name[300] = 0;
	assert_int_equal(tree_resolve(fake.tree, long_name, &place), -ENOENT);
	/* what was resolved is not what the kernel was shown */
	const uint32_t uid = 2;
	str_reset(&fake.told);
	fake.events.gone(fake.events.arg, sub, &uid, 1);
	assert_string_equal(str_cstr(&fake.told), "");
	fake_removed(sub);
	assert_int_equal(resolve("Box/Sub", "", &place), -ENOENT);
	end();
}

static int collect(void *arg, const char *path, struct sync_folder *folder)
{
	str_printf(arg, "%s=%s|", path, folder->mailbox.name);
	return strcmp(path, "Made/up") == 0 ? -ECANCELED : 0;
}

static int each(const char *path, struct str *out)
{
	str_reset(out);
	return tree_each_folder(fake.tree, path, collect, out);
}

static void test_each_folder(void **state)
{
	struct str out = STR_INIT;
	(void)state;
	begin(NULL);
	assert_int_equal(each("", &out), -ECANCELED);
	assert_string_equal(out.data, "Box=Box|Box/Sub=Box/Sub|Box-2=Box-2|Made/up=Made/up|");
	assert_int_equal(each("Box/", &out), 0);
	assert_string_equal(out.data, "Box=Box|Box/Sub=Box/Sub|");
	assert_int_equal(each("Box/Sub", &out), 0);
	assert_string_equal(out.data, "Box/Sub=Box/Sub|");
	assert_int_equal(each("Box/Nothing", &out), -ENOENT);
	fake_removed(box);
	assert_int_equal(each("Box", &out), 0);
	assert_string_equal(out.data, "Box/Sub=Box/Sub|");
	str_finish(&out);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_folders),
		cmocka_unit_test(test_another_root),
		cmocka_unit_test(test_resolve),
		cmocka_unit_test(test_each_folder),
	};
	return cmocka_run_group_tests_name("tree/news", tests, NULL, NULL);
}
