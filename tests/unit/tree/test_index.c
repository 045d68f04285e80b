/* SPDX-License-Identifier: MIT */
/* A folder's messages in memory: order, search, tombstones, and how little a message takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "index.h"

static void add(struct index *index, uint32_t uid)
{
	char name[128];
	struct index_entry entry = {.uid = uid, .size_bytes = uid * 10, .flags = INDEX_SIZED};
	size_t before = index->count;
	snprintf(name, sizeof(name),
		"2026-11-21_0915_Alice-Smith_Quarterly-report-of-the-year.%u.eml", uid);
	assert_int_equal(index_append(index, &entry, name), before);
}

static void check(struct index *index, uint32_t uid, ssize_t position)
{
	char suffix[32];
	assert_int_equal(index_find(index, uid), position);
	if (position < 0)
		return;
	const struct index_entry *entry = index_at(index, (size_t)position);
	assert_int_equal(entry->uid, uid);
	assert_int_equal(entry->size_bytes, uid * 10);
	snprintf(suffix, sizeof(suffix), ".%u.eml", uid);
	assert_non_null(strstr(index_name(index, entry), suffix));
}

static void test_empty(void **state)
{
	struct index index;
	(void)state;
	index_init(&index);
	assert_int_equal(index_find(&index, 1), -ENOENT);
	assert_int_equal(index_live(&index), 0);
	index_finish(&index);
}

static void test_ascending(void **state)
{
	struct index index;
	(void)state;
	index_init(&index);
	for (uint32_t i = 1; i <= 5000; i++)
		add(&index, i * 3);
	for (uint32_t i = 1; i <= 5000; i++)
		check(&index, i * 3, i - 1);
	check(&index, 1, -ENOENT);
	check(&index, 16000, -ENOENT);
	assert_false(index.unordered);
	assert_null(index.sorted);
	index_finish(&index);
}

/* Searched after each append, as the tree does: through all sizes of the unsorted tail. */
static void test_any_order(void **state)
{
	struct index index;
	(void)state;
	index_init(&index);
	for (uint32_t i = 0; i < 7919; i++) {
		uint32_t uid = i * 3001 % 7919 + 1; /* each once: 7919 is prime */
		assert_int_equal(index_find(&index, uid), -ENOENT);
		add(&index, uid);
		check(&index, uid, i);
	}
	for (uint32_t i = 0; i < 7919; i++)
		check(&index, i * 3001 % 7919 + 1, i);
	index_finish(&index);
}

static void test_descending(void **state)
{
	struct index index;
	(void)state;
	index_init(&index);
	for (uint32_t i = 10000; i > 0; i--)
		add(&index, i);
	for (uint32_t i = 10000; i > 0; i--)
		check(&index, i, 10000 - i);
	index_finish(&index);
}

static void test_tombstones_keep_positions(void **state)
{
	struct index index;
	(void)state;
	index_init(&index);
	for (uint32_t i = 1; i <= 100; i++)
		add(&index, i);
	index_bury(&index, 10);
	index_bury(&index, 10);
	assert_int_equal(index_live(&index), 99);
	assert_true(index_at(&index, 10)->flags & INDEX_GONE);
	check(&index, 11, 10);
	check(&index, 12, 11);
	index_revive(&index, 10);
	index_revive(&index, 10);
	assert_int_equal(index_live(&index), 100);
	index_finish(&index);
}

static void test_rename(void **state)
{
	struct index index;
	(void)state;
	index_init(&index);
	add(&index, 1);
	add(&index, 2);
	assert_int_equal(index_rename(&index, 0, "other.1.eml"), 0);
	assert_string_equal(index_name(&index, index_at(&index, 0)), "other.1.eml");
	check(&index, 2, 1);
	index_finish(&index);
}

static void test_compact(void **state)
{
	struct index index;
	(void)state;
	index_init(&index);
	for (uint32_t i = 20000; i > 0; i--)
		add(&index, i);
	for (size_t i = 0; i < 20000; i++)
		if (i % 10)
			index_bury(&index, i);
	assert_true(index_wasteful(&index));
	assert_int_equal(index_compact(&index), 0);
	assert_int_equal(index.count, 2000);
	assert_int_equal(index_live(&index), 2000);
	for (uint32_t i = 0; i < 2000; i++)
		check(&index, 20000 - i * 10, i);
	assert_false(index_wasteful(&index));
	index_finish(&index);
}

/* A million listed messages must fit into 160 MiB with everything else of the process. */
static void test_memory(void **state)
{
	enum { COUNT = 200000 };
	struct index index;
	(void)state;
	struct mallinfo2 before = mallinfo2();
	index_init(&index);
	for (uint32_t i = 1; i <= COUNT; i++)
		add(&index, i);
	struct mallinfo2 after = mallinfo2();
	size_t used = after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;
	size_t unused = (index.cap - index.count) * sizeof(*index.entries); /* never touched */
	if (used > COUNT) /* the allocator of a sanitizer does not count */
		assert_in_range((used - unused) / COUNT, 1, 110);
	assert_int_equal(sizeof(struct index_entry), 24);
	index_finish(&index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_ascending),
		cmocka_unit_test(test_any_order),
		cmocka_unit_test(test_descending),
		cmocka_unit_test(test_tombstones_keep_positions),
		cmocka_unit_test(test_rename),
		cmocka_unit_test(test_compact),
		cmocka_unit_test(test_memory),
	};
	return cmocka_run_group_tests_name("tree/index", tests, NULL, NULL);
}
