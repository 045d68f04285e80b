/* SPDX-License-Identifier: MIT */
/*
 * Inside messages: directories, attached messages, sizes that are bounds, and how long nodes live.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"

static struct sync_folder *box;
static uint64_t message = TREE_NODE_VIEW | UINT64_C(5) << 32 | 1;

static struct mime_part *part(
	const char *type, const char *subtype, const char *encoding, uint64_t size_bytes)
{
	struct mime_part *p = mime_part_create();
	p->type = strdup(type);
	p->subtype = strdup(subtype);
	p->encoding = strdup(encoding);
	p->size_bytes = size_bytes;
	return p;
}

/* A text, a small and a large attachment, and an attached message of two parts. */
static void make_structure(void)
{
	struct mime_part *root = part("multipart", "mixed", "", 0);
	struct mime_part *attached = part("message", "rfc822", "", 900);
	struct mime_part *inner = part("multipart", "mixed", "", 800);
	mime_part_add_child(root, part("text", "plain", "quoted-printable", 3000));
	mime_part_add_child(root, part("image", "png", "base64", 40000));
	mime_part_add_child(root, part("application", "pdf", "base64", 8000000));
	mime_part_add_child(inner, part("text", "plain", "7bit", 100));
	mime_part_add_child(inner, part("text", "html", "7bit", 200));
	mime_part_add_child(attached, inner);
	mime_part_add_child(root, attached);
	assert_int_equal(mime_part_serialize(root, &fake.structure), 0);
	mime_part_destroy(root);
}

static void begin(void)
{
	fake_reset();
	box = fake_folder("Box", '/', 0);
	assert_int_equal(fake_tree(NULL), 0);
	fake_listed(box, 5, 2);
	make_structure();
	fake.structure_stored = true;
	str_reset(&fake.told);
}

static void list_node(uint64_t node, struct str *out)
{
	struct tree_dir *dir;
	bool unchanged;
	assert_int_equal(tree_dir_open(fake.tree, node, &dir, fake_call()), 0);
	assert_true(tree_dir_cacheable(dir, &unchanged));
	assert_true(unchanged);
	assert_int_equal(fake_read_dir(dir, 0, out), 0);
	tree_dir_close(dir);
}

static int look_up(uint64_t parent, const char *name, struct tree_entry *ret)
{
	return tree_lookup(fake.tree, parent, name, ret, fake_call());
}

static void test_directories(void **state)
{
	struct tree_entry attached, entry;
	struct str names = STR_INIT;
	char name[64];
	(void)state;
	begin();
	list_node(message, &names);
	assert_int_equal(strncmp(names.data, ".|..|headers.txt|1-", 19), 0);
	char *last = strstr(names.data, "|4-");
	assert_non_null(last);
	snprintf(name, sizeof(name), "%s", last + 1);
	*strchr(name, '|') = 0;
	assert_int_equal(look_up(message, name, &attached), 0);
	assert_int_equal(attached.attr.st_mode, S_IFDIR | 0700);
	assert_int_equal(attached.attr.st_nlink, 1);
	assert_int_equal(attached.attr.st_mtim.tv_sec, 1700000060);
	str_reset(&names);
	list_node(attached.node, &names);
	assert_int_equal(strncmp(names.data, ".|..|headers.txt|1-", 19), 0);
	assert_non_null(strstr(names.data, "|2-"));
	assert_null(strstr(names.data, "|3-"));
	assert_int_equal(look_up(attached.node, "headers.txt", &entry), 0);
	assert_true(entry.node & TREE_NODE_VIEW && entry.attr.st_ino & TREE_NODE_VIEW);
	assert_int_equal(look_up(message, "no-such-part", &entry), -ENOENT);
	assert_int_equal(look_up(message, ".parts", &entry), -ENOENT);
	assert_int_equal(look_up(entry.node, "x", &entry), -ENOTDIR);
	str_finish(&names);
	fake_finish();
}

static void test_inode_numbers_are_those_of_the_section(void **state)
{
	struct tree_entry first, second;
	(void)state;
	begin();
	assert_int_equal(look_up(message, "headers.txt", &first), 0);
	tree_forget(fake.tree, first.node, 1);
	assert_int_equal(tree_attributes(fake.tree, first.node, &second), -ENOENT);
	assert_int_equal(look_up(message, "1-text.txt", &second), 0);
	assert_int_equal(second.node, first.node); /* the slot is used again */
	assert_int_not_equal(second.generation, first.generation);
	assert_int_not_equal(second.attr.st_ino, first.attr.st_ino);
	assert_int_equal(look_up(message, "headers.txt", &second), 0);
	assert_int_equal(second.attr.st_ino, first.attr.st_ino);
	fake_finish();
}

static void test_the_structure_is_waited_for_once(void **state)
{
	struct tree_dir *dir;
	struct tree_call *call;
	(void)state;
	begin();
	fake.structure_stored = false;
	call = fake_call();
	assert_int_equal(tree_dir_open(fake.tree, message, &dir, call), -EINPROGRESS);
	fake.structure_stored = true;
	fake_wake(0);
	assert_int_equal(tree_dir_open(fake.tree, message, &dir, call), 0);
	assert_int_equal(fake.structure_calls, 1);
	tree_dir_close(dir);
	/* it is kept */
	assert_int_equal(tree_dir_open(fake.tree, message, &dir, fake_call()), 0);
	assert_int_equal(fake.structure_calls, 1);
	tree_dir_close(dir);
	/* of another message it is not, and a store that does not keep it is no endless loop */
	fake.structure_stored = false;
	call = fake_call();
	assert_int_equal(tree_dir_open(fake.tree, message + 1, &dir, call), -EINPROGRESS);
	fake_wake(0);
	assert_int_equal(tree_dir_open(fake.tree, message + 1, &dir, call), -EIO);
	fake_finish();
}

static void test_a_structure_that_is_not_understood(void **state)
{
	struct str names = STR_INIT;
	(void)state;
	begin();
	fake.structure_empty = true;
	list_node(message, &names);
	assert_string_equal(names.data, ".|..|headers.txt|");
	str_finish(&names);
	fake_finish();
}

static void test_sizes_shown(void **state)
{
	struct tree_entry entry;
	(void)state;
	begin();
	assert_int_equal(look_up(message, "headers.txt", &entry), 0);
	assert_true(entry.provisional);
	assert_int_equal(entry.attr.st_size, 1001); /* no more than the message */
	assert_int_equal(look_up(message, "1-text.txt", &entry), 0);
	assert_true(entry.provisional);
	assert_true(entry.attr.st_size >= 3000);
	fake.events.section_size(fake.events.arg, box, 1, "1", 2500);
	assert_int_equal(tree_attributes(fake.tree, entry.node, &entry), 0);
	assert_false(entry.provisional);
	assert_int_equal(entry.attr.st_size, 2500);
	assert_int_equal(entry.attr.st_mode, S_IFREG | 0600);
	fake.known_section = "HEADER";
	fake.known_size = 321;
	assert_int_equal(look_up(message, "headers.txt", &entry), 0);
	assert_false(entry.provisional);
	assert_int_equal(entry.attr.st_size, 321);
	fake_finish();
}

static uint64_t node_of_part(const char *prefix)
{
	struct tree_entry entry;
	struct str names = STR_INIT;
	char name[128];
	list_node(message, &names);
	snprintf(name, sizeof(name), "%s", strstr(names.data, prefix) + 1);
	*strchr(name, '|') = 0;
	assert_int_equal(look_up(message, name, &entry), 0);
	str_finish(&names);
	return entry.node;
}

static void test_a_small_part_is_settled_when_opened(void **state)
{
	struct tree_file *file;
	struct tree_entry entry;
	(void)state;
	begin();
	uint64_t node = node_of_part("|2-");
	struct tree_call *call = fake_call();
	assert_int_equal(tree_file_open(fake.tree, node, &file, call), -EINPROGRESS);
	fake.size_settled = true;
	fake.true_size = 29876;
	fake_wake(0);
	assert_int_equal(tree_file_open(fake.tree, node, &file, call), 0);
	assert_string_equal(fake.opened_section, "2");
	assert_false(tree_file_size_is_bound(file));
	tree_file_close(file);
	assert_int_equal(tree_attributes(fake.tree, node, &entry), 0);
	assert_int_equal(entry.attr.st_size, 29876);
	assert_false(entry.provisional);
	fake_finish();
}

static void test_a_large_part_has_a_bound(void **state)
{
	struct tree_file *file;
	(void)state;
	begin();
	uint64_t node = node_of_part("|3-");
	assert_int_equal(tree_file_open(fake.tree, node, &file, fake_call()), 0);
	assert_true(tree_file_size_is_bound(file));
	assert_int_equal(fake.opened_size, UINT64_MAX);
	tree_file_close(file);
	fake.events.section_size(fake.events.arg, box, 1, "3", 5846154);
	assert_int_equal(tree_file_open(fake.tree, node, &file, fake_call()), 0);
	assert_false(tree_file_size_is_bound(file));
	tree_file_close(file);
	fake_finish();
}

static void test_parts_of_an_attached_message(void **state)
{
	struct tree_file *file;
	struct tree_entry header, text;
	(void)state;
	begin();
	fake.size_settled = true;
	uint64_t attached = node_of_part("|4-");
	assert_int_equal(tree_file_open(fake.tree, attached, &file, fake_call()), -EISDIR);
	assert_int_equal(look_up(attached, "headers.txt", &header), 0);
	assert_int_equal(tree_file_open(fake.tree, header.node, &file, fake_call()), 0);
	assert_string_equal(fake.opened_section, "4.HEADER");
	tree_file_close(file);
	assert_int_equal(look_up(attached, "1-text.txt", &text), 0);
	assert_int_equal(tree_file_open(fake.tree, text.node, &file, fake_call()), 0);
	assert_string_equal(fake.opened_section, "4.1");
	tree_file_close(file);
	fake_finish();
}

/* More messages than are kept, each used after it was dropped. */
static void test_many_messages(void **state)
{
	struct tree_dir *dirs[100];
	struct str names = STR_INIT;
	(void)state;
	begin();
	for (uint32_t uid = 3; uid <= 101; uid++)
		fake_message(box, uid);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(tree_dir_open(fake.tree, message + i, &dirs[i], fake_call()), 0);
	for (uint32_t i = 0; i < 100; i++) {
		str_reset(&names);
		assert_int_equal(fake_read_dir(dirs[i], 0, &names), 0);
		assert_non_null(strstr(names.data, "|3-"));
		tree_dir_close(dirs[i]);
	}
	assert_int_equal(fake.structure_calls, 100);
	str_finish(&names);
	fake_finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_directories),
		cmocka_unit_test(test_inode_numbers_are_those_of_the_section),
		cmocka_unit_test(test_the_structure_is_waited_for_once),
		cmocka_unit_test(test_a_structure_that_is_not_understood),
		cmocka_unit_test(test_sizes_shown),
		cmocka_unit_test(test_a_small_part_is_settled_when_opened),
		cmocka_unit_test(test_a_large_part_has_a_bound),
		cmocka_unit_test(test_parts_of_an_attached_message),
		cmocka_unit_test(test_many_messages),
	};
	return cmocka_run_group_tests_name("tree/parts", tests, NULL, NULL);
}
