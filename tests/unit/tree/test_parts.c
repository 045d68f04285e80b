/* SPDX-License-Identifier: MIT */
/*
 * Inside messages: directories, attached messages, sizes that are bounds, and how long nodes live.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

static void begin_with(bool readonly)
{
	struct tree_params params = fake_params();
	params.readonly = readonly;
	fake_reset();
	box = fake_folder("Box", '/', 0);
	assert_int_equal(fake_tree_params(&params), 0);
	fake_listed(box, 5, 2);
	make_structure();
	fake.structure_stored = true;
	str_reset(&fake.told);
}

static void begin(void)
{
	begin_with(false);
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
	assert_string_equal(names.data, ".|..|headers.txt|truncated.txt|");
	str_finish(&names);
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

/* truncated.txt of a directory, as it is read in pieces; "": there is none. */
static void read_truncated(uint64_t directory, struct str *out)
{
	struct tree_entry entry, again;
	struct tree_file *file;
	struct str names = STR_INIT;
	char piece[7];
	ssize_t n;
	str_reset(out);
	list_node(directory, &names);
	bool listed = strstr(names.data, "|headers.txt|truncated.txt|");
	assert_int_equal(look_up(directory, "truncated.txt", &entry), listed ? 0 : -ENOENT);
	str_finish(&names);
	if (!listed)
		return;
	assert_false(entry.provisional);
	assert_true(S_ISREG(entry.attr.st_mode));
	assert_int_equal(tree_file_open(fake.tree, entry.node, &file, fake_call()), 0);
	assert_false(tree_file_size_is_bound(file));
	while ((n = tree_file_read(file, piece, sizeof(piece), out->len, fake_call())) > 0)
		str_append(out, piece, (size_t)n);
	assert_int_equal(n, 0);
	assert_int_equal(out->len, entry.attr.st_size);
	tree_file_attributes(fake.tree, file, &again);
	assert_int_equal(again.attr.st_size, entry.attr.st_size);
	assert_int_equal(again.attr.st_ino, entry.attr.st_ino);
	assert_int_equal(fake.bodies, 0);
	tree_file_close(file);
	assert_int_equal(tree_xattr_get(fake.tree, entry.node, "user.mailfs.uid", out, fake_call()),
		-ENODATA);
	assert_int_equal(tree_attributes(fake.tree, entry.node, &again), 0);
	assert_int_equal(again.attr.st_size, entry.attr.st_size);
	tree_forget(fake.tree, entry.node, 1);
}

static void with_cut(unsigned cut_root, unsigned cut_inner)
{
	struct mime_part *root;
	assert_int_equal(mime_part_parse(fake.structure.data, fake.structure.len, &root), 0);
	root->cut = cut_root;
	root->children[3]->children[0]->children[1]->cut = cut_inner;
	str_reset(&fake.structure);
	assert_int_equal(mime_part_serialize(root, &fake.structure), 0);
	mime_part_destroy(root);
}

/* It says what was cut, where it was cut, and nowhere else. */
static void test_truncated(void **state)
{
	static const char *const words[] = {"levels deep", "10000 parts or more", "more than 1000",
		"250 bytes", "can not be understood", "longer than 4 MiB"};
	struct str text = STR_INIT;
	(void)state;
	for (unsigned cut = 0; cut < 1 << 6; cut++)
		for (int inner = 0; inner < 2; inner++) {
			begin();
			with_cut(inner ? 0 : cut, inner ? cut : 0);
			read_truncated(message, &text);
			assert_int_equal(text.len > 0, cut != 0);
			for (unsigned i = 0; i < 6; i++)
				assert_int_equal(
					strstr(str_cstr(&text), words[i]) != NULL, cut >> i & 1);
			assert_int_equal(strstr(str_cstr(&text), fake_name(1)) != NULL, cut != 0);
			read_truncated(node_of_part("|4-"), &text);
			assert_int_equal(text.len > 0, inner && cut != 0);
			fake_finish();
		}
	begin();
	fake.structure_empty = true;
	read_truncated(message, &text);
	assert_non_null(strstr(text.data, "description"));
	fake_finish();
	str_finish(&text);
}

/* A part can be called so; it has its number in front. */
static void test_a_part_called_truncated(void **state)
{
	struct str names = STR_INIT;
	struct tree_entry entry;
	(void)state;
	begin();
	struct mime_part *root = part("multipart", "mixed", "", 0);
	struct mime_part *child = part("text", "plain", "", 5);
	mime_params_add(&child->params, "name", 4, "truncated.txt", 13);
	mime_part_add_child(root, child);
	str_reset(&fake.structure);
	assert_int_equal(mime_part_serialize(root, &fake.structure), 0);
	list_node(message, &names);
	assert_string_equal(names.data, ".|..|headers.txt|1-truncated.txt|");
	assert_int_equal(look_up(message, "truncated.txt", &entry), -ENOENT);
	mime_part_destroy(root);
	str_finish(&names);
	fake_finish();
}

/* As many parts as there may be: each is found by its name, and its file by its section, without looking at all of them. */
static void test_many_parts(void **state)
{
	struct mime_part *root = part("multipart", "mixed", "", 0);
	struct tree_file *file;
	struct tree_entry entry;
	char name[32];
	(void)state;
	begin();
	fake.size_settled = true;
	for (int i = 1; i < MIME_PARTS_MAX; i++)
		mime_part_add_child(root, part("text", "plain", "", 5));
	str_reset(&fake.structure);
	assert_int_equal(mime_part_serialize(root, &fake.structure), 0);
	mime_part_destroy(root);
	clock_t start = clock();
	for (int i = 1; i < MIME_PARTS_MAX; i++) {
		snprintf(name, sizeof(name), "%d-text.txt", i);
		assert_int_equal(look_up(message, name, &entry), 0);
		assert_int_equal(tree_file_open(fake.tree, entry.node, &file, fake_call()), 0);
		tree_file_close(file);
		tree_forget(fake.tree, entry.node, 1);
	}
	assert_true((clock() - start) / CLOCKS_PER_SEC < 5);
	assert_int_equal(look_up(message, "10000-text.txt", &entry), -ENOENT);
	assert_int_equal(fake.structure_calls, 1);
	/* Three of them are more than is kept. */
	for (uint32_t i = 0; i < 3; i++) {
		struct tree_dir *dir;
		if (i == 2)
			fake_message(box, 3);
		assert_int_equal(tree_dir_open(fake.tree, message + i, &dir, fake_call()), 0);
		tree_dir_close(dir);
	}
	assert_int_equal(fake.structure_calls, 3);
	assert_int_equal(look_up(message + 2, "1-text.txt", &entry), 0);
	assert_int_equal(fake.structure_calls, 3);
	assert_int_equal(look_up(message, "1-text.txt", &entry), 0);
	assert_int_equal(fake.structure_calls, 4);
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

/* headers.txt is never shown shorter than it is where it is read to the size that is shown. */
static void test_headers_shown(void **state)
{
	const uint32_t large = 499000; /* of 500,000 bytes */
	(void)state;
	for (int readonly = 0; readonly < 2; readonly++) {
		struct tree_entry entry;
		begin_with(readonly);
		fake_message(box, large);
		assert_int_equal(look_up(message - 1 + large, "headers.txt", &entry), 0);
		assert_int_equal(entry.attr.st_size, readonly ? 500000 : 65536);
		fake_finish();
	}
}

/* Where the structure tells how long it is, it is that long. */
static void test_headers_located(void **state)
{
	struct mime_part *root = part("multipart", "mixed", "", 0);
	struct mime_part *attached = part("message", "rfc822", "", 400000);
	struct tree_entry entry;
	(void)state;
	begin();
	mime_part_add_child(attached, part("text", "plain", "7bit", 5));
	attached->children[0]->located = attached->located = root->located = true;
	attached->children[0]->header_bytes = 200000;
	root->header_bytes = 300000;
	mime_part_add_child(root, attached);
	str_reset(&fake.structure);
	assert_int_equal(mime_part_serialize(root, &fake.structure), 0);
	mime_part_destroy(root);
	assert_int_equal(look_up(message, "headers.txt", &entry), 0);
	assert_int_equal(entry.attr.st_size, 300000);
	assert_false(entry.provisional);
	assert_int_equal(look_up(node_of_part("|1-"), "headers.txt", &entry), 0);
	assert_int_equal(entry.attr.st_size, 200000);
	fake_finish();
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

static bool trimming; /* the next one is looked at */

/* What gives memory back takes its time: another structure is read meanwhile. */
int __wrap_malloc_trim(size_t pad);
int __wrap_malloc_trim(size_t pad)
{
	struct tree_entry entry;
	(void)pad;
	if (trimming) {
		trimming = false;
		assert_int_equal(look_up(message + 1, "no-such-part", &entry), -ENOENT);
	}
	return 0;
}

static void test_memory_is_given_back(void **state)
{
	struct mime_part *root = part("multipart", "mixed", "", 0);
	struct tree_entry entry;
	(void)state;
	begin();
	for (int i = 0; i < 9000; i++)
		mime_part_add_child(root, part("application", "octet-stream-of-bytes", "7bit", 10));
	str_reset(&fake.structure);
	assert_int_equal(mime_part_serialize(root, &fake.structure), 0);
	mime_part_destroy(root);
	/* A lock that is held there is waited for in vain. */
	alarm(20);
	trimming = true;
	assert_int_equal(look_up(message, "no-such-part", &entry), -ENOENT);
	alarm(0);
	assert_false(trimming);
	fake_finish();
}

#define ATTACHED 300

/* An attached message each; in the last another one, of two parts. */
static void attach_many(void)
{
	struct mime_part *root = part("multipart", "digest", "", 0);
	for (int i = 1; i <= ATTACHED; i++) {
		struct mime_part *attached = part("message", "rfc822", "", 100);
		struct mime_part *body = attached;
		if (i == ATTACHED) {
			body = part("message", "rfc822", "", 50);
			mime_part_add_child(attached, body);
		}
		mime_part_add_child(body, part("text", i % 2 ? "plain" : "html", "7bit", 10));
		mime_part_add_child(root, attached);
	}
	str_reset(&fake.structure);
	assert_int_equal(mime_part_serialize(root, &fake.structure), 0);
	mime_part_destroy(root);
}

/* Of each the structure is needed, which is read once, and again after another message's. */
static void test_many_attached_messages(void **state)
{
	_cleanup_str_ struct str names = STR_INIT, inner = STR_INIT;
	(void)state;
	begin();
	attach_many();
	list_node(message, &names);
	char *rest = names.data, *name;
	for (int i = 1 - 3; (name = strsep(&rest, "|")); i++) {
		struct tree_entry entry;
		if (i < 1 || !*name)
			continue;
		assert_int_equal(look_up(message, name, &entry), 0);
		str_reset(&inner);
		list_node(entry.node, &inner);
		if (i == ATTACHED) {
			assert_string_equal(inner.data, ".|..|headers.txt|1-message|");
			assert_int_equal(look_up(entry.node, "1-message", &entry), 0);
			str_reset(&inner);
			list_node(entry.node, &inner);
		}
		assert_string_equal(inner.data,
			i % 2 ? ".|..|headers.txt|1-text.txt|" : ".|..|headers.txt|1-text.html|");
		assert_int_equal(fake.structure_reads, 1);
	}
	assert_int_equal(fake.structure_calls, 1);
	str_reset(&inner);
	list_node(message + 1, &inner);
	assert_int_equal(fake.structure_reads, 2);
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
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_a_part_called_truncated),
		cmocka_unit_test(test_many_parts),
		cmocka_unit_test(test_sizes_shown),
		cmocka_unit_test(test_headers_shown),
		cmocka_unit_test(test_headers_located),
		cmocka_unit_test(test_a_small_part_is_settled_when_opened),
		cmocka_unit_test(test_a_large_part_has_a_bound),
		cmocka_unit_test(test_parts_of_an_attached_message),
		cmocka_unit_test(test_many_attached_messages),
		cmocka_unit_test(test_many_messages),
		cmocka_unit_test(test_memory_is_given_back),
	};
	return cmocka_run_group_tests_name("tree/parts", tests, NULL, NULL);
}
