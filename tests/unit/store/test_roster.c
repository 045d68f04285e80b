/* SPDX-License-Identifier: MIT */
/* The roster, facts, and mailboxes that are forgotten. */
#include "fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- the roster ---- */

static const struct source_mailbox mailboxes[] = {
	{.name = "INBOX",
		.delimiter = '/',
		.flags = SOURCE_MAILBOX_SUBSCRIBED | SOURCE_MAILBOX_PERSONAL},
	{.name = "Gesendet", .delimiter = '.', .special_use = "\\Sent"},
	{.name = "a'b\"\xff\x80%s",
		.delimiter = 0,
		.flags = SOURCE_MAILBOX_NOSELECT,
		.special_use = ""},
	{.name = "", .delimiter = (char)0xff},
};
#define COUNT (sizeof(mailboxes) / sizeof(*mailboxes))

struct heard {
	size_t count;
	int rc;
};

static int hear(void *arg, const struct source_mailbox *mailbox)
{
	struct heard *heard = arg;
	assert_true(heard->count < COUNT);
	const struct source_mailbox *expected = &mailboxes[heard->count++];
	assert_string_equal(mailbox->name, expected->name);
	assert_int_equal(mailbox->delimiter, expected->delimiter);
	assert_int_equal(mailbox->flags, expected->flags);
	assert_int_equal(mailbox->special_use == NULL, expected->special_use == NULL);
	if (expected->special_use)
		assert_string_equal(mailbox->special_use, expected->special_use);
	return heard->count == 2 ? heard->rc : 0;
}

static void test_roster_never_put(void **state)
{
	struct fixture *fixture = *state;
	struct heard heard = {0};
	assert_int_equal(store_roster_load(fixture->store, hear, &heard), -ENOENT);
	assert_int_equal(heard.count, 0);
}

static void test_roster(void **state)
{
	struct fixture *fixture = *state;
	struct heard heard = {0};
	assert_int_equal(store_roster_put(fixture->store, mailboxes, COUNT), 0);
	assert_int_equal(store_roster_load(fixture->store, hear, &heard), 0);
	assert_int_equal(heard.count, COUNT);
	fixture_reopen(fixture);
	heard = (struct heard){0};
	assert_int_equal(store_roster_load(fixture->store, hear, &heard), 0);
	assert_int_equal(heard.count, COUNT);
}

static void test_roster_is_replaced(void **state)
{
	struct fixture *fixture = *state;
	struct source_mailbox many[50];
	for (size_t i = 0; i < 50; i++)
		many[i] = (struct source_mailbox){.name = "x"};
	assert_int_equal(store_roster_put(fixture->store, many, 50), 0);
	assert_int_equal(store_roster_put(fixture->store, mailboxes, 2), 0);
	struct heard heard = {0};
	assert_int_equal(store_roster_load(fixture->store, hear, &heard), 0);
	assert_int_equal(heard.count, 2);
}

/* An account without mailboxes is not one of which nothing is known. */
static void test_roster_empty(void **state)
{
	struct fixture *fixture = *state;
	struct heard heard = {0};
	assert_int_equal(store_roster_put(fixture->store, mailboxes, COUNT), 0);
	assert_int_equal(store_roster_put(fixture->store, NULL, 0), 0);
	assert_int_equal(store_roster_load(fixture->store, hear, &heard), 0);
	assert_int_equal(heard.count, 0);
}

static void test_roster_ended_by_callback(void **state)
{
	struct fixture *fixture = *state;
	struct heard heard = {.rc = -ECANCELED};
	assert_int_equal(store_roster_put(fixture->store, mailboxes, COUNT), 0);
	assert_int_equal(store_roster_load(fixture->store, hear, &heard), -ECANCELED);
	assert_int_equal(heard.count, 2);
}

/* ---- facts ---- */

static void expect_fact(struct fixture *fixture, const char *key, const char *data, size_t len)
{
	_cleanup_str_ struct str out = STR_INIT;
	str_append_cstr(&out, "before ");
	assert_int_equal(store_fact_get(fixture->store, key, &out), 0);
	assert_int_equal(out.len, 7 + len);
	assert_memory_equal(out.data, "before ", 7);
	assert_memory_equal(out.data + 7, data, len);
}

static void test_facts(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_str_ struct str out = STR_INIT;
	assert_int_equal(store_fact_get(fixture->store, "sizes.wrong", &out), -ENOENT);
	assert_int_equal(out.len, 0);
	assert_int_equal(store_fact_put(fixture->store, "sizes.wrong", "\0\1\0", 3), 0);
	assert_int_equal(store_fact_put(fixture->store, "sizes", NULL, 0), 0);
	expect_fact(fixture, "sizes.wrong", "\0\1\0", 3);
	expect_fact(fixture, "sizes", "", 0);
	assert_int_equal(store_fact_put(fixture->store, "sizes.wrong", "two", 3), 0);
	fixture_reopen(fixture);
	expect_fact(fixture, "sizes.wrong", "two", 3);
}

static void test_fact_sizes(void **state)
{
	struct fixture *fixture = *state;
	char *data = calloc(1, (64 << 10) + 1);
	assert_non_null(data);
	assert_int_equal(store_fact_put(fixture->store, "a", data, 64 << 10), 0);
	assert_int_equal(store_fact_put(fixture->store, "a", data, (64 << 10) + 1), -EINVAL);
	expect_fact(fixture, "a", data, 64 << 10);
	free(data);
}

/* ---- mailboxes ---- */

static void test_mailbox_members(void **state)
{
	struct fixture *fixture = *state;
	const struct store_mailbox state_put = {.folder = 1,
		.uidvalidity = UINT32_MAX,
		.uidnext = 3,
		.modseq = UINT64_C(1) << 62,
		.complete = true,
		.changed_s = 5,
		.checked_s = INT64_C(1) << 40,
		.mailbox_id = UINT64_MAX - 3,
		.former = UINT32_C(0x7fffffff)};
	assert_int_equal(store_mailbox_put(fixture->store, "INBOX", &state_put), 0);
	fixture_reopen(fixture);
	struct store_mailbox got;
	memset(&got, 0x55, sizeof(got));
	assert_int_equal(store_mailbox_get(fixture->store, "INBOX", &got), 0);
	assert_int_equal(got.folder, state_put.folder);
	assert_int_equal(got.uidvalidity, state_put.uidvalidity);
	assert_int_equal(got.uidnext, state_put.uidnext);
	assert_int_equal(got.modseq, state_put.modseq);
	assert_true(got.complete);
	assert_int_equal(got.changed_s, state_put.changed_s);
	assert_int_equal(got.checked_s, state_put.checked_s);
	assert_int_equal(got.mailbox_id, state_put.mailbox_id);
	assert_int_equal(got.former, state_put.former);
}

static void test_mailbox_remove(void **state)
{
	struct fixture *fixture = *state;
	struct store_mailbox got, put = {.folder = 7, .uidvalidity = 1};
	struct source_row row = {.uid = 1};
	assert_int_equal(store_mailbox_put(fixture->store, "gone", &put), 0);
	assert_int_equal(store_mailbox_put(fixture->store, "stays", &put), 0);
	assert_int_equal(store_rows_put(fixture->store, 7, &row, 1), 0);
	fixture_sql(fixture,
		"INSERT INTO pin_mailbox VALUES(CAST('gone' AS BLOB)), (CAST('stays' AS BLOB))");
	assert_int_equal(store_mailbox_remove(fixture->store, "gone"), 0);
	assert_int_equal(store_mailbox_remove(fixture->store, "never was"), 0);
	assert_int_equal(store_mailbox_get(fixture->store, "gone", &got), 0);
	assert_int_equal(got.folder, 0);
	assert_int_equal(store_mailbox_get(fixture->store, "stays", &got), 0);
	assert_int_equal(got.folder, 7);
	uint64_t messages, unseen;
	assert_int_equal(store_folder_count(fixture->store, 7, &messages, &unseen), 0);
	assert_int_equal(messages, 1);
	/* One pin is left: it is the other's. */
	fixture_sql(fixture,
		"CREATE TABLE t(x INTEGER CHECK(x = 1));"
		"INSERT INTO t SELECT count(*) FROM pin_mailbox;"
		"INSERT INTO t SELECT count(*) FROM pin_mailbox WHERE name = CAST('stays' AS BLOB)");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_roster_never_put),
		TEST(test_roster),
		TEST(test_roster_is_replaced),
		TEST(test_roster_empty),
		TEST(test_roster_ended_by_callback),
		TEST(test_facts),
		TEST(test_fact_sizes),
		TEST(test_mailbox_members),
		TEST(test_mailbox_remove),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
