/* SPDX-License-Identifier: MIT */
/*
 * No room: for the bytes of a message, or for its record. Nothing of such a group counts, and with room again the store goes on.
 * On a small tmpfs of a child's own, and, which needs no rights, with a limit of file sizes; as test_space.c.
 */
#include "spool_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "private.h"

#define SKIPPED 77

/* A child has no cmocka around it: a check that fails ends it with the line's number in a message. */
#define check(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "# line %d: %s\n", __LINE__, #condition);                  \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static int run_in_child(struct fixture *fixture, void (*run)(struct fixture *))
{
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		run(fixture);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return written;
}

/*
 * A namespace of the child's own; who is not root becomes it in there. What is unmounted outside is not held by it (MS_SLAVE), as mounts of
 * other tests would be.
 */
static bool enter_namespace(void)
{
	uid_t uid = geteuid();
	char uid_map[32], gid_map[32];
	snprintf(uid_map, sizeof(uid_map), "0 %u 1", (unsigned)uid);
	snprintf(gid_map, sizeof(gid_map), "0 %u 1", (unsigned)getegid());
	if (unshare(CLONE_NEWNS | (uid ? CLONE_NEWUSER : 0)) < 0)
		return false;
	return uid == 0 || (write_file("/proc/self/setgroups", "deny") &&
				   write_file("/proc/self/uid_map", uid_map) &&
				   write_file("/proc/self/gid_map", gid_map));
}

static void mount_small(struct fixture *fixture)
{
	if (!enter_namespace() || mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
		mount("none", fixture->root, "tmpfs", 0, "size=2m") < 0) {
		fprintf(stderr, "# no mount namespace: %s\n", strerror(errno));
		_exit(SKIPPED);
	}
}

static void open_store(struct fixture *fixture)
{
	_cleanup_str_ struct str why = STR_INIT;
	int rc = store_open(fixture->directory, STORE_SPOOL, &fixture->store, &why);
	if (rc < 0)
		fprintf(stderr, "# %d %s\n", rc, str_cstr(&why));
	check(rc == 0);
}

static void reopen_store(struct fixture *fixture)
{
	store_close(fixture->store);
	open_store(fixture);
}

/* What a failed group has left nothing of: the files of UIDs 1 to count, and a pack as long as was recorded. */
static void check_files(struct fixture *fixture, uint32_t count)
{
	size_t own = 0;
	for (uint32_t uid = 1; uid <= count; uid++)
		own += spool_length(uid) >= OWN_FILE;
	check(spool_files(fixture) == own);
	check(spool_packs(fixture) == 1);
	check(spool_pack_size(fixture, 1) == spool_pack_length(fixture, 1));
}

/* UIDs 1 to count are whole, and nothing else is recorded or there. */
static void check_spool(struct fixture *fixture, uint32_t count)
{
	for (int pass = 0; pass < 2; pass++) {
		check(spool_count(fixture->store) == count);
		for (uint32_t uid = 1; uid <= count; uid++) {
			check(store_spool_verify(fixture->store, FOLDER, uid) == 0);
			check(spool_read(fixture->store, uid, uid, spool_length(uid)) == 0);
		}
		check_files(fixture, count);
		reopen_store(fixture);
	}
}

/* Groups of ten until one fails; the number of messages before that. */
static uint32_t put_until_full(struct fixture *fixture)
{
	uint32_t uid = 1;
	int rc;
	while ((rc = spool_put_group(fixture->store, uid, 10)) == 0) {
		uid += 10;
		check(uid < 100000);
	}
	check(rc == -ENOSPC);
	return uid - 1;
}

static void disk_full(struct fixture *fixture)
{
	mount_small(fixture);
	open_store(fixture);
	uint32_t count = put_until_full(fixture);
	check(count >= 20);
	check_spool(fixture, count);
	check(spool_put_group(fixture->store, count + 1, 256) == -ENOSPC);
	check(spool_count(fixture->store) == count);
	check_files(fixture, count);
	check(mount("none", fixture->root, "tmpfs", MS_REMOUNT, "size=8m") == 0);
	check(spool_put_group(fixture->store, count + 1, 50) == 0);
	check_spool(fixture, count + 50);
	store_close(fixture->store);
}

/* The failed replacement of a lost message leaves it lost. */
static void replace_on_full_disk(struct fixture *fixture)
{
	mount_small(fixture);
	open_store(fixture);
	uint32_t count = put_until_full(fixture);
	char path[256];
	snprintf(path, sizeof(path), "%s", fixture_path(fixture, FILE_OF(11)));
	check(truncate(path, 1) == 0);
	check(store_spool_verify(fixture->store, FOLDER, 11) == -EBADMSG);
	check(spool_put(fixture->store, 11, 11, 4000000) == -ENOSPC);
	check(spool_record(fixture->store, 11).record.lost);
	check(spool_count(fixture->store) == count);
	check_files(fixture, count);
	check(mount("none", fixture->root, "tmpfs", MS_REMOUNT, "size=8m") == 0);
	check(spool_put(fixture->store, 11, 11, spool_length(11)) == 0);
	check(unlink(fixture_path(fixture, FILE_OF(11) ".old1")) == 0);
	check_spool(fixture, count);
	store_close(fixture->store);
}

static void fill_disk(struct fixture *fixture)
{
	static const char junk[4096];
	int fd = open(fixture_path(fixture, "junk"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	check(fd >= 0);
	while (write(fd, junk, sizeof(junk)) > 0 || write(fd, junk, 1) > 0)
		;
	check(errno == ENOSPC);
	close(fd);
}

/* Even reading needs a little room: what is said tells what to do. */
static void open_on_full_disk(struct fixture *fixture)
{
	_cleanup_str_ struct str why = STR_INIT;
	mount_small(fixture);
	open_store(fixture);
	check(spool_put_group(fixture->store, 1, 20) == 0);
	store_close(fixture->store);
	fill_disk(fixture);
	check(store_open(fixture->directory, STORE_SPOOL, &fixture->store, &why) == -ENOSPC);
	fprintf(stderr, "# %s\n", str_cstr(&why));
	check(strstr(str_cstr(&why), "No space left on device: free some space"));
	check(!strstr(str_cstr(&why), "I/O"));
	check(unlink(fixture_path(fixture, "junk")) == 0);
	open_store(fixture);
	check_spool(fixture, 20);
	store_close(fixture->store);
}

static uint32_t number(struct fixture *fixture, const char *mailbox)
{
	uint32_t number = 0;
	check(store_number(fixture->store, "a", STORE_NUMBER_FOLDER, mailbox, 1, &number) == 0);
	check(number > 0);
	return number;
}

/* A number is the same whether it can be recorded or not. */
static void number_on_full_disk(struct fixture *fixture)
{
	char long_name[3000];
	memset(long_name, 'n', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = 0;
	mount_small(fixture);
	open_store(fixture);
	uint32_t known = number(fixture, "known");
	fill_disk(fixture);
	uint32_t one = 0, again = 0;
	/* The log may have room for a few pages yet. */
	for (int i = 0; i < 2000; i++) {
		long_name[0] = (char)('A' + i % 26);
		long_name[1] = (char)('A' + i / 26);
		uint32_t was = one;
		one = number(fixture, long_name);
		check(one != was);
	}
	again = number(fixture, long_name);
	check(one == again);
	check(number(fixture, "known") == known);
	check(unlink(fixture_path(fixture, "junk")) == 0);
	check(number(fixture, long_name) == one);
	reopen_store(fixture);
	check(number(fixture, long_name) == one);
	store_close(fixture->store);
}

/* The same where it has become read-only. */
static void number_on_read_only_disk(struct fixture *fixture)
{
	mount_small(fixture);
	open_store(fixture);
	uint32_t known = number(fixture, "known");
	fixture_sql(fixture, "PRAGMA wal_checkpoint");
	check(sqlite3_exec(fixture->store->db.handle, "PRAGMA query_only=1", NULL, NULL, NULL) ==
		SQLITE_OK);
	uint32_t one = number(fixture, "one");
	check(one != known);
	check(number(fixture, "one") == one);
	check(number(fixture, "known") == known);
	check(sqlite3_exec(fixture->store->db.handle, "PRAGMA query_only=0", NULL, NULL, NULL) ==
		SQLITE_OK);
	check(number(fixture, "one") == one);
	store_close(fixture->store);
}

static void limit_files(rlim_t bytes)
{
	signal(SIGXFSZ, SIG_IGN);
	struct rlimit limit;
	check(getrlimit(RLIMIT_FSIZE, &limit) == 0);
	limit.rlim_cur = bytes;
	check(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/* A message that is too large for a file, at any piece of it. */
static void file_limit(struct fixture *fixture)
{
	open_store(fixture);
	check(spool_put_group(fixture->store, 1, 5) == 0);
	limit_files(1 << 20);
	for (size_t over = 1; over < 100000; over = over * 7 + 1) {
		struct store_spool_item items[2];
		check(spool_write(fixture->store, 8, 8, 10, &items[0]) == 0);
		int rc = spool_write(fixture->store, 9, 9, (1 << 20) + over, &items[1]);
		check(rc == 0 || rc == -ENOSPC);
		/* What has failed once does not succeed later. */
		if (rc < 0)
			check(store_spool_append(items[1].file, "x", 1) == -ENOSPC);
		check(store_spool_commit(fixture->store, FOLDER, items, 2) == -ENOSPC);
		spool_discard_all(items, 2);
	}
	limit_files(RLIM_INFINITY);
	check_spool(fixture, 5);
	store_close(fixture->store);
}

/* A pack that can not grow any further. */
static void pack_limit(struct fixture *fixture)
{
	open_store(fixture);
	check(spool_put_group(fixture->store, 1, 5) == 0);
	for (rlim_t room = 0; room < 60000; room = room * 3 + 1) {
		limit_files((rlim_t)spool_pack_length(fixture, 1) + room);
		/* Two of them have files of their own. */
		check(spool_put_group(fixture->store, 6, 40) == -ENOSPC);
		limit_files(RLIM_INFINITY);
		check_spool(fixture, 5);
	}
	check(spool_put_group(fixture->store, 6, 40) == 0);
	check_spool(fixture, 45);
	store_close(fixture->store);
}

/* The files are on the disk, and the database takes no more. */
static void database_full(struct fixture *fixture)
{
	char header[2000];
	memset(header, 'h', sizeof(header));
	open_store(fixture);
	check(spool_put_group(fixture->store, 1, 5) == 0);
	limit_files(1 << 20);
	int rc = 0;
	for (uint32_t uid = 1; rc == 0; uid++) {
		struct source_row row = {.uid = uid,
			.have = SOURCE_ROW_HEADER,
			.header = header,
			.header_len = sizeof(header)};
		rc = store_rows_put(fixture->store, 6, &row, 1);
		check(uid < 10000);
	}
	uint32_t uid = 1;
	check(spool_put_group(fixture->store, 6, 40) == -ENOSPC);
	check(spool_count(fixture->store) == 5);
	check_files(fixture, 5);
	for (uint64_t size = 1; store_size_put(fixture->store, 6, 1, size) == 0; size++)
		check(size < 10000);
	check(store_spool_deleted(fixture->store, FOLDER, &uid, 1, 5) == -ENOSPC);
	check(spool_record(fixture->store, 1).record.deleted_s == 0);
	limit_files(RLIM_INFINITY);
	check(spool_put_group(fixture->store, 6, 40) == 0);
	check(store_spool_deleted(fixture->store, FOLDER, &uid, 1, 5) == 0);
	check_spool(fixture, 45);
	store_close(fixture->store);
}

static void check_in_child(struct fixture *fixture, void (*run)(struct fixture *))
{
	assert_int_equal(run_in_child(fixture, run), 0);
}

static void test_disk_full(void **state)
{
	check_in_child(*state, disk_full);
}

static void test_replace_on_full_disk(void **state)
{
	check_in_child(*state, replace_on_full_disk);
}

static void test_open_on_full_disk(void **state)
{
	check_in_child(*state, open_on_full_disk);
}

static void test_number_on_full_disk(void **state)
{
	check_in_child(*state, number_on_full_disk);
}

static void test_number_on_read_only_disk(void **state)
{
	check_in_child(*state, number_on_read_only_disk);
}

static void test_file_limit(void **state)
{
	check_in_child(*state, file_limit);
}

static void test_pack_limit(void **state)
{
	check_in_child(*state, pack_limit);
}

static void test_database_full(void **state)
{
	check_in_child(*state, database_full);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create, fixture_destroy)

/* Whether a small disk can be had here. */
static bool have_namespace(void)
{
	void *state = NULL;
	if (fixture_create(&state) != 0)
		return false;
	int code = run_in_child(state, mount_small);
	fixture_destroy(&state);
	return code == 0;
}

static int test_small_disk(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_disk_full),
		TEST(test_replace_on_full_disk),
		TEST(test_open_on_full_disk),
		TEST(test_number_on_full_disk),
		TEST(test_number_on_read_only_disk),
	};
	if (have_namespace())
		return cmocka_run_group_tests(tests, NULL, NULL);
	puts("1..0 # SKIP no mount namespace for a small disk of its own");
	return 0;
}

static int test_small_files(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_file_limit),
		TEST(test_pack_limit),
		TEST(test_database_full),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	return argc > 1 && strcmp(argv[1], "disk") == 0 ? test_small_disk() : test_small_files();
}
