/* SPDX-License-Identifier: MIT */
/*
 * Many threads at one store: readers and writers of the same bodies, somebody who removes them meanwhile, listings. To be
 * run with ThreadSanitizer too. Threads have no cmocka around them: they count what went wrong.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BODY_SIZE (512 << 10)
#define PIECE     (4 << 10)
#define THREADS   8

struct shared {
	struct store *store;
	struct store_body *body;
	bool limited; /* there may be no room for what is written */
	pthread_barrier_t start;
	atomic_int wrong;
	atomic_bool done;
};

struct thread {
	struct shared *shared;
	uint64_t seed;
	pthread_t id;
};

static void expect_at(int line, struct shared *shared, bool condition)
{
	if (condition)
		return;
	atomic_fetch_add(&shared->wrong, 1);
	fprintf(stderr, "# wrong at line %d\n", line);
}
#define expect(...) expect_at(__LINE__, __VA_ARGS__)

static void read_and_check(
	struct shared *shared, struct store_body *body, uint32_t uid, uint64_t offset)
{
	unsigned char buf[PIECE];
	ssize_t n = store_body_read(body, buf, sizeof(buf), offset);
	expect(shared, n >= 0 || n == -ENODATA);
	for (ssize_t i = 0; i < n; i++)
		expect(shared, buf[i] == byte_at(uid, offset + (uint64_t)i));
}

static void *read_write(void *arg)
{
	struct thread *thread = arg;
	struct shared *shared = thread->shared;
	unsigned char buf[PIECE];
	pthread_barrier_wait(&shared->start);
	for (int i = 0; i < 1500; i++) {
		uint64_t offset = random_next(&thread->seed) % BODY_SIZE;
		size_t len = random_next(&thread->seed) % PIECE;
		len = len > BODY_SIZE - offset ? BODY_SIZE - offset : len;
		fill_bytes(buf, len, 1, offset);
		int rc = store_body_write(shared->body, buf, len, offset);
		expect(shared, rc == 0 || (shared->limited && rc == -EDQUOT));
		read_and_check(shared, shared->body, 1, random_next(&thread->seed) % BODY_SIZE);
	}
	return NULL;
}

/* Does to the body what takes bytes away. */
static void *cut_and_drop(void *arg)
{
	struct thread *thread = arg;
	struct shared *shared = thread->shared;
	pthread_barrier_wait(&shared->start);
	for (int i = 0; i < 1000; i++) {
		if (random_next(&thread->seed) % 4 == 0)
			expect(shared, store_body_drop(shared->body) == 0);
		else
			expect(shared,
				store_body_set_size(shared->body,
					BODY_SIZE - random_next(&thread->seed) % PIECE) == 0);
		read_and_check(shared, shared->body, 1, random_next(&thread->seed) % BODY_SIZE);
	}
	return NULL;
}

static void run(struct shared *shared, size_t count, void *(*const *functions)(void *))
{
	struct thread threads[THREADS];
	pthread_barrier_init(&shared->start, NULL, (unsigned)count);
	for (size_t i = 0; i < count; i++) {
		threads[i] = (struct thread){.shared = shared, .seed = i + 1};
		assert_int_equal(
			pthread_create(&threads[i].id, NULL, functions[i], &threads[i]), 0);
	}
	for (size_t i = 0; i < count; i++)
		pthread_join(threads[i].id, NULL);
	pthread_barrier_destroy(&shared->start);
	assert_int_equal(atomic_load(&shared->wrong), 0);
}

static void test_one_body(void **state)
{
	struct fixture *fixture = *state;
	struct shared shared = {.store = fixture->store, .body = fixture_body(fixture, 5, 1, "")};
	run(&shared, 4, (void *(*const[])(void *)){read_write, read_write, read_write, read_write});
	/* Fill what chance has left out, and look at all of it. */
	assert_int_equal(write_bytes(shared.body, 1, BODY_SIZE, 0), 0);
	assert_int_equal(store_body_set_size(shared.body, BODY_SIZE), 0);
	check_bytes(shared.body, 1, BODY_SIZE, 0);
	store_body_close(shared.body);
}

static void test_one_body_cut(void **state)
{
	struct fixture *fixture = *state;
	struct shared shared = {.store = fixture->store, .body = fixture_body(fixture, 5, 1, "")};
	run(&shared, 4,
		(void *(*const[])(void *)){read_write, read_write, cut_and_drop, cut_and_drop});
	for (int pass = 0; pass < 2; pass++) {
		for (uint64_t at = 0; at < BODY_SIZE;) {
			uint64_t run_len = store_body_held(shared.body, at);
			if (run_len)
				check_bytes(shared.body, 1, run_len, at);
			at += run_len ? run_len : 1;
		}
		store_body_close(shared.body);
		shared.body = fixture_body(fixture, 5, 1, "");
	}
	store_body_close(shared.body);
}

/* Whole messages, one handle after the other, each thread its own UIDs. */
static void *many_bodies(void *arg)
{
	struct thread *thread = arg;
	struct shared *shared = thread->shared;
	unsigned char buf[3000];
	pthread_barrier_wait(&shared->start);
	for (uint32_t i = 0; i < 150; i++) {
		uint32_t uid = (uint32_t)thread->seed * 1000 + i % 40;
		struct store_body *body = NULL;
		expect(shared, store_body_open(shared->store, 7, uid, "", &body) == 0);
		fill_bytes(buf, sizeof(buf), uid, 0);
		expect(shared, store_body_write(body, buf, sizeof(buf), 0) == 0);
		expect(shared, store_body_set_size(body, sizeof(buf)) == 0);
		read_and_check(shared, body, uid, 0);
		store_body_close(body);
	}
	return NULL;
}

/* Removes messages under the hands of those who write them. */
static void *remove_bodies(void *arg)
{
	struct thread *thread = arg;
	struct shared *shared = thread->shared;
	pthread_barrier_wait(&shared->start);
	for (int i = 0; i < 60; i++) {
		uint32_t uids[20];
		for (int j = 0; j < 20; j++)
			uids[j] = (1 + random_next(&thread->seed) % 8) * 1000 +
			          random_next(&thread->seed) % 40;
		expect(shared, store_rows_remove(shared->store, 7, uids, 20) == 0);
		if (i % 3 == 0)
			expect(shared, store_folder_remove(shared->store, 7) == 0);
	}
	return NULL;
}

static int check_row(void *arg, const struct source_row *row)
{
	struct shared *shared = arg;
	expect(shared, row->size_bytes == row->uid);
	return 0;
}

static void *list(void *arg)
{
	struct thread *thread = arg;
	struct shared *shared = thread->shared;
	pthread_barrier_wait(&shared->start);
	for (uint32_t i = 0; i < 20; i++) {
		struct source_row rows[100];
		for (uint32_t j = 0; j < 100; j++)
			rows[j] = (struct source_row){.uid = i * 100 + j + 1,
				.have = SOURCE_ROW_SIZE,
				.size_bytes = i * 100 + j + 1};
		uint64_t messages, unseen;
		uint32_t number;
		expect(shared, store_rows_put(shared->store, 8, rows, 100) == 0);
		expect(shared, store_rows_load(shared->store, 8, 1, check_row, shared) == 0);
		expect(shared, store_folder_count(shared->store, 8, &messages, &unseen) == 0);
		expect(shared, messages >= (i + 1) * 100);
		expect(shared, store_number(shared->store, "a", STORE_NUMBER_FOLDER, "b", i,
				       &number) == 0);
	}
	return NULL;
}

static void test_everything(void **state)
{
	struct fixture *fixture = *state;
	struct shared shared = {.store = fixture->store, .body = fixture_body(fixture, 7, 1, "")};
	run(&shared, 8,
		(void *(*const[])(void *)){many_bodies, many_bodies, many_bodies, remove_bodies,
			list, list, read_write, read_write});
	store_body_close(shared.body);
	/* What is recorded now is true. */
	for (uint32_t uid = 1000; uid < 9000; uid++) {
		struct store_body *body = fixture_body(fixture, 7, uid, "");
		if (store_body_held(body, 0))
			check_bytes(body, uid, 3000, 0);
		store_body_close(body);
	}
}

/* ---- a limit that is always reached ---- */

/* Like many_bodies(), of all sizes; what the limit refuses is not kept. */
static void *fill_cache(void *arg)
{
	struct thread *thread = arg;
	struct shared *shared = thread->shared;
	static unsigned char all[THREADS][64 << 10];
	unsigned char *buf = all[thread->seed % THREADS];
	uint32_t base = (uint32_t)thread->seed * 1000;
	pthread_barrier_wait(&shared->start);
	for (int i = 0; i < 250; i++) {
		uint32_t uid = base + random_next(&thread->seed) % 30;
		uint64_t offset = random_next(&thread->seed) % BODY_SIZE;
		size_t len = random_next(&thread->seed) % sizeof(all[0]);
		struct store_body *body = NULL;
		int rc = store_body_open(shared->store, 9, uid, "", &body);
		expect(shared, rc == 0 || rc == -EBUSY);
		if (rc < 0)
			continue;
		fill_bytes(buf, len, uid, offset);
		rc = store_body_write(body, buf, len, offset);
		expect(shared, rc == 0 || rc == -EDQUOT);
		if (rc == 0 && i % 3 == 0)
			expect(shared, store_body_set_size(body, offset + len) == 0);
		read_and_check(shared, body, uid, offset + len / 2);
		store_body_close(body);
	}
	return NULL;
}

static void *change_limit(void *arg)
{
	struct thread *thread = arg;
	struct shared *shared = thread->shared;
	pthread_barrier_wait(&shared->start);
	for (uint64_t i = 0; i < 120; i++) {
		struct store_usage usage;
		store_usage(shared->store, &usage);
		expect(shared, store_set_limit(shared->store,
				       usage.database_bytes + (i % 4) * (BODY_SIZE / 2)) == 0);
	}
	return NULL;
}

static void *pin_and_clear(void *arg)
{
	struct thread *thread = arg;
	struct shared *shared = thread->shared;
	pthread_barrier_wait(&shared->start);
	for (int i = 0; i < 100; i++) {
		uint32_t uid = (1 + random_next(&thread->seed) % 8) * 1000 +
		               random_next(&thread->seed) % 30;
		const struct store_policy policy = {.newer_than_s = i % 5 ? INT64_MAX : i};
		struct store_folder_usage usage;
		uint64_t bytes;
		expect(shared, store_pin_message(shared->store, 9, uid, i % 2) == 0);
		expect(shared, store_pin_mailbox(shared->store, "INBOX", i % 4) == 0);
		expect(shared, store_set_policy(shared->store, &policy) == 0);
		store_is_pinned(shared->store, "INBOX", 9, uid);
		expect(shared, store_folder_usage(shared->store, "INBOX", 9, &usage) == 0);
		if (i % 10 == 0)
			expect(shared, store_cache_clear(shared->store, &bytes) == 0);
		if (i % 10 == 5)
			expect(shared, store_rows_remove(shared->store, 9, &uid, 1) == 0);
	}
	return NULL;
}

static void check_settled(struct fixture *fixture, struct store_usage *ret)
{
	do
		store_usage(fixture->store, ret);
	while (!ret->settled);
}

static void test_eviction(void **state)
{
	struct fixture *fixture = *state;
	struct shared shared = {
		.store = fixture->store, .body = fixture_body(fixture, 9, 1, ""), .limited = true};
	run(&shared, 8,
		(void *(*const[])(void *)){fill_cache, fill_cache, fill_cache, change_limit,
			pin_and_clear, read_write, read_write, cut_and_drop});
	store_body_close(shared.body);
	/* The total is still that of the rows. */
	struct store_usage before, after;
	check_settled(fixture, &before);
	fixture_reopen(fixture);
	check_settled(fixture, &after);
	assert_int_equal(before.bodies, after.bodies);
	assert_int_equal(before.body_bytes, after.body_bytes);
	/* What is recorded is true. */
	for (uint32_t i = 0; i < 8 * 30; i++) {
		uint32_t uid = (i / 30 + 1) * 1000 + i % 30;
		struct store_body *body = fixture_body(fixture, 9, uid, "");
		for (uint64_t at = 0; at < 2 * BODY_SIZE;) {
			uint64_t held = store_body_held(body, at);
			if (held)
				check_bytes(body, uid, held, at);
			at += held ? held : 4096;
		}
		store_body_close(body);
	}
}

/* Comparing the same pieces from several threads, while others are written. */
static void *read_all(void *arg)
{
	struct thread *thread = arg;
	struct shared *shared = thread->shared;
	pthread_barrier_wait(&shared->start);
	for (int i = 0; i < 400; i++)
		read_and_check(shared, shared->body, 1, random_next(&thread->seed) % BODY_SIZE);
	return NULL;
}

static void test_comparing(void **state)
{
	struct fixture *fixture = *state;
	for (int round = 0; round < 6; round++) {
		struct shared shared = {
			.store = fixture->store, .body = fixture_body(fixture, 5, 1, "")};
		assert_int_equal(write_bytes(shared.body, 1, BODY_SIZE, 0), 0);
		store_body_close(shared.body);
		char path[256];
		snprintf(path, sizeof(path), "%s", fixture_path(fixture, "bodies/00000005/1"));
		int fd = open(path, O_WRONLY | O_CLOEXEC);
		assert_int_equal(pwrite(fd, "\0\0", 2, round * 80000), 2);
		close(fd);
		fixture_log_begin(fixture);
		shared.body = fixture_body(fixture, 5, 1, "");
		run(&shared, 4,
			(void *(*const[])(void *)){read_all, read_all, read_all, read_write});
		store_body_close(shared.body);
		fixture_log_end(fixture);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_body),
		TEST(test_one_body_cut),
		TEST(test_everything),
		TEST(test_eviction),
		TEST(test_comparing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
