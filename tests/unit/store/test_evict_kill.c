/* SPDX-License-Identifier: MIT */
/*
 * A process that is killed while it evicts: what is held afterwards is there and right, what is pinned is there, nothing that
 * nobody knows of takes room, and the account is true.
 */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER   5
#define BODIES   60
#define PINNED   4
#define BODY_MAX (300 << 10)
#define ROUNDS   16

static void wait_settled(struct store *store, struct store_usage *ret)
{
	do
		store_usage(store, ret);
	while (!ret->settled);
}

static void limit(struct store *store)
{
	struct store_usage usage;
	wait_settled(store, &usage);
	if (store_set_limit(store, usage.database_bytes + (2 << 20)) < 0)
		_exit(2);
}

/* Pinned ones lie in the first place, and are written by the first process alone. */
static void keep(struct store *store, uint32_t uid, uint64_t size, bool whole)
{
	unsigned char *buf = malloc(BODY_MAX);
	struct store_body *body;
	if (!buf || store_body_open(store, FOLDER, uid, "", &body) < 0)
		_exit(3);
	fill_bytes(buf, size, uid, 0);
	int rc = store_body_write(body, buf, size, 0);
	if (rc < 0 && rc != -EDQUOT)
		_exit(4);
	if (rc == 0 && whole && store_body_set_size(body, size) < 0)
		_exit(5);
	store_body_close(body);
	free(buf);
}

static void read_some(struct store *store, uint32_t uid)
{
	char buf[5000];
	struct store_body *body;
	if (store_body_open(store, FOLDER, uid, "", &body) < 0)
		_exit(6);
	if (store_body_read(body, buf, sizeof(buf), 0) > 0 && buf[0] != (char)byte_at(uid, 0))
		_exit(7);
	store_body_close(body);
}

static void work_for_ever(struct store *store, uint64_t seed, int ready)
{
	limit(store);
	for (uint64_t i = 1;; i++) {
		uint64_t bytes;
		uint32_t uid = PINNED + 1 + random_next(&seed) % BODIES;
		keep(store, uid, 1 + random_next(&seed) % BODY_MAX, random_next(&seed) % 2);
		read_some(store, 1 + random_next(&seed) % BODIES);
		if (i % 8 == 0)
			limit(store);
		if (i % 40 == 39 && store_cache_clear(store, &bytes) < 0)
			_exit(8);
		if (i == 12 && write(ready, "x", 1) != 1)
			_exit(9);
	}
}

static void kill_in_the_middle(struct fixture *fixture, int round)
{
	int ready[2];
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		work_for_ever(fixture_open_in_child(fixture), (uint64_t)round, ready[1]);
	fixture_kill(pid, ready, 3100 * (unsigned)round);
}

static uint64_t disk_bytes(struct fixture *fixture)
{
	uint64_t bytes = 0;
	DIR *dir = opendir(fixture_path(fixture, "bodies/00000005"));
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));) {
		struct stat st;
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
			bytes += (uint64_t)st.st_blocks * 512;
	}
	closedir(dir);
	return bytes;
}

static uint64_t check_body(struct fixture *fixture, uint32_t uid)
{
	struct store_body *body = fixture_body(fixture, FOLDER, uid, "");
	uint64_t held = store_body_held(body, 0);
	if (held)
		check_bytes(body, uid, held, 0);
	store_body_close(body);
	return held;
}

static void test_kill(void **state)
{
	struct fixture *fixture = *state;
	uint64_t held = 0;
	struct store_usage usage;
	fixture_reopen(fixture);
	for (uint32_t uid = 1; uid <= PINNED; uid++) {
		keep(fixture->store, uid, BODY_MAX, true);
		assert_int_equal(store_pin_message(fixture->store, FOLDER, uid, true), 0);
	}
	fixture_close(fixture);
	/* Nothing was torn: the kernel has all that was written. */
	fixture_log_begin(fixture);
	for (int round = 0; round < ROUNDS; round++) {
		kill_in_the_middle(fixture, round);
		fixture_reopen(fixture);
		for (uint32_t uid = 1; uid <= PINNED + BODIES; uid++) {
			uint64_t found = check_body(fixture, uid);
			if (uid <= PINNED)
				assert_int_equal(found, BODY_MAX);
			held += found;
		}
		wait_settled(fixture->store, &usage);
		/* What the killed one was writing is looked for in the background. */
		for (int wait = 0; disk_bytes(fixture) > usage.body_bytes; wait++) {
			if (wait == 3000)
				fail_msg("%llu on the disk, %llu known",
					(unsigned long long)disk_bytes(fixture),
					(unsigned long long)usage.body_bytes);
			usleep(1000);
		}
		assert_true(disk_bytes(fixture) <= usage.body_bytes);
		fixture_close(fixture);
	}
	assert_string_equal(fixture_log_end(fixture), "");
	assert_true(held > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_kill),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
