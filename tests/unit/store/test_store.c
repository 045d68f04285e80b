/* SPDX-License-Identifier: MIT */
/* Opening: directories and their modes, the lock, schema versions. Damage: test_aside.c. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned mode_of(const char *path)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		fail_msg("%s: %s", path, strerror(errno));
	return st.st_mode & 07777;
}

/* With a row and a body in it, so that there are all of its files. */
static void fill(struct fixture *fixture)
{
	struct source_row row = {.uid = 1, .have = SOURCE_ROW_FLAGS, .flags = ""};
	assert_int_equal(store_rows_put(fixture->store, 5, &row, 1), 0);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(write_bytes(body, 1, 100, 0), 0);
	assert_int_equal(store_body_set_size(body, 100), 0);
	store_body_close(body);
}

static void check_modes(struct fixture *fixture, mode_t mask)
{
	static const char *const directories[] = {"", "bodies", "bodies/00000005", "../..", ".."};
	static const char *const files[] = {
		"lock", "store.db", "store.db-wal", "store.db-shm", "bodies/00000005/1"};
	mode_t old = umask(mask);
	fixture_reopen(fixture);
	fill(fixture);
	umask(old);
	for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++)
		assert_int_equal(mode_of(fixture_path(fixture, directories[i])), 0700);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		assert_int_equal(mode_of(fixture_path(fixture, files[i])), 0600);
}

static void test_modes_open_umask(void **state)
{
	check_modes(*state, 0);
}

static void test_modes_usual_umask(void **state)
{
	check_modes(*state, 022);
}

static void test_existing_directory_kept(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(chmod(fixture->root, 0755), 0);
	fixture_reopen(fixture);
	assert_int_equal(mode_of(fixture->root), 0755);
	fixture_reopen(fixture);
}

static void test_relative_directory(void **state)
{
	struct fixture *fixture = *state;
	int home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(chdir(fixture->root), 0);
	_cleanup_str_ struct str why = STR_INIT;
	int rc = store_open("cache//mailfs/account/", STORE_CACHE, &fixture->store, &why);
	/* As a process does that goes to the background. */
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rc, 0);
	fill(fixture);
	assert_int_equal(mode_of(fixture_path(fixture, "bodies/00000005/1")), 0600);
	assert_int_equal(fchdir(home), 0);
	close(home);
}

static void test_directory_is_a_file(void **state)
{
	struct fixture *fixture = *state;
	snprintf(fixture->directory, sizeof(fixture->directory), "%s/file/store", fixture->root);
	char path[128];
	snprintf(path, sizeof(path), "%s/file", fixture->root);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	fixture_expect_refused(
		fixture, -EIO, (const char *const[]){fixture->directory, strerror(ENOTDIR), NULL});
}

static void test_directory_empty(void **state)
{
	struct fixture *fixture = *state;
	fixture->directory[0] = 0;
	fixture_expect_refused(fixture, -EIO, (const char *const[]){strerror(ENOENT), NULL});
}

static void test_directory_too_long(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_str_ struct str path = STR_INIT, why = STR_INIT;
	str_append_cstr(&path, fixture->root);
	for (int i = 0; i < 5; i++)
		str_printf(&path, "/%0100d", i);
	struct store *store = NULL;
	assert_int_equal(store_open(str_cstr(&path), STORE_CACHE, &store, &why), -EIO);
	assert_non_null(strstr(str_cstr(&why), strerror(ENAMETOOLONG)));
}

static void test_symlinks_not_followed(void **state)
{
	struct fixture *fixture = *state;
	char target[128];
	snprintf(target, sizeof(target), "%s/elsewhere", fixture->root);
	fixture_reopen(fixture);
	fixture_close(fixture);
	unlink(fixture_path(fixture, "store.db"));
	assert_int_equal(symlink(target, fixture_path(fixture, "store.db")), 0);
	fixture_expect_refused(
		fixture, -EIO, (const char *const[]){"store.db", strerror(ELOOP), NULL});
	assert_int_equal(access(target, F_OK), -1);
}

static void write_victim(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0 && write(fd, "victim", 6) == 6 && fchmod(fd, 0644) == 0);
	close(fd);
}

static void check_victim(const char *path)
{
	struct stat st;
	char text[7] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0 && read(fd, text, 6) == 6);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	assert_string_equal(text, "victim");
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(st.st_size, 6);
}

/* Whose directory it is can give any file of the system a name in it: root changes none that has another name. */
static void test_second_names(void **state)
{
	static const char *const names[] = {"lock", "store.db", "store.db-wal", "store.db-shm"};
	struct fixture *fixture = *state;
	char victim[128];
	if (getuid() != 0)
		return;
	fixture_reopen(fixture);
	fill(fixture);
	fixture_close(fixture);
	assert_int_equal(chown(fixture->directory, 65534, 65534), 0);
	snprintf(victim, sizeof(victim), "%s/victim", fixture->root);
	write_victim(victim);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *path = fixture_path(fixture, names[i]);
		char kept[256];
		snprintf(kept, sizeof(kept), "%s/kept", fixture->root);
		bool there = rename(path, kept) == 0;
		assert_int_equal(link(victim, path), 0);
		fixture_expect_refused(fixture, -EIO,
			(const char *const[]){
				fixture->directory, names[i], "Too many links", NULL});
		check_victim(victim);
		path = fixture_path(fixture, names[i]);
		assert_int_equal(unlink(path), 0);
		if (there)
			assert_int_equal(rename(kept, path), 0);
	}
	/* A body: the store goes on without it. */
	fixture_reopen(fixture);
	for (unsigned uid = 1; uid <= 2; uid++) {
		char name[64];
		struct store_body *body = NULL;
		snprintf(name, sizeof(name), "bodies/00000005/%u", uid);
		const char *path = fixture_path(fixture, name);
		(void)unlink(path);
		assert_int_equal(link(victim, path), 0);
		int rc = store_body_open(fixture->store, 5, uid, "", &body);
		if (rc == 0)
			rc = write_bytes(body, uid, 100, 0);
		assert_true(rc < 0);
		store_body_close(body);
		check_victim(victim);
	}
}

static void test_directory_of_ones_own(void **state)
{
	struct fixture *fixture = *state;
	char other[128];
	fixture_reopen(fixture);
	fixture_close(fixture);
	assert_int_equal(chmod(fixture->directory, 0777), 0);
	fixture_expect_refused(
		fixture, -EIO, (const char *const[]){fixture->directory, "everybody", NULL});
	assert_int_equal(chmod(fixture->directory, 0700), 0);
	if (getuid() == 0) {
		assert_int_equal(chown(fixture->directory, 65534, 65534), 0);
		_cleanup_str_ struct str why = STR_INIT;
		struct store *store = NULL;
		/* Root takes a cache of another's, and no spool. */
		fixture_reopen(fixture);
		fixture_close(fixture);
		assert_int_equal(store_open(fixture->directory, STORE_SPOOL, &store, &why), -EIO);
		assert_non_null(strstr(str_cstr(&why), "another user (uid 65534)"));
		assert_int_equal(chmod(fixture->directory, 0777), 0);
		fixture_expect_refused(
			fixture, -EIO, (const char *const[]){"everybody", "umask", NULL});
		assert_int_equal(chmod(fixture->directory, 0700), 0);
		assert_int_equal(chown(fixture->directory, 0, 0), 0);
	}
	/* A link in its place; one above it is the user's affair. */
	snprintf(other, sizeof(other), "%s/elsewhere", fixture->root);
	assert_int_equal(rename(fixture->directory, other), 0);
	assert_int_equal(symlink(other, fixture->directory), 0);
	fixture_expect_refused(
		fixture, -EIO, (const char *const[]){fixture->directory, "symbolic link", NULL});
	assert_int_equal(unlink(fixture->directory), 0);
	snprintf(other, sizeof(other), "%s/cache", fixture->root);
	snprintf(fixture->directory, sizeof(fixture->directory), "%s/moved", fixture->root);
	assert_int_equal(rename(other, fixture->directory), 0);
	assert_int_equal(symlink(fixture->directory, other), 0);
	snprintf(fixture->directory, sizeof(fixture->directory), "%s/cache/mailfs/account",
		fixture->root);
	fixture_reopen(fixture);
}

/* ---- the lock ---- */

static void test_second_open_in_process(void **state)
{
	struct fixture *fixture = *state;
	fixture_reopen(fixture);
	char pid[32];
	snprintf(pid, sizeof(pid), "pid %ld)", (long)getpid());
	fixture_expect_refused(
		fixture, -EBUSY, (const char *const[]){pid, fixture->directory, NULL});
	fixture_reopen(fixture);
}

/* A child that opens the store, says so, and keeps it until it is killed. */
static pid_t hold_in_child(struct fixture *fixture)
{
	int ready[2];
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fixture_open_in_child(fixture);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	char c;
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return pid;
}

static void test_other_process_has_it(void **state)
{
	struct fixture *fixture = *state;
	pid_t child = hold_in_child(fixture);
	char pid[32];
	snprintf(pid, sizeof(pid), "(pid %ld)", (long)child);
	fixture_expect_refused(
		fixture, -EBUSY, (const char *const[]){pid, fixture->directory, NULL});
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	fixture_reopen(fixture);
}

/* Nobody writes into it: who opens it waits for ever. */
static void test_fifo_beside(void **state)
{
	static const char *const names[] = {"store.db-wal", "store.db-shm", "store.db-journal"};
	struct fixture *fixture = *state;
	_cleanup_str_ struct str said = STR_INIT;
	struct store *store = NULL;
	assert_int_equal(store_open(fixture->directory, STORE_CACHE, &store, &said), 0);
	store_close(store);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		_cleanup_str_ struct str why = STR_INIT;
		assert_int_equal(mkfifo(fixture_path(fixture, names[i]), 0600), 0);
		alarm(20);
		assert_int_equal(store_open(fixture->directory, STORE_CACHE, &store, &why), -EIO);
		alarm(0);
		assert_non_null(strstr(str_cstr(&why), names[i]));
		assert_non_null(strstr(str_cstr(&why), "no plain file: remove it"));
		assert_int_equal(unlink(fixture_path(fixture, names[i])), 0);
	}
}

static void test_lock_without_pid(void **state)
{
	struct fixture *fixture = *state;
	fixture_reopen(fixture);
	assert_int_equal(truncate(fixture_path(fixture, "lock"), 0), 0);
	fixture_expect_refused(
		fixture, -EBUSY, (const char *const[]){"in use by another mailfs:", NULL});
}

/* ---- schema ---- */

static void test_newer_schema(void **state)
{
	struct fixture *fixture = *state;
	fixture_reopen(fixture);
	fill(fixture);
	fixture_close(fixture);
	fixture_sql(fixture, "PRAGMA user_version=7");
	fixture_expect_refused(fixture, -EPROTO,
		(const char *const[]){
			fixture->directory, "newer", "version 7", "up to 4", "delete", NULL});
	/* Nothing was touched: with its own version back it opens, and has what it had. */
	fixture_sql(fixture, "PRAGMA user_version=4");
	fixture_reopen(fixture);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	check_bytes(body, 1, 100, 0);
	store_body_close(body);
}

/* Without its database, nobody knows the bodies: they go. */
static void test_database_deleted(void **state)
{
	struct fixture *fixture = *state;
	fixture_reopen(fixture);
	fill(fixture);
	fixture_close(fixture);
	assert_int_equal(unlink(fixture_path(fixture, "store.db")), 0);
	fixture_reopen(fixture);
	assert_int_equal(access(fixture_path(fixture, "bodies/00000005"), F_OK), -1);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_held(body, 0), 0);
	store_body_close(body);
}

/* ---- the write-ahead log ---- */

static void put_rows(struct fixture *fixture, size_t count, size_t header_len)
{
	char *header = malloc(header_len);
	struct source_row *rows = calloc(count, sizeof(*rows));
	assert_non_null(header);
	assert_non_null(rows);
	memset(header, 'h', header_len);
	for (size_t i = 0; i < count; i++)
		rows[i] = (struct source_row){.uid = (uint32_t)i + 1,
			.have = SOURCE_ROW_HEADER,
			.header = header,
			.header_len = header_len};
	assert_int_equal(store_rows_put(fixture->store, 5, rows, count), 0);
	free(rows);
	free(header);
}

static off_t size_of(const struct fixture *fixture, const char *name)
{
	struct stat st;
	assert_int_equal(stat(fixture_path(fixture, name), &st), 0);
	return st.st_size;
}

/* What was committed gets into the database while the store is open. */
static void test_log_moves_on(void **state)
{
	struct fixture *fixture = *state;
	fixture_reopen(fixture);
	put_rows(fixture, 10000, 1000);
	for (int i = 0; i < 2000 && size_of(fixture, "store.db") < 10000 * 1000; i++)
		usleep(10000);
	assert_true(size_of(fixture, "store.db") >= 10000 * 1000);
}

/* And the log does not keep what a large transaction made of it. */
static void test_log_is_cut(void **state)
{
	struct fixture *fixture = *state;
	fixture_reopen(fixture);
	put_rows(fixture, 80, 1 << 20);
	assert_true(size_of(fixture, "store.db") >= 80 << 20);
	for (int i = 0; i < 2000 && size_of(fixture, "store.db-wal") > 16 << 20; i++) {
		put_rows(fixture, 1, 10);
		usleep(10000);
	}
	assert_true(size_of(fixture, "store.db-wal") <= 16 << 20);
}

/* It can be written and read, and nobody else finds it: not even in the directory. */
static void test_scratch(void **state)
{
	struct fixture *fixture = *state;
	struct stat st;
	char read[4] = "";
	fixture_reopen(fixture);
	int fd = store_scratch(fixture->store), other = store_scratch(fixture->store);
	assert_true(fd >= 0 && other >= 0);
	assert_int_equal(pwrite(fd, "abc", 4, 8192), 4);
	assert_int_equal(pread(fd, read, 4, 8192), 4);
	assert_string_equal(read, "abc");
	assert_int_equal(pread(other, read, 4, 8192), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(access(fixture_path(fixture, "scratch"), F_OK), -1);
	close(fd);
	close(other);
}

static void test_close_null(void **state)
{
	(void)state;
	store_close(NULL);
	store_body_close(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_modes_open_umask),
		TEST(test_modes_usual_umask),
		TEST(test_existing_directory_kept),
		TEST(test_relative_directory),
		TEST(test_directory_is_a_file),
		TEST(test_directory_empty),
		TEST(test_directory_too_long),
		TEST(test_symlinks_not_followed),
		TEST(test_directory_of_ones_own),
		TEST(test_second_names),
		TEST(test_second_open_in_process),
		TEST(test_other_process_has_it),
		TEST(test_fifo_beside),
		TEST(test_lock_without_pid),
		TEST(test_newer_schema),
		TEST(test_database_deleted),
		TEST(test_log_moves_on),
		TEST(test_log_is_cut),
		TEST(test_scratch),
		cmocka_unit_test(test_close_null),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
