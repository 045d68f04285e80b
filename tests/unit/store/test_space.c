/* SPDX-License-Identifier: MIT */
/*
 * A full disk. On a small tmpfs in a mount namespace of a child's own, which does the checks; its exit code says how
 * it went. Where that is not allowed the test is skipped; the file size limit, tested as well, needs no rights.
 */
#include "fixture.h"
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* The database goes on in memory when the disk is full, up to a limit that is small here. */
static void open_store(struct fixture *fixture)
{
	spill_limit_bytes = 256 << 10;
	_cleanup_str_ struct str why = STR_INIT;
	int rc = store_open(fixture->directory, STORE_CACHE, &fixture->store, &why);
	if (rc < 0)
		fprintf(stderr, "# %d %s\n", rc, str_cstr(&why));
	check(rc == 0);
}

/* Writes 64 KiB pieces until it fails; the number that succeeded. */
static uint64_t fill_up(struct store_body *body, int *ret_rc)
{
	unsigned char buf[65536];
	uint64_t count = 0;
	for (;; count++) {
		fill_bytes(buf, sizeof(buf), 1, count * sizeof(buf));
		*ret_rc = store_body_write(body, buf, sizeof(buf), count * sizeof(buf));
		if (*ret_rc < 0)
			return count;
		check(count < 1000);
	}
}

static void check_held(struct store_body *body, uint64_t len)
{
	check(store_body_held(body, 0) == len);
	check(store_body_held(body, len) == 0);
	for (uint64_t at = 0; at < len; at++) {
		unsigned char c;
		check(store_body_read(body, &c, 1, at) == 1);
		check(c == byte_at(1, at));
	}
}

static void put_until_full(struct store *store)
{
	char header[2000];
	memset(header, 'h', sizeof(header));
	int rc = 0;
	for (uint32_t uid = 1; rc == 0; uid++) {
		struct source_row row = {.uid = uid,
			.have = SOURCE_ROW_HEADER,
			.header = header,
			.header_len = sizeof(header)};
		rc = store_rows_put(store, 6, &row, 1);
		check(uid < 10000);
	}
	check(rc == -ENOSPC);
}

/* The room that was too small for a row goes page by page. */
static void put_sizes_until_full(struct store *store)
{
	int rc = 0;
	for (uint64_t size = 1; rc == 0; size++) {
		rc = store_size_put(store, 6, 1, size);
		check(size < 10000);
	}
	check(rc == -ENOSPC);
}

static void disk_full(struct fixture *fixture)
{
	mount_small(fixture);
	open_store(fixture);
	struct store_body *body;
	check(store_body_open(fixture->store, 5, 1, "", &body) == 0);
	int rc;
	uint64_t pieces = fill_up(body, &rc);
	check(rc == -ENOSPC);
	check(pieces > 4);
	check_held(body, pieces * 65536);
	put_until_full(fixture->store);
	/* The store goes on: what takes no room works, and with room again everything does. */
	uint64_t messages, unseen;
	check(store_folder_count(fixture->store, 6, &messages, &unseen) == 0);
	check(db_spilling(&fixture->store->db));
	check(store_body_drop(body) == 0);
	store_body_close(body);
	store_look_for_room(fixture->store);
	check(!db_spilling(&fixture->store->db));
	check(store_body_open(fixture->store, 5, 1, "", &body) == 0);
	check(store_body_write(body, "x", 1, 0) == 0);
	struct source_row row = {.uid = 20000};
	check(store_rows_put(fixture->store, 6, &row, 1) == 0);
	store_body_close(body);
	store_close(fixture->store);
	open_store(fixture);
	check(store_body_open(fixture->store, 5, 1, "", &body) == 0);
	check(store_body_held(body, 0) == 1);
	store_body_close(body);
	store_close(fixture->store);
}

/* Where not even the record of a drop can be written, the bytes are not back at the next opening. */
static void drop_on_full_disk(struct fixture *fixture)
{
	mount_small(fixture);
	open_store(fixture);
	struct store_body *body, *other;
	unsigned char buf[1000];
	fill_bytes(buf, sizeof(buf), 1, 0);
	check(store_body_open(fixture->store, 5, 1, "", &body) == 0);
	check(store_body_write(body, buf, sizeof(buf), 0) == 0);
	check(store_body_set_size(body, sizeof(buf)) == 0);
	check(store_body_open(fixture->store, 5, 2, "", &other) == 0);
	int rc;
	fill_up(other, &rc);
	put_until_full(fixture->store);
	check(store_body_drop(body) == 0);
	check(store_body_held(body, 0) == 0);
	store_body_close(body);
	store_body_close(other);
	store_close(fixture->store);
	open_store(fixture);
	check(store_body_open(fixture->store, 5, 1, "", &body) == 0);
	check(store_body_held(body, 0) == 0);
	store_body_close(body);
	store_close(fixture->store);
}

static void open_on_full_disk(struct fixture *fixture)
{
	mount_small(fixture);
	char path[128];
	snprintf(path, sizeof(path), "%s/ballast", fixture->root);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	static const char buf[4096];
	while (write(fd, buf, sizeof(buf)) > 0)
		;
	/* Nothing of it gets onto the disk until there is room. */
	open_store(fixture);
	check(db_spilling(&fixture->store->db));
	struct source_row row = {.uid = 7};
	check(store_rows_put(fixture->store, 6, &row, 1) == 0);
	store_look_for_room(fixture->store);
	check(db_spilling(&fixture->store->db));
	check(unlink(path) == 0);
	close(fd);
	store_look_for_room(fixture->store);
	check(!db_spilling(&fixture->store->db));
	row.uid = 8;
	check(store_rows_put(fixture->store, 6, &row, 1) == 0);
	store_close(fixture->store);
	open_store(fixture);
	uint64_t messages, unseen;
	check(store_folder_count(fixture->store, 6, &messages, &unseen) == 0);
	check(messages == 2);
	store_close(fixture->store);
}

static void put_uid(struct fixture *fixture, uint32_t uid)
{
	struct source_row row = {.uid = uid};
	check(store_rows_put(fixture->store, 6, &row, 1) == 0);
}

static uint64_t messages(struct fixture *fixture)
{
	uint64_t ret, unseen;
	check(store_folder_count(fixture->store, 6, &ret, &unseen) == 0);
	return ret;
}

static void remount(struct fixture *fixture, unsigned long flags)
{
	check(mount("none", fixture->root, "tmpfs", MS_REMOUNT | flags, "size=2m") == 0);
}

/* What there is can be read, what is new is in memory, and on the disk once that can be written. */
static void read_only(struct fixture *fixture)
{
	mount_small(fixture);
	open_store(fixture);
	put_uid(fixture, 1);
	struct store_body *body;
	check(store_body_open(fixture->store, 5, 1, "", &body) == 0);
	check(write_bytes(body, 1, 1000, 0) == 0);
	check(store_body_set_size(body, 1000) == 0);
	store_body_close(body);
	store_close(fixture->store);
	remount(fixture, MS_RDONLY);
	open_store(fixture);
	check(store_body_open(fixture->store, 5, 1, "", &body) == 0);
	check_held(body, 1000);
	store_body_close(body);
	put_uid(fixture, 2);
	store_look_for_room(fixture->store);
	check(db_spilling(&fixture->store->db));
	check(messages(fixture) == 2);
	store_close(fixture->store);
	open_store(fixture);
	check(messages(fixture) == 1);
	put_uid(fixture, 3);
	put_uid(fixture, 4);
	remount(fixture, 0);
	store_look_for_room(fixture->store);
	check(!db_spilling(&fixture->store->db));
	put_uid(fixture, 5);
	check(messages(fixture) == 4);
	store_close(fixture->store);
	open_store(fixture);
	check(messages(fixture) == 4);
	store_close(fixture->store);
}

/* What a killed process has left in the log is seen where nothing can be written, too. */
static void read_only_log(struct fixture *fixture)
{
	mount_small(fixture);
	pid_t pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		open_store(fixture);
		for (uint32_t uid = 1; uid <= 50; uid++)
			put_uid(fixture, uid);
		kill(getpid(), SIGKILL);
	}
	check(waitpid(pid, NULL, 0) == pid);
	remount(fixture, MS_RDONLY);
	open_store(fixture);
	check(messages(fixture) == 50);
	put_uid(fixture, 51);
	remount(fixture, 0);
	store_look_for_room(fixture->store);
	check(!db_spilling(&fixture->store->db));
	store_close(fixture->store);
	open_store(fixture);
	check(messages(fixture) == 51);
	store_close(fixture->store);
}

/* A directory, and no room for a single file in it. */
static void no_inodes(struct fixture *fixture)
{
	mount_small(fixture);
	char path[160];
	snprintf(path, sizeof(path), "%s/store", fixture->root);
	strcpy(fixture->directory, path);
	check(mkdir(path, 0700) == 0);
	check(mount("none", fixture->root, "tmpfs", MS_REMOUNT, "nr_inodes=3") == 0);
	snprintf(path, sizeof(path), "%s/ballast", fixture->root);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	open_store(fixture);
	check(db_spilling(&fixture->store->db));
	put_uid(fixture, 1);
	check(messages(fixture) == 1);
	struct store_body *body;
	check(store_body_open(fixture->store, 5, 1, "", &body) == 0);
	check(store_body_write(body, "x", 1, 0) < 0);
	store_body_close(body);
	/* Who comes later finds it in use all the same. */
	_cleanup_str_ struct str why = STR_INIT;
	struct store *other = NULL;
	check(store_open(fixture->directory, STORE_CACHE, &other, &why) == -EBUSY);
	/* Without its lock file it is not written to any more, whatever room there is. */
	check(unlink(path) == 0);
	check(mount("none", fixture->root, "tmpfs", MS_REMOUNT, "nr_inodes=1000") == 0);
	store_look_for_room(fixture->store);
	check(db_spilling(&fixture->store->db));
	check(messages(fixture) == 1);
	store_close(fixture->store);
	open_store(fixture);
	check(messages(fixture) == 0);
	store_close(fixture->store);
}

/* What can not even be begun is an error. */
static void no_directory(struct fixture *fixture)
{
	mount_small(fixture);
	remount(fixture, MS_RDONLY);
	_cleanup_str_ struct str why = STR_INIT;
	struct store *store = NULL;
	check(store_open(fixture->directory, STORE_CACHE, &store, &why) < 0);
	check(strstr(str_cstr(&why), fixture->directory) &&
		strstr(str_cstr(&why), strerror(EROFS)));
}

/* Bodies make room for what is written, the least recently used ones first, and for the database. */
static void full_of_bodies(struct fixture *fixture)
{
	mount_small(fixture);
	open_store(fixture);
	unsigned char buf[65536];
	for (uint32_t uid = 1; uid <= 60; uid++) {
		struct store_body *body;
		check(store_body_open(fixture->store, 5, uid, "", &body) == 0);
		fill_bytes(buf, sizeof(buf), uid, 0);
		int rc = store_body_write(body, buf, sizeof(buf), 0);
		/* While the database is in memory nothing is kept, until its thread has made room. */
		for (int i = 0; rc == -ENOSPC && i < 1000; i++) {
			store_look_for_room(fixture->store);
			usleep(1000);
			rc = store_body_write(body, buf, sizeof(buf), 0);
		}
		check(rc == 0);
		check(store_body_set_size(body, sizeof(buf)) == 0);
		store_body_close(body);
	}
	struct store_usage usage;
	store_usage(fixture->store, &usage);
	check(usage.bodies < 40);
	for (uint32_t uid = 1; uid <= 60; uid++) {
		struct store_body *body;
		check(store_body_open(fixture->store, 5, uid, "", &body) == 0);
		uint64_t held = store_body_held(body, 0);
		check(held == 0 || held == sizeof(buf));
		check(uid > 1 || held == 0);
		for (uint64_t at = 0; at < held; at++) {
			unsigned char c;
			check(store_body_read(body, &c, 1, at) == 1);
			check(c == byte_at(uid, at));
		}
		store_body_close(body);
	}
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

static void file_limit(struct fixture *fixture)
{
	open_store(fixture);
	limit_files(1 << 20);
	struct store_body *body;
	check(store_body_open(fixture->store, 5, 1, "", &body) == 0);
	int rc;
	uint64_t pieces = fill_up(body, &rc);
	check(rc == -ENOSPC);
	check(pieces == 16);
	check_held(body, 1 << 20);
	put_until_full(fixture->store);
	store_body_close(body);
	store_close(fixture->store);
}

/* A whole body of 1,000 bytes, and then a database that takes no more, while files of bodies do. */
static struct store_body *body_and_full_database(struct fixture *fixture)
{
	struct store_body *body;
	unsigned char buf[1000];
	fill_bytes(buf, sizeof(buf), 1, 0);
	open_store(fixture);
	check(store_body_open(fixture->store, 5, 1, "", &body) == 0);
	check(store_body_write(body, buf, sizeof(buf), 0) == 0);
	check(store_body_set_size(body, sizeof(buf)) == 0);
	limit_files(1 << 20);
	put_until_full(fixture->store);
	put_sizes_until_full(fixture->store);
	return body;
}

/* The record is still that of the first 1,000 bytes: a hole must not be taken for them. */
static void check_hole_not_held(struct fixture *fixture, struct store_body *body)
{
	check(store_body_write(body, "x", 1, 1999) == 0);
	check(store_body_held(body, 1999) == 1);
	store_body_close(body);
	limit_files(RLIM_INFINITY);
	store_close(fixture->store);
	open_store(fixture);
	check(store_body_open(fixture->store, 5, 1, "", &body) == 0);
	for (uint64_t at = 0; at < 2000; at++) {
		unsigned char c;
		ssize_t n = store_body_read(body, &c, 1, at);
		check(n <= 0 || c == byte_at(1, at));
	}
	store_body_close(body);
	store_close(fixture->store);
}

static void drop_not_recorded(struct fixture *fixture)
{
	struct store_body *body = body_and_full_database(fixture);
	check(store_body_drop(body) == 0);
	check(store_body_held(body, 0) == 0);
	check_hole_not_held(fixture, body);
}

static void cut_not_recorded(struct fixture *fixture)
{
	struct store_body *body = body_and_full_database(fixture);
	check(store_body_set_size(body, 500) == 0);
	check_held(body, 500);
	check(store_body_set_size(body, 2000) == 0);
	check_hole_not_held(fixture, body);
}

static void check_in_child(struct fixture *fixture, void (*run)(struct fixture *))
{
	assert_int_equal(run_in_child(fixture, run), 0);
}

static void test_disk_full(void **state)
{
	check_in_child(*state, disk_full);
}

static void test_full_of_bodies(void **state)
{
	check_in_child(*state, full_of_bodies);
}

static void test_drop_on_full_disk(void **state)
{
	check_in_child(*state, drop_on_full_disk);
}

static void test_open_on_full_disk(void **state)
{
	check_in_child(*state, open_on_full_disk);
}

static void test_read_only(void **state)
{
	check_in_child(*state, read_only);
}

static void test_read_only_log(void **state)
{
	check_in_child(*state, read_only_log);
}

static void test_no_inodes(void **state)
{
	check_in_child(*state, no_inodes);
}

static void test_no_directory(void **state)
{
	check_in_child(*state, no_directory);
}

static void test_file_limit(void **state)
{
	check_in_child(*state, file_limit);
}

static void test_drop_not_recorded(void **state)
{
	check_in_child(*state, drop_not_recorded);
}

static void test_cut_not_recorded(void **state)
{
	check_in_child(*state, cut_not_recorded);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create, fixture_destroy)

static void probe(struct fixture *fixture)
{
	mount_small(fixture);
}

/* Whether a small disk can be had here. */
static bool have_namespace(void)
{
	void *state = NULL;
	if (fixture_create(&state) != 0)
		return false;
	int code = run_in_child(state, probe);
	fixture_destroy(&state);
	return code == 0;
}

static int test_small_disk(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_disk_full),
		TEST(test_full_of_bodies),
		TEST(test_drop_on_full_disk),
		TEST(test_open_on_full_disk),
		TEST(test_no_directory),
		TEST(test_no_inodes),
		TEST(test_read_only_log),
		TEST(test_read_only),
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
		TEST(test_drop_not_recorded),
		TEST(test_cut_not_recorded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	return argc > 1 && strcmp(argv[1], "disk") == 0 ? test_small_disk() : test_small_files();
}
