/* SPDX-License-Identifier: MIT */
/* store_bodies_missing(): which messages are still to be fetched, in either direction, in pages. */
#include "fixture.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FOLDER 5
#define MAX    256

static struct store_missing found[MAX];

static void put_row(struct fixture *fixture, uint32_t folder, uint32_t uid, uint64_t size_bytes)
{
	struct source_row row = {.uid = uid,
		.have = size_bytes == UINT64_MAX ? 0 : SOURCE_ROW_SIZE,
		.size_bytes = size_bytes};
	assert_int_equal(store_rows_put(fixture->store, folder, &row, 1), 0);
}

static void put_whole(struct fixture *fixture, uint32_t uid, size_t size)
{
	struct store_body *body = fixture_body(fixture, FOLDER, uid, "");
	assert_int_equal(write_bytes(body, uid, size, 0), 0);
	assert_int_equal(store_body_set_size(body, size), 0);
	store_body_close(body);
}

static size_t ask(struct fixture *fixture, uint32_t first, bool ascending, size_t max)
{
	size_t count = 77;
	assert_int_equal(
		store_bodies_missing(fixture->store, FOLDER, first, ascending, found, max, &count),
		0);
	return count;
}

static void expect_uids(size_t count, const uint32_t *uids, size_t expected)
{
	assert_int_equal(count, expected);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(found[i].uid, uids[i]);
}
#define EXPECT(count, ...)                                                                         \
	expect_uids(count, (const uint32_t[]){__VA_ARGS__},                                        \
		sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static void put_five(struct fixture *fixture)
{
	for (uint32_t uid = 10; uid <= 50; uid += 10)
		put_row(fixture, FOLDER, uid, 100 + uid);
	/* Neighbours are others' messages. */
	put_row(fixture, FOLDER - 1, UINT32_MAX, 1);
	put_row(fixture, FOLDER + 1, 1, 1);
}

static void test_ascending(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(ask(fixture, 0, true, MAX), 0);
	put_five(fixture);
	put_whole(fixture, 20, 120);
	EXPECT(ask(fixture, 0, true, MAX), 10, 30, 40, 50);
	assert_int_equal(found[3].size_bytes, 150);
	EXPECT(ask(fixture, 10, true, MAX), 10, 30, 40, 50);
	EXPECT(ask(fixture, 11, true, MAX), 30, 40, 50);
	EXPECT(ask(fixture, 10, true, 2), 10, 30);
	EXPECT(ask(fixture, 50, true, 1), 50);
	assert_int_equal(ask(fixture, 51, true, MAX), 0);
	assert_int_equal(ask(fixture, UINT32_MAX, true, MAX), 0);
	assert_int_equal(ask(fixture, 0, true, 0), 0);
}

static void test_descending(void **state)
{
	struct fixture *fixture = *state;
	put_five(fixture);
	put_whole(fixture, 40, 140);
	EXPECT(ask(fixture, UINT32_MAX, false, MAX), 50, 30, 20, 10);
	EXPECT(ask(fixture, 50, false, MAX), 50, 30, 20, 10);
	EXPECT(ask(fixture, 49, false, 2), 30, 20);
	EXPECT(ask(fixture, 10, false, MAX), 10);
	assert_int_equal(ask(fixture, 9, false, MAX), 0);
	assert_int_equal(ask(fixture, 0, false, MAX), 0);
}

static void test_sizes(void **state)
{
	struct fixture *fixture = *state;
	put_row(fixture, FOLDER, 1, 1000);
	put_row(fixture, FOLDER, 2, UINT64_MAX);
	put_row(fixture, FOLDER, 3, 3000);
	assert_int_equal(store_size_put(fixture->store, FOLDER, 1, 1234), 0);
	EXPECT(ask(fixture, 1, true, MAX), 1, 2, 3);
	assert_int_equal(found[0].size_bytes, 1234);
	assert_true(found[1].size_bytes == UINT64_MAX);
	assert_int_equal(found[2].size_bytes, 3000);
}

/* A part is not all, nor is a section the message, nor are all bytes while their end is not known. */
static void test_partly(void **state)
{
	struct fixture *fixture = *state;
	put_five(fixture);
	struct store_body *body = fixture_body(fixture, FOLDER, 10, "");
	assert_int_equal(store_body_set_size(body, 100), 0);
	assert_int_equal(write_bytes(body, 10, 99, 1), 0);
	EXPECT(ask(fixture, 0, true, 1), 10);
	store_body_close(body);
	body = fixture_body(fixture, FOLDER, 20, "1");
	assert_int_equal(write_bytes(body, 20, 100, 0), 0);
	assert_int_equal(store_body_set_size(body, 100), 0);
	store_body_close(body);
	body = fixture_body(fixture, FOLDER, 30, "");
	assert_int_equal(write_bytes(body, 30, 100, 0), 0);
	store_body_close(body);
	EXPECT(ask(fixture, 0, true, MAX), 10, 20, 30, 40, 50);
	fixture_reopen(fixture);
	EXPECT(ask(fixture, 0, true, MAX), 10, 20, 30, 40, 50);
}

/* What is open counts as its handle knows it, whatever is recorded. */
static void test_open(void **state)
{
	struct fixture *fixture = *state;
	put_five(fixture);
	struct store_body *body = fixture_body(fixture, FOLDER, 30, "");
	assert_int_equal(write_bytes(body, 30, 100, 0), 0);
	assert_int_equal(store_body_set_size(body, 100), 0);
	EXPECT(ask(fixture, 0, true, MAX), 10, 20, 40, 50);
	assert_int_equal(store_body_drop(body), 0);
	EXPECT(ask(fixture, 0, true, MAX), 10, 20, 30, 40, 50);
	assert_int_equal(write_bytes(body, 30, 100, 0), 0);
	assert_int_equal(store_body_set_size(body, 100), 0);
	store_body_close(body);
	EXPECT(ask(fixture, 0, true, MAX), 10, 20, 40, 50);
	/* Its file is gone, as its handle finds out. */
	assert_int_equal(unlink(fixture_path(fixture, "bodies/00000005/30")), 0);
	body = fixture_body(fixture, FOLDER, 30, "");
	EXPECT(ask(fixture, 0, true, MAX), 10, 20, 30, 40, 50);
	store_body_close(body);
	EXPECT(ask(fixture, 0, true, MAX), 10, 20, 30, 40, 50);
}

/* All is written, and closed, and nothing had time to be recorded. */
static void test_just_written(void **state)
{
	struct fixture *fixture = *state;
	for (uint32_t uid = 1; uid <= 300; uid++)
		put_row(fixture, FOLDER, uid, 50);
	for (uint32_t uid = 1; uid <= 300; uid++) {
		struct store_body *body = fixture_body(fixture, FOLDER, uid, "");
		assert_int_equal(write_bytes(body, uid, 50, 0), 0);
		assert_int_equal(store_body_set_size(body, 50), 0);
		if (uid < 300)
			assert_int_equal((ask(fixture, 1, true, 1), found[0].uid), uid + 1);
		store_body_close(body);
		if (uid < 300)
			assert_int_equal((ask(fixture, 1, true, 1), found[0].uid), uid + 1);
	}
	assert_int_equal(ask(fixture, 1, true, MAX), 0);
	fixture_reopen(fixture);
	assert_int_equal(ask(fixture, 1, true, MAX), 0);
}

static void test_empty_message(void **state)
{
	struct fixture *fixture = *state;
	put_row(fixture, FOLDER, 1, 0);
	EXPECT(ask(fixture, 1, true, MAX), 1);
	struct store_body *body = fixture_body(fixture, FOLDER, 1, "");
	assert_int_equal(store_body_set_size(body, 0), 0);
	assert_int_equal(ask(fixture, 1, true, MAX), 0);
	store_body_close(body);
	assert_int_equal(ask(fixture, 1, true, MAX), 0);
}

/* ---- a large folder ---- */

#define LARGE 60000

static void put_large(struct fixture *fixture)
{
	static struct source_row rows[2000];
	for (uint32_t first = 1; first <= LARGE; first += 2000) {
		for (uint32_t i = 0; i < 2000; i++)
			rows[i] = (struct source_row){
				.uid = first + i, .have = SOURCE_ROW_SIZE, .size_bytes = first + i};
		assert_int_equal(store_rows_put(fixture->store, FOLDER, rows, 2000), 0);
	}
}

static double cpu_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Each message once, in order; and all pages together cost about as much as one walk, not each of them. */
static double walk(struct fixture *fixture, bool ascending)
{
	double start = cpu_s();
	uint32_t first = ascending ? 1 : LARGE, seen = 0;
	for (size_t n; (n = ask(fixture, first, ascending, MAX)) > 0; seen += (uint32_t)n) {
		for (size_t i = 0; i < n; i++)
			assert_int_equal(found[i].uid, ascending ? seen + i + 1 : LARGE - seen - i);
		first = ascending ? found[n - 1].uid + 1 : found[n - 1].uid - 1;
	}
	assert_int_equal(seen, LARGE);
	return cpu_s() - start;
}

static void test_large(void **state)
{
	struct fixture *fixture = *state;
	put_large(fixture);
	double up = walk(fixture, true), down = walk(fixture, false);
	double start = cpu_s();
	for (int i = 0; i < 234; i++)
		ask(fixture, 1 + (uint32_t)i * 256, true, 1);
	/* A page of one message is not a walk: the same number of calls, far less work. */
	double ones = cpu_s() - start;
	if (ones > up / 2 || ones > down / 2)
		fail_msg("pages of 256: %.4f s, %.4f s; of 1: %.4f s", up, down, ones);
}

/* Long stretches that are here are gone past. */
static void test_behind_many(void **state)
{
	struct fixture *fixture = *state;
	put_large(fixture);
	fixture_close(fixture);
	fixture_sql(fixture, "INSERT INTO body(id, section, size, ranges, used, bytes, whole, sums)"
			     " SELECT id, '', 0, x'', 1, 4096, 1, x'' FROM message"
			     " WHERE id & 0xffffffff NOT IN (7, 30000, 59990)");
	fixture_reopen(fixture);
	EXPECT(ask(fixture, 1, true, MAX), 7, 30000, 59990);
	EXPECT(ask(fixture, LARGE, false, MAX), 59990, 30000, 7);
	EXPECT(ask(fixture, 8, true, 1), 30000);
}

static void test_spool(void **state)
{
	struct fixture *fixture = *state;
	fixture_close(fixture);
	fixture->kind = STORE_SPOOL;
	strcat(fixture->directory, "-spool");
	fixture_reopen(fixture);
	put_row(fixture, FOLDER, 1, 10);
	assert_int_equal(ask(fixture, 1, true, MAX), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ascending),
		TEST(test_descending),
		TEST(test_sizes),
		TEST(test_partly),
		TEST(test_open),
		TEST(test_just_written),
		TEST(test_empty_message),
		TEST(test_large),
		TEST(test_behind_many),
		TEST(test_spool),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
