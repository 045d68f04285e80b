/* SPDX-License-Identifier: MIT */
/* Rows of listings, structures, section sizes. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALL                                                                                        \
	(SOURCE_ROW_FLAGS | SOURCE_ROW_DATE | SOURCE_ROW_SIZE | SOURCE_ROW_HEADER |                \
		SOURCE_ROW_LABELS)

/* What a callback saw, copied. */
struct seen {
	size_t count;
	uint32_t last_uid;
	int stop_at; /* 0: never; else the call that returns -EINTR */
	struct source_row row;
	char flags[256], labels[256], header[1024];
};

static int see(void *arg, const struct source_row *row)
{
	struct seen *seen = arg;
	assert_true(row->uid > seen->last_uid);
	seen->last_uid = row->uid;
	seen->row = *row;
	assert_non_null(row->flags);
	snprintf(seen->flags, sizeof(seen->flags), "%s", row->flags);
	snprintf(seen->labels, sizeof(seen->labels), "%s", row->labels ? row->labels : "(null)");
	assert_true(row->header_len < sizeof(seen->header));
	memcpy(seen->header, row->header, row->header_len);
	return ++seen->count == (size_t)seen->stop_at ? -EINTR : 0;
}

static struct seen get(struct fixture *fixture, uint32_t folder, uint32_t uid)
{
	struct seen seen = {0};
	assert_int_equal(store_row_get(fixture->store, folder, uid, see, &seen), 0);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.row.uid, uid);
	return seen;
}

static void put(struct fixture *fixture, uint32_t folder, const struct source_row *row)
{
	assert_int_equal(store_rows_put(fixture->store, folder, row, 1), 0);
}

static size_t load(struct fixture *fixture, uint32_t folder, uint32_t first)
{
	struct seen seen = {0};
	assert_int_equal(store_rows_load(fixture->store, folder, first, see, &seen), 0);
	return seen.count;
}

static void test_row_whole(void **state)
{
	struct fixture *fixture = *state;
	static const char header[] = "Subject: a\0b\r\nFrom: \xff\xfe\r\n";
	struct source_row row = {.uid = 4711,
		.have = ALL,
		.size_bytes = UINT64_C(1) << 40,
		.date_s = -1,
		.flags = "\\Seen $Forwarded \xc3",
		.labels = "\\Inbox \"a b\"",
		.header = header,
		.header_len = sizeof(header) - 1};
	put(fixture, 5, &row);
	fixture_reopen(fixture);
	struct seen seen = get(fixture, 5, 4711);
	assert_int_equal(seen.row.have, ALL);
	assert_true(seen.row.size_bytes == UINT64_C(1) << 40);
	assert_true(seen.row.date_s == -1);
	assert_string_equal(seen.flags, row.flags);
	assert_string_equal(seen.labels, row.labels);
	assert_int_equal(seen.row.header_len, row.header_len);
	assert_memory_equal(seen.header, header, sizeof(header) - 1);
}

/* Each member can be absent; then its value in the row is not looked at. */
static void test_row_members_absent(void **state)
{
	struct fixture *fixture = *state;
	for (unsigned have = 0; have <= ALL; have++) {
		struct source_row row = {.uid = have + 1,
			.have = have,
			.size_bytes = 7,
			.date_s = 8,
			.flags = have & SOURCE_ROW_FLAGS ? "\\Seen" : NULL,
			.labels = have & SOURCE_ROW_LABELS ? "x" : NULL,
			.header = have & SOURCE_ROW_HEADER ? "y" : NULL,
			.header_len = 1};
		put(fixture, 5, &row);
		struct seen seen = get(fixture, 5, have + 1);
		assert_int_equal(seen.row.have, have);
		assert_string_equal(seen.flags, have & SOURCE_ROW_FLAGS ? "\\Seen" : "");
		assert_string_equal(seen.labels, have & SOURCE_ROW_LABELS ? "x" : "(null)");
		assert_int_equal(seen.row.header_len, have & SOURCE_ROW_HEADER ? 1 : 0);
		assert_int_equal(seen.row.size_bytes, have & SOURCE_ROW_SIZE ? 7 : 0);
		assert_int_equal(seen.row.date_s, have & SOURCE_ROW_DATE ? 8 : 0);
	}
}

/* Many are stored by one statement: each keeps its own members, whatever its neighbours have, and of two with one UID the later counts. */
static void test_rows_many(void **state)
{
	struct fixture *fixture = *state;
	struct source_row rows[99];
	char flags[99][16];
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < 99; i++) {
			snprintf(flags[i], sizeof(flags[i]), "f%u.%u", pass, i);
			rows[i] = (struct source_row){.uid = i + 1,
				.have = (i + pass) % (ALL + 1),
				.size_bytes = 1000 * pass + i,
				.date_s = i,
				.flags = flags[i],
				.labels = flags[i],
				.header = flags[i],
				.header_len = strlen(flags[i])};
		}
		rows[41].uid = rows[40].uid;
		assert_int_equal(store_rows_put(fixture->store, 5, rows, 99), 0);
		assert_int_equal(load(fixture, 5, 1), 98);
		for (unsigned i = 0; i < 99; i++) {
			if (i == 40)
				continue;
			struct seen seen = get(fixture, 5, rows[i].uid);
			unsigned have = rows[i].have;
			assert_int_equal(seen.row.have, have);
			assert_string_equal(seen.flags, have & SOURCE_ROW_FLAGS ? flags[i] : "");
			assert_int_equal(seen.row.size_bytes,
				have & SOURCE_ROW_SIZE ? rows[i].size_bytes : 0);
			assert_int_equal(seen.row.header_len,
				have & SOURCE_ROW_HEADER ? strlen(flags[i]) : 0);
		}
	}
}

/* Present and empty is not the same as absent. */
static void test_row_members_empty(void **state)
{
	struct fixture *fixture = *state;
	struct source_row row = {.uid = 1, .have = ALL, .flags = "", .labels = "", .header = NULL};
	put(fixture, 5, &row);
	struct seen seen = get(fixture, 5, 1);
	assert_int_equal(seen.row.have, ALL);
	assert_string_equal(seen.labels, "");
	assert_int_equal(seen.row.header_len, 0);
}

static void test_row_replaced(void **state)
{
	struct fixture *fixture = *state;
	struct source_row row = {
		.uid = 1, .have = ALL, .flags = "a", .labels = "b", .header = "c", .header_len = 1};
	put(fixture, 5, &row);
	row.have = SOURCE_ROW_FLAGS;
	row.flags = "z";
	put(fixture, 5, &row);
	struct seen seen = get(fixture, 5, 1);
	assert_int_equal(seen.row.have, SOURCE_ROW_FLAGS);
	assert_string_equal(seen.flags, "z");
	assert_int_equal(load(fixture, 5, 0), 1);
}

/* All or none: here the second is larger than a row of the database can be. */
static void test_rows_in_one_transaction(void **state)
{
	struct fixture *fixture = *state;
	struct source_row rows[] = {{.uid = 1}, {.uid = 2,
							.have = SOURCE_ROW_HEADER,
							.header = "x",
							.header_len = (size_t)INT32_MAX + 1}};
	assert_int_equal(store_rows_put(fixture->store, 5, rows, 2), -EIO);
	assert_int_equal(load(fixture, 5, 0), 0);
	assert_int_equal(store_rows_put(fixture->store, 5, rows, 1), 0);
	assert_int_equal(load(fixture, 5, 0), 1);
}

static void test_row_missing(void **state)
{
	struct fixture *fixture = *state;
	struct source_row row = {.uid = 2};
	put(fixture, 5, &row);
	struct seen seen = {0};
	assert_int_equal(store_row_get(fixture->store, 5, 1, see, &seen), -ENOENT);
	assert_int_equal(store_row_get(fixture->store, 5, 3, see, &seen), -ENOENT);
	assert_int_equal(store_row_get(fixture->store, 6, 2, see, &seen), -ENOENT);
	assert_int_equal(seen.count, 0);
}

static void test_row_callback_error(void **state)
{
	struct fixture *fixture = *state;
	struct source_row row = {.uid = 2};
	put(fixture, 5, &row);
	struct seen seen = {.stop_at = 1};
	assert_int_equal(store_row_get(fixture->store, 5, 2, see, &seen), -EINTR);
}

/* The largest numbers there are, next to a neighbour. */
static void test_load_bounds(void **state)
{
	struct fixture *fixture = *state;
	struct source_row rows[] = {{.uid = 1}, {.uid = UINT32_MAX}, {.uid = 77}};
	for (uint32_t folder = INT32_MAX - 2; folder <= INT32_MAX; folder++)
		assert_int_equal(store_rows_put(fixture->store, folder, rows, 3), 0);
	assert_int_equal(load(fixture, INT32_MAX, 0), 3);
	assert_int_equal(load(fixture, INT32_MAX - 1, 1), 3);
	assert_int_equal(load(fixture, INT32_MAX - 1, 2), 2);
	assert_int_equal(load(fixture, INT32_MAX - 1, 78), 1);
	assert_int_equal(load(fixture, INT32_MAX - 1, UINT32_MAX), 1);
	assert_int_equal(load(fixture, INT32_MAX - 3, 0), 0);
	assert_int_equal(store_rows_put(fixture->store, 1, rows, 0), 0);
	assert_int_equal(load(fixture, 1, 0), 0);
}

static void put_many(struct fixture *fixture, uint32_t folder, uint32_t count)
{
	struct source_row *rows = calloc(count, sizeof(*rows));
	assert_non_null(rows);
	for (uint32_t i = 0; i < count; i++)
		rows[i] = (struct source_row){.uid = count - i,
			.have = SOURCE_ROW_FLAGS,
			.flags = (count - i) % 4 ? "\\Answered \\sEEN" : "\\Answered"};
	assert_int_equal(store_rows_put(fixture->store, folder, rows, count), 0);
	free(rows);
}

/* More rows than a batch, put in descending order. */
static void test_load_batches(void **state)
{
	struct fixture *fixture = *state;
	put_many(fixture, 5, 10000);
	put_many(fixture, 6, 1);
	assert_int_equal(load(fixture, 5, 0), 10000);
	assert_int_equal(load(fixture, 5, 9000), 1001);
	for (int stop = 2047; stop < 2051; stop++) {
		struct seen seen = {.stop_at = stop};
		assert_int_equal(store_rows_load(fixture->store, 5, 1, see, &seen), -EINTR);
		assert_int_equal(seen.count, stop);
	}
}

static int count_header(void *arg, const struct source_row *row)
{
	*(size_t *)arg += row->header_len;
	return 0;
}

/* Rows so large that a batch is full before its number of rows is. */
static void test_load_large_rows(void **state)
{
	struct fixture *fixture = *state;
	size_t len = 300000, total = 0;
	char *header = malloc(len);
	assert_non_null(header);
	memset(header, 'h', len);
	for (uint32_t uid = 1; uid <= 20; uid++) {
		struct source_row row = {
			.uid = uid, .have = SOURCE_ROW_HEADER, .header = header, .header_len = len};
		put(fixture, 5, &row);
	}
	free(header);
	assert_int_equal(store_rows_load(fixture->store, 5, 1, count_header, &total), 0);
	assert_int_equal(total, 20 * len);
}

/* A callback runs without the store's lock: here it does what the header asks it not to rely on. */
static int put_from_callback(void *arg, const struct source_row *row)
{
	return store_size_put(arg, 5, row->uid, 1);
}

static void test_load_without_lock(void **state)
{
	struct fixture *fixture = *state;
	put_many(fixture, 5, 3000);
	assert_int_equal(
		store_rows_load(fixture->store, 5, 1, put_from_callback, fixture->store), 0);
}

/* ---- flags, counts, sizes ---- */

static void check_count(
	struct fixture *fixture, uint32_t folder, uint64_t messages, uint64_t unseen)
{
	uint64_t have_messages = 99, have_unseen = 99;
	assert_int_equal(
		store_folder_count(fixture->store, folder, &have_messages, &have_unseen), 0);
	assert_int_equal(have_messages, messages);
	assert_int_equal(have_unseen, unseen);
}

static void test_count(void **state)
{
	struct fixture *fixture = *state;
	put_many(fixture, 5, 1000);
	put_many(fixture, 6, 8);
	check_count(fixture, 4, 0, 0);
	check_count(fixture, 5, 1000, 250);
	check_count(fixture, 6, 8, 2);
	struct source_row row = {.uid = 2000};
	put(fixture, 5, &row);
	check_count(fixture, 5, 1001, 251);
}

static void test_seen_token(void **state)
{
	struct fixture *fixture = *state;
	static const struct {
		const char *flags;
		bool seen;
	} cases[] = {
		{"", false},
		{"\\Seen", true},
		{"\\SEEN", true},
		{"\\seen \\Flagged", true},
		{"\\Flagged  \\Seen", true},
		{"\\Seen ", true},
		{"\\SeenNot", false},
		{"Seen", false},
		{"x\\Seen", false},
		{"\\See", false},
		{" ", false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct source_row row = {
			.uid = 1, .have = SOURCE_ROW_FLAGS, .flags = cases[i].flags};
		put(fixture, 5, &row);
		check_count(fixture, 5, 1, cases[i].seen ? 0 : 1);
		struct store_flags flags = {1, cases[i].flags};
		put(fixture, 6, &(struct source_row){.uid = 1});
		assert_int_equal(store_flags_put(fixture->store, 6, &flags, 1), 0);
		check_count(fixture, 6, 1, cases[i].seen ? 0 : 1);
	}
}

static void test_flags_put(void **state)
{
	struct fixture *fixture = *state;
	struct source_row rows[] = {
		{.uid = 1}, {.uid = 2, .have = SOURCE_ROW_SIZE, .size_bytes = 9}};
	assert_int_equal(store_rows_put(fixture->store, 5, rows, 2), 0);
	struct store_flags flags[] = {{2, "\\Seen x"}, {3, "unknown message"}};
	assert_int_equal(store_flags_put(fixture->store, 5, flags, 2), 0);
	assert_int_equal(store_flags_put(fixture->store, 5, NULL, 0), 0);
	assert_int_equal(get(fixture, 5, 1).row.have, 0);
	struct seen seen = get(fixture, 5, 2);
	assert_int_equal(seen.row.have, SOURCE_ROW_SIZE | SOURCE_ROW_FLAGS);
	assert_string_equal(seen.flags, "\\Seen x");
	check_count(fixture, 5, 2, 1);
}

/* What the bytes have shown wins over what a server says again and again. */
static void test_true_size(void **state)
{
	struct fixture *fixture = *state;
	struct source_row row = {.uid = 1, .have = SOURCE_ROW_SIZE, .size_bytes = 1000};
	put(fixture, 5, &row);
	assert_int_equal(store_size_put(fixture->store, 5, 1, 1024), 0);
	assert_int_equal(get(fixture, 5, 1).row.size_bytes, 1024);
	put(fixture, 5, &row);
	assert_int_equal(get(fixture, 5, 1).row.size_bytes, 1024);
	row.have = 0;
	put(fixture, 5, &row);
	struct seen seen = get(fixture, 5, 1);
	assert_int_equal(seen.row.have, SOURCE_ROW_SIZE);
	assert_int_equal(seen.row.size_bytes, 1024);
	assert_int_equal(store_size_put(fixture->store, 5, 2, 5), 0);
	assert_int_equal(load(fixture, 5, 0), 1);
}

/* ---- structures and section sizes ---- */

static void test_structure(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_str_ struct str out = STR_INIT;
	assert_int_equal(store_structure_get(fixture->store, 5, 1, &out), -ENOENT);
	assert_int_equal(store_structure_put(fixture->store, 5, 1, "a\0b", 3), 0);
	assert_int_equal(store_structure_put(fixture->store, 5, 2, NULL, 0), 0);
	fixture_reopen(fixture);
	assert_int_equal(store_structure_get(fixture->store, 5, 1, &out), 0);
	assert_int_equal(out.len, 3);
	assert_memory_equal(out.data, "a\0b", 3);
	str_reset(&out);
	assert_int_equal(store_structure_get(fixture->store, 5, 2, &out), 0);
	assert_int_equal(out.len, 0);
	assert_int_equal(store_structure_put(fixture->store, 5, 2, "now", 3), 0);
	assert_int_equal(store_structure_get(fixture->store, 5, 2, &out), 0);
	assert_string_equal(str_cstr(&out), "now");
}

static void test_structures_missing(void **state)
{
	struct fixture *fixture = *state;
	put_many(fixture, 5, 100);
	put_many(fixture, 6, 100);
	for (uint32_t uid = 2; uid <= 100; uid += 2)
		assert_int_equal(store_structure_put(fixture->store, 5, uid, uid % 4 ? "s" : "",
					 uid % 4 ? 1 : 0),
			0);
	uint32_t uids[100];
	size_t count = 0;
	assert_int_equal(store_structures_missing(fixture->store, 5, 0, uids, 100, &count), 0);
	assert_int_equal(count, 50);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(uids[i], 2 * i + 1);
	assert_int_equal(store_structures_missing(fixture->store, 5, 50, uids, 3, &count), 0);
	assert_int_equal(count, 3);
	assert_int_equal(uids[0], 51);
	assert_int_equal(uids[2], 55);
	assert_int_equal(store_structures_missing(fixture->store, 5, 100, uids, 3, &count), 0);
	assert_int_equal(count, 0);
	assert_int_equal(store_structures_missing(fixture->store, 5, 1, uids, 0, &count), 0);
	assert_int_equal(count, 0);
}

static void test_section_size(void **state)
{
	struct fixture *fixture = *state;
	uint64_t size = 0;
	assert_int_equal(store_section_size_get(fixture->store, 5, 1, "1", &size), -ENOENT);
	assert_int_equal(store_section_size_put(fixture->store, 5, 1, "1", 10), 0);
	assert_int_equal(store_section_size_put(fixture->store, 5, 1, "1.2", UINT64_C(1) << 33), 0);
	assert_int_equal(store_section_size_put(fixture->store, 5, 1, "1", 0), 0);
	fixture_reopen(fixture);
	assert_int_equal(store_section_size_get(fixture->store, 5, 1, "1", &size), 0);
	assert_int_equal(size, 0);
	assert_int_equal(store_section_size_get(fixture->store, 5, 1, "1.2", &size), 0);
	assert_true(size == UINT64_C(1) << 33);
	assert_int_equal(store_section_size_get(fixture->store, 5, 2, "1", &size), -ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_row_whole),
		TEST(test_row_members_absent),
		TEST(test_rows_many),
		TEST(test_row_members_empty),
		TEST(test_row_replaced),
		TEST(test_rows_in_one_transaction),
		TEST(test_row_missing),
		TEST(test_row_callback_error),
		TEST(test_load_bounds),
		TEST(test_load_batches),
		TEST(test_load_large_rows),
		TEST(test_load_without_lock),
		TEST(test_count),
		TEST(test_seen_token),
		TEST(test_flags_put),
		TEST(test_true_size),
		TEST(test_structure),
		TEST(test_structures_missing),
		TEST(test_section_size),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
