/* SPDX-License-Identifier: MIT */
/* The same messages under other numbers: a folder that moves, messages that are carried. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FROM 5
#define TO   0x70000009

static void put_row(struct fixture *fixture, uint32_t folder, uint32_t uid)
{
	struct source_row row = {.uid = uid,
		.have = SOURCE_ROW_SIZE | SOURCE_ROW_FLAGS,
		.size_bytes = uid,
		.flags = uid % 2 ? "\\Seen" : ""};
	assert_int_equal(store_rows_put(fixture->store, folder, &row, 1), 0);
}

static void put_body(struct fixture *fixture, uint32_t folder, uint32_t uid, const char *section,
	uint32_t bytes_of)
{
	struct store_body *body = fixture_body(fixture, folder, uid, section);
	assert_int_equal(write_bytes(body, bytes_of, 1000, 0), 0);
	assert_int_equal(store_body_set_size(body, 1000), 0);
	store_body_close(body);
}

/* All there is to know of a message. */
static void fill(struct fixture *fixture, uint32_t folder, uint32_t uid)
{
	char text[32];
	snprintf(text, sizeof(text), "structure %u", uid);
	put_row(fixture, folder, uid);
	assert_int_equal(store_size_put(fixture->store, folder, uid, 1000), 0);
	assert_int_equal(store_structure_put(fixture->store, folder, uid, text, strlen(text)), 0);
	assert_int_equal(store_section_size_put(fixture->store, folder, uid, "1", uid * 10), 0);
	assert_int_equal(
		store_section_size_put(fixture->store, folder, uid, "2.MIME", uid * 20), 0);
	put_body(fixture, folder, uid, "", uid);
	put_body(fixture, folder, uid, "1", uid + 1000);
}

static void pin(struct fixture *fixture, uint32_t folder, uint32_t uid)
{
	char sql[128];
	snprintf(sql, sizeof(sql), "INSERT INTO pin VALUES(%llu)",
		(unsigned long long)folder << 32 | uid);
	fixture_sql(fixture, sql);
}

/* Fails unless the query gives 1. */
static void expect_sql(struct fixture *fixture, const char *query)
{
	char sql[512];
	snprintf(sql, sizeof(sql),
		"CREATE TEMP TABLE t(x INTEGER NOT NULL CHECK(x = 1)); INSERT INTO t SELECT (%s)",
		query);
	fixture_sql(fixture, sql);
}

static void expect_pinned(struct fixture *fixture, uint32_t folder, uint32_t uid, bool pinned)
{
	char query[128];
	snprintf(query, sizeof(query), "SELECT count(*) = %d FROM pin WHERE id = %llu", pinned,
		(unsigned long long)folder << 32 | uid);
	expect_sql(fixture, query);
}

static int see_size(void *arg, const struct source_row *row)
{
	*(uint64_t *)arg = row->size_bytes;
	return 0;
}

static void expect_body(struct fixture *fixture, uint32_t folder, uint32_t uid, const char *section,
	uint32_t bytes_of)
{
	uint64_t size;
	struct store_body *body = fixture_body(fixture, folder, uid, section);
	assert_true(store_body_size(body, &size));
	assert_int_equal(size, 1000);
	check_bytes(body, bytes_of, 1000, 0);
	store_body_close(body);
}

static void expect_no_body(
	struct fixture *fixture, uint32_t folder, uint32_t uid, const char *section)
{
	struct store_body *body = fixture_body(fixture, folder, uid, section);
	for (uint64_t at = 0; at < 1000; at++)
		assert_int_equal(store_body_held(body, at), 0);
	store_body_close(body);
}

/* What is known of message was under the number uid now. */
static void expect_all(struct fixture *fixture, uint32_t folder, uint32_t uid, uint32_t was)
{
	char text[32];
	uint64_t size = 0;
	_cleanup_str_ struct str structure = STR_INIT;
	snprintf(text, sizeof(text), "structure %u", was);
	assert_int_equal(store_row_get(fixture->store, folder, uid, see_size, &size), 0);
	assert_int_equal(size, 1000);
	assert_int_equal(store_structure_get(fixture->store, folder, uid, &structure), 0);
	assert_string_equal(str_cstr(&structure), text);
	assert_int_equal(store_section_size_get(fixture->store, folder, uid, "1", &size), 0);
	assert_int_equal(size, was * 10);
	assert_int_equal(store_section_size_get(fixture->store, folder, uid, "2.MIME", &size), 0);
	assert_int_equal(size, was * 20);
	expect_body(fixture, folder, uid, "", was);
	expect_body(fixture, folder, uid, "1", was + 1000);
}

static void expect_nothing(struct fixture *fixture, uint32_t folder, uint32_t uid)
{
	uint64_t size;
	_cleanup_str_ struct str structure = STR_INIT;
	assert_int_equal(store_row_get(fixture->store, folder, uid, see_size, &size), -ENOENT);
	assert_int_equal(store_structure_get(fixture->store, folder, uid, &structure), -ENOENT);
	assert_int_equal(store_section_size_get(fixture->store, folder, uid, "1", &size), -ENOENT);
	expect_no_body(fixture, folder, uid, "");
	expect_no_body(fixture, folder, uid, "1");
}

static uint64_t messages(struct fixture *fixture, uint32_t folder)
{
	uint64_t ret, unseen;
	assert_int_equal(store_folder_count(fixture->store, folder, &ret, &unseen), 0);
	return ret;
}

/* ---- a folder ---- */

static const uint32_t uids[] = {1, 2, 77, UINT32_MAX};

static void check_moved(struct fixture *fixture, uint32_t from, uint32_t to)
{
	assert_int_equal(store_folder_move(fixture->store, from, to), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(messages(fixture, from), 0);
		assert_int_equal(messages(fixture, to), 4);
		for (size_t j = 0; j < 4; j++) {
			expect_all(fixture, to, uids[j], uids[j]);
			expect_nothing(fixture, from, uids[j]);
		}
		expect_pinned(fixture, to, 77, true);
		expect_pinned(fixture, from, 77, false);
		fixture_reopen(fixture);
	}
}

static void test_move(void **state)
{
	struct fixture *fixture = *state;
	for (size_t i = 0; i < 4; i++)
		fill(fixture, FROM, uids[i]);
	/* Neighbours in the tables stay. */
	fill(fixture, FROM - 1, UINT32_MAX);
	fill(fixture, FROM + 1, 1);
	pin(fixture, FROM, 77);
	check_moved(fixture, FROM, TO);
	check_moved(fixture, TO, FROM);
	expect_all(fixture, FROM - 1, UINT32_MAX, UINT32_MAX);
	expect_all(fixture, FROM + 1, 1, 1);
}

static void test_move_nothing(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(store_folder_move(fixture->store, FROM, TO), 0);
	fill(fixture, FROM, 1);
	assert_int_equal(store_folder_move(fixture->store, FROM, FROM), 0);
	expect_all(fixture, FROM, 1, 1);
}

/* A listing that is there is not mixed with another. */
static void test_move_onto_a_listing(void **state)
{
	struct fixture *fixture = *state;
	fill(fixture, FROM, 1);
	fill(fixture, TO, 2);
	assert_int_equal(store_folder_move(fixture->store, FROM, TO), -EEXIST);
	expect_all(fixture, FROM, 1, 1);
	expect_all(fixture, TO, 2, 2);
}

/* What hangs on numbers that have no rows, and files of which nothing is recorded, are nobody's. */
static void test_move_onto_leftovers(void **state)
{
	struct fixture *fixture = *state;
	fill(fixture, FROM, 1);
	assert_int_equal(store_structure_put(fixture->store, TO, 1, "other", 5), 0);
	put_body(fixture, TO, 1, "", 99);
	put_body(fixture, TO, 3, "", 98);
	assert_int_equal(store_folder_move(fixture->store, FROM, TO), 0);
	expect_all(fixture, TO, 1, 1);
	expect_no_body(fixture, TO, 3, "");
}

/* A row whose file is not there must not find the file of another in its place. */
static void test_move_without_files(void **state)
{
	struct fixture *fixture = *state;
	fill(fixture, FROM, 1);
	put_body(fixture, TO, 1, "", 99);
	fixture_sql(fixture, "DELETE FROM body WHERE id >> 32 = 0x70000009");
	char path[256];
	strcpy(path, fixture_path(fixture, "bodies/00000005"));
	assert_int_equal(rename(path, fixture_path(fixture, "elsewhere")), 0);
	assert_int_equal(store_folder_move(fixture->store, FROM, TO), 0);
	expect_no_body(fixture, TO, 1, "");
	assert_int_equal(messages(fixture, TO), 1);
}

static void test_move_with_open_bodies(void **state)
{
	struct fixture *fixture = *state;
	fill(fixture, FROM, 1);
	fill(fixture, FROM, 2);
	struct store_body *read = fixture_body(fixture, FROM, 1, "");
	struct store_body *written = fixture_body(fixture, FROM, 3, "");
	struct store_body *other = fixture_body(fixture, TO, 2, "");
	check_bytes(read, 1, 1000, 0);
	assert_int_equal(write_bytes(written, 3, 500, 0), 0);
	assert_int_equal(write_bytes(other, 66, 500, 0), 0);
	assert_int_equal(store_folder_move(fixture->store, FROM, TO), 0);
	check_bytes(read, 1, 1000, 0);
	check_bytes(written, 3, 500, 0);
	assert_int_equal(write_bytes(written, 3, 500, 500), 0);
	check_bytes(written, 3, 1000, 0);
	check_bytes(other, 66, 500, 0);
	assert_int_equal(write_bytes(other, 66, 500, 500), 0);
	store_body_close(read);
	store_body_close(written);
	store_body_close(other);
	fixture_reopen(fixture);
	expect_all(fixture, TO, 2, 2);
	expect_no_body(fixture, TO, 1, "");
	expect_body(fixture, TO, 1, "1", 1001);
	expect_no_body(fixture, TO, 3, "");
	expect_nothing(fixture, FROM, 3);
}

static void test_move_in_a_spool(void **state)
{
	struct fixture *fixture = *state;
	fixture_close(fixture);
	snprintf(fixture->directory, sizeof(fixture->directory), "%s/spool", fixture->root);
	fixture->kind = STORE_SPOOL;
	fixture_reopen(fixture);
	const struct store_carry pair = {1, 1};
	assert_int_equal(store_folder_move(fixture->store, FROM, TO), -EPERM);
	assert_int_equal(store_messages_carry(fixture->store, FROM, TO, &pair, 1), -EPERM);
}

/* ---- messages ---- */

static void test_carry(void **state)
{
	struct fixture *fixture = *state;
	static const struct store_carry pairs[] = {{1, 501}, {2, 1}, {77, 2}, {500, 77}};
	for (size_t i = 0; i < 4; i++)
		fill(fixture, FROM, pairs[i].from_uid);
	fill(fixture, FROM, 3);
	for (size_t i = 0; i < 4; i++)
		put_row(fixture, TO, pairs[i].to_uid);
	pin(fixture, FROM, 2);
	assert_int_equal(store_messages_carry(fixture->store, FROM, TO, pairs, 4), 0);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < 4; i++)
			expect_all(fixture, TO, pairs[i].to_uid, pairs[i].from_uid);
		expect_all(fixture, FROM, 3, 3);
		expect_pinned(fixture, TO, 1, true);
		expect_pinned(fixture, FROM, 2, false);
		fixture_reopen(fixture);
	}
	/* What is left of the old one goes without taking anything with it. */
	assert_int_equal(store_folder_remove(fixture->store, FROM), 0);
	for (size_t i = 0; i < 4; i++)
		expect_all(fixture, TO, pairs[i].to_uid, pairs[i].from_uid);
}

/* Within one folder too, each to the place of the next. */
static void test_carry_in_a_folder(void **state)
{
	struct fixture *fixture = *state;
	static const struct store_carry pairs[] = {{3, 4}, {2, 3}, {1, 2}};
	for (uint32_t uid = 1; uid <= 3; uid++)
		fill(fixture, FROM, uid);
	put_row(fixture, FROM, 4);
	assert_int_equal(store_messages_carry(fixture->store, FROM, FROM, pairs, 3), 0);
	for (uint32_t uid = 2; uid <= 4; uid++)
		expect_all(fixture, FROM, uid, uid - 1);
}

static void test_carry_keeps_what_is_there(void **state)
{
	struct fixture *fixture = *state;
	const struct store_carry pair = {1, 8};
	fill(fixture, FROM, 1);
	put_row(fixture, TO, 8);
	assert_int_equal(store_size_put(fixture->store, TO, 8, 4321), 0);
	assert_int_equal(store_structure_put(fixture->store, TO, 8, "mine", 4), 0);
	assert_int_equal(store_section_size_put(fixture->store, TO, 8, "1", 5), 0);
	put_body(fixture, TO, 8, "", 88);
	assert_int_equal(store_messages_carry(fixture->store, FROM, TO, &pair, 1), 0);
	uint64_t size = 0;
	_cleanup_str_ struct str structure = STR_INIT;
	assert_int_equal(store_row_get(fixture->store, TO, 8, see_size, &size), 0);
	assert_int_equal(size, 4321);
	assert_int_equal(store_structure_get(fixture->store, TO, 8, &structure), 0);
	assert_string_equal(str_cstr(&structure), "mine");
	assert_int_equal(store_section_size_get(fixture->store, TO, 8, "1", &size), 0);
	assert_int_equal(size, 5);
	assert_int_equal(store_section_size_get(fixture->store, TO, 8, "2.MIME", &size), 0);
	assert_int_equal(size, 20);
	expect_body(fixture, TO, 8, "", 88);
	expect_body(fixture, TO, 8, "1", 1001);
}

/* Who fetches the new one already goes on, and is not given the file of the old one. */
static void test_carry_onto_an_open_body(void **state)
{
	struct fixture *fixture = *state;
	const struct store_carry pair = {1, 8};
	fill(fixture, FROM, 1);
	put_row(fixture, TO, 8);
	struct store_body *body = fixture_body(fixture, TO, 8, "");
	assert_int_equal(write_bytes(body, 88, 300, 0), 0);
	assert_int_equal(store_messages_carry(fixture->store, FROM, TO, &pair, 1), 0);
	check_bytes(body, 88, 300, 0);
	assert_int_equal(write_bytes(body, 88, 700, 300), 0);
	assert_int_equal(store_body_set_size(body, 1000), 0);
	store_body_close(body);
	fixture_reopen(fixture);
	expect_body(fixture, TO, 8, "", 88);
	expect_body(fixture, TO, 8, "1", 1001);
}

static void test_carry_an_open_body(void **state)
{
	struct fixture *fixture = *state;
	const struct store_carry pair = {1, 8};
	fill(fixture, FROM, 1);
	put_row(fixture, TO, 8);
	struct store_body *body = fixture_body(fixture, FROM, 1, "");
	check_bytes(body, 1, 1000, 0);
	assert_int_equal(store_messages_carry(fixture->store, FROM, TO, &pair, 1), 0);
	check_bytes(body, 1, 1000, 0);
	store_body_close(body);
	fixture_reopen(fixture);
	expect_no_body(fixture, TO, 8, "");
	expect_body(fixture, TO, 8, "1", 1001);
}

/* A file that an attempt has left, which was killed, is not taken for the one that is missing. */
static void test_carry_onto_a_leftover(void **state)
{
	struct fixture *fixture = *state;
	const struct store_carry pair = {1, 8};
	fill(fixture, FROM, 1);
	put_body(fixture, TO, 8, "", 99);
	fixture_sql(fixture, "DELETE FROM body WHERE id >> 32 = 0x70000009");
	assert_int_equal(unlink(fixture_path(fixture, "bodies/00000005/1")), 0);
	assert_int_equal(store_messages_carry(fixture->store, FROM, TO, &pair, 1), 0);
	expect_no_body(fixture, TO, 8, "");
	expect_body(fixture, TO, 8, "1", 1001);
}

static void test_carry_unknown(void **state)
{
	struct fixture *fixture = *state;
	static const struct store_carry pairs[] = {{1, 2}, {0, 0}, {UINT32_MAX, 7}};
	assert_int_equal(store_messages_carry(fixture->store, FROM, TO, pairs, 3), 0);
	assert_int_equal(store_messages_carry(fixture->store, FROM, TO, NULL, 0), 0);
	expect_nothing(fixture, TO, 2);
}

static void test_carry_many(void **state)
{
	struct fixture *fixture = *state;
	enum { COUNT = 5000 };
	struct store_carry *pairs = calloc(COUNT, sizeof(*pairs));
	struct source_row *rows = calloc(COUNT, sizeof(*rows));
	assert_non_null(pairs);
	assert_non_null(rows);
	for (uint32_t i = 0; i < COUNT; i++) {
		rows[i].uid = i + 1;
		pairs[i] = (struct store_carry){i + 1, COUNT - i};
	}
	assert_int_equal(store_rows_put(fixture->store, FROM, rows, COUNT), 0);
	assert_int_equal(store_rows_put(fixture->store, TO, rows, COUNT), 0);
	for (uint32_t uid = 100; uid <= COUNT; uid += 100)
		fill(fixture, FROM, uid);
	assert_int_equal(store_messages_carry(fixture->store, FROM, TO, pairs, COUNT), 0);
	for (uint32_t uid = 100; uid <= COUNT; uid += 100)
		expect_all(fixture, TO, COUNT + 1 - uid, uid);
	free(pairs);
	free(rows);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_move),
		TEST(test_move_nothing),
		TEST(test_move_onto_a_listing),
		TEST(test_move_onto_leftovers),
		TEST(test_move_without_files),
		TEST(test_move_with_open_bodies),
		TEST(test_move_in_a_spool),
		TEST(test_carry),
		TEST(test_carry_in_a_folder),
		TEST(test_carry_keeps_what_is_there),
		TEST(test_carry_onto_an_open_body),
		TEST(test_carry_an_open_body),
		TEST(test_carry_onto_a_leftover),
		TEST(test_carry_unknown),
		TEST(test_carry_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
