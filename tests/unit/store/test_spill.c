/* SPDX-License-Identifier: MIT */
/*
 * A database whose disk is full, with SQLite's own system calls replaced: any write can be the first that fails, or the last before the
 * process is killed. Step k puts row k, and then a state of the mailbox that says k: a state on the disk must never be
 * newer than the rows.
 */
#include "fixture.h"
#include "private.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mailfs/util/log.h"

#define FOLDER 6

/* ---- system calls that fail ---- */

static struct {
	atomic_bool full;
	atomic_int err;
	atomic_long passed;       /* writes */
	atomic_long full_after;   /* so many; -1: never */
	atomic_long killed_after; /* the same */
	atomic_bool shm_too;      /* files of the log's index can not grow */
} disk;

typedef ssize_t pwrite_fn(int fd, const void *data, size_t len, off_t offset);
typedef ssize_t write_fn(int fd, const void *data, size_t len);
typedef int ftruncate_fn(int fd, off_t size);
static pwrite_fn *real_pwrite;
static write_fn *real_write;
static ftruncate_fn *real_ftruncate;

static bool ends_with(int fd, const char *end)
{
	char link[64], path[512];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return false;
	path[n] = 0;
	size_t len = strlen(end);
	return (size_t)n >= len && strcmp(path + n - len, end) == 0;
}

/* Whether a write may be made. */
static bool may_write(int fd)
{
	if (ends_with(fd, "-shm"))
		return !disk.shm_too;
	long n = atomic_fetch_add(&disk.passed, 1);
	if (disk.killed_after >= 0 && n >= disk.killed_after)
		kill(getpid(), SIGKILL);
	if (disk.full_after >= 0 && n >= disk.full_after)
		disk.full = true;
	return !disk.full;
}

static ssize_t test_pwrite(int fd, const void *data, size_t len, off_t offset)
{
	if (may_write(fd))
		return real_pwrite(fd, data, len, offset);
	errno = disk.err;
	return -1;
}

static ssize_t test_write(int fd, const void *data, size_t len)
{
	if (may_write(fd))
		return real_write(fd, data, len);
	errno = disk.err;
	return -1;
}

static int test_ftruncate(int fd, off_t size)
{
	if (!ends_with(fd, "-shm") && disk.killed_after >= 0 &&
		atomic_fetch_add(&disk.passed, 1) >= disk.killed_after)
		kill(getpid(), SIGKILL);
	return real_ftruncate(fd, size);
}

static void replace_calls(void)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
	real_pwrite = (pwrite_fn *)vfs->xGetSystemCall(vfs, "pwrite64");
	real_write = (write_fn *)vfs->xGetSystemCall(vfs, "write");
	real_ftruncate = (ftruncate_fn *)vfs->xGetSystemCall(vfs, "ftruncate");
	if (real_pwrite)
		vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)test_pwrite);
	else
		real_pwrite = (pwrite_fn *)vfs->xGetSystemCall(vfs, "pwrite");
	vfs->xSetSystemCall(vfs, "pwrite", (sqlite3_syscall_ptr)test_pwrite);
	vfs->xSetSystemCall(vfs, "write", (sqlite3_syscall_ptr)test_write);
	vfs->xSetSystemCall(vfs, "ftruncate", (sqlite3_syscall_ptr)test_ftruncate);
}

static void full_after(long writes, int err)
{
	disk.passed = 0;
	disk.err = err;
	disk.full_after = writes;
}

static void room_again(void)
{
	disk.full_after = -1;
	disk.full = false;
}

static int set_up(void **state)
{
	room_again();
	disk.killed_after = -1;
	disk.shm_too = false;
	spill_limit_bytes = UINT64_C(64) << 20;
	return fixture_create_open(state);
}

/* ---- steps ---- */

static size_t fill_header(char *header, uint32_t step)
{
	size_t len = 20 + step * 37 % 900;
	for (size_t i = 0; i < len; i++)
		header[i] = (char)('a' + (step + i) % 26);
	return len;
}

static int try_step(struct store *store, uint32_t step)
{
	char header[1024];
	struct source_row row = {.uid = step,
		.have = SOURCE_ROW_SIZE | SOURCE_ROW_FLAGS | SOURCE_ROW_HEADER,
		.size_bytes = step,
		.flags = step % 3 ? "\\Seen" : "",
		.header = header,
		.header_len = fill_header(header, step)};
	struct store_mailbox state = {.folder = FOLDER, .uidvalidity = 1, .modseq = step};
	int rc = store_rows_put(store, FOLDER, &row, 1);
	if (rc == 0)
		rc = store_mailbox_put(store, "INBOX", &state);
	return rc;
}

static void steps(struct fixture *fixture, uint32_t first, uint32_t last)
{
	for (uint32_t step = first; step <= last; step++)
		assert_int_equal(try_step(fixture->store, step), 0);
}

struct seen {
	uint32_t rows;
	bool wrong;
};

static int see_row(void *arg, const struct source_row *row)
{
	struct seen *seen = arg;
	char header[1024];
	size_t len = fill_header(header, row->uid);
	seen->rows++;
	if (row->uid != seen->rows || row->size_bytes != row->uid || row->header_len != len ||
		memcmp(row->header, header, len) != 0)
		seen->wrong = true;
	return 0;
}

/* Sees that what there is belongs together; the number of rows. */
static uint32_t look(struct fixture *fixture)
{
	struct seen seen = {0};
	struct store_mailbox state;
	uint64_t messages = 0, unseen = 0;
	assert_int_equal(store_rows_load(fixture->store, FOLDER, 1, see_row, &seen), 0);
	assert_int_equal(store_mailbox_get(fixture->store, "INBOX", &state), 0);
	assert_int_equal(store_folder_count(fixture->store, FOLDER, &messages, &unseen), 0);
	assert_false(seen.wrong);
	assert_in_range(seen.rows - state.modseq, 0, 1);
	assert_int_equal(messages, seen.rows);
	assert_int_equal(unseen, seen.rows / 3);
	return seen.rows;
}

static int see_integrity(void *arg, int columns, char **values, char **names)
{
	(void)columns;
	(void)names;
	*(bool *)arg = strcmp(values[0], "ok") == 0;
	return 0;
}

static void check_integrity(const struct fixture *fixture)
{
	sqlite3 *handle;
	bool ok = false;
	assert_int_equal(sqlite3_open(fixture_path(fixture, "store.db"), &handle), SQLITE_OK);
	sqlite3_exec(handle, "PRAGMA integrity_check", see_integrity, &ok, NULL);
	sqlite3_close(handle);
	assert_true(ok);
}

static bool spilling(const struct fixture *fixture)
{
	return db_spilling(&fixture->store->db);
}

/* ---- tests ---- */

/* Whichever write is the first that fails, and why: nobody notices, and all of it is on the disk later. */
static void check_goes_on(struct fixture *fixture, long writes, int err)
{
	uint32_t first = look(fixture) + 1;
	full_after(writes, err);
	steps(fixture, first, first + 60);
	assert_true(spilling(fixture));
	assert_int_equal(look(fixture), first + 60);
	room_again();
	store_look_for_room(fixture->store);
	assert_false(spilling(fixture));
	assert_int_equal(look(fixture), first + 60);
	steps(fixture, first + 61, first + 70);
	fixture_reopen(fixture);
	assert_int_equal(look(fixture), first + 70);
	check_integrity(fixture);
}

static void test_goes_on(void **state)
{
	static const int errs[] = {ENOSPC, EDQUOT, EFBIG, EROFS};
	for (int i = 0; i < 16; i++)
		check_goes_on(*state, i * 3, errs[i % 4]);
}

/* Where there is no room until the end, the older state is whole. */
static void test_closed_while_full(void **state)
{
	struct fixture *fixture = *state;
	uint32_t kept = 0;
	for (long writes = 0; writes < 40; writes += 3) {
		full_after(writes, ENOSPC);
		steps(fixture, kept + 1, kept + 30);
		assert_true(spilling(fixture));
		fixture_close(fixture);
		room_again();
		fixture_reopen(fixture);
		uint32_t now = look(fixture);
		assert_in_range(now, kept, kept + 30);
		assert_true(now - kept <= (uint32_t)writes);
		kept = now;
		check_integrity(fixture);
	}
	assert_true(kept > 10);
}

static void in_child(struct fixture *fixture, void (*run)(struct fixture *, long), long arg)
{
	fixture_close(fixture);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fixture->store = fixture_open_in_child(fixture);
		run(fixture, arg);
		_exit(2);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status))
		assert_int_equal(WEXITSTATUS(status), 0);
	fixture_reopen(fixture);
}

static void die_full(struct fixture *fixture, long writes)
{
	full_after(writes, ENOSPC);
	for (uint32_t step = 1; step <= 400; step++)
		if (try_step(fixture->store, step) < 0)
			_exit(3);
	if (!spilling(fixture))
		_exit(4);
	kill(getpid(), SIGKILL);
}

static void test_killed_while_full(void **state)
{
	struct fixture *fixture = *state;
	uint32_t last = 0;
	for (long writes = 0; writes < 120; writes += 9) {
		in_child(fixture, die_full, writes);
		last = look(fixture);
		assert_true(last < 400);
		check_integrity(fixture);
	}
	assert_true(last > 0);
}

#define OLD 50
#define NEW 130

static void die_in_write_back(struct fixture *fixture, long writes)
{
	if (look(fixture) == 0)
		steps(fixture, 1, OLD);
	full_after(0, ENOSPC);
	for (uint32_t step = OLD + 1; step <= NEW; step++)
		if (try_step(fixture->store, step) < 0)
			_exit(3);
	room_again();
	disk.passed = 0;
	disk.killed_after = writes;
	store_look_for_room(fixture->store);
	_exit(spilling(fixture) ? 5 : 0);
}

/* One state or the other, wherever it is killed; the older one is in the log in one round, in the database in the next. */
static void test_killed_in_write_back(void **state)
{
	struct fixture *fixture = *state;
	unsigned old = 0, new = 0;
	for (long writes = 0; writes < 70; writes++) {
		if (writes % 2)
			steps(fixture, 1, OLD);
		in_child(fixture, die_in_write_back, writes);
		uint32_t rows = look(fixture);
		/* The children of before have left what they had: it is the same. */
		old += rows == OLD;
		new += rows == NEW;
		assert_true(rows == OLD || rows == NEW);
		check_integrity(fixture);
		fixture_close(fixture);
		fixture_sql(fixture, "DELETE FROM message; DELETE FROM mailbox");
		fixture_reopen(fixture);
	}
	assert_true(old > 0);
	assert_true(new > 0);
}

/* Where writing back fails, everything goes on in memory, and the next time it succeeds. */
static void test_full_in_write_back(void **state)
{
	struct fixture *fixture = *state;
	uint32_t last = 0;
	for (long writes = 0; writes < 90; writes += 4) {
		full_after(0, ENOSPC);
		steps(fixture, last + 1, last + 80);
		room_again();
		full_after(writes, EDQUOT);
		store_look_for_room(fixture->store);
		steps(fixture, last + 81, last + 90);
		last += 90;
		assert_int_equal(look(fixture), last);
		room_again();
		store_look_for_room(fixture->store);
		assert_false(spilling(fixture));
		fixture_reopen(fixture);
		assert_int_equal(look(fixture), last);
	}
	check_integrity(fixture);
}

/* Memory is bounded: then a full disk is an error, and what there is stays right. */
static void test_limit(void **state)
{
	struct fixture *fixture = *state;
	spill_limit_bytes = 2 << 20;
	full_after(5, ENOSPC);
	uint32_t step = 1;
	int rc;
	while ((rc = try_step(fixture->store, step)) == 0)
		assert_true(step++ < 5000);
	assert_int_equal(rc, -ENOSPC);
	uint32_t rows = look(fixture);
	assert_in_range(rows, 100, step);
	room_again();
	store_look_for_room(fixture->store);
	assert_false(spilling(fixture));
	assert_int_equal(look(fixture), rows);
	steps(fixture, rows + 1, rows + 50);
	fixture_reopen(fixture);
	assert_int_equal(look(fixture), rows + 50);
	check_integrity(fixture);
}

/* What counts is what differs from the disk, not how often it was written. */
static void test_many_small_writes(void **state)
{
	struct fixture *fixture = *state;
	spill_limit_bytes = 8 << 20;
	steps(fixture, 1, 10);
	full_after(0, ENOSPC);
	struct store_flags flags = {.uid = 3};
	for (int i = 0; i < 20000; i++) {
		flags.flags = i % 2 ? "" : "\\Flagged";
		assert_int_equal(store_flags_put(fixture->store, FOLDER, &flags, 1), 0);
	}
	assert_int_equal(look(fixture), 10);
}

/* A transaction that is larger than the index of the log can get on the disk. */
static void test_index_can_not_grow(void **state)
{
	struct fixture *fixture = *state;
	struct source_row *rows = calloc(12000, sizeof(*rows));
	static const char header[2000];
	assert_non_null(rows);
	for (uint32_t i = 0; i < 12000; i++)
		rows[i] = (struct source_row){.uid = i + 1,
			.have = SOURCE_ROW_HEADER,
			.header = header,
			.header_len = sizeof(header)};
	disk.shm_too = true;
	full_after(3, ENOSPC);
	assert_int_equal(store_rows_put(fixture->store, FOLDER, rows, 12000), 0);
	free(rows);
	assert_true(spilling(fixture));
	room_again();
	store_look_for_room(fixture->store);
	assert_false(spilling(fixture));
	disk.shm_too = false;
	fixture_reopen(fixture);
	uint64_t messages, unseen;
	assert_int_equal(store_folder_count(fixture->store, FOLDER, &messages, &unseen), 0);
	assert_int_equal(messages, 12000);
	check_integrity(fixture);
}

/* Once for each time that it is full. */
static void test_what_is_said(void **state)
{
	struct fixture *fixture = *state;
	log_set_level(LOG_LEVEL_INFO);
	fixture_log_begin(fixture);
	full_after(0, EDQUOT);
	steps(fixture, 1, 20);
	/* Room enough in the log's place, but none for what is to be written. */
	disk.full_after = 0;
	store_look_for_room(fixture->store);
	store_look_for_room(fixture->store);
	steps(fixture, 21, 30);
	room_again();
	store_look_for_room(fixture->store);
	store_look_for_room(fixture->store);
	const char *text = fixture_log_end(fixture);
	log_set_level(LOG_LEVEL_WARNING);
	const char *warning = strstr(text, "nothing can be written to the store in");
	assert_non_null(warning);
	assert_non_null(strstr(warning, strerror(EDQUOT)));
	assert_null(strstr(warning + 1, "nothing can be written"));
	const char *info = strstr(text, "there is room again for");
	assert_non_null(info);
	assert_null(strstr(info + 1, "there is room again for"));
}

/* ---- several threads ---- */

struct worker {
	struct store *store;
	uint32_t folder;
	int rc;
};

static void *work(void *arg)
{
	struct worker *worker = arg;
	static const char header[700];
	for (uint32_t uid = 1; worker->rc == 0 && uid <= 1500; uid++) {
		struct source_row row = {.uid = uid,
			.have = SOURCE_ROW_HEADER,
			.header = header,
			.header_len = sizeof(header)};
		worker->rc = store_rows_put(worker->store, worker->folder, &row, 1);
	}
	return NULL;
}

/* The disk fills and empties while two write and the log is checked in. */
static void test_comes_and_goes(void **state)
{
	struct fixture *fixture = *state;
	struct worker workers[2];
	pthread_t threads[2];
	disk.err = ENOSPC;
	for (uint32_t i = 0; i < 2; i++) {
		workers[i] = (struct worker){.store = fixture->store, .folder = 10 + i};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < 60; i++) {
		disk.full = i % 2 == 0;
		usleep(2000);
		store_look_for_room(fixture->store);
	}
	disk.full = false;
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(workers[i].rc, 0);
	}
	store_look_for_room(fixture->store);
	fixture_reopen(fixture);
	for (uint32_t i = 0; i < 2; i++) {
		uint64_t messages, unseen;
		assert_int_equal(store_folder_count(fixture->store, 10 + i, &messages, &unseen), 0);
		assert_int_equal(messages, 1500);
	}
	check_integrity(fixture);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_goes_on),
		TEST(test_closed_while_full),
		TEST(test_killed_while_full),
		TEST(test_killed_in_write_back),
		TEST(test_full_in_write_back),
		TEST(test_limit),
		TEST(test_many_small_writes),
		TEST(test_index_can_not_grow),
		TEST(test_what_is_said),
		TEST(test_comes_and_goes),
	};
	replace_calls();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
