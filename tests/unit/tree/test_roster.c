/* SPDX-License-Identifier: MIT */
/*
 * Folders that come and go: what is found, read, numbered and dated then, and what the kernel and
 * those who wait are told.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "mailfs/util/cleanup.h"

#include "fake.h"

static struct sync_folder *box, *sub;

/* Box, Box/Sub, and Made/up, whose parent is made up. */
static void begin(const char *root)
{
	fake_reset();
	fake.tell_appeared = true;
	box = fake_folder("Box", '/', 0);
	sub = fake_folder("Box/Sub", '/', 0);
	fake_folder("Made/up", '/', 0);
	for (size_t i = 0; i < 3; i++)
		fake.folders[i].listing = SYNC_LISTING_WHOLE;
	assert_int_equal(fake_tree(root), 0);
	str_reset(&fake.told);
}

static struct sync_folder *new_folder(const char *name)
{
	struct sync_folder *folder = fake_folder(name, '/', 0);
	folder->listing = SYNC_LISTING_WHOLE;
	return folder;
}

static struct sync_folder *add(const char *name)
{
	struct sync_folder *folder = new_folder(name);
	fake_added(folder, NULL);
	return folder;
}

static int look_up(uint64_t parent, const char *name, struct tree_entry *ret)
{
	return tree_lookup(fake.tree, parent, name, ret, fake_call());
}

static struct tree_entry attributes(const char *path)
{
	struct tree_entry entry;
	assert_int_equal(tree_attributes(fake.tree, fake_node(path), &entry), 0);
	return entry;
}

static uint64_t node_of(const struct sync_folder *folder)
{
	return (uint64_t)folder->directory << 32;
}

static void expect_told(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void expect_told(const char *format, ...)
{
	char expected[2000];
	va_list args;
	va_start(args, format);
	vsnprintf(expected, sizeof(expected), format, args);
	va_end(args);
	assert_string_equal(str_cstr(&fake.told), expected);
	str_reset(&fake.told);
}

#define VIEW(node) ((node) | TREE_NODE_VIEW)

static void test_added(void **state)
{
	(void)state;
	begin(NULL);
	uint64_t top_view = VIEW(fake_node(".parts"));
	struct tree_entry before = attributes("");
	struct sync_folder *new = add("New");
	expect_told("directory 0x1\ndirectory %#jx\nappeared 0x1 New/\n", (uintmax_t)top_view);
	fake_check_list("", ".|..|Box|Made|New|"); /* behind those that a reader may have passed */
	struct tree_entry after = attributes("");
	assert_int_equal(after.attr.st_nlink, before.attr.st_nlink + 1);
	assert_true(after.attr.st_mtim.tv_sec > before.attr.st_mtim.tv_sec);
	assert_int_equal(fake_node("New"), node_of(new));
	fake_listed(new, 7, 1);
	fake_node("New/.parts");
	fake_node(fake_name(1)[0] ? "New" : "");
	fake_finish();
}

/* With parents that nobody had: each is told of, the outer first. */
static void test_added_with_parents(void **state)
{
	(void)state;
	begin(NULL);
	add("A/b/c");
	uint64_t a = fake_node("A"), b = fake_node("A/b"), c = fake_node("A/b/c");
	assert_true(strstr(str_cstr(&fake.told), "appeared 0x1 A/\n"));
	char text[200];
	snprintf(text, sizeof(text), "appeared 0x1 A/\nappeared %#jx b/\nappeared %#jx c/\n",
		(uintmax_t)a, (uintmax_t)b);
	assert_non_null(strstr(str_cstr(&fake.told), text));
	assert_int_equal(attributes("A").attr.st_mtim.tv_sec, 777);
	/* the parent gets a mailbox: it was there, and stays */
	str_reset(&fake.told);
	struct sync_folder *parent = new_folder("A");
	parent->directory = (uint32_t)(a >> 32);
	fake_added(parent, NULL);
	expect_told("directory %#jx\ndirectory %#jx\n", (uintmax_t)a, (uintmax_t)VIEW(a));
	assert_int_equal(fake_node("A"), a);
	assert_int_equal(fake_node("A/b/c"), c);
	fake_listed(parent, 8, 1);
	fake_node("A/b");
	fake_finish();
}

/* … under another number than was thought of: the old one leads there still, and the kernel asks again. */
static void test_a_parent_that_is_renumbered(void **state)
{
	struct tree_entry entry;
	(void)state;
	begin(NULL);
	uint64_t made = fake_node("Made");
	struct sync_folder *folder = add("Made");
	assert_int_equal(fake_node("Made"), node_of(folder));
	assert_int_not_equal(made, node_of(folder));
	assert_int_equal(look_up(made, "up", &entry), 0);
	assert_non_null(strstr(str_cstr(&fake.told), "gone 0x1 Made\n"));
	assert_null(strstr(str_cstr(&fake.told), "appeared"));
	fake_finish();
}

static void test_removed(void **state)
{
	struct tree_entry entry, before;
	struct tree_dir *dir;
	struct str out = STR_INIT;
	(void)state;
	begin(NULL);
	fake_listed(sub, 5, 2);
	str_reset(&fake.told);
	before = attributes("Box");
	uint64_t node = fake_node("Box/Sub"), parent = fake_node("Box");
	fake_removed(sub);
	expect_told("gone %#jx Sub\ngone %#jx Sub\ndirectory %#jx\ndirectory %#jx\n"
		    "disappeared %#jx Sub/ %#jx\n",
		(uintmax_t)parent, (uintmax_t)VIEW(parent), (uintmax_t)parent,
		(uintmax_t)VIEW(parent), (uintmax_t)parent, (uintmax_t)node);
	fake_check_list("Box", ".|..|");
	assert_int_equal(look_up(parent, "Sub", &entry), -ENOENT);
	assert_int_equal(look_up(node, fake_name(1), &entry), -ENOENT);
	for (int view = 0; view <= 1; view++) {
		uint64_t each = view ? VIEW(node) : node;
		assert_int_equal(tree_attributes(fake.tree, each, &entry), -ENOENT);
		assert_int_equal(tree_dir_open(fake.tree, each, &dir, fake_call()), -ENOENT);
		assert_int_equal(
			tree_xattr_get(fake.tree, each, "user.mailfs.mailbox", &out, fake_call()),
			-ENOENT);
	}
	assert_int_equal(tree_attributes(fake.tree, UINT64_C(5) << 32 | 1, &entry), -ENOENT);
	assert_int_equal(attributes("Box").attr.st_nlink, before.attr.st_nlink - 1);
	assert_true(attributes("Box").attr.st_mtim.tv_sec > before.attr.st_mtim.tv_sec);
	/* what sync says of it now is nobody's business */
	str_reset(&fake.told);
	const uint32_t uid = 1;
	fake.events.gone(fake.events.arg, sub, &uid, 1);
	fake.events.size(fake.events.arg, sub, 1, 7);
	fake.events.changed(fake.events.arg, sub, 9);
	fake.events.attributes(fake.events.arg, sub);
	fake.events.reset(fake.events.arg, sub, 6);
	fake_message(sub, 3);
	fake_removed(sub);
	expect_told("%s", "");
	str_finish(&out);
	fake_finish();
}

/* A handle of what is gone never ends as if it were empty, nor goes on with what came back. */
static void test_open_handles(void **state)
{
	struct tree_dir *dir, *late;
	struct str out = STR_INIT;
	(void)state;
	begin(NULL);
	fake_listed(sub, 5, 2);
	uint64_t node = fake_node("Box/Sub");
	assert_int_equal(tree_dir_open(fake.tree, node, &dir, fake_call()), 0);
	assert_int_equal(fake_read_dir(dir, 0, &out), 0);
	fake_removed(sub);
	assert_int_equal(fake_read_dir(dir, 0, &out), -ENOENT);
	assert_int_equal(fake_read_dir(dir, (UINT64_C(1) << 20) + 2, &out), -ENOENT);
	uint32_t generation = 0;
	sub = new_folder("Box/Sub");
	sub->directory = (uint32_t)(node >> 32);
	fake_added(sub, NULL);
	fake_listed(sub, 5, 2);
	assert_int_equal(fake_node("Box/Sub"), node);
	assert_true(attributes("Box/Sub").generation > generation); /* for the kernel another one */
	assert_int_equal(fake_read_dir(dir, 0, &out), -ENOENT);
	assert_int_equal(tree_dir_open(fake.tree, node, &late, fake_call()), 0);
	assert_int_equal(fake_read_dir(late, 0, &out), 0);
	tree_dir_close(late);
	tree_dir_close(dir);
	str_finish(&out);
	fake_finish();
}

/* The mailbox goes, the directory stays for what is below it. */
static void test_a_parent_loses_its_mailbox(void **state)
{
	struct tree_dir *dir;
	struct tree_entry entry;
	struct str out = STR_INIT;
	(void)state;
	begin(NULL);
	fake_listed(box, 5, 2);
	uint64_t node = fake_node("Box");
	assert_int_equal(look_up(node, fake_name(1), &entry), 0);
	assert_int_equal(tree_dir_open(fake.tree, node, &dir, fake_call()), 0);
	assert_int_equal(fake_read_dir(dir, 0, &out), 0);
	str_reset(&fake.told);
	fake_removed(box);
	expect_told("gone %#jx %s\ndirectory %#jx\ndirectory %#jx\n", (uintmax_t)node, fake_name(1),
		(uintmax_t)node, (uintmax_t)VIEW(node));
	assert_int_equal(fake_read_dir(dir, (UINT64_C(1) << 20) + 2, &out), -EIO);
	str_reset(&out);
	assert_int_equal(fake_read_dir(dir, 0, &out), 0); /* rewound: what there is now */
	assert_string_equal(out.data, ".|..|Sub|");
	tree_dir_close(dir);
	assert_int_equal(fake_node("Box"), node);
	assert_int_equal(look_up(node, fake_name(1), &entry), -ENOENT);
	str_reset(&out);
	assert_int_equal(tree_xattr_get(fake.tree, node, "user.mailfs.mailbox", &out, fake_call()),
		-ENODATA);
	/* and goes with the last of these */
	str_reset(&fake.told);
	fake_removed(sub);
	fake_check_list("", ".|..|Made|");
	assert_non_null(strstr(str_cstr(&fake.told), "gone 0x1 Box\n"));
	const char *inner = strstr(str_cstr(&fake.told), " Sub/ "),
		   *outer = strstr(str_cstr(&fake.told), "disappeared 0x1 Box/");
	assert_true(inner && outer && inner < outer);
	str_finish(&out);
	fake_finish();
}

static void test_made_up_parents(void **state)
{
	(void)state;
	begin(NULL);
	uint64_t made = fake_node("Made");
	fake_removed(&fake.folders[2]);
	fake_check_list("", ".|..|Box|");
	assert_string_equal(fake.kept_wire, ""); /* the time of the top is not forgotten */
	assert_true(fake.kept_s > 777);
	assert_int_equal(attributes("").attr.st_mtim.tv_sec, fake.kept_s);
	add("Made/up/again");
	assert_int_equal(fake_node("Made"), made);
	fake_check_list("", ".|..|Box|Made|");
	fake_finish();
}

static void test_renamed(void **state)
{
	struct tree_entry entry;
	(void)state;
	begin(NULL);
	fake_listed(sub, 5, 2);
	uint64_t old = fake_node("Box/Sub"), parent = fake_node("Box");
	struct sync_folder *now = new_folder("Other");
	str_reset(&fake.told);
	fake_added(now, sub);
	fake_listed(now, 9, 2);
	assert_int_equal(look_up(parent, "Sub", &entry), -ENOENT);
	assert_int_equal(tree_attributes(fake.tree, old, &entry), -ENOENT);
	assert_int_equal(look_up(fake_node("Other"), fake_name(2), &entry), 0);
	assert_int_equal(entry.node, UINT64_C(9) << 32 | 2);
	assert_int_equal(tree_attributes(fake.tree, UINT64_C(5) << 32 | 2, &entry), -ENOENT);
	const char *gone = strstr(str_cstr(&fake.told), "disappeared "),
		   *came = strstr(str_cstr(&fake.told), "appeared 0x1 Other/\n");
	assert_true(gone && came && gone < came);
	fake_finish();
}

/* Names that are shown stay what they are, whoever comes or goes beside them. */
static void test_twins(void **state)
{
	struct str first = STR_INIT, now = STR_INIT;
	(void)state;
	fake_reset();
	struct sync_folder *inbox = fake_folder("INBOX", '/', 0);
	inbox->listing = SYNC_LISTING_WHOLE;
	assert_int_equal(fake_tree(NULL), 0);
	struct sync_folder *twin = add("Inbox"), *early = add("InBOX");
	fake_list("", &first);
	assert_non_null(strstr(first.data, "|INBOX|INBOX~"));
	uint64_t inbox_node = fake_node("INBOX");
	assert_int_equal(inbox_node, node_of(inbox));
	fake_removed(inbox);
	fake_list("", &now);
	assert_null(strstr(now.data, "|INBOX|"));
	assert_string_equal(now.data + 6, first.data + 12); /* the twins alone */
	/* it comes back, and has its own name */
	struct sync_folder *again = new_folder("INBOX");
	again->directory = inbox->directory;
	fake_added(again, NULL);
	str_reset(&now);
	fake_list("", &now);
	assert_string_equal(now.data, first.data);
	/* another takes the name meanwhile: then it is the twin */
	fake_removed(again);
	struct sync_folder *taker = add("inbox");
	assert_int_equal(fake_node("INBOX"), node_of(taker));
	struct sync_folder *third = new_folder("INBOX");
	third->directory = inbox->directory;
	fake_added(third, NULL);
	assert_int_equal(fake_node("INBOX"), node_of(taker));
	struct tree_entry entry;
	assert_int_equal(tree_attributes(fake.tree, node_of(third), &entry), 0);
	assert_true(twin != early);
	str_finish(&first);
	str_finish(&now);
	fake_finish();
}

static void test_the_root_goes_and_comes_back(void **state)
{
	struct tree_entry entry;
	struct tree_dir *dir;
	struct str out = STR_INIT;
	(void)state;
	begin("Box/Sub");
	fake_listed(sub, 5, 2);
	assert_int_equal(look_up(TREE_NODE_ROOT, fake_name(1), &entry), 0);
	assert_int_equal(tree_set_control(fake.tree, "/run/x"), 0);
	str_reset(&fake.told);
	fake_removed(sub);
	char text[300];
	snprintf(text, sizeof(text), "gone 0x1 %s\ndirectory 0x1\n", fake_name(1));
	assert_int_equal(strncmp(str_cstr(&fake.told), text, strlen(text)), 0);
	assert_int_equal(tree_attributes(fake.tree, TREE_NODE_ROOT, &entry), -EIO);
	assert_int_equal(look_up(TREE_NODE_ROOT, fake_name(1), &entry), -EIO);
	assert_int_equal(tree_dir_open(fake.tree, TREE_NODE_ROOT, &dir, fake_call()), -EIO);
	/* who opens it has asked whether it is back */
	fake.survey_stale = true;
	struct tree_call *call = fake_call();
	assert_int_equal(tree_dir_open(fake.tree, TREE_NODE_ROOT, &dir, call), -EINPROGRESS);
	fake_wake(0);
	assert_int_equal(tree_dir_open(fake.tree, TREE_NODE_ROOT, &dir, call), -EIO);
	fake.survey_stale = false;
	assert_int_equal(
		tree_xattr_get(fake.tree, TREE_NODE_ROOT, "user.mailfs.control", &out, fake_call()),
		0);
	assert_string_equal(out.data, "/run/x");
	struct sync_folder *again = new_folder("Box/Sub");
	again->directory = sub->directory;
	str_reset(&fake.told);
	fake_added(again, NULL);
	assert_non_null(strstr(str_cstr(&fake.told), "directory 0x1\n"));
	fake_listed(again, 5, 1);
	assert_int_equal(look_up(TREE_NODE_ROOT, fake_name(1), &entry), 0);
	assert_int_equal(tree_attributes(fake.tree, TREE_NODE_ROOT, &entry), 0);
	str_finish(&out);
	fake_finish();
}

static void test_no_messages_any_more(void **state)
{
	struct tree_entry entry;
	(void)state;
	begin(NULL);
	fake_listed(box, 5, 1);
	uint64_t node = fake_node("Box");
	assert_int_equal(look_up(node, fake_name(1), &entry), 0);
	str_reset(&fake.told);
	box->mailbox.flags = SOURCE_MAILBOX_NOSELECT;
	fake.events.attributes(fake.events.arg, box);
	assert_non_null(strstr(str_cstr(&fake.told), "gone 0x1 Box\n"));
	assert_int_equal(look_up(node, fake_name(1), &entry), -ENOENT);
	fake_check_list("Box", ".|..|Sub|");
	box->mailbox.flags = 0;
	fake.events.attributes(fake.events.arg, box);
	assert_int_equal(look_up(node, fake_name(1), &entry), 0);
	fake_finish();
}

/* --- What the herald is shown of what is gone --- */

static void test_former(void **state)
{
	struct tree_entry entry, was = {0};
	const uint32_t uid = 1;
	(void)state;
	begin(NULL);
	fake_listed(sub, 5, 2);
	uint64_t parent = fake_node("Box"), node = fake_node("Box/Sub"),
		 message = UINT64_C(5) << 32 | 1;
	was = attributes("Box/Sub");
	assert_int_equal(tree_former(fake.tree, parent, "Sub", node, true, &entry), -EEXIST);
	assert_int_equal(
		tree_former(fake.tree, node, fake_name(1), message, false, &entry), -EEXIST);
	fake.events.gone(fake.events.arg, sub, &uid, 1);
	assert_int_equal(tree_former(fake.tree, node, fake_name(1), message, false, &entry), 0);
	assert_int_equal(entry.node, message);
	assert_int_equal(entry.attr.st_mode, S_IFREG | 0600);
	assert_int_equal(entry.attr.st_size, 1001);
	assert_int_equal(entry.generation, 0);
	/* nobody remembers it */
	fake_listed(sub, 6, 0);
	assert_int_equal(tree_former(fake.tree, node, fake_name(1), message, false, &entry), 0);
	assert_int_equal(entry.node, message);
	assert_true(S_ISREG(entry.attr.st_mode));
	fake_removed(sub);
	assert_int_equal(
		tree_former(fake.tree, node, fake_name(1), message, false, &entry), -ENOENT);
	assert_int_equal(tree_former(fake.tree, parent, "Sub", node, true, &entry), 0);
	assert_int_equal(entry.node, node);
	assert_int_equal(entry.generation, was.generation);
	assert_true(S_ISDIR(entry.attr.st_mode));
	assert_int_equal(tree_former(fake.tree, parent, "Nothing", node, true, &entry), -ENOENT);
	assert_int_equal(tree_former(fake.tree, parent, "Sub", 5, true, &entry), -ENOENT);
	struct sync_folder *again = new_folder("Box/Sub");
	again->directory = (uint32_t)(node >> 32);
	fake_added(again, NULL);
	assert_int_equal(tree_former(fake.tree, parent, "Sub", node, true, &entry), -EEXIST);
	fake_finish();
}

/* --- Reading while folders come and go --- */

struct few {
	struct str *names;
	size_t left;
	uint64_t next;
};

static bool fill_few(void *arg, const char *name, const struct tree_entry *entry, uint64_t next)
{
	struct few *few = arg;
	(void)entry;
	if (few->left == 0)
		return false;
	few->left--;
	few->next = next;
	str_printf(few->names, "%s|", name);
	return true;
}

/* Two at a time, with a folder that comes and one that goes after each step: each of the others once. */
static void test_offsets(void **state)
{
	char name[20];
	struct sync_folder *some[8];
	struct str names = STR_INIT;
	struct tree_dir *dir;
	(void)state;
	begin(NULL);
	fake_listed(box, 5, 3);
	for (int i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "Box/%d", i);
		some[i] = add(strdup(name));
	}
	assert_int_equal(tree_dir_open(fake.tree, fake_node("Box"), &dir, fake_call()), 0);
	struct few few = {.names = &names};
	for (int step = 0; few.left == 0; step++) {
		few.left = 2;
		assert_int_equal(
			tree_dir_read(dir, few.next, false, fill_few, &few, fake_call()), 0);
		if (step < 4)
			fake_removed(some[step]); /* those behind the reader, and one before it */
		if (step < 4) {
			snprintf(name, sizeof(name), "Box/%c", 'w' + step);
			add(strdup(name));
		}
	}
	for (int i = 3; i < 8; i++) {
		snprintf(name, sizeof(name), "|%d|", i);
		if (i > 3)
			assert_non_null(strstr(names.data, name));
	}
	for (uint32_t uid = 1; uid <= 3; uid++) {
		const char *at = strstr(names.data, fake_name(uid));
		assert_non_null(at);
		assert_null(strstr(at + 1, fake_name(uid)));
	}
	for (const char *p = "Swxyz"; *p; p++) {
		snprintf(name, sizeof(name), "|%c", *p);
		const char *at = strstr(names.data, name);
		assert_true(at && !strstr(at + 1, name));
	}
	tree_dir_close(dir);
	str_finish(&names);
	for (size_t i = 3; i < fake.folder_count; i++)
		free((char *)fake.folders[i].mailbox.name);
	fake_finish();
}

/* Looked at from all sides while it changes: for the sanitizers. */
static atomic_bool ending;

static bool ignore(void *arg, const char *name, const struct tree_entry *entry, uint64_t next)
{
	(void)arg;
	(void)name;
	(void)entry;
	(void)next;
	return true;
}

static void *watch(void *arg)
{
	const uint64_t *nodes = arg;
	while (!atomic_load(&ending)) {
		struct tree_call call = {0};
		struct tree_entry entry;
		struct tree_dir *dir;
		struct str path = STR_INIT;
		tree_lookup(fake.tree, nodes[0], "Sub", &entry, &call);
		tree_attributes(fake.tree, nodes[1], &entry);
		tree_former(fake.tree, nodes[0], "Sub", nodes[1], true, &entry);
		tree_directory_path(fake.tree, nodes[1], &path);
		if (tree_dir_open(fake.tree, nodes[1], &dir, &call) == 0) {
			tree_dir_read(dir, 0, true, ignore, NULL, &call);
			tree_dir_close(dir);
		}
		struct tree_place place;
		tree_resolve(fake.tree, "Box/Sub", &place);
		str_finish(&path);
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[2];
	(void)state;
	begin(NULL);
	fake_listed(sub, 5, 1);
	uint64_t nodes[] = {fake_node("Box"), fake_node("Box/Sub")};
	atomic_store(&ending, false);
	for (size_t i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, watch, nodes);
	for (int i = 0; i < 2000; i++) {
		fake_removed(sub);
		fake_added(sub, NULL);
		fake.events.reset(fake.events.arg, sub, 5);
		str_reset(&fake.told);
	}
	atomic_store(&ending, true);
	for (size_t i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	fake_node("Box/Sub");
	fake_finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_added),
		cmocka_unit_test(test_added_with_parents),
		cmocka_unit_test(test_a_parent_that_is_renumbered),
		cmocka_unit_test(test_removed),
		cmocka_unit_test(test_open_handles),
		cmocka_unit_test(test_a_parent_loses_its_mailbox),
		cmocka_unit_test(test_made_up_parents),
		cmocka_unit_test(test_renamed),
		cmocka_unit_test(test_twins),
		cmocka_unit_test(test_the_root_goes_and_comes_back),
		cmocka_unit_test(test_no_messages_any_more),
		cmocka_unit_test(test_former),
		cmocka_unit_test(test_offsets),
		cmocka_unit_test(test_threads),
	};
	return cmocka_run_group_tests_name("tree/roster", tests, NULL, NULL);
}
