/* SPDX-License-Identifier: MIT */
/* Node numbers, the table of what lies inside messages, and the map of folder numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mailfs/tree.h"

#include "nodes.h"
#include "numbers.h"

static void check_parse(uint64_t node, enum node_kind kind, uint32_t number, uint32_t uid)
{
	struct node_number n = node_parse(node);
	assert_int_equal(n.kind, kind);
	assert_int_equal(n.number, number);
	assert_int_equal(n.uid, uid);
}

static void test_numbers_of_nodes(void **state)
{
	(void)state;
	assert_int_equal(node_parse(TREE_NODE_ROOT).kind, NODE_ROOT);
	check_parse(node_directory(0x7fffffff, false), NODE_DIRECTORY, 0x7fffffff, 0);
	check_parse(node_directory(5, true), NODE_VIEW, 5, 0);
	check_parse(node_message(5, 4711, false), NODE_MESSAGE, 5, 4711);
	check_parse(node_message(0x7fffffff, UINT32_MAX, true), NODE_VIEW_MESSAGE, 0x7fffffff,
		UINT32_MAX);
	check_parse(TREE_NODE_VIEW | 17, NODE_INSIDE, 0, 17);
	assert_int_equal(node_message(3, 9, false), UINT64_C(3) << 32 | 9);
}

/* Backups of older mounts hold these numbers. */
static void test_inode_numbers_never_change(void **state)
{
	(void)state;
	assert_true(node_inside_ino(1, 1, "1") & TREE_NODE_VIEW);
	assert_int_equal(node_inside_ino(12345, 4711, "HEADER"), UINT64_C(0xc70990c80a4a5d6d));
	assert_int_equal(node_inside_ino(12345, 4711, "2.1"), UINT64_C(0xfc10c9592f4fb076));
	assert_int_not_equal(node_inside_ino(1, 2, "1"), node_inside_ino(2, 1, "1"));
	assert_int_not_equal(node_inside_ino(1, 1, "1"), node_inside_ino(1, 1, "1.1"));
}

static struct inside inside(uint32_t uid, const char *section, uint64_t size_bytes, bool exact)
{
	struct inside i = {.kind = INSIDE_PART,
		.folder = 7,
		.uid = uid,
		.size_bytes = size_bytes,
		.exact = exact};
	snprintf(i.section, sizeof(i.section), "%s", section);
	return i;
}

static void test_references(void **state)
{
	struct nodes nodes;
	struct inside one = inside(1, "1", 10, false), two = inside(1, "2", 20, true), found;
	uint64_t a, b, again, generation, other;
	(void)state;
	assert_int_equal(nodes_init(&nodes), 0);
	assert_int_equal(nodes_get(&nodes, TREE_NODE_VIEW | 1, &found), -ENOENT);
	assert_int_equal(nodes_ref(&nodes, &one, &a, &generation), 0);
	assert_int_equal(nodes_ref(&nodes, &two, &b, &other), 0);
	assert_int_not_equal(a, b);
	assert_int_equal(nodes_ref(&nodes, &one, &again, &other), 0);
	assert_int_equal(a, again);
	assert_int_equal(generation, other);

	assert_int_equal(nodes_get(&nodes, b, &found), 0);
	assert_string_equal(found.section, "2");
	assert_true(found.exact);
	assert_int_equal(found.size_bytes, 20);

	nodes_forget(&nodes, a, 1);
	assert_int_equal(nodes_get(&nodes, a, &found), 0);
	nodes_forget(&nodes, a, 1);
	assert_int_equal(nodes_get(&nodes, a, &found), -ENOENT);
	nodes_forget(&nodes, a, 1);
	nodes_forget(&nodes, TREE_NODE_VIEW | 0, 1);
	nodes_forget(&nodes, TREE_NODE_VIEW | 99, 1);

	/* a slot that is used again is another node */
	struct inside three = inside(2, "1", 0, false);
	assert_int_equal(nodes_ref(&nodes, &three, &again, &other), 0);
	assert_int_equal(again, a);
	assert_int_not_equal(other, generation);
	nodes_finish(&nodes);
}

static void test_sizes(void **state)
{
	struct nodes nodes;
	struct inside one = inside(1, "1", 100, false), later = inside(1, "1", 100, false), found;
	uint64_t node, generation;
	(void)state;
	assert_int_equal(nodes_init(&nodes), 0);
	assert_int_equal(nodes_set_size(&nodes, 7, 1, "1", 5), 0); /* nobody refers to it */
	assert_int_equal(nodes_ref(&nodes, &one, &node, &generation), 0);
	assert_false(one.exact);
	assert_int_equal(nodes_set_size(&nodes, 7, 2, "1", 66), 0);
	assert_int_equal(nodes_set_size(&nodes, 7, 1, "1", 42), 0);
	assert_int_equal(nodes_get(&nodes, node, &found), 0);
	assert_true(found.exact);
	assert_int_equal(found.size_bytes, 42);
	/* one that was exact, and grows after all, is told */
	assert_int_equal(nodes_set_size(&nodes, 7, 1, "1", 41), 0);
	assert_int_equal(nodes_set_size(&nodes, 7, 1, "1", 42), node);
	/* who comes with a bound is told better */
	assert_int_equal(nodes_ref(&nodes, &later, &node, &generation), 0);
	assert_true(later.exact);
	assert_int_equal(later.size_bytes, 42);
	nodes_finish(&nodes);
}

static void test_many(void **state)
{
	enum { COUNT = 5000 };
	static uint64_t numbers[COUNT];
	struct nodes nodes;
	struct inside found;
	uint64_t generation;
	(void)state;
	assert_int_equal(nodes_init(&nodes), 0);
	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < COUNT; i++) {
			struct inside one = inside(i, "1.2", i, true);
			assert_int_equal(nodes_ref(&nodes, &one, &numbers[i], &generation), 0);
		}
		assert_int_equal(nodes.used, COUNT);
		assert_int_equal(nodes.slot_count, COUNT + 1);
		for (uint32_t i = 0; i < COUNT; i++) {
			assert_int_equal(nodes_get(&nodes, numbers[i], &found), 0);
			assert_int_equal(found.uid, i);
			nodes_forget(&nodes, numbers[i], 1);
		}
		assert_int_equal(nodes.used, 0);
	}
	nodes_finish(&nodes);
}

static void test_map(void **state)
{
	static int values[3000];
	struct numbers map = {0};
	(void)state;
	assert_null(numbers_get(&map, 1));
	for (uint32_t i = 0; i < 3000; i++)
		assert_int_equal(numbers_put(&map, i * 16 + 1, &values[i]), 0);
	for (uint32_t i = 0; i < 3000; i++)
		assert_ptr_equal(numbers_get(&map, i * 16 + 1), &values[i]);
	assert_null(numbers_get(&map, 0));
	assert_null(numbers_get(&map, 2));
	assert_int_equal(numbers_put(&map, 17, NULL), 0);
	assert_null(numbers_get(&map, 17));
	assert_int_equal(numbers_put(&map, 17, &values[0]), 0);
	assert_ptr_equal(numbers_get(&map, 17), &values[0]);
	assert_int_equal(map.count, 3000);
	numbers_finish(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_of_nodes),
		cmocka_unit_test(test_inode_numbers_never_change),
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_map),
	};
	return cmocka_run_group_tests_name("tree/nodes", tests, NULL, NULL);
}
