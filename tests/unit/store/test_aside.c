/* SPDX-License-Identifier: MIT */
/* Damage: a cache that is damaged is set aside when it is opened, and begun anew. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool exists(const struct fixture *fixture, const char *name)
{
	return access(fixture_path(fixture, name), F_OK) == 0;
}

static void put_row(struct fixture *fixture, uint32_t uid)
{
	struct source_row row = {.uid = uid, .have = SOURCE_ROW_FLAGS, .flags = "\\Seen"};
	assert_int_equal(store_rows_put(fixture->store, 5, &row, 1), 0);
}

/* With a row and a body in it. */
static void fill(struct fixture *fixture)
{
	put_row(fixture, 1);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(write_bytes(body, 1, 100, 0), 0);
	assert_int_equal(store_body_set_size(body, 100), 0);
	store_body_close(body);
}

static void overwrite(struct fixture *fixture, off_t offset, size_t len)
{
	char junk[4096];
	memset(junk, 'J', sizeof(junk));
	assert_true(len <= sizeof(junk));
	int fd = open(fixture_path(fixture, "store.db"), O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, junk, len, offset), len);
	close(fd);
}

static uint64_t messages(struct fixture *fixture)
{
	uint64_t ret = 0, unseen;
	assert_int_equal(store_folder_count(fixture->store, 5, &ret, &unseen), 0);
	return ret;
}

/* Opens it; one warning says that it was set aside. */
static void open_warned(struct fixture *fixture)
{
	fixture_log_begin(fixture);
	fixture_reopen(fixture);
	const char *text = fixture_log_end(fixture);
	assert_non_null(strstr(text, fixture->directory));
	assert_non_null(strstr(text, "damaged: it was set aside as store.db.damaged"));
	assert_string_equal(strchr(text, '\n'), "\n");
}

static void open_quietly(struct fixture *fixture)
{
	fixture_log_begin(fixture);
	fixture_reopen(fixture);
	assert_string_equal(fixture_log_end(fixture), "");
}

/* Nothing is left of what was, and everything works. */
static void check_new(struct fixture *fixture)
{
	assert_int_equal(messages(fixture), 0);
	assert_false(exists(fixture, "bodies/00000005"));
	fill(fixture);
	open_quietly(fixture);
	assert_int_equal(messages(fixture), 1);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	check_bytes(body, 1, 100, 0);
	store_body_close(body);
}

static void check_damaged(struct fixture *fixture, off_t offset, size_t len)
{
	fixture_reopen(fixture);
	fill(fixture);
	fixture_close(fixture);
	overwrite(fixture, offset, len);
	open_warned(fixture);
	check_new(fixture);
	char junk[8] = "";
	int fd = open(fixture_path(fixture, "store.db.damaged"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, junk, sizeof(junk), offset), sizeof(junk));
	assert_memory_equal(junk, "JJJJJJJJ", sizeof(junk));
	close(fd);
}

static void test_not_a_database(void **state)
{
	check_damaged(*state, 0, 4096);
}

static void test_damaged_schema(void **state)
{
	check_damaged(*state, 100, 3000);
}

/* Of several the last is kept. */
static void test_damaged_again(void **state)
{
	struct fixture *fixture = *state;
	check_damaged(fixture, 0, 4096);
	check_damaged(fixture, 200, 2000);
}

static void test_table_missing(void **state)
{
	struct fixture *fixture = *state;
	fixture_reopen(fixture);
	fill(fixture);
	fixture_close(fixture);
	fixture_sql(fixture, "DROP TABLE section_size");
	open_warned(fixture);
	check_new(fixture);
}

/* Beside a new database the old one's log would be taken for its own. */
static void test_log_goes_too(void **state)
{
	struct fixture *fixture = *state;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fixture_reopen(fixture);
		fill(fixture);
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, NULL, 0);
	assert_true(exists(fixture, "store.db-wal"));
	close(open(fixture_path(fixture, "damaged"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	open_warned(fixture);
	assert_true(exists(fixture, "store.db.damaged-wal"));
	check_new(fixture);
}

/* ---- while it is open ---- */

static int count_row(void *arg, const struct source_row *row)
{
	(void)row;
	++*(int *)arg;
	return 0;
}

static void damage_rows(struct fixture *fixture)
{
	fixture_reopen(fixture);
	for (uint32_t uid = 1; uid <= 2000; uid++)
		put_row(fixture, uid);
	fixture_close(fixture);
	struct stat st;
	assert_int_equal(stat(fixture_path(fixture, "store.db"), &st), 0);
	/* Behind the page of each table, which its creation made first. */
	for (off_t at = 4096 * 24; at < st.st_size; at += 4096)
		overwrite(fixture, at, 4096);
}

static void check_noted(struct fixture *fixture)
{
	const char *text = fixture_log_end(fixture);
	assert_non_null(strstr(text, "damaged"));
	assert_non_null(strstr(text, "unmount and mount again"));
	assert_true(exists(fixture, "damaged"));
	open_warned(fixture);
	assert_false(exists(fixture, "damaged"));
	check_new(fixture);
}

/* Damage that opening can not see is an error when it is met, not an empty folder; the next opening does something about it. */
static void test_damaged_rows(void **state)
{
	struct fixture *fixture = *state;
	damage_rows(fixture);
	open_quietly(fixture);
	int rows = 0;
	fixture_log_begin(fixture);
	assert_int_equal(store_rows_load(fixture->store, 5, 1, count_row, &rows), -EIO);
	assert_true(rows < 2000);
	check_noted(fixture);
}

static void test_statement_fails(void **state)
{
	struct fixture *fixture = *state;
	fixture_reopen(fixture);
	fill(fixture);
	fixture_sql(fixture, "DROP TABLE fact");
	fixture_log_begin(fixture);
	assert_int_equal(store_fact_put(fixture->store, "a.fact", "x", 1), -EIO);
	check_noted(fixture);
}

/* Whoever is killed while it is set aside does the rest of it later. */
static void test_killed_in_between(void **state)
{
	struct fixture *fixture = *state;
	fixture_reopen(fixture);
	fill(fixture);
	fixture_close(fixture);
	close(open(fixture_path(fixture, "damaged"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(unlink(fixture_path(fixture, "store.db")), 0);
	open_warned(fixture);
	check_new(fixture);
}

/* ---- what is not set aside ---- */

static void test_newer_is_not_damage(void **state)
{
	struct fixture *fixture = *state;
	fixture_reopen(fixture);
	fixture_close(fixture);
	fixture_sql(fixture, "PRAGMA user_version=99");
	fixture_expect_refused(fixture, -EPROTO, (const char *const[]){"newer", NULL});
	assert_false(exists(fixture, "store.db.damaged"));
}

static void test_can_not_be_set_aside(void **state)
{
	struct fixture *fixture = *state;
	fixture_reopen(fixture);
	fixture_close(fixture);
	overwrite(fixture, 0, 4096);
	/* Something is in the way that can not be replaced. */
	assert_int_equal(mkdir(fixture_path(fixture, "store.db.damaged"), 0700), 0);
	fixture_expect_refused(fixture, -EIO,
		(const char *const[]){fixture->directory, "damaged", strerror(EISDIR), NULL});
}

static void test_spool_stays(void **state)
{
	struct fixture *fixture = *state;
	fixture->kind = STORE_SPOOL;
	fixture_reopen(fixture);
	put_row(fixture, 1);
	fixture_close(fixture);
	close(open(fixture_path(fixture, "damaged"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	open_quietly(fixture);
	assert_int_equal(messages(fixture), 1);
	fixture_close(fixture);
	overwrite(fixture, 0, 4096);
	fixture_expect_refused(fixture, -EIO,
		(const char *const[]){fixture->directory, "damaged", "move the directory", NULL});
	assert_false(exists(fixture, "store.db.damaged"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_not_a_database),
		TEST(test_damaged_schema),
		TEST(test_damaged_again),
		TEST(test_table_missing),
		TEST(test_log_goes_too),
		TEST(test_damaged_rows),
		TEST(test_statement_fails),
		TEST(test_killed_in_between),
		TEST(test_newer_is_not_damage),
		TEST(test_can_not_be_set_aside),
		TEST(test_spool_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
