/* SPDX-License-Identifier: MIT */
/* Removing messages and folders, also while their bodies are open. */
#include "fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int count_row(void *arg, const struct source_row *row)
{
	(void)row;
	++*(int *)arg;
	return 0;
}

static int rows(struct fixture *fixture, uint32_t folder)
{
	int count = 0;
	assert_int_equal(store_rows_load(fixture->store, folder, 0, count_row, &count), 0);
	return count;
}

/* A message with everything that can hang on one. */
static void add(struct fixture *fixture, uint32_t folder, uint32_t uid)
{
	struct source_row row = {.uid = uid, .have = SOURCE_ROW_FLAGS, .flags = ""};
	assert_int_equal(store_rows_put(fixture->store, folder, &row, 1), 0);
	assert_int_equal(store_structure_put(fixture->store, folder, uid, "s", 1), 0);
	assert_int_equal(store_section_size_put(fixture->store, folder, uid, "1", 7), 0);
	assert_int_equal(store_section_size_put(fixture->store, folder, uid, "2", 7), 0);
	static const char *const sections[] = {"", "2"};
	for (int i = 0; i < 2; i++) {
		struct store_body *body = fixture_body(fixture, folder, uid, sections[i]);
		assert_int_equal(write_bytes(body, uid, 100, 0), 0);
		store_body_close(body);
	}
}

static void check_there(struct fixture *fixture, uint32_t folder, uint32_t uid, bool there)
{
	_cleanup_str_ struct str out = STR_INIT;
	uint64_t size;
	int count = 0, rc = there ? 0 : -ENOENT;
	assert_int_equal(store_row_get(fixture->store, folder, uid, count_row, &count), rc);
	assert_int_equal(store_structure_get(fixture->store, folder, uid, &out), rc);
	assert_int_equal(store_section_size_get(fixture->store, folder, uid, "1", &size), rc);
	assert_int_equal(store_section_size_get(fixture->store, folder, uid, "2", &size), rc);
	struct store_body *body = fixture_body(fixture, folder, uid, "");
	assert_int_equal(store_body_held(body, 0), there ? 100 : 0);
	store_body_close(body);
	body = fixture_body(fixture, folder, uid, "2");
	assert_int_equal(store_body_held(body, 0), there ? 100 : 0);
	store_body_close(body);
}

static bool file_exists(struct fixture *fixture, const char *name)
{
	return access(fixture_path(fixture, name), F_OK) == 0;
}

static void test_rows_remove(void **state)
{
	struct fixture *fixture = *state;
	for (uint32_t uid = 1; uid <= 5; uid++) {
		add(fixture, 5, uid);
		add(fixture, 6, uid);
	}
	uint32_t uids[] = {4, 2, 99, 4};
	assert_int_equal(store_rows_remove(fixture->store, 5, uids, 4), 0);
	assert_int_equal(store_rows_remove(fixture->store, 5, NULL, 0), 0);
	assert_false(file_exists(fixture, "bodies/00000005/2"));
	assert_false(file_exists(fixture, "bodies/00000005/4-2"));
	fixture_reopen(fixture);
	for (uint32_t uid = 1; uid <= 5; uid++) {
		check_there(fixture, 5, uid, uid % 2);
		check_there(fixture, 6, uid, true);
	}
	assert_int_equal(rows(fixture, 5), 3);
}

static void put_many(struct fixture *fixture, uint32_t folder, uint32_t count)
{
	struct source_row *many = calloc(count, sizeof(*many));
	assert_non_null(many);
	for (uint32_t i = 0; i < count; i++)
		many[i] = (struct source_row){.uid = i + 1};
	assert_int_equal(store_rows_put(fixture->store, folder, many, count), 0);
	free(many);
}

/* More than one batch of each kind. */
static void test_remove_many(void **state)
{
	struct fixture *fixture = *state;
	uint32_t uids[9000];
	for (uint32_t i = 0; i < 9000; i++)
		uids[i] = i + 1;
	put_many(fixture, 5, 10000);
	put_many(fixture, 6, 10000);
	assert_int_equal(store_rows_remove(fixture->store, 5, uids, 9000), 0);
	assert_int_equal(rows(fixture, 5), 1000);
	assert_int_equal(store_folder_remove(fixture->store, 6), 0);
	assert_int_equal(rows(fixture, 6), 0);
	uint64_t messages, unseen;
	assert_int_equal(store_folder_count(fixture->store, 6, &messages, &unseen), 0);
	assert_int_equal(messages + unseen, 0);
	assert_int_equal(store_folder_count(fixture->store, 5, &messages, &unseen), 0);
	assert_int_equal(messages, 1000);
}

static void test_folder_remove(void **state)
{
	struct fixture *fixture = *state;
	for (uint32_t folder = 4; folder <= 6; folder++) {
		add(fixture, folder, 1);
		add(fixture, folder, UINT32_MAX);
	}
	/* A structure whose row is gone is removed too. */
	assert_int_equal(store_structure_put(fixture->store, 5, 77, "s", 1), 0);
	assert_int_equal(store_folder_remove(fixture->store, 5), 0);
	assert_false(file_exists(fixture, "bodies/00000005"));
	assert_int_equal(store_folder_remove(fixture->store, 5), 0);
	fixture_reopen(fixture);
	for (uint32_t folder = 4; folder <= 6; folder++) {
		check_there(fixture, folder, 1, folder != 5);
		check_there(fixture, folder, UINT32_MAX, folder != 5);
	}
	_cleanup_str_ struct str out = STR_INIT;
	assert_int_equal(store_structure_get(fixture->store, 5, 77, &out), -ENOENT);
}

/* Numbers stay: an inode number never means something else later. */
static void test_number_outlives_folder(void **state)
{
	struct fixture *fixture = *state;
	uint32_t before, after;
	assert_int_equal(
		store_number(fixture->store, "a", STORE_NUMBER_FOLDER, "b", 1, &before), 0);
	fixture_sql(fixture, "UPDATE number SET number = 12345");
	assert_int_equal(store_folder_remove(fixture->store, 12345), 0);
	assert_int_equal(store_number(fixture->store, "a", STORE_NUMBER_FOLDER, "b", 1, &after), 0);
	assert_int_equal(after, 12345);
}

static void remove_one(struct fixture *fixture, bool whole_folder)
{
	uint32_t uid = 1;
	if (whole_folder)
		assert_int_equal(store_folder_remove(fixture->store, 5), 0);
	else
		assert_int_equal(store_rows_remove(fixture->store, 5, &uid, 1), 0);
}

/* A reader who has the body open when its message goes keeps its bytes, and leaves nothing behind. */
static void check_open_body(struct fixture *fixture, bool whole_folder, bool read_before)
{
	add(fixture, 5, 1);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	if (read_before)
		check_bytes(body, 1, 100, 0);
	remove_one(fixture, whole_folder);
	assert_false(file_exists(fixture, "bodies/00000005/1"));
	check_bytes(body, 1, 100, 0);
	assert_int_equal(write_bytes(body, 1, 200, 100), 0);
	assert_int_equal(store_body_set_size(body, 250), 0);
	check_bytes(body, 1, 250, 0);
	assert_int_equal(store_body_drop(body), 0);
	assert_int_equal(write_bytes(body, 1, 50, 0), 0);
	check_bytes(body, 1, 50, 0);
	assert_int_equal(store_body_set_size(body, 50), 0);
	store_body_close(body);
	assert_false(file_exists(fixture, "bodies/00000005/1"));
	assert_false(file_exists(fixture, "bodies/nameless-0"));
	check_there(fixture, 5, 1, false);
}

static void test_remove_while_read(void **state)
{
	check_open_body(*state, false, true);
}

static void test_remove_while_open(void **state)
{
	check_open_body(*state, false, false);
}

static void test_folder_remove_while_read(void **state)
{
	check_open_body(*state, true, true);
}

static void test_folder_remove_while_open(void **state)
{
	check_open_body(*state, true, false);
}

/* The body that has not been recorded yet goes with its message, too. */
static void test_remove_unrecorded(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(write_bytes(body, 1, 100, 0), 0);
	assert_true(file_exists(fixture, "bodies/00000005/1"));
	remove_one(fixture, false);
	assert_false(file_exists(fixture, "bodies/00000005/1"));
	check_bytes(body, 1, 100, 0);
	store_body_close(body);
	check_there(fixture, 5, 1, false);
}

/* The same UID again, while a reader still has the old body: neither sees the other. */
static void test_remove_then_open_again(void **state)
{
	struct fixture *fixture = *state;
	add(fixture, 5, 1);
	struct store_body *old = fixture_body(fixture, 5, 1, "");
	remove_one(fixture, false);
	struct store_body *new = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_held(new, 0), 0);
	assert_int_equal(write_bytes(new, 2, 70, 500), 0);
	assert_int_equal(write_bytes(old, 1, 70, 100), 0);
	check_bytes(old, 1, 170, 0);
	check_bytes(new, 2, 70, 500);
	store_body_close(new);
	store_body_close(old);
	new = fixture_body(fixture, 5, 1, "");
	check_bytes(new, 2, 70, 500);
	assert_int_equal(store_body_held(new, 0), 0);
	store_body_close(new);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rows_remove),
		TEST(test_remove_many),
		TEST(test_folder_remove),
		TEST(test_number_outlives_folder),
		TEST(test_remove_while_read),
		TEST(test_remove_while_open),
		TEST(test_folder_remove_while_read),
		TEST(test_folder_remove_while_open),
		TEST(test_remove_unrecorded),
		TEST(test_remove_then_open_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
