/* SPDX-License-Identifier: MIT */
/* Checksums of bodies: damage of files is found before it is read, and what is damaged is fetched again. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sums.h"

#define P SUMS_PIECE_BYTES

/* ---- the set ---- */

static void test_set(void **state)
{
	(void)state;
	struct sums sums = {0};
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(
			sums_put(&sums, (struct sum){(i * 37) % 100 * 2, i, SUM_KNOWN}), 0);
	for (uint64_t i = 0; i < 100; i++) {
		assert_int_equal(sums_find(&sums, (i * 37) % 100 * 2)->value, i);
		assert_null(sums_find(&sums, i * 2 + 1));
	}
	assert_null(sums_next_stored(&sums, 0, UINT64_MAX));
	assert_int_equal(sums_put(&sums, (struct sum){40, 7, SUM_STORED}), 0);
	assert_int_equal(sums.count, 100);
	assert_int_equal(sums_next_stored(&sums, 0, UINT64_MAX)->value, 7);
	assert_int_equal(sums_next_stored(&sums, 40, 40)->piece, 40);
	assert_null(sums_next_stored(&sums, 41, UINT64_MAX));
	assert_null(sums_next_stored(&sums, 0, 39));
	sums_forget(&sums, 40 * P, 40 * P);
	assert_non_null(sums_find(&sums, 40));
	sums_forget(&sums, 41 * P - 1, 42 * P);
	assert_null(sums_find(&sums, 40));
	assert_non_null(sums_find(&sums, 38));
	assert_non_null(sums_find(&sums, 42));
	sums_forget(&sums, 42 * P, 42 * P + 1);
	assert_null(sums_find(&sums, 42));
	sums_forget(&sums, 10 * P, UINT64_MAX);
	assert_int_equal(sums.count, 5);
	sums_finish(&sums);
}

static void test_parse(void **state)
{
	(void)state;
	struct ranges held = {0};
	struct sums sums;
	_cleanup_str_ struct str out = STR_INIT;
	assert_int_equal(ranges_add(&held, P - 1, 2 * P + 1), 0);
	assert_int_equal(ranges_add(&held, 9 * P, 9 * P + 1), 0);
	for (uint64_t i = 0; i < 5; i++)
		sums_serialize(UINT64_MAX - i, &out);
	assert_int_equal(sums_parse(out.data, 32, &held, &sums), 0);
	assert_int_equal(sums.count, 4);
	assert_true(sums_find(&sums, 9)->value == UINT64_MAX - 3);
	assert_int_equal(sums_find(&sums, 9)->state, SUM_STORED);
	sums_finish(&sums);
	/* Too few, too many, cut. */
	for (size_t len = 0; len <= 40; len++)
		if (len != 32) {
			assert_int_equal(sums_parse(out.data, len, &held, &sums), -EINVAL);
			assert_int_equal(sums.count, 0);
		}
	/* A map of a damaged row may promise as much as it likes. */
	assert_int_equal(ranges_add(&held, 0, UINT64_MAX), 0);
	assert_int_equal(sums_parse(out.data, 40, &held, &sums), -EINVAL);
	uint64_t piece = UINT64_MAX / P + 1;
	assert_false(sums_next_piece(&held, &piece));
	ranges_finish(&held);
	assert_int_equal(sums_parse(NULL, 0, &held, &sums), 0);
	sums_finish(&sums);
}

/* ---- bodies ---- */

static void keep(struct fixture *fixture, const char *section, uint64_t size)
{
	struct store_body *body = fixture_body(fixture, 5, 1, section);
	assert_int_equal(write_bytes(body, 1, size, 0), 0);
	assert_int_equal(store_body_set_size(body, size), 0);
	store_body_close(body);
}

/* Overwrites some bytes of the file with zeros, as a power loss leaves them: no byte of these tests is one. */
static void damage(struct fixture *fixture, const char *file, off_t at, size_t len)
{
	static const char zeros[4096];
	char name[64];
	snprintf(name, sizeof(name), "bodies/00000005/%s", file);
	int fd = open(fixture_path(fixture, name), O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(len <= sizeof(zeros));
	assert_int_equal(pwrite(fd, zeros, len, at), len);
	close(fd);
}

static unsigned count_lines(const char *text)
{
	unsigned count = 0;
	for (; (text = strchr(text, '\n')); text++)
		count++;
	return count;
}

static void expect_read(struct store_body *body, uint64_t offset, ssize_t expected)
{
	static unsigned char buf[1 << 20];
	assert_int_equal(store_body_read(body, buf, sizeof(buf), offset), expected);
	for (ssize_t i = 0; i < expected; i++)
		assert_int_equal(buf[i], byte_at(1, offset + (uint64_t)i));
}

static void test_torn(void **state)
{
	struct fixture *fixture = *state;
	keep(fixture, "", 1000000);
	fixture_close(fixture);
	damage(fixture, "1", 300000, 100);
	fixture_reopen(fixture);
	fixture_log_begin(fixture);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_held(body, 0), 1000000);
	expect_read(body, 0, 2 * P);
	expect_read(body, 2 * P, -ENODATA);
	expect_read(body, 300050, -ENODATA);
	expect_read(body, 3 * P, 1000000 - 3 * P);
	assert_int_equal(store_body_held(body, 2 * P), 0);
	uint64_t size = 0;
	assert_true(store_body_size(body, &size));
	assert_int_equal(size, 1000000);
	const char *log = fixture_log_end(fixture);
	assert_int_equal(count_lines(log), 1);
	assert_non_null(strstr(log, "message 1 "));
	/* It is recorded already, without a closing. */
	fixture_log_begin(fixture);
	store_body_close(body);
	fixture_reopen(fixture);
	body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_held(body, 0), 2 * P);
	expect_read(body, 3 * P - 1, -ENODATA);
	assert_int_equal(write_bytes(body, 1, P, 2 * P), 0);
	store_body_close(body);
	fixture_reopen(fixture);
	body = fixture_body(fixture, 5, 1, "");
	check_bytes(body, 1, 1000000, 0);
	store_body_close(body);
	assert_string_equal(fixture_log_end(fixture), "");
}

/* The finding is recorded at once: a process that is killed then leaves it behind. */
static void test_recorded_at_once(void **state)
{
	struct fixture *fixture = *state;
	keep(fixture, "", 1000000);
	damage(fixture, "1", 0, 1);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	fixture_log_begin(fixture);
	expect_read(body, 0, -ENODATA);
	fixture_log_end(fixture);
	sqlite3 *handle;
	sqlite3_stmt *statement;
	assert_int_equal(sqlite3_open(fixture_path(fixture, "store.db"), &handle), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(handle, "SELECT whole, length(sums), bytes FROM body",
				 -1, &statement, NULL),
		SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	assert_int_equal(sqlite3_column_int(statement, 0), 0);
	assert_int_equal(sqlite3_column_int(statement, 1), 7 * 8);
	assert_int_equal(sqlite3_column_int(statement, 2), (1000000 / 4096 + 1) * 4096 - P);
	sqlite3_finalize(statement);
	sqlite3_close(handle);
	store_body_close(body);
}

static void test_small_and_sections(void **state)
{
	struct fixture *fixture = *state;
	static const char *const sections[] = {"", "1.2", "HEADER"};
	static const char *const files[] = {"1", "1-1.2", "1-HEADER"};
	for (int i = 0; i < 3; i++)
		keep(fixture, sections[i], 100);
	for (int i = 0; i < 3; i++) {
		damage(fixture, files[i], 99, 1);
		fixture_log_begin(fixture);
		struct store_body *body = fixture_body(fixture, 5, 1, sections[i]);
		expect_read(body, 50, -ENODATA);
		assert_int_equal(count_lines(fixture_log_end(fixture)), 1);
		assert_int_equal(write_bytes(body, 1, 100, 0), 0);
		store_body_close(body);
		body = fixture_body(fixture, 5, 1, sections[i]);
		check_bytes(body, 1, 100, 0);
		store_body_close(body);
	}
}

/* What lies between the ranges is of nobody. */
static void test_gaps_do_not_count(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	for (uint64_t at = 100; at < 3 * P; at += 1000)
		assert_int_equal(write_bytes(body, 1, 200, at), 0);
	store_body_close(body);
	damage(fixture, "1", 300, 800);
	damage(fixture, "1", P + 100 + 200 - P % 1000, 700);
	damage(fixture, "1", 0, 100);
	fixture_reopen(fixture);
	body = fixture_body(fixture, 5, 1, "");
	for (uint64_t at = 100; at < 3 * P; at += 1000) {
		assert_int_equal(store_body_held(body, at), 200);
		check_bytes(body, 1, 200, at);
	}
	store_body_close(body);
}

/* The same bytes elsewhere: the map is part of what is compared. */
static void test_map_counts(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_write(body, "xxxxxxxxxx", 10, 0), 0);
	assert_int_equal(store_body_write(body, "xxxxxxxxxx", 10, 20), 0);
	store_body_close(body);
	/* 0 to 10 and 11 to 20: a gap of 0, ten, a gap of 1, nine. */
	fixture_sql(fixture, "UPDATE body SET ranges = x'000a0109'");
	fixture_log_begin(fixture);
	body = fixture_body(fixture, 5, 1, "");
	char c;
	assert_int_equal(store_body_read(body, &c, 1, 0), -ENODATA);
	assert_int_equal(count_lines(fixture_log_end(fixture)), 1);
	store_body_close(body);
	/* Not as many as the map has pieces: nothing of the row is believed. */
	keep(fixture, "", 1000);
	fixture_sql(fixture, "UPDATE body SET sums = CAST(sums || x'00' AS BLOB)");
	body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_held(body, 0), 0);
	store_body_close(body);
}

/* Bytes that are added to a damaged piece do not make it a good one. */
static void test_write_to_damaged(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(write_bytes(body, 1, 1000, 0), 0);
	store_body_close(body);
	damage(fixture, "1", 10, 1);
	fixture_reopen(fixture);
	fixture_log_begin(fixture);
	body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(write_bytes(body, 1, 1000, 1000), 0);
	assert_int_equal(count_lines(fixture_log_end(fixture)), 1);
	for (int pass = 0; pass < 2; pass++) {
		assert_int_equal(store_body_held(body, 0), 0);
		check_bytes(body, 1, 1000, 1000);
		store_body_close(body);
		fixture_reopen(fixture);
		body = fixture_body(fixture, 5, 1, "");
	}
	store_body_close(body);
}

/* Nor does cutting off the rest of it. */
static void test_cut_damaged(void **state)
{
	struct fixture *fixture = *state;
	keep(fixture, "", P + 1000);
	damage(fixture, "1", (off_t)P + 10, 1);
	fixture_reopen(fixture);
	fixture_log_begin(fixture);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_set_size(body, P + 500), 0);
	assert_int_equal(count_lines(fixture_log_end(fixture)), 1);
	for (int pass = 0; pass < 2; pass++) {
		assert_int_equal(store_body_held(body, 0), P);
		check_bytes(body, 1, P, 0);
		store_body_close(body);
		fixture_reopen(fixture);
		body = fixture_body(fixture, 5, 1, "");
	}
	store_body_close(body);
}

static void test_cut_good(void **state)
{
	struct fixture *fixture = *state;
	keep(fixture, "", P + 1000);
	fixture_reopen(fixture);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_set_size(body, P + 500), 0);
	for (int pass = 0; pass < 2; pass++) {
		check_bytes(body, 1, P + 500, 0);
		store_body_close(body);
		fixture_reopen(fixture);
		body = fixture_body(fixture, 5, 1, "");
	}
	store_body_close(body);
}

/* An older mailfs left none: its bodies are taken as they are, until they are recorded again. */
static void test_without(void **state)
{
	struct fixture *fixture = *state;
	keep(fixture, "", 3 * P);
	fixture_close(fixture);
	fixture_sql(fixture, "UPDATE body SET sums = NULL, bytes = 0, size = NULL");
	fixture_reopen(fixture);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	check_bytes(body, 1, 3 * P, 0);
	assert_int_equal(write_bytes(body, 1, 1, 3 * P), 0);
	store_body_close(body);
	damage(fixture, "1", (off_t)P, 1);
	fixture_reopen(fixture);
	fixture_log_begin(fixture);
	body = fixture_body(fixture, 5, 1, "");
	expect_read(body, 0, P);
	expect_read(body, P, -ENODATA);
	check_bytes(body, 1, P + 1, 2 * P);
	store_body_close(body);
	assert_int_equal(count_lines(fixture_log_end(fixture)), 1);
}

/* One that is cut off by a power loss, in a piece that was not compared: what is left of that may be anything. */
static void test_end_missing(void **state)
{
	struct fixture *fixture = *state;
	keep(fixture, "", 3 * P);
	assert_int_equal(
		truncate(fixture_path(fixture, "bodies/00000005/1"), (off_t)(2 * P + 10)), 0);
	fixture_reopen(fixture);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_held(body, 0), 2 * P);
	check_bytes(body, 1, 2 * P, 0);
	store_body_close(body);
}

/* ---- at random ---- */

#define FILE_MAX (6 * P)

static void check_all(struct store_body *body)
{
	static unsigned char buf[FILE_MAX];
	for (uint64_t at = 0; at < FILE_MAX;) {
		ssize_t n = store_body_read(body, buf, sizeof(buf), at);
		assert_true(n >= 0 || n == -ENODATA);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], byte_at(1, at + (uint64_t)i));
		/* What was said to be held after it was read is. */
		assert_true(n <= 0 || store_body_held(body, at) >= (uint64_t)n);
		at += n > 0 ? (uint64_t)n : 13;
	}
}

static void step(struct store_body *body, uint64_t *seed)
{
	uint64_t at = random_next(seed) % FILE_MAX;
	uint64_t len = random_next(seed) % (random_next(seed) % 3 ? 3000 : P);
	len = len > FILE_MAX - at ? FILE_MAX - at : len;
	switch (random_next(seed) % 24) {
	case 0:
		assert_int_equal(store_body_set_size(body, at), 0);
		break;
	case 1:
		assert_int_equal(store_body_set_size(body, FILE_MAX), 0);
		break;
	case 2:
		assert_int_equal(store_body_drop(body), 0);
		break;
	default:
		assert_int_equal(write_bytes(body, 1, len, at), 0);
	}
}

/* Whatever is written, and whatever happens to the file while the body is closed: no wrong byte is read, and without damage none is lost. */
static void test_random(void **state)
{
	struct fixture *fixture = *state;
	uint64_t seed = 5;
	fixture_log_begin(fixture);
	for (int round = 0; round < 60; round++) {
		struct store_body *body = fixture_body(fixture, 5, 1, "");
		for (int i = 0; i < 12; i++)
			step(body, &seed);
		uint64_t held = store_body_held(body, 0);
		store_body_close(body);
		struct stat st;
		bool damaged = round % 3 == 0 &&
		               stat(fixture_path(fixture, "bodies/00000005/1"), &st) == 0 &&
		               st.st_size > 0;
		if (damaged)
			damage(fixture, "1", random_next(&seed) % st.st_size, 64);
		if (round % 5 == 0)
			fixture_reopen(fixture);
		body = fixture_body(fixture, 5, 1, "");
		if (!damaged)
			assert_int_equal(store_body_held(body, 0), held);
		check_all(body);
		if (!damaged)
			assert_int_equal(store_body_held(body, 0), held);
		store_body_close(body);
	}
	fixture_log_end(fixture);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_parse),
		TEST(test_torn),
		TEST(test_recorded_at_once),
		TEST(test_small_and_sections),
		TEST(test_gaps_do_not_count),
		TEST(test_map_counts),
		TEST(test_write_to_damaged),
		TEST(test_cut_damaged),
		TEST(test_cut_good),
		TEST(test_without),
		TEST(test_end_missing),
		TEST(test_random),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
