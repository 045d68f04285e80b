/* SPDX-License-Identifier: MIT */
/* A folder's messages in memory: order, search, tombstones, and how little a message takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "index.h"
#include "mailfs/util/log.h"

static struct pages pages;

static int setup(void **state)
{
	(void)state;
	pages_init(&pages, NULL, NULL);
	return 0;
}

/* Whatever an index took it has given back. */
static int teardown(void **state)
{
	(void)state;
	assert_int_equal(pages.resident, 0);
	pages_finish(&pages);
	return 0;
}

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
	struct index_entry entry;
	char name[INDEX_NAME_SIZE];
	assert_int_equal(index_get(index, (size_t)position, &entry), 0);
	assert_int_equal(entry.uid, uid);
	assert_int_equal(entry.size_bytes, uid * 10);
	snprintf(suffix, sizeof(suffix), ".%u.eml", uid);
	assert_int_equal(index_name(index, &entry, name), 0);
	assert_non_null(strstr(name, suffix));
}

static void test_empty(void **state)
{
	struct index index;
	(void)state;
	index_init(&index, &pages);
	assert_int_equal(index_find(&index, 1), -ENOENT);
	assert_int_equal(index_live(&index), 0);
	index_finish(&index);
}

static void test_ascending(void **state)
{
	struct index index;
	(void)state;
	index_init(&index, &pages);
	for (uint32_t i = 1; i <= 5000; i++)
		add(&index, i * 3);
	for (uint32_t i = 1; i <= 5000; i++)
		check(&index, i * 3, i - 1);
	check(&index, 1, -ENOENT);
	check(&index, 16000, -ENOENT);
	assert_false(index.unordered);
	assert_int_equal(index.sorted.count, 0);
	index_finish(&index);
}

/* Searched after each append, as the tree does: through all sizes of the unsorted tail. */
static void test_any_order(void **state)
{
	struct index index;
	(void)state;
	index_init(&index, &pages);
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
	index_init(&index, &pages);
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
	index_init(&index, &pages);
	for (uint32_t i = 1; i <= 100; i++)
		add(&index, i);
	index_bury(&index, 10);
	index_bury(&index, 10);
	assert_int_equal(index_live(&index), 99);
	struct index_entry entry;
	assert_int_equal(index_get(&index, 10, &entry), 0);
	assert_true(entry.flags & INDEX_GONE);
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
	index_init(&index, &pages);
	add(&index, 1);
	add(&index, 2);
	struct index_entry entry;
	char name[INDEX_NAME_SIZE];
	assert_int_equal(index_get(&index, 0, &entry), 0);
	assert_int_equal(index_rename(&index, 0, &entry, "other.1.eml"), 0);
	assert_int_equal(index_name(&index, &entry, name), 0);
	assert_string_equal(name, "other.1.eml");
	check(&index, 2, 1);
	index_finish(&index);
}

static void test_compact(void **state)
{
	struct index index;
	(void)state;
	index_init(&index, &pages);
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

/* A million listed messages must fit into 160 MiB with everything else of the process, even if they all were in memory. */
static void test_memory(void **state)
{
	enum { COUNT = 100000 };
	struct index index;
	(void)state;
	index_init(&index, &pages);
	for (uint32_t i = 1; i <= COUNT; i++)
		add(&index, i);
	assert_in_range(pages.resident * 4096 / COUNT, 1, 110);
	assert_int_equal(sizeof(struct index_entry), 24);
	index_finish(&index);
}

/* --- Where memory is short --- */

static int open_file(void *arg)
{
	(void)arg;
	return open("/tmp", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
}

/* A folder in every order of access that there is, with five pages in memory: nothing of it is lost. */
static void test_little_memory(void **state)
{
	struct index index, other;
	(void)state;
	pages.open = open_file;
	pages.resident_max = 5;
	index_init(&index, &pages);
	index_init(&other, &pages);
	for (uint32_t i = 0; i < 2999; i++) {
		add(&index, i * 1009 % 2999 + 1);
		add(&other, i + 1);
	}
	for (size_t i = 1; i < 2999; i += 2)
		assert_int_equal(index_bury(&index, i), 0);
	for (uint32_t i = 0; i < 2999; i++) {
		struct index_entry entry;
		check(&index, i * 1009 % 2999 + 1, i);
		check(&other, i + 1, i);
		assert_int_equal(index_get(&index, i, &entry), 0);
		assert_int_equal(!!(entry.flags & INDEX_GONE), i % 2);
	}
	assert_in_range(pages.resident, 1, 5);
	assert_int_equal(index_compact(&index), 0);
	for (uint32_t i = 0; i < 1500; i++)
		check(&index, i * 2 * 1009 % 2999 + 1, i);
	index_finish(&index);
	index_finish(&other);
}

static int refuse(void *arg)
{
	(void)arg;
	return -EROFS;
}

/* The disk takes nothing: memory is used, and not without end. What is there stays right. */
static void test_no_disk(void **state)
{
	struct index index;
	struct index_entry entry = {.uid = 1000000};
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	pages.open = refuse;
	pages.resident_max = 5;
	pages.held_max = 20;
	index_init(&index, &pages);
	uint32_t i = 0;
	for (ssize_t r = 0; r >= 0 && i < 5000; i++) {
		entry.uid = i + 1;
		r = index_append(&index, &entry, "a-name-that-takes-some-room-in-its-page.1.eml");
		assert_true(r >= 0 || r == -ENOSPC);
	}
	assert_in_range(i, 800, 2000);
	assert_int_equal(index.count, i - 1);
	assert_int_equal(pages.resident, 20);
	for (uint32_t k = 1; k < i; k++)
		assert_int_equal(index_find(&index, k), k - 1);
	assert_int_equal(index_find(&index, i), -ENOENT);
	index_finish(&index);
}

/* A page that does not come back is said to be so; never is it another, or empty. */
static void test_lost(void **state)
{
	struct index index;
	(void)state;
	pages.open = open_file;
	pages.resident_max = 5;
	index_init(&index, &pages);
	for (uint32_t i = 1; i <= 2000; i++)
		add(&index, i);
	assert_int_equal(ftruncate(pages.fd, 0), 0);
	struct index_entry entry = {0};
	assert_int_equal(index_get(&index, 500, &entry), -EIO);
	assert_int_equal(index_find(&index, 501), -EIO);
	assert_int_equal(index_bury(&index, 500), -EIO);
	assert_int_equal(index_live(&index), 2000);
	assert_int_equal(index_compact(&index), -EIO);
	assert_int_equal(index_get(&index, 1999, &entry), 0);
	assert_int_equal(entry.uid, 2000);
	index_finish(&index);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_empty),
		TEST(test_ascending),
		TEST(test_any_order),
		TEST(test_descending),
		TEST(test_tombstones_keep_positions),
		TEST(test_rename),
		TEST(test_compact),
		TEST(test_memory),
		TEST(test_little_memory),
		TEST(test_no_disk),
		TEST(test_lost),
	};
	return cmocka_run_group_tests_name("tree/index", tests, NULL, NULL);
}
