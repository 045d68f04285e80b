/* SPDX-License-Identifier: MIT */
/* A maildrop over time: in the background, by poll, stopped in the middle, killed in the middle. */
#include "drop_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/hash.h"

/* --- Waiting --- */

struct reader {
	struct sync_waiter waiter; /* first */
	pthread_mutex_t lock;
	pthread_cond_t woken;
	bool wakes;
	ssize_t result;
};

static void on_wake(struct sync_waiter *waiter, ssize_t result)
{
	struct reader *reader = (struct reader *)waiter;
	pthread_mutex_lock(&reader->lock);
	reader->wakes = true;
	reader->result = result;
	pthread_cond_signal(&reader->woken);
	pthread_mutex_unlock(&reader->lock);
}

static int expect(struct fixture *f, struct reader *reader, uint32_t uid)
{
	*reader =
		(struct reader){.waiter = {.wake = on_wake, .deadline_ms = clock_now_ms() + 20000},
			.lock = PTHREAD_MUTEX_INITIALIZER,
			.woken = PTHREAD_COND_INITIALIZER};
	return sync_folder_expected(sync_account_folder(f->account, 0), uid, &reader->waiter);
}

static ssize_t reader_wait(struct reader *reader)
{
	pthread_mutex_lock(&reader->lock);
	while (!reader->wakes)
		pthread_cond_wait(&reader->woken, &reader->lock);
	pthread_mutex_unlock(&reader->lock);
	return reader->result;
}

static uint32_t uid_of(const struct letter *letter)
{
	return (uint32_t)hash64_finish(hash64(HASH64_INIT, letter->uidl, strlen(letter->uidl)));
}

/* Until so many are in the spool, and announced. */
static void wait_for(struct fixture *f, unsigned count)
{
	for (int i = 0; i < 1000; i++) {
		pthread_mutex_lock(&f->lock);
		unsigned announced = f->announced;
		pthread_mutex_unlock(&f->lock);
		if (announced >= count && spool_count(f) >= count)
			return;
		usleep(10000);
	}
	fail_msg("%u messages did not come", count);
}

/* Until so many connections were tried. */
static void wait_connects(struct fixture *f, unsigned count)
{
	for (int i = 0; i < 10000 && server_counts(&f->server).connects < count; i++)
		usleep(1000);
	assert_true(server_counts(&f->server).connects >= count);
}

/* --- In the background --- */

static void test_background(void **state)
{
	struct fixture *f = *state;
	struct reader reader, other;
	letters_add(f, 1, 20);
	f->params.background = true;
	f->server.hold = true;
	assert_int_equal(fixture_start(f), 0);
	assert_int_equal(spool_count(f), 0);
	/* One of the last: it is the next to be fetched after those that are under way. */
	assert_int_equal(expect(f, &reader, uid_of(&f->server.letters[18])), -EINPROGRESS);
	assert_int_equal(expect(f, &other, 12345), 0);
	SERVER_SET(&f->server, hold, false);
	assert_int_equal(reader_wait(&reader), 0);
	pthread_mutex_lock(&f->server.lock);
	bool next = f->server.order[1] == 19 || f->server.order[0] == 19;
	pthread_mutex_unlock(&f->server.lock);
	assert_true(next);
	wait_for(f, 20);
	spool_check(f, false);
	assert_int_equal(expect(f, &reader, uid_of(&f->server.letters[18])), 0);
}

/* Who waits for a message over which every connection breaks does not keep the others away. */
static void test_urgent_stuck(void **state)
{
	struct fixture *f = *state;
	struct reader reader;
	letters_add(f, 1, 20);
	f->params.background = true;
	f->server.hold = true;
	f->server.letters[18].breaks = true;
	assert_int_equal(fixture_start(f), 0);
	assert_int_equal(expect(f, &reader, uid_of(&f->server.letters[18])), -EINPROGRESS);
	SERVER_SET(&f->server, hold, false);
	assert_true(reader_wait(&reader) < 0);
	assert_int_equal(spool_count(f), 19);
}

/* The download breaks after the list: the mount is there, and who waits hears of it. */
static void test_background_fails(void **state)
{
	struct fixture *f = *state;
	struct reader reader;
	letters_add(f, 1, 20);
	f->params.background = true;
	f->server.hold = true;
	f->server.sessions_left = 1;
	f->server.away_retry = SOURCE_RETRY_NEVER;
	f->server.cut_each = 30;
	f->server.letters[19].refused = true;
	assert_int_equal(fixture_start(f), 0);
	assert_int_equal(expect(f, &reader, uid_of(&f->server.letters[18])), -EINPROGRESS);
	SERVER_SET(&f->server, letters[18].breaks, true);
	SERVER_SET(&f->server, hold, false);
	assert_int_equal(reader_wait(&reader), -EIO);
	while (!warned(f, "can not connect"))
		usleep(1000);
	assert_true(warned(f, "messages are missing"));
	assert_int_equal(warnings(f), 1);
}

/* It fails before the list, with nothing to show. */
static void test_background_away(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 2);
	f->params.background = true;
	f->server.away = true;
	assert_true(fixture_start(f) < 0);
	assert_int_equal(f->error.cause, SOURCE_CAUSE_CONNECT);
	fixture_end(f);
	f->server.away = false;
	assert_int_equal(fixture_start(f), 0);
	wait_for(f, 2);
	fixture_end(f);
	f->server.away = true;
	assert_int_equal(fixture_start(f), 0);
	while (!warned(f, "as of"))
		usleep(1000);
}

/* --- Poll --- */

static void test_poll(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 3);
	f->params.poll_s = 1;
	assert_int_equal(fixture_start(f), 0);
	SERVER_SET(&f->server, sessions_left, 0);
	/* Said once, though it failed more than once. */
	wait_connects(f, 4);
	assert_int_equal(warnings(f), 1);
	pthread_mutex_lock(&f->server.lock);
	letters_add(f, 10, 2);
	f->server.sessions_left = -1;
	pthread_mutex_unlock(&f->server.lock);
	wait_for(f, 5);
	spool_check(f, false);
	SERVER_SET(&f->server, sessions_left, 0);
	/* It worked in between. */
	wait_connects(f, server_counts(&f->server).connects + 3);
	assert_int_equal(warnings(f), 2);
	int64_t begin = clock_now_ms();
	sync_account_stop(f->account);
	assert_true(clock_now_ms() - begin < 1000);
}

/* More broken messages than one look has attempts: the next one begins with the others. */
static void test_poll_stuck(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 1);
	assert_int_equal(fixture_look(f), 0);
	letters_add(f, 10, 8);
	for (size_t i = 1; i < 7; i++)
		f->server.letters[i].breaks = true;
	f->params.poll_s = 1;
	assert_int_equal(fixture_start(f), 0);
	assert_int_equal(spool_count(f), 1);
	wait_for(f, 3);
	assert_int_equal(warnings(f), 1);
}

static void test_login_delay(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 3);
	f->params.poll_s = 1;
	f->server.abilities.login_delay_s = 100;
	assert_int_equal(fixture_start(f), 0);
	/* Five times as long as poll wants it to be; and a tenth of the server's delay. */
	usleep(500 * 1000);
	assert_int_equal(server_counts(&f->server).connects, 1);
}

/* --- The end in the middle --- */

static void *stop_main(void *arg)
{
	struct fixture *f = arg;
	usleep(200 * 1000);
	sync_account_stop(f->account);
	return NULL;
}

/* The first look, in the foreground, is stopped from another thread. */
static void test_stop(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;
	struct sync_account *account;
	letters_add(f, 1, 300);
	f->server.delay_us = 3000;
	(void)spool_count(f);
	f->params.store = f->store;
	assert_int_equal(sync_account_create_drop(&f->params, &account), 0);
	f->account = account;
	assert_int_equal(pthread_create(&thread, NULL, stop_main, f), 0);
	int64_t begin = clock_now_ms();
	assert_true(sync_account_start(account, &f->error) < 0);
	assert_true(clock_now_ms() - begin < 1200);
	assert_int_equal(f->error.scope, SOURCE_SCOPE_CANCELLED);
	pthread_join(thread, NULL);
	assert_int_equal(warnings(f), 0);
}

static void test_stop_background(void **state)
{
	struct fixture *f = *state;
	struct reader reader;
	letters_add(f, 1, 300);
	f->server.hold = true;
	f->params.background = true;
	assert_int_equal(fixture_start(f), 0);
	assert_int_equal(expect(f, &reader, uid_of(&f->server.letters[18])), -EINPROGRESS);
	int64_t begin = clock_now_ms();
	sync_account_stop(f->account);
	assert_true(clock_now_ms() - begin < 1000);
	assert_int_equal(reader_wait(&reader), -EIO);
	assert_int_equal(warnings(f), 0);
	fixture_end(f);
	f->server.hold = false;
	f->params.background = false;
	assert_int_equal(fixture_look(f), 0);
	spool_check(f, false);
}

/* --- Killed --- */

enum { ROUNDS = 30 };

static void look_and_wait(struct fixture *f, int ready)
{
	f->server.delay_us = 300;
	if (write(ready, "x", 1) != 1)
		_exit(2);
	(void)fixture_start(f);
	for (;;)
		pause();
}

static void kill_in_the_middle(struct fixture *f, int round)
{
	int ready[2];
	char c;
	assert_int_equal(pipe(ready), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		look_and_wait(f, ready[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	usleep((useconds_t)(round * 37 % ROUNDS) * 10000);
	kill(pid, SIGKILL);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

/* Whatever the moment: the next look completes, and nothing is lost, nor here twice. */
static void test_kill(void **state)
{
	struct fixture *f = *state;
	unsigned deleted = 0, before = 0;
	for (int round = 0; round < ROUNDS; round++) {
		letters_add(f, 1 + (unsigned)round * 20, 12);
		f->params.after = round % 3 ? SYNC_AFTER_DELETE : SYNC_AFTER_KEEP;
		before = (unsigned)letters_gone(f);
		kill_in_the_middle(f, round);
		deleted += letters_gone(f) > before;
		f->params.after = SYNC_AFTER_KEEP;
		assert_int_equal(fixture_look(f), 0);
		spool_check(f, true);
		assert_int_equal(spool_state(f).missing, 0);
		fixture_end(f);
	}
	printf("# of %d, %u were killed after the server had deleted\n", ROUNDS, deleted);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_background),
		TEST(test_urgent_stuck),
		TEST(test_background_fails),
		TEST(test_background_away),
		TEST(test_poll),
		TEST(test_poll_stuck),
		TEST(test_login_delay),
		TEST(test_stop),
		TEST(test_stop_background),
		TEST(test_kill),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
