/* SPDX-License-Identifier: MIT */
/* Memory that is refused to the tree: an error, and never a directory that lacks something, or a name that is not there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fake.h"
#include "oom.h"

#define COUNT 40

static struct sync_folder *box;
static char want[COUNT * 100];

static int begin(void)
{
	fake_reset();
	box = fake_folder("Box", '/', 0);
	fake_folder("Box/Sub", '/', 0);
	fake_folder("Z\xc3\xa4.B", '.', 0);
	return fake_tree(NULL);
}

static int try_create(void *arg, unsigned long nth, bool forever)
{
	(void)arg;
	oom_arm(nth, forever);
	int r = begin();
	oom_disarm();
	if (r == 0)
		fake_check_list("", ".|..|Box|Z\xc3\xa4|");
	if (r == 0)
		fake_check_list("Z\xc3\xa4", ".|..|B|");
	if (r == 0)
		fake_finish();
	return r;
}

/* Names are told into memory that is there. */
struct names {
	char text[sizeof(want)];
	size_t len;
	uint64_t next;
};

static bool fill(void *arg, const char *name, const struct tree_entry *entry, uint64_t next)
{
	struct names *names = arg;
	(void)entry;
	names->next = next;
	names->len += (size_t)snprintf(
		names->text + names->len, sizeof(names->text) - names->len, "%s|", name);
	assert_true(names->len < sizeof(names->text));
	return true;
}

static int list(uint64_t node, struct names *names)
{
	struct tree_dir *dir;
	size_t before;
	*names = (struct names){.len = 0};
	int r = tree_dir_open(fake.tree, node, &dir, fake_call());
	if (r < 0)
		return r;
	/* As the kernel does: until nothing comes, or an error. */
	do {
		before = names->len;
		r = tree_dir_read(dir, names->next, false, fill, names, fake_call());
	} while (r == 0 && names->len > before);
	tree_dir_close(dir);
	return r;
}

static int open_one(uint64_t node)
{
	struct tree_entry entry;
	struct tree_file *file;
	int r = tree_lookup(fake.tree, node, fake_name(7), &entry, fake_call());
	if (r == 0)
		r = tree_file_open(fake.tree, entry.node, &file, fake_call());
	if (r == 0)
		tree_file_close(file);
	return r;
}

/* Messages are announced: a directory that could not take them all gives an error from then on. */
static int try_rows(void *arg, unsigned long nth, bool forever)
{
	struct names names;
	(void)arg;
	assert_int_equal(begin(), 0);
	uint64_t node = fake_node("Box");
	oom_arm(nth, forever);
	fake_listed(box, 5, COUNT);
	bool hit = oom_disarm();
	fake.true_size = 10;
	fake.size_settled = true;
	int r = list(node, &names);
	if (r == 0) {
		assert_string_equal(names.text, want);
		assert_int_equal(open_one(node), 0);
	} else {
		assert_true(r == -EIO || r == -ENOMEM);
		/* None of them is said not to be there. */
		assert_int_not_equal(open_one(node), -ENOENT);
	}
	/* It begins anew. */
	if (r < 0) {
		fake.events.reset(fake.events.arg, box, 5);
		fake_listed(box, 5, COUNT);
		assert_int_equal(list(node, &names), 0);
		assert_string_equal(names.text, want);
	}
	fake_finish();
	return hit && r < 0 ? -ENOMEM : r;
}

/* All of these come right or as -ENOMEM; and right afterwards. */
static int use(uint64_t node, struct names *names)
{
	struct tree_entry entry;
	struct str text = STR_INIT;
	int r = list(node, names);
	if (r == 0)
		assert_string_equal(names->text, want);
	if (r == 0)
		r = open_one(node);
	if (r == 0)
		r = tree_lookup(fake.tree, node, fake_name(7), &entry, fake_call());
	if (r == 0)
		r = tree_directory_path(fake.tree, node, &text);
	if (r == 0)
		assert_string_equal(str_cstr(&text), "Box");
	str_reset(&text);
	if (r == 0)
		r = tree_xattr_list(fake.tree, entry.node, &text);
	str_finish(&text);
	return r;
}

static int try_use(void *arg, unsigned long nth, bool forever)
{
	struct names names;
	(void)arg;
	assert_int_equal(begin(), 0);
	fake_listed(box, 5, COUNT);
	fake.true_size = 10;
	fake.size_settled = true;
	uint64_t node = fake_node("Box");
	oom_arm(nth, forever);
	int r = use(node, &names);
	oom_disarm();
	if (r < 0)
		assert_int_equal(use(node, &names), 0);
	fake_finish();
	return r;
}

static void test_each(void **state)
{
	struct names names;
	(void)state;
	assert_int_equal(begin(), 0);
	fake_listed(box, 5, COUNT);
	assert_int_equal(list(fake_node("Box"), &names), 0);
	memcpy(want, names.text, names.len + 1);
	fake_finish();
	oom_each("create", try_create, NULL);
	oom_each("rows", try_rows, NULL);
	oom_each("use", try_use, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
