/* SPDX-License-Identifier: MIT */
/* What may not be done to messages that were downloaded for good. */
#include "spool_fixture.h"

#include <errno.h>
#include <string.h>

static void check_body_refuses(struct fixture *fixture, uint32_t uid, size_t len)
{
	assert_int_equal(spool_put(fixture->store, uid, 9, len), 0);
	struct store_body *body = fixture_body(fixture, FOLDER, uid, "");
	assert_int_equal(store_body_write(body, "x", 1, 0), -EPERM);
	assert_int_equal(store_body_write(body, "x", 1, len), -EPERM);
	assert_int_equal(store_body_set_size(body, 0), -EPERM);
	assert_int_equal(store_body_set_size(body, len + 1), -EPERM);
	assert_int_equal(store_body_set_size(body, len), 0);
	assert_int_equal(store_body_drop(body), -EPERM);
	check_bytes(body, 9, len, 0);
	store_body_close(body);
	check_message(fixture, uid, 9, len);
}

static void test_body_refuses(void **state)
{
	check_body_refuses(*state, 1, 100);
	check_body_refuses(*state, 2, OWN_FILE);
}

static void test_remove_refuses(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(spool_put_group(fixture->store, 1, 3), 0);
	struct source_row row = {.uid = 9, .have = SOURCE_ROW_FLAGS, .flags = ""};
	assert_int_equal(store_rows_put(fixture->store, FOLDER, &row, 1), 0);
	assert_int_equal(store_rows_put(fixture->store, 6, &row, 1), 0);
	uint32_t all[] = {9, 2}, other[] = {9};
	struct store_body *body = fixture_body(fixture, FOLDER, 2, "");
	assert_int_equal(store_rows_remove(fixture->store, FOLDER, all, 2), -EPERM);
	assert_int_equal(store_folder_remove(fixture->store, FOLDER), -EPERM);
	check_bytes(body, 2, spool_length(2), 0);
	store_body_close(body);
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t uid = 1; uid <= 3; uid++)
			check_message(fixture, uid, uid, spool_length(uid));
		fixture_reopen(fixture);
	}
	uint64_t messages, unseen;
	assert_int_equal(store_folder_count(fixture->store, FOLDER, &messages, &unseen), 0);
	assert_int_equal(messages, 4);
	/* What is not in the spool can go. */
	assert_int_equal(store_rows_remove(fixture->store, FOLDER, other, 1), 0);
	assert_int_equal(store_folder_remove(fixture->store, 6), 0);
	assert_int_equal(store_folder_count(fixture->store, FOLDER, &messages, &unseen), 0);
	assert_int_equal(messages, 3);
}

static void test_cache_has_no_spool(void **state)
{
	struct fixture *fixture = *state;
	fixture->kind = STORE_CACHE;
	fixture_reopen(fixture);
	struct store_spool_file *file = NULL;
	assert_int_equal(store_spool_create(fixture->store, FOLDER, 1, &file), -EINVAL);
	assert_int_equal(store_spool_clean(fixture->store, FOLDER), -EINVAL);
	assert_null(file);
}

/* A whole message is not replaced by another one. */
static void check_not_replaced(struct fixture *fixture, size_t len)
{
	struct store_spool_item items[3];
	assert_int_equal(spool_put(fixture->store, 1, 9, len), 0);
	size_t files = spool_files(fixture);
	int64_t length = spool_pack_size(fixture, 1);
	assert_int_equal(spool_write(fixture->store, 2, 2, 10, &items[0]), 0);
	assert_int_equal(spool_write(fixture->store, 3, 2, OWN_FILE, &items[1]), 0);
	assert_int_equal(spool_write(fixture->store, 1, 8, len, &items[2]), 0);
	assert_int_equal(store_spool_commit(fixture->store, FOLDER, items, 3), -EEXIST);
	spool_discard_all(items, 3);
	check_message(fixture, 1, 9, len);
	assert_int_equal(spool_count(fixture->store), 1);
	assert_int_equal(spool_files(fixture), files);
	assert_int_equal(spool_pack_size(fixture, 1), length);
	/* The same once more does no harm; a file that is replaced is kept. */
	assert_int_equal(spool_put(fixture->store, 1, 9, len), 0);
	check_message(fixture, 1, 9, len);
	assert_int_equal(spool_files(fixture), 2 * files);
}

static void test_whole_not_replaced(void **state)
{
	check_not_replaced(*state, 100);
}

static void test_whole_file_not_replaced(void **state)
{
	check_not_replaced(*state, OWN_FILE);
}

static void check_same_uid_twice(struct fixture *fixture, size_t first, size_t second)
{
	struct store_spool_item items[2];
	assert_int_equal(spool_write(fixture->store, 1, 2, first, &items[0]), 0);
	assert_int_equal(spool_write(fixture->store, 1, 8, second, &items[1]), 0);
	assert_int_equal(store_spool_commit(fixture->store, FOLDER, items, 2), -EIO);
	spool_discard_all(items, 2);
	assert_int_equal(spool_count(fixture->store), 0);
	assert_int_equal(spool_files(fixture) + spool_packs(fixture), 0);
}

static void test_same_uid_twice(void **state)
{
	struct fixture *fixture = *state;
	fixture_log_begin(fixture);
	check_same_uid_twice(fixture, 10, 20);
	check_same_uid_twice(fixture, OWN_FILE, OWN_FILE + 1);
	check_same_uid_twice(fixture, OWN_FILE, 10);
	check_same_uid_twice(fixture, 10, OWN_FILE);
	assert_non_null(strstr(fixture_log_end(fixture), "UNIQUE"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, spool_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_body_refuses),
		TEST(test_remove_refuses),
		TEST(test_cache_has_no_spool),
		TEST(test_whole_not_replaced),
		TEST(test_whole_file_not_replaced),
		TEST(test_same_uid_twice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
