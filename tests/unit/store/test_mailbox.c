/* SPDX-License-Identifier: MIT */
/* Numbers and what is known of mailboxes. */
#include "fixture.h"

#include <stdio.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/hash.h"

/* The number of alice's INBOX, and a key of which it was found out that its number is near the largest. */
#define FIXED_NUMBER     1532628458
#define WRAP_UIDVALIDITY 1807449
#define WRAP_NUMBER      2147482136u

static uint32_t number(struct fixture *fixture, const char *account, enum store_number_kind kind,
	const char *mailbox, uint32_t uidvalidity)
{
	uint32_t ret = 0;
	assert_int_equal(
		store_number(fixture->store, account, kind, mailbox, uidvalidity, &ret), 0);
	assert_in_range(ret, 1, INT32_MAX);
	return ret;
}

static uint32_t inbox_number(struct fixture *fixture)
{
	return number(fixture, "alice@example.org:993", STORE_NUMBER_FOLDER, "INBOX", 1700000000);
}

/* What "the same on every machine and in every version" is held against: this very number. */
static void test_number_is_fixed(void **state)
{
	static const char key[] = "alice@example.org:993\0f\0INBOX\0"
				  "1700000000";
	uint64_t hash = hash64_finish(hash64(HASH64_INIT, key, sizeof(key) - 1));
	assert_int_equal(inbox_number(*state), hash >> 33);
	assert_int_equal(inbox_number(*state), FIXED_NUMBER);
}

static void test_number_depends_on_each_part(void **state)
{
	struct fixture *fixture = *state;
	uint32_t numbers[] = {
		inbox_number(fixture),
		number(fixture, "bob@example.org:993", STORE_NUMBER_FOLDER, "INBOX", 1700000000),
		number(fixture, "alice@example.org:993", STORE_NUMBER_DIRECTORY, "INBOX",
			1700000000),
		number(fixture, "alice@example.org:993", STORE_NUMBER_FOLDER, "inbox", 1700000000),
		number(fixture, "alice@example.org:993", STORE_NUMBER_FOLDER, "INBOX", 1700000001),
		number(fixture, "alice@example.org:993", STORE_NUMBER_FOLDER, "", 0),
		number(fixture, "", STORE_NUMBER_FOLDER, "alice@example.org:993", 0),
		number(fixture, "alice@example.org:993", STORE_NUMBER_FOLDER, "\xff\x80'\"", 1),
	};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(numbers[i], numbers[j]);
}

static void test_number_same_after_reopen(void **state)
{
	struct fixture *fixture = *state;
	uint32_t before = inbox_number(fixture);
	fixture_reopen(fixture);
	assert_int_equal(inbox_number(fixture), before);
}

static void take(struct fixture *fixture, uint32_t taken, const char *key)
{
	char sql[128];
	snprintf(sql, sizeof(sql), "INSERT INTO number VALUES(%u, CAST('%s' AS BLOB))", taken, key);
	fixture_sql(fixture, sql);
}

static void test_number_collision(void **state)
{
	struct fixture *fixture = *state;
	take(fixture, FIXED_NUMBER, "somebody");
	take(fixture, FIXED_NUMBER + 1, "somebody else");
	assert_int_equal(inbox_number(fixture), FIXED_NUMBER + 2);
	/* Settled: also when the others are gone. */
	fixture_sql(fixture, "DELETE FROM number WHERE key != CAST('' AS BLOB) AND number < "
			     "(SELECT max(number) FROM number)");
	fixture_reopen(fixture);
	assert_int_equal(inbox_number(fixture), FIXED_NUMBER + 2);
}

/* The search goes on at 1 behind the largest number. */
static void test_number_wraps(void **state)
{
	struct fixture *fixture = *state;
	char sql[256];
	snprintf(sql, sizeof(sql),
		"WITH RECURSIVE n(x) AS (SELECT %u UNION ALL SELECT x + 1 FROM n WHERE x < 2147483647) "
		"INSERT INTO number SELECT x, CAST(x AS BLOB) FROM n",
		WRAP_NUMBER);
	fixture_sql(fixture, sql);
	take(fixture, 1, "first");
	assert_int_equal(number(fixture, "wrap", STORE_NUMBER_FOLDER, "box", WRAP_UIDVALIDITY), 2);
}

static void test_mailbox_first_seen(void **state)
{
	struct fixture *fixture = *state;
	int64_t before = clock_wall_s();
	struct store_mailbox mailbox;
	memset(&mailbox, 0xee, sizeof(mailbox));
	assert_int_equal(store_mailbox_get(fixture->store, "Entw&APw-rfe", &mailbox), 0);
	assert_int_equal(mailbox.folder, 0);
	assert_int_equal(mailbox.uidvalidity, 0);
	assert_int_equal(mailbox.uidnext, 0);
	assert_int_equal(mailbox.modseq, 0);
	assert_false(mailbox.complete);
	assert_in_range(mailbox.changed_s, before, clock_wall_s());
}

/* The time of being seen first is kept, or a directory's time would move with each mount. */
static void test_mailbox_first_seen_is_kept(void **state)
{
	struct fixture *fixture = *state;
	struct store_mailbox mailbox;
	assert_int_equal(store_mailbox_get(fixture->store, "INBOX", &mailbox), 0);
	fixture_sql(fixture, "UPDATE mailbox SET changed_s = 1234567");
	assert_int_equal(store_mailbox_get(fixture->store, "INBOX", &mailbox), 0);
	assert_int_equal(mailbox.changed_s, 1234567);
}

static void test_mailbox_put(void **state)
{
	struct fixture *fixture = *state;
	static const struct store_mailbox states[] = {
		{7, 1, 2, 3, false, 4, 0, 0, 0},
		{INT32_MAX, UINT32_MAX, UINT32_MAX, UINT64_MAX, true, INT64_MAX, 0, 0, 0},
		{0, 0, 0, 0, false, -1, 0, 0, 0},
	};
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++) {
		struct store_mailbox back;
		assert_int_equal(store_mailbox_put(fixture->store, "a\xff", &states[i]), 0);
		fixture_reopen(fixture);
		assert_int_equal(store_mailbox_get(fixture->store, "a\xff", &back), 0);
		assert_int_equal(back.folder, states[i].folder);
		assert_int_equal(back.uidvalidity, states[i].uidvalidity);
		assert_int_equal(back.uidnext, states[i].uidnext);
		assert_true(back.modseq == states[i].modseq);
		assert_int_equal(back.complete, states[i].complete);
		assert_true(back.changed_s == states[i].changed_s);
	}
}

static void test_mailbox_names_apart(void **state)
{
	struct fixture *fixture = *state;
	static const char *const names[] = {
		"INBOX", "inbox", "INBOX ", "", "'; DROP TABLE mailbox; --"};
	for (uint32_t i = 0; i < 5; i++) {
		struct store_mailbox mailbox = {.folder = i + 1};
		assert_int_equal(store_mailbox_put(fixture->store, names[i], &mailbox), 0);
	}
	for (uint32_t i = 0; i < 5; i++) {
		struct store_mailbox mailbox;
		assert_int_equal(store_mailbox_get(fixture->store, names[i], &mailbox), 0);
		assert_int_equal(mailbox.folder, i + 1);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_number_is_fixed),
		TEST(test_number_depends_on_each_part),
		TEST(test_number_same_after_reopen),
		TEST(test_number_collision),
		TEST(test_number_wraps),
		TEST(test_mailbox_first_seen),
		TEST(test_mailbox_first_seen_is_kept),
		TEST(test_mailbox_put),
		TEST(test_mailbox_names_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
