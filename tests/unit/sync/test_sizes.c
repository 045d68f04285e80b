/* SPDX-License-Identifier: MIT */
/* A server that announces wrong sizes: one is an accident, two are a habit, and that is remembered. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "mailfs/store.h"
#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"

#define LEN 5000

static pthread_mutex_t watch_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned said;

void __wrap_log_line(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void __wrap_log_line(enum log_level level, const char *format, ...)
{
	pthread_mutex_lock(&watch_lock);
	said += level <= LOG_LEVEL_WARNING && strstr(format, "RFC822.SIZE");
	pthread_mutex_unlock(&watch_lock);
}

static int setup(void **state)
{
	said = 0;
	return fixture_setup(state);
}

/* Messages 1 … 10, of which those up to `wrong` are announced with a wrong size. */
static struct sync_folder *start(struct fixture *f, const char *data, uint32_t wrong)
{
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	for (uint32_t uid = 1; uid <= 10; uid++)
		fake_message_add(inbox, uid, data, LEN)->announced = uid <= wrong ? LEN + uid : LEN;
	fixture_start(f);
	return fixture_inbox(f);
}

static void read_message(struct sync_folder *folder, uint32_t uid, uint64_t size, const char *data)
{
	struct sync_body *body;
	char out[LEN + 1];
	assert_int_equal(sync_body_open(folder, uid, "", NULL, size, &body), 0);
	assert_int_equal(body_read_all(body, out, sizeof(out)), LEN);
	assert_memory_equal(out, data, LEN);
	sync_body_close(body);
}

static void test_right(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	struct sync_folder *folder = start(f, data, 0);
	for (uint32_t uid = 1; uid <= 10; uid++)
		read_message(folder, uid, uid > 5 ? UINT64_MAX : LEN, data);
	assert_false(sync_account_sizes_distrusted(f->account));
}

/* The same message, read again as it was announced (a reader who has not heard of the correction), counts once. */
static void test_once(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	struct sync_folder *folder = start(f, data, 1);
	read_message(folder, 1, LEN + 1, data);
	assert_int_equal(store_rows_remove(f->store, f->told->number, (uint32_t[]){1}, 1), 0);
	read_message(folder, 1, LEN + 1, data);
	for (uint32_t uid = 2; uid <= 10; uid++)
		read_message(folder, uid, LEN, data);
	assert_false(sync_account_sizes_distrusted(f->account));
	assert_int_equal(said, 0);
}

static void test_twice(void **state)
{
	struct fixture *f = *state;
	quirk_forget();
	char *data = pattern(LEN);
	struct sync_folder *folder = start(f, data, 4);
	read_message(folder, 1, LEN + 1, data);
	assert_false(sync_account_sizes_distrusted(f->account));
	read_message(folder, 2, LEN + 2, data);
	assert_true(sync_account_sizes_distrusted(f->account));
	read_message(folder, 3, LEN + 3, data);
	assert_int_equal(said, 1);
	fixture_end(f);
	fixture_start(f);
	folder = fixture_inbox(f);
	assert_true(sync_account_sizes_distrusted(f->account));
	read_message(folder, 4, LEN + 4, data);
	assert_int_equal(said, 1);
	assert_int_equal(quirk_count(QUIRK_SIZES_WRONG), 2);
}

/* One in each of two mounts. */
static void test_once_each(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	read_message(start(f, data, 2), 1, LEN + 1, data);
	fixture_end(f);
	fixture_start(f);
	assert_false(sync_account_sizes_distrusted(f->account));
	read_message(fixture_inbox(f), 2, LEN + 2, data);
	assert_true(sync_account_sizes_distrusted(f->account));
	assert_int_equal(said, 1);
}

/* What is in the store may be anything. */
static void test_bad_facts(void **state)
{
	struct fixture *f = *state;
	static const char *const facts[] = {"", "\n", "1", "1 x", "x 1\n2 3\n",
		"99999999999999999999 1", "1 2\n1 2\n1 2\n", "-"};
	char *data = pattern(LEN);
	start(f, data, 0);
	for (size_t i = 0; i < sizeof(facts) / sizeof(*facts); i++) {
		assert_int_equal(
			store_fact_put(f->store, "sizes.wrong", facts[i], strlen(facts[i])), 0);
		fixture_end(f);
		fixture_start(f);
		assert_false(sync_account_sizes_distrusted(f->account));
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_right),
		TEST(test_once),
		TEST(test_twice),
		TEST(test_once_each),
		TEST(test_bad_facts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
