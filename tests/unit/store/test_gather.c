/* SPDX-License-Identifier: MIT */
/*
 * What is recorded of small bodies is committed many at a time, a little later: who asks sees it at once, a killed process loses no more than the
 * latest, a commit that fails loses bodies and nothing else.
 */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "keeper.h"
#include "private.h"

#define FOLDER 5
#define SIZE   1500

static void put_row(struct store *store, uint32_t uid)
{
	struct source_row row = {.uid = uid, .have = SOURCE_ROW_SIZE, .size_bytes = SIZE};
	if (store_rows_put(store, FOLDER, &row, 1) < 0)
		_exit(2);
}

static void keep(struct store *store, uint32_t uid)
{
	struct store_body *body;
	if (store_body_open(store, FOLDER, uid, "", &body) < 0 ||
		write_bytes(body, uid, SIZE, 0) < 0 || store_body_set_size(body, SIZE) < 0)
		_exit(3);
	store_body_close(body);
}

/* Runs fn on the store in a process that is killed at its end. */
static void run_and_die(struct fixture *fixture, void (*fn)(struct store *store))
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fn(fixture_open_in_child(fixture));
		kill(getpid(), SIGKILL);
	}
	fixture_expect_killed(pid);
	fixture_reopen(fixture);
}

static bool is_here(struct fixture *fixture, uint32_t uid)
{
	struct store_body *body = fixture_body(fixture, FOLDER, uid, "");
	uint64_t held = store_body_held(body, 0);
	assert_true(held == 0 || held == SIZE);
	if (held)
		check_bytes(body, uid, SIZE, 0);
	store_body_close(body);
	return held > 0;
}

static unsigned count_here(struct fixture *fixture, uint32_t first, uint32_t last)
{
	unsigned count = 0;
	for (uint32_t uid = first; uid <= last; uid++)
		count += is_here(fixture, uid);
	return count;
}

static unsigned count_files(struct fixture *fixture)
{
	unsigned count = 0;
	DIR *dir = opendir(fixture_path(fixture, "bodies/00000005"));
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		count += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return count;
}

/* Files that nothing is recorded of go by themselves. */
static void expect_files(struct fixture *fixture, unsigned count)
{
	for (int i = 0; i < 500 && count_files(fixture) != count; i++)
		usleep(10000);
	assert_int_equal(count_files(fixture), count);
}

static void check_account(struct fixture *fixture, unsigned bodies)
{
	struct store_usage usage;
	for (int i = 0; i < 500; i++) {
		store_usage(fixture->store, &usage);
		if (usage.settled)
			break;
		usleep(10000);
	}
	assert_true(usage.settled);
	assert_int_equal(usage.bodies, bodies);
	assert_int_equal(usage.body_bytes, bodies * 4096);
}

/* ---- a killed process ---- */

static void keep_hundred(struct store *store)
{
	for (uint32_t uid = 1; uid <= 100; uid++)
		keep(store, uid);
}

static void test_killed_at_once(void **state)
{
	struct fixture *fixture = *state;
	run_and_die(fixture, keep_hundred);
	unsigned here = count_here(fixture, 1, 100);
	expect_files(fixture, here);
	check_account(fixture, here);
	/* Another one's bytes in the same places are its own. */
	for (uint32_t uid = 1; uid <= 100; uid++)
		keep(fixture->store, uid);
	fixture_reopen(fixture);
	assert_int_equal(count_here(fixture, 1, 100), 100);
}

static void leave_file(struct fixture *fixture, unsigned uid)
{
	char name[32];
	snprintf(name, sizeof(name), "bodies/00000005/%u", uid);
	int fd = open(fixture_path(fixture, name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
}

/* One that is open while files without a row are looked for is looked at when it is closed. */
static void test_open_while_swept(void **state)
{
	struct fixture *fixture = *state;
	keep(fixture->store, 1);
	struct store *store = fixture->store;
	struct store_body *body = fixture_body(fixture, FOLDER, 2, "");
	leave_file(fixture, 2);
	leave_file(fixture, 3);
	pthread_mutex_lock(&store->lock);
	store->keeper.sweep = true;
	pthread_mutex_unlock(&store->lock);
	keeper_wake(store);
	expect_files(fixture, 2);
	store_body_close(body);
	assert_int_equal(count_files(fixture), 1);
	assert_true(is_here(fixture, 1));
}

static void keep_and_wait(struct store *store)
{
	keep_hundred(store);
	usleep(500000);
}

static void test_killed_later(void **state)
{
	struct fixture *fixture = *state;
	run_and_die(fixture, keep_and_wait);
	assert_int_equal(count_here(fixture, 1, 100), 100);
}

/* A little later is soon even where it never becomes quiet. */
static void keep_thousands(struct store *store)
{
	for (uint32_t uid = 1; uid <= 3000; uid++)
		keep(store, uid);
}

static void test_killed_busy(void **state)
{
	struct fixture *fixture = *state;
	run_and_die(fixture, keep_thousands);
	unsigned here = count_here(fixture, 1, 3000);
	if (here < 1000)
		fail_msg("only %u of 3000 are left", here);
	/* The latest are lost, no others. */
	assert_int_equal(count_here(fixture, 1, here), here);
}

/* What is written behind them is not there without them. */
static void keep_and_put(struct store *store)
{
	keep_hundred(store);
	struct store_mailbox state = {.folder = FOLDER, .uidvalidity = 9};
	if (store_mailbox_put(store, "INBOX", &state) < 0)
		_exit(4);
}

static void keep_and_list(struct store *store)
{
	keep_hundred(store);
	put_row(store, 7);
}

static void test_killed_behind_others(void **state)
{
	struct fixture *fixture = *state;
	struct store_mailbox mailbox;
	run_and_die(fixture, keep_and_put);
	assert_int_equal(count_here(fixture, 1, 100), 100);
	assert_int_equal(store_mailbox_get(fixture->store, "INBOX", &mailbox), 0);
	assert_int_equal(mailbox.uidvalidity, 9);
	assert_int_equal(store_folder_remove(fixture->store, FOLDER), 0);
	fixture_close(fixture);
	run_and_die(fixture, keep_and_list);
	assert_int_equal(count_here(fixture, 1, 100), 100);
}

/* What is taken away does not come back, though it was just gathered. */
static void keep_and_cut(struct store *store)
{
	keep_hundred(store);
	struct store_body *body;
	if (store_body_open(store, FOLDER, 50, "", &body) < 0 || store_body_drop(body) < 0)
		_exit(4);
	write_bytes(body, 50, 10, SIZE - 10);
	uint32_t uid = 60;
	if (store_rows_remove(store, FOLDER, &uid, 1) < 0)
		_exit(5);
}

static void test_killed_after_cut(void **state)
{
	struct fixture *fixture = *state;
	run_and_die(fixture, keep_and_cut);
	assert_int_equal(count_here(fixture, 1, 100), 98);
	assert_false(is_here(fixture, 50));
	assert_false(is_here(fixture, 60));
}

/* ---- a commit that fails ---- */

static int refuse(void *arg)
{
	(void)arg;
	return 1;
}

static void refuse_commits(struct fixture *fixture, bool on)
{
	struct store *store = fixture->store;
	pthread_mutex_lock(&store->lock);
	sqlite3_commit_hook(store->db.handle, on ? refuse : NULL, NULL);
	pthread_mutex_unlock(&store->lock);
}

static void flush(struct fixture *fixture, int rc)
{
	pthread_mutex_lock(&fixture->store->lock);
	unsigned gathered = db_gathered(&fixture->store->db);
	int flush_rc = db_flush(&fixture->store->db);
	pthread_mutex_unlock(&fixture->store->lock);
	/* The recorder may have been faster. */
	assert_int_equal(flush_rc, gathered ? rc : 0);
}

static void test_commit_fails(void **state)
{
	struct fixture *fixture = *state;
	for (uint32_t uid = 1; uid <= 40; uid++)
		put_row(fixture->store, uid);
	for (uint32_t uid = 1; uid <= 10; uid++)
		keep(fixture->store, uid);
	flush(fixture, 0);
	fixture_log_begin(fixture);
	refuse_commits(fixture, true);
	struct store_body *open = fixture_body(fixture, FOLDER, 11, "");
	assert_int_equal(write_bytes(open, 11, SIZE, 0), 0);
	assert_int_equal(store_body_set_size(open, SIZE), 0);
	struct store_body *old = fixture_body(fixture, FOLDER, 10, "");
	for (uint32_t uid = 20; uid <= 29; uid++)
		keep(fixture->store, uid);
	flush(fixture, -EIO);
	refuse_commits(fixture, false);
	assert_non_null(strstr(fixture_log_end(fixture), "the store in "));
	/* Open ones go on, and are recorded when they are closed. */
	check_bytes(open, 11, SIZE, 0);
	check_bytes(old, 10, SIZE, 0);
	store_body_close(open);
	store_body_close(old);
	expect_files(fixture, 11);
	check_account(fixture, 11);
	struct store_missing missing[64];
	size_t count;
	assert_int_equal(
		store_bodies_missing(fixture->store, FOLDER, 1, true, missing, 64, &count), 0);
	assert_int_equal(count, 29);
	assert_int_equal(missing[0].uid, 12);
	fixture_reopen(fixture);
	assert_int_equal(count_here(fixture, 1, 40), 11);
	check_account(fixture, 11);
}

/* SQLite has taken all of it back, by itself, in the middle. */
static void test_rolled_back(void **state)
{
	struct fixture *fixture = *state;
	for (uint32_t uid = 1; uid <= 10; uid++)
		keep(fixture->store, uid);
	flush(fixture, 0);
	fixture_log_begin(fixture);
	pthread_mutex_lock(&fixture->store->lock);
	assert_int_equal(db_join(&fixture->store->db), 0);
	assert_int_equal(db_part(&fixture->store->db, 0), 0);
	assert_int_equal(sqlite3_exec(fixture->store->db.handle, "ROLLBACK", NULL, NULL, NULL), 0);
	pthread_mutex_unlock(&fixture->store->lock);
	keep(fixture->store, 11);
	struct store_mailbox mailbox = {.folder = FOLDER};
	assert_int_equal(store_mailbox_put(fixture->store, "INBOX", &mailbox), 0);
	fixture_reopen(fixture);
	assert_string_equal(fixture_log_end(fixture), "");
	assert_int_equal(count_here(fixture, 1, 11), 11);
	check_account(fixture, 11);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create, fixture_destroy)
#define OPEN(name) cmocka_unit_test_setup_teardown(name, fixture_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_killed_at_once),
		OPEN(test_open_while_swept),
		TEST(test_killed_later),
		TEST(test_killed_busy),
		TEST(test_killed_behind_others),
		TEST(test_killed_after_cut),
		OPEN(test_commit_fails),
		OPEN(test_rolled_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
