/* SPDX-License-Identifier: MIT */
/*
 * What gets onto the disk, and in which order. This program's own fsync(), fdatasync() and sync_file_range() stand before the C
 * library's, for SQLite as well: they write down what was called on which file, and can be told to fail.
 */
#include "spool_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EVENTS_MAX 4096

struct event {
	char path[200]; /* below the store's directory; "" is the directory itself */
	off_t size;     /* of the file then */
	size_t entries; /* of a directory then: names that are whole numbers */
};

static struct {
	pthread_mutex_t lock;
	char directory[200];
	bool on;
	size_t calls, fail_at; /* fail_at 0: never; else that call, from 1 */
	struct event events[EVENTS_MAX];
	size_t count;
} spy = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t count_messages(int fd)
{
	size_t count = 0;
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = again >= 0 ? fdopendir(again) : NULL;
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		count += entry->d_name[0] != '.' && !strchr(entry->d_name, '.');
	if (dir)
		closedir(dir);
	return count;
}

static void note(int fd)
{
	char link[64], path[400] = "";
	size_t len = strlen(spy.directory);
	struct stat st;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	if (n < 0 || strncmp(path, spy.directory, len) != 0 || spy.count == EVENTS_MAX ||
		fstat(fd, &st) < 0)
		return;
	struct event *event = &spy.events[spy.count++];
	snprintf(event->path, sizeof(event->path), "%.190s", path + len + (path[len] == '/'));
	event->size = st.st_size;
	event->entries = S_ISDIR(st.st_mode) ? count_messages(fd) : 0;
}

/* Whether the call is to fail. */
static bool spied(int fd)
{
	bool fails = false;
	pthread_mutex_lock(&spy.lock);
	if (spy.on) {
		fails = ++spy.calls == spy.fail_at;
		if (!fails)
			note(fd);
	}
	pthread_mutex_unlock(&spy.lock);
	return fails;
}

int fsync(int fd)
{
	if (spied(fd)) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	if (spied(fd)) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

static void spy_begin(struct fixture *fixture, size_t fail_at)
{
	char *real = realpath(fixture->directory, NULL);
	assert_non_null(real);
	snprintf(spy.directory, sizeof(spy.directory), "%s", real);
	free(real);
	spy.calls = spy.count = 0;
	spy.fail_at = fail_at;
	spy.on = true;
}

static void spy_end(void)
{
	pthread_mutex_lock(&spy.lock);
	spy.on = false;
	pthread_mutex_unlock(&spy.lock);
}

/* The first event from `from` on whose path begins with prefix; the number of events: none. */
static size_t find_event(const char *prefix, size_t from)
{
	for (; from < spy.count; from++)
		if (strncmp(spy.events[from].path, prefix, strlen(prefix)) == 0)
			return from;
	return from;
}

/* The first, and the last, event of exactly this path; the number of events: none. */
static size_t first_event(const char *path)
{
	size_t i = 0;
	while (i < spy.count && strcmp(spy.events[i].path, path) != 0)
		i++;
	return i;
}

static size_t last_event(const char *path)
{
	size_t found = spy.count;
	for (size_t i = 0; i < spy.count; i++)
		if (strcmp(spy.events[i].path, path) == 0)
			found = i;
	return found;
}

/* How many of UIDs from first on lie in files of their own. */
static size_t count_own(uint32_t first, size_t count)
{
	size_t own = 0;
	for (uint32_t uid = first; uid < first + count; uid++)
		own += spool_length(uid) >= OWN_FILE;
	return own;
}

/* Each file was synced with all of its bytes, and before its name. */
static void check_own_files(uint32_t first, size_t count, size_t names)
{
	for (uint32_t uid = first; uid < first + count; uid++) {
		char prefix[64];
		snprintf(prefix, sizeof(prefix), "bodies/00000005/%u.new", (unsigned)uid);
		if (spool_length(uid) < OWN_FILE)
			continue;
		size_t file = find_event(prefix, 0);
		assert_true(file < names);
		assert_int_equal(spy.events[file].size, spool_length(uid));
	}
}

static void check_order(struct fixture *fixture, uint32_t first, size_t count, bool new_names)
{
	spy_begin(fixture, 0);
	assert_int_equal(spool_put_group(fixture->store, first, count), 0);
	spy_end();
	size_t wal = find_event("store.db-wal", 0), pack = last_event("bodies/00000005/pack-1");
	size_t names = last_event("bodies/00000005");
	assert_true(wal < spy.count);
	assert_true(pack < wal);
	assert_int_equal(spy.events[pack].size, spool_pack_length(fixture, 1));
	assert_string_equal(spy.events[spy.count - 1].path, "store.db-wal");
	if (!new_names && count_own(first, count) == 0) {
		assert_int_equal(names, spy.count);
		return;
	}
	assert_true(names < wal);
	check_own_files(first, count, names);
	/* All names were there when their directory was synced. */
	assert_int_equal(spy.events[names].entries, 1 + count_own(1, first + count - 1));
	if (new_names)
		assert_true(last_event("bodies") < wal && first_event("") < wal);
}

static void test_order(void **state)
{
	struct fixture *fixture = *state;
	check_order(fixture, 1, 1, true);
	check_order(fixture, 2, 3, false);
	check_order(fixture, 5, 40, false);
	check_order(fixture, 45, 256, false);
	fixture_reopen(fixture);
	check_order(fixture, 301, 5, true);
}

static void test_deleted_is_durable(void **state)
{
	struct fixture *fixture = *state;
	uint32_t uids[] = {1, 2, 3};
	assert_int_equal(spool_put_group(fixture->store, 1, 3), 0);
	spy_begin(fixture, 0);
	assert_int_equal(store_spool_deleted(fixture->store, FOLDER, uids, 3, 9), 0);
	spy_end();
	assert_int_equal(spy.count, 1);
	assert_string_equal(spy.events[0].path, "store.db-wal");
}

static void test_lost_is_durable(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(spool_put_group(fixture->store, 1, 3), 0);
	assert_int_equal(unlink(fixture_path(fixture, PACK_OF(1))), 0);
	fixture_log_begin(fixture);
	spy_begin(fixture, 0);
	assert_int_equal(store_spool_verify(fixture->store, FOLDER, 2), -EBADMSG);
	spy_end();
	fixture_log_end(fixture);
	assert_int_equal(spy.count, 1);
	assert_string_equal(spy.events[0].path, "store.db-wal");
}

/* What can be had again does not wait for the disk, before and after what can not. */
static void test_others_do_not_wait(void **state)
{
	struct fixture *fixture = *state;
	for (int i = 0; i < 2; i++) {
		struct source_row row = {.uid = 900, .have = SOURCE_ROW_FLAGS, .flags = ""};
		spy_begin(fixture, 0);
		assert_int_equal(store_rows_put(fixture->store, FOLDER, &row, 1), 0);
		assert_int_equal(store_spool_listed(fixture->store, FOLDER, 1, 5, NULL), 0);
		spy_end();
		assert_int_equal(spy.count, 0);
		assert_int_equal(spool_put(fixture->store, 1 + (uint32_t)i, 1, 10), 0);
	}
}

/* A new spool's directory, and those above it, are on the disk before the first message counts. */
static void test_new_directory(void **state)
{
	void *made;
	(void)state;
	fixture_create(&made);
	struct fixture *fixture = made;
	fixture->kind = STORE_SPOOL;
	char *real = realpath(fixture->root, NULL);
	assert_non_null(real);
	snprintf(spy.directory, sizeof(spy.directory), "%s", real);
	free(real);
	spy.calls = spy.count = spy.fail_at = 0;
	spy.on = true;
	fixture_reopen(fixture);
	spy_end();
	static const char *const paths[] = {"cache/mailfs/account", "cache/mailfs", "cache", ""};
	for (size_t p = 0, at = 0; p < 4; p++, at++) {
		while (at < spy.count && strcmp(spy.events[at].path, paths[p]) != 0)
			at++;
		assert_true(at < spy.count);
	}
	fixture_destroy(&made);
}

/* Whichever sync fails, nothing of the group counts, and the next one does. */
static void test_failures(void **state)
{
	struct fixture *fixture = *state;
	fixture_log_begin(fixture);
	uint32_t failures = 0;
	for (size_t at = 1;; at++) {
		spy_begin(fixture, at);
		int rc = spool_put_group(fixture->store, 1, 50);
		spy_end();
		if (rc == 0)
			break;
		assert_int_equal(rc, -EIO);
		failures++;
		assert_int_equal(spool_count(fixture->store), 0);
		assert_int_equal(spool_files(fixture) + spool_packs(fixture), 0);
		assert_int_equal(spool_put(fixture->store, 1000 + failures, 1, 100), 0);
		fixture_reopen(fixture);
		assert_int_equal(spool_count(fixture->store), 1);
		fixture_sql(
			fixture, "DELETE FROM spool; DELETE FROM spool_pack; DELETE FROM message");
		assert_int_equal(unlink(fixture_path(fixture, PACK_OF(1))), 0);
	}
	fixture_log_end(fixture);
	/* Files, the pack, three directories, the log. */
	assert_true(failures >= count_own(1, 50) + 5);
	fixture_reopen(fixture);
	assert_int_equal(spool_count(fixture->store), 50);
	for (uint32_t uid = 1; uid <= 50; uid++)
		assert_int_equal(store_spool_verify(fixture->store, FOLDER, uid), 0);
}

/* The same for the replacement of a lost message: it is lost still, or whole. */
static void check_failures_replacing(struct fixture *fixture, uint32_t uid, size_t len)
{
	assert_int_equal(spool_put(fixture->store, uid, 1, OWN_FILE), 0);
	char name[64];
	snprintf(name, sizeof(name), "bodies/00000005/%u", (unsigned)uid);
	assert_int_equal(unlink(fixture_path(fixture, name)), 0);
	int rc = -EIO;
	for (size_t at = 1; rc < 0; at++) {
		assert_int_equal(store_spool_verify(fixture->store, FOLDER, uid), -EBADMSG);
		spy_begin(fixture, at);
		rc = spool_put(fixture->store, uid, 2, len);
		spy_end();
		assert_true(rc == 0 || rc == -EIO);
		assert_int_equal(spool_record(fixture->store, uid).record.lost, rc < 0);
	}
	assert_int_equal(spool_read(fixture->store, uid, 2, len), 0);
}

static void test_failures_replacing(void **state)
{
	struct fixture *fixture = *state;
	fixture_log_begin(fixture);
	check_failures_replacing(fixture, 1, 200);
	check_failures_replacing(fixture, 2, OWN_FILE + 1);
	assert_int_equal(spool_count(fixture->store), 2);
	fixture_log_end(fixture);
}

/* The log is copied into the database with syncs on both sides, whoever does it. */
static void test_checkpoint(void **state)
{
	struct fixture *fixture = *state;
	static char header[6 << 20];
	memset(header, 'h', sizeof(header));
	spy_begin(fixture, 0);
	struct source_row row = {.uid = 1,
		.have = SOURCE_ROW_HEADER,
		.header = header,
		.header_len = sizeof(header)};
	assert_int_equal(store_rows_put(fixture->store, 6, &row, 1), 0);
	bool synced = false;
	for (int i = 0; i < 2000 && !synced; i++) {
		usleep(10000);
		pthread_mutex_lock(&spy.lock);
		size_t log = find_event("store.db-wal", 0);
		size_t database = log;
		while (database < spy.count && strcmp(spy.events[database].path, "store.db") != 0)
			database++;
		synced = database < spy.count;
		pthread_mutex_unlock(&spy.lock);
	}
	spy_end();
	assert_true(synced);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, spool_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_order),
		TEST(test_deleted_is_durable),
		TEST(test_lost_is_durable),
		TEST(test_others_do_not_wait),
		cmocka_unit_test(test_new_directory),
		TEST(test_failures),
		TEST(test_failures_replacing),
		TEST(test_checkpoint),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
