/* SPDX-License-Identifier: MIT */
/* The limit of a cache: what is counted, who goes, who stays, and what is refused. */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIB   UINT64_C(1024)
#define MIB   (UINT64_C(1) << 20)
#define BLOCK UINT64_C(4096)

static struct store_usage usage(struct fixture *fixture)
{
	struct store_usage found;
	store_usage(fixture->store, &found);
	return found;
}

static struct store_usage settled(struct fixture *fixture)
{
	for (int i = 0; i < 5000; i++) {
		struct store_usage found = usage(fixture);
		if (found.settled)
			return found;
		usleep(1000);
	}
	fail_msg("the bodies are not counted");
	abort();
}

/* A whole body of one section; what the write returned. */
static int keep_section(struct fixture *fixture, uint32_t uid, const char *section, uint64_t size)
{
	struct store_body *body = fixture_body(fixture, 5, uid, section);
	int rc = write_bytes(body, uid, size, 0);
	if (rc == 0)
		assert_int_equal(store_body_set_size(body, size), 0);
	store_body_close(body);
	return rc;
}

static int keep(struct fixture *fixture, uint32_t uid, uint64_t size)
{
	return keep_section(fixture, uid, "", size);
}

static bool holds(struct fixture *fixture, uint32_t uid)
{
	struct store_body *body = fixture_body(fixture, 5, uid, "");
	bool held = store_body_held(body, 0) > 0;
	store_body_close(body);
	return held;
}

static void read_it(struct fixture *fixture, uint32_t uid, uint64_t size)
{
	struct store_body *body = fixture_body(fixture, 5, uid, "");
	check_bytes(body, uid, size, 0);
	store_body_close(body);
}

static bool file_exists(struct fixture *fixture, uint32_t uid)
{
	char name[64];
	snprintf(name, sizeof(name), "bodies/00000005/%u", (unsigned)uid);
	return access(fixture_path(fixture, name), F_OK) == 0;
}

/* The limit at which bodies have just so much. */
static void limit_bodies(struct fixture *fixture, uint64_t bytes)
{
	uint64_t database = settled(fixture).database_bytes;
	assert_int_equal(store_set_limit(fixture->store, database + bytes), 0);
}

/* What the files of a folder take, as the disk says it. */
static uint64_t disk_bytes(struct fixture *fixture)
{
	uint64_t bytes = 0;
	DIR *dir = opendir(fixture_path(fixture, "bodies/00000005"));
	if (!dir)
		return 0;
	for (struct dirent *entry; (entry = readdir(dir));) {
		struct stat st;
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
			bytes += (uint64_t)st.st_blocks * 512;
	}
	closedir(dir);
	return bytes;
}

/* ---- what is counted ---- */

static void test_counted(void **state)
{
	struct fixture *fixture = *state;
	struct store_usage found = settled(fixture);
	assert_int_equal(found.bodies, 0);
	assert_int_equal(found.body_bytes, 0);
	assert_true(found.limit_bytes == UINT64_MAX);
	assert_true(found.database_bytes > 0);
	assert_false(found.full);
	assert_int_equal(keep(fixture, 1, 1), 0);
	assert_int_equal(keep(fixture, 2, 4096), 0);
	assert_int_equal(keep_section(fixture, 2, "1", 4097), 0);
	assert_int_equal(keep(fixture, 3, 0), 0);
	found = usage(fixture);
	assert_int_equal(found.bodies, 4);
	assert_int_equal(found.body_bytes, 4 * BLOCK);
	assert_int_equal(found.pinned_bytes, 0);
	fixture_reopen(fixture);
	found = settled(fixture);
	assert_int_equal(found.bodies, 4);
	assert_int_equal(found.body_bytes, 4 * BLOCK);
}

/* What is written counts before it is recorded; what is dropped, cut or removed does not. */
static void test_counted_while_open(void **state)
{
	struct fixture *fixture = *state;
	settled(fixture);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(write_bytes(body, 1, 10, 100 * KIB), 0);
	assert_int_equal(usage(fixture).body_bytes, BLOCK);
	assert_int_equal(usage(fixture).bodies, 0);
	/* In the same block, and over what is there. */
	assert_int_equal(write_bytes(body, 1, 20, 100 * KIB + 100), 0);
	assert_int_equal(write_bytes(body, 1, 10, 100 * KIB), 0);
	assert_int_equal(usage(fixture).body_bytes, BLOCK);
	/* From one block into the next. */
	assert_int_equal(write_bytes(body, 1, 2, 104 * KIB - 1), 0);
	assert_int_equal(usage(fixture).body_bytes, 2 * BLOCK);
	assert_int_equal(write_bytes(body, 1, 200 * KIB, 0), 0);
	assert_int_equal(usage(fixture).body_bytes, 200 * KIB);
	assert_int_equal(store_body_set_size(body, 10), 0);
	assert_int_equal(usage(fixture).body_bytes, BLOCK);
	assert_int_equal(usage(fixture).bodies, 1);
	assert_int_equal(store_body_drop(body), 0);
	assert_int_equal(usage(fixture).body_bytes, 0);
	assert_int_equal(usage(fixture).bodies, 0);
	assert_int_equal(write_bytes(body, 1, 10 * KIB, 0), 0);
	store_body_close(body);
	assert_int_equal(usage(fixture).body_bytes, 12 * KIB);
	assert_int_equal(usage(fixture).bodies, 1);
	assert_int_equal(store_rows_remove(fixture->store, 5, (uint32_t[]){1, 2}, 2), 0);
	assert_int_equal(usage(fixture).body_bytes, 0);
	assert_int_equal(usage(fixture).bodies, 0);
}

static void test_removed_while_open(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(keep(fixture, 1, 100 * KIB), 0);
	assert_int_equal(keep(fixture, 2, 100 * KIB), 0);
	settled(fixture);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_folder_remove(fixture->store, 5), 0);
	/* Its bytes are on the disk until it is closed. */
	assert_int_equal(usage(fixture).bodies, 0);
	assert_int_equal(usage(fixture).body_bytes, 100 * KIB);
	check_bytes(body, 1, 100 * KIB, 0);
	assert_int_equal(write_bytes(body, 1, 100 * KIB, 100 * KIB), 0);
	store_body_close(body);
	assert_int_equal(usage(fixture).body_bytes, 0);
}

/* Rows of schema 2, which said neither what they take nor whether they are whole, and have no checksums. */
static void make_old(struct fixture *fixture)
{
	fixture_close(fixture);
	fixture_sql(fixture, "UPDATE body SET bytes = 0, whole = 0, used = 0, sums = NULL");
	fixture_reopen(fixture);
}

/* Many rows, without files: bodies of 5,000 bytes, every third, and of 100. */
static void fill(struct fixture *fixture, unsigned count)
{
	char sql[512];
	snprintf(sql, sizeof(sql),
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %u)"
		" INSERT INTO body(id, section, size, ranges)"
		" SELECT (5 << 32) | i, '', iif(i %% 3, 100, 5000), iif(i %% 3, x'0064', x'008827') FROM n",
		count);
	fixture_close(fixture);
	fixture_sql(fixture, sql);
	fixture_reopen(fixture);
}

static void test_old_rows(void **state)
{
	struct fixture *fixture = *state;
	fill(fixture, 3000);
	assert_int_equal(keep(fixture, 4000, 5000), 0);
	make_old(fixture);
	for (int pass = 0; pass < 2; pass++) {
		struct store_usage found = settled(fixture);
		assert_int_equal(found.bodies, 3001);
		assert_int_equal(found.body_bytes, (1000 * 2 + 2000 + 2) * BLOCK);
		fixture_reopen(fixture);
	}
	read_it(fixture, 4000, 5000);
	struct source_row row = {.uid = 4000};
	assert_int_equal(store_rows_put(fixture->store, 5, &row, 1), 0);
	struct store_folder_usage folder;
	assert_int_equal(store_folder_usage(fixture->store, "INBOX", 5, &folder), 0);
	assert_int_equal(folder.cached, 1);
	assert_int_equal(folder.cached_bytes, 2 * BLOCK);
}

/* Some are open, and change, and go, while the others are counted. */
static void test_counting_meanwhile(void **state)
{
	struct fixture *fixture = *state;
	fill(fixture, 3000);
	for (uint32_t uid = 1; uid <= 3000; uid += uid == 2 ? 2997 : 1)
		assert_int_equal(store_rows_remove(fixture->store, 5, &uid, 1), 0);
	for (int pass = 0; pass < 16; pass++) {
		assert_int_equal(keep(fixture, 1, 100), 0);
		assert_int_equal(keep(fixture, 2, 5000), 0);
		assert_int_equal(keep(fixture, 2999, 100), 0);
		if (pass % 2)
			make_old(fixture);
		else
			fixture_reopen(fixture);
		usleep(pass * 100);
		struct store_body *body = fixture_body(fixture, 5, 2999, "");
		check_bytes(body, 2999, 100, 0);
		assert_int_equal(store_rows_remove(fixture->store, 5, (uint32_t[]){1, 3000}, 2), 0);
		assert_int_equal(keep(fixture, 1, 5000), 0);
		assert_int_equal(keep(fixture, 3000, 100), 0);
		struct store_body *grown = fixture_body(fixture, 5, 2, "");
		assert_int_equal(store_body_drop(grown), 0);
		assert_int_equal(write_bytes(grown, 2, 9000, 0), 0);
		store_body_close(grown);
		if (pass & 4)
			settled(fixture);
		store_body_close(body);
		struct store_usage found = settled(fixture);
		assert_int_equal(found.bodies, 3000);
		/* Of 3 to 2998 there are 999 with 5,000 bytes. */
		assert_int_equal(found.body_bytes, (2996 + 998 + 2 + 3 + 1 + 1 + 1) * BLOCK);
	}
}

/* ---- who goes ---- */

/* So large that the growth of the database is nothing beside it: the limits below leave half of one. */
#define LARGE      (400 * KIB)
#define ROOM_OF(n) ((n)*LARGE + LARGE / 2)

static void test_oldest_goes(void **state)
{
	struct fixture *fixture = *state;
	limit_bodies(fixture, ROOM_OF(5));
	for (uint32_t uid = 1; uid <= 5; uid++)
		assert_int_equal(keep(fixture, uid, LARGE), 0);
	read_it(fixture, 1, LARGE);
	read_it(fixture, 3, LARGE);
	assert_int_equal(usage(fixture).bodies, 5);
	assert_int_equal(keep(fixture, 9, LARGE), 0);
	assert_true(holds(fixture, 1));
	assert_false(holds(fixture, 2));
	assert_false(file_exists(fixture, 2));
	assert_true(holds(fixture, 3));
	assert_true(holds(fixture, 4));
	assert_true(holds(fixture, 9));
	struct store_usage found = usage(fixture);
	assert_true(found.body_bytes + found.database_bytes <= found.limit_bytes);
}

/* What was merely opened is not used; the order outlives the process that made it. */
static void test_order_is_kept(void **state)
{
	struct fixture *fixture = *state;
	for (uint32_t uid = 1; uid <= 6; uid++)
		assert_int_equal(keep(fixture, uid, LARGE), 0);
	read_it(fixture, 2, LARGE);
	read_it(fixture, 1, LARGE);
	store_body_close(fixture_body(fixture, 5, 3, ""));
	fixture_reopen(fixture);
	limit_bodies(fixture, ROOM_OF(2));
	for (uint32_t uid = 1; uid <= 6; uid++)
		assert_int_equal(holds(fixture, uid), uid <= 2);
	assert_int_equal(usage(fixture).bodies, 2);
	assert_int_equal(disk_bytes(fixture), 2 * LARGE);
}

/* The first use is noted too where many were read: more than are kept in memory. */
static void test_many_reads(void **state)
{
	struct fixture *fixture = *state;
	for (uint32_t uid = 1; uid <= 1100; uid++)
		assert_int_equal(keep(fixture, uid, 10), 0);
	for (uint32_t uid = 1040; uid >= 1; uid--)
		read_it(fixture, uid, 10);
	limit_bodies(fixture, 1000 * BLOCK);
	/* Noting it has made the database larger. */
	uint64_t bodies = usage(fixture).bodies;
	assert_true(bodies > 700 && bodies <= 1000);
	for (uint32_t uid = 1; uid <= 1100; uid += 5)
		assert_int_equal(holds(fixture, uid), uid <= bodies);
}

static void test_open_stays(void **state)
{
	struct fixture *fixture = *state;
	for (uint32_t uid = 1; uid <= 4; uid++)
		assert_int_equal(keep(fixture, uid, LARGE), 0);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	limit_bodies(fixture, ROOM_OF(1));
	check_bytes(body, 1, LARGE, 0);
	assert_int_equal(usage(fixture).bodies, 1);
	/* There is nobody left who could go for it. */
	assert_int_equal(keep(fixture, 9, LARGE), -EDQUOT);
	store_body_close(body);
	/* It is the newest one now, and goes all the same. */
	assert_int_equal(keep(fixture, 9, LARGE), 0);
	assert_false(holds(fixture, 1));
	assert_true(holds(fixture, 9));
}

/* One that was passed while it was open, and closed without a use, is found again. */
static void test_open_passed(void **state)
{
	struct fixture *fixture = *state;
	for (uint32_t uid = 1; uid <= 4; uid++)
		assert_int_equal(keep(fixture, uid, LARGE), 0);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	limit_bodies(fixture, ROOM_OF(3));
	assert_false(holds(fixture, 2));
	assert_true(holds(fixture, 3));
	store_body_close(body);
	limit_bodies(fixture, ROOM_OF(2));
	assert_false(holds(fixture, 3));
	limit_bodies(fixture, ROOM_OF(1));
	assert_false(holds(fixture, 4));
	assert_true(holds(fixture, 1));
	limit_bodies(fixture, LARGE / 2);
	assert_int_equal(usage(fixture).bodies, 0);
}

static void test_pinned_stays(void **state)
{
	struct fixture *fixture = *state;
	for (uint32_t uid = 1; uid <= 5; uid++)
		assert_int_equal(keep(fixture, uid, LARGE), 0);
	assert_int_equal(store_pin_message(fixture->store, 5, 1, true), 0);
	assert_int_equal(store_pin_message(fixture->store, 5, 3, true), 0);
	assert_int_equal(usage(fixture).pinned_bytes, 2 * LARGE);
	limit_bodies(fixture, 0);
	assert_int_equal(usage(fixture).bodies, 2);
	read_it(fixture, 1, LARGE);
	read_it(fixture, 3, LARGE);
	assert_int_equal(keep(fixture, 7, 1), -EDQUOT);
	/* A pin that is taken back counts at once. */
	assert_int_equal(store_pin_message(fixture->store, 5, 1, false), 0);
	limit_bodies(fixture, ROOM_OF(2));
	assert_int_equal(keep(fixture, 7, LARGE), 0);
	assert_false(holds(fixture, 1));
	assert_true(holds(fixture, 3));
}

/* ---- what is refused ---- */

static void test_larger_than_limit(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(keep(fixture, 1, 40 * KIB), 0);
	limit_bodies(fixture, 200 * KIB);
	/* Nothing goes for what could not be kept anyway. */
	assert_int_equal(keep(fixture, 2, 2 * MIB), -EDQUOT);
	assert_true(holds(fixture, 1));
	struct store_body *body = fixture_body(fixture, 5, 3, "");
	int rc = 0;
	uint64_t at = 0;
	for (; rc == 0; at += 32 * KIB)
		rc = write_bytes(body, 3, 32 * KIB, at);
	assert_int_equal(rc, -EDQUOT);
	at -= 32 * KIB;
	assert_true(at >= 96 * KIB && at <= 200 * KIB);
	/* What was written before is there, and can be dropped. */
	assert_int_equal(store_body_held(body, 0), at);
	check_bytes(body, 3, at, 0);
	assert_int_equal(store_body_drop(body), 0);
	assert_int_equal(write_bytes(body, 3, 32 * KIB, 0), 0);
	store_body_close(body);
}

static void test_limit_below_database(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(keep(fixture, 1, 10), 0);
	settled(fixture);
	assert_int_equal(store_set_limit(fixture->store, 10), 0);
	assert_int_equal(usage(fixture).bodies, 0);
	assert_int_equal(keep(fixture, 1, 10), -EDQUOT);
	assert_false(file_exists(fixture, 1));
	assert_int_equal(store_set_limit(fixture->store, UINT64_MAX), 0);
	assert_int_equal(keep(fixture, 1, 10), 0);
}

/* The limit is kept at every moment: by the disk's own account, not by ours alone. */
static void test_random(void **state)
{
	struct fixture *fixture = *state;
	uint64_t seed = 7;
	for (int step = 0; step < 400; step++) {
		limit_bodies(fixture, 600 * KIB);
		uint32_t uid = 1 + random_next(&seed) % 40;
		struct store_body *body = fixture_body(fixture, 5, uid, "");
		uint64_t at = random_next(&seed) % (200 * KIB);
		int rc = write_bytes(body, uid, random_next(&seed) % (30 * KIB), at);
		assert_true(rc == 0 || rc == -EDQUOT);
		if (random_next(&seed) % 4 == 0)
			assert_int_equal(
				store_body_set_size(body, random_next(&seed) % (200 * KIB)), 0);
		store_body_close(body);
		struct store_usage found = usage(fixture);
		assert_true(found.body_bytes <= 600 * KIB);
		if (step % 20 == 0)
			assert_int_equal(disk_bytes(fixture), found.body_bytes);
		if (step % 100 == 50) {
			fixture_reopen(fixture);
			assert_int_equal(settled(fixture).body_bytes, found.body_bytes);
			assert_int_equal(settled(fixture).bodies, found.bodies);
		}
	}
	for (uint32_t uid = 1; uid <= 40; uid++) {
		struct store_body *body = fixture_body(fixture, 5, uid, "");
		for (uint64_t at = 0; at < 256 * KIB;) {
			uint64_t run = store_body_held(body, at);
			if (run)
				check_bytes(body, uid, run, at);
			at += run ? run : 1;
		}
		store_body_close(body);
	}
}

/* ---- clearing ---- */

static void test_clear(void **state)
{
	struct fixture *fixture = *state;
	for (uint32_t uid = 1; uid <= 720; uid++) {
		assert_int_equal(keep(fixture, uid, 100), 0);
		assert_int_equal(store_structure_put(fixture->store, 5, uid, "s", 1), 0);
	}
	assert_int_equal(keep_section(fixture, 700, "1.2", 100), 0);
	assert_int_equal(store_pin_message(fixture->store, 5, 700, true), 0);
	assert_int_equal(store_pin_message(fixture->store, 5, 720, true), 0);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	struct store_body *new = fixture_body(fixture, 5, 5000, "");
	assert_int_equal(write_bytes(new, 5000, 100, 0), 0);
	settled(fixture);
	uint64_t bytes = 0;
	assert_int_equal(store_cache_clear(fixture->store, &bytes), 0);
	assert_int_equal(bytes, 718 * BLOCK);
	assert_int_equal(usage(fixture).bodies, 3);
	/* Open ones go on. */
	check_bytes(body, 1, 100, 0);
	check_bytes(new, 5000, 100, 0);
	store_body_close(body);
	store_body_close(new);
	assert_int_equal(disk_bytes(fixture), 4 * BLOCK);
	assert_int_equal(usage(fixture).body_bytes, 4 * BLOCK);
	for (uint32_t uid = 1; uid <= 720; uid += uid < 690 || uid > 710 ? 10 : 1) {
		_cleanup_str_ struct str structure = STR_INIT;
		bool pinned = uid == 700 || uid == 720;
		assert_int_equal(holds(fixture, uid), pinned);
		assert_int_equal(store_structure_get(fixture->store, 5, uid, &structure),
			pinned ? 0 : -ENOENT);
	}
	read_it(fixture, 700, 100);
}

/* ---- files that nothing is recorded of ---- */

static void make_file(struct fixture *fixture, const char *name)
{
	int fd = open(fixture_path(fixture, name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
}

static bool exists(struct fixture *fixture, const char *name)
{
	return access(fixture_path(fixture, name), F_OK) == 0;
}

static void test_orphans(void **state)
{
	struct fixture *fixture = *state;
	static const char *const orphans[] = {"bodies/00000005/77", "bodies/00000005/77-1.2",
		"bodies/00000005/4294967295-HEADER", "bodies/00000006/1", "bodies/nameless-3"};
	static const char *const strangers[] = {
		"bodies/00000005/77.old", "bodies/00000005/077", "bodies/README", "bodies/xyz/1"};
	assert_int_equal(keep(fixture, 1, 100), 0);
	assert_int_equal(keep_section(fixture, 1, "2", 100), 0);
	fixture_close(fixture);
	mkdir(fixture_path(fixture, "bodies/00000006"), 0700);
	mkdir(fixture_path(fixture, "bodies/xyz"), 0700);
	for (size_t i = 0; i < sizeof(orphans) / sizeof(*orphans); i++)
		make_file(fixture, orphans[i]);
	for (size_t i = 0; i < sizeof(strangers) / sizeof(*strangers); i++)
		make_file(fixture, strangers[i]);
	/* After an orderly end nobody looks for them. */
	fixture_reopen(fixture);
	settled(fixture);
	usleep(20000);
	assert_true(exists(fixture, orphans[0]));
	fixture_close(fixture);
	/* The owner before was killed: its pid is still there. */
	make_file(fixture, "lock");
	assert_int_equal(truncate(fixture_path(fixture, "bodies/00000005/1"), 50000), 0);
	fixture_reopen(fixture);
	/* One that is being written now is nobody's leftover. */
	struct store_body *body = fixture_body(fixture, 5, 78, "");
	assert_int_equal(write_bytes(body, 78, 100, 0), 0);
	for (size_t i = 0; i < sizeof(orphans) / sizeof(*orphans); i++)
		for (int wait = 0; exists(fixture, orphans[i]); wait++) {
			assert_true(wait < 5000);
			usleep(1000);
		}
	for (size_t i = 0; i < sizeof(strangers) / sizeof(*strangers); i++)
		assert_true(exists(fixture, strangers[i]));
	assert_false(exists(fixture, "bodies/00000006"));
	struct stat st;
	assert_int_equal(stat(fixture_path(fixture, "bodies/00000005/1"), &st), 0);
	assert_int_equal(st.st_size, 100);
	store_body_close(body);
	read_it(fixture, 78, 100);
	read_it(fixture, 1, 100);
	assert_true(exists(fixture, "bodies/00000005/1-2"));
}

/* A body of which nothing came to be recorded leaves no file. */
static void test_nothing_left(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(write_bytes(body, 1, 100, 0), 0);
	assert_true(file_exists(fixture, 1));
	assert_int_equal(store_rows_remove(fixture->store, 5, (uint32_t[]){1}, 1), 0);
	assert_false(file_exists(fixture, 1));
	store_body_close(body);
	assert_int_equal(keep(fixture, 2, 100), 0);
	assert_int_equal(truncate(fixture_path(fixture, "bodies/00000005/2"), 0), 0);
	fixture_sql(fixture, "UPDATE body SET size = NULL");
	store_body_close(fixture_body(fixture, 5, 2, ""));
	assert_false(file_exists(fixture, 2));
	assert_int_equal(settled(fixture).bodies, 0);
	assert_int_equal(settled(fixture).body_bytes, 0);
}

/* A spool has no limit, and nothing in it goes. */
static void test_spool(void **state)
{
	struct fixture *fixture = *state;
	fixture->kind = STORE_SPOOL;
	fixture_reopen(fixture);
	uint64_t bytes;
	assert_int_equal(store_set_limit(fixture->store, 0), -EINVAL);
	assert_int_equal(store_cache_clear(fixture->store, &bytes), -EINVAL);
	assert_int_equal(keep_section(fixture, 1, "1", 100000), 0);
	struct store_usage found = usage(fixture);
	assert_true(found.settled);
	assert_int_equal(found.body_bytes, 0);
	assert_true(found.limit_bytes == UINT64_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_counted),
		TEST(test_counted_while_open),
		TEST(test_removed_while_open),
		TEST(test_old_rows),
		TEST(test_counting_meanwhile),
		TEST(test_oldest_goes),
		TEST(test_order_is_kept),
		TEST(test_many_reads),
		TEST(test_open_stays),
		TEST(test_open_passed),
		TEST(test_pinned_stays),
		TEST(test_larger_than_limit),
		TEST(test_limit_below_database),
		TEST(test_random),
		TEST(test_clear),
		TEST(test_orphans),
		TEST(test_nothing_left),
		cmocka_unit_test_setup_teardown(test_spool, fixture_create, fixture_destroy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
