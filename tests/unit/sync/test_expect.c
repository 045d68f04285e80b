/* SPDX-License-Identifier: MIT */
/* Those who wait for messages that are on their way to a maildrop. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "spool_fixture.h"

static struct sync_folder *start_listed(struct spool_fixture *s)
{
	spool_start(s, NULL);
	assert_int_equal(refresh(spool_folder(s)), 0);
	return spool_folder(s);
}

static void expect(struct spool_fixture *s, uint32_t first, uint32_t last)
{
	uint32_t uids[100];
	size_t count = 0;
	/* In any order, and twice. */
	for (uint32_t uid = last; uid >= first; uid--)
		uids[count++] = uid;
	uids[count++] = first;
	assert_int_equal(drop_expect(&s->drop, uids, count), 0);
}

static int ask(struct spool_fixture *s, uint32_t uid)
{
	struct reader reader;
	reader_init(&reader, 1000);
	int err = sync_folder_expected(spool_folder(s), uid, &reader.waiter);
	assert_true(err != -EINPROGRESS);
	reader_finish(&reader);
	return err;
}

static void begin_wait(struct spool_fixture *s, uint32_t uid, struct reader *reader, int timeout_ms)
{
	reader_init(reader, timeout_ms);
	assert_int_equal(sync_folder_expected(spool_folder(s), uid, &reader->waiter), -EINPROGRESS);
}

static ssize_t end_wait(struct reader *reader)
{
	ssize_t result = reader_wait(reader);
	reader_finish(reader);
	return result;
}

static void test_nothing_expected(void **state)
{
	struct spool_fixture *s = *state;
	start_listed(s);
	assert_int_equal(ask(s, 5), 0);
	expect(s, 5, 7);
	assert_int_equal(ask(s, 4), 0);
	assert_int_equal(ask(s, 8), 0);
	assert_int_equal(drop_expect(&s->drop, NULL, 0), 0);
	assert_int_equal(ask(s, 5), 0);
}

/* What the tree shows at the moment of the call. */
struct spy {
	struct reader reader; /* first */
	struct spool_fixture *s;
	uint32_t uid;
	bool shown, changed;
	void (*wake)(struct sync_waiter *, ssize_t);
};

static void on_watcher(struct sync_waiter *waiter, ssize_t result)
{
	struct spy *watcher = (struct spy *)waiter;
	struct told *told = watcher->s->f->told;
	watcher->shown = told_has(told, watcher->uid, NULL);
	pthread_mutex_lock(&told->lock);
	watcher->changed = told->changes > 0;
	pthread_mutex_unlock(&told->lock);
	watcher->wake(waiter, result);
}

static void test_woken_after_the_announcement(void **state)
{
	struct spool_fixture *s = *state;
	struct spy watcher = {.s = s, .uid = 5};
	struct reader other;
	start_listed(s);
	expect(s, 5, 7);
	reader_init(&watcher.reader, 20000);
	watcher.wake = watcher.reader.waiter.wake;
	watcher.reader.waiter.wake = on_watcher;
	assert_int_equal(
		sync_folder_expected(spool_folder(s), 5, &watcher.reader.waiter), -EINPROGRESS);
	begin_wait(s, 6, &other, 20000);
	spool_bring(s, 5);
	assert_int_equal(end_wait(&watcher.reader), 0);
	assert_true(watcher.shown);
	assert_true(watcher.changed);
	assert_int_equal(ask(s, 5), 0);
	assert_int_equal(reader_wakes(&other), 0);
	spool_bring(s, 6);
	assert_int_equal(end_wait(&other), 0);
}

/* Durable, and nobody was told of it yet: it is waited for. */
static void test_stored_and_not_announced(void **state)
{
	struct spool_fixture *s = *state;
	struct reader reader;
	spool_start(s, NULL);
	expect(s, 5, 5);
	spool_bring(s, 5);
	begin_wait(s, 5, &reader, 20000);
	assert_int_equal(end_wait(&reader), 0);
	assert_true(told_has(s->f->told, 5, NULL));
}

static void test_kept_away(void **state)
{
	struct spool_fixture *s = *state;
	struct reader first, second;
	start_listed(s);
	expect(s, 5, 8);
	begin_wait(s, 5, &first, 20000);
	begin_wait(s, 6, &second, 20000);
	drop_unexpect(&s->drop, 5, -EACCES);
	assert_int_equal(end_wait(&first), -EACCES);
	assert_int_equal(reader_wakes(&second), 0);
	/* A moment later it is not "not there" either. */
	assert_int_equal(ask(s, 5), -EACCES);
	spool_bring(s, 7);
	spool_await(s, 7);
	drop_expect_nothing(&s->drop, -EIO);
	assert_int_equal(end_wait(&second), -EIO);
	assert_int_equal(ask(s, 5), -EACCES);
	assert_int_equal(ask(s, 8), -EIO);
	drop_unexpect(&s->drop, 8, -ENOENT);
	assert_int_equal(ask(s, 8), -EIO);
	/* It comes after all. */
	spool_bring(s, 8);
	spool_await(s, 8);
	expect(s, 9, 9);
	assert_int_equal(ask(s, 5), 0);
}

static void test_the_deadline(void **state)
{
	struct spool_fixture *s = *state;
	struct reader reader, taken_back;
	start_listed(s);
	expect(s, 5, 5);
	begin_wait(s, 5, &reader, 30);
	assert_int_equal(end_wait(&reader), -ETIMEDOUT);
	begin_wait(s, 5, &taken_back, 20000);
	assert_true(sync_waiter_cancel(s->f->account, &taken_back.waiter));
	spool_bring(s, 5);
	spool_await(s, 5);
	assert_int_equal(reader_wakes(&taken_back), 0);
	reader_finish(&taken_back);
}

static void test_stop(void **state)
{
	struct spool_fixture *s = *state;
	struct reader reader;
	uint32_t uid = 5;
	start_listed(s);
	expect(s, 5, 6);
	begin_wait(s, 5, &reader, 20000);
	sync_account_stop(s->f->account);
	assert_int_equal(end_wait(&reader), -EIO);
	assert_int_equal(ask(s, 5), -EIO);
	drop_stored(&s->drop, &uid, 1);
	drop_expect_nothing(&s->drop, -EIO);
}

static void expect_urgent(struct spool_fixture *s, uint32_t expected)
{
	uint32_t uid = 0;
	bool any = drop_urgent(&s->drop, &uid);
	assert_int_equal(any, expected != 0);
	assert_int_equal(uid, expected);
}

static void test_urgent(void **state)
{
	struct spool_fixture *s = *state;
	struct reader readers[5];
	static const uint32_t uids[] = {14, 12, 14, 19, 11};
	start_listed(s);
	expect_urgent(s, 0);
	expect(s, 10, 20);
	expect_urgent(s, 0);
	for (size_t i = 0; i < 5; i++)
		begin_wait(s, uids[i], &readers[i], 20000);
	expect_urgent(s, 14);
	spool_bring(s, 12); /* came by itself */
	assert_int_equal(end_wait(&readers[1]), 0);
	expect_urgent(s, 19);
	drop_unexpect(&s->drop, 11, -EIO);
	assert_int_equal(end_wait(&readers[4]), -EIO);
	expect_urgent(s, 0);
	/* After a new connection those who wait are first again, and who is not on its way any more is told. */
	expect(s, 13, 15);
	expect_urgent(s, 14);
	expect_urgent(s, 0);
	assert_int_equal(end_wait(&readers[3]), 0);
	spool_bring(s, 14);
	assert_int_equal(end_wait(&readers[0]), 0);
	assert_int_equal(end_wait(&readers[2]), 0);
}

static void test_a_new_list_keeps_what_is_stored(void **state)
{
	struct spool_fixture *s = *state;
	struct reader reader;
	spool_start(s, NULL);
	expect(s, 5, 7);
	spool_bring(s, 5);
	expect(s, 6, 7);
	begin_wait(s, 5, &reader, 20000);
	assert_int_equal(end_wait(&reader), 0);
	assert_true(told_has(s->f->told, 5, NULL));
	assert_int_equal(ask(s, 5), 0);
}

static void test_a_mailbox_account_expects_nothing(void **state)
{
	struct spool_fixture *s = *state;
	struct sync_account *account = s->f->account;
	struct sync_folder folder = {.account = account};
	start_listed(s);
	expect(s, 5, 5);
	folder.account = s->f->account;
	folder.account->drop = NULL;
	assert_int_equal(sync_folder_expected(&folder, 5, NULL), 0);
	assert_false(sync_account_is_drop(folder.account));
	folder.account->drop = &s->drop;
}

/* --- Storing and looking up at the same time --- */

enum { MESSAGES = 2000, GROUP = 25, LOOKERS = 5 };

struct race {
	struct spool_fixture *s;
	atomic_bool shown[MESSAGES + 1];
	atomic_uint missed, failed, waited;
};

static void race_reset(void *arg, struct sync_folder *folder, uint32_t number)
{
	struct race *race = arg;
	(void)folder;
	(void)number;
	for (size_t i = 0; i <= MESSAGES; i++)
		atomic_store(&race->shown[i], false);
}

static void race_rows(
	void *arg, struct sync_folder *folder, const struct source_row *rows, size_t count)
{
	struct race *race = arg;
	(void)folder;
	for (size_t i = 0; i < count; i++)
		atomic_store(&race->shown[rows[i].uid], true);
}

static void race_changed(void *arg, struct sync_folder *folder, int64_t changed_s)
{
	(void)arg;
	(void)folder;
	(void)changed_s;
}

/* As the tree does it; all messages are there or on their way. */
static void race_lookup(struct race *race, uint32_t uid)
{
	struct reader reader;
	if (atomic_load(&race->shown[uid]))
		return;
	reader_init(&reader, 60000);
	ssize_t err = sync_folder_expected(spool_folder(race->s), uid, &reader.waiter);
	if (err == -EINPROGRESS) {
		err = reader_wait(&reader);
		atomic_fetch_add(&race->waited, 1);
	}
	reader_finish(&reader);
	if (err < 0)
		atomic_fetch_add(&race->failed, 1);
	else if (!atomic_load(&race->shown[uid]))
		atomic_fetch_add(&race->missed, 1);
}

static void *race_looker(void *arg)
{
	struct race *race = arg;
	/* Each goes a little ahead of, or behind, what is being stored. */
	for (uint32_t uid = 1; uid <= MESSAGES; uid++)
		race_lookup(race, uid);
	return NULL;
}

static void *race_taker(void *arg)
{
	struct race *race = arg;
	uint32_t uid;
	while (!atomic_load(&race->shown[MESSAGES])) {
		drop_urgent(&race->s->drop, &uid);
		sleep_ms(1);
	}
	return NULL;
}

static void race_store(struct race *race)
{
	uint32_t uids[GROUP];
	for (uint32_t first = 1; first <= MESSAGES; first += GROUP) {
		spool_put_group(race->s, first, GROUP);
		for (uint32_t i = 0; i < GROUP; i++)
			uids[i] = first + GROUP - 1 - i;
		drop_stored(&race->s->drop, uids, GROUP);
	}
}

static void test_race(void **state)
{
	struct spool_fixture *s = *state;
	static struct race race;
	pthread_t threads[LOOKERS + 1];
	uint32_t *uids = calloc(MESSAGES, sizeof(*uids));
	memset(&race, 0, sizeof(race));
	race.s = s;
	struct sync_events events = {
		.arg = &race, .reset = race_reset, .rows = race_rows, .changed = race_changed};
	spool_start(s, &events);
	for (uint32_t i = 0; i < MESSAGES; i++)
		uids[i] = i + 1;
	assert_int_equal(drop_expect(&s->drop, uids, MESSAGES), 0);
	assert_int_equal(refresh(spool_folder(s)), 0);
	for (size_t i = 0; i < LOOKERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, race_looker, &race), 0);
	assert_int_equal(pthread_create(&threads[LOOKERS], NULL, race_taker, &race), 0);
	race_store(&race);
	for (size_t i = 0; i <= LOOKERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(race.missed, 0);
	assert_int_equal(race.failed, 0);
	assert_true(race.waited > 0);
	free(uids);
}

/* The first listing begins while messages come: none is missed. */
static void test_race_with_the_first_listing(void **state)
{
	struct spool_fixture *s = *state;
	static struct race race;
	for (int round = 0; round < 5; round++) {
		memset(&race, 0, sizeof(race));
		race.s = s;
		struct sync_events events = {.arg = &race,
			.reset = race_reset,
			.rows = race_rows,
			.changed = race_changed};
		uint32_t first = 1 + (uint32_t)round * 200;
		struct reader reader;
		spool_start(s, &events);
		reader_init(&reader, 20000);
		for (uint32_t uid = first; uid < first + 200; uid += 20) {
			uint32_t uids[20];
			spool_put_group(s, uid, 20);
			for (uint32_t i = 0; i < 20; i++)
				uids[i] = uid + i;
			if (uid == first + 20u * (uint32_t)round)
				assert_int_equal(
					sync_folder_refresh(spool_folder(s), &reader.waiter),
					-EINPROGRESS);
			drop_stored(&s->drop, uids, 20);
		}
		assert_int_equal(reader_wait(&reader), 0);
		reader_finish(&reader);
		for (uint32_t uid = 1; uid < first + 200; uid++) {
			race_lookup(&race, uid);
			assert_true(atomic_load(&race.shown[uid]));
		}
		assert_int_equal(race.missed, 0);
		spool_end(s);
	}
}

/* A tree to which a further message comes while it is being told of one, up to a last one. */
struct chain {
	struct spool_fixture *s;
	pthread_mutex_t lock;
	uint32_t next, last;
	size_t told;
};

static void chain_reset(void *arg, struct sync_folder *folder, uint32_t number)
{
	(void)arg;
	(void)folder;
	(void)number;
}

static void chain_rows(
	void *arg, struct sync_folder *folder, const struct source_row *rows, size_t count)
{
	struct chain *chain = arg;
	(void)folder;
	(void)rows;
	if (chain->next <= chain->last)
		spool_bring(chain->s, chain->next++);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&chain->lock);
	chain->told += count;
}

static size_t chain_told(struct chain *chain)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&chain->lock);
	return chain->told;
}

/* What comes while the job runs is announced by it, though nobody asks and nothing comes after it. */
static void test_nothing_is_left_behind(void **state)
{
	struct spool_fixture *s = *state;
	struct chain chain = {.s = s, .next = 2, .last = 4};
	pthread_mutex_init(&chain.lock, NULL);
	struct sync_events events = {
		.arg = &chain, .reset = chain_reset, .rows = chain_rows, .changed = race_changed};
	spool_start(s, &events);
	spool_put(s, 1, SPOOL_SMALL, sizeof(SPOOL_SMALL) - 1, true);
	assert_int_equal(refresh(spool_folder(s)), 0);
	assert_int_equal(chain_told(&chain), 4);
	spool_end(s);
	pthread_mutex_destroy(&chain.lock);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, spool_setup, spool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_expected),
		TEST(test_woken_after_the_announcement),
		TEST(test_stored_and_not_announced),
		TEST(test_kept_away),
		TEST(test_the_deadline),
		TEST(test_stop),
		TEST(test_urgent),
		TEST(test_a_new_list_keeps_what_is_stored),
		TEST(test_a_mailbox_account_expects_nothing),
		TEST(test_nothing_is_left_behind),
		TEST(test_race),
		TEST(test_race_with_the_first_listing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
