/* SPDX-License-Identifier: MIT */
/* An inbox of 100,000 messages, and the speed of filling one. The bounds are wide: they are for mistakes of another order. */
#include "spool_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mailfs/util/clock.h"

#define MANY   100000
#define LINKS  10000
#define GROUPS 8
#define GROUP  250

static int64_t took_ms(const char *what, int64_t since_ms)
{
	int64_t ms = clock_now_ms() - since_ms;
	fprintf(stderr, "# %s: %lld ms\n", what, (long long)ms);
	return ms;
}

/* An empty file, also known as "last". */
static void make_file(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	unlinkat(dir_fd, "last", 0);
	assert_int_equal(linkat(dir_fd, name, dir_fd, "last", 0), 0);
}

/*
 * Their records and their files, which are empty, and many names of a few: ext4 is slow at making files for minutes after
 * so many were removed, which others would feel.
 */
static void make_many(struct fixture *fixture)
{
	fixture_sql(fixture,
		"BEGIN;"
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
		" INSERT INTO spool(id, uidl, size, position, listed, sha256, top, checksum, stored_s, deleted_s, lost)"
		" SELECT (5 << 32) + i * 42000, CAST('uidl' || printf('%066d', i) AS BLOB), 0, 0, 4096, randomblob(32),"
		"  randomblob(32), -3750763034362895579, 1700000000, 0, 0 FROM n;"
		"INSERT INTO message(id, size, seen, flags) SELECT id, 0, 0, '' FROM spool;"
		"COMMIT");
	assert_int_equal(mkdir(fixture_path(fixture, "bodies/00000005"), 0700), 0);
	int dir_fd = open(fixture_path(fixture, "bodies/00000005"), O_RDONLY | O_CLOEXEC);
	for (uint32_t i = 1; i <= MANY; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%u", (unsigned)(i * 42000));
		if (i % LINKS == 1)
			make_file(dir_fd, name);
		else
			assert_int_equal(linkat(dir_fd, "last", dir_fd, name, 0), 0);
	}
	assert_int_equal(unlinkat(dir_fd, "last", 0), 0);
	close(dir_fd);
}

static void test_many(void **state)
{
	struct fixture *fixture = *state;
	make_many(fixture);
	fixture_close(fixture);
	int64_t since = clock_now_ms();
	fixture_reopen(fixture);
	assert_true(took_ms("open", since) < 2000);
	since = clock_now_ms();
	assert_int_equal(spool_count(fixture->store), MANY);
	assert_true(took_ms("load 100,000 records", since) < 5000);
	since = clock_now_ms();
	assert_int_equal(store_spool_clean(fixture->store, FOLDER), 0);
	assert_true(took_ms("clean 100,000 files", since) < 5000);
	assert_int_equal(spool_files(fixture), MANY);
	assert_int_equal(store_spool_verify(fixture->store, FOLDER, 42000 * 777), 0);
	since = clock_now_ms();
	assert_int_equal(spool_put_group(fixture->store, 1, 256), 0);
	assert_true(took_ms("a group of 256 more", since) < 5000);
}

/* The same number of small ones, of which every thousandth pack is gone. */
static void test_many_packs(void **state)
{
	struct fixture *fixture = *state;
	fixture_sql(fixture,
		"BEGIN;"
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
		" INSERT INTO spool(id, uidl, size, pack, position, sha256, checksum, stored_s, deleted_s, lost)"
		" SELECT (5 << 32) + i * 42000, CAST(i AS BLOB), 4096, 1 + i % 1000, i / 1000 * 5000, randomblob(32),"
		"  5, 1700000000, 0, 0 FROM n;"
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)"
		" INSERT INTO spool_pack SELECT 5, i, 505000 FROM n;"
		"COMMIT");
	assert_int_equal(mkdir(fixture_path(fixture, "bodies/00000005"), 0700), 0);
	for (unsigned i = 2; i <= 1000; i++) {
		char name[64];
		snprintf(name, sizeof(name), "bodies/00000005/pack-%u", i);
		int fd = open(fixture_path(fixture, name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		assert_true(fd >= 0);
		assert_int_equal(ftruncate(fd, 505000), 0);
		close(fd);
	}
	fixture_log_begin(fixture);
	int64_t since = clock_now_ms();
	int rc = store_spool_clean(fixture->store, FOLDER);
	int64_t ms = clock_now_ms() - since;
	const char *text = fixture_log_end(fixture);
	fprintf(stderr, "# clean 100,000 messages in 1,000 packs: %lld ms\n", (long long)ms);
	assert_int_equal(rc, 0);
	assert_true(ms < 5000);
	assert_non_null(strstr(text, ": 100, the first of them message 42000000,"));
}

struct reading {
	struct store *store;
	atomic_bool done;
	atomic_uint reads;
	atomic_uint wrong;
	int64_t longest_ms;
};

static void *read_on(void *arg)
{
	struct reading *reading = arg;
	while (!atomic_load(&reading->done)) {
		int64_t since = clock_now_ms();
		if (spool_read(reading->store, 1, 1, spool_length(1)) < 0)
			atomic_fetch_add(&reading->wrong, 1);
		int64_t ms = clock_now_ms() - since;
		if (ms > reading->longest_ms)
			reading->longest_ms = ms;
		atomic_fetch_add(&reading->reads, 1);
		usleep(500);
	}
	return NULL;
}

static void write_group(struct store *store, uint32_t first, struct store_spool_item *items)
{
	for (uint32_t i = 0; i < GROUP; i++)
		assert_int_equal(spool_write(store, first + i, first + i, 4096, &items[i]), 0);
}

/* 2,000 messages of 4 KiB in groups, while somebody reads. */
static void test_speed(void **state)
{
	struct fixture *fixture = *state;
	static struct store_spool_item items[GROUP];
	int64_t writing_ms = 0, committing_ms = 0;
	assert_int_equal(spool_put(fixture->store, 1, 1, spool_length(1)), 0);
	struct reading reading = {.store = fixture->store};
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, read_on, &reading), 0);
	for (uint32_t group = 0; group < GROUPS; group++) {
		int64_t since = clock_now_ms();
		write_group(fixture->store, 1000 + group * GROUP, items);
		writing_ms += clock_now_ms() - since;
		since = clock_now_ms();
		assert_int_equal(store_spool_commit(fixture->store, FOLDER, items, GROUP), 0);
		committing_ms += clock_now_ms() - since;
	}
	atomic_store(&reading.done, true);
	pthread_join(thread, NULL);
	fprintf(stderr,
		"# 2,000 messages of 4 KiB: written in %lld ms, committed in %lld ms; "
		"meanwhile %u reads, the longest %lld ms\n",
		(long long)writing_ms, (long long)committing_ms, atomic_load(&reading.reads),
		(long long)reading.longest_ms);
	assert_int_equal(atomic_load(&reading.wrong), 0);
	assert_true(atomic_load(&reading.reads) > 0);
	assert_true(committing_ms < 20000);
	assert_int_equal(spool_count(fixture->store), GROUPS * GROUP + 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, spool_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_many),
		TEST(test_many_packs),
		TEST(test_speed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
