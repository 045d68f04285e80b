/* SPDX-License-Identifier: MIT */
/*
 * Memory that is refused to the store, and to SQLite below it: -ENOMEM, and what was there before is there afterwards: no cache is taken for damaged, no
 * message of a spool for lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oom.h"
#include "private.h"
#include "spool_fixture.h"

#define HELD 10000 /* bytes of the body that is there from the beginning */
#define CARE 25    /* refusals of each kind, of thousands; each is some work for the disk */

/* --- SQLite's memory --- */

static sqlite3_mem_methods plain;
static bool refuse_sqlite;

static void *sqlite_malloc(int size)
{
	return refuse_sqlite && oom_refuse() ? NULL : plain.xMalloc(size);
}

static void *sqlite_realloc(void *old, int size)
{
	return refuse_sqlite && oom_refuse() ? NULL : plain.xRealloc(old, size);
}

static void hook_sqlite(void)
{
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &plain), SQLITE_OK);
	sqlite3_mem_methods methods = plain;
	methods.xMalloc = sqlite_malloc;
	methods.xRealloc = sqlite_realloc;
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &methods), SQLITE_OK);
}

/* --- A cache --- */

static int count_row(void *arg, const struct source_row *row)
{
	unsigned *seen = arg;
	assert_in_range(row->uid, 1, 9);
	assert_true(row->have & SOURCE_ROW_HEADER && row->have & SOURCE_ROW_SIZE);
	assert_int_equal(row->header_len, 12);
	assert_memory_equal(row->header, "Subject: x\r\n", 12);
	*seen |= 1U << row->uid;
	return 0;
}

static int put_rows(struct store *store, uint32_t first, uint32_t count)
{
	struct source_row rows[9];
	for (uint32_t i = 0; i < count; i++)
		rows[i] = (struct source_row){.uid = first + i,
			.have = SOURCE_ROW_FLAGS | SOURCE_ROW_DATE | SOURCE_ROW_SIZE |
		                SOURCE_ROW_HEADER,
			.flags = "\\Seen",
			.size_bytes = HELD,
			.header = "Subject: x\r\n",
			.header_len = 12};
	return store_rows_put(store, 5, rows, count);
}

static int put_body(struct store *store, uint32_t uid)
{
	unsigned char bytes[HELD];
	struct store_body *body;
	int r = store_body_open(store, 5, uid, "", &body);
	if (r < 0)
		return r;
	fill_bytes(bytes, sizeof(bytes), uid, 0);
	r = store_body_write(body, bytes, sizeof(bytes), 0);
	if (r == 0)
		r = store_body_set_size(body, HELD);
	store_body_close(body);
	return r;
}

static int get_body(struct store *store, uint32_t uid)
{
	unsigned char buf[HELD], want[HELD];
	struct store_body *body;
	int r = store_body_open(store, 5, uid, "", &body);
	if (r < 0)
		return r;
	ssize_t n = store_body_read(body, buf, sizeof(buf), 0);
	fill_bytes(want, sizeof(want), uid, 0);
	if (n > 0)
		assert_memory_equal(buf, want, (size_t)n);
	store_body_close(body);
	return n < 0 && n != -ENODATA ? (int)n : 0;
}

static int get_text(
	int (*get)(struct store *store, struct str *out), struct store *store, const char *want)
{
	_cleanup_str_ struct str out = STR_INIT;
	int r = get(store, &out);
	if (r == 0 && str_error(&out) == 0)
		assert_string_equal(str_cstr(&out), want);
	return r < 0 ? r : str_error(&out);
}

static int get_structure(struct store *store, struct str *out)
{
	return store_structure_get(store, 5, 1, out);
}

static int get_fact(struct store *store, struct str *out)
{
	return store_fact_get(store, "a.fact", out);
}

static int on_mailbox(void *arg, const struct source_mailbox *mailbox)
{
	const char *const *want = arg;
	assert_string_equal(mailbox->name, *want);
	return 0;
}

static int write_all(struct store *store, uint32_t first)
{
	static const struct source_mailbox roster[] = {{.name = "INBOX", .delimiter = '/'}};
	struct store_mailbox state;
	uint32_t number;
	int r = store_number(store, "a@b:1", STORE_NUMBER_FOLDER, "INBOX", 7, &number);
	if (r == 0)
		r = store_mailbox_get(store, "INBOX", &state);
	state.uidvalidity = 7;
	if (r == 0)
		r = store_mailbox_put(store, "INBOX", &state);
	if (r == 0)
		r = store_roster_put(store, roster, 1);
	if (r == 0)
		r = put_rows(store, first, 3);
	if (r == 0)
		r = store_structure_put(store, 5, first, "structure", 9);
	if (r == 0)
		r = store_section_size_put(store, 5, first, "1", 77);
	if (r == 0)
		r = store_fact_put(store, "a.fact", "fact", 4);
	if (r == 0)
		r = put_body(store, first);
	return r;
}

static int read_all(struct store *store, unsigned *ret_seen)
{
	const char *inbox = "INBOX";
	uint64_t size = 0;
	int r = store_rows_load(store, 5, 1, count_row, ret_seen);
	if (r == 0)
		r = store_roster_load(store, on_mailbox, &inbox);
	if (r == 0)
		r = get_text(get_structure, store, "structure");
	if (r == 0)
		r = get_text(get_fact, store, "fact");
	if (r == 0)
		r = store_section_size_get(store, 5, 1, "1", &size);
	if (r == 0)
		r = get_body(store, 1);
	return r;
}

/* What was there at the beginning is there. */
static void check_cache(struct fixture *fixture)
{
	unsigned seen = 0;
	fixture_reopen(fixture);
	assert_int_equal(read_all(fixture->store, &seen), 0);
	assert_int_equal(seen & 0xe, 0xe);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	check_bytes(body, 1, HELD, 0);
	store_body_close(body);
	fixture_close(fixture);
	assert_int_equal(access(fixture_path(fixture, "store.db.damaged"), F_OK), -1);
}

static int try_cache(void *arg, unsigned long nth, bool forever)
{
	struct fixture *fixture = arg;
	_cleanup_str_ struct str why = STR_INIT;
	struct store *store = NULL;
	unsigned seen = 0;
	oom_arm(nth, forever);
	int r = store_open(fixture->directory, STORE_CACHE, &store, &why);
	if (r == 0)
		r = read_all(store, &seen);
	if (r == 0)
		r = write_all(store, 4);
	if (r == 0)
		r = store_rows_remove(store, 5, (const uint32_t[]){4, 5, 6}, 3);
	store_close(store);
	bool hit = oom_disarm();
	if (r < 0 && r != -ENOMEM)
		fail_msg("%s at %lu%s: %s", strerror(-r), nth, forever ? " and on" : "",
			str_cstr(&why));
	check_cache(fixture);
	return hit ? r : 0;
}

static void run_cache(struct fixture *fixture, bool sqlite)
{
	assert_int_equal(write_all(fixture->store, 1), 0);
	fixture_close(fixture);
	check_cache(fixture);
	refuse_sqlite = sqlite;
	oom_some(sqlite ? "cache, with SQLite" : "cache", try_cache, fixture, CARE);
	refuse_sqlite = false;
}

static void test_cache(void **state)
{
	run_cache(*state, false);
}

static void test_cache_sqlite(void **state)
{
	run_cache(*state, true);
}

/* --- A spool --- */

static int try_spool(void *arg, unsigned long nth, bool forever)
{
	static uint32_t next = 100;
	struct fixture *fixture = arg;
	_cleanup_str_ struct str why = STR_INIT;
	struct store *store = NULL;
	uint32_t uid = next;
	next += 2;
	oom_arm(nth, forever);
	int r = store_open(fixture->directory, STORE_SPOOL, &store, &why);
	if (r == 0)
		r = store_spool_clean(store, FOLDER);
	if (r == 0)
		r = spool_read(store, 1, 1, 3000);
	if (r == 0)
		r = store_spool_verify(store, FOLDER, 2);
	if (r == 0)
		r = spool_put(store, uid, uid, 2000);
	bool put = r == 0;
	if (r == 0)
		r = spool_put(store, uid + 1, uid + 1, OWN_FILE);
	store_close(store);
	bool hit = oom_disarm();
	if (r < 0 && r != -ENOMEM)
		fail_msg("%s at %lu%s: %s", strerror(-r), nth, forever ? " and on" : "",
			str_cstr(&why));
	fixture_reopen(fixture);
	check_message(fixture, 1, 1, 3000);
	check_message(fixture, 2, 2, OWN_FILE);
	if (put)
		check_message(fixture, uid, uid, 2000);
	/* What failed can be done again. */
	if (r < 0 && !put)
		assert_int_equal(spool_put(fixture->store, uid, uid, 2000), 0);
	fixture_close(fixture);
	return hit ? r : 0;
}

static void run_spool(struct fixture *fixture, bool sqlite)
{
	assert_int_equal(spool_put(fixture->store, 1, 1, 3000), 0);
	assert_int_equal(spool_put(fixture->store, 2, 2, OWN_FILE), 0);
	fixture_close(fixture);
	refuse_sqlite = sqlite;
	oom_some(sqlite ? "spool, with SQLite" : "spool", try_spool, fixture, CARE);
	refuse_sqlite = false;
}

static void test_spool(void **state)
{
	run_spool(*state, false);
}

static void test_spool_sqlite(void **state)
{
	run_spool(*state, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_cache, fixture_create_open, fixture_destroy),
		cmocka_unit_test_setup_teardown(
			test_cache_sqlite, fixture_create_open, fixture_destroy),
		cmocka_unit_test_setup_teardown(test_spool, spool_create_open, fixture_destroy),
		cmocka_unit_test_setup_teardown(
			test_spool_sqlite, spool_create_open, fixture_destroy),
	};
	hook_sqlite();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
