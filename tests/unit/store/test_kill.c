/* SPDX-License-Identifier: MIT */
/* A process that is killed while it writes: what the store says it holds afterwards is there and right. */
#include "fixture.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define BODIES    8
#define BODY_MAX  (3 << 20)
#define PIECE_MAX (512 << 10)
#define ROUNDS    20

/* Rows carry the UID in each of their members, so that a half-written one would show. */
static void put_rows(struct store *store, uint32_t first)
{
	struct source_row rows[50];
	for (uint32_t i = 0; i < 50; i++)
		rows[i] = (struct source_row){.uid = first + i,
			.have = SOURCE_ROW_SIZE | SOURCE_ROW_DATE,
			.size_bytes = first + i,
			.date_s = first + i};
	if (store_rows_put(store, 6, rows, 50) < 0)
		_exit(2);
}

static void write_one(struct store *store, unsigned char *buf, uint64_t *seed)
{
	uint32_t uid = 1 + random_next(seed) % BODIES;
	struct store_body *body;
	if (store_body_open(store, 5, uid, "", &body) < 0)
		_exit(3);
	for (int i = 0; i < 6; i++) {
		uint64_t offset = random_next(seed) % BODY_MAX;
		size_t len = 1 + random_next(seed) % PIECE_MAX;
		fill_bytes(buf, len, uid, offset);
		if (store_body_write(body, buf, len, offset) < 0)
			_exit(4);
	}
	switch (random_next(seed) % 4) {
	case 0:
		store_body_drop(body);
		break;
	case 1:
		store_body_set_size(body, random_next(seed) % BODY_MAX);
		break;
	}
	store_body_close(body);
}

/* Says on ready when it has written for the first time, so that the kill falls into the work and not before it. */
static void write_for_ever(struct store *store, uint64_t seed, int ready)
{
	unsigned char *buf = malloc(PIECE_MAX);
	if (!buf)
		_exit(5);
	for (uint32_t uid = 1;; uid += 50) {
		put_rows(store, uid);
		write_one(store, buf, &seed);
		if (uid == 1 && write(ready, "x", 1) != 1)
			_exit(6);
	}
}

static void kill_in_the_middle(struct fixture *fixture, int round)
{
	int ready[2];
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		write_for_ever(fixture_open_in_child(fixture), (uint64_t)round, ready[1]);
	fixture_kill(pid, ready, 7000 * (unsigned)round);
}

/* Looks at what is held, by steps where nothing is; the number of bytes. */
static uint64_t check_body(struct fixture *fixture, uint32_t uid)
{
	uint64_t total = 0;
	struct store_body *body = fixture_body(fixture, 5, uid, "");
	for (uint64_t at = 0; at < 2 * BODY_MAX;) {
		uint64_t run = store_body_held(body, at);
		if (run)
			check_bytes(body, uid, run, at);
		total += run;
		at += run ? run : 97;
	}
	store_body_close(body);
	return total;
}

struct rows {
	uint32_t count, last;
};

static int check_row(void *arg, const struct source_row *row)
{
	struct rows *rows = arg;
	assert_int_equal(row->size_bytes, row->uid);
	assert_int_equal(row->date_s, row->uid);
	rows->count++;
	rows->last = row->uid;
	return 0;
}

static void test_kill(void **state)
{
	struct fixture *fixture = *state;
	uint64_t held = 0;
	for (int round = 0; round < ROUNDS; round++) {
		kill_in_the_middle(fixture, round);
		fixture_reopen(fixture);
		for (uint32_t uid = 1; uid <= BODIES; uid++)
			held += check_body(fixture, uid);
		/* A batch of rows is there as a whole. */
		struct rows rows = {0};
		assert_int_equal(store_rows_load(fixture->store, 6, 1, check_row, &rows), 0);
		assert_int_equal(rows.count % 50, 0);
		assert_int_equal(rows.count, rows.last);
		store_close(fixture->store);
		fixture->store = NULL;
	}
	assert_true(held > 0);
}

/* What was whole when the process was killed is there, though nothing was closed. */
static void test_kill_after_whole(void **state)
{
	struct fixture *fixture = *state;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct store *store = fixture_open_in_child(fixture);
		struct store_body *whole, *large;
		if (store_body_open(store, 5, 1, "", &whole) < 0 ||
			store_body_open(store, 5, 2, "", &large) < 0)
			_exit(1);
		write_bytes(whole, 1, 1000, 0);
		store_body_set_size(whole, 1000);
		for (uint64_t at = 0; at < 20 << 20; at += 1 << 20)
			write_bytes(large, 2, 1 << 20, at);
		kill(getpid(), SIGKILL);
	}
	fixture_expect_killed(pid);
	fixture_reopen(fixture);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	check_bytes(body, 1, 1000, 0);
	store_body_close(body);
	/* Of one that was not whole, at most the last 8 MiB are forgotten. */
	body = fixture_body(fixture, 5, 2, "");
	assert_true(store_body_held(body, 0) >= 12 << 20);
	check_bytes(body, 2, 12 << 20, 0);
	store_body_close(body);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_kill),
		TEST(test_kill_after_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
